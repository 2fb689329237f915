// SPDX-License-Identifier: GPL-2.0

//! [`GetDisplayInfo`] and [`GetCapsetInfo`] ask the device about itself: its scanouts and its
//! capability sets.

use zerocopy::little_endian::U32;
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes, //
};

/// The most scanouts that a device has.
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

/// `struct virtio_gpu_display_one`: the mode that the device prefers for a scanout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes)]
#[repr(C)]
pub(crate) struct DisplayOne {
    /// Position and preferred size, as the device sent them: any 32-bit values, whose sums and
    /// products may overflow. Check them before use.
    pub(crate) r: Rect,
    /// Not 0 if something is connected.
    pub(crate) enabled: U32,
    /// As the device sent it. The specification has no flags.
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
    /// Returns what is assumed if the device does not answer: scanout 0 enabled, 1024x768 pixels.
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

/// `struct virtio_gpu_resp_capset_info`; all fields are as the device sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes)]
#[repr(C)]
pub(crate) struct CapsetInfo {
    /// Which capability set (`VIRTIO_GPU_CAPSET_*`).
    pub(crate) capset_id: U32,
    /// Highest version that the device knows.
    pub(crate) capset_max_version: U32,
    /// The most bytes that the set takes.
    pub(crate) capset_max_size: U32,
    pub(crate) padding: U32,
}
