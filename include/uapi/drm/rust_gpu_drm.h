/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * User API of rust_gpu, beside the ioctls of virtgpu_drm.h.
 *
 * The driver reports the DRM driver name "virtio_gpu". The numbers 0x01 to 0x0b
 * are those of virtgpu_drm.h, the ones below start at 0x20.
 *
 * Rules for every structure: unknown flags and non-zero pads are -EINVAL. The
 * DRM core extends a shorter structure with zeroes. New fields are only ever
 * added at the end. After the device is gone every ioctl returns -ENODEV.
 */
#ifndef _RUST_GPU_DRM_H_
#define _RUST_GPU_DRM_H_

#include "drm.h"

#if defined(__cplusplus)
extern "C" {
#endif

#define DRM_RUST_GPU_DEVICE_INFO	0x20
#define DRM_RUST_GPU_MESSAGE_COUNTERS	0x21
#define DRM_RUST_GPU_SUBMIT_NULL	0x22
#define DRM_RUST_GPU_WAIT_FENCE		0x23
#define DRM_RUST_GPU_QUERY_FENCE	0x24

/*
 * Nodes: each is one FIFO of packets, and what executes them. The render node is for 3D
 * and shares the control queue of the device. Only packets of 3D get there: for
 * SUBMIT_NULL it is -EOPNOTSUPP, as the node exists but has no null packets. On a
 * device without 3D it stays empty. Its submission ids may stand still for hours, as a
 * 3D command ends when the work of the host's GPU does.
 */
#define RUST_GPU_NODE_CONTROL		0
#define RUST_GPU_NODE_CURSOR		1
#define RUST_GPU_NODE_SOFTWARE		2
#define RUST_GPU_NODE_RENDER		3
#define RUST_GPU_NODE_COUNT		4

/* Values of drm_rust_gpu_device_info.interrupt_type. */
#define RUST_GPU_INTERRUPT_INTX		0
#define RUST_GPU_INTERRUPT_MSI		1
#define RUST_GPU_INTERRUPT_MSIX		2

/* NTSTATUS values, as DxgkCbSynchronizeExecution returns them. */
#define RUST_GPU_STATUS_SUCCESS			0x00000000U
#define RUST_GPU_STATUS_UNSUCCESSFUL		0xC0000001U
#define RUST_GPU_STATUS_INVALID_PARAMETER	0xC000000DU

#define RUST_GPU_MAX_SCANOUTS		16

/**
 * struct drm_rust_gpu_scanout - one scanout, as the device reports it
 * @x: left edge, pixels
 * @y: top edge, pixels
 * @width: pixels
 * @height: pixels
 * @enabled: 1 if the host shows it
 * @pad: zero
 */
struct drm_rust_gpu_scanout {
	__u32 x;
	__u32 y;
	__u32 width;
	__u32 height;
	__u32 enabled;
	__u32 pad;
};

/**
 * struct drm_rust_gpu_device_info - DRM_IOCTL_RUST_GPU_DEVICE_INFO
 * @flags: in, zero
 * @interrupt_type: out, RUST_GPU_INTERRUPT_*
 * @device_features: out, feature bits the device offers
 * @driver_features: out, feature bits that were negotiated
 * @handle: out, adapter handle for rust_gpu_synchronize_execution()
 * @messages: out, number of interrupt messages
 * @notify_message: out, message whose lock guards the state of the scheduler
 * @dpc_message: out, message whose interrupt thread runs the DPC
 * @config_message: out, message of configuration changes
 * @control_message: out, message of the control queue
 * @cursor_message: out, message of the cursor queue
 * @nodes: out, number of nodes
 * @scanouts: out, number of scanouts of the device, at most 16
 * @capsets: out, number of 3D capability sets
 * @pad: zero
 * @edid_name: out, monitor name from the EDID of scanout 0, NUL-padded;
 *	empty if the device gave no EDID
 * @scanout: out, the first @scanouts are valid
 */
struct drm_rust_gpu_device_info {
	__u32 flags;
	__u32 interrupt_type;
	__u64 device_features;
	__u64 driver_features;
	__u64 handle;
	__u32 messages;
	__u32 notify_message;
	__u32 dpc_message;
	__u32 config_message;
	__u32 control_message;
	__u32 cursor_message;
	__u32 nodes;
	__u32 scanouts;
	__u32 capsets;
	__u32 pad;
	__u8 edid_name[16];
	struct drm_rust_gpu_scanout scanout[RUST_GPU_MAX_SCANOUTS];
};

/**
 * struct drm_rust_gpu_message_counters - DRM_IOCTL_RUST_GPU_MESSAGE_COUNTERS
 * @message: in, zero-based message number
 * @flags: in, zero
 * @status: out, RUST_GPU_STATUS_*: what synchronize_execution returned. If it
 *	is not success, no field below is written.
 * @pad: in, zero
 * @interrupts: out, interrupts that the device raised
 * @not_ours: out, interrupts that it did not raise
 * @dpcs_queued: out, DPCs queued from this message
 * @dpcs_refused: out, DPCs refused because one was queued already
 * @executions: out, synchronised routines run, including the one that read
 *	these counters
 * @refused: out, calls that returned UNSUCCESSFUL
 * @longest_hold_ns: out, longest time the lock was held while hold times were
 *	measured (module parameter hold_time), nanoseconds
 * @notifications: out, calls of DxgkCbNotifyInterrupt under this lock
 * @dpcs_run: out, runs of the DPC routine, of the whole adapter
 * @invalid: out, calls that returned INVALID_PARAMETER, of the whole adapter
 */
struct drm_rust_gpu_message_counters {
	__u32 message;
	__u32 flags;
	__u32 status;
	__u32 pad;
	__u64 interrupts;
	__u64 not_ours;
	__u64 dpcs_queued;
	__u64 dpcs_refused;
	__u64 executions;
	__u64 refused;
	__u64 longest_hold_ns;
	__u64 notifications;
	__u64 dpcs_run;
	__u64 invalid;
};

/* Return -EAGAIN if there is no place for the packets, instead of waiting. */
#define RUST_GPU_SUBMIT_NONBLOCK	(1 << 0)
/*
 * The packets of this file in this node are executed after those of others,
 * from this ioctl on. There is no way back but another file.
 */
#define RUST_GPU_SUBMIT_BACKGROUND	(1 << 1)
#define RUST_GPU_SUBMIT_FLAGS		(RUST_GPU_SUBMIT_NONBLOCK | \
					 RUST_GPU_SUBMIT_BACKGROUND)
