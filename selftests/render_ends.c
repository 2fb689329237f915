// SPDX-License-Identifier: GPL-2.0
/*
 * How things of 3D end: clients that are killed, files that are closed while the host still
 * works for them, contexts that a reset has ended, and a device that is taken away.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include "counters.h"
#include "kernel_log.h"
#include "render_counts.h"
#include "tdr.h"

#define CLIENT		"render-ends"
#define HOLD		"hold " CLIENT
#define CLIENTS		32
#define ROUNDS		gpu_rounds(4, 100)
#define BUFFERS		4
/* Resets, and those that draw meanwhile. */
#define STORMS		gpu_rounds(20, 500)
#define STORM_CLIENTS	8
#define STORM_DELAY_MS	200
/* Longest after which clients are killed. */
#define LIFE_MS		300
#define SHORT_MS	200
/* Longer than until a device is reset that hangs. */
#define LEFT_NS		(8 * NSEC_PER_SEC)
/* More than a quarter of what clients may have in the device. */
#define LEFT_MANY	64

FIXTURE(ends)
{
	struct render render;
	struct gpu gpu;
	struct counts before;
};

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

/* Does all that a client does. Returns 0 or -errno. */
static int draw(int fd, unsigned int *seed)
{
	struct bo bos[BUFFERS] = {};
	unsigned int i;
	int ret = 0;

	for (i = 0; !ret && i < BUFFERS; i++)
		ret = bo_create(fd, &bos[i], SIDE);
	for (i = 0; !ret && i < BUFFERS; i++) {
		const __u32 words[] = { WORD_BUSY, rand_r(seed) % 8, WORD_FILL, bos[i].res, *seed };

		ret = submit_bo(fd, bos[i].handle, words, ARRAY_SIZE(words));
		if (!ret)
			ret = bo_transfer(fd, bos[i].handle, SIDE, *seed & 1);
		close(submit_ring(fd, i % 2, words, 2));
	}
	if (!ret && rand_r(seed) % 4 == 0)
		ret = bo_wait(fd, bos[0].handle, 0);
	for (i = 0; i < BUFFERS; i++) {
		if (bos[i].handle)
			bo_destroy(fd, &bos[i]);
	}
	return ret;
}

/* The same again and again; from the beginning, if that may be, when a reset has ended it. */
static void draw_for_ever(unsigned int seed, bool may_lose)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		int fd = named_client(CLIENT, 2);
		int ret = fd < 0 ? fd : 0;

		while (!ret)
			ret = draw(fd, &seed);
		if (ret != -EIO || !may_lose) {
			fprintf(stderr, "# a client: %s\n", strerror(-ret));
			_exit(1);
		}
		if (fd >= 0)
			close(fd);
	}
}

static pid_t start_drawing(unsigned int seed, bool may_lose)
{
	pid_t child = fork();

	if (!child)
		draw_for_ever(seed, may_lose);
	return child;
}

/* Clients are killed in the middle of what they do. Nothing of them stays. */
TEST_F_TIMEOUT(ends, killed, 900)
{
	pid_t children[CLIENTS];
	unsigned int round, i, seed = 1;
	int status;

	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < CLIENTS; i++)
			children[i] = start_drawing(round * CLIENTS + i, false);
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
	ASSERT_EQ(0, device_ask(self->render.screen, HOLD));
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
	ASSERT_EQ(0, device_ask(self->render.screen, HOLD));
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
	ASSERT_EQ(0, device_ask(self->render.screen, HOLD));
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

/* Waits until the driver has recovered once more. */
static bool recovers(const struct gpu *gpu, const struct watchdog *before)
{
	return !wait_for_recovery(gpu, before->recoveries) &&
	       read_watchdog(gpu).recoveries == before->recoveries + 1;
}

