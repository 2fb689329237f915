// SPDX-License-Identifier: GPL-2.0
/*
 * The panic screen, triggered in debugfs instead of by a panic. It is shown, also when
 * the rings are busy, and everything works afterwards.
 *
 * Environment: see display_screen.h
 */
#include <signal.h>

#include "kselftest_harness.h"
#include "display_format.h"
#include "display_scene.h"

/* Panics in a row, and the most attempts for each of them while the device is busy. */
#define ROUNDS		20
#define ATTEMPTS	20
/* Attempts for such a series: a busy host may stop a CPU that holds the lock of the ring. */
#define SERIES		3
#define FLOODERS	3

/* CONFIG_DRM_PANIC_BACKGROUND_COLOR */
#define BACKGROUND	"000000"

/* Each test is a process of its own. */
static struct scene scene;
static struct frame other;
static int null_fd;		/* of a client that only submits null packets */
static char trigger[128];
static __u64 flips;

FIXTURE(panic)
{
};

FIXTURE_SETUP(panic)
{
	const char *reason = scene_open(&scene);
	struct gpu gpu;

	REQUIRE(return, !reason, reason);
	REQUIRE(return, gpu_find(&gpu), NO_GPU);
	snprintf(trigger, sizeof(trigger), "/sys/kernel/debug/dri/%s/drm_panic_plane_%u",
		 scene.display.card + strlen("/dev/dri/card"), scene.display.head);
	REQUIRE(return, !access(trigger, W_OK), "no CONFIG_DRM_PANIC_DEBUG");
	null_fd = open(gpu.render, O_RDWR | O_CLOEXEC);
	ASSERT_GE(null_fd, 0);
	ASSERT_NE(0, scene.frame.fb);
	ASSERT_EQ(0, frame_create(scene.display.fd, &other, scene.frame.width,
				  scene.frame.height));
	ASSERT_EQ(0, scene_show(&scene, 0));
}

FIXTURE_TEARDOWN(panic)
{
	close(null_fd);
	frame_destroy(scene.display.fd, &other);
	scene_close(&scene);
}

static int ask_for_panic(void)
{
	return write_file(trigger, "1");
}

/* Flips to another picture and waits for the event. Returns 0 or -errno. */
static int flip(void)
{
	const struct frame *frame = ++flips % 2 ? &other : &scene.frame;
	const struct display *display = &scene.display;
	struct drm_event_vblank event;
	int ret;

	picture_fill(&scene.picture, flips);
	frame_draw(frame, &scene.picture);
	ret = page_flip(display, frame->fb, DRM_MODE_PAGE_FLIP_EVENT, flips);
	if (!ret)
		ret = wait_event(display->fd, &event);
	return !ret && event.user_data != flips ? -EPROTO : ret;
}

static bool is_background(const char *name, __u32 x, __u32 y)
{
	char answer[128], want[128];

	snprintf(want, sizeof(want), "%s " BACKGROUND, name);
	return !screen_ask(scene.screen, answer, sizeof(answer), "pixel %s %u %u", name, x, y) &&
	       !strcmp(answer, want);
}

/* Whether three corners show the background, and there is a QR code somewhere. */
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
	ASSERT_TRUE(scene_shows(&scene, "panic-before"));
	EXPECT_FALSE(shows_panic("panic-before"));
	ASSERT_EQ(0, ask_for_panic());
	EXPECT_TRUE(shows_panic("panic-shown"));
	ASSERT_EQ(0, gpu_works(null_fd));
	/* The next flip shows the client's picture again. */
	ASSERT_EQ(0, flip());
	EXPECT_TRUE(scene_shows(&scene, "panic-after"));
}

/* It can be read in each format that the screen can have. */
TEST_F_TIMEOUT(panic, formats, 300)
{
	const struct display *display = &scene.display;
	struct frame frame;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(screen_formats); i++) {
		const __u32 format = screen_formats[i];

		ASSERT_EQ(0, frame_create_format(display->fd, &frame, scene.frame.width,
						 scene.frame.height, format));
		picture_fill(&scene.picture, i);
		frame_draw_format(&frame, &scene.picture, format, 0);
		ASSERT_EQ(0, set_crtc(display, frame.fb, &display->mode, 0, 0));
		ASSERT_TRUE(scene_shows(&scene, "panic-format-before"));
		ASSERT_EQ(0, ask_for_panic());
		EXPECT_TRUE(shows_panic("panic-format")) TH_LOG("%s", format_name(format));
		ASSERT_EQ(0, gpu_works(null_fd));
		frame_destroy(display->fd, &frame);
	}
}

