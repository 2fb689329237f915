// SPDX-License-Identifier: GPL-2.0

//! A driver for the whole device: rings, interrupts, and scripts of misbehaviour.

use std::{
    sync::atomic::Ordering,
    time::{
        Duration,
        Instant, //
    },
};

mod fences;

use clap::Parser;
use vm_memory::{
    Bytes,
    GuestAddress, //
};

use crate::{
    control,
    engine::{
        lock,
        Engine,
        Shared, //
    },
    front::{
        FEATURE_EVENT_IDX,
        FEATURE_INDIRECT, //
    },
    gpu::HEADER,
    memory::Map,
    pci,
    Options, //
};

const MEMORY: usize = 0x40000;
/// Areas of the control queue, and what its commands use.
const DESCRIPTORS: u64 = 0x1000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
const TABLE: u64 = 0x4000;
const REQUESTS: u64 = 0x10000;
const ANSWERS: u64 = 0x20000;
const SLOT: u64 = 0x400;
const SIZE: u16 = 8;

const CREATE: u32 = 0x101;
const UNREF: u32 = 0x102;
const OK_NODATA: u32 = 0x1100;

/// A device without a driver.
pub fn shared() -> Shared {
    device(&["--heads", "2"])
}

fn device(options: &[&str]) -> Shared {
    let name = ["device", "--socket", "none"];
    Options::parse_from(name.iter().chain(options)).device()
}

/// A device with a driver that uses the control queue.
struct Driver {
    shared: Shared,
    engine: Engine,
    now: Instant,
    available: u16,
    indirect: bool,
}

impl Driver {
    fn new(features: u64) -> Self {
        Self::of(shared(), features)
    }

    fn of(shared: Shared, features: u64) -> Self {
        *lock(&shared.map) = Map::from_ranges(&[(GuestAddress(0), MEMORY)]).unwrap();
        let mut driver = Self {
            shared,
            engine: Engine::default(),
            now: Instant::now(),
            available: 0,
            indirect: features & FEATURE_INDIRECT != 0,
        };
        driver.start(features);
        driver
    }

    fn start(&mut self, features: u64) {
        self.available = 0;
        self.put(AVAILABLE, &[0; 32]);
        self.put(USED, &[0; 128]);
        let mut front = lock(&self.shared.front);
        let mut write = |offset, value: u32| {
            front.write(pci::VIRTIO_BAR, offset, &value.to_le_bytes());
        };
        for (half, bits) in [(0, features as u32), (1, 1)] {
            write(0x08, half);
            write(0x0c, bits);
        }
        write(0x16, 0);
        for (offset, value) in [(0x20, DESCRIPTORS), (0x28, AVAILABLE), (0x30, USED)] {
            write(offset, value as u32);
            write(offset + 4, 0);
        }
        front.write(pci::CONFIG, 4, &[6, 0]);
        front.write(pci::VIRTIO_BAR, 0x18, &SIZE.to_le_bytes());
        front.write(pci::VIRTIO_BAR, 0x1c, &[1, 0]);
        front.write(pci::VIRTIO_BAR, 0x14, &[0x0f]);
    }

    fn put(&self, address: u64, bytes: &[u8]) {
        lock(&self.shared.map)
            .write_slice(bytes, GuestAddress(address))
            .unwrap();
    }

