// SPDX-License-Identifier: GPL-2.0

//! Buffers that devices share, and the fences that tell when the work on them is done.
//!
//! Reference: <https://docs.kernel.org/driver-api/dma-buf.html>

mod callback;
mod chain;
mod context;
mod fence;
mod resv;
#[cfg(CONFIG_SYNC_FILE)]
mod sync_file;

#[cfg(CONFIG_RUST_DMA_FENCE_KUNIT_TEST)]
mod tests;

pub use self::{
    callback::{
        CallbackError,
        FenceCallback,
        FenceCallbackRegistration, //
    },
    chain::{
        FenceChainAllocation,
        FenceUnwrap, //
    },
    context::{
        DriverFence,
        DriverFenceAllocation,
        FenceContext,
        FenceContextOps, //
    },
    fence::Fence,
    resv::Usage, //
};

#[cfg(CONFIG_SYNC_FILE)]
pub use self::sync_file::{
    fence_from_fd,
    SyncFileAllocation, //
};
