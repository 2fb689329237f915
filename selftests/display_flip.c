// SPDX-License-Identifier: GPL-2.0
/*
 * Flips wait for a vblank, asynchronous flips do not. Vblanks are reported to the
 * scheduler as long as somebody waits for them.
 *
 * Environment: see display_screen.h
 */
#include <pthread.h>

#include "kselftest_harness.h"
#include "display_request.h"
#include "interrupts.h"

#define FLIPS		20
/* Longer than a few asynchronous flips take, on a busy host as well. */
#define FRAME_MS	250
#define FRAME_NS	(FRAME_MS * NSEC_PER_MSEC)
/* So many asynchronous flips in a row fit into two frames, at least once in ROUNDS rounds. */
#define WINDOW		3
#define ROUNDS		10
/* Commands of a flip: transfer, set scanout, flush. */
#define COMMANDS	3
#define FRAMES		2
#define ASYNC		DRM_MODE_PAGE_FLIP_ASYNC
#define EVENT		DRM_MODE_PAGE_FLIP_EVENT

/* Each test is a process of its own. */
static struct {
	struct display display;
	struct frame frames[FRAMES];
	struct picture pictures[FRAMES];
	int screen;
	unsigned int flips;	/* of the thread */
	bool stop;
} scene;

FIXTURE(flip)
{
};

FIXTURE_SETUP(flip)
{
	const char *reason = display_screen_open(&scene.display, &scene.screen);
	struct drm_mode_modeinfo *mode = &scene.display.mode;
	struct drm_get_cap cap = { .capability = DRM_CAP_ASYNC_PAGE_FLIP };
	unsigned int i;

	REQUIRE(return, !reason, reason);
	REQUIRE(return, !gpu_ioctl(scene.display.fd, DRM_IOCTL_GET_CAP, &cap) && cap.value,
		"the driver flips at vblank only");
	REQUIRE(return, !set_client_cap(scene.display.fd, DRM_CLIENT_CAP_ATOMIC),
		"the driver has no atomic commits");
	for (i = 0; i < FRAMES; i++)
		ASSERT_EQ(0, frame_of_screen(&scene.display, &scene.frames[i],
					     &scene.pictures[i], i));
	mode_pace(mode, FRAME_MS);
	ASSERT_EQ(0, set_crtc(&scene.display, scene.frames[0].fb, mode, 0, 0));
}

FIXTURE_TEARDOWN(flip)
{
	close(scene.display.fd);
}

static int legacy_flip(unsigned int frame, __u32 flags)
{
	return page_flip(&scene.display, scene.frames[frame % FRAMES].fb, flags, 0);
}

static int atomic_flip(unsigned int frame, __u32 flags)
{
	struct request request = {};

	request_set(&request, &scene.display, scene.display.primary, "FB_ID",
		    scene.frames[frame % FRAMES].fb);
	return request_commit(&scene.display, &request, flags | DRM_MODE_ATOMIC_NONBLOCK, 0);
}

/* What a sequence of flips took. Each begins after the event of the one before. */
struct pace {
	__s64 ns;
	__u32 vblanks;		/* from the first event to the last */
	__s64 window_ns;	/* the least for WINDOW flips in a row */
	__u32 window_vblanks;
};

/* Begins with the frame that is not shown. Returns 0 or -errno. */
static int time_flips(int (*flip)(unsigned int frame, __u32 flags), __u32 flags,
		      unsigned int count, struct pace *pace)
{
	struct drm_event_vblank event;
	__u32 sequences[FLIPS + 1];
	__s64 times[FLIPS + 1];
	unsigned int i, first;
	int ret;

	times[0] = now_ns();
	pace->window_ns = NSEC_PER_SEC * 1000;
	pace->window_vblanks = UINT_MAX;
	for (i = 1; i <= count; i++) {
		ret = flip(i, flags | EVENT);
		if (!ret)
			ret = wait_event(scene.display.fd, &event);
		if (ret)
			return ret;
		if (event.base.type != DRM_EVENT_FLIP_COMPLETE ||
		    event.crtc_id != scene.display.crtc)
			return -EPROTO;
		sequences[i] = event.sequence;
		times[i] = now_ns();
		if (i < WINDOW)
			continue;
		first = i - WINDOW + 1;
		if (times[i] - times[first - 1] < pace->window_ns)
			pace->window_ns = times[i] - times[first - 1];
		if (sequences[i] - sequences[first] < pace->window_vblanks)
			pace->window_vblanks = sequences[i] - sequences[first];
	}
	pace->ns = times[count] - times[0];
	pace->vblanks = sequences[count] - sequences[1];
	return 0;
}

