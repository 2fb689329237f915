#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# IGT's tests of the driver's ioctls.

export IGT_FORCE_DRIVER=virtio_gpu

# Each of its tests has a result, and which those are is what is kept.
drm_virtgpu()
{
	timeout 300 /usr/libexec/igt-gpu-tools/drm_virtgpu >"$WORK/igt.log" 2>&1 3>&- 5>&-
	cat "$WORK/igt.log"
	sed -n -E 's/^.*Subtest ([^ :]+): ([A-Z]+).*/\1 \2/p' "$WORK/igt.log" | sort >"$WORK/igt"
	keep_lines drm_virtgpu "$WORK/igt" .
}

test_gl "IGT's drm_virtgpu" drm_virtgpu
finish "$WORK/igt.log"
