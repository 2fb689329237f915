// SPDX-License-Identifier: GPL-2.0

//! [`Render`] drives the 3D side of a device (`VIRTIO_GPU_F_VIRGL`): the contexts of its clients,
//! the capability sets of the host, and what the device should let go of.
//!
//! What a client submits goes by the render node, in its own order. What makes contexts and
//! resources, and lets go of them, is sent by the driver on the control node, which is served
//! first. So a context and its resources are made before the client uses them. What lets go of
//! something is sent when nothing that was submitted uses it any more: fences say so.
//!
//! Letting go must not fail, and nobody can wait there. So it is only recorded, in memory that was
//! allocated with the thing itself, and the submission thread sends it when there is room
//! ([`Feeder`]).
//!
//! A reset loses all contexts and resources of the host. Each knows the
//! [incarnation](crate::gpu::Gpu::incarnation) of the device that it belongs to; with another one
//! it is not named in commands any more.

use kernel::{
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
    uaccess::UserPtr, //
};

use crate::{
    command::{
        Command,
        Header,
        ResourceUnref,
        Response, //
    },
    gpu::{
        Feeder,
        Gpu,
        ResourceTable, //
    },
    irq::{
        Adapter,
        Status, //
    },
    scheduler::{
        self,
        Fences,
        Node, //
    },
    transport::Addressing,
    virtqueue::{
        fits_slot,
        CommandBuffer,
        Completion,
        DedicatedBuffer,
        OwnStep,
        Packet,
        UserData, //
    },
};

mod capsets;
mod context;
mod resource;

pub(crate) use self::{
    capsets::{
        Capsets,
        Data as CapsetData,
        ANSWER_TIMEOUT_MS, //
    },
    context::{
        Context,
        ContextInit, //
    },
    resource::{
        make_canonical,
        NewObject, //
    },
};

/// The contexts of the host by their numbers.
struct Contexts {
    contexts: RBTree<u32, Arc<Context>>,
    /// There is no device any more.
    closed: bool,
}

/// The 3D side of a device. It lives until the last file is closed.
#[pin_data]
pub(crate) struct Render {
    fences: Arc<Fences>,
    resources: Arc<ResourceTable>,
    capsets: Pin<KBox<Capsets>>,
    /// How many contexts that the host has, or has lost, are closed, and how many resources one
    /// should let go of.
    leaving: Atomic<u32>,
    /// In how many pieces data of clients may be that goes to the device as it is; [`None`] if it
    /// has to be copied.
    max_pieces: Option<usize>,
    /// Taken alone or under the lock of one context. Nothing is allocated or freed under it.
    #[pin]
    contexts: Mutex<Contexts>,
}

