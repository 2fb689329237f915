// SPDX-License-Identifier: GPL-2.0
/*
 * Resources of 3D, their bytes, and capsets: what the ioctls take and refuse, as the C
 * driver does it; where this driver differs on purpose, the test says why.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include "display_foreign.h"
#include "render.h"
#include "sw_sync.h"

#define BAD_POINTER	((const void *)8)
#define UNTOUCHED	0x55
/* A format that no host knows. */
#define NO_FORMAT	9999
#define FORMAT_BYTES	64
#define SHORT_MS	300
/* Longest that WAIT waits for a buffer, and GET_CAPS for the device. */
#define WAIT_NS		(15 * NSEC_PER_SEC)
#define CAPS_NS		(5 * NSEC_PER_SEC)
#define SLACK_NS	(5 * NSEC_PER_SEC)

FIXTURE(objects)
{
	struct render render;
	int fd;
};

FIXTURE_SETUP(objects)
{
	const char *reason = render_begin(&self->render, false);

	self->fd = -1;
	REQUIRE(return, !reason, reason);
	self->fd = client_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(objects)
{
	close(self->fd);
	if (self->render.screen >= 0) {
		EXPECT_EQ(0, device_resume(self->render.screen));
		EXPECT_TRUE(!self->render.rust || device_is_sound(self->render.screen));
	}
	render_end(&self->render);
}

/* The size of the object is that of its pages, one at least. */
TEST_F(objects, sizes)
{
	static const struct { __u32 asked, size; } sizes[] = {
		{ 0, PAGE }, { 1, PAGE }, { PAGE, PAGE }, { PAGE + 1, 2 * PAGE },
	};
	struct drm_virtgpu_resource_info info;
	__u32 handles[ARRAY_SIZE(sizes)];
	unsigned int i, other;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct drm_virtgpu_resource_create create = picture_of(SIDE);

		create.size = sizes[i].asked;
		ASSERT_EQ(0, resource_create(self->fd, &create));
		EXPECT_NE(0, create.bo_handle);
		EXPECT_NE(0, create.res_handle);
		ASSERT_EQ(0, resource_info(self->fd, create.bo_handle, &info));
		EXPECT_EQ(sizes[i].size, info.size) TH_LOG("%u", sizes[i].asked);
		EXPECT_EQ(create.res_handle, info.res_handle);
		handles[i] = create.res_handle;
		for (other = 0; other < i; other++)
			EXPECT_NE(handles[other], handles[i]);
	}
}

/* What the host does not take is a resource nevertheless: nobody waits for its answer. */
TEST_F(objects, refused_by_the_host)
{
	struct drm_virtgpu_resource_create create = picture_of(SIDE);

	create.format = NO_FORMAT;
	ASSERT_EQ(0, resource_create(self->fd, &create));
	EXPECT_EQ(0, bo_wait(self->fd, create.bo_handle, 0));
	EXPECT_EQ(0, submit_bo(self->fd, create.bo_handle, NULL, 0));
	EXPECT_EQ(0, bo_wait(self->fd, create.bo_handle, 0));
	EXPECT_EQ(0, gem_close(self->fd, create.bo_handle));
	EXPECT_EQ(0, submit_words(self->fd, NULL, 0));
}

TEST_F(objects, info)
{
	struct drm_virtgpu_resource_info info = { .blob_mem = UNTOUCHED };
	struct drm_virtgpu_resource_create create = picture_of(SIDE);

	EXPECT_EQ(-ENOENT, gpu_ioctl(self->fd, DRM_IOCTL_VIRTGPU_RESOURCE_INFO, &info));
	ASSERT_EQ(0, resource_create(self->fd, &create));
	info.bo_handle = create.bo_handle;
	ASSERT_EQ(0, gpu_ioctl(self->fd, DRM_IOCTL_VIRTGPU_RESOURCE_INFO, &info));
	EXPECT_EQ(create.res_handle, info.res_handle);
	EXPECT_EQ(PAGE, info.size);
	/* It is written for blobs only. */
	EXPECT_EQ(UNTOUCHED, info.blob_mem);
	ASSERT_EQ(0, gem_close(self->fd, create.bo_handle));
	EXPECT_EQ(-ENOENT, resource_info(self->fd, create.bo_handle, &info));
}

