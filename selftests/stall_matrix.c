// SPDX-License-Identifier: GPL-2.0
/*
 * A process that draws is killed while the device stands still at a command: it exits
 * as quickly as with a device that works, and the screen is right when the device is
 * back.
 *
 * Environment: see display_screen.h
 */
#include <pthread.h>
#include <sys/prctl.h>

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
#define UNBIND_NS	(1100 * NSEC_PER_MSEC)
/* How long flips are counted, and how many there are at least in this time. */
#define FLIPS_NS	(5 * NSEC_PER_SEC)
#define STALLED_FLIPS	4
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

/* A process that draws. */
struct drawing {
	pid_t process;
	int told;	/* the pipe by which it tells how far it is */
};

/* Kills a process. Returns how long it takes to exit, in ns, or -errno. */
static __s64 stop_drawing(const struct drawing *drawing)
{
	__s64 start = now_ns(), took;
	int status;

	if (kill(drawing->process, SIGKILL) ||
	    waitpid(drawing->process, &status, 0) != drawing->process)
		return -errno;
	took = now_ns() - start;
	close(drawing->told);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? took : -ECHILD;
}

/* Waits until a process tells something. Returns what, or -errno. */
static int next_told(const struct drawing *drawing, __s64 ns)
{
	struct pollfd told = { .fd = drawing->told, .events = POLLIN };
	unsigned char what;
	int ret = poll(&told, 1, ns / NSEC_PER_MSEC);

	if (ret != 1)
		return ret ? -errno : -ETIMEDOUT;
	return read(drawing->told, &what, 1) == 1 ? what : -EPIPE;
}

