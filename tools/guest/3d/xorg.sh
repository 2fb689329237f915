#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Xorg with glamor, and programs that draw with GLX.

export DISPLAY=:0

start_xorg()
{
	Xorg "$DISPLAY" -noreset -nolisten tcp -s 0 -dpms -logfile "$WORK/Xorg.log" \
		>"$WORK/server.log" 2>&1 3>&- 5>&- &
	XORG=$!
	await 300 xset q && grep -E 'glamor X acceleration enabled on virgl' "$WORK/Xorg.log"
}

has_glx()
{
	timeout 120 glxinfo -B >"$WORK/glxinfo.log" 2>&1
	cat "$WORK/glxinfo.log"
	is_virgl "$WORK/glxinfo.log" &&
		keep_lines glxinfo "$WORK/glxinfo.log" '^ *(direct rendering|OpenGL (renderer|version))'
}

frame()
{
	xsetroot -solid '#204060' && sleep 5 && keep_frame xorg-frame
}

gears()
{
	timeout 30 glxgears >"$WORK/gears.log" 2>&1 3>&- 5>&-
	cat "$WORK/gears.log"
	keep_lines glxgears-speed "$WORK/gears.log" '^[1-9][0-9]* frames in'
}

stop_xorg()
{
	kill "$XORG" && ends "$XORG"
}

test_gl "Xorg draws with glamor on virgl" start_xorg
test_gl "Xorg's frame" frame
test_gl "GLX is virgl" has_glx
test_gl "glxgears draws" gears
test_gl "Xorg ends" stop_xorg
finish "$WORK/Xorg.log" "$WORK/server.log"
