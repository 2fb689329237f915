// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A [`Commit`] gives a driver the states that it writes to the hardware.
//!
//! C headers: [`include/drm/drm_atomic.h`](srctree/include/drm/drm_atomic.h),
//! [`include/drm/drm_atomic_helper.h`](srctree/include/drm/drm_atomic_helper.h),
//! [`include/drm/drm_damage_helper.h`](srctree/include/drm/drm_damage_helper.h)

use super::{
    closing,
    signalling::Signalling,
    vblank::EventLock,
    Crtc,
    CrtcState,
    KmsDriver,
    Plane,
    PlaneState,
    VblankEvent, //
};
use crate::{
    bindings,
    drm,
    ffi::c_int,
    prelude::*, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull,
    slice, //
};

/// A rectangle. `x2` and `y2` are outside of it.
#[doc(alias = "drm_rect")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// The left edge.
    pub x1: i32,
    /// The upper edge.
    pub y1: i32,
    /// The right edge.
    pub x2: i32,
    /// The lower edge.
    pub y2: i32,
}

impl Rect {
    /// Returns the width, which is zero if the right edge is left of the left one.
    ///
    /// # Examples
    ///
    /// ```
    /// use kernel::drm::kms::Rect;
    ///
    /// let rect = Rect { x1: -2, y1: 8, x2: 3, y2: 4 };
    /// assert_eq!(rect.width(), 5);
    /// assert_eq!(rect.height(), 0);
    /// ```
    pub fn width(&self) -> u32 {
        u32::try_from(i64::from(self.x2) - i64::from(self.x1)).unwrap_or(0)
    }

    /// Returns the height, which is zero if the lower edge is above the upper one.
    pub fn height(&self) -> u32 {
        u32::try_from(i64::from(self.y2) - i64::from(self.y1)).unwrap_or(0)
    }
}

impl From<bindings::drm_rect> for Rect {
    fn from(rect: bindings::drm_rect) -> Self {
        Self {
            x1: rect.x1,
            y1: rect.y1,
            x2: rect.x2,
            y2: rect.y2,
        }
    }
}

/// Makes a type invariant over `'a` and neither `Send` nor `Sync`: a token for one callback.
type Token<'a, T> = PhantomData<(fn(&'a ()) -> &'a (), *mut T)>;

/// A commit whose new state is written to the hardware.
///
/// It is a token: all states borrow from it, and [`hw_done`](Self::hw_done) consumes it.
///
/// # Invariants
///
/// `commit` is a valid commit of a `drm::Device<T>`, its states were swapped, and
/// `drm_atomic_helper_commit_hw_done()` was not called for it.
#[doc(alias = "drm_atomic_commit")]
pub struct Commit<'a, T: KmsDriver> {
    commit: *mut bindings::drm_atomic_commit,
    _signalling: Signalling,
    _token: Token<'a, T>,
}

/// The proof that [`Commit::hw_done`] was called.
///
/// # Invariants
///
/// `commit` is a valid commit of a `drm::Device<T>` during `'a`.
pub struct HwDone<'a, T: KmsDriver> {
    commit: *mut bindings::drm_atomic_commit,
    _token: Token<'a, T>,
}

impl<'a, T: KmsDriver> HwDone<'a, T> {
    /// Returns the CRTCs of the commit, in the order of their index. Their states may be those of
    /// the next commit already.
    pub fn crtcs(&self) -> impl Iterator<Item = &'a Crtc<T::Crtc>> {
        // SAFETY: By the type invariants. The entries stay, although their states may go.
        unsafe { crtcs(self.commit) }
            .iter()
            .filter(|entry| !entry.ptr.is_null())
            // SAFETY: CRTCs live as long as the device, and that lives as long as its commits.
            .map(|entry| unsafe { Crtc::from_raw(entry.ptr) })
    }
}

