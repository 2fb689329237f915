// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A [`VblankEvent`] tells user space that a commit is on the screen.
//!
//! C header: [`include/drm/drm_vblank.h`](srctree/include/drm/drm_vblank.h)

use super::{
    closing,
    Crtc,
    KmsDriver, //
};
use crate::{
    bindings,
    sync::atomic::{
        Atomic,
        Full, //
    },
    types::NotThreadSafe, //
};
use core::{
    mem::ManuallyDrop,
    ptr::{
        self,
        NonNull, //
    },
};

/// Holds the lock of the events of a device, with interrupts off.
///
/// # Invariants
///
/// `dev` is valid and its `event_lock` is held.
pub(super) struct EventLock {
    dev: *mut bindings::drm_device,
    _not_send: NotThreadSafe,
}

impl EventLock {
    /// Takes the lock.
    ///
    /// Context: any.
    ///
    /// # Safety
    ///
    /// `dev` must be valid until the lock is dropped.
    pub(super) unsafe fn new(dev: *mut bindings::drm_device) -> Self {
        // SAFETY: By the safety requirements; the lock was initialized together with the device.
        unsafe { bindings::spin_lock_irq_disable(&raw mut (*dev).event_lock) };

        // INVARIANT: The lock was taken above.
        Self {
            dev,
            _not_send: NotThreadSafe,
        }
    }
}

impl Drop for EventLock {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::spin_unlock_irq_enable(&raw mut (*self.dev).event_lock) };
    }
}

/// An event of a CRTC that waits for a tick, if there is one.
///
/// # Invariants
///
/// The pointer is null or an event that this owns, together with a reference to the vblank of its
/// CRTC.
pub(super) struct PendingEvent(Atomic<*mut bindings::drm_pending_vblank_event>);

impl PendingEvent {
    pub(super) fn new() -> Self {
        // INVARIANT: It is null.
        Self(Atomic::new(ptr::null_mut()))
    }

    /// Takes the event, with its reference to the vblank.
    pub(super) fn take(&self) -> Option<NonNull<bindings::drm_pending_vblank_event>> {
        // INVARIANT: It is null from here on. The ownership goes to the caller.
        NonNull::new(self.0.xchg(ptr::null_mut(), Full))
    }
}

/// The event of a commit, which tells user space that the commit is on the screen.
///
/// The next commit of the CRTC waits until the event is sent, for ten seconds at most. Dropping the
/// event sends it, so it is never lost.
///
/// It does not outlive the callback that has taken it: an event that must wait is handed to
/// [`set_pending`](Self::set_pending). So it needs no reference to the device, the last of which
/// could not be dropped in interrupt context.
///
/// # Invariants
///
/// - `event` is owned, and is an event for `crtc`.
/// - If `vblank` is set a reference to the vblank of `crtc` is owned.
#[doc(alias = "drm_pending_vblank_event")]
pub struct VblankEvent<'a, T: KmsDriver> {
    crtc: &'a Crtc<T::Crtc>,
    event: NonNull<bindings::drm_pending_vblank_event>,
    vblank: bool,
}

impl<'a, T: KmsDriver> VblankEvent<'a, T> {
    /// # Safety
    ///
    /// The caller must own `event`, which must be for `crtc`, and a reference to the vblank of
    /// `crtc` if `vblank` is set.
    pub(super) unsafe fn new(
        crtc: &'a Crtc<T::Crtc>,
        event: NonNull<bindings::drm_pending_vblank_event>,
        vblank: bool,
    ) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            crtc,
            event,
            vblank,
        }
    }

    /// Returns the CRTC of the event.
    pub fn crtc(&self) -> &'a Crtc<T::Crtc> {
        self.crtc
    }

    /// Returns whether there are ticks. There are none when the commit switches the CRTC off.
    pub fn has_vblank(&self) -> bool {
        self.vblank
    }

    /// Sends the event, with the count and time of the last vblank.
    ///
    /// Context: any.
    #[doc(alias = "drm_crtc_send_vblank_event")]
    pub fn send(self) {
        drop(self);
    }

    /// Leaves the event at its CRTC, where [`Crtc::take_pending`] finds it.
    ///
    /// The vblank timer runs until [`DriverCrtc::handle_vblank_timeout`] takes the event. Switching
    /// the CRTC off sends it. If an event is there already, that one is sent. Without
    /// [ticks](Self::has_vblank), and if nobody watches for the frame of a device that [stands
    /// still](KmsDriver::is_stalled), this sends the event immediately.
    ///
    /// Returns whether the event waits for a tick.
    ///
    /// Context: any.
    ///
    /// [`DriverCrtc::handle_vblank_timeout`]: super::DriverCrtc::handle_vblank_timeout
    pub fn set_pending(self) -> bool {
        if !self.vblank {
            return false;
        }

        let this = ManuallyDrop::new(self);
        // INVARIANT: The event is for that CRTC, and goes there with its reference to the vblank,
        // which is owned as checked above.
        let old = this.crtc.pending.0.xchg(this.event.as_ptr(), Full);

        if let Some(old) = NonNull::new(old) {
            // SAFETY: By the invariants of `PendingEvent` and `Crtc` the event that was there was
            // owned and for that CRTC, and had a reference to the vblank.
            drop(unsafe { Self::new(this.crtc, old, true) });
        }

        !closing::send_unwatched(this.crtc)
    }
}

impl<T: KmsDriver> Drop for VblankEvent<'_, T> {
    fn drop(&mut self) {
        let crtc = self.crtc.as_raw();

        {
            // SAFETY: The device lives at least as long as the CRTC.
            let _lock = unsafe { EventLock::new((*crtc).dev) };

            // SAFETY: The event is owned and for this CRTC, and the lock is held.
            unsafe { bindings::drm_crtc_send_vblank_event(crtc, self.event.as_ptr()) };
        }

        if self.vblank {
            // SAFETY: The reference is owned by the type invariants.
            unsafe { bindings::drm_crtc_vblank_put(crtc) };
        }
    }
}
