// SPDX-License-Identifier: GPL-2.0

//! Layout, refused requests, accounting, and the exact order of accesses and barriers.

use std::{
    collections::HashSet,
    rc::Rc, //
};

use crate::{
    ring::{
        Broken,
        ConfigError,
        PushReason,
        Ring, //
        Segment,
    },
    support::{
        config,
        publish,
        push,
        slots,
        use_id,
        Access::{
            self,
            Mb,
            Read,
            Rmb,
            Wmb,
            Write, //
        },
        Field::{
            self,
            *, //
        },
        Ledger,
        Strict,
        TestRequest,
        ALL_MODES, //
    },
};

#[test]
fn layout_is_aligned_and_disjoint() {
    for bits in 0..=15 {
        for (indirect, event_idx) in ALL_MODES {
            let size = 1usize << bits;
            let max_segments = size.min(4);
            let config = config(size as u16, max_segments as u16, indirect, event_idx);
            let layout = config.layout().unwrap();

            assert_eq!(layout.desc % 16, 0);
            assert_eq!(layout.avail % 2, 0);
            assert_eq!(layout.used % 4, 0);
            assert_eq!(layout.tables % 16, 0);
            assert!(layout.avail >= layout.desc + 16 * size);
            assert!(layout.used >= layout.avail + 6 + 2 * size);
            assert!(layout.tables >= layout.used + 6 + 8 * size);
            let tables = if indirect && max_segments > 1 {
                size
            } else {
                0
            };
            assert_eq!(layout.total, layout.tables + tables * max_segments * 16);

            // The device's lines are its own, however long within reason.
            for line in [64, 128] {
                assert!((layout.used - 1) / line < layout.used / line);
                assert!((layout.used + 5 + 8 * size) / line < layout.tables / line);
            }
        }
    }
}

#[test]
fn wrong_configurations_are_refused() {
    for size in [0, 3, 6, 100, 32767, 32769, 65535] {
        let error = config(size, 1, true, true).layout().unwrap_err();
        assert_eq!(error, ConfigError::Size);
    }
    for (size, max_segments) in [(1, 0), (1, 2), (64, 65), (32768, 32769)] {
        let error = config(size, max_segments, true, true).layout().unwrap_err();
        assert_eq!(error, ConfigError::MaxSegments);
    }

    let small = config(8, 2, true, true);
    let large = config(16, 2, true, true);
    let new = |memory, number, config| {
        Ring::<Rc<Strict>, TestRequest, _>::new(memory, slots(number), config).map(drop)
    };
    assert_eq!(
        new(Strict::new(&small), 16, large),
        Err(ConfigError::ShortMemory)
    );
    for number in [0, 7, 9] {
        assert_eq!(
            new(Strict::new(&small), number, small),
            Err(ConfigError::Slots)
        );
    }
    for address in [1, 8, 0x1008, u64::MAX - 15] {
        assert_eq!(
            new(Strict::at(&small, address), 8, small),
            Err(ConfigError::Address)
        );
    }
    assert_eq!(new(Strict::new(&small), 8, small), Ok(()));
}

#[test]
fn new_ring_tells_the_device_nothing_old() {
    for (indirect, event_idx) in ALL_MODES {
        let config = config(8, 3, indirect, event_idx);
        let (memory, ring) = Strict::ring(&config);

        // The memory was all 0xa5.
        for n in 0..8 {
            let fields = [Addr(n), Len(n), Flags(n), Next(n)];
            assert!(fields.iter().all(|field| memory.peek(*field) == 0));
            let fields = [AvailEntry(n), UsedId(n), UsedLen(n)];
            assert!(fields.iter().all(|field| memory.peek(*field) == 0));
        }
        for n in 8..8 + (memory.layout.total - memory.layout.tables) / 16 {
            let fields = [Addr(n), Len(n), Flags(n), Next(n)];
            assert!(fields.iter().all(|field| memory.peek(*field) == 0));
        }
        let fields = [
            AvailFlags, AvailIdx, UsedEvent, UsedFlags, UsedIdx, AvailEvent,
        ];
        assert!(fields.iter().all(|field| memory.peek(*field) == 0));

        assert_eq!((ring.size(), ring.free_descriptors()), (8, 8));
        assert_eq!(
            (ring.in_flight(), ring.avail_idx(), ring.last_used()),
            (0, 0, 0)
        );
        assert_eq!(ring.broken(), None);
    }
}

