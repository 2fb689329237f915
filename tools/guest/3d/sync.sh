#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# IGT's tests of buffers and fences that drivers share. Each of its tests has a result, and which
# those are is what is kept.

export IGT_FORCE_DRIVER=virtio_gpu

# again PROGRAM: runs a test that has failed twice more, if it has to: some have narrow limits of
# time, and the host is busy. Reads results and prints them.
again()
{
	while read -r again_test again_result; do
		for again_try in 2 3; do
			[ "$again_result" = FAIL ] || break
			echo "$again_test has failed, try $again_try" >&2
			timeout -k 10 60 "./$1" --run-subtest "$again_test" </dev/null >/dev/null 2>&1 \
				3>&- 5>&- && again_result=SUCCESS
		done
		echo "$again_test $again_result"
	done
}

# run PROGRAM: runs its tests.
run()
{
	timeout -k 10 600 "./$1" >"$WORK/igt.log" 2>&1 3>&- 5>&-
	run_status=$?
	cat "$WORK/igt.log"
	sed -n -E 's/^.*Subtest ([^ :]+): ([A-Z]+).*/\1 \2/p' "$WORK/igt.log" | sort |
		again "$1" >"$WORK/igt"
	case $run_status in
	124 | 137)
		echo "it took longer than 600 s"
		return 1
		;;
	77)
		keep "$1" "all SKIP" >&5
		;;
	*)
		keep_lines "$1" "$WORK/igt" .
		;;
	esac
}

cd /usr/libexec/igt-gpu-tools || exit
for program in dmabuf* prime_* sw_sync syncobj_*; do
	[ ! -x "$program" ] || test_gl "IGT's $program" run "$program"
done
cd / || exit
finish "$WORK/igt.log"
