/* SPDX-License-Identifier: GPL-2.0 */
/* How much kernel memory a device and its buffers take. */
#ifndef _DISPLAY_FOOTPRINT_H
#define _DISPLAY_FOOTPRINT_H

#include "display_bench.h"
#include "kernel_memory.h"

#define BUFFERS		1024
#define BUFFER_SIDE	64
#define BINDS		15

/* As kernel_memory(), but leaves time for what is freed with a delay. */
static void read_settled(__s64 *kernel, __s64 *free_pages)
{
	sleep_ns(200 * NSEC_PER_MSEC);
	kernel_memory(kernel, free_pages);
}

/* Measures a bound device that nobody uses. */
static const char *measure_device(struct bench *bench)
{
	__s64 bound_kernel, bound_pages, idle_kernel, idle_pages;
	double kernel[BINDS], pages[BINDS];
	char driver[PATH_MAX];
	const char *reason = NULL;
	int i;

	if (!link_name(path("/sys/bus/pci/devices/%s/driver", bench->pci), driver,
		       sizeof(driver)))
		return "the device has no driver";
	for (i = 0; i < BINDS && !reason; i++) {
		close(bench->display.fd);
		bench->display.fd = -1;
		read_settled(&bound_kernel, &bound_pages);
		if (write_file(path("/sys/bus/pci/drivers/%s/unbind", driver), bench->pci))
			return "it cannot be unbound";
		read_settled(&idle_kernel, &idle_pages);
		kernel[i] = bound_kernel - idle_kernel;
		pages[i] = idle_pages - bound_pages;
		if (write_file(path("/sys/bus/pci/drivers/%s/bind", driver), bench->pci))
			return "it cannot be bound";
		reason = bench_open(bench);
	}
	if (reason)
		return reason;
	tell(&bench->report, "idle device: slab, stacks, vmalloc", "kB", median(kernel, BINDS));
	tell(&bench->report, "idle device: all pages", "kB", median(pages, BINDS));
	return NULL;
}

/* Prints how much kernel memory each buffer takes in its present state. */
static void tell_buffers(struct bench *bench, const char *what, __s64 before)
{
	__s64 kernel, pages;

	read_settled(&kernel, &pages);
	tell(&bench->report, what, "bytes", (kernel - before) * 1024.0 / BUFFERS);
}

/* Measures a buffer: alone, with a framebuffer, and after it was shown. */
static const char *measure_buffers(struct bench *bench)
{
	static struct frame frames[BUFFERS];
	struct drm_mode_modeinfo mode = {
		.clock = 1000,
		.hdisplay = BUFFER_SIDE, .hsync_start = 72, .hsync_end = 80, .htotal = 100,
		.vdisplay = BUFFER_SIDE, .vsync_start = 72, .vsync_end = 80, .vtotal = 100,
		.vrefresh = 100,
		.name = "64x64",
	};
	int fd = bench->display.fd, ret = 0, i;
	struct drm_event_vblank event;
	__s64 before, pages;

	read_settled(&before, &pages);
	for (i = 0; i < BUFFERS && !ret; i++)
		ret = buffer_create(fd, &frames[i], BUFFER_SIDE, BUFFER_SIDE);
	if (!ret)
		tell_buffers(bench, "buffer, written to", before);
	for (i = 0; i < BUFFERS && !ret; i++)
		ret = frame_add(fd, &frames[i], BUFFER_SIDE, BUFFER_SIDE,
				frames[i].buffer_pitch, 0);
	if (!ret)
		tell_buffers(bench, "buffer with framebuffer", before);
	if (!ret)
		ret = set_crtc(&bench->display, frames[0].fb, &mode, 0, 0);
	for (i = 1; i < BUFFERS && !ret; i++)
		ret = flip_and_wait(&bench->display, frames[i].fb, 0, &event);
	if (!ret)
		tell_buffers(bench, "buffer with framebuffer, shown", before);
	crtc_off(&bench->display);
	for (i = 0; i < BUFFERS; i++)
		frame_destroy(fd, &frames[i]);
	return ret ? strerror(-ret) : NULL;
}

#endif /* _DISPLAY_FOOTPRINT_H */
