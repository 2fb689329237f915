// SPDX-License-Identifier: GPL-2.0
/*
 * A device stops for a while, and forgets that it was kicked; or its interrupts get lost.
 * The driver finds that out and makes up for it. It counts what it found, and finds
 * nothing on a device that works.
 *
 * Environment: see rust_gpu_test.h
 */
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

#include "kselftest_harness.h"
#include "display_kms.h"
#include "pci_function.h"
#include "rust_gpu_test.h"
#include "counters.h"
#include "tdr.h"

#define FRAMES		2
/* A device that works is used for a while, and then it is idle, again and again. */
#define HEALTHY_ROUNDS	gpu_rounds(1, 40)
#define WORK_NS		(10 * NSEC_PER_SEC)
/* Longer than the ticks that the clock has left after that, and how long there are none. */
#define LAST_TICKS_NS	(2 * NSEC_PER_SEC)
#define IDLE_NS		(3 * NSEC_PER_SEC)
#define MAX_CPUS	64
/* A CPU that the host did not let run for so long took no interrupt meanwhile. */
#define PAUSE_NS	(200 * NSEC_PER_MSEC)
#define LOOK_NS		(20 * NSEC_PER_MSEC)
#define STALL_NS	(3 * NSEC_PER_SEC)
#define STALLS		2
/* A flip that takes longer was not on the screen when its event came. */
#define SLOW_VBLANKS	(FLIP_TIMEOUT_VBLANKS / 2)
/* So many flips may be slow until the driver has kicked a device that is there again. */
#define SLOW_FLIPS	3
#define QUICK_FLIPS	20
#define LOST		5

FIXTURE(stall)
{
	struct gpu gpu;
	struct drm_rust_gpu_device_info info;
	struct display display;
	struct frame frames[FRAMES], cursor;
	unsigned int flips;
	int fd;
};

FIXTURE_SETUP(stall)
{
	const char *reason;
	int i;

	self->fd = -1;
	self->display.fd = -1;
	reason = gpu_open(&self->gpu, GPU_RENDER, &self->fd);
	REQUIRE(return, !reason, reason);
	ASSERT_GE(self->fd, 0);
	REQUIRE(return, !access("/sys/kernel/debug/rust_gpu", F_OK), "no debugfs");
	ASSERT_EQ(0, gpu_info(self->fd, &self->info));
	reason = display_open(&self->display);
	REQUIRE(return, !reason, reason);
	for (i = 0; i < FRAMES; i++)
		ASSERT_EQ(0, frame_create(self->display.fd, &self->frames[i],
					  self->display.mode.hdisplay,
					  self->display.mode.vdisplay));
	ASSERT_EQ(0, buffer_create(self->display.fd, &self->cursor, CURSOR_SIDE, CURSOR_SIDE));
	ASSERT_EQ(0, set_crtc(&self->display, self->frames[0].fb, &self->display.mode, 0, 0));
}

FIXTURE_TEARDOWN(stall)
{
	int i;

	/* Also after a test that failed. */
	set_bus_master(&self->gpu, true);
	tdr_level(TDR_RECOVER);
	if (self->display.fd >= 0) {
		for (i = 0; i < FRAMES; i++)
			frame_destroy(self->display.fd, &self->frames[i]);
		frame_destroy(self->display.fd, &self->cursor);
		close(self->display.fd);
	}
	if (self->fd >= 0)
		close(self->fd);
}

/* Flips to the other frame. *@vblanks gets how many vblanks that took. Returns 0 or -errno. */
static int flip(const struct display *display, const struct frame *frames, unsigned int *flips,
		__u32 *vblanks)
{
	struct drm_event_vblank event;
	__u32 before;
	int ret = crtc_sequence(display, &before);

	if (!ret)
		ret = flip_and_wait(display, frames[++*flips % FRAMES].fb, 0, &event);
	*vblanks = event.sequence - before;
	return ret;
}

/* Burns a CPU each. Returns how many there are. */
static unsigned int start_hogs(pid_t *hogs)
{
	unsigned int i;

	for (i = 0; i < cpus_online() && i < MAX_CPUS; i++) {
		hogs[i] = fork();
		if (hogs[i] < 0)
			break;
		if (!hogs[i]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				;
		}
	}
	return i;
}

