// SPDX-License-Identifier: GPL-2.0
/*
 * Fences of submissions: sync objects and their points, what a submission waits for and
 * what not, what waits for it, and in which order they end. It is what the C driver does;
 * where this driver differs on purpose, the test says why.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include "render.h"
#include "sw_sync.h"

#define CLIENT		"render-sync"
#define RINGS		3
#define BUSY_MS		300
/* Longer than the device takes for what it does not hold. */
#define SHORT_MS	200
#define SHORT_NS	(SHORT_MS * NSEC_PER_MSEC)
/* Longest that the callbacks of a fence that is signalled take. */
#define CALLBACK_MS	1000

static const __u32 busy[] = { WORD_BUSY, BUSY_MS };

FIXTURE(sync)
{
	struct render render;
	int fd;		/* its context is called CLIENT */
};

FIXTURE_SETUP(sync)
{
	const char *reason = render_begin(&self->render, false);

	self->fd = -1;
	REQUIRE(return, !reason, reason);
	self->fd = named_client(CLIENT, RINGS);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(sync)
{
	close(self->fd);
	if (self->render.screen >= 0) {
		EXPECT_EQ(0, device_resume(self->render.screen));
		EXPECT_TRUE(!self->render.rust || device_is_sound(self->render.screen));
	}
	render_end(&self->render);
}

/* Submits nothing, with sync objects at the end, or at the start. Returns 0 or -errno. */
static int submit_out(int fd, const struct drm_virtgpu_execbuffer_syncobj *objects, __u32 count,
		      __u32 stride)
{
	struct drm_virtgpu_execbuffer exec = {
		.syncobj_stride = stride,
		.num_out_syncobjs = count,
		.out_syncobjs = pointer(objects),
	};

	return execbuffer(fd, &exec);
}

static int submit_in(int fd, const struct drm_virtgpu_execbuffer_syncobj *objects, __u32 count,
		     __u32 stride)
{
	struct drm_virtgpu_execbuffer exec = {
		.syncobj_stride = stride,
		.num_in_syncobjs = count,
		.in_syncobjs = pointer(objects),
	};

	return execbuffer(fd, &exec);
}

/* Gives a sync object a fence of the test's own. Returns 0 or -errno. */
static int syncobj_import(int fd, __u32 handle, int fence)
{
	struct drm_syncobj_handle import = {
		.handle = handle,
		.flags = DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE,
		.fd = fence,
	};

	return gpu_ioctl(fd, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, &import);
}

TEST_F(sync, out)
{
	struct drm_virtgpu_execbuffer_syncobj objects[3] = {};
	const __u32 size = sizeof(*objects);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(objects); i++)
		objects[i].handle = syncobj_create(self->fd, 0);
	EXPECT_FALSE(syncobj_has_fence(self->fd, objects[0].handle));
	ASSERT_EQ(0, submit_out(self->fd, objects, 2, size));
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, syncobj_wait(self->fd, objects[i].handle, 0, GPU_PATIENCE_NS));
	EXPECT_FALSE(syncobj_has_fence(self->fd, objects[2].handle));
	/* Points of one timeline, and none that nobody has asked for. */
	objects[2].point = 5;
	objects[1] = objects[2];
	objects[1].point = 3;
	ASSERT_EQ(0, submit_out(self->fd, objects + 1, 2, size));
	EXPECT_EQ(0, syncobj_wait(self->fd, objects[2].handle, 3, GPU_PATIENCE_NS));
	EXPECT_EQ(0, syncobj_wait(self->fd, objects[2].handle, 5, GPU_PATIENCE_NS));
	EXPECT_EQ(-EINVAL, syncobj_wait(self->fd, objects[2].handle, 6, 0));
}

