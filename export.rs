// SPDX-License-Identifier: GPL-2.0

//! `synchronize_execution` for other kernel modules (`include/linux/rust_gpu.h`).
//!
//! Callers name the adapter by a handle, never by a pointer. Handles are numbered from 1 and not
//! reused, so that one which was given out once is told from garbage for ever.
//!
//! The table of adapters is read under RCU alone, in any context, and written under a mutex when a
//! device starts or stops. A call runs within one RCU read section; [`Export`]'s drop waits for
//! those that may have seen its entry.

use core::{
    ffi::c_void,
    marker::PhantomData,
    ptr, //
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

use crate::irq::{
    ntstatus,
    Adapter,
    Miniport,
    Status,
    STATUS_SUCCESS, //
};

/// Devices whose service other modules can use at one time.
const SLOTS: usize = 64;

/// The entries of running devices. A slot is claimed and released by compare-and-exchange.
static TABLE: [Atomic<*mut Entry>; SLOTS] = [const { Atomic::new(ptr::null_mut()) }; SLOTS];

/// Last handle given out.
static LAST_HANDLE: Atomic<u64> = Atomic::new(0);

/// Runs a C routine through one adapter; the type of the miniport is erased.
type Call = unsafe fn(adapter: *const c_void, message: u32, routine: &mut dyn FnMut()) -> Result<(), Status>;

/// One device in the table.
struct Entry {
    handle: u64,
    /// An `Adapter<M>`; `call` knows `M`.
    adapter: *const c_void,
    call: Call,
}

/// The registration of one adapter in the table.
///
/// # Invariants
///
/// `entry` is in one slot of `TABLE` and points to an [`Entry`] from [`KBox::into_raw`] whose
/// `adapter` points into `_adapter`.
pub(crate) struct Export<'a, M: Miniport + 'a> {
    entry: *mut Entry,
    _adapter: Arc<Adapter<M>>,
    _borrows: PhantomData<&'a ()>,
}

// SAFETY: The entry is only read, by calls that may run on any CPU, and freed once, by the drop.
unsafe impl<'a, M: Miniport + 'a> Send for Export<'a, M> {}

// SAFETY: No method takes `&self` but `handle`, which reads what never changes.
unsafe impl<'a, M: Miniport + 'a> Sync for Export<'a, M> {}

impl<'a, M: Miniport + 'a> Export<'a, M> {
    /// Makes `adapter` reachable for other modules, under a new handle.
    ///
    /// Errors: [`ENOSPC`] if 64 devices are, [`ENOMEM`]. Context: process.
    ///
    /// # Safety
    ///
    /// The returned value must not be forgotten: after `'a` only its drop keeps callers out.
    pub(crate) unsafe fn new(adapter: Arc<Adapter<M>>) -> Result<Self> {
        let entry = KBox::new(
            Entry {
                handle: LAST_HANDLE.fetch_add(1, Relaxed) + 1,
                adapter: Arc::as_ptr(&adapter).cast(),
                call: call::<M>,
            },
            GFP_KERNEL,
        )?;
        let entry = KBox::into_raw(entry);
        for slot in &TABLE {
            // Release: who finds the entry finds it complete.
            if slot.cmpxchg(ptr::null_mut(), entry, Release).is_ok() {
                // INVARIANT: Just put there; the box was made above, from `adapter`.
                return Ok(Self {
                    entry,
                    _adapter: adapter,
                    _borrows: PhantomData,
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
        unsafe { (*self.entry).handle }
    }
}

impl<'a, M: Miniport + 'a> Drop for Export<'a, M> {
    fn drop(&mut self) {
        for slot in &TABLE {
            if slot.cmpxchg(self.entry, ptr::null_mut(), Relaxed).is_ok() {
                break;
            }
        }
        // Callers look the entry up and use it within one RCU read section.
        rcu::synchronize_rcu();
        // SAFETY: From `into_raw` in `new`; it is out of the table, and the readers that had seen
        // it there are done.
        drop(unsafe { KBox::from_raw(self.entry) });
    }
}

/// Runs `routine` through the adapter at `adapter`.
///
/// # Safety
///
/// `adapter` must point to a valid `Adapter<M>`.
unsafe fn call<M: Miniport>(
    adapter: *const c_void,
    message: u32,
    routine: &mut dyn FnMut(),
) -> Result<(), Status> {
    // SAFETY: By the requirement of this function.
    let adapter = unsafe { &*adapter.cast::<Adapter<M>>() };
    adapter.synchronize_execution(message, |_| routine())
}

/// Runs `routine` through the adapter that `handle` names.
fn synchronize(handle: u64, message: u32, routine: &mut dyn FnMut()) -> Result<(), Status> {
    if handle == 0 || handle > LAST_HANDLE.load(Relaxed) {
        return Err(Status::InvalidParameter);
    }
    let _guard = rcu::read_lock();
    for slot in &TABLE {
        let entry = slot.load(Acquire);
        if entry.is_null() {
            continue;
        }
        // SAFETY: The entry was in the table within this RCU read section, so `Export::drop` has
        // not freed it.
        let entry = unsafe { &*entry };
        if entry.handle == handle {
            // SAFETY: `Export` keeps the adapter until no reader can use the entry, and `call` was
            // made for its type.
            return unsafe { (entry.call)(entry.adapter, message, routine) };
        }
    }
    Err(Status::Unsuccessful)
}

/// `rust_gpu_synchronize_execution()`, see `include/linux/rust_gpu.h`.
///
/// # Safety
///
/// `routine`, if not NULL, must be a function of that type that may be called with `context` under
/// a message lock; `return_value`, if not NULL, must be valid for writing a `bool`.
#[no_mangle]
pub(crate) unsafe extern "C" fn rust_gpu_synchronize_execution(
    handle: u64,
    routine: Option<unsafe extern "C" fn(context: *mut c_void) -> bool>,
    context: *mut c_void,
    message_number: u32,
    return_value: *mut bool,
) -> u32 {
    let Some(routine) = routine.filter(|_| !return_value.is_null()) else {
        return Status::InvalidParameter as u32;
    };
    let mut returned = false;
    let answer = synchronize(handle, message_number, &mut || {
        // SAFETY: By the requirement of this function.
        returned = unsafe { routine(context) };
    });
    let status = ntstatus(&answer);
    if status == STATUS_SUCCESS {
        // SAFETY: Not NULL, hence valid for writing by the requirement of this function.
        unsafe { *return_value = returned };
    }
    status
}
