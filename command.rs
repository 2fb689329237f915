// SPDX-License-Identifier: GPL-2.0

//! A [`Command`] is what the driver sends to a virtio GPU, a [`Response`] what the device answers:
//! the wire format, `include/uapi/linux/virtio_gpu.h` (virtio 1.3, 5.7.6) as zerocopy structures.
//!
//! Names are those of the header, without `VIRTIO_GPU_` and `virtio_gpu_`. A structure is what
//! follows the [`Header`] on the wire: little-endian, padding included, which senders leave to
//! `..Default::default()`. The structures are in the modules below; the table in this file has the
//! type of each, its size and its offsets.
//!
//! Responses come from the device and are not trusted. The bytes given to [`Response::decode`] must
//! not change during the call: copy them out of memory that the device can still write.
//!
//! Nothing here uses kernel types, so it is built and tested in user space too.
//!
//! # To add a command
//!
//! 1. Its structure, and that of its response if that is a new one: in the module of its kind
//!    (`cursor`, `edid`, `query`, `render`, `resource`), and in the re-exports of this file.
//! 2. A line in `commands!`, and for a new response one in `responses!`. A response whose length
//!    varies implements [`Response`] itself, as [`Edid`] does. [`MAX_COMMAND_SIZE`] and
//!    [`MAX_RESPONSE_SIZE`] name the biggest.
//! 3. In `selftests/parsers`: its bytes in `src/vector_tests.rs`; the C structure in `src/wire.c`
//!    and the comparison in `src/layout_tests.rs`; a new response in
//!    `fuzz/fuzz_targets/responses.rs`.
//! 4. If the device offers it with a feature only: that bit in `transport/regs.rs` and among those
//!    that `transport/handshake.rs` wants. If it is longer than `REQUEST_SIZE` of
//!    `virtqueue/buffer.rs`: that.
//! 5. Its sender. If only success counts: `Gpu::packet` and `scheduler::submit`, as `send` in
//!    `display/cursor.rs` does. If the answer counts: `Packet::command` and `Reply::decode`, as
//!    `ask` in `display/outputs.rs` does. If data follows the command: `Packet::with_payload`, as
//!    `Display::backing` does.

use core::{
    fmt,
    mem::offset_of, //
};
use zerocopy::{
    little_endian::{
        U32,
        U64, //
    },
    FromBytes,
    Immutable,
    IntoBytes, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes, //
};

use self::edid::EdidHead;

mod cursor;
mod edid;
mod query;
#[cfg_attr(
    not(CONFIG_DRM_RUST_GPU_RENDER),
    allow(dead_code, reason = "only the 3D side sends these")
)]
mod render;
mod resource;

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
        ABGR8888,
        ARGB8888,
        NO_RESOURCE,
        XBGR8888,
        XRGB8888, //
    },
};

#[cfg_attr(
    not(CONFIG_DRM_RUST_GPU_RENDER),
    allow(unused_imports, reason = "only the 3D side sends these")
)]
pub(crate) use self::render::{
    Box3d,
    Capset,
    CtxAttachResource,
    CtxCreate,
    CtxDestroy,
    CtxDetachResource,
    GetCapset,
    ResourceCreate3d,
    Submit3d,
    TransferFromHost3d,
    TransferToHost3d,
    CONTEXT_CAPSET_ID_MASK,
    DEBUG_NAME_SIZE, //
};

/// The command is fenced: the device answers when its effects are there, and repeats
/// [`Header::fence_id`].
pub(crate) const FLAG_FENCE: u32 = 1 << 0;
/// [`Header::ring_idx`] is valid: the fence is on that timeline of the context.
#[cfg_attr(
    not(CONFIG_DRM_RUST_GPU_RENDER),
    allow(dead_code, reason = "only the 3D side needs it")
)]
pub(crate) const FLAG_INFO_RING_IDX: u32 = 1 << 1;

const RESP_OK_NODATA: u32 = 0x1100;
const RESP_OK_DISPLAY_INFO: u32 = 0x1101;
const RESP_OK_CAPSET_INFO: u32 = 0x1102;
const RESP_OK_CAPSET: u32 = 0x1103;
const RESP_OK_EDID: u32 = 0x1104;
const RESP_ERR_FIRST: u32 = 0x1200;
const RESP_ERR_LAST: u32 = 0x12ff;

/// Bytes of [`Header`].
const HEADER_SIZE: usize = size_of::<Header>();

