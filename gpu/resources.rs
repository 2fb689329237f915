// SPDX-License-Identifier: GPL-2.0

//! The resources of the host, and the objects behind them, which the device may read until it was
//! told to let go of them or is reset.
//!
//! Framebuffers of one object that lie in it in the same way share a resource, and it stays while
//! the object has a handle: who shows the same buffer in ever new framebuffers, as all do with the
//! image of a cursor, need not have the host make it anew.

use kernel::{
    drm::{
        gem::shmem,
        kms, //
    },
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
        Mutex, //
    },
};

use crate::{
    command::NO_RESOURCE,
    gpu::RustGpuDriver, //
};

/// A GEM object.
pub(crate) type Object = shmem::Object<ObjectData>;

/// What the driver keeps of an object.
#[pin_data]
pub(crate) struct ObjectData {
    /// Number of the host resource that framebuffers of this object share. Changed under the lock
    /// of [`Attached`]; the resource may be gone from there.
    pub(crate) resource: Atomic<u32>,
    /// Number of handles in all files.
    pub(crate) handles: Atomic<u32>,
}

impl ObjectData {
    /// Returns whether user space has a handle of the object.
    pub(crate) fn has_handles(&self) -> bool {
        self.handles.load(Relaxed) != 0
    }
}

/// What the driver keeps with a framebuffer.
#[pin_data]
pub(crate) struct FramebufferData {
    /// Number of the host resource behind it; [`NO_RESOURCE`] until it is first shown. Set during
    /// the preparation of the first commit that shows it.
    pub(crate) resource: Atomic<u32>,
}

impl FramebufferData {
    /// Returns the number of the resource.
    pub(crate) fn resource(&self) -> u32 {
        // A commit that shows the framebuffer prepared it, or waited for the commit that did.
        self.resource.load(Relaxed)
    }
}

/// A framebuffer of this driver.
pub(crate) type Framebuffer = kms::Framebuffer<RustGpuDriver>;

/// One frame of one scanout: the picture on the screen between two changes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) scanout: u32,
    pub(crate) number: u64,
}

/// How the pixels of a framebuffer lie in its object. Part of what the host is told, or, the
/// offset, of what two framebuffers must have in common to have the same pixels.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Layout {
    pitch: u32,
    height: u32,
    format: u32,
    offset: u32,
}

impl From<&Framebuffer> for Layout {
    fn from(framebuffer: &Framebuffer) -> Self {
        Self {
            pitch: framebuffer.pitch(),
            height: framebuffer.height(),
            format: framebuffer.format(),
            offset: framebuffer.offset(),
        }
    }
}

/// What is behind a resource.
struct Backing {
    object: ARef<Object>,
    layout: Layout,
    /// Framebuffers that use it.
    framebuffers: u32,
    /// What the host has of it: the picture of this frame, as far as that was on the screen.
    /// [`None`] if that is of several frames.
    frame: Option<Frame>,
}

/// The resources of the host by their numbers.
#[pin_data]
pub(crate) struct Attached {
    /// Taken alone, while resources are made, or while commands are collected. Also guards the
    /// `resource` of objects.
    #[pin]
    backings: Mutex<RBTree<u32, Backing>>,
}

