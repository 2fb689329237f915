// SPDX-License-Identifier: GPL-2.0

//! Whatever a device answers, each response is decoded without a panic, and only from bytes that it
//! wrote.
//!
//! Input: a byte that selects a type to be put into the answer's header (or none), then the answer.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports, unfulfilled_lint_expectations)]
#[path = "../../../.."]
mod driver {
    pub(crate) mod command;
}

use driver::command::{
    capset_data,
    edid_name,
    CapsetInfo,
    DisplayInfo,
    Edid,
    NoData,
    NoResponse,
    Response,
    ResponseError, //
};

/// Decodes a response of which `min` bytes have to be there, and checks the result against the
/// header.
fn check<R: Response>(bytes: &[u8], ok: u32, min: usize) -> Option<R> {
    let kind = bytes.first_chunk().map(|kind| u32::from_le_bytes(*kind));
    match R::decode(bytes) {
        Ok(response) => {
            assert_eq!(kind, Some(ok));
            assert!(bytes.len() >= min);
            return Some(response);
        }
        Err(ResponseError::Device(code)) => {
            assert_eq!(kind, Some(code.0));
            assert!((0x1200..0x1300).contains(&code.0));
        }
        Err(ResponseError::Short { needed, got }) => {
            assert_eq!(got, bytes.len());
            assert!(needed > got && needed <= R::SIZE);
        }
        Err(ResponseError::Unexpected(found)) => {
            assert_eq!(kind, Some(found));
            assert_ne!(found, ok);
        }
        Err(error @ ResponseError::EdidSize(size)) => {
            assert!(size > 1024);
            assert!(error.to_string().contains("1024"));
        }
    }
    None
}

fuzz_target!(|data: &[u8]| {
    let Some(([select], data)) = data.split_first_chunk::<1>() else {
        return;
    };
    let mut bytes = data.to_vec();
    let kind: Option<u32> = match select % 7 {
        0 => None,
        1 => Some(0x1100),
        2 => Some(0x1101),
        3 => Some(0x1102),
        4 => Some(0x1104),
        5 => Some(0x1103),
        _ => Some(0x1200 + u32::from(*select)),
    };
    if let (Some(kind), Some(head)) = (kind, bytes.first_chunk_mut()) {
        *head = kind.to_le_bytes();
    }

    assert!(NoResponse::decode(&bytes).is_ok());
    check::<NoData>(&bytes, 0x1100, 24);
    check::<DisplayInfo>(&bytes, 0x1101, 408);
    check::<CapsetInfo>(&bytes, 0x1102, 40);
    if let Ok(set) = capset_data(&bytes) {
        assert_eq!(bytes[..4], 0x1103u32.to_le_bytes());
        assert_eq!(set, &bytes[24..]);
    }
    if let Some(edid) = check::<Edid>(&bytes, 0x1104, 32) {
        let edid = edid.edid();
        assert_eq!(edid, &bytes[32..32 + edid.len()]);
        assert_eq!(bytes[24..28], (edid.len() as u32).to_le_bytes());
        edid_name(edid);
    }
});
