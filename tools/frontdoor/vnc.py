# SPDX-License-Identifier: GPL-2.0
"""Talks to a VNC server (RFC 6143): asks for another size, and reads the cursor."""

import collections
import struct

from .connection import Broken, Connection

LONGEST_TEXT = 4096
LARGEST_CURSOR = 512 * 512
SECURITY_NONE = 1
# Messages of the client, one of the server, and encodings: of a size, of a cursor, and of the
# cursor's pixels.
SET_ENCODINGS = 2
SET_DESKTOP_SIZE = 251
FRAMEBUFFER_UPDATE = 0
EXTENDED_DESKTOP_SIZE = -308
ALPHA_CURSOR = -314
RAW = 0
# The reason of a size is who asked for it: this client, for one. Then the status.
THIS_CLIENT = 1
FORWARDED = 4
STATUS = {0: "taken", 1: "prohibited", 2: "out of resources", 3: "unknown layout"}


Rectangle = collections.namedtuple("Rectangle", "x y width height encoding data")


class Viewer(Connection):
    """A connection to a VNC server."""

    def read(self, form):
        """Returns the fields of the next bytes; a single one without a tuple."""
        data = self.take(struct.calcsize(form))
        fields = struct.unpack(form, data)
        return fields[0] if len(fields) == 1 else fields

    def write(self, form, *fields):
        """Sends a message."""
        self.give(struct.pack(form, *fields))

    def read_text(self):
        """Returns a text, which comes after its length."""
        length = self.read(">I")
        if length > LONGEST_TEXT:
            raise Broken("the VNC server sends a text that is too long")
        return self.read(f">{length}s") if length else b""

    def shake_hands(self):
        """Agrees on version 3.8, no password, and a display that is shared with others."""
        version = self.read(">12s")
        if not version.startswith(b"RFB 003."):
            raise Broken("this is no VNC server")
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
        self.see(EXTENDED_DESKTOP_SIZE)

    def see(self, encoding):
        """Tells the server what this viewer understands."""
        self.write(">BxHi", SET_ENCODINGS, 1, encoding)

    def read_rectangles(self):
        """Returns the rectangles of the next update. They have no pixels, as none are requested."""
        kind, count = self.read(">BxH")
        if kind != FRAMEBUFFER_UPDATE:
            raise Broken("the VNC server sends something unexpected")
        return [self.read_rectangle() for _ in range(count)]

    def read_rectangle(self):
        """Returns one rectangle with its data."""
        x, y, width, height, encoding = self.read(">HHHHi")
        if encoding == EXTENDED_DESKTOP_SIZE:
            data = [self.read(">16s") for _ in range(self.read(">Bxxx"))]
        elif encoding == ALPHA_CURSOR and width * height <= LARGEST_CURSOR and \
                self.read(">i") == RAW:
            data = self.read(f">{4 * width * height}s")
        else:
            raise Broken("the VNC server sends something unexpected")
        return Rectangle(x, y, width, height, encoding, data)

    def next(self, encoding):
        """Returns the next rectangle with this encoding."""
        while True:
            for rectangle in self.read_rectangles():
                if rectangle.encoding == encoding:
                    return rectangle

    def resize(self, width, height):
        """Asks for a size, and waits until the server has passed that on to its guest."""
        self.write(">BxHHBxIHHHHI", SET_DESKTOP_SIZE, width, height, 1, 0, 0, 0, width, height, 0)
        while True:
            # The reason and the status are where other rectangles have x and y.
            reason, status = self.next(EXTENDED_DESKTOP_SIZE)[:2]
            if reason == THIS_CLIENT:
                if status not in (0, FORWARDED):
                    raise Broken(f"the display refuses: {STATUS.get(status, status)}")
                return

    def cursor(self):
        """Returns the cursor's image, visible or not. Its x and y are the hot spot."""
        self.see(ALPHA_CURSOR)
        return self.next(ALPHA_CURSOR)