TEST_F(sync, out_arguments)
{
	struct drm_virtgpu_execbuffer_syncobj object = {
		.handle = syncobj_create(self->fd, 0),
	}, wrong;
	const __u32 size = sizeof(object);
	struct {
		struct drm_virtgpu_execbuffer_syncobj object;
		__u64 more;
	} wide = { object, ~0ULL };

	EXPECT_EQ(-EFAULT, submit_out(self->fd, NULL, 1, size));
	wrong = object;
	wrong.flags = VIRTGPU_EXECBUF_SYNCOBJ_RESET;
	EXPECT_EQ(-EINVAL, submit_out(self->fd, &wrong, 1, size));
	wrong = object;
	wrong.handle = ~0u;
	EXPECT_EQ(-EINVAL, submit_out(self->fd, &wrong, 1, size));
	/* Without any bytes there is no handle. */
	EXPECT_EQ(-EINVAL, submit_out(self->fd, &object, 1, 0));
	EXPECT_FALSE(syncobj_has_fence(self->fd, object.handle));
	/* Structures that are shorter, and longer. */
	wrong = object;
	wrong.point = 1;
	EXPECT_EQ(0, submit_out(self->fd, &wrong, 1, 8));
	EXPECT_EQ(0, syncobj_wait(self->fd, object.handle, 0, GPU_PATIENCE_NS));
	EXPECT_EQ(0, submit_out(self->fd, &wide.object, 1, sizeof(wide)));
}

TEST_F(sync, in_arguments)
{
	struct drm_virtgpu_execbuffer_syncobj object = {
		.handle = syncobj_create(self->fd, DRM_SYNCOBJ_CREATE_SIGNALED),
	}, wrong = object;
	const __u32 size = sizeof(object);
	const __u32 empty = syncobj_create(self->fd, 0);
	struct drm_virtgpu_execbuffer exec = {
		.syncobj_stride = size,
		.num_in_syncobjs = 1,
		.num_out_syncobjs = 1,
		.in_syncobjs = pointer(&wrong),
		.out_syncobjs = pointer(&wrong),
		.fence_fd = -1,
	};

	EXPECT_EQ(0, submit_in(self->fd, &object, 1, size));
	EXPECT_TRUE(syncobj_has_fence(self->fd, object.handle));
	EXPECT_EQ(-EFAULT, submit_in(self->fd, NULL, 1, size));
	wrong.flags = ~VIRTGPU_EXECBUF_SYNCOBJ_FLAGS;
	EXPECT_EQ(-EINVAL, submit_in(self->fd, &wrong, 1, size));
	wrong.flags = 0;
	wrong.handle = ~0u;
	EXPECT_EQ(-ENOENT, submit_in(self->fd, &wrong, 1, size));
	EXPECT_EQ(-ENOENT, submit_in(self->fd, &object, 1, 0));
	/* What comes out is looked at before what goes in, and descriptors last. */
	EXPECT_EQ(-EINVAL, execbuffer(self->fd, &exec));
	exec.num_out_syncobjs = 0;
	exec.flags = VIRTGPU_EXECBUF_FENCE_FD_IN;
	EXPECT_EQ(-ENOENT, execbuffer(self->fd, &exec));
	/* No fence yet, and no such point. */
	wrong.handle = empty;
	EXPECT_EQ(-EINVAL, submit_in(self->fd, &wrong, 1, size));
	wrong.point = 7;
	EXPECT_EQ(-EINVAL, submit_in(self->fd, &wrong, 1, size));
	wrong.handle = object.handle;
	EXPECT_EQ(-EINVAL, submit_in(self->fd, &wrong, 1, size));
}

/* The C driver resets what was waited for also if the submission fails afterwards. */
TEST_F(sync, reset)
{
	struct drm_virtgpu_execbuffer_syncobj object = {
		.handle = syncobj_create(self->fd, DRM_SYNCOBJ_CREATE_SIGNALED),
		.flags = VIRTGPU_EXECBUF_SYNCOBJ_RESET,
	};
	struct drm_virtgpu_execbuffer exec = {
		.flags = VIRTGPU_EXECBUF_FENCE_FD_IN,
		.syncobj_stride = sizeof(object),
		.num_in_syncobjs = 1,
		.in_syncobjs = pointer(&object),
		.fence_fd = -1,
	};

	EXPECT_EQ(-EINVAL, execbuffer(self->fd, &exec));
	EXPECT_EQ(self->render.rust, syncobj_has_fence(self->fd, object.handle));
	object.handle = syncobj_create(self->fd, DRM_SYNCOBJ_CREATE_SIGNALED);
	ASSERT_EQ(0, submit_in(self->fd, &object, 1, sizeof(object)));
	EXPECT_FALSE(syncobj_has_fence(self->fd, object.handle));
}

