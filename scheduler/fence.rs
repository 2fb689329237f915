// SPDX-License-Identifier: GPL-2.0

//! [`Fences`] wakes those that wait for packets.
//!
//! It is reference counted and holds nothing of the device: waiters and open files may outlive it.

use kernel::{
    current,
    kthread::Event,
    new_condvar, new_spinlock,
    num::casts::u32_as_usize,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        Arc,
        CondVar,
        CondVarTimeoutResult,
        SpinLock, //
    },
    time::{
        msecs_to_jiffies,
        ClockSource,
        Monotonic, //
    },
};

use crate::scheduler::{
    client::Client,
    Node,
    PerNode,
    NODES, //
};

/// How many queues of waiters there are, one for each bit of a mask. The DPC wakes those that have
/// tickets which are complete.
pub(super) const QUEUES: usize = u32::BITS as usize;

/// Longest single sleep of a waiter, in milliseconds. The waiter then checks again.
const SLEEP_LIMIT_MS: i64 = 1000;

/// Longest sleep of a client that has as many packets as it may, in milliseconds: what others leave
/// is room for it too, and nobody tells it.
const STARVE_LIMIT_MS: i64 = 20;

/// Whether a device executes packets.
#[derive(Clone, Copy)]
#[repr(u32)]
enum State {
    /// It does.
    Running,
    /// It broke: [`EIO`].
    Wedged,
    /// It is gone, which is final: [`ENODEV`].
    Unplugged,
}

/// The completed submission ids of a device as waiters see them, and the state of the device
/// itself.
///
/// Shared by the device and its open files. Written by the DPC, by stop, and under the lock of a
/// node's message; read by anybody in process context. [`Fences::unplug`] ends all waits, which
/// would otherwise hold up unbind.
#[pin_data]
pub(crate) struct Fences {
    completed: PerNode<Atomic<u64>>,
    /// The watchdog found that the engine does not go on.
    stalled: PerNode<Atomic<bool>>,
    /// A [`State`]: what waiters and later ioctls return.
    state: Atomic<u32>,
    /// Counts publications, so that a waiter for room sees that something happened.
    generation: Atomic<u64>,
    /// Number of callers that wait, or are about to.
    waiters: Atomic<u32>,
    /// Wakes the submission thread. It is here as a file that is closed wakes it too.
    submission_event: Event,
    /// Clients are dropped, and the submission thread has not taken their packets yet.
    dropped: Atomic<bool>,
    /// Places of the render node that are promised, and to how many clients. Raised under the lock
    /// of its message.
    promised: Atomic<u32>,
    promisees: Atomic<u32>,
    /// Guards nothing but the sleep of waiters. A waker takes it after it has stored what they look
    /// at, so that no waiter is between its last check and its sleep. A spinlock, so that the DPC
    /// does not wait for a waiter of low priority. Only the queues are locked under it.
    #[pin]
    sleep: SpinLock<()>,
    /// Where the waiters for tickets sleep. Those for one ticket are all in the same queue.
    #[pin]
    queues: [CondVar; QUEUES],
    /// Where all other waiters sleep.
    #[pin]
    changed: CondVar,
}

