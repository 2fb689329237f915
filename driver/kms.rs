// SPDX-License-Identifier: GPL-2.0

//! Mode setting: what the display of the device is to user space.
//!
//! Each scanout is a CRTC with a primary and a cursor plane, an encoder and a virtual connector.
//! What a commit does to the device is in [`display`](crate::display). No commit waits for it: the
//! event of a flip is parked until the vblank timer finds that the device has answered the commands
//! of its commit. For a frame of 3D it is enough that the device was told: what is drawn later is
//! executed behind that. Only the worker of a flip that need not wait for vblank waits for the
//! device, after the commit, to send the event at once.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    drm::{
        self,
        gem::shmem::Pages,
        kms::{
            Commit,
            Connector,
            ConnectorKind,
            ConnectorStatus,
            Crtc,
            CrtcState,
            CrtcUpdate,
            DisplayMode,
            DriverConnector,
            DriverCrtc,
            DriverFramebuffer,
            DriverPlane,
            EncoderKind,
            HwDone,
            KmsDriver,
            Layout,
            ModeConfigInfo,
            Plane,
            PlaneKind,
            PlaneState,
            PlaneUpdate,
            ProbedModes,
            Setup, //
        },
    },
    num::casts::u32_as_usize,
    pci,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        Arc, //
    },
    time::{
        ClockSource,
        Monotonic, //
    },
};

use crate::{
    command::{
        ARGB8888,
        CURSOR_SIZE,
        MAX_SCANOUTS, //
    },
    display::{
        panic,
        Outputs,
        PlaneData,
        Progress,
        DEFAULT_SIZE,
        MAX_FRAMEBUFFER_SIDE,
        MAX_SIDE,
        MIN_SIDE, //
    },
    driver::RegistrationData,
    gpu::{
        Framebuffer,
        FramebufferData,
        RustGpuDevice,
        RustGpuDriver,
        BYTES_PER_PIXEL, //
    },
    scheduler::{
        Fences,
        Interrupt,
        Node, //
    },
};

/// Refresh rate of the mode that the device wishes, in Hz.
const REFRESH: u32 = 60;

/// How much smaller than the device's wish a preferred mode may be, in pixels: EDIDs round sizes.
const SIZE_TOLERANCE: u32 = 16;

/// After how long a flip counts as done whatever the device says, in nanoseconds.
const FLIP_TIMEOUT_NS: i64 = 1_000_000_000;

/// How long a flip outside of vblank waits for the device, in nanoseconds, before it goes on as any
/// other.
const ASYNC_FLIP_TIMEOUT_NS: i64 = 200_000_000;

/// How long a new resource waits until the device has let go of old ones, in nanoseconds.
const PREPARE_TIMEOUT_NS: i64 = 200_000_000;

#[vtable]
impl DriverPlane for PlaneData {
    type Driver = RustGpuDriver;

    const DAMAGE_OF_FLIPS: bool = true;

    /// Errors: [`EINVAL`] for the image of a cursor that the device cannot show.
    fn atomic_check(plane: &Plane<Self>, new: &PlaneState<'_, RustGpuDriver>) -> Result {
        let Some(framebuffer) = new.framebuffer() else {
            return Ok(());
        };
        let size = (framebuffer.width(), framebuffer.height());
        let pitch = CURSOR_SIZE * BYTES_PER_PIXEL;
        if plane.kind() == PlaneKind::Cursor
            && (size != (CURSOR_SIZE, CURSOR_SIZE) || framebuffer.pitch() != pitch)
        {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Errors: those of [`Display::prepare`](crate::display::Display::prepare); [`ERESTARTSYS`]
    /// after a signal. Without a device there is nothing to prepare, nor to commit: what draws into
    /// a framebuffer that is shown, as the console does, has done nothing wrong.
    fn prepare_fb(plane: &Plane<Self>, framebuffer: &Framebuffer) -> Result {
        let device = plane.device();
        let now = Monotonic::ktime_get();
        plane.prepared.store(now, Relaxed);
        let deadline = now.saturating_add(PREPARE_TIMEOUT_NS);
        loop {
            let mark = device.fences.generation();
            let Some(guard) = device.registration_guard() else {
                return Ok(());
            };
            let prepared = guard
                .registration_data_with(|data| data.display.prepare(framebuffer, plane.kind()));
            drop(guard);
            match prepared {
                // The device still holds too much. On one that works that takes milliseconds.
                Err(error) if error == EBUSY && !device.fences.is_stalled() => {}
                prepared => return prepared,
            }
            // WAIT: prepare-room
            match device.fences.wait_change_until(mark, deadline) {
                Err(error) if error == ETIME => return Err(EBUSY),
                waited => waited?,
            }
        }
    }

    fn panic_pages<'a>(
        device: &'a RustGpuDevice<drm::Registered>,
        _plane: &'a Plane<Self>,
        framebuffer: &'a Framebuffer,
    ) -> Option<Pages<'a>> {
        // Whoever prepared the framebuffer has pinned them.
        framebuffer.object().pinned_pages(bound(device))
    }

