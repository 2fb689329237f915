// SPDX-License-Identifier: GPL-2.0
/*
 * A device hangs at a packet: the file whose packet it is gets no more, and others go on. If
 * it may have been another one's, nobody is guilty. It is reset as late as it usually is: a
 * busy host takes some of that time.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include <sys/prctl.h>

#include "scheduler.h"
#include "display_scene.h"
#include "uevents.h"

#define COMM		"a \"guilty\" one"

FIXTURE(blame)
{
	struct setting setting;
	struct watchdog before;
	int guilty, other, events;
};

FIXTURE_SETUP(blame)
{
	const char *reason = setting_open(&self->setting, true);

	self->events = -1;
	REQUIRE(return, !reason, reason);
	ASSERT_EQ(0, tdr_set("limit_count", 0));
	ASSERT_EQ(0, gpu_calm(self->setting.fd));
	self->before = read_watchdog(&self->setting.gpu);
	ASSERT_EQ(0, prctl(PR_SET_NAME, COMM));
	self->guilty = new_file(&self->setting);
	ASSERT_EQ(0, prctl(PR_SET_NAME, "other"));
	self->other = new_file(&self->setting);
	ASSERT_LE(0, self->guilty);
	ASSERT_LE(0, self->other);
	self->events = uevents_open();
	ASSERT_LE(0, self->events);
}

FIXTURE_TEARDOWN(blame)
{
	EXPECT_EQ(0, device_resume(self->setting.screen));
	EXPECT_EQ(0, tdr_set("limit_count", TDR_LIMIT_COUNT));
	EXPECT_EQ(self->before.recoveries + 1, read_watchdog(&self->setting.gpu).recoveries);
	close(self->guilty);
	close(self->other);
	/* A new file is not guilty. */
	self->other = new_file(&self->setting);
	EXPECT_EQ(0, gpu_works(self->other));
	EXPECT_EQ(0, gpu_works(self->setting.fd));
	close(self->other);
	close(self->events);
	setting_close(&self->setting);
}

/* Waits for the line of a reset in the log. Returns whether it has @text. */
static bool log_names(const struct setting *setting, const char *text)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	char line[1024];

	while (now_ns() < end) {
		while (next_record(setting->log, line, sizeof(line))) {
			if (strstr(line, "reset and restored"))
				return strstr(line, text);
		}
		sleep_ns(10 * NSEC_PER_MSEC);
	}
	return false;
}

/* What user space is told: which task it was, once; or nothing. */
static void check_told(struct __test_metadata *_metadata, int events, bool guilty)
{
	const __s64 end = now_ns() + (guilty ? GPU_PATIENCE_NS : NSEC_PER_SEC);
	struct wedged found, all = {};
	char pid[32];

	snprintf(pid, sizeof(pid), "PID=%d", getpid());
	do {
		sleep_ns(10 * NSEC_PER_MSEC);
		found = take_wedged(events, pid);
		all.none += found.none;
		all.others += found.others + found.rebind + found.bus_reset;
	} while ((!guilty || !all.none) && now_ns() < end);
	EXPECT_EQ(guilty, all.none);
	EXPECT_EQ(0, all.others);
}

/* All that a guilty file can do. */
static void check_guilty(struct __test_metadata *_metadata, int fd)
{
	__u64 completed, submitted, fence;
	__u32 node;

	for (node = 0; node < GPU_NULL_NODES; node++) {
		EXPECT_EQ(-EIO, gpu_submit(fd, node, 1, 0, &fence));
		EXPECT_EQ(0, gpu_query(fd, node, &completed, &submitted));
	}
	EXPECT_EQ(-EIO, wait_for(fd, 1));
}

/* Its packet is the oldest one. Others are published behind it, and others wait. */
TEST_F_TIMEOUT(blame, the_oldest_packet, 120)
{
	const struct setting *setting = &self->setting;
	__s64 published;

	ASSERT_EQ(0, device_ask(setting->screen, "hang display-info"));
	ASSERT_EQ(1, submit(self->guilty, 1, 0));
	ASSERT_EQ(200, submit(self->other, 200, 0));
	published = file_number(debug_file(setting, "ring_control"), "in flight: ") - 1;
	ASSERT_LT(0, published);
	EXPECT_EQ(-EIO, wait_for(self->guilty, 1));
	check_guilty(_metadata, self->guilty);
	EXPECT_TRUE(log_names(setting, COMM));
	check_told(_metadata, self->events, true);
	/* Those that were published are lost, those that were not are executed. */
	EXPECT_EQ(-ECANCELED, wait_for(self->other, 1));
	EXPECT_EQ(-ECANCELED, wait_for(self->other, published));
	EXPECT_EQ(0, wait_for(self->other, published + 1));
	EXPECT_EQ(0, wait_for(self->other, 200));
	EXPECT_EQ(0, gpu_works(self->other));
}

