# SPDX-License-Identifier: GPL-2.0
"""The cache directory: content keys, locks against two runs at once, entries written aside."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import threading

from .progress import activity, say

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
    """The log file of a stage; the directory is made."""
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
    """Holds the lock of one cache entry, alone or with others; says so when it has to wait."""
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
    """Gives a path to make an entry at, and renames it to `entry` when all went well."""
    new = entry + ".new"
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
    """Writes a text file such that a reader sees the old content or the new one."""
    os.makedirs(os.path.dirname(name), exist_ok=True)
    new = f"{name}.{os.getpid()}-{threading.get_ident()}.new"
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
    """Removes all but the newest `keep` entries of a directory."""
    entries = sorted((os.path.join(directory, name) for name in os.listdir(directory)),
                     key=os.path.getmtime)
    for entry in entries[:-keep]:
        remove(entry)
