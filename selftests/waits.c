// SPDX-License-Identifier: GPL-2.0
/*
 * Fences under pressure: deadlines, signals, full queues, many threads.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include "kselftest_harness.h"
#include "rust_gpu_test.h"

#define THREADS		4
#define ROUNDS		200
#define ATTEMPTS	100
#define NODE_NS		(20 * NSEC_PER_SEC)

static unsigned int alarms;

static void count_alarm(int signal)
{
	(void)signal;
	__atomic_add_fetch(&alarms, 1, __ATOMIC_RELAXED);
}

static void start_alarms(int flags, __s64 period_ns)
{
	struct sigaction action = { .sa_handler = count_alarm, .sa_flags = flags };
	struct itimerval timer = {
		.it_interval.tv_usec = period_ns / NSEC_PER_USEC,
		.it_value.tv_usec = period_ns / NSEC_PER_USEC,
	};

	__atomic_store_n(&alarms, 0, __ATOMIC_RELAXED);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void stop_alarms(void)
{
	struct itimerval timer = {};

	setitimer(ITIMER_REAL, &timer, NULL);
}

/* A client that keeps the queue of one node full. */
struct flood {
	pthread_t thread;
	int fd;
	__u32 node;
	bool stop;
	bool running;
	__u64 submitted;
	int error;
};

static void *flood_thread(void *arg)
{
	struct flood *flood = arg;
	__u64 fence;
	int ret;

	while (!__atomic_load_n(&flood->stop, __ATOMIC_RELAXED)) {
		ret = gpu_submit(flood->fd, flood->node, RUST_GPU_SUBMIT_MAX_COUNT, 0, &fence);
		if (ret <= 0) {
			flood->error = ret ? ret : -EIO;
			break;
		}
		flood->submitted += ret;
	}
	return NULL;
}

FIXTURE(waits)
{
	struct gpu gpu;
	int fd;
	struct flood flood[THREADS];
};

