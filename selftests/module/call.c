// SPDX-License-Identifier: GPL-2.0
/*
 * One call of rust_gpu_synchronize_execution() from a chosen context.
 */
#include <linux/bottom_half.h>
#include <linux/completion.h>
#include <linux/hrtimer.h>
#include <linux/irqflags.h>
#include <linux/preempt.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

#include "sync_test.h"

#define SYNC_TEST_FLAGS		(RUST_GPU_SYNC_TEST_NULL_ROUTINE | \
				 RUST_GPU_SYNC_TEST_NULL_RETURN | \
				 RUST_GPU_SYNC_TEST_RETURN_FALSE)

struct sync_test_caller {
	struct rust_gpu_sync_test_call *call;
	struct timer_list timer;
	struct hrtimer hrtimer;
	struct work_struct work;
	struct completion done;
};

static u32 sync_test_state(void)
{
	u32 state = 0;

	if (irqs_disabled())
		state |= RUST_GPU_SYNC_TEST_IRQS_OFF;
	if (in_serving_softirq())
		state |= RUST_GPU_SYNC_TEST_SOFTIRQ;
	if (in_hardirq())
		state |= RUST_GPU_SYNC_TEST_HARDIRQ;
	return state;
}

static bool sync_test_routine(void *context)
{
	struct rust_gpu_sync_test_call *call = context;

	call->inside = sync_test_state();
	call->runs++;
	return !(call->flags & RUST_GPU_SYNC_TEST_RETURN_FALSE);
}

static void sync_test_call_here(struct rust_gpu_sync_test_call *call)
{
	bool null_routine = call->flags & RUST_GPU_SYNC_TEST_NULL_ROUTINE;
	bool null_return = call->flags & RUST_GPU_SYNC_TEST_NULL_RETURN;
	union {
		bool value;
		u8 byte;
	} out = { .byte = RUST_GPU_SYNC_TEST_POISON };
	int preempt = preempt_count();

	call->state = sync_test_state();
	call->status = rust_gpu_synchronize_execution(call->handle,
						      null_routine ? NULL : sync_test_routine,
						      call, call->message,
						      null_return ? NULL : &out.value);
	call->restored = sync_test_state() == call->state && preempt_count() == preempt;
	call->return_value = out.byte;
}

static void sync_test_timer(struct timer_list *timer)
{
	struct sync_test_caller *caller = timer_container_of(caller, timer, timer);

	sync_test_call_here(caller->call);
	complete(&caller->done);
}

static enum hrtimer_restart sync_test_hrtimer(struct hrtimer *hrtimer)
{
	struct sync_test_caller *caller = container_of(hrtimer, struct sync_test_caller, hrtimer);

	sync_test_call_here(caller->call);
	complete(&caller->done);
	return HRTIMER_NORESTART;
}

static void sync_test_bh_work(struct work_struct *work)
{
	struct sync_test_caller *caller = container_of(work, struct sync_test_caller, work);

	sync_test_call_here(caller->call);
	complete(&caller->done);
}

static int sync_test_call_elsewhere(struct rust_gpu_sync_test_call *call)
{
	struct sync_test_caller *caller = kzalloc(sizeof(*caller), GFP_KERNEL);

	if (!caller)
		return -ENOMEM;
	caller->call = call;
	init_completion(&caller->done);
	timer_setup(&caller->timer, sync_test_timer, 0);
	hrtimer_setup(&caller->hrtimer, sync_test_hrtimer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	INIT_WORK(&caller->work, sync_test_bh_work);

	if (call->context == RUST_GPU_SYNC_TEST_TIMER)
		mod_timer(&caller->timer, jiffies + 1);
	else if (call->context == RUST_GPU_SYNC_TEST_HRTIMER)
		hrtimer_start(&caller->hrtimer, ns_to_ktime(100 * NSEC_PER_USEC),
			      HRTIMER_MODE_REL);
	else
		queue_work(system_bh_wq, &caller->work);
	wait_for_completion(&caller->done);

	/* The callbacks may not have returned yet. */
	timer_shutdown_sync(&caller->timer);
	hrtimer_cancel(&caller->hrtimer);
	flush_work(&caller->work);
	kfree(caller);
	return 0;
}

int sync_test_call(struct rust_gpu_sync_test_call *call)
{
	unsigned long flags;

	if (call->flags & ~SYNC_TEST_FLAGS || call->pad)
		return -EINVAL;
	call->runs = 0;
	call->inside = 0;

	switch (call->context) {
	case RUST_GPU_SYNC_TEST_PROCESS:
		sync_test_call_here(call);
		return 0;
	case RUST_GPU_SYNC_TEST_BH_OFF:
		local_bh_disable();
		sync_test_call_here(call);
		local_bh_enable();
		return 0;
	case RUST_GPU_SYNC_TEST_IRQ_OFF:
		/* Spinlocks sleep there, so the contract has no such caller. */
		if (IS_ENABLED(CONFIG_PREEMPT_RT))
			return -EOPNOTSUPP;
		local_irq_save(flags);
		sync_test_call_here(call);
		local_irq_restore(flags);
		return 0;
	case RUST_GPU_SYNC_TEST_TIMER:
	case RUST_GPU_SYNC_TEST_BH_WORK:
	case RUST_GPU_SYNC_TEST_HRTIMER:
		return sync_test_call_elsewhere(call);
	default:
		return -EINVAL;
	}
}
