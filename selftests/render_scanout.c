// SPDX-License-Identifier: GPL-2.0
/*
 * Resources of 3D on the screen and as a cursor: nothing is transferred, and a flip waits
 * for what is still drawn. With the C driver as well.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include "display_kms.h"
#include "render.h"

#define FRAMES		2
#define FORMAT_BGRX	2
#define BUSY_MS		500
/* A flip that does not wait for the device, and one that waits until it counts as done. */
#define AHEAD_NS	(500 * NSEC_PER_MSEC)
#define GIVEN_UP_NS	(900 * NSEC_PER_MSEC)
#define PACED		40
#define STEP_MS		8
/* 0x00rrggbb */
#define COLOUR(number)	(0x00305070 + 0x00010101 * (number))

/* Each test is a process of its own. */
static struct {
	struct render render;
	struct display display;
	struct picture picture;
	struct frame frames[FRAMES];
	__u32 resources[FRAMES];
	__s64 transfers;
} scene;

/* Makes a resource of a size. *@res gets its number. Returns its handle, or 0. */
static __u32 picture_resource(__u32 width, __u32 height, __u32 format, __u32 *res)
{
	struct drm_virtgpu_resource_create create = picture_of(SIDE);

	create.format = format;
	create.width = width;
	create.height = height;
	create.size = 4 * width * height;
	if (resource_create(scene.display.fd, &create))
		return 0;
	*res = create.res_handle;
	return create.bo_handle;
}

/* Draws one colour into a resource, for so long. Returns 0 or -errno. */
static int draw(__u32 handle, __u32 res, __u32 colour, __u32 milliseconds)
{
	const __u32 words[] = { WORD_BUSY, milliseconds, WORD_FILL, res, colour };

	return submit_bo(scene.display.fd, handle, words, ARRAY_SIZE(words));
}

/* Draws a frame, which a test then looks for on the screen. */
static void paint(struct __test_metadata *_metadata, unsigned int frame, __u32 colour)
{
	__u32 i;

	for (i = 0; i < scene.picture.width * scene.picture.height; i++)
		scene.picture.pixels[i] = colour;
	ASSERT_EQ(0, draw(scene.frames[frame].handle, scene.resources[frame], colour, 0));
}

static bool shows(const char *name)
{
	return screen_shows_within(scene.render.screen, name, scene.display.head, &scene.picture,
				   RETURN_NS);
}

FIXTURE(scanout)
{
};

FIXTURE_SETUP(scanout)
{
	const struct drm_mode_modeinfo *mode = &scene.display.mode;
	const char *reason = render_begin(&scene.render, true);
	unsigned int i;

	scene.display.fd = -1;
	REQUIRE(return, !reason, reason);
	reason = display_open(&scene.display);
	REQUIRE(return, !reason, reason);
	ASSERT_EQ(0, picture_create(&scene.picture, mode->hdisplay, mode->vdisplay));
	for (i = 0; i < FRAMES; i++) {
		scene.frames[i].handle = picture_resource(mode->hdisplay, mode->vdisplay,
							  FORMAT_BGRX, &scene.resources[i]);
		ASSERT_NE(0, scene.frames[i].handle);
		ASSERT_EQ(0, frame_add(scene.display.fd, &scene.frames[i], mode->hdisplay,
				       mode->vdisplay, 4 * mode->hdisplay, 0));
	}
	paint(_metadata, 0, COLOUR(0));
	ASSERT_EQ(0, set_crtc(&scene.display, scene.frames[0].fb, mode, 0, 0));
	ASSERT_TRUE(shows("scanout-first"));
	scene.transfers = device_count(scene.render.screen, "transfer");
}

FIXTURE_TEARDOWN(scanout)
{
	unsigned int i;

	EXPECT_EQ(0, device_resume(scene.render.screen));
	/* The host has what is drawn. */
	EXPECT_EQ(scene.transfers, device_count(scene.render.screen, "transfer"));
	EXPECT_TRUE(!scene.render.rust || device_is_sound(scene.render.screen));
	for (i = 0; i < FRAMES; i++)
		frame_destroy(scene.display.fd, &scene.frames[i]);
	close(scene.display.fd);
	render_end(&scene.render);
}

