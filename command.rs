// SPDX-License-Identifier: GPL-2.0

//! The wire format of the virtio GPU: one type per command, its response as an associated type.
//!
//! A [`Command`] writes itself, little-endian and without padding left to chance, into the
//! device-readable part of a request; its [`Response`] is decoded from what the device wrote into
//! the device-writable part. How both travel is none of this file's business, and nothing here uses
//! kernel types, so that it can be built and tested outside of the kernel too.
//!
//! Responses are the device's own word and are not trusted. The bytes given to
//! [`Response::decode`] must not change during the call: copy them out of memory that the device
//! can still write.
//!
//! Mirrors `include/uapi/linux/virtio_gpu.h` (virtio 1.3, 5.7); names are those of the header,
//! without `VIRTIO_GPU_` and `virtio_gpu_`.

// Half of a wire format is of little use: what the specification has for a command, a response or
// the features is here as a whole, whether or not the driver has a use for each word of it.
#![allow(dead_code)]

use core::fmt;

/// 3D (virgl) commands are supported.
pub(crate) const F_VIRGL: u32 = 0;
/// [`GetEdid`] is supported.
pub(crate) const F_EDID: u32 = 1;
/// Resources can be given UUIDs for export to other virtio devices.
pub(crate) const F_RESOURCE_UUID: u32 = 2;
/// Blob resources are supported.
pub(crate) const F_RESOURCE_BLOB: u32 = 3;
/// Context types and several timelines (`ring_idx`) are supported.
pub(crate) const F_CONTEXT_INIT: u32 = 4;
/// `blob_alignment` in the device configuration is valid.
pub(crate) const F_BLOB_ALIGNMENT: u32 = 5;

/// The command is fenced: the device answers when its effects are there, echoing
/// [`Header::fence_id`].
pub(crate) const FLAG_FENCE: u32 = 1 << 0;
/// [`Header::ring_idx`] is valid: the fence is on that timeline of the context.
pub(crate) const FLAG_INFO_RING_IDX: u32 = 1 << 1;

const CMD_GET_DISPLAY_INFO: u32 = 0x0100;
const CMD_GET_CAPSET_INFO: u32 = 0x0108;
const CMD_GET_EDID: u32 = 0x010a;
const CMD_MOVE_CURSOR: u32 = 0x0301;

const RESP_OK_NODATA: u32 = 0x1100;
const RESP_OK_DISPLAY_INFO: u32 = 0x1101;
const RESP_OK_CAPSET_INFO: u32 = 0x1102;
const RESP_OK_EDID: u32 = 0x1104;
const RESP_ERR_FIRST: u32 = 0x1200;
const RESP_ERR_LAST: u32 = 0x12ff;

/// Most scanouts a device has.
pub(crate) const MAX_SCANOUTS: usize = 16;

/// Most bytes of EDID a device sends for a scanout.
pub(crate) const MAX_EDID_SIZE: usize = 1024;

/// Bytes of `struct virtio_gpu_ctrl_hdr`.
pub(crate) const HEADER_SIZE: usize = 24;

/// Bytes of the biggest [`Command`].
pub(crate) const MAX_COMMAND_SIZE: usize = MoveCursor::SIZE;

/// Bytes of the biggest [`Response`].
pub(crate) const MAX_RESPONSE_SIZE: usize = Edid::SIZE;

/// Room for any command.
pub(crate) type CommandBytes = [u8; MAX_COMMAND_SIZE];

/// Room for any response.
pub(crate) type ResponseBytes = [u8; MAX_RESPONSE_SIZE];

const _: () = {
    assert!(GetDisplayInfo::SIZE <= MAX_COMMAND_SIZE);
    assert!(GetEdid::SIZE <= MAX_COMMAND_SIZE);
    assert!(GetCapsetInfo::SIZE <= MAX_COMMAND_SIZE);
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

/// Writes little-endian fields one after the other.
struct Writer<'a> {
    rest: &'a mut [u8],
    needed: usize,
    available: usize,
}

impl<'a> Writer<'a> {
    /// Starts a command of type `C` with its header.
    fn command<C: Command>(header: Header, out: &'a mut [u8]) -> Result<Self, EncodeError> {
        let available = out.len();
        let mut writer = Self {
            rest: out,
            needed: C::SIZE,
            available,
        };
        writer.put_u32(C::TYPE)?;
        writer.put_u32(header.flags)?;
        writer.put_u64(header.fence_id)?;
        writer.put_u32(header.ctx_id)?;
        writer.put([header.ring_idx, 0, 0, 0])?;
        Ok(writer)
    }

