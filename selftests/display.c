// SPDX-License-Identifier: GPL-2.0
/*
 * What is set with the ioctls of old is what the screen shows, pixel by pixel.
 *
 * Environment: see display_screen.h
 */
#include "kselftest_harness.h"
#include "display_kms.h"

#define FLIPS		8
#define FRAME_NS	(50 * NSEC_PER_MSEC)

/* Each test is a process of its own. */
static struct {
	struct display display;
	struct frame frame;
	struct picture picture;
	int screen;
} scene;

FIXTURE(display)
{
};

FIXTURE_SETUP(display)
{
	const char *reason;

	reason = display_screen_open(&scene.display, &scene.screen);
	REQUIRE(return, !reason, reason);
	TH_LOG("%s, %s, head %u", scene.display.card, scene.display.mode.name, scene.display.head);
	ASSERT_EQ(0, frame_create(scene.display.fd, &scene.frame, scene.display.mode.hdisplay,
				  scene.display.mode.vdisplay));
	ASSERT_EQ(0, picture_create(&scene.picture, scene.frame.width, scene.frame.height));
}

FIXTURE_TEARDOWN(display)
{
	frame_destroy(scene.display.fd, &scene.frame);
	close(scene.display.fd);
}

static bool shows(const char *name)
{
	return screen_shows(scene.screen, name, scene.display.head, &scene.picture);
}

/* Shows the pattern. Returns 0 or -errno. */
static int show(__u32 seed)
{
	picture_fill(&scene.picture, seed);
	frame_draw(&scene.frame, &scene.picture);
	return set_crtc(&scene.display, scene.frame.fb, &scene.display.mode, 0, 0);
}

static int dirty(const struct display *display, __u32 fb, const struct rect *rects,
		 unsigned int count)
{
	struct drm_clip_rect clips[MAX_CLIPS];
	struct drm_mode_fb_dirty_cmd cmd = {
		.fb_id = fb,
		.num_clips = count,
		.clips_ptr = count ? user_pointer(clips) : 0,
	};
	unsigned int i;

	for (i = 0; i < count; i++)
		clips[i] = (struct drm_clip_rect){ rects[i].x1, rects[i].y1, rects[i].x2,
						   rects[i].y2 };
	return gpu_ioctl(display->fd, DRM_IOCTL_MODE_DIRTYFB, &cmd);
}

TEST_F_TIMEOUT(display, full_frame, 120)
{
	ASSERT_EQ(0, show(1));
	EXPECT_TRUE(shows("full-frame"));
	/* The same framebuffer again, with something else in it. */
	ASSERT_EQ(0, show(2));
	EXPECT_TRUE(shows("full-frame-again"));
}

/* What was not said to have changed does not change on the screen. */
TEST_F_TIMEOUT(display, dirty_clips, 300)
{
	const struct display *display = &scene.display;
	struct picture fresh;
	unsigned int i;

	ASSERT_EQ(0, picture_create(&fresh, scene.frame.width, scene.frame.height));
	ASSERT_EQ(0, show(0));
	ASSERT_TRUE(shows("dirty-before"));
	for (i = 0; i < ARRAY_SIZE(damages); i++) {
		struct rect clips[MAX_CLIPS];
		const char *how;

		picture_fill(&fresh, i + 1);
		frame_draw(&scene.frame, &fresh);
		damage_clips(&damages[i], fresh.width, fresh.height, clips);
		ASSERT_EQ(0, dirty(display, scene.frame.fb, clips, damages[i].count));
		how = screen_updated(scene.screen, display->head, &damages[i], &scene.picture,
				     &fresh);
		ASSERT_NE(NULL, how) TH_LOG("%s", damages[i].name);
		TH_LOG("%s: updates %s", damages[i].name, how);
	}
}

