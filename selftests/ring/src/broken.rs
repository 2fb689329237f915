// SPDX-License-Identifier: GPL-2.0

//! Each way for a device to break a ring has its own cause, after which the memory stays alone.

use std::{
    collections::HashSet,
    rc::Rc, //
};

use crate::{
    ring::{
        Broken,
        ConfigError,
        PushReason, //
    },
    support::{
        config,
        publish,
        push,
        use_id,
        Field::UsedIdx,
        Ledger,
        Strict,
        StrictRing,
        ALL_MODES, //
    },
};

fn broken_by(prepare: impl Fn(&Strict, &mut StrictRing, &Rc<Ledger>), cause: Broken) {
    for (indirect, event_idx) in ALL_MODES {
        let ledger = Rc::new(Ledger::default());
        let (memory, mut ring) = Strict::ring(&config(8, 2, indirect, event_idx));
        prepare(&memory, &mut ring, &ledger);
        memory.begin_call();

        let in_flight = ring.in_flight();
        assert_eq!(ring.pop().unwrap_err(), cause);
        assert_eq!(ring.in_flight(), in_flight);
        memory.close();
        assert_dead(&mut ring, &ledger, cause);
        drop(ring);
        ledger.assert_each_dropped_once();
    }
}

/// No call of a broken ring touches the memory, which is closed.
fn assert_dead(ring: &mut StrictRing, ledger: &Rc<Ledger>, cause: Broken) {
    assert_eq!(ring.broken(), Some(cause));
    assert_eq!(ring.pop().unwrap_err(), cause);
    let error = ring.push(ledger.simple(1, 1)).unwrap_err();
    assert_eq!(error.reason, PushReason::Broken(cause));
    assert!(!ring.publish());
    assert!(!ring.enable_interrupts());
    ring.disable_interrupts();
    assert_eq!(ring.mark_broken(Broken::NeedsReset), cause);
    let mut left = ring.in_flight();
    while ring.take_in_flight().is_some() {
        left -= 1;
        assert_eq!(ring.in_flight(), left);
    }
    assert_eq!(left, 0);
    assert_eq!(ring.broken(), Some(cause));
}

/// Two requests that the device was given, and one that it was not: tokens in that order.
fn three(ring: &mut StrictRing, ledger: &Rc<Ledger>) -> [u16; 3] {
    let first = push(ring, ledger.simple(1, 1));
    let second = push(ring, ledger.simple(1, 1));
    publish(ring);
    [first, second, push(ring, ledger.simple(1, 1))]
}

#[test]
fn used_index_ahead_breaks() {
    for idx in [3, 4, 8, 9, 32768, 65535] {
        broken_by(
            |memory, ring, ledger| {
                three(ring, ledger);
                memory.poke(UsedIdx, idx);
            },
            Broken::UsedIndex,
        );
    }
    // Also where there is nothing in flight at all, and backwards.
    broken_by(|memory, _, _| memory.poke(UsedIdx, 1), Broken::UsedIndex);
    broken_by(
        |memory, ring, ledger| {
            let tokens = three(ring, ledger);
            use_id(memory, 0, tokens[0].into(), 0);
            assert!(ring.pop().unwrap().is_some());
            memory.poke(UsedIdx, 0);
        },
        Broken::UsedIndex,
    );
}

#[test]
fn used_index_ahead_breaks_when_interrupts_are_enabled() {
    for (indirect, event_idx) in ALL_MODES {
        let ledger = Rc::new(Ledger::default());
        let (memory, mut ring) = Strict::ring(&config(8, 2, indirect, event_idx));
        three(&mut ring, &ledger);
        memory.poke(UsedIdx, 3);
        memory.begin_call();
        // So that the caller's loop meets the error.
        assert!(ring.enable_interrupts());
        memory.close();
        assert_dead(&mut ring, &ledger, Broken::UsedIndex);
    }
}

#[test]
fn id_out_of_range_breaks() {
    for id in [8, 9, 255, 65535, 65536, 65537, 1 << 31, u32::MAX] {
        broken_by(
            |memory, ring, ledger| {
                three(ring, ledger);
                use_id(memory, 0, id, 0);
            },
            Broken::IdOutOfRange,
        );
    }
}

