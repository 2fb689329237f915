// SPDX-License-Identifier: GPL-2.0

//! Ownership of framebuffer apertures.
//!
//! Firmware leaves a framebuffer behind that a generic driver uses until the driver of the graphics
//! device takes over.
//!
//! C header: [`include/linux/aperture.h`](srctree/include/linux/aperture.h)

use crate::{
    bindings,
    device::Bound,
    error::to_result,
    pci,
    prelude::*, //
};

/// Removes drivers of framebuffers that are inside the memory BARs of `pdev`, and for the primary
/// graphics device those of the VGA ranges.
///
/// `name` is that of the driver that takes over, for the log. To be called when probing, before any
/// BAR is requested: the other driver has them. What it showed stays dark until the new driver
/// shows something.
///
/// Does nothing in a kernel without `CONFIG_APERTURE_HELPERS`, which has no such drivers.
///
/// Errors: those of `aperture_remove_conflicting_pci_devices()`. The drivers may be gone all the
/// same.
///
/// Sleeps. Takes the device locks of the devices it removes.
///
/// # Examples
///
/// ```
/// # use kernel::{aperture, device::Bound, pci, prelude::*};
/// fn take_over(pdev: &pci::Device<Bound>) -> Result<pci::Bar<'_>> {
///     aperture::remove_conflicting_pci_devices(pdev, c"my_driver")?;
///     pdev.iomap_region(0, c"my_driver")
/// }
/// ```
#[doc(alias = "aperture_remove_conflicting_pci_devices")]
pub fn remove_conflicting_pci_devices(pdev: &pci::Device<Bound>, name: &'static CStr) -> Result {
    // SAFETY: `pdev.as_raw()` is a pointer to a valid `struct pci_dev`, and `name` is a C string.
    to_result(unsafe {
        bindings::aperture_remove_conflicting_pci_devices(pdev.as_raw(), name.as_char_ptr())
    })
}
