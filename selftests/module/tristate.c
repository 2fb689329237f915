// SPDX-License-Identifier: GPL-2.0
/*
 * The contract of rust_gpu_synchronize_execution(), row by row.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/printk.h>
#include <linux/processor.h>
#include <linux/workqueue.h>

#include "sync_test.h"

/* How long a routine keeps its CPU while it waits for the other routine. */
#define SYNC_TEST_HOLD_MS	500
/* How long a routine has to stay alone. */
#define SYNC_TEST_ALONE_MS	20
/* Longest that one CPU waits for the other, and how often they try to meet. */
#define SYNC_TEST_PATIENCE_MS	10000
#define SYNC_TEST_MEETINGS	5

/* Values of the columns message and handle that stand for a computed one. */
enum sync_test_message { FIRST, LAST, PAST_END, HIGHEST };
enum sync_test_handle { BOUND, STALE, ZERO, ALL_ONES, HIGH_BIT, FAR };

struct sync_test_row {
	const char *name;
	enum sync_test_handle handle;
	enum sync_test_message message;
	u32 flags;
	u32 context;
	u32 status;
};

#define NULL_ROUTINE	RUST_GPU_SYNC_TEST_NULL_ROUTINE
#define NULL_RETURN	RUST_GPU_SYNC_TEST_NULL_RETURN
#define RETURN_FALSE	RUST_GPU_SYNC_TEST_RETURN_FALSE
#define PROCESS		RUST_GPU_SYNC_TEST_PROCESS
#define BH_OFF		RUST_GPU_SYNC_TEST_BH_OFF
#define IRQ_OFF		RUST_GPU_SYNC_TEST_IRQ_OFF
#define TIMER		RUST_GPU_SYNC_TEST_TIMER
#define BH_WORK		RUST_GPU_SYNC_TEST_BH_WORK
#define HRTIMER		RUST_GPU_SYNC_TEST_HRTIMER
#define SUCCESS		RUST_GPU_STATUS_SUCCESS
#define UNSUCCESSFUL	RUST_GPU_STATUS_UNSUCCESSFUL
#define INVALID		RUST_GPU_STATUS_INVALID_PARAMETER

static const struct sync_test_row sync_test_rows[] = {
	{ "returns true", BOUND, FIRST, 0, PROCESS, SUCCESS },
	{ "returns false", BOUND, FIRST, RETURN_FALSE, PROCESS, SUCCESS },
	{ "last message", BOUND, LAST, 0, PROCESS, SUCCESS },
	{ "bottom halves off", BOUND, FIRST, 0, BH_OFF, SUCCESS },
	{ "interrupts off", BOUND, FIRST, 0, IRQ_OFF, SUCCESS },
	{ "timer", BOUND, FIRST, 0, TIMER, SUCCESS },
	{ "timer, returns false", BOUND, LAST, RETURN_FALSE, TIMER, SUCCESS },
	{ "softirq work", BOUND, LAST, 0, BH_WORK, SUCCESS },
	{ "hrtimer", BOUND, FIRST, 0, HRTIMER, SUCCESS },
	{ "message past the end", BOUND, PAST_END, 0, PROCESS, INVALID },
	{ "highest message", BOUND, HIGHEST, 0, PROCESS, INVALID },
	{ "message past the end, bottom halves off", BOUND, PAST_END, 0, BH_OFF, INVALID },
	{ "message past the end, interrupts off", BOUND, PAST_END, 0, IRQ_OFF, INVALID },
	{ "message past the end, timer", BOUND, PAST_END, 0, TIMER, INVALID },
	{ "NULL routine", BOUND, FIRST, NULL_ROUTINE, PROCESS, INVALID },
	{ "NULL return_value", BOUND, FIRST, NULL_RETURN, PROCESS, INVALID },
	{ "NULL return_value, interrupts off", BOUND, FIRST, NULL_RETURN, IRQ_OFF, INVALID },
	{ "handle 0", ZERO, FIRST, 0, PROCESS, INVALID },
	{ "handle of all ones", ALL_ONES, FIRST, 0, PROCESS, INVALID },
	{ "handle with bit 63 set", HIGH_BIT, FIRST, 0, PROCESS, INVALID },
	{ "handle never given out", FAR, FIRST, 0, PROCESS, INVALID },
	{ "handle never given out, interrupts off", FAR, FIRST, 0, IRQ_OFF, INVALID },
	{ "handle never given out, timer", FAR, FIRST, 0, TIMER, INVALID },
	{ "device gone", STALE, FIRST, 0, PROCESS, UNSUCCESSFUL },
	{ "device gone, bottom halves off", STALE, FIRST, 0, BH_OFF, UNSUCCESSFUL },
	{ "device gone, interrupts off", STALE, FIRST, 0, IRQ_OFF, UNSUCCESSFUL },
	{ "device gone, timer", STALE, FIRST, 0, TIMER, UNSUCCESSFUL },
	{ "device gone, NULL routine", STALE, FIRST, NULL_ROUTINE, PROCESS, INVALID },
	{ "device gone, NULL return_value", STALE, FIRST, NULL_RETURN, PROCESS, INVALID },
	{ "device gone, highest message", STALE, HIGHEST, 0, PROCESS, INVALID },
};

