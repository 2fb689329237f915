// SPDX-License-Identifier: GPL-2.0

//! What the screens show: the host's resources behind framebuffers, and the commands that bring the
//! state of a commit to the device.
//!
//! Each framebuffer that is shown has a resource of the host with the framebuffer's own pitch: the
//! device reads lines at the pitch of the resource. The resource reads from the pages of the
//! framebuffer's object, which [`resources`](crate::gpu::Attached) keeps until the device has let
//! go of them.
//!
//! The commands of a commit are sent in one batch: first all transfers, then what the scanouts
//! show, then all flushes; so no scanout shows a resource before it has its picture.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    drm::kms::{
        self,
        Commit,
        PlaneKind,
        PlaneUpdate, //
    },
    new_mutex,
    num::casts::u32_as_usize,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
};

use crate::{
    command::{
        Command,
        Format,
        MemEntry,
        ResourceAttachBacking,
        ResourceCreate2d,
        ResourceDetachBacking,
        ResourceFlush,
        ResourceUnref,
        Response,
        SetScanout,
        TransferToHost2d,
        MAX_SCANOUTS,
        NO_RESOURCE, //
    },
    gpu::{
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
    virtqueue::{
        Completion,
        DedicatedBuffer,
        Packet, //
    },
};

mod change;
mod cursor;
mod damage;
pub(crate) mod outputs;
pub(crate) mod panic;

use self::{
    change::{
        change,
        rect,
        scanout,
        wanted,
        whole,
        Change, //
    },
    cursor::Cursors,
    damage::Damage, //
};
pub(crate) use self::{
    cursor::Cursor,
    outputs::Outputs, //
};

/// `DRM_FORMAT_XRGB8888`.
pub(crate) const XRGB8888: u32 = u32::from_le_bytes(*b"XR24");

/// `DRM_FORMAT_ARGB8888`.
pub(crate) const ARGB8888: u32 = u32::from_le_bytes(*b"AR24");

/// Bytes of a pixel of both.
pub(crate) const BYTES_PER_PIXEL: u32 = 4;

/// Largest width and height of a mode, in pixels.
pub(crate) const MAX_SIDE: u32 = 8192;

/// Commands that are collected before they are sent: three for each of 16 scanouts, and as many
/// images of cursors.
const BATCH: usize = 64;

/// With fewer commands than this under way the control queue takes a commit, also if it has to keep
/// some of it: a quarter of `QUEUE_DEPTH` in `scheduler/queue.rs`.
const ROOM: u64 = 128;

/// What the driver keeps with a plane.
pub(crate) struct PlaneData {
    /// Index of its scanout.
    pub(crate) scanout: u32,
    /// The cursor of that scanout.
    pub(crate) cursor: Arc<Cursor>,
}

/// The display of one device.
#[pin_data]
pub(crate) struct Display<'a> {
    adapter: Arc<Adapter<Gpu<'a>>>,
    /// The cursors of all scanouts, also for the DPC.
    cursors: Arc<Cursors>,
    /// Last number given to a resource; they are not reused before they wrap.
    last_resource: Atomic<u32>,
    /// Held while resources are made, as several commits may want the same. `batch` is taken under
    /// it.
    #[pin]
    making: Mutex<()>,
    /// Commands on their way to the control queue. Message locks are taken under it, and that of
    /// the resources.
    #[pin]
    batch: Mutex<Batch>,
}

/// Commands on their way to the control queue.
struct Batch {
    /// In the order in which the device gets them.
    packets: Fifo<Packet>,
    /// What follows the transfers of the commit that is brought to the device, and what follows
    /// that; one for each scanout at the most. Empty between commits.
    scanouts: Fifo<SetScanout>,
    flushes: Fifo<ResourceFlush>,
    /// What changed lately on each scanout.
    damages: KVec<Damage>,
}

/// What came of sending a batch.
pub(crate) struct Sent {
    /// Fence of the last command.
    pub(crate) fence: u64,
    /// Whether commands are left that found no room.
    pub(crate) left: bool,
}

impl Sent {
    /// Nothing was sent by the control queue.
    const NOTHING: Self = Self {
        fence: 0,
        left: false,
    };
}

