/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Services of the rust_gpu driver for other kernel modules.
 */
#ifndef _LINUX_RUST_GPU_H
#define _LINUX_RUST_GPU_H

#include <linux/jump_label.h>
#include <linux/types.h>

#include <drm/rust_gpu_drm.h>	/* RUST_GPU_STATUS_* */

/**
 * typedef rust_gpu_synchronized_routine - routine run by
 *	rust_gpu_synchronize_execution()
 * @context: the caller's context
 *
 * Runs with the lock of the message held and local interrupts off, on PREEMPT_RT
 * with the lock only. Must be short, and must not sleep, fault, or call
 * rust_gpu_synchronize_execution() for any message.
 */
typedef bool (*rust_gpu_synchronized_routine)(void *context);

/**
 * rust_gpu_synchronize_execution - run a routine that cannot overlap the
 *	interrupt routine of one message
 * @handle: adapter handle, from &struct drm_rust_gpu_device_info. Handles are
 *	not reused; any value may be passed.
 * @routine: the routine to run
 * @context: passed to @routine
 * @message_number: zero-based interrupt message; 0 for a line interrupt
 * @return_value: receives what @routine returned; unchanged if it did not run
 *
 * This is DxgkCbSynchronizeExecution. The parameters are checked first, the
 * connection of the interrupt second.
 *
 * Context: process or softirq; except on PREEMPT_RT also with interrupts off.
 * The interrupt state is the caller's again when this returns. Must not be
 * called from @routine.
 *
 * Return: RUST_GPU_STATUS_SUCCESS if @routine ran;
 * RUST_GPU_STATUS_INVALID_PARAMETER for a handle that was never given out, for
 * a NULL @routine or @return_value, and for a message that is out of range;
 * RUST_GPU_STATUS_UNSUCCESSFUL if the interrupt is not connected or the device
 * is gone.
 */
u32 rust_gpu_synchronize_execution(u64 handle,
				   rust_gpu_synchronized_routine routine,
				   void *context, u32 message_number,
				   bool *return_value);

/* On while hold times of the message locks are measured. The driver's own. */
DECLARE_STATIC_KEY_FALSE(rust_gpu_hold_time);

#endif /* _LINUX_RUST_GPU_H */
