// SPDX-License-Identifier: GPL-2.0

//! [`Service`] lets other kernel modules call `synchronize_execution`
//! (`include/linux/rust_gpu.h`).
//!
//! Callers name the adapter by a [`Handle`], never by a pointer. Handles are not reused. A handle
//! that was given out stays known for ever, and has the number of messages in it. So parameters are
//! checked first, also if the device is gone.
//!
//! The table of adapters is read under RCU alone, in any context. Slots are claimed and released by
//! compare-and-exchange when a device starts or stops. A call runs within one RCU read section. The
//! drop of a [`Service`] waits for calls that may have seen its entry.

use core::{
    ffi::c_void,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        rcu,
        Arc, //
    },
};

use crate::{
    gpu::Gpu,
    irq::{
        ntstatus,
        Adapter,
        Status, //
    },
};

/// Most devices that other modules can reach at one time.
const SLOTS: usize = 64;

/// The entries of running devices. A slot is claimed and released by compare-and-exchange.
static TABLE: [Atomic<*mut Entry>; SLOTS] = [const { Atomic::new(ptr::null_mut()) }; SLOTS];

/// Serial number of the last handle that was given out. The first is 1.
static LAST_SERIAL: Atomic<u64> = Atomic::new(0);

/// The name of an adapter: a serial number, its number of messages, and check digits.
///
/// The check digits are no secret. With them a mistaken value is most likely no handle.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Handle(u64);

impl Handle {
    /// Bits of the number of messages.
    const COUNT_BITS: u32 = 8;
    /// Bits of the serial number.
    const SERIAL_BITS: u32 = 32;
    /// Bits of the check digits, the lowest ones. The highest bit of a handle is 0.
    const CHECK_BITS: u32 = 23;

    /// Makes a handle. Returns [`None`] if the numbers do not fit into it.
    fn new(serial: u64, messages: u32) -> Option<Self> {
        let count = u64::from(u8::try_from(messages).ok()?);
        if serial >> Self::SERIAL_BITS != 0 {
            return None;
        }
        let body = serial << Self::COUNT_BITS | count;
        // 2^64 divided by the golden ratio (Knuth's multiplicative hash), as in linux/hash.h.
        let check = body.wrapping_mul(0x61c8_8646_80b5_83eb) >> (u64::BITS - Self::CHECK_BITS);
        Some(Self(body << Self::CHECK_BITS | check))
    }

    /// Checks what a caller passed as a handle. Returns [`None`] if it was never given out.
    fn given(value: u64) -> Option<Self> {
        let serial = value >> Self::CHECK_BITS >> Self::COUNT_BITS;
        let handle = Self::new(serial, Self(value).messages())?;
        let known = serial != 0 && serial <= LAST_SERIAL.load(Relaxed);
        (known && handle.0 == value).then_some(handle)
    }

    /// Returns the number of messages of the adapter.
    fn messages(self) -> u32 {
        // CAST: truncated to the bits of the number of messages.
        ((self.0 >> Self::CHECK_BITS) as u8).into()
    }
}

/// One device in the table.
struct Entry {
    handle: Handle,
    /// Its lifetime is that of the [`Service`] which made the entry.
    adapter: NonNull<Adapter<Gpu<'static>>>,
}

/// The registration of one adapter in the table.
///
/// # Invariants
///
/// `entry` is in one slot of `TABLE` and points to an [`Entry`] from [`KBox::into_raw`] whose
/// `adapter` points into `_adapter`.
pub(crate) struct Service<'a> {
    entry: *mut Entry,
    _adapter: Arc<Adapter<Gpu<'a>>>,
}

// SAFETY: The entry is only read, by calls that may run on any CPU, and freed once, by the drop.
unsafe impl Send for Service<'_> {}

// SAFETY: No method takes `&self` but `handle`, which reads what never changes.
unsafe impl Sync for Service<'_> {}

impl<'a> Service<'a> {
    /// Lets other modules reach `adapter`, under a new handle.
    ///
    /// Errors: [`ENOSPC`] if they reach 64 devices already or no handle is left, [`ENOMEM`].
    /// Context: process.
    ///
    /// # Safety
    ///
    /// The returned value must not be forgotten: after `'a` only its drop keeps callers out.
    pub(crate) unsafe fn new(adapter: Arc<Adapter<Gpu<'a>>>) -> Result<Self> {
        let serial = LAST_SERIAL.fetch_add(1, Relaxed) + 1;
        let entry = KBox::new(
            Entry {
                handle: Handle::new(serial, adapter.messages()).ok_or(ENOSPC)?,
                adapter: NonNull::from(&*adapter).cast(),
            },
            GFP_KERNEL,
        )?;
        let entry = KBox::into_raw(entry);
        for slot in &TABLE {
            // Release: a caller that finds the entry finds it complete.
            if slot.cmpxchg(ptr::null_mut(), entry, Release).is_ok() {
                // INVARIANT: Just put there; the box was made above, from `adapter`.
                return Ok(Self {
                    entry,
                    _adapter: adapter,
                });
            }
        }
        // SAFETY: From `into_raw` above; it was not published.
        drop(unsafe { KBox::from_raw(entry) });
        Err(ENOSPC)
    }

