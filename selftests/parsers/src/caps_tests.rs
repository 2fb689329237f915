// SPDX-License-Identifier: GPL-2.0

//! Tests of the capability parser.

use std::cell::{
    Cell,
    RefCell, //
};

use proptest::prelude::*;

use crate::{
    caps::*,
    space::*, //
};

const BARS: [BarInfo; NUM_BARS] = QEMU_BARS;

/// The four required capabilities, each in its usual place.
fn required() -> [Cap; 4] {
    [
        cap(COMMON, 0, 0x1000),
        cap(NOTIFY, 0x3000, 0x1000),
        cap(ISR, 0x1000, 0x1000),
        cap(DEVICE, 0x2000, 0x1000),
    ]
}

/// The required capabilities with the one of `broken`'s type replaced.
fn replaced(broken: &Cap) -> Vec<Cap> {
    let mut caps = required().to_vec();
    caps.retain(|cap| cap.cfg_type != broken.cfg_type);
    caps.push(broken.clone());
    caps
}

fn region(bar: u8, offset: u32, len: u32) -> Region {
    Region { bar, offset, len }
}

fn parse_caps(caps: &[Cap]) -> Result<Capabilities, CapsError> {
    parse(&Space::with(caps), &BARS)
}

/// What the parser says of a device with `broken` as the only capability of its type.
fn refusal(broken: Cap) -> String {
    parse_caps(&replaced(&broken)).unwrap_err().to_string()
}

#[test]
fn qemu_is_understood() {
    let caps = parse(&Space::qemu(), &BARS).unwrap();
    assert_eq!(
        caps,
        Capabilities {
            common: region(4, 0, 0x1000),
            notify: region(4, 0x3000, 0x1000),
            notify_multiplier: 4,
            isr: region(4, 0x1000, 0x1000),
            device: region(4, 0x2000, 0x1000),
            shared_memory: [None; MAX_SHARED_MEMORY],
        }
    );
}

#[test]
fn each_required_one_is_missed_by_name() {
    for (cfg_type, line) in [
        (COMMON, "common configuration capability: missing"),
        (NOTIFY, "notification capability: missing"),
        (ISR, "ISR status capability: missing"),
        (DEVICE, "device configuration capability: missing"),
    ] {
        let mut caps = required().to_vec();
        caps.retain(|cap| cap.cfg_type != cfg_type);
        assert_eq!(parse_caps(&caps).unwrap_err().to_string(), line);
    }
}

#[test]
fn reserved_types_are_ignored() {
    for cfg_type in (0..=255).filter(|t| ![1, 2, 3, 4, 8].contains(t)) {
        let mut caps = vec![cap(cfg_type, 0xffff_ffff, 0)];
        assert_eq!(
            parse_caps(&caps).unwrap_err().to_string(),
            "common configuration capability: missing"
        );
        caps.extend(required());
        assert_eq!(parse_caps(&caps), parse_caps(&required()));
    }
}

#[test]
fn reserved_bars_are_ignored() {
    for bar in [6, 7, 0x80, 0xff] {
        for broken in required() {
            let reserved = broken.clone().bar(bar);
            // Not a reason for a failure, as an unusable one would be.
            assert!(refusal(reserved.clone()).ends_with(": missing"));

            let mut caps = vec![reserved];
            caps.extend(required());
            assert_eq!(parse_caps(&caps), parse_caps(&required()));
        }
    }
}

#[test]
fn first_usable_one_counts() {
    for wanted in required() {
        let other = Cap {
            offset: wanted.offset + 8,
            length: 0x100,
            ..wanted.clone()
        };
        for unusable in [
            wanted.clone().bar(0),
            wanted.clone().bar(2),
            wanted.clone().cap_len(15),
            Cap {
                length: 0x4001,
                ..wanted.clone()
            },
            Cap {
                length: 0,
                ..wanted.clone()
            },
        ] {
            let mut caps = replaced(&unusable);
            caps.extend([wanted.clone(), other.clone(), unusable]);
            assert_eq!(parse_caps(&caps), parse_caps(&required()));
        }
    }
}

