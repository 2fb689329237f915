// SPDX-License-Identifier: GPL-2.0

//! [`Notify`] records hardware events for the scheduler; an [`InterruptData`] describes one.

use kernel::prelude::*;

use super::{
    Node,
    PerNode,
    Preempted,
    NODES, //
};

/// The type of a hardware event, `DXGK_INTERRUPT_TYPE`. The values are WDDM's.
// Most of them are never raised.
#[allow(dead_code)]
#[doc(alias = "DXGK_INTERRUPT_TYPE")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum InterruptType {
    /// `DXGK_INTERRUPT_DMA_COMPLETED`.
    #[doc(alias = "DXGK_INTERRUPT_DMA_COMPLETED")]
    DmaCompleted = 1,
    /// `DXGK_INTERRUPT_DMA_PREEMPTED`.
    #[doc(alias = "DXGK_INTERRUPT_DMA_PREEMPTED")]
    DmaPreempted = 2,
    /// `DXGK_INTERRUPT_CRTC_VSYNC`.
    #[doc(alias = "DXGK_INTERRUPT_CRTC_VSYNC")]
    CrtcVsync = 3,
    /// `DXGK_INTERRUPT_DMA_FAULTED`, reserved.
    #[doc(alias = "DXGK_INTERRUPT_DMA_FAULTED")]
    DmaFaulted = 4,
    /// `DXGK_INTERRUPT_DMA_PAGE_FAULTED`.
    #[doc(alias = "DXGK_INTERRUPT_DMA_PAGE_FAULTED")]
    DmaPageFaulted = 9,
}

/// A hardware event as it is reported to the scheduler, `DXGKARGCB_NOTIFY_INTERRUPT_DATA`.
#[doc(alias = "DXGKARGCB_NOTIFY_INTERRUPT_DATA")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InterruptData {
    /// All packets of `node` up to `submission_fence_id` are complete.
    DmaCompleted {
        /// `SubmissionFenceId`.
        #[doc(alias = "SubmissionFenceId")]
        submission_fence_id: u64,
        /// `NodeOrdinal`.
        #[doc(alias = "NodeOrdinal")]
        node: Node,
    },
    /// What was published of `node` finished, and all that had a later id then was taken back.
    DmaPreempted {
        /// `PreemptionFenceId`.
        #[doc(alias = "PreemptionFenceId")]
        preemption_fence_id: u64,
        /// `LastCompletedFenceId`.
        #[doc(alias = "LastCompletedFenceId")]
        last_completed_fence_id: u64,
        /// `NodeOrdinal`.
        #[doc(alias = "NodeOrdinal")]
        node: Node,
    },
    /// A vertical retrace of one scanout.
    CrtcVsync {
        /// `VidPnTargetId`, the number of the scanout.
        #[doc(alias = "VidPnTargetId")]
        target: u32,
    },
}

impl InterruptData {
    /// Returns the id of the preemption that this answers.
    pub(super) fn preemption_id(&self) -> Option<u64> {
        match *self {
            Self::DmaPreempted {
                preemption_fence_id,
                ..
            } => Some(preemption_fence_id),
            _ => None,
        }
    }
}

/// The state of the scheduler that `DxgkCbNotifyInterrupt` changes.
///
/// Lives in the lock of the notify message and nowhere else.
pub(crate) struct Notify {
    /// Last fence reported as complete, per node.
    completed: PerNode<u64>,
    /// Preemptions reported, per node.
    preempted: PerNode<Preempted>,
    /// Vertical retraces reported.
    vsyncs: u64,
    /// Targets whose vertical retraces are reported, one bit each.
    vsync_targets: u32,
    /// Events recorded.
    notifications: u64,
}

impl Notify {
    /// Makes the state before any event.
    pub(crate) const fn new() -> Self {
        Self {
            completed: PerNode::new([0; NODES]),
            preempted: PerNode::new([Preempted::NONE; NODES]),
            vsyncs: 0,
            vsync_targets: 0,
            notifications: 0,
        }
    }

    /// Records one event. Returns whether events of its type are reported.
    pub(super) fn record(&mut self, data: &InterruptData) -> bool {
        match *data {
            InterruptData::DmaCompleted {
                submission_fence_id,
                node,
            } => {
                let last = &mut self.completed[node];
                *last = submission_fence_id.max(*last);
            }
            InterruptData::DmaPreempted {
                preemption_fence_id,
                last_completed_fence_id,
                node,
            } => {
                let last = &mut self.completed[node];
                *last = last_completed_fence_id.max(*last);
                self.preempted[node] = Preempted {
                    count: self.preempted[node].count.wrapping_add(1),
                    id: preemption_fence_id,
                    completed: last_completed_fence_id,
                };
            }
            InterruptData::CrtcVsync { target } if self.vsync_targets & bit(target) == 0 => {
                return false;
            }
            InterruptData::CrtcVsync { .. } => self.vsyncs += 1,
        }
        self.notifications += 1;
        true
    }

    /// Turns the reporting of one type of event on or off for one target,
    /// `DxgkDdiControlInterrupt`.
    ///
    /// Errors: [`ENOSYS`] (`STATUS_NOT_IMPLEMENTED`) for every type but
    /// [`InterruptType::CrtcVsync`].
    #[doc(alias = "DxgkDdiControlInterrupt")]
    #[doc(alias = "STATUS_NOT_IMPLEMENTED")]
    pub(crate) fn control_interrupt(
        &mut self,
        kind: InterruptType,
        target: u32,
        on: bool,
    ) -> Result {
        match kind {
            InterruptType::CrtcVsync if on => self.vsync_targets |= bit(target),
            InterruptType::CrtcVsync => self.vsync_targets &= !bit(target),
            _ => return Err(ENOSYS),
        }
        Ok(())
    }

    /// Returns the number of vertical retraces reported.
    pub(crate) fn vsyncs(&self) -> u64 {
        self.vsyncs
    }

    /// Returns the last fence reported as complete, per node.
    pub(crate) fn completed(&self) -> PerNode<u64> {
        self.completed
    }

    /// Returns the preemptions reported, per node.
    pub(crate) fn preempted(&self) -> PerNode<Preempted> {
        self.preempted
    }

    /// Returns the number of events recorded.
    pub(crate) fn notifications(&self) -> u64 {
        self.notifications
    }
}

/// Returns the bit of a target; 0 for a number that no scanout has.
fn bit(target: u32) -> u32 {
    1u32.checked_shl(target).unwrap_or(0)
}
