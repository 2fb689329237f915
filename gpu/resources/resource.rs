// SPDX-License-Identifier: GPL-2.0

//! [`Resource`] is a resource of the host whose pixels are in memory for a picture, and what the
//! device was told of it.

use kernel::{
    drm::kms,
    num::casts::u32_as_usize,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::Relaxed, //
    },
};

use crate::{
    command::{
        ResourceCreate2d,
        MAX_SCANOUTS, //
    },
    gpu::framebuffer::Layout,
    virtqueue::DedicatedBuffer, //
};

use super::Object;

/// Bytes of a pixel of all formats.
pub(crate) const BYTES_PER_PIXEL: u32 = 4;

/// What the device knows of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing: it was not told, or has refused.
    No,
    /// The command is under way.
    Sent,
    /// It executed the command.
    Yes,
}

/// How far a resource is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Framebuffers use it, or its object has a handle.
    Used,
    /// Nobody uses it. The device will be told.
    Unused,
    /// The device was told to let go of it, and has not answered, or has refused: it may read the
    /// pages until it is reset.
    Leaving,
    /// The device has no such resource.
    Gone,
}

/// A resource of the host.
pub(crate) struct Resource {
    pub(super) object: ARef<Object>,
    pub(super) layout: Layout,
    /// Framebuffers that use it.
    pub(super) framebuffers: u32,
    /// Contexts of the 3D side may use it, or could.
    pub(super) is_canonical: bool,
    pub(super) stage: Stage,
    /// Whether the device made it.
    pub(crate) created: Told,
    /// Whether the device knows the pages of the object.
    pub(crate) attached: Told,
    /// The command that tells the device of the pages, while `attached` is [`Told::No`].
    pub(super) list: Option<KBox<DedicatedBuffer>>,
    /// For each scanout, the number of the frame whose picture the host has of this resource, as
    /// far as that was on the screen; 0 for none. This is the age of a buffer (EGL_EXT_buffer_age).
    frames: [u64; MAX_SCANOUTS],
}

impl Resource {
    /// Makes a resource of which the device was not told yet. `list` is the command that will tell
    /// it of the pages.
    pub(super) fn new(object: &Object, layout: Layout, list: KBox<DedicatedBuffer>) -> Self {
        Self {
            object: object.into(),
            layout,
            framebuffers: 1,
            is_canonical: false,
            stage: Stage::Used,
            created: Told::No,
            attached: Told::No,
            list: Some(list),
            frames: [0; MAX_SCANOUTS],
        }
    }

    /// Returns the object with the pixels.
    pub(crate) fn object(&self) -> &Object {
        &self.object
    }

    /// Returns all of the picture.
    pub(crate) fn all(&self) -> kms::Rect {
        kms::Rect {
            x1: 0,
            y1: 0,
            // Neither is out of range: DRM has checked that a framebuffer is within its limits.
            x2: (self.layout.pitch / BYTES_PER_PIXEL)
                .try_into()
                .unwrap_or(0),
            y2: self.layout.height.try_into().unwrap_or(0),
        }
    }

    /// Returns how the pixels lie in the object.
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns the command that makes it, under this number.
    pub(crate) fn create_command(&self, id: u32) -> ResourceCreate2d {
        ResourceCreate2d {
            resource_id: id.into(),
            format: self.layout.format.into(),
            width: (self.layout.pitch / BYTES_PER_PIXEL).into(),
            height: self.layout.height.into(),
        }
    }

    /// Returns whether the device can be told all of it.
    pub(crate) fn is_ready(&self) -> bool {
        self.attached != Told::No || self.list.is_some()
    }

    /// Takes the command that tells the device of the pages.
    pub(crate) fn take_list(&mut self) -> Option<KBox<DedicatedBuffer>> {
        self.list.take()
    }

    /// Returns the frame of `scanout` whose picture the host has; 0 for none.
    pub(crate) fn frame(&self, scanout: u32) -> u64 {
        self.frames
            .get(u32_as_usize(scanout))
            .copied()
            .unwrap_or_default()
    }

    /// The host has the picture of this frame as soon as it executed what was sent.
    pub(crate) fn set_frame(&mut self, scanout: u32, number: u64) {
        if let Some(frame) = self.frames.get_mut(u32_as_usize(scanout)) {
            *frame = number;
        }
    }

    /// The host may lack any part of the picture.
    pub(super) fn forget_frames(&mut self) {
        self.frames = [0; MAX_SCANOUTS];
    }

    /// Returns whether nobody uses it, given its number.
    pub(super) fn is_unused(&self, id: u32) -> bool {
        let shared =
            self.object.resource.load(Relaxed) == id || self.object.canonical.load(Relaxed) == id;
        self.framebuffers == 0 && !(shared && self.object.has_handles())
    }

    /// Returns whether contexts of the 3D side have let go of it.
    pub(super) fn is_free(&self) -> bool {
        #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
        return !self.is_canonical || self.is_idle();
        #[cfg(not(CONFIG_DRM_RUST_GPU_RENDER))]
        return !self.is_canonical;
    }
}
