// SPDX-License-Identifier: GPL-2.0

//! A [`SleepDriver`] suspends and resumes PCI devices with the system.
//!
//! C header: [`include/linux/pm.h`](srctree/include/linux/pm.h)

use super::{
    Device,
    Driver, //
};
use crate::{
    bindings,
    container_of,
    device::{
        Core,
        CoreInternal, //
    },
    error::from_result,
    prelude::*, //
};
use core::marker::PhantomData;

/// A PCI driver that suspends and resumes its devices with the system.
///
/// The same two callbacks serve suspend-to-idle, suspend-to-RAM and all phases of hibernation, as
/// with `DEFINE_SIMPLE_DEV_PM_OPS()`. A driver names them in [`Driver::PM_OPS`].
///
/// # Examples
///
/// ```
/// use kernel::{device::Core, pci, prelude::*};
///
/// struct MyDriver;
///
/// kernel::pci_device_table!(
///     PCI_TABLE,
///     <MyDriver as pci::Driver>::IdInfo,
///     [(pci::DeviceId::from_id(pci::Vendor::REDHAT, 0x1), ())]
/// );
///
/// impl pci::Driver for MyDriver {
///     type IdInfo = ();
///     type Data<'bound> = Self;
///     const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;
///     const PM_OPS: Option<pci::PmOps<Self>> = Some(pci::PmOps::new());
///
///     fn probe<'bound>(
///         _pdev: &'bound pci::Device<Core<'_>>,
///         _id_info: Option<&'bound Self::IdInfo>,
///     ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
///         Err(ENODEV)
///     }
/// }
///
/// impl pci::SleepDriver for MyDriver {
///     fn suspend<'bound>(
///         pdev: &'bound pci::Device<Core<'_>>,
///         _this: Pin<&Self::Data<'bound>>,
///     ) -> Result {
///         dev_info!(pdev, "good night\n");
///         Ok(())
///     }
///
///     fn resume<'bound>(
///         pdev: &'bound pci::Device<Core<'_>>,
///         _this: Pin<&Self::Data<'bound>>,
///     ) -> Result {
///         dev_info!(pdev, "good morning\n");
///         Ok(())
///     }
/// }
/// ```
pub trait SleepDriver: Driver {
    /// Suspends the device, which must do no DMA and raise no interrupt when this returns. It may
    /// lose its state.
    ///
    /// User space is frozen. Kernel threads run, unless they asked for freezing, and interrupts
    /// still arrive. The PCI core saves the configuration space and chooses the power state
    /// afterwards.
    ///
    /// Errors: the system stays awake, and [`Self::resume`] is not called for this device.
    ///
    /// Context: process, may sleep; the lock of the device is held.
    #[doc(alias = "freeze")]
    #[doc(alias = "poweroff")]
    fn suspend<'bound>(dev: &'bound Device<Core<'_>>, this: Pin<&Self::Data<'bound>>) -> Result;

    /// Resumes the device after [`Self::suspend`].
    ///
    /// User space is still frozen. The PCI core has restored the power state and the configuration
    /// space, including bus mastering and message signaled interrupts. The device may have lost any
    /// other state, and another kernel may have used it meanwhile.
    ///
    /// Errors: the driver core logs them. They have no other effect.
    ///
    /// Context: process, may sleep; the lock of the device is held.
    #[doc(alias = "thaw")]
    #[doc(alias = "restore")]
    fn resume<'bound>(dev: &'bound Device<Core<'_>>, this: Pin<&Self::Data<'bound>>) -> Result;
}

/// The sleep callbacks of a driver, for [`Driver::PM_OPS`].
#[doc(alias = "dev_pm_ops")]
pub struct PmOps<T: ?Sized> {
    ops: bindings::dev_pm_ops,
    _driver: PhantomData<fn(&T)>,
}

impl<T: SleepDriver> PmOps<T> {
    /// Makes the callbacks of `T`.
    #[expect(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            ops: bindings::dev_pm_ops {
                suspend: Some(Self::suspend_callback),
                resume: Some(Self::resume_callback),
                freeze: Some(Self::suspend_callback),
                thaw: Some(Self::resume_callback),
                poweroff: Some(Self::suspend_callback),
                restore: Some(Self::resume_callback),
                ..pin_init::zeroed()
            },
            _driver: PhantomData,
        }
    }

    /// # Safety
    ///
    /// Only the PCI bus calls this, for a device that is bound to this driver. It holds the
    /// lock of the device, so the device stays bound.
    unsafe extern "C" fn suspend_callback(dev: *mut bindings::device) -> c_int {
        // SAFETY: By the safety requirements `dev` is the field of a valid `struct pci_dev`.
        //
        // INVARIANT: It is valid for the duration of the call.
        let pdev = unsafe { &*device(dev) };

        // SAFETY: The device is bound, so `probe_callback` has stored a `Pin<KBox<T::Data<'_>>>`.
        let data = unsafe { pdev.as_ref().drvdata_borrow::<T::Data<'_>>() };

        from_result(|| T::suspend(pdev, data).map(|()| 0))
    }

    /// # Safety
    ///
    /// As [`Self::suspend_callback`].
    unsafe extern "C" fn resume_callback(dev: *mut bindings::device) -> c_int {
        // SAFETY: As in `suspend_callback`.
        //
        // INVARIANT: As in `suspend_callback`.
        let pdev = unsafe { &*device(dev) };

        // SAFETY: As in `suspend_callback`.
        let data = unsafe { pdev.as_ref().drvdata_borrow::<T::Data<'_>>() };

        from_result(|| T::resume(pdev, data).map(|()| 0))
    }
}

impl<T: ?Sized> PmOps<T> {
    pub(super) const fn as_raw(&self) -> *const bindings::dev_pm_ops {
        &raw const self.ops
    }
}

/// Returns the PCI device that `dev` is a field of.
///
/// # Safety
///
/// `dev` must be the field of a `struct pci_dev`.
unsafe fn device<'a>(dev: *mut bindings::device) -> *const Device<CoreInternal<'a>> {
    // SAFETY: By the safety requirements.
    unsafe { container_of!(dev, bindings::pci_dev, dev) }
        .cast_const()
        .cast()
}
