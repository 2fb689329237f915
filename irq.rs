// SPDX-License-Identifier: GPL-2.0

//! [`Adapter`] keeps WDDM's interrupt contract: the state of an interrupt message is reached from
//! its interrupt routine and from [`Adapter::synchronize_execution`] alone, and types enforce it.
//!
//! A device has one or more interrupt *messages*: MSI-X or MSI messages, or the one line of INTx.
//! Each message has one lock. Inside the lock is the state that the interrupt routine of the
//! message shares with the rest of the driver. There are two ways in:
//!
//! - the hard interrupt handler takes the lock and runs [`Miniport::interrupt_routine`]
//!   (`DxgkDdiInterruptRoutine`);
//! - [`Adapter::synchronize_execution`] (`DxgkCbSynchronizeExecution`) takes the lock and runs a
//!   closure of the caller.
//!
//! Both hand out a [`Synchronized`]. Only that type leads to the state and can queue the DPC
//! (`DxgkCbQueueDpc`). Three more take the lock: [`Connection`] puts states in and takes them out,
//! [`Adapter::counters`] reads the counters, and `irq/panic.rs` is the way in for a panic.
//!
//! The DPC of the adapter (`DxgkDdiDpcRoutine`) runs on the interrupt thread of one message, the
//! *DPC's message*.
//!
//! Nothing here knows what device it is: all is generic over the [`Miniport`].
//!
//! # The lock
//!
//! The lock of a message is a [`SpinLockIrq`], the `kernel` crate's form of `spin_lock_irqsave()`.
//! The first one that a CPU takes saves the interrupt state and disables local interrupts; the
//! release of the last one restores that state. So callers may have interrupts on or off. On
//! PREEMPT_RT it sleeps and leaves interrupts alone, as every `spinlock_t` there: no caller may
//! have interrupts off. It guards [`Inner`]: the state of the message and its counters.
//!
//! Lock order: all messages share one lock class, so lockdep reports any nesting of two. Nothing
//! is allocated, freed or waited for under the lock. Only the raw locks of `irq_wake_thread()` are
//! taken under it.

use core::{
    fmt,
    ops::{
        Deref,
        DerefMut, //
    },
};
use kernel::{
    irq::{
        in_hardirq,
        ThreadWaker,
        ThreadedIrqReturn, //
    },
    new_spinlock_irq,
    num::casts::u32_as_usize,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        SpinLockIrq, //
    },
    time::{
        Instant,
        Monotonic, //
    },
};

mod connection;
mod hold_time;
mod panic;
#[cfg(CONFIG_DRM_RUST_GPU_KUNIT_TEST)]
pub(crate) mod tests;

pub(crate) use self::connection::Connection;

/// Why a routine was not run: the failures of `DxgkCbSynchronizeExecution`.
///
/// Success is the `Ok` of [`Adapter::synchronize_execution`]. [`ntstatus`] turns success and both
/// failures into the NTSTATUS values of WDDM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Status {
    /// `STATUS_INVALID_PARAMETER`: the message is out of range, or not zero on a line interrupt.
    /// As an errno: [`EINVAL`].
    #[doc(alias = "STATUS_INVALID_PARAMETER")]
    InvalidParameter = 0xC000_000D,
    /// `STATUS_UNSUCCESSFUL`: the interrupt is not connected yet, or not any more. As an errno:
    /// [`ENOTCONN`].
    #[doc(alias = "STATUS_UNSUCCESSFUL")]
    Unsuccessful = 0xC000_0001,
}

/// `STATUS_SUCCESS`: the routine ran.
pub(crate) const STATUS_SUCCESS: u32 = 0;

/// Returns the NTSTATUS value of an answer of [`Adapter::synchronize_execution`].
pub(crate) fn ntstatus<R>(answer: &Result<R, Status>) -> u32 {
    match answer {
        Ok(_) => STATUS_SUCCESS,
        Err(status) => *status as u32,
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidParameter => "STATUS_INVALID_PARAMETER",
            Self::Unsuccessful => "STATUS_UNSUCCESSFUL",
        })
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        match status {
            Status::InvalidParameter => EINVAL,
            Status::Unsuccessful => ENOTCONN,
        }
    }
}

