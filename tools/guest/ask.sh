#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A part of a guest's job, before what uses it: requests to the host, which sees the screen
# (tools/frontdoor/screen.py).

exec 3<>"$RUST_GPU_SCREEN"

# ask WORD...: prints the host's answer without its "done".
ask()
{
	echo "$*" >&3
	ask_answer=$(timeout 90 head -n 1 <&3) || ask_answer="no answer"
	case $ask_answer in
	"done "*)
		echo "${ask_answer#done }"
		;;
	*)
		echo "$*: the host says: $ask_answer" >&2
		return 1
		;;
	esac
}

# Lets the guest's own device stand still, and waits until it does. Returns 1 if it does not.
stand_still()
{
	ask device stall any || return 1
	# It stops at the next command: one that comes with a new size.
	ask resize 1000 700 || return 1
	for try in 1 2 3 4 5 6 7 8 9 10; do
		ask device state | grep -q held-control=1 && return 0
		[ "$try" -eq 10 ] || sleep 0.5
	done
	return 1
}
