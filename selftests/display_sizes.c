// SPDX-License-Identifier: GPL-2.0
/*
 * Sizes: the screen has exactly the size that the host wants, with an EDID and without;
 * an EDID of the user goes first; one framebuffer spans several screens.
 *
 * Environment: see display_screen.h
 */
#include "kselftest_harness.h"
#include "display_device.h"
#include "display_hotplug.h"
#include "display_scene.h"

#define REFRESH		60
#define EDID_LENGTH	128
#define HEADS		3
#define HEAD_WIDTH	3840
#define HEAD_HEIGHT	2160
#define ERROR		0x1200	/* VIRTIO_GPU_RESP_ERR_UNSPEC */
/* The probe gives up the EDIDs after 3.5 s. */
#define PROBE_NS	(6 * NSEC_PER_SEC)

struct size {
	__u32 width, height;
};

/* Each test is a process of its own. */
static struct scene scene;

/* Asks the host for a size of a head. Returns 0 or -errno. */
static int ask_size(const struct size *size, __u32 head)
{
	char answer[64];

	return screen_ask(scene.screen, answer, sizeof(answer), "resize %u %u %u", size->width,
			  size->height, head);
}

/* Whether the connector, probed again, prefers exactly this size. */
static bool prefers(struct display *display, const struct size *size)
{
	__u32 encoder;

	return read_connector(display, display->connector, &encoder) &&
	       display->mode.type & DRM_MODE_TYPE_PREFERRED &&
	       display->mode.hdisplay == size->width && display->mode.vdisplay == size->height;
}

/* Waits until the connector prefers exactly this size. */
static bool wait_for_size(struct display *display, const struct size *size)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;

	while (!prefers(display, size)) {
		if (now_ns() > end) {
			fprintf(stderr, "# the mode is %s, should be %ux%u\n", display->mode.name,
				size->width, size->height);
			return false;
		}
		sleep_ns(100 * NSEC_PER_MSEC);
	}
	return true;
}

/* Sets the preferred mode with a framebuffer of its size, and looks at the screen. */
static bool sets_and_shows(const char *name, __u32 seed)
{
	const struct display *display = &scene.display;
	struct picture picture = {};
	struct frame frame = {};
	bool same;

	same = !frame_of_screen(display, &frame, &picture, seed) &&
	       !set_crtc(display, frame.fb, &display->mode, 0, 0) &&
	       screen_shows(scene.screen, name, display->head, &picture);
	frame_destroy(display->fd, &frame);
	free(picture.pixels);
	return same;
}

static bool has_edid(void)
{
	__u64 blob = 0;

	return find_property(scene.display.fd, scene.display.connector, "EDID", &blob) && blob;
}

FIXTURE(sizes)
{
	struct size first;
};

FIXTURE_SETUP(sizes)
{
	const char *reason = display_screen_open(&scene.display, &scene.screen);

	REQUIRE(return, !reason, reason);
	self->first = (struct size){ scene.display.mode.hdisplay, scene.display.mode.vdisplay };
}

/* The next test begins with the first size, without an EDID of the user. */
FIXTURE_TEARDOWN(sizes)
{
	EXPECT_EQ(0, ask_size(&self->first, scene.display.head));
	EXPECT_TRUE(wait_for_size(&scene.display, &self->first));
	close(scene.screen);
	close(scene.display.fd);
}

static const struct {
	struct size asked, mode;
	bool usual;	/* among the modes without an EDID */
} wishes[] = {
	{ { 1366, 768 }, { 1366, 768 }, true },
	{ { 1680, 1050 }, { 1680, 1050 }, true },
	{ { 1013, 751 }, { 1013, 751 }, false },
	{ { 853, 480 }, { 853, 480 }, false },
	{ { 1024, 768 }, { 1024, 768 }, true },
	{ { 97, 41 }, { 97, 41 }, false },
	{ { 17, 16 }, { 17, 16 }, false },
	/* QEMU shows nothing smaller. */
	{ { 1, 1 }, { 16, 16 }, false },
	{ { 1, 600 }, { 16, 600 }, false },
};