    fn get<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        lock(&self.shared.map)
            .read_slice(&mut bytes, GuestAddress(address))
            .unwrap();
        bytes
    }

    fn descriptor(&self, table: u64, index: u64, fields: (u64, u32, u16, u16)) {
        let (address, length, flags, next) = fields;
        let bytes = [
            &address.to_le_bytes()[..],
            &length.to_le_bytes(),
            &flags.to_le_bytes(),
            &next.to_le_bytes(),
        ];
        self.put(table + 16 * index, &bytes.concat());
    }

    /// Makes a command available, in the next slot. Does not kick.
    fn push(&mut self, kind: u32, fields: &[u32]) {
        self.push_header([kind, 0, 0, 0, 0, 0], fields);
    }

    /// The same, with all of a header.
    fn push_header(&mut self, header: [u32; 6], fields: &[u32]) {
        let slot = u64::from(self.available % (SIZE / 2));
        let (request, answer) = (REQUESTS + SLOT * slot, ANSWERS + SLOT * slot);
        let words = header.iter().chain(fields);
        let bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
        self.put(request, &bytes);
        self.put(answer, &[0; HEADER]);
        let (head, table, first) = if self.indirect {
            let table = TABLE + 32 * slot;
            self.descriptor(DESCRIPTORS, slot, (table, 32, 4, 0));
            (slot, table, 0)
        } else {
            (2 * slot, DESCRIPTORS, 2 * slot)
        };
        let length = bytes.len() as u32;
        self.descriptor(table, first, (request, length, 1, first as u16 + 1));
        self.descriptor(table, first + 1, (answer, HEADER as u32, 2, 0));
        self.publish(head as u16);
    }

    fn publish(&mut self, head: u16) {
        let place = u64::from(self.available % SIZE);
        self.put(AVAILABLE + 4 + 2 * place, &head.to_le_bytes());
        self.available += 1;
        self.put(AVAILABLE + 2, &self.available.to_le_bytes());
    }

    fn kick(&mut self) -> Option<Instant> {
        lock(&self.shared.front).write(pci::VIRTIO_BAR, pci::NOTIFY, &[0, 0]);
        self.turn()
    }

    fn turn(&mut self) -> Option<Instant> {
        self.engine.turn(&self.shared, self.now)
    }

    /// Commands that were answered, as numbers of slots.
    fn used(&self) -> Vec<u32> {
        let index = u16::from_le_bytes(self.get(USED + 2));
        let step = if self.indirect { 1 } else { 2 };
        (0..u64::from(index))
            .map(|at| u32::from_le_bytes(self.get(USED + 4 + 8 * (at % u64::from(SIZE)))) / step)
            .collect()
    }

    fn answer(&self, slot: u64) -> u32 {
        u32::from_le_bytes(self.get(ANSWERS + SLOT * slot))
    }

    fn ask(&mut self, request: &str) {
        let answer = control::answer(&self.shared, request);
        assert!(answer.starts_with("done "), "{request}: {answer}");
    }

    fn wanted_interrupts(&self) -> u64 {
        // There is no eventfd: all interrupts are withheld here.
        lock(&self.shared.front).counts.withheld
    }

    fn is_sound(&self) -> bool {
        let violations = &self.shared.violations;
        let counts = [&violations.untold, &violations.unmapped];
        counts
            .iter()
            .all(|count| count.load(Ordering::Relaxed) == 0)
            && lock(&self.shared.front).counts.malformed == 0
    }
}

const MODES: [u64; 4] = [
    0,
    FEATURE_INDIRECT,
    FEATURE_EVENT_IDX,
    FEATURE_INDIRECT | FEATURE_EVENT_IDX,
];

#[test]
fn commands_are_answered_in_each_mode() {
    for mode in MODES {
        let mut driver = Driver::new(mode);
        for round in 0..20 {
            driver.push(CREATE, &[5, 1, 16, 16]);
            driver.push(UNREF, &[5, 0]);
            assert_eq!(driver.used().len(), 2 * round);
            assert_eq!(driver.kick(), None);
            assert_eq!(driver.used().len(), 2 * round + 2);
            let slots = [2 * round % 4, 2 * round % 4 + 1];
            assert_eq!(slots.map(|slot| driver.answer(slot as u64)), [OK_NODATA; 2]);
        }
        assert!(driver.is_sound());
    }
}

