// SPDX-License-Identifier: GPL-2.0
/*
 * The C side of rust_gpu: it exports a symbol, defines a static key, and has
 * the module parameters that can be written at any time and an alias. A Rust
 * module cannot do these by itself.
 */
#include <linux/export.h>
#include <linux/jump_label.h>
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/rust_gpu.h>

/*
 * Lists for an initramfs and installers have this name. Where the C driver is a
 * module, modprobe finds that one first.
 */
MODULE_ALIAS("virtio_gpu");

/* Defined in gpu/service.rs, with the prototype of the header. */
EXPORT_SYMBOL_GPL(rust_gpu_synchronize_execution);

DEFINE_STATIC_KEY_FALSE(rust_gpu_hold_time);

static int hold_time_set(const char *val, const struct kernel_param *kp)
{
	bool on;
	int ret;

	ret = kstrtobool(val, &on);
	if (ret)
		return ret;
	if (on)
		static_branch_enable(&rust_gpu_hold_time);
	else
		static_branch_disable(&rust_gpu_hold_time);
	return 0;
}

static int hold_time_get(char *buffer, const struct kernel_param *kp)
{
	return sprintf(buffer, "%c\n", static_key_enabled(&rust_gpu_hold_time) ? 'Y' : 'N');
}

static const struct kernel_param_ops hold_time_ops = {
	.set = hold_time_set,
	.get = hold_time_get,
};

module_param_cb(hold_time, &hold_time_ops, NULL, 0644);
MODULE_PARM_DESC(hold_time, "Measure how long the lock of each interrupt message is held (default: N)");

/* Read by scheduler/policy.rs. */
unsigned int rust_gpu_tdr_level = 3;
unsigned int rust_gpu_tdr_delay_ms = 2000;
unsigned int rust_gpu_tdr_limit_count = 5;
unsigned int rust_gpu_tdr_limit_ms = 60000;

/* As param_set_uint_minmax(), with one error for all that is wrong. */
static int set_within(const char *val, const struct kernel_param *kp, unsigned int min,
		      unsigned int max)
{
	return param_set_uint_minmax(val, kp, min, max) ? -EINVAL : 0;
}

static int tdr_level_set(const char *val, const struct kernel_param *kp)
{
	unsigned int level;

	/* 2 is TdrLevelRecoverVGA in Windows. */
	if (kstrtouint(val, 0, &level) || level == 2)
		return -EINVAL;
	return set_within(val, kp, 0, 3);
}

static int tdr_time_set(const char *val, const struct kernel_param *kp)
{
	return set_within(val, kp, 100, 3600000);
}

static int tdr_count_set(const char *val, const struct kernel_param *kp)
{
	/* The driver remembers when the last 32 were. */
	return set_within(val, kp, 0, 32);
}

static const struct kernel_param_ops tdr_level_ops = {
	.set = tdr_level_set,
	.get = param_get_uint,
};

static const struct kernel_param_ops tdr_time_ops = {
	.set = tdr_time_set,
	.get = param_get_uint,
};

static const struct kernel_param_ops tdr_count_ops = {
	.set = tdr_count_set,
	.get = param_get_uint,
};

module_param_cb(tdr_level, &tdr_level_ops, &rust_gpu_tdr_level, 0644);
MODULE_PARM_DESC(tdr_level, "A device that hangs: 0: is looked at and kicked, 1: counts as broken, 3: is reset and goes on (default: 3)");

module_param_cb(tdr_delay_ms, &tdr_time_ops, &rust_gpu_tdr_delay_ms, 0644);
MODULE_PARM_DESC(tdr_delay_ms, "A device hangs after twice this time without progress, in ms (default: 2000)");

module_param_cb(tdr_limit_count, &tdr_count_ops, &rust_gpu_tdr_limit_count, 0644);
MODULE_PARM_DESC(tdr_limit_count, "Resets within tdr_limit_ms after which a device counts as broken, 0: no limit (default: 5)");

module_param_cb(tdr_limit_ms, &tdr_time_ops, &rust_gpu_tdr_limit_ms, 0644);
MODULE_PARM_DESC(tdr_limit_ms, "See tdr_limit_count, in ms (default: 60000)");