/* Without clips everything has changed. */
TEST_F_TIMEOUT(display, dirty_all, 120)
{
	ASSERT_EQ(0, show(1));
	picture_fill(&scene.picture, 2);
	frame_draw(&scene.frame, &scene.picture);
	ASSERT_EQ(0, dirty(&scene.display, scene.frame.fb, NULL, 0));
	EXPECT_TRUE(shows("dirty-all"));
}

static int page_flip(const struct display *display, __u32 fb, __u64 user_data)
{
	struct drm_mode_crtc_page_flip flip = {
		.crtc_id = display->crtc,
		.fb_id = fb,
		.flags = DRM_MODE_PAGE_FLIP_EVENT,
		.user_data = user_data,
	};

	return gpu_ioctl(display->fd, DRM_IOCTL_MODE_PAGE_FLIP, &flip);
}

TEST_F_TIMEOUT(display, page_flips, 300)
{
	const struct display *display = &scene.display;
	__s64 start, stamp, end, last = 0, longest = 0;
	struct frame other, *frames[2] = { &scene.frame, &other };
	struct drm_event_vblank event;
	__u32 sequence = 0, i;
	char name[32];

	ASSERT_EQ(0, frame_create(display->fd, &other, scene.frame.width, scene.frame.height));
	ASSERT_EQ(0, show(0));
	for (i = 1; i <= FLIPS; i++) {
		picture_fill(&scene.picture, i);
		frame_draw(frames[i % 2], &scene.picture);
		start = now_ns();
		ASSERT_EQ(0, page_flip(display, frames[i % 2]->fb, i));
		ASSERT_EQ(0, read_event(display->fd, &event, 1000));
		end = now_ns();
		longest = end - start > longest ? end - start : longest;
		EXPECT_EQ(DRM_EVENT_FLIP_COMPLETE, event.base.type);
		EXPECT_EQ(i, event.user_data);
		EXPECT_EQ(display->crtc, event.crtc_id);
		stamp = event.tv_sec * NSEC_PER_SEC + event.tv_usec * NSEC_PER_USEC;
		EXPECT_GE(stamp, start - FRAME_NS);
		EXPECT_LE(stamp, end + FRAME_NS);
		if (i > 1) {
			EXPECT_GT((__s32)(event.sequence - sequence), 0);
			EXPECT_GT(stamp, last);
		}
		sequence = event.sequence;
		last = stamp;
		snprintf(name, sizeof(name), "flip-%u", i);
		EXPECT_TRUE(shows(name));
	}
	TH_LOG("longest time to the event: %lld us", longest / NSEC_PER_USEC);
}

/* As fast as they are taken: as many events as flips, in their order. */
TEST_F_TIMEOUT(display, page_flips_at_once, 120)
{
	const struct display *display = &scene.display;
	struct frame other, *frames[2] = { &scene.frame, &other };
	struct drm_event_vblank event;
	unsigned int asked = 0, done = 0, busy = 0;
	__s64 deadline = now_ns() + GPU_PATIENCE_NS;
	__u32 sequence = 0;
	int ret;

	ASSERT_EQ(0, frame_create(display->fd, &other, scene.frame.width, scene.frame.height));
	ASSERT_EQ(0, show(1));
	frame_draw(&other, &scene.picture);
	while (done < 4 * FLIPS) {
		ASSERT_LT(now_ns(), deadline);
		if (asked < 4 * FLIPS) {
			ret = page_flip(display, frames[(asked + 1) % 2]->fb, asked);
			if (!ret) {
				asked++;
				continue;
			}
			ASSERT_EQ(-EBUSY, ret);
			busy++;
		}
		ASSERT_EQ(0, read_event(display->fd, &event, 1000));
		ASSERT_EQ(DRM_EVENT_FLIP_COMPLETE, event.base.type);
		ASSERT_EQ(done, event.user_data);
		/* Each at a vblank of its own. */
		if (done)
			EXPECT_GT((__s32)(event.sequence - sequence), 0);
		sequence = event.sequence;
		done++;
	}
	EXPECT_EQ(-ETIMEDOUT, read_event(display->fd, &event, 100));
	TH_LOG("%u flips, %u times busy", done, busy);
	EXPECT_TRUE(shows("flips-at-once"));
}

