/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Fences that only the test signals (CONFIG_SW_SYNC). A waiter waits for the test,
 * however slow the machine is. They taint the kernel, as one may forget to signal them.
 */
#ifndef _SW_SYNC_H
#define _SW_SYNC_H

#include <linux/dma-buf.h>

#include "rust_gpu_test.h"

#define SW_SYNC_FILE	"/sys/kernel/debug/sync/sw_sync"
#define NO_SW_SYNC	"no fences of the test's own (CONFIG_SW_SYNC, debugfs)"

/* As in drivers/dma-buf/sw_sync.c, which has no header for user space. */
struct sw_sync_create_fence_data {
	__u32 value;
	char name[32];
	__s32 fence;
};

#define SW_SYNC_IOC_CREATE_FENCE	_IOWR('W', 0, struct sw_sync_create_fence_data)
#define SW_SYNC_IOC_INC			_IOW('W', 1, __u32)

struct sw_fence {
	int timeline;
	int file;	/* for IN_FENCE_FD */
};

/* Makes an unsignaled fence. Returns 0 or -errno. */
static __maybe_unused int sw_fence_create(struct sw_fence *fence)
{
	struct sw_sync_create_fence_data create = { .value = 1, .name = "rust_gpu" };
	int ret;

	fence->timeline = open(SW_SYNC_FILE, O_RDWR | O_CLOEXEC);
	if (fence->timeline < 0)
		return -errno;
	ret = gpu_ioctl(fence->timeline, SW_SYNC_IOC_CREATE_FENCE, &create);
	fence->file = create.fence;
	return ret;
}

static __maybe_unused int sw_fence_signal(struct sw_fence *fence)
{
	__u32 by = 1;

	return gpu_ioctl(fence->timeline, SW_SYNC_IOC_INC, &by);
}

static __maybe_unused void sw_fence_close(struct sw_fence *fence)
{
	close(fence->file);
	close(fence->timeline);
}

/* Adds the fence to a buffer, as a client that draws would do. Returns 0 or -errno. */
static __maybe_unused int sw_fence_attach(const struct sw_fence *fence, int dma_buf)
{
	struct dma_buf_import_sync_file import = {
		.flags = DMA_BUF_SYNC_WRITE,
		.fd = fence->file,
	};

	return gpu_ioctl(dma_buf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &import);
}

#endif /* _SW_SYNC_H */
