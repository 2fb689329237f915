#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# DRM's log in place of the console: one line more in the log is one line more on the screen.

modprobe rust-gpu
sleep 1
before=$(ask screendump before) || exit 1
echo '<3>one line more' >/dev/kmsg
sleep 2
after=$(ask screendump after) || exit 1
[ "${before##* }" != "${after##* }" ] || exit 2
modprobe -r rust-gpu
