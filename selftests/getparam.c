// SPDX-License-Identifier: GPL-2.0
/*
 * DRM_IOCTL_VIRTGPU_GETPARAM, with which programs ask whether there is 3D.
 *
 * All answers are those of the C driver on a device that has no 3D. So this runs with it as well.
 * On a device with 3D that this driver uses, the parameters of that have other values.
 */
#include "kselftest_harness.h"
#include "rust_gpu_test.h"

#include <drm/virtgpu_drm.h>

#define UNTOUCHED	0x5a5a5a5a

static const struct {
	const char *name;
	__u64 param;
	int result;
	int value;
	bool of_3d;
} params[] = {
	{ "3D_FEATURES", VIRTGPU_PARAM_3D_FEATURES, 0, 0, true },
	{ "CAPSET_QUERY_FIX", VIRTGPU_PARAM_CAPSET_QUERY_FIX, 0, 1 },
	{ "RESOURCE_BLOB", VIRTGPU_PARAM_RESOURCE_BLOB, 0, 0 },
	{ "HOST_VISIBLE", VIRTGPU_PARAM_HOST_VISIBLE, 0, 0 },
	{ "CROSS_DEVICE", VIRTGPU_PARAM_CROSS_DEVICE, 0, 0 },
	{ "CONTEXT_INIT", VIRTGPU_PARAM_CONTEXT_INIT, 0, 0, true },
	{ "SUPPORTED_CAPSET_IDs", VIRTGPU_PARAM_SUPPORTED_CAPSET_IDs, 0, 0, true },
	{ "EXPLICIT_DEBUG_NAME", VIRTGPU_PARAM_EXPLICIT_DEBUG_NAME, 0, 0, true },
	{ "BLOB_ALIGNMENT", VIRTGPU_PARAM_BLOB_ALIGNMENT, -ENOENT, UNTOUCHED },
	{ "0", 0, -EINVAL, UNTOUCHED },
	{ "the first unknown one", VIRTGPU_PARAM_BLOB_ALIGNMENT + 1, -EINVAL, UNTOUCHED },
	{ "all ones", ~0ULL, -EINVAL, UNTOUCHED },
	{ "3D_FEATURES and a bit above", VIRTGPU_PARAM_3D_FEATURES | 1ULL << 32, -EINVAL,
	  UNTOUCHED },
};

FIXTURE(node)
{
	int fd;
};

FIXTURE_VARIANT(node)
{
	const char *beginning;	/* of the names of its kind of nodes */
};

FIXTURE_VARIANT_ADD(node, card)
{
	.beginning = "card",
};

FIXTURE_VARIANT_ADD(node, render)
{
	.beginning = "renderD",
};

/* Opens the first such node of either driver. Returns the descriptor, or -1. */
static int open_node(const char *beginning)
{
	struct gpu_version version;
	struct dirent *entry;
	int fd = -1;
	DIR *dir = opendir("/dev/dri");

	while (dir && fd < 0 && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, beginning, strlen(beginning)))
			continue;
		fd = open(path("/dev/dri/%s", entry->d_name), O_RDWR | O_CLOEXEC);
		if (fd >= 0 && (gpu_version(fd, &version) || strcmp(version.name, "virtio_gpu"))) {
			close(fd);
			fd = -1;
		}
	}
	if (dir)
		closedir(dir);
	return fd;
}

FIXTURE_SETUP(node)
{
	struct gpu gpu;

	self->fd = open_node(variant->beginning);
	if (self->fd < 0 && gpu_present(&gpu))
		self->fd = open_node(variant->beginning);
	REQUIRE(return, self->fd >= 0, NO_GPU);
}

FIXTURE_TEARDOWN(node)
{
	close(self->fd);
}

static int get(int fd, __u64 param, void *value)
{
	struct drm_virtgpu_getparam args = { .param = param, .value = (__u64)(uintptr_t)value };

	return gpu_ioctl(fd, DRM_IOCTL_VIRTGPU_GETPARAM, &args);
}

TEST_F(node, values)
{
	unsigned int i;
	int value[2];
	int has_3d = 0;

	EXPECT_EQ(0, get(self->fd, VIRTGPU_PARAM_3D_FEATURES, &has_3d));
	for (i = 0; i < ARRAY_SIZE(params); i++) {
		value[0] = UNTOUCHED;
		value[1] = UNTOUCHED;
		EXPECT_EQ(params[i].result, get(self->fd, params[i].param, &value[0]))
			TH_LOG("%s", params[i].name);
		if (!params[i].of_3d || !has_3d)
			EXPECT_EQ(params[i].value, value[0]) TH_LOG("%s", params[i].name);
		/* The answer is one int. */
		EXPECT_EQ(UNTOUCHED, value[1]) TH_LOG("%s", params[i].name);
	}
}

TEST_F(node, bad_pointers)
{
	EXPECT_EQ(-EFAULT, get(self->fd, VIRTGPU_PARAM_3D_FEATURES, NULL));
	EXPECT_EQ(-EFAULT, get(self->fd, VIRTGPU_PARAM_3D_FEATURES, (void *)~0UL));
	EXPECT_EQ(-EFAULT, get(self->fd, VIRTGPU_PARAM_3D_FEATURES, (void *)(~0UL - 3)));
	/* The parameter is looked at first. */
	EXPECT_EQ(-EINVAL, get(self->fd, 0, NULL));
	EXPECT_EQ(-ENOENT, get(self->fd, VIRTGPU_PARAM_BLOB_ALIGNMENT, NULL));
}

TEST_HARNESS_MAIN
