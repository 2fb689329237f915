// SPDX-License-Identifier: GPL-2.0

//! Simulated interrupts, for tests.
//!
//! The handlers run in real hard interrupt context, raised by `irq_work`, though no device is
//! there.
//!
//! C header: [`include/linux/irq_sim.h`](srctree/include/linux/irq_sim.h)

use super::IrqRequest;
use crate::{
    error::{
        from_err_ptr,
        to_result, //
    },
    new_mutex,
    prelude::*,
    processor::cpu_relax,
    sync::Mutex,
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
    types::NotThreadSafe, //
};
use core::ptr::NonNull;

/// How long [`Domain::fire`] waits for its interrupt: on an architecture that cannot interrupt
/// itself it comes with the next tick.
const DELIVERY_TIMEOUT: Delta = Delta::from_millis(1000);

/// A set of simulated interrupts.
///
/// They are edge triggered.
///
/// # Examples
///
/// ```
/// use kernel::{
///     irq::{
///         sim::Domain,
///         Flags,
///         Handler,
///         IrqReturn,
///         Registration, //
///     },
///     sync::atomic::{
///         Atomic,
///         Relaxed, //
///     }, //
/// };
///
/// struct Counter(Atomic<u32>);
///
/// impl Handler for Counter {
///     fn handle(&self) -> IrqReturn {
///         self.0.fetch_add(1, Relaxed);
///         IrqReturn::Handled
///     }
/// }
///
/// let domain = Domain::new(2)?;
/// // SAFETY: The registration is not leaked.
/// let registration = unsafe {
///     Registration::new(
///         domain.request(1)?,
///         Flags::TRIGGER_NONE,
///         c"example",
///         Ok::<_, Error>(Counter(Atomic::new(0))),
///     )
/// };
/// let registration = KBox::pin_init(registration, GFP_KERNEL)?;
///
/// domain.fire(1)?;
/// // Under forced threading the handler runs in a thread.
/// registration.synchronize();
/// assert_eq!(registration.handler().0.load(Relaxed), 1);
/// # Ok::<(), Error>(())
/// ```
///
/// # Invariants
///
/// - `domain` is a valid domain that `irq_domain_create_sim()` returned, and `irqs.len()` is the
///   number of its interrupts.
/// - `irqs` maps their indices to the IRQ numbers they are mapped to.
pub struct Domain {
    domain: NonNull<bindings::irq_domain>,
    irqs: KVec<u32>,
    /// Serializes [`Domain::fire`]; guards nothing else. Sleeps; outermost.
    firing: Pin<KBox<Mutex<()>>>,
}

// SAFETY: A domain may be removed by any thread.
unsafe impl Send for Domain {}

// SAFETY: `domain` and `irqs` do not change, and the C functions that are called by `&self` may be
// called concurrently, under `firing` where they may not.
unsafe impl Sync for Domain {}

impl Domain {
    /// Creates `interrupts` simulated interrupts, with indices from 0.
    ///
    /// Errors: [`EINVAL`] for none, [`ENOMEM`].
    ///
    /// Sleeps.
    pub fn new(interrupts: u32) -> Result<Self> {
        if interrupts == 0 {
            return Err(EINVAL);
        }

        let irqs = KVec::with_capacity(interrupts as usize, GFP_KERNEL)?;
        let firing = KBox::pin_init(new_mutex!(()), GFP_KERNEL)?;

        // SAFETY: A domain needs no firmware node.
        let domain = from_err_ptr(unsafe {
            bindings::irq_domain_create_sim(core::ptr::null_mut(), interrupts)
        })?;
        let domain = NonNull::new(domain).ok_or(ENOMEM)?;

        // From here on, dropping this undoes what has been done.
        let mut this = Self {
            domain,
            irqs,
            firing,
        };

        for index in 0..interrupts {
            // CAST: `irq_hw_number_t` is as wide as a pointer, at least 32 bits.
            //
            // SAFETY: `domain` is valid and has more than `index` interrupts.
            let irq = unsafe {
                bindings::irq_create_mapping_affinity(
                    domain.as_ptr(),
                    index as bindings::irq_hw_number_t,
                    core::ptr::null(),
                )
            };
            if irq == 0 {
                return Err(ENOMEM);
            }
            this.irqs.push(irq, GFP_KERNEL)?;
        }

        // INVARIANT: All interrupts of `domain` have been mapped, in the order of their indices.
        Ok(this)
    }

