/* SPDX-License-Identifier: GPL-2.0 */
/* The uevents that tell user space of changes of the screens. */
#ifndef _DISPLAY_HOTPLUG_H
#define _DISPLAY_HOTPLUG_H

#include <poll.h>

#include "rust_gpu_test.h"
#include "uevents.h"

/* Longest that a change may take from the host to user space, on a busy host as well. */
#define HOTPLUG_MS	(GPU_PATIENCE_NS / NSEC_PER_MSEC)

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
