// SPDX-License-Identifier: GPL-2.0

//! [`ResourceTable`] keeps the resources of the host: the users of each, what the device was told
//! of it, and the object behind it, which the device may read until it let go of it or is reset.
//!
//! Framebuffers of one object that lie in it in the same way share a resource, and it stays while
//! the object has a handle. A framebuffer that is shown on a screen and is the image of a cursor
//! has one for each: only the alpha of the second counts. So a client that shows the same buffer in
//! ever new framebuffers, as all do with the image of a cursor, does not make the host create it
//! anew.
//!
//! A resource that nobody uses any more is destroyed in three steps: it is marked, the device is
//! told as soon as there is room, and when the device has answered it is taken out by the next
//! caller of [`ResourceTable::sweep`]. The last step frees the pages, which may be gigabytes: too
//! long for the DPC.

use kernel::{
    drm::kms::PlaneKind,
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Arc,
        Mutex, //
    },
    system_state::SystemState, //
};

use crate::{
    command::NO_RESOURCE,
    virtqueue::{
        CommandBuffer,
        DedicatedBuffer, //
    },
};

use super::framebuffer::{
    Framebuffer,
    Layout, //
};

#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
mod canonical;
mod object;
#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
mod own;
mod resource;

pub(crate) use self::object::{
    Object,
    ObjectArgs,
    ObjectData,
    OwnResource, //
};
use self::resource::Stage;
pub(crate) use self::resource::{
    Resource,
    Told,
    BYTES_PER_PIXEL, //
};

/// How many resources that nobody uses any more the device may hold: it lets go of them later, or
/// never. Each pins the pages of an object. No new resource is made while there are so many.
const MAX_LEAVING: u32 = 16;

struct Inner {
    resources: RBTree<u32, Resource>,
    /// The objects that are resources themselves.
    #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
    objects: own::Objects,
    /// The last number given to a resource.
    last: u32,
    /// How many are in each stage but the first.
    unused: u32,
    leaving: u32,
    gone: u32,
}

impl Inner {
    fn count(&mut self, stage: Stage) -> Option<&mut u32> {
        match stage {
            Stage::Used => None,
            Stage::Unused => Some(&mut self.unused),
            Stage::Leaving => Some(&mut self.leaving),
            Stage::Gone => Some(&mut self.gone),
        }
    }

    /// Returns the number for a new resource.
    fn take_id(&mut self) -> u32 {
        self.last = next_id(self.last, |id| self.has(id));
        self.last
    }

    /// Returns whether a resource has this number.
    fn has(&self, id: u32) -> bool {
        #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
        if self.objects.has(id) {
            return true;
        }
        self.resources.get(&id).is_some()
    }

    /// Moves a resource to another stage.
    fn move_to(&mut self, id: u32, stage: Stage) {
        let Some(resource) = self.resources.get_mut(&id) else {
            return;
        };
        let before = core::mem::replace(&mut resource.stage, stage);
        if let Some(count) = self.count(before) {
            *count -= 1;
        }
        if let Some(count) = self.count(stage) {
            *count += 1;
        }
    }

    /// Nobody may use a resource any more: if so, it starts to leave. Returns whether that is so.
    fn release(&mut self, id: u32) -> bool {
        let Some(resource) = self.resources.get(&id) else {
            return false;
        };
        if resource.stage != Stage::Used || !resource.is_unused(id) {
            return false;
        }
        // It is not given to framebuffers any more, nor to contexts.
        let _ = resource.object.resource.cmpxchg(id, NO_RESOURCE, Relaxed);
        let _ = resource.object.canonical.cmpxchg(id, NO_RESOURCE, Relaxed);
        let stage = match resource.created {
            Told::No => Stage::Gone,
            Told::Sent | Told::Yes => Stage::Unused,
        };
        self.move_to(id, stage);
        true
    }
}

/// What the device answered to a command about a resource.
pub(crate) struct Answer {
    /// Number of the resource.
    pub(crate) id: u32,
    /// It executed the command.
    pub(crate) executed: bool,
    /// The [incarnation](super::Gpu::incarnation) of the device that answered.
    pub(crate) incarnation: u64,
}

