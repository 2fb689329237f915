// SPDX-License-Identifier: GPL-2.0

//! [`Outputs`] keeps what the device says about its scanouts: which are connected, what sizes they
//! ask for, and their EDIDs.
//!
//! The device is asked when it starts. [`watch`], in a thread of its own, asks again whenever the
//! device says that something changed. The answers are not trusted: sizes are clamped here, before
//! any helper of DRM sees them; an EDID is bytes, which DRM checks.

use kernel::{
    kthread, new_mutex,
    num::casts::u32_as_usize,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    time::{
        ClockSource,
        Monotonic, //
    },
};

use crate::{
    command::{
        Command,
        DisplayInfo,
        DisplayOne,
        GetDisplayInfo,
        GetEdid,
        ResponseError,
        MAX_SCANOUTS, //
    },
    display::MAX_SIDE,
    gpu::Gpu,
    irq::Adapter,
    scheduler::{
        self,
        Fences,
        Node, //
    },
    virtqueue::Packet, //
};

/// How long the device may take to answer, in nanoseconds.
const ANSWER_TIMEOUT_NS: i64 = 5_000_000_000;

/// What is known of one scanout.
#[derive(Clone, Copy, Default)]
pub(crate) struct Output {
    /// Whether something is connected.
    pub(crate) enabled: bool,
    /// The size that the device asks for, in pixels, at most [`MAX_SIDE`]; 0 for none.
    pub(crate) size: (u32, u32),
}

impl From<&DisplayOne> for Output {
    fn from(one: &DisplayOne) -> Self {
        Self {
            enabled: one.enabled != 0,
            size: (
                one.r.width.get().min(MAX_SIDE),
                one.r.height.get().min(MAX_SIDE),
            ),
        }
    }
}

struct State {
    outputs: [Output; MAX_SCANOUTS],
    edids: [Option<KVec<u8>>; MAX_SCANOUTS],
}

/// What is known of all scanouts. Holds nothing of the device.
#[pin_data]
pub(crate) struct Outputs {
    /// Taken alone, or under locks of DRM.
    #[pin]
    state: Mutex<State>,
    /// Number of scanouts, at most [`MAX_SCANOUTS`].
    count: u32,
    /// Whether the device has EDIDs.
    have_edid: bool,
}

impl Outputs {
    /// Makes the state of `count` scanouts before the device was asked: nothing is known.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(crate) fn new(count: u32, have_edid: bool) -> Result<Arc<Self>> {
        let state = State {
            outputs: [Output::default(); MAX_SCANOUTS],
            edids: [const { None }; MAX_SCANOUTS],
        };
        Arc::pin_init(
            pin_init!(Self {
                state <- new_mutex!(state, "rust_gpu::Outputs"),
                // CAST: a small constant.
                count: count.min(MAX_SCANOUTS as u32),
                have_edid,
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the number of scanouts.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Returns whether the device has EDIDs.
    pub(crate) fn have_edid(&self) -> bool {
        self.have_edid
    }

    /// Asks the device for its scanouts and their EDIDs, and keeps the answers. Returns the
    /// scanouts; `instead` if the device does not say.
    ///
    /// Errors: [`EIO`] if it does not say and there is no `instead`, [`ETIMEDOUT`] if it does not
    /// answer, [`ENOMEM`], and those of [`Fences::check`].
    ///
    /// Context: process.
    pub(crate) fn refresh(
        &self,
        adapter: &Adapter<Gpu<'_>>,
        fences: &Fences,
        instead: Option<DisplayInfo>,
    ) -> Result<DisplayInfo> {
        let display = match ask(adapter, fences, &GetDisplayInfo)? {
            Ok(display) => display,
            Err(error) => {
                dev_info!(
                    adapter.miniport().device(),
                    "no display information ({})\n",
                    format_args!("{error}")
                );
                instead.ok_or(EIO)?
            }
        };
        if self.have_edid {
            for scanout in 0..self.count {
                self.read_edid(adapter, fences, scanout)?;
            }
        }
        let mut state = self.state.lock();
        for (output, one) in state.outputs.iter_mut().zip(&display.pmodes) {
            *output = one.into();
        }
        Ok(display)
    }

    /// Asks for the EDID of one scanout. Not inlined, as it needs kilobytes of stack.
    #[inline(never)]
    fn read_edid(&self, adapter: &Adapter<Gpu<'_>>, fences: &Fences, scanout: u32) -> Result {
        let command = GetEdid {
            scanout: scanout.into(),
            ..Default::default()
        };
        let edid = match ask(adapter, fences, &command)? {
            Ok(edid) => {
                let mut bytes = KVec::new();
                bytes.extend_from_slice(edid.edid(), GFP_KERNEL)?;
                (!bytes.is_empty()).then_some(bytes)
            }
            Err(error) => {
                let device = adapter.miniport().device();
                dev_dbg!(
                    device,
                    "no EDID of scanout {} ({})\n",
                    scanout,
                    format_args!("{error}")
                );
                None
            }
        };
        let mut state = self.state.lock();
        if let Some(place) = state.edids.get_mut(u32_as_usize(scanout)) {
            *place = edid;
        }
        Ok(())
    }

    /// Returns what is known of `scanout`.
    ///
    /// Context: process.
    pub(crate) fn get(&self, scanout: usize) -> Output {
        let state = self.state.lock();
        state.outputs.get(scanout).copied().unwrap_or_default()
    }

    /// Runs `f` on the EDID of `scanout`, if there is one.
    ///
    /// Context: process.
    pub(crate) fn with_edid<R>(&self, scanout: usize, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let state = self.state.lock();
        let edid = state.edids.get(scanout)?.as_ref()?;
        Some(f(edid))
    }
}

/// Sends one command and waits for its answer. Returns the answer, or why it is none.
///
/// Errors: [`EBUSY`] if the queue is full, [`ETIMEDOUT`] if the device does not answer, [`ENOMEM`],
/// and those of [`Fences::check`]. Context: process.
#[inline(never)]
fn ask<C: Command>(
    adapter: &Adapter<Gpu<'_>>,
    fences: &Fences,
    command: &C,
) -> Result<Result<C::Response, ResponseError>> {
    let gpu = adapter.miniport();
    let (packet, reply) = Packet::command(gpu.device(), gpu.dma(), command)?;
    let fence = scheduler::submit(adapter, Node::Control, packet)?.map_err(|_| EBUSY)?;
    let deadline = Monotonic::ktime_get().saturating_add(ANSWER_TIMEOUT_NS);
    match fences.wait(Node::Control, fence, deadline) {
        Ok(()) => Ok(reply.decode()),
        Err(e) if e == ETIME => {
            dev_err!(gpu.device(), "device does not answer\n");
            Err(ETIMEDOUT)
        }
        Err(e) => Err(e),
    }
}

/// Runs the hotplug thread until it is stopped: asks for the scanouts whenever the device says that
/// they changed, then calls `hotplug`.
///
/// Context: process, a thread of its own. During `hotplug` user space and the console may set
/// modes, so this must be no thread for which they wait.
pub(crate) fn watch(
    adapter: &Adapter<Gpu<'_>>,
    outputs: &Outputs,
    fences: &Fences,
    hotplug: impl Fn(),
    thread: &kthread::Context,
) {
    while adapter.miniport().display_event().wait(thread) {
        // A failure was logged, or the device is being removed. The old answers stay.
        if outputs.refresh(adapter, fences, None).is_ok() {
            hotplug();
        }
    }
}
