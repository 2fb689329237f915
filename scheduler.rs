// SPDX-License-Identifier: GPL-2.0

//! [`submit()`] gives a packet to a node; [`notify_interrupt`] and [`notify_dpc`] report what the
//! node completed.
//!
//! The words (message, node, packet, context, ticket, DPC, notify, submission id) are in the
//! glossary of `Documentation/gpu/rust_gpu.rst`. Each node has two halves:
//!
//! - [`NodeQueue`]: packets on their way to the engine, and their numbers. It lives in the lock of
//!   the message on which the engine completes, beside the engine itself. So a packet gets its
//!   submission id and its place in the engine in one critical section.
//! - its entry in [`Notify`]: the last fence reported as complete. All of [`Notify`] lives in the
//!   lock of one message, the notify message.
//!
//! A completion goes the way of the example in the documentation of `DxgkCbSynchronizeExecution`:
//!
//! 1. The interrupt routine or a synchronised routine of the notify message calls
//!    [`notify_interrupt`]. That records the last reported fence of the node and queues the DPC.
//! 2. The DPC calls [`begin_dpc`], then [`notify_dpc`], which wakes the waiters.
//!
//! A completion on another message queues the DPC, and [`begin_dpc`] does step 1 for it. The
//! miniport may publish a fence by itself, in the interrupt routine
//! ([`Fences::publish_one`]): if nobody waits for it the DPC is only marked.
//!
//! This module knows no device: the engines are behind [`Engine`], their place in the messages
//! behind [`Hardware`].

use kernel::{
    num::casts::u32_as_usize,
    prelude::*,
    sync::Arc, //
};

use crate::irq::{
    Adapter,
    Dpc,
    Miniport,
    Status,
    Synchronized, //
};

mod blame;
mod client;
mod context;
mod engines;
mod fence;
mod fifo;
mod node;
mod notify;
mod policy;
mod preempt;
mod promise;
mod queue;
mod render;
mod submission;
mod submit;
#[cfg(CONFIG_DRM_RUST_GPU_KUNIT_TEST)]
mod tests;
mod timeline;
mod watchdog;

pub(crate) use self::{
    blame::{
        blame,
        Guilty, //
    },
    client::Client,
    context::places_size,
    engines::{
        client_share,
        Engine,
        Interrupt, //
    },
    fence::Fences,
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
    policy::{
        Level,
        Policy, //
    },
    preempt::{
        preempt,
        preemptions,
        report_preempted,
        Preempted, //
    },
    promise::{
        Lack,
        Promise, //
    },
    queue::NodeQueue,
    render::{
        cancel_render,
        Submitted, //
    },
    submission::submission_thread,
    submit::{
        submit,
        submit_batch,
        submit_null, //
    },
    timeline::PacketFence,
    watchdog::{
        watchdog_thread,
        Hang,
        Health,
        Watchdog, //
    },
};

#[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(unused_imports))]
pub(crate) use self::{
    promise::Bytes,
    render::{
        disown,
        submit_promised,
        Refused, //
    },
    timeline::MAX_RINGS,
};
#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
pub(crate) use self::{
    render::submit_in_round,
    submit::{
        submit_batch_unless,
        submit_unless, //
    },
};

/// The control node and the render node.
pub(crate) type TwoNodes<'a, E> = (&'a mut NodeQueue<E>, &'a mut NodeQueue<E>);

/// A miniport whose messages hold the nodes of this scheduler.
pub(crate) trait Hardware: Miniport {
    /// The engines behind the nodes.
    type Engine: Engine;

    /// Returns the message in whose lock `node` lives.
    fn message_of(&self, node: Node) -> u32;

    /// Returns the notify message.
    #[doc(alias = "InterruptMessageNumber")]
    fn notify_message(&self) -> u32;

    /// Returns `node` if it lives in the message of `state`.
    fn node(state: &mut Self::State, node: Node) -> Option<&mut NodeQueue<Self::Engine>>;

    /// Returns the control node and the render node if they live in the message of `state`, which
    /// is the same for both.
    fn control_and_render(state: &mut Self::State) -> Option<TwoNodes<'_, Self::Engine>>;

    /// Returns the state of the scheduler if `state` is that of the notify message.
    fn notify(state: &mut Self::State) -> Option<&mut Notify>;

