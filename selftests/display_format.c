// SPDX-License-Identifier: GPL-2.0
/*
 * The screen shows framebuffers of each format that the primary plane has, pixel by
 * pixel, and never looks at their alpha.
 *
 * Environment: see display_screen.h
 */
#include "kselftest_harness.h"
#include "display_format.h"
#include "display_request.h"
#include "display_scene.h"

#ifndef DRM_CLIENT_CAP_CURSOR_PLANE_HOTSPOT
#define DRM_CLIENT_CAP_CURSOR_PLANE_HOTSPOT	6
#endif

#define COUNT	ARRAY_SIZE(screen_formats)
#define ROUNDS	3

static const __u32 cursor_format = DRM_FORMAT_ARGB8888;
static const __u8 alphas[] = { 0xff, 0x80, 0 };
/* Each test is a process of its own. */
static struct scene scene;
/* A framebuffer of each format. */
static struct frame frames[COUNT];
static __u32 preferred;		/* blob of the preferred mode */

FIXTURE(format)
{
};

FIXTURE_SETUP(format)
{
	const char *reason = scene_open(&scene);
	int fd = scene.display.fd;
	unsigned int i;

	REQUIRE(return, !reason, reason);
	ASSERT_NE(0, scene.frame.fb);
	ASSERT_EQ(0, set_client_cap(fd, DRM_CLIENT_CAP_ATOMIC));
	/* The cursor plane is hidden from atomic clients without it. */
	ASSERT_EQ(0, set_client_cap(fd, DRM_CLIENT_CAP_CURSOR_PLANE_HOTSPOT));
	preferred = create_blob(fd, &scene.display.mode, sizeof(scene.display.mode));
	ASSERT_NE(0, preferred);
	ASSERT_EQ(0, scene_show(&scene, 255));
	for (i = 0; i < COUNT; i++)
		ASSERT_EQ(0, frame_create_format(fd, &frames[i], scene.picture.width,
						 scene.picture.height, screen_formats[i]))
			TH_LOG("%s", format_name(screen_formats[i]));
}

FIXTURE_TEARDOWN(format)
{
	unsigned int i;

	for (i = 0; i < COUNT; i++)
		frame_destroy(scene.display.fd, &frames[i]);
	scene_close(&scene);
}

/* Draws a pattern into the framebuffer of a format. */
static void paint(unsigned int format, __u8 alpha, __u32 seed)
{
	picture_fill(&scene.picture, seed);
	frame_draw_format(&frames[format], &scene.picture, screen_formats[format], alpha);
}

/* Sets the framebuffer of the primary plane, and clips if there are any. Returns 0 or -errno. */
static int set_fb(__u32 fb, const struct rect *clips, unsigned int count, __u32 flags)
{
	const struct display *display = &scene.display;
	struct request request = {};
	__u32 blob = 0;
	int ret;

	request_set(&request, display, display->primary, "FB_ID", fb);
	if (count) {
		blob = create_blob(display->fd, clips, count * sizeof(*clips));
		request_set(&request, display, display->primary, "FB_DAMAGE_CLIPS", blob);
	}
	ret = request_commit(display, &request, flags, 0);
	if (blob)
		gpu_ioctl(display->fd, DRM_IOCTL_MODE_DESTROYPROPBLOB, &blob);
	return ret;
}

TEST_F(format, offered)
{
	const struct display *display = &scene.display;

	EXPECT_TRUE(plane_has(display->fd, display->primary, screen_formats, COUNT));
	EXPECT_TRUE(plane_has(display->fd, display->cursor, &cursor_format, 1));
}

/* Whether the screen has this colour everywhere. */
static bool has_colour(const char *name, __u32 colour)
{
	size_t i;

	for (i = 0; i < (size_t)scene.picture.width * scene.picture.height; i++)
		scene.picture.pixels[i] = colour;
	return scene_shows(&scene, name);
}

/* The same bytes in each format, with each alpha: the colours are where the format has them. */
TEST_F_TIMEOUT(format, bytes, 300)
{
	static const __u32 seen[] = { 0x204060, 0x204060, 0x604020, 0x604020 };
	const struct display *display = &scene.display;
	unsigned int i, j;
	size_t at;

	for (i = 0; i < COUNT; i++) {
		for (j = 0; j < ARRAY_SIZE(alphas); j++) {
			const __u32 pixel = (__u32)alphas[j] << 24 | 0x204060;

			for (at = 0; at + sizeof(pixel) <= frames[i].size; at += sizeof(pixel))
				memcpy(frames[i].map + at, &pixel, sizeof(pixel));
			ASSERT_EQ(0, set_crtc(display, frames[i].fb, &display->mode, 0, 0));
			EXPECT_TRUE(has_colour("format-bytes", seen[i]))
				TH_LOG("%s: %08x", format_name(screen_formats[i]), pixel);
		}
	}
}

