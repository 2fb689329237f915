// SPDX-License-Identifier: GPL-2.0

//! [`Transport`] sets up queues and their messages, kicks the device, and reads the cause of a
//! line interrupt.

use kernel::{
    io::register::FixedRegister,
    prelude::*, //
};

use crate::transport::{
    caps,
    regs, //
};

use super::{
    Transport,
    GONE, //
};

/// The most descriptors that a queue gets; a power of two. More would cost memory and gain nothing:
/// QEMU offers 64 for the control queue.
const MAX_QUEUE_SIZE: u16 = 256;

/// Bit of [`Transport::isr`]: a queue has used buffers.
pub(crate) const ISR_QUEUE: u8 = 1 << 0;

/// Bit of [`Transport::isr`]: the device configuration has changed.
pub(crate) const ISR_CONFIG: u8 = 1 << 1;

/// `VIRTIO_MSI_NO_VECTOR`: no message, or the device could not take the one that was written.
const NO_VECTOR: u16 = 0xffff;

/// Returns how many of the `offered` descriptors a queue uses.
///
/// `None` if `offered` is not a power of two; 0 is not one.
fn sensible_queue_size(offered: u16) -> Option<u16> {
    offered
        .is_power_of_two()
        .then_some(offered.min(MAX_QUEUE_SIZE))
}

/// Returns the offset of a queue notify address within the notification structure of `len` bytes.
///
/// `None` if its 16 bits do not all lie in the structure, or if it is odd.
fn notify_offset(len: u32, queue_notify_off: u16, multiplier: u32) -> Option<u32> {
    let offset = u32::from(queue_notify_off).checked_mul(multiplier)?;
    let end = offset.checked_add(caps::NOTIFY_SIZE)?;
    (end <= len && offset % caps::NOTIFY_SIZE == 0).then_some(offset)
}

/// Device addresses of the three parts of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueAddresses {
    /// Descriptor table (`queue_desc`).
    pub(crate) descriptor: u64,
    /// Available ring (`queue_driver`).
    pub(crate) driver: u64,
    /// Used ring (`queue_device`).
    pub(crate) device: u64,
}

/// The queue notify address of a queue; made by [`Transport::setup_queue`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct NotifyAddress {
    /// Offset within the BAR of the notification structure, in bytes.
    offset: usize,
    /// Index of the queue.
    queue: u16,
}

