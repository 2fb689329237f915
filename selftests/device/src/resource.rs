// SPDX-License-Identifier: GPL-2.0

//! Host resources: pictures in the memory of this process, and their backing in the guest's. Those
//! of 3D have layers, and only their largest level of detail has memory.

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

/// Bytes of a pixel. All formats of 2D have four.
pub const PIXEL: usize = 4;
/// The format of buffers: bytes.
const BYTES: u32 = 64;

/// A part of a resource or of a screen, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

impl Rect {
    /// Whether the rectangle is inside a picture of this size, and not empty.
    pub fn fits(&self, width: u32, height: u32) -> bool {
        let inside = |at: u32, length: u32, whole: u32| {
            length > 0 && at.checked_add(length).is_some_and(|end| end <= whole)
        };
        inside(self.x, self.width, width) && inside(self.y, self.height, height)
    }
}

/// A part of a resource of 3D, in pixels, and where it is in the backing, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cuboid {
    pub at: [u32; 3],
    pub size: [u32; 3],
    pub offset: u64,
    /// From one row to the next, and from one layer to the next; 0 if there is nothing between.
    pub stride: u32,
    pub layer_stride: u32,
}

/// Which way a transfer goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    ToHost,
    FromHost,
}

/// Where red, green and blue are in a pixel, and where alpha is, if it has any.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Format {
    colours: [usize; 3],
    alpha: Option<usize>,
    /// Bytes of a pixel.
    size: usize,
}

impl Format {
    /// The format with this number, as in `enum virtio_gpu_formats`.
    pub fn new(number: u32) -> Option<Self> {
        let (colours, alpha) = match number {
            1 => ([2, 1, 0], Some(3)),
            2 => ([2, 1, 0], None),
            3 => ([1, 2, 3], Some(0)),
            4 => ([1, 2, 3], None),
            67 => ([0, 1, 2], Some(3)),
            134 => ([0, 1, 2], None),
            68 => ([3, 2, 1], None),
            121 => ([3, 2, 1], Some(0)),
            _ => return None,
        };
        Some(Self {
            colours,
            alpha,
            size: PIXEL,
        })
    }

    /// The same for resources of 3D, which also may be buffers.
    pub fn new_3d(number: u32) -> Option<Self> {
        let bytes = Self {
            colours: [0; 3],
            alpha: None,
            size: 1,
        };
        match number {
            BYTES => Some(bytes),
            _ => Self::new(number),
        }
    }

    /// Whether a screen or a cursor can show it.
    pub fn is_picture(&self) -> bool {
        self.size == PIXEL
    }

    /// Red, green and blue as they are seen on black: alpha lets that shine through.
    fn seen(&self, pixel: &[u8]) -> [u8; 3] {
        let alpha = self.alpha.map_or(255, |at| u32::from(pixel[at]));
        self.colours
            .map(|at| (u32::from(pixel[at]) * alpha / 255) as u8)
    }
}

/// Guest memory of a resource, as an ATTACH_BACKING told.
#[derive(Debug)]
pub struct Backing {
    entries: Vec<(u64, u32)>,
    /// Where each entry begins in the resource's bytes.
    starts: Vec<u64>,
    told: Ranges,
}

impl Backing {
    /// Takes the addresses and lengths of a list.
    pub fn new(entries: Vec<(u64, u32)>) -> Self {
        let mut at = 0;
        let starts = entries.iter().map(|(_, length)| {
            let start = at;
            at += u64::from(*length);
            start
        });
        Self {
            starts: starts.collect(),
            told: Ranges::new(
                entries
                    .iter()
                    .map(|(start, length)| (*start, u64::from(*length))),
            ),
            entries,
        }
    }

    /// How many bytes there are.
    fn length(&self) -> u64 {
        let last = self.starts.last().zip(self.entries.last());
        last.map_or(0, |(start, entry)| start.saturating_add(entry.1.into()))
    }

    /// Calls `with` for each part of `length` bytes from `offset` on, with where it is in them.
    /// Returns whether all of them are there.
    fn walk(
        &self,
        mut offset: u64,
        length: usize,
        mut with: impl FnMut(GuestAddress, std::ops::Range<usize>) -> bool,
    ) -> bool {
        let mut done = 0;
        let mut number = self.starts.partition_point(|start| *start <= offset);
        while done < length {
            let index = number.wrapping_sub(1);
            let (Some(entry), Some(start)) = (self.entries.get(index), self.starts.get(index))
            else {
                return false;
            };
            let inside = offset - start;
            let left = u64::from(entry.1).saturating_sub(inside);
            let part = (length - done).min(left as usize);
            let address = GuestAddress(entry.0.wrapping_add(inside));
            if part > 0 && !with(address, done..done + part) {
                return false;
            }
            offset += part as u64;
            done += part;
            number += 1;
        }
        true
    }

