# SPDX-License-Identifier: GPL-2.0
"""Finds a QR code in a picture, without reading it: its finder patterns and timing patterns.

The code is upright, its modules are whole pixels, and a dark module is black.
"""

import itertools

# Dark, light, ... modules of a row through the middle of a finder pattern.
ROW = (1, 1, 3, 1, 1)
FINDER = ("1111111", "1000001", "1011101", "1011101", "1011101", "1000001", "1111111")
SIDE = len(FINDER)
# Modules of a side: those of the versions 1 to 40.
SIZES = range(21, 178, 4)


class Code:
    """A grid of modules on a picture, given as rows of bytes, one for a pixel; 0 is dark."""

    def __init__(self, rows, left, top, scale):
        self.rows = rows
        self.left = left
        self.top = top
        self.scale = scale

    def is_dark(self, column, row):
        """Whether a module is dark: all pixels of it."""
        left, top = self.left + column * self.scale, self.top + row * self.scale
        return not any(any(line[left:left + self.scale])
                       for line in self.rows[top:top + self.scale])

    def has_finder(self, column, row):
        """Whether a finder pattern begins at a module."""
        return all(self.is_dark(column + x, row + y) == (module == "1")
                   for y, line in enumerate(FINDER) for x, module in enumerate(line))

    def size(self):
        """The modules of a side if this is where a code begins, else None."""
        if not self.has_finder(0, 0):
            return None
        for size in SIZES:
            last = size - SIDE
            between = range(SIDE + 1, last - 1)
            if self.has_finder(last, 0) and self.has_finder(0, last) and all(
                    self.is_dark(i, SIDE - 1) == self.is_dark(SIDE - 1, i) == (i % 2 == 0)
                    for i in between):
                return size
        return None


def corners(rows):
    """Where finder patterns may begin: left, top, and pixels of a module."""
    for number, row in enumerate(rows):
        runs, position = [], 0
        for pixel, group in itertools.groupby(row):
            length = len(list(group))
            runs.append((pixel == 0, position, length))
            position += length
        for first in range(len(runs) - len(ROW) + 1):
            part = runs[first:first + len(ROW)]
            scale = part[0][2]
            if part[0][0] and all(run[2] == scale * want for run, want in zip(part, ROW)):
                # The row is the first of those in the middle.
                yield part[0][1], number - 2 * scale, scale


def find(rows):
    """The modules of a side of the first code in a picture, or None."""
    for left, top, scale in corners(rows):
        size = Code(rows, left, top, scale).size() if top >= 0 else None
        if size:
            return size
    return None
