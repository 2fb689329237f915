#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The system ends while the driver has the device. QEMU's log tells what the driver does about it.

modprobe rust-gpu
ask trace virtio_set_status
