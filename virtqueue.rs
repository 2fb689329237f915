// SPDX-License-Identifier: GPL-2.0

//! [`Virtqueue`] carries packets to the device: it is the engine of the control node or of the
//! cursor node. Documentation/gpu/rust_gpu.rst explains the words: message, node, packet, DPC,
//! notify and fence id.
//!
//! A [`Virtqueue`] lives in the lock of its interrupt message. Nothing is freed there: requests
//! that the device has used go to a list ([`Retired`]), and the DPC takes the list out of the lock.
//! The list holds as many requests as the ring. While it is full, used elements stay in the ring.

use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*,
    sync::Arc, //
};

use crate::{
    command::{
        GetDisplayInfo,
        Header,
        MoveCursor,
        UpdateCursor,
        NO_RESOURCE, //
    },
    ring::{
        self,
        Broken,
        Config,
        PushError,
        Ring,
        Segment,
        Slot, //
    },
    scheduler::{
        client_share,
        Engine,
        Fifo,
        Interrupt,
        Node, //
    },
    transport::{
        feature,
        Features,
        QueueAddresses, //
    },
};

mod buffer;
mod dedicated;
mod dma;
mod free_map;
mod log;
mod packet;
mod panic;
mod payload;
mod render;

#[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(unused_imports))]
pub(crate) use self::{
    buffer::fits_slot,
    payload::UserData,
    render::{
        EndedPackets,
        Tail, //
    },
};
pub(crate) use self::{
    buffer::{
        CommandBuffer,
        CommandPool, //
    },
    dedicated::DedicatedBuffer,
    dma::DmaContext,
    packet::{
        Batch,
        Completion,
        OwnStep,
        Packet,
        Reply,
        Retired, //
    },
};
use self::{
    dma::DmaMemory,
    log::CommandLog,
    packet::succeeded, //
};

/// Segments of most requests: the command and the room for its response.
const SEGMENTS: u16 = 2;

/// Slots for commands that even a smaller queue has: those that its submitter needs at once, twice.
const MIN_SLOTS: u16 = 8;

/// The most pieces of data that follow a command. A list of the pages of a framebuffer of 3840x2160
/// is in no more, even if no two pages of either are adjacent.
const MAX_PIECES: u16 = 32;

/// The most retired requests for which nobody waits. The DPC looks after more.
const MOST_RETIRED: usize = 16;

/// A request in the ring.
struct Request {
    buffer: CommandBuffer,
    completion: Completion,
    fence: u64,
    /// In the log.
    number: u32,
}

/// A packet that ended, by its submission id.
pub(crate) enum Ended {
    /// One of the node that has the virtqueue.
    Plain(u64),
    /// One of the render node, and whether the device did what it says.
    Render(u64, Result),
}

impl ring::Request for Request {
    fn readable(&self) -> impl AsRef<[Segment]> {
        self.buffer.readable()
    }

    fn writable(&self) -> impl AsRef<[Segment]> {
        self.buffer.writable()
    }
}

/// The state of a ring, for debugfs.
pub(crate) struct RingInfo {
    pub(crate) size: u16,
    pub(crate) avail_idx: u16,
    pub(crate) last_used: u16,
    pub(crate) free: u16,
    pub(crate) in_flight: u16,
    pub(crate) free_slots: u32,
    pub(crate) broken: Option<Broken>,
}

/// A virtqueue and the memory of its commands. Lives in the lock of its interrupt message.
pub(crate) struct Virtqueue {
    ring: Ring<DmaMemory, Request, KVec<Slot<Request>>>,
    /// The descriptors of a request without data that follows the command.
    descriptors: u16,
    /// The most pieces of such data.
    max_pieces: u16,
    pool: CommandPool,
    /// The memory of null packets in the ring. It is not that of commands, which may be taken by
    /// commands that wait behind a null packet.
    null_pool: CommandPool,
    /// The memory of the commands of panic screens that are not in the ring.
    panic_reserve: KVec<CommandBuffer>,
    /// Requests that the device has used, for the DPC.
    retired: Fifo<Retired>,
    /// The DPC was asked for because of one of them.
    is_urgent: bool,
    /// The empty list that replaces `retired` when the DPC takes that; [`None`] until the DPC gives
    /// the other back.
    empty_list: Option<Fifo<Retired>>,
    /// The request that the ring refused, which broke the ring. Kept until a reset.
    rejected: Option<Request>,
    /// The DPC was asked for because the ring is broken.
    break_told: bool,
    log: CommandLog,
    /// The last fence id that a command of the render node got.
    last_fence_id: u32,
    /// Fenced commands of the render node that the device has.
    fenced: u16,
    /// Packets of the render node that the device has used, for the DPC.
    ended: EndedPackets,
    /// The device has 3D. It answers what is fenced after the work of its GPU then.
    has_render: bool,
}

