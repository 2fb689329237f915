// SPDX-License-Identifier: GPL-2.0

//! [`Cursor`] is the cursor of one scanout as state. The device draws it over the picture, wherever
//! it is.
//!
//! The image goes to the device by the control queue, and the command that shows it by the cursor
//! queue. The two are not ordered, so the second is sent when the first was executed. Moves are
//! sent one at a time too: a device that is slower than the mouse gets fewer commands, not later
//! ones. That the device executed one is known from its interrupt: QEMU serves the cursor queue,
//! and nothing else, until that is empty. A driver that polls and sends the next command at once
//! could keep it from the control queue.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    command::{
        UpdateCursor,
        NO_RESOURCE, //
    },
    gpu::OwnResource,
    virtqueue::Batch, //
};

use super::screen::{
    Caller,
    Refusal, //
};

/// What the device needs next for a cursor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The image of the resource.
    Image,
    /// The cursor with its image and its place.
    Update,
    /// Only its place.
    Move,
}

/// The cursor of one scanout.
pub(super) struct Cursor {
    /// What it should be.
    wanted: UpdateCursor,
    /// The resource of the 3D side with its image, if it is one: the host has that.
    own: Option<OwnResource>,
    /// The host lacks the image of `wanted`.
    lacks_image: bool,
    /// What the device was told last; [`None`] if it needs all of `wanted`.
    told: Option<UpdateCursor>,
    refusal: Refusal,
    /// The command that was sent and has no answer.
    batch: Arc<Batch>,
}

impl Cursor {
    /// Makes a cursor that is hidden.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(super) fn new(scanout: u32) -> Result<Self> {
        let hidden = hidden(scanout);
        Ok(Self {
            wanted: hidden,
            own: None,
            lacks_image: false,
            told: Some(hidden),
            refusal: Refusal::new(),
            batch: Batch::new()?,
        })
    }

    /// The cursor should be `wanted`, with another image than before if `new_image`. The image is
    /// that of a resource of the 3D side if there is an `own`.
    pub(super) fn update(
        &mut self,
        wanted: UpdateCursor,
        new_image: bool,
        own: Option<OwnResource>,
    ) {
        // A hidden cursor has no image that could be changed or lost.
        let new_image = new_image || self.resource() == NO_RESOURCE;
        self.wanted = wanted;
        self.own = own;
        if new_image {
            self.lacks_image = own.is_none();
            self.told = None;
        }
    }

    /// Hides the cursor if its image was lost, as the device has another incarnation now.
    pub(super) fn hide_lost(&mut self, incarnation: u64) {
        if self.own.is_some_and(|own| own.incarnation != incarnation) {
            self.hide();
        }
    }

    /// The cursor should be hidden.
    pub(super) fn hide(&mut self) {
        self.wanted = hidden(self.wanted.scanout_id.into());
        self.own = None;
        self.lacks_image = false;
    }

    /// Returns what it should be.
    pub(super) fn wanted(&self) -> &UpdateCursor {
        &self.wanted
    }

    /// Returns the resource with its image.
    pub(super) fn resource(&self) -> u32 {
        self.wanted.resource_id.into()
    }

    /// Returns whether the device may still have to read a resource. If so, the DPC runs when it
    /// has.
    pub(super) fn uses(&self, id: u32) -> bool {
        let told = self.told.map(|told| told.resource_id.get());
        (told == Some(id) && self.batch.await_idle()) || self.resource() == id
    }

    /// Returns whether the device lacks something, or refused it.
    pub(super) fn needs_look(&self) -> bool {
        self.lacks_image
            || self.told != Some(self.wanted)
            || self.batch.is_refused()
            || self.refusal.is_tried()
    }

    /// Returns what the device needs next, if it can be told now. It has executed the last command.
    pub(super) fn next(&mut self, now: impl Fn() -> i64, caller: Caller) -> Option<Step> {
        if self.batch.take_refused() {
            self.refused(now());
        } else {
            self.refusal.end();
        }
        if self.refusal.holds(now, caller) {
            return None;
        }
        let image = |cursor: UpdateCursor| (cursor.resource_id, cursor.hot_x, cursor.hot_y);
        match self.told {
            _ if self.lacks_image => Some(Step::Image),
            Some(told) if told == self.wanted => None,
            Some(told) if image(told) == image(self.wanted) => Some(Step::Move),
            _ => Some(Step::Update),
        }
    }

    /// A step was sent, with the batch of [`Self::batch`].
    pub(super) fn sent(&mut self, step: Step) {
        self.refusal.retry();
        match step {
            Step::Image => self.lacks_image = false,
            Step::Update | Step::Move => self.told = Some(self.wanted),
        }
    }

    /// Returns the batch of its commands.
    pub(super) fn batch(&self) -> &Arc<Batch> {
        &self.batch
    }

    /// Returns whether the device refuses what it needs.
    pub(super) fn is_refused(&self) -> bool {
        self.refusal.is_set()
    }

    /// What was sent is not known to be there: the device refused it, or it was not sent.
    pub(super) fn refused(&mut self, now: i64) {
        self.told = None;
        self.lacks_image = self.resource() != NO_RESOURCE && self.own.is_none();
        self.refusal.begin(now);
    }

    /// Forgets what the device was told: it was reset. QEMU still shows the cursor then.
    pub(super) fn invalidate(&mut self) {
        self.told = None;
        self.lacks_image = self.resource() != NO_RESOURCE && self.own.is_none();
        self.refusal = Refusal::new();
        let _ = self.batch.take_refused();
    }
}

