/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Pictures and damage, and the service of the host that sees the screen and compares
 * (tools/frontdoor/screen.py of the driver's own repository).
 *
 * Environment:
 *   RUST_GPU_SCREEN=/dev/...	serial port on which the host answers
 */
#ifndef _DISPLAY_SCREEN_H
#define _DISPLAY_SCREEN_H

#include <poll.h>
#include <termios.h>

#include "rust_gpu_test.h"

/* Longest that the host may take for one answer. */
#define SCREEN_PATIENCE_MS	90000

#define NO_SCREEN	"no host tells what the screen shows (RUST_GPU_SCREEN)"

/* 0x00rrggbb each, row by row. */
struct picture {
	__u32 width;
	__u32 height;
	__u32 *pixels;
};

struct rect {
	__s32 x1, y1, x2, y2;
};

/*
 * Up to four clips. Negative numbers, and zero in x2 and y2, count from the right or
 * the bottom edge.
 */
#define MAX_CLIPS	4

struct damage {
	const char *name;
	unsigned int count;
	struct rect clips[MAX_CLIPS];
};

static __maybe_unused const struct damage damages[] = {
	{ "one-pixel", 1, { { 1, 1, 2, 2 } } },
	{ "odd", 1, { { 33, 17, 70, 91 } } },
	{ "first-corner", 1, { { 0, 0, 1, 1 } } },
	{ "last-corner", 1, { { -1, -1, 0, 0 } } },
	{ "right-edge", 1, { { -3, 100, 0, 201 } } },
	{ "bottom-edge", 1, { { 5, -7, -9, 0 } } },
	{ "row", 1, { { 0, 301, 0, 302 } } },
	{ "column", 1, { { 257, 0, 258, 0 } } },
	{ "overlapping", 2, { { 101, 51, 301, 151 }, { 201, 101, 405, 250 } } },
	{ "one-in-another", 2, { { 40, 40, 80, 80 }, { 51, 51, 61, 67 } } },
	{ "corners", 2, { { 0, 0, 13, 7 }, { -11, -5, 0, 0 } } },
	{ "four", 4, { { 3, 3, 9, 9 }, { -9, 3, -3, 9 }, { 3, -9, 9, -3 }, { 99, 99, 101, 101 } } },
	{ "all", 1, { { 0, 0, 0, 0 } } },
};

static __maybe_unused int picture_create(struct picture *picture, __u32 width, __u32 height)
{
	picture->width = width;
	picture->height = height;
	picture->pixels = calloc((size_t)width * height, sizeof(*picture->pixels));
	return picture->pixels ? 0 : -ENOMEM;
}

/*
 * Draws a test pattern. All its pixels differ from each other, and from the same pixels
 * of a pattern with another seed below 256.
 */
static __maybe_unused void picture_fill(struct picture *picture, __u32 seed)
{
	__u32 *pixel = picture->pixels;
	__u32 x, y;

	for (y = 0; y < picture->height; y++) {
		for (x = 0; x < picture->width; x++) {
			__u32 blue = (((x >> 8) & 15) << 4 | ((y >> 8) & 15)) ^ seed;

			*pixel++ = (x & 255) << 16 | (y & 255) << 8 | blue;
		}
	}
}

static __maybe_unused void picture_copy(struct picture *to, const struct picture *from,
					const struct rect *rect)
{
	__s32 y;

	for (y = rect->y1; y < rect->y2; y++) {
		size_t start = (size_t)y * to->width + rect->x1;

		memcpy(to->pixels + start, from->pixels + start,
		       (rect->x2 - rect->x1) * sizeof(*to->pixels));
	}
}

/* Adds a byte to a CRC-32 of zlib, which starts as ~0 and is inverted at the end. */
static inline __u32 crc_step(__u32 crc, __u8 byte)
{
	static __u32 table[256];
	__u32 i, bit;

	for (i = 0; !table[255] && i < 256; i++) {
		table[i] = i;
		for (bit = 0; bit < 8; bit++)
			table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320 : 0);
	}
	return crc >> 8 ^ table[(crc ^ byte) & 255];
}

