#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A device without scanouts has a render node, and neither connectors nor a console.

modprobe rust-gpu
[ -e /dev/dri/renderD128 ] || exit 1
[ "$(find /sys/class/drm -name 'card*-*' | wc -l)" = 0 ] || exit 2
[ ! -e /dev/fb0 ] || exit 3
modprobe -r rust-gpu
