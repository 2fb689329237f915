// SPDX-License-Identifier: GPL-2.0

//! A [`Fence`] is what all but its driver have of a fence: they wait for it.

use crate::{
    bindings,
    prelude::*,
    sync::aref::AlwaysRefCounted,
    time::Jiffies,
    types::Opaque, //
};
use core::ptr::NonNull;

/// A fence, as its waiters see it.
///
/// It is signalled once, by its driver alone, which has the [`DriverFence`] of it. It may be of any
/// driver, and may be a container of other fences. It outlives its [`DriverFence`], its
/// [`FenceContext`] and the module of its driver.
///
/// [`DriverFence`]: super::DriverFence
/// [`FenceContext`]: super::FenceContext
///
/// # Invariants
///
/// `self.0` is an initialized `struct dma_fence`, which is reference counted.
#[doc(alias = "dma_fence")]
#[repr(transparent)]
pub struct Fence(Opaque<bindings::dma_fence>);

// SAFETY: A reference to a `struct dma_fence` may be dropped by any thread.
unsafe impl Send for Fence {}

// SAFETY: All functions that take a `struct dma_fence` may be called concurrently.
unsafe impl Sync for Fence {}

// SAFETY: All instances are reference counted by the C side.
unsafe impl AlwaysRefCounted for Fence {
    fn inc_ref(&self) {
        // SAFETY: A shared reference exists, so the count is not zero.
        unsafe { bindings::dma_fence_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: `Fence` is transparent, and the caller gives up a reference.
        unsafe { bindings::dma_fence_put(obj.as_ptr().cast()) };
    }
}

impl Fence {
    /// Returns memory for a fence, which has no invariants to keep before it is initialized.
    pub(super) fn uninit() -> Self {
        Self(Opaque::uninit())
    }

    /// Returns the C fence.
    pub(crate) fn as_raw(&self) -> *mut bindings::dma_fence {
        self.0.get()
    }

    /// Converts a pointer to a C fence into a reference.
    ///
    /// # Safety
    ///
    /// `ptr` must point to an initialized fence that has a reference for `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *const bindings::dma_fence) -> &'a Self {
        // SAFETY: `Fence` is transparent, and the caller keeps it alive.
        unsafe { &*ptr.cast() }
    }

    /// Returns whether the fence is signalled. If so, all its callbacks have run.
    ///
    /// Context: any, but not a callback of the fence.
    #[doc(alias = "dma_fence_is_signaled")]
    pub fn is_signaled(&self) -> bool {
        // SAFETY: The fence is valid by the type invariants.
        if !unsafe { bindings::dma_fence_is_signaled(self.as_raw()) } {
            return false;
        }

        // The callbacks run under the lock, after the flag was set that was just read.
        let mut flags = 0;
        // SAFETY: The fence is valid, and unlocked with the flags of the lock.
        unsafe {
            bindings::dma_fence_lock_irqsave(self.as_raw(), &mut flags);
            bindings::dma_fence_unlock_irqrestore(self.as_raw(), &mut flags);
        }
        true
    }

    /// Returns how the work ended, and `None` as long as the fence is not signalled.
    ///
    /// Context: any, but not a callback of the fence.
    #[doc(alias = "dma_fence_get_status")]
    pub fn status(&self) -> Option<Result> {
        // SAFETY: The fence is valid by the type invariants.
        match unsafe { bindings::dma_fence_get_status(self.as_raw()) } {
            0 => None,
            status if status < 0 => Some(Err(Error::from_errno(status))),
            _ => Some(Ok(())),
        }
    }

    /// Returns the error that the fence was signalled with.
    ///
    /// [`ENODATA`] says that this work alone failed, [`ECANCELED`] that all of the context was
    /// cancelled, and [`ETIME`] that this work made the device hang.
    ///
    /// Context: any, but not a callback of the fence.
    pub fn error(&self) -> Option<Error> {
        self.status().and_then(Result::err)
    }

    /// Returns the number of the fence in its context.
    pub fn seqno(&self) -> u64 {
        // SAFETY: The fence is valid, and the number does not change.
        unsafe { (*self.as_raw()).seqno }
    }

    /// Returns the number of the context, which is the same for all fences of a [`FenceContext`].
    ///
    /// [`FenceContext`]: super::FenceContext
    pub fn context(&self) -> u64 {
        // SAFETY: The fence is valid, and the number does not change.
        unsafe { (*self.as_raw()).context }
    }

    /// Sleeps until the fence is signalled, for at most `timeout` jiffies.
    ///
    /// Returns what is left of `timeout`, at least 1. With a `timeout` of 0 it only looks. Whether
    /// the work failed is said by [`Self::error`].
    ///
    /// Errors: [`ETIMEDOUT`] if `timeout` has passed, [`ERESTARTSYS`] after a signal.
    ///
    /// Context: process; sleeps. No lock that is needed to signal the fence may be held.
    #[doc(alias = "dma_fence_wait_timeout")]
    pub fn wait(&self, timeout: Jiffies) -> Result<Jiffies> {
        let timeout = c_long::try_from(timeout).unwrap_or(c_long::MAX);

        // SAFETY: The fence is valid, and `timeout` is not negative.
        match unsafe { bindings::dma_fence_wait_timeout(self.as_raw(), true, timeout) } {
            0 => Err(ETIMEDOUT),
            // CAST: An errno fits.
            left if left < 0 => Err(Error::from_errno(left as c_int)),
            // CAST: It is not negative.
            left => Ok(left as Jiffies),
        }
    }
}
