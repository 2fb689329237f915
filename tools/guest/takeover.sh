#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A device whose screen the firmware has set up: the firmware's console gives way to the driver's,
# and the screen is never black for long. A few looks may find it black, as the new console sets
# its mode before it draws its text. No scanout gets a resource before that is filled.
#
# BLACK_BEFORE and BLACK_AFTER are the CRCs of black pictures, of the size of either console.

# look NAME: sets `shown` to what the host says about the screen.
look()
{
	shown=$(ask screendump "$1") || exit 4
	case $shown in
	"$1 1024 768 $BLACK_BEFORE") exit 2 ;;
	"$1 1280 800 $BLACK_AFTER")
		black=$((black + 1))
		[ "$black" -le 5 ] || exit 3
		shown=black
		;;
	esac
}

black=0
grep -q simple /proc/fb || exit 5
for line in 1 2 3 4 5 6 7 8; do
	echo "line $line of the console" >/dev/tty1
done
look before
case $shown in
"before 1024 768 "*) ;;
*) exit 6 ;;
esac
ask watch || exit 8
modprobe rust-gpu &
number=0
taken=0
while [ "$taken" -lt 3 ]; do
	[ "$number" -lt 100 ] || exit 7
	look "$number"
	number=$((number + 1))
	case $shown in
	*" 1280 800 "*) taken=$((taken + 1)) ;;
	esac
done
wait
order=$(ask order)
case $order in
"order 0 0") exit 9 ;;
"order "*" 0") ;;
*) exit 10 ;;
esac
modprobe -r rust-gpu
