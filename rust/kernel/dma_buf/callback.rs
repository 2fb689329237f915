// SPDX-License-Identifier: GPL-2.0

//! Callbacks that run when a fence is signalled.

use super::Fence;
use crate::{
    alloc::AllocError,
    bindings,
    container_of,
    prelude::*,
    sync::aref::ARef,
    types::Opaque, //
};
use core::{
    cell::UnsafeCell,
    ptr, //
};
use pin_init::pin_init_from_closure;

/// What a waiter does when a fence is signalled.
pub trait FenceCallback: Send + 'static {
    /// Called once, when the fence is signalled.
    ///
    /// Context: any, hard interrupts too. The lock of the fence is held with interrupts off, and
    /// the driver of the fence may hold locks of its own. It must not sleep, and must not drop the
    /// [`FenceCallbackRegistration`], which waits for it.
    fn on_signal(&mut self);
}

/// Why a callback was not registered.
#[derive(Debug)]
pub enum CallbackError<T> {
    /// The fence is signalled already. The callback, which did not run, comes back.
    AlreadySignaled(T),
    /// Another error.
    Other(Error),
}

impl<T> From<CallbackError<T>> for Error {
    fn from(error: CallbackError<T>) -> Self {
        match error {
            CallbackError::AlreadySignaled(_) => ENOENT,
            CallbackError::Other(error) => error,
        }
    }
}

impl<T> From<AllocError> for CallbackError<T> {
    fn from(error: AllocError) -> Self {
        Self::Other(error.into())
    }
}

/// A callback on a fence, for as long as this exists.
///
/// Dropping it takes the callback back, and waits for it if it runs.
///
/// # Invariants
///
/// `entry` was registered on `fence`, and `callback` is the one that it calls.
#[pin_data(PinnedDrop)]
pub struct FenceCallbackRegistration<T: FenceCallback> {
    #[pin]
    entry: Opaque<bindings::dma_fence_cb>,
    /// Used by the C side, under the lock of the fence.
    callback: UnsafeCell<T>,
    fence: ARef<Fence>,
}

// SAFETY: Any thread may take a callback back, and the callback itself is `Send`.
unsafe impl<T: FenceCallback> Send for FenceCallbackRegistration<T> {}

// SAFETY: A shared reference leads to the fence only, which may be shared.
unsafe impl<T: FenceCallback> Sync for FenceCallbackRegistration<T> {}

impl<T: FenceCallback> FenceCallbackRegistration<T> {
    /// Registers `callback` on `fence`.
    ///
    /// Errors: [`CallbackError::AlreadySignaled`].
    ///
    /// Context: any in which memory for it can be had. Not a callback of a fence.
    #[doc(alias = "dma_fence_add_callback")]
    pub fn new(fence: &Fence, callback: T) -> impl PinInit<Self, CallbackError<T>> {
        let fence: ARef<Fence> = fence.into();

        let init = move |slot: *mut Self| {
            // SAFETY: `slot` is memory for `Self`, which stays where it is. The callback may run
            // as soon as it is registered, so the other fields are first. If it was not registered
            // they are taken out again.
            unsafe {
                let raw = fence.as_raw();
                (&raw mut (*slot).callback).write(UnsafeCell::new(callback));
                (&raw mut (*slot).fence).write(fence);

                let entry = Opaque::cast_into(&raw const (*slot).entry);
                let ret = bindings::dma_fence_add_callback(raw, entry, Some(Self::signalled));
                if ret == 0 {
                    // INVARIANT: It was just registered.
                    return Ok(());
                }

                let callback = ptr::read(&raw const (*slot).callback).into_inner();
                ptr::drop_in_place(&raw mut (*slot).fence);
                let error = Error::from_errno(ret);
                Err(if error == ENOENT {
                    CallbackError::AlreadySignaled(callback)
                } else {
                    CallbackError::Other(error)
                })
            }
        };

        // SAFETY: `init` initializes all fields, or none and fails.
        unsafe { pin_init_from_closure(init) }
    }

    /// Returns the fence.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Calls the callback.
    ///
    /// # Safety
    ///
    /// `entry` must be the one of a registration, and the lock of its fence must be held.
    unsafe extern "C" fn signalled(
        _fence: *mut bindings::dma_fence,
        entry: *mut bindings::dma_fence_cb,
    ) {
        // SAFETY: By the safety requirements. Nobody else uses the callback before the lock is
        // released.
        unsafe {
            let this = container_of!(Opaque::cast_from(entry), Self, entry);
            (*(*this).callback.get()).on_signal();
        }
    }
}

#[pinned_drop]
impl<T: FenceCallback> PinnedDrop for FenceCallbackRegistration<T> {
    fn drop(self: Pin<&mut Self>) {
        // This takes the lock of the fence, so a callback that runs has ended afterwards. If it has
        // run, nothing else happens here.
        //
        // SAFETY: By the type invariants.
        unsafe { bindings::dma_fence_remove_callback(self.fence.as_raw(), self.entry.get()) };
    }
}
