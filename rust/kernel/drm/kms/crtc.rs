// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A [`DriverCrtc`] implements the CRTCs of a driver, and a [`Crtc`] is one of them.
//!
//! C headers: [`include/drm/drm_crtc.h`](srctree/include/drm/drm_crtc.h),
//! [`include/drm/drm_vblank_helper.h`](srctree/include/drm/drm_vblank_helper.h)

use super::{
    closing::{
        self,
        Shown, //
    },
    vblank::{
        EventLock,
        PendingEvent, //
    },
    KmsDriver,
    Plane,
    PlaneKind,
    Setup,
    VblankEvent, //
};
use crate::{
    bindings,
    drm,
    error::{
        from_err_ptr,
        from_result,
        to_result, //
    },
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    types::Opaque, //
};
use core::{
    marker::PhantomData,
    mem::offset_of,
    ops::Deref,
    ptr, //
};

/// Number of CRTCs that fit into DRM's masks.
const MAX_CRTCS: u32 = 32;

/// Limits of the time of a frame, in milliseconds. DRM keeps nanoseconds in 31 bits, and doubles or
/// halves them for some modes. Shorter frames would keep a CPU busy with the vblank timer.
const SHORTEST_FRAME_MS: u64 = 1;
const LONGEST_FRAME_MS: u64 = 1000;

/// The callbacks and the data of a driver for its CRTCs.
#[doc(alias = "drm_crtc_helper_funcs")]
#[vtable]
pub trait DriverCrtc: Send + Sync + Sized + 'static {
    /// The driver whose CRTCs these are.
    type Driver: KmsDriver<Crtc = Self>;

    /// Checks a new state before it is committed.
    ///
    /// Errors: the commit fails with them.
    ///
    /// Context: process, may sleep; the lock of the CRTC is held.
    fn atomic_check(_crtc: &Crtc<Self>, _new: &CrtcState<'_, Self::Driver>) -> Result {
        Ok(())
    }

    /// Handles a tick of the vblank timer, after DRM has sent its own events for this tick.
    ///
    /// The timer runs while vblanks are used, for example by an event that
    /// [is pending](VblankEvent::set_pending).
    ///
    /// Context: hard interrupt, softirq on PREEMPT_RT; must not sleep.
    fn handle_vblank_timeout(_crtc: &Crtc<Self>) {}
}

/// A CRTC, with the data of the driver.
///
/// # Invariants
///
/// `crtc` is an initialized `struct drm_crtc` of a `drm::Device<T::Driver>`, and lives as long as
/// that. It was made by [`Setup::crtc`]. `pending` only has events of this CRTC.
#[doc(alias = "drm_crtc")]
#[repr(C)]
pub struct Crtc<T: DriverCrtc> {
    crtc: Opaque<bindings::drm_crtc>,
    pub(super) pending: PendingEvent,
    pub(super) shown: Shown,
    data: T,
}

// SAFETY: The data is `Send`, and `struct drm_crtc` can be used from any thread.
unsafe impl<T: DriverCrtc> Send for Crtc<T> {}

// SAFETY: The data is `Sync`, our own fields are atomic, and what is read of `struct drm_crtc`
// does not change.
unsafe impl<T: DriverCrtc> Sync for Crtc<T> {}

impl<T: DriverCrtc> Crtc<T> {
    const FUNCS: bindings::drm_crtc_funcs = bindings::drm_crtc_funcs {
        set_config: Some(bindings::drm_atomic_helper_set_config),
        page_flip: Some(bindings::drm_atomic_helper_page_flip),
        reset: Some(bindings::drm_atomic_helper_crtc_reset),
        atomic_duplicate_state: Some(bindings::drm_atomic_helper_crtc_duplicate_state),
        atomic_destroy_state: Some(bindings::drm_atomic_helper_crtc_destroy_state),
        enable_vblank: Some(bindings::drm_crtc_vblank_helper_enable_vblank_timer),
        disable_vblank: Some(bindings::drm_crtc_vblank_helper_disable_vblank_timer),
        get_vblank_timestamp: Some(
            bindings::drm_crtc_vblank_helper_get_vblank_timestamp_from_timer,
        ),
        ..pin_init::zeroed()
    };

