// SPDX-License-Identifier: GPL-2.0
/*
 * Synchronised routines on multi-word state, from every context at once.
 */
#include <linux/atomic.h>
#include <linux/bottom_half.h>
#include <linux/hrtimer.h>
#include <linux/irqflags.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/timer.h>

#include "sync_test.h"

#define SYNC_TEST_MAX_COUNT	100000
#define SYNC_TEST_MAX_BURST	64
#define SYNC_TEST_MIN_PERIOD_US	100

/*
 * The state of each message. Only the lock of the message guards it: that is the test.
 * Zeroed only while no timer runs and no test calls.
 */
static struct rust_gpu_sync_test_state sync_test_states[RUST_GPU_SYNC_TEST_MESSAGES];

/* Serialises start and stop; nothing is taken inside. */
static DEFINE_MUTEX(sync_test_lock);

/* The timers of one message. */
struct sync_test_timers {
	u64 handle;
	u32 message;
	u32 burst;
	ktime_t period;
	/* Each is written by its own callback alone. */
	struct rust_gpu_sync_test_tally timer_tally;
	struct rust_gpu_sync_test_tally hrtimer_tally;
	struct timer_list timer;
	struct hrtimer hrtimer;
};

static struct sync_test_timers sync_test_timers[RUST_GPU_SYNC_TEST_MESSAGES];
/* Timers that were started; guarded by sync_test_lock. */
static u32 sync_test_started;
/* Tells the callbacks not to restart their timers. */
static bool sync_test_stopping;

struct sync_test_step {
	struct rust_gpu_sync_test_state *state;
	u64 value;
	u32 context;
	bool ran;
};

static bool sync_test_step(void *context)
{
	struct sync_test_step *step = context;
	struct rust_gpu_sync_test_state *state = step->state;
	u64 first = READ_ONCE(state->words[0]);
	unsigned int i;

	for (i = 1; i < RUST_GPU_SYNC_TEST_WORDS; i++) {
		if (READ_ONCE(state->words[i]) != first) {
			state->torn++;
			break;
		}
	}
	for (i = 0; i < RUST_GPU_SYNC_TEST_WORDS; i++)
		WRITE_ONCE(state->words[i], first + 1);
	state->runs++;
	state->sum += step->value;
	state->by_context[step->context]++;
	step->ran = true;
	return step->value & 1;
}

static void sync_test_one(u64 handle, u32 message, u32 context, u64 value,
			  struct rust_gpu_sync_test_tally *tally)
{
	struct sync_test_step step = {
		.state = &sync_test_states[message],
		.value = value,
		.context = context,
	};
	bool answer = !(value & 1);
	u32 status;

	status = rust_gpu_synchronize_execution(handle, sync_test_step, &step, message, &answer);
	if (status == RUST_GPU_STATUS_SUCCESS) {
		tally->calls[context]++;
		tally->sum += value;
		if (!step.ran || answer != (value & 1))
			tally->mismatches++;
		return;
	}
	if (step.ran || answer == (value & 1))
		tally->mismatches++;
	if (status == RUST_GPU_STATUS_UNSUCCESSFUL)
		tally->unsuccessful++;
	else
		tally->invalid++;
}

static void sync_test_burst(struct sync_test_timers *timers, u32 context,
			    struct rust_gpu_sync_test_tally *tally)
{
	u32 i;

	for (i = 0; i < timers->burst; i++)
		sync_test_one(timers->handle, timers->message, context,
			      tally->calls[context] + i, tally);
}

static void sync_test_timer(struct timer_list *timer)
{
	struct sync_test_timers *timers = timer_container_of(timers, timer, timer);

	sync_test_burst(timers, RUST_GPU_SYNC_TEST_TIMER, &timers->timer_tally);
	if (!READ_ONCE(sync_test_stopping))
		mod_timer(&timers->timer, jiffies + 1);
}

static enum hrtimer_restart sync_test_hrtimer(struct hrtimer *hrtimer)
{
	struct sync_test_timers *timers = container_of(hrtimer, struct sync_test_timers, hrtimer);

	sync_test_burst(timers, RUST_GPU_SYNC_TEST_HRTIMER, &timers->hrtimer_tally);
	if (READ_ONCE(sync_test_stopping))
		return HRTIMER_NORESTART;
	/* A slow machine must not spend its time on missed periods. */
	hrtimer_forward_now(hrtimer, timers->period);
	return HRTIMER_RESTART;
}