#[test]
fn push_errors_hand_the_request_back() {
    let ledger = Rc::new(Ledger::default());
    let segment = |address, len| Segment { address, len };
    let cases = [
        (vec![], vec![], PushReason::NoSegments),
        (vec![], vec![segment(0, 1)], PushReason::NoSegments),
        (
            vec![segment(0, 1); 3],
            vec![segment(0, 1); 2],
            PushReason::TooManySegments,
        ),
        (
            vec![segment(0, 1); 70000],
            vec![],
            PushReason::TooManySegments,
        ),
        (vec![segment(4096, 0)], vec![], PushReason::BadSegment),
        (
            vec![segment(0, 1)],
            vec![segment(4096, 0)],
            PushReason::BadSegment,
        ),
        (vec![segment(u64::MAX, 2)], vec![], PushReason::BadSegment),
        (
            vec![segment(0, 1)],
            vec![segment(u64::MAX - 8, 10)],
            PushReason::BadSegment,
        ),
        (
            vec![segment(0, 1)],
            vec![segment(0, u32::MAX)],
            PushReason::TooLong,
        ),
        (vec![segment(0, u32::MAX); 2], vec![], PushReason::TooLong),
    ];

    for (indirect, event_idx) in ALL_MODES {
        let (memory, mut ring) = Strict::ring(&config(4, 4, indirect, event_idx));
        for (readable, writable, reason) in cases.clone() {
            let request = ledger.request(readable, writable);
            let serial = request.serial;
            let error = ring.push(request).unwrap_err();
            assert_eq!((error.reason, error.request.serial), (reason, serial));
            assert_eq!(ledger.dropped(serial), 0);
        }
        assert!(memory.trace().is_empty());
        assert_eq!((ring.in_flight(), ring.free_descriptors()), (0, 4));

        // The longest there is, up to the last byte of the address space.
        let longest = ledger.request(
            vec![segment(0, 1)],
            vec![segment(u64::MAX - u64::from(u32::MAX) + 2, u32::MAX - 1)],
        );
        push(&mut ring, longest);
        ring.mark_broken(Broken::NeedsReset);
        let error = ring.push(ledger.simple(1, 1)).unwrap_err();
        assert_eq!(error.reason, PushReason::Broken(Broken::NeedsReset));
    }
    ledger.assert_each_dropped_once();
}

#[test]
fn full_ring_says_no_room_and_recovers() {
    let ledger = Rc::new(Ledger::default());

    for bits in 0..=15 {
        let size = 1u16 << bits;
        for indirect in [false, true] {
            let segments = size.min(2);
            let (memory, mut ring) = Strict::ring(&config(size, segments, indirect, true));
            let needed = if indirect { 1 } else { segments };
            let fits = size / needed;
            let request = || ledger.simple(1, usize::from(segments) - 1);

            let tokens: HashSet<u16> = (0..fits).map(|_| push(&mut ring, request())).collect();
            assert_eq!(tokens.len(), usize::from(fits));
            assert_eq!((ring.in_flight(), ring.free_descriptors()), (fits, 0));
            memory.begin_call();
            let error = ring.push(request()).unwrap_err();
            assert_eq!(error.reason, PushReason::NoRoom);
            assert!(memory.trace().is_empty());

            publish(&mut ring);
            let token = *tokens.iter().next().unwrap();
            use_id(&memory, 0, token.into(), 0);
            memory.begin_call();
            assert_eq!(ring.pop().unwrap().unwrap().token, token);
            assert_eq!(ring.free_descriptors(), needed);
            assert_eq!(push(&mut ring, error.request), token);
        }
    }
    ledger.assert_each_dropped_once();
}

/// What the device finds when it follows the available ring, by hand once for each form.
#[test]
fn descriptors_are_as_specified() {
    let ledger = Rc::new(Ledger::default());
    let segments = [(0x1_0000_0000, 5), (0x2000, 6), (0x3000, 7)]
        .map(|(address, len)| Segment { address, len });
    let desc = |memory: &Strict, n| {
        [Addr(n), Len(n), Flags(n), Next(n)].map(|field: Field| memory.peek(field))
    };

    let (memory, mut ring) = Strict::ring(&config(4, 3, false, true));
    assert_eq!(push(&mut ring, ledger.simple(1, 0)), 0);
    let request = ledger.request(segments[..1].to_vec(), segments[1..].to_vec());
    assert_eq!(push(&mut ring, request), 1);
    assert_eq!(desc(&memory, 0), [0x1000, 16, 0, 0]);
    assert_eq!(desc(&memory, 1), [0x1_0000_0000, 5, 1, 2]);
    assert_eq!(desc(&memory, 2), [0x2000, 6, 3, 3]);
    assert_eq!(desc(&memory, 3), [0x3000, 7, 2, 0]);
    assert_eq!(
        [AvailEntry(0), AvailEntry(1)].map(|f| memory.peek(f)),
        [0, 1]
    );
    assert_eq!(memory.peek(AvailIdx), 0);
    publish(&mut ring);
    assert_eq!(memory.peek(AvailIdx), 2);

    let (memory, mut ring) = Strict::ring(&config(4, 3, true, true));
    assert_eq!(push(&mut ring, ledger.simple(1, 0)), 0);
    let request = ledger.request(segments[..1].to_vec(), segments[1..].to_vec());
    assert_eq!(push(&mut ring, request), 1);
    let table = 0xffff_0000_0000 + memory.layout.tables as u64 + 3 * 16;
    assert_eq!(desc(&memory, 0), [0x1000, 16, 0, 0]);
    assert_eq!(desc(&memory, 1), [table, 48, 4, 0]);
    assert_eq!(desc(&memory, 4 + 3), [0x1_0000_0000, 5, 1, 1]);
    assert_eq!(desc(&memory, 4 + 4), [0x2000, 6, 3, 2]);
    assert_eq!(desc(&memory, 4 + 5), [0x3000, 7, 2, 0]);
}

