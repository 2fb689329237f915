# SPDX-License-Identifier: GPL-2.0
"""Runs programs of Debian that draw, each in a guest, and checks what the screen shows."""

import os

from . import cache, igt, tap, vm
from .stage import say

CLIENTS = ("modetest", "kmscube", "weston", "xorg")
SCENARIO = "two-heads"
# What Weston is told, here and on the desktops of debian.py.
WESTON_INI = os.path.join(vm.SCRIPTS, "debian/weston.ini")
# Seconds for everything but the session, on a busy host.
TIMEOUT = 1500


def job(client, driver, minutes):
    """Returns the job of the guest: what all clients share, and the client's own script."""
    return vm.scripts("ask", "clients/common", f"clients/{client}", MODULES=igt.MODULES[driver],
                      MINUTES=minutes, WESTON_INI=cache.read(WESTON_INI))


def count(tally, client, output):
    """Counts the results that a script has printed. It is a failure if some are missing."""
    planned, found = None, 0
    for line in output.splitlines():
        plan = tap.PLAN.match(line)
        if plan:
            planned = int(plan.group(1))
        found += tap.take(tally, line, f"{client}: ")
    if found != planned:
        tally.failures.append(f"{client}: {found} of {planned or 'no'} results")


def run(kernel, image, client, driver, minutes):
    """Runs one client."""
    script = job(client, driver, minutes)
    timeout = TIMEOUT + 60 * minutes
    result = vm.boot(kernel, image, SCENARIO, script, timeout, echo="",
                     append=["kunit.enable=0", f"virtio_gpu_driver={driver}"])
    tally = tap.Tally()
    count(tally, client, result.output)
    problems = result.problems()
    if problems:
        vm.explain(result)
    tally.count(not problems, f"{client}: a clean kernel log ({result.console_file})")
    if result.status:
        tally.failures.append(f"{client}: its script returned {result.status}")
    say(f"== clients: {client}: {tally} in {result.seconds:.1f} s, pictures in "
        f"{result.directory}")
    return tally


def main(kernel, image, names, driver, minutes):
    """Runs clients. The last line is the sum."""
    total = tap.Tally()
    for client in names:
        say(f"== clients: {client} on {igt.MODULES[driver]}, kernel {kernel.name}")
        total.add(run(kernel, image, client, driver, minutes))
    for line in total.failures:
        say(f"FAILED {line}")
    say(str(total))
    return 1 if total.failures else 0
