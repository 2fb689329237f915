#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Weston on two heads, with a window that is resized. It uses atomic commits. It draws the pointer
# itself: the kernel hides the cursor plane from atomic clients that do not know hot spots.

export XDG_RUNTIME_DIR=/run/clients WAYLAND_DISPLAY=wayland-clients LIBSEAT_BACKEND=seatd
mkdir -m 700 "$XDG_RUNTIME_DIR"

printf '%s\n' "$WESTON_INI" >"$WORK/weston.ini"

# shot FILE: Weston's own picture.
shot()
{
	rm -rf "$WORK/shots"
	mkdir "$WORK/shots"
	XDG_PICTURES_DIR="$WORK/shots" timeout 120 weston-screenshooter &&
		pngtopam "$WORK"/shots/*.png >"$1"
}

# Weston and its seat manager, which gives it the card and the input.
start_weston()
{
	seatd -g root >"$WORK/seatd.log" 2>&1 3>&- &
	SEATD=$!
	await 30 test -S /run/seatd.sock || return
	weston --backend=drm --renderer=pixman --debug --config="$WORK/weston.ini" \
		--socket="$WAYLAND_DISPLAY" --log="$WORK/weston.log" >"$WORK/output" 2>&1 3>&- &
	WESTON=$!
	await 300 grep -q "Output 'Virtual-1' enabled" "$WORK/weston.log" &&
		await 300 grep -q "Output 'Virtual-2' enabled" "$WORK/weston.log" &&
		await 300 test -S "$XDG_RUNTIME_DIR/$WAYLAND_DISPLAY"
}

start_window()
{
	weston-resizor >"$WORK/window.log" 2>&1 3>&- &
	WINDOW=$!
}

# replug WIDTH HEIGHT: unplugs the second monitor and plugs one of another size in. Weston ignores a
# monitor that only changes.
replug()
{
	ask unplug 1 && await 60 grep -q disabled "$(connector 1)/enabled" &&
		ask resize "$1" "$2" 1 && await 60 has_size 1 "$1" "$2"
}

# Whether Weston keeps the mode when a monitor only asks for another size.
ignores_wish()
{
	ask resize 1100 700 0 && sleep 3 && agrees wish && has_size 0 1280 800 &&
		grep 'monitor change' "$WORK/weston.log" && ask resize 1280 800 0
}

# resized ROUND: gives the window another size and checks the picture; from time to time the monitor
# gets another size too.
resized()
{
	case $(($1 % 20)) in
	9) replug 1024 768 || return ;;
	19) replug 800 600 || return ;;
	esac
	look round
	case $(($1 % 4)) in
	0) ask key right ;;
	1) ask key down ;;
	2) ask key left ;;
	3) ask key up ;;
	esac
	# While it moves.
	ask mouse 9 7
	await 60 changed round && agrees round
}

# Escape ends the window.
close_window()
{
	ask key esc && ends "$WINDOW"
}

stop_weston()
{
	kill "$WESTON" && ends "$WESTON"
}

stop_seatd()
{
	kill "$SEATD" && ends "$SEATD"
}

start_driver
check "there are two heads" plug 1 800 600
keep_console
check "Weston starts on both heads" start_weston
check "its background is on both heads" await 120 agrees background
look shown
start_window
check "a window is on the screen" await 60 changed window
check "the screen shows Weston's picture" agrees window
check "a monitor that asks for another size is ignored" ignores_wish
check "the monitor is exchanged" replug 1024 768
check "the screen shows Weston's picture" agrees exchanged
check "the monitor is exchanged again" replug 800 600
check "for $MINUTES minutes each new size of the window is on the screen" session resized
is_ours && check "it goes on after each of five resets of the device" survives
check "the window ends" close_window
check "Weston ends" stop_weston
check "seatd ends" stop_seatd
check "the console is back" console_is_back
finish "$WORK/weston.log" "$WORK/window.log" "$WORK/seatd.log"
