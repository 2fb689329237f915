// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of what DRM does with fences: sync objects, and the reservations of many objects; and of
//! how files and objects end.

use super::{
    gem,
    Driver,
    UnregisteredDevice, //
};
use crate::{
    bindings,
    device,
    dma_buf::{
        FenceContext,
        FenceContextOps, //
    },
    drm,
    error::from_err_ptr,
    faux,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};
use core::ptr::NonNull;

/// A device with sync objects and GEM objects.
struct Mock;

#[pin_data]
struct MockData {}

struct MockDriverFile;

/// How many files were closed, and how many objects there are.
static CLOSED: Atomic<i32> = Atomic::new(0);
static OBJECTS: Atomic<i32> = Atomic::new(0);

/// Where objects without references wait to be freed, if they have such a place.
type Bin = Mutex<Option<gem::shmem::Released<MockObject>>>;

#[pin_data(PinnedDrop)]
struct MockObject {
    bin: Option<Arc<Bin>>,
}

#[pinned_drop]
impl PinnedDrop for MockObject {
    fn drop(self: Pin<&mut Self>) {
        OBJECTS.fetch_sub(1, Relaxed);
    }
}

impl drm::file::DriverFile for MockDriverFile {
    type Driver = Mock;

    fn open(_dev: &drm::Device<Mock>) -> Result<Pin<KBox<Self>>> {
        Ok(KBox::new(Self, GFP_KERNEL)?.into())
    }

    fn postclose(self: Pin<&Self>, _dev: &drm::Device<Mock, drm::Ioctl>) {
        CLOSED.fetch_add(1, Relaxed);
    }
}

impl gem::DriverObject for MockObject {
    type Driver = Mock;
    type Args = Option<Arc<Bin>>;

    fn new(_dev: &drm::Device<Mock>, _size: usize, bin: Self::Args) -> impl PinInit<Self, Error> {
        try_pin_init!(MockObject {
            bin: {
                OBJECTS.fetch_add(1, Relaxed);
                bin
            },
        })
    }

    fn released(obj: gem::shmem::Released<Self>) {
        if let Some(bin) = obj.bin.clone() {
            *bin.lock() = Some(obj);
        }
    }
}

#[vtable]
impl Driver for Mock {
    type Data = MockData;
    type RegistrationData<'a> = ();
    type File = MockDriverFile;
    type Object = gem::shmem::Object<MockObject>;
    type ParentDevice<Ctx: device::DeviceContext> = faux::Device<Ctx>;

    const INFO: drm::DriverInfo = drm::DriverInfo {
        major: 0,
        minor: 0,
        patchlevel: 0,
        name: c"kunit",
        desc: c"Kunit",
    };
    const IOCTLS: &'static [drm::ioctl::DrmIoctlDescriptor] = &[];
    const FEAT_SYNCOBJ: bool = true;
    const FEAT_SYNCOBJ_TIMELINE: bool = true;
}

fn create_drm_dev() -> Result<(faux::Registration, UnregisteredDevice<Mock>)> {
    let reg = faux::Registration::new(c"Kunit", None)?;
    let drm = UnregisteredDevice::new(reg.as_ref(), try_pin_init!(MockData {}))?;

    Ok((reg, drm))
}

/// An open file of a device that is not registered.
struct MockFile(NonNull<bindings::file>);

impl MockFile {
    fn new(drm: &drm::Device<Mock>) -> Result<Self> {
        // SAFETY: A DRM device has its primary minor from its allocation on.
        let file = from_err_ptr(unsafe {
            bindings::mock_drm_getfile((*drm.as_raw()).primary, bindings::O_RDWR)
        })?;

        Ok(Self(NonNull::new(file).ok_or(ENOMEM)?))
    }

    fn file(&self) -> &drm::File<MockDriverFile> {
        // SAFETY: `mock_drm_getfile()` has opened the file, and `drop` closes it.
        unsafe { drm::File::from_raw((*self.0.as_ptr()).private_data.cast()) }
    }
}

impl Drop for MockFile {
    fn drop(&mut self) {
        // SAFETY: We own the reference that `mock_drm_getfile()` returned.
        unsafe { bindings::__fput_sync(self.0.as_ptr()) };
    }
}

struct Ring;

impl FenceContextOps for Ring {
    type FenceDataType = ();
}

