// SPDX-License-Identifier: GPL-2.0 OR MIT

//! [`Plane::GET_SCANOUT_BUFFER`] lets DRM draw the panic screen into the framebuffer of a plane.
//!
//! DRM draws it when the kernel panics, or when `drm_panic_plane_N` in debugfs is written. For each
//! plane whose driver implements [`DriverPlane::panic_pages`] it asks where to draw, draws, and
//! calls [`DriverPlane::panic_flush`].
//!
//! DRM draws to the whole framebuffer. If a plane shows a part of the framebuffer, it shows that
//! part of the panic screen.
//!
//! C header: [`include/drm/drm_panic.h`](srctree/include/drm/drm_panic.h)

use super::{
    DriverPlane,
    Framebuffer,
    Plane,
    PlaneState, //
};
use crate::{
    bindings,
    drm,
    error::from_result,
    ffi::c_int,
    page::PAGE_SIZE,
    prelude::*, //
};

impl<T: DriverPlane> Plane<T> {
    /// `drm_plane_helper_funcs::get_scanout_buffer`, or none if the driver shows no panic screen.
    pub(super) const GET_SCANOUT_BUFFER: Option<
        unsafe extern "C" fn(*mut bindings::drm_plane, *mut bindings::drm_scanout_buffer) -> c_int,
    > = if T::HAS_PANIC_PAGES {
        Some(Self::scanout_buffer_callback)
    } else {
        None
    };

    /// `drm_plane_helper_funcs::panic_flush`, or none as above.
    pub(super) const PANIC_FLUSH: Option<unsafe extern "C" fn(*mut bindings::drm_plane)> =
        if T::HAS_PANIC_PAGES {
            Some(Self::panic_flush_callback)
        } else {
            None
        };

    /// Returns the device, the plane and the framebuffer of a panic screen.
    ///
    /// # Safety
    ///
    /// `plane` must be a plane of this type. The panic lock of its device must be held during
    /// `'a`, in which DRM draws a panic screen.
    unsafe fn panic_target<'a>(plane: *mut bindings::drm_plane) -> Result<PanicTarget<'a, T>> {
        // SAFETY: By the safety requirements.
        let this = unsafe { Self::from_raw(plane) };

        // SAFETY: DRM only draws a panic screen between registration and the end of unregistration,
        // which waits for it. All that time the parent device is bound and the registration data is
        // valid.
        let device = unsafe { drm::Device::from_raw((*plane).dev) };

        // SAFETY: By the safety requirements: the state is only replaced with the panic lock held,
        // and it does not change once it was checked.
        let state = unsafe { (*plane).state };
        if state.is_null() {
            return Err(ENODEV);
        }

        // SAFETY: As above.
        let state = unsafe { PlaneState::<'a, T::Driver>::from_raw(state) };
        match state.framebuffer() {
            Some(framebuffer) if state.visible() => Ok((device, this, framebuffer)),
            _ => Err(ENODEV),
        }
    }

    /// # Safety
    ///
    /// Only the DRM core calls this, as `drm_plane_helper_funcs::get_scanout_buffer` of a plane of
    /// this type, with a zeroed `buffer` and the panic lock held. It holds the lock as long as it
    /// uses `buffer`.
    unsafe extern "C" fn scanout_buffer_callback(
        plane: *mut bindings::drm_plane,
        buffer: *mut bindings::drm_scanout_buffer,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the safety requirements.
            let (device, this, framebuffer) = unsafe { Self::panic_target(plane) }?;
            let pages = T::panic_pages(device, this, framebuffer).ok_or(ENODEV)?;
            let (offset, pitch) = (framebuffer.offset(), framebuffer.pitch());
            let first = first_page(offset, pitch, framebuffer.height(), pages.count());
            let first = first.ok_or(EINVAL)?;

            // SAFETY: By the safety requirements `buffer` is valid. The first page and all others
            // of the framebuffer are in the array, until the lock is dropped.
            unsafe {
                (*buffer).format = framebuffer.format_info();
                (*buffer).pages = pages.as_ptr().add(first);
                (*buffer).width = framebuffer.width();
                (*buffer).height = framebuffer.height();
                (*buffer).pitch[0] = pitch;
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Only the DRM core calls this, as `drm_plane_helper_funcs::panic_flush` of a plane of this
    /// type, after [`Self::scanout_buffer_callback`] and with the same lock held.
    unsafe extern "C" fn panic_flush_callback(plane: *mut bindings::drm_plane) {
        // SAFETY: By the safety requirements.
        if let Ok((device, this, framebuffer)) = unsafe { Self::panic_target(plane) } {
            // WAIT: none, a panic waits for nothing
            T::panic_flush(device, this, framebuffer);
        }
    }
}

/// The device, the plane and the framebuffer of a panic screen.
type PanicTarget<'a, T> = (
    &'a drm::Device<<T as DriverPlane>::Driver, drm::Registered>,
    &'a Plane<T>,
    &'a Framebuffer<<T as DriverPlane>::Driver>,
);

/// Returns the index of the page where a framebuffer of `height` lines of `pitch` bytes begins.
/// [`None`] if it begins within a page, for which `struct drm_scanout_buffer` has no field, or if
/// it ends after `count` pages.
fn first_page(offset: u32, pitch: u32, height: u32, count: usize) -> Option<usize> {
    let offset = usize::try_from(offset).ok()?;
    let size = usize::try_from(u64::from(pitch) * u64::from(height)).ok()?;
    let end = offset.checked_add(size)?;
    (offset % PAGE_SIZE == 0 && end.div_ceil(PAGE_SIZE) <= count).then_some(offset / PAGE_SIZE)
}

#[kunit_tests(rust_drm_panic)]
mod tests {
    use super::*;

    // Each line is one page.
    const PITCH: u32 = PAGE_SIZE as u32;

    #[test]
    fn framebuffers_within_their_pages() {
        assert_eq!(first_page(0, PITCH, 3, 3), Some(0));
        assert_eq!(first_page(2 * PITCH, PITCH, 3, 5), Some(2));
        assert_eq!(first_page(0, PITCH - 4, 3, 3), Some(0));
    }

    #[test]
    fn framebuffers_that_do_not_fit() {
        assert_eq!(first_page(0, PITCH, 3, 2), None);
        assert_eq!(first_page(2 * PITCH, PITCH, 3, 4), None);
        assert_eq!(first_page(0, PITCH + 4, 3, 3), None);
        assert_eq!(first_page(0, u32::MAX, u32::MAX, 3), None);
    }

    #[test]
    fn framebuffers_that_begin_within_a_page() {
        assert_eq!(first_page(4, PITCH - 4, 1, 2), None);
        assert_eq!(first_page(PITCH + 4, PITCH, 1, 9), None);
    }
}
