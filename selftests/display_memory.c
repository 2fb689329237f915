// SPDX-License-Identifier: GPL-2.0
/*
 * Memory runs out: each allocation of a request fails in turn. The request succeeds or
 * returns -ENOMEM, and the screen shows the old picture or the new one.
 *
 * Needs what failures.h needs.
 *
 * Environment: see display_screen.h
 */
#include "kselftest_harness.h"
#include "display_request.h"
#include "failures.h"

/* As many as one request may have. */
#define MANY_PACKETS	64
/* More allocations than any request makes. */
#define MANY		2000
#define SIDE		256

/* Each test is a process of its own. */
static struct {
	struct display display;
	struct gpu gpu;
	struct frame frames[2];
	struct picture pictures[2];
	struct frame buffer;
	struct request request;
	int screen;
	/* the frame that is shown */
	unsigned int shown;
	/* what the last run made */
	__u32 id;
	int fd;
	__s32 fence;
} scene;

FIXTURE(memory)
{
};

struct operation {
	int (*run)(void);
	/* after a success */
	void (*undo)(void);
	/* a success shows the other frame */
	bool shows;
	/* an error that the kernel returns instead of -ENOMEM; 0 for none */
	int instead;
};

FIXTURE_VARIANT(memory)
{
	struct operation operation;
};

static int run_create(void)
{
	struct drm_mode_create_dumb create = { .width = SIDE, .height = SIDE, .bpp = 32 };
	int ret = gpu_ioctl(scene.display.fd, DRM_IOCTL_MODE_CREATE_DUMB, &create);

	scene.id = create.handle;
	return ret;
}

static void undo_create(void)
{
	struct drm_mode_destroy_dumb destroy = { .handle = scene.id };

	gpu_ioctl(scene.display.fd, DRM_IOCTL_MODE_DESTROY_DUMB, &destroy);
}

FIXTURE_VARIANT_ADD(memory, create_dumb)
{
	/* What shmem returns without an inode. */
	.operation = { .run = run_create, .undo = undo_create, .instead = -ENOSPC },
};

static int run_map(void)
{
	struct drm_mode_map_dumb map = { .handle = scene.buffer.handle };

	return gpu_ioctl(scene.display.fd, DRM_IOCTL_MODE_MAP_DUMB, &map);
}

FIXTURE_VARIANT_ADD(memory, map_dumb)
{
	.operation = { .run = run_map },
};

static int run_framebuffer(void)
{
	return frame_add(scene.display.fd, &scene.buffer, SIDE, SIDE,
			 scene.buffer.buffer_pitch, 0);
}

static void undo_framebuffer(void)
{
	gpu_ioctl(scene.display.fd, DRM_IOCTL_MODE_RMFB, &scene.buffer.fb);
	scene.buffer.fb = 0;
}

FIXTURE_VARIANT_ADD(memory, framebuffer)
{
	.operation = { .run = run_framebuffer, .undo = undo_framebuffer },
};

static int run_export(void)
{
	scene.fd = prime_export(scene.display.fd, scene.buffer.handle);
	return scene.fd < 0 ? scene.fd : 0;
}

static void undo_export(void)
{
	close(scene.fd);
}

FIXTURE_VARIANT_ADD(memory, export)
{
	.operation = { .run = run_export, .undo = undo_export },
};

static int run_open(void)
{
	scene.fd = open(scene.display.card, O_RDWR | O_CLOEXEC);
	return scene.fd < 0 ? -errno : 0;
}

FIXTURE_VARIANT_ADD(memory, open)
{
	.operation = { .run = run_open, .undo = undo_export },
};

static __u32 other_fb(void)
{
	return scene.frames[!scene.shown].fb;
}

static int run_set_crtc(void)
{
	return set_crtc(&scene.display, other_fb(), &scene.display.mode, 0, 0);
}

FIXTURE_VARIANT_ADD(memory, set_crtc)
{
	.operation = { .run = run_set_crtc, .shows = true },
};

static int run_flip(void)
{
	return page_flip(&scene.display, other_fb(), DRM_MODE_PAGE_FLIP_EVENT, 0);
}

static void wait_for_event(void)
{
	struct drm_event_vblank event;
	int ret = wait_event(scene.display.fd, &event);

	if (ret)
		fprintf(stderr, "# no event: %s\n", strerror(-ret));
}

FIXTURE_VARIANT_ADD(memory, page_flip)
{
	.operation = { .run = run_flip, .undo = wait_for_event, .shows = true },
};

static int run_atomic(void)
{
	unsigned int i;

	/* The framebuffer is the first property of the first object. */
	scene.request.values[0] = other_fb();
	for (i = 0; i < scene.request.count; i++) {
		if (scene.request.values[i] == user_pointer(&scene.fence))
			scene.fence = -1;
	}
	return request_commit(&scene.display, &scene.request,
			      DRM_MODE_ATOMIC_NONBLOCK | DRM_MODE_PAGE_FLIP_EVENT, 0);
}

static void undo_atomic(void)
{
	wait_for_event();
	close(scene.fence);
}

FIXTURE_VARIANT_ADD(memory, atomic)
{
	.operation = { .run = run_atomic, .undo = undo_atomic, .shows = true },
};

static int run_dirty(void)
{
	return dirty_fb(scene.display.fd, scene.frames[scene.shown].fb, NULL, 0);
}

FIXTURE_VARIANT_ADD(memory, dirty)
{
	.operation = { .run = run_dirty },
};

