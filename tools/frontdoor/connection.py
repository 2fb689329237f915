# SPDX-License-Identifier: GPL-2.0
"""A connection to a server on a Unix socket."""

import socket
import time

PATIENCE = 20
# The most that is read at once.
CHUNK = 1 << 20


class Broken(OSError):
    """The server does not follow the protocol, or refuses."""


class Connection:
    """A connection, of which no use lasts longer than PATIENCE; a context."""

    def __init__(self, path):
        self.deadline = time.monotonic() + PATIENCE
        self.connection = socket.socket(socket.AF_UNIX)
        try:
            self.connection.settimeout(PATIENCE)
            self.connection.connect(path)
            self.shake_hands()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def shake_hands(self):
        """Agrees with the server on the protocol."""

    def close(self):
        """Ends the connection."""
        self.connection.close()

    def limit(self):
        """Limits the next use."""
        self.connection.settimeout(max(self.deadline - time.monotonic(), 0.001))

    def take(self, length):
        """Returns the next bytes."""
        data = bytearray()
        while len(data) < length:
            self.limit()
            part = self.connection.recv(min(length - len(data), CHUNK))
            if not part:
                raise Broken("the server has closed the connection")
            data += part
        return bytes(data)

    def give(self, data):
        """Sends bytes."""
        self.limit()
        self.connection.sendall(data)
