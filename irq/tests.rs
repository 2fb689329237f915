// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of `irq.rs`, on interrupts that the kernel simulates (`irq_sim`).
//!
//! The tri-state table of `DxgkCbSynchronizeExecution` row by row, the DPC, and connecting and
//! disconnecting. Counting interrupts that arrive while one runs is for the real device.

use kernel::{
    io::poll::read_poll_timeout,
    irq::sim::Domain,
    kthread::{
        self,
        Kthread, //
    },
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
};

use crate::irq::{
    ntstatus,
    Adapter,
    Connection,
    Counters,
    Dpc,
    Miniport,
    Status,
    Synchronized,
    Vectors, //
};

/// How the mock's routines behave.
struct Mock {
    /// Interrupts that arrived without a state.
    acknowledged: Atomic<u32>,
    /// Runs of the DPC that ended.
    dpcs: Atomic<u32>,
    /// How often the DPC queues itself again.
    requeue: Atomic<u32>,
    /// What the interrupt routine answers.
    ours: Atomic<bool>,
    /// How often the interrupt routine queues the DPC, the next time it runs.
    queue: Atomic<u32>,
}

/// Two words that only ever change together.
#[derive(Default)]
struct Words {
    a: u64,
    b: u64,
    interrupts: u32,
}

impl Miniport for Mock {
    type State = Words;

    fn interrupt_routine(&self, state: &mut Synchronized<'_, Self>, _message: u32) -> bool {
        state.a += 1;
        state.b += 1;
        state.interrupts += 1;
        for _ in 0..self.queue.xchg(0, Relaxed) {
            state.queue_dpc();
        }
        self.ours.load(Relaxed)
    }

    fn acknowledge(&self, _message: u32) -> bool {
        self.acknowledged.fetch_add(1, Relaxed);
        true
    }

    fn dpc_routine(&self, adapter: &Adapter<Self>) {
        if self.requeue.load(Relaxed) != 0 {
            self.requeue.fetch_sub(1, Relaxed);
            let queued = adapter.synchronize_execution(0, |state| state.queue_dpc());
            // Queueing while the DPC runs is a new DPC.
            if queued != Ok(true) {
                return;
            }
        }
        self.dpcs.fetch_add(1, Full);
    }
}

fn mock() -> Mock {
    Mock {
        acknowledged: Atomic::new(0),
        dpcs: Atomic::new(0),
        requeue: Atomic::new(0),
        ours: Atomic::new(true),
        queue: Atomic::new(0),
    }
}

fn states(count: u32) -> Result<KVec<Words>> {
    let mut states = KVec::new();
    for _ in 0..count {
        states.push(Words::default(), GFP_KERNEL)?;
    }
    Ok(states)
}

/// An adapter with the mock, and the interrupts for its messages.
struct Rig {
    // Dropped before the interrupts.
    adapter: Arc<Adapter<Mock>>,
    domain: Domain,
}

impl Rig {
    /// Makes an adapter with so many messages. The DPC has the first one.
    fn new(messages: u32) -> Result<Self> {
        Self::with_dpc_message(messages, 0)
    }

    fn with_dpc_message(count: u32, dpc_message: u32) -> Result<Self> {
        Ok(Self {
            adapter: Adapter::new(mock(), Vectors { count, dpc_message })?,
            domain: Domain::new(count)?,
        })
    }

    fn mock(&self) -> &Mock {
        self.adapter.miniport()
    }

    /// Requests the interrupts, without connecting them.
    fn request(&self) -> Result<Connection<'_, Mock>> {
        let requests = (0..self.adapter.messages()).map(|message| self.domain.request(message));
        // SAFETY: The tests drop every connection.
        unsafe { Connection::new(self.adapter.clone(), c"rust_gpu_test", requests) }
    }

    /// Requests the interrupts, and connects them.
    fn connect(&self) -> Result<Connection<'_, Mock>> {
        let mut connection = self.request()?;
        connection.connect(&mut states(self.adapter.messages())?)?;
        Ok(connection)
    }

    /// Asserts the answer to a call for `message`, and that a refused routine does not run.
    fn expect(&self, message: u32, answer: Result<bool, Status>) {
        let mut ran = false;
        let got = self.adapter.synchronize_execution(message, |_| {
            ran = true;
            true
        });
        assert_eq!(got, answer);
        assert_eq!(ran, answer.is_ok());
    }

    /// Waits until `message` has these counters.
    fn wait_counters(&self, message: u32, done: impl Fn(&Counters) -> bool) -> bool {
        wait(|| {
            self.adapter
                .counters(message)
                .is_ok_and(|counters| done(&counters))
        })
    }

    /// Waits until the DPC has run to its end so many times.
    fn wait_dpcs(&self, dpcs: u32) -> bool {
        wait(|| self.mock().dpcs.load(Acquire) == dpcs)
    }
}

