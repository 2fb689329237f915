// SPDX-License-Identifier: GPL-2.0
/*
 * Synchronised routines from every context, packets to every node, interrupts
 * and readers of the counters, all at once.
 *
 * Environment:
 *   RUST_GPU_TORTURE_SECONDS	how long; 60 if not set
 */
#include <pthread.h>

#include "kselftest_harness.h"
#include "interrupts.h"
#include "tdr.h"

#define THREADS		4
#define CALLS		50
#define MESSAGES	3

/* What one thread did. It is checked when all have ended. */
struct worker {
	pthread_t thread;
	const struct torture *torture;
	unsigned int number;
	int fd;
	/* the first failure */
	const char *failed;
	int error;
	__u64 packets[GPU_NULL_NODES];
	__u64 waits;
	__u64 executions[MESSAGES];
	struct rust_gpu_sync_test_tally tally[MESSAGES];
};

struct torture {
	__u64 handle;
	__u32 messages;
	__u32 notify_message;
	int test;
	__s64 deadline;
};

static bool fail(struct worker *worker, const char *where, int error)
{
	worker->failed = where;
	worker->error = error;
	return false;
}

/* Submits a batch, waits for its last fence, and checks the fences of the node. */
static bool do_packets(struct worker *worker, __u32 node, __u32 count)
{
	__u64 fence, completed, submitted;
	int ret = gpu_submit(worker->fd, node, count, 0, &fence);

	if (ret <= 0)
		return fail(worker, "submit", ret);
	worker->packets[node] += ret;
	if (ret != (int)count)
		return fail(worker, "fewer packets taken without a signal", ret);

	ret = gpu_wait_fence(worker->fd, node, fence, now_ns() + 2 * GPU_PATIENCE_NS);
	if (ret)
		return fail(worker, ret == -ETIME ? "a fence was lost" : "wait", ret);
	worker->waits++;
	ret = gpu_query(worker->fd, node, &completed, &submitted);
	if (ret)
		return fail(worker, "query", ret);
	if (completed < fence || submitted < completed)
		return fail(worker, "query went back", 0);
	return true;
}

static bool do_calls(struct worker *worker, __u32 message)
{
	const struct torture *torture = worker->torture;
	struct rust_gpu_sync_test_tally *tally = &worker->tally[message];
	struct rust_gpu_sync_test_run run = {
		.handle = torture->handle,
		.message = message,
		.count = CALLS,
	};
	int i, ret = gpu_ioctl(torture->test, RUST_GPU_SYNC_TEST_RUN, &run);

	if (ret)
		return fail(worker, "run", ret);
	for (i = 0; i < RUST_GPU_SYNC_TEST_CONTEXTS; i++) {
		tally->calls[i] += run.tally.calls[i];
		worker->executions[message] += run.tally.calls[i];
	}
	tally->sum += run.tally.sum;
	tally->mismatches += run.tally.mismatches;
	tally->unsuccessful += run.tally.unsuccessful;
	tally->invalid += run.tally.invalid;
	return true;
}

/* Takes a snapshot of the module's state while it changes. */
static bool do_read(struct worker *worker, __u32 message)
{
	const struct torture *torture = worker->torture;
	struct rust_gpu_sync_test_read read = {
		.handle = torture->handle,
		.message = message,
	};
	int i, ret = gpu_ioctl(torture->test, RUST_GPU_SYNC_TEST_READ, &read);

	if (ret || read.status)
		return fail(worker, "read", ret);
	worker->executions[message]++;
	for (i = 0; i < RUST_GPU_SYNC_TEST_WORDS; i++)
		if (read.state.words[i] != read.state.runs)
			return fail(worker, "torn snapshot of the module's state", i);
	return true;
}

/* Takes a snapshot of the counters, which the interrupt routine changes as well. */
static bool do_counters(struct worker *worker, __u32 message,
			struct drm_rust_gpu_message_counters *last)
{
	struct drm_rust_gpu_message_counters now;
	int ret = gpu_counters(worker->fd, message, &now);

