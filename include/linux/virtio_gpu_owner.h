/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which driver has virtio GPUs on PCI: rust_gpu, or virtio_pci with the C driver
 * virtio_gpu on top of it. Both match the device, and both ask before they touch
 * it.
 */
#ifndef _LINUX_VIRTIO_GPU_OWNER_H
#define _LINUX_VIRTIO_GPU_OWNER_H

#include <linux/device.h>
#include <linux/pci.h>
#include <linux/virtio_ids.h>

#if IS_ENABLED(CONFIG_DRM_RUST_GPU)

/**
 * virtio_gpu_owner_is_rust - whether rust_gpu is to have virtio GPUs on PCI
 *
 * This is what the kernel parameter virtio_gpu_driver= says. It does not hold for
 * a device with a driver_override.
 *
 * Context: any.
 *
 * Return: true for rust_gpu, false for virtio_pci.
 */
bool virtio_gpu_owner_is_rust(void);

#else

static inline bool virtio_gpu_owner_is_rust(void)
{
	return false;
}

#endif

/**
 * virtio_gpu_is_left_to_rust - whether virtio_pci has to leave a device to
 *	rust_gpu
 * @pdev: a virtio device that virtio_pci is about to probe
 *
 * An administrator's driver_override is stronger than the kernel parameter: with
 * one only the driver of that name is probed at all.
 *
 * Context: process (probe).
 *
 * Return: true if @pdev is a GPU that rust_gpu is to have.
 */
static inline bool virtio_gpu_is_left_to_rust(struct pci_dev *pdev)
{
	return pdev->vendor == PCI_VENDOR_ID_REDHAT_QUMRANET &&
	       /* virtio 1.3, 4.1.2 */
	       pdev->device == 0x1040 + VIRTIO_ID_GPU &&
	       virtio_gpu_owner_is_rust() &&
	       !device_has_driver_override(&pdev->dev);
}

#endif /* _LINUX_VIRTIO_GPU_OWNER_H */
