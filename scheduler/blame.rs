// SPDX-License-Identifier: GPL-2.0

//! [`blame`] finds the client whose packet made a device hang.
//!
//! The device takes packets in the order of the ring. What it may hang at are those behind the
//! newest one that it answered, up to the oldest one for which the clock runs. If all of these are
//! packets of one file, that file is guilty, on all nodes, until it is closed. Else nobody is; the
//! driver itself never is, nor anybody for a device that broke a ring or was reset.

use core::fmt;
use kernel::{
    num::casts::u32_as_usize,
    sync::Arc, //
};

use super::{
    client::Client,
    Engine,
    Hang,
    Hardware,
    Node,
    NodeQueue, //
};

/// The client that made a device hang, as it was when it opened its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guilty {
    /// The id of the thread.
    pub(crate) pid: i32,
    /// Its name, padded with zeroes.
    pub(crate) comm: [u8; 16],
}

impl fmt::Display for Guilty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.comm.into_iter().take_while(|byte| *byte != 0) {
            let shown = match byte {
                b' '..=b'~' => byte,
                _ => b'?',
            };
            write!(f, "{}", char::from(shown))?;
        }
        write!(f, " ({})", self.pid)
    }
}

/// Finds the guilty client of a device that hangs, and tells it so: what it waits for and what it
/// submits ends with `EIO`. Does not allocate.
///
/// `states` has the state of each message, in the order of the messages.
///
/// Context: process; the messages are disconnected, and [`force_complete`](super::force_complete())
/// follows.
pub(crate) fn blame<H: Hardware>(
    hardware: &H,
    states: &mut [H::State],
    hang: Hang,
) -> Option<Guilty> {
    let Hang::Timeout(node) = hang else {
        return None;
    };
    let state = states.get_mut(u32_as_usize(hardware.message_of(node)))?;
    // Both nodes of a ring, or that of the other one.
    let (queue, other) = match node {
        Node::Control | Node::Render => {
            let (control, render) = H::control_and_render(state)?;
            (control, Some(render))
        }
        _ => (H::node(state, node)?, None),
    };
    let (client, suspects) = guilty(queue, other.as_deref())?;
    client.condemn();
    let owner = *client.owner();
    queue.set_suspects(suspects);
    if let Some(other) = other {
        other.set_suspects(suspects);
    }
    hardware.fences().set_dropped();
    Some(owner)
}

/// Returns the client of all packets at which the engine of `queue` may hang, with their positions,
/// from and to. The engine may have packets of an `other` node too.
fn guilty<'a, E: Engine>(
    queue: &'a NodeQueue<E>,
    other: Option<&'a NodeQueue<E>>,
) -> Option<(&'a Arc<Client>, (u64, u64))> {
    let queues = || Iterator::chain(Some(queue).into_iter(), other);
    let in_engine = || queues().flat_map(|queue| queue.in_engine());
    let bounded = in_engine().filter(|given| !given.open);
    let last = bounded.map(|given| given.position).min()?;
    let answered = queues().map(|queue| queue.answered()).max()?;
    // If others overtook it, it is the only one.
    let first = last.min(answered + 1);
    let mut suspects = in_engine()
        .filter(|given| (first..=last).contains(&given.position))
        .map(|given| given.client);
    let client = suspects.next()??;
    let is_its =
        |other: Option<&Arc<Client>>| other.is_some_and(|other| Arc::ptr_eq(other, client));
    suspects.all(is_its).then_some((client, (first, last)))
}
