// SPDX-License-Identifier: GPL-2.0

//! A virtio GPU in a process of its own, for QEMU's vfio-user-pci, which misbehaves on command.

mod chain;
mod control;
mod edid;
mod engine;
mod front;
mod gpu;
mod memory;
mod pci;
mod resource;
mod script;
mod server;
#[cfg(test)]
mod tests;

use std::{
    io::{
        self,
        Write, //
    },
    path::PathBuf,
    process::{
        self,
        ExitCode, //
    },
    sync::{
        mpsc::{
            self,
            Receiver,
            RecvTimeoutError,
            SyncSender, //
        },
        Arc,
        Mutex, //
    },
    thread,
    time::{
        Instant,
        SystemTime,
        UNIX_EPOCH, //
    },
};

use clap::Parser;
use vfio_user::Server;

use crate::{
    engine::{
        Engine,
        Shared, //
    },
    front::Front,
    gpu::Gpu,
    memory::{
        Map,
        Violations, //
    },
    server::Backend, //
};

/// A virtio GPU for QEMU's vfio-user-pci, which misbehaves on command.
///
/// QEMU's memory has to be shared (memory-backend-memfd,share=on). Each command is a line on the
/// standard error, in the form of QEMU's trace events.
#[derive(Debug, Parser)]
#[command(after_help = control::help())]
pub struct Options {
    /// Unix socket to make, to which QEMU connects
    #[arg(long)]
    socket: PathBuf,
    /// How many heads there are
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=16))]
    heads: u32,
    /// First width of the heads in pixels
    #[arg(long, default_value_t = 1280)]
    width: u32,
    /// First height of the heads in pixels
    #[arg(long, default_value_t = 800)]
    height: u32,
    /// MSI-X vectors; without any there is only INTx
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=3))]
    vectors: u16,
    /// Most memory of pictures, in MiB
    #[arg(long, default_value_t = 256)]
    memory: u64,
    /// Memory in BAR 0, in MiB, for a firmware's framebuffer
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=256))]
    framebuffer: u32,
    /// Without the feature EVENT_IDX
    #[arg(long)]
    no_event_idx: bool,
    /// Without the feature INDIRECT_DESC
    #[arg(long)]
    no_indirect: bool,
    /// Without the feature EDID
    #[arg(long)]
    no_edid: bool,
    /// With the feature ACCESS_PLATFORM
    #[arg(long)]
    access_platform: bool,
    /// With 3D: its commands, without a GPU that draws
    #[arg(long)]
    virgl: bool,
}

impl Options {
    fn features(&self) -> u64 {
        let optional = |feature, missing| if missing { 0 } else { feature };
        front::FEATURE_VERSION_1
            | optional(front::FEATURE_EDID, self.no_edid)
            | optional(front::FEATURE_INDIRECT, self.no_indirect)
            | optional(front::FEATURE_EVENT_IDX, self.no_event_idx)
            | optional(front::FEATURE_ACCESS_PLATFORM, !self.access_platform)
            | optional(
                front::FEATURE_VIRGL | front::FEATURE_CONTEXT_INIT,
                !self.virgl,
            )
    }

    /// The device after power-on.
    fn device(&self) -> Shared {
        let size = (self.width, self.height);
        Shared {
            gpu: Mutex::new(Gpu::new(self.heads as usize, size, self.memory << 20)),
            map: Mutex::new(Map::new()),
            front: Mutex::new(Front::new(
                self.vectors,
                self.features(),
                self.heads,
                (self.framebuffer as usize) << 20,
            )),
            violations: Violations::default(),
        }
    }
}

/// Writes a line to the log, with the time as QEMU has it.
pub fn note(text: &str) {
    if cfg!(test) {
        return;
    }
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let (seconds, micros) = (time.as_secs(), time.subsec_micros());
    let line = format!("{}@{seconds}.{micros:06}:{text}\n", process::id());
    // A log that cannot be written is no reason to stop.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Executes commands until the process ends.
fn execute(shared: &Shared, woken: &Receiver<()>) {
    let mut engine = Engine::default();
    loop {
        let next = engine.turn(shared, Instant::now());
        let result = match next {
            Some(next) => woken.recv_timeout(next.saturating_duration_since(Instant::now())),
            None => woken.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        if result == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

/// Answers requests until there are no more; then the process ends.
fn serve(shared: &Shared, wake: &SyncSender<()>) {
    for line in io::stdin().lines().map_while(Result::ok) {
        let answer = control::answer(shared, &line);
        // If the channel is full the thread wakes up anyway.
        let _ = wake.try_send(());
        if writeln!(io::stdout(), "{answer}").is_err() {
            break;
        }
    }
    process::exit(0);
}

fn run(options: &Options) -> Result<(), vfio_user::Error> {
    let server = Server::new(
        &options.socket,
        true,
        pci::irqs(options.vectors),
        pci::regions(u64::from(options.framebuffer) << 20),
    )?;
    let shared = Arc::new(options.device());
    let (wake, woken) = mpsc::sync_channel(1);
    let mut backend = Backend {
        shared: shared.clone(),
        wake: wake.clone(),
    };
    thread::spawn({
        let shared = shared.clone();
        move || execute(&shared, &woken)
    });
    thread::spawn(move || serve(&shared, &wake));
    println!("done listening");
    server.run(&mut backend)
}

fn main() -> ExitCode {
    let options = Options::parse();
    // Half a device is worse than none.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        hook(info);
        process::exit(101);
    }));
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
