// SPDX-License-Identifier: GPL-2.0

//! Driver and device as two threads under loom, which tries every interleaving and every value
//! that a relaxed load may see on a weakly ordered machine.
//!
//! Shared memory is made of relaxed atomics, barriers are fences, doorbell and interrupt are
//! latches: a lost one leaves its thread waiting for ever, which loom reports as a deadlock. Each
//! test also runs with one kind of barrier left out on the driver's side, and must fail then.

use std::{
    collections::BTreeMap,
    sync::Arc, //
};

use loom::{
    sync::{
        atomic::{
            fence, AtomicU16, AtomicU32, AtomicU64,
            Ordering::{
                Acquire,
                Relaxed,
                Release,
                SeqCst, //
            },
        },
        Notify,
    },
    thread,
};

use crate::{
    ring::{
        Config,
        Layout,
        Memory,
        Request,
        Ring,
        Segment,
        Slot, //
    },
    support::{
        slots,
        Field, //
    },
};

const SIZE: u16 = 2;
const BASE: u64 = 0x1000;
const F_NO: u16 = 1;

/// The barrier of the driver that is missing.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    None,
    Mb,
    Rmb,
    Wmb,
}

enum Word {
    U16(AtomicU16),
    U32(AtomicU32),
    U64(AtomicU64),
}

/// What driver and device share.
struct Shared {
    layout: Layout,
    words: BTreeMap<usize, Word>,
    /// What the device writes to the buffers, by request.
    data: Vec<AtomicU32>,
    doorbell: Notify,
    interrupt: Notify,
    without: Without,
}

impl Shared {
    fn new(config: &Config, without: Without) -> Arc<Self> {
        let layout = config.layout().unwrap();
        let size = usize::from(SIZE);
        let mut fields = vec![
            Field::AvailFlags,
            Field::AvailIdx,
            Field::UsedEvent,
            Field::UsedFlags,
            Field::UsedIdx,
            Field::AvailEvent,
        ];
        for n in 0..size {
            fields.extend([Field::AvailEntry(n), Field::UsedId(n), Field::UsedLen(n)]);
        }
        let descs = size + (layout.total - layout.tables) / 16;
        for n in 0..descs {
            fields.extend([
                Field::Addr(n),
                Field::Len(n),
                Field::Flags(n),
                Field::Next(n),
            ]);
        }

        let words = fields.into_iter().map(|field| {
            let offset = field.offset(&layout, size);
            let word = match Field::at(&layout, size, offset).1 {
                2 => Word::U16(AtomicU16::new(0)),
                4 => Word::U32(AtomicU32::new(0)),
                _ => Word::U64(AtomicU64::new(0)),
            };
            (offset, word)
        });
        Arc::new(Self {
            layout,
            words: words.collect(),
            data: (0..SIZE).map(|_| AtomicU32::new(0)).collect(),
            doorbell: Notify::new(),
            interrupt: Notify::new(),
            without,
        })
    }

    fn u16(&self, offset: usize) -> &AtomicU16 {
        match &self.words[&offset] {
            Word::U16(word) => word,
            _ => panic!("no 16 bits at {offset}"),
        }
    }

    fn u32(&self, offset: usize) -> &AtomicU32 {
        match &self.words[&offset] {
            Word::U32(word) => word,
            _ => panic!("no 32 bits at {offset}"),
        }
    }

    fn u64(&self, offset: usize) -> &AtomicU64 {
        match &self.words[&offset] {
            Word::U64(word) => word,
            _ => panic!("no 64 bits at {offset}"),
        }
    }

    fn field16(&self, field: Field) -> &AtomicU16 {
        self.u16(field.offset(&self.layout, SIZE.into()))
    }

    fn field32(&self, field: Field) -> &AtomicU32 {
        self.u32(field.offset(&self.layout, SIZE.into()))
    }

    fn field64(&self, field: Field) -> &AtomicU64 {
        self.u64(field.offset(&self.layout, SIZE.into()))
    }
}

impl Memory for Arc<Shared> {
    fn device_address(&self) -> u64 {
        BASE
    }

    fn len(&self) -> usize {
        self.layout.total
    }

    fn read_u16(&self, offset: usize) -> u16 {
        self.u16(offset).load(Relaxed)
    }

    fn read_u32(&self, offset: usize) -> u32 {
        self.u32(offset).load(Relaxed)
    }

    fn write_u16(&self, offset: usize, value: u16) {
        self.u16(offset).store(value, Relaxed);
    }

    fn write_u32(&self, offset: usize, value: u32) {
        self.u32(offset).store(value, Relaxed);
    }

