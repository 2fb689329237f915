# SPDX-License-Identifier: GPL-2.0
"""Runs kselftests in guests: what the guest runs, and what that knows of its machine."""

import os
import re

from . import cache
from .scenarios import SCENARIOS

COLLECTION = "drivers/gpu/rust_gpu"


def program_limit():
    """Returns the seconds that a program may take."""
    settings = cache.read(os.path.join(cache.REPO, "selftests/settings"))
    return int(re.search(r"^timeout=(\d+)$", settings, re.M).group(1))


def job(scenario, tests, limit=None):
    """Returns the job that runs tests of the collection with the tree's own runner.

    With a limit, the seconds that a program may take, they are thorough.
    """
    arguments = " ".join(f"-t {COLLECTION}:{test}" for test in tests)
    if limit is not None:
        # The time of a program is for quick ones.
        arguments += f" -o {limit}"
    return (f"export {environment(scenario, limit is not None)}\n"
            f"exec /mnt/kselftest/run_kselftest.sh {arguments}")


def environment(scenario, thorough):
    """Returns the environment that tells the tests about their machine, and their time."""
    spec = SCENARIOS[scenario]
    found = ["RUST_GPU_REQUIRED=1", f"RUST_GPU_LONG={int(thorough)}", spec.get("env", "")]
    if "expect" in spec:
        kind, messages = spec["expect"].split()
        found += [f"RUST_GPU_EXPECT_TYPE={kind}", f"RUST_GPU_EXPECT_MESSAGES={messages}"]
    return " ".join(found)
