// SPDX-License-Identifier: GPL-2.0

//! What the clock sees of a virtqueue at a look, and what follows from that.
//!
//! The control queue has the packets of two nodes, and one clock runs for both.

use crate::irq::Synchronized;

use super::{
    super::{
        Hardware,
        Node, //
    },
    BEATS,
    PREEMPT,
    STALLED,
    TIMEOUT, //
};

/// Looks at a virtqueue with nothing but open packets until the first probe, and between two.
const LOOKS: u32 = 4;

/// Most ticks between two looks then: with ticks of half a second there is a probe a minute.
const MAX_PACE: u32 = 30;

/// Ways on which packets get into a virtqueue, each in the order of its submission ids.
const LANES: usize = 3;

/// What a virtqueue has at a look.
struct Sight {
    /// It works, and has packets for which the clock runs.
    busy: bool,
    /// It works, and has packets of the render node for which no clock runs.
    open: bool,
    /// It has used a packet, and nobody has taken that.
    overdue: bool,
    /// Packets that ended. Wraps.
    completions: u64,
    /// Packets that it has, without the open ones of tests.
    in_flight: u64,
    /// Submission ids of the oldest packets for which the clock runs.
    oldest: [Option<u64>; LANES],
}

impl Sight {
    /// Looks at the virtqueue of `node`, under the lock of its message.
    fn new<H: Hardware>(state: &mut H::State, node: Node) -> Option<Self> {
        let queue = H::node(state, node)?;
        let [kernel, others] = queue.oldest_dispatched();
        let mut sight = Self {
            busy: queue.is_busy(),
            open: false,
            overdue: queue.is_overdue(),
            completions: queue.completions(),
            in_flight: queue.bounded(),
            oldest: [kernel, others, None],
        };
        let is_working = queue.is_working();
        if node == Node::Control {
            let render = H::node(state, Node::Render)?;
            let [_, clients] = render.oldest_dispatched();
            sight.busy |= render.bounded() != 0 && is_working;
            sight.open = render.has_open() && is_working;
            sight.in_flight += render.in_flight();
            sight.oldest = [kernel, others, clients];
        }
        Some(sight)
    }
}

/// Finds out whether a device lives that has nothing but open packets, and answers none.
#[derive(Clone, Copy, Default)]
struct Probe {
    /// Looks at which nothing was used since the one before, since then or the last probe.
    looks: u32,
    /// Ticks between two looks.
    pace: u32,
    /// Completions at the last look.
    completions: u64,
    /// As many as there are when nothing but the last probe was answered.
    expected: u64,
}

impl Probe {
    /// Looks at a virtqueue. Returns whether to probe the device.
    fn look(&mut self, sight: &Sight) -> bool {
        let before = core::mem::replace(&mut self.completions, sight.completions);
        if !sight.open || sight.busy || sight.overdue {
            self.looks = 0;
            return false;
        }
        if before != sight.completions && self.expected != sight.completions {
            self.pace = 0;
        }
        self.pace = self.pace.max(1);
        if before != sight.completions {
            self.looks = 0;
            return false;
        }
        self.looks += 1;
        if self.looks < LOOKS {
            return false;
        }
        self.looks = 0;
        self.pace = (self.pace * 2).min(MAX_PACE);
        self.expected = sight.completions.wrapping_add(1);
        true
    }
}

/// The oldest packet of a lane, as the clock sees it.
#[derive(Clone, Copy, Default)]
struct Oldest {
    fence: Option<u64>,
    /// As many completions as there are when all packets are complete that the engine had when it
    /// was first seen.
    turn: u64,
    /// Ticks since then at which it was still there.
    ticks: u32,
}

impl Oldest {
    fn look(&mut self, fence: Option<u64>, completions: u64, in_flight: u64) {
        if self.fence != fence {
            *self = Self {
                fence,
                turn: completions.wrapping_add(in_flight),
                ticks: 0,
            };
        } else if fence.is_some() && completions.wrapping_sub(self.turn) <= u64::MAX / 2 {
            self.ticks = self.ticks.saturating_add(1);
        }
    }
}

/// What the clock knows of a node.
#[derive(Clone, Copy, Default)]
pub(super) struct Watch {
    /// The last fence that was complete by force.
    forced: u64,
    oldest: [Oldest; LANES],
    /// Completions at the last tick, if the engine had packets then.
    completions: Option<u64>,
    /// Ticks in which the engine had packets and completed none.
    ticks: u32,
    /// The node was kicked at the last tick.
    kicked: bool,
    /// A used element is there for which no interrupt came: the completions before it, and for how
    /// many beats it is there.
    pub(super) overdue: Option<(u64, u32)>,
    probe: Probe,
}

