// SPDX-License-Identifier: GPL-2.0
/*
 * A node is preempted: what the device has finishes, the rest waits for the answer and gets
 * new submission ids. No packet is lost, executed twice, or overtaken by another of its file.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include <pthread.h>

#include "scheduler.h"
#include "system_sleep.h"

#define ROUNDS	gpu_rounds(200, 1000)
#define FILES	3
/* Packets of another file. */
#define OTHERS	20
/* Packets of a device that takes its time, which executes them while the system goes to sleep. */
#define SLOW_MS		5
#define SLOW_PACKETS	128
/*
 * When the driver starts the device again it asks where the screens are, with the command that a
 * packet is as well.
 */
#define QUESTIONS	1

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
	if (self->setting.screen >= 0)
		EXPECT_EQ(0, device_resume(self->setting.screen));
	EXPECT_EQ(0, tdr_level(TDR_RECOVER));
	EXPECT_EQ(0, tdr_set("limit_count", TDR_LIMIT_COUNT));
	EXPECT_EQ(0, gpu_quiesce(self->setting.fd));
	EXPECT_EQ(0, gpu_works(self->setting.fd));
	EXPECT_EQ(0, count_splats(self->setting.log));
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
		"", " ", "\n", "4", "-1", "x", "0 x", "0 -1", "0 1 2", "99999999999999999999",
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
	/* What the render node has may not end for hours. */
	EXPECT_EQ(-EOPNOTSUPP, ask(&self->setting, path("%u", RUST_GPU_NODE_RENDER)));
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

	for (node = 0; node < GPU_NULL_NODES; node++) {
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

/* A full ring and staged packets, preempted, while the device stands still. */
struct full {
	struct preempted before;
	/* The device stands still at the packet of the one. The other has all that it may have. */
	int holder, file;
	/* Submission id of the holder's packet. */
	__u64 base;
	/* How many the device has, with that one. */
	__s64 published;
	/* How many commands the device has found. */
	__s64 commands;
};

/* Whether the device is our own. */
static bool open_own(struct setting *setting)
{
	setting->screen = screen_open();
	return setting->screen >= 0 && device_state(setting->screen, "commands") >= 0;
}

static void fill(struct __test_metadata *_metadata, const struct setting *setting,
		 const char *request, struct full *full)
{
	full->before = read_preempted(setting, NODE);
	full->holder = hold_packet(setting, request);
	ASSERT_LE(0, full->holder);
	full->file = new_file(setting);
	ASSERT_EQ(FILE_PACKETS, submit(full->file, FILE_PACKETS, 0));
	full->base = query(full->holder).id;
	full->published = file_number(debug_file(setting, "ring_control"), "in flight: ");
	EXPECT_EQ(full->base + full->published - 1 + STAGED, query(full->file).id);
	full->commands = device_count(setting->screen, "display-info");
	ASSERT_EQ(0, ask(setting, "0"));
	EXPECT_EQ(-EBUSY, ask(setting, "0"));
	EXPECT_EQ(full->before.count, read_preempted(setting, NODE).count);
}

/* What the device had is done, and no more. */
static void check_answered(struct __test_metadata *_metadata, const struct setting *setting,
			   const struct full *full)
{
	struct preempted after = read_preempted(setting, NODE);

	EXPECT_EQ(full->before.count + 1, after.count);
	EXPECT_EQ(full->before.id + 1, after.id);
	EXPECT_EQ(full->base + full->published - 1, after.completed);
}

TEST_F_TIMEOUT(preempt, full_queue, 120)
{
	struct setting *setting = &self->setting;
	struct drm_rust_gpu_query_fence found;
	struct full full;

	if (!open_own(setting))
		SKIP(return, NO_OWN_DEVICE);
	ASSERT_EQ(0, tdr_level(TDR_LOOK));
	fill(_metadata, setting, "stall display-info", &full);
	ASSERT_EQ(0, device_resume(setting->screen));
	EXPECT_EQ(0, wait_for(full.file, FILE_PACKETS));
	check_answered(_metadata, setting, &full);
	/* Each was executed once, and those that were staged got new ids. */
	EXPECT_EQ(full.commands + FILE_PACKETS, device_count(setting->screen, "display-info"));
	found = query(full.file);
	EXPECT_EQ(full.base + FILE_PACKETS + STAGED, found.id);
	EXPECT_EQ(FILE_PACKETS, found.completed);
	close(full.holder);
	close(full.file);
}

/* Those that were staged wait again, and go with their file. Those of another one do not. */
TEST_F_TIMEOUT(preempt, the_file_is_closed, 120)
{
	struct setting *setting = &self->setting;
	struct full full;
	int other;

	if (!open_own(setting))
		SKIP(return, NO_OWN_DEVICE);
	ASSERT_EQ(0, tdr_level(TDR_LOOK));
	other = new_file(setting);
	ASSERT_LE(0, other);
	fill(_metadata, setting, "stall display-info", &full);
	ASSERT_EQ(OTHERS, submit(other, OTHERS, 0));
	close(full.file);
	/* At once: not only when the device goes on. */
	EXPECT_TRUE(wait_pending(other, full.published + OTHERS));
	EXPECT_EQ(full.before.count, read_preempted(setting, NODE).count);
	ASSERT_EQ(0, device_resume(setting->screen));
	EXPECT_EQ(0, wait_for(full.holder, 1));
	EXPECT_EQ(0, wait_for(other, OTHERS));
	check_answered(_metadata, setting, &full);
	EXPECT_EQ(full.commands + full.published - 1 + OTHERS,
		  device_count(setting->screen, "display-info"));
	EXPECT_EQ(full.base + full.published - 1 + STAGED + OTHERS, query(other).id);
	close(full.holder);
	close(other);
}

/*
 * The device was reset: what it had is lost, the rest was executed once, with new ids. Nothing
 * has answered the preemption, and the next one has the next id.
 */
static void check_lost(struct __test_metadata *_metadata, const struct setting *setting,
		       const struct full *full)
{
	const __s64 lost = full->published - 1;
	struct preempted after;

	EXPECT_EQ(-ECANCELED, wait_for(full->file, 1));
	EXPECT_EQ(-ECANCELED, wait_for(full->file, lost));
	EXPECT_EQ(0, wait_for(full->file, lost + 1));
	EXPECT_EQ(0, wait_for(full->file, FILE_PACKETS));
	ASSERT_EQ(0, gpu_calm(setting->fd));
	EXPECT_EQ(full->commands + FILE_PACKETS - lost + QUESTIONS,
		  device_count(setting->screen, "display-info"));
	/* The driver's own commands have ids as well. */
	EXPECT_LE(full->base + FILE_PACKETS + STAGED, query(full->file).id);
	EXPECT_EQ(FILE_PACKETS, query(full->file).completed);
	EXPECT_EQ(full->before.count, read_preempted(setting, NODE).count);
	EXPECT_EQ(0, ask(setting, "0"));
	EXPECT_TRUE(wait_answers(setting, NODE, full->before.count + 1));
	after = read_preempted(setting, NODE);
	EXPECT_EQ(full->before.id + 2, after.id);
	EXPECT_LE(query(full->file).id, after.completed);
	close(full->holder);
	close(full->file);
}

TEST_F_TIMEOUT(preempt, the_device_is_reset, 120)
{
	struct setting *setting = &self->setting;
	struct full full;

	if (!open_own(setting))
		SKIP(return, NO_OWN_DEVICE);
	ASSERT_EQ(0, tdr_set("limit_count", 0));
	/* Else the clock preempts the node too, on a busy host. */
	ASSERT_EQ(0, tdr_level(TDR_LOOK));
	fill(_metadata, setting, "hang display-info", &full);
	ASSERT_EQ(0, tdr_level(TDR_RECOVER));
	/* The device hangs at its packet. */
	EXPECT_EQ(-EIO, wait_for(full.holder, 1));
	check_lost(_metadata, setting, &full);
}

TEST_F_TIMEOUT(preempt, a_device_that_stands_still_sleeps, 120)
{
	struct setting *setting = &self->setting;
	struct full full;

	if (!open_own(setting))
		SKIP(return, NO_OWN_DEVICE);
	if (!can_sleep())
		SKIP(return, NO_SLEEP);
	ASSERT_EQ(0, tdr_level(TDR_LOOK));
	fill(_metadata, setting, "hang display-info", &full);
	ASSERT_EQ(0, let_sleep());
	EXPECT_EQ(-ECANCELED, wait_for(full.holder, 1));
	check_lost(_metadata, setting, &full);
}

/* All is executed before the device sleeps, and the preemption is answered. */
TEST_F_TIMEOUT(preempt, a_device_that_works_sleeps, 120)
{
	struct setting *setting = &self->setting;
	struct preempted before, after;
	__s64 commands;
	__u64 base;
	int file;

	if (!open_own(setting))
		SKIP(return, NO_OWN_DEVICE);
	if (!can_sleep())
		SKIP(return, NO_SLEEP);
	before = read_preempted(setting, NODE);
	commands = device_count(setting->screen, "display-info");
	base = query(setting->fd).node_submitted;
	file = new_file(setting);
	ASSERT_EQ(0, device_ask(setting->screen, "slow display-info %u", SLOW_MS));
	ASSERT_EQ(SLOW_PACKETS, submit(file, SLOW_PACKETS, 0));
	ASSERT_EQ(0, ask(setting, "0"));
	EXPECT_EQ(before.count, read_preempted(setting, NODE).count);
	ASSERT_EQ(0, let_sleep());
	EXPECT_EQ(0, wait_for(file, SLOW_PACKETS));
	ASSERT_EQ(0, device_resume(setting->screen));
	ASSERT_EQ(0, gpu_calm(setting->fd));
	after = read_preempted(setting, NODE);
	EXPECT_EQ(before.count + 1, after.count);
	EXPECT_EQ(before.id + 1, after.id);
	EXPECT_LT(base, after.completed);
	EXPECT_LT(after.completed, query(file).id);
	/* Those that were staged have new ids. */
	EXPECT_LT(base + SLOW_PACKETS, query(file).id);
	EXPECT_EQ(SLOW_PACKETS, query(file).completed);
	EXPECT_EQ(commands + SLOW_PACKETS + QUESTIONS,
		  device_count(setting->screen, "display-info"));
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
TEST_F_TIMEOUT(preempt, under_load, 900)
{
	const struct setting *setting = &self->setting;
	struct load loads[GPU_NULL_NODES][FILES] = {};
	struct preempted before[GPU_NULL_NODES], last;
	__u32 node, i;

	/* Else the watchdog preempts too, on a host that leaves the device no time. */
	ASSERT_EQ(0, tdr_level(TDR_LOOK));
	for (node = 0; node < GPU_NULL_NODES; node++) {
		before[node] = read_preempted(setting, node);
		for (i = 0; i < FILES; i++) {
			loads[node][i].setting = setting;
			loads[node][i].node = node;
			ASSERT_EQ(0, pthread_create(&loads[node][i].thread, NULL, submit_all,
						    &loads[node][i]));
		}
	}
	for (i = 0; i < ROUNDS; i++) {
		for (node = 0; node < GPU_NULL_NODES; node++) {
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
	for (node = 0; node < GPU_NULL_NODES; node++) {
		for (i = 0; i < FILES; i++) {
			__atomic_store_n(&loads[node][i].stop, true, __ATOMIC_RELAXED);
			pthread_join(loads[node][i].thread, NULL);
			EXPECT_EQ(0, loads[node][i].error);
		}
	}
	ASSERT_EQ(0, gpu_quiesce(setting->fd));
	for (node = 0; node < GPU_NULL_NODES; node++) {
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
