/* SPDX-License-Identifier: GPL-2.0 */
/*
 * 3D by the ioctls of virtgpu_drm.h, which the C driver has as well, and what a device of
 * our own knows of it.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#ifndef _RENDER_H
#define _RENDER_H

#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <sys/time.h>

#include <drm/virtgpu_drm.h>
#include <linux/dma-buf.h>
#include <linux/sync_file.h>

/* A program that is no test says so. */
#ifndef RENDER_IS_NO_TEST
#include "kselftest_harness.h"
#endif
#include "display_device.h"

#define NO_3D		"no 3D"
#define NODES		16
/* Of the resources in the tests: pixels of four bytes, of which a page has 32 rows. */
#define SIDE		32
#define PAGE		4096
#define FORMAT_BGRA	1
#define TARGET_2D	2
/* A target of rendering, and a view of a sampler. */
#define BIND		(2 | 8)

/* Words of a stream that have a meaning for a device of our own (selftests/device). */
#define WORD_FILL	0x4c4c4946	/* resource, colour */
#define WORD_BUSY	0x59535542	/* milliseconds */
#define WORD_FAIL	0x4c494146	/* type of an error */
#define WORD_NOP	0		/* for virglrenderer too */

/* The capsets of a device of our own: id, largest version, size. */
static __maybe_unused const struct { __u32 id, version, size; } capsets[] = {
	{ VIRTGPU_DRM_CAPSET_VIRGL, 1, 308 },
	{ VIRTGPU_DRM_CAPSET_VIRGL2, 2, 1408 },
};

/* A byte of a capset of a device of our own. */
static __maybe_unused __u8 capset_byte(__u32 id, __u32 version, __u32 at)
{
	return at * 7 + id * 31 + version;
}

/* A buffer object with a resource. */
struct bo {
	__u32 handle, res, size;
	__u8 *map;
};

static inline __u64 pointer(const void *pointer)
{
	return (unsigned long)pointer;
}

/*
 * Opens a node of the virtio GPU, whichever driver has it: render nodes, or cards. Returns
 * a descriptor, or -ENODEV.
 */
static __maybe_unused int node_open(bool render)
{
	struct gpu_version version;
	unsigned int i;
	int fd;

	for (i = 0; i < NODES; i++) {
		fd = open(render ? path("/dev/dri/renderD%u", 128 + i) : path("/dev/dri/card%u", i),
			  O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!gpu_version(fd, &version) && !strcmp(version.name, "virtio_gpu"))
			return fd;
		close(fd);
	}
	return -ENODEV;
}

/* Returns the name of the driver of the bus to which a node belongs. */
static __maybe_unused const char *node_driver(int fd)
{
	static char name[64];
	const char *link;
	struct stat stat;

	if (fstat(fd, &stat))
		return "";
	link = path("/sys/dev/char/%u:%u/device/driver", major(stat.st_rdev),
		    minor(stat.st_rdev));
	return link_name(link, name, sizeof(name)) ? name : "";
}

/* Loads the driver that the kernel's arguments choose. */
static __maybe_unused void load_driver(void)
{
	const char *const rust[] = { "modprobe", "-q", "rust_gpu", NULL };
	const char *const c[] = { "modprobe", "-q", "-a", "virtio_pci", "virtio_gpu", NULL };
	char text[4096];

	if (read_file("/proc/cmdline", text, sizeof(text)) > 0 &&
	    strstr(text, "virtio_gpu_driver=c"))
		run_program(c);
	else
		run_program(rust);
}

static __maybe_unused int get_param(int fd, __u64 param, int *value)
{
	struct drm_virtgpu_getparam get = { .param = param, .value = pointer(value) };

	return gpu_ioctl(fd, DRM_IOCTL_VIRTGPU_GETPARAM, &get);
}

/* Opens a node that has 3D. Returns why there is none, or NULL. */
static __maybe_unused const char *render_open(bool render, int *fd)
{
	int value = 0;

	*fd = -1;
	if (geteuid())
		return "not root";
	*fd = node_open(render);
	if (*fd < 0) {
		load_driver();
		*fd = node_open(render);
	}
	if (*fd < 0)
		return "no virtio GPU";
	if (get_param(*fd, VIRTGPU_PARAM_3D_FEATURES, &value) || value != 1)
		return NO_3D;
	return NULL;
}

/* The device, as a test uses it. */
struct render {
	int fd;		/* a render node */
	int screen;	/* the service of the host; -1 if the device is not our own */
	bool rust;	/* the driver is rust_gpu, and not the C driver */
};