    /// Polls the engines of the message of `state`, and reports completions whose interrupt was
    /// lost or has not come yet.
    ///
    /// Context: synchronised routine.
    fn poll(state: &mut Synchronized<'_, Self>);

    /// Kicks the device: `node` has new packets.
    ///
    /// Context: any, no message lock held, as the write exits to the hypervisor.
    fn kick(&self, node: Node);

    /// Returns what those see that wait.
    fn fences(&self) -> &Arc<Fences>;

    /// Returns the clock.
    fn watchdog(&self) -> &Watchdog;

    /// Returns what is done about a device that hangs.
    ///
    /// Context: any.
    fn policy(&self) -> Policy {
        Policy::current()
    }

    /// Returns what the status of the device says.
    ///
    /// Context: any, in an RCU read section in which its messages were found connected.
    fn health(&self) -> Health;

    /// Breaks the engines of a device that is gone or has to be reset.
    ///
    /// Context: process.
    fn break_engines(adapter: &Adapter<Self>, health: Health);

    /// Does what is due when an engine goes on after a stall.
    ///
    /// Context: process (the watchdog).
    fn recovered(&self);

    /// Does what is due at each tick of the clock. Returns true if the clock has to go on for it.
    ///
    /// Context: process (the watchdog).
    fn tick(adapter: &Adapter<Self>) -> bool;

    /// Submits packets of the driver that had no place before.
    ///
    /// Context: process (the submission thread), no lock held.
    fn drain(_adapter: &Adapter<Self>) {}

    /// Makes a packet that does nothing but complete.
    ///
    /// Context: any, lock of the node's message held. Must not allocate.
    fn null_packet(node: Node) -> <Self::Engine as Engine>::Packet;
}

/// Records a hardware event for the scheduler, `DxgkCbNotifyInterrupt`, and queues the DPC, as the
/// contract demands before the routine ends. `dpc` is [`Dpc::Marked`] if nobody waits for the event
/// and the DPC has nothing else to do for it.
///
/// Returns false and records nothing if `state` is not that of the notify message (in WDDM: "no
/// scheduler callback is there to call"), or if events of this type are turned off.
///
/// Context: interrupt routine or synchronised routine of the notify message.
#[doc(alias = "DxgkCbNotifyInterrupt")]
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

/// Reports that `node` completed all fences up to `completed`, with [`notify_interrupt`]. Returns
/// false if that was reported before.
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

/// Ends every packet that an engine has and wakes the waiters, after the engines were stopped.
/// Whether the packets were executed is not known: for clients they are lost ([`ECANCELED`]). The
/// last completed submission id of their nodes becomes the last one that was given. What waits,
/// goes on later with new submission ids. The software node goes on as well.
///
/// `states` has the state of each message, in the order of the messages.
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
        queue.take_wakes();
        fences.set_stalled(node, false);
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
    fences.publish(&completed, u32::MAX);
}

/// Drops the packets of the driver that have not reached an engine, which [was
/// stopped](force_complete).
///
/// Context: process, no message lock held.
pub(crate) fn cancel_pending<H: Hardware>(queue: &mut NodeQueue<H::Engine>) {
    while queue.cancel_one().is_some() {}
}

/// How far a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Last completed submission id.
    pub(crate) completed: u64,
    /// Last submission id that was given.
    pub(crate) submitted: u64,
    /// Packets that wait.
    pub(crate) queued: u64,
    /// Packets that the engine has, or the submission thread.
    pub(crate) in_flight: u64,
}

impl Progress {
    fn of<E: Engine>(queue: &NodeQueue<E>) -> Self {
        Self {
            completed: queue.completed(),
            submitted: queue.submitted(),
            // CAST: never lossy.
            queued: queue.queued() as u64,
            in_flight: queue.in_flight(),
        }
    }

    /// Returns whether there are packets.
    pub(crate) fn is_busy(&self) -> bool {
        self.queued != 0 || self.in_flight != 0
    }
}

/// Returns how far `node` is, `DxgkDdiQueryCurrentFence`. Polls the engine first, so a lost
/// interrupt does no harm.
///
/// Errors: as [`Adapter::synchronize_execution`]. Context: process, softirq.
#[doc(alias = "DxgkDdiQueryCurrentFence")]
pub(crate) fn query_current_fence<H: Hardware>(
    adapter: &Adapter<H>,
    node: Node,
) -> Result<Progress, Status> {
    adapter.synchronize_execution(adapter.miniport().message_of(node), |state| {
        H::poll(state);
        progress_of(state, node)
    })?
}

/// Returns how far `node` is. Does not poll the engine.
///
/// Errors and context: as [`query_current_fence`].
pub(crate) fn known_progress<H: Hardware>(
    adapter: &Adapter<H>,
    node: Node,
) -> Result<Progress, Status> {
    adapter.synchronize_execution(adapter.miniport().message_of(node), |state| {
        progress_of(state, node)
    })?
}

