// SPDX-License-Identifier: GPL-2.0
/*
 * The device stands still, and comes back: the screen shows what was wanted last. See
 * stall_users.h.
 */
#include "stall_users.h"

#define STALL_NS	(10 * NSEC_PER_SEC)

/* The device is back after a while: the screen shows what was wanted last. */
TEST_F_TIMEOUT(users, ten_seconds, 120)
{
	struct using using;
	__s64 start;

	ASSERT_EQ(0, user_start(&variant->user, &using));
	ASSERT_EQ(0, hold(self->screen));
	start = now_ns();
	say(using.to, USE);
	EXPECT_EQ(0, await(&using, USED, USE_NS));
	sleep_ns(start + STALL_NS - now_ns());
	say(using.to, STOP);
	ASSERT_EQ(0, await(&using, STOPPED, USE_NS));
	EXPECT_EQ(1, device_state(self->screen, "held-control"));
	ASSERT_EQ(0, device_resume(self->screen));
	say(using.to, LOOK);
	EXPECT_EQ(0, await(&using, RIGHT, GPU_PATIENCE_NS));
	ends(_metadata, &using);
	EXPECT_LE(count_records(self->log), LINES);
}

TEST_HARNESS_MAIN
