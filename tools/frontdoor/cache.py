# SPDX-License-Identifier: GPL-2.0
"""Keeps the cache directory: content keys, locks, entries that appear when they are complete."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import threading

from .progress import activity, say

# The end of the name of an entry that is not complete.
NEW = ".new"
REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def root():
    """The cache directory, `$RUST_GPU_CACHE` or `~/.cache/rust_gpu`."""
    chosen = os.environ.get("RUST_GPU_CACHE")
    if not chosen:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        chosen = os.path.join(base, "rust_gpu")
    return os.path.realpath(chosen)


def path(*names):
    """A path in the cache directory."""
    return os.path.join(root(), *names)


def log(name):
    """Returns the log file of a stage, and makes its directory."""
    os.makedirs(path("logs"), exist_ok=True)
    return path("logs", f"{name}.log")


def key(*parts):
    """A short content key of some text."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:12]


def file_hash(name):
    """The SHA-256 of a file."""
    with open(name, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def lock(name, shared=False):
    """Holds the lock of one cache entry, exclusive or shared. Says so when it has to wait."""
    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    os.makedirs(path("locks"), exist_ok=True)
    with open(path("locks", name), "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"== {name}: waiting for another run that is using it")
            with activity(f"waiting for {name}"):
                fcntl.flock(file, how)
        yield


@contextlib.contextmanager
def aside(entry):
    """Yields a path for a new entry, and renames it to `entry` if there was no error."""
    new = entry + NEW
    remove(new)
    os.makedirs(os.path.dirname(entry), exist_ok=True)
    yield new
    remove(entry)
    os.rename(new, entry)


def remove(entry):
    """Removes a file or a directory, if it is there."""
    if os.path.isdir(entry) and not os.path.islink(entry):
        shutil.rmtree(entry)
    elif os.path.lexists(entry):
        os.unlink(entry)


def write(name, text):
    """Replaces a text file. A reader sees the old content or the new one, never a part."""
    os.makedirs(os.path.dirname(name), exist_ok=True)
    new = f"{name}.{os.getpid()}-{threading.get_ident()}{NEW}"
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(new, name)


def read(name):
    """The content of a text file, or None when there is no such file."""
    try:
        with open(name, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def prune(directory, keep):
    """Removes all but the newest `keep` entries of a directory, which others may write or prune."""
    entries = []
    for name in os.listdir(directory):
        if name.endswith(NEW):
            continue
        with contextlib.suppress(FileNotFoundError):
            entries.append((os.path.getmtime(os.path.join(directory, name)), name))
    for _, name in sorted(entries)[:-keep]:
        with contextlib.suppress(FileNotFoundError):
            remove(os.path.join(directory, name))
