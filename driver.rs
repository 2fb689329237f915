// SPDX-License-Identifier: GPL-2.0

//! [`RustGpuDriver`] implements [`drm::Driver`]: what user space sees of a device.

use kernel::{
    device::DeviceContext,
    drm::{
        self,
        ioctl::{
            AUTH,
            RENDER_ALLOW, //
        },
    },
    pci,
    prelude::*,
    sync::Arc, //
};

use crate::{
    display::{
        Display,
        Formats,
        Outputs, //
    },
    gpu::{
        DeviceInfo,
        Gpu,
        Object,
        RustGpuDevice,
        RustGpuDriver, //
    },
    irq::Adapter,
    scheduler::{
        Client,
        Fences, //
    },
};

pub(crate) mod gem;
mod ioctl;
pub(crate) mod kms;
mod lull;
mod virtgpu;

use self::{
    lull::Lull,
    virtgpu::DRM_IOCTL_VIRTGPU_GETPARAM, //
};

/// What lives until the last file is closed, also after unbind. Holds nothing of the device.
pub(crate) struct DriverData {
    pub(crate) fences: Arc<Fences>,
    /// For clients that are gone.
    pub(crate) lull: Lull,
}

/// What lives while the device is registered.
pub(crate) struct RegistrationData<'a> {
    pub(crate) adapter: Arc<Adapter<Gpu<'a>>>,
    pub(crate) display: Arc<Display<'a>>,
    pub(crate) outputs: Arc<Outputs>,
    /// Pixel formats of framebuffers on screens.
    pub(crate) formats: Formats,
    pub(crate) info: DeviceInfo,
    /// The adapter's handle for other modules.
    pub(crate) handle: u64,
}

/// One open file: a client of the scheduler.
pub(crate) struct File {
    pub(crate) client: Arc<Client>,
    fences: Arc<Fences>,
}

impl Drop for File {
    fn drop(&mut self) {
        self.fences.close(&self.client);
    }
}

impl DriverData {
    /// Makes the data of a device with these fences.
    pub(crate) fn new(fences: Arc<Fences>) -> Self {
        Self {
            fences,
            lull: Lull::new(),
        }
    }
}

impl drm::file::DriverFile for File {
    type Driver = RustGpuDriver;

    fn open(device: &RustGpuDevice) -> Result<Pin<KBox<Self>>> {
        device.fences.check()?;
        let client = Client::new()?;
        let fences = device.fences.clone();
        Ok(KBox::new(Self { client, fences }, GFP_KERNEL_ACCOUNT)?.into())
    }
}

// The name is the C driver's: Mesa, libdrm and IGT find the device by it.
const INFO: drm::DriverInfo = drm::DriverInfo {
    major: 0,
    minor: 1,
    patchlevel: 0,
    name: c"virtio_gpu",
    desc: c"virtio GPU",
};

#[vtable]
impl drm::Driver for RustGpuDriver {
    type Data = DriverData;
    type RegistrationData<'a> = RegistrationData<'a>;
    type Object = Object;
    type File = File;
    type ParentDevice<Ctx: DeviceContext> = pci::Device<Ctx>;

    const INFO: drm::DriverInfo = INFO;
    const FEAT_RENDER: bool = true;
    const FEAT_SYNCOBJ: bool = true;
    const FEAT_SYNCOBJ_TIMELINE: bool = true;
    const HUGE_PAGES: bool = true;
    const KMS: Option<drm::kms::Ops<Self>> = Some(drm::kms::Ops::new());

    kernel::declare_drm_ioctls! {
        (
            VIRTGPU_GETPARAM,
            drm_virtgpu_getparam,
            RENDER_ALLOW,
            unguarded virtgpu::get_param
        ),
        (
            RUST_GPU_DEVICE_INFO,
            drm_rust_gpu_device_info,
            RENDER_ALLOW,
            ioctl::device_info
        ),
        (
            RUST_GPU_MESSAGE_COUNTERS,
            drm_rust_gpu_message_counters,
            RENDER_ALLOW,
            ioctl::message_counters
        ),
        (
            RUST_GPU_SUBMIT_NULL,
            drm_rust_gpu_submit_null,
            AUTH | RENDER_ALLOW,
            unguarded ioctl::submit_null
        ),
        (
            RUST_GPU_WAIT_FENCE,
            drm_rust_gpu_wait_fence,
            AUTH | RENDER_ALLOW,
            unguarded ioctl::wait_fence
        ),
        (
            RUST_GPU_QUERY_FENCE,
            drm_rust_gpu_query_fence,
            AUTH | RENDER_ALLOW,
            unguarded ioctl::query_fence
        ),
    }
}
