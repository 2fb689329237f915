// SPDX-License-Identifier: GPL-2.0

//! The registers. All that QEMU's thread needs is here, under one lock that nobody holds for long:
//! QEMU gives the device up if an access takes 5 s.

use std::{
    fs::File,
    io::Write, //
};

use crate::{
    pci::{
        self,
        CONFIG_LENGTH, //
    },
    script::Script, //
};

/// The control queue and the cursor queue.
pub const QUEUES: usize = 2;
pub const CURSOR: usize = 1;
/// Largest sizes of the queues.
const SIZES: [u16; QUEUES] = [64, 16];
const NO_VECTOR: u16 = 0xffff;

pub const FEATURE_VIRGL: u64 = 1 << 0;
pub const FEATURE_EDID: u64 = 1 << 1;
pub const FEATURE_INDIRECT: u64 = 1 << 28;
pub const FEATURE_EVENT_IDX: u64 = 1 << 29;
pub const FEATURE_VERSION_1: u64 = 1 << 32;

const STATUS_DRIVER_OK: u8 = 4;
const STATUS_FEATURES_OK: u8 = 8;
const STATUS_NEEDS_RESET: u8 = 0x40;

const EVENT_DISPLAY: u32 = 1;
const ISR_QUEUE: u8 = 1;
const ISR_CONFIG: u8 = 2;

const COMMON_LENGTH: usize = 0x38;
/// Bits of VFIO_DEVICE_SET_IRQS.
const DATA_EVENTFD: u32 = 1 << 2;
const ACTION_MASK: u32 = 1 << 3;
const ACTION_UNMASK: u32 = 1 << 4;

/// What the driver says about a queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueueRegisters {
    pub size: u16,
    vector: u16,
    pub enabled: bool,
    /// Addresses of the descriptors and of the two rings.
    pub areas: [u64; 3],
}

/// What happened so far.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub kicks: [u64; QUEUES],
    /// Interrupts that were sent, and that were withheld.
    pub interrupts: u64,
    pub withheld: u64,
    /// Resets that the device has acknowledged.
    pub resets: u64,
    /// Chains that make no sense.
    pub malformed: u64,
    /// Queues that stand still, and commands that are answered later.
    pub held: [bool; QUEUES],
    pub late: usize,
}

/// All registers, the interrupts, and how the device misbehaves.
pub struct Front {
    space: [u8; CONFIG_LENGTH],
    /// BAR 0, in which a firmware may have a framebuffer. The device does not look at it.
    memory: Vec<u8>,
    vectors: u16,
    features: u64,
    heads: u32,
    pub driver_features: u64,
    selected: [u32; 2],
    status: u8,
    /// The driver waits for a reset, which the other thread acknowledges.
    pub resetting: bool,
    config_vector: u16,
    queue: u16,
    pub queues: [QueueRegisters; QUEUES],
    isr: u8,
    events: u32,
    generation: u8,
    /// Where interrupts are sent, by vector; for INTx, and whether that is masked.
    messages: Vec<Option<File>>,
    line: Option<File>,
    masked: bool,
    /// Queues that were kicked since the other thread looked.
    pub kicked: [bool; QUEUES],
    pub script: Script,
    /// The device resumes: what it held back goes on.
    pub resumed: bool,
    pub counts: Counts,
}

impl Front {
    /// The registers after power-on, and so many bytes of memory in BAR 0.
    pub fn new(vectors: u16, features: u64, heads: u32, memory: usize) -> Self {
        let queue = |size| QueueRegisters {
            size,
            vector: NO_VECTOR,
            enabled: false,
            areas: [0; 3],
        };
        Self {
            space: pci::config_space(vectors, memory > 0),
            memory: vec![0; memory],
            vectors,
            features,
            heads,
            driver_features: 0,
            selected: [0; 2],
            status: 0,
            resetting: false,
            config_vector: NO_VECTOR,
            queue: 0,
            queues: SIZES.map(queue),
            isr: 0,
            events: 0,
            generation: 0,
            messages: (0..vectors).map(|_| None).collect(),
            line: None,
            masked: false,
            kicked: [false; QUEUES],
            script: Script::default(),
            resumed: false,
            counts: Counts::default(),
        }
    }

