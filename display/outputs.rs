// SPDX-License-Identifier: GPL-2.0

//! [`Outputs`] keeps what the device says about its scanouts: which are connected, what sizes they
//! ask for, and their EDIDs.
//!
//! The device is asked when it starts. [`watch`], in a thread of its own, asks again whenever the
//! device says that something changed, at most ten times a second. It waits for the answer without
//! a limit: a change that the device reports while it is stuck is known when it returns.
//!
//! The answers are not trusted: sizes are clamped here, before any helper of DRM sees them; an EDID
//! is bytes, which DRM checks.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    kthread, new_mutex,
    num::casts::u32_as_usize,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
    time::{
        msecs_to_jiffies,
        ClockSource,
        Monotonic, //
    },
};

use crate::{
    command::{
        DisplayInfo,
        DisplayOne,
        Edid,
        GetDisplayInfo,
        GetEdid,
        MAX_SCANOUTS, //
    },
    display::{
        DEFAULT_SIZE,
        MAX_SIDE,
        MIN_SIDE, //
    },
    gpu::Gpu,
    irq::Adapter,
    scheduler::{
        self,
        Fences,
        Node, //
    },
    virtqueue::{
        Packet,
        Reply, //
    }, //
};

/// Shortest time between two refreshes of the hotplug thread, in nanoseconds.
const REFRESH_INTERVAL_NS: i64 = 100_000_000;

/// The same if the device refused to say what it has: it is asked again.
const RETRY_INTERVAL_NS: i64 = 500_000_000;

/// How often the wait for the first answers looks whether the device broke, in milliseconds.
const START_POLL_MS: u32 = 100;

/// Largest distance of an edge of a scanout from the corner of the desktop, in pixels: X counts
/// with 16 bits.
const MAX_PLACE: u32 = 32767;

/// What is known of one scanout.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) struct Output {
    /// Whether something is connected.
    pub(crate) enabled: bool,
    /// The size that the device asks for, in pixels, from [`MIN_SIDE`] to [`MAX_SIDE`]; 0 for none.
    size: (u32, u32),
    /// Where the device has its left upper corner, in pixels.
    place: (u32, u32),
}

impl From<&DisplayOne> for Output {
    fn from(one: &DisplayOne) -> Self {
        let r = &one.r;
        let size = match (r.width.get(), r.height.get()) {
            (0, _) | (_, 0) => (0, 0),
            (width, height) => (
                width.clamp(MIN_SIDE, MAX_SIDE),
                height.clamp(MIN_SIDE, MAX_SIDE),
            ),
        };
        Self {
            enabled: one.enabled != 0,
            size,
            place: (r.x.get(), r.y.get()),
        }
    }
}

impl Output {
    /// Returns the size that the device asks for, or that it gets if it asks for none, in pixels.
    pub(crate) fn size_or_default(&self) -> (u32, u32) {
        match self.size {
            (0, 0) => DEFAULT_SIZE,
            size => size,
        }
    }

    /// Returns whether it is on the desktop.
    fn is_placed(&self) -> bool {
        self.place.0 <= MAX_PLACE && self.place.1 <= MAX_PLACE
    }

    /// Returns whether both have pixels at the same place.
    fn overlaps(&self, other: &Self) -> bool {
        let meet = |place: u32, size: u32, other_place: u32, other_size: u32| {
            place < other_place.saturating_add(other_size)
                && other_place < place.saturating_add(size)
        };
        let (size, other_size) = (self.size_or_default(), other.size_or_default());
        meet(self.place.0, size.0, other.place.0, other_size.0)
            && meet(self.place.1, size.1, other.place.1, other_size.1)
    }
}

/// Returns where the output `index` should be on the desktop, in pixels: where the device has it.
/// If the device has outputs on top of each other, as by default all of QEMU's are, or out of
/// reach, it does not care: then all are side by side, from left to right in their order.
fn place(outputs: &[Output], index: usize) -> (u32, u32) {
    let enabled = || {
        outputs
            .iter()
            .enumerate()
            .filter(|(_, output)| output.enabled)
    };
    let apart = enabled().all(|(index, output)| {
        output.is_placed() && enabled().all(|(other, o)| other == index || !output.overlaps(o))
    });
    match outputs.get(index) {
        Some(output) if output.enabled && apart => output.place,
        Some(output) if output.enabled => {
            let before = enabled().take_while(|(other, _)| *other < index);
            (
                before.map(|(_, output)| output.size_or_default().0).sum(),
                0,
            )
        }
        _ => (0, 0),
    }
}

/// What is known of all scanouts.
#[derive(Default, PartialEq)]
struct Scanouts {
    outputs: [Output; MAX_SCANOUTS],
    edids: [Option<KVec<u8>>; MAX_SCANOUTS],
}

