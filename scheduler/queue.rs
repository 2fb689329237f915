// SPDX-License-Identifier: GPL-2.0

//! [`NodeQueue`] gives packets their fence ids and dispatches them to the [`Engine`] of a node.

use kernel::prelude::*;

use crate::scheduler::{
    fence::FenceTracker,
    fifo::Fifo, //
};

/// An engine that executes packets, as the scheduler sees it.
pub(crate) trait Engine: Send {
    /// What the engine executes.
    type Packet: Send;

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

/// Most packets that a node queues while its engine has no room.
const QUEUE_DEPTH: usize = 512;

/// Places of the queue that packets of clients leave free, for those of the driver.
pub(super) const RESERVED: usize = 128;

/// The submission half of a node. Lives in the lock of the node's message.
pub(crate) struct NodeQueue<E: Engine> {
    /// The engine; [`None`] for the software node, whose packets all go to the submission thread.
    pub(crate) engine: Option<E>,
    /// Last fence id handed out.
    submitted: u64,
    /// Last fence id dispatched to the engine. Those after it are in `pending`, in order.
    dispatched: u64,
    pending: Fifo<E::Packet>,
    tracker: FenceTracker,
    /// The DPC must run when a packet completes.
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
            dispatched: 0,
            pending: Fifo::new(QUEUE_DEPTH)?,
            tracker: FenceTracker::new(),
            awaited: false,
        })
    }

    /// Returns the last fence id handed out.
    pub(crate) fn submitted(&self) -> u64 {
        self.submitted
    }

    /// Returns the number of pending packets.
    pub(crate) fn queued(&self) -> usize {
        self.pending.len()
    }

    /// Returns the end of the completed prefix.
    pub(crate) fn completed(&self) -> u64 {
        self.tracker.completed()
    }

    /// Gives a packet its fence id and its place. The place is in the engine if there is room and
    /// no packet waits before it, else in the queue, for the submission thread. Leaves `reserve`
    /// places of the queue free.
    ///
    /// Errors: the packet comes back if the queue is full.
    pub(super) fn submit(&mut self, packet: E::Packet, reserve: usize) -> Result<u64, E::Packet> {
        if self.pending.len() + reserve >= QUEUE_DEPTH {
            return Err(packet);
        }
        let fence = self.submitted + 1;
        let packet = match &mut self.engine {
            Some(engine) if self.dispatched == self.submitted && self.tracker.in_window(fence) => {
                match engine.submit(packet, fence) {
                    Ok(()) => {
                        self.dispatched = fence;
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

    /// Dispatches pending packets to the engine while it takes them.
    pub(super) fn dispatch(&mut self) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        while self.tracker.in_window(self.dispatched + 1) {
            let Some(packet) = self.pending.pop() else {
                return;
            };
            match engine.submit(packet, self.dispatched + 1) {
                Ok(()) => self.dispatched += 1,
                Err(packet) => {
                    // Cannot fail: its place was made free just now.
                    let _ = self.pending.unpop(packet);
                    return;
                }
            }
        }
    }

    /// Publishes what was dispatched. Suppresses interrupts only if nothing is pending.
    pub(super) fn publish(&mut self, interrupt: Interrupt) -> Published {
        let interrupt = match self.pending.is_empty() {
            true => interrupt,
            false => Interrupt::Wanted,
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

    /// Takes the oldest pending packet, with its fence id. The submission thread gets the packets
    /// of the software node in this way.
    pub(super) fn pop(&mut self) -> Option<(u64, E::Packet)> {
        let packet = self.pending.pop()?;
        self.dispatched += 1;
        Some((self.dispatched, packet))
    }

    /// Records all packets as complete and returns the fence of the last one. The engine was
    /// stopped and reports nothing any more.
    pub(super) fn force_complete(&mut self) -> u64 {
        self.tracker.record_all(self.submitted);
        self.submitted
    }

    /// Takes a packet that never reached the engine but was [counted as
    /// complete](Self::force_complete).
    pub(super) fn cancel_one(&mut self) -> Option<E::Packet> {
        self.dispatched = self.submitted;
        self.pending.pop()
    }

    /// Returns whether `fence` is not complete yet. If so, the next completion queues the DPC.
    pub(super) fn enable_signaling(&mut self, fence: u64) -> bool {
        let waits = fence > self.completed();
        self.awaited |= waits;
        waits
    }

    /// Returns whether the DPC is needed now, after the engine was polled; `completed` says whether
    /// packets completed.
    ///
    /// Context: lock of the message held.
    pub(crate) fn wants_dpc(&mut self, completed: bool) -> bool {
        let awaited = completed && core::mem::take(&mut self.awaited);
        let queued = self.queued() != 0;
        let Some(engine) = &mut self.engine else {
            return false;
        };
        // Waiters must not see as done what the DPC has not done yet.
        let with_dpc = awaited || engine.is_in_dpc() || queued;
        engine.needs_dpc() || (completed && with_dpc)
    }

    /// Records the completion of one packet.
    pub(crate) fn complete(&mut self, fence: u64) {
        self.tracker.record(fence);
    }
}
