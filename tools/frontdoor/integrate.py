# SPDX-License-Identifier: GPL-2.0
"""Puts the driver into a kernel tree, and takes it out again without a trace.

Everything is computed and checked before the first file is touched. A record in the tree has the
content of every changed file before and after, so that the change can be undone exactly, even if
this repository has changed since then.
"""

import filecmp
import json
import os
import re
import shutil
import subprocess
import tempfile

from . import cache
from .stage import Failure, say

RELEASE = "7.3"
DRIVER = "drivers/gpu/drm/rust_gpu"
SELFTESTS = "tools/testing/selftests/drivers/gpu/rust_gpu"
RECORD = f"{DRIVER}/.front"
PRODUCTS = (".o", ".ko", ".mod", ".mod.c", ".cmd", ".d", ".a", ".order", ".symversions", ".rmeta",
            ".rsi", "Module.symvers", ".ll", ".s", ".i", ".dwo", ".gcno")


def sources():
    """Returns every file that the project adds: path in the tree -> path in this repository."""
    found = {}
    for name in sorted(os.listdir(cache.REPO)):
        if name in ("Kconfig", "Kbuild") or name.endswith((".rs", ".c", ".h")):
            found[f"{DRIVER}/{name}"] = os.path.join(cache.REPO, name)
        # A directory has the modules inside the module of its name.
        if name.endswith(".rs"):
            inside = name.removesuffix(".rs")
            for file in walk(os.path.join(cache.REPO, inside)):
                found[f"{DRIVER}/{inside}/{file}"] = os.path.join(cache.REPO, inside, file)
    for here, there in (("rust", "rust"), ("include", "include"), ("selftests", SELFTESTS),
                        ("Documentation", "Documentation")):
        for name in walk(os.path.join(cache.REPO, here)):
            found[f"{there}/{name}"] = os.path.join(cache.REPO, here, name)
    found[f"{SELFTESTS}/handover"] = os.path.join(cache.REPO, "tools/handover")
    return found


def walk(top):
    """Yields the relative paths of the files below `top` that belong into a tree."""
    for directory, names, files in os.walk(top):
        # Cargo crates test the sources in user space, and are no part of a kernel tree.
        names[:] = sorted(name for name in names if not name.startswith(".") and not
                          os.path.exists(os.path.join(directory, name, "Cargo.toml")))
        for name in sorted(files):
            if not name.startswith(".") and not name.endswith(("~", ".orig", ".rej", *PRODUCTS)):
                yield os.path.relpath(os.path.join(directory, name), top)


def patches():
    """Returns the patches of the tree's own files, the hooks, in order."""
    directory = os.path.join(cache.REPO, "patches")
    return [os.path.join(directory, name) for name in sorted(os.listdir(directory))
            if name.endswith(".patch")]


def patched_files():
    """Returns the files of a tree that the hooks change."""
    found = {}
    for patch in patches():
        old = None
        for line in cache.read(patch).splitlines():
            if line.startswith("--- "):
                old = line[4:].split("\t")[0]
            elif line.startswith("+++ ") and old is not None:
                new = line[4:].split("\t")[0]
                if not old.startswith("a/") or not new.startswith("b/"):
                    raise Failure(f"{patch} adds or removes a file: new files belong into rust/")
                found[new[2:]] = None
                old = None
    return list(found)


