// SPDX-License-Identifier: GPL-2.0

//! [`Display`] keeps what the screens should show and what the device was told of it, and makes the
//! second follow the first.
//!
//! A commit changes the state of screens and cursors and then calls [`State::follow`], which sends
//! what the device lacks, as far as there is room. The DPC calls it when there is room again, and
//! the clock when something that the device refused is tried again. Nobody waits. A restore after a
//! reset is [`Deferred::reset`] and [`Deferred::restart`]: the device was told nothing, so it lacks
//! everything.
//!
//! Each framebuffer that is shown has a resource of the host with the framebuffer's own pitch: the
//! device reads lines at the pitch of the resource. The resource reads from the pages of the
//! framebuffer's object, see [`resources`](crate::gpu::ResourceTable).

use kernel::{
    drm::kms::{
        Commit,
        PlaneKind,
        PlaneUpdate, //
    },
    new_mutex,
    num::casts::u32_as_usize,
    prelude::*,
    rbtree::RBTreeNodeReservation,
    sync::{
        atomic::Atomic,
        Arc,
        Mutex, //
    },
};

use crate::{
    command::MAX_SCANOUTS,
    gpu::{
        Deferred,
        Framebuffer,
        Gpu,
        Object,
        RustGpuDriver, //
    },
    irq::Adapter,
    scheduler::{
        self,
        Fifo,
        Interrupt,
        Node, //
    },
    virtqueue::Packet, //
};

mod backing;
mod change;
mod cursor;
mod damage;
mod follow;
pub(crate) mod formats;
pub(crate) mod outputs;
pub(crate) mod panic;
mod screen;

#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
pub(crate) use self::backing::{
    any_list as list_any_pages,
    attach_command,
    attach_list as list_pages,
    PieceList, //
};
use self::{
    backing::attach_list,
    change::{
        change,
        wanted_cursor,
        Change, //
    },
    cursor::Cursor,
    follow::{
        Follow,
        PACKETS, //
    },
    screen::{
        Caller,
        Screen,
        Shown, //
    },
};
pub(crate) use self::{
    formats::Formats,
    outputs::Outputs,
    screen::Progress, //
};

/// Smallest width and height of a mode, in pixels: QEMU refuses scanouts that are smaller.
pub(crate) const MIN_SIDE: u32 = 16;

/// Largest width and height of a mode, in pixels.
pub(crate) const MAX_SIDE: u32 = 8192;

/// Largest width and height of a framebuffer, in pixels. It may span several screens.
pub(crate) const MAX_FRAMEBUFFER_SIDE: u32 = 16384;

/// Size of a scanout for which the device has no wish, in pixels.
pub(crate) const DEFAULT_SIZE: (u32, u32) = (1024, 768);

/// What the driver keeps with a plane.
pub(crate) struct PlaneData {
    /// Index of its scanout.
    pub(crate) scanout: u32,
    /// When its last framebuffer was prepared, in nanoseconds of CLOCK_MONOTONIC: about when the
    /// commit was asked for.
    pub(crate) prepared: Atomic<i64>,
}

/// The state of the display, and what the device was told of it.
struct State {
    screens: KVec<Screen>,
    cursors: KVec<Cursor>,
    /// Commands on their way to the control queue, in their order.
    packets: Fifo<Packet>,
    /// The device was reset, and not started since: it takes nothing.
    stopped: bool,
    /// Scanouts whose vertical retraces are reported, one bit each.
    vsync_targets: u32,
}

impl State {
    /// Takes over what a commit does to a plane.
    fn update(&mut self, update: &PlaneUpdate<'_, RustGpuDriver>, change: &Change<'_>) {
        let index = u32_as_usize(update.plane().scanout);
        match update.plane().kind() {
            PlaneKind::Cursor => {
                if let Some(cursor) = self.cursors.get_mut(index) {
                    update_cursor(cursor, update, matches!(change, Change::Off));
                }
            }
            PlaneKind::Primary => match (self.screens.get_mut(index), change) {
                (Some(screen), Change::Off) => screen.blank(),
                (
                    Some(screen),
                    Change::Show {
                        framebuffer,
                        part,
                        modeset,
                    },
                ) => {
                    let shown = Shown {
                        resource: framebuffer.resource(PlaneKind::Primary),
                        own: framebuffer.object().own(),
                        src: update.new().src(),
                    };
                    screen.update(shown, *part, *modeset);
                }
                _ => {}
            },
        }
    }

