// SPDX-License-Identifier: GPL-2.0
/* The files in debugfs exist, are right, and go away with the device. */
#include "kselftest_harness.h"
#include "rust_gpu_test.h"

static const char *const files[] = {
	"ring_control", "ring_cursor", "messages", "nodes", "watchdog",
};

FIXTURE(debugfs)
{
	struct gpu gpu;
	struct drm_rust_gpu_device_info info;
	int fd;
};

FIXTURE_SETUP(debugfs)
{
	const char *reason = gpu_open(&self->gpu, GPU_RENDER, &self->fd);

	REQUIRE(return, !reason, reason);
	ASSERT_GE(self->fd, 0);
	REQUIRE(return, !access("/sys/kernel/debug/rust_gpu", F_OK), "no debugfs");
	ASSERT_EQ(0, gpu_info(self->fd, &self->info));
	/* The tests compare the files with the ioctls, one after the other. */
	ASSERT_EQ(0, gpu_calm(self->fd));
}

FIXTURE_TEARDOWN(debugfs)
{
	if (self->fd >= 0)
		close(self->fd);
}

static const char *file_of(const struct gpu *gpu, const char *name)
{
	return path("/sys/kernel/debug/rust_gpu/%s/%s", gpu->pci, name);
}

TEST_F_TIMEOUT(debugfs, readable, 60)
{
	char text[8192];
	unsigned int i;
	struct stat st;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		EXPECT_GT(read_file(file_of(&self->gpu, files[i]), text, sizeof(text)), 0)
			TH_LOG("%s", files[i]);
		ASSERT_EQ(0, stat(file_of(&self->gpu, files[i]), &st));
		EXPECT_EQ(0, st.st_mode & 0222) TH_LOG("%s can be written", files[i]);
	}
}

struct ring {
	__s64 size;
	__s64 available;
	__s64 used;
	__s64 free;
	__s64 in_flight;
	bool healthy;
};

static void read_ring(const struct gpu *gpu, const char *name, struct ring *ring)
{
	const char *file = file_of(gpu, name);
	char text[4096] = "";

	ring->size = file_number(file, "size:");
	ring->available = file_number(file, "available index:");
	ring->used = file_number(file, "used index:");
	ring->free = file_number(file, "free descriptors:");
	ring->in_flight = file_number(file, "in flight:");
	read_file(file, text, sizeof(text));
	ring->healthy = strstr(text, "broken: no");
}

TEST_F_TIMEOUT(debugfs, rings, 60)
{
	static const __u32 nodes[] = { RUST_GPU_NODE_CONTROL, RUST_GPU_NODE_CURSOR };
	struct ring before, after;
	unsigned int i, packets;
	__u64 fence;

	for (i = 0; i < ARRAY_SIZE(nodes); i++) {
		read_ring(&self->gpu, files[i], &before);
		ASSERT_GT(before.size, 0);
		EXPECT_EQ(0, before.size & (before.size - 1));
		EXPECT_LE(before.size, 32768);
		EXPECT_GE(before.available, 0);
		EXPECT_LT(before.available, 65536);
		EXPECT_GT(before.free, 0);
		EXPECT_EQ(0, before.in_flight);
		EXPECT_EQ(before.available, before.used);
		EXPECT_TRUE(before.healthy);

		/* More than fit into the ring. */
		packets = 0;
		while (packets < 300) {
			ASSERT_EQ(50, gpu_submit(self->fd, nodes[i], 50, 0, &fence));
			packets += 50;
		}
		ASSERT_EQ(0, gpu_calm(self->fd));
		read_ring(&self->gpu, files[i], &after);
		EXPECT_EQ((before.available + packets) % 65536, after.available);
		EXPECT_EQ((before.used + packets) % 65536, after.used);
		EXPECT_EQ(before.size, after.size);
		EXPECT_EQ(before.free, after.free);
		EXPECT_EQ(0, after.in_flight);
		EXPECT_TRUE(after.healthy);
	}
}

