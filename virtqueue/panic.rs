// SPDX-License-Identifier: GPL-2.0

//! The commands of the panic screen: their memory is allocated and their room in the ring kept free
//! while all is well, so that a panic finds both.

use kernel::{
    device::{
        Bound,
        Device, //
    },
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
            OwnBuffer, //
        },
        dma::DmaContext, //
    },
};

use super::{
    encode,
    Request,
    Virtqueue,
    Wanted, //
};

/// For each scanout a transfer and a flush.
const COMMANDS: usize = 2;

impl Virtqueue {
    /// Sets memory and room in the ring aside for [`Self::submit_panic`], once for each of
    /// `scanouts`: after a panic nobody takes completed commands out of the ring. But at most half
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
        // CAST: usize has at least 32 bits.
        let count = COMMANDS * (half / COMMANDS).min(scanouts as usize);
        let size = TransferToHost2d::SIZE.max(ResourceFlush::SIZE);
        self.aside.reserve(count, GFP_KERNEL)?;
        for _ in 0..count {
            let buffer = OwnBuffer::new(dev, dma, size, 0, NoData::SIZE, GFP_KERNEL)?;
            self.set_aside(buffer.into());
        }
        Ok(())
    }

    /// Returns whether there is room in the ring for a request, besides the room that is kept free.
    pub(super) fn has_room(&self) -> bool {
        // CAST: No more than fit into half of the ring, see `prepare_panic`.
        let kept = self.aside.len() as u16 * self.descriptors;
        self.ring.free_descriptors() >= kept + self.descriptors
    }

    /// Gives the commands of a panic screen to the device, and makes them visible. Does nothing if
    /// too many earlier ones are not complete yet.
    ///
    /// The doorbell is to be rung in any case: who published before may have been stopped before
    /// it rang.
    ///
    /// Context: panic, lock of the message held. Allocates and frees nothing, wakes nobody.
    pub(crate) fn submit_panic(&mut self, transfer: &TransferToHost2d, flush: &ResourceFlush) {
        if self.aside.len() >= COMMANDS && self.push_panic(transfer) {
            self.push_panic(flush);
            let _ = self.ring.publish();
        }
    }

    fn push_panic<C: Command>(&mut self, command: &C) -> bool {
        let Some(mut buffer) = self.aside.pop() else {
            return false;
        };
        let written = buffer.write_request(C::Response::SIZE, |bytes| {
            encode(command, Header::default(), bytes)
        });
        if written.is_err() {
            self.set_aside(buffer);
            return false;
        }
        let request = Request {
            buffer,
            wanted: Wanted::Panic,
            fence: 0,
        };
        match self.ring.push(request) {
            Ok(_) => true,
            Err(PushError { request, .. }) => {
                self.set_aside(request.buffer);
                false
            }
        }
    }

    pub(super) fn set_aside(&mut self, buffer: CommandBuffer) {
        // Cannot fail: there is room for all of them.
        let _ = self.aside.push_within_capacity(buffer);
    }

    /// Takes the next used element, and sets aside again what was of a panic screen.
    pub(super) fn pop_used(&mut self) -> Option<Used<Request>> {
        loop {
            let used = self.ring.pop().ok()??;
            if !matches!(used.request.wanted, Wanted::Panic) {
                return Some(used);
            }
            self.set_aside(used.request.buffer);
        }
    }
}
