#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# kmscube, which turns its cube by the number of the frame: it is held when it is about to end, with
# its last frame on the screen.

FRAMES=60
CARD=$(echo /dev/dri/card?)
# It ends when there is something to read.
mkfifo "$WORK/key"
exec 4<>"$WORK/key"

# has_frames: whether it has drawn all its frames, and waits.
has_frames()
{
	grep -q '^exit_group(' "$WORK/strace.log"
}

# cube NAME ARGUMENT...: draws the frames and keeps the last one.
cube()
{
	cube_name=$1
	shift
	rm -f "$WORK/strace.log"
	# Longer than anybody looks.
	strace -o "$WORK/strace.log" -e trace=exit_group \
		-e inject=exit_group:delay_enter=600000000 \
		kmscube -D "$CARD" -c "$FRAMES" "$@" <&4 >"$WORK/kmscube.log" 2>&1 3>&- 5>&- &
	cube_strace=$!
	await 300 has_frames && is_virgl "$WORK/kmscube.log" && keep_frame "$cube_name"
	cube_status=$?
	cat "$WORK/strace.log" "$WORK/kmscube.log"
	pkill -KILL -x kmscube
	kill -KILL "$cube_strace"
	wait "$cube_strace"
	return "$cube_status"
}

# It draws as fast as it can, and says how fast that was.
speed()
{
	timeout 300 kmscube -D "$CARD" -c 200 <&4 >"$WORK/kmscube.log" 2>&1 3>&- 5>&-
	keep_lines kmscube-speed "$WORK/kmscube.log" '^Rendered 199 frames'
}

test_gl "kmscube's frame $FRAMES" cube kmscube
test_gl "kmscube's frame $FRAMES, with atomic commits" cube kmscube-atomic -A
test_gl "kmscube draws 200 frames" speed
finish "$WORK/kmscube.log"
