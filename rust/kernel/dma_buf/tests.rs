// SPDX-License-Identifier: GPL-2.0

//! Tests of fences.

use super::{
    FenceContext,
    FenceContextOps, //
};
use crate::prelude::*;

mod irq;

/// A timeline whose fences have a number.
struct Ring;

impl FenceContextOps for Ring {
    type FenceDataType = u32;
}

/// Makes a timeline called `kunit:timeline`, whose first fence has the number 1.
fn context<T: FenceContextOps + Send + Sync>(data: T) -> Result<Pin<KBox<FenceContext<T>>>> {
    let context = FenceContext::new(1, c"kunit", c"timeline", Ok::<_, Error>(data));
    KBox::pin_init(context, GFP_KERNEL)
}

#[macros::kunit_tests(rust_dma_fence)]
mod suite {
    use super::{
        super::{
            fence_from_fd,
            CallbackError,
            Fence,
            FenceCallback,
            FenceCallbackRegistration,
            FenceChainAllocation,
            FenceContextOps,
            SyncFileAllocation, //
        },
        context,
        Ring, //
    };
    use crate::{
        bindings,
        fs::file::FileDescriptorReservation,
        kthread::Kthread,
        prelude::*,
        str::CStr,
        sync::{
            aref::ARef,
            atomic::{
                Atomic,
                Relaxed, //
            },
            rcu, //
        },
        time::{
            delay::fsleep,
            msecs_to_jiffies,
            Delta, //
        },
    };

    /// Its data counts in a static how often it is dropped.
    struct Counting;

    struct Counted;

    static DROPPED: Atomic<i32> = Atomic::new(0);

