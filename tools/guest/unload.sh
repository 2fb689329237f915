#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The driver is unloaded while the guest's own device stands still, as quickly as before, and works
# when it is loaded again.

# Unloads the driver. Prints how many milliseconds that took.
unload()
{
	before=$(date +%s%3N)
	modprobe -r rust-gpu || return 1
	echo $(($(date +%s%3N) - before))
}

modprobe rust-gpu
healthy=$(unload) || exit 1
modprobe rust-gpu tdr_level=0
stand_still || exit 2
stalled=$(unload) || exit 5
echo "unloaded in $healthy ms, with a device that stands still in $stalled ms"
[ "$stalled" -le $((healthy + 1100)) ] || exit 6
ask device resume || exit 7
modprobe rust-gpu
for try in 1 2 3 4 5 6 7 8 9 10; do
	[ "$(cat /sys/class/drm/card?-Virtual-1/enabled)" = enabled ] && break
	[ "$try" -lt 10 ] || exit 8
	sleep 0.5
done
modprobe -r rust-gpu