/* A new file of the device, with a context of its own when it needs one. */
static __maybe_unused int client_open(void)
{
	return node_open(true);
}

/*
 * Opens the device, and the service of the host if the device is our own, which it has to
 * be if @own. Returns why there is nothing to test, or NULL.
 */
static __maybe_unused const char *render_begin(struct render *render, bool own)
{
	const char *reason = render_open(true, &render->fd);

	render->screen = -1;
	if (reason)
		return reason;
	render->rust = !strcmp(node_driver(render->fd), "rust_gpu");
	render->screen = screen_open();
	if (render->screen >= 0 && device_state(render->screen, "commands") < 0) {
		close(render->screen);
		render->screen = -1;
	}
	return own && render->screen < 0 ? NO_OWN_DEVICE : NULL;
}

static __maybe_unused void render_end(const struct render *render)
{
	if (render->screen >= 0)
		close(render->screen);
	if (render->fd >= 0)
		close(render->fd);
}

/* Returns the number of a name in words that are NAME=NUMBER, or -ENOENT. */
static __maybe_unused __s64 number_of(const char *words, const char *name)
{
	const size_t len = strlen(name);
	const char *word;

	for (word = strchr(words, ' '); word; word = strchr(word + 1, ' ')) {
		if (!strncmp(word + 1, name, len) && word[1 + len] == '=')
			return strtoll(word + len + 2, NULL, 10);
	}
	return -ENOENT;
}

/* A number of what the device tells of 3D, or -errno. */
static __maybe_unused __s64 render_count(int screen, const char *name)
{
	char answer[1024];
	int ret = screen_ask(screen, answer, sizeof(answer), "device render");

	return ret ? ret : number_of(answer, name);
}

static __maybe_unused bool render_wait(int screen, const char *name, __s64 wanted)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;

	do {
		if (render_count(screen, name) == wanted)
			return true;
		sleep_ns(20 * NSEC_PER_MSEC);
	} while (now_ns() < end);
	return false;
}

/* What the device tells of a context. */
struct context {
	__s64 alive, capset, attached, submissions, on_rings;
	char crcs[256];
};

/*
 * Asks for the last context with a name, which was made just now: the device may get to know it
 * after the ioctl. Returns 0 or -errno.
 */
static __maybe_unused int context_find(int screen, const char *name, struct context *context)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	char answer[512], *crcs;
	int ret;

	memset(context, 0, sizeof(*context));
	for (;;) {
		ret = screen_ask(screen, answer, sizeof(answer), "device context %s", name);
		crcs = ret ? NULL : strstr(answer, "crcs=");
		if (crcs)
			break;
		/* There is none so far. */
		if (ret != -EPROTO || now_ns() > end)
			return ret ?: -EPROTO;
		sleep_ns(10 * NSEC_PER_MSEC);
	}
	context->alive = number_of(answer, "alive");
	context->capset = number_of(answer, "capset");
	context->attached = number_of(answer, "attached");
	context->submissions = number_of(answer, "submissions");
	context->on_rings = number_of(answer, "on-rings");
	snprintf(context->crcs, sizeof(context->crcs), "%.255s", crcs + strlen("crcs="));
	return 0;
}

/* The CRC of zlib, as the device has it. */
static __maybe_unused __u32 crc_of(const void *bytes, size_t size)
{
	const __u8 *byte = bytes;
	__u32 crc = ~0u;

	while (size--)
		crc = crc_step(crc, *byte++);
	return ~crc;
}

/* The CRC of the bytes that the device has of a resource; 0 if it has none. */
static __maybe_unused __u32 resource_crc(int screen, __u32 res)
{
	char answer[128];
	__u32 crc;

	if (screen_ask(screen, answer, sizeof(answer), "device resource %u", res) ||
	    sscanf(answer, "device resource %*u %*u %*u %x", &crc) != 1)
		return 0;
	return crc;
}

static __maybe_unused int init_context(int fd, const struct drm_virtgpu_context_set_param *params,
				       __u32 count)
{
	struct drm_virtgpu_context_init init = {
		.num_params = count,
		.ctx_set_params = pointer(params),
	};

	return gpu_ioctl(fd, DRM_IOCTL_VIRTGPU_CONTEXT_INIT, &init);
}

/* Makes the context of a file, with a name and so many rings. Returns 0 or -errno. */
static __maybe_unused int name_context(int fd, const char *name, __u64 rings)
{
	const struct drm_virtgpu_context_set_param params[] = {
		{ VIRTGPU_CONTEXT_PARAM_DEBUG_NAME, pointer(name) },
		{ VIRTGPU_CONTEXT_PARAM_NUM_RINGS, rings },
	};

	return init_context(fd, params, rings ? 2 : 1);
}

