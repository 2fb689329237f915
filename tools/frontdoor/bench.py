# SPDX-License-Identifier: GPL-2.0
"""Measures speed and memory, of the driver alone, and of its display and 3D compared with the C
driver.
"""

import collections
import math
import statistics

from . import vm
from .stage import say

PARTS = ("driver", "display", "render")
DRIVERS = {"virtio_gpu": "c", "rust_gpu": "rust"}
TIMEOUT = 1800
# The limits of what this driver takes, divided by what the C driver takes. A row is for figures
# whose names begin so and have that unit; the first row that fits counts.
LIMITS = {"display": (
    ("modeset", "kicks", 0.5),
    ("modeset", "interrupts", 0.5),
    ("", "kicks", 1.0),
    ("", "interrupts", 1.0),
    ("", "instructions", 0.8),
    # No limit: it tells how much of the time to the flush is the device's.
    ("ioctl to transfer", "us", None),
    ("", "us", 0.9),
    ("", "missed vblanks", 1.0),
    ("", "kB", 1.0),
    ("", "bytes", 1.0),
), "render": (
    # These depend on how busy the host is, and on whether the device is still at work.
    ("8 clients", "kicks", None),
    ("8 clients", "interrupts", None),
    ("", "kicks", 1.1),
    ("", "interrupts", 1.1),
    ("submit and wait", "instructions", 0.7),
    ("transfer", "instructions", 0.7),
    ("execbuffer", "instructions", 0.9),
    ("8 clients", "instructions", 1 / 1.2),
    ("", "instructions", 0.8),
    # At least 1.2 times as many in a time.
    ("8 clients", "us", 1 / 1.2),
    # No limit: most of it is the device's.
    ("", "us", None),
)}


def main(built, image, parts, rounds):
    """Runs the parts. Returns 1 if something was not measured or is over its limit."""
    status = 0
    if "driver" in parts:
        status |= bench_driver(built, image)
    # The second driver finds the slabs that the first one has left half empty: each runs alone.
    alone = [("icount-handover", "memory", 1, {driver: name}) for driver, name in DRIVERS.items()]
    if "display" in parts:
        status |= bench_both(built, image, "display",
                             [("icount-handover", "counts", 1, DRIVERS), *alone,
                              ("handover", "time flips", rounds, DRIVERS)])
    if "render" in parts:
        status |= bench_both(built, image, "render",
                             [("own-virgl-icount", "counts", 1, DRIVERS),
                              ("own-virgl-handover", "time clients", rounds, DRIVERS)])
    return status


def run(built, image, scenario, script, echo):
    """Runs one guest. Returns its output and whether something is wrong."""
    result = vm.boot(built, image, scenario, script, TIMEOUT, echo=echo, append=["kunit.enable=0"])
    wrong = bool(result.problems() or result.status)
    if wrong:
        vm.explain(result)
    return result.output, wrong


def bench_driver(built, image):
    """Measures what the C driver does not have: messages, packets, a device."""
    status = 0
    for scenario, arguments, about in (
            ("msix3", "", "times, ratios within one boot"),
            ("icount", "--only-a --loops 20000", "instructions: read ns as instructions")):
        say(f"== bench: {about}")
        script = f"modprobe rust-gpu && $TESTS/rust_gpu_bench {arguments}"
        status |= run(built, image, scenario, script, "")[1]
    return status


def script_for(part, groups, rounds, drivers):
    """Returns the script of one boot, in which the drivers take turns."""
    lines = ["cd $TESTS", "modprobe virtio_pci", "modprobe virtio_gpu", "modprobe rust-gpu",
             "status=0"]
    for turn in range(rounds):
        for driver, name in drivers.items():
            lines += [f"echo '# round {turn + 1}, {driver}'",
                      f"./handover {name} >/dev/null || exit 1",
                      f"./{part}_bench --machine {groups} || status=1"]
    return "\n".join([*lines, "exit $status"])


def bench_both(built, image, part, boots):
    """Measures a part of both drivers with the same program.

    A boot is a scenario, groups of figures, how often each driver has its turn, and the drivers.
    """
    figures = collections.defaultdict(lambda: collections.defaultdict(list))
    status = 0
    for scenario, groups, count, drivers in boots:
        say(f"== bench: {part}, {groups.replace(' ', ' and ')}: {', '.join(drivers)}")
        text, wrong = run(built, image, scenario, script_for(part, groups, count, drivers), None)
        status |= wrong
        collect(figures, text)
    over = 0
    for line, is_over in table(figures, LIMITS[part]):
        say(line)
        over += is_over
    say(f"{over} rows over their limit")
    return 1 if status or over else 0


def collect(figures, text):
    """Adds the figures that a guest has printed, and prints its comments."""
    for line in text.splitlines():
        if line.startswith("#"):
            say(line)
        elif line.startswith("=\t"):
            _, driver, what, unit, value = line.split("\t")
            figures[what, unit][driver].append(float(value))


def limit(limits, what, unit):
    """Returns the limit of a figure, or None if it has none."""
    for beginning, limited, part in limits:
        if what.startswith(beginning) and unit == limited:
            return part
    return None


def table(figures, limits):
    """Yields lines with the figures of both drivers, and whether each is over its limit."""
    yield f"{'':44}{'':16}{'C':>12}{'rust_gpu':>12}{'ratio':>8}{'limit':>7}", False
    for (what, unit), found in figures.items():
        theirs, ours = (found.get(name, []) for name in DRIVERS)
        most = limit(limits, what, unit)
        line = f"{what:44}{unit:16}{number(theirs):>12}{number(ours):>12}"
        is_over = False
        if theirs and ours:
            part = ratio(theirs, ours)
            line += f"{part:8.2f}"
            if most is not None:
                is_over = part > most
                line += f"{most:7.2f}  " + ("over" if is_over else "ok")
        yield line.rstrip(), is_over


def ratio(theirs, ours):
    """Returns what this driver takes, divided by what the C driver takes.

    The rounds of the drivers alternate, so that a host that is slow for a while is slow for both.
    The result is the median of the rounds' ratios.
    """
    return statistics.median(b / a if a else math.inf if b else 0 for a, b in zip(theirs, ours))


def number(values):
    """Returns a figure for the table: the median of all rounds."""
    if not values:
        return "-"
    value = statistics.median(values)
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"