    /// Whether the device works on its queues.
    pub fn is_active(&self) -> bool {
        let running = self.status & (STATUS_DRIVER_OK | STATUS_NEEDS_RESET) == STATUS_DRIVER_OK;
        running && !self.resetting && !self.script.gone && pci::is_master(&self.space)
    }

    /// Begins a reset of the registers. The status is not 0 before the other thread acknowledges,
    /// as that may be in the middle of a command; if it was 0 before, there is no driver yet.
    pub fn reset(&mut self) {
        let new = Self::new(self.vectors, self.features, self.heads, 0);
        self.driver_features = new.driver_features;
        self.selected = new.selected;
        self.config_vector = new.config_vector;
        self.queue = new.queue;
        self.queues = new.queues;
        self.isr = new.isr;
        self.kicked = new.kicked;
        self.resetting = self.status != 0;
    }

    /// The other thread has let go of all that the driver told it.
    pub fn acknowledge_reset(&mut self) {
        self.status = 0;
        self.resetting = false;
        self.counts.resets += 1;
    }

    /// Asks the driver for a reset. Until then the device does nothing.
    pub fn needs_reset(&mut self) {
        self.status |= STATUS_NEEDS_RESET;
        self.interrupt(self.config_vector, ISR_CONFIG);
    }

    /// Tells the driver that heads have changed.
    pub fn displays_changed(&mut self) {
        self.events |= EVENT_DISPLAY;
        self.generation = self.generation.wrapping_add(1);
        if self.is_active() {
            self.interrupt(self.config_vector, ISR_CONFIG);
        }
    }

    /// Tells the driver that a queue has used something.
    pub fn queue_used(&mut self, queue: usize) {
        self.interrupt(self.queues[queue].vector, ISR_QUEUE);
    }

    fn interrupt(&mut self, vector: u16, cause: u8) {
        if self.script.withholds_interrupts {
            self.counts.withheld += 1;
            return;
        }
        let file = if self.messages.iter().any(Option::is_some) {
            self.messages
                .get_mut(usize::from(vector))
                .and_then(Option::as_mut)
        } else {
            self.isr |= cause;
            let masked = self.masked;
            self.masked = true;
            self.line.as_mut().filter(|_| !masked)
        };
        if file.is_some_and(|file| file.write_all(&1u64.to_ne_bytes()).is_ok()) {
            self.counts.interrupts += 1;
        }
    }

    /// Takes or drops eventfds, or masks or unmasks the line.
    pub fn set_irqs(&mut self, index: u32, flags: u32, start: u32, count: u32, fds: Vec<File>) {
        let mut fds = fds.into_iter();
        match index {
            pci::MSIX => {
                let end = if count == 0 {
                    u32::MAX
                } else {
                    start.saturating_add(count)
                };
                let slots = self.messages.iter_mut().enumerate();
                for (number, slot) in slots {
                    if (start..end).contains(&(number as u32)) {
                        *slot = fds.next();
                    }
                }
            }
            pci::INTX if flags & ACTION_MASK != 0 => self.masked = true,
            pci::INTX if flags & ACTION_UNMASK != 0 && flags & DATA_EVENTFD == 0 => {
                self.masked = false;
                if self.isr != 0 {
                    self.interrupt(NO_VECTOR, 0);
                }
            }
            pci::INTX if flags & ACTION_UNMASK == 0 => {
                self.line = fds.next();
                self.masked = false;
            }
            _ => {}
        }
    }