/* What is changed is also flushed, each time. */
TEST_F_TIMEOUT(display, flushes, 180)
{
	const struct display *display = &scene.display;
	struct rect clips[MAX_CLIPS], all = picture_rect(&scene.picture);
	struct drm_event_vblank event;
	struct frame other;
	unsigned int i;

	if (screen_watch(scene.screen))
		SKIP(return, "the host does not see the commands");
	ASSERT_EQ(0, frame_create(display->fd, &other, scene.frame.width, scene.frame.height));
	ASSERT_EQ(0, show(1));
	EXPECT_TRUE(screen_flushed(scene.screen, &all, 1));
	for (i = 0; i < ARRAY_SIZE(damages); i++) {
		damage_clips(&damages[i], all.x2, all.y2, clips);
		ASSERT_EQ(0, dirty(display, scene.frame.fb, clips, damages[i].count));
		EXPECT_TRUE(screen_flushed(scene.screen, clips, damages[i].count))
			TH_LOG("%s", damages[i].name);
	}
	EXPECT_FALSE(screen_flushed(scene.screen, &all, 1));
	ASSERT_EQ(0, page_flip(display, other.fb, 0));
	ASSERT_EQ(0, read_event(display->fd, &event, 1000));
	EXPECT_TRUE(screen_flushed(scene.screen, &all, 1));
	frame_destroy(display->fd, &other);
}

/* Where a picture is in its buffer: all in pixels. */
struct placement {
	const char *name;
	__u32 wider;	/* the buffer, than the picture */
	__u32 rows;	/* above the picture */
	__u32 pixels;	/* left of it */
	__u32 pitch;	/* more than the picture's width; 0: that of the buffer */
};

static const struct placement placements[] = {
	{ "wide", .wider = 64 },
	{ "wide-odd", .wider = 13 },
	{ "rows", .rows = 5 },
	{ "rows-and-pixels", .wider = 64, .rows = 3, .pixels = 7 },
	{ "pitch", .wider = 64, .pitch = 31 },
	{ "pitch-narrow", .wider = 128, .pitch = 1 },
	{ "pitch-and-offset", .wider = 64, .rows = 2, .pixels = 9, .pitch = 31 },
};

/* Shows a picture that is placed so, and changes a clip of it. Returns 0 or -errno. */
static int place(const struct placement *placement, struct frame *frame, bool *right)
{
	const struct damage *damage = &damages[1];
	const struct display *display = &scene.display;
	__u32 width = scene.picture.width, height = scene.picture.height, pitch;
	struct rect clips[MAX_CLIPS];
	struct picture fresh;
	int ret;

	ret = buffer_create(display->fd, frame, width + placement->wider,
			    height + placement->rows + 1);
	if (ret)
		return ret;
	pitch = placement->pitch ? 4 * (width + placement->pitch) : frame->buffer_pitch;
	ret = frame_add(display->fd, frame, width, height, pitch,
			pitch * placement->rows + 4 * placement->pixels);
	if (ret)
		return ret;
	picture_fill(&scene.picture, 1);
	frame_draw(frame, &scene.picture);
	ret = set_crtc(display, frame->fb, &display->mode, 0, 0);
	if (ret)
		return ret;
	*right = shows(placement->name);
	if (!*right)
		return 0;
	if (picture_create(&fresh, width, height))
		return -ENOMEM;
	picture_fill(&fresh, 2);
	frame_draw(frame, &fresh);
	damage_clips(damage, width, height, clips);
	ret = dirty(display, frame->fb, clips, damage->count);
	*right = !ret && screen_updated(scene.screen, display->head, damage, &scene.picture,
					&fresh);
	free(fresh.pixels);
	return ret;
}

