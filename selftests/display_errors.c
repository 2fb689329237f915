// SPDX-License-Identifier: GPL-2.0
/*
 * Bad requests to the display get the right errors and do not change the screen.
 *
 * Environment: see display_screen.h
 */
#include "kselftest_harness.h"
#include "display_scene.h"

#define NONE	0xfffff		/* no object has this id */
#define SIDE	256		/* of the buffer, in pixels; it fills whole pages */
#define PITCH	(4 * SIDE)

/* Each test is a process of its own. */
static struct scene scene;
static struct frame buffer;

FIXTURE(errors)
{
};

FIXTURE_SETUP(errors)
{
	const char *reason = scene_open(&scene);

	REQUIRE(return, !reason, reason);
	ASSERT_NE(0, scene.frame.fb);
	ASSERT_EQ(0, scene_show(&scene, 1));
	ASSERT_EQ(0, buffer_create(scene.display.fd, &buffer, SIDE, SIDE));
	ASSERT_EQ(PITCH, buffer.buffer_pitch);
	ASSERT_EQ(PITCH * SIDE, buffer.size);
}

FIXTURE_TEARDOWN(errors)
{
	EXPECT_TRUE(scene_shows(&scene, "after-errors"));
	frame_destroy(scene.display.fd, &buffer);
	scene_close(&scene);
}

/* A field that is zero here has a valid value in the request. */
struct bad_frame {
	const char *what;
	__u32 width, height, format, handle, pitch, offset, flags;
	int error;
	int or;		/* what the C driver returns, if that is another error */
};

static const struct bad_frame bad_frames[] = {
	{ "narrow", .width = 15, .error = -EINVAL },
	{ "low", .height = 15, .error = -EINVAL },
	{ "huge", .width = -1, .height = -1, .pitch = -1, .error = -EINVAL },
	{ "less pitch than a row", .pitch = PITCH - 4, .error = -EINVAL },
	{ "pitch that overflows", .pitch = -1, .error = -ERANGE },
	{ "pitch that just overflows", .pitch = 1u << 24, .error = -ERANGE },
	{ "pitch beyond the buffer", .pitch = PITCH + 4, .error = -EINVAL },
	{ "large pitch beyond the buffer", .pitch = (1u << 24) - 4, .error = -EINVAL },
	{ "offset that overflows", .offset = -4, .error = -ERANGE },
	{ "offset of a pixel", .offset = 4, .error = -EINVAL },
	{ "offset of a row", .offset = PITCH, .error = -EINVAL },
	{ "offset of the whole buffer", .offset = PITCH * SIDE, .error = -EINVAL },
	{ "a row more than the buffer", .height = SIDE + 1, .error = -EINVAL },
	{ "much more than the buffer", .width = 4096, .height = 4096, .pitch = 4 * 4096,
	  .error = -EINVAL },
	{ "no buffer", .handle = NONE, .error = -ENOENT, .or = -EINVAL },
	{ "no format", .format = 0x20202020, .error = -EINVAL },
	{ "16 bits", .format = DRM_FORMAT_RGB565, .error = -EINVAL, .or = -ENOENT },
	{ "two planes", .format = DRM_FORMAT_NV12, .error = -EINVAL },
	{ "modifiers", .flags = DRM_MODE_FB_MODIFIERS, .error = -EINVAL },
	{ "unknown flag", .flags = 1 << 7, .error = -EINVAL },
};

TEST_F_TIMEOUT(errors, framebuffers, 60)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad_frames); i++) {
		const struct bad_frame *bad = &bad_frames[i];
		struct drm_mode_fb_cmd2 add = {
			.width = bad->width ?: SIDE,
			.height = bad->height ?: SIDE,
			.pixel_format = bad->format ?: DRM_FORMAT_XRGB8888,
			.flags = bad->flags,
			.handles = { bad->handle ?: buffer.handle },
			.pitches = { bad->pitch ?: PITCH },
			.offsets = { bad->offset },
		};
		int ret = gpu_ioctl(scene.display.fd, DRM_IOCTL_MODE_ADDFB2, &add);

		if (bad->or && ret == bad->or)
			continue;
		EXPECT_EQ(bad->error, ret) TH_LOG("%s", bad->what);
		if (!ret)
			gpu_ioctl(scene.display.fd, DRM_IOCTL_MODE_RMFB, &add.fb_id);
	}
}

