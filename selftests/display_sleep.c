// SPDX-License-Identifier: GPL-2.0
/*
 * The system sleeps, in every way that the kernel offers, and wakes up again. The
 * screen then shows the same picture in the same mode without a new commit, and
 * everything else goes on.
 *
 * Environment: see display_screen.h, and
 *   RUST_GPU_IMAGE	the machine is started again after it was switched off, and finds
 *			its image in the swap space
 */
#include "kselftest_harness.h"
#include "display_kms.h"

/*
 * When the alarm clock wakes the machine, and when the host does: it must sleep by then.
 * The clock wakes a machine that sleeps in RAM, but may not wake one that is idle.
 */
#define ALARM		"+12"
#define WAKE		"wake 10\n"
#define WAKE_ALARM	"/sys/class/rtc/rtc0/wakealarm"

#define CURSOR_X	31
#define CURSOR_Y	57

/*
 * What goes into /sys/power: how to sleep, and at which step to turn back, if any. With
 * @image the machine is switched off, and is started again from outside.
 */
struct way {
	const char *name;
	const char *state;
	const char *mem_sleep;
	const char *pm_test;
	bool image;
};

/* Each test is a process of its own. */
static struct {
	struct display display;
	struct frame frames[2];
	struct picture pictures[2];
	struct frame image;
	int screen;
} scene;

FIXTURE(sleep)
{
	struct gpu gpu;
	struct drm_rust_gpu_device_info info;
	int render;
	int test;
	bool loaded;
};

FIXTURE_VARIANT(sleep)
{
	struct way way;
};

FIXTURE_VARIANT_ADD(sleep, idle)
{
	.way = { .name = "idle", .state = "freeze" },
};

FIXTURE_VARIANT_ADD(sleep, ram_devices)
{
	.way = { .name = "ram-devices", .state = "mem", .mem_sleep = "deep",
		 .pm_test = "devices" },
};

FIXTURE_VARIANT_ADD(sleep, disk)
{
	.way = { .name = "disk", .state = "disk", .pm_test = "core" },
};

FIXTURE_VARIANT_ADD(sleep, image)
{
	.way = { .name = "image", .state = "disk", .image = true },
};

/* QEMU resets all devices. The last variant, as the firmware does this only once. */
FIXTURE_VARIANT_ADD(sleep, ram)
{
	.way = { .name = "ram", .state = "mem", .mem_sleep = "deep" },
};

/* Whether a file has this word, maybe in brackets. */
static bool offers(const char *file, const char *word)
{
	char text[256], *found, *save;

	if (read_file(path("/sys/power/%s", file), text, sizeof(text)) <= 0)
		return false;
	for (found = strtok_r(text, " []\n", &save); found;
	     found = strtok_r(NULL, " []\n", &save)) {
		if (!strcmp(found, word))
			return true;
	}
	return false;
}

static const char *missing(const struct way *way)
{
	if (!offers("state", way->state))
		return "the kernel has no such sleep state";
	if (way->mem_sleep && !offers("mem_sleep", way->mem_sleep))
		return "the machine has no such sleep state";
	if (way->pm_test && !offers("pm_test", way->pm_test))
		return "no CONFIG_PM_DEBUG";
	if (way->image && !getenv("RUST_GPU_IMAGE"))
		return "nothing starts the machine again";
	if (way->mem_sleep && !way->pm_test && access(WAKE_ALARM, W_OK))
		return "no clock wakes the machine";
	return NULL;
}

/* Shows the second picture, then the first one with a cursor. Returns 0 or -errno. */
static int show(void)
{
	struct drm_mode_cursor2 cursor = {
		.flags = DRM_MODE_CURSOR_BO | DRM_MODE_CURSOR_MOVE,
		.crtc_id = scene.display.crtc,
		.x = CURSOR_X,
		.y = CURSOR_Y,
		.width = 64,
		.height = 64,
		.handle = scene.image.handle,
	};
	int i, ret;

	for (i = 1; i >= 0; i--) {
		picture_fill(&scene.pictures[i], i + 1);
		frame_draw(&scene.frames[i], &scene.pictures[i]);
		ret = set_crtc(&scene.display, scene.frames[i].fb, &scene.display.mode, 0, 0);
		if (ret)
			return ret;
	}
	return gpu_ioctl(scene.display.fd, DRM_IOCTL_MODE_CURSOR2, &cursor);
}