/* A panic uses up nothing that the next one needs. */
TEST_F_TIMEOUT(panic, again_and_again, 900)
{
	unsigned int i;

	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, flip());
		if (i % 5 == 0)
			ASSERT_TRUE(scene_shows(&scene, "panic-again-before"));
		ASSERT_EQ(0, ask_for_panic());
		ASSERT_TRUE(shows_panic("panic-again")) TH_LOG("round %u", i);
		ASSERT_EQ(0, gpu_works(null_fd)) TH_LOG("round %u", i);
	}
	ASSERT_EQ(0, flip());
	EXPECT_TRUE(scene_shows(&scene, "panic-again-after"));
}

/*
 * Many panics at once. A panic that finds the last one still pending sends nothing, so
 * the screen may be half of each.
 */
TEST_F_TIMEOUT(panic, in_a_burst, 300)
{
	unsigned int i;

	ASSERT_EQ(0, flip());
	for (i = 0; i < 10 * ROUNDS; i++)
		ASSERT_EQ(0, ask_for_panic());
	ASSERT_EQ(0, gpu_works(null_fd));
	ASSERT_EQ(0, ask_for_panic());
	EXPECT_TRUE(shows_panic("panic-burst"));
	ASSERT_EQ(0, flip());
	EXPECT_TRUE(scene_shows(&scene, "panic-burst-after"));
}

/* A client that always has as many packets in the rings as it may. */
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

/* Asks for some panic screens, each until it is shown. Returns the number of attempts. */
static unsigned int show_panics(struct __test_metadata *_metadata)
{
	unsigned int i, attempt, asked = 0;

	for (i = 0; i < ROUNDS; i++) {
		EXPECT_EQ(0, flip()) TH_LOG("round %u", i);
		for (attempt = 0; attempt < ATTEMPTS; attempt++) {
			asked++;
			EXPECT_EQ(0, ask_for_panic());
			if (shows_panic("panic-busy"))
				break;
		}
		EXPECT_LT(attempt, ATTEMPTS) TH_LOG("round %u", i);
	}
	TH_LOG("%u panic screens, asked for %u times", ROUNDS, asked);
	return asked;
}

/*
 * An attempt fails while another CPU holds the lock of the ring. But nobody else takes
 * the room in the ring that is reserved for panics: without it most attempts would
 * fail.
 */
TEST_F_TIMEOUT(panic, busy_rings, 1800)
{
	pid_t children[FLOODERS];
	unsigned int i, series;
	struct gpu gpu;
	int status;

	ASSERT_TRUE(gpu_find(&gpu));
	for (i = 0; i < FLOODERS; i++) {
		children[i] = fork();
		ASSERT_GE(children[i], 0);
		if (!children[i])
			flood(gpu.render);
	}
	for (series = 0; series < SERIES; series++) {
		if (show_panics(_metadata) <= 2 * ROUNDS)
			break;
	}
	EXPECT_LT(series, SERIES);
	for (i = 0; i < FLOODERS; i++) {
		/* A flooder ends only on an error. */
		EXPECT_EQ(0, waitpid(children[i], &status, WNOHANG));
		kill(children[i], SIGKILL);
		waitpid(children[i], &status, 0);
	}
	ASSERT_EQ(0, gpu_quiesce(null_fd));
	ASSERT_EQ(0, gpu_works(null_fd));
	ASSERT_EQ(0, flip());
	EXPECT_TRUE(scene_shows(&scene, "panic-busy-after"));
}

/* A plane that shows nothing has no framebuffer to draw into. */
TEST_F_TIMEOUT(panic, nothing_shown, 120)
{
	ASSERT_EQ(0, crtc_off(&scene.display));
	EXPECT_EQ(0, ask_for_panic());
	ASSERT_EQ(0, gpu_works(null_fd));
	ASSERT_EQ(0, scene_show(&scene, 0));
	EXPECT_TRUE(scene_shows(&scene, "panic-nothing-after"));
}

TEST_HARNESS_MAIN