impl Render {
    /// Makes the 3D side of a device, which is that of `gpu`, with these capability sets.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn new(
        fences: Arc<Fences>,
        resources: Arc<ResourceTable>,
        capsets: Pin<KBox<Capsets>>,
        gpu: &Gpu<'_>,
    ) -> Result<Arc<Self>> {
        let contexts = Contexts {
            contexts: RBTree::new(),
            closed: false,
        };
        Arc::pin_init(
            pin_init!(Self {
                fences,
                resources,
                capsets,
                leaving: Atomic::new(0),
                max_pieces: match gpu.dma().addressing() {
                    Addressing::Physical(_) => Some(gpu.max_pieces()),
                    Addressing::Dma(_) => None,
                },
                contexts <- new_mutex!(contexts, "rust_gpu::Contexts"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the capability sets.
    pub(crate) fn capsets(&self) -> &Capsets {
        &self.capsets
    }

    /// Copies `len` bytes of a client to memory that goes to the device as it is. [`None`] if they
    /// have to be copied once more, see [`Data`].
    ///
    /// Errors: [`ENOMEM`]; [`EFAULT`]. Context: process; may sleep, for as long as a client likes.
    pub(crate) fn read(&self, from: UserPtr, len: usize) -> Result<Option<UserData>> {
        let read = |pieces| UserData::read(from, len, pieces, GFP_KERNEL_ACCOUNT);
        self.max_pieces.map(read).transpose()
    }

    /// Returns the resources of the host.
    pub(crate) fn resources(&self) -> &ResourceTable {
        &self.resources
    }

    /// Lets go of all contexts: there is no device any more.
    ///
    /// Context: process.
    pub(crate) fn close(&self) {
        let mut guard = self.contexts.lock();
        guard.closed = true;
        let contexts = core::mem::take(&mut guard.contexts);
        // Outside of the lock.
        drop(guard);
        for context in contexts.values() {
            context.let_go();
        }
    }

    /// Gives a context of the host the lowest number that is free: some hosts know no more than 63.
    ///
    /// Errors: [`ENODEV`] if there is no device any more. Context: process.
    fn add(
        &self,
        node: RBTreeNodeReservation<u32, Arc<Context>>,
        context: Arc<Context>,
    ) -> Result<u32> {
        let mut guard = self.contexts.lock();
        if guard.closed {
            return Err(ENODEV);
        }
        let mut id = 1;
        while guard.contexts.get(&id).is_some() {
            id += 1;
        }
        guard.contexts.insert(node.into_node(id, context));
        Ok(id)
    }

    /// Takes the number of a context back.
    fn remove(&self, id: u32) {
        let context = self.contexts.lock().contexts.remove(&id);
        // Outside of the lock.
        drop(context);
    }

    /// Returns the first context from number `from` on.
    fn next(&self, from: u32) -> Option<(u32, Arc<Context>)> {
        let guard = self.contexts.lock();
        let cursor = guard.contexts.cursor_lower_bound(&from)?;
        let (&id, context) = cursor.current();
        Some((id, context.clone()))
    }

    /// Something should leave: the submission thread sends that.
    fn add_leaving(&self) {
        // Before the thread looks at fences: `is_waiting` comes after them.
        self.leaving.fetch_add(1, Full);
        self.wake();
    }

    /// What should leave has left.
    fn remove_leaving(&self) {
        self.leaving.fetch_sub(1, Relaxed);
    }

    /// Lets the submission thread send what should leave.
    ///
    /// Context: any but NMI.
    pub(crate) fn wake(&self) {
        self.fences.submission_event().signal();
    }

    /// Sends what contexts should let go of, as far as there is room. Returns whether there was.
    fn drain_contexts(&self, adapter: &Adapter<Gpu<'_>>) -> Result<bool> {
        let mut from = 1;
        while let Some((id, context)) = self.next(from) {
            if !context.drain(adapter)? {
                return Ok(false);
            }
            let Some(next) = id.checked_add(1) else {
                break;
            };
            from = next;
        }
        Ok(true)
    }

    /// Lets the device forget objects that nobody has.
    fn drain_objects(&self, adapter: &Adapter<Gpu<'_>>) -> Result {
        let gpu = adapter.miniport();
        // First: what is found after it is of this incarnation, or of a later one.
        let host = Host::device(gpu);
        let mut from = 0;
        while let Some(id) = self.resources.next_retired(from) {
            from = id.checked_add(1).ok_or(EOVERFLOW)?;
            if gpu.deferred().is_some_and(|display| display.shows(id)) {
                continue;
            }
            let unref = ResourceUnref {
                resource_id: id.into(),
                ..Default::default()
            };
            self.resources.take_retired(id);
            let done = || Completion::Own(OwnStep::Destroyed, id);
            let sent = send_in_round(adapter, host, &unref, done);
            if sent != Ok(true) {
                // Unless a reset has taken it away.
                self.resources.put_back_retired(id);
                return sent.map(|_| ());
            }
        }
        Ok(())
    }
}

impl Feeder for Render {
    fn drain(&self, adapter: &Adapter<Gpu<'_>>) {
        if !self.is_waiting() {
            return;
        }
        adapter.miniport().catch_up(adapter);
        // If the device is being reset, that goes on when it is over: the device has nothing then.
        let drained = match self.leaving.load(Relaxed) {
            0 => Ok(true),
            _ => self.drain_contexts(adapter),
        };
        if drained == Ok(true) && self.resources.has_retired() {
            let _ = self.drain_objects(adapter);
        }
    }

    fn is_waiting(&self) -> bool {
        self.leaving.load(Relaxed) != 0 || self.resources.may_have_retired()
    }
}

/// What a command of the driver is for: a context in the host, or the device itself.
#[derive(Clone, Copy)]
pub(crate) struct Host {
    /// Number of the context; 0 for the device itself.
    id: u32,
    /// Of the device that was told of the context, and of all that the command names.
    incarnation: u64,
}

impl Host {
    /// Returns the device itself, as it is now.
    ///
    /// Context: any.
    fn device(gpu: &Gpu<'_>) -> Self {
        Self {
            id: 0,
            incarnation: gpu.incarnation(),
        }
    }

    /// Returns whether a reset has lost it.
    ///
    /// Context: any. In a synchronised routine the answer stays true as long as that runs.
    fn is_lost(&self, gpu: &Gpu<'_>) -> bool {
        self.incarnation != gpu.incarnation()
    }

    /// Returns the number of the context.
    ///
    /// Errors: [`EIO`] if a reset has lost it. Context: any.
    pub(crate) fn id(&self, gpu: &Gpu<'_>) -> Result<u32> {
        match self.is_lost(gpu) {
            false => Ok(self.id),
            true => Err(EIO),
        }
    }
}

/// Makes a packet of a command of the driver. [`None`] if there is no memory for it now.
fn packet<C: Command>(
    gpu: &Gpu<'_>,
    host: Host,
    command: &C,
    completion: impl FnOnce() -> Completion,
) -> Result<Option<Packet>> {
    // Not of the memory that clients can have all of.
    let Some(mut buffer) = gpu.spare_slot(Node::Control) else {
        return Ok(None);
    };
    buffer.write_request(command, Header::of_context(host.id))?;
    Ok(Some(Packet::Command(buffer, completion())))
}

/// Sends a command of the driver. Returns false if there is no room now.
///
/// Errors: those of [`send_packet`]. Context: process.
fn send<C: Command>(
    adapter: &Adapter<Gpu<'_>>,
    host: Host,
    command: &C,
    completion: impl FnOnce() -> Completion,
) -> Result<bool> {
    match packet(adapter.miniport(), host, command, completion)? {
        Some(packet) => Ok(send_packet(adapter, host, packet)?.is_none()),
        None => Ok(false),
    }
}

/// Does the same for the submission thread, at the end of whose round the device is told.
///
/// Errors: as [`send`]. Context: process (the submission thread).
fn send_in_round<C: Command>(
    adapter: &Adapter<Gpu<'_>>,
    host: Host,
    command: &C,
    completion: impl FnOnce() -> Completion,
) -> Result<bool> {
    let gpu = adapter.miniport();
    match packet(gpu, host, command, completion)? {
        Some(packet) => {
            let is_lost = || host.is_lost(gpu);
            let sent = scheduler::submit_in_round(adapter, Node::Control, packet, is_lost);
            Ok(refused(gpu, sent)?.is_none())
        }
        None => Ok(false),
    }
}

/// Sends a packet of the driver for `host`. It comes back if there is no room now, and is lost if
/// the device is being reset, or was since the caller has found `host`.
///
/// Errors: [`EIO`] if it is lost, and those of [`Fences::check`]. Context: process.
fn send_packet(adapter: &Adapter<Gpu<'_>>, host: Host, packet: Packet) -> Result<Option<Packet>> {
    let gpu = adapter.miniport();
    let is_lost = || host.is_lost(gpu);
    let sent = scheduler::submit_unless(adapter, Node::Control, packet, is_lost);
    refused(gpu, sent)
}

/// Returns the packet that was not taken; see [`send_packet`].
fn refused(gpu: &Gpu<'_>, sent: Result<Result<(), Packet>, Status>) -> Result<Option<Packet>> {
    match sent {
        Ok(Ok(())) => Ok(None),
        Ok(Err(packet)) => Ok(Some(packet)),
        Err(_) => {
            gpu.fences().check()?;
            Err(EIO)
        }
    }
}

/// What follows a command of a client.
pub(crate) enum Data<'d> {
    /// It will be copied.
    Bytes(&'d [u8]),
    /// It is there, until [`client_buffer`] takes it.
    Pages(Option<UserData>),
}

impl Data<'_> {
    /// Returns the number of bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Pages(data) => data.as_ref().map_or(0, UserData::len),
        }
    }
}

/// Writes a command of a client, and `data` behind it, to memory of its own.
///
/// Errors: [`ENOMEM`]; [`EIO`] if the device takes less since it was reset. Context: process.
pub(crate) fn client_buffer<C: Command>(
    gpu: &Gpu<'_>,
    command: &C,
    header: Header,
    data: &mut Data<'_>,
) -> Result<CommandBuffer> {
    let (dev, dma, gfp) = (gpu.device(), gpu.dma(), GFP_KERNEL_ACCOUNT);
    let mut slot = gpu.render_slot();
    if let Data::Bytes(bytes) = data {
        if fits_slot::<C>(bytes.len()) {
            if let Some(mut slot) = slot.take() {
                slot.write_long(command, header, bytes)?;
                return Ok(slot);
            }
        }
    }
    let mut buffer = match slot {
        Some(CommandBuffer::Slot(slot)) => DedicatedBuffer::in_slot(slot, C::SIZE, gfp)?,
        _ => DedicatedBuffer::new(dev, dma, C::SIZE, C::Response::SIZE, gfp)?,
    };
    match data {
        Data::Bytes([]) => {}
        Data::Bytes(bytes) => {
            buffer.add_payload(dev, dma, bytes.len(), gpu.max_pieces(), gfp)?;
            let mut offset = 0;
            for bytes in bytes.chunks(PAGE_SIZE) {
                buffer.write_payload(offset, bytes)?;
                offset += bytes.len();
            }
        }
        Data::Pages(data) => {
            let data = data.take_if(|data| data.count() <= gpu.max_pieces());
            buffer.add_user_data(dma, data.ok_or(EIO)?, gfp)?;
        }
    }
    let mut buffer = CommandBuffer::from(buffer);
    buffer.write_request(command, header)?;
    Ok(buffer)
}