    /// Copies bytes between the backing, from `offset` on, and the resource. Returns whether all of
    /// them are there.
    fn copy(
        &self,
        map: &Map,
        violations: &Violations,
        offset: u64,
        bytes: &mut [u8],
        way: Way,
    ) -> bool {
        let none = Ranges::default();
        let view = View {
            map,
            told: [&self.told, &none],
            violations,
        };
        self.walk(offset, bytes.len(), |address, range| {
            let part = &mut bytes[range];
            match way {
                Way::ToHost => view.read_slice(part, address).is_ok(),
                Way::FromHost => view.write_slice(part, address).is_ok(),
            }
        })
    }
}

/// A resource.
#[derive(Debug)]
pub struct Resource {
    pub width: u32,
    pub height: u32,
    pub format: Format,
    /// How many pictures of this size there are. A screen shows the first.
    pub layers: u32,
    /// How many levels of detail there are. The smaller ones have no pixels.
    pub levels: u32,
    pub pixels: Vec<u8>,
    pub backing: Option<Backing>,
}

/// A copy of a part of a resource.
pub struct Shot {
    resource: Resource,
    part: Rect,
}

impl Shot {
    /// Width, height, and red, green and blue of all pixels.
    pub fn picture(&self) -> (u32, u32, Vec<u8>) {
        let part = &self.part;
        (part.width, part.height, self.resource.colours(part))
    }
}

impl Resource {
    /// A copy of a part of it.
    pub fn shot(&self, part: Rect) -> Shot {
        let pixels = self.pixels.clone();
        let resource = Resource {
            pixels,
            backing: None,
            ..*self
        };
        Shot { resource, part }
    }

    /// A black resource.
    pub fn new(width: u32, height: u32, format: Format) -> Self {
        Self::new_3d(width, height, format, 1, 1)
    }

    /// A black resource of 3D.
    pub fn new_3d(width: u32, height: u32, format: Format, layers: u32, levels: u32) -> Self {
        let bytes = width as usize * height as usize * layers as usize * format.size;
        Self {
            width,
            height,
            format,
            layers,
            levels,
            pixels: vec![0; bytes],
            backing: None,
        }
    }

    /// Fills it with a pixel.
    pub fn fill(&mut self, pixel: [u8; PIXEL]) {
        let size = self.format.size;
        for to in self.pixels.chunks_exact_mut(size) {
            to.copy_from_slice(&pixel[..size]);
        }
    }

    /// Bytes that a resource of this size takes at most.
    pub fn bytes(width: u32, height: u32, layers: u32) -> u64 {
        (u64::from(width) * u64::from(height)).saturating_mul(u64::from(layers) * PIXEL as u64)
    }

    /// Bytes that it takes.
    pub fn taken(&self) -> u64 {
        Self::bytes(self.width, self.height, self.layers)
    }

    /// Copies a part from the backing, in which it begins at `offset`. Returns `None` if there is
    /// no backing, otherwise whether all of it was there.
    pub fn transfer(
        &mut self,
        map: &Map,
        violations: &Violations,
        part: &Rect,
        offset: u64,
    ) -> Option<bool> {
        let backing = self.backing.as_ref()?;
        let pitch = self.width as usize * PIXEL;
        let length = part.width as usize * PIXEL;
        let first = part.y as usize * pitch + part.x as usize * PIXEL;
        if length == pitch {
            let to = self
                .pixels
                .get_mut(first..first + part.height as usize * pitch)?;
            return Some(backing.copy(map, violations, offset, to, Way::ToHost));
        }
        let mut whole = true;
        for row in 0..part.height as usize {
            let at = first + row * pitch;
            let to = self.pixels.get_mut(at..at + length)?;
            whole &= backing.copy(
                map,
                violations,
                offset + (row * pitch) as u64,
                to,
                Way::ToHost,
            );
        }
        Some(whole)
    }

