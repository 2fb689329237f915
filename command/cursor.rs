// SPDX-License-Identifier: GPL-2.0

//! The commands of the cursor queue.

use super::{
    wire::Writer,
    Command,
    EncodeError,
    Header,
    NoResponse,
    CMD_MOVE_CURSOR,
    HEADER_SIZE, //
};

/// `MOVE_CURSOR`: moves the cursor of a scanout, whose image stays what it is. It goes to the
/// cursor queue and has no response: it is done when its element is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MoveCursor {
    /// Index of the scanout.
    pub(crate) scanout_id: u32,
    /// Position in pixels.
    pub(crate) x: u32,
    /// Position in pixels.
    pub(crate) y: u32,
}

impl Command for MoveCursor {
    const TYPE: u32 = CMD_MOVE_CURSOR;
    const SIZE: usize = HEADER_SIZE + 32;
    type Response = NoResponse;

    fn encode(&self, header: Header, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::command::<Self>(header, out)?;
        writer.put_u32(self.scanout_id)?;
        writer.put_u32(self.x)?;
        writer.put_u32(self.y)?;
        writer.put_u32(0)?;
        // resource_id, hot_x, hot_y and padding: for UPDATE_CURSOR only.
        writer.put([0; 16])?;
        Ok(writer.finish())
    }
}
