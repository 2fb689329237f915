// SPDX-License-Identifier: GPL-2.0

//! A [`Kthread`] runs a function in a kernel thread, and an [`Event`] wakes it.
//!
//! The thread is scoped: dropping the [`Kthread`] asks the thread to stop and waits until it has
//! ended, so the function may borrow anything that outlives the [`Kthread`].
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use crate::{
    error::from_err_ptr,
    prelude::*,
    str::CStr,
    sync::aref::ARef,
    task::{
        Task,
        TASK_INTERRUPTIBLE, //
    },
    time::Jiffies,
    types::NotThreadSafe, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ptr::NonNull, //
};

mod event;

pub use event::Event;

/// Tells a kernel thread about itself.
///
/// The function that runs in the thread gets a reference to it, which cannot leave the thread.
///
/// # Invariants
///
/// The current task is a kernel thread that a [`Kthread`] created.
pub struct Context(NotThreadSafe);

impl Context {
    /// Returns whether the thread has been asked to stop.
    ///
    /// The function that runs in the thread should return soon after this became true: the owner of
    /// the [`Kthread`] waits for that. It never becomes false again.
    ///
    /// Context: the thread.
    #[inline]
    #[doc(alias = "kthread_should_stop")]
    pub fn should_stop(&self) -> bool {
        // SAFETY: By the type invariant, the current task is a kernel thread.
        unsafe { bindings::kthread_should_stop() }
    }

    /// Sleeps until `condition` holds or the thread is asked to stop.
    ///
    /// Returns `false` if the thread was asked to stop, whatever `condition` returns, and `true` if
    /// `condition` held. `condition` is called again after every wake-up, see [`Kthread::wake`]
    /// and [`Event::signal`]. It must become true before the wake-up. A wake-up that comes between
    /// a check and the sleep is not lost, as the state of the task is set before the check.
    ///
    /// The sleep is interruptible, so it does not count as load and the hung task detector ignores
    /// it. Kernel threads get no signals that could interrupt it.
    ///
    /// Context: the thread; sleeps. `condition` must not sleep, as it runs with the task marked as
    /// about to sleep. It may take spinlocks.
    pub fn wait_until(&self, condition: impl FnMut() -> bool) -> bool {
        self.wait_until_timeout(Jiffies::MAX, condition)
    }

    /// Sleeps for `timeout`, in jiffies, or until the thread is asked to stop.
    ///
    /// Returns `false` if the thread was asked to stop, also if the time is over by then. Wake-ups
    /// do not end the sleep. It does not count as load, as in [`Context::wait_until`].
    ///
    /// Context: the thread; sleeps.
    pub fn sleep(&self, timeout: Jiffies) -> bool {
        self.wait_until_timeout(timeout, || false)
    }

    /// Sleeps until `condition` holds, at most for `timeout`, in jiffies, or until the thread is
    /// asked to stop.
    ///
    /// Returns `false` if the thread was asked to stop, also if `condition` holds or the time is
    /// over by then. `condition` and its wake-ups are as in [`Context::wait_until`].
    ///
    /// Context: as there.
    pub fn wait_until_timeout(
        &self,
        timeout: Jiffies,
        mut condition: impl FnMut() -> bool,
    ) -> bool {
        // `schedule_timeout()` takes a `long`; its largest value is no timeout.
        let mut left = c_long::try_from(timeout).unwrap_or(c_long::MAX);

        let goes_on = loop {
            // PAIRING: The full barrier in `set_current_state()` orders the store of the state
            // before the loads of the stop flag and of what `condition` looks at; it pairs with the
            // one in `wake_up_process()` between the waker's stores and its load of the state.
            //
            // SAFETY: The current task is a kernel thread, which owns its state.
            unsafe { bindings::set_current_state(TASK_INTERRUPTIBLE as c_uint) };

            if self.should_stop() {
                break false;
            }
            if left <= 0 || condition() {
                break true;
            }

            // Returns with the state of a running task.
            //
            // SAFETY: Kernel threads run in process context; no lock is held here.
            left = unsafe { bindings::schedule_timeout(left) };
        };

        // SAFETY: The current task owns its state.
        unsafe { bindings::__set_current_state(bindings::TASK_RUNNING) };

        goes_on
    }
}

/// The function of a thread, until the thread or its owner takes it out.
struct Payload<F>(UnsafeCell<Option<F>>);