#define RUST_GPU_SUBMIT_MAX_COUNT	64

/**
 * struct drm_rust_gpu_submit_null - DRM_IOCTL_RUST_GPU_SUBMIT_NULL
 * @node: in, RUST_GPU_NODE_*, but RUST_GPU_NODE_RENDER is -EOPNOTSUPP
 * @flags: in, RUST_GPU_SUBMIT_*
 * @count: in, number of packets, 1 to RUST_GPU_SUBMIT_MAX_COUNT
 * @submitted: out, number of packets that were taken
 * @fence: out, ticket of the last packet that was taken
 *
 * Each packet gets a ticket: 1 for the first of this file in this node, one
 * more for each that follows. They are executed in this order. Packets of other
 * files are executed in turn with them.
 *
 * A file may have 256 packets that did not end, of all nodes, and a fair share
 * of the places of a node. Fewer than @count packets are taken if there is no
 * place (RUST_GPU_SUBMIT_NONBLOCK), if that stays so for ten seconds, or if a
 * signal arrives. If not even one was taken, the ioctl then returns -EAGAIN,
 * returns -ETIME, or is restarted. -EIO: the device is broken, or a packet of
 * this file made it hang.
 *
 * Closing the file drops the packets that were not handed to the device.
 */
struct drm_rust_gpu_submit_null {
	__u32 node;
	__u32 flags;
	__u32 count;
	__u32 submitted;
	__u64 fence;
};

/**
 * struct drm_rust_gpu_wait_fence - DRM_IOCTL_RUST_GPU_WAIT_FENCE
 * @node: in, RUST_GPU_NODE_*
 * @flags: in, zero
 * @fence: in, ticket to wait for, of this file; one that was never given out is
 *	-EINVAL
 * @deadline_ns: in, absolute CLOCK_MONOTONIC time, nanoseconds; a time in the
 *	past polls
 * @completed: out, last completed ticket: all packets of this file up to it
 *	ended
 *
 * Returns 0, -ETIME at the deadline, -ECANCELED if the device was reset and the
 * packet was lost, -EIO if that was so and a packet of this file made the device
 * hang, -ENODEV once the device is gone, -EIO once it is broken. After more than
 * one reset only the tickets that the last one ended are lost. A signal restarts
 * the ioctl with the same deadline.
 */
struct drm_rust_gpu_wait_fence {
	__u32 node;
	__u32 flags;
	__u64 fence;
	__s64 deadline_ns;
	__u64 completed;
};

/**
 * struct drm_rust_gpu_query_fence - DRM_IOCTL_RUST_GPU_QUERY_FENCE
 * @node: in, RUST_GPU_NODE_*
 * @flags: in, zero
 * @completed: out, last completed ticket of this file
 * @submitted: out, last ticket that was given to this file
 * @node_completed: out, last completed submission id of the node: all packets
 *	that got one up to it ended, of all files and the driver
 * @node_submitted: out, last submission id that was given in the node
 * @node_pending: out, packets of the node that did not end, with or without an id
 * @id: out, submission id that a packet of this file got last, 0 if none did
 *
 * A packet gets a submission id when it is handed out, and a new one if it has
 * to be handed out again. Ids rise, and none is used twice.
 */
struct drm_rust_gpu_query_fence {
	__u32 node;
	__u32 flags;
	__u64 completed;
	__u64 submitted;
	__u64 node_completed;
	__u64 node_submitted;
	__u64 node_pending;
	__u64 id;
};

/* Note: this is an enum so that it can be resolved by Rust bindgen. */
enum {
	DRM_IOCTL_RUST_GPU_DEVICE_INFO =
		DRM_IOWR(DRM_COMMAND_BASE + DRM_RUST_GPU_DEVICE_INFO,
			 struct drm_rust_gpu_device_info),
	DRM_IOCTL_RUST_GPU_MESSAGE_COUNTERS =
		DRM_IOWR(DRM_COMMAND_BASE + DRM_RUST_GPU_MESSAGE_COUNTERS,
			 struct drm_rust_gpu_message_counters),
	DRM_IOCTL_RUST_GPU_SUBMIT_NULL =
		DRM_IOWR(DRM_COMMAND_BASE + DRM_RUST_GPU_SUBMIT_NULL,
			 struct drm_rust_gpu_submit_null),
	DRM_IOCTL_RUST_GPU_WAIT_FENCE =
		DRM_IOWR(DRM_COMMAND_BASE + DRM_RUST_GPU_WAIT_FENCE,
			 struct drm_rust_gpu_wait_fence),
	DRM_IOCTL_RUST_GPU_QUERY_FENCE =
		DRM_IOWR(DRM_COMMAND_BASE + DRM_RUST_GPU_QUERY_FENCE,
			 struct drm_rust_gpu_query_fence),
};

#if defined(__cplusplus)
}
#endif

#endif /* _RUST_GPU_DRM_H_ */
