// SPDX-License-Identifier: GPL-2.0

//! Packets with fences, those of the render node: room for them is promised before there is a
//! packet, and what a fence needs is counted here.

use kernel::{
    dma_buf::Fence,
    num::casts::u32_as_usize,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
};

use crate::scheduler::{
    client::Client,
    timeline::{
        PacketFence,
        Timelines,
        FENCE_GONE,
        NO_FENCE,
        OPEN_WITHOUT_FENCE, //
    }, //
};

use super::{
    Contexts,
    MIN_PLACES,
    PLACES, //
};

/// The result of an attempt to [promise](Contexts::promise) a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::scheduler) enum Attempt {
    /// It may be promised.
    Promised,
    /// There is none.
    Full,
    /// The client has as many as it may.
    Enough,
    /// The client needs [`Timelines`] for so many fences first.
    NeedsMemory(usize),
}

/// What there should be room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::scheduler) enum Room {
    /// The packet: it may wait for its turn.
    #[cfg_attr(
        not(CONFIG_DRM_RUST_GPU_KUNIT_TEST),
        allow(dead_code, reason = "tests let packets wait")
    )]
    ToWait,
    /// The packet in the engine: it has its turn when it comes, before what others submit later.
    AtOnce,
}

impl<P> Contexts<P> {
    /// Returns whether `room` in the context of `client`, `number`, may be promised. There are
    /// `promised` such places in the node, for so many clients. Takes `memory` for the fences of
    /// the client if it has less; what it leaves is dropped without the lock.
    pub(in crate::scheduler) fn promise(
        &mut self,
        number: u16,
        client: &Client,
        room: Room,
        (promised, promisees): (usize, usize),
        memory: &mut Option<KBox<Timelines>>,
    ) -> Attempt {
        // What is promised may be open, all of it.
        let left = self.max_open.saturating_sub(self.open + promised);
        let (queued, active) = (self.queued, self.active);
        let Some(context) = self.get(number) else {
            return Attempt::Full;
        };
        // CAST: at most `CLIENT_LIMIT`.
        let owed = client.promised() as usize;
        let own = usize::from(context.queued) + owed;
        let free = PLACES.saturating_sub(queued + promised);
        // A client that has both promises and packets that wait counts twice.
        let active = active + promisees + usize::from(own == 0);
        if free == 0 {
            return Attempt::Full;
        }
        let has_turn = context.queued == 0 && usize::from(context.open) + owed < left;
        if room == Room::AtOnce && !has_turn {
            return Attempt::Enough;
        }
        if own >= MIN_PLACES.max((free + own) / active.max(1)) {
            return Attempt::Enough;
        }
        let old = context.timelines.as_ref().map_or(0, |old| old.len());
        if let Some(new) = memory.as_mut().filter(|new| new.len() > old) {
            if let Some(old) = &mut context.timelines {
                new.take_over(old);
            }
            core::mem::swap(memory, &mut context.timelines);
        }
        match &context.timelines {
            None => Attempt::NeedsMemory(Timelines::FEWEST),
            Some(timelines) if timelines.has_room(owed) => Attempt::Promised,
            Some(timelines) => match timelines.larger() {
                Some(count) => Attempt::NeedsMemory(count),
                None => Attempt::Enough,
            },
        }
    }

    /// Returns the context of `client`, if it has one.
    pub(in crate::scheduler) fn own(&self, client: &Arc<Client>) -> Option<u16> {
        let number = client.context(self.node);
        let context = self.contexts.get(u32_as_usize(number))?;
        let owner = context.client.as_ref()?;
        // CAST: the number of a context.
        Arc::ptr_eq(owner, client).then_some(number as u16)
    }

    /// Gives the fence of a packet of `context` its number. Returns its entry in the timelines of
    /// the context, and what others may have of it; [`None`] if there is no fence, or no entry.
    pub(in crate::scheduler) fn arm(
        &mut self,
        number: u16,
        fence: &mut Option<PacketFence>,
    ) -> Option<(u16, ARef<Fence>)> {
        self.get(number)?.timelines.as_mut()?.arm(fence)
    }

