# SPDX-License-Identifier: GPL-2.0
"""Stages: what is being done, how long it took, where the log is, and what to try on failure."""

import contextlib
import os
import subprocess
import sys
import time

TAIL_LINES = 20


class Failure(Exception):
    """An expected way for a stage to fail, with what a person can do about it."""

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
        sys.stderr.write("\n".join(lines) + "\n")


def say(text):
    """Prints text at once, also into a pipe; not mixed with what another thread says."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def tail(path, lines=TAIL_LINES):
    """Returns the last lines of a text file."""
    with open(path, errors="replace", encoding="utf-8") as file:
        return file.read().splitlines()[-lines:]


@contextlib.contextmanager
def stage(name, doing, log=None):
    """Announces a stage and prints how long it took when it ends."""
    say(f"== {name}: {doing}" + (f" (log: {log})" if log else ""))
    start = time.monotonic()
    try:
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
    """A command cut to what a person wants to read in one line."""
    text = " ".join(argv)
    return text if len(text) <= 100 else "..." + text[-97:]
