// SPDX-License-Identifier: GPL-2.0

//! [`Device::enable()`] enables a PCI device until the [`Enabled`] that it returns is dropped.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use super::Device;
use crate::{
    bindings,
    device::Bound,
    error::to_result,
    prelude::*, //
};

/// A PCI device that is enabled.
///
/// Dropping it disables the device, unless something else has it enabled too, and takes bus
/// mastering from it. A driver stops the device first, then drops the memory that the device may
/// access by DMA and the mappings of its BARs, and then drops this.
///
/// # Examples
///
/// ```
/// # use kernel::{device::Bound, pci, prelude::*};
/// fn start(pdev: &pci::Device<Bound>) -> Result<pci::Enabled<'_>> {
///     let enabled = pdev.enable()?;
///     let bar = pdev.iomap_region(0, c"my_device")?;
///
///     // Reset the device through `bar` here: after a crash it may still do DMA.
///     drop(bar);
///
///     enabled.set_master();
///     Ok(enabled)
/// }
/// ```
///
/// # Invariants
///
/// One call of `pci_enable_device()` on `pdev` has not been undone.
pub struct Enabled<'a> {
    pdev: &'a Device<Bound>,
}

impl<'a> Enabled<'a> {
    /// Returns the device.
    ///
    /// Context: any.
    #[inline]
    pub fn device(&self) -> &'a Device<Bound> {
        self.pdev
    }

    /// Lets the device master the bus, which it needs for DMA and for message signaled interrupts.
    ///
    /// Context: any. The result of a call that overlaps one of [`Enabled::clear_master`] is that of
    /// either.
    #[inline]
    #[doc(alias = "pci_set_master")]
    pub fn set_master(&self) {
        // SAFETY: `self.pdev.as_raw()` is a pointer to a valid `struct pci_dev`.
        unsafe { bindings::pci_set_master(self.pdev.as_raw()) };
    }

    /// Takes bus mastering from the device, which can do no DMA from then on.
    ///
    /// This is for a device that could not be reset, before its memory is left behind.
    ///
    /// Context: as [`Enabled::set_master`].
    #[inline]
    #[doc(alias = "pci_clear_master")]
    pub fn clear_master(&self) {
        // SAFETY: `self.pdev.as_raw()` is a pointer to a valid `struct pci_dev`.
        unsafe { bindings::pci_clear_master(self.pdev.as_raw()) };
    }
}

impl Drop for Enabled<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, `self.pdev` was enabled and this undoes it.
        unsafe { bindings::pci_disable_device(self.pdev.as_raw()) };
    }
}

impl Device<Bound> {
    /// Enables the device: wakes it up and lets it decode I/O ports and memory.
    ///
    /// Must be called before any BAR is accessed. Calls count: the device is disabled when all of
    /// them are undone, including those of other drivers. The first two calls must not overlap: the
    /// second one may return before the device is enabled.
    ///
    /// Errors: those of `pci_enable_device()`, such as [`EINVAL`] for resources that were not
    /// assigned.
    ///
    /// Context: process; sleeps.
    #[doc(alias = "pci_enable_device")]
    pub fn enable(&self) -> Result<Enabled<'_>> {
        // SAFETY: `self.as_raw()` is a pointer to a valid `struct pci_dev`.
        to_result(unsafe { bindings::pci_enable_device(self.as_raw()) })?;

        // INVARIANT: `pci_enable_device()` succeeded.
        Ok(Enabled { pdev: self })
    }
}

impl Device {
    /// Reads the vendor ID of the device, and returns whether the device answers.
    ///
    /// It does not once it was removed or its slot was powered off: all reads give all ones then.
    /// The result may be outdated when this returns.
    ///
    /// Context: any.
    #[inline]
    #[doc(alias = "pci_device_is_present")]
    pub fn is_present(&self) -> bool {
        // SAFETY: `self.as_raw()` is a pointer to a valid `struct pci_dev`.
        unsafe { bindings::pci_device_is_present(self.as_raw()) }
    }
}
