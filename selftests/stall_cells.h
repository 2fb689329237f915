/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A process that draws is killed while the device stands still at a command: it exits
 * as quickly as with a device that works, and the screen is right when the device is
 * back. The same for flips, removal and sleep. A program adds the types of commands.
 *
 * Environment: see display_screen.h
 */
#ifndef _STALL_CELLS_H
#define _STALL_CELLS_H

#include "kselftest_harness.h"
#include "display_scene.h"
#include "kernel_log.h"
#include "stall_drawing.h"
#include "tdr.h"

#define KILLS		10
/* How much longer the median may be than with a device that works, and the longest exit. */
#define MEDIAN_NS	(200 * NSEC_PER_MSEC)
#define LONGEST_NS	(500 * NSEC_PER_MSEC)
/* A kernel that looks for bugs is so many times slower. */
#define SLOWER_MEDIAN	5
#define SLOWER_LONGEST	4
/* A process is killed at one of several moments after it was ready. */
#define MOMENT_NS	(150 * NSEC_PER_MSEC)
#define MOMENTS		6
#define STALL_NS	(10 * NSEC_PER_SEC)
#define UNBIND_NS	(1100 * NSEC_PER_MSEC)
/* How much longer the system may take to fall asleep and to wake up. */
#define SLEEP_NS	(500 * NSEC_PER_MSEC)
/*
 * Flips are 9 of 10 of what they should be: on a queue that stands still each takes a second
 * more, and when another one stands still none does. Both are counted in turns, as the
 * machine has other things to do, and again if they were not so many.
 */
#define STALLED_NS	(10 * NSEC_PER_SEC)
#define FLIP_TIMEOUT_NS	NSEC_PER_SEC
#define TURN_NS		(2500 * NSEC_PER_MSEC)
#define TURNS		3
#define ROUNDS		5
/* Lines in the log, for each time that the device stands still. */
#define LINES		2

/* Sorts and prints times. Returns the median. */
static __s64 summary(const char *what, __s64 *times)
{
	qsort(times, KILLS, sizeof(*times), compare_times);
	fprintf(stderr, "# %s: median %lld ms, longest %lld ms\n", what,
		times[KILLS / 2] / NSEC_PER_MSEC, times[KILLS - 1] / NSEC_PER_MSEC);
	return times[KILLS / 2];
}

/* Returns the median of exits with a device that works, in ns, or -errno. */
static __s64 measure_healthy(void)
{
	__s64 times[KILLS];
	unsigned int i;

	for (i = 0; i < KILLS; i++) {
		struct drawing drawing;
		int ret = start_drawing(&drawing, FLIPPED);

		if (ret)
			return ret;
		sleep_ns(i % MOMENTS * MOMENT_NS);
		times[i] = stop_drawing(&drawing);
		if (times[i] < 0)
			return times[i];
	}
	return summary("healthy", times);
}

struct cell {
	struct gpu gpu;
	int screen, log;
	unsigned int width;	/* of the screen, as the host wants it */
};

/* A type of commands. */
struct type {
	const char *name;	/* in requests to the device */
	const char *held;	/* the queue that stands still, in the device's state */
	bool flips;		/* the queue of flips does not stand still */
};

FIXTURE(stall)
{
	struct cell cell;
};

FIXTURE_VARIANT(stall)
{
	struct type type;
};

FIXTURE_SETUP(stall)
{
	self->cell.screen = -1;
	self->cell.log = -1;
	REQUIRE(return, !geteuid(), "not root");
	REQUIRE(return, gpu_present(&self->cell.gpu), NO_GPU);
	ASSERT_EQ(0, tdr_level(TDR_LOOK));
	self->cell.screen = screen_open();
	REQUIRE(return, self->cell.screen >= 0, NO_SCREEN);
	REQUIRE(return, device_state(self->cell.screen, "commands") >= 0, NO_OWN_DEVICE);
	self->cell.log = log_open();
	ASSERT_GE(self->cell.log, 0);
}

FIXTURE_TEARDOWN(stall)
{
	char answer[64];

	EXPECT_EQ(0, device_resume(self->cell.screen));
	EXPECT_EQ(0, screen_ask(self->cell.screen, answer, sizeof(answer), "resize 1280 800"));
	EXPECT_TRUE(device_wait(self->cell.screen, variant->type.held, 0));
	EXPECT_TRUE(device_is_sound(self->cell.screen));
	EXPECT_EQ(0, tdr_level(TDR_RECOVER));
	close(self->cell.screen);
	close(self->cell.log);
}

/* Asks for another size of the screen than the last time. Returns 0 or -errno. */
static int ask_size(struct cell *cell)
{
	char answer[64];

	cell->width = cell->width == 1000 ? 1100 : 1000;
	return screen_ask(cell->screen, answer, sizeof(answer), "resize %u 700", cell->width);
}

