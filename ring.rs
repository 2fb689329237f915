// SPDX-License-Identifier: GPL-2.0

//! [`Ring`] is the driver's half of a split virtqueue: descriptors, available and used ring,
//! indirect tables and event index, as in "Split Virtqueues" (2.7) of the virtio 1.3 specification.
//!
//! A [`Ring`] owns a [`Request`] with all its memory from [`Ring::push`] until the device has used
//! it ([`Ring::pop`]) or was reset ([`Ring::take_in_flight`]). There is no third way to get it
//! back, not even after a timeout: the device may still write to it.
//!
//! The device is not trusted. What it writes is read once into a local, checked and used from
//! there. The first violation breaks the ring: [`Ring::broken`] returns the cause, and no later
//! call accesses the shared memory. The driver does not read back what it wrote there, as the
//! device could change it: a [`Slot`] per descriptor holds the driver's own record.
//!
//! Nothing here locks, waits or allocates. The owner's lock guards the ring. Every function may be
//! called in any context, also in hard interrupt handlers. Only `core` is used, so the same source
//! is tested in user space (`selftests/ring`).
//!
//! C counterpart: `drivers/virtio/virtio_ring.c`.

use core::{
    ops::DerefMut,
    slice, //
};

use self::layout::{
    AVAIL_ENTRY_SIZE,
    AVAIL_F_NO_INTERRUPT,
    DESC_ADDR,
    DESC_FLAGS,
    DESC_LEN,
    DESC_NEXT,
    DESC_SIZE,
    RING_ENTRIES,
    RING_FLAGS,
    RING_IDX,
    USED_ELEM_ID,
    USED_ELEM_LEN,
    USED_ELEM_SIZE,
    USED_F_NO_NOTIFY, //
};

mod describe;
mod errors;
mod layout;
mod slots;

pub(crate) use self::{
    errors::{
        Broken,
        PushError,
        PushReason, //
    },
    layout::{
        Config,
        ConfigError,
        Layout, //
    },
    slots::Slot,
};

/// The memory shared with the device, and the barriers that order accesses to it.
///
/// Values are in CPU order; implementations convert from and to little endian. Each function but
/// [`write_desc`](Self::write_desc) makes exactly one volatile access, at an `offset` in bytes that
/// is aligned for it. The ring stays within the [`Layout::total`] bytes that [`Ring::new`] checked.
pub(crate) trait Memory {
    /// Returns the address of offset 0 as the device sees it.
    fn device_address(&self) -> u64;

    /// Returns the length in bytes.
    fn len(&self) -> usize;

    /// Loads 16 bits.
    fn read_u16(&self, offset: usize) -> u16;

    /// Loads 32 bits.
    fn read_u32(&self, offset: usize) -> u32;

    /// Stores 16 bits.
    fn write_u16(&self, offset: usize, value: u16);

    /// Stores 32 bits.
    fn write_u32(&self, offset: usize, value: u32);

    /// Stores 64 bits.
    fn write_u64(&self, offset: usize, value: u64);

    /// Stores a descriptor. May use fewer stores: the device reads it only after it has read an
    /// index that is written later.
    fn write_desc(&self, offset: usize, segment: Segment, flags: u16, next: u16) {
        self.write_u64(offset + DESC_ADDR, segment.address);
        self.write_u32(offset + DESC_LEN, segment.len);
        self.write_u16(offset + DESC_FLAGS, flags);
        self.write_u16(offset + DESC_NEXT, next);
    }

    /// Full barrier: `virt_mb()`, or `mb()` if `VIRTIO_F_ORDER_PLATFORM` was negotiated.
    ///
    /// Never only a compiler barrier, not even on a UP kernel: the device runs on another CPU.
    fn virt_mb(&self);

    /// Orders loads before it before loads after it, and before stores after it that depend on
    /// them: `virt_rmb()`, or `dma_rmb()` if `VIRTIO_F_ORDER_PLATFORM` was negotiated.
    fn virt_rmb(&self);

    /// Orders stores before it before stores after it: `virt_wmb()`, or `dma_wmb()` if
    /// `VIRTIO_F_ORDER_PLATFORM` was negotiated.
    fn virt_wmb(&self);
}