impl Fences {
    /// Makes the fences of a running device that completed nothing.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                completed: PerNode::new([const { Atomic::new(0) }; NODES]),
                stalled: PerNode::new([const { Atomic::new(false) }; NODES]),
                state: Atomic::new(State::Running as u32),
                generation: Atomic::new(0),
                waiters: Atomic::new(0),
                submission_event: Event::new(),
                dropped: Atomic::new(false),
                promised: Atomic::new(0),
                promisees: Atomic::new(0),
                sleep <- new_spinlock!((), "rust_gpu::Fences"),
                queues <- pin_init::pin_init_array_from_fn(|_| new_condvar!("rust_gpu::Fences")),
                changed <- new_condvar!("rust_gpu::Fences"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the last completed submission id of `node`.
    pub(crate) fn completed(&self, node: Node) -> u64 {
        // Pairs with the store in `raise()`: a caller that sees the id sees what came before it.
        self.completed[node].load(Acquire)
    }

    /// Returns the event that wakes the submission thread.
    pub(crate) fn submission_event(&self) -> &Event {
        &self.submission_event
    }

    /// Closes the file of `client`, and lets the submission thread take its packets.
    ///
    /// Context: process.
    pub(crate) fn close(&self, client: &Client) {
        client.close();
        if client.has_submitted() {
            self.set_dropped();
            self.submission_event.signal();
        }
    }

    /// The submission thread has to look for clients that are dropped.
    ///
    /// Context: any.
    pub(super) fn set_dropped(&self) {
        self.dropped.store(true, Release);
    }

    /// Returns whether it has to, once.
    pub(super) fn take_dropped(&self) -> bool {
        self.dropped.load(Relaxed) && self.dropped.xchg(false, Acquire)
    }

    /// Returns how many places of the render node are promised, and to how many clients.
    pub(super) fn promised(&self) -> (usize, usize) {
        let [places, clients] = [&self.promised, &self.promisees].map(|count| count.load(Relaxed));
        // CAST: a few hundred.
        (places as usize, clients as usize)
    }

    /// One place more is promised to `client`.
    pub(super) fn promise(&self, client: &Client) {
        self.promised.fetch_add(1, Relaxed);
        if client.promise() {
            self.promisees.fetch_add(1, Relaxed);
        }
    }

    /// One place less is.
    pub(super) fn end_promise(&self, client: &Client) {
        self.promised.fetch_sub(1, Relaxed);
        if client.end_promise() {
            self.promisees.fetch_sub(1, Relaxed);
        }
    }

    /// Wakes those who wait for room, as `client` has left some.
    ///
    /// Context: process.
    pub(super) fn make_room(&self, client: &Client) {
        // As in `publish_one`.
        self.generation.fetch_add(1, Full);
        if self.waiters.load(Relaxed) != 0 {
            drop(self.sleep.lock());
            self.changed.notify_all();
        }
        if client.is_starved() {
            drop(self.sleep.lock());
            self.queue(client.room_queue()).notify_all();
        }
    }

    /// Publishes the last completed submission ids of each node, and wakes those that wait for
    /// tickets, which are complete, in the queues of which `queues` has a bit.
    ///
    /// Context: process (the DPC).
    pub(crate) fn publish(&self, completed: &PerNode<u64>, queues: u32) {
        for (node, completed) in completed.iter() {
            raise(&self.completed[node], *completed);
        }
        let sleep = self.sleep.lock();
        self.generation.fetch_add(1, Full);
        drop(sleep);

        let mut left = queues;
        while left != 0 {
            if let Some(queue) = self.queues.get(u32_as_usize(left.trailing_zeros())) {
                queue.notify_all();
            }
            left &= left - 1;
        }
        self.changed.notify_all();
    }

    /// Publishes the last completed submission id of one node and wakes nobody. Returns whether
    /// there are waiters, which [`publish`](Self::publish) must wake.
    ///
    /// Context: any.
    pub(crate) fn publish_one(&self, node: Node, completed: u64) -> bool {
        raise(&self.completed[node], completed);
        // Fully ordered, as is the first step of a waiter in `wait_in`: either the waiter sees
        // what is complete, or it is seen here.
        self.generation.fetch_add(1, Full);
        self.waiters.load(Relaxed) != 0
    }

    /// Records whether the engine of `node` does not go on.
    ///
    /// Context: any, lock of the node's message held.
    pub(crate) fn set_stalled(&self, node: Node, stalled: bool) {
        self.stalled[node].store(stalled, Relaxed);
    }

    /// Returns whether an engine does not go on: it has packets, and completed none for two ticks
    /// of the watchdog. The next completion ends that.
    ///
    /// Context: any.
    pub(crate) fn is_stalled(&self) -> bool {
        Node::ENGINES
            .into_iter()
            .any(|node| self.stalled[node].load(Relaxed))
    }

    /// Ends all waits with [`ENODEV`], now and later: the device is removed.
    ///
    /// Context: process.
    pub(crate) fn unplug(&self) {
        self.state.store(State::Unplugged as u32, Release);
        self.wake();
    }

    /// Ends all waits with [`EIO`], now and until [`Fences::unwedge`]: the device broke. Returns
    /// true if it was running until now.
    ///
    /// Context: process.
    pub(crate) fn wedge(&self) -> bool {
        let news = self.change(State::Running, State::Wedged);
        self.wake();
        news
    }

    /// Undoes [`Fences::wedge`]: the device works again.
    ///
    /// Context: any.
    pub(crate) fn unwedge(&self) {
        self.change(State::Wedged, State::Running);
    }

    /// Returns whether the device is gone for good, see [`Fences::unplug`].
    ///
    /// Context: any.
    pub(crate) fn is_unplugged(&self) -> bool {
        self.state.load(Acquire) == State::Unplugged as u32
    }

    /// Changes the state. Returns whether it was `from`.
    fn change(&self, from: State, to: State) -> bool {
        self.state.cmpxchg(from as u32, to as u32, Release).is_ok()
    }

    /// Wakes all waiters, to look again.
    ///
    /// Context: process.
    pub(crate) fn wake(&self) {
        let sleep = self.sleep.lock();
        self.generation.fetch_add(1, Full);
        drop(sleep);
        for queue in &self.queues {
            queue.notify_all();
        }
        self.changed.notify_all();
    }

    /// Checks whether the device executes packets.
    ///
    /// Errors: [`ENODEV`] if it is gone, [`EIO`] if it broke. Context: any.
    pub(crate) fn check(&self) -> Result {
        const RUNNING: u32 = State::Running as u32;
        const WEDGED: u32 = State::Wedged as u32;

        match self.state.load(Acquire) {
            RUNNING => Ok(()),
            WEDGED => Err(EIO),
            _ => Err(ENODEV),
        }
    }

    /// Waits until all packets of `client` in `node` up to `ticket` ended, at most until
    /// `deadline_ns` of CLOCK_MONOTONIC.
    ///
    /// Errors: [`ETIME`] at the deadline, [`ERESTARTSYS`] after a signal, those of
    /// [`Client::outcome`], and those of [`Fences::check`]. A ticket that is complete does not
    /// depend on the state of the device.
    ///
    /// Context: process, no lock and no registration guard held.
    pub(crate) fn wait(
        &self,
        client: &Client,
        node: Node,
        ticket: u64,
        deadline_ns: i64,
    ) -> Result {
        // WAIT: none, the callers have tags
        self.wait_for(client, ticket, deadline_ns, || {
            client.has_ended(node, ticket)
        })?;
        client.outcome(node, ticket)
    }

    /// Sleeps until `done`, and looks again when `ticket` of `client` is complete in any node.
    pub(super) fn wait_for(
        &self,
        client: &Client,
        ticket: u64,
        deadline_ns: i64,
        done: impl Fn() -> bool,
    ) -> Result {
        let queue = self.queue(client.queue(ticket));
        // WAIT: none, the callers have tags
        self.wait_in(queue, deadline_ns, done)
    }

    /// Returns a queue of waiters by its number.
    fn queue(&self, number: u32) -> &CondVar {
        let queue = self.queues.get(u32_as_usize(number));
        queue.unwrap_or(&self.changed)
    }

    /// Waits until places or bytes of `client` were given back since `mark`, at most for 20 ms.
    /// The packets of others do not wake the caller, nor do they need the DPC for it.
    ///
    /// Errors: as [`Fences::wait_change`]. Context: process.
    pub(crate) fn wait_given_back(&self, client: &Client, mark: u32) -> Result {
        if current!().signal_pending() {
            return Err(ERESTARTSYS);
        }
        let limit = STARVE_LIMIT_MS * 1_000_000;
        let deadline = Monotonic::ktime_get().saturating_add(limit);
        let queue = self.queue(client.room_queue());
        // Before the first check: see `Client::give_back`.
        client.starve();
        // WAIT: none, the callers have tags
        let waited = self.sleep_in(queue, deadline, || client.given_back() != mark);
        client.end_starving();
        match waited {
            Err(error) if error == ETIME => Ok(()),
            other => other,
        }
    }

    /// Returns a mark for [`Fences::wait_change`].
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }

