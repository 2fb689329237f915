// SPDX-License-Identifier: GPL-2.0
/* Every ioctl of rust_gpu with good and bad arguments, on both nodes. */
#include <ctype.h>
#include <stddef.h>
#include <sys/mman.h>

#include "kselftest_harness.h"
#include "rust_gpu_test.h"

#include <drm/virtgpu_drm.h>

#define POISON		0xa5a5a5a5a5a5a5a5ULL
#define VIRTIO_F_VERSION_1	32

/* The largest structure, and room after it. */
#define ROOM		(sizeof(struct drm_rust_gpu_device_info) + 256)

#define BOTH	(_IOC_READ | _IOC_WRITE)

static const __u32 bad_nodes[] = { 4, 5, 0x7fffffff, 0x80000000, 0xffffffff };

struct command {
	const char *name;
	unsigned long request;
	size_t flags;		/* offset of this field */
};

#define COMMAND(name, args) \
	{ #name, DRM_IOCTL_RUST_GPU_##name, offsetof(struct args, flags) }

static const struct command commands[] = {
	COMMAND(DEVICE_INFO, drm_rust_gpu_device_info),
	COMMAND(MESSAGE_COUNTERS, drm_rust_gpu_message_counters),
	COMMAND(SUBMIT_NULL, drm_rust_gpu_submit_null),
	COMMAND(WAIT_FENCE, drm_rust_gpu_wait_fence),
	COMMAND(QUERY_FENCE, drm_rust_gpu_query_fence),
};

FIXTURE(node)
{
	struct gpu gpu;
	int fd;
};

FIXTURE_VARIANT(node)
{
	bool render;
};

FIXTURE_VARIANT_ADD(node, card)
{
	.render = false,
};

FIXTURE_VARIANT_ADD(node, render)
{
	.render = true,
};

FIXTURE_SETUP(node)
{
	const char *reason = gpu_open(&self->gpu, variant->render ? GPU_RENDER : GPU_CARD,
				      &self->fd);

	REQUIRE(return, !reason, reason);
	ASSERT_GE(self->fd, 0) TH_LOG("open: %s", strerror(-self->fd));
}

FIXTURE_TEARDOWN(node)
{
	if (self->fd >= 0)
		close(self->fd);
}

/* Fills @args with valid arguments of the command. */
static void make_good(int fd, const struct command *command, void *args)
{
	struct drm_rust_gpu_submit_null *submit = args;
	struct drm_rust_gpu_wait_fence *wait = args;

	memset(args, 0, _IOC_SIZE(command->request));
	if (command->request == DRM_IOCTL_RUST_GPU_SUBMIT_NULL)
		submit->count = 1;
	if (command->request == DRM_IOCTL_RUST_GPU_WAIT_FENCE) {
		gpu_submit(fd, 0, 1, 0, &wait->fence);
		wait->deadline_ns = now_ns() + GPU_PATIENCE_NS;
	}
}

static __u32 known_flags(const struct command *command)
{
	return command->request == DRM_IOCTL_RUST_GPU_SUBMIT_NULL ? RUST_GPU_SUBMIT_FLAGS : 0;
}

/* Calls with another direction and another size in the number of the ioctl. */
static int call(int fd, unsigned int directions, unsigned long request, size_t size, void *args)
{
	return gpu_ioctl(fd, _IOC(directions, DRM_IOCTL_BASE, _IOC_NR(request), size), args);
}

TEST_F_TIMEOUT(node, version, 60)
{
	struct gpu_version version;

	ASSERT_EQ(0, gpu_version(self->fd, &version));
	EXPECT_STREQ("virtio_gpu", version.name);
	EXPECT_NE('\0', version.desc[0]);
}

TEST_F_TIMEOUT(node, device_info, 60)
{
	struct drm_rust_gpu_device_info info, again;
	unsigned int i;

	memset(&info, 0xa5, sizeof(info));
	info.flags = 0;
	info.pad = 0;
	ASSERT_EQ(0, gpu_ioctl(self->fd, DRM_IOCTL_RUST_GPU_DEVICE_INFO, &info));

	EXPECT_EQ(0, info.flags);
	EXPECT_EQ(0, info.pad);
	EXPECT_LE(info.interrupt_type, RUST_GPU_INTERRUPT_MSIX);
	EXPECT_NE(0, info.handle);
	EXPECT_NE(0, info.driver_features & (1ULL << VIRTIO_F_VERSION_1));
	EXPECT_EQ(0, info.driver_features & ~info.device_features);
	EXPECT_EQ(RUST_GPU_NODE_COUNT, info.nodes);
	EXPECT_GE(info.messages, 1);
	EXPECT_LE(info.messages, 3);
	if (info.interrupt_type == RUST_GPU_INTERRUPT_INTX)
		EXPECT_EQ(1, info.messages);
	EXPECT_LT(info.notify_message, info.messages);
	EXPECT_LT(info.dpc_message, info.messages);
	EXPECT_LT(info.config_message, info.messages);
	EXPECT_LT(info.control_message, info.messages);
	EXPECT_LT(info.cursor_message, info.messages);
	ASSERT_GE(info.scanouts, 1);
	ASSERT_LE(info.scanouts, RUST_GPU_MAX_SCANOUTS);
	EXPECT_LE(info.capsets, 64);

	for (i = 0; i < info.scanouts; i++) {
		EXPECT_LE(info.scanout[i].enabled, 1);
		EXPECT_EQ(0, info.scanout[i].pad);
		if (info.scanout[i].enabled) {
			EXPECT_NE(0, info.scanout[i].width);
			EXPECT_NE(0, info.scanout[i].height);
		}
	}
	EXPECT_EQ(0, info.edid_name[sizeof(info.edid_name) - 1]);
	for (i = 0; i < sizeof(info.edid_name) && info.edid_name[i]; i++)
		EXPECT_TRUE(isprint(info.edid_name[i]));
	for (; i < sizeof(info.edid_name); i++)
		EXPECT_EQ(0, info.edid_name[i]);

	/* The answer does not depend on the old contents of the structure. */
	memset(&again, 0, sizeof(again));
	ASSERT_EQ(0, gpu_ioctl(self->fd, DRM_IOCTL_RUST_GPU_DEVICE_INFO, &again));
	EXPECT_EQ(0, memcmp(&info, &again, offsetof(struct drm_rust_gpu_device_info, scanout)));
	EXPECT_EQ(0, memcmp(info.scanout, again.scanout,
			    info.scanouts * sizeof(info.scanout[0])));
}

TEST_F_TIMEOUT(node, flags, 60)
{
	__u64 completed, submitted, after;
	__u32 args[ROOM / 4];
	unsigned int bit;
	size_t i;

	/* Then nobody else submits, and the fence ids show what this test does. */
	ASSERT_EQ(0, gpu_calm(self->fd));
	srandom(1);
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *command = &commands[i];
		__u32 *flags = &args[command->flags / 4];

		make_good(self->fd, command, args);
		ASSERT_EQ(0, gpu_ioctl(self->fd, command->request, args))
			TH_LOG("%s", command->name);

		ASSERT_EQ(0, gpu_query(self->fd, 0, &completed, &submitted));
		for (bit = 0; bit < 32; bit++) {
			if (known_flags(command) & (1U << bit))
				continue;
			make_good(self->fd, command, args);
			*flags = 1U << bit;
			EXPECT_EQ(-EINVAL, gpu_ioctl(self->fd, command->request, args))
				TH_LOG("%s, flags 0x%x", command->name, 1U << bit);
		}
		for (bit = 0; bit < 100; bit++) {
			make_good(self->fd, command, args);
			*flags = random() | (1U << (8 + bit % 24));
			EXPECT_EQ(-EINVAL, gpu_ioctl(self->fd, command->request, args))
				TH_LOG("%s, flags 0x%x", command->name, *flags);
		}
		/* The command was refused before it did anything. */
		ASSERT_EQ(0, gpu_query(self->fd, 0, &completed, &after));
		if (command->request != DRM_IOCTL_RUST_GPU_WAIT_FENCE)
			EXPECT_EQ(submitted, after) TH_LOG("%s", command->name);
	}
}

