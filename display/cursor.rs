// SPDX-License-Identifier: GPL-2.0

//! The cursor of one scanout: the device draws it over the picture, wherever it is.
//!
//! A new image goes to the device by the control queue, and the command that shows it by the cursor
//! queue. The two are not ordered, so the second one is sent when the first is complete, from the
//! DPC. What happens to the cursor meanwhile goes into that same command. One image is on its way
//! at a time, so that who changes them faster than the device takes them does not fill the control
//! queue: of those that follow, the last one is sent when that has arrived.
//!
//! The same goes for moves: while the device has not executed the last one, those that follow are
//! not sent but remembered, and the DPC sends what came of them. A device that is slower than the
//! mouse so gets fewer commands and not later ones, and one that was stuck does not repeat what the
//! mouse did meanwhile. That the device has executed it is known from its interrupt: QEMU goes on
//! with the cursor queue, and with nothing else, until that is empty, so who looks by himself and
//! sends the next command at once can keep it from the control queue.

use kernel::{
    new_mutex,
    num::casts::u32_as_usize,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        Arc,
        Mutex,
        SetOnce, //
    },
    time::{
        ClockSource,
        Monotonic, //
    },
};

use crate::{
    command::{
        Command,
        MoveCursor,
        TransferToHost2d,
        UpdateCursor,
        MAX_SCANOUTS,
        NO_RESOURCE, //
    },
    gpu::{
        Deferred,
        Gpu, //
    },
    irq::Adapter,
    scheduler::{
        self,
        Node, //
    },
    virtqueue::{
        Completion,
        Mark, //
    },
};

/// After how long an interrupt may be lost, in nanoseconds: then the device is looked at.
const LOST_NS: i64 = 20_000_000;

/// The cursor of one scanout.
#[pin_data]
pub(crate) struct Cursor {
    /// Taken by commits and by the DPC. Message locks are taken under it.
    #[pin]
    state: Mutex<State>,
    /// An image is on its way; until it has arrived nothing is sent. Set under the lock of `state`,
    /// cleared by whoever drops the [`Mark`].
    sending: Arc<Atomic<bool>>,
    /// The flag of [`Cursors`].
    behind: Arc<Atomic<bool>>,
}

/// What is known of a cursor.
struct State {
    /// What it shall be.
    wanted: UpdateCursor,
    /// The image that is to be sent next: that of `wanted`, whose framebuffer is the one of the
    /// plane. So its resource is there as long as this is.
    image: Option<TransferToHost2d>,
    /// What the device was told last; [`None`] if it has to be told all of `wanted` again.
    told: Option<UpdateCursor>,
    /// The fence of that command, and when it was sent, in nanoseconds of CLOCK_MONOTONIC.
    fence: u64,
    sent_ns: i64,
}

impl State {
    /// Tells the device what the cursor shall be, if that is news and the device has done what it
    /// was told before. Else the DPC [catches up](Cursors::run).
    fn tell(&mut self, adapter: &Adapter<Gpu<'_>>, behind: &Atomic<bool>) {
        let wanted = self.wanted;
        if self.told == Some(wanted) || self.is_busy(adapter, behind) {
            return;
        }
        let image = |cursor: UpdateCursor| (cursor.resource_id, cursor.hot_x, cursor.hot_y);
        let sent = match self.told {
            Some(told) if image(told) == image(wanted) => {
                let command = MoveCursor::from(wanted);
                send(adapter, Node::Cursor, &command, Completion::None)
            }
            _ => send(adapter, Node::Cursor, &wanted, Completion::None),
        };
        // A command that is lost is made up for by the next one.
        self.told = sent.map(|_| wanted);
        self.fence = sent.unwrap_or(0);
        self.sent_ns = Monotonic::ktime_get();
    }

    /// Returns whether the device has not done what it was told last. Then the DPC catches up.
    fn is_busy(&self, adapter: &Adapter<Gpu<'_>>, behind: &Atomic<bool>) -> bool {
        if self.fence == 0 {
            return false;
        }
        // First, as the DPC may run before the call returns.
        behind.store(true, Release);
        let look = Monotonic::ktime_get().saturating_sub(self.sent_ns) > LOST_NS;
        // A stopped device does nothing, and takes nothing.
        scheduler::enable_signaling(adapter, Node::Cursor, self.fence, look).unwrap_or(false)
    }
}

/// The cursors of all scanouts.
pub(crate) struct Cursors {
    list: [SetOnce<Arc<Cursor>>; MAX_SCANOUTS],
    /// The DPC sends what came of a cursor. Set by whoever finds the device busy, taken by the DPC.
    behind: Arc<Atomic<bool>>,
}

