// SPDX-License-Identifier: GPL-2.0

//! A [`ThreadWaker`] wakes the thread of an interrupt.
//!
//! C header: [`include/linux/interrupt.h`](srctree/include/linux/interrupt.h)

use crate::prelude::*;

/// Wakes the thread of a [`ThreadedRegistration`], as its hard handler does by returning
/// [`ThreadedIrqReturn::WakeThread`].
///
/// This is for devices with several interrupts whose deferred work is done in one thread: the
/// handlers of the other interrupts wake it. [`ThreadedRegistration::waker`] returns the waker.
///
/// # Forced threading
///
/// With the `threadirqs` parameter and on PREEMPT_RT, the hard handler runs in the interrupt's
/// thread and [`ThreadedHandler::handle_threaded`] in a second one. A [`ThreadWaker`] wakes the
/// first thread, which calls [`ThreadedHandler::handle`], and only if that returns
/// [`ThreadedIrqReturn::WakeThread`] does [`ThreadedHandler::handle_threaded`] run. So a hard
/// handler must return that whenever there is work for the thread, even if the device did not
/// raise the interrupt. It needs a way to find the work, such as a flag that is set before
/// [`ThreadWaker::wake`] is called. See `irq_setup_forced_threading()` in `kernel/irq/manage.c`.
///
/// [`ThreadedHandler::handle`]: super::ThreadedHandler::handle
/// [`ThreadedHandler::handle_threaded`]: super::ThreadedHandler::handle_threaded
/// [`ThreadedIrqReturn::WakeThread`]: super::ThreadedIrqReturn::WakeThread
/// [`ThreadedRegistration`]: super::ThreadedRegistration
/// [`ThreadedRegistration::waker`]: super::ThreadedRegistration::waker
///
/// # Invariants
///
/// Whenever [`ThreadWaker::wake`] is called, `cookie` is that of a handler registered for `irq`.
#[derive(Clone, Copy)]
pub struct ThreadWaker {
    irq: u32,
    cookie: *mut c_void,
}

// SAFETY: `cookie` is never dereferenced, and `irq_wake_thread()` may be called from any thread.
unsafe impl Send for ThreadWaker {}

// SAFETY: As above; `irq_wake_thread()` serializes by the lock of the interrupt's descriptor.
unsafe impl Sync for ThreadWaker {}

impl ThreadWaker {
    /// Creates a waker for the handler that was registered for `irq` with `cookie`.
    ///
    /// # Safety
    ///
    /// That handler must be registered whenever [`ThreadWaker::wake`] is called, on this value or
    /// a copy.
    pub(super) unsafe fn new(irq: u32, cookie: *mut c_void) -> Self {
        // INVARIANT: By the safety requirements.
        Self { irq, cookie }
    }

    /// Wakes the thread.
    ///
    /// The thread runs once after this, unless forced threading leaves that to the hard handler,
    /// see [`ThreadWaker`]. Several calls before it runs make it run once. A call while it runs
    /// makes it run again.
    ///
    /// Context: any but NMI, also with interrupts off and spinlocks held. Takes the raw spinlock of
    /// the interrupt's descriptor.
    #[inline]
    #[doc(alias = "irq_wake_thread")]
    pub fn wake(&self) {
        // SAFETY: By the type invariants, a handler is registered for `self.irq`, so its descriptor
        // exists.
        unsafe { bindings::irq_wake_thread(self.irq, self.cookie) };
    }
}

/// Returns whether the caller is in a hard interrupt.
///
/// With forced threading, see [`ThreadWaker`], a hard handler is not in one: this tells it so.
///
/// Context: any.
#[inline]
pub fn in_hardirq() -> bool {
    // SAFETY: Only reads the state of the calling context.
    unsafe { bindings::in_hardirq() }
}
