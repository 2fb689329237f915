# SPDX-License-Identifier: GPL-2.0
"""Runs desktops in Debian guests that differ in the GPU's driver only, and compares the screens."""

import re
import threading
import time

from . import bootpath, debian, installed, machine, splat
from .qmp import Refused
from .stage import Failure, say

# The kernel's argument that gives the GPU to a driver, and the name under which that is seen.
DRIVERS = {"c": ("virtio_gpu_driver=c", bootpath.C_DRIVER),
           "rust": ("virtio_gpu_driver=rust", bootpath.OURS)}
# Without the kernel's messages on the console, and with the splash also where one is serial.
QUIET = "quiet splash plymouth.ignore-serial-consoles"
# The part of a picture's pixels that are the same with both drivers.
SAME = 0.99
# Seconds in which a screen changes after a key, and those after which it counts as at rest.
CHANGE = 600
REST = 6
# The part of the splash that is background.
SPLASH = 0.9
# The background of desktops and of the splash. In sway the terminal is as large as the screen.
BACKGROUND = "204060"
USER, PASSWORD = "user", "debian"
# name, what starts it, typed at the prompt of a shell, the process that ends it, the background.
SESSIONS = [
    ("sway", "sway >/tmp/sway.log 2>&1", "sway", None),
    ("weston", "weston --renderer=gl >/tmp/weston.log 2>&1", "weston", BACKGROUND),
    ("xorg", "startx >/tmp/xorg.log 2>&1", "openbox", BACKGROUND),
]
# The session in which the system sleeps, and how. No alarm ends the idle sleep.
SLEEPER = "sway"
SLEEP = """
alarm=/sys/class/rtc/rtc0/wakealarm
echo 0 >$alarm
echo +10 >$alarm
echo mem >/sys/power/state
"""
# Keys of characters, where they are not the character itself.
KEYS = {" ": "spc", "\n": "ret", "-": "minus", "/": "slash", ".": "dot", "=": "equal",
        ">": "shift-dot", "&": "shift-7", "_": "shift-minus"}
# What differs from run to run in a line of the journal.
VARIABLE = re.compile(r"0x[0-9a-f]+|\d+")
# Lines about how slow the host is, and about the GPU by its driver's own name.
ABOUT_HOST = re.compile(r"clocksource|calibration|hogged CPU|hrtimer: interrupt took|sched_clock|"
                        r"perf: interrupt took|Clock change detected|timed out waiting for udev|"
                        r"hpet: Lost \d+ RTC interrupts")
JOURNAL = "journalctl -b -p warning --no-pager -o cat"


def equal_part(one, other):
    """The part of the pixels that two pictures share."""
    if (one.width, one.height) != (other.width, other.height):
        return 0.0
    same = 0
    for row in range(one.height):
        left, right = (picture.pixels[row * picture.pitch:][:3 * picture.width]
                       for picture in (one, other))
        if left == right:
            same += one.width
        else:
            same += sum(left[at:at + 3] == right[at:at + 3] for at in range(0, len(left), 3))
    return same / (one.width * one.height)


