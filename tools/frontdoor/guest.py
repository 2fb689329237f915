# SPDX-License-Identifier: GPL-2.0
"""The guest's root file system: a minimal Debian trixie with the libc that the tests link to."""

import os
import shutil

from . import buildroot, cache, host
from .kernel import make_image
from .stage import stage

PACKAGES = ["kmod", "pciutils", "procps", "strace"]
SIZE_MIB = 600


def get(root):
    """Returns the guest's root image and makes it first when it is not there."""
    entry = cache.path(f"guest-{cache.key(*PACKAGES, str(SIZE_MIB), '1')}.ext4")
    with cache.lock("guest"):
        if not os.path.exists(entry):
            host.install_packages()
            log = cache.log("guest")
            directory = cache.path("guest.dir")
            with stage("guest image", "a minimal Debian trixie (1 minute)", log):
                cache.remove(directory)
                buildroot.mmdebstrap(directory, "essential", PACKAGES, host.mirror(), log)
                for name in ("var/lib/apt", "var/cache", "usr/share/doc", "usr/share/locale"):
                    shutil.rmtree(os.path.join(directory, name), ignore_errors=True)
                with cache.aside(entry) as new:
                    make_image(root, directory, new, SIZE_MIB, log)
                cache.remove(directory)
    return entry
