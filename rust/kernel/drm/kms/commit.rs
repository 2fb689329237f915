// SPDX-License-Identifier: GPL-2.0 OR MIT

//! [`commit_callback()`] commits: within the ioctl, or in a worker of DRM.
//!
//! `drm_atomic_helper_commit()` leaves all nonblocking commits to a worker, as they may have to
//! wait: for fences of the framebuffers, for the previous commit, for the hardware. Here drivers do
//! not wait for the hardware. If there is nothing else to wait for, the commit runs inline, which
//! means within the ioctl: the hardware gets it earlier by the time that a worker needs to wake up.
//!
//! A blocking commit waits for the previous commit, and until it is on the screen itself.
//! `drm_atomic_helper_commit()` does so while nothing can end these waits, not even a signal that
//! kills the task, so this module has a variant of its own. A signal ends the first wait, before
//! anything has changed: the ioctl is restarted, and finds done what was waited for meanwhile. A
//! fatal signal ends the second wait: the commit has happened, only nobody watches it any more.
//!
//! C header: [`include/drm/drm_atomic_helper.h`](srctree/include/drm/drm_atomic_helper.h)

use super::{
    atomic::{
        self,
        Commit, //
    },
    signalling::Signalling,
    Crtc,
    KmsDriver, //
};
use crate::{
    bindings,
    error::to_result,
    ffi::{
        c_int,
        c_long, //
    },
    prelude::*,
    time::{
        msecs_to_jiffies,
        Msecs, //
    }, //
};
use core::ptr;

/// How long a commit waits for each step of another commit, and for its own event, in milliseconds.
/// It is what DRM's helpers wait.
const PATIENCE_MS: Msecs = 10_000;

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
    let result = unsafe {
        if (*commit).async_update() {
            // It waits for nothing, and there is no other commit of the plane under way.
            return bindings::drm_atomic_helper_commit(dev, commit, nonblock);
        }
        if !nonblock {
            commit_blocking::<T>(dev, commit)
        } else if is_flip_pending(commit) {
            Err(EBUSY)
        } else if needs_worker(commit) {
            return bindings::drm_atomic_helper_commit(dev, commit, true);
        } else {
            commit_inline::<T>(dev, commit)
        }
    };
    result.map_or_else(|error| error.to_errno(), |()| 0)
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

/// Returns whether `commit` is for the worker: for a modeset and an async flip, and if there is
/// anything that DRM would wait for.
///
/// # Safety
///
/// `commit` must be valid, with its states not yet swapped, and the locks of its objects held.
unsafe fn needs_worker(commit: *mut bindings::drm_atomic_commit) -> bool {
    // SAFETY: By the safety requirements. Entries with an object have both states. The old ones are
    // those of the objects, and own the previous commits.
    let crtcs_ready = unsafe { atomic::crtcs(commit) }.iter().all(|entry| unsafe {
        entry.ptr.is_null()
            || (!bindings::drm_atomic_crtc_needs_modeset(entry.new_state)
                && !(*entry.new_state).async_flip
                && is_done((*entry.old_state).commit))
    });
    // SAFETY: As above.
    let connectors_ready = unsafe { atomic::connectors(commit) }
        .iter()
        .all(|entry| unsafe { entry.ptr.is_null() || is_done((*entry.old_state).commit) });
    // SAFETY: As above.
    let planes_ready = unsafe { atomic::planes(commit) }
        .iter()
        .all(|entry| unsafe {
            entry.ptr.is_null()
                || (is_done((*entry.old_state).commit) && is_signaled(&*entry.new_state))
        });
    !(crtcs_ready && connectors_ready && planes_ready)
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
pub(super) unsafe fn is_signaled(state: &bindings::drm_plane_state) -> bool {
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
        // WAIT: commit-fences
        to_result(bindings::drm_atomic_helper_wait_for_fences(
            dev, commit, true,
        ))
        .and_then(|()| to_result(bindings::drm_atomic_helper_swap_state(commit, true)))
        .inspect_err(|_| bindings::drm_atomic_helper_unprepare_planes(dev, commit))?;

        Commit::<T>::run_atomic_commit_tail(commit, false, Signalling::begin());
        bindings::drm_atomic_helper_cleanup_planes(dev, commit);
        bindings::drm_atomic_helper_commit_cleanup_done(commit);
    }
    Ok(())
}

