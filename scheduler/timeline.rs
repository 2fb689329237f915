// SPDX-License-Identifier: GPL-2.0

//! [`Timelines`] signals the fences of a client's packets, each timeline in its order.
//!
//! A packet may end before an older one of its timeline: a device answers what it refuses at once.
//! Such a fence is held back until all older ones are signalled, as those who wait for a fence take
//! it that what came before is done.
//!
//! They live in the lock of the node's message, under which the fences are signalled. Nothing is
//! allocated there. There is an entry for each fence that has a number and is not signalled, held
//! back or not; a client has no more of these than [places](super::client::CLIENT_LIMIT).

use kernel::{
    dma_buf::{
        DriverFence,
        DriverFenceAllocation,
        Fence,
        FenceContext,
        FenceContextOps, //
    },
    prelude::*,
    str::CString,
    sync::aref::ARef, //
};

use super::client::CLIENT_LIMIT;

/// No entry.
pub(super) const NO_FENCE: u16 = u16::MAX;

/// No entry, of an open packet whose file is gone. Tests have these too.
pub(super) const OPEN_WITHOUT_FENCE: u16 = u16::MAX - 2;

/// An entry that is no more: the fence was signalled before its packet ended.
pub(super) const FENCE_GONE: u16 = u16::MAX - 1;

/// The most rings of a client. A host executes the commands of a ring in their order, and those of
/// different rings, or of none, in any.
pub(crate) const MAX_RINGS: u8 = 64;

/// Timelines of a client: that of commands without a ring, and one for each ring.
const TIMELINES: usize = 1 + MAX_RINGS as usize;

/// The fences of a client's timeline.
pub(super) struct ClientFences;

impl FenceContextOps for ClientFences {
    type FenceDataType = ();
}

/// Makes the fences of a client, each timeline when it has the first one.
pub(super) struct FenceContexts(KVec<Option<Pin<KBox<FenceContext<ClientFences>>>>>);

impl FenceContexts {
    pub(super) const fn new() -> Self {
        Self(KVec::new())
    }

    /// Makes the memory of a fence for a packet on `ring`, or without one.
    ///
    /// Errors: [`ENOMEM`]; [`EINVAL`] if there is no such ring. Context: process; may sleep.
    pub(super) fn new_fence(&mut self, ring: Option<u8>) -> Result<PacketFence> {
        let timeline = match ring {
            None => 0,
            Some(ring) if ring < MAX_RINGS => ring + 1,
            Some(_) => return Err(EINVAL),
        };
        while self.0.len() <= usize::from(timeline) {
            self.0.push(None, GFP_KERNEL_ACCOUNT)?;
        }
        let context = self.0.get_mut(usize::from(timeline)).ok_or(EINVAL)?;
        let context = match context {
            Some(context) => context,
            none => none.insert(new_context(ring)?),
        };
        Ok(PacketFence {
            allocation: context.new_fence_allocation(())?.detach(),
            timeline,
        })
    }
}

/// Makes what makes the fences of one timeline.
fn new_context(ring: Option<u8>) -> Result<Pin<KBox<FenceContext<ClientFences>>>> {
    let name = match ring {
        None => CString::try_from(c"render")?,
        Some(ring) => CString::try_from_fmt(fmt!("ring {}", ring))?,
    };
    KBox::pin_init(
        FenceContext::new(1, c"rust_gpu", &name, Ok::<_, Error>(ClientFences)),
        GFP_KERNEL_ACCOUNT,
    )
}

/// The memory of a fence that has no number yet, for one packet. Dropping it frees it.
pub(crate) struct PacketFence {
    allocation: DriverFenceAllocation<'static, ClientFences>,
    /// Which timeline of the client.
    timeline: u8,
}

/// A fence that has a number.
struct Entry {
    fence: Option<DriverFence<'static, ClientFences>>,
    /// How its packet ended, if it did.
    result: Result,
    /// The next one of the timeline, or the next free one.
    next: u16,
    timeline: u8,
    has_ended: bool,
    /// It counts among the open packets in the engine.
    is_open: bool,
}

impl Entry {
    const EMPTY: Self = Self {
        fence: None,
        result: Ok(()),
        next: NO_FENCE,
        timeline: 0,
        has_ended: false,
        is_open: false,
    };
}

/// The fences of one timeline that are not signalled, by their entries.
#[derive(Clone, Copy)]
struct List {
    head: u16,
    tail: u16,
}

/// What follows when a packet with a fence ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Released {
    /// Fences that were signalled.
    pub(super) signalled: u32,
    /// Those of them that counted among the open packets.
    pub(super) opened: u16,
}

