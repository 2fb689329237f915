// SPDX-License-Identifier: GPL-2.0
/*
 * Commits that user space does not wait for: they wait for the fence that comes with
 * them and for the commit before, not for anything else, and are never waited for.
 *
 * Environment: see display_screen.h
 */
#include <linux/dma-buf.h>

#include "kselftest_harness.h"
#include "display_kms.h"

#include <drm/vgem_drm.h>

#define FRAMES	3
/* The frame whose buffer is vgem's. */
#define FOREIGN	2
#define FLAGS	(DRM_MODE_ATOMIC_NONBLOCK | DRM_MODE_PAGE_FLIP_EVENT)

/* Each test is a process of its own. */
static struct {
	struct display display;
	struct frame frames[FRAMES];
	struct picture pictures[FRAMES];
	int screen;
	int vgem, dma_buf;
	__u32 handle;	/* of vgem */
} scene;

/* Makes a frame of the screen's size whose buffer is vgem's. Returns 0 or -errno. */
static int frame_import(struct frame *frame, struct picture *picture)
{
	const struct drm_mode_modeinfo *mode = &scene.display.mode;
	int ret = buffer_create(scene.vgem, frame, mode->hdisplay, mode->vdisplay);

	if (ret)
		return ret;
	scene.handle = frame->handle;
	scene.dma_buf = prime_export(scene.vgem, scene.handle);
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
	scene.vgem = vgem_open();
	REQUIRE(return, scene.vgem >= 0, "no vgem, whose fences these are");
	for (i = 0; i < FOREIGN; i++)
		ASSERT_EQ(0, frame_of_screen(&scene.display, &scene.frames[i],
					     &scene.pictures[i], i));
	REQUIRE(return, !frame_import(&scene.frames[FOREIGN], &scene.pictures[FOREIGN]),
		"the driver does not import buffers of vgem");
	ASSERT_EQ(0, set_crtc(&scene.display, scene.frames[0].fb, &scene.display.mode, 0, 0));
}

FIXTURE_TEARDOWN(fence)
{
	close(scene.display.fd);
}

/* Says that vgem's buffer is being drawn to. Returns 0 or -errno. */
static int begin(__u32 *fence)
{
	struct drm_vgem_fence_attach attach = {
		.handle = scene.handle,
		.flags = VGEM_FENCE_WRITE,
	};
	int ret = gpu_ioctl(scene.vgem, DRM_IOCTL_VGEM_FENCE_ATTACH, &attach);

	*fence = attach.out_fence;
	return ret;
}

static int end(__u32 fence)
{
	struct drm_vgem_fence_signal signal = { .fence = fence };

	return gpu_ioctl(scene.vgem, DRM_IOCTL_VGEM_FENCE_SIGNAL, &signal);
}

/* The fence of who draws to vgem's buffer, as a file; -errno. */
static int fence_file(void)
{
	struct dma_buf_export_sync_file file = { .flags = DMA_BUF_SYNC_READ };
	int ret = gpu_ioctl(scene.dma_buf, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &file);

	return ret ? ret : file.fd;
}

/* Flips to a frame once @fence, unless that is -1, is signaled. Returns 0 or -errno. */
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

/* A flip to @frame waits until that is drawn, which it knows from @fence if that is not -1. */
static void is_waited_for(struct __test_metadata *_metadata, __u32 drawing, unsigned int frame,
			  int fence)
{
	struct drm_event_vblank event;
	int out = -1;

	ASSERT_EQ(0, flip(frame, fence, &out));
	EXPECT_EQ(-ETIMEDOUT, read_event(scene.display.fd, &event, 300));
	EXPECT_FALSE(is_signaled(out));
	EXPECT_TRUE(shows("fence-before", 0));
	/* There is one flip at a time, whatever the next one waits for. */
	EXPECT_EQ(-EBUSY, flip(0, -1, NULL));
	EXPECT_EQ(-EBUSY, flip(0, fence, NULL));

	ASSERT_EQ(0, end(drawing));
	ASSERT_EQ(0, read_event(scene.display.fd, &event, 5000));
	EXPECT_EQ(DRM_EVENT_FLIP_COMPLETE, event.base.type);
	EXPECT_TRUE(is_signaled(out));
	EXPECT_TRUE(shows("fence-after", frame));

	/* One that is signaled is not waited for. */
	ASSERT_EQ(0, flip(0, fence, NULL));
	ASSERT_EQ(0, read_event(scene.display.fd, &event, 5000));
	EXPECT_TRUE(shows("fence-signaled", 0));
}

/* IN_FENCE_FD */
TEST_F_TIMEOUT(fence, explicit, 60)
{
	__u32 drawing;
	int fence;

	ASSERT_EQ(0, begin(&drawing));
	fence = fence_file();
	ASSERT_GE(fence, 0);
	is_waited_for(_metadata, drawing, 1, fence);
}

/* The fence that the buffer has by itself. */
TEST_F_TIMEOUT(fence, implicit, 60)
{
	__u32 drawing;

	ASSERT_EQ(0, begin(&drawing));
	is_waited_for(_metadata, drawing, FOREIGN, -1);
}

/* The next flip is refused until the event of the one before was sent, and not longer. */
TEST_F_TIMEOUT(fence, one_flip_at_a_time, 60)
{
	struct drm_event_vblank event;
	unsigned int i, refused = 0;

	for (i = 1; i <= 30; i++) {
		int ret;

		ASSERT_EQ(0, flip(i % FOREIGN, -1, NULL));
		/* Unless a vblank comes in between. */
		ret = flip(FOREIGN, -1, NULL);
		if (!ret)
			ret = read_event(scene.display.fd, &event, 5000);
		else
			refused++;
		ASSERT_TRUE(!ret || ret == -EBUSY);
		ASSERT_EQ(0, read_event(scene.display.fd, &event, 5000));
	}
	EXPECT_GE(refused, 15);
	ASSERT_EQ(0, flip(1, -1, NULL));
	ASSERT_EQ(0, read_event(scene.display.fd, &event, 5000));
	EXPECT_TRUE(shows("fence-flips", 1));
	EXPECT_EQ(-ETIMEDOUT, read_event(scene.display.fd, &event, 100));
}

TEST_HARNESS_MAIN
