// SPDX-License-Identifier: GPL-2.0

//! Hardware events, and what the scheduler records of them.

use kernel::prelude::*;

use super::{
    Node,
    NODES, //
};

/// What a hardware event is, `DXGK_INTERRUPT_TYPE`. The values are WDDM's.
// Which of them the device can raise depends on what drives it: without a display, no retrace.
#[allow(dead_code)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum InterruptType {
    /// `DXGK_INTERRUPT_DMA_COMPLETED`.
    DmaCompleted = 1,
    /// `DXGK_INTERRUPT_DMA_PREEMPTED`.
    DmaPreempted = 2,
    /// `DXGK_INTERRUPT_CRTC_VSYNC`.
    CrtcVsync = 3,
    /// `DXGK_INTERRUPT_DMA_FAULTED`, reserved.
    DmaFaulted = 4,
    /// `DXGK_INTERRUPT_DMA_PAGE_FAULTED`.
    DmaPageFaulted = 9,
}

/// A hardware event as the scheduler is told of it, `DXGKARGCB_NOTIFY_INTERRUPT_DATA`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InterruptData {
    /// All packets of `node` up to `submission_fence_id` are complete.
    DmaCompleted {
        /// `SubmissionFenceId`.
        submission_fence_id: u64,
        /// `NodeOrdinal`.
        node: Node,
    },
    /// A vertical retrace of one scanout.
    // Raised by a display only.
    #[allow(dead_code)]
    CrtcVsync {
        /// `VidPnTargetId`, the number of the scanout.
        target: u32,
    },
}

impl InterruptData {
    /// Returns the type of the event.
    #[allow(dead_code)]
    pub(crate) fn interrupt_type(&self) -> InterruptType {
        match self {
            Self::DmaCompleted { .. } => InterruptType::DmaCompleted,
            Self::CrtcVsync { .. } => InterruptType::CrtcVsync,
        }
    }
}

/// The state of the scheduler that `DxgkCbNotifyInterrupt` changes.
///
/// Lives in the lock of the notify message and nowhere else.
pub(crate) struct Notify {
    /// Last fence reported as complete, per node.
    completed: [u64; NODES],
    /// Vertical retraces reported.
    vsyncs: u64,
    /// Whether vertical retraces are reported.
    vsync_enabled: bool,
    /// Calls of [`notify_interrupt`](super::notify_interrupt).
    notifications: u64,
}

impl Notify {
    /// Makes the state of a scheduler that was told nothing.
    pub(crate) const fn new() -> Self {
        Self {
            completed: [0; NODES],
            vsyncs: 0,
            vsync_enabled: false,
            notifications: 0,
        }
    }

    /// Records one event.
    pub(super) fn record(&mut self, data: &InterruptData) {
        match *data {
            InterruptData::DmaCompleted {
                submission_fence_id,
                node,
            } => {
                let [control, cursor, software] = &mut self.completed;
                let last = match node {
                    Node::Control => control,
                    Node::Cursor => cursor,
                    Node::Software => software,
                };
                *last = submission_fence_id.max(*last);
            }
            InterruptData::CrtcVsync { .. } if !self.vsync_enabled => return,
            InterruptData::CrtcVsync { .. } => self.vsyncs += 1,
        }
        self.notifications += 1;
    }

    /// Turns the reporting of one type of event on or off, `DxgkDdiControlInterrupt`.
    ///
    /// Errors: [`ENOSYS`] (`STATUS_NOT_IMPLEMENTED`) for every type but
    /// [`InterruptType::CrtcVsync`].
    // Called by a display only.
    #[allow(dead_code)]
    pub(crate) fn control_interrupt(&mut self, kind: InterruptType, on: bool) -> Result {
        match kind {
            InterruptType::CrtcVsync => {
                self.vsync_enabled = on;
                Ok(())
            }
            _ => Err(ENOSYS),
        }
    }

    /// Returns the last fence reported as complete, per node.
    pub(crate) fn completed(&self) -> [u64; NODES] {
        self.completed
    }

    /// Returns the number of events recorded.
    pub(crate) fn notifications(&self) -> u64 {
        self.notifications
    }
}