impl Attached {
    /// Makes an empty set.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn new() -> Result<Pin<KBox<Self>>> {
        KBox::pin_init(
            pin_init!(Self {
                backings <- new_mutex!(RBTree::new(), "rust_gpu::Attached"),
            }),
            GFP_KERNEL,
        )
    }

    /// Never frees what is attached: the device did not reset. The device of the objects must not
    /// be freed either.
    ///
    /// Context: process.
    pub(crate) fn abandon(&self) {
        let backings = core::mem::take(&mut *self.backings.lock());
        for (_, backing) in &backings {
            // A reference that nobody gives back.
            core::mem::forget(backing.object.clone());
        }
    }

    /// Takes all objects out: the device was reset and has no resource any more.
    ///
    /// Context: process.
    pub(crate) fn clear(&self) {
        let backings = core::mem::take(&mut *self.backings.lock());
        // Outside of the lock.
        drop(backings);
    }

    /// Returns whether `framebuffer` has a resource, after giving it the one of its object if that
    /// is of use for it.
    ///
    /// Context: process; nobody else does the same for this framebuffer.
    pub(crate) fn share(&self, framebuffer: &Framebuffer) -> bool {
        let mut backings = self.backings.lock();
        if backings.get(&framebuffer.resource()).is_some() {
            return true;
        }
        let shared = framebuffer.object().resource.load(Relaxed);
        match backings.get_mut(&shared) {
            Some(backing) if backing.layout == framebuffer.into() => {
                backing.framebuffers += 1;
                framebuffer.resource.store(shared, Relaxed);
                true
            }
            _ => false,
        }
    }

    /// Gives `framebuffer` a new resource, of which the device is to be told next. It is its
    /// object's as well, if that has none.
    ///
    /// Errors: [`ENOMEM`]. Context: as [`share`](Self::share).
    pub(crate) fn insert(&self, resource: u32, framebuffer: &Framebuffer) -> Result {
        let object = framebuffer.object();
        let backing = Backing {
            object: object.into(),
            layout: framebuffer.into(),
            framebuffers: 1,
            frame: None,
        };
        let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let mut backings = self.backings.lock();
        backings.insert(node.into_node(resource, backing));
        if backings.get(&object.resource.load(Relaxed)).is_none() {
            object.resource.store(resource, Relaxed);
        }
        framebuffer.resource.store(resource, Relaxed);
        Ok(())
    }

    /// Calls `change` with the frame whose picture a resource has; with none if there is no such
    /// resource.
    ///
    /// Context: process.
    pub(crate) fn with_frame<R>(
        &self,
        resource: u32,
        change: impl FnOnce(&mut Option<Frame>) -> R,
    ) -> R {
        match self.backings.lock().get_mut(&resource) {
            Some(backing) => change(&mut backing.frame),
            None => change(&mut None),
        }
    }

    /// Takes the resource of a framebuffer that goes. Returns its number if the device is to let go
    /// of it, as nobody else uses it.
    ///
    /// Context: process.
    #[must_use]
    pub(crate) fn leave(&self, framebuffer: &Framebuffer) -> Option<u32> {
        let mut backings = self.backings.lock();
        let resource = framebuffer.resource.xchg(NO_RESOURCE, Relaxed);
        let backing = backings.get_mut(&resource)?;
        backing.framebuffers -= 1;
        Self::is_last(resource, backing).then_some(resource)
    }

    /// Returns, when the last handle of `object` was closed, the number of the resource that the
    /// device is to let go of, as nobody else uses it.
    ///
    /// Context: process.
    #[must_use]
    pub(crate) fn close(&self, object: &Object) -> Option<u32> {
        let mut backings = self.backings.lock();
        let resource = object.resource.load(Relaxed);
        let backing = backings.get_mut(&resource)?;
        Self::is_last(resource, backing).then_some(resource)
    }

    /// Returns whether nobody uses a resource. Then it is not given to framebuffers any more.
    fn is_last(resource: u32, backing: &Backing) -> bool {
        let object = &backing.object;
        let shared = object.resource.load(Relaxed) == resource;
        if backing.framebuffers != 0 || (shared && object.has_handles()) {
            return false;
        }
        if shared {
            object.resource.store(NO_RESOURCE, Relaxed);
        }
        true
    }

    /// The device has refused to make this resource: other framebuffers shall try anew.
    ///
    /// Context: process.
    pub(crate) fn refused(&self, resource: u32) {
        let backings = self.backings.lock();
        if let Some(backing) = backings.get(&resource) {
            let _ = backing
                .object
                .resource
                .cmpxchg(resource, NO_RESOURCE, Relaxed);
        }
    }

    /// Takes out the object behind a resource that the device has no more. To be dropped.
    ///
    /// Context: process.
    #[must_use]
    pub(crate) fn remove(&self, resource: u32) -> Option<ARef<Object>> {
        let backing = self.backings.lock().remove(&resource)?;
        Some(backing.object)
    }
}
