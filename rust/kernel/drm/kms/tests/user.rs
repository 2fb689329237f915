// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Calls that user space would make on the device of the tests.

use super::{
    KunitDriver,
    KunitFile,
    KunitObject,
    DIRTY,
    HEIGHT,
    PITCH,
    WIDTH,
    XRGB8888, //
};
use crate::{
    bindings,
    drm::{
        self,
        gem::{
            self,
            BaseObject, //
        }, //
    },
    error::{
        from_err_ptr,
        to_result, //
    },
    ffi::c_int,
    prelude::*,
    sync::atomic::Relaxed, //
};
use core::ptr;

/// A file of the device, which is closed when this is dropped.
pub(super) struct OpenFile<'a> {
    device: &'a drm::Device<KunitDriver>,
    file: *mut bindings::file,
}

impl<'a> OpenFile<'a> {
    pub(super) fn new(device: &'a drm::Device<KunitDriver>) -> Result<Self> {
        // SAFETY: The device is valid, and registered.
        let file = unsafe {
            let primary = (*device.as_raw()).primary;
            from_err_ptr(bindings::mock_drm_getfile(primary, bindings::O_RDWR))?
        };
        Ok(Self { device, file })
    }

    /// Returns the file as DRM knows it.
    pub(super) fn as_raw(&self) -> *mut bindings::drm_file {
        // SAFETY: The file is open.
        unsafe { (*self.file).private_data.cast() }
    }

    /// Makes a framebuffer that is removed with the file.
    pub(super) fn add_framebuffer(&self) -> Result<*mut bindings::drm_framebuffer> {
        // SAFETY: The file is open. Nothing else uses its list, which has the reference to the
        // framebuffer.
        unsafe {
            let fb = add_framebuffer(self.device, self.file, HEIGHT, PITCH)?;
            bindings::list_add_tail(&raw mut (*fb).filp_head, &raw mut (*self.as_raw()).fbs);
            Ok(fb)
        }
    }

    /// Makes a framebuffer that is removed with the file, and shows it.
    pub(super) fn show(&self, caller: Caller) -> Result {
        // SAFETY: It is a framebuffer of the device.
        unsafe { show(self.device, true, self.add_framebuffer()?, caller) }
    }
}

impl Drop for OpenFile<'_> {
    fn drop(&mut self) {
        // SAFETY: The file is open, and this is the only reference.
        unsafe { bindings::__fput_sync(self.file) };
    }
}

/// The caller of a commit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// An ioctl that does not wait for the event.
    Nonblocking,
    /// An ioctl that does.
    Blocking,
    /// The kernel, such as the console.
    Kernel,
}

/// Switches the output on or off, as an ioctl does.
pub(super) fn switch(device: &drm::Device<KunitDriver>, on: bool) -> Result {
    // SAFETY: There is no framebuffer.
    unsafe { show(device, on, ptr::null_mut(), Caller::Blocking) }
}

/// Switches the output on with a framebuffer, or off.
///
/// # Safety
///
/// `fb` must be a framebuffer of `device`, or null.
pub(super) unsafe fn show(
    device: &drm::Device<KunitDriver>,
    on: bool,
    fb: *mut bindings::drm_framebuffer,
    caller: Caller,
) -> Result {
    let raw = device.as_raw();

    // SAFETY: The device is valid.
    let mode = unsafe {
        let mode =
            bindings::drm_cvt_mode(raw, WIDTH as i32, HEIGHT as i32, 60, false, false, false);
        if !mode.is_null() {
            bindings::drm_mode_set_crtcinfo(mode, 0);
        }
        mode
    };
    let shown = if on { mode } else { ptr::null_mut() };
    // SAFETY: The commit is empty and of the device, the mode and the framebuffer are valid.
    let result = commit(device, caller, |commit| unsafe {
        fill(device, commit, shown, fb)
    });
    // SAFETY: The commit has a copy of it.
    unsafe { bindings::drm_mode_destroy(raw, mode) };
    result
}

