// SPDX-License-Identifier: GPL-2.0

//! Tests of the commands of 3D.

use super::*;
use vm_memory::{
    Bytes,
    GuestAddress, //
};

const ATTACH: u32 = 0x106;
const SCANOUT: u32 = 0x103;
const FLUSH: u32 = 0x104;

struct Bench {
    gpu: Gpu,
    map: Map,
    violations: Violations,
}

impl Bench {
    fn new() -> Self {
        let mut gpu = Gpu::new(1, (1280, 800), 1 << 20);
        gpu.render.start(FEATURE_VIRGL | FEATURE_CONTEXT_INIT);
        Self {
            gpu,
            map: Map::from_ranges(&[(GuestAddress(0), 0x10000)]).unwrap(),
            violations: Violations::default(),
        }
    }

    fn ask(&mut self, kind: u32, context: u32, fields: &[u32]) -> Vec<u8> {
        let words = [&[kind, 0, 0, 0, context, 0], fields].concat();
        let request: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.gpu.execute(&request, &self.map, &self.violations)
    }

    /// Executes a command, and returns the type of its answer.
    fn run(&mut self, kind: u32, context: u32, fields: &[u32]) -> u32 {
        kind_of(&self.ask(kind, context, fields))
    }

    fn create(&mut self, id: u32, name: &str, init: u32) -> u32 {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(NAME, 0);
        let words = bytes.chunks_exact(4);
        let words = words.map(|word| u32::from_le_bytes(word.try_into().unwrap()));
        let head = [name.len() as u32, init];
        let fields: Vec<u32> = head.into_iter().chain(words).collect();
        self.run(CTX_CREATE, id, &fields)
    }

    fn picture(&mut self, id: u32) -> u32 {
        self.run(CREATE_3D, 0, &[id, 2, 2, 10, 16, 16, 1, 1, 0, 0, 0, 0])
    }

    fn submit(&mut self, context: u32, stream: &[u32]) -> u32 {
        let head = [4 * stream.len() as u32, 0];
        self.run(SUBMIT, context, &[&head, stream].concat())
    }

    fn strays(&self) -> u64 {
        self.gpu.render.counts.strays
    }
}

#[test]
fn capsets_are_told() {
    let mut bench = Bench::new();
    for (index, (id, version, size)) in CAPSETS.iter().enumerate() {
        let info = bench.ask(CAPSET_INFO, 0, &[index as u32, 0]);
        assert_eq!(kind_of(&info), OK_CAPSET_INFO);
        let fields = [*id, *version, *size, 0].map(u32::to_le_bytes);
        assert_eq!(info[HEADER..], *fields.as_flattened());
        for version in 0..=*version {
            let data = bench.ask(CAPSET, 0, &[*id, version]);
            assert_eq!(kind_of(&data), OK_CAPSET);
            assert_eq!(data[HEADER..], capset(*id, version, *size));
        }
        assert_eq!(bench.run(CAPSET, 0, &[*id, version + 1]), INVALID_PARAMETER);
    }
    assert_eq!(bench.run(CAPSET_INFO, 0, &[2, 0]), INVALID_PARAMETER);
    assert_eq!(bench.run(CAPSET, 0, &[3, 0]), INVALID_PARAMETER);
    assert_eq!(capset(1, 1, 3), [32, 39, 46]);
}

#[test]
fn contexts_have_names_and_submissions() {
    let mut bench = Bench::new();
    assert_eq!(bench.gpu.render.describe("one"), None);
    assert_eq!(bench.create(3, "one", 2), OK_NODATA);
    assert_eq!(bench.create(4, "two", 0), OK_NODATA);
    assert_eq!(bench.picture(7), OK_NODATA);
    assert_eq!(bench.run(CTX_ATTACH, 3, &[7, 0]), OK_NODATA);
    assert_eq!(bench.submit(3, &[]), OK_NODATA);
    assert_eq!(bench.submit(3, &[0x3433_3231]), OK_NODATA);
    assert_eq!(bench.gpu.render.held(), (2, 1));
    assert_eq!(bench.gpu.render.name(4), Some("two"));
    let told = "id=3 alive=1 capset=2 attached=1 submissions=2 on-rings=0 crcs=00000000,9be3e0a3";
    assert_eq!(bench.gpu.render.describe("one").as_deref(), Some(told));

    assert_eq!(bench.run(CTX_DETACH, 3, &[7, 0]), OK_NODATA);
    assert_eq!(bench.run(CTX_DESTROY, 3, &[]), OK_NODATA);
    let told = bench.gpu.render.describe("one").unwrap();
    assert!(
        told.starts_with("id=3 alive=0 capset=2 attached=0 "),
        "{told}"
    );
    assert_eq!(bench.run(UNREF, 0, &[7, 0]), OK_NODATA);
    let counts = bench.gpu.render.counts;
    assert_eq!((counts.contexts_made, counts.contexts_destroyed), (2, 1));
    assert_eq!((counts.attached, counts.detached), (1, 1));
    assert_eq!(counts.submissions, 2);
    assert_eq!(bench.strays(), 0);
}

