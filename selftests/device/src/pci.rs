// SPDX-License-Identifier: GPL-2.0

//! The PCI function: its configuration space, its BARs, and what QEMU is told of both.

use vfio_user::{
    IrqInfo,
    ServerRegion, //
};

/// Regions have the numbers of VFIO. QEMU answers accesses to the MSI-X table itself.
pub const MEMORY_BAR: u32 = 0;
pub const MSIX_BAR: u32 = 1;
pub const VIRTIO_BAR: u32 = 4;
pub const CONFIG: u32 = 7;
const REGIONS: u32 = 9;

/// Interrupts have the numbers of VFIO, too.
pub const INTX: u32 = 0;
pub const MSIX: u32 = 2;
const IRQS: u32 = 5;

/// Length of the configuration space in bytes.
pub const CONFIG_LENGTH: usize = 256;
const COMMAND: usize = 4;
const COMMAND_MASTER: u8 = 4;

/// Where the structures are in the BAR, and what follows the last one.
pub const COMMON: u64 = 0;
pub const ISR: u64 = 0x1000;
pub const DEVICE: u64 = 0x2000;
pub const NOTIFY: u64 = 0x3000;
const STRUCTURE: u32 = 0x1000;
const VIRTIO_BAR_LENGTH: u64 = 0x4000;
const MSIX_BAR_LENGTH: u64 = 0x1000;
const PBA: u32 = 0x800;
/// Bytes between the notify addresses of two queues.
pub const NOTIFY_MULTIPLIER: u32 = 4;

/// Types of virtio's capabilities, their structures, and the length of a capability.
const CAPABILITIES: [(u8, u64, u8); 4] = [
    (1, COMMON, 16),
    (3, ISR, 16),
    (4, DEVICE, 16),
    (2, NOTIFY, 20),
];
const FIRST_CAPABILITY: u8 = 0x40;
const MSIX_CAPABILITY_LENGTH: u8 = 12;
/// The last capability, PCI Advanced Features: it offers a function-level reset, and the bits that
/// tell of transactions which are under way.
const AF_CAPABILITY: u8 = 0xd0;
const AF: [u8; 6] = [0x13, 0, 6, 3, 0, 0];
const AF_CONTROL: u64 = AF_CAPABILITY as u64 + 4;
const AF_CONTROL_FLR: u8 = 1;

const READ_WRITE: u32 = 3;
const IRQ_EVENTFD: u32 = 1;
const IRQ_MASKABLE: u32 = 2;
const IRQ_AUTOMASKED: u32 = 4;

/// Returns the configuration space of a device with so many MSI-X vectors; without any, with INTx
/// only. BAR 0 may be memory.
pub fn config_space(vectors: u16, memory: bool) -> [u8; CONFIG_LENGTH] {
    let mut space = [0; CONFIG_LENGTH];
    let mut put = |at: u8, bytes: &[u8]| {
        let at = usize::from(at);
        space[at..at + bytes.len()].copy_from_slice(bytes);
    };
    // 1af4:1050, with a list of capabilities, revision 1, a display controller.
    put(0, &[0xf4, 0x1a, 0x50, 0x10, 0, 0, 0x10, 0, 1, 0, 0x80, 3]);
    // BARs 0 and 1 have 32 bits, BAR 4 has 64. Memory and BAR 4 are prefetchable.
    put(0x10, &[if memory { 0x08 } else { 0 }]);
    put(0x20, &[0x0c]);
    put(0x2c, &[0xf4, 0x1a, 0x00, 0x11]);
    put(0x3d, &[1]);
    let mut at = FIRST_CAPABILITY;
    put(0x34, &[at]);
    if let Some(last) = vectors.checked_sub(1) {
        let next = at + MSIX_CAPABILITY_LENGTH;
        put(at, &[0x11, next]);
        put(at + 2, &last.to_le_bytes());
        put(at + 4, &MSIX_BAR.to_le_bytes());
        put(at + 8, &(PBA | MSIX_BAR).to_le_bytes());
        at = next;
    }
    for (number, (kind, offset, length)) in CAPABILITIES.iter().enumerate() {
        let last = number + 1 == CAPABILITIES.len();
        let next = if last { AF_CAPABILITY } else { at + length };
        put(at, &[9, next, *length, *kind, VIRTIO_BAR as u8]);
        put(at + 8, &(*offset as u32).to_le_bytes());
        put(at + 12, &STRUCTURE.to_le_bytes());
        if *length > 16 {
            put(at + 16, &NOTIFY_MULTIPLIER.to_le_bytes());
        }
        at += length;
    }
    put(AF_CAPABILITY, &AF);
    space
}

