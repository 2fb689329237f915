// SPDX-License-Identifier: GPL-2.0

//! [`Change`] says what a commit does to a plane; the functions beside it translate states of DRM
//! into what commands carry.

use kernel::drm::kms::{
    self,
    Commit,
    CrtcUpdate,
    PlaneKind,
    PlaneUpdate, //
};

use crate::{
    command::{
        Rect,
        SetScanout,
        UpdateCursor,
        NO_RESOURCE, //
    },
    gpu::{
        Framebuffer,
        RustGpuDriver, //
    },
};

/// What a commit does to a plane.
pub(super) enum Change<'c> {
    Nothing,
    /// The plane shows nothing any more.
    Off,
    /// The part of a framebuffer that changed; whether the scanout has to be told of it.
    Show(&'c Framebuffer, kms::Rect, bool),
}

/// Returns what `commit` does to a plane.
pub(super) fn change<'c>(
    commit: &'c Commit<'_, RustGpuDriver>,
    update: &PlaneUpdate<'c, RustGpuDriver>,
) -> Change<'c> {
    let (old, new) = (update.old(), update.new());
    let crtc = new.crtc_index().and_then(|index| find(commit, index));
    match (new.framebuffer(), crtc) {
        (Some(framebuffer), Some(crtc)) if crtc.active() => {
            let changed =
                update.framebuffer_changed() || crtc.needs_modeset() || old.src() != new.src();
            // The image of a cursor is read once, and whole.
            if update.plane().kind() == PlaneKind::Cursor {
                return match update.framebuffer_changed() {
                    true => Change::Show(framebuffer, whole(framebuffer), true),
                    false => Change::Nothing,
                };
            }
            match update.damage_merged() {
                Some(part) => Change::Show(framebuffer, part, changed),
                None if changed => Change::Show(framebuffer, new.src(), true),
                None => Change::Nothing,
            }
        }
        _ if old.framebuffer().is_some() => Change::Off,
        _ => Change::Nothing,
    }
}

/// Returns the command that tells a scanout what it shows, if that changes.
pub(super) fn scanout(
    update: &PlaneUpdate<'_, RustGpuDriver>,
    change: &Change<'_>,
) -> Option<SetScanout> {
    let (r, resource_id) = match change {
        Change::Nothing | Change::Show(_, _, false) => return None,
        Change::Show(framebuffer, _, true) => (rect(&update.new().src()), framebuffer.resource()),
        Change::Off => (Rect::default(), NO_RESOURCE),
    };
    Some(SetScanout {
        r,
        scanout_id: update.plane().scanout.into(),
        resource_id: resource_id.into(),
    })
}

/// Returns what `commit` does to a CRTC.
fn find<'c>(
    commit: &'c Commit<'_, RustGpuDriver>,
    index: u32,
) -> Option<CrtcUpdate<'c, RustGpuDriver>> {
    commit.crtcs().find(|update| update.crtc().index() == index)
}

/// Returns what the cursor of a plane shall be.
pub(super) fn wanted(
    update: &PlaneUpdate<'_, RustGpuDriver>,
    framebuffer: &Framebuffer,
) -> UpdateCursor {
    let new = update.new();
    let (hot_x, hot_y) = new.hotspot();
    UpdateCursor {
        scanout_id: update.plane().scanout.into(),
        // CAST: the device takes positions left of the screen and above it in two's complement.
        x: (new.crtc_x() as u32).into(),
        y: (new.crtc_y() as u32).into(),
        resource_id: framebuffer.resource().into(),
        // CAST: as above.
        hot_x: (hot_x as u32).into(),
        hot_y: (hot_y as u32).into(),
        ..Default::default()
    }
}

/// Returns all of a framebuffer, whatever of it is on the screen.
pub(super) fn whole(framebuffer: &Framebuffer) -> kms::Rect {
    kms::Rect {
        x1: 0,
        y1: 0,
        // Neither is more than `MAX_SIDE`.
        x2: framebuffer.width().try_into().unwrap_or(0),
        y2: framebuffer.height().try_into().unwrap_or(0),
    }
}

/// Returns a rectangle as the device has it. Rectangles of DRM are within a framebuffer here.
pub(super) fn rect(rect: &kms::Rect) -> Rect {
    Rect {
        x: u32::try_from(rect.x1).unwrap_or(0).into(),
        y: u32::try_from(rect.y1).unwrap_or(0).into(),
        width: rect.width().into(),
        height: rect.height().into(),
    }
}
