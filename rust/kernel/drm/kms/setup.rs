// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A [`Setup`] makes the mode setting objects of a device, and [`Ops`] starts and ends them.
//!
//! C headers: [`include/drm/drm_mode_config.h`](srctree/include/drm/drm_mode_config.h),
//! [`include/drm/drm_managed.h`](srctree/include/drm/drm_managed.h)

use super::{
    atomic,
    closing,
    commit,
    connector,
    Connector,
    ConnectorKind,
    Crtc,
    Framebuffer,
    KmsDriver,
    Plane,
    PlaneKind, //
};
use crate::{
    bindings,
    drm::{
        self,
        driver::FbdevProbe, //
    },
    error::to_result,
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    types::Opaque, //
};
use core::{
    cell::Cell,
    marker::PhantomData,
    ptr, //
};

/// Features of a device that has outputs.
const FEAT_KMS: u32 =
    bindings::drm_driver_feature_DRIVER_MODESET | bindings::drm_driver_feature_DRIVER_ATOMIC;

/// The type of `file_operations::release`.
type Release = unsafe extern "C" fn(*mut bindings::inode, *mut bindings::file) -> c_int;

/// The mode setting functions of a driver, for [`drm::Driver::KMS`].
pub struct Ops<T: drm::Driver> {
    pub(in crate::drm) features: u32,
    pub(in crate::drm) fbdev_probe: Option<FbdevProbe>,
    pub(in crate::drm) release: Release,
    /// Must be called once, before the device is registered.
    pub(in crate::drm) setup:
        for<'s, 'd> unsafe fn(&'s drm::Device<T>, &'d T::RegistrationData<'d>) -> Result,
    /// Must be called after the device was registered.
    pub(in crate::drm) start: unsafe fn(&drm::Device<T>),
    /// Must be called after `setup` was successful and the device was unplugged.
    pub(in crate::drm) shutdown: unsafe fn(&drm::Device<T>),
}

impl<T: KmsDriver> Ops<T> {
    const FUNCS: bindings::drm_mode_config_funcs = bindings::drm_mode_config_funcs {
        fb_create: Some(Framebuffer::<T>::create_callback),
        atomic_check: Some(atomic::check_callback),
        atomic_commit: Some(commit::commit_callback::<T>),
        ..pin_init::zeroed()
    };

    const HELPER_FUNCS: bindings::drm_mode_config_helper_funcs =
        bindings::drm_mode_config_helper_funcs {
            atomic_commit_tail: Some(atomic::commit_tail_callback::<T>),
            ..pin_init::zeroed()
        };

    /// Makes the functions of `T`.
    #[expect(clippy::new_without_default)]
    pub const fn new() -> Self {
        let mut features = FEAT_KMS;

        if T::CURSOR_HOTSPOT {
            features |= bindings::drm_driver_feature_DRIVER_CURSOR_HOTSPOT;
        }

        Self {
            features,
            #[cfg(CONFIG_DRM_FBDEV_EMULATION)]
            fbdev_probe: Some(bindings::drm_fbdev_shmem_driver_fbdev_probe),
            #[cfg(not(CONFIG_DRM_FBDEV_EMULATION))]
            fbdev_probe: None,
            release: closing::release_callback::<T>,
            setup: Self::setup,
            start: Self::start,
            shutdown: Self::shutdown,
        }
    }

    /// Configures mode setting, and calls [`KmsDriver::setup`].
    ///
    /// # Safety
    ///
    /// Must be called once for a device, before it is registered.
    unsafe fn setup<'d>(dev: &drm::Device<T>, data: &'d T::RegistrationData<'d>) -> Result {
        let raw = dev.as_raw();

        // SAFETY: `raw` is a valid DRM device that is not registered, and this is the first call.
        to_result(unsafe { bindings::drmm_mode_config_init(raw) })?;

        let info = <T as KmsDriver>::INFO;

        // SAFETY: `raw` is valid, and nothing else uses its configuration yet.
        let config = unsafe { &mut (*raw).mode_config };
        config.funcs = const { &Self::FUNCS };
        config.helper_private = const { &Self::HELPER_FUNCS };
        config.min_width = info.min_width;
        config.min_height = info.min_height;
        config.max_width = c_int::try_from(info.max_width)?.try_into()?;
        config.max_height = c_int::try_from(info.max_height)?.try_into()?;
        config.cursor_width = info.cursor_width;
        config.cursor_height = info.cursor_height;
        config.preferred_depth = info.preferred_depth;
        config.async_page_flip = info.async_page_flip;
        config.fb_modifiers_not_supported = true;
        config.quirk_addfb_prefer_host_byte_order = true;

