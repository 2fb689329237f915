// SPDX-License-Identifier: GPL-2.0

//! Memory for devices that take physical addresses.
//!
//! A device of the hypervisor may access the memory of the guest as the CPU does, whatever IOMMU
//! and DMA API there are. Everything else uses [`dma`](crate::dma).

use core::{
    mem::MaybeUninit,
    ptr::NonNull,
    slice, //
};

use crate::{
    alloc::{
        flags::__GFP_ZERO,
        Flags, //
    },
    bindings,
    device::{
        Bound,
        Device, //
    },
    dma::DmaAddress,
    io::{
        PhysAddr,
        SysMem, //
    },
    prelude::*,
    uaccess::UserSliceReader, //
};

/// Pages that are contiguous in physical memory.
///
/// The device may access them at any time, so there are no references to their content.
///
/// # Invariants
///
/// `memory` is an allocation of `alloc_pages_exact()` of that length, which is not 0.
pub struct PhysPages {
    memory: NonNull<[u8]>,
}

impl PhysPages {
    /// Allocates at least `size` bytes, zeroed. Only whole pages are allocated, and no more of them
    /// than needed.
    ///
    /// Errors: [`EINVAL`] if `size` is 0; [`ENOMEM`].
    ///
    /// Context: that of `gfp`.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::{
    ///     io::{io_project, Io, PhysAddr},
    ///     page::PAGE_SIZE,
    ///     phys::PhysPages,
    /// };
    ///
    /// let pages = PhysPages::zeroed(3 * PAGE_SIZE, GFP_KERNEL)?;
    /// assert_eq!(pages.size(), 3 * PAGE_SIZE);
    /// assert_eq!(pages.phys_address() % PAGE_SIZE as PhysAddr, 0);
    ///
    /// let (mut last, end) = ([1u8; 4], pages.size());
    /// let memory = pages.as_sys_mem();
    /// io_project!(memory, [try: end - 4..end]).copy_to_slice(&mut last);
    /// assert_eq!(last, [0; 4]);
    ///
    /// assert_eq!(PhysPages::zeroed(0, GFP_KERNEL).err(), Some(EINVAL));
    /// # Ok::<(), Error>(())
    /// ```
    #[doc(alias = "alloc_pages_exact")]
    pub fn zeroed(size: usize, gfp: Flags) -> Result<Self> {
        Self::allocate(size, gfp | __GFP_ZERO)
    }

    /// Does the same, with what `reader` has next of user space. If that is less, the rest is
    /// zeroed.
    ///
    /// Errors: as [`Self::zeroed`]; [`EFAULT`].
    ///
    /// Context: process; may sleep.
    pub fn from_user(size: usize, reader: &mut UserSliceReader, gfp: Flags) -> Result<Self> {
        let pages = Self::allocate(size, gfp)?;
        // SAFETY: By the type invariant it is memory of that size. Nobody else knows of it yet.
        let bytes = unsafe {
            slice::from_raw_parts_mut(pages.memory.as_ptr().cast::<MaybeUninit<u8>>(), size)
        };
        let (bytes, rest) = bytes.split_at_mut(size.min(reader.len()));
        reader.read_raw(bytes)?;
        rest.fill(MaybeUninit::new(0));
        Ok(pages)
    }

    fn allocate(size: usize, gfp: Flags) -> Result<Self> {
        if size == 0 {
            return Err(EINVAL);
        }
        // SAFETY: Any size may be asked for.
        let start = unsafe { bindings::alloc_pages_exact(size, gfp.as_raw()) };
        let start = NonNull::new(start.cast()).ok_or(ENOMEM)?;

        // INVARIANT: It was allocated with that size, which is not 0.
        Ok(Self {
            memory: NonNull::slice_from_raw_parts(start, size),
        })
    }

    /// Returns the size in bytes, as it was asked for.
    #[inline]
    pub fn size(&self) -> usize {
        self.memory.len()
    }

    /// Returns the physical address of the first byte.
    #[inline]
    #[doc(alias = "virt_to_phys")]
    pub fn phys_address(&self) -> PhysAddr {
        // SAFETY: By the type invariant it is an address of the page allocator.
        unsafe { bindings::virt_to_phys(self.memory.as_ptr().cast()) }
    }

    /// Returns a view of the memory, which accesses it without making references.
    #[inline]
    pub fn as_sys_mem(&self) -> SysMem<'_, [u8]> {
        // SAFETY: By the type invariant it is memory, which is freed when `self` is dropped.
        unsafe { SysMem::new(self.memory.as_ptr()) }
    }
}

/// The device must not access the pages any more.
impl Drop for PhysPages {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it was allocated with this size.
        unsafe { bindings::free_pages_exact(self.memory.as_ptr().cast(), self.memory.len()) };
    }
}

// SAFETY: The page allocator does not care which thread frees.
unsafe impl Send for PhysPages {}

// SAFETY: There are no references to the content, and `&self` gives addresses and views only.
unsafe impl Sync for PhysPages {}

impl Device<Bound> {
    /// Returns what translates addresses of the DMA API, if they stand for physical ones one by
    /// one: there is no IOMMU in between, nor anything else of the platform.
    ///
    /// Context: any. That does not change as long as the device is bound.
    pub fn direct_dma(&self) -> Option<DirectDma<'_>> {
        // SAFETY: By its type invariant `self.as_raw()` is a valid pointer to a `struct device`.
        let direct = unsafe {
            !bindings::use_dma_iommu(self.as_raw())
                && bindings::get_dma_ops(self.as_raw()).is_null()
        };

        // INVARIANT: It was just checked.
        direct.then_some(DirectDma(self))
    }
}

/// Translates the addresses of a buffer that was mapped for DMA by a device, for which nothing else
/// is known of the buffer.
///
/// # Invariants
///
/// Addresses of the DMA API for the device are direct ones.
#[derive(Clone, Copy)]
pub struct DirectDma<'a>(&'a Device<Bound>);

impl DirectDma<'_> {
    /// Returns the physical address of memory that is mapped at `address`. For a buffer that is
    /// bounced, that is the address of the copy.
    ///
    /// Context: any.
    #[inline]
    #[doc(alias = "dma_to_phys")]
    pub fn phys_address(&self, address: DmaAddress) -> PhysAddr {
        // SAFETY: By its type invariant `self.0.as_raw()` is a valid pointer to a `struct device`,
        // and by ours the translation is the direct one.
        unsafe { bindings::dma_to_phys(self.0.as_raw(), address) }
    }
}