/// The timelines of a client on the render node. See the module.
pub(super) struct Timelines {
    entries: KVec<Entry>,
    free: u16,
    used: usize,
    lists: [List; TIMELINES],
}

impl Timelines {
    /// The entries that a client begins with.
    pub(super) const FEWEST: usize = 32;

    /// Makes timelines with entries for `count` fences.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(super) fn new(count: usize) -> Result<KBox<Self>> {
        let mut entries = KVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
        for next in 1..=count {
            let entry = Entry {
                // CAST: at most `CLIENT_LIMIT`.
                next: if next == count { NO_FENCE } else { next as u16 },
                ..Entry::EMPTY
            };
            entries.push_within_capacity(entry).map_err(|_| ENOMEM)?;
        }
        let list = List {
            head: NO_FENCE,
            tail: NO_FENCE,
        };
        let this = Self {
            entries,
            free: if count == 0 { NO_FENCE } else { 0 },
            used: 0,
            lists: [list; TIMELINES],
        };
        Ok(KBox::new(this, GFP_KERNEL_ACCOUNT)?)
    }

    /// Takes what is in `old` over, which has fewer entries.
    pub(super) fn take_over(&mut self, old: &mut Self) {
        let count = old.entries.len();
        for (to, from) in self.entries.iter_mut().zip(old.entries.iter_mut()) {
            core::mem::swap(to, from);
        }
        self.free = old.free;
        for index in count..self.entries.len() {
            if let Some(entry) = self.entries.get_mut(index) {
                // CAST: at most `CLIENT_LIMIT`.
                entry.next = core::mem::replace(&mut self.free, index as u16);
            }
        }
        self.used = core::mem::take(&mut old.used);
        self.lists = old.lists;
    }

    /// Returns how many entries it has.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there is an entry for one more fence, if there are `promised` of them
    /// besides those in use.
    pub(super) fn has_room(&self, promised: usize) -> bool {
        self.used + promised < self.entries.len()
    }

    /// Returns how many entries there should be instead of these; [`None`] if no client needs more.
    pub(super) fn larger(&self) -> Option<usize> {
        let count = self.entries.len();
        (count < CLIENT_LIMIT as usize).then_some((count * 2).min(CLIENT_LIMIT as usize))
    }

    /// Returns whether all fences are signalled.
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    fn get(&mut self, index: u16) -> Option<&mut Entry> {
        self.entries.get_mut(usize::from(index))
    }

    /// Gives a fence its number, the next one of its timeline, and an entry. Returns that, and what
    /// others may have of the fence; [`None`] if there is no fence, or no entry.
    pub(super) fn arm(&mut self, fence: &mut Option<PacketFence>) -> Option<(u16, ARef<Fence>)> {
        let index = self.free;
        let timeline = fence.as_ref()?.timeline;
        let entry = self.entries.get_mut(usize::from(index))?;
        let list = self.lists.get_mut(usize::from(timeline))?;
        let armed = fence.take()?.allocation.new_fence();
        let shared = ARef::from(armed.as_fence());
        self.free = entry.next;
        *entry = Entry {
            fence: Some(armed),
            timeline,
            ..Entry::EMPTY
        };
        let tail = core::mem::replace(&mut list.tail, index);
        if tail == NO_FENCE {
            list.head = index;
        } else if let Some(last) = self.get(tail) {
            last.next = index;
        }
        self.used += 1;
        Some((index, shared))
    }

    /// The packet of a fence is open in the engine.
    pub(super) fn open(&mut self, index: u16) {
        if let Some(entry) = self.get(index) {
            entry.is_open = true;
        }
    }

    /// The packet of a fence ended, with `result`. Signals it and those that were held back for it;
    /// or holds it back.
    ///
    /// Context: lock of the node's message held, or the state is in no message. The locks of the
    /// fences, and those of callbacks, are taken under that.
    pub(super) fn end(&mut self, index: u16, result: Result) -> Released {
        let mut released = Released::default();
        let Some(entry) = self.get(index) else {
            return released;
        };
        entry.has_ended = true;
        entry.result = result;
        let timeline = usize::from(entry.timeline);
        while let Some(list) = self.lists.get_mut(timeline) {
            let head = list.head;
            let Some(entry) = self.entries.get_mut(usize::from(head)) else {
                break;
            };
            if !entry.has_ended {
                break;
            }
            list.head = entry.next;
            if list.head == NO_FENCE {
                list.tail = NO_FENCE;
            }
            entry.next = core::mem::replace(&mut self.free, head);
            self.used -= 1;
            released.signalled += 1;
            released.opened += u16::from(entry.is_open);
            if let Some(fence) = entry.fence.take() {
                fence.signal(entry.result);
            }
        }
        released
    }
}