#[test]
fn the_driver_says_which_interrupts_it_wants() {
    for mode in MODES {
        let mut driver = Driver::new(mode);
        driver.ask("device withhold-interrupts");
        driver.push(CREATE, &[1, 1, 16, 16]);
        driver.kick();
        assert_eq!(driver.wanted_interrupts(), 1);
        // No interrupts: by the flag, or by an index that is passed.
        driver.put(AVAILABLE, &[1, 0]);
        driver.push(UNREF, &[1, 0]);
        driver.kick();
        assert_eq!(driver.wanted_interrupts(), 1);
        assert_eq!(driver.used(), [0, 1]);
        // With the event index, one in the middle of two.
        driver.put(AVAILABLE, &[0, 0]);
        driver.put(AVAILABLE + 4 + 2 * u64::from(SIZE), &[2, 0]);
        driver.push(CREATE, &[1, 1, 16, 16]);
        driver.kick();
        assert_eq!(driver.wanted_interrupts(), 2);
    }
}

#[test]
fn a_stall_holds_the_queue_until_the_device_resumes() {
    let mut driver = Driver::new(FEATURE_EVENT_IDX);
    driver.ask("device stall create 2");
    for id in 1..=3 {
        driver.push(CREATE, &[id, 1, 16, 16]);
    }
    assert_eq!(driver.kick(), None);
    assert_eq!(driver.used(), [0]);
    assert_eq!(lock(&driver.shared.front).counts.held, [true, false]);
    assert_eq!(driver.kick(), None);
    assert_eq!(driver.used(), [0]);
    driver.ask("device resume");
    assert_eq!(driver.turn(), None);
    assert_eq!(driver.used(), [0, 1, 2]);
    assert_eq!(lock(&driver.shared.gpu).held().0, 3);
    assert_eq!(lock(&driver.shared.front).counts.held, [false, false]);
    assert!(driver.is_sound());
}

#[test]
fn a_slow_device_takes_its_time_for_each_command() {
    let mut driver = Driver::new(0);
    driver.ask("device slow any 20");
    driver.push(CREATE, &[1, 1, 16, 16]);
    driver.push(UNREF, &[1, 0]);
    for done in 0..2 {
        let next = if done == 0 {
            driver.kick()
        } else {
            driver.turn()
        };
        assert_eq!(next, Some(driver.now + Duration::from_millis(20)));
        assert_eq!(driver.used().len(), done);
        driver.now += Duration::from_millis(20);
    }
    assert_eq!(driver.turn(), None);
    assert_eq!(driver.used(), [0, 1]);
}

#[test]
fn a_late_answer_does_not_hold_the_others() {
    let mut driver = Driver::new(FEATURE_INDIRECT);
    driver.ask("device late create 50");
    driver.push(CREATE, &[1, 1, 16, 16]);
    driver.push(UNREF, &[1, 0]);
    assert_eq!(driver.kick(), Some(driver.now + Duration::from_millis(50)));
    assert_eq!(driver.used(), [1]);
    assert_eq!(driver.answer(1), OK_NODATA);
    driver.now += Duration::from_millis(50);
    assert_eq!(driver.turn(), None);
    assert_eq!(driver.used(), [1, 0]);
    assert!(driver.is_sound());
}

#[test]
fn what_is_never_answered_is_answered_after_all_when_the_device_resumes() {
    let mut driver = Driver::new(0);
    driver.ask("device never create");
    driver.push(CREATE, &[1, 1, 16, 16]);
    driver.push(UNREF, &[1, 0]);
    assert_eq!(driver.kick(), None);
    assert_eq!(driver.used(), [1]);
    // Later ones are, if it behaves again.
    driver.ask("device behave");
    driver.push(CREATE, &[2, 1, 16, 16]);
    driver.kick();
    assert_eq!(driver.used(), [1, 2]);
    driver.ask("device resume");
    driver.turn();
    assert_eq!(driver.used(), [1, 2, 0]);
}

#[test]
fn what_is_refused_is_not_executed() {
    let mut driver = Driver::new(0);
    driver.ask("device refuse create 0x1201");
    driver.push(CREATE, &[1, 1, 16, 16]);
    driver.kick();
    assert_eq!((driver.used(), driver.answer(0)), (vec![0], 0x1201));
    assert_eq!(lock(&driver.shared.gpu).held().0, 0);
}

