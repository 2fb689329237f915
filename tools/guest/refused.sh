#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A device behind an IOMMU that would bypass it: one line in the log, no driver, no other harm.

# has_device: whether the driver has one.
has_device()
{
	ls -d /sys/bus/pci/drivers/rust_gpu/0000:* >/dev/null 2>&1
}

modprobe rust-gpu
! has_device || exit 1
[ "$(dmesg | grep -c 'rust_gpu.*ACCESS_PLATFORM')" = 1 ] || exit 2
modprobe -r rust-gpu
