// SPDX-License-Identifier: GPL-2.0
/*
 * Nonblocking commits: they wait for the fence that comes with them and for the commit
 * before, for nothing else, and the caller waits for none of it. Their own fence
 * outlives the device.
 *
 * Environment: see display_screen.h
 */
#include <linux/sync_file.h>

#include "kselftest_harness.h"
#include "display_request.h"
#include "sw_sync.h"

#define FRAMES	3
/* The frame with a buffer of vgem. */
#define FOREIGN	2
/* Longer than two requests for a flip take, on a busy host as well. */
#define SLOW_FRAME_MS	200
#define FLAGS	(DRM_MODE_ATOMIC_NONBLOCK | DRM_MODE_PAGE_FLIP_EVENT)

/* Each test is a process of its own. */
static struct {
	struct display display;
	struct frame frames[FRAMES];
	struct picture pictures[FRAMES];
	int screen;
	int vgem, dma_buf;
} scene;

/* Makes a frame of the screen's size in a buffer of vgem. Returns 0 or -errno. */
static int frame_import(struct frame *frame, struct picture *picture)
{
	const struct drm_mode_modeinfo *mode = &scene.display.mode;
	int ret = buffer_create(scene.vgem, frame, mode->hdisplay, mode->vdisplay);

	if (ret)
		return ret;
	scene.dma_buf = prime_export(scene.vgem, frame->handle);
	if (scene.dma_buf < 0)
		return scene.dma_buf;
	ret = prime_import(scene.display.fd, scene.dma_buf, &frame->handle);
	if (!ret)
		ret = frame_add(scene.display.fd, frame, mode->hdisplay, mode->vdisplay,
				frame->buffer_pitch, 0);
	return ret ? ret : frame_paint(frame, picture, FOREIGN);
}

FIXTURE(fence)
{
};

FIXTURE_SETUP(fence)
{
	const char *reason = display_screen_open(&scene.display, &scene.screen);
	unsigned int i;

	REQUIRE(return, !reason, reason);
	REQUIRE(return, !set_client_cap(scene.display.fd, DRM_CLIENT_CAP_ATOMIC),
		"the driver has no atomic commits");
	REQUIRE(return, !access(SW_SYNC_FILE, W_OK), NO_SW_SYNC);
	scene.vgem = vgem_open();
	REQUIRE(return, scene.vgem >= 0, "no vgem, whose buffer is shown");
	for (i = 0; i < FOREIGN; i++)
		ASSERT_EQ(0, frame_of_screen(&scene.display, &scene.frames[i],
					     &scene.pictures[i], i));
	REQUIRE(return, !frame_import(&scene.frames[FOREIGN], &scene.pictures[FOREIGN]),
		"the driver does not import buffers of vgem");
	ASSERT_EQ(0, set_crtc(&scene.display, scene.frames[0].fb, &scene.display.mode, 0, 0));
	/* Reading finds an event, or returns at once. */
	ASSERT_EQ(0, fcntl(scene.display.fd, F_SETFL, O_NONBLOCK));
}

FIXTURE_TEARDOWN(fence)
{
	close(scene.display.fd);
}

/*
 * Flips to a frame, as soon as @fence is signaled if that is not -1. *@out, if there is
 * one, gets the fence of the flip itself. Returns 0 or -errno.
 */
static int flip(unsigned int frame, int fence, int *out)
{
	const struct display *display = &scene.display;
	struct request request = {};

	request_set(&request, display, display->primary, "FB_ID", scene.frames[frame].fb);
	request_set(&request, display, display->primary, "IN_FENCE_FD", (__s64)fence);
	if (out)
		request_set(&request, display, display->crtc, "OUT_FENCE_PTR", user_pointer(out));
	return request_commit(display, &request, FLAGS, 0);
}

static bool is_signaled(int fence)
{
	struct pollfd poll_fence = { .fd = fence, .events = POLLIN };

	return poll(&poll_fence, 1, 0) == 1;
}

static bool shows(const char *name, unsigned int frame)
{
	return screen_shows(scene.screen, name, scene.display.head, &scene.pictures[frame]);
}

/* A flip to @frame waits for @fence: its IN_FENCE_FD, or else that of the frame's buffer. */
static void is_waited_for(struct __test_metadata *_metadata, struct sw_fence *fence,
			  unsigned int frame, int in_fence)
{
	struct drm_event_vblank event;
	int out = -1;

	ASSERT_EQ(0, flip(frame, in_fence, &out));
	EXPECT_EQ(-ETIMEDOUT, read_event(scene.display.fd, &event, 300));
	EXPECT_FALSE(is_signaled(out));
	EXPECT_TRUE(shows("fence-before", 0));
	/* Only one flip is pending at a time, whatever the next one waits for. */
	EXPECT_EQ(-EBUSY, flip(0, -1, NULL));
	EXPECT_EQ(-EBUSY, flip(0, in_fence, NULL));

	ASSERT_EQ(0, sw_fence_signal(fence));
	ASSERT_EQ(0, wait_event(scene.display.fd, &event));
	EXPECT_EQ(DRM_EVENT_FLIP_COMPLETE, event.base.type);
	EXPECT_TRUE(is_signaled(out));
	EXPECT_TRUE(shows("fence-after", frame));

	/* A fence that is signaled delays nothing. */
	ASSERT_EQ(0, flip(0, in_fence, NULL));
	ASSERT_EQ(0, wait_event(scene.display.fd, &event));
	EXPECT_TRUE(shows("fence-signaled", 0));
}

