// SPDX-License-Identifier: GPL-2.0

//! [`DmaMemory`] is memory that is shared with the device, and [`DmaContext`] decides whether it
//! may be freed.
//!
//! Ownership: memory that was given to the device belongs to the device until it is used or the
//! device is reset. All allocations of a device share one [`DmaContext`]. If the device does not
//! reset, [`DmaContext::abandon`] is called. From then on, dropping an allocation leaks it, so
//! memory is never freed while the device may still write to it.
//!
//! Kind: by the features of the device it is coherent memory of the DMA API, or pages whose
//! physical address the device takes, see [`Addressing`]. They differ only in how they are
//! allocated and freed, and in the address.
//!
//! Context: DMA memory must not be freed with interrupts off ([`dma_free_attrs()`] warns). So
//! [`DmaMemory`], and anything that contains it, is dropped in the DPC or in process context, with
//! no spinlock held.
//!
//! Lifetime: an allocation must be gone when the driver is unbound, because IOMMU mappings end
//! then, and the device belongs to somebody else. The reference to the device that it holds does
//! not ensure that. So an allocation is never stored in DRM device data, file data, or anything
//! else that a file descriptor keeps alive.
//!
//! Access: the device may write at any time, so there are no references to this memory. Integers
//! are loaded and stored by single volatile accesses; bytes are copied once, and only the copy is
//! read.
//!
//! [`dma_free_attrs()`]: srctree/kernel/dma/mapping.c

use core::mem::ManuallyDrop;
use kernel::{
    alloc::Flags,
    device::{
        self,
        Bound, //
    },
    dma::Coherent,
    io::{
        io_project,
        Io,
        Region,
        SysMem, //
    },
    phys::PhysPages,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            AtomicFlag,
            Relaxed,
            Release, //
        },
        barrier::{
            self,
            Full,
            Read,
            Write, //
        },
        Arc, //
    }, //
};

use crate::{
    ring::{
        Memory,
        Segment, //
    },
    transport::{
        feature,
        Addressing,
        Features, //
    }, //
};

/// What all DMA memory of one device shares.
pub(crate) struct DmaContext {
    dev: ARef<device::Device>,
    addressing: Addressing,
    order_platform: bool,
    abandoned: AtomicFlag,
    allocated: Atomic<usize>,
    leaked: Atomic<usize>,
}

impl DmaContext {
    /// Makes the context for `dev`. Its `features` say which addresses and barriers it needs.
    ///
    /// Errors: [`ENOMEM`]. Context: process; may sleep.
    pub(crate) fn new(dev: &device::Device<Bound>, features: &Features) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                dev: dev.into(),
                addressing: features.addressing,
                order_platform: features.has(feature::ORDER_PLATFORM),
                abandoned: AtomicFlag::new(false),
                allocated: Atomic::new(0),
                leaked: Atomic::new(0),
            },
            GFP_KERNEL,
        )?)
    }

    /// Returns by which addresses the device accesses memory.
    ///
    /// Context: any.
    pub(crate) fn addressing(&self) -> Addressing {
        self.addressing
    }

    /// From now on, dropping DMA memory leaks it: the device did not reset. This cannot be undone.
    ///
    /// Call it before anything that the device may still use is dropped. When the last allocation
    /// is dropped, one line in the log says how much was leaked.
    ///
    /// Context: any.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Release);
    }

    /// Returns how many bytes of DMA memory are allocated at this moment.
    ///
    /// Context: any.
    pub(crate) fn allocated(&self) -> usize {
        self.allocated.load(Relaxed)
    }
}

impl Drop for DmaContext {
    fn drop(&mut self) {
        let leaked = self.leaked.load(Relaxed);
        if leaked != 0 {
            dev_warn!(
                self.dev,
                "device was not reset: {} bytes of DMA memory leaked\n",
                leaked
            );
        }
    }
}

/// Sizes of allocations are multiples of this, in bytes, as a [`Region`] requires.
pub(super) const GRANULE: usize = size_of::<u64>();

/// What the allocator of the memory gave.
enum Allocation {
    Coherent(Coherent<[u8]>),
    Pages(PhysPages),
}

