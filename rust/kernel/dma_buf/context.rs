// SPDX-License-Identifier: GPL-2.0

//! A [`FenceContext`] makes the fences of a driver, which the driver signals as [`DriverFence`]s.

use super::Fence;
use crate::{
    bindings,
    container_of,
    prelude::*,
    str::CString,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        atomic::{
            Atomic,
            Relaxed, //
        },
        rcu,
        Refcount, //
    },
    types::Opaque, //
};
use core::{
    marker::PhantomData,
    mem::{
        needs_drop,
        ManuallyDrop, //
    },
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    },
};

/// What a driver has in a [`FenceContext`], and in each of its fences.
pub trait FenceContextOps {
    /// The data of each fence. It is dropped after a grace period, so it must not borrow.
    type FenceDataType: Send + Sync + 'static;
}

/// What the C side may ask about fences that are not signalled.
///
/// The context has a reference, and each fence until it was signalled. So nothing dangles, whatever
/// ends first. It is freed after a grace period, as those who ask are in an RCU read section.
struct Timeline {
    refs: Refcount,
    /// How many fences are not signalled.
    pending: Atomic<usize>,
    /// The number of the next fence.
    seqno: Atomic<u64>,
    /// The number of the context.
    id: u64,
    driver_name: CString,
    timeline_name: CString,
    head: Opaque<bindings::callback_head>,
}

// SAFETY: It has no ties to a thread.
unsafe impl Send for Timeline {}

// SAFETY: `head` is used once, when the last reference is dropped. All else may be shared.
unsafe impl Sync for Timeline {}

// SAFETY: `refs` counts the references; the memory is freed with the last.
unsafe impl AlwaysRefCounted for Timeline {
    fn inc_ref(&self) {
        self.refs.inc();
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller has a reference.
        if unsafe { obj.as_ref() }.refs.dec_and_test() {
            // SAFETY: This was the last reference, so nobody else uses `head`.
            unsafe {
                let head = Opaque::cast_into(&raw const (*obj.as_ptr()).head);
                bindings::call_rcu(head, Some(Self::free));
            }
        }
    }
}

/// The operations of all fences. There is no `release` and no `wait`, so a fence lets go of them
/// when it is signalled. They are a static of the kernel, not of a module that makes fences.
static OPS: bindings::dma_fence_ops = bindings::dma_fence_ops {
    get_driver_name: Some(Timeline::driver_name),
    get_timeline_name: Some(Timeline::timeline_name),
    enable_signaling: None,
    signaled: None,
    wait: None,
    release: None,
    set_deadline: None,
};

impl Timeline {
    fn new(seqno: u64, driver_name: &CStr, timeline_name: &CStr) -> Result<ARef<Self>> {
        let this = KBox::new(
            Self {
                refs: Refcount::new(1),
                pending: Atomic::new(0),
                seqno: Atomic::new(seqno),
                // SAFETY: Any number of contexts may be allocated.
                id: unsafe { bindings::dma_fence_context_alloc(1) },
                driver_name: CString::try_from(driver_name)?,
                timeline_name: CString::try_from(timeline_name)?,
                head: Opaque::zeroed(),
            },
            GFP_KERNEL,
        )?;

        // SAFETY: The new reference is the one that `refs` begins with. `free()` frees the box.
        Ok(unsafe { ARef::from_raw(NonNull::from(KBox::leak(this))) })
    }

    /// Frees a timeline, as the callback of `call_rcu()`. It is never inlined, so that it belongs
    /// to the kernel: a module may be gone when it runs.
    ///
    /// # Safety
    ///
    /// `head` must be the one of a timeline without references.
    #[inline(never)]
    unsafe extern "C" fn free(head: *mut bindings::callback_head) {
        // SAFETY: By the safety requirements, and `new()` made it from a `KBox`.
        unsafe {
            let this = container_of!(Opaque::cast_from(head), Self, head);
            drop(KBox::from_raw(this.cast_mut()));
        }
    }

    /// Returns the timeline of a fence.
    ///
    /// # Safety
    ///
    /// `fence` must be the one of a [`FenceHeader`], and must not be signalled, or the caller must
    /// be in an RCU read section that began before it was.
    unsafe fn of<'a>(fence: *mut bindings::dma_fence) -> &'a Self {
        // SAFETY: The fence is the first field. Its reference to the timeline is dropped after it
        // was signalled, and the timeline is freed a grace period later.
        unsafe { &*ptr::from_ref(&**(*fence.cast::<FenceHeader>()).timeline) }
    }

