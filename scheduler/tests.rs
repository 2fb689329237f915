// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the scheduler's core: order of packets and fences, what is reported, and the
//! software queue of the documentation's example.

use kernel::{
    irq::sim::Domain,
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
        tests::wait,
        Adapter,
        Connection,
        Dpc,
        Miniport,
        Status,
        Synchronized,
        Vectors, //
    },
    scheduler::{
        self,
        client::CLIENT_LIMIT,
        fifo::Fifo,
        submission,
        Client,
        Engine,
        Fences,
        Hardware,
        Health,
        Interrupt,
        Level,
        Node,
        NodeQueue,
        Notify,
        PerNode,
        Policy,
        Progress,
        Watchdog, //
    },
};

mod blame;
mod contexts;
mod fence;
mod fifo;
mod lanes;
mod notify;
mod preempt;
mod reset;
mod watchdog;

/// An engine with room for a few packets that completes them when it is told to.
struct FakeEngine {
    /// Submission ids of the packets taken, oldest first.
    taken: Fifo<u64>,
    /// Memory for commands and null packets alike. A null packet takes one when it is taken, a
    /// command when it is made.
    slots: u32,
    published: u32,
    suppressed: bool,
    /// It has executed a packet, and its interrupt does not come.
    overdue: bool,
}

enum FakePacket {
    Command,
    Null,
}

impl Engine for FakeEngine {
    type Packet = FakePacket;

    fn capacity(&self) -> usize {
        ROOM
    }

    fn submit(&mut self, packet: Self::Packet, id: u64) -> Result<(), Self::Packet> {
        let slots = u32::from(matches!(packet, FakePacket::Null));
        if self.slots < slots || self.taken.push(id).is_err() {
            return Err(packet);
        }
        self.slots -= slots;
        Ok(())
    }

    fn publish(&mut self, interrupt: Interrupt) -> bool {
        self.published += 1;
        self.suppressed |= interrupt == Interrupt::Suppressed;
        true
    }

    fn suppresses_interrupts(&self) -> bool {
        self.suppressed
    }

    fn is_overdue(&self) -> bool {
        self.overdue && !self.taken.is_empty()
    }
}

/// A device with two messages: the cursor node on message 1, all else on message 0.
struct Fake {
    fences: Arc<Fences>,
    /// How many packets the device has used when it interrupts next.
    used: Atomic<u32>,
    kicks: Atomic<u32>,
    watchdog: Watchdog,
    /// What the status says, as a [`Health`], and how often it was read.
    health: Atomic<u32>,
    health_reads: Atomic<u32>,
    broken: Atomic<u32>,
    recovered: Atomic<u32>,
    /// The clock has to go on.
    more: Atomic<bool>,
    /// A device that hangs is reset.
    resets: Atomic<bool>,
}

struct FakeState {
    nodes: PerNode<Option<NodeQueue<FakeEngine>>>,
    notify: Option<Notify>,
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