impl Allocation {
    /// Allocates `len` bytes, zeroed, for a device that accesses memory by `addressing`. Returns
    /// them with their address as the device gets it.
    fn new(
        dev: &device::Device<Bound>,
        addressing: Addressing,
        len: usize,
        gfp: Flags,
    ) -> Result<(Self, u64)> {
        Ok(match addressing {
            Addressing::Dma(device) => {
                let memory = Coherent::zeroed_slice(dev, len, gfp)?;
                let address = device.address((&memory).into());
                (Self::Coherent(memory), address)
            }
            Addressing::Physical(device) => {
                let memory = PhysPages::zeroed(len, gfp)?;
                let address = device.address((&memory).into());
                (Self::Pages(memory), address)
            }
        })
    }

    fn as_mut_ptr(&self) -> *mut [u8] {
        match self {
            Self::Coherent(memory) => memory.as_mut_ptr(),
            Self::Pages(memory) => memory.as_sys_mem().as_ptr(),
        }
    }
}

/// Memory shared with the device, accessed at offsets; the kernel's [`Memory`].
///
/// An access that is misaligned or beyond the end is not made; a load returns 0. It is a bug of the
/// caller, so it panics with debug assertions.
///
/// # Invariants
///
/// `bytes` and `region` are all of the memory of `allocation`. They are not used after that is
/// dropped.
pub(crate) struct DmaMemory {
    /// Views of the memory, whatever kind it is. Private, as they do not have their true lifetime.
    bytes: SysMem<'static, [u8]>,
    region: SysMem<'static, Region>,
    /// Of the first byte, as the device gets it.
    address: u64,
    allocation: ManuallyDrop<Allocation>,
    context: Arc<DmaContext>,
}

impl DmaMemory {
    /// Allocates at least `len` bytes, zeroed and aligned to a page; `len` is not 0.
    ///
    /// `dev` is the device of `context`. `gfp` is [`GFP_KERNEL`], or `GFP_KERNEL_ACCOUNT` for
    /// memory that a client asked for.
    ///
    /// Errors: [`ENOMEM`]; [`EINVAL`] if `len` is 0. Context: process; may sleep.
    pub(crate) fn new(
        dev: &device::Device<Bound>,
        context: &Arc<DmaContext>,
        len: usize,
        gfp: Flags,
    ) -> Result<Self> {
        if len == 0 {
            return Err(EINVAL);
        }
        let len = len.checked_next_multiple_of(GRANULE).ok_or(ENOMEM)?;
        let (allocation, address) = Allocation::new(dev, context.addressing, len, gfp)?;
        Self::with(context, allocation, address, len)
    }

    /// Takes pages of which nobody else knows; their size is a multiple of [`GRANULE`].
    ///
    /// Errors: [`EINVAL`] if the device does not take physical addresses, or for another size.
    /// Context: any.
    pub(super) fn from_pages(context: &Arc<DmaContext>, pages: PhysPages) -> Result<Self> {
        let Addressing::Physical(device) = context.addressing else {
            return Err(EINVAL);
        };
        let (address, len) = (device.address((&pages).into()), pages.size());
        Self::with(context, Allocation::Pages(pages), address, len)
    }

    fn with(
        context: &Arc<DmaContext>,
        allocation: Allocation,
        address: u64,
        len: usize,
    ) -> Result<Self> {
        let bytes = allocation.as_mut_ptr();
        let region = Region::ptr_try_from_raw_parts_mut(bytes.cast(), len)?;
        context.allocated.add(len, Relaxed);

        // INVARIANT: Both are made from all of the memory.
        // SAFETY: It stays where it is as long as the allocation, which is dropped by
        // `DmaMemory::drop` only. The alignment of `region` was checked.
        let (bytes, region) = unsafe { (SysMem::new(bytes), SysMem::new(region)) };
        Ok(Self {
            bytes,
            region,
            address,
            allocation: ManuallyDrop::new(allocation),
            context: context.clone(),
        })
    }

