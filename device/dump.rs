// SPDX-License-Identifier: GPL-2.0

//! [`Engines::collect`] writes down what the driver knows of a device that hangs, before it is
//! reset. [`Engines::publish`] gives that to user space afterwards, as a devcoredump.
//!
//! The memory for it is there since probe: nothing is allocated before the reset. The text has no
//! payload, only types, numbers and lengths. `tools/front dump` explains it.

use core::fmt::{
    self,
    Write, //
};
use kernel::{
    alloc::{
        flags::__GFP_NOWARN,
        Flags, //
    },
    devcoredump,
    prelude::*,
    sync::atomic::Relaxed,
    time::{
        ClockSource,
        Monotonic, //
    },
};

use crate::{
    gpu::State,
    scheduler::{
        Hardware,
        Node,
        Policy, //
    },
};

use super::engines::Engines;

/// The most bytes of a dump.
const SIZE: usize = 16384;

/// What a dump ends with that is too long.
const TRUNCATED: &[u8] = b"truncated\n";

/// The text of a dump, in memory that is there already.
#[derive(Default)]
pub(super) struct DumpBuffer {
    bytes: VVec<u8>,
    is_full: bool,
}

impl DumpBuffer {
    /// Makes an empty buffer.
    ///
    /// Errors: [`ENOMEM`]. Context: process.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            bytes: VVec::with_capacity(SIZE, GFP_KERNEL)?,
            is_full: false,
        })
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.is_full = false;
    }

    /// Adds bytes as far as there is room, without an allocation.
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            // Cannot fail: the callers leave room.
            let _ = self.bytes.push_within_capacity(*byte);
        }
    }

    /// Copies the text, for user space.
    fn copy(&self, flags: Flags) -> Result<VVec<u8>> {
        let mut copy = VVec::with_capacity(self.bytes.len(), flags)?;
        copy.extend_from_slice(&self.bytes, flags)?;
        Ok(copy)
    }
}

impl Write for DumpBuffer {
    /// What does not fit is left out.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.is_full {
            return Ok(());
        }
        let limit = self.bytes.capacity().min(SIZE);
        let room = limit.saturating_sub(self.bytes.len() + TRUNCATED.len() + 1);
        match text.as_bytes().get(..room) {
            Some(start) if room < text.len() => {
                self.add(start);
                if self.bytes.last() != Some(&b'\n') {
                    self.add(b"\n");
                }
                self.add(TRUNCATED);
                self.is_full = true;
            }
            _ => self.add(text.as_bytes()),
        }
        Ok(())
    }
}