    fn write_u64(&self, offset: usize, value: u64) {
        self.u64(offset).store(value, Relaxed);
    }

    fn virt_mb(&self) {
        if self.without != Without::Mb {
            fence(SeqCst);
        }
    }

    fn virt_rmb(&self) {
        if self.without != Without::Rmb {
            fence(Acquire);
        }
    }

    fn virt_wmb(&self) {
        if self.without != Without::Wmb {
            fence(Release);
        }
    }
}

/// The request with the number `n`: its segments are `n + 1` and `n + 101` bytes long.
struct Numbered([Segment; 2]);

impl Numbered {
    fn new(n: u16) -> Self {
        let segment = |n| Segment {
            address: 0x10000 + u64::from(n),
            len: u32::from(n),
        };
        Self([segment(n + 1), segment(n + 101)])
    }

    fn number(&self) -> u16 {
        self.0[0].len as u16 - 1
    }
}

impl Request for Numbered {
    fn readable(&self) -> impl AsRef<[Segment]> {
        &self.0[..1]
    }

    fn writable(&self) -> impl AsRef<[Segment]> {
        &self.0[1..]
    }
}

type LoomRing = Ring<Arc<Shared>, Numbered, Vec<Slot<Numbered>>>;

fn new_ring(event_idx: bool, without: Without) -> (Arc<Shared>, LoomRing, Config) {
    let config = Config {
        size: SIZE,
        max_segments: 2,
        // One descriptor for a request of two segments.
        indirect: true,
        event_idx,
    };
    let shared = Shared::new(&config, without);
    let ring = Ring::new(shared.clone(), slots(SIZE), config).unwrap();
    (shared, ring, config)
}

/// The device's half, as the specification describes it.
struct Device {
    shared: Arc<Shared>,
    event_idx: bool,
    next_avail: u16,
    used: u16,
}

impl Device {
    fn new(shared: &Arc<Shared>, event_idx: bool) -> Self {
        Self {
            shared: shared.clone(),
            event_idx,
            next_avail: 0,
            used: 0,
        }
    }

    /// Takes the next request, waiting for doorbells; returns its head.
    fn take(&mut self) -> u16 {
        if !self.event_idx {
            self.shared.field16(Field::UsedFlags).store(F_NO, Relaxed);
        }
        while self.shared.field16(Field::AvailIdx).load(Relaxed) == self.next_avail {
            if self.event_idx {
                let event = self.shared.field16(Field::AvailEvent);
                event.store(self.next_avail, Relaxed);
            } else {
                self.shared.field16(Field::UsedFlags).store(0, Relaxed);
            }
            fence(SeqCst);
            if self.shared.field16(Field::AvailIdx).load(Relaxed) == self.next_avail {
                self.shared.doorbell.wait();
            }
        }
        fence(Acquire);

        let entry = Field::AvailEntry(usize::from(self.next_avail % SIZE));
        let head = self.shared.field16(entry).load(Relaxed);
        self.check_request(head, self.next_avail);
        self.next_avail += 1;
        head
    }

    /// Nothing of what describes request `n` may be older than the index that covers it.
    fn check_request(&self, head: u16, n: u16) {
        let shared = &self.shared;
        let desc = usize::from(head);
        let seen = |desc| {
            (
                shared.field64(Field::Addr(desc)).load(Relaxed),
                shared.field32(Field::Len(desc)).load(Relaxed),
                shared.field16(Field::Flags(desc)).load(Relaxed),
            )
        };
        let tables = BASE + shared.layout.tables as u64;
        let table = tables + u64::from(head) * 32;
        assert_eq!(seen(desc), (table, 32, 4), "stale descriptor");

        let first = usize::from(SIZE) + desc * 2;
        let expected = Numbered::new(n);
        for (index, (segment, flags)) in expected.0.iter().zip([1, 2]).enumerate() {
            let expected = (segment.address, segment.len, flags);
            assert_eq!(seen(first + index), expected, "stale table");
        }
    }

    /// Answers request `n` and sends an interrupt if the driver wants one.
    fn answer(&mut self, head: u16, n: u16) {
        let shared = &self.shared;
        let elem = usize::from(self.used % SIZE);
        shared.data[usize::from(n)].store(1000 + u32::from(n), Relaxed);
        shared
            .field32(Field::UsedId(elem))
            .store(head.into(), Relaxed);
        shared
            .field32(Field::UsedLen(elem))
            .store(u32::from(n) + 100, Relaxed);
        fence(Release);
        self.used += 1;
        shared.field16(Field::UsedIdx).store(self.used, Relaxed);
        fence(SeqCst);

        let wanted = if self.event_idx {
            // One element at a time: it is the one the driver waits for, or it is not.
            shared.field16(Field::UsedEvent).load(Relaxed) == self.used - 1
        } else {
            shared.field16(Field::AvailFlags).load(Relaxed) & F_NO == 0
        };
        if wanted {
            shared.interrupt.notify();
        }
    }
}