    /// Returns the handle.
    pub(crate) fn handle(&self) -> u64 {
        // SAFETY: By the type invariant `entry` is valid until the drop.
        unsafe { (*self.entry).handle.0 }
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        for slot in &TABLE {
            if slot.cmpxchg(self.entry, ptr::null_mut(), Relaxed).is_ok() {
                break;
            }
        }
        // Callers look the entry up and use it within one RCU read section.
        // WAIT: modules
        rcu::synchronize_rcu();
        // SAFETY: From `into_raw` in `new`; it is out of the table, and the readers that had seen
        // it there are done.
        drop(unsafe { KBox::from_raw(self.entry) });
    }
}

/// Enters the RCU read section of a call.
///
/// Disabled preemption is the cheaper read section, as the message's lock disables it anyway. On
/// PREEMPT_RT that lock may sleep, so there it is the usual one.
#[inline(always)]
fn read_section() -> impl Sized {
    #[cfg(CONFIG_PREEMPT_RT)]
    return rcu::read_lock();
    #[cfg(not(CONFIG_PREEMPT_RT))]
    return rcu::preempt_disable();
}

/// Runs `routine` through the adapter that `handle` names, and returns the status.
#[inline(always)]
fn synchronize(handle: u64, message: u32, routine: impl FnOnce()) -> u32 {
    let guard = read_section();
    for slot in &TABLE {
        let entry = slot.load(Acquire);
        if entry.is_null() {
            continue;
        }
        // SAFETY: The entry was in the table within this RCU read section, so `Service::drop` has
        // not freed it.
        let entry = unsafe { &*entry };
        if entry.handle.0 == handle {
            // SAFETY: `Service` keeps the adapter, and what it borrows, until no reader can use the
            // entry.
            let adapter = unsafe { entry.adapter.as_ref() };
            let answer = adapter.synchronize_execution(message, |_| routine());
            return ntstatus(&answer);
        }
    }
    drop(guard);
    absent(handle, message) as u32
}

/// Returns the answer for a handle that names no running device.
#[cold]
fn absent(handle: u64, message: u32) -> Status {
    match Handle::given(handle) {
        Some(handle) if message < handle.messages() => Status::Unsuccessful,
        _ => Status::InvalidParameter,
    }
}

/// Runs `routine` so that it cannot overlap the interrupt routine of a message,
/// `DxgkCbSynchronizeExecution`. `include/linux/rust_gpu.h` describes it.
///
/// # Safety
///
/// `routine`, if not NULL, must be a function of that type that may be called with `context` under
/// a message lock; `return_value`, if not NULL, must be valid for writing a `bool`.
#[doc(alias = "DxgkCbSynchronizeExecution")]
#[no_mangle]
pub(crate) unsafe extern "C" fn rust_gpu_synchronize_execution(
    handle: u64,
    routine: Option<unsafe extern "C" fn(context: *mut c_void) -> bool>,
    context: *mut c_void,
    message_number: u32,
    return_value: *mut bool,
) -> u32 {
    let Some(routine) = routine else {
        return Status::InvalidParameter as u32;
    };
    if return_value.is_null() {
        return Status::InvalidParameter as u32;
    }
    synchronize(handle, message_number, || {
        // SAFETY: The routine may be called by the requirement of this function, which also makes
        // `return_value` valid for writing, as it is not NULL.
        unsafe { *return_value = routine(context) };
    })
}

#[cfg(CONFIG_DRM_RUST_GPU_KUNIT_TEST)]
#[kunit_tests(rust_gpu_service)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_no_handle() -> Result {
        let handle = Handle::new(1, 3).ok_or(EINVAL)?;
        assert_eq!(handle.messages(), 3);
        LAST_SERIAL.fetch_add(1, Relaxed);
        assert!(Handle::given(handle.0).is_some());
        assert!(Handle::given(0).is_none());
        assert!(Handle::given(1).is_none());
        assert!(Handle::given(u64::MAX).is_none());
        for bit in 0..64 {
            assert!(Handle::given(handle.0 ^ 1 << bit).is_none());
        }
        // Not yet given out.
        let next = Handle::new(LAST_SERIAL.load(Relaxed) + 1, 3).ok_or(EINVAL)?;
        assert!(Handle::given(next.0).is_none());
        Ok(())
    }

    #[test]
    fn numbers_without_room_give_no_handle() {
        assert!(Handle::new(1, 255).is_some());
        assert!(Handle::new(1, 256).is_none());
        assert!(Handle::new(u64::from(u32::MAX), 1).is_some());
        assert!(Handle::new(1 << 32, 1).is_none());
    }
}
