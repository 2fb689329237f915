// SPDX-License-Identifier: GPL-2.0
/*
 * Memory runs out in the ioctls of 3D: each allocation fails in turn. The call succeeds or
 * returns -ENOMEM, and nothing of it stays.
 *
 * Needs what failures.h needs.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include "failures.h"
#include "render_counts.h"

/* More allocations than any call makes. */
#define MANY		2000
#define WORDS		1024

/* Each test is a process of its own. */
static struct {
	struct render render;
	int fd;
	struct bo bo;
	__u32 in, out;
	__u32 words[WORDS];
	/* what the last run made */
	__u32 handle;
	int file;
} scene;

FIXTURE(memory)
{
	struct counts before;
};

struct operation {
	int (*run)(const void *data);
	/* after a success */
	void (*undo)(void);
	/* an error that the kernel returns instead of -ENOMEM; 0 for none */
	int instead;
};

FIXTURE_VARIANT(memory)
{
	struct operation operation;
};

static int run_open(const void *data)
{
	(void)data;
	scene.file = open("/dev/dri/renderD128", O_RDWR | O_CLOEXEC);
	return scene.file < 0 ? -errno : 0;
}

static void undo_open(void)
{
	close(scene.file);
}

FIXTURE_VARIANT_ADD(memory, open)
{
	.operation = { .run = run_open, .undo = undo_open },
};

static int run_context(const void *data)
{
	int ret;

	(void)data;
	scene.file = open("/dev/dri/renderD128", O_RDWR | O_CLOEXEC);
	ret = scene.file < 0 ? -errno : name_context(scene.file, "render-memory", 4);
	/* This is an end with memory missing, too. */
	if (scene.file >= 0)
		close(scene.file);
	return ret;
}

FIXTURE_VARIANT_ADD(memory, context)
{
	.operation = { .run = run_context },
};

static int run_create(const void *data)
{
	struct drm_virtgpu_resource_create create = picture_of(SIDE);
	int ret = resource_create(scene.fd, &create);

	(void)data;
	scene.handle = create.bo_handle;
	return ret;
}

static void undo_create(void)
{
	gem_close(scene.fd, scene.handle);
}

FIXTURE_VARIANT_ADD(memory, create)
{
	/* What shmem returns without an inode. */
	.operation = { .run = run_create, .undo = undo_create, .instead = -ENOSPC },
};

static int run_destroy(const void *data)
{
	struct drm_virtgpu_resource_create create = picture_of(SIDE);
	int ret = resource_create(scene.fd, &create);

	(void)data;
	return ret ? ret : gem_close(scene.fd, create.bo_handle);
}

FIXTURE_VARIANT_ADD(memory, destroy)
{
	.operation = { .run = run_destroy, .instead = -ENOSPC },
};

static int run_map(const void *data)
{
	struct drm_virtgpu_map map = { .handle = scene.bo.handle };

	(void)data;
	return gpu_ioctl(scene.fd, DRM_IOCTL_VIRTGPU_MAP, &map);
}

FIXTURE_VARIANT_ADD(memory, map)
{
	.operation = { .run = run_map },
};

static int run_to_host(const void *data)
{
	(void)data;
	return bo_transfer(scene.fd, scene.bo.handle, SIDE, true);
}

FIXTURE_VARIANT_ADD(memory, to_host)
{
	.operation = { .run = run_to_host },
};

static int run_from_host(const void *data)
{
	(void)data;
	return bo_transfer(scene.fd, scene.bo.handle, SIDE, false);
}

FIXTURE_VARIANT_ADD(memory, from_host)
{
	.operation = { .run = run_from_host },
};

static int run_wait(const void *data)
{
	(void)data;
	return bo_wait(scene.fd, scene.bo.handle, 0);
}

FIXTURE_VARIANT_ADD(memory, wait)
{
	.operation = { .run = run_wait },
};

