// SPDX-License-Identifier: GPL-2.0

//! Files of fences, for user space.
//!
//! C header: [`include/linux/sync_file.h`](srctree/include/linux/sync_file.h)

use super::Fence;
use crate::{
    bindings,
    fs::file::FileDescriptorReservation,
    prelude::*,
    sync::aref::ARef, //
};
use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};

/// A file that will be one of a fence, and that nobody has yet.
///
/// It can be made before its fence, so that nothing can fail when the work of the fence has begun.
/// Dropping it closes it, and user space sees nothing of it.
///
/// # Invariants
///
/// It has a reference to the file of the `struct sync_file`. Its fence is the stub.
#[doc(alias = "sync_file")]
pub struct SyncFileAllocation(NonNull<bindings::sync_file>);

// SAFETY: Any thread may drop the reference to the file.
unsafe impl Send for SyncFileAllocation {}

// SAFETY: A shared reference leads to nothing.
unsafe impl Sync for SyncFileAllocation {}

impl SyncFileAllocation {
    /// Allocates a file.
    ///
    /// Errors: [`ENOMEM`].
    ///
    /// Context: process; may sleep.
    #[doc(alias = "sync_file_create")]
    pub fn new() -> Result<Self> {
        // SAFETY: The file takes a reference of its own to the stub.
        let file = unsafe {
            let stub = bindings::dma_fence_get_stub();
            let file = bindings::sync_file_create(stub);
            bindings::dma_fence_put(stub);
            file
        };

        // INVARIANT: It was just made, with the stub.
        Ok(Self(NonNull::new(file).ok_or(ENOMEM)?))
    }

    /// Makes it the file of `fence`, and gives it to the current process as `fd`. This cannot fail.
    ///
    /// Context: process.
    #[doc(alias = "fd_install")]
    pub fn install(self, fd: FileDescriptorReservation, fence: &Fence) {
        // SAFETY: By the type invariants nobody else has the file, so its fence may be replaced.
        // It owns a reference to its fence. The reservation and the reference to the file are used
        // up.
        unsafe {
            let this = ManuallyDrop::new(self).0.as_ptr();
            bindings::dma_fence_get(fence.as_raw());
            bindings::dma_fence_put((*this).fence);
            (*this).fence = fence.as_raw();
            fd.fd_install(ARef::from_raw(NonNull::from(
                crate::fs::File::from_raw_file((*this).file),
            )));
        }
    }
}

impl Drop for SyncFileAllocation {
    fn drop(&mut self) {
        // SAFETY: By the type invariants. The file frees the `struct sync_file`.
        unsafe { bindings::fput((*self.0.as_ptr()).file) };
    }
}

/// Returns the fence of the file `fd` of the current process.
///
/// Errors: [`EINVAL`] if it is not a file of a fence, or no file.
///
/// Context: process.
#[doc(alias = "sync_file_get_fence")]
pub fn fence_from_fd(fd: i32) -> Result<ARef<Fence>> {
    // SAFETY: Any number may be asked for.
    let fence = unsafe { bindings::sync_file_get_fence(fd) };
    if fence.is_null() {
        return Err(EINVAL);
    }

    // SAFETY: It is valid, and has the reference that was just taken.
    Ok(unsafe { ARef::from_raw(NonNull::from(Fence::from_raw(fence))) })
}
