// SPDX-License-Identifier: GPL-2.0
/*
 * The screen shows imported buffers (dma-bufs): those of vgem, another DRM driver, and
 * those of udmabuf, which are memory of a process.
 *
 * Environment: see display_screen.h
 */
#include "kselftest_harness.h"
#include "display_foreign.h"

/* Each test is a process of its own. */
static struct {
	struct display display;
	struct frame frame;	/* mapped by its exporter */
	struct picture picture;
	int screen;
} scene;

static int handle_close(int fd, __u32 handle)
{
	struct drm_gem_close gem_close = { .handle = handle };

	return gpu_ioctl(fd, DRM_IOCTL_GEM_CLOSE, &gem_close);
}

#define VIRTIO_F_ACCESS_PLATFORM	33

/*
 * Whether imports are refused: a buffer has addresses of the DMA API only, which an IOMMU
 * translates here, but not for the device.
 */
static bool imports_are_refused(int fd)
{
	struct drm_rust_gpu_device_info info;
	struct gpu gpu;
	char type[32];

	if (!gpu_find(&gpu) || gpu_info(fd, &info) ||
	    info.driver_features >> VIRTIO_F_ACCESS_PLATFORM & 1)
		return false;
	return read_file(path("/sys/bus/pci/devices/%s/iommu_group/type", gpu.pci), type,
			 sizeof(type)) > 0 && strncmp(type, "identity", 8);
}