/// The barriers are where their comments say, and each field is touched once.
#[test]
fn accesses_and_barriers_are_in_order() {
    let ledger = Rc::new(Ledger::default());

    for (indirect, event_idx) in ALL_MODES {
        let (memory, mut ring) = Strict::ring(&config(4, 2, indirect, event_idx));
        let trace = |memory: &Strict| {
            let trace = memory.trace();
            memory.begin_call();
            trace
        };
        push(&mut ring, ledger.simple(1, 1));
        let writes = trace(&memory);
        assert!(writes.iter().all(|access| matches!(access, Write(..))));
        assert_eq!(writes.last(), Some(&Write(AvailEntry(0), 0)));

        assert!(ring.publish());
        let wish = if event_idx { AvailEvent } else { UsedFlags };
        let expected = [Wmb, Write(AvailIdx, 1), Mb, Read(wish, 0)];
        assert_eq!(trace(&memory), expected);
        assert!(!ring.publish());
        assert_eq!(trace(&memory), []);

        assert!(ring.pop().unwrap().is_none());
        assert_eq!(trace(&memory), [Read(UsedIdx, 0)]);
        use_id(&memory, 0, 0, 16);
        assert_eq!(ring.pop().unwrap().unwrap().written, 16);
        let expected: [Access; 4] = [
            Read(UsedIdx, 1),
            Rmb,
            Read(UsedId(0), 0),
            Read(UsedLen(0), 16),
        ];
        assert_eq!(trace(&memory), expected);

        ring.disable_interrupts();
        let expected = if event_idx {
            Write(UsedEvent, 0)
        } else {
            Write(AvailFlags, 1)
        };
        assert_eq!(trace(&memory), [expected]);
        ring.disable_interrupts();
        assert_eq!(trace(&memory), []);
        assert!(!ring.enable_interrupts());
        let expected = if event_idx {
            Write(UsedEvent, 1)
        } else {
            Write(AvailFlags, 0)
        };
        assert_eq!(trace(&memory), [expected, Mb, Read(UsedIdx, 1)]);
    }
}

#[test]
fn elements_known_of_need_no_second_look() {
    let ledger = Rc::new(Ledger::default());
    let (memory, mut ring) = Strict::ring(&config(4, 1, false, true));
    for _ in 0..3 {
        push(&mut ring, ledger.simple(1, 0));
    }
    publish(&mut ring);
    for id in 0..3 {
        use_id(&memory, id, id.into(), 0);
    }

    memory.begin_call();
    assert!(ring.enable_interrupts());
    for id in 0..3 {
        assert_eq!(ring.pop().unwrap().unwrap().token, id);
    }
    // One load of the index for all three, or `Strict` would have complained.
    let loads = memory.trace();
    assert_eq!(loads.iter().filter(|a| **a == Read(UsedIdx, 3)).count(), 1);
}

/// The look of somebody who does not pop changes nothing, and breaks nothing.
#[test]
fn used_elements_are_seen_without_a_pop() {
    let ledger = Rc::new(Ledger::default());
    let (memory, mut ring) = Strict::ring(&config(4, 1, false, true));
    let looks = |ring: &Ring<_, _, _>| {
        memory.begin_call();
        let found = ring.has_used();
        assert!(memory
            .trace()
            .iter()
            .all(|access| matches!(access, Read(UsedIdx, _))));
        found
    };

    assert!(!looks(&ring));
    push(&mut ring, ledger.simple(1, 0));
    push(&mut ring, ledger.simple(1, 0));
    publish(&mut ring);
    assert!(!looks(&ring));
    use_id(&memory, 0, 0, 0);
    use_id(&memory, 1, 1, 0);
    assert!(looks(&ring));
    memory.begin_call();
    assert!(ring.pop().unwrap().is_some());
    assert!(looks(&ring));
    memory.begin_call();
    assert!(ring.pop().unwrap().is_some());
    assert!(!looks(&ring));

    // An index that cannot be is for the next pop.
    memory.poke(UsedIdx, 100);
    assert!(looks(&ring));
    assert_eq!(ring.broken(), None);
    memory.begin_call();
    assert!(ring.pop().is_err());
    assert!(!looks(&ring));
}

