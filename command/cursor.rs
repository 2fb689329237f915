// SPDX-License-Identifier: GPL-2.0

//! The commands of the cursor queue. They have no response: a command is done when its element is
//! used.

use super::{
    wire::Writer,
    Command,
    EncodeError,
    Header,
    NoResponse,
    CMD_MOVE_CURSOR,
    CMD_UPDATE_CURSOR,
    HEADER_SIZE, //
};

/// Bytes of `struct virtio_gpu_update_cursor`, which both commands are.
const SIZE: usize = HEADER_SIZE + 32;

/// Width and height of a cursor's image, in pixels: the device takes no other.
pub(crate) const CURSOR_SIZE: u32 = 64;

/// `UPDATE_CURSOR`: gives the cursor of a scanout an image and moves it.
///
/// The device copies the image when it executes this. As it has two queues, the commands that fill
/// the resource are to be complete before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UpdateCursor {
    /// Index of the scanout.
    pub(crate) scanout_id: u32,
    /// Position in pixels; a negative one in two's complement.
    pub(crate) x: u32,
    /// Position in pixels; a negative one in two's complement.
    pub(crate) y: u32,
    /// The image, [`CURSOR_SIZE`] pixels wide and high; [`NO_RESOURCE`](super::NO_RESOURCE) hides
    /// the cursor.
    pub(crate) resource_id: u32,
    /// Column of the image that is the point the cursor points to.
    pub(crate) hot_x: u32,
    /// Line of the image that is the point the cursor points to.
    pub(crate) hot_y: u32,
}

impl Command for UpdateCursor {
    const TYPE: u32 = CMD_UPDATE_CURSOR;
    const SIZE: usize = SIZE;
    type Response = NoResponse;

    fn encode(&self, header: Header, out: &mut [u8]) -> Result<usize, EncodeError> {
        encode::<Self>(self, header, out)
    }
}

/// Writes `cursor` as the command `C`: both are `struct virtio_gpu_update_cursor`.
fn encode<C: Command>(
    cursor: &UpdateCursor,
    header: Header,
    out: &mut [u8],
) -> Result<usize, EncodeError> {
    let mut writer = Writer::command::<C>(header, out)?;
    writer.put_u32(cursor.scanout_id)?;
    writer.put_u32(cursor.x)?;
    writer.put_u32(cursor.y)?;
    writer.put_u32(0)?;
    writer.put_u32(cursor.resource_id)?;
    writer.put_u32(cursor.hot_x)?;
    writer.put_u32(cursor.hot_y)?;
    writer.put_u32(0)?;
    Ok(writer.finish())
}

/// `MOVE_CURSOR`: moves the cursor of a scanout, whose image stays what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MoveCursor {
    /// Index of the scanout.
    pub(crate) scanout_id: u32,
    /// Position in pixels; a negative one in two's complement.
    pub(crate) x: u32,
    /// Position in pixels; a negative one in two's complement.
    pub(crate) y: u32,
    /// That of the last [`UpdateCursor`]. The specification has the device ignore it, but QEMU
    /// hides a cursor that is moved with [`NO_RESOURCE`](super::NO_RESOURCE).
    pub(crate) resource_id: u32,
}

impl Command for MoveCursor {
    const TYPE: u32 = CMD_MOVE_CURSOR;
    const SIZE: usize = SIZE;
    type Response = NoResponse;

    fn encode(&self, header: Header, out: &mut [u8]) -> Result<usize, EncodeError> {
        let cursor = UpdateCursor {
            scanout_id: self.scanout_id,
            x: self.x,
            y: self.y,
            resource_id: self.resource_id,
            // For UPDATE_CURSOR only.
            hot_x: 0,
            hot_y: 0,
        };
        encode::<Self>(&cursor, header, out)
    }
}
