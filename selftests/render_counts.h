/* SPDX-License-Identifier: GPL-2.0 */
/* What a device of our own has of 3D, and has had: as much at the end as at the start. */
#ifndef _RENDER_COUNTS_H
#define _RENDER_COUNTS_H

#include "render.h"

struct counts {
	__s64 contexts, made, ended, in_contexts, attached, detached, resources, backings, strays;
};

static struct counts read_counts(int screen)
{
	return (struct counts){
		.contexts = render_count(screen, "contexts"),
		.made = render_count(screen, "contexts-made"),
		.ended = render_count(screen, "contexts-destroyed") +
			 render_count(screen, "contexts-lost"),
		.in_contexts = render_count(screen, "in-contexts"),
		.attached = render_count(screen, "attached"),
		.detached = render_count(screen, "detached"),
		.resources = device_state(screen, "resources"),
		.backings = device_state(screen, "attached"),
		.strays = render_count(screen, "strays"),
	};
}

/* Waits until the device has as much as before. */
static void is_as_before(struct __test_metadata *_metadata, int screen,
			 const struct counts *before)
{
	struct counts after;

	EXPECT_TRUE(render_wait(screen, "contexts", before->contexts));
	EXPECT_TRUE(device_wait(screen, "resources", before->resources));
	EXPECT_TRUE(device_wait(screen, "late", 0));
	after = read_counts(screen);
	EXPECT_EQ(after.made - before->made, after.ended - before->ended);
	EXPECT_EQ(after.attached - before->attached, after.detached - before->detached);
	EXPECT_EQ(before->in_contexts, after.in_contexts);
	EXPECT_EQ(before->backings, after.backings);
	EXPECT_EQ(before->strays, after.strays);
}

#endif /* _RENDER_COUNTS_H */