/* Returns zlib's CRC-32 of the red, green and blue bytes. */
static __maybe_unused __u32 picture_crc(const struct picture *picture, const struct rect *rect)
{
	__s32 x, y, shift;
	__u32 crc = ~0u;

	for (y = rect->y1; y < rect->y2; y++) {
		for (x = rect->x1; x < rect->x2; x++) {
			__u32 pixel = picture->pixels[(size_t)y * picture->width + x];

			for (shift = 16; shift >= 0; shift -= 8)
				crc = crc_step(crc, pixel >> shift);
		}
	}
	return ~crc;
}

static __maybe_unused struct rect picture_rect(const struct picture *picture)
{
	return (struct rect){ 0, 0, picture->width, picture->height };
}

/* Computes the clips for a picture of this size. */
static __maybe_unused void damage_clips(const struct damage *damage, __u32 width, __u32 height,
					struct rect *clips)
{
	unsigned int i;

	for (i = 0; i < damage->count; i++) {
		clips[i] = damage->clips[i];
		clips[i].x1 += clips[i].x1 < 0 ? width : 0;
		clips[i].y1 += clips[i].y1 < 0 ? height : 0;
		clips[i].x2 += clips[i].x2 <= 0 ? width : 0;
		clips[i].y2 += clips[i].y2 <= 0 ? height : 0;
	}
}

static __maybe_unused struct rect damage_box(const struct rect *clips, unsigned int count)
{
	struct rect box = clips[0];
	unsigned int i;

	for (i = 1; i < count; i++) {
		box.x1 = clips[i].x1 < box.x1 ? clips[i].x1 : box.x1;
		box.y1 = clips[i].y1 < box.y1 ? clips[i].y1 : box.y1;
		box.x2 = clips[i].x2 > box.x2 ? clips[i].x2 : box.x2;
		box.y2 = clips[i].y2 > box.y2 ? clips[i].y2 : box.y2;
	}
	return box;
}

/* Reads a line from the host, without the newline. Returns 0 or -errno. */
static __maybe_unused int screen_read(int screen, char *line, size_t size)
{
	struct pollfd poll_screen = { .fd = screen, .events = POLLIN };
	__s64 deadline = now_ns() + SCREEN_PATIENCE_MS * NSEC_PER_MSEC;
	size_t used = 0;

	while (used < size - 1) {
		__s64 left = (deadline - now_ns()) / NSEC_PER_MSEC;

		if (left <= 0 || poll(&poll_screen, 1, left) <= 0)
			return -ETIMEDOUT;
		if (read(screen, line + used, 1) != 1)
			return -EIO;
		if (line[used] == '\n') {
			line[used] = '\0';
			return 0;
		}
		used++;
	}
	return -EMSGSIZE;
}

/* Asks the host. @answer gets what follows its "done". Returns 0 or -errno. */
static __printf(4, 5) __maybe_unused int screen_ask(int screen, char *answer, size_t size,
						    const char *format, ...)
{
	char line[4096];
	va_list args;
	int ret, len;

	va_start(args, format);
	len = vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	if (len < 0 || len >= sizeof(line) - 1)
		return -EMSGSIZE;
	line[len++] = '\n';
	if (write(screen, line, len) != len)
		return -EIO;
	ret = screen_read(screen, line, sizeof(line));
	if (!ret && strncmp(line, "done ", 5))
		ret = -EPROTO;
	if (ret) {
		fprintf(stderr, "# the host: %s\n", ret == -EPROTO ? line : strerror(-ret));
		return ret;
	}
	snprintf(answer, size, "%s", line + 5);
	return 0;
}

