// SPDX-License-Identifier: GPL-2.0

//! Contexts that are blocked: their next packet is open, and the engine has as many of those as may
//! be, of this context or of all.

use super::{
    max_open,
    Context,
    Contexts,
    List,
    NONE, //
};

impl<P> Contexts<P> {
    /// Returns how many of its packets, of which the engine may have `share`, are open there, or
    /// ended and have fences that are held back.
    pub(in crate::scheduler) fn open(&self) -> usize {
        self.open
    }

    /// Lets the engine have as many open packets as may be of `share`, besides `others`.
    pub(in crate::scheduler) fn set_max_open(&mut self, share: usize, others: usize) {
        self.max_open = max_open(share).saturating_sub(others);
        self.unblock_if_open();
    }

    /// Returns whether `context` may have one more open packet in the engine.
    pub(super) fn may_have_open(&self, context: &Context) -> bool {
        usize::from(context.open) < self.max_open.saturating_sub(self.open)
    }

    /// Returns whether the oldest packet that waits in `context` has to wait for open ones to end.
    pub(super) fn is_blocked(&self, context: &Context) -> bool {
        let place = self.places.get(usize::from(context.places.head));
        place.is_some_and(|place| place.open) && !self.may_have_open(context)
    }

    /// Puts a context at the end of those that are blocked.
    pub(super) fn block(&mut self, number: u16) {
        Self::append(&mut self.contexts, &mut self.blocked, number);
        if let Some(context) = self.contexts.get_mut(usize::from(number)) {
            context.blocked = true;
            self.least_open = self.least_open.min(context.open);
        }
    }

    /// The contexts that are blocked may go on if there is room for open packets of one of them.
    /// What others had and gave back is no room for a context that has more than is left.
    fn unblock_if_open(&mut self) {
        if usize::from(self.least_open) < self.max_open.saturating_sub(self.open) {
            self.unblock_later();
        }
    }

    /// Contexts that are blocked may go on, or have gone.
    pub(super) fn unblock_later(&mut self) {
        self.unblocked = self.blocked.head != NONE;
    }

    /// Puts the contexts that may go on at the end of those that have packets.
    pub(super) fn unblock(&mut self) {
        if !core::mem::take(&mut self.unblocked) {
            return;
        }
        self.least_open = u16::MAX;
        let mut next = core::mem::replace(&mut self.blocked, List::EMPTY).head;
        while let Some(context) = self.contexts.get_mut(usize::from(next)) {
            let number = core::mem::replace(&mut next, context.next);
            context.listed = false;
            context.blocked = false;
            let client = context.client.as_ref();
            if context.queued == 0 || client.is_some_and(|client| client.is_dropped()) {
                continue;
            }
            self.list(number);
        }
    }

    /// Counts `count` open packets of `context` less.
    pub(super) fn close(&mut self, number: u16, count: u16) {
        if count == 0 {
            return;
        }
        self.open -= usize::from(count);
        if let Some(context) = self.contexts.get_mut(usize::from(number)) {
            context.open -= count;
            if context.blocked {
                self.least_open = self.least_open.min(context.open);
            }
        }
        self.unblock_if_open();
    }
}
