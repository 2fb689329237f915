# SPDX-License-Identifier: GPL-2.0
"""What a guest asks its host to do to it, and to itself, as a busy machine does."""

import contextlib
import re
import signal
import subprocess
import sys
import time

from . import cache
from .qmp import Refused

# Longest that a guest is paused or the host is kept busy, in seconds, and by how many processes.
LONGEST = 60
MOST = 16
# The size of a mapping and how much of it is in memory, in KiB. The guest's is larger than others.
MAPPING = re.compile(r"^Size:\s+(\d+) kB$.*?^Rss:\s+(\d+) kB$", re.M | re.S)
GUEST = 1 << 20
BUSY = """
import sys, time
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    pass
"""


class Strain:
    """Pauses a guest and keeps its host busy: a method for each request."""

    def __init__(self):
        # QEMU, once it runs.
        self.process = None
        self.load = []
        self.open = contextlib.ExitStack()

    def answer_pause(self, monitor, how, seconds):
        """Stops the guest for a while."""
        seconds = min(max(float(seconds), 0), LONGEST)
        if how == "stop":
            monitor.execute("stop")
            time.sleep(seconds)
            monitor.execute("cont")
        elif how == "freeze":
            self.process.send_signal(signal.SIGSTOP)
            time.sleep(seconds)
            self.process.send_signal(signal.SIGCONT)
        else:
            raise Refused("that is no way to pause")
        return ["pause"]

    def answer_memory(self, _monitor):
        """How much memory QEMU has beside that of its guest, in KiB."""
        mappings = MAPPING.findall(cache.read(f"/proc/{self.process.pid}/smaps"))
        return ["memory", str(sum(int(used) for size, used in mappings if int(size) < GUEST))]

    def answer_load(self, _monitor, count, seconds):
        """Keeps CPUs busy with so many processes, which end by themselves."""
        command = [sys.executable, "-c", BUSY, str(min(max(float(seconds), 0), LONGEST))]
        for _ in range(min(int(count), MOST)):
            self.load.append(self.open.enter_context(subprocess.Popen(command)))
        return ["load"]

    def end(self):
        """Ends what keeps the host busy."""
        for process in self.load:
            process.kill()
        self.open.close()
