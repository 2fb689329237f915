// SPDX-License-Identifier: GPL-2.0

//! [`resource_create`], [`resource_info`], [`map`] and [`wait`] handle the ioctls about objects;
//! [`named`] finds the resource of the host behind an object that others name.

use kernel::{
    dma_buf::Usage,
    drm::{
        self,
        gem::{
            shmem::{
                ObjectConfig,
                Released, //
            },
            BaseObject, //
        },
    },
    num::casts::u32_as_usize,
    page::PAGE_SIZE,
    prelude::*,
    rbtree::RBTreeNodeReservation,
    sync::{
        aref::ARef,
        Arc, //
    },
    time::{
        msecs_to_jiffies,
        ClockSource,
        Monotonic, //
    },
    uapi, //
};

use crate::{
    command::ResourceCreate3d,
    driver::{
        ioctl::with_adapter,
        File, //
    },
    gpu::{
        Object,
        ObjectArgs,
        ObjectData,
        OwnResource,
        RustGpuDevice, //
    },
    render::{
        make_canonical,
        Context,
        NewObject, //
    },
};

use super::context::{
    ensure_context,
    when_room, //
};

/// How long WAIT waits, in milliseconds.
const WAIT_TIMEOUT_MS: u32 = 15_000;

/// Handles `DRM_IOCTL_VIRTGPU_RESOURCE_CREATE`: makes an object and its resource in the host. That
/// the host refuses it is not reported.
///
/// Errors: [`EINVAL`] for a size out of range; [`ENOMEM`]; [`EIO`] if a reset has lost the context;
/// those of [`when_room`].
pub(crate) fn resource_create(
    dev: &RustGpuDevice<drm::Ioctl>,
    args: &mut uapi::drm_virtgpu_resource_create,
    file: &drm::File<File>,
) -> Result<u32> {
    let context = file.inner().get_ref().context()?.clone();
    ensure_context(dev, &context)?;
    let object = new_object(dev, &context, args)?;
    let id = object.own().map_or(0, |own| own.id);
    args.bo_handle = object.create_handle(file)?;
    args.res_handle = id;
    Ok(0)
}

/// Makes an object, and tells the device of it.
fn new_object(
    dev: &RustGpuDevice<drm::Ioctl>,
    context: &Context,
    args: &uapi::drm_virtgpu_resource_create,
) -> Result<ARef<Object>> {
    let resources = context.render().resources();
    let incarnation = with_adapter(dev, |adapter| {
        let gpu = adapter.miniport();
        // So that what the device has let go of is freed.
        gpu.catch_up(adapter);
        Ok(gpu.incarnation())
    })?;
    resources.sweep();
    let size = match args.size {
        0 => PAGE_SIZE,
        size => u32_as_usize(size),
    };
    let id = resources.add_own(RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?);
    let own = ObjectArgs::Render(OwnResource { id, incarnation });
    let object = Object::new(dev, size, ObjectConfig::default(), own)
        .inspect_err(|_| resources.unreserve(id))?;
    let create = ResourceCreate3d {
        target: args.target.into(),
        format: args.format.into(),
        bind: args.bind.into(),
        width: args.width.into(),
        height: args.height.into(),
        depth: args.depth.into(),
        array_size: args.array_size.into(),
        last_level: args.last_level.into(),
        nr_samples: args.nr_samples.into(),
        flags: args.flags.into(),
        ..Default::default()
    };
    let mut new = with_adapter(dev, |adapter| {
        NewObject::new(adapter.miniport(), &object, create)
    })?;
    when_room(dev, |adapter| new.send(adapter))?;
    Ok(object)
}

/// Handles `DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_BLOB`.
///
/// Errors: [`EINVAL`], as with the C driver on a device without VIRTIO_GPU_F_RESOURCE_BLOB: the
/// driver does not negotiate that.
pub(crate) fn resource_create_blob(
    _dev: &RustGpuDevice<drm::Ioctl>,
    _args: &mut uapi::drm_virtgpu_resource_create_blob,
    _file: &drm::File<File>,
) -> Result<u32> {
    Err(EINVAL)
}

/// Handles `DRM_IOCTL_VIRTGPU_RESOURCE_INFO`: tells the resource behind an object.
///
/// Errors: [`ENOENT`] for a bad handle; [`EINVAL`] for a buffer of another device; those of
/// [`when_room`].
pub(crate) fn resource_info(
    dev: &RustGpuDevice<drm::Ioctl>,
    args: &mut uapi::drm_virtgpu_resource_info,
    file: &drm::File<File>,
) -> Result<u32> {
    let context = file.inner().get_ref().context()?;
    let object = Object::lookup_handle(file, args.bo_handle)?;
    args.res_handle = match object.own() {
        Some(own) => own.id,
        None => canonical(dev, context, &object)?,
    };
    // CAST: as with the C driver, the low half.
    args.size = object.size() as u32;
    Ok(0)
}

