# SPDX-License-Identifier: GPL-2.0
"""Runs the tests of every change. Tables say what runs on which kernel in which machine."""

import concurrent.futures
import filecmp
import glob
import os
import re
import subprocess
import time
import zlib

from . import buildroot, cache, debiantest, debtest, guest, host, kernel, lint, picture, screen, \
    selftest, source, splat, tap, treetest, vm
from .scenarios import SCENARIOS
from .progress import Status
from .stage import Failure, activity, end_of, say

CORE = ("ioctl getparam waits permissions dumb caps modes debugfs sync removal hostile flood "
        "stall")
DISPLAY = ("display display_atomic display_cursor display_errors display_fence display_flip "
           "display_hotplug display_import display_panic display_sizes display_sleep display_stall")
# kernel, scenario, tests of the collection. A guest takes three times as long on the debug kernel.
# Tests that are about the form of the device, more than about locks, run there in check-all only.
# On our own device hostile comes last: it counts what that test does to the rings as malformed.
# The hand-over does not run on the debug kernel: the C driver leaves DMA mappings behind when it is
# unbound, which DMA_API_DEBUG reports. Of this driver that debugging only sees something where the
# device offers ACCESS_PLATFORM: in the guests called iommu, iommu-pt and swiotlb.
GUESTS = [
    ("debug", "msix3", CORE),
    ("debug", "msix3", DISPLAY),
    ("debug", "msix2", "modes sync waits"),
    ("debug", "msix1", "modes sync waits"),
    ("debug", "intx", "modes sync waits removal"),
    ("debug", "threadirqs", "modes sync waits removal"),
    ("debug", "iommu", "modes display display_import"),
    ("debug", "iommu-physical", "modes display display_import display_panic removal"),
    ("debug", "swiotlb", "modes dumb display display_atomic"),
    ("production", "root-port", "removal"),
    ("production", "msix3", f"{CORE} load.sh"),
    ("production", "msix3", f"{DISPLAY} display_format"),
    ("production", "two-heads", "display_heads"),
    ("production", "three-heads", "display_sizes display_places"),
    ("production", "own",
     "own own_format display display_cursor display_flip display_format display_hotplug "
     "display_random display_sizes refusals signals heirs objects hostile"),
    ("production", "own-and-another", "two_devices"),
    ("production", "own-firmware", "firmware"),
    ("production", "own", "stall_matrix lost"),
    ("production", "own", "recover recover_dump recover_ends recover_reset"),
    ("production", "own", "contexts stuck preempt blame"),
    ("production", "own-stuck", "abandoned"),
    ("production", "own", "recover_again"),
    ("production", "own-two-heads", "display_places stall_users"),
    ("production", "handover", "handover.sh owner.sh"),
    ("production", "virtio", "owner.sh"),
    ("production", "virtio-rust-first", "owner.sh"),
    ("production", "virtio-rust-late", "owner.sh"),
    ("production", "virtio-c", "owner.sh"),
    ("debug", "virtio", "owner.sh"),
    ("production", "own-virgl",
     "render render_objects render_sync render_scanout render_others render_ends render_caps "
     "render_page"),
    ("production", "own-virgl", "render_shown render_patience"),
    # What this driver's tests of 3D expect is what the C driver does.
    ("production", "own-virgl-c",
     "render render_objects render_sync render_scanout render_ends"),
    ("production", "vga", "modes display"),
    ("production", "pio-notify", "modes"),
    ("production", "iommu-pt-physical", "modes display_import"),
    ("production", "swiotlb-physical", "modes dumb display"),
    ("production", "virtio-iommu", "modes display_import"),
    ("production", "virtio-iommu-physical", "modes display_import"),
    ("production", "headless", "modes"),
    ("production", "intx", "modes sync waits display display_atomic display_hotplug"),
    ("production", "up", "modes sync waits"),
    ("production", "smp4", "torture"),
]
# Tests that depend on how interrupts arrive.
INTERRUPTS = "waits modes sync removal torture"
MORE_GUESTS = [(name, scenario, f"{CORE} torture" if scenario == "msix3" else INTERRUPTS)
               for name in ("debug", "production", "rt")
               for scenario in ("msix3", "msix2", "msix1", "intx", "smp4")]
