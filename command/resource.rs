// SPDX-License-Identifier: GPL-2.0

//! Resources without 3D: making them, giving them memory, and showing them on a scanout.

use super::{
    wire::Writer,
    Command,
    EncodeError,
    Header,
    NoData,
    Rect,
    CMD_RESOURCE_ATTACH_BACKING,
    CMD_RESOURCE_CREATE_2D,
    CMD_RESOURCE_DETACH_BACKING,
    CMD_RESOURCE_FLUSH,
    CMD_RESOURCE_UNREF,
    CMD_SET_SCANOUT,
    CMD_TRANSFER_TO_HOST_2D,
    HEADER_SIZE, //
};

/// The `resource_id` that is no resource. All others are the driver's to choose.
pub(crate) const NO_RESOURCE: u32 = 0;

/// `enum virtio_gpu_formats`, without `_UNORM`: what the 4 bytes of a pixel are, in the order that
/// they have in memory.
///
/// DRM names a format by a little-endian word, from its highest byte on: its `XRGB8888` is
/// [`Self::B8G8R8X8`] here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Format {
    /// Blue, green, red, alpha.
    B8G8R8A8 = 1,
    /// Blue, green, red, nothing.
    B8G8R8X8 = 2,
    /// Alpha, red, green, blue.
    A8R8G8B8 = 3,
    /// Nothing, red, green, blue.
    X8R8G8B8 = 4,
    /// Red, green, blue, alpha.
    R8G8B8A8 = 67,
    /// Nothing, blue, green, red.
    X8B8G8R8 = 68,
    /// Alpha, blue, green, red.
    A8B8G8R8 = 121,
    /// Red, green, blue, nothing.
    R8G8B8X8 = 134,
}

/// `RESOURCE_CREATE_2D`: makes a resource of the device, which has no memory of the driver yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResourceCreate2d {
    /// Number for the new resource: not [`NO_RESOURCE`], and not that of another one.
    pub(crate) resource_id: u32,
    /// What a pixel is.
    pub(crate) format: Format,
    /// Width in pixels.
    pub(crate) width: u32,
    /// Height in pixels.
    pub(crate) height: u32,
}

impl Command for ResourceCreate2d {
    const TYPE: u32 = CMD_RESOURCE_CREATE_2D;
    const SIZE: usize = HEADER_SIZE + 16;
    type Response = NoData;

    fn encode(&self, header: Header, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::command::<Self>(header, out)?;
        writer.put_u32(self.resource_id)?;
        writer.put_u32(self.format as u32)?;
        writer.put_u32(self.width)?;
        writer.put_u32(self.height)?;
        Ok(writer.finish())
    }
}

/// `RESOURCE_UNREF`: destroys a resource, whose number is free again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResourceUnref {
    /// The resource.
    pub(crate) resource_id: u32,
}

impl Command for ResourceUnref {
    const TYPE: u32 = CMD_RESOURCE_UNREF;
    const SIZE: usize = HEADER_SIZE + 8;
    type Response = NoData;

    fn encode(&self, header: Header, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::command::<Self>(header, out)?;
        writer.put_u32(self.resource_id)?;
        writer.put_u32(0)?;
        Ok(writer.finish())
    }
}

/// `SET_SCANOUT`: has a scanout show a part of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetScanout {
    /// The part of the resource to show. Its size becomes that of the scanout.
    pub(crate) r: Rect,
    /// Index of the scanout.
    pub(crate) scanout_id: u32,
    /// The resource; [`NO_RESOURCE`] turns the scanout off.
    pub(crate) resource_id: u32,
}

impl Command for SetScanout {
    const TYPE: u32 = CMD_SET_SCANOUT;
    const SIZE: usize = HEADER_SIZE + 24;
    type Response = NoData;

    fn encode(&self, header: Header, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::command::<Self>(header, out)?;
        writer.put_rect(self.r)?;
        writer.put_u32(self.scanout_id)?;
        writer.put_u32(self.resource_id)?;
        Ok(writer.finish())
    }
}

