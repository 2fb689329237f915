// SPDX-License-Identifier: GPL-2.0

//! A [`Promise`] is room for one packet of a client on the render node, before there is one: so
//! that a submission which has begun cannot fail for lack of room, nor come after one that begins
//! when it is over. Mesa relies on that: a program tells another one of its picture when it has
//! submitted what draws it, and the other one submits what reads it.
//!
//! The submitter has the locks of reservation objects, under which nobody may wait for a fence. But
//! a place becomes free when a packet ends, which is when its fence is signalled. So the place is
//! waited for before these locks are taken.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::irq::Adapter;

use super::{
    context::{
        Attempt,
        Room, //
    },
    render::free_remains,
    timeline::Timelines,
    Client,
    Fences,
    Hardware,
    Node, //
};

/// Why there is no room for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Others have it, or the device is being reset. Try again after a
    /// [change](Fences::wait_change).
    Room,
    /// The client has as much as it may. Try again when something was
    /// [given back](Fences::wait_given_back).
    Own,
}

/// Places and bytes of a client, until they are dropped.
struct Reserved {
    client: Arc<Client>,
    fences: Arc<Fences>,
    /// Places: 1, or 0 when the packet has it.
    places: u32,
    /// The place counts among those that are promised.
    is_promised: bool,
}

impl Reserved {
    /// The place is no longer a promise.
    fn end_promise(&mut self) {
        if core::mem::take(&mut self.is_promised) {
            self.fences.end_promise(&self.client);
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.end_promise();
        if self.places != 0 {
            self.client.give_back(self.places);
            self.fences.make_room(&self.client);
        }
    }
}

/// Bytes of a client, until they are dropped.
///
/// Context: it is dropped in process context, no message lock held.
pub(crate) struct Bytes {
    client: Arc<Client>,
    fences: Arc<Fences>,
    count: usize,
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.client.give_back_bytes(self.count);
        self.fences.make_room(&self.client);
    }
}

/// Room for one packet of a client on the render node, and for what the packet has beside its
/// command. Dropping it gives both back, and wakes those who wait for room.
///
/// Context: it is dropped in process context, no message lock held.
pub(crate) struct Promise {
    reserved: Reserved,
    bytes: Option<Bytes>,
    room: Room,
    incarnation: u64,
}

impl Promise {
    /// Tries once to get room in the engine for a packet of `client` with `bytes` beside its
    /// command. [`Lack`] if there is none now, or the device is being reset. Commands of the driver
    /// may still be in the way of the packet, but what others submit after it is not.
    ///
    /// The bytes of a client are at most [`CLIENT_BYTES`](super::client::CLIENT_BYTES), unless they
    /// are all of one packet.
    ///
    /// Errors: [`EIO`] if a packet of the client made the device hang, or the device is broken;
    /// [`ENODEV`] if it is gone; [`EOPNOTSUPP`] if it has no 3D; [`ENOMEM`].
    ///
    /// Context: process; may sleep.
    #[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
    pub(crate) fn new<H: Hardware>(
        adapter: &Adapter<H>,
        client: &Arc<Client>,
        bytes: usize,
    ) -> Result<Result<Self, Lack>> {
        Self::take(adapter, client, Room::AtOnce, bytes)
    }

    /// As [`Self::new`], for a packet that may wait in the node.
    #[cfg(CONFIG_DRM_RUST_GPU_KUNIT_TEST)]
    pub(super) fn to_wait<H: Hardware>(
        adapter: &Adapter<H>,
        client: &Arc<Client>,
        bytes: usize,
    ) -> Result<Result<Self, Lack>> {
        Self::take(adapter, client, Room::ToWait, bytes)
    }

    fn take<H: Hardware>(
        adapter: &Adapter<H>,
        client: &Arc<Client>,
        room: Room,
        bytes: usize,
    ) -> Result<Result<Self, Lack>> {
        let hardware = adapter.miniport();
        let fences = hardware.fences();
        fences.check()?;
        if client.is_guilty() {
            return Err(EIO);
        }
        // Dropped outside the lock.
        let (mut memory, mut before) = (None, None);
        // Packets that have ended may have bytes.
        let mut may_free = bytes != 0;
        loop {
            let message = hardware.message_of(Node::Render);
            let answer = adapter.synchronize_execution(message, |state| {
                // Again, as the device may be given up, and connected again, since the first time.
                fences.check()?;
                let (control, queue) = H::control_and_render(state).ok_or(EOPNOTSUPP)?;
                if !queue.is_used() {
                    return Err(EOPNOTSUPP);
                }
                queue.share_open(control);
                let promised = fences.promised();
                let mut attempt = queue.promise(client, room, promised, &mut memory, &mut before);
                if attempt == Attempt::Promised && !client.reserve_packet(bytes) {
                    attempt = Attempt::Enough;
                }
                if attempt == Attempt::Promised {
                    fences.promise(client);
                }
                Ok::<_, Error>((attempt, queue.incarnation()))
            });
            match answer {
                Ok(Ok((Attempt::Promised, incarnation))) => {
                    let terms = (room, incarnation);
                    return Ok(Ok(Self::reserved(client, fences, bytes, terms)));
                }
                // Each time it is more, up to a limit.
                Ok(Ok((Attempt::NeedsMemory(count), _))) => memory = Some(Timelines::new(count)?),
                Ok(Ok((Attempt::Full | Attempt::Enough, _))) if core::mem::take(&mut may_free) => {
                    free_remains(adapter);
                }
                // Nothing is given back, which would wake this caller and others in vain.
                Ok(Ok((Attempt::Enough, _))) => return Ok(Err(Lack::Own)),
                Ok(Ok((Attempt::Full, _))) | Err(_) => return Ok(Err(Lack::Room)),
                Ok(Err(error)) => return Err(error),
            }
        }
    }

    /// Returns the promise of what is reserved.
    fn reserved(
        client: &Arc<Client>,
        fences: &Arc<Fences>,
        bytes: usize,
        (room, incarnation): (Room, u64),
    ) -> Self {
        Self {
            reserved: Reserved {
                client: client.clone(),
                fences: fences.clone(),
                places: 1,
                is_promised: true,
            },
            bytes: (bytes != 0).then(|| Bytes {
                client: client.clone(),
                fences: fences.clone(),
                count: bytes,
            }),
            room,
            incarnation,
        }
    }

    /// Takes the bytes, which the packet then has for as long as they are in memory. Those that
    /// nobody takes are given back when the packet is submitted.
    #[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
    pub(crate) fn take_bytes(&mut self) -> Option<Bytes> {
        self.bytes.take()
    }

    /// Returns what is promised, and the incarnation of the device that it is for: what was made
    /// under another one is lost.
    pub(super) fn terms(&self) -> (Room, u64) {
        (self.room, self.incarnation)
    }

    /// Returns the client.
    pub(super) fn client(&self) -> &Arc<Client> {
        &self.reserved.client
    }

    /// The packet has the place now.
    ///
    /// Context: lock of the render node's message held, in which the packet was taken.
    pub(super) fn keep(&mut self) {
        self.reserved.end_promise();
        self.reserved.places = 0;
    }
}
