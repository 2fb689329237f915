#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Runs each fuzz target of the parsers for SECONDS; fails at the first that finds something.
#
# cargo-fuzz is installed if there is none. It, what is built and what is found are kept in
# $RUST_GPU_CACHE/fuzz (default: ~/.cache/rust_gpu/fuzz).

set -eu

case ${1-} in
'' | *[!0-9]* | 0)
	echo "usage: $0 SECONDS" >&2
	exit 2
	;;
esac
seconds=$1

cd "$(dirname "$0")"
dir=${RUST_GPU_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rust_gpu}/fuzz
mkdir -p "$dir"
PATH=$dir/bin:$PATH

if ! command -v cargo-fuzz >/dev/null; then
	cargo install --locked cargo-fuzz --root "$dir"
fi

# The sanitizers and the coverage need options that a stable compiler has too, but refuses.
export RUSTC_BOOTSTRAP=1

for target in capabilities responses edid_name; do
	echo "== $target: $seconds s"
	mkdir -p "$dir/corpus/$target" "$dir/artifacts/$target"
	cargo fuzz run --target-dir "$dir/target" "$target" "$dir/corpus/$target" -- \
		-max_total_time="$seconds" -max_len=2048 -print_final_stats=1 \
		-artifact_prefix="$dir/artifacts/$target/"
done
