// SPDX-License-Identifier: GPL-2.0
/* The cost of an empty synchronised routine, compared to the same code in C. */
#include <linux/jump_label.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

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
	u64 handle;
	u32 messages;
	struct reference_message message[] __counted_by(messages);
};

/* As many as the service has. Written only while no call can run. */
static struct reference_adapter *reference_adapters[64];
/* Last handle given out; guarded by reference_lock. */
static u64 reference_last_handle;
static DEFINE_STATIC_KEY_FALSE(reference_hold_time);
/* Serialises the benchmarks. */
static DEFINE_MUTEX(reference_lock);

static struct reference_adapter *reference_find(u64 handle)
{
	struct reference_adapter *adapter;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(reference_adapters); i++) {
		/* Pairs with smp_store_release() in sync_test_bench(). */
		adapter = smp_load_acquire(&reference_adapters[i]);
		if (adapter && adapter->handle == handle)
			return adapter;
	}
	return NULL;
}

/*
 * The same checks in the same order and the same counters as in the service. Not
 * inlined, as the service cannot be.
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
	adapter = reference_find(handle);
	if (!adapter || message_number >= adapter->messages) {
		rcu_read_unlock();
		return adapter ? RUST_GPU_STATUS_INVALID_PARAMETER : RUST_GPU_STATUS_UNSUCCESSFUL;
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

static u64 time_irq_disable(spinlock_t *lock, u32 loops)
{
	u64 start = ktime_get_ns();

	while (loops--) {
		spin_lock_irq_disable(lock);
		spin_unlock_irq_enable(lock);
	}
	return ktime_get_ns() - start;
}

static struct reference_adapter *reference_new(u32 messages)
{
	struct reference_adapter *adapter;
	u32 i;

	adapter = kzalloc(struct_size(adapter, message, messages), GFP_KERNEL);
	if (!adapter)
		return NULL;
	adapter->messages = messages;
	for (i = 0; i < messages; i++) {
		spin_lock_init(&adapter->message[i].lock);
		adapter->message[i].connected = true;
	}
	return adapter;
}

/* The best of several rounds, in each of which every column has its turn. */
static int time_all(struct rust_gpu_sync_test_bench *args, struct reference_adapter *adapter)
{
	spinlock_t *lock = &adapter->message[args->message].lock;
	u32 round, failures = 0;

	args->service_ns = U64_MAX;
	args->reference_ns = U64_MAX;
	args->lock_ns = U64_MAX;
	args->irq_disable_ns = U64_MAX;
	for (round = 0; round < SYNC_TEST_ROUNDS; round++) {
		args->service_ns = min(args->service_ns,
				       time_service(args->handle, args->message, args->loops,
						    &failures));
		args->reference_ns = min(args->reference_ns,
					 time_reference(adapter->handle, args->message,
							args->loops, &failures));
		args->lock_ns = min(args->lock_ns, time_lock(lock, args->loops));
		args->irq_disable_ns = min(args->irq_disable_ns,
					   time_irq_disable(lock, args->loops));
		if (failures)
			return -ENOTCONN;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

int sync_test_bench(struct rust_gpu_sync_test_bench *args)
{
	struct reference_adapter *adapter;
	int ret;

	if (!args->loops || args->loops > SYNC_TEST_MAX_LOOPS ||
	    args->message >= RUST_GPU_SYNC_TEST_MESSAGES)
		return -EINVAL;
	adapter = reference_new(args->message + 1);
	if (!adapter)
		return -ENOMEM;

	mutex_lock(&reference_lock);
	adapter->handle = ++reference_last_handle;
	/* A caller that finds the adapter finds it complete. */
	smp_store_release(&reference_adapters[0], adapter);
	ret = time_all(args, adapter);
	WRITE_ONCE(reference_adapters[0], NULL);
	mutex_unlock(&reference_lock);
	synchronize_rcu();
	kfree(adapter);
	return ret;
}
