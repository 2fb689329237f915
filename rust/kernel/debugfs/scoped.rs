// SPDX-License-Identifier: GPL-2.0

//! Files that show what they borrow.

use super::{
    Dir,
    File, //
};
use crate::{
    fmt,
    prelude::*,
    str::CStr, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

/// A closure without its type and lifetime.
///
/// # Invariants
///
/// `show` may be called with `closure`, by any thread.
struct Erased {
    closure: NonNull<()>,
    show: unsafe fn(NonNull<()>, &mut fmt::Formatter<'_>) -> fmt::Result,
}

// SAFETY: By the type invariants, any thread may use it; it owns nothing.
unsafe impl Send for Erased {}

// SAFETY: As above, and several may at a time.
unsafe impl Sync for Erased {}

impl Erased {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: By the type invariants.
        unsafe { (self.show)(self.closure, f) }
    }
}

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

/// A read-only file whose contents come from a closure, which may borrow.
///
/// Other than a [`File`], which owns `'static` data, it may show what lives as long as a device is
/// bound. Dropping it removes the file and waits until no reader is inside the closure; a file that
/// is still open gives an error when it is read.
///
/// # Invariants
///
/// - `closure` comes from [`KBox::into_raw`] of a value that lives for `'a`; `free` frees it.
/// - Only `file` uses it.
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
    // `None` only while being dropped.
    file: Option<Pin<KBox<File<Erased>>>>,
    closure: NonNull<()>,
    free: unsafe fn(NonNull<()>),
    _closure: PhantomData<&'a ()>,
}

// SAFETY: The closure is `Send`, so any thread may free it; the rest is.
unsafe impl Send for ScopedFile<'_> {}

// SAFETY: A shared reference allows nothing.
unsafe impl Sync for ScopedFile<'_> {}

impl<'a> ScopedFile<'a> {
    /// Creates a file called `name` in `dir`. Every time it is opened, `show` writes what is read.
    ///
    /// `show` runs in process context and may sleep. As everywhere in debugfs, a file that cannot
    /// be created is silently left out, and without `CONFIG_DEBUG_FS` all are.
    ///
    /// Errors: [`ENOMEM`].
    ///
    /// Sleeps, as does dropping. It must not be dropped by `show`, or with a lock held that `show`
    /// takes.
    ///
    /// # Safety
    ///
    /// Callers must not `mem::forget()` the returned [`ScopedFile`] or otherwise prevent its
    /// [`Drop`] implementation from running: the file uses what `show` borrows until then.
    pub unsafe fn new<F>(dir: &Dir, name: &CStr, show: F) -> Result<Self>
    where
        F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result + Send + Sync + 'a,
    {
        let closure = KBox::new(show, GFP_KERNEL)?;
        let closure = NonNull::from(Box::leak(closure)).cast::<()>();

        // From here on, dropping this undoes what has been done.
        //
        // INVARIANT: `closure` was leaked above, and `free_closure` is for its type.
        let mut this = Self {
            file: None,
            closure,
            free: free_closure::<F>,
            _closure: PhantomData,
        };

        // INVARIANT: `closure` is an `F`, which is `Send` and `Sync`, and is valid until the file
        // has been removed.
        let erased = Erased {
            closure,
            show: self::show::<F>,
        };
        this.file = Some(KBox::pin_init(
            dir.read_callback_file(name, erased, &Erased::show),
            GFP_KERNEL,
        )?);

        Ok(this)
    }
}

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

        // SAFETY: By the type invariants, `self.free` and `self.closure` belong together, and only
        // the file used it.
        unsafe { (self.free)(self.closure) };
    }
}
