// SPDX-License-Identifier: GPL-2.0
/*
 * The panic screen, asked for in debugfs instead of by a panic: the screen shows it,
 * and all goes on afterwards, also if the rings are busy.
 *
 * Environment: see display_screen.h
 */
#include <signal.h>

#include "kselftest_harness.h"
#include "display_kms.h"

/* Panics in a row, and the most that are asked for to see one screen of a busy device. */
#define ROUNDS		20
#define ATTEMPTS	20
#define FLOODERS	3

/* CONFIG_DRM_PANIC_BACKGROUND_COLOR */
#define BACKGROUND	"000000"

/* Each test is a process of its own. */
static struct {
	struct display display;
	struct frame frames[2];
	struct picture picture;
	int screen;
	int null_fd;		/* for packets that are nobody else's */
	char trigger[128];
	__u64 flips;
} scene;

FIXTURE(panic)
{
};

FIXTURE_SETUP(panic)
{
	struct display *display = &scene.display;
	const char *reason = display_screen_open(display, &scene.screen);
	struct gpu gpu;
	int i;

	REQUIRE(return, !reason, reason);
	REQUIRE(return, gpu_find(&gpu), NO_GPU);
	snprintf(scene.trigger, sizeof(scene.trigger),
		 "/sys/kernel/debug/dri/%s/drm_panic_plane_%u",
		 display->card + strlen("/dev/dri/card"), display->head);
	REQUIRE(return, !access(scene.trigger, W_OK), "no CONFIG_DRM_PANIC_DEBUG");
	scene.null_fd = open(gpu.render, O_RDWR | O_CLOEXEC);
	ASSERT_GE(scene.null_fd, 0);
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, frame_create(display->fd, &scene.frames[i], display->mode.hdisplay,
					  display->mode.vdisplay));
	ASSERT_EQ(0, picture_create(&scene.picture, display->mode.hdisplay,
				    display->mode.vdisplay));
	frame_draw(&scene.frames[0], &scene.picture);
	ASSERT_EQ(0, set_crtc(display, scene.frames[0].fb, &display->mode, 0, 0));
}

FIXTURE_TEARDOWN(panic)
{
	close(scene.null_fd);
	close(scene.display.fd);
}

static int ask_for_panic(void)
{
	return write_file(scene.trigger, "1");
}

/* Flips to another picture, within the time of a flip. Returns 0 or -errno. */
static int flip(void)
{
	const struct display *display = &scene.display;
	struct frame *frame = &scene.frames[++scene.flips % 2];
	struct drm_mode_crtc_page_flip flip = {
		.crtc_id = display->crtc,
		.fb_id = frame->fb,
		.flags = DRM_MODE_PAGE_FLIP_EVENT,
		.user_data = scene.flips,
	};
	struct drm_event_vblank event;
	int ret;

	picture_fill(&scene.picture, scene.flips);
	frame_draw(frame, &scene.picture);
	ret = gpu_ioctl(display->fd, DRM_IOCTL_MODE_PAGE_FLIP, &flip);
	if (!ret)
		ret = read_event(display->fd, &event, 5000);
	return !ret && event.user_data != scene.flips ? -EPROTO : ret;
}

static bool shows(const char *name)
{
	return screen_shows(scene.screen, name, scene.display.head, &scene.picture);
}

static bool is_background(const char *name, __u32 x, __u32 y)
{
	char answer[128], want[128];

	snprintf(want, sizeof(want), "%s " BACKGROUND, name);
	return !screen_ask(scene.screen, answer, sizeof(answer), "pixel %s %u %u", name, x, y) &&
	       !strcmp(answer, want);
}

/* Whether there is nothing but background in three corners, and a QR code somewhere. */
static bool shows_panic(const char *name)
{
	__u32 width, height, crc;
	char answer[128], want[128];

	if (screen_dump(scene.screen, name, scene.display.head, &width, &height, &crc) ||
	    width != scene.picture.width || height != scene.picture.height ||
	    !is_background(name, width - 1, 0) || !is_background(name, 0, height - 1) ||
	    !is_background(name, width - 1, height - 1))
		return false;
	snprintf(want, sizeof(want), "%s found", name);
	return !screen_ask(scene.screen, answer, sizeof(answer), "qr %s", name) &&
	       !strcmp(answer, want);
}

