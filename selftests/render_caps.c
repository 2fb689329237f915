// SPDX-License-Identifier: GPL-2.0
/*
 * A driver that starts on a device whose capsets are not what they should be: it starts,
 * and has 3D or none. What it promises it keeps.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include "kernel_memory.h"
#include "render.h"

/* More than what a capset may take, in kB. */
#define SLACK_KB	8192
#define PROBE_NS	(30 * NSEC_PER_SEC)

FIXTURE(caps)
{
	struct render render;
	struct gpu gpu;
};

FIXTURE_VARIANT(caps)
{
	const char *fault;
	/* The driver does not start. */
	bool refused;
};

FIXTURE_VARIANT_ADD(caps, none)
{
	.fault = "behave",
};

/* So many that a number has no place for one more. */
FIXTURE_VARIANT_ADD(caps, capsets)
{
	.fault = "fault capsets",
	.refused = true,
};

FIXTURE_VARIANT_ADD(caps, id)
{
	.fault = "fault capset-id",
};

FIXTURE_VARIANT_ADD(caps, huge)
{
	.fault = "fault capset-huge",
};

FIXTURE_VARIANT_ADD(caps, half)
{
	.fault = "fault capset-short",
};

FIXTURE_VARIANT_ADD(caps, empty)
{
	.fault = "fault capset-empty",
};

FIXTURE_VARIANT_ADD(caps, refused)
{
	.fault = "refuse capset 0x1200",
};

FIXTURE_VARIANT_ADD(caps, info_refused)
{
	.fault = "refuse capset-info 0x1200",
};

FIXTURE_SETUP(caps)
{
	const char *reason = render_begin(&self->render, true);

	REQUIRE(return, !reason, reason);
	if (!self->render.rust)
		SKIP(return, "the C driver fails, or trusts the device");
	ASSERT_TRUE(gpu_find(&self->gpu));
	close(self->render.fd);
	self->render.fd = -1;
}

FIXTURE_TEARDOWN(caps)
{
	EXPECT_EQ(0, device_resume(self->render.screen));
	EXPECT_EQ(0, gpu_rebind(&self->gpu));
	EXPECT_TRUE(device_is_sound(self->render.screen));
	render_end(&self->render);
}

TEST_F_TIMEOUT(caps, start, 120)
{
	__s64 before, after, free_pages, start;
	__u8 bytes[65536];
	unsigned int i;
	int fd, value;

	kernel_memory(&before, &free_pages);
	ASSERT_EQ(0, device_ask(self->render.screen, "%s", variant->fault));
	start = now_ns();
	EXPECT_EQ(variant->refused ? -EINVAL : 0, gpu_rebind(&self->gpu));
	EXPECT_GE(PROBE_NS, now_ns() - start);
	if (variant->refused)
		return;
	fd = client_open();
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, get_param(fd, VIRTGPU_PARAM_3D_FEATURES, &value));
	if (!value)
		TH_LOG("%s: no 3D", variant->fault);
	for (i = 0; i < ARRAY_SIZE(capsets); i++) {
		struct drm_virtgpu_get_caps get = {
			.cap_set_id = capsets[i].id,
			.addr = pointer(bytes),
			.size = sizeof(bytes),
		};
		int ret = gpu_ioctl(fd, DRM_IOCTL_VIRTGPU_GET_CAPS, &get);

		TH_LOG("%s: capset %u: %d", variant->fault, capsets[i].id, ret);
		if (!strcmp(variant->fault, "behave"))
			EXPECT_EQ(0, ret);
		/* What it gives is whole. */
		if (!ret && strcmp(variant->fault, "fault capset-empty"))
			EXPECT_EQ(capset_byte(capsets[i].id, 0, capsets[i].size - 1),
				  bytes[capsets[i].size - 1]);
	}
	if (value)
		EXPECT_EQ(1, end_fence(submit_fenced(fd, NULL, 0)));
	close(fd);
	kernel_memory(&after, &free_pages);
	EXPECT_GE(before + SLACK_KB, after);
}

TEST_HARNESS_MAIN
