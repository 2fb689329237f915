// SPDX-License-Identifier: GPL-2.0
/*
 * What an empty synchronised routine costs, against the same written in C.
 */
#include <linux/jump_label.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/xarray.h>

#include "sync_test.h"

#define SYNC_TEST_MAX_LOOPS	10000000
#define SYNC_TEST_ROUNDS	5

struct reference_message {
	/* Guards the fields below. */
	spinlock_t lock;
	bool connected;
	u64 executions;
	u64 refused;
	u64 longest_hold_ns;
};

struct reference_adapter {
	u32 messages;
	struct reference_message message[] __counted_by(messages);
};

static DEFINE_XARRAY_ALLOC1(reference_adapters);
static DEFINE_STATIC_KEY_FALSE(reference_hold_time);

/*
 * The same checks in the same order and the same counters as the service; not
 * inline, as the service cannot be.
 */
static noinline u32 reference_synchronize_execution(u64 handle,
						    rust_gpu_synchronized_routine routine,
						    void *context, u32 message_number,
						    bool *return_value)
{
	u32 status = RUST_GPU_STATUS_SUCCESS;
	struct reference_adapter *adapter;
	struct reference_message *message;
	unsigned long flags;
	u64 start = 0;

	if (!routine || !return_value)
		return RUST_GPU_STATUS_INVALID_PARAMETER;
	rcu_read_lock();
	adapter = xa_load(&reference_adapters, handle);
	if (!adapter || message_number >= adapter->messages) {
		rcu_read_unlock();
		return RUST_GPU_STATUS_INVALID_PARAMETER;
	}
	message = &adapter->message[message_number];

	spin_lock_irqsave(&message->lock, flags);
	if (static_branch_unlikely(&reference_hold_time))
		start = ktime_get_ns();
	if (message->connected) {
		message->executions++;
		*return_value = routine(context);
	} else {
		message->refused++;
		status = RUST_GPU_STATUS_UNSUCCESSFUL;
	}
	if (static_branch_unlikely(&reference_hold_time))
		message->longest_hold_ns = max(message->longest_hold_ns, ktime_get_ns() - start);
	spin_unlock_irqrestore(&message->lock, flags);
	rcu_read_unlock();
	return status;
}

static bool empty_routine(void *context)
{
	return true;
}

static u64 time_service(u64 handle, u32 message, u32 loops, u32 *failures)
{
	u64 start = ktime_get_ns();
	bool value;

	while (loops--)
		if (rust_gpu_synchronize_execution(handle, empty_routine, NULL, message, &value))
			(*failures)++;
	return ktime_get_ns() - start;
}

static u64 time_reference(u64 handle, u32 message, u32 loops, u32 *failures)
{
	u64 start = ktime_get_ns();
	bool value;

	while (loops--)
		if (reference_synchronize_execution(handle, empty_routine, NULL, message, &value))
			(*failures)++;
	return ktime_get_ns() - start;
}

static u64 time_lock(spinlock_t *lock, u32 loops)
{
	u64 start = ktime_get_ns();
	unsigned long flags;

	while (loops--) {
		spin_lock_irqsave(lock, flags);
		spin_unlock_irqrestore(lock, flags);
	}
	return ktime_get_ns() - start;
}

int sync_test_bench(struct rust_gpu_sync_test_bench *args)
{
	u64 service = U64_MAX, reference = U64_MAX, lock = U64_MAX;
	struct reference_adapter *adapter;
	u32 messages = args->message + 1;
	u32 round, i, failures = 0;
	int ret = 0;
	u32 id;

	if (!args->loops || args->loops > SYNC_TEST_MAX_LOOPS ||
	    args->message >= RUST_GPU_SYNC_TEST_MESSAGES)
		return -EINVAL;
	adapter = kzalloc(struct_size(adapter, message, messages), GFP_KERNEL);
	if (!adapter)
		return -ENOMEM;
	adapter->messages = messages;
	for (i = 0; i < messages; i++) {
		spin_lock_init(&adapter->message[i].lock);
		adapter->message[i].connected = true;
	}
	ret = xa_alloc(&reference_adapters, &id, adapter, XA_LIMIT(1, 64), GFP_KERNEL);
	if (ret)
		goto out_free;

	/* The best of several rounds, the columns taking turns. */
	for (round = 0; round < SYNC_TEST_ROUNDS; round++) {
		service = min(service, time_service(args->handle, args->message, args->loops,
						    &failures));
		reference = min(reference, time_reference(id, args->message, args->loops,
							  &failures));
		lock = min(lock, time_lock(&adapter->message[args->message].lock, args->loops));
		if (failures) {
			ret = -ENOTCONN;
			break;
		}
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		cond_resched();
	}
	args->service_ns = service;
	args->reference_ns = reference;
	args->lock_ns = lock;

	xa_erase(&reference_adapters, id);
	synchronize_rcu();
out_free:
	kfree(adapter);
	return ret;
}