	if (ret || now.status)
		return fail(worker, "counters", ret);
	worker->executions[message]++;
	if (now.interrupts < last->interrupts || now.not_ours < last->not_ours ||
	    now.dpcs_queued < last->dpcs_queued || now.dpcs_refused < last->dpcs_refused ||
	    now.notifications < last->notifications || now.dpcs_run < last->dpcs_run ||
	    now.executions <= last->executions)
		return fail(worker, "a counter went back", 0);
	/* Each notification queues the DPC before the routine ends. */
	if (message == worker->torture->notify_message &&
	    now.notifications > now.dpcs_queued + now.dpcs_refused)
		return fail(worker, "torn snapshot of the counters", 0);
	*last = now;
	return true;
}

static void *worker_thread(void *arg)
{
	struct drm_rust_gpu_message_counters last[MESSAGES] = {};
	struct worker *worker = arg;
	const struct torture *torture = worker->torture;
	unsigned int round = worker->number;

	for (; now_ns() < torture->deadline; round++) {
		__u32 message = round % torture->messages;
		__u32 node = round % GPU_NULL_NODES;

		if (!do_packets(worker, node, 1 + round % RUST_GPU_SUBMIT_MAX_COUNT) ||
		    !do_calls(worker, message) || !do_read(worker, message) ||
		    !do_counters(worker, message, &last[message]))
			break;
	}
	return NULL;
}

FIXTURE(torture)
{
	struct gpu gpu;
	struct drm_rust_gpu_device_info info;
	struct torture torture;
	struct worker workers[THREADS];
	int fd;
	bool loaded;
};

FIXTURE_SETUP(torture)
{
	const char *reason = gpu_open(&self->gpu, GPU_RENDER, &self->fd);

	self->torture.test = -1;
	REQUIRE(return, !reason, reason);
	ASSERT_GE(self->fd, 0);
	self->torture.test = sync_test_open(&self->loaded);
	REQUIRE(return, self->torture.test >= 0, "no module rust_gpu_sync_test");
	ASSERT_EQ(0, gpu_info(self->fd, &self->info));
	ASSERT_LE(self->info.messages, MESSAGES);
	self->torture.handle = self->info.handle;
	self->torture.messages = self->info.messages;
	self->torture.notify_message = self->info.notify_message;
	/*
	 * On a host that leaves the device no time the watchdog takes packets back, which then get
	 * new ids.
	 */
	ASSERT_EQ(0, tdr_level(TDR_LOOK));
}

FIXTURE_TEARDOWN(torture)
{
	int i;

	for (i = 0; i < THREADS; i++)
		if (self->workers[i].fd > 0)
			close(self->workers[i].fd);
	if (self->torture.test >= 0) {
		ioctl(self->torture.test, RUST_GPU_SYNC_TEST_STOP);
		EXPECT_EQ(0, tdr_level(TDR_RECOVER));
	}
	if (self->fd >= 0)
		close(self->fd);
	sync_test_close(self->torture.test, self->loaded);
}

static int seconds(void)
{
	const char *value = getenv("RUST_GPU_TORTURE_SECONDS");

	return value && atoi(value) > 0 ? atoi(value) : 60;
}

