// SPDX-License-Identifier: GPL-2.0

//! [`Watchdog`] finds what an interrupt did not tell and what a kick did not start.
//!
//! Its clock counts its own ticks, not time: a guest that was stopped has missed none. It stops at
//! a tick when no engine has packets, none was submitted since the tick before, and the miniport
//! has no work for it. A tick is a quarter of [`Policy::delay_ms`](super::Policy::delay_ms).
//!
//! For each node with an engine it counts the ticks in which the engine had packets and completed
//! none:
//!
//! 1. At the first one it looks at the engine and at the device, and at each one after that if the
//!    device may be reset.
//! 2. From the second one on the node is stalled. The clock kicks it at each tick, until it
//!    completes something.
//! 3. At the third one, which is the fourth at which it sees the packet, it preempts the node.
//! 4. At the seventh one, which is the eighth at which it sees the packet, the device hangs. The
//!    same goes for a packet that is not complete so long after all that were in the engine before
//!    it. The thread has the device reset, unless [`Level::Look`] forbids that.
//!
//! A device that was reset, asks for a reset or breaks its ring hangs at once.
//!
//! One that has answered nothing since its last reset is waited for: see
//! [`Watchdog::set_waiting`].
//!
//! For open packets no clock runs. If an engine has no others, and has used none for four ticks,
//! the clock probes the device: it submits a null packet of the driver, which the device answers
//! whatever its GPU does, and for which the clock runs. As long as nothing but probes is answered
//! they come more seldom, down to one a minute, and the clock looks no more than four times between
//! two.
//!
//! # Counters
//!
//! On a device that works all of them stay 0.
//!
//! A *lost interrupt* is a used element that nobody took for a whole tick, although the engine was
//! asked to interrupt for it. From when it sees one, and in its first tick, the clock looks twice
//! in a tick. So it finds such an element within two ticks, and mostly within one and a half.
//!
//! A *lost kick* is one after whose repetition, and before the next tick, an engine went on.

use kernel::{
    kthread::{
        self,
        Event, //
    },
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        rcu, //
    },
    time::{
        msecs_to_jiffies,
        Msecs, //
    },
};

use crate::irq::Adapter;

use super::{
    preempt,
    submit,
    Fences,
    Hardware,
    Level,
    Node,
    PerNode, //
};

mod look;

use self::look::{
    look,
    Found,
    Watch, //
};

/// Beats of a tick.
const BEATS: u32 = 2;

/// A node is stalled after so many ticks without a completion.
const STALLED: u32 = 2;

/// A node is preempted after so many. At the tick before the first one the packet was there
/// already.
const PREEMPT: u32 = 3;

/// A device hangs after so many. At the tick before the first one the packet was there already.
const TIMEOUT: u32 = 7;

/// Half of a tick while the clock waits for a device, in milliseconds.
const WAITING_BEAT_MS: Msecs = 500;

/// What the status of a device says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It works.
    Good,
    /// It was reset, by somebody else: it uses no queue.
    Reset,
    /// It has to be reset.
    NeedsReset,
    /// It is not there.
    Gone,
}

/// Why a device has to be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hang {
    /// The engine of this node takes too long.
    Timeout(Node),
    /// Somebody else has reset the device.
    Reset,
    /// A ring is broken, or the device asks for a reset.
    Broken,
}

/// What the clock does; a value of [`Watchdog::state`].
const STOPPED: u32 = 0;
/// It runs, and nobody has armed it since its last tick.
const RUNNING: u32 = 1;
/// It runs, or is about to, and goes on after its next tick.
const ARMED: u32 = 2;

/// The clock of a device, as all see it but its own thread.
pub(crate) struct Watchdog {
    /// [`STOPPED`], [`RUNNING`] or [`ARMED`]. Submitters arm it, the thread does the rest.
    state: Atomic<u32>,
    /// Wakes the thread when the clock has to run, or the device broke.
    start: Event,
    /// A device that hangs may be reset: it is neither asked what it has nor asleep.
    can_recover: Atomic<bool>,
    /// A ring broke, and the thread has not seen it.
    broke: Atomic<bool>,
    /// The device hangs, and is not reset for that.
    waiting: Atomic<bool>,
    counters: Counters,
}

/// What the clock counted since the device was started. Written by its thread.
pub(crate) struct Counters {
    /// Times that a node began to be stalled.
    pub(crate) stalls: Atomic<u64>,
    /// Used elements, found at once, for which the interrupt did not come.
    pub(crate) lost_interrupts: Atomic<u64>,
    /// Stalls that a kick ended.
    pub(crate) lost_kicks: Atomic<u64>,
    /// Times that the device was found reset, with packets in its queues.
    pub(crate) resets: Atomic<u64>,
    /// Times that the device was reset because it hung.
    pub(crate) recoveries: Atomic<u64>,
    /// Ticks. None comes while the device is idle.
    pub(crate) ticks: Atomic<u64>,
}