/* Waits until the device stands still at such a command. Returns 0 or -errno. */
static int hold(struct cell *cell, const struct type *type)
{
	int ret = device_ask(cell->screen, "stall %s", type->name);

	if (!ret)
		ret = ask_size(cell);
	if (ret)
		return ret;
	return device_wait(cell->screen, type->held, 1) ? 0 : -ETIMEDOUT;
}

/* Whether the device still stands still. */
static bool is_held(const struct cell *cell, const struct type *type)
{
	return device_state(cell->screen, type->held) == 1;
}

static void check_times(struct __test_metadata *_metadata, const char *what, __s64 *times,
			__s64 healthy)
{
	const bool slow = kernel_is_slow();

	EXPECT_LE(summary(what, times), healthy + MEDIAN_NS * (slow ? SLOWER_MEDIAN : 1));
	EXPECT_LE(times[KILLS - 1], LONGEST_NS * (slow ? SLOWER_LONGEST : 1));
}

/* A process that draws already is killed: the device never comes back for it. */
TEST_F_TIMEOUT(stall, for_ever, 300)
{
	const __s64 healthy = measure_healthy();
	__s64 times[KILLS];
	unsigned int i;

	ASSERT_GE(healthy, 0);
	for (i = 0; i < KILLS; i++) {
		struct drawing drawing;

		ASSERT_EQ(0, start_drawing(&drawing, FLIPPED));
		ASSERT_EQ(0, hold(&self->cell, &variant->type));
		sleep_ns(i % MOMENTS * MOMENT_NS);
		times[i] = stop_drawing(&drawing);
		ASSERT_GE(times[i], 0);
		EXPECT_TRUE(is_held(&self->cell, &variant->type));
		ASSERT_EQ(0, device_resume(self->cell.screen));
		ASSERT_TRUE(device_wait(self->cell.screen, variant->type.held, 0));
		EXPECT_LE(count_records(self->cell.log), LINES);
	}
	check_times(_metadata, "for ever", times, healthy);
}

/* Whether a frame that is drawn now is soon on the screen. */
static bool returns(void)
{
	struct scene scene = {};
	bool shown;

	if (scene_open(&scene) || scene_show(&scene, 3))
		return false;
	shown = screen_shows_within(scene.screen, "stall-return", scene.display.head,
				    &scene.picture, RETURN_NS);
	scene_close(&scene);
	return shown;
}

/* Whether the screen soon has the size for which the host has asked. */
static bool has_size(unsigned int width)
{
	const __s64 end = now_ns() + RETURN_NS;
	struct display display;
	bool found;

	do {
		found = !display_open(&display) && display.mode.hdisplay == width;
		close(display.fd);
	} while (!found && now_ns() < end);
	return found;
}

/* Processes come and are killed while the device stands still, and then it is back. */
TEST_F_TIMEOUT(stall, ten_seconds, 300)
{
	const unsigned char far = variant->type.flips ? FLIPPED : OPENED;
	const __s64 healthy = measure_healthy();
	__s64 times[KILLS], start;
	struct drawing drawing;
	unsigned int i;

	ASSERT_GE(healthy, 0);
	ASSERT_EQ(0, start_drawing(&drawing, FLIPPED));
	start = now_ns();
	ASSERT_EQ(0, hold(&self->cell, &variant->type));
	for (i = 0; i < KILLS; i++) {
		if (i)
			ASSERT_EQ(0, start_drawing(&drawing, far));
		ASSERT_EQ(0, ask_size(&self->cell));
		sleep_ns((1 + i % MOMENTS) * MOMENT_NS);
		times[i] = stop_drawing(&drawing);
		ASSERT_GE(times[i], 0);
	}
	EXPECT_TRUE(is_held(&self->cell, &variant->type));
	sleep_ns(start + STALL_NS - now_ns());
	ASSERT_EQ(0, device_resume(self->cell.screen));
	EXPECT_TRUE(has_size(self->cell.width));
	EXPECT_TRUE(returns());
	EXPECT_LE(count_records(self->cell.log), LINES);
	check_times(_metadata, "ten seconds", times, healthy);
}

/*
 * Flips go on as before when another queue stands still, with one on their path at their
 * own slow rate.
 */
TEST_F_TIMEOUT(stall, flips, 180)
{
	const struct type *type = &variant->type;
	unsigned int before, then, wanted, turn, round = 0;
	struct cell *cell = &self->cell;
	struct drawing drawing;
	bool enough;

	ASSERT_EQ(0, start_drawing(&drawing, FLIPPED));
	do {
		before = 0;
		then = 0;
		for (turn = 0; turn < (type->flips ? TURNS : 1); turn++) {
			ASSERT_EQ(0, device_resume(cell->screen));
			ASSERT_TRUE(device_wait(cell->screen, type->held, 0));
			ASSERT_EQ(0, ask_size(cell));
			before += count_flips(&drawing, TURN_NS);
			count_records(cell->log);
			ASSERT_EQ(0, hold(cell, type));
			then += count_flips(&drawing, type->flips ? TURN_NS : STALLED_NS);
			EXPECT_TRUE(is_held(cell, type));
			EXPECT_LE(count_records(cell->log), LINES);
		}
		ASSERT_LT(0, before);
		wanted = type->flips ? before : STALLED_NS / (FLIP_TIMEOUT_NS + TURN_NS / before);
		fprintf(stderr, "# %s: %u flips before, %u then, of %u\n", type->name, before,
			then, wanted);
		enough = 10 * then >= 9 * wanted;
	} while (!enough && ++round < ROUNDS);
	EXPECT_TRUE(enough);
	EXPECT_LE(0, stop_drawing(&drawing));
}

