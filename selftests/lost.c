// SPDX-License-Identifier: GPL-2.0
/*
 * Kicks and interrupts get lost, while the device itself works: the driver finds out,
 * and goes on as if nothing had happened. It counts each once, and resets nothing.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include "kselftest_harness.h"
#include "display_device.h"
#include "display_scene.h"
#include "counters.h"

#define LOST		gpu_rounds(20, 100)
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

/* What the driver and the device have counted. */
struct counted {
	struct gpu gpu;
	struct watchdog watchdog;
	__s64 resets;
};

FIXTURE(lost)
{
	struct counted before;
};

FIXTURE_SETUP(lost)
{
	const char *reason = scene_open(&scene);

	REQUIRE(return, !reason, reason);
	REQUIRE(return, device_state(scene.screen, "commands") >= 0, NO_OWN_DEVICE);
	REQUIRE(return, gpu_find(&self->before.gpu), NO_GPU);
	ASSERT_NE(0, scene.frame.fb);
	ASSERT_EQ(0, scene_show(&scene, 1));
	self->before.resets = device_state(scene.screen, "resets");
	self->before.watchdog = read_watchdog(&self->before.gpu);
	ASSERT_GE(self->before.watchdog.ticks, 0);
}

FIXTURE_TEARDOWN(lost)
{
	EXPECT_EQ(0, device_resume(scene.screen));
	EXPECT_TRUE(device_is_sound(scene.screen));
	scene_close(&scene);
	/* Also after a test that failed: the next one needs a working queue. */
	EXPECT_EQ(0, gpu_rebind(&self->before.gpu));
}

/* Checks what the watchdog has counted. */
static void check_counted(struct __test_metadata *_metadata, const struct counted *before,
			  unsigned int kicks, unsigned int interrupts, __s64 longest)
{
	struct watchdog after;

	/* The last one is counted by the next tick. */
	sleep_ns(NSEC_PER_SEC);
	after = read_watchdog(&before->gpu);
	TH_LOG("%u lost, found after %lld ms at the most", LOST, longest / NSEC_PER_MSEC);
	EXPECT_EQ(before->watchdog.lost_kicks + kicks, after.lost_kicks);
	EXPECT_EQ(before->watchdog.lost_interrupts + interrupts, after.lost_interrupts);
	EXPECT_EQ(before->watchdog.resets, after.resets);
	EXPECT_EQ(before->resets, device_state(scene.screen, "resets"));
}

/* Each frame comes, although the kick for it was lost; and later ones are as quick as ever. */
TEST_F_TIMEOUT(lost, kicks, 400)
{
	const struct display *display = &scene.display;
	struct drm_event_vblank event;
	__s64 start, longest = 0;
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
		start = now_ns();
		ASSERT_EQ(0, page_flip(display, next->fb, DRM_MODE_PAGE_FLIP_EVENT, i));
		ASSERT_TRUE(has_grown("kicks", kicks));
		ASSERT_EQ(0, device_resume(scene.screen));
		EXPECT_TRUE(screen_shows_within(scene.screen, "lost-kick", display->head,
						&scene.picture, KICK_NS + SLACK_NS))
			TH_LOG("round %u", i);
		longest = larger(longest, now_ns() - start);
		ASSERT_EQ(0, wait_event(display->fd, &event));
	}
	check_counted(_metadata, &self->before, LOST, 0, longest);
	for (i = 0; i < FLIPS; i++) {
		start = now_ns();
		ASSERT_EQ(0, flip_and_wait(display, i % 2 ? frame.fb : scene.frame.fb, 0, &event));
		EXPECT_LT(now_ns() - start, FLIP_NS) TH_LOG("flip %u", i);
	}
	frame_destroy(display->fd, &frame);
}

/* A wait for a packet ends, although the interrupt for it was lost. */
TEST_F_TIMEOUT(lost, interrupts, 400)
{
	int fd = open(self->before.gpu.render, O_RDWR | O_CLOEXEC);
	__s64 start, longest = 0;
	unsigned int i;
	__u64 fence;

	ASSERT_GE(fd, 0);
	/* Vblanks would find it as well. */
	ASSERT_EQ(0, gpu_calm(fd));
	for (i = 0; i < LOST; i++) {
		__s64 withheld = device_state(scene.screen, "withheld");

		ASSERT_EQ(0, gpu_quiesce(fd));
		ASSERT_EQ(0, device_ask(scene.screen, "withhold-interrupts"));
		start = now_ns();
		ASSERT_EQ(1, gpu_submit(fd, RUST_GPU_NODE_CONTROL, 1, 0, &fence));
		EXPECT_EQ(0, gpu_wait_fence(fd, RUST_GPU_NODE_CONTROL, fence,
					    now_ns() + INTERRUPT_NS + SLACK_NS))
			TH_LOG("round %u", i);
		longest = larger(longest, now_ns() - start);
		EXPECT_LT(withheld, device_state(scene.screen, "withheld"));
		ASSERT_EQ(0, device_resume(scene.screen));
		EXPECT_EQ(0, gpu_works(fd)) TH_LOG("round %u", i);
	}
	check_counted(_metadata, &self->before, 0, LOST, longest);
	close(fd);
}

TEST_HARNESS_MAIN
