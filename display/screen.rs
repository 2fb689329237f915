// SPDX-License-Identifier: GPL-2.0

//! [`Screen`] is one scanout as state: what it should show, what the device was told, and so what
//! the device lacks. [`Screen::next`] is the one place that compares the two.
//!
//! A commit changes what the screen should show. The commands follow at once, or, while the device
//! has not answered the last ones, when it has. So no frame is lost and none waits in a queue: a
//! device that was stuck gets the newest frame.

use kernel::{
    drm::kms,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        Arc, //
    },
};

use crate::{
    command::{
        SetScanout,
        NO_RESOURCE, //
    },
    gpu::OwnResource,
    virtqueue::Batch, //
};

use super::{
    change::rect,
    damage::{
        Damage,
        NOTHING, //
    }, //
};

/// After how long a command that the device refused is tried again, in nanoseconds of
/// CLOCK_MONOTONIC: by the next commit, and by the clock if there is none. The latter is less than
/// a tick, so that each tick tries.
const COMMIT_RETRY_NS: i64 = 200_000_000;
const CLOCK_RETRY_NS: i64 = 400_000_000;

/// Remembers that the device refused something, and when to try again.
pub(super) struct Refusal {
    /// When the device refused, in nanoseconds of CLOCK_MONOTONIC; [`None`] if it did not.
    since_ns: Option<i64>,
    /// The commands were sent again.
    tried: bool,
}

impl Refusal {
    pub(super) const fn new() -> Self {
        Self {
            since_ns: None,
            tried: false,
        }
    }

    /// The device refused a command, and this was found at `now`.
    pub(super) fn begin(&mut self, now: i64) {
        self.since_ns = Some(now);
        self.tried = false;
    }

    /// The commands are sent again.
    pub(super) fn retry(&mut self) {
        self.tried = true;
    }

    /// The device has answered, and refused nothing. Returns whether that ends a refusal.
    pub(super) fn end(&mut self) -> bool {
        if self.tried {
            *self = Self::new();
        }
        self.since_ns.is_none()
    }

    pub(super) fn is_set(&self) -> bool {
        self.since_ns.is_some()
    }

    /// Returns whether the answers to a retry will end it.
    pub(super) fn is_tried(&self) -> bool {
        self.tried && self.is_set()
    }

    /// Returns whether it is too early to try again.
    pub(super) fn holds(&self, now: impl Fn() -> i64, caller: Caller) -> bool {
        let pause = match caller {
            Caller::Commit => COMMIT_RETRY_NS,
            Caller::Clock => CLOCK_RETRY_NS,
            // Never by the DPC that learnt of it: an endless loop.
            Caller::Dpc => i64::MAX,
        };
        self.since_ns
            .is_some_and(|since| now().saturating_sub(since) < pause)
    }
}

/// On whose behalf the device is told what it lacks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    Commit,
    Dpc,
    Clock,
}

/// How far the device is with the frames of a screen. Shared with the CRTC, whose vblank timer
/// reads it with no lock held.
pub(crate) struct Progress {
    /// Number of the last commit.
    committed: Atomic<u64>,
    /// Number of the last commit whose commands were sent.
    sent: Atomic<u64>,
    /// The device refuses what the screen needs.
    refused: Atomic<bool>,
    /// The commands that were sent and have no answer.
    batch: Arc<Batch>,
}

impl Progress {
    fn new() -> Result<Arc<Self>> {
        let progress = Self {
            committed: Atomic::new(0),
            sent: Atomic::new(0),
            refused: Atomic::new(false),
            batch: Batch::new()?,
        };
        Ok(Arc::new(progress, GFP_KERNEL)?)
    }

