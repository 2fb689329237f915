#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What the scripts of programs with OpenGL share: a part of a guest's job, after clients/common.sh
# and before the program's own script (tools/frontdoor/virgl.py). A result that the host keeps is a
# line "@keep NAME: TEXT".
#
# VERSIONS are packages whose versions belong to the results.

# Whoever has no 3D, skips.
SKIP=

# keep NAME TEXT...: a result that the host keeps.
keep()
{
	keep_name=$1
	shift
	echo "@keep $keep_name: $*"
}

# test_gl NAME COMMAND...: as `check`, but skipped without 3D. Returns whether it is worth going on.
test_gl()
{
	if [ -n "$SKIP" ]; then
		COUNT=$((COUNT + 1))
		echo "ok $COUNT $1 # SKIP $SKIP"
		return 1
	fi
	# shellcheck disable=SC2154 # it is of `check`
	check "$@" && [ "$check_result" = ok ]
}

# keep_lines NAME FILE PATTERN: keeps the lines of a file that match; there has to be one.
keep_lines()
{
	grep -E "$3" "$2" >"$WORK/lines" || return 1
	while read -r keep_line; do
		keep "$1" "$keep_line" >&5
	done <"$WORK/lines"
}

# keep_frame NAME: keeps size and CRC of what the screen shows.
keep_frame()
{
	keep_frame=$(ask screendump "$1") || return 1
	echo "$keep_frame"
	keep "$1" "${keep_frame#"$1 "}" >&5
}

# The background of compositors.
BACKGROUND=204060

# has_background NAME: whether the screen has that colour, from corner to corner.
has_background()
{
	ask screendump "$1" && [ "$(ask pixel "$1" 0 0)" = "$1 $BACKGROUND" ] &&
		[ "$(ask pixel "$1" 1279 799)" = "$1 $BACKGROUND" ]
}

# background NAME: waits for it and keeps the frame.
background()
{
	await 120 has_background "$1" && keep_frame "$1"
}

# draws: whether weston-simple-egl draws on the compositor that runs. Every five seconds it says how
# many frames that were. A busy host takes long for the first ones, with shaders to be compiled.
draws()
{
	stdbuf -oL weston-simple-egl >"$WORK/egl.log" 2>&1 3>&- 5>&- &
	draws_pid=$!
	await 300 grep -E '^[1-9][0-9]* frames in' "$WORK/egl.log" && sleep 10 &&
		keep_lines weston-simple-egl-speed "$WORK/egl.log" '^[1-9][0-9]* frames in'
	draws_status=$?
	cat "$WORK/egl.log"
	kill -INT "$draws_pid"
	ends "$draws_pid" && return "$draws_status"
}

# start_glmark2 NAME: starts glmark2, which draws until it is ended. Its process is left in GLMARK2,
# and what it says in NAME.log.
start_glmark2()
{
	glmark2-es2-drm -b build:duration=1000 --off-screen >"$WORK/$1.log" 2>&1 3>&- 5>&- &
	# shellcheck disable=SC2034 # it is for the caller
	GLMARK2=$!
}

# glmark2_draws NAME: whether it has begun to draw.
glmark2_draws()
{
	is_virgl "$WORK/$1.log" && grep '^\[build\]' "$WORK/$1.log"
}

# put PLACE TEXT: writes bytes into the EDID, from a text for printf.
put()
{
	# shellcheck disable=SC2059 # that is what it is
	printf "$2" | dd of="$WORK/edid" bs=1 seek="$1" conv=notrunc status=none
}

# has_one_mode: whether the screen has no other mode.
has_one_mode()
{
	cat "$(connector 0)/modes"
	[ "$(cat "$(connector 0)/modes")" = 1280x800 ]
}

# one_mode: leaves the screen the first mode of its EDID: no established timings, no standard ones,
# one descriptor, no extension.
one_mode()
{
	dd if="$(connector 0)/edid" of="$WORK/edid" bs=128 count=1 status=none || return
	put 35 '\0\0\0'
	put 38 '\001\001\001\001\001\001\001\001\001\001\001\001\001\001\001\001'
	for descriptor in 72 90 108; do
		put "$descriptor" '\0\0\0\020\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
	done
	put 126 '\0'
	sum=0
	for byte in $(od -An -v -tu1 -N127 "$WORK/edid"); do
		sum=$((sum + byte))
	done
	put 127 "\\$(printf %03o $(((256 - sum % 256) % 256)))"
	# The driver reads it when the window has another size.
	cat "$WORK/edid" >/sys/kernel/debug/dri/0/Virtual-1/edid_override &&
		ask resize 1000 700 && sleep 3 && ask resize 1280 800 && await 30 has_one_mode
}

# is_virgl FILE: whether a program says that it draws with virgl.
is_virgl()
{
	grep -E '(renderer|RENDERER).*virgl' "$1"
}

# What a check prints becomes a comment; results that are kept do not.
exec 5>&1
start_driver
# This driver says so.
if dmesg | grep -q '3D is not driven'; then
	SKIP="this kernel was built without 3D"
fi
# shellcheck disable=SC2086 # these are words
[ -n "$SKIP" ] || dpkg-query -W -f '@version ${Package} ${Version}\n' $VERSIONS
