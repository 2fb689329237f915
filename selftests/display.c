// SPDX-License-Identifier: GPL-2.0
/*
 * The screen shows what the legacy ioctls set, pixel by pixel.
 *
 * Environment: see display_screen.h
 */
#include "kselftest_harness.h"
#include "display_request.h"
#include "display_scene.h"
#include "sw_sync.h"

#define FLIPS		8
#define EVENT		DRM_MODE_PAGE_FLIP_EVENT
#define FRAME_NS	(50 * NSEC_PER_MSEC)
/* A frame that takes longer than any ioctl. The driver accepts up to a second. */
#define SLOW_FRAME_MS	800
/* In seconds. DRM waits ten for a flip: an ioctl that takes less has not waited. */
#define AT_ONCE		8

/* Each test is a process of its own. */
static struct scene scene;

FIXTURE(display)
{
};

FIXTURE_SETUP(display)
{
	const char *reason = scene_open(&scene);

	REQUIRE(return, !reason, reason);
	ASSERT_NE(0, scene.frame.fb);
	TH_LOG("%s, %s, head %u", scene.display.card, scene.display.mode.name, scene.display.head);
}

FIXTURE_TEARDOWN(display)
{
	scene_close(&scene);
}

TEST_F_TIMEOUT(display, full_frame, 120)
{
	ASSERT_EQ(0, scene_show(&scene, 1));
	EXPECT_TRUE(scene_shows(&scene, "full-frame"));
	EXPECT_TRUE(screen_turns(scene.screen, "full-frame", &scene.picture));
	/* The same framebuffer again, with other contents. */
	ASSERT_EQ(0, scene_show(&scene, 2));
	EXPECT_TRUE(scene_shows(&scene, "full-frame-again"));
}

/* Only the parts that DIRTYFB names change on the screen. */
TEST_F_TIMEOUT(display, dirty_clips, 300)
{
	const struct display *display = &scene.display;
	struct picture fresh;
	unsigned int i;

	ASSERT_EQ(0, picture_create(&fresh, scene.frame.width, scene.frame.height));
	ASSERT_EQ(0, scene_show(&scene, 0));
	ASSERT_TRUE(scene_shows(&scene, "dirty-before"));
	for (i = 0; i < ARRAY_SIZE(damages); i++) {
		struct rect clips[MAX_CLIPS];
		const char *how;

		picture_fill(&fresh, i + 1);
		frame_draw(&scene.frame, &fresh);
		damage_clips(&damages[i], fresh.width, fresh.height, clips);
		ASSERT_EQ(0, dirty_fb(display->fd, scene.frame.fb, clips, damages[i].count));
		how = screen_updated(scene.screen, display->head, &damages[i], &scene.picture,
				     &fresh);
		ASSERT_NE(NULL, how) TH_LOG("%s", damages[i].name);
		TH_LOG("%s: updates %s", damages[i].name, how);
	}
}

/* Without clips the whole framebuffer has changed. */
TEST_F_TIMEOUT(display, dirty_all, 120)
{
	ASSERT_EQ(0, scene_show(&scene, 1));
	scene_paint(&scene, 2);
	ASSERT_EQ(0, dirty_fb(scene.display.fd, scene.frame.fb, NULL, 0));
	EXPECT_TRUE(scene_shows(&scene, "dirty-all"));
}

TEST_F_TIMEOUT(display, page_flips, 300)
{
	const struct display *display = &scene.display;
	__s64 start, stamp, end, last = 0, longest = 0;
	struct frame other, *frames[2] = { &scene.frame, &other };
	struct drm_event_vblank event;
	__u32 sequence = 0, before, fewest = UINT_MAX, i;
	char name[32];

	ASSERT_EQ(0, frame_create(display->fd, &other, scene.frame.width, scene.frame.height));
	ASSERT_EQ(0, scene_show(&scene, 0));
	for (i = 1; i <= FLIPS; i++) {
		picture_fill(&scene.picture, i);
		frame_draw(frames[i % 2], &scene.picture);
		ASSERT_EQ(0, crtc_sequence(display, &before));
		start = now_ns();
		ASSERT_EQ(0, page_flip(display, frames[i % 2]->fb, EVENT, i));
		ASSERT_EQ(0, wait_event(display->fd, &event));
		end = now_ns();
		longest = end - start > longest ? end - start : longest;
		fewest = event.sequence - before < fewest ? event.sequence - before : fewest;
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
		EXPECT_TRUE(scene_shows(&scene, name));
	}
	TH_LOG("time to the event: %u vblanks at least, %lld us at most", fewest,
	       longest / NSEC_PER_USEC);
	EXPECT_LT(fewest, FLIP_TIMEOUT_VBLANKS);
}

