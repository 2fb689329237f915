/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A device that is given up, and how it is revived.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#ifndef _RECOVER_BROKEN_H
#define _RECOVER_BROKEN_H

#include "recover.h"

/* Binds the driver again, which revives the device. */
static __maybe_unused void check_revived(struct __test_metadata *_metadata, struct state *state)
{
	struct drm_event_vblank event;

	/* The display goes on without a device. */
	ASSERT_EQ(0, draw_new());
	EXPECT_EQ(0, flip_and_wait(&scene.display, frames[frame_shown].fb, 0, &event));
	ASSERT_EQ(0, set_defaults());
	ASSERT_EQ(0, device_resume(scene.screen));
	end_client(state);
	ASSERT_EQ(0, gpu_unbind(&state->gpu));
	ASSERT_EQ(0, gpu_bind(&state->gpu));
	ASSERT_EQ(NULL, start(state));
	EXPECT_EQ(0, show_all());
	EXPECT_EQ(0, gpu_works(state->render));
}

#endif /* _RECOVER_BROKEN_H */
