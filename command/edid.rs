// SPDX-License-Identifier: GPL-2.0

//! [`Edid`] holds the EDID of a scanout, and [`edid_name`] finds the name of the monitor in it.

use zerocopy::little_endian::U32;
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes, //
};

use super::{
    decode,
    Response,
    ResponseError,
    HEADER_SIZE,
    RESP_OK_EDID, //
};

/// The most bytes of EDID that a device sends for a scanout.
pub(crate) const MAX_EDID_SIZE: usize = 1024;

/// `GET_EDID`: asks for the EDID of a scanout. Only if the device offers `VIRTIO_GPU_F_EDID`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct GetEdid {
    /// Index of the scanout.
    pub(crate) scanout: U32,
    pub(crate) padding: U32,
}

/// What precedes the EDID in the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes)]
#[repr(C)]
pub(super) struct EdidHead {
    /// Bytes of the EDID.
    pub(super) size: U32,
    pub(super) padding: U32,
}

/// `struct virtio_gpu_resp_edid`
///
/// # Invariants
///
/// `head.size` is at most [`MAX_EDID_SIZE`], and no more than the device wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Edid {
    pub(super) head: EdidHead,
    pub(super) edid: [u8; MAX_EDID_SIZE],
}

impl Edid {
    /// Returns the EDID as the device sent it. It may be empty, and need not be valid.
    pub(crate) fn edid(&self) -> &[u8] {
        // CAST: usize has at least 32 bits.
        let size = self.head.size.get() as usize;
        self.edid.get(..size).unwrap_or_default()
    }
}

impl Response for Edid {
    const SIZE: usize = HEADER_SIZE + size_of::<Self>();

    /// Also accepts a response that ends where its EDID ends, before [`Self::SIZE`].
    fn decode(bytes: &[u8]) -> Result<Self, ResponseError> {
        let (head, rest): (EdidHead, _) = decode(bytes, RESP_OK_EDID)?;
        // CAST: usize has at least 32 bits.
        let size = head.size.get() as usize;

        let mut edid = [0; MAX_EDID_SIZE];
        let valid = edid
            .get_mut(..size)
            .ok_or(ResponseError::EdidSize(head.size.get()))?;
        let came = rest.get(..size).ok_or(ResponseError::Short {
            needed: HEADER_SIZE + size_of::<EdidHead>() + size,
            got: bytes.len(),
        })?;
        valid.copy_from_slice(came);

        // INVARIANT: Both slices were cut to `size`.
        Ok(Self { head, edid })
    }
}

/// Length of the monitor name in an EDID, in bytes.
pub(crate) const EDID_NAME_SIZE: usize = 13;

/// Returns the monitor name from the base block of an EDID: printable ASCII, filled up with zeroes.
///
/// `None` if the base block is not complete, its header or its checksum is wrong, or it has no
/// name. Characters that are not printable are left out.
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
