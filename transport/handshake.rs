// SPDX-License-Identifier: GPL-2.0

//! [`Transport`] resets the device, sets its status bits, and negotiates its [`Features`].

use kernel::{
    dma,
    guest,
    io::poll::read_poll_timeout,
    prelude::*,
    time::Delta, //
};

use crate::transport::regs::{
    self,
    feature, //
};

use super::{
    Addressing,
    Transport,
    GONE, //
};

/// The features of the 3D side that the driver accepts: all only with the first, and none where
/// memory is bounced.
const RENDER: u64 = match cfg!(CONFIG_DRM_RUST_GPU_RENDER) {
    true => 1 << feature::VIRGL | 1 << feature::CONTEXT_INIT,
    false => 0,
};

/// The other features that the driver accepts if the device offers them.
const WANTED: u64 = 1 << feature::EDID
    | 1 << feature::RING_INDIRECT_DESC
    | 1 << feature::RING_EVENT_IDX
    | 1 << feature::VERSION_1
    | 1 << feature::ACCESS_PLATFORM
    | 1 << feature::ORDER_PLATFORM;

/// How long [`Transport::reset`] waits for the device, in milliseconds.
const RESET_TIMEOUT_MS: u32 = 1000;

/// How long [`Transport::reset`] sleeps between two reads of the status, in milliseconds.
const RESET_POLL_MS: u32 = 1;

/// Features of the device and of the driver; see [`feature`] for the bit numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Features {
    /// All that the device offers, also those that the driver does not know.
    pub(crate) device: u64,
    /// What was negotiated.
    pub(crate) driver: u64,
    /// By which addresses the device accesses memory, which follows from that.
    pub(crate) addressing: Addressing,
    /// The device accesses copies of memory, and what it writes there is not seen.
    pub(crate) is_bounced: bool,
}

impl Features {
    /// Returns whether `bit`, a constant of [`feature`], was negotiated.
    pub(crate) fn has(&self, bit: u32) -> bool {
        self.driver & (1 << bit) != 0
    }
}

