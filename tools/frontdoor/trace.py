# SPDX-License-Identifier: GPL-2.0
"""Reads QEMU's log: commands of the display, doorbells, and the time between them."""

import datetime
import re

from . import cache
from .qmp import Refused

WATCHED = ("virtio_gpu_cmd_res_flush", "virtio_gpu_update_cursor", "virtio_gpu_cmd_set_scanout",
           "virtio_gpu_cmd_res_xfer_toh_2d")
MEASURED = ("virtio_gpu_cmd_res_flush", "virtio_gpu_cmd_res_xfer_toh_2d", "virtio_queue_notify",
            "pci_cfg_write")
KICK = re.compile(r"virtio_queue_notify vdev ")
# QEMU begins each line with the time because of -msg timestamp=on; releases write it differently.
TIMED = re.compile(r"^(?:\d+@(?P<seconds>\d+\.\d+):|(?P<date>\d{4}-\d\d-\d\dT\S+) )"
                   r"(?:(?P<mark>pci_cfg_write \S+ 00:00\.0 @0x3c <- )|"
                   r"virtio_gpu_cmd_res_(?P<kind>flush|xfer)\S* )", re.M)
KINDS = {"flush": "flush", "transfer": "xfer"}
FLUSHED = re.compile(r"virtio_gpu_cmd_res_flush res \w+, w (\d+), h (\d+), "
                     r"x (\d+), y (\d+)$", re.M)
CURSOR = re.compile(r"virtio_gpu_update_cursor scanout (\d+), x (-?\d+), y (-?\d+), (\w+), "
                    r"res 0x(\w+)$", re.M)
FILLED_OR_SHOWN = re.compile(r"virtio_gpu_cmd_(?:res_xfer_toh_2d res (?P<filled>\w+)|"
                             r"set_scanout id \d+, res (?P<shown>\w+),)")
NO_CURSOR = "none", "0", "0"


def seconds_of(event):
    """The time of an event."""
    if event["seconds"]:
        return float(event["seconds"])
    return datetime.datetime.fromisoformat(event["date"]).timestamp()


class Commands:
    """Commands of the display, in a part of the log."""

    def __init__(self, filled=()):
        # Resources into which something was transferred, now or before.
        self.filled = set(filled)
        self.flushes = []
        # The last command of the cursor queue for each head, and for all of them.
        self.cursors = {}
        # How often a scanout was given a resource, and how often one that was not filled.
        self.shown = self.early = 0

    def read(self, text):
        """Takes more of the log."""
        self.flushes += [f"{x},{y},{w},{h}" for w, h, x, y in FLUSHED.findall(text)]
        for head, x, y, kind, resource in CURSOR.findall(text):
            hides = kind == "update" and int(resource, 16) == 0
            self.cursors[head] = self.cursors[None] = "hide" if hides else kind, x, y
        for event in FILLED_OR_SHOWN.finditer(text):
            if event["filled"]:
                self.filled.add(event["filled"])
            elif int(event["shown"], 16):
                self.shown += 1
                self.early += event["shown"] not in self.filled


class Measures:
    """Doorbells, and how long commands took from a mark, in a part of the log."""

    def __init__(self):
        self.kicks = 0
        # The last mark for each kind of command that has not come since then.
        self.marks = {}
        self.latencies = {kind: [] for kind in KINDS.values()}

    def read(self, text):
        """Takes more of the log."""
        self.kicks += len(KICK.findall(text))
        for event in TIMED.finditer(text):
            seconds = seconds_of(event)
            if event["mark"]:
                self.marks = dict.fromkeys(self.latencies, seconds)
            elif event["kind"] in self.marks:
                mark = self.marks.pop(event["kind"])
                self.latencies[event["kind"]].append(1e6 * (seconds - mark))


class Trace:
    """Answers requests from the log of one QEMU: a method for each."""

    def __init__(self, path):
        self.path = path
        self.seen = 0
        self.commands = Commands()
        self.measures = Measures()

    def read(self):
        """Takes the whole lines that are new in the log."""
        with open(self.path, "rb") as file:
            file.seek(self.seen)
            text = file.read()
        text = text[:text.rfind(b"\n") + 1]
        self.seen += len(text)
        text = text.decode(errors="replace")
        self.commands.read(text)
        self.measures.read(text)

    def answer_trace(self, monitor, event):
        """Switches the tracing of an event on."""
        monitor.trace([event])
        return ["trace"]

    def answer_counts(self, _monitor, *events):
        """How often each of these events came, of those that are traced."""
        text = cache.read(self.path)
        return ["counts", *(str(len(re.findall(rf" {re.escape(event)} ", text)))
                            for event in events)]

    def answer_watch(self, monitor):
        """Switches the tracing of the display's commands on."""
        monitor.trace(WATCHED)
        self.read()
        self.commands = Commands(self.commands.filled)
        return ["watch"]

    def answer_flushed(self, _monitor):
        """What was flushed since the last time."""
        self.read()
        found, self.commands.flushes = self.commands.flushes, []
        return ["flushed", *found]

    def answer_cursor(self, _monitor, head=None):
        """The last command of the cursor queue."""
        self.read()
        return ["cursor", *self.commands.cursors.get(head, NO_CURSOR)]

    def answer_order(self, _monitor):
        """How often something was shown, and how often before it was filled."""
        self.read()
        return ["order", str(self.commands.shown), str(self.commands.early)]

    def answer_measure(self, monitor, switch):
        """Switches the tracing of what is measured on or off."""
        monitor.trace(MEASURED, switch == "on")
        self.read()
        self.measures = Measures()
        return ["measure"]

    def answer_kicks(self, _monitor):
        """How many doorbells rang since the last time."""
        self.read()
        found, self.measures.kicks = self.measures.kicks, 0
        return ["kicks", str(found)]

    def answer_latency(self, _monitor, kind):
        """How long it took from marks to flushes or transfers, since the last time."""
        self.read()
        if kind not in KINDS:
            raise Refused("there is no such kind")
        found = self.measures.latencies[KINDS[kind]]
        self.measures.latencies[KINDS[kind]] = []
        return ["latency", *(f"{latency:.0f}" for latency in found)]
