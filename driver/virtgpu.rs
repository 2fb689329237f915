// SPDX-License-Identifier: GPL-2.0

//! [`get_param`] handles the one ioctl of the C driver that this one has
//! (`include/uapi/drm/virtgpu_drm.h`): programs ask it whether there is 3D.

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

/// The number, which is an expression that bindgen does not understand.
pub(crate) const DRM_IOCTL_VIRTGPU_GETPARAM: u32 =
    IOWR::<uapi::drm_virtgpu_getparam>(uapi::DRM_COMMAND_BASE + uapi::DRM_VIRTGPU_GETPARAM);

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
    let value = param(&features, args.param)?;
    let to = UserPtr::from_addr(args.value.try_into().map_err(|_| EFAULT)?);
    UserSlice::new(to, size_of_val(&value))
        .writer()
        .write(&value)?;
    Ok(0)
}

/// Returns the value of a parameter. It tells of what was negotiated, not of what the device
/// offers: most features need a driver that uses them.
fn param(features: &Features, param: u64) -> Result<i32> {
    let bit = match u32::try_from(param).map_err(|_| EINVAL)? {
        uapi::VIRTGPU_PARAM_3D_FEATURES => feature::VIRGL,
        uapi::VIRTGPU_PARAM_CAPSET_QUERY_FIX => return Ok(1),
        uapi::VIRTGPU_PARAM_RESOURCE_BLOB => feature::RESOURCE_BLOB,
        uapi::VIRTGPU_PARAM_CROSS_DEVICE => feature::RESOURCE_UUID,
        uapi::VIRTGPU_PARAM_CONTEXT_INIT | uapi::VIRTGPU_PARAM_EXPLICIT_DEBUG_NAME => {
            feature::CONTEXT_INIT
        }
        // The driver maps no memory of the host, and has asked for no capability set.
        uapi::VIRTGPU_PARAM_HOST_VISIBLE | uapi::VIRTGPU_PARAM_SUPPORTED_CAPSET_IDs => {
            return Ok(0);
        }
        // The driver does not negotiate VIRTIO_GPU_F_BLOB_ALIGNMENT.
        uapi::VIRTGPU_PARAM_BLOB_ALIGNMENT => return Err(ENOENT),
        _ => return Err(EINVAL),
    };
    Ok(features.has(bit).into())
}