/* Only the main thread gets the alarms. */
static int start_floods(struct flood *floods, const char *render, __u32 node)
{
	sigset_t set, old;
	int i, ret = 0;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	for (i = 0; i < THREADS && !ret; i++) {
		memset(&floods[i], 0, sizeof(floods[i]));
		floods[i].node = node;
		floods[i].fd = open(render, O_RDWR | O_CLOEXEC);
		ret = floods[i].fd < 0 ? -errno :
		      -pthread_create(&floods[i].thread, NULL, flood_thread, &floods[i]);
		floods[i].running = !ret;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return ret;
}

/* Returns the number of packets that were submitted, or -errno. */
static __s64 stop_floods(struct flood *floods)
{
	__s64 sum = 0;
	int i, error = 0;

	for (i = 0; i < THREADS; i++)
		__atomic_store_n(&floods[i].stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < THREADS; i++) {
		if (!floods[i].running)
			continue;
		pthread_join(floods[i].thread, NULL);
		close(floods[i].fd);
		floods[i].running = false;
		sum += floods[i].submitted;
		error = error ? error : floods[i].error;
	}
	return error ? error : sum;
}

FIXTURE_SETUP(waits)
{
	const char *reason = gpu_open(&self->gpu, GPU_RENDER, &self->fd);

	REQUIRE(return, !reason, reason);
	ASSERT_GE(self->fd, 0);
}

FIXTURE_TEARDOWN(waits)
{
	stop_alarms();
	stop_floods(self->flood);
	if (self->fd >= 0)
		close(self->fd);
}

/*
 * With a deadline in the past the call only polls, and its answer is right.
 *
 * The time for a node ends it early where each software packet takes several context
 * switches, as with one CPU and threaded handlers.
 */
TEST_F_TIMEOUT(waits, poll, 120)
{
	unsigned int pending = 0, done = 0;
	__u32 node, round;
	__u64 fence;
	__s64 end;

	for (node = 0; node < GPU_NULL_NODES; node++) {
		ASSERT_EQ(0, start_floods(self->flood, self->gpu.render, node));
		end = now_ns() + NODE_NS;
		for (round = 0; round < ROUNDS && (!round || now_ns() < end); round++) {
			struct drm_rust_gpu_wait_fence wait = { .node = node };
			int ret;

			ASSERT_GT(gpu_submit(self->fd, node, RUST_GPU_SUBMIT_MAX_COUNT, 0,
					     &fence), 0);
			wait.fence = fence;
			wait.deadline_ns = round % 2 ? 1 : now_ns() - 1;
			ret = gpu_ioctl(self->fd, DRM_IOCTL_RUST_GPU_WAIT_FENCE, &wait);
			if (ret == -ETIME) {
				pending++;
				continue;
			}
			ASSERT_EQ(0, ret);
			ASSERT_GE(wait.completed, fence);
			done++;
		}
		ASSERT_GE(stop_floods(self->flood), 0);
		ASSERT_EQ(0, gpu_wait_fence(self->fd, node, fence, now_ns() + GPU_PATIENCE_NS));
		ASSERT_EQ(0, gpu_quiesce(self->fd));
	}
	TH_LOG("%u pending, %u done", pending, done);
	/* The queues were full, so some were pending. */
	EXPECT_GT(pending, 0);
}

/* A wait ends at its deadline: not before, and not long after. */
TEST_F_TIMEOUT(waits, deadline, 120)
{
	unsigned int expired = 0;
	__s64 deadline, end;
	int attempt, ret;
	__u64 fence;

	ASSERT_EQ(0, start_floods(self->flood, self->gpu.render, RUST_GPU_NODE_CONTROL));
	for (attempt = 0; attempt < ATTEMPTS && expired < 5; attempt++) {
		ASSERT_GT(gpu_submit(self->fd, RUST_GPU_NODE_CONTROL, RUST_GPU_SUBMIT_MAX_COUNT,
				     0, &fence), 0);
		deadline = now_ns() + NSEC_PER_MSEC;
		ret = gpu_wait_fence(self->fd, RUST_GPU_NODE_CONTROL, fence, deadline);
		end = now_ns();
		ASSERT_TRUE(!ret || ret == -ETIME) TH_LOG("%d", ret);
		EXPECT_LT(end, deadline + GPU_PATIENCE_NS);
		if (ret == -ETIME) {
			EXPECT_GE(end, deadline);
			expired++;
		}
	}
	EXPECT_GT(expired, 0);
	ASSERT_GE(stop_floods(self->flood), 0);
}

/*
 * The deadline is absolute, so a call that signals restart ends at it. If it were
 * relative no wait here would expire, as signals come faster.
 */
TEST_F_TIMEOUT(waits, signals_restart, 120)
{
	__s64 start, longest, wait_ns, deadline, end;
	unsigned int expired = 0;
	int attempt, ret;
	__u64 fence;

	ASSERT_EQ(0, start_floods(self->flood, self->gpu.render, RUST_GPU_NODE_CONTROL));
	/* Measure how long a packet takes through the full queue. */
	longest = 0;
	for (attempt = 0; attempt < 10; attempt++) {
		start = now_ns();
		ASSERT_GT(gpu_submit(self->fd, RUST_GPU_NODE_CONTROL, 1, 0, &fence), 0);
		start = now_ns();
		ASSERT_EQ(0, gpu_wait_fence(self->fd, RUST_GPU_NODE_CONTROL, fence,
					    start + GPU_PATIENCE_NS));
		longest = now_ns() - start > longest ? now_ns() - start : longest;
	}
	wait_ns = longest / 3;
	if (wait_ns < NSEC_PER_MSEC) {
		ASSERT_GE(stop_floods(self->flood), 0);
		SKIP(return, "the device is too fast: %lld ns for a full queue", longest);
	}

	for (attempt = 0; attempt < ATTEMPTS && expired < 3; attempt++) {
		ret = gpu_submit(self->fd, RUST_GPU_NODE_CONTROL, RUST_GPU_SUBMIT_MAX_COUNT, 0,
				 &fence);
		ASSERT_GT(ret, 0);
		start_alarms(SA_RESTART, wait_ns / 5);
		start = now_ns();
		deadline = start + wait_ns;
		ret = gpu_wait_fence(self->fd, RUST_GPU_NODE_CONTROL, fence, deadline);
		end = now_ns();
		stop_alarms();
		ASSERT_TRUE(!ret || ret == -ETIME) TH_LOG("%d", ret);
		if (ret == -ETIME) {
			EXPECT_GE(end, deadline);
			expired += __atomic_load_n(&alarms, __ATOMIC_RELAXED) >= 2;
		} else if (wait_ns > NSEC_PER_MSEC / 2) {
			/* The longest packet may have been an exception. */
			wait_ns -= wait_ns / 4;
		}
	}
	EXPECT_GT(expired, 0) TH_LOG("%lld ns never expired", wait_ns);
	ASSERT_GE(stop_floods(self->flood), 0);
}

/* Without SA_RESTART a signal ends the wait. */
TEST_F_TIMEOUT(waits, signals_interrupt, 120)
{
	unsigned int interrupted = 0;
	int attempt, ret;
	__u64 fence;

	ASSERT_EQ(0, start_floods(self->flood, self->gpu.render, RUST_GPU_NODE_CONTROL));
	start_alarms(0, 500 * NSEC_PER_USEC);
	for (attempt = 0; attempt < 10 * ATTEMPTS && interrupted < 3; attempt++) {
		do {
			ret = gpu_submit(self->fd, RUST_GPU_NODE_CONTROL,
					 RUST_GPU_SUBMIT_MAX_COUNT, 0, &fence);
		} while (ret == -EINTR);
		ASSERT_GT(ret, 0);
		ret = gpu_wait_fence(self->fd, RUST_GPU_NODE_CONTROL, fence,
				     now_ns() + GPU_PATIENCE_NS);
		ASSERT_TRUE(!ret || ret == -EINTR) TH_LOG("%d", ret);
		interrupted += ret == -EINTR;
	}
	stop_alarms();
	EXPECT_GT(interrupted, 0);
	ASSERT_GE(stop_floods(self->flood), 0);
	/* An interrupted wait can be repeated. */
	EXPECT_EQ(0, gpu_wait_fence(self->fd, RUST_GPU_NODE_CONTROL, fence,
				    now_ns() + GPU_PATIENCE_NS));
}

/* A full queue takes as many packets as fit, or returns -EAGAIN, and loses nothing. */
TEST_F_TIMEOUT(waits, nonblock, 120)
{
	__u64 completed, before, after, fence;
	unsigned int full, partial;
	__s64 mine, theirs;
	__u32 node, i;
	int ret;

	ASSERT_EQ(0, gpu_calm(self->fd));
	for (node = 0; node < GPU_NULL_NODES; node++) {
		full = 0;
		partial = 0;
		mine = 0;
		ASSERT_EQ(0, gpu_query(self->fd, node, &completed, &before));
		ASSERT_EQ(0, start_floods(self->flood, self->gpu.render, node));
		for (i = 0; i < 20000 && full < 10; i++) {
			ret = gpu_submit(self->fd, node, RUST_GPU_SUBMIT_MAX_COUNT,
					 RUST_GPU_SUBMIT_NONBLOCK, &fence);
			if (ret == -EAGAIN) {
				full++;
				continue;
			}
			ASSERT_GT(ret, 0);
			partial += ret < RUST_GPU_SUBMIT_MAX_COUNT;
			mine += ret;
		}
		theirs = stop_floods(self->flood);
		ASSERT_GE(theirs, 0);
		TH_LOG("node %u: full %u times, %u in part, %lld packets", node, full, partial,
		       mine + theirs);
		EXPECT_GT(full, 0);
		ASSERT_EQ(0, gpu_query(self->fd, node, &completed, &after));
		EXPECT_EQ(mine, after - before);
		ASSERT_EQ(0, gpu_quiesce(self->fd));
		ASSERT_EQ(0, gpu_query(self->fd, node, &completed, &after));
		EXPECT_EQ(completed, after);
		/* Then the queue has room again. */
		EXPECT_EQ(RUST_GPU_SUBMIT_MAX_COUNT,
			  gpu_submit(self->fd, node, RUST_GPU_SUBMIT_MAX_COUNT,
				     RUST_GPU_SUBMIT_NONBLOCK, &fence));
		ASSERT_EQ(0, gpu_quiesce(self->fd));
	}
}

/* A submission that a signal interrupts took exactly the packets that it reports. */
TEST_F_TIMEOUT(waits, interrupted_submit, 120)
{
	__u64 completed, before, after, fence;
	unsigned int interrupted, partial, i;
	__s64 mine, theirs;
	__u32 node;
	int ret;

	ASSERT_EQ(0, gpu_calm(self->fd));
	for (node = 0; node < GPU_NULL_NODES; node++) {
		interrupted = 0;
		partial = 0;
		mine = 0;
		ASSERT_EQ(0, gpu_query(self->fd, node, &completed, &before));
		ASSERT_EQ(0, start_floods(self->flood, self->gpu.render, node));
		start_alarms(0, 500 * NSEC_PER_USEC);
		for (i = 0; i < 5000 && interrupted + partial < 10; i++) {
			ret = gpu_submit(self->fd, node, RUST_GPU_SUBMIT_MAX_COUNT, 0, &fence);
			if (ret == -EINTR) {
				interrupted++;
				continue;
			}
			ASSERT_GT(ret, 0);
			ASSERT_LE(ret, RUST_GPU_SUBMIT_MAX_COUNT);
			partial += ret < RUST_GPU_SUBMIT_MAX_COUNT;
			mine += ret;
		}
		stop_alarms();
		theirs = stop_floods(self->flood);
		ASSERT_GE(theirs, 0);
		TH_LOG("node %u: interrupted %u times, %u in part", node, interrupted, partial);
		EXPECT_GT(interrupted + partial, 0);
		ASSERT_EQ(0, gpu_query(self->fd, node, &completed, &after));
		EXPECT_EQ(mine, after - before);
		ASSERT_EQ(0, gpu_quiesce(self->fd));
		ASSERT_EQ(0, gpu_query(self->fd, node, &completed, &after));
		EXPECT_EQ(completed, after);
	}
}

struct submitter {
	pthread_t thread;
	int fd;
	int error;
	__u64 fences[GPU_NULL_NODES][ROUNDS];
};

static void *submitter_thread(void *arg)
{
	struct submitter *submitter = arg;
	__u32 node;
	int i, ret;

	for (i = 0; i < ROUNDS; i++) {
		for (node = 0; node < GPU_NULL_NODES; node++) {
			ret = gpu_submit(submitter->fd, node, 1, 0, &submitter->fences[node][i]);
			if (ret == 1 && i % 8 == 0)
				ret = gpu_wait_fence(submitter->fd, node,
						     submitter->fences[node][i],
						     now_ns() + GPU_PATIENCE_NS) ? -EIO : 1;
			if (ret != 1) {
				submitter->error = ret ? ret : -EIO;
				return NULL;
			}
		}
	}
	return NULL;
}

static int compare_fences(const void *a, const void *b)
{
	__u64 x = *(const __u64 *)a, y = *(const __u64 *)b;

	return x < y ? -1 : x > y;
}

/* Threads of one file get each ticket once, those of several files each their own. */
TEST_F_TIMEOUT(waits, threads, 180)
{
	static struct submitter submitters[THREADS];
	static __u64 all[THREADS / 2 * ROUNDS];
	__u64 completed, before[GPU_NULL_NODES], after;
	__u32 node;
	int i, j;

	for (node = 0; node < GPU_NULL_NODES; node++)
		ASSERT_EQ(0, gpu_query(self->fd, node, &completed, &before[node]));
	for (i = 0; i < THREADS; i++) {
		/* Half of them share one file. */
		submitters[i].fd = i % 2 ? self->fd : open(self->gpu.render, O_RDWR | O_CLOEXEC);
		ASSERT_GE(submitters[i].fd, 0);
		ASSERT_EQ(0, pthread_create(&submitters[i].thread, NULL, submitter_thread,
					    &submitters[i]));
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(submitters[i].thread, NULL);
		EXPECT_EQ(0, submitters[i].error);
	}
	ASSERT_EQ(0, gpu_quiesce(self->fd));

	for (node = 0; node < GPU_NULL_NODES; node++) {
		for (i = 0; i < THREADS; i += 2)
			for (j = 0; j < ROUNDS; j++)
				ASSERT_EQ(j + 1, submitters[i].fences[node][j]);
		for (i = 1; i < THREADS; i += 2) {
			for (j = 1; j < ROUNDS; j++) {
				ASSERT_GT(submitters[i].fences[node][j],
					  submitters[i].fences[node][j - 1]);
			}
			memcpy(&all[i / 2 * ROUNDS], submitters[i].fences[node],
			       sizeof(submitters[i].fences[node]));
		}
		qsort(all, ARRAY_SIZE(all), sizeof(all[0]), compare_fences);
		for (i = 0; i < (int)ARRAY_SIZE(all); i++)
			ASSERT_EQ(before[node] + 1 + i, all[i]) TH_LOG("node %u", node);
		ASSERT_EQ(0, gpu_query(self->fd, node, &completed, &after));
		EXPECT_EQ(before[node] + ARRAY_SIZE(all), after);
		EXPECT_EQ(after, completed);
	}
	for (i = 0; i < THREADS; i += 2)
		close(submitters[i].fd);
}

struct waiter {
	pthread_t thread;
	int fd;
	__u64 fence;
	int ret;
};

static void *waiter_thread(void *arg)
{
	struct waiter *waiter = arg;

	waiter->ret = gpu_wait_fence(waiter->fd, RUST_GPU_NODE_CONTROL, waiter->fence,
				     now_ns() + GPU_PATIENCE_NS);
	return NULL;
}

/* All waiters of a ticket wake up. In another file it was never given. */
TEST_F_TIMEOUT(waits, many_waiters, 120)
{
	struct waiter waiters[16];
	int fd, round, i;
	__u64 fence;

	fd = open(self->gpu.card, O_RDWR | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(-EINVAL, gpu_wait_fence(fd, RUST_GPU_NODE_CONTROL, 1, INT64_MAX));
	close(fd);
	fd = dup(self->fd);
	ASSERT_GE(fd, 0);
	for (round = 0; round < 20; round++) {
		ASSERT_EQ(64, gpu_submit(self->fd, RUST_GPU_NODE_CONTROL, 64, 0, &fence));
		for (i = 0; i < 16; i++) {
			waiters[i].fd = i % 2 ? self->fd : fd;
			waiters[i].fence = fence - i;
			ASSERT_EQ(0, pthread_create(&waiters[i].thread, NULL, waiter_thread,
						    &waiters[i]));
		}
		for (i = 0; i < 16; i++) {
			pthread_join(waiters[i].thread, NULL);
			EXPECT_EQ(0, waiters[i].ret) TH_LOG("waiter %d", i);
		}
	}
	close(fd);
}

TEST_HARNESS_MAIN
