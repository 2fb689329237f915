#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# kmscube: Mesa draws a turning cube in software, and GBM gives its buffers to the screen, with
# legacy ioctls and with atomic commits.

# What it says when something goes wrong. It always complains that there are no modifiers.
COMPLAINT='^(failed|error|cannot|could not|no )'

# start ARGUMENT...: starts kmscube, which runs until it reads a character.
start()
{
	begin kmscube -D "$CARD" "$@"
}

# stop: ends it; it must not complain.
stop()
{
	end kmscube "$COMPLAINT"
}

# has_cube NAME: whether something coloured is in the middle of the grey background.
has_cube()
{
	ask screendump "$1" 0 || return
	has_cube_corner=$(ask pixel "$1" 3 3)
	has_cube_middle=$(ask pixel "$1" $((WIDTH / 2)) $((HEIGHT / 2)))
	echo "$has_cube_corner in the corner, $has_cube_middle in the middle"
	case ${has_cube_corner#"$1 "} in
	7f7f7f | 808080) ;;
	*) return 1 ;;
	esac
	[ "$has_cube_middle" != "$has_cube_corner" ]
}

# turns NAME: whether three pictures are different.
turns()
{
	look "$1"
	for _ in 1 2 3; do
		await 60 changed "$1" || return
	done
	has_cube "$1"
}

by_software()
{
	grep -E 'renderer: .*(llvmpipe|softpipe)' "$WORK/kmscube.log"
}

# frames COUNT: whether it ends on its own after so many frames.
frames()
{
	start -c "$1"
	await 120 is_over "$PID"
	over kmscube "$COMPLAINT"
}

# cube NAME ARGUMENT...: the tests of one of its modes.
cube()
{
	cube_name=$1
	shift
	start "$@"
	check "$cube_name: a cube" await 120 has_cube "$cube_name"
	check "$cube_name: it turns" turns "$cube_name"
	check "$cube_name: drawn by software" by_software
	check "$cube_name: it ends" stop
}

start_driver
MODE=$(best_mode 0)
WIDTH=${MODE%x*}
HEIGHT=${MODE#*x}
CARD=$(echo /dev/dri/card?)
check "there are two heads" plug 1 800 600
keep_console
cube old
cube atomic -A
check "30 frames" frames 30
check "the console is back" console_is_back
finish "$WORK/kmscube.all"
