// SPDX-License-Identifier: GPL-2.0

//! Tests of the registers.

use super::*;
use std::io::Read;

const ALL: u64 = FEATURE_EDID | FEATURE_INDIRECT | FEATURE_EVENT_IDX | FEATURE_VERSION_1;

fn read(front: &mut Front, region: u32, offset: u64) -> u32 {
    let mut bytes = [0; 4];
    front.read(region, offset, &mut bytes);
    u32::from_le_bytes(bytes)
}

fn write(front: &mut Front, offset: u64, value: u32) {
    front.write(pci::VIRTIO_BAR, offset, &value.to_le_bytes());
}

/// A device whose driver is there.
fn running() -> Front {
    let mut front = Front::new(3, ALL, 1, 16);
    front.write(pci::CONFIG, 4, &[6, 0]);
    for half in 0..2 {
        write(&mut front, 0x08, half);
        write(&mut front, 0x0c, (ALL >> (32 * half)) as u32);
    }
    front.write(pci::VIRTIO_BAR, 0x14, &[0x0b]);
    front.write(pci::VIRTIO_BAR, 0x14, &[0x0f]);
    front
}

#[test]
fn features_are_negotiated() {
    let mut front = running();
    assert!(front.is_active());
    assert_eq!(front.driver_features, ALL);
    assert_eq!(read(&mut front, pci::VIRTIO_BAR, 0x14) & 0xff, 0x0f);
    write(&mut front, 0x08, 0);
    write(&mut front, 0x0c, 1);
    front.write(pci::VIRTIO_BAR, 0x14, &[0x0b]);
    assert_eq!(read(&mut front, pci::VIRTIO_BAR, 0x14) & 0xff, 0x03);
}

#[test]
fn a_feature_may_be_missing() {
    let fewer = (ALL & !FEATURE_EVENT_IDX) as u32;
    let mut front = running();
    front.script.fault = Some(Fault::Fewer);
    write(&mut front, 0x00, 0);
    assert_eq!(read(&mut front, pci::VIRTIO_BAR, 0x04), fewer);
    // The driver has taken it.
    front.write(pci::VIRTIO_BAR, 0x14, &[0x0b]);
    assert_eq!(read(&mut front, pci::VIRTIO_BAR, 0x14) & 0xff, 0x03);
    write(&mut front, 0x08, 0);
    write(&mut front, 0x0c, fewer);
    front.write(pci::VIRTIO_BAR, 0x14, &[0x0b]);
    assert_eq!(read(&mut front, pci::VIRTIO_BAR, 0x14) & 0xff, 0x0b);
}

#[test]
fn a_reset_is_over_when_it_is_acknowledged() {
    let mut front = running();
    write(&mut front, 0x16, 1);
    write(&mut front, 0x20, 0x1000);
    write(&mut front, 0x24, 1);
    assert_eq!(front.queues[1].areas[0], 0x1_0000_1000);
    front.write(pci::VIRTIO_BAR, 0x14, &[0]);
    assert!(!front.is_active());
    assert_eq!(read(&mut front, pci::VIRTIO_BAR, 0x14) & 0xff, 0x0f);
    front.acknowledge_reset();
    assert_eq!(read(&mut front, pci::VIRTIO_BAR, 0x14) & 0xff, 0);
    assert_eq!(front.queues[1].areas[0], 0);
    assert_eq!(read(&mut front, pci::VIRTIO_BAR, 0x18), 0xffff_0040);
}

#[test]
fn a_reset_without_a_driver_is_over_at_once() {
    let mut front = running();
    front.write(pci::VIRTIO_BAR, 0x14, &[0]);
    front.acknowledge_reset();
    front.write(pci::VIRTIO_BAR, 0x14, &[0]);
    assert!(!front.resetting);
    front.write(pci::VIRTIO_BAR, 0x14, &[1]);
    assert_eq!(read(&mut front, pci::VIRTIO_BAR, 0x14) & 0xff, 1);
}

#[test]
fn kicks_are_counted_and_can_be_lost() {
    let mut front = running();
    write(&mut front, pci::NOTIFY + 4, 1);
    assert_eq!(front.kicked, [false, true]);
    front.kicked = [false; 2];
    front.script.ignores_kicks = true;
    write(&mut front, pci::NOTIFY, 0);
    front.script.ignores_kicks = false;
    // Not the master of the bus.
    front.write(pci::CONFIG, 4, &[2, 0]);
    write(&mut front, pci::NOTIFY, 0);
    assert_eq!((front.kicked, front.counts.kicks), ([false; 2], [2, 1]));
}

#[test]
fn a_device_that_is_gone_reads_as_ones() {
    let mut front = running();
    front.script.gone = true;
    front.write(pci::CONFIG, 4, &[0]);
    assert_eq!(read(&mut front, pci::CONFIG, 0), u32::MAX);
    assert_eq!(read(&mut front, pci::VIRTIO_BAR, 0x14), u32::MAX);
    front.script.gone = false;
    assert_eq!(read(&mut front, pci::CONFIG, 0), 0x1050_1af4);
    assert!(front.is_active());
}