/* Flips as fast as the driver takes them: as many events as flips, in the same order. */
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
	ASSERT_EQ(0, scene_show(&scene, 1));
	frame_draw(&other, &scene.picture);
	while (done < 4 * FLIPS) {
		ASSERT_LT(now_ns(), deadline);
		if (asked < 4 * FLIPS) {
			ret = page_flip(display, frames[(asked + 1) % 2]->fb, EVENT, asked);
			if (!ret) {
				asked++;
				continue;
			}
			ASSERT_EQ(-EBUSY, ret);
			busy++;
		}
		ASSERT_EQ(0, wait_event(display->fd, &event));
		ASSERT_EQ(DRM_EVENT_FLIP_COMPLETE, event.base.type);
		ASSERT_EQ(done, event.user_data);
		/* Each flip has a vblank of its own. */
		if (done)
			EXPECT_GT((__s32)(event.sequence - sequence), 0);
		sequence = event.sequence;
		done++;
	}
	EXPECT_EQ(-ETIMEDOUT, read_event(display->fd, &event, 100));
	TH_LOG("%u flips, %u times busy", done, busy);
	EXPECT_TRUE(scene_shows(&scene, "flips-at-once"));
}

/* Each change is also flushed. */
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
	ASSERT_EQ(0, scene_show(&scene, 1));
	EXPECT_TRUE(screen_flushed(scene.screen, &all, 1));
	for (i = 0; i < ARRAY_SIZE(damages); i++) {
		damage_clips(&damages[i], all.x2, all.y2, clips);
		ASSERT_EQ(0, dirty_fb(display->fd, scene.frame.fb, clips, damages[i].count));
		EXPECT_TRUE(screen_flushed(scene.screen, clips, damages[i].count))
			TH_LOG("%s", damages[i].name);
	}
	EXPECT_FALSE(screen_flushed(scene.screen, &all, 1));
	ASSERT_EQ(0, page_flip(display, other.fb, EVENT, 0));
	ASSERT_EQ(0, wait_event(display->fd, &event));
	EXPECT_TRUE(screen_flushed(scene.screen, &all, 1));
	frame_destroy(display->fd, &other);
}

/* Where a picture is in its buffer, in pixels. */
struct placement {
	const char *name;
	__u32 wider;	/* how much wider the buffer is than the picture */
	__u32 rows;	/* rows above the picture */
	__u32 pixels;	/* pixels left of it */
	__u32 pitch;	/* how much more than the picture's width; 0: the buffer's own */
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

/* Shows a picture at this place in its buffer, and changes a part. Returns 0 or -errno. */
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
	*right = scene_shows(&scene, placement->name);
	if (!*right)
		return 0;
	if (picture_create(&fresh, width, height))
		return -ENOMEM;
	picture_fill(&fresh, 2);
	frame_draw(frame, &fresh);
	damage_clips(damage, width, height, clips);
	ret = dirty_fb(display->fd, frame->fb, clips, damage->count);
	*right = !ret && screen_updated(scene.screen, display->head, damage, &scene.picture,
					&fresh);
	free(fresh.pixels);
	return ret;
}

/* Whole frames and clips are right with any pitch and any offset. */
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

/* A pitch that is not a multiple of a pixel is refused, or the picture is right. */
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
	EXPECT_TRUE(ret ? ret == -EINVAL : scene_shows(&scene, "odd-bytes")) TH_LOG("%d", ret);
	frame_destroy(display->fd, &frame);
}

/* Copies the part of @large at @x, @y to @small. */
static void picture_part(struct picture *small, const struct picture *large, __u32 x, __u32 y)
{
	__u32 row;

	for (row = 0; row < small->height; row++)
		memcpy(small->pixels + (size_t)row * small->width,
		       large->pixels + (size_t)(y + row) * large->width + x,
		       small->width * sizeof(*small->pixels));
}

/* The screen shows a part of a larger framebuffer. Clips count the framebuffer's pixels. */
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
		EXPECT_TRUE(scene_shows(&scene, "panning"))
			TH_LOG("at %u,%u", places[i].x, places[i].y);
	}
	/* At the first place a part of the clip is outside the screen. */
	ASSERT_EQ(0, set_crtc(display, frame.fb, &display->mode, places[0].x, places[0].y));
	picture_part(&scene.picture, &large, places[0].x, places[0].y);
	picture_fill(&large, 2);
	frame_draw(&frame, &large);
	picture_part(&fresh, &large, places[0].x, places[0].y);
	ASSERT_EQ(0, dirty_fb(display->fd, frame.fb, &clip, 1));
	EXPECT_NE(NULL, screen_updated(scene.screen, display->head, &seen, &scene.picture,
				       &fresh));
	frame_destroy(display->fd, &frame);
}

