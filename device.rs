// SPDX-License-Identifier: GPL-2.0

//! [`StartedDevice`] starts a device, `DxgkDdiStartDevice`, and its drop is the reverse,
//! `DxgkDdiStopDevice`: waiters are let go first, then the DRM device is unplugged (the drop of
//! `drm::Registration`), and last the device is reset ([`Engines`]).

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
    kthread::{
        self,
        Event,
        Kthread, //
    },
    pci::{
        self,
        IrqType,
        IrqTypes, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        atomic::Relaxed,
        Arc, //
    },
    time::{
        ClockSource,
        Monotonic, //
    },
};

#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
use crate::render::{
    Capsets,
    Render, //
};
use crate::{
    command,
    display::{
        outputs,
        Display,
        Formats,
        Outputs, //
    },
    driver::{
        DriverData,
        RegistrationData, //
    },
    gpu::{
        DebugFiles,
        DeviceInfo,
        Gpu,
        MessageMap,
        ResourceTable,
        RustGpuDevice,
        RustGpuDriver,
        Service, //
    },
    irq::Adapter,
    scheduler::{
        self,
        Fences, //
    },
    transport::{
        feature,
        Transport, //
    },
    virtqueue::DmaContext, //
};

mod dump;
mod engines;
pub(crate) mod owner;
mod power;
mod recover;
mod reset;

use self::engines::Engines;

/// How long the device may take for its first answers, in nanoseconds.
const ANSWER_TIMEOUT_NS: i64 = 5_000_000_000;

/// After how much of that time without an answer the device is reset and asked again. Most is for
/// the first attempt: a device that is only slow answers that one.
const RESET_AFTER_NS: i64 = 3_500_000_000;

/// Ends all waits when it is dropped, and all fences of packets: a commit that waits for one would
/// hold up the DRM device, whose screens are switched off first.
struct StopWaiters<'a> {
    fences: Arc<Fences>,
    adapter: Arc<Adapter<Gpu<'a>>>,
}

impl Drop for StopWaiters<'_> {
    fn drop(&mut self) {
        self.fences.unplug();
        scheduler::cancel_render(&*self.adapter);
    }
}

/// A started device. Its drop stops it, `DxgkDdiStopDevice`: the fields are dropped in order.
#[doc(alias = "DxgkDdiStopDevice")]
pub(crate) struct StartedDevice<'a> {
    /// First, so that nobody sleeps in an ioctl when the DRM device is unplugged: unplug waits for
    /// an SRCU that all DRM devices share.
    waiters: StopWaiters<'a>,
    _hotplug_thread: Kthread<'a>,
    registration: drm::Registration<'a, RustGpuDriver>,
    _debugfs: DebugFiles<'a>,
    _service: Service<'a>,
    _submission_thread: Kthread<'a>,
    /// After the thread that uses it.
    #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
    _render: Option<StartedRender>,
    _watchdog_thread: Kthread<'a>,
    display: Arc<Display<'a>>,
    /// The thread of the watchdog had the other reference.
    engines: Arc<Engines<'a>>,
}

