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
        fence::{
            Client,
            Fences,
            CLIENT_LIMIT, //
        },
        Node,
        PerNode, //
    }, //
};

#[kunit_tests(rust_gpu_fence)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_device_ends_waits() -> Result {
        let fences = Fences::new()?;
        assert_eq!(fences.wait(Node::Control, 1, 0), Err(ETIME));
        fences.publish(&PerNode::new([1, 0, 0]));
        assert_eq!(fences.wait(Node::Control, 1, 0), Ok(()));
        assert!(fences.wedge());
        assert!(!fences.wedge());
        assert_eq!(fences.wait(Node::Control, 2, i64::MAX), Err(EIO));
        fences.unplug();
        assert!(!fences.wedge());
        assert_eq!(fences.wait(Node::Control, 2, i64::MAX), Err(ENODEV));
        // What was complete stays complete.
        assert_eq!(fences.wait(Node::Control, 1, 0), Ok(()));
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
    fn what_is_shown_wakes_nobody() -> Result {
        let fences = Fences::new()?;
        let mark = fences.generation();
        assert!(!fences.publish_one(Node::Control, 5));
        assert_eq!(fences.completed(Node::Control), 5);
        assert_eq!(fences.wait(Node::Control, 5, 0), Ok(()));
        assert_eq!(fences.wait_change(mark), Ok(()));
        assert_ne!(fences.generation(), mark);
        // The DPC found less when it began.
        fences.publish(&PerNode::new([4, 1, 0]));
        assert_eq!(fences.completed(Node::Control), 5);
        assert_eq!(fences.completed(Node::Cursor), 1);
        assert!(!fences.publish_one(Node::Control, 3));
        assert_eq!(fences.completed(Node::Control), 5);
        Ok(())
    }

    #[test]
    fn only_waiters_of_completed_fences_are_woken() -> Result {
        let fences = Fences::new()?;
        let (looks, done) = (Atomic::<u32>::new(0), Atomic::<u32>::new(0));
        let waiter = |_: &kthread::Context| {
            let is_done = || {
                looks.fetch_add(1, Full);
                fences.completed(Node::Control) >= 40
            };
            if fences.wait_for(40, i64::MAX, is_done).is_ok() {
                done.store(1, Release);
            }
        };
        // SAFETY: Dropped below.
        let thread = unsafe { Kthread::new(c"rust_gpu_test", waiter)? };
        let began = wait(|| looks.load(Acquire) != 0);
        for fence in 1..40 {
            // Fence 8 is in the same queue.
            fences.publish(&PerNode::new([fence, 0, 0]));
            // A waiter that was woken looks before the next one.
            fsleep(Delta::from_millis(2));
        }
        let (looked, early) = (looks.load(Acquire), done.load(Acquire));
        // More than there are queues.
        fences.publish(&PerNode::new([140, 0, 0]));
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
        let fences = Fences::new()?;
        let woken = Atomic::<u32>::new(0);
        let waiter = |_: &kthread::Context| {
            if fences.wait(Node::Control, 2, i64::MAX).is_ok() {
                woken.store(1, Release);
            }
        };
        // SAFETY: Dropped below.
        let thread = unsafe { Kthread::new(c"rust_gpu_test", waiter)? };
        assert!(wait(|| fences.publish_one(Node::Control, 1)));
        assert_eq!(woken.load(Acquire), 0);
        fences.publish(&PerNode::new([2, 0, 0]));
        // Before the thread is dropped: that would interrupt its sleep.
        assert!(wait(|| woken.load(Acquire) == 1));
        drop(thread);
        assert!(!fences.publish_one(Node::Control, 2));
        Ok(())
    }
}