/// Queues and interrupts.
impl Transport<'_> {
    /// Writes a 64-bit address as two halves: the specification allows no single access.
    fn set_address<Low, High>(&self, address: u64) -> Result
    where
        Low: FixedRegister<Storage = u32> + From<u32>,
        High: FixedRegister<Storage = u32> + From<u32>,
    {
        // CAST: Each keeps one half.
        self.regions.set_common(Low::from(address as u32))?;
        self.regions
            .set_common(High::from((address >> u32::BITS) as u32))
    }

    /// Writes `message` to register `T`, and reads it back: a device that has no resources for the
    /// message answers [`NO_VECTOR`].
    ///
    /// Errors: [`EBUSY`] if the device does not take the message.
    fn set_message<T>(&self, message: Option<u16>) -> Result
    where
        T: FixedRegister<Storage = u16> + From<u16>,
    {
        let vector = message.unwrap_or(NO_VECTOR);
        self.regions.set_common(T::from(vector))?;
        if self.regions.common::<T>()? == vector {
            Ok(())
        } else {
            Err(EBUSY)
        }
    }

    /// Sets the MSI-X message that the device sends when its configuration changes; `None` for
    /// none, as with a line interrupt.
    ///
    /// Errors: [`EBUSY`], with one line in the log, if the device does not take the message.
    ///
    /// Context: process, after [`Self::negotiate`].
    pub(crate) fn set_config_message(&self, message: Option<u16>) -> Result {
        self.set_message::<regs::CONFIG_MSIX_VECTOR>(message)
            .inspect_err(|_| {
                dev_err!(
                    self.pdev,
                    "device does not take message {:?} for configuration changes\n",
                    message
                );
            })
    }

    /// Returns how many descriptors to give to queue `queue`: what the device offers, at most
    /// [`MAX_QUEUE_SIZE`].
    ///
    /// Errors: each with one line in the log. [`ENOENT`]: the device has no such queue, or offers 0
    /// descriptors, which means the same. [`EINVAL`]: it offers a number that is not a power of
    /// two.
    ///
    /// Context: process, after [`Self::negotiate`]; not concurrently with queue set-up.
    pub(crate) fn queue_size(&self, queue: u16) -> Result<u16> {
        let queues = self.regions.common::<regs::NUM_QUEUES>()?;
        if queue >= queues {
            dev_err!(self.pdev, "no queue {}: device has {}\n", queue, queues);
            return Err(ENOENT);
        }

        self.regions.set_common(regs::QUEUE_SELECT::from(queue))?;
        let offered = self.regions.common::<regs::QUEUE_SIZE>()?;
        if let Some(size) = sensible_queue_size(offered) {
            return Ok(size);
        }
        dev_err!(self.pdev, "queue {} has bad size {}\n", queue, offered);
        Err(if offered == 0 { ENOENT } else { EINVAL })
    }

    /// Enables queue `queue`, with `size` descriptors (as [`Self::queue_size`] returned) at
    /// `addresses`. The device sends MSI-X message `message` when it has used buffers; `None` for
    /// none.
    ///
    /// The device does not use the queue before [`Self::driver_ok`]. From then until a reset, the
    /// memory at `addresses` belongs to the device.
    ///
    /// Errors: each with one line in the log. [`EBUSY`]: the queue is enabled already, or the
    /// device does not take the message. [`EINVAL`]: the queue notify address is not within the
    /// notification structure. [`EIO`]: the device does not enable the queue.
    ///
    /// Context: process, after [`Self::negotiate`]; not concurrently with queue set-up.
    pub(crate) fn setup_queue(
        &self,
        queue: u16,
        message: Option<u16>,
        addresses: QueueAddresses,
        size: u16,
    ) -> Result<NotifyAddress> {
        self.regions.set_common(regs::QUEUE_SELECT::from(queue))?;
        if self.regions.common::<regs::QUEUE_ENABLE>()? != 0 {
            dev_err!(self.pdev, "queue {} is enabled already\n", queue);
            return Err(EBUSY);
        }
        let address = self.notify_address(queue)?;

        self.regions.set_common(regs::QUEUE_SIZE::from(size))?;
        self.set_address::<regs::QUEUE_DESC_LO, regs::QUEUE_DESC_HI>(addresses.descriptor)?;
        self.set_address::<regs::QUEUE_DRIVER_LO, regs::QUEUE_DRIVER_HI>(addresses.driver)?;
        self.set_address::<regs::QUEUE_DEVICE_LO, regs::QUEUE_DEVICE_HI>(addresses.device)?;
        self.set_message::<regs::QUEUE_MSIX_VECTOR>(message)
            .inspect_err(|_| {
                dev_err!(
                    self.pdev,
                    "device does not take message {:?} for queue {}\n",
                    message,
                    queue
                );
            })?;

        // Last, as the specification says.
        self.regions.set_common(regs::QUEUE_ENABLE::from(1))?;
        if self.regions.common::<regs::QUEUE_ENABLE>()? != 1 {
            dev_err!(self.pdev, "device does not enable queue {}\n", queue);
            return Err(EIO);
        }
        Ok(address)
    }

    /// Returns the queue notify address of `queue`, which is the selected queue.
    fn notify_address(&self, queue: u16) -> Result<NotifyAddress> {
        let region = &self.capabilities().notify;
        let notify_off = self.regions.common::<regs::QUEUE_NOTIFY_OFF>()?;
        let multiplier = self.capabilities().notify_multiplier;

        let Some(offset) = notify_offset(region.len, notify_off, multiplier)
            .and_then(|offset| offset.checked_add(region.offset))
        else {
            dev_err!(
                self.pdev,
                "notify offset {} * {} of queue {} is beyond {} bytes\n",
                notify_off,
                multiplier,
                queue,
                region.len
            );
            return Err(EINVAL);
        };
        Ok(NotifyAddress {
            // CAST: `u32` to `usize` does not truncate where there is PCI.
            offset: offset as usize,
            queue,
        })
    }

    /// Kicks the device: a queue has new buffers.
    ///
    /// The write is not relaxed: the device sees it after the writes to memory that published the
    /// buffers.
    ///
    /// Context: any, also with interrupts off. The write leaves the virtual machine, so no lock of
    /// a message should be held.
    #[inline]
    pub(crate) fn kick(&self, address: NotifyAddress) {
        let written = self.regions.notify(address.offset, address.queue);
        debug_assert!(written.is_ok());
    }

    /// Returns why the device raised its line interrupt: [`ISR_QUEUE`], [`ISR_CONFIG`] or both; 0
    /// if it did not, or if it is gone. The read lowers the line.
    ///
    /// For a line interrupt only: with MSI-X the register means nothing.
    ///
    /// Context: any, also hard interrupt context.
    pub(crate) fn isr(&self) -> u8 {
        match self.regions.isr::<regs::ISR_STATUS>() {
            // On a shared line, a device that is gone must not claim the interrupts of others.
            Ok(isr) if isr != GONE => isr & (ISR_QUEUE | ISR_CONFIG),
            _ => 0,
        }
    }
}

#[cfg(CONFIG_DRM_RUST_GPU_KUNIT_TEST)]
#[kunit_tests(rust_gpu_transport)]
mod tests {
    use super::*;

    #[test]
    fn queue_sizes() {
        assert_eq!(sensible_queue_size(0), None);
        assert_eq!(sensible_queue_size(3), None);
        assert_eq!(sensible_queue_size(u16::MAX), None);
        assert_eq!(sensible_queue_size(1), Some(1));
        assert_eq!(sensible_queue_size(64), Some(64));
        assert_eq!(sensible_queue_size(256), Some(256));
        assert_eq!(sensible_queue_size(0x8000), Some(MAX_QUEUE_SIZE));
    }

    #[test]
    fn notify_addresses_within_their_structure() {
        assert_eq!(notify_offset(8, 1, 4), Some(4));
        assert_eq!(notify_offset(6, 1, 4), Some(4));
        assert_eq!(notify_offset(5, 1, 4), None);
        assert_eq!(notify_offset(2, u16::MAX, 0), Some(0));
        assert_eq!(notify_offset(1, 0, 0), None);
        assert_eq!(notify_offset(8, 1, 1), None);
        assert_eq!(notify_offset(u32::MAX, u16::MAX, u32::MAX), None);
    }
}
