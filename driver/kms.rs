// SPDX-License-Identifier: GPL-2.0

//! Mode setting: what the display of the device is to user space.
//!
//! Each scanout is a CRTC with a primary and a cursor plane, an encoder and a virtual connector.
//! What a commit does to the device is in [`display`](crate::display). Nothing here waits for it:
//! the event of a flip is parked until the vblank timer finds the commands of its commit complete.
//! Only a flip that need not wait for vblank waits for its commands, to send its event at once.

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
        CURSOR_SIZE,
        NO_RESOURCE, //
    },
    display::{
        panic,
        Cursor,
        Display,
        Outputs,
        PlaneData,
        Sent,
        ARGB8888,
        BYTES_PER_PIXEL,
        MAX_SIDE,
        XRGB8888, //
    },
    driver::RegistrationData,
    gpu::{
        Framebuffer,
        FramebufferData,
        RustGpuDevice,
        RustGpuDriver, //
    },
    scheduler::{
        Fences,
        Node, //
    },
};

/// Smallest width and height of a framebuffer, in pixels.
const MIN_SIDE: u32 = 32;

/// Size of a scanout for which the device has no wish, in pixels.
const DEFAULT_SIZE: (u32, u32) = (1024, 768);

/// How much smaller than the device's wish a preferred mode may be, in pixels: EDIDs round sizes.
const FILTER: u32 = 16;

/// After how many vblanks a flip counts as done whatever the device says.
const PATIENCE: u32 = 60;

/// How long a flip outside of vblank waits for its commands, in nanoseconds, before it goes on as
/// any other.
const ASYNC_PATIENCE: i64 = 1_000_000_000;

/// How often a commit waits for the control queue to have room for it: each time until something is
/// complete, for a second at the most.
const ATTEMPTS: usize = 8;

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

    /// Errors: those of [`Display::attach`](crate::display::Display::attach). Without a device
    /// there is nothing to prepare, nor to commit: what draws into a framebuffer that is shown, as
    /// the console does, has done nothing wrong.
    fn prepare_fb(plane: &Plane<Self>, framebuffer: &Framebuffer) -> Result {
        let Some(guard) = plane.device().registration_guard() else {
            return Ok(());
        };
        guard.registration_data_with(|data| data.display.attach(framebuffer))
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
            panic::flush(&data.adapter, bound(device), framebuffer);
        });
    }

    fn atomic_async_update(plane: &Plane<Self>, update: &PlaneUpdate<'_, RustGpuDriver>) {
        bring(plane.device(), |display| display.show_cursor(update));
    }
}

/// Returns the device below a DRM device.
fn bound(device: &RustGpuDevice<drm::Registered>) -> &Device<Bound> {
    let parent: &pci::Device<Bound> = device.as_ref();
    parent.as_ref()
}

/// No fence: no event is parked.
const NO_FENCE: u64 = u64::MAX;

/// What the driver keeps with a CRTC.
pub(crate) struct CrtcData {
    fences: Arc<Fences>,
    /// Last fence of the commit whose event is parked, or is about to be; else [`NO_FENCE`]. Set by
    /// commits, of which there is one at a time for a CRTC, and by the vblank timer.
    fence: Atomic<u64>,
    /// Vblanks since that commit.
    vblanks: Atomic<u32>,
    /// When that was, in nanoseconds of CLOCK_MONOTONIC.
    since: Atomic<i64>,
}

impl CrtcData {
    /// Has the event that is parked next wait for `fence` of the control queue.
    fn wait_for(&self, fence: u64) {
        self.vblanks.store(0, Relaxed);
        self.since.store(Monotonic::ktime_get(), Relaxed);
        // Pairs with the load in `handle_vblank_timeout`: who sees the fence sees nothing older.
        self.fence.store(fence, Release);
    }
}

#[vtable]
impl DriverCrtc for CrtcData {
    type Driver = RustGpuDriver;

    /// Tells the scheduler, and sends the event of a commit that the device has executed. Also if
    /// the device is broken, or takes too long: who waits for the event must not hang with it.
    fn handle_vblank_timeout(crtc: &Crtc<Self>) {
        let fence = crtc.fence.load(Acquire);
        let look = fence != NO_FENCE;
        let completed = crtc.device().registration_guard().map_or(0, |guard| {
            guard.registration_data_with(|data| data.display.vsync(crtc.index(), look))
        });
        if !look {
            return;
        }
        // No flip was on the screen before it was asked for: a tick that is late is not for it.
        let done = (completed >= fence && crtc.vblank_time() >= crtc.since.load(Relaxed))
            || crtc.fences.check().is_err()
            || crtc.vblanks.fetch_add(1, Relaxed) >= PATIENCE;
        if !done {
            return;
        }
        if let Some(event) = crtc.take_pending() {
            // Before the event: the next commit waits for that, and then sets its own fence.
            crtc.fence.store(NO_FENCE, Relaxed);
            event.send();
        }
    }
}

/// What the driver keeps with a connector.
pub(crate) struct ConnectorData {
    outputs: Arc<Outputs>,
    /// Index of its scanout.
    scanout: usize,
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

    fn get_modes(connector: &Connector<Self>, modes: &mut ProbedModes<'_>) -> i32 {
        let count = connector
            .outputs
            .with_edid(connector.scanout, |edid| modes.add_edid_modes(edid));
        if let Some(count) = count.filter(|count| *count > 0) {
            return count;
        }
        let (width, height) = connector.outputs.get(connector.scanout).size;
        let count = modes.add_modes_noedid(MAX_SIDE, MAX_SIDE);
        if width == 0 || height == 0 {
            let (width, height) = DEFAULT_SIZE;
            modes.set_preferred_mode(width, height);
            return count;
        }
        count + modes.add_cvt_mode(width, height, 60, true)
    }

