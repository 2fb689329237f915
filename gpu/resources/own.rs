// SPDX-License-Identifier: GPL-2.0

//! [`Objects`] are the objects of the 3D side: each is one resource of the host, from its creation
//! on, whose number user space knows.
//!
//! The table does not keep them alive. When the last reference to one is gone, it gets the object
//! itself, which it frees when the device has let go of it.

#[cfg(CONFIG_DRM_RUST_GPU_KUNIT_TEST)]
use kernel::prelude::kunit_tests;
use kernel::{
    drm::gem::shmem::Released,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::atomic::{
        Full,
        Relaxed, //
    },
};

use crate::virtqueue::OwnStep;

use super::{
    Answer,
    ObjectData,
    ResourceTable,
    Told, //
};

/// An object without references.
type Remains = Released<ObjectData>;

/// What the table knows of an object.
pub(crate) struct OwnState {
    /// Whether the device made it.
    created: Told,
    /// The device was reset since.
    is_lost: bool,
    /// The object, when there is no reference to it any more.
    remains: Option<Remains>,
}

/// Objects by their numbers, in the order of their lives. A node moves from one tree to the next,
/// so nothing is allocated after the first.
pub(super) struct Objects {
    /// Somebody has them.
    live: RBTree<u32, OwnState>,
    /// Nobody has them; the device will be told.
    unused: RBTree<u32, OwnState>,
    /// It was told.
    leaving: RBTree<u32, OwnState>,
    /// It has let go of them.
    gone: RBTree<u32, OwnState>,
    /// The memory is not given back any more: the device did not reset.
    abandoned: bool,
    /// There is no device any more.
    closed: bool,
}

impl Objects {
    pub(super) fn new() -> Self {
        Self {
            live: RBTree::new(),
            unused: RBTree::new(),
            leaving: RBTree::new(),
            gone: RBTree::new(),
            abandoned: false,
            closed: false,
        }
    }

    /// Returns whether an object has this number.
    pub(super) fn has(&self, id: u32) -> bool {
        let trees = [&self.live, &self.unused, &self.leaving, &self.gone];
        trees.into_iter().any(|tree| tree.get(&id).is_some())
    }

    /// The device was reset, and has none of them any more.
    pub(super) fn invalidate(&mut self) {
        for state in self.live.values_mut() {
            // Nobody waits for an answer any more.
            state.created = Told::No;
            state.is_lost = true;
        }
        for tree in [&mut self.unused, &mut self.leaving] {
            while let Some(id) = first(tree) {
                move_to(tree, &mut self.gone, id, |_| {});
            }
        }
    }

    /// Takes one of which the device has let go.
    pub(super) fn take_gone(&mut self) -> Option<OwnState> {
        let id = first(&self.gone)?;
        self.gone.remove(&id)
    }

    /// Adds how many the device knows, and how many of these nobody has any more.
    pub(super) fn add_counts(&self, known: usize, unused: u32) -> (usize, u32) {
        let more = self.unused.values().count() + self.leaving.values().count();
        let known = known + self.live.values().count() + more;
        (
            known,
            unused.saturating_add(more.try_into().unwrap_or(u32::MAX)),
        )
    }

    /// The device answered RESOURCE_CREATE_3D.
    pub(super) fn created(&mut self, answer: &Answer) {
        if let Some(state) = self.live.get_mut(&answer.id) {
            state.created = answer.told();
        } else if answer.executed {
            if let Some(state) = self.unused.get_mut(&answer.id) {
                state.created = answer.told();
            }
        } else {
            move_to(&mut self.unused, &mut self.gone, answer.id, |_| {});
        }
    }

    /// The device let go of one, or refused to: then the memory stays until it is reset.
    pub(super) fn destroyed(&mut self, answer: &Answer) {
        if answer.executed {
            move_to(&mut self.leaving, &mut self.gone, answer.id, |_| {});
        }
    }

    /// Returns whether there are some that should leave.
    pub(super) fn has_unused(&self) -> bool {
        !self.unused.is_empty()
    }
}

/// Returns the lowest number in a tree.
fn first(tree: &RBTree<u32, OwnState>) -> Option<u32> {
    tree.cursor_front().map(|cursor| *cursor.current().0)
}

/// Moves an object from one tree to another, and changes it by `change`.
fn move_to(
    from: &mut RBTree<u32, OwnState>,
    to: &mut RBTree<u32, OwnState>,
    id: u32,
    change: impl FnOnce(&mut OwnState),
) {
    if let Some(node) = from.remove_node(&id) {
        to.insert(node);
    }
    if let Some(state) = to.get_mut(&id) {
        change(state);
    }
}

