// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Planes.
//!
//! C header: [`include/drm/drm_plane.h`](srctree/include/drm/drm_plane.h)

use super::{
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

/// Number of pixel formats that DRM can take for one plane.
const MAX_FORMATS: usize = 64;

/// Number of planes that fit into DRM's masks.
const MAX_PLANES: c_int = 32;

/// The kind of a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PlaneKind {
    /// The main plane of a CRTC, which covers all of it.
    Primary = bindings::drm_plane_type_DRM_PLANE_TYPE_PRIMARY,
    /// The cursor plane of a CRTC.
    Cursor = bindings::drm_plane_type_DRM_PLANE_TYPE_CURSOR,
}

/// What a driver does with a plane.
#[vtable]
pub trait DriverPlane: Send + Sync + Sized + 'static {
    /// The driver whose planes these are.
    type Driver: KmsDriver<Plane = Self>;

    /// Whether the driver wants the damage of another framebuffer than before.
    ///
    /// It says how that one differs from the one before, hence what changes on the screen, which
    /// is all that a driver needs that has one picture for the plane. One that has a picture for
    /// each framebuffer may only ask for it if it knows what happened since that one was shown.
    /// Without, another framebuffer is damaged all over.
    const DAMAGE_OF_FLIPS: bool = false;

    /// Checks a state that is to be committed.
    ///
    /// The state is known to be without scaling, a primary plane to cover its CRTC. Process
    /// context, may sleep; the plane's lock is held, and the CRTC's if the plane has one.
    fn atomic_check(_plane: &Plane<Self>, _new: &PlaneState<'_, Self::Driver>) -> Result {
        Ok(())
    }

    /// Prepares a framebuffer for being shown by the plane.
    ///
    /// Process context, may sleep. The commit may yet be given up.
    fn prepare_fb(_plane: &Plane<Self>, _framebuffer: &Framebuffer<Self::Driver>) -> Result {
        Ok(())
    }

    /// Returns the pages of a framebuffer that a primary plane shows, to draw a panic screen into
    /// them. Without this function there is no panic screen.
    ///
    /// Context: panic. Interrupts are off, the other CPUs were stopped wherever they were, and any
    /// lock may be held by one of them, for ever: only a lock that is had with `try_lock` guards
    /// anything. No allocation, no waiting. A panic can also be a simulated one, after which all
    /// goes on. DRM's panic lock is held, a raw spinlock, from here to the end of
    /// [`Self::panic_flush`]; the framebuffer is the one of the last commit, of which it is not
    /// known whether the hardware knows it already.
    fn panic_pages<'a>(
        _device: &'a drm::Device<Self::Driver, drm::Registered>,
        _plane: &'a Plane<Self>,
        _framebuffer: &'a Framebuffer<Self::Driver>,
    ) -> Option<Pages<'a>> {
        None
    }

    /// Brings a panic screen, which is drawn, to the hardware.
    ///
    /// Context: as [`Self::panic_pages`].
    fn panic_flush(
        _device: &drm::Device<Self::Driver, drm::Registered>,
        _plane: &Plane<Self>,
        _framebuffer: &Framebuffer<Self::Driver>,
    ) {
    }

    /// Brings the state of a cursor plane to the hardware at once, without
    /// [`KmsDriver::commit`]. Optional.
    ///
    /// Called for what user space asks for with the ioctls of old for cursors, which else wait
    /// until the CRTC has flipped. The plane is on the same CRTC as before, which is on, and no
    /// commit that has the plane is under way; commits of the CRTC's other planes may be. The state
    /// was checked, and the framebuffer prepared.
    ///
    /// Process context, may sleep; the locks of the plane and of the CRTC are held.
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
        // fails, the device is never registered, hence the data never used.
        unsafe { setup.init(&raw mut (*this).data, data) }?;

        match kind {
            // SAFETY: The plane is valid and the device is not registered.
            PlaneKind::Primary => unsafe { bindings::drm_plane_enable_fb_damage_clips(plane) },
            // SAFETY: As above.
            PlaneKind::Cursor => to_result(unsafe {
                bindings::drm_plane_create_blend_mode_property(
                    plane,
                    1 << bindings::DRM_MODE_BLEND_PREMULTI,
                )
            })?,
        }

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

    /// The device of the plane.
    pub fn device(&self) -> &drm::Device<T::Driver, drm::Ioctl> {
        // SAFETY: By the type invariants the plane is of a `drm::Device<T::Driver>`, which lives
        // as long. Callbacks come after registration only. During the set-up the parent device is
        // bound, and the registration data there, as for a registered device.
        unsafe { drm::Device::from_raw((*self.as_raw()).dev) }
    }

    /// The index of the plane among those of the device.
    pub fn index(&self) -> u32 {
        // SAFETY: The plane is initialized, and the index does not change.
        unsafe { (*self.as_raw()).index }
    }

    /// The kind of the plane.
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

            // SAFETY: The plane is in `commit`, hence it has both states.
            let (old, new) = unsafe {
                (
                    bindings::drm_atomic_get_old_plane_state(commit, plane),
                    bindings::drm_atomic_get_new_plane_state(commit, plane),
                )
            };

            // SAFETY: The new state is valid, and its CRTC is one of the device.
            let crtc_state = match unsafe { (*new).crtc } {
                crtc if crtc.is_null() => ptr::null_mut(),
                // SAFETY: As above; `commit` is being checked, so that it can be added to.
                crtc => from_err_ptr(unsafe { bindings::drm_atomic_get_crtc_state(commit, crtc) })?,
            };

            // The new state was copied from the old one, hence what was said there has to go.
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

            // SAFETY: The state is valid during the call and is not changed meanwhile.
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

        // SAFETY: The plane is in `commit`, and on a CRTC if this is no flip. The check of the
        // plane has added the state of the CRTC to `commit`.
        let active = unsafe {
            let new = bindings::drm_atomic_get_new_plane_state(commit, plane);
            (*bindings::drm_atomic_get_new_crtc_state(commit, (*new).crtc)).active
        };
        match active {
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
        // is held, and no commit that has the plane is under way.
        T::atomic_async_update(this, &unsafe { PlaneUpdate::from_raw(entry) });

        // The plane keeps its state, with what is new in it. What is left in `commit` is released
        // with that: the framebuffer from before.
        //
        // SAFETY: Both states are valid, and nobody else uses them, as above.
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
/// `state` is a valid state of a plane of `T` and does not change during `'a`, but for the hotspot,
/// which the legacy cursor ioctl writes at any time.
pub struct PlaneState<'a, T: KmsDriver> {
    state: *mut bindings::drm_plane_state,
    _state: PhantomData<&'a T>,
}

