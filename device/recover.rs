// SPDX-License-Identifier: GPL-2.0

//! [`Engines::recover`] resets a device that hangs, starts it again, and lets its screens follow.
//! The thread of the watchdog runs it.
//!
//! What was under way counts as complete, and DRM does not notice: what the screens should show is
//! state, and the device is told all of it. No lock of DRM is taken and no event is sent.
//!
//! A device that does not come back, or hangs again and again, counts as broken: it has lost the
//! bus, and stays so until it is bound anew or the system has slept. User space gets one event.

use core::fmt;
use kernel::{
    drm::wedge::{
        Recovery,
        TaskInfo, //
    },
    kthread,
    prelude::*,
    sync::atomic::Relaxed,
    time::{
        msecs_to_jiffies,
        ClockSource,
        Monotonic,
        Msecs, //
    },
};

use crate::{
    ring::Broken,
    scheduler::{
        self,
        Fences,
        Guilty,
        Hang,
        Hardware,
        Level,
        Node,
        Policy, //
    },
};

use super::engines::{
    Engines,
    Rings, //
};

const NSEC_PER_MSEC: i64 = 1_000_000;

/// Most lines about resets within the time of the limit, if there is no limit.
const LINES: u32 = 5;

/// How long a device that was reset may answer nothing before it is reset once more, in
/// nanoseconds.
const RESET_AGAIN_NS: i64 = 300 * 1_000 * NSEC_PER_MSEC;

/// What happens to a device that hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is reset, and that counts.
    Hangs,
    /// It has answered nothing since its last reset: another one now is of no use.
    Waits,
    /// That goes on for long: it is reset, and that does not count.
    IsTriedAgain,
    /// It was waited for, and answers since the clock looked. If it hangs again the next tick finds
    /// that.
    GoesOn,
}

impl Verdict {
    /// Decides at the time `now` about a device that was reset at `last`, and whether it `answered`
    /// since. At the last tick it was `awaited`.
    fn new(hang: Hang, last: Option<i64>, answered: bool, awaited: bool, now: i64) -> Self {
        match (hang, last) {
            (Hang::Timeout(_), _) if answered && awaited => Self::GoesOn,
            (Hang::Timeout(_), Some(last)) if !answered => match now - last < RESET_AGAIN_NS {
                true => Self::Waits,
                false => Self::IsTriedAgain,
            },
            _ => Self::Hangs,
        }
    }
}

/// When a device was reset because it hung, as far as the limit needs that.
pub(super) struct History {
    /// In nanoseconds of CLOCK_MONOTONIC. The oldest one is replaced next.
    times: [Option<i64>; Policy::MAX_COUNT],
    next: usize,
}

impl History {
    /// It never was.
    pub(super) const fn new() -> Self {
        Self {
            times: [None; Policy::MAX_COUNT],
            next: 0,
        }
    }

    /// Returns how often it was, not longer ago than `span_ms`.
    fn count(&self, now: i64, span_ms: u32) -> u32 {
        let oldest = now.saturating_sub(i64::from(span_ms) * NSEC_PER_MSEC);
        let lately = |time: &&Option<i64>| time.is_some_and(|time| time >= oldest);
        // CAST: at most `MAX_COUNT`.
        self.times.iter().filter(lately).count() as u32
    }

    /// Returns when it was last.
    fn last(&self) -> Option<i64> {
        self.times.iter().flatten().max().copied()
    }

    pub(super) fn add(&mut self, now: i64) {
        if let Some(time) = self.times.get_mut(self.next) {
            *time = Some(now);
        }
        self.next = (self.next + 1) % self.times.len();
    }
}

/// Why a device hangs, for the log.
struct Cause {
    hang: Hang,
    /// The first queue that is broken.
    broken: Option<(Node, Broken)>,
    /// The client whose packet it hangs at.
    guilty: Option<Guilty>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.hang, &self.broken) {
            (Hang::Timeout(node), _) => write!(f, "{node:?} queue hangs"),
            (Hang::Reset, _) => f.write_str("device was reset"),
            (Hang::Broken, Some((node, cause))) => write!(f, "{node:?} queue is broken: {cause}"),
            (Hang::Broken, None) => f.write_str("queue is broken"),
        }?;
        match &self.guilty {
            Some(guilty) => write!(f, " at a packet of {guilty}"),
            None => Ok(()),
        }
    }
}

