// SPDX-License-Identifier: GPL-2.0

//! [`CommandBuffer`] holds the memory of one command and its response: a slot or a dedicated
//! buffer.
//!
//! A [`CommandSlot`] comes out of a [`CommandPool`], without an allocation and without a lock. A
//! [`DedicatedBuffer`] is allocated for what does not fit into a slot. A little data after a
//! request fits, if the response is a short one.
//!
//! A command is copied to the memory that the device reads. A response is copied out of the memory
//! that the device writes, and the copy is decoded.
//!
//! [`CommandPool`] and [`DedicatedBuffer`] are DMA memory, so they are dropped in the DPC or in
//! process context, with no spinlock held, and before the driver is unbound (see
//! [`dma`](crate::virtqueue::dma)). A [`CommandSlot`] may be dropped anywhere while its
//! [`CommandPool`] is alive: that only sets a bit.

use core::{
    mem::offset_of,
    ops::Range,
    slice, //
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    num::casts::u32_as_usize,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc, //
    }, //
};

use crate::{
    command::{
        Command,
        Header,
        Response,
        FLAG_FENCE,
        MAX_COMMAND_SIZE, //
    },
    ring::{
        Memory,
        Request,
        Segment, //
    },
    virtqueue::{
        dedicated::DedicatedBuffer,
        dma::{
            DmaContext,
            DmaMemory, //
        },
        free_map::FreeMap, //
    },
};

/// The most bytes of a request.
pub(crate) const REQUEST_SIZE: usize = 128;

const _: () = assert!(MAX_COMMAND_SIZE <= REQUEST_SIZE);

/// The most bytes of a response in a [`CommandSlot`]: enough for all but EDIDs and capability sets.
pub(crate) const RESPONSE_SIZE: usize = 448;

/// Bytes of a slot: whole cache lines, so that the device, when it writes to one slot, takes no
/// line of the next one from the CPU.
const SLOT_SIZE: usize = REQUEST_SIZE + RESPONSE_SIZE;
const _: () = assert!(REQUEST_SIZE % 64 == 0 && RESPONSE_SIZE % 64 == 0);

/// The most bytes of the response to a request of more than [`REQUEST_SIZE`] bytes in a slot.
const SHORT_RESPONSE_SIZE: usize = 64;

/// The most bytes of a request in a slot, with the data that follows it.
const LONG_REQUEST_SIZE: usize = SLOT_SIZE - SHORT_RESPONSE_SIZE;

/// What a [`CommandPool`] and its slots share.
struct PoolInner {
    memory: DmaMemory,
    count: u16,
    free: FreeMap,
    /// Somebody found too few free slots and wants the DPC when one is free.
    wanted: Atomic<bool>,
}

/// A fixed number of [`CommandSlot`]s in one allocation: room for requests without allocating.
///
/// Drop it after its slots, that is, after the rings that they are in. A clone is the same pool.
#[derive(Clone)]
pub(crate) struct CommandPool(Arc<PoolInner>);

impl CommandPool {
    /// Allocates a pool of `count` slots for the device `dev` of `context`; `count` is not 0.
    ///
    /// Errors: [`ENOMEM`]; [`EINVAL`] if `count` is 0. Context: process; may sleep.
    pub(crate) fn new(
        dev: &device::Device<Bound>,
        context: &Arc<DmaContext>,
        count: u16,
    ) -> Result<Self> {
        let len = usize::from(count) * SLOT_SIZE;
        Ok(Self(Arc::new(
            PoolInner {
                memory: DmaMemory::new(dev, context, len, GFP_KERNEL)?,
                count,
                free: FreeMap::new(count)?,
                wanted: Atomic::new(false),
            },
            GFP_KERNEL,
        )?))
    }

    /// Takes a slot; `None` if all are in use. A slot is free again when it is dropped.
    ///
    /// Context: any, with any lock held; does not allocate.
    pub(crate) fn take(&self) -> Option<CommandSlot> {
        let index = self.0.free.take()?;
        Some(CommandSlot {
            index,
            command_type: 0,
            request_len: 0,
            response_len: 0,
            pool: self.0.clone(),
        })
    }

    /// Returns how many slots it has.
    pub(crate) fn count(&self) -> u32 {
        self.0.count.into()
    }

