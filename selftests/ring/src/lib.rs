// SPDX-License-Identifier: GPL-2.0

//! Tests of the driver's half of the split virtqueue, the same source as in the kernel.
//!
//! - `basic`: layout, refused requests, accounting, and the order of accesses and barriers;
//! - `broken`: what a device can do wrong, one by one;
//! - `differential`: rust-vmm's `virtio-queue` as the device;
//! - `hostile`: a device that writes what it likes, whenever it likes;
//! - `concurrent`: driver and device as two threads under loom.
//!
//! `cargo test --locked` runs them all.

#![cfg(test)]

/// Where the driver is: its modules find the files below them as in the kernel.
#[path = "../../.."]
mod driver {
    pub(crate) mod ring;
}

use driver::ring;

mod basic;
mod broken;
mod concurrent;
mod differential;
mod hostile;
mod support;
