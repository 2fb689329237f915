# SPDX-License-Identifier: GPL-2.0
"""The build root: a Debian trixie directory with the kernel's toolchain, QEMU and the linters."""

import os
import shutil

from . import cache, host
from .stage import run, stage

BACKPORTS = ["rustc", "rust-src", "rustfmt", "rust-clippy", "cargo"]
PACKAGES = """
    make gcc libc6-dev bc bison flex libelf-dev libssl-dev clang-22 lld-22 llvm-22 libclang-22-dev
    cpio kmod xz-utils zstd python3 perl git rsync patch e2fsprogs shellcheck pylint zbar-tools
    ca-certificates dpkg-dev debhelper
""".split()
# Mixing the suites breaks QEMU's dependencies, so QEMU comes from backports as a whole.
QEMU = ["qemu-system-x86", "qemu-utils"]
# Debian's bindgen breaks with libclang 22, and an older libclang is refused beside clang 22.
BINDGEN = "0.72.1"

# The mirror's index can be past its date; signatures stay checked.
APT_OPTIONS = ["Acquire::Check-Valid-Until=false", "Acquire::Retries=3"]
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"

ENVIRONMENT = {
    "PATH": "/usr/lib/llvm-22/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "TERM": "dumb",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "SSL_CERT_FILE": CERTIFICATES,
    # Nothing in a kernel image depends on when and where it was built.
    "KBUILD_BUILD_TIMESTAMP": "@0",
    "KBUILD_BUILD_USER": "rust_gpu",
    "KBUILD_BUILD_HOST": "rust_gpu",
}
HINT = "run it again; if the mirror is your own, check that it has trixie and trixie-backports"


class BuildRoot:
    """A directory in which commands run, with the cache and the project at their own paths."""

    def __init__(self, path):
        self.path = path

    def argv(self, command, binds=(), env=None):
        """The command line that runs `command` in the build root."""
        paths = [cache.root(), cache.REPO, *binds]
        variables = dict(ENVIRONMENT, CARGO_HOME=cache.path("cargo"), **(env or {}))
        for name in ("http_proxy", "https_proxy", "no_proxy"):
            if name in os.environ:
                variables[name] = os.environ[name]
        return [os.path.join(cache.REPO, "tools/enter-root"), self.path,
                *dict.fromkeys(os.path.realpath(path) for path in paths), "--",
                "env", "-i", *(f"{name}={value}" for name, value in variables.items()), *command]

    def run(self, command, log, hint=None, binds=(), env=None, cwd=None):
        """Runs a command in the build root with its output in `log`."""
        if cwd:
            command = ["env", "-C", cwd, *command]
        run(self.argv(command, binds, env), log, hint)


def key():
    """Returns a key of what the content of the build root depends on."""
    return cache.key(*PACKAGES, *BACKPORTS, *QEMU, BINDGEN, "1")


def get():
    """Returns the build root and makes it first when it is not there."""
    entry = cache.path(f"root-{key()}")
    with cache.lock("buildroot"):
        if not os.path.isdir(entry):
            host.install_packages()
            log = cache.log("buildroot")
            with stage("build root", "Debian trixie, LLVM 22, rustc, QEMU (2-4 minutes)", log), \
                    cache.aside(entry) as new:
                make(new, log)
    return BuildRoot(entry)


def sources(mirror, suites):
    """The apt sources of the build root and of the guests."""
    return [f"deb [signed-by={KEYRING}] {mirror} {suite} main" for suite in suites]


def mmdebstrap(target, variant, packages, mirror, log, suites=("trixie", "trixie-backports")):
    """Makes a Debian directory of the first suite, with packages of all of them."""
    # They become lines of a configuration file, in which values are quoted.
    options = [f'--aptopt={name} "{value}"'
               for name, value in (option.split("=") for option in APT_OPTIONS)]
    for scheme, proxy in host.proxies().items():
        options.append(f'--aptopt=Acquire::{scheme.removesuffix("_proxy")}::Proxy "{proxy}"')
    # With --verbose the log has each package, which tells how far it is.
    run(["mmdebstrap", "--verbose", f"--variant={variant}", "--architectures=amd64",
         "--format=directory", "--include=" + ",".join(packages), *options, suites[0], target,
         *sources(mirror, suites)], log, HINT)


def make(new, log):
    """Makes the build root at `new`."""
    mirror = host.mirror()
    packages = [*PACKAGES, *(f"{name}/trixie-backports" for name in BACKPORTS)]
    mmdebstrap(new, "apt", packages, mirror, log)
    for name in ("/etc/resolv.conf", CERTIFICATES):
        # The certificate authority of a proxy may be in the host's own bundle only.
        if os.path.exists(name):
            shutil.copyfile(name, new + name)
    copy_cargo_config()
    root = BuildRoot(new)
    apt(root, ["-t", "trixie-backports", "install", *QEMU], log)
    with stage("build root", f"bindgen {BINDGEN} from the Rust crate registry (2 minutes)", log):
        root.run(["cargo", "install", "--locked", f"bindgen-cli@{BINDGEN}", "--root",
                  "/usr/local"], log, "check that the Rust crate registry can be reached")


def apt(root, command, log):
    """Runs apt-get in the build root with fresh indices."""
    options = [item for option in APT_OPTIONS for item in ("-o", option)]
    for arguments in (["update"], ["-y", "--no-install-recommends", *command]):
        root.run(["apt-get", *options, *arguments], log, HINT)


def copy_cargo_config():
    """Copies the host's cargo configuration (a registry mirror, a proxy)."""
    home = os.environ.get("CARGO_HOME") or os.path.expanduser("~/.cargo")
    os.makedirs(cache.path("cargo"), exist_ok=True)
    for name in ("config.toml", "config"):
        source = os.path.join(home, name)
        if os.path.exists(source):
            shutil.copyfile(source, cache.path("cargo", "config.toml"))
            return