/* Starts to draw, and waits until that process is so far. Returns 0 or -errno. */
static int start_drawing(struct drawing *drawing, unsigned char far)
{
	int ends[2], ret;

	if (pipe(ends))
		return -errno;
	drawing->told = ends[0];
	drawing->process = fork();
	if (!drawing->process) {
		close(ends[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(draw(ends[1]));
	}
	close(ends[1]);
	if (drawing->process < 0)
		return -errno;
	do {
		ret = next_told(drawing, GPU_PATIENCE_NS);
	} while (ret >= 0 && ret != far);
	if (ret < 0)
		stop_drawing(drawing);
	return ret < 0 ? ret : 0;
}

/* Counts how often a process flips in this time. */
static unsigned int count_flips(const struct drawing *drawing, __s64 ns)
{
	const __s64 end = now_ns() + ns;
	unsigned int flips = 0;
	__s64 left;

	while ((left = end - now_ns()) > 0)
		flips += next_told(drawing, left) == FLIPPED;
	return flips;
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

/* Returns the median of exits with a device that works, in ns, or -errno. */
static __s64 measure_healthy(void)
{
	__s64 times[KILLS];
	unsigned int i;

	for (i = 0; i < KILLS; i++) {
		struct drawing drawing;
		int ret = start_drawing(&drawing, FLIPPED);

		if (ret)
			return ret;
		sleep_ns(i % MOMENTS * MOMENT_NS);
		times[i] = stop_drawing(&drawing);
		if (times[i] < 0)
			return times[i];
	}
	return summary("healthy", times);
}

FIXTURE(stall)
{
	struct gpu gpu;
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
	REQUIRE(return, !geteuid(), "not root");
	REQUIRE(return, gpu_present(&self->gpu), NO_GPU);
	self->screen = screen_open();
	REQUIRE(return, self->screen >= 0, NO_SCREEN);
	REQUIRE(return, device_state(self->screen, "commands") >= 0, NO_OWN_DEVICE);
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

/* Waits until the device stands still at such a command. Returns 0 or -errno. */
static int hold_at(int screen, const char *type, const char *held, bool resizes)
{
	static unsigned int width = 1000;
	char answer[64];
	int ret = device_ask(screen, "stall %s", type);

	if (!ret && resizes) {
		/* Another size than the last time. */
		width = width == 1000 ? 1100 : 1000;
		ret = screen_ask(screen, answer, sizeof(answer), "resize %u 700", width);
	}
	if (ret)
		return ret;
	return device_wait(screen, held, 1) ? 0 : -ETIMEDOUT;
}

/* A process that draws already is killed: the device never comes back for it. */
TEST_F_TIMEOUT(stall, for_ever, 300)
{
	const __s64 healthy = measure_healthy();
	__s64 times[KILLS];
	unsigned int i;

	ASSERT_GE(healthy, 0);
	for (i = 0; i < KILLS; i++) {
		struct drawing drawing;

		ASSERT_EQ(0, start_drawing(&drawing, FLIPPED));
		ASSERT_EQ(0, hold_at(self->screen, variant->type, variant->held,
				     variant->resizes));
		sleep_ns(i % MOMENTS * MOMENT_NS);
		times[i] = stop_drawing(&drawing);
		ASSERT_GE(times[i], 0);
		EXPECT_EQ(1, device_state(self->screen, variant->held));
		ASSERT_EQ(0, device_resume(self->screen));
		ASSERT_TRUE(device_wait(self->screen, variant->held, 0));
	}
	EXPECT_LE(summary("for ever", times), healthy + MEDIAN_NS);
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
	const unsigned char far = variant->flips ? FLIPPED : OPENED;
	const __s64 healthy = measure_healthy();
	__s64 times[KILLS], start;
	struct drawing drawing;
	unsigned int i;

	ASSERT_GE(healthy, 0);
	ASSERT_EQ(0, start_drawing(&drawing, FLIPPED));
	start = now_ns();
	ASSERT_EQ(0, hold_at(self->screen, variant->type, variant->held, variant->resizes));
	for (i = 0; i < KILLS; i++) {
		if (i)
			ASSERT_EQ(0, start_drawing(&drawing, far));
		sleep_ns((1 + i % MOMENTS) * MOMENT_NS);
		times[i] = stop_drawing(&drawing);
		ASSERT_GE(times[i], 0);
	}
	EXPECT_EQ(1, device_state(self->screen, variant->held));
	sleep_ns(start + STALL_NS - now_ns());
	ASSERT_EQ(0, device_resume(self->screen));
	EXPECT_TRUE(returns());
	EXPECT_LE(summary("ten seconds", times), healthy + MEDIAN_NS);
	EXPECT_LE(times[KILLS - 1], LONGEST_NS);
}

/* Flips go on, with a device that stands still on their path at their own slow rate. */
TEST_F_TIMEOUT(stall, flips, 120)
{
	struct drawing drawing;
	unsigned int before, then;

	ASSERT_EQ(0, start_drawing(&drawing, FLIPPED));
	before = count_flips(&drawing, FLIPS_NS);
	ASSERT_EQ(0, hold_at(self->screen, variant->type, variant->held, variant->resizes));
	then = count_flips(&drawing, FLIPS_NS);
	TH_LOG("%s: %u flips before, %u then", variant->type, before, then);
	EXPECT_GE(then, variant->flips ? before / 2 : STALLED_FLIPS);
	EXPECT_LE(0, stop_drawing(&drawing));
}

TEST_F_TIMEOUT(stall, unbind, 120)
{
	struct drawing drawing;
	__s64 start;

	ASSERT_EQ(0, start_drawing(&drawing, FLIPPED));
	ASSERT_EQ(0, hold_at(self->screen, variant->type, variant->held, variant->resizes));
	start = now_ns();
	ASSERT_EQ(0, gpu_unbind(&self->gpu));
	EXPECT_LE(now_ns() - start, UNBIND_NS);
	EXPECT_LE(0, stop_drawing(&drawing));
	ASSERT_EQ(0, device_resume(self->screen));
	ASSERT_EQ(0, gpu_bind(&self->gpu));
	EXPECT_TRUE(returns());
}

TEST_HARNESS_MAIN
