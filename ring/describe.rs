// SPDX-License-Identifier: GPL-2.0

//! From a request to the descriptors that tell the device about it.

use core::ops::DerefMut;

use super::{
    layout::{
        DESC_ADDR,
        DESC_FLAGS,
        DESC_F_INDIRECT,
        DESC_F_NEXT,
        DESC_F_WRITE,
        DESC_LEN,
        DESC_NEXT,
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

        for (part, flags, last) in flagged(parts, readable, writable) {
            let next = if last { 0 } else { self.next(id) };
            self.write_desc(self.desc_offset(id), part, flags, next);
            id = next;
        }
    }

    /// Writes a request to the indirect table of `head`, and that to the descriptor.
    fn write_table(&self, head: u16, parts: u16, readable: &[Part], writable: &[Part]) {
        let table = self.layout.tables + usize::from(head) * self.config.table_size();
        let descs = (table..).step_by(DESC_SIZE).zip(1u16..);

        for ((desc, next), (part, flags, last)) in descs.zip(flagged(parts, readable, writable)) {
            self.write_desc(desc, part, flags, if last { 0 } else { next });
        }

        let part = Part {
            address: self.memory.dma_address() + table as u64,
            len: u32::from(parts) * DESC_SIZE as u32,
        };
        self.write_desc(self.desc_offset(head), part, DESC_F_INDIRECT, 0);
    }

    pub(super) fn write_desc(&self, desc: usize, part: Part, flags: u16, next: u16) {
        self.memory.write_u64(desc + DESC_ADDR, part.address);
        self.memory.write_u32(desc + DESC_LEN, part.len);
        self.memory.write_u16(desc + DESC_FLAGS, flags);
        self.memory.write_u16(desc + DESC_NEXT, next);
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

/// Yields each part with its descriptor flags and whether it is the last of the `parts`.
fn flagged<'a>(
    parts: u16,
    readable: &'a [Part],
    writable: &'a [Part],
) -> impl Iterator<Item = (Part, u16, bool)> + 'a {
    let readable = readable.iter().map(|part| (*part, 0));
    let writable = writable.iter().map(|part| (*part, DESC_F_WRITE));

    readable
        .chain(writable)
        .zip(1..=parts)
        .map(move |((part, flags), number)| {
            let last = number == parts;
            (part, if last { flags } else { flags | DESC_F_NEXT }, last)
        })
}
