// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of fences and those who wait for them.

use kernel::{
    kthread::{
        self,
        Kthread, //
    },
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Release, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
};

use crate::{
    irq::tests::wait,
    scheduler::{
        client::CLIENT_LIMIT,
        Client,
        Fences,
        Node,
        PerNode, //
    }, //
};

/// Shows a ticket of the control node as complete, and wakes those that wait for it.
fn publish(fences: &Fences, client: &Client, ticket: u64) {
    let queues = client.complete(Node::Control, ticket);
    fences.publish(&PerNode::default(), queues);
}

#[kunit_tests(rust_gpu_fence)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_device_ends_waits() -> Result {
        let (fences, client) = (Fences::new()?, Client::new()?);
        let wait = |ticket, deadline| fences.wait(&client, Node::Control, ticket, deadline);

        assert_eq!(wait(1, 0), Err(ETIME));
        publish(&fences, &client, 1);
        assert_eq!(wait(1, 0), Ok(()));
        assert!(fences.wedge());
        assert!(!fences.wedge());
        assert_eq!(wait(2, i64::MAX), Err(EIO));
        fences.unplug();
        assert!(!fences.wedge());
        assert_eq!(wait(2, i64::MAX), Err(ENODEV));
        // What was complete stays complete.
        assert_eq!(wait(1, 0), Ok(()));
        assert_eq!(fences.wait_change(fences.generation()), Err(ENODEV));
        Ok(())
    }

    #[test]
    fn a_client_has_a_limit() -> Result {
        let client = Client::new()?;
        assert_eq!(client.reserve(200), 200);
        assert_eq!(client.reserve(200), CLIENT_LIMIT - 200);
        assert_eq!(client.reserve(1), 0);
        client.give_back(10);
        assert_eq!(client.reserve(64), 10);
        Ok(())
    }

    #[test]
    fn lost_tickets_are_remembered_until_others_are_lost() -> Result {
        let client = Client::new()?;
        let outcomes =
            |tickets: [u64; 4]| tickets.map(|ticket| client.outcome(Node::Cursor, ticket).is_ok());

        client.complete(Node::Cursor, 3);
        client.lose(Node::Cursor, 4);
        client.lose(Node::Cursor, 5);
        client.complete(Node::Cursor, 5);
        assert_eq!(outcomes([2, 3, 4, 5]), [true, true, false, false]);
        assert_eq!(client.outcome(Node::Cursor, 4), Err(ECANCELED));
        client.complete(Node::Control, 5);
        assert_eq!(client.outcome(Node::Control, 4), Ok(()));
        client.complete(Node::Cursor, 7);
        client.lose(Node::Cursor, 8);
        client.complete(Node::Cursor, 8);
        assert_eq!(outcomes([5, 6, 7, 8]), [true, true, true, false]);
        Ok(())
    }

    #[test]
    fn each_new_ticket_has_its_queue() -> Result {
        let client = Client::new()?;
        let queues = |tickets: &[u64]| {
            let bits = tickets.iter().map(|ticket| 1 << client.queue(*ticket));
            bits.fold(0, |all: u32, bit: u32| all | bit)
        };

        assert_eq!(client.complete(Node::Control, 2), queues(&[1, 2]));
        assert_eq!(client.complete(Node::Control, 2), 0);
        assert_eq!(client.complete(Node::Control, 3), queues(&[3]));
        assert_eq!(client.complete(Node::Control, 34).count_ones(), 31);
        assert_eq!(client.complete(Node::Control, 66), u32::MAX);
        assert_eq!(client.complete(Node::Control, 500), u32::MAX);
        Ok(())
    }

    #[test]
    fn what_is_shown_wakes_nobody() -> Result {
        let fences = Fences::new()?;
        let mark = fences.generation();
        assert!(!fences.publish_one(Node::Control, 5));
        assert_eq!(fences.completed(Node::Control), 5);
        assert_eq!(fences.wait_change(mark), Ok(()));
        assert_ne!(fences.generation(), mark);
        // The DPC found less when it began.
        fences.publish(&PerNode::new([4, 1, 0, 0]), 0);
        assert_eq!(fences.completed(Node::Control), 5);
        assert_eq!(fences.completed(Node::Cursor), 1);
        assert!(!fences.publish_one(Node::Control, 3));
        assert_eq!(fences.completed(Node::Control), 5);
        Ok(())
    }

    #[test]
    fn only_waiters_of_complete_tickets_are_woken() -> Result {
        let (fences, client) = (Fences::new()?, Client::new()?);
        let (looks, done) = (Atomic::<u32>::new(0), Atomic::<u32>::new(0));
        let waiter = |_: &kthread::Context| {
            let is_done = || {
                looks.fetch_add(1, Full);
                client.completed(Node::Control) >= 40
            };
            if fences.wait_for(&client, 40, i64::MAX, is_done).is_ok() {
                done.store(1, Release);
            }
        };
        // SAFETY: Dropped below.
        let thread = unsafe { Kthread::new(c"rust_gpu_test", waiter)? };
        let began = wait(|| looks.load(Acquire) != 0);
        for ticket in 1..40 {
            // Ticket 8 is in the same queue.
            publish(&fences, &client, ticket);
            // A waiter that was woken looks before the next one.
            fsleep(Delta::from_millis(2));
        }
        let (looked, early) = (looks.load(Acquire), done.load(Acquire));
        // More than there are queues.
        publish(&fences, &client, 140);
        let ended = wait(|| done.load(Acquire) == 1);
        // Before the checks: one that fails does not return.
        drop(thread);

        assert!(began && ended);
        // It looks by itself now and then.
        assert!(looked < 10);
        assert_eq!(early, 0);
        Ok(())
    }

    #[test]
    fn who_waits_is_known() -> Result {
        let (fences, client) = (Fences::new()?, Client::new()?);
        let woken = Atomic::<u32>::new(0);
        let waiter = |_: &kthread::Context| {
            if fences.wait(&client, Node::Control, 2, i64::MAX).is_ok() {
                woken.store(1, Release);
            }
        };
        // SAFETY: Dropped below.
        let thread = unsafe { Kthread::new(c"rust_gpu_test", waiter)? };
        assert!(wait(|| fences.publish_one(Node::Control, 1)));
        assert_eq!(woken.load(Acquire), 0);
        publish(&fences, &client, 2);
        // Before the thread is dropped: that would interrupt its sleep.
        assert!(wait(|| woken.load(Acquire) == 1));
        drop(thread);
        assert!(!fences.publish_one(Node::Control, 2));
        Ok(())
    }
}
