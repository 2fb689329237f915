// SPDX-License-Identifier: GPL-2.0 OR MIT

//! [`ProbedModes`] takes the modes of a connector that is probed, each a [`DisplayMode`].
//!
//! C headers: [`include/drm/drm_modes.h`](srctree/include/drm/drm_modes.h),
//! [`include/drm/drm_edid.h`](srctree/include/drm/drm_edid.h)

use crate::{
    bindings,
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    prelude::*,
    types::Opaque, //
};
use core::{
    iter,
    marker::PhantomData,
    ptr, //
};

/// Highest refresh rate for which `drm_cvt_mode()` does not overflow, in Hz.
const MAX_REFRESH: u32 = 240;

/// Largest width and height for which `drm_cvt_mode()` does not overflow, in pixels.
const MAX_SIZE: u32 = 32767;

/// Of such widths are the modes of `drm_cvt_mode()`, in pixels.
const CELL: u32 = 8;

/// A display mode.
///
/// # Invariants
///
/// `self.0` is a valid `struct drm_display_mode`, which does not change.
#[doc(alias = "drm_display_mode")]
#[repr(transparent)]
pub struct DisplayMode(Opaque<bindings::drm_display_mode>);

impl DisplayMode {
    fn get(&self) -> &bindings::drm_display_mode {
        // SAFETY: By the type invariants.
        unsafe { &*self.0.get() }
    }

    /// Returns the width in pixels.
    pub fn hdisplay(&self) -> u32 {
        self.get().hdisplay.into()
    }

    /// Returns the height in pixels.
    pub fn vdisplay(&self) -> u32 {
        self.get().vdisplay.into()
    }

    /// Returns width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.hdisplay(), self.vdisplay())
    }

    /// Returns the refresh rate in Hz, rounded.
    #[doc(alias = "drm_mode_vrefresh")]
    pub fn vrefresh(&self) -> u32 {
        // SAFETY: By the type invariants. The rate is not negative.
        unsafe { bindings::drm_mode_vrefresh(self.0.get()) as u32 }
    }

    /// Returns whether the mode shows each line once, and all of them in each frame.
    fn is_progressive(&self) -> bool {
        const OTHERS: u32 = bindings::DRM_MODE_FLAG_INTERLACE | bindings::DRM_MODE_FLAG_DBLSCAN;

        self.get().flags & OTHERS == 0
    }

    /// Returns whether the mode is the preferred one of its connector.
    pub fn is_preferred(&self) -> bool {
        u32::from(self.get().type_) & bindings::DRM_MODE_TYPE_PREFERRED != 0
    }
}

/// Takes the modes of a connector.
///
/// All methods that add modes return their number, and zero if there is no memory.
///
/// # Invariants
///
/// `connector` is valid, and it is being probed during `'a`: the lock of the mode configuration is
/// held.
#[doc(alias = "probed_modes")]
pub struct ProbedModes<'a> {
    connector: *mut bindings::drm_connector,
    _callback: PhantomData<&'a mut bindings::drm_connector>,
}

