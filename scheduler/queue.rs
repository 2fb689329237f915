// SPDX-License-Identifier: GPL-2.0

//! [`NodeQueue`] gives packets their fence ids and dispatches them to the [`Engine`] of a node.
//!
//! A node has two lanes, one for the packets of the driver and one for those of clients. The
//! driver's go first, and clients have a bound on what they have in the engine. So a packet of the
//! driver waits for no more packets of clients than that. Fence ids are handed out by the node, in
//! the order in which packets of both lanes are submitted. As the driver overtakes, packets
//! complete in another order. What is complete is known from the oldest packet of each lane that is
//! not.

use kernel::prelude::*;

use crate::scheduler::{
    fifo::Fifo,
    Node, //
};

/// The submitter of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The driver itself.
    Driver,
    /// A client, for itself.
    Client,
}

/// An engine that executes packets, as the scheduler sees it.
pub(crate) trait Engine: Send {
    /// What the engine executes.
    type Packet: Send;

    /// Returns how many packets it takes at a time, at the most.
    fn capacity(&self) -> usize;

    /// Takes a packet with its fence id, or hands it back if there is no room. The device does not
    /// see the packet before [`Engine::publish`].
    ///
    /// Context: lock of the message held.
    fn submit(&mut self, packet: Self::Packet, fence: u64) -> Result<(), Self::Packet>;

    /// Makes the submitted packets visible to the device. Returns whether to kick it.
    ///
    /// Context: lock of the message held.
    fn publish(&mut self, interrupt: Interrupt) -> bool;

    /// Returns whether the engine does not interrupt until it is polled.
    ///
    /// Context: lock of the message held.
    fn suppresses_interrupts(&self) -> bool;

    /// Returns whether it has something for the DPC: a retired request, or a failure that the DPC
    /// was not asked for yet.
    ///
    /// Context: lock of the message held.
    fn needs_dpc(&mut self) -> bool {
        false
    }

    /// Returns whether it executes nothing any more.
    ///
    /// Context: lock of the message held.
    fn is_broken(&self) -> bool {
        false
    }

    /// Returns whether it has executed something and was asked to interrupt for it, but was not
    /// polled since: the interrupt is on its way, or it is lost. Does not touch anything.
    ///
    /// Context: lock of the message held.
    fn is_overdue(&self) -> bool {
        false
    }

    /// Returns whether the DPC is at work on requests of this engine.
    ///
    /// Context: lock of the message held.
    fn is_in_dpc(&self) -> bool {
        false
    }
}

/// Whether an engine interrupts when it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// It does.
    Wanted,
    /// It need not: it is polled (`VRING_AVAIL_F_NO_INTERRUPT`).
    Suppressed,
}

/// What to do after packets were [published](NodeQueue::publish).
pub(super) struct Published {
    /// Kick the device.
    pub(super) kick: bool,
    /// Poll the engine, as it does not interrupt for all that it has.
    pub(super) poll: bool,
}

/// Most packets of clients that a node queues while its engine has no room.
pub(crate) const CLIENT_DEPTH: usize = 384;

/// The same for packets of the driver, which has slots for no more than a ring of commands, and
/// asks a question for each scanout. What finds no room is submitted again.
const DRIVER_DEPTH: usize = 96;

/// Most packets of clients that the engine of the cursor node has at a time. QEMU goes on with that
/// queue, and with nothing else, until it is empty.
const CURSOR_CLIENTS: usize = 4;

/// Returns how many packets of clients the engine of `node` may have at a time, if it takes
/// `capacity` packets. The rest is for the driver.
fn client_limit(node: Node, capacity: usize) -> usize {
    let share = (capacity * 3 / 4).max(1);
    match node {
        Node::Cursor => share.min(CURSOR_CLIENTS),
        Node::Control | Node::Software => share,
    }
}

/// The packets of one [`Source`] in a node.
///
/// # Invariants
///
/// Fence ids ascend: in `dispatched`, in `pending`, and from the one to the other.
struct Lane<P> {
    /// Fence ids of the packets that the engine has. It takes no more than fit in here.
    dispatched: Fifo<u64>,
    /// The packets that wait for the engine, with their fence ids.
    pending: Fifo<(u64, P)>,
}

