#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# glmark2: what it says of three scenes, and their speed, off the screen and on it. Without being
# told it takes colours with alpha, in which no framebuffer of the screen is, and the largest mode
# (5120x2160), for which a CPU takes long.

SCENES="-b build:duration=5 -b texture:duration=5 -b shading:duration=5"
COLOURS=red=8:green=8:blue=8:alpha=0:buffer=24

# run ARGUMENT...: runs the scenes.
run()
{
	# shellcheck disable=SC2086 # these are words
	timeout -k 10 600 glmark2-es2-drm $SCENES --visual-config "$COLOURS" "$@" \
		>"$WORK/glmark2.log" 2>&1 3>&- 5>&-
	echo "it returned $?"
	cat "$WORK/glmark2.log"
	is_virgl "$WORK/glmark2.log" && ! grep '^Error' "$WORK/glmark2.log"
}

# validates NAME ARGUMENT...: keeps what it says of its pictures.
validates()
{
	validates_name=$1
	shift
	run --validate "$@" && [ "$(grep -c 'Validation: ' "$WORK/glmark2.log")" = 3 ] &&
		grep -q '^\[build\].*Validation: Success' "$WORK/glmark2.log" &&
		keep_lines "$validates_name" "$WORK/glmark2.log" '^\[.*Validation:' &&
		keep_lines "$validates_name" "$WORK/glmark2.log" 'Surface Size:'
}

# speed NAME ARGUMENT...: keeps how fast it is.
speed()
{
	speed_name=$1
	shift
	run "$@" && [ "$(grep -c 'FPS: [1-9]' "$WORK/glmark2.log")" = 3 ] &&
		keep_lines "$speed_name" "$WORK/glmark2.log" '^\[.*FPS:'
}

# A picture of what it draws, for people: which frame that is differs.
look_at()
{
	await 120 grep '^\[build\]' "$WORK/glmark2.log" && sleep 4 && ask screendump glmark2
}

# on_screen: the speed on the screen, and a picture meanwhile.
on_screen()
{
	: >"$WORK/glmark2.log"
	look_at &
	on_screen_pid=$!
	speed glmark2-screen-speed
	on_screen_status=$?
	wait "$on_screen_pid" && return "$on_screen_status"
}

test_gl "a screen with one mode" one_mode
test_gl "glmark2 looks at three scenes" validates glmark2 --off-screen
test_gl "glmark2 draws three scenes" speed glmark2-speed --off-screen
test_gl "glmark2 looks at three scenes on the screen" validates glmark2-screen
test_gl "glmark2 draws three scenes on the screen" on_screen
finish "$WORK/glmark2.log"