    extern "C" fn driver_name(fence: *mut bindings::dma_fence) -> *const c_char {
        // SAFETY: The C side calls this for fences with `OPS` that are not signalled.
        unsafe { Self::of(fence) }.driver_name.as_char_ptr()
    }

    extern "C" fn timeline_name(fence: *mut bindings::dma_fence) -> *const c_char {
        // SAFETY: As above.
        unsafe { Self::of(fence) }.timeline_name.as_char_ptr()
    }

    /// Says that the context ends before its fences.
    fn complain(&self) {
        let pending = self.pending.load(Relaxed);
        if pending != 0 {
            pr_warn!(
                "dma_fence: {}:{} ends with {} fences that are not signalled\n",
                &*self.driver_name,
                &*self.timeline_name,
                pending
            );
        }
    }
}

/// A context of fences, which is one timeline: the fences of it are signalled in order.
///
/// A fence borrows the context that it is of. Where a driver got around that, by
/// [`DriverFenceAllocation::detach`] or by forgetting a fence, dropping the context says so in the
/// log; the names that the fence refers to stay until the fence is signalled.
///
/// Context: dropping it is for process context. It waits for the data of fences to be dropped, if
/// that data has a destructor.
///
/// # Examples
///
/// ```
/// use kernel::{
///     dma_buf::{
///         Fence,
///         FenceContext,
///         FenceContextOps, //
///     },
///     sync::aref::ARef, //
/// };
///
/// struct Ring;
///
/// impl FenceContextOps for Ring {
///     type FenceDataType = u32;
/// }
///
/// let context = KBox::pin_init(
///     FenceContext::<Ring>::new(1, c"driver", c"ring0", Ok::<_, Error>(Ring)),
///     GFP_KERNEL,
/// )?;
///
/// // This may fail, and may sleep.
/// let allocation = context.new_fence_allocation(7)?;
/// // This does neither.
/// let fence = allocation.new_fence();
/// assert_eq!(*fence, 7);
///
/// let waiter: ARef<Fence> = fence.as_fence().into();
/// assert_eq!(waiter.seqno(), 1);
/// assert!(!waiter.is_signaled());
///
/// fence.signal(Err(ENODATA));
/// assert!(waiter.is_signaled());
/// assert_eq!(waiter.error(), Some(ENODATA));
/// # Ok::<(), Error>(())
/// ```
#[pin_data(PinnedDrop)]
pub struct FenceContext<T: FenceContextOps + Send + Sync> {
    timeline: ARef<Timeline>,
    #[pin]
    data: T,
}

impl<T: FenceContextOps + Send + Sync> FenceContext<T> {
    /// Creates a context with the `data` of the driver.
    ///
    /// Its first fence has the number `initial_seqno`. The names are for user space, and are
    /// copied.
    ///
    /// Errors: [`ENOMEM`], and those of `data`.
    ///
    /// Context: process; may sleep.
    #[doc(alias = "dma_fence_context_alloc")]
    pub fn new<E>(
        initial_seqno: u64,
        driver_name: &CStr,
        timeline_name: &CStr,
        data: impl PinInit<T, E>,
    ) -> impl PinInit<Self, Error>
    where
        Error: From<E>,
    {
        let timeline = Timeline::new(initial_seqno, driver_name, timeline_name);

        try_pin_init!(Self {
            timeline: timeline?,
            data <- data,
        })
    }

    /// Returns the number of the context, see [`Fence::context`].
    pub fn id(&self) -> u64 {
        self.timeline.id
    }

    /// Allocates a fence with its `data`, for a place where nothing may fail any more.
    ///
    /// A destructor of `data` runs after a grace period, in the context of an RCU callback.
    ///
    /// Errors: [`ENOMEM`].
    ///
    /// Context: process; may sleep.
    pub fn new_fence_allocation(
        &self,
        data: T::FenceDataType,
    ) -> Result<DriverFenceAllocation<'_, T>> {
        // This comes first: nothing drops the fields of a `FenceData` for which there is no memory.
        let memory = KBox::<FenceData<T::FenceDataType>>::new_uninit(GFP_KERNEL)?;

        let data = memory.write(FenceData {
            header: FenceHeader {
                fence: Fence::uninit(),
                head: Opaque::zeroed(),
                timeline: ManuallyDrop::new(self.timeline.clone()),
            },
            data: ManuallyDrop::new(data),
        });

        Ok(DriverFenceAllocation {
            data: ManuallyDrop::new(data),
            _context: PhantomData,
        })
    }
}

impl<T: FenceContextOps + Send + Sync> Deref for FenceContext<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

