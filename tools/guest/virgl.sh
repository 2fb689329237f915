#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A device that has 3D. Programs are told so, also after it was bound anew. Where the driver cannot
# use that, DRIVEN is empty: they are told that there is none, and one line in the log says why.

# lines NUMBER: whether that many are in the log.
lines()
{
	[ "$(dmesg | grep -c 'rust_gpu.*3D is not driven')" = "$1" ]
}

# told: whether programs are told what is right.
told()
{
	if [ "$DRIVEN" ]; then
		RUST_GPU_REQUIRED=1 "$TESTS/render" -t params
	else
		"$TESTS/getparam"
	fi
}

modprobe rust-gpu
if [ "$DRIVEN" ]; then lines 0; else lines 1; fi || exit 1
told || exit 2
"$TESTS/rust_gpu_report" --check || exit 3
pci=$(basename "$(readlink -f /sys/class/drm/card0/device)")
echo "$pci" >/sys/bus/pci/drivers/rust_gpu/unbind
echo "$pci" >/sys/bus/pci/drivers/rust_gpu/bind || exit 4
if [ "$DRIVEN" ]; then lines 0; else lines 2; fi || exit 5
told || exit 6
modprobe -r rust-gpu
