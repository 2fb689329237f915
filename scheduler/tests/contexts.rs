// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of contexts: turns, priorities, places, tickets, and files that are closed.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::scheduler::{
    self,
    client::CLIENT_LIMIT,
    context::{
        CONTEXTS,
        PLACES,
        STAGED, //
    },
    submission,
    Client,
    Node, //
};

use super::{
    Rig,
    CLIENTS, //
};

/// Packets of clients that have submission ids, if many wait.
const HANDED_OUT: u64 = (CLIENTS + STAGED) as u64;

impl Rig {
    /// Fills the engine and what is staged with packets of its own client.
    fn fill(&self) -> Result {
        let (taken, _) = self.submit(Node::Control, HANDED_OUT as u32)?;
        assert_eq!(u64::from(taken), HANDED_OUT);
        assert_eq!(self.ids(Node::Control), Ok((0, HANDED_OUT)));
        Ok(())
    }

    /// Completes `count` packets of the control node, oldest first, and lets others follow.
    fn go_on(&self, count: u64) -> Result {
        for _ in 0..count {
            submission::run_submission(&self.adapter);
            assert!(self.complete(1)?.is_some());
        }
        submission::run_submission(&self.adapter);
        Ok(())
    }
}

/// Returns how many packets of each client have got submission ids, by their tickets, if the last
/// `count` ids went in turn.
fn ids(clients: &[Arc<Client>]) -> KVec<u64> {
    let mut ids = KVec::new();
    for client in clients {
        let _ = ids.push(client.id(Node::Control), GFP_KERNEL);
    }
    ids
}

#[kunit_tests(rust_gpu_contexts)]
mod suite {
    use super::*;

    #[test]
    fn contexts_take_turns_of_eight() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let others = [Client::new()?, Client::new()?];