impl<'a> Display<'a> {
    /// Makes the display of a device that shows nothing.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn new(adapter: Arc<Adapter<Gpu<'a>>>) -> Result<Arc<Self>> {
        let batch = Batch {
            packets: Fifo::new(BATCH)?,
            scanouts: Fifo::new(MAX_SCANOUTS)?,
            flushes: Fifo::new(MAX_SCANOUTS)?,
            damages: Damage::all(MAX_SCANOUTS)?,
        };
        let cursors = Cursors::new()?;
        adapter.miniport().set_deferred(cursors.clone());
        Arc::pin_init(
            pin_init!(Self {
                adapter,
                cursors,
                last_resource: Atomic::new(NO_RESOURCE),
                making <- new_mutex!((), "rust_gpu::Display::making"),
                batch <- new_mutex!(batch, "rust_gpu::Display"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the cursors of all scanouts.
    pub(crate) fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    fn gpu(&self) -> &Gpu<'a> {
        self.adapter.miniport()
    }

    fn device(&self) -> &Device<Bound> {
        self.gpu().device()
    }

    /// Gives `framebuffer` a resource of the host if it has none, or none any more.
    ///
    /// Errors: [`ENOMEM`], and those of mapping the object. Context: process.
    pub(crate) fn attach(&self, framebuffer: &Framebuffer) -> Result {
        let _making = self.making.lock();
        let attached = self.gpu().attached();
        if attached.share(framebuffer) {
            return Ok(());
        }
        let id = self.new_resource();
        let (width, height) = (framebuffer.pitch() / BYTES_PER_PIXEL, framebuffer.height());
        let create = ResourceCreate2d {
            resource_id: id.into(),
            format: match framebuffer.format() {
                ARGB8888 => Format::B8G8R8A8.into(),
                _ => Format::B8G8R8X8.into(),
            },
            width: width.into(),
            height: height.into(),
        };
        let create = self
            .gpu()
            .packet(Node::Control, &create, Completion::Created(id))?;
        let attach = self.backing(id, framebuffer.object())?;
        attached.insert(id, framebuffer)?;

        let packets = &mut self.batch.lock().packets;
        self.queue(packets, Ok(create));
        self.queue(packets, Ok(attach));
        self.send(packets);
        Ok(())
    }

    /// Makes the packet that tells the device where the pages of `object` are.
    fn backing(&self, resource_id: u32, object: &Object) -> Result<Packet> {
        type Attach = ResourceAttachBacking;
        let table = object.sg_table(self.device())?;
        let count = table.iter().count();
        let payload = count.checked_mul(size_of::<MemEntry>()).ok_or(EOVERFLOW)?;
        let answer = <Attach as Command>::Response::SIZE;
        let dma = self.gpu().dma();
        let mut buffer = DedicatedBuffer::new(
            self.device(),
            dma,
            Attach::SIZE,
            payload,
            answer,
            GFP_KERNEL,
        )?;
        for (index, entry) in table.iter().enumerate() {
            let entry = MemEntry {
                addr: entry.dma_address().into(),
                length: u32::try_from(entry.dma_len())?.into(),
                ..Default::default()
            };
            buffer.write_payload(index * size_of::<MemEntry>(), entry.as_bytes())?;
        }
        let command = Attach {
            resource_id: resource_id.into(),
            nr_entries: u32::try_from(count)?.into(),
        };
        Packet::with_payload(buffer, &command)
    }

    /// Returns a number for a new resource.
    fn new_resource(&self) -> u32 {
        loop {
            let id = self.last_resource.fetch_add(1, Relaxed).wrapping_add(1);
            if id != NO_RESOURCE {
                return id;
            }
        }
    }

    /// Takes the resource of a framebuffer that nobody shows any more.
    ///
    /// Context: process.
    pub(crate) fn detach(&self, framebuffer: &Framebuffer) {
        if let Some(resource) = self.gpu().attached().leave(framebuffer) {
            self.unref(resource);
        }
    }

    /// The last handle of an object was closed.
    ///
    /// Context: process.
    pub(crate) fn close(&self, object: &Object) {
        if let Some(resource) = self.gpu().attached().close(object) {
            self.unref(resource);
        }
    }

    /// Has the host forget a resource that nobody uses any more.
    fn unref(&self, resource_id: u32) {
        let packets = &mut self.batch.lock().packets;
        let detach = ResourceDetachBacking {
            resource_id: resource_id.into(),
            ..Default::default()
        };
        let unref = ResourceUnref {
            resource_id: resource_id.into(),
            ..Default::default()
        };
        self.control(packets, &detach, Completion::None);
        // If this one is lost the object stays until the device is reset.
        let completion = Completion::Destroyed(resource_id);
        self.control(packets, &unref, completion);
        self.send(packets);
    }

    /// Returns whether the device has room for a commit: no commit waits for it then.
    ///
    /// Context: process.
    pub(crate) fn has_room(&self) -> bool {
        scheduler::known_fences(&*self.adapter, Node::Control)
            .is_ok_and(|(completed, submitted)| submitted - completed < ROOM)
    }

    /// Brings the state of `commit` to the device. If that is to be `quiet` the device need not
    /// tell when it is done, before the next [`vsync`](Self::vsync) or [`listen`](Self::listen).
    ///
    /// Context: process; does not wait for the device.
    pub(crate) fn show(&self, commit: &Commit<'_, RustGpuDriver>, quiet: bool) -> Sent {
        for update in commit.crtcs() {
            if update.old_active() != update.active() {
                let target = update.crtc().index();
                scheduler::control_vsync(&*self.adapter, target, update.active());
            }
        }
        let mut batch = self.batch.lock();
        let Batch {
            packets,
            scanouts,
            flushes,
            damages,
        } = &mut *batch;
        let mut quiet = quiet;
        for update in commit.planes() {
            let mut change = change(commit, &update);
            if update.plane().kind() == PlaneKind::Cursor {
                if let Change::Show(framebuffer, part, _) = &change {
                    // The command that shows the image of a cursor waits for its transfer.
                    quiet = false;
                    self.transfer(packets, &update, framebuffer, part);
                }
                self.cursor(&update, &change);
                continue;
            }
            if let Some(damage) = damages.get_mut(u32_as_usize(update.plane().scanout)) {
                self.fill(packets, damage, &update, &mut change);
            }
            // There is room, as there is one primary plane for each scanout.
            if let Some(scanout) = scanout(&update, &change) {
                let _ = scanouts.push(scanout);
            }
            if let Change::Show(framebuffer, part, _) = change {
                let _ = flushes.push(ResourceFlush {
                    r: rect(&part),
                    resource_id: framebuffer.resource().into(),
                    ..Default::default()
                });
            }
        }
        while let Some(scanout) = scanouts.pop() {
            self.control(packets, &scanout, Completion::None);
        }
        while let Some(flush) = flushes.pop() {
            self.control(packets, &flush, Completion::None);
        }
        self.send_all(packets, quiet)
    }

    /// Tells the scheduler of a vertical retrace of a scanout. Looks for what the device completed
    /// if there is somebody to `look` for.
    ///
    /// Returns the last fence of the control queue that is known to be complete; 0 if the device is
    /// stopped.
    ///
    /// Context: as [`scheduler::report_vsync`].
    pub(crate) fn vsync(&self, scanout: u32, look: bool) -> u64 {
        scheduler::report_vsync(&*self.adapter, scanout, look).map_or(0, |(_, completed)| completed)
    }

    /// Has the device tell when it is done with what it has.
    ///
    /// Context: process.
    pub(crate) fn listen(&self) {
        let _ = scheduler::query_current_fence(&*self.adapter, Node::Control);
    }

    /// Brings the state of a cursor, whose framebuffer is attached, to the device.
    ///
    /// Context: process; does not wait for the device.
    pub(crate) fn show_cursor(&self, update: &PlaneUpdate<'_, RustGpuDriver>) -> Sent {
        match update.new().framebuffer() {
            Some(framebuffer) if update.framebuffer_changed() => {
                let packets = &mut self.batch.lock().packets;
                self.transfer(packets, update, framebuffer, &whole(framebuffer));
                self.send(packets)
            }
            Some(framebuffer) => {
                let wanted = wanted(update, framebuffer);
                update.plane().cursor.show(&self.adapter, wanted);
                Sent::NOTHING
            }
            None => Sent::NOTHING,
        }
    }

    /// Sends commands that found no room before.
    ///
    /// Context: process.
    pub(crate) fn send_rest(&self) -> Sent {
        self.send(&mut self.batch.lock().packets)
    }

    /// Forgets what the device was told, and was to be told: it was reset and knows nothing of it.
    /// Framebuffers get new resources when they are shown next. All CRTCs are off: that has made
    /// the cursors and the damage forget what they knew.
    ///
    /// Context: process.
    pub(crate) fn forget(&self) {
        let packets = &mut self.batch.lock().packets;
        while packets.pop().is_some() {}
        self.gpu().attached().clear();
    }

    /// Gives the commands up that found no room.
    ///
    /// Context: process.
    pub(crate) fn give_up(&self) {
        let mut batch = self.batch.lock();
        if !batch.packets.is_empty() {
            dev_warn!(self.device(), "the device is stuck: commands are lost\n");
        }
        while batch.packets.pop().is_some() {}
        batch.damages.iter_mut().for_each(Damage::forget);
    }

    /// Has the device read what it lacks of the framebuffer that a scanout is to show. That is what
    /// changed of it then.
    fn fill(
        &self,
        batch: &mut Fifo<Packet>,
        damage: &mut Damage,
        update: &PlaneUpdate<'_, RustGpuDriver>,
        change: &mut Change<'_>,
    ) {
        let (framebuffer, part) = match change {
            Change::Nothing => return,
            Change::Off => return damage.forget(),
            Change::Show(framebuffer, part, _) => (*framebuffer, part),
        };
        let (old, new) = (update.old(), update.new());
        if old.framebuffer().is_none() || old.src() != new.src() {
            damage.forget();
        }
        let again = !update.framebuffer_changed();
        *part = self
            .gpu()
            .attached()
            .with_frame(framebuffer.resource(), |held| {
                damage.show(held, *part, new.src(), again)
            });
        if !self.transfer(batch, update, framebuffer, part) {
            damage.forget();
        }
    }

    /// Has the device read a part of a framebuffer. Returns false if that is lost.
    fn transfer(
        &self,
        batch: &mut Fifo<Packet>,
        update: &PlaneUpdate<'_, RustGpuDriver>,
        framebuffer: &Framebuffer,
        part: &kms::Rect,
    ) -> bool {
        // Fails only for an object that was never mapped, and then there is no resource.
        let _ = framebuffer.object().sync_for_device(self.device());
        let r = rect(part);
        let offset = u64::from(framebuffer.offset())
            + u64::from(framebuffer.pitch()) * u64::from(r.y)
            + u64::from(r.x) * u64::from(BYTES_PER_PIXEL);
        let command = TransferToHost2d {
            r,
            offset: offset.into(),
            resource_id: framebuffer.resource().into(),
            ..Default::default()
        };
        let completion = match update.plane().kind() {
            PlaneKind::Cursor => {
                let wanted = wanted(update, framebuffer);
                match update.plane().cursor.image(wanted, &command) {
                    Some(image) => Completion::Mark(image),
                    None => return true,
                }
            }
            PlaneKind::Primary => Completion::None,
        };
        self.control(batch, &command, completion)
    }

    /// Moves a cursor, or hides it; a new image follows its transfer.
    fn cursor(&self, update: &PlaneUpdate<'_, RustGpuDriver>, change: &Change<'_>) {
        let cursor = &update.plane().cursor;
        match (update.new().framebuffer(), change) {
            (_, Change::Off) | (None, _) => cursor.hide(&self.adapter),
            (Some(framebuffer), _) if !update.framebuffer_changed() => {
                cursor.show(&self.adapter, wanted(update, framebuffer));
            }
            _ => {}
        }
    }

    /// Appends a command for the control queue. Returns as [`queue`](Self::queue).
    fn control<C: Command>(
        &self,
        batch: &mut Fifo<Packet>,
        command: &C,
        completion: Completion,
    ) -> bool {
        let packet = self.gpu().packet(Node::Control, command, completion);
        self.queue(batch, packet)
    }

    /// Appends a packet, after sending some if there is no room. Commits cannot fail: without
    /// memory, or with a device that takes nothing, the packet is lost, and this returns false.
    fn queue(&self, batch: &mut Fifo<Packet>, packet: Result<Packet>) -> bool {
        if batch.is_full() {
            self.send(batch);
        }
        let queued = packet.and_then(|packet| batch.push(packet).map_err(|_| ENOSPC));
        if queued.is_err() && self.gpu().is_first_failure() {
            dev_warn!(self.device(), "no room for a command\n");
        }
        queued.is_ok()
    }

    /// Sends what was collected, with one kick.
    fn send(&self, batch: &mut Fifo<Packet>) -> Sent {
        self.send_all(batch, false)
    }

    /// The same. For `quiet` see [`scheduler::submit_batch`].
    fn send_all(&self, batch: &mut Fifo<Packet>, quiet: bool) -> Sent {
        let interrupt = match quiet {
            true => Interrupt::Suppressed,
            false => Interrupt::Wanted,
        };
        let sent = scheduler::submit_batch(&*self.adapter, Node::Control, batch, interrupt);
        let fence = sent.unwrap_or(0);
        Sent {
            fence,
            left: !batch.is_empty(),
        }
    }
}