impl Answer {
    /// Returns whether the device was told now.
    fn told(&self) -> Told {
        match self.executed {
            true => Told::Yes,
            false => Told::No,
        }
    }
}

/// The resources of the host by their numbers.
#[pin_data]
pub(crate) struct ResourceTable {
    /// Also guards the `resource` of objects and framebuffers. Taken alone or under the lock of the
    /// screens. Nothing is allocated under it, and no object is freed.
    #[pin]
    inner: Mutex<Inner>,
    /// How often the device was reset, and has lost all resources.
    resets: Atomic<u64>,
    /// There are objects of which the device should let go, or there were some. Set under the lock.
    #[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
    may_have_retired: Atomic<bool>,
}

impl ResourceTable {
    /// Makes an empty table.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let inner = Inner {
            resources: RBTree::new(),
            #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
            objects: own::Objects::new(),
            last: NO_RESOURCE,
            unused: 0,
            leaving: 0,
            gone: 0,
        };
        Arc::pin_init(
            pin_init!(Self {
                inner <- new_mutex!(inner, "rust_gpu::ResourceTable"),
                resets: Atomic::new(0),
                may_have_retired: Atomic::new(false),
            }),
            GFP_KERNEL,
        )
    }

    /// Never frees the objects nor their pages: the device did not reset. The device of the objects
    /// must not be freed either.
    ///
    /// Context: process.
    pub(crate) fn abandon(&self) {
        let resources = core::mem::take(&mut self.inner.lock().resources);
        for (_, resource) in &resources {
            // The list of the pages has a use of them that ends with the driver, this one does not.
            // Buffers of other devices have no pages here. No signal ends this: nobody has the lock
            // of the object for long.
            let _ = resource.object.pin();
            // A reference that nobody gives back.
            core::mem::forget(resource.object.clone());
        }
        #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
        self.abandon_objects();
    }

    /// Lets go of all objects: the device was reset for good, or they were
    /// [abandoned](Self::abandon).
    ///
    /// Context: process.
    pub(crate) fn close(&self) {
        let resources = core::mem::take(&mut self.inner.lock().resources);
        // Outside of the lock.
        drop(resources);
        #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
        self.close_objects();
    }

    /// Forgets what the device was told: it was reset and has no resource any more. Those that are
    /// in use are made again when they are shown next, or with [`Self::set_list`].
    ///
    /// Context: process.
    pub(crate) fn invalidate(&self) {
        let mut inner = self.inner.lock();
        // Under the lock: what is found under it later is of the device as it is then.
        self.resets.fetch_add(1, Relaxed);
        for resource in inner.resources.values_mut() {
            resource.created = Told::No;
            resource.attached = Told::No;
            resource.forget_frames();
            if resource.stage != Stage::Used {
                resource.stage = Stage::Gone;
            }
        }
        let unused = core::mem::take(&mut inner.unused);
        let leaving = core::mem::take(&mut inner.leaving);
        inner.gone += unused + leaving;
        #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
        inner.objects.invalidate();
        drop(inner);
        self.sweep();
    }

    /// Returns how often the device was reset.
    ///
    /// Context: any.
    pub(crate) fn resets(&self) -> u64 {
        self.resets.load(Relaxed)
    }

    /// Frees the objects of which the device has let go. Not when the system ends: an IOMMU may
    /// have ended before, which then cannot unmap them.
    ///
    /// Context: process, not the DPC: this may free gigabytes.
    pub(crate) fn sweep(&self) {
        while SystemState::current() == SystemState::Working {
            let mut inner = self.inner.lock();
            #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
            if let Some(object) = inner.objects.take_gone() {
                // Outside of the lock.
                drop(inner);
                drop(object);
                continue;
            }
            if inner.gone == 0 {
                return;
            }
            let gone = |entry: &(&u32, &Resource)| entry.1.stage == Stage::Gone;
            let Some(id) = inner.resources.iter().find(gone).map(|(id, _)| *id) else {
                return;
            };
            inner.gone -= 1;
            let resource = inner.resources.remove(&id);
            // Outside of the lock.
            drop(inner);
            drop(resource);
        }
    }

    /// Returns whether a new resource may be made: there are not too many on their way out.
    ///
    /// Context: process.
    pub(crate) fn has_room(&self) -> bool {
        let inner = self.inner.lock();
        inner.unused + inner.leaving < MAX_LEAVING
    }

    /// Returns a number that no resource has nor will get soon.
    ///
    /// Context: process.
    pub(crate) fn take_id(&self) -> u32 {
        self.inner.lock().take_id()
    }

    /// Returns whether `framebuffer` has a resource for planes of this kind of which the device can
    /// be told, after giving it that of its object if both lie there in the same way.
    ///
    /// Context: process.
    pub(crate) fn share(&self, framebuffer: &Framebuffer, kind: PlaneKind) -> bool {
        let inner = &mut *self.inner.lock();
        if let Some(resource) = inner.resources.get(&framebuffer.resource(kind)) {
            return resource.is_ready();
        }
        let shared = framebuffer.object().resource.load(Relaxed);
        match inner.resources.get_mut(&shared) {
            Some(resource) if resource.layout == Layout::new(framebuffer, kind) => {
                resource.framebuffers += 1;
                framebuffer.number(kind).store(shared, Relaxed);
                resource.is_ready()
            }
            _ => false,
        }
    }

    /// Gives `framebuffer` a new resource for planes of this kind, or the one that it has a new
    /// list. It becomes that of its object as well, if that has none.
    ///
    /// Does nothing if that was done by another caller meanwhile.
    ///
    /// Context: process.
    pub(crate) fn insert(
        &self,
        node: RBTreeNodeReservation<u32, Resource>,
        framebuffer: &Framebuffer,
        kind: PlaneKind,
        list: KBox<DedicatedBuffer>,
    ) {
        if self.share(framebuffer, kind) {
            return;
        }
        let mut inner = self.inner.lock();
        if let Some(resource) = inner.resources.get_mut(&framebuffer.resource(kind)) {
            if !resource.is_ready() {
                resource.list = Some(list);
            }
            return;
        }
        let id = inner.take_id();
        let object = framebuffer.object();
        let resource = Resource::new(object, Layout::new(framebuffer, kind), list);
        inner.resources.insert(node.into_node(id, resource));
        let shared = object.resource.load(Relaxed);
        if inner.resources.get(&shared).is_none() {
            object.resource.store(id, Relaxed);
        }
        framebuffer.number(kind).store(id, Relaxed);
    }

    /// Returns the object of a resource in use for which there is no list that tells the device of
    /// the pages: the device was reset.
    ///
    /// Context: process. The reference must not be dropped under a lock.
    pub(crate) fn lacks_list(&self, id: u32) -> Option<ARef<Object>> {
        let inner = self.inner.lock();
        let resource = inner.resources.get(&id)?;
        let lacks = resource.stage == Stage::Used && !resource.is_ready();
        lacks.then(|| resource.object.clone())
    }

    /// Gives a resource its list, unless it has one by now.
    ///
    /// Context: process.
    pub(crate) fn set_list(&self, id: u32, list: KBox<DedicatedBuffer>) {
        let mut inner = self.inner.lock();
        let unused = match inner.resources.get_mut(&id) {
            Some(resource) if !resource.is_ready() => resource.list.replace(list),
            _ => Some(list),
        };
        // Outside of the lock.
        drop(inner);
        drop(unused);
    }

    /// Calls `f` with a resource, if there is one of this number.
    ///
    /// Context: process. `f` must not allocate.
    pub(crate) fn with<R>(&self, id: u32, f: impl FnOnce(&mut Resource) -> R) -> Option<R> {
        self.inner.lock().resources.get_mut(&id).map(f)
    }

    /// Takes the resources of a framebuffer that goes. Returns whether one starts to leave.
    ///
    /// Context: process.
    pub(crate) fn leave(&self, framebuffer: &Framebuffer) -> bool {
        let mut inner = self.inner.lock();
        let mut leaves = false;
        for number in framebuffer.numbers() {
            let id = number.xchg(NO_RESOURCE, Relaxed);
            if let Some(resource) = inner.resources.get_mut(&id) {
                resource.framebuffers -= 1;
            }
            leaves |= inner.release(id);
        }
        leaves
    }

    /// The last handle of `object` was closed. Returns whether its resource starts to leave.
    ///
    /// Context: process.
    pub(crate) fn close_object(&self, object: &Object) -> bool {
        let mut inner = self.inner.lock();
        let ids = [&object.resource, &object.canonical].map(|id| id.load(Relaxed));
        // Both, also if they are the same.
        ids.map(|id| inner.release(id)).contains(&true)
    }

    /// Returns how many resources the device knows or will be told of, and how many of these nobody
    /// uses any more.
    ///
    /// Context: process.
    pub(crate) fn counts(&self) -> (usize, u32) {
        let inner = self.inner.lock();
        let known = |resource: &&Resource| resource.stage != Stage::Gone;
        let unused = inner.unused + inner.leaving;
        let known = inner.resources.values().filter(known).count();
        #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
        let (known, unused) = inner.objects.add_counts(known, unused);
        (known, unused)
    }

    /// Returns whether there are resources of which the device should let go.
    ///
    /// Context: process.
    pub(crate) fn has_unused(&self) -> bool {
        self.inner.lock().unused != 0
    }

    /// Returns a resource of which the device should let go, and which it does not use now. It
    /// counts as told from here on.
    ///
    /// Context: process.
    pub(crate) fn next_unused(&self, is_used: impl Fn(u32) -> bool) -> Option<u32> {
        let mut inner = self.inner.lock();
        if inner.unused == 0 {
            return None;
        }
        let (&id, _) = inner.resources.iter().find(|(&id, resource)| {
            let waits = resource.stage == Stage::Unused && resource.created == Told::Yes;
            waits && !is_used(id) && resource.is_free()
        })?;
        inner.move_to(id, Stage::Leaving);
        Some(id)
    }

    /// Locks the table for an answer; [`None`] if a reset has lost what the answer is about.
    fn lock_for(&self, answer: &Answer) -> Option<Guard<'_, Inner, MutexBackend>> {
        let inner = self.inner.lock();
        (answer.incarnation == self.resets()).then_some(inner)
    }

    /// The device made a resource, or refused to.
    ///
    /// Context: process.
    pub(crate) fn created(&self, answer: &Answer) {
        let Some(mut inner) = self.lock_for(answer) else {
            return;
        };
        let Some(resource) = inner.resources.get_mut(&answer.id) else {
            return;
        };
        resource.created = answer.told();
        if !answer.executed && resource.stage == Stage::Unused {
            inner.move_to(answer.id, Stage::Gone);
        }
    }

    /// The device knows the pages of a resource, or refused them: then `list` may be sent again.
    ///
    /// Context: process.
    pub(crate) fn attached(&self, answer: &Answer, list: Option<CommandBuffer>) {
        // `list` is dropped after it, outside of the lock.
        let Some(mut inner) = self.lock_for(answer) else {
            return;
        };
        let Some(resource) = inner.resources.get_mut(&answer.id) else {
            return;
        };
        resource.attached = answer.told();
        if let Some(CommandBuffer::Dedicated(list)) = list {
            resource.list = Some(list);
        }
    }

    /// The device let go of a resource, or refused to: then its pages stay until a reset.
    ///
    /// Context: process.
    pub(crate) fn destroyed(&self, answer: &Answer) {
        if let Some(mut inner) = self.lock_for(answer).filter(|_| answer.executed) {
            inner.move_to(answer.id, Stage::Gone);
        }
    }
}

/// Returns the number for a new resource: the one after `last` that no other has.
fn next_id(last: u32, is_taken: impl Fn(u32) -> bool) -> u32 {
    let mut id = last;
    loop {
        id = id.wrapping_add(1);
        if id != NO_RESOURCE && !is_taken(id) {
            return id;
        }
    }
}

#[kunit_tests(rust_gpu_resources)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_use_are_skipped() {
        let taken = [u32::MAX, 1, 2, 4];
        let next = |last| next_id(last, |id| taken.contains(&id));

        assert_eq!(next(0), 3);
        assert_eq!(next(3), 5);
        // NO_RESOURCE and the numbers in use are left out where the numbers start again.
        assert_eq!(next(u32::MAX - 1), 3);
    }
}