impl Watch {
    /// Returns whether a packet of the engine takes too long.
    fn is_late(&self, sight: &Sight) -> bool {
        let stands_still = self.ticks >= TIMEOUT && self.stands_still(sight);
        let mut lanes = self.oldest.iter().zip(sight.oldest);
        let overtaken =
            lanes.any(|(oldest, fence)| oldest.ticks >= TIMEOUT && oldest.fence == fence);
        sight.busy && (stands_still || overtaken)
    }

    /// Returns whether the engine had packets for a whole tick and used none.
    fn stands_still(&self, sight: &Sight) -> bool {
        sight.busy && !sight.overdue && self.completions == Some(sight.completions)
    }

    /// Looks again at a node of which a packet takes too long. Returns whether that is still so.
    ///
    /// Context: synchronised routine of the node's message.
    pub(super) fn is_late_still<H: Hardware>(
        &self,
        state: &mut Synchronized<'_, H>,
        node: Node,
    ) -> bool {
        H::poll(state);
        Sight::new::<H>(state, node).is_some_and(|sight| self.is_late(&sight))
    }
}

/// What follows from a look at a node.
#[derive(Default)]
pub(super) struct Found {
    /// Used elements were there for which the interrupt did not come.
    pub(super) lost_interrupt: bool,
    /// The repeated kick was needed.
    pub(super) lost_kick: bool,
    /// The node began to be stalled.
    pub(super) stalled: bool,
    /// The node is no longer stalled.
    pub(super) ended: bool,
    /// That is so because it went on.
    pub(super) recovered: bool,
    /// Read the status of the device.
    pub(super) ask: bool,
    /// Kick the node.
    pub(super) kick: bool,
    /// A packet takes too long.
    pub(super) late: bool,
    /// Preempt the node.
    pub(super) preempt: bool,
    /// The engine has packets.
    pub(super) busy: bool,
    /// Ticks until the next look at an engine that has nothing but open packets; else 0.
    pub(super) pace: u32,
    /// Probe the device.
    pub(super) probe: bool,
}

/// Looks at a node, under the lock of its message.
pub(super) fn look<H: Hardware>(
    state: &mut Synchronized<'_, H>,
    node: Node,
    watch: &mut Watch,
    tick: bool,
) -> Option<Found> {
    let mut forced = H::node(state, node)?.forced();
    if node == Node::Control {
        forced = forced.wrapping_add(H::node(state, Node::Render)?.forced());
    }
    if watch.forced != forced {
        // The engine was emptied.
        *watch = Watch {
            forced,
            ..Watch::default()
        };
    }
    let mut found = Found {
        lost_interrupt: find_lost_interrupt(state, node, watch)?,
        ..Found::default()
    };
    if !tick {
        return Some(found);
    }
    // What the engine need not interrupt for is taken now.
    if watch.stands_still(&Sight::new::<H>(state, node)?) {
        H::poll(state);
    }
    let sight = Sight::new::<H>(state, node)?;
    if watch.stands_still(&sight) {
        watch.ticks = watch.ticks.saturating_add(1);
        found.ask = watch.ticks == 1;
        found.stalled = watch.ticks == STALLED;
        found.kick = watch.ticks >= STALLED;
    } else {
        let went_on = sight.overdue || watch.completions != Some(sight.completions);
        found.lost_kick = watch.kicked && went_on;
        found.ended = watch.ticks >= STALLED;
        found.recovered = found.ended && went_on;
        watch.ticks = 0;
    }
    H::node(state, node)?.set_stalled(watch.ticks >= STALLED);
    watch.kicked = found.kick;
    watch.completions = sight.busy.then_some(sight.completions);
    for (oldest, fence) in watch.oldest.iter_mut().zip(sight.oldest) {
        oldest.look(fence, sight.completions, sight.in_flight);
    }
    found.late = watch.is_late(&sight);
    let overtaken = watch.oldest.iter().any(|oldest| oldest.ticks == PREEMPT);
    found.preempt = watch.ticks == PREEMPT || overtaken;
    found.busy = sight.busy;
    found.probe = watch.probe.look(&sight);
    if sight.open && !sight.busy {
        found.pace = watch.probe.pace.max(1);
    }
    Some(found)
}

/// Polls the engine if a used element waits for its interrupt for a whole tick. Returns whether
/// that was in vain.
fn find_lost_interrupt<H: Hardware>(
    state: &mut Synchronized<'_, H>,
    node: Node,
    watch: &mut Watch,
) -> Option<bool> {
    let queue = H::node(state, node)?;
    let completions = queue.completions();
    if !queue.is_overdue() {
        watch.overdue = None;
        return Some(false);
    }
    let beats = match watch.overdue {
        // The same element as at the last beat.
        Some((at, beats)) if at == completions => beats + 1,
        _ => 0,
    };
    watch.overdue = Some((completions, beats));
    if beats < BEATS {
        return Some(false);
    }
    watch.overdue = None;
    H::poll(state);
    Some(H::node(state, node)?.completions() != completions)
}
