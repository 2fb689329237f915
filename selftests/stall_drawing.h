/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A process that draws in all ways at once, and how long it takes to exit when it is
 * killed: for tests of a device that stands still.
 */
#ifndef _STALL_DRAWING_H
#define _STALL_DRAWING_H

#include <pthread.h>
#include <sys/prctl.h>

#include "display_device.h"
#include "display_kms.h"
#include "words.h"

#define DRAWN_FRAMES	3
#define DRAWN_IMAGES	2

#define CONSOLE		"/dev/tty1"
#define CURSOR_PAUSE_NS		(10 * NSEC_PER_MSEC)
#define CONSOLE_PAUSE_NS	(50 * NSEC_PER_MSEC)
#define PROBE_PAUSE_NS		(200 * NSEC_PER_MSEC)

/* What a process that draws says. */
enum { OPENED = 1, FLIPPED };

/* In the process that draws. */
static struct {
	struct display display;
	struct frame frames[DRAWN_FRAMES];
} drawer;

/* Changes the image of the cursor, and moves it. */
static __maybe_unused void *draw_cursor(void *arg)
{
	const struct display *display = &drawer.display;
	struct frame images[DRAWN_IMAGES];
	unsigned int i;

	for (i = 0; i < DRAWN_IMAGES; i++)
		buffer_create(display->fd, &images[i], CURSOR_SIDE, CURSOR_SIDE);
	for (i = 0;; i++) {
		bool image = i % 2;

		cursor_set(display, DRM_MODE_CURSOR_MOVE | (image ? DRM_MODE_CURSOR_BO : 0),
			   image ? images[i / 2 % DRAWN_IMAGES].handle : 0, i % 600, i % 400);
		sleep_ns(CURSOR_PAUSE_NS);
	}
	return arg;
}

/* Writes to the console. */
static __maybe_unused void *draw_console(void *arg)
{
	for (;;) {
		write_file(CONSOLE, "drawing\n");
		sleep_ns(CONSOLE_PAUSE_NS);
	}
	return arg;
}

/* Looks for another size of the screen. */
static __maybe_unused void *probe_connector(void *arg)
{
	struct display display = drawer.display;
	__u32 encoder;

	for (;;) {
		read_connector(&display, display.connector, &encoder);
		sleep_ns(PROBE_PAUSE_NS);
	}
	return arg;
}

/* Draws until it is killed. Each frame is in a buffer that is new to the device. */
static __maybe_unused int draw(int pipe)
{
	static void *(*const others[])(void *) = { draw_cursor, draw_console, probe_connector };
	struct display *display = &drawer.display;
	struct drm_event_vblank event;
	pthread_t thread;
	unsigned int i;

	if (display_open(display))
		return 1;
	for (i = 0; i < DRAWN_FRAMES; i++)
		frame_create(display->fd, &drawer.frames[i], display->mode.hdisplay,
			     display->mode.vdisplay);
	say(pipe, OPENED);
	set_crtc(display, drawer.frames[0].fb, &display->mode, 0, 0);
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		if (pthread_create(&thread, NULL, others[i], NULL))
			return 2;
	}
	for (i = 1;; i++) {
		struct frame *frame = &drawer.frames[i % DRAWN_FRAMES];

		frame_destroy(display->fd, frame);
		frame_create(display->fd, frame, display->mode.hdisplay, display->mode.vdisplay);
		if (!flip_and_wait(display, frame->fb, 0, &event))
			say(pipe, FLIPPED);
	}
}

/* A process that draws. */
struct drawing {
	pid_t process;
	int from;	/* the pipe by which it says how far it is */
};

/* Kills a process. Returns how long it takes to exit, in ns, or -errno. */
static __maybe_unused __s64 stop_drawing(const struct drawing *drawing)
{
	__s64 start = now_ns(), took;
	int status;

	if (kill(drawing->process, SIGKILL) ||
	    waitpid(drawing->process, &status, 0) != drawing->process)
		return -errno;
	took = now_ns() - start;
	close(drawing->from);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? took : -ECHILD;
}

/* Starts to draw, and waits until that process is so far. Returns 0 or -errno. */
static __maybe_unused int start_drawing(struct drawing *drawing, unsigned char far)
{
	int ends[2], ret;

	if (pipe(ends))
		return -errno;
	drawing->from = ends[0];
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
		ret = hear(drawing->from, GPU_PATIENCE_NS);
	} while (ret >= 0 && ret != far);
	if (ret < 0)
		stop_drawing(drawing);
	return ret < 0 ? ret : 0;
}

/* Counts how often a process flips in this time. */
static __maybe_unused unsigned int count_flips(const struct drawing *drawing, __s64 ns)
{
	const __s64 end = now_ns() + ns;
	unsigned int flips = 0;
	__s64 left;

	while ((left = end - now_ns()) > 0)
		flips += hear(drawing->from, left) == FLIPPED;
	return flips;
}

#endif /* _STALL_DRAWING_H */
