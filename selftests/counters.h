/* SPDX-License-Identifier: GPL-2.0 */
/* What the driver counts, in debugfs. */
#ifndef _COUNTERS_H
#define _COUNTERS_H

#include "rust_gpu_test.h"

struct watchdog {
	__s64 stalled, stalls, lost_interrupts, lost_kicks, resets, recoveries, ticks;
};

/* What the watchdog has counted. */
static __maybe_unused struct watchdog read_watchdog(const struct gpu *gpu)
{
	const char *file = path("/sys/kernel/debug/rust_gpu/%s/watchdog", gpu->pci);

	return (struct watchdog){
		.stalled = file_number(file, "stalled: "),
		.stalls = file_number(file, "stalls: "),
		.lost_interrupts = file_number(file, "lost interrupts: "),
		.lost_kicks = file_number(file, "lost kicks: "),
		.resets = file_number(file, "resets: "),
		.recoveries = file_number(file, "recoveries: "),
		.ticks = file_number(file, "ticks: "),
	};
}

/* Waits until more than @before recoveries are counted. Returns 0 or -errno. */
static __maybe_unused int wait_for_recovery(const struct gpu *gpu, __s64 before)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;

	do {
		if (read_watchdog(gpu).recoveries > before)
			return 0;
		sleep_ns(10 * NSEC_PER_MSEC);
	} while (now_ns() < end);
	return -ETIMEDOUT;
}

/* How many resources the device has; -1 if that is not known. */
static __maybe_unused __s64 count_resources(const struct gpu *gpu)
{
	return file_number(path("/sys/kernel/debug/rust_gpu/%s/memory", gpu->pci), "resources: ");
}

#endif /* _COUNTERS_H */