/// Bytes of the biggest [`Command`].
pub(crate) const MAX_COMMAND_SIZE: usize = CtxCreate::SIZE;

/// Bytes of the biggest [`Response`].
pub(crate) const MAX_RESPONSE_SIZE: usize = Edid::SIZE;

/// Checks the layout of a structure that starts at byte `$start` of a command or response: its end,
/// and the offset of each field, both from the start of the command or response. No field may be
/// left out.
macro_rules! layout {
    ($start:expr, $name:ident: $end:literal { $($field:tt: $offset:literal),* }) => {
        const _: () = {
            assert!($start + size_of::<$name>() == $end);
            $(assert!($start + offset_of!($name, $field) == $offset);)*
            let _ = |$name { $($field: _),* }: $name| {};
        };
    };
}

/// Implements [`Command`] for structures, with their types and responses, and checks their layout.
macro_rules! commands {
    ($($kind:literal $name:ident -> $response:ident, $size:literal { $($fields:tt)* })*) => {
        $(
        layout!(HEADER_SIZE, $name: $size { $($fields)* });
        const _: () = assert!($size <= MAX_COMMAND_SIZE);

        impl Command for $name {
            const TYPE: u32 = $kind;
            type Response = $response;
        }
        )*

        /// Returns the name of a type of command, for the log.
        pub(crate) fn command_name(kind: u32) -> &'static str {
            match kind {
                $($kind => stringify!($name),)*
                _ => "command",
            }
        }
    };
}

/// Returns whether a type of command is one that clients of the 3D side send, or that is sent for
/// them: whether the device executes it depends on what they say.
pub(crate) const fn is_for_clients(kind: u32) -> bool {
    kind >> 8 == CtxCreate::TYPE >> 8
}

/// Returns where a command has the number of the resource that it is about, or that of the scanout;
/// in bytes, of a command with its header. [`None`] for one that is about neither.
pub(crate) const fn subject_offset(kind: u32) -> Option<usize> {
    let offset = match kind {
        ResourceCreate2d::TYPE => offset_of!(ResourceCreate2d, resource_id),
        ResourceUnref::TYPE => offset_of!(ResourceUnref, resource_id),
        SetScanout::TYPE => offset_of!(SetScanout, resource_id),
        ResourceFlush::TYPE => offset_of!(ResourceFlush, resource_id),
        TransferToHost2d::TYPE => offset_of!(TransferToHost2d, resource_id),
        ResourceAttachBacking::TYPE => offset_of!(ResourceAttachBacking, resource_id),
        ResourceDetachBacking::TYPE => offset_of!(ResourceDetachBacking, resource_id),
        GetEdid::TYPE => offset_of!(GetEdid, scanout),
        CtxAttachResource::TYPE => offset_of!(CtxAttachResource, resource_id),
        CtxDetachResource::TYPE => offset_of!(CtxDetachResource, resource_id),
        ResourceCreate3d::TYPE => offset_of!(ResourceCreate3d, resource_id),
        TransferToHost3d::TYPE | TransferFromHost3d::TYPE => {
            offset_of!(TransferToHost3d, resource_id)
        }
        UpdateCursor::TYPE => offset_of!(UpdateCursor, resource_id),
        MoveCursor::TYPE => 0,
        _ => return None,
    };
    Some(HEADER_SIZE + offset)
}

/// Implements [`Response`] for structures, with their types, and checks their layout.
macro_rules! responses {
    ($($kind:ident $name:ident, $size:literal { $($fields:tt)* })*) => { $(
        layout!(HEADER_SIZE, $name: $size { $($fields)* });
        const _: () = assert!($size <= MAX_RESPONSE_SIZE);

        impl Response for $name {
            const SIZE: usize = $size;

            fn decode(bytes: &[u8]) -> Result<Self, ResponseError> {
                decode(bytes, $kind).map(|(response, _)| response)
            }
        }
    )* };
}

// The table: sizes and offsets are in bytes and those of virtio 1.3, 5.7.6. Commands and responses
// are counted with their header.
layout!(0, Header: 24 { kind: 0, flags: 4, fence_id: 8, ctx_id: 16, ring_idx: 20, padding: 21 });
layout!(0, Rect: 16 { x: 0, y: 4, width: 8, height: 12 });
layout!(0, DisplayOne: 24 { r: 0, enabled: 16, flags: 20 });
layout!(0, MemEntry: 16 { addr: 0, length: 8, padding: 12 });
layout!(0, Box3d: 24 { x: 0, y: 4, z: 8, w: 12, h: 16, d: 20 });

