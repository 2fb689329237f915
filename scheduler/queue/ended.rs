// SPDX-License-Identifier: GPL-2.0

//! How packets end, and whom that wakes.

use kernel::prelude::*;

use super::{
    Engine,
    HandedOut,
    InFlight,
    NodeQueue, //
};

impl<E: Engine> NodeQueue<E> {
    /// Records that one packet ended, in any order. An id that the engine does not have changes
    /// nothing.
    #[inline]
    pub(crate) fn complete(&mut self, id: u64) {
        self.complete_with(id, Ok(()));
    }

    /// The same, for a packet that ended with `result`.
    #[inline]
    pub(super) fn complete_with(&mut self, id: u64, result: Result) {
        self.completions = self.completions.wrapping_add(1);
        self.stalled = false;
        let is_it = |packet: &InFlight| packet.id == id;
        let position = if let Some(packet) = self.kernel_flight.pop_if(is_it) {
            Some(packet.position)
        } else if let Some(packet) = self.handed_out.take(|packet| packet.id == id) {
            self.open -= u64::from(packet.open && packet.position != 0);
            self.end(&packet, result);
            Some(packet.position)
        } else {
            let found = self.kernel_flight.take(is_it);
            found.map(|packet| packet.position)
        };
        if let Some(position) = position {
            self.answered = self.answered.max(position);
            self.highest = self.highest.max(id);
        }
    }

    /// Records that the packet of a client ended that was in `handed_out`.
    #[inline]
    pub(super) fn end(&mut self, packet: &HandedOut, result: Result) {
        let HandedOut {
            context,
            ticket,
            fence,
            ..
        } = *packet;
        let handed_out = &self.handed_out;
        let oldest = || {
            handed_out
                .iter()
                .find(|other| other.context == context)
                .map(|other| other.ticket)
        };
        let ended = self
            .contexts
            .ended(context, ticket, (fence, result), oldest);
        self.to_wake |= ended.0;
        self.starved |= ended.1;
    }

    /// Returns whether the DPC is needed now to wake a client, since one of its packets ended.
    pub(crate) fn take_starved(&mut self) -> bool {
        core::mem::take(&mut self.starved)
    }
}