/// Whether a write to the configuration space asks for a reset of the function.
pub fn is_function_reset(offset: u64, data: &[u8]) -> bool {
    let control = AF_CONTROL.checked_sub(offset);
    let byte = control.and_then(|index| data.get(index as usize));
    byte.is_some_and(|byte| byte & AF_CONTROL_FLR != 0)
}

/// Puts the configuration space into the state after a reset.
pub fn reset(space: &mut [u8; CONFIG_LENGTH]) {
    space[COMMAND..COMMAND + 2].fill(0);
    space[AF_CONTROL as usize] = 0;
}

/// Whether the driver lets the device access memory.
pub fn is_master(space: &[u8; CONFIG_LENGTH]) -> bool {
    space[COMMAND] & COMMAND_MASTER != 0
}

/// All regions. Those that are not there have no length; BAR 0 has that of its memory.
pub fn regions(memory: u64) -> Vec<ServerRegion> {
    let length = |index| match index {
        MEMORY_BAR => memory,
        MSIX_BAR => MSIX_BAR_LENGTH,
        VIRTIO_BAR => VIRTIO_BAR_LENGTH,
        CONFIG => CONFIG_LENGTH as u64,
        _ => 0,
    };
    let region = |index| {
        let mut region = ServerRegion {
            region_info: Default::default(),
            sparse_areas: Vec::new(),
            mmap_fd: None,
        };
        region.region_info.argsz = size_of_val(&region.region_info) as u32;
        region.region_info.index = index;
        region.region_info.size = length(index);
        region.region_info.flags = if length(index) > 0 { READ_WRITE } else { 0 };
        region
    };
    (0..REGIONS).map(region).collect()
}

/// All interrupts.
pub fn irqs(vectors: u16) -> Vec<IrqInfo> {
    let irq = |index| {
        let (flags, count) = match index {
            INTX => (IRQ_EVENTFD | IRQ_MASKABLE | IRQ_AUTOMASKED, 1),
            MSIX => (IRQ_EVENTFD, u32::from(vectors)),
            _ => (0, 0),
        };
        IrqInfo {
            index,
            flags,
            count,
        }
    };
    (0..IRQS).map(irq).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers and places of all capabilities.
    fn capabilities(space: &[u8; CONFIG_LENGTH]) -> Vec<(u8, usize)> {
        let mut found = Vec::new();
        let mut at = usize::from(space[0x34]);
        while at != 0 {
            found.push((space[at], at));
            at = usize::from(space[at + 1]);
        }
        found
    }

    #[test]
    fn the_list_of_capabilities_is_sound() {
        let space = config_space(3, true);
        let found = capabilities(&space);
        assert_eq!(
            found.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
            [0x11, 9, 9, 9, 9, 0x13]
        );
        assert!(found.iter().all(|(_, at)| at % 4 == 0));
        assert_eq!(space[0x42..0x44], [2, 0]);
        assert_eq!(space[0x10..0x14], [8, 0, 0, 0]);
        let (_, notify) = found[4];
        assert_eq!(space[notify + 2..notify + 5], [20, 2, 4]);
        assert_eq!(
            space[notify + 8..notify + 20],
            [0, 0x30, 0, 0, 0, 0x10, 0, 0, 4, 0, 0, 0]
        );
    }

    #[test]
    fn only_one_bit_resets_the_function() {
        assert!(is_function_reset(0xd4, &[1]));
        assert!(is_function_reset(0xd2, &[0, 0, 1, 0]));
        assert!(!is_function_reset(0xd4, &[0xfe, 1]));
        assert!(!is_function_reset(0xd5, &[1]));
        assert!(!is_function_reset(0xd3, &[1]));
        let mut space = config_space(3, false);
        space[COMMAND] = COMMAND_MASTER;
        reset(&mut space);
        assert_eq!(space, config_space(3, false));
    }

    #[test]
    fn without_vectors_there_is_no_msix() {
        let found = capabilities(&config_space(0, false));
        assert_eq!(found.iter().filter(|(kind, _)| *kind == 0x11).count(), 0);
        assert_eq!(found.len(), 5);
        assert_eq!(irqs(0)[MSIX as usize].count, 0);
        assert!(!is_master(&config_space(0, false)));
    }
}