    fn common(&self) -> [u8; COMMON_LENGTH] {
        let mut bytes = [0; COMMON_LENGTH];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        let window = |features: u64, selected| match selected {
            0 => features as u32,
            1 => (features >> 32) as u32,
            _ => 0,
        };
        put(0x00, &self.selected[0].to_le_bytes());
        put(0x04, &window(self.features, self.selected[0]).to_le_bytes());
        put(0x08, &self.selected[1].to_le_bytes());
        put(
            0x0c,
            &window(self.driver_features, self.selected[1]).to_le_bytes(),
        );
        put(0x10, &self.config_vector.to_le_bytes());
        put(0x12, &(QUEUES as u16).to_le_bytes());
        put(0x14, &[self.status, self.generation]);
        put(0x16, &self.queue.to_le_bytes());
        if let Some(queue) = self.queues.get(usize::from(self.queue)) {
            put(0x18, &queue.size.to_le_bytes());
            put(0x1a, &queue.vector.to_le_bytes());
            put(0x1c, &u16::from(queue.enabled).to_le_bytes());
            put(0x1e, &self.queue.to_le_bytes());
            for (number, area) in queue.areas.iter().enumerate() {
                put(0x20 + 8 * number, &area.to_le_bytes());
            }
        }
        bytes
    }

    /// Reads registers. What is not there reads as 0.
    pub fn read(&mut self, region: u32, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if self.script.gone {
            data.fill(0xff);
            return;
        }
        let copy = |data: &mut [u8], from: &[u8], at: u64| {
            let rest = from.get(at as usize..).unwrap_or(&[]);
            let length = rest.len().min(data.len());
            data[..length].copy_from_slice(&rest[..length]);
        };
        match (region, offset) {
            (pci::CONFIG, at) => copy(data, &self.space, at),
            (pci::MEMORY_BAR, at) => copy(data, &self.memory, at),
            (pci::VIRTIO_BAR, at @ pci::COMMON..pci::ISR) => copy(data, &self.common(), at),
            (pci::VIRTIO_BAR, pci::ISR) => copy(data, &[std::mem::take(&mut self.isr)], 0),
            (pci::VIRTIO_BAR, at @ pci::DEVICE..pci::NOTIFY) => {
                let fields = [self.events, 0, self.heads, 0].map(u32::to_le_bytes);
                copy(data, fields.as_flattened(), at - pci::DEVICE);
            }
            _ => {}
        }
    }

    /// Writes registers.
    pub fn write(&mut self, region: u32, offset: u64, data: &[u8]) {
        if self.script.gone {
            return;
        }
        let mut bytes = [0; 8];
        let length = data.len().min(bytes.len());
        bytes[..length].copy_from_slice(&data[..length]);
        let value = u64::from_le_bytes(bytes);
        let copy = |to: &mut [u8], at: u64| {
            let rest = to.get_mut(at as usize..).unwrap_or(&mut []);
            rest.iter_mut().zip(data).for_each(|(to, byte)| *to = *byte);
        };
        match (region, offset) {
            (pci::CONFIG, at) => copy(&mut self.space, at),
            (pci::MEMORY_BAR, at) => copy(&mut self.memory, at),
            (pci::VIRTIO_BAR, at @ pci::COMMON..pci::ISR) => self.write_common(at, value),
            (pci::VIRTIO_BAR, at) if at == pci::DEVICE + 4 => self.events &= !(value as u32),
            (pci::VIRTIO_BAR, at @ pci::NOTIFY..) => self.kick(at - pci::NOTIFY),
            _ => {}
        }
    }

    fn kick(&mut self, offset: u64) {
        let queue = (offset / u64::from(pci::NOTIFY_MULTIPLIER)) as usize;
        let Some(count) = self.counts.kicks.get_mut(queue) else {
            return;
        };
        *count += 1;
        // As in QEMU, a kick is lost that comes while the device does nothing.
        if self.is_active() && !self.script.ignores_kicks {
            self.kicked[queue] = true;
        }
    }

