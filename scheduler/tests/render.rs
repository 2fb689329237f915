// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the render node: the order of its packets and of their fences, and how it shares
//! the engine with the control node.

use kernel::{
    dma_buf::Fence,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::Relaxed,
        Arc, //
    },
};

use crate::{
    irq::tests::wait,
    scheduler::{
        self,
        client::CLIENT_LIMIT,
        submission,
        Client,
        Hardware,
        Lack,
        Node,
        NodeQueue,
        Promise,
        Submitted,
        MAX_RINGS, //
    }, //
};

use super::{
    end_oldest,
    Fake,
    FakePacket,
    Rig,
    CLIENTS,
    ROOM, //
};

/// Most open packets that clients may have in the fake engine.
const OPEN: usize = CLIENTS - CLIENTS / 4;

/// Those of a client that comes first: not more than are left for others.
const FIRST: usize = OPEN.div_ceil(2);

impl Rig {
    /// Promises `client` room for a packet that may wait.
    pub(super) fn promise(&self, client: &Arc<Client>) -> Result<Promise> {
        Promise::to_wait(&self.adapter, client, 0)?.map_err(|_| EBUSY)
    }

    /// Submits a packet for which there is a promise.
    pub(super) fn keep(&self, promise: Promise, fenced: bool) -> Result<Submitted> {
        let client = promise.client().clone();
        let fence = fenced.then(|| client.new_fence()).transpose()?;
        scheduler::submit_promised(&self.adapter, promise, FakePacket::Command, fence)
            .map_err(|refused| refused.error)
    }

    /// Submits a packet of `client` with a fence.
    pub(super) fn render(&self, client: &Arc<Client>) -> Result<ARef<Fence>> {
        let submitted = self.keep(self.promise(client)?, true)?;
        submitted.fence.ok_or(EINVAL)
    }

    /// Submits `count` of them.
    pub(super) fn render_some(
        &self,
        client: &Arc<Client>,
        count: usize,
    ) -> Result<KVec<ARef<Fence>>> {
        let mut fences = KVec::new();
        for _ in 0..count {
            fences.push(self.render(client)?, GFP_KERNEL)?;
        }
        Ok(fences)
    }

    /// Submits a packet of `client` without one. Returns its ticket.
    pub(super) fn render_bounded(&self, client: &Arc<Client>) -> Result<u64> {
        Ok(self.keep(self.promise(client)?, false)?.ticket)
    }

    /// The device has used its oldest packets of the render node, `count` of them.
    pub(super) fn end(&self, count: usize) -> bool {
        let ended = self
            .adapter
            .synchronize_execution(0, |state| (0..count).all(|_| end_oldest(state, Ok(()))));
        ended == Ok(true)
    }

    /// The device has used the packet of the render node with this id.
    pub(super) fn end_one(&self, id: u64, result: Result) -> bool {
        let ended = self.adapter.synchronize_execution(0, |state| {
            let (control, render) = Fake::control_and_render(state)?;
            let engine = control.engine.as_mut()?;
            engine.rendered.take(|taken| *taken == id)?;
            NodeQueue::complete_render(control, render, id, result);
            Some(())
        });
        ended == Ok(Some(()))
    }

    /// Returns how many packets of the control node and of the render node the engine has.
    pub(super) fn in_engine(&self) -> [usize; 2] {
        let found = self.with_control(|queue| {
            let engine = queue.engine.as_ref()?;
            Some([engine.taken.len(), engine.rendered.len()])
        });
        found.ok().flatten().unwrap_or([usize::MAX; 2])
    }

    /// Returns how many packets of the render node wait.
    pub(super) fn waiting(&self) -> Result<u64> {
        Ok(self.progress(Node::Render)?.queued)
    }
}

/// Returns how many of `fences` are signalled.
pub(super) fn signalled(fences: &[ARef<Fence>]) -> usize {
    fences.iter().filter(|fence| fence.is_signaled()).count()
}

#[kunit_tests(rust_gpu_render)]
mod suite {
    use super::*;

    #[test]
    fn numbers_are_in_the_order_of_packets() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let files = [Client::new()?, Client::new()?];
        let (mut fences, mut last) = ([KVec::new(), KVec::new()], [0; 2]);