static void sync_test_stop_locked(void)
{
	u32 i;

	WRITE_ONCE(sync_test_stopping, true);
	for (i = 0; i < sync_test_started; i++) {
		timer_shutdown_sync(&sync_test_timers[i].timer);
		hrtimer_cancel(&sync_test_timers[i].hrtimer);
	}
	sync_test_started = 0;
}

void sync_test_stop(void)
{
	mutex_lock(&sync_test_lock);
	sync_test_stop_locked();
	mutex_unlock(&sync_test_lock);
}

int sync_test_start(const struct rust_gpu_sync_test_start *args)
{
	u32 i;

	if (args->messages > RUST_GPU_SYNC_TEST_MESSAGES || args->pad || !args->burst ||
	    args->burst > SYNC_TEST_MAX_BURST || args->period_us < SYNC_TEST_MIN_PERIOD_US)
		return -EINVAL;

	mutex_lock(&sync_test_lock);
	sync_test_stop_locked();
	memset(sync_test_states, 0, sizeof(sync_test_states));
	memset(sync_test_timers, 0, sizeof(sync_test_timers));
	WRITE_ONCE(sync_test_stopping, false);
	for (i = 0; i < args->messages; i++) {
		struct sync_test_timers *timers = &sync_test_timers[i];

		timers->handle = args->handle;
		timers->message = i;
		timers->burst = args->burst;
		timers->period = us_to_ktime(args->period_us);
		timer_setup(&timers->timer, sync_test_timer, 0);
		hrtimer_setup(&timers->hrtimer, sync_test_hrtimer, CLOCK_MONOTONIC,
			      HRTIMER_MODE_REL);
		mod_timer(&timers->timer, jiffies + 1);
		hrtimer_start(&timers->hrtimer, timers->period, HRTIMER_MODE_REL);
	}
	sync_test_started = args->messages;
	mutex_unlock(&sync_test_lock);
	return 0;
}

int sync_test_run(struct rust_gpu_sync_test_run *args)
{
	unsigned long flags;
	u32 i;

	if (args->message >= RUST_GPU_SYNC_TEST_MESSAGES || args->count > SYNC_TEST_MAX_COUNT)
		return -EINVAL;
	memset(&args->tally, 0, sizeof(args->tally));

	for (i = 0; i < args->count && !fatal_signal_pending(current); i++) {
		sync_test_one(args->handle, args->message, RUST_GPU_SYNC_TEST_PROCESS, i,
			      &args->tally);
		local_bh_disable();
		sync_test_one(args->handle, args->message, RUST_GPU_SYNC_TEST_BH_OFF, i,
			      &args->tally);
		local_bh_enable();
		if (!IS_ENABLED(CONFIG_PREEMPT_RT)) {
			local_irq_save(flags);
			sync_test_one(args->handle, args->message, RUST_GPU_SYNC_TEST_IRQ_OFF,
				      i, &args->tally);
			local_irq_restore(flags);
		}
		cond_resched();
	}
	return 0;
}

struct sync_test_snapshot {
	const struct rust_gpu_sync_test_state *from;
	struct rust_gpu_sync_test_state *to;
};

static bool sync_test_snapshot(void *context)
{
	struct sync_test_snapshot *snapshot = context;

	*snapshot->to = *snapshot->from;
	return true;
}

int sync_test_read(struct rust_gpu_sync_test_read *args)
{
	struct sync_test_timers *timers;
	struct sync_test_snapshot snapshot;
	unsigned int i;
	bool ignored;

	if (args->message >= RUST_GPU_SYNC_TEST_MESSAGES)
		return -EINVAL;
	snapshot.from = &sync_test_states[args->message];
	snapshot.to = &args->state;
	args->status = rust_gpu_synchronize_execution(args->handle, sync_test_snapshot, &snapshot,
						      args->message, &ignored);

	timers = &sync_test_timers[args->message];
	args->timers = timers->timer_tally;
	for (i = 0; i < RUST_GPU_SYNC_TEST_CONTEXTS; i++)
		args->timers.calls[i] += timers->hrtimer_tally.calls[i];
	args->timers.sum += timers->hrtimer_tally.sum;
	args->timers.mismatches += timers->hrtimer_tally.mismatches;
	args->timers.unsuccessful += timers->hrtimer_tally.unsuccessful;
	args->timers.invalid += timers->hrtimer_tally.invalid;
	return 0;
}