/* One object may be waited for and signaled by the same submission. */
TEST_F(sync, in_and_out)
{
	struct drm_virtgpu_execbuffer_syncobj object = {
		.handle = syncobj_create(self->fd, DRM_SYNCOBJ_CREATE_SIGNALED),
	};
	struct drm_virtgpu_execbuffer exec = {
		.syncobj_stride = sizeof(object),
		.num_in_syncobjs = 1,
		.num_out_syncobjs = 1,
		.in_syncobjs = pointer(&object),
		.out_syncobjs = pointer(&object),
	};

	if (self->render.screen < 0)
		SKIP(return, NO_OWN_DEVICE);
	ASSERT_EQ(0, device_ask(self->render.screen, "hold " CLIENT));
	ASSERT_EQ(0, execbuffer(self->fd, &exec));
	EXPECT_EQ(-ETIME, syncobj_wait(self->fd, object.handle, 0, SHORT_NS));
	ASSERT_EQ(0, device_ask(self->render.screen, "release"));
	EXPECT_EQ(0, syncobj_wait(self->fd, object.handle, 0, GPU_PATIENCE_NS));
}

/* A signal ends the wait for a sync object, and nothing has happened. */
TEST_F_TIMEOUT(sync, in_waits, 60)
{
	struct drm_virtgpu_execbuffer_syncobj objects[2] = {
		{ .handle = syncobj_create(self->fd, 0), .flags = VIRTGPU_EXECBUF_SYNCOBJ_RESET },
		{ .handle = syncobj_create(self->fd, 0) },
	};
	struct drm_virtgpu_execbuffer exec = {
		.syncobj_stride = sizeof(*objects),
		.num_in_syncobjs = 1,
		.num_out_syncobjs = 1,
		.in_syncobjs = pointer(objects),
		.out_syncobjs = pointer(objects + 1),
	};
	struct sw_fence fence = { -1, -1 };
	__s64 start;

	REQUIRE(return, !access(SW_SYNC_FILE, W_OK), NO_SW_SYNC);
	ASSERT_EQ(0, sw_fence_create(&fence));
	ASSERT_EQ(0, syncobj_import(self->fd, objects[0].handle, fence.file));
	start = now_ns();
	interrupt_in(SHORT_NS, false);
	EXPECT_EQ(-EINTR, execbuffer(self->fd, &exec));
	EXPECT_LE(SHORT_NS, now_ns() - start);
	EXPECT_TRUE(syncobj_has_fence(self->fd, objects[0].handle));
	EXPECT_FALSE(syncobj_has_fence(self->fd, objects[1].handle));
	ASSERT_EQ(0, sw_fence_signal(&fence));
	EXPECT_EQ(0, execbuffer(self->fd, &exec));
	EXPECT_FALSE(syncobj_has_fence(self->fd, objects[0].handle));
	EXPECT_EQ(0, syncobj_wait(self->fd, objects[1].handle, 0, GPU_PATIENCE_NS));
	sw_fence_close(&fence);
}

/* Many fences in one descriptor are all waited for. */
TEST_F(sync, in_merged)
{
	struct drm_virtgpu_execbuffer exec = { .flags = VIRTGPU_EXECBUF_FENCE_FD_IN };
	struct sync_merge_data merge = { .name = "rust_gpu" };
	struct sw_fence fence = { -1, -1 };
	int own = submit_fenced(self->fd, NULL, 0);

	REQUIRE(return, !access(SW_SYNC_FILE, W_OK), NO_SW_SYNC);
	ASSERT_LE(0, own);
	ASSERT_EQ(0, sw_fence_create(&fence));
	merge.fd2 = fence.file;
	ASSERT_EQ(0, gpu_ioctl(own, SYNC_IOC_MERGE, &merge));
	exec.fence_fd = merge.fence;
	interrupt_in(SHORT_NS, false);
	EXPECT_EQ(-EINTR, execbuffer(self->fd, &exec));
	ASSERT_EQ(0, sw_fence_signal(&fence));
	EXPECT_EQ(0, execbuffer(self->fd, &exec));
	sw_fence_close(&fence);
	close(merge.fence);
	close(own);
}

/*
 * What was submitted is in the device before anything that is submitted then, by whomever:
 * a compositor reads what a client has drawn. A client that has enough there waits.
 */