        // Some of them wait.
        for turn in 0..20 {
            for (file, fences) in files.iter().zip(&mut fences) {
                let fence = rig.render(file)?;
                assert_eq!(fence.seqno(), turn + 1);
                fences.push(fence, GFP_KERNEL)?;
            }
        }
        let [one, other] = &fences;
        assert!(one.iter().all(|fence| fence.context() == one[0].context()));
        assert!(other
            .iter()
            .all(|fence| fence.context() != one[0].context()));
        let [_, taken] = rig.in_engine();
        assert!(taken <= OPEN);
        assert_eq!(rig.waiting(), Ok(40 - taken as u64));

        // Each that ends signals the next number of its file, at once.
        for _ in 0..40 {
            assert!(rig.end(1));
            let now = [signalled(one), signalled(other)];
            assert_eq!(now[0] + now[1], last[0] + last[1] + 1);
            for (fences, count) in fences.iter().zip(now) {
                assert!(fences.iter().take(count).all(|fence| fence.is_signaled()));
            }
            last = now;
            submission::run_submission(&rig.adapter);
        }
        assert_eq!(last, [20, 20]);
        assert!(fences.iter().flatten().all(|fence| fence.error().is_none()));
        assert_eq!(rig.ids(Node::Render), Ok((40, 40)));
        for file in &files {
            assert_eq!(file.completed(Node::Render), 20);
            assert_eq!(file.reserve(u32::MAX), CLIENT_LIMIT);
        }
        Ok(())
    }

    #[test]
    fn early_answers_are_held_back() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let [client, other] = [Client::new()?, Client::new()?];

        let fences = rig.render_some(&client, FIRST)?;
        assert_eq!(FIRST, 3);
        assert!(rig.end_one(2, Ok(())) && rig.end_one(3, Err(ENODATA)));
        assert_eq!(signalled(&fences), 0);
        // They count: neither its places nor the engine's come back.
        assert_eq!(client.reserve(u32::MAX), CLIENT_LIMIT - FIRST as u32);
        client.give_back(CLIENT_LIMIT - FIRST as u32);
        let more = rig.render(&client)?;
        assert_eq!(rig.in_engine(), [0, 1]);
        assert_eq!(rig.waiting(), Ok(1));
        // Others do not wait for that.
        let its = rig.render(&other)?;
        assert!(rig.end_one(4, Ok(())));
        assert!(its.is_signaled());

        assert!(rig.end_one(1, Ok(())));
        assert_eq!(signalled(&fences), FIRST);
        // The error is of that fence alone.
        assert_eq!(fences[0].error(), None);
        assert_eq!(fences[1].error(), None);
        assert_eq!(fences[2].error(), Some(ENODATA));
        submission::run_submission(&rig.adapter);
        assert!(!more.is_signaled());
        assert!(rig.end(1));
        assert_eq!(more.status(), Some(Ok(())));
        assert_eq!(client.reserve(u32::MAX), CLIENT_LIMIT);
        Ok(())
    }

    #[test]
    fn rings_are_apart() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let client = &rig.client;
        let on_ring = |ring| -> Result<_> {
            let (promise, fence) = (rig.promise(client)?, client.new_ring_fence(ring)?);
            let packet = FakePacket::Command;
            let submitted = scheduler::submit_promised(&rig.adapter, promise, packet, Some(fence));
            submitted
                .map_err(|refused| refused.error)?
                .fence
                .ok_or(EINVAL)
        };

        // One that does not end holds up nothing but its ring.
        let stays = on_ring(1)?;
        let (other, none) = (on_ring(MAX_RINGS - 1)?, rig.render(client)?);
        assert!(rig.end_one(2, Ok(())) && rig.end_one(3, Ok(())));
        assert!(other.is_signaled() && none.is_signaled());
        let later = on_ring(1)?;
        assert_eq!((stays.seqno(), later.seqno()), (1, 2));
        assert_eq!(stays.context(), later.context());
        assert!(stays.context() != other.context() && other.context() != none.context());
        assert!(rig.end_one(4, Ok(())));
        assert!(!stays.is_signaled() && !later.is_signaled());
        assert!(rig.end_one(1, Ok(())));
        assert!(stays.is_signaled() && later.is_signaled());
        assert_eq!(client.new_ring_fence(MAX_RINGS).err(), Some(EINVAL));
        Ok(())
    }

    #[test]
    fn an_interrupt_signals() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let fences = rig.render_some(&rig.client, FIRST)?;

        rig.fake().rendered.store(2, Relaxed);
        rig.domain.fire(0)?;
        assert!(wait(|| signalled(&fences) == 2));
        assert!(!fences[2].is_signaled());
        // Waiters for tickets are told too.
        let fence = |ticket| rig.fake().fences.wait(&rig.client, Node::Render, ticket, 0);
        assert_eq!([fence(2), fence(3)], [Ok(()), Err(ETIME)]);
        assert!(rig.end(1));
        assert_eq!(fence(3), Ok(()));
        Ok(())
    }

    #[test]
    fn nobody_is_woken_for_a_file_that_is_blocked() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let [client, other] = [Client::new()?, Client::new()?];
        let waiting = || {
            rig.adapter.synchronize_execution(0, |state| {
                [Node::Control, Node::Render]
                    .map(|node| Fake::node(state, node).is_some_and(|queue| queue.is_waiting()))
            })
        };

        let fences = rig.render_some(&client, 2 * ROOM)?;
        assert_eq!(rig.in_engine(), [0, FIRST]);
        submission::run_submission(&rig.adapter);
        assert_eq!(waiting(), Ok([false; 2]));
        // What another one gives back is no room for it.
        for turn in 1..=3 {
            let fence = rig.render(&other)?;
            assert_eq!(rig.in_engine(), [0, FIRST + 1]);
            assert!(rig.end_one(FIRST as u64 + turn, Ok(())) && fence.is_signaled());
            assert_eq!(waiting(), Ok([false; 2]));
        }
        // What is its own is.
        assert!(rig.end(1));
        assert_eq!(waiting(), Ok([true; 2]));
        submission::run_submission(&rig.adapter);
        assert_eq!(rig.in_engine(), [0, FIRST]);
        assert_eq!(waiting(), Ok([false; 2]));
        assert_eq!(signalled(&fences), 1);
        Ok(())
    }

    #[test]
    fn open_packets_leave_room() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let [client, other] = [Client::new()?, Client::new()?];

        // A file gets no more than are left, and all of them not more than three quarters.
        let mut fences = rig.render_some(&client, 2 * ROOM)?;
        assert_eq!(rig.in_engine(), [0, FIRST]);
        let its = rig.render_some(&other, 2 * ROOM)?;
        let taken = FIRST + (OPEN - FIRST).div_ceil(2);
        assert_eq!(rig.in_engine(), [0, taken]);
        // The rest is for what ends soon, also of the same node, and for the control node.
        let bounded = Client::new()?;
        assert_eq!(rig.render_bounded(&bounded), Ok(1));
        assert_eq!(rig.in_engine(), [0, taken + 1]);
        let null = CLIENTS - taken - 1;
        assert!(rig.submit(Node::Control, CLIENTS as u32).is_ok());
        assert_eq!(rig.in_engine(), [null, taken + 1]);
        assert_eq!(rig.render_bounded(&bounded), Ok(2));
        assert_eq!(rig.waiting(), Ok(4 * ROOM as u64 - taken as u64 + 1));
        // And what is beside that for the driver.
        assert!(rig.command(Node::Control, (ROOM - CLIENTS) as u32).is_ok());
        assert_eq!(rig.in_engine(), [null + ROOM - CLIENTS, taken + 1]);

        // Null packets go on meanwhile.
        while rig.progress(Node::Control)?.is_busy() {
            assert!(rig.complete(1)?.is_some());
            submission::run_submission(&rig.adapter);
        }
        assert!(rig.end_one(taken as u64 + 1, Ok(())));
        assert_eq!(signalled(&fences), 0);
        while rig.progress(Node::Render)?.is_busy() {
            assert!(rig.end(1));
            submission::run_submission(&rig.adapter);
            assert!(rig.in_engine()[1] <= CLIENTS);
        }
        for fence in its {
            fences.push(fence, GFP_KERNEL)?;
        }
        assert_eq!(signalled(&fences), 4 * ROOM);
        assert_eq!(bounded.completed(Node::Render), 2);
        Ok(())
    }

    #[test]
    fn the_driver_goes_first() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;

        assert!(rig.command(Node::Control, ROOM as u32 + 1).is_ok());
        let fence = rig.render(&rig.client)?;
        assert_eq!(rig.in_engine(), [ROOM, 0]);
        // One place: it is that of the command.
        assert!(rig.complete(1)?.is_some());
        let later = rig.render(&rig.client)?;
        assert_eq!(rig.in_engine(), [ROOM - 1, 0]);
        submission::run_submission(&rig.adapter);
        assert_eq!(rig.in_engine(), [ROOM, 0]);
        assert!(rig.complete(2)?.is_some());
        submission::run_submission(&rig.adapter);
        assert_eq!(rig.in_engine(), [ROOM - 2, 2]);
        assert!(rig.end(2));
        assert!(fence.is_signaled() && later.is_signaled());
        Ok(())
    }

    #[test]
    fn what_ends_makes_room_for_the_other_node() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;

        // Null packets have all of the share. When one ends the thread is woken for the other node.
        assert!(rig.submit(Node::Control, CLIENTS as u32).is_ok());
        let fence = rig.render(&rig.client)?;
        assert_eq!(rig.in_engine(), [CLIENTS, 0]);
        rig.is_woken();
        rig.fake().used.store(1, Relaxed);
        rig.domain.fire(0)?;
        assert!(wait(|| rig.is_woken()));
        submission::run_submission(&rig.adapter);
        assert_eq!(rig.in_engine(), [CLIENTS - 1, 1]);
        assert!(rig.end(1) && fence.is_signaled());
        Ok(())
    }

    #[test]
    fn it_is_not_preempted() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let preempt = |node| scheduler::preempt(&rig.adapter, node, None);

        assert_eq!(preempt(Node::Render), Err(EOPNOTSUPP));
        // Nor is it in the way of one of the control node, nor that in its way.
        assert!(rig.submit(Node::Control, 1).is_ok());
        assert_eq!(preempt(Node::Control), Ok(()));
        let fence = rig.render(&rig.client)?;
        assert_eq!(rig.in_engine(), [1, 1]);
        assert!(rig.end(1));
        assert!(fence.is_signaled());
        assert!(rig.complete(1)?.is_some());
        Ok(())
    }

    #[test]
    fn what_is_promised_is_room_in_the_engine() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let [client, other] = [Client::new()?, Client::new()?];
        let promise = |client| Promise::new(&rig.adapter, client, 0);

        // What others take meanwhile is not what is promised.
        let mine = promise(&client)?.map_err(|_| EBUSY)?;
        let mut its = 0;
        while let Ok(promise) = promise(&other)? {
            rig.keep(promise, true)?;
            its += 1;
        }
        assert_eq!(rig.in_engine(), [0, its]);
        rig.keep(mine, true)?;
        assert_eq!((rig.in_engine(), rig.waiting()), ([0, its + 1], Ok(0)));
        // A file that has as much as it may waits for its own.
        while let Ok(promise) = promise(&client)? {
            rig.keep(promise, true)?;
        }
        assert_eq!(rig.waiting(), Ok(0));
        assert_eq!(promise(&client)?.err(), Some(Lack::Own));
        let [_, taken] = rig.in_engine();
        assert!(taken <= OPEN && rig.end(taken));
        assert!(promise(&client)?.is_ok());

        // Commands of the driver may be in the way of one packet, but not of more.
        assert!(rig.command(Node::Control, ROOM as u32).is_ok());
        let promised = promise(&client)?.map_err(|_| EBUSY)?;
        let fence = rig.keep(promised, true)?.fence.ok_or(EINVAL)?;
        assert_eq!((rig.in_engine(), rig.waiting()), ([ROOM, 0], Ok(1)));
        assert_eq!(promise(&client)?.err(), Some(Lack::Own));
        assert!(promise(&other)?.is_ok());
        assert!(rig.complete(ROOM)?.is_some());
        submission::run_submission(&rig.adapter);
        assert!(promise(&client)?.is_ok());
        assert!(rig.end(1) && fence.is_signaled());
        Ok(())
    }

    #[test]
    fn without_3d_it_takes_nothing() -> Result {
        let rig = Rig::new()?;
        let mut connection = rig.connect()?;
        let mut states = connection.disconnect();
        let state = states.get_mut(0).ok_or(EINVAL)?;
        let control = Fake::node(state, Node::Control).ok_or(EINVAL)?;
        let unused = NodeQueue::new_render(control, false)?;
        state.nodes[Node::Render] = Some(unused);
        connection.connect(&mut states)?;

        let refused = Promise::new(&rig.adapter, &rig.client, 0);
        assert_eq!(refused.err(), Some(EOPNOTSUPP));
        assert_eq!(rig.client.reserve(u32::MAX), CLIENT_LIMIT);
        let progress = scheduler::query_current_fence(&rig.adapter, Node::Render)?;
        assert!(!progress.is_busy());
        submission::run_submission(&rig.adapter);
        scheduler::cancel_render(&rig.adapter);
        assert_eq!(rig.ids(Node::Render), Ok((0, 0)));
        Ok(())
    }
}
