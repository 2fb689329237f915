// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A [`KmsDriver`] sets modes: DRM's kernel mode setting (KMS).
//!
//! A driver for a device with outputs implements [`KmsDriver`] and names it in
//! [`drm::Driver::KMS`]. [`KmsDriver::setup`] makes the planes, CRTCs, encoders and connectors
//! before the device is registered. They live as long as the DRM device. All state is atomic:
//! [`DriverPlane::atomic_check`] and [`DriverCrtc::atomic_check`] check a new state, and
//! [`KmsDriver::atomic_commit_tail`] writes it to the hardware.
//!
//! CRTCs have a vblank timer, for devices without a vblank interrupt. Primary planes can show the
//! panic screen, see [`DriverPlane::panic_pages`].
//!
//! # Removal
//!
//! After the unplug of a device, ioctls that were in flight may still get here. A commit that
//! switches an output on is refused with `ENODEV` from then on. An output that is on may still
//! change, until [`drm::Registration`] switches it off, which it does just before it drops the
//! registration data. After that no CRTC is on, no plane has a framebuffer and no vblank tick
//! comes any more.
//!
//! # Examples
//!
//! ```no_run
//! use kernel::{
//!     drm::{
//!         self,
//!         kms::*, //
//!     },
//!     prelude::*, //
//! };
//!
//! /// Makes an output with one primary plane.
//! fn output<T: KmsDriver>(
//!     setup: &Setup<'_, T>,
//!     plane: impl PinInit<T::Plane, Error>,
//!     crtc: impl PinInit<T::Crtc, Error>,
//!     connector: impl PinInit<T::Connector, Error>,
//! ) -> Result {
//!     const XRGB8888: u32 = u32::from_le_bytes(*b"XR24");
//!
//!     let primary = setup.plane(PlaneKind::Primary, 1, &[XRGB8888], plane)?;
//!     let crtc = setup.crtc(primary, None, crtc)?;
//!     let encoder = setup.encoder(EncoderKind::Virtual, 1 << crtc.index())?;
//!     setup
//!         .connector(ConnectorKind::Virtual, connector, false)?
//!         .attach_encoder(encoder)
//! }
//!
//! /// Shows the new framebuffers, and sends the events immediately.
//! fn atomic_commit_tail<'a, T: KmsDriver>(
//!     _device: &drm::Device<T, drm::Ioctl>,
//!     commit: Commit<'a, T>,
//! ) -> HwDone<'a, T> {
//!     for plane in commit.planes() {
//!         if let (Some(fb), Some(damage)) = (plane.new().framebuffer(), plane.damage_merged()) {
//!             pr_info!("plane {}: {:?} of {:x}\n", plane.plane().index(), damage, fb.format());
//!         }
//!     }
//!     for crtc in commit.crtcs() {
//!         if let Some(event) = crtc.take_event() {
//!             event.send();
//!         }
//!     }
//!     commit.hw_done()
//! }
//! ```
//!
//! C headers: [`include/drm/drm_mode_config.h`](srctree/include/drm/drm_mode_config.h),
//! [`include/drm/drm_atomic_helper.h`](srctree/include/drm/drm_atomic_helper.h)

mod atomic;
mod closing;
mod commit;
mod connector;
mod crtc;
mod framebuffer;
mod modes;
mod panic;
mod plane;
mod setup;
mod signalling;
mod sleep;
#[cfg(CONFIG_KUNIT = "y")]
mod tests;
mod vblank;

pub use self::{
    atomic::{
        Commit,
        CrtcUpdate,
        HwDone,
        PlaneUpdate,
        Rect, //
    },
    connector::{
        Connector,
        ConnectorKind,
        ConnectorStatus,
        DriverConnector, //
    },
    crtc::{
        Crtc,
        CrtcState,
        DriverCrtc, //
    },
    framebuffer::{
        DriverFramebuffer,
        Framebuffer,
        Layout, //
    },
    modes::{
        DisplayMode,
        ProbedModes, //
    },
    plane::{
        DriverPlane,
        Plane,
        PlaneKind,
        PlaneState, //
    },
    setup::{
        Encoder,
        EncoderKind,
        Ops,
        Setup, //
    },
    vblank::VblankEvent, //
};

use crate::{
    bindings,
    drm,
    prelude::*, //
};

/// Returns whether the user wants no driver to take a device from the firmware's framebuffer
/// (`nomodeset`). A driver asks this in probe, unless a parameter of its own says otherwise.
///
/// Context: any.
#[doc(alias = "drm_firmware_drivers_only")]
pub fn firmware_drivers_only() -> bool {
    // SAFETY: The function has no requirements: it reads a variable that is set at boot.
    unsafe { bindings::video_firmware_drivers_only() }
}

