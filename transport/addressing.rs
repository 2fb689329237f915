// SPDX-License-Identifier: GPL-2.0

//! [`Addressing`] says by which addresses a device accesses memory, and gives it no others.
//!
//! There is a type for each kind of address, made only from what has such an address. Only the
//! device that takes them turns one into the number that is written for it, so the two are not
//! mixed up. Nothing here costs more than the number itself.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    dma::Coherent,
    drm::gem::shmem::Pages,
    io,
    phys::{
        DirectDma,
        PhysPages, //
    },
    scatterlist::SGEntry, //
};

/// An address of the DMA API.
#[derive(Clone, Copy)]
pub(crate) struct DmaAddress(kernel::dma::DmaAddress);

impl From<&Coherent<[u8]>> for DmaAddress {
    #[inline]
    fn from(memory: &Coherent<[u8]>) -> Self {
        Self(memory.dma_address())
    }
}

impl From<&SGEntry> for DmaAddress {
    #[inline]
    fn from(entry: &SGEntry) -> Self {
        Self(entry.dma_address())
    }
}

/// A physical address of the guest.
#[derive(Clone, Copy)]
pub(crate) struct PhysAddress(io::PhysAddr);

impl From<&PhysPages> for PhysAddress {
    #[inline]
    fn from(memory: &PhysPages) -> Self {
        Self(memory.phys_address())
    }
}

impl PhysAddress {
    /// Returns the address of each of `pages`.
    pub(crate) fn of_pages<'a>(pages: &Pages<'a>) -> impl Iterator<Item = Self> + 'a {
        pages.phys_addresses().map(Self)
    }

    /// Returns the address of a piece of an imported buffer, of which only its exporter has the
    /// pages.
    #[inline]
    pub(crate) fn of_import(direct: DirectDma<'_>, entry: &SGEntry) -> Self {
        Self(direct.phys_address(entry.dma_address()))
    }
}

/// A device that takes addresses of the DMA API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DmaDevice(());

impl DmaDevice {
    /// Returns `address` as the device gets it.
    #[inline]
    #[allow(clippy::useless_conversion, reason = "`dma_addr_t` may have 32 bits")]
    pub(crate) fn address(self, address: DmaAddress) -> u64 {
        address.0.into()
    }
}

/// A device that takes physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PhysDevice(());

impl PhysDevice {
    /// Returns `address` as the device gets it.
    #[inline]
    #[allow(clippy::useless_conversion, reason = "`phys_addr_t` may have 32 bits")]
    pub(crate) fn address(self, address: PhysAddress) -> u64 {
        address.0.into()
    }
}

/// By which addresses a device accesses memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addressing {
    /// By those of the DMA API, as a device of the platform does.
    Dma(DmaDevice),
    /// By physical ones, whatever IOMMU there is (virtio 1.3, 6.1).
    Physical(PhysDevice),
}

impl Addressing {
    /// Decides for a device with which `access_platform` says whether
    /// [`ACCESS_PLATFORM`](super::feature::ACCESS_PLATFORM) was negotiated.
    ///
    /// A guest of Xen uses the DMA API in any case, as the virtio core does: its physical addresses
    /// may not be those of the machine. In a guest with encrypted memory the device has to do
    /// without the feature what it cannot do, so there is no answer.
    pub(super) fn new(access_platform: bool, is_xen: bool, is_encrypted: bool) -> Option<Self> {
        match (access_platform, is_encrypted, is_xen) {
            (true, _, _) => Some(Self::Dma(DmaDevice(()))),
            (false, true, _) => None,
            (false, false, true) => Some(Self::Dma(DmaDevice(()))),
            (false, false, false) => Some(Self::Physical(PhysDevice(()))),
        }
    }

    /// Returns whether buffers of other devices have addresses for this device, which is `dev`:
    /// they only have those of the DMA API.
    ///
    /// Context: any.
    pub(crate) fn can_import(self, dev: &Device<Bound>) -> bool {
        match self {
            Self::Dma(_) => true,
            Self::Physical(_) => dev.direct_dma().is_some(),
        }
    }
}

#[cfg(CONFIG_DRM_RUST_GPU_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(rust_gpu_addressing)]
mod tests {
    use super::*;
    use kernel::prelude::*;

    const DMA: Option<Addressing> = Some(Addressing::Dma(DmaDevice(())));
    const PHYSICAL: Option<Addressing> = Some(Addressing::Physical(PhysDevice(())));

    #[test]
    fn only_the_feature_and_the_guest_decide() {
        // (access_platform, is_xen, is_encrypted)
        for (case, expected) in [
            ((true, false, false), DMA),
            ((true, true, false), DMA),
            ((true, false, true), DMA),
            ((true, true, true), DMA),
            ((false, false, false), PHYSICAL),
            ((false, true, false), DMA),
            ((false, false, true), None),
            ((false, true, true), None),
        ] {
            let (access_platform, is_xen, is_encrypted) = case;
            assert_eq!(
                Addressing::new(access_platform, is_xen, is_encrypted),
                expected
            );
        }
    }

    #[test]
    fn pages_have_the_physical_address() -> Result {
        let pages = PhysPages::zeroed(kernel::page::PAGE_SIZE, GFP_KERNEL)?;
        let address = PhysDevice(()).address((&pages).into());
        assert_eq!(address, pages.phys_address());
        assert_ne!(address, 0);
        Ok(())
    }
}
