// SPDX-License-Identifier: GPL-2.0 OR MIT

//! [`commit_callback()`] commits inline what has nothing to wait for.
//!
//! `drm_atomic_helper_commit()` leaves all nonblocking commits to a worker, as they may have to
//! wait: for fences of the framebuffers, for the previous commit, for the hardware. If there is
//! nothing to wait for, the commit runs inline, which means within the ioctl: the hardware gets it
//! earlier by the time that a worker needs to wake up.
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
/// Only the DRM core calls this, as `drm_mode_config_funcs::atomic_commit` of a `drm::Device<T>`,
/// with a commit that was checked.
pub(super) unsafe extern "C" fn commit_callback<T: KmsDriver>(
    dev: *mut bindings::drm_device,
    commit: *mut bindings::drm_atomic_commit,
    nonblock: bool,
) -> c_int {
    // SAFETY: By the safety requirements `commit` is valid and its states are not yet swapped. It
    // and the previous commits do not change meanwhile, as the locks of its objects are held. A
    // device with commits is registered.
    let inline = unsafe {
        if nonblock && is_flip_pending(commit) {
            return EBUSY.to_errno();
        }
        nonblock && !needs_worker(commit) && T::can_commit_inline(drm::Device::from_raw(dev))
    };

    if !inline {
        // SAFETY: By the safety requirements.
        return unsafe { bindings::drm_atomic_helper_commit(dev, commit, nonblock) };
    }

    // SAFETY: By the safety requirements. There is no modeset, as checked above.
    match unsafe { commit_inline::<T>(dev, commit) } {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// Returns whether the previous commit of a CRTC in `commit` is not on the screen yet.
///
/// `drm_atomic_helper_setup_commit()` refuses commits whose previous one is not cleaned up. A
/// commit that ran inline is cleaned up before it is on the screen, so it needs this check.
///
/// # Safety
///
/// As [`needs_worker`].
unsafe fn is_flip_pending(commit: *mut bindings::drm_atomic_commit) -> bool {
    // SAFETY: By the safety requirements. Entries with an object have both states.
    unsafe { atomic::crtcs(commit) }.iter().any(|entry| unsafe {
        let previous = match entry.ptr.is_null() {
            true => return false,
            false => (*entry.old_state).commit,
        };
        !previous.is_null() && !bindings::completion_done(&raw mut (*previous).flip_done)
    })
}

/// Returns whether `commit` is for the worker: for a modeset, an async flip or an async cursor
/// update, and if there is anything that DRM would wait for.
///
/// # Safety
///
/// `commit` must be valid, with its states not yet swapped, and the locks of its objects held.
unsafe fn needs_worker(commit: *mut bindings::drm_atomic_commit) -> bool {
    // SAFETY: By the safety requirements.
    let (planes, crtcs, connectors, async_update) = unsafe {
        (
            atomic::planes(commit),
            atomic::crtcs(commit),
            atomic::connectors(commit),
            (*commit).async_update(),
        )
    };

    // SAFETY: Entries with an object have both states. The old ones are those of the objects, and
    // own the previous commits.
    let crtcs = crtcs.iter().all(|entry| unsafe {
        entry.ptr.is_null()
            || (!bindings::drm_atomic_crtc_needs_modeset(entry.new_state)
                && !(*entry.new_state).async_flip
                && is_done((*entry.old_state).commit))
    });
    // SAFETY: As above.
    let connectors = connectors
        .iter()
        .all(|entry| unsafe { entry.ptr.is_null() || is_done((*entry.old_state).commit) });
    // SAFETY: As above.
    let planes = planes.iter().all(|entry| unsafe {
        entry.ptr.is_null()
            || (is_done((*entry.old_state).commit) && is_signaled(&*entry.new_state))
    });
    !(crtcs && connectors && planes) || async_update
}

/// Returns whether nothing has to wait for the previous commit of an object any more.
///
/// # Safety
///
/// `previous` must be valid, or null.
unsafe fn is_done(previous: *mut bindings::drm_crtc_commit) -> bool {
    // SAFETY: By the safety requirements.
    previous.is_null()
        || unsafe {
            bindings::completion_done(&raw mut (*previous).hw_done)
                && bindings::completion_done(&raw mut (*previous).flip_done)
        }
}

/// Returns whether the fences that the new state of a plane waits for are signaled: the explicit
/// one, and those of the writers of its framebuffer.
///
/// # Safety
///
/// `state` must be a valid state.
unsafe fn is_signaled(state: &bindings::drm_plane_state) -> bool {
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

/// Does what `drm_atomic_helper_commit()` and its worker do, but does not wait until the commit is
/// on the screen: the next commit of the CRTC does that, or [is refused](is_flip_pending).
///
/// # Safety
///
/// As [`commit_callback`], and there must be no modeset in `commit`.
unsafe fn commit_inline<T: KmsDriver>(
    dev: *mut bindings::drm_device,
    commit: *mut bindings::drm_atomic_commit,
) -> Result {
    // SAFETY: By the safety requirements. The planes are unprepared if they are never shown.
    unsafe {
        to_result(bindings::drm_atomic_helper_setup_commit(commit, true))?;
        to_result(bindings::drm_atomic_helper_prepare_planes(dev, commit))?;

        // For a writer that has come since `needs_worker()`; a signal ends the wait.
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