TEST_F(objects, map)
{
	struct drm_virtgpu_map map = { .handle = ~0u };
	struct bo bo;
	__u32 i, sum = 0;

	EXPECT_EQ(-ENOENT, gpu_ioctl(self->fd, DRM_IOCTL_VIRTGPU_MAP, &map));
	ASSERT_EQ(0, bo_create(self->fd, &bo, SIDE));
	for (i = 0; i < bo.size; i++)
		sum += bo.map[i];
	EXPECT_EQ(0, sum);
	memset(bo.map, 1, bo.size);
	bo_destroy(self->fd, &bo);
}

/* A buffer of another device: the C driver does not import it where there is 3D. */
TEST_F(objects, map_imported)
{
	struct drm_virtgpu_resource_info info;
	struct drm_virtgpu_map map = {};
	struct foreign foreign = { .fd = -1, .owner = -1 };
	const char *reason = vgem_create(&foreign, SIDE, SIDE);

	REQUIRE(return, !reason, reason);
	if (!self->render.rust) {
		EXPECT_GT(0, prime_import(self->fd, foreign.fd, &map.handle));
	} else {
		ASSERT_EQ(0, prime_import(self->fd, foreign.fd, &map.handle));
		EXPECT_EQ(-EINVAL, gpu_ioctl(self->fd, DRM_IOCTL_VIRTGPU_MAP, &map));
		EXPECT_EQ(-EINVAL, resource_info(self->fd, map.handle, &info));
		EXPECT_EQ(-EINVAL, submit_bo(self->fd, map.handle, NULL, 0));
		EXPECT_EQ(-EINVAL, bo_transfer(self->fd, map.handle, SIDE, true));
		EXPECT_EQ(-EINVAL, bo_transfer(self->fd, map.handle, SIDE, false));
		EXPECT_EQ(0, gem_close(self->fd, map.handle));
	}
	foreign_close(&foreign);
}

TEST_F(objects, blob_without_feature)
{
	struct drm_virtgpu_resource_create_blob blob = {
		.blob_mem = VIRTGPU_BLOB_MEM_GUEST,
		.blob_flags = VIRTGPU_BLOB_FLAG_USE_MAPPABLE,
		.size = PAGE,
	};
	__u32 mem;

	for (mem = 0; mem <= VIRTGPU_BLOB_MEM_HOST3D_GUEST + 1; mem++) {
		blob.blob_mem = mem;
		EXPECT_EQ(-EINVAL, gpu_ioctl(self->fd, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_BLOB,
					     &blob)) TH_LOG("%u", mem);
	}
}

/* Bytes go to the host, and come back. */
TEST_F(objects, transfer)
{
	struct bo bo;
	__u32 i, wrong = 0;

	ASSERT_EQ(0, bo_create(self->fd, &bo, SIDE));
	for (i = 0; i < bo.size; i++)
		bo.map[i] = i * 7 + i / 256;
	ASSERT_EQ(0, bo_transfer(self->fd, bo.handle, SIDE, true));
	ASSERT_EQ(0, bo_wait(self->fd, bo.handle, 0));
	if (self->render.screen >= 0)
		EXPECT_EQ(crc_of(bo.map, bo.size), resource_crc(self->render.screen, bo.res));
	memset(bo.map, UNTOUCHED, bo.size);
	ASSERT_EQ(0, bo_transfer(self->fd, bo.handle, SIDE, false));
	ASSERT_EQ(0, bo_wait(self->fd, bo.handle, 0));
	for (i = 0; i < bo.size; i++)
		wrong += bo.map[i] != (__u8)(i * 7 + i / 256);
	EXPECT_EQ(0, wrong);
	bo_destroy(self->fd, &bo);
}

/* A part of a picture is where the box says, and where the offset says in the buffer. */
TEST_F(objects, transfer_part)
{
	struct drm_virtgpu_3d_transfer_to_host transfer = {
		.box = { .x = 1, .y = 2, .w = 3, .h = 4, .d = 1 },
		.offset = 4 * (2 * SIDE + 1),
	};
	__u8 want[PAGE] = {};
	struct bo bo;
	__u32 x, y;

	if (self->render.screen < 0)
		SKIP(return, NO_OWN_DEVICE);
	ASSERT_EQ(0, bo_create(self->fd, &bo, SIDE));
	memset(bo.map, UNTOUCHED, bo.size);
	for (y = 2; y < 6; y++) {
		for (x = 4; x < 16; x++)
			want[4 * SIDE * y + x] = UNTOUCHED;
	}
	transfer.bo_handle = bo.handle;
	ASSERT_EQ(0, gpu_ioctl(self->fd, DRM_IOCTL_VIRTGPU_TRANSFER_TO_HOST, &transfer));
	ASSERT_EQ(0, bo_wait(self->fd, bo.handle, 0));
	EXPECT_EQ(crc_of(want, sizeof(want)), resource_crc(self->render.screen, bo.res));
	/* What does not fit is the host's to refuse. */
	transfer.box.w = SIDE;
	EXPECT_EQ(0, gpu_ioctl(self->fd, DRM_IOCTL_VIRTGPU_TRANSFER_TO_HOST, &transfer));
	EXPECT_EQ(0, bo_wait(self->fd, bo.handle, 0));
	EXPECT_EQ(crc_of(want, sizeof(want)), resource_crc(self->render.screen, bo.res));
	bo_destroy(self->fd, &bo);
}