impl Watchdog {
    /// Makes a clock that does not run.
    pub(crate) fn new() -> Self {
        Self {
            state: Atomic::new(STOPPED),
            start: Event::new(),
            can_recover: Atomic::new(false),
            broke: Atomic::new(false),
            waiting: Atomic::new(false),
            counters: Counters {
                stalls: Atomic::new(0),
                lost_interrupts: Atomic::new(0),
                lost_kicks: Atomic::new(0),
                resets: Atomic::new(0),
                recoveries: Atomic::new(0),
                ticks: Atomic::new(0),
            },
        }
    }

    /// Starts the clock, or keeps it running after its next tick.
    ///
    /// Context: any but NMI. After the lock was released under which an engine got packets.
    #[inline]
    pub(crate) fn arm(&self) {
        // Relaxed: the clock stores `STOPPED` before it takes the lock to look for packets. So a
        // caller that comes with its packets after that look finds nothing older.
        if self.state.load(Relaxed) != ARMED && self.state.xchg(ARMED, Relaxed) == STOPPED {
            self.start.signal();
        }
    }

    /// Says whether a device that hangs may be reset.
    ///
    /// Context: process, the lock held under which the device is started, stopped and reset.
    pub(crate) fn set_can_recover(&self, on: bool) {
        self.can_recover.store(on, Relaxed);
    }

    /// Returns whether a device that hangs may be reset.
    ///
    /// Context: any. With the lock of [`Self::set_can_recover`] the answer stays true.
    pub(crate) fn can_recover(&self) -> bool {
        self.can_recover.load(Relaxed)
    }

    /// Has the device reset, as a ring broke.
    ///
    /// Context: any but NMI.
    pub(crate) fn report_broken(&self) {
        self.broke.store(true, Relaxed);
        // Fully ordered, as is what the thread does before it looks.
        self.start.signal();
    }

    /// Returns whether a ring broke since the last call.
    ///
    /// Context: any.
    pub(crate) fn take_broken(&self) -> Option<Hang> {
        self.broke.xchg(false, Relaxed).then_some(Hang::Broken)
    }

    /// Says whether a device that hangs is waited for: a tick is a second then. That ends when the
    /// device goes on.
    ///
    /// Context: the thread of the clock, or that which has stopped the device.
    pub(crate) fn set_waiting(&self, on: bool) {
        self.waiting.store(on, Relaxed);
    }

    /// Returns whether a device that hangs is waited for.
    ///
    /// Context: any.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Relaxed)
    }

    /// Returns whether the clock was started since the last call.
    #[cfg(CONFIG_DRM_RUST_GPU_KUNIT_TEST)]
    pub(super) fn take_start(&self) -> bool {
        self.start.take()
    }

    /// Returns what the clock counted.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Adds one. Only the thread of the clock writes.
fn count(counter: &Atomic<u64>) {
    counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
}

/// Runs the clock of a device until the thread is stopped. Calls `recover` if the device hangs,
/// which returns whether the device was reset and started.
///
/// Context: process, a thread of its own.
pub(crate) fn watchdog_thread<H: Hardware>(
    adapter: &Adapter<H>,
    fences: &Fences,
    recover: impl Fn(Hang) -> bool,
    thread: &kthread::Context,
) {
    let mut clock = Clock::new();
    let watchdog = adapter.miniport().watchdog();
    // WAIT: idle-threads
    while watchdog.start.wait(thread) {
        clock.start();
        loop {
            let mut next = clock.beat(adapter, fences);
            let hang = clock.take_hang();
            if hang
                .or_else(|| watchdog.take_broken())
                .is_some_and(&recover)
            {
                count(&watchdog.counters.recoveries);
                clock.start();
                next = Some(0);
            }
            let Some(beats) = next else {
                break;
            };
            let beat_ms = match watchdog.is_waiting() {
                true => WAITING_BEAT_MS,
                false => adapter.miniport().policy().beat_ms(),
            };
            let time = msecs_to_jiffies(beats * beat_ms);
            let is_asleep = clock.is_asleep;
            let is_woken = || {
                let is_armed = is_asleep && watchdog.state.load(Relaxed) == ARMED;
                is_armed || watchdog.broke.load(Relaxed)
            };
            // WAIT: tick
            if !thread.wait_until_timeout(time, is_woken) {
                return;
            }
        }
    }
}

/// The clock, as its thread sees it.
pub(super) struct Clock {
    /// Beats since the clock was started.
    beats: u32,
    watches: PerNode<Watch>,
    /// The device hangs.
    hang: Option<Hang>,
    /// The next beat is late: whoever arms the clock wakes its thread.
    is_asleep: bool,
}

impl Clock {
    /// Makes a clock that was not started.
    pub(super) fn new() -> Self {
        Self {
            beats: 0,
            watches: PerNode::default(),
            hang: None,
            is_asleep: false,
        }
    }

