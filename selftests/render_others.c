// SPDX-License-Identifier: GPL-2.0
/*
 * What one client of 3D does to another one, and to the screen: nothing. Its work may not
 * end, fail, or be answered in the wrong way. The C driver has one timeline for all
 * clients, and is not tested here.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include "counters.h"
#include "display_kms.h"
#include "render.h"

#define STUCK		"render-stuck"
#define SAMPLES		200
#define FLIPS		gpu_rounds(120, 600)
#define TURNS		2
/* So many vblanks may be missed more: the quick runs have other guests beside them. */
#define MISSED		gpu_rounds(20, 2)
/* How many times as long another client may take. */
#define SLOWER		2
#define DEATH_NS	NSEC_PER_SEC
/* Longer than the device takes for what it does not hold. */
#define SHORT_MS	200
#define LATE_MS		1000
#define FENCES		8
#define MAX_FENCES	1024
/* The errno of a stream that the host has refused. */
#define REFUSED		(-ENODATA)

static const __u32 fails[] = { WORD_FAIL, 0x1205 };

FIXTURE(others)
{
	struct render render;
	struct gpu gpu;
	struct watchdog before;
	int client, other;
};

FIXTURE_SETUP(others)
{
	const char *reason = render_begin(&self->render, true);

	self->client = -1;
	self->other = -1;
	REQUIRE(return, !reason, reason);
	if (!self->render.rust)
		SKIP(return, "the clients of the C driver share a timeline");
	ASSERT_TRUE(gpu_find(&self->gpu));
	self->client = named_client(STUCK, 2);
	self->other = client_open();
	ASSERT_LE(0, self->client);
	ASSERT_EQ(1, end_fence(submit_fenced(self->other, NULL, 0)));
	self->before = read_watchdog(&self->gpu);
}

FIXTURE_TEARDOWN(others)
{
	struct watchdog after;

	EXPECT_EQ(0, device_resume(self->render.screen));
	close(self->client);
	EXPECT_EQ(1, end_fence(submit_fenced(self->other, NULL, 0)));
	close(self->other);
	EXPECT_EQ(0, gpu_calm(self->render.fd));
	EXPECT_TRUE(device_is_sound(self->render.screen));
	/* No client does anything for which the device would be reset. */
	after = read_watchdog(&self->gpu);
	EXPECT_EQ(self->before.stalls, after.stalls);
	EXPECT_EQ(self->before.recoveries, after.recoveries);
	render_end(&self->render);
}

/* The median of the times of a submission and its fence, or -errno. */
static __s64 round_trip(int fd)
{
	__s64 times[SAMPLES], start;
	unsigned int i;
	int status;

	for (i = 0; i < SAMPLES; i++) {
		start = now_ns();
		status = end_fence(submit_fenced(fd, NULL, 0));
		if (status != 1)
			return status ? status : -EIO;
		times[i] = now_ns() - start;
	}
	qsort(times, SAMPLES, sizeof(*times), compare_times);
	return times[SAMPLES / 2];
}

/* Flips. Returns how many vblanks were missed, or -errno. */
static int flips(const struct display *display, const struct frame *frames)
{
	struct drm_event_vblank event;
	unsigned int i, missed = 0;
	__u32 last = 0;

	for (i = 0; i <= FLIPS; i++) {
		int ret = flip_and_wait(display, frames[i % 2].fb, 0, &event);

		if (ret)
			return ret;
		if (i)
			missed += event.sequence - last - 1;
		last = event.sequence;
	}
	return missed;
}

/* A process whose work never ends: it submits until it has to wait, or waits at once. */
static pid_t stuck_process(bool fills)
{
	pid_t child = fork();

	if (!child) {
		int fd = named_client(STUCK, 0);
		struct bo bo;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fd < 0 || bo_create(fd, &bo, SIDE))
			_exit(1);
		do {
			if (submit_bo(fd, bo.handle, NULL, 0))
				_exit(2);
		} while (fills);
		for (;;)
			bo_wait(fd, bo.handle, 0);
	}
	return child;
}

/* Whether the device has something that it holds, or gets it. */
static bool is_late(int screen)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;

	while (device_state(screen, "late") <= 0) {
		if (now_ns() > end)
			return false;
		sleep_ns(10 * NSEC_PER_MSEC);
	}
	return true;
}

