#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# After a probe that failed: the firmware's framebuffer still has its driver, and the console shows
# what is written to it.

grep -q simple /proc/fb || exit 3
before=$(ask screendump before) || exit 4
for line in 1 2 3 4 5 6 7 8; do
	echo "line $line of the console" >/dev/tty1
done
after=$(ask screendump after) || exit 4
[ "${before#before}" != "${after#after}" ] || exit 5
