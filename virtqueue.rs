// SPDX-License-Identifier: GPL-2.0

//! The engines behind the control and the cursor node: virtqueues of the device.
//!
//! A [`Virtqueue`] lives in the lock of its interrupt message. What has to be freed, or looked at
//! without haste, leaves the lock through its list of finished requests ([`Finished`]), which the
//! DPC takes. The list has room for as many as the ring: while it is full, used elements wait.

use kernel::{
    device::{
        self,
        Bound, //
    },
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

use crate::{
    command::{
        Command,
        GetDisplayInfo,
        Header,
        MoveCursor,
        NoData,
        Response,
        ResponseError,
        NO_RESOURCE, //
    },
    display::cursor::Image,
    ring::{
        self,
        Config,
        Part,
        Poison,
        PushError,
        Ring,
        Slot, //
    },
    scheduler::{
        fence::Client,
        fifo::Fifo,
        Engine,
        Node, //
    },
    transport::{
        regs::feature,
        Features,
        QueueAddresses, //
    },
    virtqueue::{
        buffer::{
            CommandBuffer,
            CommandPool,
            OwnBuffer, //
        },
        dma::{
            DmaContext,
            DmaMemory, //
        },
    },
};

pub(crate) mod buffer;
pub(crate) mod dma;
mod panic;

/// Parts of one request: the command and the room for its response.
const MAX_PARTS: u16 = 2;

/// Where the answer to a command arrives: the submitter holds one reference, the packet another.
#[pin_data]
pub(crate) struct Reply {
    /// The buffer with the answer and the number of bytes the device wrote. Set by the DPC before
    /// the fence is published.
    #[pin]
    answer: Mutex<Option<(CommandBuffer, u32)>>,
}

impl Reply {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                answer <- new_mutex!(None, "rust_gpu::Reply"),
            }),
            GFP_KERNEL,
        )
    }

    /// Decodes the answer, once the fence of the packet is complete.
    ///
    /// Errors: those of [`Response::decode`]. Context: process.
    pub(crate) fn decode<R: Response>(&self) -> Result<R, ResponseError> {
        let mut bytes = [0; crate::command::MAX_RESPONSE_SIZE];
        let answer = self.answer.lock().take();
        match &answer {
            Some((buffer, written)) => R::decode(buffer.read_response(*written, &mut bytes)),
            None => R::decode(&[]),
        }
    }
}

/// What a packet is wanted for, and what happens in the DPC when it is complete.
pub(crate) enum Wanted {
    /// To be complete: a null packet, which counts against this client.
    Completion(Option<Arc<Client>>),
    /// The answer.
    Answer(Arc<Reply>),
    /// Success, and then this.
    Success(After),
    /// Nothing: a command of the panic screen.
    Panic,
}

/// What happens after a command.
pub(crate) enum After {
    /// Nothing.
    Nothing,
    /// The device has this resource, unless it refused.
    Created(u32),
    /// The device does not read from the object behind this resource any more.
    Detached(u32),
    /// The image of a cursor is with the device.
    Cursor(Image),
}

/// A packet of a hardware node.
pub(crate) enum Packet {
    /// A null packet, which counts against this client. It gets its command with its place in the
    /// ring.
    Null(Node, Option<Arc<Client>>),
    /// A command.
    Command(CommandBuffer, Wanted),
}

// The queues of all nodes have room for many: so many fit into a power of two.
const _: () = assert!(size_of::<Option<Packet>>() <= 32);

impl Packet {
    /// Makes a packet that does nothing but complete. Does not allocate.
    pub(crate) fn null(node: Node, client: Option<Arc<Client>>) -> Self {
        Self::Null(node, client)
    }

    /// Makes a packet of one command whose answer is wanted.
    ///
    /// Errors: [`ENOMEM`], [`EINVAL`] if the command does not encode. Context: process.
    pub(crate) fn command<C: Command>(
        dev: &device::Device<Bound>,
        dma: &Arc<DmaContext>,
        command: &C,
    ) -> Result<(Self, Arc<Reply>)> {
        let buffer = OwnBuffer::new(dev, dma, C::SIZE, 0, C::Response::SIZE, GFP_KERNEL)?;
        let reply = Reply::new()?;
        let wanted = Wanted::Answer(reply.clone());
        Ok((Self::with(buffer.into(), command, wanted)?, reply))
    }

