// SPDX-License-Identifier: GPL-2.0

//! Fences that an interrupt handler signals under its own lock, with all kinds of waiters.
//!
//! The lock is one that saves the state of interrupts, as drivers have one for the state that they
//! share with their interrupt handler. With `CONFIG_PROVE_LOCKING` this shows that the locks below
//! the signal fit under it.

use super::{
    super::{
        DriverFence,
        Fence,
        FenceCallback,
        FenceCallbackRegistration,
        FenceChainAllocation,
        FenceContext, //
    },
    context,
    Ring, //
};
use crate::{
    bindings,
    container_of,
    irq::{
        in_hardirq,
        Handler,
        IrqReturn, //
    },
    new_spinlock_irq,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Completion,
        SpinLockIrq, //
    },
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
    types::Opaque, //
};
use core::ptr;

/// How many fences an interrupt signals.
const FENCES: usize = 64;

/// The state that the handler shares with process context.
struct Shared {
    /// In the order of their numbers.
    fences: KVec<DriverFence<'static, Ring>>,
    /// How long the handler held the lock.
    held: Delta,
    in_hardirq: bool,
}

/// The handler, and the lock of its interrupt message.
#[pin_data]
struct Message {
    #[pin]
    shared: SpinLockIrq<Shared>,
}

impl Message {
    fn new() -> Result<impl PinInit<Self, Error>> {
        let fences = KVec::with_capacity(FENCES, GFP_KERNEL)?;

        Ok(try_pin_init!(Self {
            shared <- new_spinlock_irq!(Shared {
                fences,
                held: Delta::ZERO,
                in_hardirq: false,
            }),
        }))
    }
}

impl Handler for Message {
    fn handle(&self) -> IrqReturn {
        let mut shared = self.shared.lock();
        let start = Instant::<Monotonic>::now();

        for fence in shared.fences.drain_all() {
            fence.signal(Ok(()));
        }
        shared.held = start.elapsed();
        shared.in_hardirq = in_hardirq();
        IrqReturn::Handled
    }
}

/// A callback with a lock of its own, which is taken in process context too.
#[pin_data]
struct Waiter {
    #[pin]
    count: SpinLockIrq<u32>,
    #[pin]
    done: Completion,
}

struct Wake(Arc<Waiter>);

impl FenceCallback for Wake {
    fn on_signal(&mut self) {
        *self.0.count.lock() += 1;
        self.0.done.complete_all();
    }
}

impl Waiter {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                count <- new_spinlock_irq!(0),
                done <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// Counts the signal of a fence.
    fn watch(
        this: &Arc<Self>,
        fence: &Fence,
    ) -> Result<Pin<KBox<FenceCallbackRegistration<Wake>>>> {
        KBox::pin_init(
            FenceCallbackRegistration::new(fence, Wake(this.clone())),
            GFP_KERNEL,
        )
    }
}

/// Polls the file of a fence, as user space does.
#[pin_data(PinnedDrop)]
struct Poll {
    file: *mut bindings::file,
    #[pin]
    table: Opaque<bindings::poll_table_struct>,
    #[pin]
    entry: Opaque<bindings::wait_queue_entry>,
    head: *mut bindings::wait_queue_head_t,
    woken: Atomic<u32>,
}

