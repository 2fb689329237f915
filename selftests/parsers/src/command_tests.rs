// SPDX-License-Identifier: GPL-2.0

//! Tests of the wire format.

use std::fmt::Debug;

use proptest::prelude::*;
use zerocopy::{
    FromBytes,
    IntoBytes, //
};

use crate::command::*;

/// The header of all commands and responses here, but for the type.
pub(crate) fn header() -> Header {
    Header {
        flags: (FLAG_FENCE | FLAG_INFO_RING_IDX).into(),
        fence_id: 0x0123_4567_89ab_cdef.into(),
        ctx_id: 0x1122_3344.into(),
        ring_idx: 0x55,
        ..Default::default()
    }
}

/// [`header`] on the wire, after the type.
const HEADER_BYTES: [u8; 20] = [
    0x03, 0x00, 0x00, 0x00, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 0x44, 0x33, 0x22, 0x11,
    0x55, 0x00, 0x00, 0x00,
];

const OK_NODATA: u32 = 0x1100;
const OK_DISPLAY_INFO: u32 = 0x1101;
const OK_CAPSET_INFO: u32 = 0x1102;
const OK_EDID: u32 = 0x1104;

/// A response with this type and body.
fn response(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend(HEADER_BYTES);
    bytes.extend(body);
    bytes
}

