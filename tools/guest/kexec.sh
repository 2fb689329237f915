#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A part of a guest's job, before what uses it: the guest boots its kernel once more, by kexec. That
# runs the whole job again.

# Returns whether this is the second time.
is_second_kernel()
{
	grep -q second_kernel /proc/cmdline
}

# copy ID FILE: copies the disk with that number.
copy()
{
	for block in /sys/block/nvme*; do
		if [ -e "$block/nsid" ] && [ "$(cat "$block/nsid")" = "$1" ]; then
			cat "/dev/${block##*/}" >"$2"
			return
		fi
	done
	return 1
}

# Loads kernel and initramfs.
load_kernel()
{
	copy 5 /tmp/kernel && copy 6 /tmp/initramfs || return 1
	perl -e '
		open(my $kernel, "<", "/tmp/kernel") or exit(1);
		open(my $initramfs, "<", "/tmp/initramfs") or exit(1);
		my ($line, $length) = ($ARGV[0], length($ARGV[0]) + 1);
		# kexec_file_load()
		exit(syscall(320, fileno($kernel), fileno($initramfs), $length, $line, 0) != 0);
	' "$(cat /proc/cmdline) second_kernel"
}

# Boots what was loaded: reboot(RB_KEXEC).
boot_kernel()
{
	exec perl -e 'syscall(169, 0xfee1dead, 672274793, 0x45584543, 0)'
}