TEST_F_TIMEOUT(node, pads, 60)
{
	struct drm_rust_gpu_message_counters counters;
	struct drm_rust_gpu_device_info info;
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		memset(&counters, 0, sizeof(counters));
		counters.pad = 1U << bit;
		EXPECT_EQ(-EINVAL, gpu_ioctl(self->fd, DRM_IOCTL_RUST_GPU_MESSAGE_COUNTERS,
					     &counters));
		memset(&info, 0, sizeof(info));
		info.pad = 1U << bit;
		EXPECT_EQ(-EINVAL, gpu_ioctl(self->fd, DRM_IOCTL_RUST_GPU_DEVICE_INFO, &info));
	}
}

TEST_F_TIMEOUT(node, bad_pointers, 60)
{
	long page = sysconf(_SC_PAGESIZE);
	char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);
	__u32 good[ROOM / 4];
	size_t i, j;

	ASSERT_NE(MAP_FAILED, pages);
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *command = &commands[i];
		size_t size = _IOC_SIZE(command->request);
		void *bad[] = {
			NULL,
			(void *)8,
			(void *)-1L,
			(void *)0xffff888000000000UL,
			(void *)0xffffffff81000000UL,
			(void *)0x8000000000000000UL,
			/* ends in the page that is not accessible */
			pages + page - 4,
			pages + page,
		};

		ASSERT_EQ(0, mprotect(pages, page, PROT_READ | PROT_WRITE));
		ASSERT_EQ(0, mprotect(pages + page, page, PROT_NONE));
		for (j = 0; j < ARRAY_SIZE(bad); j++)
			EXPECT_EQ(-EFAULT, gpu_ioctl(self->fd, command->request, bad[j]))
				TH_LOG("%s at %p", command->name, bad[j]);

		/* Can be read, cannot be written. */
		make_good(self->fd, command, good);
		memcpy(pages, good, size);
		ASSERT_EQ(0, mprotect(pages, page, PROT_READ));
		EXPECT_EQ(-EFAULT, gpu_ioctl(self->fd, command->request, pages))
			TH_LOG("%s, read only", command->name);

		/* The same structure in writable memory, at the end of a page. */
		ASSERT_EQ(0, mprotect(pages, page, PROT_READ | PROT_WRITE));
		make_good(self->fd, command, good);
		memcpy(pages + page - size, good, size);
		EXPECT_EQ(0, gpu_ioctl(self->fd, command->request, pages + page - size))
			TH_LOG("%s, end of page", command->name);
	}
	munmap(pages, 2 * page);
}