/* A picture by SETCRTC, and one by an atomic commit that sets the mode. */
TEST_F_TIMEOUT(format, modes, 300)
{
	const struct display *display = &scene.display;
	unsigned int i;

	for (i = 0; i < COUNT; i++) {
		const char *name = format_name(screen_formats[i]);
		struct request request = {};

		paint(i, 0, 2 * i);
		ASSERT_EQ(0, set_crtc(display, frames[i].fb, &display->mode, 0, 0))
			TH_LOG("%s", name);
		EXPECT_TRUE(scene_shows(&scene, "format-setcrtc")) TH_LOG("%s", name);
		ASSERT_EQ(0, crtc_off(display));
		paint(i, 0x80, 2 * i + 1);
		request_set(&request, display, display->crtc, "MODE_ID", preferred);
		request_set(&request, display, display->crtc, "ACTIVE", 1);
		request_set(&request, display, display->connector, "CRTC_ID", display->crtc);
		request_plane(&request, display, frames[i].fb, &display->mode, 0, 0);
		ASSERT_EQ(0, request_commit(display, &request, DRM_MODE_ATOMIC_ALLOW_MODESET, 0))
			TH_LOG("%s", name);
		EXPECT_TRUE(scene_shows(&scene, "format-atomic")) TH_LOG("%s", name);
	}
}

/* From each format to each other one. */
TEST_F_TIMEOUT(format, flips, 300)
{
	const __u32 flags = DRM_MODE_ATOMIC_NONBLOCK | DRM_MODE_PAGE_FLIP_EVENT;
	struct drm_event_vblank event;
	unsigned int round, i;

	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < COUNT; i++) {
			unsigned int format = (round + 1) * i % COUNT;

			paint(format, alphas[round], COUNT * round + i);
			ASSERT_EQ(0, set_fb(frames[format].fb, NULL, 0, flags));
			ASSERT_EQ(0, wait_event(scene.display.fd, &event));
			EXPECT_TRUE(scene_shows(&scene, "format-flip"))
				TH_LOG("%s", format_name(screen_formats[format]));
		}
	}
}

/* What changes on the screen is what the clips say, by an atomic commit and by DIRTYFB. */
TEST_F_TIMEOUT(format, damage, 600)
{
	const struct display *display = &scene.display;
	struct rect clips[MAX_CLIPS];
	struct picture fresh;
	unsigned int i, j;
	const char *how;

	ASSERT_EQ(0, picture_create(&fresh, scene.picture.width, scene.picture.height));
	for (i = 0; i < COUNT; i++) {
		paint(i, 0, 0);
		ASSERT_EQ(0, set_crtc(display, frames[i].fb, &display->mode, 0, 0));
		ASSERT_TRUE(scene_shows(&scene, "format-damage"));
		for (j = 0; j < ARRAY_SIZE(damages); j++) {
			const struct damage *damage = &damages[j];

			picture_fill(&fresh, j + 1);
			frame_draw_format(&frames[i], &fresh, screen_formats[i], 0);
			damage_clips(damage, fresh.width, fresh.height, clips);
			ASSERT_EQ(0, j % 2 ? dirty_fb(display->fd, frames[i].fb, clips,
						      damage->count)
					   : set_fb(frames[i].fb, clips, damage->count, 0));
			how = screen_updated(scene.screen, display->head, damage, &scene.picture,
					     &fresh);
			ASSERT_NE(NULL, how)
				TH_LOG("%s: %s", format_name(screen_formats[i]), damage->name);
		}
	}
	free(fresh.pixels);
}

/* Framebuffers of one buffer: another format is another picture, whatever the clips say. */
TEST_F_TIMEOUT(format, one_buffer, 120)
{
	const struct rect clip = { 10, 10, 20, 20 };
	const int fd = scene.display.fd;
	struct frame views[COUNT];
	unsigned int round, i;

	for (i = 0; i < COUNT; i++) {
		views[i] = frames[0];
		ASSERT_EQ(0, frame_add_format(fd, &views[i], screen_formats[i]));
	}
	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < COUNT; i++) {
			const __u32 format = screen_formats[(round + 1) * i % COUNT];
			const struct frame *view = &views[(round + 1) * i % COUNT];

			picture_fill(&scene.picture, COUNT * round + i);
			frame_draw_format(view, &scene.picture, format, 0x80);
			ASSERT_EQ(0, set_fb(view->fb, &clip, i || round, 0));
			EXPECT_TRUE(scene_shows(&scene, "format-one-buffer"))
				TH_LOG("%s", format_name(format));
		}
	}
	for (i = 0; i < COUNT; i++)
		EXPECT_EQ(0, gpu_ioctl(fd, DRM_IOCTL_MODE_RMFB, &views[i].fb));
}