        let hotplug_mode_update = match info.hotplug_mode_update {
            // SAFETY: `raw` is valid, and its configuration initialized.
            true => unsafe { hotplug_mode_update_property(raw) }?,
            false => ptr::null_mut(),
        };
        if info.suggested_offsets {
            // SAFETY: As above.
            to_result(unsafe { bindings::drm_mode_create_suggested_offset_properties(raw) })?;
        }

        let setup = Setup {
            dev,
            hotplug_mode_update,
            primaries: Cell::new(0),
            error: Cell::new(None),
            _scope: PhantomData,
        };
        T::setup(&setup, data)?;
        setup.finish()
    }

    /// Returns whether the set-up has made outputs.
    pub(super) fn has_outputs(dev: &drm::Device<T>) -> bool {
        // SAFETY: The device is valid, and its features do not change any more after `setup`.
        (unsafe { (*dev.as_raw()).driver_features }) & FEAT_KMS == FEAT_KMS
    }

    /// Starts the in-kernel clients, such as the console.
    ///
    /// # Safety
    ///
    /// Must be called after the device was registered.
    unsafe fn start(dev: &drm::Device<T>) {
        #[cfg(CONFIG_DRM_CLIENT_SETUP)]
        if Self::has_outputs(dev) {
            // SAFETY: The device is registered by the safety requirements. Without a format, that
            // of the preferred depth is used.
            unsafe { bindings::drm_client_setup(dev.as_raw(), ptr::null()) };
        }

        let _ = dev;
    }

    /// Switches all outputs off, waits for their vblank timers, and drops the saved state if they
    /// are suspended.
    ///
    /// # Safety
    ///
    /// Must be called after `setup` was successful and the device was unplugged.
    unsafe fn shutdown(dev: &drm::Device<T>) {
        if !Self::has_outputs(dev) {
            return;
        }

        let raw = dev.as_raw();

        // SAFETY: The state of all objects was reset by `setup`.
        unsafe { bindings::drm_atomic_helper_shutdown(raw) };

        // SAFETY: `raw` is valid. The number of its CRTCs does not change any more.
        let count = unsafe { (*raw).mode_config.num_crtc };
        for index in 0..count {
            // This does something only if the CRTC could not be switched off.
            //
            // SAFETY: There is a CRTC for each index below that number, and `Setup` has made it and
            // initialized vblank. A commit that would switch it on is refused after the unplug.
            unsafe {
                let crtc = bindings::drm_crtc_from_index(raw, index);
                Crtc::<T::Crtc>::from_raw(crtc).stop_vblanks();
            }
        }

        // SAFETY: `raw` is valid. Only methods of the registration, which is being dropped, use the
        // field.
        let suspended = unsafe {
            let state = &raw mut (*raw).mode_config.suspend_state;
            ptr::replace(state, ptr::null_mut())
        };
        if !suspended.is_null() {
            // The outputs were not resumed. The state has references to framebuffers and to the
            // device.
            //
            // SAFETY: The reference of the field was taken above.
            unsafe { bindings::drm_atomic_commit_put(suspended) };
        }
    }
}

/// Makes the property `hotplug_mode_update`, of which DRM has no more than the name.
///
/// # Safety
///
/// `dev` must be a valid device with an initialized mode configuration.
unsafe fn hotplug_mode_update_property(
    dev: *mut bindings::drm_device,
) -> Result<*mut bindings::drm_property> {
    // SAFETY: By the safety requirements. The property is destroyed with the configuration.
    let property = unsafe {
        bindings::drm_property_create_range(
            dev,
            bindings::DRM_MODE_PROP_IMMUTABLE,
            c"hotplug_mode_update".as_char_ptr(),
            0,
            1,
        )
    };

    if property.is_null() {
        return Err(ENOMEM);
    }
    Ok(property)
}

