// SPDX-License-Identifier: GPL-2.0
/*
 * A device of our own, which misbehaves on command: it shows what QEMU's shows, and
 * nothing is lost when it stalls and comes back.
 *
 * Environment: see display_screen.h
 */
#include "kselftest_harness.h"
#include "display_device.h"
#include "display_scene.h"
#include "tdr.h"

#define STALL_NS	(3 * NSEC_PER_SEC)
#define FRAMES		3
#define FLIPS		100
/* So often the flips after the stall may be timed. */
#define TRIES		3

/* Each test is a process of its own. */
static struct scene scene;

FIXTURE(own)
{
};

FIXTURE_SETUP(own)
{
	const char *reason = scene_open(&scene);

	REQUIRE(return, !reason, reason);
	REQUIRE(return, device_state(scene.screen, "commands") >= 0, NO_OWN_DEVICE);
	ASSERT_NE(0, scene.frame.fb);
	ASSERT_EQ(0, scene_show(&scene, 1));
}

FIXTURE_TEARDOWN(own)
{
	EXPECT_EQ(0, device_resume(scene.screen));
	EXPECT_TRUE(device_is_sound(scene.screen));
	EXPECT_EQ(0, tdr_level(TDR_RECOVER));
	scene_close(&scene);
}

/* The driver that was bound asks for the displays and makes the buffers known. */
TEST_F_TIMEOUT(own, probe, 60)
{
	__s64 infos = device_count(scene.screen, "display-info");
	__s64 resets = device_state(scene.screen, "resets");
	struct gpu gpu;

	REQUIRE(return, gpu_find(&gpu), NO_GPU);
	scene_close(&scene);
	ASSERT_EQ(0, gpu_rebind(&gpu));
	ASSERT_EQ(NULL, scene_open(&scene));
	EXPECT_LT(infos, device_count(scene.screen, "display-info"));
	EXPECT_LT(resets, device_state(scene.screen, "resets"));
	EXPECT_EQ(0, scene_show(&scene, 2));
	EXPECT_LT(0, device_state(scene.screen, "attached"));
	EXPECT_TRUE(scene_shows(&scene, "own-probe"));
}

TEST_F_TIMEOUT(own, picture, 60)
{
	__s64 transfers = device_count(scene.screen, "transfer");

	EXPECT_TRUE(scene_shows(&scene, "own-first"));
	ASSERT_EQ(0, scene_show(&scene, 2));
	EXPECT_TRUE(scene_shows(&scene, "own-second"));
	EXPECT_LT(transfers, device_count(scene.screen, "transfer"));
}

TEST_F_TIMEOUT(own, cursor, 60)
{
	const struct display *display = &scene.display;
	struct frame image;
	char want[64];
	__u32 i, crc = ~0u;

	ASSERT_EQ(0, buffer_create(display->fd, &image, CURSOR_SIDE, CURSOR_SIDE));
	for (i = 0; i < image.size; i++)
		image.map[i] = i * 7;
	for (i = 0; i < 4 * CURSOR_SIDE * CURSOR_SIDE; i++)
		crc = crc_step(crc, image.map[i]);
	snprintf(want, sizeof(want), "pointer %d %d %d %d %08x", CURSOR_SIDE, CURSOR_SIDE,
		 CURSOR_HOT_X, CURSOR_HOT_Y, ~crc);

	ASSERT_EQ(0, screen_watch(scene.screen));
	ASSERT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_BO | DRM_MODE_CURSOR_MOVE, image.handle,
				20, 30));
	EXPECT_TRUE(screen_answers(scene.screen, "pointer", want));
	ASSERT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_MOVE, 0, -5, 6));
	EXPECT_TRUE(screen_cursor(scene.screen, "move", -5, 6));
	ASSERT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_BO, 0, 0, 0));
	EXPECT_TRUE(screen_cursor(scene.screen, "hide", 0, 0));
	frame_destroy(display->fd, &image);
}

/* Flips, and returns the median of the times between their events in ns, or -errno. */
static __s64 flip_interval(const struct frame *frames)
{
	struct drm_event_vblank event;
	__s64 times[FLIPS], last = 0;
	unsigned int i;

	for (i = 0; i <= FLIPS; i++) {
		int ret = flip_and_wait(&scene.display, frames[i % FRAMES].fb, 0, &event);
		__s64 now = event.tv_sec * NSEC_PER_SEC + event.tv_usec * 1000LL;

		if (ret)
			return ret;
		/* The first one only begins. */
		if (i)
			times[i - 1] = now - last;
		last = now;
	}
	qsort(times, FLIPS, sizeof(*times), compare_times);
	return times[FLIPS / 2];
}

/* Whether the screen shows the picture, at once or soon. */
static bool shows_within(const char *name, __s64 ns)
{
	return screen_shows_within(scene.screen, name, scene.display.head, &scene.picture, ns);
}

/*
 * The device stops at a transfer while flips go on, and comes back: it shows the last
 * frame. That is what the driver does by itself: nobody draws any more. Then flips are as
 * quick as before.
 */
TEST_F_TIMEOUT(own, last_frame_after_stall, 120)
{
	const struct display *display = &scene.display;
	struct frame frames[FRAMES];
	struct drm_event_vblank event;
	__s64 start, before, after;
	unsigned int i;

	for (i = 0; i < FRAMES; i++) {
		ASSERT_EQ(0, frame_create(display->fd, &frames[i], scene.picture.width,
					  scene.picture.height));
		picture_fill(&scene.picture, 10 + i);
		frame_draw(&frames[i], &scene.picture);
	}
	ASSERT_EQ(0, tdr_level(TDR_LOOK));
	before = flip_interval(frames);
	ASSERT_LT(0, before);
	ASSERT_TRUE(device_wait(scene.screen, "held-control", 0));
	ASSERT_EQ(0, device_ask(scene.screen, "stall transfer"));
	start = now_ns();
	for (i = 0; i < FRAMES; i++)
		EXPECT_EQ(0, flip_and_wait(display, frames[i].fb, 0, &event));
	EXPECT_EQ(1, device_state(scene.screen, "held-control"));
	sleep_ns(start + STALL_NS - now_ns());
	EXPECT_FALSE(shows_within("own-stalled", 0));
	ASSERT_EQ(0, device_resume(scene.screen));
	EXPECT_TRUE(shows_within("own-after-stall", GPU_PATIENCE_NS));
	EXPECT_EQ(0, device_state(scene.screen, "held-control"));
	/* The host may be busier than before. Flips that a stall made slow stay slow. */
	for (i = 0; i < TRIES; i++) {
		after = flip_interval(frames);
		TH_LOG("a flip in %lld us before, in %lld us then", before / 1000, after / 1000);
		if (after <= before + before / 10)
			break;
	}
	EXPECT_LE(after, before + before / 10);
	for (i = 0; i < FRAMES; i++)
		frame_destroy(display->fd, &frames[i]);
}

TEST_HARNESS_MAIN