/*
 * With work that never ends, and without, in turns. The best turn counts: in the others the
 * host had something else to do.
 */
static void beside(struct __test_metadata *_metadata, const struct render *render, int other,
		   bool fills)
{
	__s64 without, with, part, best = INT64_MAX, time, death = 0;
	int missed, missed_without = 0, missed_with = 0;
	struct frame frames[2];
	struct display display;
	unsigned int i, turn;
	pid_t child;

	ASSERT_EQ(NULL, display_open(&display));
	for (i = 0; i < ARRAY_SIZE(frames); i++)
		ASSERT_EQ(0, frame_create(display.fd, &frames[i], display.mode.hdisplay,
					  display.mode.vdisplay));
	ASSERT_EQ(0, set_crtc(&display, frames[0].fb, &display.mode, 0, 0));
	for (turn = 0; turn < TURNS; turn++) {
		without = round_trip(other);
		ASSERT_LT(0, without);
		missed = flips(&display, frames);
		ASSERT_LE(0, missed);
		missed_without += missed;

		ASSERT_EQ(0, device_ask(render->screen, "hold " STUCK));
		child = stuck_process(fills);
		ASSERT_LT(0, child);
		/* By then it has filled its places, and waits. */
		sleep_ns(LATE_MS * NSEC_PER_MSEC);
		EXPECT_TRUE(is_late(render->screen));
		with = round_trip(other);
		EXPECT_LT(0, with);
		part = 100 * with / without;
		best = part < best ? part : best;
		TH_LOG("submit and wait: %lld us without, %lld us with", without / NSEC_PER_USEC,
		       with / NSEC_PER_USEC);
		missed = flips(&display, frames);
		EXPECT_LE(0, missed);
		missed_with += missed;
		time = time_to_die(child);
		EXPECT_LE(0, time);
		death = larger(death, time);
		EXPECT_TRUE(device_wait(render->screen, "late", 0));
		ASSERT_EQ(0, device_resume(render->screen));
	}
	TH_LOG("%d of %u vblanks missed without, %d with; dead after %lld us", missed_without,
	       TURNS * FLIPS, missed_with, death / NSEC_PER_USEC);
	/* A slow kernel has no time for both. */
	if (!kernel_is_slow()) {
		EXPECT_GE(100 * SLOWER, best);
		EXPECT_LE(missed_with, 2 * missed_without + MISSED * TURNS * FLIPS / 600 + 1);
	}
	EXPECT_GE(DEATH_NS, death);
	for (i = 0; i < ARRAY_SIZE(frames); i++)
		frame_destroy(display.fd, &frames[i]);
	close(display.fd);
}

TEST_F_TIMEOUT(others, client_that_waits, 300)
{
	beside(_metadata, &self->render, self->other, false);
}

TEST_F_TIMEOUT(others, client_that_fills, 300)
{
	beside(_metadata, &self->render, self->other, true);
}

/* A stream that fails does so alone, though the host answers it before older ones. */
TEST_F_TIMEOUT(others, error, 60)
{
	int first, failed, last, other;

	ASSERT_EQ(0, device_ask(self->render.screen, "hold " STUCK));
	first = submit_fenced(self->client, NULL, 0);
	failed = submit_fenced(self->client, fails, ARRAY_SIZE(fails));
	last = submit_fenced(self->client, NULL, 0);
	other = submit_fenced(self->other, NULL, 0);
	EXPECT_EQ(1, end_fence(other));
	sleep_ns(SHORT_MS * NSEC_PER_MSEC);
	EXPECT_EQ(0, fence_status(first));
	EXPECT_EQ(0, fence_status(failed));
	EXPECT_EQ(0, fence_status(last));
	ASSERT_EQ(0, device_ask(self->render.screen, "release"));
	EXPECT_EQ(1, end_fence(first));
	EXPECT_EQ(REFUSED, end_fence(failed));
	EXPECT_EQ(1, end_fence(last));
	/* The client goes on. */
	EXPECT_EQ(1, end_fence(submit_fenced(self->client, NULL, 0)));
}