/// The kind of an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u32)]
pub enum EncoderKind {
    /// Of a virtual machine.
    Virtual = bindings::DRM_MODE_ENCODER_VIRTUAL,
}

/// An encoder, which connects CRTCs with connectors.
///
/// # Invariants
///
/// `self.0` is an initialized `struct drm_encoder`, which lives as long as its DRM device.
#[doc(alias = "drm_encoder")]
#[repr(transparent)]
pub struct Encoder(Opaque<bindings::drm_encoder>);

impl Encoder {
    pub(super) fn as_raw(&self) -> *mut bindings::drm_encoder {
        self.0.get()
    }
}

/// Makes the mode setting objects of a device, for [`KmsDriver::setup`].
///
/// The references that it returns are valid until [`KmsDriver::setup`] returns. The objects live as
/// long as the DRM device, even after an error.
///
/// # Invariants
///
/// `dev` was initialized with `drmm_mode_config_init()` and is not yet registered.
/// `hotplug_mode_update` is null or a property of it.
pub struct Setup<'s, T: KmsDriver> {
    dev: &'s drm::Device<T>,
    hotplug_mode_update: *mut bindings::drm_property,
    primaries: Cell<u32>,
    error: Cell<Option<Error>>,
    _scope: PhantomData<fn(&'s ()) -> &'s ()>,
}

