// SPDX-License-Identifier: GPL-2.0

//! [`submit_null`], [`wait_fence`], [`query_fence`], [`device_info`] and [`message_counters`]
//! handle the ioctls of `include/uapi/drm/rust_gpu_drm.h`.
//!
//! Handlers that may wait take the registration guard only around what touches the device: all DRM
//! devices share the SRCU behind it, and the unplug of one waits for every holder.
//!
//! Context of all: process.

use kernel::{
    drm,
    num::casts::u32_as_usize,
    pci::IrqType,
    prelude::*,
    sync::Arc,
    time::{
        ClockSource,
        Monotonic, //
    },
    uapi, //
};

use crate::{
    command::MAX_SCANOUTS,
    driver::{
        File,
        RegistrationData, //
    },
    gpu::{
        Gpu,
        RustGpuDevice, //
    },
    irq::{
        ntstatus,
        Adapter,
        Status, //
    },
    scheduler::{
        self,
        Client,
        Fences,
        Hardware,
        Node, //
    },
};

// The device describes as many scanouts as the user API has room for.
const _: () = assert!(MAX_SCANOUTS == u32_as_usize(uapi::RUST_GPU_MAX_SCANOUTS));

/// Longest time that a submitter waits for room, and a question for the end of a reset, in
/// nanoseconds.
const SUBMIT_TIMEOUT_NS: i64 = 10_000_000_000;

/// Handles `DRM_IOCTL_RUST_GPU_DEVICE_INFO`: tells what the device said about itself, and its
/// messages.
///
/// Errors: [`EINVAL`] for flags or a pad that are not zero.
pub(crate) fn device_info(
    _dev: &RustGpuDevice<drm::Registered>,
    data: &RegistrationData<'_>,
    args: &mut uapi::drm_rust_gpu_device_info,
    _file: &drm::File<File>,
) -> Result<u32> {
    if args.flags != 0 || args.pad != 0 {
        return Err(EINVAL);
    }
    let gpu = data.adapter.miniport();
    let (map, info) = (gpu.map(), &data.info);
    *args = uapi::drm_rust_gpu_device_info {
        interrupt_type: match info.irq_type {
            IrqType::Intx => uapi::RUST_GPU_INTERRUPT_INTX,
            IrqType::Msi => uapi::RUST_GPU_INTERRUPT_MSI,
            IrqType::MsiX => uapi::RUST_GPU_INTERRUPT_MSIX,
        },
        device_features: gpu.features().device,
        driver_features: gpu.features().driver,
        handle: data.handle,
        messages: map.count,
        notify_message: map.notify(),
        dpc_message: map.vectors().dpc_message,
        config_message: map.config,
        control_message: map.control,
        cursor_message: map.cursor,
        nodes: uapi::RUST_GPU_NODE_COUNT,
        scanouts: info.scanouts,
        capsets: info.capsets,
        ..Default::default()
    };
    if let Some(name) = &info.edid_name {
        for (to, from) in args.edid_name.iter_mut().zip(name) {
            *to = *from;
        }
    }
    let scanouts = args.scanout.iter_mut().zip(&info.display.pmodes);
    // CAST: at most 16.
    for (to, from) in scanouts.take(info.scanouts as usize) {
        *to = uapi::drm_rust_gpu_scanout {
            x: from.r.x.into(),
            y: from.r.y.into(),
            width: from.r.width.into(),
            height: from.r.height.into(),
            enabled: (from.enabled != 0).into(),
            pad: 0,
        };
    }
    Ok(0)
}

