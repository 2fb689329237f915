// SPDX-License-Identifier: GPL-2.0

//! A device that does not exist, for the tests of the scheduler.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};

use crate::{
    irq::{
        Adapter,
        Dpc,
        Miniport,
        Synchronized, //
    },
    scheduler::{
        self,
        Engine,
        Fences,
        Fifo,
        Hardware,
        Health,
        Interrupt,
        Level,
        Node,
        NodeQueue,
        Notify,
        PerNode,
        Policy,
        TwoNodes,
        Watchdog, //
    },
};

/// An engine with room for a few packets that completes them when it is told to.
pub(super) struct FakeEngine {
    /// Submission ids of the packets taken, oldest first.
    pub(super) taken: Fifo<u64>,
    /// Those of the render node.
    pub(super) rendered: Fifo<u64>,
    pub(super) node: Node,
    /// Memory for commands and null packets alike. A null packet takes one when it is taken, a
    /// command when it is made.
    pub(super) slots: u32,
    pub(super) published: u32,
    pub(super) suppressed: bool,
    /// It has executed a packet, and its interrupt does not come.
    pub(super) overdue: bool,
}

pub(super) enum FakePacket {
    Command,
    Null,
}

impl Engine for FakeEngine {
    type Packet = FakePacket;
    type Remains = ();

    fn capacity(&self) -> usize {
        ROOM
    }

    fn set_node(&mut self, node: Node) {
        self.node = node;
    }

    fn submit(&mut self, packet: Self::Packet, id: u64) -> Result<(), Self::Packet> {
        let slots = u32::from(matches!(packet, FakePacket::Null));
        let is_full = !self.has_room_for(&packet);
        let list = match self.node {
            Node::Render => &mut self.rendered,
            _ => &mut self.taken,
        };
        if self.slots < slots || is_full || list.push(id).is_err() {
            return Err(packet);
        }
        self.slots -= slots;
        Ok(())
    }

    fn has_room_for(&self, _packet: &Self::Packet) -> bool {
        self.taken.len() + self.rendered.len() < ROOM
    }

    fn publish(&mut self, interrupt: Interrupt) -> bool {
        self.published += 1;
        self.suppressed |= interrupt == Interrupt::Suppressed;
        true
    }

    fn suppresses_interrupts(&self) -> bool {
        self.suppressed
    }

    fn take_remains(&mut self) {}

    fn is_overdue(&self) -> bool {
        self.overdue && !self.taken.is_empty()
    }
}

/// A device with two messages: the cursor node on message 1, all else on message 0.
pub(super) struct Fake {
    pub(super) fences: Arc<Fences>,
    /// How many packets the device has used when it interrupts next.
    pub(super) used: Atomic<u32>,
    /// The same for the render node, all with success.
    pub(super) rendered: Atomic<u32>,
    pub(super) kicks: Atomic<u32>,
    pub(super) watchdog: Watchdog,
    /// What the status says, as a [`Health`], and how often it was read.
    pub(super) health: Atomic<u32>,
    pub(super) health_reads: Atomic<u32>,
    pub(super) broken: Atomic<u32>,
    pub(super) recovered: Atomic<u32>,
    /// The clock has to go on.
    pub(super) more: Atomic<bool>,
    /// A device that hangs is reset.
    pub(super) resets: Atomic<bool>,
}

pub(super) struct FakeState {
    pub(super) nodes: PerNode<Option<NodeQueue<FakeEngine>>>,
    pub(super) notify: Option<Notify>,
}

impl Fake {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            fences: Fences::new()?,
            used: Atomic::new(0),
            rendered: Atomic::new(0),
            kicks: Atomic::new(0),
            watchdog: Watchdog::new(),
            health: Atomic::new(Health::Good as u32),
            health_reads: Atomic::new(0),
            broken: Atomic::new(0),
            recovered: Atomic::new(0),
            more: Atomic::new(false),
            resets: Atomic::new(true),
        })
    }
}

impl Miniport for Fake {
    type State = FakeState;

    fn interrupt_routine(&self, state: &mut Synchronized<'_, Self>, message: u32) -> bool {
        let node = match message {
            0 => Node::Control,
            _ => Node::Cursor,
        };
        let used = self.used.xchg(0, Relaxed);
        let Some(queue) = Self::node(state, node) else {
            return false;
        };
        for _ in 0..used {
            if let Some(id) = queue.engine.as_mut().and_then(|engine| engine.taken.pop()) {
                queue.complete(id);
            }
        }
        if message == 0 {
            for _ in 0..self.rendered.xchg(0, Relaxed) {
                end_oldest(state, Ok(()));
            }
        }
        let Some(queue) = Self::node(state, node) else {
            return false;
        };
        let completed = queue.completed();
        scheduler::notify_completed(state, node, completed, Dpc::Queued);
        scheduler::report_preempted(state, node);
        state.queue_dpc();
        used != 0
    }

