// SPDX-License-Identifier: GPL-2.0
/*
 * A node is preempted: what the device has finishes, the rest waits for the answer and gets
 * new submission ids. No packet is lost, executed twice, or overtaken by another of its file.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include <pthread.h>

#include "scheduler.h"

#define ROUNDS	gpu_rounds(200, 1000)
#define FILES	3

FIXTURE(preempt)
{
	struct setting setting;
};

FIXTURE_SETUP(preempt)
{
	const char *reason = setting_open(&self->setting, false);

	REQUIRE(return, !reason, reason);
	ASSERT_LE(0, self->setting.fd);
	ASSERT_EQ(0, gpu_calm(self->setting.fd));
}

FIXTURE_TEARDOWN(preempt)
{
	EXPECT_EQ(0, gpu_quiesce(self->setting.fd));
	EXPECT_EQ(0, gpu_works(self->setting.fd));
	setting_close(&self->setting);
}

/* The preemptions of a node that were answered. */
struct preempted {
	unsigned long long count, id, completed;
};

static struct preempted read_preempted(const struct setting *setting, __u32 node)
{
	static const char *const names[] = { "\nControl ", "\nCursor ", "\nSoftware " };
	struct preempted found = {};
	char text[4096], *line;

	if (read_file(debug_file(setting, "nodes"), text, sizeof(text)) <= 0)
		return found;
	line = strstr(text, names[node]);
	if (line)
		sscanf(line, " %*s %*u %*u %*u %*u %*u %llu %llu %llu", &found.count, &found.id,
		       &found.completed);
	return found;
}

static int ask(const struct setting *setting, const char *text)
{
	return write_file(debug_file(setting, "preempt"), text);
}

/* Waits until a node has answered so often. */
static bool wait_answers(const struct setting *setting, __u32 node, __u64 count)
{
	const __s64 end = now_ns() + GPU_PATIENCE_NS;

	while (read_preempted(setting, node).count != count) {
		if (now_ns() > end)
			return false;
		sleep_ns(NSEC_PER_MSEC);
	}
	return true;
}

TEST_F_TIMEOUT(preempt, bad_input, 60)
{
	static const char *const bad[] = {
		"", " ", "\n", "3", "-1", "x", "0 x", "0 -1", "0 1 2", "99999999999999999999",
		"0 99999999999999999999", "4294967296",
		"0                                                            1",
	};
	struct preempted before = read_preempted(&self->setting, NODE);
	struct stat found;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		/* Nothing is written, and nothing happens. */
		if (!*bad[i])
			continue;
		EXPECT_EQ(-EINVAL, ask(&self->setting, bad[i])) TH_LOG("\"%s\"", bad[i]);
	}
	EXPECT_EQ(before.count, read_preempted(&self->setting, NODE).count);
	ASSERT_EQ(0, stat(debug_file(&self->setting, "preempt"), &found));
	EXPECT_EQ(0600, found.st_mode & 07777);
	/* Ids rise. */
	EXPECT_EQ(0, ask(&self->setting, path("0 %llu", before.id + 5)));
	EXPECT_TRUE(wait_answers(&self->setting, NODE, before.count + 1));
	EXPECT_EQ(-EINVAL, ask(&self->setting, path("0 %llu", before.id + 5)));
}

/* An idle node answers at once. */
TEST_F_TIMEOUT(preempt, nothing_to_do, 60)
{
	__u32 node;

	for (node = 0; node < RUST_GPU_NODE_COUNT; node++) {
		struct preempted before = read_preempted(&self->setting, node), after;
		__u64 completed, submitted;

		ASSERT_EQ(0, gpu_query_node(self->setting.fd, node, &completed, &submitted));
		ASSERT_EQ(0, ask(&self->setting, path("%u", node)));
		EXPECT_TRUE(wait_answers(&self->setting, node, before.count + 1));
		after = read_preempted(&self->setting, node);
		EXPECT_EQ(before.id + 1, after.id);
		EXPECT_EQ(completed, after.completed);
	}
}

