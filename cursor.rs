// SPDX-License-Identifier: GPL-2.0

//! The cursor of one scanout: the device draws it over the picture, wherever it is.
//!
//! A new image goes to the device by the control queue, and the command that shows it by the cursor
//! queue. The two are not ordered, so the second one is sent when the first is complete, from the
//! DPC. What happens to the cursor meanwhile goes into that same command.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
};

use crate::{
    command::{
        Command,
        MoveCursor,
        UpdateCursor,
        NO_RESOURCE, //
    },
    engine::After,
    gpu::Gpu,
    irq::Adapter,
    scheduler::{
        self,
        Node, //
    },
};

/// The cursor of one scanout.
#[pin_data]
pub(crate) struct Cursor {
    /// What it shall be. Taken by commits and by the DPC. Message locks are taken under it.
    #[pin]
    wanted: Mutex<UpdateCursor>,
    /// Images that are on their way; while there are any, nothing is sent. Raised by commits,
    /// lowered by whoever drops the [`Image`].
    images: Atomic<u32>,
}

/// An image on its way to the device. If it is lost, what comes next is shown without it.
pub(crate) struct Image(Arc<Cursor>);

impl Drop for Image {
    fn drop(&mut self) {
        self.0.images.fetch_sub(1, Relaxed);
    }
}

impl Image {
    /// The image is with the device: shows the newest state, unless another image is on its way.
    ///
    /// Context: process (the DPC).
    pub(crate) fn arrived(self, adapter: &Adapter<Gpu<'_>>) {
        let cursor = self.0.clone();
        let wanted = cursor.wanted.lock();
        drop(self);
        if cursor.images.load(Relaxed) == 0 {
            send(adapter, &*wanted);
        }
    }
}

impl Cursor {
    /// Makes the cursor of a scanout, not shown.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn new(scanout_id: u32) -> Result<Arc<Self>> {
        let wanted = UpdateCursor {
            scanout_id,
            x: 0,
            y: 0,
            resource_id: NO_RESOURCE,
            hot_x: 0,
            hot_y: 0,
        };
        Arc::pin_init(
            pin_init!(Self {
                wanted <- new_mutex!(wanted, "rust_gpu::Cursor"),
                images: Atomic::new(0),
            }),
            GFP_KERNEL,
        )
    }

    /// Has the cursor be `wanted` as soon as its image, which is to be sent next, has
    /// [arrived](Image::arrived).
    ///
    /// Context: process.
    pub(crate) fn image(self: &Arc<Self>, wanted: UpdateCursor) -> Image {
        let mut state = self.wanted.lock();
        *state = wanted;
        // Under the lock, so that nobody shows `wanted` before.
        self.images.fetch_add(1, Relaxed);
        Image(self.clone())
    }

    /// Shows `wanted`, whose image the device has; only moves the cursor where that is enough.
    ///
    /// Context: process.
    pub(crate) fn show(&self, adapter: &Adapter<Gpu<'_>>, wanted: UpdateCursor) {
        let mut state = self.wanted.lock();
        let old = core::mem::replace(&mut *state, wanted);
        if self.images.load(Relaxed) != 0 || old == wanted {
            return;
        }
        if (old.resource_id, old.hot_x, old.hot_y)
            == (wanted.resource_id, wanted.hot_x, wanted.hot_y)
        {
            let command = MoveCursor {
                scanout_id: wanted.scanout_id,
                x: wanted.x,
                y: wanted.y,
                resource_id: wanted.resource_id,
            };
            send(adapter, &command);
        } else {
            send(adapter, &wanted);
        }
    }

    /// Hides the cursor.
    ///
    /// Context: process.
    pub(crate) fn hide(&self, adapter: &Adapter<Gpu<'_>>) {
        let mut wanted = *self.wanted.lock();
        wanted.resource_id = NO_RESOURCE;
        (wanted.x, wanted.y, wanted.hot_x, wanted.hot_y) = (0, 0, 0, 0);
        self.show(adapter, wanted);
    }
}

/// Sends a command of the cursor queue. If the queue is full, or there is no memory, the command is
/// lost: the next one has the whole state too.
fn send<C: Command>(adapter: &Adapter<Gpu<'_>>, command: &C) {
    let packet = adapter
        .miniport()
        .packet(Node::Cursor, command, After::Nothing);
    if let Ok(packet) = packet {
        let _ = scheduler::submit(adapter, Node::Cursor, packet);
    }
}