    fn panic_flush(
        device: &RustGpuDevice<drm::Registered>,
        _plane: &Plane<Self>,
        framebuffer: &Framebuffer,
    ) {
        device.registration_data_with(|data| {
            // WAIT: none, a panic waits for nothing
            panic::flush(&data.adapter, bound(device), framebuffer);
        });
    }

    fn atomic_async_update(plane: &Plane<Self>, update: &PlaneUpdate<'_, RustGpuDriver>) {
        if let Some(guard) = plane.device().registration_guard() {
            guard.registration_data_with(|data| data.display.move_cursor(update));
        }
    }
}

/// Returns the device below a DRM device.
fn bound(device: &RustGpuDevice<drm::Registered>) -> &Device<Bound> {
    let parent: &pci::Device<Bound> = device.as_ref();
    parent.as_ref()
}

/// No commit: no event is parked.
const NO_COMMIT: u64 = u64::MAX;

/// What the driver keeps with a CRTC.
pub(crate) struct CrtcData {
    fences: Arc<Fences>,
    progress: Arc<Progress>,
    /// Number of the commit whose event is parked; else [`NO_COMMIT`]. Set by commits, of which
    /// there is one at a time for a CRTC. Whoever takes it back, the vblank timer or the worker of
    /// the commit, sends the event: the next commit waits for that, so it is of that commit.
    commit: Atomic<u64>,
    /// When that was, in nanoseconds of CLOCK_MONOTONIC.
    since: Atomic<i64>,
    /// When it was asked for. That is before, by the fences for which it waits.
    asked: Atomic<i64>,
    /// The device itself draws the frame of that commit.
    is_rendered: Atomic<bool>,
}

impl CrtcData {
    /// The event that was parked is for the last commit, whose number is returned.
    fn expect_commit(&self, primary: Option<&PlaneUpdate<'_, RustGpuDriver>>) -> u64 {
        let commit = self.progress.committed();
        let now = Monotonic::ktime_get();
        let asked = primary.map_or(now, |update| update.plane().prepared.load(Relaxed));
        let is_rendered = primary.is_some_and(is_rendered);
        self.since.store(now, Relaxed);
        self.asked.store(asked, Relaxed);
        self.is_rendered.store(is_rendered, Relaxed);
        // Pairs with the load in `handle_vblank_timeout`: after it the others are those of the
        // commit, and the event is there.
        self.commit.store(commit, Release);
        commit
    }

    /// Returns whether the device has executed a commit, or will not. What it draws itself needs
    /// only be sent: nothing is read of the memory of the guest, and the buffer that was shown
    /// before is drawn to behind it.
    fn is_done(&self, commit: u64) -> bool {
        let is_done = match self.is_rendered.load(Relaxed) {
            true => self.progress.is_sent(commit),
            false => self.progress.is_done(commit),
        };
        is_done || self.fences.check().is_err()
    }
}

#[vtable]
impl DriverCrtc for CrtcData {
    type Driver = RustGpuDriver;

