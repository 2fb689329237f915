#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# modetest (libdrm-tests): its patterns on each head, with legacy ioctls and with atomic commits;
# its cursor, and its flips.

# start ARGUMENT...: starts modetest, which runs until it reads a character.
start()
{
	begin modetest -M virtio_gpu "$@"
}

# stop: ends it; it must not complain.
stop()
{
	end modetest 'fail|error|cannot|unable'
}

# Keeps the list of the objects.
list_all()
{
	modetest -M virtio_gpu -c -p >"$WORK/list"
}

# The ids of a head's objects in modetest's list.
connector_id()
{
	awk -v name="Virtual-$(($1 + 1))" '$4 == name { print $1 }' "$WORK/list"
}

crtc_id()
{
	awk -v nth="$1" '/^CRTCs:/ { seen = 1 }
		/^Planes:/ { seen = 0 }
		seen && /^[0-9]+\t/ && nth-- == 0 { print $1 }' "$WORK/list"
}

# The first plane of a head whose type is the primary one's, 1.
primary_id()
{
	awk -v mask="$(printf '0x%08x' $((1 << $1)))" '/^Planes:/ { seen = 1 }
		seen && /^[0-9]+\t/ { plane = $NF == mask ? $1 : 0; type = 0 }
		/^\t[0-9]+ / { type = $2 == "type:" }
		plane && type && $1 == "value:" && $2 == 1 { print plane }' "$WORK/list"
}

# smpte WIDTH HEIGHT FILE: the picture that modetest draws, three rows of colours as in its source.
smpte()
{
	awk -v width="$1" -v file="$3" '
		function row(name) {
			out = file "." name
			print "P3", width, 1, 255 >out
		}
		BEGIN {
			split("192 192 192,192 192 0,0 192 192,0 192 0,192 0 192,192 0 0," \
			      "0 0 192", top, ",")
			split("0 0 192,19 19 19,192 0 192,19 19 19,0 192 192,19 19 19," \
			      "192 192 192", middle, ",")
			split("0 33 76,255 255 255,50 0 106,19 19 19,9 9 9,19 19 19," \
			      "29 29 29,19 19 19", bottom, ",")
			row("1")
			for (x = 0; x < width; x++)
				print top[int(x * 7 / width) + 1] >out
			row("2")
			for (x = 0; x < width; x++)
				print middle[int(x * 7 / width) + 1] >out
			row("3")
			most = int(width * 5 / 7)
			more = int(width * 6 / 7)
			for (x = 0; x < width; x++) {
				i = 7
				if (x < most)
					i = int(x * 4 / most)
				else if (x < more)
					i = int((x - most) * 3 / int(width / 7)) + 4
				print bottom[i + 1] >out
			}
		}'
	{
		printf 'P6\n%d %d\n255\n' "$1" "$2"
		pnmtile "$1" $(($2 * 6 / 9)) "$3.1" | tail -n +4
		pnmtile "$1" $(($2 * 7 / 9 - $2 * 6 / 9)) "$3.2" | tail -n +4
		pnmtile "$1" $(($2 - $2 * 7 / 9)) "$3.3" | tail -n +4
	} >"$3"
}

# cursor_moves HEAD: whether the cursor of a head moves soon.
cursor_moves()
{
	cursor_was=$(ask cursor "$1")
	sleep 1
	cursor_is=$(ask cursor "$1")
	echo "$cursor_was; $cursor_is"
	case $cursor_is in
	"cursor move "*) [ "$cursor_was" != "$cursor_is" ] ;;
	*) false ;;
	esac
}

cursor_is_hidden()
{
	cursor_is=$(ask cursor "$1")
	echo "$cursor_is"
	[ "$cursor_is" = "cursor hide 0 0" ]
}

# flips: whether modetest has counted flips, at about the right frequency.
flips()
{
	grep '^freq: ' "$WORK/modetest.log"
}

# head_alone HEAD: the tests of one head.
head_alone()
{
	head_mode=$(best_mode "$1")
	head_width=${head_mode%x*}
	head_height=${head_mode#*x}
	head_pipe="$(connector_id "$1")@$(crtc_id "$1")"
	smpte "$head_width" "$head_height" "$WORK/smpte$1.ppm"

	start -s "$head_pipe:#0" -F smpte
	check "head $1: SMPTE bars, legacy ioctls" shows_soon "legacy-$1" "$1" "$WORK/smpte$1.ppm"
	check "head $1: it ends" stop

	start -a -s "$head_pipe:#0" -P "$(primary_id "$1")@$(crtc_id "$1"):$head_mode+0+0" \
		-F smpte
	check "head $1: SMPTE bars, atomic" shows_soon "atomic-$1" "$1" "$WORK/smpte$1.ppm"
	check "head $1: it ends" stop

	ask watch >"$WORK/watch"
	start -s "$head_pipe:#0" -F smpte -C
	check "head $1: SMPTE bars below a cursor" shows_soon "cursor-$1" "$1" \
		"$WORK/smpte$1.ppm"
	check "head $1: the cursor moves" await 20 cursor_moves "$1"
	check "head $1: it ends" stop
	check "head $1: the cursor is hidden" await 5 cursor_is_hidden "$1"

	start -s "$head_pipe:#0" -F smpte -v
	check "head $1: flips" await 60 flips
	check "head $1: it ends" stop
}

# Both heads show a part of one framebuffer each.
both()
{
	start -s "$(connector_id 0)@$(crtc_id 0):#0" -s "$(connector_id 1)@$(crtc_id 1):#0" -F smpte
	set -- "$(best_mode 0)" "$(best_mode 1)"
	smpte $((${1%x*} + ${2%x*})) $((${1#*x} > ${2#*x} ? ${1#*x} : ${2#*x})) "$WORK/both.ppm"
	pamcut -width "${1%x*}" -top 0 -height "${1#*x}" "$WORK/both.ppm" >"$WORK/both0.ppm"
	pamcut -left "${1%x*}" -width "${2%x*}" -top 0 -height "${2#*x}" "$WORK/both.ppm" \
		>"$WORK/both1.ppm"
	check "both heads: the left of the bars" shows_soon both-0 0 "$WORK/both0.ppm"
	check "both heads: the right of the bars" shows_soon both-1 1 "$WORK/both1.ppm"
	check "both heads: it ends" stop
}

start_driver
check "there are two heads" plug 1 800 600
keep_console
check "modetest lists what there is" list_all
head_alone 0
head_alone 1
both
check "the console is back" console_is_back
finish "$WORK/modetest.all"
