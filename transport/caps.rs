// SPDX-License-Identifier: GPL-2.0

//! [`parse`] finds the structures of a virtio device in its list of PCI capabilities.
//!
//! A vendor-specific capability says in which BAR a structure is, at which offset, and how long it
//! is ("Virtio Structure PCI Capabilities", virtio 1.3, 4.1.4). This module walks the list and
//! checks what it finds. Nothing here accesses a BAR or uses a kernel type, so it is built and
//! tested in user space too.
//!
//! The list comes from the device and is not trusted: each field is read once, the walk is bounded,
//! and each [`Region`] that [`parse`] returns lies within its BAR.
//!
//! C counterpart: `vp_modern_probe()` in `drivers/virtio/virtio_pci_modern_dev.c`. Two things
//! differ. If a capability cannot be used, the next one of its type is tried, as the specification
//! says. And the whole of a structure must lie in its BAR, not only the fields that are used.

use core::fmt;

use self::walk::{
    VendorCap,
    Walk, //
};

mod errors;
mod walk;

pub(crate) use self::errors::{
    CapsError,
    Reason, //
};

/// Number of BARs of a PCI function. BAR numbers from this one on are reserved.
pub(crate) const NUM_BARS: usize = 6;

/// The most shared memory regions that are recorded; more are ignored.
pub(crate) const MAX_SHARED_MEMORY: usize = 4;

/// Bytes of `struct virtio_pci_common_cfg`: up to and including `queue_device`.
pub(crate) const COMMON_CFG_SIZE: u32 = 56;

/// Bytes of an available buffer notification: a queue index.
pub(crate) const NOTIFY_SIZE: u32 = 2;

/// Bytes of the ISR status register.
pub(crate) const ISR_SIZE: u32 = 1;

/// Bytes used of `struct virtio_gpu_config`: up to and including `num_capsets`.
pub(crate) const DEVICE_CFG_SIZE: u32 = 16;

/// Size of the configuration space that capabilities lie in, in bytes.
const CONFIG_SPACE_SIZE: u16 = 256;

const CAP_BAR: u16 = 4;
const CAP_ID: u16 = 5;
const CAP_OFFSET: u16 = 8;
const CAP_LENGTH: u16 = 12;
const NOTIFY_CAP_MULTIPLIER: u16 = 16;
const CAP64_OFFSET_HI: u16 = 16;
const CAP64_LENGTH_HI: u16 = 20;

/// Read access to the 256 bytes of PCI configuration space.
pub(crate) trait ConfigRead {
    /// Reads the byte at `offset`; `None` if there is no such byte or the read fails.
    fn read_u8(&self, offset: u16) -> Option<u8>;

    /// Reads the little-endian 32-bit word at `offset`, which is a multiple of 4, in CPU order;
    /// `None` if there is no such word or the read fails.
    fn read_u32(&self, offset: u16) -> Option<u32>;
}

/// What a BAR decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BarKind {
    /// Nothing: not implemented, not assigned, or the upper half of a 64-bit BAR.
    Absent,
    /// Memory.
    Memory,
    /// I/O ports.
    Io,
}

/// A BAR as the PCI core knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BarInfo {
    /// What the BAR decodes.
    pub(crate) kind: BarKind,
    /// Real length in bytes; 0 counts as absent.
    pub(crate) len: u64,
}

/// A structure of the device. [`parse`] returns only regions that lie within a memory BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// Number of the BAR, less than [`NUM_BARS`].
    pub(crate) bar: u8,
    /// Offset within the BAR, in bytes.
    pub(crate) offset: u32,
    /// Length in bytes.
    pub(crate) len: u32,
}

/// A shared memory region of the device; lies within a memory BAR as a [`Region`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SharedMemory {
    /// Which region it is (`shmid`); unique among the regions of a device.
    pub(crate) id: u8,
    /// Number of the BAR, less than [`NUM_BARS`].
    pub(crate) bar: u8,
    /// Offset within the BAR, in bytes. The specification asks for no alignment.
    pub(crate) offset: u64,
    /// Length in bytes, not 0.
    pub(crate) len: u64,
}

/// What a driver needs to map the structures of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// Common configuration: [`COMMON_CFG_SIZE`] bytes at least, 4-byte aligned.
    pub(crate) common: Region,
    /// Notification structure: [`NOTIFY_SIZE`] bytes at least, 2-byte aligned. Whether the queue
    /// notify address of a queue is inside depends on its `queue_notify_off`, and is checked when
    /// that is read.
    pub(crate) notify: Region,
    /// `queue_notify_off` times this is the offset of a queue notify address, in bytes: 0 (one
    /// address for all queues) or a power of two that keeps the addresses 2-byte aligned.
    pub(crate) notify_multiplier: u32,
    /// ISR status: [`ISR_SIZE`] bytes at least, not aligned.
    pub(crate) isr: Region,
    /// Device configuration: [`DEVICE_CFG_SIZE`] bytes at least, 4-byte aligned.
    pub(crate) device: Region,
    /// Shared memory regions, in the order of the list, one per id, `None` after the last.
    pub(crate) shared_memory: [Option<SharedMemory>; MAX_SHARED_MEMORY],
}

