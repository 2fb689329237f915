# SPDX-License-Identifier: GPL-2.0
"""Runs stages: tells what is done, how long it takes, where the log is, and what to try."""

import contextlib
import os
import re
import subprocess
import sys
import time

from . import cache, progress
from .progress import Status, say

TAIL_LINES = 20
# Lines of logs that tell how far a program is: mmdebstrap's, apt's, cargo's. apt says how many
# packages it is going to install.
TELLING = re.compile(r"^(?:I: |Unpacking |Setting up | *(?:Downloaded|Compiling|Running) ).*$",
                     re.M)
TELLING_LENGTH = 60
PLANNED = re.compile(r"^\d+ upgraded, (\d+) newly installed", re.M)
INSTALLED = re.compile(r"^Setting up ", re.M)
# How many times are kept.
KNOWN = 300


class Failure(Exception):
    """An expected failure of a stage, with what the user can do about it."""

    def __init__(self, message, hint=None, log=None):
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.log = log

    def report(self):
        """Prints the last lines of the log, what went wrong and what to try."""
        lines = []
        if self.log and os.path.exists(self.log):
            lines = [f"-- last lines of {self.log}", *(f"   {line}" for line in tail(self.log))]
        lines.append(f"error: {self.message}")
        if self.hint:
            lines.append(f"try: {self.hint}")
        progress.write("\n".join(lines) + "\n", sys.stderr)


def tail(path, lines=TAIL_LINES):
    """Returns the last lines of a text file."""
    with open(path, errors="replace", encoding="utf-8") as file:
        return file.read().splitlines()[-lines:]


def end_of(log):
    """A function that tells how far an activity is, by what its log has had since now."""
    start = size(log)

    def look():
        if size(log) <= start:
            return Status()
        with open(log, "rb") as file:
            file.seek(start)
            text = file.read().decode(errors="replace")
        parts = [line.removeprefix("I: ").strip(" .")[:TELLING_LENGTH]
                 for line in TELLING.findall(text)[-1:]]
        packages = sum(map(int, PLANNED.findall(text)))
        if packages:
            parts.insert(0, f"{len(INSTALLED.findall(text))} of {packages} packages")
        return Status(", ".join(parts))
    return look


def size(log):
    """The size of a file that may not be there."""
    return os.path.getsize(log) if log and os.path.exists(log) else 0


@contextlib.contextmanager
def activity(name, look=Status, key=None):
    """Shows an activity while it runs; by the key it is known how long it took the last time."""
    note = cache.path("known", re.sub(r"[^\w.-]+", "-", key or name))
    seconds = float(cache.read(note) or 0) if key else 0
    start = time.monotonic()
    with progress.activity(name, look, seconds):
        yield
    if key:
        cache.write(note, f"{time.monotonic() - start:.1f}")
        cache.prune(cache.path("known"), KNOWN)


@contextlib.contextmanager
def stage(name, doing, log=None, look=None):
    """Announces a stage, shows how far it is, and prints how long it took when it ends.

    Without a function to `look` how far it is, its log and the time that it took before tell.
    """
    say(f"== {name}: {doing}" + (f" (log: {log})" if log else ""))
    start = time.monotonic()
    try:
        with activity(name, look or end_of(log), None if look else f"{name} {doing}"):
            yield
    except BaseException:
        say(f"== {name}: failed after {time.monotonic() - start:.1f} s")
        raise
    say(f"== {name}: done in {time.monotonic() - start:.1f} s")


def run(argv, log, hint=None, append=True, **kwargs):
    """Runs a command with its output in `log`; raises Failure when it does not return 0."""
    os.makedirs(os.path.dirname(log), exist_ok=True)
    with open(log, "a" if append else "w", encoding="utf-8") as file:
        file.write("+ " + " ".join(argv) + "\n")
        file.flush()
        result = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                check=False, **kwargs)
    if result.returncode:
        raise Failure(f"'{short(argv)}' returned {result.returncode}", hint, log)


def short(argv):
    """Returns a command as text, cut to one line."""
    text = " ".join(argv)
    return text if len(text) <= 100 else "..." + text[-97:]