    fn irq(&self, index: u32) -> Result<u32> {
        self.irqs.get(index as usize).copied().ok_or(EINVAL)
    }

    /// Returns a request for the interrupt at `index`, to register a handler with.
    ///
    /// Errors: [`EINVAL`] if there is no such interrupt.
    pub fn request(&self, index: u32) -> Result<IrqRequest<'_>> {
        // SAFETY: By the type invariants, the number is that of an interrupt that exists until
        // `self` is dropped, which the lifetime of the request excludes.
        Ok(unsafe { IrqRequest::simulated(self.irq(index)?) })
    }

    /// Raises the interrupt at `index`.
    ///
    /// When this returns, the hard handlers have run; under forced threading, their threads have
    /// been woken. Nothing happens if no handler is registered. One interrupt of the domain is
    /// raised at a time, since `irq_sim` loses one that is raised on another CPU meanwhile.
    ///
    /// Errors: [`EINVAL`] if there is no such interrupt, [`ETIMEDOUT`] if it was not delivered
    /// within a second.
    ///
    /// Process context with interrupts on; sleeps. Not to be called by a handler.
    pub fn fire(&self, index: u32) -> Result {
        let irq = self.irq(index)?;
        let _firing = self.firing.lock();

        // `irq_work` runs on the CPU that queued it. On that CPU, seeing that the interrupt is not
        // pending any more means that its handlers have returned.
        let _this_cpu = MigrateDisabled::new();

        // SAFETY: By the type invariants, `irq` is the number of a mapped interrupt.
        to_result(unsafe {
            bindings::irq_set_irqchip_state(
                irq,
                bindings::irqchip_irq_state_IRQCHIP_STATE_PENDING,
                true,
            )
        })?;

        let start = Instant::<Monotonic>::now();
        while self.is_pending(irq)? {
            if start.elapsed() > DELIVERY_TIMEOUT {
                return Err(ETIMEDOUT);
            }
            cpu_relax();
        }

        Ok(())
    }

    fn is_pending(&self, irq: u32) -> Result<bool> {
        let mut pending = false;

        // SAFETY: By the type invariants, `irq` is the number of a mapped interrupt.
        to_result(unsafe {
            bindings::irq_get_irqchip_state(
                irq,
                bindings::irqchip_irq_state_IRQCHIP_STATE_PENDING,
                &mut pending,
            )
        })?;

        Ok(pending)
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        for &irq in &self.irqs {
            // SAFETY: By the type invariants, `irq` is mapped. No handler is registered for it: one
            // would borrow `self`.
            unsafe { bindings::irq_dispose_mapping(irq) };
        }

        // SAFETY: By the type invariants, `self.domain` is a valid simulated domain; its interrupts
        // have been unmapped.
        unsafe { bindings::irq_domain_remove_sim(self.domain.as_ptr()) };
    }
}

/// Keeps the current task on its CPU, for as long as it exists.
struct MigrateDisabled(NotThreadSafe);

impl MigrateDisabled {
    fn new() -> Self {
        // SAFETY: May be called by any task, and is undone by the same one: `Self` is not `Send`.
        unsafe { bindings::migrate_disable() };
        Self(NotThreadSafe)
    }
}

impl Drop for MigrateDisabled {
    fn drop(&mut self) {
        // SAFETY: `migrate_disable()` was called when `self` was created.
        unsafe { bindings::migrate_enable() };
    }
}

