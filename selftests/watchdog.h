/* SPDX-License-Identifier: GPL-2.0 */
/* What the driver's watchdog has counted: the file "watchdog" of debugfs. */
#ifndef _WATCHDOG_H
#define _WATCHDOG_H

#include "rust_gpu_test.h"

struct watchdog {
	__s64 stalled, stalls, lost_interrupts, lost_kicks, resets, ticks;
};

static __maybe_unused struct watchdog read_watchdog(const struct gpu *gpu)
{
	const char *file = path("/sys/kernel/debug/rust_gpu/%s/watchdog", gpu->pci);

	return (struct watchdog){
		.stalled = file_number(file, "stalled: "),
		.stalls = file_number(file, "stalls: "),
		.lost_interrupts = file_number(file, "lost interrupts: "),
		.lost_kicks = file_number(file, "lost kicks: "),
		.resets = file_number(file, "resets: "),
		.ticks = file_number(file, "ticks: "),
	};
}

#endif /* _WATCHDOG_H */
