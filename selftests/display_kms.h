/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Mode setting with the ioctls themselves: finding a connector with its CRTC and
 * planes, framebuffers in dumb buffers, events, and atomic requests.
 */
#ifndef _DISPLAY_KMS_H
#define _DISPLAY_KMS_H

#include <poll.h>
#include <sys/mman.h>

#include <drm/drm.h>
#include <drm/drm_fourcc.h>
#include <drm/drm_mode.h>

#include "display_screen.h"
#include "rust_gpu_test.h"

/* The name of the DRM driver; the C driver has the same. */
#define DRIVER_NAME	"virtio_gpu"
#define CARDS		16
/* Of the cursors of the tests. */
#define CURSOR_SIDE	64
#define CURSOR_HOT_X	3
#define CURSOR_HOT_Y	5
#define MAX_OBJECTS	32
#define MAX_MODES	128

/* What the unused byte of a pixel has; nobody may see it. */
#define UNUSED_BYTE	0xa5000000

struct display {
	int fd;
	char card[64];
	__u32 connector;
	__u32 head;		/* number of the connector, and of the host's screen */
	__u32 crtc;
	__u32 primary;
	__u32 cursor;		/* 0 if there is none */
	struct drm_mode_modeinfo mode;		/* the preferred one */
	struct drm_mode_modeinfo modes[MAX_MODES];
	unsigned int mode_count;
};

/* A framebuffer, and the dumb buffer that it is in. */
struct frame {
	__u32 width, height, pitch, offset;
	__u32 buffer_width, buffer_height, buffer_pitch;
	__u32 handle;
	__u32 fb;
	__u64 size;
	__u8 *map;
};

static inline __u64 user_pointer(const void *pointer)
{
	return (unsigned long)pointer;
}

static __maybe_unused bool card_is_ours(int fd)
{
	char name[32] = "";
	struct drm_version version = {
		.name = name,
		.name_len = sizeof(name) - 1,
	};

	return !gpu_ioctl(fd, DRM_IOCTL_VERSION, &version) && !strcmp(name, DRIVER_NAME);
}

