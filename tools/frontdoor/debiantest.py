# SPDX-License-Identifier: GPL-2.0
"""Tests the packages of `make deb` in Debian guests, as users have them."""

import glob
import os
import time

from . import bootpath, cache, deb, debian, desktop, tap
from .stage import Failure, say

# What runs, and on which disk.
PARTS = {"boot": (bootpath.steps, debian.BASE), "desktop": (desktop.steps, debian.DESKTOP)}


def packages(root, source, folder=None):
    """The folder with the packages: a given one, or that of `make deb`, brought up to date."""
    if not folder:
        deb.bring(root, source)
        return deb.folder()
    folder = os.path.abspath(folder)
    if not glob.glob(os.path.join(folder, "linux-image-*.deb")):
        raise Failure(f"{folder} has no linux-image-*.deb")
    return folder


def part(tally, root, name, folder):
    """Runs one part."""
    function, image = PARTS[name]
    function(tally, root, debian.get(root, image), folder, cache.log(f"guest-{name}"))


def main(root, source, names, folder):
    """Runs parts. The last line is the sum."""
    total = tap.Tally()
    folder = packages(root, source, folder)
    for name in names:
        say(f"== guest: {name}")
        start = time.monotonic()
        tally = tap.Tally()
        try:
            part(tally, root, name, folder)
        except Failure as failure:
            failure.report()
            tally.failures.append(f"guest: {name}: {failure.message}")
        say(f"== guest: {name}: {tally} in {(time.monotonic() - start) / 60:.0f} min")
        total.add(tally)
    for line in total.failures:
        say(f"FAILED {line}")
    say(str(total))
    return 1 if total.failures else 0
