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
