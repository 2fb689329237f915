// SPDX-License-Identifier: GPL-2.0

//! [`Gpu`] is the miniport of a virtio GPU: it serves the interrupts, runs the DPC, and is the
//! scheduler's [`Hardware`].
//!
//! The words (message, node, packet, DPC, notify, fence id): `Documentation/gpu/rust_gpu.rst`.

use kernel::{
    device::{
        Bound,
        Device, //
    },
    drm,
    kthread::Event,
    pci::{
        self,
        IrqType, //
    },
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Release, //
        },
        Arc,
        SetOnce, //
    },
};

use crate::{
    command::{
        Command,
        DisplayInfo,
        EDID_NAME_SIZE, //
    },
    irq::{
        Adapter,
        Dpc,
        Miniport,
        Synchronized, //
    },
    ring::Broken,
    scheduler::{
        self,
        Fences,
        Hardware,
        Level,
        Node,
        PerNode,
        Watchdog,
        NODES, //
    },
    transport::{
        Features,
        NotifyAddress,
        Transport,
        EVENT_DISPLAY,
        ISR_CONFIG,
        ISR_QUEUE, //
    },
    virtqueue::{
        CommandPool,
        Completion,
        DmaContext,
        Packet, //
    },
};

pub(crate) mod debugfs;
mod framebuffer;
mod hardware;
mod messages;
mod render;
mod resources;
mod retired;
mod service;

pub(crate) use self::{
    debugfs::DebugFiles,
    framebuffer::{
        Framebuffer,
        FramebufferData, //
    },
    messages::{
        MessageMap,
        State, //
    },
    render::Feeder,
    resources::{
        Object,
        ObjectArgs,
        ObjectData,
        OwnResource,
        Resource,
        ResourceTable,
        Told,
        BYTES_PER_PIXEL, //
    },
    service::Service, //
};

/// The DRM driver.
pub(crate) struct RustGpuDriver;

/// A DRM device of this driver.
pub(crate) type RustGpuDevice<C = drm::Normal> = drm::Device<RustGpuDriver, C>;

/// What the device said about itself at probe.
pub(crate) struct DeviceInfo {
    /// Number of scanouts.
    pub(crate) scanouts: u32,
    /// Number of capability sets.
    pub(crate) capsets: u32,
    /// The scanouts, as the device describes them: not checked.
    pub(crate) display: DisplayInfo,
    /// Monitor name from the EDID of scanout 0.
    pub(crate) edid_name: Option<[u8; EDID_NAME_SIZE]>,
    /// How the interrupt messages arrive.
    pub(crate) irq_type: IrqType,
}

