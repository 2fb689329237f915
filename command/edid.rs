// SPDX-License-Identifier: GPL-2.0

//! The EDID of a scanout, and the name of the monitor in it.

use super::{
    wire::{
        Reader,
        Writer, //
    },
    Command,
    EncodeError,
    Header,
    Response,
    ResponseError,
    CMD_GET_EDID,
    HEADER_SIZE,
    RESP_OK_EDID, //
};

/// Most bytes of EDID a device sends for a scanout.
pub(crate) const MAX_EDID_SIZE: usize = 1024;

/// `GET_EDID`: asks for the EDID of a scanout. Only if the device offers `VIRTIO_GPU_F_EDID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GetEdid {
    /// Index of the scanout.
    pub(crate) scanout: u32,
}

impl Command for GetEdid {
    const TYPE: u32 = CMD_GET_EDID;
    const SIZE: usize = HEADER_SIZE + 8;
    type Response = Edid;

    fn encode(&self, header: Header, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::command::<Self>(header, out)?;
        writer.put_u32(self.scanout)?;
        writer.put_u32(0)?;
        Ok(writer.finish())
    }
}

/// `struct virtio_gpu_resp_edid`
///
/// # Invariants
///
/// `size` is at most [`MAX_EDID_SIZE`], and no more than the device wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edid {
    size: usize,
    edid: [u8; MAX_EDID_SIZE],
}

impl Edid {
    /// Bytes in front of the EDID.
    const FIXED_SIZE: usize = HEADER_SIZE + 8;

    /// The bytes that are valid, which may be none and need not be a valid EDID.
    pub(crate) fn edid(&self) -> &[u8] {
        self.edid.get(..self.size).unwrap_or_default()
    }
}

impl Response for Edid {
    const SIZE: usize = Self::FIXED_SIZE + MAX_EDID_SIZE;

    /// Takes also a response that ends where its EDID does, before [`Self::SIZE`].
    fn decode(bytes: &[u8]) -> Result<Self, ResponseError> {
        let mut reader = Reader::response(bytes, RESP_OK_EDID, Self::FIXED_SIZE)?;
        let raw_size = reader.get_u32()?;
        reader.get::<4>()?;

        let mut edid = [0; MAX_EDID_SIZE];
        let size = usize::try_from(raw_size).map_err(|_| ResponseError::EdidSize(raw_size))?;
        let Some(valid) = edid.get_mut(..size) else {
            return Err(ResponseError::EdidSize(raw_size));
        };
        let Some(came) = reader.rest().get(..size) else {
            return Err(ResponseError::Short {
                needed: Self::FIXED_SIZE + size,
                got: bytes.len(),
            });
        };
        valid.copy_from_slice(came);

        // INVARIANT: both slices have been cut to `size`.
        Ok(Self { size, edid })
    }
}

/// Length of the monitor name in an EDID, in bytes.
pub(crate) const EDID_NAME_SIZE: usize = 13;

/// The monitor name from the base block of an EDID: printable ASCII, filled up with zeroes.
///
/// `None` if there is no whole base block, its header or its checksum is wrong, or it has no name.
/// Characters that are not printable are left out.
pub(crate) fn edid_name(edid: &[u8]) -> Option<[u8; EDID_NAME_SIZE]> {
    const HEADER: [u8; 8] = [0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00];
    const DESCRIPTORS: usize = 54;
    const DESCRIPTOR_SIZE: usize = 18;
    // A display descriptor, not a timing, with the product name's tag; the last byte is reserved.
    const PRODUCT_NAME: [u8; 4] = [0x00, 0x00, 0x00, 0xfc];
    const TERMINATOR: u8 = b'\n';

    let block = edid.first_chunk::<128>()?;
    let sum = block.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if !block.starts_with(&HEADER) || sum != 0 {
        return None;
    }

    // The block's last two bytes are no descriptor, and chunks_exact() leaves them out.
    let text = block
        .get(DESCRIPTORS..)?
        .chunks_exact(DESCRIPTOR_SIZE)
        .find_map(|descriptor| descriptor.strip_prefix(&PRODUCT_NAME)?.get(1..))?;

    let mut name = [0; EDID_NAME_SIZE];
    let printable = text
        .iter()
        .take_while(|byte| **byte != TERMINATOR)
        .filter(|byte| matches!(byte, b' '..=b'~'));
    for (to, from) in name.iter_mut().zip(printable) {
        *to = *from;
    }
    (name != [0; EDID_NAME_SIZE]).then_some(name)
}