impl Virtqueue {
    /// Makes an empty queue of `size` descriptors.
    ///
    /// Errors: [`ENOMEM`], [`EINVAL`] if no ring can have that size. Context: process.
    pub(crate) fn new(
        dev: &device::Device<Bound>,
        dma: &Arc<DmaContext>,
        size: u16,
        features: &Features,
    ) -> Result<Self> {
        let indirect = features.has(feature::RING_INDIRECT_DESC);
        // Without indirect tables half of the ring may be reserved for panic screens.
        let longest = match indirect {
            true => size,
            false => size / 2,
        };
        let max_pieces = longest.saturating_sub(SEGMENTS).min(MAX_PIECES);
        let config = Config {
            size,
            max_segments: SEGMENTS + max_pieces,
            indirect,
            event_idx: features.has(feature::RING_EVENT_IDX),
        };
        let layout = config.layout().map_err(|_| EINVAL)?;
        let memory = DmaMemory::new(dev, dma, layout.total, GFP_KERNEL)?;
        let mut slots = KVec::with_capacity(size.into(), GFP_KERNEL)?;
        for _ in 0..size {
            slots
                .push_within_capacity(Slot::EMPTY)
                .map_err(|_| ENOMEM)?;
        }
        Ok(Self {
            ring: Ring::new(memory, slots, config).map_err(|_| EINVAL)?,
            descriptors: if indirect { 1 } else { SEGMENTS },
            max_pieces,
            panic_reserve: KVec::new(),
            pool: CommandPool::new(dev, dma, size.max(MIN_SLOTS))?,
            // One is for the driver. CAST: no more than `size`.
            null_pool: CommandPool::new(dev, dma, client_share(size.into()) as u16 + 1)?,
            retired: Fifo::new(size.into())?,
            is_urgent: false,
            empty_list: Some(Fifo::new(size.into())?),
            rejected: None,
            break_told: false,
            log: CommandLog::new()?,
            last_fence_id: 0,
            fenced: 0,
            ended: EndedPackets::new(),
            has_render: features.has(feature::VIRGL),
        })
    }

    /// Empties the queue, so that it is as [`Virtqueue::new`] made it. Call it after the device was
    /// reset. Requests in the queue are lost.
    ///
    /// Errors: [`ENOMEM`]. Context: process, no message lock held.
    pub(crate) fn restart(&mut self) -> Result {
        while let Some(request) = self.ring.take_in_flight() {
            if let Completion::Panic = request.completion {
                self.reserve_for_panic(request.buffer);
            }
        }
        while let Some(retired) = self.retired.pop() {
            if let Completion::Reply(reply) = retired.completion {
                reply.set(retired.command);
            }
        }
        self.is_urgent = false;
        drop(self.take_ended());
        self.fenced = 0;
        self.rejected = None;
        self.break_told = false;
        if self.empty_list.is_none() {
            // The DPC could not give it back.
            self.empty_list = Some(Fifo::new(self.ring.size().into())?);
        }
        self.ring.restart();
        self.log.restart();
        Ok(())
    }

    /// Returns the number of descriptors.
    pub(crate) fn size(&self) -> u16 {
        self.ring.size()
    }

    /// Returns the pool with the memory of its commands.
    pub(crate) fn pool(&self) -> CommandPool {
        self.pool.clone()
    }

