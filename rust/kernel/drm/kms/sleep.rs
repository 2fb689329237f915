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
    prelude::*, //
};

/// Suspend and resume of the outputs. On a device without outputs these do nothing.
///
/// Context: process; they sleep and may commit. The caller must hold no lock that a mode setting
/// callback takes. The calls must not overlap: call them from callbacks that hold the lock of the
/// parent device.
impl<T: KmsDriver> drm::Registration<'_, T> {
    /// Saves the state of all outputs and switches them off. From then on in-kernel clients, such
    /// as the console, do not draw.
    ///
    /// User space must be frozen, or it may switch outputs on again.
    ///
    /// Errors: [`EBUSY`] if the outputs are suspended already, [`ENOMEM`], and those of the commit.
    /// The outputs stay as they are.
    #[doc(alias = "drm_mode_config_helper_suspend")]
    pub fn suspend_outputs(&self) -> Result {
        let dev = self.device();
        if !Ops::has_outputs(dev) {
            return Ok(());
        }

        // SAFETY: The device is registered, and only this and `resume_outputs` change the field.
        if !unsafe { (*dev.as_raw()).mode_config.suspend_state }.is_null() {
            return Err(EBUSY);
        }

        // SAFETY: The device is registered, and its mode setting was set up before.
        to_result(unsafe { bindings::drm_mode_config_helper_suspend(dev.as_raw()) })
    }

    /// Commits the state that [`Self::suspend_outputs`] has saved, and lets in-kernel clients draw
    /// again. The outputs were off, so all of each framebuffer is damaged.
    ///
    /// Errors: [`EINVAL`] if no state is saved, and those of the commit. No state is saved
    /// afterwards.
    #[doc(alias = "drm_mode_config_helper_resume")]
    pub fn resume_outputs(&self) -> Result {
        let dev = self.device();
        if !Ops::has_outputs(dev) {
            return Ok(());
        }

        // SAFETY: As in `suspend_outputs`.
        if unsafe { (*dev.as_raw()).mode_config.suspend_state }.is_null() {
            return Err(EINVAL);
        }

        // SAFETY: As in `suspend_outputs`.
        to_result(unsafe { bindings::drm_mode_config_helper_resume(dev.as_raw()) })
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