static u32 sync_test_message(const struct rust_gpu_sync_test_tristate *args,
			     enum sync_test_message message)
{
	switch (message) {
	case FIRST:
		return 0;
	case LAST:
		return args->messages - 1;
	case PAST_END:
		return args->messages;
	case HIGHEST:
		return U32_MAX;
	}
	return U32_MAX;
}

static u64 sync_test_handle(const struct rust_gpu_sync_test_tristate *args,
			    enum sync_test_handle handle)
{
	switch (handle) {
	case BOUND:
		return args->handle;
	case STALE:
		return args->stale;
	case ZERO:
		return 0;
	case ALL_ONES:
		return U64_MAX;
	case HIGH_BIT:
		return args->handle | BIT_ULL(63);
	case FAR:
		/* Handles are given out one by one and never get this far. */
		return args->handle + BIT_ULL(40);
	}
	return 0;
}

/* Returns why a row failed, NULL if it did not. */
static const char *sync_test_judge(const struct sync_test_row *row,
				   const struct rust_gpu_sync_test_call *call)
{
	bool ran = row->status == SUCCESS;

	if (call->status != row->status)
		return "wrong status";
	if (call->runs != ran)
		return ran ? "the routine did not run once" : "the routine ran";
	if (ran && call->return_value != !(row->flags & RETURN_FALSE))
		return "wrong return value";
	if (!ran && call->return_value != RUST_GPU_SYNC_TEST_POISON)
		return "the return value was touched";
	if (!call->restored)
		return "the caller's interrupt state was not restored";
	if (ran && !IS_ENABLED(CONFIG_PREEMPT_RT) && !(call->inside & RUST_GPU_SYNC_TEST_IRQS_OFF))
		return "interrupts were on inside the routine";
	if (row->context == IRQ_OFF && !(call->state & RUST_GPU_SYNC_TEST_IRQS_OFF))
		return "the caller had interrupts on";
	if ((row->context == TIMER || row->context == BH_WORK) &&
	    !(call->state & RUST_GPU_SYNC_TEST_SOFTIRQ))
		return "the caller was no softirq";
	return NULL;
}

/* Two routines that should meet, or must not. */
struct sync_test_pair {
	u64 handle;
	u32 message;
	u32 status;
	struct work_struct work;
	struct completion started;
	/* Written by both CPUs, hence READ_ONCE() and WRITE_ONCE() everywhere. */
	bool first_inside;
	bool first_left;
	bool second_ran;
	bool met;
	bool overlapped;
};

static bool sync_test_second_routine(void *context)
{
	struct sync_test_pair *pair = context;

	if (READ_ONCE(pair->first_inside))
		WRITE_ONCE(pair->overlapped, true);
	WRITE_ONCE(pair->second_ran, true);
	return true;
}

static void sync_test_second(struct work_struct *work)
{
	struct sync_test_pair *pair = container_of(work, struct sync_test_pair, work);
	ktime_t deadline = ktime_add_ms(ktime_get(), SYNC_TEST_PATIENCE_MS);
	bool ignored;

	complete(&pair->started);
	while (!READ_ONCE(pair->first_inside) && !READ_ONCE(pair->first_left) &&
	       ktime_before(ktime_get(), deadline))
		cpu_relax();
	if (!READ_ONCE(pair->first_inside) && !READ_ONCE(pair->first_left))
		return;
	pair->status = rust_gpu_synchronize_execution(pair->handle, sync_test_second_routine,
						      pair, pair->message, &ignored);
}