def is_splash(picture):
    """Whether it is plymouth's splash: its background, and at the sides nothing else."""
    colour = bytes.fromhex(BACKGROUND)
    side = colour * (picture.width // 4)
    for row in range(picture.height):
        line = picture.pixels[row * picture.pitch:][:3 * picture.width]
        if not line.startswith(side) or not line.endswith(side):
            return False
    return picture.pixels.count(colour) >= SPLASH * picture.width * picture.height


class Splash(threading.Thread):
    """Takes pictures of plymouth's splash while a guest boots, some seconds apart; a context.

    With a size, pictures of this size may be black: a new console sets its mode before plymouth
    draws.
    """

    def __init__(self, desktop, pause=1, black=None):
        super().__init__()
        self.desktop = desktop
        self.pause = pause
        self.black = black
        self.over = threading.Event()
        # For each picture whether it is the splash; None if it is black and may be. All of them are
        # kept for people.
        self.shown = []
        # The sizes of those that are.
        self.sizes = set()

    def run(self):
        """The thread."""
        last = None
        while not self.over.wait(self.pause):
            try:
                picture = self.desktop.look(f"boot-{len(self.shown):03}")
            except (Refused, OSError, EOFError):
                continue
            self.shown.append(is_splash(picture))
            if (picture.width, picture.height) == self.black and not picture.pixels.strip(b"\0"):
                self.shown[-1] = None
            if self.shown[-1]:
                last = picture
                self.sizes.add((picture.width, picture.height))
        if last:
            self.desktop.pictures["splash"] = last

    def __enter__(self):
        self.start()

    def __exit__(self, *_exception):
        # From the first picture of the splash to the last nothing else may be seen.
        self.over.set()
        self.join()
        found = [number for number, shown in enumerate(self.shown) if shown]
        between = range(min(found), max(found)) if found else []
        others = [number for number in between if self.shown[number] is False]
        black = sum(self.shown[number] is None for number in between)
        self.desktop.count(bool(found) and not others,
                           f"plymouth's splash is on {len(found)} pictures of {len(self.shown)} "
                           f"during the boot, and nothing else between ({black} black); but on "
                           f"{others}")


class Desktop:
    """A guest with a driver: what its screen has shown, by name."""

    def __init__(self, tally, guest, driver):
        self.tally = tally
        self.guest = guest
        self.driver = driver
        # The GPU whose screen is looked at.
        self.device = machine.DEVICE
        self.pictures = {}
        self.journal = []

    def count(self, ok, name):
        """Counts a result and says it."""
        say(f"   {'ok' if ok else 'FAILED'}: {self.driver}: {name}")
        self.tally.count(ok, f"guest: {self.driver}: {name}")

    def type(self, text):
        """Types text."""
        self.guest.keys(*(KEYS.get(character, character) for character in text))

    def look(self, name):
        """Takes a picture."""
        return self.guest.picture(f"{self.driver}-{name}", device=self.device)

    def rest(self, name, before=None, corner=None):
        """Waits until the screen shows something else than `before`, and no change any more.

        With a colour it also has to be in the corner at the bottom, where a desktop has nothing
        but its background.
        """
        end = time.monotonic() + CHANGE
        last = None
        while True:
            picture = self.look(name)
            differs = (before is None or picture.pixels != before.pixels) and \
                corner in (None, picture.pixel(2, picture.height - 3))
            if differs and last is not None and picture.pixels == last.pixels:
                break
            if time.monotonic() > end:
                break
            last = picture
            time.sleep(REST)
        self.count(differs, f"{name}: the screen changes")
        self.pictures[name] = picture
        return picture

    def until(self, script, what, seconds=CHANGE):
        """Waits until a script succeeds in the guest."""
        end = time.monotonic() + seconds
        while self.guest.run(script)[0]:
            if time.monotonic() > end:
                raise Failure(f"{what} did not come within {seconds} s with {self.driver}",
                              f"pictures in {self.guest.directory}", self.guest.output)
            time.sleep(2)

    def login(self):
        """Logs in at the console's prompt."""
        self.until("pgrep -t tty1 agetty", "a prompt on the console")
        prompt = self.rest("prompt")
        self.type(f"{USER}\n")
        self.until("pgrep -x login", "a question for the password")
        time.sleep(REST)
        self.type(f"{PASSWORD}\n")
        self.until(f"pgrep -u {USER} -t tty1 bash", "a shell")
        self.rest("shell", prompt)

    def session(self, name, command, process, corner):
        """Starts a session from the shell, types in its terminal, and ends it."""
        before = self.look("before")
        self.type(f"clear\n{command}\n")
        self.until(f"pgrep -u {USER} -x {process}", name)
        self.terminal(name, process, corner)
        if name == SLEEPER:
            self.sleep(name)
        self.guest.ask(f"pkill -u {USER} -x {process}")
        self.until(f"! pgrep -u {USER} -x {process}", f"the end of {name}")
        time.sleep(REST)
        self.type("clear\n")
        self.rest(f"{name}-ended", before)

    def sleep(self, name):
        """Lets the system sleep in RAM, until the alarm of its clock."""
        before = self.look(f"{name}-awake")
        self.guest.ask(SLEEP)
        after = self.rest(f"{name}-slept")
        part = equal_part(after, before)
        self.count(part >= SAME,
                   f"{name}: {100 * part:.2f} % of the pixels are as before the sleep")

    def terminal(self, name, process, corner):
        """Types in the terminal of a session. Keys are lost until it has the focus."""
        self.guest.ask("rm -f /tmp/typed")
        end = time.monotonic() + CHANGE
        while self.guest.run("test -e /tmp/typed")[0]:
            self.guest.ask(f"pgrep -u {USER} -x {process}")
            if time.monotonic() > end:
                self.look(f"{name}-dead")
                raise Failure(f"{name} takes no keys with {self.driver}",
                              f"the pictures in {self.guest.directory}")
            # Commands of tools/guest/debian/desktop.sh: touch a file, clear the screen, list files.
            self.type("\nt\n")
            time.sleep(2 * REST)
        self.type("c\n")
        idle = self.rest(name, None, corner)
        self.type("l\n")
        self.rest(f"{name}-typed", idle, corner)

    def manager(self):
        """lightdm: the greeter, a password, a session, another terminal and back, log out."""
        before = self.look("before")
        self.guest.ask("systemctl start lightdm")
        self.until("pgrep -f lightdm-gtk-greeter", "lightdm's greeter")
        greeter = self.rest("greeter", before, BACKGROUND)
        self.type(f"{PASSWORD}\n")
        self.until(f"pgrep -u {USER} -x openbox", "a session of lightdm")
        self.terminal("lightdm", "openbox", BACKGROUND)
        session = self.look("session")
        self.guest.keys("ctrl-alt-f2")
        self.rest("lightdm-away", session)
        self.guest.keys("ctrl-alt-f7")
        back = self.rest("lightdm-back", None, BACKGROUND)
        self.count(equal_part(back, session) >= SAME, "lightdm: the session is back on its VT")
        self.guest.ask(f"pkill -u {USER} -x openbox")
        self.until("pgrep -f lightdm-gtk-greeter", "lightdm's greeter after the session")
        again = self.rest("greeter-again", back, BACKGROUND)
        self.count(equal_part(again, greeter) >= SAME, "lightdm: the greeter is back")
        self.guest.ask("systemctl stop lightdm")

    def driver_is(self, wanted):
        """Counts whether the GPU has a driver."""
        right, found = bootpath.has_driver(self.guest, wanted)
        self.count(right, f"the GPU's driver is {wanted}: {found}")

    def clean(self):
        """Counts whether the kernel's log is clean, and keeps the journal's warnings."""
        self.journal = self.guest.ask(JOURNAL).splitlines()
        splats = list(splat.find(self.guest.ask("dmesg")))
        self.count(not splats, f"a clean kernel log {splats}")

    def run(self):
        """All of it."""
        self.login()
        for session in SESSIONS:
            self.part(session[0], self.session, *session)
        self.part("lightdm", self.manager)

    def part(self, name, function, *arguments):
        """Runs a part. If it fails, the others still run."""
        try:
            function(*arguments)
        except (Failure, Refused) as failure:
            if isinstance(failure, machine.Dead):
                raise
            self.count(False, f"{name}: {failure}")
            for line in self.guest.run(f"tail -n 20 /tmp/{name}.log")[1].splitlines():
                say(f"      {line}")


def compare(tally, c_run, ours):
    """Compares what the screens have shown, and the journals."""
    for name, picture in c_run.pictures.items():
        part = equal_part(picture, ours.pictures[name]) if name in ours.pictures else 0.0
        say(f"   {name}: {100 * part:.2f} % of the pixels are the same with both drivers")
        tally.count(part >= SAME, f"guest: {name}: {100 * part:.2f} % of the pixels are the same")
    known = {VARIABLE.sub("N", line) for line in c_run.journal}
    more = [line for line in ours.journal
            if VARIABLE.sub("N", line) not in known and not ABOUT_HOST.search(line)]
    for line in more:
        say(f"   only with this driver: {line}")
    tally.count(not more, f"guest: {len(more)} warnings that C's run lacks: {more[:3]}")


def desktops(tally, disk, directory, driver):
    """Boots a disk with a driver, and runs all desktops on it."""
    argument, wanted = DRIVERS[driver]
    with disk.machine(f"debian-{driver}", directory, append=f"{QUIET} {argument}") as guest:
        say(f"   pictures in {guest.directory}")
        desktop = Desktop(tally, guest, driver)
        with Splash(desktop):
            guest.ready()
        desktop.driver_is(wanted)
        desktop.run()
        desktop.clean()
        # The end of the block kills QEMU: it does not switch off a machine that has slept,
        # whichever driver the GPU has.
    return desktop


def with_both(tally, root, disk, folder, log, run):
    """Runs a guest with the C driver and with this one on the same disk, and compares.

    `run` gets tally, disk, a directory and the driver, and returns the guest's desktop.
    """
    disk = installed.get(root, disk, folder, log)
    with debian.scratch() as directory:
        compare(tally, *(run(tally, disk, directory, driver) for driver in ("c", "rust")))


def steps(*arguments):
    """Runs the desktops."""
    with_both(*arguments, desktops)
