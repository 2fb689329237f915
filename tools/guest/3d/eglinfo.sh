#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# eglinfo: what Mesa finds on the card itself (GBM).

run_eglinfo()
{
	timeout 300 eglinfo -B >"$WORK/all.log" 2>&1
	cat "$WORK/all.log"
	awk '/platform:$/ { on = /GBM/ }
		on' "$WORK/all.log" >"$WORK/eglinfo.log"
	is_virgl "$WORK/eglinfo.log"
}

test_gl "eglinfo names virgl" run_eglinfo &&
	keep_lines eglinfo "$WORK/eglinfo.log" \
		'^(EGL (driver name|version string)|OpenGL.*(renderer|version))'
finish "$WORK/eglinfo.log"
