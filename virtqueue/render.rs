// SPDX-License-Identifier: GPL-2.0

//! Packets of the render node: a [`Tail`] is what one has beside its command, and goes the way of
//! [`EndedPackets`] when the packet ended.
//!
//! Such packets do not share the list of retired requests. A packet that has ended brings the
//! memory for its place along, so the interrupt routine can always take it, and signal its fence,
//! also if the DPC is late.

use kernel::prelude::*;

use crate::command::is_success;

use super::{
    CommandBuffer,
    Ended,
    Packet,
    Virtqueue, //
};

/// What lives as long as a packet of the render node, and hears of its end.
pub(crate) trait Kept: Send {
    /// The packet ended. `answer` is its memory, and how many bytes the device wrote; [`None`] if
    /// the device did not get the packet, or did not answer it before it was reset. After that this
    /// is dropped, and then the memory.
    ///
    /// Context: process, no lock held. Mostly that is the DPC, which fences of other packets wait
    /// for: it must not wait for the device or for a fence, nor allocate with `GFP_KERNEL`.
    fn ended(&mut self, _answer: Option<(&CommandBuffer, u32)>) {}
}

/// What a packet of the render node has beside its command.
///
/// Context: it is dropped in process context, no lock held.
pub(crate) struct Tail {
    kept: Option<KBox<dyn Kept>>,
    /// The device answers when the work of its GPU is done.
    is_fenced: bool,
    /// The memory of the packet when it has ended, and how many bytes the device wrote.
    answer: Option<(CommandBuffer, u32)>,
    /// Another packet that has ended.
    next: Option<KBox<Tail>>,
}

impl Tail {
    /// Makes one that keeps `kept`.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    #[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
    pub(crate) fn new(kept: Option<KBox<dyn Kept>>) -> Result<KBox<Self>> {
        let this = Self {
            kept,
            is_fenced: false,
            answer: None,
            next: None,
        };
        Ok(KBox::new(this, GFP_KERNEL_ACCOUNT)?)
    }

    pub(super) fn set_fenced(&mut self) {
        self.is_fenced = true;
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        if let Some(kept) = &mut self.kept {
            let answer = self.answer.as_ref();
            kept.ended(answer.map(|(buffer, written)| (buffer, *written)));
        }
        // Before the memory of the packet.
        self.kept = None;
    }
}

/// Packets of the render node that have ended.
pub(crate) struct EndedPackets(Option<KBox<Tail>>);

impl EndedPackets {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds one, of which the device wrote so many bytes.
    pub(super) fn push(&mut self, mut tail: KBox<Tail>, buffer: CommandBuffer, written: u32) {
        tail.answer = Some((buffer, written));
        tail.next = self.0.take();
        self.0 = Some(tail);
    }

    pub(super) fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    /// Drops the packets, in the order in which they ended.
    ///
    /// Context: process, no lock held.
    pub(crate) fn finish(mut self) {
        let mut oldest = Self::new();
        while let Some(mut tail) = self.0.take() {
            self.0 = tail.next.take();
            tail.next = oldest.0.take();
            oldest.0 = Some(tail);
        }
        drop(oldest);
    }
}

impl Drop for EndedPackets {
    fn drop(&mut self) {
        // One by one: one in the other would take a lot of stack.
        while let Some(mut tail) = self.0.take() {
            self.0 = tail.next.take();
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
        self.ended.push(tail, buffer, written);
        Ended::Render(id, result)
    }

    /// Takes the packets of the render node that ended.
    ///
    /// Context: lock of the message held.
    pub(crate) fn take_ended(&mut self) -> EndedPackets {
        self.ended.take()
    }
}