fn context() -> Result<Pin<KBox<FenceContext<Ring>>>> {
    let context = FenceContext::new(1, c"kunit", c"timeline", Ok::<_, Error>(Ring));
    KBox::pin_init(context, GFP_KERNEL)
}

#[macros::kunit_tests(rust_drm_syncobj)]
mod syncobj {
    use super::*;
    use crate::{
        dma_buf::{
            Fence,
            FenceCallback,
            FenceCallbackRegistration,
            FenceChainAllocation, //
        },
        drm::syncobj::SyncObj,
        error::to_result,
        sync::aref::ARef,
    };

    /// Gives `file` a handle.
    fn handle(file: &MockFile, obj: &SyncObj) -> Result<u32> {
        let mut handle = 0;
        // SAFETY: The file is open, and the object is valid.
        to_result(unsafe {
            bindings::drm_syncobj_get_handle(file.file().as_raw(), obj.as_raw(), &mut handle)
        })?;
        Ok(handle)
    }

    #[test]
    fn handles_are_found() -> Result {
        let (_reg, drm) = create_drm_dev()?;
        let file = MockFile::new(&drm)?;
        let other = MockFile::new(&drm)?;
        let context = context()?;
        let fence = context.new_fence_allocation(())?.new_fence();
        let obj = SyncObj::new(None)?;
        let handle = handle(&file, &obj)?;

        assert_eq!(SyncObj::find(file.file(), handle + 1).err(), Some(ENOENT));
        assert_eq!(SyncObj::find(file.file(), 0).err(), Some(ENOENT));
        assert_eq!(SyncObj::find(other.file(), handle).err(), Some(ENOENT));
        let found = SyncObj::find(file.file(), handle)?;
        assert!(core::ptr::eq(&*found, &*obj));

        assert_eq!(SyncObj::find_fence(file.file(), 0, 0).err(), Some(ENOENT));
        assert_eq!(
            SyncObj::find_fence(file.file(), handle, 0).err(),
            Some(EINVAL)
        );
        found.replace_fence(Some(fence.as_fence()));
        let seen = SyncObj::find_fence(file.file(), handle, 0)?;
        assert!(core::ptr::eq(&*seen, fence.as_fence()));

        found.replace_fence(None);
        assert_eq!(
            SyncObj::find_fence(file.file(), handle, 0).err(),
            Some(EINVAL)
        );
        assert!(obj.fence().is_none());
        fence.signal(Ok(()));
        Ok(())
    }

    #[test]
    fn points_are_found() -> Result {
        let (_reg, drm) = create_drm_dev()?;
        let file = MockFile::new(&drm)?;
        let context = context()?;
        let first = context.new_fence_allocation(())?.new_fence();
        let second = context.new_fence_allocation(())?.new_fence();
        let obj = SyncObj::new(None)?;
        let handle = handle(&file, &obj)?;

        obj.add_point(FenceChainAllocation::new()?, first.as_fence(), 10);
        obj.add_point(FenceChainAllocation::new()?, second.as_fence(), 20);
        let at = |point| SyncObj::find_fence(file.file(), handle, point);

        assert_eq!(at(21).err(), Some(EINVAL));
        let (five, fifteen) = (at(5)?, at(15)?);
        assert_eq!(five.seqno(), 10);
        assert_eq!(fifteen.seqno(), 20);

        first.signal(Ok(()));
        assert!(five.is_signaled());
        assert!(!fifteen.is_signaled());
        assert!(at(5)?.is_signaled());
        second.signal(Err(ENODATA));
        assert!(fifteen.is_signaled());
        assert!(at(20)?.is_signaled());
        Ok(())
    }

    static SIGNALS: Atomic<u32> = Atomic::new(0);

    struct Count;

    impl FenceCallback for Count {
        fn on_signal(&mut self) {
            SIGNALS.fetch_add(1, Relaxed);
        }
    }

    /// What has been taken from an object stays, whatever the object gets next.
    #[test]
    fn waiters_keep_their_fence() -> Result {
        let context = context()?;
        let fence = context.new_fence_allocation(())?.new_fence();
        let obj = SyncObj::new(Some(fence.as_fence()))?;
        let taken: ARef<Fence> = obj.fence().ok_or(EINVAL)?;
        let callback = KBox::pin_init(FenceCallbackRegistration::new(&taken, Count), GFP_KERNEL)?;

        obj.replace_fence(None);
        drop(obj);
        assert_eq!(SIGNALS.load(Relaxed), 0);
        fence.signal(Ok(()));
        assert_eq!(SIGNALS.load(Relaxed), 1);
        drop(callback);
        Ok(())
    }
}

