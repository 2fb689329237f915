// SPDX-License-Identifier: GPL-2.0

//! [`Packet`] carries one command to a virtqueue, and [`Completion`] says what happens when the
//! device is done with it.

use kernel::{
    current,
    device::{
        self,
        Bound, //
    },
    new_mutex,
    prelude::*,
    sync::{
        self,
        aref::ARef,
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
    task::Task,
    time::Jiffies, //
};

use crate::{
    command::{
        Command,
        Header,
        NoData,
        Response,
        ResponseError, //
    },
    scheduler::{
        places_size,
        Node, //
    },
};

use super::{
    buffer::{
        CommandBuffer,
        CommandSlot, //
    },
    dedicated::DedicatedBuffer,
    dma::DmaContext,
    render::Tail, //
};

/// Receives the answer to a command. The submitter holds one reference, the packet another, in a
/// [`ReplySlot`].
#[pin_data]
pub(crate) struct Reply {
    /// The buffer with the answer and the number of bytes the device wrote. Set by the DPC.
    #[pin]
    answer: Mutex<Option<(CommandBuffer, u32)>>,
    /// The packet is gone, with or without an answer.
    #[pin]
    closed: sync::Completion,
    /// The same, for a thread that waits for other things as well.
    is_closed: Atomic<bool>,
    /// Woken when the reply is closed.
    submitter: ARef<Task>,
}

impl Reply {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                answer <- new_mutex!(None, "rust_gpu::Reply"),
                // WAIT: first-answers
                closed <- sync::Completion::new(),
                is_closed: Atomic::new(false),
                submitter: ARef::from(&**current!()),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns whether the packet is gone: it was answered, or it never will be. The task that made
    /// the packet is woken when this becomes true.
    ///
    /// Context: any.
    pub(crate) fn is_closed(&self) -> bool {
        // Pairs with the store in the drop of the slot.
        self.is_closed.load(Acquire)
    }

    /// Waits until the packet is gone, at most for `timeout`.
    ///
    /// Errors: [`ETIMEDOUT`], [`ERESTARTSYS`] after a fatal signal. Context: process; sleeps.
    pub(crate) fn wait_closed(&self, timeout: Jiffies) -> Result {
        // WAIT: first-answers
        self.closed.wait_for_completion_killable_timeout(timeout)
    }

    /// Copies the answer: at most `len` bytes of what the device wrote. Call it when the reply [is
    /// closed](Self::is_closed).
    ///
    /// Errors: [`ECANCELED`] if the device never answered, [`ENOMEM`]. Context: process.
    #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
    pub(crate) fn read(&self, len: usize) -> Result<KVVec<u8>> {
        let answer = self.answer.lock().take();
        let (buffer, written) = answer.ok_or(ECANCELED)?;
        let mut bytes = KVVec::with_capacity(len, GFP_KERNEL)?;
        bytes.extend_with(len, 0, GFP_KERNEL)?;
        let read = buffer.read_response(written, &mut bytes).len();
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Decodes the answer. Call it when the reply [is closed](Self::is_closed).
    ///
    /// Errors: [`ECANCELED`] if the device never answered; inside, those of [`Response::decode`].
    /// Context: process.
    pub(crate) fn decode<R: Response>(&self) -> Result<Result<R, ResponseError>> {
        let mut bytes = [0; crate::command::MAX_RESPONSE_SIZE];
        let answer = self.answer.lock().take();
        let (buffer, written) = answer.ok_or(ECANCELED)?;
        Ok(R::decode(buffer.read_response(written, &mut bytes)))
    }
}

/// The packet's end of a [`Reply`]. Its drop closes the reply, on every path.
pub(crate) struct ReplySlot(Arc<Reply>);

impl ReplySlot {
    /// Stores the answer, and closes the reply.
    ///
    /// Context: process (the DPC).
    pub(crate) fn set(self, answer: Option<(CommandBuffer, u32)>) {
        *self.0.answer.lock() = answer;
    }
}

impl Drop for ReplySlot {
    fn drop(&mut self) {
        self.0.is_closed.store(true, Release);
        self.0.closed.complete_all();
        self.0.submitter.wake_up();
    }
}

/// The commands that one submitter has under way: how many, and whether the device refused one.
///
/// The submitter and each of its packets hold a reference, so the last one is never dropped under a
/// message lock. The count changes in any context.
pub(crate) struct Batch {
    pending: Atomic<u32>,
    refused: Atomic<bool>,
    /// The submitter wants the DPC when nothing is under way any more.
    awaited: Atomic<bool>,
}

impl Batch {
    /// Makes a batch without commands.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let batch = Self {
            pending: Atomic::new(0),
            refused: Atomic::new(false),
            awaited: Atomic::new(false),
        };
        Ok(Arc::new(batch, GFP_KERNEL)?)
    }

    /// Adds one command to `batch`. What this returns goes with its packet.
    ///
    /// Context: any.
    pub(crate) fn add(batch: &Arc<Self>) -> Completion {
        batch.pending.fetch_add(1, Relaxed);
        Completion::Batch(Pending(Some(batch.clone())))
    }

    /// Returns whether no command is under way.
    ///
    /// Context: any.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.load(Acquire) == 0
    }

    /// Returns whether commands are under way. If so, the DPC runs when the last of them is done.
    ///
    /// Context: any.
    pub(crate) fn await_idle(&self) -> bool {
        if self.is_idle() {
            return false;
        }
        // Then once more: the last command is counted down first, and then looks at the flag. Both
        // are fully ordered, so either this sees that it is done, or that sees the flag.
        self.awaited.xchg(true, Full);
        !self.is_idle()
    }

    /// Returns whether the device refused a command since the last call.
    ///
    /// Context: any.
    pub(crate) fn take_refused(&self) -> bool {
        self.refused.load(Relaxed) && self.refused.xchg(false, Acquire)
    }

    /// Returns whether the device refused a command that [`Self::take_refused`] has not returned.
    ///
    /// Context: any.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Relaxed)
    }

    /// One command less. Returns whether it was the last one, and the DPC is wanted for that.
    fn remove(&self) -> bool {
        self.pending.fetch_sub(1, Full);
        self.awaited.load(Relaxed) && self.is_idle() && self.awaited.xchg(false, Full)
    }
}