    /// Waits until something was published since `mark`, at most for a second.
    ///
    /// Errors: [`ERESTARTSYS`] after a signal, and those of [`Fences::check`]. Context: process.
    pub(crate) fn wait_change(&self, mark: u64) -> Result {
        let deadline = Monotonic::ktime_get().saturating_add(SLEEP_LIMIT_MS * 1_000_000);
        // WAIT: none, the callers have tags
        match self.wait_change_until(mark, deadline) {
            Err(e) if e == ETIME => Ok(()),
            other => other,
        }
    }

    /// Waits until something was published since `mark`, at most until `deadline_ns` of
    /// CLOCK_MONOTONIC. A signal ends that also if something was published, as the caller comes
    /// back if that was not for it: others could publish for ever.
    ///
    /// Errors and context: as [`Fences::wait`].
    pub(crate) fn wait_change_until(&self, mark: u64, deadline_ns: i64) -> Result {
        if current!().signal_pending() {
            return Err(ERESTARTSYS);
        }
        // WAIT: none, the callers have tags
        self.wait_until(deadline_ns, || self.generation() != mark)
    }

    /// Waits until `done`, which is asked whenever something was published, at most until
    /// `deadline_ns` of CLOCK_MONOTONIC.
    ///
    /// Errors and context: as [`Fences::wait`].
    pub(crate) fn wait_until(&self, deadline_ns: i64, done: impl Fn() -> bool) -> Result {
        // WAIT: none, the callers have tags
        self.wait_in(&self.changed, deadline_ns, done)
    }

