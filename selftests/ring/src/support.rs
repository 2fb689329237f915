// SPDX-License-Identifier: GPL-2.0

//! What the tests share: a request that is counted, and a memory that knows which field each
//! access is for and who may do what to it.

use std::{
    cell::{
        Cell,
        RefCell, //
    },
    collections::HashSet,
    rc::Rc,
};

use crate::ring::{
    Config,
    Layout,
    Memory,
    Request,
    Ring,
    Segment,
    Slot, //
};

pub(crate) const ALL_MODES: [(bool, bool); 4] =
    [(false, false), (false, true), (true, false), (true, true)];

/// Marsaglia's xorshift: the same sequence at every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound
    }
}

/// How often each request came back and was dropped, by serial number.
#[derive(Default)]
pub(crate) struct Ledger {
    dropped: RefCell<Vec<u32>>,
}

impl Ledger {
    pub(crate) fn request(
        self: &Rc<Self>,
        readable: Vec<Segment>,
        writable: Vec<Segment>,
    ) -> TestRequest {
        let mut dropped = self.dropped.borrow_mut();
        dropped.push(0);
        TestRequest {
            serial: dropped.len() - 1,
            readable,
            writable,
            ledger: self.clone(),
        }
    }

    /// A request of `readable` + `writable` segments of 16 bytes each.
    pub(crate) fn simple(self: &Rc<Self>, readable: usize, writable: usize) -> TestRequest {
        let segment = |n: usize| Segment {
            address: 0x1000 * (n as u64 + 1),
            len: 16,
        };
        self.request(
            (0..readable).map(segment).collect(),
            (readable..readable + writable).map(segment).collect(),
        )
    }

    pub(crate) fn dropped(&self, serial: usize) -> u32 {
        self.dropped.borrow()[serial]
    }

    pub(crate) fn assert_each_dropped_once(&self) {
        assert!(self.dropped.borrow().iter().all(|count| *count == 1));
    }
}

pub(crate) struct TestRequest {
    pub(crate) serial: usize,
    pub(crate) readable: Vec<Segment>,
    pub(crate) writable: Vec<Segment>,
    ledger: Rc<Ledger>,
}

impl TestRequest {
    pub(crate) fn writable_len(&self) -> u32 {
        self.writable.iter().map(|segment| segment.len).sum()
    }
}

impl Request for TestRequest {
    fn readable(&self) -> impl AsRef<[Segment]> {
        &self.readable
    }

    fn writable(&self) -> impl AsRef<[Segment]> {
        &self.writable
    }
}

impl Drop for TestRequest {
    fn drop(&mut self) {
        self.ledger.dropped.borrow_mut()[self.serial] += 1;
    }
}

impl std::fmt::Debug for TestRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "request {}", self.serial)
    }
}

/// What is at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Field {
    /// A field of a descriptor in the table or, from `size` on, in an indirect table; by number.
    Addr(usize),
    Len(usize),
    Flags(usize),
    Next(usize),
    AvailFlags,
    AvailIdx,
    AvailEntry(usize),
    UsedEvent,
    UsedFlags,
    UsedIdx,
    UsedId(usize),
    UsedLen(usize),
    AvailEvent,
}

impl Field {
    pub(crate) fn at(layout: &Layout, size: usize, offset: usize) -> (Self, usize) {
        let desc = |number, offset| match offset % 16 {
            0 => (Self::Addr(number), 8),
            8 => (Self::Len(number), 4),
            12 => (Self::Flags(number), 2),
            14 => (Self::Next(number), 2),
            _ => panic!("offset {offset} within a descriptor field"),
        };
        let in_avail = offset.wrapping_sub(layout.avail);
        let in_used = offset.wrapping_sub(layout.used);

        if offset < layout.desc + size * 16 {
            desc(offset / 16, offset)
        } else if in_avail < 6 + 2 * size {
            assert_eq!(in_avail % 2, 0);
            let field = match in_avail / 2 {
                0 => Self::AvailFlags,
                1 => Self::AvailIdx,
                n if n == size + 2 => Self::UsedEvent,
                n => Self::AvailEntry(n - 2),
            };
            (field, 2)
        } else if in_used < 6 + 8 * size {
            match in_used {
                0 => (Self::UsedFlags, 2),
                2 => (Self::UsedIdx, 2),
                n if n == 4 + 8 * size => (Self::AvailEvent, 2),
                n if n % 8 == 4 => (Self::UsedId(n / 8), 4),
                n if n % 8 == 0 => (Self::UsedLen(n / 8 - 1), 4),
                n => panic!("offset {n} within a used element's field"),
            }
        } else {
            assert!((layout.tables..layout.total).contains(&offset));
            let in_tables = offset - layout.tables;
            desc(size + in_tables / 16, in_tables)
        }
    }

