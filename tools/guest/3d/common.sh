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