MORE_GUESTS += [(name, "two-heads", "display_random")
                for name in ("debug", "production", "rt", "kmemleak")]
MORE_GUESTS += [
    ("debug", "msix3", "load.sh"),
    ("debug", "threadirqs", "display"),
    ("debug", "up", "modes sync waits"),
    ("debug", "headless", "modes"),
    ("debug", "vga", "modes"),
    ("debug", "pio-notify", "modes"),
    ("debug", "iommu", "dumb removal display_atomic display_cursor"),
    ("debug", "iommu-physical", "dumb display_atomic display_cursor"),
    ("debug", "iommu-pt", "modes display display_import removal"),
    ("debug", "iommu-pt-physical", "modes display display_import removal"),
    ("debug", "virtio-iommu", "modes display display_import removal"),
    ("debug", "virtio-iommu-physical", "modes display display_import removal"),
    ("debug", "swiotlb-physical", "modes dumb display display_atomic removal"),
    ("debug", "root-port-debug", "removal"),
    ("debug", "own", "own display_cursor display_hotplug heirs hostile"),
    ("debug", "own", "stall_matrix"),
    ("debug", "own", "recover recover_dump recover_ends recover_reset"),
    ("debug", "own", "recover_again recover_times"),
    ("production", "own", "recover_grid"),
    ("production", "own", "recover_times"),
    ("debug", "virtio-c", "owner.sh"),
    ("debug", "three-heads", "display_sizes display_places"),
    ("rt", "up", "modes sync waits"),
    ("rt", "own", "stall_matrix"),
    ("rt", "root-port-debug", "removal"),
    ("production", "intx", "display_panic display_sleep"),
    ("production", "own", "stall_others"),
    ("production", "own-plain", "own modes display display_cursor"),
    ("production", "own-plain", "stall_users stall_returns"),
    ("production", "own-intx", "own modes waits display_hotplug"),
    ("production", "own-intx", "stall_users stall_returns"),
    ("production", "own-msix1", "modes stall_users stall_returns"),
    ("production", "own-two-heads", "display_heads display_places stall_users stall_returns"),
    ("production", "threadirqs", "modes sync waits torture"),
    ("production", "threadirqs-intx", "modes sync waits removal"),
    ("kmemleak", "msix3", f"{CORE} load.sh"),
    ("kmemleak", "msix3", f"{DISPLAY} display_memory"),
    ("kmemleak", "intx", "waits removal"),
    ("kmemleak", "iommu", "removal dumb display"),
    ("kmemleak", "iommu-physical", "removal dumb display display_import"),
    ("kmemleak", "root-port-debug", "removal"),
    ("kmemleak", "own", "own lost objects refusals recover recover_memory"),
    ("kmemleak", "own", "recover_again"),
    ("kmemleak", "own-firmware", "firmware"),
    *((name, "own-virgl", "render render_objects render_sync render_scanout render_others "
       "render_ends render_shown render_patience") for name in ("debug", "rt")),
    ("kmemleak", "own-virgl", "render_memory render_objects render_sync render_ends"),
]
# Tests that repeat something: more often, once.
THOROUGH_GUESTS = [
    ("production", "msix3", "flood stall"),
    ("production", "own", "lost objects refusals signals"),
    ("production", "own", "recover recover_reset"),
    ("production", "own", "recover_again"),
    ("production", "own", "stuck"),
    ("production", "own", "contexts"),
    ("production", "own", "preempt"),
    ("production", "own-virgl", "render_others render_ends"),
    ("production", "own-virgl", "render_patience"),
    ("kmemleak", "own", "recover_again"),
    ("debug", "own", "recover_grid"),
    ("rt", "own", "recover_grid"),
    ("production", "own", "recover_times recover_patient"),
    ("production", "msix3", "recover_patient"),
]
TIMEOUT = 900


