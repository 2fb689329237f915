// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps the registers of the first virtio GPU, so that no driver gets them: all its memory
 * BARs but BAR 0, where a virtio-vga has its framebuffer. For tests only.
 */
#include <linux/module.h>
#include <linux/pci.h>

static struct pci_dev *gpu;
static int held;

static int __init hold_init(void)
{
	int bars, ret;

	gpu = pci_get_device(PCI_VENDOR_ID_REDHAT_QUMRANET, 0x1050, NULL);
	if (!gpu)
		return -ENODEV;
	bars = pci_select_bars(gpu, IORESOURCE_MEM) & ~1;
	ret = pci_request_selected_regions(gpu, bars, KBUILD_MODNAME);
	if (ret) {
		pci_dev_put(gpu);
		return ret;
	}
	held = bars;
	return 0;
}

static void __exit hold_exit(void)
{
	pci_release_selected_regions(gpu, held);
	pci_dev_put(gpu);
}

module_init(hold_init);
module_exit(hold_exit);
MODULE_DESCRIPTION("Keeps the registers of a virtio GPU, for tests");
MODULE_LICENSE("GPL");