/* Opens a file whose context has a name. Returns a descriptor, or -errno. */
static __maybe_unused int named_client(const char *name, __u64 rings)
{
	int fd = client_open();
	int ret = fd < 0 ? fd : name_context(fd, name, rings);

	if (!ret)
		return fd;
	if (fd >= 0)
		close(fd);
	return ret;
}

static __maybe_unused int execbuffer(int fd, struct drm_virtgpu_execbuffer *exec)
{
	return gpu_ioctl(fd, DRM_IOCTL_VIRTGPU_EXECBUFFER, exec);
}

/* Submits a stream of words, with no fence of its own. Returns 0 or -errno. */
static __maybe_unused int submit_words(int fd, const __u32 *words, unsigned int count)
{
	struct drm_virtgpu_execbuffer exec = { .size = 4 * count, .command = pointer(words) };

	return execbuffer(fd, &exec);
}

/* Submits a stream of words. Returns the descriptor of its fence, or -errno. */
static __maybe_unused int submit_fenced(int fd, const __u32 *words, unsigned int count)
{
	struct drm_virtgpu_execbuffer exec = {
		.flags = VIRTGPU_EXECBUF_FENCE_FD_OUT,
		.size = 4 * count,
		.command = pointer(words),
		.fence_fd = -1,
	};
	int ret = execbuffer(fd, &exec);

	return ret ? ret : exec.fence_fd;
}

/* The same, on a ring. */
static __maybe_unused int submit_ring(int fd, __u32 ring, const __u32 *words, unsigned int count)
{
	struct drm_virtgpu_execbuffer exec = {
		.flags = VIRTGPU_EXECBUF_FENCE_FD_OUT | VIRTGPU_EXECBUF_RING_IDX,
		.size = 4 * count,
		.command = pointer(words),
		.fence_fd = -1,
		.ring_idx = ring,
	};
	int ret = execbuffer(fd, &exec);

	return ret ? ret : exec.fence_fd;
}

/* Whether a descriptor of a fence is signaled within @ms. */
static __maybe_unused bool is_signaled_within(int fence, int ms)
{
	struct pollfd poll_fence = { .fd = fence, .events = POLLIN };

	return poll(&poll_fence, 1, ms) == 1;
}

/* Waits for a fence. */
static __maybe_unused bool wait_fence(int fence)
{
	return is_signaled_within(fence, GPU_PATIENCE_NS / NSEC_PER_MSEC);
}

/* The status of a fence: 1 signaled, 0 not, or the negative errno with which it is. */
static __maybe_unused int fence_status(int fence)
{
	struct sync_file_info info = {};

	return ioctl(fence, SYNC_IOC_FILE_INFO, &info) ? -EBADF : info.status;
}

/* Waits for a fence, closes it and returns its status. */
static __maybe_unused int end_fence(int fence)
{
	int status = wait_fence(fence) ? fence_status(fence) : -ETIMEDOUT;

	close(fence);
	return status;
}

/*
 * Whether each ring of a client is a timeline: two fences of one are merged into the later
 * one. Else all that the client submits ends in its order. Its context has this name.
 */
static __maybe_unused bool rings_are_timelines(int screen, int fd, const char *name)
{
	struct sync_merge_data merge = { .name = "rust_gpu" };
	struct sync_file_info info = {};
	int first, second;

	if (screen < 0 || device_ask(screen, "hold %s", name))
		return false;
	first = submit_ring(fd, 0, NULL, 0);
	second = submit_ring(fd, 1, NULL, 0);
	merge.fd2 = second;
	if (!ioctl(first, SYNC_IOC_MERGE, &merge)) {
		ioctl(merge.fence, SYNC_IOC_FILE_INFO, &info);
		close(merge.fence);
	}
	device_ask(screen, "release");
	/* What the device has not taken so far would be held by the next "hold". */
	end_fence(first);
	end_fence(second);
	return info.num_fences == 2;
}

#define NO_RINGS	"the rings of a client share its timeline"

/* Submits nothing but the use of a buffer object. Returns 0 or -errno. */
static __maybe_unused int submit_bo(int fd, __u32 handle, const __u32 *words, unsigned int count)
{
	struct drm_virtgpu_execbuffer exec = {
		.size = 4 * count,
		.command = pointer(words),
		.bo_handles = pointer(&handle),
		.num_bo_handles = 1,
	};

	return execbuffer(fd, &exec);
}

