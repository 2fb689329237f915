// SPDX-License-Identifier: GPL-2.0
/*
 * A device that cannot be reset may read what it knows, also when its driver is gone: the
 * pages of its framebuffers stay where they are.
 *
 * Environment: see display_screen.h and rust_gpu_test.h. The memory of the device leaks.
 */
#include "recover.h"

/* How much memory cannot be moved out, as that of framebuffers that are in use, in bytes. */
static __s64 unevictable(void)
{
	/* Pages that were just allocated count, too. */
	write_file("/proc/sys/vm/drop_caches", "1");
	return 1024 * file_number("/proc/meminfo", "Unevictable:");
}

TEST_F_TIMEOUT(recover, pages_stay, 120)
{
	const __s64 size = frames[frame_shown].size;
	__s64 before, after;

	/* This one is in no framebuffer that the device knows. */
	frame_destroy(scene.display.fd, &scene.frame);
	memset(&scene.frame, 0, sizeof(scene.frame));
	before = unevictable();
	ASSERT_LT(2 * size, before);
	ASSERT_EQ(0, device_ask(scene.screen, "fault reset"));
	ASSERT_EQ(0, gpu_unbind(&self->state.gpu));
	ASSERT_EQ(0, device_resume(scene.screen));
	end(&self->state);
	memset(frames, 0, sizeof(frames));
	memset(images, 0, sizeof(images));
	after = unevictable();
	TH_LOG("%lld KiB before, %lld KiB after", before / 1024, after / 1024);
	EXPECT_LT(before - size / 2, after);
	ASSERT_EQ(0, gpu_bind(&self->state.gpu));
	ASSERT_EQ(NULL, start(&self->state));
	EXPECT_EQ(0, show_all());
}

TEST_HARNESS_MAIN
