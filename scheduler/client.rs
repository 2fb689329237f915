// SPDX-License-Identifier: GPL-2.0

//! [`Client`] is one open file: how far its packets are.

use kernel::{
    current, new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        Arc,
        Mutex, //
    },
};

use crate::scheduler::{
    blame::Guilty,
    context::Priority,
    fence::QUEUES,
    timeline::{
        FenceContexts,
        PacketFence, //
    },
    Node,
    PerNode,
    NODES, //
};

/// Most packets that a client may have submitted and that did not end.
///
/// Limits the memory that a client can hold, all of which is allocated with the device.
pub(crate) const CLIENT_LIMIT: u32 = 256;

/// Most bytes that the packets of a client may have beside their commands, in memory that the
/// device reads; more only for one packet alone.
pub(crate) const CLIENT_BYTES: usize = 16 << 20;

/// The packets of a client in one node. Written under the lock of the node's message, or while it
/// is disconnected.
struct Timeline {
    /// Last ticket given.
    submitted: Atomic<u64>,
    /// All packets up to this ticket ended.
    completed: Atomic<u64>,
    /// The tickets that the last reset ended, from and to; 0 if none did.
    lost: [Atomic<u64>; 2],
    /// Last submission id.
    id: Atomic<u64>,
    /// The number of its context, if that is still its own.
    context: Atomic<u32>,
    /// It has the lower priority.
    background: Atomic<bool>,
}

impl Timeline {
    const fn new() -> Self {
        Self {
            submitted: Atomic::new(0),
            completed: Atomic::new(0),
            lost: [const { Atomic::new(0) }; 2],
            id: Atomic::new(0),
            context: Atomic::new(u32::MAX),
            background: Atomic::new(false),
        }
    }
}

/// The submitter of packets: one open file.
#[pin_data]
pub(crate) struct Client {
    /// Packets submitted and not ended, of all nodes. The submitter raises it.
    outstanding: Atomic<u32>,
    /// Those of them that are promised, see [`Promise`](super::Promise). Raised under the lock of
    /// the render node's message.
    promised: Atomic<u32>,
    /// Bytes that they have beside their commands.
    bytes: Atomic<usize>,
    /// How often places or bytes were given back.
    given_back: Atomic<u32>,
    /// Callers that wait for that, or are about to.
    starved: Atomic<u32>,
    /// Makes the fences of packets.
    #[pin]
    fences: Mutex<FenceContexts>,
    timelines: PerNode<Timeline>,
    /// The file was closed.
    closed: Atomic<bool>,
    /// A packet of it made the device hang.
    guilty: Atomic<bool>,
    /// The task that opened the file.
    owner: Guilty,
}