/// Does what `drm_atomic_helper_commit()` does for a blocking commit, with waits that signals end.
///
/// Errors: [`ERESTARTSYS`] if a signal has ended a wait, and those of DRM and of the driver. Then
/// nothing has changed.
///
/// # Safety
///
/// As [`commit_callback`].
unsafe fn commit_blocking<T: KmsDriver>(
    dev: *mut bindings::drm_device,
    commit: *mut bindings::drm_atomic_commit,
) -> Result {
    // SAFETY: By the safety requirements. The planes are unprepared if they are never shown.
    unsafe {
        // First of all, so that a signal costs none of the work below.
        let done = await_previous(commit)?;
        to_result(bindings::drm_atomic_helper_setup_commit(commit, false))?;
        to_result(bindings::drm_atomic_helper_prepare_planes(dev, commit))?;
        // WAIT: commit-fences
        to_result(bindings::drm_atomic_helper_wait_for_fences(
            dev, commit, true,
        ))
        .and_then(|()| to_result(bindings::drm_atomic_helper_swap_state(commit, true)))
        .inspect_err(|_| bindings::drm_atomic_helper_unprepare_planes(dev, commit))?;

        // From here on it happens, whatever ends the waits.
        if !done {
            // WAIT: previous-commit
            bindings::drm_atomic_helper_wait_for_dependencies(commit);
        }
        atomic::commit_tail::<T>(commit, !is_restartable(commit));
        await_flip::<T>(commit);
        bindings::drm_atomic_helper_cleanup_planes(dev, commit);
        bindings::drm_atomic_helper_commit_cleanup_done(commit);
    }
    Ok(())
}

/// Returns whether the caller of `commit` is an ioctl that is restarted if it returns
/// [`ERESTARTSYS`].
///
/// DRM takes its locks so that signals end that, for such an ioctl only. The others are mostly
/// callers in the kernel that nobody repeats: the console, the removal of framebuffers, the
/// shutdown.
///
/// # Safety
///
/// `commit` must be valid.
unsafe fn is_restartable(commit: *mut bindings::drm_atomic_commit) -> bool {
    // SAFETY: By the safety requirements; the context of a commit is valid as long as its locks are
    // held.
    unsafe {
        let ctx = (*commit).acquire_ctx;
        !ctx.is_null() && (*ctx).interruptible
    }
}

/// Which waits a signal ends, with [`ERESTARTSYS`].
#[derive(Clone, Copy)]
struct Interruptible {
    /// The waits for `hw_done` and `cleanup_done`.
    steps: bool,
    /// The waits for `flip_done`.
    flip: bool,
}

impl Interruptible {
    /// Returns what a signal ends for the caller of `commit`.
    ///
    /// # Safety
    ///
    /// `commit` must be valid.
    unsafe fn of(commit: *mut bindings::drm_atomic_commit) -> Self {
        // SAFETY: By the safety requirements.
        let restartable = unsafe { is_restartable(commit) };
        let task = current!().as_ptr();
        // SAFETY: Only the task itself changes its flags.
        let exiting = unsafe { (*task).flags } & bindings::PF_EXITING != 0;

        Self {
            // As in DRM's helpers, but for a task that exits: the last one that closes the device
            // brings the console back, and the signal of which it dies may be pending.
            steps: restartable || !exiting,
            flip: restartable,
        }
    }
}

/// Waits until the previous commits of all objects in `commit` are on the screen, and until there
/// is nothing left for which `drm_atomic_helper_setup_commit()` and
/// `drm_atomic_helper_swap_state()` wait. Gives up after [`PATIENCE_MS`] for each step. Returns
/// whether it has not: if so, DRM's helpers need not wait again.
///
/// Errors: [`ERESTARTSYS`] after a signal, see [`Interruptible`].
///
/// # Safety
///
/// As [`needs_worker`].
unsafe fn await_previous(commit: *mut bindings::drm_atomic_commit) -> Result<bool> {
    let mut done = true;
    // Mostly the objects have the same previous commit.
    let mut last = ptr::null_mut();

    // SAFETY: By the safety requirements. Entries with an object have both states. The old ones are
    // those of the objects and own the previous commits, also during the waits: the locks of the
    // objects are held.
    unsafe {
        let interruptible = Interruptible::of(commit);
        let mut await_next = |previous: *mut bindings::drm_crtc_commit| -> Result {
            if !ptr::eq(previous, last) {
                done &= await_commit(previous, interruptible)?;
                last = previous;
            }
            Ok(())
        };

        for entry in atomic::crtcs(commit) {
            if !entry.ptr.is_null() {
                await_next((*entry.old_state).commit)?;
            }
        }
        for entry in atomic::connectors(commit) {
            if !entry.ptr.is_null() {
                await_next((*entry.old_state).commit)?;
            }
        }
        for entry in atomic::planes(commit) {
            if !entry.ptr.is_null() {
                await_next((*entry.old_state).commit)?;
            }
        }
        for entry in atomic::crtcs(commit) {
            if entry.ptr.is_null() {
                continue;
            }
            if let Some(last_but_one) = CrtcCommit::last_but_one(entry.ptr) {
                let cleanup_done = &raw mut (*last_but_one.0).cleanup_done;
                await_step(cleanup_done, interruptible.steps)?;
            }
        }
    }
    Ok(done)
}