    /// Returns the number of the last commit of the screen.
    ///
    /// Context: any.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Relaxed)
    }

    /// Returns whether all commands of a commit were sent, after the device had answered those of
    /// the one before. Also if it refuses them: it will not show that frame, however long somebody
    /// waits.
    ///
    /// Context: any.
    pub(crate) fn is_sent(&self, commit: u64) -> bool {
        // The acquire pairs with the release in `Screen::sent`: the batch holds the commands then.
        self.sent.load(Acquire) >= commit || self.refused.load(Relaxed)
    }

    /// Returns whether the device has answered all commands of a commit, too.
    ///
    /// Context: any.
    pub(crate) fn is_done(&self, commit: u64) -> bool {
        self.is_sent(commit) && (self.batch.is_idle() || self.refused.load(Relaxed))
    }
}

/// What a screen shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) resource: u32,
    /// The resource of the 3D side that this is; [`None`] for memory that the CPU draws.
    pub(super) own: Option<OwnResource>,
    /// The part of it that is on the screen.
    pub(super) src: kms::Rect,
}

/// What the device needs next for a screen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// The part of the resource to transfer; empty for none.
    pub(super) transfer: kms::Rect,
    /// Whether the scanout has to be told what it shows.
    pub(super) set_scanout: bool,
    /// The part of the resource to flush.
    pub(super) flush: kms::Rect,
}

/// One scanout.
pub(super) struct Screen {
    scanout: u32,
    /// What it should show; [`None`] for nothing.
    wanted: Option<Shown>,
    /// What the device was told to show; the outer [`None`] if that is not known.
    told: Option<Option<Shown>>,
    /// What changed on the screen lately.
    damage: Damage,
    /// The last frame that was sent.
    sent_frame: u64,
    refusal: Refusal,
    progress: Arc<Progress>,
}

