// SPDX-License-Identifier: GPL-2.0
/*
 * The screen shows what atomic commits set, pixel by pixel. Commits that are refused,
 * or only test, change nothing.
 *
 * Environment: see display_screen.h
 */
#include "kselftest_harness.h"
#include "display_request.h"
#include "display_scene.h"

#define MODESET	DRM_MODE_ATOMIC_ALLOW_MODESET

/* Each test is a process of its own. */
static struct scene scene;
static __u32 preferred;		/* blob of the preferred mode */

FIXTURE(atomic)
{
};

FIXTURE_SETUP(atomic)
{
	const char *reason = scene_open(&scene);

	REQUIRE(return, !reason, reason);
	REQUIRE(return, !set_client_cap(scene.display.fd, DRM_CLIENT_CAP_ATOMIC),
		"the driver has no atomic commits");
	ASSERT_NE(0, scene.frame.fb);
	preferred = create_blob(scene.display.fd, &scene.display.mode, sizeof(scene.display.mode));
	ASSERT_NE(0, preferred);
}

FIXTURE_TEARDOWN(atomic)
{
	scene_close(&scene);
}

/* Sets the mode, the connector and the plane. */
static void request_all(struct request *request, __u32 fb, __u32 mode_blob,
			const struct drm_mode_modeinfo *mode)
{
	const struct display *display = &scene.display;

	request_set(request, display, display->crtc, "MODE_ID", mode_blob);
	request_set(request, display, display->crtc, "ACTIVE", 1);
	request_set(request, display, display->connector, "CRTC_ID", display->crtc);
	request_plane(request, display, fb, mode, 0, 0);
}

/* Shows the pattern in the preferred mode. Returns 0 or -errno. */
static int show(__u32 seed)
{
	struct request request = {};

	scene_paint(&scene, seed);
	request_all(&request, scene.frame.fb, preferred, &scene.display.mode);
	return request_commit(&scene.display, &request, MODESET, 0);
}

/* Sets one property of the primary plane. Returns 0 or -errno. */
static int set_plane(const char *name, __u64 value, __u32 flags)
{
	struct request request = {};

	request_set(&request, &scene.display, scene.display.primary, name, value);
	return request_commit(&scene.display, &request, flags, 0);
}

static int set_active(__u64 active, __u32 flags)
{
	struct request request = {};

	request_set(&request, &scene.display, scene.display.crtc, "ACTIVE", active);
	return request_commit(&scene.display, &request, flags, 0);
}

TEST_F_TIMEOUT(atomic, full_frame, 120)
{
	ASSERT_EQ(0, show(1));
	EXPECT_TRUE(scene_shows(&scene, "atomic-full"));
	/* The same framebuffer with other contents, and without damage clips. */
	scene_paint(&scene, 2);
	ASSERT_EQ(0, set_plane("FB_ID", scene.frame.fb, 0));
	EXPECT_TRUE(scene_shows(&scene, "atomic-again"));
}

/* Framebuffers of one buffer may share a resource of the host. It stays as long as one is left. */
TEST_F_TIMEOUT(atomic, one_buffer, 120)
{
	const int fd = scene.display.fd;
	struct frame *first = &scene.frame, second;
	struct drm_mode_destroy_dumb destroy = { .handle = first->handle };

	ASSERT_EQ(0, show(1));
	second = *first;
	ASSERT_EQ(0, frame_add(fd, &second, first->width, first->height, first->pitch, 0));
	picture_fill(&scene.picture, 2);
	frame_draw(&second, &scene.picture);
	ASSERT_EQ(0, set_plane("FB_ID", second.fb, 0));
	EXPECT_TRUE(scene_shows(&scene, "one-buffer-second"));

	ASSERT_EQ(0, gpu_ioctl(fd, DRM_IOCTL_MODE_RMFB, &first->fb));
	first->fb = 0;
	picture_fill(&scene.picture, 3);
	frame_draw(&second, &scene.picture);
	ASSERT_EQ(0, set_plane("FB_ID", second.fb, 0));
	EXPECT_TRUE(scene_shows(&scene, "one-buffer-removed"));

	ASSERT_EQ(0, gpu_ioctl(fd, DRM_IOCTL_MODE_DESTROY_DUMB, &destroy));
	first->handle = 0;
	EXPECT_TRUE(scene_shows(&scene, "one-buffer-closed"));
	picture_fill(&scene.picture, 4);
	frame_draw(&second, &scene.picture);
	ASSERT_EQ(0, set_plane("FB_ID", second.fb, 0));
	EXPECT_TRUE(scene_shows(&scene, "one-buffer-again"));
	EXPECT_EQ(0, gpu_ioctl(fd, DRM_IOCTL_MODE_RMFB, &second.fb));
}

