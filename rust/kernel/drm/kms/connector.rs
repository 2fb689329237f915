// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Connectors.
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

/// Highest refresh rate for which the arithmetic of `drm_cvt_mode()` is safe, in Hz.
const MAX_REFRESH: u32 = 240;

/// Largest width and height for which the arithmetic of `drm_cvt_mode()` is safe, in pixels.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectorStatus {
    /// Something is connected.
    Connected,
    /// Nothing is connected.
    Disconnected,
    /// It cannot be told.
    Unknown,
}

/// What a driver does with a connector.
///
/// All methods are called in process context, with the lock of the mode configuration held, and may
/// sleep.
pub trait DriverConnector: Send + Sync + Sized + 'static {
    /// The driver whose connectors these are.
    type Driver: KmsDriver<Connector = Self>;

    /// Tells whether something is connected.
    fn detect(connector: &Connector<Self>) -> ConnectorStatus;

    /// Adds the modes of what is connected, and returns how many it has added.
    fn get_modes(connector: &Connector<Self>, modes: &mut ProbedModes<'_>) -> i32;

    /// Tells whether a mode can be used.
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

        // SAFETY: The device is valid, `connector` is zeroed memory that lives as long, the
        // functions are a constant, and there need not be a DDC.
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
        // fails, the device is never registered, hence the data never used.
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

    /// The device of the connector.
    pub fn device(&self) -> &drm::Device<T::Driver, drm::Ioctl> {
        // SAFETY: By the type invariants the connector is of a `drm::Device<T::Driver>`, which
        // lives as long. Callbacks come after registration only. During the set-up the parent
        // device is bound, and the registration data there, as for a registered device.
        unsafe { drm::Device::from_raw((*self.as_raw()).dev) }
    }

    /// The index of the connector among those of the device.
    pub fn index(&self) -> u32 {
        // SAFETY: The connector is initialized, and the index does not change.
        unsafe { (*self.as_raw()).index }
    }

    /// Lets the encoder drive the connector.
    ///
    /// For [`KmsDriver::setup`], the only place that has encoders.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the encoder is of another device.
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
        // INVARIANT: By the safety requirements the core asks for modes.
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
#[repr(transparent)]
pub struct DisplayMode(Opaque<bindings::drm_display_mode>);

impl DisplayMode {
    fn get(&self) -> &bindings::drm_display_mode {
        // SAFETY: By the type invariants.
        unsafe { &*self.0.get() }
    }

    /// The width in pixels.
    pub fn hdisplay(&self) -> u32 {
        self.get().hdisplay.into()
    }

    /// The height in pixels.
    pub fn vdisplay(&self) -> u32 {
        self.get().vdisplay.into()
    }

    /// Whether the mode is the preferred one of its connector.
    pub fn is_preferred(&self) -> bool {
        u32::from(self.get().type_) & bindings::DRM_MODE_TYPE_PREFERRED != 0
    }
}

/// Takes the modes of a connector.
///
/// All methods that add modes return how many, zero also if there is no memory.
///
/// # Invariants
///
/// `connector` is valid, and its modes are being asked for during `'a`: the lock of the mode
/// configuration is held.
pub struct ProbedModes<'a> {
    connector: *mut bindings::drm_connector,
    _callback: PhantomData<&'a mut bindings::drm_connector>,
}

impl ProbedModes<'_> {
    /// Adds the modes of an EDID, and makes it the one of the connector.
    ///
    /// `bytes` are blocks of 128 bytes, which are checked; a part of a block at the end is not
    /// used. An EDID that the administrator has loaded instead is preferred. The connector needs
    /// its EDID property.
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

            // SAFETY: Both have `len` bytes, by the safety requirements and as cut out above.
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
            // If this fails the connector has no EDID, hence no modes are added.
            bindings::drm_edid_connector_update(self.connector, edid);
            bindings::drm_edid_free(edid);
            bindings::drm_edid_connector_add_modes(self.connector)
        }
    }

    /// Adds the usual modes of monitors without an EDID up to a size in pixels. The connector has
    /// no EDID any more.
    pub fn add_modes_noedid(&mut self, max_width: u32, max_height: u32) -> i32 {
        // SAFETY: The connector is valid and the lock is held by the type invariants.
        unsafe {
            // A connector without the property has none to lose.
            bindings::drm_edid_connector_update(self.connector, ptr::null());
            bindings::drm_add_modes_noedid(self.connector, max_width, max_height)
        }
    }

    /// Adds the mode of a size in pixels and a refresh rate in Hz, which gets its timing from the
    /// VESA formula CVT.
    ///
    /// None is added for a size that is zero or beyond 32767, nor for a rate that is zero or
    /// beyond 240. The width is rounded down to a multiple of 8.
    pub fn add_cvt_mode(&mut self, width: u32, height: u32, refresh: u32, preferred: bool) -> i32 {
        let usable = |size| (1..=MAX_SIZE).contains(&size);
        if !usable(width) || !usable(height) || !(1..=MAX_REFRESH).contains(&refresh) {
            return 0;
        }

        // SAFETY: The connector is valid by the type invariants. All numbers fit, as checked.
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

        // SAFETY: `mode` is valid and owned, and goes to the connector, whose lock is held by the
        // type invariants.
        unsafe {
            if preferred {
                (*mode).type_ |= bindings::DRM_MODE_TYPE_PREFERRED as u8;
            }
            bindings::drm_mode_probed_add(self.connector, mode);
        }
        1
    }

    /// Makes the modes of a size in pixels the preferred ones.
    pub fn set_preferred_mode(&mut self, width: u32, height: u32) {
        let (Ok(width), Ok(height)) = (c_int::try_from(width), c_int::try_from(height)) else {
            return;
        };

        // SAFETY: The connector is valid and the lock is held by the type invariants.
        unsafe { bindings::drm_set_preferred_mode(self.connector, width, height) };
    }
}
