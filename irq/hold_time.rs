// SPDX-License-Identifier: GPL-2.0

//! [`enabled`] says whether to measure how long message locks are held. It reads the static key
//! behind the module parameter `hold_time` (`exports.c`), which is off by default.

use kernel::{
    bindings::static_key_false,
    jump_label::static_branch_unlikely, //
};

/// The key as a field, which is what the macro takes.
#[repr(transparent)]
struct Key {
    key: static_key_false,
}

extern "C" {
    #[link_name = "rust_gpu_hold_time"]
    static HOLD_TIME: Key;
}

/// Returns whether hold times are measured. Costs one no-op instruction while they are not.
#[inline(always)]
pub(crate) fn enabled() -> bool {
    // SAFETY: `HOLD_TIME` is a `struct static_key_false` that `exports.c` defines in this module.
    unsafe { static_branch_unlikely!(HOLD_TIME, Key, key) }
}
