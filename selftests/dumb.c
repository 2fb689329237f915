// SPDX-License-Identifier: GPL-2.0
/*
 * Dumb buffers are made, mapped, shared and destroyed, and bad requests are refused.
 *
 * Errors: -EINVAL for a depth other than 32 bits, for no pixels or more than 2^32
 * bytes, and for a file that is no buffer; -ENOENT for an unknown handle; -EACCES on
 * the render node.
 */
#include <sys/mman.h>
#include <sys/resource.h>

#include "kselftest_harness.h"
#include "rust_gpu_test.h"

#include <drm/drm_mode.h>

FIXTURE(dumb)
{
	struct gpu gpu;
	int fd;
};

FIXTURE_SETUP(dumb)
{
	const char *reason = gpu_open(&self->gpu, GPU_CARD, &self->fd);

	REQUIRE(return, !reason, reason);
	ASSERT_GE(self->fd, 0) TH_LOG("open: %s", strerror(-self->fd));
}

FIXTURE_TEARDOWN(dumb)
{
	if (self->fd >= 0)
		close(self->fd);
}

static int create(int fd, __u32 width, __u32 height, __u32 bpp, struct drm_mode_create_dumb *args)
{
	memset(args, 0xa5, sizeof(*args));
	args->width = width;
	args->height = height;
	args->bpp = bpp;
	args->flags = 0;
	return gpu_ioctl(fd, DRM_IOCTL_MODE_CREATE_DUMB, args);
}

static int destroy(int fd, __u32 handle)
{
	struct drm_mode_destroy_dumb args = { .handle = handle };

	return gpu_ioctl(fd, DRM_IOCTL_MODE_DESTROY_DUMB, &args);
}

static int map_offset(int fd, __u32 handle, __u64 *offset)
{
	struct drm_mode_map_dumb args = { .handle = handle };
	int ret = gpu_ioctl(fd, DRM_IOCTL_MODE_MAP_DUMB, &args);

	*offset = args.offset;
	return ret;
}

/* Maps the whole buffer. Returns MAP_FAILED on error. */
static void *map(int fd, __u32 handle, size_t size)
{
	__u64 offset;

	if (map_offset(fd, handle, &offset))
		return MAP_FAILED;
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
}

static void fill(__u32 *pixels, __u32 size, __u32 seed)
{
	__u32 i;

	for (i = 0; i < size / sizeof(*pixels); i++)
		pixels[i] = seed + i * 2654435761U;
}

/* Returns the index of the first pixel that is not what fill() wrote, or -1. */
static int differs(const __u32 *pixels, __u32 size, __u32 seed)
{
	__u32 i;

	for (i = 0; i < size / sizeof(*pixels); i++)
		if (pixels[i] != seed + i * 2654435761U)
			return i;
	return -1;
}

TEST_F_TIMEOUT(dumb, sizes, 60)
{
	static const struct {
		__u32 width, height;
	} sizes[] = {
		{ 1, 1 }, { 3, 1 }, { 1, 1024 }, { 1025, 1 }, { 1280, 800 }, { 1919, 1081 },
		{ 16384, 16384 }, { 0x3ffffc00, 1 }, { 1, 0x3ffffc00 },
	};
	long page = sysconf(_SC_PAGESIZE);
	struct drm_mode_create_dumb args;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		__u64 bytes = (__u64)sizes[i].width * 4 * sizes[i].height;

		ASSERT_EQ(0, create(self->fd, sizes[i].width, sizes[i].height, 32, &args))
			TH_LOG("%u x %u", sizes[i].width, sizes[i].height);
		EXPECT_NE(0, args.handle);
		EXPECT_EQ(sizes[i].width * 4, args.pitch);
		EXPECT_EQ((bytes + page - 1) / page * page, args.size);
		EXPECT_EQ(0, destroy(self->fd, args.handle));
	}
}

TEST_F_TIMEOUT(dumb, write_and_read, 60)
{
	struct drm_mode_create_dumb args;
	__u32 *first, *second;
	size_t i;

	ASSERT_EQ(0, create(self->fd, 640, 480, 32, &args));
	first = map(self->fd, args.handle, args.size);
	ASSERT_NE(MAP_FAILED, first);
	/* New memory is zero. */
	for (i = 0; i < args.size / sizeof(*first); i++)
		if (first[i])
			break;
	EXPECT_EQ(args.size / sizeof(*first), i);

	fill(first, args.size, 1);
	second = map(self->fd, args.handle, args.size);
	ASSERT_NE(MAP_FAILED, second);
	EXPECT_EQ(-1, differs(second, args.size, 1));
	second[7] = 0x12345678;
	EXPECT_EQ(0x12345678, first[7]);
	fill(first, args.size, 2);

	/* A mapping keeps the buffer after its handle and the other mapping are gone. */
	EXPECT_EQ(0, munmap(second, args.size));
	EXPECT_EQ(0, destroy(self->fd, args.handle));
	EXPECT_EQ(-1, differs(first, args.size, 2));
	EXPECT_EQ(0, munmap(first, args.size));
}