/* Each page of the buffer is apart from the next one in memory. */
static const char *scattered_create(struct foreign *foreign, __u32 width, __u32 height)
{
	__u64 page = getpagesize(), count = (4ull * width * height + page - 1) / page, i;
	struct udmabuf_create_list *list = calloc(1, sizeof(*list) + count * sizeof(list->list[0]));
	int device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);

	if (device < 0 || !list)
		return "no udmabuf";
	foreign->owner = memfd_create("rust_gpu", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	foreign->size = count * page;
	/* Of every second page, from the last to the first. */
	if (foreign->owner < 0 || ftruncate(foreign->owner, 2 * foreign->size) ||
	    fcntl(foreign->owner, F_ADD_SEALS, F_SEAL_SHRINK))
		return "no memfd";
	foreign->map = mmap(NULL, foreign->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (foreign->map == MAP_FAILED)
		return "no address space";
	for (i = 0; i < count; i++) {
		list->list[i].memfd = foreign->owner;
		list->list[i].offset = 2 * (count - 1 - i) * page;
		list->list[i].size = page;
		if (mmap(foreign->map + i * page, page, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, foreign->owner,
			 list->list[i].offset) == MAP_FAILED)
			return "no mapping of a page";
	}
	list->flags = UDMABUF_FLAGS_CLOEXEC;
	list->count = count;
	foreign->fd = ioctl(device, UDMABUF_CREATE_LIST, list);
	close(device);
	free(list);
	return foreign->fd < 0 ? "no dma-buf of so many pages of udmabuf" : NULL;
}

FIXTURE(import)
{
	struct foreign foreign;
};

FIXTURE_VARIANT(import)
{
	const char *(*create)(struct foreign *foreign, __u32 width, __u32 height);
};

FIXTURE_VARIANT_ADD(import, vgem)
{
	.create = vgem_create,
};

FIXTURE_VARIANT_ADD(import, udmabuf)
{
	.create = udmabuf_create,
};

FIXTURE_VARIANT_ADD(import, scattered)
{
	.create = scattered_create,
};

FIXTURE_SETUP(import)
{
	const char *reason;
	__u32 width, height;

	reason = display_screen_open(&scene.display, &scene.screen);
	REQUIRE(return, !reason, reason);
	width = scene.display.mode.hdisplay;
	height = scene.display.mode.vdisplay;
	reason = variant->create(&self->foreign, width, height);
	REQUIRE(return, !reason, reason);
	ASSERT_EQ(0, picture_create(&scene.picture, width, height));
	scene.frame.map = self->foreign.map;
	if (imports_are_refused(scene.display.fd)) {
		ASSERT_EQ(-EOPNOTSUPP, prime_import(scene.display.fd, self->foreign.fd,
						    &scene.frame.handle));
		SKIP(return, "refused, as the device does not know the buffer's addresses");
	}
	REQUIRE(return, !prime_import(scene.display.fd, self->foreign.fd, &scene.frame.handle),
		"the driver does not import it");
	ASSERT_EQ(0, frame_add(scene.display.fd, &scene.frame, width, height, 4 * width, 0));
}

FIXTURE_TEARDOWN(import)
{
	close(scene.display.fd);
}

static void draw(__u32 seed)
{
	picture_fill(&scene.picture, seed);
	frame_draw(&scene.frame, &scene.picture);
}

static int show(void)
{
	return set_crtc(&scene.display, scene.frame.fb, &scene.display.mode, 0, 0);
}

static bool shows(const char *name)
{
	return screen_shows(scene.screen, name, scene.display.head, &scene.picture);
}

static int remove_frame(void)
{
	return gpu_ioctl(scene.display.fd, DRM_IOCTL_MODE_RMFB, &scene.frame.fb);
}

static int dirty(void)
{
	return dirty_fb(scene.display.fd, scene.frame.fb, NULL, 0);
}

TEST_F_TIMEOUT(import, shown, 120)
{
	draw(1);
	ASSERT_EQ(0, show());
	EXPECT_TRUE(shows("import-shown"));
	draw(2);
	ASSERT_EQ(0, dirty());
	EXPECT_TRUE(shows("import-dirty"));
}

/* A framebuffer keeps the buffer after everything else of it is closed. */
TEST_F_TIMEOUT(import, closed_before, 120)
{
	draw(1);
	EXPECT_EQ(0, handle_close(scene.display.fd, scene.frame.handle));
	foreign_close(&self->foreign);
	ASSERT_EQ(0, show());
	EXPECT_TRUE(shows("import-kept"));
	ASSERT_EQ(0, remove_frame());
}

/* Removes the framebuffer, the handle, or everything of the exporter. */
static int let_go(int which, struct foreign *foreign)
{
	if (which == 0)
		return remove_frame();
	if (which == 1)
		return handle_close(scene.display.fd, scene.frame.handle);
	foreign_close(foreign);
	return 0;
}

TEST_F_TIMEOUT(import, closed_after, 120)
{
	const int orders[][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 },
				  { 2, 0, 1 }, { 2, 1, 0 } };
	const __u32 width = scene.frame.width, height = scene.frame.height;
	unsigned int i, step;

	for (i = 0; i < ARRAY_SIZE(orders); i++) {
		draw(i);
		ASSERT_EQ(0, show());
		for (step = 0; step < 3; step++)
			EXPECT_EQ(0, let_go(orders[i][step], &self->foreign));
		ASSERT_EQ(NULL, variant->create(&self->foreign, width, height));
		scene.frame.map = self->foreign.map;
		ASSERT_EQ(0, prime_import(scene.display.fd, self->foreign.fd, &scene.frame.handle));
		ASSERT_EQ(0, frame_add(scene.display.fd, &scene.frame, width, height, 4 * width,
				       0));
	}
	draw(99);
	ASSERT_EQ(0, show());
	EXPECT_TRUE(shows("import-again"));
}

TEST_F_TIMEOUT(import, too_small, 60)
{
	const __u32 width = scene.frame.width, height = scene.frame.height;
	struct frame frame = { .handle = scene.frame.handle };

	EXPECT_EQ(-EINVAL, frame_add(scene.display.fd, &frame, width, height + 64, 4 * width, 0));
	EXPECT_EQ(-EINVAL, frame_add(scene.display.fd, &frame, width, height, 8 * width, 0));
	EXPECT_EQ(-EINVAL, frame_add(scene.display.fd, &frame, width, height, 4 * width, 1 << 20));
	EXPECT_EQ(0, frame_add(scene.display.fd, &frame, width, height / 2, 4 * width, 0));
}

/* A buffer that is imported twice has one handle, and is exported as the same dma-buf. */
TEST_F_TIMEOUT(import, once, 60)
{
	struct drm_mode_map_dumb map = { .handle = scene.frame.handle };
	struct stat ours, theirs;
	__u32 handle;
	int fd;

	ASSERT_EQ(0, prime_import(scene.display.fd, self->foreign.fd, &handle));
	EXPECT_EQ(scene.frame.handle, handle);
	fd = prime_export(scene.display.fd, handle);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, fstat(fd, &ours));
	ASSERT_EQ(0, fstat(self->foreign.fd, &theirs));
	EXPECT_EQ(theirs.st_ino, ours.st_ino);
	/* Only the exporter maps it. */
	EXPECT_EQ(-EINVAL, gpu_ioctl(scene.display.fd, DRM_IOCTL_MODE_MAP_DUMB, &map));
}

