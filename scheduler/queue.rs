// SPDX-License-Identifier: GPL-2.0

//! [`NodeQueue`] gives packets their submission ids and dispatches them to the [`Engine`] of a
//! node.
//!
//! A packet of a client waits in its [context](Contexts) until it is handed out: only then it gets
//! a submission id. If there is no room in the engine it is staged. Packets of the driver, the
//! *kernel's*, get their ids when the engine takes them, and go before all others. Clients have a
//! bound on what they have in the engine. So a packet of the driver waits for no more packets of
//! clients than that.
//!
//! As the driver overtakes, and a device may do as it likes, packets end in any order. What is
//! complete is known from the oldest packet of either kind that did not end.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::scheduler::{
    client::Client,
    context::{
        Contexts,
        Taken,
        STAGED, //
    },
    engines::{
        client_share,
        Engine,
        Interrupt, //
    },
    fifo::Fifo,
    preempt::Preemption,
    timeline::{
        NO_FENCE,
        OPEN_WITHOUT_FENCE, //
    },
    Node, //
};

mod ended;
mod in_flight;
mod render;

/// What to do after packets were [published](NodeQueue::publish).
pub(super) struct Published {
    /// Kick the device.
    pub(super) kick: bool,
    /// Poll the engine, as it does not interrupt for all that it has.
    pub(super) poll: bool,
}

/// Packets of the driver that wait in a node, at the most. What finds no place is submitted again.
const KERNEL_PLACES: usize = 128;

/// Most packets of clients that the engine of the cursor node has at a time. QEMU goes on with that
/// queue, and with nothing else, until it is empty.
const CURSOR_CLIENTS: usize = 4;

/// A packet of the driver that the engine has.
struct InFlight {
    id: u64,
    position: u64,
}

/// A packet of a client that has a submission id and did not end.
struct HandedOut {
    id: u64,
    ticket: u64,
    context: u16,
    /// No clock runs for it.
    open: bool,
    /// The entry of its fence in the timelines of the context.
    fence: u16,
    /// How many packets the engine got before, and this one; 0 while it is staged.
    position: u64,
}

/// The submission half of a node. Lives in the lock of the node's message.
///
/// # Invariants
///
/// Submission ids ascend in `kernel_flight` and in `handed_out`. The packets of the last entries of
/// `handed_out` are those in `staged`.
pub(crate) struct NodeQueue<E: Engine> {
    /// The engine; [`None`] for the software node, whose packets all go to the submission thread,
    /// and for the render node while that does not have the engine of the control node.
    pub(crate) engine: Option<KBox<E>>,
    /// Last submission id.
    submitted: u64,
    /// The highest submission id of a packet that ended.
    highest: u64,
    /// The highest one that ended by force: see [`NodeQueue::force_complete`].
    forced: u64,
    /// Submission ids of the driver's packets that the engine has.
    kernel_flight: Fifo<InFlight>,
    /// Packets of the driver that wait for the engine.
    kernel: Fifo<E::Packet>,
    /// The packets of clients that have submission ids.
    handed_out: Fifo<HandedOut>,
    /// Those of them that wait for the engine.
    staged: Fifo<E::Packet>,
    /// Packets of clients that the engine may have, with those of the other node that uses it.
    ring_share: usize,
    /// The same without those.
    share: usize,
    /// The packets of clients that have no submission id yet.
    contexts: Contexts<E::Packet>,
    /// The queues of waiters for tickets that are complete and whom nobody woke, one bit each.
    to_wake: u32,
    /// One of them waits for room, since a packet of its own ended.
    starved: bool,
    /// Packets that the engine got.
    dispatched: u64,
    /// The newest of them that ended, by its position.
    answered: u64,
    /// Packets that the engine has for which no clock runs.
    open: u64,
    /// So many of those that clients submit next are open.
    next_open: u64,
    /// Only the submission thread hands out packets.
    by_thread: bool,
    /// A packet of the other node that uses the engine waits for room there.
    other_waits: bool,
    /// No packet of a client is handed out: see [`preempt`](super::preempt()).
    pub(super) preemption: Option<Preemption>,
    /// The id of the last one.
    pub(super) last_preemption: u64,
    /// Packets that ended. Wraps.
    completions: u64,
    /// The watchdog found that the engine does not go on. The next completion ends that.
    stalled: bool,
    /// How often all packets of the render node were lost: see [`Promise`](super::Promise).
    incarnation: u64,
    /// The positions of the packets at which the engine hangs, if a client is guilty of that.
    suspects: Option<(u64, u64)>,
}

