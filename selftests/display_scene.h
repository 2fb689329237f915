/* SPDX-License-Identifier: GPL-2.0 */
/* A screen with one framebuffer, for tests of the display. */
#ifndef _DISPLAY_SCENE_H
#define _DISPLAY_SCENE_H

#include "display_kms.h"

struct scene {
	struct display display;
	struct frame frame;	/* of the screen's size */
	struct picture picture;	/* for the frame */
	int screen;
};

/*
 * Opens the display and the service of the host, and makes a framebuffer;
 * scene->frame.fb is 0 if that fails. Returns why there is nothing to test, or NULL.
 */
static __maybe_unused const char *scene_open(struct scene *scene)
{
	const struct drm_mode_modeinfo *mode = &scene->display.mode;
	const char *reason = display_screen_open(&scene->display, &scene->screen);

	if (!reason && !picture_create(&scene->picture, mode->hdisplay, mode->vdisplay))
		frame_create(scene->display.fd, &scene->frame, mode->hdisplay, mode->vdisplay);
	return reason;
}

static __maybe_unused void scene_close(struct scene *scene)
{
	frame_destroy(scene->display.fd, &scene->frame);
	free(scene->picture.pixels);
	close(scene->screen);
	close(scene->display.fd);
}

/* Draws a test pattern into the frame. */
static __maybe_unused void scene_paint(struct scene *scene, __u32 seed)
{
	picture_fill(&scene->picture, seed);
	frame_draw(&scene->frame, &scene->picture);
}

/* Draws a test pattern into the frame, and shows it with SETCRTC. Returns 0 or -errno. */
static __maybe_unused int scene_show(struct scene *scene, __u32 seed)
{
	scene_paint(scene, seed);
	return set_crtc(&scene->display, scene->frame.fb, &scene->display.mode, 0, 0);
}

/* Whether the screen shows the picture. */
static __maybe_unused bool scene_shows(const struct scene *scene, const char *name)
{
	return screen_shows(scene->screen, name, scene->display.head, &scene->picture);
}

#endif /* _DISPLAY_SCENE_H */
