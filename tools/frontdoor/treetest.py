# SPDX-License-Identifier: GPL-2.0
"""Tests `make tree` and `make untree` on a copy of the whole kernel source."""

import contextlib
import io
import os
import subprocess

from . import cache, integrate, kernel
from .manifest import difference, manifest, pristine
from .stage import Failure

HOOK = "drivers/gpu/drm/Makefile"


def refused(function, *words):
    """Returns whether a call fails with a message that has all the words."""
    try:
        function()
    except Failure as failure:
        return all(word in failure.message for word in words)
    return False


def steps(tally, source):
    """Runs all tests, on a copy whose unchanged files are hard links."""
    before = pristine(source.tree)
    if not before:
        tally.count(True, "tree", "the kernel source is the user's own directory")
        return
    copy = cache.path("tree-test")
    with cache.lock("tree-test"):
        cache.remove(copy)
        with kernel.up_to_date(source):
            subprocess.run(["cp", "-al", source.tree, copy], check=True)
        try:
            test_round_trip(tally, copy, before)
            test_person_changes(tally, copy, before)
            test_refusals(tally, copy, before)
            test_warning(tally, copy)
        finally:
            cache.remove(copy)


def test_round_trip(tally, copy, before):
    """Puts it in twice and takes it out twice: nothing of it stays."""
    integrate.untree(copy)
    bad = difference(before, manifest(copy))
    tally.count(not bad, f"untree leaves {bad}")
    tally.count(integrate.untree(copy) is None, "untree twice")
    tally.count(len(integrate.tree(copy)) > 0, "tree writes files")
    first = manifest(copy)
    tally.count(integrate.tree(copy) == [], "tree twice writes nothing")
    bad = difference(first, manifest(copy))
    tally.count(not bad, f"tree twice changes {bad}")
    for product in ("rust_gpu.o", ".rust_gpu.o.cmd", "modules.order"):
        cache.write(os.path.join(copy, integrate.DRIVER, product), "")
    integrate.untree(copy)
    bad = difference(before, manifest(copy))
    tally.count(not bad, f"tree and untree leave {bad}")


def test_person_changes(tally, copy, before):
    """The user's changes of a hooked file stay; those of the driver's own files are not lost."""
    hook, own = os.path.join(copy, HOOK), os.path.join(copy, integrate.DRIVER, "Kconfig")
    was = cache.read(hook)
    integrate.tree(copy)
    cache.write(hook, cache.read(hook) + "# mine\n")
    ours = cache.read(own)
    cache.write(own, ours + "# mine\n")
    tally.count(refused(lambda: integrate.untree(copy), own), "a changed file is not removed")
    tally.count(refused(lambda: integrate.tree(copy), own), "a changed file is not overwritten")
    cache.write(own, ours)
    tally.count(integrate.tree(copy) == [], "the user's line is no reason to write")
    integrate.untree(copy)
    tally.count(cache.read(hook) == was + "# mine\n", "the user's line stays")
    integrate.replace(hook, was.encode())
    bad = difference(before, manifest(copy))
    tally.count(not bad, f"untree after the user's change leaves {bad}")


def test_refusals(tally, copy, before):
    """Another release or a half-applied tree is an error, before anything is touched."""
    makefile, driver = os.path.join(copy, "Makefile"), os.path.join(copy, integrate.DRIVER)
    text = cache.read(makefile)
    integrate.replace(makefile, text.replace("PATCHLEVEL = 3", "PATCHLEVEL = 2").encode())
    other = manifest(copy)
    tally.count(refused(lambda: integrate.tree(copy), "7.2", integrate.RELEASE),
                "another release is named")
    bad = difference(other, manifest(copy))
    tally.count(not bad, f"another release is touched: {bad}")
    integrate.replace(makefile, text.encode())

    integrate.tree(copy)
    cache.remove(os.path.join(copy, integrate.RECORD))
    other = manifest(copy)
    tally.count(refused(lambda: integrate.tree(copy), "already"), "tree without a record")
    tally.count(refused(lambda: integrate.untree(copy), "record"), "untree without a record")
    cache.remove(driver)
    tally.count(refused(lambda: integrate.tree(copy), "already"), "a part without a record")
    tally.count(difference(other, manifest(copy)).startswith(integrate.DRIVER),
                "a refused tree is not touched")
    del before


def test_warning(tally, copy):
    """DRM=m hides the driver: `make tree` says so."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        clean_copy(copy)
        cache.write(os.path.join(copy, ".config"), "CONFIG_DRM=m\nCONFIG_RUST=y\n")
        integrate.command_tree(copy, False)
    tally.count("CONFIG_DRM=y" in output.getvalue(), "DRM=m is said to hide the driver")


def clean_copy(copy):
    """Removes the remains of a half-applied driver."""
    for name in integrate.sources():
        cache.remove(os.path.join(copy, name))
    for patch in reversed(integrate.patches()):
        subprocess.run(["patch", "-R", "-s", "-p1", "-d", copy, "-i", patch], check=True)
