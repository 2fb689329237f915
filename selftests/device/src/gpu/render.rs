// SPDX-License-Identifier: GPL-2.0

//! The commands of 3D, on a device that does not draw: contexts, resources and what is attached to
//! them, answered as QEMU does it with virglrenderer. Of a stream of commands the device keeps the
//! CRC, and a few words in it have a meaning ([`Gpu::run`]).
//!
//! Here a driver is held to what it may name: what it names and is not there is a stray. Streams
//! and boxes are the client's, and no strays.

use std::{
    collections::{
        BTreeMap,
        BTreeSet,
        VecDeque, //
    },
    time::Duration,
};

use super::{
    kind_of,
    Answer,
    Fields,
    Gpu,
    FLAG_FENCE,
    HEADER,
    INVALID_CONTEXT,
    INVALID_PARAMETER,
    INVALID_RESOURCE,
    OK_NODATA,
    UNSPEC, //
};
use crate::{
    control::crc32,
    front::{
        FEATURE_CONTEXT_INIT,
        FEATURE_VIRGL, //
    },
    memory::{
        Map,
        Violations, //
    },
    note,
    resource::{
        Cuboid,
        Format,
        Resource,
        Way, //
    }, //
};

const CREATE: u32 = 0x101;
const UNREF: u32 = 0x102;
pub const CAPSET_INFO: u32 = 0x108;
pub const CAPSET: u32 = 0x109;
const CTX_CREATE: u32 = 0x200;
pub const CTX_DESTROY: u32 = 0x201;
const CTX_ATTACH: u32 = 0x202;
const CTX_DETACH: u32 = 0x203;
const CREATE_3D: u32 = 0x204;
const TO_HOST: u32 = 0x205;
const FROM_HOST: u32 = 0x206;
const SUBMIT: u32 = 0x207;
/// All types of errors begin here.
const ERRORS: u32 = 0x1200;

const OK_CAPSET_INFO: u32 = 0x1102;
const OK_CAPSET: u32 = 0x1103;
const FLAG_RING: u32 = 2;
/// Largest number of a target of a resource: an array of cubes.
const LAST_TARGET: u32 = 8;
/// Length of the name of a context.
const NAME: usize = 64;
/// How many CRCs are kept of a context, and how many contexts that have ended.
const CRCS: usize = 16;
const PAST: usize = 64;

/// Id, largest version and size of each capset.
pub const CAPSETS: [(u32, u32, u32); 2] = [(1, 1, 308), (2, 2, 1408)];

/// Words of a stream: a resource gets a colour, the GPU is busy for some milliseconds, the stream
/// is refused by an error.
pub const FILL: u32 = u32::from_le_bytes(*b"FILL");
pub const BUSY: u32 = u32::from_le_bytes(*b"BUSY");
pub const FAIL: u32 = u32::from_le_bytes(*b"FAIL");

/// The bytes of a capset.
pub fn capset(id: u32, version: u32, size: u32) -> Vec<u8> {
    let byte = |at: u32| (at * 7 + id * 31 + version) as u8;
    (0..size).map(byte).collect()
}

/// The commands of one timeline end in the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timeline {
    pub context: u32,
    ring: Option<u8>,
}

/// What a driver may name.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Named {
    Context(u32),
    Resource(u32),
}

/// A context of a client.
#[derive(Clone, Debug)]
pub struct Context {
    id: u32,
    name: String,
    capset: u32,
    attached: BTreeSet<u32>,
    submissions: u64,
    /// How many of these were for a ring.
    on_rings: u64,
    crcs: VecDeque<u32>,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub contexts_made: u64,
    pub contexts_destroyed: u64,
    /// Those that a reset has ended.
    pub contexts_lost: u64,
    pub resources_made: u64,
    pub attached: u64,
    pub detached: u64,
    pub submissions: u64,
    /// What the driver named though it was not there, or too often, or too late.
    pub strays: u64,
}

