// SPDX-License-Identifier: GPL-2.0

//! [`DebugFiles`] shows a device in debugfs: `rust_gpu/<PCI address>/` has one file per ring, one
//! for the messages, one for the nodes, one for the watchdog and one for the memory. Root can write
//! one that preempts a node.
//!
//! No file touches the device to read it. Synchronised routines read what the driver keeps, so the
//! files answer also while the device stops.

use kernel::{
    debugfs::{
        Dir,
        ScopedFile, //
    },
    device::Bound,
    fmt,
    pci,
    prelude::*,
    sync::{
        atomic::Relaxed,
        global_lock,
        Arc, //
    },
    uaccess::UserSliceReader, //
};

use crate::{
    gpu::Gpu,
    irq::Adapter,
    scheduler::{
        self,
        Hardware,
        Node, //
    },
    virtqueue::RingInfo, //
};

global_lock! {
    // SAFETY: Initialized in `Root::new`, which the module's init calls before anything else.
    unsafe(uninit) static ROOT: Mutex<Option<Dir>> = None;
}

/// The directory that the devices of the module share. Removed when dropped.
pub(crate) struct Root(());

impl Root {
    /// Makes the directory. Must be called once, by the module's init.
    ///
    /// Context: process.
    pub(crate) fn new() -> Self {
        // SAFETY: Called exactly once.
        unsafe { ROOT.init() };
        *ROOT.lock() = Some(Dir::new(c"rust_gpu"));
        Self(())
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        *ROOT.lock() = None;
    }
}

/// The files of one device. Removed when dropped, which waits for readers.
pub(crate) struct DebugFiles<'a> {
    _files: KVec<ScopedFile<'a>>,
    _dir: Option<Dir>,
}

impl<'a> DebugFiles<'a> {
    /// Makes the files of `adapter`.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    ///
    /// # Safety
    ///
    /// The returned value must not be forgotten.
    pub(crate) unsafe fn new(
        pdev: &'a pci::Device<Bound>,
        adapter: &Arc<Adapter<Gpu<'a>>>,
    ) -> Result<Self> {
        let dir = ROOT
            .lock()
            .as_ref()
            .map(|root| root.subdir(pdev.as_ref().name()));
        let mut files = KVec::new();
        if let Some(dir) = &dir {
            // SAFETY: Kept in the returned value, which the caller does not forget.
            unsafe {
                add(&mut files, dir, c"ring_control", adapter, |adapter, f| {
                    show_ring(adapter, Node::Control, f)
                })?;
                add(&mut files, dir, c"ring_cursor", adapter, |adapter, f| {
                    show_ring(adapter, Node::Cursor, f)
                })?;
                add(&mut files, dir, c"messages", adapter, show_messages)?;
                add(&mut files, dir, c"nodes", adapter, show_nodes)?;
                add(&mut files, dir, c"watchdog", adapter, show_watchdog)?;
                add(&mut files, dir, c"memory", adapter, show_memory)?;
                let (shown, written) = (show_preempt, write_preempt);
                add_writable(&mut files, dir, c"preempt", adapter, shown, written)?;
                add_writable(&mut files, dir, c"open", adapter, show_open, write_open)?;
            }
        }
        Ok(Self {
            _files: files,
            _dir: dir,
        })
    }
}

/// Adds one file.
///
/// # Safety
///
/// What is added to `files` must not be forgotten.
unsafe fn add<'a>(
    files: &mut KVec<ScopedFile<'a>>,
    dir: &Dir,
    name: &CStr,
    adapter: &Arc<Adapter<Gpu<'a>>>,
    show: impl Fn(&Adapter<Gpu<'a>>, &mut fmt::Formatter<'_>) -> fmt::Result + Send + Sync + 'a,
) -> Result {
    let adapter = adapter.clone();
    // SAFETY: By the requirement of this function.
    let file = unsafe { ScopedFile::new(dir, name, move |f| show(&adapter, f))? };
    files.push(file, GFP_KERNEL)?;
    Ok(())
}

