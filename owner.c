// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel parameter virtio_gpu_driver, which says who drives virtio GPUs on PCI.
 *
 * It is built in even if rust_gpu is a module: virtio_pci asks as well, and may be built in.
 */
#define pr_fmt(fmt) "rust_gpu: " fmt

#include <linux/export.h>
#include <linux/init.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <linux/virtio_gpu_owner.h>

static bool owner_is_rust __ro_after_init = true;

bool virtio_gpu_owner_is_rust(void)
{
	return owner_is_rust;
}
EXPORT_SYMBOL_GPL(virtio_gpu_owner_is_rust);

static int __init virtio_gpu_driver_setup(char *value)
{
	owner_is_rust = strcmp(value, "c");
	if (owner_is_rust && strcmp(value, "rust"))
		pr_warn("virtio_gpu_driver=%s is neither rust nor c: rust\n", value);
	return 1;
}

__setup("virtio_gpu_driver=", virtio_gpu_driver_setup);