TEST_F_TIMEOUT(panic, shown, 300)
{
	ASSERT_EQ(0, flip());
	ASSERT_TRUE(shows("panic-before"));
	EXPECT_FALSE(shows_panic("panic-before"));
	ASSERT_EQ(0, ask_for_panic());
	EXPECT_TRUE(shows_panic("panic-shown"));
	ASSERT_EQ(0, gpu_works(scene.null_fd));
	/* Not for ever: the next picture is that of the client. */
	ASSERT_EQ(0, flip());
	EXPECT_TRUE(shows("panic-after"));
}

/* Nothing of one panic is left that the next could want. */
TEST_F_TIMEOUT(panic, again_and_again, 900)
{
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, flip());
		if (i % 5 == 0)
			ASSERT_TRUE(shows("panic-again-before"));
		ASSERT_EQ(0, ask_for_panic());
		ASSERT_TRUE(shows_panic("panic-again")) TH_LOG("round %u", i);
		ASSERT_EQ(0, gpu_works(scene.null_fd)) TH_LOG("round %u", i);
	}
	ASSERT_EQ(0, flip());
	EXPECT_TRUE(shows("panic-again-after"));
}

/*
 * As many at once as can be. What is still under way is left alone, and may have been
 * read while the next one was drawn.
 */
TEST_F_TIMEOUT(panic, in_a_burst, 300)
{
	unsigned int i;

	ASSERT_EQ(0, flip());
	for (i = 0; i < 10 * ROUNDS; i++)
		ASSERT_EQ(0, ask_for_panic());
	ASSERT_EQ(0, gpu_works(scene.null_fd));
	ASSERT_EQ(0, ask_for_panic());
	EXPECT_TRUE(shows_panic("panic-burst"));
	ASSERT_EQ(0, flip());
	EXPECT_TRUE(shows("panic-burst-after"));
}

/* A client of its own that has as many packets in the rings as it may. */
static void flood(const char *render)
{
	int fd = open(render, O_RDWR | O_CLOEXEC);
	__u64 fence = 0, last = 0;

	for (;;) {
		int ret = gpu_submit(fd, RUST_GPU_NODE_CONTROL, 64, 0, &fence);

		if (ret < 0 && ret != -EAGAIN && ret != -EBUSY)
			_exit(1);
		if (ret > 0)
			last = fence;
		else
			gpu_wait_fence(fd, RUST_GPU_NODE_CONTROL, last,
				       now_ns() + GPU_PATIENCE_NS);
	}
}

/*
 * The lock of the ring is somebody else's at times, and then there is no panic
 * screen. But nobody may take the room that is kept for it.
 */
TEST_F_TIMEOUT(panic, busy_rings, 900)
{
	unsigned int i, attempt, asked = 0;
	pid_t children[FLOODERS];
	struct gpu gpu;
	int status;

	ASSERT_TRUE(gpu_find(&gpu));
	for (i = 0; i < FLOODERS; i++) {
		children[i] = fork();
		ASSERT_GE(children[i], 0);
		if (!children[i])
			flood(gpu.render);
	}
	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, flip()) TH_LOG("round %u", i);
		for (attempt = 0; attempt < ATTEMPTS; attempt++) {
			asked++;
			ASSERT_EQ(0, ask_for_panic());
			if (shows_panic("panic-busy"))
				break;
		}
		EXPECT_LT(attempt, ATTEMPTS) TH_LOG("round %u", i);
	}
	TH_LOG("%u panic screens, asked for %u times", ROUNDS, asked);
	EXPECT_LE(asked, 2 * ROUNDS);
	for (i = 0; i < FLOODERS; i++) {
		/* None of them has ended by itself, which it does on an error. */
		EXPECT_EQ(0, waitpid(children[i], &status, WNOHANG));
		kill(children[i], SIGKILL);
		waitpid(children[i], &status, 0);
	}
	ASSERT_EQ(0, gpu_quiesce(scene.null_fd));
	ASSERT_EQ(0, gpu_works(scene.null_fd));
	ASSERT_EQ(0, flip());
	EXPECT_TRUE(shows("panic-busy-after"));
}

/* A plane that shows nothing has nothing to draw into. */
TEST_F_TIMEOUT(panic, nothing_shown, 120)
{
	ASSERT_EQ(0, crtc_off(&scene.display));
	EXPECT_EQ(0, ask_for_panic());
	ASSERT_EQ(0, gpu_works(scene.null_fd));
	frame_draw(&scene.frames[0], &scene.picture);
	ASSERT_EQ(0, set_crtc(&scene.display, scene.frames[0].fb, &scene.display.mode, 0, 0));
	EXPECT_TRUE(shows("panic-nothing-after"));
}

TEST_HARNESS_MAIN
