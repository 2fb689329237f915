// SPDX-License-Identifier: GPL-2.0

//! What the device is asked about itself: its scanouts and its capability sets.

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
    CMD_GET_CAPSET_INFO,
    CMD_GET_DISPLAY_INFO,
    HEADER_SIZE,
    RESP_OK_CAPSET_INFO,
    RESP_OK_DISPLAY_INFO, //
};

/// Most scanouts a device has.
pub(crate) const MAX_SCANOUTS: usize = 16;

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