/* A large buffer is mapped by huge pages: far fewer faults than small pages. */
TEST_F_TIMEOUT(dumb, huge_pages, 60)
{
	const __u32 side = 2048;
	struct drm_mode_create_dumb args;
	struct rusage before, after;
	__u64 offset, at;
	char *map;

	if (access("/sys/kernel/mm/transparent_hugepage", F_OK))
		SKIP(return, "the kernel has no huge pages (CONFIG_TRANSPARENT_HUGEPAGE)");
	ASSERT_EQ(0, create(self->fd, side, side, 32, &args));
	ASSERT_EQ(0, map_offset(self->fd, args.handle, &offset));
	map = mmap(NULL, args.size, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, offset);
	ASSERT_NE(MAP_FAILED, map);
	getrusage(RUSAGE_SELF, &before);
	for (at = 0; at < args.size; at += 4096)
		map[at] = 1;
	getrusage(RUSAGE_SELF, &after);
	/* Some pages may be small if memory is fragmented. */
	EXPECT_LT(after.ru_minflt - before.ru_minflt, (long)args.size / 4096 / 2);
	EXPECT_EQ(0, munmap(map, args.size));
	EXPECT_EQ(0, destroy(self->fd, args.handle));
}

/* Buffers do not share memory. */
TEST_F_TIMEOUT(dumb, many, 60)
{
	struct drm_mode_create_dumb args[64];
	void *pixels[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(args); i++) {
		ASSERT_EQ(0, create(self->fd, 64, 64, 32, &args[i]));
		pixels[i] = map(self->fd, args[i].handle, args[i].size);
		ASSERT_NE(MAP_FAILED, pixels[i]);
		fill(pixels[i], args[i].size, i);
	}
	for (i = 0; i < ARRAY_SIZE(args); i++) {
		EXPECT_EQ(-1, differs(pixels[i], args[i].size, i));
		EXPECT_EQ(0, munmap(pixels[i], args[i].size));
		/* Closing the file frees the others. */
		if (i % 2)
			EXPECT_EQ(0, destroy(self->fd, args[i].handle));
	}
}

TEST_F_TIMEOUT(dumb, bad_sizes, 60)
{
	static const struct {
		__u32 width, height, bpp;
	} bad[] = {
		{ 0, 0, 0 }, { 0, 64, 32 }, { 64, 0, 32 }, { 64, 64, 0 },
		{ 64, 64, 1 }, { 64, 64, 8 }, { 64, 64, 15 }, { 64, 64, 16 }, { 64, 64, 24 },
		{ 64, 64, 31 }, { 64, 64, 33 }, { 64, 64, 64 }, { 64, 64, 99 },
		{ 64, 64, 0x7fffffff }, { 64, 64, 0xffffffff },
		{ 0x7fffffff, 1, 32 }, { 1, 0x7fffffff, 32 },
		{ 0xffffffff, 1, 32 }, { 1, 0xffffffff, 32 }, { 0xffffffff, 0xffffffff, 32 },
		{ 0xffffffff, 0xffffffff, 0xffffffff },
		/* Sizes of 2^32 bytes and a bit more. */
		{ 0x10000, 0x4000, 32 }, { 0x8000, 0x8000, 32 }, { 0x40000001, 1, 32 },
		{ 0x10001, 0x4000, 32 },
	};
	struct drm_mode_create_dumb args;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, create(self->fd, bad[i].width, bad[i].height, bad[i].bpp, &args))
			TH_LOG("%u x %u, %u", bad[i].width, bad[i].height, bad[i].bpp);
	}
	/* No handle is left. */
	ASSERT_EQ(0, create(self->fd, 64, 64, 32, &args));
	EXPECT_EQ(1, args.handle);
}

TEST_F_TIMEOUT(dumb, bad_handles, 60)
{
	static const __u32 bad[] = { 0, 2, 1000, 0x7fffffff, 0x80000000, 0xffffffff };
	struct drm_mode_create_dumb args;
	__u64 offset;
	size_t i;

	ASSERT_EQ(0, create(self->fd, 64, 64, 32, &args));
	ASSERT_EQ(1, args.handle);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-ENOENT, map_offset(self->fd, bad[i], &offset)) TH_LOG("%u", bad[i]);
		EXPECT_EQ(-EINVAL, destroy(self->fd, bad[i])) TH_LOG("%u", bad[i]);
	}
	EXPECT_EQ(0, destroy(self->fd, args.handle));
	EXPECT_EQ(-EINVAL, destroy(self->fd, args.handle));
	EXPECT_EQ(-ENOENT, map_offset(self->fd, args.handle, &offset));
}

