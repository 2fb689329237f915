// SPDX-License-Identifier: GPL-2.0

//! [`Config`] describes a ring, and [`Layout`] says where its parts are in memory.

pub(super) const DESC_SIZE: usize = 16;
pub(super) const DESC_ADDR: usize = 0;
pub(super) const DESC_LEN: usize = 8;
pub(super) const DESC_FLAGS: usize = 12;
pub(super) const DESC_NEXT: usize = 14;

pub(super) const DESC_F_NEXT: u16 = 1;
pub(super) const DESC_F_WRITE: u16 = 2;
pub(super) const DESC_F_INDIRECT: u16 = 4;

// The available and the used ring both start with flags and index.
pub(super) const RING_FLAGS: usize = 0;
pub(super) const RING_IDX: usize = 2;
pub(super) const RING_ENTRIES: usize = 4;

pub(super) const AVAIL_ENTRY_SIZE: usize = 2;
pub(super) const AVAIL_F_NO_INTERRUPT: u16 = 1;

pub(super) const USED_ELEM_SIZE: usize = 8;
pub(super) const USED_ELEM_ID: usize = 0;
pub(super) const USED_ELEM_LEN: usize = 4;
pub(super) const USED_F_NO_NOTIFY: u16 = 1;

/// Alignment of the used ring and of the tables, in bytes. The specification asks for 16
/// (descriptors), 2 (available ring) and 4 (used ring). This is more, so that the device and the
/// driver do not write to the same cache line: each would take the line from the other at every
/// element. 128 covers the longest line of 64-bit machines and the pairs of lines that x86
/// prefetches. A page would use more memory and gain nothing.
const WRITER_ALIGN: usize = 128;

/// The size and the features of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// Queue size in descriptors, a power of two from 1 to 32768.
    pub(crate) size: u16,

    /// The most segments that a request has, from 1 to `size`: the specification allows no longer
    /// chains.
    pub(crate) max_segments: u16,

    /// `VIRTIO_F_INDIRECT_DESC` was negotiated.
    pub(crate) indirect: bool,

    /// `VIRTIO_F_EVENT_IDX` was negotiated.
    pub(crate) event_idx: bool,
}

/// Where the parts of a ring are, in bytes from the start of its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Descriptor table.
    pub(crate) desc: usize,

    /// Available ring, which the driver writes.
    pub(crate) avail: usize,

    /// Used ring, which the device writes.
    pub(crate) used: usize,

    /// One indirect table of `max_segments` descriptors for each descriptor; empty without indirect
    /// descriptors, or if requests have only one segment.
    pub(crate) tables: usize,

    /// Length of all parts together.
    pub(crate) total: usize,
}

/// Why no ring can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfigError {
    /// The size is zero or not a power of two.
    Size,

    /// The most segments of a request are 0, or more than the size.
    MaxSegments,

    /// The layout exceeds the address space.
    TooLarge,

    /// The memory is shorter than the layout.
    ShortMemory,

    /// The device address of the memory is not aligned for descriptors, or wraps around.
    Address,

    /// There is not exactly one slot per descriptor.
    Slots,
}

impl Config {
    /// Computes where the parts of the ring are.
    ///
    /// Errors: [`ConfigError::Size`], [`ConfigError::MaxSegments`] and [`ConfigError::TooLarge`].
    pub(crate) fn layout(&self) -> Result<Layout, ConfigError> {
        if !self.size.is_power_of_two() {
            return Err(ConfigError::Size);
        }
        if self.max_segments == 0 || self.max_segments > self.size {
            return Err(ConfigError::MaxSegments);
        }

        // At most 32768 of each, so no sum without the tables exceeds 32 bits.
        let size = usize::from(self.size);
        let avail = size * DESC_SIZE;
        let avail_end = avail + RING_ENTRIES + size * AVAIL_ENTRY_SIZE + size_of::<u16>();
        let used = avail_end.next_multiple_of(WRITER_ALIGN);
        let used_end = used + RING_ENTRIES + size * USED_ELEM_SIZE + size_of::<u16>();
        let tables = used_end.next_multiple_of(WRITER_ALIGN);
        let total = size
            .checked_mul(self.table_size())
            .and_then(|len| len.checked_add(tables))
            .ok_or(ConfigError::TooLarge)?;

        Ok(Layout {
            desc: 0,
            avail,
            used,
            tables,
            total,
        })
    }

    /// Returns the bytes of one indirect table.
    pub(super) fn table_size(&self) -> usize {
        if self.indirect && self.max_segments > 1 {
            usize::from(self.max_segments) * DESC_SIZE
        } else {
            0
        }
    }
}