/* DRM extends short structures with zeroes. */
TEST_F_TIMEOUT(node, short_sizes, 60)
{
	unsigned char args[ROOM], before[ROOM];
	size_t i, j, size;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *command = &commands[i];
		size_t full = _IOC_SIZE(command->request);

		for (size = 0; size < full; size += size < 64 ? 1 : 8) {
			int expected = 0, ret;

			memset(args, 0xa5, sizeof(args));
			make_good(self->fd, command, args);
			memcpy(before, args, sizeof(before));
			if (command->request == DRM_IOCTL_RUST_GPU_SUBMIT_NULL &&
			    size <= offsetof(struct drm_rust_gpu_submit_null, count))
				expected = -EINVAL;
			if (command->request == DRM_IOCTL_RUST_GPU_WAIT_FENCE) {
				struct drm_rust_gpu_wait_fence *wait = (void *)args;

				/* With deadline 0 the command polls. */
				ASSERT_EQ(0, gpu_wait_fence(self->fd, 0, wait->fence,
							    wait->deadline_ns));
				if (size <= offsetof(struct drm_rust_gpu_wait_fence, fence))
					expected = -EINVAL;
			}
			ret = call(self->fd, BOTH, command->request, size, args);
			/* Half a fence id may or may not be valid. */
			if (command->request == DRM_IOCTL_RUST_GPU_WAIT_FENCE &&
			    size > offsetof(struct drm_rust_gpu_wait_fence, fence) &&
			    size < offsetof(struct drm_rust_gpu_wait_fence, deadline_ns) &&
			    ret == -EINVAL)
				expected = -EINVAL;
			EXPECT_EQ(expected, ret) TH_LOG("%s, size %zu", command->name, size);
			for (j = size; j < sizeof(args); j++)
				if (args[j] != before[j])
					break;
			EXPECT_EQ(sizeof(args), j)
				TH_LOG("%s, size %zu: byte %zu written", command->name, size, j);
		}
	}
}