/// Adds one file that root may write.
///
/// # Safety
///
/// As [`add`].
unsafe fn add_writable<'a>(
    files: &mut KVec<ScopedFile<'a>>,
    dir: &Dir,
    name: &CStr,
    adapter: &Arc<Adapter<Gpu<'a>>>,
    show: impl Fn(&Adapter<Gpu<'a>>, &mut fmt::Formatter<'_>) -> fmt::Result + Send + Sync + 'a,
    write: impl Fn(&Adapter<Gpu<'a>>, &mut UserSliceReader) -> Result + Send + Sync + 'a,
) -> Result {
    let (shown, written) = (adapter.clone(), adapter.clone());
    // SAFETY: By the requirement of this function.
    let file = unsafe {
        ScopedFile::new_writable(
            dir,
            name,
            move |f| show(&shown, f),
            move |reader| write(&written, reader),
        )?
    };
    files.push(file, GFP_KERNEL)?;
    Ok(())
}

fn show_ring(adapter: &Adapter<Gpu<'_>>, node: Node, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let message = adapter.miniport().message_of(node);
    let info = adapter.synchronize_execution(message, |state| {
        state.virtqueue(node).map(|queue| queue.info())
    });
    let info: RingInfo = match info {
        Ok(Some(info)) => info,
        Ok(None) => return Ok(()),
        Err(status) => return writeln!(f, "{status}"),
    };
    writeln!(f, "size: {}", info.size)?;
    writeln!(f, "available index: {}", info.avail_idx)?;
    writeln!(f, "used index: {}", info.last_used)?;
    writeln!(f, "free descriptors: {}", info.free)?;
    writeln!(f, "in flight: {}", info.in_flight)?;
    writeln!(f, "free command slots: {}", info.free_slots)?;
    match info.broken {
        None => writeln!(f, "broken: no"),
        Some(cause) => writeln!(f, "broken: {}", cause),
    }
}

fn show_messages(adapter: &Adapter<Gpu<'_>>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(
        f,
        "message interrupts not_ours dpcs_queued dpcs_refused executions refused longest_hold_ns"
    )?;
    for message in 0..adapter.messages() {
        let Ok(c) = adapter.counters(message) else {
            continue;
        };
        writeln!(
            f,
            "{} {} {} {} {} {} {} {}",
            message,
            c.interrupts,
            c.not_ours,
            c.dpcs_queued,
            c.dpcs_refused,
            c.executions,
            c.refused,
            c.longest_hold_ns
        )?;
    }
    writeln!(f, "dpcs run: {}", adapter.dpcs_run())?;
    if let Ok(vsyncs) = scheduler::vsyncs(adapter) {
        writeln!(f, "crtc vsyncs: {vsyncs}")?;
    }
    writeln!(f, "invalid parameter: {}", adapter.invalid())
}

fn show_nodes(adapter: &Adapter<Gpu<'_>>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(
        f,
        "node message submitted completed queued in_flight preemptions preemption_id preempted_at"
    )?;
    let preemptions = scheduler::preemptions(adapter).unwrap_or_default();
    for (node, preempted) in preemptions.iter() {
        let message = adapter.miniport().message_of(node);
        match scheduler::known_progress(adapter, node) {
            Ok(found) => writeln!(
                f,
                "{node:?} {message} {} {} {} {} {} {} {}",
                found.submitted,
                found.completed,
                found.queued,
                found.in_flight,
                preempted.count,
                preempted.id,
                preempted.completed
            )?,
            Err(status) => writeln!(f, "{node:?} {message} {status}")?,
        }
    }
    Ok(())
}

