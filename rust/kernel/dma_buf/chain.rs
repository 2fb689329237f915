// SPDX-License-Identifier: GPL-2.0

//! Fences that contain others.
//!
//! C header: [`include/linux/dma-fence-chain.h`](srctree/include/linux/dma-fence-chain.h)

use super::Fence;
use crate::{
    bindings,
    prelude::*,
    sync::aref::ARef, //
};
use core::{
    mem::ManuallyDrop,
    ptr::{
        self,
        NonNull, //
    },
};

/// The memory of a node of a chain of fences, such as a point of a timeline of user space.
///
/// Dropping it frees it.
///
/// # Invariants
///
/// It comes from `dma_fence_chain_alloc()`, and has not been initialized.
pub struct FenceChainAllocation(NonNull<bindings::dma_fence_chain>);

// SAFETY: It is memory that nobody else has.
unsafe impl Send for FenceChainAllocation {}

// SAFETY: A shared reference leads to nothing.
unsafe impl Sync for FenceChainAllocation {}

impl FenceChainAllocation {
    /// Allocates a node, for a place where nothing may fail any more.
    ///
    /// Errors: [`ENOMEM`].
    ///
    /// Context: process; may sleep.
    #[doc(alias = "dma_fence_chain_alloc")]
    pub fn new() -> Result<Self> {
        // SAFETY: It has no requirements.
        let chain = unsafe { bindings::dma_fence_chain_alloc() };

        Ok(Self(NonNull::new(chain).ok_or(ENOMEM)?))
    }

    /// Returns the node, which the caller has to initialize.
    pub(crate) fn into_raw(self) -> *mut bindings::dma_fence_chain {
        ManuallyDrop::new(self).0.as_ptr()
    }

    /// Makes the node of it: a fence that is signalled when `fence` and all of `prev` are.
    ///
    /// `prev` is the chain so far, and `seqno` the number of the node in it. `fence` must not be a
    /// node itself, which gets a warning.
    ///
    /// Context: any.
    #[doc(alias = "dma_fence_chain_init")]
    pub fn init(self, prev: Option<ARef<Fence>>, fence: ARef<Fence>, seqno: u64) -> ARef<Fence> {
        let prev = prev.map_or(ptr::null_mut(), |prev| ARef::into_raw(prev).as_ptr());
        let fence = ARef::into_raw(fence);
        let chain = self.into_raw();

        // SAFETY: `chain` is memory for a node, which takes the references to both over. The node
        // begins with a fence, which has one reference.
        unsafe {
            bindings::dma_fence_chain_init(chain, prev.cast(), fence.as_ptr().cast(), seqno);
            ARef::from_raw(NonNull::from(Fence::from_raw(&raw const (*chain).base)))
        }
    }
}

impl Drop for FenceChainAllocation {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::dma_fence_chain_free(self.0.as_ptr()) };
    }
}

/// Iterates over the fences in containers, see [`Fence::unwrap_iter`].
///
/// # Invariants
///
/// `cursor` is initialized. `next` is null, or a fence that `cursor` keeps.
#[doc(alias = "dma_fence_unwrap")]
pub struct FenceUnwrap {
    cursor: bindings::dma_fence_unwrap,
    next: *mut bindings::dma_fence,
}

impl Fence {
    /// Returns the fences that this one stands for: what is in chains and arrays, and in those of
    /// them that are in others. For any other fence that is the fence itself.
    ///
    /// Nodes of a chain that are signalled may be left out.
    ///
    /// Context: any.
    #[doc(alias = "dma_fence_unwrap_for_each")]
    pub fn unwrap_iter(&self) -> FenceUnwrap {
        let mut cursor = bindings::dma_fence_unwrap::default();
        // SAFETY: The fence is valid. `cursor` takes a reference of its own.
        let next = unsafe { bindings::dma_fence_unwrap_first(self.as_raw(), &mut cursor) };

        // INVARIANT: As the C function returns it.
        FenceUnwrap { cursor, next }
    }
}

impl Iterator for FenceUnwrap {
    type Item = ARef<Fence>;

    fn next(&mut self) -> Option<ARef<Fence>> {
        if self.next.is_null() {
            return None;
        }

        // SAFETY: By the type invariants the cursor keeps the fence; the new reference keeps it
        // when the cursor goes on.
        let fence = unsafe { Fence::from_raw(self.next) }.into();
        // SAFETY: The cursor is initialized, and not at its end.
        self.next = unsafe { bindings::dma_fence_unwrap_next(&mut self.cursor) };
        Some(fence)
    }
}

impl Drop for FenceUnwrap {
    fn drop(&mut self) {
        // SAFETY: The cursor has a reference to its node, and none at the end, where it is null.
        unsafe { bindings::dma_fence_put(self.cursor.chain) };
    }
}
