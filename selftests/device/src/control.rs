// SPDX-License-Identifier: GPL-2.0

//! Requests to the device, one line each, on its standard input.

use std::{
    fs,
    str::SplitWhitespace,
    sync::atomic::Ordering,
    time::{
        Duration,
        Instant, //
    },
};

use crate::{
    engine::{
        lock,
        Shared, //
    },
    front::Release,
    gpu::OFF,
    script::{
        self,
        Act,
        Lie,
        Script,
        FAULTS,
        KINDS, //
    },
};

/// All requests, for `--help`.
pub const HELP: &str = "\
Requests, one line each on the standard input. The answer is `done` with words, or `error` and why.
The device ends with its input, or when QEMU ends, and returns 0; 1 if it cannot serve QEMU, 2 for
wrong arguments.

  dump FILE [HEAD]         what a head shows, as a PPM file; its width and height
  pointer [HEAD]           the cursor's image: width, height, hot spot, CRC of its bytes
  resize WIDTH HEIGHT [HEAD], unplug [HEAD]
                           the size that the user wants
  place X Y [X Y ...]      where the user has the heads, from the first on
  device stall TYPE [N]    the queue stands still at the N-th command of the type from now
  device hang TYPE [N]     it does so at that one only: no more after a reset
  device spoil TYPE [N]    the queue has a wrong used index after the N-th
  device never TYPE [N]    from the N-th on they are executed and not answered, the others are
  device slow TYPE MS      the queue stands still for so long at each command
  device late TYPE MS      they are answered so much later than the others
  device refuse TYPE CODE  they are answered by an error, a number such as 0x1200
  device refuse-format N   resources of that format are refused, as by a device without it
  device ignore-kicks      kicks are lost
  device withhold-interrupts
                           interrupts are lost
  device fault FAULT       a driver that starts finds that fault
  device slow-reset MS     a reset takes so long
  device wrong-fence TYPE [N], wrong-context TYPE [N], wrong-length TYPE [N]
                           the answer to the N-th names another fence or context than its own, or
                           says that it is longer than there was room for
  device hold NAME [MS]    fences of contexts with that name, or any, are answered when they have
                           ended, if not so much later
  device keep NAME [MS]    the same, also when the contexts have ended
  device release, release-backwards
                           ends that; what is held goes on in its order, or the other way round
  device needs-reset       sets that bit of the status
  device reset             resets the device, and nobody has asked for that
  device gone              all registers read as ones
  device behave            ends all that for the commands to come; what is held stays so
  device resume            ends all that, except needs-reset; what is held goes on
  device context NAME      the last context with that name: id, alive, capset, attached resources,
                           submissions, those of them for rings, and the CRCs of the last ones
  device resource ID       its width, height, layers, and the CRC of its bytes
  device render            what happened with 3D so far: NAME=NUMBER ...; a stray is what the driver
                           names though it is not there, once too often, or too late
  device count TYPE        how many commands of the type there were
  device state             what happened so far: NAME=NUMBER ...; in microseconds from the last
                           fault to the driver's reset (fault-to-reset) and from that to the first
                           flush (reset-to-flush), 0 if there was none since

TYPE is any, or one of the first line, FAULT one of the second:";

/// Words of an answer, or why there is none.
type Answer = Result<String, String>;

/// The rest of a request.
struct Words<'a>(SplitWhitespace<'a>);

impl Words<'_> {
    fn word(&mut self) -> Result<&str, String> {
        self.0.next().ok_or_else(|| "a word is missing".into())
    }

    fn number(&mut self) -> Result<u32, String> {
        let word = self.word()?;
        let parsed = match word.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => word.parse(),
        };
        parsed.map_err(|error| format!("{word}: {error}"))
    }

    fn is_empty(&self) -> bool {
        self.0.clone().next().is_none()
    }

    /// A number that may be left out.
    fn number_or(&mut self, otherwise: u32) -> Result<u32, String> {
        match self.is_empty() {
            false => self.number(),
            true => Ok(otherwise),
        }
    }

    fn kind(&mut self) -> Result<Option<u32>, String> {
        let word = self.word()?;
        script::kind(word).ok_or_else(|| format!("{word}: no such type"))
    }

    fn end(&mut self) -> Result<(), String> {
        self.0
            .next()
            .map_or(Ok(()), |word| Err(format!("{word}: too much")))
    }
}

/// The help, with the names of all types.
pub fn help() -> String {
    let kinds: Vec<_> = KINDS.iter().map(|(name, _)| *name).collect();
    let faults: Vec<_> = FAULTS.iter().map(|(name, _)| *name).collect();
    format!("{HELP}\n  {}\n  {}", kinds.join(" "), faults.join(" "))
}

