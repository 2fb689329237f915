// SPDX-License-Identifier: GPL-2.0

//! A device that writes what it likes, and changes what was just loaded.
//!
//! Beside each ring runs a model that knows from the values the ring loaded what has to come of
//! them: which request, or which cause. `Strict` refuses accesses out of bounds, second
//! loads, reads of what is the driver's, and everything after it broke.

use std::{
    collections::{
        HashMap,
        HashSet, //
    },
    rc::Rc,
};

use proptest::prelude::*;

use crate::{
    ring::{
        Broken,
        Config,
        PushReason, //
        Segment,
    },
    support::{
        Access,
        Field,
        Ledger,
        Strict,
        StrictRing,
        TestRequest, //
    },
};

#[derive(Clone, Debug)]
enum Op {
    Push {
        readable: usize,
        writable: usize,
        len: u32,
    },
    Publish,
    Pop,
    Enable,
    Disable,
    /// The device uses one of the requests it holds, as it should but for `extra` bytes.
    Use {
        which: usize,
        written: u32,
        extra: u32,
    },
    /// The device does as it likes.
    Idx(u16),
    IdxBy(i16),
    Elem {
        at: usize,
        id: u32,
        len: u32,
    },
    UsedAgain,
    Event(u16),
    Flags(u16),
}

fn honest() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1..4usize, 0..3usize, 1..100u32).prop_map(|(readable, writable, len)| Op::Push {
            readable,
            writable,
            len
        }),
        6 => Just(Op::Publish),
        10 => (any::<usize>(), any::<u32>()).prop_map(|(which, written)| Op::Use {
            which,
            written,
            extra: 0
        }),
        12 => Just(Op::Pop),
        2 => Just(Op::Enable),
        1 => Just(Op::Disable),
        1 => any::<u16>().prop_map(Op::Event),
        1 => any::<u16>().prop_map(Op::Flags),
    ]
}

/// One request there and back.
fn honest_round() -> [Op; 4] {
    [
        Op::Push {
            readable: 1,
            writable: 0,
            len: 1,
        },
        Op::Publish,
        Op::Use {
            which: 0,
            written: 0,
            extra: 0,
        },
        Op::Pop,
    ]
}

