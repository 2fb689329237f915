// SPDX-License-Identifier: GPL-2.0
/*
 * Files share a node in turn, none takes all of it, and what a closed file has not handed to
 * the device is never executed.
 *
 * Environment: see display_screen.h and rust_gpu_test.h
 */
#include <sched.h>
#include <sys/mman.h>

#include "scheduler.h"

#define SAMPLES		gpu_rounds(200, 1000)
#define OTHERS		7
#define TURN		8
/* The driver may have some packets between the two questions. */
#define DRIVER		16
#define OPEN_NS		(gpu_rounds(6, 300) * NSEC_PER_SEC)

FIXTURE(contexts)
{
	struct setting setting;
};

FIXTURE_VARIANT(contexts)
{
	bool own;
};

FIXTURE_VARIANT_ADD(contexts, any)
{
	.own = false,
};

FIXTURE_VARIANT_ADD(contexts, own)
{
	.own = true,
};

FIXTURE_SETUP(contexts)
{
	const char *reason = setting_open(&self->setting, variant->own);

	if (variant->own && reason && strcmp(reason, NO_GPU))
		SKIP(return, "%s", reason);
	REQUIRE(return, !reason, reason);
	ASSERT_LE(0, self->setting.fd);
	ASSERT_LT(0, self->setting.ring);
	ASSERT_EQ(0, tdr_level(TDR_LOOK));
	ASSERT_EQ(0, gpu_calm(self->setting.fd));
}

FIXTURE_TEARDOWN(contexts)
{
	if (self->setting.screen >= 0)
		EXPECT_EQ(0, device_resume(self->setting.screen));
	EXPECT_EQ(0, gpu_quiesce(self->setting.fd));
	EXPECT_EQ(0, gpu_works(self->setting.fd));
	EXPECT_EQ(0, tdr_level(TDR_RECOVER));
	setting_close(&self->setting);
}

/* Keeps as many packets in the node as it can, until *@stop. */
static int flood(const struct setting *setting, const bool *stop)
{
	int fd = new_file(setting);
	int ret = 0;
	__u64 fence;

	while (!__atomic_load_n(stop, __ATOMIC_RELAXED) && ret >= 0)
		ret = gpu_submit(fd, NODE, RUST_GPU_SUBMIT_MAX_COUNT, 0, &fence);
	close(fd);
	return ret < 0 ? 1 : 0;
}

/* Returns by how many ids a packet comes after those that are complete, beside @others. */
static __s64 longest_way(const struct setting *setting, unsigned int others, __s64 *taken)
{
	bool *stop = mmap(NULL, sizeof(*stop), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			  -1, 0);
	const struct sched_param param = { .sched_priority = 1 };
	pid_t children[OTHERS];
	__s64 longest = 0, ret = 0;
	unsigned int i;
	int status;

	for (i = 0; i < others; i++) {
		children[i] = fork();
		if (!children[i])
			_exit(flood(setting, stop));
	}
	/* Nobody else runs on this CPU between the submission and the question. */
	if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &param))
		ret = -errno;
	for (i = 0; !ret && i < SAMPLES; i++) {
		__u64 ticket;
		__s64 complete;

		ret = gpu_submit(setting->fd, NODE, 1, 0, &ticket) == 1 ? 0 : -EIO;
		/* Never fewer than when the packet came, however long the host stops this CPU. */
		complete = query(setting->fd).node_completed;
		if (!ret)
			ret = wait_for(setting->fd, ticket);
		if (!ret)
			longest = larger(longest, (__s64)query(setting->fd).id - complete);
	}
	*taken = query(setting->fd).node_completed;
	__atomic_store_n(stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < others; i++)
		if (waitpid(children[i], &status, 0) != children[i] || status)
			ret = -ECHILD;
	munmap(stop, sizeof(*stop));
	return ret ? ret : longest;
}

/* A packet waits for those that were handed out, and for one turn of each other file. */
TEST_F_TIMEOUT(contexts, share_the_node, 900)
{
	static const unsigned int others[] = { 1, OTHERS };
	unsigned int i;

	if (variant->own)
		return;
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		__s64 before = query(self->setting.fd).node_completed, after;
		__s64 longest = longest_way(&self->setting, others[i], &after);

		TH_LOG("%u others: at most %lld packets before one of %u, of %lld", others[i],
		       longest, SAMPLES, after - before);
		ASSERT_LT(0, longest);
		EXPECT_LE(longest, self->setting.ring + STAGED + TURN * others[i] + DRIVER);
		ASSERT_EQ(0, gpu_quiesce(self->setting.fd));
	}
}

