// SPDX-License-Identifier: GPL-2.0

//! Start and stop of a device: `DxgkDdiStartDevice` and its exact reverse, `DxgkDdiStopDevice`.

use kernel::{
    aperture,
    device::{
        Bound,
        Core, //
    },
    dma::{
        Device as _,
        DmaMask, //
    },
    drm,
    irq::IrqRequest,
    kthread::{
        self,
        Kthread, //
    },
    new_mutex,
    num::casts::u32_as_usize,
    pci::{
        self,
        IrqType,
        IrqTypes,
        IrqVectorRegistration, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
};

use crate::{
    command::{
        self,
        DisplayInfo, //
    },
    display::{
        outputs::{
            self,
            Outputs, //
        },
        Display, //
    },
    driver::{
        DriverData,
        RegistrationData, //
    },
    gpu::{
        debugfs::DebugFiles,
        resources::Attached,
        service::Export,
        DeviceInfo,
        Gpu,
        MessageMap,
        RustGpuDevice,
        RustGpuDriver,
        State,
        QUEUES, //
    },
    irq::{
        Adapter,
        Connection, //
    },
    scheduler::{
        self,
        fence::Fences,
        Node,
        NodeQueue,
        Notify, //
    },
    transport::{
        regs::feature,
        Transport, //
    },
    virtqueue::{
        dma::DmaContext,
        Virtqueue, //
    },
};

mod power;

/// The interrupts of a started device.
///
/// `connection` borrows `vectors` and is dropped first.
struct Interrupts<'a> {
    connection: Connection<'a, Gpu<'a>>,
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

/// What connects the rings with the device, and is taken apart while it sleeps.
struct Engines<'a> {
    interrupts: Option<Interrupts<'a>>,
    /// States that are not in the messages: before connect and after disconnect.
    states: KVec<State>,
}

impl Engines<'_> {
    /// Takes the states out of the messages, if they are in there.
    fn disconnect(&mut self) {
        if let Some(interrupts) = &mut self.interrupts {
            let states = interrupts.connection.disconnect();
            if !states.is_empty() {
                self.states = states;
            }
        }
    }
}

/// A started device. Its drop stops it.
pub(crate) struct StartedDevice<'a> {
    pdev: &'a pci::Device<Bound>,
    fences: Arc<Fences>,
    registration: Option<drm::Registration<'a, RustGpuDriver>>,
    debugfs: Option<DebugFiles<'a>>,
    export: Option<Export<'a>>,
    thread: Option<Kthread<'a>>,
    watcher: Option<Kthread<'a>>,
    display: Option<Arc<Display<'a>>>,
    /// Taken by what starts and stops the device, in the order of the driver core. Message locks
    /// are taken under it.
    engines: Pin<KBox<Mutex<Engines<'a>>>>,
    adapter: Arc<Adapter<Gpu<'a>>>,
    dma: Arc<DmaContext>,
    /// The DRM device, which outlives the objects that the rings and the adapter hold.
    drm: Option<ARef<RustGpuDevice>>,
    enabled: pci::Enabled<'a>,
    /// Whether the start succeeded.
    running: bool,
}

impl<'a> StartedDevice<'a> {
    /// Starts the device, `DxgkDdiStartDevice`.
    ///
    /// Errors: those of the steps, each with one line; the device is then reset and marked FAILED.
    ///
    /// Context: process (probe).
    pub(crate) fn start(core: &'a pci::Device<Core<'_>>) -> Result<Self> {
        let pdev: &'a pci::Device<Bound> = core;

        // A driver of the firmware's framebuffer still draws into a BAR of a virtio-vga.
        aperture::remove_conflicting_pci_devices(pdev, c"rust_gpu")?;
        let enabled = pdev.enable()?;
        enabled.set_master();
        // SAFETY: Nothing was allocated or mapped yet, and probe runs alone.
        unsafe { core.dma_set_mask_and_coherent(DmaMask::new::<64>())? };
        // The device takes the length of an entry as 32 bits.
        // SAFETY: As above.
        unsafe { core.dma_set_max_seg_size(u32::MAX) };

        let transport = Transport::new(pdev)?;
        let features = transport.negotiate()?;
        let dma = DmaContext::new(pdev.as_ref(), features.has(feature::ORDER_PLATFORM))?;
        let types = IrqTypes::default().with(IrqType::MsiX).with(IrqType::Intx);
        let vectors = pdev.alloc_irq_vectors(1, MessageMap::MAX, types)?;
        let map = MessageMap::new(
            vectors.len().try_into()?,
            matches!(vectors.irq_type(), IrqType::Intx),
        );
        let fences = Fences::new()?;

        let engines = Engines {
            interrupts: None,
            states: KVec::new(),
        };
        let engines = KBox::pin_init(new_mutex!(engines, "rust_gpu::Engines"), GFP_KERNEL)?;
        let attached = Attached::new()?;
        let gpu = Gpu::new(
            pdev,
            transport,
            features,
            map,
            fences.clone(),
            dma.clone(),
            attached,
        );
        let mut device = Self {
            pdev,
            fences,
            registration: None,
            debugfs: None,
            export: None,
            thread: None,
            watcher: None,
            display: None,
            engines,
            adapter: Adapter::new(gpu, map.vectors())?,
            dma,
            drm: None,
            enabled,
            running: false,
        };
        device.bring_up(vectors)?;
        device.running = true;
        Ok(device)
    }

