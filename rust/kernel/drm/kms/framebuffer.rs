// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A [`DriverFramebuffer`] is a driver's data of a [`Framebuffer`].
//!
//! C headers: [`include/drm/drm_framebuffer.h`](srctree/include/drm/drm_framebuffer.h),
//! [`include/drm/drm_gem_framebuffer_helper.h`](srctree/include/drm/drm_gem_framebuffer_helper.h)

use super::KmsDriver;
use crate::{
    alloc::KBox,
    bindings,
    drm::{
        self,
        gem::IntoGEMObject, //
    },
    error::to_result,
    prelude::*,
    sync::atomic::Atomic,
    types::Opaque, //
};
use core::{
    ops::Deref,
    ptr, //
};

/// How the pixels of a framebuffer lie in its buffer.
#[doc(alias = "drm_mode_fb_cmd2")]
pub struct Layout {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Pixel format, as fourcc.
    pub format: u32,
    /// Distance between two lines, in bytes.
    pub pitch: u32,
    /// Offset of the first line in the buffer, in bytes.
    pub offset: u32,
}

/// The callbacks and the data of a driver for its framebuffers.
#[doc(alias = "drm_framebuffer_funcs")]
pub trait DriverFramebuffer: Send + Sync + Sized + 'static {
    /// The driver whose framebuffers these are.
    type Driver: KmsDriver<Framebuffer = Self>;

    /// Makes the data of a new framebuffer.
    fn new() -> impl PinInit<Self>;

    /// Checks the layout of a new framebuffer.
    ///
    /// DRM itself checks that a plane can show the format, that the size is within
    /// [`KmsDriver::INFO`], that a line fits into the pitch, and that the framebuffer fits into its
    /// buffer.
    ///
    /// Errors: user space gets them.
    ///
    /// Context: process, may sleep.
    #[doc(alias = "fb_create")]
    fn check(_device: &drm::Device<Self::Driver, drm::Ioctl>, _layout: &Layout) -> Result {
        Ok(())
    }

    /// Called before a framebuffer is destroyed, while it still has its buffer. No plane shows it.
    ///
    /// Context: process, may sleep.
    fn destroy(_framebuffer: &Framebuffer<Self::Driver>) {}
}

/// A framebuffer, with the data of the driver. All of its pixels are in one plane.
///
/// # Invariants
///
/// `fb` is an initialized `struct drm_framebuffer` of a `drm::Device<T>`, with a reference to one
/// `T::Object`.
#[doc(alias = "drm_framebuffer")]
#[pin_data]
#[repr(C)]
pub struct Framebuffer<T: KmsDriver> {
    #[pin]
    fb: Opaque<bindings::drm_framebuffer>,
    /// Whether its file is closed. Written under the lock of the events.
    pub(super) closing: Atomic<bool>,
    #[pin]
    data: T::Framebuffer,
}

// SAFETY: The data is `Send`, and `struct drm_framebuffer` can be used from any thread.
unsafe impl<T: KmsDriver> Send for Framebuffer<T> {}

// SAFETY: The data is `Sync`, the flag is atomic, and what is read of `struct drm_framebuffer` does
// not change.
unsafe impl<T: KmsDriver> Sync for Framebuffer<T> {}

impl<T: KmsDriver> Framebuffer<T> {
    const FUNCS: bindings::drm_framebuffer_funcs = bindings::drm_framebuffer_funcs {
        destroy: Some(Self::destroy_callback),
        create_handle: Some(bindings::drm_gem_fb_create_handle),
        dirty: Some(bindings::drm_atomic_helper_dirtyfb),
    };

    /// # Safety
    ///
    /// `fb` must be a framebuffer of a `drm::Device<T>`, to which there is a reference during
    /// `'a`.
    pub(super) unsafe fn from_raw<'a>(fb: *mut bindings::drm_framebuffer) -> &'a Self {
        // SAFETY: `create_callback` makes all framebuffers of such devices, so `fb` is the field of
        // a `Self`.
        unsafe { &*crate::container_of!(Opaque::cast_from(fb), Self, fb) }
    }

    /// Returns the device of the framebuffer.
    pub fn device(&self) -> &drm::Device<T, drm::Ioctl> {
        // SAFETY: By the type invariants. Only ioctls and in-kernel clients make framebuffers, so
        // the device was registered.
        unsafe { drm::Device::from_raw((*self.fb.get()).dev) }
    }

    /// Returns the width in pixels.
    pub fn width(&self) -> u32 {
        // SAFETY: By the type invariants; it does not change.
        unsafe { (*self.fb.get()).width }
    }

    /// Returns the height in pixels.
    pub fn height(&self) -> u32 {
        // SAFETY: By the type invariants; it does not change.
        unsafe { (*self.fb.get()).height }
    }

    /// Returns the pixel format, as fourcc.
    pub fn format(&self) -> u32 {
        // SAFETY: The format of an initialized framebuffer is a static one.
        unsafe { (*self.format_info()).format }
    }

