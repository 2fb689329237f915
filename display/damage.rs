// SPDX-License-Identifier: GPL-2.0

//! What changed on a scanout lately.
//!
//! With a flip user space tells what changes on the screen, which is how the new framebuffer
//! differs from the one before (`FB_DAMAGE_CLIPS`). What the host has of the new one is older: it
//! has what was transferred when that one was on the screen last. What it lacks is all that changed
//! on the screen since then.

use kernel::{
    drm::kms::Rect,
    prelude::*, //
};

use crate::gpu::Frame;

/// Of how many frames is kept what changed: who draws into three buffers in turns shows the same
/// one every third frame.
const FRAMES: usize = 3;

/// What changed in the last frames of one scanout.
pub(crate) struct Damage {
    scanout: u32,
    /// Number of the last frame; they count from 1.
    number: u64,
    /// Of how many of the last frames it is known what changed; [`FRAMES`] at the most.
    known: usize,
    /// What that was, the last one first.
    parts: [Rect; FRAMES],
}

impl Damage {
    /// Makes one for each scanout.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn all(scanouts: usize) -> Result<KVec<Self>> {
        let mut all = KVec::with_capacity(scanouts, GFP_KERNEL)?;
        for scanout in 0..scanouts {
            all.push(Self::new(scanout.try_into()?), GFP_KERNEL)?;
        }
        Ok(all)
    }

    /// Nothing is known of `scanout`.
    const fn new(scanout: u32) -> Self {
        const NOTHING: Rect = Rect {
            x1: 0,
            y1: 0,
            x2: 0,
            y2: 0,
        };
        Self {
            scanout,
            number: 0,
            known: 0,
            parts: [NOTHING; FRAMES],
        }
    }

    /// Returns the last frame.
    fn last(&self) -> Frame {
        Frame {
            scanout: self.scanout,
            number: self.number,
        }
    }

    /// All of the screen may have changed.
    pub(crate) fn forget(&mut self) {
        self.number += 1;
        self.known = 0;
    }

    /// Shows a framebuffer of which the host has what it had in the frame `held`, and of which no
    /// more than `part` differs from what is on the screen. It is the same `again`, or else another
    /// one than in the last frame; `whole` is all of it that is on the screen.
    ///
    /// Returns what the host lacks; once it has that, it has what is in `held`.
    pub(crate) fn show(
        &mut self,
        held: &mut Option<Frame>,
        part: Rect,
        whole: Rect,
        again: bool,
    ) -> Rect {
        let before = self.last();
        self.add(part);
        let lacking = match (again, *held) {
            (true, _) => part,
            (false, Some(frame)) => self.since(frame).unwrap_or(whole),
            (false, None) => whole,
        };
        // With only a part of what is on two scanouts in turns the host has neither's picture.
        let is_known = !again || part == whole || *held == Some(before);
        *held = is_known.then(|| self.last());
        lacking
    }

    /// There is a new frame, in which no more than `part` changed.
    fn add(&mut self, part: Rect) {
        self.number += 1;
        self.known = FRAMES.min(self.known + 1);
        self.parts.rotate_right(1);
        if let Some(last) = self.parts.first_mut() {
            *last = part;
        }
    }

    /// Returns a rectangle around all that changed after `frame`; [`None`] if that is not known.
    fn since(&self, frame: Frame) -> Option<Rect> {
        let frames = usize::try_from(self.number.checked_sub(frame.number)?).ok()?;
        if frame.scanout != self.scanout || frames > self.known {
            return None;
        }
        self.parts.iter().take(frames).copied().reduce(around)
    }
}

/// Returns the least rectangle around two.
fn around(a: Rect, b: Rect) -> Rect {
    Rect {
        x1: a.x1.min(b.x1),
        y1: a.y1.min(b.y1),
        x2: a.x2.max(b.x2),
        y2: a.y2.max(b.y2),
    }
}

#[kunit_tests(rust_gpu_damage)]
mod tests {
    use super::*;

    const WHOLE: Rect = square(0, 100);

    /// A square on the diagonal.
    const fn square(from: i32, to: i32) -> Rect {
        Rect {
            x1: from,
            y1: from,
            x2: to,
            y2: to,
        }
    }

    #[test]
    fn flips_need_what_changed_since() {
        let mut damage = Damage::new(0);
        let mut held = [None; 4];
        let mut flip = |buffer: usize, from| {
            damage.show(&mut held[buffer], square(from, from + 1), WHOLE, false)
        };

        // The host has nothing of what was never shown.
        assert!(flip(0, 10) == WHOLE);
        assert!(flip(1, 20) == WHOLE);
        assert!(flip(2, 30) == WHOLE);
        assert!(flip(0, 15) == square(15, 31));
        assert!(flip(2, 50) == square(15, 51));
        assert!(flip(3, 40) == WHOLE);
        // Five frames ago: too long.
        assert!(flip(1, 60) == WHOLE);
        assert!(flip(2, 35) == square(35, 61));
    }

    #[test]
    fn the_same_again_needs_what_changed() {
        let mut damage = Damage::new(0);
        let (mut a, mut b) = (None, None);
        let part = square(10, 11);

        damage.show(&mut a, WHOLE, WHOLE, false);
        damage.show(&mut b, part, WHOLE, false);
        assert!(damage.show(&mut b, square(20, 21), WHOLE, true) == square(20, 21));
        assert!(damage.show(&mut a, part, WHOLE, false) == square(10, 21));
    }

    #[test]
    fn after_a_gap_all_is_needed() {
        let mut damage = Damage::new(0);
        let (mut a, mut b) = (None, None);
        let part = square(10, 11);

        damage.show(&mut a, WHOLE, WHOLE, false);
        damage.show(&mut b, part, WHOLE, false);
        damage.forget();
        assert!(damage.show(&mut a, part, WHOLE, false) == WHOLE);
        assert!(damage.show(&mut b, part, WHOLE, false) == WHOLE);
        assert!(damage.show(&mut a, part, WHOLE, false) == part);
    }

    #[test]
    fn each_scanout_has_its_own_frames() {
        let (mut left, mut right) = (Damage::new(0), Damage::new(1));
        let (mut a, mut b) = (None, None);
        let part = square(10, 11);

        left.show(&mut a, WHOLE, WHOLE, false);
        left.show(&mut b, part, WHOLE, false);
        // Something else may have been on the other one.
        assert!(right.show(&mut a, part, WHOLE, false) == WHOLE);
        assert!(left.show(&mut a, part, WHOLE, false) == WHOLE);

        // On both at a time, the host gets parts for one and for the other.
        assert!(right.show(&mut a, part, WHOLE, true) == part);
        assert!(left.show(&mut b, part, WHOLE, false) == part);
        assert!(left.show(&mut a, part, WHOLE, false) == WHOLE);
        assert!(left.show(&mut b, part, WHOLE, false) == part);

        // After such parts it is not known what the host has, not for either of them.
        assert!(right.show(&mut a, part, WHOLE, true) == part);
        assert!(right.show(&mut b, part, WHOLE, false) == WHOLE);
        assert!(right.show(&mut a, part, WHOLE, false) == WHOLE);
    }
}
