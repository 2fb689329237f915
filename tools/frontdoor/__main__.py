# SPDX-License-Identifier: GPL-2.0
"""The commands of the front door."""

import argparse
import os
import sys

from . import (bench, buildroot, cache, check, clean, clients, deb, debiantest, dump, guest, host,
               igt, integrate, kernel, lint, source, virgl, vm)
from .scenarios import SCENARIOS
from .stage import Failure, say


def prepare():
    """Prepares what a kernel needs: the host, the build root, the source."""
    host.check()
    root = buildroot.get()
    return root, source.get(root)


def bootable(name, kind=guest.MINIMAL):
    """Returns a kernel and a guest image to boot it with, both up to date."""
    root, tree = prepare()
    image = guest.get(root, kind)
    built = kernel.get(root, tree, name)
    cache.write(cache.path("filled"), "")
    return built, image


def command_kernel(args):
    """Brings kernels up to date."""
    root, tree = prepare()
    for name in args.names:
        say(kernel.get(root, tree, name).output)
    return 0


def command_vm(args):
    """Runs a shell script in a guest."""
    built, image = bootable(args.kernel)
    script = args.script[0] if len(args.script) == 1 else " ".join(args.script)
    append = args.append.split() + ([] if args.kunit else ["kunit.enable=0"])
    result = vm.boot(built, image, args.scenario, script, args.timeout, echo="", append=append)
    say(f"== guest: {result.seconds:.1f} s, console in {result.console_file}")
    if result.problems():
        vm.explain(result)
        return 1
    return result.status


def command_run(args):
    """Boots the guest, loads the driver, prints the report and keeps a picture of the screen."""
    built, image = bootable(args.kernel)
    say(f"== guest: booting Linux with QEMU ({vm.accelerator().split(',', maxsplit=1)[0]})")
    script = ("modprobe rust-gpu && $TESTS/rust_gpu_report && "
              "{ [ ! -e /dev/dri/card0 ] || { $TESTS/rust_gpu_report >/dev/tty1; "
              "/mnt/screendump screen >/dev/null; }; } && modprobe -r rust-gpu")
    result = vm.boot(built, image, args.scenario, script, echo="", append=["kunit.enable=0"])
    say(f"== guest: powered off after {result.seconds:.1f} s, console in {result.console_file}")
    picture = os.path.join(result.directory, "screen.png")
    if os.path.exists(picture):
        say(f"== guest: its screen was {picture}")
    if result.problems() or result.status:
        vm.explain(result)
        raise Failure("the report was not finished",
                      "`make shell` to look into the guest", result.output_file)
    return 0


def command_bench(args):
    """Measures speed and memory on the production kernel."""
    return bench.main(*bootable("production"), args.part or bench.PARTS, args.rounds)


def command_shell(args):
    """Boots a guest with an interactive shell."""
    built, image = bootable(args.kernel)
    vm.shell(built, image, args.scenario)
    return 0


def command_root(args):
    """Runs a command in the build root."""
    host.check()
    argv = buildroot.get().argv(["env", "-C", os.getcwd(), *args.command])
    os.execvp(argv[0], argv)


def command_check(args):
    """Runs the tests of every change."""
    return check.main(args.all, args.only, args.jobs)


def command_igt(args):
    """Runs IGT on the C driver and on this one, and compares."""
    built, image = bootable("production", guest.IGT)
    return igt.main(built, image, args.driver or igt.DRIVERS, args.runs, args.only)


def command_clients(args):
    """Runs modetest, kmscube, Weston and Xorg, and compares the screen with what they drew."""
    built, image = bootable(args.kernel, guest.CLIENTS)
    return clients.main(built, image, args.only or clients.CLIENTS, args.driver, args.minutes)


def command_3d(args):
    """Runs programs that draw with OpenGL on the C driver and on this one, and compares."""
    built, _ = bootable("production", guest.GL)
    return virgl.main(built, args.only or virgl.PARTS, args.driver or igt.DRIVERS, args.record)


def command_deb(args):
    """Makes packages of a kernel, to install in a Debian guest."""
    status = deb.main(*prepare(), args.config and os.path.abspath(os.path.expanduser(args.config)))
    cache.write(cache.path("filled"), "")
    return status


def command_guest(args):
    """Installs the packages of `make deb` in Debian guests, and runs desktops there."""
    return debiantest.main(*prepare(), args.only or debiantest.PARTS, args.debs)