/* Stays until the second routine has run, or until the time is over. */
static bool sync_test_first_routine(void *context)
{
	struct sync_test_pair *pair = context;
	bool same = !pair->message;
	ktime_t deadline = ktime_add_ms(ktime_get(),
					same ? SYNC_TEST_ALONE_MS : SYNC_TEST_HOLD_MS);

	WRITE_ONCE(pair->first_inside, true);
	while (ktime_before(ktime_get(), deadline) && !READ_ONCE(pair->second_ran))
		cpu_relax();
	WRITE_ONCE(pair->met, READ_ONCE(pair->second_ran));
	WRITE_ONCE(pair->first_inside, false);
	return true;
}

/*
 * Runs a routine on message 0 here and one on @message on another CPU. *@met tells
 * whether the second one ran while the first was inside.
 */
static int sync_test_meet(u64 handle, u32 message, bool *met)
{
	struct sync_test_pair pair = { .handle = handle, .message = message };
	unsigned int cpu = cpumask_any_but(cpu_online_mask, get_cpu());
	bool ignored;
	u32 status;

	put_cpu();
	if (cpu >= nr_cpu_ids)
		return -ENODEV;
	init_completion(&pair.started);
	INIT_WORK_ONSTACK(&pair.work, sync_test_second);
	queue_work_on(cpu, system_percpu_wq, &pair.work);
	wait_for_completion(&pair.started);
	status = rust_gpu_synchronize_execution(handle, sync_test_first_routine, &pair, 0,
						&ignored);
	WRITE_ONCE(pair.first_left, true);
	flush_work(&pair.work);
	destroy_work_on_stack(&pair.work);
	*met = pair.met || pair.overlapped;
	return status || pair.status || !pair.second_ran ? -EIO : 0;
}

static void sync_test_report(struct rust_gpu_sync_test_tristate *args, unsigned int row,
			     const char *name, const char *failure)
{
	args->rows |= BIT_ULL(row);
	if (failure) {
		args->failed |= BIT_ULL(row);
		pr_info("not ok %u %s # %s\n", row + 1, name, failure);
	} else {
		pr_info("ok %u %s\n", row + 1, name);
	}
}

static void sync_test_meetings(struct rust_gpu_sync_test_tristate *args, unsigned int row)
{
	unsigned int i;
	bool met;
	int ret;

	ret = sync_test_meet(args->handle, 0, &met);
	if (ret == -ENODEV)
		pr_info("ok %u one message excludes # SKIP one CPU\n", row + 1);
	else
		sync_test_report(args, row, "one message excludes",
				 ret ? "a routine did not run" :
				 met ? "two routines of one message met" : NULL);

	row++;
	if (args->messages < 2 || ret == -ENODEV) {
		pr_info("ok %u two messages do not wait # SKIP one CPU or one message\n", row + 1);
		return;
	}
	/* A busy host may stop the second CPU for as long as the first one stays. */
	for (i = 0; i < SYNC_TEST_MEETINGS; i++) {
		ret = sync_test_meet(args->handle, args->messages - 1, &met);
		if (!ret && met)
			break;
	}
	sync_test_report(args, row, "two messages do not wait",
			 ret ? "a routine did not run" :
			 !met ? "one message waited for the other" : NULL);
}

int sync_test_tristate(struct rust_gpu_sync_test_tristate *args)
{
	unsigned int i;

	static_assert(ARRAY_SIZE(sync_test_rows) + 2 <= 64);
	if (!args->messages || args->pad)
		return -EINVAL;
	args->rows = 0;
	args->failed = 0;

	for (i = 0; i < ARRAY_SIZE(sync_test_rows); i++) {
		const struct sync_test_row *row = &sync_test_rows[i];
		struct rust_gpu_sync_test_call call = {
			.handle = sync_test_handle(args, row->handle),
			.message = sync_test_message(args, row->message),
			.flags = row->flags,
			.context = row->context,
		};
		int ret;

		if (row->handle == STALE && !args->stale) {
			pr_info("ok %u %s # SKIP no such handle\n", i + 1, row->name);
			continue;
		}
		ret = sync_test_call(&call);
		if (ret == -EOPNOTSUPP)
			pr_info("ok %u %s # SKIP no such context\n", i + 1, row->name);
		else
			sync_test_report(args, i, row->name,
					 ret ? "no call" : sync_test_judge(row, &call));
	}
	sync_test_meetings(args, ARRAY_SIZE(sync_test_rows));
	return 0;
}
