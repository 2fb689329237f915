# SPDX-License-Identifier: GPL-2.0
"""Tests the display of the driver on devices that have 3D: what the host's window shows.

QEMU draws the screen with OpenGL into that window, and the guest's cursor is the window's.
"""

from . import guest, kernel, selftest, tap, vm
from .stage import say

# QEMU dumps the screen of this machine by itself.
PLAIN = "msix3"
MACHINES = ("gl", "vga-gl")
# They compare the pixels with what they set, and the cursor with its image.
TESTS = ("display", "display_atomic", "display_cursor")
TIMEOUT = 2700
# QEMU's SDL window shows all of a resource (sdl2_gl_scanout_flush()), also where SET_SCANOUT names
# a part of it: framebuffers with a pitch of their own, or larger than the screen.
WHOLE = ("display: display.pitch_and_offset", "display: display.panning",
         "display_atomic: atomic.source")
REASON = "the host's window shows more than SET_SCANOUT names"


class Guests:
    """Guests with a kernel."""

    def __init__(self, tally, root, source):
        self.tally = tally
        self.kernel = kernel.get(root, source, "production")
        self.image = guest.get(root)

    def boot(self, scenario, script):
        """Runs a guest, and counts whether its kernel log is clean."""
        result = vm.boot(self.kernel, self.image, scenario, script, TIMEOUT,
                         append=["kunit.enable=0"])
        problems = result.problems()
        if problems:
            vm.explain(result)
        self.tally.count(not problems, f"{scenario}: a clean kernel log ({result.console_file})")
        return result

    def console(self, scenario):
        """Writes to the console; returns size and CRC of what the screen shows then."""
        result = self.boot(scenario, vm.scripts("ask", "console"))
        self.tally.count(result.status == 0, f"{scenario}: console.sh returned {result.status} "
                         f"({result.output_file})")
        return result.output.strip()

    def tests(self, scenario):
        """Runs kselftests."""
        result = self.boot(scenario, selftest.job(scenario, TESTS))
        found = tap.kselftest(result.output)
        for name in WHOLE:
            if name in found.failures:
                found.failures.remove(name)
                found.count(True, name, REASON)
        if found.failures:
            say(f"   output in {result.output_file}")
        self.tally.add(found)


def steps(tally, root, source):
    """Runs the guests."""
    guests = Guests(tally, root, source)
    right = guests.console(PLAIN)
    for scenario in MACHINES:
        shown = guests.console(scenario)
        tally.count(bool(right) and shown == right,
                    f"{scenario}: the window shows the console, {right}: {shown}")
        guests.tests(scenario)
