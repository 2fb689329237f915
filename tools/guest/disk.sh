#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A part of a guest's job, before what uses it: sets DISK, the disk that keeps what is written to
# it, in a guest that has one.

for DISK in /sys/block/nvme*; do
	[ -e "$DISK/nsid" ] && [ "$(cat "$DISK/nsid")" = 4 ] && break
done
export DISK="/dev/${DISK##*/}"
