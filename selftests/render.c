// SPDX-License-Identifier: GPL-2.0
/*
 * Contexts of 3D, and submissions to them: what the ioctls take, what they refuse, in which
 * order they look, and with which error. It is what the C driver does; where this driver
 * differs on purpose, the test says why.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include <sys/resource.h>

#include "render.h"
#include "sw_sync.h"

#define ANY_CAPSET	VIRTGPU_DRM_CAPSET_VIRGL2
#define RINGS		4
#define BAD_POINTER	((const void *)8)
/* A descriptor of a file that is no fence. */
#define NO_FENCE_FILE	"/dev/null"
/* Longer than a submission takes, shorter than a fence that never comes. */
#define SHORT_NS	(300 * NSEC_PER_MSEC)

FIXTURE(render)
{
	struct render render;
	int fd;		/* a file without a context */
};

FIXTURE_SETUP(render)
{
	const char *reason = render_begin(&self->render, false);

	self->fd = -1;
	REQUIRE(return, !reason, reason);
	self->fd = client_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(render)
{
	close(self->fd);
	if (self->render.screen >= 0) {
		EXPECT_EQ(0, device_resume(self->render.screen));
		EXPECT_TRUE(!self->render.rust || device_is_sound(self->render.screen));
	}
	render_end(&self->render);
}

TEST_F(render, params)
{
	static const struct { __u64 param; int ret, value; } params[] = {
		{ VIRTGPU_PARAM_3D_FEATURES, 0, 1 },
		{ VIRTGPU_PARAM_CAPSET_QUERY_FIX, 0, 1 },
		{ VIRTGPU_PARAM_RESOURCE_BLOB, 0, 0 },
		{ VIRTGPU_PARAM_HOST_VISIBLE, 0, 0 },
		{ VIRTGPU_PARAM_CROSS_DEVICE, 0, 0 },
		{ VIRTGPU_PARAM_CONTEXT_INIT, 0, 1 },
		{ VIRTGPU_PARAM_EXPLICIT_DEBUG_NAME, 0, 1 },
		{ VIRTGPU_PARAM_BLOB_ALIGNMENT, -ENOENT, 0x55 },
		{ VIRTGPU_PARAM_BLOB_ALIGNMENT + 1, -EINVAL, 0x55 },
	};
	unsigned int i;
	int values[2];

	for (i = 0; i < ARRAY_SIZE(params); i++) {
		values[0] = 0x55;
		values[1] = 0x55;
		EXPECT_EQ(params[i].ret, get_param(self->fd, params[i].param, values))
			TH_LOG("%llu", params[i].param);
		EXPECT_EQ(params[i].value, values[0]) TH_LOG("%llu", params[i].param);
		EXPECT_EQ(0x55, values[1]);
	}
	EXPECT_EQ(0, get_param(self->fd, VIRTGPU_PARAM_SUPPORTED_CAPSET_IDs, values));
	EXPECT_EQ(6, values[0] & 6);
	if (self->render.screen >= 0)
		EXPECT_EQ(6, values[0]);
	EXPECT_EQ(-EFAULT, get_param(self->fd, VIRTGPU_PARAM_3D_FEATURES, NULL));
}

#define CAPSET	VIRTGPU_CONTEXT_PARAM_CAPSET_ID
#define COUNT	VIRTGPU_CONTEXT_PARAM_NUM_RINGS
#define MASK	VIRTGPU_CONTEXT_PARAM_POLL_RINGS_MASK
#define NAME	VIRTGPU_CONTEXT_PARAM_DEBUG_NAME

static const struct {
	const char *what;
	int ret;
	__u32 count;
	struct drm_virtgpu_context_set_param params[4];
} inits[] = {
	{ "nothing", 0, 0, {} },
	{ "a capset", 0, 1, { { CAPSET, ANY_CAPSET } } },
	{ "all that there is", 0, 4,
	  { { CAPSET, ANY_CAPSET }, { COUNT, 64 }, { MASK, ~0ULL },
	    { NAME, (unsigned long)"x" } } },
	{ "the mask before the rings", 0, 2, { { MASK, 2 }, { COUNT, 2 } } },
	{ "capset 0", -EINVAL, 1, { { CAPSET, 0 } } },
	{ "a capset that is not offered", -EINVAL, 1, { { CAPSET, 63 } } },
	{ "a capset that cannot be", -EINVAL, 1, { { CAPSET, 64 } } },
	{ "a large capset", -EINVAL, 1, { { CAPSET, 1ULL << 32 | ANY_CAPSET } } },
	{ "two capsets", -EINVAL, 2, { { CAPSET, ANY_CAPSET }, { CAPSET, ANY_CAPSET } } },
	{ "too many rings", -EINVAL, 1, { { COUNT, 65 } } },
	{ "very many rings", -EINVAL, 1, { { COUNT, 1ULL << 32 | 1 } } },
	{ "rings twice", -EINVAL, 2, { { COUNT, 1 }, { COUNT, 1 } } },
	{ "a mask without rings", -EINVAL, 1, { { MASK, 1 } } },
	{ "a mask of more rings", -EINVAL, 2, { { COUNT, 1 }, { MASK, 2 } } },
	{ "two masks", -EINVAL, 3, { { COUNT, 2 }, { MASK, 1 }, { MASK, 2 } } },
	{ "two names", -EINVAL, 2,
	  { { NAME, (unsigned long)"x" }, { NAME, (unsigned long)"y" } } },
	{ "a name that is nowhere", -EFAULT, 1, { { NAME, 8 } } },
	{ "parameter 0", -EINVAL, 1, { { 0, 0 } } },
	{ "parameter 5", -EINVAL, 1, { { NAME + 1, 0 } } },
	{ "a large parameter", -EINVAL, 1, { { 1ULL << 32 | COUNT, 1 } } },
};

/* The C driver keeps what it read before it fails: here a mask that is wrong without rings. */
static bool c_keeps(unsigned int init)
{
	unsigned int i, masks = 0;

	for (i = 0; i < inits[init].count; i++)
		masks += inits[init].params[i].param == MASK;
	return masks == 1;
}

TEST_F(render, context_init)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(inits); i++) {
		const bool kept = c_keeps(i) && !self->render.rust;
		int fd = client_open();

		ASSERT_LE(0, fd);
		EXPECT_EQ(inits[i].ret, init_context(fd, inits[i].params, inits[i].count))
			TH_LOG("%s", inits[i].what);
		/* There is one per file, and none after a failure. */
		EXPECT_EQ(!inits[i].ret ? -EEXIST : kept ? -EINVAL : 0, init_context(fd, NULL, 0))
			TH_LOG("%s", inits[i].what);
		close(fd);
	}
}

