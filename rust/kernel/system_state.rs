// SPDX-License-Identifier: GPL-2.0

//! [`SystemState`] tells what the system as a whole does: it boots, runs, sleeps or ends.
//!
//! C header: [`include/linux/kernel.h`](srctree/include/linux/kernel.h)

use crate::bindings;

/// What the system as a whole does.
///
/// # Examples
///
/// A device that keeps its last picture, unless another kernel may need the memory from which it
/// reads:
///
/// ```
/// use kernel::system_state::SystemState;
///
/// fn keeps_picture() -> bool {
///     matches!(
///         SystemState::current(),
///         SystemState::Halt | SystemState::PowerOff
///     )
/// }
///
/// assert!(!keeps_picture());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "system_states")]
pub enum SystemState {
    /// It boots, runs or sleeps.
    Working,
    /// It stops and stays as it is, with the power on.
    Halt,
    /// It switches the power off. A hibernation may end in this way too.
    PowerOff,
    /// It restarts, by the firmware or by kexec: another kernel will use all of the memory.
    Restart,
}

impl SystemState {
    /// Returns what the system does now. In a callback that shuts a device down it is one of the
    /// last three, and does not change any more.
    ///
    /// Context: any.
    #[inline]
    #[doc(alias = "system_state")]
    pub fn current() -> Self {
        // SAFETY: The variable is valid for reads. It is one word that C code reads and writes
        // without a lock, and so does a volatile read.
        match unsafe { (&raw const bindings::system_state).read_volatile() } {
            bindings::system_states_SYSTEM_HALT => Self::Halt,
            bindings::system_states_SYSTEM_POWER_OFF => Self::PowerOff,
            bindings::system_states_SYSTEM_RESTART => Self::Restart,
            _ => Self::Working,
        }
    }
}