def release(kdir):
    """Returns the release of a kernel tree, such as `7.3.4`."""
    makefile = cache.read(os.path.join(kdir, "Makefile")) or ""
    values = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL) *= *(\d+)$", makefile, re.M))
    if len(values) != 3 or not os.path.isdir(os.path.join(kdir, "drivers/gpu/drm")):
        raise Failure(f"{kdir} is not a kernel source tree", "KDIR=/path/to/linux")
    return ".".join(values[name] for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL"))


def check_release(kdir):
    """Fails if the driver is for another release than the tree's."""
    have = release(kdir)
    if not (have + ".").startswith(RELEASE + "."):
        raise Failure(f"{kdir} is Linux {have}, this driver is for Linux {RELEASE}",
                      f"a tree of Linux {RELEASE}, such as Debian's linux-source-{RELEASE}")


class Record:
    """The record of what was put into a tree."""

    def __init__(self, kdir):
        self.tree = kdir
        self.base = os.path.join(kdir, RECORD)
        text = cache.read(os.path.join(self.base, "record.json"))
        content = json.loads(text) if text else {}
        self.present = bool(text)
        self.new = content.get("new", {})
        self.patched = content.get("patched", [])
        self.directories = content.get("directories", [])
        self.hooks = content.get("hooks")

    def save(self):
        """Writes the list of files; `keep` writes their contents."""
        content = {"new": self.new, "patched": sorted(self.patched),
                   "directories": sorted(self.directories), "hooks": self.hooks}
        cache.write(os.path.join(self.base, "record.json"), json.dumps(content, indent=1) + "\n")

    def kept(self, when, name):
        """Returns the content of a patched file `before` or `after`."""
        with open(os.path.join(self.base, when, name), "rb") as file:
            return file.read()

    def keep(self, when, name, content):
        """Keeps the content of a patched file."""
        replace(os.path.join(self.base, when, name), content)

    def undone(self, name):
        """Returns a patched file without the hooks, but with the user's own later changes."""
        with open(os.path.join(self.tree, name), "rb") as file:
            now = file.read()
        before, after = self.kept("before", name), self.kept("after", name)
        if now in (before, after):
            return before
        return merge(name, now, after, before)

    def check_unchanged(self):
        """Fails if the user has changed one of the driver's own files in the tree."""
        for name, was in self.new.items():
            path = os.path.join(self.tree, name)
            if os.path.exists(path) and cache.file_hash(path) != was:
                raise Failure(f"{path} was changed in the tree, and that change would be lost",
                              "move the change into this repository and restore the file, "
                              "or FORCE=1 to lose it")


def merge(name, now, old, new):
    """Applies the change from `old` to `new` to `now`."""
    with tempfile.TemporaryDirectory() as directory:
        files = []
        for label, content in (("now", now), ("old", old), ("new", new)):
            files.append(os.path.join(directory, label))
            with open(files[-1], "wb") as file:
                file.write(content)
        result = subprocess.run(["git", "merge-file", "-p", *files], capture_output=True,
                                check=False)
    if result.returncode:
        raise Failure(f"{name} was changed in a place that `make tree` changes too",
                      f"take the lines with rust_gpu out of {name} by hand")
    return result.stdout


def apply_patches(contents):
    """Applies the hooks to the files in `contents` and returns the new contents."""
    with tempfile.TemporaryDirectory() as directory:
        for name, content in contents.items():
            replace(os.path.join(directory, name), content)
        env = dict(os.environ, GIT_CEILING_DIRECTORIES=os.path.dirname(directory))
        for patch in patches():
            result = subprocess.run(["git", "apply", "-p1", patch], cwd=directory, env=env,
                                    capture_output=True, text=True, check=False)
            if result.returncode:
                raise Failure(f"{os.path.basename(patch)} does not apply: "
                              f"{result.stderr.strip()}",
                              "a clean tree: another version of the hooks may be in it, without "
                              "the record of `make tree`")
        after = {}
        for name in contents:
            with open(os.path.join(directory, name), "rb") as file:
                after[name] = file.read()
        return after


def replace(path, content):
    """Writes a file only if its content differs, so that make sees no more than real changes."""
    try:
        with open(path, "rb") as file:
            if file.read() == content:
                return False
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else None
    with open(path + ".front-new", "wb") as file:
        file.write(content)
    if mode is not None:
        os.chmod(path + ".front-new", mode)
    os.rename(path + ".front-new", path)
    return True


def hooks():
    """Returns a key of the hooks."""
    return cache.key(*(cache.read(patch) for patch in patches()))


def is_current(kdir):
    """Returns whether `tree` would write nothing."""
    record = Record(kdir)
    if record.hooks != hooks():
        return False
    if record.new != {name: cache.file_hash(file) for name, file in sources().items()}:
        return False
    try:
        return (all(cache.file_hash(os.path.join(kdir, name)) == was
                    for name, was in record.new.items())
                and all(filecmp.cmp(os.path.join(kdir, name),
                                    os.path.join(record.base, "after", name), shallow=False)
                        for name in record.patched))
    except FileNotFoundError:
        return False


def tree(kdir, force=False):
    """Puts the driver into the tree, or brings it up to date. Returns the changed files."""
    kdir = os.path.abspath(kdir)
    check_release(kdir)
    record = Record(kdir)
    if not force:
        record.check_unchanged()
    files = sources()
    for name in files:
        if name not in record.new and os.path.exists(os.path.join(kdir, name)):
            raise Failure(f"{os.path.join(kdir, name)} is there already, and not by `make tree`",
                          "a clean tree; in git: `git status`, `git checkout`, `git clean`")
    before = {}
    for name in dict.fromkeys([*record.patched, *patched_files()]):
        if name in record.patched:
            before[name] = record.undone(name)
        else:
            with open(os.path.join(kdir, name), "rb") as file:
                before[name] = file.read()
    after = apply_patches({name: before[name] for name in patched_files()})
    return write_tree(record, files, before, after)


def write_tree(record, files, before, after):
    """Writes what `tree` has computed. The record is first, so that it can always be undone."""
    old = Record(record.tree)
    kdir = record.tree
    for name in files:
        record.directories = sorted({*record.directories, *missing_parents(kdir, name)})
    contents = {}
    for name, source in files.items():
        with open(source, "rb") as file:
            contents[name] = file.read()
    hashes = {name: cache.file_hash(source) for name, source in files.items()}
    record.new = {**old.new, **hashes}
    record.patched = sorted({*old.patched, *after})
    for name, content in after.items():
        record.keep("before", name, before[name])
        record.keep("after", name, content)
    record.save()

    changed = [name for name, content in {**contents, **after}.items()
               if replace(os.path.join(kdir, name), content)]
    for name, source in files.items():
        os.chmod(os.path.join(kdir, name), 0o755 if os.access(source, os.X_OK) else 0o644)
    for name in set(old.new) - set(files):
        cache.remove(os.path.join(kdir, name))
        changed.append(name)
    for name in set(old.patched) - set(after):
        replace(os.path.join(kdir, name), before[name])
        changed.append(name)
    record.new, record.patched, record.hooks = hashes, sorted(after), hooks()
    record.save()
    return changed


def missing_parents(kdir, name):
    """Yields the directories above `name` that the tree does not have."""
    parent = os.path.dirname(name)
    while parent and not os.path.isdir(os.path.join(kdir, parent)):
        yield parent
        parent = os.path.dirname(parent)


def untree(kdir, force=False):
    """Takes the driver out of the tree. Returns the user's own files, which stay."""
    kdir = os.path.abspath(kdir)
    release(kdir)
    record = Record(kdir)
    if not record.present:
        check_no_remains(kdir)
        return None
    if not force:
        record.check_unchanged()
    restored = {name: record.undone(name) for name in record.patched}
    for name, content in restored.items():
        replace(os.path.join(kdir, name), content)
    for name in record.new:
        cache.remove(os.path.join(kdir, name))
    left = []
    shutil.rmtree(record.base)
    for name in sorted(record.directories):
        left += remove_products(os.path.join(kdir, name))
    for name in sorted(record.directories, reverse=True):
        directory = os.path.join(kdir, name)
        if os.path.isdir(directory) and not os.listdir(directory):
            os.rmdir(directory)
    return list(dict.fromkeys(left))


def remove_products(directory):
    """Removes build products below a directory that `tree` made. Returns the other files there."""
    left = []
    for here, _names, files in os.walk(directory, topdown=False):
        for name in files:
            path = os.path.join(here, name)
            if is_product(path):
                os.unlink(path)
            else:
                left.append(path)
        if here != directory and not os.listdir(here):
            os.rmdir(here)
    return left


def is_product(path):
    """Returns whether a build has made a file."""
    if path.endswith(PRODUCTS):
        return True
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def check_no_remains(kdir):
    """Fails if parts of the driver are in a tree that has no record of them."""
    remains = [name for name in sources() if os.path.exists(os.path.join(kdir, name))]
    remains += [name for name in patched_files()
                if "rust_gpu" in (cache.read(os.path.join(kdir, name)) or "")]
    if remains:
        raise Failure(f"{kdir} holds parts of rust_gpu ({remains[0]}) without the record of "
                      "`make tree`", "restore the tree; in git: `git status`, `git checkout`, "
                      "`git clean`")


def command_tree(kdir, force):
    """Runs the command `make tree`."""
    changed = tree(kdir, force)
    say(f"{kdir}: {len(changed)} files written" if changed else f"{kdir}: nothing to do")
    config = cache.read(os.path.join(kdir, ".config")) or ""
    if "CONFIG_DRM=m" in config:
        say(f"warning: {kdir}/.config has CONFIG_DRM=m, which hides DRM_RUST_GPU: Rust DRM "
            "drivers need CONFIG_DRM=y")
    if config and "CONFIG_RUST=y" not in config:
        say(f"warning: {kdir}/.config does not have CONFIG_RUST=y, which hides DRM_RUST_GPU; "
            "`make LLVM=1 rustavailable` says what is missing")
    say("next: make LLVM=1 menuconfig (Device Drivers, Graphics support, DRM_RUST_GPU), then "
        "make LLVM=1")


def command_untree(kdir, force):
    """Runs the command `make untree`."""
    left = untree(kdir, force)
    if left is None:
        say(f"{kdir}: rust_gpu is not in it, nothing to do")
    else:
        say(f"{kdir}: rust_gpu is taken out")
        for path in left:
            say(f"warning: {path} is not from `make tree` and stays")