#[macros::kunit_tests(rust_drm_exec)]
mod exec {
    use super::*;
    use crate::{
        dma_buf::Usage,
        drm::{
            exec::lock_all,
            gem::{
                shmem::{
                    Object,
                    ObjectConfig, //
                },
                BaseObject, //
            }, //
        },
        kthread::Kthread,
        page::PAGE_SIZE,
        sync::aref::ARef,
        time::{
            delay::fsleep,
            msecs_to_jiffies,
            Delta, //
        },
    };

    fn objects(drm: &drm::Device<Mock>, count: usize) -> Result<KVec<ARef<Object<MockObject>>>> {
        let mut objects = KVec::new();
        for _ in 0..count {
            objects.push(
                Object::new(drm, PAGE_SIZE, ObjectConfig::default(), None)?,
                GFP_KERNEL,
            )?;
        }
        Ok(objects)
    }

    #[test]
    fn fences_are_added_to_all() -> Result {
        let (_reg, drm) = create_drm_dev()?;
        let context = context()?;
        let objects = objects(&drm, 3)?;

        // With duplicates, next to each other and not.
        let mut list = KVec::new();
        for index in [2, 0, 0, 1, 2] {
            list.push(objects[index].clone(), GFP_KERNEL)?;
        }
        assert!(objects.iter().all(|object| object.is_idle(Usage::Bookkeep)));

        let fence = context.new_fence_allocation(())?.new_fence();
        let answer = lock_all(&list, |locked| {
            locked.add_fence(fence.as_fence(), Usage::Write);
            42
        })?;
        assert_eq!(answer, 42);
        assert!(objects.iter().all(|object| !object.is_idle(Usage::Write)));
        assert!(objects.iter().all(|object| object.is_idle(Usage::Kernel)));
        assert_eq!(objects[0].wait_idle(Usage::Read, 1), Err(ETIMEDOUT));

        fence.signal(Err(ENODATA));
        assert!(objects.iter().all(|object| object.is_idle(Usage::Bookkeep)));
        assert!(objects[0].wait_idle(Usage::Read, 0).is_ok());
        Ok(())
    }

    /// Whatever was reserved and not used, there is room for the next.
    #[test]
    fn many_fences_fit() -> Result {
        let (_reg, drm) = create_drm_dev()?;
        let objects = objects(&drm, 2)?;
        let mut contexts = KVec::new();
        for _ in 0..20 {
            contexts.push(context()?, GFP_KERNEL)?;
        }
        let mut fences = KVec::new();

        for context in &contexts {
            // Two of each context: the second takes the place of the first.
            for _ in 0..2 {
                let fence = context.new_fence_allocation(())?.new_fence();
                lock_all(&objects, |_| ())?;
                lock_all(&objects, |locked| {
                    locked.add_fence(fence.as_fence(), Usage::Write)
                })?;
                fences.push(fence, GFP_KERNEL)?;
            }
        }
        while let Some(fence) = fences.pop() {
            assert!(!objects[0].is_idle(Usage::Write) || fences.len() % 2 == 0);
            fence.signal(Ok(()));
        }
        assert!(objects.iter().all(|object| object.is_idle(Usage::Bookkeep)));
        Ok(())
    }

    #[test]
    fn nothing_to_lock() -> Result {
        let context = context()?;
        let fence = context.new_fence_allocation(())?.new_fence();
        let none: [ARef<Object<MockObject>>; 0] = [];

        lock_all(&none, |locked| {
            locked.add_fence(fence.as_fence(), Usage::Write)
        })?;
        fence.signal(Ok(()));
        Ok(())
    }

