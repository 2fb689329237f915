// SPDX-License-Identifier: GPL-2.0

//! [`Submission`] submits a command of a client, and publishes its fence on the objects that it
//! works on.

use kernel::{
    dma_buf::{
        Fence,
        Usage, //
    },
    drm::{
        self,
        exec::lock_all, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    uaccess::UserPtr, //
};

use crate::{
    command::{
        Command,
        Header, //
    },
    gpu::{
        Gpu,
        Object,
        RustGpuDevice, //
    },
    irq::Adapter,
    render::{
        client_buffer,
        Context,
        Data, //
    },
    scheduler::{
        submit_promised,
        Lack,
        PacketFence,
        Promise,
        Refused, //
    },
    virtqueue::{
        fits_slot,
        Packet,
        Tail, //
    },
};

use super::context::when_client_has_room;

/// Returns an address of user space.
///
/// Errors: [`EFAULT`] if it is none.
pub(super) fn user_ptr(address: u64) -> Result<UserPtr> {
    Ok(UserPtr::from_addr(address.try_into().map_err(|_| EFAULT)?))
}

/// A command of a client that will be submitted.
pub(super) struct Submission<'s> {
    pub(super) dev: &'s RustGpuDevice<drm::Ioctl>,
    pub(super) context: &'s Arc<Context>,
    /// What it works on.
    pub(super) objects: &'s [ARef<Object>],
    /// The ring of the context; [`None`] for the timeline of the device.
    pub(super) ring: Option<u8>,
}

impl Submission<'_> {
    /// Waits for room, and submits `command` with the data that follows it. Calls `prepare` before
    /// that, when nothing waits any more. Its fence is on all objects from then on; there is one if
    /// there are objects.
    ///
    /// Errors: [`EIO`] if a reset has lost the context; [`ENOMEM`]; those of
    /// [`when_client_has_room`] and of `prepare`. Nothing is left of the command then.
    ///
    /// Context: process, no registration guard held.
    pub(super) fn submit<C: Command>(
        &self,
        command: &C,
        mut data: Data<'_>,
        fence: Option<PacketFence>,
        prepare: impl Fn(&Gpu<'_>) -> Result,
    ) -> Result<Option<ARef<Fence>>> {
        let context = self.context;
        // What fits beside the command is no more than a place.
        let bytes = match fits_slot::<C>(data.len()) {
            true => 0,
            false => data.len(),
        };
        let mut parts = Some((Tail::new()?, fence));
        let fence = when_client_has_room(self.dev, context.client(), |adapter| {
            let gpu = adapter.miniport();
            let Some(host) = context.attach_pending(adapter)? else {
                return Ok(Err(Lack::Room));
            };
            let mut promise = match Promise::new(adapter, context.client(), bytes)? {
                Ok(promise) => promise,
                Err(lack) => return Ok(Err(lack)),
            };
            // After the promise, which is no good after a reset.
            let header = Header::of_context(host.id(gpu)?).on_ring(self.ring);
            let buffer = client_buffer(gpu, command, header, &mut data)?;
            prepare(gpu)?;
            // They are there: from here on it ends, well or not.
            let (mut tail, fence) = parts.take().ok_or(EINVAL)?;
            tail.set_bytes(promise.take_bytes());
            self.give(adapter, promise, Packet::render(buffer, tail), fence)
                .map(Ok)
        })?;
        if let Some(fence) = &fence {
            context.set_timeline(self.ring, fence.context());
        }
        Ok(fence)
    }

    /// Submits the packet, and puts its fence on the objects.
    fn give(
        &self,
        adapter: &Adapter<Gpu<'_>>,
        promise: Promise,
        packet: Packet,
        fence: Option<PacketFence>,
    ) -> Result<Option<ARef<Fence>>> {
        let submitted = lock_all(self.objects, |locked| {
            let submitted = submit_promised(adapter, promise, packet, fence)?;
            if let Some(fence) = &submitted.fence {
                locked.add_fence(fence, Usage::Write);
            }
            Ok(submitted.fence)
        })?;
        // Outside of the locks of the objects.
        submitted.map_err(|refused: Refused<Packet>| {
            drop(refused.packet);
            refused.error
        })
    }
}
