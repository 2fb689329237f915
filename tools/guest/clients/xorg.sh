#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Xorg with its modesetting driver on two heads, with a window that is resized. It uses legacy
# ioctls, also for its cursor, which has a hot spot.

export DISPLAY=:0

# A cursor with a known hot spot.
HOT_X=5
HOT_Y=7
cat >"$WORK/cursor.xbm" <<END
#define cursor_width 16
#define cursor_height 16
#define cursor_x_hot $HOT_X
#define cursor_y_hot $HOT_Y
static unsigned char cursor_bits[] = {
 0xff, 0xff, 0x01, 0x80, 0x01, 0x80, 0x01, 0x80, 0x01, 0x80, 0x01, 0x80, 0x01, 0x80, 0x01, 0x80,
 0x01, 0x80, 0x01, 0x80, 0x01, 0x80, 0x01, 0x80, 0x01, 0x80, 0x01, 0x80, 0x01, 0x80, 0xff, 0xff };
END

# shot FILE: the server's own picture, which is without the cursor.
shot()
{
	xwd -silent -root | xwdtopnm >"$1" 2>"$WORK/xwdtopnm.log"
}

start_xorg()
{
	Xorg "$DISPLAY" -noreset -nolisten tcp -s 0 -dpms -logfile "$WORK/Xorg.log" \
		>"$WORK/server.log" 2>&1 3>&- &
	XORG=$!
	await 300 xset q
}

# Both heads, side by side, with a cursor.
set_up()
{
	xrandr --output Virtual-1 --auto --output Virtual-2 --auto --right-of Virtual-1 &&
		xsetroot -solid '#204060' &&
		xsetroot -cursor "$WORK/cursor.xbm" "$WORK/cursor.xbm" &&
		await 60 has_size 1 800 600
}

# cursor_at HEAD X Y: whether the last command for the head's cursor has put it there.
cursor_at()
{
	cursor_is=$(ask cursor "$1")
	echo "head $1: $cursor_is, should be at $2 $3"
	case $cursor_is in
	"cursor update $2 $3" | "cursor move $2 $3") ;;
	*) return 1 ;;
	esac
}

# pointer_moves HEAD X Y LEFT: moves the pointer to X Y of the head that begins at LEFT, and checks
# where the host has the cursor then.
pointer_moves()
{
	xdotool mousemove $(($2 + $4)) "$3" &&
		await 20 cursor_at "$1" $(($2 - HOT_X)) $(($3 - HOT_Y))
}

# Whether a viewer gets the cursor with its hot spot.
pointer_is_hot()
{
	pointer_is=$(ask pointer "$1")
	echo "$pointer_is"
	case $pointer_is in
	"pointer 64 64 $HOT_X $HOT_Y "*) ;;
	*) return 1 ;;
	esac
}

# Whether the host's mouse moves the cursor.
mouse_moves()
{
	xdotool mousemove 300 300 && ask mouse 40 30 && sleep 2 || return
	mouse_x=$(xdotool getmouselocation --shell | sed -n 's/^X=//p')
	mouse_y=$(xdotool getmouselocation --shell | sed -n 's/^Y=//p')
	echo "the mouse is at $mouse_x,$mouse_y"
	[ "$mouse_x" -gt 300 ] && [ "$mouse_y" -gt 300 ] &&
		await 20 cursor_at 0 $((mouse_x - HOT_X)) $((mouse_y - HOT_Y))
}

# A program that draws its window again in each size.
start_window()
{
	xlogo -geometry 200x200+100+100 >"$WORK/window.log" 2>&1 3>&- &
	WINDOW=$!
	await 30 xdotool search --class xlogo
	ID=$(xdotool search --class xlogo | tail -n 1)
	[ -n "$ID" ]
}

# new_mode WIDTH HEIGHT: the second screen asks for another size, and X sets it.
new_mode()
{
	ask resize "$1" "$2" 1 && await 30 xrandr_offers "$1x$2" &&
		xrandr --output Virtual-2 --auto --right-of Virtual-1 &&
		await 30 has_size 1 "$1" "$2"
}

# Whether it is the preferred mode of the second head.
xrandr_offers()
{
	xrandr -q >"$WORK/xrandr" && awk -v mode="$1" '/^Virtual-2/ { seen = 1; next }
		/^[^ ]/ { seen = 0 }
		seen && $1 == mode && /\+/ { found = 1 }
		END { exit !found }' "$WORK/xrandr"
}

# resized ROUND: gives the window another size and place, on one head, the other or both; from time
# to time the second head gets another mode.
resized()
{
	case $(($1 % 20)) in
	9) new_mode 1024 768 || return ;;
	19) new_mode 800 600 || return ;;
	esac
	look round
	# Many sizes in a row; the last one stays.
	for resized_step in 1 2 3 4 5 6 7 8; do
		resized_number=$(($1 * 8 + resized_step))
		xdotool windowsize "$ID" $((100 + resized_number * 37 % 700)) \
			$((100 + resized_number * 53 % 400)) \
			windowmove "$ID" $((resized_number * 71 % 1400)) \
			$((resized_number * 29 % 300)) \
			mousemove $((resized_number * 89 % 2000)) $((resized_number * 43 % 600)) ||
			return
	done
	await 60 changed round && agrees round
}

# Only a signal ends it.
stop_window()
{
	kill "$WINDOW" && ends "$WINDOW" 143
}

stop_xorg()
{
	kill "$XORG" && ends "$XORG"
}

# Whether its log has no errors, apart from the missing D-Bus and drivers that Debian has in other
# packages.
no_errors()
{
	! grep '(EE)' "$WORK/Xorg.log" |
		grep -v 'warning, (EE) error\|dbus-core\|module does not exist'
}

start_driver
check "there are two heads" plug 1 800 600
keep_console
check "Xorg starts" start_xorg
check "it has both heads" set_up
check "the screen shows its picture" agrees background
ask watch >"$WORK/watch"
check "the cursor follows the pointer on head 0" pointer_moves 0 123 234 0
check "the cursor has its hot spot" pointer_is_hot 0
check "the cursor follows the pointer at the edge" pointer_moves 0 1 2 0
check "the cursor follows the pointer on head 1" pointer_moves 1 345 456 1280
check "the cursor has its hot spot there" pointer_is_hot 1
check "the cursor follows the mouse" mouse_moves
look shown
check "a window opens" start_window
check "it is on the screen" await 60 changed window
check "the screen shows the same picture" agrees window
check "the second head has another mode" new_mode 1024 768
check "the screen shows the same picture" agrees mode
check "the second head has the first mode again" new_mode 800 600
check "for $MINUTES minutes each new size of the window is on the screen" session resized
is_ours && check "it goes on after each of five resets of the device" survives
check "the cursor follows the pointer still" pointer_moves 0 321 432 0
check "the window ends" stop_window
check "Xorg ends" stop_xorg
check "its log has no errors" no_errors
check "the console is back" console_is_back
finish "$WORK/Xorg.log" "$WORK/server.log" "$WORK/window.log"
