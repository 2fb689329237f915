// SPDX-License-Identifier: GPL-2.0

//! System sleep and shutdown: what stops a started device for a while or for good, and
//! [`StartedDevice::restore`], which has one that was reset do again all that it did before.
//!
//! A device that sleeps forgets its queues, its resources and what its scanouts show. The driver
//! keeps the first in memory that is its own, DRM keeps the rest: the framebuffers with their
//! pictures, and the state that was last committed.
//!
//! While the device is stopped its messages are disconnected: synchronised routines answer
//! `STATUS_UNSUCCESSFUL`, and nothing that would submit gets to a doorbell.

use kernel::{
    prelude::*,
    sync::rcu,
    time::{
        ClockSource,
        Monotonic, //
    },
};

use crate::scheduler::{
    self,
    Fences,
    Hardware,
    Node, //
};

use super::{
    engines::{
        set_up_queues,
        Engines,
        Rings, //
    },
    StartedDevice, //
};

/// How long the queues may take to drain, in nanoseconds.
const DRAIN_TIMEOUT_NS: i64 = 2_000_000_000;

impl StartedDevice<'_> {
    /// Stops the device, whose outputs are remembered, until [`Self::restore`].
    ///
    /// Errors: those of switching the outputs off; the device goes on then.
    ///
    /// Context: process, user space frozen (suspend, hibernation), lock of the device held.
    pub(crate) fn suspend(&self) -> Result {
        self.registration.suspend_outputs()?;
        self.engines.stop(&self.waiters.0);
        Ok(())
    }

    /// Stops the device for good, before the system restarts.
    ///
    /// Context: process, lock of the device held.
    pub(crate) fn shutdown(&self) {
        self.registration.shutdown_outputs();
        self.engines.stop(&self.waiters.0);
        // Others still run, and are told that there is no device any more.
        self.waiters.0.unplug();
    }

    /// Starts the device from its reset and restores everything: features, queues and interrupts,
    /// then the modes, and with them the scanouts, the cursors and the resources behind
    /// framebuffers, which are transferred again when shown. Finally requests fresh display
    /// information.
    ///
    /// Called after [`Self::suspend`], or after anything else that stopped the engines and
    /// remembered the outputs. It does not matter whether the device was reset since.
    ///
    /// Errors: those of the steps. The device counts as broken then ([`EIO`] for waiters).
    ///
    /// Context: process, lock of the device held.
    pub(crate) fn restore(&self) -> Result {
        let fences = &self.waiters.0;
        let forget = || self.display.forget();
        let started = self.engines.restart(fences, forget).inspect_err(|_| {
            self.engines.reset_or_cut_off();
            fences.wedge();
        });
        // Also on a broken device, which takes no commands: DRM goes on with its state.
        let shown = self.registration.resume_outputs();
        self.engines.adapter.miniport().display_event().signal();
        started.and(shown)
    }
}

impl Engines<'_> {
    /// Waits until the queues are drained, disconnects the messages, resets the device, and counts
    /// what it did not execute as complete. Nobody touches the device afterwards.
    ///
    /// If it does not reset it loses the bus. What it was given stays where it is in any case.
    fn stop(&self, fences: &Fences) {
        self.drain(fences);
        let mut rings = self.rings.lock();
        rings.disconnect();
        // For callers that have submitted and are about to notify the device.
        rcu::synchronize_rcu();
        self.reset_or_cut_off();
        scheduler::force_complete(self.adapter.miniport(), &mut rings.states, fences);
    }

    /// Resets the device; if that fails, takes the bus from it.
    fn reset_or_cut_off(&self) {
        if self.transport().reset().is_err() {
            self.enabled.clear_master();
        }
    }

    /// Waits until all nodes are idle, at most 2 s in all.
    fn drain(&self, fences: &Fences) {
        let deadline = Monotonic::ktime_get().saturating_add(DRAIN_TIMEOUT_NS);
        for node in Node::ALL {
            let waited = match scheduler::query_current_fence(&*self.adapter, node) {
                Ok((_, submitted)) => fences.wait(node, submitted, deadline),
                Err(_) => return,
            };
            if waited.is_err() {
                return;
            }
        }
    }

    /// Undoes [`Self::stop`]: negotiates the same features, and starts with empty queues and
    /// without resources. Calls `forget` when the device has reset and knows nothing any more.
    fn restart(&self, fences: &Fences, forget: impl FnOnce()) -> Result {
        let gpu = self.adapter.miniport();
        self.enabled.set_master();
        let features = gpu.transport().negotiate()?;
        if features.driver != gpu.features().driver {
            dev_err!(gpu.device(), "device has other features than before\n");
            return Err(EIO);
        }
        forget();

        let mut guard = self.rings.lock();
        let Rings { interrupts, states } = &mut *guard;
        for state in states.iter_mut() {
            state.restart()?;
        }
        set_up_queues(&self.adapter, states)?;
        interrupts.connection.connect(states)?;
        drop(guard);

        gpu.transport().driver_ok();
        fences.unwedge();
        gpu.submission_event().signal();
        Ok(())
    }
}
