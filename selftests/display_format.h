/* SPDX-License-Identifier: GPL-2.0 */
/* Framebuffers in the pixel formats that a screen can show. */
#ifndef _DISPLAY_FORMAT_H
#define _DISPLAY_FORMAT_H

#include "display_kms.h"

#define MAX_FORMATS	16

/* What the primary plane has, in its order. */
static const __u32 screen_formats[] __maybe_unused = {
	DRM_FORMAT_XRGB8888, DRM_FORMAT_ARGB8888, DRM_FORMAT_XBGR8888, DRM_FORMAT_ABGR8888,
};

/* The name of a format, for the log. */
static __maybe_unused const char *format_name(__u32 format)
{
	static char name[sizeof(format) + 1];

	memcpy(name, &format, sizeof(format));
	return name;
}

/* Makes a framebuffer of all of a dumb buffer. Returns 0 or -errno. */
static __maybe_unused int frame_add_format(int fd, struct frame *frame, __u32 format)
{
	struct drm_mode_fb_cmd2 add = {
		.width = frame->buffer_width,
		.height = frame->buffer_height,
		.pixel_format = format,
		.handles = { frame->handle },
		.pitches = { frame->buffer_pitch },
	};
	int ret = gpu_ioctl(fd, DRM_IOCTL_MODE_ADDFB2, &add);

	if (ret)
		return ret;
	frame->width = add.width;
	frame->height = add.height;
	frame->pitch = frame->buffer_pitch;
	frame->fb = add.fb_id;
	return 0;
}

/* The same in a new buffer. */
static __maybe_unused int frame_create_format(int fd, struct frame *frame, __u32 width,
					      __u32 height, __u32 format)
{
	int ret = buffer_create(fd, frame, width, height);

	return ret ? ret : frame_add_format(fd, frame, format);
}

/* Returns a pixel of a picture as it is in the format. */
static __maybe_unused __u32 format_pixel(__u32 pixel, __u32 format, __u8 alpha)
{
	if (format == DRM_FORMAT_XBGR8888 || format == DRM_FORMAT_ABGR8888)
		pixel = (pixel & 0xff) << 16 | (pixel & 0xff00) | (pixel >> 16 & 0xff);
	return (__u32)alpha << 24 | pixel;
}

/* Draws a picture of the same size, with this in all bytes that are not colours. */
static __maybe_unused void frame_draw_format(const struct frame *frame,
					     const struct picture *picture, __u32 format,
					     __u8 alpha)
{
	__u32 x, y;

	for (y = 0; y < picture->height; y++) {
		const __u32 *from = picture->pixels + (size_t)y * picture->width;
		__u8 *to = frame->map + (size_t)y * frame->pitch;

		for (x = 0; x < picture->width; x++) {
			__u32 pixel = format_pixel(from[x], format, alpha);

			memcpy(to + 4 * x, &pixel, sizeof(pixel));
		}
	}
}

/* Reads the formats of a plane. Returns how many there are, or -errno. */
static __maybe_unused int plane_formats(int fd, __u32 plane, __u32 *formats)
{
	struct drm_mode_get_plane get = {
		.plane_id = plane,
		.count_format_types = MAX_FORMATS,
		.format_type_ptr = user_pointer(formats),
	};
	int ret = gpu_ioctl(fd, DRM_IOCTL_MODE_GETPLANE, &get);

	return ret ? ret : get.count_format_types;
}

/* Whether a plane has these formats, in this order, and no other. */
static __maybe_unused bool plane_has(int fd, __u32 plane, const __u32 *wanted, int count)
{
	__u32 formats[MAX_FORMATS];
	int found = plane_formats(fd, plane, formats), i;

	for (i = 0; i < found && i < MAX_FORMATS; i++)
		fprintf(stderr, "# plane %u: %s\n", plane, format_name(formats[i]));
	return found == count && !memcmp(formats, wanted, count * sizeof(*formats));
}

#endif /* _DISPLAY_FORMAT_H */
