// SPDX-License-Identifier: GPL-2.0

//! [`ObjectData`] is what the driver keeps of a GEM object, and [`ObjectArgs`] what it is made as.

use kernel::{
    drm::gem::shmem,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

use crate::command::NO_RESOURCE;

/// A GEM object.
pub(crate) type Object = shmem::Object<ObjectData>;

/// The resource of the host that an object of the 3D side is itself.
#[cfg_attr(
    not(CONFIG_DRM_RUST_GPU_RENDER),
    allow(dead_code, reason = "only the 3D side makes these")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnResource {
    /// Its number, which does not change.
    pub(crate) id: u32,
    /// The [incarnation](crate::gpu::Gpu::incarnation) of the device that has it. With another one
    /// it is lost.
    pub(crate) incarnation: u64,
}

/// What an object is made as.
#[derive(Clone, Copy)]
pub(crate) enum ObjectArgs {
    /// Memory for a picture of so many pixels, which the CPU draws.
    #[cfg_attr(
        not(CONFIG_DRM_RUST_GPU_RENDER),
        allow(dead_code, reason = "only the 3D side wants the size")
    )]
    Picture { width: u32, height: u32 },
    /// A buffer of another device.
    Import,
    /// Memory behind a resource of the 3D side.
    #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
    Render(OwnResource),
}

/// What the driver keeps of an object.
#[pin_data]
pub(crate) struct ObjectData {
    /// Number of the host resource that framebuffers of this object share. Changed under the lock
    /// of [`ResourceTable`](super::ResourceTable).
    pub(crate) resource: Atomic<u32>,
    /// Number of handles in all files.
    pub(crate) handles: Atomic<u32>,
    /// What it was made as.
    pub(crate) args: ObjectArgs,
    /// Number of the host resource that contexts of the 3D side use, if the object is memory for a
    /// picture. Changed as `resource`.
    pub(crate) canonical: Atomic<u32>,
    /// How many contexts of the host were told of that, and not that they let go of it.
    pub(crate) attached: Atomic<u32>,
}

impl ObjectData {
    /// Makes the data of an object without handles.
    pub(crate) fn new(args: ObjectArgs) -> Self {
        Self {
            resource: Atomic::new(NO_RESOURCE),
            handles: Atomic::new(0),
            args,
            canonical: Atomic::new(NO_RESOURCE),
            attached: Atomic::new(0),
        }
    }

    /// Returns whether user space has a handle of the object.
    pub(crate) fn has_handles(&self) -> bool {
        self.handles.load(Relaxed) != 0
    }

    /// Returns the resource that the object is itself; [`None`] for memory for a picture.
    ///
    /// Context: any.
    pub(crate) fn own(&self) -> Option<OwnResource> {
        match self.args {
            #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
            ObjectArgs::Render(own) => Some(own),
            _ => None,
        }
    }
}
