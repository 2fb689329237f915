// SPDX-License-Identifier: GPL-2.0

//! [`UpdateCursor`] and [`MoveCursor`] show and move a cursor: the commands of the cursor queue.
//! They have no response: a command is done when its element is used.

use zerocopy::little_endian::U32;
use zerocopy_derive::{
    Immutable,
    IntoBytes, //
};

/// Width and height of a cursor's image, in pixels: the device takes no other.
pub(crate) const CURSOR_SIZE: u32 = 64;

/// `UPDATE_CURSOR`: gives the cursor of a scanout an image and moves it.
///
/// The device copies the image when it executes this command. The commands that fill the resource
/// go through the other queue, so they must be complete before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct UpdateCursor {
    /// Index of the scanout.
    pub(crate) scanout_id: U32,
    /// Horizontal position in pixels; a negative one in two's complement.
    pub(crate) x: U32,
    /// Vertical position in pixels; a negative one in two's complement.
    pub(crate) y: U32,
    pub(crate) pos_padding: U32,
    /// The image, [`CURSOR_SIZE`] pixels wide and high; [`NO_RESOURCE`](super::NO_RESOURCE) hides
    /// the cursor.
    pub(crate) resource_id: U32,
    /// Column of the image that the cursor points with.
    pub(crate) hot_x: U32,
    /// Line of the image that the cursor points with.
    pub(crate) hot_y: U32,
    pub(crate) padding: U32,
}

/// `MOVE_CURSOR`: moves the cursor of a scanout, whose image stays what it is.
///
/// Its resource is that of the last [`UpdateCursor`]: the specification tells the device to ignore
/// it, but QEMU hides a cursor that is moved with [`NO_RESOURCE`](super::NO_RESOURCE).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct MoveCursor(pub(super) UpdateCursor);

impl From<UpdateCursor> for MoveCursor {
    /// Clears `hot_x` and `hot_y`, which are for [`UpdateCursor`] only.
    fn from(cursor: UpdateCursor) -> Self {
        Self(UpdateCursor {
            hot_x: U32::ZERO,
            hot_y: U32::ZERO,
            ..cursor
        })
    }
}