TEST_F(objects, transfer_arguments)
{
	static const unsigned long ways[] = {
		DRM_IOCTL_VIRTGPU_TRANSFER_TO_HOST,
		DRM_IOCTL_VIRTGPU_TRANSFER_FROM_HOST,
	};
	struct drm_virtgpu_3d_transfer_to_host transfer;
	struct bo bo;
	unsigned int i;

	ASSERT_EQ(0, bo_create(self->fd, &bo, SIDE));
	ASSERT_EQ(0, bo_wait(self->fd, bo.handle, 0));
	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		transfer = (struct drm_virtgpu_3d_transfer_to_host){ .bo_handle = ~0u };
		EXPECT_EQ(-ENOENT, gpu_ioctl(self->fd, ways[i], &transfer));
		/* Of a resource with memory of its own on the host only. */
		transfer.bo_handle = bo.handle;
		transfer.stride = 4 * SIDE;
		EXPECT_EQ(-EINVAL, gpu_ioctl(self->fd, ways[i], &transfer));
		transfer.stride = 0;
		transfer.layer_stride = PAGE;
		EXPECT_EQ(-EINVAL, gpu_ioctl(self->fd, ways[i], &transfer));
	}
	EXPECT_EQ(0, bo_wait(self->fd, bo.handle, VIRTGPU_WAIT_NOWAIT));
	bo_destroy(self->fd, &bo);
}

/* A dumb buffer is a resource as well. */
TEST_F(objects, dumb)
{
	struct drm_mode_create_dumb create = { .width = SIDE, .height = SIDE, .bpp = 32 };
	struct drm_virtgpu_resource_info info;
	int card = node_open(false);

	ASSERT_LE(0, card);
	ASSERT_EQ(0, init_context(card, NULL, 0));
	ASSERT_EQ(0, gpu_ioctl(card, DRM_IOCTL_MODE_CREATE_DUMB, &create));
	ASSERT_EQ(0, resource_info(card, create.handle, &info));
	EXPECT_NE(0, info.res_handle);
	EXPECT_EQ(4 * SIDE * SIDE, info.size);
	EXPECT_EQ(0, submit_bo(card, create.handle, NULL, 0));
	EXPECT_EQ(0, bo_wait(card, create.handle, 0));
	EXPECT_EQ(0, bo_transfer(card, create.handle, SIDE, true));
	EXPECT_EQ(0, bo_wait(card, create.handle, 0));
	close(card);
}

/*
 * A dumb buffer of which the file closes its handle while the device works on it, and opens
 * another one: none of its resources stays.
 */
TEST_F(objects, dumb_comes_back)
{
	struct drm_mode_create_dumb create = { .width = SIDE, .height = SIDE, .bpp = 32 };
	const int screen = self->render.screen, card = node_open(false);
	const __u32 busy[] = { WORD_BUSY, SHORT_MS };
	__u32 words[] = { WORD_FILL, 0, 0x01020304 };
	struct drm_virtgpu_resource_info info;
	__s64 resources;
	int dma_buf;

	if (screen < 0)
		SKIP(return, NO_OWN_DEVICE);
	resources = device_state(screen, "resources");
	ASSERT_EQ(0, init_context(card, NULL, 0));
	ASSERT_EQ(0, gpu_ioctl(card, DRM_IOCTL_MODE_CREATE_DUMB, &create));
	ASSERT_EQ(0, resource_info(card, create.handle, &info));
	dma_buf = prime_export(card, create.handle);
	ASSERT_LE(0, dma_buf);
	ASSERT_EQ(0, submit_bo(card, create.handle, busy, ARRAY_SIZE(busy)));
	ASSERT_EQ(0, gem_close(card, create.handle));
	ASSERT_EQ(0, prime_import(card, dma_buf, &create.handle));
	ASSERT_EQ(0, resource_info(card, create.handle, &info));
	words[1] = info.res_handle;
	EXPECT_EQ(0, submit_bo(card, create.handle, words, ARRAY_SIZE(words)));
	EXPECT_EQ(0, bo_wait(card, create.handle, 0));
	close(dma_buf);
	close(card);
	EXPECT_TRUE(device_wait(screen, "resources", resources));
}

