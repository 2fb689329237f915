/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Ways to use the display, for tests of a device that stands still. Each has a function
 * that prepares, on a device that works, one that is called again and again, and one that
 * tells whether the screen is right.
 */
#ifndef _STALL_WAYS_H
#define _STALL_WAYS_H

#include <linux/vt.h>
#include <pthread.h>

#include "display_device.h"
#include "display_foreign.h"
#include "display_request.h"
#include "display_scene.h"
#include "sw_sync.h"

/* Longest that one use may take, whatever the device does. */
#define USE_NS		(3 * NSEC_PER_SEC)
/* When a fence is signaled for which a commit waits. */
#define FENCE_NS	(500 * NSEC_PER_MSEC)
#define FILES		2

/* In the process that uses the display. */
static struct scene scene;
static struct frame other;
static struct head {
	struct display display;
	struct picture picture;
} second;
static __u32 seed;
static int render[FILES];
static __u64 fence;
static __u32 console[2];	/* CRC of what the screen shows */
static unsigned int terminal;

/* Opens the display and shows a frame of two. */
static const char *show(void)
{
	const char *reason = scene_open(&scene);

	if (reason)
		return reason;
	if (!scene.frame.fb || frame_create(scene.display.fd, &other, scene.picture.width,
					    scene.picture.height))
		return "no frames";
	return scene_show(&scene, ++seed) ? "nothing is shown" : NULL;
}

/* Draws the next picture into the other frame. Returns that frame. */
static const struct frame *draw_next(void)
{
	const struct frame *frame = ++seed % 2 ? &scene.frame : &other;

	picture_fill(&scene.picture, seed);
	frame_draw(frame, &scene.picture);
	return frame;
}

static int show_next(void)
{
	return set_crtc(&scene.display, draw_next()->fb, &scene.display.mode, 0, 0);
}

static bool shows_picture(void)
{
	return screen_shows_within(scene.screen, "users", scene.display.head, &scene.picture,
				   RETURN_NS);
}

static int use_dirty(void)
{
	struct rect all = picture_rect(&scene.picture);

	scene_paint(&scene, ++seed);
	return dirty_fb(scene.display.fd, scene.frame.fb, &all, 1);
}

static int use_async(void)
{
	struct drm_event_vblank event;

	return flip_and_wait(&scene.display, draw_next()->fb, DRM_MODE_PAGE_FLIP_ASYNC, &event);
}

/* Switches the screen off, draws, and switches it on. */
static int use_dpms(void)
{
	int ret = set_dpms(&scene.display, DRM_MODE_DPMS_OFF);

	scene_paint(&scene, ++seed);
	return ret ? ret : set_dpms(&scene.display, DRM_MODE_DPMS_ON);
}

static int use_master(void)
{
	int ret = gpu_ioctl(scene.display.fd, DRM_IOCTL_DROP_MASTER, NULL);

	if (!ret)
		ret = gpu_ioctl(scene.display.fd, DRM_IOCTL_SET_MASTER, NULL);
	return ret ? ret : show_next();
}

static const char *show_leased(void)
{
	const char *reason = show();
	__u32 lessee;
	int fd;

	if (reason)
		return reason;
	fd = lease_create(&scene.display, &lessee);
	if (fd < 0)
		return "no lease";
	scene.display.fd = fd;
	if (frame_create(fd, &scene.frame, scene.picture.width, scene.picture.height) ||
	    frame_create(fd, &other, scene.picture.width, scene.picture.height))
		return "no frames of the lessee";
	return show_next() ? "the lessee shows nothing" : NULL;
}

static const char *show_atomic(void)
{
	const char *reason = show();

	if (reason)
		return reason;
	if (set_client_cap(scene.display.fd, DRM_CLIENT_CAP_ATOMIC))
		return "the driver has no atomic commits";
	return access(SW_SYNC_FILE, W_OK) ? NO_SW_SYNC : NULL;
}

/* Whether a fence is signaled within @ns. */
static bool is_signaled(int file, __s64 ns)
{
	struct pollfd poll_fence = { .fd = file, .events = POLLIN };

	return poll(&poll_fence, 1, ns / NSEC_PER_MSEC) == 1;
}

static int use_out_fence(void)
{
	const struct display *display = &scene.display;
	struct request request = {};
	struct drm_event_vblank event;
	int out = -1, ret;

	request_set(&request, display, display->primary, "FB_ID", draw_next()->fb);
	request_set(&request, display, display->crtc, "OUT_FENCE_PTR", user_pointer(&out));
	ret = request_commit(display, &request, DRM_MODE_ATOMIC_NONBLOCK | DRM_MODE_PAGE_FLIP_EVENT,
			     0);
	if (ret)
		return ret;
	ret = is_signaled(out, USE_NS) ? wait_event(display->fd, &event) : -ETIME;
	close(out);
	return ret;
}

