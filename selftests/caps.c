// SPDX-License-Identifier: GPL-2.0
/*
 * The capabilities that DRM reports for the device, and synchronization objects.
 *
 * All values are those of the C driver on the same device, or better.
 */
#include <pthread.h>

#include "kselftest_harness.h"
#include "display_kms.h"

#ifndef DRM_CAP_ATOMIC_ASYNC_PAGE_FLIP
#define DRM_CAP_ATOMIC_ASYNC_PAGE_FLIP		0x15
#endif
#ifndef DRM_CLIENT_CAP_CURSOR_PLANE_HOTSPOT
#define DRM_CLIENT_CAP_CURSOR_PLANE_HOTSPOT	6
#endif

static const struct {
	const char *name;
	__u64 capability;
	__u64 value;
} caps[] = {
	{ "DUMB_BUFFER", DRM_CAP_DUMB_BUFFER, 1 },
	{ "VBLANK_HIGH_CRTC", DRM_CAP_VBLANK_HIGH_CRTC, 1 },
	/* The C driver reports none. */
	{ "DUMB_PREFERRED_DEPTH", DRM_CAP_DUMB_PREFERRED_DEPTH, 24 },
	{ "DUMB_PREFER_SHADOW", DRM_CAP_DUMB_PREFER_SHADOW, 0 },
	{ "PRIME", DRM_CAP_PRIME, DRM_PRIME_CAP_IMPORT | DRM_PRIME_CAP_EXPORT },
	{ "TIMESTAMP_MONOTONIC", DRM_CAP_TIMESTAMP_MONOTONIC, 1 },
	/* The C driver has none. */
	{ "ASYNC_PAGE_FLIP", DRM_CAP_ASYNC_PAGE_FLIP, 1 },
	{ "CURSOR_WIDTH", DRM_CAP_CURSOR_WIDTH, 64 },
	{ "CURSOR_HEIGHT", DRM_CAP_CURSOR_HEIGHT, 64 },
	{ "ADDFB2_MODIFIERS", DRM_CAP_ADDFB2_MODIFIERS, 0 },
	{ "PAGE_FLIP_TARGET", DRM_CAP_PAGE_FLIP_TARGET, 0 },
	{ "CRTC_IN_VBLANK_EVENT", DRM_CAP_CRTC_IN_VBLANK_EVENT, 1 },
	{ "SYNCOBJ", DRM_CAP_SYNCOBJ, 1 },
	{ "SYNCOBJ_TIMELINE", DRM_CAP_SYNCOBJ_TIMELINE, 1 },
	/* The C driver has none. */
	{ "ATOMIC_ASYNC_PAGE_FLIP", DRM_CAP_ATOMIC_ASYNC_PAGE_FLIP, 1 },
};

static const struct {
	const char *name;
	__u64 capability;
} client_caps[] = {
	{ "STEREO_3D", DRM_CLIENT_CAP_STEREO_3D },
	{ "UNIVERSAL_PLANES", DRM_CLIENT_CAP_UNIVERSAL_PLANES },
	{ "ATOMIC", DRM_CLIENT_CAP_ATOMIC },
	{ "ASPECT_RATIO", DRM_CLIENT_CAP_ASPECT_RATIO },
	{ "WRITEBACK_CONNECTORS", DRM_CLIENT_CAP_WRITEBACK_CONNECTORS },
	{ "CURSOR_PLANE_HOTSPOT", DRM_CLIENT_CAP_CURSOR_PLANE_HOTSPOT },
};

FIXTURE(caps)
{
	struct gpu gpu;
	int card;
	int fd;		/* the render node */
};

FIXTURE_SETUP(caps)
{
	const char *reason = gpu_open(&self->gpu, GPU_RENDER, &self->fd);

	self->card = -1;
	REQUIRE(return, !reason, reason);
	ASSERT_GE(self->fd, 0);
	self->card = open(self->gpu.card, O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->card, 0);
}

