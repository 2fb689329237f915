// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Vblank events.
//!
//! C header: [`include/drm/drm_vblank.h`](srctree/include/drm/drm_vblank.h)

use super::{
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

/// The lock of the events of a device, held. Interrupts are off meanwhile.
///
/// # Invariants
///
/// `dev` is valid and its `event_lock` is held.
pub(super) struct EventLock {
    dev: *mut bindings::drm_device,
    _not_send: NotThreadSafe,
}

impl EventLock {
    /// Any context.
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

/// The place in a CRTC for an event that waits for a tick.
///
/// # Invariants
///
/// A pointer that is not null is an event that this owns, together with a reference to the vblank
/// of its CRTC.
pub(super) struct PendingEvent(Atomic<*mut bindings::drm_pending_vblank_event>);

impl PendingEvent {
    pub(super) fn new() -> Self {
        // INVARIANT: It is null.
        Self(Atomic::new(ptr::null_mut()))
    }

    /// Takes the event and the reference to the vblank.
    pub(super) fn take(&self) -> Option<NonNull<bindings::drm_pending_vblank_event>> {
        // INVARIANT: It is null from here on; the ownership goes to the caller.
        NonNull::new(self.0.xchg(ptr::null_mut(), Full))
    }
}

/// The event of a commit, which tells that the commit is on the screen.
///
/// The commit that follows on the CRTC waits until it is sent, for ten seconds at the most. It is
/// sent when it is dropped, hence it is never lost.
///
/// It lives no longer than the callback that has got it. One that has to wait goes to
/// [`set_pending`](Self::set_pending). Hence it needs no reference to the device, whose last one
/// could not be dropped in interrupt context.
///
/// # Invariants
///
/// - `event` is owned, and is an event for `crtc`.
/// - If `vblank` is set a reference to the vblank of `crtc` is owned.
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

    /// The CRTC that the event is for.
    pub fn crtc(&self) -> &'a Crtc<T::Crtc> {
        self.crtc
    }

    /// Whether there are ticks. There are none once the CRTC was switched off.
    pub fn has_vblank(&self) -> bool {
        self.vblank
    }

    /// Sends the event, with the count and time of the last vblank.
    ///
    /// Any context.
    pub fn send(self) {
        drop(self);
    }

    /// Leaves the event with its CRTC, where [`Crtc::take_pending`] finds it.
    ///
    /// The vblank timer runs until it is taken, which is what [`DriverCrtc::handle_vblank_timeout`] is for. An
    /// event that is there already is sent. Without [ticks](Self::has_vblank) the event is sent at
    /// once. When the CRTC is switched off an event that is there is sent.
    ///
    /// Any context.
    ///
    /// [`DriverCrtc::handle_vblank_timeout`]: super::DriverCrtc::handle_vblank_timeout
    pub fn set_pending(self) {
        if !self.vblank {
            return;
        }

        let this = ManuallyDrop::new(self);
        // INVARIANT: The event and the reference to the vblank, which is owned as checked above,
        // go there. It is an event for that CRTC.
        let old = this.crtc.pending.0.xchg(this.event.as_ptr(), Full);

        if let Some(old) = NonNull::new(old) {
            // SAFETY: What was there was owned, was for that CRTC, and had a reference to the
            // vblank, by the invariants of `PendingEvent` and `Crtc`.
            drop(unsafe { Self::new(this.crtc, old, true) });
        }
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