TEST_F_TIMEOUT(dumb, bad_mappings, 60)
{
	long page = sysconf(_SC_PAGESIZE);
	struct drm_mode_create_dumb args;
	__u64 offset;
	int other;

	ASSERT_EQ(0, create(self->fd, 64, 64, 32, &args));
	ASSERT_EQ(0, map_offset(self->fd, args.handle, &offset));

	EXPECT_EQ(MAP_FAILED, mmap(NULL, args.size + page, PROT_READ, MAP_SHARED, self->fd,
				   offset));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, page, PROT_READ, MAP_SHARED, self->fd, 0));
	EXPECT_EQ(EINVAL, errno);
	/* Private mappings. */
	EXPECT_EQ(MAP_FAILED, mmap(NULL, args.size, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd,
				   offset));
	EXPECT_EQ(EINVAL, errno);

	/* A file without a handle cannot map it. */
	other = open(self->gpu.card, O_RDWR | O_CLOEXEC);
	ASSERT_GE(other, 0);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, args.size, PROT_READ, MAP_SHARED, other, offset));
	EXPECT_EQ(EACCES, errno);
	close(other);
}

TEST_F_TIMEOUT(dumb, render_node, 60)
{
	int fd = open(self->gpu.render, O_RDWR | O_CLOEXEC);
	struct drm_mode_create_dumb args;
	__u64 offset;

	ASSERT_GE(fd, 0);
	EXPECT_EQ(-EACCES, create(fd, 64, 64, 32, &args));
	EXPECT_EQ(-EACCES, map_offset(fd, 1, &offset));
	EXPECT_EQ(-EACCES, destroy(fd, 1));
	close(fd);
}

/* A buffer is exported to another file of the device, and to the same one. */
TEST_F_TIMEOUT(dumb, shared, 60)
{
	int other = open(self->gpu.render, O_RDWR | O_CLOEXEC);
	struct drm_mode_create_dumb args;
	__u32 handle, again;
	void *pixels, *theirs;
	int dma_buf;

	ASSERT_GE(other, 0);
	ASSERT_EQ(0, create(self->fd, 100, 100, 32, &args));
	pixels = map(self->fd, args.handle, args.size);
	ASSERT_NE(MAP_FAILED, pixels);
	fill(pixels, args.size, 3);
	dma_buf = prime_export(self->fd, args.handle);
	ASSERT_GE(dma_buf, 0) TH_LOG("%d", dma_buf);

	ASSERT_EQ(0, prime_import(self->fd, dma_buf, &again));
	EXPECT_EQ(args.handle, again);
	ASSERT_EQ(0, prime_import(other, dma_buf, &handle));

	/* The importer has the same memory, and keeps it after the exporter is gone. */
	EXPECT_EQ(0, munmap(pixels, args.size));
	EXPECT_EQ(0, destroy(self->fd, args.handle));
	theirs = mmap(NULL, args.size, PROT_READ, MAP_SHARED, dma_buf, 0);
	ASSERT_NE(MAP_FAILED, theirs) TH_LOG("mmap: %s", strerror(errno));
	EXPECT_EQ(-1, differs(theirs, args.size, 3));
	EXPECT_EQ(0, munmap(theirs, args.size));
	close(dma_buf);

	dma_buf = prime_export(other, handle);
	ASSERT_GE(dma_buf, 0);
	ASSERT_EQ(0, prime_import(self->fd, dma_buf, &again));
	close(dma_buf);
	close(other);
	pixels = map(self->fd, again, args.size);
	ASSERT_NE(MAP_FAILED, pixels);
	EXPECT_EQ(-1, differs(pixels, args.size, 3));
	EXPECT_EQ(0, munmap(pixels, args.size));
}

/* A file that is no buffer is refused, and no handle is made. */
TEST_F_TIMEOUT(dumb, no_buffer, 60)
{
	int memfd = memfd_create("rust_gpu", 0);
	struct drm_mode_create_dumb args;
	__u32 handle;

	ASSERT_GE(memfd, 0);
	EXPECT_EQ(-EBADF, prime_import(self->fd, 1000, &handle));
	EXPECT_EQ(-EINVAL, prime_import(self->fd, memfd, &handle));
	ASSERT_EQ(0, create(self->fd, 64, 64, 32, &args));
	EXPECT_EQ(1, args.handle);

	close(memfd);
}

/* A mapping keeps its memory after the device is gone. */
TEST_F_TIMEOUT(dumb, unbind, 120)
{
	struct drm_mode_create_dumb args;
	void *pixels;
	__u64 offset;

	ASSERT_EQ(0, create(self->fd, 640, 480, 32, &args));
	pixels = map(self->fd, args.handle, args.size);
	ASSERT_NE(MAP_FAILED, pixels);
	fill(pixels, args.size, 4);

	ASSERT_EQ(0, gpu_unbind(&self->gpu));
	EXPECT_EQ(-1, differs(pixels, args.size, 4));
	EXPECT_EQ(-ENODEV, map_offset(self->fd, args.handle, &offset));
	EXPECT_EQ(-ENODEV, create(self->fd, 64, 64, 32, &args));
	EXPECT_EQ(0, munmap(pixels, 640 * 480 * 4));
	close(self->fd);
	self->fd = -1;

	ASSERT_EQ(0, gpu_bind(&self->gpu));
	self->fd = open(self->gpu.card, O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->fd, 0);
	EXPECT_EQ(0, create(self->fd, 64, 64, 32, &args));
}

TEST_HARNESS_MAIN