/* Sets a framebuffer with damage. Returns 0 or -errno. */
static int set_damaged(__u32 fb, const struct rect *clips, unsigned int count)
{
	const struct display *display = &scene.display;
	struct request request = {};
	/* A rect is four signed numbers, like struct drm_mode_rect. */
	__u32 blob = create_blob(display->fd, clips, count * sizeof(*clips));
	int ret;

	if (!blob)
		return -ENOMEM;
	request_set(&request, display, display->primary, "FB_ID", fb);
	request_set(&request, display, display->primary, "FB_DAMAGE_CLIPS", blob);
	ret = request_commit(display, &request, 0, 0);
	gpu_ioctl(display->fd, DRM_IOCTL_MODE_DESTROYPROPBLOB, &blob);
	return ret;
}

TEST_F_TIMEOUT(atomic, damage_clips, 300)
{
	struct picture fresh;
	unsigned int i;

	ASSERT_EQ(0, picture_create(&fresh, scene.frame.width, scene.frame.height));
	ASSERT_EQ(0, show(0));
	ASSERT_TRUE(scene_shows(&scene, "atomic-damage-before"));
	for (i = 0; i < ARRAY_SIZE(damages); i++) {
		struct rect clips[MAX_CLIPS];
		const char *how;

		picture_fill(&fresh, i + 1);
		frame_draw(&scene.frame, &fresh);
		damage_clips(&damages[i], fresh.width, fresh.height, clips);
		ASSERT_EQ(0, set_damaged(scene.frame.fb, clips, damages[i].count));
		how = screen_updated(scene.screen, scene.display.head, &damages[i],
				     &scene.picture, &fresh);
		ASSERT_NE(NULL, how) TH_LOG("%s", damages[i].name);
		TH_LOG("%s: updates %s", damages[i].name, how);
	}
}

/* A framebuffer that was never shown is shown whole, whatever the damage clips say. */
TEST_F_TIMEOUT(atomic, damage_of_another_framebuffer, 120)
{
	const struct rect clip = { 10, 10, 20, 20 };
	struct frame other;

	ASSERT_EQ(0, frame_create(scene.display.fd, &other, scene.frame.width,
				  scene.frame.height));
	ASSERT_EQ(0, show(1));
	picture_fill(&scene.picture, 2);
	frame_draw(&other, &scene.picture);
	ASSERT_EQ(0, set_damaged(other.fb, &clip, 1));
	EXPECT_TRUE(scene_shows(&scene, "atomic-other"));
}

/*
 * The damage of a flip is what changes on the screen. The device reads what changed
 * since it last read the new framebuffer, and nothing else that was drawn into it.
 */