#[test]
fn faults_are_what_a_driver_finds() {
    let find = |fault, offset| {
        let mut front = running();
        write(&mut front, 0x00, 1);
        front.write(pci::VIRTIO_BAR, 0x16, &[1, 0]);
        front.script.fault = fault;
        front.write(pci::VIRTIO_BAR, 0x10, &[0, 0]);
        front.write(pci::VIRTIO_BAR, 0x1c, &[1, 0]);
        front.write(pci::VIRTIO_BAR, 0x14, &[0x0f]);
        read(&mut front, pci::VIRTIO_BAR, offset)
    };
    let heads = pci::DEVICE + 8;
    for (fault, offset, bits) in [
        (Fault::Version, 0x04, 1),
        (Fault::Features, 0x14, 8),
        (Fault::Queue, 0x18, 0xffff),
        (Fault::Enable, 0x1c, 0xffff),
        (Fault::Message, 0x10, 0xffff),
        (Fault::Notify, 0x1c, 0xffff_0000),
        (Fault::Heads, heads, 0xffff),
    ] {
        let (good, bad) = (find(None, offset), find(Some(fault), offset));
        assert_ne!(good & bits, bad & bits, "{fault:?}");
        assert_eq!(good & !bits, bad & !bits, "{fault:?}");
    }
    let mut front = running();
    front.script.fault = Some(Fault::Reset);
    front.write(pci::VIRTIO_BAR, 0x14, &[0]);
    assert!(!front.resetting && front.is_active());
}

#[test]
fn memory_keeps_what_is_written() {
    let mut front = running();
    front.write(pci::MEMORY_BAR, 12, &[1, 2, 3, 4, 5]);
    front.reset();
    assert_eq!(read(&mut front, pci::MEMORY_BAR, 12), 0x0403_0201);
    assert_eq!(read(&mut front, pci::MEMORY_BAR, 14), 0x0403);
    assert_eq!(read(&mut front, pci::MEMORY_BAR, 16), 0);
}

#[test]
fn events_stay_until_they_are_cleared() {
    let mut front = running();
    front.displays_changed();
    assert_eq!(read(&mut front, pci::VIRTIO_BAR, pci::DEVICE), 1);
    write(&mut front, pci::DEVICE + 4, 1);
    assert_eq!(read(&mut front, pci::VIRTIO_BAR, pci::DEVICE), 0);
    assert_eq!(read(&mut front, pci::VIRTIO_BAR, pci::DEVICE + 8), 1);
}

/// A file that counts as an eventfd here, and what was written to it.
fn pipe() -> (std::io::PipeReader, File) {
    let (reader, writer) = std::io::pipe().unwrap();
    (reader, std::os::fd::OwnedFd::from(writer).into())
}

#[test]
fn messages_go_to_their_vectors() {
    let mut front = running();
    write(&mut front, 0x16, 0);
    front.write(pci::VIRTIO_BAR, 0x1a, &[1, 0]);
    let (mut reader, writer) = pipe();
    front.set_irqs(pci::MSIX, 0x24, 1, 1, vec![writer]);
    front.queue_used(0);
    // Its vector is not set.
    front.queue_used(CURSOR);
    front.script.withholds_interrupts = true;
    front.queue_used(0);
    assert_eq!((front.counts.interrupts, front.counts.withheld), (1, 1));
    front.set_irqs(pci::MSIX, 0x21, 0, 0, Vec::new());
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, 1u64.to_ne_bytes());
}

#[test]
fn the_line_is_masked_until_the_guest_has_read_the_cause() {
    let mut front = running();
    let (_reader, writer) = pipe();
    front.set_irqs(pci::INTX, 0x24, 0, 1, vec![writer]);
    front.queue_used(0);
    front.displays_changed();
    assert_eq!(front.counts.interrupts, 1);
    front.set_irqs(pci::INTX, 0x11, 0, 1, Vec::new());
    assert_eq!(front.counts.interrupts, 2);
    assert_eq!(read(&mut front, pci::VIRTIO_BAR, pci::ISR), 3);
    front.set_irqs(pci::INTX, 0x11, 0, 1, Vec::new());
    assert_eq!(front.counts.interrupts, 2);
}

#[test]
fn the_function_is_reset_also_if_the_status_is_not() {
    let mut front = running();
    front.script.fault = Some(Fault::Reset);
    front.write(pci::VIRTIO_BAR, 0x14, &[0]);
    assert!(!front.resetting);
    front.write(pci::CONFIG, 0xd4, &[1]);
    assert!(front.resetting);
    assert!(!pci::is_master(&front.space));
    front.acknowledge_reset();
    assert_eq!(read(&mut front, pci::VIRTIO_BAR, 0x14) & 0xff, 0);
    assert_eq!((front.counts.resets, front.counts.function_resets), (1, 1));
}