/// Work that a higher layer does in the DPC.
pub(crate) trait Deferred: Send + Sync {
    /// Does what had to wait for the device.
    ///
    /// Context: process (the DPC), after the retired requests were handled and before waiters are
    /// woken. Must not wait for the device.
    fn run(&self, adapter: &Adapter<Gpu<'_>>);

    /// Forgets what the device was told: it was reset. Sends nothing until [`Self::restart`].
    ///
    /// Context: process, the messages disconnected, lock of the rings held. Must not wait for the
    /// device.
    fn reset(&self, adapter: &Adapter<Gpu<'_>>);

    /// Tells the device what it lacks, as it was started after a [reset](Self::reset).
    ///
    /// Context: process, lock of the rings held. Must not wait for the device.
    fn restart(&self, adapter: &Adapter<Gpu<'_>>);

    /// Does what is due at each tick of the watchdog. Returns true if the clock has to go on for
    /// it, see [`Gpu::arm_watchdog`].
    ///
    /// Context: process (the watchdog), no lock held. Must not wait for the device.
    fn tick(&self, _adapter: &Adapter<Gpu<'_>>) -> bool {
        false
    }

    /// Returns whether the device may still show a resource of this number.
    ///
    /// Context: process, the lock of the resources not held.
    #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
    fn shows(&self, _resource: u32) -> bool {
        false
    }
}

/// The miniport of one GPU.
pub(crate) struct Gpu<'a> {
    dev: &'a pci::Device<Bound>,
    transport: Transport<'a>,
    features: Features,
    map: MessageMap,
    fences: Arc<Fences>,
    dma: Arc<DmaContext>,
    /// Where to kick the queues. Known once they are set up.
    notify_addresses: PerNode<SetOnce<NotifyAddress>>,
    /// Memory for the commands of the queues. Known once they are made.
    pools: PerNode<SetOnce<CommandPool>>,
    /// In how many pieces data may follow a command of the control queue. Known once it is made.
    max_pieces: SetOnce<u16>,
    /// The resources of the host, with the objects that the device may read at any time.
    resources: Arc<ResourceTable>,
    /// Work that a higher layer does in the DPC.
    deferred: SetOnce<Arc<dyn Deferred>>,
    /// What has packets of the driver that must not be lost.
    feeder: SetOnce<Arc<dyn Feeder>>,
    /// The next DPC has it called.
    feeder_due: Atomic<bool>,
    /// The next DPC does that work.
    deferred_due: Atomic<bool>,
    /// A command failed, and the log says so.
    warned: Atomic<bool>,
    /// The scanouts may have changed. Signaled by the DPC and the watchdog.
    display_event: Event,
    watchdog: Watchdog,
}

impl<'a> Gpu<'a> {
    /// Makes the miniport of a device with negotiated features and decided messages.
    pub(crate) fn new(
        dev: &'a pci::Device<Bound>,
        transport: Transport<'a>,
        features: Features,
        map: MessageMap,
        fences: Arc<Fences>,
        dma: Arc<DmaContext>,
        resources: Arc<ResourceTable>,
    ) -> Self {
        Self {
            dev,
            transport,
            features,
            map,
            fences,
            dma,
            notify_addresses: PerNode::new([const { SetOnce::new() }; NODES]),
            pools: PerNode::new([const { SetOnce::new() }; NODES]),
            max_pieces: SetOnce::new(),
            resources,
            deferred: SetOnce::new(),
            feeder: SetOnce::new(),
            feeder_due: Atomic::new(false),
            deferred_due: Atomic::new(false),
            warned: Atomic::new(false),
            display_event: Event::new(),
            watchdog: Watchdog::new(),
        }
    }

    /// Returns the transport.
    pub(crate) fn transport(&self) -> &Transport<'a> {
        &self.transport
    }

    /// Returns the features.
    pub(crate) fn features(&self) -> &Features {
        &self.features
    }

    /// Returns the fences.
    pub(crate) fn fences(&self) -> &Arc<Fences> {
        &self.fences
    }

    /// Returns what all DMA memory of the device has in common.
    pub(crate) fn dma(&self) -> &Arc<DmaContext> {
        &self.dma
    }

    /// Returns which message serves what.
    pub(crate) fn map(&self) -> &MessageMap {
        &self.map
    }

    /// Sets where to kick `node`. Returns whether that is the address; a later call
    /// for the same node does not change it.
    pub(crate) fn set_notify_address(&self, node: Node, address: NotifyAddress) -> bool {
        let place = &self.notify_addresses[node];
        place.populate(address) || place.copy() == Some(address)
    }

    /// Returns the event that wakes the hotplug thread.
    pub(crate) fn display_event(&self) -> &Event {
        &self.display_event
    }

    /// Sets where the commands of `node` get their memory. Later calls for the same node change
    /// nothing.
    pub(crate) fn set_pool(&self, node: Node, pool: CommandPool) {
        self.pools[node].populate(pool);
    }

    /// Sets what [`Self::max_pieces`] returns. Later calls change nothing.
    pub(crate) fn set_max_pieces(&self, count: u16) {
        self.max_pieces.populate(count);
    }

    /// Returns in how many pieces data may follow a command of the control queue.
    pub(crate) fn max_pieces(&self) -> usize {
        self.max_pieces.copy().unwrap_or(0).into()
    }

    /// Returns the resources of the host.
    pub(crate) fn resources(&self) -> &ResourceTable {
        &self.resources
    }

    /// Returns a number that each reset of the device changes. What the device was told with
    /// another one is lost.
    ///
    /// Context: any.
    pub(crate) fn incarnation(&self) -> u64 {
        self.resources.resets()
    }

    /// Adds work of a higher layer to the DPC. Later calls change nothing.
    ///
    /// Context: process.
    pub(crate) fn set_deferred(&self, deferred: Arc<dyn Deferred>) {
        self.deferred.populate(deferred);
    }

    /// Returns the work of a higher layer.
    pub(crate) fn deferred(&self) -> Option<&dyn Deferred> {
        self.deferred.as_ref().map(|deferred| &**deferred)
    }

    /// Starts the clock that calls [`Deferred::tick`], unless it runs.
    ///
    /// Context: any but NMI.
    pub(crate) fn arm_watchdog(&self) {
        self.watchdog.arm();
    }

    /// Returns the device.
    pub(crate) fn device(&self) -> &'a Device<Bound> {
        self.dev.as_ref()
    }

