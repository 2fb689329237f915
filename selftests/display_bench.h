/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the display is asked to do while it is measured, and how figures are told.
 */
#ifndef _DISPLAY_BENCH_H
#define _DISPLAY_BENCH_H

#include "display_kms.h"

#define FRAMES		2
#define CLIP_SIDE	64

struct scene {
	struct display display;
	struct frame frames[FRAMES];
	struct request flips[FRAMES];	/* to each frame, a part of which is another one */
	unsigned int shown;	/* of the frames */
	struct frame cursors[FRAMES];
	struct drm_mode_modeinfo modes[2];	/* of one size, at two rates */
	unsigned int width, height;
	char driver[64];
	char pci[64];
	int screen;
	int mark;	/* configuration space of a PCI function, whose writes the host sees */
	bool machine;
	bool failed;
};

struct operation {
	const char *name;
	int (*run)(struct scene *scene, unsigned int i);
	unsigned int times;
	bool paced;		/* waits for a vblank by itself */
	bool sized;		/* is another one for each size of the screen */
};

/* Prints one figure. */
static void tell(const struct scene *scene, const char *what, const char *unit, double value)
{
	if (scene->machine)
		printf("=\t%s\t%s\t%s\t%.3f\n", scene->driver, what, unit, value);
	else
		printf("  %-40s%16.2f %s\n", what, value, unit);
	fflush(stdout);
}

/* Says that something could not be measured. */
static void fail(struct scene *scene, const char *what, const char *reason)
{
	printf("# %s: %s: not measured: %s\n", scene->driver, what, reason);
	scene->failed = true;
}

static const char *sized(const struct scene *scene, const char *name, bool with_size)
{
	return with_size ? path("%s %ux%u", name, scene->width, scene->height) : name;
}

static int flip_to(struct scene *scene, __u32 fb, __u32 flags, struct drm_event_vblank *event)
{
	struct drm_mode_crtc_page_flip flip = {
		.crtc_id = scene->display.crtc,
		.fb_id = fb,
		.flags = flags | DRM_MODE_PAGE_FLIP_EVENT,
	};
	int ret = gpu_ioctl(scene->display.fd, DRM_IOCTL_MODE_PAGE_FLIP, &flip);

	return ret ? ret : read_event(scene->display.fd, event, 10000);
}

/* The frame that is to be shown next. */
static unsigned int next_frame(struct scene *scene)
{
	scene->shown = (scene->shown + 1) % FRAMES;
	return scene->shown;
}

/* Shows the frame that is not shown. */
static int flip(struct scene *scene, __u32 flags, struct drm_event_vblank *event)
{
	return flip_to(scene, scene->frames[next_frame(scene)].fb, flags, event);
}

static int run_flip(struct scene *scene, __maybe_unused unsigned int i)
{
	struct drm_event_vblank event;

	return flip(scene, 0, &event);
}

static int run_async_flip(struct scene *scene, __maybe_unused unsigned int i)
{
	struct drm_event_vblank event;

	return flip(scene, DRM_MODE_PAGE_FLIP_ASYNC, &event);
}

/* Shows it with an atomic commit that says which part of the screen that changes. */
static int run_flip_part(struct scene *scene, __maybe_unused unsigned int i)
{
	struct drm_event_vblank event;
	int ret = request_commit(&scene->display, &scene->flips[next_frame(scene)],
				 DRM_MODE_ATOMIC_NONBLOCK | DRM_MODE_PAGE_FLIP_EVENT, 0);

	return ret ? ret : read_event(scene->display.fd, &event, 10000);
}

static int run_dirtyfb(struct scene *scene, unsigned int i)
{
	struct drm_clip_rect clip = {
		.x1 = i % 128,
		.y1 = i % 64,
		.x2 = i % 128 + CLIP_SIDE,
		.y2 = i % 64 + CLIP_SIDE,
	};
	struct drm_mode_fb_dirty_cmd cmd = {
		.fb_id = scene->frames[scene->shown].fb,
		.num_clips = 1,
		.clips_ptr = user_pointer(&clip),
	};

	return gpu_ioctl(scene->display.fd, DRM_IOCTL_MODE_DIRTYFB, &cmd);
}

static int run_modeset(struct scene *scene, unsigned int i)
{
	return set_crtc(&scene->display, scene->frames[scene->shown].fb,
			&scene->modes[(i + 1) % 2], 0, 0);
}

static int run_cursor_move(struct scene *scene, unsigned int i)
{
	return cursor_set(&scene->display, DRM_MODE_CURSOR_MOVE, 0, 10 + i % 500, 10 + i % 500);
}

static int run_cursor_image(struct scene *scene, unsigned int i)
{
	return cursor_set(&scene->display, DRM_MODE_CURSOR_BO, scene->cursors[i % FRAMES].handle,
			  0, 0);
}

static int run_nothing(__maybe_unused struct scene *scene, __maybe_unused unsigned int i)
{
	return 0;
}

