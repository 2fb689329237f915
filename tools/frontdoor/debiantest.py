# SPDX-License-Identifier: GPL-2.0
"""Tests the packages of `make deb` in Debian guests, as users have them, and hosts with OpenGL."""

import glob
import os

from . import (bootpath, cache, deb, debian, desktop, earlyboot, gldesktop, gltest, gpus, mutter,
               parts)
from .stage import Failure

# What runs, and on which disk. What has none needs no packages: it runs test kernels.
PARTS = {"boot": (bootpath.steps, debian.BASE), "desktop": (desktop.steps, debian.DESKTOP),
         "gpus": (gpus.steps, debian.DESKTOP),
         "mutter": (mutter.steps, debian.DESKTOP),
         "simpledrm": (earlyboot.simpledrm, debian.DESKTOP),
         "password": (earlyboot.password, debian.DESKTOP),
         "dracut": (earlyboot.dracut, debian.DESKTOP),
         "virgl": (gldesktop.steps, debian.VIRGL),
         "gl": (gltest.steps, None)}


def packages(root, source, folder=None):
    """The folder with the packages: a given one, or that of `make deb`, brought up to date."""
    if not folder:
        deb.bring(root, source)
        return deb.folder()
    folder = os.path.abspath(folder)
    if not glob.glob(os.path.join(folder, "linux-image-*.deb")):
        raise Failure(f"{folder} has no linux-image-*.deb")
    return folder


def part(tally, root, source, name, folder):
    """Runs one part. Makes its packages if no folder with them is given."""
    function, image = PARTS[name]
    if image is None:
        function(tally, root, source)
        return
    folder = packages(root, source, folder)
    function(tally, root, debian.get(root, image), folder, cache.log(f"guest-{name}"))


def main(root, source, names, folder):
    """Runs parts. The last line is the sum."""
    return parts.run("guest", names,
                     lambda tally, name: part(tally, root, source, name, folder))