/// A piece of memory that the device can address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Address as the device sees it.
    pub(crate) address: u64,

    /// Length in bytes, not zero.
    pub(crate) len: u32,
}

/// Owns the memory that the device reads and writes for one request.
///
/// The segments stay valid until the request is dropped, also when it is moved.
pub(crate) trait Request {
    /// Returns the segments that the device reads, at least one.
    fn readable(&self) -> impl AsRef<[Segment]>;

    /// Returns the segments that the device writes, maybe none.
    fn writable(&self) -> impl AsRef<[Segment]>;
}

/// A request that the device has used.
#[derive(Debug)]
pub(crate) struct Used<R> {
    /// The request.
    pub(crate) request: R,

    /// What [`Ring::push`] returned for it.
    #[allow(dead_code, reason = "for owners that keep state of their own by token")]
    pub(crate) token: u16,

    /// Bytes the device says it wrote, from the start of the first writable segment on; at most as
    /// many as those segments hold.
    pub(crate) written: u32,
}

/// The driver's half of a split virtqueue.
///
/// Requests in flight are dropped with the ring, so the owner resets the device first. If the
/// device does not reset, the owner leaks their memory, or the ring ([`core::mem::forget`]).
///
/// # Invariants
///
/// - `slots` has `config.size` elements. A list starts at `free_head` and goes on through `next`;
///   its first `free` elements are the descriptors that are in no chain, each once.
/// - `in_flight` slots hold a request. `published <= added`, and the device does not know of the
///   `added - published` requests with the highest `position`.
/// - `used_idx - last_used` is at most the number of requests known to the device.
pub(crate) struct Ring<M, R, S> {
    memory: M,
    slots: S,
    config: Config,
    layout: Layout,
    broken: Option<Broken>,
    free_head: u16,
    free: u16,
    in_flight: u16,
    /// How many requests were ever pushed; its low 16 bits are the next index of the available
    /// ring.
    added: u64,
    /// How many requests were ever published; its low 16 bits are the index in the available ring.
    published: u64,
    /// Next element of the used ring to pop.
    last_used: u16,
    /// The used index when last read and checked.
    used_idx: u16,
    /// The device was asked for interrupts.
    armed: bool,
    /// Next slot for `take_in_flight` to look at.
    drained: u16,
    _request: core::marker::PhantomData<R>,
}