    fn transport(&self) -> &Transport<'a> {
        self.adapter.miniport().transport()
    }

    /// The second half of [`Self::start`], undone by the drop of `self`.
    ///
    /// Its parts are not inlined: the last one has the console set its mode and draw, and the stack
    /// is to be free of the others by then.
    fn bring_up(&mut self, vectors: IrqVectorRegistration<'a>) -> Result {
        let irq_type = vectors.irq_type();
        self.connect(vectors)?;
        self.start_thread()?;
        let (info, outputs) = self.identify(irq_type)?;
        // SAFETY: Kept in `self`, whose drop drops it.
        let export = unsafe { Export::new(self.adapter.clone())? };
        let handle = export.handle();
        self.export = Some(export);
        self.register(info, outputs, handle)
    }

    /// Connects the interrupts and starts the queues.
    #[inline(never)]
    fn connect(&mut self, vectors: IrqVectorRegistration<'a>) -> Result {
        // SAFETY: Kept in `self`, whose drop drops it.
        let interrupts = unsafe { Interrupts::new(self.adapter.clone(), vectors)? };
        let mut guard = self.engines.lock();
        let engines = &mut *guard;
        let interrupts = engines.interrupts.insert(interrupts);
        make_states(self.pdev, &self.adapter, &self.dma, &mut engines.states)?;
        set_up_queues(&self.adapter, &mut engines.states)?;
        interrupts.connection.connect(&mut engines.states)?;
        self.transport().driver_ok();
        Ok(())
    }

    /// Starts the submission thread.
    #[inline(never)]
    fn start_thread(&mut self) -> Result {
        let adapter = self.adapter.clone();
        // SAFETY: Kept in `self`, whose drop drops it.
        let thread = unsafe {
            Kthread::new(c"rust_gpu", move |context: &kthread::Context| {
                scheduler::submission_thread(&*adapter, context)
            })?
        };
        self.adapter.miniport().set_thread(thread.waker());
        self.thread = Some(thread);
        Ok(())
    }

    /// Asks the device what it is.
    #[inline(never)]
    fn identify(&self, irq_type: IrqType) -> Result<(DeviceInfo, Arc<Outputs>)> {
        let config = self.transport().config()?;
        let have_edid = self.adapter.miniport().features().has(feature::EDID);
        let outputs = Outputs::new(config.num_scanouts, have_edid)?;
        let instead = Some(DisplayInfo::fallback());
        let display = outputs.refresh(&self.adapter, &self.fences, instead)?;
        let info = DeviceInfo {
            scanouts: config.num_scanouts,
            capsets: config.num_capsets,
            display,
            edid_name: outputs.with_edid(0, command::edid_name).flatten(),
            irq_type,
        };
        Ok((info, outputs))
    }

    /// Makes the device known to user space.
    #[inline(never)]
    fn register(&mut self, info: DeviceInfo, outputs: Arc<Outputs>, handle: u64) -> Result {
        // SAFETY: Kept in `self`, whose drop drops it.
        self.debugfs = Some(unsafe { DebugFiles::new(self.pdev, &self.adapter)? });
        let fences = self.fences.clone();
        let data = DriverData {
            fences: fences.clone(),
        };
        let unregistered = drm::UnregisteredDevice::new(self.pdev, Ok(data))?;
        self.drm = Some(ARef::from(&*unregistered));
        let display = Display::new(self.adapter.clone())?;
        self.display = Some(display.clone());
        let data: Result<_> = Ok(RegistrationData {
            adapter: self.adapter.clone(),
            display,
            fences,
            outputs: outputs.clone(),
            info,
            handle,
        });
        // SAFETY: Kept in `self`, whose drop drops it.
        let registration =
            unsafe { drm::Registration::new(self.pdev.as_ref(), unregistered, data, 0)? };
        self.registration = Some(registration);
        self.watch_outputs(outputs)
    }

    /// Starts the thread that follows changes of the scanouts.
    fn watch_outputs(&mut self, outputs: Arc<Outputs>) -> Result {
        let Some(device) = self.drm.clone() else {
            return Ok(());
        };
        let adapter = self.adapter.clone();
        // SAFETY: Kept in `self`, whose drop drops it.
        let watcher = unsafe {
            Kthread::new(c"rust_gpu_outputs", move |context: &kthread::Context| {
                outputs::watch(
                    &adapter,
                    &outputs,
                    &device.fences,
                    || device.hotplug(),
                    context,
                )
            })?
        };
        self.adapter.miniport().set_watcher(watcher.waker());
        // For what changed before anybody could wake it.
        watcher.wake();
        self.watcher = Some(watcher);
        Ok(())
    }

    /// Resets the device, so that it uses no memory and raises no interrupt any more. If that
    /// cannot be had, it loses the bus, and the memory it knows is never freed.
    fn silence(&mut self) {
        if self.transport().reset().is_err() {
            self.enabled.clear_master();
            self.dma.abandon();
            self.adapter.miniport().attached().abandon();
            core::mem::forget(self.drm.take());
        }
        if self.running {
            self.transport().stopped();
        }
    }
}

