// SPDX-License-Identifier: GPL-2.0
/*
 * What else may happen around the reset of a device that hangs: it takes no notice of the
 * reset, it answers nothing afterwards, somebody else resets its function, or it is given up.
 * User space hears of the last one only, once, and is told what helps.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include "recover_broken.h"

#define USER_RESETS	gpu_rounds(5, 50)
#define WAITING_NS	(gpu_rounds(6, 60) * NSEC_PER_SEC)
/* From the return of a device that was waited for to the picture. */
#define BACK_NS		(2 * NSEC_PER_SEC)
/* A second event would come by then. */
#define QUIET_NS	(3 * NSEC_PER_SEC)

/* How the function may be reset: "default" or "\n" for not at all. Returns 0 or -errno. */
static int set_reset_method(const struct gpu *gpu, const char *method)
{
	return write_file(path("/sys/bus/pci/devices/%s/reset_method", gpu->pci), method);
}

/* The device hangs once more than it may. */
TEST_F_TIMEOUT(recover, beyond_the_limit_it_is_bound_anew, 120)
{
	struct wedged found;

	/* One reset was before the test began. */
	ASSERT_EQ(0, tdr_set("limit_count", 1));
	ASSERT_EQ(0, device_ask(scene.screen, "hang any"));
	ASSERT_EQ(0, draw_small());
	EXPECT_EQ(0, wait_until_broken(self->state.render));
	sleep_ns(QUIET_NS);
	found = take_wedged(self->state.events, NULL);
	EXPECT_EQ(1, found.rebind);
	EXPECT_EQ(0, found.bus_reset + found.others);
	check_revived(_metadata, &self->state);
	found = take_wedged(self->state.events, NULL);
	EXPECT_EQ(0, found.rebind + found.bus_reset + found.others);
}

/* It is reset in no way at all. */
TEST_F_TIMEOUT(recover, without_a_reset_the_bus_is, 120)
{
	struct wedged found;

	ASSERT_EQ(0, set_reset_method(&self->state.gpu, "\n"));
	ASSERT_EQ(0, device_ask(scene.screen, "fault reset"));
	ASSERT_EQ(0, device_ask(scene.screen, "needs-reset"));
	EXPECT_EQ(0, wait_until_broken(self->state.render));
	sleep_ns(QUIET_NS);
	EXPECT_EQ(0, set_reset_method(&self->state.gpu, "default"));
	found = take_wedged(self->state.events, NULL);
	EXPECT_EQ(1, found.bus_reset);
	EXPECT_EQ(0, found.rebind + found.others);
	EXPECT_EQ(self->state.before.recoveries, read_watchdog(&self->state.gpu).recoveries);
	check_revived(_metadata, &self->state);
}

/* It takes no notice of the reset of its status, but its function can be reset. */
TEST_F_TIMEOUT(recover, by_its_function, 120)
{
	const __s64 before = device_state(scene.screen, "function-resets");
	unsigned int i;

	/* It does not hang, and on a busy host it should not seem to. */
	ASSERT_EQ(0, tdr_set("delay_ms", TDR_DELAY_MS));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, device_ask(scene.screen, "fault reset"));
		ASSERT_EQ(0, reset_once());
		EXPECT_EQ(before + i + 1, device_state(scene.screen, "function-resets"));
	}
	ASSERT_EQ(0, device_resume(scene.screen));
	check_stock(_metadata, &self->state, i);
}

/* Resets the function, as a user does. Returns 0 or -errno. */
static int reset_function(const struct gpu *gpu)
{
	return write_file(path("/sys/bus/pci/devices/%s/reset", gpu->pci), "1");
}

static bool has_function_reset(const struct gpu *gpu)
{
	return !access(path("/sys/bus/pci/devices/%s/reset", gpu->pci), W_OK);
}

/* A user resets the function while flips go on. That counts for nothing. */
TEST_F_TIMEOUT(recover, by_a_user, 300)
{
	const __s64 before = device_state(scene.screen, "function-resets");
	struct drm_event_vblank event;
	unsigned int i, flips = 0;
	struct state after;
	int status = 0;
	pid_t child;

	REQUIRE(return, has_function_reset(&self->state.gpu), "the function cannot be reset");
	/* There was one. One more that counts would be one too many, and none comes by itself. */
	ASSERT_EQ(0, tdr_set("limit_count", 1));
	ASSERT_EQ(0, tdr_set("delay_ms", TDR_DELAY_MS));
	child = fork();
	if (!child) {
		for (i = 0; i < USER_RESETS; i++) {
			if (reset_function(&self->state.gpu))
				_exit(1);
			sleep_ns(100 * NSEC_PER_MSEC);
		}
		_exit(0);
	}
	ASSERT_LT(0, child);
	for (; !waitpid(child, &status, WNOHANG); flips++) {
		ASSERT_EQ(0, draw_new());
		ASSERT_EQ(0, flip_and_wait(&scene.display, frames[frame_shown].fb, 0, &event));
	}
	EXPECT_EQ(0, status);
	TH_LOG("%u resets during %u flips", USER_RESETS, flips);
	EXPECT_LT(0, flips);
	EXPECT_TRUE(is_right());
	EXPECT_EQ(before + USER_RESETS, device_state(scene.screen, "function-resets"));
	EXPECT_EQ(0, gpu_works(self->state.render));
	after = self->state;
	EXPECT_EQ(0, take_stock(&after));
	EXPECT_EQ(self->state.before.recoveries, after.before.recoveries);
	EXPECT_EQ(self->state.resources, after.resources);
	EXPECT_EQ(self->state.attached, after.attached);
	EXPECT_EQ(self->state.bytes, after.bytes);
	EXPECT_EQ(0, count_events(self->state.events));
}

