// SPDX-License-Identifier: GPL-2.0

//! What the clock, and [`blame`](crate::scheduler::blame()), want to know of the packets that an
//! engine has.

use kernel::sync::Arc;

use crate::scheduler::Client;

use super::{
    Engine,
    HandedOut,
    NodeQueue, //
};

/// A packet that the engine has.
pub(in crate::scheduler) struct Given<'a> {
    /// Its place in the order in which the engine got them.
    pub(in crate::scheduler) position: u64,
    /// Of which client it is; [`None`] for the driver.
    pub(in crate::scheduler) client: Option<&'a Arc<Client>>,
    /// No clock runs for it.
    pub(in crate::scheduler) open: bool,
}

impl<E: Engine> NodeQueue<E> {
    /// Returns how many packets ended. Wraps.
    pub(in crate::scheduler) fn completions(&self) -> u64 {
        self.completions
    }

    /// Returns the last submission id that was [complete by force](Self::force_complete).
    pub(in crate::scheduler) fn forced(&self) -> u64 {
        self.forced
    }

    /// Returns the submission ids of the oldest packets that the engine has and for which the clock
    /// runs: of the driver, and of clients.
    pub(in crate::scheduler) fn oldest_dispatched(&self) -> [Option<u64>; 2] {
        let mut clients = self.clients_in_engine();
        [
            self.kernel_flight.front().map(|packet| packet.id),
            clients.find(|packet| !packet.open).map(|packet| packet.id),
        ]
    }

    /// Returns the packets of clients that the engine has, the oldest first.
    fn clients_in_engine(&self) -> impl Iterator<Item = &HandedOut> {
        let count = self.handed_out.len() - self.staged.len();
        self.handed_out.iter().take(count)
    }

    /// Returns the packets that the engine has, in no particular order.
    pub(in crate::scheduler) fn in_engine(&self) -> impl Iterator<Item = Given<'_>> {
        let kernel = self.kernel_flight.iter().map(|packet| Given {
            position: packet.position,
            client: None,
            open: false,
        });
        Iterator::chain(
            kernel,
            self.clients_in_engine().map(|packet| Given {
                position: packet.position,
                client: self.contexts.client(packet.context),
                open: packet.open,
            }),
        )
    }

    /// Returns the position of the newest packet that ended.
    pub(in crate::scheduler) fn answered(&self) -> u64 {
        self.answered
    }

    /// Records at which packets the engine hangs, by their positions, from and to: all of one
    /// client.
    pub(in crate::scheduler) fn set_suspects(&mut self, suspects: (u64, u64)) {
        self.suspects = Some(suspects);
    }

    /// Lets no clock run for the next `count` packets that clients submit. Only tests ask for that.
    pub(crate) fn set_next_open(&mut self, count: u64) {
        self.next_open = count;
    }

    /// Returns for how many of those that come next no clock will run.
    pub(crate) fn next_open(&self) -> u64 {
        self.next_open
    }

    /// Returns whether the engine has packets for which no clock runs.
    pub(in crate::scheduler) fn has_open(&self) -> bool {
        self.open != 0
    }

    /// Returns how many packets the engine has for which the clock runs.
    pub(in crate::scheduler) fn bounded(&self) -> u64 {
        self.in_flight() - self.open
    }

    /// Returns how many packets the engine has, or the submission thread.
    pub(in crate::scheduler) fn in_flight(&self) -> u64 {
        let clients = self.handed_out.len() - self.staged.len();
        // CAST: never lossy.
        (self.kernel_flight.len() + clients) as u64
    }

    /// Returns whether the engine has packets that it should complete in time.
    pub(in crate::scheduler) fn is_busy(&self) -> bool {
        self.bounded() != 0 && self.is_working()
    }

    /// Returns whether there is an engine that executes packets.
    pub(in crate::scheduler) fn is_working(&self) -> bool {
        let engine = self.engine.as_ref();
        engine.is_some_and(|engine| !engine.is_broken())
    }

    /// Returns whether an interrupt of the engine is on its way, or lost.
    pub(in crate::scheduler) fn is_overdue(&self) -> bool {
        self.engine
            .as_ref()
            .is_some_and(|engine| engine.is_overdue())
    }

    /// Records whether the engine does not go on, until the next completion.
    pub(in crate::scheduler) fn set_stalled(&mut self, stalled: bool) {
        self.stalled = stalled;
    }

    /// Returns whether the engine does not go on.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled
    }
}
