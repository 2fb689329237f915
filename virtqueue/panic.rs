// SPDX-License-Identifier: GPL-2.0

//! The commands of the panic screen: their memory is allocated and their room in the ring kept free
//! while all is well, so that a panic finds both.

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
        buffer::{
            CommandBuffer,
            DedicatedBuffer, //
        },
        dma::DmaContext, //
    },
};

use super::{
    packet::Completion,
    Request,
    Virtqueue, //
};

/// For each scanout a transfer and a flush.
const COMMANDS: usize = 2;

impl Virtqueue {
    /// Reserves memory and room in the ring for [`Self::submit_panic`], once for each of
    /// `scanouts`: after a panic nobody takes completed commands out of the ring. Reserves at most
    /// half of the ring.
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
            let buffer = DedicatedBuffer::new(dev, dma, size, 0, NoData::SIZE, GFP_KERNEL)?;
            self.reserve_for_panic(buffer.into());
        }
        Ok(())
    }

    /// Returns whether there is room in the ring for a request, besides the room that is kept free.
    pub(super) fn has_room(&self) -> bool {
        // CAST: No more than fit into half of the ring, see `prepare_panic`.
        let kept = self.panic_reserve.len() as u16 * self.descriptors;
        self.ring.free_descriptors() >= kept + self.descriptors
    }

    /// Gives the commands of a panic screen to the device, and makes them visible. Does nothing if
    /// too many earlier ones are not complete yet.
    ///
    /// The doorbell is to be written in any case: who published before may have been stopped before
    /// it rang.
    ///
    /// Context: panic, lock of the message held. Allocates and frees nothing, wakes nobody.
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
        // Cannot fail: there is room for all of them.
        let _ = self.panic_reserve.push_within_capacity(buffer);
    }

    /// Takes the next used element, and puts the memory of a panic screen back to the reserve.
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