/* The host draws the cursor on its own: it gets the commands, and the screen stays the same. */
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

	ASSERT_EQ(0, scene_show(&scene, 1));
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
	EXPECT_TRUE(scene_shows(&scene, "cursor"));
	EXPECT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_BO, image[1].handle, 0, 0));
	EXPECT_TRUE(!watched ||
		    screen_cursor(scene.screen, "update", places[i - 1].x, places[i - 1].y));
	EXPECT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_BO, 0, 0, 0));
	EXPECT_TRUE(!watched || screen_cursor(scene.screen, "hide", 0, 0));
	EXPECT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_MOVE, 0, 55, 44));
	EXPECT_TRUE(scene_shows(&scene, "cursor-hidden"));
	EXPECT_GT(0, cursor_set(display, DRM_MODE_CURSOR_BO, 0xfffff, 0, 0));
}

/* Flips with an atomic commit, as soon as the fence is signaled. Returns 0 or -errno. */
static int flip_after(const struct sw_fence *fence, __u64 user_data)
{
	const struct display *display = &scene.display;
	struct request request = {};

	request_set(&request, display, display->primary, "FB_ID", scene.frame.fb);
	request_set(&request, display, display->primary, "IN_FENCE_FD", fence->file);
	return request_commit(display, &request, DRM_MODE_ATOMIC_NONBLOCK | EVENT, user_data);
}

/* As cursor_set(), but fails if the call waits for a flip. */
static int cursor_at_once(__u32 flags, __u32 handle, __s32 x, __s32 y)
{
	__s64 start = now_ns();
	int ret;

	interrupt_after(AT_ONCE);
	ret = cursor_set(&scene.display, flags, handle, x, y);
	interrupt_after(0);
	return !ret && now_ns() - start >= AT_ONCE * NSEC_PER_SEC ? -ETIME : ret;
}

/* The device executes the cursor's commands while a flip waits for a fence. */
static void cursor_before_fence(struct __test_metadata *_metadata, const struct frame *images,
				bool watched)
{
	const struct display *display = &scene.display;
	struct drm_event_vblank event;
	struct sw_fence fence;
	unsigned int i;

	for (i = 1; i <= FLIPS; i++) {
		ASSERT_EQ(0, sw_fence_create(&fence));
		ASSERT_EQ(0, flip_after(&fence, i));
		ASSERT_EQ(0, cursor_at_once(DRM_MODE_CURSOR_BO, images[i % 2].handle, 0, 0));
		EXPECT_TRUE(!watched || screen_cursor(scene.screen, "update", i - 1, i - 1));
		ASSERT_EQ(0, cursor_at_once(DRM_MODE_CURSOR_MOVE, 0, i, i));
		EXPECT_TRUE(!watched || screen_cursor(scene.screen, "move", i, i));
		EXPECT_EQ(-ETIMEDOUT, read_event(display->fd, &event, 0));
		ASSERT_EQ(0, sw_fence_signal(&fence));
		ASSERT_EQ(0, wait_event(display->fd, &event));
		EXPECT_EQ(i, event.user_data);
		sw_fence_close(&fence);
	}
}

/*
 * Nor does the cursor wait for the vblank of a flip that the device has executed: it is
 * done before. If it waited it would be done after that vblank, every time.
 */
static void cursor_before_vblank(struct __test_metadata *_metadata, const struct frame *images)
{
	const struct display *display = &scene.display;
	__s64 deadline = now_ns() + 2 * GPU_PATIENCE_NS;
	struct drm_mode_modeinfo mode = display->mode;
	unsigned int i, before = 0;
	struct drm_event_vblank event;
	__u32 done;

	mode_pace(&mode, SLOW_FRAME_MS);
	ASSERT_EQ(0, set_crtc(display, scene.frame.fb, &mode, 0, 0));
	for (i = 0; before < FLIPS / 2 && now_ns() < deadline; i++) {
		ASSERT_EQ(0, page_flip(display, scene.frame.fb, EVENT, i));
		EXPECT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_BO, images[i % 2].handle, 0, 0));
		EXPECT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_MOVE, 0, i, i));
		ASSERT_EQ(0, crtc_sequence(display, &done));
		ASSERT_EQ(0, wait_event(display->fd, &event));
		before += (__s32)(done - event.sequence) < 0;
	}
	TH_LOG("the cursor was done before %u of %u vblanks", before, i);
	EXPECT_EQ(FLIPS / 2, before);
}