/// Commits the CRTC without any change, and does not wait for the event.
pub(super) fn commit_crtc(device: &drm::Device<KunitDriver>) -> Result {
    commit(device, Caller::Nonblocking, |commit| {
        let crtc = device.crtc.load(Relaxed);
        // SAFETY: The device was set up, and this is an object of it.
        from_err_ptr(unsafe { bindings::drm_atomic_get_crtc_state(commit, crtc) })?;
        Ok(())
    })
}

/// Commits what `fill` adds to a commit of `device`, and repeats that while another thread has a
/// lock.
fn commit(
    device: &drm::Device<KunitDriver>,
    caller: Caller,
    fill: impl Fn(*mut bindings::drm_atomic_commit) -> Result,
) -> Result {
    let mut ctx = pin_init::zeroed();

    // SAFETY: The device is valid. The context is initialized first, and only this thread uses it.
    // The commit is valid until it is put, and uses the context until then.
    unsafe {
        let commit = bindings::drm_atomic_commit_alloc(device.as_raw());
        if commit.is_null() {
            return Err(ENOMEM);
        }

        bindings::drm_modeset_acquire_init(&mut ctx, 0);
        // As with the flag DRM_MODESET_ACQUIRE_INTERRUPTIBLE, which is no constant in Rust.
        ctx.interruptible = caller != Caller::Kernel;
        (*commit).acquire_ctx = &mut ctx;
        let run = || {
            fill(commit)?;
            to_result(match caller {
                Caller::Nonblocking => bindings::drm_atomic_nonblocking_commit(commit),
                Caller::Blocking | Caller::Kernel => bindings::drm_atomic_commit(commit),
            })
        };
        let mut result = run();
        // Another thread may have a lock, and debugging of locks pretends that one has.
        while result == Err(EDEADLK) {
            bindings::drm_atomic_commit_clear(commit);
            bindings::drm_modeset_backoff(&mut ctx);
            result = run();
        }

        bindings::drm_atomic_commit_put(commit);
        bindings::drm_modeset_drop_locks(&mut ctx);
        bindings::drm_modeset_acquire_fini(&mut ctx);
        result
    }
}

/// Runs `f` while a signal of the thread is pending.
pub(super) fn with_signal<R>(signal: u32, f: impl FnOnce() -> R) -> R {
    // The thread gets the signal, without a handler that it would run: `SIG_KTHREAD`.
    const PENDING: usize = 2;

    let task = current!().as_ptr();
    let signal = signal as c_int;

    // SAFETY: It is the thread's own task. The kernel compares handlers of its threads with such
    // constants, and never calls them.
    unsafe {
        let handler = core::mem::transmute::<usize, bindings::__sighandler_t>(PENDING);
        bindings::kernel_sigaction(signal, handler);
        bindings::send_sig(signal, task, 1);
    }
    let result = f();
    // SAFETY: As above.
    unsafe { bindings::flush_signals(task) };
    result
}

/// Gives the output a mode and a framebuffer, or none.
///
/// # Safety
///
/// `commit` must be an empty commit of `device` with a context, `mode` and `fb` valid or null.
unsafe fn fill(
    device: &drm::Device<KunitDriver>,
    commit: *mut bindings::drm_atomic_commit,
    mode: *mut bindings::drm_display_mode,
    fb: *mut bindings::drm_framebuffer,
) -> Result {
    let (crtc, connector) = (device.crtc.load(Relaxed), device.connector.load(Relaxed));
    let to = if mode.is_null() {
        ptr::null_mut()
    } else {
        crtc
    };

    // SAFETY: By the safety requirements. The device is set up, and these are its objects.
    unsafe {
        let state = from_err_ptr(bindings::drm_atomic_get_connector_state(commit, connector))?;
        to_result(bindings::drm_atomic_set_crtc_for_connector(state, to))?;
        let state = from_err_ptr(bindings::drm_atomic_get_crtc_state(commit, crtc))?;
        to_result(bindings::drm_atomic_set_mode_for_crtc(state, mode))?;
        (*state).active = !mode.is_null();
        if !fb.is_null() {
            let primary = device.primary.load(Relaxed);
            let state = from_err_ptr(bindings::drm_atomic_get_plane_state(commit, primary))?;
            to_result(bindings::drm_atomic_set_crtc_for_plane(state, to))?;
            bindings::drm_atomic_set_fb_for_plane(state, fb);
            ((*state).crtc_w, (*state).crtc_h) = (WIDTH, HEIGHT);
            ((*state).src_w, (*state).src_h) = (WIDTH << 16, HEIGHT << 16);
        }
    }
    Ok(())
}

