// SPDX-License-Identifier: GPL-2.0

//! [`Context`] is the context that an open file has in the host, and the resources that it may use
//! there: those of the objects of which the file has handles.
//!
//! The host gets it when the file needs it. What the file opened before is attached then.

use kernel::{
    current,
    dma_buf::Usage,
    drm::gem::BaseObject,
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        SetOnce, //
    },
};

use crate::{
    command::{
        CtxAttachResource,
        CtxCreate,
        CtxDestroy,
        CtxDetachResource,
        CONTEXT_CAPSET_ID_MASK,
        DEBUG_NAME_SIZE,
        NO_RESOURCE, //
    },
    gpu::{
        Gpu,
        Object, //
    },
    irq::Adapter,
    scheduler::{
        self,
        Client,
        MAX_RINGS, //
    },
    virtqueue::{
        Batch,
        Completion, //
    },
};

use super::{
    send,
    send_in_round,
    Host,
    Render, //
};

/// What a context is made as.
#[derive(Default)]
pub(crate) struct ContextInit {
    /// The capability set that it is for; 0 for the first version of virgl's.
    pub(crate) capset_id: u32,
    /// Number of its rings.
    pub(crate) rings: u32,
    /// The rings whose fences are events of the file.
    pub(crate) poll_mask: u64,
    /// Its name: up to a zero, and all of it but the last byte at the most. Without one it is that
    /// of the task.
    pub(crate) name: Option<[u8; DEBUG_NAME_SIZE]>,
}

impl ContextInit {
    fn command(&self) -> CtxCreate {
        let debug_name = self.name.unwrap_or_else(|| {
            let mut name = [0; DEBUG_NAME_SIZE];
            for (to, from) in name.iter_mut().zip(current!().comm()) {
                *to = from;
            }
            name
        });
        let len = debug_name.iter().take_while(|byte| **byte != 0).count();
        CtxCreate {
            // CAST: at most 64.
            nlen: (len as u32).into(),
            context_init: (self.capset_id & CONTEXT_CAPSET_ID_MASK).into(),
            debug_name,
        }
    }
}

/// The resource of an object, as a context has it.
struct Attachment {
    object: ARef<Object>,
    /// Handles of the file.
    handles: u32,
    /// Its number; [`NO_RESOURCE`] if there is none so far.
    resource: u32,
    /// Of the device that has the resource.
    incarnation: u64,
    /// The host was told.
    told: bool,
}

struct State {
    host: Option<Host>,
    rings: u32,
    poll_mask: u64,
    /// The objects of which the file has handles, by their addresses: a reference keeps each there.
    /// The host knows of their resources, as far as they have some.
    attached: RBTree<usize, Attachment>,
    /// The same, and the host will be told of their resources.
    pending: RBTree<usize, Attachment>,
    /// Those of which the file had handles, and which the host has not let go of.
    leaving: RBTree<usize, Attachment>,
    /// The file is closed.
    closed: bool,
    /// The host was told to destroy the context.
    destroy_sent: bool,
    /// It has done that, and nobody waits for what the device still has of the file.
    is_ending: bool,
}

/// The number of the timeline of each ring; 0 before its first fence.
type RingTimelines = [Atomic<u64>; MAX_RINGS as usize];

/// The context of an open file.
#[pin_data]
pub(crate) struct Context {
    render: Arc<Render>,
    client: Arc<Client>,
    /// The command that destroys it.
    destroyed: Arc<Batch>,
    /// The number of the timeline of its fences that are on no ring; 0 before the first.
    timeline: Atomic<u64>,
    /// The same for each ring, if it has some.
    ring_timelines: SetOnce<KBox<RingTimelines>>,
    /// The lock of the contexts' numbers and message locks are taken under it. Nothing is allocated
    /// under it, and no object is freed.
    #[pin]
    state: Mutex<State>,
}

/// Returns the key of an object in the trees.
fn key(object: &Object) -> usize {
    core::ptr::from_ref(object).addr()
}