TEST_F_TIMEOUT(node, long_sizes, 60)
{
	unsigned char args[ROOM];
	size_t i, j, more;

	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *command = &commands[i];
		size_t full = _IOC_SIZE(command->request);

		for (more = 1; more <= 256; more *= 2) {
			memset(args, 0xa5, sizeof(args));
			make_good(self->fd, command, args);
			EXPECT_EQ(0, call(self->fd, BOTH, command->request, full + more, args))
				TH_LOG("%s, %zu longer", command->name, more);
			for (j = full; j < full + more; j++)
				EXPECT_EQ(0xa5, args[j]);
		}
	}
}

/* DRM reads and writes only in the directions of the ioctl number. */
TEST_F_TIMEOUT(node, directions, 60)
{
	struct drm_rust_gpu_query_fence query;
	struct drm_rust_gpu_submit_null submit;

	memset(&query, 0xff, sizeof(query));
	EXPECT_EQ(0, call(self->fd, _IOC_READ, DRM_IOCTL_RUST_GPU_QUERY_FENCE, sizeof(query),
			  &query));
	EXPECT_EQ(0, query.node);
	EXPECT_EQ(0, query.flags);
	EXPECT_LE(query.completed, query.submitted);

	memset(&query, 0, sizeof(query));
	query.completed = POISON;
	EXPECT_EQ(0, call(self->fd, _IOC_WRITE, DRM_IOCTL_RUST_GPU_QUERY_FENCE, sizeof(query),
			  &query));
	EXPECT_EQ(POISON, query.completed);

	memset(&submit, 0, sizeof(submit));
	submit.count = 1;
	EXPECT_EQ(-EINVAL, call(self->fd, _IOC_READ, DRM_IOCTL_RUST_GPU_SUBMIT_NULL,
				sizeof(submit), &submit));
}

TEST_F_TIMEOUT(node, unknown_numbers, 60)
{
	unsigned char args[ROOM] = {};
	unsigned int nr;

	/* Below are the ioctls of virtgpu_drm.h, then a gap, then those of rust_gpu. */
	for (nr = DRM_VIRTGPU_CONTEXT_INIT + 1; nr < DRM_COMMAND_END - DRM_COMMAND_BASE; nr++) {
		if (nr >= DRM_RUST_GPU_DEVICE_INFO && nr <= DRM_RUST_GPU_QUERY_FENCE)
			continue;
		EXPECT_EQ(-EINVAL, gpu_ioctl(self->fd, DRM_IOWR(DRM_COMMAND_BASE + nr,
								struct drm_rust_gpu_query_fence),
					     args)) TH_LOG("number 0x%x", nr);
	}
	EXPECT_EQ(-EINVAL, gpu_ioctl(self->fd, DRM_IOWR(DRM_COMMAND_BASE,
							struct drm_rust_gpu_query_fence), args));
	EXPECT_EQ(-ENOTTY, gpu_ioctl(self->fd, _IOWR('x', DRM_COMMAND_BASE + 0x20,
						     struct drm_rust_gpu_query_fence), args));
}

