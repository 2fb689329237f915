// SPDX-License-Identifier: GPL-2.0
/*
 * The cursor plane of atomic clients. Clients that support hot spots see it, others do
 * not.
 *
 * Environment: see display_screen.h
 */
#include "kselftest_harness.h"
#include "display_request.h"
#include "display_scene.h"

#ifndef DRM_CLIENT_CAP_CURSOR_PLANE_HOTSPOT
#define DRM_CLIENT_CAP_CURSOR_PLANE_HOTSPOT	6
#endif

#define SIZE	CURSOR_SIDE

/* The state of the cursor plane in one commit. */
struct place {
	__u32 fb;
	__s32 x, y, hot_x, hot_y;
};

/* Each test is a process of its own. */
static struct scene scene;
static struct frame images[2];

FIXTURE(cursor)
{
};

FIXTURE_SETUP(cursor)
{
	const char *reason = scene_open(&scene);

	REQUIRE(return, !reason, reason);
	ASSERT_NE(0, scene.display.cursor);
	ASSERT_NE(0, scene.frame.fb);
	ASSERT_EQ(0, scene_show(&scene, 1));
	REQUIRE(return, !set_client_cap(scene.display.fd, DRM_CLIENT_CAP_ATOMIC),
		"the driver has no atomic commits");
}

FIXTURE_TEARDOWN(cursor)
{
	scene_close(&scene);
}

/* Returns the cursor plane that the client sees now, 0 if it sees none. */
static __u32 visible_cursor(void)
{
	struct display seen = { .fd = scene.display.fd };

	return find_pipe(&seen, 0) ? 0 : seen.cursor;
}

TEST_F_TIMEOUT(cursor, visibility, 60)
{
	__u32 plane = scene.display.cursor;
	__u64 value;

	EXPECT_EQ(0, visible_cursor());
	ASSERT_EQ(0, set_client_cap(scene.display.fd, DRM_CLIENT_CAP_CURSOR_PLANE_HOTSPOT));
	EXPECT_EQ(plane, visible_cursor());
	EXPECT_NE(0, find_property(scene.display.fd, plane, "HOTSPOT_X", &value));
	EXPECT_NE(0, find_property(scene.display.fd, plane, "HOTSPOT_Y", &value));
	EXPECT_EQ(0, find_property(scene.display.fd, scene.display.primary, "HOTSPOT_X", &value));
}

/* Makes an image that differs from any other. Returns 0 or -errno. */
static int image_create(struct frame *image, __u32 seed)
{
	struct drm_mode_fb_cmd2 add = {
		.width = SIZE,
		.height = SIZE,
		.pixel_format = DRM_FORMAT_ARGB8888,
	};
	int ret = buffer_create(scene.display.fd, image, SIZE, SIZE);
	__u32 i;

	if (ret)
		return ret;
	for (i = 0; i < SIZE * SIZE; i++) {
		__u32 pixel = 0xff000000 | (i * 0x010307 + seed) % 0x1000000;

		memcpy(image->map + 4 * i, &pixel, sizeof(pixel));
	}
	add.handles[0] = image->handle;
	add.pitches[0] = image->buffer_pitch;
	ret = gpu_ioctl(scene.display.fd, DRM_IOCTL_MODE_ADDFB2, &add);
	image->fb = add.fb_id;
	return ret;
}

/* Commits the whole state of the cursor. Returns 0 or -errno. */
static int commit(const struct place *place)
{
	const struct display *display = &scene.display;
	const struct { const char *name; __u64 value; } properties[] = {
		{ "FB_ID", place->fb },
		{ "CRTC_ID", place->fb ? display->crtc : 0 },
		{ "SRC_X", 0 },
		{ "SRC_Y", 0 },
		{ "SRC_W", SIZE << 16 },
		{ "SRC_H", SIZE << 16 },
		{ "CRTC_X", place->x },
		{ "CRTC_Y", place->y },
		{ "CRTC_W", SIZE },
		{ "CRTC_H", SIZE },
		{ "HOTSPOT_X", place->hot_x },
		{ "HOTSPOT_Y", place->hot_y },
	};
	struct request request = {};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(properties); i++)
		request_set(&request, display, display->cursor, properties[i].name,
			    properties[i].value);
	return request_commit(display, &request, 0, 0);
}

/* Asks the host for the pointer, and says what is right: the image, or that upside down. */
static void ask_for(const struct frame *image, const struct place *place, bool turned,
		    char question[32], char want[64])
{
	__u32 x, y, crc = ~0u;

	for (y = 0; y < SIZE; y++)
		for (x = 0; x < 4 * SIZE; x++)
			crc = crc_step(crc, image->map[4 * SIZE * (turned ? SIZE - 1 - y : y) + x]);
	snprintf(question, 32, "pointer %u", scene.display.head);
	snprintf(want, 64, "pointer %d %d %d %d %08x", SIZE, SIZE, place->hot_x, place->hot_y,
		 ~crc);
}

/* Whether a viewer of the screen has the image as its pointer, with this hot spot. */
static bool is_pointer(const struct frame *image, const struct place *place)
{
	char question[32], want[64];

	ask_for(image, place, false, question, want);
	return screen_answers(scene.screen, question, want);
}

/* Whether the pointer is another one than the image upside down. Asked after is_pointer(). */
static bool is_upright(const struct frame *image, const struct place *place)
{
	char question[32], want[64], answer[64];

	ask_for(image, place, true, question, want);
	return !screen_ask(scene.screen, answer, sizeof(answer), "%s", question) &&
	       strcmp(answer, want);
}