#[pinned_drop]
impl<T: FenceContextOps + Send + Sync> PinnedDrop for FenceContext<T> {
    fn drop(self: Pin<&mut Self>) {
        self.timeline.complain();

        if needs_drop::<T::FenceDataType>() {
            // The destructors may be those of a module, which may be unloaded next.
            rcu::rcu_barrier();
        }
    }
}

/// The part of a fence that is the same for all drivers.
#[repr(C)]
struct FenceHeader {
    /// The first field, as the core frees the memory by the address of the fence.
    fence: Fence,
    head: Opaque<bindings::callback_head>,
    /// Dropped when the fence has been signalled.
    timeline: ManuallyDrop<ARef<Timeline>>,
}

impl FenceHeader {
    /// Signals the fence, and drops the reference to the timeline.
    ///
    /// # Safety
    ///
    /// `this` must point to an initialized fence that has a reference and was not signalled, and
    /// nobody else may signal it.
    unsafe fn signal(this: *mut Self, result: Result) {
        // SAFETY: By the safety requirements. Others may read the reference until the fence is
        // signalled; nobody drops it after this.
        let (fence, timeline) = unsafe {
            let timeline = ptr::read(&raw const (*this).timeline);
            ((*this).fence.as_raw(), ManuallyDrop::into_inner(timeline))
        };

        // A waiter may drop the context as soon as the fence is signalled.
        timeline.pending.fetch_sub(1, Relaxed);

        // SAFETY: By the safety requirements. A driver's errno is one.
        unsafe {
            if let Err(error) = result {
                bindings::dma_fence_set_error(fence, error.to_errno());
            }
            bindings::dma_fence_signal(fence);
        }

        // From here on nobody finds the way to it, see `Timeline::of`.
        drop(timeline);
    }
}

/// The memory of a fence.
#[repr(C)]
struct FenceData<F> {
    header: FenceHeader,
    data: ManuallyDrop<F>,
}

// SAFETY: `head` is used once, after the fence was signalled. All else may be sent.
unsafe impl<F: Send> Send for FenceData<F> {}

// SAFETY: As above; all else may be shared.
unsafe impl<F: Sync> Sync for FenceData<F> {}

impl<F> FenceData<F> {
    /// Drops the data and a reference, as the callback of `call_rcu()`.
    ///
    /// # Safety
    ///
    /// `head` must be the one of a `FenceData<F>` with a reference and with data that nobody uses.
    unsafe extern "C" fn drop_data(head: *mut bindings::callback_head) {
        // SAFETY: By the safety requirements. `head` is in the header, which is the first field.
        unsafe {
            let header = container_of!(Opaque::cast_from(head), FenceHeader, head).cast_mut();
            let this = header.cast::<Self>();
            ManuallyDrop::drop(&mut (*this).data);
            bindings::dma_fence_put((*header).fence.as_raw());
        }
    }
}

/// The memory of a fence that does not exist yet: it has no number, and nobody can wait for it.
///
/// Dropping it frees it.
pub struct DriverFenceAllocation<'a, T: FenceContextOps + Send + Sync> {
    data: ManuallyDrop<KBox<FenceData<T::FenceDataType>>>,
    _context: PhantomData<&'a FenceContext<T>>,
}

impl<'a, T: FenceContextOps + Send + Sync> DriverFenceAllocation<'a, T> {
    /// Takes the box out.
    fn into_box(self) -> KBox<FenceData<T::FenceDataType>> {
        let mut this = ManuallyDrop::new(self);

        // SAFETY: `this` is not used any more, and not dropped.
        unsafe { ManuallyDrop::take(&mut this.data) }
    }

    /// Makes the fence, with the next number of its context. This cannot fail.
    ///
    /// The numbers of a context must be in the order in which its fences are signalled, so this is
    /// for the critical section that puts the work in order.
    ///
    /// Context: any.
    #[doc(alias = "dma_fence_init64")]
    pub fn new_fence(self) -> DriverFence<'a, T> {
        let data = NonNull::from(KBox::leak(self.into_box()));
        // SAFETY: The box was just taken, and `timeline` is in it until the fence is signalled.
        let (fence, timeline) = unsafe {
            let header = &(*data.as_ptr()).header;
            (header.fence.as_raw(), &*header.timeline)
        };

        timeline.pending.fetch_add(1, Relaxed);
        let seqno = timeline.seqno.fetch_add(1, Relaxed);

        // SAFETY: `fence` is memory for a fence, and nobody has it yet. Without a lock of the
        // driver, the fence uses its own.
        unsafe { bindings::dma_fence_init64(fence, &OPS, ptr::null_mut(), timeline.id, seqno) };