/// Returns the canonical resource of an object, of which the host is told.
fn canonical(dev: &RustGpuDevice<drm::Ioctl>, context: &Context, object: &Object) -> Result<u32> {
    when_room(dev, |adapter| {
        // Before it is made: after a reset it is made again.
        let incarnation = adapter.miniport().incarnation();
        let Some(id) = make_canonical(adapter, object)? else {
            return Ok(None);
        };
        if !context.set_resource(adapter, object, (id, incarnation))? {
            return Ok(None);
        }
        // What finds no room, or no context, follows with the first use.
        let _ = context.attach_pending(adapter);
        Ok(Some(id))
    })
}

/// Returns the number of the resource of an object that the context names in a command.
///
/// Errors: [`EIO`] if a reset has lost it; [`EINVAL`] for a buffer of another device; those of
/// [`when_room`].
pub(super) fn named(
    dev: &RustGpuDevice<drm::Ioctl>,
    context: &Context,
    object: &Object,
) -> Result<u32> {
    match object.own() {
        None => canonical(dev, context, object),
        Some(own) if own.incarnation == context.render().resources().resets() => Ok(own.id),
        Some(_) => Err(EIO),
    }
}

/// Does the same as [`named`] for many objects.
///
/// Errors: as [`named`].
pub(super) fn named_all(
    dev: &RustGpuDevice<drm::Ioctl>,
    context: &Context,
    objects: &[ARef<Object>],
) -> Result {
    objects
        .iter()
        .try_for_each(|object| named(dev, context, object).map(|_| ()))
}

/// Handles `DRM_IOCTL_VIRTGPU_MAP`: tells the offset at which an object can be mapped.
///
/// Errors: [`ENOENT`] for a bad handle; [`EINVAL`] for a buffer of another device; [`ENOMEM`].
pub(crate) fn map(
    _dev: &RustGpuDevice<drm::Ioctl>,
    args: &mut uapi::drm_virtgpu_map,
    file: &drm::File<File>,
) -> Result<u32> {
    file.inner().get_ref().context()?;
    let object = Object::lookup_handle(file, args.handle)?;
    if object.is_imported() {
        return Err(EINVAL);
    }
    args.offset = object.create_mmap_offset()?;
    Ok(0)
}

/// Handles `DRM_IOCTL_VIRTGPU_WAIT`: waits until nothing works on an object.
///
/// Errors: [`ENOENT`] for a bad handle; [`EBUSY`] if that takes longer than 15 s, or now with
/// VIRTGPU_WAIT_NOWAIT; [`ERESTARTSYS`] after a signal.
pub(crate) fn wait(
    dev: &RustGpuDevice<drm::Ioctl>,
    args: &mut uapi::drm_virtgpu_3d_wait,
    file: &drm::File<File>,
) -> Result<u32> {
    let context = file.inner().get_ref().context()?;
    let object = Object::lookup_handle(file, args.handle)?;
    let resources = context.render().resources();
    let exists = || {
        object
            .own()
            .is_none_or(|own| resources.is_own_answered(own.id))
    };
    let catch_up = || {
        // If it is gone there is nothing that waits.
        let _ = with_adapter(dev, |adapter| {
            adapter.miniport().catch_up(adapter);
            Ok(())
        });
    };
    if args.flags & uapi::VIRTGPU_WAIT_NOWAIT != 0 {
        if !exists() {
            catch_up();
        }
        return match exists() && object.is_idle(Usage::Read) {
            true => Ok(0),
            false => Err(EBUSY),
        };
    }
    let begin = Monotonic::ktime_get();
    let deadline = begin.saturating_add(i64::from(WAIT_TIMEOUT_MS) * 1_000_000);
    loop {
        // Before the look, so that an answer after it is not missed.
        let mark = dev.fences.generation();
        if exists() {
            break;
        }
        catch_up();
        if exists() {
            break;
        }
        // WAIT: object-wait
        match dev.fences.wait_change_until(mark, deadline) {
            Ok(()) => {}
            Err(error) if error == ETIME => return Err(EBUSY),
            Err(error) if error == ERESTARTSYS => return Err(error),
            // Nothing works on it if the device is gone or broken.
            Err(_) => break,
        }
    }
    let passed_ms = Monotonic::ktime_get().saturating_sub(begin) / 1_000_000;
    let left_ms = i64::from(WAIT_TIMEOUT_MS).saturating_sub(passed_ms).max(1);
    // CAST: at most the timeout.
    // WAIT: object-wait
    match object.wait_idle(Usage::Read, msecs_to_jiffies(left_ms as u32)) {
        Err(error) if error == ETIMEDOUT => Err(EBUSY),
        Err(error) => Err(error),
        Ok(_) => Ok(0),
    }
}

/// There is no reference to an object any more. It is freed when the device has let go of it, if it
/// is one of the 3D side.
///
/// Context: process; may sleep, reservations of other objects may be locked.
pub(crate) fn release(object: Released<ObjectData>) {
    let Some(own) = object.own() else {
        return;
    };
    let dev: ARef<RustGpuDevice> = object.dev().into();
    let Some(render) = dev.render() else {
        return;
    };
    let render = Arc::clone(render);
    if render.resources().retire(own.id, object) {
        render.wake();
    }
}
