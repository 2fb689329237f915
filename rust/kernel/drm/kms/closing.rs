// SPDX-License-Identifier: GPL-2.0 OR MIT

//! On a device that stands still, nobody waits for what nobody would miss.
//!
//! The event of a commit tells that the device has shown a frame. A device that stands still shows
//! none, so events come late, and the next commit of the CRTC waits for them. There is no reason
//! for that if the client that would see the frame is going: closing its file removes its
//! framebuffers, which are commits. Nor if the kernel itself commits, as the console does: nothing
//! depends on its events. So these events are sent at once [on such a
//! device](KmsDriver::is_stalled): those of a CRTC that shows a framebuffer of a file that is
//! closed, until the CRTC shows another one, and those of commits of the kernel. All others wait
//! for their frame.
//!
//! C header: [`include/drm/drm_file.h`](srctree/include/drm/drm_file.h)

use super::{
    atomic,
    vblank::EventLock,
    Crtc,
    DriverCrtc,
    Framebuffer,
    KmsDriver, //
};
use crate::{
    bindings,
    ffi::c_int,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};
use core::ptr;

/// What a CRTC shows, and for whom. Written under the [lock of the events](EventLock), read without
/// it.
pub(super) struct Shown {
    /// The framebuffer of the primary plane since the last commit, null for none. It may be gone,
    /// so it is only compared.
    framebuffer: Atomic<*mut bindings::drm_framebuffer>,
    /// Whether the file of that framebuffer is closed. A CRTC without a framebuffer keeps what was
    /// true of the last one.
    closing: Atomic<bool>,
    /// Whether the kernel itself has made the last commit.
    by_kernel: Atomic<bool>,
}

impl Shown {
    pub(super) fn new() -> Self {
        Self {
            framebuffer: Atomic::new(ptr::null_mut()),
            closing: Atomic::new(false),
            by_kernel: Atomic::new(false),
        }
    }

    /// Returns whether nobody would miss it if an event of the CRTC did not wait for its frame.
    fn is_unwatched(&self) -> bool {
        self.closing.load(Relaxed) || self.by_kernel.load(Relaxed)
    }
}

/// Keeps what the CRTCs of `commit` show from now on.
///
/// # Safety
///
/// `commit` must be a valid commit of a `drm::Device<T>` whose states were swapped, and
/// `drm_atomic_helper_commit_hw_done()` must not have been called for it.
pub(super) unsafe fn keep_shown<T: KmsDriver>(
    commit: *mut bindings::drm_atomic_commit,
    by_kernel: bool,
) {
    // SAFETY: By the safety requirements.
    let (planes, crtcs) = unsafe { (atomic::planes(commit), atomic::crtcs(commit)) };

    for entry in crtcs.iter().filter(|entry| !entry.ptr.is_null()) {
        // SAFETY: The CRTC is one of a `drm::Device<T>`.
        let (crtc, primary) = unsafe {
            let primary = (*entry.ptr).primary;
            (Crtc::<T::Crtc>::from_raw(entry.ptr), primary)
        };
        let shown = &crtc.shown;

        // SAFETY: The device of a commit is valid.
        let _lock = unsafe { EventLock::new((*commit).dev) };
        shown.by_kernel.store(by_kernel, Relaxed);
        let Some(plane) = planes.iter().find(|plane| plane.ptr == primary) else {
            continue;
        };
        // SAFETY: An entry with a plane has both of its states. The new one, which has a reference
        // to its framebuffer, does not change before `drm_atomic_helper_commit_hw_done()`.
        let framebuffer = unsafe {
            match (*plane.new_state).crtc == entry.ptr {
                true => (*plane.new_state).fb,
                false => ptr::null_mut(),
            }
        };
        shown.framebuffer.store(framebuffer, Relaxed);
        if !framebuffer.is_null() {
            // SAFETY: See above; it is a framebuffer of the device.
            let framebuffer = unsafe { Framebuffer::<T>::from_raw(framebuffer) };
            shown
                .closing
                .store(framebuffer.closing.load(Relaxed), Relaxed);
        }
    }
}

/// Sends the event that is pending at a CRTC if nobody watches for its frame and the device stands
/// still. Returns whether both was so.
///
/// Context: any.
pub(super) fn send_unwatched<C: DriverCrtc>(crtc: &Crtc<C>) -> bool {
    let send = crtc.shown.is_unwatched() && C::Driver::is_stalled(crtc.device());
    if send {
        drop(crtc.take_pending());
    }
    send
}

/// Closes a file, as `drm_release()` does.
///
/// # Safety
///
/// Only the VFS calls this, as `file_operations::release` of a file of a `drm::Device<T>`.
pub(super) unsafe extern "C" fn release_callback<T: KmsDriver>(
    inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    // SAFETY: By the safety requirements. The private data is the DRM file until `drm_release()`.
    unsafe {
        close::<T>((*file).private_data.cast());
        bindings::drm_release(inode, file)
    }
}

/// Marks the framebuffers of a file that is closed, and the CRTCs that show one of them.
///
/// # Safety
///
/// `file` must be a valid file of a `drm::Device<T>`.
pub(super) unsafe fn close<T: KmsDriver>(file: *mut bindings::drm_file) {
    // SAFETY: By the safety requirements. A file keeps its minor, and that its device.
    let dev = unsafe { (*(*file).minor).dev };

    // SAFETY: By the safety requirements. The lock guards the list, which has a reference to each
    // of its framebuffers. They are all of the device.
    unsafe {
        let lock = &raw mut (*file).fbs_lock;
        let head = &raw mut (*file).fbs;
        bindings::mutex_lock(lock);
        let mut entry = (*head).next;
        while entry != head {
            let fb = crate::container_of!(entry, bindings::drm_framebuffer, filp_head);
            let _lock = EventLock::new(dev);
            Framebuffer::<T>::from_raw(fb).closing.store(true, Relaxed);
            for_each_crtc::<T>(dev, |crtc| {
                if crtc.shown.framebuffer.load(Relaxed) == fb {
                    crtc.shown.closing.store(true, Relaxed);
                }
            });
            entry = (*entry).next;
        }
        bindings::mutex_unlock(lock);
    }

    // An event that becomes pending after this is sent by the one who has left it there: either
    // finds what the other has stored. If the device is not found stalled until later, a tick sends
    // it.
    //
    // SAFETY: As above.
    unsafe {
        for_each_crtc::<T>(dev, |crtc| {
            send_unwatched(crtc);
        });
    }
}

/// Calls `f` for each CRTC of a device.
///
/// # Safety
///
/// `dev` must be a `drm::Device<T>` that was registered.
unsafe fn for_each_crtc<T: KmsDriver>(dev: *mut bindings::drm_device, f: impl Fn(&Crtc<T::Crtc>)) {
    // SAFETY: By the safety requirements. The list does not change any more, and `Setup` has made
    // all CRTCs of the device.
    unsafe {
        let head = &raw mut (*dev).mode_config.crtc_list;
        let mut entry = (*head).next;
        while entry != head {
            let crtc = crate::container_of!(entry, bindings::drm_crtc, head);
            f(Crtc::from_raw(crtc));
            entry = (*entry).next;
        }
    }
}
