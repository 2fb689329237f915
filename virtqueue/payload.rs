// SPDX-License-Identifier: GPL-2.0

//! [`Payload`] is the memory of data that follows a request, in as many pieces as it takes.
//!
//! A system that has run for weeks has little contiguous memory left, and a large allocation fails.
//! So the memory consists of the largest pieces that can be had, down to single pages.

use kernel::{
    alloc::{
        flags::__GFP_NOWARN,
        Flags, //
    },
    device::{
        self,
        Bound, //
    },
    page::PAGE_SIZE,
    phys::PhysPages,
    prelude::*,
    sync::Arc,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
};

use crate::{
    ring::Segment,
    virtqueue::dma::{
        DmaContext,
        DmaMemory,
        GRANULE, //
    },
};

/// Data that follows a request.
///
/// It is DMA memory, see [`dma`](crate::virtqueue::dma).
pub(super) struct Payload {
    /// All but the last one have the same size.
    pieces: KVec<DmaMemory>,
    /// That size, in bytes: whole pages.
    piece: usize,
    /// Bytes of data.
    len: usize,
}

impl Payload {
    /// Makes room for no data.
    pub(super) const fn empty() -> Self {
        Self {
            pieces: KVec::new(),
            piece: PAGE_SIZE,
            len: 0,
        }
    }

    /// Allocates `len` bytes in `max_pieces` pieces at the most.
    ///
    /// Errors: [`ENOMEM`]. Context: process; may sleep.
    pub(super) fn new(
        dev: &device::Device<Bound>,
        context: &Arc<DmaContext>,
        len: usize,
        max_pieces: usize,
        gfp: Flags,
    ) -> Result<Self> {
        for piece in sizes_to_try(len, max_pieces) {
            // The next size may do, so the failure of this one is no news.
            match Self::allocate(dev, context, len, piece, gfp | __GFP_NOWARN) {
                Err(error) if error == ENOMEM => {}
                other => return other,
            }
        }
        Err(ENOMEM)
    }

    /// Takes the pages of `data`.
    ///
    /// Errors: [`EINVAL`] if the device does not take physical addresses; [`ENOMEM`]. Context:
    /// process; may sleep.
    pub(super) fn from_user(context: &Arc<DmaContext>, data: UserData, gfp: Flags) -> Result<Self> {
        let mut pieces = KVec::with_capacity(data.pieces.len(), gfp)?;
        for pages in data.pieces {
            pieces.push(DmaMemory::from_pages(context, pages)?, gfp)?;
        }
        Ok(Self {
            pieces,
            piece: data.piece,
            len: data.len,
        })
    }

    fn allocate(
        dev: &device::Device<Bound>,
        context: &Arc<DmaContext>,
        len: usize,
        piece: usize,
        gfp: Flags,
    ) -> Result<Self> {
        let count = len.div_ceil(piece);
        let mut pieces = KVec::with_capacity(count, gfp)?;
        for index in 0..count {
            let size = piece.min(len - index * piece);
            pieces.push(DmaMemory::new(dev, context, size, gfp)?, gfp)?;
        }
        Ok(Self { pieces, piece, len })
    }

    /// Returns the number of bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the number of pieces.
    pub(super) fn count(&self) -> usize {
        self.pieces.len()
    }

    /// Copies `bytes` to `offset`. They must not cross the end of a page.
    ///
    /// Errors: [`ERANGE`] if they go beyond the end of a piece. Context: any.
    pub(super) fn write(&self, offset: usize, bytes: &[u8]) -> Result {
        let piece = self.pieces.get(offset / self.piece).ok_or(ERANGE)?;
        let start = offset % self.piece;
        let end = start.checked_add(bytes.len()).ok_or(ERANGE)?;
        let index = offset / self.piece;
        if end > self.piece.min(self.len - index * self.piece) {
            return Err(ERANGE);
        }
        piece.copy_in(start, bytes)
    }

