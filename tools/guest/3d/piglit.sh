#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Piglit: each test has a result. TESTS are the names of tests, one a line. Without them it is every
# EVERY-th test of the profile, and what is kept are those that pass twice.

export PIGLIT_PLATFORM=gbm
PROFILE=quick_gl

# run LIST SECONDS: runs tests; their results are in `results`, one a line, in front of the names.
# A run that has not ended in time leaves what it has.
run()
{
	rm -rf "$WORK/out"
	timeout -k 30 "$2" piglit run --test-list "$1" "$PROFILE" "$WORK/out" \
		>"$WORK/piglit.log" 2>&1 3>&- 5>&- || {
		echo "piglit returned $? after at most $2 s"
		tail -n 20 "$WORK/piglit.log"
		return 1
	}
	python3 -c '
import bz2, json, sys
with bz2.open(sys.argv[1], "rt") as file:
	for name, test in sorted(json.load(file)["tests"].items()):
		print(test["result"], name)' "$WORK/out/results.json.bz2" >"$WORK/results"
	echo "$(wc -l <"$WORK/results") of $(wc -l <"$1") tests have a result"
	cut -d ' ' -f 1 "$WORK/results" | sort | uniq -c
}

# choose: makes a list of tests that pass twice.
choose()
{
	piglit print-cmd --format '{name}' "$PROFILE" >"$WORK/all" || return
	sort "$WORK/all" | awk -v every="$EVERY" 'NR % every == 0' >"$WORK/list"
	for choose_time in 1 2; do
		echo "time $choose_time"
		run "$WORK/list" 3600 || return
		sed -n 's/^pass //p' "$WORK/results" >"$WORK/list"
	done
	grep '^pass ' "$WORK/results" >"$WORK/kept" && keep_lines piglit "$WORK/kept" .
}

# same: runs those of a list.
same()
{
	printf '%s\n' "$TESTS" >"$WORK/list"
	run "$WORK/list" 3600 && keep_lines piglit "$WORK/results" .
}

if [ -n "$TESTS" ]; then
	test_gl "piglit's tests" same
else
	test_gl "piglit's tests that pass twice" choose
fi
finish "$WORK/piglit.log"