commands! {
    0x0100 GetDisplayInfo -> DisplayInfo, 24 {}
    0x0101 ResourceCreate2d -> NoData, 40 { resource_id: 24, format: 28, width: 32, height: 36 }
    0x0102 ResourceUnref -> NoData, 32 { resource_id: 24, padding: 28 }
    0x0103 SetScanout -> NoData, 48 { r: 24, scanout_id: 40, resource_id: 44 }
    0x0104 ResourceFlush -> NoData, 48 { r: 24, resource_id: 40, padding: 44 }
    0x0105 TransferToHost2d -> NoData, 56 { r: 24, offset: 40, resource_id: 48, padding: 52 }
    0x0106 ResourceAttachBacking -> NoData, 32 { resource_id: 24, nr_entries: 28 }
    0x0107 ResourceDetachBacking -> NoData, 32 { resource_id: 24, padding: 28 }
    0x0108 GetCapsetInfo -> CapsetInfo, 32 { capset_index: 24, padding: 28 }
    0x0109 GetCapset -> Capset, 32 { capset_id: 24, capset_version: 28 }
    0x010a GetEdid -> Edid, 32 { scanout: 24, padding: 28 }
    0x0200 CtxCreate -> NoData, 96 { nlen: 24, context_init: 28, debug_name: 32 }
    0x0201 CtxDestroy -> NoData, 24 {}
    0x0202 CtxAttachResource -> NoData, 32 { resource_id: 24, padding: 28 }
    0x0203 CtxDetachResource -> NoData, 32 { resource_id: 24, padding: 28 }
    0x0204 ResourceCreate3d -> NoData, 72 {
        resource_id: 24, target: 28, format: 32, bind: 36, width: 40, height: 44, depth: 48,
        array_size: 52, last_level: 56, nr_samples: 60, flags: 64, padding: 68
    }
    0x0205 TransferToHost3d -> NoData, 72 {
        part: 24, offset: 48, resource_id: 56, level: 60, stride: 64, layer_stride: 68
    }
    0x0206 TransferFromHost3d -> NoData, 72 { transfer: 24 }
    0x0207 Submit3d -> NoData, 32 { size: 24, padding: 28 }
    0x0300 UpdateCursor -> NoResponse, 56 {
        scanout_id: 24, x: 28, y: 32, pos_padding: 36,
        resource_id: 40, hot_x: 44, hot_y: 48, padding: 52
    }
    0x0301 MoveCursor -> NoResponse, 56 { 0: 24 }
}

responses! {
    RESP_OK_NODATA NoData, 24 {}
    RESP_OK_DISPLAY_INFO DisplayInfo, 408 { pmodes: 24 }
    RESP_OK_CAPSET_INFO CapsetInfo, 40 {
        capset_id: 24, capset_max_version: 28, capset_max_size: 32, padding: 36
    }
    RESP_OK_CAPSET Capset, 24 {}
}
layout!(HEADER_SIZE, EdidHead: 32 { size: 24, padding: 28 });
layout!(HEADER_SIZE, Edid: 1056 { head: 24, edid: 32 });

/// A command of the control queue or of the cursor queue: what follows its header.
pub(crate) trait Command: Copy + Immutable + IntoBytes {
    /// `type` in the command's header.
    const TYPE: u32;

    /// Bytes of the command, header included.
    const SIZE: usize = HEADER_SIZE + size_of::<Self>();

    /// What the device answers.
    type Response: Response;

    /// Returns the command as the device reads it: [`Self::SIZE`] bytes.
    fn encode(&self, header: Header) -> Framed<Self> {
        Framed {
            header: Header {
                kind: Self::TYPE.into(),
                ..header
            },
            command: *self,
        }
    }
}

/// A [`Command`] with its header.
#[derive(Immutable, IntoBytes)]
#[repr(C, packed)]
pub(crate) struct Framed<C> {
    header: Header,
    command: C,
}

/// What the device answers to a command.
pub(crate) trait Response: Sized {
    /// Bytes of device-writable memory to provide for it; 0 if the device answers nothing.
    const SIZE: usize;

