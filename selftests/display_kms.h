/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Mode setting with the ioctls themselves: finding a connector with its CRTC and
 * planes, framebuffers in dumb buffers, flips, events and cursors.
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

/* The C driver has the same name. */
#define DRIVER_NAME	"virtio_gpu"
#define CARDS		16
/* Of the cursors in the tests. */
#define CURSOR_SIDE	64
#define CURSOR_HOT_X	3
#define CURSOR_HOT_Y	5
#define MAX_OBJECTS	32
#define MAX_MODES	128

/* Of the byte of a pixel that is not shown. */
#define UNUSED_BYTE	0xa5000000
/* Longest that an event may take, on a busy host as well. */
#define EVENT_PATIENCE_MS	(GPU_PATIENCE_NS / NSEC_PER_MSEC)
/* The driver sends the event of a flip after so many vblanks, whatever the device does. */
#define FLIP_TIMEOUT_VBLANKS	60

struct display {
	int fd;
	char card[64];
	__u32 connector;
	__u32 connector_number;	/* in its name */
	__u32 head;		/* number of the connector and of the host's screen */
	__u32 crtc;
	__u32 primary;
	__u32 cursor;		/* 0 if there is none */
	struct drm_mode_modeinfo mode;		/* the preferred one */
	struct drm_mode_modeinfo modes[MAX_MODES];
	unsigned int mode_count;
};

/* A framebuffer and its dumb buffer. */
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

/* Opens the card of a DRM driver; -ENODEV if there is none. */
static __maybe_unused int card_open(const char *driver, char *card, size_t size)
{
	struct gpu_version version;
	unsigned int i;

	for (i = 0; i < CARDS; i++) {
		int fd;

		snprintf(card, size, "/dev/dri/card%u", i);
		fd = open(card, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!gpu_version(fd, &version) && !strcmp(version.name, driver))
			return fd;
		close(fd);
	}
	return -ENODEV;
}

/* Opens the card of vgem, which is memory without a device; -ENODEV if there is none. */
static __maybe_unused int vgem_open(void)
{
	const char *const modprobe[] = { "modprobe", "-q", "vgem", NULL };
	char card[64];

	run_program(modprobe);
	return card_open("vgem", card, sizeof(card));
}

static __maybe_unused int set_client_cap(int fd, __u64 capability)
{
	struct drm_set_client_cap cap = {
		.capability = capability,
		.value = 1,
	};

	return gpu_ioctl(fd, DRM_IOCTL_SET_CLIENT_CAP, &cap);
}

/* Finds a property of an object, and its value. Returns its id, 0 if there is none. */
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

/* Reads the modes of a connector. Returns false if nothing is connected. */
static __maybe_unused bool read_connector(struct display *display, __u32 connector,
					  __u32 *encoder)
{
	struct drm_mode_get_connector get = { .connector_id = connector };
	unsigned int i;

	/* The first call probes, and only counts. */
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
	display->connector_number = get.connector_type_id;
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
		/* Numbers of enum drm_plane_type. */
		if (type == 1 && !display->primary)
			display->primary = planes[i];
		if (type == 2 && !display->cursor)
			display->cursor = planes[i];
	}
}

/*
 * Finds the first connector that has a mode, from number @first on, and its pipe.
 * Returns why there is none, or NULL.
 */
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
	display->fd = card_open(DRIVER_NAME, display->card, sizeof(display->card));
	if (display->fd < 0 && !run_program(modprobe))
		display->fd = card_open(DRIVER_NAME, display->card, sizeof(display->card));
	if (display->fd < 0)
		return "no card of the driver " DRIVER_NAME;
	if (set_client_cap(display->fd, DRM_CLIENT_CAP_UNIVERSAL_PLANES))
		return "the driver has no display";
	if (gpu_ioctl(display->fd, DRM_IOCTL_SET_MASTER, NULL))
		return "somebody else is the master";
	return find_pipe(display, 0);
}

/*
 * Opens the device, and the service of the host that sees the screen. Returns why there
 * is nothing to test, or NULL.
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

/* Makes a dumb buffer and maps it. Returns 0 or -errno. */
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
	/* What is outside the framebuffer must not be visible. */
	memset(frame->map, 0xee, frame->size);
	return 0;
}

/* Makes a framebuffer in the buffer. Returns 0 or -errno. */
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

/* Makes a framebuffer in a buffer of the same size. Returns 0 or -errno. */
static __maybe_unused int frame_create(int fd, struct frame *frame, __u32 width, __u32 height)
{
	int ret = buffer_create(fd, frame, width, height);

	return ret ? ret : frame_add(fd, frame, width, height, frame->buffer_pitch, 0);
}

/* Draws a picture into a framebuffer of the same size. */
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

/* Draws a test pattern into a framebuffer. Returns 0 or -errno. */
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

/* Makes a framebuffer of the screen's size with a test pattern. Returns 0 or -errno. */
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