    /// Returns how many slots are free at this moment.
    ///
    /// Context: any.
    pub(crate) fn free(&self) -> u32 {
        self.0.free.free()
    }

    /// Returns whether `count` slots are free. If not, the DPC runs when the device is done with a
    /// command.
    ///
    /// Context: any.
    pub(crate) fn await_free(&self, count: u32) -> bool {
        if self.free() >= count {
            return true;
        }
        // Then once more: a command may be done meanwhile, which then has not seen the flag.
        self.0.wanted.xchg(true, Full);
        self.free() >= count
    }

    /// Returns whether somebody waits for a slot, once for each call of [`Self::await_free`].
    ///
    /// Context: any.
    pub(super) fn take_wanted(&self) -> bool {
        self.0.wanted.load(Relaxed) && self.0.wanted.xchg(false, Full)
    }
}

/// A list of one segment, or of none if that is empty.
struct OneSegment(Segment);

impl AsRef<[Segment]> for OneSegment {
    fn as_ref(&self) -> &[Segment] {
        match self.0.len {
            0 => &[],
            _ => slice::from_ref(&self.0),
        }
    }
}

/// The segments of a request.
enum Segments<'a> {
    One(OneSegment),
    List(&'a [Segment]),
}

impl AsRef<[Segment]> for Segments<'_> {
    fn as_ref(&self) -> &[Segment] {
        match self {
            Self::One(segment) => segment.as_ref(),
            Self::List(list) => list,
        }
    }
}

/// Returns `len` bytes at `start` of `memory` as a segment; none if a descriptor cannot describe
/// them.
fn segment(memory: &DmaMemory, start: usize, len: usize) -> OneSegment {
    OneSegment(
        memory
            .segment(start, len)
            .unwrap_or(Segment { address: 0, len: 0 }),
    )
}

/// Copies `request` to `range` of `memory`, and `more` behind it.
///
/// Errors: [`EMSGSIZE`] if they do not fit.
fn write(memory: &DmaMemory, range: Range<usize>, request: &[u8], more: &[u8]) -> Result {
    if request.len() + more.len() > range.len() {
        return Err(EMSGSIZE);
    }
    memory.copy_in(range.start, request)?;
    match more.is_empty() {
        true => Ok(()),
        false => memory.copy_in(range.start + request.len(), more),
    }
}

/// Returns where the response to a request of `len` bytes is in a slot.
const fn slot_response(len: usize) -> Range<usize> {
    match len > REQUEST_SIZE {
        true => LONG_REQUEST_SIZE..SLOT_SIZE,
        false => REQUEST_SIZE..SLOT_SIZE,
    }
}

/// Returns whether a command fits into a slot with `len` bytes that follow it.
#[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
pub(crate) const fn fits_slot<C: Command>(len: usize) -> bool {
    let request = C::SIZE.saturating_add(len);
    request <= LONG_REQUEST_SIZE && {
        let response = slot_response(request);
        C::Response::SIZE <= response.end - response.start
    }
}

/// Room for one request of up to [`REQUEST_SIZE`] bytes and one response of up to
/// [`RESPONSE_SIZE`]; or for a longer request and a short response, see [`fits_slot`].
///
/// Goes back to its [`CommandPool`] when it is dropped.
///
/// It is small, as it is moved several times and queues have room for hundreds.
pub(crate) struct CommandSlot {
    index: u16,
    /// Type of the command; 0 before there is one.
    command_type: u16,
    /// Bytes of the request; 0 before there is one, which a ring refuses.
    request_len: u16,
    /// Bytes that the device may write.
    response_len: u16,
    pool: Arc<PoolInner>,
}

impl CommandSlot {
    /// Returns the memory of the pool.
    pub(super) fn memory(&self) -> &DmaMemory {
        &self.pool.memory
    }

    /// Returns where the slot is in the memory of the pool, and the request at its start.
    pub(super) fn start(&self) -> usize {
        usize::from(self.index) * SLOT_SIZE
    }

    /// Returns where the response to a request of `len` bytes is in the memory of the pool.
    pub(super) fn response_to(&self, len: usize) -> Range<usize> {
        let (start, range) = (self.start(), slot_response(len));
        start + range.start..start + range.end
    }

    /// Returns where the response is in the memory of the pool.
    fn response(&self) -> Range<usize> {
        self.response_to(self.request_len.into())
    }
}

