/* SPDX-License-Identifier: GPL-2.0 */
/* The operations of the display that are measured, and the output of figures. */
#ifndef _DISPLAY_BENCH_H
#define _DISPLAY_BENCH_H

#include "bench.h"
#include "display_request.h"

#define FRAMES		2
#define CLIP_SIDE	64

struct bench {
	struct report report;
	struct display display;
	struct frame frames[FRAMES];
	struct request flips[FRAMES];	/* to each frame, with a part as damage */
	unsigned int shown;	/* index in frames */
	struct frame cursors[FRAMES];
	struct drm_mode_modeinfo modes[2];	/* of the same size, at two rates */
	unsigned int width, height;
	char pci[64];
	int screen;
	int mark;	/* configuration space of a PCI function, for writes that QEMU traces */
};

static const char *sized(const struct bench *bench, const char *name, bool with_size)
{
	return with_size ? path("%s %ux%u", name, bench->width, bench->height) : name;
}

/* Advances to the other frame and returns its index. */
static unsigned int next_frame(struct bench *bench)
{
	bench->shown = (bench->shown + 1) % FRAMES;
	return bench->shown;
}

/* Shows the other frame. */
static int flip(struct bench *bench, __u32 flags, struct drm_event_vblank *event)
{
	return flip_and_wait(&bench->display, bench->frames[next_frame(bench)].fb, flags, event);
}

static int run_flip(struct bench *bench, __maybe_unused unsigned int i)
{
	struct drm_event_vblank event;

	return flip(bench, 0, &event);
}

static int run_async_flip(struct bench *bench, __maybe_unused unsigned int i)
{
	struct drm_event_vblank event;

	return flip(bench, DRM_MODE_PAGE_FLIP_ASYNC, &event);
}

/* Shows the other frame by an atomic commit with damage. */
static int run_flip_part(struct bench *bench, __maybe_unused unsigned int i)
{
	struct drm_event_vblank event;
	int ret = request_commit(&bench->display, &bench->flips[next_frame(bench)],
				 DRM_MODE_ATOMIC_NONBLOCK | DRM_MODE_PAGE_FLIP_EVENT, 0);

	return ret ? ret : wait_event(bench->display.fd, &event);
}

static int run_dirtyfb(struct bench *bench, unsigned int i)
{
	const struct rect clip = { i % 128, i % 64, i % 128 + CLIP_SIDE, i % 64 + CLIP_SIDE };

	return dirty_fb(bench->display.fd, bench->frames[bench->shown].fb, &clip, 1);
}

static int run_modeset(struct bench *bench, unsigned int i)
{
	return set_crtc(&bench->display, bench->frames[bench->shown].fb,
			&bench->modes[(i + 1) % 2], 0, 0);
}

static int run_cursor_move(struct bench *bench, unsigned int i)
{
	return cursor_set(&bench->display, DRM_MODE_CURSOR_MOVE, 0, 10 + i % 500, 10 + i % 500);
}

static int run_cursor_image(struct bench *bench, unsigned int i)
{
	return cursor_set(&bench->display, DRM_MODE_CURSOR_BO, bench->cursors[i % FRAMES].handle,
			  0, 0);
}

static int run_life_cycle(struct bench *bench, __maybe_unused unsigned int i)
{
	struct drm_mode_create_dumb create = {
		.width = bench->width,
		.height = bench->height,
		.bpp = 32,
	};
	struct drm_mode_destroy_dumb destroy;
	struct frame frame = {};
	int fd = bench->display.fd;
	int ret = gpu_ioctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &create);

	if (ret)
		return ret;
	frame.handle = create.handle;
	destroy.handle = create.handle;
	ret = frame_add(fd, &frame, bench->width, bench->height, create.pitch, 0);
	if (!ret)
		ret = gpu_ioctl(fd, DRM_IOCTL_MODE_RMFB, &frame.fb);
	if (!ret)
		ret = gpu_ioctl(fd, DRM_IOCTL_MODE_DESTROY_DUMB, &destroy);
	return ret;
}

/*
 * A mode at 60 Hz, or 50 Hz if @slow. The timings are, or nearly are, those of CTA-861
 * and VESA's DMT.
 */
