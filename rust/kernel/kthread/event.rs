// SPDX-License-Identifier: GPL-2.0

//! An [`Event`] wakes a kernel thread and tells it that there is something to do.

use super::Context;
use crate::{
    current,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Full, //
        },
        SetOnce, //
    },
    task::Task, //
};

/// An auto-reset event, which a kernel thread waits for.
///
/// [`Event::signal`] signals it and wakes the thread. [`Event::wait`] returns when it is signaled,
/// and resets it: several signals end one wait. A signal that comes before the wait, or before the
/// thread runs, is not lost.
///
/// One thread waits for an event. A second one would not be woken. If the event outlives the
/// thread, a signal wakes nothing. The event keeps the memory of the task, which RCU frees: an
/// event may be dropped in any context but NMI.
///
/// # Examples
///
/// ```
/// use kernel::{
///     kthread::{
///         Event,
///         Kthread, //
///     },
///     sync::atomic::{
///         Atomic,
///         Relaxed, //
///     }, //
/// };
///
/// let work = Event::new();
/// let rounds = Atomic::<u32>::new(0);
///
/// // SAFETY: `thread` is not leaked.
/// let thread = unsafe {
///     Kthread::new(c"example", |context| {
///         while work.wait(context) {
///             rounds.fetch_add(1, Relaxed);
///         }
///     })
/// }?;
///
/// // Callable by an interrupt handler.
/// work.signal();
///
/// drop(thread);
/// assert!(rounds.load(Relaxed) <= 1);
/// # Ok::<(), Error>(())
/// ```
pub struct Event {
    signaled: Atomic<bool>,
    /// The thread, from its first wait on.
    thread: SetOnce<ARef<Task>>,
}

impl Event {
    /// Creates an event that is not signaled.
    pub const fn new() -> Self {
        Self {
            signaled: Atomic::new(false),
            thread: SetOnce::new(),
        }
    }

    /// Signals the event, and wakes the thread that waits for it.
    ///
    /// Context: any but NMI, also with interrupts off and spinlocks held.
    #[inline]
    pub fn signal(&self) {
        // PAIRING: Either this finds the thread, or the thread finds the event signaled: this store
        // is fully ordered before the load of `thread`, and in `wait` the full barrier of
        // `Context::wait_until` comes between the store of `thread` and the load of `signaled`.
        self.signaled.xchg(true, Full);
        if let Some(thread) = self.thread.as_ref() {
            thread.wake_up();
        }
    }

    /// Resets the event, and returns whether it was signaled.
    ///
    /// What was stored before the signal is visible after this.
    ///
    /// Context: any. Does not sleep.
    #[inline]
    pub fn take(&self) -> bool {
        self.signaled.xchg(false, Full)
    }

    /// Sleeps until the event is signaled, and resets it, or until the thread is asked to stop.
    ///
    /// Returns `true` if the event was signaled. Returns `false` if the thread was asked to stop; a
    /// signal stays then.
    ///
    /// Context: the thread that `context` belongs to; sleeps.
    pub fn wait(&self, context: &Context) -> bool {
        if self.thread.as_ref().is_none() {
            self.thread.populate(ARef::from(&**current!()));
        }
        context.wait_until(|| self.take())
    }
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(CONFIG_RUST_KTHREAD_KUNIT_TEST)]
#[macros::kunit_tests(rust_kthread_event)]
mod tests {
    use super::{
        super::{
            tests::{
                becomes,
                completion, //
            },
            Kthread, //
        },
        *,
    };
    use crate::{
        new_spinlock_irq,
        prelude::*,
        sync::atomic::Relaxed,
        time::{
            delay::fsleep,
            Delta, //
        },
    };

    #[test]
    fn take_resets() {
        let event = Event::new();

        assert!(!event.take());
        event.signal();
        event.signal();
        assert!(event.take());
        assert!(!event.take());
    }

    #[test]
    fn signals_before_the_wait_end_one() -> Result {
        let event = Event::new();
        let rounds = Atomic::<u32>::new(0);

        event.signal();
        event.signal();
        // SAFETY: `thread` is not leaked.
        let thread = unsafe {
            Kthread::new(c"kunit", |context| {
                while event.wait(context) {
                    rounds.fetch_add(1, Relaxed);
                }
            })
        }?;
        assert!(becomes(&rounds, 1));
        // It sleeps: nothing wakes it but the stop.
        fsleep(Delta::from_millis(20));
        drop(thread);

        assert_eq!(rounds.load(Relaxed), 1);

        // There is no thread to wake any more.
        event.signal();
        assert!(event.take());
        Ok(())
    }

    #[test]
    fn no_signal_is_lost() -> Result {
        let event = Event::new();
        let asked = KBox::pin_init(new_spinlock_irq!(0u32), GFP_KERNEL)?;
        let answered = Atomic::<u32>::new(0);

        // SAFETY: `thread` is not leaked.
        let thread = unsafe {
            Kthread::new(c"kunit", |context| {
                while event.wait(context) {
                    answered.store(*asked.lock(), Relaxed);
                }
            })
        }?;

        // The first rounds race with the start of the thread.
        for round in 1..=500 {
            {
                let mut asked = asked.lock();

                // Under the lock, as an interrupt handler does it.
                *asked = round;
                event.signal();
            }
            assert!(becomes(&answered, round));
        }
        drop(thread);
        Ok(())
    }

    #[test]
    fn stop_ends_the_wait() -> Result {
        let event = Event::new();
        let results = Atomic::<u32>::new(0);
        let started = completion()?;

        // SAFETY: `thread` is not leaked.
        let thread = unsafe {
            Kthread::new(c"kunit", |context| {
                started.complete_all();
                let stopped = event.wait(context);
                event.signal();
                let stopping = event.wait(context);

                results.store(
                    u32::from(stopped) | u32::from(stopping) << 1 | u32::from(event.take()) << 2,
                    Relaxed,
                );
            })
        }?;
        started.wait_for_completion();
        drop(thread);

        // Neither wait was ended by the signal, which is still there.
        assert_eq!(results.load(Relaxed), 4);
        Ok(())
    }
}
