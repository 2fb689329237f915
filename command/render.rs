// SPDX-License-Identifier: GPL-2.0

//! [`CtxCreate`] makes a context of the 3D side, [`ResourceCreate3d`] a resource for it, and
//! [`Submit3d`] gives it work. [`GetCapset`] asks what the host can draw.
//!
//! The context is in the header of a command, in [`Header::ctx_id`](super::Header::ctx_id).

use zerocopy::little_endian::{
    U32,
    U64, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes, //
};

/// Bytes of the name of a context, for people who look at the host.
pub(crate) const DEBUG_NAME_SIZE: usize = 64;

/// The bits of `context_init` with the id of the capability set that the context is for.
pub(crate) const CONTEXT_CAPSET_ID_MASK: u32 = 0xff;

/// `CTX_CREATE`: makes a context with the number in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct CtxCreate {
    /// Bytes of the name.
    pub(crate) nlen: U32,
    /// The capability set that the context is for, in [`CONTEXT_CAPSET_ID_MASK`]; 0 for the first
    /// version of virgl's. It means nothing without `VIRTIO_GPU_F_CONTEXT_INIT`.
    pub(crate) context_init: U32,
    pub(crate) debug_name: [u8; DEBUG_NAME_SIZE],
}

/// `CTX_DESTROY`: destroys the context in the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct CtxDestroy;

/// `CTX_ATTACH_RESOURCE`: lets the context in the header use a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct CtxAttachResource {
    /// The resource.
    pub(crate) resource_id: U32,
    pub(crate) padding: U32,
}

/// `CTX_DETACH_RESOURCE`: undoes [`CtxAttachResource`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct CtxDetachResource {
    /// The resource.
    pub(crate) resource_id: U32,
    pub(crate) padding: U32,
}

/// `RESOURCE_CREATE_3D`: makes a resource of the 3D side, with no memory of the driver behind it
/// yet. All but the number is between user space and the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct ResourceCreate3d {
    /// Number for the new resource, of the same kind as those of 2D.
    pub(crate) resource_id: U32,
    pub(crate) target: U32,
    pub(crate) format: U32,
    pub(crate) bind: U32,
    pub(crate) width: U32,
    pub(crate) height: U32,
    pub(crate) depth: U32,
    pub(crate) array_size: U32,
    pub(crate) last_level: U32,
    pub(crate) nr_samples: U32,
    pub(crate) flags: U32,
    pub(crate) padding: U32,
}

/// `struct virtio_gpu_box`, a part of a resource of the 3D side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct Box3d {
    pub(crate) x: U32,
    pub(crate) y: U32,
    pub(crate) z: U32,
    /// Width.
    pub(crate) w: U32,
    /// Height.
    pub(crate) h: U32,
    /// Depth.
    pub(crate) d: U32,
}

/// `TRANSFER_TO_HOST_3D`: copies from the memory behind a resource into the resource, for the
/// context in the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct TransferToHost3d {
    /// The part of the resource.
    pub(crate) part: Box3d,
    /// Where that is in the memory, in bytes.
    pub(crate) offset: U64,
    /// The resource.
    pub(crate) resource_id: U32,
    /// Level of detail.
    pub(crate) level: U32,
    /// Bytes of a line in the memory; 0 for what follows from the resource.
    pub(crate) stride: U32,
    /// Bytes of a layer in the memory; 0 for what follows from the resource.
    pub(crate) layer_stride: U32,
}

/// `TRANSFER_FROM_HOST_3D`: copies the other way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct TransferFromHost3d {
    pub(crate) transfer: TransferToHost3d,
}

/// `SUBMIT_3D`: gives the context in the header a stream of commands. They follow this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct Submit3d {
    /// Bytes of the stream.
    pub(crate) size: U32,
    pub(crate) padding: U32,
}

/// `GET_CAPSET`: asks for a capability set.
///
/// Its answer is a header, and after it as many bytes as the device likes. It is not decoded by
/// [`Response`](super::Response), as nothing here understands it: see [`capset_data`].
///
/// [`capset_data`]: super::capset_data
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Immutable, IntoBytes)]
#[repr(C)]
pub(crate) struct GetCapset {
    /// Which one (`VIRTIO_GPU_CAPSET_*`).
    pub(crate) capset_id: U32,
    /// Which version of it.
    pub(crate) capset_version: U32,
}

/// The fixed part of the answer to [`GetCapset`], which is nothing but the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes)]
#[repr(C)]
pub(crate) struct Capset;
