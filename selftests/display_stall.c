// SPDX-License-Identifier: GPL-2.0
/*
 * The device stops for a while. No call waits for it, what was destroyed meanwhile does not
 * pile up, and when the device goes on the screen shows what was committed last.
 */
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "counters.h"
#include "display_scene.h"
#include "pci_function.h"
#include "rust_gpu_test.h"
#include "tdr.h"

#define SEEDS		6
#define IMAGES		400
/* Resources that nobody uses any more and that the device still has. */
#define MAX_LEAVING	16
/*
 * One call in a hundred may take longer, and none longer than the second. Less than what
 * each call takes that waits until there is room: that is what is looked for, also on a
 * busy host.
 */
#define USUAL_NS	(150 * NSEC_PER_MSEC)
#define LONGEST_NS	NSEC_PER_SEC
#define STALL_NS	(3 * NSEC_PER_SEC)

static struct scene scene;

FIXTURE(display_stall)
{
	struct gpu gpu;
};

FIXTURE_SETUP(display_stall)
{
	const char *reason = scene_open(&scene);

	REQUIRE(return, !reason, reason);
	ASSERT_NE(0, scene.frame.fb);
	REQUIRE(return, gpu_find(&self->gpu), NO_GPU);
	ASSERT_EQ(0, tdr_level(TDR_LOOK));
	ASSERT_EQ(0, scene_show(&scene, 1));
	ASSERT_TRUE(scene_shows(&scene, "stall-before"));
}

FIXTURE_TEARDOWN(display_stall)
{
	/* Also after a test that failed. */
	set_bus_master(&self->gpu, true);
	tdr_level(TDR_RECOVER);
	scene_close(&scene);
}

/* Waits until the screen shows the picture. Returns after how long, or -1. */
static __s64 time_until_shown(const char *name)
{
	__s64 start = now_ns();

	while (now_ns() - start < GPU_PATIENCE_NS) {
		if (scene_shows(&scene, name))
			return now_ns() - start;
		sleep_ns(100 * NSEC_PER_MSEC);
	}
	return -1;
}

/* Of all that is committed while the device is stopped the last is on the screen afterwards. */
TEST_F_TIMEOUT(display_stall, the_last_frame_is_shown, 300)
{
	const struct display *display = &scene.display;
	struct rect all = picture_rect(&scene.picture);
	struct drm_event_vblank event;
	struct frame other;
	__u32 seed;
	__s64 time;

	ASSERT_EQ(0, frame_create(display->fd, &other, scene.frame.width, scene.frame.height));
	ASSERT_EQ(0, set_bus_master(&self->gpu, false));
	for (seed = 2; seed < SEEDS; seed++) {
		picture_fill(&scene.picture, seed);
		frame_draw(seed % 2 ? &scene.frame : &other, &scene.picture);
		ASSERT_EQ(0, flip_and_wait(display, seed % 2 ? scene.frame.fb : other.fb, 0,
					   &event));
	}
	/* Into the framebuffer that is on the screen. */
	picture_fill(&scene.picture, SEEDS);
	frame_draw(&scene.frame, &scene.picture);
	ASSERT_EQ(0, dirty_fb(display->fd, scene.frame.fb, &all, 1));
	EXPECT_FALSE(scene_shows(&scene, "stall-during"));
	/* Nobody kicks the device but the driver. */
	ASSERT_EQ(0, set_bus_master(&self->gpu, true));
	time = time_until_shown("stall-after");
	EXPECT_GE(time, 0);
	TH_LOG("shown after %lld ms", (long long)time / NSEC_PER_MSEC);
	frame_destroy(display->fd, &other);
}

/*
 * With the bus the device loses DRIVER_OK. That is found with the next commit, the device is
 * reset, and the screen shows that commit: nobody draws afterwards.
 */
TEST_F_TIMEOUT(display_stall, a_reset_is_recovered_from, 120)
{
	const struct watchdog before = read_watchdog(&self->gpu);
	struct rect all = picture_rect(&scene.picture);
	struct watchdog after;
	__s64 time;

	REQUIRE(return, before.recoveries >= 0, "no debugfs");
	ASSERT_EQ(0, tdr_level(TDR_RECOVER));
	ASSERT_EQ(0, set_bus_master(&self->gpu, false));
	scene_paint(&scene, 2);
	ASSERT_EQ(0, dirty_fb(scene.display.fd, scene.frame.fb, &all, 1));
	time = time_until_shown("stall-recovered");
	TH_LOG("shown %lld ms after the event", (long long)time / NSEC_PER_MSEC);
	EXPECT_GE(time, 0);
	EXPECT_LE(time, STALL_NS);
	/* They are counted after the screen is restored. */
	EXPECT_EQ(0, wait_for_recovery(&self->gpu, before.recoveries));
	after = read_watchdog(&self->gpu);
	EXPECT_EQ(before.recoveries + 1, after.recoveries);
	EXPECT_EQ(before.resets + 1, after.resets);
}