impl Screen {
    /// Makes a screen that shows nothing.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(super) fn new(scanout: u32) -> Result<Self> {
        Ok(Self {
            scanout,
            wanted: None,
            told: Some(None),
            damage: Damage::new(),
            sent_frame: 0,
            refusal: Refusal::new(),
            progress: Progress::new()?,
        })
    }

    /// The screen should show `shown`, of which no more than `part` differs from what it should
    /// show now. A `modeset` tells the scanout also what it was told before.
    pub(super) fn update(&mut self, shown: Shown, part: kms::Rect, modeset: bool) {
        if self.wanted.is_none_or(|wanted| wanted.src != shown.src) {
            self.damage.invalidate();
        } else {
            self.damage.add(part);
        }
        if modeset {
            self.told = None;
        }
        self.wanted = Some(shown);
        self.commit();
    }

    /// The screen should show nothing.
    pub(super) fn blank(&mut self) {
        self.damage.invalidate();
        self.wanted = None;
        self.commit();
    }

    fn commit(&mut self) {
        let number = self.progress.committed.load(Relaxed) + 1;
        self.progress.committed.store(number, Relaxed);
    }

    /// Returns its number.
    pub(super) fn scanout(&self) -> u32 {
        self.scanout
    }

    /// Returns what it should show.
    pub(super) fn wanted(&self) -> Option<Shown> {
        self.wanted
    }

    /// Returns the resource that it should show.
    pub(super) fn wanted_resource(&self) -> u32 {
        self.wanted.map_or(NO_RESOURCE, |shown| shown.resource)
    }

    /// Returns whether the device was told to show a resource.
    pub(super) fn shows(&self, id: u32) -> bool {
        let told = self.told.flatten();
        told.is_some_and(|told| told.resource == id)
    }

    /// Returns whether the device lacks something.
    pub(super) fn is_behind(&self) -> bool {
        self.told != Some(self.wanted)
            || (self.wanted.is_some() && self.sent_frame != self.damage.number())
    }

    /// Returns whether the device has all that it needs, and has answered. Also if it refuses that.
    pub(super) fn is_shown(&self) -> bool {
        (!self.is_behind() && self.progress.batch.is_idle()) || self.refusal.is_set()
    }

    /// Returns whether the device can be told now. It has answered the last commands.
    pub(super) fn can_follow(&mut self, now: impl Fn() -> i64, caller: Caller) -> bool {
        if self.progress.batch.take_refused() {
            self.refused(now());
        } else if self.refusal.end() {
            self.progress.refused.store(false, Relaxed);
        }
        !self.refusal.holds(now, caller)
    }

    /// Returns whether somebody has to look at the screen: to tell the device, as it refused, or to
    /// see how a retry went.
    pub(super) fn needs_look(&self) -> bool {
        self.is_behind() || self.progress.batch.is_refused() || self.refusal.is_tried()
    }

    /// Returns whether the scanout has to be told what it shows.
    pub(super) fn lacks_scanout(&self) -> bool {
        self.told != Some(self.wanted)
    }

    /// Returns what the device lacks of a resource of which the host has the picture of `frame`.
    pub(super) fn next(&self, shown: &Shown, frame: u64) -> Step {
        let set_scanout = self.lacks_scanout();
        let transfer = self.damage.since(frame).unwrap_or(shown.src);
        let flush = match transfer == NOTHING {
            true => shown.src,
            false => transfer,
        };
        Step {
            transfer,
            set_scanout,
            flush,
        }
    }

    /// Returns the command that turns the scanout off.
    pub(super) fn set_dark(&self) -> SetScanout {
        SetScanout {
            r: rect(&NOTHING),
            scanout_id: self.scanout.into(),
            resource_id: NO_RESOURCE.into(),
        }
    }

    /// Returns the command that tells the scanout what it shows.
    pub(super) fn set_scanout(&self) -> SetScanout {
        let (r, id) = self
            .wanted
            .map_or((NOTHING, NO_RESOURCE), |shown| (shown.src, shown.resource));
        SetScanout {
            r: rect(&r),
            scanout_id: self.scanout.into(),
            resource_id: id.into(),
        }
    }

    /// Returns the number of the frame that it should show.
    pub(super) fn frame(&self) -> u64 {
        self.damage.number()
    }

    /// All that the device lacked was sent, with the batch of [`Self::batch`].
    pub(super) fn sent(&mut self) {
        self.refusal.retry();
        self.told = Some(self.wanted);
        self.sent_frame = self.damage.number();
        // After the commands were added to the batch, see `Progress::is_done`.
        let number = self.progress.committed.load(Relaxed);
        self.progress.sent.store(number, Release);
    }

    /// Returns how far the device is.
    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Returns the batch of its commands.
    pub(super) fn batch(&self) -> &Arc<Batch> {
        &self.progress.batch
    }

    /// Returns whether the device refuses what it needs.
    pub(super) fn is_refused(&self) -> bool {
        self.refusal.is_set()
    }

    /// What was sent is not known to be there: the device refused some of it, or it was not sent.
    pub(super) fn refused(&mut self, now: i64) {
        self.told = None;
        self.damage.invalidate();
        self.refusal.begin(now);
        self.progress.refused.store(true, Relaxed);
    }

    /// Forgets what the device was told: it was reset and shows nothing.
    pub(super) fn invalidate(&mut self) {
        self.told = Some(None);
        self.damage.invalidate();
        self.refusal = Refusal::new();
        self.progress.refused.store(false, Relaxed);
        let _ = self.progress.batch.take_refused();
    }
}

#[kunit_tests(rust_gpu_screen)]
mod tests {
    use super::*;
    use crate::virtqueue::Completion;

    const ALL: kms::Rect = kms::Rect {
        x1: 0,
        y1: 0,
        x2: 100,
        y2: 100,
    };
    const PART: kms::Rect = kms::Rect {
        x1: 10,
        y1: 10,
        x2: 20,
        y2: 20,
    };

    fn shown(resource: u32) -> Shown {
        Shown {
            resource,
            own: None,
            src: ALL,
        }
    }

