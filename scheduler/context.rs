// SPDX-License-Identifier: GPL-2.0

//! [`Contexts`] keeps the packets of clients that have no submission id yet: one context for each
//! client of a node that has packets there.
//!
//! Contexts take turns, each for [`TURN`] packets. Those of a lower [`Priority`] have no turn while
//! others have packets. The places for packets are shared: a context may have what is fair, so that
//! none can take all.
//!
//! An open packet may stay in the engine for ever. So a context may have no more open packets there
//! than are left for others: it is blocked meanwhile, and has no turn.
//!
//! Nothing is allocated here but with the device. A context belongs to a client until another one
//! needs it and it has no packets.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::scheduler::{
    client::Client,
    timeline::{
        Timelines,
        NO_FENCE, //
    },
    Node, //
};

mod blocked;
mod dropped;
mod fenced;

pub(super) use self::fenced::{
    Attempt,
    Room, //
};

/// Packets of clients that wait in a node, at the most.
pub(crate) const PLACES: usize = 384;

/// How many more places there are for packets that [come back](Contexts::push_front), which
/// must not fail.
pub(crate) const STAGED: usize = 32;

/// Contexts of a node. A client that finds them all in use waits as for a place.
pub(crate) const CONTEXTS: usize = 128;

/// Packets of a context in a row, while others wait.
pub(super) const TURN: u8 = 8;

/// Places that a context may have in any case, as long as there are any.
const MIN_PLACES: usize = 8;

/// No context, and no place.
const NONE: u16 = u16::MAX;

const _: () = assert!(CONTEXTS < NONE as usize);

/// What a context goes after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Priority {
    /// It has its turn.
    Normal,
    /// It has its turn while no other context has packets.
    Background,
}

const PRIORITIES: [Priority; 2] = [Priority::Normal, Priority::Background];

/// A list of contexts or of places, by their numbers.
#[derive(Clone, Copy)]
struct List {
    head: u16,
    tail: u16,
}

impl List {
    const EMPTY: Self = Self {
        head: NONE,
        tail: NONE,
    };
}

/// A place for a packet that waits.
struct Place<P> {
    packet: Option<P>,
    ticket: u64,
    open: bool,
    /// The entry of its fence in the timelines of the context.
    fence: u16,
    /// The next one of the context, or the next free one.
    next: u16,
}

/// Returns how many bytes the places of a node take, for packets that are a `P`.
pub(crate) const fn places_size<P>() -> usize {
    (PLACES + STAGED) * size_of::<Place<P>>()
}

/// The packets of a client in a node.
struct Context {
    /// Whose it is; [`None`] if it was nobody's.
    client: Option<Arc<Client>>,
    /// Its packets that wait.
    places: List,
    queued: u16,
    /// Its packets that have a submission id and did not end.
    in_flight: u16,
    /// Those of them that are open.
    open: u16,
    /// A packet ended before an older one, and since then there were always some in flight.
    disordered: bool,
    /// The next one in its list of those that have packets.
    next: u16,
    /// It is in such a list, or in that of the blocked ones.
    listed: bool,
    /// It is in the latter.
    blocked: bool,
    /// The fences of its packets, on the render node.
    timelines: Option<KBox<Timelines>>,
}

impl Context {
    /// Returns whether it has no packets, none is promised, and no fence of one is held back.
    fn is_free(&self) -> bool {
        let client = self.client.as_ref();
        let timelines = self.timelines.as_ref();
        self.queued == 0
            && self.in_flight == 0
            && !self.listed
            && timelines.is_none_or(|timelines| timelines.is_empty())
            && client.is_none_or(|client| client.promised() == 0)
    }
}

/// Returns how many of `share` packets may be open.
const fn max_open(share: usize) -> usize {
    share - share / 4
}

/// A packet that is taken out, with all that is known of it.
pub(super) struct Taken<P> {
    pub(super) context: u16,
    pub(super) ticket: u64,
    /// No clock runs for it.
    pub(super) open: bool,
    /// The entry of its fence in the timelines of the context.
    pub(super) fence: u16,
    pub(super) packet: P,
}

/// The contexts of a node. Lives in the lock of the node's message.
pub(super) struct Contexts<P> {
    node: Node,
    contexts: KVec<Context>,
    /// Of whole pages: rounded up as a block of the slab they would take a half more.
    places: VVec<Place<P>>,
    free: u16,
    /// Packets that wait.
    queued: usize,
    /// Contexts that have packets that wait.
    active: usize,
    /// Those contexts, by their priority; the first one has its turn.
    lists: [List; PRIORITIES.len()],
    /// The context that has its turn, and how many packets it has had.
    at: u16,
    turn: u8,
    /// Where to look for a context that is free.
    hand: usize,
    /// Open packets that have a submission id and did not end, and how many that may be.
    open: usize,
    max_open: usize,
    /// Contexts whose next packet is open and waits for others to end.
    blocked: List,
    /// One of them has so many open packets in the engine, and none fewer.
    least_open: u16,
    /// Some of them may go on.
    unblocked: bool,
    /// The places of packets that never get an id, until somebody [takes](Self::next_lost) them.
    lost: List,
}

