// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Outputs of a device that sleeps, or is shut down.
//!
//! C header: [`include/drm/drm_modeset_helper.h`](srctree/include/drm/drm_modeset_helper.h)

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

/// For a device that sleeps or is shut down.
///
/// All of these sleep, may commit, and are to be called in process context with no lock that a
/// mode setting callback takes. On a device without outputs they do nothing. They are not to
/// overlap one another: call them from callbacks that hold the lock of the parent device.
impl<T: KmsDriver> drm::Registration<'_, T> {
    /// Switches all outputs off and remembers what they showed; in-kernel clients, such as the
    /// console, draw nothing from here on.
    ///
    /// User space must be frozen, or it may switch them on again.
    ///
    /// # Errors
    ///
    /// [`EBUSY`] if that was done before, [`ENOMEM`], and those of the commit. The outputs are
    /// what they were then.
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

    /// Commits what [`Self::suspend_outputs`] has remembered, as if all outputs were off and
    /// nothing was known of any picture, and lets in-kernel clients draw again.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if nothing is remembered, and those of the commit. Nothing is remembered
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

    /// Switches all outputs off, before the system restarts.
    #[doc(alias = "drm_atomic_helper_shutdown")]
    pub fn shutdown_outputs(&self) {
        let dev = self.device();
        if Ops::has_outputs(dev) {
            // SAFETY: The device is registered, and its mode setting was set up before.
            unsafe { bindings::drm_atomic_helper_shutdown(dev.as_raw()) };
        }
    }
}
