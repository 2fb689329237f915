// SPDX-License-Identifier: GPL-2.0

//! virtio 1.x over PCI, the driver's side: status handshake, features, queue set-up, doorbells,
//! device configuration and reset.
//!
//! Names are those of the specification (virtio 1.3, 4.1, and 5.7.4 for the GPU's configuration).
//! Mirrors `drivers/virtio/virtio_pci_modern_dev.c` and `virtio_pci_modern.c`, without the `virtio`
//! core.
//!
//! [`Transport`] takes no lock. `device_feature_select`, `driver_feature_select` and `queue_select`
//! are selectors of the device, so [`Transport::negotiate`], [`Transport::queue_size`] and
//! [`Transport::setup_queue`] must not run concurrently with one another: call them from probe or
//! from the recovery of the device alone. Everything else is one register access, or several whose
//! mixing does no harm, and may run in any context that its documentation names.
//!
//! The device is not trusted, and it can be pulled out at any time. Its configuration space reads
//! as all ones then, and its registers do too, or, on QEMU's root ports, as 0. Each register is
//! read once, into a local, and checked.

use kernel::{
    device::Bound,
    io::{
        poll::read_poll_timeout,
        register::FixedRegister, //
    },
    pci,
    prelude::*,
    time::Delta, //
};

use crate::{
    caps::{
        self,
        Capabilities, //
    },
    regs::{
        self,
        feature, //
    },
    structures::Structures, //
};

/// What the driver accepts if it is offered.
const WANTED: u64 = 1 << feature::EDID
    | 1 << feature::RING_INDIRECT_DESC
    | 1 << feature::RING_EVENT_IDX
    | 1 << feature::VERSION_1
    | 1 << feature::ACCESS_PLATFORM
    | 1 << feature::ORDER_PLATFORM;

/// Most descriptors a ring is given; a power of two. More would cost memory and not make the device
/// faster: QEMU offers 64 for the control queue.
pub(crate) const MAX_QUEUE_SIZE: u16 = 256;

/// `VIRTIO_GPU_MAX_SCANOUTS`: most scanouts a device may have.
pub(crate) const MAX_SCANOUTS: u32 = 16;

/// Most capability sets that are believed. Their ids are bits of a 64-bit mask in the user API.
pub(crate) const MAX_CAPSETS: u32 = 64;

/// Bit of [`Transport::isr`]: a queue has used buffers.
pub(crate) const ISR_QUEUE: u8 = 1 << 0;

/// Bit of [`Transport::isr`]: the device configuration has changed.
pub(crate) const ISR_CONFIG: u8 = 1 << 1;

/// `VIRTIO_MSI_NO_VECTOR`: no message, or the device could not take the one that was written.
const NO_VECTOR: u16 = 0xffff;

/// What an 8-bit register reads as when the device is gone.
const GONE: u8 = u8::MAX;

/// How long [`Transport::reset`] waits for the device, in milliseconds.
const RESET_TIMEOUT_MS: u32 = 1000;

/// Pause between two looks of [`Transport::reset`], in milliseconds.
const RESET_POLL_MS: u32 = 1;

/// How often the device configuration is read until it holds still.
const CONFIG_RETRIES: u32 = 16;

/// Returns the size to use for a queue that the device offers with `offered` descriptors.
///
/// `None` for a size that is not a power of two, 0 included.
fn sensible_queue_size(offered: u16) -> Option<u16> {
    offered
        .is_power_of_two()
        .then_some(offered.min(MAX_QUEUE_SIZE))
}

/// Returns the offset, within the notification structure of `len` bytes, of a 16-bit doorbell.
///
/// `None` if it does not lie in the structure as a whole, or on an odd address.
fn doorbell_offset(len: u32, queue_notify_off: u16, multiplier: u32) -> Option<u32> {
    let offset = u32::from(queue_notify_off).checked_mul(multiplier)?;
    let end = offset.checked_add(caps::NOTIFY_SIZE)?;
    (end <= len && offset % caps::NOTIFY_SIZE == 0).then_some(offset)
}

/// Features of the device and of the driver; see [`feature`] for the bit numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Features {
    /// All that the device offers, known to the driver or not.
    pub(crate) device: u64,
    /// What was negotiated.
    pub(crate) driver: u64,
}

