// SPDX-License-Identifier: GPL-2.0

//! Tests of the commands of a display: resources, scanouts and cursors.

use proptest::prelude::*;

use crate::{
    command::*,
    command_tests::{
        check_command,
        words, //
    },
};

const R: Rect = Rect {
    x: 0x1112_1314,
    y: 0x2122_2324,
    width: 0x3132_3334,
    height: 0x4142_4344,
};

/// [`R`] on the wire.
const R_BYTES: [u8; 16] = [
    0x14, 0x13, 0x12, 0x11, 0x24, 0x23, 0x22, 0x21, 0x34, 0x33, 0x32, 0x31, 0x44, 0x43, 0x42, 0x41,
];

const FORMATS: [(Format, u32); 8] = [
    (Format::B8G8R8A8, 1),
    (Format::B8G8R8X8, 2),
    (Format::A8R8G8B8, 3),
    (Format::X8R8G8B8, 4),
    (Format::R8G8B8A8, 67),
    (Format::X8B8G8R8, 68),
    (Format::A8B8G8R8, 121),
    (Format::R8G8B8X8, 134),
];

fn with_rect(rest: &[u8]) -> Vec<u8> {
    [&R_BYTES, rest].concat()
}

#[test]
fn resource_create_2d_is_encoded() {
    for (format, value) in FORMATS {
        let command = ResourceCreate2d {
            resource_id: 0xaabb_ccdd,
            format,
            width: 0x0102_0304,
            height: 0x0506_0708,
        };
        let mut body = [0xdd, 0xcc, 0xbb, 0xaa, 0, 0, 0, 0, 4, 3, 2, 1, 8, 7, 6, 5];
        body[4] = value as u8;
        check_command(&command, 0x0101, &body);
    }
}

#[test]
fn resource_unref_is_encoded() {
    let command = ResourceUnref {
        resource_id: 0xaabb_ccdd,
    };
    check_command(&command, 0x0102, &[0xdd, 0xcc, 0xbb, 0xaa, 0, 0, 0, 0]);
}

#[test]
fn set_scanout_is_encoded() {
    let command = SetScanout {
        r: R,
        scanout_id: 0x0102_0304,
        resource_id: 0xaabb_ccdd,
    };
    let body = with_rect(&[4, 3, 2, 1, 0xdd, 0xcc, 0xbb, 0xaa]);
    check_command(&command, 0x0103, &body);
}

#[test]
fn scanout_is_turned_off_by_no_resource() {
    let command = SetScanout {
        r: Rect::default(),
        scanout_id: 1,
        resource_id: NO_RESOURCE,
    };
    check_command(&command, 0x0103, &words(&[0, 0, 0, 0, 1, 0]));
}

#[test]
fn resource_flush_is_encoded() {
    let command = ResourceFlush {
        r: R,
        resource_id: 0xaabb_ccdd,
    };
    let body = with_rect(&[0xdd, 0xcc, 0xbb, 0xaa, 0, 0, 0, 0]);
    check_command(&command, 0x0104, &body);
}

#[test]
fn transfer_to_host_2d_is_encoded() {
    let command = TransferToHost2d {
        r: R,
        offset: 0x0102_0304_0506_0708,
        resource_id: 0xaabb_ccdd,
    };
    let body = with_rect(&[8, 7, 6, 5, 4, 3, 2, 1, 0xdd, 0xcc, 0xbb, 0xaa, 0, 0, 0, 0]);
    check_command(&command, 0x0105, &body);
}

#[test]
fn resource_attach_backing_is_encoded() {
    let command = ResourceAttachBacking {
        resource_id: 0xaabb_ccdd,
        nr_entries: 0x0102_0304,
    };
    check_command(&command, 0x0106, &[0xdd, 0xcc, 0xbb, 0xaa, 4, 3, 2, 1]);
}

#[test]
fn mem_entry_is_encoded() {
    let entry = MemEntry {
        addr: 0x0102_0304_0506_0708,
        length: 0x1112_1314,
    };
    let bytes = [8, 7, 6, 5, 4, 3, 2, 1, 0x14, 0x13, 0x12, 0x11, 0, 0, 0, 0];
    assert_eq!(entry.encode(), bytes);

    let highest = MemEntry {
        addr: u64::MAX,
        length: u32::MAX,
    };
    assert_eq!(highest.encode()[..12], [0xff; 12]);
    assert_eq!(highest.encode()[12..], [0; 4]);
}

#[test]
fn resource_detach_backing_is_encoded() {
    let command = ResourceDetachBacking {
        resource_id: 0xaabb_ccdd,
    };
    check_command(&command, 0x0107, &[0xdd, 0xcc, 0xbb, 0xaa, 0, 0, 0, 0]);
}

