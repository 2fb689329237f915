// SPDX-License-Identifier: GPL-2.0

//! GEM objects: memory for pictures that the CPU draws. User space makes them as dumb buffers, or
//! imports buffers of other devices.

use kernel::{
    drm::gem,
    prelude::*, //
};

use crate::driver::{
    RustGpuDevice,
    RustGpuDriver, //
};

/// The only depth, in bits, that the C driver takes; all formats of the device have it.
const BITS_PER_PIXEL: u32 = 32;

/// Alignment of the pitch, in bytes: that of a pixel.
const PITCH_ALIGN: usize = 4;

/// An object.
pub(crate) type Object = gem::shmem::Object<Inner>;

/// What the driver keeps of an object.
#[pin_data]
pub(crate) struct Inner {}

impl gem::DriverObject for Inner {
    type Driver = RustGpuDriver;
    type Args = ();

    const DUMB: Option<gem::DumbOps<Self>> = Some(gem::DumbOps {
        pitch_align: PITCH_ALIGN,
        args: check_dumb,
    });
    const IMPORT: Option<gem::ImportArgsFn<Self>> = Some(|_dev, _size| Ok(()));

    fn new(_dev: &RustGpuDevice, _size: usize, _args: ()) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {})
    }
}

/// Refuses dumb buffers with pixels that the device could not show, with `EINVAL`. What is too
/// large to be shown is memory all the same. Process context.
fn check_dumb(_dev: &RustGpuDevice, dumb: &gem::DumbBuffer) -> Result {
    if dumb.bpp != BITS_PER_PIXEL {
        return Err(EINVAL);
    }
    Ok(())
}
