# SPDX-License-Identifier: GPL-2.0
"""Removes parts of the cache."""

import os

from . import cache, installed
from .stage import say


def built():
    """Removes builds, logs and runs; keeps the build root, the sources and the guests' images."""
    remove(name for name in entries() if name in ("runs", "logs", "cargo-target", "deb") or
           name.startswith(installed.PREFIX))
    for name in entries():
        if name.startswith("kernel-"):
            outputs = [os.path.join(name, output) for output in os.listdir(cache.path(name))
                       if output.startswith("o-")]
            remove(outputs)


def everything():
    """Removes the whole cache."""
    remove(entries())
    if os.path.isdir(cache.root()):
        os.rmdir(cache.root())


def entries():
    """Returns the names in the cache."""
    return sorted(os.listdir(cache.root())) if os.path.isdir(cache.root()) else []


def remove(names):
    """Removes entries of the cache, and says so."""
    for name in names:
        say(f"removing {cache.path(name)}")
        cache.remove(cache.path(name))
