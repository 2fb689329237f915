// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DRM kernel mode setting (KMS).
//!
//! A driver for a device with outputs implements [`KmsDriver`] and names it in
//! [`drm::Driver::KMS`]. Planes, CRTCs, encoders and connectors are made by
//! [`KmsDriver::setup`], before the device is registered, and live as long as the DRM device. All
//! of the state is atomic: what user space asks for is checked by [`DriverPlane::atomic_check`] and
//! [`DriverCrtc::atomic_check`], and is brought to the hardware by [`KmsDriver::atomic_commit_tail`].
//!
//! CRTCs have a vblank timer, for devices without an interrupt of their own for it. Primary planes
//! can show the panic screen, see [`DriverPlane::panic_pages`].
//!
//! # Removal
//!
//! Calls of user space that were in flight when the device was unplugged may still get here. What
//! would switch an output on is refused with `ENODEV` from then on; what is on can change until
//! [`drm::Registration`] has switched it off, as the last thing it does before it drops the
//! registration data. After that no CRTC is on, no framebuffer is in a plane and no vblank tick
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
//! /// Makes one output of one primary plane.
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
//! /// Shows the new framebuffers, and sends the events at once.
//! fn commit<'a, T: KmsDriver>(
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
mod connector;
mod crtc;
mod framebuffer;
mod nonblock;
mod panic;
mod plane;
mod setup;
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
        DisplayMode,
        DriverConnector,
        ProbedModes, //
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

/// The limits of a device, and what it prefers.
///
/// Format modifiers are not supported. Pixel formats that user space names by depth and bits per
/// pixel are those of the host's byte order.
pub struct ModeConfigInfo {
    /// Least width of a framebuffer, in pixels.
    pub min_width: u32,
    /// Least height of a framebuffer, in pixels.
    pub min_height: u32,
    /// Largest width of a framebuffer and of a mode, in pixels.
    pub max_width: u32,
    /// Largest height of a framebuffer and of a mode, in pixels.
    pub max_height: u32,
    /// Width of the cursor, in pixels; zero for the default of DRM.
    pub cursor_width: u32,
    /// Height of the cursor, in pixels; zero for the default of DRM.
    pub cursor_height: u32,
    /// Depth that generic user space should use, in bits; zero for the default of DRM.
    pub preferred_depth: u32,
    /// Whether a flip may happen outside of vblank, see [`CrtcUpdate::async_flip`].
    pub async_page_flip: bool,
}

/// A DRM driver that sets modes.
///
/// Callbacks get a device in the context [`drm::Ioctl`]: it may be gone. What needs it bound asks
/// for a [`registration_guard`](drm::Device::registration_guard).
pub trait KmsDriver: drm::Driver {
    /// What the driver keeps with a plane.
    type Plane: DriverPlane<Driver = Self>;

    /// What the driver keeps with a CRTC.
    type Crtc: DriverCrtc<Driver = Self>;

    /// What the driver keeps with a connector.
    type Connector: DriverConnector<Driver = Self>;

    /// What the driver keeps with a framebuffer.
    type Framebuffer: DriverFramebuffer<Driver = Self>;

    /// The limits of the device.
    const INFO: ModeConfigInfo;

    /// Whether cursor planes have a hotspot, as those of virtual machines have: the host moves the
    /// cursor. User space has to ask for such planes.
    const CURSOR_HOTSPOT: bool = false;

    /// Makes the planes, CRTCs, encoders and connectors.
    ///
    /// Called once, in process context, by [`drm::Registration::new`] before the device is
    /// registered. Without a CRTC the device has no mode setting at all.
    ///
    /// # Errors
    ///
    /// Make the registration fail. So does each error of a method of `setup`, also if it is
    /// ignored.
    fn setup<'a>(setup: &Setup<'a, Self>, data: &'a Self::RegistrationData<'a>) -> Result;

    /// Whether [`Self::atomic_commit_tail`] would not wait now.
    ///
    /// Then a commit that user space does not wait for, and for which DRM has nothing to wait for
    /// either, is brought to the hardware before the ioctl returns. Else a worker does that. Not
    /// asked for modesets and for flips outside of vblank, which the worker always gets.
    ///
    /// Process context, may sleep; the locks of the objects of the commit are held.
    fn can_commit_inline(_device: &drm::Device<Self, drm::Ioctl>) -> bool {
        false
    }

    /// Brings the new state to the hardware.
    ///
    /// Called in process context, may sleep; the locks of the objects of the commit may be held. It
    /// cannot fail, and must come to an end also if the device is gone. Commits of different CRTCs
    /// may run at the same time. [`Commit::hw_done`] ends the access to the new state, which the
    /// next commit may replace from then on.
    ///
    /// The first commits may come before [`drm::Registration::new`] returns.
    fn atomic_commit_tail<'a>(
        device: &drm::Device<Self, drm::Ioctl>,
        commit: Commit<'a, Self>,
    ) -> HwDone<'a, Self>;
}