static void *signal_fence(void *arg)
{
	sleep_ns(FENCE_NS);
	sw_fence_signal(arg);
	return NULL;
}

/* A commit waits for a fence that somebody else signals. */
static int use_in_fence(void)
{
	const struct display *display = &scene.display;
	struct request request = {};
	struct sw_fence wanted;
	pthread_t thread;
	int ret = sw_fence_create(&wanted);

	if (!ret)
		ret = -pthread_create(&thread, NULL, signal_fence, &wanted);
	if (ret)
		return ret;
	request_set(&request, display, display->primary, "FB_ID", draw_next()->fb);
	request_set(&request, display, display->primary, "IN_FENCE_FD", wanted.file);
	ret = request_commit(display, &request, 0, 0);
	pthread_join(thread, NULL);
	sw_fence_close(&wanted);
	return ret;
}

/* Replaces a frame by one with an imported buffer. Returns 0 or -errno. */
static int import(struct frame *frame, const struct foreign *foreign, __u32 pitch)
{
	int ret;

	frame_destroy(scene.display.fd, frame);
	ret = prime_import(scene.display.fd, foreign->fd, &frame->handle);
	if (!ret)
		ret = frame_add(scene.display.fd, frame, scene.picture.width, scene.picture.height,
				pitch, 0);
	frame->map = foreign->map;
	frame->size = foreign->size;
	return ret;
}

static const char *show_memory(void)
{
	const char *reason = show();
	struct foreign foreign;
	int i;

	for (i = 0; !reason && i < 2; i++) {
		reason = udmabuf_create(&foreign, scene.picture.width, scene.picture.height);
		if (!reason && import(i ? &other : &scene.frame, &foreign, 4 * scene.picture.width))
			reason = "memory of the process is not imported";
	}
	return reason ? reason : show_next() ? "imported memory is not shown" : NULL;
}

/* The buffers are of another client. */
static const char *show_others(void)
{
	const char *reason = show();
	int client = reason ? -1 : open(scene.display.card, O_RDWR | O_CLOEXEC), i;
	struct foreign foreign;
	struct frame frame;

	for (i = 0; !reason && i < 2; i++) {
		if (buffer_create(client, &frame, scene.picture.width, scene.picture.height))
			return "no buffer of another client";
		foreign.fd = prime_export(client, frame.handle);
		foreign.map = frame.map;
		foreign.size = frame.size;
		if (import(i ? &other : &scene.frame, &foreign, frame.buffer_pitch))
			reason = "another client's buffer is not imported";
	}
	return reason ? reason : show_next() ? "another client's buffer is not shown" : NULL;
}

/* Shows the same frames on two screens: on the second one, which is smaller, their corner. */
static const char *show_twice(void)
{
	const char *reason = show();

	second.display.fd = scene.display.fd;
	if (!reason)
		reason = connect_second(scene.screen, &second.display);
	if (!reason && picture_create(&second.picture, second.display.mode.hdisplay,
				      second.display.mode.vdisplay))
		reason = "no memory";
	return reason;
}

static int use_twice(void)
{
	int ret = show_next();

	return ret ? ret : set_crtc(&second.display, (seed % 2 ? &scene.frame : &other)->fb,
				    &second.display.mode, 0, 0);
}

static bool shows_twice(void)
{
	__u32 y;

	for (y = 0; y < second.picture.height; y++)
		memcpy(second.picture.pixels + (size_t)y * second.picture.width,
		       scene.picture.pixels + (size_t)y * scene.picture.width,
		       second.picture.width * sizeof(*second.picture.pixels));
	return shows_picture() && screen_shows_within(scene.screen, "users-second",
						      second.display.head, &second.picture,
						      RETURN_NS);
}

/* Opens files of the render node as well. */
static const char *show_and_render(void)
{
	const char *reason = show();
	struct gpu gpu;
	int i;

	if (!reason && !gpu_find(&gpu))
		reason = NO_GPU;
	for (i = 0; !reason && i < FILES; i++) {
		render[i] = open(gpu.render, O_RDWR | O_CLOEXEC);
		if (render[i] < 0)
			reason = "no render node";
	}
	return reason;
}