    /// Returns in how many pieces data may follow a command.
    pub(crate) fn max_pieces(&self) -> u16 {
        self.max_pieces
    }

    /// Returns the device addresses of the parts of the queue.
    pub(crate) fn addresses(&self) -> QueueAddresses {
        QueueAddresses {
            descriptor: self.ring.descriptor_address(),
            driver: self.ring.available_address(),
            device: self.ring.used_address(),
        }
    }

    /// Takes one used element, and returns which packet ended.
    ///
    /// [`None`] if there is none, the list of retired requests is full, or the ring is broken.
    ///
    /// Context: lock of the message held.
    pub(crate) fn pop(&mut self) -> Option<Ended> {
        if self.retired.is_full() {
            return None;
        }
        let used = self.pop_used()?;
        let Request {
            buffer,
            completion,
            fence,
            number,
        } = used.request;
        self.log.end(number, &buffer, used.written);
        let completion = match completion {
            Completion::Render(tail) => {
                return Some(self.end_render(tail, buffer, used.written, fence));
            }
            completion => completion,
        };
        // Null packets and commands that succeeded are in slots. The slot is free from here on.
        let is_null = matches!(completion, Completion::Null);
        let executed = matches!(buffer, CommandBuffer::Slot(_))
            && (is_null || succeeded(&buffer, used.written).is_ok());
        let command = match executed {
            true => {
                drop(buffer);
                None
            }
            false => Some((buffer, used.written)),
        };
        let (wants_dpc, completion) = match completion {
            Completion::None | Completion::Null | Completion::Own(OwnStep::Attached, _)
                if executed =>
            {
                (false, Completion::None)
            }
            Completion::Batch(pending) if executed => (pending.complete(), Completion::None),
            completion => (true, completion),
        };
        // What was done for an object of the 3D side is known soon enough.
        let wants_soon = wants_dpc && !(executed && matches!(completion, Completion::Own(..)));
        let is_urgent = wants_soon || self.pool.take_wanted();
        if wants_dpc || is_urgent {
            self.is_urgent |= is_urgent;
            // Cannot fail: the list was not full.
            let _ = self.retired.push(Retired {
                completion,
                command,
            });
        }
        Some(Ended::Plain(fence))
    }

    /// Asks the device for an interrupt at the next used element. Returns true if there are used
    /// elements already: pop them, and call this again.
    pub(crate) fn rearm(&mut self) -> bool {
        !self.retired.is_full() && self.ring.enable_interrupts()
    }

    /// Takes the list of retired requests; [`None`] if it is empty, or if the DPC has the other
    /// list.
    pub(crate) fn take_retired(&mut self) -> Option<Fifo<Retired>> {
        if self.retired.is_empty() {
            return None;
        }
        let empty = self.empty_list.take()?;
        self.is_urgent = false;
        Some(core::mem::replace(&mut self.retired, empty))
    }

    /// Does the same if nobody waits for what is in the list: then it is no matter for the DPC.
    #[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
    pub(crate) fn take_unhurried(&mut self) -> Option<Fifo<Retired>> {
        match self.is_urgent {
            true => None,
            false => self.take_retired(),
        }
    }

    /// Takes back the list that the DPC took and emptied.
    pub(crate) fn give_back(&mut self, emptied: &mut Option<Fifo<Retired>>) {
        self.empty_list = emptied.take();
    }

    /// Returns why the ring is broken, if it is.
    pub(crate) fn broken(&self) -> Option<Broken> {
        self.ring.broken()
    }

    /// Marks the ring broken. Returns the cause: the first one, if the ring was broken before.
    pub(crate) fn mark_broken(&mut self, cause: Broken) -> Broken {
        self.ring.mark_broken(cause)
    }

    /// Returns the state of the ring, for debugfs.
    pub(crate) fn info(&self) -> RingInfo {
        RingInfo {
            size: self.ring.size(),
            avail_idx: self.ring.avail_idx(),
            last_used: self.ring.last_used(),
            free: self.ring.free_descriptors(),
            in_flight: self.ring.in_flight(),
            free_slots: self.pool.free(),
            broken: self.ring.broken(),
        }
    }

