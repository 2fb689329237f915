#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# glmark2: what it says of three scenes, and their speed. It takes the largest mode, 5120x2160, for
# which it knows not all that is right. Not on the screen: with that size it is refused there.

SCENES="-b build:duration=5 -b texture:duration=5 -b shading:duration=5"

# run ARGUMENT...: runs the scenes.
run()
{
	# shellcheck disable=SC2086 # these are words
	timeout 600 glmark2-es2-drm $SCENES --off-screen "$@" >"$WORK/glmark2.log" 2>&1 3>&- 5>&-
	cat "$WORK/glmark2.log"
	is_virgl "$WORK/glmark2.log"
}

validates()
{
	run --validate && [ "$(grep -c 'Validation: ' "$WORK/glmark2.log")" = 3 ] &&
		grep -q '^\[build\].*Validation: Success' "$WORK/glmark2.log" &&
		keep_lines glmark2 "$WORK/glmark2.log" '^\[.*Validation:'
}

speed()
{
	run && [ "$(grep -c 'FPS: [1-9]' "$WORK/glmark2.log")" = 3 ] &&
		keep_lines glmark2-speed "$WORK/glmark2.log" '^\[.*FPS:'
}

test_gl "glmark2 looks at three scenes" validates
test_gl "glmark2 draws three scenes" speed
finish "$WORK/glmark2.log"
