# SPDX-License-Identifier: GPL-2.0
"""Gives disk space back."""

import os

from . import cache
from .stage import say


def built():
    """Removes what was built, and keeps the build root, the sources and the guest image."""
    remove(name for name in entries() if name in ("runs", "logs", "cargo-target"))
    for name in entries():
        if name.startswith("kernel-"):
            outputs = [os.path.join(name, output) for output in os.listdir(cache.path(name))
                       if output.startswith("o-")]
            remove(outputs)


def everything():
    """Removes all that the front door keeps."""
    remove(entries())
    if os.path.isdir(cache.root()):
        os.rmdir(cache.root())


def entries():
    """What is in the cache."""
    return sorted(os.listdir(cache.root())) if os.path.isdir(cache.root()) else []


def remove(names):
    """Removes entries of the cache, and says so."""
    for name in names:
        say(f"removing {cache.path(name)}")
        cache.remove(cache.path(name))