/* Submits packets until there is room for no more, if they are not to wait for room. */
static int fill(int fd, __u32 flags, __s64 end)
{
	__u64 last;
	int ret;

	do {
		ret = gpu_submit(fd, RUST_GPU_NODE_CONTROL, RUST_GPU_SUBMIT_MAX_COUNT, flags,
				 &last);
		fence = ret > 0 ? last : fence;
	} while (ret > 0 && now_ns() < end);
	return ret > 0 || ret == -EAGAIN || ret == -EINTR ? 0 : ret;
}

static int use_fence(void)
{
	int ret = fill(render[0], RUST_GPU_SUBMIT_NONBLOCK, now_ns());

	if (!ret)
		ret = gpu_wait_fence(render[0], RUST_GPU_NODE_CONTROL, fence, now_ns() + FENCE_NS);
	return ret == -ETIME ? 0 : ret;
}

/* The packets wait for room until a signal comes. */
static int use_submit(void)
{
	int ret;

	interrupt_after(1);
	ret = fill(render[0], 0, now_ns() + FENCE_NS);
	interrupt_after(0);
	return ret;
}

/* All packets are executed in the end. */
static bool has_executed(void)
{
	return !gpu_wait_fence(render[0], RUST_GPU_NODE_CONTROL, fence, now_ns() + RETURN_NS) &&
	       shows_picture();
}

/* Fills the queues with packets, cursor images, and frames. There may be too many of these. */
static int use_full(void)
{
	const __s64 end = now_ns() + FENCE_NS;
	struct frame image;
	int i, ret = 0;

	for (i = 0; !ret && i < FILES; i++)
		ret = fill(render[i], RUST_GPU_SUBMIT_NONBLOCK, end);
	for (i = 0; !ret && i < 4; i++) {
		ret = buffer_create(scene.display.fd, &image, CURSOR_SIDE, CURSOR_SIDE);
		if (!ret)
			ret = cursor_set(&scene.display, DRM_MODE_CURSOR_BO, image.handle, 0, 0);
		ret = ret == -EBUSY ? 0 : ret;
		frame_destroy(scene.display.fd, &image);
	}
	return ret ? ret : show_next();
}

/* The CRC of what the screen shows, once it does not change any more; 0 if that fails. */
static __u32 calm_crc(void)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	__u32 width, height, crc = 0, last;

	do {
		last = crc;
		sleep_ns(500 * NSEC_PER_MSEC);
		if (screen_dump(scene.screen, "users-console", 0, &width, &height, &crc))
			return 0;
	} while (crc != last && now_ns() < end);
	return crc == last ? crc : 0;
}

static bool shows_console(void)
{
	const __s64 end = now_ns() + RETURN_NS;
	__u32 width, height, crc;

	do {
		if (!screen_dump(scene.screen, "users-console", 0, &width, &height, &crc) &&
		    crc == console[terminal])
			return true;
		sleep_ns(20 * NSEC_PER_MSEC);
	} while (now_ns() < end);
	return false;
}

/* Shows the first virtual terminal, or the second one. Returns 0 or -errno. */
static int show_terminal(unsigned int which)
{
	int fd = open("/dev/tty0", O_RDWR | O_NOCTTY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = ioctl(fd, VT_ACTIVATE, 1 + which) ? -errno : 0;
	/* The kernel does not restart it after the process was frozen. */
	while (!ret && ioctl(fd, VT_WAITACTIVE, 1 + which))
		ret = errno == EINTR ? 0 : -errno;
	close(fd);
	terminal = which;
	return ret;
}

/* Writes to both virtual terminals, and remembers what the screen shows then. */
static const char *show_consoles(void)
{
	int i;

	scene.screen = screen_open();
	if (scene.screen < 0)
		return NO_SCREEN;
	for (i = 1; i >= 0; i--) {
		if (show_terminal(i) ||
		    write_file(path("/dev/tty%d", 1 + i), path("\033[2J\033[Hterminal %d\n", i)))
			return "no virtual terminals";
		console[i] = calm_crc();
		if (!console[i])
			return "the console does not become calm";
	}
	return console[0] == console[1] ? "the consoles are not shown" : NULL;
}

static int use_terminals(void)
{
	return show_terminal(!terminal);
}

/* The last client closes the device: the console is shown again. */
static int use_close(void)
{
	struct display display;
	struct frame frame;
	int ret = -EBUSY;

	if (!display_open(&display))
		ret = frame_create(display.fd, &frame, display.mode.hdisplay,
				   display.mode.vdisplay);
	if (!ret)
		ret = set_crtc(&display, frame.fb, &display.mode, 0, 0);
	munmap(frame.map, frame.size);
	close(display.fd);
	return ret;
}

#endif /* _STALL_WAYS_H */