/* Any pitch and any offset, for whole frames and for clips. */
TEST_F_TIMEOUT(display, pitch_and_offset, 300)
{
	const struct placement *placement;
	struct frame frame;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(placements); i++) {
		bool right = false;

		placement = &placements[i];
		EXPECT_EQ(0, place(placement, &frame, &right)) TH_LOG("%s", placement->name);
		EXPECT_TRUE(right)
			TH_LOG("%s: pitch %u, offset %u, the buffer's pitch %u", placement->name,
			       frame.pitch, frame.offset, frame.buffer_pitch);
		frame_destroy(scene.display.fd, &frame);
	}
}

/* A pitch that is not whole pixels is refused, or shows the right ones. */
TEST_F_TIMEOUT(display, pitch_of_odd_bytes, 120)
{
	const struct display *display = &scene.display;
	__u32 width = scene.picture.width, height = scene.picture.height;
	struct frame frame;
	int ret;

	ASSERT_EQ(0, buffer_create(display->fd, &frame, width + 64, height));
	ret = frame_add(display->fd, &frame, width, height, 4 * width + 2, 0);
	if (!ret) {
		picture_fill(&scene.picture, 1);
		frame_draw(&frame, &scene.picture);
		ret = set_crtc(display, frame.fb, &display->mode, 0, 0);
	}
	EXPECT_TRUE(ret ? ret == -EINVAL : shows("odd-bytes")) TH_LOG("%d", ret);
	frame_destroy(display->fd, &frame);
}

/* The part of @large at @x, @y becomes @small. */
static void picture_part(struct picture *small, const struct picture *large, __u32 x, __u32 y)
{
	__u32 row;

	for (row = 0; row < small->height; row++)
		memcpy(small->pixels + (size_t)row * small->width,
		       large->pixels + (size_t)(y + row) * large->width + x,
		       small->width * sizeof(*small->pixels));
}

/* The screen is a part of a larger framebuffer; clips are in the framebuffer's pixels. */
TEST_F_TIMEOUT(display, panning, 180)
{
	const struct { __u32 x, y; } places[] = { { 19, 11 }, { 37, 29 }, { 0, 1 } };
	const struct display *display = &scene.display;
	const struct rect clip = { 5, 7, 60, 51 };
	struct damage seen = { "panning-clip", 1, { { 0, 0, 41, 40 } } };
	struct picture large, fresh;
	struct frame frame;
	unsigned int i;

	ASSERT_EQ(0, frame_create(display->fd, &frame, scene.frame.width + 37,
				  scene.frame.height + 29));
	ASSERT_EQ(0, picture_create(&large, frame.width, frame.height));
	ASSERT_EQ(0, picture_create(&fresh, scene.frame.width, scene.frame.height));
	picture_fill(&large, 1);
	frame_draw(&frame, &large);
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		ASSERT_EQ(0, set_crtc(display, frame.fb, &display->mode, places[i].x,
				      places[i].y));
		picture_part(&scene.picture, &large, places[i].x, places[i].y);
		EXPECT_TRUE(shows("panning")) TH_LOG("at %u,%u", places[i].x, places[i].y);
	}
	/* Back to the first place, where a part of the clip is outside of the screen. */
	ASSERT_EQ(0, set_crtc(display, frame.fb, &display->mode, places[0].x, places[0].y));
	picture_part(&scene.picture, &large, places[0].x, places[0].y);
	picture_fill(&large, 2);
	frame_draw(&frame, &large);
	picture_part(&fresh, &large, places[0].x, places[0].y);
	ASSERT_EQ(0, dirty(display, frame.fb, &clip, 1));
	EXPECT_NE(NULL, screen_updated(scene.screen, display->head, &seen, &scene.picture,
				       &fresh));
	frame_destroy(display->fd, &frame);
}

