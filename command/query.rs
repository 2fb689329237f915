// SPDX-License-Identifier: GPL-2.0

//! [`GetDisplayInfo`] and [`GetCapsetInfo`] ask the device about itself: its scanouts and its
//! capability sets.

use zerocopy::little_endian::U32;
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes, //
};

/// Most scanouts a device has.
pub(crate) const MAX_SCANOUTS: usize = 16;

/// `GET_DISPLAY_INFO`: asks for the scanouts' preferred positions and sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct GetDisplayInfo;

/// `struct virtio_gpu_rect`, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct Rect {
    /// Left edge.
    pub(crate) x: U32,
    /// Upper edge.
    pub(crate) y: U32,
    /// Width.
    pub(crate) width: U32,
    /// Height.
    pub(crate) height: U32,
}

/// `struct virtio_gpu_display_one`: what the device would like a scanout to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes)]
#[repr(C)]
pub(crate) struct DisplayOne {
    /// Position and preferred size. These are the device's word as it came: any 32-bit values,
    /// whose sums and products overflow. Whoever makes a mode of them checks them.
    pub(crate) r: Rect,
    /// Whether something is connected: not 0 if so.
    pub(crate) enabled: U32,
    /// No flags are specified; the device's word.
    pub(crate) flags: U32,
}

/// `struct virtio_gpu_resp_display_info`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes)]
#[repr(C)]
pub(crate) struct DisplayInfo {
    /// The scanouts. Those beyond `num_scanouts` of the device configuration have no meaning.
    pub(crate) pmodes: [DisplayOne; MAX_SCANOUTS],
}

impl DisplayInfo {
    /// What is assumed of a device that does not tell: scanout 0 enabled, 1024x768 pixels.
    pub(crate) fn fallback() -> Self {
        let mut info = Self::default();
        let [first, ..] = &mut info.pmodes;
        first.r.width = 1024.into();
        first.r.height = 768.into();
        first.enabled = 1.into();
        info
    }
}

/// `GET_CAPSET_INFO`: asks for a capability set of the 3D side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct GetCapsetInfo {
    /// Index, less than `num_capsets` of the device configuration.
    pub(crate) capset_index: U32,
    pub(crate) padding: U32,
}

/// `struct virtio_gpu_resp_capset_info`; all fields are the device's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes)]
#[repr(C)]
pub(crate) struct CapsetInfo {
    /// Which capability set (`VIRTIO_GPU_CAPSET_*`).
    pub(crate) capset_id: U32,
    /// Highest version that the device knows.
    pub(crate) capset_max_version: U32,
    /// Most bytes that the set takes.
    pub(crate) capset_max_size: U32,
    pub(crate) padding: U32,
}
