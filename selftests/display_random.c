// SPDX-License-Identifier: GPL-2.0
/*
 * Flips, modes, cursors and destroyed buffers at random and at once, while the device
 * is taken away and comes back. Nothing hangs, and in the end the screen shows the
 * right picture.
 *
 * Environment: see display_screen.h, and
 *   RUST_GPU_RANDOM_SECONDS	how long; 60 if not set
 *   RUST_GPU_RANDOM_SEED	seed of the random numbers; a new one if not set
 */
#include <pthread.h>

#include "kselftest_harness.h"
#include "display_kms.h"

#define SECONDS		60
#define WORKERS		5
/* Longest that one request may take, on a busy host as well. */
#define PATIENCE_NS	(20 * NSEC_PER_SEC)

enum role { FLIP, SET_MODE, MOVE_CURSOR, DESTROY, READ_EVENTS };

static const char *const role_names[WORKERS] = {
	"flip", "set mode", "move cursor", "destroy", "read events",
};

struct worker {
	pthread_t thread;
	enum role role;
	unsigned int seed;
	__u64 done, gone;
	__s64 longest;
	int error;
};

/* The threads share the file that is the master. */
static struct {
	struct display display;
	/*
	 * Guards display and frames, which change when the device comes back; prefers
	 * the writer.
	 */
	pthread_rwlock_t lock;
	struct frame frames[2];
	struct worker workers[WORKERS];
	bool stop;
	int screen;
} scene = { .lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP };

static int flip(unsigned int *seed)
{
	__u32 fb = scene.frames[rand_r(seed) % 2].fb;
	__u32 flags = rand_r(seed) % 2 ? DRM_MODE_PAGE_FLIP_EVENT : 0;

	if (!(rand_r(seed) % 4))
		flags |= DRM_MODE_PAGE_FLIP_ASYNC;
	return page_flip(&scene.display, fb, flags, 0);
}

static int set_mode(unsigned int *seed)
{
	unsigned int mode = rand_r(seed) % scene.display.mode_count;

	switch (rand_r(seed) % 4) {
	case 0:
		return crtc_off(&scene.display);
	case 1:
		return set_crtc(&scene.display, scene.frames[0].fb, &scene.display.modes[mode],
				0, 0);
	default:
		return set_crtc(&scene.display, scene.frames[rand_r(seed) % 2].fb,
				&scene.display.mode, 0, 0);
	}
}

static int move_cursor(unsigned int *seed)
{
	struct drm_mode_cursor2 cursor = {
		.flags = 1 + rand_r(seed) % 3,
		.crtc_id = scene.display.crtc,
		.x = rand_r(seed) % 2000 - 500,
		.y = rand_r(seed) % 2000 - 500,
		.width = 64,
		.height = 64,
		/* Most of these are no buffer, or one of another size. */
		.handle = rand_r(seed) % 8,
		.hot_x = rand_r(seed) % 64,
	};

	return gpu_ioctl(scene.display.fd, DRM_IOCTL_MODE_CURSOR2, &cursor);
}

/* Shows a buffer and destroys it: the framebuffer first, or the handle. */
static int destroy(unsigned int *seed)
{
	struct display *display = &scene.display;
	struct drm_mode_destroy_dumb handle;
	struct frame frame;
	int ret = frame_create(display->fd, &frame, display->mode.hdisplay,
			       display->mode.vdisplay);

	handle.handle = frame.handle;
	if (!ret)
		ret = set_crtc(display, frame.fb, &display->mode, 0, 0);
	if (rand_r(seed) % 2 && frame.handle) {
		gpu_ioctl(display->fd, DRM_IOCTL_MODE_DESTROY_DUMB, &handle);
		frame.handle = 0;
	}
	frame_destroy(display->fd, &frame);
	return ret;
}

static int read_events(void)
{
	struct pollfd poll_card = { .fd = scene.display.fd, .events = POLLIN };
	char events[1024];

	if (poll(&poll_card, 1, 10) == 1 && read(scene.display.fd, events, sizeof(events)) < 0)
		return -errno;
	return 0;
}

/* Whether this is a valid answer to a request at a random moment. */
static bool expected(int error)
{
	return error == 0 || error == -EBUSY || error == -EINVAL || error == -ENOENT ||
	       error == -ENOSPC || error == -ENODEV;
}

static void step(struct worker *worker)
{
	__s64 start = now_ns(), took;
	int ret = 0;

	switch (worker->role) {
	case FLIP:
		ret = flip(&worker->seed);
		break;
	case SET_MODE:
		ret = set_mode(&worker->seed);
		break;
	case MOVE_CURSOR:
		ret = move_cursor(&worker->seed);
		break;
	case DESTROY:
		ret = destroy(&worker->seed);
		break;
	case READ_EVENTS:
		ret = read_events();
	}
	took = now_ns() - start;
	if (took > worker->longest)
		worker->longest = took;
	worker->done += !ret;
	worker->gone += ret == -ENODEV;
	if (!expected(ret) && !worker->error)
		worker->error = ret;
}

