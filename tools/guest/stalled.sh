#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest ends while its own device stands still, if $STALL is 1: it restarts, or panics if $END
# says so. The kernel's log tells when that began.

modprobe rust-gpu
if [ "$STALL" = 1 ]; then
	stand_still || exit 1
	# Until the driver knows.
	sleep 2
fi
echo "the guest ends" >/dev/kmsg
[ "$END" != panic ] || echo c >/proc/sysrq-trigger
