// SPDX-License-Identifier: GPL-2.0

//! Printing what the modules without kernel types describe.

use kernel::fmt;

/// Makes a [`core::fmt::Display`] printable by the kernel's macros, which want their own trait.
pub(crate) struct Text<T>(pub(crate) T);

impl<T: core::fmt::Display> fmt::Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
