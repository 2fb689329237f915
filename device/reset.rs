// SPDX-License-Identifier: GPL-2.0

//! How a device is reset that does not confirm the reset of its status: by its PCI function. And
//! what the driver does when somebody else resets that, such as a user who writes to `reset` in
//! sysfs.

use kernel::{
    prelude::*,
    sync::atomic::Relaxed,
    task::Task,
    time::{
        delay::fsleep,
        ClockSource,
        Delta,
        Monotonic, //
    },
};

use crate::scheduler::Fences;

use super::{
    engines::Engines,
    StartedDevice, //
};

/// How long a reset of the function waits for the lock of the device, in nanoseconds.
const LOCK_TIMEOUT_NS: i64 = 1_000_000_000;

/// How often it tries, in milliseconds.
const LOCK_POLL_MS: i64 = 10;

impl Engines<'_> {
    /// Resets the device by its status. If it does not confirm that, resets its PCI function, if
    /// that can be reset, and then the status once more: also without a reset of the function, as
    /// the host may only be slow, unless the device is removed meanwhile.
    ///
    /// Errors: those of the last step; the device may still use its memory then.
    ///
    /// Context: process, the messages disconnected.
    pub(super) fn reset(&self, fences: &Fences) -> Result {
        match self.transport().reset() {
            // One that is gone has no function either.
            Err(error) if error == ETIMEDOUT => {
                if self.reset_function(fences).is_err() {
                    fences.check()?;
                }
                self.transport().reset()
            }
            result => result,
        }
    }

    /// Resets the PCI function.
    ///
    /// Errors: [`EAGAIN`] if somebody else has the lock of the device, for a second or while the
    /// device is removed: it must not be waited for, as they may wait for the caller. Those of
    /// [`try_reset_function`](kernel::pci::Device::try_reset_function).
    fn reset_function(&self, fences: &Fences) -> Result {
        let begin = Monotonic::ktime_get();
        self.resetter.store(current_task(), Relaxed);
        let result = loop {
            // WAIT: function-reset
            let result = self.enabled.device().try_reset_function();
            if result != Err(EAGAIN)
                || fences.check().is_err()
                || Monotonic::ktime_get() - begin > LOCK_TIMEOUT_NS
            {
                break result;
            }
            // WAIT: function-reset
            fsleep(Delta::from_millis(LOCK_POLL_MS));
        };
        self.resetter.store(0, Relaxed);
        result
    }

    /// Returns whether the caller is inside of [`Self::reset_function`].
    fn is_own_reset(&self) -> bool {
        // Relaxed: the same thread has stored it, or it is the number of another one.
        self.resetter.load(Relaxed) == current_task()
    }
}

/// Returns a number that no other thread has now; never 0.
fn current_task() -> usize {
    Task::current_raw().addr()
}

impl StartedDevice<'_> {
    /// Stops the device, as somebody resets its function. Does nothing if that is the driver.
    ///
    /// Packets count as complete, as in every reset.
    ///
    /// Context: process, lock of the device held.
    pub(crate) fn prepare_function_reset(&self) {
        let (engines, fences) = (&self.engines, &self.waiters.fences);
        if engines.is_own_reset() || fences.is_unplugged() {
            return;
        }
        engines.forbid_recovery(fences);
        engines.let_go(fences, || {
            engines.reset_and_cut_off();
        });
    }

    /// Starts the device again, and lets its screens follow, after somebody has reset its function.
    /// Does nothing if that was the driver. Logs one line.
    ///
    /// It does not count for the limit: the device has not hung. One that was given up is revived.
    ///
    /// Context: process, lock of the device held.
    pub(crate) fn finish_function_reset(&self) {
        let (engines, fences) = (&self.engines, &self.waiters.fences);
        if engines.is_own_reset() || fences.is_unplugged() {
            return;
        }
        let dev = engines.adapter.miniport().device();
        match engines.restart(fences) {
            Ok(()) => dev_info!(dev, "function was reset: restored\n"),
            Err(_) => {
                let remedy = engines.reset_and_cut_off();
                fences.wedge();
                dev_err!(dev, "function was reset: given up\n");
                engines.tell_wedged(remedy);
            }
        }
        engines.wake(fences);
    }
}
