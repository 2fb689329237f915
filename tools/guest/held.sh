#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A device whose screen the firmware has set up, and whose registers somebody else has: the probe
# fails, and the firmware's console draws as before, pixel by pixel. Then the driver takes it over.

# draw NAME [LINE]...: clears the console, without a cursor that blinks, writes lines, and prints
# size and CRC of the screen.
draw()
{
	name=$1
	shift
	printf '\033[2J\033[H\033[?25l' >/dev/tty1
	[ $# -eq 0 ] || printf '%s\n' "$@" >/dev/tty1
	sleep 1
	dump=$(ask screendump "$name") || return
	echo "${dump#* }"
}

# has_device: whether the driver has one.
has_device()
{
	ls -d /sys/bus/pci/drivers/rust_gpu/0000:* >/dev/null 2>&1
}

grep -q simple /proc/fb || exit 1
insmod "$TESTS/module/rust_gpu_hold.ko" || exit 2
empty=$(draw empty-before)
text=$(draw text-before "one line of text" "and another")
[ -n "$empty" ] && [ -n "$text" ] && [ "$empty" != "$text" ] || exit 3

modprobe rust-gpu
! has_device || exit 4
grep -q simple /proc/fb || exit 5
[ "$(draw empty-after)" = "$empty" ] || exit 6
[ "$(draw text-after "one line of text" "and another")" = "$text" ] || exit 7
modprobe -r rust-gpu

rmmod rust_gpu_hold
modprobe rust-gpu
has_device || exit 8
! grep -q simple /proc/fb || exit 9
[ "$(draw driver "one line of text" "and another")" != "$text" ] || exit 10
