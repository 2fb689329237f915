// SPDX-License-Identifier: GPL-2.0
/*
 * A device hangs, breaks, or is reset by somebody else: the driver resets it, and the screen
 * shows what it should, also if nobody draws any more. Clients notice nothing. A device that
 * is only slow is left alone.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include "recover.h"

#define ROUNDS		gpu_rounds(10, 1000)
#define RESTORES	gpu_rounds(5, 100)
/*
 * From the moment at which the device hangs: half of the times, and the longest. A kernel
 * that looks for bugs is so many times slower.
 */
#define MEDIAN_NS	(2 * DELAY_MS * NSEC_PER_MSEC + 600 * NSEC_PER_MSEC)
#define LONGEST_NS	(5 * NSEC_PER_SEC)
/* A device that asks for a reset is reset after less than that: it need not be found out. */
#define AT_ONCE_NS	NSEC_PER_SEC
#define RESETS_OF_PACKETS	4
#define FLIPS		gpu_rounds(200, 2000)
#define FLIPS_BETWEEN	50
#define SLOW_MS		1500
#define SLOW_NS		(gpu_rounds(20, 60) * NSEC_PER_SEC)

static const struct command {
	const char *type;
	/* What provokes it, without a wait for the device. */
	enum { BY_IMAGE, BY_FLIP, BY_MOVE, BY_PACKET } provoked;
} commands[] = {
	{ "create", BY_FLIP },
	{ "create", BY_IMAGE },
	{ "attach", BY_FLIP },
	{ "attach", BY_IMAGE },
	{ "transfer", BY_FLIP },
	{ "transfer", BY_IMAGE },
	{ "scanout", BY_FLIP },
	{ "flush", BY_FLIP },
	{ "update-cursor", BY_IMAGE },
	{ "move-cursor", BY_MOVE },
	{ "display-info", BY_PACKET },
};

/* Provokes a command. Returns 0 or -errno. */
static int provoke(const struct command *command, const char *gpu)
{
	const struct display *display = &scene.display;
	__u64 fence;
	int ret, render;

	switch (command->provoked) {
	case BY_IMAGE:
		return show_image();
	case BY_FLIP:
		ret = draw_new();
		return ret ? ret : page_flip(display, frames[frame_shown].fb,
					     DRM_MODE_PAGE_FLIP_EVENT, 0);
	case BY_MOVE:
		seed++;
		return cursor_set(display, DRM_MODE_CURSOR_MOVE, 0, seed % 600, seed % 400);
	default:
		/* It hangs with the packet of this file, which is not good for more then. */
		render = open(gpu, O_RDWR | O_CLOEXEC);
		ret = render < 0 ? -errno : gpu_submit(render, RUST_GPU_NODE_CONTROL, 1, 0, &fence);
		close(render);
		return ret == 1 ? 0 : ret < 0 ? ret : -EIO;
	}
}

/*
 * The device hangs at a command. The last commit comes then: a small one, or the flip at
 * which it hangs. Returns how long it took until that was on the screen, in ns, or -errno.
 */
static __s64 hang_once(const struct command *command, const char *gpu)
{
	const __s64 resets = device_state(scene.screen, "resets");
	struct drm_event_vblank event;
	__s64 begin, late;
	int ret = device_resume(scene.screen);

	if (!ret)
		ret = device_ask(scene.screen, "hang %s", command->type);
	begin = now_ns();
	if (!ret)
		ret = provoke(command, gpu);
	if (!ret && !device_wait(scene.screen, "fired", 1))
		ret = -ETIMEDOUT;
	late = device_state(scene.screen, "resets") - resets;
	if (!ret && command->provoked == BY_FLIP)
		ret = wait_event(scene.display.fd, &event);
	else if (!ret)
		ret = draw_small();
	if (ret)
		return ret;
	/* If the cursor hangs the screen is right until the device is reset. */
	if (wait_for_reset(resets) < 0)
		return -ETIMEDOUT;
	if (late)
		fprintf(stderr, "# %s: reset before the last commit\n", command->type);
	if (!is_right())
		return -ENODATA;
	return device_state(scene.screen, "resets") == resets + 1 ? now_ns() - begin : -EPROTO;
}

