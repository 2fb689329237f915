# SPDX-License-Identifier: GPL-2.0
"""Configures and builds kernels, and packs the medium with modules and tests for the guest."""

import contextlib
import os
import re
import shutil
import time

from . import cache, integrate
from .progress import Status
from .stage import Failure, say, stage

CONFIGS = os.path.join(cache.REPO, "tools/config")
# The configuration fragments of each kernel; later ones win.
KERNELS = {
    "debug": ["common", "debug"],
    "production": ["common", "production"],
    "rt": ["common", "debug", "rt"],
    "kmemleak": ["common", "debug", "kmemleak"],
    "lint": ["common", "lint"],
}
SELFTESTS = "drivers/gpu/rust_gpu"
GUEST = os.path.join(cache.REPO, "tools/guest")
# The files of tools/guest that are on the medium.
GUEST_FILES = ["init", "screendump"]
MEDIUM_MIB = 256
# About as many objects as a kernel has, for the first build of one.
OBJECTS = 1750


class Kernel:
    """A kernel that a guest can boot: its paths."""

    def __init__(self, root, source, name, config=None):
        self.root = root
        self.source = source
        self.name = name
        self.config = fragments(name) if config is None else config
        # Where its fragments are.
        self.where = "tools/config/"
        self.output = source.output(name)
        self.image = os.path.join(self.output, "arch/x86/boot/bzImage")
        self.medium = os.path.join(self.output, "medium.ext4")
        self.log = cache.log(f"kernel-{name}")

    def make(self, *arguments, log=None, hint=None):
        """Runs make on the kernel tree in the build root."""
        self.root.run(["make", "-s", "-C", self.source.tree, "LLVM=1", f"O={self.output}",
                       f"-j{os.cpu_count()}", *arguments], log or self.log, hint)


@contextlib.contextmanager
def up_to_date(source):
    """Brings the cached tree up to date and keeps it so, together with other users."""
    while True:
        with cache.lock(source.name, shared=True):
            if integrate.is_current(source.tree):
                yield
                return
        with cache.lock(source.name):
            changed = integrate.tree(source.tree, force=True)
            say(f"== tree: {len(changed)} files brought up to date")


def get(root, source, name):
    """Returns a kernel that is up to date; builds it first if it is not."""
    if name not in KERNELS:
        raise Failure(f"there is no kernel '{name}'", "one of " + ", ".join(KERNELS))
    kernel = Kernel(root, source, name)
    with up_to_date(source), cache.lock(f"{source.name}-{name}"):
        want = state(root, source, name)
        done = os.path.join(kernel.output, "built")
        if cache.read(done) != want:
            cold = not os.path.exists(os.path.join(kernel.output, "vmlinux"))
            doing = "building from nothing (10-15 minutes)" if cold else "building what changed"
            cache.remove(done)
            if os.path.exists(kernel.log):
                os.rename(kernel.log, kernel.log + ".old")
            with stage(f"kernel {name}", doing, kernel.log, progress_of(kernel, cold)):
                build(kernel)
            if cold:
                remember_objects(kernel)
            cache.write(done, want)
    return kernel


def objects(kernel):
    """The object files in the output directory."""
    for directory, _, names in os.walk(kernel.output):
        for name in names:
            if name.endswith(".o"):
                yield os.path.join(directory, name)


def known_objects(name):
    """Where it is kept how many objects a kernel has."""
    return cache.path("known", f"objects-{name}")


def remember_objects(kernel):
    """Keeps how many objects a kernel has, which was built from nothing."""
    cache.write(known_objects(kernel.name), str(len(list(objects(kernel)))))


def progress_of(kernel, cold, about=OBJECTS):
    """A function that tells how far a build is, by its objects."""
    there = set(objects(kernel))
    total = int(cache.read(known_objects(kernel.name)) or about) - len(there) if cold else 0
    start = time.time()

    def look():
        new = [name for name in objects(kernel)
               if name not in there or not cold and is_newer(name, start)]
        return Status(done=len(new), total=total, unit="objects")
    return look


def is_newer(name, start):
    """Whether a file was written since then; it may be gone by now."""
    try:
        return os.path.getmtime(name) >= start
    except FileNotFoundError:
        return False


def state(root, source, name):
    """Returns a key of what the content of a built kernel and its medium depends on."""
    return cache.key(sources_state(root, source), fragments(name),
                     *(cache.file_hash(os.path.join(GUEST, name)) for name in GUEST_FILES))


