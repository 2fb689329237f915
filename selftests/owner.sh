#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The device has the driver that virtio_gpu_driver= names, whichever came first, also after it was
# found again; a driver_override is stronger. The other driver says so.

# shellcheck source=/dev/null
. ./lib.sh

[ "$(id -u)" = 0 ] || skip_all "not root"
address=$(gpu_address)
[ -n "$address" ] || skip_all "no virtio GPU on PCI"
for module in rust_gpu virtio_pci virtio_gpu; do
	modprobe -q -n "$module" || skip_all "no module $module"
done
device=/sys/bus/pci/devices/$address

# The driver that the device is to have, and the other one.
value=$(sed -n 's/.*\bvirtio_gpu_driver=\([^ ]*\).*/\1/p' /proc/cmdline)
if [ "$value" = c ]; then
	owner=c
	other=rust
else
	owner=rust
	other=c
fi

# pci_driver rust|c
pci_driver()
{
	case $1 in
	rust) echo rust_gpu ;;
	c) echo virtio-pci ;;
	esac
}

# fails rust|c: why the device does not work with this driver.
fails()
{
	"${1}_fails" "$address"
	./getparam >/dev/null 2>&1 || echo "./getparam fails"
}

unbind()
{
	[ ! -e "$device/driver" ] || echo "$address" >"$device/driver/unbind"
}

# override NAME: an empty one ends it.
override()
{
	echo "$1" >"$device/driver_override"
}

probe_again()
{
	unbind
	echo "$address" >/sys/bus/pci/drivers_probe
}

# Drivers that say in the kernel log that they leave the device, one for each line there.
leaving()
{
	dmesg | sed -n "s/.*\(rust_gpu\|virtio-pci\) $address: left to .*/\1/p"
}

# Since the boot. Not all machines load the modules in an order that is known.
left_at_boot()
{
	left=$(leaving)
	[ "$left" = "${RUST_GPU_EXPECT_LEFT-$left}" ] || echo "it was left by '$left'"
	case $value in
	"" | rust | c) return ;;
	esac
	warnings=$(dmesg | grep -c "virtio_gpu_driver=$value is neither rust nor c")
	[ "$warnings" = 1 ] || echo "$warnings warnings of the value"
}

# The other driver is asked to take the device.
leaves_it()
{
	unbind
	dmesg -C
	! (echo "$address" >"/sys/bus/pci/drivers/$(pci_driver $other)/bind") 2>/dev/null ||
		echo "it was bound"
	[ -z "$(driver_of "$address")" ] || echo "the driver is '$(driver_of "$address")'"
	[ "$(leaving)" = "$(pci_driver $other)" ] || echo "the log says '$(leaving)'"
}

remove_and_rescan()
{
	echo 1 >"$device/remove"
	echo 1 >/sys/bus/pci/rescan
	fails $owner
}

reload_rust()
{
	modprobe -r rust_gpu || { echo "modprobe -r fails"; return; }
	[ $owner = c ] || [ -z "$(driver_of "$address")" ] || echo "$(driver_of "$address") took it"
	modprobe rust_gpu
	fails $owner
}

reload_c()
{
	# modprobe -r would also remove rust_gpu, the soft dependency.
	rmmod virtio_gpu || { echo "virtio_gpu is in use"; return; }
	modprobe -r virtio_pci || { echo "modprobe -r fails"; return; }
	[ $owner = rust ] || [ -z "$(driver_of "$address")" ] ||
		echo "$(driver_of "$address") took it"
	modprobe virtio_pci
	modprobe virtio_gpu
	fails $owner
}

# With a driver_override of the other driver: all ways lead to that one.
overridden()
{
	override "$(pci_driver $other)"
	probe_again
	fails $other
	unbind
	echo "$address" >"/sys/bus/pci/drivers/$(pci_driver $other)/bind"
	fails $other
}

# Where the C driver is a module too, its name is its own, and it brings this one along.
names()
{
	found=$(modprobe -R virtio_gpu | xargs)
	[ "$found" = virtio_gpu ] || echo "virtio_gpu is '$found'"
	modprobe --show-depends virtio_gpu | grep -q '/rust-gpu\.ko' || echo "no soft dependency"
}

# A directory with the modules that are there when the C driver is not.
names_without_c()
{
	modules=lib/modules/$(uname -r)
	rm -rf /tmp/names
	mkdir -p "/tmp/names/$modules"
	find "/$modules" -name 'rust-gpu.ko*' -exec cp {} "/tmp/names/$modules" ";"
	depmod -b /tmp/names 2>/dev/null
	found=$(modprobe -d /tmp/names -R virtio_gpu | xargs)
	[ "$found" = rust_gpu ] || echo "virtio_gpu is '$found'"
	rm -rf /tmp/names
}

# Why virtio_pci cannot be loaded again; empty if it can.
virtio_pci_is_needed()
{
	if [ "$(cat /sys/module/virtio_pci/refcnt 2>/dev/null)" != 0 ]; then
		echo "it is built in, or in use"
	elif [ -d /sys/bus/virtio/drivers/virtio_blk ]; then
		echo "it has the root"
	fi
}

# built_in MODULE: why it cannot be loaded again; empty if it can.
built_in()
{
	grep -q "^$1 " /proc/modules || echo "it is built in"
}

ktap_print_header
ktap_set_plan 11

result "the lines since the boot" "$(left_at_boot)"
rmmod rust_gpu_sync_test 2>/dev/null
modprobe virtio_pci
modprobe virtio_gpu
modprobe rust_gpu
result "$owner has the device" "$(fails $owner)"
result "$other leaves it, with one line" "$(leaves_it)"
probe_again
result "$owner has it after unbind and probe" "$(fails $owner)"
result "$owner has it after remove and rescan" "$(remove_and_rescan)"
result_or_skip "$owner has it after rust_gpu was loaded again" "$(built_in rust_gpu)" reload_rust
result_or_skip "$owner has it after virtio_pci was loaded again" "$(virtio_pci_is_needed)" reload_c
result "an override gives it to $other" "$(overridden)"
override ""
probe_again
result "$owner has it without the override" "$(fails $owner)"
result_or_skip "the C driver has its name, and brings rust_gpu along" "$(built_in virtio_gpu)" names
result "without the C driver rust_gpu has that name" "$(names_without_c)"

ktap_finished
