// SPDX-License-Identifier: GPL-2.0

//! [`transfer_to_host`] and [`transfer_from_host`] handle the ioctls that copy between an object
//! and its resource in the host.

use kernel::{
    drm::{
        self,
        gem::BaseObject, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    uapi, //
};

use crate::{
    command::{
        Box3d,
        Command,
        TransferFromHost3d,
        TransferToHost3d, //
    },
    driver::File,
    gpu::{
        Gpu,
        Object,
        RustGpuDevice, //
    },
    render::{
        Context,
        Data, //
    },
    transport::Addressing,
};

use super::{
    context::ensure_context,
    resource::named,
    submit::Submission, //
};

/// Returns a part as the device has it.
fn part(part: &uapi::drm_virtgpu_3d_box) -> Box3d {
    Box3d {
        x: part.x.into(),
        y: part.y.into(),
        z: part.z.into(),
        w: part.w.into(),
        h: part.h.into(),
        d: part.d.into(),
    }
}

/// Handles `DRM_IOCTL_VIRTGPU_TRANSFER_TO_HOST`: lets the host copy from the memory of an object.
///
/// Errors: [`ENOENT`] for a bad handle; [`EINVAL`] for a stride, which only blobs have, and for a
/// buffer of another device; [`EIO`] if a reset has lost the context or the object; [`ENOMEM`];
/// those of [`ensure_context`].
pub(crate) fn transfer_to_host(
    dev: &RustGpuDevice<drm::Ioctl>,
    args: &mut uapi::drm_virtgpu_3d_transfer_to_host,
    file: &drm::File<File>,
) -> Result<u32> {
    let context = file.inner().get_ref().context()?;
    let object = Object::lookup_handle(file, args.bo_handle)?;
    ensure_context(dev, context)?;
    if args.stride != 0 || args.layer_stride != 0 {
        return Err(EINVAL);
    }
    let transfer = TransferToHost3d {
        part: part(&args.box_),
        offset: u64::from(args.offset).into(),
        resource_id: named(dev, context, &object)?.into(),
        level: args.level.into(),
        ..Default::default()
    };
    submit(dev, context, &object, &transfer, |gpu| {
        match gpu.dma().addressing() {
            Addressing::Dma(_) => object.sync_for_device(gpu.device()),
            Addressing::Physical(_) => Ok(()),
        }
    })
}

/// Handles `DRM_IOCTL_VIRTGPU_TRANSFER_FROM_HOST`: lets the host copy to the memory of an object.
///
/// Errors: as [`transfer_to_host`], but the context is made before the handle is looked at.
pub(crate) fn transfer_from_host(
    dev: &RustGpuDevice<drm::Ioctl>,
    args: &mut uapi::drm_virtgpu_3d_transfer_from_host,
    file: &drm::File<File>,
) -> Result<u32> {
    let context = file.inner().get_ref().context()?;
    ensure_context(dev, context)?;
    let object = Object::lookup_handle(file, args.bo_handle)?;
    if args.stride != 0 || args.layer_stride != 0 {
        return Err(EINVAL);
    }
    let transfer = TransferToHost3d {
        part: part(&args.box_),
        offset: u64::from(args.offset).into(),
        resource_id: named(dev, context, &object)?.into(),
        level: args.level.into(),
        ..Default::default()
    };
    let transfer = TransferFromHost3d { transfer };
    submit(dev, context, &object, &transfer, |_| Ok(()))
}

/// Submits a transfer of an object, which is fenced. For `prepare` see [`Submission::submit`].
///
/// Errors: those of that; [`ENOMEM`].
fn submit<C: Command>(
    dev: &RustGpuDevice<drm::Ioctl>,
    context: &Arc<Context>,
    object: &ARef<Object>,
    transfer: &C,
    prepare: impl Fn(&Gpu<'_>) -> Result,
) -> Result<u32> {
    let fence = context.client().new_fence()?;
    let submission = Submission {
        dev,
        context,
        objects: core::slice::from_ref(object),
        ring: None,
    };
    submission.submit(transfer, Data::Bytes(&[]), Some(fence), prepare)?;
    Ok(0)
}
