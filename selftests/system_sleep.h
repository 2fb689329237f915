/* SPDX-License-Identifier: GPL-2.0 */
/* The devices of the system sleep for a moment, and nothing else does. */
#ifndef _SYSTEM_SLEEP_H
#define _SYSTEM_SLEEP_H

#include "rust_gpu_test.h"

#define NO_SLEEP	"no CONFIG_PM_DEBUG"

static __maybe_unused bool can_sleep(void)
{
	return !access("/sys/power/pm_test", W_OK);
}

/* Lets all devices sleep for a second, with user space frozen. Returns 0 or -errno. */
static __maybe_unused int let_sleep(void)
{
	int ret;

	write_file("/sys/module/suspend/parameters/pm_test_delay", "1");
	ret = write_file("/sys/power/pm_test", "devices");
	if (!ret)
		ret = write_file("/sys/power/state", "mem");
	write_file("/sys/power/pm_test", "none");
	return ret;
}

#endif /* _SYSTEM_SLEEP_H */
