// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of preemption, one for each row of the contract of `DxgkDdiPreemptCommand`.

use kernel::prelude::*;

use crate::{
    irq::tests::wait,
    scheduler::{
        self,
        context::STAGED,
        submission,
        Hardware,
        Node,
        NodeQueue,
        Preempted, //
    }, //
};

use super::{
    Fake,
    Rig,
    CLIENTS, //
};

/// Packets in the engine, and those with submission ids, if clients have enough.
const IN_ENGINE: u64 = CLIENTS as u64;
const HANDED_OUT: u64 = IN_ENGINE + STAGED as u64;

impl Rig {
    fn preempt(&self, node: Node, id: u64) -> Result {
        scheduler::preempt(&self.adapter, node, Some(id))
    }

    /// Returns the answers of `node`: how many, and the last one.
    fn answers(&self, node: Node) -> Preempted {
        scheduler::preemptions(&self.adapter).map_or(Preempted::NONE, |answers| answers[node])
    }

    /// Returns how many events were recorded.
    fn notifications(&self) -> u64 {
        let found = self.adapter.synchronize_execution(0, |state| {
            Fake::notify(state).map(|notify| notify.notifications())
        });
        found.ok().flatten().unwrap_or(0)
    }
}

const fn answer(count: u64, id: u64, completed: u64) -> Preempted {
    Preempted {
        count,
        id,
        completed,
    }
}

#[kunit_tests(rust_gpu_preempt)]
mod suite {
    use super::*;

    #[test]
    fn all_had_completed() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;

