# SPDX-License-Identifier: GPL-2.0
"""Runs guests: QEMU's command line, the job, its output, the console."""

import math
import os
import re
import shlex
import signal
import subprocess
import threading
import time

from . import cache, device, hung, initramfs, priority, progress, screen, splat, tap, xvfb
from .scenarios import SCENARIOS
from .stage import Failure, activity, say, tail

SCRIPTS = os.path.join(cache.REPO, "tools/guest")
KEEP_RUNS = 60
# The job of a guest, in the directory of its run.
JOB = "job"
# The kernel traps on a breakpoint that it has already replaced by the patched instruction.
STALE_BREAKPOINT = re.compile(r"Oops: int3\b|\bint3: 0000\b")
# The kernel has measured the clock of the CPU on a busy host, and has it many times too fast or too
# slow.
WRONG_CLOCK = re.compile(r"tsc: PIT calibration deviates from HPET")
# How long a kernel may take to start its first program, in seconds, and the line that says so.
BOOT = 300
BEGUN = "Run /init as init process"
TESTING = "KTAP version"
END = re.compile(r"^@guest exit=(\d+) taint=(\d+)$", re.M)


def accelerator():
    """Returns QEMU's accelerator: KVM where it is sure to work, otherwise TCG."""
    chosen = os.environ.get("RUST_GPU_ACCEL")
    if chosen:
        return chosen
    flags = re.search(r"^flags\s*:.*$", cache.read("/proc/cpuinfo") or "", re.M)
    # Some machines have /dev/kvm without either flag: a guest hangs there.
    if flags and re.search(r"\b(vmx|svm)\b", flags.group()) and can_open("/dev/kvm"):
        return "kvm"
    return "tcg,thread=multi"


def can_open(path):
    """Returns whether a device can be opened for reading and writing."""
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError:
        return False
    return True


def scripts(*names, **variables):
    """Returns the text of scripts in tools/guest as one, with variables in their environment."""
    lines = [f"export {name}={shlex.quote(str(value))}\n" for name, value in variables.items()]
    return "".join(lines + [cache.read(os.path.join(SCRIPTS, f"{name}.sh")) for name in names])


class Result:
    """The result of a run: what a guest has left behind."""

    def __init__(self, directory, scenario, seconds, timed_out, screens):
        self.directory = directory
        self.allow = SCENARIOS[scenario].get("allow")
        self.allow_taint = SCENARIOS[scenario].get("taint", "")
        self.seconds = seconds
        self.timed_out = timed_out
        self.qemu_hung = screens.hung
        self.console_file = os.path.join(directory, screen.CONSOLE)
        self.output_file = os.path.join(directory, "output.log")
        self.console = clean(self.console_file)
        text = clean(self.output_file)
        ends = list(END.finditer(text))
        self.output = text[:ends[-1].start()] if ends else text
        # Pictures of the heads after a panic.
        self.pictures = screens.pictures
        self.device_problems = screens.problems()
        self.status = int(ends[-1].group(1)) if ends else None
        self.taint = int(ends[-1].group(2)) if ends else None

    def is_emulators_fault(self):
        """Returns whether QEMU is to blame: the guest hung before its first program, or it died of
        a patched instruction, or its tests failed with a wrong clock, or QEMU itself hung.

        The first three happen with multi-threaded TCG on rare occasions, mostly early in the boot.
        QEMU hangs when a VGA screen is dumped while the guest resets the device: each waits for
        the other.
        """
        # KUnit's tests run before the first program: if one hangs, QEMU is not to blame.
        early = self.timed_out and BEGUN not in self.console and TESTING not in self.console
        stale = self.status is None and STALE_BREAKPOINT.search(self.console) is not None
        wrong_clock = self.status != 0 and WRONG_CLOCK.search(self.console) is not None
        return early or stale or wrong_clock or self.qemu_hung

    def problems(self):
        """Returns all that is wrong with the run itself, apart from the results of the job."""
        found = list(splat.find(self.console, self.allow)) + self.device_problems
        if self.qemu_hung:
            found.append("QEMU did not answer its monitor")
        elif self.timed_out:
            found.append(f"the guest did not end within its {self.seconds:.0f} s: where its "
                         f"CPUs are is in {os.path.join(self.directory, hung.CPUS)}")
        elif self.status is None:
            found.append("the guest ended before its job")
        if self.taint is not None:
            found += splat.unexpected_taint(self.taint, self.allow_taint)
        return found


def clean(path):
    """Returns a serial log without carriage returns."""
    with open(path, errors="replace", newline="", encoding="utf-8") as file:
        return file.read().replace("\r", "")