impl<F: FnOnce(&Context)> Payload<F> {
    /// Runs the function. The kernel calls this in the new thread.
    ///
    /// # Safety
    ///
    /// - Must be called in a kernel thread that a [`Kthread`] created.
    /// - `data` must point to a valid `Payload<F>` that nothing else accesses until this returns.
    unsafe extern "C" fn run(data: *mut c_void) -> c_int {
        // SAFETY: By the safety requirements, `data` points to a `Payload<F>` for this call.
        let payload = unsafe { &*data.cast::<Self>() };

        // SAFETY: By the safety requirements, nothing else accesses the payload.
        if let Some(function) = unsafe { &mut *payload.0.get() }.take() {
            // INVARIANT: By the safety requirements, the current task is such a thread.
            function(&Context(NotThreadSafe));
        }

        0
    }

    /// Frees the payload, and the function if the thread never ran it.
    ///
    /// # Safety
    ///
    /// `data` must come from [`KBox::into_raw`] of a `Payload<F>`, and nothing else may access it
    /// during or after this call.
    unsafe fn free(data: NonNull<c_void>) {
        // SAFETY: By the safety requirements, this takes back the ownership of the allocation.
        drop(unsafe { KBox::from_raw(data.cast::<Self>().as_ptr()) });
    }
}

/// A kernel thread that ends before what its function borrows.
///
/// Dropping it asks the thread to stop, wakes it, and waits until its function has returned. A
/// thread that has not started its function by then never does; the function is dropped in any
/// case. A thread may also return by itself.
///
/// Context: dropping sleeps, and must not happen in the thread itself, which would wait for its own
/// end for ever. Only a function that borrows nothing can get there: by sharing its `Kthread`.
///
/// # Invariants
///
/// - `task` is a kernel thread created by `kthread_create_on_node()` with `Payload::<F>::run` for
///   some `F` and with `payload`, that has not been waited for.
/// - `payload` comes from [`KBox::into_raw`] of a `Payload<F>` for that `F`; only the thread
///   accesses it until it has been waited for.
/// - `free` is `Payload::<F>::free` for that `F`.
///
/// # Examples
///
/// ```
/// use kernel::{
///     kthread::Kthread,
///     sync::atomic::{
///         Atomic,
///         Relaxed, //
///     }, //
/// };
///
/// let work = Atomic::<u32>::new(0);
/// let done = Atomic::<u32>::new(0);
///
/// // SAFETY: `thread` is not leaked.
/// let thread = unsafe {
///     Kthread::new(c"example", |context| {
///         while context.wait_until(|| work.load(Relaxed) != done.load(Relaxed)) {
///             done.store(work.load(Relaxed), Relaxed);
///         }
///     })
/// }?;
///
/// work.store(1, Relaxed);
/// thread.wake();
///
/// // The thread borrows `work` and `done`: it has ended when this returns.
/// drop(thread);
/// # Ok::<(), Error>(())
/// ```
pub struct Kthread<'a> {
    task: ARef<Task>,
    payload: NonNull<c_void>,
    free: unsafe fn(NonNull<c_void>),
    _function: PhantomData<&'a ()>,
}

// SAFETY: The function is `Send`, so any thread may drop it, and any thread may call
// `kthread_stop()`. If the thread itself does so, through a `Kthread<'static>` that its function
// shares, it never returns from there, and nothing is freed.
unsafe impl Send for Kthread<'_> {}

// SAFETY: All that a shared reference allows is to wake the task and to count references to it.
unsafe impl Sync for Kthread<'_> {}

impl<'a> Kthread<'a> {
    /// Creates a thread called `name` and starts it; it runs `function` once.
    ///
    /// `ps` shows the first 15 bytes of `name`, and `/proc` all of it. The thread runs with the
    /// normal scheduling policy.
    ///
    /// Errors: [`ENOMEM`]; [`EINTR`] if the caller is killed meanwhile. `function` is dropped.
    ///
    /// Context: process; sleeps.
    ///
    /// # Safety
    ///
    /// Callers must not `mem::forget()` the returned [`Kthread`] or otherwise prevent its [`Drop`]
    /// implementation from running: the thread uses what `function` borrows until then.
    #[doc(alias = "kthread_run")]
    pub unsafe fn new<F>(name: &CStr, function: F) -> Result<Self>
    where
        F: FnOnce(&Context) + Send + 'a,
    {
        // SAFETY: Same requirements as this function's.
        let thread = unsafe { Self::create(name, function) }?;

        thread.wake();
        Ok(thread)
    }

