// SPDX-License-Identifier: GPL-2.0

//! [`Engines`] connects the rings to the device, and disconnects them again.

use kernel::{
    irq::IrqRequest,
    new_mutex,
    num::casts::u32_as_usize,
    pci::{
        self,
        IrqVectorRegistration, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
};

use crate::{
    gpu::{
        Gpu,
        RustGpuDevice,
        State, //
    },
    irq::{
        Adapter,
        Connection, //
    },
    scheduler::{
        Node,
        NodeQueue,
        Notify, //
    },
    transport::{
        feature,
        Transport, //
    },
    virtqueue::{
        CommandPool,
        DmaContext,
        Virtqueue, //
    },
};

use super::{
    dump::DumpBuffer,
    recover::History, //
};

/// Slots for commands of the render node. Those that find none have memory of their own.
const RENDER_SLOTS: u16 = 128;

/// The interrupts of a started device.
///
/// `connection` borrows `vectors` and is dropped first.
pub(super) struct Interrupts<'a> {
    pub(super) connection: Connection<'a, Gpu<'a>>,
    _vectors: Pin<KBox<IrqVectorRegistration<'a>>>,
}

impl<'a> Interrupts<'a> {
    /// Requests the interrupts of all messages.
    ///
    /// # Safety
    ///
    /// The returned value must not be forgotten.
    unsafe fn new(
        adapter: Arc<Adapter<Gpu<'a>>>,
        vectors: IrqVectorRegistration<'a>,
    ) -> Result<Self> {
        let vectors = KBox::pin(vectors, GFP_KERNEL)?;
        // SAFETY: The box does not move its content, and `Self` drops the only borrower,
        // `connection`, before it.
        let borrowed: &'a IrqVectorRegistration<'a> = unsafe { &*core::ptr::from_ref(&*vectors) };
        let requests = (0..borrowed.len()).map(|index| borrowed.index(index).map(IrqRequest::from));
        // SAFETY: Kept in the returned value, which the caller does not forget.
        let connection = unsafe { Connection::new(adapter, c"rust_gpu", requests)? };
        Ok(Self {
            connection,
            _vectors: vectors,
        })
    }
}

/// The interrupts, and the states that they work on.
pub(super) struct Rings<'a> {
    pub(super) interrupts: Interrupts<'a>,
    /// States that are not in the messages: before connect and after disconnect.
    pub(super) states: KVec<State>,
    /// When the device was reset because it hung.
    pub(super) history: History,
    /// When that was done last, in nanoseconds of CLOCK_MONOTONIC; [`None`] if the device was
    /// started for another reason since.
    pub(super) last_reset: Option<i64>,
    /// The device has answered nothing since its last reset, and the log says so.
    pub(super) is_awaited: bool,
    /// The memory for a dump, unless a recovery has it.
    pub(super) dump: DumpBuffer,
}

impl Rings<'_> {
    /// Takes the states out of the messages, if they are in there.
    pub(super) fn disconnect(&mut self) {
        let states = self.interrupts.connection.disconnect();
        if !states.is_empty() {
            self.states = states;
        }
    }

    /// Remembers that the device was reset at `time` because it hung. `counts` says whether it has
    /// answered anything since the reset before.
    pub(super) fn note_reset(&mut self, time: i64, counts: bool) {
        self.last_reset = Some(time);
        if counts {
            self.history.add(time);
            self.is_awaited = false;
        }
    }
}

