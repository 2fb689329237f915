#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest ends while its own device stands still, if $STALL is 1: it restarts, or panics if $END
# says so. The kernel's log tells when that began.

modprobe rust-gpu
if [ "$STALL" = 1 ]; then
	ask device stall any || exit 1
	ask resize 1000 700 || exit 2
	for try in 1 2 3 4 5 6 7 8 9 10; do
		ask device state | grep -q held-control=1 && break
		[ "$try" -lt 10 ] || exit 3
		sleep 0.5
	done
	# Until the driver knows.
	sleep 2
fi
echo "the guest ends" >/dev/kmsg
[ "$END" != panic ] || echo c >/proc/sysrq-trigger
