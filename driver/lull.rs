// SPDX-License-Identifier: GPL-2.0

//! [`Lull`] finds out that the device completes nothing, sooner than the watchdog does.
//!
//! A client that is killed should be gone in a moment. It has events of flips that come late if the
//! device stands still, and after it is killed nobody waits for their frames. So for these a short
//! pause is enough. Live clients get their events when the watchdog, which must not be wrong, has
//! given up or the device goes on.

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

/// A pause of the device, in nanoseconds, after which it counts as standing still.
const LULL_NS: i64 = 100_000_000;

/// Longest time between two questions of which the second continues the first, in nanoseconds: a
/// few ticks of the vblank timer.
const ASKED_NS: i64 = 50_000_000;

/// Whether the device completed anything lately. Times are in nanoseconds of CLOCK_MONOTONIC.
pub(crate) struct Lull {
    /// The last fence that was complete at the last question.
    completed: Atomic<u64>,
    /// Since when that is so.
    since_ns: Atomic<i64>,
    /// When that question was.
    asked_ns: Atomic<i64>,
}

impl Lull {
    /// Nobody has asked yet.
    pub(crate) const fn new() -> Self {
        Self {
            completed: Atomic::new(0),
            since_ns: Atomic::new(0),
            asked_ns: Atomic::new(0),
        }
    }

    /// Returns whether the device, which has something to do and completed all up to a fence,
    /// completed nothing for a while in which this was asked at each tick.
    ///
    /// Context: any.
    pub(crate) fn lasts(&self, completed: u64, now: i64) -> bool {
        let asked = self.asked_ns.xchg(now, Relaxed);
        let news = self.completed.xchg(completed, Relaxed) != completed;
        if news || now.saturating_sub(asked) > ASKED_NS {
            self.since_ns.store(now, Relaxed);
            return false;
        }
        now.saturating_sub(self.since_ns.load(Relaxed)) >= LULL_NS
    }
}

#[kunit_tests(rust_gpu_lull)]
mod tests {
    use super::*;

    const TICK_NS: i64 = 16_000_000;
    const START: i64 = 1_000_000_000;

    /// Asks at each tick. Returns how many ticks it took until the device stood still.
    fn ticks(lull: &Lull, start: i64, completed: impl Fn(i64) -> u64) -> Option<i64> {
        (0..20).find(|tick| lull.lasts(completed(*tick), start + tick * TICK_NS))
    }

    #[test]
    fn a_pause_is_found() {
        let lull = Lull::new();

        assert_eq!(ticks(&lull, START, |_| 5), Some(7));
        // It goes on after that, until something is complete.
        assert!(lull.lasts(5, START + 8 * TICK_NS));
        assert!(!lull.lasts(6, START + 9 * TICK_NS));
    }

    #[test]
    fn a_slow_device_does_not_stand_still() {
        let lull = Lull::new();

        assert_eq!(ticks(&lull, START, |tick| (tick / 4) as u64), None);
    }

    #[test]
    fn the_time_without_a_question_does_not_count() {
        let lull = Lull::new();

        assert!(!lull.lasts(5, START));
        assert!(!lull.lasts(5, START + 100 * TICK_NS));
        assert_eq!(ticks(&lull, START + 101 * TICK_NS, |_| 5), Some(6));
    }
}