#[test]
fn last_unusable_one_is_reported() {
    let mut caps = replaced(&cap(COMMON, 2, 56));
    caps.push(cap(COMMON, 0, 55));
    caps.push(cap(COMMON, 0, 0x1000).bar(9));
    assert_eq!(
        parse_caps(&caps).unwrap_err(),
        CapsError {
            capability: CfgType::Common,
            reason: Reason::Length {
                length: 55,
                min: 56
            },
        }
    );
}

#[test]
fn capability_length_is_checked() {
    for (wanted, min) in required().into_iter().zip([16, 20, 16, 16]) {
        let short = wanted.clone().cap_len(min - 1);
        assert!(refusal(short).ends_with(&format!("cap_len {} is less than {min}", min - 1)));
        assert!(
            refusal(wanted.clone().cap_len(0)).ends_with("cap_len 0 is less than 16") || min != 16
        );
        for enough in [min, min + 1, 255] {
            let caps = replaced(&wanted.clone().cap_len(enough));
            assert_eq!(parse_caps(&caps), parse_caps(&required()));
        }
    }
}

#[test]
fn structure_length_is_checked() {
    for (wanted, min) in required().into_iter().zip([56, 2, 1, 16]) {
        let of_length = |length| Cap {
            length,
            ..wanted.clone()
        };
        assert!(parse_caps(&replaced(&of_length(min))).is_ok());
        assert!(refusal(of_length(min - 1))
            .ends_with(&format!("length {} is less than {min}", min - 1)));
    }
}

#[test]
fn alignment_is_checked() {
    for (wanted, alignment) in required().into_iter().zip([4, 2, 1, 4]) {
        for delta in 0..8 {
            let moved = Cap {
                offset: wanted.offset + delta,
                length: 0x100,
                ..wanted.clone()
            };
            if delta % alignment == 0 {
                assert!(parse_caps(&replaced(&moved)).is_ok());
            } else {
                let reason = format!("{:#x} is not a multiple of {alignment}", moved.offset);
                assert!(refusal(moved).ends_with(&reason));
            }
        }
    }
}

#[test]
fn end_of_bar_is_checked() {
    for wanted in required() {
        let at = |offset, length| Cap {
            offset,
            length,
            ..wanted.clone()
        };
        assert!(parse_caps(&replaced(&at(0x3f00, 0x100))).is_ok());
        for (offset, length) in [
            (0x3f00, 0x101),
            (0x4000, 0x40),
            (0, 0x4001),
            (0xffff_fff0, 0x40),
            (0x40, 0xffff_ffff),
            (0xffff_fffc, 0xffff_ffff),
        ] {
            assert!(refusal(at(offset, length)).ends_with("are beyond the end of BAR 4 (0x4000)"));
        }
    }
    assert_eq!(
        refusal(cap(ISR, 0x1000, 0x3001)),
        "ISR status capability: 0x3001 bytes at 0x1000 are beyond the end of BAR 4 (0x4000)"
    );
}

#[test]
fn whole_bar_of_4_gib_is_taken() {
    let mut bars = BARS;
    bars[4].len = 1 << 32;
    let caps = replaced(&cap(DEVICE, 0xffff_ff00, 0x100));
    let found = parse(&Space::with(&caps), &bars).unwrap();
    assert_eq!(found.device, region(4, 0xffff_ff00, 0x100));
}

#[test]
fn bar_has_to_be_memory_and_there() {
    for wanted in required() {
        assert!(refusal(wanted.clone().bar(0)).ends_with(": BAR 0 is not there"));
        assert!(refusal(wanted.clone().bar(2)).ends_with(": BAR 2 is an I/O port BAR"));

        let mut bars = BARS;
        bars[3] = memory(0);
        let caps = replaced(&wanted.clone().bar(3));
        let error = parse(&Space::with(&caps), &bars).unwrap_err();
        assert_eq!(error.reason, Reason::BarAbsent { bar: 3 });
    }
}

#[test]
fn port_notification_alone_is_refused() {
    assert_eq!(
        refusal(cap(NOTIFY, 0, 4).bar(2).extra([0, 0])),
        "notification capability: BAR 2 is an I/O port BAR"
    );
}

