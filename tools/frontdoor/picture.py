# SPDX-License-Identifier: GPL-2.0
"""Reads pictures of a screen: pixels of a PPM file, and QR codes by zbar."""

import struct
import subprocess
import zlib

from .qmp import Refused


class Picture:
    """A picture from a PPM file."""

    def __init__(self, path):
        with open(path, "rb") as file:
            kind, size, depth = (file.readline() for _ in range(3))
            self.pixels = file.read()
        self.width, self.height = map(int, size.split())
        # QEMU pads each row to whole words, which the format does not have.
        self.pitch = (3 * self.width + 3) // 4 * 4
        if (kind, depth) != (b"P6\n", b"255\n") or \
                len(self.pixels) != self.pitch * self.height:
            raise Refused("QEMU's dump is no PPM file as expected")

    def crc(self, x, y, width, height):
        """The CRC of a part of the picture."""
        if x < 0 or y < 0 or x + width > self.width or y + height > self.height:
            raise Refused(f"the picture is {self.width}x{self.height}")
        value = 0
        for row in range(y, y + height):
            start = row * self.pitch + 3 * x
            value = zlib.crc32(self.pixels[start:start + 3 * width], value)
        return f"{value:08x}"

    def pixel(self, x, y):
        """The colour of a pixel."""
        self.crc(x, y, 1, 1)
        return self.pixels[y * self.pitch + 3 * x:][:3].hex()

    def rows(self):
        """The rows, from the top."""
        return [self.pixels[start:start + self.pitch]
                for start in range(0, len(self.pixels), self.pitch)]

    def mirror(self):
        """Turns the picture upside down."""
        self.pixels = b"".join(reversed(self.rows()))


def write_png(path, picture):
    """Writes a picture as a PNG file."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + \
            struct.pack(">I", zlib.crc32(kind + data))

    # Red, green and blue with 8 bits; each row has no filter.
    head = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row[:3 * picture.width] for row in picture.rows())
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) +
                   chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


def read_qr(root, path):
    """Returns the text of the QR code in a picture; it is empty if there is none."""
    argv = root.argv(["zbarimg", "--quiet", "--nodbus", "--raw", "-Sdisable", "-Sqrcode.enable",
                      path])
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return result.stdout.decode(errors="replace")