TEST_F(render, context_init_order)
{
	static const struct drm_virtgpu_context_set_param wrong = { NAME + 1, 0 };

	EXPECT_EQ(-EINVAL, init_context(self->fd, BAD_POINTER, 5));
	EXPECT_EQ(-EINVAL, init_context(self->fd, BAD_POINTER, ~0u));
	EXPECT_EQ(-EFAULT, init_context(self->fd, BAD_POINTER, 1));
	ASSERT_EQ(0, init_context(self->fd, NULL, 0));
	EXPECT_EQ(-EINVAL, init_context(self->fd, BAD_POINTER, 5));
	EXPECT_EQ(-EFAULT, init_context(self->fd, BAD_POINTER, 1));
	EXPECT_EQ(-EEXIST, init_context(self->fd, &wrong, 1));
}

/* The C driver keeps what it read before it fails, so the next call finds it twice. */
TEST_F(render, context_init_again)
{
	static const struct drm_virtgpu_context_set_param params[] = {
		{ CAPSET, ANY_CAPSET },
		{ NAME + 1, 0 },
	};

	EXPECT_EQ(-EINVAL, init_context(self->fd, params, 2));
	EXPECT_EQ(self->render.rust ? 0 : -EINVAL, init_context(self->fd, params, 1));
}

/* A name has 63 bytes at most. Without one a context has that of the thread. */
TEST_F(render, context_names)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;
	struct context context;
	char name[80];
	int fd;

	if (self->render.screen < 0)
		SKIP(return, NO_OWN_DEVICE);
	memset(name, 'n', sizeof(name));
	name[70] = '\0';
	ASSERT_EQ(0, name_context(self->fd, name, 0));
	name[63] = '\0';
	EXPECT_EQ(0, context_find(self->render.screen, name, &context));
	EXPECT_EQ(1, context.alive);
	EXPECT_EQ(0, context.capset);
	ASSERT_EQ(0, prctl(PR_SET_NAME, "render-comm"));
	fd = client_open();
	ASSERT_EQ(0, init_context(fd, inits[1].params, 1));
	EXPECT_EQ(0, context_find(self->render.screen, "render-comm", &context));
	EXPECT_EQ(ANY_CAPSET, context.capset);
	close(fd);
	do {
		sleep_ns(10 * NSEC_PER_MSEC);
		ASSERT_EQ(0, context_find(self->render.screen, "render-comm", &context));
	} while (context.alive && now_ns() < end);
	EXPECT_EQ(0, context.alive);
}

