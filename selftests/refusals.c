// SPDX-License-Identifier: GPL-2.0
/*
 * A device that refuses a type of commands for ever, or is broken: it is not asked all
 * the time, the log is not filled, and the picture is right when it accepts again.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include <ctype.h>

#include "kselftest_harness.h"
#include "display_device.h"
#include "display_scene.h"
#include "kernel_log.h"
#include "tdr.h"

#define FRAMES		3
#define IMAGES		2
#define REFUSED_NS	(3 * NSEC_PER_SEC)
#define ACCEPTED_NS	NSEC_PER_SEC
#define RESIZE_NS	(50 * NSEC_PER_MSEC)
/* How much a mode may differ from the size that was asked for: EDIDs round sizes. */
#define ROUNDED		16
#define ERROR		0x1200	/* VIRTIO_GPU_RESP_ERR_UNSPEC */
/*
 * Most tries in a second, and how much more of a CPU the threads of the interrupts may
 * take than with a device that accepts all.
 */
#define TRIES		10
#define LOAD_PERCENT	5
/* Longest until the picture is right when the device accepts again. */
#define SHOWN_NS	NSEC_PER_SEC
/* How long a broken device is used. */
#define BROKEN_SECONDS	gpu_rounds(5, 60)

/* Each test is a process of its own. */
static struct scene scene;
static struct frame frames[FRAMES], images[IMAGES];
/* The last size that was asked for. */
static unsigned int asked_width;

FIXTURE(refusals)
{
	struct gpu gpu;
	int log;
};

FIXTURE_VARIANT(refusals)
{
	const char *type;
	/* The device keeps what should be destroyed, and so takes nothing new. */
	bool keeps;
	/* Each command is about something else, or has no answer: none is a second try. */
	bool first;
};

FIXTURE_VARIANT_ADD(refusals, create)
{
	.type = "create",
};

FIXTURE_VARIANT_ADD(refusals, attach)
{
	.type = "attach",
};

FIXTURE_VARIANT_ADD(refusals, transfer)
{
	.type = "transfer",
};

FIXTURE_VARIANT_ADD(refusals, flush)
{
	.type = "flush",
};

FIXTURE_VARIANT_ADD(refusals, scanout)
{
	.type = "scanout",
};

FIXTURE_VARIANT_ADD(refusals, detach)
{
	.type = "detach",
	.first = true,
};

FIXTURE_VARIANT_ADD(refusals, unref)
{
	.type = "unref",
	.keeps = true,
};

FIXTURE_VARIANT_ADD(refusals, update_cursor)
{
	.type = "update-cursor",
	.first = true,
};

FIXTURE_VARIANT_ADD(refusals, edid)
{
	.type = "edid",
};

FIXTURE_VARIANT_ADD(refusals, display_info)
{
	.type = "display-info",
};

FIXTURE_SETUP(refusals)
{
	const char *reason;
	int screen;

	self->log = -1;
	REQUIRE(return, !geteuid(), "not root");
	REQUIRE(return, gpu_present(&self->gpu), NO_GPU);
	screen = screen_open();
	REQUIRE(return, screen >= 0, NO_SCREEN);
	REQUIRE(return, device_state(screen, "commands") >= 0, NO_OWN_DEVICE);
	close(screen);
	/* It says only once that a command was refused. */
	ASSERT_EQ(0, gpu_rebind(&self->gpu));
	reason = scene_open(&scene);
	REQUIRE(return, !reason, reason);
	ASSERT_NE(0, scene.frame.fb);
	ASSERT_EQ(0, scene_show(&scene, 1));
	self->log = log_open();
	ASSERT_GE(self->log, 0);
}

FIXTURE_TEARDOWN(refusals)
{
	char answer[64];

	EXPECT_EQ(0, device_resume(scene.screen));
	EXPECT_EQ(0, screen_ask(scene.screen, answer, sizeof(answer), "resize 1280 800"));
	EXPECT_TRUE(device_is_sound(scene.screen));
	scene_close(&scene);
	close(self->log);
	/* Also after a test that failed: the next one needs a device that takes commands. */
	EXPECT_EQ(0, gpu_rebind(&self->gpu));
}