/// The objects of the 3D side.
impl ResourceTable {
    /// Takes the number for an object that will be made. [`Self::retire`] or [`Self::unreserve`]
    /// ends that.
    ///
    /// Context: process.
    pub(crate) fn add_own(&self, node: RBTreeNodeReservation<u32, OwnState>) -> u32 {
        let mut inner = self.inner.lock();
        let id = inner.take_id();
        let state = OwnState {
            created: Told::No,
            is_lost: false,
            remains: None,
        };
        inner.objects.live.insert(node.into_node(id, state));
        id
    }

    /// The object was not made.
    ///
    /// Context: process.
    pub(crate) fn unreserve(&self, id: u32) {
        let state = self.inner.lock().objects.live.remove(&id);
        // Outside of the lock.
        drop(state);
    }

    /// The device will be told to make the object, or was not told after all.
    ///
    /// Context: process.
    pub(crate) fn set_own_sent(&self, id: u32, sent: bool) {
        if let Some(state) = self.inner.lock().objects.live.get_mut(&id) {
            state.created = match sent && !state.is_lost {
                true => Told::Sent,
                false => Told::No,
            };
        }
    }

    /// The device has done something for an object, or refused to.
    ///
    /// Context: process (the DPC, or [`Gpu::catch_up`](crate::gpu::Gpu::catch_up)).
    pub(crate) fn own_done(&self, step: OwnStep, answer: &Answer) {
        let Some(mut inner) = self.lock_for(answer) else {
            return;
        };
        let objects = &mut inner.objects;
        match step {
            OwnStep::Created => objects.created(answer),
            OwnStep::Destroyed => objects.destroyed(answer),
            OwnStep::Attached => {}
        }
    }

    /// Returns whether the device has answered the command that makes the object, or never will.
    ///
    /// Context: process.
    pub(crate) fn is_own_answered(&self, id: u32) -> bool {
        let inner = self.inner.lock();
        let state = inner.objects.live.get(&id);
        state.is_none_or(|state| state.created != Told::Sent)
    }

    /// There is no reference to an object any more. Frees it if the device does not know it, and
    /// keeps it until the device has let go of it else.
    ///
    /// Returns whether the device should let go of it.
    ///
    /// Context: process.
    pub(crate) fn retire(&self, id: u32, remains: Remains) -> bool {
        let mut inner = self.inner.lock();
        let objects = &mut inner.objects;
        if objects.abandoned {
            drop(inner);
            // The device may still use the memory.
            core::mem::forget(remains);
            return false;
        }
        let unknown = |state: &OwnState| state.created == Told::No;
        let state = objects.live.get(&id);
        if objects.closed || state.is_none_or(unknown) {
            let state = objects.live.remove(&id);
            drop(inner);
            drop((state, remains));
            return false;
        }
        let Objects { live, unused, .. } = objects;
        move_to(live, unused, id, |state| state.remains = Some(remains));
        // Before anybody looks whether something works on it.
        self.may_have_retired.xchg(true, Full);
        true
    }

    /// Returns the first object from number `from` on of which the device should let go, and on
    /// which it does not work any more.
    ///
    /// Context: process.
    pub(crate) fn next_retired(&self, from: u32) -> Option<u32> {
        let inner = self.inner.lock();
        let unused = &inner.objects.unused;
        let mut from = from;
        while let Some(cursor) = unused.cursor_lower_bound(&from) {
            let (&id, state) = cursor.current();
            let is_idle = || state.remains.as_ref().is_none_or(Remains::is_idle);
            if state.created == Told::Yes && is_idle() {
                return Some(id);
            }
            from = id.checked_add(1)?;
        }
        None
    }

    /// The device will be told to let go of an object that [`Self::next_retired`] returned.
    ///
    /// Context: process.
    pub(crate) fn take_retired(&self, id: u32) {
        let Objects {
            unused, leaving, ..
        } = &mut self.inner.lock().objects;
        move_to(unused, leaving, id, |_| {});
    }

    /// The device was not told to let go of an object after all.
    ///
    /// Context: process.
    pub(crate) fn put_back_retired(&self, id: u32) {
        let Objects {
            unused, leaving, ..
        } = &mut self.inner.lock().objects;
        move_to(leaving, unused, id, |_| {});
        self.may_have_retired.store(true, Relaxed);
    }

    /// Returns whether there are objects of which the device should let go.
    ///
    /// Context: process.
    pub(crate) fn has_retired(&self) -> bool {
        if !self.may_have_retired() {
            return false;
        }
        let inner = self.inner.lock();
        let found = inner.objects.has_unused();
        // Under the lock, under which it is set.
        self.may_have_retired.store(found, Relaxed);
        found
    }