    /// Decodes the answer from `bytes`, which are exactly those that the device wrote (the length
    /// in the used element, not that of the buffer).
    ///
    /// Errors: [`ResponseError`]; each is a failure of this one command only.
    fn decode(bytes: &[u8]) -> Result<Self, ResponseError>;
}

/// Decodes the fixed part of a response of type `kind`, and returns also what follows it.
///
/// The type is checked before the length, because an error has only a header.
fn decode<R: FromBytes>(bytes: &[u8], kind: u32) -> Result<(R, &[u8]), ResponseError> {
    let short = |needed| ResponseError::Short {
        needed,
        got: bytes.len(),
    };
    let (header, body) = Header::read_from_prefix(bytes).map_err(|_| short(HEADER_SIZE))?;
    match header.kind.get() {
        code @ RESP_ERR_FIRST..=RESP_ERR_LAST => Err(ResponseError::Device(DeviceError(code))),
        found if found != kind => Err(ResponseError::Unexpected(found)),
        _ => R::read_from_prefix(body).map_err(|_| short(HEADER_SIZE + size_of::<R>())),
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
        /// Bytes that the response should have, as far as is known.
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

/// `struct virtio_gpu_ctrl_hdr`: what every command and every response starts with. The device
/// repeats all but the type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct Header {
    /// `type`; set by [`Command::encode`].
    pub(crate) kind: U32,
    /// [`FLAG_FENCE`] and [`FLAG_INFO_RING_IDX`].
    pub(crate) flags: U32,
    /// Fence that the command signals, if [`FLAG_FENCE`] is set.
    pub(crate) fence_id: U64,
    /// Rendering context; 0 for none.
    pub(crate) ctx_id: U32,
    /// Timeline of the context, if [`FLAG_INFO_RING_IDX`] is set.
    pub(crate) ring_idx: u8,
    pub(crate) padding: [u8; 3],
}

impl Header {
    /// Returns the header of a command that the device answers only when its effects are there.
    pub(crate) fn fenced(fence_id: u64) -> Self {
        Self {
            flags: FLAG_FENCE.into(),
            fence_id: fence_id.into(),
            ..Self::default()
        }
    }

    /// Returns the header of a command for a context of the 3D side.
    #[cfg_attr(
        not(CONFIG_DRM_RUST_GPU_RENDER),
        allow(dead_code, reason = "only the 3D side needs it")
    )]
    pub(crate) fn of_context(ctx_id: u32) -> Self {
        Self {
            ctx_id: ctx_id.into(),
            ..Self::default()
        }
    }

    /// Returns the same header for a command whose fence, if it is fenced, is on the timeline
    /// `ring_idx` of its context; on that of the whole device if it is [`None`].
    #[cfg_attr(
        not(CONFIG_DRM_RUST_GPU_RENDER),
        allow(dead_code, reason = "only the 3D side needs it")
    )]
    pub(crate) fn on_ring(self, ring_idx: Option<u8>) -> Self {
        let Some(ring_idx) = ring_idx else {
            return self;
        };
        Self {
            flags: (self.flags.get() | FLAG_INFO_RING_IDX).into(),
            ring_idx,
            ..self
        }
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

/// Returns the bytes of a capability set, from all that the device wrote as its answer to
/// [`GetCapset`].
///
/// Errors: as [`Response::decode`].
#[cfg_attr(
    not(CONFIG_DRM_RUST_GPU_RENDER),
    allow(dead_code, reason = "only the 3D side needs it")
)]
pub(crate) fn capset_data(bytes: &[u8]) -> Result<&[u8], ResponseError> {
    decode::<Capset>(bytes, RESP_OK_CAPSET).map(|(_, data)| data)
}

/// Response of the commands that only succeed or fail (`OK_NODATA`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes)]
#[repr(C)]
pub(crate) struct NoData;

/// Returns whether a response of `written` bytes that begins with `kind` says that the command
/// succeeded.
pub(crate) fn is_success(kind: u32, written: u32) -> bool {
    // CAST: a small constant.
    (RESP_OK_NODATA..RESP_ERR_FIRST).contains(&kind) && written >= HEADER_SIZE as u32
}

impl NoData {
    /// Returns whether a response of `written` bytes that begins with `kind` is this one.
    pub(crate) fn is(kind: u32, written: u32) -> bool {
        // CAST: a small constant.
        kind == RESP_OK_NODATA && written >= HEADER_SIZE as u32
    }
}
