# SPDX-License-Identifier: GPL-2.0
"""The rooms of the driver, and which of them may use which: reads every path in its sources.

A room is a top-level source of the driver with the directory of its name. A path leads out of a
room by `crate::`, by `super::` as often as it takes, or by a name that was imported so; in a
`use`, in code and in macros alike. Comments and strings are not read. The order inside a room is
free.
"""

import os
from collections import namedtuple

from . import cache, integrate
from .rusttokens import closing, text_at, tokens

ROOT = "rust_gpu"

# Each room, and all that it may use: nothing but what stands above it. Nobody uses the root.
USES = {
    "irq": "",
    "ring": "",
    "command": "",
    "transport": "",
    "scheduler": "irq",
    "virtqueue": "ring command transport scheduler",
    "gpu": "irq ring command transport scheduler virtqueue",
    "display": "irq ring command transport scheduler virtqueue gpu",
    "render": "irq ring command transport scheduler virtqueue gpu display",
    "driver": "irq ring command transport scheduler virtqueue gpu display render",
    "device": "irq ring command transport scheduler virtqueue gpu display render driver",
    ROOT: "irq ring command transport scheduler virtqueue gpu display render driver device",
}

# A path as it is written, in the module that it is in. `alias` is the name that a `use` gives it,
# `public` says that this is a `pub use`.
Path = namedtuple("Path", "file line module names alias public")


def driver_sources():
    """The Rust sources of the driver: name -> text."""
    prefix = f"{integrate.DRIVER}/"
    return {os.path.relpath(file, cache.REPO): cache.read(file)
            for name, file in integrate.sources().items()
            if name.startswith(prefix) and name.endswith(".rs")}


def check(sources):
    """What is wrong with the paths in some sources: lines of text."""
    found, paths = [], []
    for name, text in sorted(sources.items()):
        if room_of_file(name) not in USES:
            found.append(f"{name}:1: is not one of the rooms in tools/frontdoor/rooms.py")
            continue
        listed = tokens(text)
        found += detours(name, listed)
        paths += read_paths(name, listed)
    aliases = {(*path.module, path.alias): resolve(path) for path in paths if path.alias}
    for path in paths:
        wrong = judge(path, aliases)
        if wrong:
            found.append(f"{path.file}:{path.line}: {'::'.join(path.names)}: {wrong}")
    return found


def room_of_file(name):
    """The room that a source belongs to."""
    return name.split("/")[0].removesuffix(".rs")


def module_of_file(name):
    """The module that a source is: that of the root is ()."""
    names = tuple(name.removesuffix(".rs").split("/"))
    return () if names == (ROOT,) else names


def room_of(absolute):
    """The room that a path from the root leads to; an item of the root is in the root."""
    return absolute[0] if absolute and absolute[0] in USES else ROOT


def judge(path, aliases):
    """What is wrong with a path, if anything is."""
    own, absolute = room_of_file(path.file), resolve(path)
    if absolute and absolute[0].startswith("$"):
        return "a macro says which room this is"
    room = room_of(absolute)
    if room != own and room not in USES[own].split():
        return f"no edge {own} -> {room}"
    room = room_of(follow(absolute, aliases))
    if path.public and room != own:
        return f"{own} re-exports what is in {room}"
    return None


def resolve(path):
    """The names of a path from the root of the crate on."""
    absolute = [] if path.names[0] == "crate" else list(path.module)
    for name in path.names:
        if name == "super":
            absolute = absolute[:-1]
        elif name not in ("crate", "self", "*"):
            absolute.append(name)
    return tuple(absolute)


def follow(absolute, aliases):
    """Where a path leads to when a name in it was itself imported."""
    for _ in range(16):
        starts = (absolute[:end] for end in range(1, len(absolute) + 1))
        start = next((start for start in starts if aliases.get(start, start) != start), None)
        if start is None:
            break
        absolute = aliases[start] + absolute[len(start):]
    return absolute


def detours(name, listed):
    """What makes a name known in other rooms, or brings their code here, without a path."""
    for index, token in enumerate(listed):
        before, after = text_at(listed, index - 1), text_at(listed, index + 1)
        if (token.text in ("macro_use", "macro_export")
                or token.text == "include" and after == "!"
                or token.text == "path" and after == "=" and before in ("[", ",")
                or token.text == "macro_rules" and room_of_file(name) == ROOT):
            yield f"{name}:{token.line}: {token.text}: goes past the paths between rooms"


def read_paths(name, listed):
    """Every path of a source that may lead out of its module."""
    found, inner, index, public = [], [], 0, False
    while index < len(listed):
        while inner and index >= inner[-1][1]:
            inner.pop()
        module = (*module_of_file(name), *(module for module, _ in inner))
        text, after = listed[index].text, text_at(listed, index + 1)
        if text == "pub":
            index, public = after_visibility(listed, index), True
            continue
        if text == "use" and after != "<":
            leaves, index = read_tree(listed, index + 1, ())
            # A path that begins with `::` is that of another crate.
            found += [Path(name, line, module, names, alias, public)
                      for names, alias, line in leaves if names[0] != "::"]
        elif is_start(listed, index):
            leaves, index = read_tree(listed, index, ())
            found += [Path(name, line, module, names, None, False) for names, _, line in leaves]
        else:
            if text == "mod" and text_at(listed, index + 2) == "{":
                inner.append((after, closing(listed, index + 2)))
            index += 1
        public = False
    return found


def after_visibility(listed, index):
    """The index after `pub`, `pub(crate)`, `pub(in some::path)` at `index`."""
    first, second, third = (text_at(listed, index + step) for step in (1, 2, 3))
    if first == "(" and (second == "in" or third == ")" and second in ("crate", "self", "super")):
        return closing(listed, index + 1) + 1
    return index + 1


def is_start(listed, index):
    """Whether a path that may lead out begins at `index`: a mere `self` is a value."""
    text = listed[index].text
    return text_at(listed, index - 1) != "::" and (
        text in ("crate", "super") or text == "self" and text_at(listed, index + 1) == "::")


def read_tree(listed, index, names):
    """Reads a path or a tree of paths: its leaves, each (names, alias, line), and what follows."""
    line = listed[min(index, len(listed) - 1)].line
    if text_at(listed, index) == "::":
        names, index = (*names, "::"), index + 1
    while text_at(listed, index) != "{":
        name = text_at(listed, index)
        if name == "$":
            index += 1
            name = text_at(listed, index)
            name = name if name == "crate" else f"${name}"
        names, index = (*names, name), index + 1
        if text_at(listed, index) != "::" or not is_name(listed, index + 1):
            alias = names[-2] if names[-1] == "self" and len(names) > 1 else names[-1]
            if text_at(listed, index) == "as":
                alias, index = text_at(listed, index + 1), index + 2
            return [(names, alias, line)], index
        index += 1
    return read_group(listed, index, names)


def is_name(listed, index):
    """Whether what follows a `::` belongs to the path: not so the `<` of generics."""
    return index < len(listed) and (
        listed[index].kind == "word" or listed[index].text in ("{", "*", "$"))


def read_group(listed, index, names):
    """Reads `{a, b::c}`, whose paths begin with `names`."""
    leaves, end = [], closing(listed, index)
    index += 1
    while index < end:
        if text_at(listed, index) == ",":
            index += 1
            continue
        found, index = read_tree(listed, index, names)
        leaves += found
    return leaves, end + 1
