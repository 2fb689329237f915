# SPDX-License-Identifier: GPL-2.0
"""Lists a directory tree, to compare it with what it was before."""

import hashlib
import os

from . import cache

DIGESTS = {}

def manifest(top):
    """Returns mode and content of everything in a tree, directories too."""
    found = {}
    for directory, names, files in os.walk(top):
        for name in names + files:
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, top)
            if os.path.islink(path):
                found[relative] = os.readlink(path)
            elif os.path.isdir(path):
                found[relative] = "directory"
            else:
                found[relative] = describe(path)
    return found


def describe(path):
    """Returns mode and content of a file. Each inode is read once per run."""
    status = os.stat(path)
    identity = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    if identity not in DIGESTS:
        with open(path, "rb") as file:
            DIGESTS[identity] = hashlib.file_digest(file, "blake2b").hexdigest()
    return f"{status.st_mode & 0o777:o} {DIGESTS[identity]}"


def pristine(tree):
    """Returns the manifest of an unpacked source before anything was put into it."""
    return dict(line.rsplit("\t", 1) for line in
                (cache.read(os.path.join(os.path.dirname(tree), "pristine")) or "").splitlines())


def save_pristine(tree):
    """Saves the manifest of a source that was just unpacked."""
    lines = [f"{name}\t{value}\n" for name, value in sorted(manifest(tree).items())]
    cache.write(os.path.join(os.path.dirname(tree), "pristine"), "".join(lines))


def difference(before, after):
    """Returns the first names that differ between two manifests."""
    names = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    return ", ".join(sorted(names)[:5])