    /// Makes a packet of one command for `node`, to which the device answers with success or
    /// failure and no data. A failure is logged. Does not allocate.
    ///
    /// Errors: [`EBUSY`] without a free slot, [`ENODEV`] before the queue is made.
    ///
    /// Context: process.
    pub(crate) fn packet<C: Command>(
        &self,
        node: Node,
        command: &C,
        completion: Completion,
    ) -> Result<Packet> {
        let pool = self.pools[node].as_ref().ok_or(ENODEV)?;
        Packet::plain(pool.take().ok_or(EBUSY)?, command, completion)
    }

    /// Returns how many commands of `node` have slots.
    pub(crate) fn slots(&self, node: Node) -> u32 {
        self.pools[node].as_ref().map_or(0, CommandPool::count)
    }

    /// Returns whether `node` has slots for `count` commands. If not, the [`Deferred`] work is done
    /// when a slot is free.
    ///
    /// Context: process.
    pub(crate) fn await_slots(&self, node: Node, count: u32) -> bool {
        self.pools[node].as_ref().is_some_and(|pool| {
            pool.free() >= count || {
                self.set_deferred_due();
                pool.await_free(count)
            }
        })
    }

    /// The next DPC does the [`Deferred`] work.
    ///
    /// Context: process.
    pub(crate) fn set_deferred_due(&self) {
        self.deferred_due.store(true, Release);
    }
}

/// Parts of the DPC.
impl Gpu<'_> {
    /// Handles the retired requests of the queue of `node`. Then gives their list back, empty, and
    /// polls for used elements that had no room in it. Reports a broken queue.
    ///
    /// The fence of a command completes whatever the device answered.
    fn finish(&self, adapter: &Adapter<Self>, node: Node) {
        let message = self.map.of(node);
        let found = adapter.synchronize_execution(message, |state| {
            let queue = state.virtqueue(node)?;
            Some((queue.take_retired(), queue.take_ended(), queue.broken()))
        });
        let Ok(Some((list, ended, cause))) = found else {
            return;
        };
        if let Some(cause) = cause {
            self.report_broken(adapter, node, cause);
        }
        drop(ended);
        if let Some(list) = list {
            // A reset waits for the DPC.
            self.finish_list(adapter, node, list, self.incarnation());
        }
    }

    /// Reads the status and the events of the device if its configuration may have changed.
    fn check_config(&self, adapter: &Adapter<Self>) {
        let changed = adapter.synchronize_execution(self.map.config, |state| {
            core::mem::take(&mut state.config_changed)
        });
        if !changed.unwrap_or(false) {
            return;
        }
        if let Some(cause) = self.failure() {
            self.mark_broken(adapter, cause);
            return;
        }
        let events = self.transport.events_read();
        if events != 0 {
            self.transport.clear_events(events);
        }
        if events & EVENT_DISPLAY != 0 {
            self.display_event.signal();
        }
    }

    /// Returns why the device does not work any more, if its registers say so.
    fn failure(&self) -> Option<Broken> {
        if self.transport.is_gone() {
            Some(Broken::Reset)
        } else if self.transport.needs_reset() {
            Some(Broken::NeedsReset)
        } else {
            None
        }
    }

    /// Marks both rings broken.
    fn mark_broken(&self, adapter: &Adapter<Self>, cause: Broken) {
        for node in Node::ENGINES {
            let found = adapter.synchronize_execution(self.map.of(node), |state| {
                state.virtqueue(node).map(|queue| queue.mark_broken(cause))
            });
            if let Ok(Some(cause)) = found {
                self.report_broken(adapter, node, cause);
            }
        }
    }

    /// Has the device reset, as a ring is broken. If that is not to be done, or the device is gone,
    /// ends all waits and logs one line, the first time that the device is found broken.
    fn report_broken(&self, adapter: &Adapter<Self>, node: Node, cause: Broken) {
        let resets = self.policy().level != Level::Look && self.watchdog.can_recover();
        if resets && cause != Broken::Reset && self.fences.check().is_ok() {
            self.watchdog.report_broken();
            return;
        }
        if self.fences.wedge() {
            dev_err!(
                self.dev,
                "{:?} queue is broken: {}\n",
                node,
                format_args!("{cause}")
            );
        }
        // Nobody ends them later.
        scheduler::cancel_render(adapter);
    }

    /// Has the device reset if a ring broke while that was not allowed. It counts as broken no
    /// more: nobody would tell of that ring again.
    ///
    /// Context: process, after [`Watchdog::set_can_recover`], with the same lock held. Not for a
    /// device that was given up.
    pub(crate) fn report_late(&self, adapter: &Adapter<Self>) {
        if self.policy().level == Level::Look {
            return;
        }
        let breaks = Node::ENGINES.into_iter().any(|node| {
            let found = adapter
                .synchronize_execution(self.map.of(node), |state| state.virtqueue(node)?.broken());
            matches!(found, Ok(Some(cause)) if cause != Broken::Reset)
        });
        if breaks {
            self.fences.unwedge();
            self.watchdog.report_broken();
        }
    }
}

