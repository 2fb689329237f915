// SPDX-License-Identifier: GPL-2.0
/*
 * A process that draws is killed while the device stands still at a command: it exits
 * as quickly as with a device that works, and the screen is right when the device is
 * back.
 *
 * Environment: see display_screen.h
 */
#include <pthread.h>

#include "kselftest_harness.h"
#include "display_device.h"
#include "display_scene.h"

#define KILLS		10
/* How much longer the median may be than with a device that works, and the longest exit. */
#define MEDIAN_NS	(200 * NSEC_PER_MSEC)
#define LONGEST_NS	(500 * NSEC_PER_MSEC)
/* A process is killed at one of several moments after it was ready. */
#define MOMENT_NS	(150 * NSEC_PER_MSEC)
#define MOMENTS		6
#define STALL_NS	(10 * NSEC_PER_SEC)
/* Longest until the screen is right after the device is back. */
#define RETURN_NS	(2500 * NSEC_PER_MSEC)
#define FRAMES		3
#define IMAGES		2

/* What a process that draws has told. */
enum { OPENED = 1, FLIPPED };

/* In the process that draws. */
static struct {
	struct display display;
	struct frame frames[FRAMES];
} drawer;

/* Changes the image of the cursor, and moves it. */
static void *move_cursor(void *arg)
{
	const struct display *display = &drawer.display;
	struct frame images[IMAGES];
	unsigned int i;

	for (i = 0; i < IMAGES; i++)
		buffer_create(display->fd, &images[i], CURSOR_SIDE, CURSOR_SIDE);
	for (i = 0;; i++) {
		cursor_set(display, DRM_MODE_CURSOR_BO | DRM_MODE_CURSOR_MOVE,
			   images[i % IMAGES].handle, i % 600, i % 400);
		sleep_ns(10 * NSEC_PER_MSEC);
	}
	return arg;
}

/* Tells how far this process is. Returns whether somebody wanted to know. */
static bool tell(int pipe, unsigned char what)
{
	return write(pipe, &what, 1) == 1;
}

/* Draws until it is killed. Each frame is in a buffer that is new to the device. */
static int draw(int pipe)
{
	struct display *display = &drawer.display;
	struct drm_event_vblank event;
	pthread_t thread;
	unsigned int i;

	/* The other end is closed when enough was told. */
	signal(SIGPIPE, SIG_IGN);
	if (display_open(display))
		return 1;
	for (i = 0; i < FRAMES; i++)
		frame_create(display->fd, &drawer.frames[i], display->mode.hdisplay,
			     display->mode.vdisplay);
	tell(pipe, OPENED);
	set_crtc(display, drawer.frames[0].fb, &display->mode, 0, 0);
	if (pthread_create(&thread, NULL, move_cursor, NULL))
		return 2;
	for (i = 1;; i++) {
		struct frame *frame = &drawer.frames[i % FRAMES];

		frame_destroy(display->fd, frame);
		frame_create(display->fd, frame, display->mode.hdisplay, display->mode.vdisplay);
		if (!flip_and_wait(display, frame->fb, 0, &event))
			tell(pipe, FLIPPED);
	}
}

/* Starts to draw, and waits until that process is so far. Returns it, or -errno. */
static pid_t start_drawing(unsigned char far)
{
	struct pollfd told = { .events = POLLIN };
	unsigned char what = 0;
	int ends[2];
	pid_t child;

	if (pipe(ends))
		return -errno;
	told.fd = ends[0];
	child = fork();
	if (!child) {
		close(ends[0]);
		_exit(draw(ends[1]));
	}
	close(ends[1]);
	while (child > 0 && what != far) {
		if (poll(&told, 1, GPU_PATIENCE_NS / NSEC_PER_MSEC) == 1 &&
		    read(ends[0], &what, 1) == 1)
			continue;
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		child = -ETIMEDOUT;
	}
	close(ends[0]);
	return child;
}

/* Kills a process. Returns how long it takes to exit, in ns, or -errno. */
static __s64 kill_it(pid_t child)
{
	__s64 start = now_ns();
	int status;

	if (kill(child, SIGKILL) || waitpid(child, &status, 0) != child)
		return -errno;
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? now_ns() - start : -ECHILD;
}

static int compare(const void *first, const void *second)
{
	const __s64 *a = first, *b = second;

	return (*a > *b) - (*a < *b);
}

/* Sorts and prints times. Returns the median. */
static __s64 summary(const char *what, __s64 *times)
{
	qsort(times, KILLS, sizeof(*times), compare);
	fprintf(stderr, "# %s: median %lld ms, longest %lld ms\n", what,
		times[KILLS / 2] / NSEC_PER_MSEC, times[KILLS - 1] / NSEC_PER_MSEC);
	return times[KILLS / 2];
}

FIXTURE(stall)
{
	struct gpu gpu;
	__s64 healthy;
	int screen;
};

