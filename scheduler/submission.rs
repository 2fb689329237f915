// SPDX-License-Identifier: GPL-2.0

//! The submission thread gives pending packets to the engines, and executes those of the software
//! node.

use kernel::{
    kthread,
    sync::rcu, //
};

use crate::irq::{
    Adapter,
    Dpc, //
};

use super::{
    notify_interrupt,
    render::dispatch_render,
    report_preempted,
    submit::publish,
    Hardware,
    Interrupt,
    InterruptData,
    Node,
    NodeQueue, //
};

/// Runs the submission thread until it is stopped: dispatches packets to the engines and executes
/// those of the software node.
///
/// Context: process, a thread of its own.
pub(crate) fn submission_thread<H: Hardware>(adapter: &Adapter<H>, thread: &kthread::Context) {
    // WAIT: idle-threads
    while adapter.miniport().fences().submission_event().wait(thread) {
        run_submission(adapter);
    }
}

/// Most packets of the software node that a round of the submission thread executes. The packets
/// that wait for the engines wait for no more than these.
pub(super) const SOFTWARE_ROUND: usize = 32;

/// Runs one round of the submission thread: dispatches packets to the engines, then executes some
/// of the software node. Asks for another round if that may have more.
///
/// Context: process.
pub(super) fn run_submission<H: Hardware>(adapter: &Adapter<H>) {
    if adapter.miniport().fences().take_dropped() {
        drop_packets(adapter);
    }
    H::drain(adapter);
    for node in Node::ENGINES {
        let hardware = adapter.miniport();
        // As in `submit_with`.
        let _section = rcu::read_lock();
        let published = adapter.synchronize_execution(hardware.message_of(node), |state| {
            let queue = H::node(state, node)?;
            queue.dispatch();
            let mut busy = queue.is_busy();
            if node == Node::Control {
                busy |= dispatch_render(state);
            }
            Some((publish(state, node, Interrupt::Wanted), busy))
        });
        let Ok(Some((kick, busy))) = published else {
            continue;
        };
        if kick {
            hardware.kick(node);
        }
        if busy {
            hardware.watchdog().arm();
        }
    }
    for _ in 0..SOFTWARE_ROUND {
        if !execute_software(adapter) {
            return;
        }
    }
    adapter.miniport().fences().submission_event().signal();
}

/// Executes the oldest packet of the software node and reports it.
///
/// This is the example in the documentation of `DxgkCbSynchronizeExecution`: the submission thread
/// of a software engine reports a completed packet to the scheduler from a synchronised routine. If
/// a preemption is pending it reports that instead: the queue gave no more packets before. Returns
/// false if there was no packet.
fn execute_software<H: Hardware>(adapter: &Adapter<H>) -> bool {
    let message = adapter.miniport().message_of(Node::Software);
    let packet = adapter.synchronize_execution(message, |state| {
        H::node(state, Node::Software).and_then(NodeQueue::pop)
    });
    let Ok(Some((id, packet))) = packet else {
        return false;
    };
    // Executed here, outside the lock: a null packet has nothing to do.
    drop(packet);
    // If the device is being reset this fails. The packet is reported when that is over.
    let reported = adapter.synchronize_execution(message, |state| {
        if let Some(queue) = H::node(state, Node::Software) {
            queue.complete(id);
        }
        let data = InterruptData::DmaCompleted {
            submission_fence_id: id,
            node: Node::Software,
        };
        report_preempted(state, Node::Software) || notify_interrupt(state, &data, Dpc::Queued)
    });
    reported.unwrap_or(false)
}

/// Takes the packets of clients that are dropped.
fn drop_packets<H: Hardware>(adapter: &Adapter<H>) {
    for node in Node::ALL {
        let message = adapter.miniport().message_of(node);
        let mut from = 0;
        loop {
            let dropped = adapter.synchronize_execution(message, |state| {
                H::node(state, node)?.contexts().drop_next(from)
            });
            match dropped {
                // The packet and the client go here, outside the lock.
                Ok(Some((context, _packet, _client))) => from = context,
                Ok(None) => break,
                Err(_) => {
                    // The device is being reset: again after that.
                    adapter.miniport().fences().set_dropped();
                    return;
                }
            }
        }
    }
}
