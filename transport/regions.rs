// SPDX-License-Identifier: GPL-2.0

//! [`Regions`] maps the structures of a virtio GPU on PCI and accesses their registers.
//!
//! Accesses are checked at run time, against the structure and against the BAR. The capability walk
//! has checked the structures, so a check here fails only if the driver has a bug.

use core::marker::PhantomData;
use kernel::{
    device::Bound,
    io::{
        register::FixedRegister,
        Io,
        IoCapable,
        IoLoc,
        MmioBackend,
        Region, //
    },
    pci,
    prelude::*, //
};

use crate::transport::caps::{
    self,
    BarInfo,
    BarKind,
    Capabilities,
    ConfigRead,
    NUM_BARS, //
};

/// A register of a structure that lies anywhere in its BAR.
struct At<T> {
    offset: usize,
    register: PhantomData<T>,
}

impl<const SIZE: usize, T: FixedRegister> IoLoc<Region<SIZE>, T> for At<T> {
    type IoType = T::Storage;

    #[inline(always)]
    fn offset(self) -> usize {
        self.offset
    }
}

/// Returns where register `T` is in `region`.
///
/// Errors: [`EINVAL`] if it is beyond the end of `region`.
fn locate<T: FixedRegister>(region: &caps::Region) -> Result<At<T>> {
    let end = T::OFFSET + size_of::<T::Storage>();
    if end > region.len as usize {
        return Err(EINVAL);
    }
    Ok(At {
        offset: (region.offset as usize)
            .checked_add(T::OFFSET)
            .ok_or(EINVAL)?,
        register: PhantomData,
    })
}

/// The conventional configuration space, which the capability walk reads.
struct ConfigSpace<'a>(pci::ConfigSpace<'a, pci::Normal>);

impl ConfigRead for ConfigSpace<'_> {
    fn read_u8(&self, offset: u16) -> Option<u8> {
        self.0.try_read8(usize::from(offset)).ok()
    }

    fn read_u32(&self, offset: u16) -> Option<u32> {
        self.0.try_read32(usize::from(offset)).ok()
    }
}

/// The structures of a virtio GPU, and the BARs that they are in.
///
/// Dropping it unmaps and releases the BARs.
pub(crate) struct Regions<'a> {
    bars: [Option<pci::Bar<'a>>; NUM_BARS],
    capabilities: Capabilities,
}

/// Returns what the PCI core knows about the BARs of `pdev`.
fn bar_infos(pdev: &pci::Device<Bound>) -> [BarInfo; NUM_BARS] {
    let mut bar = 0;
    [(); NUM_BARS].map(|()| {
        let kind = if pdev.resource_is_mem(bar) {
            BarKind::Memory
        } else if pdev.resource_is_io(bar) {
            BarKind::Io
        } else {
            BarKind::Absent
        };
        let len = pdev.resource_len(bar).unwrap_or(0);
        bar += 1;
        BarInfo { kind, len }
    })
}

impl<'a> Regions<'a> {
    /// Finds the structures of the device and maps the BARs that they are in, each once. A BAR that
    /// only has shared memory regions is not mapped.
    ///
    /// `pdev` must be enabled.
    ///
    /// Errors: each with one line in the log. [`ENODEV`]: a capability is missing or cannot be
    /// used, for example because its structure is in an I/O BAR. [`EBUSY`]: a BAR is in use, also
    /// by a driver of a framebuffer that the firmware set up in there.
    /// [`ENOMEM`]: a BAR cannot be mapped.
    ///
    /// Context: process; may sleep.
    pub(crate) fn new(pdev: &'a pci::Device<Bound>) -> Result<Self> {
        let capabilities = caps::parse(&ConfigSpace(pdev.config_space()), &bar_infos(pdev))
            .map_err(|error| {
                dev_err!(pdev, "{}\n", format_args!("{error}"));
                ENODEV
            })?;

        let mut bars = [const { None }; NUM_BARS];
        for region in [
            &capabilities.common,
            &capabilities.notify,
            &capabilities.isr,
            &capabilities.device,
        ] {
            let bar = bars.get_mut(usize::from(region.bar)).ok_or(ENODEV)?;
            if bar.is_none() {
                let mapped = pdev
                    .iomap_region(region.bar.into(), c"rust_gpu")
                    .inspect_err(|error| {
                        dev_err!(pdev, "BAR {} cannot be mapped: {:?}\n", region.bar, error);
                    })?;
                *bar = Some(mapped);
            }
        }

        Ok(Self { bars, capabilities })
    }