/// The state that commands of 3D change, beside the resources.
#[derive(Default)]
pub struct Render {
    /// What the driver has taken.
    features: u64,
    contexts: BTreeMap<u32, Context>,
    /// Contexts that have ended, the last one at the back.
    past: VecDeque<Context>,
    /// What the driver asked for in vain. It does not wait for that answer, and may name it.
    refused: BTreeSet<Named>,
    last_fence: u64,
    /// How long the GPU takes for the last stream.
    busy: Duration,
    pub counts: Counts,
}

/// A field of the header of a request.
fn header(request: &[u8], at: usize) -> u32 {
    Fields(request.get(at..).unwrap_or(&[])).u32().unwrap_or(0)
}

/// The context of a request.
pub fn context_of(request: &[u8]) -> u32 {
    header(request, 16)
}

/// The resource that a request names.
fn resource_of(request: &[u8]) -> u32 {
    let at = match kind_of(request) {
        0x103 => 44,
        0x104 | 0x300 => 40,
        0x105 => 48,
        TO_HOST | FROM_HOST => 56,
        _ => HEADER,
    };
    header(request, at)
}

impl Render {
    /// The driver has taken these features.
    pub fn start(&mut self, features: u64) {
        self.features = features;
    }

    /// Whether this is a command of 3D, and the driver may use those.
    pub(super) fn knows(&self, request: &[u8]) -> bool {
        let kind = kind_of(request);
        self.is_on() && matches!(kind, CAPSET_INFO | CAPSET | CTX_CREATE..=SUBMIT)
    }

    fn is_on(&self) -> bool {
        self.features & FEATURE_VIRGL != 0
    }

    fn stray(&mut self, what: &str) {
        note(&format!("stray: {what}"));
        self.counts.strays += 1;
    }

    /// Looks at a request before it is decided about, in the order of the ring: fences have numbers
    /// that only grow, and that a host with 32 bits for them can tell apart.
    pub fn arrive(&mut self, request: &[u8]) {
        if !self.is_on() || header(request, 4) & FLAG_FENCE == 0 {
            return;
        }
        let fence = u64::from(header(request, 8)) | u64::from(header(request, 12)) << 32;
        if fence <= self.last_fence || fence > u32::MAX.into() {
            let last = self.last_fence;
            self.stray(&format!("fence {fence:#x} after {last:#x}"));
        }
        self.last_fence = fence;
    }

    /// The timeline on which a command ends, if the GPU has work with it.
    pub fn timeline(&self, request: &[u8], answer: &[u8]) -> Option<Timeline> {
        let flags = header(request, 4);
        let fenced = self.is_on() && flags & FLAG_FENCE != 0 && kind_of(answer) < ERRORS;
        fenced.then(|| Timeline {
            context: context_of(request),
            ring: (flags & FLAG_RING != 0).then(|| request[20]),
        })
    }

    /// How long the GPU takes for the stream that was just executed.
    pub fn take_busy(&mut self) -> Duration {
        std::mem::take(&mut self.busy)
    }

    /// Forgets all that the driver has told it.
    pub(super) fn reset(&mut self) {
        let lost = std::mem::take(&mut self.contexts);
        self.counts.contexts_lost += lost.len() as u64;
        lost.into_values().for_each(|context| self.end(context));
        self.refused.clear();
        self.features = 0;
        self.last_fence = 0;
    }

    fn end(&mut self, context: Context) {
        if self.past.len() == PAST {
            self.past.pop_front();
        }
        self.past.push_back(context);
    }

    /// The name of a context.
    pub fn name(&self, id: u32) -> Option<&str> {
        Some(&self.contexts.get(&id)?.name)
    }

    /// Contexts that there are, and what is attached to them.
    pub fn held(&self) -> (usize, usize) {
        let attached = self.contexts.values().map(|context| context.attached.len());
        (self.contexts.len(), attached.sum())
    }

