// SPDX-License-Identifier: GPL-2.0
/*
 * When a device that hangs is reset, by the device's own clock: not before it has had its
 * time, and at once if it says that it needs that, or can be seen to.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
/* The default. */
#define DELAY_MS	2000

#include "recover.h"

#define HANGS		gpu_rounds(3, 20)
#define ROUNDS		gpu_rounds(5, 20)
/* With the default parameters: from the command at which it hangs to the reset. */
#define SHORTEST_NS	(3500 * NSEC_PER_MSEC)
#define MEDIAN_NS	(4200 * NSEC_PER_MSEC)
/* From when the device asks for a reset, or breaks a ring. */
#define AT_ONCE_NS	(50 * NSEC_PER_MSEC)
#define SOON_NS		NSEC_PER_SEC
/* Without a limit a device is not reset again within a tick. */
#define PAUSE_NS	(TDR_DELAY_MS * NSEC_PER_MSEC / 4 + 100 * NSEC_PER_MSEC)

/* Restores the default parameters, except that nothing limits the resets. */
static int set_usual(void)
{
	int ret = set_defaults();

	return ret ? ret : tdr_set("limit_count", 0);
}

/* How long it took from the fault to the driver's reset, in ns. */
static __s64 reset_after(void)
{
	return device_state(scene.screen, "fault-to-reset") * NSEC_PER_USEC;
}

/* Waits until the device was reset and all is shown again. Returns how long the first took. */
static __s64 recovered(__s64 resets)
{
	if (wait_for_reset(resets) < 0)
		return -ETIMEDOUT;
	return is_right() ? reset_after() : -ENODATA;
}

/* The same for a device that has reset itself. It does not count the driver's reset then. */
static __s64 recovered_from_reset(void)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;

	while (!reset_after()) {
		if (now_ns() > end)
			return -ETIMEDOUT;
		sleep_ns(5 * NSEC_PER_MSEC);
	}
	return is_right() ? reset_after() : -ENODATA;
}

/* Prints times. Sorts them. */
static void print_times(struct __test_metadata *_metadata, const char *what, __s64 *times,
			unsigned int count)
{
	qsort(times, count, sizeof(*times), compare_times);
	TH_LOG("%s: %u resets after %lld to %lld ms, median %lld ms", what, count,
	       times[0] / NSEC_PER_MSEC, times[count - 1] / NSEC_PER_MSEC,
	       times[count / 2] / NSEC_PER_MSEC);
}

/* A device that hangs has had its time. */
TEST_F_TIMEOUT(recover, when_it_had_its_time, 600)
{
	__s64 *times = calloc(HANGS, sizeof(*times));
	unsigned int i;

	ASSERT_NE(NULL, times);
	ASSERT_EQ(0, set_usual());
	for (i = 0; i < HANGS; i++) {
		const __s64 resets = device_state(scene.screen, "resets");

		ASSERT_EQ(0, device_resume(scene.screen));
		ASSERT_EQ(0, device_ask(scene.screen, "hang any %u", 1 + i % 2));
		/* At another moment of a tick. */
		sleep_ns(rand() % 500 * NSEC_PER_MSEC);
		ASSERT_EQ(0, draw_small());
		times[i] = recovered(resets);
		ASSERT_LT(0, times[i]);
		ASSERT_LT(0, calm_commands());
	}
	print_times(_metadata, "hangs", times, HANGS);
	EXPECT_GE(times[0], SHORTEST_NS);
	EXPECT_LE(times[(HANGS - 1) / 2], MEDIAN_NS * (kernel_is_slow() ? SLOWER : 1));
	check_stock(_metadata, &self->state, HANGS);
	free(times);
}

static void check_at_once(struct __test_metadata *_metadata, const char *request, bool draws)
{
	const int slower = kernel_is_slow() ? SLOWER : 1;
	__s64 *times = calloc(ROUNDS, sizeof(*times));
	unsigned int i;

	ASSERT_NE(NULL, times);
	ASSERT_EQ(0, set_usual());
	for (i = 0; i < ROUNDS; i++) {
		const __s64 resets = device_state(scene.screen, "resets");

		sleep_ns(PAUSE_NS);
		ASSERT_EQ(0, device_resume(scene.screen));
		ASSERT_EQ(0, device_ask(scene.screen, "%s", request));
		if (draws)
			ASSERT_EQ(0, draw_small());
		times[i] = recovered(resets);
		ASSERT_LT(0, times[i]) TH_LOG("round %u", i);
	}
	print_times(_metadata, request, times, ROUNDS);
	EXPECT_LE(times[ROUNDS / 2], AT_ONCE_NS * slower);
	EXPECT_LE(times[ROUNDS - 1], SOON_NS * slower);
	free(times);
}

TEST_F_TIMEOUT(recover, at_once_if_it_asks, 300)
{
	check_at_once(_metadata, "needs-reset", false);
	check_stock(_metadata, &self->state, ROUNDS);
}

TEST_F_TIMEOUT(recover, at_once_if_a_ring_is_broken, 300)
{
	check_at_once(_metadata, "spoil flush", true);
	check_stock(_metadata, &self->state, ROUNDS);
}

/*
 * Somebody else resets the device, some time after it has begun to hang. It is found to be
 * reset while a packet is in flight, however long that is there. Returns how long that took.
 */
static __s64 reset_in_flight(unsigned int i, __s64 *idle)
{
	int ret = device_resume(scene.screen);

	if (!ret)
		ret = device_ask(scene.screen, "hang any");
	if (!ret)
		ret = draw_small();
	if (!ret && !device_wait(scene.screen, "fired", 1))
		ret = -ETIMEDOUT;
	sleep_ns(i % 5 * 500 * NSEC_PER_MSEC);
	if (!ret)
		ret = device_ask(scene.screen, "reset");
	*idle = 0;
	return ret ? ret : recovered_from_reset();
}

/* The same while it has nothing to do, for so long. */
static __s64 reset_when_idle(unsigned int i, __s64 *idle)
{
	__s64 ret = calm_commands();

	if (ret > 0)
		ret = device_ask(scene.screen, "reset");
	else if (!ret)
		ret = -ENODATA;
	*idle = now_ns();
	sleep_ns(i % 3 * 700 * NSEC_PER_MSEC);
	*idle = now_ns() - *idle;
	if (!ret)
		ret = draw_small();
	return ret ? ret : recovered_from_reset();
}

static void check_soon(struct __test_metadata *_metadata, const char *what,
		       __s64 (*reset)(unsigned int i, __s64 *idle))
{
	const int slower = kernel_is_slow() ? SLOWER : 1;
	__s64 *times = calloc(ROUNDS, sizeof(*times)), idle;
	unsigned int i;

	ASSERT_NE(NULL, times);
	ASSERT_EQ(0, set_usual());
	for (i = 0; i < ROUNDS; i++) {
		times[i] = reset(i, &idle);
		ASSERT_LT(0, times[i]) TH_LOG("round %u", i);
		/* From the next command on. */
		times[i] -= idle;
	}
	print_times(_metadata, what, times, ROUNDS);
	EXPECT_LE(times[ROUNDS - 1], SOON_NS * slower);
	free(times);
}

TEST_F_TIMEOUT(recover, soon_if_it_was_reset_in_flight, 300)
{
	check_soon(_metadata, "reset in flight", reset_in_flight);
}

TEST_F_TIMEOUT(recover, soon_after_the_next_command, 300)
{
	check_soon(_metadata, "reset when idle", reset_when_idle);
}

TEST_HARNESS_MAIN
