// SPDX-License-Identifier: GPL-2.0

//! [`preempt`] asks a node to give up what has not begun, `DxgkDdiPreemptCommand`.
//!
//! From then on no packet of a client is handed out. Those that are staged go back to the front of
//! their contexts, and get new submission ids later. What is published finishes: when all of it did
//! the answer is `DMA_PREEMPTED`, with the last id that is complete, and packets are handed out
//! again. The packets of the driver are not held back; they get later ids.
//!
//! The answer comes from the interrupt routine, or from a synchronised routine if nothing was
//! published. A node whose message is not the notify message answers through the DPC, as its
//! completions do. A reset ends a preemption without an answer.

use kernel::prelude::*;

use crate::irq::{
    Adapter,
    Dpc,
    Status,
    Synchronized, //
};

use super::{
    notify_interrupt,
    Engine,
    Hardware,
    InterruptData,
    Node,
    NodeQueue,
    PerNode, //
};

/// A preemption that was not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Preemption {
    /// Its id, which the answer repeats.
    #[doc(alias = "PreemptionFenceId")]
    pub(super) id: u64,
    /// The last submission id given before.
    pub(super) submitted: u64,
    /// The last one before those that were taken back.
    pub(super) published: u64,
}

/// The preemptions of a node that were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preempted {
    /// How many.
    pub(crate) count: u64,
    /// The id of the last one.
    pub(crate) id: u64,
    /// The last completed submission id then.
    pub(crate) completed: u64,
}

impl Preempted {
    /// There were none.
    pub(super) const NONE: Self = Self {
        count: 0,
        id: 0,
        completed: 0,
    };
}

/// Asks `node` to give up what has not begun, `DxgkDdiPreemptCommand`. The answer has the same
/// `id`, which the caller chooses; without one it is one more than that of the last preemption.
///
/// Errors: [`EBUSY`] if one is not answered yet; [`EINVAL`] if `id` is not greater than the last
/// one; [`EOPNOTSUPP`] for the render node, and while the engine has an open packet, for which
/// nobody can wait; [`ENODEV`], [`EIO`] if the device is gone or broken; [`ENOTCONN`] while it is
/// stopped.
///
/// Context: process.
#[doc(alias = "DxgkDdiPreemptCommand")]
pub(crate) fn preempt<H: Hardware>(adapter: &Adapter<H>, node: Node, id: Option<u64>) -> Result {
    let hardware = adapter.miniport();
    let elsewhere = hardware.message_of(node) != hardware.notify_message();
    hardware.fences().check()?;
    if node == Node::Render {
        return Err(EOPNOTSUPP);
    }
    if elsewhere {
        // The last one may have its answer, while who has given it did not end it so far.
        report_elsewhere(adapter, node);
    }
    adapter.synchronize_execution(hardware.message_of(node), |state| {
        let queue = H::node(state, node).ok_or(ENOTCONN)?;
        queue.preempt(id)?;
        // All may have completed.
        report_preempted(state, node);
        Ok::<(), Error>(())
    })??;
    if elsewhere {
        report_elsewhere(adapter, node);
    }
    // It goes on, if it is over.
    hardware.fences().submission_event().signal();
    Ok(())
}

/// Answers the preemption of `node`, if what was published finished. Returns whether it did; false
/// also if `state` is not that of the notify message.
///
/// Context: interrupt routine or synchronised routine of the message of `node`.
pub(crate) fn report_preempted<H: Hardware>(state: &mut Synchronized<'_, H>, node: Node) -> bool {
    let Some(data) = H::node(state, node).and_then(|queue| queue.preempted(node)) else {
        return false;
    };
    if !notify_interrupt(state, &data, Dpc::Queued) {
        return false;
    }
    if let Some(queue) = H::node(state, node) {
        queue.end_preemption();
    }
    true
}

/// The same for a node whose message is not the notify message.
///
/// Context: process.
pub(super) fn report_elsewhere<H: Hardware>(adapter: &Adapter<H>, node: Node) {
    let hardware = adapter.miniport();
    let message = hardware.message_of(node);
    let data =
        adapter.synchronize_execution(message, |state| H::node(state, node)?.preempted(node));
    let Ok(Some(data)) = data else {
        return;
    };
    // Another caller of this may have answered it meanwhile, and also the next one.
    let _ = adapter.synchronize_execution(hardware.notify_message(), |state| {
        let known = H::notify(state).map(|notify| notify.preempted()[node].id);
        known < data.preemption_id() && notify_interrupt(state, &data, Dpc::Queued)
    });
    let _ = adapter.synchronize_execution(message, |state| {
        let queue = H::node(state, node)?;
        if queue.preempted(node) == Some(data) {
            queue.end_preemption();
        }
        Some(())
    });
}

/// Returns the preemptions that were answered, of each node.
///
/// Errors: as [`Adapter::synchronize_execution`]. Context: process.
pub(crate) fn preemptions<H: Hardware>(adapter: &Adapter<H>) -> Result<PerNode<Preempted>, Status> {
    adapter.synchronize_execution(adapter.miniport().notify_message(), |state| {
        H::notify(state).map_or_else(PerNode::default, |notify| notify.preempted())
    })
}

impl<E: Engine> NodeQueue<E> {
    /// Stops to hand out packets of clients, and takes back what is staged.
    ///
    /// Errors: those of [`preempt`](preempt()).
    fn preempt(&mut self, id: Option<u64>) -> Result {
        if self.preemption.is_some() {
            return Err(EBUSY);
        }
        if self.has_open() {
            return Err(EOPNOTSUPP);
        }
        let id = id.unwrap_or(self.last_preemption.wrapping_add(1));
        if id <= self.last_preemption {
            return Err(EINVAL);
        }
        self.last_preemption = id;
        self.preemption = Some(Preemption {
            id,
            submitted: self.submitted(),
            published: self.published(),
        });
        self.take_back_staged();
        Ok(())
    }

    /// Returns the answer to a preemption, if there is one and what was published finished.
    pub(super) fn preempted(&self, node: Node) -> Option<InterruptData> {
        let preemption = self.preemption?;
        self.has_ended(preemption.submitted)
            .then_some(InterruptData::DmaPreempted {
                preemption_fence_id: preemption.id,
                last_completed_fence_id: self.completed(),
                node,
            })
    }

    /// Returns whether a preemption is not answered yet.
    pub(crate) fn is_preempting(&self) -> bool {
        self.preemption.is_some()
    }

    /// Hands out packets of clients again.
    pub(super) fn end_preemption(&mut self) {
        self.preemption = None;
    }
}
