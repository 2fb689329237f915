// SPDX-License-Identifier: GPL-2.0

//! A [`ScopedFile`] shows in debugfs what it borrows.

use super::{
    Dir,
    File, //
};
use crate::{
    fmt,
    prelude::*,
    str::CStr,
    uaccess::UserSliceReader, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

/// Closures whose type and lifetime are erased.
///
/// # Invariants
///
/// Any thread may call `show` and `write` with `closure`.
struct Erased {
    closure: NonNull<()>,
    show: unsafe fn(NonNull<()>, &mut fmt::Formatter<'_>) -> fmt::Result,
    write: Option<unsafe fn(NonNull<()>, &mut UserSliceReader) -> Result>,
}

// SAFETY: By the type invariants any thread may use it. It owns nothing.
unsafe impl Send for Erased {}

// SAFETY: As above, and several threads may use it at a time.
unsafe impl Sync for Erased {}

impl Erased {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: By the type invariants.
        unsafe { (self.show)(self.closure, f) }
    }

    fn write(&self, reader: &mut UserSliceReader) -> Result {
        let write = self.write.ok_or(EINVAL)?;

        // SAFETY: By the type invariants.
        unsafe { write(self.closure, reader) }
    }
}

/// Calls a closure.
///
/// # Safety
///
/// `closure` must point to a valid `F`.
unsafe fn show<F>(closure: NonNull<()>, f: &mut fmt::Formatter<'_>) -> fmt::Result
where
    F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result,
{
    // SAFETY: By the safety requirements.
    let closure = unsafe { closure.cast::<F>().as_ref() };

    closure(f)
}

/// Calls the first of two closures.
///
/// # Safety
///
/// `closures` must point to a valid `(F, W)`.
unsafe fn show_first<F, W>(closures: NonNull<()>, f: &mut fmt::Formatter<'_>) -> fmt::Result
where
    F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result,
{
    // SAFETY: By the safety requirements.
    let (show, _) = unsafe { closures.cast::<(F, W)>().as_ref() };

    show(f)
}

/// Calls the second of two closures.
///
/// # Safety
///
/// `closures` must point to a valid `(F, W)`.
unsafe fn write_second<F, W>(closures: NonNull<()>, reader: &mut UserSliceReader) -> Result
where
    W: Fn(&mut UserSliceReader) -> Result,
{
    // SAFETY: By the safety requirements.
    let (_, write) = unsafe { closures.cast::<(F, W)>().as_ref() };

    write(reader)
}

/// A file with the output of a closure, which may borrow.
///
/// A [`File`] owns `'static` data; this one may show what lives only as long as a device is bound.
/// Dropping it removes the file and waits until no reader runs the closure. Reading a file that is
/// still open fails from then on.
///
/// # Invariants
///
/// - `closure` comes from [`KBox::into_raw`] of a value that lives for `'a`, and `free` frees it.
/// - Nothing but `file` uses it.
///
/// # Examples
///
/// ```
/// use kernel::{
///     debugfs::{
///         Dir,
///         ScopedFile, //
///     },
///     sync::atomic::{
///         Atomic,
///         Relaxed, //
///     }, //
/// };
///
/// let completed = Atomic::<u32>::new(3);
/// let dir = Dir::new(c"my_debugfs_scoped_dir");
///
/// // SAFETY: `file` is not leaked.
/// let file = unsafe {
///     ScopedFile::new(&dir, c"completed", |f| {
///         writeln!(f, "{}", completed.load(Relaxed))
///     })
/// }?;
/// # drop(file);
/// # Ok::<(), Error>(())
/// ```
pub struct ScopedFile<'a> {
    // `None` only during the drop.
    file: Option<Pin<KBox<File<Erased>>>>,
    closure: NonNull<()>,
    free: unsafe fn(NonNull<()>),
    _closure: PhantomData<&'a ()>,
}

// SAFETY: The closure is `Send`, so any thread may free it. All else is `Send`.
unsafe impl Send for ScopedFile<'_> {}

// SAFETY: There is nothing that can be done with a shared reference.
unsafe impl Sync for ScopedFile<'_> {}

impl<'a> ScopedFile<'a> {
    /// Creates a file called `name` in `dir`. `show` writes the contents, each time that the file
    /// is opened.
    ///
    /// `show` runs in process context and may sleep. As everywhere in debugfs, a file that cannot
    /// be created is silently left out. Without `CONFIG_DEBUG_FS` there are no files.
    ///
    /// Errors: [`ENOMEM`].
    ///
    /// Context: process; sleeps, as does dropping. Must not be dropped by `show`, nor with a lock
    /// held that `show` takes.
    ///
    /// # Safety
    ///
    /// Callers must not `mem::forget()` the returned [`ScopedFile`] or otherwise prevent its
    /// [`Drop`] implementation from running: the file uses what `show` borrows until then.
    #[doc(alias = "debugfs_create_file")]
    pub unsafe fn new<F>(dir: &Dir, name: &CStr, show: F) -> Result<Self>
    where
        F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result + Send + Sync + 'a,
    {
        // SAFETY: By the requirement of this function.
        unsafe { Self::erase(dir, name, show, self::show::<F>, None) }
    }

    /// Creates a file called `name` in `dir` that the owner may also write (mode 0600). `show` is
    /// as in [`ScopedFile::new`]; `write` gets what is written, all of one call.
    ///
    /// `write` runs in process context and may sleep. What it returns is the result of the write:
    /// all of it was taken, or the error.
    ///
    /// Errors and context: as [`ScopedFile::new`]; what is said there of `show` goes for `write`.
    ///
    /// # Safety
    ///
    /// As [`ScopedFile::new`], also for what `write` borrows.
    #[doc(alias = "debugfs_create_file")]
    pub unsafe fn new_writable<F, W>(dir: &Dir, name: &CStr, show: F, write: W) -> Result<Self>
    where
        F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result + Send + Sync + 'a,
        W: Fn(&mut UserSliceReader) -> Result + Send + Sync + 'a,
    {
        let (first, second) = (show_first::<F, W>, write_second::<F, W>);

        // SAFETY: By the requirement of this function.
        unsafe { Self::erase(dir, name, (show, write), first, Some(second)) }
    }

    /// # Safety
    ///
    /// As [`ScopedFile::new`], for all that `closure` borrows. `show` and `write` must be made to
    /// be called with a pointer to a `C`, by any thread.
    unsafe fn erase<C: Send + Sync + 'a>(
        dir: &Dir,
        name: &CStr,
        closure: C,
        show: unsafe fn(NonNull<()>, &mut fmt::Formatter<'_>) -> fmt::Result,
        write: Option<unsafe fn(NonNull<()>, &mut UserSliceReader) -> Result>,
    ) -> Result<Self> {
        let closure = KBox::new(closure, GFP_KERNEL)?;
        let closure = NonNull::from(Box::leak(closure)).cast::<()>();

        // From here on, dropping this undoes all of it.
        //
        // INVARIANT: `closure` was leaked above, and `free_closure` is for its type.
        let mut this = Self {
            file: None,
            closure,
            free: free_closure::<C>,
            _closure: PhantomData,
        };

        // INVARIANT: `closure` is a `C`, which is `Send` and `Sync`, and it is valid until the
        // file is removed. By the requirements the functions are for a `C`.
        let erased = Erased {
            closure,
            show,
            write,
        };
        this.file = Some(match write {
            None => KBox::pin_init(
                dir.read_callback_file(name, erased, &Erased::show),
                GFP_KERNEL,
            )?,
            Some(_) => KBox::pin_init(
                dir.read_write_callback_file(name, erased, &Erased::show, &Erased::write),
                GFP_KERNEL,
            )?,
        });

        Ok(this)
    }
}

/// Frees a closure.
///
/// # Safety
///
/// `closure` must come from [`KBox::into_raw`] of an `F`, and not be used again.
unsafe fn free_closure<F>(closure: NonNull<()>) {
    // SAFETY: By the safety requirements, this takes back the ownership of the allocation.
    drop(unsafe { KBox::from_raw(closure.cast::<F>().as_ptr()) });
}

impl Drop for ScopedFile<'_> {
    fn drop(&mut self) {
        // `debugfs_remove()` waits for readers.
        self.file = None;

        // SAFETY: By the type invariants `self.free` and `self.closure` belong together, and
        // nothing but the file used the closure.
        unsafe { (self.free)(self.closure) };
    }
}