    /// Creates a thread, which does not run until it is woken.
    ///
    /// Errors and context: as [`Kthread::new`].
    ///
    /// # Safety
    ///
    /// As for [`Kthread::new`].
    unsafe fn create<F>(name: &CStr, function: F) -> Result<Self>
    where
        F: FnOnce(&Context) + Send + 'a,
    {
        let payload = KBox::new(Payload(UnsafeCell::new(Some(function))), GFP_KERNEL)?;
        let payload = NonNull::from(Box::leak(payload)).cast::<c_void>();

        // SAFETY:
        // - The new thread calls `Payload::<F>::run` with `payload`, once at most.
        // - `payload` is valid until `Payload::<F>::free`, which is called below if there will be
        //   no such call, and after the thread has ended otherwise.
        // - The format takes one string, and `name` is one.
        let task = from_err_ptr(unsafe {
            bindings::kthread_create_on_node(
                Some(Payload::<F>::run),
                payload.as_ptr(),
                bindings::NUMA_NO_NODE,
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })
        .inspect_err(|_| {
            // SAFETY: `payload` was leaked above. There is no thread, or it ends without a call of
            // `Payload::<F>::run`.
            unsafe { Payload::<F>::free(payload) }
        })?;

        // The thread may end by itself. Only with a reference can it be waited for then.
        //
        // SAFETY: `task` is a valid task, alive since it has not been woken yet.
        let task = ARef::from(unsafe { &*task.cast::<Task>() });

        // INVARIANT: `task` was created above, with `payload` and the functions for this `F`.
        Ok(Self {
            task,
            payload,
            free: Payload::<F>::free,
            _function: PhantomData,
        })
    }

    /// Wakes the thread if it sleeps.
    ///
    /// Context: any but NMI, also with interrupts off and spinlocks held.
    #[inline]
    #[doc(alias = "wake_up_process")]
    pub fn wake(&self) {
        self.task.wake_up();
    }
}

impl Drop for Kthread<'_> {
    fn drop(&mut self) {
        // The result tells nothing: it is 0, or -EINTR if the thread was stopped before it ran.
        //
        // SAFETY: By the type invariants, `self.task` is a kernel thread that has not been waited
        // for, and the reference keeps it even if it has ended.
        unsafe { bindings::kthread_stop(self.task.as_ptr()) };

        // SAFETY: By the type invariants, `self.free` and `self.payload` belong together. The
        // thread has ended, so nothing accesses the payload.
        unsafe { (self.free)(self.payload) };
    }
}

#[cfg(CONFIG_RUST_KTHREAD_KUNIT_TEST)]
#[macros::kunit_tests(rust_kthread)]
mod tests {
    use super::*;
    use crate::{
        new_spinlock_irq,
        sync::{
            atomic::{
                Atomic,
                Relaxed, //
            },
            Completion, //
        },
        time::{
            delay::fsleep,
            msecs_to_jiffies,
            Delta,
            Instant,
            Monotonic, //
        },
    };

