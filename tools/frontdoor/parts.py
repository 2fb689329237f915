# SPDX-License-Identifier: GPL-2.0
"""Runs the parts of a command one after the other, and sums up their results."""

import time

from . import tap
from .stage import Failure, say


def run(title, names, function):
    """Calls a function with a tally and the name of each part. The last line is the sum.

    A part that breaks has failed, and the others still run. Returns the exit status.
    """
    total = tap.Tally()
    for name in names:
        say(f"== {title}: {name}")
        start = time.monotonic()
        tally = tap.Tally()
        try:
            function(tally, name)
        except Failure as failure:
            failure.report()
            tally.failures.append(f"{title}: {name}: {failure.message}")
        say(f"== {title}: {name}: {tally} in {(time.monotonic() - start) / 60:.0f} min")
        total.add(tally)
    for line in total.failures:
        say(f"FAILED {line}")
    say(str(total))
    return 1 if total.failures else 0