fn vicious() -> impl Strategy<Value = Op> {
    let id = prop_oneof![4 => 0..20u32, 1 => 65530..65560u32, 1 => any::<u32>()];
    let len = prop_oneof![0..400u32, any::<u32>()];

    prop_oneof![
        any::<u16>().prop_map(Op::Idx),
        (-3..20i16).prop_map(Op::IdxBy),
        (0..16usize, id, len).prop_map(|(at, id, len)| Op::Elem { at, id, len }),
        Just(Op::UsedAgain),
        (any::<usize>(), any::<u32>(), 1..3u32).prop_map(|(which, written, extra)| Op::Use {
            which,
            written,
            extra
        }),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    // Few enough lies that the states between them are rich.
    let op = prop_oneof![50 => honest(), 1 => vicious()];
    prop::collection::vec(op, 0..250)
}

fn config() -> impl Strategy<Value = Config> {
    (0..5u32, 1..6u16, any::<bool>(), any::<bool>()).prop_map(
        |(bits, max_segments, indirect, event_idx)| Config {
            size: 1 << bits,
            max_segments: max_segments.min(1 << bits),
            indirect,
            event_idx,
        },
    )
}

struct Flight {
    serial: usize,
    writable: u32,
    chain: Vec<u16>,
    published: bool,
}

struct Bench {
    config: Config,
    memory: Rc<Strict>,
    ring: StrictRing,
    ledger: Rc<Ledger>,
    /// What the ring has to know, by token.
    in_flight: HashMap<u16, Flight>,
    returned: HashSet<u16>,
    last_used: u16,
    known_idx: u16,
    dead: Option<Broken>,
    /// How often each request came back.
    back: HashMap<usize, u32>,
    /// The honest half of the device.
    taken: u16,
    used: u16,
    held: Vec<u16>,
}

impl Bench {
    fn new(config: Config, changes: Option<u64>) -> Self {
        let (memory, ring) = Strict::ring(&config);
        memory.change_after_loads(changes);
        Self {
            config,
            memory,
            ring,
            ledger: Rc::default(),
            in_flight: HashMap::new(),
            returned: HashSet::new(),
            last_used: 0,
            known_idx: 0,
            dead: None,
            back: HashMap::new(),
            taken: 0,
            used: 0,
            held: Vec::new(),
        }
    }

    fn busy(&self) -> usize {
        self.in_flight
            .values()
            .map(|flight| flight.chain.len())
            .sum()
    }

    fn push(&mut self, readable: usize, writable: usize, len: u32) {
        let segment = Segment { address: 64, len };
        let segments = readable + writable;
        let request = self
            .ledger
            .request(vec![segment; readable], vec![segment; writable]);
        let serial = request.serial;
        let writable = request.writable_len();
        let needed = if self.config.indirect { 1 } else { segments };
        let free = usize::from(self.config.size) - self.busy();
        let expected = match self.dead {
            Some(cause) => Some(PushReason::Broken(cause)),
            None if segments > self.config.max_segments.into() => Some(PushReason::TooManySegments),
            None if needed > free => Some(PushReason::NoRoom),
            None => None,
        };

        match self.ring.push(request) {
            Ok(token) => {
                assert_eq!(expected, None);
                let chain = self.chain(token);
                assert_eq!(chain.len(), needed);
                for id in &chain {
                    self.returned.remove(id);
                    let used_by = |flight: &Flight| flight.chain.contains(id);
                    assert!(!self.in_flight.values().any(used_by));
                }
                let flight = Flight {
                    serial,
                    writable,
                    chain,
                    published: false,
                };
                assert!(self.in_flight.insert(token, flight).is_none());
            }
            Err(error) => {
                assert_eq!(Some(error.reason), expected);
                self.hand_back(error.request);
            }
        }
    }

    fn chain(&self, head: u16) -> Vec<u16> {
        let mut chain = vec![head];
        let mut id = usize::from(head);
        while self.memory.peek(Field::Flags(id)) & 1 != 0 {
            id = self.memory.peek(Field::Next(id)) as usize;
            chain.push(id as u16);
        }
        chain
    }

    fn hand_back(&mut self, request: TestRequest) {
        assert_eq!(self.ledger.dropped(request.serial), 0);
        let count = self.back.entry(request.serial).or_default();
        *count += 1;
        assert_eq!(*count, 1, "request {} came back twice", request.serial);
    }

    fn publish(&mut self) {
        let pending = self.in_flight.values().any(|flight| !flight.published);
        let doorbell = self.ring.publish();
        if self.dead.is_some() || !pending {
            assert!(!doorbell);
            return;
        }
        for flight in self.in_flight.values_mut() {
            flight.published = true;
        }
        assert_eq!(
            self.memory.peek(Field::AvailIdx),
            u64::from(self.ring.avail_idx())
        );
    }

    fn die(&mut self, cause: Broken) -> Broken {
        self.dead = Some(cause);
        self.memory.close();
        cause
    }

    /// What the ring has to make of the used index it loaded, if it was to load one.
    fn pending(&mut self, reads: &mut Vec<(Field, u64)>) -> Result<u16, Broken> {
        if self.known_idx == self.last_used {
            let (field, value) = reads.remove(0);
            assert_eq!(field, Field::UsedIdx);
            let visible = self.in_flight.values().filter(|f| f.published).count();
            let ahead = (value as u16).wrapping_sub(self.last_used);
            if usize::from(ahead) > visible {
                return Err(self.die(Broken::UsedIndex));
            }
            self.known_idx = value as u16;
        }
        Ok(self.known_idx.wrapping_sub(self.last_used))
    }

    fn judge(&self, id: u64, len: u64) -> Result<u16, Broken> {
        if id >= self.config.size.into() {
            return Err(Broken::IdOutOfRange);
        }
        let id = id as u16;
        match self.in_flight.get(&id) {
            _ if self.returned.contains(&id) => Err(Broken::IdUsedTwice),
            Some(flight) if !flight.published => Err(Broken::IdNotInFlight),
            Some(flight) if len > flight.writable.into() => Err(Broken::Length),
            Some(_) => Ok(id),
            None => Err(Broken::IdNotInFlight),
        }
    }

    fn reads(&self) -> Vec<(Field, u64)> {
        let read = |access| match access {
            Access::Read(field, value) => Some((field, value)),
            _ => None,
        };
        self.memory.trace().into_iter().filter_map(read).collect()
    }

    fn pop(&mut self) {
        let result = self.ring.pop();
        let mut reads = self.reads();
        if let Some(cause) = self.dead {
            assert_eq!(result.unwrap_err(), cause);
            return;
        }
        match self.pending(&mut reads) {
            Err(cause) => {
                assert_eq!(result.unwrap_err(), cause);
                return;
            }
            Ok(0) => {
                assert!(result.unwrap().is_none() && reads.is_empty());
                return;
            }
            Ok(_) => {}
        }

        let elem = usize::from(self.last_used % self.config.size);
        let [(id_field, id), (len_field, len)] = reads[..] else {
            panic!("unexpected loads {reads:?}");
        };
        assert_eq!(id_field, Field::UsedId(elem));
        assert_eq!(len_field, Field::UsedLen(elem));
        match self.judge(id, len) {
            Ok(token) => {
                let used = result.unwrap().unwrap();
                let flight = self.in_flight.remove(&token).unwrap();
                assert_eq!(used.token, token);
                assert_eq!(used.request.serial, flight.serial);
                assert_eq!(u64::from(used.written), len);
                self.returned.insert(token);
                self.last_used = self.last_used.wrapping_add(1);
                self.hand_back(used.request);
            }
            Err(cause) => {
                assert_eq!(result.unwrap_err(), cause);
                self.die(cause);
            }
        }
    }

    fn enable(&mut self) {
        let more = self.ring.enable_interrupts();
        let mut reads = self.reads();
        if self.dead.is_some() {
            assert!(!more);
            return;
        }
        let pending = self.pending(&mut reads);
        assert_eq!(more, pending != Ok(0));
        assert!(reads.is_empty());
    }

    fn poke_used(&mut self, id: u64, len: u64) {
        let elem = usize::from(self.used % self.config.size);
        self.memory.poke(Field::UsedId(elem), id);
        self.memory.poke(Field::UsedLen(elem), len);
        self.used = self.used.wrapping_add(1);
        self.memory.poke(Field::UsedIdx, self.used.into());
    }

    fn use_held(&mut self, which: usize, written: u32, extra: u32) {
        let idx = self.memory.peek(Field::AvailIdx) as u16;
        while self.taken != idx {
            let entry = usize::from(self.taken % self.config.size);
            let head = self.memory.peek(Field::AvailEntry(entry));
            self.held.push(head as u16);
            self.taken = self.taken.wrapping_add(1);
        }
        if self.held.is_empty() {
            return;
        }
        let head = self.held.swap_remove(which % self.held.len());
        // A lie may have brought it back already.
        let room = self.in_flight.get(&head).map_or(0, |f| f.writable);
        let len = if extra == 0 {
            written % (room + 1)
        } else {
            room + extra
        };
        self.poke_used(head.into(), len.into());
    }

    fn run(&mut self, op: Op) {
        self.memory.begin_call();
        match op {
            Op::Push {
                readable,
                writable,
                len,
            } => self.push(readable, writable, len),
            Op::Publish => self.publish(),
            Op::Pop => self.pop(),
            Op::Enable => self.enable(),
            Op::Disable => self.ring.disable_interrupts(),
            Op::Use {
                which,
                written,
                extra,
            } => self.use_held(which, written, extra),
            Op::Idx(idx) => self.memory.poke(Field::UsedIdx, idx.into()),
            Op::IdxBy(by) => {
                let idx = self.used.wrapping_add_signed(by);
                self.memory.poke(Field::UsedIdx, idx.into());
            }
            Op::Elem { at, id, len } => {
                let elem = at % usize::from(self.config.size);
                self.memory.poke(Field::UsedId(elem), id.into());
                self.memory.poke(Field::UsedLen(elem), len.into());
            }
            Op::UsedAgain => {
                let last = usize::from(self.used.wrapping_sub(1) % self.config.size);
                self.poke_used(self.memory.peek(Field::UsedId(last)), 0);
            }
            Op::Event(event) => self.memory.poke(Field::AvailEvent, event.into()),
            Op::Flags(flags) => self.memory.poke(Field::UsedFlags, flags.into()),
        }

        assert_eq!(self.ring.broken(), self.dead);
        assert_eq!(usize::from(self.ring.in_flight()), self.in_flight.len());
        let free = usize::from(self.config.size) - self.busy();
        assert_eq!(usize::from(self.ring.free_descriptors()), free);
        assert_eq!(self.ring.last_used(), self.last_used);
    }

    /// After a reset everything else comes back, and everything came back once.
    fn finish(mut self) -> Option<Broken> {
        self.memory.close();
        let mut expected: HashSet<usize> = self.in_flight.values().map(|f| f.serial).collect();
        while let Some(request) = self.ring.take_in_flight() {
            assert!(expected.remove(&request.serial));
            self.hand_back(request);
        }
        assert!(expected.is_empty());
        assert_eq!(self.ring.broken(), self.dead.or(Some(Broken::Reset)));
        drop(self.ring);
        self.ledger.assert_each_dropped_once();
        self.dead
    }
}

fn run(config: Config, changes: Option<u64>, start: u32, ops: Vec<Op>) -> Option<Broken> {
    let mut bench = Bench::new(config, None);

    for _ in 0..start {
        for op in honest_round() {
            bench.run(op);
        }
    }
    bench.memory.change_after_loads(changes);
    for op in ops {
        bench.run(op);
    }
    bench.finish()
}

/// `PROPTEST_CASES` in the environment makes it more or fewer.
fn cases(usual: u32) -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = usual;
    }
    config.failure_persistence = None;
    config
}