#[test]
fn a_lost_kick_stays_lost() {
    let mut driver = Driver::new(0);
    driver.ask("device ignore-kicks");
    driver.push(CREATE, &[1, 1, 16, 16]);
    driver.kick();
    driver.ask("device resume");
    driver.turn();
    assert!(driver.used().is_empty());
    driver.kick();
    assert_eq!(driver.used(), [0]);
}

#[test]
fn a_reset_drops_what_is_held() {
    let mut driver = Driver::new(0);
    driver.ask("device stall create");
    driver.push(CREATE, &[1, 1, 16, 16]);
    driver.kick();
    lock(&driver.shared.front).write(pci::VIRTIO_BAR, 0x14, &[0]);
    driver.turn();
    driver.ask("device resume");
    driver.start(0);
    driver.push(CREATE, &[1, 1, 16, 16]);
    driver.kick();
    assert_eq!((driver.used(), driver.answer(0)), (vec![0], OK_NODATA));
    assert_eq!(lock(&driver.shared.front).counts.resets, 1);
}

#[test]
fn a_hang_ends_with_the_reset() {
    let mut driver = Driver::new(0);
    driver.ask("device hang create");
    driver.push(CREATE, &[1, 1, 16, 16]);
    driver.kick();
    assert!(driver.used().is_empty());
    driver.ask("device reset");
    driver.turn();
    driver.start(0);
    driver.push(CREATE, &[1, 1, 16, 16]);
    driver.kick();
    assert_eq!((driver.used(), driver.answer(0)), (vec![0], OK_NODATA));
}

#[test]
fn a_reset_may_take_its_time() {
    let mut driver = Driver::new(0);
    driver.ask("device slow-reset 20");
    driver.push(CREATE, &[1, 1, 16, 16]);
    lock(&driver.shared.front).write(pci::VIRTIO_BAR, 0x14, &[0]);
    assert_eq!(driver.turn(), Some(driver.now + Duration::from_millis(20)));
    assert!(lock(&driver.shared.front).resetting);
    driver.now += Duration::from_millis(20);
    assert_eq!(driver.turn(), None);
    assert!(!lock(&driver.shared.front).resetting);
}

#[test]
fn a_reset_has_a_reason_or_not() {
    let mut driver = Driver::new(0);
    for (request, idle) in [
        ("device hang create", 0),
        ("device needs-reset", 0),
        ("place", 1),
    ] {
        driver.ask(request);
        driver.push(CREATE, &[1, 1, 16, 16]);
        driver.kick();
        lock(&driver.shared.front).write(pci::VIRTIO_BAR, 0x14, &[0]);
        driver.turn();
        assert_eq!(
            lock(&driver.shared.front).counts.idle_resets,
            idle,
            "{request}"
        );
        driver.start(0);
    }
    assert_eq!(lock(&driver.shared.front).counts.resets, 3);
    assert_eq!(lock(&driver.shared.gpu).count_since_reset(), 0);
}

#[test]
fn nothing_is_done_after_needs_reset_and_while_it_is_gone() {
    for request in ["device needs-reset", "device gone"] {
        let mut driver = Driver::new(0);
        driver.ask(request);
        driver.push(CREATE, &[1, 1, 16, 16]);
        driver.kick();
        assert!(driver.used().is_empty(), "{request}");
    }
}

#[test]
fn chains_that_make_no_sense_break_the_device() {
    // Fields of a descriptor: address, length, flags, next.
    for (index, fields) in [
        (0, (REQUESTS, 24, 1, SIZE)),
        (0, (REQUESTS, 24, 1, 0)),
        (0, (MEMORY as u64, 24, 0, 0)),
        (0, (REQUESTS, u32::MAX, 0, 0)),
        (0, (TABLE, 32, 4, 0)),
        (SIZE, (REQUESTS, 24, 0, 0)),
    ] {
        let mut driver = Driver::new(0);
        driver.descriptor(DESCRIPTORS, u64::from(index), fields);
        driver.publish(index);
        driver.kick();
        let front = lock(&driver.shared.front);
        assert_eq!(front.counts.malformed, 1, "{fields:?}");
        assert!(!front.is_active());
    }
}
