// SPDX-License-Identifier: GPL-2.0

//! [`remove_conflicting_pci_devices()`] takes a framebuffer over from the driver that had it.
//!
//! Firmware leaves a framebuffer behind. A generic driver uses it until the driver of the graphics
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
/// graphics device also those of the VGA ranges.
///
/// `name` is that of the driver that takes over, for the log. A driver calls this in its probe,
/// before it requests a BAR with a framebuffer: the other driver has it. The screen stays dark
/// until the new driver shows something. So a driver that needs other BARs only calls this when it
/// knows that its device works.
///
/// A kernel without `CONFIG_APERTURE_HELPERS` has no such drivers, and this does nothing.
///
/// Errors: those of `aperture_remove_conflicting_pci_devices()`. Some drivers may be removed even
/// then.
///
/// Context: process; sleeps. Takes the device locks of the devices that it removes.
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
