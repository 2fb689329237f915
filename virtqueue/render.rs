// SPDX-License-Identifier: GPL-2.0

//! Packets of the render node: a [`Tail`] is what one has beside its command, and goes the way of
//! [`EndedPackets`] when the packet ended.
//!
//! Such packets do not share the list of retired requests. A packet that has ended brings the
//! memory for its place along, so the interrupt routine can always take it, and signal its fence,
//! also if the DPC is late. Nobody waits for the rest: the next submission frees the memory, and
//! only if that is a lot the DPC is woken for it.

use kernel::prelude::*;

use crate::{
    command::is_success,
    scheduler::Bytes, //
};

use super::{
    CommandBuffer,
    Ended,
    Packet,
    Virtqueue, //
};

/// What a packet of the render node has beside its command.
///
/// Context: it is dropped in process context, no message lock held.
pub(crate) struct Tail {
    /// The bytes of the client that the packet has.
    bytes: Option<Bytes>,
    /// The device answers when the work of its GPU is done.
    is_fenced: bool,
    /// The memory of the packet when it has ended.
    buffer: Option<CommandBuffer>,
    /// Another packet that has ended.
    next: Option<KBox<Tail>>,
}

impl Tail {
    /// Makes one.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    #[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
    pub(crate) fn new() -> Result<KBox<Self>> {
        let this = Self {
            bytes: None,
            is_fenced: false,
            buffer: None,
            next: None,
        };
        Ok(KBox::new(this, GFP_KERNEL_ACCOUNT)?)
    }

    /// The packet has these bytes until its memory is free.
    #[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
    pub(crate) fn set_bytes(&mut self, bytes: Option<Bytes>) {
        self.bytes = bytes;
    }

    pub(super) fn set_fenced(&mut self) {
        self.is_fenced = true;
    }
}

/// The most packets that have ended, and the most bytes of theirs, that wait for the next one of a
/// client. The DPC frees the memory of more.
const MOST_ENDED: u16 = 16;
const MOST_BYTES: u32 = 256 << 10;

/// Packets of the render node that have ended.
pub(crate) struct EndedPackets {
    newest: Option<KBox<Tail>>,
    count: u16,
    bytes: u32,
}

impl EndedPackets {
    pub(super) const fn new() -> Self {
        Self {
            newest: None,
            count: 0,
            bytes: 0,
        }
    }

    /// Returns whether they are too many to wait for the next packet of a client.
    pub(super) fn need_dpc(&self) -> bool {
        self.count >= MOST_ENDED || self.bytes >= MOST_BYTES
    }

    /// Adds one.
    pub(super) fn push(&mut self, mut tail: KBox<Tail>, buffer: CommandBuffer) {
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(buffer.request_len());
        tail.buffer = Some(buffer);
        tail.next = self.newest.take();
        self.newest = Some(tail);
    }

    pub(super) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::new())
    }
}

/// Context: process, no message lock held.
impl Drop for EndedPackets {
    fn drop(&mut self) {
        // One by one: one in the other would take a lot of stack.
        while let Some(mut tail) = self.newest.take() {
            self.newest = tail.next.take();
        }
    }
}

impl Packet {
    /// Makes a packet of the render node: a request that is in `buffer` already, with a header that
    /// has no fence.
    ///
    /// Context: any.
    #[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
    pub(crate) fn render(buffer: CommandBuffer, tail: KBox<Tail>) -> Self {
        Self::Render(buffer, tail)
    }
}

/// Says how a command of the render node ended, of which the device wrote `written` bytes.
///
/// Errors: [`ENODATA`] if the device refused it, or did not answer it as one does.
fn result_of(buffer: &CommandBuffer, written: u32) -> Result {
    match is_success(buffer.response_kind(), written) {
        true => Ok(()),
        false => Err(ENODATA),
    }
}

impl Virtqueue {
    /// Returns whether a command of the render node could get a fence id, if it is fenced.
    pub(super) fn can_fence(&self, tail: &Tail) -> bool {
        !tail.is_fenced || self.last_fence_id != u32::MAX || self.fenced == 0
    }

    /// Gives a command of the render node its fence id, if it is fenced. The order of the ids is
    /// that of the ring.
    ///
    /// A host may have 32 bits for them, and may take a fence with a lower id for an older one. So
    /// before they start anew the command comes back until the device has no other one. A reset
    /// does not start them anew.
    ///
    /// Context: lock of the message held.
    pub(super) fn fence(
        &mut self,
        mut buffer: CommandBuffer,
        tail: &Tail,
    ) -> Result<CommandBuffer, CommandBuffer> {
        if tail.is_fenced {
            self.last_fence_id = match self.last_fence_id.checked_add(1) {
                Some(id) => id,
                None if self.fenced == 0 => 1,
                None => return Err(buffer),
            };
            self.fenced += 1;
            buffer.set_fenced(self.last_fence_id.into());
        }
        Ok(buffer)
    }

    /// The device has used a packet of the render node.
    ///
    /// Context: lock of the message held.
    #[cold]
    pub(super) fn end_render(
        &mut self,
        tail: KBox<Tail>,
        buffer: CommandBuffer,
        written: u32,
        id: u64,
    ) -> Ended {
        let result = result_of(&buffer, written);
        self.fenced -= u16::from(tail.is_fenced);
        self.ended.push(tail, buffer);
        Ended::Render(id, result)
    }

    /// Takes the packets of the render node that ended.
    ///
    /// Context: lock of the message held.
    pub(crate) fn take_ended(&mut self) -> EndedPackets {
        self.ended.take()
    }
}
