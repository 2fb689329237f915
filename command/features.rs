// SPDX-License-Identifier: GPL-2.0

//! Feature bits and their names.

use core::fmt;

/// 3D (virgl) commands are supported.
pub(crate) const F_VIRGL: u32 = 0;
/// [`GetEdid`](super::GetEdid) is supported.
pub(crate) const F_EDID: u32 = 1;
/// Resources can be given UUIDs for export to other virtio devices.
pub(crate) const F_RESOURCE_UUID: u32 = 2;
/// Blob resources are supported.
pub(crate) const F_RESOURCE_BLOB: u32 = 3;
/// Context types and several timelines (`ring_idx`) are supported.
pub(crate) const F_CONTEXT_INIT: u32 = 4;
/// `blob_alignment` in the device configuration is valid.
pub(crate) const F_BLOB_ALIGNMENT: u32 = 5;

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