def qemu(kernel, guest, scenario, directory, append, screens, disk=None):
    """Returns QEMU's command line. Without a service for the screen the guest is interactive.

    In the directory of the run is the job; the initramfs and the console are put there.
    """
    spec = SCENARIOS[scenario]
    # No blinking cursor: tests look at pixels, and count commands.
    arguments = ["console=ttyS0", "panic=-1", "vt.global_cursor_default=0",
                 "loglevel=7" if screens else "quiet", spec.get("append", ""), *append]
    command = ["qemu-system-x86_64", "-M", "q35", "-accel", spec.get("accel", accelerator()),
               "-cpu", "max,la57=off",
               "-m", "2G", "-smp", str(spec.get("smp", 2)), "-nodefaults", "-no-user-config",
               *(xvfb.DISPLAY if "window" in spec else ["-display", "none"]),
               "-no-reboot", "-msg", "timestamp=on", "-kernel", kernel.image,
               "-initrd", initrd(kernel, guest, spec, directory),
               "-append", " ".join(filter(None, arguments)), *disks(kernel, guest, spec, directory),
               *(namespace(4, disk, "off") if disk else [])]
    for number, file in enumerate((kernel.image, guest.initramfs) if "kexec" in spec else (), 5):
        command += namespace(number, file, "on")
    command += spec.get("machine", [])
    if spec["gpu"]:
        command += ["-device", f"{spec['gpu']},id={screen.DEVICE}"]
    if not screens:
        return command + ["-serial", "mon:stdio", "-serial", "null"]
    console = os.path.join(directory, screen.CONSOLE)
    return command + ["-serial", f"file:{console}", "-chardev", "stdio,id=job,signal=off",
                      "-serial", "chardev:job", *screens.arguments()]


def initrd(kernel, guest, spec, directory):
    """Returns the initramfs, with the modules that it loads in this machine."""
    if "load" not in spec:
        return guest.initramfs
    path = os.path.join(directory, "initramfs.cpio")
    initramfs.write(path, guest.initramfs, kernel, spec["load"].split())
    return path


def disks(kernel, guest, spec, directory):
    """Returns QEMU's arguments for what all guests have: root, medium and job."""
    files = (guest.image, kernel.medium, os.path.join(directory, JOB))
    if spec.get("disks") == "virtio":
        return [word for number, file in enumerate(files, 1) for word in
                ("-drive", f"if=none,id=disk{number},format=raw,snapshot=on,file={file}",
                 "-device", f"virtio-blk-pci,drive=disk{number},serial={number}")]
    return ["-device", "nvme,id=nvme0,serial=0",
            *(word for number, file in enumerate(files, 1)
              for word in namespace(number, file, "on"))]


def namespace(number, file, snapshot):
    """Returns QEMU's arguments for a namespace of the disk. A snapshot forgets what is written."""
    return ["-drive", f"if=none,id=disk{number},format=raw,snapshot={snapshot},file={file}",
            "-device", f"nvme-ns,drive=disk{number},bus=nvme0,nsid={number}"]


def heads(scenario):
    """Returns how many screens the machine has."""
    gpu = SCENARIOS[scenario]["gpu"]
    found = re.search(r"\bmax_outputs=(\d+)", gpu or "")
    return int(found.group(1)) if found else int(bool(gpu))


def service(root, directory, scenario):
    """Returns the service for the screens of a guest, with the guest's own device if it has one."""
    spec = SCENARIOS[scenario]
    if "device" in spec:
        return device.Screens(root, directory, spec["heads"], spec["device"])
    if "window" in spec:
        return xvfb.Screens(root, directory)
    return screen.Service(root, directory, heads(scenario))


def argv(root, scenario, command):
    """Returns the command line that runs QEMU in the root that has what the machine needs."""
    return xvfb.argv(command) if "window" in SCENARIOS[scenario] else root.argv(command)


def new_run(name):
    """Makes a directory for the files of one run."""
    runs = cache.path("runs")
    os.makedirs(runs, exist_ok=True)
    with cache.lock("runs"):
        cache.prune(runs, KEEP_RUNS)
        directory = os.path.join(runs, f"{time.strftime('%H%M%S')}-{os.getpid()}-{name}")
        number = 0
        while os.path.exists(f"{directory}-{number}"):
            number += 1
        os.makedirs(f"{directory}-{number}")
    return f"{directory}-{number}"


def write_job(path, script):
    """Writes the job as a disk: the text, padded with zero bytes to whole blocks."""
    data = script.encode() + b"\n"
    with open(path, "wb") as file:
        file.write(data + bytes(-len(data) % 4096))


def boot(kernel, guest, scenario, script, timeout=120, echo=None, append=(), disk=None):
    """Boots a guest, runs a shell script in it as root and returns the result.

    The timeout is for all of it, in seconds, or two of them: for all, and for how long the guest
    may print nothing. With a disk, which the script can write to, it is for how long the guest may
    neither print nor write. What the job prints is seen at once, after `echo` in each line, unless
    that is None. When QEMU is to blame for a bad end, the run is repeated once, unless the script
    may have written to the disk.
    """
    if scenario not in SCENARIOS:
        raise Failure(f"there is no scenario '{scenario}'", "one of " + ", ".join(SCENARIOS))
    limits = timeout if isinstance(timeout, tuple) else (timeout, math.inf)
    if disk:
        limits = (math.inf, timeout)
    result = Run(kernel, guest, scenario, append, disk).execute(script, limits, echo)
    if result.is_emulators_fault() and (not disk or BEGUN not in result.console):
        say("   QEMU hung, ran a stale breakpoint or had a wrong clock "
            f"({result.console_file}), once more")
        result = Run(kernel, guest, scenario, append, disk).execute(script, limits, echo)
    return result