FIXTURE_TEARDOWN(caps)
{
	close(self->card);
	close(self->fd);
}

TEST_F(caps, values)
{
	struct drm_get_cap cap;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(caps); i++) {
		cap = (struct drm_get_cap){ .capability = caps[i].capability, .value = 99 };
		EXPECT_EQ(0, gpu_ioctl(self->card, DRM_IOCTL_GET_CAP, &cap))
			TH_LOG("%s", caps[i].name);
		EXPECT_EQ(caps[i].value, cap.value) TH_LOG("%s", caps[i].name);
	}
	cap = (struct drm_get_cap){ .capability = 0x7f };
	EXPECT_EQ(-EINVAL, gpu_ioctl(self->card, DRM_IOCTL_GET_CAP, &cap));
}

TEST_F(caps, of_clients)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(client_caps); i++)
		EXPECT_EQ(0, set_client_cap(self->card, client_caps[i].capability))
			TH_LOG("%s", client_caps[i].name);
	EXPECT_EQ(-EINVAL, set_client_cap(self->card, 0x7f));
}

TEST_F(caps, limits)
{
	struct drm_mode_card_res resources = {};

	ASSERT_EQ(0, gpu_ioctl(self->card, DRM_IOCTL_MODE_GETRESOURCES, &resources));
	EXPECT_EQ(16, resources.min_width);
	EXPECT_EQ(16, resources.min_height);
	EXPECT_EQ(16384, resources.max_width);
	EXPECT_EQ(16384, resources.max_height);
}

static __u32 syncobj_create(int fd, __u32 flags)
{
	struct drm_syncobj_create create = { .flags = flags };

	return gpu_ioctl(fd, DRM_IOCTL_SYNCOBJ_CREATE, &create) ? 0 : create.handle;
}

static int syncobj_destroy(int fd, __u32 handle)
{
	struct drm_syncobj_destroy destroy = { .handle = handle };

	return gpu_ioctl(fd, DRM_IOCTL_SYNCOBJ_DESTROY, &destroy);
}

/* SIGNAL or RESET. */
static int syncobj_array(int fd, unsigned long request, __u32 handle)
{
	struct drm_syncobj_array array = {
		.handles = user_pointer(&handle),
		.count_handles = 1,
	};

	return gpu_ioctl(fd, request, &array);
}

static int syncobj_wait(int fd, __u32 handle, __u32 flags, __s64 ns)
{
	struct drm_syncobj_wait wait = {
		.handles = user_pointer(&handle),
		.timeout_nsec = now_ns() + ns,
		.count_handles = 1,
		.flags = flags,
	};

	return gpu_ioctl(fd, DRM_IOCTL_SYNCOBJ_WAIT, &wait);
}

static int timeline_signal(int fd, __u32 handle, __u64 point)
{
	struct drm_syncobj_timeline_array array = {
		.handles = user_pointer(&handle),
		.points = user_pointer(&point),
		.count_handles = 1,
	};

	return gpu_ioctl(fd, DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL, &array);
}

static int timeline_query(int fd, __u32 handle, __u64 *point)
{
	struct drm_syncobj_timeline_array array = {
		.handles = user_pointer(&handle),
		.points = user_pointer(point),
		.count_handles = 1,
	};

	return gpu_ioctl(fd, DRM_IOCTL_SYNCOBJ_QUERY, &array);
}

static int timeline_wait(int fd, __u32 handle, __u64 point, __u32 flags, __s64 ns)
{
	struct drm_syncobj_timeline_wait wait = {
		.handles = user_pointer(&handle),
		.points = user_pointer(&point),
		.timeout_nsec = now_ns() + ns,
		.count_handles = 1,
		.flags = flags,
	};

	return gpu_ioctl(fd, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &wait);
}

#define FOR_SUBMIT	DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT

TEST_F(caps, syncobj)
{
	__u32 handle = syncobj_create(self->fd, 0), done;

	ASSERT_NE(0, handle);
	EXPECT_EQ(-EINVAL, syncobj_wait(self->fd, handle, 0, 0));
	EXPECT_EQ(-ETIME, syncobj_wait(self->fd, handle, FOR_SUBMIT, NSEC_PER_MSEC));
	EXPECT_EQ(0, syncobj_array(self->fd, DRM_IOCTL_SYNCOBJ_SIGNAL, handle));
	EXPECT_EQ(0, syncobj_wait(self->fd, handle, 0, 0));
	EXPECT_EQ(0, syncobj_array(self->fd, DRM_IOCTL_SYNCOBJ_RESET, handle));
	EXPECT_EQ(-EINVAL, syncobj_wait(self->fd, handle, 0, 0));

	done = syncobj_create(self->fd, DRM_SYNCOBJ_CREATE_SIGNALED);
	ASSERT_NE(0, done);
	EXPECT_EQ(0, syncobj_wait(self->fd, done, 0, 0));
	EXPECT_EQ(0, syncobj_destroy(self->fd, done));
	EXPECT_EQ(-ENOENT, syncobj_wait(self->fd, done, 0, 0));
	EXPECT_EQ(0, syncobj_destroy(self->fd, handle));
}

/* The same object, opened on the other node. */
TEST_F(caps, syncobj_shared)
{
	struct drm_syncobj_handle give = {}, take = {};

	give.handle = syncobj_create(self->fd, 0);
	ASSERT_EQ(0, gpu_ioctl(self->fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &give));
	take.fd = give.fd;
	ASSERT_EQ(0, gpu_ioctl(self->card, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &take));
	close(give.fd);
	EXPECT_EQ(-ETIME, syncobj_wait(self->card, take.handle, FOR_SUBMIT, NSEC_PER_MSEC));
	EXPECT_EQ(0, syncobj_array(self->fd, DRM_IOCTL_SYNCOBJ_SIGNAL, give.handle));
	EXPECT_EQ(0, syncobj_destroy(self->fd, give.handle));
	EXPECT_EQ(0, syncobj_wait(self->card, take.handle, 0, 0));
}

struct waiter {
	int fd;
	__u32 handle;
	__u64 point;
	int result;
};

static void *wait_for_point(void *data)
{
	struct waiter *waiter = data;

	waiter->result = timeline_wait(waiter->fd, waiter->handle, waiter->point, FOR_SUBMIT,
				       GPU_PATIENCE_NS);
	return NULL;
}

TEST_F_TIMEOUT(caps, syncobj_timeline, 60)
{
	struct waiter waiter = { .fd = self->fd, .point = 7, .result = -1 };
	__u64 point = 0;
	pthread_t thread;

	waiter.handle = syncobj_create(self->fd, 0);
	ASSERT_NE(0, waiter.handle);
	ASSERT_EQ(0, timeline_signal(self->fd, waiter.handle, 5));
	EXPECT_EQ(0, timeline_query(self->fd, waiter.handle, &point));
	EXPECT_EQ(5, point);
	EXPECT_EQ(0, timeline_wait(self->fd, waiter.handle, 4, 0, 0));
	EXPECT_EQ(0, timeline_wait(self->fd, waiter.handle, 5, 0, 0));
	EXPECT_EQ(-EINVAL, timeline_wait(self->fd, waiter.handle, 6, 0, 0));
	EXPECT_EQ(-ETIME, timeline_wait(self->fd, waiter.handle, 6, FOR_SUBMIT, NSEC_PER_MSEC));

	ASSERT_EQ(0, pthread_create(&thread, NULL, wait_for_point, &waiter));
	sleep_ns(50 * NSEC_PER_MSEC);
	EXPECT_EQ(-1, waiter.result);
	EXPECT_EQ(0, timeline_signal(self->fd, waiter.handle, 8));
	pthread_join(thread, NULL);
	EXPECT_EQ(0, waiter.result);
	EXPECT_EQ(0, syncobj_destroy(self->fd, waiter.handle));
}

TEST_HARNESS_MAIN
