#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest goes to sleep with its memory on a disk, and is switched off.

mkswap "$DISK" >/dev/null && swapon "$DISK" || exit 100
modprobe rust-gpu
cd "$TESTS" || exit 103
# What the test writes is lost with the machine.
sync
mount -o remount,ro /mnt && mount -o remount,ro / || exit 101
RUST_GPU_IMAGE=1 RUST_GPU_REQUIRED=1 ./display_sleep -v image