    /// Errors: [`EINVAL`] for a mode of a size that is not offered either.
    fn atomic_check(_crtc: &Crtc<Self>, new: &CrtcState<'_, RustGpuDriver>) -> Result {
        match new.mode_size() {
            (0, 0) => Ok(()),
            size if is_mode_size(size) => Ok(()),
            _ => Err(EINVAL),
        }
    }

    /// Tells the scheduler, and sends the event of a commit that the device has executed. Also if
    /// the device is broken, or takes too long: clients that wait for the event must not hang with
    /// it.
    fn handle_vblank_timeout(crtc: &Crtc<Self>) {
        let commit = crtc.commit.load(Acquire);
        let parked = commit != NO_COMMIT;
        if let Some(guard) = crtc.device().registration_guard() {
            guard.registration_data_with(|data| data.display.vsync(crtc.index(), parked));
        }
        if !parked {
            return;
        }
        // No flip was on the screen before it was asked for: a tick that is late is not for it.
        let in_time = crtc.vblank_time() >= crtc.asked.load(Relaxed);
        let waited = Monotonic::ktime_get().saturating_sub(crtc.since.load(Relaxed));
        let done = (crtc.is_done(commit) && in_time) || waited >= FLIP_TIMEOUT_NS;
        if done {
            send_event(crtc, commit);
        }
    }
}

/// Sends the event of `commit`, unless that was done.
fn send_event(crtc: &Crtc<CrtcData>, commit: u64) {
    if crtc.commit.cmpxchg(commit, NO_COMMIT, Relaxed).is_err() {
        return;
    }
    if let Some(event) = crtc.take_pending() {
        event.send();
    }
}

/// Returns whether a screen can have so many pixels, as width and height.
fn is_mode_size((width, height): (u32, u32)) -> bool {
    let sides = MIN_SIDE..=MAX_SIDE;
    sides.contains(&width) && sides.contains(&height)
}

/// What the driver keeps with a connector.
pub(crate) struct ConnectorData {
    outputs: Arc<Outputs>,
    /// Index of its scanout.
    scanout: usize,
    /// The modes of the last probe are from an EDID that the user has loaded. Only probes use it.
    users_edid: Atomic<bool>,
    /// The size that the device wished at the last probe, in pixels. Only probes use it.
    wish: (Atomic<u32>, Atomic<u32>),
}

impl DriverConnector for ConnectorData {
    type Driver = RustGpuDriver;

    fn detect(connector: &Connector<Self>) -> ConnectorStatus {
        if connector.outputs.get(connector.scanout).enabled {
            ConnectorStatus::Connected
        } else {
            ConnectorStatus::Disconnected
        }
    }

    /// What the user says goes first, then the EDID of the device, then modes that monitors usually
    /// have. The size that the device wishes is among them, unless the user has said otherwise.
    fn get_modes(connector: &Connector<Self>, modes: &mut ProbedModes<'_>) -> i32 {
        let mut count = modes.add_user_edid_modes();
        connector.users_edid.store(count > 0, Relaxed);
        if count > 0 {
            return count;
        }
        let size = connector.outputs.with(connector.scanout, |output, edid| {
            count = edid.map_or(0, |edid| modes.add_edid_modes(edid));
            output.size_or_default()
        });
        connector.wish.0.store(size.0, Relaxed);
        connector.wish.1.store(size.1, Relaxed);
        if count == 0 {
            count = modes.add_modes_noedid(MAX_SIDE, MAX_SIDE);
        }
        if !modes
            .iter()
            .any(|mode| mode.is_preferred() && mode.size() == size)
        {
            count += modes.add_cvt_mode(size.0, size.1, REFRESH, true);
        }
        count
    }

