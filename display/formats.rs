// SPDX-License-Identifier: GPL-2.0

//! [`Formats`] keeps in which pixel formats the device can show a framebuffer.
//!
//! Any device can show XRGB8888, and so ARGB8888: alpha is not looked at. Whether it knows the
//! other order of colours is asked when it starts, by making a small resource.

use kernel::{
    prelude::*,
    sync::Arc,
    time::{
        ClockSource,
        Monotonic, //
    },
};

use crate::{
    command::{
        Command,
        Format,
        NoData,
        ResourceCreate2d,
        ResourceUnref,
        ABGR8888,
        ARGB8888,
        XBGR8888,
        XRGB8888, //
    },
    gpu::Gpu,
    irq::Adapter,
    scheduler::{
        self,
        Fences,
        Node, //
    },
    virtqueue::{
        Packet,
        Reply, //
    },
};

use super::outputs::wait_at_start;

/// Width and height of the resource that is made, in pixels.
const SIDE: u32 = 16;

/// How long the device may take to answer, in nanoseconds.
const ANSWER_TIMEOUT_NS: i64 = 1_000_000_000;

/// What every device has, the preferred format first.
const ALWAYS: [u32; 2] = [XRGB8888, ARGB8888];

/// What devices have that know both orders of colours.
const ALL: [u32; 4] = [XRGB8888, ARGB8888, XBGR8888, ABGR8888];

/// The pixel formats of framebuffers that a screen can show.
#[derive(Clone, Copy)]
pub(crate) struct Formats {
    fourccs: &'static [u32],
}

impl Formats {
    /// Asks a device that is being started which formats it has. One that it refuses, or of which
    /// it does not say anything within a second or by `deadline_ns` of CLOCK_MONOTONIC, is left
    /// out.
    ///
    /// Errors: [`ERESTARTSYS`] after a fatal signal, [`EBUSY`] if the queue is full, [`ENOMEM`],
    /// and those of [`Fences::check`].
    ///
    /// Context: process.
    pub(crate) fn ask(
        adapter: &Adapter<Gpu<'_>>,
        fences: &Fences,
        deadline_ns: i64,
    ) -> Result<Self> {
        let own_ns = Monotonic::ktime_get().saturating_add(ANSWER_TIMEOUT_NS);
        let format = Format::of(XBGR8888, false);
        let fourccs: &[u32] = match takes(adapter, fences, format, own_ns.min(deadline_ns))? {
            true => &ALL,
            false => &ALWAYS,
        };
        Ok(Self { fourccs })
    }

    /// Returns the formats, as fourcc, the preferred one first.
    pub(crate) fn fourccs(&self) -> &'static [u32] {
        self.fourccs
    }
}

/// Returns whether the device makes a resource of `format`. It is destroyed at once.
fn takes(
    adapter: &Adapter<Gpu<'_>>,
    fences: &Fences,
    format: Format,
    deadline_ns: i64,
) -> Result<bool> {
    let gpu = adapter.miniport();
    let id = gpu.resources().take_id();
    let create = ResourceCreate2d {
        resource_id: id.into(),
        format: format.into(),
        width: SIDE.into(),
        height: SIDE.into(),
    };
    let unref = ResourceUnref {
        resource_id: id.into(),
        ..Default::default()
    };
    let created = send(adapter, &create)?;
    // Both at once, so that nothing is left behind if the answers come later.
    let _ = send(adapter, &unref)?;
    // WAIT: first-answers
    match wait_at_start(&created, fences, deadline_ns) {
        Err(e) if e == ETIMEDOUT => {
            dev_info!(gpu.device(), "no answer about {:?}: not offered\n", format);
            return Ok(false);
        }
        other => other?,
    }
    let answer: Result<NoData, _> = created.decode()?;
    if let Err(error) = &answer {
        dev_info!(
            gpu.device(),
            "{:?} is not offered ({})\n",
            format,
            format_args!("{error}")
        );
    }
    Ok(answer.is_ok())
}

/// Sends a command whose failure is none of the driver's.
fn send<C: Command>(adapter: &Adapter<Gpu<'_>>, command: &C) -> Result<Arc<Reply>> {
    let gpu = adapter.miniport();
    let (packet, reply) = Packet::command(gpu.device(), gpu.dma(), command)?;
    match scheduler::submit(adapter, Node::Control, packet)? {
        Ok(()) => Ok(reply),
        Err(_) => Err(EBUSY),
    }
}