/// Makes a framebuffer on an object that is as large as the screen.
///
/// # Safety
///
/// `file` must be a file of `device`.
pub(super) unsafe fn add_framebuffer(
    device: &drm::Device<KunitDriver>,
    file: *mut bindings::file,
    height: u32,
    pitch: u32,
) -> Result<*mut bindings::drm_framebuffer> {
    let object = gem::shmem::Object::<KunitObject>::new(
        device,
        (PITCH * HEIGHT) as usize,
        gem::shmem::ObjectConfig::default(),
        (),
    )?;

    // SAFETY: By the safety requirements; the device was set up.
    unsafe {
        let file = (*file).private_data.cast::<bindings::drm_file>();
        let mut cmd: bindings::drm_mode_fb_cmd2 = pin_init::zeroed();
        (cmd.width, cmd.height, cmd.pixel_format) = (WIDTH, height, XRGB8888);
        cmd.pitches[0] = pitch;
        cmd.handles[0] = object.create_handle(drm::File::<KunitFile>::from_raw(file))?;

        let create = (*(*device.as_raw()).mode_config.funcs)
            .fb_create
            .ok_or(EINVAL)?;
        let info = bindings::drm_format_info(XRGB8888);
        from_err_ptr(create(device.as_raw(), file, info, &cmd))
    }
}

/// Tells DRM that [`DIRTY`] of a framebuffer has changed.
///
/// # Safety
///
/// `fb` must be a framebuffer of a device of the tests.
pub(super) unsafe fn dirtyfb(fb: *mut bindings::drm_framebuffer) -> Result {
    let mut clip = bindings::drm_clip_rect {
        x1: DIRTY.x1 as u16,
        y1: DIRTY.y1 as u16,
        x2: DIRTY.x2 as u16,
        y2: DIRTY.y2 as u16,
    };

    // SAFETY: By the safety requirements. Callers in the kernel have no file.
    to_result(unsafe {
        bindings::drm_atomic_helper_dirtyfb(fb, ptr::null_mut(), 0, 0, &mut clip, 1)
    })
}

/// Probes the output. Returns the number of its modes, and how many of them are valid.
pub(super) fn probe(device: &drm::Device<KunitDriver>) -> (i32, i32) {
    let connector = device.connector.load(Relaxed);
    let mut valid = 0;

    // SAFETY: The device is set up, and this is its connector. The lock that is held guards the
    // list of modes.
    unsafe {
        let lock = &raw mut (*device.as_raw()).mode_config.mutex;
        bindings::mutex_lock(lock);
        let found = bindings::drm_helper_probe_single_connector_modes(connector, 4096, 4096);
        let head = &raw mut (*connector).modes;
        let mut entry = (*head).next;
        while entry != head {
            valid += 1;
            entry = (*entry).next;
        }
        bindings::mutex_unlock(lock);
        (found, valid)
    }
}

/// Returns the value of a property of the output that does not belong to its state.
pub(super) fn connector_property(device: &drm::Device<KunitDriver>, name: &CStr) -> Option<u64> {
    let connector = device.connector.load(Relaxed);

    // SAFETY: The device is set up, and this is its connector, whose properties stay the same. The
    // lock that is held guards their values.
    unsafe {
        let lock = &raw mut (*device.as_raw()).mode_config.connection_mutex;
        let object = &raw mut (*connector).base;
        let properties = (*object).properties;
        let mut value = None;

        bindings::drm_modeset_lock(lock, ptr::null_mut());
        for index in 0..(*properties).count as usize {
            let property = (*properties).properties[index];
            if CStr::from_char_ptr((*property).name.as_ptr()) == name {
                value = Some((*properties).values[index]);
            }
        }
        bindings::drm_modeset_unlock(lock);
        value
    }
}