/* What a client is told whose context a reset has ended. */
static void is_lost(struct __test_metadata *_metadata, int fd, struct bo *bo)
{
	struct drm_virtgpu_resource_create create = picture_of(SIDE);
	struct drm_virtgpu_resource_info info;
	int value;

	EXPECT_EQ(-EIO, submit_words(fd, NULL, 0));
	EXPECT_EQ(-EIO, submit_bo(fd, bo->handle, NULL, 0));
	EXPECT_EQ(-EIO, bo_transfer(fd, bo->handle, SIDE, true));
	EXPECT_EQ(-EIO, resource_create(fd, &create));
	EXPECT_EQ(0, bo_wait(fd, bo->handle, 0));
	EXPECT_EQ(0, resource_info(fd, bo->handle, &info));
	EXPECT_EQ(0, get_param(fd, VIRTGPU_PARAM_3D_FEATURES, &value));
	memset(bo->map, 1, bo->size);
	bo_destroy(fd, bo);
}

/* A client that comes now does not notice. */
static void works(struct __test_metadata *_metadata)
{
	int fd = client_open();
	struct bo bo;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, bo_create(fd, &bo, SIDE));
	EXPECT_EQ(0, submit_bo(fd, bo.handle, NULL, 0));
	EXPECT_EQ(0, bo_transfer(fd, bo.handle, SIDE, true));
	EXPECT_EQ(0, bo_wait(fd, bo.handle, 0));
	EXPECT_EQ(1, end_fence(submit_fenced(fd, NULL, 0)));
	bo_destroy(fd, &bo);
	close(fd);
}

/* A reset ends the contexts of all clients; new ones work, and old ones say so. */
static void loses(struct __test_metadata *_metadata, const struct render *render,
		  const struct gpu *gpu, const char *at_once, const char *then)
{
	struct watchdog before;
	int fd, fence;
	struct bo bo;

	ASSERT_EQ(0, tdr_level(TDR_RECOVER));
	before = read_watchdog(gpu);
	fd = named_client(CLIENT, 0);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, bo_create(fd, &bo, SIDE));
	ASSERT_EQ(0, bo_wait(fd, bo.handle, 0));
	ASSERT_EQ(0, device_ask(render->screen, "%s", at_once));
	ASSERT_EQ(0, submit_bo(fd, bo.handle, NULL, 0));
	fence = submit_fenced(fd, NULL, 0);
	if (then)
		ASSERT_EQ(0, device_ask(render->screen, "%s", then));
	/* It may come after the reset, which the caller then is told. */
	if (then || fence >= 0) {
		EXPECT_TRUE(wait_fence(fence));
		EXPECT_EQ(-ECANCELED, fence_status(fence));
		close(fence);
	}
	EXPECT_TRUE(recovers(gpu, &before));
	is_lost(_metadata, fd, &bo);
	close(fd);
	ASSERT_EQ(0, device_resume(render->screen));
	works(_metadata);
	EXPECT_TRUE(render_wait(render->screen, "contexts", 0));
}

TEST_F_TIMEOUT(ends, reset, 120)
{
	if (!self->render.rust)
		SKIP(return, "the C driver does not recover");
	loses(_metadata, &self->render, &self->gpu, HOLD, "needs-reset");
	EXPECT_EQ(self->before.strays, render_count(self->render.screen, "strays"));
}

/* An answer that does not fit says that the device does not know what it does. */
TEST_F_TIMEOUT(ends, wrong_length, 120)
{
	if (!self->render.rust)
		SKIP(return, "the C driver does not recover");
	loses(_metadata, &self->render, &self->gpu, "wrong-length submit", NULL);
	EXPECT_EQ(self->before.strays, render_count(self->render.screen, "strays"));
}