    fn fences(&self) -> &Fences {
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

/// Room of the fake engine.
const ROOM: usize = 8;

/// How much of that clients may have.
const CLIENTS: usize = 6;

fn states() -> Result<KVec<FakeState>> {
    let queue = |node| -> Result<_> {
        let engine = FakeEngine {
            taken: Fifo::new(ROOM)?,
            slots: u32::MAX,
            published: 0,
            suppressed: false,
            overdue: false,
        };
        NodeQueue::new(node, Some(engine))
    };
    let mut states = KVec::new();
    let control = FakeState {
        nodes: PerNode::new([
            Some(queue(Node::Control)?),
            None,
            Some(NodeQueue::new(Node::Software, None)?),
        ]),
        notify: Some(Notify::new()),
    };
    let cursor = FakeState {
        nodes: PerNode::new([None, Some(queue(Node::Cursor)?), None]),
        notify: None,
    };
    states.push(control, GFP_KERNEL)?;
    states.push(cursor, GFP_KERNEL)?;
    Ok(states)
}

/// The fake device, the interrupts for its messages, and a client of it.
struct Rig {
    // Dropped before the interrupts.
    adapter: Arc<Adapter<Fake>>,
    client: Arc<Client>,
    domain: Domain,
}

impl Rig {
    fn new() -> Result<Self> {
        let fake = Fake {
            fences: Fences::new()?,
            used: Atomic::new(0),
            kicks: Atomic::new(0),
            watchdog: Watchdog::new(),
            health: Atomic::new(Health::Good as u32),
            health_reads: Atomic::new(0),
            broken: Atomic::new(0),
            recovered: Atomic::new(0),
            more: Atomic::new(false),
            resets: Atomic::new(true),
        };
        let vectors = Vectors {
            count: 2,
            dpc_message: 0,
        };
        Ok(Self {
            adapter: Adapter::new(fake, vectors)?,
            client: Client::new()?,
            domain: Domain::new(vectors.count)?,
        })
    }

    fn fake(&self) -> &Fake {
        self.adapter.miniport()
    }

    /// Requests the interrupts, and connects them.
    fn connect(&self) -> Result<Connection<'_, Fake>> {
        let requests = (0..self.adapter.messages()).map(|message| self.domain.request(message));
        // SAFETY: The tests drop every connection.
        let mut connection =
            unsafe { Connection::new(self.adapter.clone(), c"rust_gpu_test", requests)? };
        connection.connect(&mut states()?)?;
        Ok(connection)
    }

    /// Returns whether the submission thread was woken since the last call.
    fn is_woken(&self) -> bool {
        self.fake().fences.submission_event().take()
    }

    /// Submits packets. Returns how many were taken, and the ticket of the last one.
    fn submit(&self, node: Node, count: u32) -> Result<(u32, u64), Status> {
        self.submit_for(&self.client, node, count)
    }

    /// Submits packets of `client`, as the ioctl does.
    fn submit_for(
        &self,
        client: &Arc<Client>,
        node: Node,
        count: u32,
    ) -> Result<(u32, u64), Status> {
        let granted = client.reserve(count);
        let result = scheduler::submit_null(&self.adapter, node, granted, client);
        client.give_back(granted - result.map_or(0, |(taken, _)| taken));
        result
    }

    /// Submits packets of the driver. Returns the last submission id of the node.
    fn command(&self, node: Node, count: u32) -> Result<u64> {
        for _ in 0..count {
            scheduler::submit(&self.adapter, node, FakePacket::Command)?.map_err(|_| EBUSY)?;
        }
        Ok(self.progress(node)?.submitted)
    }

    /// The device uses `count` packets of the node of `message`, and interrupts.
    fn interrupt(&self, message: u32, count: u32) -> Result {
        self.fake().used.store(count, Relaxed);
        self.domain.fire(message)?;
        assert!(wait(|| self.fake().used.load(Relaxed) == 0));
        Ok(())
    }

    /// Returns how far `node` is.
    fn progress(&self, node: Node) -> Result<Progress, Status> {
        scheduler::known_progress(&self.adapter, node)
    }

    /// Returns the last completed and the last submission id of `node`.
    fn ids(&self, node: Node) -> Result<(u64, u64), Status> {
        self.progress(node)
            .map(|found| (found.completed, found.submitted))
    }

    /// Completes the oldest packets of the control node. Returns the id of the last one.
    fn complete(&self, count: usize) -> Result<Option<u64>, Status> {
        self.with_control(|queue| {
            let mut last = None;
            for _ in 0..count {
                let id = queue.engine.as_mut()?.taken.pop()?;
                queue.complete(id);
                last = Some(id);
            }
            last
        })
    }

    /// Completes the packets of the control node with these ids.
    fn complete_these(&self, ids: &[u64]) -> Result<Option<()>, Status> {
        self.with_control(|queue| {
            for id in ids {
                queue.engine.as_mut()?.taken.take(|taken| taken == id)?;
                queue.complete(*id);
            }
            Some(())
        })
    }

    /// Runs `f` with the queue of the control node.
    fn with_control<R>(
        &self,
        f: impl FnOnce(&mut NodeQueue<FakeEngine>) -> Option<R>,
    ) -> Result<Option<R>, Status> {
        self.adapter
            .synchronize_execution(0, |state| f(Fake::node(state, Node::Control)?))
    }

    /// Waits until `node` shows `id` as complete.
    fn wait(&self, node: Node, id: u64) -> bool {
        wait(|| self.fake().fences.completed(node) == id)
    }
}

#[kunit_tests(rust_gpu_scheduler)]
mod suite {
    use super::*;

    #[test]
    fn packets_wait_in_order_for_room() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;

        let all = 3 * CLIENTS as u64;
        assert_eq!(rig.submit(Node::Control, all as u32), Ok((all as u32, all)));
        // One batch, one publication; what does not fit waits for the submission thread.
        assert_eq!(rig.fake().kicks.load(Relaxed), 1);
        assert!(rig.is_woken());

        let mut expected = 1;
        for _ in 0..3 {
            let done = rig.with_control(|queue| {
                let mut count = 0;
                while let Some(id) = queue.engine.as_mut()?.taken.pop() {
                    assert_eq!(id, expected);
                    expected += 1;
                    count += 1;
                    queue.complete(id);
                }
                Some((count, queue.completed()))
            });
            assert_eq!(done, Ok(Some((CLIENTS, expected - 1))));
            submission::run_submission(&rig.adapter);
        }
        assert_eq!(expected, all + 1);
        let end = Progress {
            completed: all,
            submitted: all,
            ..Progress::default()
        };
        assert_eq!(
            scheduler::query_current_fence(&rig.adapter, Node::Control),
            Ok(end)
        );
        assert_eq!(rig.client.completed(Node::Control), all);
        Ok(())
    }

