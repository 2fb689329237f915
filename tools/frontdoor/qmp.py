# SPDX-License-Identifier: GPL-2.0
"""Talks to QEMU's monitor, by its machine protocol (QMP), and to sockets line by line."""

import json
import time

PATIENCE = 30
LONGEST = 1 << 20


class Refused(Exception):
    """A request that cannot be fulfilled."""


class Lines:
    """Lines from a socket, and lines to it."""

    def __init__(self, connection):
        self.connection = connection
        self.rest = b""

    def read(self, deadline=None):
        """The next line; EOFError at the end, TimeoutError when it does not come in time."""
        while b"\n" not in self.rest:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.001)
            self.connection.settimeout(left)
            data = self.connection.recv(1 << 16)
            if not data:
                raise EOFError
            self.rest = (self.rest + data)[-LONGEST:]
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode(errors="replace").strip()

    def write(self, text):
        """Sends one line."""
        self.connection.settimeout(PATIENCE)
        self.connection.sendall(text.encode() + b"\n")


class Monitor:
    """QEMU's monitor."""

    def __init__(self, connection):
        self.lines = Lines(connection)
        self.number = 0
        # A command got no answer. QEMU's main loop runs the monitor, so the guest stands still too.
        self.silent = False

    def execute(self, command, **arguments):
        """Runs one command and returns its answer; skips the greeting and events."""
        if not self.number and command != "qmp_capabilities":
            self.execute("qmp_capabilities")
        self.number += 1
        deadline = time.monotonic() + PATIENCE
        self.lines.write(json.dumps({"execute": command, "arguments": arguments,
                                     "id": self.number}))
        while True:
            try:
                answer = json.loads(self.lines.read(deadline))
            except TimeoutError:
                self.silent = True
                raise
            if answer.get("id") != self.number:
                continue
            if "error" in answer:
                raise Refused(answer["error"]["desc"])
            return answer["return"]

    def trace(self, events, enable=True):
        """Switches the tracing of some events on or off."""
        for event in events:
            self.execute("trace-event-set-state", name=event, enable=enable)