impl Scanouts {
    /// Sets everything but the EDIDs.
    fn set(&mut self, display: &DisplayInfo) {
        for (output, one) in self.outputs.iter_mut().zip(&display.pmodes) {
            *output = one.into();
        }
    }
}

/// What is known of all scanouts. Holds nothing of the device.
#[pin_data]
pub(crate) struct Outputs {
    /// Taken alone, or under locks of DRM.
    #[pin]
    state: Mutex<Scanouts>,
    /// Number of scanouts, at most [`MAX_SCANOUTS`].
    count: u32,
    /// Whether the device has EDIDs.
    have_edid: bool,
    /// The log says that the device gives no display information.
    warned: Atomic<bool>,
}

impl Outputs {
    /// Makes the state of `count` scanouts before the device was asked: nothing is known.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn new(count: u32, have_edid: bool) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                state <- new_mutex!(Scanouts::default(), "rust_gpu::Outputs"),
                // CAST: a small constant.
                count: count.min(MAX_SCANOUTS as u32),
                have_edid,
                warned: Atomic::new(false),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the number of scanouts.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Asks a device that is being started for its scanouts and their EDIDs, and keeps the answers.
    /// Returns the scanouts; a device that answers with an error gets
    /// [fallbacks](DisplayInfo::fallback).
    ///
    /// An EDID that is not there by `deadline_ns` of CLOCK_MONOTONIC is left to the hotplug thread.
    ///
    /// Errors: [`ETIMEDOUT`] if the device does not say by then what it has, [`ERESTARTSYS`] after
    /// a fatal signal, [`EBUSY`] if the queue is full, [`ENOMEM`], and those of [`Fences::check`].
    ///
    /// Context: process.
    pub(crate) fn start(
        &self,
        adapter: &Adapter<Gpu<'_>>,
        fences: &Fences,
        deadline_ns: i64,
    ) -> Result<DisplayInfo> {
        // WAIT: first-answers
        let answered = |reply: &Reply| wait_at_start(reply, fences, deadline_ns);
        let send = |packet| match scheduler::submit(adapter, Node::Control, packet)? {
            Ok(()) => Ok(()),
            Err(_) => Err(EBUSY),
        };
        let mut scanouts = Scanouts::default();
        let display = match self.ask_display(adapter, &send, &answered)? {
            Some(display) => display,
            None => DisplayInfo::fallback(),
        };
        scanouts.set(&display);
        match self.ask_edids(adapter, &mut scanouts, &send, &answered) {
            Err(e) if e == ETIMEDOUT => adapter.miniport().display_event().signal(),
            other => other?,
        }
        self.store(scanouts);
        Ok(display)
    }

    /// Asks the device again. Returns whether something changed. The old answers stay if it answers
    /// with an error.
    ///
    /// Waits as long as the device takes: `thread` is woken by the answer, by a reset of the
    /// device, and when it is asked to stop.
    ///
    /// Errors: [`EAGAIN`] if the device answers with an error,
    /// [`ECANCELED`] if the device was reset meanwhile or `thread` is asked to stop,
    /// [`ENODEV`] if the device is stopped, [`ENOMEM`], and those of [`Fences::check`].
    ///
    /// Context: process, `thread`.
    fn refresh(
        &self,
        adapter: &Adapter<Gpu<'_>>,
        fences: &Fences,
        thread: &kthread::Context,
    ) -> Result<bool> {
        // WAIT: scanouts
        let answered = |reply: &Reply| match thread.wait_until(|| reply.is_closed()) {
            true => Ok(()),
            false => Err(ECANCELED),
        };
        let send = |packet| send_when_there_is_room(adapter, fences, packet);
        fences.check()?;
        let mut scanouts = Scanouts::default();
        let display = self.ask_display(adapter, &send, &answered)?.ok_or(EAGAIN)?;
        scanouts.set(&display);
        self.ask_edids(adapter, &mut scanouts, &send, &answered)?;
        Ok(self.store(scanouts))
    }

    /// Keeps what the device said. Returns whether something changed.
    fn store(&self, scanouts: Scanouts) -> bool {
        let mut state = self.state.lock();
        let changed = *state != scanouts;
        *state = scanouts;
        changed
    }

    /// Asks for the scanouts. [`None`] if the device answers with an error, which is logged the
    /// first time.
    fn ask_display(
        &self,
        adapter: &Adapter<Gpu<'_>>,
        send: &dyn Fn(Packet) -> Result,
        answered: &dyn Fn(&Reply) -> Result,
    ) -> Result<Option<DisplayInfo>> {
        let gpu = adapter.miniport();
        let (packet, reply) = Packet::command(gpu.device(), gpu.dma(), &GetDisplayInfo)?;
        send(packet)?;
        answered(&reply)?;
        match reply.decode()? {
            Ok(display) => Ok(Some(display)),
            Err(error) => {
                if !self.warned.xchg(true, Relaxed) {
                    dev_warn!(
                        gpu.device(),
                        "no display information ({})\n",
                        format_args!("{error}")
                    );
                }
                Ok(None)
            }
        }
    }