def black(width, height):
    """Returns the CRC of a black picture, in the form that screen.py has for it."""
    return f"{zlib.crc32(bytes(3 * width * height)):08x}"


# scenario, scripts of tools/guest that are one job, variables in their environment.
SCRIPTS = [
    ("vga-firmware", "ask takeover",
     {"BLACK_BEFORE": black(1024, 768), "BLACK_AFTER": black(1280, 800)}),
    ("headless", "headless", {}),
    ("log", "ask log", {}),
    ("vga-held", "ask held", {}),
    ("own", "ask unload", {}),
    ("own-gone", "ask gone", {}),
    ("own-virgl", "virgl", {"DRIVEN": "yes"}),
    ("own-virgl-copies", "virgl", {"DRIVEN": ""}),
]
# What QEMU's log says when the driver writes a device's status.
STATUS = re.compile(r"virtio_set_status vdev \S+ val (\d+)")
# What a kernel says that panics because it was asked to.
PANIC = "Kernel panic - not syncing: sysrq triggered crash"
# How a guest ends, in which machine, what its log says then, and how many seconds longer that may
# take while the device stands still.
ENDS = {"restart": ("own", "reboot: Restarting system"),
        "panic": ("own", "Rebooting in 1 seconds"),
        "halt": ("own", "reboot: System halted"),
        "kexec": ("own-kexec", "Starting new kernel")}
END_SLACK = 0.5
# The states of recover_grid in which a guest restarts, and how many seconds that may take.
HANGING = "look doorbell preempt collect reset restore waiting broken probing".split()
RESTART = 7
# The size of a disk that has room for the compressed memory of a guest.
IMAGE_SIZE = 1 << 31