    /// The open packet of `context` with this fence is in the engine now.
    pub(in crate::scheduler) fn open_fence(&mut self, number: u16, fence: u16) {
        let context = self.get(number);
        if let Some(timelines) = context.and_then(|context| context.timelines.as_mut()) {
            timelines.open(fence);
        }
    }

    /// Records that the packet with `ticket` ended, and its `fence` with `result`. `oldest` returns
    /// the ticket of the oldest packet of the context that has a submission id and did not end.
    ///
    /// Returns the queues of those that wait for the tickets which are complete now, one bit each,
    /// and for room, and whether somebody waits for that.
    #[inline]
    pub(in crate::scheduler) fn ended(
        &mut self,
        number: u16,
        ticket: u64,
        (fence, result): (u16, Result),
        oldest: impl FnOnce() -> Option<u64>,
    ) -> (u32, bool) {
        let released = self.end_packet(number, fence, result);
        let node = self.node;
        let Some(context) = self.contexts.get_mut(usize::from(number)) else {
            return (0, false);
        };
        context.in_flight -= 1;
        let Some(client) = &context.client else {
            return (0, false);
        };
        client.give_back(released);
        let before = client.completed(node);
        let now = if !context.disordered && ticket == before + 1 {
            ticket
        } else {
            context.disordered = context.in_flight != 0;
            let waits = self.places.get(usize::from(context.places.head));
            let left = oldest().or_else(|| waits.map(|place| place.ticket));
            left.map_or(client.submitted(node), |left| left - 1)
        };
        let queues = client.complete(node, now);
        match client.is_starved() {
            true => (queues | 1 << client.room_queue(), true),
            false => (queues, false),
        }
    }

    /// A packet of `context` ended. Returns how many places the client gets back: none if the fence
    /// is held back.
    #[inline]
    fn end_packet(&mut self, number: u16, fence: u16, result: Result) -> u32 {
        match fence {
            NO_FENCE => 1,
            OPEN_WITHOUT_FENCE => {
                self.close(number, 1);
                1
            }
            FENCE_GONE => 0,
            _ => self.end_fence(number, fence, result),
        }
    }

    /// Ends a fence of `context`. Returns how many fences were signalled.
    pub(super) fn end_fence(&mut self, number: u16, fence: u16, result: Result) -> u32 {
        let context = self.get(number);
        let Some(timelines) = context.and_then(|context| context.timelines.as_mut()) else {
            return 0;
        };
        let released = timelines.end(fence, result);
        self.close(number, released.opened);
        released.signalled
    }

    /// Cancels a fence of a packet that the engine has. The packet ends later, and has its place
    /// until then. Returns what the packet has instead of the fence.
    pub(in crate::scheduler) fn disown_fence(&mut self, number: u16, fence: u16) -> u16 {
        if matches!(fence, NO_FENCE | FENCE_GONE | OPEN_WITHOUT_FENCE) {
            return fence;
        }
        let context = self.get(number);
        let Some(timelines) = context.and_then(|context| context.timelines.as_mut()) else {
            return fence;
        };
        let released = timelines.end(fence, Err(ECANCELED));
        if released.signalled == 0 {
            // Held back: that one gives the place back.
            return FENCE_GONE;
        }
        // Those of others that were held back for it, whose packets have ended.
        self.close(number, released.opened.saturating_sub(1));
        if let Some(client) = self.client(number) {
            client.give_back(released.signalled - 1);
        }
        OPEN_WITHOUT_FENCE
    }

    /// Cancels a fence of a packet that the engine has. The packet ends later.
    pub(in crate::scheduler) fn cancel_fence(&mut self, number: u16, fence: u16) {
        let released = self.end_fence(number, fence, Err(ECANCELED));
        if let Some(client) = self.client(number) {
            client.give_back(released);
        }
    }
}