#[test]
fn multiplier_is_checked() {
    for multiplier in [0, 2, 4, 0x1000, 1 << 31] {
        let caps = replaced(&cap(NOTIFY, 0x3000, 0x1000).extra([multiplier, 0]));
        assert_eq!(parse_caps(&caps).unwrap().notify_multiplier, multiplier);
    }
    for multiplier in [1, 3, 6, 0xffff_ffff] {
        let line = refusal(cap(NOTIFY, 0x3000, 0x1000).extra([multiplier, 0]));
        assert_eq!(
            line.strip_prefix("notification capability: "),
            Some(format!("notify_off_multiplier {multiplier} is no even power of two").as_str())
        );
    }
}

#[test]
fn pci_cfg_is_no_region() {
    let caps: Vec<_> = required()
        .into_iter()
        .map(|cap| Cap {
            cfg_type: PCI_CFG,
            ..cap
        })
        .collect();
    assert_eq!(parse_caps(&caps).unwrap_err().reason, Reason::Missing);
}

#[test]
fn shared_memory_is_optional_and_64_bit() {
    let mut bars = BARS;
    bars[5] = memory(1 << 40);
    let (offset, len) = (0x12_3456_7890, 0x2_0000_1000);
    let mut caps = required().to_vec();
    caps.push(Cap::shared(1, offset, len).bar(5));

    let found = parse(&Space::with(&caps), &bars).unwrap().shared_memory;
    let wanted = SharedMemory {
        id: 1,
        bar: 5,
        offset,
        len,
    };
    assert_eq!(found, [Some(wanted), None, None, None]);
}

#[test]
fn unusable_shared_memory_is_ignored() {
    let mut bars = BARS;
    bars[5] = memory(1 << 40);
    for unusable in [
        Cap::shared(1, 1 << 40, 1).bar(5),
        Cap::shared(1, 0, (1 << 40) + 1).bar(5),
        Cap::shared(1, u64::MAX, 1).bar(5),
        Cap::shared(1, u64::MAX - 0xfff, 0x1000).bar(5),
        Cap::shared(1, 0x1000, u64::MAX).bar(5),
        Cap::shared(1, 0, 0).bar(5),
        Cap::shared(1, 0, 4).bar(2),
        Cap::shared(1, 0, 4).bar(0),
        Cap::shared(1, 0, 4).bar(6),
        Cap::shared(1, 0, 4).bar(5).cap_len(23),
    ] {
        let mut caps = required().to_vec();
        caps.push(unusable);
        let found = parse(&Space::with(&caps), &bars).unwrap();
        assert_eq!(found.shared_memory, [None; MAX_SHARED_MEMORY]);

        // Nor does it keep a usable one of the same id from being found.
        caps.push(Cap::shared(1, 0x1000, 0x1000));
        let found = parse(&Space::with(&caps), &bars).unwrap();
        assert!(matches!(found.shared_memory, [Some(region), None, ..] if region.bar == 4));
    }
}

#[test]
fn shared_memory_ids_are_unique() {
    let mut caps = required().to_vec();
    caps.extend([
        Cap::shared(7, 0x100, 0x100),
        Cap::shared(7, 0x200, 0x200),
        Cap::shared(0, 0x300, 0x300),
    ]);
    let found = parse_caps(&caps).unwrap().shared_memory;
    let regions = found.map(|region| region.map(|region| (region.id, region.len)));
    assert_eq!(regions, [Some((7, 0x100)), Some((0, 0x300)), None, None]);
}

#[test]
fn shared_memory_beyond_four_is_ignored() {
    let mut caps: Vec<_> = (1..=5).map(|id| Cap::shared(id, 0, 1)).collect();
    caps.extend(required());
    let found = parse_caps(&caps).unwrap().shared_memory;
    assert_eq!(
        found.map(|region| region.map(|region| region.id)),
        [Some(1), Some(2), Some(3), Some(4)]
    );
}

/// Counts the reads of each byte.
struct Counted {
    space: Space,
    reads: RefCell<[u32; 256]>,
}

impl Counted {
    fn new(space: Space) -> Self {
        Self {
            space,
            reads: RefCell::new([0; 256]),
        }
    }

    fn count(&self, offset: u16, width: usize) {
        let start = usize::from(offset);
        for reads in &mut self.reads.borrow_mut()[start..start + width] {
            *reads += 1;
        }
    }
}

