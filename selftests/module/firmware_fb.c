// SPDX-License-Identifier: GPL-2.0
/*
 * A framebuffer as a firmware leaves it, in the memory of a virtio GPU: BAR 0 of the first
 * one that has enough. For tests only.
 */
#include <linux/ioport.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/platform_data/simplefb.h>
#include <linux/platform_device.h>

/* Small: each access may be a message to another process. */
#define WIDTH	320
#define HEIGHT	200
#define STRIDE	(4 * WIDTH)

static struct platform_device *framebuffer;

static struct pci_dev *find_function(void)
{
	struct pci_dev *pdev = NULL;

	do {
		pdev = pci_get_device(PCI_VENDOR_ID_REDHAT_QUMRANET, 0x1050, pdev);
	} while (pdev && (!(pci_resource_flags(pdev, 0) & IORESOURCE_MEM) ||
			  pci_resource_len(pdev, 0) < STRIDE * HEIGHT));
	return pdev;
}

static int __init firmware_fb_init(void)
{
	static const struct simplefb_platform_data mode = {
		.width = WIDTH,
		.height = HEIGHT,
		.stride = STRIDE,
		.format = "x8r8g8b8",
	};
	struct pci_dev *pdev = find_function();
	struct resource memory;

	if (!pdev)
		return -ENODEV;
	memory = DEFINE_RES_MEM(pci_resource_start(pdev, 0), STRIDE * HEIGHT);
	framebuffer = platform_device_register_resndata(&pdev->dev, "simple-framebuffer",
							PLATFORM_DEVID_NONE, &memory, 1, &mode,
							sizeof(mode));
	pci_dev_put(pdev);
	if (IS_ERR(framebuffer))
		return PTR_ERR(framebuffer);
	get_device(&framebuffer->dev);
	return 0;
}

static void __exit firmware_fb_exit(void)
{
	/* The driver of the GPU may have unregistered it. */
	if (device_is_registered(&framebuffer->dev))
		platform_device_unregister(framebuffer);
	put_device(&framebuffer->dev);
}

module_init(firmware_fb_init);
module_exit(firmware_fb_exit);
MODULE_DESCRIPTION("Framebuffer in the memory of a virtio GPU, for tests");
MODULE_LICENSE("GPL");
