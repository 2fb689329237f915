# SPDX-License-Identifier: GPL-2.0
"""As much of a VNC viewer (RFC 6143) as it takes to ask the display for another size."""

import socket
import struct
import time

PATIENCE = 20
LONGEST_TEXT = 4096
SECURITY_NONE = 1
# Messages of the client, one of the server, and the encoding that stands for a size.
SET_ENCODINGS = 2
SET_DESKTOP_SIZE = 251
FRAMEBUFFER_UPDATE = 0
EXTENDED_DESKTOP_SIZE = -308
# Why a size is told: another client asked, this one did. How that went.
THIS_CLIENT = 1
FORWARDED = 4
STATUS = {0: "taken", 1: "prohibited", 2: "out of resources", 3: "not a layout that it knows"}


class Broken(OSError):
    """The server does not what a server does."""


class Viewer:
    """A connection to a VNC server on a Unix socket. No wait in it is longer than PATIENCE."""

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

    def close(self):
        """Ends the connection."""
        self.connection.close()

    def read(self, form):
        """The fields of the next bytes; a single one as it is."""
        left = struct.calcsize(form)
        data = b""
        while left:
            self.connection.settimeout(max(self.deadline - time.monotonic(), 0.001))
            part = self.connection.recv(left)
            if not part:
                raise Broken("the VNC server has closed")
            data += part
            left -= len(part)
        fields = struct.unpack(form, data)
        return fields[0] if len(fields) == 1 else fields

    def write(self, form, *fields):
        """Sends a message."""
        self.connection.settimeout(max(self.deadline - time.monotonic(), 0.001))
        self.connection.sendall(struct.pack(form, *fields))

    def read_text(self):
        """A text with its length before it."""
        length = self.read(">I")
        if length > LONGEST_TEXT:
            raise Broken("the VNC server sends too long a text")
        return self.read(f">{length}s") if length else b""

    def shake_hands(self):
        """Version 3.8, no password, a display that others may look at too."""
        version = self.read(">12s")
        if not version.startswith(b"RFB 003."):
            raise Broken("that is no VNC server")
        self.write(">12s", b"RFB 003.008\n")
        kinds = self.read(">B")
        if not kinds:
            raise Broken(f"the VNC server refuses: {self.read_text().decode(errors='replace')}")
        if SECURITY_NONE not in self.read(f">{kinds}s"):
            raise Broken("the VNC server wants a password")
        self.write(">B", SECURITY_NONE)
        if self.read(">I"):
            raise Broken(f"the VNC server refuses: {self.read_text().decode(errors='replace')}")
        self.write(">B", 1)
        self.read(">HH16s")
        self.read_text()
        self.write(">BxHi", SET_ENCODINGS, 1, EXTENDED_DESKTOP_SIZE)

    def read_size(self):
        """The next rectangles' reason and status: without a request for pixels all are sizes."""
        kind, count = self.read(">BxH")
        told = []
        for _ in range(count if kind == FRAMEBUFFER_UPDATE else 0):
            reason, status, _, _, encoding = self.read(">HHHHi")
            if encoding != EXTENDED_DESKTOP_SIZE:
                break
            for _ in range(self.read(">Bxxx")):
                self.read(">16s")
            told.append((reason, status))
        if not told or len(told) != count:
            raise Broken("the VNC server sends what nobody asked for")
        return told

    def resize(self, width, height):
        """Asks for a size, and returns when the server has passed that on to its guest."""
        self.write(">BxHHBxIHHHHI", SET_DESKTOP_SIZE, width, height, 1, 0, 0, 0, width, height, 0)
        while True:
            for reason, status in self.read_size():
                if reason == THIS_CLIENT:
                    if status not in (0, FORWARDED):
                        raise Broken(f"the display refuses: {STATUS.get(status, status)}")
                    return
