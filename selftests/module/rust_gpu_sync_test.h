/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ioctls of /dev/rust_gpu_sync_test, shared by the test module and the tests.
 */
#ifndef _RUST_GPU_SYNC_TEST_H
#define _RUST_GPU_SYNC_TEST_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define RUST_GPU_SYNC_TEST_DEVICE	"/dev/rust_gpu_sync_test"

/* The value of the out boolean before a call. */
#define RUST_GPU_SYNC_TEST_POISON	0xa5

/* Contexts a call is made from. */
enum rust_gpu_sync_test_context {
	/* a system call, interrupts on */
	RUST_GPU_SYNC_TEST_PROCESS,
	/* a system call, bottom halves off */
	RUST_GPU_SYNC_TEST_BH_OFF,
	/* a system call, interrupts off; -EOPNOTSUPP on PREEMPT_RT */
	RUST_GPU_SYNC_TEST_IRQ_OFF,
	/* a timer, softirq */
	RUST_GPU_SYNC_TEST_TIMER,
	/* a work item of system_bh_wq, softirq */
	RUST_GPU_SYNC_TEST_BH_WORK,
	/* an hrtimer: hard interrupt; softirq on PREEMPT_RT */
	RUST_GPU_SYNC_TEST_HRTIMER,
	RUST_GPU_SYNC_TEST_CONTEXTS,
};

/* rust_gpu_sync_test_call.flags */
#define RUST_GPU_SYNC_TEST_NULL_ROUTINE	0x1
#define RUST_GPU_SYNC_TEST_NULL_RETURN	0x2
#define RUST_GPU_SYNC_TEST_RETURN_FALSE	0x4

/* rust_gpu_sync_test_call.state, .inside */
#define RUST_GPU_SYNC_TEST_IRQS_OFF	0x1
#define RUST_GPU_SYNC_TEST_SOFTIRQ	0x2
#define RUST_GPU_SYNC_TEST_HARDIRQ	0x4

/**
 * struct rust_gpu_sync_test_call - one call with arbitrary parameters
 * @handle: in, adapter handle, any value
 * @message: in, message number, any value
 * @flags: in, RUST_GPU_SYNC_TEST_NULL_ROUTINE and so on
 * @context: in, where the call is made from
 * @status: out, what rust_gpu_synchronize_execution() answered
 * @runs: out, how often the routine ran
 * @return_value: out, the byte of the out boolean, poisoned before the call
 * @state: out, state of the caller before the call
 * @inside: out, state inside the routine, 0 if it did not run
 * @restored: out, 1 if interrupt state and preempt count after the call were
 *	those from before
 * @pad: zero
 */
struct rust_gpu_sync_test_call {
	__u64 handle;
	__u32 message;
	__u32 flags;
	__u32 context;
	__u32 status;
	__u32 runs;
	__u32 return_value;
	__u32 state;
	__u32 inside;
	__u32 restored;
	__u32 pad;
};

/**
 * struct rust_gpu_sync_test_tristate - the rows of the contract, all at once
 * @handle: in, handle of a bound adapter
 * @stale: in, handle of an adapter that is gone; 0 leaves its rows out
 * @messages: in, number of messages of the adapter
 * @pad: in, zero
 * @rows: out, bit mask of the rows that ran
 * @failed: out, bit mask of the rows that failed
 */
struct rust_gpu_sync_test_tristate {
	__u64 handle;
	__u64 stale;
	__u32 messages;
	__u32 pad;
	__u64 rows;
	__u64 failed;
};

#define RUST_GPU_SYNC_TEST_WORDS	8
#define RUST_GPU_SYNC_TEST_MESSAGES	8

/**
 * struct rust_gpu_sync_test_state - what the synchronised routines change
 * @words: all equal, incremented one after the other by each run
 * @runs: runs of the routine
 * @sum: sum of the values given to the routine
 * @torn: runs that found words that differ
 * @by_context: runs from each context
 */
struct rust_gpu_sync_test_state {
	__u64 words[RUST_GPU_SYNC_TEST_WORDS];
	__u64 runs;
	__u64 sum;
	__u64 torn;
	__u64 by_context[RUST_GPU_SYNC_TEST_CONTEXTS];
};