/// Waits until `done`. Returns false if it is not after half a minute, however busy the machine.
pub(crate) fn wait(mut done: impl FnMut() -> bool) -> bool {
    read_poll_timeout(
        || Ok(done()),
        |done| *done,
        Delta::from_millis(1),
        Delta::from_secs(30),
    )
    .is_ok()
}

#[kunit_tests(rust_gpu_irq)]
mod suite {
    use super::*;

    #[test]
    fn status_values() {
        assert_eq!(ntstatus(&Ok(())), 0);
        assert_eq!(ntstatus::<()>(&Err(Status::InvalidParameter)), 0xC000_000D);
        assert_eq!(ntstatus::<()>(&Err(Status::Unsuccessful)), 0xC000_0001);
        assert_eq!(Error::from(Status::InvalidParameter), EINVAL);
        assert_eq!(Error::from(Status::Unsuccessful), ENOTCONN);
    }

    #[test]
    fn tri_state_of_three_messages() -> Result {
        let rig = Rig::with_dpc_message(3, 1)?;

        // Before connect, also with the interrupts requested. The parameter is checked first.
        let mut connection = rig.request()?;
        for message in 0..3 {
            rig.expect(message, Err(Status::Unsuccessful));
        }
        rig.expect(3, Err(Status::InvalidParameter));
        rig.expect(u32::MAX, Err(Status::InvalidParameter));

        connection.connect(&mut states(3)?)?;
        for message in 0..3 {
            rig.expect(message, Ok(true));
        }
        rig.expect(3, Err(Status::InvalidParameter));

        // From the moment disconnecting begins, and for ever.
        assert_eq!(connection.disconnect().len(), 3);
        rig.expect(0, Err(Status::Unsuccessful));
        drop(connection);
        for message in 0..3 {
            rig.expect(message, Err(Status::Unsuccessful));
        }
        rig.expect(3, Err(Status::InvalidParameter));
        Ok(())
    }

    #[test]
    fn line_interrupt_has_message_zero_only() -> Result {
        let rig = Rig::new(1)?;
        let mut connection = rig.request()?;
        rig.expect(1, Err(Status::InvalidParameter));
        connection.connect(&mut states(1)?)?;
        rig.expect(0, Ok(true));
        rig.expect(1, Err(Status::InvalidParameter));
        Ok(())
    }

    #[test]
    fn what_the_routine_returns_is_delivered() -> Result {
        let rig = Rig::new(1)?;
        let _connection = rig.connect()?;
        assert_eq!(rig.adapter.synchronize_execution(0, |_| false), Ok(false));
        assert_eq!(rig.adapter.synchronize_execution(0, |_| true), Ok(true));
        assert_eq!(rig.adapter.synchronize_execution(0, |words| words.a), Ok(0));
        Ok(())
    }

    // A sleeping lock on PREEMPT_RT: there the contract has no callers with interrupts off.
    #[cfg(not(CONFIG_PREEMPT_RT))]
    #[test]
    fn with_interrupts_off() -> Result {
        use kernel::interrupt::local_interrupt_disable;

        let rig = Rig::new(1)?;
        let mut connection = rig.request()?;
        {
            let _off = local_interrupt_disable();
            rig.expect(0, Err(Status::Unsuccessful));
            rig.expect(1, Err(Status::InvalidParameter));
        }
        connection.connect(&mut states(1)?)?;
        let off = local_interrupt_disable();
        rig.expect(0, Ok(true));
        // Still off: the call must not have turned them on.
        // SAFETY: May be called in any context.
        unsafe { kernel::bindings::lockdep_assert_irqs_disabled() };
        drop(off);
        Ok(())
    }