    /// Copies a part from or to the backing. Returns `None` if there is no such part, or less
    /// backing than that.
    pub fn transfer_3d(
        &mut self,
        map: &Map,
        violations: &Violations,
        part: &Cuboid,
        way: Way,
    ) -> Option<()> {
        let backing = self.backing.as_ref()?;
        let whole = [self.width, self.height, self.layers];
        for ((at, size), whole) in part.at.iter().zip(part.size).zip(whole) {
            if size == 0 || at.checked_add(size)? > whole {
                return None;
            }
        }
        let pitch = self.width as usize * self.format.size;
        let or = |stride: u32, otherwise: u64| match stride {
            0 => otherwise,
            stride => u64::from(stride),
        };
        let stride = or(part.stride, pitch as u64);
        let layer_stride = or(part.layer_stride, stride.checked_mul(self.height.into())?);
        let [x, y, z] = part.at.map(|at| at as usize);
        let [width, height, layers] = part.size;
        let length = width as usize * self.format.size;
        let place = |row: u32, layer: u32| {
            let inside = u64::from(row).checked_mul(stride)?;
            let layers = u64::from(layer).checked_mul(layer_stride)?;
            part.offset.checked_add(inside)?.checked_add(layers)
        };
        let end = place(height - 1, layers - 1)?.checked_add(length as u64)?;
        if end > backing.length() {
            return None;
        }
        for layer in 0..layers {
            for row in 0..height {
                let above = (z + layer as usize) * self.height as usize + y + row as usize;
                let at = above * pitch + x * self.format.size;
                let bytes = self.pixels.get_mut(at..at + length)?;
                if !backing.copy(map, violations, place(row, layer)?, bytes, way) {
                    return None;
                }
            }
        }
        Some(())
    }

