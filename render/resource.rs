// SPDX-License-Identifier: GPL-2.0

//! [`NewObject`] makes the resource of an object of the 3D side, and [`make_canonical`] that of an
//! object which is memory for a picture.

use kernel::{
    prelude::*,
    rbtree::RBTreeNodeReservation, //
};

use crate::{
    command::{
        Header,
        ResourceCreate3d, //
    },
    display::{
        attach_command,
        list_any_pages,
        list_pages,
        PieceList, //
    },
    gpu::{
        Gpu,
        Object,
        OwnResource,
        Resource,
        Told, //
    },
    irq::Adapter,
    scheduler::{
        submit_batch_unless,
        Fifo,
        Interrupt,
        Node, //
    },
    virtqueue::{
        CommandBuffer,
        Completion,
        OwnStep,
        Packet, //
    },
};

use super::{
    client_buffer,
    send,
    send_packet,
    Data,
    Host, //
};

/// The commands that make the resource of an object.
pub(crate) struct NewObject {
    own: OwnResource,
    create: ResourceCreate3d,
    /// RESOURCE_CREATE_3D is sent.
    is_created: bool,
    /// What is not sent.
    packets: Fifo<Packet>,
}

/// RESOURCE_CREATE_3D, and the list of pages.
const PACKETS: usize = 2;

impl NewObject {
    /// Makes the commands. The pages of `object` stay where they are from here on.
    ///
    /// Errors: [`EINVAL`] if the object is not of the 3D side, and those of [`list_pages`].
    /// Context: process.
    pub(crate) fn new(gpu: &Gpu<'_>, object: &Object, create: ResourceCreate3d) -> Result<Self> {
        let own = object.own().ok_or(EINVAL)?;
        let list = list_any_pages(gpu, object)?;
        // A use of the pages that does not end with the driver: the device may not let go of them.
        object.pin()?;
        let mut packets = Fifo::new(PACKETS)?;
        let attach = attach_packet(gpu, own.id, list)?;
        // Cannot fail: it is empty.
        packets.push(attach).map_err(|_| EINVAL)?;
        Ok(Self {
            own,
            create: ResourceCreate3d {
                resource_id: own.id.into(),
                ..create
            },
            is_created: false,
            packets,
        })
    }

    /// Sends the commands. [`None`] if there is no room for all: call it again then.
    ///
    /// Errors: [`EIO`] if a reset has lost the object, [`ENODEV`], [`EIO`] if the device is gone or
    /// broken. Context: process.
    pub(crate) fn send(&mut self, adapter: &Adapter<Gpu<'_>>) -> Result<Option<()>> {
        let gpu = adapter.miniport();
        if self.own.incarnation != gpu.incarnation() {
            return Err(EIO);
        }
        let id = self.own.id;
        if !self.is_created {
            // Not of the memory that clients can have all of.
            let Some(mut buffer) = gpu.spare_slot(Node::Control) else {
                return Ok(None);
            };
            buffer.write_request(&self.create, Header::default())?;
            let create = Packet::Command(buffer, Completion::Own(OwnStep::Created, id));
            // Cannot fail: there is room for both.
            self.packets.unpop(create).map_err(|_| EINVAL)?;
            // First: the answer may be there before the call returns.
            gpu.resources().set_own_sent(id, true);
        }
        let sent = submit_batch_unless(
            adapter,
            Node::Control,
            &mut self.packets,
            Interrupt::Wanted,
            || self.own.incarnation != gpu.incarnation(),
        );
        if !self.is_created {
            self.is_created = self.packets.len() < PACKETS;
            if !self.is_created {
                gpu.resources().set_own_sent(id, false);
                // Nobody waits with memory of the driver.
                drop(self.packets.pop());
            }
        }
        if sent.is_err() {
            gpu.fences().check()?;
            return Err(EIO);
        }
        Ok(self.packets.is_empty().then_some(()))
    }
}

/// Returns the packet that tells the device of the pages of an object.
///
/// Errors: [`ENOMEM`], [`EOVERFLOW`]. Context: process.
fn attach_packet(gpu: &Gpu<'_>, id: u32, list: PieceList) -> Result<Packet> {
    let completion = Completion::Own(OwnStep::Attached, id);
    match list {
        PieceList::Short(list) => {
            let bytes = list.as_bytes();
            let attach = attach_command(id, bytes.len())?;
            let data = &mut Data::Bytes(bytes);
            let buffer = client_buffer(gpu, &attach, Header::default(), data)?;
            Ok(Packet::Command(buffer, completion))
        }
        PieceList::Long(list) => {
            let attach = attach_command(id, list.payload_len())?;
            Packet::with_payload(list, &attach, completion)
        }
    }
}

/// Returns the number of the canonical resource of an object that is memory for a picture, and
/// tells the device of it. [`None`] if there is no room.
///
/// Errors: [`EINVAL`] for another object, [`ENOENT`] if nobody has a handle of it any more,
/// [`ENODEV`], [`EIO`] if the device is gone or broken, and those of [`list_pages`]. Context:
/// process.
pub(crate) fn make_canonical(adapter: &Adapter<Gpu<'_>>, object: &Object) -> Result<Option<u32>> {
    let gpu = adapter.miniport();
    let resources = gpu.resources();
    let id = match resources.canonical(object)? {
        Some(id) => id,
        None => {
            let list = list_pages(gpu, object)?;
            let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
            resources.insert_canonical(node, object, list)?;
            resources.canonical(object)?.ok_or(ENOENT)?
        }
    };
    let told = resources.with(id, |resource| tell(adapter, id, resource));
    Ok(told.ok_or(ENOENT)??.then_some(id))
}

/// Tells the device of a resource of which it does not know all. Returns false if there is no room.
///
/// The lock of the table is held, which a reset takes before it starts the device again.
fn tell(adapter: &Adapter<Gpu<'_>>, id: u32, resource: &mut Resource) -> Result<bool> {
    let host = Host::device(adapter.miniport());
    // From here on the host may have another picture.
    resource.spoil();
    if resource.created == Told::Sent || resource.attached == Told::Sent {
        // Maybe by a commit, whose commands wait for room: what comes next must not overtake them.
        return Ok(false);
    }
    if resource.created == Told::No {
        let create = resource.create_command(id);
        if !send(adapter, host, &create, || Completion::Created(id))? {
            return Ok(false);
        }
        resource.created = Told::Sent;
    }
    if resource.attached == Told::No {
        let list = resource.take_list().ok_or(EIO)?;
        let attach = attach_command(id, list.payload_len())?;
        let packet = Packet::with_payload(list, &attach, Completion::Attached(id))?;
        if let Some(packet) = send_packet(adapter, host, packet)? {
            if let Packet::Command(CommandBuffer::Dedicated(list), _) = packet {
                resource.put_list(list);
            }
            return Ok(false);
        }
        resource.attached = Told::Sent;
    }
    Ok(true)
}