/// What a driver gives to this module: its state and its routines.
pub(crate) trait Miniport: Send + Sync + Sized {
    /// What the interrupt routine of one message shares with the rest of the driver.
    type State: Send + Unpin;

    /// Serves an interrupt, `DxgkDdiInterruptRoutine`.
    ///
    /// Dismisses the interrupt, does the minimum, and queues the DPC for the rest
    /// ([`Synchronized::queue_dpc`]). Returns false at once if the device did not raise the
    /// interrupt.
    ///
    /// Context: hard interrupt (a thread with `threadirqs` and on PREEMPT_RT), lock of `message`
    /// held. Must not sleep, allocate or free.
    #[doc(alias = "DxgkDdiInterruptRoutine")]
    fn interrupt_routine(&self, state: &mut Synchronized<'_, Self>, message: u32) -> bool;

    /// Dismisses an interrupt of a message that has no state: before connect and during
    /// disconnect. Without it a level-triggered line would storm. Returns whether the device had
    /// raised the interrupt.
    ///
    /// Context: as [`Miniport::interrupt_routine`].
    fn acknowledge(&self, message: u32) -> bool;

    /// Does the deferred half, `DxgkDdiDpcRoutine`. Never runs twice at once for one adapter.
    ///
    /// Context: process (the interrupt thread of the DPC's message), no lock held. Must not
    /// disconnect: that waits for this routine.
    #[doc(alias = "DxgkDdiDpcRoutine")]
    fn dpc_routine(&self, adapter: &Adapter<Self>);
}

/// The state of the DPC of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(crate) enum Dpc {
    /// It has nothing to do.
    Idle,
    /// It has work for which nobody waits. It does this work when it is queued the next time.
    Marked,
    /// Its thread was woken, or is about to be.
    Queued,
}

/// What one message counted since the adapter was made; kept under its lock.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counters {
    /// Interrupts that the device raised.
    pub(crate) interrupts: u64,
    /// Interrupts that it did not raise, or for which nothing was found.
    pub(crate) not_ours: u64,
    /// DPCs queued or marked from this message that had nothing to do before.
    pub(crate) dpcs_queued: u64,
    /// DPCs asked for while one was marked or queued already. A reported completion counts here
    /// too: the report asks first, and the interrupt routine once more.
    pub(crate) dpcs_refused: u64,
    /// Synchronised routines run.
    pub(crate) executions: u64,
    /// Calls answered with [`Status::Unsuccessful`].
    pub(crate) refused: u64,
    /// Longest time that the lock was held, in nanoseconds; measured while the static key
    /// `rust_gpu_hold_time` is on.
    pub(crate) longest_hold_ns: u64,
}

impl Counters {
    /// Returns how often the DPC was asked for.
    fn dpcs_asked(&self) -> u64 {
        self.dpcs_queued.wrapping_add(self.dpcs_refused)
    }
}

/// Counts one event. Wraps, so that no panic is compiled into the interrupt path.
#[inline(always)]
fn count(counter: &mut u64) {
    *counter = counter.wrapping_add(1);
}

/// Why a handler ran.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    /// The device raised an interrupt.
    Interrupt,
    /// Somebody woke the thread of the DPC, with forced threading.
    WakeUp,
    /// Another device on the same line raised an interrupt.
    NotOurs,
}

impl Run {
    /// Decides why a handler ran. `raised`: the interrupt routine says that the device raised an
    /// interrupt. `woken`: the thread was woken for a DPC. `asked`: the routine asked for the DPC.
    fn of(raised: bool, woken: bool, asked: bool) -> Self {
        match (raised, woken) {
            // The routine may not know whether the device raised an interrupt. A run after a
            // wake-up counts as one only if the routine found work for the DPC.
            (true, woken) if !woken || asked => Self::Interrupt,
            (_, true) => Self::WakeUp,
            (_, false) => Self::NotOurs,
        }
    }
}

