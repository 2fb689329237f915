# SPDX-License-Identifier: GPL-2.0
"""Runs pylint on the project's Python code."""

import os
import subprocess

from . import cache


def pylint(root, names):
    """Returns what pylint says about the Python files among `names`."""
    files = [name for name in names if name.endswith(".py")]
    argv = root.argv(["env", "-C", os.path.join(cache.REPO, "tools"), "PYLINTHOME=/tmp",
                      "PYTHONDONTWRITEBYTECODE=1", "pylint", "--rcfile=pylintrc", "--score=no",
                      *files])
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, errors="replace", check=False)
    found = result.stdout.splitlines()
    # Without output it can have failed too, for instance if it is not there.
    return found or [f"pylint returned {result.returncode}"] * bool(result.returncode)