TEST_F(sync, order_of_clients)
{
	const int screen = self->render.screen;
	int fd = named_client("render-alone", 0), fence = -1;
	__s64 submitted = -render_count(screen, "submissions");
	unsigned int count = 0;

	if (screen < 0)
		SKIP(return, NO_OWN_DEVICE);
	if (!self->render.rust)
		SKIP(return, "the C driver waits for ever");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, device_ask(screen, "hold render-alone"));
	do {
		close(fence);
		interrupt_in(SHORT_NS, false);
		fence = submit_fenced(fd, NULL, 0);
		count += fence >= 0;
	} while (fence >= 0);
	interrupt_in(0, false);
	EXPECT_EQ(-EINTR, fence);
	EXPECT_LT(1, count);
	EXPECT_EQ(1, end_fence(submit_fenced(self->fd, NULL, 0)));
	submitted += render_count(screen, "submissions");
	TH_LOG("%u submissions of a client that is held", count);
	EXPECT_EQ(count + 1, submitted);
	ASSERT_EQ(0, device_ask(screen, "release"));
	EXPECT_EQ(1, end_fence(submit_fenced(fd, NULL, 0)));
	close(fd);
}

/*
 * Nobody waits for a fence of the same timeline: the host has that order. All contexts of
 * the C driver are one timeline, so it does not wait for another client's fence either.
 */
TEST_F(sync, in_of_its_own)
{
	struct drm_virtgpu_execbuffer exec = { .flags = VIRTGPU_EXECBUF_FENCE_FD_IN };
	int fd = named_client("render-alone", 0), other;

	if (self->render.screen < 0)
		SKIP(return, NO_OWN_DEVICE);
	ASSERT_EQ(0, device_ask(self->render.screen, "hold render-alone"));
	exec.fence_fd = submit_fenced(fd, NULL, 0);
	ASSERT_LE(0, exec.fence_fd);
	interrupt_in(NSEC_PER_SEC, false);
	EXPECT_EQ(0, execbuffer(fd, &exec));
	other = named_client("render-other", 0);
	ASSERT_LE(0, other);
	interrupt_in(SHORT_NS, false);
	EXPECT_EQ(self->render.rust ? -EINTR : 0, execbuffer(other, &exec));
	interrupt_in(0, false);
	ASSERT_EQ(0, device_ask(self->render.screen, "release"));
	EXPECT_EQ(0, execbuffer(other, &exec));
	EXPECT_EQ(1, end_fence(exec.fence_fd));
	close(other);
	close(fd);
}

/* Another ring is another timeline. */
TEST_F(sync, in_of_another_ring)
{
	struct drm_virtgpu_execbuffer exec = {
		.flags = VIRTGPU_EXECBUF_FENCE_FD_IN | VIRTGPU_EXECBUF_RING_IDX,
	};

	if (!rings_are_timelines(self->render.screen, self->fd, CLIENT))
		SKIP(return, NO_RINGS);
	ASSERT_EQ(0, device_ask(self->render.screen, "hold " CLIENT));
	exec.fence_fd = submit_ring(self->fd, 1, NULL, 0);
	ASSERT_LE(0, exec.fence_fd);
	interrupt_in(SHORT_NS, false);
	EXPECT_EQ(-EINTR, execbuffer(self->fd, &exec));
	exec.ring_idx = 1;
	EXPECT_EQ(0, execbuffer(self->fd, &exec));
	ASSERT_EQ(0, device_ask(self->render.screen, "release"));
	EXPECT_EQ(1, end_fence(exec.fence_fd));
}

/* Only what somebody can wait for has a fence on the device. */
TEST_F(sync, which_have_fences)
{
	struct drm_virtgpu_execbuffer_syncobj object = {
		.handle = syncobj_create(self->fd, 0),
	};
	const int screen = self->render.screen;
	struct context context;
	struct bo bo;
	int fence;

	if (self->render.screen < 0)
		SKIP(return, NO_OWN_DEVICE);
	ASSERT_EQ(0, bo_create(self->fd, &bo, SIDE));
	ASSERT_EQ(0, bo_wait(self->fd, bo.handle, 0));
	ASSERT_EQ(0, device_ask(screen, "hold " CLIENT));
	ASSERT_EQ(0, submit_words(self->fd, NULL, 0));
	ASSERT_EQ(0, submit_words(self->fd, busy, 2));
	ASSERT_EQ(0, context_find(screen, CLIENT, &context));
	sleep_ns(SHORT_NS);
	EXPECT_EQ(0, device_state(screen, "late"));
	ASSERT_EQ(0, submit_out(self->fd, &object, 1, sizeof(object)));
	EXPECT_TRUE(device_wait(screen, "late", 1));
	fence = submit_fenced(self->fd, NULL, 0);
	EXPECT_TRUE(device_wait(screen, "late", 2));
	ASSERT_EQ(0, submit_bo(self->fd, bo.handle, NULL, 0));
	EXPECT_TRUE(device_wait(screen, "late", 3));
	ASSERT_EQ(0, device_ask(screen, "release"));
	EXPECT_EQ(1, end_fence(fence));
	bo_destroy(self->fd, &bo);
}

