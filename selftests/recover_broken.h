/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A device that is given up, and how it is revived.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#ifndef _RECOVER_BROKEN_H
#define _RECOVER_BROKEN_H

#include "recover.h"

/* Waits until the device counts as broken. Returns 0 or -errno. */
static __maybe_unused int wait_until_broken(int render)
{
	const __s64 until = now_ns() + GPU_PATIENCE_NS;
	__u64 fence;
	int ret;

	do {
		ret = gpu_submit(render, RUST_GPU_NODE_CONTROL, 1, RUST_GPU_SUBMIT_NONBLOCK,
				 &fence);
		sleep_ns(10 * NSEC_PER_MSEC);
	} while ((ret >= 0 || ret == -EAGAIN) && now_ns() < until);
	return ret == -EIO ? 0 : ret < 0 ? ret : -ETIMEDOUT;
}

/* Binds the driver again, which revives the device. */
static __maybe_unused void check_revived(struct __test_metadata *_metadata, struct state *state)
{
	struct drm_event_vblank event;

	/* The display goes on without a device. */
	ASSERT_EQ(0, draw_new());
	EXPECT_EQ(0, flip_and_wait(&scene.display, frames[frame_shown].fb, 0, &event));
	ASSERT_EQ(0, set_defaults());
	ASSERT_EQ(0, device_resume(scene.screen));
	end(state);
	memset(frames, 0, sizeof(frames));
	memset(images, 0, sizeof(images));
	ASSERT_EQ(0, gpu_unbind(&state->gpu));
	ASSERT_EQ(0, gpu_bind(&state->gpu));
	ASSERT_EQ(NULL, start(state));
	EXPECT_EQ(0, show_all());
	EXPECT_EQ(0, gpu_works(state->render));
}

#endif /* _RECOVER_BROKEN_H */