/// Pushes request `n`, and rings if the device wants that.
fn submit(shared: &Shared, ring: &mut LoomRing, n: u16) {
    ring.push(Numbered::new(n)).ok().unwrap();
    if ring.publish() {
        shared.doorbell.notify();
    }
}

/// Collects `count` requests, waiting for interrupts.
fn collect(shared: &Shared, ring: &mut LoomRing, count: usize) {
    let mut popped = Vec::new();

    while popped.len() < count {
        shared.interrupt.wait();
        ring.disable_interrupts();
        loop {
            while let Some(used) = ring.pop().expect("stale used element") {
                let n = used.request.number();
                let data = shared.data[usize::from(n)].load(Relaxed);
                assert_eq!(data, 1000 + u32::from(n), "stale answer {n}");
                assert_eq!(used.written, 100 + u32::from(n));
                popped.push(n);
            }
            if !ring.enable_interrupts() {
                break;
            }
        }
    }
    popped.sort_unstable();
    assert!(popped.into_iter().map(usize::from).eq(0..count));
}

fn check(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 10_000;
    builder.preemption_bound = preemptions;
    builder.check(model);
}

/// The driver publishes one by one, the device sleeps whenever it finds nothing.
fn publish(event_idx: bool, without: Without) {
    check(None, move || {
        let (shared, mut ring, _) = new_ring(event_idx, without);
        let mut device = Device::new(&shared, event_idx);
        let thread = thread::spawn(move || {
            for _ in 0..SIZE {
                device.take();
            }
        });
        for n in 0..SIZE {
            submit(&shared, &mut ring, n);
        }
        thread.join().unwrap();
    });
}

/// The device uses one by one, the driver sleeps whenever it finds nothing.
fn notify(event_idx: bool, without: Without) {
    check(None, move || {
        let (shared, mut ring, _) = new_ring(event_idx, without);
        let mut device = Device::new(&shared, event_idx);
        for n in 0..SIZE {
            submit(&shared, &mut ring, n);
        }
        let heads: Vec<u16> = (0..SIZE).map(|_| device.take()).collect();
        let thread = thread::spawn(move || {
            for (head, n) in heads.into_iter().zip(0..) {
                device.answer(head, n);
            }
        });
        collect(&shared, &mut ring, SIZE.into());
        thread.join().unwrap();
    });
}

/// Both at once.
fn round_trip(event_idx: bool) {
    check(Some(3), move || {
        let (shared, mut ring, _) = new_ring(event_idx, Without::None);
        let mut device = Device::new(&shared, event_idx);
        let thread = thread::spawn(move || {
            for n in 0..SIZE {
                let head = device.take();
                device.answer(head, n);
            }
        });
        for n in 0..SIZE {
            submit(&shared, &mut ring, n);
        }
        collect(&shared, &mut ring, SIZE.into());
        assert_eq!(ring.in_flight(), 0);
        thread.join().unwrap();
    });
}

#[test]
fn publish_with_flags() {
    publish(false, Without::None);
}

#[test]
fn publish_with_event_idx() {
    publish(true, Without::None);
}

#[test]
fn notify_with_flags() {
    notify(false, Without::None);
}

#[test]
fn notify_with_event_idx() {
    notify(true, Without::None);
}

#[test]
fn round_trip_with_flags() {
    round_trip(false);
}

#[test]
fn round_trip_with_event_idx() {
    round_trip(true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn lost_doorbell_without_mb_with_flags() {
    publish(false, Without::Mb);
}

#[test]
#[should_panic(expected = "deadlock")]
fn lost_doorbell_without_mb_with_event_idx() {
    publish(true, Without::Mb);
}

#[test]
#[should_panic(expected = "stale")]
fn stale_request_without_wmb() {
    publish(true, Without::Wmb);
}

#[test]
#[should_panic(expected = "deadlock")]
fn lost_interrupt_without_mb_with_flags() {
    notify(false, Without::Mb);
}

#[test]
#[should_panic(expected = "deadlock")]
fn lost_interrupt_without_mb_with_event_idx() {
    notify(true, Without::Mb);
}

#[test]
#[should_panic(expected = "stale")]
fn stale_answer_without_rmb() {
    notify(true, Without::Rmb);
}