TEST_F_TIMEOUT(node, counters, 60)
{
	struct drm_rust_gpu_message_counters first, second;
	struct drm_rust_gpu_device_info info;
	__u32 message;

	ASSERT_EQ(0, gpu_info(self->fd, &info));
	for (message = 0; message < info.messages; message++) {
		memset(&first, 0xa5, sizeof(first));
		first.message = message;
		first.flags = 0;
		first.pad = 0;
		ASSERT_EQ(0, gpu_ioctl(self->fd, DRM_IOCTL_RUST_GPU_MESSAGE_COUNTERS, &first));
		ASSERT_EQ(0, gpu_counters(self->fd, message, &second));

		ASSERT_EQ(RUST_GPU_STATUS_SUCCESS, first.status);
		ASSERT_EQ(RUST_GPU_STATUS_SUCCESS, second.status);
		EXPECT_EQ(message, first.message);
		EXPECT_EQ(0, first.pad);
		EXPECT_NE(POISON, first.interrupts);
		EXPECT_NE(POISON, first.not_ours);
		EXPECT_NE(POISON, first.dpcs_queued);
		EXPECT_NE(POISON, first.dpcs_refused);
		EXPECT_NE(POISON, first.refused);
		EXPECT_NE(POISON, first.longest_hold_ns);
		EXPECT_NE(POISON, first.notifications);
		EXPECT_NE(POISON, first.dpcs_run);

		/* Counters never decrease, and the second call counts itself. */
		EXPECT_GT(second.executions, first.executions);
		EXPECT_GE(second.interrupts, first.interrupts);
		EXPECT_GE(second.not_ours, first.not_ours);
		EXPECT_GE(second.dpcs_queued, first.dpcs_queued);
		EXPECT_GE(second.dpcs_refused, first.dpcs_refused);
		EXPECT_GE(second.notifications, first.notifications);
		EXPECT_GE(second.dpcs_run, first.dpcs_run);
		/* Only the notify message notifies. */
		if (message != info.notify_message)
			EXPECT_EQ(0, second.notifications);
	}
}

TEST_F_TIMEOUT(node, counters_out_of_range, 60)
{
	struct drm_rust_gpu_message_counters counters, expected;
	struct drm_rust_gpu_device_info info;
	__u32 messages[] = { 0, 1, 2048, 0x7fffffff, 0x80000000, 0xffffffff };
	size_t i;

	ASSERT_EQ(0, gpu_info(self->fd, &info));
	messages[0] += info.messages;
	messages[1] += info.messages;
	for (i = 0; i < ARRAY_SIZE(messages); i++) {
		memset(&counters, 0xa5, sizeof(counters));
		counters.message = messages[i];
		counters.flags = 0;
		counters.pad = 0;
		expected = counters;
		expected.status = RUST_GPU_STATUS_INVALID_PARAMETER;
		ASSERT_EQ(0, gpu_ioctl(self->fd, DRM_IOCTL_RUST_GPU_MESSAGE_COUNTERS, &counters));
		EXPECT_EQ(RUST_GPU_STATUS_INVALID_PARAMETER, counters.status)
			TH_LOG("message %u", messages[i]);
		EXPECT_EQ(0, memcmp(&expected, &counters, sizeof(counters)))
			TH_LOG("message %u: a field was touched", messages[i]);
	}
}