/* The device hangs at a random command, again and again. Nobody draws afterwards. */
TEST_F_TIMEOUT(recover, comes_back, 3000)
{
	__s64 *times = calloc(ROUNDS, sizeof(*times));
	const int slower = kernel_is_slow() ? SLOWER : 1;
	unsigned int i;

	ASSERT_NE(NULL, times);
	for (i = 0; i < ROUNDS; i++) {
		const struct command *command = &commands[rand() % ARRAY_SIZE(commands)];

		times[i] = hang_once(command, self->state.gpu.render);
		ASSERT_LT(0, times[i]) TH_LOG("round %u, %s", i, command->type);
	}
	qsort(times, ROUNDS, sizeof(*times), compare_times);
	TH_LOG("%u resets: median %lld ms, longest %lld ms", ROUNDS,
	       times[ROUNDS / 2] / NSEC_PER_MSEC, times[ROUNDS - 1] / NSEC_PER_MSEC);
	EXPECT_LE(times[ROUNDS / 2], MEDIAN_NS * slower);
	EXPECT_LE(times[ROUNDS - 1], LONGEST_NS);
	check_stock(_metadata, &self->state, ROUNDS);
	free(times);
}

/* Each restore takes the same commands, and as little time as it takes to do them. */
TEST_F_TIMEOUT(recover, restores_what_it_needs, 900)
{
	__s64 commands_of_first = 0;
	unsigned int i;

	/* Nothing hangs here. A device without time is asked for its screens when it goes on. */
	ASSERT_EQ(0, tdr_set("delay_ms", TDR_DELAY_MS));
	for (i = 0; i < RESTORES; i++) {
		__s64 count = -calm_commands(), begin = now_ns();

		ASSERT_GT(0, count);
		ASSERT_EQ(0, reset_once());
		EXPECT_LT(now_ns() - begin, AT_ONCE_NS * (kernel_is_slow() ? SLOWER : 1));
		count += calm_commands();
		if (!i)
			commands_of_first = count;
		EXPECT_EQ(commands_of_first, count) TH_LOG("restore %u", i);
	}
	TH_LOG("%lld commands for a restore", commands_of_first);
	check_stock(_metadata, &self->state, RESTORES);
}

/* The device breaks a ring, or was reset: that is found with the next commit. */
TEST_F_TIMEOUT(recover, from_other_faults, 120)
{
	static const char *const requests[] = {
		"spoil flush", "spoil move-cursor", "reset",
	};
	unsigned int i;

	ASSERT_EQ(0, tdr_set("delay_ms", TDR_DELAY_MS));
	for (i = 0; i < ARRAY_SIZE(requests); i++) {
		__s64 begin;

		ASSERT_EQ(0, device_resume(scene.screen));
		ASSERT_EQ(0, device_ask(scene.screen, "%s", requests[i]));
		begin = now_ns();
		seed++;
		ASSERT_EQ(0, cursor_set(&scene.display, DRM_MODE_CURSOR_MOVE, 0, seed % 600,
					seed % 400));
		ASSERT_EQ(0, draw_small());
		EXPECT_TRUE(is_right()) TH_LOG("%s", requests[i]);
		TH_LOG("%s: %lld ms", requests[i], (now_ns() - begin) / NSEC_PER_MSEC);
		ASSERT_LT(0, calm_commands());
	}
	/* The device counts the reset that it did itself, and not the driver's after it. */
	check_stock(_metadata, &self->state, ARRAY_SIZE(requests));
}

/* Flips go on, and each has its event. */
TEST_F_TIMEOUT(recover, under_flips, 120)
{
	struct drm_event_vblank event, last = {};
	unsigned int i, hangs = 0;
	__s64 begin, longest = 0;

	for (i = 0; i < FLIPS; i++) {
		if (i % FLIPS_BETWEEN == FLIPS_BETWEEN / 2) {
			ASSERT_EQ(0, device_resume(scene.screen));
			ASSERT_EQ(0, device_ask(scene.screen, "hang any %u", 1 + rand() % 9));
			hangs++;
		}
		ASSERT_EQ(0, draw_new());
		begin = now_ns();
		ASSERT_EQ(0, flip_and_wait(&scene.display, frames[frame_shown].fb, 0, &event));
		longest = larger(longest, now_ns() - begin);
		EXPECT_LT(last.sequence, event.sequence) TH_LOG("flip %u", i);
		last = event;
	}
	EXPECT_TRUE(is_right());
	TH_LOG("%u hangs, longest flip %lld ms", hangs, longest / NSEC_PER_MSEC);
	EXPECT_LE(longest, 2 * NSEC_PER_SEC);
	check_stock(_metadata, &self->state, hangs);
}

/*
 * Packets of clients end with a reset, and a submitter waits for its end. A file that is
 * guilty of one is opened again.
 */