/// One command of a [`Batch`]. Its drop counts as done: the command is lost.
pub(crate) struct Pending(Option<Arc<Batch>>);

impl Pending {
    /// The device executed the command. Returns whether the DPC is wanted.
    ///
    /// Context: any.
    pub(super) fn complete(mut self) -> bool {
        self.0.take().is_some_and(|batch| batch.remove())
    }

    /// The device refused the command.
    ///
    /// Context: any.
    pub(crate) fn refuse(&self) {
        if let Some(batch) = &self.0 {
            batch.refused.store(true, Relaxed);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(batch) = self.0.take() {
            batch.remove();
        }
    }
}

/// What a command does with an object of the 3D side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnStep {
    /// It makes its resource.
    Created,
    /// It tells the device of its pages.
    Attached,
    /// It lets the device forget it.
    Destroyed,
}

/// What happens in the DPC when the device is done with a packet.
pub(crate) enum Completion {
    /// Nothing: the command should have succeeded.
    None,
    /// The memory goes back to the reserve for panic screens.
    Panic,
    /// Nothing: it is a null packet.
    Null,
    /// The answer goes to the submitter.
    Reply(ReplySlot),
    /// The device made this resource, or refused to.
    Created(u32),
    /// The device knows the pages behind this resource, or refused them.
    Attached(u32),
    /// The device let go of the pages behind this resource, or refused to.
    Destroyed(u32),
    /// The same of an object of the 3D side. Nobody waits for that, or it is known who does.
    #[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
    Own(OwnStep, u32),
    /// One command of a batch is done.
    Batch(Pending),
    /// What the packet of the render node kept goes.
    Render(KBox<Tail>),
}

/// A packet of a hardware node.
pub(crate) enum Packet {
    /// A null packet. Its command is made when it enters the ring.
    Null(Node),
    /// A command.
    Command(CommandBuffer, Completion),
    /// A command of the render node.
    Render(CommandBuffer, KBox<Tail>),
}

// The places for packets of clients take five pages of a node.
const _: () = assert!(places_size::<Packet>() <= 20480);