static int run_cursor(void)
{
	struct drm_mode_cursor2 cursor = {
		.flags = DRM_MODE_CURSOR_BO | DRM_MODE_CURSOR_MOVE,
		.crtc_id = scene.display.crtc,
		.width = 64,
		.height = 64,
		.handle = scene.buffer.handle,
	};

	return gpu_ioctl(scene.display.fd, DRM_IOCTL_MODE_CURSOR2, &cursor);
}

static void undo_cursor(void)
{
	struct drm_mode_cursor2 cursor = {
		.flags = DRM_MODE_CURSOR_BO,
		.crtc_id = scene.display.crtc,
	};

	gpu_ioctl(scene.display.fd, DRM_IOCTL_MODE_CURSOR2, &cursor);
}

FIXTURE_VARIANT_ADD(memory, cursor)
{
	.operation = { .run = run_cursor, .undo = undo_cursor },
};

static int run_submit(void)
{
	__u64 fence;
	int ret = gpu_submit(scene.display.fd, RUST_GPU_NODE_CONTROL, 1, 0, &fence);

	return ret == 1 ? gpu_wait_fence(scene.display.fd, RUST_GPU_NODE_CONTROL, fence,
					 now_ns() + GPU_PATIENCE_NS) : ret;
}

FIXTURE_VARIANT_ADD(memory, submit)
{
	.operation = { .run = run_submit },
};

/* Several packets, which wait for their turn. */
static int run_submit_many(void)
{
	__u64 fence;
	int ret = gpu_submit(scene.display.fd, RUST_GPU_NODE_SOFTWARE, MANY_PACKETS, 0, &fence);

	if (ret > 0)
		ret = gpu_wait_fence(scene.display.fd, RUST_GPU_NODE_SOFTWARE, fence,
				     now_ns() + GPU_PATIENCE_NS);
	return ret;
}

FIXTURE_VARIANT_ADD(memory, submit_many)
{
	.operation = { .run = run_submit_many },
};

static void prepare_request(void)
{
	struct display *display = &scene.display;

	request_set(&scene.request, display, display->primary, "FB_ID", 0);
	request_set(&scene.request, display, display->crtc, "OUT_FENCE_PTR",
		    user_pointer(&scene.fence));
}

FIXTURE_SETUP(memory)
{
	struct display *display = &scene.display;
	const char *reason = display_screen_open(display, &scene.screen);
	unsigned int i;

	REQUIRE(return, !reason, reason);
	REQUIRE(return, gpu_find(&scene.gpu), NO_GPU);
	if (!failures_prepare())
		SKIP(return, NO_FAILURES);
	ASSERT_EQ(0, set_client_cap(display->fd, DRM_CLIENT_CAP_ATOMIC));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, frame_of_screen(display, &scene.frames[i], &scene.pictures[i], 1 + i));
	ASSERT_EQ(0, buffer_create(display->fd, &scene.buffer, SIDE, SIDE));
	ASSERT_EQ(0, set_crtc(display, scene.frames[0].fb, &display->mode, 0, 0));
	prepare_request();
}

FIXTURE_TEARDOWN(memory)
{
	unsigned int i;

	frame_destroy(scene.display.fd, &scene.buffer);
	for (i = 0; i < 2; i++)
		frame_destroy(scene.display.fd, &scene.frames[i]);
	close(scene.display.fd);
}

static int run_operation(const void *data)
{
	const struct operation *operation = data;

	return operation->run();
}

static __s64 dma_bytes(void)
{
	return file_number(path("/sys/kernel/debug/rust_gpu/%s/memory", scene.gpu.pci),
			   "dma bytes:");
}

/* Waits until the driver has freed everything else: it does so some time later. */
static bool dma_bytes_become(__s64 bytes)
{
	__s64 deadline = now_ns() + GPU_PATIENCE_NS;

	while (dma_bytes() != bytes) {
		if (now_ns() > deadline)
			return false;
		sleep_ns(10 * NSEC_PER_MSEC);
	}
	return true;
}

TEST_F_TIMEOUT(memory, runs_out, 600)
{
	const struct operation *operation = &variant->operation;
	unsigned int nth, failures = 0;
	bool refused = true;
	__s64 before;

	/* The first run makes what is kept. */
	ASSERT_EQ(0, operation->run());
	if (operation->undo)
		operation->undo();
	scene.shown ^= operation->shows;
	/* What the device has not answered yet is not kept. */
	ASSERT_EQ(0, gpu_calm(scene.display.fd));
	before = dma_bytes();
	ASSERT_GT(before, 0);

	for (nth = 1; refused && nth < MANY; nth++) {
		int ret = run_without(run_operation, operation, nth, &refused);

		if (ret && ret != -ENOMEM && ret != operation->instead) {
			EXPECT_EQ(-ENOMEM, ret) TH_LOG("allocation %u", nth);
			break;
		}
		failures += !!ret;
		if (!ret && operation->undo)
			operation->undo();
		if (!operation->shows)
			continue;
		scene.shown ^= !ret;
		if (!screen_shows(scene.screen, "memory", scene.display.head,
				  &scene.pictures[scene.shown])) {
			EXPECT_TRUE(false) TH_LOG("allocation %u: wrong picture, %d", nth, ret);
			break;
		}
	}
	EXPECT_FALSE(refused);
	TH_LOG("%u allocations refused, %u requests failed", nth - 2, failures);
	EXPECT_TRUE(screen_shows(scene.screen, "memory-after", scene.display.head,
				 &scene.pictures[scene.shown]));
	EXPECT_TRUE(dma_bytes_become(before)) TH_LOG("%lld bytes, were %lld", dma_bytes(), before);
}

TEST_HARNESS_MAIN
