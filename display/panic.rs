// SPDX-License-Identifier: GPL-2.0

//! [`flush`] shows the panic screen: DRM has drawn into the pages of a framebuffer, and the device
//! must read them.
//!
//! Nothing here waits. The lock of the message is tried once. If it is taken, its owner was stopped
//! at work on the ring, and the screen stays as it is. Memory and room in the ring are reserved for
//! the commands, see [`crate::virtqueue`]. When they are complete, the interrupt gives the memory
//! back: never after a panic, but after one that was only tried in debugfs.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    drm::kms::PlaneKind, //
};

use crate::{
    command::{
        Rect,
        ResourceFlush,
        TransferToHost2d,
        NO_RESOURCE, //
    },
    gpu::{
        Framebuffer,
        Gpu, //
    },
    irq::Adapter,
    scheduler::{
        Hardware,
        Node, //
    },
};

/// Transfers and flushes all of `framebuffer`, which is on the screen.
///
/// Context: panic.
pub(crate) fn flush(adapter: &Adapter<Gpu<'_>>, dev: &Device<Bound>, framebuffer: &Framebuffer) {
    let resource_id = framebuffer.resource(PlaneKind::Primary);
    if resource_id == NO_RESOURCE || framebuffer.object().sync_for_device_in_panic(dev).is_err() {
        return;
    }
    let r = Rect {
        width: framebuffer.width().into(),
        height: framebuffer.height().into(),
        ..Default::default()
    };
    let transfer = TransferToHost2d {
        r,
        offset: u64::from(framebuffer.offset()).into(),
        resource_id: resource_id.into(),
        ..Default::default()
    };
    let flush = ResourceFlush {
        r,
        resource_id: resource_id.into(),
        ..Default::default()
    };
    let gpu = adapter.miniport();
    let entered = adapter.try_synchronize_execution(gpu.message_of(Node::Control), |state| {
        if let Some(queue) = state.virtqueue(Node::Control) {
            queue.submit_panic(&transfer, &flush);
        }
    });
    if entered.is_some() {
        gpu.kick(Node::Control);
    }
}
