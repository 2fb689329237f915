// SPDX-License-Identifier: GPL-2.0

//! The fences of a buffer.
//!
//! C header: [`include/linux/dma-resv.h`](srctree/include/linux/dma-resv.h)

use crate::bindings;

/// What a fence of a buffer is for.
///
/// Waiting for one of these is waiting for those above it too.
#[doc(alias = "dma_resv_usage")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// The kernel moves or clears the memory. Everybody waits for it.
    Kernel,
    /// Work that writes. Readers wait for it.
    Write,
    /// Work that reads. Writers wait for it.
    Read,
    /// What keeps the memory in use. Only code that frees the memory waits for it.
    Bookkeep,
}

impl Usage {
    /// Returns the C value.
    #[cfg_attr(not(CONFIG_DRM = "y"), expect(unused))]
    pub(crate) fn into_raw(self) -> bindings::dma_resv_usage {
        match self {
            Self::Kernel => bindings::dma_resv_usage_DMA_RESV_USAGE_KERNEL,
            Self::Write => bindings::dma_resv_usage_DMA_RESV_USAGE_WRITE,
            Self::Read => bindings::dma_resv_usage_DMA_RESV_USAGE_READ,
            Self::Bookkeep => bindings::dma_resv_usage_DMA_RESV_USAGE_BOOKKEEP,
        }
    }
}
