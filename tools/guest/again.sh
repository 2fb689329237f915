#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest boots its kernel once more, by kexec, while the device is busy: the console scrolls, and
# a client submits packets. The device works for the new kernel.

modprobe rust-gpu
cd "$TESTS" || exit 1
if is_second_kernel; then
	RUST_GPU_REQUIRED=1 ./display && RUST_GPU_REQUIRED=1 ./modes
	exit
fi
load_kernel || exit 2
ask trace virtio_set_status || exit 3
while :; do
	cat /proc/kallsyms >/dev/tty1
done &
./flood >/dev/null 2>&1 &
sleep 2
boot_kernel
