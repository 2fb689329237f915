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
        Release, //
    },
};

use crate::{
    irq::tests::wait,
    scheduler::{
        fence::{
            Client,
            FenceTracker,
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
    fn fence_tracker_reports_the_contiguous_prefix() {
        let mut tracker = FenceTracker::new();
        assert_eq!(tracker.record(2), None);
        assert_eq!(tracker.record(3), None);
        assert_eq!(tracker.completed(), 0);
        assert_eq!(tracker.record(1), Some(3));
        // Again, or never handed out: nothing changes.
        assert_eq!(tracker.record(1), None);
        assert_eq!(tracker.record(3), None);
        assert_eq!(tracker.record(0), None);
        assert_eq!(tracker.completed(), 3);
        for fence in (4..=1003).rev() {
            assert_eq!(tracker.record(fence), (fence == 4).then_some(1003));
        }
        // The window's bits are clean after it went round.
        for fence in 1004..5000 {
            assert_eq!(tracker.record(fence), Some(fence));
        }
    }

    #[test]
    fn fence_tracker_has_a_window() {
        let mut tracker = FenceTracker::new();
        assert!(tracker.in_window(1024));
        assert!(!tracker.in_window(1025));
        assert_eq!(tracker.record(1025), None);
        assert_eq!(tracker.record(1), Some(1));
        assert!(tracker.in_window(1025));
        assert!(!tracker.in_window(1));
    }

    #[test]
    fn fence_tracker_records_all_at_once() {
        let mut tracker = FenceTracker::new();
        for fence in [1, 3, 5] {
            tracker.record(fence);
        }
        tracker.record_all(4);
        assert_eq!(tracker.completed(), 4);
        // Nothing is left of what was recorded beyond.
        assert_eq!(tracker.record(6), None);
        assert_eq!(tracker.record(5), Some(6));
    }

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
