# SPDX-License-Identifier: GPL-2.0
"""A guest as people have it: Debian on a virtio disk, controlled from outside while it runs.

The kernel's console is the first serial port. On the second one the guest's agent
(tools/guest/debian/agent) runs what the host sends.
"""

import base64
import os
import re
import socket
import subprocess
import time

from . import cache, priority, vm
from .picture import Picture
from .progress import Status
from .qmp import Lines, Monitor
from .stage import Failure, activity, say, tail

DEVICE = "gpu0"
GPU = "virtio-vga"
# Seconds for a boot and for a script, on a host without KVM that has much else to do.
BOOT = 1200
SCRIPT = 600
READY = re.compile(r"^@guest ready (\S+)$")
# In front of it may be a line that the script has not ended.
END = re.compile(r"^(.*)@guest exit=(\d+)$")


class Dead(Failure):
    """A guest that does not answer any more, or not in its time."""


class Machine:
    """A running guest; a context, at whose end it is switched off.

    The disk is written to. The medium is the image of a file system that the guest has as
    /dev/disk/by-id/virtio-medium. With `boot`, a kernel and an initramfs, the boot loader on the
    disk is not used. `more` are QEMU's arguments for other devices.
    """

    def __init__(self, root, name, disk, medium=None, boot=None, append="", more=()):
        self.root = root
        self.directory = vm.new_run(name)
        self.console = os.path.join(self.directory, "console.log")
        self.output = os.path.join(self.directory, "output.log")
        self.agent, self.qemus_agent = socket.socketpair()
        self.port, self.qemus_port = socket.socketpair()
        self.lines, self.monitor = Lines(self.agent), Monitor(self.port)
        self.command = [*machine(), *self.display(), *drive("root", disk, "qcow2"),
                        *(drive("medium", medium, "raw,readonly=on") if medium else ()), *more,
                        *(direct(*boot, append) if boot else ()), *self.ports()]
        self.process = None
        self.doing = "starting"

    def display(self):
        """QEMU's arguments for the GPU, and for where its screen is shown."""
        return ["-display", "none", "-device", f"{GPU},id={DEVICE}"]

    def argv(self):
        """The command line that runs QEMU."""
        return self.root.argv(self.command)

    def ports(self):
        """QEMU's arguments for the serial ports and the monitor."""
        return ["-serial", f"file:{self.console}",
                "-chardev", f"socket,id=agent,fd={self.qemus_agent.fileno()}",
                "-serial", "chardev:agent",
                "-chardev", f"socket,id=monitor,fd={self.qemus_port.fileno()}",
                "-qmp", "chardev:monitor"]

    def __enter__(self):
        cache.write(self.console, "")
        descriptors = self.qemus_agent.fileno(), self.qemus_port.fileno()
        log = os.path.join(self.directory, "qemu.log")
        with open(log, "w", encoding="utf-8") as file:
            file.write(" ".join(self.command) + "\n")
            file.flush()
            # pylint: disable-next=consider-using-with # ended in __exit__
            self.process = subprocess.Popen(self.argv(),
                                            stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                            pass_fds=descriptors)
        self.qemus_agent.close()
        self.qemus_port.close()
        priority.run_first(self.process.pid)
        return self

    def __exit__(self, *_exception):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.agent.close()
        self.port.close()

    def look(self):
        """How far the guest is: what it does, and the last line of its console."""
        text = vm.clean(self.console).strip().rpartition("\n")[2]
        return Status(f"{self.doing}; {re.sub(r'[^ -~]+', ' ', text)[-60:]}")

    def read(self, deadline):
        """A line from the agent."""
        try:
            line = self.lines.read(deadline)
        except (EOFError, TimeoutError, OSError) as error:
            raise self.dead() from error
        with open(self.output, "a", encoding="utf-8") as file:
            file.write(line + "\n")
        # Directories of runs that nothing changes are removed after a while.
        os.utime(self.directory)
        return line

    def write(self, script):
        """Sends a script to the agent."""
        try:
            self.lines.write(base64.b64encode(script.encode()).decode())
        except OSError as error:
            raise self.dead() from error

    def dead(self):
        """The failure of a guest that does not answer."""
        return Dead(f"the guest ended or hung while it was {self.doing}",
                    "the end of its console: " + " / ".join(tail(self.console, 3)),
                    self.output if os.path.exists(self.output) else None)

    def ready(self, timeout=BOOT):
        """Waits until the guest has booted; returns the release of its kernel."""
        start = time.monotonic()
        with activity("guest", self.look, "debian boot"):
            release = self.begun(timeout)
            self.settle(timeout)
        say(f"   booted {release} in {time.monotonic() - start:.0f} s")
        return release

    def begun(self, timeout=BOOT):
        """Waits until the guest runs scripts; returns the release of its kernel.

        That is so as soon as its root is mounted.
        """
        self.doing = "booting"
        deadline = time.monotonic() + timeout
        while True:
            found = READY.match(self.read(deadline))
            if found:
                return found.group(1)

    def settle(self, timeout=BOOT):
        """Waits until a guest that runs scripts has booted."""
        # Where the CPU is slow, udev still loads modules when systemd has started all.
        self.run("systemctl is-system-running --wait; udevadm settle --timeout=600", timeout)

    def run(self, script, timeout=SCRIPT):
        """Runs a shell script as root; returns its exit status and what it printed."""
        self.doing = "running " + script.strip().rpartition("\n")[2][:50]
        deadline = time.monotonic() + timeout
        with open(self.output, "a", encoding="utf-8") as file:
            file.write("".join(f"> {line}\n" for line in script.strip().splitlines()))
        self.write(script)
        found = []
        with activity("guest", self.look):
            while True:
                line = self.read(deadline)
                end = END.match(line)
                if end:
                    return int(end.group(2)), "\n".join([*found, end.group(1)])
                found.append(line)

    def ask(self, script, timeout=SCRIPT):
        """Runs a script that has to succeed; returns what it printed."""
        status, output = self.run(script, timeout)
        if status:
            raise Failure(f"'{script.strip()}' returned {status} in the guest",
                          " / ".join(output.splitlines()[-5:]), self.output)
        return output.strip()

    def send(self, script):
        """Starts a script that ends the guest, or restarts it."""
        self.doing = f"running {script}"
        self.write(script)

    def off(self, timeout=SCRIPT):
        """Switches the guest off and waits for that."""
        self.send("systemctl poweroff")
        try:
            with activity("guest", self.look):
                self.process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise Dead("the guest did not switch itself off", "its console",
                       self.console) from error

    def picture(self, name, head=0, device=DEVICE):
        """Takes a picture of a screen, as NAME.png in the directory of the run."""
        base = os.path.join(self.directory, name)
        for kind in ("png", "ppm"):
            self.monitor.execute("screendump", filename=f"{base}.{kind}", format=kind,
                                 device=device, head=head)
        try:
            return Picture(f"{base}.ppm")
        finally:
            os.unlink(f"{base}.ppm")

    def keys(self, *names):
        """Presses keys one after the other, each by QEMU's name; a-b are two at once."""
        for name in names:
            self.monitor.execute("send-key", keys=[{"type": "qcode", "data": key}
                                                   for key in name.split("-")])
            time.sleep(0.2)


def machine():
    """QEMU's arguments for the machine but its GPU: all that can be virtio is virtio."""
    return ["qemu-system-x86_64", "-M", "q35", "-accel", vm.accelerator(), "-cpu",
            "max,la57=off", "-m", "2G", "-smp", "2", "-nodefaults", "-no-user-config",
            "-msg", "timestamp=on",
            "-netdev", "user,id=net0,restrict=on", "-device", "virtio-net-pci,netdev=net0",
            "-device", "virtio-rng-pci", "-device", "virtio-balloon-pci"]


def drive(name, file, how):
    """QEMU's arguments for a disk."""
    return ["-drive", f"if=none,id={name},cache=unsafe,file={file},format={how}",
            "-device", f"virtio-blk-pci,drive={name},serial={name}"]


def direct(kernel, initramfs, append):
    """QEMU's arguments to boot a kernel without a boot loader."""
    return ["-kernel", kernel, "-initrd", initramfs, "-append",
            f"root=/dev/vda1 ro console=tty0 console=ttyS0 {append}"]


def overlay(root, image, disk, log, kind="raw"):
    """Makes a disk with the content of an image, which is not written to."""
    root.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", image, disk], log)