/// Makes the states of all messages, with the queues in them.
fn make_states<'a>(
    pdev: &'a pci::Device<Bound>,
    adapter: &Adapter<Gpu<'a>>,
    dma: &Arc<DmaContext>,
    states: &mut KVec<State>,
) -> Result {
    let gpu = adapter.miniport();
    let (transport, map) = (gpu.transport(), gpu.map());
    for _ in 0..map.count {
        states.push(State::new(), GFP_KERNEL)?;
    }
    for node in QUEUES {
        // CAST: the ordinal of a node is its queue's index, 0 or 1.
        let size = transport.queue_size(node as u16)?;
        let mut virtqueue = Virtqueue::new(pdev.as_ref(), dma, size, gpu.features())?;
        if node == Node::Control {
            let scanouts = transport.config()?.num_scanouts;
            virtqueue.prepare_panic(pdev.as_ref(), dma, scanouts)?;
        }
        gpu.set_pool(node, virtqueue.pool());
        install(states, map.of(node), node, Some(virtqueue))?;
    }
    install(states, map.of(Node::Software), Node::Software, None)?;
    let notify = states.get_mut(u32_as_usize(map.notify())).ok_or(EINVAL)?;
    notify.notify = Some(Notify::new());
    Ok(())
}

/// Tells a device with negotiated features which messages to raise and where the queues are.
///
/// The queues are in the states already: from here on their memory lives until a reset.
///
/// Errors: those of the transport, [`EINVAL`] if the device has less room than it had before.
fn set_up_queues(adapter: &Adapter<Gpu<'_>>, states: &mut KVec<State>) -> Result {
    let gpu = adapter.miniport();
    let (transport, map) = (gpu.transport(), gpu.map());
    // CAST: few messages.
    let vector = |message: u32| (!map.line).then_some(message as u16);

    transport.set_config_message(vector(map.config))?;
    for node in QUEUES {
        let message = map.of(node);
        let state = states.get_mut(u32_as_usize(message)).ok_or(EINVAL)?;
        let virtqueue = state.virtqueue(node).ok_or(EINVAL)?;
        // CAST: the ordinal of a node is its queue's index, 0 or 1.
        let (queue, size) = (node as u16, virtqueue.size());
        if transport.queue_size(queue)? < size {
            return Err(EINVAL);
        }
        let addresses = virtqueue.addresses();
        let doorbell = transport.setup_queue(queue, vector(message), addresses, size)?;
        gpu.set_doorbell(node, doorbell);
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
    state.nodes[node] = Some(KBox::new(NodeQueue::new(engine)?, GFP_KERNEL)?);
    Ok(())
}

impl Drop for StartedDevice<'_> {
    /// Stops the device, `DxgkDdiStopDevice`.
    fn drop(&mut self) {
        // First, so that nobody sleeps in an ioctl while the DRM device goes: unplugging it waits
        // for one SRCU that all DRM devices share.
        self.fences.stop();
        self.watcher = None;
        self.registration = None;
        self.debugfs = None;
        self.export = None;
        self.thread = None;
        // The device goes quiet between the two halves of disconnecting: synchronised routines are
        // refused before, handlers freed after, and until then a line interrupt is acknowledged.
        self.engines.lock().disconnect();
        self.silence();
        let interrupts = self.engines.lock().interrupts.take();
        drop(interrupts);
        // What is left goes in the order of the fields: rings, BARs (with the adapter), bus.
    }
}
