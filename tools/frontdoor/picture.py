# SPDX-License-Identifier: GPL-2.0
"""Reads pictures of a screen: pixels of a PPM file, and QR codes by zbar."""

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


def read_qr(root, path):
    """Returns the text of the QR code in a picture; it is empty if there is none."""
    argv = root.argv(["zbarimg", "--quiet", "--nodbus", "--raw", "-Sdisable", "-Sqrcode.enable",
                      path])
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return result.stdout.decode(errors="replace")