    fn put<const N: usize>(&mut self, bytes: [u8; N]) -> Result<(), EncodeError> {
        let (head, tail) = core::mem::take(&mut self.rest)
            .split_first_chunk_mut::<N>()
            .ok_or(EncodeError {
                needed: self.needed,
                available: self.available,
            })?;
        *head = bytes;
        self.rest = tail;
        Ok(())
    }

    fn put_u32(&mut self, value: u32) -> Result<(), EncodeError> {
        self.put(value.to_le_bytes())
    }

    fn put_u64(&mut self, value: u64) -> Result<(), EncodeError> {
        self.put(value.to_le_bytes())
    }

    /// Number of bytes written.
    fn finish(self) -> usize {
        self.available - self.rest.len()
    }
}

/// Reads little-endian fields one after the other.
struct Reader<'a> {
    rest: &'a [u8],
    needed: usize,
    got: usize,
}

impl<'a> Reader<'a> {
    /// `needed` is the size of the whole response, for the error.
    fn new(bytes: &'a [u8], needed: usize) -> Self {
        Self {
            rest: bytes,
            needed,
            got: bytes.len(),
        }
    }

    /// Starts a response, the whole of which has `needed` bytes: what its header says comes before
    /// its length, because an error has no more than a header.
    fn response(bytes: &'a [u8], kind: u32, needed: usize) -> Result<Self, ResponseError> {
        let header = ResponseHeader::decode(bytes)?;
        if matches!(header.kind, RESP_ERR_FIRST..=RESP_ERR_LAST) {
            return Err(ResponseError::Device(DeviceError(header.kind)));
        }
        if header.kind != kind {
            return Err(ResponseError::Unexpected(header.kind));
        }
        let mut reader = Self::new(bytes, needed);
        if bytes.len() < needed {
            return Err(reader.short());
        }
        reader.get::<HEADER_SIZE>()?;
        Ok(reader)
    }

    fn short(&self) -> ResponseError {
        ResponseError::Short {
            needed: self.needed,
            got: self.got,
        }
    }

    fn get<const N: usize>(&mut self) -> Result<[u8; N], ResponseError> {
        let (head, tail) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| self.short())?;
        self.rest = tail;
        Ok(*head)
    }

    fn get_u32(&mut self) -> Result<u32, ResponseError> {
        self.get().map(u32::from_le_bytes)
    }

    fn get_u64(&mut self) -> Result<u64, ResponseError> {
        self.get().map(u64::from_le_bytes)
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

impl Response for NoData {
    const SIZE: usize = HEADER_SIZE;

    fn decode(bytes: &[u8]) -> Result<Self, ResponseError> {
        Reader::response(bytes, RESP_OK_NODATA, Self::SIZE).map(|_| Self)
    }
}

/// `GET_DISPLAY_INFO`: asks for the scanouts' preferred positions and sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GetDisplayInfo;

impl Command for GetDisplayInfo {
    const TYPE: u32 = CMD_GET_DISPLAY_INFO;
    const SIZE: usize = HEADER_SIZE;
    type Response = DisplayInfo;

    fn encode(&self, header: Header, out: &mut [u8]) -> Result<usize, EncodeError> {
        Writer::command::<Self>(header, out).map(Writer::finish)
    }
}

/// `struct virtio_gpu_rect`, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rect {
    /// Left edge.
    pub(crate) x: u32,
    /// Upper edge.
    pub(crate) y: u32,
    /// Width.
    pub(crate) width: u32,
    /// Height.
    pub(crate) height: u32,
}

/// `struct virtio_gpu_display_one`: what the device would like a scanout to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DisplayOne {
    /// Position and preferred size. These are the device's word as it came: any 32-bit values,
    /// whose sums and products overflow. To be checked by whoever makes a mode of them.
    pub(crate) r: Rect,
    /// Whether something is connected.
    pub(crate) enabled: bool,
    /// No flags are specified; the device's word.
    pub(crate) flags: u32,
}

/// `struct virtio_gpu_resp_display_info`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DisplayInfo {
    /// The scanouts. Those beyond `num_scanouts` of the device configuration have no meaning.
    pub(crate) pmodes: [DisplayOne; MAX_SCANOUTS],
}

