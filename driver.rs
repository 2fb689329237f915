// SPDX-License-Identifier: GPL-2.0

//! [`RustGpuDriver`] implements [`drm::Driver`]: what user space sees of a device.

#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
use kernel::sync::SetOnce;
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

#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
use crate::render::{
    Context,
    Render, //
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
    // The numbers, which the macro below names.
    virtgpu::*, //
};

/// What lives until the last file is closed, also after unbind. Holds nothing of the device.
pub(crate) struct DriverData {
    pub(crate) fences: Arc<Fences>,
    /// For clients that are gone.
    pub(crate) lull: Lull,
    /// The 3D side, if the device has one.
    #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
    render: SetOnce<Arc<Render>>,
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
    /// Its context in the host, if the device has 3D.
    #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
    pub(crate) context: Option<Arc<Context>>,
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
            #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
            render: SetOnce::new(),
        }
    }

    /// Returns the mask of the ids of capability sets.
    fn capset_mask(&self) -> u64 {
        #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
        if let Some(render) = self.render() {
            return render.capsets().mask();
        }
        0
    }
}

#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
impl DriverData {
    /// Sets the 3D side of the device. Later calls change nothing.
    pub(crate) fn set_render(&self, render: Arc<Render>) {
        self.render.populate(render);
    }

    /// Returns the 3D side, if the device has one.
    pub(crate) fn render(&self) -> Option<&Arc<Render>> {
        self.render.as_ref()
    }
}

#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
impl File {
    /// Returns the context of the file.
    ///
    /// Errors: [`EINVAL`] if the device has no 3D.
    fn context(&self) -> Result<&Arc<Context>> {
        self.context.as_ref().ok_or(EINVAL)
    }

    /// A handle of an object is closed.
    fn close_handle(&self, object: &Object) {
        if let Some(context) = &self.context {
            context.close_handle(object);
        }
    }
}

impl drm::file::DriverFile for File {
    type Driver = RustGpuDriver;

    fn open(device: &RustGpuDevice) -> Result<Pin<KBox<Self>>> {
        device.fences.check()?;
        let client = Client::new()?;
        let fences = device.fences.clone();
        #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
        let context = match device.render() {
            Some(render) => Some(Context::new(render.clone(), client.clone())?),
            None => None,
        };
        let file = Self {
            client,
            fences,
            #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
            context,
        };
        Ok(KBox::new(file, GFP_KERNEL_ACCOUNT)?.into())
    }

    #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
    fn postclose(self: Pin<&Self>, _device: &RustGpuDevice<drm::Ioctl>) {
        if let Some(context) = &self.context {
            // First: what waits is not handed out after that.
            self.fences.close(&self.client);
            context.close();
        }
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

/// Declares the ioctls, with those of the 3D side that come before GETPARAM and after it.
macro_rules! ioctls {
    ([$($before:tt)*] [$($after:tt)*]) => {
        kernel::declare_drm_ioctls! {
            $($before)*
            (
                VIRTGPU_GETPARAM,
                drm_virtgpu_getparam,
                RENDER_ALLOW,
                unguarded virtgpu::get_param
            ),
            $($after)*
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
    };
}

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

    #[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
    ioctls! {
        [
            (
                VIRTGPU_MAP,
                drm_virtgpu_map,
                RENDER_ALLOW,
                unguarded virtgpu::map
            ),
            (
                VIRTGPU_EXECBUFFER,
                drm_virtgpu_execbuffer,
                RENDER_ALLOW,
                unguarded virtgpu::execbuffer
            ),
        ]
        [
            (
                VIRTGPU_RESOURCE_CREATE,
                drm_virtgpu_resource_create,
                RENDER_ALLOW,
                unguarded virtgpu::resource_create
            ),
            (
                VIRTGPU_RESOURCE_INFO,
                drm_virtgpu_resource_info,
                RENDER_ALLOW,
                unguarded virtgpu::resource_info
            ),
            (
                VIRTGPU_TRANSFER_FROM_HOST,
                drm_virtgpu_3d_transfer_from_host,
                RENDER_ALLOW,
                unguarded virtgpu::transfer_from_host
            ),
            (
                VIRTGPU_TRANSFER_TO_HOST,
                drm_virtgpu_3d_transfer_to_host,
                RENDER_ALLOW,
                unguarded virtgpu::transfer_to_host
            ),
            (
                VIRTGPU_WAIT,
                drm_virtgpu_3d_wait,
                RENDER_ALLOW,
                unguarded virtgpu::wait
            ),
            (
                VIRTGPU_GET_CAPS,
                drm_virtgpu_get_caps,
                RENDER_ALLOW,
                unguarded virtgpu::get_caps
            ),
            (
                VIRTGPU_RESOURCE_CREATE_BLOB,
                drm_virtgpu_resource_create_blob,
                RENDER_ALLOW,
                unguarded virtgpu::resource_create_blob
            ),
            (
                VIRTGPU_CONTEXT_INIT,
                drm_virtgpu_context_init,
                RENDER_ALLOW,
                unguarded virtgpu::context_init
            ),
        ]
    }

    #[cfg(not(CONFIG_DRM_RUST_GPU_RENDER))]
    ioctls! { [] [] }
}
