// SPDX-License-Identifier: GPL-2.0

//! Comparison with the kernel's own headers: `wire.c` prints their structures byte for byte.
//!
//! The headers are those of the kernel source in `$KDIR`, or else those installed.

use std::{
    collections::HashMap,
    env,
    path::Path,
    path::PathBuf,
    process::Command as Process, //
};

use zerocopy::{
    FromBytes,
    IntoBytes, //
};

use crate::{
    caps::*,
    command::*,
    command_tests::{
        encoded,
        header, //
    },
    display_tests::rect,
    space::*, //
};

/// What `wire.c` prints.
struct Wire(HashMap<String, String>);

impl Wire {
    /// Builds and runs `wire.c`; `Err` says what there is none of.
    fn run(name: &str) -> Result<Self, String> {
        let headers = match env::var_os("KDIR") {
            Some(tree) => PathBuf::from(tree).join("include/uapi/linux"),
            None => PathBuf::from("/usr/include/linux"),
        };
        for header in ["virtio_gpu.h", "virtio_pci.h"] {
            if !headers.join(header).exists() {
                return Err(format!("no {header} in {}", headers.display()));
            }
        }
        if Process::new("cc").arg("--version").output().is_err() {
            return Err("no C compiler (cc)".to_owned());
        }

        // Tests run at the same time.
        let program = env::temp_dir().join(format!("rust_gpu_wire.{}.{name}", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wire.c");
        let built = Process::new("cc")
            .args(["-Wall", "-Werror", "-iquote"])
            .args([&headers, &source])
            .arg("-o")
            .arg(&program)
            .status()
            .unwrap();
        assert!(built.success());
        let output = Process::new(&program).output().unwrap();
        std::fs::remove_file(&program).unwrap();
        assert!(output.status.success());

        let text = String::from_utf8(output.stdout).unwrap();
        let pairs = text.lines().map(|line| line.split_once(' ').unwrap());
        Ok(Self(
            pairs
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        ))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        let digits = &self.0[name];
        (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect()
    }

    fn number(&self, name: &str) -> u32 {
        self.0[name].parse().unwrap()
    }
}

/// The program's output, or a return from the test that says why there is none.
macro_rules! wire_or_skip {
    ($name:literal) => {
        match Wire::run($name) {
            Ok(wire) => wire,
            Err(reason) => {
                eprintln!("SKIP: {reason}");
                return;
            }
        }
    };
}

#[test]
fn commands_are_the_kernels() {
    let wire = wire_or_skip!("commands");
    let scanout = 0x0102_0304.into();
    assert_eq!(encoded(&GetDisplayInfo), wire.bytes("get_display_info"));
    let command = GetEdid {
        scanout,
        ..Default::default()
    };
    assert_eq!(encoded(&command), wire.bytes("get_edid"));
    let command = GetCapsetInfo {
        capset_index: scanout,
        ..Default::default()
    };
    assert_eq!(encoded(&command), wire.bytes("get_capset_info"));
    let update = UpdateCursor {
        scanout_id: scanout,
        x: 0x1112_1314.into(),
        y: 0x2122_2324.into(),
        resource_id: 0x3132_3334.into(),
        hot_x: 0x4142_4344.into(),
        hot_y: 0x5152_5354.into(),
        ..Default::default()
    };
    assert_eq!(encoded(&update), wire.bytes("update_cursor"));
    let moved = MoveCursor::from(update);
    assert_eq!(encoded(&moved), wire.bytes("move_cursor"));
}

#[test]
fn resource_commands_are_the_kernels() {
    let wire = wire_or_skip!("resource_commands");
    let resource_id = 0x0102_0304.into();
    let r = rect();
    let create = ResourceCreate2d {
        resource_id,
        format: Format::R8G8B8X8.into(),
        width: r.width,
        height: r.height,
    };
    assert_eq!(encoded(&create), wire.bytes("resource_create_2d"));
    let unref = ResourceUnref {
        resource_id,
        ..Default::default()
    };
    assert_eq!(encoded(&unref), wire.bytes("resource_unref"));
    let set = SetScanout {
        r,
        scanout_id: 0x5152_5354.into(),
        resource_id,
    };
    assert_eq!(encoded(&set), wire.bytes("set_scanout"));
    let flush = ResourceFlush {
        r,
        resource_id,
        ..Default::default()
    };
    assert_eq!(encoded(&flush), wire.bytes("resource_flush"));
    let transfer = TransferToHost2d {
        r,
        offset: 0x6162_6364_6566_6768.into(),
        resource_id,
        ..Default::default()
    };
    assert_eq!(encoded(&transfer), wire.bytes("transfer_to_host_2d"));
    let attach = ResourceAttachBacking {
        resource_id,
        nr_entries: 0x5152_5354.into(),
    };
    assert_eq!(encoded(&attach), wire.bytes("resource_attach_backing"));
    let detach = ResourceDetachBacking {
        resource_id,
        ..Default::default()
    };
    assert_eq!(encoded(&detach), wire.bytes("resource_detach_backing"));
    let entry = MemEntry {
        addr: 0x6162_6364_6566_6768.into(),
        length: 0x5152_5354.into(),
        ..Default::default()
    };
    assert_eq!(entry.as_bytes(), wire.bytes("mem_entry"));
}

#[test]
fn context_commands_are_the_kernels() {
    let wire = wire_or_skip!("context_commands");
    let resource_id = 0x0102_0304.into();
    let mut debug_name = [0; DEBUG_NAME_SIZE];
    debug_name[..4].copy_from_slice(b"name");
    let create = CtxCreate {
        nlen: 4.into(),
        context_init: 0x0102_0304.into(),
        debug_name,
    };
    assert_eq!(encoded(&create), wire.bytes("ctx_create"));
    assert_eq!(encoded(&CtxDestroy), wire.bytes("ctx_destroy"));
    let attach = CtxAttachResource {
        resource_id,
        ..Default::default()
    };
    assert_eq!(encoded(&attach), wire.bytes("ctx_attach_resource"));
    let detach = CtxDetachResource {
        resource_id,
        ..Default::default()
    };
    assert_eq!(encoded(&detach), wire.bytes("ctx_detach_resource"));
    let submit = Submit3d {
        size: 0x0102_0304.into(),
        ..Default::default()
    };
    assert_eq!(encoded(&submit), wire.bytes("submit_3d"));
    let capset = GetCapset {
        capset_id: 0x0102_0304.into(),
        capset_version: 0x1112_1314.into(),
    };
    assert_eq!(encoded(&capset), wire.bytes("get_capset"));
    assert_eq!(CONTEXT_CAPSET_ID_MASK, wire.number("capset_id_mask"));
}

#[test]
fn resource_commands_of_3d_are_the_kernels() {
    let wire = wire_or_skip!("resource_commands_of_3d");
    let resource_id = 0x0102_0304.into();
    let create = ResourceCreate3d {
        resource_id,
        target: 0x11.into(),
        format: 0x12.into(),
        bind: 0x13.into(),
        width: 0x14.into(),
        height: 0x15.into(),
        depth: 0x16.into(),
        array_size: 0x17.into(),
        last_level: 0x18.into(),
        nr_samples: 0x19.into(),
        flags: 0x1a.into(),
        ..Default::default()
    };
    assert_eq!(encoded(&create), wire.bytes("resource_create_3d"));
    let transfer = TransferToHost3d {
        part: Box3d {
            x: 0x21.into(),
            y: 0x22.into(),
            z: 0x23.into(),
            w: 0x24.into(),
            h: 0x25.into(),
            d: 0x26.into(),
        },
        offset: 0x6162_6364_6566_6768.into(),
        resource_id,
        level: 0x31.into(),
        stride: 0x32.into(),
        layer_stride: 0x33.into(),
    };
    assert_eq!(encoded(&transfer), wire.bytes("transfer_to_host_3d"));
    let back = TransferFromHost3d { transfer };
    assert_eq!(encoded(&back), wire.bytes("transfer_from_host_3d"));
}

#[test]
fn responses_are_the_kernels() {
    let wire = wire_or_skip!("responses");

    let nodata = wire.bytes("ok_nodata");
    assert_eq!(nodata.len(), NoData::SIZE);
    assert_eq!(NoData::decode(&nodata), Ok(NoData));
    let decoded = Header::read_from_bytes(&nodata).unwrap();
    let kind = 0x1100.into();
    assert_eq!(decoded, Header { kind, ..header() });

    let info = wire.bytes("ok_display_info");
    assert_eq!(info.len(), DisplayInfo::SIZE);
    for (n, pmode) in (0u32..).zip(DisplayInfo::decode(&info).unwrap().pmodes) {
        let r = Rect {
            x: (0x100 + n).into(),
            y: (0x200 + n).into(),
            width: (0x300 + n).into(),
            height: (0x400 + n).into(),
        };
        let (enabled, flags) = ((n & 1).into(), (0x500 + n).into());
        assert_eq!(pmode, DisplayOne { r, enabled, flags });
    }

    let capset = wire.bytes("ok_capset_info");
    assert_eq!(capset.len(), CapsetInfo::SIZE);
    assert_eq!(
        CapsetInfo::decode(&capset),
        Ok(CapsetInfo {
            capset_id: 0x0102_0304.into(),
            capset_max_version: 0x1112_1314.into(),
            capset_max_size: 0x2122_2324.into(),
            padding: 0.into(),
        })
    );

    let set = wire.bytes("ok_capset");
    assert_eq!(capset_data(&set), Ok(&[1, 2, 3, 4][..]));

    let edid = wire.bytes("ok_edid");
    assert_eq!(edid.len(), Edid::SIZE);
    assert_eq!(Edid::decode(&edid).unwrap().edid(), [0x5a; 300]);
}

#[test]
fn capabilities_are_the_kernels() {
    let wire = wire_or_skip!("capabilities");
    assert_eq!(COMMON_CFG_SIZE, wire.number("common_cfg_size"));
    assert_eq!(DEVICE_CFG_SIZE, wire.number("num_capsets_end"));

    let mut space = Space::empty();
    let mut pointer = 0x34;
    let mut position = 0x40;
    for name in ["common", "isr", "device", "notify", "shared_memory"] {
        let cap = wire.bytes(&format!("cap_{name}"));
        space.put(position, &cap);
        space.0[pointer] = position as u8;
        pointer = position + 1;
        position += cap.len();
    }

    let mut bars = QEMU_BARS;
    bars[5] = memory(1 << 40);
    let at = |offset| Region {
        bar: 4,
        offset,
        len: 0x1000,
    };
    let host_visible = SharedMemory {
        id: 1,
        bar: 5,
        offset: 0x12_3456_7000,
        len: 0x3_0000_1000,
    };
    assert_eq!(
        parse(&space, &bars),
        Ok(Capabilities {
            common: at(0),
            notify: at(0x3000),
            notify_multiplier: 8,
            isr: at(0x1000),
            device: at(0x2000),
            shared_memory: [Some(host_visible), None, None, None],
        })
    );
}

#[test]
fn constants_are_the_kernels() {
    let wire = wire_or_skip!("constants");
    for name in [
        "err_unspec",
        "err_out_of_memory",
        "err_invalid_scanout_id",
        "err_invalid_resource_id",
        "err_invalid_context_id",
        "err_invalid_parameter",
    ] {
        let code = DeviceError(wire.number(name));
        assert_eq!(code.to_string(), name.to_uppercase());
    }
    for format in [
        Format::B8G8R8A8,
        Format::B8G8R8X8,
        Format::A8R8G8B8,
        Format::X8R8G8B8,
        Format::R8G8B8A8,
        Format::X8B8G8R8,
        Format::A8B8G8R8,
        Format::R8G8B8X8,
    ] {
        assert_eq!(wire.number(&format!("format_{format:?}")), format as u32);
    }
}
