# SPDX-License-Identifier: GPL-2.0
"""The root in which QEMU draws with OpenGL: its modules for that, Mesa, and an X server in memory.

The build root has none of this, and needs it not: it is made by those commands only that use it.
"""

import os
import shutil

from . import buildroot, cache, host
from .stage import stage

BASE = ["ca-certificates", "util-linux"]
# Mixing the suites breaks QEMU's dependencies, so all of this comes from backports where it can.
PACKAGES = ["qemu-system-x86", "qemu-system-gui", "qemu-system-modules-opengl", "libgl1-mesa-dri",
            "libegl1", "libgl1", "xvfb"]


def key():
    """Returns a key of what the content of the root depends on."""
    return cache.key(*BASE, *PACKAGES, "1")


def get():
    """Returns the root and makes it first when it is not there."""
    entry = cache.path(f"gl-root-{key()}")
    with cache.lock("gl-root"):
        if not os.path.isdir(entry):
            host.install_packages()
            log = cache.log("gl-root")
            with stage("gl root", "QEMU with OpenGL, Mesa, Xvfb (2 minutes)", log), \
                    cache.aside(entry) as new:
                make(new, log)
    return buildroot.BuildRoot(entry)


def make(new, log):
    """Makes the root at `new`."""
    buildroot.mmdebstrap(new, "apt", BASE, host.mirror(), log)
    shutil.copyfile("/etc/resolv.conf", f"{new}/etc/resolv.conf")
    buildroot.apt(buildroot.BuildRoot(new), ["-t", "trixie-backports", "install", *PACKAGES], log)
    for name in ("var/lib/apt/lists", "var/cache/apt", "usr/share/doc", "usr/share/locale"):
        shutil.rmtree(os.path.join(new, name), ignore_errors=True)
