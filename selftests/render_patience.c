// SPDX-License-Identifier: GPL-2.0
/*
 * What the watchdog does with work of 3D: what takes long is left alone, for as long as the
 * host answers, and a host that does not answer is reset. The guilty client is told so.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include "counters.h"
#include "render.h"
#include "tdr.h"

#define LONG		"render-long"
#define OTHER		"render-other"
/* How long work takes, and how much is submitted beside it. */
#define LONG_NS		(gpu_rounds(6, 600) * NSEC_PER_SEC)
#define BESIDE		gpu_rounds(300, 100000)
/* The watchdog asks after the delay, then after twice that, up to once a minute. */
#define PROBES		gpu_rounds(1, 8)
#define MOST_PROBES	gpu_rounds(4, 24)
/* A device hangs for twice the delay; ticks and a busy host make that longer. */
#define SHORTEST_NS	(7 * TDR_DELAY_MS / 4 * NSEC_PER_MSEC)
#define LONGEST_NS	(4 * TDR_DELAY_MS * NSEC_PER_MSEC)

FIXTURE(watchdog)
{
	struct render render;
	struct gpu gpu;
	struct watchdog before;
	int client, other;
};

FIXTURE_SETUP(watchdog)
{
	const char *reason = render_begin(&self->render, true);

	self->client = -1;
	self->other = -1;
	REQUIRE(return, !reason, reason);
	if (!self->render.rust)
		SKIP(return, "the C driver has no watchdog");
	ASSERT_TRUE(gpu_find(&self->gpu));
	ASSERT_EQ(0, tdr_level(TDR_RECOVER));
	self->client = named_client(LONG, 0);
	self->other = named_client(OTHER, 0);
	ASSERT_LE(0, self->client);
	ASSERT_LE(0, self->other);
	ASSERT_EQ(1, end_fence(submit_fenced(self->other, NULL, 0)));
	self->before = read_watchdog(&self->gpu);
	ASSERT_EQ(0, device_ask(self->render.screen, "hold " LONG));
}

FIXTURE_TEARDOWN(watchdog)
{
	int fd;

	EXPECT_EQ(0, device_resume(self->render.screen));
	close(self->client);
	close(self->other);
	fd = client_open();
	EXPECT_EQ(1, end_fence(submit_fenced(fd, NULL, 0)));
	close(fd);
	EXPECT_EQ(0, gpu_calm(self->render.fd));
	EXPECT_TRUE(device_is_sound(self->render.screen));
	render_end(&self->render);
}

/* Work that takes long, and @count submissions beside it: nobody is disturbed. */
static void takes_long(struct __test_metadata *_metadata, const struct render *render,
		       const struct gpu *gpu, const struct watchdog *before, int client,
		       int other, unsigned int count)
{
	const __s64 asked = device_count(render->screen, "display-info");
	const __s64 end = now_ns() + LONG_NS;
	struct watchdog after;
	unsigned int i;
	__s64 probes;
	int fence;

	fence = submit_fenced(client, NULL, 0);
	ASSERT_LE(0, fence);
	for (i = 0; i < count; i++)
		ASSERT_EQ(1, end_fence(submit_fenced(other, NULL, 0))) TH_LOG("submission %u", i);
	while (now_ns() < end)
		sleep_ns(NSEC_PER_SEC / 4);
	probes = device_count(render->screen, "display-info") - asked;
	after = read_watchdog(gpu);
	TH_LOG("%u submissions, %lld probes", count, probes);
	EXPECT_EQ(0, fence_status(fence));
	EXPECT_LE(PROBES, probes);
	EXPECT_GE(MOST_PROBES, probes);
	EXPECT_EQ(before->stalls, after.stalls);
	EXPECT_EQ(before->resets, after.resets);
	EXPECT_EQ(before->recoveries, after.recoveries);
	ASSERT_EQ(0, device_ask(render->screen, "release"));
	EXPECT_EQ(1, end_fence(fence));
}

TEST_F_TIMEOUT(watchdog, long_alone, 900)
{
	takes_long(_metadata, &self->render, &self->gpu, &self->before, self->client,
		   self->other, 0);
}

TEST_F_TIMEOUT(watchdog, long_beside_others, 1800)
{
	takes_long(_metadata, &self->render, &self->gpu, &self->before, self->client,
		   self->other, BESIDE);
}

/* Returns after how long the device was reset, or -errno. */
static __s64 time_to_reset(const struct gpu *gpu, const struct watchdog *before, __s64 start)
{
	do {
		if (read_watchdog(gpu).recoveries > before->recoveries)
			return now_ns() - start;
		sleep_ns(20 * NSEC_PER_MSEC);
	} while (now_ns() - start < GPU_PATIENCE_NS);
	return -ETIMEDOUT;
}

/* The host takes a stream and answers nothing more. Whose that is, is guilty. */
TEST_F_TIMEOUT(watchdog, deaf_at_a_stream, 120)
{
	int waits = submit_fenced(self->client, NULL, 0), fd;
	__s64 start, took;

	ASSERT_LE(0, waits);
	/* Answered after it: the older work is not what the host hangs at. */
	ASSERT_EQ(1, end_fence(submit_fenced(self->other, NULL, 0)));
	ASSERT_EQ(0, device_ask(self->render.screen, "stall submit"));
	start = now_ns();
	ASSERT_EQ(0, submit_words(self->other, NULL, 0));
	took = time_to_reset(&self->gpu, &self->before, start);
	TH_LOG("reset after %lld ms", took / NSEC_PER_MSEC);
	EXPECT_LE(SHORTEST_NS, took);
	EXPECT_GE(LONGEST_NS, took);
	EXPECT_EQ(-ECANCELED, end_fence(waits));
	EXPECT_EQ(-EIO, submit_words(self->other, NULL, 0));
	ASSERT_EQ(0, device_resume(self->render.screen));
	/* A file that is guilty stays so, and others come back. */
	EXPECT_EQ(-EIO, submit_words(self->other, NULL, 0));
	fd = client_open();
	EXPECT_EQ(1, end_fence(submit_fenced(fd, NULL, 0)));
	close(fd);
}

/* The host does not answer a question of the driver: nobody is guilty. */
TEST_F_TIMEOUT(watchdog, deaf_at_a_probe, 120)
{
	__s64 start, took;
	int fence;

	ASSERT_EQ(0, device_ask(self->render.screen, "stall display-info"));
	start = now_ns();
	fence = submit_fenced(self->client, NULL, 0);
	ASSERT_LE(0, fence);
	took = time_to_reset(&self->gpu, &self->before, start);
	TH_LOG("reset after %lld ms", took / NSEC_PER_MSEC);
	/* The delay until the probe comes on top. */
	EXPECT_LE(SHORTEST_NS + TDR_DELAY_MS * NSEC_PER_MSEC, took);
	EXPECT_GE(LONGEST_NS + TDR_DELAY_MS * NSEC_PER_MSEC, took);
	EXPECT_EQ(-ECANCELED, end_fence(fence));
	EXPECT_EQ(-EIO, submit_words(self->client, NULL, 0));
}

TEST_HARNESS_MAIN
