// SPDX-License-Identifier: GPL-2.0

//! What happens when the device is done with commands: [`Gpu::finish_list`] for the DPC, and
//! [`Gpu::catch_up`] for those who are first.

use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

use crate::{
    command::{
        self,
        command_name,
        ResponseError, //
    },
    irq::Adapter,
    scheduler::{
        Engine,
        Fifo,
        Hardware,
        Node, //
    },
    virtqueue::{
        Completion,
        Retired, //
    },
};

use super::{
    resources::Answer,
    Gpu, //
};

impl Gpu<'_> {
    /// Handles the retired requests of the control node for which nobody waits, so that what the
    /// device has done for objects of the 3D side is known.
    ///
    /// Context: process.
    #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
    pub(crate) fn catch_up(&self, adapter: &Adapter<Self>) {
        let found = adapter.synchronize_execution(self.map.of(Node::Control), |state| {
            // Here no reset is under way.
            let incarnation = self.incarnation();
            let queue = state.virtqueue(Node::Control)?;
            Some((queue.take_unhurried(), queue.take_ended(), incarnation))
        });
        if let Ok(Some((Some(list), _, incarnation))) = found {
            self.finish_list(adapter, Node::Control, list, incarnation);
        }
    }

    /// Handles retired requests of the queue of `node`, which a device of this `incarnation` has
    /// answered, and gives their list back.
    pub(super) fn finish_list(
        &self,
        adapter: &Adapter<Self>,
        node: Node,
        mut list: Fifo<Retired>,
        incarnation: u64,
    ) {
        // Then used elements may have found no room in it, and the next list has it.
        let was_full = list.is_full();
        while let Some(retired) = list.pop() {
            let failure = retired.failure();
            let refused = failure.is_some();
            let answer = |id| Answer {
                id,
                executed: !refused,
                incarnation,
            };
            match failure {
                Some((command_type, error)) if !self.is_for_client(&retired.completion) => {
                    self.report_failure(command_type, error);
                }
                _ => {}
            }
            match retired.completion {
                Completion::Reply(reply) => {
                    reply.set(retired.command);
                    continue;
                }
                // Those of the render node are in the other list.
                Completion::None | Completion::Null | Completion::Panic | Completion::Render(_) => {
                    continue
                }
                Completion::Own(step, id) => {
                    self.resources.own_done(step, &answer(id));
                    continue;
                }
                Completion::Created(id) => self.resources.created(&answer(id)),
                Completion::Attached(id) => {
                    let list = retired.command.filter(|_| refused).map(|(list, _)| list);
                    self.resources.attached(&answer(id), list);
                }
                Completion::Destroyed(id) => self.resources.destroyed(&answer(id)),
                Completion::Batch(command) => command.refuse(),
            }
            // What was told has changed.
            self.set_deferred_due();
        }
        let mut emptied = Some(list);
        // On failure the list is dropped here, outside the lock.
        let _ = adapter.synchronize_execution(self.map.of(node), |state| {
            let needs_dpc = state.virtqueue(node).is_some_and(|queue| {
                queue.give_back(&mut emptied);
                queue.needs_dpc()
            });
            if was_full {
                Self::poll(state);
            }
            if needs_dpc {
                // It may have come while both lists were in use, and could take none.
                state.queue_dpc();
            }
        });
    }

    /// Returns true the first time it is called, so that only one failure is logged.
    fn is_first_failure(&self) -> bool {
        !self.warned.xchg(true, Relaxed)
    }

    /// Logs that the device refused a command, once: later failures, of which many follow from the
    /// first, would fill the log.
    fn report_failure(&self, command_type: u32, error: ResponseError) {
        // What a client has wrong is not news.
        if !command::is_for_clients(command_type) && self.is_first_failure() {
            let name = command_name(command_type);
            // `dev_warn!` takes `kernel::fmt::Display`, and the error has that of `core`.
            dev_warn!(
                self.dev,
                "{} ({:#06x}) failed: {}\n",
                name,
                command_type,
                format_args!("{error}")
            );
        }
    }
}
