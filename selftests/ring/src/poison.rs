// SPDX-License-Identifier: GPL-2.0

//! Each way for a device to poison a ring has its own cause, after which the memory stays alone.

use std::{
    collections::HashSet,
    rc::Rc, //
};

use crate::{
    ring::{
        ConfigError,
        Poison,
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

fn poisoned_by(prepare: impl Fn(&Strict, &mut StrictRing, &Rc<Ledger>), cause: Poison) {
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

/// No call of a poisoned ring touches the memory, which is closed.
fn assert_dead(ring: &mut StrictRing, ledger: &Rc<Ledger>, cause: Poison) {
    assert_eq!(ring.poisoned(), Some(cause));
    assert_eq!(ring.pop().unwrap_err(), cause);
    let error = ring.push(ledger.simple(1, 1)).unwrap_err();
    assert_eq!(error.reason, PushReason::Poisoned(cause));
    assert!(!ring.publish());
    assert!(!ring.enable_notifications());
    ring.disable_notifications();
    assert_eq!(ring.poison(Poison::NeedsReset), cause);
    let mut left = ring.in_flight();
    while ring.take_in_flight().is_some() {
        left -= 1;
        assert_eq!(ring.in_flight(), left);
    }
    assert_eq!(left, 0);
    assert_eq!(ring.poisoned(), Some(cause));
}

/// Two requests that the device was given, and one that it was not: tokens in that order.
fn three(ring: &mut StrictRing, ledger: &Rc<Ledger>) -> [u16; 3] {
    let first = push(ring, ledger.simple(1, 1));
    let second = push(ring, ledger.simple(1, 1));
    publish(ring);
    [first, second, push(ring, ledger.simple(1, 1))]
}

#[test]
fn used_index_ahead_poisons() {
    for idx in [3, 4, 8, 9, 32768, 65535] {
        poisoned_by(
            |memory, ring, ledger| {
                three(ring, ledger);
                memory.poke(UsedIdx, idx);
            },
            Poison::UsedIndex,
        );
    }
    // Also where there is nothing in flight at all, and backwards.
    poisoned_by(|memory, _, _| memory.poke(UsedIdx, 1), Poison::UsedIndex);
    poisoned_by(
        |memory, ring, ledger| {
            let tokens = three(ring, ledger);
            use_id(memory, 0, tokens[0].into(), 0);
            assert!(ring.pop().unwrap().is_some());
            memory.poke(UsedIdx, 0);
        },
        Poison::UsedIndex,
    );
}

#[test]
fn used_index_ahead_poisons_when_notifications_are_enabled() {
    for (indirect, event_idx) in ALL_MODES {
        let ledger = Rc::new(Ledger::default());
        let (memory, mut ring) = Strict::ring(&config(8, 2, indirect, event_idx));
        three(&mut ring, &ledger);
        memory.poke(UsedIdx, 3);
        memory.begin_call();
        // So that the caller's loop meets the error.
        assert!(ring.enable_notifications());
        memory.close();
        assert_dead(&mut ring, &ledger, Poison::UsedIndex);
    }
}

#[test]
fn id_out_of_range_poisons() {
    for id in [8, 9, 255, 65535, 65536, 65537, 1 << 31, u32::MAX] {
        poisoned_by(
            |memory, ring, ledger| {
                three(ring, ledger);
                use_id(memory, 0, id, 0);
            },
            Poison::IdOutOfRange,
        );
    }
}

#[test]
fn id_not_in_flight_poisons() {
    // Never pushed.
    poisoned_by(
        |memory, ring, ledger| {
            three(ring, ledger);
            use_id(memory, 0, 7, 0);
        },
        Poison::IdNotInFlight,
    );
    // Pushed but not published.
    poisoned_by(
        |memory, ring, ledger| {
            let tokens = three(ring, ledger);
            use_id(memory, 0, tokens[2].into(), 0);
        },
        Poison::IdNotInFlight,
    );
}

#[test]
fn id_within_a_chain_poisons() {
    let ledger = Rc::new(Ledger::default());
    let (memory, mut ring) = Strict::ring(&config(8, 2, false, true));
    let tokens = three(&mut ring, &ledger);
    use_id(&memory, 0, u32::from(tokens[0]) + 1, 0);
    memory.begin_call();
    assert_eq!(ring.pop().unwrap_err(), Poison::IdNotInFlight);
}

#[test]
fn id_used_twice_poisons() {
    poisoned_by(
        |memory, ring, ledger| {
            let tokens = three(ring, ledger);
            use_id(memory, 0, tokens[0].into(), 0);
            use_id(memory, 1, tokens[0].into(), 0);
            assert!(ring.pop().unwrap().is_some());
        },
        Poison::IdUsedTwice,
    );
}

#[test]
fn length_beyond_the_writable_parts_poisons() {
    for len in [17, 32, 1 << 31, u32::MAX] {
        poisoned_by(
            |memory, ring, ledger| {
                let tokens = three(ring, ledger);
                use_id(memory, 0, tokens[1].into(), len);
            },
            Poison::Length,
        );
    }
    // A request with nothing to write to.
    poisoned_by(
        |memory, ring, ledger| {
            let token = push(ring, ledger.simple(2, 0));
            publish(ring);
            use_id(memory, 0, token.into(), 1);
        },
        Poison::Length,
    );
}

#[test]
fn owner_poisons_and_drains() {
    let ledger = Rc::new(Ledger::default());
    let (memory, mut ring) = Strict::ring(&config(8, 2, false, true));
    three(&mut ring, &ledger);
    assert_eq!(ring.poison(Poison::NeedsReset), Poison::NeedsReset);
    memory.close();
    assert_dead(&mut ring, &ledger, Poison::NeedsReset);

    // Draining alone poisons too.
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
    assert_eq!(ring.poisoned(), Some(Poison::Reset));
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
        ring.poison(Poison::NeedsReset);
        while ring.take_in_flight().is_some() {}

        memory.restart(&mut ring);
        ledger.assert_each_dropped_once();
        assert_eq!(ring.poisoned(), None);
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
    let poisons = [
        Poison::UsedIndex,
        Poison::IdOutOfRange,
        Poison::IdNotInFlight,
        Poison::IdUsedTwice,
        Poison::Length,
        Poison::NeedsReset,
        Poison::Reset,
    ];
    let mut texts: HashSet<String> = poisons.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 7);
    for poison in poisons {
        let reason = PushReason::Poisoned(poison);
        assert_eq!(reason.to_string(), poison.text());
    }

    let reasons = [
        PushReason::NoRoom,
        PushReason::NoParts,
        PushReason::TooManyParts,
        PushReason::BadPart,
        PushReason::TooLong,
    ];
    texts.extend(reasons.iter().map(ToString::to_string));
    let errors = [
        ConfigError::Size,
        ConfigError::MaxParts,
        ConfigError::TooLarge,
        ConfigError::ShortMemory,
        ConfigError::Address,
        ConfigError::Slots,
    ];
    texts.extend(errors.iter().map(ToString::to_string));
    assert_eq!(texts.len(), 18);
    assert!(texts.iter().all(|text| !text.is_empty()));
}
