// SPDX-License-Identifier: GPL-2.0

//! [`Adapter::try_synchronize_execution`] lets a panic handler into a message.

use kernel::num::casts::u32_as_usize;

use super::{
    Adapter,
    Miniport,
    Phase, //
};

impl<M: Miniport> Adapter<M> {
    /// Runs `routine` on the state of `message`, as [`Adapter::synchronize_execution`] does, if the
    /// lock is free. Returns [`None`] if it is not: the CPU that holds it may have been stopped.
    /// Also returns [`None`] if there is no such message or the interrupt is not connected.
    ///
    /// The routine gets the state alone. It must not allocate, free, wait, or wake a thread: all
    /// of these take other locks.
    ///
    /// On PREEMPT_RT the lock has one inside, which this takes if another thread waits for the
    /// lock: when it has just become free, and when this gives it back and wakes that thread. With
    /// CONFIG_DEBUG_RT_MUTEXES it always does. If the CPU that holds the inner lock was stopped,
    /// the panic ends there.
    ///
    /// Context: panic. Elsewhere a routine must not be skipped because the lock is taken: all
    /// other callers use [`Adapter::synchronize_execution`].
    pub(crate) fn try_synchronize_execution<R>(
        &self,
        message: u32,
        routine: impl FnOnce(&mut M::State) -> R,
    ) -> Option<R> {
        let mut inner = self.messages.get(u32_as_usize(message))?.lock.try_lock()?;
        match &mut inner.phase {
            Phase::Connected(state, _) => Some(routine(state)),
            _ => None,
        }
    }
}