impl Cursors {
    /// Makes an empty list.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let cursors = Self {
            list: [const { SetOnce::new() }; MAX_SCANOUTS],
            behind: Arc::new(Atomic::new(false), GFP_KERNEL)?,
        };
        Ok(Arc::new(cursors, GFP_KERNEL)?)
    }

    /// Makes the cursor of a scanout, not shown, and adds it.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn add(&self, scanout: u32) -> Result<Arc<Cursor>> {
        let cursor = Cursor::new(scanout, self.behind.clone())?;
        if let Some(place) = self.list.get(u32_as_usize(scanout)) {
            place.populate(cursor.clone());
        }
        Ok(cursor)
    }
}

impl Deferred for Cursors {
    /// Sends what became of cursors while the device was busy with others, or with an image.
    fn run(&self, adapter: &Adapter<Gpu<'_>>) {
        if !self.behind.xchg(false, Full) {
            return;
        }
        for cursor in self.list.iter().filter_map(SetOnce::as_ref) {
            cursor.tell(&mut cursor.state.lock(), adapter);
        }
    }
}

impl Cursor {
    fn new(scanout_id: u32, behind: Arc<Atomic<bool>>) -> Result<Arc<Self>> {
        let hidden = hidden(scanout_id);
        let state = State {
            wanted: hidden,
            image: None,
            told: Some(hidden),
            fence: 0,
            sent_ns: 0,
        };
        let sending = Arc::new(Atomic::new(false), GFP_KERNEL)?;
        Arc::pin_init(
            pin_init!(Self {
                state <- new_mutex!(state, "rust_gpu::Cursor"),
                sending,
                behind,
            }),
            GFP_KERNEL,
        )
    }

    /// Has the cursor be `wanted` as soon as its image has arrived: either the caller is to send
    /// `image` with what this returns, or it is sent after the one before.
    ///
    /// Context: process.
    pub(crate) fn image(&self, wanted: UpdateCursor, image: &TransferToHost2d) -> Option<Mark> {
        let mut state = self.state.lock();
        state.wanted = wanted;
        state.told = None;
        if self.sending.load(Relaxed) {
            state.image = Some(*image);
            return None;
        }
        state.image = None;
        Some(self.begin())
    }

    /// Nothing is sent from here on, until what this returns is dropped: if that is done in the
    /// DPC, this sends what came of the cursor. If the image is lost, what comes next is shown
    /// without it. Lock of the state held.
    fn begin(&self) -> Mark {
        self.behind.store(true, Relaxed);
        Mark::new(&self.sending)
    }

    /// Shows `wanted`, whose image the device has; only moves the cursor where that is enough.
    ///
    /// Context: process.
    pub(crate) fn show(&self, adapter: &Adapter<Gpu<'_>>, wanted: UpdateCursor) {
        let mut state = self.state.lock();
        state.wanted = wanted;
        self.tell(&mut state, adapter);
    }

    /// Hides the cursor.
    ///
    /// Context: process.
    pub(crate) fn hide(&self, adapter: &Adapter<Gpu<'_>>) {
        let mut state = self.state.lock();
        state.image = None;
        state.wanted = hidden(state.wanted.scanout_id.into());
        self.tell(&mut state, adapter);
    }

    /// Tells the device of `state`, unless an image is on its way; sends the one of `state` first.
    fn tell(&self, state: &mut State, adapter: &Adapter<Gpu<'_>>) {
        if self.is_sending() {
            return;
        }
        match state.image.take() {
            Some(image) => {
                let completion = Completion::Mark(self.begin());
                let _ = send(adapter, Node::Control, &image, completion);
            }
            None => state.tell(adapter, &self.behind),
        }
    }

    /// Returns whether an image is on its way. Then the DPC catches up when it has arrived.
    fn is_sending(&self) -> bool {
        if !self.sending.load(Relaxed) {
            return false;
        }
        // Then once more: the DPC clears the one and looks at the other in the opposite order.
        self.behind.xchg(true, Full);
        self.sending.load(Relaxed)
    }
}

/// Returns the state of a cursor that is not shown.
fn hidden(scanout_id: u32) -> UpdateCursor {
    UpdateCursor {
        scanout_id: scanout_id.into(),
        resource_id: NO_RESOURCE.into(),
        ..Default::default()
    }
}

/// Sends a command, and returns its fence. If the queue is full, or there is no memory, the command
/// is lost.
fn send<C: Command>(
    adapter: &Adapter<Gpu<'_>>,
    node: Node,
    command: &C,
    completion: Completion,
) -> Option<u64> {
    let packet = adapter.miniport().packet(node, command, completion);
    scheduler::submit(adapter, node, packet.ok()?).ok()?.ok()
}
