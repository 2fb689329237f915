// SPDX-License-Identifier: GPL-2.0

//! [`check`] asks who is to have a device. `virtio_pci` matches it as well and asks the same
//! function, `virtio_gpu_owner_is_rust()` in `owner.c`. [`mention_3d`] says what a user loses here.

use kernel::{
    device::Bound,
    pci,
    prelude::*, //
};

use crate::transport::{
    feature,
    Features, //
};

// `include/linux/virtio_gpu_owner.h` declares it like this. Any context may call it.
unsafe extern "C" {
    /// Whether this driver is to have devices without a `driver_override`.
    #[link_name = "virtio_gpu_owner_is_rust"]
    safe fn is_rust() -> bool;
}

/// Refuses a device that the kernel parameter `virtio_gpu_driver` gives to the C driver, and logs
/// one line. A `driver_override` is stronger: with one the driver core probes only its driver.
///
/// Touches nothing of the device.
///
/// Errors: [`ENODEV`]. Context: process (probe).
pub(crate) fn check(pdev: &pci::Device<Bound>) -> Result {
    if is_rust() || pdev.as_ref().has_driver_override() {
        return Ok(());
    }
    dev_info!(pdev, "left to virtio_gpu: virtio_gpu_driver=c\n");
    Err(ENODEV)
}

/// Logs one line if the device has 3D, and the driver does not use it.
pub(crate) fn mention_3d(pdev: &pci::Device<Bound>, features: &Features) {
    if features.device & 1 << feature::VIRGL == 0 || features.has(feature::VIRGL) {
        return;
    }
    if features.is_bounced {
        dev_info!(
            pdev,
            "3D is not driven: the device accesses copies of memory (swiotlb)\n"
        );
    } else {
        dev_info!(
            pdev,
            "3D is not driven by this kernel; virtio_gpu_driver=c gives the device to virtio_gpu\n"
        );
    }
}
