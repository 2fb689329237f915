/* SPDX-License-Identifier: GPL-2.0 */
/* The uevents that tell user space of changes of the screens. */
#ifndef _DISPLAY_HOTPLUG_H
#define _DISPLAY_HOTPLUG_H

#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include "rust_gpu_test.h"

/* Longest that a change may take from the host to user space, on a busy host as well. */
#define HOTPLUG_MS	(GPU_PATIENCE_NS / NSEC_PER_MSEC)

/* Opens the kernel's uevents. Returns a descriptor, or -errno. */
static __maybe_unused int uevents_open(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			NETLINK_KOBJECT_UEVENT);
	int ret;

	if (fd < 0)
		return -errno;
	if (!bind(fd, (struct sockaddr *)&address, sizeof(address)))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

static __maybe_unused bool has_line(const char *message, size_t len, const char *line)
{
	const char *end = message + len;

	for (; message < end; message += strlen(message) + 1) {
		if (!strcmp(message, line))
			return true;
	}
	return false;
}

/* Waits for a hotplug uevent of a card. Returns 0 or -errno. */
static __maybe_unused int wait_hotplug(int uevents, const char *card, int milliseconds)
{
	struct pollfd poll_uevents = { .fd = uevents, .events = POLLIN };
	__s64 deadline = now_ns() + milliseconds * NSEC_PER_MSEC;
	const char *name = path("DEVNAME=%s", card + strlen("/dev/"));
	char message[8192];
	ssize_t len;

	for (;;) {
		__s64 left = (deadline - now_ns()) / NSEC_PER_MSEC;

		if (left <= 0 || poll(&poll_uevents, 1, left) <= 0)
			return -ETIMEDOUT;
		len = recv(uevents, message, sizeof(message) - 1, 0);
		if (len < 0)
			return -errno;
		message[len] = '\0';
		if (has_line(message, len, "ACTION=change") &&
		    has_line(message, len, "DEVTYPE=drm_minor") &&
		    has_line(message, len, "HOTPLUG=1") && has_line(message, len, name))
			return 0;
	}
}

#endif /* _DISPLAY_HOTPLUG_H */