static bool shows(const char *when, const char *way, unsigned int i)
{
	return screen_shows(scene.screen, path("%s-%s-%u", when, way, i), scene.display.head,
			    &scene.pictures[i]);
}

FIXTURE_SETUP(sleep)
{
	const struct display *display = &scene.display;
	const char *reason;
	unsigned int i;

	self->render = -1;
	self->test = -1;
	reason = missing(&variant->way);
	if (reason)
		SKIP(return, "%s", reason);
	reason = display_screen_open(&scene.display, &scene.screen);
	REQUIRE(return, !reason, reason);
	REQUIRE(return, gpu_present(&self->gpu), NO_GPU);
	self->test = sync_test_open(&self->loaded);
	REQUIRE(return, self->test >= 0, "no module rust_gpu_sync_test");
	self->render = open(self->gpu.render, O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->render, 0);
	ASSERT_EQ(0, gpu_info(self->render, &self->info));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, frame_create(display->fd, &scene.frames[i], display->mode.hdisplay,
					  display->mode.vdisplay));
		ASSERT_EQ(0, picture_create(&scene.pictures[i], scene.frames[i].width,
					    scene.frames[i].height));
	}
	ASSERT_EQ(0, buffer_create(display->fd, &scene.image, 64, 64));
	memset(scene.image.map, 0x7f, scene.image.size);
	ASSERT_EQ(0, show());
}

FIXTURE_TEARDOWN(sleep)
{
	sync_test_close(self->test, self->loaded);
	close(self->render);
	close(scene.display.fd);
}

/* Asks the host for an answer that arrives when the system sleeps, and wakes it. */
static int let_host_wake(void)
{
	const char *port = strrchr(getenv("RUST_GPU_SCREEN"), '/') + 1;
	int ret = write_file(path("/sys/class/tty/%s/power/wakeup", port), "enabled");

	if (ret)
		return ret;
	return write(scene.screen, WAKE, strlen(WAKE)) == strlen(WAKE) ? 0 : -EIO;
}

static int host_has_woken(void)
{
	char line[64];
	int ret = screen_read(scene.screen, line, sizeof(line));

	return ret ? ret : strcmp(line, "done wake") ? -EPROTO : 0;
}

static int set_alarm(void)
{
	write_file(WAKE_ALARM, "0");
	return write_file(WAKE_ALARM, ALARM);
}

/* Returns 0 after the system has slept, or -errno. */
static int sleep_and_wake(const struct way *way)
{
	bool by_host = !way->pm_test && !way->mem_sleep && !way->image;
	int ret;

	/* Not every kernel has this; it only saves time. */
	write_file("/sys/module/suspend/parameters/pm_test_delay", "1");
	ret = write_file("/sys/power/pm_test", way->pm_test ? way->pm_test : "none");
	if (!ret && way->mem_sleep)
		ret = write_file("/sys/power/mem_sleep", way->mem_sleep);
	if (!ret && way->image)
		ret = write_file("/sys/power/disk", "shutdown");
	else if (!ret && !way->pm_test)
		ret = by_host ? let_host_wake() : set_alarm();
	if (!ret)
		ret = write_file("/sys/power/state", way->state);
	if (!ret && by_host)
		ret = host_has_woken();
	write_file("/sys/power/pm_test", "none");
	return ret;
}

static bool mode_is_set(const struct drm_mode_modeinfo *mode)
{
	struct drm_mode_crtc get = { .crtc_id = scene.display.crtc };

	return !gpu_ioctl(scene.display.fd, DRM_IOCTL_MODE_GETCRTC, &get) && get.mode_valid &&
	       get.fb_id == scene.frames[0].fb && !memcmp(&get.mode, mode, sizeof(*mode));
}