/* Compares what the routines counted with what their callers counted. */
static void check_state(struct __test_metadata *_metadata, struct worker *workers,
			const struct torture *torture, __u32 message, __u64 *executions)
{
	struct rust_gpu_sync_test_read read = {
		.handle = torture->handle,
		.message = message,
	};
	struct rust_gpu_sync_test_tally total;
	__u64 calls = 0;
	int i, j;

	ASSERT_EQ(0, gpu_ioctl(torture->test, RUST_GPU_SYNC_TEST_READ, &read));
	ASSERT_EQ(RUST_GPU_STATUS_SUCCESS, read.status);
	total = read.timers;
	for (i = 0; i < THREADS; i++) {
		for (j = 0; j < RUST_GPU_SYNC_TEST_CONTEXTS; j++)
			total.calls[j] += workers[i].tally[message].calls[j];
		total.sum += workers[i].tally[message].sum;
		total.mismatches += workers[i].tally[message].mismatches;
		total.unsuccessful += workers[i].tally[message].unsuccessful;
		total.invalid += workers[i].tally[message].invalid;
		*executions += workers[i].executions[message];
	}
	for (j = 0; j < RUST_GPU_SYNC_TEST_CONTEXTS; j++) {
		EXPECT_EQ(total.calls[j], read.state.by_context[j])
			TH_LOG("message %u, context %d: lost update", message, j);
		calls += total.calls[j];
	}
	*executions += read.timers.calls[RUST_GPU_SYNC_TEST_TIMER] +
		       read.timers.calls[RUST_GPU_SYNC_TEST_HRTIMER] + 1;
	EXPECT_GT(read.state.by_context[RUST_GPU_SYNC_TEST_PROCESS], 0);
	EXPECT_GT(read.state.by_context[RUST_GPU_SYNC_TEST_BH_OFF], 0);
	EXPECT_GT(read.state.by_context[RUST_GPU_SYNC_TEST_TIMER], 0);
	EXPECT_GT(read.state.by_context[RUST_GPU_SYNC_TEST_HRTIMER], 0);
	EXPECT_EQ(calls, read.state.runs);
	EXPECT_EQ(total.sum, read.state.sum);
	EXPECT_EQ(0, read.state.torn);
	for (j = 0; j < RUST_GPU_SYNC_TEST_WORDS; j++)
		EXPECT_EQ(read.state.runs, read.state.words[j]);
	EXPECT_EQ(0, total.mismatches);
	EXPECT_EQ(0, total.unsuccessful);
	EXPECT_EQ(0, total.invalid);
	TH_LOG("message %u: %llu routines", message, read.state.runs);
}

/* Compares the counters of the driver with what was done. */
static void check_counters(struct __test_metadata *_metadata, int fd, __u32 message,
			   const struct drm_rust_gpu_message_counters *before,
			   __u64 executions, bool alone,
			   struct drm_rust_gpu_message_counters *after)
{
	ASSERT_EQ(0, gpu_counters(fd, message, after));
	ASSERT_EQ(RUST_GPU_STATUS_SUCCESS, after->status);
	/* This call is counted as well. */
	executions++;
	EXPECT_LE(executions, after->executions - before->executions)
		TH_LOG("message %u: lost executions", message);
	if (alone) {
		EXPECT_GE(executions + after->dpcs_run - before->dpcs_run,
			  after->executions - before->executions)
			TH_LOG("message %u: executions that nobody made", message);
	}
	EXPECT_EQ(before->refused, after->refused);
	TH_LOG("message %u: %llu interrupts, %llu not ours, %llu executions, %llu DPCs queued",
	       message, after->interrupts - before->interrupts,
	       after->not_ours - before->not_ours, after->executions - before->executions,
	       after->dpcs_queued - before->dpcs_queued);
}

