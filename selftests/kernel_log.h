/* SPDX-License-Identifier: GPL-2.0 */
/* What the kernel's log says while a test runs. */
#ifndef _KERNEL_LOG_H
#define _KERNEL_LOG_H

#include <syslog.h>

#include "rust_gpu_test.h"

/* Opens the log at its end. Returns a descriptor or -errno. */
static __maybe_unused int log_open(void)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	int ret;

	if (log < 0)
		return -errno;
	if (lseek(log, 0, SEEK_END) >= 0)
		return log;
	ret = -errno;
	close(log);
	return ret;
}

/* Reads the next record. Returns false if there is none yet. */
static __maybe_unused bool next_record(int log, char *line, size_t size)
{
	ssize_t len;

	/* After EPIPE the next read returns the oldest record that was not overwritten. */
	do
		len = read(log, line, size - 1);
	while (len < 0 && errno == EPIPE);
	if (len <= 0)
		return false;
	line[len] = '\0';
	return true;
}

/* Counts and prints new records that have one of the words. */
static __maybe_unused unsigned int count_words(int log, const char *const *words,
					       unsigned int count, bool debugging)
{
	unsigned int found = 0, i;
	char line[1024];

	while (next_record(log, line, sizeof(line))) {
		/* It begins with the facility and the level. */
		if (!debugging && (strtoul(line, NULL, 10) & 7) == LOG_DEBUG)
			continue;
		for (i = 0; i < count; i++) {
			if (strstr(line, words[i])) {
				ksft_print_msg("%s", line);
				found++;
				break;
			}
		}
	}
	return found;
}

/* Counts and prints new records about the device or DRM, and warnings; none for debugging. */
static __maybe_unused unsigned int count_records(int log)
{
	static const char *const words[] = { "rust_gpu", "virtio_gpu", "[drm", "WARNING:" };

	return count_words(log, words, ARRAY_SIZE(words), false);
}

/* Counts and prints new records by which the kernel says that something is wrong with it. */
static __maybe_unused unsigned int count_splats(int log)
{
	static const char *const words[] = { "WARNING:", "BUG:", "INFO:", "Call Trace:", "leak" };

	return count_words(log, words, ARRAY_SIZE(words), true);
}

#endif /* _KERNEL_LOG_H */