    impl Drop for Counted {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Relaxed);
        }
    }

    impl FenceContextOps for Counting {
        type FenceDataType = Counted;
    }

    /// Counts its calls and its drops.
    struct Count(&'static Atomic<i32>, &'static Atomic<i32>);

    impl FenceCallback for Count {
        fn on_signal(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    impl Drop for Count {
        fn drop(&mut self) {
            self.1.fetch_add(1, Relaxed);
        }
    }

    /// Returns the name of the timeline of a fence, as the C side sees it.
    fn has_name(fence: &Fence, expected: &CStr) -> bool {
        let _rcu = rcu::read_lock();
        // SAFETY: The fence is valid, and the name is valid in the RCU read section.
        unsafe {
            CStr::from_char_ptr(bindings::dma_fence_timeline_name(fence.as_raw())) == expected
        }
    }

    #[test]
    fn numbers_are_in_order() -> Result {
        let context = context(Ring)?;
        let other = super::context(Ring)?;

        // What counts is the order of the fences, not that of the memory.
        let second = context.new_fence_allocation(20)?;
        let first = context.new_fence_allocation(10)?.new_fence();
        let second = second.new_fence();
        let alien = other.new_fence_allocation(0)?.new_fence();

        assert_eq!((*first, *second), (10, 20));
        assert_eq!(first.as_fence().seqno(), 1);
        assert_eq!(second.as_fence().seqno(), 2);
        assert_eq!(alien.as_fence().seqno(), 1);
        assert_eq!(first.as_fence().context(), context.id());
        assert_eq!(second.as_fence().context(), context.id());
        assert_ne!(alien.as_fence().context(), context.id());

        first.signal(Ok(()));
        second.signal(Ok(()));
        alien.signal(Ok(()));
        Ok(())
    }

    #[test]
    fn status_says_how_it_ended() -> Result {
        let context = context(Ring)?;

        let good = context.new_fence_allocation(0)?.new_fence();
        let fence: ARef<Fence> = good.as_fence().into();
        assert!(!fence.is_signaled());
        assert_eq!(fence.status(), None);
        assert_eq!(fence.error(), None);
        good.signal(Ok(()));
        assert!(fence.is_signaled());
        assert_eq!(fence.status(), Some(Ok(())));
        assert_eq!(fence.error(), None);

        let bad = context.new_fence_allocation(0)?.new_fence();
        let fence: ARef<Fence> = bad.as_fence().into();
        bad.signal(Err(ENODATA));
        assert_eq!(fence.status(), Some(Err(ENODATA)));
        assert_eq!(fence.error(), Some(ENODATA));
        Ok(())
    }

    #[test]
    fn dropped_is_cancelled() -> Result {
        let context = context(Ring)?;
        let fence = context.new_fence_allocation(0)?.new_fence();
        let waiter: ARef<Fence> = fence.as_fence().into();

        drop(fence);
        assert_eq!(waiter.error(), Some(ECANCELED));

        // This takes no number.
        drop(context.new_fence_allocation(0)?);
        let next = context.new_fence_allocation(0)?.new_fence();
        assert_eq!(next.as_fence().seqno(), 2);
        next.signal(Ok(()));
        Ok(())
    }

    #[test]
    fn data_is_dropped_once() -> Result {
        let context = context(Counting)?;
        let before = DROPPED.load(Relaxed);

        drop(context.new_fence_allocation(Counted)?);
        assert_eq!(DROPPED.load(Relaxed), before + 1);

        let fence = context.new_fence_allocation(Counted)?.new_fence();
        let waiter: ARef<Fence> = fence.as_fence().into();
        assert_eq!(DROPPED.load(Relaxed), before + 1);
        fence.signal(Ok(()));

        // It waits for the data, though there is a reference to the fence.
        drop(context);
        assert_eq!(DROPPED.load(Relaxed), before + 2);
        drop(waiter);
        rcu::rcu_barrier();
        assert_eq!(DROPPED.load(Relaxed), before + 2);
        Ok(())
    }

    #[test]
    fn names_stay_until_the_signal() -> Result {
        let context = context(Ring)?;
        let detached = context.new_fence_allocation(0)?.detach().new_fence();
        let unused = context.new_fence_allocation(0)?.detach();
        let waiter: ARef<Fence> = detached.as_fence().into();
        assert!(has_name(&waiter, c"timeline"));

        // The log says so, and that is all.
        drop(context);
        rcu::synchronize_rcu();
        rcu::rcu_barrier();
        assert!(has_name(&waiter, c"timeline"));

        detached.signal(Ok(()));
        assert!(!has_name(&waiter, c"timeline"));

        // One more of a context that is gone.
        let late = unused.new_fence();
        assert_eq!(late.as_fence().seqno(), 2);
        assert_eq!(late.as_fence().context(), waiter.context());
        assert!(has_name(late.as_fence(), c"timeline"));
        late.signal(Ok(()));
        Ok(())
    }

    #[test]
    fn waits_end() -> Result {
        let context = context(Ring)?;
        let fence = context.new_fence_allocation(0)?.new_fence();
        let waiter: ARef<Fence> = fence.as_fence().into();

        assert_eq!(waiter.wait(0), Err(ETIMEDOUT));
        assert_eq!(waiter.wait(1), Err(ETIMEDOUT));

        let long = msecs_to_jiffies(60_000);
        // SAFETY: It is dropped below.
        let thread = unsafe {
            Kthread::new(c"kunit", move |_| {
                fsleep(Delta::from_millis(20));
                fence.signal(Err(ETIME));
            })
        }?;
        let left = waiter.wait(long);
        drop(thread);

        assert!(left.is_ok_and(|left| left > 0 && left <= long));
        assert_eq!(waiter.error(), Some(ETIME));
        assert!(waiter.wait(0).is_ok());
        // More than the C side can count.
        assert!(waiter.wait(usize::MAX).is_ok());
        Ok(())
    }

    static CALLS: Atomic<i32> = Atomic::new(0);
    static DROPS: Atomic<i32> = Atomic::new(0);

    #[test]
    fn callbacks_run_once() -> Result {
        let context = context(Ring)?;
        let fence = context.new_fence_allocation(0)?.new_fence();
        let waiter: ARef<Fence> = fence.as_fence().into();
        let count = || Count(&CALLS, &DROPS);

        let kept = KBox::pin_init(FenceCallbackRegistration::new(&waiter, count()), GFP_KERNEL)?;
        let taken_back =
            KBox::pin_init(FenceCallbackRegistration::new(&waiter, count()), GFP_KERNEL)?;
        assert_eq!(kept.fence().seqno(), 1);
        drop(taken_back);
        assert_eq!((CALLS.load(Relaxed), DROPS.load(Relaxed)), (0, 1));

        fence.signal(Ok(()));
        assert_eq!((CALLS.load(Relaxed), DROPS.load(Relaxed)), (1, 1));
        drop(kept);
        assert_eq!((CALLS.load(Relaxed), DROPS.load(Relaxed)), (1, 2));

        // It comes back, and did not run.
        let late = KBox::try_pin_init(FenceCallbackRegistration::new(&waiter, count()), GFP_KERNEL);
        match late {
            Err(CallbackError::AlreadySignaled(callback)) => {
                assert_eq!(DROPS.load(Relaxed), 2);
                drop(callback);
            }
            _ => return Err(EINVAL),
        }
        assert_eq!((CALLS.load(Relaxed), DROPS.load(Relaxed)), (1, 3));
        Ok(())
    }

    /// The kernel thread of the tests has a table of files, as all have.
    #[test]
    fn files_have_their_fence() -> Result {
        let context = context(Ring)?;
        drop(SyncFileAllocation::new()?);
        let file = SyncFileAllocation::new()?;
        let fd = FileDescriptorReservation::get_unused_fd_flags(bindings::O_CLOEXEC)?;
        let number = i32::try_from(fd.reserved_fd())?;

        assert_eq!(fence_from_fd(-1).err(), Some(EINVAL));
        assert_eq!(fence_from_fd(number).err(), Some(EINVAL));

        let fence = context.new_fence_allocation(0)?.new_fence();
        file.install(fd, fence.as_fence());
        let found = fence_from_fd(number);
        // SAFETY: Nobody else knows the number.
        unsafe { bindings::close_fd(number as u32) };

        assert!(core::ptr::eq(&*found?, fence.as_fence()));
        assert_eq!(fence_from_fd(number).err(), Some(EINVAL));
        fence.signal(Ok(()));
        Ok(())
    }

    #[test]
    fn chains_end_with_their_last() -> Result {
        let one = context(Ring)?;
        let two = super::context(Ring)?;
        let first = one.new_fence_allocation(0)?.new_fence();
        let second = two.new_fence_allocation(0)?.new_fence();

        drop(FenceChainAllocation::new()?);
        let start = FenceChainAllocation::new()?.init(None, first.as_fence().into(), 1);
        let chain = FenceChainAllocation::new()?.init(Some(start), second.as_fence().into(), 2);
        assert_eq!(chain.seqno(), 2);

        let mut contexts = KVec::new();
        for fence in chain.unwrap_iter() {
            contexts.push(fence.context(), GFP_KERNEL)?;
        }
        // The last of the chain comes first.
        assert_eq!(&contexts[..], &[two.id(), one.id()]);

        // An iterator that is not used up, and that of a plain fence.
        assert!(chain.unwrap_iter().next().is_some());
        assert_eq!(first.as_fence().unwrap_iter().count(), 1);

        second.signal(Ok(()));
        assert!(!chain.is_signaled());
        first.signal(Err(ENODATA));
        assert!(chain.is_signaled());
        Ok(())
    }
}