    /// Makes the device follow, as far as there is room. For `interrupt` see
    /// [`scheduler::submit_batch`].
    ///
    /// Returns whether the clock is needed: the device refuses something.
    fn follow(&mut self, adapter: &Adapter<Gpu<'_>>, caller: Caller, interrupt: Interrupt) -> bool {
        if self.stopped || adapter.miniport().fences().check().is_err() {
            // Stopped, broken or gone: it takes nothing.
            return false;
        }
        let mut follow = Follow {
            adapter,
            packets: &mut self.packets,
            caller,
            wants_dpc: false,
        };
        for screen in &mut self.screens {
            follow.screen(screen);
        }
        for cursor in &mut self.cursors {
            follow.cursor(cursor);
        }
        follow.destroy_unused(&self.screens, &self.cursors);
        follow.send(interrupt);
        #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
        if adapter.miniport().resources().has_retired() {
            // Maybe they waited until nothing shows them.
            adapter.miniport().fences().submission_event().signal();
        }
        self.screens.iter().any(Screen::is_refused) || self.cursors.iter().any(Cursor::is_refused)
    }

    /// Turns the reporting of vertical retraces of a scanout on or off.
    fn control_vsync(&mut self, adapter: &Adapter<Gpu<'_>>, target: u32, on: bool) {
        let bit = 1u32.checked_shl(target).unwrap_or(0);
        match on {
            true => self.vsync_targets |= bit,
            false => self.vsync_targets &= !bit,
        }
        scheduler::control_vsync(adapter, target, on);
    }

    /// Returns the resource that a screen or a cursor should show. All have numbers; [`None`] is
    /// after the last one.
    fn wanted(&self, index: usize) -> Option<u32> {
        match self.screens.get(index) {
            Some(screen) => Some(screen.wanted_resource()),
            None => self
                .cursors
                .get(index - self.screens.len())
                .map(Cursor::resource),
        }
    }
}

/// Takes over what a commit does to the plane of `cursor`, or that it is switched `off`.
fn update_cursor(cursor: &mut Cursor, update: &PlaneUpdate<'_, RustGpuDriver>, off: bool) {
    match update.new().framebuffer() {
        Some(framebuffer) if !off => {
            let wanted = wanted_cursor(update, framebuffer);
            let own = framebuffer.object().own();
            cursor.update(wanted, update.framebuffer_changed(), own);
        }
        _ => cursor.hide(),
    }
}

/// The state of the display, also for the DPC.
#[pin_data]
struct Screens {
    /// Taken by commits, by the DPC and by the clock. The lock of the resources and message locks
    /// are taken under it. Nothing is allocated under it.
    #[pin]
    state: Mutex<State>,
}

impl Screens {
    /// Makes the lists of pages that the device needs for what screens and cursors show: it was
    /// reset, and nobody commits a picture that does not change. Returns whether all are there.
    fn make_lists(&self, gpu: &Gpu<'_>) -> bool {
        let mut complete = true;
        for index in 0.. {
            let Some(id) = self.state.lock().wanted(index) else {
                break;
            };
            let Some(object) = gpu.resources().lacks_list(id) else {
                continue;
            };
            match attach_list(gpu, &object) {
                Ok(list) => gpu.resources().set_list(id, list),
                Err(_) => complete = false,
            }
        }
        complete
    }
}

impl Deferred for Screens {
    /// Sends what found no room before, or had to wait for an answer.
    fn run(&self, adapter: &Adapter<Gpu<'_>>) {
        let mut state = self.state.lock();
        if state.follow(adapter, Caller::Dpc, Interrupt::Wanted) {
            adapter.miniport().arm_watchdog();
        }
    }