/// The capability types (`cfg_type`) that describe a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CfgType {
    /// `VIRTIO_PCI_CAP_COMMON_CFG`
    Common,
    /// `VIRTIO_PCI_CAP_NOTIFY_CFG`
    Notify,
    /// `VIRTIO_PCI_CAP_ISR_CFG`
    Isr,
    /// `VIRTIO_PCI_CAP_DEVICE_CFG`
    Device,
    /// `VIRTIO_PCI_CAP_SHARED_MEMORY_CFG`
    SharedMemory,
}

impl CfgType {
    /// Returns the type; `None` for those that are ignored: reserved types,
    /// `VIRTIO_PCI_CAP_PCI_CFG` (5), which is a window onto the other structures, and
    /// `VIRTIO_PCI_CAP_VENDOR_CFG` (9), which describes no region.
    fn from_raw(cfg_type: u8) -> Option<Self> {
        match cfg_type {
            1 => Some(Self::Common),
            2 => Some(Self::Notify),
            3 => Some(Self::Isr),
            4 => Some(Self::Device),
            8 => Some(Self::SharedMemory),
            _ => None,
        }
    }

    /// Returns the fewest bytes that the capability has in configuration space.
    fn min_cap_len(self) -> u8 {
        match self {
            Self::Common | Self::Isr | Self::Device => 16,
            Self::Notify => 20,
            Self::SharedMemory => 24,
        }
    }

    /// Returns the fewest bytes that the structure has in its BAR.
    fn min_length(self) -> u32 {
        match self {
            Self::Common => COMMON_CFG_SIZE,
            Self::Notify => NOTIFY_SIZE,
            Self::Isr => ISR_SIZE,
            Self::Device => DEVICE_CFG_SIZE,
            Self::SharedMemory => 1,
        }
    }

    /// Returns what the offset of the structure must be a multiple of, in bytes.
    fn alignment(self) -> u32 {
        match self {
            Self::Common | Self::Device => 4,
            Self::Notify => 2,
            Self::Isr | Self::SharedMemory => 1,
        }
    }
}

impl fmt::Display for CfgType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Common => "common configuration",
            Self::Notify => "notification",
            Self::Isr => "ISR status",
            Self::Device => "device configuration",
            Self::SharedMemory => "shared memory",
        })
    }
}

/// The fields of one capability, each read once.
struct Fields {
    bar: u8,
    id: u8,
    offset: u32,
    length: u32,
    /// Shared memory only, like `length_hi`; 0 for the others.
    offset_hi: u32,
    length_hi: u32,
    /// Notification only; 0 for the others.
    multiplier: u32,
}

impl Fields {
    fn read(config: &impl ConfigRead, cap: VendorCap, cfg_type: CfgType) -> Result<Self, Reason> {
        let min = cfg_type.min_cap_len();
        if cap.cap_len < min {
            return Err(Reason::CapLen {
                cap_len: cap.cap_len,
                min,
            });
        }
        let base = u16::from(cap.position);
        if base + u16::from(min) > CONFIG_SPACE_SIZE {
            return Err(Reason::Unreadable);
        }

        let read_u8 = |field| config.read_u8(base + field).ok_or(Reason::Unreadable);
        let read_u32 = |field| config.read_u32(base + field).ok_or(Reason::Unreadable);

        let mut fields = Self {
            bar: read_u8(CAP_BAR)?,
            id: 0,
            offset: read_u32(CAP_OFFSET)?,
            length: read_u32(CAP_LENGTH)?,
            offset_hi: 0,
            length_hi: 0,
            multiplier: 0,
        };
        match cfg_type {
            CfgType::Notify => fields.multiplier = read_u32(NOTIFY_CAP_MULTIPLIER)?,
            CfgType::SharedMemory => {
                fields.id = read_u8(CAP_ID)?;
                fields.offset_hi = read_u32(CAP64_OFFSET_HI)?;
                fields.length_hi = read_u32(CAP64_LENGTH_HI)?;
            }
            CfgType::Common | CfgType::Isr | CfgType::Device => {}
        }
        Ok(fields)
    }

    fn offset(&self) -> u64 {
        u64::from(self.offset_hi) << 32 | u64::from(self.offset)
    }

    fn length(&self) -> u64 {
        u64::from(self.length_hi) << 32 | u64::from(self.length)
    }

