// SPDX-License-Identifier: GPL-2.0

//! [`FramebufferData`] names the resources of a framebuffer, and [`Layout`] says how its pixels lie
//! in its object.

use kernel::{
    drm::kms::{
        self,
        PlaneKind, //
    },
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

use crate::command::{
    Format,
    NO_RESOURCE, //
};

use super::RustGpuDriver;

/// What the driver keeps with a framebuffer.
pub(crate) struct FramebufferData {
    /// Numbers of the host resources behind it, for a screen and for a cursor; [`NO_RESOURCE`]
    /// until it is prepared for its first commit there. Changed under the lock of
    /// [`ResourceTable`](super::ResourceTable).
    screen: Atomic<u32>,
    cursor: Atomic<u32>,
}

impl FramebufferData {
    /// Makes the data of a framebuffer that no plane has shown.
    pub(crate) const fn new() -> Self {
        Self {
            screen: Atomic::new(NO_RESOURCE),
            cursor: Atomic::new(NO_RESOURCE),
        }
    }

    /// Returns the number of the resource for a plane of this kind.
    ///
    /// Context: any.
    pub(crate) fn resource(&self, kind: PlaneKind) -> u32 {
        // A commit that shows the framebuffer prepared it, or waited for the commit that did.
        self.number(kind).load(Relaxed)
    }

    /// Sets the number of the resource for planes of this kind, which is that of the object itself.
    ///
    /// Context: process.
    pub(crate) fn set_resource(&self, kind: PlaneKind, id: u32) {
        self.number(kind).store(id, Relaxed);
    }

    pub(super) fn number(&self, kind: PlaneKind) -> &Atomic<u32> {
        match kind {
            PlaneKind::Primary => &self.screen,
            PlaneKind::Cursor => &self.cursor,
        }
    }

    pub(super) fn numbers(&self) -> [&Atomic<u32>; 2] {
        [&self.screen, &self.cursor]
    }
}

/// A framebuffer of this driver.
pub(crate) type Framebuffer = kms::Framebuffer<RustGpuDriver>;

/// How the pixels of a framebuffer lie in its object. Framebuffers of an object share a resource if
/// all of this is the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Distance of two lines, in bytes.
    pub(crate) pitch: u32,
    /// Number of lines.
    pub(crate) height: u32,
    /// What the device takes the pixels for.
    pub(crate) format: Format,
    /// Offset of the first line, in bytes.
    pub(crate) offset: u32,
}

impl Layout {
    /// Returns how `framebuffer` lies in its object, for a plane of this kind.
    pub(super) fn new(framebuffer: &Framebuffer, kind: PlaneKind) -> Self {
        Self {
            pitch: framebuffer.pitch(),
            height: framebuffer.height(),
            format: Format::of(framebuffer.format(), kind == PlaneKind::Cursor),
            offset: framebuffer.offset(),
        }
    }
}