/// Returns how long a device is not reset again, in milliseconds, if it was `last` and hangs now.
/// Without a limit that is a tick of the clock: a device that breaks at once would otherwise be
/// reset without a pause.
fn pause_ms(policy: &Policy, last: Option<i64>, now: i64) -> Msecs {
    let passed = last.map_or(i64::MAX, |last| (now - last) / NSEC_PER_MSEC);
    match policy.limit_count {
        // CAST: more than 0, and at most a tick.
        0 => (i64::from(policy.delay_ms / 4) - passed).max(0) as Msecs,
        _ => 0,
    }
}

impl Engines<'_> {
    /// Waits until a device that hangs may be reset, at most for a tick of the clock. Returns
    /// whether the thread goes on.
    ///
    /// Context: process (the watchdog), no lock held.
    pub(super) fn pause(&self, thread: &kthread::Context) -> bool {
        let last = self.rings.lock().history.last();
        let policy = self.adapter.miniport().policy();
        let pause = pause_ms(&policy, last, Monotonic::ktime_get());
        // WAIT: pause
        pause == 0 || thread.sleep(msecs_to_jiffies(pause))
    }

    /// Resets a device that hangs, starts it again, and lets its screens follow. Logs one line.
    ///
    /// If the policy forbids that, or it fails, the device counts as broken ([`EIO`] for waiters).
    /// Does nothing if the device sleeps, is broken already, or is removed.
    ///
    /// Returns whether the device was started again.
    ///
    /// Context: process (the watchdog), no lock held.
    #[doc(alias = "DxgkDdiResetFromTimeout")]
    #[doc(alias = "DxgkDdiRestartFromTimeout")]
    pub(super) fn recover(&self, fences: &Fences, hang: Hang) -> bool {
        let gpu = self.adapter.miniport();
        let (policy, begin) = (gpu.policy(), Monotonic::ktime_get());
        let mut rings = self.rings.lock();
        // A ring broke when the level was another one: see below.
        let is_left_alone = policy.level == Level::Look && hang != Hang::Broken;
        if !gpu.watchdog().can_recover() || fences.check().is_err() || is_left_alone {
            return false;
        }
        let verdict = self.judge(hang, &policy, rings.last_reset, begin);
        match verdict {
            Verdict::Waits => {
                self.await_device(&mut rings);
                return false;
            }
            Verdict::GoesOn => {
                gpu.watchdog().set_waiting(false);
                return false;
            }
            Verdict::Hangs | Verdict::IsTriedAgain => {}
        }
        self.disconnect(&mut rings);
        // What the DPC reported, which does not run any more, is what this is about.
        gpu.watchdog().take_broken();
        let broken = self.broken_queue(&mut rings);
        let guilty = match broken {
            None => scheduler::blame(gpu, &mut rings.states, hang),
            Some(_) => None,
        };
        let cause = Cause {
            hang,
            broken,
            guilty,
        };
        let mut dump = core::mem::take(&mut rings.dump);
        self.collect(&mut dump, &mut rings.states, &cause, &policy);
        let count = rings.history.count(begin, policy.limit_ms);
        let counts = verdict == Verdict::Hangs;
        let limited = counts && policy.limit_count != 0 && count >= policy.limit_count;
        let restarted = match policy.level == Level::Recover && !limited {
            true => self.reset_and_start(&mut rings, fences),
            false => Err(self.reset_and_cut_off()),
        };
        match restarted {
            Ok(()) => rings.note_reset(begin, counts),
            Err(_) => self.declare_broken(&mut rings, fences),
        }
        gpu.watchdog().set_waiting(false);
        drop(rings);
        match restarted {
            Ok(()) => {
                self.wake(fences);
                if counts && (policy.limit_count != 0 || count < LINES) {
                    self.report(&cause, begin);
                    self.tell_guilty(&cause);
                }
            }
            Err(remedy) => {
                self.report_given_up(&cause, limited.then_some(count));
                self.tell_wedged(remedy);
            }
        }
        self.publish(&dump);
        self.rings.lock().dump = dump;
        restarted.is_ok()
    }

    /// Decides about a device that was reset at `last`.
    fn judge(&self, hang: Hang, policy: &Policy, last: Option<i64>, now: i64) -> Verdict {
        let awaited = self.adapter.miniport().watchdog().is_waiting();
        match policy.level {
            Level::Recover => Verdict::new(hang, last, self.has_answered(), awaited, now),
            _ => Verdict::Hangs,
        }
    }

    /// Returns whether the device has answered anything since it was started.
    fn has_answered(&self) -> bool {
        let gpu = self.adapter.miniport();
        Node::ENGINES.into_iter().any(|node| {
            let answered = self
                .adapter
                .synchronize_execution(gpu.message_of(node), |state| {
                    state.virtqueue(node).map_or(0, |queue| queue.answers())
                });
            answered.is_ok_and(|answers| answers != 0)
        })
    }

    /// Waits for a device that has answered nothing since its last reset: the clock looks at it and
    /// kicks it, and packets wait as on a slow one. Logs one line, the first time.
    fn await_device(&self, rings: &mut Rings<'_>) {
        let gpu = self.adapter.miniport();
        gpu.watchdog().set_waiting(true);
        if !core::mem::replace(&mut rings.is_awaited, true) {
            dev_warn!(
                gpu.device(),
                "device answers nothing since its reset: waiting for it\n"
            );
        }
    }

    /// Wakes those who found no room, or nobody to ask, while the device was reset.
    pub(super) fn wake(&self, fences: &Fences) {
        let gpu = self.adapter.miniport();
        fences.wake();
        fences.submission_event().signal();
        gpu.display_event().signal();
    }

    /// Logs why the device was reset, and how long that took since `begin`.
    fn report(&self, cause: &Cause, begin: i64) {
        let time = (Monotonic::ktime_get() - begin) / NSEC_PER_MSEC;
        // `dev_warn!` takes `kernel::fmt::Display`, and the cause has that of `core`.
        let cause = format_args!("{cause}");
        dev_warn!(
            self.adapter.miniport().device(),
            "{}: reset and restored in {} ms\n",
            cause,
            time
        );
    }

    /// Logs why the device is given up, if that is so, after how many resets.
    fn report_given_up(&self, cause: &Cause, resets: Option<u32>) {
        let dev = self.adapter.miniport().device();
        let cause = format_args!("{cause}");
        match resets {
            Some(count) => dev_err!(dev, "{}, after {} resets: given up\n", cause, count),
            None => dev_err!(dev, "{}: given up\n", cause),
        }
    }

    /// Resets the device, counts all packets as complete, and starts the device again.
    ///
    /// Nothing is allocated before the packets are complete.
    ///
    /// Errors: what user space may try. The device then has lost the bus, if it was not reset.
    fn reset_and_start(&self, rings: &mut Rings<'_>, fences: &Fences) -> Result<(), Recovery> {
        let reset = self.reset(fences);
        if reset.is_err() {
            self.enabled.clear_master();
        }
        scheduler::force_complete(self.adapter.miniport(), &mut rings.states, fences);
        reset.map_err(|_| Recovery::BusReset)?;
        let started = self.negotiate().and_then(|()| self.start_again(rings));
        started.map_err(|_| Recovery::Rebind)
    }

    /// Tells user space that the device is given up, and what may revive it: once, until the device
    /// is [started](Self::restart). Nobody is told of a device that is removed.
    ///
    /// Context: process, no lock held but that of the device.
    pub(super) fn tell_wedged(&self, remedy: Recovery) {
        if !self.wedged.xchg(true, Relaxed) {
            // Without memory for the event nobody is told, as the log is.
            let _ = self.drm.wedged_event(remedy, None);
        }
    }

    /// Tells user space whose packet made the device hang, which goes on. It may end that program.
    ///
    /// Context: as [`tell_wedged`](Self::tell_wedged).
    fn tell_guilty(&self, cause: &Cause) {
        if let Some(Guilty { pid, comm }) = cause.guilty {
            // As there.
            let _ = self
                .drm
                .wedged_event(Recovery::None, Some(&TaskInfo::new(pid, comm)));
        }
    }

    /// Takes the bus from the device, which counts as broken from here on. Its memory is kept.
    fn declare_broken(&self, rings: &mut Rings<'_>, fences: &Fences) {
        let gpu = self.adapter.miniport();
        self.disconnect(rings);
        self.enabled.clear_master();
        scheduler::force_complete(gpu, &mut rings.states, fences);
        for state in rings.states.iter_mut() {
            for node in Node::ENGINES {
                if let Some(queue) = state.virtqueue(node) {
                    queue.mark_broken(Broken::NeedsReset);
                }
            }
        }
        fences.wedge();
        let Rings {
            interrupts, states, ..
        } = rings;
        // Cannot fail: the states come from `disconnect`. So routines run as on any broken device.
        let _ = interrupts.connection.connect(states);
    }

    /// Returns the first queue that is broken, and why.
    fn broken_queue(&self, rings: &mut Rings<'_>) -> Option<(Node, Broken)> {
        Node::ENGINES.into_iter().find_map(|node| {
            let mut states = rings.states.iter_mut();
            let cause = states.find_map(|state| state.virtqueue(node)?.broken())?;
            Some((node, cause))
        })
    }
}