impl Engines<'_> {
    /// Writes down what is known of the device and of what it has to do, and why it is reset.
    ///
    /// Reads the status of the device, and nothing else of it. Does not allocate.
    ///
    /// Context: process, the messages disconnected.
    #[doc(alias = "DxgkDdiCollectDbgInfo")]
    pub(super) fn collect(
        &self,
        dump: &mut DumpBuffer,
        states: &mut [State],
        cause: &dyn fmt::Display,
        policy: &Policy,
    ) {
        dump.clear();
        // Cannot fail: what does not fit is left out.
        let _ = self.print_device(dump, cause, policy);
        let _ = self.print_nodes(dump, states);
        let _ = self.print_messages(dump);
        for state in states.iter_mut() {
            for node in Node::ENGINES {
                let _ = print_ring(dump, state, node);
            }
        }
    }

    /// Gives what was collected to user space. Without memory for that nobody gets it.
    ///
    /// Context: process, no lock held but that of the device.
    pub(super) fn publish(&self, dump: &DumpBuffer) {
        if let Ok(text) = dump.copy(GFP_KERNEL | __GFP_NOWARN) {
            devcoredump::publish(self.adapter.miniport().device(), text, GFP_KERNEL);
        }
    }

    fn print_device(
        &self,
        f: &mut dyn Write,
        cause: &dyn fmt::Display,
        policy: &Policy,
    ) -> fmt::Result {
        let gpu = self.adapter.miniport();
        let time = Monotonic::ktime_get() / 1_000_000;
        let features = gpu.features();
        writeln!(f, "rust_gpu dump 1")?;
        writeln!(f, "cause: {cause}")?;
        writeln!(f, "time: {}.{:03} s", time / 1000, time % 1000)?;
        writeln!(f, "status: {:#04x}", gpu.transport().status())?;
        writeln!(
            f,
            "features: {:#x} of {:#x}",
            features.driver, features.device
        )?;
        writeln!(
            f,
            "policy: level {:?} delay {} ms limit {} in {} ms",
            policy.level, policy.delay_ms, policy.limit_count, policy.limit_ms
        )?;
        let counters = gpu.watchdog().counters();
        writeln!(
            f,
            "watchdog: stalls {} lost interrupts {} lost kicks {} resets {} recoveries {} ticks {}",
            counters.stalls.load(Relaxed),
            counters.lost_interrupts.load(Relaxed),
            counters.lost_kicks.load(Relaxed),
            counters.resets.load(Relaxed),
            counters.recoveries.load(Relaxed),
            counters.ticks.load(Relaxed)
        )?;
        let (resources, unused) = gpu.resources().counts();
        writeln!(f, "resources: {resources} unused {unused}")?;
        writeln!(f, "memory: {} bytes", gpu.dma().allocated())
    }

    fn print_nodes(&self, f: &mut dyn Write, states: &mut [State]) -> fmt::Result {
        let gpu = self.adapter.miniport();
        for state in states {
            for node in Node::ALL {
                let Some(queue) = &state.nodes[node] else {
                    continue;
                };
                writeln!(
                    f,
                    "node {node:?}: message {} submitted {} completed {} published {} queued {}{}",
                    gpu.map().of(node),
                    queue.submitted(),
                    queue.completed(),
                    gpu.fences().completed(node),
                    queue.queued(),
                    if queue.is_stalled() { " stalled" } else { "" }
                )?;
            }
        }
        Ok(())
    }

    fn print_messages(&self, f: &mut dyn Write) -> fmt::Result {
        for message in 0..self.adapter.messages() {
            if let Ok(counters) = self.adapter.counters(message) {
                writeln!(
                    f,
                    "message {message}: interrupts {} not ours {} dpcs {} executions {} refused {}",
                    counters.interrupts,
                    counters.not_ours,
                    counters.dpcs_queued,
                    counters.executions,
                    counters.refused
                )?;
            }
        }
        Ok(())
    }
}

fn print_ring(f: &mut dyn Write, state: &mut State, node: Node) -> fmt::Result {
    let Some(queue) = state.virtqueue(node) else {
        return Ok(());
    };
    let info = queue.info();
    write!(
        f,
        "ring {node:?}: size {} available {} used {} free {} in flight {} slots {} broken ",
        info.size, info.avail_idx, info.last_used, info.free, info.in_flight, info.free_slots
    )?;
    match info.broken {
        Some(cause) => writeln!(f, "{cause}")?,
        None => writeln!(f, "no")?,
    }
    queue.print_commands(f)
}

#[kunit_tests(rust_gpu_dump)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_kept() -> Result {
        let mut dump = DumpBuffer::new()?;

        assert!(writeln!(dump, "status: {:#04x}", 15).is_ok());
        assert_eq!(&*dump.copy(GFP_KERNEL)?, b"status: 0x0f\n");
        dump.clear();
        assert_eq!(dump.copy(GFP_KERNEL)?.len(), 0);
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_told() -> Result {
        let mut dump = DumpBuffer::new()?;

        for line in 0..2000 {
            assert!(writeln!(dump, "line {line}").is_ok());
        }
        let text = dump.copy(GFP_KERNEL)?;
        assert!(text.len() <= SIZE && text.len() > SIZE - 32);
        assert!(text.ends_with(b"\ntruncated\n"));
        // No allocation.
        assert_eq!(dump.bytes.capacity(), SIZE);
        Ok(())
    }

    #[test]
    fn all_of_it_may_be_one_word() -> Result {
        let mut dump = DumpBuffer::new()?;

        for _ in 0..SIZE {
            assert!(dump.write_str("x").is_ok());
        }
        let text = dump.copy(GFP_KERNEL)?;
        assert_eq!(text.len(), SIZE);
        assert!(text.ends_with(b"x\ntruncated\n"));
        Ok(())
    }

    #[test]
    fn without_memory_there_is_no_text() -> Result {
        let mut dump = DumpBuffer::default();

        assert!(dump.write_str("status").is_ok());
        assert_eq!(dump.copy(GFP_KERNEL)?.len(), 0);
        Ok(())
    }
}
