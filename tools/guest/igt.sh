#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Runs IGT, or goes on with a run that a guest before has begun. The results are on a disk of their
# own, so that a guest that hangs loses only the test that hung.
#
# MODULES are the driver. SECONDS_EACH is the time a test may take, CHOSEN a regular expression that
# their names match.

export IGT_FORCE_DRIVER=virtio_gpu
mount "$DISK" /media
# shellcheck disable=SC2086 # these are words
modprobe -a $MODULES || exit
/usr/lib/systemd/systemd-udevd --daemon
udevadm trigger
udevadm settle
if [ -e /media/igt/journal.txt ]; then
	igt_resume /media/igt
else
	set --
	[ -e /media/tests.txt ] && set -- --test-list /media/tests.txt
	igt_runner --multiple-mode --sync --per-test-timeout "$SECONDS_EACH" \
		--prune-mode keep-subtests --include-tests "$CHOSEN" "$@" /usr/libexec/igt-gpu-tools \
		/media/igt
fi 2>&1 | sed -u -E 's/^(.{110}).*/\1.../'
# IGT 2.5 reads beyond what it parses, and dies of that one time in two.
tries=0
until [ -s /media/igt/results.json ] || [ "$tries" -ge 20 ]; do
	igt_results /media/igt | tail -n 1
	tries=$((tries + 1))
done
umount /media