/// Status and features.
impl Transport<'_> {
    /// Returns `device_status`: all ones or 0 if the device is gone.
    ///
    /// Context: any.
    pub(crate) fn status(&self) -> u8 {
        self.regions.common::<regs::DEVICE_STATUS>().unwrap_or(GONE)
    }

    /// Returns whether the device is no longer there: pulled out, powered off, or cut off from the
    /// bus.
    ///
    /// Context: any.
    pub(crate) fn is_gone(&self) -> bool {
        match self.status() {
            GONE => true,
            // The device was reset, or it is gone: only configuration space tells which.
            0 => self.has_left_bus(),
            _ => false,
        }
    }

    /// Returns whether the device has left the bus: not even its configuration space answers.
    ///
    /// It then does no DMA. It has no power or no link, and both come back with a reset.
    ///
    /// Context: any.
    pub(crate) fn has_left_bus(&self) -> bool {
        !self.pdev.is_present()
    }

    /// Returns whether the device must be reset before it goes on (`DEVICE_NEEDS_RESET`). The
    /// answer means nothing if the device [is gone](Self::is_gone).
    ///
    /// Context: any.
    pub(crate) fn needs_reset(&self) -> bool {
        regs::DEVICE_STATUS::from(self.status())
            .needs_reset()
            .into()
    }

    /// Returns whether `DRIVER_OK` is set: not if the device was reset since. The answer means
    /// nothing if the device [is gone](Self::is_gone).
    ///
    /// Context: any.
    pub(crate) fn is_driver_ok(&self) -> bool {
        regs::DEVICE_STATUS::from(self.status()).driver_ok().into()
    }

    /// Sets bits of `device_status`. Only a reset clears them.
    fn add_status(&self, add: impl FnOnce(regs::DEVICE_STATUS) -> regs::DEVICE_STATUS) {
        // Cannot fail: the register lies within the structure.
        let _ = self
            .regions
            .set_common(add(regs::DEVICE_STATUS::from(self.status())));
    }

    /// Sets `DRIVER_OK`: from here on the device uses the queues and raises interrupts.
    ///
    /// Context: any.
    pub(crate) fn driver_ok(&self) {
        self.add_status(|status| status.with_driver_ok(true));
    }

    /// Sets `FAILED`: the driver has given up on the device. Does nothing if the device is gone.
    ///
    /// Context: any.
    pub(super) fn fail(&self) {
        if !self.is_gone() {
            self.add_status(|status| status.with_failed(true));
        }
    }

    /// Resets the device and waits until it reports that it is done, at most 1 s.
    ///
    /// After success the device uses no queue, does no DMA and raises no interrupt. After a failure
    /// it may still do all of that, unless it [has left the bus](Self::has_left_bus): the caller
    /// then turns bus mastering off. Before it frees the memory that the device was given, it
    /// [abandons](crate::virtqueue::DmaContext::abandon) that.
    ///
    /// Errors: [`ENODEV`] if the device is gone, which is not logged. [`ETIMEDOUT`], with one line
    /// in the log, if the status does not become 0.
    ///
    /// Context: process; sleeps; no spinlock held.
    pub(crate) fn reset(&self) -> Result {
        self.regions.set_common(regs::DEVICE_STATUS::from(0))?;

        // WAIT: reset
        read_poll_timeout(
            || match self.regions.common::<regs::DEVICE_STATUS>()? {
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

        // A device that is gone may also read as 0.
        if self.is_gone() {
            return Err(ENODEV);
        }
        Ok(())
    }

    /// Resets the device and negotiates features, up to and including `FEATURES_OK`: those that the
    /// driver knows, or no others than it took `before`, as far as the device offers them.
    ///
    /// Sets `FAILED` if anything after the reset fails.
    ///
    /// Errors: each with one line in the log. [`ENODEV`]: the device does not answer, is not a
    /// version 1 device, does not take the features, or cannot access the encrypted memory of this
    /// guest.
    /// [`ETIMEDOUT`]: it does not finish the reset.
    ///
    /// Context: process; sleeps; not concurrently with queue set-up.
    pub(crate) fn negotiate(&self, before: Option<&Features>) -> Result<Features> {
        self.reset().inspect_err(|error| {
            if *error == ENODEV {
                dev_err!(self.pdev, "device does not answer\n");
            }
        })?;

        self.add_status(|status| status.with_acknowledge(true));
        self.add_status(|status| status.with_driver(true));

        let most = before.map_or(WANTED | RENDER, |features| features.driver);
        self.negotiate_features(most).inspect_err(|_| self.fail())
    }

    /// Does what follows `DRIVER` in [`Self::negotiate`]. Takes none but `most`.
    fn negotiate_features(&self, most: u64) -> Result<Features> {
        let device = self.device_features()?;
        let offered = device & most;
        let driver = offered & WANTED;
        let has = |bit: u32| driver & (1 << bit) != 0;

        if !has(feature::VERSION_1) {
            dev_err!(self.pdev, "device does not offer VIRTIO_F_VERSION_1\n");
            return Err(ENODEV);
        }
        let Some(addressing) = Addressing::new(
            has(feature::ACCESS_PLATFORM),
            guest::is_xen(),
            guest::has_encrypted_memory(),
        ) else {
            dev_err!(
                self.pdev,
                "memory is encrypted but device does not offer VIRTIO_F_ACCESS_PLATFORM\n"
            );
            return Err(ENODEV);
        };
        let is_bounced = matches!(addressing, Addressing::Dma(_))
            && dma::max_mapping_size(self.pdev.as_ref()) != usize::MAX;
        // With 3D the device writes into memory that user space has mapped.
        let render = match offered & 1 << feature::VIRGL != 0 && !is_bounced {
            true => offered & RENDER,
            false => 0,
        };
        let features = Features {
            device,
            driver: driver | render,
            addressing,
            is_bounced,
        };

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
            self.regions
                .set_common(regs::DEVICE_FEATURE_SELECT::from(half))?;
            let bits = self.regions.common::<regs::DEVICE_FEATURE>()?;
            features |= u64::from(bits) << (half * u32::BITS);
        }
        Ok(features)
    }

    /// Writes the 64 bits of features that are defined.
    fn set_driver_features(&self, features: u64) -> Result {
        for half in 0..2u32 {
            self.regions
                .set_common(regs::DRIVER_FEATURE_SELECT::from(half))?;
            // CAST: Keeps the selected half.
            let bits = (features >> (half * u32::BITS)) as u32;
            self.regions.set_common(regs::DRIVER_FEATURE::from(bits))?;
        }
        Ok(())
    }
}