    /// Returns the structures that the capability walk found, with the shared memory regions.
    pub(crate) fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Returns the BAR that `region` is in.
    #[inline]
    fn bar(&self, region: &caps::Region) -> Result<&pci::Bar<'a>> {
        self.bars
            .get(usize::from(region.bar))
            .and_then(Option::as_ref)
            .ok_or(ENODEV)
    }

    /// Reads a register of `region`, as a number.
    fn read<T>(&self, region: &caps::Region) -> Result<T::Storage>
    where
        T: FixedRegister,
        MmioBackend: IoCapable<T::Storage>,
    {
        let register: T = self.bar(region)?.try_read(locate::<T>(region)?)?;
        Ok(register.into())
    }

    /// Writes a register of `region`. Not relaxed: a device that sees this write also sees the
    /// writes to memory before it.
    fn write<T>(&self, region: &caps::Region, value: T) -> Result
    where
        T: FixedRegister,
        MmioBackend: IoCapable<T::Storage>,
    {
        self.bar(region)?.try_write(locate::<T>(region)?, value)
    }

    /// Reads a register of the common configuration, as a number.
    ///
    /// Errors: [`EINVAL`] or [`ENODEV`], only if the register is not one of the structure. Context:
    /// any. The functions below have the same errors and context.
    pub(crate) fn common<T>(&self) -> Result<T::Storage>
    where
        T: FixedRegister,
        MmioBackend: IoCapable<T::Storage>,
    {
        self.read::<T>(&self.capabilities.common)
    }

    /// Writes a register of the common configuration.
    pub(crate) fn set_common<T>(&self, value: T) -> Result
    where
        T: FixedRegister,
        MmioBackend: IoCapable<T::Storage>,
    {
        self.write(&self.capabilities.common, value)
    }

    /// Reads a register of the ISR structure, as a number.
    pub(crate) fn isr<T>(&self) -> Result<T::Storage>
    where
        T: FixedRegister,
        MmioBackend: IoCapable<T::Storage>,
    {
        self.read::<T>(&self.capabilities.isr)
    }

    /// Reads a register of the device configuration, as a number.
    pub(crate) fn device<T>(&self) -> Result<T::Storage>
    where
        T: FixedRegister,
        MmioBackend: IoCapable<T::Storage>,
    {
        self.read::<T>(&self.capabilities.device)
    }

    /// Writes a register of the device configuration.
    pub(crate) fn set_device<T>(&self, value: T) -> Result
    where
        T: FixedRegister,
        MmioBackend: IoCapable<T::Storage>,
    {
        self.write(&self.capabilities.device, value)
    }

    /// Writes `value` at `offset` bytes in the BAR of the notification structure. Not relaxed.
    #[inline]
    pub(crate) fn notify(&self, offset: usize, value: u16) -> Result {
        self.bar(&self.capabilities.notify)?
            .try_write16(value, offset)
    }
}

#[cfg(CONFIG_DRM_RUST_GPU_KUNIT_TEST)]
#[kunit_tests(rust_gpu_regions)]
mod tests {
    use super::*;
    use crate::transport::regs;

    #[test]
    fn registers_beyond_their_structure() {
        let region = caps::Region {
            bar: 0,
            offset: 0x1000,
            len: 15,
        };
        assert!(locate::<regs::NUM_SCANOUTS>(&region).is_ok());
        assert!(locate::<regs::NUM_CAPSETS>(&region).is_err());
    }
}
