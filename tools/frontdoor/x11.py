# SPDX-License-Identifier: GPL-2.0
"""Talks to an X server (X11 protocol, XFixes): finds a window, reads its pixels and the cursor."""

import collections
import struct

from .connection import Broken, Connection

# Core requests by their opcodes, and what GetImage is asked for: 32 bits a pixel, all planes.
GET_WINDOW_ATTRIBUTES, CONFIGURE_WINDOW, GET_GEOMETRY, QUERY_TREE = 3, 12, 14, 15
QUERY_POINTER, WARP_POINTER, GET_IMAGE, QUERY_EXTENSION = 38, 41, 73, 98
Z_PIXMAP, ALL_PLANES = 2, 0xffffffff
# Requests of XFixes, and the version that has them.
XFIXES_QUERY_VERSION, XFIXES_GET_CURSOR_IMAGE = 0, 4
XFIXES_VERSION = 4, 0
# Bits of ConfigureWindow, a state of windows, and the first byte of what the server sends.
X, Y, WIDTH, HEIGHT = 1, 2, 4, 8
VIEWABLE = 2
ERROR, REPLY = 0, 1
HEAD = 32

Geometry = collections.namedtuple("Geometry", "x y width height")
# The pixels are 0xaarrggbb, row by row, as bytes in the order of the host.
Cursor = collections.namedtuple("Cursor", "x y width height hot_x hot_y data")


class Display(Connection):
    """A connection to an X server."""

    def __init__(self, path):
        self.root = None
        self.extensions = {}
        super().__init__(path)

    def shake_hands(self):
        """Agrees on version 11 of the protocol, little-endian; finds the root window."""
        self.give(struct.pack("<BxHHHHxx", ord("l"), 11, 0, 0, 0))
        status, _, _, length = struct.unpack("<BxHHH", self.take(8))
        data = self.take(4 * length)
        if status != 1:
            raise Broken(f"the X server refuses: {data.decode(errors='replace')}")
        vendor, _, roots, formats = struct.unpack_from("<HHBB", data, 16)
        if not roots:
            raise Broken("the X server has no screen")
        self.root, = struct.unpack_from("<I", data, 32 + (vendor + 3) // 4 * 4 + 8 * formats)

    def send(self, opcode, detail=0, data=b""):
        """Sends a request."""
        data += bytes(-len(data) % 4)
        self.give(struct.pack("<BBH", opcode, detail, 1 + len(data) // 4) + data)

    def ask(self, opcode, detail=0, data=b""):
        """Sends a request and returns the reply to it, all bytes; skips events."""
        self.send(opcode, detail, data)
        while True:
            head = self.take(HEAD)
            if head[0] == ERROR:
                raise Broken(f"the X server answers request {head[10]} with error {head[1]}")
            if head[0] == REPLY:
                return head + self.take(4 * struct.unpack_from("<I", head, 4)[0])

    def children(self):
        """The windows that the root window has and that are on the screen."""
        reply = self.ask(QUERY_TREE, data=struct.pack("<I", self.root))
        count, = struct.unpack_from("<H", reply, 16)
        return [window for window in struct.unpack_from(f"<{count}I", reply, HEAD)
                if self.ask(GET_WINDOW_ATTRIBUTES,
                            data=struct.pack("<I", window))[26] == VIEWABLE]

    def geometry(self, window):
        """Place and size of a window."""
        reply = self.ask(GET_GEOMETRY, data=struct.pack("<I", window))
        return Geometry(*struct.unpack_from("<hhHH", reply, 12))

    def configure(self, window, mask, *values):
        """Gives a window another place, or another size."""
        self.send(CONFIGURE_WINDOW, data=struct.pack(f"<IHxx{len(values)}i", window, mask, *values))

    def warp(self, window):
        """Moves the pointer into the upper left corner of a window."""
        self.send(WARP_POINTER, data=struct.pack("<IIhhHHhh", 0, window, 0, 0, 0, 0, 0, 0))

    def has_pointer(self, window):
        """Whether the pointer is in a window, or in a part of it."""
        reply = self.ask(QUERY_POINTER, data=struct.pack("<I", self.root))
        return struct.unpack_from("<I", reply, 12)[0] == window

    def pixels(self, window, size):
        """What a window shows, without the cursor: four bytes for each pixel, blue first."""
        reply = self.ask(GET_IMAGE, Z_PIXMAP, struct.pack(
            "<IhhHHI", window, 0, 0, size.width, size.height, ALL_PLANES))
        data = reply[HEAD:]
        if len(data) != 4 * size.width * size.height:
            raise Broken("the X server has other than 32 bits for a pixel")
        return data

    def extension(self, name):
        """The opcode of an extension."""
        if name not in self.extensions:
            reply = self.ask(QUERY_EXTENSION, data=struct.pack("<Hxx", len(name)) + name)
            if not reply[8]:
                raise Broken(f"the X server has no {name.decode()}")
            self.extensions[name] = reply[9]
        return self.extensions[name]

    def cursor(self):
        """The cursor that is on the screen."""
        opcode = self.extension(b"XFIXES")
        self.ask(opcode, XFIXES_QUERY_VERSION, struct.pack("<II", *XFIXES_VERSION))
        reply = self.ask(opcode, XFIXES_GET_CURSOR_IMAGE)
        x, y, width, height, hot_x, hot_y = struct.unpack_from("<hhHHHH", reply, 8)
        return Cursor(x, y, width, height, hot_x, hot_y, reply[HEAD:HEAD + 4 * width * height])
