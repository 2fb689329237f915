// SPDX-License-Identifier: GPL-2.0

//! The scheduler's core: nodes, packets, fence ids, and how completions are reported.
//!
//! A *node* is one engine with one FIFO of packets (WDDM's `NodeOrdinal`). Each has two halves:
//!
//! - [`NodeQueue`]: fence ids and packets on their way to the engine. It lives in the lock of the
//!   interrupt message on which the engine completes, beside the engine itself, so that a packet
//!   gets its fence id and its place in the engine in one critical section.
//! - its line in [`Notify`]: what was reported as complete. All of [`Notify`] lives in the lock of
//!   one message, the *notify message* (`DXGK_DRIVERCAPS.InterruptMessageNumber`).
//!
//! The way up is the documentation's example of `DxgkCbSynchronizeExecution`: from the interrupt
//! routine or from a synchronised routine of the notify message, [`notify_interrupt`] records the
//! last reported fence of the node and queues the DPC; the DPC calls [`notify_dpc`], which wakes
//! the waiters. What completes on another message queues the DPC, which reports it with
//! [`begin_dpc`].
//!
//! This module knows no device: the engines are behind [`Engine`], their place in the messages
//! behind [`Hardware`].

use kernel::{
    kthread::{
        self,
        Event, //
    },
    num::casts::u32_as_usize,
    prelude::*,
    sync::{
        rcu,
        Arc, //
    },
};

use crate::irq::{
    Adapter,
    Dpc,
    Miniport,
    Status,
    Synchronized, //
};

mod fence;
mod fifo;
mod node;
mod notify;
mod queue;
#[cfg(CONFIG_DRM_RUST_GPU_KUNIT_TEST)]
mod tests;

use self::queue::{
    Kick,
    RESERVED, //
};
pub(crate) use self::{
    fence::{
        Client,
        Fences, //
    },
    fifo::Fifo,
    node::{
        Node,
        PerNode,
        NODES, //
    },
    notify::{
        InterruptData,
        InterruptType,
        Notify, //
    },
    queue::{
        Engine,
        Interrupt,
        NodeQueue, //
    },
};

/// A miniport whose messages hold the nodes of this scheduler.
pub(crate) trait Hardware: Miniport {
    /// The engines behind the nodes.
    type Engine: Engine;

    /// Returns the message in whose lock `node` lives.
    fn message_of(&self, node: Node) -> u32;

    /// Returns the notify message.
    fn notify_message(&self) -> u32;

    /// Returns `node` if it lives in the message of `state`.
    fn node(state: &mut Self::State, node: Node) -> Option<&mut NodeQueue<Self::Engine>>;

    /// Returns the state of the scheduler if `state` is that of the notify message.
    fn notify(state: &mut Self::State) -> Option<&mut Notify>;

