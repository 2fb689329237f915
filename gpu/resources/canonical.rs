// SPDX-License-Identifier: GPL-2.0

//! The canonical resource of an object is the one that contexts of the 3D side use, if the object
//! is memory for a picture. It is made when a context names the object for the first time, and
//! framebuffers that lie in the object in the same way are shown by it.

use kernel::{
    drm::gem::BaseObject,
    num::casts::u32_as_usize,
    prelude::*,
    rbtree::RBTreeNodeReservation,
    sync::atomic::Relaxed, //
};

use crate::{
    command::{
        Format,
        XRGB8888, //
    },
    virtqueue::DedicatedBuffer, //
};

use super::{
    Layout,
    Object,
    ObjectArgs,
    Resource,
    ResourceTable,
    BYTES_PER_PIXEL, //
};

/// Returns how the picture lies in `object`, as the C driver has it; [`None`] if it is none.
fn layout(object: &Object) -> Option<Layout> {
    let ObjectArgs::Picture { width, height } = object.args else {
        return None;
    };
    let pitch = width.checked_mul(BYTES_PER_PIXEL)?;
    let len = u32_as_usize(pitch).checked_mul(u32_as_usize(height))?;
    (len <= object.size()).then_some(Layout {
        pitch,
        height,
        format: Format::of(XRGB8888, false),
        offset: 0,
    })
}

impl Resource {
    /// Returns whether no context of the host has the resource, nor a packet that names it.
    pub(super) fn is_idle(&self) -> bool {
        use kernel::dma_buf::Usage;

        self.object.attached.load(Relaxed) == 0 && self.object.is_idle(Usage::Bookkeep)
    }

    /// The host may have another picture than that of the last frame: a context can draw one.
    pub(crate) fn spoil(&mut self) {
        self.forget_frames();
    }

    /// Gives back what [`Self::take_list`] returned: the device was not told.
    pub(crate) fn put_list(&mut self, list: KBox<DedicatedBuffer>) {
        self.list = Some(list);
    }
}

impl ResourceTable {
    /// Returns the number of the canonical resource of `object` if it has one of which the device
    /// can be told.
    ///
    /// Errors: [`EINVAL`] if the object is not memory for a picture. Context: process.
    pub(crate) fn canonical(&self, object: &Object) -> Result<Option<u32>> {
        let layout = layout(object).ok_or(EINVAL)?;
        let inner = &mut *self.inner.lock();
        let ids = [&object.canonical, &object.resource].map(|id| id.load(Relaxed));
        for id in ids {
            match inner.resources.get_mut(&id) {
                Some(resource) if resource.layout == layout => {
                    resource.is_canonical = true;
                    object.canonical.store(id, Relaxed);
                    return Ok(resource.is_ready().then_some(id));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Gives `object` its canonical resource, or the one that it has a new list. Does nothing if
    /// that was done by another caller meanwhile.
    ///
    /// Errors: as [`Self::canonical`]. Context: process.
    pub(crate) fn insert_canonical(
        &self,
        node: RBTreeNodeReservation<u32, Resource>,
        object: &Object,
        list: KBox<DedicatedBuffer>,
    ) -> Result {
        if self.canonical(object)?.is_some() {
            return Ok(());
        }
        let layout = layout(object).ok_or(EINVAL)?;
        let mut inner = self.inner.lock();
        if let Some(resource) = inner.resources.get_mut(&object.canonical.load(Relaxed)) {
            if !resource.is_ready() {
                resource.list = Some(list);
            }
            return Ok(());
        }
        let id = inner.take_id();
        let mut resource = Resource::new(object, layout, list);
        resource.framebuffers = 0;
        resource.is_canonical = true;
        inner.resources.insert(node.into_node(id, resource));
        object.canonical.store(id, Relaxed);
        let shared = object.resource.load(Relaxed);
        if inner.resources.get(&shared).is_none() {
            object.resource.store(id, Relaxed);
        }
        // The last handle may have been closed meanwhile.
        inner.release(id);
        Ok(())
    }
}