TEST_F_TIMEOUT(sizes, exact, 300)
{
	const struct display *display = &scene.display;
	const struct drm_mode_modeinfo *mode = &display->mode;
	unsigned int i, j, preferred, usual = 0;
	char name[64];

	for (i = 0; i < ARRAY_SIZE(wishes); i++) {
		ASSERT_EQ(0, ask_size(&wishes[i].asked, display->head));
		ASSERT_TRUE(wait_for_size(&scene.display, &wishes[i].mode));
		snprintf(name, sizeof(name), "sizes-%ux%u", wishes[i].asked.width,
			 wishes[i].asked.height);
		EXPECT_TRUE(sets_and_shows(name, i + 1)) TH_LOG("%s", name);
		if (has_edid())
			continue;
		EXPECT_LT(abs((__s32)mode->clock * 1000 - REFRESH * mode->htotal * mode->vtotal),
			  mode->htotal * mode->vtotal) TH_LOG("%s", name);
		for (j = 0, preferred = 0; j < display->mode_count; j++)
			preferred += !!(display->modes[j].type & DRM_MODE_TYPE_PREFERRED);
		EXPECT_EQ(1, preferred) TH_LOG("%s", name);
		/* The mode is added only if it is not there. */
		usual = usual ?: display->mode_count;
		EXPECT_EQ(usual + !wishes[i].usual, display->mode_count) TH_LOG("%s", name);
	}
}

/* Larger modes than EDIDs have, up to the largest. */
TEST_F_TIMEOUT(sizes, large, 120)
{
	static const struct size large[] = { { 5000, 2160 }, { 8192, 4320 } };
	const struct size more = { 9000, 32 }, most = { 8192, 32 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(large); i++) {
		ASSERT_EQ(0, ask_size(&large[i], scene.display.head));
		EXPECT_TRUE(wait_for_size(&scene.display, &large[i]));
	}
	ASSERT_EQ(0, ask_size(&more, scene.display.head));
	ASSERT_TRUE(wait_for_size(&scene.display, &most));
	EXPECT_TRUE(sets_and_shows("sizes-large", 1));
}

/* Modes that user space makes itself have the same limits. */
TEST_F_TIMEOUT(sizes, limits, 60)
{
	static const struct {
		struct size size;
		int error;
	} limits[] = {
		{ { 16, 16 }, 0 }, { { 15, 16 }, -EINVAL }, { { 16, 15 }, -EINVAL },
		{ { 8192, 16 }, 0 }, { { 8193, 16 }, -EINVAL }, { { 16, 8193 }, -EINVAL },
	};
	const struct display *display = &scene.display;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(limits); i++) {
		const struct size *size = &limits[i].size;
		struct drm_mode_modeinfo mode = {
			.hdisplay = size->width,
			.hsync_start = size->width + 8,
			.hsync_end = size->width + 16,
			.htotal = size->width + 24,
			.vdisplay = size->height,
			.vsync_start = size->height + 8,
			.vsync_end = size->height + 16,
			.vtotal = size->height + 24,
		};
		struct frame frame;

		mode.clock = mode.htotal * mode.vtotal * REFRESH / 1000;
		ASSERT_EQ(0, frame_create(display->fd, &frame, size->width < 16 ? 16 : size->width,
					  size->height < 16 ? 16 : size->height));
		EXPECT_EQ(limits[i].error, set_crtc(display, frame.fb, &mode, 0, 0))
			TH_LOG("%ux%u", size->width, size->height);
		frame_destroy(display->fd, &frame);
	}
}

