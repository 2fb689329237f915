// SPDX-License-Identifier: GPL-2.0

//! The bytes of every command and of every response, as a device and the driver exchange them.
//!
//! The strings are the protocol: they do not change when the code that makes the bytes does.

use std::fmt::Debug;

use zerocopy::{
    FromBytes,
    IntoBytes, //
};

use crate::command::*;

/// Flags, fence, context and timeline of a command that only asks.
const PLAIN: &str = "00000000 00000000 00000000 00000000 00000000";

/// The same of a command with the fence [`FENCE`].
const FENCED: &str = "01000000 88776655 44332211 00000000 00000000";
const FENCE: u64 = 0x1122_3344_5566_7788;

/// The same of [`full`], each field with a value of its own.
const FULL_HEX: &str = "b1b2b3b4 88776655 44332211 c1c2c3c4 d1000000";
fn full() -> Header {
    Header {
        flags: 0xb4b3_b2b1.into(),
        fence_id: FENCE.into(),
        ctx_id: 0xc4c3_c2c1.into(),
        ring_idx: 0xd1,
        ..Default::default()
    }
}

fn rect() -> Rect {
    Rect {
        x: 0x1413_1211.into(),
        y: 0x2423_2221.into(),
        width: 0x3433_3231.into(),
        height: 0x4443_4241.into(),
    }
}
const R_HEX: &str = "11121314 21222324 31323334 41424344";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let pairs = digits.chunks_exact(2);
    assert!(pairs.remainder().is_empty());
    pairs.map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

fn encoded<C: Command>(command: &C, header: Header) -> Vec<u8> {
    let bytes = command.encode(header).as_bytes().to_vec();
    assert_eq!(bytes.len(), C::SIZE);
    bytes
}

/// Checks the bytes of `command`: its type, then one of the headers, then `body`.
fn check<C: Command>(command: C, kind: &str, body: &str) {
    for (header, hex) in [
        (Header::default(), PLAIN),
        (Header::fenced(FENCE), FENCED),
        (full(), FULL_HEX),
    ] {
        let wanted = bytes(&format!("{kind} {hex} {body}"));
        assert_eq!(encoded(&command, header), wanted, "type {kind}");
    }
}

#[test]
fn questions_have_these_bytes() {
    let (scanout, capset_index) = (0x5453_5251.into(), 0x5453_5251.into());
    check(GetDisplayInfo, "00010000", "");
    check(
        GetCapsetInfo {
            capset_index,
            ..Default::default()
        },
        "08010000",
        "51525354 00000000",
    );
    check(
        GetEdid {
            scanout,
            ..Default::default()
        },
        "0a010000",
        "51525354 00000000",
    );
}

#[test]
fn commands_of_resources_have_these_bytes() {
    let (r, resource_id) = (rect(), 0x6463_6261.into());
    let command = ResourceCreate2d {
        resource_id,
        format: Format::R8G8B8X8.into(),
        width: 0x7473_7271.into(),
        height: 0x8483_8281.into(),
    };
    check(command, "01010000", "61626364 86000000 71727374 81828384");
    let command = ResourceUnref {
        resource_id,
        ..Default::default()
    };
    check(command, "02010000", "61626364 00000000");
    let command = SetScanout {
        r,
        scanout_id: 0x5453_5251.into(),
        resource_id,
    };
    check(command, "03010000", &format!("{R_HEX} 51525354 61626364"));
    let command = ResourceFlush {
        r,
        resource_id,
        ..Default::default()
    };
    check(command, "04010000", &format!("{R_HEX} 61626364 00000000"));
    let command = TransferToHost2d {
        r,
        offset: 0x9897_9695_9493_9291.into(),
        resource_id,
        ..Default::default()
    };
    let body = format!("{R_HEX} 91929394 95969798 61626364 00000000");
    check(command, "05010000", &body);
    let command = ResourceAttachBacking {
        resource_id,
        nr_entries: 0x7473_7271.into(),
    };
    check(command, "06010000", "61626364 71727374");
    let command = ResourceDetachBacking {
        resource_id,
        ..Default::default()
    };
    check(command, "07010000", "61626364 00000000");
}