TEST_F_TIMEOUT(atomic, damage_of_flips, 300)
{
	static const struct {
		unsigned int frame;	/* the one that is shown */
		unsigned int since;	/* the first step whose damage it lacks */
		bool whole;
		struct rect clip;
	} steps[] = {
		/* Never shown. */
		{ 1, 0, true, { 10, 10, 20, 20 } },
		{ 2, 0, true, { 301, 33, 341, 44 } },
		{ 0, 0, false, { 5, 200, 6, 203 } },
		{ 2, 2, false, { 77, 88, 99, 133 } },
		{ 3, 0, true, { 400, 400, 440, 440 } },
		/* Last shown five flips ago. */
		{ 1, 0, true, { 50, 50, 60, 55 } },
		/* The same framebuffer again. */
		{ 1, 6, false, { 0, 0, 3, 3 } },
		{ 3, 5, false, { 600, 300, 640, 301 } },
		{ 1, 7, false, { 111, 1, 222, 2 } },
	};
	const struct rect all = picture_rect(&scene.picture);
	struct rect clips[ARRAY_SIZE(steps)], part;
	struct frame frames[4] = {};
	struct picture drawn, fresh;
	unsigned int i;

	ASSERT_EQ(0, picture_create(&drawn, all.x2, all.y2));
	ASSERT_EQ(0, picture_create(&fresh, all.x2, all.y2));
	ASSERT_EQ(0, show(1));
	ASSERT_TRUE(scene_shows(&scene, "flips-before"));
	frames[0] = scene.frame;
	for (i = 1; i < ARRAY_SIZE(frames); i++)
		ASSERT_EQ(0, frame_create(scene.display.fd, &frames[i], all.x2, all.y2));
	ASSERT_EQ(0, screen_watch(scene.screen));
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		clips[i] = steps[i].clip;
		picture_fill(&fresh, 2 + i);
		picture_copy(&scene.picture, &fresh, &clips[i]);
		part = steps[i].whole ? all : damage_box(&clips[steps[i].since],
							 i + 1 - steps[i].since);
		picture_fill(&drawn, 200 + i);
		picture_copy(&drawn, &scene.picture, &part);
		frame_draw(&frames[steps[i].frame], &drawn);
		ASSERT_EQ(0, set_damaged(frames[steps[i].frame].fb, &clips[i], 1));
		EXPECT_TRUE(screen_flushed(scene.screen, &clips[i], 1)) TH_LOG("step %u", i);
		EXPECT_TRUE(scene_shows(&scene, path("flips-%u", i))) TH_LOG("step %u", i);
	}
}

/* A clip beyond the edges is clipped to them, or refused. */
TEST_F_TIMEOUT(atomic, damage_beyond_the_edges, 120)
{
	const struct damage inside = { "beyond-the-edges", 1, { { -5, -7, 0, 0 } } };
	const __s32 width = scene.frame.width, height = scene.frame.height;
	const struct rect clip = { width - 5, height - 7, width + 1000, height + 1000 };
	struct picture fresh;
	int ret;

	ASSERT_EQ(0, picture_create(&fresh, width, height));
	ASSERT_EQ(0, show(1));
	picture_fill(&fresh, 2);
	frame_draw(&scene.frame, &fresh);
	ret = set_damaged(scene.frame.fb, &clip, 1);
	if (ret) {
		EXPECT_EQ(-EINVAL, ret);
		EXPECT_TRUE(scene_shows(&scene, "beyond-refused"));
	} else {
		EXPECT_NE(NULL, screen_updated(scene.screen, scene.display.head, &inside,
					       &scene.picture, &fresh));
	}
}

TEST_F_TIMEOUT(atomic, damage_refused, 120)
{
	const struct rect clips[] = {
		{ -1, 0, 5, 5 },
		{ 0, -1, 5, 5 },
		{ 7, 7, 7, 9 },
		{ 7, 7, 9, 7 },
		{ 9, 7, 7, 9 },
		{ 0x7fffffff, 0, -0x7fffffff, 1 },
	};
	unsigned int i;

	ASSERT_EQ(0, show(1));
	for (i = 0; i < ARRAY_SIZE(clips); i++) {
		EXPECT_EQ(-EINVAL, set_damaged(scene.frame.fb, &clips[i], 1))
			TH_LOG("clip %u", i);
	}
	EXPECT_TRUE(scene_shows(&scene, "atomic-damage-refused"));
}

