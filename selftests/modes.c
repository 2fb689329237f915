// SPDX-License-Identifier: GPL-2.0
/*
 * The interrupt mode is the expected one, and interrupts arrive on the right messages.
 *
 * Environment:
 *   RUST_GPU_EXPECT_TYPE=msix|msi|intx
 *   RUST_GPU_EXPECT_MESSAGES=number
 */
#include "kselftest_harness.h"
#include "interrupts.h"
#include "rust_gpu_test.h"

#define PACKETS	20

FIXTURE(modes)
{
	struct gpu gpu;
	int fd;
	struct drm_rust_gpu_device_info info;
};

FIXTURE_SETUP(modes)
{
	const char *reason = gpu_open(&self->gpu, GPU_RENDER, &self->fd);

	REQUIRE(return, !reason, reason);
	ASSERT_GE(self->fd, 0);
	ASSERT_EQ(0, gpu_info(self->fd, &self->info));
}

FIXTURE_TEARDOWN(modes)
{
	if (self->fd >= 0)
		close(self->fd);
}

TEST_F_TIMEOUT(modes, expected, 60)
{
	const char *messages = getenv("RUST_GPU_EXPECT_MESSAGES");
	const char *type = getenv("RUST_GPU_EXPECT_TYPE");
	static const char *const names[] = { "intx", "msi", "msix" };

	if (!messages || !type)
		SKIP(return, "RUST_GPU_EXPECT_TYPE and RUST_GPU_EXPECT_MESSAGES not set");
	ASSERT_LT(self->info.interrupt_type, ARRAY_SIZE(names));
	EXPECT_STREQ(type, names[self->info.interrupt_type]);
	EXPECT_EQ(atoi(messages), self->info.messages);
}

/* The queues and the configuration have the right messages. */
TEST_F_TIMEOUT(modes, map, 60)
{
	const struct drm_rust_gpu_device_info *info = &self->info;

	EXPECT_EQ(0, info->config_message);
	switch (info->messages) {
	case 1:
		EXPECT_EQ(0, info->control_message);
		EXPECT_EQ(0, info->cursor_message);
		break;
	case 2:
		EXPECT_EQ(1, info->control_message);
		EXPECT_EQ(1, info->cursor_message);
		break;
	default:
		EXPECT_EQ(3, info->messages);
		EXPECT_EQ(1, info->control_message);
		EXPECT_EQ(2, info->cursor_message);
	}
}

/* /proc/interrupts lists as many interrupts as there are messages. */
TEST_F_TIMEOUT(modes, proc_interrupts, 60)
{
	static char text[65536];
	unsigned int lines = 0;
	char *line, *save;

	ASSERT_GT(read_file("/proc/interrupts", text, sizeof(text)), 0);
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!strstr(line, "rust_gpu"))
			continue;
		lines++;
		EXPECT_EQ(self->info.interrupt_type == RUST_GPU_INTERRUPT_MSIX,
			  !!strstr(line, "MSIX"));
	}
	EXPECT_EQ(self->info.messages, lines);
}

static int read_counters(int fd, __u32 message, struct drm_rust_gpu_message_counters *counters)
{
	int ret = gpu_counters(fd, message, counters);

	return ret ? ret : counters->status ? -EIO : 0;
}

/* Submits packets one at a time and waits for each. */
static int submit_one_by_one(int fd, __u32 node)
{
	__u64 fence;
	int i, ret;

	for (i = 0; i < PACKETS; i++) {
		ret = gpu_submit(fd, node, 1, 0, &fence);
		if (ret != 1)
			return ret ? ret : -EIO;
		ret = gpu_wait_fence(fd, node, fence, now_ns() + GPU_PATIENCE_NS);
		if (ret)
			return ret;
	}
	return 0;
}

