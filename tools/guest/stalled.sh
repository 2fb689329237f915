#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest ends while its own device stands still, if $STALL is 1. It restarts, or $END says how
# else. The kernel's log tells when that began.

is_second_kernel && exit 0
modprobe rust-gpu tdr_level=0
if [ "$END" = kexec ]; then
	load_kernel || exit 3
fi
if [ "$STALL" = 1 ]; then
	stand_still || exit 1
	# Until the driver knows.
	sleep 2
fi
[ "$END" != halt ] || ask halt after || exit 2
echo "the guest ends" >/dev/kmsg
case $END in
panic) echo c >/proc/sysrq-trigger ;;
halt) busybox halt -f ;;
kexec) boot_kernel ;;
esac