impl ProbedModes<'_> {
    /// # Safety
    ///
    /// `connector` must be valid, and probed during the lifetime.
    pub(super) unsafe fn from_raw(connector: *mut bindings::drm_connector) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            connector,
            _callback: PhantomData,
        }
    }

    /// Returns the modes that were added so far.
    pub fn iter(&self) -> impl Iterator<Item = &DisplayMode> {
        // SAFETY: The modes are valid, and do not change while `self` is borrowed.
        self.raw()
            .map(|mode| unsafe { &*mode.cast::<DisplayMode>() })
    }

    /// Returns the modes that were added so far, for whoever does not change their list meanwhile.
    fn raw(&self) -> impl Iterator<Item = *mut bindings::drm_display_mode> {
        // SAFETY: The connector is valid by the type invariants.
        let head = unsafe { &raw mut (*self.connector).probed_modes };
        // SAFETY: The list is initialized, and the lock that is held guards it.
        let next = move |entry: *mut bindings::list_head| unsafe { (*entry).next };

        iter::successors(Some(next(head)), move |&entry| Some(next(entry)))
            .take_while(move |&entry| entry != head)
            // SAFETY: All entries but the head are in a mode.
            .map(|entry| unsafe { crate::container_of!(entry, bindings::drm_display_mode, head) })
    }

    /// Adds the modes of an EDID that the administrator has loaded for this connector (the file
    /// `edid_override` in debugfs, or the parameter `drm.edid_firmware`), if there is one. It
    /// becomes that of the connector.
    ///
    /// A driver that changes what it finds in EDIDs of the device asks for this one first, and
    /// leaves it as it is. The connector needs its EDID property.
    #[doc(alias = "drm_edid_override_connector_update")]
    pub fn add_user_edid_modes(&mut self) -> i32 {
        // SAFETY: The connector is valid and the lock is held by the type invariants.
        unsafe { bindings::drm_edid_override_connector_update(self.connector) }
    }

    /// Adds the modes of an EDID, which becomes that of the connector.
    ///
    /// `bytes` are blocks of 128 bytes, which are checked. An incomplete block at the end is
    /// ignored. An EDID that the administrator has loaded takes precedence. The connector needs its
    /// EDID property.
    #[doc(alias = "drm_edid_read_custom")]
    #[doc(alias = "drm_edid_connector_update")]
    #[doc(alias = "drm_edid_connector_add_modes")]
    pub fn add_edid_modes(&mut self, bytes: &[u8]) -> i32 {
        /// # Safety
        ///
        /// Called by `drm_edid_read_custom()` below, with a pointer to `bytes` as context and
        /// `len` writable bytes at `buf`.
        unsafe extern "C" fn read_block(
            context: *mut c_void,
            buf: *mut u8,
            block: c_uint,
            len: usize,
        ) -> c_int {
            // SAFETY: By the safety requirements.
            let bytes = unsafe { *context.cast::<&[u8]>() };
            let block = (block as usize)
                .checked_mul(bindings::EDID_LENGTH as usize)
                .and_then(|start| bytes.get(start..start.checked_add(len)?));
            let Some(block) = block else {
                return EINVAL.to_errno();
            };

            // SAFETY: Both have `len` bytes: `buf` by the safety requirements, `block` as cut
            // above.
            unsafe { ptr::copy_nonoverlapping(block.as_ptr(), buf, len) };
            0
        }

        let mut bytes = bytes;
        // SAFETY: The connector is valid by the type invariants, and `bytes` lives long enough.
        let edid = unsafe {
            bindings::drm_edid_read_custom(
                self.connector,
                Some(read_block),
                (&raw mut bytes).cast(),
            )
        };

        // SAFETY: The connector is valid and the lock is held by the type invariants. `edid` may
        // be null, and is not used any more after it is freed.
        unsafe {
            // If this fails the connector has no EDID, and no modes are added.
            bindings::drm_edid_connector_update(self.connector, edid);
            bindings::drm_edid_free(edid);
            bindings::drm_edid_connector_add_modes(self.connector)
        }
    }

    /// Adds the usual modes of monitors without an EDID, up to a size in pixels. Removes the EDID
    /// of the connector.
    #[doc(alias = "drm_add_modes_noedid")]
    pub fn add_modes_noedid(&mut self, max_width: u32, max_height: u32) -> i32 {
        // SAFETY: The connector is valid and the lock is held by the type invariants.
        unsafe {
            // Without the property the connector has no EDID.
            bindings::drm_edid_connector_update(self.connector, ptr::null());
            bindings::drm_add_modes_noedid(self.connector, max_width, max_height)
        }
    }

    /// Adds a mode of a size in pixels and a refresh rate in Hz, with the timings of the VESA
    /// formula CVT. Size and rate are exact.
    ///
    /// Adds none if there is such a mode already, of any timings. With `preferred` the mode, or the
    /// one that is there, becomes a preferred one. Adds none either if the width or the height is
    /// zero or above 32767, or if the rate is zero or above 240.
    #[doc(alias = "drm_cvt_mode")]
    pub fn add_cvt_mode(&mut self, width: u32, height: u32, refresh: u32, preferred: bool) -> i32 {
        let kind = match preferred {
            true => bindings::DRM_MODE_TYPE_PREFERRED as u8,
            false => 0,
        };

        let mut modes = self.iter().zip(self.raw());
        let found = modes.find(|(mode, _)| {
            mode.size() == (width, height) && mode.vrefresh() == refresh && mode.is_progressive()
        });
        if let Some((_, mode)) = found {
            // SAFETY: The mode is valid, and `self` is not borrowed any more.
            unsafe { (*mode).type_ |= kind };
            return 0;
        }

        // SAFETY: The connector and its device are valid by the type invariants.
        let Some(mode) = (unsafe { cvt_mode((*self.connector).dev, width, height, refresh) })
        else {
            return 0;
        };

        // SAFETY: `mode` is valid and owned, and the connector takes it. By the type invariants its
        // lock is held.
        unsafe {
            (*mode).type_ |= kind;
            bindings::drm_mode_probed_add(self.connector, mode);
        }
        1
    }
}

/// Makes a mode of exactly this size in pixels and refresh rate in Hz, with the timings of CVT if
/// they make sense. [`None`] for sizes and rates that are none or too large, and without memory.
///
/// # Safety
///
/// `dev` must be valid. Whoever gets the mode has to destroy it, or to give it to a connector.
pub(super) unsafe fn cvt_mode(
    dev: *mut bindings::drm_device,
    width: u32,
    height: u32,
    refresh: u32,
) -> Option<*mut bindings::drm_display_mode> {
    let usable = |size| (1..=MAX_SIZE).contains(&size);

    if !usable(width) || !usable(height) || !(1..=MAX_REFRESH).contains(&refresh) {
        return None;
    }

    // It rounds the width down, so that is rounded up.
    //
    // SAFETY: By the safety requirements. All numbers were checked above.
    let mode = unsafe {
        bindings::drm_cvt_mode(
            dev,
            width.next_multiple_of(CELL) as c_int,
            height as c_int,
            refresh as c_int,
            false,
            false,
            false,
        )
    };

    // SAFETY: If it is not null the mode is valid, and nobody else has it.
    make_exact(unsafe { mode.as_mut() }?, width as u16, refresh);

    // SAFETY: As above.
    unsafe { bindings::drm_mode_set_name(mode) };
    Some(mode)
}

/// Gives a mode of `drm_cvt_mode()`, which may be up to seven pixels too wide, this width, and the
/// clock for this rate in Hz.
///
/// In the modes of small widths nothing is left for the sync pulse, and for small heights the
/// formula for the blanking overflows. Such modes get a blanking of a fifth of a line.
fn make_exact(mode: &mut bindings::drm_display_mode, width: u16, refresh: u32) {
    let active = mode.hdisplay;
    let order = [active, mode.hsync_start, mode.hsync_end, mode.htotal];

    if !order.is_sorted() || mode.hsync_start == mode.hsync_end || mode.htotal - active > active {
        let blank = (active / 4).next_multiple_of(4 * CELL as u16);
        mode.hsync_start = active + blank / 4;
        mode.hsync_end = active + blank / 2;
        mode.htotal = active + blank;
    }

    mode.hdisplay = width;
    let pixels = u64::from(mode.htotal) * u64::from(mode.vtotal);
    // In kHz. All three factors are small enough.
    mode.clock = ((pixels * u64::from(refresh) + 500) / 1000) as c_int;
}
