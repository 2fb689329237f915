// SPDX-License-Identifier: GPL-2.0

//! [`Slot`] records what the driver knows about one descriptor; [`Ring`] keeps the list of the free
//! ones.

use core::ops::DerefMut;

use super::{
    Memory,
    Request,
    Ring, //
};

/// What the driver knows about one descriptor, in memory that the device cannot change.
///
/// [`Ring::new`] takes the storage of all slots, as it allocates nothing.
pub(crate) struct Slot<R> {
    /// The request whose chain starts here, if one is in flight.
    pub(super) request: Option<R>,

    /// Next in the chain or in the free list; meaningless for the last.
    pub(super) next: u16,

    /// Descriptors in the chain.
    pub(super) descriptors: u16,

    /// Bytes that the device may write.
    pub(super) writable: u32,

    /// How many requests were pushed before this one. 64 bits, as a smaller number could wrap
    /// around while a slow request is in flight.
    pub(super) position: u64,

    /// A chain that started here was popped, and the descriptor was not taken since.
    pub(super) returned: bool,
}

impl<R> Slot<R> {
    /// A slot as [`Ring::new`] takes it.
    pub(crate) const EMPTY: Self = Self {
        request: None,
        next: 0,
        descriptors: 0,
        writable: 0,
        position: 0,
        returned: false,
    };
}

impl<R> Default for Slot<R> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<M, R, S> Ring<M, R, S>
where
    M: Memory,
    R: Request,
    S: DerefMut<Target = [Slot<R>]>,
{
    /// Returns each request that the ring owns, with its token and whether it is published.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (u16, &R, bool)> {
        let published = self.published;
        (0u16..)
            .zip(self.slots.iter())
            .filter_map(move |(token, slot)| {
                let request = slot.request.as_ref()?;
                Some((token, request, slot.position < published))
            })
    }

    pub(super) fn link_slots(&mut self) {
        for (slot, next) in self.slots.iter_mut().zip(1u16..) {
            *slot = Slot {
                next,
                ..Slot::EMPTY
            };
        }
    }

    pub(super) fn slot_mut(&mut self, id: u16) -> Option<&mut Slot<R>> {
        self.slots.get_mut(usize::from(id))
    }

    pub(super) fn next(&self, id: u16) -> u16 {
        self.slots.get(usize::from(id)).map_or(0, |slot| slot.next)
    }

    /// Marks a descriptor as taken for a chain and returns what follows it on the free list.
    pub(super) fn take_descriptor(&mut self, id: u16) -> u16 {
        self.slot_mut(id).map_or(0, |slot| {
            slot.returned = false;
            slot.next
        })
    }

    /// Puts a chain at the start of the free list: it was used last, so it is most likely in the
    /// cache.
    pub(super) fn free_chain(&mut self, head: u16, descriptors: u16) {
        let free_head = self.free_head;
        let mut tail = head;

        for _ in 1..descriptors {
            tail = self.next(tail);
        }
        if let Some(slot) = self.slot_mut(tail) {
            slot.next = free_head;
        }
        self.free_head = head;
        self.free += descriptors;
    }
}