    /// Returns DRM's description of the pixel format.
    pub(super) fn format_info(&self) -> *const bindings::drm_format_info {
        // SAFETY: By the type invariants; it does not change.
        unsafe { (*self.fb.get()).format }
    }

    /// Returns the distance between two lines, in bytes.
    pub fn pitch(&self) -> u32 {
        // SAFETY: By the type invariants; it does not change.
        unsafe { (*self.fb.get()).pitches[0] }
    }

    /// Returns the offset of the first line in the buffer, in bytes.
    pub fn offset(&self) -> u32 {
        // SAFETY: By the type invariants; it does not change.
        unsafe { (*self.fb.get()).offsets[0] }
    }

    /// Returns the buffer with the pixels.
    #[doc(alias = "drm_gem_fb_get_obj")]
    pub fn object(&self) -> &T::Object {
        // SAFETY: By the type invariants.
        unsafe { T::Object::from_raw((*self.fb.get()).obj[0]) }
    }

    /// # Safety
    ///
    /// Only the DRM core calls this, as `drm_mode_config_funcs::fb_create` of a
    /// `drm::Device<T>`.
    pub(super) unsafe extern "C" fn create_callback(
        dev: *mut bindings::drm_device,
        file: *mut bindings::drm_file,
        info: *const bindings::drm_format_info,
        cmd: *const bindings::drm_mode_fb_cmd2,
    ) -> *mut bindings::drm_framebuffer {
        // SAFETY: By the safety requirements.
        match unsafe { Self::create(dev, file, info, cmd) } {
            Ok(fb) => fb,
            Err(error) => error.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// As [`Self::create_callback`].
    unsafe fn create(
        dev: *mut bindings::drm_device,
        file: *mut bindings::drm_file,
        info: *const bindings::drm_format_info,
        cmd: *const bindings::drm_mode_fb_cmd2,
    ) -> Result<*mut bindings::drm_framebuffer> {
        // SAFETY: By the safety requirements. The device was registered, see `Self::device`.
        let device = unsafe { drm::Device::<T, drm::Ioctl>::from_raw(dev) };

        // SAFETY: By the safety requirements both are valid, and do not change during the call.
        let (planes, layout) = unsafe {
            (
                (*info).num_planes,
                Layout {
                    width: (*cmd).width,
                    height: (*cmd).height,
                    format: (*cmd).pixel_format,
                    pitch: (*cmd).pitches[0],
                    offset: (*cmd).offsets[0],
                },
            )
        };
        if planes != 1 {
            return Err(EINVAL);
        }
        T::Framebuffer::check(device, &layout)?;

        let this = KBox::pin_init(
            pin_init!(Self {
                fb <- Opaque::init_zeroed(),
                closing: Atomic::new(false),
                data <- T::Framebuffer::new(),
            }),
            GFP_KERNEL,
        )?;

        // User space may use it before `drm_gem_fb_init_with_funcs()` has returned.
        //
        // SAFETY: It stays where it is.
        let this = KBox::into_raw(unsafe { Pin::into_inner_unchecked(this) });

        // SAFETY: `this` is valid.
        let fb = Opaque::cast_into(unsafe { &raw const (*this).fb });

        // SAFETY: DRM has passed all but `fb`, which is zeroed, and the functions are a constant.
        let result = to_result(unsafe {
            bindings::drm_gem_fb_init_with_funcs(dev, fb, file, info, cmd, const { &Self::FUNCS })
        });
        if let Err(error) = result {
            // SAFETY: `this` is from `KBox::into_raw()`, and DRM does not have it.
            drop(unsafe { KBox::from_raw(this) });
            return Err(error);
        }
        Ok(fb)
    }

    /// # Safety
    ///
    /// Only the DRM core calls this, as `drm_framebuffer_funcs::destroy` of a framebuffer of this
    /// type.
    unsafe extern "C" fn destroy_callback(fb: *mut bindings::drm_framebuffer) {
        // SAFETY: By the safety requirements. It is only destroyed below.
        T::Framebuffer::destroy(unsafe { Self::from_raw(fb) });

        // SAFETY: By the safety requirements nothing else uses it any more, and it is the field of
        // a `Self`.
        unsafe {
            let this = crate::container_of!(Opaque::cast_from(fb), Self, fb).cast_mut();
            ptr::drop_in_place(&raw mut (*this).data);
        }

        // This frees the memory with `kfree()`. It is that of a `KBox`, and `fb` is at its start.
        //
        // SAFETY: By the safety requirements. Nothing but the driver's data needs a drop.
        unsafe { bindings::drm_gem_fb_destroy(fb) };
    }
}

impl<T: KmsDriver> Deref for Framebuffer<T> {
    type Target = T::Framebuffer;

    fn deref(&self) -> &T::Framebuffer {
        &self.data
    }
}
