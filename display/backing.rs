// SPDX-License-Identifier: GPL-2.0

//! [`attach_list`] makes the command that tells the device where the pages of an object are.

use kernel::{
    prelude::*,
    scatterlist::SGEntry, //
};

use crate::{
    command::{
        Command,
        MemEntry,
        ResourceAttachBacking,
        Response, //
    },
    gpu::{
        Gpu,
        Object, //
    },
    virtqueue::DedicatedBuffer, //
};

/// The most pieces of an object that the device takes: QEMU refuses more.
const MAX_ENTRIES: usize = 16_384;

/// Makes room for RESOURCE_ATTACH_BACKING of the pages of `object`, and writes their list.
///
/// Errors: [`E2BIG`] if there are more pieces than the device takes, [`ENOMEM`], and those of
/// mapping the object.
///
/// Context: process.
pub(super) fn attach_list(gpu: &Gpu<'_>, object: &Object) -> Result<KBox<DedicatedBuffer>> {
    type Attach = ResourceAttachBacking;

    let (dev, dma) = (gpu.device(), gpu.dma());
    let table = object.sg_table(dev)?;
    let count = merged(table.iter()).count();
    if count > MAX_ENTRIES {
        return Err(E2BIG);
    }
    let size = <Attach as Command>::Response::SIZE;
    let mut buffer = DedicatedBuffer::new(dev, dma, Attach::SIZE, size, GFP_KERNEL)?;
    let len = count * size_of::<MemEntry>();
    buffer.add_payload(dev, dma, len, gpu.max_pieces(), GFP_KERNEL)?;
    for (index, (address, length)) in merged(table.iter()).enumerate() {
        let entry = MemEntry {
            addr: address.into(),
            length: length.into(),
            ..Default::default()
        };
        buffer.write_payload(index * size_of::<MemEntry>(), entry.as_bytes())?;
    }
    Ok(buffer)
}

/// Returns the command for a list that [`attach_list`] made.
///
/// Errors: [`EOVERFLOW`]: it made no such list.
pub(super) fn attach_command(id: u32, list: &DedicatedBuffer) -> Result<ResourceAttachBacking> {
    Ok(ResourceAttachBacking {
        resource_id: id.into(),
        nr_entries: u32::try_from(list.payload_len() / size_of::<MemEntry>())?.into(),
    })
}

/// Returns address and length of each piece, adjacent ones as one.
#[allow(
    clippy::useless_conversion,
    reason = "`dma_addr_t` and `resource_size_t` may have 32 bits"
)]
fn merged<'s>(
    entries: impl Iterator<Item = &'s SGEntry> + 's,
) -> impl Iterator<Item = (u64, u32)> + 's {
    let mut entries = entries
        .map(|entry| (u64::from(entry.dma_address()), u64::from(entry.dma_len())))
        .peekable();

    core::iter::from_fn(move || {
        let (address, mut length) = entries.next()?;
        while let Some(more) = entries.next_if(|(next, more)| {
            address.checked_add(length) == Some(*next) && fits(length, *more)
        }) {
            length += more.1;
        }
        // DRM's objects are smaller, and so are their pieces.
        Some((address, u32::try_from(length).unwrap_or(u32::MAX)))
    })
}

/// Returns whether a piece of both lengths has a length of 32 bits.
fn fits(a: u64, b: u64) -> bool {
    a.checked_add(b)
        .is_some_and(|sum| u32::try_from(sum).is_ok())
}
