// SPDX-License-Identifier: GPL-2.0

//! Whatever a device has in its configuration space, at whatever moment, the capability parser ends
//! without a panic, and what it finds is sound.
//!
//! Input: a byte of mode, 9 bytes for each BAR (kind, length), then the configuration space:
//! as it is; or patches (offset, value) to that of a working device; or a stream from which each
//! read takes the next bytes, so that nothing stays what it was.

#![no_main]
#![allow(dead_code)]

use std::cell::Cell;

use libfuzzer_sys::fuzz_target;

#[path = "../../../.."]
mod driver {
    pub(crate) mod transport {
        pub(crate) mod caps;
    }
}
#[path = "../../src/space.rs"]
mod space;

use driver::transport::caps::{
    self,
    parse,
    BarInfo,
    BarKind,
    ConfigRead,
    NUM_BARS, //
};

/// Reads that the walk and the fields of as many capabilities as there can be take at most.
const MAX_READS: usize = 2 + 48 * (4 + 6);

struct Fickle<'a> {
    stream: &'a [u8],
    next: Cell<usize>,
}

impl Fickle<'_> {
    fn take<const N: usize>(&self) -> Option<[u8; N]> {
        let next = self.next.get();
        self.next.set(next + N);
        self.stream.get(next..)?.first_chunk().copied()
    }
}

impl ConfigRead for Fickle<'_> {
    fn read_u8(&self, _offset: u16) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn read_u32(&self, _offset: u16) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
}

/// Counts what is read and checks where.
struct Bounded<'a, C> {
    config: &'a C,
    reads: Cell<usize>,
}

impl<C> Bounded<'_, C> {
    fn count(&self, offset: u16, width: u16) {
        assert!(offset + width <= 256);
        assert_eq!(offset % width, 0);
        self.reads.set(self.reads.get() + 1);
        assert!(self.reads.get() <= MAX_READS);
    }
}

impl<C: ConfigRead> ConfigRead for Bounded<'_, C> {
    fn read_u8(&self, offset: u16) -> Option<u8> {
        self.count(offset, 1);
        self.config.read_u8(offset)
    }

    fn read_u32(&self, offset: u16) -> Option<u32> {
        self.count(offset, 4);
        self.config.read_u32(offset)
    }
}

fn check(config: &impl ConfigRead, bars: &[BarInfo; NUM_BARS]) {
    let config = Bounded {
        config,
        reads: Cell::new(0),
    };
    match parse(&config, bars) {
        Ok(caps) => space::assert_sound(&caps, bars),
        Err(error) => assert!(error.to_string().contains(" capability: ")),
    }
}

fn bar(bytes: &[u8; 9]) -> BarInfo {
    let [kind, len @ ..] = *bytes;
    BarInfo {
        kind: match kind % 4 {
            0 => BarKind::Absent,
            1 => BarKind::Io,
            _ => BarKind::Memory,
        },
        len: u64::from_le_bytes(len),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some(([mode], data)) = data.split_first_chunk::<1>() else {
        return;
    };
    let Some((bytes, data)) = data.split_first_chunk::<{ 9 * NUM_BARS }>() else {
        return;
    };
    let mut bars = space::QEMU_BARS;
    if mode & 4 != 0 {
        for (to, from) in bars.iter_mut().zip(bytes.chunks_exact(9)) {
            *to = bar(from.first_chunk().unwrap());
        }
    }

    match mode & 3 {
        0 => {
            let mut config = space::Space::empty();
            let len = data.len().min(256);
            config.put(0, &data[..len]);
            check(&config, &bars);
        }
        1 => check(
            &Fickle {
                stream: data,
                next: Cell::new(0),
            },
            &bars,
        ),
        _ => {
            let mut config = space::Space::qemu();
            for patch in data.chunks_exact(2) {
                config.0[usize::from(patch[0])] = patch[1];
            }
            check(&config, &bars);
        }
    }
});