/* What makes the context of a file: all that needs one, but not what it refuses at once. */
TEST_F(render, context_is_made)
{
	struct drm_virtgpu_resource_create create = picture_of(SIDE);
	struct drm_virtgpu_execbuffer exec = { .flags = ~VIRTGPU_EXECBUF_FLAGS };
	const __u32 bad = ~0u;
	int fd;

	EXPECT_EQ(-EINVAL, execbuffer(self->fd, &exec));
	exec = (struct drm_virtgpu_execbuffer){ .flags = VIRTGPU_EXECBUF_RING_IDX };
	EXPECT_EQ(-EINVAL, execbuffer(self->fd, &exec));
	EXPECT_EQ(-ENOENT, bo_transfer(self->fd, ~0u, SIDE, true));
	EXPECT_EQ(-ENOENT, bo_wait(self->fd, ~0u, 0));
	EXPECT_EQ(0, init_context(self->fd, NULL, 0));

	fd = client_open();
	exec = (struct drm_virtgpu_execbuffer){
		.num_bo_handles = 1,
		.bo_handles = pointer(&bad),
	};
	EXPECT_EQ(-ENOENT, execbuffer(fd, &exec));
	EXPECT_EQ(-EEXIST, init_context(fd, NULL, 0));
	close(fd);

	fd = client_open();
	EXPECT_EQ(0, submit_words(fd, NULL, 0));
	EXPECT_EQ(-EEXIST, init_context(fd, NULL, 0));
	close(fd);

	fd = client_open();
	EXPECT_EQ(-ENOENT, bo_transfer(fd, ~0u, SIDE, false));
	EXPECT_EQ(-EEXIST, init_context(fd, NULL, 0));
	close(fd);

	fd = client_open();
	EXPECT_EQ(0, resource_create(fd, &create));
	EXPECT_EQ(-EEXIST, init_context(fd, NULL, 0));
	close(fd);
}

/* Each wrong argument alone, of a submission that is right otherwise. */
TEST_F(render, submission)
{
	const __u32 nop[2] = {}, unknown = ~0u;
	const struct drm_virtgpu_execbuffer right = {
		.flags = VIRTGPU_EXECBUF_FENCE_FD_OUT,
		.size = sizeof(nop),
		.command = pointer(nop),
		.fence_fd = -7,
	};
	struct drm_virtgpu_execbuffer exec = right;
	int null = open(NO_FENCE_FILE, O_RDONLY | O_CLOEXEC);

	ASSERT_EQ(0, execbuffer(self->fd, &exec));
	EXPECT_EQ(1, end_fence(exec.fence_fd));

	exec = right;
	exec.flags |= 8;
	EXPECT_EQ(-EINVAL, execbuffer(self->fd, &exec));
	exec = right;
	exec.flags |= VIRTGPU_EXECBUF_RING_IDX;
	EXPECT_EQ(-EINVAL, execbuffer(self->fd, &exec));
	exec = right;
	exec.num_bo_handles = 1;
	EXPECT_EQ(-EFAULT, execbuffer(self->fd, &exec));
	exec.bo_handles = pointer(&unknown);
	EXPECT_EQ(-ENOENT, execbuffer(self->fd, &exec));
	/* Buffers are looked at before the stream. */
	exec.command = pointer(BAD_POINTER);
	EXPECT_EQ(-ENOENT, execbuffer(self->fd, &exec));
	exec = right;
	exec.command = pointer(BAD_POINTER);
	EXPECT_EQ(-EFAULT, execbuffer(self->fd, &exec));
	exec = right;
	exec.flags |= VIRTGPU_EXECBUF_FENCE_FD_IN;
	exec.fence_fd = null;
	EXPECT_EQ(-EINVAL, execbuffer(self->fd, &exec));
	/* A descriptor is written only if there is one. */
	EXPECT_EQ(null, exec.fence_fd);
	exec.fence_fd = -1;
	EXPECT_EQ(-EINVAL, execbuffer(self->fd, &exec));
	EXPECT_EQ(-1, exec.fence_fd);
	/* No stream at all is one. */
	exec = right;
	exec.size = 0;
	exec.command = 0;
	EXPECT_EQ(0, execbuffer(self->fd, &exec));
	EXPECT_EQ(1, end_fence(exec.fence_fd));
	close(null);
}