    /// Counts how often it is dropped.
    struct CountDrop<'a>(&'a Atomic<u32>);

    impl Drop for CountDrop<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn completion() -> Result<Pin<KBox<Completion>>> {
        KBox::pin_init(Completion::new(), GFP_KERNEL)
    }

    /// Sleeps until `value` is `expected`, for a second at most.
    pub(super) fn becomes(value: &Atomic<u32>, expected: u32) -> bool {
        for _ in 0..10_000 {
            if value.load(Relaxed) == expected {
                return true;
            }
            fsleep(Delta::from_micros(100));
        }
        false
    }

    #[test]
    fn runs_what_it_borrows() -> Result {
        let input = [1, 2, 3, 4];
        let sum = Atomic::<u32>::new(0);
        let done = completion()?;

        // SAFETY: `thread` is not leaked.
        let thread = unsafe {
            Kthread::new(c"kunit", |_| {
                sum.store(input.iter().sum(), Relaxed);
                done.complete_all();
            })
        }?;
        done.wait_for_completion();
        drop(thread);

        assert_eq!(sum.load(Relaxed), 10);
        Ok(())
    }

    #[test]
    fn drop_stops_and_joins() -> Result {
        let ended = Atomic::<u32>::new(0);
        let started = completion()?;

        // SAFETY: `thread` is not leaked.
        let thread = unsafe {
            Kthread::new(c"kunit", |context| {
                started.complete_all();
                while !context.should_stop() {
                    context.wait_until(|| false);
                }
                fsleep(Delta::from_millis(20));
                ended.store(1, Relaxed);
            })
        }?;
        started.wait_for_completion();
        assert_eq!(ended.load(Relaxed), 0);
        drop(thread);

        assert_eq!(ended.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn stop_before_run() -> Result {
        let drops = Atomic::<u32>::new(0);
        let runs = Atomic::<u32>::new(0);

        let counted = CountDrop(&drops);
        // SAFETY: The thread is not leaked.
        let thread = unsafe {
            Kthread::create(c"kunit", |_| {
                let _counted = counted;
                runs.fetch_add(1, Relaxed);
            })
        }?;
        assert_eq!(drops.load(Relaxed), 0);
        drop(thread);
        assert_eq!(drops.load(Relaxed), 1);
        assert_eq!(runs.load(Relaxed), 0);

        // From here on stop and first run race. In both orders the function is dropped once.
        for round in 2..=100 {
            let counted = CountDrop(&drops);
            // SAFETY: The thread is not leaked.
            drop(unsafe {
                Kthread::new(c"kunit", |_| {
                    let _counted = counted;
                    runs.fetch_add(1, Relaxed);
                })
            }?);
            assert_eq!(drops.load(Relaxed), round);
        }
        Ok(())
    }

    #[test]
    fn returns_by_itself() -> Result {
        let drops = Atomic::<u32>::new(0);

        let counted = CountDrop(&drops);
        // SAFETY: `thread` is not leaked.
        let thread = unsafe {
            Kthread::new(c"kunit", |_| {
                let _counted = counted;
            })
        }?;
        assert!(becomes(&drops, 1));
        // Let the thread end, not only its function.
        fsleep(Delta::from_millis(20));

        thread.wake();
        drop(thread);

        assert_eq!(drops.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn wait_until_sees_every_wake() -> Result {
        let asked = KBox::pin_init(new_spinlock_irq!(0u32), GFP_KERNEL)?;
        let answered = Atomic::<u32>::new(0);

        // SAFETY: `thread` is not leaked.
        let thread = unsafe {
            Kthread::new(c"kunit", |context| {
                while context.wait_until(|| *asked.lock() != answered.load(Relaxed)) {
                    answered.store(*asked.lock(), Relaxed);
                }
            })
        }?;

        for round in 1..=500 {
            {
                let mut asked = asked.lock();

                // Under the lock, as an interrupt handler does it.
                *asked = round;
                thread.wake();
            }
            assert!(becomes(&answered, round));
        }
        Ok(())
    }

    #[test]
    fn sleep_lasts() -> Result {
        let slept = Atomic::<u32>::new(0);
        let begun = Instant::<Monotonic>::now();
        let short = msecs_to_jiffies(50);

        // SAFETY: `thread` is not leaked.
        let thread = unsafe {
            Kthread::new(c"kunit", |context| {
                let through = context.sleep(short);
                slept.store(if through { 1 } else { 2 }, Relaxed);
            })
        }?;
        // Wake-ups do not end it.
        for _ in 0..10 {
            thread.wake();
            fsleep(Delta::from_millis(1));
        }
        assert!(becomes(&slept, 1));
        // The first jiffy may be a part of one.
        assert!(begun.elapsed().as_millis() >= 40);
        Ok(())
    }

    #[test]
    fn stop_ends_a_sleep() -> Result {
        let slept = Atomic::<u32>::new(0);
        let started = completion()?;

        // SAFETY: `thread` is not leaked.
        let thread = unsafe {
            Kthread::new(c"kunit", |context| {
                started.complete_all();
                let long = context.sleep(Jiffies::MAX);
                let none = context.sleep(0);
                slept.store(u32::from(long) | u32::from(none) << 1 | 4, Relaxed);
            })
        }?;
        started.wait_for_completion();
        drop(thread);

        assert_eq!(slept.load(Relaxed), 4);
        Ok(())
    }

    #[test]
    fn wait_ends_with_condition_or_time() -> Result {
        let condition = Atomic::<u32>::new(0);
        let results = Atomic::<u32>::new(0);
        let waits = completion()?;

        // SAFETY: `thread` is not leaked.
        let thread = unsafe {
            Kthread::new(c"kunit", |context| {
                let time = context.wait_until_timeout(msecs_to_jiffies(10), || false);
                results.store(u32::from(time), Relaxed);
                waits.complete_all();
                let held =
                    context.wait_until_timeout(Jiffies::MAX, || condition.load(Relaxed) == 1);
                results.store(2 + u32::from(held), Relaxed);
                let stopped = context.wait_until_timeout(Jiffies::MAX, || false);
                results.store(4 + u32::from(stopped), Relaxed);
            })
        }?;
        waits.wait_for_completion();
        assert_eq!(results.load(Relaxed), 1);
        condition.store(1, Relaxed);
        thread.wake();
        assert!(becomes(&results, 3));
        drop(thread);

        assert_eq!(results.load(Relaxed), 4);
        Ok(())
    }

    #[test]
    fn stop_beats_condition() -> Result {
        let results = Atomic::<u32>::new(0);
        let started = completion()?;

        // SAFETY: `thread` is not leaked.
        let thread = unsafe {
            Kthread::new(c"kunit", |context| {
                let running = context.wait_until(|| true);
                started.complete_all();
                let stopped = context.wait_until(|| false);
                let stopping = context.wait_until(|| true);

                results.store(
                    u32::from(running) | u32::from(stopped) << 1 | u32::from(stopping) << 2,
                    Relaxed,
                );
            })
        }?;
        started.wait_for_completion();
        drop(thread);

        assert_eq!(results.load(Relaxed), 1);
        Ok(())
    }
}