    /// Returns a view of the `len` bytes at `offset`.
    ///
    /// Errors: [`ERANGE`] if they go beyond the end.
    fn bytes(&self, offset: usize, len: usize) -> Result<SysMem<'_, [u8]>> {
        let end = offset.checked_add(len).ok_or(ERANGE)?;
        Ok(io_project!(self.bytes, [try: offset..end]))
    }

    /// Copies `bytes` to `offset`.
    ///
    /// Errors: [`ERANGE`] if that goes beyond the end. Context: any.
    pub(crate) fn copy_in(&self, offset: usize, bytes: &[u8]) -> Result {
        // PANIC: The view is as long as `bytes`.
        self.bytes(offset, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    /// Copies from `offset` into `bytes`. If the device writes meanwhile, the copy is a mix of old
    /// and new, but it does not change afterwards.
    ///
    /// Errors: [`ERANGE`] if that goes beyond the end. Context: any.
    pub(crate) fn copy_out(&self, offset: usize, bytes: &mut [u8]) -> Result {
        // PANIC: The view is as long as `bytes`.
        self.bytes(offset, bytes.len())?.copy_to_slice(bytes);
        Ok(())
    }

    /// Returns `len` bytes at `offset` as a segment for the device. They must lie within the
    /// memory.
    ///
    /// Errors: [`EINVAL`] if they are more than fit into one descriptor.
    pub(crate) fn segment(&self, offset: usize, len: usize) -> Result<Segment> {
        Ok(Segment {
            address: self.address + u64::try_from(offset)?,
            len: u32::try_from(len)?,
        })
    }
}

impl Memory for DmaMemory {
    #[inline]
    fn device_address(&self) -> u64 {
        self.address
    }

    #[inline]
    fn len(&self) -> usize {
        self.bytes.as_ptr().len()
    }

    #[inline]
    fn read_u16(&self, offset: usize) -> u16 {
        let value = self.region.try_read16(offset);
        debug_assert!(value.is_ok());
        u16::from_le(value.unwrap_or(0))
    }

    #[inline]
    fn read_u32(&self, offset: usize) -> u32 {
        let value = self.region.try_read32(offset);
        debug_assert!(value.is_ok());
        u32::from_le(value.unwrap_or(0))
    }

    #[inline]
    fn write_u16(&self, offset: usize, value: u16) {
        let written = self.region.try_write16(value.to_le(), offset);
        debug_assert!(written.is_ok());
    }

    #[inline]
    fn write_u32(&self, offset: usize, value: u32) {
        let written = self.region.try_write32(value.to_le(), offset);
        debug_assert!(written.is_ok());
    }

    /// In two halves, as not every kernel has 64-bit stores. The device reads a 64-bit field only
    /// after it has read an index that is written later.
    #[inline]
    fn write_u64(&self, offset: usize, value: u64) {
        // CAST: Takes the halves apart.
        self.write_u32(offset, value as u32);
        self.write_u32(offset + size_of::<u32>(), (value >> u32::BITS) as u32);
    }

    /// Two stores of 64 bits in place of several smaller ones, as this is done for each command.
    #[cfg(CONFIG_64BIT)]
    #[inline]
    fn write_desc(&self, offset: usize, segment: Segment, flags: u16, next: u16) {
        let rest = u64::from(segment.len) | u64::from(flags) << 32 | u64::from(next) << 48;
        let written = self
            .region
            .try_write64(segment.address.to_le(), offset)
            .and_then(|()| {
                self.region
                    .try_write64(rest.to_le(), offset + size_of::<u64>())
            });
        debug_assert!(written.is_ok());
    }

    #[inline]
    fn virt_mb(&self) {
        if self.context.order_platform {
            barrier::mb(Full);
        } else {
            barrier::virt_mb(Full);
        }
    }

    #[inline]
    fn virt_rmb(&self) {
        if self.context.order_platform {
            barrier::dma_mb(Read);
        } else {
            barrier::virt_mb(Read);
        }
    }

    #[inline]
    fn virt_wmb(&self) {
        if self.context.order_platform {
            barrier::dma_mb(Write);
        } else {
            barrier::virt_mb(Write);
        }
    }
}

impl Drop for DmaMemory {
    fn drop(&mut self) {
        let size = self.len();
        self.context.allocated.fetch_sub(size, Relaxed);

        if self.context.abandoned.load(Acquire) {
            self.context.leaked.add(size, Relaxed);
        } else {
            // SAFETY: Nothing uses it, or the views of it, after this.
            unsafe { ManuallyDrop::drop(&mut self.allocation) };
        }
    }
}
