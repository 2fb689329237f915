// SPDX-License-Identifier: GPL-2.0

//! The registers. All that QEMU's thread needs is here, under one lock that nobody holds for long:
//! QEMU gives the device up if an access takes 5 s.

use std::{
    fs::File,
    io::Write,
    time::Instant, //
};

use crate::{
    gpu::render::CAPSETS,
    pci::{
        self,
        CONFIG_LENGTH, //
    },
    script::{
        Fault,
        Script, //
    }, //
};

/// The control queue and the cursor queue.
pub const QUEUES: usize = 2;
pub const CURSOR: usize = 1;
/// Largest sizes of the queues, and of those of a device with 3D. They are QEMU's.
const SIZES: [u16; QUEUES] = [64, 16];
const SIZES_3D: [u16; QUEUES] = [256, 16];
const NO_VECTOR: u16 = 0xffff;
/// A size of a queue that none may have.
const BAD_SIZE: u16 = 63;
/// More heads than a device may have.
const MANY_HEADS: u32 = 17;

pub const FEATURE_VIRGL: u64 = 1 << 0;
pub const FEATURE_EDID: u64 = 1 << 1;
pub const FEATURE_CONTEXT_INIT: u64 = 1 << 4;
pub const FEATURE_INDIRECT: u64 = 1 << 28;
pub const FEATURE_EVENT_IDX: u64 = 1 << 29;
pub const FEATURE_VERSION_1: u64 = 1 << 32;
/// The driver has to use addresses of the DMA API.
pub const FEATURE_ACCESS_PLATFORM: u64 = 1 << 33;
/// Features that a driver can do without.
const OPTIONAL: [u64; 3] = [FEATURE_EVENT_IDX, FEATURE_INDIRECT, FEATURE_EDID];

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
    /// Resets of the function, which may be among those.
    pub function_resets: u64,
    /// Chains that make no sense.
    pub malformed: u64,
    /// Queues that stand still, and commands that are answered later.
    pub held: [bool; QUEUES],
    pub late: usize,
    /// Resets for which the driver had no reason: no queue stood still, and the device was sound.
    pub idle_resets: u64,
    /// When something went wrong last: a queue stood still, or the device did not go on.
    pub fault: Option<Instant>,
    /// When the driver wrote 0 to the status of a device that was running, and when the first flush
    /// after that was executed.
    pub reset: Option<Instant>,
    pub restored: Option<Instant>,
}

/// What the device held back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Release {
    All,
    /// The work of the GPU, in its order or the other way round.
    Fences {
        backwards: bool,
    },
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
    /// The device does not go on, and the driver has not reset it since.
    broke: bool,
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
    /// What the device held back and goes on.
    pub released: Option<Release>,
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
        let sizes = match features & FEATURE_VIRGL {
            0 => SIZES,
            _ => SIZES_3D,
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
            broke: false,
            config_vector: NO_VECTOR,
            queue: 0,
            queues: sizes.map(queue),
            isr: 0,
            events: 0,
            generation: 0,
            messages: (0..vectors).map(|_| None).collect(),
            line: None,
            masked: false,
            kicked: [false; QUEUES],
            script: Script::default(),
            released: None,
            counts: Counts::default(),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.script.fault == Some(fault)
    }

    /// The features that the driver finds.
    fn offered(&self) -> u64 {
        let has = |feature: &u64| self.features & feature != 0;
        let missing = match self.script.fault {
            Some(Fault::Version) => FEATURE_VERSION_1,
            Some(Fault::Fewer) => OPTIONAL.into_iter().find(has).unwrap_or(0),
            _ => 0,
        };
        self.features & !missing
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

    /// Resets the function, also of a device that takes no notice of a reset of its status.
    fn function_reset(&mut self) {
        self.reset();
        pci::reset(&mut self.space);
        self.counts.function_resets += 1;
    }

    /// The device does not go on, without a word of it in the status.
    pub fn breaks(&mut self) {
        self.broke = true;
        self.counts.fault = Some(Instant::now());
    }

    /// The device resets itself, and nobody has asked for that.
    pub fn reset_itself(&mut self) {
        self.breaks();
        self.reset();
    }

    /// The driver resets the device.
    fn reset_by_driver(&mut self) {
        let broken = self.broke || self.status & STATUS_NEEDS_RESET != 0;
        let running = self.status & STATUS_DRIVER_OK != 0 && !self.resetting;
        if broken || running {
            let held = self.counts.held.contains(&true);
            self.counts.idle_resets += u64::from(!broken && !held);
            self.broke = false;
            self.counts.reset = Some(Instant::now());
            self.counts.restored = None;
        }
        self.reset();
    }

    /// A queue stands still from now on, unless another one does already.
    pub fn parked(&mut self) {
        if !self.counts.held.contains(&true) {
            self.counts.fault = Some(Instant::now());
        }
    }

    /// A flush was executed.
    pub fn flushed(&mut self) {
        self.counts.restored.get_or_insert_with(Instant::now);
    }

    /// The other thread has let go of all that the driver told it.
    pub fn acknowledge_reset(&mut self) {
        self.status = 0;
        self.resetting = false;
        self.counts.resets += 1;
    }

    /// Asks the driver for a reset. Until then the device does nothing.
    pub fn needs_reset(&mut self) {
        self.counts.fault = Some(Instant::now());
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
        put(
            0x04,
            &window(self.offered(), self.selected[0]).to_le_bytes(),
        );
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
            let size = match self.queue {
                1 if self.has(Fault::Queue) => 0,
                0 if self.has(Fault::Size) => BAD_SIZE,
                _ => queue.size,
            };
            put(0x18, &size.to_le_bytes());
            put(0x1a, &queue.vector.to_le_bytes());
            put(0x1c, &u16::from(queue.enabled).to_le_bytes());
            let place = match self.has(Fault::Notify) {
                true => u16::MAX,
                false => self.queue,
            };
            put(0x1e, &place.to_le_bytes());
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
            (pci::VIRTIO_BAR, at @ pci::COMMON..pci::ISR) => {
                if self.has(Fault::Generation) {
                    self.generation = self.generation.wrapping_add(1);
                }
                copy(data, &self.common(), at);
            }
            (pci::VIRTIO_BAR, pci::ISR) => copy(data, &[std::mem::take(&mut self.isr)], 0),
            (pci::VIRTIO_BAR, at @ pci::DEVICE..pci::NOTIFY) => {
                let heads = match self.has(Fault::Heads) {
                    true => MANY_HEADS,
                    false => self.heads,
                };
                let capsets = match self.features & FEATURE_VIRGL {
                    0 => 0,
                    _ if self.has(Fault::Capsets) => u32::MAX,
                    _ => CAPSETS.len() as u32,
                };
                let fields = [self.events, 0, heads, capsets].map(u32::to_le_bytes);
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
            (pci::CONFIG, at) if pci::is_function_reset(at, data) => self.function_reset(),
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
        let vectors = match self.has(Fault::Message) {
            true => 0,
            false => self.vectors,
        };
        let enables = !self.has(Fault::Enable);
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
                    0x1c => queue.enabled = enables && value == 1,
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
        if status == 0 && self.has(Fault::Reset) {
            // It takes no notice.
        } else if status == 0 {
            self.reset_by_driver();
        } else if !self.resetting {
            let sound = self.driver_features & !self.offered() == 0
                && self.driver_features & FEATURE_VERSION_1 != 0
                && !self.has(Fault::Features);
            let refused = if sound { 0 } else { STATUS_FEATURES_OK };
            self.status = status & !refused | self.status & STATUS_NEEDS_RESET;
        }
    }
}

#[cfg(test)]
mod tests;