TEST_F_TIMEOUT(scanout, flips, 60)
{
	struct drm_event_vblank event;
	unsigned int i;

	for (i = 1; i < 6; i++) {
		paint(_metadata, i % FRAMES, COLOUR(i));
		ASSERT_EQ(0, flip_and_wait(&scene.display, scene.frames[i % FRAMES].fb, 0, &event));
		EXPECT_TRUE(shows(path("scanout-flip-%u", i)));
	}
}

/* What is drawn into the frame on the screen is seen when the driver is told. */
TEST_F_TIMEOUT(scanout, damage, 60)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	const struct rect part = { 16, 32, 48, 80 };
	__s64 flushes;

	ASSERT_EQ(0, screen_watch(scene.render.screen));
	flushes = device_count(scene.render.screen, "flush");
	paint(_metadata, 0, COLOUR(9));
	ASSERT_EQ(0, dirty_fb(scene.display.fd, scene.frames[0].fb, &part, 1));
	EXPECT_TRUE(shows("scanout-damage"));
	/* The host shows what is drawn before it is told to. */
	while (device_count(scene.render.screen, "flush") == flushes && now_ns() < end)
		sleep_ns(10 * NSEC_PER_MSEC);
	EXPECT_TRUE(screen_flushed(scene.render.screen, &part, 1));
}

/* A flip waits for what is drawn into its frame, and not for what another one draws. */
TEST_F_TIMEOUT(scanout, flip_waits, 60)
{
	const __u32 words[] = { WORD_BUSY, 10 * BUSY_MS };
	struct drm_event_vblank event;
	int other = client_open();
	__s64 start = now_ns(), took;

	paint(_metadata, 1, COLOUR(3));
	ASSERT_EQ(0, draw(scene.frames[1].handle, scene.resources[1], COLOUR(3), BUSY_MS));
	ASSERT_EQ(0, flip_and_wait(&scene.display, scene.frames[1].fb, 0, &event));
	took = now_ns() - start;
	EXPECT_LE(BUSY_MS * NSEC_PER_MSEC, took);
	EXPECT_TRUE(shows("scanout-waits"));

	ASSERT_LE(0, other);
	start = now_ns();
	close(submit_fenced(other, words, ARRAY_SIZE(words)));
	paint(_metadata, 0, COLOUR(4));
	ASSERT_EQ(0, flip_and_wait(&scene.display, scene.frames[0].fb, 0, &event));
	took = now_ns() - start;
	EXPECT_GE(5 * BUSY_MS * NSEC_PER_MSEC, took);
	close(other);
}

/*
 * A flip is done when the device was told of its frame, which waits for the answer about the
 * frame before. Other drivers wait for no answers.
 */
TEST_F_TIMEOUT(scanout, one_frame_ahead, 60)
{
	struct drm_event_vblank event;
	__s64 start, took;
	unsigned int i;

	paint(_metadata, 1, COLOUR(5));
	paint(_metadata, 0, COLOUR(6));
	/* Drawing is not what is measured. */
	for (i = 0; i < FRAMES; i++)
		ASSERT_EQ(0, bo_wait(scene.display.fd, scene.frames[i].handle, 0));
	ASSERT_EQ(0, device_ask(scene.render.screen, "stall flush"));
	start = now_ns();
	ASSERT_EQ(0, flip_and_wait(&scene.display, scene.frames[1].fb, 0, &event));
	EXPECT_GT(AHEAD_NS, now_ns() - start);
	start = now_ns();
	ASSERT_EQ(0, flip_and_wait(&scene.display, scene.frames[0].fb, 0, &event));
	took = now_ns() - start;
	EXPECT_LE(scene.render.rust ? GIVEN_UP_NS : 0, took);
	ASSERT_EQ(0, device_resume(scene.render.screen));
	EXPECT_TRUE(shows("scanout-ahead"));
}

