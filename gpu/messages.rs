// SPDX-License-Identifier: GPL-2.0

//! [`MessageMap`] decides which interrupt message serves what; [`State`] is what lives in the lock
//! of one.

use kernel::prelude::*;

use crate::{
    irq::{
        Dpc,
        Vectors, //
    },
    scheduler::{
        self,
        Node,
        NodeQueue,
        Notify,
        PerNode,
        NODES, //
    },
    virtqueue::{
        Ended,
        Virtqueue, //
    }, //
};

use super::Gpu;

/// Which message serves what: the one place where that is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageMap {
    /// Number of messages.
    pub(crate) count: u32,
    /// True for INTx: one message, of a shared line, with the ISR register to read.
    pub(crate) line: bool,
    /// The message for configuration changes.
    pub(crate) config: u32,
    /// The message of the control queue.
    pub(crate) control: u32,
    /// The message of the cursor queue.
    pub(crate) cursor: u32,
}

impl MessageMap {
    /// Most messages that the driver asks for.
    pub(crate) const MAX: u32 = 3;

    /// Decides for a device with `count` messages, at least one.
    pub(crate) const fn new(count: u32, line: bool) -> Self {
        let (control, cursor) = match count {
            0 | 1 => (0, 0),
            2 => (1, 1),
            _ => (1, 2),
        };
        Self {
            count,
            line,
            config: 0,
            control,
            cursor,
        }
    }

    /// Returns the notify message, on which the DPC runs too. It is the control queue's, as nearly
    /// all completions arrive there.
    #[doc(alias = "InterruptMessageNumber")]
    pub(crate) const fn notify(&self) -> u32 {
        self.control
    }

    /// Returns the message in whose lock `node` lives.
    pub(crate) const fn of(&self, node: Node) -> u32 {
        match node {
            Node::Control => self.control,
            Node::Cursor => self.cursor,
            Node::Software => self.notify(),
            // Its packets are in the control queue.
            Node::Render => self.control,
        }
    }

    /// Returns what the adapter needs to know.
    pub(crate) const fn vectors(&self) -> Vectors {
        Vectors {
            count: self.count,
            dpc_message: self.notify(),
        }
    }
}

/// What the interrupt routine of one message shares with the rest of the driver.
pub(crate) struct State {
    /// The nodes that live in this message, by ordinal. Boxed, as the state moves in and out.
    pub(crate) nodes: PerNode<Option<KBox<NodeQueue<Virtqueue>>>>,
    /// The scheduler's state, on the notify message.
    pub(crate) notify: Option<Notify>,
    /// The configuration may have changed, and the DPC has not read it yet.
    pub(super) config_changed: bool,
    /// A poll took used elements since the last interrupt, which may be theirs.
    polled: bool,
}

impl State {
    /// Makes the state of a message that serves nothing.
    pub(crate) const fn new() -> Self {
        Self {
            nodes: PerNode::new([const { None }; NODES]),
            notify: None,
            config_changed: false,
            polled: false,
        }
    }

    /// Records that a poll found something: the next interrupt may be for that.
    pub(super) fn expect_interrupt(&mut self) {
        self.polled = true;
    }

    /// Returns whether an interrupt has a cause: it `found` something, or a poll found it since the
    /// interrupt before. The kernel turns off a vector or a line whose interrupts never have one.
    pub(super) fn explain_interrupt(&mut self, found: bool) -> bool {
        core::mem::take(&mut self.polled) || found
    }

    /// Returns the virtqueue of `node` if it lives here.
    pub(crate) fn virtqueue(&mut self, node: Node) -> Option<&mut Virtqueue> {
        self.nodes[node].as_mut()?.engine.as_deref_mut()
    }

    /// Empties the queues of this message. Their fence ids continue. The device was reset before,
    /// and all packets were counted as complete.
    ///
    /// Errors: [`ENOMEM`]. Context: process, the state is in no message.
    pub(crate) fn restart(&mut self) -> Result {
        for queue in self.nodes.values_mut().flatten() {
            scheduler::cancel_pending::<Gpu<'_>>(queue);
            if let Some(engine) = &mut queue.engine {
                engine.restart()?;
            }
        }
        Ok(())
    }

    /// Retires all used requests of this message's queues. Returns whether the DPC is needed now,
    /// later or not at all, and whether packets of the render node ended.
    pub(super) fn reap(&mut self) -> (Dpc, bool) {
        let (mut dpc, mut is_rendered) = (Dpc::Idle, false);
        let (others, render) = self.nodes.split_render();
        for queue in others.into_iter().flatten() {
            let mut completed = false;
            loop {
                while let Some(ended) = queue.engine.as_mut().and_then(|engine| engine.pop()) {
                    match (ended, &mut *render) {
                        (Ended::Render(id, result), Some(render)) => {
                            NodeQueue::complete_render(queue, render, id, result);
                            is_rendered = true;
                        }
                        (Ended::Render(id, _) | Ended::Plain(id), _) => queue.complete(id),
                    }
                    completed = true;
                }
                if !queue.engine.as_mut().is_some_and(|engine| engine.rearm()) {
                    break;
                }
            }
            let is_starved = match &mut *render {
                Some(render) if is_rendered => render.take_starved(),
                _ => false,
            };
            dpc = dpc.max(match queue.wants_dpc(completed) || is_starved {
                true => Dpc::Queued,
                false if completed => Dpc::Marked,
                false => Dpc::Idle,
            });
        }
        (dpc, is_rendered)
    }
}

#[cfg(CONFIG_DRM_RUST_GPU_KUNIT_TEST)]
#[kunit_tests(rust_gpu_messages)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_without_a_cause_are_told() {
        let mut state = State::new();

        assert!(state.explain_interrupt(true));
        assert!(!state.explain_interrupt(false));
        // A poll was first, maybe more than once. That is the cause of one interrupt.
        state.expect_interrupt();
        state.expect_interrupt();
        assert!(state.explain_interrupt(false));
        assert!(!state.explain_interrupt(false));
        // An interrupt that finds something itself is also the one for what was polled.
        state.expect_interrupt();
        assert!(state.explain_interrupt(true));
        assert!(!state.explain_interrupt(false));
    }
}