/* A packet is never answered, and the device goes on with others. */
TEST_F_TIMEOUT(blame, never_answered, 120)
{
	const struct setting *setting = &self->setting;
	__u64 ticket;

	ASSERT_EQ(0, device_ask(setting->screen, "never display-info"));
	ASSERT_EQ(1, submit(self->guilty, 1, 0));
	ASSERT_TRUE(device_wait(setting->screen, "late", 1));
	/* What the driver asks after the reset is answered. */
	ASSERT_EQ(0, device_ask(setting->screen, "behave"));
	/* Those of other nodes are executed meanwhile. */
	ASSERT_EQ(1, gpu_submit(self->other, RUST_GPU_NODE_CURSOR, 1, 0, &ticket));
	EXPECT_EQ(0, gpu_wait_fence(self->other, RUST_GPU_NODE_CURSOR, ticket,
				    now_ns() + GPU_PATIENCE_NS));
	EXPECT_EQ(-EIO, wait_for(self->guilty, 1));
	ASSERT_EQ(0, device_resume(setting->screen));
	check_guilty(_metadata, self->guilty);
	EXPECT_TRUE(log_names(setting, COMM));
	check_told(_metadata, self->events, true);
}

/* Two files have a packet each. The reset ends both, and nobody is guilty. */
static void check_nobody(struct __test_metadata *_metadata, const struct setting *setting,
			 int one, int other, int events)
{
	ASSERT_EQ(1, submit(one, 1, 0));
	ASSERT_EQ(1, submit(other, 1, 0));
	EXPECT_EQ(-ECANCELED, wait_for(one, 1));
	EXPECT_EQ(-ECANCELED, wait_for(other, 1));
	EXPECT_FALSE(log_names(setting, "at a packet"));
	check_told(_metadata, events, false);
	EXPECT_EQ(0, gpu_works(one));
	EXPECT_EQ(0, gpu_works(other));
}

/* An older packet that may take its time could be the reason as well. */
TEST_F_TIMEOUT(blame, an_older_open_packet, 120)
{
	const struct setting *setting = &self->setting;

	ASSERT_EQ(0, write_file(debug_file(setting, "open"), "0 1"));
	ASSERT_EQ(0, device_ask(setting->screen, "hang display-info"));
	check_nobody(_metadata, setting, self->guilty, self->other, self->events);
}

/* It hangs at what the driver wants to show. Packets wait behind that, and nobody is guilty. */
TEST_F_TIMEOUT(blame, a_command_of_the_display, 120)
{
	const struct setting *setting = &self->setting;
	struct drm_event_vblank event;
	struct scene scene;
	struct frame frame;

	ASSERT_EQ(NULL, scene_open(&scene));
	ASSERT_EQ(0, frame_create(scene.display.fd, &frame, scene.picture.width,
				  scene.picture.height));
	ASSERT_EQ(0, scene_show(&scene, 1));
	ASSERT_EQ(0, gpu_calm(setting->fd));
	ASSERT_EQ(0, device_ask(setting->screen, "hang flush"));
	picture_fill(&scene.picture, 2);
	frame_draw(&frame, &scene.picture);
	ASSERT_EQ(0, page_flip(&scene.display, frame.fb, DRM_MODE_PAGE_FLIP_EVENT, 0));
	ASSERT_TRUE(device_wait(setting->screen, "held-control", 1));
	check_nobody(_metadata, setting, self->guilty, self->other, self->events);
	EXPECT_EQ(0, wait_event(scene.display.fd, &event));
	EXPECT_TRUE(scene_shows(&scene, "blame"));
	frame_destroy(scene.display.fd, &frame);
	scene_close(&scene);
}

/* The device asks for a reset: that is nobody's packet. */
TEST_F_TIMEOUT(blame, asked_for, 120)
{
	const struct setting *setting = &self->setting;

	ASSERT_EQ(0, device_ask(setting->screen, "stall display-info"));
	ASSERT_EQ(1, submit(self->other, 1, 0));
	ASSERT_EQ(0, device_ask(setting->screen, "needs-reset"));
	EXPECT_EQ(-ECANCELED, wait_for(self->other, 1));
	ASSERT_EQ(0, device_resume(setting->screen));
	EXPECT_FALSE(log_names(setting, "at a packet"));
	check_told(_metadata, self->events, false);
	EXPECT_EQ(0, gpu_works(self->other));
}

TEST_HARNESS_MAIN
