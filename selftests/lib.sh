# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# Functions for the shell tests, which are run in the directory of the tests.

# shellcheck source=/dev/null
. ../../../kselftest/ktap_helpers.sh

# skip_all REASON: ends the test as skipped, or as failed if a device is required.
skip_all()
{
	if [ "${RUST_GPU_REQUIRED-}" = 1 ]; then
		echo "1..1"
		echo "not ok 1 $1"
		exit "$KSFT_FAIL"
	fi
	echo "1..0 # SKIP $1"
	exit "$KSFT_SKIP"
}

# The PCI address of the virtio GPU, empty if there is none.
gpu_address()
{
	for device in /sys/bus/pci/devices/*; do
		[ "$(cat "$device/vendor")" = 0x1af4 ] || continue
		[ "$(cat "$device/device")" = 0x1050 ] || continue
		basename "$device"
		return
	done
}

# driver_of ADDRESS
driver_of()
{
	link=/sys/bus/pci/devices/$1/driver
	[ ! -e "$link" ] || basename "$(readlink "$link")"
}

# The render node of rust_gpu, empty if there is none.
render_node()
{
	for node in /sys/class/drm/renderD*; do
		[ -e "$node/device/driver" ] || continue
		[ "$(basename "$(readlink "$node/device/driver")")" = rust_gpu ] || continue
		echo "/dev/dri/$(basename "$node")"
		return
	done
}

# The device executes commands on all nodes.
gpu_works()
{
	[ -n "$(render_node)" ] && ./rust_gpu_report --check
}

# rust_fails ADDRESS: why the device does not work with rust_gpu; empty if it does.
rust_fails()
{
	[ "$(driver_of "$1")" = rust_gpu ] ||
		{ echo "the driver is '$(driver_of "$1")'"; return; }
	gpu_works >/dev/null || echo "it executes no commands"
}

# c_fails ADDRESS: the same for the C driver: if it works it has read modes from the device.
c_fails()
{
	[ "$(driver_of "$1")" = virtio-pci ] ||
		{ echo "the driver is '$(driver_of "$1")'"; return; }
	[ -z "$(render_node)" ] || { echo "rust_gpu still has a node"; return; }
	tries=0
	while [ "$tries" -lt 200 ]; do
		for connector in "/sys/bus/pci/devices/$1"/drm/card*/card*-*; do
			[ -e "$connector/modes" ] || continue
			echo detect >"$connector/status"
			[ "$(cat "$connector/status")" = connected ] || continue
			[ -z "$(cat "$connector/modes")" ] || return 0
		done
		sleep 0.1
		tries=$((tries + 1))
	done
	echo "the C driver shows no mode"
}

# result DESCRIPTION REASON: a test, which passes if REASON is empty.
result()
{
	if [ -z "$2" ]; then
		ktap_test_pass "$1"
	else
		echo "# $1: $2"
		ktap_test_fail "$1"
	fi
}

# result_or_skip DESCRIPTION SKIP COMMAND...: a test, which passes if the command prints nothing. It
# cannot run here if SKIP is not empty.
result_or_skip()
{
	result_name=$1
	result_skip=$2
	shift 2
	if [ -n "$result_skip" ]; then
		skip "$result_name" "$result_skip"
	else
		result "$result_name" "$("$@")"
	fi
}

# skip DESCRIPTION REASON: a test that cannot run here.
skip()
{
	__ktap_test ok "$1" "SKIP $2"
	KTAP_CNT_SKIP=$((KTAP_CNT_SKIP + 1))
}
