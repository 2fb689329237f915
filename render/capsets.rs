// SPDX-License-Identifier: GPL-2.0

//! [`Capsets`] are the capability sets of the host: bytes that say what it can draw. Nobody here
//! understands them.

use kernel::{
    new_mutex,
    num::casts::u32_as_usize,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

use crate::{
    command::{
        capset_data,
        CapsetInfo,
        Command,
        GetCapset,
        GetCapsetInfo,
        Response, //
    },
    display::outputs::wait_at_start,
    gpu::Gpu,
    irq::Adapter,
    scheduler::{
        self,
        Fences,
        Node, //
    },
    virtqueue::{
        Packet,
        Reply, //
    },
};

/// The highest id of a capability set: the user API has a mask of 64 bits.
const MAX_ID: u32 = 63;

/// The most bytes of a capability set that are asked for.
const MAX_SIZE: u32 = 64 << 10;

/// The most sets that are kept. Others are asked for each time.
const MAX_CACHED: usize = 16;

/// How long the device may take for a capability set, in milliseconds.
pub(crate) const ANSWER_TIMEOUT_MS: u32 = 5000;

/// Bytes of an answer before those of the set.
const HEADER_SIZE: usize = <<GetCapset as Command>::Response as Response>::SIZE;

/// What the device says of a capability set.
struct Capset {
    id: u32,
    max_version: u32,
    /// Bytes; [`MAX_SIZE`] at the most.
    size: u32,
}

/// The bytes of a version of a capability set.
pub(crate) struct Data(KVVec<u8>);

impl Data {
    /// Returns the bytes: as many as the device said.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

struct Cached {
    id: u32,
    version: u32,
    data: Arc<Data>,
}

/// The capability sets of a device.
#[pin_data]
pub(crate) struct Capsets {
    sets: KVec<Capset>,
    /// What the device has answered.
    #[pin]
    cache: Mutex<KVec<Cached>>,
}

impl Capsets {
    /// Asks a device that is being started for its `count` capability sets. If it does not say of
    /// each what it is, it counts as one that has none.
    ///
    /// Errors: [`ERESTARTSYS`] after a fatal signal, [`EBUSY`] if the queue is full, [`ENOMEM`],
    /// and those of [`Fences::check`].
    ///
    /// Context: process.
    pub(crate) fn ask(
        adapter: &Adapter<Gpu<'_>>,
        fences: &Fences,
        count: u32,
        deadline_ns: i64,
    ) -> Result<Pin<KBox<Self>>> {
        let mut sets = KVec::new();
        for index in 0..count.min(MAX_ID) {
            match ask_one(adapter, fences, index, deadline_ns)? {
                Some(set) => sets.push(set, GFP_KERNEL)?,
                None => {
                    dev_warn!(
                        adapter.miniport().device(),
                        "no answer about capability set {}: there are none\n",
                        index
                    );
                    sets = KVec::new();
                    break;
                }
            }
        }
        let mut cache = KVec::new();
        cache.reserve(MAX_CACHED, GFP_KERNEL)?;
        KBox::pin_init(
            pin_init!(Self {
                sets,
                cache <- new_mutex!(cache, "rust_gpu::Capsets"),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns whether the device has none.
    pub(crate) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Returns a mask of their ids.
    pub(crate) fn mask(&self) -> u64 {
        self.sets.iter().fold(0, |mask, set| mask | 1 << set.id)
    }

    /// Returns how many bytes this version of a set has.
    ///
    /// Errors: [`EINVAL`] if there is none.
    pub(crate) fn size(&self, id: u32, version: u32) -> Result<u32> {
        let fits = |set: &&Capset| set.id == id && set.max_version >= version;
        self.sets
            .iter()
            .find(fits)
            .map(|set| set.size)
            .ok_or(EINVAL)
    }

    /// Returns a set that the device has answered before.
    ///
    /// Context: process.
    pub(crate) fn cached(&self, id: u32, version: u32) -> Option<Arc<Data>> {
        let cache = self.cache.lock();
        let found = cache
            .iter()
            .find(|set| (set.id, set.version) == (id, version))?;
        Some(found.data.clone())
    }

    /// Asks the device for a set. [`None`] if there is no room now.
    ///
    /// Errors: [`ENOMEM`], and those of [`Fences::check`]. Context: process.
    pub(crate) fn request(
        &self,
        adapter: &Adapter<Gpu<'_>>,
        id: u32,
        version: u32,
    ) -> Result<Option<Arc<Reply>>> {
        let gpu = adapter.miniport();
        let command = GetCapset {
            capset_id: id.into(),
            capset_version: version.into(),
        };
        let room = HEADER_SIZE + u32_as_usize(self.size(id, version)?);
        let (packet, reply) = Packet::question(gpu.device(), gpu.dma(), &command, room)?;
        match scheduler::submit(adapter, Node::Control, packet) {
            Ok(Ok(())) => Ok(Some(reply)),
            // The device may be being reset.
            Ok(Err(_)) | Err(_) => gpu.fences().check().map(|()| None),
        }
    }

    /// Returns the set that is the answer to [`Self::request`], and keeps it.
    ///
    /// Errors: [`ECANCELED`] if the device never answered, [`EIO`] if it answered with an error or
    /// with less than it said, [`ENOMEM`]. Context: process.
    pub(crate) fn answered(&self, id: u32, version: u32, reply: &Reply) -> Result<Arc<Data>> {
        let size = u32_as_usize(self.size(id, version)?);
        let answer = reply.read(HEADER_SIZE + size)?;
        let found = capset_data(&answer).map_err(|_| EIO)?;
        if found.len() != size {
            return Err(EIO);
        }
        let mut data = KVVec::with_capacity(size, GFP_KERNEL)?;
        data.extend_from_slice(found, GFP_KERNEL)?;
        let data = Arc::new(Data(data), GFP_KERNEL)?;
        let mut cache = self.cache.lock();
        let known = |set: &Cached| (set.id, set.version) == (id, version);
        if !cache.iter().any(known) && cache.len() < MAX_CACHED {
            // There is room.
            let _ = cache.push_within_capacity(Cached {
                id,
                version,
                data: data.clone(),
            });
        }
        Ok(data)
    }
}

/// Asks what a capability set is; [`None`] if the device does not say that in time.
fn ask_one(
    adapter: &Adapter<Gpu<'_>>,
    fences: &Fences,
    index: u32,
    deadline_ns: i64,
) -> Result<Option<Capset>> {
    let gpu = adapter.miniport();
    let command = GetCapsetInfo {
        capset_index: index.into(),
        ..Default::default()
    };
    let (packet, reply) = Packet::command(gpu.device(), gpu.dma(), &command)?;
    scheduler::submit(adapter, Node::Control, packet)?.map_err(|_| EBUSY)?;
    // WAIT: first-answers
    match wait_at_start(&reply, fences, deadline_ns) {
        Err(error) if error == ETIMEDOUT => return Ok(None),
        other => other?,
    }
    let answer: Result<CapsetInfo, _> = reply.decode()?;
    let Ok(info) = answer else {
        return Ok(None);
    };
    let set = Capset {
        id: info.capset_id.get(),
        max_version: info.capset_max_version.get(),
        size: info.capset_max_size.get().min(MAX_SIZE),
    };
    Ok((1..=MAX_ID).contains(&set.id).then_some(set))
}
