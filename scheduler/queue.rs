// SPDX-License-Identifier: GPL-2.0

//! A node's engine and the packets on their way to it.

use kernel::prelude::*;

use crate::scheduler::{
    fence::FenceTracker,
    fifo::Fifo, //
};

/// An engine that executes packets, as the scheduler sees it.
pub(crate) trait Engine: Send {
    /// What the engine executes.
    type Packet: Send;

    /// Gives a packet with its fence id to the engine, or hands it back.
    ///
    /// Not visible to the engine before [`Engine::publish`]. Context: lock of the message held.
    fn submit(&mut self, packet: Self::Packet, fence: u64) -> Result<(), Self::Packet>;

    /// Makes what was submitted visible. Returns whether the doorbell has to be rung.
    ///
    /// If this is to be `quiet` the engine need not interrupt when it is done: somebody is going to
    /// look.
    ///
    /// Context: lock of the message held.
    fn publish(&mut self, quiet: bool) -> bool;

    /// Returns whether the engine does not interrupt, until somebody has looked.
    ///
    /// Context: lock of the message held.
    fn is_quiet(&self) -> bool;
}

/// Packets a node queues while its engine has no room.
const QUEUE_DEPTH: usize = 512;

/// How many of these places packets of clients leave to the driver's own.
pub(super) const RESERVED: usize = 128;

/// The submission half of a node. Lives in the lock of the node's message.
pub(crate) struct NodeQueue<E: Engine> {
    /// The engine; [`None`] for the software node, whose packets all go to the submission thread.
    pub(crate) engine: Option<E>,
    /// Last fence id handed out.
    submitted: u64,
    /// Last fence id given to the engine: those after it are in `pending`, in order.
    given: u64,
    pending: Fifo<E::Packet>,
    tracker: FenceTracker,
    /// The DPC is to run when a packet completes.
    awaited: bool,
}

impl<E: Engine> NodeQueue<E> {
    /// Makes the queue of a node with `engine`.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn new(engine: Option<E>) -> Result<Self> {
        Ok(Self {
            engine,
            submitted: 0,
            given: 0,
            pending: Fifo::new(QUEUE_DEPTH)?,
            tracker: FenceTracker::new(),
            awaited: false,
        })
    }

    /// Returns the last fence id handed out.
    pub(crate) fn submitted(&self) -> u64 {
        self.submitted
    }

    /// Returns the number of packets that wait for the engine.
    pub(crate) fn queued(&self) -> usize {
        self.pending.len()
    }

    /// Returns the end of the completed prefix.
    pub(crate) fn completed(&self) -> u64 {
        self.tracker.completed()
    }

    /// Gives a packet its fence id and its place: in the engine if there is room and nothing
    /// waits before it, else in the queue, for the submission thread. Leaves `reserve` places of
    /// the queue free.
    ///
    /// Errors: the packet comes back if the queue is full.
    pub(super) fn submit(&mut self, packet: E::Packet, reserve: usize) -> Result<u64, E::Packet> {
        if self.pending.len() + reserve >= QUEUE_DEPTH {
            return Err(packet);
        }
        let fence = self.submitted + 1;
        let packet = match &mut self.engine {
            Some(engine) if self.given == self.submitted && self.tracker.in_window(fence) => {
                match engine.submit(packet, fence) {
                    Ok(()) => {
                        self.given = fence;
                        self.submitted = fence;
                        return Ok(fence);
                    }
                    Err(packet) => packet,
                }
            }
            _ => packet,
        };
        self.pending.push(packet)?;
        self.submitted = fence;
        Ok(fence)
    }

    /// Gives waiting packets to the engine while it takes them.
    pub(super) fn feed(&mut self) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        while self.tracker.in_window(self.given + 1) {
            let Some(packet) = self.pending.pop() else {
                return;
            };
            match engine.submit(packet, self.given + 1) {
                Ok(()) => self.given += 1,
                Err(packet) => {
                    // Cannot fail: its place was made free just now.
                    let _ = self.pending.unpop(packet);
                    return;
                }
            }
        }
    }

    /// Publishes what was fed. Returns whether the doorbell has to be rung, and whether there is a
    /// need to look now, as the engine does not interrupt: not all of it may be `quiet`.
    pub(super) fn publish(&mut self, quiet: bool) -> (bool, bool) {
        let quiet = quiet && self.pending.is_empty();
        self.engine.as_mut().map_or((false, false), |engine| {
            let ring = engine.publish(quiet);
            (ring, !quiet && engine.is_quiet())
        })
    }

    /// Takes the oldest waiting packet, with its fence id: the submission thread's way to execute
    /// packets of the software node.
    pub(super) fn take(&mut self) -> Option<(u64, E::Packet)> {
        let packet = self.pending.pop()?;
        self.given += 1;
        Some((self.given, packet))
    }

    /// Records the completion of all packets, and returns the fence of the last one: the engine was
    /// stopped and says nothing of them any more.
    pub(super) fn complete_all(&mut self) -> u64 {
        self.tracker.record_all(self.submitted);
        self.submitted
    }

    /// Takes a packet that never reached the engine, and was [counted as
    /// complete](Self::complete_all) all the same.
    pub(super) fn take_lost(&mut self) -> Option<E::Packet> {
        self.given = self.submitted;
        self.pending.pop()
    }

    /// Returns whether `fence` is not complete yet. Then the DPC runs at the next completion.
    pub(super) fn call_back(&mut self, fence: u64) -> bool {
        let waits = fence > self.completed();
        self.awaited |= waits;
        waits
    }

    /// Returns, after a completion, whether the DPC [is to run](Self::call_back) for it.
    pub(crate) fn take_awaited(&mut self) -> bool {
        core::mem::take(&mut self.awaited)
    }

    /// Records the completion of one packet.
    pub(crate) fn complete(&mut self, fence: u64) {
        self.tracker.record(fence);
    }
}