static int flip(__u32 fb)
{
	struct drm_event_vblank event;

	return flip_and_wait(&scene.display, fb, 0, &event);
}

static void check_screen(struct __test_metadata *_metadata, const char *way, bool watched)
{
	EXPECT_TRUE(shows("after", way, 0));
	EXPECT_TRUE(mode_is_set(&scene.display.mode));
	EXPECT_TRUE(!watched || screen_cursor(scene.screen, "update", CURSOR_X, CURSOR_Y));
	/* The host has not seen this one since. */
	ASSERT_EQ(0, flip(scene.frames[1].fb));
	EXPECT_TRUE(shows("flipped", way, 1));
	ASSERT_EQ(0, flip(scene.frames[0].fb));
	EXPECT_TRUE(shows("back", way, 0));
}

/* All old fences are complete, numbers go on, and new packets are executed. */
static void check_fences(struct __test_metadata *_metadata, int render, const __u64 *submitted)
{
	__u64 completed, now;
	__u32 node;

	for (node = 0; node < GPU_NULL_NODES; node++) {
		EXPECT_EQ(0, gpu_wait_fence(render, node, submitted[node], 0));
		ASSERT_EQ(0, gpu_query(render, node, &completed, &now));
		EXPECT_GE(completed, submitted[node]);
		EXPECT_GE(now, completed);
	}
	EXPECT_EQ(0, gpu_works(render));
	EXPECT_EQ(0, gpu_quiesce(render));
}

TEST_F_TIMEOUT(sleep, same_picture, 300)
{
	/* The host that starts the machine again does not know the commands of the first one. */
	bool watched = !variant->way.image && !screen_watch(scene.screen);
	struct rust_gpu_sync_test_start start = {
		.handle = self->info.handle,
		.messages = self->info.messages,
		.period_us = 1000,
		.burst = 1,
	};
	struct rust_gpu_sync_test_read read = {
		.handle = self->info.handle,
		.message = self->info.notify_message,
	};
	struct drm_rust_gpu_message_counters before, after;
	__u64 submitted[GPU_NULL_NODES];
	struct drm_rust_gpu_device_info info;
	__u32 node;

	ASSERT_TRUE(shows("before", variant->way.name, 0));
	/* The timers call until the kernel stops its clock. */
	ASSERT_EQ(0, gpu_ioctl(self->test, RUST_GPU_SYNC_TEST_START, &start));
	ASSERT_EQ(0, gpu_counters(self->render, self->info.notify_message, &before));
	for (node = 0; node < GPU_NULL_NODES; node++)
		ASSERT_EQ(64, gpu_submit(self->render, node, 64, 0, &submitted[node]));

	ASSERT_EQ(0, sleep_and_wake(&variant->way));
	sleep_ns(50 * NSEC_PER_MSEC);
	ASSERT_EQ(0, gpu_ioctl(self->test, RUST_GPU_SYNC_TEST_STOP, NULL));
	check_screen(_metadata, variant->way.name, watched);
	check_fences(_metadata, self->render, submitted);

	ASSERT_EQ(0, gpu_counters(self->render, self->info.notify_message, &after));
	EXPECT_GT(after.interrupts, before.interrupts);
	EXPECT_GT(after.dpcs_run, before.dpcs_run);
	EXPECT_GT(after.notifications, before.notifications);
	ASSERT_EQ(0, gpu_info(self->render, &info));
	EXPECT_EQ(0, memcmp(&info, &self->info, sizeof(info)));

	/* During sleep the interrupts were not connected, now they are. */
	ASSERT_EQ(0, gpu_ioctl(self->test, RUST_GPU_SYNC_TEST_READ, &read));
	EXPECT_EQ(RUST_GPU_STATUS_SUCCESS, read.status);
	EXPECT_GT(read.timers.unsuccessful, 0);
	EXPECT_EQ(0, read.timers.invalid);
	EXPECT_EQ(0, read.timers.mismatches);
	EXPECT_EQ(0, read.state.torn);
	EXPECT_GT(read.state.runs, 0);
}

TEST_HARNESS_MAIN
