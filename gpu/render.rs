// SPDX-License-Identifier: GPL-2.0

//! What the render node needs of the [`Gpu`]: memory for its packets, the report of those that
//! ended, and a [`Feeder`].

use kernel::sync::{
    atomic::{
        Acquire,
        Full,
        Release, //
    },
    Arc, //
};

use crate::{
    irq::{
        Adapter,
        Dpc,
        Synchronized, //
    },
    scheduler::{
        self,
        Node, //
    },
    virtqueue::{
        CommandBuffer,
        Completion, //
    },
};

use super::Gpu;

/// What has packets of the driver that must not be lost if there is no room for them.
pub(crate) trait Feeder: Send + Sync {
    /// Submits those that there is room for.
    ///
    /// Context: process (the submission thread, at the start of each round), no lock held. Must not
    /// wait for the device.
    fn drain(&self, adapter: &Adapter<Gpu<'_>>);

    /// Returns whether some wait until the device is done with something: then it is called each
    /// time that this is so.
    ///
    /// Context: any but NMI; a message lock may be held. The fences of what the device is done with
    /// are signalled by then.
    fn is_waiting(&self) -> bool;
}

impl Gpu<'_> {
    /// Has `feeder` called by the submission thread. Later calls change nothing.
    ///
    /// Context: process.
    #[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
    pub(crate) fn set_feeder(&self, feeder: Arc<dyn Feeder>) {
        self.feeder.populate(feeder);
    }

    /// Returns what has packets of the driver that must not be lost.
    pub(super) fn feeder(&self) -> Option<&dyn Feeder> {
        self.feeder.as_ref().map(|feeder| &**feeder)
    }

    /// Has the feeder called if it waits for what the device is done with.
    ///
    /// Context: any but NMI.
    pub(super) fn tell_feeder(&self) {
        if self.feeder().is_some_and(Feeder::is_waiting) {
            self.fences.submission_event().signal();
        }
    }

    /// The next DPC has the [`Feeder`] called.
    ///
    /// Context: process.
    #[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
    pub(crate) fn set_feeder_due(&self) {
        self.feeder_due.store(true, Release);
    }

    /// Has the feeder called if it is due.
    pub(super) fn wake_feeder(&self) {
        if self.feeder_due.load(Acquire) && self.feeder_due.xchg(false, Full) {
            self.fences.submission_event().signal();
        }
    }

    /// Returns memory for one packet of the render node; [`None`] if all of it is in use. Packets
    /// of the display have other memory.
    ///
    /// Context: any.
    #[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
    pub(crate) fn render_slot(&self) -> Option<CommandBuffer> {
        let pool = self.pools[Node::Render].as_ref()?;
        pool.take().map(CommandBuffer::from)
    }

    /// Returns memory for one command of `node`, as long as half of it is left to others.
    ///
    /// Context: any.
    #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
    pub(crate) fn spare_slot(&self, node: Node) -> Option<CommandBuffer> {
        let pool = self.pools[node].as_ref()?;
        match pool.free() > pool.count() / 2 {
            true => pool.take().map(CommandBuffer::from),
            false => None,
        }
    }

    /// Returns whether a command is for an object of the 3D side: whether the device executes it
    /// depends on what a client asked for.
    pub(super) fn is_for_client(&self, completion: &Completion) -> bool {
        matches!(completion, Completion::Own(..))
    }
}

/// Reports what the render node completed, as `reap` does for the others, and has the submission
/// thread hand out more: the DPC, which may have to wait, is not in the way of that.
#[cold]
pub(super) fn report(state: &mut Synchronized<'_, Gpu<'_>>, dpc: Dpc) {
    let Some(queue) = &state.nodes[Node::Render] else {
        return;
    };
    let (completed, is_waiting) = (queue.completed(), queue.is_waiting());
    let fences = &state.miniport().fences;
    fences.publish_one(Node::Render, completed);
    if is_waiting {
        fences.submission_event().signal();
    }
    scheduler::notify_completed(state, Node::Render, completed, dpc);
}