/**
 * struct rust_gpu_sync_test_tally - what the callers counted
 * @calls: calls answered with success, by context
 * @sum: sum of the values of those
 * @mismatches: calls whose out boolean was not what the routine returned, or
 *	that ran the routine without answering success
 * @unsuccessful: calls answered with UNSUCCESSFUL
 * @invalid: calls answered with INVALID_PARAMETER or anything else
 */
struct rust_gpu_sync_test_tally {
	__u64 calls[RUST_GPU_SYNC_TEST_CONTEXTS];
	__u64 sum;
	__u64 mismatches;
	__u64 unsuccessful;
	__u64 invalid;
};

/**
 * struct rust_gpu_sync_test_start - start the timers of the torture
 * @handle: in, adapter handle
 * @messages: in, a timer and an hrtimer for each message below this
 * @period_us: in, period of the hrtimers, at least 100; the timers have one
 *	jiffy
 * @burst: in, calls for each expiry, 1 to 64
 * @pad: in, zero
 *
 * Zeroes the states and the tallies of the timers first.
 */
struct rust_gpu_sync_test_start {
	__u64 handle;
	__u32 messages;
	__u32 period_us;
	__u32 burst;
	__u32 pad;
};

/**
 * struct rust_gpu_sync_test_run - calls from the calling thread
 * @handle: in, adapter handle
 * @message: in, message number, below RUST_GPU_SYNC_TEST_MESSAGES
 * @count: in, calls for each of the three process contexts, at most 100000
 * @tally: out, their results
 */
struct rust_gpu_sync_test_run {
	__u64 handle;
	__u32 message;
	__u32 count;
	struct rust_gpu_sync_test_tally tally;
};

/**
 * struct rust_gpu_sync_test_read - read the state of one message
 * @handle: in, adapter handle
 * @message: in, message number
 * @status: out, status of the synchronised routine that took the snapshot
 * @state: out, the snapshot, valid if @status is success
 * @timers: out, tally of the timers of this message; exact after the stop
 */
struct rust_gpu_sync_test_read {
	__u64 handle;
	__u32 message;
	__u32 status;
	struct rust_gpu_sync_test_state state;
	struct rust_gpu_sync_test_tally timers;
};

/**
 * struct rust_gpu_sync_test_bench - time an empty synchronised routine
 * @handle: in, adapter handle
 * @message: in, message number
 * @loops: in, calls for each column, 1 to 10000000
 * @service_ns: out, rust_gpu_synchronize_execution(), all @loops
 * @reference_ns: out, the same checks and counters written in C
 * @lock_ns: out, a bare spin_lock_irqsave() and spin_unlock_irqrestore()
 * @irq_disable_ns: out, a bare spin_lock_irq_disable() and
 *	spin_unlock_irq_enable(), which are what a SpinLockIrq is made of
 */
struct rust_gpu_sync_test_bench {
	__u64 handle;
	__u32 message;
	__u32 loops;
	__u64 service_ns;
	__u64 reference_ns;
	__u64 lock_ns;
	__u64 irq_disable_ns;
};

#define RUST_GPU_SYNC_TEST_CALL \
	_IOWR('R', 0x00, struct rust_gpu_sync_test_call)
#define RUST_GPU_SYNC_TEST_TRISTATE \
	_IOWR('R', 0x01, struct rust_gpu_sync_test_tristate)
#define RUST_GPU_SYNC_TEST_START \
	_IOW('R', 0x02, struct rust_gpu_sync_test_start)
#define RUST_GPU_SYNC_TEST_STOP \
	_IO('R', 0x03)
#define RUST_GPU_SYNC_TEST_RUN \
	_IOWR('R', 0x04, struct rust_gpu_sync_test_run)
#define RUST_GPU_SYNC_TEST_READ \
	_IOWR('R', 0x05, struct rust_gpu_sync_test_read)
#define RUST_GPU_SYNC_TEST_BENCH \
	_IOWR('R', 0x06, struct rust_gpu_sync_test_bench)

#endif /* _RUST_GPU_SYNC_TEST_H */