impl<'s, T: KmsDriver> Setup<'s, T> {
    /// Returns the device that is set up.
    pub fn device(&self) -> &'s drm::Device<T> {
        self.dev
    }

    /// Makes a plane.
    ///
    /// `possible_crtcs` is a mask of the indices of the CRTCs that can show the plane. `formats`
    /// are its pixel formats, as fourcc, the preferred one first. Alpha is premultiplied. A primary
    /// plane has the property `FB_DAMAGE_CLIPS`, and only black below it: premultiplied pixels are
    /// seen as they are, as if they had no alpha.
    ///
    /// Errors: [`EINVAL`] for no formats, for more than 64 formats and for more than 32 planes;
    /// [`ENOMEM`]; those of `data`.
    ///
    /// Context: process, may sleep.
    #[doc(alias = "drmm_universal_plane_alloc")]
    pub fn plane(
        &self,
        kind: PlaneKind,
        possible_crtcs: u32,
        formats: &[u32],
        data: impl PinInit<T::Plane, Error>,
    ) -> Result<&'s Plane<T::Plane>> {
        let plane = self.record_error(|| Plane::new(self, kind, possible_crtcs, formats, data))?;
        if kind == PlaneKind::Primary {
            self.primaries.set(self.primaries.get() + 1);
        }
        Ok(plane)
    }

    /// Makes a CRTC, which gets the next index.
    ///
    /// Errors: [`EINVAL`] for a plane of another device, of the wrong kind, or that cannot be on
    /// this CRTC, and for more than 32 CRTCs; [`ENOMEM`]; those of `data`.
    ///
    /// Context: process, may sleep.
    #[doc(alias = "drmm_crtc_alloc_with_planes")]
    pub fn crtc(
        &self,
        primary: &Plane<T::Plane>,
        cursor: Option<&Plane<T::Plane>>,
        data: impl PinInit<T::Crtc, Error>,
    ) -> Result<&'s Crtc<T::Crtc>> {
        self.record_error(|| Crtc::new(self, primary, cursor, data))
    }

    /// Makes an encoder, for the CRTCs whose indices are in the mask `possible_crtcs`.
    ///
    /// Errors: [`EINVAL`] for more than 32 encoders, [`ENOMEM`].
    ///
    /// Context: process, may sleep.
    #[doc(alias = "drmm_encoder_init")]
    pub fn encoder(&self, kind: EncoderKind, possible_crtcs: u32) -> Result<&'s Encoder> {
        self.record_error(|| {
            // SAFETY: The device is valid.
            if unsafe { (*self.as_raw()).mode_config.num_encoder } >= 32 {
                return Err(EINVAL);
            }

            let encoder = self.alloc::<bindings::drm_encoder>()?;

            // SAFETY: The device is valid, `encoder` is zeroed memory that lives as long, and
            // encoders need no functions.
            to_result(unsafe {
                bindings::drmm_encoder_init(
                    self.as_raw(),
                    encoder,
                    ptr::null(),
                    kind as c_int,
                    ptr::null(),
                )
            })?;

            // SAFETY: `encoder` was initialized above, and nothing uses it before the registration.
            unsafe { (*encoder).possible_crtcs = possible_crtcs };

            // INVARIANT: It was initialized above, and is released with the device.
            // SAFETY: `Encoder` is transparent. The encoder outlives `'s`, which ends before the
            // device does.
            Ok(unsafe { &*encoder.cast::<Encoder>() })
        })
    }

    /// Makes a connector.
    ///
    /// With `edid_property` user space can read the EDID that [`ProbedModes::add_edid_modes`] gets.
    ///
    /// Errors: [`ENOSPC`] for more than 32 connectors; [`ENOMEM`]; those of `data`.
    ///
    /// Context: process, may sleep.
    ///
    /// [`ProbedModes::add_edid_modes`]: super::ProbedModes::add_edid_modes
    #[doc(alias = "drmm_connector_init")]
    pub fn connector(
        &self,
        kind: ConnectorKind,
        data: impl PinInit<T::Connector, Error>,
        edid_property: bool,
    ) -> Result<&'s Connector<T::Connector>> {
        self.record_error(|| Connector::new(self, kind, data, edid_property))
    }

    pub(super) fn as_raw(&self) -> *mut bindings::drm_device {
        self.dev.as_raw()
    }

    /// Returns the property of that name, if the driver wants it.
    pub(super) fn hotplug_mode_update(&self) -> Option<*mut bindings::drm_property> {
        (!self.hotplug_mode_update.is_null()).then_some(self.hotplug_mode_update)
    }

    /// Calls `make` and records its error: DRM may know the incomplete object, so the set-up must
    /// fail.
    fn record_error<R>(&self, make: impl FnOnce() -> Result<R>) -> Result<R> {
        make().inspect_err(|&error| self.error.set(Some(error)))
    }

    /// Allocates zeroed memory that lives as long as the device.
    pub(super) fn alloc<D>(&self) -> Result<*mut D> {
        const { assert!(align_of::<D>() <= bindings::ARCH_KMALLOC_MINALIGN) };

        // SAFETY: The device is valid.
        let memory =
            unsafe { bindings::drmm_kzalloc(self.as_raw(), size_of::<D>(), bindings::GFP_KERNEL) };
        if memory.is_null() {
            return Err(ENOMEM);
        }
        Ok(memory.cast())
    }

    /// Initializes the data of an object. It is dropped together with the device.
    ///
    /// # Safety
    ///
    /// `data` must be valid for writes until the device is released, and nothing may use it before
    /// this was successful.
    pub(super) unsafe fn init<D>(&self, data: *mut D, init: impl PinInit<D, Error>) -> Result {
        /// # Safety
        ///
        /// Must be called once, with a pointer to an initialized `D`.
        unsafe extern "C" fn drop_data<D>(_dev: *mut bindings::drm_device, data: *mut c_void) {
            // SAFETY: By the safety requirements.
            unsafe { ptr::drop_in_place(data.cast::<D>()) };
        }

        // SAFETY: By the safety requirements. It is pinned, as it is dropped where it is.
        unsafe { pin_init::raw_try_init(data, init) }?;

        // SAFETY: The device is valid. `data` is initialized and is added only here. On failure it
        // is dropped right away.
        to_result(unsafe {
            bindings::__drmm_add_action_or_reset(
                self.as_raw(),
                Some(drop_data::<D>),
                data.cast(),
                c"rust_kms_data".as_char_ptr(),
            )
        })
    }

    /// Completes the set-up, or returns the error of one of its objects.
    fn finish(self) -> Result {
        if let Some(error) = self.error.take() {
            return Err(error);
        }

        let raw = self.as_raw();

        // SAFETY: The device is valid and not yet registered.
        let crtcs = u32::try_from(unsafe { (*raw).mode_config.num_crtc })?;
        if crtcs == 0 {
            let none = FEAT_KMS | bindings::drm_driver_feature_DRIVER_CURSOR_HOTSPOT;
            // SAFETY: The device is valid, and nothing else uses it yet.
            unsafe { (*raw).driver_features &= !none };
            return Ok(());
        }
        if self.primaries.get() != crtcs {
            return Err(EINVAL);
        }

        // The timer can tell the time of the last vblank even if it did not run, so it can stop as
        // soon as vblanks are not used.
        //
        // SAFETY: The device is valid, and nothing else uses it yet.
        unsafe { (*raw).vblank_disable_immediate = true };

        // SAFETY: The device is valid, and this is the only call.
        to_result(unsafe { bindings::drm_vblank_init(raw, crtcs) })?;

        // SAFETY: All objects are complete, as there was no error.
        let complete = unsafe {
            bindings::drm_mode_config_reset(raw);
            have_states(raw)
        };
        match complete {
            true => Ok(()),
            false => Err(ENOMEM),
        }
    }
}