proptest! {
    #![proptest_config(cases(10000))]

    #[test]
    fn any_used_ring(config in config(), changes: Option<u64>, ops in ops()) {
        run(config, changes, 0, ops);
    }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn any_used_ring_around_the_wrap(
        config in config(),
        changes: Option<u64>,
        start in 65500..65540u32,
        ops in ops(),
    ) {
        run(config, changes, start, ops);
    }
}

/// The strategies above reach every cause, and rings that live to the end.
#[test]
fn all_causes_are_reached() {
    use proptest::{
        strategy::ValueTree,
        test_runner::TestRunner, //
    };

    let mut runner = TestRunner::deterministic();
    let mut seen = Vec::new();
    for _ in 0..2000 {
        let inputs = (config(), any::<Option<u64>>(), ops());
        let (config, changes, ops) = inputs.new_tree(&mut runner).unwrap().current();
        seen.push(run(config, changes, 0, ops));
    }

    for end in [
        None,
        Some(Broken::UsedIndex),
        Some(Broken::IdOutOfRange),
        Some(Broken::IdNotInFlight),
        Some(Broken::IdUsedTwice),
        Some(Broken::Length),
    ] {
        let count = seen.iter().filter(|seen| **seen == end).count();
        assert!(count >= 10, "{end:?}: {count} of 2000");
    }
}
