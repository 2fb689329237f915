// SPDX-License-Identifier: GPL-2.0
/*
 * The window of the screen gets another size on the host: the device reports the
 * change, the driver queries the new size and tells user space, and the screen is right
 * in the new size.
 *
 * Environment: see display_screen.h
 */
#include <pthread.h>

#include "kselftest_harness.h"
#include "display_hotplug.h"
#include "display_kms.h"

/* After so long without an event, no more are expected. */
#define QUIET_MS	1000
/* How much a mode may differ from the size that was asked for: EDIDs round sizes. */
#define ROUNDED		16
#define MAX_EDID	1024

struct size {
	__u32 width, height;
};

static const struct size wish = { 1000, 700 };

/* In the order of the requests. */
static const struct size wishes[] = {
	{ 800, 600 }, { 1440, 900 }, { 640, 480 }, { 1920, 1080 }, { 1013, 751 }, { 1100, 700 },
};

/* Each test is a process of its own. */
static struct {
	struct display display;
	struct size first;	/* the device's first size */
	struct size asked;	/* the last size that was asked for */
	int screen;
	int uevents;
} scene;

/* Asks the host for a size. Returns 0 or -errno. */
static int ask_size(const struct size *size)
{
	char answer[64], want[64];
	int ret = screen_ask(scene.screen, answer, sizeof(answer), "resize %u %u %u",
			     size->width, size->height, scene.display.head);

	if (ret)
		return ret;
	scene.asked = *size;
	snprintf(want, sizeof(want), "resized %u %u", size->width, size->height);
	return strcmp(answer, want) ? -EPROTO : 0;
}

/* Counts hotplug uevents until there are no more. */
static unsigned int count_hotplugs(void)
{
	unsigned int count = 0;

	while (!wait_hotplug(scene.uevents, scene.display.card, QUIET_MS))
		count++;
	return count;
}

static bool is_close(__u32 is, __u32 wanted)
{
	return is <= wanted + ROUNDED && wanted <= is + ROUNDED;
}

/* Whether the connector, probed again, prefers the size. */
static bool prefers(const struct size *size)
{
	struct display *display = &scene.display;
	__u32 encoder;

	return read_connector(display, display->connector, &encoder) &&
	       display->mode.type & DRM_MODE_TYPE_PREFERRED &&
	       is_close(display->mode.hdisplay, size->width) &&
	       is_close(display->mode.vdisplay, size->height);
}

/*
 * Waits for hotplug uevents until the connector prefers the size: the first one may
 * belong to an earlier change. Returns the number of uevents, or -errno.
 */
static int wait_for_size(const struct size *size)
{
	const struct drm_mode_modeinfo *mode = &scene.display.mode;
	int count = 0, ret;

	do {
		ret = wait_hotplug(scene.uevents, scene.display.card, HOTPLUG_MS);
		if (ret) {
			fprintf(stderr, "# the mode is %s, should be near %ux%u: %s\n",
				mode->name, size->width, size->height, strerror(-ret));
			return ret;
		}
		count++;
	} while (!prefers(size));
	return count;
}

/* Asks for a size, and waits until the connector has it. */
static bool resize(const struct size *size)
{
	int ret = ask_size(size);

	if (ret)
		fprintf(stderr, "# %ux%u: %s\n", size->width, size->height, strerror(-ret));
	return !ret && wait_for_size(size) > 0;
}

static bool frame_with(struct frame *frame, struct picture *picture, __u32 seed)
{
	const struct drm_mode_modeinfo *mode = &scene.display.mode;

	if (picture_create(picture, mode->hdisplay, mode->vdisplay) ||
	    frame_create(scene.display.fd, frame, mode->hdisplay, mode->vdisplay))
		return false;
	picture_fill(picture, seed);
	frame_draw(frame, picture);
	return true;
}

/* Sets the connector's preferred mode, and checks the screen. */
static bool sets_and_shows(const char *name, __u32 seed)
{
	const struct display *display = &scene.display;
	struct picture picture;
	struct frame frame;
	bool same;

	if (!frame_with(&frame, &picture, seed))
		return false;
	same = !set_crtc(display, frame.fb, &display->mode, 0, 0) &&
	       screen_shows(scene.screen, name, display->head, &picture);
	frame_destroy(display->fd, &frame);
	free(picture.pixels);
	return same;
}

FIXTURE(hotplug)
{
};

FIXTURE_SETUP(hotplug)
{
	const char *reason;

	reason = display_screen_open(&scene.display, &scene.screen);
	REQUIRE(return, !reason, reason);
	scene.uevents = uevents_open();
	ASSERT_GE(scene.uevents, 0);
	scene.first = (struct size){ scene.display.mode.hdisplay, scene.display.mode.vdisplay };
	scene.asked = scene.first;
	/* The uevents of the test before. */
	count_hotplugs();
}

