// SPDX-License-Identifier: GPL-2.0

//! Chains of descriptors: what the driver says to one command.

use virtio_queue::desc::split::Descriptor;
use vm_memory::{
    Bytes,
    GuestAddress, //
};

use crate::memory::{
    Map,
    Ranges,
    View,
    Violations, //
};

/// Bytes of a descriptor.
const DESCRIPTOR: u64 = 16;
/// Longest request: that of SUBMIT_3D, with room.
const LONGEST: usize = (16 << 20) + 4096;

/// A chain, after its readable part was read.
#[derive(Debug)]
pub struct Chain {
    pub head: u16,
    pub request: Vec<u8>,
    /// Address and length of the writable parts.
    writable: Vec<(u64, u32)>,
}

/// The driver's descriptors make no sense.
#[derive(Debug, PartialEq)]
pub struct Malformed(pub &'static str);

/// The guest's memory, and the areas of the queue to which the chain belongs.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub map: &'a Map,
    pub areas: &'a Ranges,
    pub violations: &'a Violations,
    pub indirect: bool,
}

impl<'a> Source<'a> {
    /// The view of what belongs to the queue, and of `told`.
    pub fn view(&self, told: &'a Ranges) -> View<'a> {
        View {
            map: self.map,
            told: [self.areas, told],
            violations: self.violations,
        }
    }
}

impl Chain {
    /// Walks a chain and reads its request.
    pub fn read(
        source: Source<'_>,
        (table, size): (u64, u16),
        head: u16,
    ) -> Result<Self, Malformed> {
        let mut chain = Self {
            head,
            request: Vec::new(),
            writable: Vec::new(),
        };
        chain.walk(source, (table, u32::from(size)), head, source.indirect)?;
        Ok(chain)
    }

    fn walk(
        &mut self,
        source: Source<'_>,
        (table, size): (u64, u32),
        head: u16,
        indirect: bool,
    ) -> Result<(), Malformed> {
        let mut told = Ranges::default();
        if table != 0 && size > 0 {
            told.add(table, u64::from(size) * DESCRIPTOR);
        }
        let mut index = u32::from(head);
        for _ in 0..size {
            if index >= size {
                return Err(Malformed("index"));
            }
            let address = GuestAddress(table.wrapping_add(u64::from(index) * DESCRIPTOR));
            let descriptor: Descriptor = source
                .view(&told)
                .read_obj(address)
                .map_err(|_| Malformed("table"))?;
            if descriptor.refers_to_indirect_table() {
                let entries = descriptor.len() / DESCRIPTOR as u32;
                if !indirect || descriptor.has_next() || entries == 0 {
                    return Err(Malformed("indirect"));
                }
                return self.walk(source, (descriptor.addr().0, entries), 0, false);
            }
            self.take(source, &descriptor)?;
            if !descriptor.has_next() {
                return Ok(());
            }
            index = u32::from(descriptor.next());
        }
        Err(Malformed("loop"))
    }

    fn take(&mut self, source: Source<'_>, descriptor: &Descriptor) -> Result<(), Malformed> {
        let (address, length) = (descriptor.addr(), descriptor.len());
        if descriptor.is_write_only() {
            self.writable.push((address.0, length));
            return Ok(());
        }
        if !self.writable.is_empty() {
            return Err(Malformed("order"));
        }
        let start = self.request.len();
        if length as usize > LONGEST - start {
            return Err(Malformed("length"));
        }
        self.request.resize(start + length as usize, 0);
        let told = Ranges::new([(address.0, u64::from(length))]);
        let part = &mut self.request[start..];
        source
            .view(&told)
            .read_slice(part, address)
            .map_err(|_| Malformed("request"))
    }

    /// Writes the answer, as much of it as there is room for. Returns how many bytes that are.
    pub fn write(&self, source: Source<'_>, answer: &[u8]) -> Result<u32, Malformed> {
        let mut written = 0;
        for (address, length) in &self.writable {
            let rest = &answer[written..];
            let part = &rest[..rest.len().min(*length as usize)];
            let told = Ranges::new([(*address, u64::from(*length))]);
            let view = source.view(&told);
            if !part.is_empty() {
                view.write_slice(part, GuestAddress(*address))
                    .map_err(|_| Malformed("answer"))?;
            }
            written += part.len();
        }
        Ok(written as u32)
    }
}
