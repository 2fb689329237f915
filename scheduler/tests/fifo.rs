// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of queues of fixed capacity.

use kernel::prelude::*;

use crate::scheduler::Fifo;

#[kunit_tests(rust_gpu_fifo)]
mod suite {
    use super::*;

    #[test]
    fn fifo_keeps_order_and_bound() -> Result {
        let mut fifo = Fifo::new(3)?;
        for round in 0..10 {
            assert!(fifo.is_empty());
            for item in 0..3 {
                assert_eq!(fifo.push(round + item), Ok(()));
            }
            assert_eq!(fifo.push(99), Err(99));
            let first = fifo.pop().ok_or(EINVAL)?;
            assert_eq!(fifo.unpop(first), Ok(()));
            assert_eq!(fifo.unpop(98), Err(98));
            for item in 0..3 {
                assert_eq!(fifo.pop(), Some(round + item));
            }
            assert_eq!(fifo.pop(), None);
            // Begin the next round elsewhere.
            assert_eq!(fifo.push(0), Ok(()));
            assert_eq!(fifo.pop(), Some(0));
        }
        Ok(())
    }

    #[test]
    fn fifo_can_be_looked_through() -> Result {
        let mut fifo = Fifo::new(3)?;
        // Begin elsewhere than at the start.
        assert_eq!(fifo.push(0), Ok(()));
        assert_eq!(fifo.push(1), Ok(()));
        assert_eq!(fifo.pop(), Some(0));
        assert_eq!(fifo.push(2), Ok(()));
        assert_eq!(fifo.push(3), Ok(()));
        assert_eq!(
            [0, 1, 2].map(|at| fifo.get(at).copied()),
            [Some(1), Some(2), Some(3)]
        );
        assert!(fifo.iter().copied().eq(1..=3));
        assert_eq!(fifo.take(|item| *item == 2), Some(2));
        assert!(fifo.iter().copied().eq([1, 3]));
        assert_eq!([fifo.pop_back(), fifo.pop_back()], [Some(3), Some(1)]);
        assert_eq!(fifo.pop_back(), None);
        Ok(())
    }
}