#[cfg(CONFIG_RUST_IRQ_KUNIT_TEST)]
#[macros::kunit_tests(rust_irq_sim)]
mod tests {
    use super::*;
    use crate::{
        irq::{
            Flags,
            IrqReturn,
            ThreadWaker,
            ThreadedHandler,
            ThreadedIrqReturn,
            ThreadedRegistration, //
        },
        sync::atomic::{
            Atomic,
            Relaxed, //
        },
        time::delay::fsleep,
    };

    /// Counts the runs of its handlers; `wakes` is whom the hard handler wakes but its own thread.
    struct Counter {
        hard: Atomic<u32>,
        threaded: Atomic<u32>,
        wakes: Option<ThreadWaker>,
    }

    impl ThreadedHandler for Counter {
        fn handle(&self) -> ThreadedIrqReturn {
            self.hard.fetch_add(1, Relaxed);
            match &self.wakes {
                Some(waker) => {
                    waker.wake();
                    ThreadedIrqReturn::Handled
                }
                None => ThreadedIrqReturn::WakeThread,
            }
        }

        fn handle_threaded(&self) -> IrqReturn {
            self.threaded.fetch_add(1, Relaxed);
            IrqReturn::Handled
        }
    }

    fn register(
        domain: &Domain,
        index: u32,
        wakes: Option<ThreadWaker>,
    ) -> Result<Pin<KBox<ThreadedRegistration<'_, Counter>>>> {
        let counter = Counter {
            hard: Atomic::new(0),
            threaded: Atomic::new(0),
            wakes,
        };

        // SAFETY: No caller leaks it.
        let registration = unsafe {
            ThreadedRegistration::new(
                domain.request(index)?,
                Flags::SHARED,
                c"kunit",
                Ok::<_, Error>(counter),
            )
        };
        KBox::pin_init(registration, GFP_KERNEL)
    }

    /// Sleeps until `value` is `expected`, for a second at most.
    fn becomes(value: &Atomic<u32>, expected: u32) -> bool {
        for _ in 0..10_000 {
            if value.load(Relaxed) == expected {
                return true;
            }
            fsleep(Delta::from_micros(100));
        }
        false
    }

    #[test]
    fn threaded_handler_runs() -> Result {
        let domain = Domain::new(2)?;
        let first = register(&domain, 0, None)?;
        let second = register(&domain, 1, None)?;

        for round in 1..=50 {
            domain.fire(1)?;
            assert!(becomes(&second.handler().hard, round));
            assert!(becomes(&second.handler().threaded, round));
        }
        assert_eq!(first.handler().hard.load(Relaxed), 0);
        assert_eq!(first.handler().threaded.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn waker_wakes_from_process_context() -> Result {
        let domain = Domain::new(1)?;
        let registration = register(&domain, 0, None)?;
        // SAFETY: Last used before `registration` is dropped.
        let waker = unsafe { registration.waker() };

        for round in 1..=50 {
            waker.wake();
            assert!(becomes(&registration.handler().threaded, round));
        }
        Ok(())
    }

    #[test]
    fn waker_wakes_from_another_interrupt() -> Result {
        let domain = Domain::new(2)?;
        let home = register(&domain, 0, None)?;
        // SAFETY: `other` uses it, and is dropped before `home`.
        let waker = unsafe { home.waker() };
        let other = register(&domain, 1, Some(waker))?;

        for round in 1..=50 {
            domain.fire(1)?;
            assert!(becomes(&home.handler().threaded, round));
            assert!(becomes(&other.handler().hard, round));
        }
        assert_eq!(other.handler().threaded.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn nothing_is_delivered_without_handler() -> Result {
        let domain = Domain::new(1)?;

        domain.fire(0)?;
        let registration = register(&domain, 0, None)?;
        fsleep(Delta::from_millis(20));
        assert_eq!(registration.handler().hard.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn bad_arguments() -> Result {
        assert_eq!(Domain::new(0).err(), Some(EINVAL));

        let domain = Domain::new(2)?;
        assert_eq!(domain.fire(2), Err(EINVAL));
        assert_eq!(domain.request(u32::MAX).err(), Some(EINVAL));
        Ok(())
    }
}
