// SPDX-License-Identifier: GPL-2.0
/*
 * A device that hangs again and again counts as broken, until it is bound anew. One that
 * hangs while something else happens does not hold that up.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include "recover_broken.h"
#include "system_sleep.h"

/* How long a device breaks again and again. */
#define PAUSED_NS	(4 * NSEC_PER_SEC)

/* One reset more than the limit allows: the device counts as broken. */
TEST_F_TIMEOUT(recover, no_more_than_the_limit, 120)
{
	unsigned int i;

	ASSERT_EQ(0, tdr_set("limit_count", TDR_LIMIT_COUNT));
	count_records(self->state.log);
	/* One was before the test began. */
	for (i = 1; i < TDR_LIMIT_COUNT; i++)
		ASSERT_EQ(0, reset_once());
	EXPECT_EQ(TDR_LIMIT_COUNT - 1, count_records(self->state.log));
	ASSERT_EQ(0, device_ask(scene.screen, "needs-reset"));
	EXPECT_EQ(0, wait_until_broken(self->state.render));
	/* The lines come after the error: ours, and DRM's about its event. */
	sleep_ns(NSEC_PER_SEC);
	EXPECT_EQ(2, count_records(self->state.log));
	EXPECT_EQ(0, device_state(scene.screen, "attached"));
	check_revived(_metadata, &self->state);
}

/*
 * Without a limit, a device that breaks as soon as it was started is reset again and again, but
 * not more often than once in a tick.
 */
TEST_F_TIMEOUT(recover, not_without_a_pause, 120)
{
	const __s64 begin = now_ns(), tick = TDR_DELAY_MS / 4 * NSEC_PER_MSEC;
	const __s64 before = self->state.before.recoveries;
	__s64 resets = 0, took;

	ASSERT_EQ(0, tdr_set("delay_ms", TDR_DELAY_MS));
	do {
		ASSERT_EQ(0, device_ask(scene.screen, "needs-reset"));
		while (read_watchdog(&self->state.gpu).recoveries == before + resets) {
			ASSERT_GT(begin + 2 * PAUSED_NS, now_ns());
			sleep_ns(NSEC_PER_MSEC);
		}
		resets = read_watchdog(&self->state.gpu).recoveries - before;
		took = now_ns() - begin;
	} while (took < PAUSED_NS);
	TH_LOG("%lld resets in %lld ms", resets, took / NSEC_PER_MSEC);
	EXPECT_LE(resets, took / tick + 1);
	EXPECT_GE(resets, PAUSED_NS / tick / 2);
	EXPECT_TRUE(is_right());
	EXPECT_EQ(0, gpu_works(self->state.render));
}

/* With that level a device that hangs counts as broken at once. */
TEST_F_TIMEOUT(recover, not_if_it_should_break, 120)
{
	ASSERT_EQ(0, tdr_level(TDR_BREAK));
	count_records(self->state.log);
	ASSERT_EQ(0, device_ask(scene.screen, "hang any"));
	EXPECT_EQ(0, wait_until_broken(self->state.render));
	sleep_ns(NSEC_PER_SEC);
	EXPECT_EQ(2, count_records(self->state.log));
	EXPECT_EQ(self->state.before.recoveries, read_watchdog(&self->state.gpu).recoveries);
	EXPECT_EQ(0, device_state(scene.screen, "attached"));
	check_revived(_metadata, &self->state);
}

/*
 * A device that does not come back from the reset counts as broken. One without a reset is in
 * recover_reset.c.
 */
static void check_fault(struct __test_metadata *_metadata, struct state *state,
			const char *fault)
{
	ASSERT_EQ(0, device_ask(scene.screen, "fault %s", fault));
	ASSERT_EQ(0, device_ask(scene.screen, "needs-reset"));
	EXPECT_EQ(0, wait_until_broken(state->render));
	EXPECT_EQ(state->before.recoveries, read_watchdog(&state->gpu).recoveries);
	check_revived(_metadata, state);
}