impl Features {
    /// Whether `bit`, a constant of [`feature`], was negotiated.
    pub(crate) fn has(&self, bit: u32) -> bool {
        self.driver & (1 << bit) != 0
    }
}

/// The device configuration, `struct virtio_gpu_config`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceConfig {
    /// Number of scanouts, at most [`MAX_SCANOUTS`]; 0 for a device without a display.
    pub(crate) num_scanouts: u32,
    /// Number of capability sets, at most [`MAX_CAPSETS`].
    pub(crate) num_capsets: u32,
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

/// Where to tell the device that a queue has new buffers; made by [`Transport::setup_queue`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doorbell {
    /// Offset within the BAR of the notification structure, in bytes.
    offset: usize,
    /// Index of the queue.
    queue: u16,
}

/// A virtio GPU on PCI.
///
/// Holds no interrupt and no ring. Dropping it unmaps and releases the BARs and does not touch the
/// device: reset that first.
pub(crate) struct Transport<'a> {
    pdev: &'a pci::Device<Bound>,
    structures: Structures<'a>,
}

impl<'a> Transport<'a> {
    /// Finds the structures of the device and maps them.
    ///
    /// `pdev` must be enabled, and conflicting framebuffer drivers removed.
    ///
    /// # Errors
    ///
    /// Those of [`Structures::new`], each with one line in the log.
    ///
    /// # Context
    ///
    /// Process context; may sleep.
    pub(crate) fn new(pdev: &'a pci::Device<Bound>) -> Result<Self> {
        Ok(Self {
            pdev,
            structures: Structures::new(pdev)?,
        })
    }

    /// Returns what the capability walk found, shared memory regions included.
    pub(crate) fn capabilities(&self) -> &Capabilities {
        self.structures.capabilities()
    }

    /// Writes a 64-bit address as two halves: the specification allows no single access.
    fn set_address<Low, High>(&self, address: u64) -> Result
    where
        Low: FixedRegister<Storage = u32> + From<u32>,
        High: FixedRegister<Storage = u32> + From<u32>,
    {
        // CAST: Takes the halves apart, nothing is lost.
        self.structures.set_common(Low::from(address as u32))?;
        self.structures
            .set_common(High::from((address >> u32::BITS) as u32))
    }
}

