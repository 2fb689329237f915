// SPDX-License-Identifier: GPL-2.0
/*
 * When flips happen: at the pace of the screen, or at once where that was asked
 * for; and that the scheduler is told of the vblanks that somebody waits for.
 *
 * Environment: see display_screen.h
 */
#include <pthread.h>

#include "kselftest_harness.h"
#include "display_kms.h"

#define FLIPS		20
/* The screen is made slower than any machine that runs this, also a busy one. */
#define SLOWER		6
/* Flips in a row that are to be fast, and attempts. */
#define WINDOW		3
#define ROUNDS		10
#define FRAMES		2
#define ASYNC		DRM_MODE_PAGE_FLIP_ASYNC
#define EVENT		DRM_MODE_PAGE_FLIP_EVENT

/* Each test is a process of its own. */
static struct {
	struct display display;
	struct frame frames[FRAMES];
	struct picture pictures[FRAMES];
	int screen;
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
	mode->clock /= SLOWER;
	ASSERT_EQ(0, set_crtc(&scene.display, scene.frames[0].fb, mode, 0, 0));
}

FIXTURE_TEARDOWN(flip)
{
	close(scene.display.fd);
}

static int page_flip(unsigned int frame, __u32 flags)
{
	struct drm_mode_crtc_page_flip flip = {
		.crtc_id = scene.display.crtc,
		.fb_id = scene.frames[frame % FRAMES].fb,
		.flags = flags,
	};

	return gpu_ioctl(scene.display.fd, DRM_IOCTL_MODE_PAGE_FLIP, &flip);
}

static int atomic_flip(unsigned int frame, __u32 flags)
{
	struct request request = {};

	request_set(&request, &scene.display, scene.display.primary, "FB_ID",
		    scene.frames[frame % FRAMES].fb);
	return request_commit(&scene.display, &request, flags | DRM_MODE_ATOMIC_NONBLOCK, 0);
}

/*
 * The time of so many flips, each after the event of the one before, in ns; or
 * -errno. @window gets the least time of those in a row.
 */
static __s64 time_flips(int (*flip)(unsigned int frame, __u32 flags), __u32 flags,
			__s64 *window)
{
	struct drm_event_vblank event;
	__s64 times[FLIPS + 1];
	unsigned int i;
	int ret;

	times[0] = now_ns();
	*window = NSEC_PER_SEC * 1000;

	/* Begins with the one that is not shown, and ends with the first one. */
	for (i = 1; i <= FLIPS; i++) {
		ret = flip(i, flags | EVENT);
		if (!ret)
			ret = read_event(scene.display.fd, &event, 5000);
		if (ret)
			return ret;
		if (event.base.type != DRM_EVENT_FLIP_COMPLETE ||
		    event.crtc_id != scene.display.crtc)
			return -EPROTO;
		times[i] = now_ns();
		if (i >= WINDOW && times[i] - times[i - WINDOW] < *window)
			*window = times[i] - times[i - WINDOW];
	}
	return times[FLIPS] - times[0];
}

static __s64 frame_ns(void)
{
	const struct drm_mode_modeinfo *mode = &scene.display.mode;

	return NSEC_PER_SEC / 1000 * mode->htotal * mode->vtotal / mode->clock;
}

/* Flips one after the other take as many frames; those that need not wait take less. */
static void compare(struct __test_metadata *_metadata,
		    int (*flip)(unsigned int frame, __u32 flags))
{
	__s64 paced, async, window, least = (FLIPS - 2) * frame_ns();
	int round;

	paced = time_flips(flip, 0, &window);
	EXPECT_GE(paced, least);
	for (round = 0; round < ROUNDS; round++) {
		async = time_flips(flip, ASYNC, &window);
		ASSERT_GT(async, 0);
		TH_LOG("%d flips: paced %lld ms, async %lld ms, %d of them %lld ms", FLIPS,
		       paced / NSEC_PER_MSEC, async / NSEC_PER_MSEC, WINDOW,
		       window / NSEC_PER_MSEC);
		/* So many paced ones take a frame more. */
		if (window < (WINDOW - 1) * frame_ns())
			break;
	}
	EXPECT_LT(round, ROUNDS);
	EXPECT_TRUE(screen_shows(scene.screen, "flip-async", scene.display.head,
				 &scene.pictures[0]));
	/* The next one is as before. */
	EXPECT_GE(time_flips(flip, 0, &window), least);
}

TEST_F_TIMEOUT(flip, legacy, 180)
{
	compare(_metadata, page_flip);
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
		if (page_flip(i, ASYNC | EVENT) || read_event(scene.display.fd, &event, 5000))
			return "failed";
	}
	return i > FLIPS / 2 ? NULL : "too few";
}

/* Whenever one looks there is a whole picture. */
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
	}
	__atomic_store_n(&scene.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, &result);
	EXPECT_EQ(NULL, result) TH_LOG("%s", (char *)result);
}

/* Only a flip and nothing else can be asynchronous. */
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
	EXPECT_EQ(-EBUSY, page_flip(1, ASYNC));
}

static __u64 interrupts(void)
{
	__u64 counts[3] = {}, sum = 0;
	unsigned int i, found = irq_counts(counts, ARRAY_SIZE(counts));

	for (i = 0; i < found; i++)
		sum += counts[i];
	return sum;
}

/* The vblank that sends the event finds the flip complete: that takes no interrupt. */
TEST_F_TIMEOUT(flip, no_interrupts, 60)
{
	__s64 window;
	__u64 before;
	struct gpu gpu;

	REQUIRE(return, gpu_find(&gpu), NO_GPU);
	REQUIRE(return, !irqs_are_threaded(), "threads of interrupts are woken as well");
	before = interrupts();
	REQUIRE(return, before, "another driver");
	ASSERT_GT(time_flips(page_flip, 0, &window), 0);
	/* Those that the device takes longer for than for a frame, if any. */
	EXPECT_LT(interrupts() - before, FLIPS / 2);

	before = interrupts();
	ASSERT_GT(time_flips(page_flip, ASYNC, &window), 0);
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

/* DXGK_INTERRUPT_CRTC_VSYNC while somebody waits for vblanks, and at no other time. */
TEST_F_TIMEOUT(flip, vsync, 60)
{
	__s64 before, after, start;
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
	/* Those that wait are woken before the report. */
	EXPECT_GE(after - before, 29);
	EXPECT_LE(after - before, (now_ns() - start) / frame_ns() + 3);

	sleep_ns(6 * frame_ns());
	before = read_vsyncs(&gpu);
	sleep_ns(10 * frame_ns());
	EXPECT_EQ(before, read_vsyncs(&gpu));

	/* A CRTC that is off has none. */
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
