// SPDX-License-Identifier: GPL-2.0

//! The queues: takes commands, lets the script decide about each, and uses them up. Nothing here
//! sleeps: a command that has to wait is put aside, and the caller is told when to come again.

use std::{
    sync::{
        Mutex,
        MutexGuard, //
    },
    time::{
        Duration,
        Instant, //
    },
};

use virtio_queue::{
    Queue,
    QueueT, //
};
use vm_memory::{
    Bytes,
    GuestAddress, //
};

use crate::{
    chain::{
        Chain,
        Malformed,
        Source, //
    },
    front::{
        Front,
        QueueRegisters,
        Release,
        CURSOR,
        FEATURE_EVENT_IDX,
        FEATURE_INDIRECT,
        QUEUES, //
    },
    gpu::{
        self,
        render::{
            self,
            Timeline, //
        },
        Gpu, //
    },
    memory::{
        Map,
        Ranges,
        Violations, //
    },
    note,
    script::{
        Act,
        Lie, //
    }, //
};

/// What the threads share. Locks are taken in this order: gpu, map, front.
pub struct Shared {
    /// The pictures. Held for as long as a command takes.
    pub gpu: Mutex<Gpu>,
    /// The guest's memory.
    pub map: Mutex<Map>,
    /// The registers. Held for a moment only: QEMU waits for them.
    pub front: Mutex<Front>,
    pub violations: Violations,
}

/// Takes a lock. A thread that panicked has ended the process.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A command that waits: until a time, or until the device resumes.
struct Waiting {
    chain: Chain,
    until: Option<Instant>,
    /// The answer, if the command was executed already.
    answer: Option<Vec<u8>>,
    /// Where the GPU works on it, and whether it goes on when the context has ended.
    fence: Option<(Timeline, bool)>,
    lie: Option<Lie>,
}

impl Waiting {
    fn timeline(&self) -> Option<Timeline> {
        self.fence.map(|(timeline, _)| timeline)
    }
}

/// A queue of a driver that is ready.
struct Lane {
    queue: Queue,
    areas: Ranges,
    /// There may be commands that were not taken.
    busy: bool,
    /// The command at which the queue stands still.
    held: Option<Waiting>,
    /// Commands that are answered later than their successors.
    late: Vec<Waiting>,
}

impl Lane {
    fn new(registers: &QueueRegisters, event_idx: bool) -> Option<Self> {
        let [descriptors, available, used] = registers.areas;
        let size = u64::from(registers.size);
        let mut queue = Queue::new(registers.size).ok()?;
        let halves = |area: u64| (Some(area as u32), Some((area >> 32) as u32));
        let (low, high) = halves(descriptors);
        queue.set_desc_table_address(low, high);
        let (low, high) = halves(available);
        queue.set_avail_ring_address(low, high);
        let (low, high) = halves(used);
        queue.set_used_ring_address(low, high);
        queue.set_event_idx(event_idx);
        queue.set_ready(true);
        Some(Self {
            queue,
            areas: Ranges::new([
                (descriptors, 16 * size),
                (available, 6 + 2 * size),
                (used, 6 + 8 * size),
            ]),
            busy: false,
            held: None,
            late: Vec::new(),
        })
    }

    /// Late commands with their places, without those that wait for another one of their timeline.
    fn unblocked(&self) -> impl Iterator<Item = (usize, &Waiting)> {
        let mut seen = Vec::new();
        let is_first = move |(_, waiting): &(usize, &Waiting)| {
            let Some(timeline) = waiting.timeline() else {
                return true;
            };
            let is_first = !seen.contains(&timeline);
            if is_first {
                seen.push(timeline);
            }
            is_first
        };
        self.late.iter().enumerate().filter(is_first)
    }