impl Context {
    /// Makes the context of a file, of which the host does not know yet.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn new(render: Arc<Render>, client: Arc<Client>) -> Result<Arc<Self>> {
        let state = State {
            host: None,
            rings: 0,
            poll_mask: 0,
            attached: RBTree::new(),
            pending: RBTree::new(),
            leaving: RBTree::new(),
            closed: false,
            destroy_sent: false,
            is_ending: false,
        };
        let destroyed = Batch::new()?;
        Arc::pin_init(
            pin_init!(Self {
                render,
                client,
                destroyed,
                timeline: Atomic::new(0),
                ring_timelines: SetOnce::new(),
                state <- new_mutex!(state, "rust_gpu::Context"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Returns the 3D side of the device.
    pub(crate) fn render(&self) -> &Arc<Render> {
        &self.render
    }

    /// Returns the submitter.
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Returns where the number of a timeline is: that of a ring, or of the fences without one.
    fn timeline_of(&self, ring: Option<u8>) -> Option<&Atomic<u64>> {
        match ring {
            None => Some(&self.timeline),
            Some(ring) => self.ring_timelines.as_ref()?.get(usize::from(ring)),
        }
    }

    /// Returns the number of the timeline that the fences of a ring are on, on which the host keeps
    /// their order, or of those without a ring; 0, which none has, before the first of them.
    ///
    /// Context: any.
    pub(crate) fn timeline(&self, ring: Option<u8>) -> u64 {
        let timeline = self.timeline_of(ring);
        timeline.map_or(0, |timeline| timeline.load(Relaxed))
    }

    /// A fence of this timeline was made for it.
    ///
    /// Context: any.
    pub(crate) fn set_timeline(&self, ring: Option<u8>, number: u64) {
        if let Some(timeline) = self.timeline_of(ring) {
            timeline.store(number, Relaxed);
        }
    }

    /// Returns how many rings it has.
    ///
    /// Context: process.
    pub(crate) fn rings(&self) -> u32 {
        self.state.lock().rings
    }

    /// Returns whether fences of this ring are events.
    ///
    /// Context: process.
    pub(crate) fn polls(&self, ring: u8) -> bool {
        self.state.lock().poll_mask & 1u64.checked_shl(ring.into()).unwrap_or(0) != 0
    }

    /// Returns whether the host has the context, or had it.
    ///
    /// Context: process.
    pub(crate) fn exists(&self) -> bool {
        self.state.lock().host.is_some()
    }

    /// Returns whether the host has the context.
    ///
    /// Errors: [`EIO`] if a reset has lost it. Context: process.
    pub(crate) fn check(&self) -> Result<bool> {
        let host = self.state.lock().host;
        match host {
            None => Ok(false),
            Some(host) if host.incarnation == self.render.resources().resets() => Ok(true),
            Some(_) => Err(EIO),
        }
    }

    /// Makes the context of the host, and attaches what the file has opened, as far as there is
    /// room. [`None`] if there is no room for the first.
    ///
    /// Errors: [`EEXIST`] if it exists, [`ENODEV`], [`EIO`] if the device is gone or broken,
    /// [`ENOMEM`]. Context: process.
    pub(crate) fn create(
        self: &Arc<Self>,
        adapter: &Adapter<Gpu<'_>>,
        init: &ContextInit,
    ) -> Result<Option<()>> {
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let command = init.command();
        if init.rings != 0 {
            let timelines = [const { Atomic::new(0) }; MAX_RINGS as usize];
            // Later calls, by others who try the same, change nothing.
            self.ring_timelines
                .populate(KBox::new(timelines, GFP_KERNEL_ACCOUNT)?);
        }
        let mut state = self.state.lock();
        if state.host.is_some() {
            return Err(EEXIST);
        }
        let incarnation = adapter.miniport().incarnation();
        let id = self.render.add(node, self.clone())?;
        let host = Host { id, incarnation };
        let sent = send(adapter, host, &command, || Completion::None);
        if sent != Ok(true) {
            self.render.remove(id);
            return sent.map(|_| None);
        }
        state.host = Some(host);
        state.rings = init.rings;
        state.poll_mask = init.poll_mask;
        // What finds no room follows with the first use.
        let _ = state.attach_pending(adapter);
        Ok(Some(()))
    }

    /// Tells the host of all that the file has opened. Returns the context there; [`None`] if there
    /// is no room.
    ///
    /// Errors: [`EIO`] if a reset has lost the context, or there is none, and those of
    /// [`Self::create`]. Context: process.
    pub(crate) fn attach_pending(&self, adapter: &Adapter<Gpu<'_>>) -> Result<Option<Host>> {
        let mut state = self.state.lock();
        let host = state.host.ok_or(EIO)?;
        Ok(state.attach_pending(adapter)?.then_some(host))
    }

    /// The file gets a handle of an object. The host is told with [`Self::attach_pending`].
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn open_handle(&self, object: &Object) -> Result {
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let key = key(object);
        let mut state = self.state.lock();
        if let Some(attachment) = state.opened(&key) {
            attachment.handles += 1;
            return Ok(());
        }
        if let Some(attachment) = state.leaving.remove(&key) {
            let attachment = Attachment {
                handles: 1,
                ..attachment
            };
            state.attached.insert(node.into_node(key, attachment));
            self.render.remove_leaving();
            return Ok(());
        }
        let own = object.own();
        let attachment = Attachment {
            object: object.into(),
            handles: 1,
            resource: own.map_or(NO_RESOURCE, |own| own.id),
            incarnation: own.map_or(0, |own| own.incarnation),
            told: false,
        };
        let node = node.into_node(key, attachment);
        match own {
            // Its resource may be another one when the file uses it, or not be there.
            None => state.attached.insert(node),
            Some(_) => state.pending.insert(node),
        };
        Ok(())
    }

    /// The file uses this resource, which the device of an `incarnation` has, for an object that it
    /// has a handle of. The host lets go of the one that the object had before, and is told of this
    /// one with [`Self::attach_pending`]. Returns false if there is no room.
    ///
    /// Errors: [`ENOENT`] if the file has no handle any more; those of [`send`]. Context: process.
    pub(crate) fn set_resource(
        &self,
        adapter: &Adapter<Gpu<'_>>,
        object: &Object,
        (id, incarnation): (u32, u64),
    ) -> Result<bool> {
        let state = &mut *self.state.lock();
        let key = key(object);
        let host = state.host(adapter.miniport());
        let attachment = state.opened(&key).ok_or(ENOENT)?;
        if (attachment.resource, attachment.incarnation) == (id, incarnation) {
            return Ok(true);
        }
        if attachment.told {
            let detach = CtxDetachResource {
                resource_id: attachment.resource.into(),
                ..Default::default()
            };
            if let Some(host) = host {
                if !send(adapter, host, &detach, || Completion::None)? {
                    return Ok(false);
                }
            }
            object.attached.fetch_sub(1, Relaxed);
        }
        attachment.told = false;
        attachment.resource = id;
        attachment.incarnation = incarnation;
        // If it does not wait there already.
        if let Some(node) = state.attached.remove_node(&key) {
            state.pending.insert(node);
        }
        Ok(true)
    }

    /// A handle of the file is closed. With the last one the host lets go of the resource, when
    /// nothing works on it any more.
    ///
    /// Context: process.
    pub(crate) fn close_handle(&self, object: &Object) {
        let key = key(object);
        let mut state = self.state.lock();
        let Some(attachment) = state.opened(&key) else {
            return;
        };
        attachment.handles = attachment.handles.saturating_sub(1);
        if attachment.handles != 0 {
            return;
        }
        let told = attachment.told;
        let node = match state.pending.remove_node(&key) {
            None => state.attached.remove_node(&key),
            node => node,
        };
        let Some(node) = node else {
            return;
        };
        if told {
            state.leaving.insert(node);
            drop(state);
            self.render.add_leaving();
        } else {
            drop(state);
            // Outside of the lock.
            drop(node);
        }
    }

    /// The file is closed, and nothing that waits is handed out any more: the host destroys the
    /// context.
    ///
    /// Context: process.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let exists = state.host.is_some();
        drop(state);
        if exists {
            self.render.add_leaving();
        }
    }

    /// Lets go of all objects: there is no device any more.
    ///
    /// Context: process.
    pub(super) fn let_go(&self) {
        let mut state = self.state.lock();
        let leaving = core::mem::take(&mut state.leaving);
        drop(state);
        // Outside of the lock.
        drop(leaving);
    }

    /// Sends what the context should let go of, and destroys it if the file is closed. Returns
    /// false if there is no more room.
    ///
    /// Errors: those of [`send_in_round`]. Context: process (the submission thread).
    pub(super) fn drain(&self, adapter: &Adapter<Gpu<'_>>) -> Result<bool> {
        loop {
            let mut state = self.state.lock();
            let host = state.host(adapter.miniport());
            let at_once = host.is_none() || state.closed;
            let is_ready =
                |entry: &(&usize, &Attachment)| at_once || entry.1.object.is_idle(Usage::Bookkeep);
            let Some((&key, attachment)) = state.leaving.iter().find(is_ready) else {
                break;
            };
            let detach = CtxDetachResource {
                resource_id: attachment.resource.into(),
                ..Default::default()
            };
            if let Some(host) = host {
                if !send_in_round(adapter, host, &detach, || Completion::None)? {
                    return Ok(false);
                }
            }
            attachment.object.attached.fetch_sub(1, Relaxed);
            let attachment = state.leaving.remove(&key);
            drop(state);
            self.render.remove_leaving();
            // Outside of the lock.
            drop(attachment);
        }
        self.drain_closed(adapter)
    }

    /// Destroys the context if the file is closed. Its number is free when the device has answered,
    /// and has nothing else of it.
    fn drain_closed(&self, adapter: &Adapter<Gpu<'_>>) -> Result<bool> {
        let mut state = self.state.lock();
        let Some(Host { id, .. }) = state.host else {
            // The thread found it while the host was asked for it, in vain: it does not leave.
            return Ok(true);
        };
        // What leaves first may be from before the file was closed just now.
        if !state.closed || !state.leaving.is_empty() {
            return Ok(true);
        }
        if let Some(host) = state
            .host(adapter.miniport())
            .filter(|_| !state.destroy_sent)
        {
            if !send_in_round(adapter, host, &CtxDestroy, || Batch::add(&self.destroyed))? {
                return Ok(false);
            }
            state.destroy_sent = true;
        }
        // First, as the DPC may run before the call returns.
        adapter.miniport().set_feeder_due();
        if self.destroyed.await_idle() {
            return Ok(true);
        }
        let has_left = self.client.has_outstanding();
        let ends = has_left && !core::mem::replace(&mut state.is_ending, has_left);
        drop(state);
        if ends {
            scheduler::disown(adapter, &self.client);
        }
        if !has_left {
            self.render.remove(id);
            self.render.remove_leaving();
        }
        Ok(true)
    }
}

impl State {
    /// Returns what the file has handles of.
    fn opened(&mut self, key: &usize) -> Option<&mut Attachment> {
        match self.pending.get_mut(key) {
            None => self.attached.get_mut(key),
            found => found,
        }
    }

    /// Returns the context in the host; [`None`] if that does not have it, or has lost it.
    fn host(&self, gpu: &Gpu<'_>) -> Option<Host> {
        self.host.filter(|host| !host.is_lost(gpu))
    }

    /// Tells the host of what it was not told. Returns false if there is no room.
    fn attach_pending(&mut self, adapter: &Adapter<Gpu<'_>>) -> Result<bool> {
        let gpu = adapter.miniport();
        let Some(host) = self.host else {
            return Ok(true);
        };
        if host.is_lost(gpu) {
            return Err(EIO);
        }
        while let Some((&key, attachment)) = self.pending.iter_mut().next() {
            if attachment.incarnation != gpu.incarnation() {
                // Lost: it is not named in commands any more.
                attachment.resource = NO_RESOURCE;
            } else {
                let attach = CtxAttachResource {
                    resource_id: attachment.resource.into(),
                    ..Default::default()
                };
                if !send(adapter, host, &attach, || Completion::None)? {
                    return Ok(false);
                }
                attachment.told = true;
                attachment.object.attached.fetch_add(1, Relaxed);
            }
            if let Some(node) = self.pending.remove_node(&key) {
                self.attached.insert(node);
            }
        }
        Ok(true)
    }
}