    #[test]
    fn a_panic_takes_no_lock_that_is_held() -> Result {
        let rig = Rig::new(1)?;
        let mut connection = rig.request()?;
        let read = || rig.adapter.try_synchronize_execution(0, |words| words.a);
        assert_eq!(read(), None);
        connection.connect(&mut states(1)?)?;
        assert_eq!(read(), Some(0));
        assert_eq!(rig.adapter.try_synchronize_execution(1, |_| ()), None);
        assert_eq!(rig.adapter.synchronize_execution(0, |_| read()), Ok(None));
        // The lock was released.
        rig.expect(0, Ok(true));
        Ok(())
    }

    #[test]
    fn counters() -> Result {
        let rig = Rig::new(2)?;
        let mut connection = rig.request()?;
        rig.expect(0, Err(Status::Unsuccessful));
        connection.connect(&mut states(2)?)?;
        for n in 1..=3 {
            rig.domain.fire(0)?;
            // Two interrupts before a forced thread runs are one for it.
            assert!(rig.wait_counters(0, |counters| counters.interrupts == n));
        }
        rig.mock().ours.store(false, Relaxed);
        rig.domain.fire(0)?;
        assert!(rig.wait_counters(0, |counters| counters.not_ours == 1));
        rig.expect(0, Ok(true));
        rig.expect(2, Err(Status::InvalidParameter));

        let counters = rig.adapter.counters(0)?;
        assert_eq!(counters.interrupts, 3);
        assert_eq!(counters.executions, 1);
        assert_eq!(counters.refused, 1);
        assert_eq!(rig.adapter.invalid(), 1);
        // The other message has its own.
        let other = rig.adapter.counters(1)?;
        assert_eq!(
            (other.interrupts, other.executions, other.refused),
            (0, 0, 0)
        );
        assert!(rig.adapter.counters(2).is_err());
        Ok(())
    }

    #[test]
    fn interrupt_changes_the_state() -> Result {
        let rig = Rig::new(2)?;
        let _connection = rig.connect()?;
        rig.domain.fire(1)?;
        let seen = |words: &mut Synchronized<'_, Mock>| (words.a, words.b, words.interrupts);
        assert!(wait(
            || rig.adapter.synchronize_execution(1, seen) == Ok((1, 1, 1))
        ));
        assert_eq!(rig.adapter.synchronize_execution(0, seen), Ok((0, 0, 0)));
        Ok(())
    }

    #[test]
    fn without_state_the_interrupt_is_acknowledged() -> Result {
        let rig = Rig::new(1)?;
        let mut connection = rig.request()?;
        let acknowledged = |n| rig.mock().acknowledged.load(Relaxed) == n;
        rig.domain.fire(0)?;
        assert!(wait(|| acknowledged(1)));
        connection.connect(&mut states(1)?)?;
        rig.domain.fire(0)?;
        assert!(rig.wait_counters(0, |counters| counters.interrupts == 2));
        assert!(acknowledged(1));
        connection.disconnect();
        rig.domain.fire(0)?;
        assert!(wait(|| acknowledged(2)));
        Ok(())
    }

    /// The DPC runs once for an interrupt of `message` that queues it `times`.
    fn dpc_of(message: u32, times: u32) -> Result {
        let rig = Rig::with_dpc_message(3, 1)?;
        let _connection = rig.connect()?;
        rig.mock().queue.store(times, Relaxed);
        rig.domain.fire(message)?;
        assert!(rig.wait_dpcs(1));
        let counters = rig.adapter.counters(message)?;
        assert_eq!(counters.dpcs_queued, 1);
        assert_eq!(counters.dpcs_refused, u64::from(times) - 1);
        assert_eq!(rig.adapter.dpcs_run(), 1);
        // Nothing but one interrupt was counted anywhere, also where waking the DPC runs the
        // handler of the DPC's message.
        for other in 0..3 {
            let counters = rig.adapter.counters(other)?;
            assert_eq!(counters.interrupts, u64::from(other == message));
            assert_eq!(counters.not_ours, 0);
        }
        Ok(())
    }

    #[test]
    fn dpc_from_the_home_message() -> Result {
        // It cannot begin before the handler has returned, so the second time is refused.
        dpc_of(1, 2)
    }