    /// Lets the GPU be done with its work, of all contexts or of one that has ended. It may be
    /// done with what came last first.
    fn release(&mut self, now: Instant, context: Option<u32>, backwards: bool) {
        for waiting in &mut self.late {
            let Some((timeline, keeps)) = waiting.fence else {
                continue;
            };
            if context.is_none_or(|context| context == timeline.context && !keeps) {
                waiting.until = Some(now);
            }
            if backwards {
                waiting.fence = None;
            }
        }
        if backwards {
            self.late.reverse();
        }
    }
}

/// The thread's own state.
#[derive(Default)]
pub struct Engine {
    lanes: [Option<Lane>; QUEUES],
    /// When the reset began that is not over.
    reset_began: Option<Instant>,
}

/// How far a turn came.
enum Step {
    /// There is more to do at once.
    More,
    /// Nothing to do before this time, or before something happens.
    Idle(Option<Instant>),
}

impl Engine {
    /// Does all that can be done now. Returns when to come again if nothing happens.
    pub fn turn(&mut self, shared: &Shared, now: Instant) -> Option<Instant> {
        let (asked, mut next) = self.look(shared, now);
        for number in 0..QUEUES {
            if let Some(lane) = &mut self.lanes[number] {
                match asked {
                    Some(Release::All) => {
                        let waiting = lane.held.iter_mut().chain(&mut lane.late);
                        waiting.for_each(|waiting| waiting.until = Some(now));
                    }
                    Some(Release::Fences { backwards }) => lane.release(now, None, backwards),
                    None => {}
                }
            }
            loop {
                match self.step(shared, number, now) {
                    Ok(Step::More) => {}
                    Ok(Step::Idle(until)) => {
                        next = [next, until].into_iter().flatten().min();
                        break;
                    }
                    Err(Malformed(what)) => {
                        note(&format!("malformed: {what}, queue {number}"));
                        self.lanes[number] = None;
                        let mut front = lock(&shared.front);
                        front.counts.malformed += 1;
                        front.needs_reset();
                        break;
                    }
                }
            }
        }
        let mut front = lock(&shared.front);
        let lanes = self.lanes.each_ref();
        front.counts.held = lanes.map(|lane| lane.as_ref().is_some_and(|lane| lane.held.is_some()));
        front.counts.late = lanes
            .iter()
            .copied()
            .flatten()
            .map(|lane| lane.late.len())
            .sum();
        next
    }

    /// Takes what the other threads have left. Returns what goes on, and when a reset is over that
    /// takes longer.
    fn look(&mut self, shared: &Shared, now: Instant) -> (Option<Release>, Option<Instant>) {
        let mut gpu = lock(&shared.gpu);
        let mut front = lock(&shared.front);
        let mut next = None;
        if front.resetting {
            let end = *self.reset_began.get_or_insert(now) + front.script.slow_reset;
            self.lanes = Default::default();
            if end <= now {
                gpu.reset();
                note("reset");
                front.acknowledge_reset();
                self.reset_began = None;
            } else {
                next = Some(end);
            }
        }
        let event_idx = front.driver_features & FEATURE_EVENT_IDX != 0;
        for number in 0..QUEUES {
            let kicked = std::mem::take(&mut front.kicked[number]);
            if kicked && self.lanes[number].is_none() && front.queues[number].enabled {
                self.lanes[number] = Lane::new(&front.queues[number], event_idx);
                gpu.render.start(front.driver_features);
            }
            if let Some(lane) = &mut self.lanes[number] {
                lane.busy |= kicked;
            }
        }
        (front.released.take(), next)
    }

    fn step(&mut self, shared: &Shared, number: usize, now: Instant) -> Result<Step, Malformed> {
        let Some(lane) = &mut self.lanes[number] else {
            return Ok(Step::Idle(None));
        };
        let indirect = {
            let front = lock(&shared.front);
            if !front.is_active() {
                return Ok(Step::Idle(None));
            }
            front.driver_features & FEATURE_INDIRECT != 0
        };
        let map = lock(&shared.map).clone();
        let areas = lane.areas.clone();
        let source = Source {
            map: &map,
            areas: &areas,
            violations: &shared.violations,
            indirect,
        };
        let work = Work {
            shared,
            source,
            number,
            now,
        };
        work.step(lane)
    }
}

