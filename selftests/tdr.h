/* SPDX-License-Identifier: GPL-2.0 */
/* What the driver does with a device that hangs: its module parameters. */
#ifndef _TDR_H
#define _TDR_H

#include "rust_gpu_test.h"

/* Values of tdr_level. */
enum { TDR_LOOK = 0, TDR_BREAK = 1, TDR_RECOVER = 3 };

#define TDR_DELAY_MS	2000
#define TDR_LIMIT_COUNT	5
#define TDR_LIMIT_MS	60000

/* Sets a parameter; the driver is loaded. Returns 0 or -errno. */
static __maybe_unused int tdr_set(const char *name, unsigned int value)
{
	return write_file(path("/sys/module/rust_gpu/parameters/tdr_%s", name),
			  path("%u", value));
}

/* Sets how far the driver goes. Returns 0 or -errno. */
static __maybe_unused int tdr_level(unsigned int level)
{
	return tdr_set("level", level);
}

#endif /* _TDR_H */
