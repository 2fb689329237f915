# SPDX-License-Identifier: GPL-2.0
"""Prints what is running: on a terminal one line that moves, elsewhere a line a minute.

All output of the front door goes through `write`, so that nothing is printed into that line. An
activity belongs to the thread that runs it; a later one of the same thread is a part of it.
"""

import contextlib
import dataclasses
import os
import shutil
import sys
import threading
import time

# Seconds from one line to the next.
ON_TERMINAL = 2
ELSEWHERE = 60
# The part of the whole after which an estimate of the rest is worth something.
ENOUGH = 0.05
SEPARATOR = " | "


@dataclasses.dataclass
class Status:
    """How far an activity is, as far as that is known."""

    text: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""


class Activity:
    """Something that takes a while.

    `look` returns its Status; `seconds` is how long it took the last time, or 0.
    """

    def __init__(self, name, look=Status, seconds=0):
        self.name = name
        self.look = look
        self.seconds = seconds
        self.start = time.monotonic()

    def describe(self):
        """Returns how far it is, and how long it will still take if that is known."""
        status, elapsed = self.look(), time.monotonic() - self.start
        parts = []
        if status.total:
            parts.append(f"{status.done} of {max(status.total, status.done)} {status.unit}")
        elif status.done:
            parts.append(f"{status.done} {status.unit}")
        left = self.seconds - elapsed
        if status.total and status.done > ENOUGH * status.total:
            left = elapsed * (status.total - status.done) / status.done
        if left > 0:
            parts.append(f"about {clock(left)} left")
        if status.text:
            parts.append(status.text)
        return f"{self.name} {clock(elapsed)}" + (": " if parts else "") + ", ".join(parts)


def clock(seconds):
    """Returns a time as text: hours, minutes and seconds."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class Display:
    """The activities of all threads, and the thread that prints them."""

    def __init__(self):
        self.idle = threading.Condition(threading.RLock())
        # For each thread its activities, the outermost first.
        self.running = {}
        self.ticks = False
        # There is a line on the terminal that will be overwritten.
        self.has_line = False
        self.turn = 0

    @contextlib.contextmanager
    def shows(self, current):
        """Shows an activity for as long as it runs."""
        with self.idle:
            mine = self.running.setdefault(threading.get_ident(), [])
            mine.append(current)
            if not self.ticks:
                self.ticks = True
                threading.Thread(target=self.tick).start()
        try:
            yield
        finally:
            with self.idle:
                mine.remove(current)
                if not mine:
                    del self.running[threading.get_ident()]
                if not self.running:
                    self.clear()
                    self.idle.notify_all()

    def tick(self):
        """Prints again and again, until nothing runs."""
        while True:
            with self.idle:
                pause = ON_TERMINAL if is_terminal() else ELSEWHERE
                if self.idle.wait_for(lambda: not self.running, pause):
                    self.ticks = False
                    return
                running = [list(activities) for activities in self.running.values()]
            # Looking takes a while, so it is done without the lock. Files may be gone by then.
            try:
                texts = [describe(*activities) for activities in running]
            except OSError:
                continue
            with self.idle:
                if self.running:
                    self.print(texts)

    def print(self, texts):
        """Prints the line."""
        if is_terminal():
            self.has_line = True
            self.turn += 1
            width = shutil.get_terminal_size().columns - 1
            sys.stdout.write(f"\r{fit(texts, width, self.turn)}\033[K")
        else:
            sys.stdout.write(f"-- {SEPARATOR.join(texts)}\n")
        sys.stdout.flush()

    def clear(self):
        """Removes the line from the terminal."""
        if self.has_line:
            self.has_line = False
            sys.stdout.write("\r\033[K")
            sys.stdout.flush()

    def write(self, text, stream):
        """Writes whole lines."""
        with self.idle:
            self.clear()
            stream.write(text)
            stream.flush()


def is_terminal():
    """Returns whether the output is a terminal on which a line can be overwritten."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def describe(first, *others):
    """Returns what a thread is doing: its outermost activity, and how far the innermost is."""
    return f"{first.name}, {others[-1].describe()}" if others else first.describe()


def fit(texts, width, turn):
    """Returns a line with as many of the texts as fit; they take turns at coming first."""
    if len(SEPARATOR.join(texts)) > width:
        first = turn % len(texts)
        texts = texts[first:] + texts[:first]
    while len(texts) > 1 and len(SEPARATOR.join(texts)) > width:
        texts = texts[:-1]
    return SEPARATOR.join(texts)[:width]


DISPLAY = Display()


def activity(name, look=Status, seconds=0):
    """Returns a context in which an activity is shown."""
    return DISPLAY.shows(Activity(name, look, seconds))


def write(text, stream=None):
    """Writes whole lines, not mixed with those of another thread."""
    DISPLAY.write(text, stream or sys.stdout)


def say(text):
    """Prints text at once, also into a pipe."""
    write(text + "\n")
