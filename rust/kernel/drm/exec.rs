// SPDX-License-Identifier: GPL-2.0 OR MIT

//! [`lock_all`] locks the reservations of many GEM objects at once.
//!
//! C header: [`include/drm/drm_exec.h`](srctree/include/drm/drm_exec.h)

use crate::{
    bindings,
    dma_buf::{
        Fence,
        Usage, //
    },
    drm::gem::IntoGEMObject,
    error::to_result,
    num::casts::u32_as_usize,
    prelude::*,
    sync::aref::{
        ARef,
        AlwaysRefCounted, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    },
};
use core::slice;

/// All objects of a [`lock_all`], locked, with a place for one fence in each.
///
/// # Invariants
///
/// `objects` are valid and locked, and have a place reserved.
pub struct Locked<'a> {
    objects: &'a [*mut bindings::drm_gem_object],
    /// The locks are those of the task.
    _not_send: NotThreadSafe,
}

impl Locked<'_> {
    /// Adds `fence` to each object. This cannot fail.
    ///
    /// It takes the place of an older fence of its context, if that is of a usage not less strict.
    /// `fence` must not be a container, which gets a warning.
    ///
    /// Context: as [`lock_all`]. From here on others wait for the fence.
    #[doc(alias = "dma_resv_add_fence")]
    pub fn add_fence(self, fence: &Fence, usage: Usage) {
        for &object in self.objects {
            // SAFETY: By the type invariants; `self` is used up, so this is the only fence.
            unsafe {
                bindings::dma_resv_add_fence((*object).resv, fence.as_raw(), usage.into_raw())
            };
        }
    }
}

/// The C object, which is in one place from its start to its end.
///
/// # Invariants
///
/// `exec` is initialized.
struct Exec<'a> {
    exec: &'a Opaque<bindings::drm_exec>,
}

impl Drop for Exec<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants. It unlocks what is locked.
        unsafe { bindings::drm_exec_fini(self.exec.get()) };
    }
}

/// Locks the reservations of `objects`, reserves a place for a fence in each, and calls `function`.
/// Then it unlocks them.
///
/// Objects may be in the list more than once, in any order, and may share a reservation.
///
/// Nothing may fail after a fence has been added, and nobody else gets at the objects while
/// `function` runs: it should be short, and must not do what may wait for a fence, which allocating
/// memory does.
///
/// Errors: [`ERESTARTSYS`] if a signal ended the wait for a lock, [`ENOMEM`]. `function` was not
/// called then, and nothing is locked.
///
/// Context: process; sleeps. No reservation may be locked, nor may a lock be held that is needed to
/// signal a fence.
#[doc(alias = "drm_exec_init")]
pub fn lock_all<O, R>(objects: &[ARef<O>], function: impl FnOnce(Locked<'_>) -> R) -> Result<R>
where
    O: IntoGEMObject + AlwaysRefCounted,
{
    if objects.is_empty() {
        return Ok(function(Locked {
            objects: &[],
            _not_send: NotThreadSafe,
        }));
    }

    let exec = Opaque::<bindings::drm_exec>::uninit();
    let raw = exec.get();
    let flags = bindings::DRM_EXEC_INTERRUPTIBLE_WAIT | bindings::DRM_EXEC_IGNORE_DUPLICATES;
    let count = u32::try_from(objects.len())?;

    // SAFETY: `exec` is memory for it.
    unsafe { bindings::drm_exec_init(raw, flags, count) };
    // INVARIANT: It was just initialized. It is not moved until it is dropped.
    let _exec = Exec { exec: &exec };

    // SAFETY: It is initialized. This is true at first, and after another task had a lock that was
    // needed, in which case all are unlocked again.
    while unsafe { bindings::drm_exec_cleanup(raw) } {
        prepare(&exec, objects)?;
    }

    // SAFETY: There are objects; all are locked, and in the list once. It does not change until
    // `_exec` is dropped.
    let locked = unsafe { slice::from_raw_parts((*raw).objects, u32_as_usize((*raw).num_objects)) };

    // INVARIANT: As above; `prepare()` has reserved a place in each.
    Ok(function(Locked {
        objects: locked,
        _not_send: NotThreadSafe,
    }))
}

/// Locks all objects and reserves a place in each, or begins to back off.
fn prepare<O>(exec: &Opaque<bindings::drm_exec>, objects: &[ARef<O>]) -> Result
where
    O: IntoGEMObject + AlwaysRefCounted,
{
    for object in objects {
        // SAFETY: `exec` is initialized and in its loop, and the object is valid.
        let ret = to_result(unsafe {
            bindings::drm_exec_prepare_obj(exec.get(), IntoGEMObject::as_raw(&**object), 1)
        });

        match ret {
            Ok(()) => (),
            // Once more, with this lock first.
            Err(error) if error == EDEADLK => return Ok(()),
            Err(error) if error == EINTR => return Err(ERESTARTSYS),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
