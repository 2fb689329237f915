// SPDX-License-Identifier: GPL-2.0

//! [`context_init`] and [`get_caps`] handle the ioctls about a context and what it may be of;
//! [`ensure_context`] makes the context for the others.

use kernel::{
    drm,
    prelude::*,
    sync::Arc,
    time::{
        msecs_to_jiffies,
        ClockSource,
        Monotonic, //
    },
    uaccess::UserSlice,
    uapi, //
};

use crate::{
    command::DEBUG_NAME_SIZE,
    driver::{
        ioctl::with_adapter,
        File, //
    },
    gpu::{
        Gpu,
        Object,
        RustGpuDevice, //
    },
    irq::Adapter,
    render::{
        CapsetData,
        Context,
        ContextInit,
        Render,
        ANSWER_TIMEOUT_MS, //
    },
    scheduler::{
        Client,
        Lack,
        MAX_RINGS, //
    },
    transport::feature,
};

use super::submit::user_ptr;

/// The most parameters of a context, each once.
const MAX_PARAMS: u32 = 4;

/// The highest id of a capability set.
const MAX_CAPSET_ID: u64 = 63;

/// Calls `f` with the adapter until it returns something: until then there is no room, or the
/// device is being reset.
///
/// Errors: [`ERESTARTSYS`] after a signal; [`ENODEV`], [`EIO`] if the device is gone or broken, and
/// those of `f`. Context: process, no registration guard held.
pub(super) fn when_room<R>(
    dev: &RustGpuDevice<drm::Ioctl>,
    mut f: impl FnMut(&Adapter<Gpu<'_>>) -> Result<Option<R>>,
) -> Result<R> {
    loop {
        // Before the attempt, so that room made after it is not missed.
        let mark = dev.fences.generation();
        dev.fences.check()?;
        if let Some(found) = with_adapter(dev, &mut f)? {
            return Ok(found);
        }
        // WAIT: render-room
        dev.fences.wait_change(mark)?;
    }
}

/// Does the same for a packet of `client`. `f` says what it lacks: if the client itself has too
/// much, it waits for that alone, and what others do does not wake it.
///
/// Errors and context: as [`when_room`].
pub(super) fn when_client_has_room<R>(
    dev: &RustGpuDevice<drm::Ioctl>,
    client: &Client,
    mut f: impl FnMut(&Adapter<Gpu<'_>>) -> Result<Result<R, Lack>>,
) -> Result<R> {
    loop {
        // As above.
        let (mark, own_mark) = (dev.fences.generation(), client.given_back());
        dev.fences.check()?;
        match with_adapter(dev, &mut f)? {
            Ok(found) => return Ok(found),
            // WAIT: render-room
            Err(Lack::Room) => dev.fences.wait_change(mark)?,
            // WAIT: render-room
            Err(Lack::Own) => dev.fences.wait_given_back(client, own_mark)?,
        }
    }
}

/// Makes the context of a file in the host, unless it has one.
///
/// Errors: [`EIO`] if a reset has lost it or a packet of this file made the device hang; [`ENODEV`]
/// if the device is gone; those of [`when_room`].
pub(super) fn ensure_context(dev: &RustGpuDevice<drm::Ioctl>, context: &Arc<Context>) -> Result {
    if context.client().is_guilty() {
        return Err(EIO);
    }
    if dev.fences.is_unplugged() {
        return Err(ENODEV);
    }
    if !context.check()? {
        match when_room(dev, |adapter| {
            context.create(adapter, &ContextInit::default())
        }) {
            // By another thread.
            Err(error) if error == EEXIST => {}
            other => other?,
        }
    }
    Ok(())
}

/// A handle of an object is opened: the context of the file may use it.
///
/// Errors: [`ENOMEM`].
pub(crate) fn open_handle(object: &Object, file: &drm::File<File>) -> Result {
    let Some(context) = &file.inner().get_ref().context else {
        return Ok(());
    };
    context.open_handle(object)?;
    if context.exists() {
        // What finds no room follows with the first use.
        let _ = with_adapter(file.device(), |adapter| context.attach_pending(adapter));
    }
    Ok(())
}

/// Handles `DRM_IOCTL_VIRTGPU_CONTEXT_INIT`: makes the context of the file, of a kind.
///
/// Errors: [`EINVAL`] without CONTEXT_INIT, for more than four parameters, and for a parameter that
/// is not known, repeated, or out of range; [`EFAULT`]; [`EEXIST`] if the file has a context; those
/// of [`when_room`].
pub(crate) fn context_init(
    dev: &RustGpuDevice<drm::Ioctl>,
    args: &mut uapi::drm_virtgpu_context_init,
    file: &drm::File<File>,
) -> Result<u32> {
    let context = file.inner().get_ref().context()?.clone();
    let has_kinds = with_adapter(dev, |adapter| {
        Ok(adapter.miniport().features().has(feature::CONTEXT_INIT))
    })?;
    if !has_kinds || args.num_params > MAX_PARAMS {
        return Err(EINVAL);
    }
    let mut params = [(0u64, 0u64); MAX_PARAMS as usize];
    // CAST: at most four.
    let params = params.get_mut(..args.num_params as usize).ok_or(EINVAL)?;
    let len = params.len() * size_of::<uapi::drm_virtgpu_context_set_param>();
    let mut reader = UserSlice::new(user_ptr(args.ctx_set_params)?, len).reader();
    for (param, value) in params.iter_mut() {
        *param = reader.read()?;
        *value = reader.read()?;
    }
    if context.exists() {
        return Err(EEXIST);
    }
    let init = parse(context.render(), params)?;
    when_room(dev, |adapter| context.create(adapter, &init))?;
    Ok(0)
}

/// Returns what a context should be made as.
fn parse(render: &Render, params: &[(u64, u64)]) -> Result<ContextInit> {
    let mut init = ContextInit::default();
    let mut rings = None;
    for &(param, value) in params {
        match u32::try_from(param).map_err(|_| EINVAL)? {
            uapi::VIRTGPU_CONTEXT_PARAM_CAPSET_ID => {
                let offered = value <= MAX_CAPSET_ID && render.capsets().mask() & 1 << value != 0;
                if !offered || init.capset_id != 0 {
                    return Err(EINVAL);
                }
                init.capset_id = value.try_into()?;
            }
            uapi::VIRTGPU_CONTEXT_PARAM_NUM_RINGS => {
                if rings.is_some() || value > MAX_RINGS.into() {
                    return Err(EINVAL);
                }
                rings = Some(value);
            }
            uapi::VIRTGPU_CONTEXT_PARAM_POLL_RINGS_MASK => {
                if init.poll_mask != 0 {
                    return Err(EINVAL);
                }
                init.poll_mask = value;
            }
            uapi::VIRTGPU_CONTEXT_PARAM_DEBUG_NAME => {
                if init.name.is_some() {
                    return Err(EINVAL);
                }
                init.name = Some(read_name(value)?);
            }
            _ => return Err(EINVAL),
        }
    }
    let rings = rings.unwrap_or(0);
    let valid = 1u64
        .checked_shl(rings.try_into()?)
        .unwrap_or(0)
        .wrapping_sub(1);
    if init.poll_mask & !valid != 0 {
        return Err(EINVAL);
    }
    init.rings = rings.try_into()?;
    Ok(init)
}

/// Reads a name, of which it takes as much as there is room for.
fn read_name(address: u64) -> Result<[u8; DEBUG_NAME_SIZE]> {
    let mut name = [0; DEBUG_NAME_SIZE];
    let reader = UserSlice::new(user_ptr(address)?, DEBUG_NAME_SIZE).reader();
    reader.strcpy_into_buf(&mut name)?;
    Ok(name)
}

/// Handles `DRM_IOCTL_VIRTGPU_GET_CAPS`: copies a capability set to user space.
///
/// Errors: [`ENOSYS`] if the device has none; [`EINVAL`] for a size of 0, and for a set or a
/// version that there is not; [`EBUSY`] if the device does not answer for five seconds; [`EIO`] if
/// it answers with an error; [`EFAULT`]; [`ERESTARTSYS`] after a signal; [`ENODEV`], [`EIO`] if the
/// device is gone or broken.
pub(crate) fn get_caps(
    dev: &RustGpuDevice<drm::Ioctl>,
    args: &mut uapi::drm_virtgpu_get_caps,
    file: &drm::File<File>,
) -> Result<u32> {
    let context = file.inner().get_ref().context()?;
    let capsets = context.render().capsets();
    if capsets.is_empty() {
        return Err(ENOSYS);
    }
    if args.size == 0 {
        return Err(EINVAL);
    }
    let (id, version) = (args.cap_set_id, args.cap_set_ver);
    let size = capsets.size(id, version)?.min(args.size);
    let data = match capsets.cached(id, version) {
        Some(data) => data,
        None => ask(dev, context.render(), id, version)?,
    };
    // CAST: at most 64 KiB.
    let bytes = data.bytes().get(..size as usize).ok_or(EIO)?;
    UserSlice::new(user_ptr(args.addr)?, bytes.len())
        .writer()
        .write_slice(bytes)?;
    Ok(0)
}

/// Asks the device for a capability set, and once more if it was reset meanwhile.
fn ask(
    dev: &RustGpuDevice<drm::Ioctl>,
    render: &Render,
    id: u32,
    version: u32,
) -> Result<Arc<CapsetData>> {
    let timeout_ns = i64::from(ANSWER_TIMEOUT_MS) * 1_000_000;
    let deadline = Monotonic::ktime_get().saturating_add(timeout_ns);
    let busy = |error| match error {
        error if error == ETIME || error == ETIMEDOUT => EBUSY,
        error => error,
    };
    loop {
        let mark = dev.fences.generation();
        dev.fences.check()?;
        let sent = with_adapter(dev, |adapter| {
            render.capsets().request(adapter, id, version)
        })?;
        let Some(reply) = sent else {
            // WAIT: capability-sets
            dev.fences.wait_change_until(mark, deadline).map_err(busy)?;
            continue;
        };
        let left = deadline.saturating_sub(Monotonic::ktime_get()).max(0) / 1_000_000;
        // CAST: at most the timeout.
        let left = msecs_to_jiffies(left as u32);
        // WAIT: capability-sets
        reply.wait_closed(left.max(1)).map_err(busy)?;
        match render.capsets().answered(id, version, &reply) {
            Err(error) if error == ECANCELED => {}
            other => return other,
        }
    }
}
