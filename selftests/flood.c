// SPDX-License-Identifier: GPL-2.0
/*
 * Clients flood nodes with null packets while a compositor flips. The packets of clients
 * do not stop the driver's, and when the clients are gone everything moves as before.
 *
 * Environment: see rust_gpu_test.h
 */
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "display_kms.h"
#include "kernel_log.h"
#include "rust_gpu_test.h"

#define CLIENTS		4
#define FILES		2
/* So many calls fill a node. */
#define FILL_CALLS	20
#define FRAMES		2
#define DEBUGFS		"/sys/kernel/debug/rust_gpu/"
/* Flips beside clients that flood, and as many beside clients that burn CPU, in turns. */
#define ROUNDS		gpu_rounds(2, 6)
#define FLIPS		100
/*
 * How many flips more may miss their vblank beside a flood, and how much later they may
 * come, on a busy host as well. With a device that is left without work by a flood each
 * flip misses 59.
 */
#define MISSED		(FLIPS * ROUNDS)
#define LATE_NS		(500 * NSEC_PER_MSEC)
/* How long the control queue may stand still although packets wait, on a busy host. */
#define STILL_NS	(300 * NSEC_PER_MSEC)
/*
 * What clients may have in a ring at a time: this part of the control queue, and so many
 * packets in the cursor queue. And what the driver may have beside that.
 */
#define CONTROL_PART(size)	((size) * 3 / 4)
#define CURSOR_PACKETS	4
#define DRIVER_PACKETS	8
#define SAMPLE_NS	(20 * NSEC_PER_MSEC)

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
	REQUIRE(return, !access(DEBUGFS, F_OK), "no debugfs");
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

/* What the clients of a round do. */
enum work {
	/* They only burn CPU. */
	BURN,
	/* One floods the control node and one the cursor node, the others the software node. */
	FLOOD_ALL,
	/* The control node is filled only once. Then all flood the software node. */
	FLOOD_SOFTWARE,
};

/*
 * Submits as many packets as it can until *@stop, and at most @calls times. Has several
 * files, as each may have a limited number of packets under way. Returns 0, or an error
 * of another kind than a full queue.
 */
static int flood(const char *render, __u32 node, unsigned int calls, const bool *stop)
{
	int files[FILES], i, ret = 0;
	__u64 fence;

	for (i = 0; i < FILES; i++) {
		files[i] = open(render, O_RDWR | O_CLOEXEC);
		if (files[i] < 0)
			return errno;
	}
	while (calls-- && !__atomic_load_n(stop, __ATOMIC_RELAXED) && (ret >= 0 || ret == -EAGAIN))
		ret = gpu_submit(files[calls % FILES], node, RUST_GPU_SUBMIT_MAX_COUNT,
				 RUST_GPU_SUBMIT_NONBLOCK, &fence);
	for (i = 0; i < FILES; i++)
		close(files[i]);
	return ret < 0 && ret != -EAGAIN ? -ret : 0;
}

/* A client. Returns 0 or an error. */
static int work(const char *render, enum work work, int number, const bool *stop)
{
	static const __u32 nodes[CLIENTS] = { RUST_GPU_NODE_CONTROL, RUST_GPU_NODE_CURSOR };
	__u32 node = number < 2 ? nodes[number] : RUST_GPU_NODE_SOFTWARE;
	int ret = 0;

	while (work == BURN && !__atomic_load_n(stop, __ATOMIC_RELAXED))
		;
	if (work == BURN)
		return 0;
	if (work == FLOOD_SOFTWARE && node != RUST_GPU_NODE_SOFTWARE) {
		ret = flood(render, node, FILL_CALLS, stop);
		node = RUST_GPU_NODE_SOFTWARE;
	}
	return ret ? ret : flood(render, node, UINT_MAX, stop);
}

/* Looks at the queues. */
struct sampler {
	char nodes[PATH_MAX], control[PATH_MAX], cursor[PATH_MAX];
	pthread_t thread;
	bool stop;
	int ret;
	/* The longest time that packets waited while the device had none. */
	__s64 still_ns;
	/* The most that the device had. */
	__s64 most_control, most_cursor;
};

static void *sample(void *arg)
{
	const struct sched_param param = { .sched_priority = 1 };
	struct sampler *sampler = arg;
	__s64 since = 0, last = -1;

	/* It has to see the queues in time, beside what burns the CPUs. */
	sampler->ret = sched_setscheduler(0, SCHED_RR, &param);
	while (!__atomic_load_n(&sampler->stop, __ATOMIC_RELAXED)) {
		long long completed = -1, queued = 0;
		__s64 now = now_ns(), in_flight;
		char text[4096], *line;

		if (read_file(sampler->nodes, text, sizeof(text)) > 0) {
			line = strstr(text, "Control ");
			if (line)
				sscanf(line, "Control %*d %*d %lld %lld", &completed, &queued);
		}
		in_flight = file_number(sampler->control, "in flight: ");
		/* The two files are read at different times, so nothing may have completed. */
		if (!queued || completed != last || in_flight)
			since = 0;
		else if (!since)
			since = now;
		last = completed;
		sampler->still_ns = larger(sampler->still_ns, since ? now - since : 0);
		sampler->most_control = larger(sampler->most_control, in_flight);
		in_flight = file_number(sampler->cursor, "in flight: ");
		sampler->most_cursor = larger(sampler->most_cursor, in_flight);
		sleep_ns(SAMPLE_NS);
	}
	return NULL;
}

