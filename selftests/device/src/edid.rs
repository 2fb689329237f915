// SPDX-License-Identifier: GPL-2.0

//! The EDID of a head, for a size that is wanted.

/// Length of the EDID in bytes.
pub const LENGTH: usize = 128;
/// Rate of the preferred mode in Hz. Where its clock would not fit, the rate is lower.
const REFRESH: u64 = 75;
/// Largest width and height of a detailed timing.
const LARGEST: u32 = 0xfff;
/// 640x480, 800x600 and 1024x768 at 60 Hz.
const ESTABLISHED: [u8; 3] = [0x21, 0x08, 0x00];
/// 1920x1080, 1680x1050, 1600x1200, 1440x900, 1280x1024 and 1280x720 at 60 Hz, and two unused.
const STANDARD: [u8; 16] = [
    0xd1, 0xc0, 0xb3, 0x00, 0xa9, 0x40, 0x95, 0x00, 0x81, 0x80, 0x81, 0xc0, 1, 1, 1, 1,
];
/// sRGB.
const CHROMATICITY: [u8; 10] = [0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54];
const NAME: &[u8; 13] = b"rust_gpu own\n";
const UNUSED: [u8; 18] = [0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Returns an EDID that prefers this size in pixels.
pub fn generate(width: u32, height: u32) -> [u8; LENGTH] {
    let mut edid = [0; LENGTH];
    edid[..8].copy_from_slice(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);
    // The manufacturer "LNX", the product, no serial number, the year 2026, EDID 1.4.
    edid[8..20].copy_from_slice(&[0x31, 0xd8, 1, 0, 0, 0, 0, 0, 0, 36, 1, 4]);
    // Digital with 8 bits, 100 dpi, gamma 2.2, sRGB and a preferred timing.
    let centimetres = |pixels: u32| (u64::from(pixels) * 254 / 10_000).min(255) as u8;
    edid[20..25].copy_from_slice(&[0xa0, centimetres(width), centimetres(height), 120, 0x06]);
    edid[25..35].copy_from_slice(&CHROMATICITY);
    edid[35..38].copy_from_slice(&ESTABLISHED);
    edid[38..54].copy_from_slice(&STANDARD);
    edid[54..72].copy_from_slice(&timing(width, height).unwrap_or(UNUSED));
    edid[72..77].copy_from_slice(&[0, 0, 0, 0xfc, 0]);
    edid[77..90].copy_from_slice(NAME);
    edid[90..108].copy_from_slice(&UNUSED);
    edid[108..126].copy_from_slice(&UNUSED);
    let sum = edid.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    edid[127] = sum.wrapping_neg();
    edid
}

/// Returns a detailed timing. There is none for sizes that do not fit.
fn timing(width: u32, height: u32) -> Option<[u8; 18]> {
    if width > LARGEST || height > LARGEST {
        return None;
    }
    // The same parts as in QEMU's EDIDs.
    let (x_front, x_sync, x_blank) = (width / 4, width * 3 / 100, width * 35 / 100);
    let (y_front, y_sync, y_blank) = (height / 200, height / 200, height * 35 / 1000);
    let total = u64::from(width + x_blank) * u64::from(height + y_blank);
    // In units of 10 kHz.
    let clock = (total * REFRESH / 10_000).min(u64::from(u16::MAX)) as u16;
    let (x_size, y_size) = (width * 254 / 1000, height * 254 / 1000);
    let low = |value: u32| (value & 0xff) as u8;
    let high = |first: u32, second: u32| ((first >> 8 & 15) << 4 | second >> 8 & 15) as u8;
    let [clock_low, clock_high] = clock.to_le_bytes();
    Some([
        clock_low,
        clock_high,
        low(width),
        low(x_blank),
        high(width, x_blank),
        low(height),
        low(y_blank),
        high(height, y_blank),
        low(x_front),
        low(x_sync),
        ((y_front & 15) << 4 | y_sync & 15) as u8,
        ((x_front >> 8 & 3) << 6
            | (x_sync >> 8 & 3) << 4
            | (y_front >> 4 & 3) << 2
            | y_sync >> 4 & 3) as u8,
        low(x_size),
        low(y_size),
        high(x_size, y_size),
        0,
        0,
        0x18,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_the_preferred_one() {
        for (width, height) in [(1, 1), (640, 480), (1280, 800), (1013, 751), (3840, 2160)] {
            let edid = generate(width, height);
            let sum = edid.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
            let timing = &edid[54..];

            assert_eq!(sum, 0);
            assert_eq!(
                u32::from(timing[2]) | u32::from(timing[4] & 0xf0) << 4,
                width
            );
            assert_eq!(
                u32::from(timing[5]) | u32::from(timing[7] & 0xf0) << 4,
                height
            );
        }
    }

    #[test]
    fn a_size_that_does_not_fit_has_no_timing() {
        assert_eq!(generate(7680, 4320)[54..72], UNUSED);
        assert_eq!(timing(LARGEST, LARGEST).unwrap()[..2], [0xff, 0xff]);
    }
}