impl Poll {
    fn new(fence: &Fence) -> Result<Pin<KBox<Self>>> {
        // SAFETY: The fence is valid.
        let sync_file = unsafe { bindings::sync_file_create(fence.as_raw()) };
        if sync_file.is_null() {
            return Err(ENOMEM);
        }

        let this = KBox::pin_init(
            pin_init!(Self {
                // SAFETY: The file was just made.
                file: unsafe { (*sync_file).file },
                table: Opaque::new(bindings::poll_table_struct {
                    _qproc: Some(Self::queue),
                    _key: !0,
                }),
                entry: Opaque::zeroed(),
                head: ptr::null_mut(),
                woken: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
        .inspect_err(|_| {
            // SAFETY: We have the reference.
            unsafe { bindings::__fput_sync((*sync_file).file) }
        })?;

        // SAFETY: The file is valid, and `queue` finds the table in `this`.
        unsafe {
            let poll = (*(*this.file).f_op).poll.ok_or(EINVAL)?;
            poll(this.file, this.table.get());
        }
        Ok(this)
    }

    /// Queues a waiter, as the callback of a poll table.
    ///
    /// # Safety
    ///
    /// `head` must be valid, and `table` the one of a `Poll` that nobody else uses.
    unsafe extern "C" fn queue(
        _file: *mut bindings::file,
        head: *mut bindings::wait_queue_head_t,
        table: *mut bindings::poll_table_struct,
    ) {
        // SAFETY: The table is the one of a `Poll`, whose other fields nobody uses yet.
        unsafe {
            let this = container_of!(Opaque::cast_from(table), Self, table).cast_mut();
            let entry = (*this).entry.get();
            (*entry).func = Some(Self::wake);
            (*this).head = head;
            bindings::add_wait_queue(head, entry);
        }
    }

    /// Counts a wake-up.
    ///
    /// # Safety
    ///
    /// `entry` must be the one of a `Poll`.
    unsafe extern "C" fn wake(
        entry: *mut bindings::wait_queue_entry,
        _mode: c_uint,
        _flags: c_int,
        _key: *mut c_void,
    ) -> c_int {
        // SAFETY: The entry is the one of a `Poll`.
        let this = unsafe { &*container_of!(Opaque::cast_from(entry), Self, entry) };
        this.woken.fetch_add(1, Relaxed);
        0
    }
}

#[pinned_drop]
impl PinnedDrop for Poll {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The entry was queued, if there is a head. We have the reference to the file.
        unsafe {
            if !self.head.is_null() {
                bindings::remove_wait_queue(self.head, self.entry.get());
            }
            bindings::__fput_sync(self.file);
        }
    }
}

#[macros::kunit_tests(rust_dma_fence_irq)]
mod suite {
    use super::*;
    use crate::{
        irq::{
            sim::Domain,
            Flags,
            Registration, //
        },
        kthread::Kthread,
        time::{
            delay::fsleep,
            msecs_to_jiffies, //
        },
    };

    /// Sleeps until `condition` holds, for a second at most. Chains are signalled by `irq_work`.
    fn becomes(condition: impl Fn() -> bool) -> bool {
        for _ in 0..10_000 {
            if condition() {
                return true;
            }
            fsleep(Delta::from_micros(100));
        }
        false
    }

    fn register(domain: &Domain) -> Result<Pin<KBox<Registration<'_, Message>>>> {
        // SAFETY: No caller leaks it.
        let registration = unsafe {
            Registration::new(
                domain.request(0)?,
                Flags::TRIGGER_NONE,
                c"kunit",
                Message::new()?,
            )
        };
        KBox::pin_init(registration, GFP_KERNEL)
    }

    /// Makes a fence, and gives it to the handler under the lock of the message.
    fn submit(message: &Message, context: &FenceContext<Ring>) -> Result<ARef<Fence>> {
        let allocation = context.new_fence_allocation(0)?.detach();
        let mut shared = message.shared.lock();
        let fence = allocation.new_fence();
        let waiter = fence.as_fence().into();

        // What does not fit is dropped, and cancelled.
        let _ = shared.fences.push_within_capacity(fence);
        Ok(waiter)
    }

    /// Signals with each kind of waiter, and says how long the lock was held.
    #[test]
    fn handler_signals_under_its_lock() -> Result {
        let domain = Domain::new(1)?;
        let registration = register(&domain)?;
        let message = registration.handler();
        let context = context(Ring)?;

        for kinds in 0..4 {
            let waiter = Waiter::new()?;
            let mut fences = KVec::new();
            let mut chains = KVec::new();
            let mut callbacks = KVec::new();
            let mut polls = KVec::new();

            for number in 0..FENCES {
                let fence = submit(message, &context)?;
                if kinds >= 1 {
                    callbacks.push(Waiter::watch(&waiter, &fence)?, GFP_KERNEL)?;
                }
                if kinds >= 2 {
                    polls.push(Poll::new(&fence)?, GFP_KERNEL)?;
                }
                if kinds >= 3 {
                    let chain = FenceChainAllocation::new()?.init(
                        chains.last().cloned(),
                        fence.clone(),
                        number as u64 + 1,
                    );
                    callbacks.push(Waiter::watch(&waiter, &chain)?, GFP_KERNEL)?;
                    chains.push(chain, GFP_KERNEL)?;
                }
                fences.push(fence, GFP_KERNEL)?;
            }
            assert!(fences.iter().all(|fence| !fence.is_signaled()));

            domain.fire(0)?;
            registration.synchronize();

            assert!(fences.iter().all(|fence| fence.status() == Some(Ok(()))));
            assert!(polls.iter().all(|poll| poll.woken.load(Relaxed) == 1));
            assert!(becomes(|| *waiter.count.lock() as usize == callbacks.len()));
            assert!(chains.iter().all(|chain| chain.is_signaled()));

            let shared = message.shared.lock();
            assert!(shared.fences.is_empty());
            assert!(shared.in_hardirq || cfg!(CONFIG_PREEMPT_RT));
            pr_info!(
                "{} fences with {} callbacks and {} polls: lock held for {} us\n",
                FENCES,
                callbacks.len(),
                polls.len(),
                shared.held.as_micros_ceil()
            );
        }
        Ok(())
    }

    /// Threads that wait are woken, and what they free is freed while the interrupt goes on.
    #[test]
    fn handler_wakes_threads() -> Result {
        let domain = Domain::new(1)?;
        let registration = register(&domain)?;
        let message = registration.handler();
        let context = context(Ring)?;

        for _ in 0..20 {
            let first = submit(message, &context)?;
            let last = submit(message, &context)?;
            let woken = Atomic::<u32>::new(0);
            let wait = |fence: ARef<Fence>| {
                let woken = &woken;
                move |_: &crate::kthread::Context| {
                    if fence.wait(msecs_to_jiffies(60_000)).is_ok() {
                        woken.fetch_add(1, Relaxed);
                    }
                }
            };

            // SAFETY: Both are dropped below.
            let one = unsafe { Kthread::new(c"kunit", wait(first)) }?;
            // SAFETY: As above.
            let two = unsafe { Kthread::new(c"kunit", wait(last)) }?;
            fsleep(Delta::from_millis(2));
            domain.fire(0)?;

            assert!(becomes(|| woken.load(Relaxed) == 2));
            drop((one, two));
        }
        Ok(())
    }

    /// A callback is taken back on one CPU while the handler signals on another.
    #[test]
    fn callbacks_are_taken_back_meanwhile() -> Result {
        let domain = Domain::new(1)?;
        let registration = register(&domain)?;
        let message = registration.handler();
        let context = context(Ring)?;

        for _ in 0..50 {
            let waiter = Waiter::new()?;
            let mut callbacks = KVec::new();
            for _ in 0..FENCES {
                let fence = submit(message, &context)?;
                callbacks.push(Waiter::watch(&waiter, &fence)?, GFP_KERNEL)?;
            }

            let domain = &domain;
            // SAFETY: It is dropped below.
            let thread = unsafe {
                Kthread::new(c"kunit", move |_| {
                    let _ = domain.fire(0);
                })
            }?;
            drop(callbacks);
            assert!(becomes(|| message.shared.lock().fences.is_empty()));
            drop(thread);
        }
        Ok(())
    }
}
