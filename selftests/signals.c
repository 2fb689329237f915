// SPDX-License-Identifier: GPL-2.0
/*
 * Signals in the middle of commits, and other clients that come, go and are killed,
 * with a device that takes its time: no commit fails, no frame is lost, and no event
 * comes before its frame.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include <pthread.h>
#include <sys/prctl.h>

#include "kselftest_harness.h"
#include "display_device.h"
#include "display_request.h"
#include "display_scene.h"

/* So long the device takes for each command. */
#define COMMAND_MS	20
#define COMMITS		gpu_rounds(60, 1000)
/* A signal is sent so often, and at least so many come in each commit. */
#define SIGNAL_NS	NSEC_PER_MSEC
#define SIGNALS		5
/* Flips beside strangers, and how often these open the card, and are killed. */
#define FLIPS		gpu_rounds(60, 600)
#define OPENS		gpu_rounds(100, 1000)
#define KILLS		gpu_rounds(10, 100)
#define FRAMES		2

/* Each test is a process of its own. */
static struct scene scene;
static struct frame frames[FRAMES];
static unsigned int signals;

FIXTURE(signals)
{
};

FIXTURE_SETUP(signals)
{
	const char *reason = scene_open(&scene);
	unsigned int i;

	REQUIRE(return, !reason, reason);
	REQUIRE(return, device_state(scene.screen, "commands") >= 0, NO_OWN_DEVICE);
	ASSERT_NE(0, scene.frame.fb);
	ASSERT_EQ(0, set_client_cap(scene.display.fd, DRM_CLIENT_CAP_ATOMIC));
	ASSERT_EQ(0, scene_show(&scene, 1));
	for (i = 0; i < FRAMES; i++)
		ASSERT_EQ(0, frame_create(scene.display.fd, &frames[i], scene.picture.width,
					  scene.picture.height));
	ASSERT_EQ(0, device_ask(scene.screen, "slow any %u", COMMAND_MS));
}

FIXTURE_TEARDOWN(signals)
{
	unsigned int i;

	EXPECT_EQ(0, device_resume(scene.screen));
	EXPECT_TRUE(device_is_sound(scene.screen));
	for (i = 0; i < FRAMES; i++)
		frame_destroy(scene.display.fd, &frames[i]);
	scene_close(&scene);
}

static void on_signal(int signal)
{
	(void)signal;
	__atomic_add_fetch(&signals, 1, __ATOMIC_RELAXED);
}

static unsigned int count_signals(void)
{
	return __atomic_load_n(&signals, __ATOMIC_RELAXED);
}

/* Sends signals, of which none replaces another, to a thread. */
struct sender {
	pthread_t from, to;
	bool stop;
};

static void *send_signals(void *arg)
{
	struct sender *sender = arg;

	while (!__atomic_load_n(&sender->stop, __ATOMIC_RELAXED)) {
		pthread_kill(sender->to, SIGRTMIN);
		sleep_ns(SIGNAL_NS);
	}
	return NULL;
}

/* Shows a frame, in one of three ways. Returns 0 or -errno when it is on the screen. */
static int commit(unsigned int number)
{
	const struct display *display = &scene.display;
	const struct frame *frame = &frames[number / 3 % FRAMES];
	struct request request = {};

	switch (number % 3) {
	case 0:
		request_set(&request, display, display->primary, "FB_ID", frame->fb);
		return request_commit(display, &request, 0, 0);
	case 1:
		return dirty_fb(display->fd, frame->fb, NULL, 0);
	default:
		return set_crtc(display, frame->fb, &display->mode, 0, 0);
	}
}

TEST_F_TIMEOUT(signals, lose_no_commit, 300)
{
	const struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct sender sender = { .to = pthread_self() };
	unsigned int i, failed = 0, disturbed = 0;
	__s64 flushes = -device_count(scene.screen, "flush");
	int ret, error = 0;

	ASSERT_EQ(0, sigaction(SIGRTMIN, &action, NULL));
	ASSERT_EQ(0, pthread_create(&sender.from, NULL, send_signals, &sender));
	/* The sender may be late on a busy host. */
	for (i = 0; disturbed < COMMITS && i < 2 * COMMITS; i++) {
		unsigned int before = count_signals();

		ret = commit(i);
		if (ret) {
			failed++;
			error = ret;
		}
		disturbed += count_signals() - before >= SIGNALS;
	}
	__atomic_store_n(&sender.stop, true, __ATOMIC_RELAXED);
	pthread_join(sender.from, NULL);
	flushes += device_count(scene.screen, "flush");
	TH_LOG("%u commits, %u with %d signals or more, %lld flushes, %u signals", i, disturbed,
	       SIGNALS, flushes, count_signals());
	EXPECT_EQ(0, failed) TH_LOG("error %d", error);
	EXPECT_EQ(COMMITS, disturbed);
	EXPECT_LE(i, flushes);

	picture_fill(&scene.picture, 2);
	frame_draw(&frames[0], &scene.picture);
	EXPECT_EQ(0, commit(0));
	EXPECT_TRUE(scene_shows(&scene, "signals"));
}

/* Opens the card and makes a framebuffer. Returns the descriptor or -errno. */
static int be_stranger(void)
{
	int fd = open(scene.display.card, O_RDWR | O_CLOEXEC);
	struct frame frame;
	int ret;

	if (fd < 0)
		return -errno;
	ret = frame_create(fd, &frame, CURSOR_SIDE, CURSOR_SIDE);
	return ret ? ret : fd;
}

/* Opens and closes the card. Returns whether it could. */
static bool come_and_go(void)
{
	unsigned int i;
	int fd;

	for (i = 0; i < OPENS; i++) {
		fd = be_stranger();
		if (fd < 0)
			return false;
		close(fd);
	}
	return true;
}

/* Kills processes that opened the card. Returns whether it could. */
static bool kill_others(void)
{
	unsigned int i;
	int status;
	pid_t child;

	for (i = 0; i < KILLS; i++) {
		child = fork();
		if (!child) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (be_stranger() >= 0)
				pause();
			_exit(1);
		}
		sleep_ns((20 + i % 7 * 10) * NSEC_PER_MSEC);
		if (child < 0 || kill(child, SIGKILL) || waitpid(child, &status, 0) != child ||
		    !WIFSIGNALED(status))
			return false;
	}
	return true;
}

/* Starts a process. Returns its number, or -1. */
static pid_t start(bool (*run)(void))
{
	pid_t child = fork();

	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* The display stays the parent's. */
		close(scene.display.fd);
		_exit(!run());
	}
	return child;
}

static bool ended_well(pid_t child)
{
	int status;

	return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
	       !WEXITSTATUS(status);
}

TEST_F_TIMEOUT(signals, strangers_send_no_event, 300)
{
	const pid_t going = start(come_and_go), killed = start(kill_others);
	const __s64 before = device_count(scene.screen, "flush");
	struct drm_event_vblank event;
	unsigned int i, early = 0;

	for (i = 1; i <= FLIPS; i++) {
		ASSERT_EQ(0, flip_and_wait(&scene.display, frames[i % FRAMES].fb, 0, &event));
		early += device_count(scene.screen, "flush") - before < i;
	}
	TH_LOG("%u flips, %u early events", FLIPS, early);
	EXPECT_EQ(0, early);
	EXPECT_TRUE(ended_well(going));
	EXPECT_TRUE(ended_well(killed));
}

TEST_HARNESS_MAIN