static int run_caps(const void *data)
{
	static __u8 bytes[4096];
	struct drm_virtgpu_get_caps get = {
		.cap_set_id = capsets[1].id,
		.addr = pointer(bytes),
		.size = sizeof(bytes),
	};

	(void)data;
	return gpu_ioctl(scene.fd, DRM_IOCTL_VIRTGPU_GET_CAPS, &get);
}

FIXTURE_VARIANT_ADD(memory, caps)
{
	.operation = { .run = run_caps },
};

/* A submission with all that one can have. */
static int run_submit(const void *data)
{
	struct drm_virtgpu_execbuffer_syncobj in = { .handle = scene.in };
	struct drm_virtgpu_execbuffer_syncobj out = { .handle = scene.out, .point = 1 };
	struct drm_virtgpu_execbuffer exec = {
		.flags = VIRTGPU_EXECBUF_FENCE_FD_OUT,
		.size = sizeof(scene.words),
		.command = pointer(scene.words),
		.bo_handles = pointer(&scene.bo.handle),
		.num_bo_handles = 1,
		.fence_fd = -1,
		.syncobj_stride = sizeof(in),
		.num_in_syncobjs = 1,
		.num_out_syncobjs = 1,
		.in_syncobjs = pointer(&in),
		.out_syncobjs = pointer(&out),
	};
	int ret = execbuffer(scene.fd, &exec);

	(void)data;
	scene.file = exec.fence_fd;
	return ret;
}

static void undo_submit(void)
{
	close(scene.file);
}

FIXTURE_VARIANT_ADD(memory, submit)
{
	.operation = { .run = run_submit, .undo = undo_submit },
};

static int run_small_submit(const void *data)
{
	(void)data;
	return submit_words(scene.fd, scene.words, 2);
}

FIXTURE_VARIANT_ADD(memory, small_submit)
{
	.operation = { .run = run_small_submit },
};

FIXTURE_SETUP(memory)
{
	const char *reason = render_begin(&scene.render, true);

	scene.fd = -1;
	REQUIRE(return, !reason, reason);
	REQUIRE(return, failures_prepare(), NO_FAILURES);
	if (!scene.render.rust)
		SKIP(return, "the C driver waits for memory, or loses some");
	self->before = read_counts(scene.render.screen);
	scene.fd = client_open();
	ASSERT_LE(0, scene.fd);
	ASSERT_EQ(0, bo_create(scene.fd, &scene.bo, SIDE));
	scene.in = syncobj_create(scene.fd, DRM_SYNCOBJ_CREATE_SIGNALED);
	scene.out = syncobj_create(scene.fd, 0);
}

FIXTURE_TEARDOWN(memory)
{
	bo_destroy(scene.fd, &scene.bo);
	close(scene.fd);
	is_as_before(_metadata, scene.render.screen, &self->before);
	EXPECT_TRUE(device_is_sound(scene.render.screen));
	render_end(&scene.render);
}

TEST_F_TIMEOUT(memory, each_allocation, 600)
{
	const struct operation *operation = &variant->operation;
	unsigned int nth, failed = 0;
	bool refused = true;

	for (nth = 1; refused && nth < MANY; nth++) {
		int ret = run_without(operation->run, NULL, nth, &refused);

		if (ret && ret != operation->instead)
			EXPECT_EQ(-ENOMEM, ret) TH_LOG("allocation %u", nth);
		if (!ret && operation->undo)
			operation->undo();
		failed += !!ret;
		/* The next one finds all as this one did. */
		EXPECT_EQ(0, bo_wait(scene.fd, scene.bo.handle, 0)) TH_LOG("allocation %u", nth);
	}
	EXPECT_FALSE(refused);
	TH_LOG("%u allocations, %u of them fail the call", nth - 2, failed);
	EXPECT_EQ(0, operation->run(NULL));
	if (operation->undo)
		operation->undo();
}

TEST_HARNESS_MAIN