/* Returns how much time of CPUs the driver's threads of interrupts took, in ns. */
static __s64 thread_time(void)
{
	const __s64 tick = NSEC_PER_SEC / sysconf(_SC_CLK_TCK);
	unsigned long user, system;
	struct dirent *entry;
	__s64 sum = 0;
	DIR *dir = opendir("/proc");

	while (dir && (entry = readdir(dir))) {
		char text[1024], *rest;

		if (!isdigit(entry->d_name[0]) ||
		    read_file(path("/proc/%s/stat", entry->d_name), text, sizeof(text)) <= 0 ||
		    !strstr(text, "(irq/") || !strstr(text, "rust"))
			continue;
		rest = strrchr(text, ')');
		if (rest && sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
				   &user, &system) == 2)
			sum += (user + system) * tick;
	}
	closedir(dir);
	return sum;
}

/* What the display was used for. */
struct use {
	unsigned int frames;
	__s64 ns;
	/* Of a CPU, for the threads of the interrupts. */
	__s64 percent;
};

/* Flips to a new frame, and shows a new image as the cursor. Returns 0 or -errno. */
static int show_next(void)
{
	/* The frame that is on the screen is not among those that are made next. */
	static unsigned int number;
	const struct display *display = &scene.display;
	struct frame *frame = &frames[number % FRAMES], *image = &images[number % IMAGES];
	struct drm_event_vblank event;
	int ret;

	number++;
	frame_destroy(display->fd, frame);
	frame_destroy(display->fd, image);
	ret = buffer_create(display->fd, image, CURSOR_SIDE, CURSOR_SIDE);
	if (!ret)
		ret = cursor_set(display, DRM_MODE_CURSOR_BO | DRM_MODE_CURSOR_MOVE, image->handle,
				 number % 600, number % 400);
	if (!ret)
		ret = frame_create(display->fd, frame, scene.picture.width, scene.picture.height);
	return ret ? ret : flip_and_wait(display, frame->fb, 0, &event);
}

/* Asks for other sizes now and then. Returns 0 or -errno. */
static int resize_often(void)
{
	static __s64 next;
	char answer[64];

	if (now_ns() < next)
		return 0;
	next = now_ns() + RESIZE_NS;
	asked_width = asked_width == 1000 ? 1100 : 1000;
	return screen_ask(scene.screen, answer, sizeof(answer), "resize %u 700", asked_width);
}

/* Shows new frames, images and sizes for so long. Returns 0 or -errno. */
static int show_for(__s64 ns, bool keeps, struct use *use)
{
	const __s64 start = now_ns(), before = thread_time();
	int ret;

	for (use->frames = 0; now_ns() - start < ns; use->frames++) {
		ret = show_next();
		if (ret && !(keeps && ret == -EBUSY))
			return ret;
		ret = resize_often();
		if (ret)
			return ret;
	}
	use->ns = now_ns() - start;
	use->percent = 100 * (thread_time() - before) / use->ns;
	return 0;
}

/* Shows a picture that was not on the screen before. Returns 0 or -errno. */
static int show_last(bool keeps)
{
	struct drm_event_vblank event;

	if (keeps)
		return scene_show(&scene, 2);
	picture_fill(&scene.picture, 2);
	frame_draw(&frames[0], &scene.picture);
	return flip_and_wait(&scene.display, frames[0].fb, 0, &event);
}

/* Whether the connector prefers the size that was asked for last, soon. */
static bool is_resized(void)
{
	const __s64 end = now_ns() + SHOWN_NS;
	struct display seen = scene.display;
	__u32 encoder;

	do {
		if (read_connector(&seen, seen.connector, &encoder) &&
		    abs((int)seen.mode.hdisplay - (int)asked_width) <= ROUNDED)
			return true;
		sleep_ns(20 * NSEC_PER_MSEC);
	} while (now_ns() < end);
	return false;
}

