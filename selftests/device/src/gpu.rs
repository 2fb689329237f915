// SPDX-License-Identifier: GPL-2.0

//! The commands of the virtio GPU; those of 3D are in [`render`]. Where it is up to the device,
//! QEMU's way is taken.

pub mod render;

use std::collections::{
    HashMap,
    HashSet, //
};

use crate::{
    edid,
    gpu::render::Render,
    memory::{
        Map,
        Violations, //
    },
    note,
    resource::{
        Backing,
        Format,
        Rect,
        Resource,
        Shot, //
    },
    script::KINDS, //
};

/// Length of the header of requests and answers.
pub const HEADER: usize = 24;
/// A scanout has at least so many pixels in each direction.
const SMALLEST: u32 = 16;
/// Longest list of an ATTACH_BACKING.
const MAX_ENTRIES: u32 = 16384;
/// Width and height of an image of the cursor.
const CURSOR: u32 = 64;
/// Heads in the answer to GET_DISPLAY_INFO.
const MAX_HEADS: usize = 16;
/// Length of the field of an EDID.
const EDID_FIELD: usize = 1024;
/// Size of the picture of a head that is off.
pub const OFF: (u32, u32) = (640, 480);
const FLAG_FENCE: u32 = 1;
pub const FLUSH: u32 = 0x104;

const OK_NODATA: u32 = 0x1100;
const OK_DISPLAY_INFO: u32 = 0x1101;
const OK_EDID: u32 = 0x1104;
const UNSPEC: u32 = 0x1200;
const OUT_OF_MEMORY: u32 = 0x1201;
const INVALID_SCANOUT: u32 = 0x1202;
const INVALID_RESOURCE: u32 = 0x1203;
const INVALID_CONTEXT: u32 = 0x1204;
const INVALID_PARAMETER: u32 = 0x1205;

/// An answer: its data, or the type of an error.
type Answer = Result<(u32, Vec<u8>), u32>;

/// The cursor of a head.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    /// The last image: width, height and bytes. It stays when the cursor is hidden.
    pub image: Option<(u32, u32, Vec<u8>)>,
    pub hot_x: u32,
    pub hot_y: u32,
}

/// A head: what the user wants, and what it shows.
#[derive(Clone, Debug)]
struct Head {
    /// The wanted size; zero if nothing is plugged in.
    size: (u32, u32),
    /// Where the left upper corner should be.
    place: (u32, u32),
    /// The resource that is shown and the part of it, if the head is on.
    shown: Option<(u32, Rect)>,
    cursor: Cursor,
}

/// Fields of a request, one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&mut self) -> Result<u32, u32> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(UNSPEC)?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*bytes))
    }

    fn u64(&mut self) -> Result<u64, u32> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(UNSPEC)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    fn rect(&mut self) -> Result<Rect, u32> {
        Ok(Rect {
            x: self.u32()?,
            y: self.u32()?,
            width: self.u32()?,
            height: self.u32()?,
        })
    }
}

/// The type of a request, 0 if it is too short to have one.
pub fn kind_of(request: &[u8]) -> u32 {
    Fields(request).u32().unwrap_or(0)
}

/// Writes the answer to a request: its type, the fence of the request, and data.
pub fn answer(request: &[u8], kind: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[..4].copy_from_slice(&kind.to_le_bytes());
    if request.len() >= HEADER && request[4] & FLAG_FENCE as u8 != 0 {
        bytes[4] = FLAG_FENCE as u8;
        bytes[8..20].copy_from_slice(&request[8..20]);
    }
    bytes.extend_from_slice(data);
    bytes
}

/// The state that commands change.
pub struct Gpu {
    heads: Vec<Head>,
    resources: HashMap<u32, Resource>,
    /// Bytes of all resources, and how many they may be.
    bytes: u64,
    limit: u64,
    counts: HashMap<u32, u64>,
    /// How many commands there were before the last reset.
    before: u64,
    /// Numbers of formats that the device does not know.
    unknown: HashSet<u32>,
    pub render: Render,
    /// Transfers whose backing was too short, or no memory of the guest.
    pub short: u64,
}

impl Gpu {
    /// A device with heads of a size.
    pub fn new(heads: usize, size: (u32, u32), limit: u64) -> Self {
        let head = Head {
            size,
            place: (0, 0),
            shown: None,
            cursor: Cursor::default(),
        };
        Self {
            heads: vec![head; heads.min(MAX_HEADS)],
            resources: HashMap::new(),
            bytes: 0,
            limit,
            counts: HashMap::new(),
            before: 0,
            unknown: HashSet::new(),
            render: Render::default(),
            short: 0,
        }
    }

    /// Forgets all that the driver has told it. What the user wants stays.
    pub fn reset(&mut self) {
        self.before = self.count(None);
        self.resources.clear();
        self.render.reset();
        self.bytes = 0;
        for head in &mut self.heads {
            head.shown = None;
            head.cursor = Cursor::default();
        }
    }

    /// From now on the device does not know a format.
    pub fn refuse_format(&mut self, number: u32) {
        self.unknown.insert(number);
    }

