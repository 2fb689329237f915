/* SPDX-License-Identifier: GPL-2.0 */
/* Buffers of others (dma-bufs), which the display imports. */
#ifndef _DISPLAY_FOREIGN_H
#define _DISPLAY_FOREIGN_H

#include <linux/dma-buf.h>
#include <linux/udmabuf.h>

#include "display_kms.h"

/* A mapped buffer, and the descriptors that keep it. */
struct foreign {
	int fd;		/* the dma-buf */
	int owner;	/* vgem's card, or the memfd; -1 when it is closed */
	__u64 size;
	__u8 *map;
};

static __maybe_unused const char *vgem_create(struct foreign *foreign, __u32 width, __u32 height)
{
	struct frame frame;

	foreign->owner = vgem_open();
	if (foreign->owner < 0)
		return "no vgem";
	if (buffer_create(foreign->owner, &frame, width, height))
		return "no buffer of vgem";
	foreign->fd = prime_export(foreign->owner, frame.handle);
	foreign->size = frame.size;
	foreign->map = frame.map;
	return foreign->fd < 0 ? "no dma-buf of vgem" : NULL;
}

static __maybe_unused const char *udmabuf_create(struct foreign *foreign, __u32 width, __u32 height)
{
	__u64 page = getpagesize();
	struct udmabuf_create create = {
		.flags = UDMABUF_FLAGS_CLOEXEC,
		.size = (4ull * width * height + page - 1) & ~(page - 1),
	};
	int device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);

	if (device < 0)
		return "no udmabuf";
	foreign->owner = memfd_create("rust_gpu", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	foreign->size = create.size;
	if (foreign->owner < 0 || ftruncate(foreign->owner, create.size) ||
	    fcntl(foreign->owner, F_ADD_SEALS, F_SEAL_SHRINK))
		return "no memfd";
	foreign->map = mmap(NULL, create.size, PROT_READ | PROT_WRITE, MAP_SHARED,
			    foreign->owner, 0);
	create.memfd = foreign->owner;
	foreign->fd = ioctl(device, UDMABUF_CREATE, &create);
	close(device);
	return foreign->map == MAP_FAILED || foreign->fd < 0 ? "no dma-buf of udmabuf" : NULL;
}

static __maybe_unused void foreign_close(struct foreign *foreign)
{
	if (foreign->map)
		munmap(foreign->map, foreign->size);
	if (foreign->owner >= 0)
		close(foreign->owner);
	if (foreign->fd >= 0)
		close(foreign->fd);
	*foreign = (struct foreign){ .fd = -1, .owner = -1 };
}

#endif /* _DISPLAY_FOREIGN_H */