impl Drop for CommandSlot {
    fn drop(&mut self) {
        self.pool.free.put(self.index);
    }
}

/// The memory of one request and its response.
///
/// A ring owns it while the device may use it, so nothing else writes to it then.
pub(crate) enum CommandBuffer {
    /// From a pool; enough for most commands.
    Slot(CommandSlot),
    /// Allocated for this command. Boxed: queues have room for hundreds of these.
    Dedicated(KBox<DedicatedBuffer>),
}

impl CommandBuffer {
    /// Writes `command` with `header` as the request, and sets how much the device may write: the
    /// size of the response.
    ///
    /// Errors: [`EMSGSIZE`] if the request or the response does not fit.
    ///
    /// Context: any, with any lock held.
    pub(crate) fn write_request<C: Command>(&mut self, command: &C, header: Header) -> Result {
        self.write_long(command, header, &[])
    }

    /// Does the same, with the bytes `more` behind the request. In a slot there is room for both if
    /// [`fits_slot`] says so.
    ///
    /// Errors and context: as [`Self::write_request`].
    pub(crate) fn write_long<C: Command>(
        &mut self,
        command: &C,
        header: Header,
        more: &[u8],
    ) -> Result {
        let message = command.encode(header);
        let request = message.as_bytes();
        let len = request.len() + more.len();
        let response_len = C::Response::SIZE;
        match self {
            Self::Slot(slot) => {
                let response = slot.response_to(len);
                let room = slot.start()..response.start;
                if response_len > response.len() {
                    return Err(EMSGSIZE);
                }
                write(slot.memory(), room, request, more)?;
                slot.command_type = C::TYPE.try_into()?;
                slot.request_len = len.try_into()?;
                slot.response_len = response_len.try_into()?;
            }
            Self::Dedicated(buffer) => {
                let differs = !buffer.segments.is_empty() && len != buffer.request.len();
                if differs || response_len > buffer.response.len() {
                    return Err(EMSGSIZE);
                }
                write(buffer.home.memory(), buffer.request.clone(), request, more)?;
                buffer.request_len = len;
                buffer.response_len = response_len;
                buffer.command_type = C::TYPE;
            }
        }
        Ok(())
    }

    /// Copies the response into `bytes` and returns the part that was filled.
    ///
    /// `written` is the length in the used element, which the ring has checked. The copy is no
    /// longer than that, than the room for the response, or than `bytes`.
    ///
    /// Context: any, after the ring has given the buffer back: before that, the bytes mean nothing.
    pub(crate) fn read_response<'a>(&self, written: u32, bytes: &'a mut [u8]) -> &'a [u8] {
        let len = u32_as_usize(written)
            .min(self.response_len())
            .min(bytes.len());
        let (response, _) = bytes.split_at_mut(len);
        match self.memory().copy_out(self.response().start, response) {
            Ok(()) => response,
            Err(_) => &[],
        }
    }

    /// Returns the first word of the response, which is its type. It means nothing if the device
    /// wrote less.
    ///
    /// Context: as [`Self::read_response`].
    pub(crate) fn response_kind(&self) -> u32 {
        self.memory().read_u32(self.response().start)
    }

    /// Returns how many segments the request and the room for its response have.
    ///
    /// Context: any.
    pub(super) fn segments(&self) -> usize {
        let response = usize::from(self.has_response());
        match self {
            Self::Slot(_) => 1 + response,
            Self::Dedicated(buffer) => buffer.segments.len().max(1) + response,
        }
    }

    /// Returns the type of the command, from the driver's own record.
    ///
    /// Context: any.
    pub(crate) fn command_type(&self) -> u32 {
        match self {
            Self::Slot(slot) => slot.command_type.into(),
            Self::Dedicated(buffer) => buffer.command_type,
        }
    }

    /// Returns a word of the request, at `offset` in bytes; 0 if it is shorter.
    ///
    /// Context: any.
    pub(super) fn request_word(&self, offset: usize) -> u32 {
        let request = self.request();
        match offset + size_of::<u32>() <= request.len() {
            true => self.memory().read_u32(request.start + offset),
            false => 0,
        }
    }

    /// Returns how many bytes the device reads.
    ///
    /// Context: any.
    pub(super) fn request_len(&self) -> u32 {
        match self {
            Self::Slot(slot) => slot.request_len.into(),
            // CAST: what descriptors describe has 32 bits.
            Self::Dedicated(buffer) => (buffer.request_len + buffer.payload.len()) as u32,
        }
    }

    /// Returns whether the device may write a response.
    pub(crate) fn has_response(&self) -> bool {
        self.response_len() != 0
    }

    /// Has the device answer the command when its effects are there, and repeat `fence_id` then.
    ///
    /// Context: any, after the request was written and before it is in a ring.
    pub(super) fn set_fenced(&mut self, fence_id: u64) {
        let (memory, start) = (self.memory(), self.request().start);
        let flags = start + offset_of!(Header, flags);
        memory.write_u32(flags, memory.read_u32(flags) | FLAG_FENCE);
        memory.write_u64(start + offset_of!(Header, fence_id), fence_id);
    }

    /// Returns the memory that the buffer is in.
    fn memory(&self) -> &DmaMemory {
        match self {
            Self::Slot(slot) => slot.memory(),
            Self::Dedicated(buffer) => buffer.home.memory(),
        }
    }

    /// Returns where the request is in that memory.
    fn request(&self) -> Range<usize> {
        match self {
            Self::Slot(slot) => slot.start()..slot.response().start,
            Self::Dedicated(buffer) => buffer.request.clone(),
        }
    }

    /// Returns where the response is in that memory.
    fn response(&self) -> Range<usize> {
        match self {
            Self::Slot(slot) => slot.response(),
            Self::Dedicated(buffer) => buffer.response.clone(),
        }
    }

    /// Bytes that the device may write.
    fn response_len(&self) -> usize {
        match self {
            Self::Slot(slot) => slot.response_len.into(),
            Self::Dedicated(buffer) => buffer.response_len,
        }
    }
}