TEST_F_TIMEOUT(node, submit_bad, 60)
{
	static const __u32 counts[] = { 0, 65, 66, 0x80000000, 0xffffffff };
	__u64 completed, before[GPU_NULL_NODES], after, fence;
	__u32 node;
	size_t i;

	ASSERT_EQ(0, gpu_calm(self->fd));
	for (node = 0; node < GPU_NULL_NODES; node++)
		ASSERT_EQ(0, gpu_query(self->fd, node, &completed, &before[node]));
	for (i = 0; i < ARRAY_SIZE(bad_nodes); i++)
		EXPECT_EQ(-EINVAL, gpu_submit(self->fd, bad_nodes[i], 1, 0, &fence))
			TH_LOG("node %u", bad_nodes[i]);
	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		for (node = 0; node < GPU_NULL_NODES; node++)
			EXPECT_EQ(-EINVAL, gpu_submit(self->fd, node, counts[i], 0, &fence))
				TH_LOG("count %u", counts[i]);
	}
	for (node = 0; node < GPU_NULL_NODES; node++) {
		ASSERT_EQ(0, gpu_query(self->fd, node, &completed, &after));
		EXPECT_EQ(before[node], after);
	}
}

/* The render node is there, and has no null packets. */
TEST_F_TIMEOUT(node, without_null_packets, 60)
{
	__u64 completed, submitted, fence;

	EXPECT_EQ(-EOPNOTSUPP, gpu_submit(self->fd, RUST_GPU_NODE_RENDER, 1, 0, &fence));
	EXPECT_EQ(-EINVAL, gpu_submit(self->fd, RUST_GPU_NODE_RENDER, 0, 0, &fence));
	EXPECT_EQ(-EINVAL, gpu_submit(self->fd, RUST_GPU_NODE_RENDER, 1, ~0U, &fence));
	ASSERT_EQ(0, gpu_query(self->fd, RUST_GPU_NODE_RENDER, &completed, &submitted));
	EXPECT_EQ(0, submitted);
	EXPECT_EQ(0, completed);
	EXPECT_EQ(-EINVAL, gpu_wait_fence(self->fd, RUST_GPU_NODE_RENDER, 1, 0));
}

TEST_F_TIMEOUT(node, wait_bad, 60)
{
	__u64 completed, submitted, fence;
	__u32 node;
	size_t i;

	ASSERT_EQ(1, gpu_submit(self->fd, 0, 1, 0, &fence));
	for (i = 0; i < ARRAY_SIZE(bad_nodes); i++)
		EXPECT_EQ(-EINVAL, gpu_wait_fence(self->fd, bad_nodes[i], fence, 0))
			TH_LOG("node %u", bad_nodes[i]);
	for (node = 0; node < RUST_GPU_NODE_COUNT; node++) {
		__s64 far = now_ns() + GPU_PATIENCE_NS;

		ASSERT_EQ(0, gpu_query(self->fd, node, &completed, &submitted));
		/* At once, not at the deadline. */
		EXPECT_EQ(-EINVAL, gpu_wait_fence(self->fd, node, submitted + 1, far));
		EXPECT_EQ(-EINVAL, gpu_wait_fence(self->fd, node, submitted + 1000000, far));
		EXPECT_EQ(-EINVAL, gpu_wait_fence(self->fd, node, 1ULL << 63, far));
		EXPECT_EQ(-EINVAL, gpu_wait_fence(self->fd, node, ~0ULL, far));
		EXPECT_EQ(-EINVAL, gpu_wait_fence(self->fd, node, ~0ULL, 0));
		EXPECT_LT(now_ns(), far);
	}
}

TEST_F_TIMEOUT(node, query_bad, 60)
{
	__u64 completed, submitted;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad_nodes); i++)
		EXPECT_EQ(-EINVAL, gpu_query(self->fd, bad_nodes[i], &completed, &submitted))
			TH_LOG("node %u", bad_nodes[i]);
}

