/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The device stands still under each way to use it.
 *
 * Environment: see display_screen.h
 */
#ifndef _STALL_USERS_H
#define _STALL_USERS_H

#include "kselftest_harness.h"
#include "kernel_log.h"
#include "stall_user.h"
#include "stall_ways.h"
#include "tdr.h"

/* Lines in the log, for each time that the device stands still. */
#define LINES		2

FIXTURE(users)
{
	struct gpu gpu;
	int screen, log;
};

FIXTURE_VARIANT(users)
{
	struct user user;
};

FIXTURE_VARIANT_ADD(users, setcrtc)
{
	.user = { "setcrtc", show, show_next, shows_picture },
};

FIXTURE_VARIANT_ADD(users, dirtyfb)
{
	.user = { "dirtyfb", show, use_dirty, shows_picture },
};

FIXTURE_VARIANT_ADD(users, async_flip)
{
	.user = { "async_flip", show, use_async, shows_picture },
};

FIXTURE_VARIANT_ADD(users, dpms)
{
	.user = { "dpms", show, use_dpms, shows_picture },
};

FIXTURE_VARIANT_ADD(users, vt_switch)
{
	.user = { "vt_switch", show_consoles, use_terminals, shows_console },
};

FIXTURE_VARIANT_ADD(users, lastclose)
{
	.user = { "lastclose", show_consoles, use_close, shows_console },
};

FIXTURE_VARIANT_ADD(users, two_heads)
{
	.user = { "two_heads", show_twice, use_twice, shows_twice },
};

FIXTURE_VARIANT_ADD(users, lessee)
{
	.user = { "lessee", show_leased, show_next, shows_picture },
};

FIXTURE_VARIANT_ADD(users, master_drop)
{
	.user = { "master_drop", show, use_master, shows_picture },
};

FIXTURE_VARIANT_ADD(users, out_fence)
{
	.user = { "out_fence", show_atomic, use_out_fence, shows_picture },
};

FIXTURE_VARIANT_ADD(users, in_fence)
{
	.user = { "in_fence", show_atomic, use_in_fence, shows_picture },
};

FIXTURE_VARIANT_ADD(users, udmabuf)
{
	.user = { "udmabuf", show_memory, show_next, shows_picture },
};

FIXTURE_VARIANT_ADD(users, prime)
{
	.user = { "prime", show_others, show_next, shows_picture },
};

FIXTURE_VARIANT_ADD(users, wait_fence)
{
	.user = { "wait_fence", show_and_render, use_fence, has_executed },
};

FIXTURE_VARIANT_ADD(users, submit_null)
{
	.user = { "submit_null", show_and_render, use_submit, has_executed },
};

FIXTURE_VARIANT_ADD(users, full_queue)
{
	.user = { "full_queue", show_and_render, use_full, has_executed },
};

FIXTURE_SETUP(users)
{
	self->screen = -1;
	self->log = -1;
	REQUIRE(return, !geteuid(), "not root");
	REQUIRE(return, gpu_present(&self->gpu), NO_GPU);
	ASSERT_EQ(0, tdr_level(TDR_LOOK));
	self->screen = screen_open();
	REQUIRE(return, self->screen >= 0, NO_SCREEN);
	REQUIRE(return, device_state(self->screen, "commands") >= 0, NO_OWN_DEVICE);
	self->log = log_open();
	ASSERT_GE(self->log, 0);
}

FIXTURE_TEARDOWN(users)
{
	char answer[64];

	EXPECT_EQ(0, device_resume(self->screen));
	EXPECT_TRUE(device_wait(self->screen, "held-control", 0));
	EXPECT_TRUE(device_is_sound(self->screen));
	EXPECT_EQ(0, tdr_level(TDR_RECOVER));
	screen_ask(self->screen, answer, sizeof(answer), "unplug 1");
	close(self->screen);
	close(self->log);
}

/*
 * Waits until the device stands still. It does at any command: here, one that comes as the
 * user resizes the window, and changes their mind.
 */
static int hold(int screen)
{
	char answer[64];
	int ret = device_ask(screen, "stall any");

	if (!ret)
		ret = screen_ask(screen, answer, sizeof(answer), "resize 1000 700");
	if (!ret)
		ret = device_wait(screen, "held-control", 1) ? 0 : -ETIMEDOUT;
	return ret ? ret : screen_ask(screen, answer, sizeof(answer), "resize 1280 800");
}

static void ends(struct __test_metadata *_metadata, const struct using *using)
{
	int status;

	ASSERT_EQ(using->process, waitpid(using->process, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	close(using->to);
	close(using->from);
}

#endif /* _STALL_USERS_H */
