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
        UpdateCursor, //
    },
    gpu::{
        Framebuffer,
        RustGpuDriver, //
    },
};

/// What a commit does to a plane.
pub(super) enum Change<'c> {
    /// Nothing, or it only moves a cursor.
    Nothing,
    /// The plane shows nothing any more.
    Off,
    /// The plane shows a framebuffer.
    Show {
        framebuffer: &'c Framebuffer,
        /// The part that may differ from what the plane showed before.
        part: kms::Rect,
        /// The mode changes, or the CRTC is switched on.
        modeset: bool,
    },
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
            let modeset = crtc.needs_modeset();
            let changed = update.framebuffer_changed() || modeset || old.src() != new.src();
            // The same bytes in another format are another picture.
            let format = old.framebuffer().map(|framebuffer| framebuffer.format());
            let reformatted = format.is_some_and(|format| format != framebuffer.format());
            let show = |part| Change::Show {
                framebuffer,
                part,
                modeset,
            };
            // The image of a cursor is read once, and whole.
            if update.plane().kind() == PlaneKind::Cursor {
                return match update.framebuffer_changed() {
                    true => show(new.src()),
                    false => Change::Nothing,
                };
            }
            match update.damage_merged() {
                Some(part) if !reformatted => show(part),
                _ if changed => show(new.src()),
                _ => Change::Nothing,
            }
        }
        _ if old.framebuffer().is_some() => Change::Off,
        _ => Change::Nothing,
    }
}

/// Returns what `commit` does to a CRTC.
fn find<'c>(
    commit: &'c Commit<'_, RustGpuDriver>,
    index: u32,
) -> Option<CrtcUpdate<'c, RustGpuDriver>> {
    commit.crtcs().find(|update| update.crtc().index() == index)
}

/// Returns what the cursor of a plane should be.
pub(super) fn wanted_cursor(
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
        resource_id: framebuffer.resource(PlaneKind::Cursor).into(),
        // CAST: as above.
        hot_x: (hot_x as u32).into(),
        hot_y: (hot_y as u32).into(),
        ..Default::default()
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