impl<M, R, S> Ring<M, R, S>
where
    M: Memory,
    R: Request,
    S: DerefMut<Target = [Slot<R>]>,
{
    /// Makes an empty ring in `memory`, with interrupts enabled, and initializes all of
    /// `memory`.
    ///
    /// `memory` has at least [`Layout::total`] bytes at an address that is a multiple of 16, and
    /// no device uses it yet. `slots` are [`Config::size`] times [`Slot::EMPTY`].
    ///
    /// Errors: those of [`Config::layout`], [`ConfigError::ShortMemory`], [`ConfigError::Address`]
    /// and [`ConfigError::Slots`].
    pub(crate) fn new(memory: M, slots: S, config: Config) -> Result<Self, ConfigError> {
        let layout = config.layout()?;

        if memory.len() < layout.total {
            return Err(ConfigError::ShortMemory);
        }
        let total = u64::try_from(layout.total).map_err(|_| ConfigError::TooLarge)?;
        let address = memory.device_address();
        if address & (DESC_SIZE as u64 - 1) != 0 || address.checked_add(total).is_none() {
            return Err(ConfigError::Address);
        }
        if slots.len() != usize::from(config.size) {
            return Err(ConfigError::Slots);
        }

        // INVARIANT: Nothing is in flight, and `link_slots` puts all descriptors on the free list.
        let mut ring = Self {
            memory,
            slots,
            config,
            layout,
            broken: None,
            free_head: 0,
            free: config.size,
            in_flight: 0,
            added: 0,
            published: 0,
            last_used: 0,
            used_idx: 0,
            armed: true,
            drained: 0,
            _request: core::marker::PhantomData,
        };
        ring.link_slots();
        ring.clear_memory();
        Ok(ring)
    }

    /// Empties the ring, so that it is as [`Self::new`] made it. Call it after the device was reset
    /// and [`Self::take_in_flight`] has returned [`None`]: requests that are left are dropped.
    pub(crate) fn restart(&mut self) {
        // INVARIANT: As in `new`.
        self.link_slots();
        self.clear_memory();
        self.broken = None;
        self.free_head = 0;
        self.free = self.config.size;
        self.in_flight = 0;
        self.added = 0;
        self.published = 0;
        self.last_used = 0;
        self.used_idx = 0;
        self.armed = true;
        self.drained = 0;
    }

    /// Zeroes the memory, so that the device cannot read what was in it before. Zero also means:
    /// nothing is available, nothing is used, and both sides want a notification of the first
    /// element.
    fn clear_memory(&self) {
        let none = Segment { address: 0, len: 0 };

        for id in 0..self.config.size {
            self.memory.write_desc(self.desc_offset(id), none, 0, 0);
            self.memory.write_u16(self.avail_entry_offset(id), 0);
            let elem = self.used_elem_offset(id);
            self.memory.write_u32(elem + USED_ELEM_ID, 0);
            self.memory.write_u32(elem + USED_ELEM_LEN, 0);
        }
        for table in (self.layout.tables..self.layout.total).step_by(DESC_SIZE) {
            self.memory.write_desc(table, none, 0, 0);
        }
        for ring in [self.layout.avail, self.layout.used] {
            self.memory.write_u16(ring + RING_FLAGS, 0);
            self.memory.write_u16(ring + RING_IDX, 0);
        }
        self.memory.write_u16(self.used_event_offset(), 0);
        self.memory.write_u16(self.avail_event_offset(), 0);
    }

    /// Takes `request` and writes its descriptors, which the device sees after the next
    /// [`Ring::publish`]. Returns its token, unique among the requests in flight.
    ///
    /// C counterpart: `virtqueue_add_split()`.
    ///
    /// Errors: [`PushError`] returns the request, with the [`PushReason`]. The ring is as before.
    pub(crate) fn push(&mut self, request: R) -> Result<u16, PushError<R>> {
        let described = {
            let (readable, writable) = (request.readable(), request.writable());
            match readable.as_ref() {
                // Most requests. The compiler leaves out the loops over this list.
                [only] => self.describe(slice::from_ref(only), writable.as_ref()),
                list => self.describe(list, writable.as_ref()),
            }
        };
        match described {
            Ok(head) => {
                if let Some(slot) = self.slot_mut(head) {
                    slot.request = Some(request);
                }
                self.in_flight += 1;
                self.added += 1;
                Ok(head)
            }
            Err(reason) => Err(PushError { reason, request }),
        }
    }

    /// Makes all pushed requests visible to the device. Returns whether to kick it. If so the
    /// owner must do that, but may do so later and without its lock.
    ///
    /// C counterpart: `virtqueue_kick_prepare_split()`.
    #[must_use]
    pub(crate) fn publish(&mut self) -> bool {
        if self.broken.is_some() || self.added == self.published {
            return false;
        }
        let old = self.published as u16;
        let new = self.added as u16;

        // Orders descriptors, tables and available entries before the index that covers them. Pairs
        // with the device's read barrier between its load of the index and its loads of those.
        self.memory.virt_wmb();
        self.memory.write_u16(self.layout.avail + RING_IDX, new);
        self.published = self.added;

        // Orders the index before the load of `avail_event` or the flags. Pairs with the device's
        // full barrier between its store of those and its last load of the index before it sleeps:
        // either the device sees the new index, or this sees that it wants a kick.
        self.memory.virt_mb();
        if self.config.event_idx {
            let event = self.memory.read_u16(self.avail_event_offset());
            need_event(event, new, old)
        } else {
            let flags = self.memory.read_u16(self.layout.used + RING_FLAGS);
            flags & USED_F_NO_NOTIFY == 0
        }
    }

    /// Takes the next request that the device has used out of the ring; `None` if there is none
    /// now. The owner frees or reuses it outside of its lock.
    ///
    /// C counterpart: `virtqueue_get_buf_ctx_split()`.
    ///
    /// Errors: the cause, if the ring was broken or this call breaks it.
    pub(crate) fn pop(&mut self) -> Result<Option<Used<R>>, Broken> {
        if let Some(cause) = self.broken {
            return Err(cause);
        }
        if self.pending()? == 0 {
            return Ok(None);
        }

        let elem = self.used_elem_offset(self.last_used);
        let id = self.memory.read_u32(elem + USED_ELEM_ID);
        let written = self.memory.read_u32(elem + USED_ELEM_LEN);
        let (token, request) = match self.take(id, written) {
            Ok(taken) => taken,
            Err(cause) => return Err(self.mark_broken(cause)),
        };

        self.last_used = self.last_used.wrapping_add(1);
        self.in_flight -= 1;
        Ok(Some(Used {
            request,
            token,
            written,
        }))
    }

    /// Checks a used element and frees the descriptors of its request.
    ///
    /// Errors: what the device did wrong.
    fn take(&mut self, id: u32, written: u32) -> Result<(u16, R), Broken> {
        let published = self.published;
        let head = u16::try_from(id).map_err(|_| Broken::IdOutOfRange)?;
        let slot = self.slot_mut(head).ok_or(Broken::IdOutOfRange)?;

        if slot.returned {
            return Err(Broken::IdUsedTwice);
        }
        if slot.position >= published {
            return Err(Broken::IdNotInFlight);
        }
        if slot.request.is_some() && written > slot.writable {
            return Err(Broken::Length);
        }
        let request = slot.request.take().ok_or(Broken::IdNotInFlight)?;
        let descriptors = slot.descriptors;
        slot.returned = true;

        self.free_chain(head, descriptors);
        Ok((head, request))
    }

    /// Returns how many used elements there are to pop. Loads the used index only if none is known,
    /// which saves loads, checks and barriers.
    fn pending(&mut self) -> Result<u16, Broken> {
        let known = self.used_idx.wrapping_sub(self.last_used);
        if known != 0 {
            return Ok(known);
        }

        let idx = self.memory.read_u16(self.layout.used + RING_IDX);
        let pending = idx.wrapping_sub(self.last_used);
        if pending == 0 {
            return Ok(0);
        }
        if pending > self.visible() {
            return Err(self.mark_broken(Broken::UsedIndex));
        }

        // Orders the load of the index before loads of the elements that it covers and of what the
        // device wrote for them. Pairs with the device's write barrier between its stores of those
        // and its store of the index.
        self.memory.virt_rmb();
        self.used_idx = idx;
        Ok(pending)
    }

    /// Asks the device for an interrupt at the next used element. Returns true if there are
    /// elements already. No interrupt may come for them: the caller takes them with
    /// [`Ring::pop`], and then calls this again.
    ///
    /// With event index, each call asks for one interrupt, and no other follows before the next
    /// call.
    ///
    /// C counterpart: `virtqueue_enable_cb_prepare_split()` and `virtqueue_poll_split()`.
    #[must_use]
    pub(crate) fn enable_interrupts(&mut self) -> bool {
        if self.broken.is_some() {
            return false;
        }

        if self.config.event_idx {
            self.memory
                .write_u16(self.used_event_offset(), self.last_used);
        } else if !self.armed {
            self.memory.write_u16(self.layout.avail + RING_FLAGS, 0);
        }
        self.armed = true;

        // Orders the stores above before the load of the used index. Pairs with the device's full
        // barrier between its store of that index and its load of `used_event` or the flags: either
        // this sees the new element, or the device sees that it must interrupt.
        self.memory.virt_mb();

        // If this breaks the ring, the caller learns it from the next `pop`.
        self.pending() != Ok(0)
    }

    /// Tells the device that no interrupts are needed. This is a hint: some may come anyway.
    ///
    /// C counterpart: `virtqueue_disable_cb_split()`.
    pub(crate) fn disable_interrupts(&mut self) {
        if self.broken.is_some() || !self.armed {
            return;
        }

        // No barrier: one interrupt too many does no harm.
        if self.config.event_idx {
            // The specification says that the flags stay 0. So this asks for the element that the
            // index reaches last.
            self.memory
                .write_u16(self.used_event_offset(), self.last_used.wrapping_sub(1));
        } else {
            self.memory
                .write_u16(self.layout.avail + RING_FLAGS, AVAIL_F_NO_INTERRUPT);
        }
        self.armed = false;
    }

    /// Returns why the ring is broken, if it is.
    pub(crate) fn broken(&self) -> Option<Broken> {
        self.broken
    }

    /// Marks the ring broken: no later call accesses the shared memory. Returns the cause: the
    /// first one, if the ring was broken before.
    pub(crate) fn mark_broken(&mut self, cause: Broken) -> Broken {
        *self.broken.get_or_insert(cause)
    }

    /// Takes a request that is in flight out of the ring, in no particular order; `None` if there
    /// is no more. Marks the ring broken.
    ///
    /// Call it only after the device was reset, or is gone and cannot access memory: until then the
    /// memory of the request belongs to the device.
    pub(crate) fn take_in_flight(&mut self) -> Option<R> {
        self.mark_broken(Broken::Reset);

        while self.in_flight > 0 {
            let drained = self.drained;
            let request = self.slot_mut(drained)?.request.take();
            self.drained += 1;
            if request.is_some() {
                self.in_flight -= 1;
                return request;
            }
        }
        None
    }

    /// Returns whether interrupts are enabled: asked for, and not disabled since.
    pub(crate) fn is_armed(&self) -> bool {
        self.armed
    }

    /// Returns whether the device has used a request that was not popped. What it wrote is not
    /// checked.
    pub(crate) fn has_used(&self) -> bool {
        let used = || self.memory.read_u16(self.layout.used + RING_IDX);
        self.broken.is_none() && (self.used_idx != self.last_used || used() != self.last_used)
    }

    /// Returns whether the device has no request.
    pub(crate) fn is_idle(&self) -> bool {
        self.visible() == 0
    }

    /// Returns the queue size in descriptors.
    pub(crate) fn size(&self) -> u16 {
        self.config.size
    }

    /// Returns how many descriptors are free.
    pub(crate) fn free_descriptors(&self) -> u16 {
        self.free
    }

    /// Returns how many requests the ring owns, published or not.
    pub(crate) fn in_flight(&self) -> u16 {
        self.in_flight
    }

    /// Returns the index in the available ring as last published.
    pub(crate) fn avail_idx(&self) -> u16 {
        self.published as u16
    }

    /// Returns the index of the used element that comes next.
    pub(crate) fn last_used(&self) -> u16 {
        self.last_used
    }

    /// Returns the device address for `queue_desc`.
    pub(crate) fn descriptor_address(&self) -> u64 {
        self.memory.device_address() + self.layout.desc as u64
    }

    /// Returns the device address for `queue_driver`.
    pub(crate) fn available_address(&self) -> u64 {
        self.memory.device_address() + self.layout.avail as u64
    }

    /// Returns the device address for `queue_device`.
    pub(crate) fn used_address(&self) -> u64 {
        self.memory.device_address() + self.layout.used as u64
    }

    /// Returns how many requests are published and not popped.
    fn visible(&self) -> u16 {
        self.in_flight - (self.added - self.published) as u16
    }

    fn desc_offset(&self, id: u16) -> usize {
        self.layout.desc + self.wrap(id) * DESC_SIZE
    }

    fn avail_entry_offset(&self, idx: u16) -> usize {
        self.layout.avail + RING_ENTRIES + self.wrap(idx) * AVAIL_ENTRY_SIZE
    }

    fn used_elem_offset(&self, idx: u16) -> usize {
        self.layout.used + RING_ENTRIES + self.wrap(idx) * USED_ELEM_SIZE
    }

    fn used_event_offset(&self) -> usize {
        self.layout.avail + RING_ENTRIES + usize::from(self.config.size) * AVAIL_ENTRY_SIZE
    }

    fn avail_event_offset(&self) -> usize {
        self.layout.used + RING_ENTRIES + usize::from(self.config.size) * USED_ELEM_SIZE
    }

    /// Returns the place of index `idx` in a ring. The size is a power of two, so the index may
    /// wrap around at 16 bits.
    fn wrap(&self, idx: u16) -> usize {
        usize::from(idx & (self.config.size - 1))
    }
}

/// Returns whether the step from index `old` to `new` passes `event`, the element that the other
/// side wants a notification of. It is correct also when the index wraps around.
///
/// C counterpart: `vring_need_event()`.
pub(crate) fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}
