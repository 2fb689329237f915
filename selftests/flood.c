// SPDX-License-Identifier: GPL-2.0
/*
 * Clients flood nodes with null packets while a compositor flips. The packets of clients
 * do not stop the driver's, and when the clients are gone everything moves as before.
 */
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "display_kms.h"
#include "kernel_log.h"
#include "rust_gpu_test.h"

#define FLOODERS	4
#define FILES		2
#define CALLS		64
#define SECONDS		6
/* The control node is full for a part of the time. */
#define CONTROL_SECONDS	3
#define FRAMES		2

FIXTURE(flood)
{
	struct gpu gpu;
	struct display display;
	struct frame frames[FRAMES];
	int fd, log;
};

FIXTURE_SETUP(flood)
{
	const char *reason;
	int i;

	self->log = -1;
	self->fd = -1;
	self->display.fd = -1;
	reason = gpu_open(&self->gpu, GPU_RENDER, &self->fd);
	REQUIRE(return, !reason, reason);
	ASSERT_GE(self->fd, 0);
	reason = display_open(&self->display);
	REQUIRE(return, !reason, reason);
	for (i = 0; i < FRAMES; i++) {
		ASSERT_EQ(0, frame_create(self->display.fd, &self->frames[i],
					  self->display.mode.hdisplay,
					  self->display.mode.vdisplay));
	}
	ASSERT_EQ(0, set_crtc(&self->display, self->frames[0].fb, &self->display.mode, 0, 0));
	self->log = log_open();
	ASSERT_GE(self->log, 0);
}

FIXTURE_TEARDOWN(flood)
{
	int i;

	for (i = 0; i < FRAMES && self->display.fd >= 0; i++)
		frame_destroy(self->display.fd, &self->frames[i]);
	if (self->display.fd >= 0)
		close(self->display.fd);
	if (self->log >= 0)
		close(self->log);
	if (self->fd >= 0)
		close(self->fd);
}

/*
 * A client that submits as many packets as it can. It has several files, as each may have
 * a limited number of packets under way. Returns 0, or an error of another kind than a
 * full queue.
 */
static int flood(const char *render, __u32 node, unsigned int seconds)
{
	const __s64 end = now_ns() + seconds * NSEC_PER_SEC;
	int files[FILES], i, ret;
	__u64 fence;

	for (i = 0; i < FILES; i++) {
		files[i] = open(render, O_RDWR | O_CLOEXEC);
		if (files[i] < 0)
			return errno;
	}
	while (now_ns() < end) {
		for (i = 0; i < CALLS; i++) {
			ret = gpu_submit(files[i % FILES], node, RUST_GPU_SUBMIT_MAX_COUNT,
					 RUST_GPU_SUBMIT_NONBLOCK, &fence);
			if (ret < 0 && ret != -EAGAIN)
				return -ret;
		}
	}
	return 0;
}

/* Starts the clients: one for the control node, the others for the software node. */
static bool start_flooders(const char *render, pid_t *children)
{
	int i;

	for (i = 0; i < FLOODERS; i++) {
		children[i] = fork();
		if (children[i] < 0)
			return false;
		if (!children[i])
			_exit(i ? flood(render, RUST_GPU_NODE_SOFTWARE, SECONDS) :
				  flood(render, RUST_GPU_NODE_CONTROL, CONTROL_SECONDS));
	}
	return true;
}

TEST_F_TIMEOUT(flood, leaves_nothing_behind, 180)
{
	const __s64 end = now_ns() + SECONDS * NSEC_PER_SEC;
	struct drm_event_vblank event;
	pid_t children[FLOODERS];
	unsigned int flips = 0;
	int status, i;

	ASSERT_TRUE(start_flooders(self->gpu.render, children));
	for (; now_ns() < end; flips++) {
		ASSERT_EQ(0, flip_and_wait(&self->display, self->frames[flips % FRAMES].fb, 0,
					   &event));
	}
	for (i = 0; i < FLOODERS; i++) {
		ASSERT_EQ(children[i], waitpid(children[i], &status, 0));
		EXPECT_TRUE(WIFEXITED(status));
		EXPECT_EQ(0, WEXITSTATUS(status)) TH_LOG("client %d", i);
	}
	TH_LOG("%u flips", flips);

	/* All that was submitted is executed, and there is room again. */
	EXPECT_EQ(0, gpu_quiesce(self->fd));
	EXPECT_EQ(0, gpu_works(self->fd));
	for (i = 0; i < 10; i++)
		EXPECT_EQ(0, flip_and_wait(&self->display, self->frames[i % FRAMES].fb, 0, &event));
	EXPECT_EQ(0, count_records(self->log));
}

TEST_HARNESS_MAIN
