/* SPDX-License-Identifier: GPL-2.0 */
/* What the kernel tells user space of devices. */
#ifndef _UEVENTS_H
#define _UEVENTS_H

#include <errno.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

/*
 * Takes the next event of a DRM device, of those that are there. Returns its length, or 0 if there
 * is none. There is a zero behind its last line.
 */
static __maybe_unused ssize_t next_drm_uevent(int fd, char *message, size_t size)
{
	ssize_t len;

	while ((len = recv(fd, message, size - 1, 0)) > 0) {
		message[len] = '\0';
		if (strstr(message, "/drm/card"))
			return len;
	}
	return 0;
}

/* Events about devices that are wedged, by what they tell user space to do. */
struct wedged {
	unsigned int none, rebind, bus_reset, others;
};

/* Takes all events that are there. Those that need not be @guilty's count as others. */
static __maybe_unused struct wedged take_wedged(int fd, const char *guilty)
{
	struct wedged found = {};
	char message[4096];
	ssize_t len;

	while ((len = next_drm_uevent(fd, message, sizeof(message))) > 0) {
		if (has_line(message, len, "WEDGED=rebind"))
			found.rebind++;
		else if (has_line(message, len, "WEDGED=bus-reset"))
			found.bus_reset++;
		else if (guilty && has_line(message, len, "WEDGED=none") &&
			 has_line(message, len, guilty))
			found.none++;
		else
			found.others++;
	}
	return found;
}

#endif /* _UEVENTS_H */