/* A full ring, and staged packets. */
TEST_F_TIMEOUT(preempt, full_queue, 120)
{
	struct setting *setting = &self->setting;
	struct preempted before = read_preempted(setting, NODE), after;
	struct drm_rust_gpu_query_fence found;
	__s64 commands, published;
	int holder, file;
	__u64 base;

	setting->screen = screen_open();
	if (setting->screen < 0 || device_state(setting->screen, "commands") < 0)
		SKIP(return, NO_OWN_DEVICE);
	ASSERT_EQ(0, tdr_level(TDR_LOOK));
	holder = hold_packet(setting, "stall display-info");
	ASSERT_LE(0, holder);
	file = new_file(setting);
	ASSERT_EQ(FILE_PACKETS, submit(file, FILE_PACKETS, 0));
	base = query(holder).id;
	published = file_number(debug_file(setting, "ring_control"), "in flight: ");
	EXPECT_EQ(base + published - 1 + STAGED, query(file).id);
	ASSERT_EQ(0, ask(setting, "0"));
	EXPECT_EQ(-EBUSY, ask(setting, "0"));
	EXPECT_EQ(before.count, read_preempted(setting, NODE).count);
	commands = device_count(setting->screen, "display-info");
	ASSERT_EQ(0, device_resume(setting->screen));
	EXPECT_EQ(0, wait_for(file, FILE_PACKETS));
	after = read_preempted(setting, NODE);
	EXPECT_EQ(before.count + 1, after.count);
	EXPECT_EQ(base + published - 1, after.completed);
	/* Each was executed once, and those that were staged got new ids. */
	EXPECT_EQ(commands + FILE_PACKETS, device_count(setting->screen, "display-info"));
	found = query(file);
	EXPECT_EQ(base + FILE_PACKETS + STAGED, found.id);
	EXPECT_EQ(FILE_PACKETS, found.completed);
	EXPECT_EQ(0, tdr_level(TDR_RECOVER));
	close(holder);
	close(file);
}

struct load {
	pthread_t thread;
	const struct setting *setting;
	__u32 node;
	bool stop;
	__u64 packets;
	int error;
};

/* Submits packets, and waits for some of them. */
static void *submit_all(void *arg)
{
	struct load *load = arg;
	int fd = new_file(load->setting), ret = 0;
	__u64 ticket = 0, last = 0;

	while (!__atomic_load_n(&load->stop, __ATOMIC_RELAXED) && !load->error) {
		ret = gpu_submit(fd, load->node, RUST_GPU_SUBMIT_MAX_COUNT, 0, &ticket);
		if (ret <= 0 || ticket != last + ret)
			load->error = ret < 0 ? ret : -EPROTO;
		last = ticket;
		load->packets += ret > 0 ? ret : 0;
	}
	if (!load->error)
		load->error = gpu_wait_fence(fd, load->node, ticket, now_ns() + GPU_PATIENCE_NS);
	close(fd);
	return NULL;
}

/* All nodes, again and again, while files submit. */
TEST_F_TIMEOUT(preempt, under_load, 300)
{
	const struct setting *setting = &self->setting;
	struct load loads[RUST_GPU_NODE_COUNT][FILES] = {};
	struct preempted before[RUST_GPU_NODE_COUNT], last;
	__u32 node, i;

	for (node = 0; node < RUST_GPU_NODE_COUNT; node++) {
		before[node] = read_preempted(setting, node);
		for (i = 0; i < FILES; i++) {
			loads[node][i].setting = setting;
			loads[node][i].node = node;
			ASSERT_EQ(0, pthread_create(&loads[node][i].thread, NULL, submit_all,
						    &loads[node][i]));
		}
	}
	for (i = 0; i < ROUNDS; i++) {
		for (node = 0; node < RUST_GPU_NODE_COUNT; node++) {
			struct preempted now;

			last = read_preempted(setting, node);
			ASSERT_EQ(0, ask(setting, path("%u", node)));
			ASSERT_TRUE(wait_answers(setting, node, last.count + 1))
				TH_LOG("node %u, round %u", node, i);
			now = read_preempted(setting, node);
			EXPECT_EQ(last.id + 1, now.id);
			EXPECT_LE(last.completed, now.completed);
		}
	}
	for (node = 0; node < RUST_GPU_NODE_COUNT; node++) {
		for (i = 0; i < FILES; i++) {
			__atomic_store_n(&loads[node][i].stop, true, __ATOMIC_RELAXED);
			pthread_join(loads[node][i].thread, NULL);
			EXPECT_EQ(0, loads[node][i].error);
		}
	}
	ASSERT_EQ(0, gpu_quiesce(setting->fd));
	for (node = 0; node < RUST_GPU_NODE_COUNT; node++) {
		__u64 packets = 0, completed, submitted;

		for (i = 0; i < FILES; i++)
			packets += loads[node][i].packets;
		last = read_preempted(setting, node);
		EXPECT_EQ(before[node].count + ROUNDS, last.count);
		ASSERT_EQ(0, gpu_query_node(setting->fd, node, &completed, &submitted));
		EXPECT_EQ(submitted, completed);
		EXPECT_LE(packets, submitted);
		TH_LOG("node %u: %llu packets, %llu ids", node, packets, submitted);
	}
}

TEST_HARNESS_MAIN