    /// Sends what the screen lacks. Returns it, and what the device has not answered yet.
    fn send(screen: &mut Screen, frames: &mut [u64; 4]) -> Option<(Step, Completion)> {
        if !screen.is_behind() || !screen.progress.batch.is_idle() {
            return None;
        }
        let shown = screen.wanted()?;
        let frame = frames.get_mut(shown.resource as usize)?;
        let step = screen.next(&shown, *frame);
        *frame = screen.frame();
        let answer = Batch::add(screen.batch());
        screen.sent();
        Some((step, answer))
    }

    #[test]
    fn a_stuck_device_gets_the_newest_frame() -> Result {
        let (mut screen, mut frames) = (Screen::new(0)?, [0; 4]);

        screen.update(shown(1), ALL, true);
        let (step, answer) = send(&mut screen, &mut frames).ok_or(EINVAL)?;
        assert!(step.set_scanout && step.transfer == ALL);
        let first = screen.progress.committed();
        assert!(!screen.progress.is_done(first) && !screen.is_shown());

        // Three frames while the device does not answer: nothing is sent.
        for resource in [2, 3, 1] {
            screen.update(shown(resource), PART, false);
            assert!(send(&mut screen, &mut frames).is_none());
        }
        let last = screen.progress.committed();
        drop(answer);
        assert!(screen.progress.is_done(first));
        assert!(!screen.progress.is_done(last) && !screen.is_shown());

        // Then the last one, of which the host lacks what changed since it was shown.
        let (step, answer) = send(&mut screen, &mut frames).ok_or(EINVAL)?;
        assert!(step.transfer == PART && step.flush == PART);
        drop(answer);
        assert!(screen.progress.is_done(last) && screen.is_shown());
        Ok(())
    }

    #[test]
    fn what_was_refused_is_told_anew() -> Result {
        let (mut screen, mut frames) = (Screen::new(0)?, [0; 4]);

        screen.update(shown(1), ALL, true);
        let (_, answer) = send(&mut screen, &mut frames).ok_or(EINVAL)?;
        if let Completion::Batch(command) = answer {
            command.refuse();
        }
        assert!(screen.needs_look());
        // Not by the DPC, nor at once.
        assert!(!screen.can_follow(|| 1000, Caller::Dpc));
        assert!(!screen.can_follow(|| 1000, Caller::Clock));
        assert!(screen.is_refused() && screen.is_behind() && screen.is_shown());
        // Nobody waits for a frame that the device refuses.
        assert!(screen.progress.is_done(screen.progress.committed()));

        assert!(screen.can_follow(|| 1000 + CLOCK_RETRY_NS, Caller::Clock));
        let (step, answer) = send(&mut screen, &mut frames).ok_or(EINVAL)?;
        assert!(step.set_scanout && step.transfer == ALL);
        assert!(screen.is_refused());
        drop(answer);
        // Also without another commit: or else the clock would never stop.
        assert!(!screen.is_behind() && screen.needs_look());
        assert!(screen.can_follow(|| 1001 + CLOCK_RETRY_NS, Caller::Dpc));
        assert!(!screen.is_refused() && !screen.needs_look());
        Ok(())
    }

    #[test]
    fn after_a_reset_all_is_told_anew() -> Result {
        let (mut screen, mut frames) = (Screen::new(0)?, [0; 4]);

        screen.update(shown(1), ALL, true);
        drop(send(&mut screen, &mut frames));
        assert!(screen.shows(1) && !screen.is_behind());
        screen.invalidate();
        assert!(!screen.shows(1) && screen.is_behind());
        let (step, _) = send(&mut screen, &mut frames).ok_or(EINVAL)?;
        assert!(step.set_scanout && step.transfer == ALL);
        Ok(())
    }

    #[test]
    fn a_screen_that_is_off_lacks_nothing() -> Result {
        let mut screen = Screen::new(0)?;

        assert!(!screen.is_behind());
        screen.blank();
        assert!(!screen.is_behind());
        screen.update(shown(1), ALL, false);
        assert!(screen.is_behind());
        screen.blank();
        assert!(screen.is_shown());
        Ok(())
    }
}