/* An EDID with one mode, which is the preferred one: 1920x1080 at 60 Hz. */
static void make_edid(__u8 *edid)
{
	static const __u8 start[] = {
		0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x31, 0xd8, 0, 0, 0, 0, 0, 0, 5, 30,
		/* 1.3, digital, the first timing is preferred */
		1, 3, 0x80, 52, 30, 120, 0x02, 0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50,
		0x54, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		/* 148.5 MHz, 1920 + 280, 1080 + 45 */
		0x02, 0x3a, 0x80, 0x18, 0x71, 0x38, 0x2d, 0x40, 0x58, 0x2c, 0x45, 0x00, 0x06, 0x44,
		0x21, 0x00, 0x00, 0x1e,
	};
	__u8 sum = 0;
	int i;

	memset(edid, 0, EDID_LENGTH);
	memcpy(edid, start, sizeof(start));
	/* The other descriptors are none. */
	for (i = sizeof(start); i + 18 < EDID_LENGTH; i += 18)
		edid[i + 3] = 0x10;
	for (i = 0; i < EDID_LENGTH - 1; i++)
		sum += edid[i];
	edid[EDID_LENGTH - 1] = -sum;
}

/* Loads an EDID for the connector, or removes it, and detects anew. Returns 0 or -errno. */
static int override_edid(const void *edid, size_t size)
{
	const char *card = scene.display.card + strlen("/dev/dri/card");
	const char *name = path("/sys/kernel/debug/dri/%s/Virtual-%u/edid_override", card,
				scene.display.connector_number);
	int fd = open(name, O_WRONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, edid, size) == size ? 0 : -errno;
	close(fd);
	return ret ? ret : write_file(path("/sys/class/drm/card%s-Virtual-%u/status", card,
					   scene.display.connector_number), "detect");
}

TEST_F_TIMEOUT(sizes, edid_of_the_user, 120)
{
	const struct size users = { 1920, 1080 }, wish = { 1000, 700 };
	const struct display *display = &scene.display;
	unsigned int modes = display->mode_count;
	__u8 edid[EDID_LENGTH];
	int ret;

	make_edid(edid);
	ret = override_edid(edid, sizeof(edid));
	REQUIRE(return, ret != -ENOENT, path("no edid_override of Virtual-%u in debugfs",
					     display->connector_number));
	ASSERT_EQ(0, ret);
	EXPECT_TRUE(has_edid());
	EXPECT_TRUE(prefers(&scene.display, &users));
	EXPECT_EQ(1, display->mode_count);
	EXPECT_TRUE(sets_and_shows("sizes-edid", 1));

	/* It goes before what the host wants. */
	EXPECT_EQ(0, ask_size(&wish, display->head));
	sleep_ns(NSEC_PER_SEC);
	EXPECT_TRUE(prefers(&scene.display, &users));
	EXPECT_EQ(1, display->mode_count);

	ASSERT_EQ(0, override_edid("reset", strlen("reset")));
	EXPECT_TRUE(wait_for_size(&scene.display, &wish));
	ASSERT_EQ(0, ask_size(&self->first, display->head));
	EXPECT_TRUE(wait_for_size(&scene.display, &self->first));
	EXPECT_EQ(modes, display->mode_count);
	EXPECT_TRUE(sets_and_shows("sizes-no-edid", 2));
}

/* Draws a picture into a part of a framebuffer, from column @x on. */
static void frame_draw_part(const struct frame *frame, const struct picture *picture, __u32 x)
{
	struct frame part = *frame;

	part.offset += 4 * x;
	frame_draw(&part, picture);
}

