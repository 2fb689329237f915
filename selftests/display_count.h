/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Counts what an operation of the display costs: guest instructions, doorbells and
 * interrupts.
 *
 * With QEMU's -icount and one CPU an instruction takes a nanosecond of CLOCK_MONOTONIC.
 * But that clock goes on while an operation sleeps until a vblank. So a thread of the
 * policy SCHED_IDLE uses up the idle time in a loop of a fixed number of instructions,
 * and counts its rounds: the rest of the time was spent on the operation. The ticks of
 * an idle machine are measured first and subtracted. The vblank timer counts as a part
 * of the operation.
 */
#ifndef _DISPLAY_COUNT_H
#define _DISPLAY_COUNT_H

#include <pthread.h>
#include <sched.h>

#include "display_screen.h"
#include "interrupts.h"
#include "rust_gpu_test.h"

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

/* Returns the doorbells that the host has seen since the last call, or -errno. */
static long screen_kicks(int screen)
{
	char answer[64];
	int ret = screen_ask(screen, answer, sizeof(answer), "kicks");
	long kicks;

	if (ret)
		return ret;
	return sscanf(answer, "kicks %ld", &kicks) == 1 ? kicks : -EPROTO;
}

/* Asks the host to trace doorbells, marks and flushes, or to stop. */
static int screen_measure(int screen, bool on)
{
	char answer[64];

	return screen_ask(screen, answer, sizeof(answer), "measure %s", on ? "on" : "off");
}

#endif /* _DISPLAY_COUNT_H */
