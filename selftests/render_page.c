// SPDX-License-Identifier: GPL-2.0
/*
 * A page of a client that never comes, in the middle of an ioctl: the device can be taken away
 * all the same, as quickly as ever. All DRM devices wait for the same readers then.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "kernel_log.h"
#include "render.h"

#define PAGE		4096
#define UNPLUGS		gpu_rounds(5, 20)
#define MOST_UNPLUGS	20
/* How much longer the median may be. */
#define LONGER_NS	(100 * NSEC_PER_MSEC)

/* What the client does with the page. */
enum use {
	NOTHING,
	STREAM,
	HANDLES,
	PARAMS,
	CAPSET,
};

/* A page that is missing, and who is told that somebody wants it. */
struct missing {
	void *page;
	int faults;
};

/* A client that wants it. */
struct stuck {
	int fd;
	enum use use;
	void *page;
	int result;
};

FIXTURE(user_page)
{
	struct render render;
	struct gpu gpu;
	struct missing missing;
	int log;
};

FIXTURE_VARIANT(user_page)
{
	enum use use;
	/* When the page is there at last: it has zeroes, and the device is gone. */
	int result;
};

FIXTURE_VARIANT_ADD(user_page, stream)
{
	.use = STREAM,
	.result = -ENODEV,
};

FIXTURE_VARIANT_ADD(user_page, handles)
{
	.use = HANDLES,
	.result = -ENOENT,
};

FIXTURE_VARIANT_ADD(user_page, params)
{
	.use = PARAMS,
	.result = -EINVAL,
};

/* It is written when all else is done. */
FIXTURE_VARIANT_ADD(user_page, capset)
{
	.use = CAPSET,
	.result = 0,
};

/* From now on the page is missing, until it is found. Returns 0 or -errno. */
static int lose_page(const struct missing *missing)
{
	struct uffdio_register range = {
		.range = { .start = pointer(missing->page), .len = PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (madvise(missing->page, PAGE, MADV_DONTNEED))
		return -errno;
	return ioctl(missing->faults, UFFDIO_REGISTER, &range) ? -errno : 0;
}

/* A client that wants the page gets one of zeroes. Returns 0 or -errno. */
static int find_page(const struct missing *missing)
{
	struct uffdio_range range = { .start = pointer(missing->page), .len = PAGE };

	return ioctl(missing->faults, UFFDIO_UNREGISTER, &range) ? -errno : 0;
}

/* Waits until somebody wants the page. */
static bool is_wanted(const struct missing *missing)
{
	struct pollfd wanted = { .fd = missing->faults, .events = POLLIN };
	struct uffd_msg message;

	return poll(&wanted, 1, GPU_PATIENCE_NS / NSEC_PER_MSEC) == 1 &&
	       read(missing->faults, &message, sizeof(message)) == sizeof(message);
}

FIXTURE_SETUP(user_page)
{
	const char *reason = render_begin(&self->render, true);
	struct missing *missing = &self->missing;
	struct uffdio_api api = { .api = UFFD_API };

	self->log = -1;
	REQUIRE(return, !reason, reason);
	if (!self->render.rust)
		SKIP(return, "another driver");
	ASSERT_TRUE(gpu_find(&self->gpu));
	close(self->render.fd);
	self->render.fd = -1;
	if (access("/proc/sys/vm/unprivileged_userfaultfd", F_OK))
		SKIP(return, "the kernel has no userfaultfd (CONFIG_USERFAULTFD)");
	missing->page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
	ASSERT_NE(MAP_FAILED, missing->page);
	missing->faults = syscall(SYS_userfaultfd, O_CLOEXEC);
	ASSERT_LE(0, missing->faults);
	ASSERT_EQ(0, ioctl(missing->faults, UFFDIO_API, &api));
	self->log = log_open();
}

FIXTURE_TEARDOWN(user_page)
{
	if (self->log >= 0) {
		EXPECT_EQ(0, count_splats(self->log));
		close(self->log);
	}
	render_end(&self->render);
}

/* Makes the ioctl that needs the page. */
static int use_page(const struct stuck *stuck)
{
	struct drm_virtgpu_execbuffer exec = {
		.size = stuck->use == STREAM ? PAGE : 0,
		.command = pointer(stuck->page),
		.num_bo_handles = stuck->use == HANDLES,
		.bo_handles = pointer(stuck->page),
	};
	struct drm_virtgpu_context_init init = {
		.num_params = 1,
		.ctx_set_params = pointer(stuck->page),
	};
	struct drm_virtgpu_get_caps caps = {
		.cap_set_id = capsets[0].id,
		.addr = pointer(stuck->page),
		.size = capsets[0].size,
	};

	switch (stuck->use) {
	case PARAMS:
		return gpu_ioctl(stuck->fd, DRM_IOCTL_VIRTGPU_CONTEXT_INIT, &init);
	case CAPSET:
		return gpu_ioctl(stuck->fd, DRM_IOCTL_VIRTGPU_GET_CAPS, &caps);
	default:
		return execbuffer(stuck->fd, &exec);
	}
}

static void *get_stuck(void *arg)
{
	struct stuck *stuck = arg;

	stuck->result = use_page(stuck);
	return NULL;
}

/* Returns how long it takes to take the device away while somebody waits for the page. */
static __s64 time_to_unplug(struct __test_metadata *_metadata, struct gpu *gpu,
			    const struct missing *missing, enum use use, int result)
{
	struct stuck stuck = { .fd = client_open(), .use = use, .page = missing->page };
	pthread_t thread;
	__s64 took;

	ASSERT_LE(0, stuck.fd);
	if (use != NOTHING) {
		ASSERT_EQ(0, lose_page(missing));
		ASSERT_EQ(0, pthread_create(&thread, NULL, get_stuck, &stuck));
		ASSERT_TRUE(is_wanted(missing));
	}
	took = now_ns();
	EXPECT_EQ(0, gpu_unbind(gpu));
	took = now_ns() - took;
	if (use != NOTHING) {
		EXPECT_EQ(0, find_page(missing));
		pthread_join(thread, NULL);
		EXPECT_EQ(result, stuck.result);
	}
	close(stuck.fd);
	EXPECT_EQ(0, gpu_bind(gpu));
	return took;
}

TEST_F_TIMEOUT(user_page, never_comes, 300)
{
	__s64 with[MOST_UNPLUGS], without[MOST_UNPLUGS];
	const unsigned int rounds = UNPLUGS;
	unsigned int i;

	for (i = 0; i < rounds; i++) {
		without[i] = time_to_unplug(_metadata, &self->gpu, &self->missing, NOTHING, 0);
		with[i] = time_to_unplug(_metadata, &self->gpu, &self->missing, variant->use,
					 variant->result);
	}
	qsort(without, rounds, sizeof(*without), compare_times);
	qsort(with, rounds, sizeof(*with), compare_times);
	TH_LOG("unplugged in %lld ms, while a page is missing in %lld ms",
	       without[rounds / 2] / NSEC_PER_MSEC, with[rounds / 2] / NSEC_PER_MSEC);
	EXPECT_GE(without[rounds / 2] + LONGER_NS, with[rounds / 2]);
}

TEST_HARNESS_MAIN