#[test]
fn only_some_crcs_and_contexts_are_kept() {
    let mut bench = Bench::new();
    for round in 0..=PAST {
        assert_eq!(bench.create(1, &format!("{round}"), 0), OK_NODATA);
        for _ in 0..=CRCS {
            assert_eq!(bench.submit(1, &[]), OK_NODATA);
        }
        assert_eq!(bench.run(CTX_DESTROY, 1, &[]), OK_NODATA);
    }
    assert_eq!(bench.gpu.render.describe("0"), None);
    let told = bench.gpu.render.describe("1").unwrap();
    assert_eq!(told.matches("00000000").count(), CRCS);
}

#[test]
fn bytes_go_both_ways() {
    let mut bench = Bench::new();
    let bytes: Vec<u8> = (0..10 * 16 * 4u32).map(|at| at as u8).collect();
    bench.map.write_slice(&bytes, GuestAddress(0x2000)).unwrap();
    assert_eq!(bench.create(1, "a", 0), OK_NODATA);
    for id in [5, 6] {
        assert_eq!(
            bench.run(CREATE_3D, 0, &[id, 2, 2, 10, 16, 10, 1, 1, 1, 0, 0, 0]),
            OK_NODATA
        );
        assert_eq!(bench.run(ATTACH, 0, &[id, 1, 0x2000, 0, 640, 0]), OK_NODATA);
    }
    let all = [0, 0, 0, 16, 10, 1, 0, 0, 5, 0, 0, 0];
    // Not attached to the context.
    assert_eq!(bench.run(TO_HOST, 1, &all), INVALID_RESOURCE);
    assert_eq!(bench.strays(), 1);
    assert_eq!(bench.run(CTX_ATTACH, 1, &[5, 0]), OK_NODATA);
    assert_eq!(bench.run(TO_HOST, 1, &all), OK_NODATA);
    let told = format!("16 10 1 {:08x}", crc32(&bytes));
    assert_eq!(bench.gpu.describe_resource(5), Some(told));
    assert_eq!(bench.gpu.describe_resource(7), None);

    assert_eq!(bench.submit(1, &[FILL, 5, 0x0403_0201]), OK_NODATA);
    assert_eq!(bench.submit(1, &[FILL, 6, 0]), INVALID_RESOURCE);
    let part = [1, 0, 0, 1, 1, 1, 0x100, 0, 5, 0, 0, 0];
    assert_eq!(bench.run(FROM_HOST, 1, &part), OK_NODATA);
    let mut found = [0; 5];
    bench
        .map
        .read_slice(&mut found, GuestAddress(0x2100))
        .unwrap();
    assert_eq!(found, [1, 2, 3, 4, 4]);

    // Levels beyond the first are there, without pixels; boxes have to fit.
    let mut part = all;
    for (field, value, answer) in [
        (9, 1, OK_NODATA),
        (9, 2, INVALID_PARAMETER),
        (3, 17, INVALID_PARAMETER),
        (6, 1, INVALID_PARAMETER),
        (10, 65, INVALID_PARAMETER),
        (8, 8, INVALID_RESOURCE),
    ] {
        let before = std::mem::replace(&mut part[field], value);
        assert_eq!(bench.run(TO_HOST, 1, &part), answer, "{field} {value}");
        part[field] = before;
    }
    assert_eq!(bench.run(TO_HOST, 2, &all), INVALID_CONTEXT);
    assert_eq!(bench.strays(), 3);
}

#[test]
fn resources_are_checked() {
    let mut bench = Bench::new();
    let right = [5, 2, 1, 0, 4, 4, 1, 1, 0, 0, 0, 0];
    for (field, value, answer) in [
        (1, 9, INVALID_PARAMETER),
        (1, 0, INVALID_PARAMETER),
        (2, 9, INVALID_PARAMETER),
        (4, 0, INVALID_PARAMETER),
        (4, 1 << 20, super::super::OUT_OF_MEMORY),
        (6, u32::MAX, super::super::OUT_OF_MEMORY),
        (7, 0, INVALID_PARAMETER),
        (0, 0, INVALID_RESOURCE),
    ] {
        let mut fields = right;
        fields[field] = value;
        assert_eq!(bench.run(CREATE_3D, 0, &fields), answer, "{field} {value}");
    }
    // The driver is wrong about ids only.
    assert_eq!(bench.strays(), 1);
    assert_eq!(bench.run(CREATE_3D, 0, &right), OK_NODATA);
    assert_eq!(bench.run(CREATE_3D, 0, &right), INVALID_RESOURCE);
    assert_eq!(
        bench.run(CREATE_3D, 0, &[6, 0, 64, 0, 100, 1, 1, 1, 0, 0, 0, 0]),
        OK_NODATA
    );
    assert_eq!(bench.strays(), 2);
    // A buffer is nothing to look at.
    assert_eq!(
        bench.run(SCANOUT, 0, &[0, 0, 16, 16, 0, 6]),
        INVALID_PARAMETER
    );
}