/* Opens the service of the host. Returns a descriptor, or -errno if it does not answer. */
static __maybe_unused int screen_open(void)
{
	const char *port = getenv("RUST_GPU_SCREEN");
	struct termios mode;
	char answer[16];
	int screen;

	if (!port)
		return -ENODEV;
	screen = open(port, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (screen < 0)
		return -errno;
	if (!tcgetattr(screen, &mode)) {
		cfmakeraw(&mode);
		tcsetattr(screen, TCSANOW, &mode);
		tcflush(screen, TCIOFLUSH);
	}
	if (screen_ask(screen, answer, sizeof(answer), "ping")) {
		close(screen);
		return -ENODEV;
	}
	return screen;
}

/* Whether a part of the last dump is the same as in the picture. */
static __maybe_unused bool screen_same(int screen, const char *name,
				       const struct picture *picture, const struct rect *rect)
{
	char answer[128], want[128];

	snprintf(want, sizeof(want), "%s %08x", name, picture_crc(picture, rect));
	return !screen_ask(screen, answer, sizeof(answer), "crc %s %d %d %d %d", name, rect->x1,
			   rect->y1, rect->x2 - rect->x1, rect->y2 - rect->y1) &&
	       !strcmp(want, answer);
}

/*
 * Whether the last dump shows the picture upside down once the host has turned it, and
 * so no more the picture itself: that comparison can fail.
 */
static __maybe_unused bool screen_turns(int screen, const char *name, const struct picture *picture)
{
	struct rect all = picture_rect(picture);
	struct picture turned;
	char answer[128];
	bool right;
	__u32 y;

	if (picture_create(&turned, picture->width, picture->height))
		return false;
	for (y = 0; y < picture->height; y++)
		memcpy(turned.pixels + (size_t)y * picture->width,
		       picture->pixels + (size_t)(picture->height - 1 - y) * picture->width,
		       picture->width * sizeof(*picture->pixels));
	right = !screen_ask(screen, answer, sizeof(answer), "mirror %s", name) &&
		screen_same(screen, name, &turned, &all) &&
		!screen_same(screen, name, picture, &all);
	free(turned.pixels);
	return right;
}

/* Prints the first difference between the last dump and the picture. */
static __maybe_unused void screen_explain(int screen, const char *name,
					  const struct picture *picture)
{
	struct rect rows = picture_rect(picture), part;
	char answer[128];
	__s32 same, differs;

	/* The first @same rows are right, the first @differs rows are not. */
	for (same = 0, differs = rows.y2; differs - same > 1;) {
		__s32 middle = same + (differs - same) / 2;

		part = (struct rect){ 0, same, rows.x2, middle };
		if (screen_same(screen, name, picture, &part))
			same = middle;
		else
			differs = middle;
	}
	rows.y1 = same;
	rows.y2 = differs;
	for (same = 0, differs = rows.x2; differs - same > 1;) {
		__s32 middle = same + (differs - same) / 2;

		part = (struct rect){ same, rows.y1, middle, rows.y2 };
		if (screen_same(screen, name, picture, &part))
			same = middle;
		else
			differs = middle;
	}
	if (!screen_ask(screen, answer, sizeof(answer), "pixel %s %d %d", name, same, rows.y1))
		fprintf(stderr, "# %s: first difference at %d,%d: should be %06x, is %s\n", name,
			same, rows.y1,
			picture->pixels[(size_t)rows.y1 * picture->width + same],
			strrchr(answer, ' ') + 1);
}

/* Dumps the screen: its size and CRC. Returns 0 or -errno. */
static __maybe_unused int screen_dump(int screen, const char *name, __u32 head, __u32 *width,
				      __u32 *height, __u32 *crc)
{
	char answer[128];
	int ret = screen_ask(screen, answer, sizeof(answer), "screendump %s %u", name, head);

	if (ret)
		return ret;
	return sscanf(answer, "%*s %u %u %x", width, height, crc) == 3 ? 0 : -EPROTO;
}

/*
 * Returns which of the pictures the screen shows, or -1. Then it prints how the first
 * one differs.
 */
static __maybe_unused int screen_which(int screen, const char *name, __u32 head,
				       const struct picture *pictures, unsigned int count)
{
	__u32 width, height, crc;
	unsigned int i;

	if (screen_dump(screen, name, head, &width, &height, &crc))
		return -1;
	for (i = 0; i < count; i++) {
		struct rect all = picture_rect(&pictures[i]);

		if (width == pictures[i].width && height == pictures[i].height &&
		    crc == picture_crc(&pictures[i], &all))
			return i;
	}
	if (width != pictures->width || height != pictures->height)
		fprintf(stderr, "# %s: the screen is %ux%u, should be %ux%u\n", name, width, height,
			pictures->width, pictures->height);
	else
		screen_explain(screen, name, pictures);
	return -1;
}

static __maybe_unused bool screen_shows(int screen, const char *name, __u32 head,
					const struct picture *picture)
{
	return !screen_which(screen, name, head, picture, 1);
}

/*
 * Checks that the screen shows @fresh within the clips, or within the box around them,
 * and @shown everywhere else. @shown becomes what the screen shows. Returns how it was
 * updated, or NULL if it is wrong.
 */
static __maybe_unused const char *screen_updated(int screen, __u32 head,
						 const struct damage *damage,
						 struct picture *shown,
						 const struct picture *fresh)
{
	static const char *const names[] = { "each clip", "the box around the clips" };
	struct rect clips[MAX_CLIPS], box, all = picture_rect(shown);
	struct picture wanted[2];
	unsigned int i;
	int which;

	damage_clips(damage, shown->width, shown->height, clips);
	box = damage_box(clips, damage->count);
	for (i = 0; i < 2; i++) {
		if (picture_create(&wanted[i], shown->width, shown->height))
			return NULL;
		picture_copy(&wanted[i], shown, &all);
	}
	for (i = 0; i < damage->count; i++)
		picture_copy(&wanted[0], fresh, &clips[i]);
	picture_copy(&wanted[1], fresh, &box);
	which = screen_which(screen, damage->name, head, wanted, 2);
	if (which >= 0)
		picture_copy(shown, &wanted[which], &all);
	for (i = 0; i < 2; i++)
		free(wanted[i].pixels);
	return which < 0 ? NULL : damage->count == 1 ? "the clip" : names[which];
}

/* Asks the host to trace the commands. Returns 0, or -errno if it cannot. */
static __maybe_unused int screen_watch(int screen)
{
	char answer[16];

	return screen_ask(screen, answer, sizeof(answer), "watch");
}

/*
 * Whether each of the parts was in one of the flushes since the last call. A host with
 * a viewer updates only what is flushed.
 */
static __maybe_unused bool screen_flushed(int screen, const struct rect *parts,
					  unsigned int count)
{
	char answer[4096], *word, *save;
	unsigned int i, found = 0;
	bool done[MAX_CLIPS] = {};
	int x, y, width, height;

	if (screen_ask(screen, answer, sizeof(answer), "flushed"))
		return false;
	for (word = strtok_r(answer, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		if (sscanf(word, "%d,%d,%d,%d", &x, &y, &width, &height) != 4)
			continue;
		for (i = 0; i < count; i++) {
			if (done[i] || parts[i].x1 < x || parts[i].y1 < y ||
			    parts[i].x2 > x + width || parts[i].y2 > y + height)
				continue;
			done[i] = true;
			found++;
		}
	}
	return found == count;
}

/* Asks until the host gives this answer. */
static __maybe_unused bool screen_answers(int screen, const char *question, const char *want)
{
	__s64 deadline = now_ns() + GPU_PATIENCE_NS;
	char answer[64] = "";

	do {
		if (!screen_ask(screen, answer, sizeof(answer), "%s", question) &&
		    !strcmp(answer, want))
			return true;
		sleep_ns(20 * NSEC_PER_MSEC);
	} while (now_ns() < deadline);
	fprintf(stderr, "# should be: %s, is: %s\n", want, answer);
	return false;
}

/* Waits until the last command of the cursor queue is this one. */
static __maybe_unused bool screen_cursor(int screen, const char *kind, __s32 x, __s32 y)
{
	char want[64];

	snprintf(want, sizeof(want), "cursor %s %d %d", kind, x, y);
	return screen_answers(screen, "cursor", want);
}

#endif /* _DISPLAY_SCREEN_H */
