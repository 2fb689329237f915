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

/// The most pieces in a [`ShortList`].
const SHORT: usize = 8;

/// A list of the few pieces that most small objects have: it follows the command in a slot.
pub(crate) struct ShortList {
    entries: [MemEntry; SHORT],
    count: usize,
}

impl ShortList {
    /// Returns its bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.entries
            .get(..self.count)
            .map_or(&[], |entries| entries.as_bytes())
    }
}

/// A list of the pieces of an object.
pub(crate) enum PieceList {
    Short(ShortList),
    /// With room for the command.
    Long(KBox<DedicatedBuffer>),
}

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
    match piece_list(gpu, object, 0)? {
        PieceList::Long(list) => Ok(list),
        PieceList::Short(_) => Err(EINVAL),
    }
}

/// Does the same, but makes a short list if that has room for all pieces.
///
/// Errors and context: as [`attach_list`].
#[cfg(CONFIG_DRM_RUST_GPU_RENDER)]
pub(crate) fn any_list(gpu: &Gpu<'_>, object: &Object) -> Result<PieceList> {
    piece_list(gpu, object, SHORT)
}

/// Makes a list of the pieces of an object: a short one of up to `short` pieces.
fn piece_list(gpu: &Gpu<'_>, object: &Object, short: usize) -> Result<PieceList> {
    let dev = gpu.device();
    match gpu.dma().addressing() {
        Addressing::Dma(device) => {
            let table = object.sg_table(dev)?;
            write_list(gpu, short, || {
                table
                    .iter()
                    .map(|entry| (device.address(entry.into()), length(entry)))
            })
        }
        Addressing::Physical(device) if object.is_imported() => {
            let direct = dev.direct_dma().ok_or(EOPNOTSUPP)?;
            let table = object.sg_table(dev)?;
            write_list(gpu, short, || {
                table.iter().map(|entry| {
                    let address = PhysAddress::of_import(direct, entry);
                    (device.address(address), length(entry))
                })
            })
        }
        Addressing::Physical(device) => {
            let pages = object.pin()?;
            write_list(gpu, short, || {
                PhysAddress::of_pages(&pages)
                    .map(|address| (device.address(address), PAGE_SIZE as u64))
            })
        }
    }
}

/// Does the rest of [`piece_list`] with address and length of all pieces, in order.
fn write_list<I>(gpu: &Gpu<'_>, short: usize, pieces: impl Fn() -> I) -> Result<PieceList>
where
    I: Iterator<Item = (u64, u64)>,
{
    type Attach = ResourceAttachBacking;

    let (dev, dma) = (gpu.device(), gpu.dma());
    let count = merged(pieces()).count();
    if count > MAX_ENTRIES {
        return Err(E2BIG);
    }
    let entries = || {
        merged(pieces()).map(|(address, length)| MemEntry {
            addr: address.into(),
            length: length.into(),
            ..Default::default()
        })
    };
    if (1..=short).contains(&count) {
        let mut list = ShortList {
            entries: [MemEntry::default(); SHORT],
            count,
        };
        for (to, entry) in list.entries.iter_mut().zip(entries()) {
            *to = entry;
        }
        return Ok(PieceList::Short(list));
    }
    let size = <Attach as Command>::Response::SIZE;
    let mut buffer = DedicatedBuffer::new(dev, dma, Attach::SIZE, size, GFP_KERNEL)?;
    let len = count * size_of::<MemEntry>();
    buffer.add_payload(dev, dma, len, gpu.max_pieces(), GFP_KERNEL)?;
    for (index, entry) in entries().enumerate() {
        buffer.write_payload(index * size_of::<MemEntry>(), entry.as_bytes())?;
    }
    Ok(PieceList::Long(buffer))
}

/// Returns the length of a mapped piece, in bytes.
#[allow(
    clippy::useless_conversion,
    reason = "`resource_size_t` may have 32 bits"
)]
fn length(entry: &SGEntry) -> u64 {
    entry.dma_len().into()
}

/// Returns the command for a list of so many bytes.
///
/// Errors: [`EOVERFLOW`]: there is no such list.
pub(crate) fn attach_command(id: u32, len: usize) -> Result<ResourceAttachBacking> {
    Ok(ResourceAttachBacking {
        resource_id: id.into(),
        nr_entries: u32::try_from(len / size_of::<MemEntry>())?.into(),
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