def command_dump(args):
    """Explains a dump of a device that was reset."""
    return dump.main(args.file)


def command_lint(_args):
    """Runs the linters."""
    return lint.main(*prepare())


def command_tree(args):
    """Puts the driver into your own kernel tree."""
    integrate.command_tree(need_kdir(args), bool(os.environ.get("FORCE")))
    return 0


def command_untree(args):
    """Takes the driver out of your own kernel tree."""
    integrate.command_untree(need_kdir(args), bool(os.environ.get("FORCE")))
    return 0


def need_kdir(args):
    """Returns the tree that the user has named."""
    kdir = args.kdir or os.environ.get("KDIR")
    if not kdir:
        raise Failure("no kernel tree given", "make tree KDIR=~/linux")
    return os.path.expanduser(kdir)


def command_clean(_args):
    """Removes builds and logs."""
    clean.built()
    return 0


def command_distclean(_args):
    """Removes the cache."""
    clean.everything()
    return 0


def parser():
    """The command line."""
    top = argparse.ArgumentParser(prog="tools/front", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name, function):
        command = commands.add_parser(name, help=function.__doc__)
        command.set_defaults(function=function)
        return command

    for name, function in (("run", command_run), ("shell", command_shell), ("vm", command_vm)):
        command = add(name, function)
        command.add_argument("--kernel", choices=kernel.KERNELS, default="production")
        command.add_argument("--scenario", choices=SCENARIOS, default="msix3")
        if name == "vm":
            command.add_argument("--timeout", type=float, default=120, help="seconds")
            command.add_argument("--append", default="", help="kernel arguments")
            command.add_argument("--kunit", action="store_true", help="let KUnit suites run")
            command.add_argument("script", nargs="+", help="shell script to run in the guest")
    add("kernel", command_kernel).add_argument("names", nargs="+", choices=kernel.KERNELS)
    add("root", command_root).add_argument("command", nargs=argparse.REMAINDER)
    command = add("check", command_check)
    command.add_argument("--all", action="store_true", help="also the rt and kmemleak kernels")
    command.add_argument("--only", default="", help="only steps with this in their names")
    command.add_argument("--jobs", type=int, default=min(2, os.cpu_count()),
                         help="how many steps run at the same time (%(default)s)")
    add("lint", command_lint)
    command = add("bench", command_bench)
    command.add_argument("--part", choices=bench.PARTS, action="append",
                         help="only this part; can be repeated")
    command.add_argument("--rounds", type=int, default=5,
                         help="how often times are measured with each driver (%(default)s)")
    command = add("igt", command_igt)
    command.add_argument("--driver", choices=igt.DRIVERS, action="append",
                         help="only this driver; the other one's results are older ones")
    command.add_argument("--runs", type=int, default=3,
                         help="how many runs of each driver (%(default)s)")
    command.add_argument("--only", default="",
                         help="tests whose names match this regular expression")
    command = add("clients", command_clients)
    command.add_argument("--kernel", choices=kernel.KERNELS, default="debug")
    command.add_argument("--only", choices=clients.CLIENTS, action="append")
    command.add_argument("--minutes", type=int, default=1,
                         help="how long Weston and Xorg resize their window (%(default)s)")
    command.add_argument("--driver", choices=igt.DRIVERS, default="rust")
    command = add("3d", command_3d)
    command.add_argument("--only", choices=virgl.PARTS, action="append")
    command.add_argument("--driver", choices=igt.DRIVERS, action="append",
                         help="only this driver; can be repeated")
    command.add_argument("--record", action="store_true",
                         help="keep the C driver's results in tools/baseline/3d")
    command = add("deb", command_deb)
    command.add_argument("--config", help="a fragment that is laid over tools/config/deb.config")
    command = add("guest", command_guest)
    command.add_argument("--only", choices=debiantest.PARTS, action="append")
    command.add_argument("--debs", help="a folder with packages, in place of those of `make deb`")
    add("dump", command_dump).add_argument("file", help="a copy of its data, as in devcoredump")
    for name, function in (("tree", command_tree), ("untree", command_untree)):
        add(name, function).add_argument("kdir", nargs="?")
    add("clean", command_clean)
    add("distclean", command_distclean)
    return top


def main():
    """Runs the command that was given."""
    args = parser().parse_args()
    try:
        return args.function(args)
    except Failure as failure:
        failure.report()
        return 1
    except KeyboardInterrupt:
        return 130


sys.exit(main())
