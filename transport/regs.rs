// SPDX-License-Identifier: GPL-2.0

//! This module names the registers and the feature bits of a virtio GPU on PCI.
//!
//! Offsets are within the structure that a register belongs to. The capabilities of the device say
//! where that is. Names are those of the specification (virtio 1.3, 4.1.4.3, 4.1.4.5, 5.7.3, 5.7.4
//! and 6); see also `include/uapi/linux/virtio_pci.h` and `virtio_gpu.h`.

use kernel::io::register;

// `struct virtio_pci_common_cfg`.
register! {
    /// Selects the 32 bits of the device's features that are visible.
    pub(crate) DEVICE_FEATURE_SELECT(u32) @ 0x00 { 31:0 value; }
    /// 32 bits of the features that the device offers.
    pub(crate) DEVICE_FEATURE(u32) @ 0x04 { 31:0 value; }
    /// Selects the 32 bits of the driver's features that are visible.
    pub(crate) DRIVER_FEATURE_SELECT(u32) @ 0x08 { 31:0 value; }
    /// 32 bits of the features that the driver accepts.
    pub(crate) DRIVER_FEATURE(u32) @ 0x0c { 31:0 value; }
    /// MSI-X message for configuration changes.
    pub(crate) CONFIG_MSIX_VECTOR(u16) @ 0x10 { 15:0 value; }
    /// Number of queues the device has.
    pub(crate) NUM_QUEUES(u16) @ 0x12 { 15:0 value; }
    /// Status of the device; writing 0 resets it.
    pub(crate) DEVICE_STATUS(u8) @ 0x14 {
        /// The device has been found.
        0:0 acknowledge;
        /// There is a driver for the device.
        1:1 driver;
        /// The driver is ready to drive the device.
        2:2 driver_ok;
        /// Features are negotiated; reads as 0 if the device does not agree.
        3:3 features_ok;
        /// The device must be reset before it goes on; set by the device.
        6:6 needs_reset;
        /// The driver has given up.
        7:7 failed;
    }
    /// Changes whenever the device configuration does.
    pub(crate) CONFIG_GENERATION(u8) @ 0x15 { 7:0 value; }
    /// Selects the queue that the following registers are about.
    pub(crate) QUEUE_SELECT(u16) @ 0x16 { 15:0 value; }
    /// Number of descriptors, 0 if there is no such queue.
    pub(crate) QUEUE_SIZE(u16) @ 0x18 { 15:0 value; }
    /// MSI-X message for used buffers.
    pub(crate) QUEUE_MSIX_VECTOR(u16) @ 0x1a { 15:0 value; }
    /// 1 if the device may use the queue.
    pub(crate) QUEUE_ENABLE(u16) @ 0x1c { 15:0 value; }
    /// Offset of the queue notify address, in units of `notify_off_multiplier`.
    pub(crate) QUEUE_NOTIFY_OFF(u16) @ 0x1e { 15:0 value; }
    /// Address of the descriptor table, low half.
    pub(crate) QUEUE_DESC_LO(u32) @ 0x20 { 31:0 value; }
    /// Address of the descriptor table, high half.
    pub(crate) QUEUE_DESC_HI(u32) @ 0x24 { 31:0 value; }
    /// Address of the available ring, low half.
    pub(crate) QUEUE_DRIVER_LO(u32) @ 0x28 { 31:0 value; }
    /// Address of the available ring, high half.
    pub(crate) QUEUE_DRIVER_HI(u32) @ 0x2c { 31:0 value; }
    /// Address of the used ring, low half.
    pub(crate) QUEUE_DEVICE_LO(u32) @ 0x30 { 31:0 value; }
    /// Address of the used ring, high half.
    pub(crate) QUEUE_DEVICE_HI(u32) @ 0x34 { 31:0 value; }
}

// The ISR structure.
register! {
    /// Why the line interrupt was raised; reading clears it and lowers the line.
    pub(crate) ISR_STATUS(u8) @ 0x00 { 7:0 value; }
}

// `struct virtio_gpu_config`.
register! {
    /// Pending events, `VIRTIO_GPU_EVENT_*`.
    pub(crate) EVENTS_READ(u32) @ 0x00 { 31:0 value; }
    /// Write a bit to clear it in `events_read`.
    pub(crate) EVENTS_CLEAR(u32) @ 0x04 { 31:0 value; }
    /// Number of scanouts.
    pub(crate) NUM_SCANOUTS(u32) @ 0x08 { 31:0 value; }
    /// Number of capability sets.
    pub(crate) NUM_CAPSETS(u32) @ 0x0c { 31:0 value; }
}

/// `VIRTIO_GPU_EVENT_DISPLAY`: the scanouts have changed.
pub(crate) const EVENT_DISPLAY: u32 = 1 << 0;

/// Feature bits, as bit numbers.
pub(crate) mod feature {
    /// `VIRTIO_GPU_F_VIRGL`: the device has 3D.
    pub(crate) const VIRGL: u32 = 0;
    /// `VIRTIO_GPU_F_EDID`: the device answers GET_EDID.
    pub(crate) const EDID: u32 = 1;
    /// `VIRTIO_GPU_F_RESOURCE_UUID`: resources can be shared with other virtio devices.
    pub(crate) const RESOURCE_UUID: u32 = 2;
    /// `VIRTIO_GPU_F_RESOURCE_BLOB`: resources can be blobs.
    pub(crate) const RESOURCE_BLOB: u32 = 3;
    /// `VIRTIO_GPU_F_CONTEXT_INIT`: there are kinds of 3D contexts.
    pub(crate) const CONTEXT_INIT: u32 = 4;
    /// `VIRTIO_F_INDIRECT_DESC`: descriptors may point at tables of descriptors.
    pub(crate) const RING_INDIRECT_DESC: u32 = 28;
    /// `VIRTIO_F_EVENT_IDX`: both sides say at which index they want to be notified.
    pub(crate) const RING_EVENT_IDX: u32 = 29;
    /// `VIRTIO_F_VERSION_1`: the device follows version 1 of the specification or later.
    pub(crate) const VERSION_1: u32 = 32;
    /// `VIRTIO_F_ACCESS_PLATFORM`: the device accesses memory through the platform's IOMMU.
    pub(crate) const ACCESS_PLATFORM: u32 = 33;
    /// `VIRTIO_F_ORDER_PLATFORM`: the device needs the barriers that hardware devices need.
    pub(crate) const ORDER_PLATFORM: u32 = 36;
}
