// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the search for the client whose packet made a device hang.

use kernel::{
    current,
    prelude::*,
    str::CString,
    sync::Arc, //
};

use crate::{
    irq::Connection,
    scheduler::{
        self,
        client::CLIENT_LIMIT,
        submission,
        Client,
        Guilty,
        Hang,
        Node, //
    }, //
};

use super::{
    Fake,
    Rig,
    CLIENTS, //
};

const HANG: Hang = Hang::Timeout(Node::Control);

impl Rig {
    /// Resets the device that hangs, and starts it again. Returns whether somebody was guilty.
    pub(super) fn reset(&self, connection: &mut Connection<'_, Fake>, hang: Hang) -> Result<bool> {
        let mut states = connection.disconnect();
        let guilty = scheduler::blame(self.fake(), &mut states, hang);
        scheduler::force_complete(self.fake(), &mut states, &self.fake().fences);
        for state in states.iter_mut() {
            for queue in state.nodes.values_mut().flatten() {
                scheduler::cancel_pending::<Fake>(queue);
                if let Some(engine) = &mut queue.engine {
                    while engine.taken.pop().is_some() {}
                    while engine.rendered.pop().is_some() {}
                }
            }
        }
        connection.connect(&mut states)?;
        submission::run_submission(&self.adapter);
        Ok(guilty.is_some())
    }

    /// The next `count` packets of clients are open.
    pub(super) fn open_next(&self, count: u64) {
        let _ = self.with_control(|queue| {
            queue.set_next_open(count);
            Some(())
        });
    }

    /// Returns how `ticket` ended, or the error of a wait.
    pub(super) fn outcome(&self, client: &Client, node: Node, ticket: u64) -> Result {
        self.fake().fences.wait(client, node, ticket, 0)
    }
}

#[kunit_tests(rust_gpu_blame)]
mod suite {
    use super::*;

    #[test]
    fn the_guilty_one_is_guilty_on_all_nodes() -> Result {
        let rig = Rig::new()?;
        let mut connection = rig.connect()?;
        let [guilty, other] = [Client::new()?, Client::new()?];

        // The oldest one hangs; another one's are published behind it.
        assert!(rig.submit_for(&guilty, Node::Control, 2).is_ok());
        assert!(rig
            .submit_for(&other, Node::Control, CLIENTS as u32)
            .is_ok());
        assert!(rig.submit_for(&guilty, Node::Control, 3).is_ok());
        assert!(rig.submit_for(&guilty, Node::Software, 2).is_ok());
        assert_eq!(rig.complete(1), Ok(Some(1)));
        assert_eq!(rig.reset(&mut connection, HANG), Ok(true));
        assert!(guilty.is_guilty() && !other.is_guilty());

        assert_eq!(rig.outcome(&guilty, Node::Control, 1), Ok(()));
        assert_eq!(rig.outcome(&guilty, Node::Control, 2), Err(EIO));
        assert_eq!(rig.outcome(&guilty, Node::Control, 5), Err(EIO));
        // What was given to the thread is executed, as it would be for a file that is closed.
        assert_eq!(rig.outcome(&guilty, Node::Software, 2), Ok(()));
        assert_eq!(guilty.reserve(u32::MAX), CLIENT_LIMIT);

        // Published ones of others are lost, and those that were not go on.
        assert_eq!(rig.outcome(&other, Node::Control, 1), Err(ECANCELED));
        let left = rig.progress(Node::Control)?.in_flight;
        assert!(left != 0);
        let count = left as usize;
        assert!(rig.complete(count)?.is_some());
        submission::run_submission(&rig.adapter);
        while let Ok(Some(_)) = rig.complete(1) {}
        assert_eq!(rig.outcome(&other, Node::Control, CLIENTS as u64), Ok(()));
        assert_eq!(rig.submit_for(&other, Node::Control, 1)?.0, 1);
        Ok(())
    }

    #[test]
    fn what_others_overtake_is_alone() -> Result {
        let rig = Rig::new()?;
        let mut connection = rig.connect()?;
        let guilty = Client::new()?;

        assert!(rig.submit_for(&guilty, Node::Control, 1).is_ok());
        assert!(rig.submit(Node::Control, 3).is_ok());
        assert_eq!(rig.complete_these(&[2, 3]), Ok(Some(())));
        assert_eq!(rig.reset(&mut connection, HANG), Ok(true));
        assert!(guilty.is_guilty() && !rig.client.is_guilty());
        assert_eq!(rig.outcome(&rig.client, Node::Control, 2), Ok(()));
        assert_eq!(rig.outcome(&rig.client, Node::Control, 3), Err(ECANCELED));
        Ok(())
    }

    #[test]
    fn an_older_open_packet_makes_it_uncertain() -> Result {
        let rig = Rig::new()?;
        let mut connection = rig.connect()?;
        let open = Client::new()?;

        rig.open_next(1);
        assert!(rig.submit_for(&open, Node::Control, 1).is_ok());
        assert!(rig.submit(Node::Control, 1).is_ok());
        assert_eq!(rig.reset(&mut connection, HANG), Ok(false));
        assert!(!open.is_guilty() && !rig.client.is_guilty());
        assert_eq!(rig.outcome(&open, Node::Control, 1), Err(ECANCELED));

        // Unless something behind it was answered.
        rig.open_next(1);
        assert!(rig.submit_for(&open, Node::Control, 1).is_ok());
        assert!(rig.submit(Node::Control, 2).is_ok());
        let (_, id) = rig.ids(Node::Control)?;
        assert_eq!(rig.complete_these(&[id - 1]), Ok(Some(())));
        assert_eq!(rig.reset(&mut connection, HANG), Ok(true));
        assert!(!open.is_guilty() && rig.client.is_guilty());

        // Or both are of one file.
        rig.open_next(1);
        assert!(rig.submit_for(&open, Node::Control, 2).is_ok());
        assert_eq!(rig.reset(&mut connection, HANG), Ok(true));
        assert!(open.is_guilty());
        Ok(())
    }

    #[test]
    fn the_driver_is_never_guilty() -> Result {
        let rig = Rig::new()?;
        let mut connection = rig.connect()?;

        assert!(rig.command(Node::Control, 1).is_ok());
        assert!(rig.submit(Node::Control, 1).is_ok());
        assert_eq!(rig.reset(&mut connection, HANG), Ok(false));
        // Nor anybody if another command may be the reason.
        rig.open_next(1);
        assert!(rig.submit(Node::Control, 1).is_ok());
        assert!(rig.command(Node::Control, 1).is_ok());
        assert_eq!(rig.reset(&mut connection, HANG), Ok(false));
        assert!(!rig.client.is_guilty());
        Ok(())
    }

    #[test]
    fn nobody_is_guilty_of_other_faults() -> Result {
        let rig = Rig::new()?;
        let mut connection = rig.connect()?;

        for hang in [Hang::Reset, Hang::Broken, Hang::Timeout(Node::Cursor)] {
            assert!(rig.submit(Node::Control, 1).is_ok());
            assert_eq!(rig.reset(&mut connection, hang), Ok(false));
        }
        assert!(!rig.client.is_guilty());
        Ok(())
    }

    #[test]
    fn who_it_was_is_told() -> Result {
        let guilty = Guilty {
            pid: 42,
            comm: *b"a b\n\xff\0cdefghijkl",
        };
        let text = CString::try_from_fmt(fmt!("{}", format_args!("{guilty}")))?;
        assert_eq!(text.to_bytes(), b"a b?? (42)");
        let client: Arc<Client> = Client::new()?;
        assert_eq!(client.owner().pid, current!().pid());
        Ok(())
    }
}