    /// A mode that the device's own EDID prefers has to be near what the device wishes.
    fn mode_valid(connector: &Connector<Self>, mode: &DisplayMode) -> bool {
        if !is_mode_size(mode.size()) {
            return false;
        }
        // That for which the modes were made: it may be another one by now.
        let wish = (
            connector.wish.0.load(Relaxed),
            connector.wish.1.load(Relaxed),
        );
        let fits = |mode: u32, wish: u32| mode <= wish && wish - mode <= SIZE_TOLERANCE;
        !mode.is_preferred()
            || connector.users_edid.load(Relaxed)
            || mode.size() == DEFAULT_SIZE
            || (fits(mode.hdisplay(), wish.0) && fits(mode.vdisplay(), wish.1))
    }

    fn suggested_offset(connector: &Connector<Self>) -> (u32, u32) {
        connector.outputs.place(connector.scanout)
    }
}

impl DriverFramebuffer for FramebufferData {
    type Driver = RustGpuDriver;

    fn new() -> impl PinInit<Self> {
        Self::new()
    }

    /// Errors: [`EINVAL`] for lines that are no whole number of pixels: the resources of the host
    /// have no such lines.
    fn check(_device: &RustGpuDevice<drm::Ioctl>, layout: &Layout) -> Result {
        if layout.pitch % BYTES_PER_PIXEL != 0 {
            return Err(EINVAL);
        }
        Ok(())
    }

    fn destroy(framebuffer: &Framebuffer) {
        // Without a device the resource ended with its reset.
        if let Some(guard) = framebuffer.device().registration_guard() {
            guard.registration_data_with(|data| data.display.detach(framebuffer));
        }
    }
}

impl KmsDriver for RustGpuDriver {
    type Plane = PlaneData;
    type Crtc = CrtcData;
    type Connector = ConnectorData;
    type Framebuffer = FramebufferData;

    const INFO: ModeConfigInfo = ModeConfigInfo {
        min_width: MIN_SIDE,
        min_height: MIN_SIDE,
        max_width: MAX_FRAMEBUFFER_SIDE,
        max_height: MAX_FRAMEBUFFER_SIDE,
        cursor_width: CURSOR_SIZE,
        cursor_height: CURSOR_SIZE,
        preferred_depth: 24,
        async_page_flip: true,
        hotplug_mode_update: true,
        suggested_offsets: true,
    };
    const CURSOR_HOTSPOT: bool = true;

    fn setup(setup: &Setup<'_, Self>, data: &RegistrationData<'_>) -> Result {
        if !cfg!(CONFIG_DRM_RUST_GPU_KMS) {
            return Ok(());
        }
        for scanout in 0..data.outputs.count() {
            add_scanout(setup, data, scanout)?;
        }
        Ok(())
    }

    fn is_stalled(device: &RustGpuDevice<drm::Ioctl>) -> bool {
        let completed = device.fences.completed(Node::Control);
        device.fences.is_stalled() || device.lull.lasts(completed, Monotonic::ktime_get())
    }

    fn atomic_commit_tail<'a>(
        device: &RustGpuDevice<drm::Ioctl>,
        commit: Commit<'a, Self>,
    ) -> HwDone<'a, Self> {
        for update in commit.crtcs() {
            // What was parked is sent, also by switching the CRTC off.
            update.crtc().commit.store(NO_COMMIT, Relaxed);
        }
        // The vblank that sends the event polls the device, unless it need not wait for it.
        let polled = commit.crtcs().all(|update| {
            let primary = primary(&commit, &update);
            update.active() && !update.async_flip() && !primary.as_ref().is_some_and(is_rendered)
        });
        let interrupt = match polled {
            true => Interrupt::Suppressed,
            false => Interrupt::Wanted,
        };
        let guard = device.registration_guard();
        if let Some(guard) = &guard {
            guard.registration_data_with(|data| data.display.commit(&commit, interrupt));
        }
        let mut parked = false;
        let mut async_flips = [None; MAX_SCANOUTS];
        for (update, async_flip) in commit.crtcs().zip(&mut async_flips) {
            let Some(event) = update.take_event() else {
                continue;
            };
            if guard.is_none() || !update.active() {
                event.send();
                continue;
            }
            let primary = primary(&commit, &update);
            if primary.as_ref().is_some_and(|it| is_over(&update, it)) {
                event.send();
                continue;
            }
            let waits = event.set_pending();
            let number = update.crtc().expect_commit(primary.as_ref());
            parked |= waits;
            *async_flip = (waits && update.async_flip()).then_some(number);
        }
        if let Some(guard) = guard {
            if polled && !parked {
                // No vblank polls.
                guard.registration_data_with(|data| data.display.poll());
            }
        }
        let done = commit.hw_done();
        for (crtc, async_flip) in done.crtcs().zip(async_flips) {
            if let Some(number) = async_flip {
                end_async_flip(device, crtc, number);
            }
        }
        done
    }
}

