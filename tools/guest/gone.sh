#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest's own device stands still, is gone then, and is removed: that takes no longer than a
# reset may.

modprobe rust-gpu tdr_level=0
pci=$(basename "$(readlink -f /sys/class/drm/card0/device)")
stand_still || exit 1
ask device gone || exit 4
before=$(date +%s%3N)
echo 1 >"/sys/bus/pci/devices/$pci/remove" || exit 5
took=$(($(date +%s%3N) - before))
echo "removed in $took ms"
[ "$took" -le 1100 ] || exit 6
[ ! -e /dev/dri/card0 ] || exit 7
modprobe -r rust-gpu
