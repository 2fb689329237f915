# SPDX-License-Identifier: GPL-2.0
"""Adds kernel modules to a guest's initramfs, which loads them in this order."""

import os

from . import cache
from .stage import Failure

# The format newc: this, 13 numbers of 8 hex digits, the name, the content.
MAGIC = b"070701"
REGULAR, DIRECTORY = 0o100644, 0o040755


def write(path, base, kernel, names):
    """Writes the initramfs `base`, followed by an archive with the modules of these names."""
    archive = member("modules", DIRECTORY, b"")
    for number, file in enumerate(in_order(kernel, names)):
        with open(file, "rb") as content:
            archive += member(f"modules/{number:02}-{os.path.basename(file)}", REGULAR,
                              content.read())
    archive += member("TRAILER!!!", 0, b"")
    with open(base, "rb") as first, open(path, "wb") as target:
        target.write(first.read())
        target.write(archive)


def member(name, mode, content):
    """Returns a file of an archive. Name and content begin at multiples of four bytes."""
    encoded = name.encode() + b"\0"
    fields = [0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0]
    header = MAGIC + "".join(f"{field:08x}" for field in fields).encode() + encoded
    return padded(header) + padded(content)


def padded(data):
    """Returns the data with zero bytes up to a multiple of four."""
    return data + bytes(-len(data) % 4)


def in_order(kernel, names):
    """Returns the files of modules, each after those that it needs. What is built in has none."""
    top = os.path.join(kernel.output, "medium/lib/modules")
    top = os.path.join(top, *os.listdir(top))
    needs = dict(line.split(":") for line in
                 cache.read(os.path.join(top, "modules.dep")).splitlines())
    files = {module(file): file for file in needs}
    built_in = {module(file) for file in
                cache.read(os.path.join(top, "modules.builtin")).split()}
    found = {}
    for name in names:
        if name in files:
            # modules.dep has what a module needs in the reverse order.
            for file in [*reversed(needs[files[name]].split()), files[name]]:
                found[os.path.join(top, file)] = None
        elif name not in built_in:
            raise Failure(f"kernel {kernel.name} has no module {name}")
    return list(found)


def module(file):
    """Returns the name of the module in a file."""
    return os.path.basename(file).partition(".")[0].replace("-", "_")