/// Status and features.
impl Transport<'_> {
    /// Returns `device_status`: all ones or 0 if the device is gone.
    ///
    /// # Context
    ///
    /// Any.
    pub(crate) fn status(&self) -> u8 {
        self.structures
            .common::<regs::DEVICE_STATUS>()
            .unwrap_or(GONE)
    }

    /// Whether the device is no longer there: pulled out, powered off, or cut off from the bus.
    ///
    /// # Context
    ///
    /// Any.
    pub(crate) fn is_gone(&self) -> bool {
        match self.status() {
            GONE => true,
            // Either reset, or read from nowhere: only configuration space tells the difference.
            0 => !self.pdev.is_present(),
            _ => false,
        }
    }

    /// Whether the device has to be reset before it goes on (`DEVICE_NEEDS_RESET`). Of a device
    /// that [is gone](Self::is_gone) the answer means nothing.
    ///
    /// # Context
    ///
    /// Any.
    pub(crate) fn needs_reset(&self) -> bool {
        regs::DEVICE_STATUS::from(self.status())
            .needs_reset()
            .into()
    }

    /// Sets bits of `device_status`; the driver clears none but by a reset.
    fn add_status(&self, add: impl FnOnce(regs::DEVICE_STATUS) -> regs::DEVICE_STATUS) {
        // CAST: All accesses to this register are within the structure, so there is no error.
        let _ = self
            .structures
            .set_common(add(regs::DEVICE_STATUS::from(self.status())));
    }

    /// Sets `DRIVER_OK`: from here on the device uses the queues and raises interrupts.
    ///
    /// # Context
    ///
    /// Any.
    pub(crate) fn driver_ok(&self) {
        self.add_status(|status| status.with_driver_ok(true));
    }

    /// Sets `FAILED`: the driver has given up on the device. Does nothing if it is gone.
    ///
    /// # Context
    ///
    /// Any.
    pub(crate) fn fail(&self) {
        if !self.is_gone() {
            self.add_status(|status| status.with_failed(true));
        }
    }

    /// Resets the device and waits until it says that it is done, at most 1 s.
    ///
    /// After success the device uses no queue any more, does no DMA and raises no interrupt.
    /// After a failure it may still do all of that: the caller turns bus mastering off and
    /// [abandons](crate::dma::DmaContext::abandon) the memory that the device was given.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if the device is gone, without a message: that is no fault. [`ETIMEDOUT`], with
    /// one line, if it never reads as 0.
    ///
    /// # Context
    ///
    /// Process context (probe, unbind, recovery); sleeps. No spinlock held.
    pub(crate) fn reset(&self) -> Result {
        self.structures.set_common(regs::DEVICE_STATUS::from(0))?;

        read_poll_timeout(
            || match self.structures.common::<regs::DEVICE_STATUS>()? {
                GONE => Err(ENODEV),
                status => Ok(status),
            },
            |status| *status == 0,
            Delta::from_millis(RESET_POLL_MS.into()),
            Delta::from_millis(RESET_TIMEOUT_MS.into()),
        )
        .inspect_err(|error| {
            if *error == ETIMEDOUT {
                dev_err!(
                    self.pdev,
                    "device did not reset within {} ms, status {:#x}\n",
                    RESET_TIMEOUT_MS,
                    self.status()
                );
            }
        })?;

        // A 0 that was read from nowhere does not count.
        if self.is_gone() {
            return Err(ENODEV);
        }
        Ok(())
    }

    /// Resets the device and negotiates features, up to and including `FEATURES_OK`.
    ///
    /// Sets `FAILED` if the device was reset and then something does not work out.
    ///
    /// # Errors
    ///
    /// Each with one line in the log. [`ENODEV`]: the device does not answer, is not a version 1
    /// device, does not take the features, or is behind an IOMMU and bypasses it.
    /// [`ETIMEDOUT`]: it does not reset.
    ///
    /// # Context
    ///
    /// Process context; sleeps. Not concurrently with queue set-up.
    pub(crate) fn negotiate(&self) -> Result<Features> {
        self.reset().inspect_err(|error| {
            if *error == ENODEV {
                dev_err!(self.pdev, "device does not answer\n");
            }
        })?;

        self.add_status(|status| status.with_acknowledge(true));
        self.add_status(|status| status.with_driver(true));

        self.negotiate_features().inspect_err(|_| self.fail())
    }

    /// The part of [`Self::negotiate`] after `DRIVER`.
    fn negotiate_features(&self) -> Result<Features> {
        let device = self.device_features()?;
        let features = Features {
            device,
            driver: device & WANTED,
        };

        if !features.has(feature::VERSION_1) {
            dev_err!(self.pdev, "device does not offer VIRTIO_F_VERSION_1\n");
            return Err(ENODEV);
        }
        // Such a device takes what the DMA API hands out for physical addresses.
        if self.pdev.as_ref().iommu_mapped() && !features.has(feature::ACCESS_PLATFORM) {
            dev_err!(
                self.pdev,
                "device is behind an IOMMU but does not offer VIRTIO_F_ACCESS_PLATFORM\n"
            );
            return Err(ENODEV);
        }

        self.set_driver_features(features.driver)?;
        self.add_status(|status| status.with_features_ok(true));

        let status = self.status();
        let features_ok: bool = regs::DEVICE_STATUS::from(status).features_ok().into();
        if status == GONE || !features_ok {
            dev_err!(
                self.pdev,
                "device does not accept features {:#x} of {:#x}\n",
                features.driver,
                features.device
            );
            return Err(ENODEV);
        }
        Ok(features)
    }

    /// Reads the 64 bits of features that are defined.
    fn device_features(&self) -> Result<u64> {
        let mut features = 0;
        for half in 0..2u32 {
            self.structures
                .set_common(regs::DEVICE_FEATURE_SELECT::from(half))?;
            let bits = self.structures.common::<regs::DEVICE_FEATURE>()?;
            features |= u64::from(bits) << (half * u32::BITS);
        }
        Ok(features)
    }

    /// Writes the 64 bits of features that are defined.
    fn set_driver_features(&self, features: u64) -> Result {
        for half in 0..2u32 {
            self.structures
                .set_common(regs::DRIVER_FEATURE_SELECT::from(half))?;
            // CAST: Takes the half that is selected.
            let bits = (features >> (half * u32::BITS)) as u32;
            self.structures
                .set_common(regs::DRIVER_FEATURE::from(bits))?;
        }
        Ok(())
    }
}

