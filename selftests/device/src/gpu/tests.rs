// SPDX-License-Identifier: GPL-2.0

//! Tests of the commands without 3D.

use super::*;
use vm_memory::{
    Bytes,
    GuestAddress, //
};

struct Bench {
    gpu: Gpu,
    map: Map,
    violations: Violations,
}

impl Bench {
    /// Width, height and colours of what a head shows.
    fn picture(&self, head: usize) -> Option<(u32, u32, Vec<u8>)> {
        Some(self.gpu.shot(head)?.map_or_else(
            || (OFF.0, OFF.1, vec![0; 3 * (OFF.0 * OFF.1) as usize]),
            |shot| shot.picture(),
        ))
    }

    fn new() -> Self {
        Self {
            gpu: Gpu::new(2, (1280, 800), 1 << 20),
            map: Map::from_ranges(&[(GuestAddress(0), 0x10000)]).unwrap(),
            violations: Violations::default(),
        }
    }

    /// Executes a command and returns the type of its answer.
    fn run(&mut self, kind: u32, fields: &[u32]) -> u32 {
        let mut request = vec![0; HEADER];
        request[..4].copy_from_slice(&kind.to_le_bytes());
        request.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
        kind_of(&self.gpu.execute(&request, &self.map, &self.violations))
    }
}

#[test]
fn a_frame_is_shown() {
    let mut bench = Bench::new();
    let blue: Vec<u8> = [9, 0, 0, 0xa5].repeat(32 * 32);
    bench.map.write_slice(&blue, GuestAddress(0x2000)).unwrap();

    assert_eq!(bench.run(0x101, &[5, 2, 32, 32]), OK_NODATA);
    assert_eq!(
        bench.run(0x106, &[5, 1, 0x2000, 0, 32 * 32 * 4, 0]),
        OK_NODATA
    );
    assert_eq!(bench.run(0x105, &[0, 0, 32, 32, 0, 0, 5, 0]), OK_NODATA);
    assert_eq!(bench.picture(0), Some((640, 480, vec![0; 3 * 640 * 480])));
    assert_eq!(bench.run(0x103, &[8, 8, 16, 16, 0, 5]), OK_NODATA);
    assert_eq!(bench.run(0x104, &[0, 0, 32, 32, 5, 0]), OK_NODATA);
    assert_eq!(bench.picture(0), Some((16, 16, [0, 0, 9].repeat(16 * 16))));
    assert_eq!(bench.picture(2), None);
    assert_eq!(bench.gpu.held(), (1, 1, 4096));

    assert_eq!(bench.run(0x107, &[5, 0]), OK_NODATA);
    assert_eq!(bench.run(0x107, &[5, 0]), INVALID_RESOURCE);
    assert_eq!(bench.run(0x105, &[0, 0, 32, 32, 0, 0, 5, 0]), UNSPEC);
    assert_eq!(bench.run(0x102, &[5, 0]), OK_NODATA);
    assert_eq!(bench.gpu.held(), (0, 0, 0));
    assert_eq!(bench.picture(0).map(|picture| picture.0), Some(640));
    assert_eq!(bench.gpu.short, 0);
}

#[test]
fn a_format_can_be_unknown() {
    let mut bench = Bench::new();
    bench.gpu.refuse_format(134);
    assert_eq!(bench.run(0x101, &[1, 134, 32, 32]), INVALID_PARAMETER);
    assert_eq!(bench.run(0x101, &[1, 2, 32, 32]), OK_NODATA);
    bench.gpu.reset();
    assert_eq!(bench.run(0x101, &[1, 134, 32, 32]), INVALID_PARAMETER);
    bench.gpu.take_formats();
    assert_eq!(bench.run(0x101, &[1, 134, 32, 32]), OK_NODATA);
}

