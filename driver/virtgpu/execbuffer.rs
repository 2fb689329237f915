// SPDX-License-Identifier: GPL-2.0

//! [`execbuffer`] handles the ioctl that gives a context a stream of commands.

use kernel::{
    drm::{
        self,
        gem::BaseObject, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    uaccess::UserSlice,
    uapi, //
};

use crate::{
    command::Submit3d,
    driver::File,
    gpu::{
        Object,
        RustGpuDevice, //
    },
    render::{
        Context,
        Data, //
    },
    virtqueue::{
        fits_slot,
        UserData, //
    },
};

use super::{
    context::ensure_context,
    fences::{
        await_file,
        await_objects,
        out_objects,
        OutFile, //
    },
    resource::named_all,
    submit::{
        user_ptr,
        Submission, //
    },
};

const FLAGS: u32 = uapi::VIRTGPU_EXECBUF_FENCE_FD_IN
    | uapi::VIRTGPU_EXECBUF_FENCE_FD_OUT
    | uapi::VIRTGPU_EXECBUF_RING_IDX;

/// The most bytes of a stream: hosts refuse more.
const MAX_SIZE: u32 = 16 << 20;

/// The most objects of a submission.
const MAX_OBJECTS: u32 = 1 << 16;

/// The most handles, and the most bytes of a stream, that are read without an allocation.
const FEW_HANDLES: usize = 16;
const FEW_BYTES: usize = 128;

/// Handles `DRM_IOCTL_VIRTGPU_EXECBUFFER`: submits a stream of commands to the context of the file.
///
/// Never waits for what else works on the objects. Its own fence is published on each, as one that
/// writes.
///
/// Errors: [`EINVAL`] for unknown flags, and for a ring that the context does not have; [`ENOENT`]
/// for a bad handle of an object; [`EFAULT`]; [`E2BIG`] for a stream of more than 16 MiB; those of
/// [`OutFile::new`], [`out_objects`], [`await_objects`] and [`await_file`]; [`EINVAL`] for a buffer
/// of another device; [`EIO`] if a reset has lost the context or an object; [`ENOMEM`];
/// [`ERESTARTSYS`] after a signal; [`ENODEV`], [`EIO`] if the device is gone or broken. Nothing is
/// submitted then, and nothing published.
pub(crate) fn execbuffer(
    dev: &RustGpuDevice<drm::Ioctl>,
    args: &mut uapi::drm_virtgpu_execbuffer,
    file: &drm::File<File>,
) -> Result<u32> {
    let context = file.inner().get_ref().context()?;
    if args.flags & !FLAGS != 0 {
        return Err(EINVAL);
    }
    let ring = ring(args, context)?;
    ensure_context(dev, context)?;
    let polls = ring.is_some_and(|ring| context.polls(ring));
    let wants_fence = args.flags & uapi::VIRTGPU_EXECBUF_FENCE_FD_OUT != 0
        || args.num_out_syncobjs != 0
        || args.num_bo_handles != 0
        || polls;
    let fence = match (wants_fence, ring) {
        (false, _) => None,
        (true, None) => Some(context.client().new_fence()?),
        (true, Some(ring)) => Some(context.client().new_ring_fence(ring)?),
    };
    let objects = read_objects(args, file)?;
    let mut stream = Stream::read(args, context)?;
    let out_file = OutFile::new(args)?;
    let out_objects = out_objects(args, file)?;
    let timeline = context.timeline(ring);
    let resets = await_objects(args, file, timeline)?;
    await_file(args, timeline)?;
    named_all(dev, context, &objects)?;

    let command = Submit3d {
        size: args.size.into(),
        ..Default::default()
    };
    let submission = Submission {
        dev,
        context,
        objects: &objects,
        ring,
    };
    let fence = submission.submit(&command, stream.data(), fence, |_| Ok(()))?;
    // From here on nothing fails.
    if let Some(fence) = fence {
        if let Some(file) = out_file {
            args.fence_fd = file.install(&fence);
        }
        for object in out_objects {
            object.publish(&fence);
        }
    }
    for object in &resets {
        object.replace_fence(None);
    }
    Ok(0)
}

/// Returns the ring of a submission, if it is for one.
fn ring(args: &uapi::drm_virtgpu_execbuffer, context: &Arc<Context>) -> Result<Option<u8>> {
    match args.flags & uapi::VIRTGPU_EXECBUF_RING_IDX {
        0 => Ok(None),
        _ if args.ring_idx < context.rings() => Ok(Some(args.ring_idx.try_into()?)),
        _ => Err(EINVAL),
    }
}

/// Finds the objects that a submission names.
fn read_objects(
    args: &uapi::drm_virtgpu_execbuffer,
    file: &drm::File<File>,
) -> Result<KVVec<ARef<Object>>> {
    if args.num_bo_handles > MAX_OBJECTS {
        return Err(ENOMEM);
    }
    // CAST: checked just now.
    let count = args.num_bo_handles as usize;
    if count == 0 {
        return Ok(KVVec::new());
    }
    let mut objects = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
    let mut few = [0u32; FEW_HANDLES];
    let mut many: KVVec<u32>;
    let handles = match few.get_mut(..count) {
        Some(few) => few,
        None => {
            many = KVVec::new();
            many.resize(count, 0, GFP_KERNEL_ACCOUNT)?;
            &mut many
        }
    };
    let reader = UserSlice::new(user_ptr(args.bo_handles)?, size_of_val(handles));
    reader.reader().read_slice(handles.as_mut_bytes())?;
    for handle in handles {
        objects.push(Object::lookup_handle(file, *handle)?, GFP_KERNEL_ACCOUNT)?;
    }
    Ok(objects)
}

/// The stream of a submission: a copy.
enum Stream {
    Few([u8; FEW_BYTES], usize),
    Bytes(KVVec<u8>),
    Pages(Option<UserData>),
}

impl Stream {
    /// Copies the stream.
    fn read(args: &uapi::drm_virtgpu_execbuffer, context: &Context) -> Result<Self> {
        if args.size > MAX_SIZE {
            return Err(E2BIG);
        }
        // CAST: checked just now.
        let (from, len) = (user_ptr(args.command)?, args.size as usize);
        let mut bytes = [0; FEW_BYTES];
        if let Some(few) = bytes.get_mut(..len) {
            if !few.is_empty() {
                UserSlice::new(from, len).reader().read_slice(few)?;
            }
            return Ok(Self::Few(bytes, len));
        }
        if !fits_slot::<Submit3d>(len) {
            if let Some(data) = context.render().read(from, len)? {
                return Ok(Self::Pages(Some(data)));
            }
        }
        let mut bytes = KVVec::new();
        UserSlice::new(from, len).read_all(&mut bytes, GFP_KERNEL_ACCOUNT)?;
        Ok(Self::Bytes(bytes))
    }

    /// Returns what the command is followed by, once.
    fn data(&mut self) -> Data<'_> {
        match self {
            Self::Few(bytes, len) => Data::Bytes(bytes.get(..*len).unwrap_or(&[])),
            Self::Bytes(bytes) => Data::Bytes(bytes),
            Self::Pages(data) => Data::Pages(data.take()),
        }
    }
}
