#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest panics with a console on two screens, and the host looks at both of them then.

modprobe rust-gpu
ask resize 1024 768 1 || exit 1
for second in 1 2 3 4 5 6 7 8 9 10; do
	[ "$(cat /sys/class/drm/card?-Virtual-2/enabled)" = enabled ] && break
	[ "$second" -lt 10 ] || exit 2
	sleep 1
done
ask panic panic || exit 3
echo c >/proc/sysrq-trigger