/* A buffer in two files, by a dma-buf and by a name: one resource, which lives until both end. */
TEST_F(objects, shared)
{
	struct drm_virtgpu_resource_info info;
	int other = client_open(), dma_buf;
	__u32 handle, again;
	struct bo bo;

	ASSERT_LE(0, other);
	ASSERT_EQ(0, bo_create(self->fd, &bo, SIDE));
	dma_buf = prime_export(self->fd, bo.handle);
	ASSERT_LE(0, dma_buf);
	ASSERT_EQ(0, init_context(other, NULL, 0));
	ASSERT_EQ(0, prime_import(other, dma_buf, &handle));
	ASSERT_EQ(0, prime_import(other, dma_buf, &again));
	EXPECT_EQ(handle, again);
	ASSERT_EQ(0, resource_info(other, handle, &info));
	EXPECT_EQ(bo.res, info.res_handle);
	EXPECT_EQ(0, submit_bo(other, handle, NULL, 0));
	EXPECT_EQ(0, bo_wait(self->fd, bo.handle, 0));
	close(dma_buf);
	bo_destroy(self->fd, &bo);
	EXPECT_EQ(0, bo_transfer(other, handle, SIDE, true));
	EXPECT_EQ(0, bo_wait(other, handle, 0));
	close(other);
}

/* A second handle of one file, by a name: the first that is closed takes nothing away. */
TEST_F(objects, two_handles)
{
	struct drm_virtgpu_resource_create create = picture_of(SIDE);
	struct drm_gem_open open_name = {};
	struct drm_gem_flink flink = {};
	int card = node_open(false);
	__u32 words[] = { WORD_FILL, 0, 0x01020304 };
	__s64 strays;

	if (self->render.screen < 0)
		SKIP(return, NO_OWN_DEVICE);
	strays = render_count(self->render.screen, "strays");
	ASSERT_EQ(0, resource_create(card, &create));
	flink.handle = create.bo_handle;
	ASSERT_EQ(0, gpu_ioctl(card, DRM_IOCTL_GEM_FLINK, &flink));
	open_name.name = flink.name;
	ASSERT_EQ(0, gpu_ioctl(card, DRM_IOCTL_GEM_OPEN, &open_name));
	EXPECT_NE(create.bo_handle, open_name.handle);
	EXPECT_EQ(0, gem_close(card, create.bo_handle));
	words[1] = create.res_handle;
	EXPECT_EQ(0, submit_bo(card, open_name.handle, words, ARRAY_SIZE(words)));
	EXPECT_EQ(0, bo_wait(card, open_name.handle, 0));
	close(card);
	/* The C driver attaches it twice, and detaches it with the first one. */
	EXPECT_EQ(!self->render.rust, strays < render_count(self->render.screen, "strays"));
}

/* Handles that are older than the context: the C driver attaches none of them. */
TEST_F(objects, handles_before_context)
{
	struct drm_mode_create_dumb create = { .width = SIDE, .height = SIDE, .bpp = 32 };
	struct drm_virtgpu_resource_info info;
	int card = node_open(false);
	struct context context;

	if (self->render.screen < 0)
		SKIP(return, NO_OWN_DEVICE);
	ASSERT_EQ(0, gpu_ioctl(card, DRM_IOCTL_MODE_CREATE_DUMB, &create));
	ASSERT_EQ(0, name_context(card, "before", 0));
	ASSERT_EQ(0, resource_info(card, create.handle, &info));
	ASSERT_EQ(0, submit_bo(card, create.handle, NULL, 0));
	ASSERT_EQ(0, bo_wait(card, create.handle, 0));
	ASSERT_EQ(0, context_find(self->render.screen, "before", &context));
	EXPECT_EQ(self->render.rust, context.attached);
	close(card);
}