/* Whether somebody writes into a buffer, or uses it at all. */
static bool is_written(int dma_buf)
{
	struct pollfd poll_buffer = { .fd = dma_buf, .events = POLLIN };

	return poll(&poll_buffer, 1, 0) != 1;
}

static bool is_used_after(int dma_buf, int timeout_ms)
{
	struct pollfd poll_buffer = { .fd = dma_buf, .events = POLLOUT };

	return poll(&poll_buffer, 1, timeout_ms) != 1;
}

static bool is_used(int dma_buf)
{
	return is_used_after(dma_buf, 0);
}

/* All buffers of a submission are written until it ends, and no submission waits for one. */
TEST_F(sync, buffers)
{
	const int screen = self->render.screen;
	struct bo bos[3];
	int dma_bufs[ARRAY_SIZE(bos)], other, i;
	__u32 handles[2], shared;
	struct drm_virtgpu_execbuffer exec = {
		.bo_handles = pointer(handles),
		.num_bo_handles = ARRAY_SIZE(handles),
	};

	if (self->render.screen < 0)
		SKIP(return, NO_OWN_DEVICE);
	for (i = 0; i < ARRAY_SIZE(bos); i++) {
		ASSERT_EQ(0, bo_create(self->fd, &bos[i], SIDE));
		ASSERT_EQ(0, bo_wait(self->fd, bos[i].handle, 0));
		dma_bufs[i] = prime_export(self->fd, bos[i].handle);
		ASSERT_LE(0, dma_bufs[i]);
	}
	handles[0] = bos[0].handle;
	handles[1] = bos[1].handle;
	ASSERT_EQ(0, device_ask(screen, "hold " CLIENT));
	interrupt_in(NSEC_PER_SEC, false);
	ASSERT_EQ(0, execbuffer(self->fd, &exec));
	ASSERT_EQ(0, execbuffer(self->fd, &exec));
	for (i = 0; i < ARRAY_SIZE(bos); i++) {
		EXPECT_EQ(i < 2, is_written(dma_bufs[i]));
		EXPECT_EQ(i < 2, is_used(dma_bufs[i]));
		EXPECT_EQ(i < 2 ? -EBUSY : 0,
			  bo_wait(self->fd, bos[i].handle, VIRTGPU_WAIT_NOWAIT));
	}
	/* Another client does not wait either, before it uses the buffer. */
	other = named_client("render-other", 0);
	ASSERT_EQ(0, prime_import(other, dma_bufs[0], &shared));
	EXPECT_EQ(0, submit_bo(other, shared, NULL, 0));
	/* With the C driver the end of this one ends what came before, also of others. */
	if (self->render.rust)
		EXPECT_EQ(-EBUSY, bo_wait(other, shared, VIRTGPU_WAIT_NOWAIT));
	interrupt_in(0, false);
	ASSERT_EQ(0, device_ask(screen, "release"));
	for (i = 0; i < ARRAY_SIZE(bos); i++) {
		EXPECT_EQ(0, bo_wait(self->fd, bos[i].handle, 0));
		/* A thread that waits for a fence may be ahead of those whom it calls. */
		EXPECT_FALSE(is_used_after(dma_bufs[i], CALLBACK_MS));
		close(dma_bufs[i]);
	}
	close(other);
}

/* A transfer writes as well. */
TEST_F(sync, transfers)
{
	struct bo bo;
	int dma_buf, way;

	if (self->render.screen < 0)
		SKIP(return, NO_OWN_DEVICE);
	ASSERT_EQ(0, bo_create(self->fd, &bo, SIDE));
	dma_buf = prime_export(self->fd, bo.handle);
	for (way = 0; way < 2; way++) {
		ASSERT_EQ(0, bo_wait(self->fd, bo.handle, 0));
		ASSERT_EQ(0, device_ask(self->render.screen, "hold " CLIENT));
		ASSERT_EQ(0, bo_transfer(self->fd, bo.handle, SIDE, way));
		EXPECT_TRUE(is_written(dma_buf));
		ASSERT_EQ(0, device_ask(self->render.screen, "release"));
	}
	EXPECT_EQ(0, bo_wait(self->fd, bo.handle, 0));
	close(dma_buf);
}

