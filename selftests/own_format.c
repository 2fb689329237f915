// SPDX-License-Identifier: GPL-2.0
/*
 * A device that does not know a format, does not say whether it does, or does not know
 * it any more.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include "kselftest_harness.h"
#include "display_device.h"
#include "display_format.h"
#include "display_scene.h"
#include "kernel_log.h"

#define R8G8B8X8	134	/* VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM */
/* Longest that it takes until the driver is bound. */
#define PROBE_NS	(6 * NSEC_PER_SEC)
/* How long a picture must not change. */
#define STILL_NS	NSEC_PER_SEC

/* Each test is a process of its own. */
static struct scene scene;

FIXTURE(format)
{
	struct gpu gpu;
	int screen, log;
};

FIXTURE_SETUP(format)
{
	self->log = -1;
	REQUIRE(return, !geteuid(), "not root");
	REQUIRE(return, gpu_present(&self->gpu), NO_GPU);
	self->screen = screen_open();
	REQUIRE(return, self->screen >= 0, NO_SCREEN);
	REQUIRE(return, device_state(self->screen, "commands") >= 0, NO_OWN_DEVICE);
	ASSERT_EQ(0, gpu_unbind(&self->gpu));
	self->log = log_open();
	ASSERT_GE(self->log, 0);
}

FIXTURE_TEARDOWN(format)
{
	EXPECT_EQ(0, device_resume(self->screen));
	EXPECT_TRUE(device_is_sound(self->screen));
	close(self->log);
	close(self->screen);
	/* The next test needs a device that is bound. */
	EXPECT_EQ(0, gpu_rebind(&self->gpu));
}

/* Counts new records of the driver that are warnings or worse. */
static unsigned int count_complaints(int log)
{
	unsigned int found = 0;
	char line[1024];

	while (next_record(log, line, sizeof(line))) {
		if ((strtoul(line, NULL, 10) & 7) > LOG_WARNING || !strstr(line, "rust_gpu"))
			continue;
		ksft_print_msg("%s", line);
		found++;
	}
	return found;
}

/* Binds the driver. Returns how long that took in ns, or -errno. */
static __s64 timed_bind(struct gpu *gpu)
{
	const __s64 start = now_ns();
	int ret = gpu_bind(gpu);

	return ret ? ret : now_ns() - start;
}

/* Whether the two formats are there that any device has, and no other. */
static bool has_least(void)
{
	const struct display *display = &scene.display;
	struct frame frame;
	int other, alpha;

	if (!plane_has(display->fd, display->primary, screen_formats, 2) ||
	    buffer_create(display->fd, &frame, scene.frame.width, scene.frame.height))
		return false;
	other = frame_add_format(display->fd, &frame, DRM_FORMAT_XBGR8888);
	alpha = frame_add_format(display->fd, &frame, DRM_FORMAT_ARGB8888);
	frame_destroy(display->fd, &frame);
	return other == -EINVAL && !alpha;
}

TEST_F_TIMEOUT(format, unknown, 60)
{
	ASSERT_EQ(0, device_ask(self->screen, "refuse-format %u", R8G8B8X8));
	ASSERT_LT(0, timed_bind(&self->gpu));
	EXPECT_EQ(0, count_complaints(self->log));
	ASSERT_EQ(NULL, scene_open(&scene));
	EXPECT_TRUE(has_least());
	ASSERT_EQ(0, scene_show(&scene, 1));
	EXPECT_TRUE(scene_shows(&scene, "format-least"));
	scene_close(&scene);
}

TEST_F_TIMEOUT(format, known, 60)
{
	const struct display *display = &scene.display;

	ASSERT_LT(0, timed_bind(&self->gpu));
	EXPECT_EQ(0, count_complaints(self->log));
	ASSERT_EQ(NULL, scene_open(&scene));
	EXPECT_TRUE(plane_has(display->fd, display->primary, screen_formats,
			      ARRAY_SIZE(screen_formats)));
	scene_close(&scene);
}

/* Answers that do not come are not waited for, and nothing is left behind when they do. */
TEST_F_TIMEOUT(format, silent, 120)
{
	static const char *const ways[] = { "stall", "never" };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		__s64 took;

		ASSERT_EQ(0, device_ask(self->screen, "%s create", ways[i]));
		took = timed_bind(&self->gpu);
		TH_LOG("%s: bound after %lld ms", ways[i], took / NSEC_PER_MSEC);
		ASSERT_LT(0, took);
		EXPECT_LE(took, PROBE_NS);
		ASSERT_EQ(0, device_resume(self->screen));
		ASSERT_EQ(NULL, scene_open(&scene));
		EXPECT_TRUE(has_least());
		ASSERT_EQ(0, scene_show(&scene, 1));
		EXPECT_TRUE(screen_shows_within(scene.screen, "format-silent", scene.display.head,
						&scene.picture, GPU_PATIENCE_NS));
		scene_close(&scene);
		ASSERT_EQ(0, gpu_unbind(&self->gpu));
	}
	/* What the device says in a stall is not the point. */
	ASSERT_EQ(0, gpu_bind(&self->gpu));
}

/* The picture before stays, the log says why, and the new one is shown as soon as it can be. */
TEST_F_TIMEOUT(format, refused_later, 120)
{
	const struct display *display = &scene.display;
	struct picture picture;
	struct frame frame;

	ASSERT_LT(0, timed_bind(&self->gpu));
	ASSERT_EQ(NULL, scene_open(&scene));
	ASSERT_EQ(0, scene_show(&scene, 1));
	ASSERT_TRUE(scene_shows(&scene, "format-before"));
	ASSERT_EQ(0, frame_create_format(display->fd, &frame, scene.frame.width,
					 scene.frame.height, DRM_FORMAT_XBGR8888));
	ASSERT_EQ(0, picture_create(&picture, scene.frame.width, scene.frame.height));
	picture_fill(&picture, 2);
	frame_draw_format(&frame, &picture, DRM_FORMAT_XBGR8888, 0);
	EXPECT_EQ(0, count_complaints(self->log));

	ASSERT_EQ(0, device_ask(self->screen, "refuse-format %u", R8G8B8X8));
	ASSERT_EQ(0, set_crtc(display, frame.fb, &display->mode, 0, 0));
	sleep_ns(STILL_NS);
	EXPECT_TRUE(scene_shows(&scene, "format-refused"));
	EXPECT_EQ(1, count_complaints(self->log));

	ASSERT_EQ(0, device_resume(self->screen));
	EXPECT_TRUE(screen_shows_within(scene.screen, "format-taken", display->head, &picture,
					RETURN_NS));
	frame_destroy(display->fd, &frame);
	free(picture.pixels);
	scene_close(&scene);
}

TEST_HARNESS_MAIN