/// Waits until a commit is on the screen. Returns whether it is.
///
/// Errors: as [`await_step`].
///
/// # Safety
///
/// `commit` must be null, or valid until this returns.
unsafe fn await_commit(
    commit: *mut bindings::drm_crtc_commit,
    interruptible: Interruptible,
) -> Result<bool> {
    // SAFETY: By the safety requirements. DRM completes these with `complete_all()`.
    unsafe {
        Ok(is_done(commit)
            || (await_step(&raw mut (*commit).hw_done, interruptible.steps)?
                && await_step(&raw mut (*commit).flip_done, interruptible.flip)?))
    }
}

/// Waits for one step of a commit, at most [`PATIENCE_MS`]. Returns whether it is done.
///
/// Errors: [`ERESTARTSYS`] after a signal, if `interruptible`.
///
/// # Safety
///
/// `step` must be valid, and must only be completed with `complete_all()`.
unsafe fn await_step(step: *mut bindings::completion, interruptible: bool) -> Result<bool> {
    let patience = msecs_to_jiffies(PATIENCE_MS);

    // SAFETY: By the safety requirements.
    unsafe {
        if !interruptible {
            // WAIT: previous-commit
            return Ok(bindings::wait_for_completion_timeout(step, patience) != 0);
        }
        // WAIT: previous-commit
        match bindings::wait_for_completion_interruptible_timeout(step, patience) {
            error if error < 0 => Err(ERESTARTSYS),
            left => Ok(left != 0),
        }
    }
}

/// A reference to a commit of a CRTC.
///
/// # Invariants
///
/// The pointer is valid, and the reference is owned.
struct CrtcCommit(*mut bindings::drm_crtc_commit);

impl CrtcCommit {
    /// Returns the last but one commit of a CRTC that is not cleaned up, if there are two. It is
    /// the one for which `drm_atomic_helper_setup_commit()` waits.
    ///
    /// # Safety
    ///
    /// `crtc` must be valid.
    unsafe fn last_but_one(crtc: *mut bindings::drm_crtc) -> Option<Self> {
        // SAFETY: By the safety requirements. The lock guards the list, which has a reference to
        // each of its commits. The newest one comes first.
        unsafe {
            bindings::spin_lock(&raw mut (*crtc).commit_lock);
            let head = &raw mut (*crtc).commit_list;
            let last = (*head).next;
            let entry = (*last).next;
            let found = (last != head && entry != head).then(|| {
                let commit = crate::container_of!(entry, bindings::drm_crtc_commit, commit_entry);
                // INVARIANT: The reference is the one taken here.
                Self(bindings::drm_crtc_commit_get(commit))
            });
            bindings::spin_unlock(&raw mut (*crtc).commit_lock);
            found
        }
    }
}

impl Drop for CrtcCommit {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::drm_crtc_commit_put(self.0) };
    }
}

/// Waits until a commit is on the screen, at most [`PATIENCE_MS`] for each CRTC. A fatal signal
/// ends that; the next commit waits then.
///
/// The freezer does not: the locks of the objects are held, and suspending the outputs takes them.
///
/// # Safety
///
/// `commit` must be a valid commit of a `drm::Device<T>`, and `drm_atomic_helper_commit_hw_done()`
/// must have been called for it.
unsafe fn await_flip<T: KmsDriver>(commit: *mut bindings::drm_atomic_commit) {
    // SAFETY: By the safety requirements.
    for entry in unsafe { atomic::crtcs(commit) } {
        if entry.ptr.is_null() || entry.commit.is_null() {
            continue;
        }

        // SAFETY: The entry has a reference to its commit, and events complete it for all.
        let left: c_long = unsafe {
            // WAIT: own-flip
            bindings::wait_for_completion_killable_timeout(
                &raw mut (*entry.commit).flip_done,
                msecs_to_jiffies(PATIENCE_MS),
            )
        };
        if left < 0 {
            return;
        }
        if left == 0 {
            // SAFETY: The CRTC is one of a `drm::Device<T>`.
            let crtc = unsafe { Crtc::<T::Crtc>::from_raw(entry.ptr) };
            dev_err!(
                crtc.device().as_ref().as_ref(),
                "flip_done of CRTC {} timed out\n",
                crtc.index()
            );
        }
    }
}