    fn acknowledge(&self, _message: u32) -> bool {
        false
    }

    fn dpc_routine(&self, adapter: &Adapter<Self>) {
        if let Some(snapshot) = scheduler::begin_dpc(adapter) {
            scheduler::notify_dpc(adapter, &self.fences, &snapshot);
        }
    }
}

impl Hardware for Fake {
    type Engine = FakeEngine;

    fn message_of(&self, node: Node) -> u32 {
        u32::from(node == Node::Cursor)
    }

    fn notify_message(&self) -> u32 {
        0
    }

    fn node(state: &mut FakeState, node: Node) -> Option<&mut NodeQueue<FakeEngine>> {
        state.nodes[node].as_mut()
    }

    fn notify(state: &mut FakeState) -> Option<&mut Notify> {
        state.notify.as_mut()
    }

    fn poll(state: &mut Synchronized<'_, Self>) {
        for queue in state.nodes.values_mut().flatten() {
            if let Some(engine) = &mut queue.engine {
                engine.suppressed = false;
            }
        }
        // The fake engine of the cursor node completes its packets when it is polled.
        if let Some(queue) = Self::node(state, Node::Cursor) {
            while let Some(id) = queue.engine.as_mut().and_then(|engine| engine.taken.pop()) {
                queue.complete(id);
            }
        }
    }

    fn kick(&self, _node: Node) {
        self.kicks.add(1, Relaxed);
    }

    fn control_and_render(state: &mut FakeState) -> Option<TwoNodes<'_, FakeEngine>> {
        let ([control, ..], render) = state.nodes.split_render();
        Some((control.as_mut()?, render.as_mut()?))
    }

    fn fences(&self) -> &Arc<Fences> {
        &self.fences
    }

    fn watchdog(&self) -> &Watchdog {
        &self.watchdog
    }

    fn policy(&self) -> Policy {
        Policy {
            level: match self.resets.load(Relaxed) {
                true => Level::Recover,
                false => Level::Look,
            },
            ..Policy::current()
        }
    }

    fn health(&self) -> Health {
        self.health_reads.add(1, Relaxed);
        let says = self.health.load(Relaxed);
        [Health::Reset, Health::NeedsReset, Health::Gone]
            .into_iter()
            .find(|health| *health as u32 == says)
            .unwrap_or(Health::Good)
    }

    fn break_engines(adapter: &Adapter<Self>, _health: Health) {
        adapter.miniport().broken.add(1, Relaxed);
    }

    fn recovered(&self) {
        self.recovered.add(1, Relaxed);
    }

    fn tick(adapter: &Adapter<Self>) -> bool {
        adapter.miniport().more.load(Relaxed)
    }

    fn null_packet(_node: Node) -> FakePacket {
        FakePacket::Null
    }
}

/// The device used its oldest packet of the render node. Returns whether there was one.
pub(super) fn end_oldest(state: &mut FakeState, result: Result) -> bool {
    let Some((control, render)) = Fake::control_and_render(state) else {
        return false;
    };
    let engine = control.engine.as_mut();
    let Some(id) = engine.and_then(|engine| engine.rendered.pop()) else {
        return false;
    };
    NodeQueue::complete_render(control, render, id, result);
    true
}

/// Room of the fake engine.
pub(super) const ROOM: usize = 8;

/// How much of that clients may have.
pub(super) const CLIENTS: usize = 6;

pub(super) fn states() -> Result<KVec<FakeState>> {
    let queue = |node| -> Result<_> {
        let engine = FakeEngine {
            taken: Fifo::new(ROOM)?,
            rendered: Fifo::new(ROOM)?,
            node,
            slots: u32::MAX,
            published: 0,
            suppressed: false,
            overdue: false,
        };
        NodeQueue::new(node, Some(engine))
    };
    let mut states = KVec::new();
    let control = queue(Node::Control)?;
    let render = NodeQueue::new_render(&control, true)?;
    let control = FakeState {
        nodes: PerNode::new([
            Some(control),
            None,
            Some(NodeQueue::new(Node::Software, None)?),
            Some(render),
        ]),
        notify: Some(Notify::new()),
    };
    let cursor = FakeState {
        nodes: PerNode::new([None, Some(queue(Node::Cursor)?), None, None]),
        notify: None,
    };
    states.push(control, GFP_KERNEL)?;
    states.push(cursor, GFP_KERNEL)?;
    Ok(states)
}