/// Queues and interrupts.
impl Transport<'_> {
    /// Writes `message` with `write` and checks what `read` gives back.
    ///
    /// A device that has no resources for the message answers [`NO_VECTOR`].
    fn set_message<T>(&self, message: Option<u16>) -> Result
    where
        T: FixedRegister<Storage = u16> + From<u16>,
    {
        let vector = message.unwrap_or(NO_VECTOR);
        self.structures.set_common(T::from(vector))?;
        if self.structures.common::<T>()? == vector {
            Ok(())
        } else {
            Err(EBUSY)
        }
    }

    /// Says which MSI-X message the device sends when its configuration changes; `None` for no
    /// message, which is right for a line interrupt.
    ///
    /// # Errors
    ///
    /// [`EBUSY`], with one line, if the device does not take the message.
    ///
    /// # Context
    ///
    /// Process context, after [`Self::negotiate`].
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
    /// # Errors
    ///
    /// Each with one line. [`ENOENT`]: the device has no such queue, or offers 0 descriptors, which
    /// says the same. [`EINVAL`]: it offers a number that is not a power of two.
    ///
    /// # Context
    ///
    /// Process context, after [`Self::negotiate`]. Not concurrently with queue set-up.
    pub(crate) fn queue_size(&self, queue: u16) -> Result<u16> {
        let queues = self.structures.common::<regs::NUM_QUEUES>()?;
        if queue >= queues {
            dev_err!(self.pdev, "no queue {}: device has {}\n", queue, queues);
            return Err(ENOENT);
        }

        self.structures
            .set_common(regs::QUEUE_SELECT::from(queue))?;
        let offered = self.structures.common::<regs::QUEUE_SIZE>()?;
        if let Some(size) = sensible_queue_size(offered) {
            return Ok(size);
        }
        dev_err!(self.pdev, "queue {} has bad size {}\n", queue, offered);
        Err(if offered == 0 { ENOENT } else { EINVAL })
    }

    /// Hands queue `queue` to the device: `size` descriptors, as [`Self::queue_size`] said, at
    /// `addresses`; used buffers are announced with MSI-X message `message`, `None` for none.
    ///
    /// The device does not use the queue before [`Self::driver_ok`]. From then on and until the
    /// device is reset its memory belongs to the device.
    ///
    /// # Errors
    ///
    /// Each with one line. [`EBUSY`]: the queue is enabled already, or the device does not take the
    /// message. [`EINVAL`]: its doorbell is not within the notification structure. [`EIO`]: the
    /// device does not enable the queue.
    ///
    /// # Context
    ///
    /// Process context, after [`Self::negotiate`]. Not concurrently with queue set-up.
    pub(crate) fn setup_queue(
        &self,
        queue: u16,
        message: Option<u16>,
        addresses: QueueAddresses,
        size: u16,
    ) -> Result<Doorbell> {
        self.structures
            .set_common(regs::QUEUE_SELECT::from(queue))?;
        if self.structures.common::<regs::QUEUE_ENABLE>()? != 0 {
            dev_err!(self.pdev, "queue {} is enabled already\n", queue);
            return Err(EBUSY);
        }
        let doorbell = self.doorbell(queue)?;

        self.structures.set_common(regs::QUEUE_SIZE::from(size))?;
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

        // Last, as the specification asks for.
        self.structures.set_common(regs::QUEUE_ENABLE::from(1))?;
        if self.structures.common::<regs::QUEUE_ENABLE>()? != 1 {
            dev_err!(self.pdev, "device does not enable queue {}\n", queue);
            return Err(EIO);
        }
        Ok(doorbell)
    }

    /// Finds the doorbell of the selected queue, which is `queue`.
    fn doorbell(&self, queue: u16) -> Result<Doorbell> {
        let region = &self.capabilities().notify;
        let notify_off = self.structures.common::<regs::QUEUE_NOTIFY_OFF>()?;
        let multiplier = self.capabilities().notify_multiplier;

        let Some(offset) = doorbell_offset(region.len, notify_off, multiplier)
            .and_then(|offset| offset.checked_add(region.offset))
        else {
            dev_err!(
                self.pdev,
                "doorbell {} * {} of queue {} is beyond {} bytes\n",
                notify_off,
                multiplier,
                queue,
                region.len
            );
            return Err(EINVAL);
        };
        Ok(Doorbell {
            // CAST: `u32` to `usize` does not truncate where there is PCI.
            offset: offset as usize,
            queue,
        })
    }

    /// Tells the device that a queue has new buffers.
    ///
    /// The write is not relaxed: it stays behind the writes to memory that published the buffers.
    ///
    /// # Context
    ///
    /// Any, also with interrupts off and with the lock of a message held.
    #[inline]
    pub(crate) fn notify(&self, doorbell: Doorbell) {
        let rung = self.structures.notify(doorbell.offset, doorbell.queue);
        debug_assert!(rung.is_ok());
    }

    /// Returns why the device raised its line interrupt, [`ISR_QUEUE`] and [`ISR_CONFIG`], and
    /// thereby lowers the line. 0 if it did not, or if it is gone.
    ///
    /// For a line interrupt only; with MSI-X the register says nothing.
    ///
    /// # Context
    ///
    /// Any, also hard interrupt context.
    pub(crate) fn isr(&self) -> u8 {
        match self.structures.isr::<regs::ISR_STATUS>() {
            // On a shared line, a device that is gone must not claim the interrupts of others.
            Ok(isr) if isr != GONE => isr & (ISR_QUEUE | ISR_CONFIG),
            _ => 0,
        }
    }
}

