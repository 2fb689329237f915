// SPDX-License-Identifier: GPL-2.0

//! [`ObjectData`] implements GEM objects: memory for pictures that the CPU draws. User space makes
//! them as dumb buffers, or imports buffers of other devices.

use kernel::{
    drm::{
        self,
        gem, //
    },
    prelude::*,
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
    },
};

use crate::{
    command::NO_RESOURCE,
    driver::File,
    gpu::{
        Object,
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
    type Args = ();

    const DUMB: Option<gem::DumbOps<Self>> = Some(gem::DumbOps {
        pitch_align: PITCH_ALIGN,
        args: check_dumb,
    });
    const IMPORT: Option<gem::ImportArgsFn<Self>> = Some(check_import);

    fn new(_dev: &RustGpuDevice, _size: usize, _args: ()) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            resource: Atomic::new(NO_RESOURCE),
            handles: Atomic::new(0),
        })
    }

    fn open(object: &Object, _file: &drm::File<File>) -> Result {
        object.handles.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Destroys the host resource with the last handle, if no framebuffer uses it.
    fn close(object: &Object, file: &drm::File<File>) {
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
}

/// Refuses dumb buffers with pixels that the device cannot show. A buffer that is too large to be
/// shown is allowed: it is memory all the same.
///
/// Errors: [`EINVAL`]. Context: process.
fn check_dumb(_dev: &RustGpuDevice, dumb: &gem::DumbBuffer) -> Result {
    if dumb.bpp != BITS_PER_PIXEL {
        return Err(EINVAL);
    }
    Ok(())
}

/// Refuses buffers of other devices, which only have addresses of the DMA API, on a device that
/// takes physical ones and for which an IOMMU translates the others.
///
/// Errors: [`EOPNOTSUPP`]; [`ENODEV`]: there is no device any more. Context: process.
fn check_import(dev: &RustGpuDevice<drm::Ioctl>, _size: usize) -> Result {
    let guard = dev.registration_guard().ok_or(ENODEV)?;
    let can_import = guard.registration_data_with(|data| {
        let gpu = data.adapter.miniport();
        gpu.dma().addressing().can_import(gpu.device())
    });
    if can_import {
        Ok(())
    } else {
        Err(EOPNOTSUPP)
    }
}