/* A buffer of a stream that fails is free afterwards; waiting for it is no error. */
TEST_F_TIMEOUT(others, error_with_buffer, 60)
{
	struct bo bo;

	ASSERT_EQ(0, bo_create(self->client, &bo, SIDE));
	ASSERT_EQ(0, submit_bo(self->client, bo.handle, fails, ARRAY_SIZE(fails)));
	EXPECT_EQ(0, bo_wait(self->client, bo.handle, 0));
	EXPECT_EQ(0, submit_bo(self->client, bo.handle, NULL, 0));
	EXPECT_EQ(0, bo_wait(self->client, bo.handle, 0));
	bo_destroy(self->client, &bo);
}

/* What is answered too early is held back: the fences of a timeline end in their order. */
TEST_F_TIMEOUT(others, early_answers, 60)
{
	int fences[FENCES], i, other;

	ASSERT_EQ(0, device_ask(self->render.screen, "never submit"));
	fences[0] = submit_fenced(self->client, NULL, 0);
	ASSERT_TRUE(device_wait(self->render.screen, "late", 1));
	ASSERT_EQ(0, device_ask(self->render.screen, "behave"));
	for (i = 1; i < FENCES; i++)
		fences[i] = submit_fenced(self->client, NULL, 0);
	other = submit_fenced(self->other, NULL, 0);
	EXPECT_EQ(1, end_fence(other));
	EXPECT_FALSE(is_signaled_within(fences[FENCES - 1], SHORT_MS));
	EXPECT_FALSE(is_signaled_within(fences[0], 0));
	ASSERT_EQ(0, device_resume(self->render.screen));
	EXPECT_TRUE(wait_fence(fences[FENCES - 1]));
	for (i = 0; i < FENCES; i++) {
		EXPECT_TRUE(is_signaled_within(fences[i], 0));
		EXPECT_EQ(1, end_fence(fences[i]));
	}
}

TEST_F_TIMEOUT(others, answers_backwards, 60)
{
	int fences[FENCES], i;

	ASSERT_EQ(0, device_ask(self->render.screen, "hold " STUCK));
	for (i = 0; i < FENCES; i++)
		fences[i] = submit_fenced(self->client, NULL, 0);
	ASSERT_TRUE(device_wait(self->render.screen, "late", FENCES));
	ASSERT_EQ(0, device_ask(self->render.screen, "release-backwards"));
	for (i = 0; i < FENCES; i++)
		EXPECT_EQ(1, end_fence(fences[i]));
}

/* An answer belongs to the command that it answers, whatever fence or context it names. */
TEST_F_TIMEOUT(others, wrong_names, 60)
{
	static const char *const lies[] = { "wrong-fence submit", "wrong-context submit" };
	int first, second;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lies); i++) {
		ASSERT_EQ(0, device_ask(self->render.screen, "%s", lies[i]));
		ASSERT_EQ(0, device_ask(self->render.screen, "hold " STUCK));
		first = submit_fenced(self->other, NULL, 0);
		second = submit_fenced(self->client, NULL, 0);
		EXPECT_EQ(1, end_fence(first)) TH_LOG("%s", lies[i]);
		EXPECT_FALSE(is_signaled_within(second, SHORT_MS)) TH_LOG("%s", lies[i]);
		ASSERT_EQ(0, device_resume(self->render.screen));
		EXPECT_EQ(1, end_fence(second)) TH_LOG("%s", lies[i]);
	}
}

/* A client has so many places. It waits for one more, and a signal ends that. */
TEST_F_TIMEOUT(others, places, 60)
{
	static int fences[MAX_FENCES];
	unsigned int i, count = 0;
	int fence;

	ASSERT_EQ(0, device_ask(self->render.screen, "hold " STUCK));
	do {
		interrupt_in(2 * NSEC_PER_SEC, false);
		fence = submit_fenced(self->client, NULL, 0);
		if (fence >= 0)
			fences[count++] = fence;
	} while (fence >= 0 && count < MAX_FENCES);
	TH_LOG("%u fences, then %d", count, fence);
	EXPECT_EQ(-EINTR, fence);
	EXPECT_LE(64, count);
	ASSERT_EQ(0, device_ask(self->render.screen, "release"));
	for (i = 0; i < count; i++)
		EXPECT_EQ(1, end_fence(fences[i]));
	EXPECT_EQ(1, end_fence(submit_fenced(self->client, NULL, 0)));
}

TEST_HARNESS_MAIN
