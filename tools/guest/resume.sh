#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A guest that finds the memory of one that sleeps on its disk becomes that one. The write to
# `resume` does not return then.

cat "/sys/class/block/${DISK##*/}/dev" >/sys/power/resume
exit 102