/// Answers one request.
pub fn answer(shared: &Shared, request: &str) -> String {
    match dispatch(shared, request) {
        Ok(words) => format!("done {words}"),
        Err(reason) => format!("error {reason}"),
    }
}

fn dispatch(shared: &Shared, request: &str) -> Answer {
    let mut words = Words(request.split_whitespace());
    match words.word()? {
        "dump" => dump(shared, &mut words),
        "pointer" => pointer(shared, &mut words),
        "resize" => {
            let size = (words.number()?, words.number()?);
            resize(shared, size, &mut words)?;
            Ok(format!("resized {} {}", size.0, size.1))
        }
        "place" => {
            place(shared, &mut words)?;
            Ok("placed".into())
        }
        "unplug" => {
            resize(shared, (0, 0), &mut words)?;
            Ok("unplugged".into())
        }
        "device" => Ok(format!("device {}", device(shared, &mut words)?)),
        word => Err(format!("{word}: no such request")),
    }
}

fn head(words: &mut Words<'_>) -> Result<usize, String> {
    let head = words.number_or(0)?;
    words.end()?;
    Ok(head as usize)
}

fn dump(shared: &Shared, words: &mut Words<'_>) -> Answer {
    let file = words.word()?.to_owned();
    let head = head(words)?;
    // Without the lock, as that takes a while in which the queues would stand still.
    let shot = lock(&shared.gpu).shot(head).ok_or("no such head")?;
    let (width, height, colours) = match shot {
        Some(shot) => shot.picture(),
        None => (OFF.0, OFF.1, vec![0; 3 * (OFF.0 * OFF.1) as usize]),
    };
    let mut bytes = format!("P6\n{width} {height}\n255\n").into_bytes();
    // As QEMU does it: rows are whole words.
    let row = 3 * width as usize;
    for colours in colours.chunks(row.max(1)) {
        bytes.extend_from_slice(colours);
        bytes.resize(bytes.len() + row.next_multiple_of(4) - row, 0);
    }
    fs::write(&file, bytes).map_err(|error| format!("{file}: {error}"))?;
    Ok(format!("{width} {height}"))
}

fn pointer(shared: &Shared, words: &mut Words<'_>) -> Answer {
    let head = head(words)?;
    let gpu = lock(&shared.gpu);
    let cursor = gpu.cursor(head).ok_or("no such head")?;
    let (width, height, bytes) = cursor.image.as_ref().ok_or("no image")?;
    let (x, y) = (cursor.hot_x, cursor.hot_y);
    Ok(format!(
        "pointer {width} {height} {x} {y} {:08x}",
        crc32(bytes)
    ))
}

fn resize(shared: &Shared, size: (u32, u32), words: &mut Words<'_>) -> Result<(), String> {
    let head = head(words)?;
    let mut gpu = lock(&shared.gpu);
    if gpu.resize(head, size).ok_or("no such head")? {
        lock(&shared.front).displays_changed();
    }
    Ok(())
}

fn place(shared: &Shared, words: &mut Words<'_>) -> Result<(), String> {
    let mut places = Vec::new();
    while !words.is_empty() {
        places.push((words.number()?, words.number()?));
    }
    let mut gpu = lock(&shared.gpu);
    if gpu.place(&places).ok_or("no such head")? {
        lock(&shared.front).displays_changed();
    }
    Ok(())
}