/// Retires the used requests of this message's queues, reports them to the scheduler, and queues
/// the DPC. If this is not the notify message, the DPC reports them. Returns whether it found
/// anything.
fn reap(state: &mut Synchronized<'_, Gpu<'_>>) -> bool {
    let (mut dpc, is_rendered) = state.reap();
    if dpc == Dpc::Idle {
        return false;
    }
    if is_rendered {
        render::report(state, dpc);
    }
    for node in Node::ENGINES {
        let Some(queue) = &state.nodes[node] else {
            continue;
        };
        let completed = queue.completed();
        if state.miniport().fences.is_stalled() {
            let stalled = queue.is_stalled();
            state.miniport().fences.set_stalled(node, stalled);
        }
        // The fence is published here; only if somebody waits for it the DPC is needed now.
        if dpc == Dpc::Marked && state.miniport().fences.publish_one(node, completed) {
            dpc = Dpc::Queued;
        }
        scheduler::notify_completed(state, node, completed, dpc);
        scheduler::report_preempted(state, node);
    }
    if dpc == Dpc::Marked {
        state.miniport().tell_feeder();
    }
    state.raise_dpc(dpc);
    true
}

impl Miniport for Gpu<'_> {
    type State = State;

    fn interrupt_routine(&self, state: &mut Synchronized<'_, Self>, message: u32) -> bool {
        let (queues, config) = if self.map.line {
            let isr = self.transport.isr();
            if isr == 0 {
                return false;
            }
            (isr & ISR_QUEUE != 0, isr & ISR_CONFIG != 0)
        } else {
            // The ISR register means nothing with MSI-X. If one message serves everything, each
            // interrupt may be for the configuration.
            (true, message == self.map.config)
        };
        // The DPC does no more for a device that it found broken.
        let config = config && self.fences.check().is_ok();
        state.config_changed |= config;
        let found = queues && reap(state);
        if config {
            state.queue_dpc();
        }
        state.explain_interrupt(found) || config
    }

    fn acknowledge(&self, _message: u32) -> bool {
        self.map.line && self.transport.isr() != 0
    }

    fn dpc_routine(&self, adapter: &Adapter<Self>) {
        // First: the packets that this snapshot shows as complete are handled below, before
        // `notify_dpc` wakes their waiters. A later one could show packets whose answers are not
        // there yet.
        let Some(snapshot) = scheduler::begin_dpc(adapter) else {
            return;
        };
        for node in Node::ENGINES {
            self.finish(adapter, node);
        }
        if self.deferred_due.load(Acquire) && self.deferred_due.xchg(false, Full) {
            if let Some(deferred) = self.deferred() {
                deferred.run(adapter);
            }
        }
        self.check_config(adapter);
        self.wake_feeder();
        self.tell_feeder();
        scheduler::notify_dpc(adapter, &self.fences, &snapshot);
    }
}