TEST_F_TIMEOUT(torture, all, 800)
{
	struct drm_rust_gpu_message_counters before[MESSAGES], after[MESSAGES] = {};
	__u64 submitted_before[GPU_NULL_NODES], irqs_before[MESSAGES], irqs_after[MESSAGES];
	struct rust_gpu_sync_test_start start = {
		.handle = self->info.handle,
		.messages = self->info.messages,
		.period_us = 5000,
		.burst = 4,
	};
	__u64 packets[GPU_NULL_NODES] = {}, completed, submitted, queued = 0, notified;
	const __u32 notify = self->info.notify_message;
	__u32 node, message;
	unsigned int reads;
	bool exact;
	int i;

	ASSERT_EQ(0, gpu_calm(self->fd));
	for (node = 0; node < GPU_NULL_NODES; node++)
		ASSERT_EQ(0, gpu_query_node(self->fd, node, &completed, &submitted_before[node]));
	for (message = 0; message < self->info.messages; message++)
		ASSERT_EQ(0, gpu_counters(self->fd, message, &before[message]));
	ASSERT_EQ(self->info.messages, irq_counts(irqs_before, MESSAGES));

	self->torture.deadline = now_ns() + seconds() * NSEC_PER_SEC;
	ASSERT_EQ(0, gpu_ioctl(self->torture.test, RUST_GPU_SYNC_TEST_START, &start));
	for (i = 0; i < THREADS; i++) {
		self->workers[i].torture = &self->torture;
		self->workers[i].number = i;
		self->workers[i].fd = open(self->gpu.render, O_RDWR | O_CLOEXEC);
		ASSERT_GE(self->workers[i].fd, 0);
		ASSERT_EQ(0, pthread_create(&self->workers[i].thread, NULL, worker_thread,
					    &self->workers[i]));
	}
	for (i = 0; i < THREADS; i++) {
		struct worker *worker = &self->workers[i];

		pthread_join(worker->thread, NULL);
		EXPECT_EQ(NULL, worker->failed)
			TH_LOG("thread %d: %s: %d", i, worker->failed, worker->error);
		EXPECT_GT(worker->waits, 0);
		for (node = 0; node < GPU_NULL_NODES; node++)
			packets[node] += worker->packets[node];
	}
	ASSERT_EQ(0, gpu_ioctl(self->torture.test, RUST_GPU_SYNC_TEST_STOP, NULL));
	ASSERT_EQ(0, gpu_calm_counted(self->fd, &reads));
	ASSERT_EQ(self->info.messages, irq_counts(irqs_after, MESSAGES));

	/* No fence was lost or invented. */
	for (node = 0; node < GPU_NULL_NODES; node++) {
		ASSERT_EQ(0, gpu_query_node(self->fd, node, &completed, &submitted));
		EXPECT_EQ(submitted, completed) TH_LOG("node %u", node);
		EXPECT_EQ(packets[node], submitted - submitted_before[node])
			TH_LOG("node %u", node);
		EXPECT_GT(packets[node], 0);
		TH_LOG("node %u: %llu packets", node, packets[node]);
	}

	for (message = 0; message < self->info.messages; message++) {
		/*
		 * No packets use this message, so the driver itself calls at most once
		 * for each DPC.
		 */
		bool alone = message != self->info.control_message &&
			     message != self->info.cursor_message && message != notify;
		__u64 executions = reads;

		check_state(_metadata, self->workers, &self->torture, message, &executions);
		check_counters(_metadata, self->fd, message, &before[message], executions, alone,
			       &after[message]);
	}

	/* The driver counted as many interrupts as the kernel. */
	exact = self->info.interrupt_type == RUST_GPU_INTERRUPT_MSIX && !irqs_are_threaded();
	for (message = 0; message < self->info.messages; message++) {
		__u64 counted = after[message].interrupts - before[message].interrupts +
				after[message].not_ours - before[message].not_ours;

		if (exact) {
			EXPECT_EQ(irqs_after[message] - irqs_before[message], counted)
				TH_LOG("message %u", message);
		}
		queued += after[message].dpcs_queued;
	}
	/*
	 * A DPC runs once for each time that it was queued; one for a vblank may still
	 * be pending.
	 */
	EXPECT_GE(queued, after[0].dpcs_run);
	EXPECT_LE(queued, after[0].dpcs_run + 1);
	/* Each software packet notifies once. An interrupt notifies once for several packets. */
	notified = after[notify].notifications - before[notify].notifications;
	EXPECT_GT(notified, packets[RUST_GPU_NODE_SOFTWARE]);
	EXPECT_LE(notified, packets[RUST_GPU_NODE_CONTROL] + packets[RUST_GPU_NODE_CURSOR] +
			    packets[RUST_GPU_NODE_SOFTWARE]);
	EXPECT_LE(notified, after[notify].dpcs_queued - before[notify].dpcs_queued +
			    after[notify].dpcs_refused - before[notify].dpcs_refused);
	EXPECT_EQ(0, gpu_works(self->fd));
}

TEST_HARNESS_MAIN