/* A ring breaks as soon as the device is started after that. */
TEST_F_TIMEOUT(recover, after_a_user, 120)
{
	REQUIRE(return, has_function_reset(&self->state.gpu), "the function cannot be reset");
	/* Nothing comes after it on its queue, which would put the ring right. */
	ASSERT_EQ(0, device_ask(scene.screen, "spoil update-cursor"));
	ASSERT_EQ(0, reset_function(&self->state.gpu));
	EXPECT_EQ(0, wait_for_recovery(&self->state.gpu, self->state.before.recoveries));
	EXPECT_TRUE(is_right());
	EXPECT_EQ(0, gpu_works(self->state.render));
}

/* It does so at the end of the probe: at the mode that the console sets, if there is one. */
TEST_F_TIMEOUT(recover, at_the_end_of_the_probe, 120)
{
	const int screen = dup(scene.screen);

	end_client(&self->state);
	ASSERT_EQ(0, gpu_unbind(&self->state.gpu));
	ASSERT_EQ(0, device_ask(screen, "spoil flush"));
	ASSERT_EQ(0, gpu_bind(&self->state.gpu));
	close(screen);
	ASSERT_EQ(NULL, start(&self->state));
	EXPECT_EQ(0, show_all());
	EXPECT_EQ(0, wait_for_recovery(&self->state.gpu, 0));
	EXPECT_EQ(0, gpu_works(self->state.render));
}

/* A user revives a device that was given up. It shows what was drawn meanwhile, and since then. */
TEST_F_TIMEOUT(recover, revived_by_a_user, 120)
{
	struct drm_event_vblank event;

	REQUIRE(return, has_function_reset(&self->state.gpu), "the function cannot be reset");
	ASSERT_EQ(0, tdr_level(TDR_BREAK));
	ASSERT_EQ(0, device_ask(scene.screen, "needs-reset"));
	EXPECT_EQ(0, wait_until_broken(self->state.render));
	ASSERT_EQ(0, tdr_level(TDR_RECOVER));
	ASSERT_EQ(0, draw_new());
	EXPECT_EQ(0, flip_and_wait(&scene.display, frames[frame_shown].fb, 0, &event));
	ASSERT_EQ(0, reset_function(&self->state.gpu));
	EXPECT_TRUE(is_right());
	EXPECT_EQ(0, show_all());
	EXPECT_EQ(0, gpu_works(self->state.render));
}

/*
 * The device answers nothing since its reset. It is not reset again and again, nor given up,
 * and when it goes on the screen is soon right.
 */
TEST_F_TIMEOUT(recover, waits_for_a_silent_device, 300)
{
	__s64 kicks, begin;
	__u64 fence;

	ASSERT_EQ(0, tdr_set("limit_count", TDR_LIMIT_COUNT));
	count_records(self->state.log);
	/* Each first command from now on. */
	ASSERT_EQ(0, device_ask(scene.screen, "stall any"));
	ASSERT_EQ(0, draw_small());
	ASSERT_LE(0, wait_for_reset(self->state.resets));
	/* Until it is found silent once more. */
	sleep_ns(4 * DELAY_MS * NSEC_PER_MSEC + NSEC_PER_SEC);
	kicks = -device_state(scene.screen, "kicks");
	sleep_ns(WAITING_NS);
	kicks += device_state(scene.screen, "kicks");
	TH_LOG("%lld kicks in %lld s", kicks, WAITING_NS / NSEC_PER_SEC);
	/* One a second for each queue that has something. */
	EXPECT_LE(WAITING_NS / NSEC_PER_SEC / 2, kicks);
	EXPECT_GE(2 * (WAITING_NS / NSEC_PER_SEC) + 4, kicks);
	EXPECT_EQ(self->state.resets + 1, device_state(scene.screen, "resets"));
	EXPECT_EQ(1, gpu_submit(self->state.render, RUST_GPU_NODE_CONTROL, 1,
				RUST_GPU_SUBMIT_NONBLOCK, &fence));
	ASSERT_EQ(0, draw_small());
	/* About the reset, and about the wait. */
	EXPECT_EQ(2, count_records(self->state.log));
	/* It has a lot to do then, on a busy host for longer than a hang would take. */
	ASSERT_EQ(0, tdr_set("delay_ms", TDR_DELAY_MS));
	begin = now_ns();
	ASSERT_EQ(0, device_resume(scene.screen));
	EXPECT_TRUE(is_right());
	TH_LOG("right after %lld ms", (now_ns() - begin) / NSEC_PER_MSEC);
	EXPECT_LE(now_ns() - begin, BACK_NS * (kernel_is_slow() ? SLOWER : 1));
	EXPECT_EQ(0, gpu_wait_fence(self->state.render, RUST_GPU_NODE_CONTROL, fence,
				    now_ns() + GPU_PATIENCE_NS));
	/* The kicks in vain were none that got lost; the last one may count as such. */
	ASSERT_LT(0, calm_commands());
	self->state.before.lost_kicks = read_watchdog(&self->state.gpu).lost_kicks;
	check_stock(_metadata, &self->state, 1);
	/* The next time it is a hang like any other. */
	ASSERT_EQ(0, reset_once());
}

TEST_HARNESS_MAIN
