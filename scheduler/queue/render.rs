// SPDX-License-Identifier: GPL-2.0

//! The render node has no engine: it uses that of the control node, and the ring behind it.
//!
//! The control node has it, and [lends](NodeQueue::with_render) it for as long as packets of the
//! render node are handed out, under the lock of the message in which both nodes live. So the
//! control node does not notice, and its packets go first. What clients have in the engine is one
//! bound for both, and so is what they may have open there.
//!
//! A packet is handed out only if the engine takes it: none is staged. So one that has an id is in
//! the ring, before all that comes there later.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::scheduler::{
    client::Client,
    context::{
        Attempt,
        Room,
        Taken, //
    },
    timeline::{
        PacketFence,
        Timelines,
        FENCE_GONE,
        NO_FENCE,
        OPEN_WITHOUT_FENCE, //
    },
    Node,
    Submitted, //
};

use super::{
    Engine,
    HandedOut,
    NodeQueue, //
};

impl<E: Engine> NodeQueue<E> {
    /// Makes the queue of the render node, which uses the engine of `control`. It takes no packets,
    /// and takes nearly no memory, unless it `is_used`.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn new_render(control: &Self, is_used: bool) -> Result<Self> {
        let share = match is_used {
            true => control.ring_share,
            false => 0,
        };
        Self::with_share(Node::Render, None, 0, share)
    }

    /// Returns whether the node takes packets.
    pub(crate) fn is_used(&self) -> bool {
        self.ring_share != 0
    }

    /// Runs `f` on the queue of the render node, which has the engine meanwhile.
    pub(in crate::scheduler) fn with_render<R>(
        control: &mut Self,
        render: &mut Self,
        f: impl FnOnce(&mut Self) -> R,
    ) -> R {
        render.engine = control.engine.take();
        if let Some(engine) = &mut render.engine {
            engine.set_node(Node::Render);
        }
        render.dispatched = control.dispatched;
        // The packets of the driver come first.
        render.share = match control.kernel.is_empty() {
            true => {
                let others = control.handed_out.len() - control.staged.len();
                control.ring_share.saturating_sub(others)
            }
            false => 0,
        };
        render.share_open(control);
        let result = f(render);
        control.dispatched = render.dispatched;
        if let Some(engine) = &mut render.engine {
            engine.set_node(Node::Control);
        }
        control.engine = render.engine.take();
        control.make_room_beside(render);
        result
    }

    /// Leaves what the packets of the render node have of the engine, and looks after those that
    /// wait.
    fn make_room_beside(&mut self, render: &Self) {
        self.other_waits = render.is_waiting();
        self.share = self.ring_share.saturating_sub(render.handed_out.len());
        let open = render.contexts.open();
        self.contexts.set_max_open(self.ring_share, open);
    }

    /// Records that a packet of the render node ended with `result`, in any order.
    ///
    /// Context: lock of the message held.
    pub(crate) fn complete_render(control: &mut Self, render: &mut Self, id: u64, result: Result) {
        render.complete_with(id, result);
        // For the clock, which looks at the engine.
        control.completions = control.completions.wrapping_add(1);
        control.stalled = false;
        control.make_room_beside(render);
    }

    /// The packets of the node may be open as far as `control` leaves that.
    pub(in crate::scheduler) fn share_open(&mut self, control: &Self) {
        let open = control.contexts.open();
        self.contexts.set_max_open(control.ring_share, open);
    }

    /// Returns whether `client` may be promised `room` for one packet. For `promised` and `memory`
    /// see [`Contexts::promise`]; the context may have been another client's, which is left in
    /// `before`.
    ///
    /// [`Contexts::promise`]: crate::scheduler::context::Contexts::promise
    pub(in crate::scheduler) fn promise(
        &mut self,
        client: &Arc<Client>,
        room: Room,
        promised: (usize, usize),
        memory: &mut Option<KBox<Timelines>>,
        before: &mut Option<Arc<Client>>,
    ) -> Attempt {
        match self.contexts.enter(client, before) {
            Some(number) => self
                .contexts
                .promise(number, client, room, promised, memory),
            None => Attempt::Full,
        }
    }

    /// Returns how often all packets were lost.
    pub(in crate::scheduler) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Takes a packet of `client` for which `room` was promised, in `incarnation`, and gives it a
    /// ticket and its `fence` a number. It is open if it has a fence.
    ///
    /// Errors: [`EIO`] if all packets were lost since the promise. It takes neither then.
    pub(in crate::scheduler) fn submit_promised(
        &mut self,
        client: &Arc<Client>,
        (room, incarnation): (Room, u64),
        packet: &mut Option<E::Packet>,
        fence: &mut Option<PacketFence>,
    ) -> Result<Submitted> {
        let node = self.contexts.node();
        // It is there, with a place and an entry for a fence, since the promise.
        let context = self.contexts.own(client).ok_or(EIO)?;
        if incarnation != self.incarnation {
            return Err(EIO);
        }
        let (entry, shared) = match self.contexts.arm(context, fence) {
            Some((entry, shared)) => (entry, Some(shared)),
            None => (NO_FENCE, None),
        };
        let packet = packet.take().ok_or(EINVAL)?;
        let ticket = client.submitted(node) + 1;
        client.set_submitted(node, ticket);
        let taken = Taken {
            context,
            ticket,
            open: shared.is_some(),
            fence: entry,
            packet,
        };
        // Room for an open one may have been promised.
        let is_open = taken.open && room == Room::ToWait;
        let refused = match self.contexts.is_next(context, is_open) {
            true => self.hand_out_open(taken).err(),
            false => Some(taken),
        };
        if let Some(taken) = refused {
            // Cannot fail: there is a place.
            let _ = self.contexts.push(taken);
            self.dispatch_render();
        }
        Ok(Submitted {
            fence: shared,
            ticket,
        })
    }

    /// Takes what is left of packets that have ended, see [`Engine::take_remains`].
    pub(in crate::scheduler) fn take_remains(&mut self) -> Option<E::Remains> {
        self.engine.as_mut().map(|engine| engine.take_remains())
    }

    /// Hands packets out while the engine takes them.
    pub(in crate::scheduler) fn dispatch_render(&mut self) {
        while self.handed_out.len() < self.share {
            let Some(engine) = &self.engine else {
                return;
            };
            // The one that has its turn keeps that until there is room for it.
            let Some(taken) = self.contexts.next_if(|packet| engine.has_room_for(packet)) else {
                return;
            };
            if let Err(taken) = self.hand_out_open(taken) {
                // Cannot happen: there was room. Its place was made free just now.
                let _ = self.contexts.push_front(taken);
                return;
            }
        }
    }

    /// Gives a packet its submission id and to the engine, or hands it back if there is no room.
    fn hand_out_open(&mut self, taken: Taken<E::Packet>) -> Result<(), Taken<E::Packet>> {
        let Taken {
            context,
            ticket,
            open,
            fence,
            packet,
        } = taken;
        let id = self.submitted + 1;
        let refused = match &mut self.engine {
            Some(engine) if self.handed_out.len() < self.share => engine.submit(packet, id).err(),
            _ => Some(packet),
        };
        if let Some(packet) = refused {
            return Err(Taken {
                context,
                ticket,
                open,
                fence,
                packet,
            });
        }
        self.submitted = id;
        self.dispatched += 1;
        self.contexts.handed_out(context, id, open);
        if fence != NO_FENCE {
            self.contexts.open_fence(context, fence);
        }
        self.open += u64::from(open);
        // Cannot fail: it has as many places as the largest share.
        let _ = self.handed_out.push(HandedOut {
            id,
            ticket,
            context,
            open,
            fence,
            position: self.dispatched,
        });
        Ok(())
    }

    /// Cancels a fence, or takes a packet that has no id: nothing of what was submitted until now
    /// counts any more. What the engine has ends later. Returns false if there is nothing left.
    ///
    /// What is left in `packet` is dropped without the lock.
    pub(in crate::scheduler) fn cancel_render(&mut self, packet: &mut Option<E::Packet>) -> bool {
        for at in 0..self.handed_out.len() {
            let Some(lost) = self.handed_out.get_mut(at) else {
                break;
            };
            if !matches!(lost.fence, NO_FENCE | FENCE_GONE | OPEN_WITHOUT_FENCE) {
                let fence = core::mem::replace(&mut lost.fence, FENCE_GONE);
                let context = lost.context;
                self.contexts.cancel_fence(context, fence);
                return true;
            }
        }
        *packet = self.contexts.cancel_next();
        packet.is_some()
    }

    /// Cancels the fences of what the engine has of `client`, whose packets stay there. Lets the
    /// clock run for what closed files have left there if that is more than a quarter of the share.
    pub(in crate::scheduler) fn disown(&mut self, client: &Arc<Client>) {
        let own = self.contexts.own(client);
        let mut left = 0;
        for at in 0..self.handed_out.len() {
            let Some(packet) = self.handed_out.get_mut(at).filter(|packet| packet.open) else {
                continue;
            };
            let owner = self.contexts.client(packet.context);
            left += usize::from(owner.is_some_and(|owner| owner.is_closed()));
            if own == Some(packet.context) {
                packet.fence = self.contexts.disown_fence(packet.context, packet.fence);
            }
        }
        if left > self.ring_share / 4 {
            self.end_open();
        }
    }

    /// Lets the clock run for what files that are closed have left in the engine.
    fn end_open(&mut self) {
        for at in 0..self.handed_out.len() {
            let Some(packet) = self.handed_out.get_mut(at).filter(|packet| packet.open) else {
                continue;
            };
            let owner = self.contexts.client(packet.context);
            if owner.is_some_and(|owner| owner.is_closed()) {
                packet.open = false;
                self.open -= 1;
            }
        }
    }

    /// What is submitted for a promise of before is refused.
    pub(in crate::scheduler) fn end_incarnation(&mut self) {
        self.incarnation += 1;
    }
}
