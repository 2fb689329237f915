// SPDX-License-Identifier: GPL-2.0

//! The way into a message for a panic handler.

use kernel::num::casts::u32_as_usize;

use super::{
    Adapter,
    Miniport,
    Phase, //
};

impl<M: Miniport> Adapter<M> {
    /// Runs `routine` on the state of `message`, as [`Adapter::synchronize_execution`] does, if the
    /// lock can be had at once. Returns [`None`] if not: the CPU that has it may have been stopped.
    /// Likewise if there is no such message, or the interrupt is not connected.
    ///
    /// The routine gets the state alone. It must not allocate, free, wait, or wake anybody, as that
    /// takes locks of others.
    ///
    /// Context: panic. What goes on must not be left to luck: everybody else calls
    /// [`Adapter::synchronize_execution`].
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
