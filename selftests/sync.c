// SPDX-License-Identifier: GPL-2.0
/* rust_gpu_synchronize_execution(), called by another kernel module, rust_gpu_sync_test. */
#include "kselftest_harness.h"
#include "rust_gpu_test.h"

FIXTURE(sync)
{
	struct gpu gpu;
	struct drm_rust_gpu_device_info info;
	int fd;
	int test;
	bool loaded;
};

FIXTURE_SETUP(sync)
{
	const char *reason = gpu_open(&self->gpu, GPU_RENDER, &self->fd);

	self->test = -1;
	REQUIRE(return, !reason, reason);
	ASSERT_GE(self->fd, 0);
	self->test = sync_test_open(&self->loaded);
	REQUIRE(return, self->test >= 0, "no module rust_gpu_sync_test");
	ASSERT_EQ(0, gpu_info(self->fd, &self->info));
}

FIXTURE_TEARDOWN(sync)
{
	if (self->fd >= 0)
		close(self->fd);
	sync_test_close(self->test, self->loaded);
}

TEST_F_TIMEOUT(sync, call, 60)
{
	struct rust_gpu_sync_test_call call;
	__u32 message, context;
	int ret;

	for (message = 0; message < self->info.messages; message++) {
		for (context = 0; context < RUST_GPU_SYNC_TEST_CONTEXTS; context++) {
			memset(&call, 0, sizeof(call));
			call.handle = self->info.handle;
			call.message = message;
			call.context = context;
			ret = gpu_ioctl(self->test, RUST_GPU_SYNC_TEST_CALL, &call);
			if (ret == -EOPNOTSUPP)
				continue;
			ASSERT_EQ(0, ret);
			EXPECT_EQ(RUST_GPU_STATUS_SUCCESS, call.status)
				TH_LOG("message %u, context %u", message, context);
			EXPECT_EQ(1, call.runs);
			EXPECT_EQ(1, call.return_value);
			EXPECT_EQ(1, call.restored);
		}
	}
}

/* All rows of the contract, on a bound device. */
TEST_F_TIMEOUT(sync, tristate, 60)
{
	struct rust_gpu_sync_test_tristate tristate = {
		.handle = self->info.handle,
		.messages = self->info.messages,
	};

	ASSERT_EQ(0, gpu_ioctl(self->test, RUST_GPU_SYNC_TEST_TRISTATE, &tristate));
	EXPECT_GE(__builtin_popcountll(tristate.rows), 15);
	EXPECT_EQ(0, tristate.failed) TH_LOG("failed rows: 0x%llx, see dmesg", tristate.failed);
}

/* The same with the handle of a device that is gone, while another one is bound. */
TEST_F_TIMEOUT(sync, tristate_gone, 120)
{
	struct rust_gpu_sync_test_tristate tristate = {
		.stale = self->info.handle,
	};

	close(self->fd);
	self->fd = -1;
	ASSERT_EQ(0, gpu_unbind(&self->gpu));
	ASSERT_EQ(0, gpu_bind(&self->gpu));
	self->fd = open(self->gpu.render, O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->fd, 0);
	ASSERT_EQ(0, gpu_info(self->fd, &self->info));
	/* Handles are not reused. */
	EXPECT_NE(tristate.stale, self->info.handle);

	tristate.handle = self->info.handle;
	tristate.messages = self->info.messages;
	ASSERT_EQ(0, gpu_ioctl(self->test, RUST_GPU_SYNC_TEST_TRISTATE, &tristate));
	EXPECT_GE(__builtin_popcountll(tristate.rows), 18);
	EXPECT_EQ(0, tristate.failed) TH_LOG("failed rows: 0x%llx, see dmesg", tristate.failed);
}

/* All old handles, while no device is bound. */
TEST_F_TIMEOUT(sync, unbound, 120)
{
	struct rust_gpu_sync_test_call call = { .handle = self->info.handle };
	__u64 handle;

	close(self->fd);
	self->fd = -1;
	ASSERT_EQ(0, gpu_unbind(&self->gpu));
	EXPECT_EQ(0, gpu_ioctl(self->test, RUST_GPU_SYNC_TEST_CALL, &call));
	EXPECT_EQ(RUST_GPU_STATUS_UNSUCCESSFUL, call.status);
	EXPECT_EQ(0, call.runs);
	EXPECT_EQ(RUST_GPU_SYNC_TEST_POISON, call.return_value);
	EXPECT_EQ(1, call.restored);
	/* These were not given out yet. */
	for (handle = self->info.handle + 1; handle < self->info.handle + 64; handle++) {
		call.handle = handle;
		EXPECT_EQ(0, gpu_ioctl(self->test, RUST_GPU_SYNC_TEST_CALL, &call));
		EXPECT_EQ(RUST_GPU_STATUS_INVALID_PARAMETER, call.status);
		EXPECT_EQ(0, call.runs);
	}
	ASSERT_EQ(0, gpu_bind(&self->gpu));
}

/*
 * Runs the routines of the test module once. Returns by how many the driver counted more
 * calls than were made, with one for the read of the counters.
 */
static __s64 count_run(struct __test_metadata *_metadata, int fd, int test,
		       const struct drm_rust_gpu_device_info *info)
{
	struct drm_rust_gpu_message_counters before, after;
	struct rust_gpu_sync_test_run run = {
		.handle = info->handle,
		.message = info->config_message,
		.count = 500,
	};
	__u64 calls = 0;
	int i;

	ASSERT_EQ(0, gpu_calm(fd));
	ASSERT_EQ(0, gpu_counters(fd, run.message, &before));
	ASSERT_EQ(0, gpu_ioctl(test, RUST_GPU_SYNC_TEST_RUN, &run));
	ASSERT_EQ(0, gpu_counters(fd, run.message, &after));
	for (i = 0; i < RUST_GPU_SYNC_TEST_CONTEXTS; i++)
		calls += run.tally.calls[i];
	EXPECT_GE(calls, 1000);
	EXPECT_EQ(0, run.tally.mismatches);
	EXPECT_EQ(0, run.tally.unsuccessful);
	EXPECT_EQ(0, run.tally.invalid);
	EXPECT_EQ(before.refused, after.refused);
	return after.executions - before.executions - (calls + 1);
}

/*
 * The driver counts exactly the calls that were made. Where one message serves all, its
 * own work counts there too: one run of three then finds the device idle.
 */
TEST_F_TIMEOUT(sync, executions_exact, 60)
{
	int tries = self->info.messages > 1 ? 1 : 3;
	__s64 more;

	do {
		more = count_run(_metadata, self->fd, self->test, &self->info);
		ASSERT_GE(more, 0);
	} while (more && --tries);
	EXPECT_EQ(0, more);
}

/* The driver cannot be unloaded while the module uses it. */
TEST_F_TIMEOUT(sync, pins_driver, 60)
{
	EXPECT_EQ(-EWOULDBLOCK, module_unload("rust_gpu"));
	EXPECT_EQ(0, gpu_works(self->fd));
}

TEST_HARNESS_MAIN
