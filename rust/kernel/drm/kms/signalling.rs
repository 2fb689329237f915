// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A [`Signalling`] marks code that others wait for through a fence.
//!
//! C header: [`include/linux/dma-fence.h`](srctree/include/linux/dma-fence.h)

use crate::{
    bindings,
    types::NotThreadSafe, //
};

/// Marks code on which the signal of a fence depends, from its creation to its drop.
///
/// Such code must not allocate memory in a way that waits for reclaim, as that may wait for the
/// fence, and take no lock under which others do so. lockdep finds code that does. Without lockdep
/// this does nothing.
#[doc(alias = "dma_fence_begin_signalling")]
pub(super) struct Signalling {
    /// What `dma_fence_begin_signalling()` has returned.
    cookie: bool,
    _not_send: NotThreadSafe,
}

impl Signalling {
    /// Begins the section. Sections may be nested.
    ///
    /// Context: any.
    #[inline]
    pub(super) fn begin() -> Self {
        Self {
            // SAFETY: It may be called anywhere, and the drop ends the section.
            cookie: unsafe { bindings::dma_fence_begin_signalling() },
            _not_send: NotThreadSafe,
        }
    }

    /// Returns whether the section was begun within another one, or where nothing may wait anyway.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(super) fn is_nested(&self) -> bool {
        self.cookie
    }
}

impl Drop for Signalling {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The cookie is from the start of the section, which was in this task.
        unsafe { bindings::dma_fence_end_signalling(self.cookie) };
    }
}