/* IN_FENCE_FD */
TEST_F_TIMEOUT(fence, explicit, 180)
{
	struct sw_fence fence;

	ASSERT_EQ(0, sw_fence_create(&fence));
	is_waited_for(_metadata, &fence, 1, fence.file);
	sw_fence_close(&fence);
}

/* The fence of the buffer itself. */
TEST_F_TIMEOUT(fence, implicit, 180)
{
	struct sw_fence fence;

	ASSERT_EQ(0, sw_fence_create(&fence));
	ASSERT_EQ(0, sw_fence_attach(&fence, scene.dma_buf));
	is_waited_for(_metadata, &fence, FOREIGN, -1);
	sw_fence_close(&fence);
}

/* The next flip is refused until the event of the one before is sent, and not longer. */
TEST_F_TIMEOUT(fence, one_flip_at_a_time, 180)
{
	struct drm_mode_modeinfo mode = scene.display.mode;
	struct drm_event_vblank event;
	unsigned int i, refused = 0;

	mode_pace(&mode, SLOW_FRAME_MS);
	ASSERT_EQ(0, set_crtc(&scene.display, scene.frames[0].fb, &mode, 0, 0));
	for (i = 1; i <= 30; i++) {
		int ret;

		ASSERT_EQ(0, flip(i % FOREIGN, -1, NULL));
		ret = flip(FOREIGN, -1, NULL);
		if (ret) {
			ASSERT_EQ(-EBUSY, ret);
			refused++;
		} else {
			/* A vblank came in between and has sent the event. */
			ASSERT_EQ(sizeof(event), read(scene.display.fd, &event, sizeof(event)));
		}
		ASSERT_EQ(0, wait_event(scene.display.fd, &event));
	}
	TH_LOG("%u of %u flips were refused", refused, i - 1);
	EXPECT_GT(refused, 0);
	ASSERT_EQ(0, flip(1, -1, NULL));
	ASSERT_EQ(0, wait_event(scene.display.fd, &event));
	EXPECT_TRUE(shows("fence-flips", 1));
	EXPECT_EQ(-ETIMEDOUT, read_event(scene.display.fd, &event, 100));
}

/* Reads what a file of one fence says of it. Returns 0 or -errno. */
static int fence_info(int fence, struct sync_fence_info *info)
{
	struct sync_file_info file = {
		.num_fences = 1,
		.sync_fence_info = user_pointer(info),
	};

	memset(info, 0, sizeof(*info));
	return gpu_ioctl(fence, SYNC_IOC_FILE_INFO, &file);
}

/* The fence of a flip needs nothing of the device: that is gone, with its CRTC. */
TEST_F_TIMEOUT(fence, outlives_the_device, 180)
{
	struct drm_event_vblank event;
	struct sync_fence_info info;
	struct sw_fence fence;
	struct gpu gpu;
	unsigned int i;
	int out = -1;

	ASSERT_TRUE(gpu_find(&gpu));
	ASSERT_EQ(0, sw_fence_create(&fence));
	ASSERT_EQ(0, flip(1, fence.file, &out));
	ASSERT_EQ(0, fence_info(out, &info));
	EXPECT_EQ(0, info.status);
	EXPECT_STREQ(DRIVER_NAME, info.driver_name);
	EXPECT_EQ(0, strncmp(info.obj_name, "CRTC:", strlen("CRTC:")));
	ASSERT_EQ(0, sw_fence_signal(&fence));
	ASSERT_EQ(0, wait_event(scene.display.fd, &event));
	EXPECT_TRUE(is_signaled(out));
	sw_fence_close(&fence);

	/* The mappings of the frames would keep the file open. */
	for (i = 0; i < FRAMES; i++)
		frame_destroy(scene.display.fd, &scene.frames[i]);
	ASSERT_EQ(0, close(scene.display.fd));
	scene.display.fd = -1;
	ASSERT_EQ(0, gpu_unbind(&gpu));
	EXPECT_EQ(0, fence_info(out, &info));
	EXPECT_EQ(1, info.status);
	EXPECT_NE('\0', info.driver_name[0]);
	EXPECT_NE('\0', info.obj_name[0]);
	EXPECT_TRUE(is_signaled(out));
	EXPECT_EQ(0, close(out));
	EXPECT_EQ(0, gpu_bind(&gpu));
}

TEST_HARNESS_MAIN