/* Shows new images of a cursor, and destroys them. Returns 0 or -errno. */
static int show_images(struct __test_metadata *_metadata, unsigned int *slow)
{
	const struct display *display = &scene.display;
	unsigned int i, busy = 0;
	struct frame image;
	__s64 start, time, longest = 0;
	int ret;

	for (i = 0; i < IMAGES; i++) {
		ret = buffer_create(display->fd, &image, CURSOR_SIDE, CURSOR_SIDE);
		if (ret)
			return ret;
		start = now_ns();
		ret = cursor_set(display, DRM_MODE_CURSOR_BO, image.handle, 0, 0);
		time = now_ns() - start;
		frame_destroy(display->fd, &image);
		longest = time > longest ? time : longest;
		*slow += time > USUAL_NS;
		/* The device holds too many already: documented. */
		if (ret == -EBUSY)
			busy++;
		else if (ret)
			return ret;
	}
	TH_LOG("longest %lld ms, %u over %lld ms, %u busy", (long long)longest / NSEC_PER_MSEC,
	       *slow, (long long)USUAL_NS / NSEC_PER_MSEC, busy);
	return longest > LONGEST_NS ? -ETIME : 0;
}

/* Images of a cursor on a stopped device: no call waits for long, and few are kept. */
TEST_F_TIMEOUT(display_stall, images_do_not_pile_up, 300)
{
	__s64 before = count_resources(&self->gpu), end;
	unsigned int slow = 0;

	REQUIRE(return, before >= 0, "no debugfs");
	ASSERT_EQ(0, set_bus_master(&self->gpu, false));
	EXPECT_EQ(0, show_images(_metadata, &slow));
	EXPECT_LE(slow, IMAGES / 100);
	EXPECT_LE(count_resources(&self->gpu), before + MAX_LEAVING + 1);
	ASSERT_EQ(0, set_bus_master(&self->gpu, true));
	EXPECT_GE(time_until_shown("stall-images"), 0);
	ASSERT_EQ(0, cursor_set(&scene.display, DRM_MODE_CURSOR_BO, 0, 0, 0));
	for (end = now_ns() + GPU_PATIENCE_NS; now_ns() < end;) {
		if (count_resources(&self->gpu) <= before)
			break;
		sleep_ns(100 * NSEC_PER_MSEC);
	}
	EXPECT_LE(count_resources(&self->gpu), before);
}

/* Flips until it is killed. */
static void flip_for_ever(void)
{
	struct scene own = {};
	struct drm_event_vblank event;
	struct frame frames[2];
	unsigned int i;

	if (display_open(&own.display))
		_exit(1);
	for (i = 0; i < 2; i++)
		if (frame_create(own.display.fd, &frames[i], own.display.mode.hdisplay,
				 own.display.mode.vdisplay))
			_exit(1);
	if (set_crtc(&own.display, frames[0].fb, &own.display.mode, 0, 0))
		_exit(1);
	for (i = 1;; i++)
		flip_and_wait(&own.display, frames[i % 2].fb, 0, &event);
}

/* Starts a client, kills it, and returns how long it took to exit; -1 if it never flipped. */
static __s64 time_to_exit(struct gpu *gpu, bool stall)
{
	__s64 start;
	pid_t child;
	int status;

	child = fork();
	if (!child)
		flip_for_ever();
	sleep_ns(NSEC_PER_SEC);
	if (stall)
		set_bus_master(gpu, false);
	sleep_ns(stall ? STALL_NS : 0);
	start = now_ns();
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	set_bus_master(gpu, true);
	return WIFSIGNALED(status) ? now_ns() - start : -1;
}

/* A client of a stopped device can be killed. */
TEST_F_TIMEOUT(display_stall, clients_can_be_killed, 300)
{
	__s64 healthy, stalled;

	ASSERT_EQ(0, ioctl(scene.display.fd, DRM_IOCTL_DROP_MASTER, 0) ? -errno : 0);
	healthy = time_to_exit(&self->gpu, false);
	stalled = time_to_exit(&self->gpu, true);
	TH_LOG("exit after %lld ms, %lld ms while the device is stopped",
	       (long long)healthy / NSEC_PER_MSEC, (long long)stalled / NSEC_PER_MSEC);
	EXPECT_GE(healthy, 0);
	EXPECT_GE(stalled, 0);
	/* It was seconds when exit waited for the device. */
	EXPECT_LT(stalled - healthy, NSEC_PER_SEC);
	sleep_ns(STALL_NS);
}

TEST_HARNESS_MAIN