TEST_F_TIMEOUT(objects, wait, 60)
{
	struct sw_fence fence = { -1, -1 };
	__s64 start, took;
	int dma_buf;
	struct bo bo;

	EXPECT_EQ(-ENOENT, bo_wait(self->fd, 0, 0));
	EXPECT_EQ(-ENOENT, bo_wait(self->fd, ~0u, VIRTGPU_WAIT_NOWAIT));
	ASSERT_EQ(0, bo_create(self->fd, &bo, SIDE));
	ASSERT_EQ(0, bo_wait(self->fd, bo.handle, 0));
	EXPECT_EQ(0, bo_wait(self->fd, bo.handle, VIRTGPU_WAIT_NOWAIT));
	/* Flags that it does not know are none. */
	EXPECT_EQ(0, bo_wait(self->fd, bo.handle, ~VIRTGPU_WAIT_NOWAIT));
	REQUIRE(return, !access(SW_SYNC_FILE, W_OK), NO_SW_SYNC);

	ASSERT_EQ(0, sw_fence_create(&fence));
	dma_buf = prime_export(self->fd, bo.handle);
	ASSERT_EQ(0, sw_fence_attach(&fence, dma_buf));
	EXPECT_EQ(-EBUSY, bo_wait(self->fd, bo.handle, VIRTGPU_WAIT_NOWAIT));
	interrupt_in(SHORT_MS * NSEC_PER_MSEC, false);
	EXPECT_EQ(-EINTR, bo_wait(self->fd, bo.handle, 0));
	start = now_ns();
	EXPECT_EQ(-EBUSY, bo_wait(self->fd, bo.handle, 0));
	took = now_ns() - start;
	EXPECT_LE(WAIT_NS - SLACK_NS, took);
	EXPECT_GE(WAIT_NS + SLACK_NS, took);
	ASSERT_EQ(0, sw_fence_signal(&fence));
	EXPECT_EQ(0, bo_wait(self->fd, bo.handle, 0));
	sw_fence_close(&fence);
	close(dma_buf);
	bo_destroy(self->fd, &bo);
}

/* It waits for readers as well as for writers. */
TEST_F(objects, wait_for_readers)
{
	struct dma_buf_import_sync_file import = { .flags = DMA_BUF_SYNC_READ };
	struct sw_fence fence = { -1, -1 };
	struct bo bo;
	int dma_buf;

	REQUIRE(return, !access(SW_SYNC_FILE, W_OK), NO_SW_SYNC);
	ASSERT_EQ(0, bo_create(self->fd, &bo, SIDE));
	ASSERT_EQ(0, bo_wait(self->fd, bo.handle, 0));
	ASSERT_EQ(0, sw_fence_create(&fence));
	dma_buf = prime_export(self->fd, bo.handle);
	import.fd = fence.file;
	ASSERT_EQ(0, gpu_ioctl(dma_buf, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &import));
	EXPECT_EQ(-EBUSY, bo_wait(self->fd, bo.handle, VIRTGPU_WAIT_NOWAIT));
	ASSERT_EQ(0, sw_fence_signal(&fence));
	EXPECT_EQ(0, bo_wait(self->fd, bo.handle, 0));
	sw_fence_close(&fence);
	close(dma_buf);
	bo_destroy(self->fd, &bo);
}

/* A new resource is busy until the host has it. */
TEST_F(objects, busy_until_created)
{
	struct drm_virtgpu_resource_create create = picture_of(SIDE);

	if (self->render.screen < 0)
		SKIP(return, NO_OWN_DEVICE);
	ASSERT_EQ(0, submit_words(self->fd, NULL, 0));
	ASSERT_EQ(0, device_ask(self->render.screen, "never create-3d"));
	ASSERT_EQ(0, resource_create(self->fd, &create));
	EXPECT_EQ(-EBUSY, bo_wait(self->fd, create.bo_handle, VIRTGPU_WAIT_NOWAIT));
	ASSERT_EQ(0, device_resume(self->render.screen));
	EXPECT_EQ(0, bo_wait(self->fd, create.bo_handle, 0));
	EXPECT_EQ(0, bo_wait(self->fd, create.bo_handle, VIRTGPU_WAIT_NOWAIT));
}

static int get_caps(int fd, __u32 id, __u32 version, void *to, __u32 size)
{
	struct drm_virtgpu_get_caps get = {
		.cap_set_id = id,
		.cap_set_ver = version,
		.addr = pointer(to),
		.size = size,
	};

	return gpu_ioctl(fd, DRM_IOCTL_VIRTGPU_GET_CAPS, &get);
}

