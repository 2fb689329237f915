/* SPDX-License-Identifier: GPL-2.0 */
/* A device of our own that holds commands back, and the packets of several files. */
#ifndef _SCHEDULER_H
#define _SCHEDULER_H

#include "kselftest_harness.h"
#include "display_device.h"
#include "counters.h"
#include "kernel_log.h"
#include "tdr.h"

#define DEBUGFS	"/sys/kernel/debug/rust_gpu/"
#define NODE	RUST_GPU_NODE_CONTROL
/* Packets of clients that have a submission id and wait for the device to have room. */
#define STAGED	32
/* Packets of a file, of all nodes. */
#define FILE_PACKETS	256

struct setting {
	struct gpu gpu;
	int screen, fd, log;
	__s64 ring;
};

/* Returns a file of the device in debugfs. */
static __maybe_unused const char *debug_file(const struct setting *setting, const char *name)
{
	return path(DEBUGFS "%s/%s", setting->gpu.pci, name);
}

/* Returns a new file of the device, or -errno. */
static __maybe_unused int new_file(const struct setting *setting)
{
	int fd = open(setting->gpu.render, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* What the driver says of packets of a file, and of the node. */
static __maybe_unused struct drm_rust_gpu_query_fence query(int fd)
{
	struct drm_rust_gpu_query_fence query = { .node = NODE };

	if (gpu_ioctl(fd, DRM_IOCTL_RUST_GPU_QUERY_FENCE, &query))
		memset(&query, 0xff, sizeof(query));
	return query;
}

/* Submits packets. Returns the last ticket, or -errno if not all were taken. */
static __maybe_unused __s64 submit(int fd, unsigned int count, __u32 flags)
{
	__u64 ticket = 0;

	while (count) {
		unsigned int part = count < RUST_GPU_SUBMIT_MAX_COUNT ? count :
				    RUST_GPU_SUBMIT_MAX_COUNT;
		int ret = gpu_submit(fd, NODE, part, flags | RUST_GPU_SUBMIT_NONBLOCK, &ticket);

		if (ret != (int)part)
			return ret < 0 ? ret : -EAGAIN;
		count -= part;
	}
	return ticket;
}

static __maybe_unused int wait_for(int fd, __u64 ticket)
{
	return gpu_wait_fence(fd, NODE, ticket, now_ns() + GPU_PATIENCE_NS);
}

/* Waits until the node has @pending packets that did not end. */
static __maybe_unused bool wait_pending(int fd, __u64 pending)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;

	while (query(fd).node_pending != pending) {
		if (now_ns() > end)
			return false;
		sleep_ns(10 * NSEC_PER_MSEC);
	}
	return true;
}

/* Opens all that a test needs. Returns why there is nothing to test, or NULL. */
static __maybe_unused const char *setting_open(struct setting *setting, bool own)
{
	const char *reason;

	setting->screen = -1;
	setting->log = -1;
	reason = gpu_open(&setting->gpu, GPU_RENDER, &setting->fd);
	if (reason)
		return reason;
	if (access(DEBUGFS, F_OK))
		return "no debugfs";
	setting->ring = file_number(debug_file(setting, "ring_control"), "size: ");
	setting->log = log_open();
	if (!own)
		return NULL;
	setting->screen = screen_open();
	if (setting->screen < 0)
		return NO_SCREEN;
	if (device_state(setting->screen, "commands") < 0)
		return NO_OWN_DEVICE;
	return NULL;
}

static __maybe_unused void setting_close(const struct setting *setting)
{
	if (setting->screen >= 0)
		close(setting->screen);
	if (setting->log >= 0)
		close(setting->log);
	if (setting->fd >= 0)
		close(setting->fd);
}

/* The control queue stops at a packet of a file, which is returned with its ticket 1. */
static __maybe_unused int hold_packet(const struct setting *setting, const char *request)
{
	int fd = new_file(setting), ret = device_ask(setting->screen, "%s", request);

	if (fd >= 0 && !ret && submit(fd, 1, 0) == 1 &&
	    device_wait(setting->screen, "held-control", 1))
		return fd;
	if (fd >= 0)
		close(fd);
	return ret ? ret : -EIO;
}

#endif /* _SCHEDULER_H */
