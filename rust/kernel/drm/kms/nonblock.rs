// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Commits that user space does not wait for.
//!
//! `drm_atomic_helper_commit()` leaves them to a worker, as they may have to wait: for who draws
//! into a framebuffer, for the commit before, for the hardware. If there is nothing to wait for
//! they are brought to the hardware at once, which is earlier by the time a worker needs to wake
//! up, and nothing is left for one to do.
//!
//! C header: [`include/drm/drm_atomic_helper.h`](srctree/include/drm/drm_atomic_helper.h)

use super::{
    atomic::{
        self,
        Commit, //
    },
    KmsDriver, //
};
use crate::{
    bindings,
    drm,
    error::to_result,
    ffi::c_int,
    prelude::*, //
};

/// # Safety
///
/// Called by the DRM core alone, as `drm_mode_config_funcs::atomic_commit` of a `drm::Device<T>`,
/// with a commit that was checked.
pub(super) unsafe extern "C" fn commit_callback<T: KmsDriver>(
    dev: *mut bindings::drm_device,
    commit: *mut bindings::drm_atomic_commit,
    nonblock: bool,
) -> c_int {
    // SAFETY: By the safety requirements `commit` is valid, its states are not yet swapped, and it
    // and the commits before are not changed meanwhile, as the locks of its objects are held. A
    // device with commits is registered.
    let at_once = unsafe {
        if nonblock && is_early(commit) {
            return EBUSY.to_errno();
        }
        nonblock && is_quick(commit) && T::can_commit_inline(drm::Device::from_raw(dev))
    };

    if !at_once {
        // SAFETY: By the safety requirements.
        return unsafe { bindings::drm_atomic_helper_commit(dev, commit, nonblock) };
    }

    // SAFETY: By the safety requirements. Without a modeset, as checked above.
    match unsafe { commit_at_once::<T>(dev, commit) } {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// Whether a CRTC in `commit` has a commit before that is not on the screen yet.
///
/// `drm_atomic_helper_setup_commit()` refuses those that are not cleaned up. Here that comes first.
///
/// # Safety
///
/// As [`is_quick`].
unsafe fn is_early(commit: *mut bindings::drm_atomic_commit) -> bool {
    // SAFETY: By the safety requirements. Entries with an object have both states.
    unsafe { atomic::crtcs(commit) }.iter().any(|entry| unsafe {
        let last = match entry.ptr.is_null() {
            true => return false,
            false => (*entry.old_state).commit,
        };
        !last.is_null() && !bindings::completion_done(&raw mut (*last).flip_done)
    })
}

/// Whether there is nothing to wait for in `commit`, as far as DRM knows.
///
/// # Safety
///
/// `commit` must be valid, with its states not yet swapped, and the locks of its objects held.
unsafe fn is_quick(commit: *mut bindings::drm_atomic_commit) -> bool {
    // SAFETY: By the safety requirements.
    let (planes, crtcs, connectors, is_cursor) = unsafe {
        (
            atomic::planes(commit),
            atomic::crtcs(commit),
            atomic::connectors(commit),
            (*commit).async_update(),
        )
    };

    // SAFETY: Entries with an object have both states. The old ones are those of the objects, and
    // own the commits before.
    let crtcs = crtcs.iter().all(|entry| unsafe {
        entry.ptr.is_null()
            || (!bindings::drm_atomic_crtc_needs_modeset(entry.new_state)
                && !(*entry.new_state).async_flip
                && is_past((*entry.old_state).commit))
    });
    // SAFETY: As above.
    let connectors = connectors
        .iter()
        .all(|entry| unsafe { entry.ptr.is_null() || is_past((*entry.old_state).commit) });
    // SAFETY: As above.
    let planes = planes.iter().all(|entry| unsafe {
        entry.ptr.is_null() || (is_past((*entry.old_state).commit) && is_drawn(&*entry.new_state))
    });
    crtcs && connectors && planes && !is_cursor
}

/// Whether nobody needs to wait for the commit of an object any more.
///
/// # Safety
///
/// `last` must be valid, or null.
unsafe fn is_past(last: *mut bindings::drm_crtc_commit) -> bool {
    // SAFETY: By the safety requirements.
    last.is_null()
        || unsafe {
            bindings::completion_done(&raw mut (*last).hw_done)
                && bindings::completion_done(&raw mut (*last).flip_done)
        }
}

/// Whether nobody draws into the framebuffer of a plane any more.
///
/// # Safety
///
/// `state` must be a valid state.
unsafe fn is_drawn(state: &bindings::drm_plane_state) -> bool {
    // SAFETY: The state owns its fence and its framebuffer, that owns its objects, and an object
    // has a reservation.
    unsafe {
        if !state.fence.is_null() && !bindings::dma_fence_is_signaled(state.fence) {
            return false;
        }

        state.fb.is_null()
            || (*state.fb).obj.iter().all(|object| {
                let write = bindings::dma_resv_usage_DMA_RESV_USAGE_WRITE;
                object.is_null() || bindings::dma_resv_test_signaled((**object).resv, write)
            })
    }
}

/// Commits without waiting, as far as can be known.
///
/// What `drm_atomic_helper_commit()` does, and its worker, but for waiting until the commit is on
/// the screen: the next one of the CRTC does that, or [is refused](is_early).
///
/// # Safety
///
/// As [`commit_callback`], and there must be no modeset in `commit`.
unsafe fn commit_at_once<T: KmsDriver>(
    dev: *mut bindings::drm_device,
    commit: *mut bindings::drm_atomic_commit,
) -> Result {
    // SAFETY: By the safety requirements. The planes are unprepared if they do not get to be shown.
    unsafe {
        to_result(bindings::drm_atomic_helper_setup_commit(commit, true))?;
        to_result(bindings::drm_atomic_helper_prepare_planes(dev, commit))?;

        // For who began to draw just now; it can be interrupted.
        to_result(bindings::drm_atomic_helper_wait_for_fences(
            dev, commit, true,
        ))
        .and_then(|()| to_result(bindings::drm_atomic_helper_swap_state(commit, true)))
        .inspect_err(|_| bindings::drm_atomic_helper_unprepare_planes(dev, commit))?;

        Commit::<T>::run_atomic_commit_tail(commit);
        bindings::drm_atomic_helper_cleanup_planes(dev, commit);
        bindings::drm_atomic_helper_commit_cleanup_done(commit);
    }
    Ok(())
}