    /// The device knows all formats again.
    pub fn take_formats(&mut self) {
        self.unknown.clear();
    }

    /// How many commands of a type were executed or refused, or of all types.
    pub fn count(&self, kind: Option<u32>) -> u64 {
        match kind {
            Some(kind) => self.counts.get(&kind).copied().unwrap_or(0),
            None => self.counts.values().sum(),
        }
    }

    /// How many commands there were since the last reset.
    pub fn count_since_reset(&self) -> u64 {
        self.count(None) - self.before
    }

    /// Counts a command.
    pub fn note(&mut self, kind: u32) {
        *self.counts.entry(kind).or_default() += 1;
    }

    /// How many resources there are, how many have backing, and their bytes.
    pub fn held(&self) -> (usize, usize, u64) {
        let attached = self
            .resources
            .values()
            .filter(|resource| resource.backing.is_some());
        (self.resources.len(), attached.count(), self.bytes)
    }

    /// Changes the size that the user wants for a head. Returns whether it is another one, or
    /// `None` if there is no such head.
    pub fn resize(&mut self, head: usize, size: (u32, u32)) -> Option<bool> {
        let head = self.heads.get_mut(head)?;
        let changes = head.size != size;
        head.size = size;
        Some(changes)
    }

    /// Changes where the heads should be, from the first on. Returns what [`Self::resize`] does.
    pub fn place(&mut self, places: &[(u32, u32)]) -> Option<bool> {
        let heads = self.heads.get_mut(..places.len())?;
        let mut changes = false;
        for (head, place) in heads.iter_mut().zip(places) {
            changes |= head.place != *place;
            head.place = *place;
        }
        Some(changes)
    }

    /// The cursor of a head.
    pub fn cursor(&self, head: usize) -> Option<&Cursor> {
        self.heads.get(head).map(|head| &head.cursor)
    }

    /// A copy of what a head shows; the inner `None` if it is off.
    pub fn shot(&self, head: usize) -> Option<Option<Shot>> {
        let shown = self.heads.get(head)?.shown;
        let shot = shown.and_then(|(id, part)| Some(self.resources.get(&id)?.shot(part)));
        Some(shot)
    }

    /// Executes a command and returns the bytes of its answer.
    pub fn execute(&mut self, request: &[u8], map: &Map, violations: &Violations) -> Vec<u8> {
        match self.dispatch(request, map, violations) {
            Ok((kind, data)) => answer(request, kind, &data),
            Err(error) => {
                let kind = kind_of(request);
                self.judge(request, error);
                let name = KINDS.iter().find(|(_, number)| *number == kind);
                note(&format!(
                    "refused {kind:#x} {:?} {error:#x}",
                    name.map(|(name, _)| name)
                ));
                answer(request, error, &[])
            }
        }
    }

    fn dispatch(&mut self, request: &[u8], map: &Map, violations: &Violations) -> Answer {
        let mut fields = Fields(request.get(HEADER..).ok_or(UNSPEC)?);
        match kind_of(request) {
            _ if self.render.knows(request) => {
                return self.dispatch_3d(request, map, violations);
            }
            0x100 => return Ok((OK_DISPLAY_INFO, self.display_info())),
            0x101 => self.create(&mut fields)?,
            0x102 => self.unref(&mut fields)?,
            0x103 => self.set_scanout(&mut fields)?,
            FLUSH => self.flush(&mut fields)?,
            0x105 => self.transfer(&mut fields, map, violations)?,
            0x106 => self.attach(&mut fields)?,
            0x107 => {
                let resource = self.resource(fields.u32()?)?;
                resource.backing.take().ok_or(INVALID_RESOURCE)?;
            }
            0x10a => return Ok((OK_EDID, self.edid(&mut fields)?)),
            0x300 => self.update_cursor(&mut fields, true)?,
            0x301 => self.update_cursor(&mut fields, false)?,
            _ => return Err(UNSPEC),
        }
        Ok((OK_NODATA, Vec::new()))
    }

    fn resource(&mut self, id: u32) -> Result<&mut Resource, u32> {
        self.resources.get_mut(&id).ok_or(INVALID_RESOURCE)
    }

    fn display_info(&self) -> Vec<u8> {
        let mut data = Vec::new();
        for number in 0..MAX_HEADS {
            let head = self.heads.get(number);
            let (width, height) = head.map_or((0, 0), |head| head.size);
            let (x, y) = head.map_or((0, 0), |head| head.place);
            for field in [x, y, width, height, u32::from(width > 0), 0] {
                data.extend_from_slice(&field.to_le_bytes());
            }
        }
        data
    }

    fn edid(&self, fields: &mut Fields<'_>) -> Result<Vec<u8>, u32> {
        let head = self
            .heads
            .get(fields.u32()? as usize)
            .ok_or(INVALID_PARAMETER)?;
        let mut data = vec![0; 8 + EDID_FIELD];
        data[..4].copy_from_slice(&(edid::LENGTH as u32).to_le_bytes());
        data[8..8 + edid::LENGTH].copy_from_slice(&edid::generate(head.size.0, head.size.1));
        Ok(data)
    }