/* What a file had not handed to the device when it was closed is not executed. */
TEST_F_TIMEOUT(contexts, close_drops, 120)
{
	const struct setting *setting = &self->setting;
	int holder, closed, other;
	__s64 before, waiting;
	__u64 pending, id;

	if (!variant->own)
		return;
	holder = hold_packet(setting, "stall display-info");
	ASSERT_LE(0, holder);
	closed = new_file(setting);
	other = new_file(setting);
	ASSERT_EQ(200, submit(closed, 200, 0));
	ASSERT_EQ(20, submit(other, 20, 0));
	id = query(closed).id;
	waiting = 200 + 1 - (__s64)(id - query(holder).id + 1);
	pending = query(other).node_pending;
	TH_LOG("%llu pending, of these %lld of the file without an id", pending, waiting);
	EXPECT_LT(0, waiting);
	EXPECT_EQ(0, query(other).id);
	before = device_count(setting->screen, "display-info");
	close(closed);
	/* At once: not only when the device goes on. */
	EXPECT_TRUE(wait_pending(other, pending - waiting));
	ASSERT_EQ(0, device_resume(setting->screen));
	EXPECT_EQ(0, wait_for(other, 20));
	EXPECT_EQ(0, wait_for(holder, 1));
	/* The one that is held was counted. */
	EXPECT_EQ(before + (__s64)pending - waiting - 1,
		  device_count(setting->screen, "display-info"));
	EXPECT_EQ(id + 20, query(other).id);
	close(holder);
	close(other);
}

/* A file that lowers itself goes after others, also those that come later. */
TEST_F_TIMEOUT(contexts, background_goes_last, 120)
{
	const struct setting *setting = &self->setting;
	int holder, low, other;
	__u64 handed_out;

	if (!variant->own)
		return;
	holder = hold_packet(setting, "stall display-info");
	ASSERT_LE(0, holder);
	low = new_file(setting);
	other = new_file(setting);
	ASSERT_EQ(150, submit(low, 150, RUST_GPU_SUBMIT_BACKGROUND));
	handed_out = query(low).id;
	ASSERT_EQ(30, submit(other, 30, 0));
	/* There is no way back. */
	ASSERT_EQ(151, submit(low, 1, 0));
	ASSERT_EQ(0, device_resume(setting->screen));
	EXPECT_EQ(0, wait_for(low, 151));
	EXPECT_EQ(0, wait_for(other, 30));
	EXPECT_EQ(handed_out + 30, query(other).id);
	EXPECT_LT(query(other).id, query(low).id);
	close(holder);
	close(low);
	close(other);
}

/* Many files: each has some places, and none has all. */
TEST_F_TIMEOUT(contexts, places_for_all, 120)
{
	const struct setting *setting = &self->setting;
	unsigned int counts[OTHERS] = {};
	int holder, files[OTHERS], i;
	__u64 ticket;

	if (!variant->own)
		return;
	holder = hold_packet(setting, "stall display-info");
	ASSERT_LE(0, holder);
	for (i = 0; i < OTHERS; i++) {
		int ret;

		files[i] = new_file(setting);
		do {
			ret = gpu_submit(files[i], NODE, RUST_GPU_SUBMIT_MAX_COUNT,
					 RUST_GPU_SUBMIT_NONBLOCK, &ticket);
			counts[i] += ret > 0 ? ret : 0;
		} while (ret > 0);
		EXPECT_EQ(-EAGAIN, ret);
		EXPECT_LE(TURN, counts[i]) TH_LOG("file %d", i);
		EXPECT_GE(FILE_PACKETS, counts[i]) TH_LOG("file %d", i);
		TH_LOG("file %d: %u packets", i, counts[i]);
	}
	ASSERT_EQ(0, device_resume(setting->screen));
	for (i = 0; i < OTHERS; i++) {
		EXPECT_EQ(0, wait_for(files[i], counts[i]));
		close(files[i]);
	}
	close(holder);
}

/* No clock runs for a packet that is open. The display and other files do not notice. */
TEST_F_TIMEOUT(contexts, open_packets, 600)
{
	const struct setting *setting = &self->setting;
	struct watchdog before, after;
	int open_file, other;
	__s64 end, ticket;

	if (!variant->own)
		return;
	open_file = new_file(setting);
	other = new_file(setting);
	before = read_watchdog(&setting->gpu);
	ASSERT_EQ(0, tdr_level(TDR_RECOVER));
	EXPECT_EQ(-EINVAL, write_file(debug_file(setting, "open"), "2 1"));
	EXPECT_EQ(-EINVAL, write_file(debug_file(setting, "open"), "3 1"));
	EXPECT_EQ(-EINVAL, write_file(debug_file(setting, "open"), "0"));
	ASSERT_EQ(0, write_file(debug_file(setting, "open"), "0 1"));
	ASSERT_EQ(0, device_ask(setting->screen, "never display-info"));
	ASSERT_EQ(1, submit(open_file, 1, 0));
	ASSERT_TRUE(device_wait(setting->screen, "late", 1));
	/* The rules go, and what is late stays so. */
	for (end = now_ns() + OPEN_NS; now_ns() < end; sleep_ns(NSEC_PER_SEC / 4)) {
		EXPECT_EQ(-ETIME, gpu_wait_fence(open_file, NODE, 1, 0));
		EXPECT_EQ(-EOPNOTSUPP, write_file(debug_file(setting, "preempt"), "0"));
	}
	after = read_watchdog(&setting->gpu);
	EXPECT_EQ(before.stalls, after.stalls);
	EXPECT_EQ(before.recoveries, after.recoveries);
	ASSERT_EQ(0, device_resume(setting->screen));
	EXPECT_EQ(0, wait_for(open_file, 1));
	ticket = submit(other, 10, 0);
	EXPECT_EQ(0, wait_for(other, ticket));
	close(open_file);
	close(other);
}

TEST_HARNESS_MAIN
