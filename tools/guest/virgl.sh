#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A device that has 3D: one line in the log says which setting gives it to the C driver, also after
# it was bound anew. Programs are told that there is no 3D.

# lines NUMBER: whether that many are in the log.
lines()
{
	[ "$(dmesg | grep -c 'rust_gpu.*3D is not driven yet; virtio_gpu_driver=c')" = "$1" ]
}

modprobe rust-gpu
lines 1 || exit 1
"$TESTS/getparam" || exit 2
"$TESTS/rust_gpu_report" --check || exit 3
pci=$(basename "$(readlink -f /sys/class/drm/card0/device)")
echo "$pci" >/sys/bus/pci/drivers/rust_gpu/unbind
echo "$pci" >/sys/bus/pci/drivers/rust_gpu/bind || exit 4
lines 2 || exit 5
modprobe -r rust-gpu