/* Each flip has a vblank of its own. */
static void check_paced(struct __test_metadata *_metadata,
			int (*flip)(unsigned int frame, __u32 flags), unsigned int count)
{
	struct pace pace;

	ASSERT_EQ(0, time_flips(flip, 0, count, &pace));
	TH_LOG("%u flips: %lld ms, %u vblanks", count, pace.ns / NSEC_PER_MSEC, pace.vblanks);
	EXPECT_GE(pace.ns, (count - 2) * FRAME_NS);
	EXPECT_GE(pace.vblanks, count - 1);
	EXPECT_GE(pace.window_vblanks, WINDOW - 1);
}

/* Asynchronous flips do not wait for vblanks, other flips do. */
static void compare(struct __test_metadata *_metadata,
		    int (*flip)(unsigned int frame, __u32 flags))
{
	struct pace pace;
	int round;

	check_paced(_metadata, flip, FLIPS);
	for (round = 0; round < ROUNDS; round++) {
		ASSERT_EQ(0, time_flips(flip, ASYNC, FLIPS, &pace));
		TH_LOG("%d asynchronous flips: %lld ms, %u vblanks; %d of them %lld ms, %u vblanks",
		       FLIPS, pace.ns / NSEC_PER_MSEC, pace.vblanks, WINDOW,
		       pace.window_ns / NSEC_PER_MSEC, pace.window_vblanks);
		/* So many paced flips take a frame more. */
		if (pace.window_vblanks < WINDOW - 1 && pace.window_ns < (WINDOW - 1) * FRAME_NS)
			break;
	}
	EXPECT_LT(round, ROUNDS);
	EXPECT_TRUE(screen_shows(scene.screen, "flip-async", scene.display.head,
				 &scene.pictures[0]));
	/* The asynchronous flips had no lasting effect. */
	check_paced(_metadata, flip, FLIPS / 2);
}

TEST_F_TIMEOUT(flip, legacy, 180)
{
	compare(_metadata, legacy_flip);
}

TEST_F_TIMEOUT(flip, atomic, 180)
{
	compare(_metadata, atomic_flip);
}

