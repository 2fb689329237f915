// SPDX-License-Identifier: GPL-2.0

//! A configuration space to build and break, shared by the tests and the fuzz target.

use crate::caps::{
    BarInfo,
    BarKind,
    Capabilities,
    CfgType,
    ConfigRead,
    COMMON_CFG_SIZE,
    DEVICE_CFG_SIZE,
    NUM_BARS, //
};

/// `cfg_type` values of the specification.
pub const COMMON: u8 = 1;
pub const NOTIFY: u8 = 2;
pub const ISR: u8 = 3;
pub const DEVICE: u8 = 4;
pub const PCI_CFG: u8 = 5;
pub const SHARED_MEMORY: u8 = 8;

pub const ABSENT: BarInfo = BarInfo {
    kind: BarKind::Absent,
    len: 0,
};

pub const fn memory(len: u64) -> BarInfo {
    BarInfo {
        kind: BarKind::Memory,
        len,
    }
}

pub const fn io(len: u64) -> BarInfo {
    BarInfo {
        kind: BarKind::Io,
        len,
    }
}

/// The BARs of QEMU's virtio-gpu-pci with `modern-pio-notify=on`: MSI-X, ports, structures.
pub const QEMU_BARS: [BarInfo; NUM_BARS] = [
    ABSENT,
    memory(0x1000),
    io(4),
    ABSENT,
    memory(0x4000),
    ABSENT,
];

/// One vendor-specific capability; `extra` is what follows the fields that all types have.
#[derive(Clone, Debug)]
pub struct Cap {
    pub cap_len: u8,
    pub cfg_type: u8,
    pub bar: u8,
    pub id: u8,
    pub offset: u32,
    pub length: u32,
    pub extra: [u32; 2],
}

/// Bytes a capability takes.
fn size_of_type(cfg_type: u8) -> usize {
    match cfg_type {
        NOTIFY | PCI_CFG => 20,
        SHARED_MEMORY => 24,
        _ => 16,
    }
}

/// A capability in BAR 4 with the `cap_len` its type has.
pub fn cap(cfg_type: u8, offset: u32, length: u32) -> Cap {
    Cap {
        cap_len: size_of_type(cfg_type) as u8,
        cfg_type,
        bar: 4,
        id: 0,
        offset,
        length,
        extra: [if cfg_type == NOTIFY { 4 } else { 0 }, 0],
    }
}

impl Cap {
    pub fn bar(self, bar: u8) -> Self {
        Self { bar, ..self }
    }

    pub fn cap_len(self, cap_len: u8) -> Self {
        Self { cap_len, ..self }
    }

    pub fn extra(self, extra: [u32; 2]) -> Self {
        Self { extra, ..self }
    }

    /// A shared memory region in BAR 4.
    pub fn shared(id: u8, offset: u64, length: u64) -> Self {
        Self {
            id,
            extra: [(offset >> 32) as u32, (length >> 32) as u32],
            ..cap(SHARED_MEMORY, offset as u32, length as u32)
        }
    }

    fn bytes(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[0] = 0x09;
        bytes[2] = self.cap_len;
        bytes[3] = self.cfg_type;
        bytes[4] = self.bar;
        bytes[5] = self.id;
        bytes[8..12].copy_from_slice(&self.offset.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.length.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.extra[0].to_le_bytes());
        bytes[20..24].copy_from_slice(&self.extra[1].to_le_bytes());
        bytes
    }
}

/// 256 bytes of configuration space.
#[derive(Clone)]
pub struct Space(pub [u8; 256]);

impl Space {
    /// With a capability list that is there and empty.
    pub fn empty() -> Self {
        let mut bytes = [0; 256];
        bytes[0x06] = 0x10;
        Self(bytes)
    }

    /// With these capabilities one after the other, as many as fit.
    pub fn with(caps: &[Cap]) -> Self {
        let mut space = Self::empty();
        let mut pointer = 0x34;
        let mut position = 0x40;
        for cap in caps {
            let size = size_of_type(cap.cfg_type);
            if position + size > space.0.len() {
                break;
            }
            space.put(position, &cap.bytes()[..size]);
            space.0[pointer] = position as u8;
            pointer = position + 1;
            position += size;
        }
        space
    }

    /// The capabilities of QEMU's virtio-gpu-pci with `modern-pio-notify=on`, in its order, the
    /// MSI-X capability among them.
    pub fn qemu() -> Self {
        let mut space = Self::with(&[
            cap(PCI_CFG, 0, 0).bar(0),
            cap(NOTIFY, 0, 4).bar(2).extra([0, 0]),
            cap(NOTIFY, 0x3000, 0x1000),
            cap(DEVICE, 0x2000, 0x1000),
            cap(ISR, 0x1000, 0x1000),
            cap(COMMON, 0, 0x1000),
        ]);
        space.put(0xf0, &[0x11, 0x40, 0x02, 0x80]);
        space.0[0x34] = 0xf0;
        space
    }

    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

impl ConfigRead for Space {
    fn read_u8(&self, offset: u16) -> Option<u8> {
        self.0.get(usize::from(offset)).copied()
    }

    fn read_u32(&self, offset: u16) -> Option<u32> {
        assert_eq!(offset % 4, 0, "configuration words are aligned");
        let bytes = self.0.get(usize::from(offset)..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }
}

/// Panics unless all that was found is as [`Capabilities`] promises, whatever it was found in.
pub fn assert_sound(caps: &Capabilities, bars: &[BarInfo; NUM_BARS]) {
    let inside = |bar: u8, offset: u64, len: u64| {
        let bar = bars[usize::from(bar)];
        assert_eq!(bar.kind, BarKind::Memory);
        assert!(u128::from(offset) + u128::from(len) <= u128::from(bar.len));
    };
    for (kind, region, min, alignment) in [
        (CfgType::Common, caps.common, COMMON_CFG_SIZE, 4),
        (CfgType::Notify, caps.notify, 2, 2),
        (CfgType::Isr, caps.isr, 1, 1),
        (CfgType::Device, caps.device, DEVICE_CFG_SIZE, 4),
    ] {
        inside(region.bar, region.offset.into(), region.len.into());
        assert!(region.len >= min, "{kind}");
        assert_eq!(region.offset % alignment, 0, "{kind}");
    }
    assert_eq!(caps.notify_multiplier % 2, 0);

    let regions = || caps.shared_memory.iter().flatten();
    for region in regions() {
        inside(region.bar, region.offset, region.len);
        assert_ne!(region.len, 0);
        assert_eq!(regions().filter(|other| other.id == region.id).count(), 1);
    }
}