#[test]
fn a_resource_of_3d_is_shown() {
    let mut bench = Bench::new();
    assert_eq!(bench.create(1, "a", 1), OK_NODATA);
    assert_eq!(bench.picture(5), OK_NODATA);
    assert_eq!(bench.run(CTX_ATTACH, 1, &[5, 0]), OK_NODATA);
    assert_eq!(bench.submit(1, &[FILL, 5, 0x00aa_bbcc]), OK_NODATA);
    assert_eq!(bench.run(SCANOUT, 0, &[0, 0, 16, 16, 0, 5]), OK_NODATA);
    assert_eq!(bench.run(FLUSH, 0, &[0, 0, 16, 16, 5, 0]), OK_NODATA);
    let shot = bench.gpu.shot(0).unwrap().unwrap().picture();
    assert_eq!(shot, (16, 16, [0xaa, 0xbb, 0xcc].repeat(256)));
    assert_eq!(bench.strays(), 0);
}

#[test]
fn contexts_are_checked() {
    let mut bench = Bench::new();
    assert_eq!(bench.create(1, "a", 3), INVALID_PARAMETER);
    // Refused, which the driver does not wait for.
    assert_eq!(bench.submit(1, &[]), INVALID_CONTEXT);
    assert_eq!(bench.run(CTX_DESTROY, 1, &[]), INVALID_CONTEXT);
    assert_eq!(bench.strays(), 0);
    assert_eq!(bench.run(CTX_DESTROY, 1, &[]), INVALID_CONTEXT);
    assert_eq!(bench.create(0, "a", 0), INVALID_CONTEXT);
    assert_eq!(bench.strays(), 2);
    bench.gpu.render.start(FEATURE_VIRGL);
    assert_eq!(bench.create(1, "a", 1), INVALID_PARAMETER);
    assert_eq!(bench.create(1, "a", 0), OK_NODATA);
    assert_eq!(bench.create(1, "a", 0), INVALID_CONTEXT);
    assert_eq!(bench.strays(), 3);
}

#[test]
fn streams_are_checked() {
    let mut bench = Bench::new();
    assert_eq!(bench.create(1, "a", 0), OK_NODATA);
    assert_eq!(bench.submit(1, &[FAIL, 0x1201]), 0x1201);
    assert_eq!(bench.submit(1, &[FAIL, 0]), UNSPEC);
    assert_eq!(bench.submit(1, &[FILL]), UNSPEC);
    assert_eq!(bench.submit(1, &[BUSY, 7, 0]), OK_NODATA);
    assert_eq!(bench.gpu.render.take_busy(), Duration::from_millis(7));
    assert_eq!(bench.gpu.render.take_busy(), Duration::ZERO);
    assert_eq!(bench.gpu.render.counts.submissions, 4);
    assert_eq!(bench.strays(), 0);
    // The driver cuts the stream off.
    assert_eq!(bench.run(SUBMIT, 1, &[8, 0, 0]), INVALID_PARAMETER);
    assert_eq!(bench.strays(), 1);
    let mut request: Vec<u8> = [SUBMIT, 0, 0, 0, 1, 0, 3, 0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    request.extend([1, 2, 3]);
    let answer = bench.gpu.execute(&request, &bench.map, &bench.violations);
    assert_eq!(kind_of(&answer), INVALID_PARAMETER);
    assert_eq!(bench.strays(), 1);
}

#[test]
fn attachments_end_before_what_they_join() {
    let mut bench = Bench::new();
    for id in 1..=2 {
        assert_eq!(bench.create(id, "a", 0), OK_NODATA);
        assert_eq!(bench.picture(4 + id), OK_NODATA);
        assert_eq!(bench.run(CTX_ATTACH, id, &[4 + id, 0]), OK_NODATA);
    }
    assert_eq!(bench.run(CTX_ATTACH, 1, &[5, 0]), OK_NODATA);
    assert_eq!(bench.strays(), 1);
    assert_eq!(bench.run(CTX_DETACH, 1, &[6, 0]), INVALID_RESOURCE);
    assert_eq!(bench.strays(), 2);
    assert_eq!(bench.run(UNREF, 0, &[5, 0]), OK_NODATA);
    assert_eq!(bench.strays(), 3);
    assert_eq!(bench.run(CTX_DESTROY, 2, &[]), UNSPEC);
    assert_eq!(bench.strays(), 4);
    assert_eq!(bench.gpu.render.held(), (1, 0));
    assert_eq!(bench.run(CTX_ATTACH, 1, &[9, 0]), INVALID_RESOURCE);
    assert_eq!(
        bench.run(SCANOUT, 0, &[0, 0, 16, 16, 0, 9]),
        INVALID_RESOURCE
    );
    assert_eq!(bench.strays(), 6);
}
