// SPDX-License-Identifier: GPL-2.0

//! [`ResourceCreate2d`] makes a resource without 3D. The other commands give it memory, copy pixels
//! to it, and show it on a scanout.

use zerocopy::little_endian::{
    U32,
    U64, //
};
use zerocopy_derive::{
    Immutable,
    IntoBytes, //
};

use super::Rect;

/// The `resource_id` of no resource. The driver chooses all others.
pub(crate) const NO_RESOURCE: u32 = 0;

/// `enum virtio_gpu_formats`, without `_UNORM`: what the 4 bytes of a pixel are, in the order that
/// they have in memory.
///
/// DRM names a format by a little-endian word, from its highest byte on: its `XRGB8888` is
/// [`Self::B8G8R8X8`] here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[expect(
    dead_code,
    reason = "the driver uses three, but this is the whole list"
)]
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

/// `DRM_FORMAT_XRGB8888`.
pub(crate) const XRGB8888: u32 = u32::from_le_bytes(*b"XR24");

/// `DRM_FORMAT_ARGB8888`.
pub(crate) const ARGB8888: u32 = u32::from_le_bytes(*b"AR24");

/// `DRM_FORMAT_XBGR8888`.
pub(crate) const XBGR8888: u32 = u32::from_le_bytes(*b"XB24");

/// `DRM_FORMAT_ABGR8888`.
pub(crate) const ABGR8888: u32 = u32::from_le_bytes(*b"AB24");

impl Format {
    /// Returns the format of a resource for pixels of the DRM format `fourcc`, of which alpha is
    /// `blended`.
    ///
    /// Without that alpha is nothing, also for a viewer of the screen, which would blend it.
    pub(crate) const fn of(fourcc: u32, blended: bool) -> Self {
        match fourcc {
            XBGR8888 | ABGR8888 => Self::R8G8B8X8,
            ARGB8888 if blended => Self::B8G8R8A8,
            _ => Self::B8G8R8X8,
        }
    }
}

impl From<Format> for U32 {
    fn from(format: Format) -> Self {
        // CAST: To the type of its representation.
        (format as u32).into()
    }
}

/// `RESOURCE_CREATE_2D`: makes a resource in the device, with no memory of the driver behind it
/// yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct ResourceCreate2d {
    /// Number for the new resource: not [`NO_RESOURCE`], and not that of another one.
    pub(crate) resource_id: U32,
    /// What a pixel is: a [`Format`].
    pub(crate) format: U32,
    /// Width in pixels.
    pub(crate) width: U32,
    /// Height in pixels.
    pub(crate) height: U32,
}

/// `RESOURCE_UNREF`: destroys a resource, whose number is free again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct ResourceUnref {
    /// The resource.
    pub(crate) resource_id: U32,
    pub(crate) padding: U32,
}

/// `SET_SCANOUT`: shows a part of a resource on a scanout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct SetScanout {
    /// The part of the resource to show. Its size becomes that of the scanout.
    pub(crate) r: Rect,
    /// Index of the scanout.
    pub(crate) scanout_id: U32,
    /// The resource; [`NO_RESOURCE`] turns the scanout off.
    pub(crate) resource_id: U32,
}

/// `RESOURCE_FLUSH`: updates the scanouts that show a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct ResourceFlush {
    /// The part of the resource that has changed.
    pub(crate) r: Rect,
    /// The resource.
    pub(crate) resource_id: U32,
    pub(crate) padding: U32,
}

/// `TRANSFER_TO_HOST_2D`: copies pixels from the memory behind a resource into the resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct TransferToHost2d {
    /// The part of the resource to copy to.
    pub(crate) r: Rect,
    /// Where the upper left pixel of `r` is in the memory behind the resource, in bytes. A line
    /// there has as many pixels as the resource is wide, whatever the width of `r`.
    pub(crate) offset: U64,
    /// The resource.
    pub(crate) resource_id: U32,
    pub(crate) padding: U32,
}

/// `RESOURCE_ATTACH_BACKING`: puts memory of the driver behind a resource.
///
/// This is the fixed part, and `nr_entries` times [`MemEntry`] follow it. They need not be in the
/// same segment: the device reads all segments of a request as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct ResourceAttachBacking {
    /// The resource, with no memory behind it so far.
    pub(crate) resource_id: U32,
    /// How many entries follow.
    pub(crate) nr_entries: U32,
}

/// `struct virtio_gpu_mem_entry`: a piece of the memory behind a resource. The memory is the pieces
/// in the order of the entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct MemEntry {
    /// Address as the device sees it.
    pub(crate) addr: U64,
    /// Length in bytes.
    pub(crate) length: U32,
    pub(crate) padding: U32,
}

/// `RESOURCE_DETACH_BACKING`: takes the memory from behind a resource. The memory belongs to the
/// device until it has answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct ResourceDetachBacking {
    /// The resource.
    pub(crate) resource_id: U32,
    pub(crate) padding: U32,
}