/* Opens the card of the virtio GPU, whichever driver has it; -ENODEV if there is none. */
static __maybe_unused int card_open(char *card, size_t size)
{
	unsigned int i;

	for (i = 0; i < CARDS; i++) {
		int fd;

		snprintf(card, size, "/dev/dri/card%u", i);
		fd = open(card, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (card_is_ours(fd))
			return fd;
		close(fd);
	}
	return -ENODEV;
}

static __maybe_unused int set_client_cap(int fd, __u64 capability)
{
	struct drm_set_client_cap cap = {
		.capability = capability,
		.value = 1,
	};

	return gpu_ioctl(fd, DRM_IOCTL_SET_CLIENT_CAP, &cap);
}

/* The id of an object's property, and its value; 0 if it has none of that name. */
static __maybe_unused __u32 find_property(int fd, __u32 object, const char *name, __u64 *value)
{
	__u32 ids[64];
	__u64 values[64];
	struct drm_mode_obj_get_properties get = {
		.props_ptr = user_pointer(ids),
		.prop_values_ptr = user_pointer(values),
		.count_props = ARRAY_SIZE(ids),
		.obj_id = object,
		.obj_type = DRM_MODE_OBJECT_ANY,
	};
	unsigned int i;

	if (gpu_ioctl(fd, DRM_IOCTL_MODE_OBJ_GETPROPERTIES, &get))
		return 0;
	for (i = 0; i < get.count_props && i < ARRAY_SIZE(ids); i++) {
		struct drm_mode_get_property property = { .prop_id = ids[i] };

		if (gpu_ioctl(fd, DRM_IOCTL_MODE_GETPROPERTY, &property) ||
		    strcmp(property.name, name))
			continue;
		if (value)
			*value = values[i];
		return ids[i];
	}
	return 0;
}

/* Reads the modes of a connector; false if there is nothing at it. */
static __maybe_unused bool read_connector(struct display *display, __u32 connector,
					  __u32 *encoder)
{
	struct drm_mode_get_connector get = { .connector_id = connector };
	unsigned int i;

	/* The first call probes, without room for what it finds. */
	if (gpu_ioctl(display->fd, DRM_IOCTL_MODE_GETCONNECTOR, &get) ||
	    get.connection != 1 || !get.count_modes || !get.count_encoders)
		return false;
	get = (struct drm_mode_get_connector){
		.connector_id = connector,
		.modes_ptr = user_pointer(display->modes),
		.count_modes = MAX_MODES,
		.encoders_ptr = user_pointer(encoder),
		.count_encoders = 1,
	};
	if (gpu_ioctl(display->fd, DRM_IOCTL_MODE_GETCONNECTOR, &get) ||
	    get.count_modes > MAX_MODES || !get.count_modes || get.count_encoders != 1)
		return false;
	display->connector = connector;
	display->mode_count = get.count_modes;
	display->mode = display->modes[0];
	for (i = 0; i < get.count_modes; i++) {
		if (display->modes[i].type & DRM_MODE_TYPE_PREFERRED) {
			display->mode = display->modes[i];
			break;
		}
	}
	return true;
}

static __maybe_unused void find_planes(struct display *display, unsigned int crtc)
{
	__u32 planes[MAX_OBJECTS];
	struct drm_mode_get_plane_res resources = {
		.plane_id_ptr = user_pointer(planes),
		.count_planes = ARRAY_SIZE(planes),
	};
	unsigned int i;

	if (gpu_ioctl(display->fd, DRM_IOCTL_MODE_GETPLANERESOURCES, &resources))
		return;
	for (i = 0; i < resources.count_planes && i < ARRAY_SIZE(planes); i++) {
		struct drm_mode_get_plane plane = { .plane_id = planes[i] };
		__u64 type = -1;

		if (gpu_ioctl(display->fd, DRM_IOCTL_MODE_GETPLANE, &plane) ||
		    !(plane.possible_crtcs & 1 << crtc))
			continue;
		find_property(display->fd, planes[i], "type", &type);
		/* The numbers are those of enum drm_plane_type. */
		if (type == 1 && !display->primary)
			display->primary = planes[i];
		if (type == 2 && !display->cursor)
			display->cursor = planes[i];
	}
}

/* The connector with a mode that is the first one from the one with number @first on. */
static __maybe_unused const char *find_pipe(struct display *display, unsigned int first)
{
	__u32 crtcs[MAX_OBJECTS], connectors[MAX_OBJECTS], encoder_id;
	struct drm_mode_get_encoder encoder = {};
	struct drm_mode_card_res resources = {
		.crtc_id_ptr = user_pointer(crtcs),
		.count_crtcs = ARRAY_SIZE(crtcs),
		.connector_id_ptr = user_pointer(connectors),
		.count_connectors = ARRAY_SIZE(connectors),
	};
	unsigned int i;

	if (gpu_ioctl(display->fd, DRM_IOCTL_MODE_GETRESOURCES, &resources))
		return "the driver has no display";
	for (i = first; i < resources.count_connectors && i < ARRAY_SIZE(connectors); i++) {
		if (read_connector(display, connectors[i], &encoder_id))
			break;
	}
	if (!display->connector)
		return "no connector with a mode";
	display->head = i;
	encoder.encoder_id = encoder_id;
	if (gpu_ioctl(display->fd, DRM_IOCTL_MODE_GETENCODER, &encoder))
		return "no encoder";
	for (i = 0; i < resources.count_crtcs && i < ARRAY_SIZE(crtcs); i++) {
		if (encoder.possible_crtcs & 1 << i)
			break;
	}
	if (i == resources.count_crtcs || i == ARRAY_SIZE(crtcs))
		return "no CRTC";
	display->crtc = crtcs[i];
	find_planes(display, i);
	return display->primary ? NULL : "no primary plane";
}

/* Opens the device as its master. Returns why there is nothing to test, or NULL. */
static __maybe_unused const char *display_open(struct display *display)
{
	const char *const modprobe[] = { "modprobe", "-q", "rust_gpu", NULL };

	memset(display, 0, sizeof(*display));
	display->fd = card_open(display->card, sizeof(display->card));
	if (display->fd < 0 && !run_program(modprobe))
		display->fd = card_open(display->card, sizeof(display->card));
	if (display->fd < 0)
		return "no card of the driver " DRIVER_NAME;
	if (set_client_cap(display->fd, DRM_CLIENT_CAP_UNIVERSAL_PLANES))
		return "the driver has no display";
	if (gpu_ioctl(display->fd, DRM_IOCTL_SET_MASTER, NULL))
		return "somebody else is the master";
	return find_pipe(display, 0);
}

/*
 * Opens the device, and the service of the host that tells what it shows. Returns why
 * there is nothing to test, or NULL.
 */
static __maybe_unused const char *display_screen_open(struct display *display, int *screen)
{
	const char *reason;

	if (geteuid())
		return "not root";
	reason = display_open(display);
	if (reason)
		return reason;
	*screen = screen_open();
	return *screen < 0 ? NO_SCREEN : NULL;
}

/* A dumb buffer, mapped. Returns 0 or -errno. */
static __maybe_unused int buffer_create(int fd, struct frame *frame, __u32 width, __u32 height)
{
	struct drm_mode_create_dumb create = {
		.width = width,
		.height = height,
		.bpp = 32,
	};
	struct drm_mode_map_dumb map = {};
	int ret = gpu_ioctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, &create);

	memset(frame, 0, sizeof(*frame));
	if (ret)
		return ret;
	frame->buffer_width = width;
	frame->buffer_height = height;
	frame->buffer_pitch = create.pitch;
	frame->handle = create.handle;
	frame->size = create.size;
	map.handle = create.handle;
	ret = gpu_ioctl(fd, DRM_IOCTL_MODE_MAP_DUMB, &map);
	if (ret)
		return ret;
	frame->map = mmap(NULL, frame->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, map.offset);
	if (frame->map == MAP_FAILED) {
		frame->map = NULL;
		return -errno;
	}
	/* Nobody may see what is outside of the framebuffer. */
	memset(frame->map, 0xee, frame->size);
	return 0;
}