TEST_F_TIMEOUT(refusals, are_not_followed_by_many_tries, 60)
{
	struct use accepted, refused;
	unsigned int records;
	__s64 tries;

	ASSERT_EQ(0, show_for(ACCEPTED_NS, false, &accepted));
	ASSERT_EQ(0, count_records(self->log));
	ASSERT_EQ(0, device_ask(scene.screen, "refuse %s %u", variant->type, ERROR));
	tries = -device_count(scene.screen, variant->type);
	ASSERT_EQ(0, show_for(REFUSED_NS, variant->keeps, &refused));
	tries += device_count(scene.screen, variant->type);
	records = count_records(self->log);
	TH_LOG("%s: %u frames, %lld tries in %lld ms, %lld %% of a CPU (before: %lld %%), %u lines",
	       variant->type, refused.frames, tries, refused.ns / NSEC_PER_MSEC, refused.percent,
	       accepted.percent, records);
	EXPECT_LT(0, tries);
	if (!variant->first)
		/* Screen and cursor are tried apart. */
		EXPECT_LE(tries, 2 + TRIES * refused.ns / NSEC_PER_SEC);
	EXPECT_LE(records, 1);

	ASSERT_EQ(0, show_last(variant->keeps));
	ASSERT_EQ(0, device_resume(scene.screen));
	EXPECT_TRUE(screen_shows_within(scene.screen, "refusals", scene.display.head,
					&scene.picture, SHOWN_NS));
	EXPECT_TRUE(is_resized());
	EXPECT_EQ(0, count_records(self->log));

	/* Others on the host make each wake-up dearer, and come and go. */
	if (refused.percent > accepted.percent + LOAD_PERCENT) {
		ASSERT_EQ(0, show_for(ACCEPTED_NS, false, &accepted));
		TH_LOG("%lld %% of a CPU afterwards", accepted.percent);
	}
	EXPECT_LE(refused.percent, accepted.percent + LOAD_PERCENT);
}

FIXTURE(broken)
{
	struct gpu gpu;
	int log, console;
};

FIXTURE_SETUP(broken)
{
	const char *reason;

	REQUIRE(return, !geteuid(), "not root");
	REQUIRE(return, gpu_present(&self->gpu), NO_GPU);
	reason = scene_open(&scene);
	REQUIRE(return, !reason, reason);
	REQUIRE(return, device_state(scene.screen, "commands") >= 0, NO_OWN_DEVICE);
	ASSERT_EQ(0, tdr_level(TDR_LOOK));
	ASSERT_NE(0, scene.frame.fb);
	ASSERT_EQ(0, scene_show(&scene, 1));
	self->log = log_open();
	ASSERT_GE(self->log, 0);
	self->console = open("/dev/tty1", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	ASSERT_GE(self->console, 0);
}

FIXTURE_TEARDOWN(broken)
{
	close(self->console);
	close(self->log);
	EXPECT_EQ(0, gpu_rebind(&self->gpu));
	EXPECT_EQ(0, tdr_level(TDR_RECOVER));
}

/* Writes to the console, which draws that into its framebuffer. */
static bool write_console(int console, unsigned int line)
{
	return dprintf(console, "line %u of the console\n", line) > 0;
}

/* A device that asks for a reset is used for a while, and then has the console on it. */
TEST_F_TIMEOUT(broken, says_so_once, 300)
{
	__s64 end = now_ns() + BROKEN_SECONDS * NSEC_PER_SEC;
	unsigned int records, i;

	ASSERT_EQ(0, device_ask(scene.screen, "needs-reset"));
	for (i = 0; now_ns() < end; i++) {
		ASSERT_EQ(0, show_next()) TH_LOG("frame %u", i);
		ASSERT_TRUE(write_console(self->console, i));
	}
	scene_close(&scene);
	end = now_ns() + BROKEN_SECONDS * NSEC_PER_SEC;
	for (; now_ns() < end; i++) {
		ASSERT_TRUE(write_console(self->console, i));
		sleep_ns(10 * NSEC_PER_MSEC);
	}
	records = count_records(self->log);
	TH_LOG("%u lines", records);
	EXPECT_EQ(1, records);
}

TEST_HARNESS_MAIN