    #[test]
    fn engines_without_interrupts_are_polled_when_others_follow() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut batch = Fifo::new(ROOM)?;
        let mut send = |count, interrupt| {
            for _ in 0..count {
                let _ = batch.push(FakePacket::Command);
            }
            scheduler::submit_batch(&rig.adapter, Node::Control, &mut batch, interrupt)
        };
        let is_suppressed = || rig.with_control(|queue| Some(queue.engine.as_ref()?.suppressed));

        assert_eq!(send(1, Interrupt::Suppressed), Ok(()));
        assert_eq!(is_suppressed(), Ok(Some(true)));
        assert_eq!(scheduler::report_vsync(&rig.adapter, 0, false), Ok(false));
        assert_eq!(is_suppressed(), Ok(Some(true)));
        assert_eq!(scheduler::report_vsync(&rig.adapter, 0, true), Ok(false));
        assert_eq!(is_suppressed(), Ok(Some(false)));

        assert_eq!(send(1, Interrupt::Suppressed), Ok(()));
        assert_eq!(is_suppressed(), Ok(Some(true)));
        assert_eq!(rig.submit(Node::Control, 1), Ok((1, 1)));
        assert_eq!(is_suppressed(), Ok(Some(false)));

        // A packet that waits for room needs the interrupt.
        assert_eq!(send(ROOM, Interrupt::Suppressed), Ok(()));
        assert_eq!(is_suppressed(), Ok(Some(false)));
        Ok(())
    }

    #[test]
    fn out_of_order_completions_are_reported_in_order() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        assert!(rig.submit(Node::Control, 3).is_ok());

        let complete = |id| {
            rig.adapter.synchronize_execution(0, |state| {
                let queue = Fake::node(state, Node::Control)?;
                queue.complete(id);
                let completed = queue.completed();
                scheduler::notify_completed(state, Node::Control, completed, Dpc::Queued);
                Fake::notify(state).map(|notify| notify.completed()[Node::Control])
            })
        };
        assert_eq!(complete(3), Ok(Some(0)));
        assert_eq!(complete(1), Ok(Some(1)));
        assert_eq!(complete(2), Ok(Some(3)));
        assert!(rig.wait(Node::Control, 3));
        Ok(())
    }

    #[test]
    fn other_messages_report_through_the_notify_message() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        assert_eq!(rig.command(Node::Cursor, 2), Ok(2));
        let told = rig.adapter.synchronize_execution(1, |state| {
            if let Some(queue) = Fake::node(state, Node::Cursor) {
                queue.complete(1);
                queue.complete(2);
            }
            // Not here: the scheduler's state is not in this message.
            let told = scheduler::notify_completed(state, Node::Cursor, 2, Dpc::Queued);
            state.queue_dpc();
            told
        });
        assert_eq!(told, Ok(false));
        assert!(rig.wait(Node::Cursor, 2));
        let notified = rig.adapter.synchronize_execution(0, |state| {
            Fake::notify(state).map(|notify| (notify.completed(), notify.notifications()))
        });
        assert_eq!(notified, Ok(Some((PerNode::new([0, 2, 0]), 1))));
        Ok(())
    }

    #[test]
    fn query_finds_what_no_interrupt_told() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        assert_eq!(rig.command(Node::Cursor, 2), Ok(2));
        assert!(scheduler::query_current_fence(&rig.adapter, Node::Cursor).is_ok());
        assert_eq!(rig.ids(Node::Cursor), Ok((2, 2)));
        Ok(())
    }

    #[test]
    fn software_queue_of_the_example() -> Result {
        let rig = Rig::new()?;
        let connection = rig.connect()?;
        assert!(rig.submit(Node::Software, 5).is_ok());
        // Nothing but the submission thread executes them.
        assert!(scheduler::query_current_fence(&rig.adapter, Node::Software).is_ok());
        assert_eq!(rig.ids(Node::Software), Ok((0, 5)));
        assert_eq!(rig.fake().kicks.load(Relaxed), 0);
        assert!(rig.is_woken());

        submission::run_submission(&rig.adapter);
        assert!(rig.wait(Node::Software, 5));
        // Each packet was reported on its own, and the client got its places back.
        let notified = rig.adapter.synchronize_execution(0, |state| {
            Fake::notify(state).map(|notify| notify.notifications())
        });
        assert_eq!(notified, Ok(Some(5)));
        assert_eq!(rig.client.reserve(u32::MAX), CLIENT_LIMIT);

        drop(connection);
        assert_eq!(rig.submit(Node::Software, 1), Err(Status::Unsuccessful));
        Ok(())
    }
}