impl ConfigRead for Counted {
    fn read_u8(&self, offset: u16) -> Option<u8> {
        self.count(offset, 1);
        self.space.read_u8(offset)
    }

    fn read_u32(&self, offset: u16) -> Option<u32> {
        self.count(offset, 4);
        self.space.read_u32(offset)
    }
}

#[test]
fn each_field_is_read_once() {
    let mut caps = required().to_vec();
    caps.push(Cap::shared(1, 0, 0x1000));
    let config = Counted::new(Space::with(&caps));
    assert!(parse(&config, &BARS).is_ok());

    let reads = config.reads.into_inner();
    assert!(reads.iter().all(|reads| *reads <= 1));
    // Four of 16 or 20 bytes, less padding and what only shared memory has, and one of 24.
    assert_eq!(reads.iter().sum::<u32>(), 2 + 4 * 13 + 4 + 14 + 8);
}

#[test]
fn loops_end() {
    let mut space = Space::with(&required()[..3]);
    // From the last one back to the first, and from a foreign one to itself.
    space.0[0x40 + 16 + 20 + 1] = 0x40;
    let config = Counted::new(space.clone());
    let error = parse(&config, &BARS).unwrap_err();
    assert_eq!(error.capability, CfgType::Device);
    let ids: u32 = config.reads.into_inner()[0x40];
    assert_eq!(ids, 48 / 3);

    space.0[0x34] = 0xf0;
    space.put(0xf0, &[0x11, 0xf0]);
    let config = Counted::new(space);
    assert!(parse(&config, &BARS).is_err());
    assert_eq!(config.reads.into_inner()[0xf0], 48);
}

#[test]
fn long_list_is_walked() {
    // Foreign ones, as short as they can be, fill the space up to the last one.
    let mut space = Space::with(&required()[1..]);
    let first = 0x40 + 20 + 16 + 16;
    space.0[first - 16 + 1] = first as u8;
    for position in (first..0xf0).step_by(4) {
        space.put(position, &[0x01, position as u8 + 4]);
    }
    space.put(0xf0, &STRAY_COMMON);
    assert_eq!(parse(&space, &BARS).unwrap().common, region(4, 0, 56));
}

#[test]
fn foreign_capabilities_are_skipped() {
    let wanted = parse_caps(&required());
    for id in (0..0xff).filter(|id| *id != 0x09) {
        // The same in all but the id, and ahead of what it must not be taken for.
        let mut caps = vec![cap(COMMON, 0x100, 0x100)];
        caps.extend(required());
        let mut space = Space::with(&caps);
        space.0[0x40] = id;
        assert_eq!(parse(&space, &BARS), wanted, "id {id:#x}");
    }
}

#[test]
fn pointers_are_masked() {
    for low in 1..4 {
        let mut space = Space::with(&required());
        space.0[0x34] |= low;
        space.0[0x41] |= low;
        assert_eq!(parse(&space, &BARS), parse_caps(&required()));
    }
}

/// [`required`]'s device configuration, where [`Space::with`] does not put it.
const STRAY_DEVICE: [u8; 16] = [9, 0, 16, DEVICE, 4, 0, 0, 0, 0, 0x20, 0, 0, 0, 0x10, 0, 0];

/// A common configuration, likewise.
const STRAY_COMMON: [u8; 16] = [9, 0, 16, COMMON, 4, 0, 0, 0, 0, 0, 0, 0, 56, 0, 0, 0];

#[test]
fn pointer_into_the_header_ends_the_list() {
    for end in [0x04, 0x08, 0x10, 0x27] {
        let mut space = Space::with(&required()[..3]);
        space.0[0x40 + 16 + 20 + 1] = end;
        space.put(usize::from(end & 0xfc), &STRAY_DEVICE);
        space.0[0x06] |= 0x10;
        let error = parse(&space, &BARS).unwrap_err();
        assert_eq!(error.capability, CfgType::Device);
        assert_eq!(error.reason, Reason::Missing);
    }
}