    /// Returns why the device has to be reset, if the last beat found that.
    pub(super) fn take_hang(&mut self) -> Option<Hang> {
        self.hang.take()
    }

    /// Begins to count anew.
    pub(super) fn start(&mut self) {
        self.beats = 0;
    }

    /// Does one beat of the clock. Returns after how many beats the next one is due; [`None`] if
    /// the clock stops.
    ///
    /// Context: process.
    pub(super) fn beat<H: Hardware>(
        &mut self,
        adapter: &Adapter<H>,
        fences: &Fences,
    ) -> Option<u32> {
        let tick = self.beats % BEATS == 0;
        let watchdog = adapter.miniport().watchdog();
        let mut goes_on = false;
        if tick {
            count(&watchdog.counters.ticks);
            // Before the looks: see `Watchdog::arm`.
            goes_on = watchdog.state.xchg(STOPPED, Full) == ARMED;
        }
        let (mut busy, mut pace) = (false, 0);
        for node in Node::ENGINES {
            let (is_busy, its_pace) = self.look_at(adapter, fences, node, tick);
            busy |= is_busy;
            pace = pace.max(its_pace);
        }
        self.is_asleep = false;
        if tick {
            if self.hang.is_none() {
                watchdog.set_waiting(false);
            }
            goes_on |= H::tick(adapter);
            if !busy && !goes_on {
                match pace {
                    0 => return None,
                    1 => {}
                    // Until somebody arms the clock.
                    _ => {
                        self.is_asleep = true;
                        return Some(pace * BEATS);
                    }
                }
            }
            // Unless somebody has armed it meanwhile, and signaled.
            let _ = watchdog.state.cmpxchg(STOPPED, RUNNING, Relaxed);
            watchdog.start.take();
        }
        // Between two ticks it looks for nothing but used elements. At the first one, packets have
        // just been submitted.
        let first = self.beats == 0;
        let overdue = self
            .watches
            .iter()
            .any(|(_, watch)| watch.overdue.is_some());
        let next = match tick && !first && !overdue {
            true => BEATS,
            false => 1,
        };
        self.beats = self.beats.wrapping_add(next);
        Some(next)
    }

    /// Looks at one node. Returns whether the clock has to go on for it, and after how many ticks
    /// it has to look at open packets.
    fn look_at<H: Hardware>(
        &mut self,
        adapter: &Adapter<H>,
        fences: &Fences,
        node: Node,
        tick: bool,
    ) -> (bool, u32) {
        let hardware = adapter.miniport();
        let may_reset = hardware.policy().level != Level::Look;
        let watch = &mut self.watches[node];
        // Stop waits for this section, as the device must not be touched after it.
        let section = rcu::read_lock();
        let found = adapter.synchronize_execution(hardware.message_of(node), |state| {
            let mut found = look::<H>(state, node, watch, tick)?;
            found.late &= may_reset;
            // Somebody else may reset a device that is stalled already.
            found.ask |= may_reset && found.kick;
            if found.stalled || found.ended {
                fences.set_stalled(node, found.stalled);
            }
            Some(found)
        });
        let Ok(Some(found)) = found else {
            // Stopped: nothing is under way.
            *watch = Watch::default();
            fences.set_stalled(node, false);
            return (false, 0);
        };
        if found.kick {
            hardware.kick(node);
        }
        if found.preempt && may_reset {
            // Or one is pending. If the device hangs nothing answers it.
            let _ = preempt(adapter, node, None);
        }
        let health = match found.ask || found.late {
            true => hardware.health(),
            false => Health::Good,
        };
        // That may have taken a while, in which the device went on.
        let late = found.late
            && adapter.synchronize_execution(hardware.message_of(node), |state| {
                watch.is_late_still::<H>(state, node)
            }) == Ok(true);
        drop(section);
        if found.probe && may_reset {
            // If there is no place, there are other packets.
            let _ = submit(adapter, node, H::null_packet(node));
        }

        count_found(hardware.watchdog(), &found, health);
        if found.recovered {
            hardware.recovered();
        }
        match health {
            Health::NeedsReset | Health::Gone => H::break_engines(adapter, health),
            Health::Reset if may_reset => self.hang = Some(Hang::Reset),
            _ if late => self.hang = Some(Hang::Timeout(node)),
            _ => {}
        }
        (found.busy, found.pace)
    }
}

/// Counts what a look at a node has found.
fn count_found(watchdog: &Watchdog, found: &Found, health: Health) {
    let counters = &watchdog.counters;
    for (happened, counter) in [
        (found.lost_interrupt, &counters.lost_interrupts),
        (found.lost_kick, &counters.lost_kicks),
        (found.stalled, &counters.stalls),
        (health == Health::Reset, &counters.resets),
    ] {
        if happened {
            count(counter);
        }
    }
}