/* The largest and smallest sizes. */
TEST_F_TIMEOUT(errors, framebuffers_allowed, 60)
{
	const struct { __u32 width, height; } sizes[] = {
		{ 16, 16 }, { 16384, 16 }, { 16, 16384 }, { SIDE, SIDE },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct frame frame;

		EXPECT_EQ(0, frame_create(scene.display.fd, &frame, sizes[i].width,
					  sizes[i].height))
			TH_LOG("%ux%u", sizes[i].width, sizes[i].height);
		frame_destroy(scene.display.fd, &frame);
	}
	EXPECT_EQ(0, frame_add(scene.display.fd, &buffer, SIDE, SIDE / 2, PITCH,
			       PITCH * SIDE / 2));
}

/* One pixel too many, in a buffer that has room for it. */
TEST_F_TIMEOUT(errors, framebuffers_too_large, 60)
{
	const struct { __u32 width, height; } sizes[] = { { 16385, 16 }, { 16, 16385 } };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct frame frame;

		EXPECT_EQ(-EINVAL, frame_create(scene.display.fd, &frame, sizes[i].width,
						sizes[i].height))
			TH_LOG("%ux%u", sizes[i].width, sizes[i].height);
		EXPECT_NE(NULL, frame.map);
		frame_destroy(scene.display.fd, &frame);
	}
}

TEST_F_TIMEOUT(errors, buffers, 60)
{
	const struct { __u32 width, height, bpp; } sizes[] = {
		{ 0, 1, 32 }, { 1, 0, 32 }, { 1, 1, 0 }, { -1, 1, 32 }, { 1u << 16, 1u << 16, 32 },
		{ 1u << 30, 1, 32 }, { -1, -1, -1 }, { 1, 1, -1 },
		/* Depths that no format of the device has. */
		{ 64, 64, 8 }, { 64, 64, 16 }, { 64, 64, 64 },
	};
	struct drm_mode_map_dumb map = { .handle = NONE };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct drm_mode_create_dumb create = {
			.width = sizes[i].width,
			.height = sizes[i].height,
			.bpp = sizes[i].bpp,
		};

		EXPECT_EQ(-EINVAL, gpu_ioctl(scene.display.fd, DRM_IOCTL_MODE_CREATE_DUMB, &create))
			TH_LOG("%ux%u, %u", sizes[i].width, sizes[i].height, sizes[i].bpp);
	}
	EXPECT_EQ(-ENOENT, gpu_ioctl(scene.display.fd, DRM_IOCTL_MODE_MAP_DUMB, &map));
}

TEST_F_TIMEOUT(errors, modes, 60)
{
	struct display display = scene.display;
	struct frame small;
	__u32 fb = scene.frame.fb;

	ASSERT_EQ(0, frame_create(display.fd, &small, scene.frame.width,
				  scene.frame.height - 1));
	EXPECT_EQ(-ENOSPC, set_crtc(&display, small.fb, &display.mode, 0, 0));
	EXPECT_EQ(-ENOSPC, set_crtc(&display, fb, &display.mode, 1, 0));
	EXPECT_EQ(-ENOSPC, set_crtc(&display, fb, &display.mode, 0, 0xffff));
	EXPECT_EQ(-ERANGE, set_crtc(&display, fb, &display.mode, 0x10000, 0));
	EXPECT_EQ(-ENOENT, set_crtc(&display, NONE, &display.mode, 0, 0));
	display.mode.hdisplay = 0;
	EXPECT_EQ(-EINVAL, set_crtc(&display, fb, &display.mode, 0, 0));
	display = scene.display;
	/* Frames of less than 1 ms and of more than 1 s. */
	display.mode.clock = INT_MAX;
	EXPECT_EQ(-EINVAL, set_crtc(&display, fb, &display.mode, 0, 0));
	display.mode.clock = 1200 * display.mode.htotal * display.mode.vtotal / 1000;
	EXPECT_EQ(-EINVAL, set_crtc(&display, fb, &display.mode, 0, 0));
	display.mode.clock = 1;
	EXPECT_EQ(-EINVAL, set_crtc(&display, fb, &display.mode, 0, 0));
	display = scene.display;
	display.mode.htotal = 32768;
	display.mode.vtotal = 32768;
	display.mode.vscan = 4;
	EXPECT_EQ(-EINVAL, set_crtc(&display, fb, &display.mode, 0, 0));
	display = scene.display;
	display.connector = NONE;
	EXPECT_EQ(-ENOENT, set_crtc(&display, fb, &display.mode, 0, 0));
	display = scene.display;
	display.crtc = NONE;
	EXPECT_EQ(-ENOENT, set_crtc(&display, fb, &display.mode, 0, 0));
	display.crtc = fb;
	EXPECT_EQ(-ENOENT, set_crtc(&display, fb, &display.mode, 0, 0));
	frame_destroy(display.fd, &small);
}

