#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# With nomodeset the driver takes no device, unless its parameter says so; it may say no as well.

# has_device: whether the driver has one.
has_device()
{
	ls -d /sys/bus/pci/drivers/rust_gpu/0000:* >/dev/null 2>&1
}

modprobe rust-gpu
! has_device || exit 1
[ "$(dmesg | grep -c 'rust_gpu.*not taken')" = 1 ] || exit 2
modprobe -r rust-gpu
modprobe rust-gpu modeset=1
has_device || exit 3
modprobe -r rust-gpu
modprobe rust-gpu modeset=0
! has_device || exit 4
modprobe -r rust-gpu