impl DisplayInfo {
    /// What is assumed of a device that does not tell: scanout 0 enabled, 1024x768 pixels.
    pub(crate) const fn fallback() -> Self {
        const OFF: DisplayOne = DisplayOne {
            r: Rect {
                x: 0,
                y: 0,
                width: 0,
                height: 0,
            },
            enabled: false,
            flags: 0,
        };
        const ON: DisplayOne = DisplayOne {
            r: Rect {
                x: 0,
                y: 0,
                width: 1024,
                height: 768,
            },
            enabled: true,
            flags: 0,
        };
        let mut pmodes = [OFF; MAX_SCANOUTS];
        pmodes[0] = ON;
        Self { pmodes }
    }
}

impl Response for DisplayInfo {
    const SIZE: usize = HEADER_SIZE + MAX_SCANOUTS * 24;

    fn decode(bytes: &[u8]) -> Result<Self, ResponseError> {
        let mut reader = Reader::response(bytes, RESP_OK_DISPLAY_INFO, Self::SIZE)?;
        let mut pmodes = [DisplayOne::default(); MAX_SCANOUTS];
        for pmode in &mut pmodes {
            *pmode = DisplayOne {
                r: Rect {
                    x: reader.get_u32()?,
                    y: reader.get_u32()?,
                    width: reader.get_u32()?,
                    height: reader.get_u32()?,
                },
                enabled: reader.get_u32()? != 0,
                flags: reader.get_u32()?,
            };
        }
        Ok(Self { pmodes })
    }
}

/// `GET_CAPSET_INFO`: asks for a capability set of the 3D side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GetCapsetInfo {
    /// Index, less than `num_capsets` of the device configuration.
    pub(crate) capset_index: u32,
}

impl Command for GetCapsetInfo {
    const TYPE: u32 = CMD_GET_CAPSET_INFO;
    const SIZE: usize = HEADER_SIZE + 8;
    type Response = CapsetInfo;

    fn encode(&self, header: Header, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::command::<Self>(header, out)?;
        writer.put_u32(self.capset_index)?;
        writer.put_u32(0)?;
        Ok(writer.finish())
    }
}

/// `struct virtio_gpu_resp_capset_info`; all fields are the device's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CapsetInfo {
    /// Which capability set (`VIRTIO_GPU_CAPSET_*`).
    pub(crate) capset_id: u32,
    /// Highest version that the device knows.
    pub(crate) capset_max_version: u32,
    /// Most bytes that the set takes.
    pub(crate) capset_max_size: u32,
}

impl Response for CapsetInfo {
    const SIZE: usize = HEADER_SIZE + 16;

    fn decode(bytes: &[u8]) -> Result<Self, ResponseError> {
        let mut reader = Reader::response(bytes, RESP_OK_CAPSET_INFO, Self::SIZE)?;
        Ok(Self {
            capset_id: reader.get_u32()?,
            capset_max_version: reader.get_u32()?,
            capset_max_size: reader.get_u32()?,
        })
    }
}

/// `GET_EDID`: asks for the EDID of a scanout. Only with [`F_EDID`].
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
        let Some(came) = reader.rest.get(..size) else {
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

/// Name of a feature bit of the GPU or of the virtio transport, without `VIRTIO_GPU_F_` or
/// `VIRTIO_F_`, for reports; `None` if `bit` has none.
pub(crate) const fn feature_name(bit: u32) -> Option<&'static str> {
    Some(match bit {
        F_VIRGL => "VIRGL",
        F_EDID => "EDID",
        F_RESOURCE_UUID => "RESOURCE_UUID",
        F_RESOURCE_BLOB => "RESOURCE_BLOB",
        F_CONTEXT_INIT => "CONTEXT_INIT",
        F_BLOB_ALIGNMENT => "BLOB_ALIGNMENT",
        24 => "NOTIFY_ON_EMPTY",
        27 => "ANY_LAYOUT",
        28 => "INDIRECT_DESC",
        29 => "EVENT_IDX",
        32 => "VERSION_1",
        33 => "ACCESS_PLATFORM",
        34 => "RING_PACKED",
        35 => "IN_ORDER",
        36 => "ORDER_PLATFORM",
        37 => "SR_IOV",
        38 => "NOTIFICATION_DATA",
        39 => "NOTIF_CONFIG_DATA",
        40 => "RING_RESET",
        41 => "ADMIN_VQ",
        _ => return None,
    })
}

/// A set of feature bits, displayed by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FeatureNames(pub(crate) u64);

impl fmt::Display for FeatureNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for bit in (0..u64::BITS).filter(|bit| self.0 & (1 << bit) != 0) {
            match feature_name(bit) {
                Some(name) => write!(f, "{separator}{name}")?,
                None => write!(f, "{separator}bit {bit}")?,
            }
            separator = " ";
        }
        if separator.is_empty() {
            f.write_str("none")?;
        }
        Ok(())
    }
}
