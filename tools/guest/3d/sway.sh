#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Sway draws with OpenGL ES by wlroots: its background, a terminal, whose pixels come from memory,
# and a client that draws with OpenGL itself.

export XDG_RUNTIME_DIR=/run/clients LIBSEAT_BACKEND=seatd
export WLR_RENDERER=gles2 WLR_LIBINPUT_NO_DEVICES=1
mkdir -m 700 "$XDG_RUNTIME_DIR"
cat >"$WORK/sway.conf" <<'END'
output * bg #204060 solid_color
default_border none
seat * hide_cursor 1000
END

start_sway()
{
	seatd -g root >"$WORK/seatd.log" 2>&1 3>&- 5>&- &
	await 30 test -S /run/seatd.sock || return
	sway --verbose --config "$WORK/sway.conf" >"$WORK/sway.log" 2>&1 3>&- 5>&- &
	SWAY=$!
	# With it Sway would be a client itself.
	export WAYLAND_DISPLAY=wayland-1
	await 300 test -S "$XDG_RUNTIME_DIR/$WAYLAND_DISPLAY" &&
		await 60 grep -E 'GL renderer: .*virgl' "$WORK/sway.log" || return
	# Without time and place in front.
	sed 's/^.*\] GL /GL /' "$WORK/sway.log" >"$WORK/sway.lines"
	keep_lines sway "$WORK/sway.lines" '^GL renderer:'
}

# has_terminal: whether something else than the background is on all of the screen.
has_terminal()
{
	ask screendump sway-foot && has_terminal=$(ask pixel sway-foot 1279 799) &&
		[ "$has_terminal" != "sway-foot $BACKGROUND" ] &&
		[ "$has_terminal" = "$(ask pixel sway-foot 0 799)" ]
}

# It shows a line of text, and no cursor.
terminal()
{
	foot sh -c 'printf "\033[?25lrust_gpu"; exec sleep 1000' >"$WORK/foot.log" 2>&1 3>&- 5>&- &
	terminal_pid=$!
	await 120 has_terminal && sleep 5 && keep_frame sway-foot
	terminal_status=$?
	cat "$WORK/foot.log"
	kill "$terminal_pid"
	wait "$terminal_pid"
	return "$terminal_status"
}

stop_sway()
{
	kill "$SWAY" && ends "$SWAY"
}

test_gl "Sway draws with virgl" start_sway && {
	test_gl "Sway's frame" background sway-frame && test_gl "foot's frame" terminal
	test_gl "weston-simple-egl draws" draws
	test_gl "Sway ends" stop_sway
}
finish "$WORK/sway.log"
