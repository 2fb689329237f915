// SPDX-License-Identifier: GPL-2.0

//! [`Damage`] remembers what changed in the last frames of a scanout, and so knows what the host
//! lacks of a framebuffer whose age it is told (the age of EGL_EXT_buffer_age).
//!
//! With a flip user space tells what changes on the screen: how the new framebuffer differs from
//! the one before (`FB_DAMAGE_CLIPS`). The host has an older picture of the new one, that of the
//! frame in which it was on the screen last. It lacks all that changed on the screen since then.

use kernel::{
    drm::kms::Rect,
    prelude::*, //
};

/// Of how many frames the changes are kept: a client that draws into three buffers in turns shows
/// the same one every third frame.
const FRAMES: usize = 3;

/// A rectangle without a pixel.
pub(super) const NOTHING: Rect = Rect {
    x1: 0,
    y1: 0,
    x2: 0,
    y2: 0,
};

/// What changed in the last frames of one scanout.
pub(super) struct Damage {
    /// Number of the last frame; they count from 1.
    number: u64,
    /// Of how many of the last frames it is known what changed; [`FRAMES`] at the most.
    known: usize,
    /// What that was, the last one first.
    parts: [Rect; FRAMES],
}

impl Damage {
    /// Nothing is known.
    pub(super) const fn new() -> Self {
        Self {
            number: 0,
            known: 0,
            parts: [NOTHING; FRAMES],
        }
    }

    /// Returns the number of the last frame.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// All of the screen may have changed.
    pub(super) fn invalidate(&mut self) {
        self.number += 1;
        self.known = 0;
    }

    /// Starts a frame, in which no more than `part` changed.
    pub(super) fn add(&mut self, part: Rect) {
        self.number += 1;
        self.known = FRAMES.min(self.known + 1);
        self.parts.rotate_right(1);
        if let Some(last) = self.parts.first_mut() {
            *last = part;
        }
    }

    /// Returns a rectangle around all that changed after frame `number`. [`None`] if that is not
    /// known, as for number 0, which no frame has.
    pub(super) fn since(&self, number: u64) -> Option<Rect> {
        let frames = usize::try_from(self.number.checked_sub(number)?).ok()?;
        if number == 0 || frames > self.known {
            return None;
        }
        let parts = self.parts.iter().take(frames).copied();
        Some(parts.reduce(around).unwrap_or(NOTHING))
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
        let mut damage = Damage::new();
        let mut frames = [0; 4];
        let mut flip = |buffer: usize, from| {
            damage.add(square(from, from + 1));
            let lacking = damage.since(frames[buffer]);
            frames[buffer] = damage.number();
            lacking
        };

        // The host has nothing of what was never shown.
        assert!(flip(0, 10).is_none());
        assert!(flip(1, 20).is_none());
        assert!(flip(2, 30).is_none());
        assert!(flip(0, 15) == Some(square(15, 31)));
        assert!(flip(2, 50) == Some(square(15, 51)));
        assert!(flip(3, 40).is_none());
        // Five frames ago: too long.
        assert!(flip(1, 60).is_none());
        assert!(flip(2, 35) == Some(square(35, 61)));
    }

    #[test]
    fn the_same_again_needs_what_changed() {
        let mut damage = Damage::new();
        damage.add(square(0, 100));
        let shown = damage.number();

        assert!(damage.since(shown) == Some(NOTHING));
        damage.add(square(20, 21));
        assert!(damage.since(shown) == Some(square(20, 21)));
    }

    #[test]
    fn after_a_gap_all_is_needed() {
        let mut damage = Damage::new();
        damage.add(square(10, 11));
        let shown = damage.number();

        damage.invalidate();
        assert!(damage.since(shown).is_none());
        damage.add(square(10, 11));
        assert!(damage.since(shown).is_none());
        assert!(damage.since(shown + 1) == Some(square(10, 11)));
    }
}
