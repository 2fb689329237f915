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
    let client = H::node(state, node)?.guilty()?;
    client.condemn();
    hardware.fences().set_dropped();
    Some(*client.owner())
}

impl<E: Engine> NodeQueue<E> {
    /// Returns the client of all packets at which the engine may hang.
    fn guilty(&self) -> Option<&Arc<Client>> {
        let oldest = self.in_engine().filter(|given| !given.open);
        let last = oldest.map(|given| given.position).min()?;
        // If others overtook it, it is the only one.
        let first = last.min(self.answered() + 1);
        let mut suspects = self
            .in_engine()
            .filter(|given| (first..=last).contains(&given.position))
            .map(|given| given.context);
        let context = suspects.next()?;
        match suspects.all(|other| other == context) {
            true => self.client(context?),
            false => None,
        }
    }
}
