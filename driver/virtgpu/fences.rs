// SPDX-License-Identifier: GPL-2.0

//! The fences that a submission waits for, and the places where its own is published: sync objects,
//! with points of timelines, and files.

use kernel::{
    dma_buf::{
        fence_from_fd,
        Fence,
        FenceChainAllocation,
        SyncFileAllocation, //
    },
    drm::{
        self,
        syncobj::SyncObj, //
    },
    fs::file::{
        flags::O_CLOEXEC,
        FileDescriptorReservation, //
    },
    prelude::*,
    sync::aref::ARef,
    time::Jiffies,
    uaccess::UserSlice,
    uapi, //
};

use crate::driver::File;

use super::submit::user_ptr;

/// The most sync objects of a submission, for each direction.
const MAX_SYNCOBJS: u32 = 1 << 16;

/// Bytes of `struct drm_virtgpu_execbuffer_syncobj`.
const ENTRY_SIZE: usize = size_of::<uapi::drm_virtgpu_execbuffer_syncobj>();

/// A sync object that user space names.
struct Entry {
    handle: u32,
    flags: u32,
    point: u64,
}

/// Reads entry `index` of a list. What is beyond the `stride` is zero.
///
/// Errors: [`EFAULT`].
fn read_entry(list: u64, index: u32, stride: u32) -> Result<Entry> {
    let mut bytes = [0; ENTRY_SIZE];
    let offset = u64::from(index) * u64::from(stride);
    let address = user_ptr(list.wrapping_add(offset))?;
    // CAST: 32 bits fit.
    let len = (stride as usize).min(ENTRY_SIZE);
    if let Some(bytes) = bytes.get_mut(..len) {
        UserSlice::new(address, len).reader().read_slice(bytes)?;
    }
    let [h0, h1, h2, h3, f0, f1, f2, f3, point @ ..] = bytes;
    Ok(Entry {
        handle: u32::from_ne_bytes([h0, h1, h2, h3]),
        flags: u32::from_ne_bytes([f0, f1, f2, f3]),
        point: u64::from_ne_bytes(point),
    })
}

/// Waits for a fence, or for all that it stands for, but not for those of `timeline`: the device
/// keeps their order.
///
/// Errors: [`ERESTARTSYS`] after a signal. Context: process.
fn await_fence(fence: &Fence, timeline: u64) -> Result {
    for fence in fence.unwrap_iter() {
        if fence.context() != timeline {
            // WAIT: in-fences
            fence.wait(Jiffies::MAX)?;
        }
    }
    Ok(())
}

/// Waits for the sync objects that a submission waits for. Returns those that should have no fence
/// when it is submitted.
///
/// Errors: [`ENOMEM`] for too many; [`EFAULT`]; [`EINVAL`] for unknown flags, and for an object
/// without such a fence; [`ENOENT`] for a bad handle; [`ERESTARTSYS`] after a signal.
pub(super) fn await_objects(
    args: &uapi::drm_virtgpu_execbuffer,
    file: &drm::File<File>,
    timeline: u64,
) -> Result<KVVec<ARef<SyncObj>>> {
    if args.num_in_syncobjs > MAX_SYNCOBJS {
        return Err(ENOMEM);
    }
    let mut resets = KVVec::new();
    for index in 0..args.num_in_syncobjs {
        let entry = read_entry(args.in_syncobjs, index, args.syncobj_stride)?;
        if entry.flags & !uapi::VIRTGPU_EXECBUF_SYNCOBJ_RESET != 0 {
            return Err(EINVAL);
        }
        let fence = SyncObj::find_fence(file, entry.handle, entry.point)?;
        await_fence(&fence, timeline)?;
        if entry.flags & uapi::VIRTGPU_EXECBUF_SYNCOBJ_RESET != 0 {
            let object = SyncObj::find(file, entry.handle).map_err(|_| EINVAL)?;
            resets.push(object, GFP_KERNEL_ACCOUNT)?;
        }
    }
    Ok(resets)
}

/// Waits for the file of a fence that a submission waits for, if there is one.
///
/// Errors: [`EINVAL`] if it is not the file of a fence; [`ERESTARTSYS`] after a signal.
pub(super) fn await_file(args: &uapi::drm_virtgpu_execbuffer, timeline: u64) -> Result {
    match args.flags & uapi::VIRTGPU_EXECBUF_FENCE_FD_IN {
        0 => Ok(()),
        _ => await_fence(&*fence_from_fd(args.fence_fd)?, timeline),
    }
}

/// The file of a fence that does not exist yet. If it is dropped user space sees nothing of it.
pub(super) struct OutFile {
    fd: FileDescriptorReservation,
    file: SyncFileAllocation,
}

impl OutFile {
    /// Makes the file if the submission should have one.
    ///
    /// Errors: [`EMFILE`] and others of descriptors; [`ENOMEM`].
    pub(super) fn new(args: &uapi::drm_virtgpu_execbuffer) -> Result<Option<Self>> {
        if args.flags & uapi::VIRTGPU_EXECBUF_FENCE_FD_OUT == 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            fd: FileDescriptorReservation::get_unused_fd_flags(O_CLOEXEC)?,
            file: SyncFileAllocation::new()?,
        }))
    }

    /// Gives the file to user space. Returns its descriptor.
    pub(super) fn install(self, fence: &Fence) -> i32 {
        // CAST: descriptors are positive.
        let fd = self.fd.reserved_fd() as i32;
        self.file.install(self.fd, fence);
        fd
    }
}

/// A place where the fence of a submission is published.
pub(super) struct OutObject {
    object: ARef<SyncObj>,
    /// The point of its timeline, which is not 0; [`None`] if it has none.
    point: Option<(FenceChainAllocation, u64)>,
}

/// Finds the sync objects that get the fence of a submission.
///
/// Errors: [`ENOMEM`], also for too many; [`EFAULT`]; [`EINVAL`] for flags and for a bad handle.
pub(super) fn out_objects(
    args: &uapi::drm_virtgpu_execbuffer,
    file: &drm::File<File>,
) -> Result<KVVec<OutObject>> {
    if args.num_out_syncobjs > MAX_SYNCOBJS {
        return Err(ENOMEM);
    }
    let mut found = KVVec::new();
    for index in 0..args.num_out_syncobjs {
        let entry = read_entry(args.out_syncobjs, index, args.syncobj_stride)?;
        if entry.flags != 0 {
            return Err(EINVAL);
        }
        let point = match entry.point {
            0 => None,
            point => Some((FenceChainAllocation::new()?, point)),
        };
        let object = SyncObj::find(file, entry.handle).map_err(|_| EINVAL)?;
        found.push(OutObject { object, point }, GFP_KERNEL_ACCOUNT)?;
    }
    Ok(found)
}

impl OutObject {
    /// Publishes the fence. This cannot fail.
    pub(super) fn publish(self, fence: &Fence) {
        match self.point {
            Some((chain, point)) => self.object.add_point(chain, fence, point),
            None => self.object.replace_fence(Some(fence)),
        }
    }
}
