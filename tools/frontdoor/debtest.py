# SPDX-License-Identifier: GPL-2.0
"""Tests `make deb` without building its kernel: its configuration, and what dracut looks for."""

import os
import re
import subprocess

from . import cache, deb, integrate, kernel
from .treetest import refused

MODULES = "medium/lib/modules"
MODULE = "gpu/drm/rust_gpu/rust-gpu.ko"
# A module that no initramfs takes for a driver of a screen.
OTHER = "input/evdev.ko"
# The directory that dracut, and Debian's plymouth for initramfs-tools, take modules from.
DRM = "kernel/drivers/gpu/drm/"
# dracut, modules.d/*drm/module-setup.sh: a driver of a screen needs one of these symbols.
DRACUT = re.compile(r"drm_crtc_init|drm_dev_register|drm_encoder_init")


def configuration(tally, root, source):
    """The fragment is taken as it is, and a user's own is laid over it."""
    config = deb.Package(root, source, "deb-config")
    with kernel.up_to_date(source), cache.lock(f"{source.name}-deb-config"):
        # The tree's Kconfig may be another one.
        cache.remove(os.path.join(config.output, "fragments.config"))
        kernel.configure(config)
        tally.count(True, "Kconfig takes tools/config/deb.config")
        taken = cache.read(os.path.join(config.output, ".config"))
        own = os.path.join(config.beside, "own.config")

        def laid_over(text):
            cache.write(own, text)
            return deb.fragments(own)

        text = laid_over("# mine\n\nCONFIG_IPV6=n\n# CONFIG_XFS_FS is not set\nCONFIG_NO_SUCH=m\n")
        lost = kernel.lost(taken, text)
    names = ["CONFIG_IPV6=n (is y)", "CONFIG_NO_SUCH=m (is n)", "CONFIG_XFS_FS=n (is m)"]
    tally.count(sorted(lost) == names, f"symbols that are not taken are named: {lost}")
    tally.count(refused(lambda: laid_over("IPV6=n\n"), own, "IPV6=n"), "a wrong line is named")
    tally.count(refused(lambda: deb.fragments(own + ".none"), own), "a missing file is named")
    number = deb.version(source).removeprefix(f"{integrate.release(source.tree)}-")
    tally.count(re.fullmatch(r"\d+(\.\d+)?", number), f"the version ends in a number: {number}")


def initramfs(tally, built):
    """dracut takes the driver as it takes the C driver, and only drivers of screens."""
    for name, wanted in ((MODULE, True), ("gpu/drm/virtio/virtio-gpu.ko", True), (OTHER, False)):
        found = modules(built, name)
        tally.count(len(found) == 1, f"{name} is there: {found}")
        for path in found:
            taken = DRM in path and bool(DRACUT.search(undefined(built, path)))
            tally.count(taken == wanted, f"dracut takes {name}: {taken}")


def modules(built, name):
    """The modules of a kernel whose paths end so."""
    return [os.path.join(directory, file)
            for directory, _, files in os.walk(os.path.join(built.output, MODULES))
            for file in files if os.path.join(directory, file).endswith(f"/{name}")]


def undefined(built, module):
    """The symbols that a module needs of others."""
    return subprocess.run(built.root.argv(["nm", "-u", module]), capture_output=True, text=True,
                          check=True).stdout
