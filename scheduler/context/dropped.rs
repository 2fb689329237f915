// SPDX-License-Identifier: GPL-2.0

//! Packets that never get a submission id: their client is dropped, or the device was reset.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::scheduler::{
    client::Client,
    timeline::{
        NO_FENCE,
        OPEN_WITHOUT_FENCE, //
    }, //
};

use super::{
    Contexts,
    List, //
};

impl<P> Contexts<P> {
    /// Takes a packet of a client that is dropped, or the client if it has none left. Look again
    /// from the context that is returned on. Drop what is returned without the lock.
    pub(in crate::scheduler) fn drop_next(
        &mut self,
        from: u16,
    ) -> Option<(u16, Option<P>, Option<Arc<Client>>)> {
        // CAST: the number of a context.
        let found = (from..self.contexts.len() as u16).find(|&number| {
            let context = self.contexts.get(usize::from(number));
            context.is_some_and(|context| {
                let client = context.client.as_ref();
                let idle = context.is_free();
                client.is_some_and(|client| {
                    client.is_dropped() && (context.queued != 0 || (client.is_closed() && idle))
                })
            })
        })?;
        if let Some(taken) = self.pop(found) {
            self.unblock_later();
            let released = self.end_queued(found, taken.fence);
            if let Some(client) = self.client(found) {
                client.give_back(released);
            }
            return Some((found, Some(taken.packet), None));
        }
        let client = self.get(found)?.client.take();
        Some((found, None, client))
    }

    /// A packet of `context` ended that never had an id. Returns how many places the client gets
    /// back.
    fn end_queued(&mut self, number: u16, fence: u16) -> u32 {
        match fence {
            NO_FENCE | OPEN_WITHOUT_FENCE => 1,
            _ => self.end_fence(number, fence, Err(ECANCELED)),
        }
    }

    /// Takes one of the packets that have no id, whose fence is cancelled, or held back for that.
    /// The client sees it as lost. Drop it without the lock.
    pub(in crate::scheduler) fn cancel_next(&mut self) -> Option<P> {
        let count = self.contexts.len();
        // CAST: the number of a context.
        let number = (0..count as u16).find(|&number| {
            let context = self.contexts.get(usize::from(number));
            context.is_some_and(|context| context.queued != 0)
        })?;
        self.lose_tickets(number);
        let taken = self.pop(number)?;
        self.unblock_later();
        let released = self.end_queued(number, taken.fence);
        let node = self.node;
        if let Some(context) = self.get(number) {
            // The tickets after those in flight are complete when these are.
            context.disordered = context.in_flight != 0;
            let is_last = context.queued == 0 && !context.disordered;
            if let Some(client) = &context.client {
                client.give_back(released);
                if is_last {
                    client.complete(node, client.submitted(node));
                }
            }
        }
        Some(taken.packet)
    }

    /// Records that the packets of all contexts that have no id are lost, for their clients.
    pub(in crate::scheduler) fn lose_all_tickets(&mut self) {
        // CAST: the number of a context.
        for number in 0..self.contexts.len() as u16 {
            self.lose_tickets(number);
        }
    }

    /// The same for one context.
    fn lose_tickets(&self, number: u16) {
        let Some(context) = self.contexts.get(usize::from(number)) else {
            return;
        };
        let Some(client) = &context.client else {
            return;
        };
        let mut next = context.places.head;
        while let Some(place) = self.places.get(usize::from(next)) {
            client.lose(self.node, place.ticket);
            next = place.next;
        }
    }

    /// Ends all packets that have no id, as [lost](Self::lose_all_tickets). They stay in their
    /// places until somebody [takes](Self::next_lost) them. Returns the queues of those that wait
    /// for their tickets, one bit each.
    pub(in crate::scheduler) fn lose_queued(&mut self) -> u32 {
        let mut wakes = 0;
        // CAST: the number of a context.
        for number in 0..self.contexts.len() as u16 {
            let Some(context) = self.get(number).filter(|context| context.queued != 0) else {
                continue;
            };
            let list = core::mem::replace(&mut context.places, List::EMPTY);
            let count = core::mem::take(&mut context.queued);
            self.queued -= usize::from(count);
            self.active -= 1;
            let (mut next, mut released) = (list.head, 0);
            while let Some(place) = self.places.get(usize::from(next)) {
                next = place.next;
                released += self.end_queued(number, place.fence);
            }
            if let Some(last) = self.places.get_mut(usize::from(list.tail)) {
                last.next = self.lost.head;
            }
            self.lost.head = list.head;
            if let Some(client) = self.client(number) {
                client.give_back(released);
                // What it had in flight has ended before.
                wakes |= client.complete(self.node, client.submitted(self.node));
            }
        }
        self.unblock_later();
        wakes
    }

    /// Takes a packet that was lost.
    pub(in crate::scheduler) fn next_lost(&mut self) -> Option<P> {
        let at = self.lost.head;
        let place = self.places.get_mut(usize::from(at))?;
        let packet = place.packet.take();
        self.lost.head = core::mem::replace(&mut place.next, self.free);
        self.free = at;
        packet
    }
}
