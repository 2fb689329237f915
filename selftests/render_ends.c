// SPDX-License-Identifier: GPL-2.0
/*
 * How things of 3D end: clients that are killed, files that are closed while the host still
 * works for them, contexts that a reset has ended, and a device that is taken away.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include "counters.h"
#include "kernel_log.h"
#include "render.h"
#include "tdr.h"

#define CLIENT		"render-ends"
#define CLIENTS		32
#define ROUNDS		gpu_rounds(4, 100)
#define BUFFERS		4
/* Longest after which clients are killed. */
#define LIFE_MS		300
#define SHORT_MS	200

/* What the device has, and has had. */
struct counts {
	__s64 contexts, made, ended, in_contexts, attached, detached, resources, backings, strays;
};

FIXTURE(ends)
{
	struct render render;
	struct gpu gpu;
	struct counts before;
};

static struct counts read_counts(int screen)
{
	return (struct counts){
		.contexts = render_count(screen, "contexts"),
		.made = render_count(screen, "contexts-made"),
		.ended = render_count(screen, "contexts-destroyed") +
			 render_count(screen, "contexts-lost"),
		.in_contexts = render_count(screen, "in-contexts"),
		.attached = render_count(screen, "attached"),
		.detached = render_count(screen, "detached"),
		.resources = device_state(screen, "resources"),
		.backings = device_state(screen, "attached"),
		.strays = render_count(screen, "strays"),
	};
}

FIXTURE_SETUP(ends)
{
	const char *reason = render_begin(&self->render, true);

	REQUIRE(return, !reason, reason);
	if (self->render.rust)
		ASSERT_TRUE(gpu_find(&self->gpu));
	self->before = read_counts(self->render.screen);
}

FIXTURE_TEARDOWN(ends)
{
	EXPECT_EQ(0, device_resume(self->render.screen));
	EXPECT_TRUE(!self->render.rust || device_is_sound(self->render.screen));
	render_end(&self->render);
}

/* Waits until the device has as much as before. */
static void is_as_before(struct __test_metadata *_metadata, int screen,
			 const struct counts *before)
{
	struct counts after;

	EXPECT_TRUE(render_wait(screen, "contexts", before->contexts));
	EXPECT_TRUE(device_wait(screen, "resources", before->resources));
	EXPECT_TRUE(device_wait(screen, "late", 0));
	after = read_counts(screen);
	EXPECT_EQ(after.made - before->made, after.ended - before->ended);
	EXPECT_EQ(after.attached - before->attached, after.detached - before->detached);
	EXPECT_EQ(before->in_contexts, after.in_contexts);
	EXPECT_EQ(before->backings, after.backings);
	EXPECT_EQ(before->strays, after.strays);
}

/* Does all that a client does, again and again. */
static void draw_for_ever(unsigned int seed)
{
	int fd = named_client(CLIENT, 2);
	struct bo bos[BUFFERS];
	unsigned int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		for (i = 0; i < BUFFERS; i++) {
			if (bo_create(fd, &bos[i], SIDE))
				_exit(1);
		}
		for (i = 0; i < BUFFERS; i++) {
			const __u32 words[] = { WORD_BUSY, rand_r(&seed) % 8, WORD_FILL,
						bos[i].res, seed };

			if (submit_bo(fd, bos[i].handle, words, ARRAY_SIZE(words)) ||
			    bo_transfer(fd, bos[i].handle, SIDE, seed & 1))
				_exit(2);
			close(submit_ring(fd, i % 2, words, 2));
		}
		if (rand_r(&seed) % 4 == 0 && bo_wait(fd, bos[0].handle, 0))
			_exit(3);
		for (i = 0; i < BUFFERS; i++)
			bo_destroy(fd, &bos[i]);
	}
}

