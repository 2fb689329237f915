// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the order in a node: what packets of clients can hold up, and what they cannot.

use kernel::prelude::*;

use crate::scheduler::{
    self,
    submission,
    Hardware,
    Node, //
};

use super::{
    Fake,
    Rig,
    CLIENTS,
    ROOM, //
};

#[kunit_tests(rust_gpu_lanes)]
mod suite {
    use super::*;

    #[test]
    fn the_driver_waits_for_a_bound_of_clients() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let count = 2 * CLIENTS as u32;
        let taken = || rig.with_control(|queue| Some(queue.engine.as_ref()?.taken.len()));

        // The rest of the engine is for the driver.
        assert_eq!(rig.submit(Node::Control, count), Ok((count, count.into())));
        assert_eq!(taken(), Ok(Some(CLIENTS)));
        let commands = (ROOM - CLIENTS) as u32;
        let first = u64::from(count) + 1;
        assert_eq!(rig.command(Node::Control, commands), Ok(first + 1));
        assert_eq!(taken(), Ok(Some(ROOM)));

        // What waits goes before the packets of clients that waited before.
        assert_eq!(rig.command(Node::Control, 1), Ok(first + 1));
        assert_eq!(rig.complete(1), Ok(Some(1)));
        submission::run_submission(&rig.adapter);
        assert_eq!(rig.complete(CLIENTS - 1), Ok(Some(CLIENTS as u64)));
        assert_eq!(rig.complete(3), Ok(Some(first + 2)));

        // Clients of earlier ones still wait.
        assert_eq!(rig.ids(Node::Control), Ok((CLIENTS as u64, first + 2)));
        submission::run_submission(&rig.adapter);
        assert_eq!(rig.complete(CLIENTS), Ok(Some(count.into())));
        assert_eq!(rig.ids(Node::Control), Ok((first + 2, first + 2)));
        Ok(())
    }

    #[test]
    fn null_packets_do_not_wait_for_commands_behind_them() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let set_slots = |slots| {
            rig.with_control(|queue| {
                queue.engine.as_mut()?.slots = slots;
                Some(())
            })
        };

        // Clients take all of the memory, and one more of their packets waits for some.
        assert!(set_slots(CLIENTS as u32).is_ok());
        assert!(rig.submit(Node::Control, CLIENTS as u32 + 1).is_ok());
        assert_eq!(rig.complete(CLIENTS), Ok(Some(CLIENTS as u64)));
        // Commands get the memory, before the submission thread runs.
        assert!(set_slots(0).is_ok());
        assert!(rig.command(Node::Control, CLIENTS as u32).is_ok());
        submission::run_submission(&rig.adapter);

        let last = 2 * CLIENTS as u64 + 1;
        assert_eq!(rig.complete(CLIENTS), Ok(Some(last)));
        assert!(set_slots(CLIENTS as u32).is_ok());
        submission::run_submission(&rig.adapter);
        assert_eq!(rig.complete(1), Ok(Some(CLIENTS as u64 + 1)));
        assert_eq!(rig.ids(Node::Control), Ok((last, last)));
        Ok(())
    }

    #[test]
    fn clients_have_four_packets_in_the_cursor_queue() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let taken = || {
            rig.adapter.synchronize_execution(1, |state| {
                let queue = Fake::node(state, Node::Cursor)?;
                Some(queue.engine.as_ref()?.taken.len())
            })
        };

        // A client that polls and submits does not dispatch, whatever the device has done.
        assert_eq!(rig.submit(Node::Cursor, 10), Ok((10, 10)));
        assert_eq!(taken(), Ok(Some(0)));
        for completed in [4, 8, 10] {
            assert!(rig.is_woken());
            submission::run_submission(&rig.adapter);
            assert!(taken().is_ok_and(|taken| taken.is_some_and(|taken| taken <= 4)));
            assert!(scheduler::query_current_fence(&rig.adapter, Node::Cursor).is_ok());
            assert_eq!(rig.ids(Node::Cursor), Ok((completed, 10)));
            assert_eq!(rig.submit(Node::Cursor, 0), Ok((0, 10)));
        }
        // The driver's packets do not wait for the thread.
        assert_eq!(rig.command(Node::Cursor, 2), Ok(12));
        assert_eq!(taken(), Ok(Some(2)));
        Ok(())
    }

    #[test]
    fn the_software_node_leaves_turns_to_others() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let round = submission::SOFTWARE_ROUND as u64;
        let completed = || Some(rig.ids(Node::Software).ok()?.0);

        let count = 2 * round + 1;
        assert!(rig.submit(Node::Software, count as u32).is_ok());
        for done in [round, 2 * round] {
            assert!(rig.submit(Node::Control, 2 * CLIENTS as u32).is_ok());
            assert!(rig.complete(CLIENTS).is_ok_and(|last| last.is_some()));
            assert!(rig.is_woken());
            submission::run_submission(&rig.adapter);
            assert_eq!(completed(), Some(done));
            // The thread asks for another round, and begins it with the other nodes.
            assert!(rig.is_woken());
            assert_eq!(rig.with_control(|queue| Some(queue.queued())), Ok(Some(0)));
            assert!(rig.complete(CLIENTS).is_ok_and(|last| last.is_some()));
        }
        submission::run_submission(&rig.adapter);
        assert_eq!(completed(), Some(count));
        Ok(())
    }
}
