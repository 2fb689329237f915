// SPDX-License-Identifier: GPL-2.0
/*
 * With the default parameters a device that works is never reset, although for a while it
 * looks like one that hangs: the machine is stopped, sleeps, or is busy.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include "kselftest_harness.h"
#include "display_scene.h"
#include "counters.h"
#include "kernel_log.h"
#include "tdr.h"

#define PAUSE_S		gpu_rounds(10, 30)
#define LOAD_S		gpu_rounds(10, 60)
/* Flips afterwards. */
#define FLIPS		20
/* Until the commands that were in flight are answered, and a clock has looked. */
#define CALM_NS		(3 * NSEC_PER_SEC)

static struct scene scene;
static struct frame other;

FIXTURE(patient)
{
	struct gpu gpu;
	struct watchdog before;
	int log;
	pid_t child;
};

/* Flips until it is killed. */
static void flip_for_ever(void)
{
	struct drm_event_vblank event;
	unsigned int i;

	for (i = 0; ; i++) {
		if (flip_and_wait(&scene.display, i % 2 ? other.fb : scene.frame.fb, 0, &event))
			_exit(1);
	}
}

FIXTURE_SETUP(patient)
{
	const char *reason = scene_open(&scene);

	REQUIRE(return, !reason, reason);
	REQUIRE(return, gpu_find(&self->gpu), NO_GPU);
	ASSERT_EQ(0, frame_create(scene.display.fd, &other, scene.picture.width,
				  scene.picture.height));
	ASSERT_EQ(0, scene_show(&scene, 1));
	ASSERT_EQ(0, tdr_level(TDR_RECOVER));
	ASSERT_EQ(0, tdr_set("delay_ms", TDR_DELAY_MS));
	self->log = log_open();
	ASSERT_GE(self->log, 0);
	self->before = read_watchdog(&self->gpu);
	self->child = fork();
	if (!self->child)
		flip_for_ever();
	ASSERT_LT(0, self->child);
	sleep_ns(NSEC_PER_SEC);
}

FIXTURE_TEARDOWN(patient)
{
	kill(self->child, SIGKILL);
	waitpid(self->child, NULL, 0);
	frame_destroy(scene.display.fd, &other);
	scene_close(&scene);
	close(self->log);
}

/* Nothing was reset, nobody got an error, and the screen works. */
static void check_patient(struct __test_metadata *_metadata, const struct gpu *gpu,
			  const struct watchdog *before, int log, pid_t child)
{
	struct drm_event_vblank event;
	struct watchdog after;
	unsigned int i;

	sleep_ns(CALM_NS);
	EXPECT_EQ(0, waitpid(child, NULL, WNOHANG));
	kill(child, SIGKILL);
	/* Its last flip. */
	while (!read_event(scene.display.fd, &event, 2000))
		;
	for (i = 0; i < FLIPS; i++)
		EXPECT_EQ(0, flip_and_wait(&scene.display, i % 2 ? other.fb : scene.frame.fb, 0,
					   &event));
	EXPECT_EQ(0, scene_show(&scene, 2));
	after = read_watchdog(gpu);
	EXPECT_EQ(before->recoveries, after.recoveries);
	EXPECT_EQ(before->resets, after.resets);
	EXPECT_EQ(0, after.stalled);
	EXPECT_EQ(0, count_records(log));
	TH_LOG("%lld stalls, %lld lost kicks, %lld lost interrupts", after.stalls - before->stalls,
	       after.lost_kicks - before->lost_kicks,
	       after.lost_interrupts - before->lost_interrupts);
}

static int ask_host(const char *request, unsigned int seconds)
{
	char answer[64];

	return screen_ask(scene.screen, answer, sizeof(answer), "%s %u", request, seconds);
}

TEST_F_TIMEOUT(patient, while_the_guest_is_stopped, 300)
{
	ASSERT_EQ(0, ask_host("pause stop", PAUSE_S));
	check_patient(_metadata, &self->gpu, &self->before, self->log, self->child);
}

TEST_F_TIMEOUT(patient, while_qemu_is_stopped, 300)
{
	ASSERT_EQ(0, ask_host("pause freeze", PAUSE_S));
	check_patient(_metadata, &self->gpu, &self->before, self->log, self->child);
}

TEST_F_TIMEOUT(patient, while_the_host_is_busy, 300)
{
	ASSERT_EQ(0, ask_host("load 8", LOAD_S));
	sleep_ns(LOAD_S * NSEC_PER_SEC);
	check_patient(_metadata, &self->gpu, &self->before, self->log, self->child);
}

TEST_F_TIMEOUT(patient, while_the_system_sleeps, 300)
{
	const char *delay = "/sys/module/suspend/parameters/pm_test_delay";

	if (access("/sys/power/pm_test", W_OK) || write_file(delay, path("%u", PAUSE_S)))
		SKIP(return, "no CONFIG_PM_DEBUG");
	ASSERT_EQ(0, write_file("/sys/power/pm_test", "devices"));
	EXPECT_EQ(0, write_file("/sys/power/state", "mem"));
	write_file("/sys/power/pm_test", "none");
	write_file(delay, "5");
	check_patient(_metadata, &self->gpu, &self->before, self->log, self->child);
}

TEST_HARNESS_MAIN