/* Looks whether a CPU runs. */
struct pulse {
	pthread_t thread;
	unsigned int cpu, pauses;
	__s64 longest;
	bool stop;
};

static void *feel(void *arg)
{
	/* Before the threads of interrupts. */
	const struct sched_param param = { .sched_priority = 60 };
	struct pulse *pulse = arg;
	__s64 last, gap;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(pulse->cpu, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	sched_setscheduler(0, SCHED_FIFO, &param);
	for (last = now_ns(); !__atomic_load_n(&pulse->stop, __ATOMIC_RELAXED); last += gap) {
		sleep_ns(LOOK_NS);
		gap = now_ns() - last;
		pulse->longest = larger(pulse->longest, gap);
		pulse->pauses += gap > PAUSE_NS;
	}
	return NULL;
}

/* Flips, moves the cursor and submits packets for so long. Returns 0 or -errno. */
static int use_all(const struct display *display, const struct frame *frames, int fd,
		   unsigned int *flips, __s64 ns)
{
	const __s64 end = now_ns() + ns;
	__u32 node, vblanks;
	__u64 fence;
	int ret = 0;

	while (!ret && now_ns() < end) {
		ret = flip(display, frames, flips, &vblanks);
		if (!ret)
			ret = cursor_set(display, DRM_MODE_CURSOR_MOVE, 0, *flips % 100,
					 *flips % 200);
		for (node = 0; !ret && node < GPU_NULL_NODES; node++) {
			ret = gpu_submit(fd, node, 1 + *flips % 64, 0, &fence);
			ret = ret > 0 ? 0 : ret;
		}
	}
	return ret;
}

/* On a device that works nothing is found, and the clock stops with the work. */
TEST_F_TIMEOUT(stall, is_not_seen_on_a_healthy_device, 1200)
{
	const struct watchdog before = read_watchdog(&self->gpu);
	unsigned int round, count, i, pauses = 0;
	struct pulse pulses[MAX_CPUS] = {};
	pid_t hogs[MAX_CPUS];
	struct watchdog after;
	__s64 ticks;

	ASSERT_GE(before.ticks, 0);
	ASSERT_EQ(0, cursor_set(&self->display, DRM_MODE_CURSOR_BO, self->cursor.handle, 0, 0));
	count = start_hogs(hogs);
	EXPECT_LT(0, count);
	for (i = 0; i < count; i++) {
		pulses[i].cpu = i;
		ASSERT_EQ(0, pthread_create(&pulses[i].thread, NULL, feel, &pulses[i]));
	}
	for (round = 0; round < HEALTHY_ROUNDS; round++) {
		EXPECT_EQ(0, use_all(&self->display, self->frames, self->fd, &self->flips,
				     WORK_NS));
		EXPECT_EQ(0, gpu_calm(self->fd));
		sleep_ns(LAST_TICKS_NS);
		ticks = read_watchdog(&self->gpu).ticks;
		sleep_ns(IDLE_NS);
		EXPECT_EQ(ticks, read_watchdog(&self->gpu).ticks) TH_LOG("round %u", round);
	}
	after = read_watchdog(&self->gpu);
	for (i = 0; i < count; i++) {
		kill(hogs[i], SIGKILL);
		waitpid(hogs[i], NULL, 0);
		__atomic_store_n(&pulses[i].stop, true, __ATOMIC_RELAXED);
		pthread_join(pulses[i].thread, NULL);
		pauses += pulses[i].pauses;
		TH_LOG("CPU %u: %u pauses, longest %lld ms", i, pulses[i].pauses,
		       pulses[i].longest / NSEC_PER_MSEC);
	}
	TH_LOG("%u flips, %lld ticks, %lld stalls, %lld lost interrupts, %lld lost kicks",
	       self->flips, after.ticks - before.ticks, after.stalls - before.stalls,
	       after.lost_interrupts - before.lost_interrupts,
	       after.lost_kicks - before.lost_kicks);
	EXPECT_EQ(0, after.stalled);
	EXPECT_EQ(before.stalls, after.stalls);
	EXPECT_LE(after.lost_interrupts, before.lost_interrupts + pauses);
	EXPECT_EQ(before.lost_kicks, after.lost_kicks);
	EXPECT_EQ(before.resets, after.resets);
	EXPECT_EQ(before.recoveries, after.recoveries);
	EXPECT_GT(after.ticks, before.ticks);
}

/* A kick gets lost while the device is stopped. When it is there again flips go on. */
TEST_F_TIMEOUT(stall, ends_when_the_device_goes_on, 180)
{
	struct watchdog before, after;
	__u32 vblanks, slow;
	__s64 end;
	int i, j;

	ASSERT_EQ(0, tdr_level(TDR_LOOK));
	for (i = 0; i < STALLS; i++) {
		ASSERT_EQ(0, gpu_quiesce(self->fd));
		before = read_watchdog(&self->gpu);
		ASSERT_EQ(0, set_bus_master(&self->gpu, false));
		end = now_ns() + STALL_NS;
		while (now_ns() < end)
			ASSERT_EQ(0, flip(&self->display, self->frames, &self->flips, &vblanks));
		after = read_watchdog(&self->gpu);
		EXPECT_EQ(1, after.stalled);
		EXPECT_EQ(before.stalls + 1, after.stalls);
		EXPECT_EQ(before.lost_kicks, after.lost_kicks);
		EXPECT_EQ(before.resets + 1, after.resets);

		ASSERT_EQ(0, set_bus_master(&self->gpu, true));
		for (slow = 0; slow <= SLOW_FLIPS; slow++) {
			ASSERT_EQ(0, flip(&self->display, self->frames, &self->flips, &vblanks));
			if (vblanks < SLOW_VBLANKS)
				break;
		}
		EXPECT_LE(slow, SLOW_FLIPS);
		for (j = 0; j < QUICK_FLIPS; j++) {
			ASSERT_EQ(0, flip(&self->display, self->frames, &self->flips, &vblanks));
			EXPECT_LT(vblanks, SLOW_VBLANKS);
		}
		/* Until the next tick, which sees that it is over. */
		sleep_ns(NSEC_PER_SEC);
		after = read_watchdog(&self->gpu);
		EXPECT_EQ(0, after.stalled);
		EXPECT_EQ(before.stalls + 1, after.stalls);
		EXPECT_EQ(before.lost_kicks + 1, after.lost_kicks);
		EXPECT_EQ(before.lost_interrupts, after.lost_interrupts);
	}
	EXPECT_EQ(0, gpu_works(self->fd));
}

/* The device interrupts and nobody hears it. Waiters learn that their packets are done. */
TEST_F_TIMEOUT(stall, lost_interrupts_are_found, 120)
{
	struct watchdog before, after = {};
	__u8 *vectors, *control;
	__u64 fence;
	__s64 end;
	int i;

	if (self->info.config_message == self->info.control_message)
		SKIP(return, "the control queue has no interrupt of its own");
	vectors = map_vectors(&self->gpu);
	if (!vectors)
		SKIP(return, "no MSI-X table");
	control = vectors + self->info.control_message * MSIX_ENTRY_SIZE + MSIX_VECTOR_CONTROL;
	ASSERT_EQ(0, gpu_calm(self->fd));
	before = read_watchdog(&self->gpu);
	__atomic_store_n((__u32 *)control, MSIX_MASKED, __ATOMIC_RELEASE);
	for (i = 0; i < LOST; i++) {
		ASSERT_EQ(1, gpu_submit(self->fd, RUST_GPU_NODE_CONTROL, 1, 0, &fence));
		EXPECT_EQ(0, gpu_wait_fence(self->fd, RUST_GPU_NODE_CONTROL, fence,
					    now_ns() + GPU_PATIENCE_NS));
	}
	__atomic_store_n((__u32 *)control, 0, __ATOMIC_RELEASE);
	/* They are counted after those who wait are woken. */
	for (end = now_ns() + GPU_PATIENCE_NS; now_ns() < end; sleep_ns(NSEC_PER_MSEC)) {
		after = read_watchdog(&self->gpu);
		if (after.lost_interrupts >= before.lost_interrupts + LOST)
			break;
	}
	EXPECT_EQ(before.lost_interrupts + LOST, after.lost_interrupts);
	EXPECT_EQ(before.lost_kicks, after.lost_kicks);
	EXPECT_EQ(before.stalls, after.stalls);
	unmap_structure(vectors);
	EXPECT_EQ(0, gpu_works(self->fd));
}

TEST_HARNESS_MAIN