#[test]
fn commands_of_contexts_have_these_bytes() {
    let resource_id = 0x6463_6261.into();
    let mut debug_name = [0; DEBUG_NAME_SIZE];
    debug_name[..4].copy_from_slice(b"name");
    let command = CtxCreate {
        nlen: 4.into(),
        context_init: 0x5453_5251.into(),
        debug_name,
    };
    let rest = "00000000".repeat(15);
    check(
        command,
        "00020000",
        &format!("04000000 51525354 6e616d65 {rest}"),
    );
    check(CtxDestroy, "01020000", "");
    let command = CtxAttachResource {
        resource_id,
        ..Default::default()
    };
    check(command, "02020000", "61626364 00000000");
    let command = CtxDetachResource {
        resource_id,
        ..Default::default()
    };
    check(command, "03020000", "61626364 00000000");
    let command = Submit3d {
        size: 0x7473_7271.into(),
        ..Default::default()
    };
    check(command, "07020000", "71727374 00000000");
    let command = GetCapset {
        capset_id: 0x5453_5251.into(),
        capset_version: 0x6463_6261.into(),
    };
    check(command, "09010000", "51525354 61626364");
}

#[test]
fn commands_of_3d_resources_have_these_bytes() {
    let resource_id = 0x6463_6261.into();
    let command = ResourceCreate3d {
        resource_id,
        target: 0x01.into(),
        format: 0x02.into(),
        bind: 0x03.into(),
        width: 0x04.into(),
        height: 0x05.into(),
        depth: 0x06.into(),
        array_size: 0x07.into(),
        last_level: 0x08.into(),
        nr_samples: 0x09.into(),
        flags: 0x0a.into(),
        ..Default::default()
    };
    let body = "61626364 01000000 02000000 03000000 04000000 05000000 06000000 07000000 \
                08000000 09000000 0a000000 00000000";
    check(command, "04020000", body);
    let transfer = TransferToHost3d {
        part: Box3d {
            x: 0x01.into(),
            y: 0x02.into(),
            z: 0x03.into(),
            w: 0x04.into(),
            h: 0x05.into(),
            d: 0x06.into(),
        },
        offset: 0x9897_9695_9493_9291.into(),
        resource_id,
        level: 0x07.into(),
        stride: 0x08.into(),
        layer_stride: 0x09.into(),
    };
    let body = "01000000 02000000 03000000 04000000 05000000 06000000 91929394 95969798 \
                61626364 07000000 08000000 09000000";
    check(transfer, "05020000", body);
    check(TransferFromHost3d { transfer }, "06020000", body);
}

#[test]
fn headers_of_contexts_have_these_bytes() {
    let hex = |header: Header| encoded(&CtxDestroy, header)[4..].to_vec();
    let context = Header::of_context(0x0403_0201);
    let plain = bytes("00000000 00000000 00000000 01020304 00000000");
    assert_eq!(hex(context), plain);
    assert_eq!(hex(context.on_ring(None)), plain);
    let on_ring = bytes("02000000 00000000 00000000 01020304 07000000");
    assert_eq!(hex(context.on_ring(Some(7))), on_ring);
}

#[test]
fn memory_entry_has_these_bytes() {
    let entry = MemEntry {
        addr: 0x9897_9695_9493_9291.into(),
        length: 0x7473_7271.into(),
        ..Default::default()
    };
    let wanted = bytes("91929394 95969798 71727374 00000000");
    assert_eq!(entry.as_bytes(), wanted);
}