#[test]
fn no_list_without_its_status_bit() {
    let mut space = Space::with(&required());
    space.0[0x06] = 0xef;
    assert_eq!(
        parse(&space, &BARS).unwrap_err().to_string(),
        "common configuration capability: missing"
    );
}

#[test]
fn device_that_is_gone_has_nothing() {
    for byte in [0x00, 0xff] {
        let error = parse(&Space([byte; 256]), &BARS).unwrap_err();
        assert_eq!(error.reason, Reason::Missing);
    }
}

#[test]
fn id_of_all_ones_ends_the_list() {
    let mut space = Space::with(&required());
    space.0[0x40] = 0xff;
    let config = Counted::new(space);
    assert!(parse(&config, &BARS).is_err());
    assert_eq!(config.reads.into_inner()[0x41], 0);
}

/// More than the 256 bytes: what an extended configuration space would have there.
struct Extended([u8; 512]);

impl ConfigRead for Extended {
    fn read_u8(&self, offset: u16) -> Option<u8> {
        assert!(offset < 256);
        self.0.get(usize::from(offset)).copied()
    }

    fn read_u32(&self, offset: u16) -> Option<u32> {
        assert!(offset < 256);
        let bytes = self.0.get(usize::from(offset)..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }
}

#[test]
fn capability_beyond_configuration_space_is_unusable() {
    let mut bytes = [0; 512];
    bytes[0x06] = 0x10;
    bytes[0x34] = 0xf4;
    bytes[0xf4..0x104].copy_from_slice(&STRAY_COMMON);
    assert_eq!(
        parse(&Extended(bytes), &BARS).unwrap_err().to_string(),
        "common configuration capability: cannot be read from configuration space"
    );

    // The last place where it fits.
    let mut space = Space::with(&required()[1..]);
    space.0[0x40 + 20 + 16 + 1] = 0xf0;
    space.put(0xf0, &STRAY_COMMON);
    assert_eq!(parse(&space, &BARS).unwrap().common, region(4, 0, 56));
}

/// Fails from some read on.
struct Failing {
    space: Space,
    left: Cell<u32>,
}

impl Failing {
    fn spend(&self) -> Option<()> {
        self.left.set(self.left.get().checked_sub(1)?);
        Some(())
    }
}

impl ConfigRead for Failing {
    fn read_u8(&self, offset: u16) -> Option<u8> {
        self.spend()?;
        self.space.read_u8(offset)
    }

    fn read_u32(&self, offset: u16) -> Option<u32> {
        self.spend()?;
        self.space.read_u32(offset)
    }
}

#[test]
fn failing_reads_are_an_error() {
    let space = Space::with(&required());
    let reads = 2 + 4 * (4 + 3) + 1;
    for left in 0..reads {
        let config = Failing {
            space: space.clone(),
            left: Cell::new(left),
        };
        let reason = parse(&config, &BARS).unwrap_err().reason;
        assert!(matches!(reason, Reason::Missing | Reason::Unreadable));
    }
    let config = Failing {
        space,
        left: Cell::new(reads),
    };
    assert!(parse(&config, &BARS).is_ok());
}

/// Answers each read with the next bytes of a stream, so that nothing stays what it was.
struct Fickle {
    stream: Vec<u8>,
    next: Cell<usize>,
}

impl Fickle {
    fn take(&self) -> u8 {
        let next = self.next.get();
        self.next.set(next + 1);
        self.stream[next % self.stream.len()]
    }
}

impl ConfigRead for Fickle {
    fn read_u8(&self, _offset: u16) -> Option<u8> {
        Some(self.take())
    }