    /// Tells of the last context with a name, or `None` if there was none.
    pub fn describe(&self, name: &str) -> Option<String> {
        let is_it = |context: &&Context| context.name == name;
        let alive = self.contexts.values().rev().find(is_it);
        let context = alive.or_else(|| self.past.iter().rev().find(is_it))?;
        let crcs: Vec<_> = context
            .crcs
            .iter()
            .map(|crc| format!("{crc:08x}"))
            .collect();
        Some(format!(
            "id={} alive={} capset={} attached={} submissions={} on-rings={} crcs={}",
            context.id,
            u32::from(alive.is_some()),
            context.capset,
            context.attached.len(),
            context.submissions,
            context.on_rings,
            crcs.join(",")
        ))
    }

    fn context(&mut self, id: u32) -> Result<&mut Context, u32> {
        self.contexts.get_mut(&id).ok_or(INVALID_CONTEXT)
    }

    fn create(&mut self, id: u32, fields: &mut Fields<'_>) -> Result<(), u32> {
        let (length, init) = (fields.u32()?, fields.u32()?);
        let name = fields.0.get(..NAME).ok_or(UNSPEC)?;
        if id == 0 || self.contexts.contains_key(&id) {
            return Err(INVALID_CONTEXT);
        }
        let known = CAPSETS.iter().any(|(capset, ..)| *capset == init);
        let chosen = known && self.features & FEATURE_CONTEXT_INIT != 0;
        if length as usize > NAME || init != 0 && !chosen {
            return Err(INVALID_PARAMETER);
        }
        let name = String::from_utf8_lossy(&name[..length as usize]);
        let name = name.trim_end_matches('\0').to_owned();
        note(&format!(
            "virtio_gpu_cmd_ctx_create ctx {id:#x}, name {name}"
        ));
        self.counts.contexts_made += 1;
        let context = Context {
            id,
            name,
            capset: init,
            attached: BTreeSet::new(),
            submissions: 0,
            on_rings: 0,
            crcs: VecDeque::new(),
        };
        self.contexts.insert(id, context);
        Ok(())
    }

    /// Ends a context, also if something is still attached.
    fn destroy(&mut self, id: u32) -> Result<(), u32> {
        note(&format!("virtio_gpu_cmd_ctx_destroy ctx {id:#x}"));
        let context = self.contexts.remove(&id).ok_or(INVALID_CONTEXT)?;
        self.counts.contexts_destroyed += 1;
        let left = context.attached.len();
        self.end(context);
        if left == 0 {
            return Ok(());
        }
        self.stray(&format!("ctx {id:#x} ends with {left} resources"));
        Err(UNSPEC)
    }

    fn attach(&mut self, id: u32, resource: u32) -> Result<(), u32> {
        if !self.context(id)?.attached.insert(resource) {
            self.stray(&format!("res {resource:#x} once more in ctx {id:#x}"));
            return Ok(());
        }
        self.counts.attached += 1;
        Ok(())
    }

    fn detach(&mut self, id: u32, resource: u32) -> Result<(), u32> {
        if !self.context(id)?.attached.remove(&resource) {
            return Err(INVALID_RESOURCE);
        }
        self.counts.detached += 1;
        Ok(())
    }

    /// A resource has ended.
    pub(super) fn unref(&mut self, resource: u32) {
        let mut left = 0;
        for context in self.contexts.values_mut() {
            left += u32::from(context.attached.remove(&resource));
        }
        if left > 0 {
            self.stray(&format!("res {resource:#x} ends in {left} contexts"));
        }
    }

    /// The streams of a context name only what is attached to it.
    fn may_use(&mut self, id: u32, resource: u32) -> Result<(), u32> {
        match self.context(id)?.attached.contains(&resource) {
            true => Ok(()),
            false => Err(INVALID_RESOURCE),
        }
    }

