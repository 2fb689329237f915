// SPDX-License-Identifier: GPL-2.0

//! [`FreeMap`] records which slots of a pool are free.

use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
};

/// Records which of a fixed number of things are free: a bitmap with a set bit for each free one.
///
/// It has no lock, so it can be used in any context and with any lock held.
pub(super) struct FreeMap(KVec<Atomic<u64>>);

impl FreeMap {
    /// Makes a map of `count` free things.
    pub(super) fn new(count: u16) -> Result<Self> {
        let words = usize::from(count).div_ceil(u64::BITS as usize);
        let mut map = KVec::with_capacity(words, GFP_KERNEL)?;

        let mut left = u32::from(count);
        while left != 0 {
            let bits = left.min(u64::BITS);
            map.push(Atomic::new(u64::MAX >> (u64::BITS - bits)), GFP_KERNEL)?;
            left -= bits;
        }
        Ok(Self(map))
    }

    /// Takes the first free thing and returns its index. The acquire pairs with the release in
    /// [`Self::put`].
    pub(super) fn take(&self) -> Option<u16> {
        for (index, word) in (0u16..).zip(&self.0) {
            let mut free = word.load(Relaxed);
            while free != 0 {
                let bit = free.trailing_zeros();
                match word.cmpxchg(free, free & !(1 << bit), Acquire) {
                    // CAST: Less than 64.
                    Ok(_) => return Some(index * u64::BITS as u16 + bit as u16),
                    Err(now) => free = now,
                }
            }
        }
        None
    }

    /// Gives back what [`Self::take`] returned.
    pub(super) fn put(&self, index: u16) {
        let index = usize::from(index);
        let Some(word) = self.0.get(index / u64::BITS as usize) else {
            return;
        };

        // The bit is not set, so this sets it and changes no other.
        word.fetch_add(1u64 << (index % u64::BITS as usize), Release);
    }

    /// Returns how many are free.
    pub(super) fn free(&self) -> u32 {
        self.0
            .iter()
            .map(|word| word.load(Relaxed).count_ones())
            .sum()
    }
}

#[cfg(CONFIG_DRM_RUST_GPU_KUNIT_TEST)]
#[kunit_tests(rust_gpu_free_map)]
mod tests {
    use super::*;

    #[test]
    fn free_map_hands_out_each_once() -> Result {
        for count in [1, 63, 64, 65, 200] {
            let map = FreeMap::new(count)?;
            for index in 0..count {
                assert_eq!(map.take(), Some(index));
            }
            assert_eq!(map.take(), None);
            assert_eq!(map.free(), 0);
        }
        Ok(())
    }

    #[test]
    fn free_map_takes_back() -> Result {
        let map = FreeMap::new(70)?;
        while map.take().is_some() {}

        for index in [0, 63, 64, 69] {
            map.put(index);
            assert_eq!(map.free(), 1);
            assert_eq!(map.take(), Some(index));
            assert_eq!(map.take(), None);
        }
        Ok(())
    }
}
