// SPDX-License-Identifier: GPL-2.0

//! Tests of the monitor name.

use proptest::prelude::*;

use crate::command::*;

const DESCRIPTORS: [usize; 4] = [54, 72, 90, 108];

/// Makes the header and the checksum right.
fn seal(mut block: [u8; 128]) -> [u8; 128] {
    block[..8].copy_from_slice(&[0, 255, 255, 255, 255, 255, 255, 0]);
    let sum = block[..127]
        .iter()
        .fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    block[127] = sum.wrapping_neg();
    block
}

/// A base block with a descriptor of this tag and text.
fn block(at: usize, tag: u8, text: &[u8]) -> [u8; 128] {
    let mut block = [0; 128];
    // Detailed timings in the other places.
    for at in DESCRIPTORS {
        block[at..at + 3].copy_from_slice(&[0x64, 0x19, 0x00]);
    }
    block[at..at + 5].copy_from_slice(&[0, 0, 0, tag, 0]);
    block[at + 5..at + 5 + text.len()].copy_from_slice(text);
    seal(block)
}

fn name(edid: &[u8]) -> Option<String> {
    edid_name(edid).map(|name| {
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(13);
        assert!(name[end..].iter().all(|byte| *byte == 0));
        String::from_utf8(name[..end].to_vec()).unwrap()
    })
}

#[test]
fn name_is_found_in_each_descriptor() {
    for at in DESCRIPTORS {
        let edid = block(at, 0xfc, b"QEMU Monitor\n");
        assert_eq!(name(&edid).as_deref(), Some("QEMU Monitor"));
    }
}

#[test]
fn name_ends_at_its_terminator_or_after_13_bytes() {
    for (text, wanted) in [
        (b"ABCDEFGHIJKLM", "ABCDEFGHIJKLM"),
        (b"X\n           ", "X"),
        (b"A b\nnot this\n", "A b"),
    ] {
        assert_eq!(name(&block(72, 0xfc, text)).as_deref(), Some(wanted));
    }
}

#[test]
fn only_printable_ascii_is_kept() {
    let text = b"\x00A\x1b[\x7fB\xff~ \x80C\x1f";
    assert_eq!(name(&block(54, 0xfc, text)).as_deref(), Some("A[B~ C"));
}

#[test]
fn nothing_printable_is_no_name() {
    assert_eq!(name(&block(54, 0xfc, b"\n            ")), None);
    assert_eq!(name(&block(54, 0xfc, &[0; 13])), None);
    assert_eq!(name(&block(54, 0xfc, &[0xff; 13])), None);
}

#[test]
fn first_name_counts() {
    let mut edid = block(54, 0xfc, b"first\n");
    edid[90..100].copy_from_slice(b"\0\0\0\xfc\0other");
    assert_eq!(name(&seal(edid)).as_deref(), Some("first"));
}

#[test]
fn other_descriptors_are_no_name() {
    for tag in (0..=255).filter(|tag| *tag != 0xfc) {
        assert_eq!(name(&block(54, tag, b"serial\n")), None);
    }
    // A detailed timing whose fourth byte happens to be the tag.
    for byte in 54..57 {
        let mut edid = block(54, 0xfc, b"timing\n");
        edid[byte] = 1;
        assert_eq!(name(&seal(edid)), None);
    }
}

#[test]
fn each_byte_counts_for_header_and_checksum() {
    let good = block(108, 0xfc, b"name\n");
    assert!(name(&good).is_some());
    for at in 0..128 {
        let mut bad = good;
        bad[at] ^= 0x20;
        assert_eq!(name(&bad), None, "checksum, byte {at}");
    }
    for at in 0..8 {
        let mut bad = good;
        bad[at] ^= 0x20;
        let sum = bad[..127]
            .iter()
            .fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        bad[127] = sum.wrapping_neg();
        assert_eq!(name(&bad), None, "header, byte {at}");
    }
}

#[test]
fn whole_block_is_needed_and_enough() {
    let good = block(108, 0xfc, b"name\n");
    for len in 0..128 {
        assert_eq!(name(&good[..len]), None);
    }
    let mut long = good.to_vec();
    long.extend([0xff; 896]);
    assert_eq!(name(&long).as_deref(), Some("name"));
}

#[test]
fn name_survives_a_response() {
    let mut bytes = vec![0x04, 0x11, 0, 0];
    bytes.resize(24, 0);
    bytes.extend([128, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(block(90, 0xfc, b"virtio\n"));
    let edid = Edid::decode(&bytes).unwrap();
    assert_eq!(name(edid.edid()).as_deref(), Some("virtio"));
}

proptest! {
    #[test]
    fn any_name_is_printable_and_from_the_block(
        bytes in proptest::collection::vec(any::<u8>(), 128),
        at in proptest::sample::select(&DESCRIPTORS[..]),
    ) {
        let mut edid: [u8; 128] = bytes.try_into().unwrap();
        edid[at..at + 4].copy_from_slice(&[0, 0, 0, 0xfc]);
        let edid = seal(edid);
        if let Some(name) = name(&edid) {
            prop_assert!(name.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            prop_assert!(name.bytes().all(|byte| edid[at + 5..at + 18].contains(&byte)));
        } else {
            let first = edid[at + 5];
            prop_assert!(!(0x20..0x7f).contains(&first));
        }
    }

    #[test]
    fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(edid_name(&bytes), None);
    }
}