impl<'a, T: KmsDriver> PlaneState<'a, T> {
    /// # Safety
    ///
    /// `state` must be a valid state of a plane of `T`, and not change during `'a`, but for the
    /// hotspot.
    pub(super) unsafe fn from_raw(state: *mut bindings::drm_plane_state) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            state,
            _state: PhantomData,
        }
    }

    /// The framebuffer, if the plane shows any.
    pub fn framebuffer(&self) -> Option<&'a Framebuffer<T>> {
        // SAFETY: By the type invariants.
        let fb = unsafe { (*self.state).fb };
        if fb.is_null() {
            return None;
        }
        // SAFETY: The state holds a reference. All framebuffers of the device are `Framebuffer<T>`.
        Some(unsafe { Framebuffer::from_raw(fb) })
    }

    /// The index of the CRTC that shows the plane, if any does.
    pub fn crtc_index(&self) -> Option<u32> {
        // SAFETY: By the type invariants.
        let crtc = unsafe { (*self.state).crtc };
        if crtc.is_null() {
            return None;
        }
        // SAFETY: CRTCs live as long as the device, and their index does not change.
        Some(unsafe { (*crtc).index })
    }

    /// Whether anything of the plane can be seen.
    pub fn visible(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { (*self.state).visible }
    }

    /// The visible part of the framebuffer, in whole pixels.
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

    /// The left edge of the plane on the CRTC, in pixels; may be left of it.
    pub fn crtc_x(&self) -> i32 {
        // SAFETY: By the type invariants.
        unsafe { (*self.state).crtc_x }
    }

    /// The upper edge of the plane on the CRTC, in pixels; may be above it.
    pub fn crtc_y(&self) -> i32 {
        // SAFETY: By the type invariants.
        unsafe { (*self.state).crtc_y }
    }

    /// The pixel of the cursor that points, from its upper left corner. User space may name any.
    pub fn hotspot(&self) -> (i32, i32) {
        // SAFETY: By the type invariants.
        unsafe { ((*self.state).hotspot_x, (*self.state).hotspot_y) }
    }
}
