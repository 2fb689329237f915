// SPDX-License-Identifier: GPL-2.0

//! Enabling PCI devices, and telling whether they are there.

use super::Device;
use crate::{
    bindings,
    device::Bound,
    error::to_result,
    prelude::*, //
};

/// A PCI device that has been enabled.
///
/// Dropping it disables the device, unless something else has it enabled too, and takes bus
/// mastering from it. So whatever the device may access by DMA, and all mappings of its BARs, are
/// to be dropped after the device was made to stop, but the BARs before this is dropped.
///
/// # Examples
///
/// ```
/// # use kernel::{device::Bound, pci, prelude::*};
/// fn start(pdev: &pci::Device<Bound>) -> Result<pci::Enabled<'_>> {
///     let enabled = pdev.enable()?;
///     let bar = pdev.iomap_region(0, c"my_device")?;
///
///     // Reset the device through `bar` here: what DMA it does after a crash is not known.
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
    #[inline]
    pub fn device(&self) -> &'a Device<Bound> {
        self.pdev
    }

    /// Lets the device master the bus, which it needs for DMA and for message signaled interrupts.
    ///
    /// Callable from any context. Calls of this and of [`Enabled::clear_master`] are not to overlap
    /// if their result is to be known.
    #[inline]
    #[doc(alias = "pci_set_master")]
    pub fn set_master(&self) {
        // SAFETY: `self.pdev.as_raw()` is a pointer to a valid `struct pci_dev`.
        unsafe { bindings::pci_set_master(self.pdev.as_raw()) };
    }

    /// Takes bus mastering from the device: after this returned, it can do no DMA.
    ///
    /// For a device that could not be reset, before its memory is left behind.
    ///
    /// Callable from any context, see [`Enabled::set_master`].
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
    /// Must be called before any BAR is accessed. Counts; the device is disabled when the last of
    /// the returned values and of other drivers' calls has been undone. Two first calls are not to
    /// overlap: the one that comes second may return before the device is enabled.
    ///
    /// Errors: those of `pci_enable_device()`, [`EINVAL`] for resources that were not assigned
    /// among them.
    ///
    /// Sleeps.
    #[doc(alias = "pci_enable_device")]
    pub fn enable(&self) -> Result<Enabled<'_>> {
        // SAFETY: `self.as_raw()` is a pointer to a valid `struct pci_dev`.
        to_result(unsafe { bindings::pci_enable_device(self.as_raw()) })?;

        // INVARIANT: `pci_enable_device()` succeeded.
        Ok(Enabled { pdev: self })
    }
}

impl Device {
    /// Returns whether the device answers, by reading its vendor ID.
    ///
    /// It does not once it was removed or its slot was powered off; all reads give all ones then.
    /// The answer may be outdated when it arrives.
    ///
    /// Callable from any context.
    #[inline]
    #[doc(alias = "pci_device_is_present")]
    pub fn is_present(&self) -> bool {
        // SAFETY: `self.as_raw()` is a pointer to a valid `struct pci_dev`.
        unsafe { bindings::pci_device_is_present(self.as_raw()) }
    }
}