/* A framebuffer in the buffer. Returns 0 or -errno. */
static __maybe_unused int frame_add(int fd, struct frame *frame, __u32 width, __u32 height,
				    __u32 pitch, __u32 offset)
{
	struct drm_mode_fb_cmd2 add = {
		.width = width,
		.height = height,
		.pixel_format = DRM_FORMAT_XRGB8888,
		.handles = { frame->handle },
		.pitches = { pitch },
		.offsets = { offset },
	};
	int ret = gpu_ioctl(fd, DRM_IOCTL_MODE_ADDFB2, &add);

	if (ret)
		return ret;
	frame->width = width;
	frame->height = height;
	frame->pitch = pitch;
	frame->offset = offset;
	frame->fb = add.fb_id;
	return 0;
}

/* A framebuffer in a buffer of its own size. Returns 0 or -errno. */
static __maybe_unused int frame_create(int fd, struct frame *frame, __u32 width, __u32 height)
{
	int ret = buffer_create(fd, frame, width, height);

	return ret ? ret : frame_add(fd, frame, width, height, frame->buffer_pitch, 0);
}

/* Puts a picture into a framebuffer of its size. */
static __maybe_unused void frame_draw(const struct frame *frame, const struct picture *picture)
{
	__u32 x, y;

	for (y = 0; y < picture->height; y++) {
		const __u32 *from = picture->pixels + (size_t)y * picture->width;
		__u8 *to = frame->map + frame->offset + (size_t)y * frame->pitch;

		for (x = 0; x < picture->width; x++) {
			__u32 pixel = from[x] | UNUSED_BYTE;

			memcpy(to + 4 * x, &pixel, sizeof(pixel));
		}
	}
}

/* Puts a test pattern into a framebuffer. Returns 0 or -errno. */
static __maybe_unused int frame_paint(const struct frame *frame, struct picture *picture,
				      __u32 seed)
{
	int ret = picture_create(picture, frame->width, frame->height);

	if (ret)
		return ret;
	picture_fill(picture, seed);
	frame_draw(frame, picture);
	return 0;
}

/*
 * A framebuffer that has the size of the screen, with a test pattern in it. Returns 0
 * or -errno.
 */