#[kunit_tests(rust_gpu_recover)]
mod tests {
    use super::*;
    use kernel::str::CString;

    const SECOND: i64 = 1_000 * NSEC_PER_MSEC;

    #[test]
    fn resets_are_counted_within_a_time() {
        let mut history = History::new();

        assert_eq!(history.count(0, 60_000), 0);
        for second in 1..=6 {
            history.add(second * SECOND);
        }
        assert_eq!(history.count(6 * SECOND, 60_000), 6);
        assert_eq!(history.count(6 * SECOND, 2_000), 3);
        assert_eq!(history.count(63 * SECOND, 60_000), 4);
        assert_eq!(history.count(67 * SECOND, 60_000), 0);
    }

    #[test]
    fn as_many_are_remembered_as_the_limit_needs() {
        let mut history = History::new();

        for second in 0..100 {
            history.add(second * SECOND);
        }
        assert_eq!(history.count(99 * SECOND, 3_600_000), 32);
        assert_eq!(history.count(99 * SECOND, 10_000), 11);
    }

    #[test]
    fn without_a_limit_there_is_a_pause() {
        let mut history = History::new();
        let policy = |limit_count| Policy {
            level: Level::Recover,
            delay_ms: 2_000,
            limit_count,
            limit_ms: 60_000,
        };

        assert_eq!(pause_ms(&policy(0), history.last(), SECOND), 0);
        for second in 1..=40 {
            history.add(second * SECOND);
        }
        let pause = |limit_count, now| pause_ms(&policy(limit_count), history.last(), now);
        assert_eq!(pause(0, 40 * SECOND), 500);
        assert_eq!(pause(0, 40 * SECOND + 499 * NSEC_PER_MSEC), 1);
        assert_eq!(pause(0, 41 * SECOND), 0);
        assert_eq!(pause(1, 40 * SECOND), 0);
    }

