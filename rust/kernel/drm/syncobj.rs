// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Objects of user space that have a fence, or a timeline of fences.
//!
//! C header: [`include/drm/drm_syncobj.h`](srctree/include/drm/drm_syncobj.h)

use crate::{
    bindings,
    dma_buf::{
        Fence,
        FenceChainAllocation, //
    },
    drm::{
        self,
        file::DriverFile, //
    },
    error::to_result,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::Opaque, //
};
use core::ptr::{
    self,
    NonNull, //
};

/// A sync object: a place for a fence, which user space has by a handle or a file.
///
/// A driver of which user space may use them sets [`drm::Driver::FEAT_SYNCOBJ`].
///
/// All functions are for process context.
///
/// # Invariants
///
/// `self.0` is a valid `struct drm_syncobj`, which is reference counted.
#[doc(alias = "drm_syncobj")]
#[repr(transparent)]
pub struct SyncObj(Opaque<bindings::drm_syncobj>);

// SAFETY: A reference to a `struct drm_syncobj` may be dropped by any thread.
unsafe impl Send for SyncObj {}

// SAFETY: All functions that take a `struct drm_syncobj` may be called concurrently.
unsafe impl Sync for SyncObj {}

// SAFETY: All instances are reference counted by the C side.
unsafe impl AlwaysRefCounted for SyncObj {
    fn inc_ref(&self) {
        // SAFETY: A shared reference exists, so the count is not zero.
        unsafe { bindings::drm_syncobj_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: `SyncObj` is transparent, and the caller gives up a reference.
        unsafe { bindings::drm_syncobj_put(obj.as_ptr().cast()) };
    }
}

impl SyncObj {
    pub(super) fn as_raw(&self) -> *mut bindings::drm_syncobj {
        self.0.get()
    }

    /// Creates an object, which nobody has a handle of.
    ///
    /// Errors: [`ENOMEM`].
    #[doc(alias = "drm_syncobj_create")]
    pub fn new(fence: Option<&Fence>) -> Result<ARef<Self>> {
        let fence = fence.map_or(ptr::null_mut(), Fence::as_raw);
        let mut raw = ptr::null_mut();

        // SAFETY: The fence is valid or null; the object takes a reference of its own.
        to_result(unsafe { bindings::drm_syncobj_create(&mut raw, 0, fence) })?;

        let obj = NonNull::new(raw.cast()).ok_or(ENOMEM)?;
        // SAFETY: The object is new, with a reference.
        Ok(unsafe { ARef::from_raw(obj) })
    }

    /// Returns the object that `file` has the handle of.
    ///
    /// Errors: [`ENOENT`] if there is none.
    #[doc(alias = "drm_syncobj_find")]
    pub fn find<F: DriverFile>(file: &drm::File<F>, handle: u32) -> Result<ARef<Self>> {
        // SAFETY: The file is open. Without the feature it has no objects.
        let raw = unsafe { bindings::drm_syncobj_find(file.as_raw(), handle) };

        let obj = NonNull::new(raw.cast()).ok_or(ENOENT)?;
        // SAFETY: The object is valid, and has the reference that was just taken.
        Ok(unsafe { ARef::from_raw(obj) })
    }

    /// Returns the fence of the object that `file` has the handle of, or that of a point of its
    /// timeline if `point` is not 0.
    ///
    /// A point that is signalled already may have a fence of its own.
    ///
    /// Errors: [`ENOENT`] if there is no such object, [`EINVAL`] if it has no fence, or no such
    /// point.
    #[doc(alias = "drm_syncobj_find_fence")]
    pub fn find_fence<F: DriverFile>(
        file: &drm::File<F>,
        handle: u32,
        point: u64,
    ) -> Result<ARef<Fence>> {
        let mut fence = ptr::null_mut();

        // SAFETY: The file is open, and `fence` is valid for writes. Without flags it does not
        // wait.
        to_result(unsafe {
            bindings::drm_syncobj_find_fence(file.as_raw(), handle, point, 0, &mut fence)
        })?;

        let fence = NonNull::new(fence.cast()).ok_or(EINVAL)?;
        // SAFETY: The fence is valid, and has the reference that was just taken.
        Ok(unsafe { ARef::from_raw(fence) })
    }

    /// Returns the fence of the object, which is that of the last point of a timeline.
    #[doc(alias = "drm_syncobj_fence_get")]
    pub fn fence(&self) -> Option<ARef<Fence>> {
        // SAFETY: The object is valid by the type invariants.
        let fence = unsafe { bindings::drm_syncobj_fence_get(self.as_raw()) };

        // SAFETY: The fence is valid, and has the reference that was just taken.
        NonNull::new(fence.cast()).map(|fence| unsafe { ARef::from_raw(fence) })
    }

    /// Gives the object another fence, or none.
    ///
    /// Whoever waits for a fence of the object gets this one.
    #[doc(alias = "drm_syncobj_replace_fence")]
    pub fn replace_fence(&self, fence: Option<&Fence>) {
        let fence = fence.map_or(ptr::null_mut(), Fence::as_raw);

        // SAFETY: Both are valid. The object takes a reference of its own.
        unsafe { bindings::drm_syncobj_replace_fence(self.as_raw(), fence) };
    }

    /// Adds a point with `fence` to the timeline of the object. This cannot fail.
    ///
    /// Points should be added in order. `fence` must not be a node of a chain, which gets a
    /// warning.
    #[doc(alias = "drm_syncobj_add_point")]
    pub fn add_point(&self, chain: FenceChainAllocation, fence: &Fence, point: u64) {
        // SAFETY: Both are valid, and the object takes a reference of its own. `chain` is memory
        // for a node, which it takes over.
        unsafe {
            bindings::drm_syncobj_add_point(self.as_raw(), chain.into_raw(), fence.as_raw(), point)
        };
    }
}