/* The buffer outlives the device and can be imported again. */
TEST_F_TIMEOUT(import, unbound, 180)
{
	const __u32 width = scene.frame.width, height = scene.frame.height;
	const char *reason;
	struct gpu gpu;
	int old;

	REQUIRE(return, gpu_find(&gpu), NO_GPU);
	draw(1);
	ASSERT_EQ(0, show());
	ASSERT_EQ(0, gpu_unbind(&gpu));
	draw(2);
	old = scene.display.fd;
	ASSERT_EQ(0, gpu_bind(&gpu));
	reason = display_open(&scene.display);
	ASSERT_EQ(NULL, reason) TH_LOG("%s", reason);
	ASSERT_EQ(0, prime_import(scene.display.fd, self->foreign.fd, &scene.frame.handle));
	ASSERT_EQ(0, frame_add(scene.display.fd, &scene.frame, width, height, 4 * width, 0));
	ASSERT_EQ(0, show());
	EXPECT_TRUE(shows("import-rebound"));
	close(old);
	draw(3);
	ASSERT_EQ(0, dirty());
	EXPECT_TRUE(shows("import-rebound-dirty"));
}

/* A refused import leaves nothing behind: the next buffer of the device is shown. */
TEST(refused)
{
	struct foreign foreign = { .fd = -1, .owner = -1 };
	struct frame frame;
	const char *reason;
	__u32 handle = 0;
	int i;

	reason = display_screen_open(&scene.display, &scene.screen);
	REQUIRE(return, !reason, reason);
	if (!imports_are_refused(scene.display.fd))
		SKIP(return, "the device knows the addresses of imported buffers");
	for (i = 0; i < 100; i++) {
		reason = i % 2 ? vgem_create(&foreign, 64, 64) : udmabuf_create(&foreign, 64, 64);
		REQUIRE(return, !reason, reason);
		ASSERT_EQ(-EOPNOTSUPP, prime_import(scene.display.fd, foreign.fd, &handle));
		EXPECT_EQ(0, handle);
		foreign_close(&foreign);
	}
	ASSERT_EQ(0, picture_create(&scene.picture, scene.display.mode.hdisplay,
				    scene.display.mode.vdisplay));
	ASSERT_EQ(0, frame_create(scene.display.fd, &frame, scene.picture.width,
				  scene.picture.height));
	scene.frame = frame;
	draw(1);
	ASSERT_EQ(0, show());
	EXPECT_TRUE(shows("import-refused"));
	close(scene.display.fd);
}

/* A buffer of the device itself is not treated as imported. */
TEST(own)
{
	struct display display;
	struct frame frame;
	const char *reason;
	__u32 handle;
	int fd, other;

	reason = geteuid() ? "not root" : display_open(&display);
	REQUIRE(return, !reason, reason);
	ASSERT_EQ(0, frame_create(display.fd, &frame, 64, 64));
	fd = prime_export(display.fd, frame.handle);
	ASSERT_GE(fd, 0);
	ASSERT_EQ(0, prime_import(display.fd, fd, &handle));
	EXPECT_EQ(frame.handle, handle);

	/* In another file it is the same memory and can be mapped there. */
	other = open(display.card, O_RDWR | O_CLOEXEC);
	ASSERT_GE(other, 0);
	ASSERT_EQ(0, prime_import(other, fd, &handle));
	close(fd);
	memset(frame.map, 0x5a, frame.size);
	{
		struct drm_mode_map_dumb map = { .handle = handle };
		__u8 *again;

		ASSERT_EQ(0, gpu_ioctl(other, DRM_IOCTL_MODE_MAP_DUMB, &map));
		again = mmap(NULL, frame.size, PROT_READ, MAP_SHARED, other, map.offset);
		ASSERT_NE(MAP_FAILED, again);
		EXPECT_EQ(0x5a, again[frame.size - 1]);
		munmap(again, frame.size);
	}
	close(other);
	close(display.fd);
}

TEST_HARNESS_MAIN