    /// Checks the structure against `cfg_type` and against `bar`, which it is in.
    fn check(&self, cfg_type: CfgType, bar: BarInfo) -> Result<(), Reason> {
        match bar.kind {
            BarKind::Memory if bar.len != 0 => {}
            BarKind::Memory | BarKind::Absent => return Err(Reason::BarAbsent { bar: self.bar }),
            BarKind::Io => return Err(Reason::BarIo { bar: self.bar }),
        }

        let (offset, length) = (self.offset(), self.length());
        let min = cfg_type.min_length();
        if length < u64::from(min) {
            return Err(Reason::Length { length, min });
        }

        let alignment = cfg_type.alignment();
        if offset % u64::from(alignment) != 0 {
            return Err(Reason::Misaligned { offset, alignment });
        }

        if !matches!(offset.checked_add(length), Some(end) if end <= bar.len) {
            return Err(Reason::BeyondBar {
                bar: self.bar,
                offset,
                length,
                bar_len: bar.len,
            });
        }

        // An odd multiplier would put 16-bit notifications on odd addresses.
        let multiplier = self.multiplier;
        if multiplier != 0 && (multiplier == 1 || !multiplier.is_power_of_two()) {
            return Err(Reason::Multiplier { multiplier });
        }
        Ok(())
    }

    fn region(&self) -> Region {
        Region {
            bar: self.bar,
            offset: self.offset,
            len: self.length,
        }
    }

    fn shared_memory(&self) -> SharedMemory {
        SharedMemory {
            id: self.id,
            bar: self.bar,
            offset: self.offset(),
            len: self.length(),
        }
    }
}

/// What the walk has found of each type so far, or why there is nothing yet.
struct Search {
    common: Result<Region, Reason>,
    notify: Result<(Region, u32), Reason>,
    isr: Result<Region, Reason>,
    device: Result<Region, Reason>,
    shared_memory: [Option<SharedMemory>; MAX_SHARED_MEMORY],
}

impl Search {
    fn new() -> Self {
        Self {
            common: Err(Reason::Missing),
            notify: Err(Reason::Missing),
            isr: Err(Reason::Missing),
            device: Err(Reason::Missing),
            shared_memory: [None; MAX_SHARED_MEMORY],
        }
    }

    /// Takes the next candidate of `cfg_type`, unless an earlier one can be used.
    fn offer(&mut self, cfg_type: CfgType, candidate: Result<Fields, Reason>) {
        fn first<T>(
            slot: &mut Result<T, Reason>,
            candidate: Result<Fields, Reason>,
            convert: impl FnOnce(&Fields) -> T,
        ) {
            if slot.is_err() {
                *slot = candidate.as_ref().map(convert).map_err(|reason| *reason);
            }
        }

        match cfg_type {
            CfgType::Common => first(&mut self.common, candidate, Fields::region),
            CfgType::Notify => first(&mut self.notify, candidate, |fields| {
                (fields.region(), fields.multiplier)
            }),
            CfgType::Isr => first(&mut self.isr, candidate, Fields::region),
            CfgType::Device => first(&mut self.device, candidate, Fields::region),
            // Optional: one that cannot be used is ignored.
            CfgType::SharedMemory => {
                if let Ok(fields) = candidate {
                    self.add_shared_memory(fields.shared_memory());
                }
            }
        }
    }

    /// Records a region unless its id is known already or there is no room.
    fn add_shared_memory(&mut self, region: SharedMemory) {
        for slot in &mut self.shared_memory {
            match slot {
                Some(known) if known.id == region.id => return,
                Some(_) => {}
                None => {
                    *slot = Some(region);
                    return;
                }
            }
        }
    }

    fn finish(self) -> Result<Capabilities, CapsError> {
        let fail = |capability| move |reason| CapsError { capability, reason };

        let common = self.common.map_err(fail(CfgType::Common))?;
        let (notify, notify_multiplier) = self.notify.map_err(fail(CfgType::Notify))?;
        let isr = self.isr.map_err(fail(CfgType::Isr))?;
        let device = self.device.map_err(fail(CfgType::Device))?;

        Ok(Capabilities {
            common,
            notify,
            notify_multiplier,
            isr,
            device,
            shared_memory: self.shared_memory,
        })
    }
}

/// Finds the structures of a virtio GPU.
///
/// `config` is the function's configuration space, `bars` what the PCI core knows about its BARs. A
/// capability of unknown type or with a reserved BAR number is ignored. Of several capabilities of
/// one type, the first that can be used is taken.
///
/// Errors: [`CapsError`] for the first of common, notification, ISR status and device configuration
/// that has no usable capability. Callers return `ENODEV` for it.
///
/// Context: any in which `config` can be read; takes no locks and does not allocate.
pub(crate) fn parse(
    config: &impl ConfigRead,
    bars: &[BarInfo; NUM_BARS],
) -> Result<Capabilities, CapsError> {
    let mut search = Search::new();

    for cap in Walk::new(config) {
        let Some(cfg_type) = CfgType::from_raw(cap.cfg_type) else {
            continue;
        };
        let fields = match Fields::read(config, cap, cfg_type) {
            Ok(fields) => fields,
            Err(reason) => {
                search.offer(cfg_type, Err(reason));
                continue;
            }
        };
        let Some(bar) = bars.get(usize::from(fields.bar)) else {
            continue;
        };
        let checked = fields.check(cfg_type, *bar).map(|()| fields);
        search.offer(cfg_type, checked);
    }
    search.finish()
}