/* The old ioctl names formats by their depth. */
TEST_F_TIMEOUT(format, depths, 60)
{
	static const __u32 depths[] = { 24, 32 };
	const struct display *display = &scene.display;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(depths); i++) {
		struct drm_mode_fb_cmd add = {
			.width = frames[0].width,
			.height = frames[0].height,
			.pitch = frames[0].pitch,
			.bpp = 32,
			.depth = depths[i],
			.handle = frames[0].handle,
		};

		paint(0, 0, i);
		ASSERT_EQ(0, gpu_ioctl(display->fd, DRM_IOCTL_MODE_ADDFB, &add));
		ASSERT_EQ(0, set_crtc(display, add.fb_id, &display->mode, 0, 0));
		EXPECT_TRUE(scene_shows(&scene, "format-depth")) TH_LOG("depth %u", depths[i]);
		EXPECT_EQ(0, gpu_ioctl(display->fd, DRM_IOCTL_MODE_RMFB, &add.fb_id));
	}
}

/* A mode of the cursor's size, in which one framebuffer is on both planes. */
static struct drm_mode_modeinfo small_mode(void)
{
	return (struct drm_mode_modeinfo){
		.clock = 400,
		.hdisplay = CURSOR_SIDE,
		.hsync_start = CURSOR_SIDE + 4,
		.hsync_end = CURSOR_SIDE + 8,
		.htotal = CURSOR_SIDE + 16,
		.vdisplay = CURSOR_SIDE,
		.vsync_start = CURSOR_SIDE + 4,
		.vsync_end = CURSOR_SIDE + 8,
		.vtotal = CURSOR_SIDE + 16,
		.vrefresh = 60,
		.name = "small",
	};
}

/* Shows a framebuffer on the screen and as the cursor. Returns 0 or -errno. */
static int show_on_both(const struct frame *frame)
{
	const struct display *display = &scene.display;
	const struct drm_mode_modeinfo mode = small_mode();
	const struct { const char *name; __u64 value; } properties[] = {
		{ "FB_ID", frame->fb },
		{ "CRTC_ID", display->crtc },
		{ "SRC_X", 0 },
		{ "SRC_Y", 0 },
		{ "SRC_W", CURSOR_SIDE << 16 },
		{ "SRC_H", CURSOR_SIDE << 16 },
		{ "CRTC_X", 5 },
		{ "CRTC_Y", 6 },
		{ "CRTC_W", CURSOR_SIDE },
		{ "CRTC_H", CURSOR_SIDE },
		{ "HOTSPOT_X", CURSOR_HOT_X },
		{ "HOTSPOT_Y", CURSOR_HOT_Y },
	};
	__u32 blob = create_blob(display->fd, &mode, sizeof(mode));
	struct request request = {};
	unsigned int i;

	request_set(&request, display, display->crtc, "MODE_ID", blob);
	request_set(&request, display, display->crtc, "ACTIVE", 1);
	request_set(&request, display, display->connector, "CRTC_ID", display->crtc);
	request_plane(&request, display, frame->fb, &mode, 0, 0);
	for (i = 0; i < ARRAY_SIZE(properties); i++)
		request_set(&request, display, display->cursor, properties[i].name,
			    properties[i].value);
	return request_commit(display, &request, DRM_MODE_ATOMIC_ALLOW_MODESET, 0);
}

/* A framebuffer with alpha on the screen and as the cursor: only the cursor has the alpha. */
TEST_F_TIMEOUT(format, screen_and_cursor, 60)
{
	const int fd = scene.display.fd;
	struct picture picture;
	struct frame both;
	char question[32], want[64];
	__u32 i, crc = ~0u;

	ASSERT_EQ(0, frame_create_format(fd, &both, CURSOR_SIDE, CURSOR_SIDE,
					 DRM_FORMAT_ARGB8888));
	ASSERT_EQ(0, picture_create(&picture, CURSOR_SIDE, CURSOR_SIDE));
	picture_fill(&picture, 7);
	frame_draw_format(&both, &picture, DRM_FORMAT_ARGB8888, 0x80);
	for (i = 0; i < 4 * CURSOR_SIDE * CURSOR_SIDE; i++)
		crc = crc_step(crc, both.map[i]);
	snprintf(question, sizeof(question), "pointer %u", scene.display.head);
	snprintf(want, sizeof(want), "pointer %d %d %d %d %08x", CURSOR_SIDE, CURSOR_SIDE,
		 CURSOR_HOT_X, CURSOR_HOT_Y, ~crc);
	ASSERT_EQ(0, show_on_both(&both));
	EXPECT_TRUE(screen_shows(scene.screen, "format-both", scene.display.head, &picture));
	EXPECT_TRUE(screen_answers(scene.screen, question, want));
	/* The next test finds no cursor. */
	EXPECT_EQ(0, cursor_set(&scene.display, DRM_MODE_CURSOR_BO, 0, 0, 0));
	frame_destroy(fd, &both);
	free(picture.pixels);
}

TEST_HARNESS_MAIN