    /// Counts the caller among the waiters, for whom the DPC runs, and sleeps in `queue` until
    /// `done`.
    fn wait_in(&self, queue: &CondVar, deadline_ns: i64, done: impl Fn() -> bool) -> Result {
        // Before the first check: see `publish_one`.
        self.waiters.fetch_add(1, Full);
        let result = self.sleep_in(queue, deadline_ns, done);
        self.waiters.fetch_sub(1, Relaxed);
        result
    }

    fn sleep_in(&self, queue: &CondVar, deadline_ns: i64, done: impl Fn() -> bool) -> Result {
        let mut sleep = self.sleep.lock();
        loop {
            if done() {
                return Ok(());
            }
            self.check()?;
            let left = deadline_ns.saturating_sub(Monotonic::ktime_get());
            if left <= 0 {
                return Err(ETIME);
            }
            // Rounded up, so that the last sleep does not end before the deadline.
            let left_ms = left.saturating_add(999_999) / 1_000_000;
            // CAST: at most `SLEEP_LIMIT_MS`.
            let jiffies = msecs_to_jiffies(left_ms.min(SLEEP_LIMIT_MS) as u32);
            // WAIT: none, the callers have tags
            if let CondVarTimeoutResult::Signal { .. } =
                queue.wait_interruptible_timeout(&mut sleep, jiffies)
            {
                return Err(ERESTARTSYS);
            }
        }
    }
}

/// Stores `fence` unless `published` is beyond it already.
fn raise(published: &Atomic<u64>, fence: u64) {
    let mut before = published.load(Relaxed);
    while before < fence {
        match published.cmpxchg(before, fence, Release) {
            Ok(_) => return,
            Err(now) => before = now,
        }
    }
}
