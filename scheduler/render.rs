// SPDX-License-Identifier: GPL-2.0

//! [`submit_promised`] gives a packet of 3D, with a fence, to the render node.

use kernel::{
    dma_buf::Fence,
    prelude::*,
    sync::{
        aref::ARef,
        rcu,
        Arc, //
    },
};

#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
use crate::irq::Status;
use crate::irq::{
    Adapter,
    Synchronized, //
};

#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
use super::submit::take_unless;
use super::{
    engines::{
        Engine,
        Interrupt, //
    },
    submit::publish,
    Client,
    Hardware,
    Node,
    NodeQueue,
    PacketFence,
    Promise, //
};

/// A packet that was taken.
#[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
pub(crate) struct Submitted {
    /// What others may have of its fence, if it has one.
    pub(crate) fence: Option<ARef<Fence>>,
    /// Its ticket on the render node.
    #[allow(dead_code, reason = "nobody waits by it so far")]
    pub(crate) ticket: u64,
}

/// A packet that was not taken. Its fence never got a number. Drop it without a lock that
/// dropping what the packet has may take.
#[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
pub(crate) struct Refused<P> {
    /// The reason.
    pub(crate) error: Error,
    /// The packet.
    pub(crate) packet: Option<P>,
}

/// Submits a packet for which there is a promise. With a `fence` the device answers when its GPU
/// has done the work, and no clock runs for that; else it answers at once.
///
/// It also frees the memory of packets that have ended, which nobody else is in a hurry to do.
///
/// The number of the fence and the place of the packet are given in one critical section. So the
/// packets of a timeline are executed in the order of the numbers.
///
/// How the fence ends: well; with [`ENODATA`] if the device refused the packet; with [`ETIME`] if
/// the client is guilty of a hang and this packet may be the reason; with [`ECANCELED`] if the
/// packet was lost, or its file was closed and the device did not answer before the end of that.
///
/// Errors: [`ENODEV`], [`EIO`] if the device is gone or broken; [`EIO`] too if a packet of the
/// client made it hang, while it is stopped, and if it was reset since the promise.
///
/// Context: process, no message lock held. Reservation locks may be held: it does not sleep.
#[doc(alias = "DxgkDdiSubmitCommand")]
#[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
pub(crate) fn submit_promised<H: Hardware>(
    adapter: &Adapter<H>,
    mut promise: Promise,
    mut packet: <H::Engine as Engine>::Packet,
    fence: Option<PacketFence>,
) -> Result<Submitted, Refused<<H::Engine as Engine>::Packet>> {
    let hardware = adapter.miniport();
    if fence.is_some() {
        H::Engine::set_fenced(&mut packet);
    }
    // Whatever is left of these is dropped outside the lock.
    let (mut packet, mut fence, mut remains) = (Some(packet), fence, None);
    // Stop waits for this section, as the device must not be kicked after it.
    let section = rcu::read_lock();
    let answer = adapter.synchronize_execution(hardware.message_of(Node::Render), |state| {
        // Here, as a device that is given up is connected again after it.
        hardware.fences().check()?;
        if promise.client().is_guilty() {
            return Err(EIO);
        }
        let promised = promise.terms();
        let (control, render) = H::control_and_render(state).ok_or(EIO)?;
        let submitted = NodeQueue::with_render(control, render, |queue| {
            remains = queue.take_remains();
            queue.submit_promised(promise.client(), promised, &mut packet, &mut fence)
        })?;
        promise.keep();
        Ok((submitted, publish(state, Node::Control, Interrupt::Wanted)))
    });
    let error = match answer {
        Ok(Ok((submitted, kick))) => {
            // Outside the lock: the write exits to the hypervisor.
            if kick {
                hardware.kick(Node::Control);
            }
            drop(section);
            hardware.watchdog().arm();
            return Ok(submitted);
        }
        Ok(Err(error)) => error,
        Err(_) => EIO,
    };
    drop(section);
    Err(Refused { error, packet })
}

/// Submits one packet of the driver to `node`, as [`submit_unless`](super::submit_unless) does, for
/// the [drain](Hardware::drain) of a round of the submission thread. The device is told at the end
/// of the round, of all that was submitted in it.
///
/// Errors: [`Status::Unsuccessful`] if the device is stopped, or the packet is about something that
/// `is_lost`.
///
/// Context: process (the submission thread).
#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
pub(crate) fn submit_in_round<H: Hardware>(
    adapter: &Adapter<H>,
    node: Node,
    packet: <H::Engine as Engine>::Packet,
    is_lost: impl FnOnce() -> bool,
) -> Result<Result<(), <H::Engine as Engine>::Packet>, Status> {
    // As in `submit_unless`.
    let mut packet = Some(packet);
    adapter.synchronize_execution(adapter.miniport().message_of(node), |state| {
        let queue = H::node(state, node).ok_or(Status::Unsuccessful)?;
        take_unless(queue, &mut packet, is_lost)
    })?
}

/// Frees what is left of packets that have ended.
///
/// Context: process, no message lock held.
pub(super) fn free_remains<H: Hardware>(adapter: &Adapter<H>) {
    let message = adapter.miniport().message_of(Node::Render);
    let remains = adapter.synchronize_execution(message, |state| {
        let (control, render) = H::control_and_render(state)?;
        NodeQueue::with_render(control, render, |queue| queue.take_remains())
    });
    // Outside the lock.
    drop(remains);
}

/// Ends all fences of packets that were submitted until now with [`ECANCELED`], and all packets
/// that wait. What the device has ends when it answers, or is reset. What was made for packets to
/// come counts as lost: see [`Promise`].
///
/// Nobody has to wait for a device that is about to be stopped.
///
/// Context: process, no lock held.
pub(crate) fn cancel_render<H: Hardware>(adapter: &Adapter<H>) {
    let message = adapter.miniport().message_of(Node::Render);
    let mut begins = true;
    loop {
        // Dropped outside the lock.
        let mut packet = None;
        let goes_on = adapter.synchronize_execution(message, |state| {
            let queue = H::node(state, Node::Render)?;
            if core::mem::take(&mut begins) {
                queue.end_incarnation();
            }
            Some(queue.cancel_render(&mut packet))
        });
        if !matches!(goes_on, Ok(Some(true))) {
            break;
        }
    }
}

/// Hands out packets of the render node that wait. Returns whether the engine has any.
///
/// Context: synchronised routine of the node's message, after the control node had its turn.
pub(super) fn dispatch_render<H: Hardware>(state: &mut Synchronized<'_, H>) -> bool {
    let Some((control, render)) = H::control_and_render(state) else {
        return false;
    };
    if render.is_waiting() {
        NodeQueue::with_render(control, render, |queue| queue.dispatch_render());
    }
    render.in_flight() != 0
}

/// Ends the fences of what the device has of a `client` whose context it has destroyed, with
/// [`ECANCELED`]: nobody waits for a device that may never answer that. What it has stays until
/// then. If closed files have left more there than others can spare, the clock runs for that.
///
/// Context: process, no lock held, after the device has answered the command.
#[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
pub(crate) fn disown<H: Hardware>(adapter: &Adapter<H>, client: &Arc<Client>) {
    let hardware = adapter.miniport();
    // If it is stopped there is nothing.
    let _ = adapter.synchronize_execution(hardware.message_of(Node::Render), |state| {
        if let Some(queue) = H::node(state, Node::Render) {
            queue.disown(client);
        }
    });
    hardware.watchdog().arm();
}