impl Packet {
    /// Makes a packet of one command, and the [`Reply`] that receives its answer.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn command<C: Command>(
        dev: &device::Device<Bound>,
        dma: &Arc<DmaContext>,
        command: &C,
    ) -> Result<(Self, Arc<Reply>)> {
        let buffer = DedicatedBuffer::new(dev, dma, C::SIZE, C::Response::SIZE, GFP_KERNEL)?;
        let reply = Reply::new()?;
        let slot = ReplySlot(reply.clone());
        let packet = Self::with(buffer.into(), command, Completion::Reply(slot))?;
        Ok((packet, reply))
    }

    /// Makes a packet of one command whose answer takes `room` bytes at the most, and the
    /// [`Reply`] that receives it.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
    pub(crate) fn question<C: Command>(
        dev: &device::Device<Bound>,
        dma: &Arc<DmaContext>,
        command: &C,
        room: usize,
    ) -> Result<(Self, Arc<Reply>)> {
        let room = room.max(C::Response::SIZE);
        let buffer = DedicatedBuffer::new(dev, dma, C::SIZE, room, GFP_KERNEL)?;
        let mut buffer = CommandBuffer::from(buffer);
        buffer.write_request(command, Header::default())?;
        if let CommandBuffer::Dedicated(buffer) = &mut buffer {
            // All of it, not only the fixed part.
            buffer.response_len = buffer.response.len();
        }
        let reply = Reply::new()?;
        let slot = ReplySlot(reply.clone());
        Ok((Self::Command(buffer, Completion::Reply(slot)), reply))
    }

    /// Makes a packet of one command that should succeed, in a slot. Does not allocate.
    ///
    /// Errors: [`EMSGSIZE`] if it does not fit. Context: any.
    pub(crate) fn plain<C: Command>(
        slot: CommandSlot,
        command: &C,
        completion: Completion,
    ) -> Result<Self> {
        Self::with(slot.into(), command, completion)
    }

    /// Makes a packet of one command that should succeed, and of the payload that is in `buffer`.
    ///
    /// Errors: [`EMSGSIZE`] if `buffer` was made for another command. Context: any.
    pub(crate) fn with_payload<C: Command>(
        buffer: KBox<DedicatedBuffer>,
        command: &C,
        completion: Completion,
    ) -> Result<Self> {
        Self::with(buffer.into(), command, completion)
    }

    fn with<C: Command>(
        mut buffer: CommandBuffer,
        command: &C,
        completion: Completion,
    ) -> Result<Self> {
        // Not fenced: the device answers these commands when it has executed them.
        buffer.write_request(command, Header::default())?;
        Ok(Self::Command(buffer, completion))
    }
}

/// A request that the device is done with, on its way to the DPC.
pub(crate) struct Retired {
    /// What happens in the DPC.
    pub(crate) completion: Completion,
    /// The command, and how many bytes the device wrote; [`None`] if the DPC does not need it.
    pub(crate) command: Option<(CommandBuffer, u32)>,
}

impl Retired {
    /// Returns the type of the command and why it failed, if it should have succeeded and did not.
    ///
    /// Context: any.
    pub(crate) fn failure(&self) -> Option<(u32, ResponseError)> {
        match (&self.completion, &self.command) {
            (Completion::Reply(_), _) | (_, None) => None,
            (_, Some((buffer, written))) => {
                let error = succeeded(buffer, *written).err()?;
                Some((buffer.command_type(), error))
            }
        }
    }
}

/// Returns [`Ok`] if the command succeeded, as one without a response always does.
pub(super) fn succeeded(buffer: &CommandBuffer, written: u32) -> Result<(), ResponseError> {
    if !buffer.has_response() || NoData::is(buffer.response_kind(), written) {
        return Ok(());
    }
    let mut bytes = [0; NoData::SIZE];
    NoData::decode(buffer.read_response(written, &mut bytes)).map(|_| ())
}

#[cfg(CONFIG_DRM_RUST_GPU_KUNIT_TEST)]
#[kunit_tests(rust_gpu_reply)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_packet_closes_its_reply() -> Result {
        let reply = Reply::new()?;
        let slot = ReplySlot(reply.clone());

        assert!(!reply.is_closed());
        assert_eq!(reply.wait_closed(1), Err(ETIMEDOUT));
        drop(slot);
        assert!(reply.is_closed());
        assert_eq!(reply.wait_closed(1), Ok(()));
        assert_eq!(reply.decode::<NoData>().err(), Some(ECANCELED));
        Ok(())
    }

    #[test]
    fn a_reply_without_an_answer_is_none() -> Result {
        let reply = Reply::new()?;

        ReplySlot(reply.clone()).set(None);
        assert!(reply.is_closed());
        assert_eq!(reply.decode::<NoData>().err(), Some(ECANCELED));
        Ok(())
    }
}
