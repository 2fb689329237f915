#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Writes to the console, and prints what the screen shows then: the host knows what is right. If the
# device has 3D, that is driven.

modprobe rust-gpu || exit 1
dmesg | grep 'rust_gpu.*3D is not driven' && exit 2
# A new screen, without a cursor.
printf '\033c\033[?25l' >/dev/tty1
for line in 1 2 3 4 5 6 7 8; do
	echo "line $line of the console" >/dev/tty1
done
# It is drawn later.
sleep 2
ask screendump console || exit 3
# The picture is not the same upside down.
before=$(ask crc console 0 0 640 400) || exit 4
ask mirror console >/dev/null || exit 5
after=$(ask crc console 0 0 640 400) || exit 6
[ "$before" != "$after" ] || exit 7
modprobe -r rust-gpu
