/* SPDX-License-Identifier: GPL-2.0 */
/* What exports.c has for the Rust parts of the driver. */
#ifndef _RUST_GPU_EXPORTS_H
#define _RUST_GPU_EXPORTS_H

#include <linux/types.h>

/* See modeset.rs. */
bool rust_gpu_refuses_devices(void);

#endif /* _RUST_GPU_EXPORTS_H */
