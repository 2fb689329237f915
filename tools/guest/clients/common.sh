#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What the scripts of all clients share: a part of a guest's job, before the client's own script and
# after ask.sh (tools/frontdoor/clients.py). Results are TAP.
#
# MODULES are the driver, MINUTES is how long a session lasts, WESTON_INI the text of that file.

COUNT=0
FAILED=0
WORK=/tmp/clients
mkdir -p "$WORK"

# check NAME COMMAND...: one result. What the command prints becomes comments.
check()
{
	check_name=$1
	check_result=ok
	shift
	"$@" >"$WORK/check" 2>&1 || {
		check_result="not ok"
		FAILED=1
	}
	COUNT=$((COUNT + 1))
	sed 's/^/# /' "$WORK/check"
	echo "$check_result $COUNT $check_name"
}

# finish FILE...: ends the results, and prints logs of the client if something failed.
finish()
{
	for finish_file in "$@"; do
		[ "$FAILED" = 0 ] || sed "s|^|# ${finish_file##*/}: |" "$finish_file"
	done
	echo "1..$COUNT"
}

# await SECONDS COMMAND...: whether the command succeeds within some time. If it does not, prints
# what the command has printed last.
await()
{
	await_end=$(($(date +%s) + $1))
	shift
	until "$@" >"$WORK/await" 2>&1; do
		if [ "$(date +%s)" -ge "$await_end" ]; then
			cat "$WORK/await"
			echo "it took too long: $*"
			return 1
		fi
		sleep 0.5
	done
}

# is_over PID: whether a child of this shell has ended.
is_over()
{
	[ ! -e "/proc/$1" ] || grep -q '^State:.*Z' "/proc/$1/status"
}

# ends PID [STATUS]: whether a child ends soon, with this status or with 0.
ends()
{
	if ! await 120 is_over "$1"; then
		kill -KILL "$1"
		return 1
	fi
	wait "$1"
	ends_status=$?
	[ "$ends_status" = "${2-0}" ] || {
		echo "it returned $ends_status"
		return 1
	}
}

# begin PROGRAM ARGUMENT...: starts a program that runs until it reads a character.
begin()
{
	rm -f "$WORK/key"
	mkfifo "$WORK/key"
	"$@" <"$WORK/key" >"$WORK/$1.log" 2>&1 3>&- &
	PID=$!
	exec 4>"$WORK/key"
}

# over PROGRAM PATTERN: whether it ends on its own, with no line in its log that matches.
over()
{
	exec 4>&-
	ends "$PID" || return
	cat "$WORK/$1.log" >>"$WORK/$1.all"
	if grep -i -E "$2" "$WORK/$1.log"; then
		return 1
	fi
}

# end PROGRAM PATTERN: the same, after it got its character.
end()
{
	echo >&4
	over "$@"
}

start_driver()
{
	# shellcheck disable=SC2086 # these are words
	modprobe -a $MODULES || exit
	modprobe -a i8042 atkbd psmouse evdev
	/usr/lib/systemd/systemd-udevd --daemon 3>&-
	udevadm trigger --subsystem-match=drm --subsystem-match=input
	udevadm settle --timeout=300
}

# connector HEAD: its directory in sysfs.
connector()
{
	echo /sys/class/drm/card?-Virtual-$(($1 + 1))
}

# best_mode HEAD: the first mode of its connector, as WIDTHxHEIGHT.
best_mode()
{
	best_connector=$(connector "$1")
	echo detect >"$best_connector/status"
	head -n 1 "$best_connector/modes"
}

has_mode()
{
	has_mode=$(best_mode "$1")
	echo "head $1 has $has_mode"
	[ "$has_mode" = "$2" ]
}

# plug HEAD WIDTH HEIGHT: gives a head a size, whether it has one or not.
plug()
{
	ask resize "$2" "$3" "$1" && await 30 has_mode "$1" "$2x$3"
}

# size FILE: width and height of a PPM file.
size()
{
	head -n 2 "$1" | tail -n 1
}

# crc FILE: the CRC-32 of its pixels, which gzip writes near the end of its output.
crc()
{
	tail -n +4 "$1" | gzip -1 | tail -c 8 | od -An -v -N4 -tx4 | tr -d ' '
}

# explain NAME FILE: says in which parts a head's last picture differs from a file.
explain()
{
	# shellcheck disable=SC2046 # two words
	set -- "$1" "$2" $(size "$2")
	explain_rows=$(($4 / 20))
	explain_top=0
	while [ $((explain_top + explain_rows)) -le "$4" ]; do
		pamcut -top $explain_top -height $explain_rows "$2" >"$WORK/part"
		explain_is=$(ask crc "$1" 0 $explain_top "$3" $explain_rows)
		[ "$explain_is" = "$1 $(crc "$WORK/part")" ] ||
			echo "rows from $explain_top to $((explain_top + explain_rows)) differ"
		explain_top=$((explain_top + explain_rows))
	done
}