/// What connects the rings to the device. Its drop resets the device.
///
/// The fields are dropped in order: interrupts, rings, BARs (with the adapter), bus.
pub(super) struct Engines<'a> {
    /// Taken by start, stop, sleep and resume, which the driver core runs one at a time, and by a
    /// recovery. The locks of the screens and of messages are taken under it.
    pub(super) rings: Pin<KBox<Mutex<Rings<'a>>>>,
    pub(super) adapter: Arc<Adapter<Gpu<'a>>>,
    dma: Arc<DmaContext>,
    /// The DRM device, which outlives the objects that the rings and the adapter hold.
    pub(super) drm: ARef<RustGpuDevice>,
    pub(super) enabled: pci::Enabled<'a>,
    /// Whether the start of the device succeeded.
    pub(super) started: Atomic<bool>,
    /// User space was told that the device is given up, and it was not started since.
    pub(super) wedged: Atomic<bool>,
    /// The thread that resets the function for the driver; 0 if none does.
    pub(super) resetter: Atomic<usize>,
}

impl<'a> Engines<'a> {
    /// Connects the interrupts and starts the queues.
    ///
    /// Errors: those of the steps; the device is then reset.
    ///
    /// Context: process.
    ///
    /// # Safety
    ///
    /// The returned value must not be forgotten.
    #[inline(never)]
    pub(super) unsafe fn start(
        adapter: Arc<Adapter<Gpu<'a>>>,
        vectors: IrqVectorRegistration<'a>,
        dma: Arc<DmaContext>,
        drm: ARef<RustGpuDevice>,
        enabled: pci::Enabled<'a>,
    ) -> Result<Self> {
        // SAFETY: Kept in the returned value, which the caller does not forget.
        let interrupts = unsafe { Interrupts::new(adapter.clone(), vectors)? };
        let rings = Rings {
            interrupts,
            states: KVec::new(),
            history: History::new(),
            last_reset: None,
            is_awaited: false,
            dump: DumpBuffer::new()?,
        };
        let this = Self {
            rings: KBox::pin_init(new_mutex!(rings, "rust_gpu::Rings"), GFP_KERNEL)?,
            adapter,
            dma,
            drm,
            enabled,
            started: Atomic::new(false),
            wedged: Atomic::new(false),
            resetter: Atomic::new(0),
        };
        let mut guard = this.rings.lock();
        let Rings {
            interrupts, states, ..
        } = &mut *guard;
        make_states(&this.adapter, &this.dma, states)?;
        set_up_queues(&this.adapter, states)?;
        interrupts.connection.connect(states)?;
        drop(guard);
        this.transport().driver_ok();
        Ok(this)
    }

    /// Returns the transport.
    pub(super) fn transport(&self) -> &Transport<'a> {
        self.adapter.miniport().transport()
    }

    /// Resets the device, so that it uses no memory and raises no interrupt any more. If that
    /// fails, takes the bus from the device and, unless it has left the bus, never frees the memory
    /// that it knows. See also [`Self::stop`], after which that memory is used again.
    fn quiesce(&self) {
        if self.transport().reset().is_err() {
            self.enabled.clear_master();
            // After that, so that one that answers again by now is no master any more.
            if !self.transport().has_left_bus() {
                self.abandon();
            }
        }
        if self.started.load(Relaxed) {
            self.transport().stopped();
        }
    }

    /// Never frees the memory that the device knows.
    fn abandon(&self) {
        self.dma.abandon();
        self.adapter.miniport().resources().abandon();
        // A reference that is never dropped.
        core::mem::forget(self.drm.clone());
    }
}

impl Drop for Engines<'_> {
    fn drop(&mut self) {
        // Nobody submits any more: the DRM device, the service and the threads are gone.
        // The device is reset between the two halves of disconnecting. Synchronised routines are
        // refused before that. Handlers are freed after it; until then they acknowledge a line
        // interrupt.
        self.rings.lock().disconnect();
        self.quiesce();
        self.adapter.miniport().resources().close();
    }
}