    fn write_common(&mut self, offset: u64, value: u64) {
        let vectors = self.vectors;
        let vector = |value: u64| {
            let value = value as u16;
            if value < vectors {
                value
            } else {
                NO_VECTOR
            }
        };
        match offset {
            0x00 => self.selected[0] = value as u32,
            0x08 => self.selected[1] = value as u32,
            0x0c if self.selected[1] < 2 => {
                let shift = 32 * self.selected[1];
                let kept = self.driver_features & !(0xffff_ffff << shift);
                self.driver_features = kept | (value & 0xffff_ffff) << shift;
            }
            0x10 => self.config_vector = vector(value),
            0x14 => self.set_status(value as u8),
            0x16 => self.queue = value as u16,
            _ => {
                let Some(queue) = self.queues.get_mut(usize::from(self.queue)) else {
                    return;
                };
                match offset {
                    0x18 => queue.size = value as u16,
                    0x1a => queue.vector = vector(value),
                    0x1c => queue.enabled = value == 1,
                    0x20..0x38 => {
                        let area = &mut queue.areas[(offset as usize - 0x20) / 8];
                        let shift = 8 * (offset % 8);
                        *area = *area & !(0xffff_ffff << shift) | value << shift;
                    }
                    _ => {}
                }
            }
        }
    }