/// Handles `DRM_IOCTL_RUST_GPU_MESSAGE_COUNTERS`: a synchronised routine of the message reads its
/// counters, and its status is passed on.
///
/// Errors: [`EINVAL`] for flags or a pad that are not zero.
pub(crate) fn message_counters(
    _dev: &RustGpuDevice<drm::Registered>,
    data: &RegistrationData<'_>,
    args: &mut uapi::drm_rust_gpu_message_counters,
    _file: &drm::File<File>,
) -> Result<u32> {
    if args.flags != 0 || args.pad != 0 {
        return Err(EINVAL);
    }
    let adapter = &data.adapter;
    let answer = adapter.synchronize_execution(args.message, |state| {
        let notifications = Gpu::notify(state).map_or(0, |notify| notify.notifications());
        (*state.counters(), notifications)
    });
    args.status = ntstatus(&answer);
    if let Ok((counters, notifications)) = answer {
        args.interrupts = counters.interrupts;
        args.not_ours = counters.not_ours;
        args.dpcs_queued = counters.dpcs_queued;
        args.dpcs_refused = counters.dpcs_refused;
        args.executions = counters.executions;
        args.refused = counters.refused;
        args.longest_hold_ns = counters.longest_hold_ns;
        args.notifications = notifications;
        args.dpcs_run = adapter.dpcs_run();
        args.invalid = adapter.invalid();
    }
    Ok(0)
}