    fn reset(&self, adapter: &Adapter<Gpu<'_>>) {
        let mut state = self.state.lock();
        state.stopped = true;
        while state.packets.pop().is_some() {}
        state.screens.iter_mut().for_each(Screen::invalidate);
        state.cursors.iter_mut().for_each(Cursor::invalidate);
        drop(state);
        adapter.miniport().resources().invalidate();
    }

    fn restart(&self, adapter: &Adapter<Gpu<'_>>) {
        // What has no memory now is tried again at each tick.
        self.make_lists(adapter.miniport());
        let mut state = self.state.lock();
        state.stopped = false;
        for target in 0..u32::BITS {
            let on = state.vsync_targets & (1 << target) != 0;
            scheduler::control_vsync(adapter, target, on);
        }
        if state.follow(adapter, Caller::Clock, Interrupt::Wanted) {
            adapter.miniport().arm_watchdog();
        }
    }

    #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
    fn shows(&self, resource: u32) -> bool {
        let state = self.state.lock();
        // What is not sent is not known yet.
        !state.packets.is_empty()
            || state.screens.iter().any(|screen| screen.shows(resource))
            || state.cursors.iter().any(|cursor| cursor.uses(resource))
    }

    /// Sends what the device refused before. Frees what the device let go of.
    fn tick(&self, adapter: &Adapter<Gpu<'_>>) -> bool {
        #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
        adapter.miniport().catch_up(adapter);
        adapter.miniport().resources().sweep();
        let complete = self.make_lists(adapter.miniport());
        let mut state = self.state.lock();
        state.follow(adapter, Caller::Clock, Interrupt::Wanted) || !complete
    }
}

/// The display of one device.
pub(crate) struct Display<'a> {
    adapter: Arc<Adapter<Gpu<'a>>>,
    screens: Arc<Screens>,
}

