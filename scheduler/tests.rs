// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the scheduler's core: order of packets and fences, what is reported, and the
//! software queue of the documentation's example.

use kernel::{
    irq::sim::Domain,
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    },
};

use crate::{
    irq::{
        tests::wait,
        Adapter,
        Connection,
        Dpc,
        Status,
        Vectors, //
    },
    scheduler::{
        self,
        client::CLIENT_LIMIT,
        submission,
        Client,
        Fifo,
        Hardware,
        Interrupt,
        Node,
        NodeQueue,
        PerNode,
        Progress, //
    },
};

mod blame;
mod contexts;
mod fake;
mod fence;
mod fifo;
mod lanes;
mod notify;
mod preempt;
mod promise;
mod render;
mod render_reset;
mod reset;
mod watchdog;

use self::fake::{
    end_oldest,
    states,
    Fake,
    FakeEngine,
    FakePacket,
    CLIENTS,
    ROOM, //
};

/// The fake device, the interrupts for its messages, and a client of it.
struct Rig {
    // Dropped before the interrupts.
    adapter: Arc<Adapter<Fake>>,
    client: Arc<Client>,
    domain: Domain,
}

impl Rig {
    fn new() -> Result<Self> {
        let vectors = Vectors {
            count: 2,
            dpc_message: 0,
        };
        Ok(Self {
            adapter: Adapter::new(Fake::new()?, vectors)?,
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
        assert_eq!(notified, Ok(Some((PerNode::new([0, 2, 0, 0]), 1))));
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
