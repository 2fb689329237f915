// SPDX-License-Identifier: GPL-2.0

//! `rust_gpu` is a DRM driver for the virtio GPU that keeps WDDM's interrupt contract.
//!
//! Where to start: `irq.rs` has the contract (`synchronize_execution`), `ring.rs` the queue that is
//! shared with the device, `scheduler.rs` the way of a packet from its submission to its
//! completion. `gpu.rs` joins them for this device, `device.rs` starts and stops it.
//! `Documentation/gpu/rust_gpu.rst` has the design and a glossary.

use kernel::{
    device::{
        Bound,
        Core, //
    },
    driver::Registration,
    drm,
    pci,
    prelude::*,
    InPlaceModule, //
};

mod command;
mod device;
mod display;
mod driver;
mod gpu;
mod irq;
#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
mod render;
mod ring;
mod scheduler;
mod transport;
mod virtqueue;

/// Device id of the virtio GPU: 0x1040 plus its device type, 16 (virtio 1.3, 4.1.2).
const DEVICE_ID: u32 = 0x1050;

/// The PCI driver: probe is `DxgkDdiStartDevice`, and the drop of [`device::StartedDevice`], when
/// the driver is unbound, is `DxgkDdiStopDevice`.
struct RustGpuPci;

kernel::pci_device_table!(
    PCI_TABLE,
    <RustGpuPci as pci::Driver>::IdInfo,
    [(
        pci::DeviceId::from_id(pci::Vendor::REDHAT_QUMRANET, DEVICE_ID),
        ()
    )]
);

impl pci::Driver for RustGpuPci {
    type IdInfo = ();
    type Data<'bound> = device::StartedDevice<'bound>;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;
    const PM_OPS: Option<pci::PmOps<Self>> = Some(pci::PmOps::new());
    const RESET_OPS: Option<pci::ResetOps<Self>> = Some(pci::ResetOps::new());

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _id_info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        let dev: &pci::Device<Bound> = pdev;
        device::owner::check(dev)
            .and_then(|()| check_modeset(dev))
            .and_then(|()| device::StartedDevice::start(pdev))
    }

    fn shutdown<'bound>(_pdev: &'bound pci::Device<Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        this.shutdown();
    }
}

/// Refuses a device that the user leaves to the driver of the firmware's framebuffer, and logs one
/// line.
///
/// Errors: [`ENODEV`]. Context: process (probe).
fn check_modeset(pdev: &pci::Device<Bound>) -> Result {
    let modeset = module_parameters::modeset.value();
    if modeset == 0 || (modeset < 0 && drm::kms::firmware_drivers_only()) {
        dev_info!(pdev, "not taken: modeset=0 or nomodeset\n");
        return Err(ENODEV);
    }
    Ok(())
}

impl pci::SleepDriver for RustGpuPci {
    fn suspend<'bound>(
        _pdev: &'bound pci::Device<Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
    ) -> Result {
        this.suspend()
    }

    fn resume<'bound>(
        _pdev: &'bound pci::Device<Core<'_>>,
        this: Pin<&Self::Data<'bound>>,
    ) -> Result {
        this.restore()
    }
}

impl pci::ResetDriver for RustGpuPci {
    fn reset_prepare<'bound>(_pdev: &'bound pci::Device<Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        this.prepare_function_reset();
    }

    fn reset_done<'bound>(_pdev: &'bound pci::Device<Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        this.finish_function_reset();
    }
}

/// The module. Its fields are dropped in order: the driver, then what all devices share.
#[pin_data]
struct RustGpuModule {
    #[pin]
    _driver: Registration<pci::Adapter<RustGpuPci>>,
    _debugfs: gpu::debugfs::Root,
}

impl InPlaceModule for RustGpuModule {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        // Before the driver, whose probe uses it.
        let debugfs = gpu::debugfs::Root::new();
        try_pin_init!(Self {
            _driver <- Registration::new(
                <LocalModule as kernel::ModuleMetadata>::NAME,
                module,
            ),
            _debugfs: debugfs,
        })
    }
}

module! {
    type: RustGpuModule,
    name: "rust_gpu",
    authors: ["The rust_gpu authors"],
    description: "virtio GPU driver with WDDM's interrupt contract",
    license: "GPL v2",
    params: {
        modeset: i32 {
            default: -1,
            description: "0: do not take a device, 1: take it also with nomodeset (default: -1)",
        },
    },
}