/* The C driver refuses a buffer that is named twice. */
TEST_F(sync, a_buffer_twice)
{
	struct bo bo;
	__u32 handles[3];
	struct drm_virtgpu_execbuffer exec = {
		.bo_handles = pointer(handles),
		.num_bo_handles = ARRAY_SIZE(handles),
	};

	ASSERT_EQ(0, bo_create(self->fd, &bo, SIDE));
	handles[0] = bo.handle;
	handles[1] = bo.handle;
	handles[2] = bo.handle;
	EXPECT_EQ(self->render.rust ? 0 : -EALREADY, execbuffer(self->fd, &exec));
	EXPECT_EQ(0, bo_wait(self->fd, bo.handle, 0));
	bo_destroy(self->fd, &bo);
}

/* The fence of somebody else in a buffer is no reason to wait. */
TEST_F(sync, foreign_fence)
{
	struct sw_fence fence = { -1, -1 };
	struct bo bo;
	int dma_buf;

	REQUIRE(return, !access(SW_SYNC_FILE, W_OK), NO_SW_SYNC);
	ASSERT_EQ(0, bo_create(self->fd, &bo, SIDE));
	dma_buf = prime_export(self->fd, bo.handle);
	ASSERT_EQ(0, sw_fence_create(&fence));
	ASSERT_EQ(0, sw_fence_attach(&fence, dma_buf));
	interrupt_in(NSEC_PER_SEC, false);
	EXPECT_EQ(0, submit_bo(self->fd, bo.handle, NULL, 0));
	interrupt_in(0, false);
	EXPECT_TRUE(is_written(dma_buf));
	ASSERT_EQ(0, sw_fence_signal(&fence));
	EXPECT_EQ(0, bo_wait(self->fd, bo.handle, 0));
	sw_fence_close(&fence);
	close(dma_buf);
	bo_destroy(self->fd, &bo);
}

/* Fences of one timeline end in their order. */
TEST_F_TIMEOUT(sync, order, 60)
{
	const __s64 start = now_ns();
	int slow, next;

	if (self->render.screen < 0)
		SKIP(return, NO_OWN_DEVICE);
	slow = submit_fenced(self->fd, busy, ARRAY_SIZE(busy));
	next = submit_fenced(self->fd, NULL, 0);
	EXPECT_TRUE(wait_fence(next));
	EXPECT_LE(BUSY_MS * NSEC_PER_MSEC, now_ns() - start);
	EXPECT_TRUE(is_signaled_within(slow, 0));
	EXPECT_EQ(1, end_fence(slow));
	EXPECT_EQ(1, end_fence(next));
}

/* Each ring is a timeline, beside that of what is for no ring. */
TEST_F_TIMEOUT(sync, order_of_rings, 60)
{
	const int screen = self->render.screen;
	int none, first, second, third;

	if (!rings_are_timelines(screen, self->fd, CLIENT))
		SKIP(return, NO_RINGS);
	ASSERT_EQ(0, device_ask(screen, "hold " CLIENT));
	none = submit_fenced(self->fd, NULL, 0);
	first = submit_ring(self->fd, 1, NULL, 0);
	ASSERT_TRUE(device_wait(screen, "late", 2));
	ASSERT_EQ(0, device_ask(screen, "behave"));
	second = submit_ring(self->fd, 1, NULL, 0);
	third = submit_ring(self->fd, 2, NULL, 0);
	EXPECT_TRUE(wait_fence(third));
	EXPECT_FALSE(is_signaled_within(second, SHORT_MS));
	EXPECT_FALSE(is_signaled_within(first, 0));
	EXPECT_FALSE(is_signaled_within(none, 0));
	ASSERT_EQ(0, device_resume(screen));
	EXPECT_EQ(1, end_fence(none));
	EXPECT_EQ(1, end_fence(first));
	EXPECT_EQ(1, end_fence(second));
	EXPECT_EQ(1, end_fence(third));
}

TEST_HARNESS_MAIN