/* Nonblocking commits with events, between two framebuffers. */
TEST_F_TIMEOUT(atomic, flips, 240)
{
	const struct display *display = &scene.display;
	struct frame other, *frames[2] = { &scene.frame, &other };
	struct drm_event_vblank event;
	__u32 sequence = 0, before, fewest = UINT_MAX, i;
	char name[32];

	ASSERT_EQ(0, frame_create(display->fd, &other, scene.frame.width, scene.frame.height));
	ASSERT_EQ(0, show(0));
	for (i = 1; i <= 6; i++) {
		struct request request = {};

		picture_fill(&scene.picture, i);
		frame_draw(frames[i % 2], &scene.picture);
		request_set(&request, display, display->primary, "FB_ID", frames[i % 2]->fb);
		ASSERT_EQ(0, crtc_sequence(display, &before));
		ASSERT_EQ(0, request_commit(display, &request, DRM_MODE_ATOMIC_NONBLOCK |
					    DRM_MODE_PAGE_FLIP_EVENT, i));
		ASSERT_EQ(0, wait_event(display->fd, &event));
		fewest = event.sequence - before < fewest ? event.sequence - before : fewest;
		EXPECT_EQ(DRM_EVENT_FLIP_COMPLETE, event.base.type);
		EXPECT_EQ(i, event.user_data);
		EXPECT_EQ(display->crtc, event.crtc_id);
		if (i > 1)
			EXPECT_GT((__s32)(event.sequence - sequence), 0);
		sequence = event.sequence;
		snprintf(name, sizeof(name), "atomic-flip-%u", i);
		EXPECT_TRUE(scene_shows(&scene, name));
	}
	EXPECT_LT(fewest, FLIP_TIMEOUT_VBLANKS);
}

TEST_F_TIMEOUT(atomic, test_only, 120)
{
	const struct display *display = &scene.display;
	const __u32 test = DRM_MODE_ATOMIC_TEST_ONLY;
	__u64 active = 0, fb = 0;
	struct frame other, small;

	ASSERT_EQ(0, frame_create(display->fd, &other, scene.frame.width, scene.frame.height));
	ASSERT_EQ(0, frame_create(display->fd, &small, 64, 64));
	ASSERT_EQ(0, show(1));
	EXPECT_EQ(0, set_plane("FB_ID", other.fb, test));
	EXPECT_EQ(0, set_active(0, test | MODESET));
	EXPECT_EQ(-EINVAL, set_active(0, test));
	EXPECT_EQ(-ENOSPC, set_plane("FB_ID", small.fb, test));
	EXPECT_EQ(-EINVAL, set_plane("FB_ID", other.fb, test | DRM_MODE_PAGE_FLIP_EVENT));
	EXPECT_TRUE(scene_shows(&scene, "test-only"));
	EXPECT_NE(0, find_property(display->fd, display->crtc, "ACTIVE", &active));
	EXPECT_EQ(1, active);
	EXPECT_NE(0, find_property(display->fd, display->primary, "FB_ID", &fb));
	EXPECT_EQ(scene.frame.fb, fb);
}

/* The plane shows one part of a larger framebuffer, then another one. */
TEST_F_TIMEOUT(atomic, source, 120)
{
	const struct display *display = &scene.display;
	struct picture large;
	struct frame frame;
	__u32 i, y;

	ASSERT_EQ(0, frame_create(display->fd, &frame, scene.frame.width + 21,
				  scene.frame.height + 9));
	ASSERT_EQ(0, picture_create(&large, frame.width, frame.height));
	picture_fill(&large, 1);
	frame_draw(&frame, &large);
	ASSERT_EQ(0, show(1));
	for (i = 1; i < 4; i++) {
		struct request request = {};

		request_plane(&request, display, frame.fb, &display->mode, 7 * i, 3 * i);
		ASSERT_EQ(0, request_commit(display, &request, 0, 0));
		for (y = 0; y < scene.picture.height; y++)
			memcpy(scene.picture.pixels + (size_t)y * scene.picture.width,
			       large.pixels + (size_t)(y + 3 * i) * large.width + 7 * i,
			       scene.picture.width * sizeof(*large.pixels));
		EXPECT_TRUE(scene_shows(&scene, "source")) TH_LOG("at %u,%u", 7 * i, 3 * i);
	}
}