/// Returns a cursor that is not shown.
fn hidden(scanout: u32) -> UpdateCursor {
    UpdateCursor {
        scanout_id: scanout.into(),
        resource_id: NO_RESOURCE.into(),
        ..Default::default()
    }
}

#[kunit_tests(rust_gpu_cursor)]
mod tests {
    use super::*;
    use crate::virtqueue::Completion;

    fn at(resource: u32, x: u32) -> UpdateCursor {
        UpdateCursor {
            resource_id: resource.into(),
            x: x.into(),
            ..Default::default()
        }
    }

    /// Sends the next step. Returns it, and what the device has not answered yet.
    fn send(cursor: &mut Cursor) -> Option<(Step, Completion)> {
        if cursor.batch.await_idle() {
            return None;
        }
        let step = cursor.next(|| 0, Caller::Commit)?;
        let answer = Batch::add(cursor.batch());
        cursor.sent(step);
        Some((step, answer))
    }

    #[test]
    fn the_image_comes_first_and_moves_are_merged() -> Result {
        let mut cursor = Cursor::new(0)?;
        assert!(send(&mut cursor).is_none());

        cursor.update(at(1, 5), true, None);
        let (step, answer) = send(&mut cursor).ok_or(EINVAL)?;
        assert!(step == Step::Image);
        // It moves while the image is under way.
        cursor.update(at(1, 6), false, None);
        cursor.update(at(1, 7), false, None);
        assert!(send(&mut cursor).is_none());
        drop(answer);
        let (step, answer) = send(&mut cursor).ok_or(EINVAL)?;
        assert!(step == Step::Update && cursor.told == Some(at(1, 7)));

        cursor.update(at(1, 8), false, None);
        assert!(send(&mut cursor).is_none());
        assert!(cursor.uses(1));
        drop(answer);
        let (step, answer) = send(&mut cursor).ok_or(EINVAL)?;
        assert!(step == Step::Move);
        drop(answer);
        assert!(send(&mut cursor).is_none() && !cursor.needs_look());

        cursor.hide();
        assert!(matches!(send(&mut cursor), Some((Step::Update, _))));
        Ok(())
    }

    #[test]
    fn one_that_was_hidden_has_its_image_again() -> Result {
        let mut cursor = Cursor::new(0)?;

        cursor.update(at(1, 5), true, None);
        while send(&mut cursor).is_some() {}
        cursor.hide();
        assert!(matches!(send(&mut cursor), Some((Step::Update, _))));
        // The image was changed meanwhile, of which nobody told the cursor.
        cursor.update(at(1, 5), false, None);
        assert!(matches!(send(&mut cursor), Some((Step::Image, _))));
        assert!(matches!(send(&mut cursor), Some((Step::Update, _))));
        assert!(!cursor.needs_look());
        Ok(())
    }

    #[test]
    fn one_that_is_hidden_is_hidden_after_a_reset() -> Result {
        let mut cursor = Cursor::new(0)?;

        cursor.update(at(1, 5), true, None);
        while send(&mut cursor).is_some() {}
        cursor.hide();
        cursor.invalidate();
        assert!(matches!(send(&mut cursor), Some((Step::Update, _))));
        assert!(cursor.told == Some(hidden(0)) && !cursor.needs_look());
        Ok(())
    }

    #[test]
    fn a_refused_image_is_sent_again() -> Result {
        let mut cursor = Cursor::new(0)?;

        cursor.update(at(1, 5), true, None);
        if let Some((Step::Image, Completion::Batch(command))) = send(&mut cursor) {
            command.refuse();
        }
        assert!(cursor.needs_look());
        assert!(cursor.next(|| 0, Caller::Dpc).is_none());
        assert!(cursor.is_refused());
        assert!(cursor.next(|| i64::MAX, Caller::Clock) == Some(Step::Image));
        Ok(())
    }
}
