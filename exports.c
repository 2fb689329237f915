// SPDX-License-Identifier: GPL-2.0
/*
 * The C side of rust_gpu: it exports a symbol, defines a static key, and has
 * the module parameter for that key and an alias. A Rust module cannot do these
 * by itself.
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
