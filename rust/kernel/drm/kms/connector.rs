// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A [`DriverConnector`] implements the connectors of a driver, and [`ProbedModes`] takes the modes
//! of one.
//!
//! C headers: [`include/drm/drm_connector.h`](srctree/include/drm/drm_connector.h),
//! [`include/drm/drm_edid.h`](srctree/include/drm/drm_edid.h)

use super::{
    Encoder,
    KmsDriver,
    Setup, //
};
use crate::{
    bindings,
    drm,
    error::to_result,
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    prelude::*,
    types::Opaque, //
};
use core::{
    marker::PhantomData,
    ops::Deref,
    ptr, //
};

/// Highest refresh rate for which `drm_cvt_mode()` does not overflow, in Hz.
const MAX_REFRESH: u32 = 240;

/// Largest width and height for which `drm_cvt_mode()` does not overflow, in pixels.
const MAX_SIZE: u32 = 32767;

/// The kind of a connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u32)]
pub enum ConnectorKind {
    /// Of a virtual machine.
    Virtual = bindings::DRM_MODE_CONNECTOR_VIRTUAL,
}

/// Whether something is connected to a connector.
#[doc(alias = "drm_connector_status")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectorStatus {
    /// Something is connected.
    Connected,
    /// Nothing is connected.
    Disconnected,
    /// The driver cannot tell.
    Unknown,
}

/// The callbacks and the data of a driver for its connectors.
///
/// Context of all methods: process, may sleep; the lock of the mode configuration is held.
#[doc(alias = "drm_connector_funcs")]
#[doc(alias = "drm_connector_helper_funcs")]
pub trait DriverConnector: Send + Sync + Sized + 'static {
    /// The driver whose connectors these are.
    type Driver: KmsDriver<Connector = Self>;

    /// Returns whether something is connected.
    fn detect(connector: &Connector<Self>) -> ConnectorStatus;

    /// Adds the modes of the monitor that is connected, and returns their number.
    fn get_modes(connector: &Connector<Self>, modes: &mut ProbedModes<'_>) -> i32;

    /// Returns whether the driver can use a mode.
    fn mode_valid(_connector: &Connector<Self>, _mode: &DisplayMode) -> bool {
        true
    }
}

/// A connector, with the data of the driver.
///
/// # Invariants
///
/// `connector` is an initialized `struct drm_connector` of a `drm::Device<T::Driver>`, and lives as
/// long as that. It was made by [`Setup::connector`].
#[doc(alias = "drm_connector")]
#[repr(C)]
pub struct Connector<T: DriverConnector> {
    connector: Opaque<bindings::drm_connector>,
    data: T,
}

// SAFETY: The data is `Send`, and `struct drm_connector` can be used from any thread.
unsafe impl<T: DriverConnector> Send for Connector<T> {}

// SAFETY: The data is `Sync`, and what is read of `struct drm_connector` does not change.
unsafe impl<T: DriverConnector> Sync for Connector<T> {}

impl<T: DriverConnector> Connector<T> {
    const FUNCS: bindings::drm_connector_funcs = bindings::drm_connector_funcs {
        detect: Some(Self::detect_callback),
        fill_modes: Some(bindings::drm_helper_probe_single_connector_modes),
        reset: Some(bindings::drm_atomic_helper_connector_reset),
        atomic_duplicate_state: Some(bindings::drm_atomic_helper_connector_duplicate_state),
        atomic_destroy_state: Some(bindings::drm_atomic_helper_connector_destroy_state),
        ..pin_init::zeroed()
    };

    const HELPER_FUNCS: bindings::drm_connector_helper_funcs =
        bindings::drm_connector_helper_funcs {
            get_modes: Some(Self::get_modes_callback),
            mode_valid: Some(Self::mode_valid_callback),
            ..pin_init::zeroed()
        };

