# SPDX-License-Identifier: GPL-2.0
"""IGT on the C driver and on this one, and where they differ."""

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
# Seconds for a test, for a guest in which nothing happens at all, and guests for one run.
TEST_TIMEOUT = 120
SILENCE = 5 * TEST_TIMEOUT
BOOTS = 10
# How many times each driver runs again what so far passes with the C driver only.
AGAIN = 5
# Results that say nothing about the driver.
ABSENT = ("skip", "notrun", "-")

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
        """Runs the tests whose names match `only`, in as many guests as it takes.

        If there are `names`, no others.
        """
        with cache.lock(f"igt-{self.name}"):
            self.execute_locked(only, names)

    def execute_locked(self, only, names):
        """The same, while nobody else uses the files of this run."""
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
                            OTHERS=others(self.driver), SECONDS_EACH=TEST_TIMEOUT,
                            CHOSEN=f"^(?=.*({only}))igt@{TESTS}(@|$)")
        for _ in range(BOOTS):
            result = vm.boot(self.kernel, self.image, "msix3", script, SILENCE, echo=self.echo,
                             append=["log_buf_len=4M"], disk=disk)
            if not result.timed_out and result.status is not None:
                break
            say(f"== igt: the guest hung or died ({result.console_file}): on in a new one")
        self.kernel.root.run(["debugfs", "-R", f"dump /igt/results.json {output}", disk], log)
        if not os.path.exists(output):
            raise Failure("IGT left no results", "the output of the guest", result.output_file)
        self.keep(json.loads(cache.read(output))["tests"], only, names)
        cache.remove(disk)

    def keep(self, tests, only, names):
        """Keeps what is needed of the results; all others stay where only some tests ran.

        Of `names` none may be missing: in all runs passes only what ran in all.
        """
        kept = load(self.file) if only else {}
        kept.update((name, "notrun") for name in names)
        for name, test in tests.items():
            # A test that passed and wrote more to stderr than its name. IGT 2.5 takes lines of the
            # test before for that as well.
            result = test["result"] if test["result"] != "warn" else "pass"
            kept[name.removeprefix("igt@")] = result
        cache.write(self.file, json.dumps(kept, indent=0, sort_keys=True))


def others(driver):
    """The modules of the other driver, which must not get the device."""
    return " ".join(names for name, names in MODULES.items() if name != driver)


def results_file(driver, number):
    """Where the results of one run are kept."""
    return cache.path("igt", f"{driver}-{number}.json")


def load(file):
    """The kept results of one run."""
    return json.loads(cache.read(file) or "{}")


def found(driver, numbers):
    """What came of each test in the runs whose numbers match: a list for each name."""
    results = collections.defaultdict(list)
    directory = cache.path("igt")
    for file in sorted(os.listdir(directory)):
        if not re.fullmatch(rf"{driver}-{numbers}\.json", file):
            continue
        for name, result in load(os.path.join(directory, file)).items():
            results[name].append(result)
    return results


def merged(driver):
    """What came of each test in all runs: one result, or several with slashes."""
    return {name: "/".join(sorted(set(results)))
            for name, results in found(driver, r"\d+").items()}


def is_asked_for(name, only):
    """Whether a test matches the regular expression that was given."""
    return re.search(only, f"igt@{name}")


def worth_repeating(drivers, only):
    """The names of the first run's tests that match, but for those that skip with each driver.

    Six in seven want what only other hardware has, and a second run finds nothing new in them.
    """
    names = set()
    for driver in drivers:
        results = load(results_file(driver, 1))
        names.update(name for name, result in results.items()
                     if result != "skip" and is_asked_for(name, only))
    return sorted(names)


def compare(only):
    """Returns lines: each test in which the drivers differ, how many of each, and regressions.

    Kept results of tests that nobody asked for are compared as well, but are no regressions.
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
    lines.append(f"{len(regressions)} of the tests that pass with C do not always with rust_gpu")
    return lines, regressions


def again(kernel, image, names):
    """Runs tests again, one driver after the other, with nothing else in between.

    Returns lines, and the names of those that this driver passes less often than the C driver. One
    failure in many runs may be a chance of the host, which both drivers share; then this shows it.
    """
    for number in range(1, AGAIN + 1):
        with stage("igt", f"again {number} of {AGAIN}: what passed with C only"):
            for driver in DRIVERS:
                Run(kernel, image, driver, f"again-{number}", f"{driver:4} ").execute("", names)
    results = [found(driver, r"again-\d+") for driver in DRIVERS]
    lines = [f"Passed, of {AGAIN} times again:"]
    worse = []
    for name in names:
        c_passes, ours = (of_driver[name].count("pass") for of_driver in results)
        if ours < c_passes:
            worse.append(name)
        lines.append(f"{name:60} {c_passes:<16} {ours}")
    lines.append(f"{len(worse)} of them less often with rust_gpu")
    return lines, worse


def main(kernel, image, drivers, runs, only):
    """Runs IGT and compares; returns 1 if a test that passes with C does not with this driver.

    The drivers run at the same time, each in its guest, as most of the time a test waits. More of
    those with narrow bounds fail so, with either driver: see again() for how that is told apart.
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
    say(f"== igt: the differences are in {target}")
    return 1 if regressions else 0