        rig.fill()?;
        for client in &others {
            assert_eq!(rig.submit_for(client, Node::Control, 20), Ok((20, 20)));
            // A ticket is given, and no id.
            assert_eq!(client.id(Node::Control), 0);
        }
        assert_eq!(rig.progress(Node::Control)?.queued, STAGED as u64 + 40);
        let mut expected = [0; 2];
        let mut id = HANDED_OUT;
        for (first, count) in [(0, 8), (1, 8), (0, 8), (1, 8), (0, 4), (1, 4)] {
            rig.go_on(count)?;
            id += count;
            if let Some(expected) = expected.get_mut(first) {
                *expected = id;
            }
            assert_eq!(ids(&others)[..], expected);
        }
        rig.go_on(HANDED_OUT)?;
        assert_eq!(rig.ids(Node::Control), Ok((id, id)));
        for client in &others {
            assert_eq!(client.completed(Node::Control), 20);
            assert_eq!(client.reserve(u32::MAX), CLIENT_LIMIT);
        }
        Ok(())
    }

    #[test]
    fn a_client_can_lower_itself() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let (low, other) = (Client::new()?, Client::new()?);

        rig.fill()?;
        assert!(rig.submit_for(&low, Node::Control, 10).is_ok());
        // Also what was submitted before.
        low.lower(Node::Control);
        assert!(rig.submit_for(&other, Node::Control, 20).is_ok());
        rig.go_on(20)?;
        assert_eq!(low.id(Node::Control), 0);
        assert_eq!(other.id(Node::Control), HANDED_OUT + 20);
        rig.go_on(5)?;
        assert_eq!(low.id(Node::Control), HANDED_OUT + 25);
        // And a turn does not end with eight if others come.
        assert!(rig.submit_for(&other, Node::Control, 1).is_ok());
        rig.go_on(1)?;
        assert_eq!(other.id(Node::Control), HANDED_OUT + 26);
        rig.go_on(5)?;
        assert_eq!(low.id(Node::Control), HANDED_OUT + 31);
        rig.go_on(HANDED_OUT)?;
        assert_eq!(low.completed(Node::Control), 10);

        // Other nodes are others.
        assert!(rig.submit_for(&low, Node::Software, 1).is_ok());
        assert_eq!(low.submitted(Node::Software), 1);
        Ok(())
    }

    #[test]
    fn who_finds_no_context_waits_for_one() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let mut others = KVec::new();

        rig.fill()?;
        // The client of the rig has one.
        for _ in 1..CONTEXTS {
            let client = Client::new()?;
            assert_eq!(rig.submit_for(&client, Node::Control, 1), Ok((1, 1)));
            others.push(client, GFP_KERNEL)?;
        }
        let late = Client::new()?;
        assert_eq!(rig.submit_for(&late, Node::Control, 1)?.0, 0);
        assert_eq!(late.submitted(Node::Control), 0);
        // A client that has nothing there any more gives its context to another one.
        rig.go_on(HANDED_OUT + 1)?;
        assert_eq!(rig.submit_for(&late, Node::Control, 1), Ok((1, 1)));
        rig.go_on(CONTEXTS as u64 - 1)?;
        for client in Iterator::chain(others.iter(), [&late]) {
            assert_eq!(client.completed(Node::Control), 1);
        }
        Ok(())
    }

    #[test]
    fn two_clients_cannot_take_all_places() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let take = |client: &Arc<Client>, count| {
            let taken = rig.submit_for(client, Node::Control, count);
            taken.map_or(0, |(taken, _)| taken as usize)
        };
        let [first, second, third] = [Client::new()?, Client::new()?, Client::new()?];

        rig.fill()?;
        // Alone, one may have all that a client may have at all.
        assert_eq!(take(&first, u32::MAX), CLIENT_LIMIT as usize);
        assert_eq!(take(&first, 1), 0);
        let left = PLACES - CLIENT_LIMIT as usize;
        assert_eq!(take(&second, u32::MAX), left / 2);
        assert_eq!(take(&second, 1), 0);
        assert_eq!(take(&third, u32::MAX), left / 2 / 3);
        // Each one more has a few, until there are none.
        let mut left = left - left / 2 - left / 2 / 3;
        while left != 0 {
            let taken = take(&Client::new()?, u32::MAX);
            assert_eq!(taken, left.min(8.max(taken)));
            assert!(taken >= left.min(8));
            left -= taken;
        }
        assert_eq!(take(&Client::new()?, 1), 0);
        assert_eq!(
            rig.progress(Node::Control)?.queued as usize,
            STAGED + PLACES
        );
        // The driver has places of its own.
        assert!(rig.command(Node::Control, 100).is_ok());
        Ok(())
    }

    #[test]
    fn a_closed_file_leaves_what_was_not_handed_out() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let (client, other) = (Client::new()?, Client::new()?);
        let fences = &rig.fake().fences;

        assert_eq!(rig.submit_for(&client, Node::Control, 3), Ok((3, 3)));
        let count = HANDED_OUT as u32 - 3;
        assert_eq!(rig.submit(Node::Control, count), Ok((count, count.into())));
        assert!(rig.submit_for(&client, Node::Control, 50).is_ok());
        assert!(rig.submit_for(&other, Node::Control, 1).is_ok());
        let weak = Arc::as_ptr(&client);
        rig.is_woken();
        fences.close(&client);
        assert!(rig.is_woken());
        // At once the others have their turn; the places are free when the thread has run.
        assert_eq!(rig.progress(Node::Control)?.queued, STAGED as u64 + 51);
        submission::run_submission(&rig.adapter);
        assert_eq!(rig.progress(Node::Control)?.queued, STAGED as u64 + 1);
        rig.go_on(HANDED_OUT + 1)?;
        assert_eq!(rig.ids(Node::Control), Ok((HANDED_OUT + 1, HANDED_OUT + 1)));
        assert_eq!(client.completed(Node::Control), 3);
        assert_eq!(client.reserve(u32::MAX), CLIENT_LIMIT);

        // And nobody but this test has it, when its packets have ended.
        fences.set_dropped();
        submission::run_submission(&rig.adapter);
        assert_eq!(weak, Arc::as_ptr(&client));
        assert!(Arc::into_unique_or_drop(client).is_some());
        // One that submitted nothing wakes nobody.
        rig.is_woken();
        fences.close(&*Client::new()?);
        assert!(!rig.is_woken());
        Ok(())
    }

    #[test]
    fn tickets_are_complete_in_their_order() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let other = Client::new()?;
        let node = Node::Control;

        // Ids 1 to 6: tickets 1 and 2, another one's 1, and 3 to 5. Ticket 6 is staged.
        assert!(rig.submit(node, 2).is_ok());
        assert!(rig.submit_for(&other, node, 1).is_ok());
        assert!(rig.submit(node, 4).is_ok());
        let completed = || [rig.client.completed(node), other.completed(node)];

        for (id, expected, of_node) in [
            (2, [0, 0], 0),
            (5, [0, 0], 0),
            (3, [0, 1], 0),
            (1, [2, 1], 3),
            (6, [2, 1], 3),
            (4, [5, 1], 6),
        ] {
            assert_eq!(rig.complete_these(&[id]), Ok(Some(())));
            assert_eq!(completed(), expected);
            assert_eq!(rig.ids(node), Ok((of_node, 7)));
        }
        rig.go_on(1)?;
        assert_eq!(completed(), [6, 1]);
        assert_eq!(rig.ids(node), Ok((7, 7)));
        Ok(())
    }

    #[test]
    fn contexts_are_used_again() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;

        // Many more than there are.
        for _ in 0..1500 {
            let client = Client::new()?;
            assert_eq!(rig.submit_for(&client, Node::Control, 1), Ok((1, 1)));
            assert!(rig.complete(1)?.is_some());
            assert_eq!(client.completed(Node::Control), 1);
        }
        // One that was away for so long goes on with its tickets.
        assert_eq!(rig.submit(Node::Control, 1), Ok((1, 1)));
        for _ in 0..1500 {
            assert!(rig.submit_for(&Client::new()?, Node::Control, 1).is_ok());
            assert!(rig.complete(1)?.is_some());
        }
        assert_eq!(rig.submit(Node::Control, 1), Ok((1, 2)));
        Ok(())
    }

    /// Submits `count` open packets of `client`. Returns the last submission id that it has then.
    fn submit_open(rig: &Rig, client: &Arc<Client>, count: u32) -> Result<u64> {
        rig.open_next(count.into());
        assert_eq!(rig.submit_for(client, Node::Control, count)?.0, count);
        Ok(client.id(Node::Control))
    }

    #[test]
    fn open_packets_leave_room_for_others() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let [first, second, third, fourth] = [
            Client::new()?,
            Client::new()?,
            Client::new()?,
            Client::new()?,
        ];

        // Five may be open, and nobody may have more of these than are left.
        assert_eq!(submit_open(&rig, &first, 10)?, 3);
        assert_eq!(submit_open(&rig, &second, 2)?, 4);
        assert_eq!(submit_open(&rig, &third, 1)?, 5);
        assert_eq!(submit_open(&rig, &fourth, 1)?, 0);
        // There is room for others, who wait for nobody.
        for id in 6..20 {
            assert!(rig.submit(Node::Control, 1).is_ok());
            assert_eq!(rig.client.id(Node::Control), id);
            let waits = rig.with_control(|queue| Some(queue.is_waiting()));
            assert_eq!(waits, Ok(Some(false)));
            assert_eq!(rig.complete_these(&[id]), Ok(Some(())));
        }
        assert_eq!(rig.progress(Node::Control)?.queued, 7 + 1 + 1);
        // The place of one that ended is for whom has fewest.
        assert_eq!(rig.complete_these(&[1]), Ok(Some(())));
        let waits = rig.with_control(|queue| Some(queue.is_waiting()));
        assert_eq!(waits, Ok(Some(true)));
        submission::run_submission(&rig.adapter);
        assert_eq!(
            ids(&[first.clone(), second.clone(), fourth])[..],
            [3, 4, 20]
        );
        assert_eq!(rig.complete_these(&[2, 3]), Ok(Some(())));
        submission::run_submission(&rig.adapter);
        assert_eq!(ids(&[first.clone(), second])[..], [21, 4]);
        // What is left of a file that is closed goes.
        rig.fake().fences.close(&first);
        submission::run_submission(&rig.adapter);
        assert_eq!(rig.progress(Node::Control)?.queued, 1);
        Ok(())
    }

    #[test]
    fn open_packets_come_back() -> Result {
        let rig = Rig::new()?;
        let _connection = rig.connect()?;
        let client = Client::new()?;

        assert!(rig.submit(Node::Control, CLIENTS as u32).is_ok());
        // These are staged, and do not begin.
        let id = CLIENTS as u64;
        assert_eq!(submit_open(&rig, &client, 4)?, id + 3);
        assert_eq!(
            scheduler::preempt(&rig.adapter, Node::Control, None),
            Ok(())
        );
        assert_eq!(rig.progress(Node::Control)?.queued, 4);
        // That ends it.
        rig.interrupt(0, CLIENTS as u32)?;
        submission::run_submission(&rig.adapter);
        assert_eq!(client.id(Node::Control), id + 6);
        assert_eq!(rig.progress(Node::Control)?.queued, 1);
        assert!(rig.complete(3)?.is_some());
        submission::run_submission(&rig.adapter);
        assert_eq!(client.id(Node::Control), id + 7);
        assert_eq!(rig.progress(Node::Control)?.queued, 0);
        Ok(())
    }
}
