// SPDX-License-Identifier: GPL-2.0

//! The module parameter `modeset` (`exports.c`), which goes with the kernel's `nomodeset`.

extern "C" {
    fn rust_gpu_refuses_devices() -> bool;
}

/// Returns whether the user wants no driver to take a device away from the firmware's framebuffer.
///
/// Context: any.
pub(crate) fn is_refused() -> bool {
    // SAFETY: `exports.c` defines it in this module, with the prototype in `exports.h`; it only
    // reads what the kernel and the user have set.
    unsafe { rust_gpu_refuses_devices() }
}