    fn read_u32(&self, _offset: u16) -> Option<u32> {
        Some(u32::from_le_bytes(std::array::from_fn(|_| self.take())))
    }
}

fn any_bar() -> impl Strategy<Value = BarInfo> {
    prop_oneof![
        Just(ABSENT),
        Just(io(0x1000)),
        prop_oneof![
            Just(0u64),
            1u64..0x5000,
            Just(1 << 32),
            Just(1 << 40),
            any::<u64>()
        ]
        .prop_map(memory),
    ]
}

fn any_bars() -> impl Strategy<Value = [BarInfo; NUM_BARS]> {
    prop_oneof![Just(BARS), proptest::array::uniform6(any_bar())]
}

/// A value near those that decide.
fn any_word() -> impl Strategy<Value = u32> {
    prop_oneof![
        (0u32..64).prop_map(|n| n * 4),
        0u32..64,
        0x0f00u32..0x1100,
        0x3f00u32..0x4100,
        (0u32..64).prop_map(|n| u32::MAX - n),
        any::<u32>(),
    ]
}

prop_compose! {
    fn any_cap()(
        cfg_type in prop_oneof![9 => 1u8..5, 1 => 5u8..10],
        bar in prop_oneof![4 => Just(4u8), 1 => 0u8..8],
        cap_len in prop_oneof![4 => Just(24u8), 1 => 12u8..28],
        id in 0u8..3,
        offset in any_word(),
        length in any_word(),
        extra in proptest::array::uniform2(prop_oneof![3 => Just(0u32), 1 => 0u32..9]),
    ) -> Cap {
        Cap { cap_len, cfg_type, bar, id, offset, length, extra }
    }
}

/// Whether `cap` describes what its type asks for: the rules once more, put differently.
fn usable(cap: &Cap, bars: &[BarInfo; NUM_BARS]) -> bool {
    let (cap_len, min, mask) = match cap.cfg_type {
        COMMON => (16, 56, 3),
        NOTIFY => (20, 2, 1),
        ISR => (16, 1, 0),
        DEVICE => (16, 16, 3),
        _ => return false,
    };
    let Some(bar) = bars.get(usize::from(cap.bar)) else {
        return false;
    };
    let doorbells = cap.cfg_type != NOTIFY || [0, 2, 4, 8].contains(&cap.extra[0]);
    cap.cap_len >= cap_len
        && bar.kind == BarKind::Memory
        && cap.length >= min
        && cap.offset & mask == 0
        && u64::from(cap.offset) + u64::from(cap.length) <= bar.len
        && doorbells
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn any_list_gives_the_first_usable_ones(
        mut caps in proptest::collection::vec(any_cap(), 0..7),
        bars in any_bars(),
        place in 0usize..7,
        complete in proptest::collection::vec(any::<bool>(), 4),
    ) {
        // Some good ones in between, or hardly any list would be complete.
        for (cap, wanted) in required().into_iter().zip(complete) {
            if wanted {
                caps.insert(place.min(caps.len()), cap);
            }
        }
        caps.truncate(8);
        let first = |cfg_type| {
            caps.iter()
                .find(|cap| cap.cfg_type == cfg_type && usable(cap, &bars))
                .map(|cap| region(cap.bar, cap.offset, cap.length))
        };
        let wanted = [COMMON, NOTIFY, ISR, DEVICE].map(first);

        match parse(&Space::with(&caps), &bars) {
            Ok(found) => {
                assert_sound(&found, &bars);
                let regions = [found.common, found.notify, found.isr, found.device];
                prop_assert_eq!(wanted, regions.map(Some));
            }
            Err(error) => {
                let missing = wanted.iter().position(Option::is_none);
                let types = [CfgType::Common, CfgType::Notify, CfgType::Isr, CfgType::Device];
                prop_assert_eq!(missing.map(|index| types[index]), Some(error.capability));
            }
        }
    }

    #[test]
    fn any_bytes_are_parsed(
        patches in proptest::collection::vec((0usize..256, any::<u8>()), 0..24),
        bars in any_bars(),
    ) {
        let mut space = Space::qemu();
        for (at, byte) in patches {
            space.0[at] = byte;
        }
        if let Ok(found) = parse(&space, &bars) {
            assert_sound(&found, &bars);
        }
    }

    #[test]
    fn fickle_device_is_parsed(
        stream in proptest::collection::vec(
            prop_oneof![Just(0x09u8), Just(0x10u8), Just(0x40u8), 0u8..9, any::<u8>()],
            1..400,
        ),
        bars in any_bars(),
    ) {
        let config = Fickle { stream, next: Cell::new(0) };
        if let Ok(found) = parse(&config, &bars) {
            assert_sound(&found, &bars);
        }
        // 48 elements, each with an id, a pointer and at most the bytes of a shared memory one.
        prop_assert!(config.next.get() <= 2 + 48 * 24);
    }
}