/* What flips beside clients were like. */
struct pace {
	unsigned int missed;
	__u32 longest;	/* in vblanks */
};

/* Flips beside clients. Returns 0 or -errno. */
static int flip_beside(const char *render, const struct display *display,
		       const struct frame *frames, enum work kind, struct pace *pace)
{
	struct drm_event_vblank event;
	pid_t children[CLIENTS];
	unsigned int i;
	__u32 last = 0;
	int ret = 0, status;
	bool *stop = mmap(NULL, sizeof(*stop), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			  -1, 0);

	if (stop == MAP_FAILED)
		return -errno;
	for (i = 0; i < CLIENTS; i++) {
		children[i] = fork();
		if (!children[i])
			_exit(work(render, kind, i, stop));
	}
	for (i = 0; !ret && i <= FLIPS; i++) {
		ret = flip_and_wait(display, frames[i % FRAMES].fb, 0, &event);
		if (ret)
			break;
		/* The first one only begins. */
		if (i && event.sequence - last > pace->longest)
			pace->longest = event.sequence - last;
		if (i)
			pace->missed += event.sequence - last - 1;
		last = event.sequence;
	}
	__atomic_store_n(stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < CLIENTS; i++) {
		if (children[i] < 0 || waitpid(children[i], &status, 0) != children[i])
			ret = -ECHILD;
		else if (!WIFEXITED(status) || WEXITSTATUS(status))
			ret = -WEXITSTATUS(status);
	}
	munmap(stop, sizeof(*stop));
	return ret;
}

/* Returns how long a vblank is, in ns. */
static __s64 vblank_ns(const struct display *display)
{
	const struct drm_mode_modeinfo *mode = &display->mode;

	return mode->htotal * mode->vtotal * 1000000LL / mode->clock;
}

TEST_F_TIMEOUT(flood, does_not_stop_flips, 300)
{
	/* As compositors have it: the flips wait for no client's turn. */
	const struct sched_param param = { .sched_priority = 1 };
	const char *render = self->gpu.render;
	struct pace burnt = {}, flooded = {};
	struct drm_event_vblank event;
	struct sampler sampler = {};
	unsigned int i;
	__s64 size;

	snprintf(sampler.nodes, PATH_MAX, DEBUGFS "%s/nodes", self->gpu.pci);
	snprintf(sampler.control, PATH_MAX, DEBUGFS "%s/ring_control", self->gpu.pci);
	snprintf(sampler.cursor, PATH_MAX, DEBUGFS "%s/ring_cursor", self->gpu.pci);
	size = file_number(sampler.control, "size: ");
	ASSERT_LT(0, size);
	ASSERT_EQ(0, pthread_create(&sampler.thread, NULL, sample, &sampler));
	ASSERT_EQ(0, sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &param));
	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, flip_beside(render, &self->display, self->frames, BURN, &burnt));
		ASSERT_EQ(0, flip_beside(render, &self->display, self->frames,
					 i % 2 ? FLOOD_SOFTWARE : FLOOD_ALL, &flooded));
	}
	__atomic_store_n(&sampler.stop, true, __ATOMIC_RELAXED);
	pthread_join(sampler.thread, NULL);
	EXPECT_EQ(0, sampler.ret);
	TH_LOG("%u flips beside a flood: %u vblanks missed, longest %u; beside a load: %u, %u",
	       ROUNDS * FLIPS, flooded.missed, flooded.longest, burnt.missed, burnt.longest);
	TH_LOG("queue still for %lld ms; at most %lld of %lld in flight, in the cursor queue %lld",
	       sampler.still_ns / NSEC_PER_MSEC, sampler.most_control, size, sampler.most_cursor);
	EXPECT_LE(flooded.missed, burnt.missed + MISSED);
	EXPECT_LE((__s64)flooded.longest - burnt.longest, LATE_NS / vblank_ns(&self->display));
	EXPECT_LE(sampler.still_ns, STILL_NS);
	EXPECT_LE(sampler.most_control, CONTROL_PART(size) + DRIVER_PACKETS);
	EXPECT_LE(sampler.most_cursor, CURSOR_PACKETS + DRIVER_PACKETS / 2);

	/* All that was submitted is executed, and there is room again. */
	EXPECT_EQ(0, gpu_quiesce(self->fd));
	EXPECT_EQ(0, gpu_works(self->fd));
	for (i = 0; i < 10; i++)
		EXPECT_EQ(0, flip_and_wait(&self->display, self->frames[i % FRAMES].fb, 0, &event));
	EXPECT_EQ(0, count_records(self->log));
}

TEST_HARNESS_MAIN
