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
    Hardware,
    Node, //
};

use super::{
    set_up_queues,
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
        if let Some(registration) = &self.registration {
            registration.suspend_outputs()?;
        }
        self.stop_engines();
        Ok(())
    }

    /// Stops the device for good, before the system restarts.
    ///
    /// Context: process, lock of the device held.
    pub(crate) fn shutdown(&self) {
        if let Some(registration) = &self.registration {
            registration.shutdown_outputs();
        }
        self.stop_engines();
        // Others still run, and are told that there is no device any more.
        self.fences.stop();
    }

    /// Starts the device from its reset and restores everything: features, queues and interrupts,
    /// then the modes, and with them the scanouts, the cursors and the resources behind
    /// framebuffers, which get their pictures when they are shown. Then has the device asked anew
    /// what its scanouts wish.
    ///
    /// To be called after [`Self::suspend`], or what else stopped the engines and remembered the
    /// outputs. It does not matter whether the device was reset since.
    ///
    /// Errors: those of the steps. The device counts as broken then ([`EIO`] for waiters).
    ///
    /// Context: process, lock of the device held.
    pub(crate) fn restore(&self) -> Result {
        let started = self.start_engines().inspect_err(|_| {
            self.reset_or_cut_off();
            self.fences.fail();
        });
        // Also on a broken device, which takes no commands: DRM goes on with its state.
        let shown = match &self.registration {
            Some(registration) => registration.resume_outputs(),
            None => Ok(()),
        };
        self.adapter.miniport().call_watcher();
        started.and(shown)
    }

    /// Waits until the queues are drained, disconnects the messages, resets the device, and counts
    /// what it did not execute as complete. Nobody touches the device afterwards.
    ///
    /// If it does not reset it loses the bus. What it was given stays where it is in any case.
    fn stop_engines(&self) {
        self.drain();
        let mut guard = self.engines.lock();
        let engines = &mut *guard;
        engines.disconnect();
        // For those who have submitted and are about to ring a doorbell.
        rcu::synchronize_rcu();
        self.reset_or_cut_off();
        scheduler::force_complete(self.adapter.miniport(), &mut engines.states, &self.fences);
    }

    /// Resets the device; if that cannot be had, takes the bus from it.
    fn reset_or_cut_off(&self) {
        if self.transport().reset().is_err() {
            self.enabled.clear_master();
        }
    }

    /// Waits until all nodes are idle, at most 2 s in all.
    fn drain(&self) {
        let deadline = Monotonic::ktime_get().saturating_add(DRAIN_TIMEOUT_NS);
        for node in Node::ALL {
            let fences = scheduler::query_current_fence(&*self.adapter, node);
            let waited = match fences {
                Ok((_, submitted)) => self.fences.wait(node, submitted, deadline),
                Err(_) => return,
            };
            if waited.is_err() {
                return;
            }
        }
    }

    /// Undoes [`Self::stop_engines`]: negotiates the same features, and starts with empty queues
    /// and without resources.
    fn start_engines(&self) -> Result {
        let gpu = self.adapter.miniport();
        self.enabled.set_master();
        let features = gpu.transport().negotiate()?;
        if features.driver != gpu.features().driver {
            dev_err!(self.pdev, "device has other features than before\n");
            return Err(EIO);
        }
        if let Some(display) = &self.display {
            display.forget();
        }

        let mut guard = self.engines.lock();
        let engines = &mut *guard;
        for state in &mut engines.states {
            state.restart()?;
        }
        set_up_queues(&self.adapter, &mut engines.states)?;
        let interrupts = engines.interrupts.as_mut().ok_or(ENODEV)?;
        interrupts.connection.connect(&mut engines.states)?;
        drop(guard);

        gpu.transport().driver_ok();
        self.fences.repaired();
        gpu.wake_submission_thread();
        Ok(())
    }
}
