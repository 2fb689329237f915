// SPDX-License-Identifier: GPL-2.0

//! [`Virtqueue`] reserves memory and room in the ring for the commands of the panic screen, so that
//! a panic finds both.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    num::casts::u32_as_usize,
    prelude::*,
    sync::Arc, //
};

use crate::{
    command::{
        Command,
        Header,
        NoData,
        ResourceFlush,
        Response,
        TransferToHost2d, //
    },
    ring::{
        PushError,
        Used, //
    },
    virtqueue::{
        buffer::CommandBuffer,
        dedicated::DedicatedBuffer,
        dma::DmaContext, //
    },
};

use super::{
    packet::Completion,
    Request,
    Virtqueue, //
};

/// Commands for one scanout: a transfer and a flush.
const COMMANDS: usize = 2;

impl Virtqueue {
    /// Reserves memory and room in the ring for [`Self::submit_panic`], once for each of `scanouts`
    /// scanouts: after a panic, nothing takes used commands out of the ring. Reserves at most half
    /// of the ring.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn prepare_panic(
        &mut self,
        dev: &Device<Bound>,
        dma: &Arc<DmaContext>,
        scanouts: u32,
    ) -> Result {
        let half = usize::from(self.ring.size() / 2 / self.descriptors);
        let count = COMMANDS * (half / COMMANDS).min(u32_as_usize(scanouts));
        let size = TransferToHost2d::SIZE.max(ResourceFlush::SIZE);
        self.panic_reserve.reserve(count, GFP_KERNEL)?;
        for _ in 0..count {
            let buffer = DedicatedBuffer::new(dev, dma, size, NoData::SIZE, GFP_KERNEL)?;
            self.reserve_for_panic(buffer.into());
        }
        Ok(())
    }

    /// Returns whether there is room in the ring for a request of `segments` segments, besides the
    /// room that is reserved for panic screens.
    pub(super) fn has_room(&self, segments: usize) -> bool {
        let needed = match self.descriptors {
            1 => 1,
            _ => segments,
        };
        let kept = self.panic_reserve.len() * usize::from(self.descriptors);
        usize::from(self.ring.free_descriptors()) >= kept + needed
    }

    /// Pushes the commands of a panic screen and publishes them. Does nothing if the reserve has
    /// too few, because earlier ones are not complete.
    ///
    /// The caller kicks the device in any case: the CPU that published last may have been stopped
    /// before its kick.
    ///
    /// Context: panic, lock of the message held. Allocates, frees and wakes nothing.
    pub(crate) fn submit_panic(&mut self, transfer: &TransferToHost2d, flush: &ResourceFlush) {
        if self.panic_reserve.len() >= COMMANDS && self.push_panic(transfer) {
            self.push_panic(flush);
            let _ = self.ring.publish();
        }
    }

    fn push_panic<C: Command>(&mut self, command: &C) -> bool {
        let Some(mut buffer) = self.panic_reserve.pop() else {
            return false;
        };
        if buffer.write_request(command, Header::default()).is_err() {
            self.reserve_for_panic(buffer);
            return false;
        }
        let request = Request {
            buffer,
            completion: Completion::Panic,
            fence: 0,
            // Not in the log, which nobody reads any more.
            number: 0,
        };
        match self.ring.push(request) {
            Ok(_) => true,
            Err(PushError { request, .. }) => {
                self.reserve_for_panic(request.buffer);
                false
            }
        }
    }

    pub(super) fn reserve_for_panic(&mut self, buffer: CommandBuffer) {
        // Cannot fail: `prepare_panic` made room for all of them.
        let _ = self.panic_reserve.push_within_capacity(buffer);
    }

    /// Takes the next used element. Puts the memory of panic screens back into the reserve.
    pub(super) fn pop_used(&mut self) -> Option<Used<Request>> {
        loop {
            let used = self.ring.pop().ok()??;
            if !matches!(used.request.completion, Completion::Panic) {
                return Some(used);
            }
            self.reserve_for_panic(used.request.buffer);
        }
    }
}
