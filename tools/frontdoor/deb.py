# SPDX-License-Identifier: GPL-2.0
"""Makes Debian packages of a kernel with the driver, to install in a guest of your own."""

import glob
import os
import re
import subprocess
import time

from . import cache, integrate, kernel
from .stage import Failure, say, stage

FRAGMENT = os.path.join(kernel.CONFIGS, "deb.config")
# About as many objects as it has, for the first build.
OBJECTS = 3400
# Of what the tree's bindeb-pkg makes, neither headers for user space nor debugging symbols.
# Its build dependencies include what this configuration does not use: a C++ compiler, libdw.
FLAGS = "--no-check-builddeps --rules-target=binary-image,binary-headers"
PACKAGES = ("linux-image", "linux-headers")
# A line of a fragment: a setting, a comment or nothing.
LINE = re.compile(r"CONFIG_\w+=\S+|CONFIG_\w+=\".*\"|#.*|\s*")


class Package(kernel.Kernel):
    """The kernel whose packages are made. The tree's make leaves them beside its output."""

    def __init__(self, root, source, name="deb", config=None):
        super().__init__(root, source, name, fragments(config))
        self.where = config or self.where
        self.beside = self.output
        self.output = os.path.join(self.beside, "build")


def folder():
    """Where the packages are."""
    return cache.path("deb")


def debs():
    """The packages that were made last."""
    return sorted(glob.glob(os.path.join(folder(), "*.deb")))


def fragments(config):
    """Returns the text of the fragment and of the user's own, which wins."""
    text = cache.read(FRAGMENT)
    if not config:
        return text
    own = cache.read(config)
    if own is None:
        raise Failure(f"there is no {config}", "make deb CONFIG=/path/to/fragment")
    for line in own.splitlines():
        if not LINE.fullmatch(line):
            raise Failure(f"{config} has the line '{line}'",
                          "lines such as CONFIG_NFS_FS=m, CONFIG_XFS_FS=n, or # and a comment")
    return f"{text}\n{own}\n"


def version(source):
    """Returns the packages' version. It rises with each commit of this repository."""
    return f"{integrate.release(source.tree)}-{commits() or newest()}"


def commits():
    """Returns how many commits there are, or None where that is not known."""
    def git(*arguments):
        return subprocess.run(["git", "-C", cache.REPO, *arguments], capture_output=True,
                              text=True, check=False)

    # The directory above may be a repository too. A part of the history has too few commits.
    where = git("rev-parse", "--is-shallow-repository", "--show-prefix")
    if where.returncode or where.stdout.splitlines() != ["false", ""]:
        return None
    return git("rev-list", "--count", "HEAD").stdout.strip() or None


def newest():
    """Returns the time of the newest source. As a version it is less than any with commits."""
    say("== packages: without the repository's whole history, their version is the time of the "
        "newest file")
    files = [*integrate.sources().values(), *integrate.patches(), FRAGMENT]
    last = max(os.stat(file).st_mtime for file in files)
    return time.strftime("0.%Y%m%d%H%M%S", time.gmtime(last))


def bring(root, source, config=None):
    """Brings the packages up to date."""
    package = Package(root, source, config=config)
    with kernel.up_to_date(source), cache.lock("deb"):
        name = version(source)
        want = cache.key(kernel.sources_state(root, source), package.config, name)
        done = cache.path("known", "deb")
        if cache.read(done) != want or not debs():
            cold = not os.path.exists(os.path.join(package.output, "vmlinux"))
            doing = "a kernel from nothing, longer than `make run`" if cold else "what changed"
            cache.remove(done)
            cache.remove(package.log)
            with stage("packages", f"{doing}, version {name}", package.log,
                       kernel.progress_of(package, cold, OBJECTS)):
                build(package, name)
            if cold:
                kernel.remember_objects(package)
            cache.write(done, want)


def build(package, name):
    """Configures and builds, and moves the packages into their folder."""
    kernel.configure(package)
    for old in glob.glob(os.path.join(package.beside, "*.deb")):
        cache.remove(old)
    package.make("bindeb-pkg", f"KDEB_PKGVERSION={name}", "KDEB_CHANGELOG_DIST=unstable",
                 "KDEB_COMPRESS=zstd", f"DPKG_FLAGS={FLAGS}",
                 hint="the first error above in the log; `make clean` starts from nothing")
    made = [deb for kind in PACKAGES
            for deb in glob.glob(os.path.join(package.beside, f"{kind}-*_{name}_*.deb"))]
    if len(made) != len(PACKAGES):
        raise Failure(f"{len(made)} packages were made, not {len(PACKAGES)}", log=package.log)
    with cache.aside(folder()) as new:
        os.makedirs(new)
        for deb in made:
            os.rename(deb, os.path.join(new, os.path.basename(deb)))


def main(root, source, config):
    """The command `make deb`."""
    bring(root, source, config)
    for deb in debs():
        say(f"{os.path.getsize(deb) / (1 << 20):7.1f} MB  {deb}")
    say("next: copy them into the guest, and type there as root, in the directory with the "
        "copies")
    say("    dpkg -i " + " ".join(f"./{os.path.basename(deb)}" for deb in debs()))
    return 0
