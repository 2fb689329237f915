// SPDX-License-Identifier: GPL-2.0

//! Whatever an EDID contains, the monitor name is printable, or there is none.
//!
//! Input: a byte of mode, then the EDID; the mode says whether its header and its checksum are made
//! right first.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports, unfulfilled_lint_expectations)]
#[path = "../../../.."]
mod driver {
    pub(crate) mod command;
}

use driver::command::edid_name;

const HEADER: [u8; 8] = [0, 255, 255, 255, 255, 255, 255, 0];

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

fuzz_target!(|data: &[u8]| {
    let Some(([mode], data)) = data.split_first_chunk::<1>() else {
        return;
    };
    let mut edid = data.to_vec();
    if let Some(block) = edid.first_chunk_mut::<128>().filter(|_| mode & 1 != 0) {
        block[..8].copy_from_slice(&HEADER);
        block[127] = sum(&block[..127]).wrapping_neg();
    }

    let Some(name) = edid_name(&edid) else {
        return;
    };
    assert!(edid.starts_with(&HEADER));
    assert_eq!(sum(&edid[..128]), 0);

    let end = name
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(name.len());
    let (text, rest) = name.split_at(end);
    assert!(!text.is_empty());
    assert!(text.iter().all(|byte| (0x20..0x7f).contains(byte)));
    assert!(rest.iter().all(|byte| *byte == 0));
    assert!([54, 72, 90, 108]
        .iter()
        .any(|at| edid[*at..at + 4] == [0, 0, 0, 0xfc]
            && text.iter().all(|byte| edid[at + 5..at + 18].contains(byte))));
});