fn device(shared: &Shared, words: &mut Words<'_>) -> Answer {
    let request = words.word()?.to_owned();
    match request.as_str() {
        "state" => return Ok(format!("state {}", state(shared))),
        "count" => {
            let kind = words.kind()?;
            return Ok(format!("count {}", lock(&shared.gpu).count(kind)));
        }
        "render" => return Ok(format!("render {}", render(shared))),
        "context" => {
            let name = words.word()?;
            let found = lock(&shared.gpu).render.describe(name);
            return Ok(format!("context {}", found.ok_or("no such context")?));
        }
        "resource" => {
            let found = lock(&shared.gpu).describe_resource(words.number()?);
            return Ok(format!("resource {}", found.ok_or("no such resource")?));
        }
        "stall" | "hang" | "spoil" | "never" | "slow" | "late" | "refuse" | "wrong-fence"
        | "wrong-context" | "wrong-length" => rule(shared, &request, words)?,
        "hold" | "keep" => hold(shared, request == "keep", words)?,
        "refuse-format" => {
            let format = words.number()?;
            words.end()?;
            lock(&shared.gpu).refuse_format(format);
        }
        "fault" => {
            let word = words.word()?;
            let fault = script::fault(word).ok_or_else(|| format!("{word}: no such fault"))?;
            words.end()?;
            lock(&shared.front).script.fault = Some(fault);
        }
        "slow-reset" => {
            let time = Duration::from_millis(words.number()?.into());
            words.end()?;
            lock(&shared.front).script.slow_reset = time;
        }
        _ => {
            let mut gpu = lock(&shared.gpu);
            let mut front = lock(&shared.front);
            match request.as_str() {
                "ignore-kicks" => front.script.ignores_kicks = true,
                "withhold-interrupts" => front.script.withholds_interrupts = true,
                "gone" => front.script.gone = true,
                "needs-reset" => front.needs_reset(),
                "reset" => front.reset_itself(),
                "release" | "release-backwards" => {
                    front.script.release();
                    front.released = Some(Release::Fences {
                        backwards: request == "release-backwards",
                    });
                }
                "behave" => front.script = Script::default(),
                "resume" => {
                    front.script = Script::default();
                    front.released = Some(Release::All);
                    gpu.take_formats();
                }
                _ => return Err(format!("device {request}: no such request")),
            }
        }
    }
    words.end()?;
    Ok(request)
}

fn rule(shared: &Shared, request: &str, words: &mut Words<'_>) -> Result<(), String> {
    let kind = words.kind()?;
    let milliseconds = |words: &mut Words<'_>| {
        let number = words.number()?;
        Ok::<_, String>(Duration::from_millis(number.into()))
    };
    if let Some(act) = match request {
        "hang" => Some(Act::Stall),
        "spoil" => Some(Act::Spoil),
        "wrong-fence" => Some(Act::Lie(Lie::Fence)),
        "wrong-context" => Some(Act::Lie(Lie::Context)),
        "wrong-length" => Some(Act::Lie(Lie::Length)),
        _ => None,
    } {
        let nth = words.number_or(1)?;
        words.end()?;
        lock(&shared.front).script.add_one(kind, nth.into(), act);
        return Ok(());
    }
    let (from, act) = match request {
        "stall" => (words.number_or(1)?, Act::Stall),
        "never" => (words.number_or(1)?, Act::Never),
        "slow" => (1, Act::Slow(milliseconds(words)?)),
        "late" => (1, Act::Late(milliseconds(words)?)),
        _ => (1, Act::Refuse(words.number()?)),
    };
    words.end()?;
    lock(&shared.front).script.add(kind, from.into(), act);
    Ok(())
}

fn hold(shared: &Shared, keeps: bool, words: &mut Words<'_>) -> Result<(), String> {
    let name = words.word()?.to_owned();
    let time = match words.is_empty() {
        false => Some(Duration::from_millis(words.number()?.into())),
        true => None,
    };
    words.end()?;
    lock(&shared.front).script.hold(&name, time, keeps);
    Ok(())
}

/// What happened with 3D so far.
fn render(shared: &Shared) -> String {
    let gpu = lock(&shared.gpu);
    let (contexts, attached) = gpu.render.held();
    let counts = &gpu.render.counts;
    [
        ("contexts", contexts as u64),
        ("contexts-made", counts.contexts_made),
        ("contexts-destroyed", counts.contexts_destroyed),
        ("contexts-lost", counts.contexts_lost),
        ("resources-made", counts.resources_made),
        ("in-contexts", attached as u64),
        ("attached", counts.attached),
        ("detached", counts.detached),
        ("submissions", counts.submissions),
        ("strays", counts.strays),
    ]
    .map(|(name, number)| format!("{name}={number}"))
    .join(" ")
}

fn state(shared: &Shared) -> String {
    let gpu = lock(&shared.gpu);
    let (resources, attached, bytes) = gpu.held();
    let (commands, short) = (gpu.count(None), gpu.short);
    let strays = gpu.render.counts.strays;
    let since_reset = gpu.count_since_reset();
    let front = lock(&shared.front);
    let counts = &front.counts;
    let flag = u64::from;
    let micros = |from: Option<Instant>, to: Option<Instant>| {
        let time = from
            .zip(to)
            .and_then(|(from, to)| to.checked_duration_since(from));
        time.map_or(0, |time| time.as_micros() as u64)
    };
    [
        ("commands", commands),
        ("kicks", counts.kicks.iter().sum()),
        ("interrupts", counts.interrupts),
        ("withheld", counts.withheld),
        ("resets", counts.resets),
        ("function-resets", counts.function_resets),
        ("idle-resets", counts.idle_resets),
        ("fault-to-reset", micros(counts.fault, counts.reset)),
        ("reset-to-flush", micros(counts.reset, counts.restored)),
        ("commands-since-reset", since_reset),
        ("held-control", flag(counts.held[0])),
        ("held-cursor", flag(counts.held[1])),
        ("late", counts.late as u64),
        ("fired", front.script.fired()),
        ("resources", resources as u64),
        ("attached", attached as u64),
        ("bytes", bytes),
        ("malformed", counts.malformed),
        ("short", short),
        ("strays", strays),
        (
            "unmapped",
            shared.violations.unmapped.load(Ordering::Relaxed),
        ),
        ("untold", shared.violations.untold.load(Ordering::Relaxed)),
    ]
    .map(|(name, number)| format!("{name}={number}"))
    .join(" ")
}