/* A descriptor that there is no room for. */
TEST_F(render, no_descriptor)
{
	struct drm_virtgpu_execbuffer exec = {
		.flags = VIRTGPU_EXECBUF_FENCE_FD_OUT,
		.fence_fd = -7,
	};
	struct rlimit before, limit;

	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &before));
	limit = before;
	limit.rlim_cur = 0;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_EQ(-EMFILE, execbuffer(self->fd, &exec));
	EXPECT_EQ(-7, exec.fence_fd);
	EXPECT_EQ(0, submit_words(self->fd, NULL, 0));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &before));
}

/* Both ways at once: one comes in, another one goes out in its place. */
TEST_F(render, fences_in_and_out)
{
	struct drm_virtgpu_execbuffer exec = {
		.flags = VIRTGPU_EXECBUF_FENCE_FD_OUT,
		.fence_fd = -1,
	};
	int first;

	ASSERT_EQ(0, execbuffer(self->fd, &exec));
	first = exec.fence_fd;
	exec.flags |= VIRTGPU_EXECBUF_FENCE_FD_IN;
	ASSERT_EQ(0, execbuffer(self->fd, &exec));
	EXPECT_NE(first, exec.fence_fd);
	EXPECT_EQ(1, end_fence(exec.fence_fd));
	EXPECT_EQ(1, end_fence(first));
	exec.flags = VIRTGPU_EXECBUF_FENCE_FD_OUT;
	ASSERT_EQ(0, execbuffer(self->fd, &exec));
	/* An old one of its own, without one out. */
	exec.flags = VIRTGPU_EXECBUF_FENCE_FD_IN;
	first = exec.fence_fd;
	EXPECT_EQ(0, execbuffer(self->fd, &exec));
	EXPECT_EQ(first, exec.fence_fd);
	close(first);
}

TEST_F(render, rings)
{
	const struct drm_virtgpu_context_set_param params = { COUNT, RINGS };
	int fence;
	__u32 i;

	ASSERT_EQ(0, init_context(self->fd, &params, 1));
	EXPECT_EQ(-EINVAL, submit_ring(self->fd, RINGS, NULL, 0));
	EXPECT_EQ(-EINVAL, submit_ring(self->fd, ~0u, NULL, 0));
	if (self->render.screen < 0)
		SKIP(return, "virglrenderer ends no fences of rings for virgl");
	for (i = 0; i < RINGS; i++) {
		fence = submit_ring(self->fd, i, NULL, 0);
		ASSERT_LE(0, fence);
		EXPECT_EQ(1, end_fence(fence));
	}
}

/* Waits for a fence of others before it submits; a signal interrupts that, and no trace is left. */
TEST_F_TIMEOUT(render, fence_in, 60)
{
	struct drm_virtgpu_execbuffer exec = { .flags = VIRTGPU_EXECBUF_FENCE_FD_IN };
	const bool own = self->render.screen >= 0;
	struct sw_fence fence = { -1, -1 };
	__s64 before, start;
	pid_t child;
	int status;

	REQUIRE(return, !access(SW_SYNC_FILE, W_OK), NO_SW_SYNC);
	ASSERT_EQ(0, sw_fence_create(&fence));
	exec.fence_fd = fence.file;
	ASSERT_EQ(0, init_context(self->fd, NULL, 0));
	before = own ? render_count(self->render.screen, "submissions") : 0;
	start = now_ns();
	interrupt_in(SHORT_NS, false);
	EXPECT_EQ(-EINTR, execbuffer(self->fd, &exec));
	EXPECT_LE(SHORT_NS, now_ns() - start);
	if (own)
		EXPECT_EQ(before, render_count(self->render.screen, "submissions"));

	/* If it is begun again it goes on to wait. */
	child = fork();
	if (!child) {
		interrupt_in(SHORT_NS, true);
		_exit(execbuffer(self->fd, &exec) ? 1 : 0);
	}
	sleep_ns(2 * SHORT_NS);
	EXPECT_EQ(0, waitpid(child, &status, WNOHANG));
	ASSERT_EQ(0, sw_fence_signal(&fence));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	if (own)
		EXPECT_TRUE(render_wait(self->render.screen, "submissions", before + 1));
	sw_fence_close(&fence);
}

