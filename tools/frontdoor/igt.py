# SPDX-License-Identifier: GPL-2.0
"""Runs IGT on the C driver and on this one, and lists the differences."""

import collections
import concurrent.futures
import json
import os
import re

from . import cache, vm
from .stage import Failure, say, stage

DRIVERS = ("c", "rust")
TESTS = r"(core_\w+|drm_read|dumb_buffer|fbdev|dmabuf\w*|sw_sync|syncobj_\w+|prime_\w+|kms_\w+)"
DISK_MIB = 512
# Seconds for a test; for a guest in which nothing happens; and how many guests a run may need.
TEST_TIMEOUT = 120
SILENCE = 5 * TEST_TIMEOUT
BOOTS = 10
# How often each driver repeats the tests that so far pass with the C driver only.
AGAIN = 5
# Results that tell nothing about the driver.
ABSENT = ("skip", "notrun", "-")

# The modules of each driver. The kernel parameter virtio_gpu_driver has the same names for them.
MODULES = {"c": "virtio_pci virtio_gpu", "rust": "rust_gpu"}


class Run:
    """One run of the tests on one driver."""

    def __init__(self, kernel, image, driver, number, echo=""):
        self.kernel = kernel
        self.image = image
        self.driver = driver
        self.echo = echo
        self.name = f"{driver}-{number}"
        self.file = results_file(driver, number)

    def execute(self, only, names):
        """Runs the tests whose names match `only`, or just `names`, in as many guests as needed."""
        with cache.lock(f"igt-{self.name}"):
            self.execute_locked(only, names)

    def execute_locked(self, only, names):
        """Does the same, with the lock of this run's files."""
        log = cache.log(f"igt-{self.name}")
        base = self.file.removesuffix(".json")
        disk, output, chosen = f"{base}.ext4", f"{base}.results", f"{base}.tests"
        os.makedirs(os.path.dirname(base), exist_ok=True)
        for file in (disk, output, chosen):
            cache.remove(file)
        self.kernel.root.run(["mke2fs", "-q", "-t", "ext4", disk, f"{DISK_MIB}M"], log)
        if names:
            cache.write(chosen, "".join(f"igt@{name}\n" for name in names))
            self.kernel.root.run(["debugfs", "-w", "-R", f"write {chosen} tests.txt", disk], log)
        script = vm.scripts("disk", "igt", MODULES=MODULES[self.driver],
                            SECONDS_EACH=TEST_TIMEOUT,
                            CHOSEN=f"^(?=.*({only}))igt@{TESTS}(@|$)")
        for _ in range(BOOTS):
            result = vm.boot(self.kernel, self.image, "msix3", script, SILENCE, echo=self.echo,
                             append=["log_buf_len=4M", f"virtio_gpu_driver={self.driver}"],
                             disk=disk)
            if not result.timed_out and result.status is not None:
                break
            say(f"== igt: the guest hung or died ({result.console_file}), the run goes on in a "
                "new one")
        self.kernel.root.run(["debugfs", "-R", f"dump /igt/results.json {output}", disk], log)
        if not os.path.exists(output):
            raise Failure("IGT left no results", "the output of the guest", result.output_file)
        self.keep(json.loads(cache.read(output))["tests"], only, names)
        cache.remove(disk)

    def keep(self, tests, only, names):
        """Keeps the results. If only some tests ran, those of the others stay as they were.

        Each of `names` gets a result: a test that did not run in all runs has not passed.
        """
        kept = load(self.file) if only else {}
        kept.update((name, "notrun") for name in names)
        for name, test in tests.items():
            # "warn" is a test that passed and wrote more to stderr than its name. IGT 2.5 also
            # counts lines of the test before.
            result = test["result"] if test["result"] != "warn" else "pass"
            kept[name.removeprefix("igt@")] = result
        cache.write(self.file, json.dumps(kept, indent=0, sort_keys=True))


def results_file(driver, number):
    """Returns the file with the results of one run."""
    return cache.path("igt", f"{driver}-{number}.json")


def load(file):
    """Returns the results of one run."""
    return json.loads(cache.read(file) or "{}")


