# SPDX-License-Identifier: GPL-2.0
"""Brings kernel source into the cache: from Debian, a tarball or the user's own tree."""

import json
import os
import shutil

from . import buildroot, cache, integrate, manifest
from .stage import Failure, stage

PACKAGE = f"linux-source-{integrate.RELEASE}"


class Source:
    """A kernel source tree in the cache, into which the driver is put."""

    def __init__(self, entry):
        self.entry = entry
        self.name = os.path.basename(entry)
        self.tree = os.path.join(entry, "tree")

    def output(self, kernel):
        """Returns the build directory of one kernel configuration."""
        return os.path.join(self.entry, f"o-{kernel}")


def get(root):
    """Returns the kernel source that the user has chosen, unpacked and otherwise untouched."""
    kdir, tarball = os.environ.get("KDIR"), os.environ.get("KERNEL_TARBALL")
    if kdir and tarball:
        raise Failure("KDIR and KERNEL_TARBALL are both given", "one of them")
    if kdir:
        return from_directory(os.path.realpath(os.path.expanduser(kdir)))
    if tarball:
        return from_tarball(root, os.path.realpath(os.path.expanduser(tarball)))
    return from_debian(root)


def from_debian(root):
    """Returns the source of Debian's package."""
    note = cache.path("source-debian.json")
    known = json.loads(cache.read(note) or "{}")
    if known and os.path.isdir(cache.path(known["source"], "tree")):
        return Source(cache.path(known["source"]))
    log = cache.log("source")
    download = cache.path("download")
    with cache.lock("download"), stage("source", f"{PACKAGE} from Debian", log):
        cache.remove(download)
        os.makedirs(download)
        options = [item for option in buildroot.APT_OPTIONS for item in ("-o", option)]
        root.run(["apt-get", *options, "update"], log, buildroot.HINT)
        root.run(["apt-get", *options, "download", f"{PACKAGE}/trixie-backports"], log,
                 "KERNEL_TARBALL= or KDIR= with your own Linux 7.3", cwd=download)
        package = os.path.join(download, os.listdir(download)[0])
        root.run(["dpkg-deb", "-x", package, download], log)
        tarball = os.path.join(download, "usr/src", f"{PACKAGE}.tar.xz")
        source = from_tarball(root, tarball)
        cache.write(note, json.dumps({"source": source.name}))
        cache.remove(download)
    return source


def from_tarball(root, tarball):
    """Returns the source of a tarball, whose one top directory is the kernel tree."""
    if not os.path.isfile(tarball):
        raise Failure(f"there is no {tarball}", "KERNEL_TARBALL=/path/to/linux-7.3.tar.xz")
    entry = cache.path(f"kernel-{cache.file_hash(tarball)[:12]}")
    with cache.lock("source"):
        if not os.path.isdir(entry):
            log = cache.log("source")
            with stage("source", f"unpacking {os.path.basename(tarball)} (30 s)", log), \
                    cache.aside(entry) as new:
                os.makedirs(os.path.join(new, "tree"))
                root.run(["tar", "-xf", tarball, "--strip-components=1", "-C",
                          os.path.join(new, "tree")], log, binds=[os.path.dirname(tarball)])
                integrate.check_release(os.path.join(new, "tree"))
                manifest.save_pristine(os.path.join(new, "tree"))
    return Source(entry)


def from_directory(kdir):
    """Returns a copy of the user's own tree, up to date. The tree itself is not touched."""
    integrate.check_release(kdir)
    if integrate.Record(kdir).present:
        raise Failure(f"{kdir} has the driver in it already",
                      f"`make untree KDIR={kdir}` first: the copy gets the driver of this "
                      "repository")
    source = Source(cache.path(f"kernel-dir-{cache.key(kdir)}"))
    with cache.lock("source"), stage("source", f"bringing the copy of {kdir} up to date"):
        mirror_directory(kdir, source.tree)
    return source


def mirror_directory(here, there):
    """Makes `there` like `here`, without build products and .git, and keeps the driver there."""
    record = integrate.Record(there)
    ours = {*record.new, *record.patched}
    wanted = set(ours)
    for directory, names, files in os.walk(here):
        names[:] = [name for name in names if name != ".git"]
        below = os.path.relpath(directory, here)
        os.makedirs(os.path.join(there, below), exist_ok=True)
        for name in files:
            relative = os.path.normpath(os.path.join(below, name))
            if skipped(relative):
                continue
            wanted.add(relative)
            if relative in ours:
                renew_original(record, relative, os.path.join(here, relative))
            else:
                copy_if_changed(os.path.join(here, relative), os.path.join(there, relative))
    for directory, names, files in os.walk(there):
        names[:] = [name for name in names if name != ".front"]
        for name in files:
            path = os.path.join(directory, name)
            if os.path.relpath(path, there) not in wanted:
                os.unlink(path)


def skipped(relative):
    """Returns whether a file of the user's tree comes from a build in it."""
    name = os.path.basename(relative)
    return (name in (".config", ".config.old", "vmlinux", "Module.symvers")
            or name.endswith(integrate.PRODUCTS)
            or relative.startswith(("include/config/", "include/generated/"))
            or "/include/generated/" in relative)


def renew_original(record, name, path):
    """Lets the next integration start from what the user's tree has now."""
    if name in record.patched:
        with open(path, "rb") as file:
            content = file.read()
        if content != record.kept("before", name):
            integrate.replace(os.path.join(record.tree, name), content)
            record.keep("before", name, content)


def copy_if_changed(here, there):
    """Copies a file or a link unless size and time say that it is the same."""
    old, new = os.lstat(here), None
    if os.path.lexists(there):
        new = os.lstat(there)
        if (old.st_size, old.st_mtime_ns) == (new.st_size, new.st_mtime_ns):
            return
        os.unlink(there)
    shutil.copy2(here, there, follow_symlinks=False)
