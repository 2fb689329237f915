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

/// What the cursor of one scanout shall be.
struct State {
    wanted: UpdateCursor,
    /// Images that are on their way; while there are any, nothing is sent.
    transfers: u32,
}

/// The cursor of one scanout.
#[pin_data]
pub(crate) struct Cursor {
    /// Taken by commits and by the DPC. Message locks are taken under it.
    #[pin]
    state: Mutex<State>,
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
                state <- new_mutex!(State { wanted, transfers: 0 }, "rust_gpu::Cursor"),
            }),
            GFP_KERNEL,
        )
    }

    /// Tells that the image of `wanted` is on its way to the device: the command to show it is sent
    /// by [`Cursor::transferred`].
    pub(crate) fn image(&self, wanted: UpdateCursor) {
        let mut state = self.state.lock();
        state.wanted = wanted;
        state.transfers += 1;
    }

    /// The image is with the device: shows the newest state, unless another image is on its way.
    ///
    /// Context: process (the DPC).
    pub(crate) fn transferred(&self, adapter: &Adapter<Gpu<'_>>) {
        let mut state = self.state.lock();
        state.transfers = state.transfers.saturating_sub(1);
        if state.transfers == 0 {
            send(adapter, &state.wanted);
        }
    }

    /// Shows `wanted`, whose image the device has; only moves the cursor where that is enough.
    ///
    /// Context: process.
    pub(crate) fn show(&self, adapter: &Adapter<Gpu<'_>>, wanted: UpdateCursor) {
        let mut state = self.state.lock();
        let old = core::mem::replace(&mut state.wanted, wanted);
        if state.transfers != 0 || old == wanted {
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
        let mut wanted = self.state.lock().wanted;
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