def found(driver, numbers):
    """Returns the results of each test in the runs whose numbers match, as a list."""
    results = collections.defaultdict(list)
    directory = cache.path("igt")
    for file in sorted(os.listdir(directory)):
        if not re.fullmatch(rf"{driver}-{numbers}\.json", file):
            continue
        for name, result in load(os.path.join(directory, file)).items():
            results[name].append(result)
    return results


def merged(driver):
    """Returns the result of each test in all runs; different ones are joined by slashes."""
    return {name: "/".join(sorted(set(results)))
            for name, results in found(driver, r"\d+").items()}


def is_asked_for(name, only):
    """Whether a test matches the regular expression that was given."""
    return re.search(only, f"igt@{name}")


def worth_repeating(drivers, only):
    """Returns the names of matching tests that did not skip with both drivers in the first run.

    Six of seven tests need other hardware and always skip.
    """
    names = set()
    for driver in drivers:
        results = load(results_file(driver, 1))
        names.update(name for name, result in results.items()
                     if result != "skip" and is_asked_for(name, only))
    return sorted(names)


def compare(only):
    """Returns lines with counts and each test in which the drivers differ, and regressions.

    Older results of tests that did not run this time are compared too, but are no regressions.
    """
    c_results, ours = merged("c"), merged("rust")
    lines = [f"{'test':60} {'C':16} rust_gpu"]
    regressions = []
    for name in sorted(set(c_results) | set(ours)):
        pair = c_results.get(name, "-"), ours.get(name, "-")
        if pair[0] == pair[1] or all(result in ABSENT for result in pair):
            continue
        if pair[0] == "pass" and is_asked_for(name, only):
            regressions.append(name)
        lines.append(f"{name:60} {pair[0]:16} {pair[1]}")
    for title, results in (("C", c_results), ("rust_gpu", ours)):
        counts = collections.Counter(results.values())
        lines.append(f"{title}: " + ", ".join(f"{count} {result}" for result, count
                                              in counts.most_common()))
    lines.append(f"{len(regressions)} tests that pass with C do not always pass with rust_gpu")
    return lines, regressions


def again(kernel, image, names):
    """Repeats tests, one driver after the other, with nothing else in between.

    Returns lines, and the names of those that this driver passes less often than the C driver. A
    failure that a busy host causes hits both drivers, and this tells it from others.
    """
    for number in range(1, AGAIN + 1):
        with stage("igt", f"repetition {number} of {AGAIN}: tests that passed with C only"):
            for driver in DRIVERS:
                Run(kernel, image, driver, f"again-{number}", f"{driver:4} ").execute("", names)
    results = [found(driver, r"again-\d+") for driver in DRIVERS]
    lines = [f"Passed, of {AGAIN} repetitions:"]
    worse = []
    for name in names:
        c_passes, ours = (of_driver[name].count("pass") for of_driver in results)
        if ours < c_passes:
            worse.append(name)
        lines.append(f"{name:60} {c_passes:<16} {ours}")
    lines.append(f"{len(worse)} of them pass less often with rust_gpu")
    return lines, worse


def main(kernel, image, drivers, runs, only):
    """Runs IGT and compares. Returns 1 if a test passes with C and does not with this driver.

    The drivers run at the same time, each in its guest, as tests mostly wait. Because of that,
    tests with narrow limits of time fail more often with either driver; again() sorts them out.
    """
    names = []
    for number in range(1, runs + 1):
        if number > 1:
            names = worth_repeating(drivers, only)
            if not names:
                break
        with stage("igt", f"run {number} of {runs} on " + " and ".join(drivers)), \
                concurrent.futures.ThreadPoolExecutor() as pool:
            all_runs = [Run(kernel, image, driver, number, f"{driver:4} " if drivers[1:] else "")
                        for driver in drivers]
            for done in [pool.submit(run.execute, only, names) for run in all_runs]:
                done.result()
    lines, regressions = compare(only)
    if regressions and set(drivers) == set(DRIVERS):
        more, regressions = again(kernel, image, regressions)
        lines += more
    target = cache.path("igt", "differences.txt")
    cache.write(target, "\n".join(lines) + "\n")
    for line in lines:
        say(line)
    say(f"== igt: this list is in {target}")
    return 1 if regressions else 0