/// `RESOURCE_FLUSH`: brings what a resource contains to the scanouts that show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResourceFlush {
    /// The part of the resource that has changed.
    pub(crate) r: Rect,
    /// The resource.
    pub(crate) resource_id: u32,
}

impl Command for ResourceFlush {
    const TYPE: u32 = CMD_RESOURCE_FLUSH;
    const SIZE: usize = HEADER_SIZE + 24;
    type Response = NoData;

    fn encode(&self, header: Header, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::command::<Self>(header, out)?;
        writer.put_rect(self.r)?;
        writer.put_u32(self.resource_id)?;
        writer.put_u32(0)?;
        Ok(writer.finish())
    }
}

/// `TRANSFER_TO_HOST_2D`: copies pixels from the memory behind a resource into the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TransferToHost2d {
    /// The part of the resource to copy to.
    pub(crate) r: Rect,
    /// Where the upper left pixel of `r` is in the memory behind the resource, in bytes. A line
    /// there has as many pixels as the resource is wide, whatever the width of `r`.
    pub(crate) offset: u64,
    /// The resource.
    pub(crate) resource_id: u32,
}

impl Command for TransferToHost2d {
    const TYPE: u32 = CMD_TRANSFER_TO_HOST_2D;
    const SIZE: usize = HEADER_SIZE + 32;
    type Response = NoData;

    fn encode(&self, header: Header, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::command::<Self>(header, out)?;
        writer.put_rect(self.r)?;
        writer.put_u64(self.offset)?;
        writer.put_u32(self.resource_id)?;
        writer.put_u32(0)?;
        Ok(writer.finish())
    }
}

/// `RESOURCE_ATTACH_BACKING`: puts memory of the driver behind a resource.
///
/// This is the fixed part. `nr_entries` times [`MemEntry`] follow it, which need not be in the same
/// buffer: the device takes all device-readable buffers of a request as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResourceAttachBacking {
    /// The resource, with no memory behind it so far.
    pub(crate) resource_id: u32,
    /// How many entries follow.
    pub(crate) nr_entries: u32,
}

impl Command for ResourceAttachBacking {
    const TYPE: u32 = CMD_RESOURCE_ATTACH_BACKING;
    const SIZE: usize = HEADER_SIZE + 8;
    type Response = NoData;

    fn encode(&self, header: Header, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::command::<Self>(header, out)?;
        writer.put_u32(self.resource_id)?;
        writer.put_u32(self.nr_entries)?;
        Ok(writer.finish())
    }
}

/// `struct virtio_gpu_mem_entry`: a piece of the memory behind a resource. The pieces are the
/// memory in the order of the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemEntry {
    /// Address as the device sees it.
    pub(crate) addr: u64,
    /// Length in bytes.
    pub(crate) length: u32,
}

impl MemEntry {
    /// Bytes of an encoded entry.
    pub(crate) const SIZE: usize = 16;

    /// Returns the entry as the device reads it.
    pub(crate) const fn encode(self) -> [u8; Self::SIZE] {
        // One little-endian number: the address, the length, and 4 bytes of padding.
        // CAST: Both become wider.
        (self.addr as u128 | (self.length as u128) << u64::BITS).to_le_bytes()
    }
}

/// `RESOURCE_DETACH_BACKING`: takes the memory from behind a resource. The memory is the device's
/// until it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResourceDetachBacking {
    /// The resource.
    pub(crate) resource_id: u32,
}

impl Command for ResourceDetachBacking {
    const TYPE: u32 = CMD_RESOURCE_DETACH_BACKING;
    const SIZE: usize = HEADER_SIZE + 8;
    type Response = NoData;

    fn encode(&self, header: Header, out: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::command::<Self>(header, out)?;
        writer.put_u32(self.resource_id)?;
        writer.put_u32(0)?;
        Ok(writer.finish())
    }
}