    /// Makes a packet of one command that is to succeed, from a slot of `pool` if there is one.
    ///
    /// Errors and context: as [`Packet::command`].
    pub(crate) fn plain<C: Command>(
        dev: &device::Device<Bound>,
        dma: &Arc<DmaContext>,
        pool: &CommandPool,
        command: &C,
        after: After,
    ) -> Result<Self> {
        let buffer = match pool.take() {
            Some(slot) => slot.into(),
            None => OwnBuffer::new(dev, dma, C::SIZE, 0, C::Response::SIZE, GFP_KERNEL)?.into(),
        };
        Self::with(buffer, command, Wanted::Success(after))
    }

    /// Makes a packet of one command that is to succeed, with what follows it in `buffer`.
    ///
    /// Errors: [`EINVAL`] if the command does not encode. Context: process.
    pub(crate) fn with_tail<C: Command>(buffer: KBox<OwnBuffer>, command: &C) -> Result<Self> {
        Self::with(buffer.into(), command, Wanted::Success(After::Nothing))
    }

    fn with<C: Command>(mut buffer: CommandBuffer, command: &C, wanted: Wanted) -> Result<Self> {
        buffer.write_request(C::Response::SIZE, |bytes| {
            encode(command, Header::default(), bytes)
        })?;
        Ok(Self::Command(buffer, wanted))
    }

    /// Takes out the client that the packet counts against.
    pub(crate) fn into_client(self) -> Option<Arc<Client>> {
        match self {
            Self::Null(_, client) => client,
            Self::Command(..) => None,
        }
    }
}

/// Encodes a command; [`EINVAL`] if there is no room for it.
fn encode<C: Command>(command: &C, header: Header, bytes: &mut [u8]) -> Result<usize> {
    command.encode(header, bytes).map_err(|_| EINVAL)
}

/// A request in the ring.
struct Request {
    buffer: CommandBuffer,
    wanted: Wanted,
    fence: u64,
}

impl ring::Request for Request {
    fn readable(&self) -> impl AsRef<[Part]> {
        self.buffer.readable()
    }

    fn writable(&self) -> impl AsRef<[Part]> {
        self.buffer.writable()
    }
}

/// What the DPC does about a finished request, outside the lock.
pub(crate) struct Finished {
    /// The command, and how many bytes the device wrote.
    command: Option<(CommandBuffer, u32)>,
    wanted: Wanted,
}

impl Finished {
    /// Hands the answer over and gives the client its place back. Returns what is to happen next,
    /// and why the command failed if it was to succeed and did not.
    ///
    /// Context: process, no message lock held: drops references and frees.
    pub(crate) fn finish(self) -> (After, Result<(), ResponseError>) {
        let mut result = (After::Nothing, Ok(()));
        match (self.wanted, self.command) {
            (Wanted::Answer(reply), answer) => *reply.answer.lock() = answer,
            (Wanted::Success(after), Some((buffer, written))) => {
                result = (after, succeeded(&buffer, written));
            }
            (Wanted::Completion(Some(client)), _) => client.give_back(1),
            _ => {}
        }
        result
    }
}

/// Returns whether the device did what it was asked to. Commands without a response did.
fn succeeded(buffer: &CommandBuffer, written: u32) -> Result<(), ResponseError> {
    if !buffer.has_response() || NoData::is(buffer.response_kind(), written) {
        return Ok(());
    }
    let mut bytes = [0; NoData::SIZE];
    NoData::decode(buffer.read_response(written, &mut bytes)).map(|_| ())
}

