// SPDX-License-Identifier: GPL-2.0

//! What QEMU asks of the device, on the thread that never sleeps.

use std::{
    fs::File,
    io::{
        Error,
        Result, //
    },
    sync::{
        mpsc::SyncSender,
        Arc, //
    },
};

use vfio_user::{
    DmaMapFlags,
    DmaUnmapFlags,
    ServerBackend, //
};
use vm_memory::{
    mmap::MmapRegion,
    FileOffset,
    GuestAddress,
    GuestMemoryBackend,
    GuestMemoryRegion,
    GuestRegionMmap, //
};

use crate::{
    engine::{
        lock,
        Shared, //
    },
    memory::Map, //
};

/// Answers QEMU, and wakes the thread that executes commands.
pub struct Backend {
    pub shared: Arc<Shared>,
    pub wake: SyncSender<()>,
}

impl Backend {
    fn wake(&self) {
        // If the channel is full the thread wakes up anyway.
        let _ = self.wake.try_send(());
    }
}

impl ServerBackend for Backend {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<()> {
        lock(&self.shared.front).read(region, offset, data);
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<()> {
        let mut front = lock(&self.shared.front);
        front.write(region, offset, data);
        let work = front.resetting || front.kicked.contains(&true);
        drop(front);
        if work {
            self.wake();
        }
        Ok(())
    }

    fn dma_map(
        &mut self,
        _flags: DmaMapFlags,
        offset: u64,
        address: u64,
        size: u64,
        fd: Option<File>,
    ) -> Result<()> {
        // Firmware and the like have no file. The device has no business there.
        let Some(file) = fd else { return Ok(()) };
        let size = usize::try_from(size).map_err(Error::other)?;
        let mapping =
            MmapRegion::from_file(FileOffset::new(file, offset), size).map_err(Error::other)?;
        let region = GuestRegionMmap::new(mapping, GuestAddress(address))
            .ok_or(Error::other("addresses overflow"))?;
        let mut map = lock(&self.shared.map);
        let new = map.insert_region(Arc::new(region)).map_err(Error::other)?;
        *map = new;
        Ok(())
    }

    fn dma_unmap(&mut self, flags: DmaUnmapFlags, address: u64, size: u64) -> Result<()> {
        let mut map = lock(&self.shared.map);
        if flags.contains(DmaUnmapFlags::UNMAP_ALL) {
            *map = Map::new();
            return Ok(());
        }
        let end = address.saturating_add(size);
        let gone = |region: &GuestRegionMmap| {
            region.start_addr().0 >= address && region.last_addr().0 < end
        };
        let inside: Vec<_> = map
            .iter()
            .filter(|region| gone(region))
            .map(|region| (region.start_addr(), region.len()))
            .collect();
        for (start, length) in inside {
            let (new, _) = map.remove_region(start, length).map_err(Error::other)?;
            *map = new;
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<()> {
        lock(&self.shared.front).reset();
        self.wake();
        Ok(())
    }

    fn set_irqs(
        &mut self,
        index: u32,
        flags: u32,
        start: u32,
        count: u32,
        fds: Vec<File>,
    ) -> Result<()> {
        lock(&self.shared.front).set_irqs(index, flags, start, count, fds);
        Ok(())
    }
}
