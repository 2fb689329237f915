// SPDX-License-Identifier: GPL-2.0

//! [`Fifo`] queues items under a message lock, where it cannot allocate.

use kernel::prelude::*;

/// A queue of fixed capacity. Allocates only when it is made.
pub(crate) struct Fifo<T> {
    items: KVec<Option<T>>,
    head: usize,
    len: usize,
}

impl<T> Fifo<T> {
    /// Makes an empty queue for `capacity` items.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn new(capacity: usize) -> Result<Self> {
        let mut items = KVec::with_capacity(capacity, GFP_KERNEL)?;
        for _ in 0..capacity {
            items.push_within_capacity(None).map_err(|_| ENOMEM)?;
        }
        Ok(Self {
            items,
            head: 0,
            len: 0,
        })
    }

    /// Returns the number of items.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns how many items there is room for.
    pub(crate) fn free(&self) -> usize {
        self.items.len() - self.len
    }

    /// Returns whether there is no item.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether there is no room.
    pub(crate) fn is_full(&self) -> bool {
        self.len == self.items.len()
    }

    /// Returns the place of the item that has `at` others before it. `at` is below the capacity.
    fn place(&self, at: usize) -> usize {
        let (sum, capacity) = (self.head + at, self.items.len());
        // Cheaper than a division.
        match sum < capacity {
            true => sum,
            false => sum - capacity,
        }
    }

    /// Appends an item, or hands it back if there is no room.
    pub(crate) fn push(&mut self, item: T) -> Result<(), T> {
        if self.is_full() {
            return Err(item);
        }
        let at = self.place(self.len);
        match self.items.get_mut(at) {
            Some(place) => {
                *place = Some(item);
                self.len += 1;
                Ok(())
            }
            None => Err(item),
        }
    }

    /// Returns the oldest item.
    pub(crate) fn front(&self) -> Option<&T> {
        self.items.get(self.head)?.as_ref()
    }

    /// Returns the item that has `at` others before it.
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.items.get(self.place(at))?.as_ref()
    }

    /// Returns the item that has `at` others before it, for a change.
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        let at = self.place(at);
        self.items.get_mut(at)?.as_mut()
    }

    /// Returns all items, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.len).filter_map(|at| self.get(at))
    }

    /// Takes the newest item.
    pub(crate) fn pop_back(&mut self) -> Option<T> {
        let last = self.place(self.len.checked_sub(1)?);
        let item = self.items.get_mut(last)?.take()?;
        self.len -= 1;
        Some(item)
    }

    /// Takes the oldest item.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let item = self.items.get_mut(self.head)?.take()?;
        self.head = self.place(1);
        self.len -= 1;
        Some(item)
    }

    /// Takes the oldest item if it is `wanted`.
    #[inline]
    pub(crate) fn pop_if(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        let item = self
            .items
            .get_mut(self.head)?
            .take_if(|item| wanted(item))?;
        self.head = self.place(1);
        self.len -= 1;
        Some(item)
    }

    /// Takes the oldest item that is `wanted`, from wherever it is. The time that this takes grows
    /// with the number of items before it.
    pub(crate) fn take(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        if let Some(item) = self.pop_if(&wanted) {
            return Some(item);
        }
        let found = (0..self.len).find(|&at| {
            let item = self.items.get(self.place(at));
            item.and_then(Option::as_ref).is_some_and(&wanted)
        })?;
        let from = self.place(found);
        let item = self.items.get_mut(from)?.take();
        // Those before it move up.
        for at in (0..found).rev() {
            let (from, to) = (self.place(at), self.place(at + 1));
            let moved = self.items.get_mut(from).and_then(Option::take);
            if let Some(gap) = self.items.get_mut(to) {
                *gap = moved;
            }
        }
        self.head = self.place(1);
        self.len -= 1;
        item
    }

    /// Puts an item that [`Fifo::pop`] just took back in front, or hands it back if there is no
    /// room.
    pub(crate) fn unpop(&mut self, item: T) -> Result<(), T> {
        if self.is_full() {
            return Err(item);
        }
        let at = self.place(self.items.len() - 1);
        match self.items.get_mut(at) {
            Some(place) => {
                *place = Some(item);
                self.head = at;
                self.len += 1;
                Ok(())
            }
            None => Err(item),
        }
    }
}