# shows NAME HEAD FILE: whether the head shows exactly what is in a PPM file.
shows()
{
	shows_is=$(ask screendump "$1" "$2") || return 1
	shows_want="$1 $(size "$3") $(crc "$3")"
	[ "$shows_is" != "$shows_want" ] || return 0
	echo "head $2 shows $shows_is, and not $shows_want"
	return 1
}

# shows_soon NAME HEAD FILE: the same, but it may take a while.
shows_soon()
{
	await 60 shows "$@" || {
		explain "$1" "$3"
		return 1
	}
}

# has_size HEAD WIDTH HEIGHT: whether the head's picture has that size.
has_size()
{
	has_size=$(ask screendump size "$1") || return 1
	echo "head $1 shows $has_size"
	case $has_size in
	"size $2 $3 "*) ;;
	*) return 1 ;;
	esac
}

# pictures NAME: what both heads show.
pictures()
{
	ask screendump "$1-0" 0 && ask screendump "$1-1" 1
}

# agrees NAME: whether both heads, side by side, show the client's own picture of the whole screen,
# which its function `shot` takes. Waits for a moment in which nothing moves.
agrees()
{
	for agrees_try in 1 2 3 4 5 6 7 8; do
		agrees_shows=$(pictures "$1") || return 1
		shot "$WORK/shot.ppm" || return 1
		[ "$agrees_shows" != "$(pictures "$1")" ] || break
		[ "$agrees_try" != 8 ] || {
			echo "the picture keeps changing"
			return 1
		}
		sleep 1
	done
	agrees_left=0
	agrees_head=0
	# Not in a pipeline, whose commands are subshells.
	echo "$agrees_shows" >"$WORK/agrees"
	while read -r agrees_name agrees_width agrees_height agrees_crc; do
		pamcut -left "$agrees_left" -width "$agrees_width" -top 0 -height "$agrees_height" \
			"$WORK/shot.ppm" >"$WORK/head.ppm" || return 1
		if [ "$(crc "$WORK/head.ppm")" != "$agrees_crc" ]; then
			ask screendump "$agrees_name" "$agrees_head"
			explain "$agrees_name" "$WORK/head.ppm"
			return 1
		fi
		agrees_left=$((agrees_left + agrees_width))
		agrees_head=$((agrees_head + 1))
	done <"$WORK/agrees"
}

# look NAME: keeps what both heads show, for `changed`.
look()
{
	SHOWN=$(pictures "$1")
}

# changed NAME: whether a head shows something else than at the last `look` or `changed`.
changed()
{
	changed_is=$(pictures "$1") || return 1
	echo "$changed_is"
	[ "$changed_is" != "$SHOWN" ] && SHOWN=$changed_is
}

# recoveries: how often the driver has reset the device because it hung.
recoveries()
{
	sed -n 's/^recoveries: //p' /sys/kernel/debug/rust_gpu/*/watchdog
}

# was_reset COUNT: whether that is more often by now. The pointer moves, so that the device gets a
# command: the driver looks at a device that has something to do.
was_reset()
{
	ask mouse 3 2
	[ "$(recoveries)" -gt "$1" ]
}

# lose_state: takes the bus from the device, which then forgets all that it was told (QEMU does that),
# until the driver has reset it.
lose_state()
{
	lose_before=$(recoveries)
	# The command register, with memory and I/O.
	printf '\003' | dd of="$(echo /sys/class/drm/card?/device/config)" bs=1 seek=4 conv=notrunc &&
		await 30 was_reset "$lose_before"
}

# is_ours: whether the driver is this one, which survives the device.
is_ours()
{
	[ "$MODULES" = rust_gpu ]
}

# survives: whether the screens are right after each of five resets, and a new size of the window is
# on them afterwards.
survives()
{
	for survives_round in 1 2 3 4 5; do
		lose_state && agrees reset && resized "$survives_round" || return
	done
}

# console NAME: writes to the console, and prints what the first head shows then.
console()
{
	printf '\033c\033[?25lrust_gpu' >/dev/tty1
	sleep 2
	ask screendump "$1" 0
}

# keep_console: keeps what the console shows before the client starts.
keep_console()
{
	CONSOLE=$(console console-before)
}

# console_is_back: whether the console shows the same again.
console_is_back()
{
	console_is=$(console console-after)
	echo "$CONSOLE; $console_is"
	[ "${CONSOLE#* }" = "${console_is#* }" ]
}

# session COMMAND...: repeats the command for MINUTES, with the number of the round.
session()
{
	session_end=$(($(date +%s) + MINUTES * 60))
	session_round=0
	while [ "$(date +%s)" -lt "$session_end" ]; do
		session_round=$((session_round + 1))
		"$@" "$session_round" || {
			echo "in round $session_round"
			return 1
		}
	done
	echo "$session_round rounds in $MINUTES minutes"
}
