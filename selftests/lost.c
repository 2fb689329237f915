// SPDX-License-Identifier: GPL-2.0
/*
 * Kicks and interrupts get lost, while the device itself works: the driver finds out,
 * and goes on as if nothing had happened.
 *
 * Environment: see display_screen.h
 */
#include "kselftest_harness.h"
#include "display_device.h"
#include "display_scene.h"

#define LOST		20
/* Longest until a lost kick or a lost interrupt is found. */
#define KICK_NS		(2 * NSEC_PER_SEC)
#define INTERRUPT_NS	NSEC_PER_SEC
/* What else it may take, on a busy host as well: far less than until the next packet. */
#define SLACK_NS	(500 * NSEC_PER_MSEC)
/* Flips afterwards. One that waits for a lost kick takes longer. */
#define FLIPS		20
#define FLIP_NS		(500 * NSEC_PER_MSEC)

/* Each test is a process of its own. */
static struct scene scene;

/* Waits until one of the numbers of the device's state has grown. */
static bool has_grown(const char *name, __s64 before)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;

	do {
		if (device_state(scene.screen, name) > before)
			return true;
		sleep_ns(10 * NSEC_PER_MSEC);
	} while (now_ns() < end);
	return false;
}

FIXTURE(lost)
{
	struct gpu gpu;
};

FIXTURE_SETUP(lost)
{
	const char *reason = scene_open(&scene);

	REQUIRE(return, !reason, reason);
	REQUIRE(return, device_state(scene.screen, "commands") >= 0, NO_OWN_DEVICE);
	REQUIRE(return, gpu_find(&self->gpu), NO_GPU);
	ASSERT_NE(0, scene.frame.fb);
	ASSERT_EQ(0, scene_show(&scene, 1));
}

FIXTURE_TEARDOWN(lost)
{
	EXPECT_EQ(0, device_resume(scene.screen));
	EXPECT_TRUE(device_is_sound(scene.screen));
	scene_close(&scene);
	/* Also after a test that failed: the next one needs a working queue. */
	if (!gpu_unbind(&self->gpu))
		EXPECT_EQ(0, gpu_bind(&self->gpu));
}

/* Each frame comes, although the kick for it was lost; and later ones are as quick as ever. */
TEST_F_TIMEOUT(lost, kicks, 180)
{
	const struct display *display = &scene.display;
	struct drm_event_vblank event;
	struct frame frame;
	unsigned int i;

	ASSERT_EQ(0, frame_create(display->fd, &frame, scene.picture.width,
				  scene.picture.height));
	for (i = 0; i < LOST; i++) {
		const struct frame *next = i % 2 ? &scene.frame : &frame;
		__s64 kicks;

		picture_fill(&scene.picture, 2 + i);
		frame_draw(next, &scene.picture);
		ASSERT_EQ(0, device_ask(scene.screen, "ignore-kicks"));
		kicks = device_state(scene.screen, "kicks");
		ASSERT_EQ(0, page_flip(display, next->fb, DRM_MODE_PAGE_FLIP_EVENT, i));
		ASSERT_TRUE(has_grown("kicks", kicks));
		ASSERT_EQ(0, device_resume(scene.screen));
		EXPECT_TRUE(screen_shows_within(scene.screen, "lost-kick", display->head,
						&scene.picture, KICK_NS + SLACK_NS))
			TH_LOG("round %u", i);
		ASSERT_EQ(0, wait_event(display->fd, &event));
	}
	for (i = 0; i < FLIPS; i++) {
		__s64 start = now_ns();

		ASSERT_EQ(0, flip_and_wait(display, i % 2 ? frame.fb : scene.frame.fb, 0, &event));
		EXPECT_LT(now_ns() - start, FLIP_NS) TH_LOG("flip %u", i);
	}
	frame_destroy(display->fd, &frame);
}

/* A wait for a packet ends, although the interrupt for it was lost. */
TEST_F_TIMEOUT(lost, interrupts, 180)
{
	int fd = open(self->gpu.render, O_RDWR | O_CLOEXEC);
	unsigned int i;
	__u64 fence;

	ASSERT_GE(fd, 0);
	for (i = 0; i < LOST; i++) {
		__s64 withheld = device_state(scene.screen, "withheld");

		ASSERT_EQ(0, gpu_quiesce(fd));
		ASSERT_EQ(0, device_ask(scene.screen, "withhold-interrupts"));
		ASSERT_EQ(1, gpu_submit(fd, RUST_GPU_NODE_CONTROL, 1, 0, &fence));
		EXPECT_EQ(0, gpu_wait_fence(fd, RUST_GPU_NODE_CONTROL, fence,
					    now_ns() + INTERRUPT_NS + SLACK_NS))
			TH_LOG("round %u", i);
		EXPECT_LT(withheld, device_state(scene.screen, "withheld"));
		ASSERT_EQ(0, device_resume(scene.screen));
		EXPECT_EQ(0, gpu_works(fd)) TH_LOG("round %u", i);
	}
	close(fd);
}

TEST_HARNESS_MAIN
