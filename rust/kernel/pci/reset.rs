// SPDX-License-Identifier: GPL-2.0

//! [`Device::try_reset_function()`] resets a PCI function, and a [`ResetDriver`] is told of resets.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use super::{
    Device,
    Driver, //
};
use crate::{
    bindings,
    device::{
        Bound,
        Core,
        CoreInternal, //
    },
    error::to_result,
    prelude::*, //
};
use core::marker::PhantomData;

/// A PCI driver that is told when the function of one of its devices is reset: by itself, with
/// [`Device::try_reset_function()`], or by anybody else, such as a user who writes to `reset` in
/// sysfs. A driver names the two callbacks in [`Driver::RESET_OPS`].
///
/// The callbacks are called in the thread that resets the function.
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
///     const RESET_OPS: Option<pci::ResetOps<Self>> = Some(pci::ResetOps::new());
///
///     fn probe<'bound>(
///         _pdev: &'bound pci::Device<Core<'_>>,
///         _id_info: Option<&'bound Self::IdInfo>,
///     ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
///         Err(ENODEV)
///     }
/// }
///
/// impl pci::ResetDriver for MyDriver {
///     fn reset_prepare<'bound>(
///         pdev: &'bound pci::Device<Core<'_>>,
///         _this: Pin<&Self::Data<'bound>>,
///     ) {
///         dev_info!(pdev, "stop\n");
///     }
///
///     fn reset_done<'bound>(
///         pdev: &'bound pci::Device<Core<'_>>,
///         _this: Pin<&Self::Data<'bound>>,
///     ) {
///         dev_info!(pdev, "go on\n");
///     }
/// }
/// ```
pub trait ResetDriver: Driver {
    /// The function will be reset: stop using it. The PCI core saves the configuration space
    /// afterwards, with bus mastering as it is when this returns.
    ///
    /// Context: process, may sleep; the lock of the device is held.
    fn reset_prepare<'bound>(dev: &'bound Device<Core<'_>>, this: Pin<&Self::Data<'bound>>);

    /// The function was reset, or that has failed. The configuration space is restored, including
    /// message signaled interrupts; the device has lost any other state.
    ///
    /// Context: as [`Self::reset_prepare`].
    fn reset_done<'bound>(dev: &'bound Device<Core<'_>>, this: Pin<&Self::Data<'bound>>);
}

/// The reset callbacks of a driver, for [`Driver::RESET_OPS`].
#[doc(alias = "pci_error_handlers")]
pub struct ResetOps<T: ?Sized> {
    ops: bindings::pci_error_handlers,
    _driver: PhantomData<fn(&T)>,
}

impl<T: ResetDriver> ResetOps<T> {
    /// Makes the callbacks of `T`.
    #[expect(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            ops: bindings::pci_error_handlers {
                reset_prepare: Some(Self::reset_prepare_callback),
                reset_done: Some(Self::reset_done_callback),
                ..pin_init::zeroed()
            },
            _driver: PhantomData,
        }
    }

    /// # Safety
    ///
    /// Only the PCI core calls this, for a device that is bound to this driver. It holds the lock
    /// of the device, so the device stays bound.
    unsafe extern "C" fn reset_prepare_callback(pdev: *mut bindings::pci_dev) {
        // SAFETY: By the safety requirements `pdev` is valid.
        //
        // INVARIANT: It is valid for the duration of the call.
        let pdev = unsafe { &*pdev.cast::<Device<CoreInternal<'_>>>() };

        // SAFETY: The device is bound, so `probe_callback` has stored a `Pin<KBox<T::Data<'_>>>`.
        let data = unsafe { pdev.as_ref().drvdata_borrow::<T::Data<'_>>() };

        T::reset_prepare(pdev, data);
    }

    /// # Safety
    ///
    /// As [`Self::reset_prepare_callback`].
    unsafe extern "C" fn reset_done_callback(pdev: *mut bindings::pci_dev) {
        // SAFETY: As in `reset_prepare_callback`.
        //
        // INVARIANT: As in `reset_prepare_callback`.
        let pdev = unsafe { &*pdev.cast::<Device<CoreInternal<'_>>>() };

        // SAFETY: As in `reset_prepare_callback`.
        let data = unsafe { pdev.as_ref().drvdata_borrow::<T::Data<'_>>() };

        T::reset_done(pdev, data);
    }
}

impl<T: ?Sized> ResetOps<T> {
    pub(super) const fn as_raw(&self) -> *const bindings::pci_error_handlers {
        &raw const self.ops
    }
}

impl Device<Bound> {
    /// Resets the function, by the first method that it has and that works: function-level reset,
    /// a power state, or its bus. Saves the configuration space before, and restores it after.
    ///
    /// Calls the callbacks of the driver's own [`ResetDriver`], in this thread.
    ///
    /// Errors: [`ENOTTY`] if the function has no method; [`EAGAIN`] if somebody else has the lock
    /// of the device, such as its unbind, or another reset; and those of the method.
    ///
    /// Context: process, sleeps, for up to a minute if the function does not answer afterwards. No
    /// lock held that the callbacks take.
    #[doc(alias = "pci_try_reset_function")]
    pub fn try_reset_function(&self) -> Result {
        // SAFETY: `self.as_raw()` is a pointer to a valid `struct pci_dev`.
        to_result(unsafe { bindings::pci_try_reset_function(self.as_raw()) })
    }
}
