// SPDX-License-Identifier: GPL-2.0

//! [`Transport`] drives a virtio 1.x device over PCI: it resets the device, negotiates features,
//! sets up queues, notifies, and reads the device configuration.
//!
//! Names are those of the specification (virtio 1.3, 4.1, and 5.7.4 for the GPU's configuration). C
//! counterparts: `drivers/virtio/virtio_pci_modern_dev.c` and `virtio_pci_modern.c`.
//!
//! [`Transport`] takes no lock. [`Transport::negotiate`], [`Transport::queue_size`] and
//! [`Transport::setup_queue`] write a selector register and then access what it selects, so no two
//! of them may run at the same time: call them only while the device is being started or resumed.
//! The other functions may run at the same time as any. Each names the contexts that it may run in.
//!
//! The device is not trusted, and it can be pulled out at any time. After that its configuration
//! space reads as all ones. Its registers do too, but behind QEMU's root ports they read as 0. Each
//! register is read once, into a local, and checked.

use kernel::{
    device::Bound,
    pci,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    uapi::RUST_GPU_MAX_SCANOUTS, //
};

mod addressing;
pub(crate) mod caps;
mod handshake;
mod queues;
mod regions;
mod regs;

pub(crate) use self::{
    addressing::{
        Addressing,
        PhysAddress, //
    },
    handshake::Features,
    queues::{
        NotifyAddress,
        QueueAddresses,
        ISR_CONFIG,
        ISR_QUEUE, //
    },
    regs::{
        feature,
        EVENT_DISPLAY, //
    }, //
};
use self::{
    caps::Capabilities,
    regions::Regions, //
};

/// The most capability sets that are accepted. Their ids are bits of a 64-bit mask in the user API.
pub(crate) const MAX_CAPSETS: u32 = 64;

/// What an 8-bit register reads as when the device is gone.
const GONE: u8 = u8::MAX;

/// How often the device configuration is read before giving up, if it changes during each read.
const CONFIG_RETRIES: u32 = 16;

/// The device configuration, `struct virtio_gpu_config`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceConfig {
    /// Number of scanouts, at most [`RUST_GPU_MAX_SCANOUTS`]; 0 for a device without a display.
    pub(crate) num_scanouts: u32,
    /// Number of capability sets, at most [`MAX_CAPSETS`].
    pub(crate) num_capsets: u32,
}

/// A virtio GPU on PCI.
///
/// Dropping it unmaps and releases the BARs. It does not reset the device: do that first. Unless
/// [`Transport::stopped`] was called, dropping it also sets `FAILED`.
pub(crate) struct Transport<'a> {
    pdev: &'a pci::Device<Bound>,
    regions: Regions<'a>,
    stopped: Atomic<bool>,
}

impl Drop for Transport<'_> {
    fn drop(&mut self) {
        if !self.stopped.load(Relaxed) {
            self.fail();
        }
    }
}

impl<'a> Transport<'a> {
    /// Finds the configuration structures of the device and maps them.
    ///
    /// `pdev` must be enabled.
    ///
    /// Errors: those of [`Regions::new`], each with one line in the log.
    ///
    /// Context: process; may sleep.
    pub(crate) fn new(pdev: &'a pci::Device<Bound>) -> Result<Self> {
        Ok(Self {
            pdev,
            regions: Regions::new(pdev)?,
            stopped: Atomic::new(false),
        })
    }

    /// Records that the device was started and stopped without a failure of the driver.
    ///
    /// Context: any.
    pub(crate) fn stopped(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// Returns the structures that the capability walk found, with the shared memory regions.
    pub(crate) fn capabilities(&self) -> &Capabilities {
        self.regions.capabilities()
    }
}

/// Device configuration.
impl Transport<'_> {
    /// Reads the device configuration. All fields are of the same generation.
    ///
    /// Errors: [`ENODEV`]: the device is gone. With one line in the log, [`EIO`]: the configuration
    /// changes during each read; [`EINVAL`]: more scanouts or capability sets than a device may
    /// have.
    ///
    /// Context: process; retries, a bounded number of times.
    pub(crate) fn config(&self) -> Result<DeviceConfig> {
        let config = self.stable_config()?;

        if self.is_gone() {
            return Err(ENODEV);
        }
        if config.num_scanouts > RUST_GPU_MAX_SCANOUTS || config.num_capsets > MAX_CAPSETS {
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

    /// Reads the device configuration for [`Self::config`], which checks it.
    fn stable_config(&self) -> Result<DeviceConfig> {
        for _ in 0..CONFIG_RETRIES {
            let generation = self.regions.common::<regs::CONFIG_GENERATION>()?;
            let config = DeviceConfig {
                num_scanouts: self.regions.device::<regs::NUM_SCANOUTS>()?,
                num_capsets: self.regions.device::<regs::NUM_CAPSETS>()?,
            };
            if self.regions.common::<regs::CONFIG_GENERATION>()? == generation {
                return Ok(config);
            }
        }
        dev_err!(self.pdev, "device configuration does not hold still\n");
        Err(EIO)
    }

    /// Returns the pending events, `VIRTIO_GPU_EVENT_*`; none if the device is gone.
    ///
    /// This is one access of 32 bits, so the generation does not matter.
    ///
    /// Context: any.
    pub(crate) fn events_read(&self) -> u32 {
        match self.regions.device::<regs::EVENTS_READ>() {
            Ok(events) if events != u32::MAX => events,
            _ => 0,
        }
    }

    /// Clears `events`, bits that [`Self::events_read`] returned.
    ///
    /// Context: any.
    pub(crate) fn clear_events(&self, events: u32) {
        let cleared = self.regions.set_device(regs::EVENTS_CLEAR::from(events));
        debug_assert!(cleared.is_ok());
    }
}