    fn mode_valid(connector: &Connector<Self>, mode: &DisplayMode) -> bool {
        let (width, height) = connector.outputs.get(connector.scanout).size;
        let mode_size = (mode.hdisplay(), mode.vdisplay());
        let fits = |mode: u32, wish: u32| mode <= wish && wish - mode <= FILTER;
        !mode.is_preferred()
            || mode_size == DEFAULT_SIZE
            || (fits(mode_size.0, width) && fits(mode_size.1, height))
    }
}

impl DriverFramebuffer for FramebufferData {
    type Driver = RustGpuDriver;

    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            resource: Atomic::new(NO_RESOURCE),
        })
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
        max_width: MAX_SIDE,
        max_height: MAX_SIDE,
        cursor_width: CURSOR_SIZE,
        cursor_height: CURSOR_SIZE,
        preferred_depth: 24,
        async_page_flip: true,
    };
    const CURSOR_HOTSPOT: bool = true;

    fn setup<'a>(setup: &Setup<'a, Self>, data: &'a RegistrationData<'a>) -> Result {
        if !cfg!(CONFIG_DRM_RUST_GPU_KMS) {
            return Ok(());
        }
        for scanout in 0..data.outputs.count() {
            add_scanout(setup, data, scanout)?;
        }
        Ok(())
    }

    fn can_commit_inline(device: &RustGpuDevice<drm::Ioctl>) -> bool {
        device
            .registration_guard()
            .is_some_and(|guard| guard.registration_data_with(|data| data.display.has_room()))
    }

    fn atomic_commit_tail<'a>(
        device: &RustGpuDevice<drm::Ioctl>,
        commit: Commit<'a, Self>,
    ) -> HwDone<'a, Self> {
        for update in commit.crtcs() {
            // What was parked is sent, also by switching the CRTC off.
            update.crtc().fence.store(NO_FENCE, Relaxed);
        }
        // The vblank that sends the event looks whether the device is done.
        let quiet = commit
            .crtcs()
            .all(|update| update.active() && !update.async_flip());
        let mut parked = false;
        let fence = bring(device, |display| display.show(&commit, quiet));
        for update in commit.crtcs() {
            let Some(event) = update.take_event() else {
                continue;
            };
            match fence {
                Some(fence) if update.active() => {
                    if update.async_flip() && is_done(device, fence) {
                        event.send();
                        continue;
                    }
                    update.crtc().wait_for(fence);
                    parked |= event.has_vblank();
                    event.set_pending();
                }
                _ => event.send(),
            }
        }
        if quiet && !parked {
            if let Some(guard) = device.registration_guard() {
                guard.registration_data_with(|data| data.display.listen());
            }
        }
        commit.hw_done()
    }
}

/// Waits for a fence of the control queue. Returns whether it is complete; not if that takes too
/// long, or if the device is broken.
fn is_done(device: &RustGpuDevice<drm::Ioctl>, fence: u64) -> bool {
    let deadline = Monotonic::ktime_get().saturating_add(ASYNC_PATIENCE);
    device.fences.wait(Node::Control, fence, deadline).is_ok()
}

/// Makes the objects of one scanout.
fn add_scanout<'a>(
    setup: &Setup<'a, RustGpuDriver>,
    data: &'a RegistrationData<'a>,
    scanout: u32,
) -> Result {
    let crtcs = 1 << scanout;
    let cursor = data.display.cursors().add(scanout)?;
    let plane = |cursor: &Arc<Cursor>| PlaneData {
        scanout,
        cursor: cursor.clone(),
    };
    let primary = setup.plane(PlaneKind::Primary, crtcs, &[XRGB8888], Ok(plane(&cursor)))?;
    let pointer = setup.plane(PlaneKind::Cursor, crtcs, &[ARGB8888], Ok(plane(&cursor)))?;
    let crtc = CrtcData {
        fences: data.adapter.miniport().fences().clone(),
        fence: Atomic::new(NO_FENCE),
        vblanks: Atomic::new(0),
        since: Atomic::new(0),
    };
    setup.crtc(primary, Some(pointer), Ok(crtc))?;
    let encoder = setup.encoder(EncoderKind::Virtual, crtcs)?;
    let connector = ConnectorData {
        outputs: data.outputs.clone(),
        scanout: u32_as_usize(scanout),
    };
    let has_edid = data.outputs.have_edid();
    setup
        .connector(ConnectorKind::Virtual, Ok(connector), has_edid)?
        .attach_encoder(encoder)
}

/// Brings something to the device with `show`. Returns the last fence of its commands, or [`None`]
/// if the device is gone.
///
/// Waits, with no guard held, only if the control queue has no room for the commands.
fn bring(
    device: &RustGpuDevice<drm::Ioctl>,
    show: impl FnOnce(&Display<'_>) -> Sent,
) -> Option<u64> {
    let mut mark = device.fences.generation();
    let guard = device.registration_guard()?;
    let mut sent = guard.registration_data_with(|data| show(&data.display));
    drop(guard);
    for _ in 0..ATTEMPTS {
        if !sent.left || device.fences.wait_change(mark).is_err() {
            break;
        }
        mark = device.fences.generation();
        let guard = device.registration_guard()?;
        sent = guard.registration_data_with(|data| data.display.send_rest());
    }
    if sent.left {
        let guard = device.registration_guard()?;
        guard.registration_data_with(|data| data.display.give_up());
    }
    Some(sent.fence)
}