#[test]
fn id_not_in_flight_breaks() {
    // Never pushed.
    broken_by(
        |memory, ring, ledger| {
            three(ring, ledger);
            use_id(memory, 0, 7, 0);
        },
        Broken::IdNotInFlight,
    );
    // Pushed but not published.
    broken_by(
        |memory, ring, ledger| {
            let tokens = three(ring, ledger);
            use_id(memory, 0, tokens[2].into(), 0);
        },
        Broken::IdNotInFlight,
    );
}

#[test]
fn id_within_a_chain_breaks() {
    let ledger = Rc::new(Ledger::default());
    let (memory, mut ring) = Strict::ring(&config(8, 2, false, true));
    let tokens = three(&mut ring, &ledger);
    use_id(&memory, 0, u32::from(tokens[0]) + 1, 0);
    memory.begin_call();
    assert_eq!(ring.pop().unwrap_err(), Broken::IdNotInFlight);
}

#[test]
fn id_used_twice_breaks() {
    broken_by(
        |memory, ring, ledger| {
            let tokens = three(ring, ledger);
            use_id(memory, 0, tokens[0].into(), 0);
            use_id(memory, 1, tokens[0].into(), 0);
            assert!(ring.pop().unwrap().is_some());
        },
        Broken::IdUsedTwice,
    );
}

#[test]
fn length_beyond_the_writable_parts_breaks() {
    for len in [17, 32, 1 << 31, u32::MAX] {
        broken_by(
            |memory, ring, ledger| {
                let tokens = three(ring, ledger);
                use_id(memory, 0, tokens[1].into(), len);
            },
            Broken::Length,
        );
    }
    // A request with nothing to write to.
    broken_by(
        |memory, ring, ledger| {
            let token = push(ring, ledger.simple(2, 0));
            publish(ring);
            use_id(memory, 0, token.into(), 1);
        },
        Broken::Length,
    );
}

#[test]
fn owner_breaks_and_drains() {
    let ledger = Rc::new(Ledger::default());
    let (memory, mut ring) = Strict::ring(&config(8, 2, false, true));
    three(&mut ring, &ledger);
    assert_eq!(ring.mark_broken(Broken::NeedsReset), Broken::NeedsReset);
    memory.close();
    assert_dead(&mut ring, &ledger, Broken::NeedsReset);

    // Draining alone breaks too.
    let (memory, mut ring) = Strict::ring(&config(8, 2, true, true));
    three(&mut ring, &ledger);
    memory.close();
    let mut serials: Vec<usize> = std::iter::from_fn(|| ring.take_in_flight())
        .map(|request| request.serial)
        .collect();
    serials.sort_unstable();
    assert_eq!(serials.len(), 3);
    serials.dedup();
    assert_eq!(serials.len(), 3);
    assert_eq!(ring.broken(), Some(Broken::Reset));
}

/// After a reset the ring is as new: all room is there, and the device finds nothing of before.
#[test]
fn restarts_after_reset() {
    for (indirect, event_idx) in ALL_MODES {
        let ledger = Rc::new(Ledger::default());
        let (memory, mut ring) = Strict::ring(&config(8, 2, indirect, event_idx));
        let tokens = three(&mut ring, &ledger);
        use_id(&memory, 0, tokens[0].into(), 16);
        memory.begin_call();
        assert!(ring.pop().unwrap().is_some());
        memory.poke(UsedIdx, 9);
        ring.mark_broken(Broken::NeedsReset);
        while ring.take_in_flight().is_some() {}

        memory.restart(&mut ring);
        ledger.assert_each_dropped_once();
        assert_eq!(ring.broken(), None);
        assert_eq!((ring.in_flight(), ring.free_descriptors()), (0, 8));
        assert_eq!((ring.avail_idx(), ring.last_used()), (0, 0));
        assert_eq!(memory.peek(UsedIdx), 0);
        assert!(ring.pop().unwrap().is_none());

        let tokens = three(&mut ring, &ledger);
        for (idx, token) in (0..).zip(&tokens[..2]) {
            use_id(&memory, idx, (*token).into(), 16);
            memory.begin_call();
            assert_eq!(ring.pop().unwrap().unwrap().token, *token);
        }
        assert_eq!(ring.in_flight(), 1);
    }
}

#[test]
fn every_cause_has_its_text() {
    let causes = [
        Broken::UsedIndex,
        Broken::IdOutOfRange,
        Broken::IdNotInFlight,
        Broken::IdUsedTwice,
        Broken::Length,
        Broken::Rejected,
        Broken::NeedsReset,
        Broken::Reset,
    ];
    let texts: HashSet<String> = causes.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), causes.len());
}
