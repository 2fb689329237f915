# SPDX-License-Identifier: GPL-2.0
"""Lets what is a guest's hardware run before the guest."""

import os


def run_first(pid, with_threads=False):
    """Lets the main thread of a process run before the CPUs of guests, where that is allowed; with
    `with_threads` also all threads that it will start.

    It runs the devices and the timers. When the guests' CPUs take all the host has, it would be
    late, as no real device is.
    """
    policy = os.SCHED_FIFO if with_threads else os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    try:
        os.sched_setscheduler(pid, policy, os.sched_param(1))
    except PermissionError:
        pass
