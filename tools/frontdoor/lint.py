# SPDX-License-Identifier: GPL-2.0
"""Style and warnings: all that a kernel reviewer's tools would say."""

import glob
import os
import re
import shlex
import subprocess

from . import (bootpath, cache, dump, integrate, kernel, pystyle, quotes, rooms, roomstest, sizes,
               tap, waits, words)
from .stage import Failure, say

KERNEL = "lint"
DRIVER = f"{integrate.DRIVER}/"
DIAGNOSTIC = re.compile(r"^(?:warning|error)\b.*(?:\n(?!warning|error).*)*", re.M)
C_DIAGNOSTIC = re.compile(r"^\S+:\d+:\d+: (?:warning|error):.*$", re.M)
SKIP_SUFFIXES = (".lock", ".png", ".svg")


def output(root, argv, cwd=None, binds=()):
    """Runs a command in the build root and returns its status and its output."""
    command = ["env", "-C", cwd, *argv] if cwd else argv
    result = subprocess.run(root.argv(command, binds), stdin=subprocess.DEVNULL, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
                            check=False)
    return result.returncode, result.stdout


def report(tally, name, found):
    """Counts one linter, and prints what it has found."""
    for line in found[:60]:
        say(f"   {line}")
    tally.count(not found, f"{name}: {len(found)} lines" if found else name)


