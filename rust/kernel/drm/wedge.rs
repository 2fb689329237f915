// SPDX-License-Identifier: GPL-2.0 OR MIT

//! [`Device::wedged_event`](drm::Device::wedged_event) tells user space that a device is wedged.
//!
//! C headers: [`include/drm/drm_device.h`](srctree/include/drm/drm_device.h),
//! [`include/drm/drm_drv.h`](srctree/include/drm/drm_drv.h)

use crate::{
    bindings,
    drm,
    error::to_result,
    prelude::*,
    task::Pid, //
};
use core::ptr;

/// What user space has to do with a device, see "Device Wedging" in
/// `Documentation/gpu/drm-uapi.rst`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing: the driver has recovered the device. User space may look at what happened.
    #[doc(alias = "DRM_WEDGE_RECOVERY_NONE")]
    None,
    /// Unbind the driver, and bind it again.
    #[doc(alias = "DRM_WEDGE_RECOVERY_REBIND")]
    Rebind,
    /// Unbind the driver, reset the device by its bus, and bind the driver again.
    #[doc(alias = "DRM_WEDGE_RECOVERY_BUS_RESET")]
    BusReset,
}

impl Recovery {
    /// Returns the bit of the method.
    fn method(self) -> c_ulong {
        match self {
            Self::None => bindings::DRM_WEDGE_RECOVERY_NONE,
            Self::Rebind => bindings::DRM_WEDGE_RECOVERY_REBIND,
            Self::BusReset => bindings::DRM_WEDGE_RECOVERY_BUS_RESET,
        }
    }
}

/// Bytes of the name of a task.
const COMM_LEN: usize = bindings::TASK_COMM_LEN as usize;

/// The task whose work has wedged a device: its number and its name.
#[doc(alias = "drm_wedge_task_info")]
#[derive(Clone, Copy)]
pub struct TaskInfo(bindings::drm_wedge_task_info);

impl TaskInfo {
    /// Names the task with number `pid` and name `comm`, which is padded with zeroes.
    ///
    /// Context: any.
    pub fn new(pid: Pid, comm: [u8; COMM_LEN]) -> Self {
        let mut info = bindings::drm_wedge_task_info { pid, comm };
        // The core takes it for a string.
        info.comm[COMM_LEN - 1] = 0;
        Self(info)
    }
}

impl<T: drm::Driver> drm::Device<T> {
    /// Tells user space, by one event of the device (`WEDGED=...`), what it has to do with it, and
    /// whose work it was, if that is known. The core logs one line.
    ///
    /// After an event that asks for something the device must stay as it is until user space has
    /// done that: no I/O, no DMA, and ioctls that need the device fail.
    ///
    /// Returns whether the device is registered. If not, yet or any more, nobody is told.
    ///
    /// Errors: those of the event, such as [`ENOMEM`].
    ///
    /// Context: process, may sleep. The unplug of a device waits for it.
    #[doc(alias = "drm_dev_wedged_event")]
    pub fn wedged_event(&self, recovery: Recovery, task: Option<&TaskInfo>) -> Result<bool> {
        let (raw, mut idx) = (self.as_raw(), 0);
        // The core does not write to it.
        let info = task.map_or(ptr::null_mut(), |task| ptr::from_ref(&task.0).cast_mut());

        // SAFETY: `raw` is a valid `struct drm_device`.
        if !unsafe { bindings::drm_dev_enter(raw, &mut idx) } {
            return Ok(false);
        }

        // SAFETY: As above. The flag is set when the minors are registered, and the unplug that
        // clears it waits for the section entered above.
        let registered = unsafe { (*raw).registered };
        let result = match registered {
            true => {
                // SAFETY: The device is registered until the end of the section, so it has a
                // primary minor. `info` is null or valid.
                to_result(unsafe { bindings::drm_dev_wedged_event(raw, recovery.method(), info) })
            }
            false => Ok(()),
        };

        // SAFETY: `idx` is from `drm_dev_enter()` above.
        unsafe { bindings::drm_dev_exit(idx) };
        result.map(|()| registered)
    }
}