#[test]
fn commands_of_the_cursor_have_these_bytes() {
    let update = UpdateCursor {
        scanout_id: 0x5453_5251.into(),
        x: 0x1413_1211.into(),
        y: 0x2423_2221.into(),
        resource_id: 0x6463_6261.into(),
        hot_x: 0x7473_7271.into(),
        hot_y: 0x8483_8281.into(),
        ..Default::default()
    };
    let place = "51525354 11121314 21222324 00000000 61626364";
    let body = format!("{place} 71727374 81828384 00000000");
    check(update, "00030000", &body);
    let body = format!("{place} 00000000 00000000 00000000");
    check(MoveCursor::from(update), "01030000", &body);
}

/// `len` bytes that count from 0 on.
fn counting(len: usize) -> Vec<u8> {
    (0..len).map(|byte| byte as u8).collect()
}

/// A response of this type with `body` bytes that count, cut or filled up to `len` bytes.
fn response(kind: u32, len: usize) -> Vec<u8> {
    let mut response = kind.to_le_bytes().to_vec();
    response.extend(bytes(FULL_HEX));
    response.extend(counting(2048));
    response.truncate(len);
    response
}

/// A response with an EDID of this size, cut to `len` bytes.
fn edid_response(size: u32, len: usize) -> Vec<u8> {
    let mut response = response(0x1104, 32 + 2048 - 8);
    response[24..28].copy_from_slice(&size.to_le_bytes());
    response.truncate(len);
    response
}

/// What is decoded, as text.
trait Text {
    fn text(&self) -> String;
}

impl Text for NoData {
    fn text(&self) -> String {
        "done".into()
    }
}

impl Text for NoResponse {
    fn text(&self) -> String {
        "nothing".into()
    }
}

impl Text for CapsetInfo {
    fn text(&self) -> String {
        format!(
            "{:x} {:x} {:x}",
            self.capset_id, self.capset_max_version, self.capset_max_size
        )
    }
}

impl Text for DisplayInfo {
    fn text(&self) -> String {
        let one = |index: usize| {
            let DisplayOne { r, enabled, flags } = self.pmodes[index];
            let Rect {
                x,
                y,
                width,
                height,
            } = r;
            let enabled = enabled != 0;
            format!("{x:x} {y:x} {width:x} {height:x} {enabled} {flags:x}")
        };
        format!("{}, {}", one(0), one(15))
    }
}

impl Text for Edid {
    fn text(&self) -> String {
        let sum: usize = self.edid().iter().map(|byte| usize::from(*byte)).sum();
        format!("{} {:?} {sum}", self.edid().len(), self.edid().first())
    }
}

fn decoded<R: Response + Text + Debug>(bytes: &[u8]) -> String {
    match R::decode(bytes) {
        Ok(response) => response.text(),
        Err(error) => format!("{error:?}"),
    }
}

const DISPLAY: &str = "3020100 7060504 b0a0908 f0e0d0c true 17161514, \
                       6b6a6968 6f6e6d6c 73727170 77767574 true 7f7e7d7c";

