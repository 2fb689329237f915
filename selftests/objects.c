// SPDX-License-Identifier: GPL-2.0
/*
 * Large objects on a device that does not let go of them: few are kept, and none when the
 * driver is unbound.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include "kselftest_harness.h"
#include "counters.h"
#include "display_device.h"
#include "display_scene.h"
#include "tdr.h"

/* An image of the cursor is at the start of an object of 64 MiB. */
#define OBJECT_SIDE	4096
#define OBJECT_KB	(4 * OBJECT_SIDE * OBJECT_SIDE / 1024)
#define IMAGES		gpu_rounds(24, 60)
/* How many that nobody uses any more the device may hold. */
#define MAX_LEAVING	16
/* Other memory that may come and go. */
#define SLACK_KB	16384

/* Each test is a process of its own. */
static struct scene scene;

FIXTURE(objects)
{
	struct gpu gpu;
	__s64 resources, attached, memory;
};

FIXTURE_VARIANT(objects)
{
	const char *misbehaviour;
	/* Images are refused in the end. With a device that stands still none is sent. */
	bool fills;
};

/* It stands still for ever. */
FIXTURE_VARIANT_ADD(objects, stalled)
{
	.misbehaviour = "stall any",
};

/* It takes each command, but never says that it has let go. */
FIXTURE_VARIANT_ADD(objects, unanswered)
{
	.misbehaviour = "never unref",
	.fills = true,
};

/* It goes on attaching, but does not let go. */
FIXTURE_VARIANT_ADD(objects, refused)
{
	.misbehaviour = "refuse unref 0x1200",
	.fills = true,
};

/* The memory of objects, in kB. */
static __s64 object_memory(void)
{
	return file_number("/proc/meminfo", "\nShmem:");
}

FIXTURE_SETUP(objects)
{
	const char *reason = scene_open(&scene);

	REQUIRE(return, !reason, reason);
	REQUIRE(return, device_state(scene.screen, "commands") >= 0, NO_OWN_DEVICE);
	REQUIRE(return, gpu_find(&self->gpu), NO_GPU);
	ASSERT_EQ(0, tdr_level(TDR_LOOK));
	ASSERT_NE(0, scene.frame.fb);
	ASSERT_EQ(0, scene_show(&scene, 1));
	self->resources = count_resources(&self->gpu);
	self->attached = device_state(scene.screen, "attached");
	self->memory = object_memory();
	ASSERT_LT(0, self->resources);
	ASSERT_LE(0, self->attached);
}

FIXTURE_TEARDOWN(objects)
{
	EXPECT_EQ(0, device_resume(scene.screen));
	EXPECT_TRUE(device_is_sound(scene.screen));
	scene_close(&scene);
	/* Also after a test that failed: the next one needs a device that takes commands. */
	EXPECT_EQ(0, gpu_rebind(&self->gpu));
	EXPECT_EQ(0, tdr_level(TDR_RECOVER));
}

/* Shows a new object as the cursor, and destroys it. Returns 0 or -errno. */
static int show_image(void)
{
	const struct display *display = &scene.display;
	struct frame image;
	int ret = buffer_create(display->fd, &image, OBJECT_SIDE, OBJECT_SIDE);

	if (!ret)
		ret = cursor_set(display, DRM_MODE_CURSOR_BO, image.handle, 0, 0);
	frame_destroy(display->fd, &image);
	return ret;
}

TEST_F_TIMEOUT(objects, are_let_go, 300)
{
	__s64 most_resources = 0, most_memory = 0, most_attached = 0, memory;
	unsigned int i, busy = 0;

	ASSERT_EQ(0, device_ask(scene.screen, "%s", variant->misbehaviour));
	for (i = 0; i < IMAGES; i++) {
		int ret = show_image();

		if (ret != -EBUSY)
			ASSERT_EQ(0, ret) TH_LOG("image %u", i);
		busy += ret == -EBUSY;
		most_resources = larger(most_resources, count_resources(&self->gpu));
		most_memory = larger(most_memory, object_memory());
		most_attached = larger(most_attached, device_state(scene.screen, "attached"));
	}
	TH_LOG("%s: %lld resources more, %lld attached, %lld MiB; %u of %u images refused",
	       variant->misbehaviour, most_resources - self->resources,
	       most_attached - self->attached, (most_memory - self->memory) / 1024, busy, IMAGES);
	/* One more is the image that is shown. */
	EXPECT_LE(most_resources, self->resources + MAX_LEAVING + 1);
	EXPECT_LE(most_attached, self->attached + MAX_LEAVING + 1);
	EXPECT_LE(most_memory, self->memory + (MAX_LEAVING + 1) * OBJECT_KB + SLACK_KB);
	EXPECT_EQ(variant->fills, busy != 0);

	ASSERT_EQ(0, gpu_unbind(&self->gpu));
	EXPECT_EQ(0, device_state(scene.screen, "attached"));
	EXPECT_EQ(0, device_state(scene.screen, "resources"));
	memory = object_memory();
	EXPECT_LE(memory, self->memory + SLACK_KB) TH_LOG("%lld kB before", self->memory);
	ASSERT_EQ(0, device_resume(scene.screen));
	ASSERT_EQ(0, gpu_bind(&self->gpu));
}

TEST_HARNESS_MAIN