class Check:
    """A run of the tests."""

    def __init__(self, root, tree, image, everything, only):
        self.root = root
        self.tree = tree
        self.image = image
        self.everything = everything
        self.only = only
        self.steps = []
        self.finished = []

    def step(self, name, function, *arguments):
        """Plans one step, unless the user wants others only."""
        if self.only in name:
            self.steps.append((name, function, arguments))

    def take(self, name, function, arguments):
        """Runs one step, prints its results and returns them. A step that breaks has failed."""
        say(f"== check: {name}")
        start = time.monotonic()
        tally = tap.Tally()
        try:
            with activity(name):
                function(tally, *arguments)
            if not tally.passed + len(tally.failures) + len(tally.skips):
                tally.failures.append("it ran no test")
        except Failure as failure:
            failure.report()
            tally.failures.append(failure.message)
        say("\n".join([*(f"   FAILED {line}" for line in tally.failures),
                       *(f"   skipped {line}" for line in tally.skips),
                       f"== check: {name}: {tally} in {time.monotonic() - start:.1f} s"]))
        self.finished.append(name)
        return tally

    def look(self):
        """How far the run is."""
        return Status(f"{len(self.finished)} of {len(self.steps)} steps")

    def kernel(self, name):
        """A kernel that is up to date."""
        return kernel.get(self.root, self.tree, name)

    def boot(self, tally, name, scenario, script, timeout=TIMEOUT, append=("kunit.enable=0",),
             **options):
        """Runs a guest and counts whether its kernel log is clean. For the rest see vm.boot()."""
        result = vm.boot(self.kernel(name), self.image, scenario, script, timeout, append=append,
                         **options)
        problems = result.problems()
        if problems:
            vm.explain(result)
        tally.count(not problems, f"a clean kernel log ({result.console_file})")
        return result

    def kselftest(self, tally, name, scenario, tests, thorough=False):
        """Runs kselftests with the tree's own runner."""
        missing = [test for test in tests.split()
                   if not os.path.exists(self.installed(name, test))]
        for test in missing:
            tally.failures.append(f"{test} is not there")
        present = [test for test in tests.split() if test not in missing]
        if not present:
            return
        # Some guests take five minutes, half an hour if they are thorough, and several times that
        # on a busy host.
        limit = (8 if thorough else 3) * TIMEOUT
        silence = limit if thorough else selftest.program_limit() + 60
        result = self.boot(tally, name, scenario,
                           selftest.job(scenario, present, limit if thorough else None),
                           (limit, silence))
        tally.add(tap.kselftest(result.output))
        if tally.failures:
            say(f"   output in {result.output_file}")

    def installed(self, name, test):
        """Returns where the build puts a test."""
        return os.path.join(self.kernel(name).output, "medium/kselftest",
                            selftest.COLLECTION, test)

    def kunit(self, tally, name):
        """Runs the driver's own suites, which run when it is loaded."""
        suites = self.suites(tally, name, ["kunit.filter_glob=rust_gpu*"])
        if not suites:
            tally.failures.append("no suite of rust_gpu ran")

    def doctests(self, tally, name):
        """Runs the doctests and suites of the kernel crate, at boot."""
        # Doctests of 7.3 itself (hrtimer.rs) have timers on the stack that are not marked as such.
        suites = self.suites(tally, name, ["no_debug_objects"])
        for suite in ("rust_doctests_kernel", "rust_drm_gem_shmem", "rust_drm_kms",
                      "rust_drm_kms_modes", "rust_drm_panic", "rust_irq", "rust_devres",
                      "rust_kthread", "rust_dma_fence", "rust_dma_fence_irq",
                      "rust_drm_syncobj", "rust_drm_exec", "rust_drm_release"):
            if not any(suite in found for found in suites):
                tally.failures.append(f"no suite {suite} ran")

    def suites(self, tally, name, append):
        """Boots with KUnit enabled and counts every suite that ran."""
        result = self.boot(tally, name, "msix3", "modprobe rust-gpu && modprobe -r rust-gpu",
                           append=append)
        tally.count(result.status == 0, "the driver loads and unloads")
        suites = tap.kunit(result.console)
        for suite in suites.values():
            tally.add(suite)
        return suites

    def script(self, tally, name, scenario, scripts, variables):
        """Runs scripts of tools/guest as one; their exit status is the result."""
        result = self.boot(tally, name, scenario, vm.scripts(*scripts.split(), **variables))
        tally.count(result.status == 0, f"exit status {result.status}")

    def initramfs(self, tally, name):
        """Whether the programs that make an initramfs find the driver."""
        debtest.initramfs(tally, self.kernel(name))

    def shutdown(self, tally, name):
        """Restarts a guest: the driver resets the device last. At the other ends the picture stays.
        """
        result = self.boot(tally, name, "msix3", vm.scripts("ask", "shutdown"))
        tally.count(result.status == 0, f"exit status {result.status}")
        statuses = written(result)
        tally.count(statuses[-1:] == ["0"], f"a reset at the end; statuses: {statuses}")
        for end in ("halt", "poweroff"):
            self.picture_stays(tally, name, end)

    def picture_stays(self, tally, name, end):
        """Halts a guest or switches its power off. The screen stays as it is, with the last line of
        the console, and the device is not reset.
        """
        result = vm.boot(self.kernel(name), self.image, "ends", vm.scripts("ask", "end", END=end),
                         TIMEOUT, append=("kunit.enable=0",))
        tally.count(result.status is None and not result.timed_out,
                    f"{end}: the guest ends ({result.output_file})")
        for line in splat.find(result.console, result.allow):
            tally.failures.append(line)
        tally.count(len(result.pictures) == 1, f"{end}: a picture")
        for file in result.pictures:
            before = os.path.join(result.directory, "before.png")
            tally.count(filecmp.cmp(before, file, shallow=False),
                        f"{end}: {file} is as {before}")
        statuses = written(result)
        tally.count("0" not in statuses, f"{end}: no reset; statuses: {statuses}")

    def kexec(self, tally, name):
        """Lets a guest boot its kernel once more. The device was reset before, and works after."""
        result = self.boot(tally, name, "kexec", vm.scripts("ask", "kexec", "again"))
        tally.count(result.status == 0, f"exit status {result.status} ({result.output_file})")
        tally.count(result.console.count("Linux version") == 2, "two kernels")
        statuses = written(result)
        tally.count(statuses[:1] == ["0"], f"a reset first; statuses: {statuses}")

    def panic(self, tally, name):
        """Lets a guest panic. Its screens show that, and its log shows nothing else."""
        result = vm.boot(self.kernel(name), self.image, "panic", vm.scripts("ask", "panic"),
                         TIMEOUT, append=("kunit.enable=0",))
        tally.count(result.status is None, "the guest panics")
        for line in splat.find(result.console, result.allow):
            tally.failures.append(line)
        tally.count(len(result.pictures) == 2, "two pictures")
        for file in result.pictures:
            tally.count(PANIC in picture.read_qr(self.root, file),
                        f"'{PANIC}' in the QR code of {file}")

    def ending(self, tally, name, end):
        """Ends a guest whose device works, and one whose device stands still. Both are quick."""
        times = []
        scenario, last = ENDS[end]
        for stall in (0, 1):
            result = vm.boot(self.kernel(name), self.image, scenario,
                             vm.scripts("ask", "kexec", "stalled", END=end, STALL=stall), TIMEOUT,
                             append=("kunit.enable=0", "panic=1"))
            stamps = [re.search(rf"^\[ *([0-9.]+)\].*{words}", result.console, re.M)
                      for words in ("the guest ends", re.escape(last))]
            tally.failures += result.device_problems
            tally.count(all(stamps), f"{last} ({result.console_file})")
            if all(stamps):
                times.append(float(stamps[1].group(1)) - float(stamps[0].group(1)))
        if len(times) == 2:
            tally.count(times[1] - times[0] <= END_SLACK,
                        f"{end} takes {times[0]:.2f} s, and {times[1]:.2f} s in a stall")
            say(f"   {end}: {times[0]:.2f} s, and {times[1]:.2f} s in a stall")

    def reboot(self, tally, name):
        """Restarts a guest in each state of a device that hangs: soon, with a clean log."""
        for state in HANGING:
            result = vm.boot(self.kernel(name), self.image, "own",
                             f"export RUST_GPU_STATE={state}\n$TESTS/recover_grid -t reboot",
                             TIMEOUT, append=("kunit.enable=0",))
            stamps = [re.search(rf"^\[ *([0-9.]+)\].*{words}", result.console, re.M)
                      for words in ("the guest ends", "reboot: Restarting system")]
            tally.failures += result.device_problems
            tally.failures += splat.find(result.console, result.allow)
            tally.count(all(stamps), f"it restarts: {state} ({result.console_file})")
            if all(stamps):
                took = float(stamps[1].group(1)) - float(stamps[0].group(1))
                tally.count(took <= RESTART, f"{state}: {took:.2f} s")
                say(f"   {state}: {took:.2f} s")

    def hibernation(self, tally, name):
        """Lets a guest hibernate on a disk, and another one resume from that."""
        disk = cache.path(f"sleeping-{name}-{os.getpid()}")
        try:
            with open(disk, "wb") as file:
                file.truncate(IMAGE_SIZE)
            slept = vm.boot(self.kernel(name), self.image, "msix3",
                            vm.scripts("disk", "hibernate"), TIMEOUT, append=("kunit.enable=0",),
                            disk=disk)
            tally.count(slept.status is None and not slept.timed_out,
                        f"the guest is switched off ({slept.output_file})")
            if tally.failures:
                vm.explain(slept)
                return
            for line in splat.find(slept.console, slept.allow):
                tally.failures.append(line)
            result = self.boot(tally, name, "msix3", vm.scripts("disk", "resume"), disk=disk)
        finally:
            cache.remove(disk)
        tally.count(result.status == 0, f"exit status {result.status} ({result.output_file})")

    def debian(self, tally, name):
        """Runs a part of `make guest`."""
        debiantest.part(tally, self.root, self.tree, name, None)

    def cargo(self, tally, crate):
        """Runs the tests of a crate in user space."""
        log = cache.log(f"cargo-{os.path.basename(crate)}")
        target = cache.path("cargo-target", os.path.basename(crate))
        argv = self.root.argv(["env", "-C", crate, "cargo", "test", "--locked"],
                              env={"CARGO_TARGET_DIR": target})
        with open(log, "w", encoding="utf-8") as file, \
                activity("cargo test", end_of(log), f"cargo {os.path.basename(crate)}"):
            status = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                    check=False).returncode
        tally.add(tap.cargo(cache.read(log)))
        if status and not tally.failures:
            raise Failure(f"cargo test returned {status}", "the first error in the log", log)

    def plan(self):
        """Plans all steps. Quick ones that are likely to fail come first."""
        self.step("lint", lint.steps, self.root, self.tree)
        self.step("tree", treetest.steps, self.tree)
        self.step("deb", debtest.configuration, self.root, self.tree)
        crates = sorted(glob.glob(os.path.join(cache.REPO, "selftests/*/Cargo.toml")))
        for crate in crates:
            directory = os.path.dirname(crate)
            self.step(f"cargo {os.path.basename(directory)}", self.cargo, directory)
        self.step("kunit debug", self.kunit, "debug")
        self.step("doctests debug", self.doctests, "debug")
        if self.everything:
            self.step("kunit rt", self.kunit, "rt")
        for name, scenario, tests in guests(self.everything):
            self.step(f"kselftest {name} {scenario}", self.kselftest, name, scenario, tests)
        for name, scenario, tests in THOROUGH_GUESTS if self.everything else ():
            self.step(f"thorough {name} {scenario}", self.kselftest, name, scenario, tests, True)
        self.step("initramfs production", self.initramfs, "production")
        self.step("script production nomodeset", self.script, "production", "nomodeset",
                  "nomodeset", {})
        for name in ("production", "debug") if self.everything else ("production",):
            for scenario, scripts, variables in SCRIPTS:
                self.step(f"script {name} {scenario}", self.script, name, scenario, scripts,
                          variables)
            self.step(f"shutdown {name}", self.shutdown, name)
            self.step(f"kexec {name}", self.kexec, name)
            self.step(f"panic {name}", self.panic, name)
            self.step(f"hibernation {name}", self.hibernation, name)
        for end in ENDS if self.everything else ():
            self.step(f"{end} production own", self.ending, "production", end)
        if self.everything:
            self.step("reboot production", self.reboot, "production")
        for name in debiantest.PARTS if self.everything else ():
            self.step(f"guest {name}", self.debian, name)

    def run(self, jobs):
        """Runs the planned steps, `jobs` at a time, and returns the sum of their results."""
        total = tap.Tally()
        key = cache.key(*(name for name, _, _ in self.steps), str(jobs))
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool, \
                activity("check", self.look, f"check {key}"):
            try:
                for tally in pool.map(lambda step: self.take(*step), self.steps):
                    total.add(tally)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        return total


def guests(everything):
    """Returns the guests with kselftests, without those whose tests another one runs as well."""
    rows = GUESTS + MORE_GUESTS if everything else GUESTS
    return [(name, scenario, tests) for name, scenario, tests in rows
            if not any((name, scenario) == row[:2] and set(tests.split()) < set(row[2].split())
                       for row in rows)]


def written(result):
    """Returns what was written to the status of a guest's device while that was traced."""
    return STATUS.findall(cache.read(os.path.join(result.directory, screen.LOG)))


def main(everything, only, jobs):
    """Runs the tests. The last line is the sum."""
    total = tap.Tally()
    try:
        host.check()
        root = buildroot.get()
        tree = source.get(root)
        check = Check(root, tree, guest.get(root), everything, only)
        check.plan()
        total = check.run(jobs)
        cache.write(cache.path("filled"), "")
    except Failure as failure:
        failure.report()
        total.failures.append(failure.message)
    if not total.passed and not total.failures:
        total.failures.append("nothing ran")
    for line in total.failures:
        say(f"FAILED {line}")
    say(str(total))
    return 1 if total.failures else 0


assert all(scenario in SCENARIOS for _, scenario, _ in
           GUESTS + MORE_GUESTS + THOROUGH_GUESTS)
