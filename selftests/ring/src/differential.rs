// SPDX-License-Identifier: GPL-2.0

//! rust-vmm's `virtio-queue` as the device: every buffer arrives byte for byte in both directions,
//! and nobody sleeps through work, as each side only runs when the other has notified it.

use std::{
    cell::RefCell,
    collections::{
        HashMap,
        VecDeque, //
    },
    sync::atomic::Ordering,
};

use virtio_queue::{
    Queue,
    QueueOwnedT,
    QueueT, //
};
use vm_memory::{
    Bytes,
    GuestAddress,
    GuestMemoryMmap, //
};

use crate::{
    ring::{
        Config,
        Memory,
        PushReason,
        Request,
        Ring,
        Segment,
        Slot, //
    },
    support::{
        slots,
        Random, //
    },
};

/// Beyond 32 bits, so that cut addresses show, and no more than 16-byte aligned.
const RING: u64 = 0x1_2345_6010;
const BUFFERS: u64 = 0x7_0000_0000;
const MAX_SEGMENTS: u16 = 7;
const MAX_LEN: usize = 24;
const STRIDE: u64 = 32;
const FILL: u8 = 0xee;
const AVAIL_F_NO_INTERRUPT: u16 = 1;

struct Guest<'a> {
    memory: &'a GuestMemoryMmap,
    len: usize,
}

impl Guest<'_> {
    fn at(&self, offset: usize) -> GuestAddress {
        GuestAddress(RING + offset as u64)
    }
}

impl Memory for Guest<'_> {
    fn device_address(&self) -> u64 {
        RING
    }

    fn len(&self) -> usize {
        self.len
    }

    fn read_u16(&self, offset: usize) -> u16 {
        u16::from_le(
            self.memory
                .load(self.at(offset), Ordering::Relaxed)
                .unwrap(),
        )
    }

    fn read_u32(&self, offset: usize) -> u32 {
        u32::from_le(
            self.memory
                .load(self.at(offset), Ordering::Relaxed)
                .unwrap(),
        )
    }

    fn write_u16(&self, offset: usize, value: u16) {
        self.memory
            .store(value.to_le(), self.at(offset), Ordering::Relaxed)
            .unwrap();
    }

    fn write_u32(&self, offset: usize, value: u32) {
        self.memory
            .store(value.to_le(), self.at(offset), Ordering::Relaxed)
            .unwrap();
    }

    fn write_u64(&self, offset: usize, value: u64) {
        self.memory
            .store(value.to_le(), self.at(offset), Ordering::Relaxed)
            .unwrap();
    }

    // Driver and device take turns on one thread here.
    fn virt_mb(&self) {}
    fn virt_rmb(&self) {}
    fn virt_wmb(&self) {}
}

struct Buffers {
    serial: u64,
    /// Which of the places for buffers it has.
    place: usize,
    segments: Vec<Segment>,
    readable: usize,
}

impl Request for Buffers {
    fn readable(&self) -> impl AsRef<[Segment]> {
        &self.segments[..self.readable]
    }

    fn writable(&self) -> impl AsRef<[Segment]> {
        &self.segments[self.readable..]
    }
}

impl Buffers {
    fn writable_len(&self) -> usize {
        self.segments[self.readable..]
            .iter()
            .map(|segment| segment.len as usize)
            .sum()
    }
}

/// What `serial` sends (`salt` 0) and gets (`salt` 1).
fn content(serial: u64, salt: u64) -> impl Iterator<Item = u8> {
    let mut random = Random::new(serial * 2 + salt);
    std::iter::repeat_with(move || random.next().to_be_bytes()).flatten()
}

/// A chain that the device has taken and not used yet.
struct Held {
    head: u16,
    serial: u64,
    writable: Vec<Segment>,
}

#[derive(Default)]
struct Counts {
    published: u64,
    doorbells: u64,
    used: u64,
    interrupts: u64,
}

