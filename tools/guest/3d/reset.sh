#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# glmark2 draws while the device loses all that it knows: a client that is started after that draws
# as ever. The C driver does not survive this: it gives what is right without it.
#
# ROUNDS is how often.

# under_way: whether glmark2 draws for a while when the device is reset, and dies when it has to.
under_way()
{
	start_glmark2 glmark2
	await 300 glmark2_draws glmark2 && sleep 3 && { ! is_ours || lose_state; }
	under_way_status=$?
	sleep 3
	if is_over "$GLMARK2"; then
		echo "glmark2 has ended"
	else
		kill -KILL "$GLMARK2"
		await 60 is_over "$GLMARK2" || return
	fi
	wait "$GLMARK2"
	# Its last line has no end.
	echo "it returned $?: $(tail -n 20 "$WORK/glmark2.log")"
	return "$under_way_status"
}

# again: whether a client that is started now draws what is right.
again()
{
	timeout -k 10 300 glmark2-es2-drm -b build:duration=2 --off-screen --validate \
		>"$WORK/glmark2.log" 2>&1 3>&- 5>&-
	echo "it returned $?"
	cat "$WORK/glmark2.log"
	is_virgl "$WORK/glmark2.log" &&
		keep_lines "reset-$round" "$WORK/glmark2.log" '^\[build\].*Validation: Success'
}

test_gl "a screen with one mode" one_mode
round=1
while [ "$round" -le "$ROUNDS" ]; do
	test_gl "round $round: a reset under glmark2" under_way
	test_gl "round $round: glmark2 draws again" again
	round=$((round + 1))
done
finish "$WORK/glmark2.log"
