// SPDX-License-Identifier: GPL-2.0

//! [`DmaMemory`] is memory that is shared with the device, and [`DmaContext`] decides whether it
//! may be freed.
//!
//! Ownership: memory that was given to the device belongs to the device until it is used or the
//! device is reset. All allocations of a device share one [`DmaContext`]. If the device does not
//! reset, [`DmaContext::abandon`] is called. From then on, dropping an allocation leaks it, so
//! memory is never freed while the device may still write to it.
//!
//! Context: DMA memory must not be freed with interrupts off ([`dma_free_attrs()`] warns). So
//! [`DmaMemory`], and anything that contains it, is dropped in the DPC or in process context, with
//! no spinlock held.
//!
//! Lifetime: an allocation must be gone when the driver is unbound, because IOMMU mappings end
//! then. The reference to the device that it holds does not ensure that. So an allocation is never
//! stored in DRM device data, file data, or anything else that a file descriptor keeps alive.
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
    dma::{
        Coherent,
        CoherentView, //
    },
    io::{
        io_project,
        Io,
        Region, //
    },
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

use crate::ring::{
    Memory,
    Segment, //
};

/// What all DMA memory of one device shares.
pub(crate) struct DmaContext {
    dev: ARef<device::Device>,
    order_platform: bool,
    abandoned: AtomicFlag,
    allocated: Atomic<usize>,
    leaked: Atomic<usize>,
}

impl DmaContext {
    /// Makes the context for `dev`. `order_platform` says whether
    /// [`ORDER_PLATFORM`](crate::transport::feature::ORDER_PLATFORM) was negotiated.
    ///
    /// Errors: [`ENOMEM`]. Context: process; may sleep.
    pub(crate) fn new(dev: &device::Device<Bound>, order_platform: bool) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                dev: dev.into(),
                order_platform,
                abandoned: AtomicFlag::new(false),
                allocated: Atomic::new(0),
                leaked: Atomic::new(0),
            },
            GFP_KERNEL,
        )?)
    }

    /// From now on, dropping DMA memory leaks it: the device did not reset, or it is gone. This
    /// cannot be undone.
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
const GRANULE: usize = size_of::<u64>();

/// Coherent memory shared with the device, accessed at offsets; the kernel's [`Memory`].
///
/// An access that is misaligned or beyond the end is not made; a load returns 0. It is a bug of the
/// caller, so it panics with debug assertions.
pub(crate) struct DmaMemory {
    memory: ManuallyDrop<Coherent<[u8]>>,
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
        let memory = Coherent::zeroed_slice(dev, len, gfp)?;
        context.allocated.add(memory.size(), Relaxed);

        Ok(Self {
            memory: ManuallyDrop::new(memory),
            context: context.clone(),
        })
    }

    /// Returns a view that is accessed at byte offsets, checked at run time.
    #[inline]
    fn region(&self) -> Result<CoherentView<'_, Region>> {
        self.memory.as_region()
    }

    /// Returns a view of the `len` bytes at `offset`.
    ///
    /// Errors: [`ERANGE`] if they go beyond the end.
    fn bytes(&self, offset: usize, len: usize) -> Result<CoherentView<'_, [u8]>> {
        let end = offset.checked_add(len).ok_or(ERANGE)?;
        let memory: &Coherent<[u8]> = &self.memory;
        Ok(io_project!(memory, [try: offset..end]))
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
            address: self.dma_address() + u64::try_from(offset)?,
            len: u32::try_from(len)?,
        })
    }
}

impl Memory for DmaMemory {
    #[inline]
    #[allow(clippy::useless_conversion, reason = "`dma_addr_t` may have 32 bits")]
    fn dma_address(&self) -> u64 {
        self.memory.dma_address().into()
    }

    #[inline]
    fn len(&self) -> usize {
        self.memory.size()
    }

    #[inline]
    fn read_u16(&self, offset: usize) -> u16 {
        let value = self.region().and_then(|region| region.try_read16(offset));
        debug_assert!(value.is_ok());
        u16::from_le(value.unwrap_or(0))
    }

    #[inline]
    fn read_u32(&self, offset: usize) -> u32 {
        let value = self.region().and_then(|region| region.try_read32(offset));
        debug_assert!(value.is_ok());
        u32::from_le(value.unwrap_or(0))
    }

    #[inline]
    fn write_u16(&self, offset: usize, value: u16) {
        let written = self
            .region()
            .and_then(|region| region.try_write16(value.to_le(), offset));
        debug_assert!(written.is_ok());
    }

    #[inline]
    fn write_u32(&self, offset: usize, value: u32) {
        let written = self
            .region()
            .and_then(|region| region.try_write32(value.to_le(), offset));
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
        let written = self.region().and_then(|region| {
            region.try_write64(segment.address.to_le(), offset)?;
            region.try_write64(rest.to_le(), offset + size_of::<u64>())
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
        let size = self.memory.size();
        self.context.allocated.fetch_sub(size, Relaxed);

        if self.context.abandoned.load(Acquire) {
            self.context.leaked.add(size, Relaxed);
        } else {
            // SAFETY: Nothing uses `memory` after this.
            unsafe { ManuallyDrop::drop(&mut self.memory) };
        }
    }
}