/* The next test begins with the device's first size. */
FIXTURE_TEARDOWN(hotplug)
{
	if (memcmp(&scene.asked, &scene.first, sizeof(scene.first)))
		EXPECT_TRUE(resize(&scene.first));
	close(scene.uevents);
	close(scene.screen);
	close(scene.display.fd);
}

/* Without a change there is no uevent. */
TEST_F_TIMEOUT(hotplug, nothing, 60)
{
	struct size first = scene.first;

	EXPECT_TRUE(sets_and_shows("hotplug-nothing", 1));
	EXPECT_EQ(-ETIMEDOUT, wait_hotplug(scene.uevents, scene.display.card, QUIET_MS));
	EXPECT_TRUE(prefers(&first));
}

TEST_F_TIMEOUT(hotplug, resize, 120)
{
	ASSERT_TRUE(sets_and_shows("hotplug-before", 1));
	ASSERT_EQ(0, ask_size(&wish));
	ASSERT_EQ(1, wait_for_size(&wish));
	EXPECT_EQ(0, count_hotplugs());
	TH_LOG("%ux%u: the mode is %s", wish.width, wish.height, scene.display.mode.name);
	EXPECT_TRUE(sets_and_shows("hotplug-resized", 2));

	ASSERT_TRUE(resize(&scene.first));
	EXPECT_EQ(0, count_hotplugs());
	EXPECT_EQ(scene.first.width, scene.display.mode.hdisplay);
	EXPECT_EQ(scene.first.height, scene.display.mode.vdisplay);
	EXPECT_TRUE(sets_and_shows("hotplug-back", 3));
}

/* Each of several changes is seen if they come one by one. */
TEST_F_TIMEOUT(hotplug, each_of_several, 300)
{
	char name[32];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(wishes); i++) {
		ASSERT_TRUE(resize(&wishes[i]));
		snprintf(name, sizeof(name), "hotplug-each-%u", i);
		EXPECT_TRUE(sets_and_shows(name, i + 1));
	}
}

/* Of changes in quick succession only the last one must be seen. */
TEST_F_TIMEOUT(hotplug, last_of_several, 120)
{
	const unsigned int rounds = 3, last = ARRAY_SIZE(wishes) - 1;
	const __s64 deadline = now_ns() + 3 * GPU_PATIENCE_NS;
	unsigned int round, i;
	int count;

	for (round = 0; round < rounds; round++) {
		for (i = 0; i <= last; i++)
			ASSERT_EQ(0, ask_size(&wishes[i]));
	}
	count = wait_for_size(&wishes[last]);
	ASSERT_GT(count, 0);
	/* The size may have been that of an earlier round. */
	do {
		count += count_hotplugs();
	} while (!prefers(&wishes[last]) && now_ns() < deadline);
	TH_LOG("%zu changes, %d uevents", rounds * ARRAY_SIZE(wishes), count);
	EXPECT_LE(count, rounds * ARRAY_SIZE(wishes));
	EXPECT_TRUE(prefers(&wishes[last]));
	EXPECT_TRUE(sets_and_shows("hotplug-last", 1));
	EXPECT_TRUE(resize(&scene.first));
	EXPECT_TRUE(sets_and_shows("hotplug-last-back", 2));
}

/* A thread that flips between two frames until it is stopped. */
struct flipper {
	const struct display *display;
	const struct frame *frames;
	unsigned int flips;	/* done so far; modulo 2 it is the frame that is shown */
	bool stop;
	int error;
};

static int flip_once(struct flipper *flipper)
{
	unsigned int next = flipper->flips + 1;
	struct drm_event_vblank event;
	int ret = page_flip(flipper->display, flipper->frames[next % 2].fb,
			    DRM_MODE_PAGE_FLIP_EVENT, next);

	if (!ret)
		ret = wait_event(flipper->display->fd, &event);
	if (ret)
		return ret;
	if (event.base.type != DRM_EVENT_FLIP_COMPLETE || event.user_data != next)
		return -EPROTO;
	__atomic_store_n(&flipper->flips, next, __ATOMIC_RELEASE);
	return 0;
}

/* Waits for a flip that began after this call. Returns false if there is none. */
static bool flips_go_on(const struct flipper *flipper)
{
	unsigned int before = __atomic_load_n(&flipper->flips, __ATOMIC_ACQUIRE);
	__s64 deadline = now_ns() + GPU_PATIENCE_NS;

	while (__atomic_load_n(&flipper->flips, __ATOMIC_ACQUIRE) < before + 2) {
		if (now_ns() > deadline)
			return false;
		sleep_ns(10 * NSEC_PER_MSEC);
	}
	return true;
}

