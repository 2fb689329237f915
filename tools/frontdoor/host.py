# SPDX-License-Identifier: GPL-2.0
"""Checks what the host is and has, and installs what it lacks."""

import os
import shutil
import subprocess
import urllib.error
import urllib.request

from . import cache
from .stage import Failure, run, stage

NEED = 11 << 30
PACKAGES = {
    "mmdebstrap": "/usr/bin/mmdebstrap",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "git": "/usr/bin/git",
    "util-linux": "/usr/bin/unshare",
}


def check():
    """Fails on a host that cannot do it, and says what helps."""
    system = os_release()
    if system.get("ID") != "debian" or system.get("VERSION_ID") not in ("12", "13"):
        raise Failure(
            f"this is {system.get('PRETTY_NAME', 'an unknown system')}, not Debian 12 or 13",
            "a Debian 12 or 13 machine, virtual machine or privileged container; "
            "`make tree KDIR=...` works on any Linux")
    if os.geteuid():
        raise Failure("this needs root: it makes a build root and runs commands in it",
                      "the same command as root, or with sudo")
    check_space()


def check_space():
    """Fails if the cache was never filled and there is no room for it."""
    if os.path.exists(cache.path("filled")):
        return
    existing = cache.root()
    while not os.path.isdir(existing):
        existing = os.path.dirname(existing)
    free = shutil.disk_usage(existing).free
    if free < NEED:
        raise Failure(
            f"{free / (1 << 30):.1f} GB are free below {existing}, {NEED >> 30} GB are needed",
            "RUST_GPU_CACHE=/some/larger/place, or `make distclean` to remove what older runs left")


def os_release():
    """The fields of /etc/os-release."""
    fields = {}
    for line in (cache.read("/etc/os-release") or "").splitlines():
        name, _, value = line.partition("=")
        fields[name] = value.strip('"')
    return fields


def install_packages():
    """Installs what the host itself needs."""
    missing = [name for name, file in PACKAGES.items() if not os.path.exists(file)]
    if not missing:
        return
    log = cache.log("host")
    with stage("host", "apt installs " + " ".join(missing), log):
        env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        hint = "check the network and `apt-get update`"
        run(["apt-get", "update"], log, hint, env=env)
        run(["apt-get", "install", "-y", "--no-install-recommends", *missing], log, hint, env=env)


def mirror():
    """Returns the Debian mirror of the host's own apt configuration; it has to have trixie."""
    listing = index_targets()
    if not listing:
        run(["apt-get", "update"], cache.log("host"), "check the network and /etc/apt")
        listing = index_targets()
    for line in listing:
        site, origin, release = line.split("|")
        if origin == "Debian" and "-" not in release:
            site = site.rstrip("/")
            check_mirror(site)
            return site
    raise Failure("`apt-get indextargets` names no Debian archive",
                  "a Debian archive in /etc/apt/sources.list, then `apt-get update`")


def index_targets():
    """`site|origin|release` of every package index that apt has."""
    output = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)|$(ORIGIN)|$(RELEASE)",
         "Created-By: Packages"], capture_output=True, text=True, check=True).stdout
    return [line for line in output.splitlines() if line]


def check_mirror(site):
    """Fails if the mirror cannot be reached."""
    for name, value in proxies().items():
        os.environ.setdefault(name, value)
    if not site.startswith("http"):
        return
    for suite in ("trixie", "trixie-backports"):
        url = f"{site}/dists/{suite}/Release"
        try:
            with urllib.request.urlopen(url, timeout=20):
                pass
        except (urllib.error.URLError, OSError) as error:
            raise Failure(f"cannot read {url}: {error}",
                          "check the network, http_proxy and the mirror in /etc/apt") from error


def proxies():
    """apt's own proxies, as environment variables."""
    found = {}
    for scheme in ("http", "https"):
        output = subprocess.run(
            ["apt-config", "shell", "PROXY", f"Acquire::{scheme}::Proxy"],
            capture_output=True, text=True, check=True).stdout
        value = output.strip().removeprefix("PROXY=").strip("'\"")
        if value and value != "DIRECT":
            found[f"{scheme}_proxy"] = value
    return found