    const HELPER_FUNCS: bindings::drm_crtc_helper_funcs = bindings::drm_crtc_helper_funcs {
        atomic_check: if T::HAS_ATOMIC_CHECK {
            Some(Self::check_callback)
        } else {
            None
        },
        mode_valid: Some(Self::mode_valid_callback),
        atomic_enable: Some(bindings::drm_crtc_vblank_atomic_enable),
        atomic_disable: Some(Self::disable_callback),
        handle_vblank_timeout: if T::HAS_HANDLE_VBLANK_TIMEOUT {
            Some(Self::vblank_callback)
        } else {
            None
        },
        ..pin_init::zeroed()
    };

    pub(super) fn new<'s>(
        setup: &Setup<'s, T::Driver>,
        primary: &Plane<<T::Driver as KmsDriver>::Plane>,
        cursor: Option<&Plane<<T::Driver as KmsDriver>::Plane>>,
        data: impl PinInit<T, Error>,
    ) -> Result<&'s Self> {
        const { assert!(align_of::<Self>() <= bindings::ARCH_KMALLOC_MINALIGN) };
        // SAFETY: The device of a `Setup` is valid.
        let index = u32::try_from(unsafe { (*setup.as_raw()).mode_config.num_crtc })?;
        if index >= MAX_CRTCS {
            return Err(EINVAL);
        }

        let fits = |plane: &Plane<<T::Driver as KmsDriver>::Plane>, kind| {
            // SAFETY: The plane is initialized, and the device not yet registered.
            let (dev, crtcs) = unsafe { ((*plane.as_raw()).dev, (*plane.as_raw()).possible_crtcs) };
            dev == setup.as_raw() && plane.kind() == kind && crtcs & (1 << index) != 0
        };
        if !fits(primary, PlaneKind::Primary)
            || cursor.is_some_and(|cursor| !fits(cursor, PlaneKind::Cursor))
        {
            return Err(EINVAL);
        }

        // SAFETY: The device is valid and not registered, and so are the planes, which are of it.
        // The size and the offset are those of `Self`, the functions are a constant.
        let this: *mut Self = from_err_ptr(unsafe {
            bindings::__drmm_crtc_alloc_with_planes(
                setup.as_raw(),
                size_of::<Self>(),
                offset_of!(Self, crtc),
                primary.as_raw(),
                cursor.map_or(ptr::null_mut(), Plane::as_raw),
                const { &Self::FUNCS },
                ptr::null(),
            )
        })?
        .cast();

        // SAFETY: `this` is valid, since the allocation was successful.
        let crtc = Opaque::cast_into(unsafe { &raw const (*this).crtc });

        // SAFETY: `crtc` is valid and the functions are a constant.
        unsafe { bindings::drm_crtc_helper_add(crtc, const { &Self::HELPER_FUNCS }) };

        // SAFETY: Both are parts of the allocation, which lives as long as the device.
        unsafe {
            (&raw mut (*this).pending).write(PendingEvent::new());
            (&raw mut (*this).shown).write(Shown::new());
        }

        // SAFETY: The device is valid, and `this` lives until it is released.
        to_result(unsafe {
            bindings::__drmm_add_action(
                setup.as_raw(),
                Some(Self::release_callback),
                this.cast(),
                c"rust_kms_pending".as_char_ptr(),
            )
        })?;

        // SAFETY: `data` is a part of the allocation, which lives as long as the device. If this
        // fails, the device is never registered, so nothing uses the data.
        unsafe { setup.init(&raw mut (*this).data, data) }?;

        // INVARIANT: All fields are initialized, and are released with the device; no event is
        // pending.
        // SAFETY: As above; the device outlives `'s`.
        Ok(unsafe { &*this })
    }

    /// # Safety
    ///
    /// `crtc` must have been made by [`Setup::crtc`] for CRTCs of this type, and its device must
    /// not be released during `'a`.
    pub(super) unsafe fn from_raw<'a>(crtc: *mut bindings::drm_crtc) -> &'a Self {
        // SAFETY: By the safety requirements `crtc` is the field of a `Self`.
        unsafe { &*crate::container_of!(Opaque::cast_from(crtc), Self, crtc) }
    }

    pub(super) fn as_raw(&self) -> *mut bindings::drm_crtc {
        self.crtc.get()
    }

    /// Returns the device of the CRTC.
    pub fn device(&self) -> &drm::Device<T::Driver, drm::Ioctl> {
        // SAFETY: By the type invariants the CRTC is of a `drm::Device<T::Driver>`, which lives as
        // long. Callbacks only come after the registration. During the set-up the parent device is
        // bound and the registration data is valid, as for a registered device.
        unsafe { drm::Device::from_raw((*self.as_raw()).dev) }
    }

    /// Returns the index of the CRTC among those of the device.
    #[doc(alias = "drm_crtc_index")]
    pub fn index(&self) -> u32 {
        // SAFETY: The CRTC is initialized, and the index does not change.
        unsafe { (*self.as_raw()).index }
    }

    /// Takes the event that [`VblankEvent::set_pending`] has left here, if there is one.
    ///
    /// Context: any.
    pub fn take_pending(&self) -> Option<VblankEvent<'_, T::Driver>> {
        let event = self.pending.take()?;

        // SAFETY: By the type invariants the event is one of this CRTC. It is owned, together with
        // a reference to the vblank, by the invariant of `PendingEvent`.
        Some(unsafe { VblankEvent::new(self, event, true) })
    }

    /// Switches vblanks off, waits for a tick that is in progress, and sends the event that is
    /// pending, as no tick comes any more that would.
    ///
    /// DRM only waits for a tick when it starts the timer again, and holds a lock then that the
    /// tick may want.
    ///
    /// Context: process, may sleep. The caller must hold no lock that a tick takes.
    ///
    /// # Safety
    ///
    /// The vblank of the device must have been initialized. Nothing may switch vblanks of the CRTC
    /// on during the call.
    pub(super) unsafe fn stop_vblanks(&self) {
        // SAFETY: The CRTC is valid, and its vblank was initialized by the safety requirements.
        // That lives as long as the device.
        let timer = unsafe {
            bindings::drm_crtc_vblank_off(self.as_raw());
            let vblank = bindings::drm_crtc_vblank_crtc(self.as_raw());
            &raw mut (*vblank).vblank_timer
        };

        // SAFETY: The timer is valid, and nothing starts it, as vblanks are off. It was set up if
        // it has a CRTC.
        unsafe {
            if !(*timer).crtc.is_null() {
                bindings::hrtimer_cancel(&raw mut (*timer).timer);
            }
        }

        drop(self.take_pending());
    }

    /// Returns the time of the last vblank, in nanoseconds of `CLOCK_MONOTONIC`.
    ///
    /// For a tick that came late that is the time at which it was due.
    ///
    /// Context: any.
    #[doc(alias = "drm_crtc_vblank_count_and_time")]
    pub fn vblank_time(&self) -> i64 {
        let mut time = 0;

        // SAFETY: The CRTC is valid, and vblank was initialized before the device was registered.
        unsafe { bindings::drm_crtc_vblank_count_and_time(self.as_raw(), &mut time) };
        time
    }

    /// Refuses a mode that the vblank timer cannot follow. User space may ask for any mode.
    ///
    /// # Safety
    ///
    /// Only the DRM core calls this, as `drm_crtc_helper_funcs::mode_valid` of a CRTC of this type.
    unsafe extern "C" fn mode_valid_callback(
        _crtc: *mut bindings::drm_crtc,
        mode: *const bindings::drm_display_mode,
    ) -> bindings::drm_mode_status {
        // SAFETY: By the safety requirements it is valid, and does not change during the call.
        let mode = unsafe { &*mode };

        let pixels = u64::from(mode.htotal) * u64::from(mode.vtotal) * u64::from(mode.vscan.max(1));
        let clock = u64::try_from(mode.clock).unwrap_or(0);

        // The clock is in kHz, so this compares milliseconds.
        if pixels > clock.saturating_mul(LONGEST_FRAME_MS) {
            bindings::drm_mode_status::MODE_CLOCK_LOW
        } else if pixels < clock.saturating_mul(SHORTEST_FRAME_MS) {
            bindings::drm_mode_status::MODE_CLOCK_HIGH
        } else {
            bindings::drm_mode_status::MODE_OK
        }
    }

    /// # Safety
    ///
    /// Only the DRM core calls this, as `drm_crtc_helper_funcs::atomic_check` of a CRTC of this
    /// type that is in `commit`.
    unsafe extern "C" fn check_callback(
        crtc: *mut bindings::drm_crtc,
        commit: *mut bindings::drm_atomic_commit,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the safety requirements. The new state is not changed during the call.
            let (this, new) = unsafe {
                let state = bindings::drm_atomic_get_new_crtc_state(commit, crtc);
                (Self::from_raw(crtc), CrtcState::from_raw(state))
            };
            T::atomic_check(this, &new)?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Only the DRM core calls this, as `drm_crtc_helper_funcs::atomic_disable` of a CRTC of this
    /// type.
    unsafe extern "C" fn disable_callback(
        crtc: *mut bindings::drm_crtc,
        _commit: *mut bindings::drm_atomic_commit,
    ) {
        // SAFETY: By the safety requirements. Vblank was initialized before the device was
        // registered, and only the commit that calls this would switch it on again.
        unsafe { Self::from_raw(crtc).stop_vblanks() };
    }

    /// # Safety
    ///
    /// Only the DRM core calls this, as `drm_crtc_helper_funcs::handle_vblank_timeout` of a CRTC of
    /// this type.
    unsafe extern "C" fn vblank_callback(crtc: *mut bindings::drm_crtc) -> bool {
        // SAFETY: By the safety requirements.
        let handled = unsafe { bindings::drm_crtc_handle_vblank(crtc) };

        // SAFETY: By the safety requirements. The timer is stopped before the CRTC is released.
        let this = unsafe { Self::from_raw(crtc) };
        T::handle_vblank_timeout(this);
        closing::send_unwatched(this);
        handled
    }

    /// Sends an event that is still pending because switching the CRTC off has failed. Its vblank
    /// is gone already.
    ///
    /// # Safety
    ///
    /// Only the DRM core calls this, once, as a managed action with a pointer to a `Self` whose
    /// `pending` is initialized.
    unsafe extern "C" fn release_callback(dev: *mut bindings::drm_device, this: *mut c_void) {
        // SAFETY: By the safety requirements.
        let pending = unsafe { &(*this.cast::<Self>()).pending };

        if let Some(event) = pending.take() {
            // SAFETY: The device is valid until all managed actions were run.
            let _lock = unsafe { EventLock::new(dev) };

            // SAFETY: The event is owned and the lock is held.
            unsafe { bindings::drm_send_event_locked(dev, &raw mut (*event.as_ptr()).base) };
        }
    }
}

