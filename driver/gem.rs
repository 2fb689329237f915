// SPDX-License-Identifier: GPL-2.0

//! [`ObjectData`] implements GEM objects: memory for pictures that the CPU draws. User space makes
//! them as dumb buffers, or imports buffers of other devices.

#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
use kernel::drm::gem::shmem::Released;
use kernel::{
    drm::{
        self,
        gem, //
    },
    prelude::*,
    sync::atomic::{
        Full,
        Relaxed, //
    },
};

use crate::{
    driver::File,
    gpu::{
        Object,
        ObjectArgs,
        ObjectData,
        RustGpuDevice,
        RustGpuDriver, //
    },
};

/// The only depth that the C driver takes, in bits. All formats of the device have it.
const BITS_PER_PIXEL: u32 = 32;

/// Alignment of the pitch, in bytes: that of a pixel.
const PITCH_ALIGN: usize = 4;

impl gem::DriverObject for ObjectData {
    type Driver = RustGpuDriver;
    type Args = ObjectArgs;

    const DUMB: Option<gem::DumbOps<Self>> = Some(gem::DumbOps {
        pitch_align: PITCH_ALIGN,
        args: check_dumb,
    });
    const IMPORT: Option<gem::ImportArgsFn<Self>> = Some(check_import);

    fn new(_dev: &RustGpuDevice, _size: usize, args: ObjectArgs) -> impl PinInit<Self, Error> {
        Ok(Self::new(args))
    }

    fn open(object: &Object, file: &drm::File<File>) -> Result {
        #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
        super::virtgpu::open_handle(object, file)?;
        #[cfg(not(CONFIG_DRM_RUST_GPU_RENDER))]
        let _ = file;
        object.handles.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Destroys the host resource with the last handle, if no framebuffer uses it.
    fn close(object: &Object, file: &drm::File<File>) {
        #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
        file.inner().close_handle(object);
        // Before the framebuffers are counted. A framebuffer that goes is no longer counted when
        // it checks the handles, so the last user of the resource is always found.
        if object.handles.fetch_sub(1, Full) != 1 {
            return;
        }
        // Without a device there is no resource: a reset ended it.
        if let Some(guard) = file.device().registration_guard() {
            guard.registration_data_with(|data| data.display.close(object));
        }
    }

    /// An object of the 3D side stays until the device has let go of it.
    #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
    fn released(object: Released<Self>) {
        super::virtgpu::release(object);
    }
}

/// Refuses dumb buffers with pixels that the device cannot show. A buffer that is too large to be
/// shown is allowed: it is memory all the same.
///
/// Errors: [`EINVAL`]. Context: process.
fn check_dumb(_dev: &RustGpuDevice, dumb: &gem::DumbBuffer) -> Result<ObjectArgs> {
    if dumb.bpp != BITS_PER_PIXEL {
        return Err(EINVAL);
    }
    Ok(ObjectArgs::Picture {
        width: dumb.width,
        height: dumb.height,
    })
}

/// Refuses buffers of other devices, which only have addresses of the DMA API, on a device that
/// takes physical ones and for which an IOMMU translates the others.
///
/// Errors: [`EOPNOTSUPP`]; [`ENODEV`]: there is no device any more. Context: process.
fn check_import(dev: &RustGpuDevice<drm::Ioctl>, _size: usize) -> Result<ObjectArgs> {
    let guard = dev.registration_guard().ok_or(ENODEV)?;
    let can_import = guard.registration_data_with(|data| {
        let gpu = data.adapter.miniport();
        gpu.dma().addressing().can_import(gpu.device())
    });
    if can_import {
        Ok(ObjectArgs::Import)
    } else {
        Err(EOPNOTSUPP)
    }
}