static struct drm_mode_modeinfo make_mode(unsigned int width, bool slow)
{
	struct drm_mode_modeinfo small = {
		.clock = slow ? 54163 : 65000,
		.hdisplay = 1024, .hsync_start = 1048, .hsync_end = 1184, .htotal = 1344,
		.vdisplay = 768, .vsync_start = 771, .vsync_end = 777, .vtotal = 806,
		.vrefresh = slow ? 50 : 60,
		.name = "1024x768",
	};
	struct drm_mode_modeinfo large = {
		.clock = slow ? 495000 : 594000,
		.hdisplay = 3840, .hsync_start = 4016, .hsync_end = 4104, .htotal = 4400,
		.vdisplay = 2160, .vsync_start = 2168, .vsync_end = 2178, .vtotal = 2250,
		.vrefresh = slow ? 50 : 60,
		.name = "3840x2160",
	};

	return width == small.hdisplay ? small : large;
}

/* Prepares the commits of run_flip_part(). */
static int make_flips(struct bench *bench)
{
	const struct drm_mode_rect part = { 0, 0, CLIP_SIDE, CLIP_SIDE };
	const struct display *display = &bench->display;
	int i;

	for (i = 0; i < FRAMES; i++) {
		__u32 clips = create_blob(display->fd, &part, sizeof(part));

		if (!clips)
			return -ENOMEM;
		bench->flips[i] = (struct request){};
		request_set(&bench->flips[i], display, display->primary, "FB_ID",
			    bench->frames[i].fb);
		request_set(&bench->flips[i], display, display->primary, "FB_DAMAGE_CLIPS", clips);
	}
	return 0;
}

/* Shows a screen of one size. */
static int bench_show(struct bench *bench, unsigned int width, unsigned int height)
{
	int fd = bench->display.fd, ret, i;

	bench->width = width;
	bench->height = height;
	bench->shown = 0;
	for (i = 0; i < FRAMES; i++) {
		bench->modes[i] = make_mode(width, i);
		ret = frame_create(fd, &bench->frames[i], width, height);
		if (ret)
			return ret;
	}
	ret = make_flips(bench);
	return ret ? ret : set_crtc(&bench->display, bench->frames[0].fb, &bench->modes[0], 0, 0);
}

static void bench_hide(struct bench *bench)
{
	int i;

	crtc_off(&bench->display);
	for (i = 0; i < FRAMES; i++)
		frame_destroy(bench->display.fd, &bench->frames[i]);
}

static int show_cursor(struct bench *bench)
{
	int fd = bench->display.fd, ret = 0, i;

	for (i = 0; i < FRAMES && !ret; i++)
		ret = buffer_create(fd, &bench->cursors[i], CURSOR_SIDE, CURSOR_SIDE);
	return ret ? ret : run_cursor_image(bench, 0);
}

static void hide_cursor(struct bench *bench)
{
	int i;

	cursor_set(&bench->display, DRM_MODE_CURSOR_BO, 0, 0, 0);
	for (i = 0; i < FRAMES; i++)
		frame_destroy(bench->display.fd, &bench->cursors[i]);
}

/* Opens the card of a device that a driver was just bound to. */
static const char *bench_open(struct bench *bench)
{
	__s64 deadline = now_ns() + GPU_PATIENCE_NS;
	char link[PATH_MAX], *word, *save;
	const char *card, *reason;
	ssize_t len;

	while ((reason = display_open(&bench->display)) && now_ns() < deadline) {
		if (bench->display.fd >= 0)
			close(bench->display.fd);
		sleep_ns(50 * NSEC_PER_MSEC);
	}
	if (reason)
		return reason;
	if (set_client_cap(bench->display.fd, DRM_CLIENT_CAP_ATOMIC))
		return "no atomic commits";
	card = strrchr(bench->display.card, '/') + 1;
	len = readlink(path("/sys/class/drm/%s", card), link, sizeof(link) - 1);
	if (len < 0)
		return "no such device in sysfs";
	link[len] = '\0';
	/* With the C driver a virtio device is between the PCI function and the card. */
	for (word = strtok_r(link, "/", &save); word; word = strtok_r(NULL, "/", &save)) {
		if (strlen(word) == strlen("0000:00:02.0") && word[4] == ':' && word[10] == '.')
			snprintf(bench->pci, sizeof(bench->pci), "%.60s", word);
	}
	if (!link_name(path("/sys/bus/pci/devices/%s/driver", bench->pci), bench->report.driver,
		       sizeof(bench->report.driver)))
		return "the device has no driver";
	if (strcmp(bench->report.driver, "rust_gpu"))
		snprintf(bench->report.driver, sizeof(bench->report.driver), DRIVER_NAME);
	return NULL;
}

#endif /* _DISPLAY_BENCH_H */