struct Bench<'a> {
    memory: &'a GuestMemoryMmap,
    config: Config,
    random: Random,
    ring: Ring<Guest<'a>, Buffers, Vec<Slot<Buffers>>>,
    queue: Queue,
    places: Vec<usize>,
    next_serial: u64,
    popped: u64,
    /// What was published and the device has not taken: serial and segments.
    expected: VecDeque<(u64, Vec<Segment>, usize)>,
    pushed: Vec<(u64, Vec<Segment>, usize)>,
    held: Vec<Held>,
    written: HashMap<u64, u32>,
    device_asleep: bool,
    doorbell: bool,
    driver_asleep: bool,
    interrupt: bool,
    counts: Counts,
    scratch: RefCell<Vec<u8>>,
}

impl<'a> Bench<'a> {
    fn new(memory: &'a GuestMemoryMmap, config: Config) -> Self {
        let len = config.layout().unwrap().total;
        let ring = Ring::new(Guest { memory, len }, slots(config.size), config).unwrap();
        let mut queue = Queue::new(config.size).unwrap();
        let halves = |address: u64| (Some(address as u32), Some((address >> 32) as u32));

        let (low, high) = halves(ring.descriptor_address());
        queue.set_desc_table_address(low, high);
        let (low, high) = halves(ring.available_address());
        queue.set_avail_ring_address(low, high);
        let (low, high) = halves(ring.used_address());
        queue.set_used_ring_address(low, high);
        queue.set_event_idx(config.event_idx);
        queue.set_ready(true);
        assert!(queue.is_valid(memory));
        assert_eq!(queue.desc_table(), ring.descriptor_address());
        assert_eq!(queue.avail_ring(), ring.available_address());
        assert_eq!(queue.used_ring(), ring.used_address());

        Self {
            memory,
            config,
            random: Random::new(u64::from(config.size)),
            ring,
            queue,
            places: (0..config.size.into()).collect(),
            next_serial: 0,
            popped: 0,
            expected: VecDeque::new(),
            pushed: Vec::new(),
            held: Vec::new(),
            written: HashMap::new(),
            device_asleep: true,
            doorbell: false,
            driver_asleep: true,
            interrupt: false,
            counts: Counts::default(),
            scratch: RefCell::default(),
        }
    }

    /// A request in a free place, its readable segments filled in, its writable ones blank.
    fn request(&mut self, place: usize) -> Buffers {
        let serial = self.next_serial;
        let number = 1 + self.random.below(self.config.max_segments.into());
        let readable = 1 + self.random.below(number);
        let mut bytes = content(serial, 0);
        let mut segments = Vec::with_capacity(number);

        for index in 0..number {
            let slot = (place * usize::from(MAX_SEGMENTS) + index) as u64;
            let len = 1 + self.random.below(MAX_LEN);
            let address = BUFFERS + slot * STRIDE + self.random.below(8) as u64;
            let mut scratch = self.scratch.borrow_mut();
            scratch.clear();
            if index < readable {
                scratch.extend(bytes.by_ref().take(len));
            } else {
                scratch.resize(len, FILL);
            }
            self.memory
                .write_slice(&scratch, GuestAddress(address))
                .unwrap();
            segments.push(Segment {
                address,
                len: len as u32,
            });
        }
        Buffers {
            serial,
            place,
            segments,
            readable,
        }
    }

    /// Pushes up to `count` requests; returns whether there was room for all.
    fn push(&mut self, count: usize) -> bool {
        for _ in 0..count {
            let Some(place) = self.places.pop() else {
                assert_eq!(self.ring.free_descriptors(), 0);
                return false;
            };
            let request = self.request(place);
            let needed = if self.config.indirect {
                1
            } else {
                request.segments.len() as u16
            };
            let note = (request.serial, request.segments.clone(), request.readable);
            let free = self.ring.free_descriptors();
            match self.ring.push(request) {
                Ok(token) => {
                    assert!(token < self.config.size);
                    assert_eq!(self.ring.free_descriptors(), free - needed);
                    self.pushed.push(note);
                    self.next_serial += 1;
                }
                Err(error) => {
                    assert_eq!(error.reason, PushReason::NoRoom);
                    assert!(needed > free);
                    self.places.push(error.request.place);
                    return false;
                }
            }
        }
        true
    }