/* The cursor does not wait for a flip that is not on the screen yet. With the C driver it does. */
TEST_F_TIMEOUT(display, cursor_while_flipping, 240)
{
	const struct display *display = &scene.display;
	bool watched = !screen_watch(scene.screen);
	struct frame images[2];
	unsigned int i;

	REQUIRE(return, !access(SW_SYNC_FILE, W_OK), NO_SW_SYNC);
	REQUIRE(return, !set_client_cap(display->fd, DRM_CLIENT_CAP_ATOMIC),
		"the driver has no atomic commits");
	ASSERT_EQ(0, scene_show(&scene, 1));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, buffer_create(display->fd, &images[i], CURSOR_SIDE, CURSOR_SIDE));
	ASSERT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_BO | DRM_MODE_CURSOR_MOVE,
				images[0].handle, 1, 1));
	EXPECT_TRUE(!watched || screen_cursor(scene.screen, "update", 1, 1));
	/* The first update below must not look like the one above. */
	ASSERT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_MOVE, 0, 0, 0));
	EXPECT_TRUE(!watched || screen_cursor(scene.screen, "move", 0, 0));
	cursor_before_fence(_metadata, images, watched);
	cursor_before_vblank(_metadata, images);
	EXPECT_EQ(0, cursor_set(display, DRM_MODE_CURSOR_BO, 0, 0, 0));
}

/* Every pixel is right in the smallest mode, in the largest, and back in the first one. */
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
		ASSERT_EQ(0, scene_show(&scene, i));
		ASSERT_EQ(0, frame_create(display->fd, &frame, mode->hdisplay, mode->vdisplay));
		ASSERT_EQ(0, picture_create(&picture, mode->hdisplay, mode->vdisplay));
		picture_fill(&picture, 40 + i);
		frame_draw(&frame, &picture);
		ASSERT_EQ(0, set_crtc(display, frame.fb, mode, 0, 0));
		snprintf(name, sizeof(name), "mode-%ux%u", mode->hdisplay, mode->vdisplay);
		EXPECT_TRUE(screen_shows(scene.screen, name, display->head, &picture));
		ASSERT_EQ(0, set_crtc(display, scene.frame.fb, &display->mode, 0, 0));
		EXPECT_TRUE(scene_shows(&scene, "mode-back"));
		frame_destroy(display->fd, &frame);
		free(picture.pixels);
	}
}

/* Whether the screen shows something else. */
static bool hides(const char *name)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	struct rect all = picture_rect(&scene.picture);
	const __u32 shown = picture_crc(&scene.picture, &all);
	__u32 width, height, crc;

	/* The driver has told the device, and does not wait until that has done it. */
	do {
		if (screen_dump(scene.screen, name, scene.display.head, &width, &height, &crc))
			return false;
		if (crc != shown)
			return true;
	} while (now_ns() < end);
	return false;
}

/* A screen that is off shows nothing. When it comes on again it shows the same picture. */
TEST_F_TIMEOUT(display, off_and_on, 180)
{
	const struct display *display = &scene.display;

	ASSERT_EQ(0, scene_show(&scene, 1));
	ASSERT_TRUE(scene_shows(&scene, "off-before"));
	ASSERT_EQ(0, set_dpms(display, DRM_MODE_DPMS_OFF));
	EXPECT_TRUE(hides("off-dpms"));
	ASSERT_EQ(0, set_dpms(display, DRM_MODE_DPMS_ON));
	EXPECT_TRUE(scene_shows(&scene, "on-dpms"));
	ASSERT_EQ(0, crtc_off(display));
	EXPECT_TRUE(hides("off-crtc"));
	EXPECT_EQ(-EBUSY, page_flip(display, scene.frame.fb, EVENT, 0));
	ASSERT_EQ(0, set_crtc(display, scene.frame.fb, &display->mode, 0, 0));
	EXPECT_TRUE(scene_shows(&scene, "on-crtc"));
}

/* A framebuffer that is removed is not shown any more. */
TEST_F_TIMEOUT(display, remove_framebuffer, 120)
{
	const struct display *display = &scene.display;

	ASSERT_EQ(0, scene_show(&scene, 1));
	ASSERT_TRUE(scene_shows(&scene, "remove-before"));
	frame_destroy(display->fd, &scene.frame);
	EXPECT_TRUE(hides("removed"));
	ASSERT_EQ(0, frame_create(display->fd, &scene.frame, scene.picture.width,
				  scene.picture.height));
	ASSERT_EQ(0, scene_show(&scene, 2));
	EXPECT_TRUE(scene_shows(&scene, "remove-after"));
}

/* A program closes the card while its picture is shown and a flip is pending. */
TEST_F_TIMEOUT(display, drop, 180)
{
	struct frame other;
	unsigned int i;
	__s64 start;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, frame_create(scene.display.fd, &other, scene.picture.width,
					  scene.picture.height));
		ASSERT_EQ(0, scene_show(&scene, i));
		ASSERT_TRUE(scene_shows(&scene, "drop-before"));
		ASSERT_EQ(0, page_flip(&scene.display, other.fb, EVENT, 0));
		/* A mapping keeps the file open. */
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
	ASSERT_EQ(0, scene_show(&scene, i));
	EXPECT_TRUE(scene_shows(&scene, "drop-after"));
}

TEST_HARNESS_MAIN