/* One framebuffer for three screens side by side. */
TEST_F_TIMEOUT(sizes, wide, 300)
{
	const struct size size = { HEAD_WIDTH, HEAD_HEIGHT };
	struct display displays[HEADS];
	struct picture picture;
	struct frame frame;
	unsigned int i;
	char name[32];

	for (i = 0; i < HEADS; i++) {
		const __s64 end = now_ns() + GPU_PATIENCE_NS;

		if (ask_size(&size, i))
			SKIP(return, "the machine has not three screens");
		do {
			displays[i] = (struct display){ .fd = scene.display.fd };
			sleep_ns(100 * NSEC_PER_MSEC);
		} while (find_pipe(&displays[i], i) && now_ns() < end);
		ASSERT_EQ(i, displays[i].head);
		ASSERT_TRUE(wait_for_size(&displays[i], &size));
	}
	ASSERT_EQ(0, frame_create(scene.display.fd, &frame, HEADS * size.width, size.height));
	ASSERT_EQ(0, picture_create(&picture, size.width, size.height));
	for (i = 0; i < HEADS; i++) {
		picture_fill(&picture, i + 1);
		frame_draw_part(&frame, &picture, i * size.width);
	}
	for (i = 0; i < HEADS; i++) {
		ASSERT_EQ(0, set_crtc(&displays[i], frame.fb, &displays[i].mode, i * size.width,
				      0));
	}
	for (i = 0; i < HEADS; i++) {
		picture_fill(&picture, i + 1);
		snprintf(name, sizeof(name), "sizes-wide-%u", i);
		EXPECT_TRUE(screen_shows(scene.screen, name, i, &picture));
	}
	frame_destroy(scene.display.fd, &frame);
	free(picture.pixels);
	for (i = 1; i < HEADS; i++)
		EXPECT_EQ(0, screen_ask(scene.screen, name, sizeof(name), "unplug %u", i));
}

FIXTURE(silent)
{
	struct gpu gpu;
};

FIXTURE_VARIANT(silent)
{
	const char *rule;
};

FIXTURE_VARIANT_ADD(silent, refuses)
{
	.rule = "refuse edid 0x1200",
};

FIXTURE_VARIANT_ADD(silent, never_answers)
{
	.rule = "never edid",
};

FIXTURE_SETUP(silent)
{
	const char *reason = display_screen_open(&scene.display, &scene.screen);

	REQUIRE(return, !reason, reason);
	REQUIRE(return, gpu_find(&self->gpu), NO_GPU);
	if (device_state(scene.screen, "commands") < 0)
		SKIP(return, NO_OWN_DEVICE);
	if (!has_edid())
		SKIP(return, "the device has no EDID");
}

FIXTURE_TEARDOWN(silent)
{
	EXPECT_EQ(0, device_resume(scene.screen));
	EXPECT_TRUE(device_is_sound(scene.screen));
	close(scene.screen);
	close(scene.display.fd);
}

/*
 * Without an answer to GET_EDID the driver is there in time, with the usual modes and that
 * of the host. The EDID comes with the answer.
 */
TEST_F_TIMEOUT(silent, probe, 120)
{
	const struct size first = { scene.display.mode.hdisplay, scene.display.mode.vdisplay };
	const struct size wish = { first.width - 10, first.height - 10 };
	__s64 start;

	close(scene.screen);
	close(scene.display.fd);
	ASSERT_EQ(0, gpu_unbind(&self->gpu));
	scene.screen = screen_open();
	ASSERT_GE(scene.screen, 0);
	ASSERT_EQ(0, device_ask(scene.screen, "%s", variant->rule));
	close(scene.screen);
	start = now_ns();
	ASSERT_EQ(0, gpu_bind(&self->gpu));
	TH_LOG("%s: there after %lld ms", variant->rule, (now_ns() - start) / NSEC_PER_MSEC);
	EXPECT_GT(PROBE_NS, now_ns() - start);
	ASSERT_EQ(NULL, display_screen_open(&scene.display, &scene.screen));
	EXPECT_FALSE(has_edid());
	EXPECT_TRUE(prefers(&scene.display, &first));
	EXPECT_LT(10, scene.display.mode_count);
	EXPECT_TRUE(sets_and_shows("sizes-silent", 1));

	ASSERT_EQ(0, device_resume(scene.screen));
	ASSERT_EQ(0, ask_size(&wish, scene.display.head));
	EXPECT_TRUE(wait_for_size(&scene.display, &wish));
	EXPECT_TRUE(has_edid());
	ASSERT_EQ(0, ask_size(&first, scene.display.head));
	EXPECT_TRUE(wait_for_size(&scene.display, &first));
}

TEST_HARNESS_MAIN
