// SPDX-License-Identifier: GPL-2.0

//! [`Follow`] makes the device follow the state of the display: it sends what each screen and each
//! cursor lacks, and lets the device forget resources that nobody uses, as far as there is room.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    drm::kms,
    prelude::*,
    sync::Arc,
    time::{
        ClockSource,
        Monotonic, //
    },
};

use crate::{
    command::{
        Command,
        MoveCursor,
        ResourceDetachBacking,
        ResourceFlush,
        ResourceUnref,
        TransferToHost2d, //
    },
    gpu::{
        Gpu,
        Resource,
        Told,
        BYTES_PER_PIXEL, //
    },
    irq::Adapter,
    scheduler::{
        self,
        Fifo,
        Interrupt,
        Node, //
    },
    virtqueue::{
        Batch,
        Completion,
        Packet, //
    },
};

use super::{
    backing::attach_command,
    change::rect,
    cursor::{
        self,
        Cursor, //
    },
    damage::NOTHING,
    screen::{
        Caller,
        Screen,
        Shown,
        Step, //
    }, //
};

/// Commands that a screen needs at once: create, transfer, scanout and flush. The list of pages is
/// in memory of its own.
const SCREEN_COMMANDS: u32 = 4;

/// Commands that a cursor needs at once: create and transfer.
const CURSOR_COMMANDS: u32 = 2;

/// Commands that destroy a resource.
const DESTROY_COMMANDS: u32 = 2;

/// Room for the commands of all screens, all cursors, and some resources that go.
pub(super) const PACKETS: usize = 128;

/// One round in which the device follows.
pub(super) struct Follow<'f, 'a> {
    pub(super) adapter: &'f Adapter<Gpu<'a>>,
    pub(super) packets: &'f mut Fifo<Packet>,
    /// On whose behalf.
    pub(super) caller: Caller,
    /// The DPC has to run when the device is done.
    pub(super) wants_dpc: bool,
}