/* Structures may be shorter than the kernel's, and longer. */
TEST_F(render, sizes_of_structures)
{
	static const size_t exec_sizes[] = { 32, 40, 48, 80 };
	static const size_t info_sizes[] = { 12, 16, 48 };
	union {
		struct drm_virtgpu_execbuffer exec;
		struct drm_virtgpu_resource_info info;
		__u8 bytes[128];
	} args;
	struct bo bo;
	unsigned int i, at;

	for (i = 0; i < ARRAY_SIZE(exec_sizes); i++) {
		const size_t size = exec_sizes[i];

		memset(&args, 0, sizeof(args));
		memset(args.bytes + size, 0xff, sizeof(args) - size);
		args.exec.flags = VIRTGPU_EXECBUF_FENCE_FD_OUT;
		args.exec.fence_fd = -1;
		EXPECT_EQ(0, gpu_ioctl(self->fd, _IOC(_IOC_READ | _IOC_WRITE, DRM_IOCTL_BASE,
						      DRM_COMMAND_BASE + DRM_VIRTGPU_EXECBUFFER,
						      size), &args)) TH_LOG("%zu bytes", size);
		EXPECT_EQ(1, end_fence(args.exec.fence_fd)) TH_LOG("%zu bytes", size);
		for (at = size; at < sizeof(args); at++)
			EXPECT_EQ(0xff, args.bytes[at]);
	}
	ASSERT_EQ(0, bo_create(self->fd, &bo, SIDE));
	for (i = 0; i < ARRAY_SIZE(info_sizes); i++) {
		const size_t size = info_sizes[i];

		memset(&args, 0, sizeof(args));
		memset(args.bytes + size, 0xff, sizeof(args) - size);
		args.info.bo_handle = bo.handle;
		EXPECT_EQ(0, gpu_ioctl(self->fd, _IOC(_IOC_READ | _IOC_WRITE, DRM_IOCTL_BASE,
						      DRM_COMMAND_BASE + DRM_VIRTGPU_RESOURCE_INFO,
						      size), &args)) TH_LOG("%zu bytes", size);
		EXPECT_EQ(bo.res, args.info.res_handle);
		EXPECT_EQ(bo.size, args.info.size);
		for (at = size; at < sizeof(args); at++)
			EXPECT_EQ(0xff, args.bytes[at]);
	}
	bo_destroy(self->fd, &bo);
}

/* A card does as well, also to a file that is not its master. */
TEST_F(render, card)
{
	struct drm_virtgpu_resource_create create = picture_of(SIDE);
	int master, fd;

	master = node_open(false);
	ASSERT_LE(0, master);
	fd = node_open(false);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, resource_create(fd, &create));
	EXPECT_EQ(0, bo_transfer(fd, create.bo_handle, SIDE, true));
	EXPECT_EQ(0, submit_bo(fd, create.bo_handle, NULL, 0));
	EXPECT_EQ(0, bo_wait(fd, create.bo_handle, 0));
	close(fd);
	close(master);
}

/* What the device gets is what the client wrote, in its order. */
TEST_F(render, streams)
{
	static const size_t sizes[] = { 4, 8, 64, 400, 420, 448, 480, 4096, 16 << 10, 65540,
					1 << 20 };
	const size_t largest = sizes[ARRAY_SIZE(sizes) - 1];
	char want[256] = "";
	struct context context;
	__u32 *words;
	unsigned int i;

	if (self->render.screen < 0)
		SKIP(return, NO_OWN_DEVICE);
	words = malloc(largest);
	ASSERT_NE(NULL, words);
	for (i = 0; i < largest / sizeof(*words); i++)
		words[i] = i * 0x9e3779b1 + 1;
	ASSERT_EQ(0, name_context(self->fd, "streams", 0));
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		EXPECT_EQ(0, submit_words(self->fd, words, sizes[i] / 4));
		snprintf(want + strlen(want), sizeof(want) - strlen(want), "%s%08x", i ? "," : "",
			 crc_of(words, sizes[i]));
	}
	EXPECT_EQ(1, end_fence(submit_fenced(self->fd, NULL, 0)));
	snprintf(want + strlen(want), sizeof(want) - strlen(want), ",00000000");
	ASSERT_EQ(0, context_find(self->render.screen, "streams", &context));
	EXPECT_EQ(ARRAY_SIZE(sizes) + 1, context.submissions);
	EXPECT_STREQ(want, context.crcs);
	free(words);
}

TEST_HARNESS_MAIN