/// Runs `f` on the adapter while the device is registered.
///
/// Errors: [`ENODEV`] if the device is not registered any more, and those of `f`.
pub(super) fn with_adapter<R>(
    dev: &RustGpuDevice<drm::Ioctl>,
    f: impl FnOnce(&Adapter<Gpu<'_>>) -> Result<R>,
) -> Result<R> {
    let guard = dev.registration_guard().ok_or(ENODEV)?;
    guard.registration_data_with(|data| f(&data.adapter))
}

/// Runs `f` on the adapter. While the device is being reset and is not connected, waits for the end
/// of that, at most until `deadline_ns` of CLOCK_MONOTONIC.
///
/// Errors: [`ETIME`] at the deadline; [`ERESTARTSYS`] after a signal; [`ENODEV`], [`EIO`] if the
/// device is gone or broken.
fn when_connected<R>(
    dev: &RustGpuDevice<drm::Ioctl>,
    deadline_ns: i64,
    f: impl Fn(&Adapter<Gpu<'_>>) -> Result<R, Status>,
) -> Result<R> {
    let fences: &Fences = &dev.fences;
    loop {
        // Before the attempt, so that a connection after it is not missed.
        let mark = fences.generation();
        if let Ok(found) = with_adapter(dev, |adapter| Ok(f(adapter)))? {
            return Ok(found);
        }
        // WAIT: reconnection
        fences.wait_change_until(mark, deadline_ns)?;
    }
}

/// Handles `DRM_IOCTL_RUST_GPU_SUBMIT_NULL`: submits null packets, and waits for room unless told
/// not to.
///
/// With RUST_GPU_SUBMIT_BACKGROUND the packets of this file in this node go after those of others,
/// from now on. Nothing raises them again.
///
/// Errors: [`EINVAL`] for a node, flags or a count out of range; [`EOPNOTSUPP`] for the render
/// node, which has packets of 3D only; [`EAGAIN`] if the file has no place and
/// RUST_GPU_SUBMIT_NONBLOCK is given; [`ETIME`] if that stays so for ten seconds; [`ERESTARTSYS`]
/// after a signal; [`EIO`] if a packet of this file made the device hang; [`ENODEV`], [`EIO`] if
/// the device is gone or broken.
#[doc(alias = "DxgkDdiSubmitCommand")]
pub(crate) fn submit_null(
    dev: &RustGpuDevice<drm::Ioctl>,
    args: &mut uapi::drm_rust_gpu_submit_null,
    file: &drm::File<File>,
) -> Result<u32> {
    let node = Node::try_from(args.node)?;
    if args.flags & !uapi::RUST_GPU_SUBMIT_FLAGS != 0
        || args.count == 0
        || args.count > uapi::RUST_GPU_SUBMIT_MAX_COUNT
    {
        return Err(EINVAL);
    }
    if node == Node::Render {
        return Err(EOPNOTSUPP);
    }
    let nonblock = args.flags & uapi::RUST_GPU_SUBMIT_NONBLOCK != 0;
    let client = &file.inner().client;
    let fences: &Fences = &dev.fences;
    let deadline = Monotonic::ktime_get().saturating_add(SUBMIT_TIMEOUT_NS);
    if args.flags & uapi::RUST_GPU_SUBMIT_BACKGROUND != 0 {
        client.lower(node);
    }
    let mut submitted = 0;
    let result = loop {
        // Before the attempt, so that room made after it is not missed.
        let mark = fences.generation();
        match submit_some(dev, node, args.count - submitted, client) {
            Ok((0, _)) => {}
            Ok((taken, ticket)) => {
                args.fence = ticket;
                submitted += taken;
            }
            Err(error) => break Err(error),
        }
        if submitted == args.count {
            break Ok(());
        }
        if nonblock {
            break Err(EAGAIN);
        }
        if Monotonic::ktime_get() > deadline {
            break Err(ETIME);
        }
        // WAIT: submission
        if let Err(error) = fences.wait_change(mark) {
            break Err(error);
        }
    };
    if submitted == 0 {
        result?;
    }
    // Reports the packets that were taken, also if no more could be.
    args.submitted = submitted;
    Ok(0)
}

/// Submits up to `wanted` null packets, as many as `client` and its context have places for: none
/// while the device is being reset. Returns how many, and the ticket of the last one.
fn submit_some(
    dev: &RustGpuDevice<drm::Ioctl>,
    node: Node,
    wanted: u32,
    client: &Arc<Client>,
) -> Result<(u32, u64)> {
    dev.fences.check()?;
    if client.is_guilty() {
        return Err(EIO);
    }
    let granted = client.reserve(wanted);
    let result = with_adapter(dev, |adapter| {
        match scheduler::submit_null(adapter, node, granted, client) {
            Ok(submitted) => Ok(submitted),
            Err(_) => dev.fences.check().map(|()| (0, 0)),
        }
    });
    let taken = result.as_ref().map_or(0, |(taken, _)| *taken);
    client.give_back(granted - taken);
    result
}

/// Handles `DRM_IOCTL_RUST_GPU_WAIT_FENCE`: waits until a packet of this file, and all before it,
/// ended.
///
/// Errors: [`EINVAL`] for a node out of range, flags, or a ticket that was never given;
/// [`ECANCELED`] if a reset ended the packet, [`EIO`] if a packet of this file was the reason;
/// [`ETIME`] at the deadline; [`ERESTARTSYS`] after a signal; [`ENODEV`], [`EIO`] if the device is
/// gone or broken.
pub(crate) fn wait_fence(
    dev: &RustGpuDevice<drm::Ioctl>,
    args: &mut uapi::drm_rust_gpu_wait_fence,
    file: &drm::File<File>,
) -> Result<u32> {
    let node = Node::try_from(args.node)?;
    // Tickets start at 1.
    if args.flags != 0 || args.fence == 0 {
        return Err(EINVAL);
    }
    let client = &file.inner().client;
    args.completed = client.completed(node);
    if args.fence > client.submitted(node) {
        return with_adapter(dev, |_| Err(EINVAL));
    }
    // WAIT: fence
    let result = dev.fences.wait(client, node, args.fence, args.deadline_ns);
    args.completed = client.completed(node);
    result.map(|()| 0)
}

/// Handles `DRM_IOCTL_RUST_GPU_QUERY_FENCE`, `DxgkDdiQueryCurrentFence`, and tells how far the
/// packets of this file are.
///
/// Errors: [`EINVAL`] for a node out of range or flags; [`ENODEV`] if the device is gone; while it
/// is being reset those of [`when_connected`].
#[doc(alias = "DxgkDdiQueryCurrentFence")]
pub(crate) fn query_fence(
    dev: &RustGpuDevice<drm::Ioctl>,
    args: &mut uapi::drm_rust_gpu_query_fence,
    file: &drm::File<File>,
) -> Result<u32> {
    let node = Node::try_from(args.node)?;
    if args.flags != 0 {
        return Err(EINVAL);
    }
    let deadline = Monotonic::ktime_get().saturating_add(SUBMIT_TIMEOUT_NS);
    let found = when_connected(dev, deadline, |adapter| {
        scheduler::query_current_fence(adapter, node)
    })?;
    let client = &file.inner().client;
    // First: it never is beyond the other one.
    args.completed = client.completed(node);
    args.submitted = client.submitted(node);
    args.id = client.id(node);
    args.node_completed = found.completed;
    args.node_submitted = found.submitted;
    args.node_pending = found.queued + found.in_flight;
    Ok(0)
}