/* Clients are killed in the middle of what they do. Nothing of them stays. */
TEST_F_TIMEOUT(ends, killed, 900)
{
	pid_t children[CLIENTS];
	unsigned int round, i, seed = 1;
	int status;

	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < CLIENTS; i++) {
			children[i] = fork();
			if (!children[i])
				draw_for_ever(round * CLIENTS + i);
		}
		sleep_ns((1 + rand_r(&seed) % LIFE_MS) * NSEC_PER_MSEC);
		for (i = 0; i < CLIENTS; i++)
			kill(children[i], SIGKILL);
		for (i = 0; i < CLIENTS; i++) {
			ASSERT_EQ(children[i], waitpid(children[i], &status, 0));
			EXPECT_TRUE(WIFSIGNALED(status)) TH_LOG("status %#x", status);
		}
	}
	TH_LOG("%lld contexts, %lld submissions", read_counts(self->render.screen).made,
	       render_count(self->render.screen, "submissions"));
	is_as_before(_metadata, self->render.screen, &self->before);
}

/* A file goes while the host works for it. Its fence ends, and all that it had. */
TEST_F_TIMEOUT(ends, closed, 120)
{
	int fd = named_client(CLIENT, 1), fence, ring, dma_buf;
	struct pollfd poll_buffer = { .events = POLLOUT };
	struct bo bo;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, bo_create(fd, &bo, SIDE));
	ASSERT_EQ(0, device_ask(self->render.screen, "hold " CLIENT));
	ASSERT_EQ(0, submit_bo(fd, bo.handle, NULL, 0));
	fence = submit_fenced(fd, NULL, 0);
	ring = submit_ring(fd, 0, NULL, 0);
	dma_buf = prime_export(fd, bo.handle);
	munmap(bo.map, bo.size);
	EXPECT_FALSE(is_signaled_within(fence, SHORT_MS));
	close(fd);
	/* The host is done with a context that has ended. */
	EXPECT_TRUE(wait_fence(fence));
	EXPECT_TRUE(wait_fence(ring));
	poll_buffer.fd = dma_buf;
	EXPECT_EQ(1, poll(&poll_buffer, 1, GPU_PATIENCE_NS / NSEC_PER_MSEC));
	close(fence);
	close(ring);
	close(dma_buf);
	is_as_before(_metadata, self->render.screen, &self->before);
}

/* The buffer that is in use goes before its fence has ended. */
TEST_F_TIMEOUT(ends, buffer_in_use, 120)
{
	int fd = named_client(CLIENT, 0);
	struct bo bo;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, bo_create(fd, &bo, SIDE));
	ASSERT_EQ(0, bo_wait(fd, bo.handle, 0));
	ASSERT_EQ(0, device_ask(self->render.screen, "hold " CLIENT));
	ASSERT_EQ(0, submit_bo(fd, bo.handle, NULL, 0));
	bo_destroy(fd, &bo);
	sleep_ns(SHORT_MS * NSEC_PER_MSEC);
	ASSERT_EQ(0, device_ask(self->render.screen, "release"));
	EXPECT_TRUE(device_wait(self->render.screen, "resources", self->before.resources));
	close(fd);
	is_as_before(_metadata, self->render.screen, &self->before);
}

/* The device is taken away: what waits for it ends with an error, and the files are dead. */
TEST_F_TIMEOUT(ends, unbound, 120)
{
	struct drm_virtgpu_resource_create create = picture_of(SIDE);
	int fd, fence;
	struct bo bo;

	if (!self->render.rust)
		SKIP(return, "another driver");
	fd = named_client(CLIENT, 0);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, bo_create(fd, &bo, SIDE));
	ASSERT_EQ(0, device_ask(self->render.screen, "hold " CLIENT));
	ASSERT_EQ(0, submit_bo(fd, bo.handle, NULL, 0));
	fence = submit_fenced(fd, NULL, 0);
	close(self->render.fd);
	self->render.fd = -1;
	ASSERT_EQ(0, gpu_unbind(&self->gpu));
	EXPECT_TRUE(wait_fence(fence));
	EXPECT_GT(0, fence_status(fence));
	EXPECT_EQ(-ENODEV, submit_words(fd, NULL, 0));
	EXPECT_EQ(-ENODEV, bo_wait(fd, bo.handle, 0));
	EXPECT_EQ(-ENODEV, resource_create(fd, &create));
	EXPECT_EQ(0, render_count(self->render.screen, "contexts"));
	ASSERT_EQ(0, device_resume(self->render.screen));
	ASSERT_EQ(0, gpu_bind(&self->gpu));
	close(fence);
	munmap(bo.map, bo.size);
	close(fd);
	fd = client_open();
	EXPECT_EQ(1, end_fence(submit_fenced(fd, NULL, 0)));
	close(fd);
}