    pub(crate) fn offset(self, layout: &Layout, size: usize) -> usize {
        let desc = |number: usize| {
            if number < size {
                layout.desc + number * 16
            } else {
                layout.tables + (number - size) * 16
            }
        };
        match self {
            Self::Addr(n) => desc(n),
            Self::Len(n) => desc(n) + 8,
            Self::Flags(n) => desc(n) + 12,
            Self::Next(n) => desc(n) + 14,
            Self::AvailFlags => layout.avail,
            Self::AvailIdx => layout.avail + 2,
            Self::AvailEntry(n) => layout.avail + 4 + 2 * n,
            Self::UsedEvent => layout.avail + 4 + 2 * size,
            Self::UsedFlags => layout.used,
            Self::UsedIdx => layout.used + 2,
            Self::UsedId(n) => layout.used + 4 + 8 * n,
            Self::UsedLen(n) => layout.used + 8 + 8 * n,
            Self::AvailEvent => layout.used + 4 + 8 * size,
        }
    }

    /// Whether the device writes it, and nobody else once it has the ring.
    pub(crate) fn is_devices(self) -> bool {
        matches!(
            self,
            Self::UsedFlags | Self::UsedIdx | Self::UsedId(_) | Self::UsedLen(_) | Self::AvailEvent
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read(Field, u64),
    Write(Field, u64),
    Mb,
    Rmb,
    Wmb,
}

/// Memory that refuses what the ring must not do: an access that is not exactly one field, a read
/// of what is the driver's, a write of what is the device's, a second load of one field in one
/// call, any access while closed. On request each load also changes the value loaded.
pub(crate) struct Strict {
    pub(crate) layout: Layout,
    pub(crate) size: usize,
    address: u64,
    bytes: RefCell<Vec<u8>>,
    setup: Cell<bool>,
    closed: Cell<bool>,
    loaded: RefCell<HashSet<Field>>,
    /// Everything since `begin_call`.
    trace: RefCell<Vec<Access>>,
    changes: RefCell<Option<Random>>,
}

pub(crate) type StrictRing = Ring<Rc<Strict>, TestRequest, Vec<Slot<TestRequest>>>;

pub(crate) fn slots<R>(size: u16) -> Vec<Slot<R>> {
    (0..size).map(|_| Slot::EMPTY).collect()
}

impl Strict {
    pub(crate) fn new(config: &Config) -> Rc<Self> {
        Self::at(config, 0xffff_0000_0000)
    }

    pub(crate) fn at(config: &Config, address: u64) -> Rc<Self> {
        let layout = config.layout().unwrap();
        Rc::new(Self {
            layout,
            size: config.size.into(),
            address,
            // Never zero: whatever has to be, the ring has to make so.
            bytes: RefCell::new(vec![0xa5; layout.total]),
            setup: Cell::new(true),
            closed: Cell::new(false),
            loaded: RefCell::default(),
            trace: RefCell::default(),
            changes: RefCell::new(None),
        })
    }

    pub(crate) fn ring(config: &Config) -> (Rc<Self>, StrictRing) {
        let memory = Self::new(config);
        let ring = Ring::new(memory.clone(), slots(config.size), *config).unwrap();
        memory.setup.set(false);
        memory.begin_call();
        (memory, ring)
    }

    /// Restarts the ring, as its owner does after a reset.
    pub(crate) fn restart(&self, ring: &mut StrictRing) {
        self.setup.set(true);
        ring.restart();
        self.setup.set(false);
        self.begin_call();
    }

    pub(crate) fn begin_call(&self) {
        self.loaded.borrow_mut().clear();
        self.trace.borrow_mut().clear();
    }

    pub(crate) fn trace(&self) -> Vec<Access> {
        self.trace.borrow().clone()
    }

    /// Lets every further access fail.
    pub(crate) fn close(&self) {
        self.closed.set(true);
    }

    /// Lets every load change what it loaded, to something that depends on `seed`.
    pub(crate) fn change_after_loads(&self, seed: Option<u64>) {
        *self.changes.borrow_mut() = seed.map(Random::new);
    }

    /// What the device sees.
    pub(crate) fn peek(&self, field: Field) -> u64 {
        let (at, len) = self.place(field);
        let mut value = [0; 8];
        value[..len].copy_from_slice(&self.bytes.borrow()[at..at + len]);
        u64::from_le_bytes(value)
    }

    /// What the device does.
    pub(crate) fn poke(&self, field: Field, value: u64) {
        let (at, len) = self.place(field);
        self.bytes.borrow_mut()[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
    }

    fn place(&self, field: Field) -> (usize, usize) {
        let offset = field.offset(&self.layout, self.size);
        let (same, len) = Field::at(&self.layout, self.size, offset);
        assert_eq!(same, field);
        (offset, len)
    }

    fn field(&self, offset: usize, len: usize) -> Field {
        assert!(!self.closed.get(), "access to {offset} of a broken ring");
        let (field, expected) = Field::at(&self.layout, self.size, offset);
        assert_eq!(len, expected, "{field:?}");
        field
    }

    fn read(&self, offset: usize, len: usize) -> u64 {
        let field = self.field(offset, len);
        assert!(field.is_devices(), "{field:?} read back");
        assert!(self.loaded.borrow_mut().insert(field), "{field:?} twice");

        let value = self.peek(field);
        if let Some(random) = self.changes.borrow_mut().as_mut() {
            // The index is loaded again by the next call, so most of the time it stays, or no
            // ring would live for long.
            let value = random.next();
            if field != Field::UsedIdx || value % 16 == 0 {
                self.poke(field, value >> 8);
            }
        }
        self.trace.borrow_mut().push(Access::Read(field, value));
        value
    }

    fn write(&self, offset: usize, len: usize, value: u64) {
        let field = self.field(offset, len);
        assert!(self.setup.get() || !field.is_devices(), "{field:?} written");
        self.poke(field, value);
        self.trace.borrow_mut().push(Access::Write(field, value));
    }

    fn barrier(&self, barrier: Access) {
        self.trace.borrow_mut().push(barrier);
    }
}

impl Memory for Rc<Strict> {
    fn device_address(&self) -> u64 {
        self.address
    }

    fn len(&self) -> usize {
        self.layout.total
    }

    fn read_u16(&self, offset: usize) -> u16 {
        self.read(offset, 2) as u16
    }

    fn read_u32(&self, offset: usize) -> u32 {
        self.read(offset, 4) as u32
    }

    fn write_u16(&self, offset: usize, value: u16) {
        self.write(offset, 2, value.into());
    }

    fn write_u32(&self, offset: usize, value: u32) {
        self.write(offset, 4, value.into());
    }

    fn write_u64(&self, offset: usize, value: u64) {
        self.write(offset, 8, value);
    }

    fn virt_mb(&self) {
        self.barrier(Access::Mb);
    }

    fn virt_rmb(&self) {
        self.barrier(Access::Rmb);
    }

    fn virt_wmb(&self) {
        self.barrier(Access::Wmb);
    }
}

pub(crate) fn config(size: u16, max_segments: u16, indirect: bool, event_idx: bool) -> Config {
    Config {
        size,
        max_segments,
        indirect,
        event_idx,
    }
}

/// Uses `id` as an honest device would at its used index `idx`.
pub(crate) fn use_id(memory: &Strict, idx: u16, id: u32, len: u32) {
    let elem = usize::from(idx) % memory.size;
    memory.poke(Field::UsedId(elem), id.into());
    memory.poke(Field::UsedLen(elem), len.into());
    memory.poke(Field::UsedIdx, idx.wrapping_add(1).into());
}

pub(crate) fn push(ring: &mut StrictRing, request: TestRequest) -> u16 {
    ring.push(request).unwrap()
}

/// Ignores what the device wants: nobody listens to the doorbell in these tests.
pub(crate) fn publish(ring: &mut StrictRing) {
    let _ = ring.publish();
}