TEST_F_TIMEOUT(node, submit_and_wait, 120)
{
	__u64 fence, completed, submitted, last[GPU_NULL_NODES] = {};
	__u32 node, round;

	for (round = 0; round < 50; round++) {
		for (node = 0; node < GPU_NULL_NODES; node++) {
			ASSERT_EQ(1, gpu_submit(self->fd, node, 1, 0, &fence));
			EXPECT_GT(fence, last[node]);
			last[node] = fence;
			ASSERT_EQ(0, gpu_wait_fence(self->fd, node, fence,
						    now_ns() + GPU_PATIENCE_NS))
				TH_LOG("node %u fence %llu", node, fence);
			ASSERT_EQ(0, gpu_query(self->fd, node, &completed, &submitted));
			EXPECT_GE(completed, fence);
			EXPECT_GE(submitted, completed);
			/* A complete fence stays complete, whatever the deadline. */
			EXPECT_EQ(0, gpu_wait_fence(self->fd, node, fence, 0));
			EXPECT_EQ(0, gpu_wait_fence(self->fd, node, fence, -1));
			EXPECT_EQ(0, gpu_wait_fence(self->fd, node, fence, INT64_MIN));
			EXPECT_EQ(0, gpu_wait_fence(self->fd, node, fence, INT64_MAX));
		}
	}
}

TEST_F_TIMEOUT(node, batches, 120)
{
	__u64 fence, before, completed, middle;
	__u32 node, count;

	ASSERT_EQ(0, gpu_calm(self->fd));
	for (node = 0; node < GPU_NULL_NODES; node++) {
		for (count = 1; count <= RUST_GPU_SUBMIT_MAX_COUNT; count++) {
			ASSERT_EQ(0, gpu_query(self->fd, node, &completed, &before));
			ASSERT_EQ(count, gpu_submit(self->fd, node, count, 0, &fence));
			/* The tickets of a file have no gaps. */
			EXPECT_EQ(before + count, fence);
		}
		ASSERT_EQ(0, gpu_wait_fence(self->fd, node, fence, now_ns() + GPU_PATIENCE_NS));
		/* All older fences are complete as well. */
		for (middle = before + 1; middle <= fence; middle++)
			EXPECT_EQ(0, gpu_wait_fence(self->fd, node, middle, 0));
	}
}

TEST_F_TIMEOUT(node, query_monotonic, 120)
{
	__u64 completed, submitted, fence, last_completed = 0, last_submitted = 0;
	__u32 node, round;

	for (node = 0; node < GPU_NULL_NODES; node++) {
		last_completed = 0;
		last_submitted = 0;
		for (round = 0; round < 300; round++) {
			if (round % 3 == 0)
				ASSERT_GT(gpu_submit(self->fd, node, 8, 0, &fence), 0);
			ASSERT_EQ(0, gpu_query(self->fd, node, &completed, &submitted));
			ASSERT_LE(completed, submitted);
			ASSERT_LE(last_completed, completed);
			ASSERT_LE(last_submitted, submitted);
			last_completed = completed;
			last_submitted = submitted;
		}
		ASSERT_EQ(0, gpu_quiesce(self->fd));
	}
}

/* Closing a file with packets in flight does not stop the node. */
TEST_F_TIMEOUT(node, close_in_flight, 120)
{
	__u64 fence, completed, submitted;
	__u32 node;
	int round;

	for (round = 0; round < 50; round++) {
		int fd = open(variant->render ? self->gpu.render : self->gpu.card,
			      O_RDWR | O_CLOEXEC);

		ASSERT_GE(fd, 0);
		for (node = 0; node < GPU_NULL_NODES; node++)
			ASSERT_EQ(16, gpu_submit(fd, node, 16, 0, &fence));
		close(fd);
	}
	ASSERT_EQ(0, gpu_quiesce(self->fd));
	for (node = 0; node < GPU_NULL_NODES; node++) {
		ASSERT_EQ(0, gpu_query_node(self->fd, node, &completed, &submitted));
		EXPECT_EQ(submitted, completed);
	}
	EXPECT_EQ(0, gpu_works(self->fd));
}

TEST_HARNESS_MAIN