    /// Returns the pieces as segments for the device.
    ///
    /// Errors: [`EINVAL`] if a piece does not fit into one descriptor.
    pub(super) fn segments(&self) -> impl Iterator<Item = Result<Segment>> + '_ {
        self.pieces.iter().enumerate().map(|(index, memory)| {
            let len = self.piece.min(self.len - index * self.piece);
            memory.segment(0, len)
        })
    }
}

/// Data of user space, in pages that become those of a [`Payload`]: so it is copied once. The
/// device does not know of them before that.
#[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
pub(crate) struct UserData {
    /// As those of a [`Payload`].
    pieces: KVec<PhysPages>,
    piece: usize,
    len: usize,
}

#[cfg_attr(not(CONFIG_DRM_RUST_GPU_RENDER), allow(dead_code))]
impl UserData {
    /// Copies `len` bytes at `from`, to `max_pieces` pieces at the most.
    ///
    /// Errors: [`ENOMEM`]; [`EFAULT`]. Context: process; may sleep, for as long as a client likes.
    pub(crate) fn read(from: UserPtr, len: usize, max_pieces: usize, gfp: Flags) -> Result<Self> {
        for piece in sizes_to_try(len, max_pieces) {
            match Self::read_in(UserSlice::new(from, len), len, piece, gfp | __GFP_NOWARN) {
                Err(error) if error == ENOMEM => {}
                other => return other,
            }
        }
        Err(ENOMEM)
    }

    fn read_in(user: UserSlice, len: usize, piece: usize, gfp: Flags) -> Result<Self> {
        let mut reader = user.reader();
        let mut pieces = KVec::with_capacity(len.div_ceil(piece), gfp)?;
        while !reader.is_empty() {
            let size = piece.min(reader.len().next_multiple_of(GRANULE));
            pieces.push(PhysPages::from_user(size, &mut reader, gfp)?, gfp)?;
        }
        Ok(Self { pieces, piece, len })
    }

    /// Returns the number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the number of pieces.
    pub(crate) fn count(&self) -> usize {
        self.pieces.len()
    }
}

/// Returns the sizes of pieces to try, in bytes: the largest first, down to a page as long as there
/// are no more than `max_pieces` of them.
fn piece_sizes(len: usize, max_pieces: usize) -> impl Iterator<Item = usize> {
    let largest = len.max(1).next_multiple_of(PAGE_SIZE).next_power_of_two();
    core::iter::successors(Some(largest), |size| {
        let half = size / 2;
        (half >= PAGE_SIZE).then_some(half)
    })
    .take_while(move |size| len.div_ceil(*size) <= max_pieces)
}

/// Does the same. With tests, the smallest that may do comes first: else they would see one piece
/// only.
fn sizes_to_try(len: usize, max_pieces: usize) -> impl Iterator<Item = usize> {
    let first = match cfg!(CONFIG_DRM_RUST_GPU_KUNIT_TEST) {
        true => piece_sizes(len, max_pieces).last(),
        false => None,
    };
    Iterator::chain(first.into_iter(), piece_sizes(len, max_pieces))
}

#[kunit_tests(rust_gpu_payload)]
mod tests {
    use super::*;

    /// Returns the first and the last size to try, in pages, and how many there are.
    fn sizes(len: usize, max_pieces: usize) -> (usize, usize, usize) {
        let first = piece_sizes(len, max_pieces).next().unwrap_or(0);
        let last = piece_sizes(len, max_pieces).last().unwrap_or(0);
        let count = piece_sizes(len, max_pieces).count();
        (first / PAGE_SIZE, last / PAGE_SIZE, count)
    }

    #[test]
    fn pieces_are_as_large_as_can_be_had() {
        assert_eq!(sizes(16, 32), (1, 1, 1));
        assert_eq!(sizes(PAGE_SIZE + 16, 32), (2, 1, 2));
        // Single pages, as long as there are few enough of them.
        assert_eq!(sizes(32 * PAGE_SIZE, 32), (32, 1, 6));
        assert_eq!(sizes(33 * PAGE_SIZE, 32), (64, 2, 6));
        assert_eq!(sizes(64 * PAGE_SIZE, 2), (64, 32, 2));
        assert_eq!(sizes(64 * PAGE_SIZE, 1), (64, 64, 1));
    }
}
