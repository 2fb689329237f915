// SPDX-License-Identifier: GPL-2.0

//! An [`Engine`] executes the packets of a node.

use super::Node;

/// An engine that executes packets, as the scheduler sees it.
pub(crate) trait Engine: Send {
    /// What the engine executes.
    type Packet: Send;

    /// What is left of packets of the render node that have ended.
    type Remains: Send;

    /// Has the device answer a packet of the render node only when the work of its GPU is done.
    ///
    /// Context: any.
    fn set_fenced(_packet: &mut Self::Packet) {}

    /// Returns how many packets it takes at a time, at the most.
    fn capacity(&self) -> usize;

    /// The packets that it gets from now on are of `node`, whose ids they have.
    ///
    /// Context: lock of the message held.
    fn set_node(&mut self, _node: Node) {}

    /// Takes a packet with its submission id, or hands it back if there is no room. The device does
    /// not see the packet before [`Engine::publish`].
    ///
    /// Context: lock of the message held.
    fn submit(&mut self, packet: Self::Packet, id: u64) -> Result<(), Self::Packet>;

    /// Returns whether it has room for this packet of the render node.
    ///
    /// Context: lock of the message held.
    fn has_room_for(&self, packet: &Self::Packet) -> bool;

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

    /// Takes what is left of packets of the render node that have ended. It is dropped in process
    /// context, no message lock held; until then it takes memory.
    ///
    /// Context: lock of the message held.
    fn take_remains(&mut self) -> Self::Remains;

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

/// Returns how many packets of clients an engine may have at a time, if it takes `capacity`
/// packets. The rest is for the driver: 16 of 64, 32 of 256.
pub(crate) fn client_share(capacity: usize) -> usize {
    let driver = (capacity / 8).max(16).min(capacity.div_ceil(4));
    (capacity - driver).max(1)
}