/* The host draws the cursor by itself: it gets the commands, the screen stays as it was. */
TEST_F_TIMEOUT(display, cursor, 180)
{
	const struct display *display = &scene.display;
	const struct { __s32 x, y; } places[] = {
		{ 0, 0 }, { 101, 77 }, { -10, -20 }, { scene.frame.width - 1, 5 },
		{ 5, scene.frame.height - 1 }, { scene.frame.width / 2, scene.frame.height / 2 },
	};
	bool watched = !screen_watch(scene.screen);
	struct frame image[2];
	unsigned int i;

	ASSERT_EQ(0, show(1));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, buffer_create(display->fd, &image[i], 64, 64));
		memset(image[i].map, 0x7f + i, image[i].size);
	}
	ASSERT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_BO | DRM_MODE_CURSOR_MOVE, image[0].handle,
				9, 9));
	EXPECT_TRUE(!watched || screen_cursor(scene.screen, "update", 9, 9));
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		EXPECT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_MOVE, 0, places[i].x,
					places[i].y));
		EXPECT_TRUE(!watched ||
			    screen_cursor(scene.screen, "move", places[i].x, places[i].y));
	}
	EXPECT_TRUE(shows("cursor"));
	EXPECT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_BO, image[1].handle, 0, 0));
	EXPECT_TRUE(!watched ||
		    screen_cursor(scene.screen, "update", places[i - 1].x, places[i - 1].y));
	EXPECT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_BO, 0, 0, 0));
	EXPECT_TRUE(!watched || screen_cursor(scene.screen, "hide", 0, 0));
	EXPECT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_MOVE, 0, 55, 44));
	EXPECT_TRUE(shows("cursor-hidden"));
	EXPECT_GT(0, cursor_set(display, DRM_MODE_CURSOR_BO, 0xfffff, 0, 0));
}

/* The cursor does not wait for a flip that is on its way. With the C driver it does. */
TEST_F_TIMEOUT(display, cursor_while_flipping, 120)
{
	const struct display *display = &scene.display;
	struct drm_event_vblank event;
	unsigned int i, earlier = 0;
	struct frame image[2];

	ASSERT_EQ(0, show(1));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, buffer_create(display->fd, &image[i], 64, 64));
	ASSERT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_BO, image[0].handle, 0, 0));
	for (i = 0; i < FLIPS; i++) {
		ASSERT_EQ(0, page_flip(display, scene.frame.fb, i));
		EXPECT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_BO, image[i % 2].handle, 0, 0));
		EXPECT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_MOVE, 0, i, i));
		if (read_event(display->fd, &event, 0)) {
			earlier++;
			ASSERT_EQ(0, read_event(display->fd, &event, 1000));
		}
	}
	TH_LOG("%u of %u times the cursor was first", earlier, FLIPS);
	EXPECT_GE(earlier, FLIPS / 2);
	EXPECT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_BO, 0, 0, 0));
}

/* Every pixel is right in the smallest mode, in the largest, and in the first again. */
TEST_F_TIMEOUT(display, modes, 240)
{
	const struct display *display = &scene.display;
	const struct drm_mode_modeinfo *mode, *chosen[2] = { &display->mode, &display->mode };
	struct picture picture;
	struct frame frame;
	unsigned int i;
	char name[64];

	for (i = 0; i < display->mode_count; i++) {
		mode = &display->modes[i];
		if (mode->hdisplay * mode->vdisplay < chosen[0]->hdisplay * chosen[0]->vdisplay)
			chosen[0] = mode;
		if (mode->hdisplay * mode->vdisplay > chosen[1]->hdisplay * chosen[1]->vdisplay)
			chosen[1] = mode;
	}
	if (chosen[0] == &display->mode)
		SKIP(return, "the preferred mode is the smallest");
	for (i = 0; i < 2; i++) {
		mode = chosen[i];
		ASSERT_EQ(0, show(i));
		ASSERT_EQ(0, frame_create(display->fd, &frame, mode->hdisplay, mode->vdisplay));
		ASSERT_EQ(0, picture_create(&picture, mode->hdisplay, mode->vdisplay));
		picture_fill(&picture, 40 + i);
		frame_draw(&frame, &picture);
		ASSERT_EQ(0, set_crtc(display, frame.fb, mode, 0, 0));
		snprintf(name, sizeof(name), "mode-%ux%u", mode->hdisplay, mode->vdisplay);
		EXPECT_TRUE(screen_shows(scene.screen, name, display->head, &picture));
		ASSERT_EQ(0, set_crtc(display, scene.frame.fb, &display->mode, 0, 0));
		EXPECT_TRUE(shows("mode-back"));
		frame_destroy(display->fd, &frame);
		free(picture.pixels);
	}
}