/// The limits and preferences of a device.
///
/// Format modifiers are not supported. Pixel formats that user space names by depth and bits per
/// pixel have the byte order of the CPU.
#[doc(alias = "drm_mode_config")]
pub struct ModeConfigInfo {
    /// Smallest width of a framebuffer, in pixels.
    pub min_width: u32,
    /// Smallest height of a framebuffer, in pixels.
    pub min_height: u32,
    /// Largest width of a framebuffer, in pixels. Wider modes are not offered either.
    pub max_width: u32,
    /// Largest height of a framebuffer, in pixels. Higher modes are not offered either.
    pub max_height: u32,
    /// Width of the cursor, in pixels; zero for DRM's default.
    pub cursor_width: u32,
    /// Height of the cursor, in pixels; zero for DRM's default.
    pub cursor_height: u32,
    /// Depth that generic user space should use, in bits; zero for DRM's default.
    pub preferred_depth: u32,
    /// Whether a flip may happen outside of vblank, see [`CrtcUpdate::async_flip`].
    pub async_page_flip: bool,
    /// Whether connectors have the property `hotplug_mode_update`, as in virtual machines: user
    /// space should set the preferred mode anew after each hotplug event.
    pub hotplug_mode_update: bool,
    /// Whether connectors have the properties `suggested X` and `suggested Y`, with
    /// [`DriverConnector::suggested_offset`].
    pub suggested_offsets: bool,
}

/// A DRM driver that sets modes.
///
/// Callbacks get a device in the context [`drm::Ioctl`], which may be unplugged. A callback that
/// needs it bound takes a [`registration_guard`](drm::Device::registration_guard).
pub trait KmsDriver: drm::Driver {
    /// The driver's data of a plane.
    type Plane: DriverPlane<Driver = Self>;

    /// The driver's data of a CRTC.
    type Crtc: DriverCrtc<Driver = Self>;

    /// The driver's data of a connector.
    type Connector: DriverConnector<Driver = Self>;

    /// The driver's data of a framebuffer.
    type Framebuffer: DriverFramebuffer<Driver = Self>;

    /// The limits of the device.
    const INFO: ModeConfigInfo;

    /// Whether cursor planes have a hotspot, as in virtual machines, where the host moves the
    /// cursor. User space must ask for such planes.
    #[doc(alias = "DRIVER_CURSOR_HOTSPOT")]
    const CURSOR_HOTSPOT: bool = false;

    /// Makes the planes, CRTCs, encoders and connectors.
    ///
    /// [`drm::Registration::new`] calls this once, before it registers the device. A device without
    /// a CRTC has no mode setting at all. `data` cannot keep the references that `setup` returns:
    /// it lives longer.
    ///
    /// Errors: the registration fails. It also fails if a method of `setup` has returned an error
    /// and this ignores it.
    ///
    /// Context: process, may sleep.
    fn setup<'d>(setup: &Setup<'_, Self>, data: &'d Self::RegistrationData<'d>) -> Result;

    /// Returns whether the device stands still: it has work, but did nothing of it for a while.
    ///
    /// Closing a file, and what the kernel itself shows, do not wait for such a device. Events of
    /// other clients do.
    ///
    /// Context: any, also hard interrupt. Called for each tick while an event waits that nobody
    /// would miss.
    fn is_stalled(_device: &drm::Device<Self, drm::Ioctl>) -> bool {
        false
    }

    /// Writes the new state to the hardware.
    ///
    /// It cannot fail, and must return even if the device is gone. Commits of different CRTCs may
    /// run at the same time. [`Commit::hw_done`] ends the access to the new state: the next commit
    /// may replace it from then on. The abstraction does the rest of C's `atomic_commit_tail`, such
    /// as switching vblanks on and off and cleaning up planes.
    ///
    /// A nonblocking commit that DRM has nothing to wait for runs inline: before the ioctl returns.
    /// So except for modesets and async flips, which are always for a worker, this must not wait
    /// for the hardware.
    ///
    /// Fences depend on it: until [`Commit::hw_done`] it must not allocate memory in a way that
    /// waits for reclaim, and take no lock under which others do. lockdep finds code that does.
    ///
    /// The first commits may come before [`drm::Registration::new`] returns.
    ///
    /// Context: process, may sleep; the locks of the objects of the commit may be held.
    fn atomic_commit_tail<'a>(
        device: &drm::Device<Self, drm::Ioctl>,
        commit: Commit<'a, Self>,
    ) -> HwDone<'a, Self>;
}
