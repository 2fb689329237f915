#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A device that has 3D. Programs are told so, also after it was bound anew. Without
# CONFIG_DRM_RUST_GPU_RENDER they are told that there is none, and one line in the log says which
# setting gives the device to the C driver.

# lines NUMBER: whether that many are in the log.
lines()
{
	[ "$(dmesg | grep -c 'rust_gpu.*3D is not driven yet; virtio_gpu_driver=c')" = "$1" ]
}

driven=

# told: whether programs are told what is right.
told()
{
	if [ "$driven" ]; then
		RUST_GPU_REQUIRED=1 "$TESTS/render" -t params
	else
		"$TESTS/getparam"
	fi
}

modprobe rust-gpu
lines 0 && driven=yes
[ "$driven" ] || lines 1 || exit 1
told || exit 2
"$TESTS/rust_gpu_report" --check || exit 3
pci=$(basename "$(readlink -f /sys/class/drm/card0/device)")
echo "$pci" >/sys/bus/pci/drivers/rust_gpu/unbind
echo "$pci" >/sys/bus/pci/drivers/rust_gpu/bind || exit 4
if [ "$driven" ]; then lines 0; else lines 2; fi || exit 5
told || exit 6
modprobe -r rust-gpu