static void *worker_thread(void *arg)
{
	struct worker *worker = arg;

	while (!__atomic_load_n(&scene.stop, __ATOMIC_RELAXED)) {
		pthread_rwlock_rdlock(&scene.lock);
		step(worker);
		pthread_rwlock_unlock(&scene.lock);
		sleep_ns(rand_r(&worker->seed) % (5 * NSEC_PER_MSEC));
	}
	return NULL;
}

/* Opens the display again, with two framebuffers. Returns why not, or NULL. */
static const char *open_display(void)
{
	const char *reason = display_open(&scene.display);
	unsigned int i;

	for (i = 0; i < 2 && !reason; i++) {
		if (frame_create(scene.display.fd, &scene.frames[i], scene.display.mode.hdisplay,
				 scene.display.mode.vdisplay))
			reason = "no framebuffer";
	}
	return reason;
}

static void close_display(void)
{
	unsigned int i;

	for (i = 0; i < 2; i++)
		frame_destroy(scene.display.fd, &scene.frames[i]);
	close(scene.display.fd);
}

/* Takes the device away while the workers use it, and brings it back. Returns 0 or -errno. */
static int take_away_and_bring_back(struct gpu *gpu, bool remove)
{
	int ret;

	ret = remove ? write_file(path("/sys/bus/pci/devices/%s/remove", gpu->pci), "1") :
		       gpu_unbind(gpu);
	sleep_ns(50 * NSEC_PER_MSEC);
	if (ret)
		return ret;
	pthread_rwlock_wrlock(&scene.lock);
	close_display();
	if (remove)
		ret = write_file("/sys/bus/pci/rescan", "1");
	if (!ret && remove)
		ret = gpu_wait(gpu, GPU_PATIENCE_NS) ? 0 : -ENODEV;
	else if (!ret)
		ret = gpu_bind(gpu);
	if (!ret && open_display())
		ret = -ENXIO;
	pthread_rwlock_unlock(&scene.lock);
	return ret;
}

static unsigned int from_environment(const char *name, unsigned int otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : otherwise;
}

FIXTURE(random_order)
{
	struct gpu gpu;
	struct picture picture;
};

FIXTURE_SETUP(random_order)
{
	const char *reason = geteuid() ? "not root" : NULL;

	REQUIRE(return, !reason, reason);
	REQUIRE(return, gpu_present(&self->gpu), NO_GPU);
	reason = open_display();
	REQUIRE(return, !reason, reason);
	scene.screen = screen_open();
	REQUIRE(return, scene.screen >= 0, NO_SCREEN);
	ASSERT_EQ(0, picture_create(&self->picture, scene.display.mode.hdisplay,
				    scene.display.mode.vdisplay));
	picture_fill(&self->picture, 7);
}

FIXTURE_TEARDOWN(random_order)
{
	close_display();
}

TEST_F_TIMEOUT(random_order, all_at_once, 600)
{
	unsigned int seed = from_environment("RUST_GPU_RANDOM_SEED", now_ns());
	unsigned int seconds = from_environment("RUST_GPU_RANDOM_SECONDS", SECONDS);
	const __s64 end = now_ns() + seconds * NSEC_PER_SEC;
	unsigned int rounds = 0, i;

	TH_LOG("seed %u, %u s", seed, seconds);
	for (i = 0; i < WORKERS; i++) {
		scene.workers[i].role = i;
		scene.workers[i].seed = seed + i;
		ASSERT_EQ(0, pthread_create(&scene.workers[i].thread, NULL, worker_thread,
					    &scene.workers[i]));
	}
	while (now_ns() < end) {
		sleep_ns(rand_r(&seed) % (2 * NSEC_PER_SEC));
		ASSERT_EQ(0, take_away_and_bring_back(&self->gpu, rand_r(&seed) % 2))
			TH_LOG("round %u", rounds);
		rounds++;
	}
	__atomic_store_n(&scene.stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < WORKERS; i++) {
		struct worker *worker = &scene.workers[i];

		ASSERT_EQ(0, pthread_join(worker->thread, NULL));
		TH_LOG("%s: %llu done, %llu without a device, longest %lld ms",
		       role_names[i], worker->done, worker->gone,
		       worker->longest / NSEC_PER_MSEC);
		EXPECT_EQ(0, worker->error) TH_LOG("%s", role_names[i]);
		EXPECT_LT(worker->longest, PATIENCE_NS) TH_LOG("%s", role_names[i]);
		EXPECT_GT(worker->done, 0) TH_LOG("%s", role_names[i]);
	}
	EXPECT_GT(rounds, 0);
	TH_LOG("%u rounds", rounds);

	frame_draw(&scene.frames[1], &self->picture);
	ASSERT_EQ(0, set_crtc(&scene.display, scene.frames[1].fb, &scene.display.mode, 0, 0));
	EXPECT_TRUE(screen_shows(scene.screen, "after-random", scene.display.head,
				 &self->picture));
}

TEST_HARNESS_MAIN
