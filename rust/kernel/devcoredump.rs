// SPDX-License-Identifier: GPL-2.0

//! [`publish`] gives user space a dump of a device that failed.
//!
//! C header: [`include/linux/devcoredump.h`](srctree/include/linux/devcoredump.h)

use crate::{
    alloc::Flags,
    bindings,
    device::Device,
    prelude::*, //
};

/// Gives user space a dump of `dev`, as `/sys/class/devcoredump/devcd<n>/data`, which only root
/// reads. It stays there for five minutes, or until somebody writes to it.
///
/// A device has one dump at a time. The new one is dropped if there is one already, if the user has
/// disabled dumps, if there is no memory, or if the kernel has no `CONFIG_DEV_COREDUMP`, which the
/// driver selects by `WANT_DEV_COREDUMP`.
///
/// The dump holds a reference to `dev`, and none to the module: it outlives the driver. `gfp` is
/// for what the core allocates beside `data`.
///
/// Context: process, may sleep; no lock that an allocation or sysfs waits for.
///
/// # Examples
///
/// ```
/// use kernel::{device::Device, devcoredump, prelude::*};
///
/// fn report(dev: &Device) -> Result {
///     let mut text = VVec::new();
///     text.extend_from_slice(b"status: 0x4f\n", GFP_KERNEL)?;
///     devcoredump::publish(dev, text, GFP_KERNEL);
///     Ok(())
/// }
/// ```
#[doc(alias = "dev_coredumpv")]
pub fn publish(dev: &Device, data: VVec<u8>, gfp: Flags) {
    if data.is_empty() {
        return;
    }
    let (data, len, _) = data.into_raw_parts();

    // SAFETY: `dev` is a valid device. `data` is a vector in memory of `vmalloc()`, which has at
    // least the `len` bytes that are initialized. The core owns it from here on, and frees it with
    // `vfree()`.
    unsafe { bindings::dev_coredumpv(dev.as_raw(), data.cast(), len, gfp.as_raw()) };
}