#[test]
fn what_is_wrong_is_refused() {
    let mut bench = Bench::new();
    assert_eq!(bench.run(0x101, &[1, 2, 32, 32]), OK_NODATA);
    for (kind, fields, error) in [
        (0x101, &[1, 2, 32, 32][..], INVALID_RESOURCE),
        (0x101, &[0, 2, 32, 32], INVALID_RESOURCE),
        (0x101, &[2, 9, 32, 32], INVALID_PARAMETER),
        (0x101, &[2, 2, 1024, 1024], OUT_OF_MEMORY),
        (0x101, &[2, 2, u32::MAX, u32::MAX], OUT_OF_MEMORY),
        (0x101, &[2, 2, 32], UNSPEC),
        (0x102, &[2, 0], INVALID_RESOURCE),
        (0x103, &[0, 0, 32, 32, 2, 1], INVALID_SCANOUT),
        (0x103, &[0, 0, 15, 32, 0, 1], INVALID_PARAMETER),
        (0x103, &[1, 0, 32, 32, 0, 1], INVALID_PARAMETER),
        (0x104, &[0, 0, 33, 32, 1, 0], INVALID_PARAMETER),
        (0x106, &[1, 16385], UNSPEC),
        (0x106, &[1, 1, 0, 0, 4], UNSPEC),
        (0x108, &[0, 0], UNSPEC),
        (0x10a, &[2, 0], INVALID_PARAMETER),
        (0x300, &[0, 0, 0, 0, 7, 0, 0, 0], INVALID_RESOURCE),
    ] {
        assert_eq!(bench.run(kind, fields), error, "{kind:#x} {fields:?}");
    }
}

#[test]
fn the_cursor_keeps_its_image() {
    let mut bench = Bench::new();
    assert_eq!(bench.run(0x101, &[1, 1, 64, 64]), OK_NODATA);
    assert_eq!(bench.run(0x300, &[1, 9, 8, 0, 1, 3, 4, 0]), OK_NODATA);
    assert_eq!(bench.run(0x301, &[1, 10, 8, 0, 1, 9, 9, 0]), OK_NODATA);
    assert_eq!(bench.run(0x300, &[1, 0, 0, 0, 0, 0, 0, 0]), OK_NODATA);
    let cursor = bench.gpu.cursor(1).unwrap();
    assert_eq!((cursor.hot_x, cursor.hot_y), (3, 4));
    assert_eq!(cursor.image, Some((64, 64, vec![0; 64 * 64 * 4])));
    assert!(bench.gpu.cursor(0).unwrap().image.is_none());
    bench.gpu.reset();
    assert!(bench.gpu.cursor(1).unwrap().image.is_none());
}

#[test]
fn the_answer_has_the_fence_of_the_request() {
    let mut request = vec![7; HEADER];
    assert_eq!(
        answer(&request, OK_NODATA, &[1])[8..],
        [vec![7; 12], vec![0; 4], vec![1]].concat()
    );
    request[4] = 0;
    assert_eq!(answer(&request, OK_NODATA, &[])[4..], [0; 20]);
}

#[test]
fn a_size_is_what_display_info_says() {
    let mut bench = Bench::new();
    assert_eq!(bench.gpu.resize(1, (0, 0)), Some(true));
    assert_eq!(bench.gpu.resize(1, (0, 0)), Some(false));
    assert_eq!(bench.gpu.resize(2, (1, 1)), None);
    assert_eq!(bench.gpu.place(&[(3, 4), (0, 0)]), Some(true));
    assert_eq!(bench.gpu.place(&[(3, 4)]), Some(false));
    assert_eq!(bench.gpu.place(&[(3, 4); 3]), None);
    let info = bench.gpu.display_info();
    assert_eq!(info.len(), 24 * MAX_HEADS);
    assert_eq!(info[..8], [3, 0, 0, 0, 4, 0, 0, 0]);
    assert_eq!(info[8..20], [0, 5, 0, 0, 0x20, 3, 0, 0, 1, 0, 0, 0]);
    assert_eq!(info[24..], [0; 24 * 15]);
}