impl Client {
    /// Makes a client that submitted nothing. Charges its memory to the caller's control group.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let task = current!();
        Arc::pin_init(
            pin_init!(Self {
                outstanding: Atomic::new(0),
                promised: Atomic::new(0),
                bytes: Atomic::new(0),
                given_back: Atomic::new(0),
                starved: Atomic::new(0),
                fences <- new_mutex!(FenceContexts::new(), "rust_gpu::Client"),
                timelines: PerNode::new([const { Timeline::new() }; NODES]),
                closed: Atomic::new(false),
                guilty: Atomic::new(false),
                owner: Guilty {
                    pid: task.pid(),
                    comm: task.comm(),
                },
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Makes the memory of a fence for a packet without a ring.
    ///
    /// Errors: [`ENOMEM`]. Context: process; may sleep.
    #[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
    pub(crate) fn new_fence(&self) -> Result<PacketFence> {
        self.fences.lock().new_fence(None)
    }

    /// The same for a packet on a ring.
    ///
    /// Errors: also [`EINVAL`] if `ring` is not below [`MAX_RINGS`](super::MAX_RINGS).
    #[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
    pub(crate) fn new_ring_fence(&self, ring: u8) -> Result<PacketFence> {
        self.fences.lock().new_fence(Some(ring))
    }

    /// Takes `wanted` of the client's bytes. Returns whether it could.
    fn reserve_bytes(&self, wanted: usize) -> bool {
        let mut before = self.bytes.load(Relaxed);
        loop {
            let sum = before.saturating_add(wanted);
            if before != 0 && wanted != 0 && sum > CLIENT_BYTES {
                return false;
            }
            match self.bytes.cmpxchg(before, sum, Relaxed) {
                Ok(_) => return true,
                Err(now) => before = now,
            }
        }
    }

    /// Takes a place for a packet, and its bytes. Returns false, and takes neither, if the client
    /// has no more of one of them.
    pub(super) fn reserve_packet(&self, bytes: usize) -> bool {
        if bytes != 0 && !self.reserve_bytes(bytes) {
            return false;
        }
        let has_place = self.reserve(1) != 0;
        if !has_place {
            self.give_back_bytes(bytes);
        }
        has_place
    }

    /// Gives `count` bytes back.
    pub(super) fn give_back_bytes(&self, count: usize) {
        self.bytes.fetch_sub(count, Relaxed);
        self.given_back.fetch_add(1, Full);
    }

    /// Returns how many packets are promised.
    pub(super) fn promised(&self) -> u32 {
        self.promised.load(Relaxed)
    }

    /// One packet more is promised. Returns whether it is the only one.
    pub(super) fn promise(&self) -> bool {
        self.promised.fetch_add(1, Relaxed) == 0
    }

    /// One packet less is. Returns whether none is left.
    pub(super) fn end_promise(&self) -> bool {
        self.promised.fetch_sub(1, Relaxed) == 1
    }

    /// Takes up to `wanted` of the client's places. Returns how many it took.
    pub(crate) fn reserve(&self, wanted: u32) -> u32 {
        let mut before = self.outstanding.load(Relaxed);
        loop {
            let granted = wanted.min(CLIENT_LIMIT.saturating_sub(before));
            match self.outstanding.cmpxchg(before, before + granted, Relaxed) {
                Ok(_) => return granted,
                Err(now) => before = now,
            }
        }
    }

    /// Gives `count` places back.
    pub(crate) fn give_back(&self, count: u32) {
        if count != 0 {
            self.outstanding.fetch_sub(count, Relaxed);
            // Fully ordered, as is the first step of a waiter in `starve`: either the waiter sees
            // this, or `is_starved` sees the waiter.
            self.given_back.fetch_add(1, Full);
        }
    }

    /// Returns a mark for [`Fences::wait_given_back`](super::Fences::wait_given_back).
    ///
    /// Context: any.
    pub(crate) fn given_back(&self) -> u32 {
        self.given_back.load(Acquire)
    }

    /// The caller is about to wait until something is given back. Undone by
    /// [`end_starving`](Self::end_starving).
    pub(super) fn starve(&self) {
        self.starved.fetch_add(1, Full);
    }

    pub(super) fn end_starving(&self) {
        self.starved.fetch_sub(1, Relaxed);
    }

    /// Returns whether somebody waits until something is given back.
    ///
    /// Context: any.
    pub(super) fn is_starved(&self) -> bool {
        self.starved.load(Relaxed) != 0
    }

    /// Returns the number of the queue in which those sleep that wait for that.
    pub(super) fn room_queue(&self) -> u32 {
        self.queue(0)
    }

    /// Returns whether it has submitted packets that did not end.
    ///
    /// Context: any.
    #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
    pub(crate) fn has_outstanding(&self) -> bool {
        self.outstanding.load(Relaxed) != 0
    }

    /// Returns the last ticket given in `node`.
    pub(crate) fn submitted(&self, node: Node) -> u64 {
        self.timelines[node].submitted.load(Acquire)
    }

    /// Returns the last completed ticket of `node`: all packets up to this one ended.
    pub(crate) fn completed(&self, node: Node) -> u64 {
        // Pairs with the store in `complete`.
        self.timelines[node].completed.load(Acquire)
    }

    /// Returns the last submission id that a packet got in `node`; 0 if there is none.
    pub(crate) fn id(&self, node: Node) -> u64 {
        self.timelines[node].id.load(Relaxed)
    }

    /// Returns whether the packet with `ticket` ended, or never will be executed.
    pub(super) fn has_ended(&self, node: Node, ticket: u64) -> bool {
        self.completed(node) >= ticket || self.is_guilty()
    }

    /// Returns how the packet with `ticket` [ended](Self::has_ended).
    ///
    /// Errors: [`EIO`] if it was lost and the client is guilty, else [`ECANCELED`] if it was lost.
    pub(super) fn outcome(&self, node: Node, ticket: u64) -> Result {
        let [from, to] = &self.timelines[node].lost;
        let is_lost = self.completed(node) < ticket
            || (from.load(Relaxed)..=to.load(Relaxed)).contains(&ticket);
        match (is_lost, self.is_guilty()) {
            (false, _) => Ok(()),
            (true, true) => Err(EIO),
            (true, false) => Err(ECANCELED),
        }
    }

    /// Returns whether a packet of this client made the device hang.
    ///
    /// Context: any.
    pub(crate) fn is_guilty(&self) -> bool {
        self.guilty.load(Relaxed)
    }

    /// A packet of this client made the device hang.
    pub(super) fn condemn(&self) {
        self.guilty.store(true, Relaxed);
    }

    /// Returns who opened the file.
    pub(super) fn owner(&self) -> &Guilty {
        &self.owner
    }

    /// Gives the packets of `node` the lower priority, from now on.
    ///
    /// Context: any.
    pub(crate) fn lower(&self, node: Node) {
        self.timelines[node].background.store(true, Relaxed);
    }

    /// The file is closed. What has no submission id is never executed.
    ///
    /// Context: any.
    pub(crate) fn close(&self) {
        self.closed.store(true, Relaxed);
    }

    /// Returns whether it has submitted anything.
    pub(super) fn has_submitted(&self) -> bool {
        Node::ALL.into_iter().any(|node| self.submitted(node) != 0)
    }

    /// Returns whether the file was closed.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Returns whether the packets that have no submission id are not executed any more.
    pub(super) fn is_dropped(&self) -> bool {
        self.is_closed() || self.is_guilty()
    }

    pub(super) fn priority(&self, node: Node) -> Priority {
        match self.timelines[node].background.load(Relaxed) {
            true => Priority::Background,
            false => Priority::Normal,
        }
    }

    pub(super) fn context(&self, node: Node) -> u32 {
        self.timelines[node].context.load(Relaxed)
    }

    pub(super) fn set_context(&self, node: Node, context: u32) {
        self.timelines[node].context.store(context, Relaxed);
    }

    pub(super) fn set_id(&self, node: Node, id: u64) {
        self.timelines[node].id.store(id, Relaxed);
    }

    pub(super) fn set_submitted(&self, node: Node, ticket: u64) {
        self.timelines[node].submitted.store(ticket, Release);
    }

    /// Raises the last completed ticket. Returns the queues of those that wait for the new ones,
    /// one bit each.
    pub(super) fn complete(&self, node: Node, ticket: u64) -> u32 {
        let completed = &self.timelines[node].completed;
        let before = completed.load(Relaxed);
        if ticket <= before {
            return 0;
        }
        completed.store(ticket, Release);
        let bits = match u32::try_from(ticket - before) {
            Ok(count) if count < u32::BITS => (1 << count) - 1,
            _ => u32::MAX,
        };
        bits.rotate_left(self.queue(before + 1))
    }

    /// Records that a reset ended the packet with `ticket`, which did not end before.
    pub(super) fn lose(&self, node: Node, ticket: u64) {
        let [from, to] = &self.timelines[node].lost;
        // Those before it ended earlier, or in this reset.
        if to.load(Relaxed) <= self.completed(node) {
            from.store(ticket, Relaxed);
        }
        to.store(ticket, Relaxed);
    }

    /// Returns the number of the queue in which those sleep that wait for `ticket`.
    pub(super) fn queue(&self, ticket: u64) -> u32 {
        // So that clients with few packets do not all sleep in the same one.
        let salt = core::ptr::from_ref(self).addr() / align_of_val(self) / 8;
        // CAST: below the number of queues.
        (ticket.wrapping_add(salt as u64) % QUEUES as u64) as u32
    }
}