/// Returns how far a node is that lives in `state`.
fn progress_of<H: Hardware>(
    state: &mut Synchronized<'_, H>,
    node: Node,
) -> Result<Progress, Status> {
    H::node(state, node)
        .map(|queue| Progress::of(queue))
        .ok_or(Status::Unsuccessful)
}

/// What the DPC found when it started.
pub(crate) struct Snapshot {
    /// Last submission ids reported as complete.
    completed: PerNode<u64>,
    /// The queues of waiters to wake, one bit each.
    wakes: u32,
    /// A packet waits for room in an engine.
    waiting: bool,
}

impl Snapshot {
    /// Adds what `queue` shows.
    fn look_at<E: Engine>(&mut self, queue: &mut NodeQueue<E>) {
        self.wakes |= queue.take_wakes();
        self.waiting |= queue.has_ring() && queue.is_waiting();
    }
}

/// Starts the DPC: takes a snapshot of what was reported as complete. [`None`] if the device is
/// stopped.
///
/// Then it reports what nodes of other messages completed, from a synchronised routine of the
/// notify message. The next run of the DPC publishes that.
///
/// Context: the DPC.
pub(crate) fn begin_dpc<H: Hardware>(adapter: &Adapter<H>) -> Option<Snapshot> {
    let hardware = adapter.miniport();
    let notify = hardware.notify_message();
    let is_here = |node| hardware.message_of(node) == notify;
    let mut snapshot = adapter
        .synchronize_execution(notify, |state| {
            let mut snapshot = Snapshot {
                completed: PerNode::default(),
                wakes: 0,
                waiting: false,
            };
            snapshot.completed = H::notify(state).map(|notify| notify.completed())?;
            for node in Node::ALL.into_iter().filter(|node| is_here(*node)) {
                snapshot.look_at(H::node(state, node)?);
            }
            Some(snapshot)
        })
        .ok()??;
    for node in Node::ALL {
        if is_here(node) {
            continue;
        }
        let (completed, is_preempted) = adapter
            .synchronize_execution(hardware.message_of(node), |state| {
                let queue = H::node(state, node)?;
                snapshot.look_at(queue);
                Some((queue.completed(), queue.preempted(node).is_some()))
            })
            .ok()??;
        if completed > snapshot.completed[node] {
            let _ = adapter.synchronize_execution(notify, |state| {
                notify_completed(state, node, completed, Dpc::Queued)
            });
        }
        if is_preempted {
            preempt::report_elsewhere(adapter, node);
        }
    }
    Some(snapshot)
}

/// Turns the reporting of vertical retraces of scanout `target` on or off,
/// `DxgkDdiControlInterrupt`. Does nothing on a stopped device, which reports none.
///
/// Context: process.
#[doc(alias = "DxgkDdiControlInterrupt")]
pub(crate) fn control_vsync<H: Hardware>(adapter: &Adapter<H>, target: u32, on: bool) {
    let _ = adapter.synchronize_execution(adapter.miniport().notify_message(), |state| {
        H::notify(state)
            .map(|notify| notify.control_interrupt(InterruptType::CrtcVsync, target, on))
    });
}

/// Reports a vertical retrace of scanout `target`, from a synchronised routine of the notify
/// message. With `poll` it polls the engines of that message first.
///
/// Returns whether retraces are reported.
///
/// Errors: as [`query_current_fence`]. Context: as [`Adapter::synchronize_execution`], none of
/// DRM's vblank locks held.
#[doc(alias = "DXGK_INTERRUPT_CRTC_VSYNC")]
pub(crate) fn report_vsync<H: Hardware>(
    adapter: &Adapter<H>,
    target: u32,
    poll: bool,
) -> Result<bool, Status> {
    adapter.synchronize_execution(adapter.miniport().notify_message(), |state| {
        if poll {
            H::poll(state);
        }
        // Only marked: a retrace leaves nothing to the DPC.
        notify_interrupt(state, &InterruptData::CrtcVsync { target }, Dpc::Marked)
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

/// Publishes what `snapshot` has and wakes the waiters: the second half of a notification,
/// `DxgkCbNotifyDpc`. Wakes the submission thread if packets wait for room.
///
/// The results that waiters read after these fences must be in place before the call.
///
/// Context: the DPC.
#[doc(alias = "DxgkCbNotifyDpc")]
pub(crate) fn notify_dpc<H: Hardware>(adapter: &Adapter<H>, fences: &Fences, snapshot: &Snapshot) {
    fences.publish(&snapshot.completed, snapshot.wakes);
    if snapshot.waiting {
        adapter.miniport().fences().submission_event().signal();
    }
}