        // INVARIANT: The fence was just initialized, with the reference that `self` gets.
        DriverFence {
            data,
            _context: PhantomData,
        }
    }

    /// Gives up the borrow of the context.
    ///
    /// This is for a driver that keeps its fences and their context in the same place. It has to
    /// signal the fences before it drops the context, or the log has a line. Nothing dangles in
    /// any case.
    ///
    /// The data must not have a destructor, which could run when the module of it is gone. That
    /// fails at build time.
    pub fn detach(self) -> DriverFenceAllocation<'static, T>
    where
        T: 'static,
    {
        const { assert!(!needs_drop::<T::FenceDataType>()) };

        DriverFenceAllocation {
            data: ManuallyDrop::new(self.into_box()),
            _context: PhantomData,
        }
    }
}

impl<T: FenceContextOps + Send + Sync> Drop for DriverFenceAllocation<'_, T> {
    fn drop(&mut self) {
        // SAFETY: All three are dropped once, the box last.
        unsafe {
            ManuallyDrop::drop(&mut self.data.header.timeline);
            ManuallyDrop::drop(&mut self.data.data);
            ManuallyDrop::drop(&mut self.data);
        }
    }
}

/// A fence, as its driver has it: the one that signals it.
///
/// Others get the [`Fence`] of it. Dropping it without a signal is an error of the driver: it says
/// so in the log, and signals the fence with [`ECANCELED`].
///
/// # Invariants
///
/// `data` is an initialized fence that is not signalled, and to which `self` has a reference.
pub struct DriverFence<'a, T: FenceContextOps + Send + Sync> {
    data: NonNull<FenceData<T::FenceDataType>>,
    _context: PhantomData<&'a FenceContext<T>>,
}

// SAFETY: Any thread may signal a fence and use the data, which is `Send` and `Sync`.
unsafe impl<T: FenceContextOps + Send + Sync> Send for DriverFence<'_, T> {}

// SAFETY: As above; signalling needs the fence itself.
unsafe impl<T: FenceContextOps + Send + Sync> Sync for DriverFence<'_, T> {}

impl<T: FenceContextOps + Send + Sync> DriverFence<'_, T> {
    /// Returns what others may have of it. `into()` makes an [`ARef`] of that.
    pub fn as_fence(&self) -> &Fence {
        // SAFETY: By the type invariants.
        unsafe { &(*self.data.as_ptr()).header.fence }
    }

    /// Signals the fence: the work is done, or failed with an error.
    ///
    /// This runs the callbacks of all who wait, with the lock of the fence held and interrupts off.
    ///
    /// Errors that others know are listed at [`Fence::error`].
    ///
    /// Context: any, hard interrupts too.
    #[doc(alias = "dma_fence_signal")]
    pub fn signal(self, result: Result) {
        let this = ManuallyDrop::new(self);

        // SAFETY: `this` is not used any more, and not dropped.
        unsafe { Self::end(this.data, result) };
    }

    /// Signals a fence and gives up the driver's reference.
    ///
    /// # Safety
    ///
    /// `data` must be as in the type invariants, and must not be used afterwards.
    unsafe fn end(data: NonNull<FenceData<T::FenceDataType>>, result: Result) {
        let header = data.as_ptr().cast::<FenceHeader>();

        // SAFETY: By the safety requirements.
        unsafe {
            FenceHeader::signal(header, result);

            if needs_drop::<T::FenceDataType>() {
                let head = Opaque::cast_into(&raw const (*header).head);
                bindings::call_rcu(head, Some(FenceData::<T::FenceDataType>::drop_data));
            } else {
                bindings::dma_fence_put((*header).fence.as_raw());
            }
        }
    }
}

impl<T: FenceContextOps + Send + Sync> Deref for DriverFence<'_, T> {
    type Target = T::FenceDataType;

    fn deref(&self) -> &Self::Target {
        // SAFETY: By the type invariants; the data is dropped after the fence was signalled.
        unsafe { &(*self.data.as_ptr()).data }
    }
}

impl<T: FenceContextOps + Send + Sync> Drop for DriverFence<'_, T> {
    fn drop(&mut self) {
        pr_warn!(
            "dma_fence: {}:{} was dropped before it was signalled\n",
            self.as_fence().context(),
            self.as_fence().seqno()
        );

        // SAFETY: By the type invariants, and `self` is not used afterwards.
        unsafe { Self::end(self.data, Err(ECANCELED)) };
    }
}