    /// Looks for completions whose interrupt was lost, or is yet to come, on the message of
    /// `state`, and reports them.
    ///
    /// Context: synchronised routine.
    fn poll(state: &mut Synchronized<'_, Self>);

    /// Notifies the device of new packets of `node`.
    ///
    /// Context: any, no message lock held: the write leaves the virtual machine.
    fn kick(&self, node: Node);

    /// Returns the event that wakes the submission thread.
    fn submission_event(&self) -> &Event;

    /// Makes a packet that does nothing but complete.
    ///
    /// Context: any, lock of the node's message held; does not allocate.
    fn null_packet(node: Node, client: Arc<Client>) -> <Self::Engine as Engine>::Packet;

    /// Returns the client that a packet of the software node counts against.
    fn client_of(packet: <Self::Engine as Engine>::Packet) -> Option<Arc<Client>>;
}

/// Tells the scheduler of a hardware event, `DxgkCbNotifyInterrupt`, and queues the DPC, as the
/// contract demands before the routine ends. It is only marked if nothing but the event itself is
/// left to it, and nobody waits for that.
///
/// Returns false if `state` is not that of the notify message (in WDDM: "no scheduler callback is
/// there to call"), or if events of this type are turned off: then nothing was recorded.
///
/// Context: interrupt routine or synchronised routine of the notify message.
pub(crate) fn notify_interrupt<H: Hardware>(
    state: &mut Synchronized<'_, H>,
    data: &InterruptData,
    dpc: Dpc,
) -> bool {
    if !H::notify(state).is_some_and(|notify| notify.record(data)) {
        return false;
    }
    state.raise_dpc(dpc);
    true
}

/// Reports what completed on `node` if this is news.
///
/// Context: as [`notify_interrupt`].
pub(crate) fn notify_completed<H: Hardware>(
    state: &mut Synchronized<'_, H>,
    node: Node,
    completed: u64,
    dpc: Dpc,
) -> bool {
    let known = H::notify(state).map(|notify| notify.completed()[node]);
    if known.is_none_or(|known| known >= completed) {
        return false;
    }
    notify_interrupt(
        state,
        &InterruptData::DmaCompleted {
            submission_fence_id: completed,
            node,
        },
        dpc,
    )
}

/// Submits `count` null packets to `node`, all in one critical section.
///
/// Returns the number that were taken and the fence id of the last one; zero packets if the queue
/// is full. The caller has counted them against `client` and takes back what was not taken.
///
/// Errors: [`Status::Unsuccessful`] if the device is stopped.
///
/// Context: process.
pub(crate) fn submit_null<H: Hardware>(
    adapter: &Adapter<H>,
    node: Node,
    count: u32,
    client: &Arc<Client>,
) -> Result<(u32, u64), Status> {
    submit_with(adapter, node, Interrupt::Wanted, |queue| {
        let mut taken = 0;
        while taken < count {
            let packet = H::null_packet(node, client.clone());
            if let Err(packet) = queue.submit(packet, RESERVED) {
                // Not the last reference: the caller holds one.
                drop(packet);
                break;
            }
            taken += 1;
        }
        (taken, queue.submitted())
    })
}

/// Submits one packet to `node`. Returns its fence id, or hands the packet back if the queue is
/// full.
///
/// Errors and context: as [`submit_null`].
pub(crate) fn submit<H: Hardware>(
    adapter: &Adapter<H>,
    node: Node,
    packet: <H::Engine as Engine>::Packet,
) -> Result<Result<u64, <H::Engine as Engine>::Packet>, Status> {
    submit_with(adapter, node, Interrupt::Wanted, |queue| {
        queue.submit(packet, 0)
    })
}

/// Submits the packets of `batch` to `node` in their order, all in one critical section and with
/// one doorbell. Leaves in `batch` what did not fit.
///
/// With [`Interrupt::Suppressed`] the engine does not interrupt when it is done, if all fitted and
/// it has nothing else to do: the caller polls, with [`report_vsync`] or [`query_current_fence`].
///
/// Returns the last fence id handed out on the node.
///
/// Errors and context: as [`submit_null`].
pub(crate) fn submit_batch<H: Hardware>(
    adapter: &Adapter<H>,
    node: Node,
    batch: &mut Fifo<<H::Engine as Engine>::Packet>,
    interrupt: Interrupt,
) -> Result<u64, Status> {
    submit_with(adapter, node, interrupt, |queue| {
        while let Some(packet) = batch.pop() {
            if let Err(packet) = queue.submit(packet, 0) {
                // Cannot fail: its place was made free just now.
                let _ = batch.unpop(packet);
                break;
            }
        }
        queue.submitted()
    })
}

/// Counts every packet as complete and wakes the waiters, after the engines were stopped: whether
/// they were executed is not known, and nobody is going to tell. Fence ids go on from there.
///
/// `states` are those of all messages, in the order of these.
///
/// Context: process; the messages are disconnected and the DPC does not run.
pub(crate) fn force_complete<H: Hardware>(hardware: &H, states: &mut [H::State], fences: &Fences) {
    let mut completed = PerNode::default();
    for (node, completed) in completed.iter_mut() {
        let state = states.get_mut(u32_as_usize(hardware.message_of(node)));
        let Some(queue) = state.and_then(|state| H::node(state, node)) else {
            return;
        };
        *completed = queue.force_complete();
    }
    let state = states.get_mut(u32_as_usize(hardware.notify_message()));
    if let Some(notify) = state.and_then(H::notify) {
        for (node, &submission_fence_id) in completed.iter() {
            notify.record(&InterruptData::DmaCompleted {
                submission_fence_id,
                node,
            });
        }
    }
    fences.publish(&completed);
}

/// Drops the packets of a queue that were [counted as complete](force_complete) before they reached
/// the engine. Their clients get the places back.
///
/// Context: process, no message lock held.
pub(crate) fn cancel_pending<H: Hardware>(queue: &mut NodeQueue<H::Engine>) {
    while let Some(packet) = queue.cancel_one() {
        if let Some(client) = H::client_of(packet) {
            client.give_back(1);
        }
    }
}

/// Publishes what the engine of `node` was given. Returns whether to notify the device.
///
/// Context: synchronised routine of the node's message.
fn publish<H: Hardware>(state: &mut Synchronized<'_, H>, node: Node, interrupt: Interrupt) -> bool {
    let kick = H::node(state, node).map(|queue| queue.publish(interrupt));
    let Some(Kick { notify, poll }) = kick else {
        return false;
    };
    if poll {
        // Afterwards, so that it asks for an interrupt for what was published.
        H::poll(state);
    }
    notify
}

/// Runs `f` on the queue of `node`, then notifies the device and wakes the submission thread as
/// needed. For `interrupt` see [`submit_batch`].
fn submit_with<H: Hardware, R>(
    adapter: &Adapter<H>,
    node: Node,
    interrupt: Interrupt,
    f: impl FnOnce(&mut NodeQueue<H::Engine>) -> R,
) -> Result<R, Status> {
    let hardware = adapter.miniport();
    // Stopping the device waits for callers that still have to notify it.
    let section = rcu::read_lock();
    let (result, notify, waiting) =
        adapter.synchronize_execution(hardware.message_of(node), |state| {
            let queue = H::node(state, node).ok_or(Status::Unsuccessful)?;
            let (result, waiting) = (f(queue), queue.queued() != 0);
            Ok((result, publish(state, node, interrupt), waiting))
        })??;
    // Outside the lock: the write leaves the virtual machine.
    if notify {
        hardware.kick(node);
    }
    drop(section);
    if waiting {
        hardware.submission_event().signal();
    }
    Ok(result)
}

/// Returns the last completed and the last submitted fence of `node`,
/// `DxgkDdiQueryCurrentFence`: looks at the engine itself, so that a lost interrupt does no harm.
///
/// Errors: as [`Adapter::synchronize_execution`]. Context: process, softirq.
pub(crate) fn query_current_fence<H: Hardware>(
    adapter: &Adapter<H>,
    node: Node,
) -> Result<(u64, u64), Status> {
    adapter.synchronize_execution(adapter.miniport().message_of(node), |state| {
        H::poll(state);
        fences_of(state, node)
    })?
}

/// Returns the last completed and the last submitted fence of `node`, as far as interrupts told.
///
/// Errors and context: as [`query_current_fence`].
pub(crate) fn known_fences<H: Hardware>(
    adapter: &Adapter<H>,
    node: Node,
) -> Result<(u64, u64), Status> {
    adapter.synchronize_execution(adapter.miniport().message_of(node), |state| {
        fences_of(state, node)
    })?
}

/// Returns whether `fence` of `node` is not complete yet, as far as interrupts told, or, with
/// `poll`, after a look at the engine. Then the DPC runs when something of the node completes, and
/// the caller may ask again.
///
/// Errors and context: as [`query_current_fence`].
pub(crate) fn enable_signaling<H: Hardware>(
    adapter: &Adapter<H>,
    node: Node,
    fence: u64,
    poll: bool,
) -> Result<bool, Status> {
    adapter.synchronize_execution(adapter.miniport().message_of(node), |state| {
        if poll {
            H::poll(state);
        }
        H::node(state, node).is_some_and(|queue| queue.enable_signaling(fence))
    })
}

/// Returns the last completed and the last submitted fence of a node that lives in `state`.
fn fences_of<H: Hardware>(
    state: &mut Synchronized<'_, H>,
    node: Node,
) -> Result<(u64, u64), Status> {
    H::node(state, node)
        .map(|queue| (queue.completed(), queue.submitted()))
        .ok_or(Status::Unsuccessful)
}

/// What the DPC found when it began.
pub(crate) struct Snapshot {
    /// Last fences reported as complete.
    completed: PerNode<u64>,
    /// Something waits for room in an engine.
    waiting: bool,
}

/// Begins the DPC: finds what was reported, and reports, from a synchronised routine of the notify
/// message, what completed on nodes of other messages. That is for another run of the DPC.
///
/// [`None`] if the device is stopped.
///
/// Context: the DPC.
pub(crate) fn begin_dpc<H: Hardware>(adapter: &Adapter<H>) -> Option<Snapshot> {
    let hardware = adapter.miniport();
    let notify = hardware.notify_message();
    let is_here = |node| hardware.message_of(node) == notify;
    let mut snapshot = adapter
        .synchronize_execution(notify, |state| {
            let completed = H::notify(state).map(|notify| notify.completed())?;
            let waiting = Node::ENGINES
                .into_iter()
                .filter(|node| is_here(*node))
                .any(|node| H::node(state, node).is_some_and(|queue| queue.queued() != 0));
            Some(Snapshot { completed, waiting })
        })
        .ok()??;
    let mut waiting = snapshot.waiting;
    for (node, &known) in snapshot.completed.iter() {
        if is_here(node) {
            continue;
        }
        let (completed, queued) = adapter
            .synchronize_execution(hardware.message_of(node), |state| {
                H::node(state, node).map(|queue| (queue.completed(), queue.queued()))
            })
            .ok()??;
        waiting |= queued != 0;
        if completed > known {
            let _ = adapter.synchronize_execution(notify, |state| {
                notify_completed(state, node, completed, Dpc::Queued)
            });
        }
    }
    snapshot.waiting = waiting;
    Some(snapshot)
}

/// Turns the reporting of vertical retraces of scanout `target` on or off,
/// `DxgkDdiControlInterrupt`. Does nothing on a stopped device, which reports none.
///
/// Context: process.
pub(crate) fn control_vsync<H: Hardware>(adapter: &Adapter<H>, target: u32, on: bool) {
    let _ = adapter.synchronize_execution(adapter.miniport().notify_message(), |state| {
        H::notify(state)
            .map(|notify| notify.control_interrupt(InterruptType::CrtcVsync, target, on))
    });
}

/// Reports a vertical retrace of scanout `target`, from a synchronised routine of the notify
/// message, with `poll` after a look at what its engines completed.
///
/// Returns whether retraces are reported, and the last completed fence of [`Node::Control`].
///
/// Errors: as [`query_current_fence`]. Context: as [`Adapter::synchronize_execution`], none of
/// DRM's vblank locks held.
pub(crate) fn report_vsync<H: Hardware>(
    adapter: &Adapter<H>,
    target: u32,
    poll: bool,
) -> Result<(bool, u64), Status> {
    adapter.synchronize_execution(adapter.miniport().notify_message(), |state| {
        if poll {
            H::poll(state);
        }
        // A retrace is recorded, and that is all.
        let told = notify_interrupt(state, &InterruptData::CrtcVsync { target }, Dpc::Marked);
        let completed = H::node(state, Node::Control).map_or(0, |queue| queue.completed());
        (told, completed)
    })
}

/// Returns how many vertical retraces were reported.
///
/// Errors and context: as [`query_current_fence`].
pub(crate) fn vsyncs<H: Hardware>(adapter: &Adapter<H>) -> Result<u64, Status> {
    adapter.synchronize_execution(adapter.miniport().notify_message(), |state| {
        H::notify(state).map_or(0, |notify| notify.vsyncs())
    })
}

/// The second half of a notification, `DxgkCbNotifyDpc`: publishes the fences to waiters and wakes
/// them; wakes the submission thread if an engine may have room for what waits. Whatever waiters
/// find behind these fences has to be there.
///
/// Context: the DPC.
pub(crate) fn notify_dpc<H: Hardware>(adapter: &Adapter<H>, fences: &Fences, snapshot: &Snapshot) {
    fences.publish(&snapshot.completed);
    if snapshot.waiting {
        adapter.miniport().submission_event().signal();
    }
}

/// The submission thread: dispatches to the engines and executes the software node, until it is stopped.
///
/// Context: process, a thread of its own.
pub(crate) fn submission_thread<H: Hardware>(adapter: &Adapter<H>, thread: &kthread::Context) {
    while adapter.miniport().submission_event().wait(thread) {
        run_submission(adapter);
    }
}

/// One round of the submission thread: dispatches to the engines, then executes the software node.
///
/// Context: process.
pub(crate) fn run_submission<H: Hardware>(adapter: &Adapter<H>) {
    for node in Node::ENGINES {
        let hardware = adapter.miniport();
        // As in `submit_with`.
        let _section = rcu::read_lock();
        let notify = adapter.synchronize_execution(hardware.message_of(node), |state| {
            if let Some(queue) = H::node(state, node) {
                queue.dispatch();
            }
            publish(state, node, Interrupt::Wanted)
        });
        if notify.unwrap_or(false) {
            hardware.kick(node);
        }
    }
    while execute_software(adapter) {}
}

/// Executes the oldest packet of the software node and reports it.
///
/// This is the documentation's example: the submission thread of a software engine tells the
/// scheduler of a completed packet from inside a synchronised routine. Returns false if there was
/// no packet.
fn execute_software<H: Hardware>(adapter: &Adapter<H>) -> bool {
    let message = adapter.miniport().message_of(Node::Software);
    let packet = adapter.synchronize_execution(message, |state| {
        H::node(state, Node::Software).and_then(NodeQueue::pop)
    });
    let Ok(Some((fence, packet))) = packet else {
        return false;
    };
    // Executed: a null packet has nothing to do. Its client gets its place back before the waiters
    // are woken, and outside the lock, as this may be the last reference.
    if let Some(client) = H::client_of(packet) {
        client.give_back(1);
    }
    let reported = adapter.synchronize_execution(message, |state| {
        if let Some(queue) = H::node(state, Node::Software) {
            queue.complete(fence);
        }
        let data = InterruptData::DmaCompleted {
            submission_fence_id: fence,
            node: Node::Software,
        };
        notify_interrupt(state, &data, Dpc::Queued)
    });
    reported.unwrap_or(false)
}
