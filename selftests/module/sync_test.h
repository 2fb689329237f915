/* SPDX-License-Identifier: GPL-2.0 */
/* Declarations for the files of the module. */
#ifndef _SYNC_TEST_H
#define _SYNC_TEST_H

#include <linux/rust_gpu.h>
#include <linux/types.h>

#include "rust_gpu_sync_test.h"

/**
 * sync_test_call() - make one call of rust_gpu_synchronize_execution()
 * @call: the parameters; receives what happened
 *
 * Context: process, may sleep.
 *
 * Return: 0, -EINVAL for an unknown context or flag, -EOPNOTSUPP for a context
 * that does not exist in this kernel, -ENOMEM.
 */
int sync_test_call(struct rust_gpu_sync_test_call *call);

/**
 * sync_test_tristate() - check the contract row by row
 * @args: handles in, bit masks out
 *
 * Logs a line for each row.
 *
 * Context: process, may sleep.
 *
 * Return: 0 or -EINVAL.
 */
int sync_test_tristate(struct rust_gpu_sync_test_tristate *args);

/* The ioctls of the torture; process context, may sleep. */
int sync_test_start(const struct rust_gpu_sync_test_start *args);
int sync_test_run(struct rust_gpu_sync_test_run *args);
int sync_test_read(struct rust_gpu_sync_test_read *args);
void sync_test_stop(void);

/**
 * sync_test_bench() - time the service, its C counterpart and a bare lock
 * @args: loops in, nanoseconds out
 *
 * Context: process, may sleep.
 *
 * Return: 0, -EINVAL, -ENOMEM, -ENOTCONN if the service does not answer with
 * success, -EINTR.
 */
int sync_test_bench(struct rust_gpu_sync_test_bench *args);

#endif /* _SYNC_TEST_H */