    /// Returns false if there is no such object. There may be none else, too.
    ///
    /// Context: any.
    pub(crate) fn may_have_retired(&self) -> bool {
        self.may_have_retired.load(Relaxed)
    }

    /// Never gives the memory of objects back: the device did not reset.
    ///
    /// Context: process.
    pub(super) fn abandon_objects(&self) {
        let mut inner = self.inner.lock();
        inner.objects.abandoned = true;
        let objects = core::mem::replace(&mut inner.objects, Objects::abandoned());
        drop(inner);
        for tree in [objects.unused, objects.leaving, objects.gone] {
            core::mem::forget(tree);
        }
    }

    /// Frees all objects that nobody has, now and later: the device was reset for good.
    ///
    /// Context: process.
    pub(crate) fn close_objects(&self) {
        let mut inner = self.inner.lock();
        inner.objects.closed = true;
        inner.objects.invalidate();
        let gone = core::mem::take(&mut inner.objects.gone);
        // Outside of the lock.
        drop(inner);
        drop(gone);
    }
}

impl Objects {
    fn abandoned() -> Self {
        Self {
            abandoned: true,
            ..Self::new()
        }
    }
}

#[cfg(CONFIG_DRM_RUST_GPU_KUNIT_TEST)]
#[kunit_tests(rust_gpu_own)]
mod tests {
    use super::*;
    use kernel::{
        prelude::*,
        rbtree::RBTreeNode, //
    };

    /// Adds an object to a tree.
    fn add(tree: &mut RBTree<u32, OwnState>, id: u32, created: Told) -> Result {
        let state = OwnState {
            created,
            is_lost: false,
            remains: None,
        };
        tree.insert(RBTreeNode::new(id, state, GFP_KERNEL)?);
        Ok(())
    }

    fn answer(id: u32, executed: bool) -> Answer {
        Answer {
            id,
            executed,
            incarnation: 0,
        }
    }

    #[test]
    fn objects_leave_in_steps() -> Result {
        let mut objects = Objects::new();

        add(&mut objects.live, 3, Told::Sent)?;
        move_to(&mut objects.live, &mut objects.unused, 3, |_| {});
        assert!(objects.has(3) && objects.has_unused());
        objects.created(&answer(3, true));
        move_to(&mut objects.unused, &mut objects.leaving, 3, |_| {});
        assert!(objects.has(3) && !objects.has_unused());
        // Refused: the memory stays.
        objects.destroyed(&answer(3, false));
        assert!(objects.take_gone().is_none());
        objects.destroyed(&answer(3, true));
        assert!(objects.has(3) && objects.take_gone().is_some() && !objects.has(3));
        Ok(())
    }

    #[test]
    fn answers_of_another_incarnation_count_for_nothing() -> Result {
        let table = ResourceTable::new()?;
        let id = table.add_own(RBTreeNodeReservation::new(GFP_KERNEL)?);
        let answer = |incarnation| Answer {
            incarnation,
            ..answer(id, true)
        };
        let created = || {
            let inner = table.inner.lock();
            inner.objects.live.get(&id).map(|state| state.created)
        };

        table.set_own_sent(id, true);
        let late = answer(table.resets());
        table.invalidate();
        table.own_done(OwnStep::Created, &late);
        assert_eq!(created(), Some(Told::No));
        table.own_done(OwnStep::Created, &answer(table.resets()));
        assert_eq!(created(), Some(Told::Yes));
        table.unreserve(id);
        Ok(())
    }

    #[test]
    fn what_was_not_made_leaves_at_once() -> Result {
        let mut objects = Objects::new();

        add(&mut objects.unused, 1, Told::Sent)?;
        objects.created(&answer(1, false));
        assert!(!objects.has_unused() && objects.take_gone().is_some());
        Ok(())
    }

    #[test]
    fn a_reset_ends_what_leaves() -> Result {
        let mut objects = Objects::new();

        add(&mut objects.live, 1, Told::Sent)?;
        add(&mut objects.unused, 2, Told::Yes)?;
        add(&mut objects.leaving, 4, Told::Yes)?;
        assert_eq!(objects.add_counts(10, 1), (13, 3));
        objects.invalidate();
        assert!(objects.take_gone().is_some() && objects.take_gone().is_some());
        assert!(objects.take_gone().is_none());
        // Its number is not given to another, and nobody waits for an answer.
        let state = objects.live.get(&1).ok_or(EINVAL)?;
        assert!(objects.has(1) && state.is_lost && state.created == Told::No);
        Ok(())
    }
}