        // Not even one packet yet, on each node but that of 3D.
        for node in [Node::Control, Node::Cursor, Node::Software] {
            rig.preempt(node, 5)?;
            assert!(wait(|| rig.answers(node) == answer(1, 5, 0)));
        }
        assert!(rig.submit(Node::Control, 2).is_ok());
        assert!(rig.complete(2).is_ok());
        let (before, dpcs) = (rig.notifications(), rig.adapter.dpcs_run());
        rig.preempt(Node::Control, 6)?;
        // From the synchronised routine, so it is there already, and a DPC follows.
        assert_eq!(rig.answers(Node::Control), answer(2, 6, 2));
        assert_eq!(rig.notifications(), before + 1);
        assert!(wait(|| rig.adapter.dpcs_run() > dpcs));
        // Packets go on.
        assert!(rig.submit(Node::Control, 1).is_ok());
        assert_eq!(rig.ids(Node::Control), Ok((2, 3)));
        Ok(())
    }

    #[test]
    fn what_is_published_finishes_and_the_rest_gets_new_ids() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let all = HANDED_OUT + 20;
        let queued = all - IN_ENGINE;

        assert!(rig.submit(Node::Control, all as u32).is_ok());
        assert_eq!(rig.progress(Node::Control)?.submitted, HANDED_OUT);
        rig.preempt(Node::Control, 1)?;
        assert_eq!(rig.progress(Node::Control)?.queued, queued);
        // Neither the thread nor a submitter hands out more.
        submission::run_submission(&rig.adapter);
        assert_eq!(rig.submit(Node::Control, 1), Ok((1, all + 1)));
        rig.interrupt(0, IN_ENGINE as u32 - 1)?;
        submission::run_submission(&rig.adapter);
        let found = rig.progress(Node::Control)?;
        assert_eq!(
            (found.submitted, found.completed),
            (HANDED_OUT, IN_ENGINE - 1)
        );
        assert_eq!((found.queued, found.in_flight), (queued + 1, 1));
        assert_eq!(rig.answers(Node::Control), Preempted::NONE);

        // The interrupt of the last one has the answer, and wakes the thread through the DPC.
        rig.is_woken();
        rig.interrupt(0, 1)?;
        assert!(wait(
            || rig.answers(Node::Control) == answer(1, 1, IN_ENGINE)
        ));
        assert!(wait(|| rig.is_woken()));
        assert_eq!(rig.client.completed(Node::Control), IN_ENGINE);
        submission::run_submission(&rig.adapter);
        assert_eq!(rig.progress(Node::Control)?.submitted, 2 * HANDED_OUT);
        let mut id = HANDED_OUT;
        for ticket in IN_ENGINE + 1..=all + 1 {
            id += 1;
            assert_eq!(rig.complete(1), Ok(Some(id)));
            assert_eq!(rig.client.completed(Node::Control), ticket);
            submission::run_submission(&rig.adapter);
        }
        assert_eq!(rig.ids(Node::Control), Ok((id, id)));
        assert!(!rig.progress(Node::Control)?.is_busy());
        Ok(())
    }

    #[test]
    fn one_at_a_time() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;

        assert!(rig.submit(Node::Control, 1).is_ok());
        rig.preempt(Node::Control, 7)?;
        assert_eq!(rig.preempt(Node::Control, 8), Err(EBUSY));
        // Each node for itself.
        assert_eq!(rig.preempt(Node::Software, 7), Ok(()));
        rig.interrupt(0, 1)?;
        assert!(wait(|| rig.answers(Node::Control) == answer(1, 7, 1)));
        // Ids rise.
        assert_eq!(rig.preempt(Node::Control, 7), Err(EINVAL));
        assert_eq!(
            scheduler::preempt(&rig.adapter, Node::Control, None),
            Ok(())
        );
        assert_eq!(rig.answers(Node::Control), answer(2, 8, 1));
        Ok(())
    }

    #[test]
    fn the_driver_is_not_held_back() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;

        // One is staged.
        assert!(rig.submit(Node::Control, CLIENTS as u32 + 1).is_ok());
        rig.preempt(Node::Control, 1)?;
        assert_eq!(rig.command(Node::Control, 1), Ok(IN_ENGINE + 2));
        assert!(
            rig.with_control(|queue| Some(queue.engine.as_ref()?.taken.len()))
                == Ok(Some(CLIENTS + 1))
        );
        // It overtakes, and the id that was taken back is not complete for that.
        assert_eq!(rig.complete_these(&[IN_ENGINE + 2]), Ok(Some(())));
        assert_eq!(rig.command(Node::Control, 1), Ok(IN_ENGINE + 3));
        rig.interrupt(0, CLIENTS as u32)?;
        // Nor does the answer wait for the one that came later.
        assert!(wait(
            || rig.answers(Node::Control) == answer(1, 1, IN_ENGINE)
        ));
        submission::run_submission(&rig.adapter);
        assert_eq!(rig.complete(2), Ok(Some(IN_ENGINE + 4)));
        assert_eq!(rig.ids(Node::Control), Ok((IN_ENGINE + 4, IN_ENGINE + 4)));
        Ok(())
    }

    #[test]
    fn another_message_answers_through_the_dpc() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;

        assert!(rig.submit(Node::Cursor, 6).is_ok());
        submission::run_submission(&rig.adapter);
        assert_eq!(rig.progress(Node::Cursor)?.in_flight, 4);
        rig.preempt(Node::Cursor, 3)?;
        assert_eq!(rig.answers(Node::Cursor), Preempted::NONE);
        let before = rig.notifications();
        rig.interrupt(1, 4)?;
        assert!(wait(|| rig.answers(Node::Cursor) == answer(1, 3, 4)));
        assert!(wait(|| rig.notifications() == before + 2));
        // Its packets go on.
        assert!(wait(|| rig.is_woken()));
        submission::run_submission(&rig.adapter);
        assert_eq!(rig.ids(Node::Cursor), Ok((4, 8)));
        Ok(())
    }

    /// The guide for porters quotes this.
    #[test]
    fn a_packet_of_the_example_is_preempted() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;

        // A client has five packets. The thread has taken the first one, and is at it.
        assert_eq!(rig.submit(Node::Software, 5), Ok((5, 5)));
        let taken = rig.adapter.synchronize_execution(0, |state| {
            Fake::node(state, Node::Software).and_then(NodeQueue::pop)
        });
        assert!(matches!(taken, Ok(Some((1, Some(_))))));
        let before = rig.notifications();
        // DxgkDdiPreemptCommand, with 9 as PreemptionFenceId. The other four wait again.
        scheduler::preempt(&rig.adapter, Node::Software, Some(9))?;
        assert_eq!(rig.progress(Node::Software)?.queued, 4);
        assert_eq!(rig.answers(Node::Software), answer(0, 0, 0));
        // The thread reports DMA_PREEMPTED in place of the first packet, and goes on.
        submission::run_submission(&rig.adapter);
        assert_eq!(rig.answers(Node::Software), answer(1, 9, 1));
        // The four have new submission ids, 6 to 9, and their old tickets, 2 to 5.
        assert_eq!(rig.ids(Node::Software), Ok((9, 9)));
        assert_eq!(rig.client.completed(Node::Software), 5);
        assert_eq!(rig.notifications(), before + 5);
        // The thread is idle. So the routine of the call itself has reported it.
        scheduler::preempt(&rig.adapter, Node::Software, Some(10))?;
        assert_eq!(rig.answers(Node::Software), answer(2, 10, 9));
        Ok(())
    }

    #[test]
    fn a_reset_ends_it_without_an_answer() -> Result {
        let rig = Rig::new()?;
        let mut connection = rig.connect()?;

        assert!(rig.submit(Node::Control, CLIENTS as u32 + 3).is_ok());
        rig.preempt(Node::Control, 1)?;
        let mut states = connection.disconnect();
        assert_eq!(rig.preempt(Node::Control, 2), Err(ENOTCONN));
        scheduler::force_complete(rig.fake(), &mut states, &rig.fake().fences);
        let state = states.get_mut(0).ok_or(EINVAL)?;
        let queue = Fake::node(state, Node::Control).ok_or(EINVAL)?;
        while queue.engine.as_mut().ok_or(EINVAL)?.taken.pop().is_some() {}
        connection.connect(&mut states)?;
        assert_eq!(rig.answers(Node::Control), Preempted::NONE);
        submission::run_submission(&rig.adapter);
        assert_eq!(rig.complete(3), Ok(Some(IN_ENGINE + 6)));
        // And the next one is possible.
        rig.preempt(Node::Control, 2)?;
        assert_eq!(rig.answers(Node::Control), answer(1, 2, IN_ENGINE + 6));
        rig.fake().fences.wedge();
        assert_eq!(rig.preempt(Node::Control, 3), Err(EIO));
        rig.fake().fences.unplug();
        assert_eq!(rig.preempt(Node::Control, 3), Err(ENODEV));
        Ok(())
    }

    #[test]
    fn nobody_waits_for_an_open_packet() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let open = |count| {
            rig.with_control(|queue| {
                queue.set_next_open(count);
                Some(())
            })
        };

        assert!(open(1).is_ok());
        assert!(rig.submit(Node::Control, 2).is_ok());
        assert_eq!(rig.preempt(Node::Control, 1), Err(EOPNOTSUPP));
        assert!(rig.complete(1).is_ok());
        assert_eq!(rig.preempt(Node::Control, 1), Ok(()));
        Ok(())
    }
}