    /// Asks for the EDIDs of all scanouts, if the device has EDIDs. On failure `scanouts` has those
    /// that came before.
    fn ask_edids(
        &self,
        adapter: &Adapter<Gpu<'_>>,
        scanouts: &mut Scanouts,
        send: &dyn Fn(Packet) -> Result,
        answered: &dyn Fn(&Reply) -> Result,
    ) -> Result {
        if !self.have_edid {
            return Ok(());
        }
        let gpu = adapter.miniport();
        for (scanout, edid) in (0..self.count).zip(&mut scanouts.edids) {
            let command = GetEdid {
                scanout: scanout.into(),
                ..Default::default()
            };
            let (packet, reply) = Packet::command(gpu.device(), gpu.dma(), &command)?;
            send(packet)?;
            answered(&reply)?;
            *edid = decode_edid(gpu.device(), scanout, &reply)?;
        }
        Ok(())
    }

    /// Returns where `scanout` should be on the desktop: its left and upper edge, in pixels.
    ///
    /// Context: process.
    pub(crate) fn place(&self, scanout: usize) -> (u32, u32) {
        let state = self.state.lock();
        let outputs = state.outputs.get(..u32_as_usize(self.count));
        place(outputs.unwrap_or_default(), scanout)
    }

    /// Runs `f` on what is known of `scanout` and on its EDID, if there is one: both from the same
    /// answers.
    ///
    /// Context: process.
    pub(crate) fn with<R>(&self, scanout: usize, f: impl FnOnce(&Output, Option<&[u8]>) -> R) -> R {
        let state = self.state.lock();
        let output = state.outputs.get(scanout).copied().unwrap_or_default();
        let edid = state.edids.get(scanout).and_then(Option::as_deref);
        f(&output, edid)
    }

    /// Returns what is known of `scanout`.
    ///
    /// Context: process.
    pub(crate) fn get(&self, scanout: usize) -> Output {
        self.with(scanout, |output, _| *output)
    }
}

/// Returns the EDID in an answer; [`None`] if there is none. Not inlined, as it needs kilobytes of
/// stack.
#[inline(never)]
fn decode_edid(device: &Device<Bound>, scanout: u32, reply: &Reply) -> Result<Option<KVec<u8>>> {
    let answer: Result<Edid, _> = reply.decode()?;
    match answer {
        Ok(edid) => {
            let mut bytes = KVec::new();
            bytes.extend_from_slice(edid.edid(), GFP_KERNEL)?;
            Ok((!bytes.is_empty()).then_some(bytes))
        }
        Err(error) => {
            dev_dbg!(
                device,
                "no EDID of scanout {} ({})\n",
                scanout,
                format_args!("{error}")
            );
            Ok(None)
        }
    }
}

/// Waits for the answer of a device that is being started.
///
/// Errors: [`ETIMEDOUT`] if there is none by `deadline_ns` of CLOCK_MONOTONIC, [`ERESTARTSYS`]
/// after a fatal signal, and those of [`Fences::check`]. Context: process.
pub(crate) fn wait_at_start(reply: &Reply, fences: &Fences, deadline_ns: i64) -> Result {
    while !reply.is_closed() {
        fences.check()?;
        if Monotonic::ktime_get() >= deadline_ns {
            return Err(ETIMEDOUT);
        }
        // WAIT: first-answers
        match reply.wait_closed(msecs_to_jiffies(START_POLL_MS)) {
            Err(e) if e == ETIMEDOUT => {}
            other => other?,
        }
    }
    Ok(())
}

/// Submits a packet to the control node, and waits for room if its queue is full.
///
/// Errors: [`ENODEV`] if the device is stopped, and those of [`Fences::check`]: removal ends the
/// wait. Context: process, a kernel thread, as signals end the wait as well.
fn send_when_there_is_room(
    adapter: &Adapter<Gpu<'_>>,
    fences: &Fences,
    mut packet: Packet,
) -> Result {
    loop {
        // Before the attempt, so that room made after it is not missed.
        let mark = fences.generation();
        match scheduler::submit(adapter, Node::Control, packet)? {
            Ok(()) => return Ok(()),
            Err(refused) => packet = refused,
        }
        // WAIT: scanouts
        fences.wait_change(mark)?;
    }
}

