// SPDX-License-Identifier: GPL-2.0

//! A [`Domain`] simulates interrupts, for tests.
//!
//! No device is needed, and the handlers run in real hard interrupt context: `irq_work` raises the
//! interrupts.
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

/// How long [`Domain::fire`] waits for its interrupt, which comes with the next tick on an
/// architecture that cannot interrupt itself.
const DELIVERY_TIMEOUT: Delta = Delta::from_millis(1000);

/// A set of simulated interrupts, which are edge triggered.
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
    /// Serializes [`Domain::fire`] and guards nothing else. Taken before any other lock.
    firing: Pin<KBox<Mutex<()>>>,
}

// SAFETY: A domain may be removed by any thread.
unsafe impl Send for Domain {}

// SAFETY: `domain` and `irqs` do not change. The C functions that take them may be called
// concurrently, or are called with `firing` held.
unsafe impl Sync for Domain {}

impl Domain {
    /// Creates `interrupts` simulated interrupts, with indices from 0.
    ///
    /// Errors: [`EINVAL`] for no interrupts, [`ENOMEM`].
    ///
    /// Context: process; sleeps.
    #[doc(alias = "irq_domain_create_sim")]
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

        // From here on, dropping this undoes all of it.
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

    /// Returns the number of the interrupt at `index`.
    fn irq(&self, index: u32) -> Result<u32> {
        self.irqs.get(index as usize).copied().ok_or(EINVAL)
    }

    /// Returns a request for the interrupt at `index`, with which a handler is registered.
    ///
    /// Errors: [`EINVAL`] if there is no such interrupt.
    ///
    /// Context: any.
    pub fn request(&self, index: u32) -> Result<IrqRequest<'_>> {
        // SAFETY: By the type invariants this is the number of an interrupt that exists until
        // `self` is dropped, and the request borrows `self`.
        Ok(unsafe { IrqRequest::simulated(self.irq(index)?) })
    }

    /// Raises the interrupt at `index`.
    ///
    /// When this returns, the hard handlers have run. Under forced threading, their threads were
    /// woken. If no handler is registered nothing happens. Only one interrupt of the domain is
    /// raised at a time: `irq_sim` loses one that another CPU raises meanwhile.
    ///
    /// Errors: [`EINVAL`] if there is no such interrupt, [`ETIMEDOUT`] if it was not delivered
    /// within a second.
    ///
    /// Context: process, interrupts on; sleeps. Must not be called by a handler.
    #[doc(alias = "irq_set_irqchip_state")]
    pub fn fire(&self, index: u32) -> Result {
        let irq = self.irq(index)?;
        let _firing = self.firing.lock();

        // `irq_work` runs on the CPU that queued it. Once that CPU sees that the interrupt is not
        // pending any more, the handlers have returned.
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

    /// Returns whether an interrupt was raised and not yet delivered.
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
            // SAFETY: By the type invariants `irq` is mapped. No handler is registered for it, as
            // it would borrow `self`.
            unsafe { bindings::irq_dispose_mapping(irq) };
        }

        // SAFETY: By the type invariants `self.domain` is a valid simulated domain. Its interrupts
        // were unmapped above.
        unsafe { bindings::irq_domain_remove_sim(self.domain.as_ptr()) };
    }
}

/// Keeps the current task on its CPU until it is dropped.
struct MigrateDisabled(NotThreadSafe);

impl MigrateDisabled {
    fn new() -> Self {
        // SAFETY: Any task may call this. The same task undoes it: `Self` is not `Send`.
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

    /// Counts the runs of its handlers. With `wakes` the hard handler wakes another thread than its
    /// own.
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
        let first = register(&domain, 0, None)?;
        // SAFETY: `other` uses it, and is dropped before `first`.
        let waker = unsafe { first.waker() };
        let other = register(&domain, 1, Some(waker))?;

        for round in 1..=50 {
            domain.fire(1)?;
            assert!(becomes(&first.handler().threaded, round));
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
