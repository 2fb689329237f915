// SPDX-License-Identifier: GPL-2.0

//! From a request to the descriptors that tell the device about it.

use core::ops::DerefMut;

use super::{
    layout::{
        DESC_F_INDIRECT,
        DESC_F_NEXT,
        DESC_F_WRITE,
        DESC_SIZE, //
    },
    Memory,
    Part,
    PushReason,
    Request,
    Ring,
    Slot, //
};

impl<M, R, S> Ring<M, R, S>
where
    M: Memory,
    R: Request,
    S: DerefMut<Target = [Slot<R>]>,
{
    /// Writes the descriptors of a request and its entry in the available ring; returns the head.
    pub(super) fn describe(
        &mut self,
        readable: &[Part],
        writable: &[Part],
    ) -> Result<u16, PushReason> {
        if let Some(poison) = self.poison {
            return Err(PushReason::Poisoned(poison));
        }
        let (parts, writable_len) = self.check_parts(readable, writable)?;
        let indirect = self.config.indirect && parts > 1;
        let descriptors = if indirect { 1 } else { parts };
        if descriptors > self.free {
            return Err(PushReason::NoRoom);
        }

        let head = self.free_head;
        if indirect {
            self.write_table(head, parts, readable, writable);
        } else {
            self.write_chain(head, parts, readable, writable);
        }

        // INVARIANT: The first `descriptors` of the free list are the new chain, linked as they
        // were, and the list begins after them.
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

        // No more than `size` requests are in flight, so that the device has passed the entry.
        self.memory
            .write_u16(self.avail_entry_offset(position as u16), head);
        Ok(head)
    }

    /// Returns the number of parts and the length of the writable ones in bytes.
    fn check_parts(&self, readable: &[Part], writable: &[Part]) -> Result<(u16, u32), PushReason> {
        if readable.is_empty() {
            return Err(PushReason::NoParts);
        }
        let parts = readable
            .len()
            .checked_add(writable.len())
            .and_then(|parts| u16::try_from(parts).ok())
            .filter(|parts| *parts <= self.config.max_parts)
            .ok_or(PushReason::TooManyParts)?;

        let writable_len = total_len(writable, 0)?;
        total_len(readable, writable_len)?;
        Ok((parts, writable_len))
    }

    /// Writes a request as a chain of the first `parts` descriptors on the free list.
    fn write_chain(&self, head: u16, parts: u16, readable: &[Part], writable: &[Part]) {
        let mut id = head;

        self.write_parts(parts, readable, writable, || {
            let desc = self.desc_offset(id);
            id = self.next(id);
            (desc, id)
        });
    }

    /// Writes a request to the indirect table of `head`, and that to the descriptor.
    fn write_table(&self, head: u16, parts: u16, readable: &[Part], writable: &[Part]) {
        let table = self.layout.tables + usize::from(head) * self.config.table_size();
        let mut number = 0;

        self.write_parts(parts, readable, writable, || {
            let desc = table + usize::from(number) * DESC_SIZE;
            number += 1;
            (desc, number)
        });

        let part = Part {
            address: self.memory.dma_address() + table as u64,
            len: u32::from(parts) * DESC_SIZE as u32,
        };
        self.memory
            .write_desc(self.desc_offset(head), part, DESC_F_INDIRECT, 0);
    }

    /// Writes the descriptors of a request with `parts` parts. `place` returns where the next one
    /// goes and the number of the one after it.
    fn write_parts(
        &self,
        parts: u16,
        readable: &[Part],
        writable: &[Part],
        mut place: impl FnMut() -> (usize, u16),
    ) {
        let mut left = parts;

        for (list, kind) in [(readable, 0), (writable, DESC_F_WRITE)] {
            for part in list {
                let (desc, next) = place();
                left -= 1;
                let (flags, next) = match left {
                    0 => (kind, 0),
                    _ => (kind | DESC_F_NEXT, next),
                };
                self.memory.write_desc(desc, *part, flags, next);
            }
        }
    }
}

/// Adds the lengths of `parts` in bytes to `len`.
fn total_len(parts: &[Part], len: u32) -> Result<u32, PushReason> {
    parts.iter().try_fold(len, |len, part| {
        // The last byte may be the last of the address space.
        let last = part.len.checked_sub(1).ok_or(PushReason::BadPart)?;
        part.address
            .checked_add(u64::from(last))
            .ok_or(PushReason::BadPart)?;
        len.checked_add(part.len).ok_or(PushReason::TooLong)
    })
}
