// SPDX-License-Identifier: GPL-2.0
/*
 * The device stands still, and never comes back for a process: its calls end, it can be
 * frozen, and it is killed at once. See stall_users.h.
 */
#include "stall_users.h"

#define KILLS		2
/* Longest until a process that is killed is gone. */
#define EXIT_NS		(500 * NSEC_PER_MSEC)
#define SLOWER		4	/* with a kernel that looks for bugs */
/* A process is frozen at the latest when its call has ended. */
#define FREEZE_NS	USE_NS
/* A process is killed at one of several moments after its first use. */
#define MOMENT_NS	(170 * NSEC_PER_MSEC)

/* The next client finds a display that works. */
static void check_next(struct __test_metadata *_metadata)
{
	static const struct user next = { "next", show, show_next, shows_picture };
	struct using using;

	ASSERT_EQ(0, user_start(&next, &using));
	say(using.to, USE);
	say(using.to, STOP);
	ASSERT_EQ(0, await(&using, STOPPED, USE_NS));
	say(using.to, LOOK);
	EXPECT_EQ(0, await(&using, RIGHT, GPU_PATIENCE_NS));
	ends(_metadata, &using);
}

/* Processes are frozen and killed while the device stands still. */
TEST_F_TIMEOUT(users, for_ever, 120)
{
	const __s64 limit = EXIT_NS * (kernel_is_slow() ? SLOWER : 1);
	__s64 frozen, took;
	struct using using;
	int i;

	for (i = 1; i <= KILLS; i++) {
		ASSERT_EQ(0, user_start(&variant->user, &using));
		ASSERT_EQ(0, hold(self->screen));
		say(using.to, USE);
		EXPECT_EQ(0, await(&using, USED, USE_NS));
		frozen = user_freeze(&using);
		EXPECT_GE(frozen, 0);
		EXPECT_LE(frozen, FREEZE_NS);
		sleep_ns(i * MOMENT_NS);
		took = user_kill(&using);
		ASSERT_GE(took, 0);
		EXPECT_LE(took, limit);
		fprintf(stderr, "# frozen in %lld ms, killed in %lld ms\n",
			frozen / NSEC_PER_MSEC, took / NSEC_PER_MSEC);
		EXPECT_EQ(1, device_state(self->screen, "held-control"));
		ASSERT_EQ(0, device_resume(self->screen));
		ASSERT_TRUE(device_wait(self->screen, "held-control", 0));
		EXPECT_LE(count_records(self->log), LINES);
	}
	check_next(_metadata);
}

TEST_HARNESS_MAIN
