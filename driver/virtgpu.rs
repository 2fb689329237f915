// SPDX-License-Identifier: GPL-2.0

//! [`get_param`] and the functions beside it handle the ioctls of the C driver
//! (`include/uapi/drm/virtgpu_drm.h`): programs ask whether there is 3D, and use it.
//!
//! Errors are those of the C driver, in its order. A device without 3D has GETPARAM alone; the
//! other ioctls return [`EINVAL`] then, as for numbers that do not exist.
//!
//! User memory is copied once, before anything is locked, and without the registration guard.

use kernel::{
    drm::{
        self,
        ioctl::IOWR, //
    },
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
    uapi, //
};

use crate::{
    driver::File,
    gpu::RustGpuDevice,
    transport::{
        feature,
        Features, //
    },
};

use super::ioctl::with_adapter;

#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
mod context;
#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
mod execbuffer;
#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
mod fences;
#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
mod resource;
#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
mod submit;
#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
mod transfer;

#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
pub(crate) use self::{
    context::{
        context_init,
        get_caps,
        open_handle, //
    },
    execbuffer::execbuffer,
    resource::{
        map,
        release,
        resource_create,
        resource_create_blob,
        resource_info,
        wait, //
    },
    transfer::{
        transfer_from_host,
        transfer_to_host, //
    },
};

/// Defines the numbers, which are expressions that bindgen does not understand.
macro_rules! numbers {
    ($($(#[$attr:meta])* $name:ident = $nr:ident, $args:ident;)*) => { $(
        $(#[$attr])*
        pub(crate) const $name: u32 =
            IOWR::<uapi::$args>(uapi::DRM_COMMAND_BASE + uapi::$nr);
    )* };
}

numbers! {
    DRM_IOCTL_VIRTGPU_GETPARAM = DRM_VIRTGPU_GETPARAM, drm_virtgpu_getparam;
}

#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
numbers! {
    DRM_IOCTL_VIRTGPU_MAP = DRM_VIRTGPU_MAP, drm_virtgpu_map;
    DRM_IOCTL_VIRTGPU_EXECBUFFER = DRM_VIRTGPU_EXECBUFFER, drm_virtgpu_execbuffer;
    DRM_IOCTL_VIRTGPU_RESOURCE_CREATE =
        DRM_VIRTGPU_RESOURCE_CREATE, drm_virtgpu_resource_create;
    DRM_IOCTL_VIRTGPU_RESOURCE_INFO = DRM_VIRTGPU_RESOURCE_INFO, drm_virtgpu_resource_info;
    DRM_IOCTL_VIRTGPU_TRANSFER_FROM_HOST =
        DRM_VIRTGPU_TRANSFER_FROM_HOST, drm_virtgpu_3d_transfer_from_host;
    DRM_IOCTL_VIRTGPU_TRANSFER_TO_HOST =
        DRM_VIRTGPU_TRANSFER_TO_HOST, drm_virtgpu_3d_transfer_to_host;
    DRM_IOCTL_VIRTGPU_WAIT = DRM_VIRTGPU_WAIT, drm_virtgpu_3d_wait;
    DRM_IOCTL_VIRTGPU_GET_CAPS = DRM_VIRTGPU_GET_CAPS, drm_virtgpu_get_caps;
    DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_BLOB =
        DRM_VIRTGPU_RESOURCE_CREATE_BLOB, drm_virtgpu_resource_create_blob;
    DRM_IOCTL_VIRTGPU_CONTEXT_INIT = DRM_VIRTGPU_CONTEXT_INIT, drm_virtgpu_context_init;
}

/// Handles `DRM_IOCTL_VIRTGPU_GETPARAM`: writes a C `int` to where `args.value` points.
///
/// Errors, all as with the C driver: [`EINVAL`] for a parameter that does not exist, [`ENOENT`] for
/// one without a value, [`EFAULT`] for a bad pointer; [`ENODEV`] if the device is gone.
///
/// Context: process. Waits for user memory, so it holds no guard then.
pub(crate) fn get_param(
    dev: &RustGpuDevice<drm::Ioctl>,
    args: &mut uapi::drm_virtgpu_getparam,
    _file: &drm::File<File>,
) -> Result<u32> {
    let features = with_adapter(dev, |adapter| Ok(*adapter.miniport().features()))?;
    let value = param(dev, &features, args.param)?;
    let to = UserPtr::from_addr(args.value.try_into().map_err(|_| EFAULT)?);
    UserSlice::new(to, size_of_val(&value))
        .writer()
        .write(&value)?;
    Ok(0)
}

/// Returns the value of a parameter. It tells of what was negotiated, not of what the device
/// offers: most features need a driver that uses them.
fn param(dev: &RustGpuDevice<drm::Ioctl>, features: &Features, param: u64) -> Result<i32> {
    let bit = match u32::try_from(param).map_err(|_| EINVAL)? {
        uapi::VIRTGPU_PARAM_3D_FEATURES => feature::VIRGL,
        uapi::VIRTGPU_PARAM_CAPSET_QUERY_FIX => return Ok(1),
        uapi::VIRTGPU_PARAM_RESOURCE_BLOB => feature::RESOURCE_BLOB,
        uapi::VIRTGPU_PARAM_CROSS_DEVICE => feature::RESOURCE_UUID,
        uapi::VIRTGPU_PARAM_CONTEXT_INIT | uapi::VIRTGPU_PARAM_EXPLICIT_DEBUG_NAME => {
            feature::CONTEXT_INIT
        }
        // The driver maps no memory of the host.
        uapi::VIRTGPU_PARAM_HOST_VISIBLE => return Ok(0),
        // CAST: as with the C driver, sets above 31 do not fit.
        uapi::VIRTGPU_PARAM_SUPPORTED_CAPSET_IDs => return Ok(dev.capset_mask() as i32),
        // The driver does not negotiate VIRTIO_GPU_F_BLOB_ALIGNMENT.
        uapi::VIRTGPU_PARAM_BLOB_ALIGNMENT => return Err(ENOENT),
        _ => return Err(EINVAL),
    };
    Ok(features.has(bit).into())
}