/// Returns whether all planes, CRTCs and connectors have a state. `drm_mode_config_reset()` does
/// not say whether there was memory for all of them, and DRM does not expect that one is missing.
///
/// # Safety
///
/// `dev` must be valid, its objects complete, and nothing else may use it yet.
unsafe fn have_states(dev: *mut bindings::drm_device) -> bool {
    let mut iter: bindings::drm_connector_list_iter = pin_init::zeroed();

    // SAFETY: By the safety requirements. There is an object for each index below these numbers.
    unsafe {
        let config = &raw const (*dev).mode_config;
        let planes = (0..(*config).num_total_plane).all(|index| {
            let plane = bindings::drm_plane_from_index(dev, index);
            !(*plane).state.is_null()
        });
        let crtcs = (0..(*config).num_crtc).all(|index| {
            let crtc = bindings::drm_crtc_from_index(dev, index);
            !(*crtc).state.is_null()
        });
        let mut connectors = true;

        bindings::drm_connector_list_iter_begin(dev, &mut iter);
        loop {
            let connector = bindings::drm_connector_list_iter_next(&mut iter);
            if connector.is_null() {
                break;
            }
            connectors &= !(*connector).state.is_null();
        }
        bindings::drm_connector_list_iter_end(&mut iter);
        planes && crtcs && connectors
    }
}

impl<T: KmsDriver> drm::Device<T> {
    /// Tells user space and the in-kernel clients that an output has changed. Does nothing if the
    /// device is not registered.
    ///
    /// Before that it takes over what the driver
    /// [suggests](super::DriverConnector::suggested_offset) for all connectors.
    ///
    /// The clients may set a mode before this returns. Unplugging the device waits for that, but
    /// unplugging another one does not.
    ///
    /// Context: process, may sleep. Must not be called from a mode setting callback, nor with a
    /// lock held that one takes.
    #[doc(alias = "drm_kms_helper_hotplug_event")]
    pub fn hotplug_event(&self) {
        if !self.while_registered(|_| ()) {
            return;
        }

        // In no section, as locks may take long.
        //
        // SAFETY: The device was registered, so its set-up is complete. Its connectors live as long
        // as the device.
        unsafe { connector::update_suggested_offsets(self) };

        // SAFETY: The device is registered.
        let registered = self.while_registered(|raw| unsafe {
            bindings::drm_sysfs_hotplug_event(raw);
        });

        // The clients need no section either: their list has a lock of its own, which is held while
        // they set modes, and with which the unplug empties the list.
        if registered {
            // SAFETY: The device is valid, and its mode setting was set up.
            unsafe { bindings::drm_client_dev_hotplug(self.as_raw()) };
        }
    }

    /// Calls `f`, during which the device stays registered, and returns `true`. If it is not
    /// registered any more, or not yet, or sets no modes, it only returns `false`.
    ///
    /// The unplug of any device waits for `f`, so that must not take long.
    fn while_registered(&self, f: impl FnOnce(*mut bindings::drm_device)) -> bool {
        let raw = self.as_raw();
        let mut idx = 0;

        // SAFETY: `raw` is a valid `struct drm_device`.
        if !unsafe { bindings::drm_dev_enter(raw, &mut idx) } {
            return false;
        }

        // SAFETY: As above. The flag is set when the registration is complete, and the unplug that
        // clears it waits for the section entered above. The device is registered until then, so
        // its mode setting was set up before.
        let registered = T::KMS.is_some() && unsafe { (*raw).registered };
        if registered {
            f(raw);
        }

        // SAFETY: `idx` is from `drm_dev_enter()` above.
        unsafe { bindings::drm_dev_exit(idx) };
        registered
    }
}