def project_files():
    """Every file of the project that a person has written, as git sees it."""
    listing = subprocess.run(
        ["git", "-C", cache.REPO, "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True).stdout
    names = [os.path.join(cache.REPO, name) for name in listing.splitlines()]
    return [name for name in names if os.path.isfile(name)]


def scripts():
    """Yields the shell scripts, by their first line or, where they are sourced, their name."""
    for name in project_files():
        with open(name, "rb") as file:
            first = file.readline()
        if first.startswith(b"#!") and b"/sh" in first or name.endswith(".sh"):
            yield name


def steps(tally, root, source):
    """All linters, the quick ones first."""
    rules(tally)
    with kernel.up_to_date(source), cache.lock(f"{source.name}-{KERNEL}"):
        rustfmt(tally, root, source)
        shellcheck(tally, root)
        report(tally, "pylint", pystyle.pylint(root, project_files()))
        checkpatch(tally, root, source)
        build(tally, root, source)


def rules(tally):
    """What the project has agreed on; and whether these checks still find what they are for."""
    sources = words.texts(project_files())
    listed = cache.read(os.path.join(cache.REPO, words.LIST))
    report(tally, "rooms", rooms.check(rooms.driver_sources()))
    report(tally, "names and phrases", words.check(listed, sources))
    report(tally, "sizes", list(sizes.check(sources)))
    report(tally, "waits", waits.check({**rooms.driver_sources(), **waits.more_sources()},
                                       sources[waits.DOCUMENT]))
    report(tally, "quotes", list(quotes.check(sources[quotes.DOCUMENT], rooms.driver_sources())))
    report(tally, "README's commands", list(bootpath.missing()))
    for name, check in (("rooms", roomstest), ("names and phrases", words), ("sizes", sizes),
                        ("waits", waits), ("quotes", quotes), ("dump", dump)):
        report(tally, f"{name}: self-test", list(check.failures()))


def rustfmt(tally, root, source):
    """The kernel's own format, also for the files in the tree that the hooks change."""
    files = [name for name in project_files() if name.endswith(".rs")]
    files += [os.path.join(source.tree, name) for name in integrate.patched_files()
              if name.endswith(".rs")]
    _, text = output(root, ["rustfmt", "--check", "--edition", "2021", "--config-path",
                            os.path.join(source.tree, ".rustfmt.toml"), *files])
    report(tally, "rustfmt", text.splitlines())


def shellcheck(tally, root):
    """POSIX shell, without anything to say about it."""
    _, text = output(root, ["shellcheck", "--format=gcc", *scripts()])
    report(tally, "shellcheck", text.splitlines())


def checkpatch(tally, root, source):
    """checkpatch --strict, on files as they are in the tree and on the hooks."""
    common = ["scripts/checkpatch.pl", "--strict", "--terse", "--show-types", "--no-summary",
              "--max-line-length=100"]
    files = [name for name in integrate.sources() if not name.endswith(SKIP_SUFFIXES)]
    # UNDOCUMENTED_SETUP looks for kernel-parameters.txt in the same patch, and here is none.
    _, text = output(root, [*common, "--ignore", "UNDOCUMENTED_SETUP", "-f", *files],
                     cwd=source.tree)
    found = text.splitlines()
    # MEMORY_BARRIER asks for a comment also where a helper does nothing but wrap the barrier.
    _, text = output(root, [*common, "--ignore", "MEMORY_BARRIER", *integrate.patches()],
                     cwd=source.tree)
    report(tally, "checkpatch", [line for line in found + text.splitlines() if line.strip()])


def build(tally, root, source):
    """CLIPPY=1 and W=1 on the driver and on what it adds to the kernel crate, then rustdoc."""
    target = kernel.Kernel(root, source, KERNEL)
    kernel.configure(target)
    # Diagnostics come only when something is compiled: never take an old object for a clean one.
    stale = glob.glob(os.path.join(target.output, DRIVER, "*.o"))
    changed = cache.key(*rust_hashes(source))
    note = os.path.join(target.output, "linted")
    if cache.read(note) != changed:
        stale += [os.path.join(target.output, "rust/kernel.o")]
    for name in stale:
        cache.remove(name)
    log = cache.log("lint")
    cache.remove(log)
    try:
        target.make("CLIPPY=1", "W=1", "KCFLAGS=-fdiagnostics-absolute-paths", "prepare",
                    log=log)
        target.make("CLIPPY=1", "W=1", DRIVER, log=log)
        broken = []
    except Failure as failure:
        broken = [failure.message]
    text = cache.read(log)
    found = broken + ours(text, source)
    report(tally, "clippy and W=1", found)
    if found:
        cache.remove(note)
        say(f"   all of it in {log}")
        return
    found = rustdoc(root, target, source)
    report(tally, "rustdoc", found)
    if not found:
        cache.write(note, changed)


def rust_hashes(source):
    """The hashes of what the project changes in the kernel crate and its C parts."""
    names = [name for name in [*integrate.sources(), *integrate.patched_files()]
             if name.startswith(("rust/", "include/"))]
    return [name + cache.file_hash(os.path.join(source.tree, name)) for name in sorted(names)]


def ours(text, source):
    """The diagnostics that are about files of the project, or about no file at all."""
    names = [*integrate.sources(), *integrate.patched_files()]
    found = []
    for match in [*DIAGNOSTIC.finditer(text), *C_DIAGNOSTIC.finditer(text)]:
        lines = match.group().splitlines()
        place = next((line for line in lines if "-->" in line or re.search(r":\d+:\d+: ", line)),
                     None)
        if re.match(r"(warning|error).*: \d+ warnings? emitted|warning: \d+ warning", lines[0]):
            continue
        if place is None or any(name in place for name in names):
            found += lines[:12]
    del source
    return found


def rustdoc(root, target, source):
    """Documents the driver and the kernel crate with the very flags they are compiled with."""
    found = []
    for command_file in (f"{DRIVER}.rust_gpu.o.cmd", "rust/.kernel.o.cmd"):
        saved = cache.read(os.path.join(target.output, command_file))
        if saved is None:
            found.append(f"{command_file} is not there")
            continue
        argv, env = rustdoc_command(saved, target.output)
        status, text = output(root, ["env", *env, *argv], cwd=target.output)
        found += ours(text, source)
        if status and not found:
            found += [f"rustdoc returned {status}", *text.splitlines()[-10:]]
    return found


def rustdoc_command(saved, directory):
    """Turns a saved compiler command into one of rustdoc."""
    line = saved.splitlines()[0].partition(":= ")[2].split(";")[0]
    # The command is kept for make: its escapes are not for a shell.
    command = shlex.split(line.replace("$(pound)", "#").replace("\\#", "#").replace("$$", "$"))
    # The tree's make allows unstable options for its own compiler in the same way.
    env = ["RUSTC_BOOTSTRAP=1", *(word for word in command if re.match(r"^[A-Z_]+=", word))]
    command = command[command.index(next(word for word in command if re.search(
        r"(clippy-driver|rustc)$", word))) + 1:]
    argv = ["rustdoc", "--document-private-items", "--output",
            os.path.join(directory, "lint-doc")]
    skip = False
    for word in command:
        if not skip and not word.startswith(("--emit", "--remap-path", "-Ccodegen-units",
                                             "-Dclippy", "-Wclippy", "-Aclippy", "-o",
                                             "--out-dir")):
            argv.append(word)
        # The value is a word of its own.
        skip = word in ("-o", "--out-dir")
    return argv, env


def main(root, source):
    """The command `make lint`."""
    tally = tap.Tally()
    steps(tally, root, source)
    for line in tally.failures:
        say(f"FAILED {line}")
    say(str(tally))
    return 1 if tally.failures else 0