/// Length of a response of some type, and what it is decoded to.
type Rows<'a> = &'a [(u32, usize, &'a str)];

fn check_decoded<R: Response + Text + Debug>(rows: Rows<'_>) {
    for (kind, len, wanted) in rows {
        let text = decoded::<R>(&response(*kind, *len));
        assert_eq!(text, *wanted, "{len} bytes of type {kind:#x}");
    }
}

#[test]
fn responses_are_decoded_to_these() {
    check_decoded::<NoData>(&[
        (0x1100, 24, "done"),
        (0x1100, 25, "done"),
        (0x1100, 23, "Short { needed: 24, got: 23 }"),
        (0x1100, 0, "Short { needed: 24, got: 0 }"),
        (0x1101, 24, "Unexpected(4353)"),
        (0x1100, 1056, "done"),
        (0x1200, 24, "Device(DeviceError(4608))"),
        (0x12ff, 408, "Device(DeviceError(4863))"),
        (0x1200, 23, "Short { needed: 24, got: 23 }"),
        (0x1300, 24, "Unexpected(4864)"),
        (0, 24, "Unexpected(0)"),
        (u32::MAX, 24, "Unexpected(4294967295)"),
    ]);
    check_decoded::<NoResponse>(&[(0x1100, 0, "nothing"), (0x1200, 24, "nothing")]);
    check_decoded::<CapsetInfo>(&[
        (0x1102, 40, "3020100 7060504 b0a0908"),
        (0x1102, 48, "3020100 7060504 b0a0908"),
        (0x1102, 39, "Short { needed: 40, got: 39 }"),
        (0x1102, 24, "Short { needed: 40, got: 24 }"),
        (0x1102, 7, "Short { needed: 24, got: 7 }"),
        (0x1100, 24, "Unexpected(4352)"),
        (0x1104, 40, "Unexpected(4356)"),
        (0x1205, 24, "Device(DeviceError(4613))"),
    ]);
    check_decoded::<DisplayInfo>(&[
        (0x1101, 408, DISPLAY),
        (0x1101, 1056, DISPLAY),
        (0x1101, 407, "Short { needed: 408, got: 407 }"),
        (0x1101, 24, "Short { needed: 408, got: 24 }"),
        (0x1101, 23, "Short { needed: 24, got: 23 }"),
        (0x1100, 24, "Unexpected(4352)"),
        (0x1102, 408, "Unexpected(4354)"),
        (0x1202, 40, "Device(DeviceError(4610))"),
    ]);
}

#[test]
fn edids_are_decoded_to_these() {
    check_decoded::<Edid>(&[
        (0x1100, 24, "Unexpected(4352)"),
        (0x1101, 1056, "Unexpected(4353)"),
        (0x1201, 24, "Device(DeviceError(4609))"),
        (0x1104, 24, "Short { needed: 32, got: 24 }"),
        (0x1104, 31, "Short { needed: 32, got: 31 }"),
        (0x1104, 11, "Short { needed: 24, got: 11 }"),
        // The size is the first word of those that count.
        (0x1104, 1056, "EdidSize(50462976)"),
    ]);
    for (size, len, wanted) in [
        (0, 32, "0 None 0"),
        (0, 1056, "0 None 0"),
        (1, 33, "1 Some(8) 8"),
        (128, 160, "128 Some(8) 9152"),
        (128, 161, "128 Some(8) 9152"),
        (128, 159, "Short { needed: 160, got: 159 }"),
        (128, 32, "Short { needed: 160, got: 32 }"),
        (1024, 1056, "1024 Some(8) 130560"),
        (1024, 2000, "1024 Some(8) 130560"),
        (1024, 1055, "Short { needed: 1056, got: 1055 }"),
        (1025, 1056, "EdidSize(1025)"),
        (1025, 2000, "EdidSize(1025)"),
        (u32::MAX, 32, "EdidSize(4294967295)"),
    ] {
        let text = decoded::<Edid>(&edid_response(size, len));
        assert_eq!(text, wanted, "EDID of {size} bytes in {len}");
    }
}

#[test]
fn capability_sets_are_decoded_to_these() {
    for (kind, len, wanted) in [
        (0x1103, 24, Ok(0)),
        (0x1103, 25, Ok(1)),
        (0x1103, 1400, Ok(1376)),
        (0x1103, 23, Err("Short { needed: 24, got: 23 }")),
        (0x1100, 1400, Err("Unexpected(4352)")),
        (0x1102, 40, Err("Unexpected(4354)")),
        (0x1200, 24, Err("Device(DeviceError(4608))")),
    ] {
        let response = response(kind, len);
        let found = capset_data(&response).map_err(|error| format!("{error:?}"));
        match wanted {
            Ok(len) => assert_eq!(found, Ok(&counting(len)[..])),
            Err(text) => assert_eq!(found, Err(text.into())),
        }
    }
}

#[test]
fn header_of_a_response_has_these_fields() {
    for kind in [0, 0x1100, 0x1205, u32::MAX] {
        let header = Header::read_from_bytes(&response(kind, 24)).unwrap();
        assert_eq!(header.kind, kind);
        let kind = header.kind;
        assert_eq!(header, Header { kind, ..full() });
    }
}