    /// Red, green and blue of all pixels of a part as they are seen, row by row.
    pub fn colours(&self, part: &Rect) -> Vec<u8> {
        let pitch = self.width as usize * PIXEL;
        let rows = self.pixels.chunks_exact(pitch.max(1));
        rows.skip(part.y as usize)
            .take(part.height as usize)
            .flat_map(|row| {
                row.chunks_exact(PIXEL)
                    .skip(part.x as usize)
                    .take(part.width as usize)
            })
            .flat_map(|pixel| self.format.seen(pixel))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    const ALL: Rect = Rect {
        x: 0,
        y: 0,
        width: 4,
        height: 4,
    };

    fn guest() -> Map {
        let map = Map::from_ranges(&[(GuestAddress(0x1000), 0x3000)]).unwrap();
        let bytes: Vec<u8> = (0..0x3000u32).map(|at| (at % 251) as u8).collect();
        map.write_slice(&bytes, GuestAddress(0x1000)).unwrap();
        map
    }

    fn byte(address: u64) -> u8 {
        ((address - 0x1000) % 251) as u8
    }

    #[test]
    fn a_transfer_gathers_from_the_list() {
        let (map, violations) = (guest(), Violations::default());
        let mut resource = Resource::new(4, 4, Format::new(1).unwrap());
        assert_eq!(resource.transfer(&map, &violations, &ALL, 0), None);

        resource.backing = Some(Backing::new(vec![(0x3000, 20), (0x1000, 0), (0x1100, 44)]));
        assert_eq!(resource.transfer(&map, &violations, &ALL, 0), Some(true));
        assert_eq!(resource.pixels[19], byte(0x3013));
        assert_eq!(resource.pixels[20], byte(0x1100));
        assert_eq!(resource.pixels[63], byte(0x112b));

        // A column: each row from its own place.
        resource.pixels.fill(0);
        let column = Rect {
            x: 1,
            y: 1,
            width: 1,
            height: 2,
        };
        assert_eq!(
            resource.transfer(&map, &violations, &column, 20),
            Some(true)
        );
        assert_eq!(
            resource.pixels[20..24],
            [0x1100, 0x1101, 0x1102, 0x1103].map(byte)
        );
        assert_eq!(
            resource.pixels[36..40],
            [0x1110, 0x1111, 0x1112, 0x1113].map(byte)
        );
        assert_eq!(resource.pixels.iter().filter(|byte| **byte != 0).count(), 8);
        assert_eq!(violations.untold.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_short_list_and_memory_that_is_none_are_noticed() {
        let (map, violations) = (guest(), Violations::default());
        let mut resource = Resource::new(4, 4, Format::new(1).unwrap());

        resource.backing = Some(Backing::new(vec![(0x1000, 63)]));
        assert_eq!(resource.transfer(&map, &violations, &ALL, 0), Some(false));
        assert_eq!(violations.unmapped.load(Ordering::Relaxed), 0);
        resource.backing = Some(Backing::new(vec![(0x3fff, 64)]));
        assert_eq!(resource.transfer(&map, &violations, &ALL, 0), Some(false));
        assert_eq!(violations.unmapped.load(Ordering::Relaxed), 1);
        assert_eq!(violations.untold.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_part_of_3d_goes_both_ways() {
        let (map, violations) = (guest(), Violations::default());
        let mut resource = Resource::new_3d(4, 4, Format::new(1).unwrap(), 2, 1);
        let part = Cuboid {
            at: [1, 2, 0],
            size: [2, 2, 2],
            offset: 8,
            stride: 20,
            layer_stride: 50,
        };
        let run = |resource: &mut Resource, part: &Cuboid, way| {
            resource.transfer_3d(&map, &violations, part, way)
        };
        assert_eq!(run(&mut resource, &part, Way::ToHost), None);
        // The last byte is the 86th.
        for (length, done) in [(85, None), (86, Some(()))] {
            resource.backing = Some(Backing::new(vec![(0x1100, 40), (0x1000, length - 40)]));
            assert_eq!(run(&mut resource, &part, Way::ToHost), done);
        }
        let at = |x: usize, y: usize, z: usize| ((z * 4 + y) * 4 + x) * PIXEL;
        assert_eq!(resource.pixels[at(1, 2, 0)], byte(0x1108));
        assert_eq!(resource.pixels[at(2, 3, 0)], byte(0x1120));
        assert_eq!(resource.pixels[at(1, 2, 1)], byte(0x1012));
        assert_eq!(resource.pixels[at(2, 3, 1) + 3], byte(0x102d));
        assert_eq!(
            resource.pixels.iter().filter(|byte| **byte != 0).count(),
            32
        );

        // The other way, with nothing between the rows of a picture.
        resource.fill([1, 2, 3, 4]);
        resource.backing = Some(Backing::new(vec![(0x2000, 0x1000)]));
        let column = Cuboid {
            at: [3, 0, 1],
            size: [1, 4, 1],
            ..Cuboid::default()
        };
        assert_eq!(run(&mut resource, &column, Way::FromHost), Some(()));
        let mut bytes = [0; 20];
        map.read_slice(&mut bytes, GuestAddress(0x2000)).unwrap();
        assert_eq!(bytes[..5], [1, 2, 3, 4, byte(0x2004)]);
        assert_eq!(bytes[16..], [1, 2, 3, 4]);
        assert_eq!(violations.untold.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_part_of_3d_has_to_be_there() {
        let (map, violations) = (guest(), Violations::default());
        let mut resource = Resource::new_3d(64, 1, Format::new_3d(64).unwrap(), 1, 1);
        resource.backing = Some(Backing::new(vec![(0x1000, 64)]));
        for (at, size, offset, done) in [
            ([0, 0, 0], [64, 1, 1], 0, Some(())),
            ([1, 0, 0], [63, 1, 1], 1, Some(())),
            ([1, 0, 0], [63, 1, 1], 2, None),
            ([1, 0, 0], [64, 1, 1], 0, None),
            ([0, 1, 0], [64, 1, 1], 0, None),
            ([0, 0, 0], [64, 1, 2], 0, None),
            ([0, 0, 0], [0, 1, 1], 0, None),
            ([u32::MAX, 0, 0], [2, 1, 1], 0, None),
            ([0, 0, 0], [64, 1, 1], u64::MAX, None),
        ] {
            let part = Cuboid {
                at,
                size,
                offset,
                ..Cuboid::default()
            };
            let found = resource.transfer_3d(&map, &violations, &part, Way::ToHost);
            assert_eq!(found, done, "{part:?}");
        }
        assert_eq!(violations.unmapped.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn colours_follow_the_format() {
        for (number, rgb) in [
            (2, [30, 20, 10]),
            (4, [20, 30, 51]),
            (134, [10, 20, 30]),
            (68, [51, 30, 20]),
            // 51 of 255 is a fifth, and 10 is the alpha of the last one.
            (1, [6, 4, 2]),
            (67, [2, 4, 6]),
            (121, [2, 1, 0]),
            (3, [0, 1, 2]),
        ] {
            let mut resource = Resource::new(2, 1, Format::new(number).unwrap());
            resource.pixels = vec![0, 0, 0, 0, 10, 20, 30, 51];
            let part = Rect {
                x: 1,
                y: 0,
                width: 1,
                height: 1,
            };
            assert_eq!(resource.colours(&part), rgb);
        }
        assert_eq!(Format::new(5), None);
    }

    #[test]
    fn rectangles_have_to_fit() {
        let rect = |x, y, width, height| Rect {
            x,
            y,
            width,
            height,
        };
        assert!(rect(0, 0, 4, 4).fits(4, 4) && rect(3, 3, 1, 1).fits(4, 4));
        assert!(!rect(0, 0, 0, 4).fits(4, 4) && !rect(1, 0, 4, 4).fits(4, 4));
        assert!(!rect(u32::MAX, 0, 2, 1).fits(4, 4));
    }
}