class Run:
    """One run of a guest: the directory with its files, QEMU, and the service for its screen."""

    def __init__(self, kernel, guest, scenario, append, disk):
        self.kernel = kernel
        self.scenario = scenario
        self.directory = new_run(f"{kernel.name}-{scenario}")
        self.job, self.console, self.output, self.log = (
            os.path.join(self.directory, name)
            for name in (JOB, screen.CONSOLE, "output.log", screen.LOG))
        self.screens = service(kernel.root, self.directory, scenario)
        self.command = qemu(kernel, guest, scenario, self.directory, append, self.screens, disk)
        # A guest that changes these files is not silent.
        self.signs = [self.output, disk] if disk else [self.output]

    def execute(self, script, limits, echo):
        """Boots the guest once."""
        write_job(self.job, script)
        cache.write(self.console, "")
        start = time.monotonic()
        with open(self.log, "w", encoding="utf-8") as log:
            log.write(" ".join(self.command) + "\n")
            log.flush()
            with subprocess.Popen(argv(self.kernel.root, self.scenario, self.command),
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                                  pass_fds=self.screens.descriptors()) as process:
                timed_out = self.attend(process, limits, echo, cache.key(script))
        result = Result(self.directory, self.scenario, time.monotonic() - start, timed_out,
                        self.screens)
        if process.returncode and not timed_out and not self.screens.hung:
            raise Failure(f"QEMU returned {process.returncode}",
                          "RUST_GPU_ACCEL=tcg if it ran with KVM", self.log)
        return result

    def look(self):
        """How far the guest is, if it runs tests."""
        return tap.under_way(clean(self.output) if os.path.exists(self.output) else "")

    def attend(self, process, limits, echo, key):
        """Copies what the guest prints and answers its requests, until QEMU ends.

        The key is that of the script. Returns whether the guest's time was over: then it writes
        down where the guest's CPUs are.
        """
        priority.run_first(process.pid)
        self.screens.start(process)
        reader = threading.Thread(target=copy_output, args=(process.stdout, self.output, echo))
        reader.start()
        with activity("guest", self.look, f"guest {self.kernel.name} {self.scenario} {key}"):
            try:
                timed_out = wait(process, limits, self.console, self.signs)
                if timed_out:
                    hung.examine(self.screens)
            finally:
                kill(process)
        reader.join()
        self.screens.stop()
        return timed_out


def begins(process, limits, console):
    """Waits until the guest starts its first program. Returns False if it hangs before."""
    end = time.monotonic() + min(*limits, BOOT)
    while BEGUN not in clean(console):
        try:
            process.wait(1)
            return True
        except subprocess.TimeoutExpired:
            if time.monotonic() > end:
                return False
    return True


def wait(process, limits, console, signs):
    """Waits for QEMU to end. Returns whether its time is over.

    The limits are for all of it, and for the time in which none of the files `signs` changes.
    """
    if not begins(process, limits, console):
        return True
    start = time.time()
    while True:
        changed = max(start, *(os.path.getmtime(file) for file in signs))
        left = min(start + limits[0], changed + limits[1]) - time.time()
        if left <= 0:
            return True
        try:
            process.wait(left)
            return False
        except subprocess.TimeoutExpired:
            pass


def kill(process):
    """Kills QEMU, unless it has ended."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.wait()


def copy_output(pipe, path, echo):
    """Copies the job's output to a file, and to the terminal, after `echo`, unless that is None."""
    with open(path, "wb") as file:
        for line in pipe:
            file.write(line)
            file.flush()
            if echo is not None and not line.startswith(b"@guest "):
                progress.write(echo + line.decode(errors="replace").replace("\r", ""))


def shell(kernel, guest, scenario):
    """Boots a guest with its console on the terminal."""
    directory = new_run(f"{kernel.name}-shell")
    write_job(os.path.join(directory, JOB), "")
    say("== guest: exit or Ctrl-A X ends it, Ctrl-A C is QEMU's monitor")
    command = qemu(kernel, guest, scenario, directory, ["rust_gpu.shell", "kunit.enable=0"],
                   None)
    subprocess.run(argv(kernel.root, scenario, command), check=False)


def explain(result):
    """Prints what is wrong with a run, and the end of its console."""
    for line in result.problems():
        say(f"   {line}")
    say(f"-- end of {result.console_file}")
    for line in tail(result.console_file):
        say(f"   {line}")