/* A dumb buffer lives on: what another client draws there after a reset is there. */
TEST_F_TIMEOUT(ends, dumb_after_reset, 120)
{
	struct drm_mode_create_dumb create = { .width = SIDE, .height = SIDE, .bpp = 32 };
	__u32 words[] = { WORD_FILL, 0, 0x01020304 }, handle;
	const int card = node_open(false);
	struct drm_virtgpu_resource_info info;
	int dma_buf, fd;

	if (!self->render.rust)
		SKIP(return, "the C driver does not recover");
	ASSERT_EQ(0, gpu_ioctl(card, DRM_IOCTL_MODE_CREATE_DUMB, &create));
	ASSERT_EQ(0, resource_info(card, create.handle, &info));
	dma_buf = prime_export(card, create.handle);
	ASSERT_LE(0, dma_buf);
	loses(_metadata, &self->render, &self->gpu, HOLD, "needs-reset");
	fd = named_client(CLIENT, 0);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, prime_import(fd, dma_buf, &handle));
	EXPECT_EQ(0, submit_words(fd, NULL, 0));
	ASSERT_EQ(0, resource_info(fd, handle, &info));
	words[1] = info.res_handle;
	EXPECT_EQ(1, end_fence(submit_fenced(fd, words, ARRAY_SIZE(words))));
	close(fd);
	close(dma_buf);
	close(card);
}

static int get_caps(int fd, __u8 *bytes, __u32 size)
{
	struct drm_virtgpu_get_caps get = {
		.cap_set_id = capsets[0].id,
		.addr = pointer(bytes),
		.size = size,
	};

	return gpu_ioctl(fd, DRM_IOCTL_VIRTGPU_GET_CAPS, &get);
}

/* The same of an answer that somebody waits for. They get what is right, or nothing. */
TEST_F_TIMEOUT(ends, wrong_length_of_caps, 120)
{
	__u8 bytes[512] = {};
	struct watchdog before;
	unsigned int i, wrong = 0;
	int ret;

	if (!self->render.rust)
		SKIP(return, "the C driver does not recover");
	ASSERT_EQ(0, tdr_level(TDR_RECOVER));
	/* What the driver keeps is gone with it. */
	close(self->render.fd);
	ASSERT_EQ(0, gpu_rebind(&self->gpu));
	self->render.fd = client_open();
	before = read_watchdog(&self->gpu);
	ASSERT_EQ(0, device_ask(self->render.screen, "wrong-length capset"));
	ret = get_caps(self->render.fd, bytes, sizeof(bytes));
	for (i = 0; i < capsets[0].size; i++)
		wrong += bytes[i] != (ret ? 0 : capset_byte(capsets[0].id, 0, i));
	EXPECT_EQ(0, wrong) TH_LOG("%d", ret);
	EXPECT_TRUE(recovers(&self->gpu, &before));
	EXPECT_EQ(0, get_caps(self->render.fd, bytes, sizeof(bytes)));
	EXPECT_EQ(capset_byte(capsets[0].id, 0, 9), bytes[9]);
	works(_metadata);
}

/* Closes a file with work in the device, after a @request to that. Returns a fence or -errno. */
static int leave_work(const struct render *render, const char *request)
{
	const int fd = named_client(CLIENT, 0);
	int ret;

	if (fd < 0)
		return fd;
	ret = device_ask(render->screen, "%s", request);
	if (!ret)
		ret = submit_fenced(fd, NULL, 0);
	close(fd);
	return ret;
}

/* A device that never says that a context has ended is reset. */
TEST_F_TIMEOUT(ends, never_destroyed, 120)
{
	struct watchdog before;
	int fence;

	if (!self->render.rust)
		SKIP(return, "the C driver does not recover");
	ASSERT_EQ(0, tdr_level(TDR_RECOVER));
	before = read_watchdog(&self->gpu);
	fence = leave_work(&self->render, "never ctx-destroy");
	EXPECT_EQ(1, end_fence(fence));
	EXPECT_TRUE(recovers(&self->gpu, &before));
	ASSERT_EQ(0, device_resume(self->render.screen));
	works(_metadata);
}