    #[test]
    fn dpc_from_another_message() -> Result {
        // It may begin on another CPU at once, so a second time would be a new DPC.
        dpc_of(2, 1)
    }

    #[test]
    fn dpc_from_a_synchronised_routine() -> Result {
        let rig = Rig::new(2)?;
        let _connection = rig.connect()?;
        for message in 0..2 {
            let answer = rig
                .adapter
                .synchronize_execution(message, |words| words.queue_dpc());
            assert_eq!(answer, Ok(true));
            assert!(rig.wait_dpcs(message + 1));
        }
        Ok(())
    }

    #[test]
    fn a_marked_dpc_runs_with_the_next() -> Result {
        let rig = Rig::new(2)?;
        let connection = rig.connect()?;
        let queue = |message, dpc| {
            rig.adapter
                .synchronize_execution(message, |words| words.raise_dpc(dpc))
        };
        assert_eq!(queue(1, Dpc::Marked), Ok(true));
        assert_eq!(queue(0, Dpc::Marked), Ok(false));
        fsleep(Delta::from_millis(20));
        assert_eq!(rig.adapter.dpcs_run(), 0);
        // It is queued already, but now it is due.
        assert_eq!(queue(1, Dpc::Queued), Ok(false));
        assert!(wait(|| rig.adapter.dpcs_run() == 1));
        assert_eq!(queue(1, Dpc::Marked), Ok(true));
        drop(connection);
        assert_eq!(rig.adapter.dpcs_run(), 1);
        Ok(())
    }

    #[test]
    fn dpc_queued_while_it_runs_runs_again() -> Result {
        let rig = Rig::new(1)?;
        let _connection = rig.connect()?;
        rig.mock().requeue.store(3, Relaxed);
        assert_eq!(
            rig.adapter
                .synchronize_execution(0, |state| state.queue_dpc()),
            Ok(true)
        );
        assert!(rig.wait_dpcs(4));
        assert_eq!(rig.adapter.dpcs_run(), 4);
        Ok(())
    }

    #[test]
    fn wrong_number_of_states_is_refused() -> Result {
        let rig = Rig::new(2)?;
        let mut connection = rig.request()?;
        let mut one = states(1)?;
        assert_eq!(connection.connect(&mut one), Err(EINVAL));
        assert_eq!(one.len(), 1);
        rig.expect(0, Err(Status::Unsuccessful));
        assert!(Adapter::new(
            mock(),
            Vectors {
                count: 0,
                dpc_message: 0
            }
        )
        .is_err());
        assert!(Adapter::new(
            mock(),
            Vectors {
                count: 2,
                dpc_message: 2
            }
        )
        .is_err());
        Ok(())
    }

    /// Callers in a thread of their own, against connects, interrupts and disconnects.
    #[test]
    fn connect_and_disconnect_races() -> Result {
        let rig = Rig::new(1)?;
        let torn = Atomic::<u32>::new(0);
        let ran = Atomic::<u32>::new(0);
        let caller = |context: &kthread::Context| {
            while !context.should_stop() {
                let answer = rig.adapter.synchronize_execution(0, |words| {
                    words.a += 1;
                    words.b += 1;
                    words.a == words.b
                });
                match answer {
                    Ok(true) => ran.add(1, Relaxed),
                    Ok(false) | Err(Status::InvalidParameter) => torn.add(1, Relaxed),
                    Err(Status::Unsuccessful) => {}
                }
                fsleep(Delta::from_micros(50));
            }
        };
        // SAFETY: Dropped below.
        let thread = unsafe { Kthread::new(c"rust_gpu_test", caller)? };
        for _ in 0..20 {
            let mut connection = rig.connect()?;
            let before = ran.load(Relaxed);
            rig.mock().queue.store(1, Relaxed);
            rig.domain.fire(0)?;
            assert!(wait(|| ran.load(Relaxed) != before));
            let states = connection.disconnect();
            assert!(states.iter().all(|words| words.a == words.b));
            rig.expect(0, Err(Status::Unsuccessful));
            drop(connection);
            rig.expect(0, Err(Status::Unsuccessful));
        }
        drop(thread);
        assert_eq!(torn.load(Relaxed), 0);
        Ok(())
    }
}