TEST_F_TIMEOUT(recover, packets_go_on, 120)
{
	const __s64 enough = self->state.before.recoveries + RESETS_OF_PACKETS;
	const __s64 until = now_ns() + GPU_PATIENCE_NS;
	__u64 fence, completed, submitted;
	unsigned int packets = 0, lost = 0;

	while (read_watchdog(&self->state.gpu).recoveries < enough && now_ns() < until) {
		const int render = open(self->state.gpu.render, O_RDWR | O_CLOEXEC);
		int ret = device_resume(scene.screen);

		ASSERT_EQ(0, ret);
		/* Not the first one after a reset: then the device would be waited for. */
		ASSERT_EQ(0, device_ask(scene.screen, "hang any %u", 2 + rand() % 60));
		ret = gpu_submit(render, RUST_GPU_NODE_CONTROL, 64, 0, &fence);
		ASSERT_LT(0, ret);
		packets += ret;
		ASSERT_EQ(0, gpu_query(render, RUST_GPU_NODE_CONTROL, &completed, &submitted));
		EXPECT_LE(completed, submitted);
		EXPECT_LE(fence, submitted);
		ret = gpu_wait_fence(render, RUST_GPU_NODE_CONTROL, fence,
				     now_ns() + GPU_PATIENCE_NS);
		ASSERT_TRUE(!ret || ret == -ECANCELED || ret == -EIO) TH_LOG("%d", ret);
		lost += !!ret;
		close(render);
	}
	ASSERT_EQ(0, device_resume(scene.screen));
	TH_LOG("%u packets, lost %u times, %lld resets", packets, lost,
	       read_watchdog(&self->state.gpu).recoveries - self->state.before.recoveries);
	EXPECT_LE(enough, read_watchdog(&self->state.gpu).recoveries);
	EXPECT_LT(0, lost);
	EXPECT_EQ(0, gpu_works(self->state.render));
	EXPECT_TRUE(is_right());
}

/* A device that takes its time is not reset. */
TEST_F_TIMEOUT(recover, not_if_it_is_slow, 180)
{
	struct drm_event_vblank event;
	unsigned int flips = 0;
	__s64 until;

	ASSERT_EQ(0, set_defaults());
	count_records(self->state.log);
	ASSERT_EQ(0, device_ask(scene.screen, "slow any %u", SLOW_MS));
	for (until = now_ns() + SLOW_NS; now_ns() < until; flips++) {
		ASSERT_EQ(0, draw_new());
		ASSERT_EQ(0, flip_and_wait(&scene.display, frames[frame_shown].fb, 0, &event));
	}
	ASSERT_EQ(0, device_resume(scene.screen));
	TH_LOG("%u flips", flips);
	EXPECT_EQ(0, count_records(self->state.log));
	/* It was kicked again and again. */
	self->state.before.lost_kicks = read_watchdog(&self->state.gpu).lost_kicks;
	check_stock(_metadata, &self->state, 0);
}

/* What a parameter takes, and what not. */
TEST(parameters)
{
	static const struct {
		const char *name;
		unsigned int good[4], bad[2];
	} table[] = {
		{ "level", { 0, 1, 3, 3 }, { 2, 4 } },
		{ "delay_ms", { 100, 3600000, 101, TDR_DELAY_MS }, { 99, 3600001 } },
		{ "limit_count", { 0, 1, 32, TDR_LIMIT_COUNT }, { 33, ~0u } },
		{ "limit_ms", { 100, 3600000, 101, TDR_LIMIT_MS }, { 99, 3600001 } },
	};
	struct gpu gpu;
	unsigned int i, j;

	REQUIRE(return, !geteuid(), "not root");
	REQUIRE(return, gpu_present(&gpu), NO_GPU);
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		const char *file = path("/sys/module/rust_gpu/parameters/tdr_%s", table[i].name);
		char name[PATH_MAX], text[16];

		snprintf(name, sizeof(name), "%s", file);
		for (j = 0; j < 4; j++) {
			EXPECT_EQ(0, tdr_set(table[i].name, table[i].good[j]));
			EXPECT_LT(0, read_file(name, text, sizeof(text)));
			EXPECT_EQ(table[i].good[j], strtoul(text, NULL, 10));
		}
		for (j = 0; j < 2; j++)
			EXPECT_EQ(-EINVAL, tdr_set(table[i].name, table[i].bad[j]));
		EXPECT_EQ(-EINVAL, write_file(name, "-1"));
		EXPECT_EQ(-EINVAL, write_file(name, "much"));
		EXPECT_EQ(-EINVAL, write_file(name, "99999999999"));
		EXPECT_LT(0, read_file(name, text, sizeof(text)));
		EXPECT_EQ(table[i].good[3], strtoul(text, NULL, 10));
	}
	EXPECT_EQ(0, set_defaults());
}

TEST_HARNESS_MAIN