static void *flip_until_stop(void *data)
{
	struct flipper *flipper = data;

	while (!flipper->error && !__atomic_load_n(&flipper->stop, __ATOMIC_ACQUIRE))
		flipper->error = flip_once(flipper);
	return NULL;
}

/* The mode stays the same until a client sets another one. */
TEST_F_TIMEOUT(hotplug, while_flipping, 300)
{
	struct display display = scene.display;
	struct frame frames[2];
	struct picture pictures[2];
	struct flipper flipper = { .display = &display, .frames = frames };
	pthread_t thread;
	unsigned int i;
	bool good = true;

	for (i = 0; i < 2; i++)
		ASSERT_TRUE(frame_with(&frames[i], &pictures[i], i + 1));
	ASSERT_EQ(0, set_crtc(&display, frames[0].fb, &display.mode, 0, 0));
	ASSERT_EQ(0, pthread_create(&thread, NULL, flip_until_stop, &flipper));
	for (i = 0; good && i < ARRAY_SIZE(wishes); i++) {
		good = resize(&wishes[i]);
		EXPECT_TRUE(flips_go_on(&flipper));
	}
	__atomic_store_n(&flipper.stop, true, __ATOMIC_RELEASE);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_TRUE(good);
	EXPECT_EQ(0, flipper.error);
	TH_LOG("%u flips", flipper.flips);
	EXPECT_TRUE(screen_shows(scene.screen, "hotplug-flipped", display.head,
				 &pictures[flipper.flips % 2]));
	/* Then the new mode can be set. */
	EXPECT_TRUE(sets_and_shows("hotplug-after-flips", 3));
	for (i = 0; i < 2; i++)
		frame_destroy(display.fd, &frames[i]);
}

/* Reads the EDID of the connector. Returns its length, 0 if there is none, or -errno. */
static int read_edid(__u8 *edid)
{
	const struct display *display = &scene.display;
	struct drm_mode_get_blob get = {
		.data = user_pointer(edid),
	};
	__u64 blob = 0;
	int ret;

	if (!find_property(display->fd, display->connector, "EDID", &blob) || !blob)
		return 0;
	/* The first call only gets the length. */
	get.blob_id = blob;
	ret = gpu_ioctl(display->fd, DRM_IOCTL_MODE_GETPROPBLOB, &get);
	if (ret)
		return ret;
	if (get.length > MAX_EDID || get.length % 128)
		return -EPROTO;
	ret = gpu_ioctl(display->fd, DRM_IOCTL_MODE_GETPROPBLOB, &get);
	return ret ? ret : (int)get.length;
}

/* The size in the first detailed timing, which is the preferred one. */
static struct size edid_size(const __u8 *edid)
{
	const __u8 *timing = edid + 54;

	return (struct size){ timing[2] | (timing[4] & 0xf0) << 4,
			      timing[5] | (timing[7] & 0xf0) << 4 };
}

static bool edid_is_sound(const __u8 *edid, int len)
{
	static const __u8 start[] = { 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0 };
	int block, i;

	if (len <= 0 || memcmp(edid, start, sizeof(start)))
		return false;
	for (block = 0; block < len; block += 128) {
		__u8 sum = 0;

		for (i = 0; i < 128; i++)
			sum += edid[block + i];
		if (sum)
			return false;
	}
	return true;
}

TEST_F_TIMEOUT(hotplug, edid, 120)
{
	__u8 before[MAX_EDID], resized[MAX_EDID], back[MAX_EDID];
	struct size size;
	int len, len_resized;

	len = read_edid(before);
	REQUIRE(return, len, "the device has no EDID");
	ASSERT_TRUE(edid_is_sound(before, len));
	size = edid_size(before);
	EXPECT_EQ(scene.first.width, size.width);
	EXPECT_EQ(scene.first.height, size.height);

	ASSERT_TRUE(resize(&wish));
	len_resized = read_edid(resized);
	ASSERT_TRUE(edid_is_sound(resized, len_resized));
	EXPECT_FALSE(len == len_resized && !memcmp(before, resized, len));
	size = edid_size(resized);
	EXPECT_TRUE(is_close(size.width, wish.width)) TH_LOG("%u", size.width);
	EXPECT_TRUE(is_close(size.height, wish.height)) TH_LOG("%u", size.height);

	ASSERT_TRUE(resize(&scene.first));
	ASSERT_EQ(len, read_edid(back));
	EXPECT_EQ(0, memcmp(before, back, len));
}

TEST_HARNESS_MAIN
