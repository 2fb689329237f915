// SPDX-License-Identifier: GPL-2.0

//! [`submit`] and its like give packets of the driver, and null packets, to the nodes.

use kernel::sync::{
    rcu,
    Arc, //
};

use crate::irq::{
    Adapter,
    Status,
    Synchronized, //
};

use super::{
    engines::{
        Engine,
        Interrupt, //
    },
    queue::Published,
    Client,
    Fifo,
    Hardware,
    Node,
    NodeQueue, //
};

/// Submits `count` null packets of `client` to `node`, all in one critical section.
///
/// Returns how many it took, none if the client's context has no places, and the ticket of the last
/// one. The caller has reserved `count` places of `client` and gives back those of packets that
/// were not taken.
///
/// Errors: [`Status::Unsuccessful`] if the device is stopped.
///
/// Context: process.
#[doc(alias = "DxgkDdiSubmitCommand")]
pub(crate) fn submit_null<H: Hardware>(
    adapter: &Adapter<H>,
    node: Node,
    count: u32,
    client: &Arc<Client>,
) -> Result<(u32, u64), Status> {
    // Dropped outside the lock.
    let mut before = None;
    submit_with(adapter, node, Interrupt::Wanted, |queue| {
        let make = || H::null_packet(node);
        let taken = queue.submit_clients(client, count, make, &mut before);
        (taken, client.submitted(node))
    })
}

/// Submits one packet of the driver to `node`, or hands it back if there is no place.
///
/// Errors and context: as [`submit_null`].
#[doc(alias = "DxgkDdiSubmitCommand")]
pub(crate) fn submit<H: Hardware>(
    adapter: &Adapter<H>,
    node: Node,
    packet: <H::Engine as Engine>::Packet,
) -> Result<Result<(), <H::Engine as Engine>::Packet>, Status> {
    submit_unless(adapter, node, packet, || false)
}

/// As [`submit`], but drops the packet if `is_lost`: a reset has lost what it is about.
///
/// `is_lost` is asked in the critical section that takes the packet. A reset waits for that section
/// or comes before it, so what it looks at must change while the messages are disconnected.
///
/// Errors: also [`Status::Unsuccessful`] if that is so.
pub(crate) fn submit_unless<H: Hardware>(
    adapter: &Adapter<H>,
    node: Node,
    packet: <H::Engine as Engine>::Packet,
    is_lost: impl FnOnce() -> bool,
) -> Result<Result<(), <H::Engine as Engine>::Packet>, Status> {
    // What is left of it is dropped outside the lock: there is no queue while the device is reset.
    let mut packet = Some(packet);
    submit_with(adapter, node, Interrupt::Wanted, |queue| {
        take_unless(queue, &mut packet, is_lost)
    })?
}

/// Moves `packet` into `queue`, unless `is_lost`. Hands it back if there is no place.
///
/// Errors: as [`submit_unless`]. Context: synchronised routine of the queue's message.
pub(super) fn take_unless<E: Engine>(
    queue: &mut NodeQueue<E>,
    packet: &mut Option<E::Packet>,
    is_lost: impl FnOnce() -> bool,
) -> Result<Result<(), E::Packet>, Status> {
    match is_lost() {
        true => Err(Status::Unsuccessful),
        false => Ok(packet.take().map_or(Ok(()), |it| queue.submit_kernel(it))),
    }
}

/// Submits the packets of `batch`, the driver's, to `node` in their order, all in one critical
/// section and with one kick. Leaves in `batch` what did not fit.
///
/// With [`Interrupt::Suppressed`] the engine does not interrupt when it is done, provided that it
/// was idle and no packet waits for room. The caller polls it, with
/// [`report_vsync`](super::report_vsync) or
/// [`query_current_fence`](super::query_current_fence).
///
/// Errors and context: as [`submit_null`].
#[doc(alias = "DxgkDdiSubmitCommand")]
pub(crate) fn submit_batch<H: Hardware>(
    adapter: &Adapter<H>,
    node: Node,
    batch: &mut Fifo<<H::Engine as Engine>::Packet>,
    interrupt: Interrupt,
) -> Result<(), Status> {
    submit_batch_unless(adapter, node, batch, interrupt, || false)
}

/// As [`submit_batch`], but takes none if `is_lost`, see [`submit_unless`].
pub(crate) fn submit_batch_unless<H: Hardware>(
    adapter: &Adapter<H>,
    node: Node,
    batch: &mut Fifo<<H::Engine as Engine>::Packet>,
    interrupt: Interrupt,
    is_lost: impl FnOnce() -> bool,
) -> Result<(), Status> {
    submit_with(adapter, node, interrupt, |queue| {
        if is_lost() {
            return Err(Status::Unsuccessful);
        }
        while let Some(packet) = batch.pop() {
            if let Err(packet) = queue.submit_kernel(packet) {
                // Cannot fail: its place was made free just now.
                let _ = batch.unpop(packet);
                break;
            }
        }
        Ok(())
    })?
}

/// Publishes the packets that the engine of `node` took. Returns whether to kick the device.
///
/// Context: synchronised routine of the node's message.
pub(super) fn publish<H: Hardware>(
    state: &mut Synchronized<'_, H>,
    node: Node,
    interrupt: Interrupt,
) -> bool {
    let published = H::node(state, node).map(|queue| queue.publish(interrupt));
    let Some(Published { kick, poll }) = published else {
        return false;
    };
    if poll {
        // After publishing, as polling enables interrupts: for what was published, too.
        H::poll(state);
    }
    kick
}

/// Runs `f` on the queue of `node`, then kicks the device and wakes the submission thread as
/// needed. For `interrupt` see [`submit_batch`].
fn submit_with<H: Hardware, R>(
    adapter: &Adapter<H>,
    node: Node,
    interrupt: Interrupt,
    f: impl FnOnce(&mut NodeQueue<H::Engine>) -> R,
) -> Result<R, Status> {
    let hardware = adapter.miniport();
    // Stop waits for this section, as the device must not be kicked after it.
    let section = rcu::read_lock();
    let (result, kick, waiting) =
        adapter.synchronize_execution(hardware.message_of(node), |state| {
            let queue = H::node(state, node).ok_or(Status::Unsuccessful)?;
            let (result, waiting) = (f(queue), queue.is_waiting());
            Ok((result, publish(state, node, interrupt), waiting))
        })??;
    // Outside the lock: the write exits to the hypervisor.
    if kick {
        hardware.kick(node);
    }
    drop(section);
    if node != Node::Software {
        hardware.watchdog().arm();
    }
    if waiting {
        hardware.fences().submission_event().signal();
    }
    Ok(result)
}