    fn publish(&mut self) {
        self.counts.published += self.pushed.len() as u64;
        self.expected.extend(self.pushed.drain(..));
        if self.ring.publish() {
            self.counts.doorbells += 1;
            self.doorbell = true;
        }
        assert_eq!(self.ring.avail_idx(), self.next_serial as u16);
    }

    /// Pops up to `most` requests and checks what came back; returns whether there are no more.
    fn pop(&mut self, most: usize) -> bool {
        for _ in 0..most {
            let Some(used) = self.ring.pop().unwrap() else {
                return true;
            };
            let request = used.request;
            let written = self.written.remove(&request.serial).unwrap();
            assert_eq!(used.written, written);

            let mut expected = self.scratch.borrow_mut();
            expected.clear();
            expected.extend(content(request.serial, 1).take(written as usize));
            expected.resize(request.writable_len(), FILL);
            let mut expected = expected.as_slice();
            for segment in request.writable().as_ref() {
                let mut bytes = [0; MAX_LEN];
                let bytes = &mut bytes[..segment.len as usize];
                self.memory
                    .read_slice(bytes, GuestAddress(segment.address))
                    .unwrap();
                let (now, rest) = expected.split_at(bytes.len());
                assert_eq!(bytes, now, "response of request {}", request.serial);
                expected = rest;
            }
            self.places.push(request.place);
            self.popped += 1;
            assert_eq!(self.ring.last_used(), self.popped as u16);
        }
        false
    }

    fn driver(&mut self) {
        if std::mem::take(&mut self.interrupt) {
            self.driver_asleep = false;
            self.ring.disable_interrupts();
        }
        let most = 1 + self.random.below(8);
        if !self.driver_asleep && self.pop(most) {
            self.driver_asleep = !self.ring.enable_interrupts();
        }

        let batch = 1 + self.random.below(usize::from(self.config.size).min(12));
        self.push(batch);
        if self.random.below(4) != 0 {
            self.publish();
        }
    }

    /// Takes a chain and checks what the driver sent with it.
    fn take_chain(&mut self) -> bool {
        let memory = self.memory;
        let Some(chain) = self.queue.iter(memory).unwrap().next() else {
            return false;
        };
        let (serial, segments, readable) = self.expected.pop_front().unwrap();
        let head = chain.head_index();
        let mut sent = content(serial, 0);
        let mut number = 0;

        for desc in chain {
            let segment = Segment {
                address: desc.addr().0,
                len: desc.len(),
            };
            assert_eq!(segment, segments[number]);
            assert_eq!(desc.is_write_only(), number >= readable);
            if number < readable {
                let mut bytes = [0; MAX_LEN];
                let bytes = &mut bytes[..segment.len as usize];
                memory.read_slice(bytes, desc.addr()).unwrap();
                assert!(bytes.iter().copied().eq(sent.by_ref().take(bytes.len())));
            }
            number += 1;
        }
        assert_eq!(number, segments.len());
        self.held.push(Held {
            head,
            serial,
            writable: segments[readable..].to_vec(),
        });
        true
    }

    /// Answers one of the chains it holds, not always the first.
    fn use_chain(&mut self) {
        let index = self.random.below(self.held.len());
        let held = self.held.swap_remove(index);
        let room: u32 = held.writable.iter().map(|segment| segment.len).sum();
        let written = self.random.below(room as usize + 1);
        let mut bytes = content(held.serial, 1);
        let mut left = written;

        for segment in &held.writable {
            let len = left.min(segment.len as usize);
            let mut scratch = self.scratch.borrow_mut();
            scratch.clear();
            scratch.extend(bytes.by_ref().take(len));
            self.memory
                .write_slice(&scratch, GuestAddress(segment.address))
                .unwrap();
            left -= len;
        }
        self.written.insert(held.serial, written as u32);
        self.queue
            .add_used(self.memory, held.head, written as u32)
            .unwrap();
        self.counts.used += 1;
    }