    #[test]
    fn a_device_that_is_silent_after_a_reset_is_waited_for() {
        let timeout = Hang::Timeout(Node::Control);
        let verdict = |hang, last: Option<i64>, answered, now: i64| {
            let last = last.map(|last| last * SECOND);
            Verdict::new(hang, last, answered, false, now * SECOND)
        };

        assert_eq!(verdict(timeout, None, false, 9), Verdict::Hangs);
        assert_eq!(verdict(timeout, Some(5), true, 9), Verdict::Hangs);
        assert_eq!(verdict(timeout, Some(5), false, 9), Verdict::Waits);
        assert_eq!(verdict(timeout, Some(5), false, 304), Verdict::Waits);
        assert_eq!(verdict(timeout, Some(5), false, 305), Verdict::IsTriedAgain);
        assert_eq!(verdict(timeout, Some(5), true, 305), Verdict::Hangs);
        assert_eq!(verdict(Hang::Reset, Some(5), false, 9), Verdict::Hangs);
        assert_eq!(verdict(Hang::Broken, Some(5), false, 9), Verdict::Hangs);
        let awaited = |hang, answered| Verdict::new(hang, Some(SECOND), answered, true, SECOND);
        assert_eq!(awaited(timeout, false), Verdict::Waits);
        assert_eq!(awaited(timeout, true), Verdict::GoesOn);
        assert_eq!(awaited(Hang::Reset, true), Verdict::Hangs);
    }

    #[test]
    fn the_cause_is_told() {
        let told = |hang, broken, expected: &str| {
            let cause = Cause {
                hang,
                broken,
                guilty: None,
            };
            let text = CString::try_from_fmt(fmt!("{}", format_args!("{cause}")));
            text.is_ok_and(|text| text.to_bytes() == expected.as_bytes())
        };
        let broken = Some((Node::Cursor, Broken::UsedIndex));

        assert!(told(
            Hang::Timeout(Node::Control),
            None,
            "Control queue hangs"
        ));
        assert!(told(Hang::Reset, None, "device was reset"));
        assert!(told(
            Hang::Broken,
            broken,
            "Cursor queue is broken: used index ahead of the requests in flight"
        ));
    }
}