/* Unbinds the driver from the device. Returns how long that took, in ns, or -errno. */
static __s64 time_unbind(const struct cell *cell)
{
	const __s64 start = now_ns();
	int ret = gpu_unbind(&cell->gpu);

	return ret ? ret : now_ns() - start;
}

TEST_F_TIMEOUT(stall, unbind, 120)
{
	struct drawing drawing;
	__s64 healthy, took;

	ASSERT_EQ(0, start_drawing(&drawing, FLIPPED));
	healthy = time_unbind(&self->cell);
	ASSERT_LE(0, healthy);
	EXPECT_LE(0, stop_drawing(&drawing));
	ASSERT_EQ(0, gpu_bind(&self->cell.gpu));
	ASSERT_EQ(0, start_drawing(&drawing, FLIPPED));
	ASSERT_EQ(0, hold(&self->cell, &variant->type));
	count_records(self->cell.log);
	took = time_unbind(&self->cell);
	ASSERT_LE(0, took);
	fprintf(stderr, "# unbind: healthy %lld ms, then %lld ms\n", healthy / NSEC_PER_MSEC,
		took / NSEC_PER_MSEC);
	/* A kernel that looks for bugs may take long by itself. */
	EXPECT_LE(took, UNBIND_NS + (kernel_is_slow() ? healthy : 0));
	EXPECT_LE(count_records(self->cell.log), LINES);
	EXPECT_LE(0, stop_drawing(&drawing));
	ASSERT_EQ(0, device_resume(self->cell.screen));
	ASSERT_EQ(0, gpu_bind(&self->cell.gpu));
	EXPECT_TRUE(returns());
}

/*
 * Lets the devices sleep and wake up again, and all processes stop meanwhile. Returns how
 * long that took, in ns, or -errno.
 */
static __s64 let_sleep(const char *state)
{
	__s64 start;
	int ret;

	/* Not every kernel has these; they only save time. */
	write_file("/sys/module/suspend/parameters/pm_test_delay", "1");
	write_file("/sys/module/hibernate/parameters/pm_test_delay", "1");
	ret = write_file("/sys/power/pm_test", "devices");
	if (ret)
		return ret;
	start = now_ns();
	ret = write_file("/sys/power/state", state);
	start = now_ns() - start;
	write_file("/sys/power/pm_test", "none");
	return ret ? ret : start;
}

/* The system sleeps: the device is reset, and stands still again at the next command. */
static void check_sleep(struct __test_metadata *_metadata, struct cell *cell,
			const struct type *type, const char *state)
{
	struct drawing drawing;
	__s64 healthy, took;

	ASSERT_EQ(0, start_drawing(&drawing, FLIPPED));
	healthy = let_sleep(state);
	ASSERT_GT(healthy, 0);
	ASSERT_EQ(0, hold(cell, type));
	count_records(cell->log);
	took = let_sleep(state);
	fprintf(stderr, "# %s: healthy %lld ms, then %lld ms\n", state, healthy / NSEC_PER_MSEC,
		took / NSEC_PER_MSEC);
	EXPECT_GT(took, 0);
	EXPECT_LE(took, healthy + SLEEP_NS);
	EXPECT_LE(count_records(cell->log), LINES);
	EXPECT_LE(0, stop_drawing(&drawing));
	ASSERT_EQ(0, device_resume(cell->screen));
	EXPECT_TRUE(returns());
}

TEST_F_TIMEOUT(stall, suspend, 120)
{
	if (access("/sys/power/pm_test", W_OK))
		SKIP(return, "no CONFIG_PM_DEBUG");
	check_sleep(_metadata, &self->cell, &variant->type, "mem");
}

/* Up to the image, of which the device has no part. */
TEST_F_TIMEOUT(stall, hibernation, 120)
{
	if (access("/sys/power/pm_test", W_OK) || access("/sys/power/disk", W_OK))
		SKIP(return, "no CONFIG_PM_DEBUG or CONFIG_HIBERNATION");
	if (strcmp(variant->type.name, "transfer"))
		SKIP(return, "one type is enough");
	check_sleep(_metadata, &self->cell, &variant->type, "disk");
}

#endif /* _STALL_CELLS_H */
