/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Lets allocations of the kernel fail, one at a time.
 *
 * Needs CONFIG_FAILSLAB, CONFIG_FAIL_PAGE_ALLOC and CONFIG_FAULT_INJECTION_DEBUG_FS.
 */
#ifndef _FAILURES_H
#define _FAILURES_H

#include "rust_gpu_test.h"

#define NO_FAILURES	"the kernel cannot make allocations fail (CONFIG_FAILSLAB)"
#define FAIL_NTH	"/proc/thread-self/fail-nth"

/* Allocations that may sleep fail as well, also of single pages, and nothing is logged. */
static bool failures_prepare(void)
{
	static const struct { const char *file, *value; } settings[] = {
		{ "failslab/ignore-gfp-wait", "N" },
		{ "failslab/verbose", "0" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" },
		{ "fail_page_alloc/verbose", "0" },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		if (write_file(path("/sys/kernel/debug/%s", settings[i].file), settings[i].value))
			return false;
	}
	return !access(FAIL_NTH, W_OK);
}

/*
 * Calls @run with @data, and refuses allocation number @nth that this thread makes in it.
 * Returns what @run has returned. *@refused tells whether there were so many.
 */
static __maybe_unused int run_without(int (*run)(const void *data), const void *data,
				      unsigned int nth, bool *refused)
{
	int fd = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	char text[16] = "";
	int ret;

	*refused = false;
	snprintf(text, sizeof(text), "%u", nth);
	if (fd < 0 || write(fd, text, strlen(text)) < 0) {
		close(fd);
		return -EBADF;
	}
	ret = run(data);
	memset(text, 0, sizeof(text));
	if (pread(fd, text, sizeof(text) - 1, 0) > 0)
		*refused = !atoi(text);
	/* The rest of the test must get memory. */
	if (pwrite(fd, "0", 1, 0) != 1)
		ret = -EBADF;
	close(fd);
	return ret;
}

#endif /* _FAILURES_H */