TEST_F_TIMEOUT(recover, not_if_the_device_takes_no_features, 120)
{
	check_fault(_metadata, &self->state, "features");
}

TEST_F_TIMEOUT(recover, not_if_the_device_lacks_a_feature, 120)
{
	check_fault(_metadata, &self->state, "fewer");
}

/* It has one more than when it was probed: that is left alone. */
TEST_F_TIMEOUT(recover, also_if_the_device_has_more_features, 120)
{
	ASSERT_EQ(0, device_ask(scene.screen, "fault fewer"));
	end_client(&self->state);
	ASSERT_EQ(0, gpu_unbind(&self->state.gpu));
	ASSERT_EQ(0, gpu_bind(&self->state.gpu));
	ASSERT_EQ(NULL, start(&self->state));
	ASSERT_EQ(0, show_all());
	ASSERT_EQ(0, device_resume(scene.screen));
	EXPECT_EQ(0, reset_once());
	EXPECT_EQ(0, gpu_works(self->state.render));
}

TEST_F_TIMEOUT(recover, not_if_a_queue_is_not_enabled, 120)
{
	check_fault(_metadata, &self->state, "enable");
}

/* The device hangs at each first command after a reset, while something else happens. */
static int hang_all_the_time(void)
{
	int ret = device_ask(scene.screen, "stall any");

	if (!ret)
		ret = show_image();
	if (ret)
		return ret;
	sleep_ns(2 * DELAY_MS * NSEC_PER_MSEC + rand() % 1000 * NSEC_PER_MSEC);
	return 0;
}

TEST_F_TIMEOUT(recover, during_unbind, 120)
{
	__s64 begin;

	ASSERT_EQ(0, hang_all_the_time());
	begin = now_ns();
	ASSERT_EQ(0, gpu_unbind(&self->state.gpu));
	TH_LOG("unbound after %lld ms", (now_ns() - begin) / NSEC_PER_MSEC);
	EXPECT_LE(now_ns() - begin, 2 * NSEC_PER_SEC);
	ASSERT_EQ(0, device_resume(scene.screen));
	ASSERT_EQ(0, gpu_bind(&self->state.gpu));
	EXPECT_TRUE(returns(&self->state));
}

TEST_F_TIMEOUT(recover, during_sleep, 120)
{
	if (!can_sleep())
		SKIP(return, NO_SLEEP);
	ASSERT_EQ(0, hang_all_the_time());
	EXPECT_EQ(0, let_sleep());
	EXPECT_TRUE(returns(&self->state));
}

TEST_F_TIMEOUT(recover, during_the_end_of_a_client, 120)
{
	__s64 begin;
	pid_t child = fork();

	if (!child) {
		struct drm_event_vblank event;

		while (!draw_new())
			flip_and_wait(&scene.display, frames[frame_shown].fb, 0, &event);
		_exit(1);
	}
	ASSERT_LT(0, child);
	ASSERT_EQ(0, hang_all_the_time());
	begin = now_ns();
	kill(child, SIGKILL);
	ASSERT_EQ(child, waitpid(child, NULL, 0));
	EXPECT_LE(now_ns() - begin, 2 * NSEC_PER_SEC);
	EXPECT_TRUE(returns(&self->state));
}

TEST_F_TIMEOUT(recover, during_unload, 120)
{
	const int screen = dup(scene.screen);

	ASSERT_EQ(0, hang_all_the_time());
	end_client(&self->state);
	/* The console is shown, at which the device hangs as well. */
	sleep_ns(rand() % 1000 * NSEC_PER_MSEC);
	ASSERT_EQ(0, driver_unload());
	ASSERT_EQ(0, device_resume(screen));
	close(screen);
	ASSERT_EQ(0, driver_load());
	ASSERT_TRUE(gpu_wait(&self->state.gpu, GPU_PATIENCE_NS));
	ASSERT_EQ(NULL, start(&self->state));
	EXPECT_EQ(0, show_all());
}

TEST_HARNESS_MAIN