/* Reads the next event. Returns 0, -ETIMEDOUT or -errno. */
static __maybe_unused int read_event(int fd, struct drm_event_vblank *event, int milliseconds)
{
	struct pollfd poll_card = { .fd = fd, .events = POLLIN };

	if (poll(&poll_card, 1, milliseconds) != 1)
		return -ETIMEDOUT;
	return read(fd, event, sizeof(*event)) == sizeof(*event) ? 0 : -EIO;
}

static __maybe_unused int wait_event(int fd, struct drm_event_vblank *event)
{
	return read_event(fd, event, EVENT_PATIENCE_MS);
}

static __maybe_unused int page_flip(const struct display *display, __u32 fb, __u32 flags,
				    __u64 user_data)
{
	struct drm_mode_crtc_page_flip flip = {
		.crtc_id = display->crtc,
		.fb_id = fb,
		.flags = flags,
		.user_data = user_data,
	};

	return gpu_ioctl(display->fd, DRM_IOCTL_MODE_PAGE_FLIP, &flip);
}

/* Flips and waits for the event. Returns 0 or -errno. */
static __maybe_unused int flip_and_wait(const struct display *display, __u32 fb, __u32 flags,
					struct drm_event_vblank *event)
{
	int ret = page_flip(display, fb, flags | DRM_MODE_PAGE_FLIP_EVENT, 0);

	return ret ? ret : wait_event(display->fd, event);
}

/* Tells the driver what changed in a framebuffer; without rects, all. Returns 0 or -errno. */
static __maybe_unused int dirty_fb(int fd, __u32 fb, const struct rect *rects,
				   unsigned int count)
{
	struct drm_clip_rect clips[MAX_CLIPS];
	struct drm_mode_fb_dirty_cmd cmd = {
		.fb_id = fb,
		.num_clips = count,
		.clips_ptr = count ? user_pointer(clips) : 0,
	};
	unsigned int i;

	for (i = 0; i < count; i++)
		clips[i] = (struct drm_clip_rect){ rects[i].x1, rects[i].y1, rects[i].x2,
						   rects[i].y2 };
	return gpu_ioctl(fd, DRM_IOCTL_MODE_DIRTYFB, &cmd);
}

/* Reads the number of the last vblank, as in events. Returns 0 or -errno. */
static __maybe_unused int crtc_sequence(const struct display *display, __u32 *sequence)
{
	struct drm_crtc_get_sequence get = { .crtc_id = display->crtc };
	int ret = gpu_ioctl(display->fd, DRM_IOCTL_CRTC_GET_SEQUENCE, &get);

	*sequence = get.sequence;
	return ret;
}

/* Changes the rate of a mode: a frame takes so many milliseconds. */
static __maybe_unused void mode_pace(struct drm_mode_modeinfo *mode, unsigned int milliseconds)
{
	mode->clock = mode->htotal * mode->vtotal / milliseconds;
}

/*
 * Sets the image of the cursor or hides it, or moves it, as @flags say, with the legacy
 * ioctl. Returns 0 or -errno.
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

/* Switches a screen on or off, with the legacy property. Returns 0 or -errno. */
static __maybe_unused int set_dpms(const struct display *display, __u64 value)
{
	struct drm_mode_connector_set_property set = {
		.connector_id = display->connector,
		.prop_id = find_property(display->fd, display->connector, "DPMS", NULL),
		.value = value,
	};

	return gpu_ioctl(display->fd, DRM_IOCTL_MODE_SETPROPERTY, &set);
}

/* Opens the window of the second screen on the host, and waits for its connector. */
static __maybe_unused const char *connect_second(int screen, struct display *second)
{
	__s64 deadline = now_ns() + GPU_PATIENCE_NS;
	char answer[64];

	if (screen_ask(screen, answer, sizeof(answer), "resize 800 600 1"))
		return "the machine has one screen";
	while (find_pipe(second, 1)) {
		if (now_ns() > deadline)
			return "the second screen does not appear";
		sleep_ns(100 * NSEC_PER_MSEC);
	}
	return NULL;
}

/* Leases a head. *@lessee gets its number. Returns the lessee's descriptor, or -errno. */
static __maybe_unused int lease_create(const struct display *display, __u32 *lessee)
{
	const __u32 objects[] = { display->connector, display->crtc, display->primary };
	struct drm_mode_create_lease create = {
		.object_ids = user_pointer(objects),
		.object_count = ARRAY_SIZE(objects),
		.flags = O_CLOEXEC,
	};
	int ret = gpu_ioctl(display->fd, DRM_IOCTL_MODE_CREATE_LEASE, &create);

	if (ret)
		return ret;
	*lessee = create.lessee_id;
	ret = set_client_cap(create.fd, DRM_CLIENT_CAP_UNIVERSAL_PLANES);
	return ret ? ret : create.fd;
}

#endif /* _DISPLAY_KMS_H */
