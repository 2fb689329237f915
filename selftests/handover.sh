#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The device is handed over between the C driver (virtio_pci, virtio_gpu) and rust_gpu and back,
# and works with each.

# shellcheck source=/dev/null
. ./lib.sh

ROUNDS=3

[ "$(id -u)" = 0 ] || skip_all "not root"
address=$(gpu_address)
[ -n "$address" ] || skip_all "no virtio GPU on PCI"
[ -x ./handover ] || skip_all "no program handover"
for module in rust_gpu virtio_pci virtio_gpu; do
	modprobe -q -n "$module" || skip_all "no module $module"
done

# hand TO: the output of the program goes to the log.
hand()
{
	./handover "$1" "$address" 2>&1 | sed 's/^/# /' >&2
}

ktap_print_header
ktap_set_plan $((2 * ROUNDS + 3))

# As on most machines: the bus of the C driver first.
rmmod rust_gpu_sync_test 2>/dev/null
modprobe virtio_pci
modprobe virtio_gpu
modprobe rust_gpu

round=1
while [ "$round" -le "$ROUNDS" ]; do
	hand c
	result "to the C driver, round $round" "$(c_fails "$address")"
	hand rust
	result "to rust_gpu, round $round" "$(rust_fails "$address")"
	round=$((round + 1))
done

# An open file does not keep the device.
if exec 3<>"$(render_node)"; then
	hand c
	result "to the C driver with a file open" "$(c_fails "$address")"
	exec 3<&-
else
	ktap_test_fail "to the C driver with a file open"
fi
hand rust
result "back to rust_gpu" "$(rust_fails "$address")"

# Afterwards no driver is forced, and the C driver is not loaded.
hand auto
override=$(cat "/sys/bus/pci/devices/$address/driver_override")
[ "$override" = "(null)" ] && override=
result "the kernel chooses again" "${override:+still forced: $override}"
modprobe -r virtio_gpu virtio_pci 2>/dev/null

ktap_finished
