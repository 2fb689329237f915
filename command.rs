// SPDX-License-Identifier: GPL-2.0

//! The wire format of the virtio GPU: one type per command, its response as an associated type.
//!
//! A [`Command`] writes itself, little-endian and without padding left to chance, into the
//! device-readable part of a request; its [`Response`] is decoded from what the device wrote into
//! the device-writable part. How both travel is none of this file's business, and nothing here uses
//! kernel types, so that it can be built and tested outside of the kernel too.
//!
//! What all commands have in common is in this file, the commands themselves are in the modules
//! below it.
//!
//! Responses are the device's own word and are not trusted. The bytes given to
//! [`Response::decode`] must not change during the call: copy them out of memory that the device
//! can still write.
//!
//! Mirrors `include/uapi/linux/virtio_gpu.h` (virtio 1.3, 5.7); names are those of the header,
//! without `VIRTIO_GPU_` and `virtio_gpu_`.

// Half of a wire format is of little use: what the specification has for a command or a response is
// here as a whole, whether or not the driver has a use for each word of it.
#![allow(dead_code)]

use core::fmt;

use self::wire::Reader;

mod cursor;
mod edid;
mod query;
mod resource;
mod wire;

// For the same reason: the driver does not use all of it.
#[allow(unused_imports)]
pub(crate) use self::{
    cursor::{
        MoveCursor,
        UpdateCursor,
        CURSOR_SIZE, //
    },
    edid::{
        edid_name,
        Edid,
        GetEdid,
        EDID_NAME_SIZE,
        MAX_EDID_SIZE, //
    },
    query::{
        CapsetInfo,
        DisplayInfo,
        DisplayOne,
        GetCapsetInfo,
        GetDisplayInfo,
        Rect,
        MAX_SCANOUTS, //
    },
    resource::{
        Format,
        MemEntry,
        ResourceAttachBacking,
        ResourceCreate2d,
        ResourceDetachBacking,
        ResourceFlush,
        ResourceUnref,
        SetScanout,
        TransferToHost2d,
        NO_RESOURCE, //
    },
};

/// The command is fenced: the device answers when its effects are there, echoing
/// [`Header::fence_id`].
pub(crate) const FLAG_FENCE: u32 = 1 << 0;
/// [`Header::ring_idx`] is valid: the fence is on that timeline of the context.
pub(crate) const FLAG_INFO_RING_IDX: u32 = 1 << 1;

const CMD_GET_DISPLAY_INFO: u32 = 0x0100;
const CMD_RESOURCE_CREATE_2D: u32 = 0x0101;
const CMD_RESOURCE_UNREF: u32 = 0x0102;
const CMD_SET_SCANOUT: u32 = 0x0103;
const CMD_RESOURCE_FLUSH: u32 = 0x0104;
const CMD_TRANSFER_TO_HOST_2D: u32 = 0x0105;
const CMD_RESOURCE_ATTACH_BACKING: u32 = 0x0106;
const CMD_RESOURCE_DETACH_BACKING: u32 = 0x0107;
const CMD_GET_CAPSET_INFO: u32 = 0x0108;
const CMD_GET_EDID: u32 = 0x010a;
const CMD_UPDATE_CURSOR: u32 = 0x0300;
const CMD_MOVE_CURSOR: u32 = 0x0301;

const RESP_OK_NODATA: u32 = 0x1100;
const RESP_OK_DISPLAY_INFO: u32 = 0x1101;
const RESP_OK_CAPSET_INFO: u32 = 0x1102;
const RESP_OK_EDID: u32 = 0x1104;
const RESP_ERR_FIRST: u32 = 0x1200;
const RESP_ERR_LAST: u32 = 0x12ff;

/// Bytes of `struct virtio_gpu_ctrl_hdr`.
pub(crate) const HEADER_SIZE: usize = 24;

/// Bytes of the biggest [`Command`].
pub(crate) const MAX_COMMAND_SIZE: usize = UpdateCursor::SIZE;

/// Bytes of the biggest [`Response`].
pub(crate) const MAX_RESPONSE_SIZE: usize = Edid::SIZE;

/// Room for any command.
pub(crate) type CommandBytes = [u8; MAX_COMMAND_SIZE];

/// Room for any response.
pub(crate) type ResponseBytes = [u8; MAX_RESPONSE_SIZE];

const _: () = {
    assert!(GetDisplayInfo::SIZE <= MAX_COMMAND_SIZE);
    assert!(ResourceCreate2d::SIZE <= MAX_COMMAND_SIZE);
    assert!(ResourceUnref::SIZE <= MAX_COMMAND_SIZE);
    assert!(SetScanout::SIZE <= MAX_COMMAND_SIZE);
    assert!(ResourceFlush::SIZE <= MAX_COMMAND_SIZE);
    assert!(TransferToHost2d::SIZE <= MAX_COMMAND_SIZE);
    assert!(ResourceAttachBacking::SIZE <= MAX_COMMAND_SIZE);
    assert!(ResourceDetachBacking::SIZE <= MAX_COMMAND_SIZE);
    assert!(GetEdid::SIZE <= MAX_COMMAND_SIZE);
    assert!(GetCapsetInfo::SIZE <= MAX_COMMAND_SIZE);
    assert!(MoveCursor::SIZE <= MAX_COMMAND_SIZE);
    assert!(NoData::SIZE <= MAX_RESPONSE_SIZE);
    assert!(DisplayInfo::SIZE <= MAX_RESPONSE_SIZE);
    assert!(CapsetInfo::SIZE <= MAX_RESPONSE_SIZE);
};