TEST_F(objects, caps)
{
	__u8 bytes[4096];
	unsigned int i;

	EXPECT_EQ(-EINVAL, get_caps(self->fd, 1, 0, bytes, 0));
	EXPECT_EQ(-EINVAL, get_caps(self->fd, 0, 0, bytes, sizeof(bytes)));
	EXPECT_EQ(-EINVAL, get_caps(self->fd, 63, 0, bytes, sizeof(bytes)));
	EXPECT_EQ(-EINVAL, get_caps(self->fd, 1, ~0u, bytes, sizeof(bytes)));
	for (i = 0; i < ARRAY_SIZE(capsets); i++) {
		memset(bytes, UNTOUCHED, sizeof(bytes));
		EXPECT_EQ(0, get_caps(self->fd, capsets[i].id, 0, bytes, 16));
		EXPECT_EQ(UNTOUCHED, bytes[16]);
		EXPECT_EQ(0, get_caps(self->fd, capsets[i].id, 0, bytes, sizeof(bytes)));
		EXPECT_EQ(-EFAULT, get_caps(self->fd, capsets[i].id, 0, NULL, sizeof(bytes)));
	}
	/* None of that needs a context. */
	EXPECT_EQ(0, init_context(self->fd, NULL, 0));
}

/* All bytes come, of each version, and no more than there are. */
TEST_F(objects, caps_bytes)
{
	__u32 i, version, at, wrong = 0;
	__u8 bytes[4096];

	if (self->render.screen < 0)
		SKIP(return, NO_OWN_DEVICE);
	for (i = 0; i < ARRAY_SIZE(capsets); i++) {
		for (version = 0; version < capsets[i].version; version++) {
			memset(bytes, UNTOUCHED, sizeof(bytes));
			ASSERT_EQ(0, get_caps(self->fd, capsets[i].id, version, bytes,
					      sizeof(bytes)));
			for (at = 0; at < capsets[i].size; at++)
				wrong += bytes[at] != capset_byte(capsets[i].id, version, at);
			EXPECT_EQ(0, wrong) TH_LOG("%u %u", capsets[i].id, version);
			for (; at < sizeof(bytes); at++)
				wrong += bytes[at] != UNTOUCHED;
			EXPECT_EQ(0, wrong) TH_LOG("%u %u", capsets[i].id, version);
		}
		EXPECT_EQ(-EINVAL, get_caps(self->fd, capsets[i].id, capsets[i].version + 1, bytes,
					    sizeof(bytes)));
	}
}

/* A device that does not answer is waited for, but not for long; then it answers. */
TEST_F_TIMEOUT(objects, caps_late, 60)
{
	const __u32 id = VIRTGPU_DRM_CAPSET_VIRGL2, version = 2;
	__u8 bytes[4096];
	__s64 start, took;

	if (self->render.screen < 0)
		SKIP(return, NO_OWN_DEVICE);
	ASSERT_EQ(0, device_ask(self->render.screen, "never capset"));
	start = now_ns();
	EXPECT_EQ(-EBUSY, get_caps(self->fd, id, version, bytes, sizeof(bytes)));
	took = now_ns() - start;
	EXPECT_LE(CAPS_NS - NSEC_PER_SEC, took);
	EXPECT_GE(CAPS_NS + SLACK_NS, took);
	ASSERT_EQ(0, device_resume(self->render.screen));
	EXPECT_EQ(0, get_caps(self->fd, id, version, bytes, sizeof(bytes)));
	EXPECT_EQ(capset_byte(id, version, 9), bytes[9]);
}

/* The C driver takes an error for a capset of zeroes, and keeps that. */
TEST_F(objects, caps_refused)
{
	const __u32 id = VIRTGPU_DRM_CAPSET_VIRGL, version = 1;
	__u8 bytes[512];

	if (self->render.screen < 0)
		SKIP(return, NO_OWN_DEVICE);
	ASSERT_EQ(0, device_ask(self->render.screen, "refuse capset 0x1200"));
	EXPECT_EQ(self->render.rust, get_caps(self->fd, id, version, bytes, sizeof(bytes)) < 0);
	ASSERT_EQ(0, device_resume(self->render.screen));
	EXPECT_EQ(0, get_caps(self->fd, id, version, bytes, sizeof(bytes)));
	EXPECT_EQ(self->render.rust ? capset_byte(id, version, 9) : 0, bytes[9]);
}

TEST_HARNESS_MAIN