impl<'a> StartedDevice<'a> {
    /// Starts the device, `DxgkDdiStartDevice`.
    ///
    /// The steps are functions that are not inlined. In the last one the console sets its mode and
    /// draws; the stack must be free of the others by then.
    ///
    /// Errors: those of the steps, each logged in one line; the device is then reset and marked
    /// FAILED.
    ///
    /// Context: process (probe).
    #[doc(alias = "DxgkDdiStartDevice")]
    pub(crate) fn start(core: &'a pci::Device<Core<'_>>) -> Result<Self> {
        let pdev: &'a pci::Device<Bound> = core;
        let fences = Fences::new()?;
        let resources = ResourceTable::new()?;
        let data = DriverData::new(fences.clone());
        let unregistered = drm::UnregisteredDevice::new(pdev, Ok(data))?;
        let drm: ARef<RustGpuDevice> = ARef::from(&*unregistered);
        let (engines, irq_type) = start_engines(core, &fences, &resources, drm.clone())?;
        let adapter = engines.adapter.clone();
        let submission_thread = start_submission_thread(&adapter)?;
        let watchdog_thread = start_watchdog_thread(&engines, &fences)?;
        let (info, outputs, formats) = identify(&engines, &fences, irq_type)?;
        #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
        let render = start_render(&engines, &fences, &resources, &drm, info.capsets)?;
        // SAFETY: A local here, and then a field of what is returned: it is not forgotten.
        let service = unsafe { Service::new(adapter.clone())? };
        // SAFETY: A local here, and then a field of what is returned: it is not forgotten.
        let debugfs = unsafe { DebugFiles::new(pdev, &adapter)? };
        let display = Display::new(adapter.clone(), outputs.count())?;
        let data = RegistrationData {
            adapter: adapter.clone(),
            display: display.clone(),
            outputs: outputs.clone(),
            formats,
            info,
            handle: service.handle(),
        };
        let registered = Arc::new(Event::new(), GFP_KERNEL)?;
        let hotplug_thread = start_hotplug_thread(&adapter, outputs, drm, registered.clone())?;
        // Before the console sets its mode, at which a ring may break.
        engines.allow_recovery(true);
        let registration = register(pdev, unregistered, data)?;
        registered.signal();
        let waiters = StopWaiters {
            fences: fences.clone(),
            adapter: adapter.clone(),
        };
        engines.started.store(true, Relaxed);
        owner::mention_3d(pdev, adapter.miniport().features());
        Ok(Self {
            waiters,
            _hotplug_thread: hotplug_thread,
            registration,
            _debugfs: debugfs,
            _service: service,
            _submission_thread: submission_thread,
            #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
            _render: render,
            _watchdog_thread: watchdog_thread,
            display,
            engines,
        })
    }
}

/// Takes the device over and starts its queues. Also returns how its interrupt messages arrive.
#[inline(never)]
fn start_engines<'a>(
    core: &'a pci::Device<Core<'_>>,
    fences: &Arc<Fences>,
    resources: &Arc<ResourceTable>,
    drm: ARef<RustGpuDevice>,
) -> Result<(Arc<Engines<'a>>, IrqType)> {
    let pdev: &'a pci::Device<Bound> = core;
    let enabled = pdev.enable()?;
    // SAFETY: Nothing was allocated or mapped yet, and probe runs alone.
    unsafe { core.dma_set_mask_and_coherent(DmaMask::new::<64>())? };
    // For the device the length of an entry has 32 bits.
    // SAFETY: As above.
    unsafe { core.dma_set_max_seg_size(u32::MAX) };

    let transport = Transport::new(pdev)?;
    let features = transport.negotiate(None)?;
    // Not before the reset: a device that a firmware or another kernel used may still have queues.
    enabled.set_master();
    let dma = DmaContext::new(pdev.as_ref(), &features)?;
    let types = IrqTypes::default().with(IrqType::MsiX).with(IrqType::Intx);
    let vectors = pdev.alloc_irq_vectors(1, MessageMap::MAX, types)?;
    let irq_type = vectors.irq_type();
    let map = MessageMap::new(vectors.len().try_into()?, matches!(irq_type, IrqType::Intx));
    let gpu = Gpu::new(
        pdev,
        transport,
        features,
        map,
        fences.clone(),
        dma.clone(),
        resources.clone(),
    );
    let adapter = Adapter::new(gpu, map.vectors())?;
    // SAFETY: The caller does not forget it.
    let engines = unsafe { Engines::start(adapter, vectors, dma, drm, enabled)? };
    Ok((Arc::new(engines, GFP_KERNEL)?, irq_type))
}

/// The 3D side of a started device. Its drop lets go of all contexts.
#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
struct StartedRender(Arc<Render>);

#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
impl Drop for StartedRender {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Starts the 3D side, if the device has one: asks for its `capsets` capability sets.
#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
#[inline(never)]
fn start_render(
    engines: &Engines<'_>,
    fences: &Arc<Fences>,
    resources: &Arc<ResourceTable>,
    drm: &RustGpuDevice,
    capsets: u32,
) -> Result<Option<StartedRender>> {
    let gpu = engines.adapter.miniport();
    if !gpu.features().has(feature::VIRGL) {
        return Ok(None);
    }
    let deadline = Monotonic::ktime_get().saturating_add(ANSWER_TIMEOUT_NS);
    let capsets = Capsets::ask(&engines.adapter, fences, capsets, deadline)?;
    let render = Render::new(fences.clone(), resources.clone(), capsets, gpu)?;
    drm.set_render(render.clone());
    gpu.set_feeder(render.clone());
    Ok(Some(StartedRender(render)))
}

/// Starts the submission thread.
#[inline(never)]
fn start_submission_thread<'a>(adapter: &Arc<Adapter<Gpu<'a>>>) -> Result<Kthread<'a>> {
    let adapter = adapter.clone();
    // SAFETY: The caller does not forget it.
    unsafe {
        Kthread::new(c"rust_gpu", move |context: &kthread::Context| {
            scheduler::submission_thread(&*adapter, context)
        })
    }
}