    fn create(&mut self, fields: &mut Fields<'_>) -> Result<(), u32> {
        let (id, format) = (fields.u32()?, fields.u32()?);
        let (width, height) = (fields.u32()?, fields.u32()?);
        if id == 0 || self.resources.contains_key(&id) {
            return Err(INVALID_RESOURCE);
        }
        let known = !self.unknown.contains(&format);
        let format = Format::new(format)
            .filter(|_| known)
            .ok_or(INVALID_PARAMETER)?;
        self.take(Resource::bytes(width, height, 1))?;
        self.resources
            .insert(id, Resource::new(width, height, format));
        Ok(())
    }

    /// Takes memory for a resource.
    fn take(&mut self, bytes: u64) -> Result<(), u32> {
        if bytes == 0 {
            return Err(INVALID_PARAMETER);
        }
        if bytes > self.limit - self.bytes {
            return Err(OUT_OF_MEMORY);
        }
        self.bytes += bytes;
        Ok(())
    }

    fn unref(&mut self, fields: &mut Fields<'_>) -> Result<(), u32> {
        let id = fields.u32()?;
        let resource = self.resources.remove(&id).ok_or(INVALID_RESOURCE)?;
        self.bytes -= resource.taken();
        for head in &mut self.heads {
            head.shown = head.shown.filter(|(shown, _)| *shown != id);
        }
        self.render.unref(id);
        Ok(())
    }

    fn set_scanout(&mut self, fields: &mut Fields<'_>) -> Result<(), u32> {
        let part = fields.rect()?;
        let (number, id) = (fields.u32()?, fields.u32()?);
        note(&format!(
            "virtio_gpu_cmd_set_scanout id {number}, res {id:#x}, w {}, h {}, x {}, y {}",
            part.width, part.height, part.x, part.y
        ));
        let number = number as usize;
        if number >= self.heads.len() {
            return Err(INVALID_SCANOUT);
        }
        let mut shown = None;
        if id != 0 {
            let resource = self.resource(id)?;
            let small = part.width < SMALLEST || part.height < SMALLEST;
            let fits = part.fits(resource.width, resource.height);
            if small || !fits || !resource.format.is_picture() {
                return Err(INVALID_PARAMETER);
            }
            shown = Some((id, part));
        }
        self.heads[number].shown = shown;
        Ok(())
    }

    fn flush(&mut self, fields: &mut Fields<'_>) -> Result<(), u32> {
        let (part, id) = (fields.rect()?, fields.u32()?);
        note(&format!(
            "virtio_gpu_cmd_res_flush res {id:#x}, w {}, h {}, x {}, y {}",
            part.width, part.height, part.x, part.y
        ));
        let resource = self.resource(id)?;
        match part.fits(resource.width, resource.height) {
            true => Ok(()),
            false => Err(INVALID_PARAMETER),
        }
    }

    fn transfer(
        &mut self,
        fields: &mut Fields<'_>,
        map: &Map,
        violations: &Violations,
    ) -> Result<(), u32> {
        let (part, offset, id) = (fields.rect()?, fields.u64()?, fields.u32()?);
        note(&format!("virtio_gpu_cmd_res_xfer_toh_2d res {id:#x}"));
        let resource = self.resource(id)?;
        if !part.fits(resource.width, resource.height) {
            return Err(INVALID_PARAMETER);
        }
        let whole = resource
            .transfer(map, violations, &part, offset)
            .ok_or(UNSPEC)?;
        if !whole {
            note(&format!(
                "violation: short, res {id:#x}, {part:?} from {offset:#x}"
            ));
            self.short += 1;
        }
        Ok(())
    }

    fn attach(&mut self, fields: &mut Fields<'_>) -> Result<(), u32> {
        let (id, count) = (fields.u32()?, fields.u32()?);
        let resource = self.resource(id)?;
        if resource.backing.is_some() || count > MAX_ENTRIES {
            return Err(UNSPEC);
        }
        let mut entries = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let entry = (fields.u64()?, fields.u32()?);
            fields.u32()?;
            entries.push(entry);
        }
        resource.backing = Some(Backing::new(entries));
        Ok(())
    }

    fn update_cursor(&mut self, fields: &mut Fields<'_>, update: bool) -> Result<(), u32> {
        let (number, x, y, _) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
        let (id, hot_x, hot_y) = (fields.u32()?, fields.u32()?, fields.u32()?);
        note(&format!(
            "virtio_gpu_update_cursor scanout {number}, x {}, y {}, {}, res {id:#x}",
            x as i32,
            y as i32,
            if update { "update" } else { "move" }
        ));
        let head = self.heads.get_mut(number as usize).ok_or(INVALID_SCANOUT)?;
        if !update || id == 0 {
            return Ok(());
        }
        (head.cursor.hot_x, head.cursor.hot_y) = (hot_x, hot_y);
        let resource = self.resources.get(&id).ok_or(INVALID_RESOURCE)?;
        let is_cursor = (resource.width, resource.height) == (CURSOR, CURSOR);
        if is_cursor && resource.format.is_picture() {
            head.cursor.image = Some((CURSOR, CURSOR, resource.pixels.clone()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
