// SPDX-License-Identifier: GPL-2.0

//! [`StartedDevice::suspend`] stops a device for a while, [`StartedDevice::shutdown`] for good, and
//! [`StartedDevice::restore`] starts a suspended one again, with all that it showed.
//!
//! A device that sleeps forgets its queues, its resources and what its scanouts show. The driver
//! keeps the queues, in its own memory. DRM keeps the rest: the framebuffers with their pictures,
//! and the state that was last committed.
//!
//! While the device is stopped its messages are disconnected: synchronised routines answer
//! `STATUS_UNSUCCESSFUL`, and no submitter kicks the device.

use kernel::{
    drm::wedge::Recovery,
    prelude::*,
    sync::{
        atomic::Relaxed,
        rcu, //
    },
    system_state::SystemState,
    time::{
        delay::fsleep,
        ClockSource,
        Delta,
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

/// How long the device may complete nothing while the queues drain, in nanoseconds.
const DRAIN_STALL_NS: i64 = 100_000_000;

/// How often the drain looks, in milliseconds.
const DRAIN_POLL_MS: i64 = 1;

/// How long the last frame may take before the system ends, in nanoseconds.
const LAST_FRAME_TIMEOUT_NS: i64 = 200_000_000;

impl StartedDevice<'_> {
    /// Saves the state of the outputs and stops the device, until [`Self::restore`].
    ///
    /// A device that is stuck counts as broken from here on, until [`Self::restore`].
    ///
    /// Errors: those of switching the outputs off; the device is then not stopped.
    ///
    /// Context: process, user space frozen (suspend, hibernation), lock of the device held.
    pub(crate) fn suspend(&self) -> Result {
        let fences = &self.waiters.fences;
        let worked = self.engines.forbid_recovery(fences);
        // The host forgets all of 3D, and no commit has to wait for it.
        scheduler::cancel_render(&*self.engines.adapter);
        // The outputs are switched off when the events of their last flips were sent. Those of a
        // stuck device would take long; a broken one holds nobody up.
        let stuck = !self.engines.drain() && fences.wedge();
        self.registration.suspend_outputs().inspect_err(|_| {
            if stuck {
                fences.unwedge();
            }
            self.engines.allow_recovery(worked);
        })?;
        self.engines.stop(fences);
        Ok(())
    }

    /// Lets go of the device for good, before the system ends. Frees nothing that the device uses.
    ///
    /// If the system restarts, also by kexec, the device is reset. If it halts or the power goes
    /// off, the device is left running: the last messages stay on its screens.
    ///
    /// Context: process, lock of the device held.
    pub(crate) fn shutdown(&self) {
        self.await_last_frame();
        // User space still runs. All its waits end, and nobody submits more.
        let fences = &self.waiters.fences;
        fences.unplug();
        match SystemState::current() {
            SystemState::Halt | SystemState::PowerOff => self.engines.let_go(fences, || {}),
            _ => self.engines.stop(fences),
        }
    }

    /// Waits until the screens show what was drawn last, at most 0.2 s. Not on a device that is
    /// broken or found stalled.
    fn await_last_frame(&self) {
        let fences = &self.waiters.fences;
        let deadline = Monotonic::ktime_get().saturating_add(LAST_FRAME_TIMEOUT_NS);
        while fences.check().is_ok()
            && !fences.is_stalled()
            && (self.registration.is_console_drawing() || !self.display.is_shown())
            && Monotonic::ktime_get() < deadline
        {
            // WAIT: last-frame
            fsleep(Delta::from_millis(DRAIN_POLL_MS));
            self.display.poll();
        }
    }

    /// Resets the device, starts it and restores everything. Features, queues and interrupts come
    /// first, then the modes, and with them the scanouts, the cursors and the resources behind
    /// framebuffers. Framebuffers are transferred again when they are shown. Finally requests fresh
    /// display information.
    ///
    /// Call it after [`Self::suspend`], or after anything else that stopped the engines and saved
    /// the state of the outputs. It does not matter whether the device was reset since.
    ///
    /// Errors: those of the steps. The device then counts as broken ([`EIO`] for waiters).
    ///
    /// Context: process, lock of the device held.
    pub(crate) fn restore(&self) -> Result {
        let fences = &self.waiters.fences;
        let started = self.engines.restart(fences).inspect_err(|_| {
            let remedy = self.engines.reset_and_cut_off();
            fences.wedge();
            self.engines.tell_wedged(remedy);
        });
        // Also on a broken device, which takes no commands: DRM needs its state back.
        let shown = self.registration.resume_outputs();
        self.engines.adapter.miniport().display_event().signal();
        started.and(shown)
    }
}

impl Engines<'_> {
    /// Waits until the queues of a device that works are drained, disconnects the messages, resets
    /// the device, and counts the packets that are left as complete. Nobody touches the device
    /// afterwards.
    ///
    /// Takes the bus from the device. The memory that the device was given is kept.
    pub(super) fn stop(&self, fences: &Fences) {
        if fences.check().is_ok() {
            self.drain();
        }
        self.let_go(fences, || {
            self.reset_and_cut_off();
        });
    }

    /// Disconnects the messages, calls `stop`, and counts the packets that are left as complete.
    /// Nobody touches the device afterwards. The memory that the device was given is kept.
    pub(super) fn let_go(&self, fences: &Fences, stop: impl FnOnce()) {
        let mut rings = self.rings.lock();
        self.disconnect(&mut rings);
        stop();
        scheduler::force_complete(self.adapter.miniport(), &mut rings.states, fences);
    }

    /// Forbids to reset a device that hangs, after a reset that is under way. Returns whether the
    /// device works, as far as is known.
    ///
    /// Context: process.
    pub(super) fn forbid_recovery(&self, fences: &Fences) -> bool {
        let _rings = self.rings.lock();
        // Before that: a ring that breaks after it makes the device count as broken.
        let works = fences.check().is_ok();
        self.adapter.miniport().watchdog().set_can_recover(false);
        works
    }

    /// Allows to reset a device that hangs. One that `worked` when that was forbidden, and broke
    /// since, is reset now.
    ///
    /// Context: process.
    pub(super) fn allow_recovery(&self, worked: bool) {
        let _rings = self.rings.lock();
        let gpu = self.adapter.miniport();
        gpu.watchdog().set_can_recover(true);
        if worked {
            gpu.report_late(&self.adapter);
        }
    }

    /// Disconnects the messages. Nobody but the caller touches the device afterwards.
    ///
    /// Context: process, not the DPC.
    pub(super) fn disconnect(&self, rings: &mut Rings<'_>) {
        rings.disconnect();
        // Waits for callers that have submitted and are about to kick the device.
        // WAIT: submitters
        rcu::synchronize_rcu();
    }

    /// Resets the device and takes the bus from it, also if the reset fails: a later start restores
    /// what the device had, and must not give it the bus before its next reset. Its memory is kept
    /// for that, so nothing is abandoned.
    ///
    /// Returns what may revive the device if the driver gives it up.
    pub(super) fn reset_and_cut_off(&self) -> Recovery {
        // On failure the device has lost the bus as well.
        let reset = self.transport().reset();
        self.enabled.clear_master();
        match reset {
            Ok(()) => Recovery::Rebind,
            Err(_) => Recovery::BusReset,
        }
    }

    /// Waits until all nodes but the render node are idle, as long as packets complete, and at most
    /// 2 s. Returns whether they are idle.
    ///
    /// No signal ends this: the packets would count as complete, and were not executed.
    fn drain(&self) -> bool {
        let begin = Monotonic::ktime_get();
        let (mut progress, mut last) = (begin, 0);
        loop {
            let Ok((completed, busy)) = self.progress() else {
                return false;
            };
            let now = Monotonic::ktime_get();
            if completed != last {
                (progress, last) = (now, completed);
            }
            if !busy || now - progress > DRAIN_STALL_NS || now - begin > DRAIN_TIMEOUT_NS {
                return !busy;
            }
            // WAIT: drain
            fsleep(Delta::from_millis(DRAIN_POLL_MS));
        }
    }

    /// Returns how many packets all nodes but the render node have completed, and whether there are
    /// others. What that node has may take hours, and the host forgets it.
    fn progress(&self) -> Result<(u64, bool)> {
        let mut progress = (0, false);
        for node in Node::ALL.into_iter().filter(|node| *node != Node::Render) {
            let found = scheduler::query_current_fence(&*self.adapter, node)?;
            progress.0 += found.completed;
            progress.1 |= found.is_busy();
        }
        Ok(progress)
    }

    /// Undoes [`Self::stop`]: resets the device, and starts it as [`Self::start_again`] does. It
    /// may be reset from here on if it hangs, unless it is probed.
    ///
    /// Errors: those of the steps. No recovery is allowed then, and the caller has the device count
    /// as broken. Context: process.
    pub(super) fn restart(&self, fences: &Fences) -> Result {
        let mut rings = self.rings.lock();
        let watchdog = self.adapter.miniport().watchdog();
        self.negotiate()?;
        // What broke before is no more.
        watchdog.take_broken();
        rings.last_reset = None;
        rings.is_awaited = false;
        // Before the start: a device that counts as broken is told nothing, and one that breaks at
        // once is reported at once, and not again. It is reset when `rings` is free.
        fences.unwedge();
        watchdog.set_can_recover(self.started.load(Relaxed));
        self.start_again(&mut rings)
            .inspect_err(|_| watchdog.set_can_recover(false))?;
        self.wedged.store(false, Relaxed);
        drop(rings);
        fences.submission_event().signal();
        Ok(())
    }

    /// Resets the device, negotiates the same features, whatever else it offers now, and gives it
    /// the bus.
    ///
    /// Errors: [`EIO`] if the device lacks one that it had before, and those of
    /// [`Transport::negotiate`](crate::transport::Transport::negotiate). Context: process, the
    /// messages disconnected.
    pub(super) fn negotiate(&self) -> Result {
        let gpu = self.adapter.miniport();
        let features = gpu.transport().negotiate(Some(gpu.features()))?;
        // Not before the reset, which ends what the device was doing.
        self.enabled.set_master();
        if features.driver != gpu.features().driver {
            dev_err!(gpu.device(), "device has fewer features than before\n");
            return Err(EIO);
        }
        Ok(())
    }

    /// Starts a device that was reset, with empty queues and without resources, and tells it what
    /// its screens should show.
    ///
    /// Errors: those of the steps. Context: process, after [`Self::negotiate`].
    pub(super) fn start_again(&self, rings: &mut Rings<'_>) -> Result {
        let gpu = self.adapter.miniport();
        let deferred = gpu.deferred();
        if let Some(deferred) = deferred {
            deferred.reset(&self.adapter);
        }
        let Rings {
            interrupts, states, ..
        } = rings;
        for state in states.iter_mut() {
            state.restart()?;
        }
        set_up_queues(&self.adapter, states)?;
        interrupts.connection.connect(states)?;
        gpu.transport().driver_ok();
        self.kick_early()?;
        if let Some(deferred) = deferred {
            deferred.restart(&self.adapter);
        }
        Ok(())
    }

    /// Kicks the device for packets that were published before DRIVER_OK, when it may ignore kicks.
    fn kick_early(&self) -> Result {
        let gpu = self.adapter.miniport();
        for node in Node::ENGINES {
            let published = self
                .adapter
                .synchronize_execution(gpu.message_of(node), |state| {
                    state
                        .virtqueue(node)
                        .is_some_and(|queue| queue.info().in_flight != 0)
                })?;
            if published {
                gpu.kick(node);
            }
        }
        Ok(())
    }
}
