// SPDX-License-Identifier: GPL-2.0

//! Tests of the commands of a display: resources, scanouts and cursors.

use proptest::prelude::*;
use zerocopy::IntoBytes;

use crate::{
    command::*,
    command_tests::{
        check_command,
        words, //
    },
};

pub(crate) fn rect() -> Rect {
    Rect {
        x: 0x1112_1314.into(),
        y: 0x2122_2324.into(),
        width: 0x3132_3334.into(),
        height: 0x4142_4344.into(),
    }
}

/// [`rect`] on the wire.
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
            resource_id: 0xaabb_ccdd.into(),
            format: format.into(),
            width: 0x0102_0304.into(),
            height: 0x0506_0708.into(),
        };
        let mut body = [0xdd, 0xcc, 0xbb, 0xaa, 0, 0, 0, 0, 4, 3, 2, 1, 8, 7, 6, 5];
        body[4] = value as u8;
        check_command(&command, 0x0101, &body);
    }
}

#[test]
fn only_what_is_blended_has_alpha() {
    for (fourcc, screen, cursor) in [
        (XRGB8888, Format::B8G8R8X8, Format::B8G8R8X8),
        (ARGB8888, Format::B8G8R8X8, Format::B8G8R8A8),
        (XBGR8888, Format::R8G8B8X8, Format::R8G8B8X8),
        (ABGR8888, Format::R8G8B8X8, Format::R8G8B8X8),
    ] {
        assert_eq!(Format::of(fourcc, false), screen);
        assert_eq!(Format::of(fourcc, true), cursor);
    }
}

#[test]
fn resource_unref_is_encoded() {
    let command = ResourceUnref {
        resource_id: 0xaabb_ccdd.into(),
        ..Default::default()
    };
    check_command(&command, 0x0102, &[0xdd, 0xcc, 0xbb, 0xaa, 0, 0, 0, 0]);
}

#[test]
fn set_scanout_is_encoded() {
    let command = SetScanout {
        r: rect(),
        scanout_id: 0x0102_0304.into(),
        resource_id: 0xaabb_ccdd.into(),
    };
    let body = with_rect(&[4, 3, 2, 1, 0xdd, 0xcc, 0xbb, 0xaa]);
    check_command(&command, 0x0103, &body);
}

#[test]
fn scanout_is_turned_off_by_no_resource() {
    let command = SetScanout {
        r: Rect::default(),
        scanout_id: 1.into(),
        resource_id: NO_RESOURCE.into(),
    };
    check_command(&command, 0x0103, &words(&[0, 0, 0, 0, 1, 0]));
}

#[test]
fn resource_flush_is_encoded() {
    let command = ResourceFlush {
        r: rect(),
        resource_id: 0xaabb_ccdd.into(),
        ..Default::default()
    };
    let body = with_rect(&[0xdd, 0xcc, 0xbb, 0xaa, 0, 0, 0, 0]);
    check_command(&command, 0x0104, &body);
}

#[test]
fn transfer_to_host_2d_is_encoded() {
    let command = TransferToHost2d {
        r: rect(),
        offset: 0x0102_0304_0506_0708.into(),
        resource_id: 0xaabb_ccdd.into(),
        ..Default::default()
    };
    let body = with_rect(&[8, 7, 6, 5, 4, 3, 2, 1, 0xdd, 0xcc, 0xbb, 0xaa, 0, 0, 0, 0]);
    check_command(&command, 0x0105, &body);
}

#[test]
fn resource_attach_backing_is_encoded() {
    let command = ResourceAttachBacking {
        resource_id: 0xaabb_ccdd.into(),
        nr_entries: 0x0102_0304.into(),
    };
    check_command(&command, 0x0106, &[0xdd, 0xcc, 0xbb, 0xaa, 4, 3, 2, 1]);
}