/// Whether a message is connected.
enum Phase<S> {
    /// No state: not connected yet, or disconnecting. The handler acknowledges a line interrupt.
    Disconnected,
    /// The state is there; the interrupt routine and synchronised routines run on it.
    Connected(S, ThreadWaker),
    /// The device was reset: the handler answers NONE and touches nothing.
    Quiet,
}

/// What the lock of a message guards.
struct Inner<S> {
    phase: Phase<S>,
    counters: Counters,
}

/// One interrupt message.
#[pin_data]
struct Message<S> {
    /// See the module's documentation for what it guards and its order.
    #[pin]
    lock: SpinLockIrq<Inner<S>>,
}

impl<S: Unpin> Message<S> {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            lock <- new_spinlock_irq!(Inner {
                phase: Phase::Disconnected,
                counters: Counters::default(),
            }),
        })
    }

    /// Runs `f` with the lock held. Measures for how long, while that is turned on.
    #[inline]
    #[doc(alias = "KeSynchronizeExecution")]
    fn locked<R>(&self, f: impl FnOnce(&mut Inner<S>) -> R) -> R {
        let mut inner = self.lock.lock();
        if !hold_time::enabled() {
            return f(&mut inner);
        }
        let start = Instant::<Monotonic>::now();
        let result = f(&mut inner);
        let held = u64::try_from(start.elapsed().as_nanos()).unwrap_or(0);
        inner.counters.longest_hold_ns = inner.counters.longest_hold_ns.max(held);
        result
    }
}

/// The state of one message, with its lock held: what an interrupt routine or a synchronised
/// routine works on.
///
/// Dereferences to [`Miniport::State`].
pub(crate) struct Synchronized<'a, M: Miniport> {
    state: &'a mut M::State,
    counters: &'a mut Counters,
    adapter: &'a Adapter<M>,
    waker: ThreadWaker,
    /// True in the hard handler of the DPC's message, which wakes its thread by its return value.
    in_dpc_handler: bool,
}

impl<M: Miniport> Synchronized<'_, M> {
    /// Queues the DPC, `DxgkCbQueueDpc`.
    ///
    /// Returns true if this call queued it, false if it was marked or queued already. The mark is
    /// cleared before the DPC runs, so queueing while it runs returns true and it runs again.
    ///
    /// Context: any, lock of the message held (given by the type).
    #[doc(alias = "DxgkCbQueueDpc")]
    pub(crate) fn queue_dpc(&mut self) -> bool {
        self.raise_dpc(Dpc::Queued)
    }

    /// Queues the DPC or only marks it, as `to` says. A queued DPC stays queued.
    ///
    /// Returns the same as [`Self::queue_dpc`]. Context: as there.
    pub(crate) fn raise_dpc(&mut self, to: Dpc) -> bool {
        let dpc = &self.adapter.dpc;
        let before = match to {
            Dpc::Idle => return false,
            Dpc::Marked => dpc
                .cmpxchg(Dpc::Idle as u32, Dpc::Marked as u32, Full)
                .unwrap_or_else(|now| now),
            Dpc::Queued => dpc.xchg(Dpc::Queued as u32, Full),
        };
        if to == Dpc::Queued && before != Dpc::Queued as u32 && !self.in_dpc_handler {
            self.adapter.woken.store(true, Relaxed);
            self.waker.wake();
        }
        let first = before == Dpc::Idle as u32;
        count(if first {
            &mut self.counters.dpcs_queued
        } else {
            &mut self.counters.dpcs_refused
        });
        first
    }

    /// Returns the miniport.
    pub(crate) fn miniport(&self) -> &M {
        &self.adapter.miniport
    }

    /// Returns what the message counted.
    pub(crate) fn counters(&self) -> &Counters {
        self.counters
    }
}