/* Whether the screen shows something else. */
static bool hides(const char *name)
{
	struct rect all = picture_rect(&scene.picture);
	__u32 width, height, crc;

	return !screen_dump(scene.screen, name, scene.display.head, &width, &height, &crc) &&
	       crc != picture_crc(&scene.picture, &all);
}

static int set_dpms(const struct display *display, __u64 value)
{
	struct drm_mode_connector_set_property set = {
		.connector_id = display->connector,
		.prop_id = find_property(display->fd, display->connector, "DPMS", NULL),
		.value = value,
	};

	return gpu_ioctl(display->fd, DRM_IOCTL_MODE_SETPROPERTY, &set);
}

/* What is off shows nothing, and what comes on again is the same picture. */
TEST_F_TIMEOUT(display, off_and_on, 180)
{
	const struct display *display = &scene.display;

	ASSERT_EQ(0, show(1));
	ASSERT_TRUE(shows("off-before"));
	ASSERT_EQ(0, set_dpms(display, DRM_MODE_DPMS_OFF));
	EXPECT_TRUE(hides("off-dpms"));
	ASSERT_EQ(0, set_dpms(display, DRM_MODE_DPMS_ON));
	EXPECT_TRUE(shows("on-dpms"));
	ASSERT_EQ(0, crtc_off(display));
	EXPECT_TRUE(hides("off-crtc"));
	EXPECT_EQ(-EBUSY, page_flip(display, scene.frame.fb, 0));
	ASSERT_EQ(0, set_crtc(display, scene.frame.fb, &display->mode, 0, 0));
	EXPECT_TRUE(shows("on-crtc"));
}

/* A framebuffer that is removed is shown no longer. */
TEST_F_TIMEOUT(display, remove_framebuffer, 120)
{
	const struct display *display = &scene.display;

	ASSERT_EQ(0, show(1));
	ASSERT_TRUE(shows("remove-before"));
	frame_destroy(display->fd, &scene.frame);
	EXPECT_TRUE(hides("removed"));
	ASSERT_EQ(0, frame_create(display->fd, &scene.frame, scene.picture.width,
				  scene.picture.height));
	ASSERT_EQ(0, show(2));
	EXPECT_TRUE(shows("remove-after"));
}

/* The program goes while its picture is shown and a flip is on its way. */
TEST_F_TIMEOUT(display, drop, 180)
{
	struct frame other;
	unsigned int i;
	__s64 start;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, frame_create(scene.display.fd, &other, scene.picture.width,
					  scene.picture.height));
		ASSERT_EQ(0, show(i));
		ASSERT_TRUE(shows("drop-before"));
		ASSERT_EQ(0, page_flip(&scene.display, other.fb, 0));
		/* A mapping would keep the file open. */
		munmap(other.map, other.size);
		munmap(scene.frame.map, scene.frame.size);
		start = now_ns();
		ASSERT_EQ(0, close(scene.display.fd));
		EXPECT_LT(now_ns() - start, GPU_PATIENCE_NS);

		ASSERT_EQ(NULL, display_open(&scene.display));
		EXPECT_TRUE(hides("drop"));
		ASSERT_EQ(0, frame_create(scene.display.fd, &scene.frame, scene.picture.width,
					  scene.picture.height));
	}
	ASSERT_EQ(0, show(i));
	EXPECT_TRUE(shows("drop-after"));
}

TEST_HARNESS_MAIN