impl<'a, T: KmsDriver> Commit<'a, T> {
    /// Returns the planes of the commit, in the order of their index.
    ///
    /// A plane may be in a commit without a change.
    #[doc(alias = "for_each_oldnew_plane_in_state")]
    pub fn planes(&self) -> impl Iterator<Item = PlaneUpdate<'_, T>> {
        // SAFETY: By the type invariants.
        unsafe { planes(self.commit) }
            .iter()
            .filter(|entry| !entry.ptr.is_null())
            // INVARIANT: An entry with a plane has both of its states. They do not change before
            // `hw_done`, which cannot be called while `self` is borrowed.
            .map(|entry| PlaneUpdate {
                entry,
                _driver: PhantomData,
            })
    }

    /// Returns the CRTCs of the commit, in the order of their index.
    #[doc(alias = "for_each_oldnew_crtc_in_state")]
    pub fn crtcs(&self) -> impl Iterator<Item = CrtcUpdate<'_, T>> {
        // SAFETY: By the type invariants.
        unsafe { crtcs(self.commit) }
            .iter()
            .filter(|entry| !entry.ptr.is_null())
            // INVARIANT: As for planes.
            .map(|entry| CrtcUpdate {
                entry,
                _driver: PhantomData,
            })
    }

    /// Calls [`KmsDriver::atomic_commit_tail`] for a commit, which the kernel itself has made or an
    /// ioctl. `signalling` lasts until [`Self::hw_done`].
    ///
    /// # Safety
    ///
    /// `commit` must be a valid commit of a `drm::Device<T>` whose states were swapped, and this
    /// must be the first call for it.
    pub(super) unsafe fn run_atomic_commit_tail(
        commit: *mut bindings::drm_atomic_commit,
        by_kernel: bool,
        signalling: Signalling,
    ) {
        // SAFETY: By the safety requirements.
        unsafe { closing::keep_shown::<T>(commit, by_kernel) };

        // INVARIANT: By the safety requirements.
        let this = Self {
            commit,
            _signalling: signalling,
            _token: PhantomData,
        };

        // SAFETY: By the safety requirements. There are no commits before registration.
        let device = unsafe { drm::Device::<T, drm::Ioctl>::from_raw((*commit).dev) };
        let _done: HwDone<'_, T> = T::atomic_commit_tail(device, this);
    }

    /// Ends the access to the new state, which the next commit may replace from then on.
    ///
    /// Sends all events that were not taken.
    #[doc(alias = "drm_atomic_helper_commit_hw_done")]
    pub fn hw_done(self) -> HwDone<'a, T> {
        for crtc in self.crtcs() {
            drop(crtc.take_event());
        }

        // SAFETY: By the type invariants. Nothing borrows from `self` any more.
        unsafe { bindings::drm_atomic_helper_commit_hw_done(self.commit) };

        // INVARIANT: By the type invariants. The commit stays until the callback returns.
        HwDone {
            commit: self.commit,
            _token: PhantomData,
        }
    }
}

/// Returns the entries of a commit for one type of object.
///
/// # Safety
///
/// `array` must have `count` entries, which are valid and do not change during `'a`, or be null if
/// there are none.
unsafe fn entries<'a, E>(array: *const E, count: c_int) -> &'a [E] {
    match usize::try_from(count) {
        // SAFETY: By the safety requirements.
        Ok(count) if count > 0 && !array.is_null() => unsafe {
            slice::from_raw_parts(array, count)
        },
        _ => &[],
    }
}

/// Returns the entries of a commit for planes.
///
/// # Safety
///
/// `commit` must be valid during `'a`, of a device that is registered, and nothing may be added to
/// it.
pub(super) unsafe fn planes<'a>(
    commit: *mut bindings::drm_atomic_commit,
) -> &'a [bindings::__drm_planes_state] {
    // SAFETY: The device of a commit is valid. The array has an entry for each plane of the device,
    // which gets no more of them once it is registered.
    unsafe {
        let config = &raw const (*(*commit).dev).mode_config;
        entries((*commit).planes, (*config).num_total_plane)
    }
}

/// Returns the entries of a commit for CRTCs.
///
/// # Safety
///
/// As [`planes`].
pub(super) unsafe fn crtcs<'a>(
    commit: *mut bindings::drm_atomic_commit,
) -> &'a [bindings::__drm_crtcs_state] {
    // SAFETY: As for planes.
    unsafe {
        let config = &raw const (*(*commit).dev).mode_config;
        entries((*commit).crtcs, (*config).num_crtc)
    }
}

/// Returns the entries of a commit for connectors.
///
/// # Safety
///
/// As [`planes`].
pub(super) unsafe fn connectors<'a>(
    commit: *mut bindings::drm_atomic_commit,
) -> &'a [bindings::__drm_connnectors_state] {
    // SAFETY: The array has as many entries as the commit says.
    unsafe { entries((*commit).connectors, (*commit).num_connector) }
}

/// A plane in a commit.
///
/// # Invariants
///
/// `entry` has a plane of `T` and two valid states of it, which do not change during `'c`.
pub struct PlaneUpdate<'c, T: KmsDriver> {
    entry: &'c bindings::__drm_planes_state,
    _driver: PhantomData<*mut T>,
}

