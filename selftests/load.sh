#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Loads and unloads the driver many times: nothing is left, and nothing in use goes away.

# shellcheck source=/dev/null
. ./lib.sh

ROUNDS=50
WARM_UP=10
# Kilobytes that come and go without any leak: less than one page for each round.
NOISE=1024

[ "$(id -u)" = 0 ] || skip_all "not root"
address=$(gpu_address)
[ -n "$address" ] || skip_all "no virtio GPU on PCI"
modprobe -q -n rust_gpu || skip_all "no module rust_gpu"
if [ -e /sys/module/rust_gpu ] && ! grep -q '^rust_gpu ' /proc/modules; then
	skip_all "rust_gpu is built in"
fi

unload()
{
	rmmod rust_gpu_sync_test 2>/dev/null
	modprobe -r rust_gpu
}

# What is left of the driver, empty if nothing is.
remains()
{
	grep '^rust_gpu ' /proc/modules
	grep 'rust_gpu' /proc/interrupts
	grep 'rust_gpu' /proc/iomem
	find /sys/bus/pci/drivers/rust_gpu /sys/module/rust_gpu /sys/kernel/debug/rust_gpu \
		-maxdepth 0 2>/dev/null
	find /sys/kernel/slab -maxdepth 1 -name '*rust_gpu*' 2>/dev/null
	[ -z "$(render_node)" ] || render_node
	pgrep -x rust_gpu
}

# Kilobytes of memory that a driver could leak: slab, vmalloc and per-CPU data.
used_memory()
{
	sync
	echo 3 >/proc/sys/vm/drop_caches
	sleep 1
	awk '/^(Slab|VmallocUsed|Percpu):/ { sum += $2 } END { print sum }' /proc/meminfo
}

# With the free pages that each CPU keeps, whose number changes all the time.
free_memory()
{
	awk '/ nr_free_pages / || /^ *count:/ { sum += $2 } END { print sum * 4 }' /proc/zoneinfo
}

cycles()
{
	round=1
	while [ "$round" -le "$1" ]; do
		modprobe rust_gpu || { echo "round $round: modprobe failed"; return; }
		[ "$(driver_of "$address")" = rust_gpu ] ||
			{ echo "round $round: the device is not bound"; return; }
		[ -n "$(render_node)" ] || { echo "round $round: no render node"; return; }
		unload || { echo "round $round: modprobe -r failed"; return; }
		left=$(remains)
		[ -z "$left" ] || { echo "round $round: left behind: $left"; return; }
		round=$((round + 1))
	done
}

growth()
{
	grown=$(($3 - $1))
	lost=$(($2 - $4))
	echo "# slab and vmalloc grew by $grown kB, free memory shrank by $lost kB" >&2
	[ "$grown" -le "$NOISE" ] || echo "$grown kB of kernel memory lost"
	[ "$lost" -le "$NOISE" ] || echo "$lost kB of pages lost"
}

# Unloading is refused, and has no effect.
unload_in_use()
{
	# Not modprobe, which tries again.
	! rmmod rust_gpu 2>/dev/null || echo "rmmod took the driver away from an open file"
	grep -q '^rust_gpu ' /proc/modules || echo "the module is gone"
	[ "$(driver_of "$address")" = rust_gpu ] || echo "the device is not bound"
	gpu_works >/dev/null || echo "the device does not work"
}

ktap_print_header
ktap_set_plan 6

unload 2>/dev/null
result "nothing is left of an unloaded driver" "$(remains)"

result "load and unload $WARM_UP times" "$(cycles "$WARM_UP")"
slab=$(used_memory)
free=$(free_memory)
result "load and unload $((ROUNDS - WARM_UP)) times more" "$(cycles $((ROUNDS - WARM_UP)))"
if grep -q ' kasan_' /proc/kallsyms; then
	skip "memory does not grow" "KASAN keeps what was freed"
else
	result "memory does not grow" "$(growth "$slab" "$free" "$(used_memory)" "$(free_memory)")"
fi

modprobe rust_gpu
if exec 3<>"$(render_node)"; then
	result "a driver in use is not unloaded" "$(unload_in_use)"
	exec 3<&-
else
	ktap_test_fail "a driver in use is not unloaded"
fi

left=$(unload 2>&1)
modprobe rust_gpu
gpu_works >/dev/null || left="$left does not work after a load"
result "unloads after the last close, and works after a load" "$left"

ktap_finished
