# SPDX-License-Identifier: GPL-2.0
"""Runs programs of Debian that draw with OpenGL, by the C driver and by this one.

What a driver gives (names, frames of the screen, results) has to be the same in two runs with the C
driver, and the same with this one. The C driver's results are kept in tools/baseline/3d, with the
versions that they belong to, and compared where those are the same. Speeds are kept and never
compared: they are the host's.
"""

import os
import re
import subprocess

from . import cache, clients, glroot, guest, igt, parts, vm
from .stage import Failure, say

PARTS = ("eglinfo", "kmscube", "glmark2", "weston", "sway", "xorg", "igt", "sync", "reset",
         "ends", "piglit")
SCENARIO = "gl"
BASELINE = os.path.join(cache.REPO, "tools/baseline/3d")
# Seconds for a part, on a busy host. Piglit has bounds of its own, and is run twice for a list.
TIMEOUT = 2400
TIMEOUT_PIGLIT = 8000
# Packages whose versions belong to the results: of the host, and of the guest.
HOST = ("qemu-system-x86", "libvirglrenderer1", "libgl1-mesa-dri", "xvfb")
GUEST = {"eglinfo": "mesa-utils-bin", "kmscube": "kmscube", "glmark2": "glmark2-es2-drm",
         "weston": "weston", "sway": "sway libwlroots-0.20 foot weston",
         "xorg": "xserver-xorg-core mesa-utils-bin", "igt": "igt-gpu-tools-tests",
         "sync": "igt-gpu-tools-tests", "reset": "glmark2-es2-drm",
         "ends": "glmark2-es2-drm", "piglit": "piglit"}
MESA = "libgl1-mesa-dri"
# How often the device is reset; how often clients are killed, and their device is taken away.
ROUNDS = 5
KILLS = 20
TAKEN = 100
# Piglit has an image of its own. Of its quick tests each 20th is tried, and those that pass three
# times are its list.
PIGLIT = "piglit"
PASSED = "piglit: pass "
EVERY = 20
KEPT = re.compile(r"^@keep (\S+): (.*)$", re.M)
VERSION = re.compile(r"^@version (\S+) (\S+)$", re.M)
# The end of the name of what differs from run to run.
SPEED = "-speed"


class Results:
    """What a program gave: the versions, and the lines that are kept."""

    def __init__(self, versions, kept):
        self.versions = versions
        self.kept = kept

    def lines(self):
        """What is compared."""
        return [line for line in self.kept if not line.split(":")[0].endswith(SPEED)]

    def text(self):
        """The content of a file."""
        return "".join(f"{line}\n" for line in (
            "# What the C driver gave: tools/front 3d --record", *self.versions, "", *self.kept))


def baseline_file(part):
    """The file with the C driver's results."""
    return os.path.join(BASELINE, f"{part}.txt")


def baseline(part):
    """The C driver's results that are kept, or None."""
    text = cache.read(baseline_file(part))
    if text is None:
        return None
    versions, _, kept = text.partition("\n\n")
    return Results(versions.splitlines()[1:], kept.splitlines())


def host_versions():
    """The versions of the host's packages."""
    argv = glroot.get().argv(["dpkg-query", "-W", "-f", "host ${Package} ${Version}\\n", *HOST])
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            check=False)
    if result.returncode:
        raise Failure(f"dpkg-query returned {result.returncode}: {result.stderr}")
    return result.stdout.splitlines()


def run(tally, kernel, part, driver, tests=()):
    """Runs one program in a guest, piglit with the tests of a list; returns what it gave."""
    script = vm.scripts("ask", "clients/common", "3d/common", f"3d/{part}",
                        MODULES=igt.MODULES[driver], VERSIONS=f"{MESA} {GUEST[part]}",
                        ROUNDS=ROUNDS, KILLS=KILLS, TAKEN=TAKEN, EVERY=EVERY,
                        TESTS="\n".join(tests), WESTON_INI=cache.read(clients.WESTON_INI))
    image = guest.get(kernel.root, guest.PIGLIT if part == PIGLIT else guest.GL)
    timeout = TIMEOUT_PIGLIT if part == PIGLIT else TIMEOUT
    result = vm.boot(kernel, image, SCENARIO, script, timeout, echo="",
                     append=["kunit.enable=0", f"virtio_gpu_driver={driver}"])
    name = f"{driver}: {part}"
    clients.count(tally, name, result.output)
    problems = result.problems()
    if problems:
        vm.explain(result)
    tally.count(not problems, f"{name}: a clean kernel log ({result.console_file})")
    if result.status:
        tally.failures.append(f"{name}: its script returned {result.status}")
    say(f"== 3d: {name} in {result.seconds:.0f} s, pictures in {result.directory}")
    versions = [f"kernel {release(kernel)}", *host_versions(),
                *(f"guest {package} {version}"
                  for package, version in VERSION.findall(result.output))]
    return Results(versions, [f"{key}: {text}" for key, text in KEPT.findall(result.output)])


def release(kernel):
    """The release of the kernel."""
    return cache.read(os.path.join(kernel.output, "include/config/kernel.release")).strip()


def compare(tally, name, one, other):
    """Counts whether two runs gave the same."""
    differences = sorted(set(one.lines()) ^ set(other.lines()))
    for line in differences:
        say(f"   {name}: not in both: {line}")
    tally.count(bool(one.lines()) and not differences, f"{name}: the same, not {differences[:3]}")


def passed(results):
    """The names of piglit's tests that passed."""
    return [line.removeprefix(PASSED) for line in results.kept if line.startswith(PASSED)]


def twice(tally, kernel, part, right, record):
    """Runs one program with the C driver twice, and compares; returns what it gave."""
    if part != PIGLIT:
        first, second = (run(tally, kernel, part, "c") for _ in range(2))
    elif record:
        chosen = run(tally, kernel, part, "c")
        second = run(tally, kernel, part, "c", passed(chosen))
        say(f"   {len(passed(chosen))} tests passed twice, {len(passed(second))} three times")
        first = Results(chosen.versions, [line for line in chosen.kept if line in second.kept])
        second.kept = first.kept
    else:
        first, second = (run(tally, kernel, part, "c", passed(right)) for _ in range(2))
    compare(tally, f"c: {part}, twice", first, second)
    return first


def take(tally, kernel, part, drivers, record):
    """Runs one program with the drivers, and compares."""
    right = baseline(part)
    if part == PIGLIT and not right and not record:
        raise Failure("there is no list of piglit's tests",
                      "tools/front 3d --driver c --only piglit --record")
    tests = passed(right) if part == PIGLIT and right else []
    if "c" in drivers:
        first = twice(tally, kernel, part, right, record)
        if record:
            # What failed is no baseline.
            if not tally.failures:
                cache.write(baseline_file(part), first.text())
                tests = passed(first)
        elif right is None or right.versions != first.versions:
            say(f"   c: {part}: {baseline_file(part)} is of other versions")
        else:
            compare(tally, f"c: {part} and what is kept", first, right)
        right = first
    if "rust" in drivers:
        ours = run(tally, kernel, part, "rust", tests)
        # Without 3D all is skipped.
        if ours.kept:
            if right is None or right.versions != ours.versions:
                raise Failure(f"there are no results of the C driver for {part}",
                              "tools/front 3d --driver c")
            compare(tally, f"rust: {part} and C", ours, right)


def main(kernel, names, drivers, record):
    """Runs programs. The last line is the sum."""
    return parts.run("3d", names, lambda tally, part:
                     take(tally, kernel, part, drivers, record))
