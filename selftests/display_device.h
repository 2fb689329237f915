/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Requests to a device of our own, which misbehaves on command and counts what happens
 * (selftests/device of the driver's own repository; its --help lists the requests).
 */
#ifndef _DISPLAY_DEVICE_H
#define _DISPLAY_DEVICE_H

#include "display_screen.h"

#define NO_OWN_DEVICE	"the device is not our own"
/* Longest until the screen is right after the device is back. */
#define RETURN_NS	(2500 * NSEC_PER_MSEC)

/* Whether the kernel looks for bugs all the time. */
static __maybe_unused bool kernel_is_slow(void)
{
	return !access("/proc/lockdep_stats", F_OK);
}

/* Lets the device misbehave, or go on. Returns 0 or -errno. */
static __printf(2, 3) __maybe_unused int device_ask(int screen, const char *format, ...)
{
	char answer[64], request[64];
	va_list args;

	va_start(args, format);
	vsnprintf(request, sizeof(request), format, args);
	va_end(args);
	return screen_ask(screen, answer, sizeof(answer), "device %s", request);
}

static __maybe_unused int device_resume(int screen)
{
	return device_ask(screen, "resume");
}

/* Returns how many commands of a type the device has found, or -errno. */
static __maybe_unused __s64 device_count(int screen, const char *type)
{
	char answer[64];
	int ret = screen_ask(screen, answer, sizeof(answer), "device count %s", type);
	long long count;

	if (ret)
		return ret;
	return sscanf(answer, "device count %lld", &count) == 1 ? count : -EPROTO;
}

/* Returns one of the numbers of the device's state, or -errno. */
static __maybe_unused __s64 device_state(int screen, const char *name)
{
	const size_t len = strlen(name);
	char answer[1024], *word, *save;
	int ret = screen_ask(screen, answer, sizeof(answer), "device state");

	if (ret)
		return ret;
	for (word = strtok_r(answer, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		if (!strncmp(word, name, len) && word[len] == '=')
			return strtoll(word + len + 1, NULL, 10);
	}
	return -ENOENT;
}

/* Waits until one of the numbers of the device's state is @wanted. */
static __maybe_unused bool device_wait(int screen, const char *name, __s64 wanted)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;

	do {
		if (device_state(screen, name) == wanted)
			return true;
		sleep_ns(20 * NSEC_PER_MSEC);
	} while (now_ns() < end);
	return false;
}

/* Waits until the screen shows the picture; at most @ns, but it looks once. */
static __maybe_unused bool screen_shows_within(int screen, const char *name, __u32 head,
					       const struct picture *picture, __s64 ns)
{
	struct rect all = picture_rect(picture);
	const __u32 wanted = picture_crc(picture, &all);
	const __s64 end = now_ns() + ns;
	__u32 width, height, crc;

	do {
		if (!screen_dump(screen, name, head, &width, &height, &crc) && crc == wanted)
			return true;
		sleep_ns(20 * NSEC_PER_MSEC);
	} while (now_ns() < end);
	return false;
}

/* Whether the driver told the device of nothing wrong, and the device touched nothing else. */
static __maybe_unused bool device_is_sound(int screen)
{
	static const char *const faults[] = { "malformed", "short", "strays", "unmapped",
					      "untold" };
	bool sound = true;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		__s64 count = device_state(screen, faults[i]);

		if (count)
			fprintf(stderr, "# %s: %lld\n", faults[i], count);
		sound &= !count;
	}
	return sound;
}

#endif /* _DISPLAY_DEVICE_H */