/* A reset ends the contexts of all clients; new ones work, and old ones say so. */
TEST_F_TIMEOUT(ends, reset, 120)
{
	struct drm_virtgpu_resource_create create = picture_of(SIDE);
	struct drm_virtgpu_resource_info info;
	struct watchdog before, after;
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	int fd, fence, value;
	struct bo bo;

	if (!self->render.rust)
		SKIP(return, "the C driver does not recover");
	ASSERT_EQ(0, tdr_level(TDR_RECOVER));
	before = read_watchdog(&self->gpu);
	fd = named_client(CLIENT, 0);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, bo_create(fd, &bo, SIDE));
	ASSERT_EQ(0, device_ask(self->render.screen, "hold " CLIENT));
	ASSERT_EQ(0, submit_bo(fd, bo.handle, NULL, 0));
	fence = submit_fenced(fd, NULL, 0);
	ASSERT_EQ(0, device_ask(self->render.screen, "needs-reset"));
	EXPECT_TRUE(wait_fence(fence));
	EXPECT_EQ(-ECANCELED, fence_status(fence));
	do {
		sleep_ns(50 * NSEC_PER_MSEC);
		after = read_watchdog(&self->gpu);
	} while (after.recoveries == before.recoveries && now_ns() < end);
	EXPECT_EQ(before.recoveries + 1, after.recoveries);

	EXPECT_EQ(-EIO, submit_words(fd, NULL, 0));
	EXPECT_EQ(-EIO, submit_bo(fd, bo.handle, NULL, 0));
	EXPECT_EQ(-EIO, bo_transfer(fd, bo.handle, SIDE, true));
	EXPECT_EQ(-EIO, resource_create(fd, &create));
	EXPECT_EQ(0, bo_wait(fd, bo.handle, 0));
	EXPECT_EQ(0, resource_info(fd, bo.handle, &info));
	EXPECT_EQ(0, get_param(fd, VIRTGPU_PARAM_3D_FEATURES, &value));
	memset(bo.map, 1, bo.size);
	bo_destroy(fd, &bo);
	close(fence);
	close(fd);

	fd = client_open();
	ASSERT_EQ(0, bo_create(fd, &bo, SIDE));
	EXPECT_EQ(0, submit_bo(fd, bo.handle, NULL, 0));
	EXPECT_EQ(0, bo_wait(fd, bo.handle, 0));
	bo_destroy(fd, &bo);
	close(fd);
	EXPECT_TRUE(render_wait(self->render.screen, "contexts", 0));
	EXPECT_EQ(self->before.strays, render_count(self->render.screen, "strays"));
}

/*
 * What is left of a context must end soon when that was destroyed, which must be answered
 * soon as well: a device that does not is reset.
 */
TEST_F_TIMEOUT(ends, never, 300)
{
	static const char *const ways[] = { "never ctx-destroy", "keep " CLIENT };
	struct watchdog before, after;
	unsigned int i;
	__s64 end;
	int fd, fence;

	if (!self->render.rust)
		SKIP(return, "the C driver does not recover");
	ASSERT_EQ(0, tdr_level(TDR_RECOVER));
	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		before = read_watchdog(&self->gpu);
		fd = named_client(CLIENT, 0);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, device_ask(self->render.screen, "%s", ways[i]));
		fence = submit_fenced(fd, NULL, 0);
		close(fd);
		EXPECT_TRUE(wait_fence(fence)) TH_LOG("%s", ways[i]);
		close(fence);
		end = now_ns() + GPU_PATIENCE_NS;
		do {
			sleep_ns(50 * NSEC_PER_MSEC);
			after = read_watchdog(&self->gpu);
		} while (after.recoveries == before.recoveries && now_ns() < end);
		EXPECT_EQ(before.recoveries + 1, after.recoveries) TH_LOG("%s", ways[i]);
		ASSERT_EQ(0, device_resume(self->render.screen));
		fd = client_open();
		EXPECT_EQ(1, end_fence(submit_fenced(fd, NULL, 0))) TH_LOG("%s", ways[i]);
		close(fd);
	}
}

TEST_HARNESS_MAIN