/* There is no more than one event for a vblank, however late the device draws. */
TEST_F_TIMEOUT(scanout, pace, 60)
{
	struct drm_event_vblank event, before;
	unsigned int i;

	ASSERT_EQ(0, flip_and_wait(&scene.display, scene.frames[1].fb, 0, &before));
	for (i = 0; i < PACED; i++) {
		ASSERT_EQ(0, draw(scene.frames[i % FRAMES].handle, scene.resources[i % FRAMES],
				  COLOUR(i), i % 4 * STEP_MS));
		ASSERT_EQ(0, flip_and_wait(&scene.display, scene.frames[i % FRAMES].fb, 0, &event));
		EXPECT_LT(0, (__s32)(event.sequence - before.sequence));
		before = event;
	}
}

/* The buffer may go while it is shown. */
TEST_F_TIMEOUT(scanout, closed_while_shown, 60)
{
	ASSERT_EQ(0, gem_close(scene.display.fd, scene.frames[0].handle));
	scene.frames[0].handle = 0;
	EXPECT_TRUE(shows("scanout-closed"));
	EXPECT_EQ(0, set_crtc(&scene.display, scene.frames[1].fb, &scene.display.mode, 0, 0));
}

/* Draws an image and sets it at once. Whether it was drawn before, and is the pointer. */
static bool draw_cursor(__u32 colour, unsigned int ms)
{
	__u8 bytes[4 * CURSOR_SIDE * CURSOR_SIDE];
	__u32 res, handle = picture_resource(CURSOR_SIDE, CURSOR_SIDE, FORMAT_BGRA, &res);
	char want[64];
	__u32 i;

	for (i = 0; i < sizeof(bytes); i++)
		bytes[i] = colour >> 8 * (i % 4);
	snprintf(want, sizeof(want), "pointer %d %d %d %d %08x", CURSOR_SIDE, CURSOR_SIDE,
		 CURSOR_HOT_X, CURSOR_HOT_Y, crc_of(bytes, sizeof(bytes)));
	return !draw(handle, res, colour, ms) &&
	       !cursor_set(&scene.display, DRM_MODE_CURSOR_BO, handle, 0, 0) &&
	       !bo_wait(scene.display.fd, handle, VIRTGPU_WAIT_NOWAIT) &&
	       screen_answers(scene.render.screen, "pointer", want);
}

/* The device copies an image when it is set: what draws it comes first. */
TEST_F_TIMEOUT(scanout, cursor, 60)
{
	EXPECT_TRUE(draw_cursor(0xff204060, 0));
	EXPECT_TRUE(draw_cursor(0xff604020, BUSY_MS));
	ASSERT_EQ(0, cursor_set(&scene.display, DRM_MODE_CURSOR_BO, 0, 0, 0));
}

/* A dumb buffer beside it goes the way that it goes without 3D. */
TEST_F_TIMEOUT(scanout, dumb_beside, 60)
{
	struct picture picture;
	struct frame frame;

	ASSERT_EQ(0, frame_of_screen(&scene.display, &frame, &picture, 5));
	ASSERT_EQ(0, set_crtc(&scene.display, frame.fb, &scene.display.mode, 0, 0));
	EXPECT_TRUE(screen_shows_within(scene.render.screen, "scanout-dumb", scene.display.head,
					&picture, RETURN_NS));
	EXPECT_LT(scene.transfers, device_count(scene.render.screen, "transfer"));
	ASSERT_EQ(0, set_crtc(&scene.display, scene.frames[0].fb, &scene.display.mode, 0, 0));
	EXPECT_TRUE(shows("scanout-back"));
	scene.transfers = device_count(scene.render.screen, "transfer");
	frame_destroy(scene.display.fd, &frame);
}

TEST_HARNESS_MAIN
