/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Counts what an operation costs: guest instructions, doorbells and interrupts.
 *
 * With QEMU's -icount and one CPU an instruction takes a nanosecond of CLOCK_MONOTONIC.
 * But that clock goes on while an operation sleeps, or waits for a device, however long
 * that takes on the host. So a thread of the policy SCHED_IDLE uses up the idle time in a
 * loop of a fixed number of instructions, and counts its rounds: the rest of the time was
 * spent on the operation. The ticks of an idle machine are measured first and subtracted.
 * The vblank timer counts as a part of the operation.
 */
#ifndef _BENCH_COUNT_H
#define _BENCH_COUNT_H

#include <pthread.h>
#include <sched.h>

#include "bench.h"
#include "interrupts.h"

struct counter {
	pthread_t thread;
	bool stop;
	__u64 rounds;		/* of the loop so far */
	double loop;		/* instructions of one round */
	double background;	/* instructions of the idle machine in a nanosecond */
};

/* A point in time. */
struct moment {
	__s64 ns;
	__u64 rounds;
	__u64 interrupts;
};

static void *counter_spin(void *data)
{
	struct counter *counter = data;
	struct sched_param param = {};

	if (sched_setscheduler(0, SCHED_IDLE, &param))
		return "no policy SCHED_IDLE";
	while (!__atomic_load_n(&counter->stop, __ATOMIC_RELAXED)) {
		/* Cheap to emulate, so that the guest's clock is about as fast as the host's. */
		asm volatile(".rept 28\n\tnop\n\t.endr");
		__atomic_store_n(&counter->rounds, counter->rounds + 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Interrupts of the device so far, of all messages and CPUs, whichever driver has it. */
static __u64 device_interrupts(void)
{
	return irq_sum("rust_gpu", "virtio");
}

static void counter_now(const struct counter *counter, struct moment *now)
{
	/* The thread must not run between these two. */
	now->rounds = __atomic_load_n(&counter->rounds, __ATOMIC_RELAXED);
	now->ns = now_ns();
}

/* Reads the interrupts outside the interval that is measured. */
static struct moment counter_begin(const struct counter *counter)
{
	struct moment now = { .interrupts = device_interrupts() };

	counter_now(counter, &now);
	return now;
}

static struct moment counter_end(const struct counter *counter)
{
	struct moment now;

	counter_now(counter, &now);
	now.interrupts = device_interrupts();
	return now;
}

/* The instructions that neither the loop nor the idle machine executed. */
static double counter_spent(const struct counter *counter, const struct moment *from,
			    const struct moment *to)
{
	double ns = to->ns - from->ns;

	return ns * (1 - counter->background) - counter->loop * (to->rounds - from->rounds);
}

/* Executes @count rounds of two instructions, at least one. */
static void known_loop(unsigned long count)
{
#if defined(__x86_64__)
	asm volatile("1: sub $1, %0\n\tjnz 1b" : "+r"(count) : : "cc");
#else
	for (; count; count--)
		asm volatile("" : "+r"(count));
#endif
}

#define KNOWN_ROUNDS	500000UL
#define KNOWN_TIMES	20

/* Measures a loop with a known number of instructions, each time after a pause. */
static double counter_known(const struct counter *counter, unsigned long rounds)
{
	struct moment from = counter_begin(counter), to;
	int i;

	for (i = 0; i < KNOWN_TIMES; i++) {
		sleep_ns(2 * NSEC_PER_MSEC);
		known_loop(rounds);
	}
	to = counter_end(counter);
	return counter_spent(counter, &from, &to) / KNOWN_TIMES;
}

/*
 * Begins to count when the machine is idle: vblanks go on for some seconds after the
 * last waiter. Returns why that is not possible, or NULL.
 */
static const char *counter_start(struct counter *counter)
{
	sleep_ns(7 * NSEC_PER_SEC);
	counter->stop = false;
	if (pthread_create(&counter->thread, NULL, counter_spin, counter))
		return "no thread";
	sleep_ns(50 * NSEC_PER_MSEC);
	return NULL;
}

static void counter_stop(struct counter *counter)
{
	__atomic_store_n(&counter->stop, true, __ATOMIC_RELAXED);
	pthread_join(counter->thread, NULL);
}

/*
 * Measures the loop and the idle machine. *@known gets the count for a million
 * instructions. Returns why that is not possible, or NULL.
 */
static const char *counter_calibrate(struct counter *counter, double *known)
{
	const char *reason = cpus_online() == 1 ? NULL : "it takes a machine with one CPU";
	struct moment from, to;
	double ns, rounds;

	memset(counter, 0, sizeof(*counter));
	if (!reason)
		reason = counter_start(counter);
	if (reason)
		return reason;
	from = counter_begin(counter);
	sleep_ns(NSEC_PER_SEC);
	to = counter_end(counter);
	ns = to.ns - from.ns;
	rounds = to.rounds - from.rounds;
	/* It is an integer; the idle machine adds much less than 1. */
	counter->loop = (int)(ns / rounds);
	counter->background = (ns - counter->loop * rounds) / ns;
	*known = counter_known(counter, 2 * KNOWN_ROUNDS) - counter_known(counter, KNOWN_ROUNDS);
	counter_stop(counter);
	if (counter->background < 0.05 && *known > 990000 && *known < 1010000)
		return NULL;
	return "one nanosecond is not one instruction here (QEMU: -icount shift=0,sleep=off)";
}

/* A pause for the device after each operation that does not wait for it. */
#define PAUSE_NS	(5 * NSEC_PER_MSEC)

/* How operations are counted. */
struct count {
	struct report *report;
	/* Returns the doorbells since the last call, or -errno. */
	long (*kicks)(struct bench *bench);
	struct counter counter;
	double pause;		/* instructions of a pause */
};

/* Counts the instructions, doorbells and interrupts of one operation. */
static int count_one(struct count *count, struct bench *bench, const struct operation *operation,
		     double *instructions, double *kicks, double *interrupts)
{
	__s64 pause = operation->paced ? 0 : PAUSE_NS;
	struct moment from, to;
	long rung;
	int ret;

	/* Some costs arise the first time only. Four, so that the first frame is shown again. */
	ret = repeat(bench, operation, 0, 4, pause);
	sleep_ns(100 * NSEC_PER_MSEC);
	if (!ret)
		ret = count->kicks(bench);
	if (ret < 0)
		return ret;
	from = counter_begin(&count->counter);
	ret = repeat(bench, operation, 0, operation->times, pause);
	to = counter_end(&count->counter);
	sleep_ns(100 * NSEC_PER_MSEC);
	to.interrupts = device_interrupts();
	rung = count->kicks(bench);
	if (ret || rung < 0)
		return ret ? ret : rung;
	*instructions = counter_spent(&count->counter, &from, &to) / operation->times;
	*kicks = (double)rung / operation->times;
	*interrupts = (double)(to.interrupts - from.interrupts) / operation->times;
	return 0;
}

/* Prints what an operation costs, as @what. */
static void count_operation(struct count *count, struct bench *bench,
			    const struct operation *operation, const char *what)
{
	const char *reason = counter_start(&count->counter);
	double instructions, kicks, interrupts;
	int ret;

	if (reason) {
		fail(count->report, what, reason);
		return;
	}
	ret = count_one(count, bench, operation, &instructions, &kicks, &interrupts);
	counter_stop(&count->counter);
	if (ret) {
		fail(count->report, what, strerror(-ret));
		return;
	}
	if (!operation->paced)
		instructions -= count->pause;
	tell(count->report, what, "instructions", instructions);
	tell(count->report, what, "kicks", kicks);
	tell(count->report, what, "interrupts", interrupts);
}

static int run_nothing(__maybe_unused struct bench *bench, __maybe_unused unsigned int i)
{
	return 0;
}

/* Checks the counter on a known number of instructions, and measures the pauses. */
static bool count_check(struct count *count, struct bench *bench)
{
	const struct operation nothing = { "pause", run_nothing, 50, false, false };
	const char *driver = count->report->driver;
	double known, kicks, interrupts;
	const char *reason = counter_calibrate(&count->counter, &known);
	int ret;

	if (!reason)
		reason = counter_start(&count->counter);
	if (reason) {
		fail(count->report, "instructions", reason);
		return false;
	}
	ret = count_one(count, bench, &nothing, &count->pause, &kicks, &interrupts);
	counter_stop(&count->counter);
	if (ret) {
		fail(count->report, "a pause", strerror(-ret));
		return false;
	}
	printf("# %s: instructions of the spare loop %.0f, of a pause %.0f\n", driver,
	       count->counter.loop, count->pause);
	printf("# %s: the idle machine takes %.3f %%; a million instructions count as %.0f\n",
	       driver, count->counter.background * 100, known);
	return true;
}

#endif /* _BENCH_COUNT_H */