/* The file has the same counters as the ioctl. */
TEST_F_TIMEOUT(debugfs, messages, 60)
{
	struct drm_rust_gpu_message_counters counters;
	unsigned int lines = 0, number;
	char text[8192], *line, *next;
	__u64 value[7];

	ASSERT_EQ(0, gpu_works(self->fd));
	ASSERT_EQ(0, gpu_calm(self->fd));
	ASSERT_GT(read_file(file_of(&self->gpu, "messages"), text, sizeof(text)), 0);
	for (line = strtok_r(text, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
		if (sscanf(line, "%u %llu %llu %llu %llu %llu %llu %llu", &number, &value[0],
			   &value[1], &value[2], &value[3], &value[4], &value[5], &value[6]) != 8)
			continue;
		EXPECT_EQ(lines, number);
		lines++;
		ASSERT_EQ(0, gpu_counters(self->fd, number, &counters));
		EXPECT_EQ(value[0], counters.interrupts);
		EXPECT_EQ(value[1], counters.not_ours);
		EXPECT_EQ(value[2], counters.dpcs_queued);
		EXPECT_EQ(value[3], counters.dpcs_refused);
		EXPECT_LT(value[4], counters.executions);
		EXPECT_EQ(value[5], counters.refused);
	}
	EXPECT_EQ(self->info.messages, lines);
}

TEST_F_TIMEOUT(debugfs, nodes, 60)
{
	static const char *const names[] = { "Control", "Cursor", "Software", "Render" };
	__u64 completed, submitted, shown_completed, shown_submitted, queued, in_flight;
	unsigned int lines = 0, message, node;
	char text[8192], name[32], *line, *next;

	ASSERT_EQ(0, gpu_works(self->fd));
	ASSERT_GT(read_file(file_of(&self->gpu, "nodes"), text, sizeof(text)), 0);
	for (line = strtok_r(text, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
		if (sscanf(line, "%31s %u %llu %llu %llu %llu", name, &message, &shown_submitted,
			   &shown_completed, &queued, &in_flight) != 6)
			continue;
		node = lines++;
		ASSERT_LT(node, RUST_GPU_NODE_COUNT);
		EXPECT_STREQ(names[node], name);
		EXPECT_LT(message, self->info.messages);
		ASSERT_EQ(0, gpu_query_node(self->fd, node, &completed, &submitted));
		EXPECT_EQ(submitted, shown_submitted);
		EXPECT_EQ(completed, shown_completed);
		EXPECT_EQ(0, queued);
		EXPECT_EQ(0, in_flight);
	}
	EXPECT_EQ(RUST_GPU_NODE_COUNT, lines);
}

/* A file that is open when the device goes away reads as empty. */
TEST_F_TIMEOUT(debugfs, held_open, 120)
{
	int held[ARRAY_SIZE(files)];
	char text[4096];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		held[i] = open(file_of(&self->gpu, files[i]), O_RDONLY | O_CLOEXEC);
		ASSERT_GE(held[i], 0);
		/* Every other one was read before. */
		if (i % 2)
			EXPECT_GT(pread(held[i], text, 8, 0), 0);
	}
	close(self->fd);
	self->fd = -1;
	ASSERT_EQ(0, gpu_unbind(&self->gpu));
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		EXPECT_LE(pread(held[i], text, sizeof(text), 0), 0) TH_LOG("%s", files[i]);
		EXPECT_EQ(-ENOENT, read_file(file_of(&self->gpu, files[i]), text, sizeof(text)))
			TH_LOG("%s", files[i]);
	}
	ASSERT_EQ(0, gpu_bind(&self->gpu));
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		EXPECT_LE(pread(held[i], text, sizeof(text), 0), 0) TH_LOG("%s", files[i]);
		EXPECT_GT(read_file(file_of(&self->gpu, files[i]), text, sizeof(text)), 0)
			TH_LOG("%s", files[i]);
		close(held[i]);
	}
}

TEST_HARNESS_MAIN