FIXTURE_VARIANT(stall)
{
	const char *type;	/* of the command */
	const char *held;	/* the queue that stands still, in the device's state */
	bool flips;		/* the queue of flips does not stand still */
	bool resizes;		/* the command comes when the screen gets another size */
};

FIXTURE_VARIANT_ADD(stall, transfer)
{
	.type = "transfer",
	.held = "held-control",
};

FIXTURE_VARIANT_ADD(stall, attach)
{
	.type = "attach",
	.held = "held-control",
};

FIXTURE_VARIANT_ADD(stall, update_cursor)
{
	.type = "update-cursor",
	.held = "held-cursor",
	.flips = true,
};

FIXTURE_VARIANT_ADD(stall, edid)
{
	.type = "edid",
	.held = "held-control",
	.resizes = true,
};

FIXTURE_SETUP(stall)
{
	__s64 times[KILLS];
	unsigned int i;

	REQUIRE(return, !geteuid(), "not root");
	REQUIRE(return, gpu_present(&self->gpu), NO_GPU);
	self->screen = screen_open();
	REQUIRE(return, self->screen >= 0, NO_SCREEN);
	REQUIRE(return, device_state(self->screen, "commands") >= 0, NO_OWN_DEVICE);
	for (i = 0; i < KILLS; i++) {
		pid_t child = start_drawing(FLIPPED);

		ASSERT_GT(child, 0);
		sleep_ns(i % MOMENTS * MOMENT_NS);
		times[i] = kill_it(child);
		ASSERT_GE(times[i], 0);
	}
	self->healthy = summary("healthy", times);
}

FIXTURE_TEARDOWN(stall)
{
	char answer[64];

	EXPECT_EQ(0, device_resume(self->screen));
	EXPECT_EQ(0, screen_ask(self->screen, answer, sizeof(answer), "resize 1280 800"));
	EXPECT_TRUE(device_wait(self->screen, variant->held, 0));
	EXPECT_TRUE(device_is_sound(self->screen));
	close(self->screen);
}

/* The user resizes the screen; each time to another size. */
static int change_size(int screen)
{
	static unsigned int width = 1000;
	char answer[64];

	width = width == 1000 ? 1100 : 1000;
	return screen_ask(screen, answer, sizeof(answer), "resize %u 700", width);
}

/* A process that draws already is killed: the device never comes back for it. */
TEST_F_TIMEOUT(stall, for_ever, 300)
{
	__s64 times[KILLS];
	unsigned int i;

	for (i = 0; i < KILLS; i++) {
		pid_t child = start_drawing(FLIPPED);

		ASSERT_GT(child, 0);
		ASSERT_EQ(0, device_ask(self->screen, "stall %s", variant->type));
		if (variant->resizes)
			ASSERT_EQ(0, change_size(self->screen));
		ASSERT_TRUE(device_wait(self->screen, variant->held, 1));
		sleep_ns(i % MOMENTS * MOMENT_NS);
		times[i] = kill_it(child);
		ASSERT_GE(times[i], 0);
		EXPECT_EQ(1, device_state(self->screen, variant->held));
		ASSERT_EQ(0, device_resume(self->screen));
		ASSERT_TRUE(device_wait(self->screen, variant->held, 0));
	}
	EXPECT_LE(summary("for ever", times), self->healthy + MEDIAN_NS);
	EXPECT_LE(times[KILLS - 1], LONGEST_NS);
}

/* Whether a frame that is drawn now is soon on the screen. */
static bool returns(void)
{
	struct scene scene = {};
	bool shown;

	if (scene_open(&scene) || scene_show(&scene, 3))
		return false;
	shown = screen_shows_within(scene.screen, "stall-return", scene.display.head,
				    &scene.picture, RETURN_NS);
	scene_close(&scene);
	return shown;
}

/* Processes come and are killed while the device stands still, and then it is back. */
TEST_F_TIMEOUT(stall, ten_seconds, 300)
{
	pid_t child = start_drawing(FLIPPED);
	__s64 times[KILLS], start;
	unsigned int i;

	ASSERT_GT(child, 0);
	start = now_ns();
	ASSERT_EQ(0, device_ask(self->screen, "stall %s", variant->type));
	if (variant->resizes)
		ASSERT_EQ(0, change_size(self->screen));
	ASSERT_TRUE(device_wait(self->screen, variant->held, 1));
	for (i = 0; i < KILLS; i++) {
		if (i)
			child = start_drawing(variant->flips ? FLIPPED : OPENED);
		ASSERT_GT(child, 0);
		sleep_ns((1 + i % MOMENTS) * MOMENT_NS);
		times[i] = kill_it(child);
		ASSERT_GE(times[i], 0);
	}
	EXPECT_EQ(1, device_state(self->screen, variant->held));
	sleep_ns(start + STALL_NS - now_ns());
	ASSERT_EQ(0, device_resume(self->screen));
	EXPECT_TRUE(returns());
	EXPECT_LE(summary("ten seconds", times), self->healthy + MEDIAN_NS);
	EXPECT_LE(times[KILLS - 1], LONGEST_NS);
}

TEST_HARNESS_MAIN