impl<E: Engine> NodeQueue<E> {
    /// Makes the queue of `node` with `engine`.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn new(node: Node, engine: Option<E>) -> Result<Self> {
        // The submission thread executes one packet at a time.
        let capacity = engine.as_ref().map_or(1, |engine| engine.capacity());
        let share = match node {
            Node::Cursor => client_share(capacity).min(CURSOR_CLIENTS),
            _ => client_share(capacity),
        };
        let engine = engine.map(|engine| KBox::new(engine, GFP_KERNEL));
        Self::with_share(node, engine.transpose()?, capacity, share)
    }

    fn with_share(
        node: Node,
        engine: Option<KBox<E>>,
        capacity: usize,
        share: usize,
    ) -> Result<Self> {
        // Only clients have packets on the render node, and none is staged.
        let (staged, kernel) = match node {
            Node::Render => (0, 0),
            _ => (STAGED, KERNEL_PLACES),
        };
        Ok(Self {
            engine,
            submitted: 0,
            highest: 0,
            forced: 0,
            kernel_flight: Fifo::new(capacity)?,
            kernel: Fifo::new(kernel)?,
            handed_out: Fifo::new(share + staged)?,
            staged: Fifo::new(staged)?,
            ring_share: share,
            share,
            contexts: Contexts::new(node, share)?,
            to_wake: 0,
            starved: false,
            // So that a client that polls cannot keep the queue from running empty.
            by_thread: node == Node::Cursor,
            other_waits: false,
            dispatched: 0,
            answered: 0,
            open: 0,
            next_open: 0,
            preemption: None,
            last_preemption: 0,
            completions: 0,
            stalled: false,
            incarnation: 1,
            suspects: None,
        })
    }

    /// Returns whether its packets go to a ring, its own or that of another node.
    pub(super) fn has_ring(&self) -> bool {
        self.contexts.node() != Node::Software
    }

    /// Returns the last submission id.
    pub(crate) fn submitted(&self) -> u64 {
        self.submitted
    }

    /// Returns the number of packets that wait, with or without a submission id.
    pub(crate) fn queued(&self) -> usize {
        self.kernel.len() + self.staged.len() + self.contexts.queued()
    }

    /// Returns whether a packet waits for room in the engine, or for its turn. Those of contexts
    /// that are blocked do not.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.kernel.is_empty()
            || !self.staged.is_empty()
            || self.contexts.is_ready()
            || self.other_waits
    }

    /// Returns the last completed submission id: all packets that have one up to this ended.
    #[inline]
    pub(crate) fn completed(&self) -> u64 {
        let client = self.handed_out.front().map(|packet| packet.id);
        let oldest = match (client, self.kernel_flight.front()) {
            (Some(client), Some(kernel)) => Some(client.min(kernel.id)),
            (client, kernel) => client.or(kernel.map(|packet| packet.id)),
        };
        // None of these is complete that no packet has any more.
        let completed = oldest.map_or(self.highest, |id| self.highest.min(id - 1));
        match &self.preemption {
            // Nor those that were taken back, whatever overtook them.
            Some(preemption) => completed.min(preemption.published),
            None => completed,
        }
    }

    /// Returns the last submission id before those of staged packets.
    pub(super) fn published(&self) -> u64 {
        let first_staged = self.handed_out.len() - self.staged.len();
        match self.handed_out.get(first_staged) {
            Some(packet) if !self.staged.is_empty() => packet.id - 1,
            _ => self.submitted,
        }
    }

    /// Returns whether all packets ended that have a submission id up to `id`. None is staged.
    pub(super) fn has_ended(&self, id: u64) -> bool {
        self.handed_out.is_empty()
            && self
                .kernel_flight
                .front()
                .is_none_or(|oldest| oldest.id > id)
    }

    /// Takes a packet of the driver: to the engine if it has room and no packet of the driver
    /// waits, else to those that wait.
    ///
    /// Errors: the packet comes back if there is no place.
    pub(super) fn submit_kernel(&mut self, packet: E::Packet) -> Result<(), E::Packet> {
        let refused = match self.kernel.is_empty() {
            true => self.give_kernel(packet).err(),
            false => Some(packet),
        };
        refused.map_or(Ok(()), |packet| self.kernel.push(packet))
    }

    /// Gives a packet of the driver to the engine, or hands it back if there is no room.
    #[inline(always)]
    fn give_kernel(&mut self, packet: E::Packet) -> Result<(), E::Packet> {
        let id = self.submitted + 1;
        match &mut self.engine {
            Some(engine) if !self.kernel_flight.is_full() => engine.submit(packet, id)?,
            _ => return Err(packet),
        }
        self.dispatched += 1;
        // Cannot fail: it is not full.
        let _ = self.kernel_flight.push(InFlight {
            id,
            position: self.dispatched,
        });
        self.submitted = id;
        Ok(())
    }

    /// Takes up to `count` packets of `client`, which `make` makes, and gives them tickets. Returns
    /// how many. The context may have been another client's, which is left in `before`.
    pub(super) fn submit_clients(
        &mut self,
        client: &Arc<Client>,
        count: u32,
        make: impl Fn() -> E::Packet,
        before: &mut Option<Arc<Client>>,
    ) -> u32 {
        let Some(context) = self.contexts.enter(client, before) else {
            return 0;
        };
        let node = self.contexts.node();
        let mut ticket = client.submitted(node);
        let mut taken = 0;
        while taken < count {
            let open = self.next_open != 0;
            let is_direct = !self.by_thread
                && self.contexts.is_next(context, open)
                && !self.staged.is_full()
                && self.preemption.is_none();
            if !is_direct && !self.contexts.has_room(context) {
                break;
            }
            ticket += 1;
            let packet = Taken {
                context,
                ticket,
                open,
                fence: if open { OPEN_WITHOUT_FENCE } else { NO_FENCE },
                packet: make(),
            };
            if is_direct {
                self.hand_out_one(packet);
            } else if self.contexts.push(packet).is_err() {
                // Cannot happen: there was room.
                ticket -= 1;
                break;
            }
            self.next_open -= u64::from(open);
            taken += 1;
        }
        client.set_submitted(node, ticket);
        if !self.by_thread && self.contexts.is_ready() {
            self.hand_out();
        }
        taken
    }

    /// Gives a packet its submission id, and to the engine, or stages it. There is a place.
    fn hand_out_one(&mut self, taken: Taken<E::Packet>) {
        let Taken {
            context,
            ticket,
            open,
            fence,
            packet,
        } = taken;
        let id = self.submitted + 1;
        self.submitted = id;
        self.contexts.handed_out(context, id, open);
        // Cannot fail, as there is a place. Nor can the one below.
        let _ = self.handed_out.push(HandedOut {
            id,
            ticket,
            context,
            open,
            fence,
            position: 0,
        });
        let refused = match self.staged.is_empty() {
            true => self.give(self.handed_out.len() - 1, id, packet).err(),
            false => Some(packet),
        };
        if let Some(packet) = refused {
            let _ = self.staged.push(packet);
        }
    }

    /// Gives a packet of a client to the engine, which has `count` of those, or hands it back if
    /// there is no room. It is the one after these in `handed_out`.
    #[inline(always)]
    fn give(&mut self, count: usize, id: u64, packet: E::Packet) -> Result<(), E::Packet> {
        match &mut self.engine {
            Some(engine) if count < self.share && self.kernel.is_empty() => {
                engine.submit(packet, id)?
            }
            _ => return Err(packet),
        }
        self.dispatched += 1;
        if let Some(packet) = self.handed_out.get_mut(count) {
            packet.position = self.dispatched;
            self.open += u64::from(packet.open);
        }
        Ok(())
    }

    /// Hands out packets of clients while there is room for them.
    fn hand_out(&mut self) {
        while !self.staged.is_full() && self.preemption.is_none() {
            let Some(taken) = self.contexts.next() else {
                return;
            };
            self.hand_out_one(taken);
        }
    }

    /// Dispatches packets that wait to the engine while it takes them, those of the driver first.
    pub(super) fn dispatch(&mut self) {
        while let Some(packet) = self.kernel.pop() {
            if let Err(packet) = self.give_kernel(packet) {
                // Cannot fail: its place was made free just now.
                let _ = self.kernel.unpop(packet);
                break;
            }
        }
        while let Some(packet) = self.staged.pop() {
            // Without this one, which is of those that are in the engine or will be.
            let at = self.handed_out.len() - self.staged.len() - 1;
            let id = self.handed_out.get(at).map_or(0, |packet| packet.id);
            if let Err(packet) = self.give(at, id, packet) {
                // Cannot fail, as above.
                let _ = self.staged.unpop(packet);
                break;
            }
        }
        self.hand_out();
    }

    /// Publishes what was dispatched. Suppresses interrupts only if nothing is pending.
    pub(super) fn publish(&mut self, interrupt: Interrupt) -> Published {
        let interrupt = match self.is_waiting() {
            false => interrupt,
            true => Interrupt::Wanted,
        };
        let Some(engine) = &mut self.engine else {
            return Published {
                kick: false,
                poll: false,
            };
        };
        Published {
            kick: engine.publish(interrupt),
            poll: interrupt == Interrupt::Wanted && engine.suppresses_interrupts(),
        }
    }

    /// Takes the oldest staged packet, with its submission id. The submission thread gets the
    /// packets of the software node in this way, one at a time. [`None`] as packet if the one with
    /// this id was taken before: what it did was not recorded.
    pub(super) fn pop(&mut self) -> Option<(u64, Option<E::Packet>)> {
        if self.handed_out.len() > self.staged.len() {
            return Some((self.handed_out.front()?.id, None));
        }
        if self.staged.is_empty() {
            self.hand_out();
        }
        let packet = self.staged.pop()?;
        Some((self.handed_out.front()?.id, Some(packet)))
    }

    /// Puts the staged packets back in front of those of their contexts, without submission ids.
    pub(super) fn take_back_staged(&mut self) {
        while let Some(packet) = self.staged.pop_back() {
            let Some(HandedOut {
                ticket,
                context,
                open,
                fence,
                ..
            }) = self.handed_out.pop_back()
            else {
                return;
            };
            self.contexts.taken_back(context, open);
            // Cannot fail: there is a place for each.
            let _ = self.contexts.push_front(Taken {
                context,
                ticket,
                open,
                fence,
                packet,
            });
        }
    }

    /// Ends all packets that the engine has, which was stopped and reports nothing any more:
    /// whether it has executed them is not known. What is staged gets new submission ids later.
    ///
    /// On the render node all packets end, those too that wait: the host has lost what they are
    /// for.
    ///
    /// Returns the last submission id. Does nothing to the software node, which has no engine.
    pub(super) fn force_complete(&mut self) -> u64 {
        self.stalled = false;
        let node = self.contexts.node();
        if node == Node::Software {
            return self.completed();
        }
        self.preemption = None;
        self.take_back_staged();
        for at in 0..self.handed_out.len() {
            if let Some(lost) = self.handed_out.get(at) {
                if let Some(client) = self.contexts.client(lost.context) {
                    client.lose(node, lost.ticket);
                }
            }
        }
        if node == Node::Render {
            self.contexts.lose_all_tickets();
        }
        let suspects = self.suspects.take();
        while let Some(lost) = self.handed_out.pop() {
            let is_suspect = suspects.is_some_and(|(first, last)| {
                // Those of others between them were answered.
                (first..=last).contains(&lost.position)
            });
            let error = if is_suspect { ETIME } else { ECANCELED };
            self.end(&lost, Err(error));
        }
        if node == Node::Render {
            self.to_wake |= self.contexts.lose_queued();
            self.incarnation += 1;
        }
        while self.kernel_flight.pop().is_some() {}
        self.open = 0;
        // Nor has the other node any packets there.
        self.share = self.ring_share;
        self.contexts.set_max_open(self.ring_share, 0);
        self.other_waits = false;
        self.answered = self.dispatched;
        self.forced = self.submitted;
        self.highest = self.submitted;
        self.submitted
    }

    /// Takes a packet that never reached the engine, which was stopped, and never will: of the
    /// driver, or a lost one of the render node. See [`Self::force_complete`].
    pub(super) fn cancel_one(&mut self) -> Option<E::Packet> {
        match self.kernel.pop() {
            Some(packet) => Some(packet),
            None => self.contexts.next_lost(),
        }
    }

    /// Returns the packets of clients that have no submission id yet.
    pub(super) fn contexts(&mut self) -> &mut Contexts<E::Packet> {
        &mut self.contexts
    }

    /// Returns which waiters for tickets to wake, one bit for each of their queues.
    pub(super) fn take_wakes(&mut self) -> u32 {
        core::mem::take(&mut self.to_wake)
    }

    /// Returns whether the DPC is needed now, after the engine was polled; `completed` says whether
    /// packets completed.
    ///
    /// Context: lock of the message held.
    pub(crate) fn wants_dpc(&mut self, completed: bool) -> bool {
        let queued = self.take_starved() || self.is_waiting() || self.preemption.is_some();
        let Some(engine) = &mut self.engine else {
            return false;
        };
        // Waiters must not see as done what the DPC has not done yet.
        let with_dpc = engine.is_in_dpc() || queued;
        engine.needs_dpc() || (completed && with_dpc)
    }
}
