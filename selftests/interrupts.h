/* SPDX-License-Identifier: GPL-2.0 */
/* What the kernel says about the interrupts of the driver. */
#ifndef _INTERRUPTS_H
#define _INTERRUPTS_H

#include <sys/utsname.h>

#include "rust_gpu_test.h"

/* Whether interrupt handlers are threads. These may run once for several interrupts. */
static __maybe_unused bool irqs_are_threaded(void)
{
	char text[4096];
	struct utsname name;

	if (!uname(&name) && strstr(name.version, "PREEMPT_RT"))
		return true;
	return read_file("/proc/cmdline", text, sizeof(text)) > 0 && strstr(text, "threadirqs");
}

/*
 * Reads the interrupts in the lines of /proc/interrupts that have @name or @other in them, in
 * their order, summed over all CPUs. Returns the number of these lines, at most @size.
 */
static __maybe_unused unsigned int irq_lines(const char *name, const char *other, __u64 *counts,
					     unsigned int size)
{
	static __thread char text[65536];
	char *line, *next, *end;
	unsigned int found = 0;
	__u64 n;

	if (read_file("/proc/interrupts", text, sizeof(text)) <= 0)
		return 0;
	for (line = strtok_r(text, "\n", &next); line && found < size;
	     line = strtok_r(NULL, "\n", &next)) {
		if (!strstr(line, name) && !strstr(line, other))
			continue;
		line = strchr(line, ':');
		if (!line)
			continue;
		counts[found] = 0;
		for (line++;; line = end) {
			n = strtoull(line, &end, 10);
			/* The columns of the CPUs end where the controller's name begins. */
			if (end == line || (*end != ' ' && *end != '\0'))
				break;
			counts[found] += n;
		}
		found++;
	}
	return found;
}

/* Reads the interrupts of the driver's messages, in their order. Returns how many there are. */
static __maybe_unused unsigned int irq_counts(__u64 *counts, unsigned int size)
{
	return irq_lines("rust_gpu", "rust_gpu", counts, size);
}

/* Returns the interrupts so far of all lines that have @name or @other in them. */
static __maybe_unused __u64 irq_sum(const char *name, const char *other)
{
	__u64 counts[64], sum = 0;
	unsigned int i, found = irq_lines(name, other, counts, ARRAY_SIZE(counts));

	for (i = 0; i < found; i++)
		sum += counts[i];
	return sum;
}

#endif /* _INTERRUPTS_H */