/// Makes the states of all messages, with the queues in them.
fn make_states(
    adapter: &Adapter<Gpu<'_>>,
    dma: &Arc<DmaContext>,
    states: &mut KVec<State>,
) -> Result {
    let gpu = adapter.miniport();
    let (dev, transport, map) = (gpu.device(), gpu.transport(), gpu.map());
    for _ in 0..map.count {
        states.push(State::new(), GFP_KERNEL)?;
    }
    for node in Node::ENGINES {
        // CAST: the ordinal of a node is its queue's index, 0 or 1.
        let size = transport.queue_size(node as u16)?;
        let mut virtqueue = Virtqueue::new(dev, dma, size, gpu.features())?;
        if node == Node::Control {
            let scanouts = transport.config()?.num_scanouts;
            virtqueue.prepare_panic(dev, dma, scanouts)?;
            gpu.set_max_pieces(virtqueue.max_pieces());
        }
        gpu.set_pool(node, virtqueue.pool());
        install(states, map.of(node), node, Some(virtqueue))?;
    }
    install(states, map.of(Node::Software), Node::Software, None)?;
    install_render(adapter, dma, states)?;
    let notify = states.get_mut(u32_as_usize(map.notify())).ok_or(EINVAL)?;
    notify.notify = Some(Notify::new());
    Ok(())
}

/// Tells a device with negotiated features which messages to raise and where the queues are.
///
/// The queues are in the states already. From here on the device uses their memory, until a reset.
///
/// Errors: those of the transport, [`EINVAL`], with one line in the log, if a queue
/// of the device is smaller than before or has another notify address.
///
/// Context: process.
pub(super) fn set_up_queues(adapter: &Adapter<Gpu<'_>>, states: &mut KVec<State>) -> Result {
    let gpu = adapter.miniport();
    let (transport, map) = (gpu.transport(), gpu.map());
    // CAST: few messages.
    let vector = |message: u32| (!map.line).then_some(message as u16);

    transport.set_config_message(vector(map.config))?;
    for node in Node::ENGINES {
        let message = map.of(node);
        let state = states.get_mut(u32_as_usize(message)).ok_or(EINVAL)?;
        let virtqueue = state.virtqueue(node).ok_or(EINVAL)?;
        // CAST: the ordinal of a node is its queue's index, 0 or 1.
        let (queue, size) = (node as u16, virtqueue.size());
        let offered = transport.queue_size(queue)?;
        if offered < size {
            dev_err!(
                gpu.device(),
                "queue {} has {} descriptors, {} before\n",
                queue,
                offered,
                size
            );
            return Err(EINVAL);
        }
        let addresses = virtqueue.addresses();
        let address = transport.setup_queue(queue, vector(message), addresses, size)?;
        if !gpu.set_notify_address(node, address) {
            dev_err!(
                gpu.device(),
                "queue {} has another notify address than before\n",
                queue
            );
            return Err(EINVAL);
        }
    }
    Ok(())
}

/// Puts `node` into the state of its message.
fn install(
    states: &mut KVec<State>,
    message: u32,
    node: Node,
    engine: Option<Virtqueue>,
) -> Result {
    let state = states.get_mut(u32_as_usize(message)).ok_or(EINVAL)?;
    state.nodes[node] = Some(KBox::new(NodeQueue::new(node, engine)?, GFP_KERNEL)?);
    Ok(())
}

/// Puts the render node beside the control node, whose queue it uses. On a device without 3D it
/// takes no packets.
fn install_render(
    adapter: &Adapter<Gpu<'_>>,
    dma: &Arc<DmaContext>,
    states: &mut KVec<State>,
) -> Result {
    let gpu = adapter.miniport();
    let message = gpu.map().of(Node::Render);
    let state = states.get_mut(u32_as_usize(message)).ok_or(EINVAL)?;
    let is_used = gpu.features().has(feature::VIRGL);
    if is_used {
        let pool = CommandPool::new(gpu.device(), dma, RENDER_SLOTS)?;
        gpu.set_pool(Node::Render, pool);
    }
    let control = state.nodes[Node::Control].as_ref().ok_or(EINVAL)?;
    let render = NodeQueue::new_render(control, is_used)?;
    state.nodes[Node::Render] = Some(KBox::new(render, GFP_KERNEL)?);
    Ok(())
}