impl<'c, T: KmsDriver> PlaneUpdate<'c, T> {
    /// # Safety
    ///
    /// `entry` must have a plane of `T` and two valid states of it, which do not change during
    /// `'c`.
    pub(super) unsafe fn from_raw(entry: &'c bindings::__drm_planes_state) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            entry,
            _driver: PhantomData,
        }
    }

    /// Returns the plane.
    pub fn plane(&self) -> &'c Plane<T::Plane> {
        // SAFETY: By the type invariants.
        unsafe { Plane::from_raw(self.entry.ptr) }
    }

    /// Returns the state of the plane before the commit.
    #[doc(alias = "drm_atomic_get_old_plane_state")]
    pub fn old(&self) -> PlaneState<'c, T> {
        // SAFETY: By the type invariants.
        unsafe { PlaneState::from_raw(self.entry.old_state) }
    }

    /// Returns the state that the commit gives to the plane.
    #[doc(alias = "drm_atomic_get_new_plane_state")]
    #[expect(clippy::new_ret_no_self)]
    pub fn new(&self) -> PlaneState<'c, T> {
        // SAFETY: By the type invariants.
        unsafe { PlaneState::from_raw(self.entry.new_state) }
    }

    /// Returns whether the new state has another framebuffer than the old one, or none any more.
    pub fn framebuffer_changed(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { (*self.entry.old_state).fb != (*self.entry.new_state).fb }
    }

    /// Returns the smallest rectangle around all changes of the framebuffer, in whole pixels.
    ///
    /// That is the whole visible part if user space does not tell, if another part of the
    /// framebuffer than before is visible, or after a flip to another framebuffer unless the driver
    /// [asks](crate::drm::kms::DriverPlane::DAMAGE_OF_FLIPS) for the damage of flips. [`None`] if
    /// nothing changed or the plane is not visible.
    #[doc(alias = "drm_atomic_helper_damage_merged")]
    pub fn damage_merged(&self) -> Option<Rect> {
        let mut rect = pin_init::zeroed();

        // SAFETY: By the type invariants, and `rect` is valid for writes.
        unsafe {
            bindings::drm_atomic_helper_damage_merged(
                self.entry.old_state,
                self.entry.new_state,
                &mut rect,
            )
        }
        .then(|| rect.into())
    }
}

/// A CRTC in a commit.
///
/// # Invariants
///
/// `entry` has a CRTC of `T` and two valid states of it, which do not change during `'c`, but for
/// the event of the new one, which is changed under the lock of the events.
pub struct CrtcUpdate<'c, T: KmsDriver> {
    entry: &'c bindings::__drm_crtcs_state,
    _driver: PhantomData<*mut T>,
}

impl<'c, T: KmsDriver> CrtcUpdate<'c, T> {
    /// Returns the CRTC.
    pub fn crtc(&self) -> &'c Crtc<T::Crtc> {
        // SAFETY: By the type invariants.
        unsafe { Crtc::from_raw(self.entry.ptr) }
    }

    /// Returns the state of the CRTC before the commit.
    #[doc(alias = "drm_atomic_get_old_crtc_state")]
    pub fn old(&self) -> CrtcState<'c, T> {
        // SAFETY: By the type invariants.
        unsafe { CrtcState::from_raw(self.entry.old_state) }
    }

    /// Returns the state that the commit gives to the CRTC.
    #[doc(alias = "drm_atomic_get_new_crtc_state")]
    #[expect(clippy::new_ret_no_self)]
    pub fn new(&self) -> CrtcState<'c, T> {
        // SAFETY: By the type invariants.
        unsafe { CrtcState::from_raw(self.entry.new_state) }
    }

    /// Returns whether the CRTC was on before the commit.
    pub fn old_active(&self) -> bool {
        self.old().active()
    }

    /// Returns whether the CRTC is on after the commit.
    pub fn active(&self) -> bool {
        self.new().active()
    }

    /// Returns whether the mode changes, or the CRTC is switched on or off.
    #[doc(alias = "drm_atomic_crtc_needs_modeset")]
    pub fn needs_modeset(&self) -> bool {
        self.new().needs_modeset()
    }

    /// Returns width and height of the new mode, in pixels. Zero without a mode.
    pub fn mode_size(&self) -> (u32, u32) {
        self.new().mode_size()
    }

    /// Returns whether the flip need not wait for vblank, and should happen immediately.
    pub fn async_flip(&self) -> bool {
        self.new().async_flip()
    }

    /// Takes the event that tells user space that the commit is on the screen.
    ///
    /// There is none if the CRTC is off and stays off, and for a commit that only moves the cursor.
    pub fn take_event(&self) -> Option<VblankEvent<'c, T>> {
        let crtc = self.crtc();

        let event = {
            // SAFETY: The device lives at least as long as the CRTC.
            let _lock = unsafe { EventLock::new((*crtc.as_raw()).dev) };

            // SAFETY: The new state is valid, and the lock of its event is held.
            unsafe { core::mem::replace(&mut (*self.entry.new_state).event, core::ptr::null_mut()) }
        };
        let event = NonNull::new(event)?;

        // SAFETY: The CRTC is valid, and vblank was initialized before the device was registered.
        let vblank = unsafe { bindings::drm_crtc_vblank_get(crtc.as_raw()) } == 0;

        // SAFETY: The event was taken from the state, so it is owned, and so is the reference if
        // there is one.
        Some(unsafe { VblankEvent::new(crtc, event, vblank) })
    }
}