    pub(super) fn new<'s>(
        setup: &Setup<'s, T::Driver>,
        kind: ConnectorKind,
        data: impl PinInit<T, Error>,
        edid_property: bool,
    ) -> Result<&'s Self> {
        let this = setup.alloc::<Self>()?;

        // SAFETY: `this` is valid, since the allocation was successful.
        let connector = Opaque::cast_into(unsafe { &raw const (*this).connector });

        // SAFETY: The device is valid, `connector` is zeroed memory that lives as long, and the
        // functions are a constant. The DDC is optional.
        to_result(unsafe {
            bindings::drmm_connector_init(
                setup.as_raw(),
                connector,
                const { &Self::FUNCS },
                kind as c_int,
                ptr::null_mut(),
            )
        })?;

        // SAFETY: `connector` is valid and the functions are a constant.
        unsafe { bindings::drm_connector_helper_add(connector, const { &Self::HELPER_FUNCS }) };

        // SAFETY: `data` is a part of the allocation, which lives as long as the device. If this
        // fails, the device is never registered, so nothing uses the data.
        unsafe { setup.init(&raw mut (*this).data, data) }?;

        if edid_property {
            // SAFETY: The connector is valid and not registered.
            unsafe { bindings::drm_connector_attach_edid_property(connector) };
        }

        // INVARIANT: The connector and its data are initialized, and are released with the device.
        // SAFETY: As above; the device outlives `'s`.
        Ok(unsafe { &*this })
    }

    /// # Safety
    ///
    /// `connector` must have been made by [`Setup::connector`] for connectors of this type, and its
    /// device must not be released during `'a`.
    unsafe fn from_raw<'a>(connector: *mut bindings::drm_connector) -> &'a Self {
        // SAFETY: By the safety requirements `connector` is the field of a `Self`.
        unsafe { &*crate::container_of!(Opaque::cast_from(connector), Self, connector) }
    }

    pub(super) fn as_raw(&self) -> *mut bindings::drm_connector {
        self.connector.get()
    }

    /// Returns the device of the connector.
    pub fn device(&self) -> &drm::Device<T::Driver, drm::Ioctl> {
        // SAFETY: By the type invariants the connector is of a `drm::Device<T::Driver>`, which
        // lives as long. Callbacks only come after the registration. During the set-up the parent
        // device is bound and the registration data is valid, as for a registered device.
        unsafe { drm::Device::from_raw((*self.as_raw()).dev) }
    }

    /// Returns the index of the connector among those of the device.
    #[doc(alias = "drm_connector_index")]
    pub fn index(&self) -> u32 {
        // SAFETY: The connector is initialized, and the index does not change.
        unsafe { (*self.as_raw()).index }
    }

    /// Lets the encoder drive the connector.
    ///
    /// Errors: [`EINVAL`] if the encoder is of another device.
    ///
    /// Context: [`KmsDriver::setup`], as nothing else has encoders.
    #[doc(alias = "drm_connector_attach_encoder")]
    pub fn attach_encoder(&self, encoder: &Encoder) -> Result {
        // SAFETY: Both are initialized, and neither changes its device.
        if unsafe { (*encoder.as_raw()).dev != (*self.as_raw()).dev } {
            return Err(EINVAL);
        }

        // SAFETY: Both are valid, of the same device, which is not registered.
        to_result(unsafe {
            bindings::drm_connector_attach_encoder(self.as_raw(), encoder.as_raw())
        })
    }

    /// # Safety
    ///
    /// Only the DRM core calls this, as `drm_connector_funcs::detect` of a connector of this type.
    unsafe extern "C" fn detect_callback(
        connector: *mut bindings::drm_connector,
        _force: bool,
    ) -> bindings::drm_connector_status {
        // SAFETY: By the safety requirements.
        match T::detect(unsafe { Self::from_raw(connector) }) {
            ConnectorStatus::Connected => {
                bindings::drm_connector_status::connector_status_connected
            }
            ConnectorStatus::Disconnected => {
                bindings::drm_connector_status::connector_status_disconnected
            }
            ConnectorStatus::Unknown => bindings::drm_connector_status::connector_status_unknown,
        }
    }

    /// # Safety
    ///
    /// Only the DRM core calls this, as `drm_connector_helper_funcs::get_modes` of a connector of
    /// this type.
    unsafe extern "C" fn get_modes_callback(connector: *mut bindings::drm_connector) -> c_int {
        // INVARIANT: By the safety requirements the core probes the connector.
        let mut modes = ProbedModes {
            connector,
            _callback: PhantomData,
        };

        // SAFETY: By the safety requirements.
        T::get_modes(unsafe { Self::from_raw(connector) }, &mut modes)
    }

    /// # Safety
    ///
    /// Only the DRM core calls this, as `drm_connector_helper_funcs::mode_valid` of a connector of
    /// this type.
    unsafe extern "C" fn mode_valid_callback(
        connector: *mut bindings::drm_connector,
        mode: *const bindings::drm_display_mode,
    ) -> bindings::drm_mode_status {
        // SAFETY: By the safety requirements. `DisplayMode` is transparent.
        let (this, mode) = unsafe { (Self::from_raw(connector), &*mode.cast::<DisplayMode>()) };

        if T::mode_valid(this, mode) {
            bindings::drm_mode_status::MODE_OK
        } else {
            bindings::drm_mode_status::MODE_BAD
        }
    }
}

impl<T: DriverConnector> Deref for Connector<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

/// A display mode.
///
/// # Invariants
///
/// `self.0` is a valid `struct drm_display_mode`, which does not change.
#[doc(alias = "drm_display_mode")]
#[repr(transparent)]
pub struct DisplayMode(Opaque<bindings::drm_display_mode>);

impl DisplayMode {
    fn get(&self) -> &bindings::drm_display_mode {
        // SAFETY: By the type invariants.
        unsafe { &*self.0.get() }
    }

    /// Returns the width in pixels.
    pub fn hdisplay(&self) -> u32 {
        self.get().hdisplay.into()
    }

    /// Returns the height in pixels.
    pub fn vdisplay(&self) -> u32 {
        self.get().vdisplay.into()
    }

    /// Returns whether the mode is the preferred one of its connector.
    pub fn is_preferred(&self) -> bool {
        u32::from(self.get().type_) & bindings::DRM_MODE_TYPE_PREFERRED != 0
    }
}

