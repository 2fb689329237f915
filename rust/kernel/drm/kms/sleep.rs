// SPDX-License-Identifier: GPL-2.0 OR MIT

//! [`drm::Registration`] suspends and resumes the outputs of a device.
//!
//! C headers: [`include/drm/drm_modeset_helper.h`](srctree/include/drm/drm_modeset_helper.h),
//! [`include/drm/drm_fb_helper.h`](srctree/include/drm/drm_fb_helper.h)

use super::{
    setup::Ops,
    KmsDriver, //
};
use crate::{
    bindings,
    drm,
    error::to_result,
    prelude::*,
    sync::atomic::{
        Acquire,
        Release, //
    }, //
};

/// Suspend and resume of the outputs. On a device without outputs these do nothing.
///
/// Context: process; they sleep and may commit. The caller must hold no lock that a mode setting
/// callback takes. Calls that suspend or resume do not wait for each other: the second one fails.
impl<T: KmsDriver> drm::Registration<'_, T> {
    /// Saves the state of all outputs and switches them off. From then on in-kernel clients, such
    /// as the console, do not draw.
    ///
    /// User space must be frozen, or it may switch outputs on again.
    ///
    /// Errors: [`EBUSY`] if the outputs are suspended already, or are being suspended or resumed,
    /// [`ENOMEM`], and those of the commit. The outputs stay as they are.
    #[doc(alias = "drm_mode_config_helper_suspend")]
    pub fn suspend_outputs(&self) -> Result {
        self.change_sleep(|dev| {
            // SAFETY: The device is registered, and only these two functions change the field, one
            // at a time.
            if !unsafe { (*dev).mode_config.suspend_state }.is_null() {
                return Err(EBUSY);
            }

            // SAFETY: The device is registered, and its mode setting was set up before.
            to_result(unsafe { bindings::drm_mode_config_helper_suspend(dev) })
        })
    }

    /// Commits the state that [`Self::suspend_outputs`] has saved, and lets in-kernel clients draw
    /// again. The outputs were off, so all of each framebuffer is damaged.
    ///
    /// Errors: [`EBUSY`] if the outputs are being suspended or resumed; [`EINVAL`] if no state is
    /// saved, and those of the commit: no state is saved afterwards.
    #[doc(alias = "drm_mode_config_helper_resume")]
    pub fn resume_outputs(&self) -> Result {
        self.change_sleep(|dev| {
            // SAFETY: As in `suspend_outputs`.
            if unsafe { (*dev).mode_config.suspend_state }.is_null() {
                return Err(EINVAL);
            }

            // SAFETY: As in `suspend_outputs`.
            to_result(unsafe { bindings::drm_mode_config_helper_resume(dev) })
        })
    }

    /// Calls `change` with the device if it has outputs. While a call is in progress, others fail
    /// with [`EBUSY`].
    fn change_sleep(&self, change: impl FnOnce(*mut bindings::drm_device) -> Result) -> Result {
        let dev = self.device();
        if !Ops::has_outputs(dev) {
            return Ok(());
        }

        // PAIRING: With the store below, so that this call sees what the one before has done.
        if self.sleep.xchg(true, Acquire) {
            return Err(EBUSY);
        }
        let result = change(dev.as_raw());
        // PAIRING: With the exchange above.
        self.sleep.store(false, Release);

        result
    }

    /// Returns whether the console has drawn something that is not committed yet. That may be
    /// outdated when this returns.
    ///
    /// A driver that leaves the last messages on the screen when the system ends waits for this,
    /// not without a limit.
    pub fn is_console_drawing(&self) -> bool {
        // SAFETY: The device is registered. Its client for the console sets the field and clears it
        // again, and so does a volatile read.
        let helper = unsafe { (&raw const (*self.device().as_raw()).fb_helper).read_volatile() };
        if helper.is_null() {
            return false;
        }

        // SAFETY: The client has initialized the worker before it has set the field, and lives as
        // long as the registration.
        unsafe { bindings::work_busy(&raw mut (*helper).damage_work) != 0 }
    }
}