/* One commit sets the smallest mode, and one the first mode again. */
TEST_F_TIMEOUT(atomic, mode, 120)
{
	const struct display *display = &scene.display;
	const struct drm_mode_modeinfo *mode = &display->mode;
	struct request request = {};
	struct picture picture;
	struct frame frame;
	unsigned int i;
	__u32 blob;

	for (i = 0; i < display->mode_count; i++) {
		if (display->modes[i].hdisplay * display->modes[i].vdisplay <
		    mode->hdisplay * mode->vdisplay)
			mode = &display->modes[i];
	}
	if (mode == &display->mode)
		SKIP(return, "the preferred mode is the smallest");
	ASSERT_EQ(0, show(1));
	ASSERT_EQ(0, frame_create(display->fd, &frame, mode->hdisplay, mode->vdisplay));
	ASSERT_EQ(0, picture_create(&picture, mode->hdisplay, mode->vdisplay));
	picture_fill(&picture, 2);
	frame_draw(&frame, &picture);
	blob = create_blob(display->fd, mode, sizeof(*mode));
	ASSERT_NE(0, blob);
	request_all(&request, frame.fb, blob, mode);
	EXPECT_EQ(-EINVAL, request_commit(display, &request, 0, 0));
	ASSERT_EQ(0, request_commit(display, &request, MODESET, 0));
	EXPECT_TRUE(screen_shows(scene.screen, "atomic-mode", display->head, &picture));
	ASSERT_EQ(0, show(3));
	EXPECT_TRUE(scene_shows(&scene, "atomic-mode-back"));
}

TEST_F_TIMEOUT(atomic, off_and_on, 120)
{
	struct rect all = picture_rect(&scene.picture);
	__u32 width, height, crc;

	ASSERT_EQ(0, show(1));
	ASSERT_EQ(0, set_active(0, MODESET));
	ASSERT_EQ(0, screen_dump(scene.screen, "atomic-off", scene.display.head, &width, &height,
				 &crc));
	EXPECT_NE(picture_crc(&scene.picture, &all), crc);
	/* A framebuffer that is set while the screen is off is shown when it comes on. */
	scene_paint(&scene, 2);
	ASSERT_EQ(0, set_plane("FB_ID", scene.frame.fb, 0));
	ASSERT_EQ(0, set_active(1, MODESET));
	EXPECT_TRUE(scene_shows(&scene, "atomic-on"));
}

/* Each of these is refused and does not change the screen. */
TEST_F_TIMEOUT(atomic, refused, 120)
{
	const struct display *display = &scene.display;
	const __u32 bad_id = 0xfffff, width = scene.frame.width;
	struct drm_mode_atomic atomic = { .flags = 1 << 31 };
	struct request request = {};
	struct frame small;

	ASSERT_EQ(0, frame_create(display->fd, &small, width - 1, scene.frame.height));
	ASSERT_EQ(0, show(1));

	EXPECT_EQ(-EINVAL, gpu_ioctl(display->fd, DRM_IOCTL_MODE_ATOMIC, &atomic));
	request_id(&request, bad_id, 1, 0);
	EXPECT_EQ(-ENOENT, request_commit(display, &request, 0, 0));
	request = (struct request){};
	request_id(&request, display->primary, bad_id, 0);
	EXPECT_EQ(-ENOENT, request_commit(display, &request, 0, 0));

	EXPECT_EQ(-EINVAL, set_plane("FB_ID", bad_id, 0));
	EXPECT_EQ(-EINVAL, set_plane("FB_ID", display->crtc, 0));
	EXPECT_EQ(-EINVAL, set_plane("CRTC_ID", bad_id, 0));
	EXPECT_EQ(-EINVAL, set_plane("CRTC_ID", 0, 0));
	EXPECT_EQ(-EINVAL, set_plane("FB_DAMAGE_CLIPS", bad_id, 0));
	EXPECT_EQ(-EINVAL, set_plane("FB_DAMAGE_CLIPS", scene.frame.fb, 0));
	EXPECT_EQ(-ENOSPC, set_plane("FB_ID", small.fb, 0));
	EXPECT_EQ(-ENOSPC, set_plane("SRC_X", 1 << 16, 0));
	EXPECT_EQ(-ENOSPC, set_plane("SRC_Y", 0xffffffff, 0));
	EXPECT_EQ(-ERANGE, set_plane("SRC_W", (width / 2) << 16, 0));
	EXPECT_EQ(-EINVAL, set_plane("CRTC_X", 1, 0));
	/* The id of a framebuffer is not that of a mode. */
	request = (struct request){};
	request_set(&request, display, display->crtc, "MODE_ID", scene.frame.fb);
	EXPECT_EQ(-EINVAL, request_commit(display, &request, MODESET, 0));
	EXPECT_TRUE(scene_shows(&scene, "atomic-refused"));
}

TEST_HARNESS_MAIN