#[test]
fn update_cursor_is_encoded() {
    let command = UpdateCursor {
        scanout_id: 0x0102_0304,
        x: 0x1112_1314,
        y: -2i32 as u32,
        resource_id: 0xaabb_ccdd,
        hot_x: 0x3132_3334,
        hot_y: 0x4142_4344,
    };
    let body = [
        4, 3, 2, 1, 0x14, 0x13, 0x12, 0x11, 0xfe, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xdd, 0xcc, 0xbb,
        0xaa, 0x34, 0x33, 0x32, 0x31, 0x44, 0x43, 0x42, 0x41, 0, 0, 0, 0,
    ];
    check_command(&command, 0x0300, &body);
}

#[test]
fn move_cursor_is_encoded() {
    let command = MoveCursor {
        scanout_id: 0x0102_0304,
        x: 0x1112_1314,
        y: 0x2122_2324,
        resource_id: 0xaabb_ccdd,
    };
    let body = [
        4, 3, 2, 1, 0x14, 0x13, 0x12, 0x11, 0x24, 0x23, 0x22, 0x21, 0, 0, 0, 0, 0xdd, 0xcc, 0xbb,
        0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    check_command(&command, 0x0301, &body);
}

/// What a device answers to `C` is `OK_NODATA`, with room for it in the request.
fn check_answer<C: Command<Response = NoData>>() {
    let mut bytes = [0; 24];
    bytes[..2].copy_from_slice(&[0x00, 0x11]);
    assert_eq!(C::Response::SIZE, bytes.len());
    assert_eq!(C::Response::decode(&bytes), Ok(NoData));

    // ERR_OUT_OF_MEMORY
    bytes[..2].copy_from_slice(&[0x01, 0x12]);
    let refused = ResponseError::Device(DeviceError(0x1201));
    assert_eq!(C::Response::decode(&bytes), Err(refused));
}

#[test]
fn control_commands_are_answered() {
    check_answer::<ResourceCreate2d>();
    check_answer::<ResourceUnref>();
    check_answer::<SetScanout>();
    check_answer::<ResourceFlush>();
    check_answer::<TransferToHost2d>();
    check_answer::<ResourceAttachBacking>();
    check_answer::<ResourceDetachBacking>();
}

#[test]
fn cursor_commands_are_not_answered() {
    assert_eq!(<UpdateCursor as Command>::Response::SIZE, 0);
    assert_eq!(<MoveCursor as Command>::Response::SIZE, 0);
}

/// The 32-bit words of the body of `command`.
fn body<C: Command>(command: &C) -> Vec<u32> {
    let mut out = [0xff; MAX_COMMAND_SIZE];
    let size = command.encode(Header::default(), &mut out).unwrap();
    out[24..size]
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(*word.first_chunk().unwrap()))
        .collect()
}

proptest! {
    #[test]
    fn any_words_are_where_they_belong(
        words in proptest::array::uniform6(any::<u32>()),
        offset: u64,
    ) {
        let [a, b, c, d, e, f] = words;
        let r = Rect { x: a, y: b, width: c, height: d };
        let (low, high) = (offset as u32, (offset >> 32) as u32);

        let set = SetScanout { r, scanout_id: e, resource_id: f };
        prop_assert_eq!(body(&set), words);
        let flush = ResourceFlush { r, resource_id: e };
        prop_assert_eq!(body(&flush), [a, b, c, d, e, 0]);
        let transfer = TransferToHost2d { r, offset, resource_id: e };
        prop_assert_eq!(body(&transfer), [a, b, c, d, low, high, e, 0]);
        let update = UpdateCursor {
            scanout_id: a, x: b, y: c, resource_id: d, hot_x: e, hot_y: f,
        };
        prop_assert_eq!(body(&update), [a, b, c, 0, d, e, f, 0]);
        let moved = MoveCursor { scanout_id: a, x: b, y: c, resource_id: d };
        prop_assert_eq!(body(&moved), [a, b, c, 0, d, 0, 0, 0]);
    }

    #[test]
    fn any_entry_survives_the_round_trip(addr: u64, length: u32) {
        let bytes = MemEntry { addr, length }.encode();
        prop_assert_eq!(bytes.len(), MemEntry::SIZE);
        prop_assert_eq!(u64::from_le_bytes(*bytes.first_chunk().unwrap()), addr);
        prop_assert_eq!(u32::from_le_bytes(*bytes[8..].first_chunk().unwrap()), length);
        prop_assert_eq!(&bytes[12..], [0; 4]);
    }
}