/// Returns the primary plane of a CRTC, if it is in `commit`.
fn primary<'c>(
    commit: &'c Commit<'_, RustGpuDriver>,
    crtc: &CrtcUpdate<'_, RustGpuDriver>,
) -> Option<PlaneUpdate<'c, RustGpuDriver>> {
    let index = crtc.crtc().index();
    commit.planes().find(|update| {
        update.plane().kind() == PlaneKind::Primary && update.plane().scanout == index
    })
}

/// Returns whether the device itself draws what a plane shows.
fn is_rendered(update: &PlaneUpdate<'_, RustGpuDriver>) -> bool {
    let framebuffer = update.new().framebuffer();
    framebuffer.is_some_and(|framebuffer| framebuffer.object().own().is_some())
}

/// Returns whether a vblank came between the question for a flip and its commit, which had to wait
/// for what the device draws. Then the flip need not wait for one more.
fn is_over(crtc: &CrtcUpdate<'_, RustGpuDriver>, primary: &PlaneUpdate<'_, RustGpuDriver>) -> bool {
    let crtc = crtc.crtc();
    is_rendered(primary)
        && crtc.progress.is_sent(crtc.progress.committed())
        && crtc.vblank_time() >= primary.plane().prepared.load(Relaxed)
}

/// Waits until the device has executed `commit` of `crtc`, and sends its event then. If that takes
/// too long, a vblank sends it.
fn end_async_flip(device: &RustGpuDevice<drm::Ioctl>, crtc: &Crtc<CrtcData>, commit: u64) {
    let deadline = Monotonic::ktime_get().saturating_add(ASYNC_FLIP_TIMEOUT_NS);
    let done = || crtc.commit.load(Relaxed) != commit || crtc.is_done(commit);
    // WAIT: async-flip
    if device.fences.wait_until(deadline, done).is_ok() {
        send_event(crtc, commit);
    }
}

/// Makes the objects of one scanout.
fn add_scanout(
    setup: &Setup<'_, RustGpuDriver>,
    data: &RegistrationData<'_>,
    scanout: u32,
) -> Result {
    let crtcs = 1 << scanout;
    let plane = || {
        Ok(PlaneData {
            scanout,
            prepared: Atomic::new(0),
        })
    };
    let primary = setup.plane(PlaneKind::Primary, crtcs, data.formats.fourccs(), plane())?;
    let pointer = setup.plane(PlaneKind::Cursor, crtcs, &[ARGB8888], plane())?;
    let crtc = CrtcData {
        fences: data.adapter.miniport().fences().clone(),
        progress: data.display.progress(scanout)?,
        commit: Atomic::new(NO_COMMIT),
        since: Atomic::new(0),
        asked: Atomic::new(0),
        is_rendered: Atomic::new(false),
    };
    setup.crtc(primary, Some(pointer), Ok(crtc))?;
    let encoder = setup.encoder(EncoderKind::Virtual, crtcs)?;
    let connector = ConnectorData {
        outputs: data.outputs.clone(),
        scanout: u32_as_usize(scanout),
        users_edid: Atomic::new(false),
        wish: (Atomic::new(0), Atomic::new(0)),
    };
    // Also if the device has no EDIDs: the user may have one.
    setup
        .connector(ConnectorKind::Virtual, Ok(connector), true)?
        .attach_encoder(encoder)
}