/// Runs the hotplug thread until it is stopped: asks for the scanouts whenever the device says that
/// they changed, and calls `hotplug` if they did.
///
/// Nothing that the device said is lost: what it says while the thread waits for an answer makes
/// the thread ask once more.
///
/// Context: process, a thread of its own. During `hotplug` user space and the console may set
/// modes, so this must be no thread for which they wait.
pub(crate) fn watch(
    adapter: &Adapter<Gpu<'_>>,
    outputs: &Outputs,
    fences: &Fences,
    hotplug: impl Fn(),
    thread: &kthread::Context,
) {
    let event = adapter.miniport().display_event();
    // WAIT: idle-threads
    while event.wait(thread) {
        let start = Monotonic::ktime_get();
        let mut interval = REFRESH_INTERVAL_NS;
        match outputs.refresh(adapter, fences, thread) {
            Ok(true) => hotplug(),
            Ok(false) => {}
            Err(e) if e == ENOMEM => event.signal(),
            Err(e) if e == EAGAIN => {
                interval = RETRY_INTERVAL_NS;
                event.signal();
            }
            // The device was reset, is stopped or broken. Its next start signals the event.
            Err(_) => {}
        }
        let next = start.saturating_add(interval);
        let left_ms = next.saturating_sub(Monotonic::ktime_get()).max(0) / 1_000_000;
        // CAST: at most the interval.
        let left = msecs_to_jiffies(left_ms as u32);
        // WAIT: refresh-interval
        if !thread.sleep(left) {
            return;
        }
    }
}

#[cfg(CONFIG_DRM_RUST_GPU_KUNIT_TEST)]
#[kunit_tests(rust_gpu_scanouts)]
mod tests {
    use super::*;
    use crate::command::Rect;

    fn answer(edid: &[u8]) -> Result<Scanouts> {
        let mut scanouts = Scanouts::default();
        scanouts.set(&DisplayInfo::fallback());
        let mut bytes = KVec::new();
        bytes.extend_from_slice(edid, GFP_KERNEL)?;
        scanouts.edids[0] = Some(bytes);
        Ok(scanouts)
    }

    #[test]
    fn only_changes_are_told() -> Result {
        let outputs = Outputs::new(1, true)?;

        assert!(outputs.store(answer(&[1, 2])?));
        assert!(!outputs.store(answer(&[1, 2])?));
        assert!(outputs.store(answer(&[1, 3])?));

        let mut off = answer(&[1, 3])?;
        off.outputs[0].enabled = false;
        assert!(outputs.store(off));
        assert!(outputs.store(Scanouts::default()));
        assert!(!outputs.store(Scanouts::default()));
        Ok(())
    }

    fn one(x: u32, y: u32, width: u32, height: u32) -> Output {
        let r = Rect {
            x: x.into(),
            y: y.into(),
            width: width.into(),
            height: height.into(),
        };
        let one = DisplayOne {
            r,
            enabled: 1.into(),
            ..Default::default()
        };
        Output::from(&one)
    }

    fn places(outputs: [Output; 3]) -> [(u32, u32); 3] {
        [0, 1, 2].map(|index| place(&outputs, index))
    }

    #[test]
    fn places_are_those_of_the_device() {
        let off = Output::default();
        let (left, right) = (one(0, 0, 800, 600), one(800, 0, 640, 480));

        assert_eq!(places([left, right, off]), [(0, 0), (800, 0), (0, 0)]);
        assert_eq!(places([right, left, off]), [(800, 0), (0, 0), (0, 0)]);
        let below = one(100, 600, 640, 480);
        assert_eq!(places([left, below, right]), [(0, 0), (100, 600), (800, 0)]);
        // What is off does not count.
        let hidden = Output {
            enabled: false,
            ..left
        };
        assert_eq!(places([left, hidden, right]), [(0, 0), (0, 0), (800, 0)]);
    }

    #[test]
    fn what_overlaps_is_side_by_side() {
        let off = Output::default();
        let (first, second) = (one(0, 0, 800, 600), one(0, 0, 640, 480));

        assert_eq!(
            places([first, second, second]),
            [(0, 0), (800, 0), (1440, 0)]
        );
        assert_eq!(places([second, off, first]), [(0, 0), (0, 0), (640, 0)]);
        // By a pixel, and too far away.
        for other in [
            one(799, 599, 640, 480),
            one(32768, 0, 1, 1),
            one(0, u32::MAX, 1, 1),
        ] {
            assert_eq!(places([first, other, off]), [(0, 0), (800, 0), (0, 0)]);
        }
        // Without a size.
        let unsized_ = one(0, 0, 0, 0);
        assert_eq!(
            places([unsized_, unsized_, off]),
            [(0, 0), (1024, 0), (0, 0)]
        );
    }

    #[test]
    fn sizes_are_those_that_the_device_shows() {
        for (asked, size) in [
            ((1366, 768), (1366, 768)),
            ((1, 1), (16, 16)),
            ((15, 16), (16, 16)),
            ((u32::MAX, 8193), (8192, 8192)),
            ((0, 5), (1024, 768)),
        ] {
            assert_eq!(one(0, 0, asked.0, asked.1).size_or_default(), size);
        }
    }
}
