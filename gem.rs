// SPDX-License-Identifier: GPL-2.0

//! GEM objects. User space cannot make any yet; DRM wants the type.

use kernel::{
    drm::gem,
    prelude::*, //
};

use crate::driver::{
    RustGpuDevice,
    RustGpuDriver, //
};

/// What the driver keeps of an object.
#[pin_data]
pub(crate) struct Inner {}

impl gem::DriverObject for Inner {
    type Driver = RustGpuDriver;
    type Args = ();

    fn new(_dev: &RustGpuDevice, _size: usize, _args: ()) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {})
    }
}