/// Returns whether `commit` switches anything on that is off.
///
/// # Safety
///
/// `commit` must be valid, its states must not yet be swapped, and it must not change meanwhile.
unsafe fn switches_on(commit: *mut bindings::drm_atomic_commit) -> bool {
    // SAFETY: By the safety requirements.
    let (planes, crtcs) = unsafe { (planes(commit), crtcs(commit)) };

    // SAFETY: Entries with an object have both states.
    let plane = planes.iter().any(|entry| unsafe {
        !entry.ptr.is_null() && (*entry.old_state).fb.is_null() && !(*entry.new_state).fb.is_null()
    });
    // SAFETY: As above.
    let crtc = crtcs.iter().any(|entry| unsafe {
        !entry.ptr.is_null()
            && ((!(*entry.old_state).enable && (*entry.new_state).enable)
                || (!(*entry.old_state).active && (*entry.new_state).active))
    });
    plane || crtc
}

/// # Safety
///
/// Only the DRM core calls this, as `drm_mode_config_funcs::atomic_check`.
pub(super) unsafe extern "C" fn check_callback(
    dev: *mut bindings::drm_device,
    commit: *mut bindings::drm_atomic_commit,
) -> c_int {
    // An ioctl that was in flight at the unplug must not switch on again what the shutdown has
    // switched off. The shutdown takes the locks of all objects after the unplug. An ioctl that
    // gets such a lock later sees that the device is unplugged. The changes of one that had it
    // before are undone by the shutdown.
    //
    // SAFETY: By the safety requirements both are valid.
    if unsafe { bindings::drm_dev_is_unplugged(dev) && switches_on(commit) } {
        return ENODEV.to_errno();
    }

    // SAFETY: By the safety requirements.
    unsafe { bindings::drm_atomic_helper_check(dev, commit) }
}

/// # Safety
///
/// Only the DRM core calls this, in the worker of a nonblocking commit, as
/// `drm_mode_config_helper_funcs::atomic_commit_tail` of a `drm::Device<T>`.
pub(super) unsafe extern "C" fn commit_tail_callback<T: KmsDriver>(
    commit: *mut bindings::drm_atomic_commit,
) {
    // SAFETY: By the safety requirements.
    unsafe {
        commit_tail::<T>(commit, false);
        // WAIT: own-flip
        bindings::drm_atomic_helper_wait_for_flip_done((*commit).dev, commit);
        bindings::drm_atomic_helper_cleanup_planes((*commit).dev, commit);
    }
}

/// Sets modes, if there are any, and writes the new state to the hardware. The kernel itself has
/// made the commit, or an ioctl.
///
/// # Safety
///
/// `commit` must be a valid commit of a `drm::Device<T>` whose states were swapped, and this must
/// be the first call for it.
pub(super) unsafe fn commit_tail<T: KmsDriver>(
    commit: *mut bindings::drm_atomic_commit,
    by_kernel: bool,
) {
    let signalling = Signalling::begin();

    // SAFETY: By the safety requirements. CRTCs that a modeset switches on have vblanks after it.
    // Without a modeset its helpers do nothing, but cost a hundredth of a whole flip.
    unsafe {
        let dev = (*commit).dev;
        if crtcs(commit).iter().any(|entry| {
            !entry.ptr.is_null() && bindings::drm_atomic_crtc_needs_modeset(entry.new_state)
        }) {
            bindings::drm_atomic_helper_commit_modeset_disables(dev, commit);
            bindings::drm_atomic_helper_commit_modeset_enables(dev, commit);
        }

        Commit::<T>::run_atomic_commit_tail(commit, by_kernel, signalling);
    }
}