static __maybe_unused struct drm_virtgpu_resource_create picture_of(__u32 side)
{
	return (struct drm_virtgpu_resource_create){
		.target = TARGET_2D,
		.format = FORMAT_BGRA,
		.bind = BIND,
		.width = side,
		.height = side,
		.depth = 1,
		.array_size = 1,
		.size = 4 * side * side,
	};
}

static __maybe_unused int resource_create(int fd, struct drm_virtgpu_resource_create *create)
{
	return gpu_ioctl(fd, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE, create);
}

static __maybe_unused int resource_info(int fd, __u32 handle,
					struct drm_virtgpu_resource_info *info)
{
	memset(info, 0, sizeof(*info));
	info->bo_handle = handle;
	return gpu_ioctl(fd, DRM_IOCTL_VIRTGPU_RESOURCE_INFO, info);
}

/* Makes a picture of some pixels in each direction, and maps it. Returns 0 or -errno. */
static __maybe_unused int bo_create(int fd, struct bo *bo, __u32 side)
{
	struct drm_virtgpu_resource_create create = picture_of(side);
	struct drm_virtgpu_map map = {};
	int ret = resource_create(fd, &create);

	memset(bo, 0, sizeof(*bo));
	if (ret)
		return ret;
	bo->handle = create.bo_handle;
	bo->res = create.res_handle;
	bo->size = (create.size + PAGE - 1) & -PAGE;
	map.handle = create.bo_handle;
	ret = gpu_ioctl(fd, DRM_IOCTL_VIRTGPU_MAP, &map);
	if (ret)
		return ret;
	bo->map = mmap(NULL, bo->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, map.offset);
	if (bo->map != MAP_FAILED)
		return 0;
	bo->map = NULL;
	return -errno;
}

static __maybe_unused int gem_close(int fd, __u32 handle)
{
	struct drm_gem_close close = { .handle = handle };

	return gpu_ioctl(fd, DRM_IOCTL_GEM_CLOSE, &close);
}

static __maybe_unused void bo_destroy(int fd, struct bo *bo)
{
	if (bo->map)
		munmap(bo->map, bo->size);
	gem_close(fd, bo->handle);
	memset(bo, 0, sizeof(*bo));
}

static __maybe_unused int bo_wait(int fd, __u32 handle, __u32 flags)
{
	struct drm_virtgpu_3d_wait wait = { .handle = handle, .flags = flags };

	return gpu_ioctl(fd, DRM_IOCTL_VIRTGPU_WAIT, &wait);
}

/* Transfers a picture, all of it. Returns 0 or -errno. */
static __maybe_unused int bo_transfer(int fd, __u32 handle, __u32 side, bool to_host)
{
	struct drm_virtgpu_3d_transfer_to_host transfer = {
		.bo_handle = handle,
		.box = { .w = side, .h = side, .d = 1 },
	};

	/* Both ways have the same fields. */
	return gpu_ioctl(fd, to_host ? DRM_IOCTL_VIRTGPU_TRANSFER_TO_HOST :
			 DRM_IOCTL_VIRTGPU_TRANSFER_FROM_HOST, &transfer);
}

static __maybe_unused __u32 syncobj_create(int fd, __u32 flags)
{
	struct drm_syncobj_create create = { .flags = flags };

	return gpu_ioctl(fd, DRM_IOCTL_SYNCOBJ_CREATE, &create) ? 0 : create.handle;
}

/* Waits for a point of a sync object, 0 for its fence, at most @ns. Returns 0 or -errno. */
static __maybe_unused int syncobj_wait(int fd, __u32 handle, __u64 point, __s64 ns)
{
	struct drm_syncobj_timeline_wait wait = {
		.handles = pointer(&handle),
		.points = pointer(&point),
		.timeout_nsec = now_ns() + ns,
		.count_handles = 1,
	};

	return gpu_ioctl(fd, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &wait);
}

/* Whether a sync object has a fence, signaled or not. */
static __maybe_unused bool syncobj_has_fence(int fd, __u32 handle)
{
	return syncobj_wait(fd, handle, 0, -NSEC_PER_SEC) != -EINVAL;
}

/* A handler for SIGALRM after which a system call is not begun again, or is. */
static __maybe_unused void interrupt_in(__s64 ns, bool restart)
{
	const struct sigaction action = {
		.sa_handler = on_alarm,
		.sa_flags = restart ? SA_RESTART : 0,
	};
	const struct itimerval timer = {
		.it_value = { ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / NSEC_PER_USEC },
	};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

#endif /* _RENDER_H */