    /// Whether the driver may not know yet that something is not there.
    fn was_refused(&mut self, named: Named, ends: bool) -> bool {
        match ends {
            true => self.refused.remove(&named),
            false => self.refused.contains(&named),
        }
    }
}

impl Gpu {
    /// Judges the driver by a command that was refused.
    pub fn judge(&mut self, request: &[u8], error: u32) {
        let (kind, resource) = (kind_of(request), resource_of(request));
        let context = context_of(request);
        let render = &mut self.render;
        if !render.is_on() {
            return;
        }
        let made = match kind {
            CTX_CREATE => Some(Named::Context(context)),
            CREATE | CREATE_3D => Some(Named::Resource(resource)),
            _ => None,
        };
        let stray = match (made, error) {
            // What is there already stays.
            (Some(_), INVALID_CONTEXT | INVALID_RESOURCE) => true,
            (Some(made), _) => {
                render.refused.insert(made);
                false
            }
            (None, INVALID_CONTEXT) => {
                !render.was_refused(Named::Context(context), kind == CTX_DESTROY)
            }
            (None, INVALID_RESOURCE) if kind != SUBMIT => {
                !render.was_refused(Named::Resource(resource), kind == UNREF)
            }
            _ => false,
        };
        if stray {
            render.stray(&format!(
                "{kind:#x}, ctx {context:#x}, res {resource:#x}: {error:#x}"
            ));
        }
    }

    /// Executes a command of 3D.
    pub(super) fn dispatch_3d(
        &mut self,
        request: &[u8],
        map: &Map,
        violations: &Violations,
    ) -> Answer {
        let mut fields = Fields(request.get(HEADER..).ok_or(UNSPEC)?);
        let context = context_of(request);
        match kind_of(request) {
            CAPSET_INFO => return capset_info(&mut fields),
            CAPSET => return capset_data(&mut fields),
            CTX_CREATE => self.render.create(context, &mut fields)?,
            CTX_DESTROY => self.render.destroy(context)?,
            CTX_ATTACH => {
                let resource = fields.u32()?;
                self.render.context(context)?;
                self.resource(resource)?;
                self.render.attach(context, resource)?;
            }
            CTX_DETACH => self.render.detach(context, fields.u32()?)?,
            CREATE_3D => self.create_3d(&mut fields)?,
            TO_HOST => self.transfer_3d(context, &mut fields, map, violations, Way::ToHost)?,
            FROM_HOST => self.transfer_3d(context, &mut fields, map, violations, Way::FromHost)?,
            _ => {
                let is_on_ring = header(request, 4) & FLAG_RING != 0;
                self.submit(context, is_on_ring, &mut fields)?;
            }
        }
        Ok((OK_NODATA, Vec::new()))
    }

    fn create_3d(&mut self, fields: &mut Fields<'_>) -> Result<(), u32> {
        let (id, target, format) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (_bind, width, height) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (depth, array, last_level) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (_samples, _flags) = (fields.u32()?, fields.u32()?);
        if id == 0 || self.resources.contains_key(&id) {
            return Err(INVALID_RESOURCE);
        }
        let known = !self.unknown.contains(&format);
        let format = Format::new_3d(format)
            .filter(|_| known)
            .ok_or(INVALID_PARAMETER)?;
        // A buffer has one dimension.
        let flat = height == 1 && depth == 1 && array == 1 && last_level == 0;
        let layers = depth.checked_mul(array).ok_or(INVALID_PARAMETER)?;
        if target > LAST_TARGET || target == 0 && !flat || last_level > 31 {
            return Err(INVALID_PARAMETER);
        }
        self.take(Resource::bytes(width, height, layers))?;
        self.render.counts.resources_made += 1;
        self.resources.insert(
            id,
            Resource::new_3d(width, height, format, layers, last_level + 1),
        );
        Ok(())
    }