/// One step of one queue.
struct Work<'a> {
    shared: &'a Shared,
    source: Source<'a>,
    number: usize,
    now: Instant,
}

impl Work<'_> {
    fn step(&self, lane: &mut Lane) -> Result<Step, Malformed> {
        let is_due = |waiting: &Waiting| waiting.until.is_some_and(|until| until <= self.now);
        let due = lane.unblocked().find(|(_, waiting)| is_due(waiting));
        if let Some((place, _)) = due {
            let waiting = lane.late.remove(place);
            self.finish(lane, waiting)?;
            return Ok(Step::More);
        }
        if lane.held.as_ref().is_some_and(is_due) {
            if let Some(waiting) = lane.held.take() {
                self.run(lane, waiting)?;
            }
            return Ok(Step::More);
        }
        if lane.held.is_none() && lane.busy {
            self.take(lane)?;
            return Ok(Step::More);
        }
        let late = lane.unblocked().map(|(_, waiting)| waiting);
        let waiting = lane.held.iter().chain(late);
        Ok(Step::Idle(
            waiting.filter_map(|waiting| waiting.until).min(),
        ))
    }

    /// Takes the next command, or finds that there is none.
    fn take(&self, lane: &mut Lane) -> Result<(), Malformed> {
        let none = Ranges::default();
        let view = self.source.view(&none);
        let broken = |_| Malformed("ring");
        let Some(chain) = lane.queue.pop_descriptor_chain(&view) else {
            lane.busy = lane.queue.enable_notification(&view).map_err(broken)?;
            return Ok(());
        };
        lane.queue.disable_notification(&view).map_err(broken)?;
        let table = (lane.queue.desc_table(), lane.queue.size());
        let chain = Chain::read(self.source, table, chain.head_index())?;
        let kind = gpu::kind_of(&chain.request);
        let act = lock(&self.shared.front).script.decide(kind);
        let mut gpu = lock(&self.shared.gpu);
        gpu.note(kind);
        gpu.render.arrive(&chain.request);
        drop(gpu);
        let mut waiting = Waiting {
            chain,
            until: None,
            answer: None,
            fence: None,
            lie: None,
        };
        match act {
            None => self.run(lane, waiting)?,
            Some(Act::Stall) => {
                note(&format!("stalls at {kind:#x}"));
                lock(&self.shared.front).parked();
                lane.held = Some(waiting);
            }
            Some(Act::Slow(time)) => lane.held = self.wait(waiting, time),
            Some(Act::Late(time)) => {
                waiting.answer = Some(self.execute(&waiting.chain));
                lane.late.extend(self.wait(waiting, time));
            }
            Some(Act::Never) => {
                waiting.answer = Some(self.execute(&waiting.chain));
                lane.late.push(waiting);
            }
            Some(Act::Refuse(error)) => {
                let request = &waiting.chain.request;
                lock(&self.shared.gpu).judge(request, error);
                waiting.answer = Some(gpu::answer(request, error, &[]));
                self.finish(lane, waiting)?;
            }
            Some(Act::Lie(lie)) => {
                note(&format!("lies at {kind:#x}: {lie:?}"));
                waiting.lie = Some(lie);
                self.run(lane, waiting)?;
            }
            Some(Act::Spoil) => {
                lock(&self.shared.front).breaks();
                note(&format!("spoils the ring at {kind:#x}"));
                self.finish(lane, waiting)?;
                self.spoil(lane)?;
            }
        }
        Ok(())
    }

    /// Writes a used index that is ahead of all that the queue ever had, and interrupts.
    fn spoil(&self, lane: &mut Lane) -> Result<(), Malformed> {
        let none = Ranges::default();
        let index = lane.queue.next_used().wrapping_add(2 * lane.queue.size());
        self.source
            .view(&none)
            .write_obj(index.to_le(), GuestAddress(lane.queue.used_ring() + 2))
            .map_err(|_| Malformed("ring"))?;
        lock(&self.shared.front).queue_used(self.number);
        Ok(())
    }

    fn wait(&self, mut waiting: Waiting, time: Duration) -> Option<Waiting> {
        waiting.until = Some(self.now + time);
        Some(waiting)
    }

    fn execute(&self, chain: &Chain) -> Vec<u8> {
        let mut gpu = lock(&self.shared.gpu);
        let mut answer = gpu.execute(&chain.request, self.source.map, &self.shared.violations);
        let kind = gpu::kind_of(&chain.request);
        let mut front = lock(&self.shared.front);
        if kind == gpu::FLUSH {
            front.flushed();
        }
        if let Some(fault) = front.script.fault {
            fault.distort(kind, &mut answer);
        }
        answer
    }

    /// Executes a command. It is answered when the GPU is done with it, and with what came before
    /// on its timeline; at once if it is refused, or has no fence.
    fn run(&self, lane: &mut Lane, mut waiting: Waiting) -> Result<(), Malformed> {
        let mut answer = self.execute(&waiting.chain);
        let request = &waiting.chain.request;
        let mut gpu = lock(&self.shared.gpu);
        let timeline = gpu.render.timeline(request, &answer);
        let busy = gpu.render.take_busy();
        let name = timeline.and_then(|timeline| gpu.render.name(timeline.context));
        let held = name.and_then(|name| lock(&self.shared.front).script.holds(name));
        drop(gpu);
        match waiting.lie {
            Some(Lie::Fence) => answer[8] = answer[8].wrapping_add(1),
            Some(Lie::Context) => answer[16] = answer[16].wrapping_add(1),
            _ => {}
        }
        if gpu::kind_of(request) == render::CTX_DESTROY {
            lane.release(self.now, Some(render::context_of(request)), false);
        }
        waiting.answer = Some(answer);
        let is_waited_for = |other: &Waiting| other.timeline() == timeline;
        let waits = held.is_some() || !busy.is_zero() || lane.late.iter().any(is_waited_for);
        let Some(timeline) = timeline.filter(|_| waits) else {
            return self.finish(lane, waiting);
        };
        let (time, keeps) = held.unwrap_or((Some(busy), false));
        waiting.until = time.map(|time| self.now + time);
        waiting.fence = Some((timeline, keeps));
        lane.late.push(waiting);
        Ok(())
    }

    /// Answers a command, which is executed now if it was not, and interrupts if the driver wants
    /// that.
    fn finish(&self, lane: &mut Lane, waiting: Waiting) -> Result<(), Malformed> {
        let answer = match waiting.answer {
            Some(answer) => answer,
            None => self.execute(&waiting.chain),
        };
        // As in QEMU, commands of the cursor queue have no answer.
        let answer = if self.number == CURSOR {
            &[]
        } else {
            &answer[..]
        };
        let written = match (waiting.chain.write(self.source, answer)?, waiting.lie) {
            (_, Some(Lie::Length)) => u32::MAX,
            (written, _) => written,
        };
        let none = Ranges::default();
        let view = self.source.view(&none);
        let broken = |_| Malformed("ring");
        lane.queue
            .add_used(&view, waiting.chain.head, written)
            .map_err(broken)?;
        let wanted = if lane.queue.event_idx_enabled() {
            lane.queue.needs_notification(&view).map_err(broken)?
        } else {
            // The crate does not know VIRTQ_AVAIL_F_NO_INTERRUPT.
            let flags: u16 = view
                .read_obj(GuestAddress(lane.queue.avail_ring()))
                .map_err(|_| Malformed("ring"))?;
            u16::from_le(flags) & 1 == 0
        };
        if wanted {
            lock(&self.shared.front).queue_used(self.number);
        }
        Ok(())
    }
}
