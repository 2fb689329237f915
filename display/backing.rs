// SPDX-License-Identifier: GPL-2.0

//! [`attach_list`] makes the command that tells the device where the pages of an object are.

use kernel::{
    page::PAGE_SIZE,
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
    transport::{
        Addressing,
        PhysAddress, //
    },
    virtqueue::DedicatedBuffer, //
};

/// The most pieces of an object that the device takes: QEMU refuses more.
const MAX_ENTRIES: usize = 16_384;

/// Makes room for RESOURCE_ATTACH_BACKING of the pages of `object`, and writes their list.
///
/// The pages of an object stay where they are from here on: mapped for DMA, or only pinned if the
/// device takes physical addresses.
///
/// Errors: [`E2BIG`] if there are more pieces than the device takes; [`EOPNOTSUPP`] if it takes
/// physical addresses, and those of an imported buffer are not known; [`ENOMEM`], and those of
/// mapping or pinning the object.
///
/// Context: process.
pub(crate) fn attach_list(gpu: &Gpu<'_>, object: &Object) -> Result<KBox<DedicatedBuffer>> {
    let dev = gpu.device();
    match gpu.dma().addressing() {
        Addressing::Dma(device) => {
            let table = object.sg_table(dev)?;
            write_list(gpu, || {
                table
                    .iter()
                    .map(|entry| (device.address(entry.into()), length(entry)))
            })
        }
        Addressing::Physical(device) if object.is_imported() => {
            let direct = dev.direct_dma().ok_or(EOPNOTSUPP)?;
            let table = object.sg_table(dev)?;
            write_list(gpu, || {
                table.iter().map(|entry| {
                    let address = PhysAddress::of_import(direct, entry);
                    (device.address(address), length(entry))
                })
            })
        }
        Addressing::Physical(device) => {
            let pages = object.pin()?;
            write_list(gpu, || {
                PhysAddress::of_pages(&pages)
                    .map(|address| (device.address(address), PAGE_SIZE as u64))
            })
        }
    }
}

/// Does the rest of [`attach_list`] with address and length of all pieces, in order.
fn write_list<I>(gpu: &Gpu<'_>, pieces: impl Fn() -> I) -> Result<KBox<DedicatedBuffer>>
where
    I: Iterator<Item = (u64, u64)>,
{
    type Attach = ResourceAttachBacking;

    let (dev, dma) = (gpu.device(), gpu.dma());
    let count = merged(pieces()).count();
    if count > MAX_ENTRIES {
        return Err(E2BIG);
    }
    let size = <Attach as Command>::Response::SIZE;
    let mut buffer = DedicatedBuffer::new(dev, dma, Attach::SIZE, size, GFP_KERNEL)?;
    let len = count * size_of::<MemEntry>();
    buffer.add_payload(dev, dma, len, gpu.max_pieces(), GFP_KERNEL)?;
    for (index, (address, length)) in merged(pieces()).enumerate() {
        let entry = MemEntry {
            addr: address.into(),
            length: length.into(),
            ..Default::default()
        };
        buffer.write_payload(index * size_of::<MemEntry>(), entry.as_bytes())?;
    }
    Ok(buffer)
}

/// Returns the length of a mapped piece, in bytes.
#[allow(
    clippy::useless_conversion,
    reason = "`resource_size_t` may have 32 bits"
)]
fn length(entry: &SGEntry) -> u64 {
    entry.dma_len().into()
}

/// Returns the command for a list that [`attach_list`] made.
///
/// Errors: [`EOVERFLOW`]: it made no such list.
pub(crate) fn attach_command(id: u32, list: &DedicatedBuffer) -> Result<ResourceAttachBacking> {
    Ok(ResourceAttachBacking {
        resource_id: id.into(),
        nr_entries: u32::try_from(list.payload_len() / size_of::<MemEntry>())?.into(),
    })
}

/// Returns address and length of each piece, adjacent ones as one.
fn merged(pieces: impl Iterator<Item = (u64, u64)>) -> impl Iterator<Item = (u64, u32)> {
    let mut entries = pieces.peekable();

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