    fn transfer_3d(
        &mut self,
        context: u32,
        fields: &mut Fields<'_>,
        map: &Map,
        violations: &Violations,
        way: Way,
    ) -> Result<(), u32> {
        let part = Cuboid {
            at: [fields.u32()?, fields.u32()?, fields.u32()?],
            size: [fields.u32()?, fields.u32()?, fields.u32()?],
            offset: fields.u64()?,
            ..Cuboid::default()
        };
        let (id, level) = (fields.u32()?, fields.u32()?);
        let part = Cuboid {
            stride: fields.u32()?,
            layer_stride: fields.u32()?,
            ..part
        };
        note(&format!(
            "virtio_gpu_cmd_res_xfer_{}_3d res {id:#x}",
            if way == Way::ToHost { "toh" } else { "fromh" }
        ));
        self.render.context(context)?;
        let resource = self.resources.get_mut(&id).ok_or(INVALID_RESOURCE)?;
        self.render.may_use(context, id)?;
        if level >= resource.levels {
            return Err(INVALID_PARAMETER);
        }
        if level > 0 {
            return Ok(());
        }
        resource
            .transfer_3d(map, violations, &part, way)
            .ok_or(INVALID_PARAMETER)
    }

    fn submit(&mut self, id: u32, is_on_ring: bool, fields: &mut Fields<'_>) -> Result<(), u32> {
        let (size, _) = (fields.u32()?, fields.u32()?);
        let stream = fields.0;
        note(&format!(
            "virtio_gpu_cmd_ctx_submit ctx {id:#x}, size {size}"
        ));
        let context = self.render.context(id)?;
        if size as usize != stream.len() {
            let what = format!("{} bytes of {size} in ctx {id:#x}", stream.len());
            self.render.stray(&what);
            return Err(INVALID_PARAMETER);
        }
        context.submissions += 1;
        context.on_rings += u64::from(is_on_ring);
        if context.crcs.len() == CRCS {
            context.crcs.pop_front();
        }
        context.crcs.push_back(crc32(stream));
        self.render.counts.submissions += 1;
        if size % 4 != 0 {
            return Err(INVALID_PARAMETER);
        }
        self.run(id, Fields(stream))
    }

    /// Follows the words of a stream, up to the first that has no meaning.
    fn run(&mut self, context: u32, mut stream: Fields<'_>) -> Result<(), u32> {
        loop {
            match stream.u32() {
                Ok(FILL) => {
                    let (id, colour) = (stream.u32()?, stream.u32()?);
                    self.render.may_use(context, id)?;
                    self.resource(id)?.fill(colour.to_le_bytes());
                }
                Ok(BUSY) => self.render.busy = Duration::from_millis(stream.u32()?.into()),
                Ok(FAIL) => return Err(stream.u32()?.max(ERRORS)),
                _ => return Ok(()),
            }
        }
    }

    /// Tells of a resource: width, height, layers, and the CRC of its bytes.
    pub fn describe_resource(&self, id: u32) -> Option<String> {
        let resource = self.resources.get(&id)?;
        Some(format!(
            "{} {} {} {:08x}",
            resource.width,
            resource.height,
            resource.layers,
            crc32(&resource.pixels)
        ))
    }
}

fn capset_info(fields: &mut Fields<'_>) -> Answer {
    let index = fields.u32()? as usize;
    let (id, version, size) = CAPSETS.get(index).ok_or(INVALID_PARAMETER)?;
    let data = [*id, *version, *size, 0].map(u32::to_le_bytes);
    Ok((OK_CAPSET_INFO, data.as_flattened().to_vec()))
}

fn capset_data(fields: &mut Fields<'_>) -> Answer {
    let (id, version) = (fields.u32()?, fields.u32()?);
    let (_, _, size) = CAPSETS
        .iter()
        .find(|(known, last, _)| *known == id && version <= *last)
        .ok_or(INVALID_PARAMETER)?;
    Ok((OK_CAPSET, capset(id, version, *size)))
}

#[cfg(test)]
mod tests;