#[test]
fn doorbell_only_when_wanted() {
    let ledger = Rc::new(Ledger::default());
    let request = || ledger.simple(1, 0);

    let (memory, mut ring) = Strict::ring(&config(8, 1, false, false));
    for (flags, wanted) in [(0, true), (1, false), (0xfffe, true), (0xffff, false)] {
        memory.poke(UsedFlags, flags);
        memory.begin_call();
        push(&mut ring, request());
        assert_eq!(ring.publish(), wanted);
    }

    let (memory, mut ring) = Strict::ring(&config(8, 1, false, true));
    // The index goes 0..1..3..4: the event is passed in the second step only.
    memory.poke(AvailEvent, 2);
    for (number, wanted) in [(1, false), (2, true), (1, false)] {
        memory.begin_call();
        for _ in 0..number {
            push(&mut ring, request());
        }
        assert_eq!(ring.publish(), wanted);
    }
}

/// What a driver goes by that looks for itself when the device is done.
#[test]
fn idle_and_armed_are_known() {
    let ledger = Rc::new(Ledger::default());
    for event_idx in [false, true] {
        let (memory, mut ring) = Strict::ring(&config(4, 1, false, event_idx));
        memory.begin_call();
        assert!(ring.is_armed());
        ring.disable_interrupts();
        assert!(!ring.is_armed());

        push(&mut ring, ledger.simple(1, 0));
        // The device does not see it yet.
        assert!(ring.is_idle());
        publish(&mut ring);
        assert!(!ring.is_idle());

        use_id(&memory, 0, 0, 0);
        memory.begin_call();
        assert!(ring.pop().unwrap().is_some());
        assert!(ring.is_idle());
        memory.begin_call();
        assert!(!ring.enable_interrupts());
        assert!(ring.is_armed());
    }
}

/// What a dump of the ring lists.
#[test]
fn requests_are_listed() {
    let ledger = Rc::new(Ledger::default());
    let (memory, mut ring) = Strict::ring(&config(4, 1, false, true));
    let tokens = [(); 3].map(|()| push(&mut ring, ledger.simple(1, 0)));
    publish(&mut ring);
    push(&mut ring, ledger.simple(1, 0));
    use_id(&memory, 0, tokens[1].into(), 0);
    memory.begin_call();
    let used = ring.pop().unwrap().unwrap();
    assert_eq!(used.request.serial, 1);

    let mut listed: Vec<_> = ring
        .requests()
        .map(|(_, request, published)| (request.serial, published))
        .collect();
    listed.sort();
    assert_eq!(listed, [(0, true), (2, true), (3, false)]);
    let token = |wanted| {
        ring.requests()
            .find(|(_, request, _)| request.serial == wanted)
    };
    assert_eq!(token(2).map(|(token, ..)| token), Some(tokens[2]));
}

/// Against the definition: some index from `old` to before `new` is the event.
#[test]
fn need_event_wraps() {
    for old in [0u16, 1, 2, 32767, 32768, 65000, 65533, 65534, 65535] {
        for step in [1u16, 2, 3, 64, 1000, 32768] {
            for event in (0..=u16::MAX).step_by(13).chain(65520..=65535).chain(0..16) {
                let new = old.wrapping_add(step);
                let passed = (0..step).any(|n| old.wrapping_add(n) == event);
                assert_eq!(crate::ring::need_event(event, new, old), passed);
            }
        }
    }
}

/// One request stays with the device until the index is what it was when it was pushed, where 16
/// bits of its position would look unpublished.
#[test]
fn slow_request_survives_the_wrap() {
    let ledger = Rc::new(Ledger::default());
    let (memory, mut ring) = Strict::ring(&config(2, 1, false, true));
    let slow = push(&mut ring, ledger.simple(1, 0));
    publish(&mut ring);

    let mut used = 0u16;
    for _ in 1..2 << 16 {
        memory.begin_call();
        let token = push(&mut ring, ledger.simple(1, 0));
        publish(&mut ring);
        use_id(&memory, used, token.into(), 0);
        used = used.wrapping_add(1);
        memory.begin_call();
        assert_eq!(ring.pop().unwrap().unwrap().token, token);
    }
    assert_eq!(ring.avail_idx(), 0);
    use_id(&memory, used, slow.into(), 0);
    memory.begin_call();
    assert_eq!(ring.pop().unwrap().unwrap().request.serial, 0);
    assert_eq!((ring.in_flight(), ring.free_descriptors()), (0, 2));
}
