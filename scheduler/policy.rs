// SPDX-License-Identifier: GPL-2.0

//! [`Policy`] says what is done about a device that hangs. It reads the module parameters of
//! `exports.c`, whose names and meaning are those of WDDM's `TdrLevel`, `TdrDelay`, `TdrLimitCount`
//! and `TdrLimitTime`.

use kernel::{
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    time::Msecs, //
};

extern "C" {
    #[link_name = "rust_gpu_tdr_level"]
    static LEVEL: Atomic<u32>;
    #[link_name = "rust_gpu_tdr_delay_ms"]
    static DELAY_MS: Atomic<u32>;
    #[link_name = "rust_gpu_tdr_limit_count"]
    static LIMIT_COUNT: Atomic<u32>;
    #[link_name = "rust_gpu_tdr_limit_ms"]
    static LIMIT_MS: Atomic<u32>;
}

/// How far the driver goes with a device that hangs.
#[doc(alias = "TdrLevel")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// It looks at the device and kicks it.
    #[doc(alias = "TdrLevelOff")]
    Look,
    /// The device counts as broken.
    #[doc(alias = "TdrLevelBugcheck")]
    Break,
    /// The device is reset, and goes on.
    #[doc(alias = "TdrLevelRecover")]
    Recover,
}

/// What is done about a device that hangs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) level: Level,
    /// A device hangs after twice this time without progress, in milliseconds.
    #[doc(alias = "TdrDelay")]
    pub(crate) delay_ms: Msecs,
    /// Resets within `limit_ms` after which the device counts as broken; 0 for no limit. At most
    /// [`Policy::MAX_COUNT`].
    #[doc(alias = "TdrLimitCount")]
    pub(crate) limit_count: u32,
    /// See `limit_count`, in milliseconds.
    #[doc(alias = "TdrLimitTime")]
    pub(crate) limit_ms: Msecs,
}

impl Policy {
    /// Largest `limit_count`. `exports.c` has this number too.
    pub(crate) const MAX_COUNT: usize = 32;

    /// Returns what the module parameters say now.
    ///
    /// Context: any.
    pub(crate) fn current() -> Self {
        // SAFETY: Each is an `unsigned int` that `exports.c` defines in this module. The other
        // accesses are stores of whole words there.
        let [level, delay_ms, limit_count, limit_ms] =
            unsafe { [&LEVEL, &DELAY_MS, &LIMIT_COUNT, &LIMIT_MS] }
                .map(|parameter| parameter.load(Relaxed));
        Self {
            level: match level {
                0 => Level::Look,
                1 => Level::Break,
                _ => Level::Recover,
            },
            delay_ms,
            limit_count,
            limit_ms,
        }
    }

    /// Returns half of a tick of the watchdog, in milliseconds.
    ///
    /// Context: any.
    pub(super) fn beat_ms(&self) -> Msecs {
        self.delay_ms / 8
    }
}