/// Device configuration.
impl Transport<'_> {
    /// Reads the device configuration, all fields from the same generation of it.
    ///
    /// # Errors
    ///
    /// Each but the first with one line. [`ENODEV`]: the device is gone. [`EIO`]: the configuration
    /// does not hold still. [`EINVAL`]: more scanouts or capability sets than a device may have.
    ///
    /// # Context
    ///
    /// Process context: retries, a bounded number of times.
    pub(crate) fn config(&self) -> Result<DeviceConfig> {
        let config = self.stable_config()?;

        if self.is_gone() {
            return Err(ENODEV);
        }
        if config.num_scanouts > MAX_SCANOUTS || config.num_capsets > MAX_CAPSETS {
            dev_err!(
                self.pdev,
                "device has {} scanouts and {} capability sets\n",
                config.num_scanouts,
                config.num_capsets
            );
            return Err(EINVAL);
        }
        Ok(config)
    }

    /// The part of [`Self::config`] that reads.
    fn stable_config(&self) -> Result<DeviceConfig> {
        for _ in 0..CONFIG_RETRIES {
            let generation = self.structures.common::<regs::CONFIG_GENERATION>()?;
            let config = DeviceConfig {
                num_scanouts: self.structures.device::<regs::NUM_SCANOUTS>()?,
                num_capsets: self.structures.device::<regs::NUM_CAPSETS>()?,
            };
            if self.structures.common::<regs::CONFIG_GENERATION>()? == generation {
                return Ok(config);
            }
        }
        dev_err!(self.pdev, "device configuration does not hold still\n");
        Err(EIO)
    }

    /// Returns the pending events, `VIRTIO_GPU_EVENT_*`; none if the device is gone.
    ///
    /// One access of 32 bits, which needs no look at the generation.
    ///
    /// # Context
    ///
    /// Any.
    pub(crate) fn events_read(&self) -> u32 {
        match self.structures.device::<regs::EVENTS_READ>() {
            Ok(events) if events != u32::MAX => events,
            _ => 0,
        }
    }

    /// Clears `events`, bits that [`Self::events_read`] returned.
    ///
    /// # Context
    ///
    /// Any.
    pub(crate) fn clear_events(&self, events: u32) {
        let cleared = self.structures.set_device(regs::EVENTS_CLEAR::from(events));
        debug_assert!(cleared.is_ok());
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
    fn doorbells_within_their_structure() {
        assert_eq!(doorbell_offset(8, 1, 4), Some(4));
        assert_eq!(doorbell_offset(6, 1, 4), Some(4));
        assert_eq!(doorbell_offset(5, 1, 4), None);
        assert_eq!(doorbell_offset(2, u16::MAX, 0), Some(0));
        assert_eq!(doorbell_offset(1, 0, 0), None);
        assert_eq!(doorbell_offset(8, 1, 1), None);
        assert_eq!(doorbell_offset(u32::MAX, u16::MAX, u32::MAX), None);
    }
}
