// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A [`KunitDriver`] sets modes of a device that does not exist, for the tests.

use crate::{
    bindings,
    device,
    drm::{
        self,
        gem::{
            self,
            BaseObject, //
        },
        kms::*,
        UnregisteredDevice, //
    },
    error::from_err_ptr,
    faux,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        }, //
    },
    time::{
        delay::fsleep,
        ClockSource,
        Delta,
        Monotonic, //
    }, //
};
use core::{
    convert::Infallible,
    ptr, //
};

mod cases;
mod modes;
mod user;

const XRGB8888: u32 = u32::from_le_bytes(*b"XR24");
const ARGB8888: u32 = u32::from_le_bytes(*b"AR24");

/// The mode of the output, and the size of its framebuffers.
const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;
const PITCH: u32 = WIDTH * 4;

/// The whole mode.
const SCREEN: Rect = Rect {
    x1: 0,
    y1: 0,
    x2: WIDTH as i32,
    y2: HEIGHT as i32,
};

/// The part of the framebuffer that changes while it is shown.
const DIRTY: Rect = Rect {
    x1: 1,
    y1: 2,
    x2: 3,
    y2: 4,
};

/// Number of objects whose data was dropped since the start of the test.
static DROPPED: Atomic<i32> = Atomic::new(0);

/// [`DROPPED`] when the data of the device was dropped, which comes last.
static DROPPED_BEFORE_DEVICE: Atomic<i32> = Atomic::new(-1);

/// The data of an object, which counts how often it is dropped.
struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Relaxed);
    }
}

/// What the set-up makes, and what goes wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Output,
    Headless,
    /// The data of the plane fails, and the set-up ignores it.
    PlaneFails,
    /// The CRTC gets the cursor plane as its primary one.
    WrongKind,
    /// The CRTC gets a primary plane that is for another CRTC.
    WrongCrtc,
    /// There is a second primary plane, which has no CRTC.
    PrimaryTwice,
}

/// The number of ticks in more time than a test takes.
const FOREVER: i32 = i32::MAX;

/// What the callbacks `atomic_check` refuse.
const NOTHING: i32 = 0;
const PLANES: i32 = 1;
const CRTCS: i32 = 2;

/// A probe waits, and is let go.
const HOLD: i32 = 1;
const HELD: i32 = 2;
const LET_GO: i32 = 3;

/// Sleeps until `value` is `expected`, for ten seconds at most.
fn becomes(value: &Atomic<i32>, expected: i32) -> bool {
    for _ in 0..1000 {
        if value.load(Relaxed) == expected {
            return true;
        }
        fsleep(Delta::from_millis(10));
    }
    false
}

struct KunitData {
    /// [`NOTHING`], [`PLANES`] or [`CRTCS`].
    refused: Atomic<i32>,
    /// Number of expectations that failed in callbacks.
    wrong: Atomic<i32>,
    commits: Atomic<i32>,
    /// Number of ticks from now on that send no event.
    stuck: Atomic<i32>,
    /// The device is found stalled.
    stalled: Atomic<bool>,
    /// Number of commits in the thread of the test.
    own_commits: Atomic<i32>,
    /// The address of that thread's task.
    thread: usize,
    active: Atomic<bool>,
    events: Atomic<i32>,
    ticks: Atomic<i32>,
    sent_by_tick: Atomic<i32>,
    prepared: Atomic<i32>,
    shown: Atomic<i32>,
    released: Atomic<i32>,
    connected: Atomic<bool>,
    /// What the next probe of the output does: [`HOLD`], [`HELD`] or [`LET_GO`], or nothing.
    probe: Atomic<i32>,
    /// Where the output should be, to the right and down.
    offset: Atomic<i32>,
    primary: Atomic<*mut bindings::drm_plane>,
    crtc: Atomic<*mut bindings::drm_crtc>,
    connector: Atomic<*mut bindings::drm_connector>,
}