/// Starts the thread of the clock that finds stalls, and resets a device that hangs.
#[inline(never)]
fn start_watchdog_thread<'a>(
    engines: &Arc<Engines<'a>>,
    fences: &Arc<Fences>,
) -> Result<Kthread<'a>> {
    let (engines, fences) = (engines.clone(), fences.clone());
    // SAFETY: The caller does not forget it.
    unsafe {
        Kthread::new(c"rust_gpu_watchdog", move |context: &kthread::Context| {
            let recover = |hang| engines.pause(context) && engines.recover(&fences, hang);
            scheduler::watchdog_thread(&*engines.adapter, &fences, recover, context)
        })
    }
}

/// Reads the configuration of the device and asks it for its scanouts and its formats.
///
/// A device that does not answer is reset once and asked again.
///
/// Errors: [`ETIMEDOUT`], with one line in the log, if it does not answer then either;
/// [`ERESTARTSYS`] after a fatal signal, and those of the steps.
#[inline(never)]
fn identify(
    engines: &Engines<'_>,
    fences: &Fences,
    irq_type: IrqType,
) -> Result<(DeviceInfo, Arc<Outputs>, Formats)> {
    let adapter = &engines.adapter;
    let gpu = adapter.miniport();
    let config = gpu.transport().config()?;
    let have_edid = gpu.features().has(feature::EDID);
    let outputs = Outputs::new(config.num_scanouts, have_edid)?;
    let begin = Monotonic::ktime_get();
    let mut answer = outputs.start(adapter, fences, begin + RESET_AFTER_NS);
    if answer.as_ref().is_err_and(|error| *error == ETIMEDOUT) {
        dev_warn!(gpu.device(), "device does not answer: reset\n");
        engines.stop(fences);
        engines.restart(fences)?;
        answer = outputs.start(adapter, fences, begin + ANSWER_TIMEOUT_NS);
    }
    let display = answer.inspect_err(|error| {
        if *error == ETIMEDOUT {
            dev_err!(gpu.device(), "device does not answer\n");
        }
    })?;
    let formats = Formats::ask(adapter, fences, begin + ANSWER_TIMEOUT_NS)?;
    let info = DeviceInfo {
        scanouts: config.num_scanouts,
        capsets: config.num_capsets,
        display,
        edid_name: outputs.with(0, |_, edid| command::edid_name(edid?)),
        irq_type,
    };
    Ok((info, outputs, formats))
}

/// Makes the device known to user space.
///
/// The framebuffer of the firmware is taken over when nothing else is left to do: until then it is
/// all that the user has. A virtio-vga has it in a BAR of its own, which the transport does not
/// map.
#[inline(never)]
fn register<'a>(
    pdev: &'a pci::Device<Bound>,
    unregistered: drm::UnregisteredDevice<RustGpuDriver>,
    data: RegistrationData<'a>,
) -> Result<drm::Registration<'a, RustGpuDriver>> {
    let data: Result<_> = Ok(data);
    // SAFETY: The caller does not forget it.
    unsafe {
        drm::Registration::new_after(pdev.as_ref(), unregistered, data, 0, || {
            aperture::remove_conflicting_pci_devices(pdev, c"rust_gpu")
        })
    }
}

/// Starts the hotplug thread, which follows changes of the scanouts once the device is
/// `registered`: before that there is nobody to tell.
#[inline(never)]
fn start_hotplug_thread<'a>(
    adapter: &Arc<Adapter<Gpu<'a>>>,
    outputs: Arc<Outputs>,
    device: ARef<RustGpuDevice>,
    registered: Arc<Event>,
) -> Result<Kthread<'a>> {
    let adapter = adapter.clone();
    // SAFETY: The caller does not forget it.
    unsafe {
        Kthread::new(c"rust_gpu_hotplug", move |context: &kthread::Context| {
            // WAIT: idle-threads
            if !registered.wait(context) {
                return;
            }
            outputs::watch(
                &adapter,
                &outputs,
                &device.fences,
                || device.hotplug_event(),
                context,
            )
        })
    }
}