/// What debugfs shows of a ring.
pub(crate) struct RingInfo {
    pub(crate) size: u16,
    pub(crate) avail_idx: u16,
    pub(crate) last_used: u16,
    pub(crate) free: u16,
    pub(crate) in_flight: u16,
    pub(crate) free_slots: u32,
    pub(crate) poisoned: Option<Poison>,
}

/// A virtqueue and the memory of its commands. Lives in the lock of its interrupt message.
pub(crate) struct Virtqueue {
    ring: Ring<DmaMemory, Request, KVec<Slot<Request>>>,
    /// Descriptors that a request takes, at most.
    descriptors: u16,
    pool: CommandPool,
    /// The memory of the commands of panic screens that are not in the ring.
    aside: KVec<CommandBuffer>,
    finished: Fifo<Finished>,
    /// The empty list to go on with; not there while the DPC works on it.
    spare: Option<Fifo<Finished>>,
}

impl Virtqueue {
    /// Makes an empty queue of `size` descriptors.
    ///
    /// Errors: [`ENOMEM`], [`EINVAL`] for a size that is none. Context: process.
    pub(crate) fn new(
        dev: &device::Device<Bound>,
        dma: &Arc<DmaContext>,
        size: u16,
        features: &Features,
    ) -> Result<Self> {
        let config = Config {
            size,
            max_parts: MAX_PARTS,
            indirect: features.has(feature::RING_INDIRECT_DESC),
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
            descriptors: if config.indirect { 1 } else { MAX_PARTS },
            aside: KVec::new(),
            pool: CommandPool::new(dev, dma, size)?,
            finished: Fifo::new(size.into())?,
            spare: Some(Fifo::new(size.into())?),
        })
    }

    /// Makes the queue what [`Virtqueue::new`] made, in the same memory, after the device was
    /// reset. What was in it is lost; clients get their places back.
    ///
    /// Errors: [`ENOMEM`]. Context: process, no message lock held.
    pub(crate) fn restart(&mut self) -> Result {
        while let Some(request) = self.ring.take_in_flight() {
            match request.wanted {
                Wanted::Completion(Some(client)) => client.give_back(1),
                Wanted::Panic => self.set_aside(request.buffer),
                _ => {}
            }
        }
        while let Some(finished) = self.finished.pop() {
            let _ = finished.finish();
        }
        if self.spare.is_none() {
            // The DPC could not give it back.
            self.spare = Some(Fifo::new(self.ring.size().into())?);
        }
        self.ring.restart();
        Ok(())
    }

    /// Returns the number of descriptors.
    pub(crate) fn size(&self) -> u16 {
        self.ring.size()
    }

    /// Returns the memory of its commands.
    pub(crate) fn pool(&self) -> CommandPool {
        self.pool.clone()
    }

    /// Returns where the parts of the queue are, for the device.
    pub(crate) fn addresses(&self) -> QueueAddresses {
        QueueAddresses {
            descriptor: self.ring.descriptor_address(),
            driver: self.ring.available_address(),
            device: self.ring.used_address(),
        }
    }

    /// Takes one used element, and returns the fence of its request.
    ///
    /// [`None`] if there is none, the list of finished requests is full, or the ring is poisoned.
    ///
    /// Context: lock of the message held.
    pub(crate) fn pop(&mut self) -> Option<u64> {
        if self.finished.is_full() {
            return None;
        }
        let used = self.pop_used()?;
        let Request {
            buffer,
            wanted,
            fence,
        } = used.request;
        // Buffers of the pool go back here: those of null packets, and those of commands that
        // succeeded, after which nothing happens.
        let command = match (&wanted, &buffer) {
            (Wanted::Completion(..), _) => None,
            (Wanted::Success(After::Nothing), CommandBuffer::Slot(_))
                if succeeded(&buffer, used.written).is_ok() =>
            {
                None
            }
            _ => Some((buffer, used.written)),
        };
        if command.is_some() || matches!(wanted, Wanted::Completion(Some(_))) {
            // Cannot fail: there was room above.
            let _ = self.finished.push(Finished { command, wanted });
        }
        Some(fence)
    }

    /// Asks the device for an interrupt at the next used element. Returns true if there are
    /// elements already, to be popped first.
    pub(crate) fn rearm(&mut self) -> bool {
        !self.finished.is_full() && self.ring.enable_notifications()
    }

    /// Takes the list of finished requests, if there are any.
    pub(crate) fn take_finished(&mut self) -> Option<Fifo<Finished>> {
        if self.finished.is_empty() {
            return None;
        }
        let spare = self.spare.take()?;
        Some(core::mem::replace(&mut self.finished, spare))
    }

    /// Takes back the list that the DPC took and has emptied.
    pub(crate) fn give_back(&mut self, emptied: &mut Option<Fifo<Finished>>) {
        self.spare = emptied.take();
    }

    /// Returns whether there is something for the DPC: a finished request, or a ring that broke.
    pub(crate) fn needs_dpc(&self) -> bool {
        !self.finished.is_empty() || self.poisoned().is_some()
    }

    /// Returns whether the DPC works on finished requests.
    pub(crate) fn is_in_dpc(&self) -> bool {
        self.spare.is_none()
    }

    /// Returns why the ring is poisoned, if it is.
    pub(crate) fn poisoned(&self) -> Option<Poison> {
        self.ring.poisoned()
    }

    /// Poisons the ring. Returns the cause, the first one's if it was poisoned before.
    pub(crate) fn poison(&mut self, cause: Poison) -> Poison {
        self.ring.poison(cause)
    }

    /// Returns what debugfs shows.
    pub(crate) fn info(&self) -> RingInfo {
        RingInfo {
            size: self.ring.size(),
            avail_idx: self.ring.avail_idx(),
            last_used: self.ring.last_used(),
            free: self.ring.free_descriptors(),
            in_flight: self.ring.in_flight(),
            free_slots: self.pool.free(),
            poisoned: self.ring.poisoned(),
        }
    }

    /// Encodes a null command for `node` into a slot of the pool.
    ///
    /// [`None`] if there is no slot.
    fn null_command(&mut self, node: Node, fence: u64) -> Option<CommandBuffer> {
        let mut buffer = CommandBuffer::from(self.pool.take()?);
        let written = match node {
            // It has no response, and no fence. No scanout has that number, so nothing moves.
            Node::Cursor => {
                let command = MoveCursor {
                    scanout_id: u32::MAX,
                    x: 0,
                    y: 0,
                    resource_id: NO_RESOURCE,
                };
                buffer.write_request(0, |bytes| encode(&command, Header::default(), bytes))
            }
            _ => buffer.write_request(<GetDisplayInfo as Command>::Response::SIZE, |bytes| {
                encode(&GetDisplayInfo, Header::fenced(fence), bytes)
            }),
        };
        written.ok().map(|()| buffer)
    }
}

impl Engine for Virtqueue {
    type Packet = Packet;

    fn submit(&mut self, packet: Packet, fence: u64) -> Result<(), Packet> {
        if self.ring.poisoned().is_some() || !self.has_room() {
            return Err(packet);
        }
        let (buffer, wanted, null) = match packet {
            Packet::Command(buffer, wanted) => (buffer, wanted, None),
            Packet::Null(node, client) => match self.null_command(node, fence) {
                Some(buffer) => (buffer, Wanted::Completion(client), Some(node)),
                None => return Err(Packet::Null(node, client)),
            },
        };
        let request = Request {
            buffer,
            wanted,
            fence,
        };
        let Err(PushError { request, .. }) = self.ring.push(request) else {
            return Ok(());
        };
        Err(match (request.wanted, null) {
            (Wanted::Completion(client), Some(node)) => Packet::Null(node, client),
            (wanted, _) => Packet::Command(request.buffer, wanted),
        })
    }

    fn publish(&mut self, quiet: bool) -> bool {
        if quiet && self.ring.is_idle() {
            self.ring.disable_notifications();
        }
        self.ring.publish()
    }

    fn is_quiet(&self) -> bool {
        self.poisoned().is_none() && !self.ring.is_armed()
    }
}
