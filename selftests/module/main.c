// SPDX-License-Identifier: GPL-2.0
/*
 * Test of rust_gpu_synchronize_execution() as other modules see it.
 *
 * Offers a misc device whose ioctls make calls with any parameters and from
 * any context, check the contract, torture it, and time it. For tests only:
 * the device is root's.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include "sync_test.h"

union sync_test_args {
	struct rust_gpu_sync_test_call call;
	struct rust_gpu_sync_test_tristate tristate;
	struct rust_gpu_sync_test_start start;
	struct rust_gpu_sync_test_run run;
	struct rust_gpu_sync_test_read read;
	struct rust_gpu_sync_test_bench bench;
};

static int sync_test_dispatch(unsigned int cmd, union sync_test_args *args)
{
	switch (cmd) {
	case RUST_GPU_SYNC_TEST_CALL:
		return sync_test_call(&args->call);
	case RUST_GPU_SYNC_TEST_TRISTATE:
		return sync_test_tristate(&args->tristate);
	case RUST_GPU_SYNC_TEST_START:
		return sync_test_start(&args->start);
	case RUST_GPU_SYNC_TEST_STOP:
		sync_test_stop();
		return 0;
	case RUST_GPU_SYNC_TEST_RUN:
		return sync_test_run(&args->run);
	case RUST_GPU_SYNC_TEST_READ:
		return sync_test_read(&args->read);
	case RUST_GPU_SYNC_TEST_BENCH:
		return sync_test_bench(&args->bench);
	default:
		return -ENOTTY;
	}
}

static long sync_test_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;
	union sync_test_args args = {};
	size_t size = _IOC_SIZE(cmd);
	int ret;

	if (size > sizeof(args))
		return -ENOTTY;
	if ((_IOC_DIR(cmd) & _IOC_WRITE) && copy_from_user(&args, user, size))
		return -EFAULT;
	ret = sync_test_dispatch(cmd, &args);
	if (!ret && (_IOC_DIR(cmd) & _IOC_READ) && copy_to_user(user, &args, size))
		return -EFAULT;
	return ret;
}

static int sync_test_release(struct inode *inode, struct file *file)
{
	/* A test that died must not leave timers behind. */
	sync_test_stop();
	return 0;
}

static const struct file_operations sync_test_fops = {
	.owner = THIS_MODULE,
	.open = nonseekable_open,
	.release = sync_test_release,
	.unlocked_ioctl = sync_test_ioctl,
};

static struct miscdevice sync_test_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "rust_gpu_sync_test",
	.fops = &sync_test_fops,
	.mode = 0600,
};
module_misc_device(sync_test_device);

MODULE_DESCRIPTION("Test of rust_gpu_synchronize_execution()");
MODULE_LICENSE("GPL");