impl KunitData {
    fn new() -> Self {
        Self {
            refused: Atomic::new(NOTHING),
            wrong: Atomic::new(0),
            commits: Atomic::new(0),
            stuck: Atomic::new(0),
            stalled: Atomic::new(false),
            own_commits: Atomic::new(0),
            thread: current!().as_ptr().addr(),
            active: Atomic::new(false),
            events: Atomic::new(0),
            ticks: Atomic::new(0),
            sent_by_tick: Atomic::new(0),
            prepared: Atomic::new(0),
            shown: Atomic::new(0),
            released: Atomic::new(0),
            // Without a monitor the console does not interfere.
            connected: Atomic::new(false),
            probe: Atomic::new(0),
            offset: Atomic::new(0),
            primary: Atomic::new(ptr::null_mut()),
            crtc: Atomic::new(ptr::null_mut()),
            connector: Atomic::new(ptr::null_mut()),
        }
    }

    fn expect(&self, condition: bool) {
        if !condition {
            self.wrong.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for KunitData {
    fn drop(&mut self) {
        DROPPED_BEFORE_DEVICE.store(DROPPED.load(Relaxed), Relaxed);
    }
}

struct KunitDriver;
struct KunitFile;
struct KunitPlane(Counted);
struct KunitCrtc(Counted);
struct KunitConnector(Counted);
struct KunitFramebuffer(Counted);
#[pin_data]
struct KunitObject {}

impl drm::file::DriverFile for KunitFile {
    type Driver = KunitDriver;

    fn open(_dev: &drm::Device<KunitDriver>) -> Result<Pin<KBox<Self>>> {
        Ok(KBox::new(Self, GFP_KERNEL)?.into())
    }
}

impl gem::DriverObject for KunitObject {
    type Driver = KunitDriver;
    type Args = ();

    // The console is on devices with dumb buffers only.
    const DUMB: Option<gem::DumbOps<Self>> = Some(gem::DumbOps {
        pitch_align: 4,
        args: |_device, _dumb| Ok(()),
    });

    fn new(
        _dev: &drm::Device<KunitDriver>,
        _size: usize,
        _args: Self::Args,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(KunitObject {})
    }
}

#[vtable]
impl drm::Driver for KunitDriver {
    type Data = KunitData;
    type RegistrationData<'a> = Scenario;
    type File = KunitFile;
    type Object = gem::shmem::Object<KunitObject>;
    type ParentDevice<Ctx: device::DeviceContext> = faux::Device<Ctx>;

    const INFO: drm::DriverInfo = drm::DriverInfo {
        major: 0,
        minor: 0,
        patchlevel: 0,
        name: c"kunit",
        desc: c"Kunit",
    };
    const IOCTLS: &'static [drm::ioctl::DrmIoctlDescriptor] = &[];
    const KMS: Option<Ops<Self>> = Some(Ops::new());
}

#[vtable]
impl DriverPlane for KunitPlane {
    type Driver = KunitDriver;

    fn atomic_check(plane: &Plane<Self>, new: &PlaneState<'_, KunitDriver>) -> Result {
        if plane.kind() == PlaneKind::Primary && new.crtc_index() == Some(1) {
            return Err(EINVAL);
        }
        if plane.device().refused.load(Relaxed) == PLANES {
            return Err(EBUSY);
        }
        Ok(())
    }

    fn prepare_fb(plane: &Plane<Self>, _framebuffer: &Framebuffer<KunitDriver>) -> Result {
        plane.device().prepared.fetch_add(1, Relaxed);
        Ok(())
    }
}

#[vtable]
impl DriverCrtc for KunitCrtc {
    type Driver = KunitDriver;

    fn atomic_check(crtc: &Crtc<Self>, new: &CrtcState<'_, KunitDriver>) -> Result {
        if new.active() && new.mode_size() != (WIDTH, HEIGHT) {
            return Err(EINVAL);
        }
        if crtc.device().refused.load(Relaxed) == CRTCS {
            return Err(EBUSY);
        }
        Ok(())
    }

    fn handle_vblank_timeout(crtc: &Crtc<Self>) {
        let device = crtc.device();

        device.ticks.fetch_add(1, Relaxed);
        let age = Monotonic::ktime_get() - crtc.vblank_time();
        device.expect((0..10_000_000_000).contains(&age));
        let stuck = device.stuck.load(Relaxed);
        if stuck > 0 {
            // A test that sets another number of ticks meanwhile wins.
            let _ = device.stuck.cmpxchg(stuck, stuck - 1, Relaxed);
            return;
        }
        if let Some(event) = crtc.take_pending() {
            device.sent_by_tick.fetch_add(1, Relaxed);
            event.send();
        }
    }
}

impl DriverConnector for KunitConnector {
    type Driver = KunitDriver;

    fn detect(connector: &Connector<Self>) -> ConnectorStatus {
        let device = connector.device();
        if device.probe.cmpxchg(HOLD, HELD, Relaxed).is_ok() {
            device.expect(becomes(&device.probe, LET_GO));
        }
        if device.connected.load(Relaxed) {
            ConnectorStatus::Connected
        } else {
            ConnectorStatus::Disconnected
        }
    }

    fn get_modes(connector: &Connector<Self>, modes: &mut ProbedModes<'_>) -> i32 {
        // Not an EDID, too short, too large.
        let none = modes.add_edid_modes(&[0; 128])
            + modes.add_edid_modes(&[0; 5])
            + modes.add_cvt_mode(u32::MAX, u32::MAX, 60, true);
        let count = modes.add_cvt_mode(WIDTH, HEIGHT, 60, true)
            + modes.add_cvt_mode(WIDTH, HEIGHT, 60, true)
            + modes.add_cvt_mode(800, 600, 60, false);

        // There is no EDID, and no mode is there twice.
        let device = connector.device();
        device.expect(modes.add_user_edid_modes() == 0);
        let sizes = modes.iter().map(|mode| (mode.size(), mode.vrefresh()));
        device.expect(sizes.eq([((WIDTH, HEIGHT), 60), ((800, 600), 60)]));
        none * 1000 + count
    }

    fn suggested_offset(connector: &Connector<Self>) -> (u32, u32) {
        let offset = connector.device().offset.load(Relaxed) as u32;
        (offset, 2 * offset)
    }

    fn mode_valid(_connector: &Connector<Self>, mode: &DisplayMode) -> bool {
        mode.is_preferred() && mode.hdisplay() == WIDTH
    }
}

impl DriverFramebuffer for KunitFramebuffer {
    type Driver = KunitDriver;

    fn new() -> impl PinInit<Self> {
        Ok::<_, Infallible>(Self(Counted))
    }

    fn check(_device: &drm::Device<KunitDriver, drm::Ioctl>, layout: &Layout) -> Result {
        if layout.pitch != PITCH {
            return Err(EDOM);
        }
        Ok(())
    }

    fn destroy(framebuffer: &Framebuffer<KunitDriver>) {
        framebuffer.device().released.fetch_add(1, Relaxed);
    }
}

impl KmsDriver for KunitDriver {
    type Plane = KunitPlane;
    type Crtc = KunitCrtc;
    type Connector = KunitConnector;
    type Framebuffer = KunitFramebuffer;

    const INFO: ModeConfigInfo = ModeConfigInfo {
        min_width: 1,
        min_height: 1,
        max_width: 4096,
        max_height: 4096,
        cursor_width: 64,
        cursor_height: 64,
        preferred_depth: 24,
        async_page_flip: true,
        hotplug_mode_update: true,
        suggested_offsets: true,
    };
    const CURSOR_HOTSPOT: bool = true;

    fn setup(setup: &Setup<'_, Self>, scenario: &Scenario) -> Result {
        const FORMATS: &[u32] = &[XRGB8888];
        const CURSOR_FORMATS: &[u32] = &[ARGB8888];

        let mask = if *scenario == Scenario::WrongCrtc {
            2
        } else {
            1
        };
        let cursor = setup.plane(
            PlaneKind::Cursor,
            1,
            CURSOR_FORMATS,
            Ok(KunitPlane(Counted)),
        )?;
        match scenario {
            Scenario::Headless => return Ok(()),
            Scenario::PlaneFails => {
                let failed = setup.plane(PlaneKind::Primary, 1, FORMATS, Err(EDOM));
                setup.device().expect(failed.err() == Some(EDOM));
                return Ok(());
            }
            Scenario::WrongKind => {
                let failed = setup.crtc(cursor, None, Ok(KunitCrtc(Counted)));
                setup.device().expect(failed.err() == Some(EINVAL));
                return Ok(());
            }
            _ => (),
        }
        let primary = setup.plane(PlaneKind::Primary, mask, FORMATS, Ok(KunitPlane(Counted)))?;
        if *scenario == Scenario::PrimaryTwice {
            setup.plane(PlaneKind::Primary, mask, FORMATS, Ok(KunitPlane(Counted)))?;
        }

        let crtc = setup.crtc(primary, Some(cursor), Ok(KunitCrtc(Counted)))?;
        let encoder = setup.encoder(EncoderKind::Virtual, 1 << crtc.index())?;
        let connector =
            setup.connector(ConnectorKind::Virtual, Ok(KunitConnector(Counted)), true)?;
        connector.attach_encoder(encoder)?;

        setup.device().primary.store(primary.as_raw(), Relaxed);
        setup.device().crtc.store(crtc.as_raw(), Relaxed);
        setup.device().connector.store(connector.as_raw(), Relaxed);
        Ok(())
    }

    fn is_stalled(device: &drm::Device<Self, drm::Ioctl>) -> bool {
        device.stalled.load(Relaxed)
    }

    fn atomic_commit_tail<'a>(
        device: &drm::Device<Self, drm::Ioctl>,
        commit: Commit<'a, Self>,
    ) -> HwDone<'a, Self> {
        device.commits.fetch_add(1, Relaxed);
        // Without lockdep each section looks as if it were within another one.
        device.expect(signalling::Signalling::begin().is_nested());
        if current!().as_ptr().addr() == device.thread {
            device.own_commits.fetch_add(1, Relaxed);
        }
        for plane in commit.planes() {
            let Some(framebuffer) = plane.new().framebuffer() else {
                device.expect(plane.damage_merged().is_none());
                continue;
            };
            device.shown.fetch_add(1, Relaxed);
            device.expect(plane.new().visible() && plane.new().src() == SCREEN);
            let damage = if plane.framebuffer_changed() {
                SCREEN
            } else {
                DIRTY
            };
            device.expect(plane.damage_merged() == Some(damage));
            device.expect((framebuffer.width(), framebuffer.height()) == (WIDTH, HEIGHT));
            device.expect((framebuffer.pitch(), framebuffer.format()) == (PITCH, XRGB8888));
            device.expect(framebuffer.object().size() >= (PITCH * HEIGHT) as usize);
        }
        for crtc in commit.crtcs() {
            device.active.store(crtc.active(), Relaxed);
            // `hw_done` sends the event of a commit that switches the output off.
            if !crtc.active() {
                continue;
            }
            if let Some(event) = crtc.take_event() {
                device.events.fetch_add(1, Relaxed);
                device.expect(event.has_vblank());
                event.set_pending();
            }
            device.expect(crtc.take_event().is_none());
        }
        commit.hw_done()
    }
}

/// A registered device. The fields are dropped in this order.
struct Fixture<'a> {
    registration: drm::Registration<'a, KunitDriver>,
    device: ARef<drm::Device<KunitDriver>>,
}

impl<'a> Fixture<'a> {
    fn new(parent: &'a faux::Registration, scenario: Scenario) -> Result<Self> {
        DROPPED.store(0, Relaxed);
        DROPPED_BEFORE_DEVICE.store(-1, Relaxed);

        let parent: &faux::Device<device::Bound> = parent.as_ref();
        let unregistered = UnregisteredDevice::<KunitDriver>::new(parent, Ok(KunitData::new()))?;
        let device = ARef::from(&*unregistered);
        // SAFETY: It is not forgotten.
        let registration = unsafe {
            drm::Registration::new(parent.as_ref(), unregistered, Ok::<_, Error>(scenario), 0)?
        };
        Ok(Self {
            registration,
            device,
        })
    }
}