    fn set_status(&mut self, status: u8) {
        if status == 0 {
            self.reset();
        } else if !self.resetting {
            let sound = self.driver_features & !self.features == 0
                && self.driver_features & FEATURE_VERSION_1 != 0;
            let refused = if sound { 0 } else { STATUS_FEATURES_OK };
            self.status = status & !refused | self.status & STATUS_NEEDS_RESET;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    const ALL: u64 = FEATURE_EDID | FEATURE_INDIRECT | FEATURE_EVENT_IDX | FEATURE_VERSION_1;

    fn read(front: &mut Front, region: u32, offset: u64) -> u32 {
        let mut bytes = [0; 4];
        front.read(region, offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn write(front: &mut Front, offset: u64, value: u32) {
        front.write(pci::VIRTIO_BAR, offset, &value.to_le_bytes());
    }

    /// A device whose driver is there.
    fn running() -> Front {
        let mut front = Front::new(3, ALL, 1, 16);
        front.write(pci::CONFIG, 4, &[6, 0]);
        for half in 0..2 {
            write(&mut front, 0x08, half);
            write(&mut front, 0x0c, (ALL >> (32 * half)) as u32);
        }
        front.write(pci::VIRTIO_BAR, 0x14, &[0x0b]);
        front.write(pci::VIRTIO_BAR, 0x14, &[0x0f]);
        front
    }

    #[test]
    fn features_are_negotiated() {
        let mut front = running();
        assert!(front.is_active());
        assert_eq!(front.driver_features, ALL);
        assert_eq!(read(&mut front, pci::VIRTIO_BAR, 0x14) & 0xff, 0x0f);
        write(&mut front, 0x08, 0);
        write(&mut front, 0x0c, 1);
        front.write(pci::VIRTIO_BAR, 0x14, &[0x0b]);
        assert_eq!(read(&mut front, pci::VIRTIO_BAR, 0x14) & 0xff, 0x03);
    }

    #[test]
    fn a_reset_is_over_when_it_is_acknowledged() {
        let mut front = running();
        write(&mut front, 0x16, 1);
        write(&mut front, 0x20, 0x1000);
        write(&mut front, 0x24, 1);
        assert_eq!(front.queues[1].areas[0], 0x1_0000_1000);
        front.write(pci::VIRTIO_BAR, 0x14, &[0]);
        assert!(!front.is_active());
        assert_eq!(read(&mut front, pci::VIRTIO_BAR, 0x14) & 0xff, 0x0f);
        front.acknowledge_reset();
        assert_eq!(read(&mut front, pci::VIRTIO_BAR, 0x14) & 0xff, 0);
        assert_eq!(front.queues[1].areas[0], 0);
        assert_eq!(read(&mut front, pci::VIRTIO_BAR, 0x18), 0xffff_0040);
    }

    #[test]
    fn a_reset_without_a_driver_is_over_at_once() {
        let mut front = running();
        front.write(pci::VIRTIO_BAR, 0x14, &[0]);
        front.acknowledge_reset();
        front.write(pci::VIRTIO_BAR, 0x14, &[0]);
        assert!(!front.resetting);
        front.write(pci::VIRTIO_BAR, 0x14, &[1]);
        assert_eq!(read(&mut front, pci::VIRTIO_BAR, 0x14) & 0xff, 1);
    }

    #[test]
    fn kicks_are_counted_and_can_be_lost() {
        let mut front = running();
        write(&mut front, pci::NOTIFY + 4, 1);
        assert_eq!(front.kicked, [false, true]);
        front.kicked = [false; 2];
        front.script.ignores_kicks = true;
        write(&mut front, pci::NOTIFY, 0);
        front.script.ignores_kicks = false;
        // Not the master of the bus.
        front.write(pci::CONFIG, 4, &[2, 0]);
        write(&mut front, pci::NOTIFY, 0);
        assert_eq!((front.kicked, front.counts.kicks), ([false; 2], [2, 1]));
    }

    #[test]
    fn a_device_that_is_gone_reads_as_ones() {
        let mut front = running();
        front.script.gone = true;
        front.write(pci::CONFIG, 4, &[0]);
        assert_eq!(read(&mut front, pci::CONFIG, 0), u32::MAX);
        assert_eq!(read(&mut front, pci::VIRTIO_BAR, 0x14), u32::MAX);
        front.script.gone = false;
        assert_eq!(read(&mut front, pci::CONFIG, 0), 0x1050_1af4);
        assert!(front.is_active());
    }

    #[test]
    fn memory_keeps_what_is_written() {
        let mut front = running();
        front.write(pci::MEMORY_BAR, 12, &[1, 2, 3, 4, 5]);
        front.reset();
        assert_eq!(read(&mut front, pci::MEMORY_BAR, 12), 0x0403_0201);
        assert_eq!(read(&mut front, pci::MEMORY_BAR, 14), 0x0403);
        assert_eq!(read(&mut front, pci::MEMORY_BAR, 16), 0);
    }

    #[test]
    fn events_stay_until_they_are_cleared() {
        let mut front = running();
        front.displays_changed();
        assert_eq!(read(&mut front, pci::VIRTIO_BAR, pci::DEVICE), 1);
        write(&mut front, pci::DEVICE + 4, 1);
        assert_eq!(read(&mut front, pci::VIRTIO_BAR, pci::DEVICE), 0);
        assert_eq!(read(&mut front, pci::VIRTIO_BAR, pci::DEVICE + 8), 1);
    }

    /// A file that counts as an eventfd here, and what was written to it.
    fn pipe() -> (std::io::PipeReader, File) {
        let (reader, writer) = std::io::pipe().unwrap();
        (reader, std::os::fd::OwnedFd::from(writer).into())
    }

    #[test]
    fn messages_go_to_their_vectors() {
        let mut front = running();
        write(&mut front, 0x16, 0);
        front.write(pci::VIRTIO_BAR, 0x1a, &[1, 0]);
        let (mut reader, writer) = pipe();
        front.set_irqs(pci::MSIX, 0x24, 1, 1, vec![writer]);
        front.queue_used(0);
        // Its vector is not set.
        front.queue_used(CURSOR);
        front.script.withholds_interrupts = true;
        front.queue_used(0);
        assert_eq!((front.counts.interrupts, front.counts.withheld), (1, 1));
        front.set_irqs(pci::MSIX, 0x21, 0, 0, Vec::new());
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, 1u64.to_ne_bytes());
    }

    #[test]
    fn the_line_is_masked_until_the_guest_has_read_the_cause() {
        let mut front = running();
        let (_reader, writer) = pipe();
        front.set_irqs(pci::INTX, 0x24, 0, 1, vec![writer]);
        front.queue_used(0);
        front.displays_changed();
        assert_eq!(front.counts.interrupts, 1);
        front.set_irqs(pci::INTX, 0x11, 0, 1, Vec::new());
        assert_eq!(front.counts.interrupts, 2);
        assert_eq!(read(&mut front, pci::VIRTIO_BAR, pci::ISR), 3);
        front.set_irqs(pci::INTX, 0x11, 0, 1, Vec::new());
        assert_eq!(front.counts.interrupts, 2);
    }
}
