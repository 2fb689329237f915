// SPDX-License-Identifier: GPL-2.0

//! [`DedicatedBuffer`] is the memory of one command that does not fit into a slot: most have data
//! that follows the request.

use core::ops::Range;
use kernel::{
    alloc::Flags,
    device::{
        self,
        Bound, //
    },
    prelude::*,
    sync::Arc, //
};

use crate::{
    ring::Segment,
    virtqueue::{
        buffer::{
            CommandSlot,
            REQUEST_SIZE, //
        },
        dma::{
            DmaContext,
            DmaMemory, //
        },
        payload::{
            Payload,
            UserData, //
        },
    },
};

/// The offset of the response in a [`DedicatedBuffer`] is a multiple of this, in bytes.
const RESPONSE_ALIGN: usize = 64;

/// Where the request and the response of a [`DedicatedBuffer`] are.
pub(super) enum Home {
    Own(DmaMemory),
    Slot(CommandSlot),
}

impl Home {
    pub(super) fn memory(&self) -> &DmaMemory {
        match self {
            Self::Own(memory) => memory,
            Self::Slot(slot) => slot.memory(),
        }
    }
}

/// Room for one request and one response, of any size, in an allocation of its own; or in a slot,
/// if data follows the request that has one.
pub(crate) struct DedicatedBuffer {
    pub(super) home: Home,
    pub(super) request: Range<usize>,
    pub(super) response: Range<usize>,
    /// Data that follows the request.
    pub(super) payload: Payload,
    /// The request and its payload, if it has one.
    pub(super) segments: KVec<Segment>,
    /// Bytes of the request; 0 before there is one, which a ring refuses.
    pub(super) request_len: usize,
    /// Bytes that the device may write.
    pub(super) response_len: usize,
    /// Type of the command; 0 before there is one.
    pub(super) command_type: u32,
}

impl DedicatedBuffer {
    /// Allocates room for `request` bytes of request, 1 to [`REQUEST_SIZE`], and `response` bytes
    /// of response.
    ///
    /// `dev` is the device of `context`; for `gfp` see [`DmaMemory::new`].
    ///
    /// Errors: [`ENOMEM`]; [`EINVAL`] for another size of request; [`EOVERFLOW`] if the sum is out
    /// of range.
    ///
    /// Context: process; may sleep.
    pub(crate) fn new(
        dev: &device::Device<Bound>,
        context: &Arc<DmaContext>,
        request: usize,
        response: usize,
        gfp: Flags,
    ) -> Result<KBox<Self>> {
        if request == 0 || request > REQUEST_SIZE {
            return Err(EINVAL);
        }
        let start = request.next_multiple_of(RESPONSE_ALIGN);
        let end = start.checked_add(response).ok_or(EOVERFLOW)?;

        let home = Home::Own(DmaMemory::new(dev, context, end, gfp)?);
        Self::empty(home, 0..request, start..end, gfp)
    }

    /// Makes room for a request of `request` bytes and its response in `slot`: the data that
    /// follows has memory of its own.
    ///
    /// Errors: [`ENOMEM`]. Context: process; may sleep.
    #[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
    pub(crate) fn in_slot(slot: CommandSlot, request: usize, gfp: Flags) -> Result<KBox<Self>> {
        let start = slot.start();
        let response = slot.response_to(request);
        let request = start..start + request.min(REQUEST_SIZE);
        Self::empty(Home::Slot(slot), request, response, gfp)
    }

    /// Makes a buffer without a request.
    fn empty(
        home: Home,
        request: Range<usize>,
        response: Range<usize>,
        gfp: Flags,
    ) -> Result<KBox<Self>> {
        let buffer = Self {
            home,
            request,
            response,
            payload: Payload::empty(),
            segments: KVec::new(),
            request_len: 0,
            response_len: 0,
            command_type: 0,
        };
        Ok(KBox::new(buffer, gfp)?)
    }

    /// Adds `data`, which follows the request, without a copy. The request must have the size for
    /// which the buffer was made.
    ///
    /// Errors: [`EINVAL`] if the device does not take physical addresses; [`ENOMEM`]. Context:
    /// process; may sleep.
    #[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
    pub(crate) fn add_user_data(
        &mut self,
        context: &Arc<DmaContext>,
        data: UserData,
        gfp: Flags,
    ) -> Result {
        self.set_payload(Payload::from_user(context, data, gfp)?, gfp)
    }

    /// Adds `len` bytes that follow the request, in `max_pieces` pieces at the most. The request
    /// must have the size given to [`Self::new`].
    ///
    /// Errors: [`ENOMEM`], without a line in the log. Context: process; may sleep.
    pub(crate) fn add_payload(
        &mut self,
        dev: &device::Device<Bound>,
        context: &Arc<DmaContext>,
        len: usize,
        max_pieces: usize,
        gfp: Flags,
    ) -> Result {
        self.set_payload(Payload::new(dev, context, len, max_pieces, gfp)?, gfp)
    }

    fn set_payload(&mut self, payload: Payload, gfp: Flags) -> Result {
        let mut segments = KVec::with_capacity(payload.count() + 1, gfp)?;
        let memory = self.home.memory();
        let request = memory.segment(self.request.start, self.request.len())?;
        segments.push(request, gfp)?;
        for segment in payload.segments() {
            segments.push(segment?, gfp)?;
        }
        self.payload = payload;
        self.segments = segments;
        Ok(())
    }

    /// Returns the number of bytes that follow the request.
    pub(crate) fn payload_len(&self) -> usize {
        self.payload.len()
    }

    /// Copies `bytes` to `offset` in the payload. They must not cross the end of a page.
    ///
    /// Errors: [`ERANGE`] if that goes beyond the payload. Context: any.
    pub(crate) fn write_payload(&mut self, offset: usize, bytes: &[u8]) -> Result {
        self.payload.write(offset, bytes)
    }
}
