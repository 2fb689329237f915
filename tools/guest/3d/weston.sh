#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Weston draws with OpenGL, without panel, clock and pointer: a program that stands still fills the
# screen.

export XDG_RUNTIME_DIR=/run/clients WAYLAND_DISPLAY=wayland-clients LIBSEAT_BACKEND=seatd
mkdir -m 700 "$XDG_RUNTIME_DIR"

start_weston()
{
	seatd -g root >"$WORK/seatd.log" 2>&1 3>&- 5>&- &
	await 30 test -S /run/seatd.sock || return
	weston --backend=drm --renderer=gl --shell=kiosk --continue-without-input \
		--socket="$WAYLAND_DISPLAY" --log="$WORK/weston.log" >"$WORK/output" 2>&1 3>&- 5>&- &
	WESTON=$!
	await 300 grep -q "Output 'Virtual-1' enabled" "$WORK/weston.log" &&
		await 300 test -S "$XDG_RUNTIME_DIR/$WAYLAND_DISPLAY" &&
		grep -E 'GL renderer: .*virgl' "$WORK/weston.log" || return
	# Without the time in front.
	sed 's/^\[[^]]*\] *//' "$WORK/weston.log" >"$WORK/weston.lines"
	keep_lines weston "$WORK/weston.lines" '^GL (renderer|version):'
}

# at_rest: whether the screen shows something else than before, and that for a while.
at_rest()
{
	at_rest_is=$(ask screendump still) && [ "$at_rest_is" != "$EMPTY" ] && sleep 3 &&
		[ "$at_rest_is" = "$(ask screendump still)" ]
}

# still: the frame with a window that stands still.
still()
{
	EMPTY=$(ask screendump still) || return
	weston-resizor >"$WORK/window.log" 2>&1 3>&- 5>&- &
	still_window=$!
	await 120 at_rest && keep_frame weston-frame
	still_status=$?
	kill "$still_window"
	return "$still_status"
}

# It says how many frames it has drawn, when it ends.
draws()
{
	timeout -s INT 40 weston-simple-egl >"$WORK/egl.log" 2>&1 3>&- 5>&-
	cat "$WORK/egl.log"
	keep_lines weston-simple-egl-speed "$WORK/egl.log" '^[1-9][0-9]* frames in'
}

stop_weston()
{
	kill "$WESTON" && ends "$WESTON"
}

test_gl "Weston draws with virgl" start_weston
test_gl "Weston's frame" still
test_gl "weston-simple-egl draws" draws
test_gl "Weston ends" stop_weston
finish "$WORK/weston.log" "$WORK/output" "$WORK/window.log"