TEST_F_TIMEOUT(cursor, hotspot, 180)
{
	/* The comment says what differs from the step before. */
	const struct {
		unsigned int image;
		__s32 x, y, hot_x, hot_y;
		const char *command;
	} steps[] = {
		{ 0, 100, 50, 3, 5, "update" },
		{ 0, 101, 52, 3, 5, "move" },		/* the place */
		{ 0, 101, 52, 63, 0, "update" },	/* the hot spot */
		{ 1, 101, 52, 63, 0, "update" },	/* the image */
		{ 1, -20, -30, 31, 32, "update" },	/* the place and the hot spot */
		{ 0, 7, 8, 0, 0, "update" },		/* all */
	};
	struct place place = {};
	unsigned int i;

	ASSERT_EQ(0, set_client_cap(scene.display.fd, DRM_CLIENT_CAP_CURSOR_PLANE_HOTSPOT));
	ASSERT_EQ(0, image_create(&images[0], 0x123456));
	ASSERT_EQ(0, image_create(&images[1], 0xfedcba));
	ASSERT_EQ(0, screen_watch(scene.screen));
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		const struct frame *image = &images[steps[i].image];

		place = (struct place){ image->fb, steps[i].x, steps[i].y, steps[i].hot_x,
					steps[i].hot_y };
		ASSERT_EQ(0, commit(&place));
		EXPECT_TRUE(screen_cursor(scene.screen, steps[i].command, place.x, place.y));
		EXPECT_TRUE(is_pointer(image, &place)) TH_LOG("step %u", i);
		EXPECT_TRUE(is_upright(image, &place)) TH_LOG("step %u", i);
	}
	EXPECT_TRUE(scene_shows(&scene, "cursor-hotspot"));
	place.fb = 0;
	ASSERT_EQ(0, commit(&place));
	EXPECT_TRUE(screen_cursor(scene.screen, "hide", 0, 0));
	EXPECT_TRUE(scene_shows(&scene, "cursor-hidden"));
}

static int move(__s32 x, __s32 y)
{
	return cursor_set(&scene.display, DRM_MODE_CURSOR_MOVE, 0, x, y);
}

static int set_image(__u32 handle)
{
	return cursor_set(&scene.display, DRM_MODE_CURSOR_BO, handle, 0, 0);
}

/* If moves are faster than the device, some may be skipped, but not the last one. */
TEST_F_TIMEOUT(cursor, burst, 180)
{
	struct place place = { .x = 10, .y = 10 };
	__s32 round, i;

	ASSERT_EQ(0, set_client_cap(scene.display.fd, DRM_CLIENT_CAP_CURSOR_PLANE_HOTSPOT));
	ASSERT_EQ(0, image_create(&images[0], 0x123456));
	place.fb = images[0].fb;
	ASSERT_EQ(0, screen_watch(scene.screen));
	ASSERT_EQ(0, commit(&place));
	ASSERT_TRUE(screen_cursor(scene.screen, "update", place.x, place.y));
	for (round = 0; round < 10; round++) {
		for (i = 1; i <= 50; i++)
			ASSERT_EQ(0, move(round + i, round * i));
		EXPECT_TRUE(screen_cursor(scene.screen, "move", round + 50, round * 50))
			TH_LOG("round %d", round);
	}
}

/* The same for images: the last one stays. */
TEST_F_TIMEOUT(cursor, images, 180)
{
	unsigned int round, i;

	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, image_create(&images[i], 0x123456 * (i + 1)));
	ASSERT_EQ(0, screen_watch(scene.screen));
	for (round = 0; round < 10; round++) {
		struct place place = { .hot_x = CURSOR_HOT_X, .hot_y = CURSOR_HOT_Y };
		const struct frame *image;

		for (i = 20 + 6 * round; i; i--) {
			image = &images[i % 2];
			ASSERT_EQ(0, set_image(image->handle));
			if (i % 7 == 0)
				ASSERT_EQ(0, set_image(0));
		}
		ASSERT_EQ(0, move(10 * round, round));
		EXPECT_TRUE(is_pointer(image, &place)) TH_LOG("round %u", round);
		ASSERT_EQ(0, set_image(0));
		EXPECT_TRUE(screen_cursor(scene.screen, "hide", 0, 0));
	}
}

/* The image that was set while the screen was off is the one that comes with it. */
TEST_F_TIMEOUT(cursor, image_of_a_screen_that_is_off, 180)
{
	struct place place = { .hot_x = CURSOR_HOT_X, .hot_y = CURSOR_HOT_Y };
	unsigned int i;

	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, image_create(&images[i], 0x123456 * (i + 1)));
	ASSERT_EQ(0, screen_watch(scene.screen));
	ASSERT_EQ(0, set_image(images[0].handle));
	EXPECT_TRUE(is_pointer(&images[0], &place));
	ASSERT_EQ(0, set_dpms(&scene.display, DRM_MODE_DPMS_OFF));
	EXPECT_TRUE(screen_cursor(scene.screen, "hide", 0, 0));
	ASSERT_EQ(0, set_image(images[1].handle));
	ASSERT_EQ(0, set_dpms(&scene.display, DRM_MODE_DPMS_ON));
	EXPECT_TRUE(is_pointer(&images[1], &place));
	ASSERT_EQ(0, set_image(0));
	EXPECT_TRUE(screen_cursor(scene.screen, "hide", 0, 0));
}

TEST_HARNESS_MAIN
