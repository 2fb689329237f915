#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest ends as $END says: it halts, or its power goes off. The host looks at its screen before
# and after that. A line of the console that is written just before has to be there.

# draw TEXT: what the console shows; the text is the first line, on blue.
draw()
{
	printf '\033[2J\033[H%s' "$1" >/dev/tty1
}

# await COLOUR: waits until the host sees a colour in the first line, right of the text.
await()
{
	for try in 1 2 3 4 5 6 7 8 9 10; do
		ask screendump now >/dev/null || return 1
		[ "$(ask pixel now 600 8)" = "now $1" ] && return 0
		[ "$try" -eq 10 ] || sleep 0.5
	done
	return 1
}

modprobe rust-gpu
ask trace virtio_set_status || exit 1
# Of the kernel only warnings: other messages would come between.
echo 5 >/proc/sys/kernel/printk
LINE=$(printf '\033[44mThe last line.\033[K\033[m')
draw "$LINE" && await 0000aa && ask screendump before || exit 2
draw '' && await 000000 || exit 3
ask "$END" after || exit 4
case $END in
halt) command=0xcdef0123 ;;
poweroff) command=0x4321fedc ;;
esac
# One process, so that nothing is between the line and the end.
exec perl -e '
	open(my $tty, ">", "/dev/tty1");
	syswrite($tty, "\033[2J\033[H" . $ARGV[0]);
	syscall(169, 0xfee1dead, 672274793, hex($ARGV[1]), 0);
	sleep(60);
' "$LINE" "$command"