impl<P> Lane<P> {
    fn new(limit: usize, depth: usize) -> Result<Self> {
        Ok(Self {
            dispatched: Fifo::new(limit)?,
            pending: Fifo::new(depth)?,
        })
    }

    /// Returns the fence id of the oldest packet that is not complete.
    fn oldest(&self) -> Option<u64> {
        let pending = || self.pending.front().map(|(fence, _)| fence);
        self.dispatched.front().or_else(pending).copied()
    }
}

/// The submission half of a node. Lives in the lock of the node's message.
pub(crate) struct NodeQueue<E: Engine> {
    /// The engine; [`None`] for the software node, whose packets all go to the submission thread.
    pub(crate) engine: Option<E>,
    /// Last fence id handed out.
    submitted: u64,
    /// The fences up to this one count as complete, whatever the lanes say: see
    /// [`NodeQueue::force_complete`].
    forced: u64,
    driver: Lane<E::Packet>,
    clients: Lane<E::Packet>,
    /// Only the submission thread dispatches packets of clients.
    staged: bool,
    /// Packets that completed. Wraps.
    completions: u64,
    /// The watchdog found that the engine does not go on. The next completion ends that.
    stalled: bool,
}

impl<E: Engine> NodeQueue<E> {
    /// Makes the queue of `node` with `engine`.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn new(node: Node, engine: Option<E>) -> Result<Self> {
        // The submission thread executes one packet at a time.
        let capacity = engine.as_ref().map_or(1, Engine::capacity);
        Ok(Self {
            engine,
            submitted: 0,
            forced: 0,
            driver: Lane::new(capacity, DRIVER_DEPTH)?,
            clients: Lane::new(client_limit(node, capacity), CLIENT_DEPTH)?,
            // So that a client that polls cannot keep the queue from running empty.
            staged: node == Node::Cursor,
            completions: 0,
            stalled: false,
        })
    }

    /// Returns the last fence id handed out.
    pub(crate) fn submitted(&self) -> u64 {
        self.submitted
    }

    /// Returns the number of pending packets.
    pub(crate) fn queued(&self) -> usize {
        self.driver.pending.len() + self.clients.pending.len()
    }

    /// Returns the last completed fence: all packets up to this one are complete.
    #[inline]
    pub(crate) fn completed(&self) -> u64 {
        let driver = self.driver.oldest();
        let oldest = match self.clients.oldest() {
            Some(client) => Some(driver.map_or(client, |driver| driver.min(client))),
            None => driver,
        };
        self.before(oldest)
    }

    /// Returns the last fence before `oldest`, which is not complete; [`None`] if there is none.
    fn before(&self, oldest: Option<u64>) -> u64 {
        oldest
            .map_or(self.submitted, |fence| fence - 1)
            .max(self.forced)
    }

    fn lane(&mut self, source: Source) -> &mut Lane<E::Packet> {
        match source {
            Source::Driver => &mut self.driver,
            Source::Client => &mut self.clients,
        }
    }

    /// Gives a packet its fence id and its place. The place is in the engine if `source` may have
    /// one there and no packet waits before it, else in the lane, for the submission thread.
    ///
    /// Errors: the packet comes back if the lane is full.
    pub(super) fn submit(&mut self, packet: E::Packet, source: Source) -> Result<u64, E::Packet> {
        let waits = match source {
            Source::Driver => !self.driver.pending.is_empty(),
            Source::Client => self.staged || self.queued() != 0,
        };
        let fence = self.submitted + 1;
        let refused = match waits {
            true => Some(packet),
            false => self.give(source, fence, packet).err(),
        };
        if let Some(packet) = refused {
            let pending = &mut self.lane(source).pending;
            pending
                .push((fence, packet))
                .map_err(|(_, packet)| packet)?;
        }
        self.submitted = fence;
        Ok(fence)
    }

    /// Gives a packet to the engine, or hands it back if `source` has no room there.
    #[inline(always)]
    fn give(&mut self, source: Source, fence: u64, packet: E::Packet) -> Result<(), E::Packet> {
        let lane = match source {
            Source::Driver => &mut self.driver,
            Source::Client => &mut self.clients,
        };
        match &mut self.engine {
            Some(engine) if !lane.dispatched.is_full() => engine.submit(packet, fence)?,
            _ => return Err(packet),
        }
        // Cannot fail: it is not full.
        let _ = lane.dispatched.push(fence);
        Ok(())
    }

    /// Dispatches pending packets to the engine while it takes them, those of the driver first.
    pub(super) fn dispatch(&mut self) {
        for source in [Source::Driver, Source::Client] {
            while let Some((fence, packet)) = self.lane(source).pending.pop() {
                if let Err(packet) = self.give(source, fence, packet) {
                    // Cannot fail: its place was made free just now.
                    let _ = self.lane(source).pending.unpop((fence, packet));
                    return;
                }
            }
        }
    }

    /// Publishes what was dispatched. Suppresses interrupts only if nothing is pending.
    pub(super) fn publish(&mut self, interrupt: Interrupt) -> Published {
        let interrupt = match self.queued() {
            0 => interrupt,
            _ => Interrupt::Wanted,
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

    /// Takes the oldest pending packet of a client, with its fence id. The submission thread gets
    /// the packets of the software node in this way, one at a time.
    pub(super) fn pop(&mut self) -> Option<(u64, E::Packet)> {
        let front = self.clients.pending.front();
        self.clients.dispatched.push(front?.0).ok()?;
        self.clients.pending.pop()
    }

    /// Records all packets as complete and returns the fence of the last one. The engine was
    /// stopped and reports nothing any more.
    pub(super) fn force_complete(&mut self) -> u64 {
        self.forced = self.submitted;
        self.stalled = false;
        for lane in [&mut self.driver, &mut self.clients] {
            while lane.dispatched.pop().is_some() {}
        }
        self.submitted
    }

    /// Takes a packet that never reached the engine but was [counted as
    /// complete](Self::force_complete).
    pub(super) fn cancel_one(&mut self) -> Option<E::Packet> {
        let driver = self.driver.pending.pop();
        let (_, packet) = driver.or_else(|| self.clients.pending.pop())?;
        Some(packet)
    }

    /// Returns whether the DPC is needed now, after the engine was polled; `completed` says whether
    /// packets completed.
    ///
    /// Context: lock of the message held.
    pub(crate) fn wants_dpc(&mut self, completed: bool) -> bool {
        let queued = self.queued() != 0;
        let Some(engine) = &mut self.engine else {
            return false;
        };
        // Waiters must not see as done what the DPC has not done yet.
        let with_dpc = engine.is_in_dpc() || queued;
        engine.needs_dpc() || (completed && with_dpc)
    }

    /// Records the completion of one packet, in any order. A fence that the engine does not have
    /// changes nothing.
    #[inline]
    pub(crate) fn complete(&mut self, fence: u64) {
        let is_it = |known: &u64| *known == fence;
        if self.driver.dispatched.take(is_it).is_none() {
            self.clients.dispatched.take(is_it);
        }
        self.completions = self.completions.wrapping_add(1);
        self.stalled = false;
    }

    /// Returns how many packets completed. Wraps.
    pub(super) fn completions(&self) -> u64 {
        self.completions
    }

    /// Returns the last fence that was [complete by force](Self::force_complete).
    pub(super) fn forced(&self) -> u64 {
        self.forced
    }

    /// Returns the fence ids of the oldest packets that the engine has, of each lane.
    pub(super) fn oldest_dispatched(&self) -> [Option<u64>; 2] {
        [&self.driver, &self.clients].map(|lane| lane.dispatched.front().copied())
    }

    /// Returns how many packets the engine has.
    pub(super) fn in_flight(&self) -> u64 {
        // CAST: never lossy.
        (self.driver.dispatched.len() + self.clients.dispatched.len()) as u64
    }

    /// Returns whether the engine has packets that it may complete.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight() != 0
            && self
                .engine
                .as_ref()
                .is_some_and(|engine| !engine.is_broken())
    }

    /// Returns whether an interrupt of the engine is on its way, or lost.
    pub(super) fn is_overdue(&self) -> bool {
        self.engine.as_ref().is_some_and(Engine::is_overdue)
    }

    /// Records whether the engine does not go on, until the next completion.
    pub(super) fn set_stalled(&mut self, stalled: bool) {
        self.stalled = stalled;
    }

    /// Returns whether the engine does not go on.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled
    }
}