def sources_state(root, source):
    """Returns a key of the tools and the sources."""
    record = cache.read(os.path.join(source.tree, integrate.RECORD, "record.json"))
    after = [cache.file_hash(os.path.join(source.tree, file))
             for file in integrate.patched_files()]
    marks = [f"{entry.st_mtime_ns}" for entry in [os.stat(os.path.join(source.tree, "Makefile"))]]
    return cache.key(root.path, record, *after, *marks)


def fragments(name):
    """Returns the text of all fragments of a kernel."""
    return "\n".join(cache.read(os.path.join(CONFIGS, f"{part}.config"))
                     for part in KERNELS[name])


def configure(kernel):
    """Writes .config if a fragment has changed, and checks the result."""
    text = kernel.config
    note = os.path.join(kernel.output, "fragments.config")
    if cache.read(note) != text or not os.path.exists(os.path.join(kernel.output, ".config")):
        os.makedirs(kernel.output, exist_ok=True)
        cache.remove(note)
        kernel.make("allnoconfig")
        wanted = os.path.join(kernel.output, "wanted.config")
        cache.write(wanted, text)
        config = os.path.join(kernel.output, ".config")
        kernel.root.run(["sh", "scripts/kconfig/merge_config.sh", "-m", "-O", kernel.output,
                         config, wanted], kernel.log, cwd=kernel.source.tree)
        kernel.make("olddefconfig")
        cache.write(note, text)
    check_config(kernel, text)


def check_config(kernel, text):
    """Fails if symbols do not have the values of the fragments, and lists them."""
    found = lost(cache.read(os.path.join(kernel.output, ".config")), text)
    if found:
        cache.remove(os.path.join(kernel.output, "fragments.config"))
        raise Failure(f"kernel {kernel.name}: Kconfig did not take " + ", ".join(found),
                      f"the dependencies of these symbols, in {kernel.where}", kernel.log)


def lost(config, text):
    """Returns the settings of fragments that a configuration does not have."""
    have = symbols(config)
    return [f"CONFIG_{name}={value} (is {have.get(name, 'n')})"
            for name, value in symbols(text).items() if have.get(name, "n") != value]


def symbols(text):
    """Returns the symbols of a configuration with their last values."""
    found = {}
    for name, value, unset in re.findall(r"^(?:# )?CONFIG_(\w+)(?:=(.*)| (is not set))$", text,
                                         re.M):
        found[name] = "n" if unset else value
    return found


def build(kernel):
    """Configures, builds, and packs the medium for the guest."""
    configure(kernel)
    hint = "the first error above in the log; `make distclean` starts from nothing"
    kernel.make("bzImage", "modules", "headers", hint=hint)
    build_medium(kernel)


def build_medium(kernel):
    """Packs modules, the tests and the guest's first process into a file system image."""
    medium = os.path.join(kernel.output, "medium")
    shutil.rmtree(medium, ignore_errors=True)
    os.makedirs(os.path.join(medium, "kselftest"))
    kernel.make("modules_install", f"INSTALL_MOD_PATH={medium}")
    for link in ("build", "source"):
        for release in os.listdir(os.path.join(medium, "lib/modules")):
            cache.remove(os.path.join(medium, "lib/modules", release, link))
    if os.path.exists(os.path.join(kernel.source.tree, "tools/testing/selftests", SELFTESTS,
                                   "Makefile")):
        # Their makefiles do not list headers: after a change of one nothing would be rebuilt.
        shutil.rmtree(os.path.join(kernel.output, "kselftest", SELFTESTS), ignore_errors=True)
        # The module among them is built in the tree itself, which all kernels share.
        with cache.lock(f"{kernel.source.name}-kselftest"):
            kernel.make("kselftest-install", f"TARGETS={SELFTESTS}", "FORCE_TARGETS=1",
                        f"INSTALL_PATH={medium}/kselftest", f"KDIR={kernel.output}",
                        hint="the tests in selftests/")
    for name in GUEST_FILES:
        shutil.copy(os.path.join(GUEST, name), os.path.join(medium, name))
    with cache.aside(kernel.medium) as new:
        make_image(kernel.root, medium, new, MEDIUM_MIB, kernel.log)


def make_image(root, directory, image, mebibytes, log):
    """Makes an ext4 image of a directory without mounting anything."""
    root.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", directory,
              image, f"{mebibytes}M"], log, "more disk space")
