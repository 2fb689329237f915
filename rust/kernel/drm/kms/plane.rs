// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A [`DriverPlane`] implements the planes of a driver, and a [`Plane`] is one of them.
//!
//! C header: [`include/drm/drm_plane.h`](srctree/include/drm/drm_plane.h)

use super::{
    commit,
    Framebuffer,
    KmsDriver,
    PlaneUpdate,
    Rect,
    Setup, //
};
use crate::{
    bindings,
    drm::{
        self,
        gem::shmem::Pages, //
    },
    error::{
        from_err_ptr,
        from_result,
        to_result,
        VTABLE_DEFAULT_ERROR, //
    },
    ffi::{
        c_int,
        c_uint, //
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

/// Largest number of pixel formats that DRM takes for one plane.
const MAX_FORMATS: usize = 64;

/// Number of planes that fit into DRM's masks.
const MAX_PLANES: c_int = 32;

/// The kind of a plane.
#[doc(alias = "drm_plane_type")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PlaneKind {
    /// The main plane of a CRTC, which covers the whole CRTC.
    Primary = bindings::drm_plane_type_DRM_PLANE_TYPE_PRIMARY,
    /// The cursor plane of a CRTC.
    Cursor = bindings::drm_plane_type_DRM_PLANE_TYPE_CURSOR,
}

/// The callbacks and the data of a driver for its planes.
#[doc(alias = "drm_plane_helper_funcs")]
#[vtable]
pub trait DriverPlane: Send + Sync + Sized + 'static {
    /// The driver whose planes these are.
    type Driver: KmsDriver<Plane = Self>;

    /// Whether the driver uses the damage of a flip to another framebuffer.
    ///
    /// That damage is the difference between the new framebuffer and the previous one, so it is
    /// what changes on the screen. A driver that keeps one picture for the plane needs no more. A
    /// driver that keeps a picture for each framebuffer must also know what has changed since it
    /// last showed the new one. Without this, another framebuffer is damaged all over.
    #[doc(alias = "ignore_damage_clips")]
    const DAMAGE_OF_FLIPS: bool = false;

    /// Checks a new state before it is committed.
    ///
    /// DRM has checked that the state has no scaling, and that a primary plane covers its CRTC.
    ///
    /// Errors: the commit fails with them.
    ///
    /// Context: process, may sleep; the lock of the plane is held, and that of its CRTC if it has
    /// one.
    fn atomic_check(_plane: &Plane<Self>, _new: &PlaneState<'_, Self::Driver>) -> Result {
        Ok(())
    }

    /// Prepares a framebuffer that the plane will show.
    ///
    /// The commit may still fail afterwards.
    ///
    /// Errors: the commit fails with them.
    ///
    /// Context: process, may sleep.
    fn prepare_fb(_plane: &Plane<Self>, _framebuffer: &Framebuffer<Self::Driver>) -> Result {
        Ok(())
    }

    /// Returns the pages of the framebuffer that a primary plane shows. DRM draws the panic screen
    /// into them. Optional: without it there is no panic screen.
    ///
    /// The framebuffer is that of the last commit, which may not have reached the hardware yet.
    ///
    /// Context: panic. Interrupts are off. The other CPUs were stopped wherever they were, and may
    /// hold any lock for ever: only locks taken with `try_lock` can be used. Must not allocate or
    /// wait. The panic may be a simulated one, after which the system goes on. DRM's panic lock, a
    /// raw spinlock, is held from here to the end of [`Self::panic_flush`].
    #[doc(alias = "get_scanout_buffer")]
    fn panic_pages<'a>(
        _device: &'a drm::Device<Self::Driver, drm::Registered>,
        _plane: &'a Plane<Self>,
        _framebuffer: &'a Framebuffer<Self::Driver>,
    ) -> Option<Pages<'a>> {
        None
    }

    /// Shows the panic screen after DRM has drawn it.
    ///
    /// Context: as [`Self::panic_pages`].
    fn panic_flush(
        _device: &drm::Device<Self::Driver, drm::Registered>,
        _plane: &Plane<Self>,
        _framebuffer: &Framebuffer<Self::Driver>,
    ) {
    }

    /// Writes the new state of a cursor plane to the hardware, without
    /// [`KmsDriver::atomic_commit_tail`] and without waiting for vblank. Optional.
    ///
    /// Called for the legacy cursor ioctls, which otherwise wait until the CRTC has flipped. The
    /// plane stays on its CRTC, which is on. No commit of the plane is in progress; one of another
    /// plane of the CRTC may be. The state is checked and the framebuffer prepared.
    ///
    /// Context: process, may sleep; the locks of the plane and of the CRTC are held.
    fn atomic_async_update(_plane: &Plane<Self>, _update: &PlaneUpdate<'_, Self::Driver>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// A plane, with the data of the driver.
///
/// # Invariants
///
/// `plane` is an initialized `struct drm_plane` of a `drm::Device<T::Driver>`, and lives as long
/// as that. It was made by [`Setup::plane`].
#[doc(alias = "drm_plane")]
#[repr(C)]
pub struct Plane<T: DriverPlane> {
    plane: Opaque<bindings::drm_plane>,
    data: T,
}

// SAFETY: The data is `Send`, and `struct drm_plane` can be used from any thread.
unsafe impl<T: DriverPlane> Send for Plane<T> {}

// SAFETY: The data is `Sync`, and what is read of `struct drm_plane` does not change.
unsafe impl<T: DriverPlane> Sync for Plane<T> {}

impl<T: DriverPlane> Plane<T> {
    const FUNCS: bindings::drm_plane_funcs = bindings::drm_plane_funcs {
        update_plane: Some(bindings::drm_atomic_helper_update_plane),
        disable_plane: Some(bindings::drm_atomic_helper_disable_plane),
        reset: Some(bindings::drm_atomic_helper_plane_reset),
        atomic_duplicate_state: Some(bindings::drm_atomic_helper_plane_duplicate_state),
        atomic_destroy_state: Some(bindings::drm_atomic_helper_plane_destroy_state),
        ..pin_init::zeroed()
    };

    const HELPER_FUNCS: bindings::drm_plane_helper_funcs = bindings::drm_plane_helper_funcs {
        prepare_fb: Some(Self::prepare_callback),
        atomic_check: Some(Self::check_callback),
        atomic_async_check: match T::HAS_ATOMIC_ASYNC_UPDATE {
            true => Some(Self::async_check_callback),
            false => None,
        },
        atomic_async_update: match T::HAS_ATOMIC_ASYNC_UPDATE {
            true => Some(Self::async_update_callback),
            false => None,
        },
        ..pin_init::zeroed()
    };

    const PRIMARY_FUNCS: bindings::drm_plane_helper_funcs = bindings::drm_plane_helper_funcs {
        get_scanout_buffer: Self::GET_SCANOUT_BUFFER,
        panic_flush: Self::PANIC_FLUSH,
        ..Self::HELPER_FUNCS
    };

    pub(super) fn new<'s>(
        setup: &Setup<'s, T::Driver>,
        kind: PlaneKind,
        possible_crtcs: u32,
        formats: &[u32],
        data: impl PinInit<T, Error>,
    ) -> Result<&'s Self> {
        const { assert!(align_of::<Self>() <= bindings::ARCH_KMALLOC_MINALIGN) };

        // SAFETY: The device of a `Setup` is valid.
        let planes = unsafe { (*setup.as_raw()).mode_config.num_total_plane };
        if formats.is_empty() || formats.len() > MAX_FORMATS || planes >= MAX_PLANES {
            return Err(EINVAL);
        }

        // SAFETY: The device is valid and not registered, the size and the offset are those of
        // `Self`, the functions are a constant, and the formats are copied.
        let this: *mut Self = from_err_ptr(unsafe {
            bindings::__drmm_universal_plane_alloc(
                setup.as_raw(),
                size_of::<Self>(),
                offset_of!(Self, plane),
                possible_crtcs,
                const { &Self::FUNCS },
                formats.as_ptr(),
                formats.len() as c_uint,
                ptr::null(),
                kind as u32,
                ptr::null(),
            )
        })?
        .cast();

        // SAFETY: `this` is valid, since the allocation was successful.
        let plane = Opaque::cast_into(unsafe { &raw const (*this).plane });

        let funcs = match kind {
            PlaneKind::Primary => const { &Self::PRIMARY_FUNCS },
            PlaneKind::Cursor => const { &Self::HELPER_FUNCS },
        };

        // SAFETY: `plane` is valid and the functions are a constant.
        unsafe { bindings::drm_plane_helper_add(plane, funcs) };

        // SAFETY: `data` is a part of the allocation, which lives as long as the device. If this
        // fails, the device is never registered, so nothing uses the data.
        unsafe { setup.init(&raw mut (*this).data, data) }?;

        let blend_modes = match kind {
            PlaneKind::Primary => {
                // SAFETY: The plane is valid and the device is not registered.
                unsafe { bindings::drm_plane_enable_fb_damage_clips(plane) };
                1 << bindings::DRM_MODE_BLEND_PREMULTI | 1 << bindings::DRM_MODE_BLEND_PIXEL_NONE
            }
            PlaneKind::Cursor => 1 << bindings::DRM_MODE_BLEND_PREMULTI,
        };

        // SAFETY: As above.
        to_result(unsafe { bindings::drm_plane_create_blend_mode_property(plane, blend_modes) })?;

        // INVARIANT: The plane and its data are initialized, and are released with the device.
        // SAFETY: As above; the device outlives `'s`.
        Ok(unsafe { &*this })
    }

    /// # Safety
    ///
    /// `plane` must have been made by [`Setup::plane`] for planes of this type, and its device must
    /// not be released during `'a`.
    pub(super) unsafe fn from_raw<'a>(plane: *mut bindings::drm_plane) -> &'a Self {
        // SAFETY: By the safety requirements `plane` is the field of a `Self`.
        unsafe { &*crate::container_of!(Opaque::cast_from(plane), Self, plane) }
    }

    pub(super) fn as_raw(&self) -> *mut bindings::drm_plane {
        self.plane.get()
    }

    /// Returns the device of the plane.
    pub fn device(&self) -> &drm::Device<T::Driver, drm::Ioctl> {
        // SAFETY: By the type invariants the plane is of a `drm::Device<T::Driver>`, which lives as
        // long. Callbacks only come after the registration. During the set-up the parent device is
        // bound and the registration data is valid, as for a registered device.
        unsafe { drm::Device::from_raw((*self.as_raw()).dev) }
    }

    /// Returns the index of the plane among those of the device.
    #[doc(alias = "drm_plane_index")]
    pub fn index(&self) -> u32 {
        // SAFETY: The plane is initialized, and the index does not change.
        unsafe { (*self.as_raw()).index }
    }

    /// Returns the kind of the plane.
    pub fn kind(&self) -> PlaneKind {
        // SAFETY: The plane is initialized, and the type does not change.
        if unsafe { (*self.as_raw()).type_ } == PlaneKind::Cursor as u32 {
            PlaneKind::Cursor
        } else {
            PlaneKind::Primary
        }
    }

    /// # Safety
    ///
    /// Only the DRM core calls this, as `drm_plane_helper_funcs::atomic_check` of a plane of this
    /// type that is in `commit`.
    unsafe extern "C" fn check_callback(
        plane: *mut bindings::drm_plane,
        commit: *mut bindings::drm_atomic_commit,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the safety requirements.
            let this = unsafe { Self::from_raw(plane) };

            // SAFETY: The plane is in `commit`, so it has both states there.
            let (old, new) = unsafe {
                (
                    bindings::drm_atomic_get_old_plane_state(commit, plane),
                    bindings::drm_atomic_get_new_plane_state(commit, plane),
                )
            };

            // SAFETY: The new state is valid, and its CRTC is one of the device.
            let crtc_state = match unsafe { (*new).crtc } {
                crtc if crtc.is_null() => ptr::null_mut(),
                // SAFETY: As above. `commit` is being checked: states may be added to it.
                crtc => from_err_ptr(unsafe { bindings::drm_atomic_get_crtc_state(commit, crtc) })?,
            };

            // The new state was copied from the old one, whose flag does not apply to it.
            //
            // SAFETY: Both states are valid, the new one is private to `commit`.
            unsafe { (*new).ignore_damage_clips = (*old).fb != (*new).fb && !T::DAMAGE_OF_FLIPS };

            // SAFETY: The state is valid, and `crtc_state` is the one of its CRTC, if it has any.
            to_result(unsafe {
                bindings::drm_atomic_helper_check_plane_state(
                    new,
                    crtc_state,
                    bindings::DRM_PLANE_NO_SCALING as c_int,
                    bindings::DRM_PLANE_NO_SCALING as c_int,
                    this.kind() == PlaneKind::Cursor,
                    true,
                )
            })?;

            // SAFETY: The state is valid and does not change during the call.
            T::atomic_check(this, &unsafe { PlaneState::from_raw(new) })?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Only the DRM core calls this, as `drm_plane_helper_funcs::prepare_fb` of a plane of this
    /// type, with a state of it.
    unsafe extern "C" fn prepare_callback(
        plane: *mut bindings::drm_plane,
        state: *mut bindings::drm_plane_state,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the safety requirements.
            to_result(unsafe { bindings::drm_gem_plane_helper_prepare_fb(plane, state) })?;

            // SAFETY: By the safety requirements.
            let (this, state) = unsafe { (Self::from_raw(plane), PlaneState::from_raw(state)) };
            if let Some(framebuffer) = state.framebuffer() {
                T::prepare_fb(this, framebuffer)?;
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Only the DRM core calls this, as `drm_plane_helper_funcs::atomic_async_check` of a plane of
    /// this type that is in `commit`.
    unsafe extern "C" fn async_check_callback(
        plane: *mut bindings::drm_plane,
        commit: *mut bindings::drm_atomic_commit,
        flip: bool,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        if flip || unsafe { Self::from_raw(plane) }.kind() != PlaneKind::Cursor {
            return EINVAL.to_errno();
        }

        // SAFETY: The plane is in `commit`, with both states, and on a CRTC, as this is no flip.
        // The check of the plane has added the state of the CRTC to `commit`.
        let (active, ready) = unsafe {
            let old = bindings::drm_atomic_get_old_plane_state(commit, plane);
            let new = bindings::drm_atomic_get_new_plane_state(commit, plane);
            let crtc = bindings::drm_atomic_get_new_crtc_state(commit, (*new).crtc);
            // Nobody waits for those who draw a new image, but the usual commit does.
            let ready = (*new).fb == (*old).fb || commit::is_signaled(&*new);
            ((*crtc).active, ready)
        };
        match active && ready {
            true => 0,
            false => EINVAL.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Only the DRM core calls this, as `drm_plane_helper_funcs::atomic_async_update` of a plane of
    /// this type that is in `commit`, with no other plane.
    unsafe extern "C" fn async_update_callback(
        plane: *mut bindings::drm_plane,
        commit: *mut bindings::drm_atomic_commit,
    ) {
        // SAFETY: By the safety requirements. The array has an entry for each plane.
        let (this, entry) = unsafe {
            let index = (*plane).index as usize;
            (Self::from_raw(plane), &*(*commit).planes.add(index))
        };

        // SAFETY: The entry has both states of the plane. They do not change: the lock of the plane
        // is held, and no commit of the plane is in progress.
        T::atomic_async_update(this, &unsafe { PlaneUpdate::from_raw(entry) });

        // The plane keeps its state, which gets the new values. The previous framebuffer goes to
        // `commit`, which releases it.
        //
        // SAFETY: Both states are valid, and nothing else uses them, as above.
        unsafe {
            let (state, new) = (&mut *(*plane).state, &mut *entry.new_state);
            core::mem::swap(&mut state.fb, &mut new.fb);
            (state.crtc_x, state.crtc_y) = (new.crtc_x, new.crtc_y);
            (state.crtc_w, state.crtc_h) = (new.crtc_w, new.crtc_h);
            (state.src_x, state.src_y) = (new.src_x, new.src_y);
            (state.src_w, state.src_h) = (new.src_w, new.src_h);
            (state.hotspot_x, state.hotspot_y) = (new.hotspot_x, new.hotspot_y);
            (state.src, state.dst) = (new.src, new.dst);
            state.visible = new.visible;
        }
    }
}

impl<T: DriverPlane> Deref for Plane<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

/// The state of a plane.
///
/// # Invariants
///
/// `state` is a valid state of a plane of `T`. Nothing but the hotspot changes during `'a`: the
/// legacy cursor ioctl writes it at any time.
#[doc(alias = "drm_plane_state")]
pub struct PlaneState<'a, T: KmsDriver> {
    state: *mut bindings::drm_plane_state,
    _state: PhantomData<&'a T>,
}

impl<'a, T: KmsDriver> PlaneState<'a, T> {
    /// # Safety
    ///
    /// `state` must be a valid state of a plane of `T`, of which nothing but the hotspot changes
    /// during `'a`.
    pub(super) unsafe fn from_raw(state: *mut bindings::drm_plane_state) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            state,
            _state: PhantomData,
        }
    }

    /// Returns the framebuffer, if the plane has one.
    pub fn framebuffer(&self) -> Option<&'a Framebuffer<T>> {
        // SAFETY: By the type invariants.
        let fb = unsafe { (*self.state).fb };
        if fb.is_null() {
            return None;
        }
        // SAFETY: The state has a reference. All framebuffers of the device are `Framebuffer<T>`.
        Some(unsafe { Framebuffer::from_raw(fb) })
    }

    /// Returns the index of the CRTC that shows the plane, if there is one.
    pub fn crtc_index(&self) -> Option<u32> {
        // SAFETY: By the type invariants.
        let crtc = unsafe { (*self.state).crtc };
        if crtc.is_null() {
            return None;
        }
        // SAFETY: CRTCs live as long as the device, and their index does not change.
        Some(unsafe { (*crtc).index })
    }

    /// Returns whether any part of the plane is visible.
    pub fn visible(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { (*self.state).visible }
    }

    /// Returns the visible part of the framebuffer, in whole pixels.
    pub fn src(&self) -> Rect {
        // SAFETY: By the type invariants.
        let src = unsafe { (*self.state).src };
        Rect {
            x1: src.x1 >> 16,
            y1: src.y1 >> 16,
            x2: src.x2 >> 16,
            y2: src.y2 >> 16,
        }
    }

    /// Returns the left edge of the plane on the CRTC, in pixels. It may be left of the CRTC.
    pub fn crtc_x(&self) -> i32 {
        // SAFETY: By the type invariants.
        unsafe { (*self.state).crtc_x }
    }

    /// Returns the upper edge of the plane on the CRTC, in pixels. It may be above the CRTC.
    pub fn crtc_y(&self) -> i32 {
        // SAFETY: By the type invariants.
        unsafe { (*self.state).crtc_y }
    }

    /// Returns the pixel with which the cursor points, relative to its upper left corner. User
    /// space may set any value.
    pub fn hotspot(&self) -> (i32, i32) {
        // SAFETY: By the type invariants.
        unsafe { ((*self.state).hotspot_x, (*self.state).hotspot_y) }
    }
}