/// Takes the modes of a connector.
///
/// All methods that add modes return their number, and zero if there is no memory.
///
/// # Invariants
///
/// `connector` is valid, and it is being probed during `'a`: the lock of the mode configuration is
/// held.
#[doc(alias = "probed_modes")]
pub struct ProbedModes<'a> {
    connector: *mut bindings::drm_connector,
    _callback: PhantomData<&'a mut bindings::drm_connector>,
}

impl ProbedModes<'_> {
    /// Adds the modes of an EDID, which becomes that of the connector.
    ///
    /// `bytes` are blocks of 128 bytes, which are checked. An incomplete block at the end is
    /// ignored. An EDID that the administrator has loaded takes precedence. The connector needs its
    /// EDID property.
    #[doc(alias = "drm_edid_read_custom")]
    #[doc(alias = "drm_edid_connector_update")]
    #[doc(alias = "drm_edid_connector_add_modes")]
    pub fn add_edid_modes(&mut self, bytes: &[u8]) -> i32 {
        /// # Safety
        ///
        /// Called by `drm_edid_read_custom()` below, with a pointer to `bytes` as context and
        /// `len` writable bytes at `buf`.
        unsafe extern "C" fn read_block(
            context: *mut c_void,
            buf: *mut u8,
            block: c_uint,
            len: usize,
        ) -> c_int {
            // SAFETY: By the safety requirements.
            let bytes = unsafe { *context.cast::<&[u8]>() };
            let block = (block as usize)
                .checked_mul(bindings::EDID_LENGTH as usize)
                .and_then(|start| bytes.get(start..start.checked_add(len)?));
            let Some(block) = block else {
                return EINVAL.to_errno();
            };

            // SAFETY: Both have `len` bytes: `buf` by the safety requirements, `block` as cut
            // above.
            unsafe { ptr::copy_nonoverlapping(block.as_ptr(), buf, len) };
            0
        }

        let mut bytes = bytes;
        // SAFETY: The connector is valid by the type invariants, and `bytes` lives long enough.
        let edid = unsafe {
            bindings::drm_edid_read_custom(
                self.connector,
                Some(read_block),
                (&raw mut bytes).cast(),
            )
        };

        // SAFETY: The connector is valid and the lock is held by the type invariants. `edid` may
        // be null, and is not used any more after it is freed.
        unsafe {
            // If this fails the connector has no EDID, and no modes are added.
            bindings::drm_edid_connector_update(self.connector, edid);
            bindings::drm_edid_free(edid);
            bindings::drm_edid_connector_add_modes(self.connector)
        }
    }

    /// Adds the usual modes of monitors without an EDID, up to a size in pixels. Removes the EDID
    /// of the connector.
    #[doc(alias = "drm_add_modes_noedid")]
    pub fn add_modes_noedid(&mut self, max_width: u32, max_height: u32) -> i32 {
        // SAFETY: The connector is valid and the lock is held by the type invariants.
        unsafe {
            // Without the property the connector has no EDID.
            bindings::drm_edid_connector_update(self.connector, ptr::null());
            bindings::drm_add_modes_noedid(self.connector, max_width, max_height)
        }
    }

    /// Adds a mode of a size in pixels and a refresh rate in Hz, with the timings of the VESA
    /// formula CVT.
    ///
    /// Adds none if the width or the height is zero or above 32767, or if the rate is zero or above
    /// 240. Rounds the width down to a multiple of 8.
    #[doc(alias = "drm_cvt_mode")]
    pub fn add_cvt_mode(&mut self, width: u32, height: u32, refresh: u32, preferred: bool) -> i32 {
        let usable = |size| (1..=MAX_SIZE).contains(&size);
        if !usable(width) || !usable(height) || !(1..=MAX_REFRESH).contains(&refresh) {
            return 0;
        }

        // SAFETY: The connector is valid by the type invariants. All numbers were checked above.
        let mode = unsafe {
            bindings::drm_cvt_mode(
                (*self.connector).dev,
                width as c_int,
                height as c_int,
                refresh as c_int,
                false,
                false,
                false,
            )
        };
        if mode.is_null() {
            return 0;
        }

        // SAFETY: `mode` is valid and owned, and the connector takes it. By the type invariants its
        // lock is held.
        unsafe {
            if preferred {
                (*mode).type_ |= bindings::DRM_MODE_TYPE_PREFERRED as u8;
            }
            bindings::drm_mode_probed_add(self.connector, mode);
        }
        1
    }

    /// Makes the modes of a size in pixels the preferred ones.
    #[doc(alias = "drm_set_preferred_mode")]
    pub fn set_preferred_mode(&mut self, width: u32, height: u32) {
        let (Ok(width), Ok(height)) = (c_int::try_from(width), c_int::try_from(height)) else {
            return;
        };

        // SAFETY: The connector is valid and the lock is held by the type invariants.
        unsafe { bindings::drm_set_preferred_mode(self.connector, width, height) };
    }
}