TEST_F_TIMEOUT(errors, flips, 60)
{
	const struct display *display = &scene.display;
	struct drm_mode_crtc_page_flip flip = {
		.crtc_id = display->crtc,
		.fb_id = scene.frame.fb,
		.flags = 1 << 15,
	};
	struct drm_event_vblank event;
	struct frame small;

	ASSERT_EQ(0, frame_create(display->fd, &small, scene.frame.width - 1,
				  scene.frame.height));
	EXPECT_EQ(-EINVAL, gpu_ioctl(display->fd, DRM_IOCTL_MODE_PAGE_FLIP, &flip));
	flip.flags = DRM_MODE_PAGE_FLIP_EVENT;
	flip.fb_id = NONE;
	EXPECT_EQ(-ENOENT, gpu_ioctl(display->fd, DRM_IOCTL_MODE_PAGE_FLIP, &flip));
	flip.fb_id = small.fb;
	EXPECT_EQ(-ENOSPC, gpu_ioctl(display->fd, DRM_IOCTL_MODE_PAGE_FLIP, &flip));
	flip.fb_id = scene.frame.fb;
	flip.crtc_id = NONE;
	EXPECT_EQ(-ENOENT, gpu_ioctl(display->fd, DRM_IOCTL_MODE_PAGE_FLIP, &flip));
	/* A refused flip sends no event. */
	EXPECT_EQ(-ETIMEDOUT, read_event(display->fd, &event, 200));
	frame_destroy(display->fd, &small);
}

TEST_F_TIMEOUT(errors, clips, 60)
{
	struct drm_clip_rect clips[DRM_MODE_FB_DIRTY_MAX_CLIPS + 1] = {};
	struct drm_mode_fb_dirty_cmd dirty = {
		.fb_id = scene.frame.fb,
		.num_clips = 1,
		.clips_ptr = user_pointer(clips),
	};
	int fd = scene.display.fd;

	clips[0] = (struct drm_clip_rect){ 5, 5, 5, 6 };
	EXPECT_EQ(-EINVAL, gpu_ioctl(fd, DRM_IOCTL_MODE_DIRTYFB, &dirty));
	dirty.num_clips = ARRAY_SIZE(clips);
	EXPECT_EQ(-EINVAL, gpu_ioctl(fd, DRM_IOCTL_MODE_DIRTYFB, &dirty));
	dirty.num_clips = 0;
	EXPECT_EQ(-EINVAL, gpu_ioctl(fd, DRM_IOCTL_MODE_DIRTYFB, &dirty));
	dirty.num_clips = 1;
	dirty.clips_ptr = 1;
	EXPECT_EQ(-EFAULT, gpu_ioctl(fd, DRM_IOCTL_MODE_DIRTYFB, &dirty));
	dirty.clips_ptr = 0;
	EXPECT_EQ(-EINVAL, gpu_ioctl(fd, DRM_IOCTL_MODE_DIRTYFB, &dirty));
	dirty.fb_id = NONE;
	EXPECT_EQ(-ENOENT, gpu_ioctl(fd, DRM_IOCTL_MODE_DIRTYFB, &dirty));
}

/* A second program gets neither the display nor the buffers of the first one. */
TEST_F_TIMEOUT(errors, another_program, 60)
{
	struct display other = scene.display;
	struct drm_mode_fb_cmd2 add = {
		.width = SIDE,
		.height = SIDE,
		.pixel_format = DRM_FORMAT_XRGB8888,
		.handles = { buffer.handle },
		.pitches = { PITCH },
	};
	int ret;

	other.fd = open(other.card, O_RDWR | O_CLOEXEC);
	ASSERT_GE(other.fd, 0);
	EXPECT_EQ(-EACCES, crtc_off(&other));
	EXPECT_EQ(-EACCES, set_crtc(&other, scene.frame.fb, &other.mode, 0, 0));
	ret = gpu_ioctl(other.fd, DRM_IOCTL_MODE_ADDFB2, &add);
	EXPECT_TRUE(ret == -ENOENT || ret == -EINVAL || ret == -EACCES) TH_LOG("%d", ret);
	EXPECT_EQ(0, close(other.fd));
}

TEST_HARNESS_MAIN
