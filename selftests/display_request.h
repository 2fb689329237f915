/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Atomic commits: requests with properties of several objects.
 */
#ifndef _DISPLAY_REQUEST_H
#define _DISPLAY_REQUEST_H

#include "display_kms.h"

/* A request for an atomic commit: properties, ordered by object. */
struct request {
	__u32 objects[8];
	__u32 counts[8];
	__u32 properties[64];
	__u64 values[64];
	unsigned int object_count;
	unsigned int count;
};

static __maybe_unused void request_id(struct request *request, __u32 object, __u32 property,
				      __u64 value)
{
	unsigned int last = request->object_count - 1;

	if (request->count == ARRAY_SIZE(request->values))
		return;
	if (!request->object_count || request->objects[last] != object) {
		last = request->object_count;
		if (last == ARRAY_SIZE(request->objects))
			return;
		request->objects[last] = object;
		request->counts[last] = 0;
		request->object_count++;
	}
	request->counts[last]++;
	request->properties[request->count] = property;
	request->values[request->count++] = value;
}

/* Adds a property by its name. If there is none the commit fails. */
static __maybe_unused void request_set(struct request *request, const struct display *display,
				       __u32 object, const char *name, __u64 value)
{
	__u32 property = find_property(display->fd, object, name, NULL);

	if (!property)
		fprintf(stderr, "# object %u has no property %s\n", object, name);
	request_id(request, object, property, value);
}

/* Shows a part of a framebuffer on the whole screen, unscaled. */
static __maybe_unused void request_plane(struct request *request, const struct display *display,
					 __u32 fb, const struct drm_mode_modeinfo *mode,
					 __u32 x, __u32 y)
{
	const struct { const char *name; __u64 value; } properties[] = {
		{ "FB_ID", fb },
		{ "CRTC_ID", display->crtc },
		{ "SRC_X", (__u64)x << 16 },
		{ "SRC_Y", (__u64)y << 16 },
		{ "SRC_W", (__u64)mode->hdisplay << 16 },
		{ "SRC_H", (__u64)mode->vdisplay << 16 },
		{ "CRTC_X", 0 },
		{ "CRTC_Y", 0 },
		{ "CRTC_W", mode->hdisplay },
		{ "CRTC_H", mode->vdisplay },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(properties); i++)
		request_set(request, display, display->primary, properties[i].name,
			    properties[i].value);
}

static __maybe_unused int request_commit(const struct display *display,
					 struct request *request, __u32 flags, __u64 user_data)
{
	struct drm_mode_atomic atomic = {
		.flags = flags,
		.count_objs = request->object_count,
		.objs_ptr = user_pointer(request->objects),
		.count_props_ptr = user_pointer(request->counts),
		.props_ptr = user_pointer(request->properties),
		.prop_values_ptr = user_pointer(request->values),
		.user_data = user_data,
	};

	return gpu_ioctl(display->fd, DRM_IOCTL_MODE_ATOMIC, &atomic);
}

/* Makes a property blob. Returns its id, 0 on failure. */
static __maybe_unused __u32 create_blob(int fd, const void *data, size_t size)
{
	struct drm_mode_create_blob create = {
		.data = user_pointer(data),
		.length = size,
	};

	return gpu_ioctl(fd, DRM_IOCTL_MODE_CREATEPROPBLOB, &create) ? 0 : create.blob_id;
}

#endif /* _DISPLAY_REQUEST_H */