/* Only the counters of the right messages advance. */
TEST_F_TIMEOUT(modes, counters_advance, 120)
{
	struct drm_rust_gpu_message_counters before[3], after[3], *b, *a;
	const struct drm_rust_gpu_device_info *info = &self->info;
	const __u32 messages[GPU_NULL_NODES] = {
		[RUST_GPU_NODE_CONTROL] = info->control_message,
		[RUST_GPU_NODE_CURSOR] = info->cursor_message,
		[RUST_GPU_NODE_SOFTWARE] = info->notify_message,
	};
	__u32 node, i;
	__u64 told;

	ASSERT_LE(info->messages, 3);
	for (node = 0; node < GPU_NULL_NODES; node++) {
		ASSERT_EQ(0, gpu_calm(self->fd));
		for (i = 0; i < info->messages; i++)
			ASSERT_EQ(0, read_counters(self->fd, i, &before[i]));
		ASSERT_EQ(0, submit_one_by_one(self->fd, node));
		for (i = 0; i < info->messages; i++)
			ASSERT_EQ(0, read_counters(self->fd, i, &after[i]));

		/* The test waits for each packet, so each has an interrupt of its own. */
		b = &before[messages[node]];
		a = &after[messages[node]];
		if (node == RUST_GPU_NODE_SOFTWARE && !irqs_are_threaded())
			EXPECT_EQ(a->interrupts, b->interrupts);
		if (node != RUST_GPU_NODE_SOFTWARE) {
			EXPECT_GE(a->interrupts - b->interrupts, PACKETS)
				TH_LOG("node %u", node);
		}
		EXPECT_GE(a->executions - b->executions, PACKETS) TH_LOG("node %u", node);

		b = &before[info->notify_message];
		a = &after[info->notify_message];
		told = a->notifications - b->notifications;
		/* The last report of the node before may come with the first DPC of this one. */
		EXPECT_GE(PACKETS + 1, told) TH_LOG("node %u", node);
		/* The DPC reports what another message completed, at times two packets in one. */
		EXPECT_LE(messages[node] == info->notify_message ? PACKETS : 1, told)
			TH_LOG("node %u", node);

		for (i = 0; i < info->messages; i++) {
			EXPECT_EQ(before[i].refused, after[i].refused);
			/* Other messages had no interrupts. */
			if (i != messages[node] && i != info->notify_message) {
				EXPECT_EQ(before[i].interrupts, after[i].interrupts)
					TH_LOG("node %u, message %u", node, i);
			}
		}
	}
}

/*
 * A DPC runs once for each time that it is queued. One that is queued for a vblank,
 * with low importance, runs with the next one.
 */
TEST_F_TIMEOUT(modes, dpcs, 120)
{
	struct drm_rust_gpu_message_counters counters;
	__u64 queued = 0, run = 0, refused = 0;
	__u32 node, i;
	__u64 fence;

	for (node = 0; node < GPU_NULL_NODES; node++) {
		ASSERT_EQ(64, gpu_submit(self->fd, node, 64, 0, &fence));
		ASSERT_EQ(0, gpu_wait_fence(self->fd, node, fence, now_ns() + GPU_PATIENCE_NS));
	}
	/* The last one may run after the waiters were woken. */
	ASSERT_EQ(0, gpu_calm(self->fd));
	for (i = 0; i < self->info.messages; i++) {
		ASSERT_EQ(0, read_counters(self->fd, i, &counters));
		queued += counters.dpcs_queued;
		refused += counters.dpcs_refused;
		run = counters.dpcs_run;
	}
	EXPECT_GT(queued, 0);
	EXPECT_GT(run, 0);
	EXPECT_GE(queued, run);
	EXPECT_LE(queued, run + 1);
	TH_LOG("%llu DPCs queued, %llu refused, %llu run", queued, refused, run);
}

/* There is no message after the last one. A line interrupt has only message 0. */
TEST_F_TIMEOUT(modes, past_the_end, 60)
{
	struct drm_rust_gpu_message_counters counters;
	__u32 i;

	if (self->info.interrupt_type == RUST_GPU_INTERRUPT_INTX)
		EXPECT_EQ(1, self->info.messages);
	for (i = 0; i < self->info.messages; i++) {
		ASSERT_EQ(0, gpu_counters(self->fd, i, &counters));
		EXPECT_EQ(RUST_GPU_STATUS_SUCCESS, counters.status);
	}
	for (; i < self->info.messages + 8; i++) {
		ASSERT_EQ(0, gpu_counters(self->fd, i, &counters));
		EXPECT_EQ(RUST_GPU_STATUS_INVALID_PARAMETER, counters.status);
	}
}

/* The driver counts as many interrupts as the kernel: no update of a counter is lost. */
TEST_F_TIMEOUT(modes, no_interrupt_lost, 120)
{
	struct drm_rust_gpu_message_counters before[3], after[3];
	__u64 irqs_before[3], irqs_after[3];
	__u32 node, i, found;
	__u64 fence;

	if (self->info.interrupt_type != RUST_GPU_INTERRUPT_MSIX)
		SKIP(return, "others may share the line");
	if (irqs_are_threaded())
		SKIP(return, "handlers are threads, which run once for several interrupts");

	ASSERT_EQ(0, gpu_calm(self->fd));
	found = irq_counts(irqs_before, 3);
	ASSERT_EQ(self->info.messages, found);
	for (i = 0; i < found; i++)
		ASSERT_EQ(0, read_counters(self->fd, i, &before[i]));
	for (i = 0; i < 20; i++) {
		for (node = 0; node < GPU_NULL_NODES; node++)
			ASSERT_GT(gpu_submit(self->fd, node, 1 + i, 0, &fence), 0);
	}
	ASSERT_EQ(0, gpu_calm(self->fd));
	ASSERT_EQ(found, irq_counts(irqs_after, 3));
	for (i = 0; i < found; i++) {
		ASSERT_EQ(0, read_counters(self->fd, i, &after[i]));
		EXPECT_EQ(irqs_after[i] - irqs_before[i],
			  after[i].interrupts - before[i].interrupts +
			  after[i].not_ours - before[i].not_ours) TH_LOG("message %u", i);
	}
}

TEST_HARNESS_MAIN
