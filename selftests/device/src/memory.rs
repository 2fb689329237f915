// SPDX-License-Identifier: GPL-2.0

//! The guest's memory, of which the device reads and writes only what the driver told it of.

use std::sync::atomic::{
    AtomicU64,
    Ordering, //
};

use vm_memory::{
    bitmap::BS,
    guest_memory::{
        Error,
        GuestMemorySliceIterator,
        Result, //
    },
    GuestAddress,
    GuestMemory,
    GuestMemoryBackend,
    GuestMemoryMmap,
    Permissions, //
};

use crate::note;

/// The memory that QEMU shares, by guest address.
pub type Map = GuestMemoryMmap<()>;

/// Ranges of guest addresses, sorted, none of which touch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// The union of ranges, each with an address and a length in bytes.
    pub fn new(ranges: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut sorted: Vec<_> = ranges
            .into_iter()
            .filter(|(_, length)| *length > 0)
            .map(|(start, length)| (start, start.saturating_add(length)))
            .collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (start, end) in sorted {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        Self(merged)
    }

    /// Adds a range.
    pub fn add(&mut self, start: u64, length: u64) {
        let old = self.0.iter().map(|(start, end)| (*start, end - start));
        *self = Self::new(old.chain([(start, length)]).collect::<Vec<_>>());
    }

    /// Whether one of the ranges holds all of this one.
    fn covers(&self, start: u64, length: u64) -> bool {
        let next = self.0.partition_point(|range| range.0 <= start);
        match (self.0[..next].last(), start.checked_add(length)) {
            (Some(range), Some(end)) => end <= range.1,
            _ => false,
        }
    }
}

/// What went wrong with the guest's memory.
#[derive(Debug, Default)]
pub struct Violations {
    /// The device was about to touch memory that it was not told of. Its own fault.
    pub untold: AtomicU64,
    /// The driver told of memory that is none.
    pub unmapped: AtomicU64,
}

/// The guest's memory as one command may see it. Each access is checked, and refused if wrong.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub map: &'a Map,
    /// What the driver told of: areas of queues, what descriptors name, backing of resources.
    pub told: [&'a Ranges; 2],
    pub violations: &'a Violations,
}

impl GuestMemory for View<'_> {
    type PhysicalMemory = Map;
    type Bitmap = ();

    fn check_range(&self, addr: GuestAddress, count: usize, _access: Permissions) -> bool {
        let told = |ranges: &&Ranges| ranges.covers(addr.0, count as u64);
        if !self.told.iter().any(told) {
            note(&format!(
                "violation: untold {:#x}, {count:#x} bytes",
                addr.0
            ));
            self.violations.untold.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let mapped = GuestMemoryBackend::check_range(self.map, addr, count);
        if !mapped {
            note(&format!(
                "violation: unmapped {:#x}, {count:#x} bytes",
                addr.0
            ));
            self.violations.unmapped.fetch_add(1, Ordering::Relaxed);
        }
        mapped
    }

    fn get_slices<'a>(
        &'a self,
        addr: GuestAddress,
        count: usize,
        access: Permissions,
    ) -> Result<impl GuestMemorySliceIterator<'a, BS<'a, Self::Bitmap>>> {
        if !self.check_range(addr, count, access) {
            return Err(Error::InvalidGuestAddress(addr));
        }
        Ok(GuestMemoryBackend::get_slices(self.map, addr, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::Bytes;

    #[test]
    fn ranges_are_merged() {
        let ranges = Ranges::new([(8, 8), (0, 4), (4, 4), (32, 0), (40, 2), (41, 8)]);
        assert_eq!(ranges, Ranges(vec![(0, 16), (40, 49)]));
        assert!(ranges.covers(0, 16) && ranges.covers(48, 1) && ranges.covers(3, 0));
        assert!(!ranges.covers(0, 17) && !ranges.covers(16, 1) && !ranges.covers(39, 2));
        assert!(!ranges.covers(u64::MAX, 2) && !Ranges::default().covers(0, 1));
    }

    #[test]
    fn what_was_not_told_is_refused_and_counted() {
        let map = Map::from_ranges(&[(GuestAddress(0), 0x1000)]).unwrap();
        let violations = Violations::default();
        let (told, none) = (
            Ranges::new([(0x100, 0x100), (0xff0, 0x20)]),
            Ranges::default(),
        );
        let view = View {
            map: &map,
            told: [&none, &told],
            violations: &violations,
        };
        let mut byte = [0; 16];

        view.write_slice(&[7; 16], GuestAddress(0x1f0)).unwrap();
        view.read_slice(&mut byte, GuestAddress(0x1f0)).unwrap();
        assert_eq!(byte, [7; 16]);
        assert_eq!(violations.untold.load(Ordering::Relaxed), 0);

        assert!(view.read_slice(&mut byte, GuestAddress(0x1f1)).is_err());
        assert!(view.write_slice(&byte, GuestAddress(0)).is_err());
        assert_eq!(violations.untold.load(Ordering::Relaxed), 2);
        assert_eq!(violations.unmapped.load(Ordering::Relaxed), 0);

        assert!(view.read_slice(&mut byte, GuestAddress(0xff8)).is_err());
        assert_eq!(violations.untold.load(Ordering::Relaxed), 2);
        assert_eq!(violations.unmapped.load(Ordering::Relaxed), 1);
    }
}