    /// Encodes a null command for `node` into a slot of its pool.
    ///
    /// [`None`] if there is no slot.
    fn null_command(&mut self, node: Node, fence: u64) -> Option<CommandBuffer> {
        let mut buffer = CommandBuffer::from(self.null_pool.take()?);
        let written = match node {
            // It has no response and no fence id. No scanout has this number, so no cursor moves.
            Node::Cursor => {
                let nowhere = UpdateCursor {
                    scanout_id: u32::MAX.into(),
                    resource_id: NO_RESOURCE.into(),
                    ..Default::default()
                };
                buffer.write_request(&MoveCursor::from(nowhere), Header::default())
            }
            // It would have to wait for what the render node has.
            _ if self.has_render => buffer.write_request(&GetDisplayInfo, Header::default()),
            _ => buffer.write_request(&GetDisplayInfo, Header::fenced(fence)),
        };
        written.ok().map(|()| buffer)
    }
}

impl Engine for Virtqueue {
    type Packet = Packet;
    type Remains = EndedPackets;

    fn set_fenced(packet: &mut Packet) {
        if let Packet::Render(_, tail) = packet {
            tail.set_fenced();
        }
    }

    fn capacity(&self) -> usize {
        let requests = usize::from(self.ring.size() / self.descriptors.max(1));
        requests - self.panic_reserve.len().min(requests)
    }

    fn submit(&mut self, packet: Packet, fence: u64) -> Result<(), Packet> {
        let segments = match &packet {
            Packet::Command(buffer, _) | Packet::Render(buffer, _) => buffer.segments(),
            Packet::Null(..) => usize::from(SEGMENTS),
        };
        if self.ring.broken().is_some() || !self.has_room(segments) {
            return Err(packet);
        }
        let (buffer, completion) = match packet {
            Packet::Command(buffer, completion) => (buffer, completion),
            Packet::Null(node) => match self.null_command(node, fence) {
                Some(buffer) => (buffer, Completion::Null),
                None => return Err(Packet::Null(node)),
            },
            Packet::Render(buffer, tail) => match self.fence(buffer, &tail) {
                Ok(buffer) => (buffer, Completion::Render(tail)),
                Err(buffer) => return Err(Packet::Render(buffer, tail)),
            },
        };
        let request = Request {
            number: self.log.begin(&buffer, fence),
            buffer,
            completion,
            fence,
        };
        if let Err(PushError { request, .. }) = self.ring.push(request) {
            // There was room, and no request has more segments than the ring allows: this is a bug
            // of the driver. The request is kept, as its memory must not be freed under the lock.
            self.ring.mark_broken(Broken::Rejected);
            self.rejected = Some(request);
        }
        Ok(())
    }

    fn has_room_for(&self, packet: &Packet) -> bool {
        match packet {
            Packet::Render(buffer, tail) => {
                self.ring.broken().is_none()
                    && self.has_room(buffer.segments())
                    && self.can_fence(tail)
            }
            _ => false,
        }
    }

    fn publish(&mut self, interrupt: Interrupt) -> bool {
        if interrupt == Interrupt::Suppressed && self.ring.is_idle() {
            self.ring.disable_interrupts();
        }
        self.ring.publish()
    }

    fn suppresses_interrupts(&self) -> bool {
        self.broken().is_none() && !self.ring.is_armed()
    }

    fn needs_dpc(&mut self) -> bool {
        // Once for a break: a broken ring stays so, and the DPC can do no more about it.
        let broke = self.broken().is_some() && !core::mem::replace(&mut self.break_told, true);
        broke || self.is_urgent || self.retired.len() >= MOST_RETIRED || self.ended.need_dpc()
    }

    fn take_remains(&mut self) -> EndedPackets {
        self.take_ended()
    }

    fn is_broken(&self) -> bool {
        self.broken().is_some()
    }

    fn is_overdue(&self) -> bool {
        // While the list is full used elements wait for the DPC.
        self.ring.is_armed() && !self.retired.is_full() && self.ring.has_used()
    }

    fn is_in_dpc(&self) -> bool {
        self.empty_list.is_none()
    }
}