impl Request for CommandBuffer {
    fn readable(&self) -> impl AsRef<[Segment]> {
        let (start, len) = match self {
            Self::Slot(slot) => (slot.start(), slot.request_len.into()),
            Self::Dedicated(buffer) if buffer.request_len != 0 && !buffer.segments.is_empty() => {
                return Segments::List(&buffer.segments);
            }
            Self::Dedicated(buffer) => (buffer.request.start, buffer.request_len),
        };
        Segments::One(segment(self.memory(), start, len))
    }

    fn writable(&self) -> impl AsRef<[Segment]> {
        segment(self.memory(), self.response().start, self.response_len())
    }
}

impl From<CommandSlot> for CommandBuffer {
    fn from(slot: CommandSlot) -> Self {
        Self::Slot(slot)
    }
}

impl From<KBox<DedicatedBuffer>> for CommandBuffer {
    fn from(buffer: KBox<DedicatedBuffer>) -> Self {
        Self::Dedicated(buffer)
    }
}

#[cfg(CONFIG_DRM_RUST_GPU_KUNIT_TEST)]
#[kunit_tests(rust_gpu_buffer)]
mod tests {
    use super::*;
    use crate::command::{
        GetDisplayInfo,
        ResourceAttachBacking, //
    };

    #[test]
    fn a_slot_has_room_for_a_long_request_or_a_long_response() {
        let left = |used| LONG_REQUEST_SIZE - used;

        assert_eq!(SLOT_SIZE - LONG_REQUEST_SIZE, SHORT_RESPONSE_SIZE);
        assert!(fits_slot::<ResourceAttachBacking>(0));
        assert!(fits_slot::<ResourceAttachBacking>(left(
            ResourceAttachBacking::SIZE
        )));
        assert!(!fits_slot::<ResourceAttachBacking>(
            left(ResourceAttachBacking::SIZE) + 1
        ));
        assert!(!fits_slot::<ResourceAttachBacking>(usize::MAX));
        assert!(fits_slot::<GetDisplayInfo>(
            REQUEST_SIZE - GetDisplayInfo::SIZE
        ));
        assert!(!fits_slot::<GetDisplayInfo>(
            REQUEST_SIZE - GetDisplayInfo::SIZE + 1
        ));
    }

    #[test]
    fn request_and_response_share_a_slot() {
        for len in [1, REQUEST_SIZE, REQUEST_SIZE + 1, LONG_REQUEST_SIZE] {
            let response = slot_response(len);
            assert!(len <= response.start && response.end == SLOT_SIZE);
        }
    }
}