static __maybe_unused int frame_of_screen(const struct display *display, struct frame *frame,
					  struct picture *picture, __u32 seed)
{
	int ret = frame_create(display->fd, frame, display->mode.hdisplay,
			       display->mode.vdisplay);

	return ret ? ret : frame_paint(frame, picture, seed);
}

static __maybe_unused void frame_destroy(int fd, struct frame *frame)
{
	struct drm_mode_destroy_dumb destroy = { .handle = frame->handle };

	if (frame->fb)
		gpu_ioctl(fd, DRM_IOCTL_MODE_RMFB, &frame->fb);
	if (frame->map)
		munmap(frame->map, frame->size);
	if (frame->handle)
		gpu_ioctl(fd, DRM_IOCTL_MODE_DESTROY_DUMB, &destroy);
	memset(frame, 0, sizeof(*frame));
}

/* SETCRTC; without a mode it switches the CRTC off. Returns 0 or -errno. */
static __maybe_unused int set_crtc(const struct display *display, __u32 fb,
				   const struct drm_mode_modeinfo *mode, __u32 x, __u32 y)
{
	struct drm_mode_crtc set = {
		.crtc_id = display->crtc,
		.fb_id = fb,
		.x = x,
		.y = y,
	};

	if (mode) {
		set.set_connectors_ptr = user_pointer(&display->connector);
		set.count_connectors = 1;
		set.mode = *mode;
		set.mode_valid = 1;
	}
	return gpu_ioctl(display->fd, DRM_IOCTL_MODE_SETCRTC, &set);
}

static __maybe_unused int crtc_off(const struct display *display)
{
	return set_crtc(display, 0, NULL, 0, 0);
}

/* The next event, within some time. Returns 0 or -errno. */
static __maybe_unused int read_event(int fd, struct drm_event_vblank *event, int milliseconds)
{
	struct pollfd poll_card = { .fd = fd, .events = POLLIN };

	if (poll(&poll_card, 1, milliseconds) != 1)
		return -ETIMEDOUT;
	return read(fd, event, sizeof(*event)) == sizeof(*event) ? 0 : -EIO;
}

/*
 * Tells the cursor of a display what @flags say, with the ioctls of old: its image, or
 * none, and its place. Returns 0 or -errno.
 */
static __maybe_unused int cursor_set(const struct display *display, __u32 flags, __u32 handle,
				     __s32 x, __s32 y)
{
	struct drm_mode_cursor2 cmd = {
		.flags = flags,
		.crtc_id = display->crtc,
		.x = x,
		.y = y,
		.width = handle ? CURSOR_SIDE : 0,
		.height = handle ? CURSOR_SIDE : 0,
		.handle = handle,
		.hot_x = handle ? CURSOR_HOT_X : 0,
		.hot_y = handle ? CURSOR_HOT_Y : 0,
	};

	return gpu_ioctl(display->fd, DRM_IOCTL_MODE_CURSOR2, &cmd);
}

/* Opens the card of vgem, which is memory without a device; -ENODEV if there is none. */
static __maybe_unused int vgem_open(void)
{
	const char *const modprobe[] = { "modprobe", "-q", "vgem", NULL };
	char name[32], card[64];
	unsigned int i;
	int fd;

	run_program(modprobe);
	for (i = 0; i < CARDS; i++) {
		struct drm_version version = { .name = name, .name_len = sizeof(name) - 1 };

		memset(name, 0, sizeof(name));
		snprintf(card, sizeof(card), "/dev/dri/card%u", i);
		fd = open(card, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!gpu_ioctl(fd, DRM_IOCTL_VERSION, &version) && !strcmp(name, "vgem"))
			return fd;
		close(fd);
	}
	return -ENODEV;
}

/* A request for an atomic commit: properties of objects, in order of the objects. */
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

/* Sets a property by its name; one that is not there makes the commit fail. */
static __maybe_unused void request_set(struct request *request, const struct display *display,
				       __u32 object, const char *name, __u64 value)
{
	__u32 property = find_property(display->fd, object, name, NULL);

	if (!property)
		fprintf(stderr, "# object %u has no property %s\n", object, name);
	request_id(request, object, property, value);
}

/* The primary plane shows a part of a framebuffer on the whole screen, unscaled. */
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

#endif /* _DISPLAY_KMS_H */
