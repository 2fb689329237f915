#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Weston draws with OpenGL, without panel, clock and pointer. WESTON_INI is the text of that file.

export XDG_RUNTIME_DIR=/run/clients WAYLAND_DISPLAY=wayland-clients LIBSEAT_BACKEND=seatd
mkdir -m 700 "$XDG_RUNTIME_DIR"
printf '%s\n' "$WESTON_INI" >"$WORK/weston.ini"

start_weston()
{
	seatd -g root >"$WORK/seatd.log" 2>&1 3>&- 5>&- &
	await 30 test -S /run/seatd.sock || return
	weston --backend=drm --renderer=gl --config="$WORK/weston.ini" --continue-without-input \
		--socket="$WAYLAND_DISPLAY" --log="$WORK/weston.log" >"$WORK/output" 2>&1 3>&- 5>&- &
	WESTON=$!
	await 300 grep -q "Output 'Virtual-1' enabled" "$WORK/weston.log" &&
		await 300 test -S "$XDG_RUNTIME_DIR/$WAYLAND_DISPLAY" &&
		grep -E 'GL renderer: .*virgl' "$WORK/weston.log" || return
	# Without the time in front.
	sed 's/^\[[^]]*\] *//' "$WORK/weston.log" >"$WORK/weston.lines"
	keep_lines weston "$WORK/weston.lines" '^GL (renderer|version):'
}

stop_weston()
{
	kill "$WESTON" && ends "$WESTON"
}

test_gl "Weston draws with virgl" start_weston
test_gl "Weston's frame" background weston-frame
test_gl "weston-simple-egl draws" draws
test_gl "Weston ends" stop_weston
finish "$WORK/weston.log" "$WORK/output"
