/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Services of the rust_gpu driver for other kernel modules.
 */
#ifndef _LINUX_RUST_GPU_H
#define _LINUX_RUST_GPU_H

#include <linux/jump_label.h>
#include <linux/types.h>

/* NTSTATUS values, as DxgkCbSynchronizeExecution answers. */
#define RUST_GPU_STATUS_SUCCESS			0x00000000U
#define RUST_GPU_STATUS_UNSUCCESSFUL		0xC0000001U
#define RUST_GPU_STATUS_INVALID_PARAMETER	0xC000000DU

/**
 * typedef rust_gpu_synchronized_routine - routine run by
 *	rust_gpu_synchronize_execution()
 * @context: the caller's context
 *
 * Runs with the message's lock held and local interrupts off (on PREEMPT_RT:
 * the lock alone). Must be short, must not sleep, fault, or call
 * rust_gpu_synchronize_execution() for any message.
 */
typedef bool (*rust_gpu_synchronized_routine)(void *context);

/**
 * rust_gpu_synchronize_execution - run a routine that cannot overlap the
 *	interrupt routine of one message
 * @handle: adapter handle, from &struct drm_rust_gpu_device_info. Never reused;
 *	any value may be passed.
 * @routine: the routine to run
 * @context: passed to @routine
 * @message_number: zero-based interrupt message; 0 for a line interrupt
 * @return_value: receives what @routine returned; untouched if it did not run
 *
 * Mirrors DxgkCbSynchronizeExecution. Parameters are checked first, the
 * connection second.
 *
 * Context: process, softirq, and (not on PREEMPT_RT) with interrupts off. The
 * caller's interrupt state is restored exactly. Not from @routine itself.
 *
 * Return: RUST_GPU_STATUS_SUCCESS if @routine ran;
 * RUST_GPU_STATUS_INVALID_PARAMETER for a handle that was never given out, a
 * NULL @routine or @return_value, or a message out of range;
 * RUST_GPU_STATUS_UNSUCCESSFUL if the interrupt is not connected or the device
 * is gone.
 */
u32 rust_gpu_synchronize_execution(u64 handle,
				   rust_gpu_synchronized_routine routine,
				   void *context, u32 message_number,
				   bool *return_value);

/* On while the lock of each message is timed; the driver's own. */
DECLARE_STATIC_KEY_FALSE(rust_gpu_hold_time);

#endif /* _LINUX_RUST_GPU_H */