impl<P> Contexts<P> {
    /// Makes the contexts of `node`, whose engine has `share` packets of clients at the most. A
    /// quarter of these is for packets that are not open. Without a share there are no contexts.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(super) fn new(node: Node, share: usize) -> Result<Self> {
        let (count, places_count) = match share {
            0 => (0, 0),
            _ => (CONTEXTS, PLACES + STAGED),
        };
        let mut contexts = KVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            let context = Context {
                client: None,
                places: List::EMPTY,
                queued: 0,
                in_flight: 0,
                open: 0,
                disordered: false,
                next: NONE,
                listed: false,
                blocked: false,
                timelines: None,
            };
            contexts.push_within_capacity(context).map_err(|_| ENOMEM)?;
        }
        let mut places = VVec::with_capacity(places_count, GFP_KERNEL)?;
        for next in 1..=places_count {
            let is_last = next == places_count;
            let place = Place {
                packet: None,
                ticket: 0,
                open: false,
                fence: NO_FENCE,
                // CAST: a few hundred.
                next: if is_last { NONE } else { next as u16 },
            };
            places.push_within_capacity(place).map_err(|_| ENOMEM)?;
        }
        Ok(Self {
            node,
            contexts,
            places,
            free: 0,
            queued: 0,
            active: 0,
            lists: [List::EMPTY; PRIORITIES.len()],
            at: NONE,
            turn: 0,
            hand: 0,
            open: 0,
            max_open: max_open(share),
            blocked: List::EMPTY,
            least_open: u16::MAX,
            unblocked: false,
            lost: List::EMPTY,
        })
    }

    /// Returns the node.
    pub(super) fn node(&self) -> Node {
        self.node
    }

    /// Returns how many packets wait.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Returns whether a context may have its turn.
    pub(super) fn is_ready(&self) -> bool {
        self.unblocked || self.lists.iter().any(|list| list.head != NONE)
    }

    /// Returns whether a new packet of `context` may go before all that wait: those are blocked.
    pub(super) fn is_next(&self, context: u16, open: bool) -> bool {
        let context = self.contexts.get(usize::from(context));
        !self.is_ready()
            && context.is_some_and(|context| {
                context.queued == 0 && (!open || self.may_have_open(context))
            })
    }

    /// Returns the context of `client`; [`None`] if all have packets. If it was another client's,
    /// that client is left in `before`.
    pub(super) fn enter(
        &mut self,
        client: &Arc<Client>,
        before: &mut Option<Arc<Client>>,
    ) -> Option<u16> {
        if let Some(own) = self.own(client) {
            return Some(own);
        }
        for _ in 0..self.contexts.len() {
            let at = self.hand;
            self.hand = if at + 1 < self.contexts.len() {
                at + 1
            } else {
                0
            };
            let context = self.contexts.get_mut(at)?;
            if context.is_free() {
                *before = context.client.replace(client.clone());
                // CAST: as above.
                client.set_context(self.node, at as u32);
                return Some(at as u16);
            }
        }
        None
    }

    /// Returns whether `context` may have one more place.
    pub(super) fn has_room(&self, context: u16) -> bool {
        let Some(context) = self.contexts.get(usize::from(context)) else {
            return false;
        };
        let own = usize::from(context.queued);
        let free = PLACES.saturating_sub(self.queued);
        let active = self.active + usize::from(own == 0);
        free != 0 && own < MIN_PLACES.max((free + own) / active.max(1))
    }

    /// Queues a packet as the newest one of `context`.
    ///
    /// Errors: the packet comes back if there is no place.
    pub(super) fn push(&mut self, taken: Taken<P>) -> Result<(), P> {
        self.put(taken, false)
    }

    /// Puts a packet of a context back, as its oldest one. There is a place for each packet
    /// that is staged.
    ///
    /// Errors: as [`Self::push`].
    pub(super) fn push_front(&mut self, taken: Taken<P>) -> Result<(), P> {
        self.unblock_later();
        self.put(taken, true)
    }

    fn put(&mut self, taken: Taken<P>, in_front: bool) -> Result<(), P> {
        let Taken {
            context: number,
            ticket,
            open,
            fence,
            packet,
        } = taken;
        let at = self.free;
        let Some(context) = self.contexts.get_mut(usize::from(number)) else {
            return Err(packet);
        };
        let Some(place) = self.places.get_mut(usize::from(at)) else {
            return Err(packet);
        };
        self.free = place.next;
        place.packet = Some(packet);
        place.ticket = ticket;
        place.open = open;
        place.fence = fence;
        let List { head, tail } = context.places;
        place.next = if in_front { head } else { NONE };
        context.places = match (in_front, head) {
            (_, NONE) => List { head: at, tail: at },
            (true, _) => List { head: at, tail },
            (false, _) => List { head, tail: at },
        };
        context.queued += 1;
        let (first, listed) = (context.queued == 1, context.listed);
        if !in_front && tail != NONE {
            if let Some(last) = self.places.get_mut(usize::from(tail)) {
                last.next = at;
            }
        }
        self.queued += 1;
        self.active += usize::from(first);
        if !listed {
            self.list(number);
        }
        Ok(())
    }

    /// Takes the oldest packet that waits in `context`.
    fn pop(&mut self, number: u16) -> Option<Taken<P>> {
        let context = self.contexts.get_mut(usize::from(number))?;
        let at = context.places.head;
        let place = self.places.get_mut(usize::from(at))?;
        let packet = place.packet.take()?;
        let (ticket, open, fence) = (place.ticket, place.open, place.fence);
        context.places.head = place.next;
        if place.next == NONE {
            context.places = List::EMPTY;
        }
        place.next = self.free;
        self.free = at;
        context.queued -= 1;
        self.active -= usize::from(context.queued == 0);
        self.queued -= 1;
        Some(Taken {
            context: number,
            ticket,
            open,
            fence,
            packet,
        })
    }

    fn get(&mut self, context: u16) -> Option<&mut Context> {
        self.contexts.get_mut(usize::from(context))
    }

    /// Puts a context at the end of those that have packets, with its priority.
    fn list(&mut self, number: u16) {
        let Some(context) = self.contexts.get_mut(usize::from(number)) else {
            return;
        };
        let priority = match &context.client {
            Some(client) => client.priority(self.node),
            None => Priority::Normal,
        };
        let [normal, background] = &mut self.lists;
        let list = match priority {
            Priority::Normal => normal,
            Priority::Background => background,
        };
        Self::append(&mut self.contexts, list, number);
    }

    /// Puts a context at the end of `list`.
    fn append(contexts: &mut [Context], list: &mut List, number: u16) {
        let Some(context) = contexts.get_mut(usize::from(number)) else {
            return;
        };
        context.listed = true;
        context.next = NONE;
        let tail = list.tail;
        list.tail = number;
        if tail == NONE {
            list.head = number;
        } else if let Some(last) = contexts.get_mut(usize::from(tail)) {
            last.next = number;
        }
    }

    /// Takes the first context out of a list of those that have packets.
    fn unlist_first(&mut self, priority: Priority) {
        self.at = NONE;
        let Some(list) = self.lists.get_mut(priority as usize) else {
            return;
        };
        let Some(context) = self.contexts.get_mut(usize::from(list.head)) else {
            return;
        };
        context.listed = false;
        list.head = context.next;
        if list.head == NONE {
            *list = List::EMPTY;
        }
    }

    /// Returns the context that has its turn, and in which list it is.
    fn first(&mut self) -> Option<(u16, Priority)> {
        self.unblock();
        for priority in PRIORITIES {
            loop {
                let number = self.lists.get(priority as usize)?.head;
                let node = self.node;
                let Some(context) = self.contexts.get(usize::from(number)) else {
                    break;
                };
                let blocked = self.is_blocked(context);
                let client = context.client.as_ref();
                let (is_dropped, lowered) = client.map_or((false, false), |client| {
                    (client.is_dropped(), client.priority(node) != priority)
                });
                let empty = context.queued == 0;
                // The submission thread takes the packets of one that is dropped.
                if !empty && !is_dropped && !lowered && !blocked {
                    return Some((number, priority));
                }
                self.unlist_first(priority);
                if !empty && !is_dropped && blocked {
                    self.block(number);
                } else if !empty && !is_dropped {
                    self.list(number);
                }
            }
        }
        None
    }

    /// Takes the next packet, of the context that has its turn.
    pub(super) fn next(&mut self) -> Option<Taken<P>> {
        self.next_if(|_| true)
    }

    /// Takes the next packet if it is `wanted`.
    #[inline]
    pub(super) fn next_if(&mut self, wanted: impl FnOnce(&P) -> bool) -> Option<Taken<P>> {
        let (number, priority) = self.first()?;
        let at = self.contexts.get(usize::from(number))?.places.head;
        let packet = self.places.get(usize::from(at))?.packet.as_ref();
        if !packet.is_some_and(wanted) {
            return None;
        }
        let taken = self.pop(number)?;
        if self.at != number {
            self.at = number;
            self.turn = 0;
        }
        self.turn += 1;
        let left = self.get(number).is_some_and(|context| context.queued != 0);
        if !left || self.turn >= TURN {
            self.unlist_first(priority);
            if left {
                self.list(number);
            }
        }
        Some(taken)
    }

    /// Records that a packet of `context` got submission id `id`.
    pub(super) fn handed_out(&mut self, number: u16, id: u64, open: bool) {
        let node = self.node;
        self.open += usize::from(open);
        if let Some(context) = self.get(number) {
            context.in_flight += 1;
            context.open += u16::from(open);
            if let Some(client) = &context.client {
                client.set_id(node, id);
            }
        }
    }

    /// Records that a packet of `context` has no submission id any more, and did not end.
    pub(super) fn taken_back(&mut self, number: u16, open: bool) {
        self.close(number, open.into());
        if let Some(context) = self.get(number) {
            context.in_flight -= 1;
        }
    }

    /// Returns the client of `context`.
    pub(super) fn client(&self, number: u16) -> Option<&Arc<Client>> {
        self.contexts.get(usize::from(number))?.client.as_ref()
    }
}