static int run_life_cycle(struct scene *scene, __maybe_unused unsigned int i)
{
	struct drm_mode_create_dumb create = {
		.width = scene->width,
		.height = scene->height,
		.bpp = 32,
	};
	struct drm_mode_destroy_dumb destroy;
	struct frame frame = {};
	int fd = scene->display.fd;
	int ret = gpu_ioctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &create);

	if (ret)
		return ret;
	frame.handle = create.handle;
	destroy.handle = create.handle;
	ret = frame_add(fd, &frame, scene->width, scene->height, create.pitch, 0);
	if (!ret)
		ret = gpu_ioctl(fd, DRM_IOCTL_MODE_RMFB, &frame.fb);
	if (!ret)
		ret = gpu_ioctl(fd, DRM_IOCTL_MODE_DESTROY_DUMB, &destroy);
	return ret;
}

/* A mode of a size at 60 Hz, or at 50 Hz: what CTA-861 and VESA's DMT have, or nearly that. */
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

/* What run_flip_part() asks for. */
static int make_flips(struct scene *scene)
{
	const struct drm_mode_rect part = { 0, 0, CLIP_SIDE, CLIP_SIDE };
	const struct display *display = &scene->display;
	int i;

	for (i = 0; i < FRAMES; i++) {
		__u32 clips = create_blob(display->fd, &part, sizeof(part));

		if (!clips)
			return -ENOMEM;
		scene->flips[i] = (struct request){};
		request_set(&scene->flips[i], display, display->primary, "FB_ID",
			    scene->frames[i].fb);
		request_set(&scene->flips[i], display, display->primary, "FB_DAMAGE_CLIPS", clips);
	}
	return 0;
}

/* Shows a screen of one size. */
static int scene_show(struct scene *scene, unsigned int width, unsigned int height)
{
	int fd = scene->display.fd, ret, i;

	scene->width = width;
	scene->height = height;
	scene->shown = 0;
	for (i = 0; i < FRAMES; i++) {
		scene->modes[i] = make_mode(width, i);
		ret = frame_create(fd, &scene->frames[i], width, height);
		if (ret)
			return ret;
	}
	ret = make_flips(scene);
	return ret ? ret : set_crtc(&scene->display, scene->frames[0].fb, &scene->modes[0], 0, 0);
}

static void scene_hide(struct scene *scene)
{
	int i;

	crtc_off(&scene->display);
	for (i = 0; i < FRAMES; i++)
		frame_destroy(scene->display.fd, &scene->frames[i]);
}

static int show_cursor(struct scene *scene)
{
	int fd = scene->display.fd, ret = 0, i;

	for (i = 0; i < FRAMES && !ret; i++)
		ret = buffer_create(fd, &scene->cursors[i], CURSOR_SIDE, CURSOR_SIDE);
	return ret ? ret : run_cursor_image(scene, 0);
}

static void hide_cursor(struct scene *scene)
{
	int i;

	cursor_set(&scene->display, DRM_MODE_CURSOR_BO, 0, 0, 0);
	for (i = 0; i < FRAMES; i++)
		frame_destroy(scene->display.fd, &scene->cursors[i]);
}

/* Opens the card of the device, which a driver has just taken. */
static const char *scene_open(struct scene *scene)
{
	__s64 deadline = now_ns() + GPU_PATIENCE_NS;
	char link[PATH_MAX], *word, *save;
	const char *card, *reason;
	ssize_t len;

	while ((reason = display_open(&scene->display)) && now_ns() < deadline) {
		if (scene->display.fd >= 0)
			close(scene->display.fd);
		sleep_ns(50 * NSEC_PER_MSEC);
	}
	if (reason)
		return reason;
	if (set_client_cap(scene->display.fd, DRM_CLIENT_CAP_ATOMIC))
		return "no atomic commits";
	card = strrchr(scene->display.card, '/') + 1;
	len = readlink(path("/sys/class/drm/%s", card), link, sizeof(link) - 1);
	if (len < 0)
		return "no such device in sysfs";
	link[len] = '\0';
	/* The C driver has its virtio device between the PCI function and the card. */
	for (word = strtok_r(link, "/", &save); word; word = strtok_r(NULL, "/", &save)) {
		if (strlen(word) == strlen("0000:00:02.0") && word[4] == ':' && word[10] == '.')
			snprintf(scene->pci, sizeof(scene->pci), "%.60s", word);
	}
	if (!link_name(path("/sys/bus/pci/devices/%s/driver", scene->pci), scene->driver,
		       sizeof(scene->driver)))
		return "the device has no driver";
	if (strcmp(scene->driver, "rust_gpu"))
		snprintf(scene->driver, sizeof(scene->driver), DRIVER_NAME);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *values, unsigned int count)
{
	qsort(values, count, sizeof(values[0]), compare);
	return values[count / 2];
}

#endif /* _DISPLAY_BENCH_H */