#[test]
fn mem_entry_is_encoded() {
    let entry = MemEntry {
        addr: 0x0102_0304_0506_0708.into(),
        length: 0x1112_1314.into(),
        ..Default::default()
    };
    let bytes = [8, 7, 6, 5, 4, 3, 2, 1, 0x14, 0x13, 0x12, 0x11, 0, 0, 0, 0];
    assert_eq!(entry.as_bytes(), bytes);

    let highest = MemEntry {
        addr: u64::MAX.into(),
        length: u32::MAX.into(),
        ..Default::default()
    };
    assert_eq!(highest.as_bytes()[..12], [0xff; 12]);
    assert_eq!(highest.as_bytes()[12..], [0; 4]);
}

#[test]
fn resource_detach_backing_is_encoded() {
    let command = ResourceDetachBacking {
        resource_id: 0xaabb_ccdd.into(),
        ..Default::default()
    };
    check_command(&command, 0x0107, &[0xdd, 0xcc, 0xbb, 0xaa, 0, 0, 0, 0]);
}

#[test]
fn update_cursor_is_encoded() {
    let command = UpdateCursor {
        scanout_id: 0x0102_0304.into(),
        x: 0x1112_1314.into(),
        y: (-2i32 as u32).into(),
        resource_id: 0xaabb_ccdd.into(),
        hot_x: 0x3132_3334.into(),
        hot_y: 0x4142_4344.into(),
        ..Default::default()
    };
    let body = [
        4, 3, 2, 1, 0x14, 0x13, 0x12, 0x11, 0xfe, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xdd, 0xcc, 0xbb,
        0xaa, 0x34, 0x33, 0x32, 0x31, 0x44, 0x43, 0x42, 0x41, 0, 0, 0, 0,
    ];
    check_command(&command, 0x0300, &body);
}

#[test]
fn move_cursor_is_encoded() {
    let command = MoveCursor::from(UpdateCursor {
        scanout_id: 0x0102_0304.into(),
        x: 0x1112_1314.into(),
        y: 0x2122_2324.into(),
        resource_id: 0xaabb_ccdd.into(),
        hot_x: 0x3132_3334.into(),
        hot_y: 0x4142_4344.into(),
        ..Default::default()
    });
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
    command.encode(Header::default()).as_bytes()[24..]
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
        let [x, y, width, height, scanout_id, resource_id] = words.map(Into::into);
        let r = Rect { x, y, width, height };
        let set = SetScanout { r, scanout_id, resource_id };
        prop_assert_eq!(body(&set), words);

        let [a, b, c, d, e, f] = words;
        let flush = ResourceFlush { r, resource_id: e.into(), ..Default::default() };
        prop_assert_eq!(body(&flush), [a, b, c, d, e, 0]);
        let (low, high) = (offset as u32, (offset >> 32) as u32);
        let transfer = TransferToHost2d {
            r, offset: offset.into(), resource_id: e.into(), ..Default::default()
        };
        prop_assert_eq!(body(&transfer), [a, b, c, d, low, high, e, 0]);

        let [scanout_id, x, y, resource_id, hot_x, hot_y] = words.map(Into::into);
        let update = UpdateCursor {
            scanout_id, x, y, resource_id, hot_x, hot_y, ..Default::default()
        };
        prop_assert_eq!(body(&update), [a, b, c, 0, d, e, f, 0]);
        let moved = MoveCursor::from(update);
        prop_assert_eq!(body(&moved), [a, b, c, 0, d, 0, 0, 0]);
    }

    #[test]
    fn any_entry_survives_the_round_trip(addr: u64, length: u32) {
        let entry = MemEntry {
            addr: addr.into(), length: length.into(), ..Default::default()
        };
        let bytes = entry.as_bytes();
        prop_assert_eq!(bytes.len(), 16);
        prop_assert_eq!(u64::from_le_bytes(*bytes.first_chunk().unwrap()), addr);
        prop_assert_eq!(u32::from_le_bytes(*bytes[8..].first_chunk().unwrap()), length);
        prop_assert_eq!(&bytes[12..], [0; 4]);
    }
}
