// SPDX-License-Identifier: GPL-2.0

//! [`Ring`] writes the descriptors of a request.

use core::ops::DerefMut;

use super::{
    layout::{
        DESC_F_INDIRECT,
        DESC_F_NEXT,
        DESC_F_WRITE,
        DESC_SIZE, //
    },
    Memory,
    PushReason,
    Request,
    Ring,
    Segment,
    Slot, //
};

impl<M, R, S> Ring<M, R, S>
where
    M: Memory,
    R: Request,
    S: DerefMut<Target = [Slot<R>]>,
{
    /// Writes the descriptors of a request and its entry in the available ring; returns the head.
    #[inline(always)]
    pub(super) fn describe(
        &mut self,
        readable: &[Segment],
        writable: &[Segment],
    ) -> Result<u16, PushReason> {
        if let Some(cause) = self.broken {
            return Err(PushReason::Broken(cause));
        }
        let (segments, writable_len) = self.check_segments(readable, writable)?;
        let indirect = self.config.indirect && segments > 1;
        let descriptors = if indirect { 1 } else { segments };
        if descriptors > self.free {
            return Err(PushReason::NoRoom);
        }

        let head = self.free_head;
        if indirect {
            self.write_table(head, segments, readable, writable);
        } else {
            self.write_chain(head, segments, readable, writable);
        }

        // INVARIANT: The first `descriptors` elements of the free list are the new chain, linked as
        // they were. The list now starts after them.
        let mut next = head;
        for _ in 0..descriptors {
            next = self.take_descriptor(next);
        }
        self.free_head = next;
        self.free -= descriptors;

        let position = self.added;
        if let Some(slot) = self.slot_mut(head) {
            slot.descriptors = descriptors;
            slot.writable = writable_len;
            slot.position = position;
        }

        // At most `size` requests are in flight, so the device has passed the entry.
        self.memory
            .write_u16(self.avail_entry_offset(position as u16), head);
        Ok(head)
    }

    /// Returns the number of segments and the length of the writable ones in bytes.
    #[inline(always)]
    fn check_segments(
        &self,
        readable: &[Segment],
        writable: &[Segment],
    ) -> Result<(u16, u32), PushReason> {
        if readable.is_empty() {
            return Err(PushReason::NoSegments);
        }
        let segments = readable
            .len()
            .checked_add(writable.len())
            .and_then(|segments| u16::try_from(segments).ok())
            .filter(|segments| *segments <= self.config.max_segments)
            .ok_or(PushReason::TooManySegments)?;

        let writable_len = total_len(writable, 0)?;
        total_len(readable, writable_len)?;
        Ok((segments, writable_len))
    }

    /// Writes a request as a chain of the first `segments` descriptors on the free list.
    #[inline(always)]
    fn write_chain(&self, head: u16, segments: u16, readable: &[Segment], writable: &[Segment]) {
        let mut id = head;

        self.write_segments(segments, readable, writable, || {
            let desc = self.desc_offset(id);
            id = self.next(id);
            (desc, id)
        });
    }

    /// Writes a request to the indirect table of `head`, and the place of the table to the
    /// descriptor.
    #[inline(always)]
    fn write_table(&self, head: u16, segments: u16, readable: &[Segment], writable: &[Segment]) {
        let table = self.layout.tables + usize::from(head) * self.config.table_size();
        let mut number = 0;

        self.write_segments(segments, readable, writable, || {
            let desc = table + usize::from(number) * DESC_SIZE;
            number += 1;
            (desc, number)
        });

        let segment = Segment {
            address: self.memory.device_address() + table as u64,
            len: u32::from(segments) * DESC_SIZE as u32,
        };
        self.memory
            .write_desc(self.desc_offset(head), segment, DESC_F_INDIRECT, 0);
    }

    /// Writes the descriptors of a request with `segments` segments. `place` returns where the next
    /// one goes and the number of the one after it.
    #[inline(always)]
    fn write_segments(
        &self,
        segments: u16,
        readable: &[Segment],
        writable: &[Segment],
        mut place: impl FnMut() -> (usize, u16),
    ) {
        let mut left = segments;

        for (list, kind) in [(readable, 0), (writable, DESC_F_WRITE)] {
            for segment in list {
                let (desc, next) = place();
                left -= 1;
                let (flags, next) = match left {
                    0 => (kind, 0),
                    _ => (kind | DESC_F_NEXT, next),
                };
                self.memory.write_desc(desc, *segment, flags, next);
            }
        }
    }
}

/// Adds the lengths of `segments` in bytes to `len`.
#[inline(always)]
fn total_len(segments: &[Segment], len: u32) -> Result<u32, PushReason> {
    segments.iter().try_fold(len, |len, segment| {
        // The last byte may be the last of the address space.
        let last = segment.len.checked_sub(1).ok_or(PushReason::BadSegment)?;
        segment
            .address
            .checked_add(u64::from(last))
            .ok_or(PushReason::BadSegment)?;
        len.checked_add(segment.len).ok_or(PushReason::TooLong)
    })
}