/// The CRC-32 of zlib.
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::shared;

    #[test]
    fn requests_are_answered() {
        let shared = shared();
        for (request, expected) in [
            ("resize 800 600", "done resized 800 600"),
            ("resize 800 600 2", "error no such head"),
            ("unplug 1", "done unplugged"),
            ("place 640 0 0 0", "done placed"),
            ("place 640 0 0 0 0 0", "error no such head"),
            ("place 640", "error a word is missing"),
            ("pointer", "error no image"),
            ("device stall transfer 3", "done device stall"),
            ("device refuse flush 0x1200", "done device refuse"),
            ("device refuse flush", "error a word is missing"),
            ("device fault heads", "done device fault"),
            ("device fault tails", "error tails: no such fault"),
            ("device refuse-format 134", "done device refuse-format"),
            ("device refuse-format 1 2", "error 2: too much"),
            ("device stall nothing", "error nothing: no such type"),
            ("device stall any 1 2", "error 2: too much"),
            (
                "device slow any x",
                "error x: invalid digit found in string",
            ),
            ("device count any", "done device count 0"),
            ("device hang flush 2", "done device hang"),
            ("device spoil attach", "done device spoil"),
            ("device slow-reset 20", "done device slow-reset"),
            ("device slow-reset", "error a word is missing"),
            ("device reset", "done device reset"),
            ("device hold glxgears", "done device hold"),
            ("device keep any 100", "done device keep"),
            ("device hold", "error a word is missing"),
            ("device release", "done device release"),
            ("device release-backwards", "done device release-backwards"),
            ("device wrong-fence submit", "done device wrong-fence"),
            ("device wrong-context submit 2", "done device wrong-context"),
            ("device wrong-length capset", "done device wrong-length"),
            ("device context glxgears", "error no such context"),
            ("device resource 1", "error no such resource"),
            ("device fault capset-huge", "done device fault"),
            ("device dance", "error device dance: no such request"),
            ("dance", "error dance: no such request"),
            ("", "error a word is missing"),
        ] {
            assert_eq!(answer(&shared, request), expected, "{request}");
        }
        let mut front = lock(&shared.front);
        assert_eq!(front.script.decide(0x104), Some(Act::Refuse(0x1200)));
        let backwards = Release::Fences { backwards: true };
        assert_eq!(front.released.take(), Some(backwards));
        drop(front);
        assert_eq!(answer(&shared, "device behave"), "done device behave");
        let mut front = lock(&shared.front);
        assert!(front.released.is_none() && front.script.decide(0x104).is_none());
        drop(front);
        assert_eq!(answer(&shared, "device resume"), "done device resume");
        let mut front = lock(&shared.front);
        assert!(front.released == Some(Release::All) && front.script.decide(0x104).is_none());
    }

    #[test]
    fn a_dump_has_padded_rows() {
        let shared = shared();
        let file = std::env::temp_dir().join(format!("rust_gpu_device-{}", std::process::id()));
        let answer = answer(&shared, &format!("dump {}", file.display()));
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(answer, "done 640 480");
        assert!(bytes.starts_with(b"P6\n640 480\n255\n"));
        assert_eq!(bytes.len(), 15 + 3 * 640 * 480);
    }

    #[test]
    fn the_state_has_numbers() {
        let state = answer(&shared(), "device state");
        assert!(
            state.starts_with("done device state commands=0 kicks=0 "),
            "{state}"
        );
        assert!(state.ends_with(" untold=0"), "{state}");
        let render = answer(&shared(), "device render");
        assert!(
            render.starts_with("done device render contexts=0 ") && render.ends_with(" strays=0"),
            "{render}"
        );
    }

    #[test]
    fn the_crc_is_zlibs() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