pub(crate) fn words(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn edid_response(size: u32, data: &[u8]) -> Vec<u8> {
    let mut body = words(&[size, 0]);
    body.extend(data);
    response(OK_EDID, &body)
}

/// The bytes of a command with [`header`].
pub(crate) fn encoded<C: Command>(command: &C) -> Vec<u8> {
    command.encode(header()).as_bytes().to_vec()
}

/// Checks `command` against its type and what follows its header.
pub(crate) fn check_command<C: Command>(command: &C, kind: u32, body: &[u8]) {
    let mut wanted = kind.to_le_bytes().to_vec();
    wanted.extend(HEADER_BYTES);
    wanted.extend(body);
    assert_eq!(encoded(command), wanted);
    assert_eq!(C::SIZE, wanted.len());
    assert_eq!(C::TYPE, kind);
    assert!(C::SIZE <= MAX_COMMAND_SIZE);
}

#[test]
fn get_display_info_is_encoded() {
    check_command(&GetDisplayInfo, 0x0100, &[]);
}

#[test]
fn get_capset_info_is_encoded() {
    let command = GetCapsetInfo {
        capset_index: 0xaabb_ccdd.into(),
        ..Default::default()
    };
    check_command(&command, 0x0108, &[0xdd, 0xcc, 0xbb, 0xaa, 0, 0, 0, 0]);
}

#[test]
fn get_edid_is_encoded() {
    let command = GetEdid {
        scanout: 0xaabb_ccdd.into(),
        ..Default::default()
    };
    check_command(&command, 0x010a, &[0xdd, 0xcc, 0xbb, 0xaa, 0, 0, 0, 0]);
}

#[test]
fn fenced_header_has_the_flag() {
    let message = GetDisplayInfo.encode(Header::fenced(0x1_0000_0002));
    let out = message.as_bytes();
    assert_eq!(out.len(), 24);
    assert_eq!(out[4..16], [1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(out[16..24], [0; 8]);
}

#[test]
fn responses_fit_where_they_are_provided_for() {
    assert_eq!(NoResponse::SIZE, 0);
    assert_eq!(NoData::SIZE, 24);
    assert_eq!(CapsetInfo::SIZE, 40);
    assert_eq!(DisplayInfo::SIZE, 408);
    assert_eq!(Edid::SIZE, 1056);
    assert_eq!(MAX_RESPONSE_SIZE, Edid::SIZE);
}

#[test]
fn header_is_decoded_whatever_the_type() {
    for kind in [0, OK_NODATA, 0x1200, 0xffff_ffff] {
        let bytes = response(kind, &[9; 100]);
        let (decoded, rest) = Header::read_from_prefix(&bytes).unwrap();
        let kind = kind.into();
        assert_eq!(decoded, Header { kind, ..header() });
        assert_eq!(rest, [9; 100]);
    }
}

/// Checks what all responses have in common. `good` is the shortest that is taken.
fn check_response<R: Response + Debug + PartialEq>(good: &[u8]) {
    assert!(R::decode(good).is_ok());
    assert!(good.len() <= R::SIZE);

    // Longer is fine: a device may fill the whole buffer.
    let mut long = good.to_vec();
    long.resize(R::SIZE + 8, 0xee);
    assert_eq!(R::decode(&long), R::decode(good));

    for got in 0..good.len() {
        let error = R::decode(&good[..got]).unwrap_err();
        assert!(
            matches!(error, ResponseError::Short { needed, got: g } if g == got && needed > got),
            "{got}: {error:?}"
        );
    }

    for code in (0x1200..0x1210).chain([0x12ff]) {
        for len in [24, good.len()] {
            let mut bytes = good.to_vec();
            bytes[..4].copy_from_slice(&u32::to_le_bytes(code));
            assert_eq!(
                R::decode(&bytes[..len]),
                Err(ResponseError::Device(DeviceError(code)))
            );
        }
    }

    let own: [u8; 4] = good[..4].try_into().unwrap();
    let own = u32::from_le_bytes(own);
    let others = (0x10f0..0x1110).chain([0, 0x100, 0x11ff, 0x1300, 0xffff_ffff]);
    for kind in others.filter(|kind| *kind != own) {
        for len in [24, good.len()] {
            let mut bytes = good.to_vec();
            bytes[..4].copy_from_slice(&kind.to_le_bytes());
            assert_eq!(
                R::decode(&bytes[..len]),
                Err(ResponseError::Unexpected(kind))
            );
        }
    }
}

#[test]
fn common_rules_of_responses() {
    check_response::<NoData>(&response(OK_NODATA, &[]));
    check_response::<CapsetInfo>(&response(OK_CAPSET_INFO, &[1; 16]));
    check_response::<DisplayInfo>(&response(OK_DISPLAY_INFO, &[1; 384]));
    check_response::<Edid>(&edid_response(0, &[]));
    check_response::<Edid>(&edid_response(128, &[1; 128]));
    check_response::<Edid>(&edid_response(1024, &[1; 1024]));
}

#[test]
fn bare_ok_to_a_query_is_unexpected() {
    let bare = response(OK_NODATA, &[]);
    let unexpected = ResponseError::Unexpected(OK_NODATA);
    assert_eq!(DisplayInfo::decode(&bare), Err(unexpected));
    assert_eq!(Edid::decode(&bare), Err(unexpected));
    assert_eq!(CapsetInfo::decode(&bare), Err(unexpected));
}

#[test]
fn no_response_is_no_error() {
    assert_eq!(NoResponse::decode(&[]), Ok(NoResponse));
}

#[test]
fn display_info_is_decoded() {
    let body: Vec<u32> = (0..16u32)
        .flat_map(|n| [n, n << 8, 1000 + n, 0xffff_ff00 + n, n % 3, 0x8000_0000 + n])
        .collect();
    let info = DisplayInfo::decode(&response(OK_DISPLAY_INFO, &words(&body))).unwrap();
    for (n, pmode) in (0..16u32).zip(info.pmodes) {
        assert_eq!(
            pmode,
            DisplayOne {
                r: Rect {
                    x: n.into(),
                    y: (n << 8).into(),
                    width: (1000 + n).into(),
                    height: (0xffff_ff00 + n).into(),
                },
                enabled: (n % 3).into(),
                flags: (0x8000_0000 + n).into(),
            }
        );
    }
}

#[test]
fn fallback_has_one_scanout() {
    let info = DisplayInfo::fallback();
    let on = info.pmodes[0];
    assert_eq!(
        on.r,
        Rect {
            x: 0.into(),
            y: 0.into(),
            width: 1024.into(),
            height: 768.into(),
        }
    );
    assert_eq!(on.enabled, 1);
    assert_eq!(on.flags, 0);
    assert_eq!(info.pmodes[1..], [DisplayOne::default(); 15]);
}

#[test]
fn capset_info_is_decoded() {
    let bytes = response(OK_CAPSET_INFO, &words(&[2, 0x0102_0304, 0xffff_fffe, 7]));
    assert_eq!(
        CapsetInfo::decode(&bytes),
        Ok(CapsetInfo {
            capset_id: 2.into(),
            capset_max_version: 0x0102_0304.into(),
            capset_max_size: 0xffff_fffe.into(),
            padding: 7.into(),
        })
    );
}

#[test]
fn edid_is_cut_to_its_size() {
    let data: Vec<u8> = (0..1024u32).map(|n| (n % 251) as u8).collect();
    for size in [0, 1, 127, 128, 256, 1023, 1024] {
        for came in [size, 1024] {
            let bytes = edid_response(size as u32, &data[..came]);
            assert_eq!(Edid::decode(&bytes).unwrap().edid(), &data[..size]);
        }
    }
}

#[test]
fn edid_beyond_what_came_is_short() {
    let needed = 32 + 129;
    for came in [0, 127, 128] {
        assert_eq!(
            Edid::decode(&edid_response(129, &vec![0; came])),
            Err(ResponseError::Short {
                needed,
                got: 32 + came
            })
        );
    }
    assert!(Edid::decode(&edid_response(129, &[0; 129])).is_ok());
}

#[test]
fn edid_beyond_its_maximum_is_refused() {
    for size in [1025, 0x8000_0000, 0xffff_ffff] {
        for came in [0, 1024, 4096] {
            assert_eq!(
                Edid::decode(&edid_response(size, &vec![0; came])),
                Err(ResponseError::EdidSize(size))
            );
        }
    }
}

#[test]
fn errors_have_the_names_of_the_specification() {
    for (code, name) in [
        (0x1200, "ERR_UNSPEC"),
        (0x1201, "ERR_OUT_OF_MEMORY"),
        (0x1202, "ERR_INVALID_SCANOUT_ID"),
        (0x1203, "ERR_INVALID_RESOURCE_ID"),
        (0x1204, "ERR_INVALID_CONTEXT_ID"),
        (0x1205, "ERR_INVALID_PARAMETER"),
        (0x1206, "ERR_0x1206"),
    ] {
        let error = NoData::decode(&response(code, &[])).unwrap_err();
        assert_eq!(error.to_string(), format!("the device answered {name}"));
    }
    for (error, line) in [
        (
            ResponseError::Short {
                needed: 408,
                got: 24,
            },
            "the response has 24 bytes instead of 408",
        ),
        (
            ResponseError::Unexpected(OK_NODATA),
            "unexpected response type 0x1100",
        ),
        (
            ResponseError::EdidSize(1025),
            "EDID size 1025 is more than 1024",
        ),
    ] {
        assert_eq!(error.to_string(), line);
    }
}

/// Bytes whose type is one of those that matter more often than not.
fn any_response() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![
        Just(OK_NODATA),
        Just(OK_DISPLAY_INFO),
        Just(OK_CAPSET_INFO),
        Just(OK_EDID),
        0x1100u32..0x1210,
        any::<u32>(),
    ];
    let len = prop_oneof![0usize..60, Just(408), Just(1056), 0usize..1100];
    let size = prop_oneof![0u32..1100, any::<u32>()];
    (kind, len, size, any::<u8>()).prop_map(|(kind, len, size, fill)| {
        let mut bytes = edid_response(size, &[fill; 1100]);
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes.truncate(len);
        bytes
    })
}

fn any_header() -> impl Strategy<Value = Header> {
    (any::<u32>(), any::<u64>(), any::<u32>(), any::<u8>()).prop_map(
        |(flags, fence_id, ctx_id, ring_idx)| Header {
            flags: flags.into(),
            fence_id: fence_id.into(),
            ctx_id: ctx_id.into(),
            ring_idx,
            ..Default::default()
        },
    )
}

proptest! {
    #[test]
    fn any_response_is_decoded(bytes in any_response()) {
        let kind = bytes.first_chunk().map(|kind| u32::from_le_bytes(*kind));
        let good = |wanted, min| kind == Some(wanted) && bytes.len() >= min;
        prop_assert_eq!(NoData::decode(&bytes).is_ok(), good(OK_NODATA, 24));
        prop_assert_eq!(CapsetInfo::decode(&bytes).is_ok(), good(OK_CAPSET_INFO, 40));
        prop_assert_eq!(DisplayInfo::decode(&bytes).is_ok(), good(OK_DISPLAY_INFO, 408));
        if let Ok(edid) = Edid::decode(&bytes) {
            prop_assert!(good(OK_EDID, 32));
            prop_assert_eq!(edid.edid(), &bytes[32..32 + edid.edid().len()]);
            let size = u32::from_le_bytes(*bytes[24..].first_chunk().unwrap());
            prop_assert_eq!(edid.edid().len() as u32, size);
        }
    }

    #[test]
    fn any_header_survives_the_round_trip(header in any_header(), scanout: u32) {
        let command = GetEdid { scanout: scanout.into(), ..Default::default() };
        let message = command.encode(header);
        let (decoded, body) = Header::read_from_prefix(message.as_bytes()).unwrap();
        prop_assert_eq!(decoded, Header { kind: GetEdid::TYPE.into(), ..header });
        prop_assert_eq!(&body[..4], &scanout.to_le_bytes());
    }

    #[test]
    fn any_modes_survive_the_round_trip(
        modes in proptest::collection::vec(proptest::array::uniform6(any::<u32>()), 16),
    ) {
        let bytes = response(OK_DISPLAY_INFO, &words(&modes.concat()));
        let info = DisplayInfo::decode(&bytes).unwrap();
        for (pmode, mode) in info.pmodes.iter().zip(&modes) {
            let DisplayOne { r, enabled, flags } = *pmode;
            let [x, y, width, height, raw_enabled, raw_flags] = mode.map(Into::into);
            prop_assert_eq!(r, Rect { x, y, width, height });
            prop_assert_eq!((enabled, flags), (raw_enabled, raw_flags));
        }
    }
}

/// The word of a command that is the number of its resource or scanout.
fn subject<C: Command>(command: &C) -> Option<u32> {
    let offset = subject_offset(C::TYPE)?;
    let bytes = encoded(command);
    Some(u32::from_le_bytes(
        bytes[offset..offset + 4].try_into().unwrap(),
    ))
}

#[test]
fn subjects_are_found() {
    let resource_id = 0x6463_6261.into();
    let cursor = UpdateCursor {
        scanout_id: 7.into(),
        resource_id,
        ..Default::default()
    };
    macro_rules! resource {
        ($($name:ident)*) => {
            [$(subject(&$name { resource_id, ..Default::default() })),*]
        };
    }
    let found = resource!(
        ResourceCreate2d ResourceUnref SetScanout ResourceFlush TransferToHost2d
        ResourceAttachBacking ResourceDetachBacking UpdateCursor
    );
    assert!(found.iter().all(|found| *found == Some(0x6463_6261)));
    assert_eq!(subject(&MoveCursor::from(cursor)), Some(7));
    let edid = GetEdid {
        scanout: 7.into(),
        ..Default::default()
    };
    assert_eq!(subject(&edid), Some(7));
    assert_eq!(subject(&GetDisplayInfo), None);
}