impl<M: Miniport> Deref for Synchronized<'_, M> {
    type Target = M::State;

    fn deref(&self) -> &M::State {
        self.state
    }
}

impl<M: Miniport> DerefMut for Synchronized<'_, M> {
    fn deref_mut(&mut self) -> &mut M::State {
        self.state
    }
}

/// How the messages of a device were allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vectors {
    /// Number of messages; 1 for a line interrupt.
    pub(crate) count: u32,
    /// Message on whose interrupt thread the DPC runs.
    pub(crate) dpc_message: u32,
}

/// The interrupt side of one device: its messages, its DPC, its miniport.
///
/// Made before the device can be addressed and kept after disconnect, so that
/// [`Adapter::synchronize_execution`] always has an answer.
#[pin_data]
pub(crate) struct Adapter<M: Miniport> {
    miniport: M,
    messages: KVec<Pin<KBox<Message<M::State>>>>,
    dpc_message: u32,
    /// A [`Dpc`]: whether a DPC is queued that has not started. Set under any message lock, cleared
    /// by the interrupt thread of the DPC's message.
    dpc: Atomic<u32>,
    /// The thread of the DPC's message was woken for a DPC, not by an interrupt. Set under any
    /// message lock. With forced threading the next run of the handler of that message clears it;
    /// otherwise nothing reads it.
    woken: Atomic<bool>,
    /// Runs of the DPC. Written by the interrupt thread of the DPC's message only.
    dpcs_run: Atomic<u64>,
    /// Calls answered with [`Status::InvalidParameter`]. They belong to no message, so no lock
    /// guards them.
    invalid: Atomic<u64>,
}

impl<M: Miniport> Adapter<M> {
    /// Makes the adapter of a device with `vectors`, not connected.
    ///
    /// Errors: [`EINVAL`] if there is no message or the DPC's message is out of range, [`ENOMEM`].
    ///
    /// Context: process.
    pub(crate) fn new(miniport: M, vectors: Vectors) -> Result<Arc<Self>> {
        if vectors.dpc_message >= vectors.count {
            return Err(EINVAL);
        }
        let mut messages = KVec::with_capacity(vectors.count.try_into()?, GFP_KERNEL)?;
        for _ in 0..vectors.count {
            messages.push(KBox::pin_init(Message::new(), GFP_KERNEL)?, GFP_KERNEL)?;
        }
        Ok(Arc::new(
            Self {
                miniport,
                messages,
                dpc_message: vectors.dpc_message,
                dpc: Atomic::new(Dpc::Idle as u32),
                woken: Atomic::new(false),
                dpcs_run: Atomic::new(0),
                invalid: Atomic::new(0),
            },
            GFP_KERNEL,
        )?)
    }

    /// Returns the miniport.
    pub(crate) fn miniport(&self) -> &M {
        &self.miniport
    }

    /// Returns the number of messages.
    pub(crate) fn messages(&self) -> u32 {
        // CAST: `new` made as many messages as a u32 counted.
        self.messages.len() as u32
    }

    /// Returns how often the DPC ran.
    pub(crate) fn dpcs_run(&self) -> u64 {
        self.dpcs_run.load(Relaxed)
    }