/// A command of the control queue or of the cursor queue.
pub(crate) trait Command {
    /// `type` in the command's header.
    const TYPE: u32;

    /// Bytes of the encoded command, header included.
    const SIZE: usize;

    /// What the device answers.
    type Response: Response;

    /// Writes the command to the start of `out` and returns how many bytes that are, which is
    /// always [`Self::SIZE`].
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if `out` is shorter than that; what it then contains is unspecified.
    fn encode(&self, header: Header, out: &mut [u8]) -> Result<usize, EncodeError>;
}

/// What the device answers to a command.
pub(crate) trait Response: Sized {
    /// Bytes of device-writable memory to provide for it; 0 if the device answers nothing.
    const SIZE: usize;

    /// Decodes the answer from `bytes`, which are exactly those that the device wrote (the length
    /// in the used element, not that of the buffer).
    ///
    /// # Errors
    ///
    /// See [`ResponseError`]; each of its variants is a failure of this one command only.
    fn decode(bytes: &[u8]) -> Result<Self, ResponseError>;
}

/// There is no room for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EncodeError {
    /// Bytes that the command has.
    pub(crate) needed: usize,
    /// Bytes that there are.
    pub(crate) available: usize,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a command of {} bytes does not fit in {}",
            self.needed, self.available
        )
    }
}

/// An error code of the device (`VIRTIO_GPU_RESP_ERR_*`), displayed by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceError(pub(crate) u32);

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0x1200 => "ERR_UNSPEC",
            0x1201 => "ERR_OUT_OF_MEMORY",
            0x1202 => "ERR_INVALID_SCANOUT_ID",
            0x1203 => "ERR_INVALID_RESOURCE_ID",
            0x1204 => "ERR_INVALID_CONTEXT_ID",
            0x1205 => "ERR_INVALID_PARAMETER",
            code => return write!(f, "ERR_{code:#06x}"),
        })
    }
}

/// Why there is no usable answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseError {
    /// The device refused the command.
    Device(DeviceError),
    /// The device wrote less than the response has.
    Short {
        /// Bytes that the response has, as far as is known.
        needed: usize,
        /// Bytes that the device wrote.
        got: usize,
    },
    /// The type of the response, given here, is neither the expected one nor an error. A bare
    /// `OK_NODATA` (0x1100) is how a device answers a query it knows nothing about.
    Unexpected(u32),
    /// The EDID, with the size given here, is longer than [`MAX_EDID_SIZE`].
    EdidSize(u32),
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(code) => write!(f, "the device answered {code}"),
            Self::Short { needed, got } => {
                write!(f, "the response has {got} bytes instead of {needed}")
            }
            Self::Unexpected(kind) => write!(f, "unexpected response type {kind:#06x}"),
            Self::EdidSize(size) => write!(f, "EDID size {size} is more than {MAX_EDID_SIZE}"),
        }
    }
}

/// `struct virtio_gpu_ctrl_hdr` of a command, without the type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    /// [`FLAG_FENCE`] and [`FLAG_INFO_RING_IDX`].
    pub(crate) flags: u32,
    /// Fence that the command signals, if [`FLAG_FENCE`] is set.
    pub(crate) fence_id: u64,
    /// Rendering context; 0 for none.
    pub(crate) ctx_id: u32,
    /// Timeline of the context, if [`FLAG_INFO_RING_IDX`] is set.
    pub(crate) ring_idx: u8,
}

impl Header {
    /// Header of a command that the device answers only when its effects are there.
    pub(crate) const fn fenced(fence_id: u64) -> Self {
        Self {
            flags: FLAG_FENCE,
            fence_id,
            ctx_id: 0,
            ring_idx: 0,
        }
    }
}

/// `struct virtio_gpu_ctrl_hdr` of a response: type, and what the device echoes of the command.
///
/// For reports and tests. Which command is answered follows from the used element alone, whatever
/// the echo says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResponseHeader {
    /// `type`
    pub(crate) kind: u32,
    /// The rest.
    pub(crate) header: Header,
}

impl Response for ResponseHeader {
    const SIZE: usize = HEADER_SIZE;

    /// Takes a response of any type, errors included.
    fn decode(bytes: &[u8]) -> Result<Self, ResponseError> {
        let mut reader = Reader::new(bytes, Self::SIZE);
        let kind = reader.get_u32()?;
        let flags = reader.get_u32()?;
        let fence_id = reader.get_u64()?;
        let ctx_id = reader.get_u32()?;
        let [ring_idx, ..] = reader.get::<4>()?;
        Ok(Self {
            kind,
            header: Header {
                flags,
                fence_id,
                ctx_id,
                ring_idx,
            },
        })
    }
}

/// Response of the commands that the device does not answer: those of the cursor queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoResponse;

impl Response for NoResponse {
    const SIZE: usize = 0;

    fn decode(_bytes: &[u8]) -> Result<Self, ResponseError> {
        Ok(Self)
    }
}

/// Response of the commands that only succeed or fail (`OK_NODATA`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoData;

impl NoData {
    /// Returns whether a response of `written` bytes that begins with `kind` is this one.
    pub(crate) fn is(kind: u32, written: u32) -> bool {
        // CAST: a small constant.
        kind == RESP_OK_NODATA && written >= HEADER_SIZE as u32
    }
}

impl Response for NoData {
    const SIZE: usize = HEADER_SIZE;

    fn decode(bytes: &[u8]) -> Result<Self, ResponseError> {
        Reader::response(bytes, RESP_OK_NODATA, Self::SIZE).map(|_| Self)
    }
}
