# SPDX-License-Identifier: GPL-2.0
"""Finds out where a guest hangs."""

import os

from . import cache
from .qmp import PATIENCE, Refused
from .screen import shut

CPUS = "cpus.log"


def examine(screens):
    """Writes down where the CPUs of a guest are, whose requests are not answered any more.

    If QEMU does not say, it hangs itself: its main loop runs the monitor.
    """
    shut(screens.port)
    # It may have asked the monitor.
    screens.thread.join(2 * PATIENCE)
    try:
        text = screens.monitor.execute("human-monitor-command",
                                       **{"command-line": "info registers -a"})
    except (Refused, EOFError, OSError) as error:
        text = f"QEMU does not say: {error}\n"
    screens.hung = screens.hung or screens.monitor.silent
    cache.write(os.path.join(screens.directory, CPUS), text)