/*
 * Nobody waits for what is left of a context that has ended. If files leave more than others
 * can spare the device is reset: it may never answer any of that.
 */
TEST_F_TIMEOUT(ends, left_behind, 240)
{
	struct watchdog before;
	unsigned int i;
	int fence;

	if (!self->render.rust)
		SKIP(return, "the C driver does not recover");
	ASSERT_EQ(0, tdr_level(TDR_RECOVER));
	before = read_watchdog(&self->gpu);
	fence = leave_work(&self->render, "keep " CLIENT);
	EXPECT_TRUE(is_signaled_within(fence, SHORT_MS));
	EXPECT_EQ(-ECANCELED, end_fence(fence));
	sleep_ns(LEFT_NS);
	works(_metadata);
	EXPECT_EQ(before.resets, read_watchdog(&self->gpu).resets);

	for (i = 1; i < LEFT_MANY; i++)
		EXPECT_EQ(-ECANCELED, end_fence(leave_work(&self->render, "keep " CLIENT)));
	EXPECT_TRUE(recovers(&self->gpu, &before));
	ASSERT_EQ(0, device_resume(self->render.screen));
	works(_metadata);
}

/* What a device does in a storm. */
static const char *const blows[] = { "needs-reset", "wrong-length submit", "stall submit",
				     "spoil to-host", "never ctx-destroy", HOLD " 100" };

/* Clients draw, are killed and come again, and the device is reset again and again. */
TEST_F_TIMEOUT(ends, storm, 1800)
{
	pid_t children[STORM_CLIENTS];
	struct watchdog before, after;
	unsigned int round, i, seed = 1;

	if (!self->render.rust)
		SKIP(return, "the C driver does not recover");
	ASSERT_EQ(0, tdr_level(TDR_RECOVER));
	ASSERT_EQ(0, tdr_set("limit_count", 0));
	ASSERT_EQ(0, tdr_set("delay_ms", STORM_DELAY_MS));
	before = read_watchdog(&self->gpu);
	for (i = 0; i < STORM_CLIENTS; i++)
		children[i] = start_drawing(i, true);
	for (round = 0; round < STORMS; round++) {
		const unsigned int blow = rand_r(&seed) % ARRAY_SIZE(blows);
		const unsigned int victim = rand_r(&seed) % STORM_CLIENTS;

		sleep_ns(rand_r(&seed) % LIFE_MS * NSEC_PER_MSEC);
		ASSERT_EQ(0, device_ask(self->render.screen, "%s", blows[blow]));
		sleep_ns(rand_r(&seed) % LIFE_MS * NSEC_PER_MSEC);
		EXPECT_LE(0, time_to_die(children[victim])) TH_LOG("after %s", blows[blow]);
		children[victim] = start_drawing(round, true);
		if (rand_r(&seed) % 2)
			ASSERT_EQ(0, device_resume(self->render.screen));
	}
	for (i = 0; i < STORM_CLIENTS; i++)
		EXPECT_LE(0, time_to_die(children[i]));
	ASSERT_EQ(0, device_resume(self->render.screen));
	EXPECT_TRUE(render_wait(self->render.screen, "contexts", 0));
	EXPECT_TRUE(device_wait(self->render.screen, "late", 0));
	EXPECT_TRUE(device_wait(self->render.screen, "resources", self->before.resources));
	EXPECT_EQ(self->before.strays, render_count(self->render.screen, "strays"));
	after = read_watchdog(&self->gpu);
	TH_LOG("%lld recoveries in %u rounds", after.recoveries - before.recoveries, STORMS);
	EXPECT_LT(0, after.recoveries - before.recoveries);
	works(_metadata);
	EXPECT_EQ(0, tdr_set("delay_ms", TDR_DELAY_MS));
	EXPECT_EQ(0, tdr_set("limit_count", TDR_LIMIT_COUNT));
}

TEST_HARNESS_MAIN
