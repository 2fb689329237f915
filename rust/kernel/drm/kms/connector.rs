// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A [`DriverConnector`] implements the connectors of a driver.
//!
//! C header: [`include/drm/drm_connector.h`](srctree/include/drm/drm_connector.h)

use super::{
    DisplayMode,
    Encoder,
    KmsDriver,
    ProbedModes,
    Setup, //
};
use crate::{
    bindings,
    drm,
    error::to_result,
    ffi::c_int,
    prelude::*,
    types::Opaque, //
};
use core::{
    ops::Deref,
    ptr, //
};

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
/// Context of all methods: process, may sleep; the lock of the connectors is held, and for all but
/// [`Self::suggested_offset`] that of the mode configuration.
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

    /// Returns where the output should be on the desktop: the left and the upper edge, in pixels.
    ///
    /// Called if [`ModeConfigInfo::suggested_offsets`] is set: when the connector is made, and for
    /// all connectors before each [`hotplug_event`](drm::Device::hotplug_event). During the first
    /// one the connector has its data, and nothing else.
    ///
    /// [`ModeConfigInfo::suggested_offsets`]: super::ModeConfigInfo::suggested_offsets
    fn suggested_offset(_connector: &Connector<Self>) -> (u32, u32) {
        (0, 0)
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
        let this = unsafe { &*this };
        this.attach_properties(setup);
        Ok(this)
    }

    /// Attaches the properties that [`KmsDriver::INFO`] wants.
    fn attach_properties(&self, setup: &Setup<'_, T::Driver>) {
        // SAFETY: The connector is valid.
        let object = unsafe { &raw mut (*self.as_raw()).base };

        if let Some(property) = setup.hotplug_mode_update() {
            // SAFETY: Both are valid, of the same device, which is not registered.
            unsafe { bindings::drm_object_attach_property(object, property, 1) };
        }
        if <T::Driver as KmsDriver>::INFO.suggested_offsets {
            let (x, y) = T::suggested_offset(self);

            // SAFETY: As above. The set-up has made the properties before.
            unsafe {
                let config = &raw const (*setup.as_raw()).mode_config;
                let (for_x, for_y) = (
                    (*config).suggested_x_property,
                    (*config).suggested_y_property,
                );
                bindings::drm_object_attach_property(object, for_x, x.into());
                bindings::drm_object_attach_property(object, for_y, y.into());
            }
        }
    }

    /// Sets the suggested offset anew.
    ///
    /// # Safety
    ///
    /// The set-up of the device must be complete, [`ModeConfigInfo::suggested_offsets`] set, and
    /// the lock of the connectors held.
    ///
    /// [`ModeConfigInfo::suggested_offsets`]: super::ModeConfigInfo::suggested_offsets
    unsafe fn update_suggested_offset(&self) {
        let (x, y) = T::suggested_offset(self);

        // SAFETY: By the safety requirements the connector has both properties, and nobody reads
        // their values at the same time.
        unsafe {
            let object = &raw mut (*self.as_raw()).base;
            let config = &raw const (*(*self.as_raw()).dev).mode_config;
            let (for_x, for_y) = (
                (*config).suggested_x_property,
                (*config).suggested_y_property,
            );
            bindings::drm_object_property_set_value(object, for_x, x.into());
            bindings::drm_object_property_set_value(object, for_y, y.into());
        }
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
        // SAFETY: By the safety requirements the core probes the connector.
        let mut modes = unsafe { ProbedModes::from_raw(connector) };

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

/// Sets the suggested offsets of all connectors anew, if the driver has these properties. Whoever
/// reads them gets those from before or those from after, of all connectors.
///
/// # Safety
///
/// The set-up of the device must be complete.
///
/// Context: process, may sleep. The lock of the connectors must not be held.
pub(super) unsafe fn update_suggested_offsets<T: KmsDriver>(dev: &drm::Device<T>) {
    if !<T as KmsDriver>::INFO.suggested_offsets {
        return;
    }

    let raw = dev.as_raw();
    let mut iter: bindings::drm_connector_list_iter = pin_init::zeroed();

    // SAFETY: The device is valid and its mode setting was set up, by the safety requirements. All
    // of its connectors were made by `Setup::connector`.
    unsafe {
        let lock = &raw mut (*raw).mode_config.connection_mutex;
        // Without a context this waits, and cannot fail.
        bindings::drm_modeset_lock(lock, ptr::null_mut());
        bindings::drm_connector_list_iter_begin(raw, &mut iter);
        loop {
            let connector = bindings::drm_connector_list_iter_next(&mut iter);
            if connector.is_null() {
                break;
            }
            Connector::<T::Connector>::from_raw(connector).update_suggested_offset();
        }
        bindings::drm_connector_list_iter_end(&mut iter);
        bindings::drm_modeset_unlock(lock);
    }
}