impl<'a> Follow<'_, 'a> {
    fn gpu(&self) -> &Gpu<'a> {
        self.adapter.miniport()
    }

    fn device(&self) -> &Device<Bound> {
        self.gpu().device()
    }

    /// Sends what `screen` lacks.
    pub(super) fn screen(&mut self, screen: &mut Screen) {
        if !screen.needs_look() || self.is_busy(screen.batch()) {
            return;
        }
        let can_follow = screen.can_follow(Monotonic::ktime_get, self.caller);
        if !can_follow || !screen.is_behind() || !self.has_room(SCREEN_COMMANDS) {
            return;
        }
        match self.send_screen(screen) {
            Ok(()) => screen.sent(),
            // Tried again later, as after a refusal.
            Err(_) => screen.refused(Monotonic::ktime_get()),
        }
    }

    fn send_screen(&mut self, screen: &Screen) -> Result {
        let batch = screen.batch().clone();
        let Some(shown) = screen.wanted() else {
            return self.control(&screen.set_scanout(), Batch::add(&batch));
        };
        if let Some(own) = shown.own {
            return self.send_own(screen, &shown, own.incarnation);
        }
        let gpu = self.adapter.miniport();
        let frame = screen.frame();
        let sent: Option<Result<Step>> = gpu.resources().with(shown.resource, |resource| {
            self.make(shown.resource, resource)?;
            let step = screen.next(&shown, resource.frame(screen.scanout()));
            self.transfer(shown.resource, resource, &step.transfer, &batch)?;
            resource.set_frame(screen.scanout(), frame);
            Ok(step)
        });
        // No resource: the device was broken or gone when the framebuffer was prepared, and there
        // was no room or no memory. To try again is of no use: only a commit can prepare it.
        let Some(step) = sent else {
            return Ok(());
        };
        let step = step?;
        if step.set_scanout {
            self.control(&screen.set_scanout(), Batch::add(&batch))?;
        }
        let flush = ResourceFlush {
            r: rect(&step.flush),
            resource_id: shown.resource.into(),
            ..Default::default()
        };
        self.control(&flush, Batch::add(&batch))
    }

    /// Sends what `screen` lacks, which shows a resource of the 3D side: the host draws into that,
    /// so nothing is transferred. If a reset has lost it the screen is dark.
    fn send_own(&mut self, screen: &Screen, shown: &Shown, incarnation: u64) -> Result {
        let batch = screen.batch().clone();
        if incarnation != self.gpu().incarnation() {
            return self.control(&screen.set_dark(), Batch::add(&batch));
        }
        if screen.lacks_scanout() {
            self.control(&screen.set_scanout(), Batch::add(&batch))?;
        }
        let flush = ResourceFlush {
            r: rect(&shown.src),
            resource_id: shown.resource.into(),
            ..Default::default()
        };
        self.control(&flush, Batch::add(&batch))
    }

    /// Sends what `cursor` lacks.
    pub(super) fn cursor(&mut self, cursor: &mut Cursor) {
        cursor.hide_lost(self.gpu().incarnation());
        if !cursor.needs_look() || self.is_busy(cursor.batch()) {
            return;
        }
        let Some(step) = cursor.next(Monotonic::ktime_get, self.caller) else {
            return;
        };
        let sent = match step {
            cursor::Step::Image if !self.has_room(CURSOR_COMMANDS) => return,
            cursor::Step::Image => self.send_image(cursor),
            _ if !self.gpu().await_slots(Node::Cursor, 1) => return,
            cursor::Step::Update => self.send_cursor(cursor.wanted(), cursor.batch()),
            cursor::Step::Move => {
                self.send_cursor(&MoveCursor::from(*cursor.wanted()), cursor.batch())
            }
        };
        match sent {
            Ok(()) => cursor.sent(step),
            Err(_) => cursor.refused(Monotonic::ktime_get()),
        }
        if step == cursor::Step::Image {
            // The DPC shows it.
            self.is_busy(cursor.batch());
        }
    }

    fn send_image(&mut self, cursor: &Cursor) -> Result {
        let (id, batch) = (cursor.resource(), cursor.batch().clone());
        let gpu = self.adapter.miniport();
        let sent = gpu.resources().with(id, |resource| {
            self.make(id, resource)?;
            let all = resource.all();
            // Each image is another one, also in the same framebuffer.
            self.transfer(id, resource, &all, &batch)
        });
        sent.unwrap_or(Ok(()))
    }

    /// Sends one command of the cursor queue. It is sent alone, and not with a batch: the device is
    /// told at once.
    fn send_cursor<C: Command>(&self, command: &C, batch: &Arc<Batch>) -> Result {
        let packet = self
            .gpu()
            .packet(Node::Cursor, command, Batch::add(batch))?;
        scheduler::submit(self.adapter, Node::Cursor, packet)?.map_err(|_| EBUSY)?;
        Ok(())
    }

    /// Lets the device forget resources that nobody uses. The DPC goes on with those that are left.
    pub(super) fn destroy_unused(&mut self, screens: &[Screen], cursors: &[Cursor]) {
        let gpu = self.adapter.miniport();
        let is_used = |id| {
            screens.iter().any(|screen| screen.shows(id))
                || cursors.iter().any(|cursor| cursor.uses(id))
        };
        // Half of the slots are left to screens and cursors.
        let count = DESTROY_COMMANDS + gpu.slots(Node::Control) / 2;
        while gpu.resources().has_unused() {
            gpu.set_deferred_due();
            if !self.has_room(count) {
                return;
            }
            let Some(id) = gpu.resources().next_unused(is_used) else {
                return;
            };
            self.wants_dpc = true;
            // If these find no room, the resource stays until the device is reset.
            let _ = self.destroy(id);
        }
    }

    fn destroy(&mut self, id: u32) -> Result {
        let detach = ResourceDetachBacking {
            resource_id: id.into(),
            ..Default::default()
        };
        let unref = ResourceUnref {
            resource_id: id.into(),
            ..Default::default()
        };
        self.control(&detach, Completion::None)?;
        self.control(&unref, Completion::Destroyed(id))
    }

    /// Tells the device of a resource of which it does not know all.
    fn make(&mut self, id: u32, resource: &mut Resource) -> Result {
        if resource.created == Told::No {
            self.control(&resource.create_command(id), Completion::Created(id))?;
            resource.created = Told::Sent;
        }
        if resource.attached == Told::No {
            let list = resource.take_list().ok_or(EAGAIN)?;
            let attach = attach_command(id, list.payload_len())?;
            let completion = Completion::Attached(id);
            self.push(Packet::with_payload(list, &attach, completion)?)?;
            resource.attached = Told::Sent;
        }
        Ok(())
    }

    /// Transfers a part of a resource to the host.
    fn transfer(
        &mut self,
        id: u32,
        resource: &Resource,
        part: &kms::Rect,
        batch: &Arc<Batch>,
    ) -> Result {
        if *part == NOTHING {
            return Ok(());
        }
        // Fails only for an object that was never mapped, and then there is no resource.
        let _ = resource.object().sync_for_device(self.device());
        let (layout, r) = (resource.layout(), rect(part));
        let offset = u64::from(layout.offset)
            + u64::from(layout.pitch) * u64::from(r.y)
            + u64::from(r.x) * u64::from(BYTES_PER_PIXEL);
        let command = TransferToHost2d {
            r,
            offset: offset.into(),
            resource_id: id.into(),
            ..Default::default()
        };
        self.control(&command, Batch::add(batch))
    }

    /// Returns whether the device has not answered all of `batch`. If so, the DPC runs when it has.
    fn is_busy(&mut self, batch: &Batch) -> bool {
        if batch.is_idle() {
            return false;
        }
        // First, as the DPC may run before the call returns.
        self.gpu().set_deferred_due();
        let busy = batch.await_idle();
        self.wants_dpc |= busy;
        busy
    }

    /// Returns whether there is room for `count` commands. If not, the DPC runs when there is.
    fn has_room(&mut self, count: u32) -> bool {
        if !self.gpu().await_slots(Node::Control, count) {
            self.wants_dpc = true;
            return false;
        }
        // One more for the list of pages.
        if self.packets.free() <= usize::try_from(count).unwrap_or(usize::MAX) {
            self.send(Interrupt::Wanted);
        }
        true
    }

    fn control<C: Command>(&mut self, command: &C, completion: Completion) -> Result {
        let packet = self.gpu().packet(Node::Control, command, completion)?;
        self.push(packet)
    }

    fn push(&mut self, packet: Packet) -> Result {
        self.packets.push(packet).map_err(|_| EBUSY)
    }

    /// Sends what was collected, with one kick.
    pub(super) fn send(&mut self, interrupt: Interrupt) {
        let interrupt = match self.wants_dpc {
            true => Interrupt::Wanted,
            false => interrupt,
        };
        if self.packets.is_empty() {
            if self.wants_dpc {
                // The last batch may have been sent without an interrupt.
                let _ = scheduler::query_current_fence(self.adapter, Node::Control);
            }
            return;
        }
        let sent = scheduler::submit_batch(self.adapter, Node::Control, self.packets, interrupt);
        if sent.is_err() {
            // Stopped: all is told anew when it starts.
            while self.packets.pop().is_some() {}
        }
        if !self.packets.is_empty() {
            self.gpu().set_deferred_due();
        }
    }
}
