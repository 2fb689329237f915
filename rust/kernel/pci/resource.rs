// SPDX-License-Identifier: GPL-2.0

//! Kinds of PCI resources.

use super::{
    Bar,
    Device, //
};
use crate::{
    bindings,
    io::resource::Flags,
    prelude::*, //
};

impl Device {
    /// Returns the flags of the resource behind the given BAR.
    ///
    /// Errors: [`EINVAL`] if there is no BAR of that number.
    ///
    /// # Examples
    ///
    /// ```
    /// # use kernel::{device::Bound, pci, prelude::*};
    /// use kernel::io::resource::Flags;
    ///
    /// fn map(pdev: &pci::Device<Bound>) -> Result<pci::Bar<'_>> {
    ///     // I/O ports are not to be accessed as memory.
    ///     if !pdev.is_memory_bar(0) {
    ///         return Err(ENODEV);
    ///     }
    ///     assert!(pdev.resource_flags(0)?.contains(Flags::IORESOURCE_MEM));
    ///
    ///     pdev.iomap_region(0, c"my_device")
    /// }
    /// ```
    #[doc(alias = "pci_resource_flags")]
    pub fn resource_flags(&self, bar: u32) -> Result<Flags> {
        if !Bar::index_is_valid(bar) {
            return Err(EINVAL);
        }

        // SAFETY:
        // - `bar` is a valid bar number, as guaranteed by the above call to `Bar::index_is_valid`,
        // - by its type invariant `self.as_raw` is always a valid pointer to a `struct pci_dev`.
        let flags = unsafe { bindings::pci_resource_flags(self.as_raw(), bar.try_into()?) };

        Ok(Flags::from_raw(flags))
    }

    /// Returns whether the given BAR exists and is a range of I/O ports.
    pub fn is_io_bar(&self, bar: u32) -> bool {
        self.has_resource_flag(bar, Flags::IORESOURCE_IO)
    }

    /// Returns whether the given BAR exists and is a range of memory addresses.
    pub fn is_memory_bar(&self, bar: u32) -> bool {
        self.has_resource_flag(bar, Flags::IORESOURCE_MEM)
    }

    fn has_resource_flag(&self, bar: u32, flag: Flags) -> bool {
        self.resource_len(bar).is_ok_and(|len| len != 0)
            && self
                .resource_flags(bar)
                .is_ok_and(|flags| flags.contains(flag))
    }
}