static void *flip_on(__maybe_unused void *unused)
{
	struct drm_event_vblank event;
	unsigned int i;

	for (i = 1; !__atomic_load_n(&scene.stop, __ATOMIC_RELAXED); i++) {
		if (legacy_flip(i, ASYNC | EVENT) || wait_event(scene.display.fd, &event))
			return "a flip failed";
		__atomic_store_n(&scene.flips, i, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Waits for some more flips of the thread. Returns false if there are none. */
static bool flips_go_on(void)
{
	unsigned int before = __atomic_load_n(&scene.flips, __ATOMIC_RELAXED);
	__s64 deadline = now_ns() + GPU_PATIENCE_NS;

	while (__atomic_load_n(&scene.flips, __ATOMIC_RELAXED) < before + 2) {
		if (now_ns() > deadline)
			return false;
		sleep_ns(NSEC_PER_MSEC);
	}
	return true;
}

/* The screen shows a whole picture at any time. */
TEST_F_TIMEOUT(flip, whole, 180)
{
	pthread_t thread;
	void *result;
	char name[32];
	int i;

	ASSERT_EQ(0, pthread_create(&thread, NULL, flip_on, NULL));
	for (i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "flip-whole-%d", i);
		EXPECT_GE(screen_which(scene.screen, name, scene.display.head, scene.pictures,
				       FRAMES), 0);
		EXPECT_TRUE(flips_go_on());
	}
	TH_LOG("%u flips", __atomic_load_n(&scene.flips, __ATOMIC_RELAXED));
	__atomic_store_n(&scene.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, &result);
	EXPECT_EQ(NULL, result) TH_LOG("%s", (char *)result);
}

/* Only flips can be asynchronous. */
TEST_F_TIMEOUT(flip, refused, 60)
{
	struct request request = {};

	request_set(&request, &scene.display, scene.display.primary, "SRC_W", 1 << 16);
	EXPECT_EQ(-EINVAL, request_commit(&scene.display, &request, ASYNC, 0));
	request = (struct request){};
	request_set(&request, &scene.display, scene.display.crtc, "ACTIVE", 0);
	EXPECT_EQ(-EINVAL, request_commit(&scene.display, &request,
					  ASYNC | DRM_MODE_ATOMIC_ALLOW_MODESET, 0));
	ASSERT_EQ(0, crtc_off(&scene.display));
	EXPECT_EQ(-EBUSY, legacy_flip(1, ASYNC));
}

static __u64 interrupts(void)
{
	return irq_sum("rust_gpu", "rust_gpu");
}

/* A flip takes no interrupt: the vblank that sends its event finds it complete. */
TEST_F_TIMEOUT(flip, no_interrupts, 180)
{
	struct pace pace;
	__u64 before;
	struct gpu gpu;

	REQUIRE(return, gpu_find(&gpu), NO_GPU);
	REQUIRE(return, !irqs_are_threaded(), "threads of interrupts are woken as well");
	before = interrupts();
	REQUIRE(return, before, "another driver");
	ASSERT_EQ(0, time_flips(legacy_flip, 0, FLIPS, &pace));
	ASSERT_GE(pace.vblanks, FLIPS - 1);
	/*
	 * If the device completes a flip after the next vblank, the flip takes
	 * interrupts, and another vblank.
	 */
	EXPECT_LT(interrupts() - before, FLIPS / 2 + COMMANDS * (pace.vblanks - (FLIPS - 1)));

	before = interrupts();
	ASSERT_EQ(0, time_flips(legacy_flip, ASYNC, FLIPS, &pace));
	EXPECT_GE(interrupts() - before, FLIPS);
}

static __s64 read_vsyncs(const struct gpu *gpu)
{
	return file_number(path("/sys/kernel/debug/rust_gpu/%s/messages", gpu->pci),
			   "crtc vsyncs:");
}

static int wait_vblank(void)
{
	union drm_wait_vblank wait = {
		.request = {
			.type = _DRM_VBLANK_RELATIVE |
				scene.display.head << _DRM_VBLANK_HIGH_CRTC_SHIFT,
			.sequence = 1,
		},
	};

	return gpu_ioctl(scene.display.fd, DRM_IOCTL_WAIT_VBLANK, &wait);
}

/* Waits for ten frames without a report of a vblank. Returns the number of reports, or -errno. */
static __s64 wait_for_rest(const struct gpu *gpu)
{
	__s64 end = now_ns() + GPU_PATIENCE_NS, now = read_vsyncs(gpu), last;

	do {
		last = now;
		sleep_ns(10 * FRAME_NS);
		now = read_vsyncs(gpu);
	} while (now != last && now_ns() < end);
	return now == last ? now : -ETIMEDOUT;
}

/* DXGK_INTERRUPT_CRTC_VSYNC is reported only while somebody waits for vblanks. */
TEST_F_TIMEOUT(flip, vsync, 180)
{
	__s64 before, after, rest, start;
	struct gpu gpu;
	int i;

	REQUIRE(return, gpu_find(&gpu), NO_GPU);
	before = read_vsyncs(&gpu);
	REQUIRE(return, before >= 0, "no debugfs");
	start = now_ns();
	for (i = 0; i < 30; i++)
		ASSERT_EQ(0, wait_vblank());
	after = read_vsyncs(&gpu);
	TH_LOG("30 vblanks, %lld reported", after - before);
	/* A waiter wakes up before the report. */
	EXPECT_GE(after - before, 29);
	EXPECT_LE(after - before, (now_ns() - start) / FRAME_NS + 3);
	rest = wait_for_rest(&gpu);
	EXPECT_GE(rest, after);
	EXPECT_LE(rest, after + 6);

	/* A CRTC that is off has no vblanks. */
	ASSERT_EQ(0, crtc_off(&scene.display));
	before = read_vsyncs(&gpu);
	EXPECT_EQ(-EINVAL, wait_vblank());
	EXPECT_EQ(before, read_vsyncs(&gpu));
	ASSERT_EQ(0, set_crtc(&scene.display, scene.frames[0].fb, &scene.display.mode, 0, 0));
	for (i = 0; i < 5; i++)
		ASSERT_EQ(0, wait_vblank());
	EXPECT_GE(read_vsyncs(&gpu) - before, 4);
}

TEST_HARNESS_MAIN