    /// Runs `routine` so that it cannot overlap the interrupt routine of `message`,
    /// `DxgkCbSynchronizeExecution`.
    ///
    /// The routine runs with the lock of `message` held and local interrupts off (on PREEMPT_RT:
    /// the lock alone). It must be short, must not sleep, allocate, free or fault, and must not
    /// call this function: for the same message that is a deadlock, and for another lockdep
    /// reports it. `R` is `bool` in WDDM; if the routine does not run there is no `R`.
    ///
    /// Errors, in the order of the checks: [`Status::InvalidParameter`] if `message` is out of
    /// range (on a line interrupt: not zero), [`Status::Unsuccessful`] if the interrupt is not
    /// connected.
    ///
    /// Context: process, softirq, and, except on PREEMPT_RT, with interrupts off. On return the
    /// interrupt state is what it was. No message lock may be held.
    #[inline]
    #[doc(alias = "DxgkCbSynchronizeExecution")]
    pub(crate) fn synchronize_execution<R>(
        &self,
        message: u32,
        routine: impl FnOnce(&mut Synchronized<'_, M>) -> R,
    ) -> Result<R, Status> {
        let Some(slot) = self.messages.get(u32_as_usize(message)) else {
            self.invalid.add(1, Relaxed);
            return Err(Status::InvalidParameter);
        };
        slot.locked(|inner| {
            let Phase::Connected(state, waker) = &mut inner.phase else {
                count(&mut inner.counters.refused);
                return Err(Status::Unsuccessful);
            };
            count(&mut inner.counters.executions);
            Ok(routine(&mut Synchronized {
                state,
                counters: &mut inner.counters,
                adapter: self,
                waker: *waker,
                in_dpc_handler: false,
            }))
        })
    }

    /// Returns how many calls were answered with [`Status::InvalidParameter`].
    pub(crate) fn invalid(&self) -> u64 {
        self.invalid.load(Relaxed)
    }

    /// Returns what `message` counted, also while it is not connected.
    ///
    /// Errors and context: as [`Adapter::synchronize_execution`], without the connection check.
    pub(crate) fn counters(&self, message: u32) -> Result<Counters, Status> {
        let slot = self.messages.get(u32_as_usize(message));
        slot.map(|slot| slot.locked(|inner| inner.counters))
            .ok_or(Status::InvalidParameter)
    }

    /// Handles an interrupt of one message: the hard half.
    fn handle(&self, message: u32) -> ThreadedIrqReturn {
        let Some(slot) = self.messages.get(u32_as_usize(message)) else {
            return ThreadedIrqReturn::None;
        };
        let in_dpc_handler = message == self.dpc_message;
        // With forced threading a wake-up of the DPC runs this handler first, in a thread, and it
        // has to pass the wake-up on.
        let woken = in_dpc_handler && !in_hardirq() && self.woken.xchg(false, Relaxed);
        slot.locked(|inner| {
            let asked = inner.counters.dpcs_asked();
            let raised = match &mut inner.phase {
                Phase::Quiet => return ThreadedIrqReturn::None,
                Phase::Disconnected => self.miniport.acknowledge(message),
                Phase::Connected(state, waker) => self.miniport.interrupt_routine(
                    &mut Synchronized {
                        state,
                        counters: &mut inner.counters,
                        adapter: self,
                        waker: *waker,
                        in_dpc_handler,
                    },
                    message,
                ),
            };
            let run = Run::of(raised, woken, inner.counters.dpcs_asked() != asked);
            if in_dpc_handler && self.dpc.load(Relaxed) == Dpc::Queued as u32 {
                match run {
                    Run::Interrupt => count(&mut inner.counters.interrupts),
                    Run::NotOurs => count(&mut inner.counters.not_ours),
                    Run::WakeUp => {}
                }
                return ThreadedIrqReturn::WakeThread;
            }
            match run {
                Run::Interrupt => count(&mut inner.counters.interrupts),
                Run::NotOurs => {
                    count(&mut inner.counters.not_ours);
                    return ThreadedIrqReturn::None;
                }
                Run::WakeUp => {}
            }
            ThreadedIrqReturn::Handled
        })
    }

    /// Runs the DPC if it is queued or marked: the thread half.
    fn run_dpc(&self) {
        // Cleared before the routine starts: from here on a new DPC can be queued. Full ordering
        // pairs with `raise_dpc`: if that was refused because of this run, this run sees all that
        // the caller did before.
        if self.dpc.xchg(Dpc::Idle as u32, Full) != Dpc::Idle as u32 {
            self.dpcs_run
                .store(self.dpcs_run.load(Relaxed) + 1, Relaxed);
            self.miniport.dpc_routine(self);
        }
    }
}