    /// `virtio-queue` leaves the flag to its caller.
    fn interrupts_masked(&self) -> bool {
        let flags: u16 = self
            .memory
            .load(GuestAddress(self.queue.avail_ring()), Ordering::Relaxed)
            .unwrap();
        // With event index the flags stay 0.
        assert!(!self.config.event_idx || flags == 0);
        u16::from_le(flags) & AVAIL_F_NO_INTERRUPT != 0
    }

    fn device(&mut self) {
        if std::mem::take(&mut self.doorbell) {
            self.device_asleep = false;
        }
        if !self.device_asleep {
            self.queue.disable_notification(self.memory).unwrap();
            let most = 1 + self.random.below(16);
            let drained = (0..most).any(|_| !self.take_chain());
            if drained {
                self.device_asleep = !self.queue.enable_notification(self.memory).unwrap();
            }
        }

        // It uses what it holds at its own pace, also with no new work.
        let number = self.random.below(16).min(self.held.len());
        for _ in 0..number {
            self.use_chain();
        }
        if number == 0 {
            return;
        }
        if self.queue.needs_notification(self.memory).unwrap() && !self.interrupts_masked() {
            self.counts.interrupts += 1;
            self.interrupt = true;
        }
    }

    fn assert_nobody_sleeps_through(&self) {
        assert!(
            !self.device_asleep || self.doorbell || self.expected.is_empty(),
            "lost doorbell"
        );
        let unseen = self.queue.next_used() != self.ring.last_used();
        assert!(
            !self.driver_asleep || self.interrupt || !unseen,
            "lost interrupt"
        );
    }

    fn run(mut self, requests: u64) -> Counts {
        while self.popped < requests {
            self.driver();
            self.assert_nobody_sleeps_through();
            self.device();
            self.assert_nobody_sleeps_through();
        }
        self.publish();
        while self.popped < self.next_serial {
            self.device();
            self.driver_asleep = false;
            self.pop(usize::MAX);
        }
        assert_eq!(self.ring.in_flight(), 0);
        assert_eq!(self.ring.free_descriptors(), self.config.size);
        assert_eq!(self.ring.broken(), None);
        assert!(self.written.is_empty() && self.held.is_empty());
        self.counts
    }
}

fn run(size: u16, indirect: bool, event_idx: bool, requests: u64) {
    let config = Config {
        size,
        max_segments: MAX_SEGMENTS.min(size),
        indirect,
        event_idx,
    };
    let ring_len = config.layout().unwrap().total;
    let buffers_len = usize::from(size) * usize::from(MAX_SEGMENTS) * STRIDE as usize;
    let page = 0xfff;
    let ranges = [
        (GuestAddress(RING & !page), ring_len + 0x1000),
        (GuestAddress(BUFFERS), buffers_len),
    ];
    let memory = GuestMemoryMmap::from_ranges(&ranges).unwrap();
    let counts = Bench::new(&memory, config).run(requests);

    assert!(counts.published >= requests && counts.used == counts.published);
    // Suppression suppresses: a device that is awake needs no doorbell, a driver no interrupt.
    assert!(counts.doorbells > 0 && counts.doorbells < counts.published);
    assert!(counts.interrupts > 0 && counts.interrupts < counts.used);
}

/// All sizes, the index three times around for each.
fn run_all_sizes(indirect: bool, event_idx: bool) {
    for bits in 1..=10 {
        run(1 << bits, indirect, event_idx, 3 << 16);
    }
}

#[test]
fn direct_with_flags() {
    run_all_sizes(false, false);
}

#[test]
fn direct_with_event_idx() {
    run_all_sizes(false, true);
}

#[test]
fn indirect_with_flags() {
    run_all_sizes(true, false);
}

#[test]
fn indirect_with_event_idx() {
    run_all_sizes(true, true);
}

#[test]
fn index_wraps_many_times() {
    run(64, true, true, 20 << 16);
    run(64, false, true, 20 << 16);
}