/// Shows the preemptions that are not answered yet.
fn show_preempt(adapter: &Adapter<Gpu<'_>>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for node in Node::ALL {
        let message = adapter.miniport().message_of(node);
        let pending = adapter.synchronize_execution(message, |state| {
            Gpu::node(state, node).map(|queue| queue.is_preempting())
        });
        writeln!(f, "{node:?} {}", u8::from(pending == Ok(Some(true))))?;
    }
    Ok(())
}

/// Preempts a node: "NODE" or "NODE ID", numbers.
///
/// Errors: [`EINVAL`] for other text, and those of [`scheduler::preempt()`].
fn write_preempt(adapter: &Adapter<Gpu<'_>>, reader: &mut UserSliceReader) -> Result {
    let (node, id) = read_numbers(reader)?;
    let node = Node::try_from(u32::try_from(node).map_err(|_| EINVAL)?)?;
    scheduler::preempt(adapter, node, id)
}

/// Shows for how many packets of clients that come next no clock will run.
fn show_open(adapter: &Adapter<Gpu<'_>>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for node in Node::ENGINES {
        let message = adapter.miniport().message_of(node);
        let count = adapter.synchronize_execution(message, |state| {
            Gpu::node(state, node).map_or(0, |queue| queue.next_open())
        });
        writeln!(f, "{node:?} {}", count.unwrap_or(0))?;
    }
    Ok(())
}

/// Lets no clock run for the next packets of clients of a node, for tests: "NODE COUNT".
///
/// Errors: [`EINVAL`] for other text or a node without an engine, [`ENOTCONN`] while the device is
/// stopped.
fn write_open(adapter: &Adapter<Gpu<'_>>, reader: &mut UserSliceReader) -> Result {
    let (node, count) = read_numbers(reader)?;
    let node = Node::try_from(u32::try_from(node).map_err(|_| EINVAL)?)?;
    let has_engine = Node::ENGINES.contains(&node);
    let count = count.filter(|_| has_engine).ok_or(EINVAL)?;
    adapter.synchronize_execution(adapter.miniport().message_of(node), |state| {
        if let Some(queue) = Gpu::node(state, node) {
            queue.set_next_open(count);
        }
    })?;
    Ok(())
}

/// Reads one number or two.
fn read_numbers(reader: &mut UserSliceReader) -> Result<(u64, Option<u64>)> {
    let mut bytes = [0; 48];
    let len = reader.len();
    let bytes = bytes.get_mut(..len).ok_or(EINVAL)?;
    reader.read_slice(bytes)?;
    let text = core::str::from_utf8(bytes).map_err(|_| EINVAL)?;
    let mut words = text.split_ascii_whitespace();
    let first = words.next().ok_or(EINVAL)?;
    let second = words.next();
    if words.next().is_some() {
        return Err(EINVAL);
    }
    let number = |word: &str| word.parse().map_err(|_| EINVAL);
    Ok((number(first)?, second.map(number).transpose()?))
}

fn show_watchdog(adapter: &Adapter<Gpu<'_>>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let gpu = adapter.miniport();
    let counters = gpu.watchdog().counters();
    writeln!(f, "stalled: {}", u8::from(gpu.fences().is_stalled()))?;
    writeln!(f, "stalls: {}", counters.stalls.load(Relaxed))?;
    writeln!(
        f,
        "lost interrupts: {}",
        counters.lost_interrupts.load(Relaxed)
    )?;
    writeln!(f, "lost kicks: {}", counters.lost_kicks.load(Relaxed))?;
    writeln!(f, "resets: {}", counters.resets.load(Relaxed))?;
    writeln!(f, "recoveries: {}", counters.recoveries.load(Relaxed))?;
    writeln!(f, "ticks: {}", counters.ticks.load(Relaxed))
}

fn show_memory(adapter: &Adapter<Gpu<'_>>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let gpu = adapter.miniport();
    let (resources, unused) = gpu.resources().counts();
    writeln!(f, "dma bytes: {}", gpu.dma().allocated())?;
    writeln!(f, "resources: {resources}")?;
    writeln!(f, "unused resources: {unused}")
}
