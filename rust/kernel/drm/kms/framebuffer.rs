// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Framebuffers.
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
    types::Opaque, //
};
use core::{
    ops::Deref,
    ptr, //
};

/// How the pixels of a framebuffer lie in its buffer.
pub struct Layout {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Pixel format, as fourcc.
    pub format: u32,
    /// Distance of two lines, in bytes.
    pub pitch: u32,
    /// Offset of the first line in the buffer, in bytes.
    pub offset: u32,
}

/// What a driver keeps with a framebuffer.
pub trait DriverFramebuffer: Send + Sync + Sized + 'static {
    /// The driver whose framebuffers these are.
    type Driver: KmsDriver<Framebuffer = Self>;

    /// The data of a new framebuffer.
    fn new() -> impl PinInit<Self>;

    /// Checks what user space asks for, beyond what DRM checks.
    ///
    /// DRM checks that a plane can show the format, that the size is within
    /// [`KmsDriver::INFO`], that a line fits into the pitch, and that the framebuffer fits into its
    /// buffer. Process context, may sleep.
    fn check(_device: &drm::Device<Self::Driver, drm::Ioctl>, _layout: &Layout) -> Result {
        Ok(())
    }

    /// Called when a framebuffer is destroyed, while it still has its buffer.
    ///
    /// No plane shows it. Process context, may sleep.
    fn destroy(_framebuffer: &Framebuffer<Self::Driver>) {}
}

/// A framebuffer, with the data of the driver. It has one plane of pixels.
///
/// # Invariants
///
/// `fb` is an initialized `struct drm_framebuffer` of a `drm::Device<T>`, with a reference to one
/// `T::Object`.
#[pin_data]
#[repr(C)]
pub struct Framebuffer<T: KmsDriver> {
    #[pin]
    fb: Opaque<bindings::drm_framebuffer>,
    #[pin]
    data: T::Framebuffer,
}

// SAFETY: The data is `Send`, and `struct drm_framebuffer` can be used from any thread.
unsafe impl<T: KmsDriver> Send for Framebuffer<T> {}

// SAFETY: The data is `Sync`, and what is read of `struct drm_framebuffer` does not change.
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
        // SAFETY: All framebuffers of such devices are made by `create_callback`, hence `fb` is the
        // field of a `Self`.
        unsafe { &*crate::container_of!(Opaque::cast_from(fb), Self, fb) }
    }

    /// The device of the framebuffer.
    pub fn device(&self) -> &drm::Device<T, drm::Ioctl> {
        // SAFETY: By the type invariants. Framebuffers are made by ioctls and by in-kernel clients
        // alone, hence the device was registered.
        unsafe { drm::Device::from_raw((*self.fb.get()).dev) }
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        // SAFETY: By the type invariants; it does not change.
        unsafe { (*self.fb.get()).width }
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        // SAFETY: By the type invariants; it does not change.
        unsafe { (*self.fb.get()).height }
    }

    /// Pixel format, as fourcc.
    pub fn format(&self) -> u32 {
        // SAFETY: The format of an initialized framebuffer is a static one.
        unsafe { (*self.format_info()).format }
    }

    /// What DRM knows of the pixel format.
    pub(super) fn format_info(&self) -> *const bindings::drm_format_info {
        // SAFETY: By the type invariants; it does not change.
        unsafe { (*self.fb.get()).format }
    }

    /// Distance of two lines, in bytes.
    pub fn pitch(&self) -> u32 {
        // SAFETY: By the type invariants; it does not change.
        unsafe { (*self.fb.get()).pitches[0] }
    }

    /// Offset of the first line in the buffer, in bytes.
    pub fn offset(&self) -> u32 {
        // SAFETY: By the type invariants; it does not change.
        unsafe { (*self.fb.get()).offsets[0] }
    }

    /// The buffer with the pixels.
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
                data <- T::Framebuffer::new(),
            }),
            GFP_KERNEL,
        )?;

        // User space may use it before the next call has returned.
        //
        // SAFETY: It stays where it is.
        let this = KBox::into_raw(unsafe { Pin::into_inner_unchecked(this) });

        // SAFETY: `this` is valid.
        let fb = Opaque::cast_into(unsafe { &raw const (*this).fb });

        // SAFETY: All but `fb` is from DRM; `fb` is zeroed, and the functions are a constant.
        let result = to_result(unsafe {
            bindings::drm_gem_fb_init_with_funcs(dev, fb, file, info, cmd, const { &Self::FUNCS })
        });
        if let Err(error) = result {
            // SAFETY: `this` is from `KBox::into_raw()`, and DRM does not know it.
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
        // SAFETY: By the safety requirements; it is destroyed below only.
        T::Framebuffer::destroy(unsafe { Self::from_raw(fb) });

        // SAFETY: By the safety requirements nobody else uses it any more, and it is the field of a
        // `Self`.
        unsafe {
            let this = crate::container_of!(Opaque::cast_from(fb), Self, fb).cast_mut();
            ptr::drop_in_place(&raw mut (*this).data);
        }

        // This frees the memory with `kfree()`. It is that of a `KBox`, and `fb` is at its start.
        //
        // SAFETY: By the safety requirements. Only the driver's data was in need of a drop.
        unsafe { bindings::drm_gem_fb_destroy(fb) };
    }
}

impl<T: KmsDriver> Deref for Framebuffer<T> {
    type Target = T::Framebuffer;

    fn deref(&self) -> &T::Framebuffer {
        &self.data
    }
}
