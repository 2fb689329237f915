# SPDX-License-Identifier: GPL-2.0
"""Counts test results: kselftest's TAP, KUnit's KTAP in a kernel log, cargo's lines."""

import re

from .progress import Status
from .splat import PREFIX

RESULT = re.compile(r"^(not )?ok \d+ ?(.*?)(?: # (SKIP|TODO)\b ?(.*))?$", re.I)
PLAN = re.compile(r"^1\.\.(\d+)")


class Tally:
    """Counts of passed, failed and skipped tests, and the names of those that did not pass."""

    def __init__(self):
        self.passed = 0
        self.failures = []
        self.skips = []

    def count(self, ok, name, skip=None):
        """Adds one result; `skip` is the reason if the test was skipped."""
        if not ok:
            self.failures.append(name)
        elif skip is not None:
            self.skips.append(f"{name}: {skip}")
        else:
            self.passed += 1

    def add(self, other):
        """Adds the results of another tally."""
        self.passed += other.passed
        self.failures += other.failures
        self.skips += other.skips

    def __str__(self):
        return (f"{self.passed} passed, {len(self.failures)} failed, "
                f"{len(self.skips)} skipped")


def under_way(output):
    """How far run_kselftest.sh is: results, of how many, and the program that it runs."""
    lines = output.splitlines()
    programs = [line.split(": ")[-1].strip() for line in lines if line.startswith("# selftests: ")]
    plans = [PLAN.match(line) for line in lines if PLAN.match(line)]
    if not programs or not plans:
        return Status()
    results = sum(1 for line in lines if RESULT.match(line))
    return Status(f"{results} of {plans[0].group(1)} programs, now {programs[-1]}")


def take(tally, line, prefix):
    """Counts a result line; returns whether it was one."""
    match = RESULT.match(line)
    if not match:
        return False
    failed, name, skip, reason = match.groups()
    tally.count(not failed, f"{prefix}{name.lstrip('- ')}",
                (reason or "no reason given") if skip else None)
    return True


def kselftest(output):
    """The results in the output of run_kselftest.sh: each case of each test program."""
    total, inner = Tally(), Tally()
    planned = inner_planned = None
    program, programs = "", 0
    for line in output.splitlines():
        if line.startswith("# selftests: "):
            inner, inner_planned = Tally(), None
            program = line.split(": ")[-1].strip()
        elif line.startswith("# ") and PLAN.match(line[2:]):
            inner_planned = int(PLAN.match(line[2:]).group(1))
        elif line.startswith("# "):
            take(inner, line[2:], f"{program}: ")
        elif PLAN.match(line):
            planned = int(PLAN.match(line).group(1))
        elif RESULT.match(line):
            programs += 1
            close(total, inner, inner_planned, line, program)
            inner, inner_planned = Tally(), None
    if planned is None or programs != planned:
        total.failures.append(f"run_kselftest.sh: {programs} of {planned or 'no'} programs ran")
    return total


def close(total, inner, planned, line, program):
    """Adds a finished program: its cases, and what its own result says beyond them."""
    cases = inner.passed + len(inner.failures) + len(inner.skips)
    if not cases:
        take(total, line, "")
        return
    total.add(inner)
    if planned is not None and cases != planned:
        total.failures.append(f"{program}: {cases} of {planned} cases ran")
    elif line.startswith("not ok") and not inner.failures:
        total.failures.append(f"{program}: {line}")


def kunit(console):
    """The results of each KUnit suite in a kernel log, by suite."""
    suites, plans, suite = {}, {}, None
    for raw in console.splitlines():
        line = PREFIX.sub("", raw)
        if line.startswith("    # Subtest: "):
            suite = line.split(": ", 1)[1].strip()
            suites.setdefault(suite, Tally())
        elif suite and line.startswith("    1.."):
            plans[suite] = plans.get(suite, 0) + int(line.strip()[3:])
        elif suite and line.startswith("    ") and not line.startswith("     "):
            take(suites[suite], line[4:], f"{suite}: ")
        elif suite and RESULT.match(line):
            suite = None
    for name, tally in suites.items():
        cases = tally.passed + len(tally.failures) + len(tally.skips)
        if cases != plans.get(name):
            tally.failures.append(f"{name}: {cases} of {plans.get(name, 'no')} cases ran")
    return suites


def cargo(output):
    """The results of `cargo test`."""
    tally = Tally()
    for name, result in re.findall(r"^test (.+?) \.\.\. (ok|FAILED|ignored)\b", output, re.M):
        tally.count(result != "FAILED", name, "ignored" if result == "ignored" else None)
    return tally