impl<T: DriverCrtc> Deref for Crtc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

/// The state of a CRTC.
///
/// # Invariants
///
/// `state` is a valid state of a CRTC of `T`. Nothing but its event changes during `'a`.
#[doc(alias = "drm_crtc_state")]
pub struct CrtcState<'a, T: KmsDriver> {
    state: *mut bindings::drm_crtc_state,
    _state: PhantomData<&'a T>,
}

impl<T: KmsDriver> CrtcState<'_, T> {
    /// # Safety
    ///
    /// `state` must be a valid state of a CRTC of `T`, of which nothing but the event changes
    /// during `'a`.
    pub(super) unsafe fn from_raw(state: *mut bindings::drm_crtc_state) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            state,
            _state: PhantomData,
        }
    }

    /// Returns whether the CRTC is on.
    pub fn active(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { (*self.state).active }
    }

    /// Returns whether the mode changes, or the CRTC is switched on or off.
    #[doc(alias = "drm_atomic_crtc_needs_modeset")]
    pub fn needs_modeset(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::drm_atomic_crtc_needs_modeset(self.state) }
    }

    /// Returns width and height of the mode, in pixels. Zero without a mode.
    pub fn mode_size(&self) -> (u32, u32) {
        // SAFETY: By the type invariants.
        let (width, height) = unsafe { ((*self.state).mode.hdisplay, (*self.state).mode.vdisplay) };
        (width.into(), height.into())
    }

    /// Returns whether the flip need not wait for vblank, and should happen immediately.
    pub fn async_flip(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { (*self.state).async_flip }
    }
}
