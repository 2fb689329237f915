// SPDX-License-Identifier: GPL-2.0

//! [`Device::resource_is_io()`] and [`Device::resource_is_mem()`] tell what kind of addresses a BAR
//! has.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use super::Device;
use crate::{
    bindings,
    prelude::*, //
};

impl Device {
    /// Returns whether the given BAR exists and is a range of I/O ports.
    ///
    /// Context: any.
    #[inline]
    #[doc(alias = "pci_resource_is_io")]
    pub fn resource_is_io(&self, bar: u32) -> bool {
        self.resource_is(bar, bindings::pci_resource_is_io)
    }

    /// Returns whether the given BAR exists and is a range of memory addresses.
    ///
    /// Context: any.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kernel::{device::Bound, pci, prelude::*};
    /// fn map(pdev: &pci::Device<Bound>) -> Result<pci::Bar<'_>> {
    ///     // I/O ports cannot be accessed as memory.
    ///     if !pdev.resource_is_mem(0) {
    ///         return Err(ENODEV);
    ///     }
    ///     assert!(!pdev.resource_is_io(0));
    ///
    ///     pdev.iomap_region(0, c"my_device")
    /// }
    /// ```
    #[inline]
    #[doc(alias = "pci_resource_is_mem")]
    pub fn resource_is_mem(&self, bar: u32) -> bool {
        self.resource_is(bar, bindings::pci_resource_is_mem)
    }

    /// Returns whether a BAR exists and `is_of_type` says so.
    fn resource_is(
        &self,
        bar: u32,
        is_of_type: unsafe extern "C" fn(*const bindings::pci_dev, c_int) -> bool,
    ) -> bool {
        // For a BAR number that is out of range this is an error.
        if !self.resource_len(bar).is_ok_and(|len| len != 0) {
            return false;
        }

        // SAFETY: `bar` is a valid BAR number, as it has a length. By the type invariant
        // `self.as_raw()` is a valid pointer to a `struct pci_dev`.
        c_int::try_from(bar).is_ok_and(|bar| unsafe { is_of_type(self.as_raw(), bar) })
    }
}