impl<'a> Display<'a> {
    /// Makes the display of a device that shows nothing on its `scanouts` scanouts.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn new(adapter: Arc<Adapter<Gpu<'a>>>, scanouts: u32) -> Result<Arc<Self>> {
        let count = u32_as_usize(scanouts).min(MAX_SCANOUTS);
        let mut screens = KVec::with_capacity(count, GFP_KERNEL)?;
        let mut cursors = KVec::with_capacity(count, GFP_KERNEL)?;
        for scanout in (0..scanouts).take(count) {
            screens.push(Screen::new(scanout)?, GFP_KERNEL)?;
            cursors.push(Cursor::new(scanout)?, GFP_KERNEL)?;
        }
        let state = State {
            screens,
            cursors,
            packets: Fifo::new(PACKETS)?,
            stopped: false,
            vsync_targets: 0,
        };
        let screens = Arc::pin_init(
            pin_init!(Screens {
                state <- new_mutex!(state, "rust_gpu::Screens"),
            }),
            GFP_KERNEL,
        )?;
        adapter.miniport().set_deferred(screens.clone());
        Ok(Arc::new(Self { adapter, screens }, GFP_KERNEL)?)
    }

    fn gpu(&self) -> &Gpu<'a> {
        self.adapter.miniport()
    }

    /// Returns how far the device is with the frames of a scanout.
    ///
    /// Errors: [`EINVAL`] if there is no such scanout. Context: process.
    pub(crate) fn progress(&self, scanout: u32) -> Result<Arc<Progress>> {
        let state = self.screens.state.lock();
        let screen = state.screens.get(u32_as_usize(scanout)).ok_or(EINVAL)?;
        Ok(screen.progress().clone())
    }

    /// Gives `framebuffer` a resource for planes of this kind of which the device can be told, if
    /// it has none: all that a commit that shows it there needs. A broken device is told of it when
    /// it is revived; until then nothing here is an error, and without a resource the screen is
    /// dark afterwards, until the next commit.
    ///
    /// Errors: [`EBUSY`] while the device holds too many resources that nobody uses any more,
    /// [`E2BIG`] if the object has more pieces than the device takes, [`ENOMEM`], and those of
    /// mapping the object. Context: process; does not wait for the device.
    pub(crate) fn prepare(&self, framebuffer: &Framebuffer, kind: PlaneKind) -> Result {
        let resources = self.gpu().resources();
        if let Some(own) = framebuffer.object().own() {
            // It is a resource already.
            framebuffer.set_resource(kind, own.id);
            return Ok(());
        }
        let fences = self.gpu().fences();
        if resources.share(framebuffer, kind) || fences.is_unplugged() {
            return Ok(());
        }
        match self.make_resource(framebuffer, kind) {
            Err(_) if fences.check().is_err() => Ok(()),
            result => result,
        }
    }

    /// Gives `framebuffer` a resource, or the one that it has a list of the pages.
    ///
    /// Errors and context: as [`Self::prepare`].
    fn make_resource(&self, framebuffer: &Framebuffer, kind: PlaneKind) -> Result {
        let resources = self.gpu().resources();
        resources.sweep();
        if !resources.has_room() {
            return Err(EBUSY);
        }
        let list = attach_list(self.gpu(), framebuffer.object())?;
        let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
        resources.insert(node, framebuffer, kind, list);
        Ok(())
    }

    /// A framebuffer that nobody shows any more is destroyed.
    ///
    /// Context: process; does not wait for the device.
    pub(crate) fn detach(&self, framebuffer: &Framebuffer) {
        if self.gpu().resources().leave(framebuffer) {
            self.release();
        }
    }

    /// The last handle of an object was closed.
    ///
    /// Context: process; does not wait for the device.
    pub(crate) fn close(&self, object: &Object) {
        if self.gpu().resources().close_object(object) {
            self.release();
        }
    }

    /// Lets the device forget what nobody uses, now or when there is room.
    fn release(&self) {
        self.gpu().resources().sweep();
        self.follow(&mut self.screens.state.lock(), Interrupt::Wanted);
    }

    fn follow(&self, state: &mut State, interrupt: Interrupt) {
        if state.follow(&self.adapter, Caller::Commit, interrupt) {
            self.gpu().arm_watchdog();
        }
    }

    /// Makes the device show the state of `commit`. With [`Interrupt::Suppressed`] it need not
    /// interrupt when it is done, before the next [`vsync`](Self::vsync) or [`poll`](Self::poll).
    ///
    /// Context: process; does not allocate, and does not wait for the device.
    pub(crate) fn commit(&self, commit: &Commit<'_, RustGpuDriver>, interrupt: Interrupt) {
        let mut state = self.screens.state.lock();
        for update in commit.crtcs() {
            if update.old_active() != update.active() {
                state.control_vsync(&self.adapter, update.crtc().index(), update.active());
            }
        }
        for update in commit.planes() {
            state.update(&update, &change(commit, &update));
        }
        self.follow(&mut state, interrupt);
    }

    /// Tells the scheduler of a vertical retrace of a scanout. With `poll` it polls the device
    /// first.
    ///
    /// Context: as [`scheduler::report_vsync`].
    pub(crate) fn vsync(&self, scanout: u32, poll: bool) {
        let _ = scheduler::report_vsync(&*self.adapter, scanout, poll);
    }

    /// Polls the device. It interrupts again for what it has.
    ///
    /// Context: process.
    pub(crate) fn poll(&self) {
        let _ = scheduler::query_current_fence(&*self.adapter, Node::Control);
    }

    /// Returns whether the device shows the last frames of all screens, or will not.
    ///
    /// Context: process.
    pub(crate) fn is_shown(&self) -> bool {
        let state = self.screens.state.lock();
        state.screens.iter().all(Screen::is_shown)
    }

    /// Makes the device show the new state of a cursor, whose framebuffer was prepared.
    ///
    /// Context: process; does not allocate, and does not wait for the device.
    pub(crate) fn move_cursor(&self, update: &PlaneUpdate<'_, RustGpuDriver>) {
        let mut state = self.screens.state.lock();
        let index = u32_as_usize(update.plane().scanout);
        if let Some(cursor) = state.cursors.get_mut(index) {
            update_cursor(cursor, update, false);
        }
        self.follow(&mut state, Interrupt::Wanted);
    }
}