    /// Two tasks that lock the same objects in the opposite order both get on.
    #[test]
    fn opposite_orders_get_on() -> Result {
        const ROUNDS: u32 = 200;

        let (_reg, drm) = create_drm_dev()?;
        let forward = objects(&drm, 16)?;
        let mut backward = KVec::new();
        for object in forward.iter().rev() {
            backward.push(object.clone(), GFP_KERNEL)?;
        }
        let done = Atomic::<u32>::new(0);
        let inside = Atomic::<i32>::new(0);
        let both = Atomic::<u32>::new(0);

        let lock = |list: &[ARef<Object<MockObject>>]| {
            for _ in 0..ROUNDS {
                let _ = lock_all(list, |_| {
                    if inside.fetch_add(1, Relaxed) != 0 {
                        both.fetch_add(1, Relaxed);
                    }
                    fsleep(Delta::from_micros(10));
                    inside.fetch_sub(1, Relaxed);
                    done.fetch_add(1, Relaxed);
                });
            }
        };

        let (forward, backward, lock) = (&forward, &backward, &lock);
        // SAFETY: Both are dropped below.
        let one = unsafe { Kthread::new(c"kunit", move |_| lock(forward)) }?;
        // SAFETY: As above.
        let two = unsafe { Kthread::new(c"kunit", move |_| lock(backward)) }?;
        for _ in 0..10_000 {
            if done.load(Relaxed) == 2 * ROUNDS {
                break;
            }
            fsleep(Delta::from_millis(1));
        }
        drop((one, two));

        assert_eq!(done.load(Relaxed), 2 * ROUNDS);
        assert_eq!(both.load(Relaxed), 0);
        Ok(())
    }

    /// A wait ends when the fence is signalled, long before its timeout.
    #[test]
    fn waits_end() -> Result {
        let (_reg, drm) = create_drm_dev()?;
        let context = context()?;
        let objects = objects(&drm, 1)?;
        let fence = context.new_fence_allocation(())?.detach().new_fence();
        lock_all(&objects, |locked| {
            locked.add_fence(fence.as_fence(), Usage::Read)
        })?;

        // Readers do not wait for each other.
        assert!(objects[0].is_idle(Usage::Write));
        let long = msecs_to_jiffies(60_000);
        // SAFETY: It is dropped below.
        let thread = unsafe {
            Kthread::new(c"kunit", move |_| {
                fsleep(Delta::from_millis(20));
                fence.signal(Ok(()));
            })
        }?;
        let left = objects[0].wait_idle(Usage::Read, long);
        drop(thread);
        assert!(left.is_ok_and(|left| left > 0 && left <= long));
        Ok(())
    }
}

#[macros::kunit_tests(rust_drm_release)]
mod release {
    use super::*;
    use crate::{
        drm::gem::{
            shmem::{
                Object,
                ObjectConfig, //
            },
            BaseObject, //
        },
        new_mutex,
        page::PAGE_SIZE, //
    };

    fn object(
        drm: &drm::Device<Mock>,
        bin: Option<Arc<Bin>>,
    ) -> Result<crate::sync::aref::ARef<Object<MockObject>>> {
        Object::new(drm, PAGE_SIZE, ObjectConfig::default(), bin)
    }

    #[test]
    fn closed_after_the_handles() -> Result {
        let (_reg, drm) = create_drm_dev()?;
        let file = MockFile::new(&drm)?;
        let (closed, objects) = (CLOSED.load(Relaxed), OBJECTS.load(Relaxed));

        object(&drm, None)?.create_handle(file.file())?;
        assert_eq!(OBJECTS.load(Relaxed), objects + 1);
        assert_eq!(CLOSED.load(Relaxed), closed);
        drop(file);
        assert_eq!(OBJECTS.load(Relaxed), objects);
        assert_eq!(CLOSED.load(Relaxed), closed + 1);
        Ok(())
    }

    #[test]
    fn freed_when_the_driver_says() -> Result {
        let (reg, drm) = create_drm_dev()?;
        let bin = Arc::pin_init(new_mutex!(None), GFP_KERNEL)?;
        let objects = OBJECTS.load(Relaxed);

        let obj = object(&drm, Some(bin.clone()))?;
        let other = obj.clone();
        drop(obj);
        assert!(bin.lock().is_none());
        drop(other);
        let released = bin.lock().take();
        assert!(released.is_some());
        assert_eq!(OBJECTS.load(Relaxed), objects + 1);

        // It keeps the device.
        drop(drm);
        drop(reg);
        assert_eq!(OBJECTS.load(Relaxed), objects + 1);
        drop(released);
        assert_eq!(OBJECTS.load(Relaxed), objects);
        Ok(())
    }
}
