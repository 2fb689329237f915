# SPDX-License-Identifier: GPL-2.0
"""Explains a dump of the driver, as it is in /sys/class/devcoredump/devcd*/data.

The text can be read as it is. This adds what its numbers mean, and marks what is suspicious.
"""

import re

from .stage import Failure

FIRST = "rust_gpu dump 1"
STATUS = {0x01: "ACKNOWLEDGE", 0x02: "DRIVER", 0x04: "DRIVER_OK", 0x08: "FEATURES_OK",
          0x40: "DEVICE_NEEDS_RESET", 0x80: "FAILED"}
WORKING = 0x0f
FEATURES = {0: "VIRGL", 1: "EDID", 2: "RESOURCE_UUID", 3: "RESOURCE_BLOB", 4: "CONTEXT_INIT",
            28: "RING_INDIRECT_DESC", 29: "RING_EVENT_IDX", 32: "VERSION_1",
            33: "ACCESS_PLATFORM", 34: "RING_PACKED", 35: "IN_ORDER", 36: "ORDER_PLATFORM",
            38: "NOTIFICATION_DATA", 40: "RING_RESET"}
ANSWERS = {0x1100: "OK_NODATA", 0x1101: "OK_DISPLAY_INFO", 0x1102: "OK_CAPSET_INFO",
           0x1103: "OK_CAPSET", 0x1104: "OK_EDID", 0x1200: "ERR_UNSPEC",
           0x1201: "ERR_OUT_OF_MEMORY", 0x1202: "ERR_INVALID_SCANOUT_ID",
           0x1203: "ERR_INVALID_RESOURCE_ID", 0x1204: "ERR_INVALID_CONTEXT_ID",
           0x1205: "ERR_INVALID_PARAMETER"}
FIRST_ERROR = 0x1200
COMMAND = re.compile(r"  command: #\d+ .*: (?:(no answer|lost|done \d+)|(0x[0-9a-f]+) \d+)$")
NODE = re.compile(r"node \w+: message \d+ submitted (\d+) completed (\d+) .*?( stalled)?$")


def names(bits, known):
    """The names of bits: `known` says what each value, or each place, is called."""
    return " ".join(name for value, name in known.items() if bits & value) or "none"


def features(bits):
    """The names of features."""
    return names(bits, {1 << place: name for place, name in FEATURES.items()})


def explain_status(line):
    """The status of the device, before the reset."""
    status = int(line.split()[1], 0)
    if status == 0xff:
        return True, "the device is gone"
    return status != WORKING, names(status, STATUS)


def explain_features(line):
    """What was negotiated, of what the device has."""
    _, driver, _, device = line.split()
    return False, f"used {features(int(driver, 0))}; offered {features(int(device, 0))}"


def explain_node(line):
    """How much of a node is not complete."""
    found = NODE.match(line)
    if not found:
        return True, "not understood"
    submitted, completed = int(found[1]), int(found[2])
    text = f"{submitted - completed} not complete" if submitted != completed else ""
    return bool(found[3]), text


def explain_ring(line):
    """Whether a ring is broken."""
    return not line.endswith(" broken no"), ""


def explain_command(line):
    """What a device has answered to a command, if anything."""
    found = COMMAND.match(line)
    if not found:
        return True, "not understood"
    if found[1]:
        return found[1] == "no answer", ""
    answer = int(found[2], 0)
    name = ANSWERS.get(answer, "no answer of the specification")
    return answer not in ANSWERS or answer >= FIRST_ERROR, name


EXPLAINED = {"status: ": explain_status, "features: ": explain_features, "node ": explain_node,
             "ring ": explain_ring, "  command: ": explain_command}


def explain(text):
    """Yields the lines of a dump: what is suspicious has a mark, and numbers have names."""
    lines = text.splitlines()
    if not lines or lines[0] != FIRST:
        raise Failure("this is no dump of rust_gpu, or one of another version",
                      "a copy of /sys/class/devcoredump/devcd*/data")
    for line in lines[1:]:
        start = next((start for start in EXPLAINED if line.startswith(start)), None)
        try:
            marked, words = EXPLAINED[start](line) if start else (False, "")
        except (ValueError, IndexError):
            marked, words = True, "not understood"
        marked |= line == "truncated"
        yield f"{'!' if marked else ' '} {line}{'   (' + words + ')' if words else ''}"


def main(file):
    """Prints a dump, explained. Returns 0."""
    with open(file, encoding="ascii", errors="replace") as opened:
        for line in explain(opened.read()):
            print(line)
    return 0


def failures():
    """What is explained in another way than it should be: lines of text."""
    cases = {
        "status: 0x4f": "! status: 0x4f   (ACKNOWLEDGE DRIVER DRIVER_OK FEATURES_OK "
                        "DEVICE_NEEDS_RESET)",
        "status: 0x0f": "  status: 0x0f   (ACKNOWLEDGE DRIVER DRIVER_OK FEATURES_OK)",
        "features: 0x100000000 of 0x100000001":
            "  features: 0x100000000 of 0x100000001   (used VERSION_1; offered VIRGL VERSION_1)",
        "node Control: message 1 submitted 9 completed 7 published 7 queued 0 stalled":
            "! node Control: message 1 submitted 9 completed 7 published 7 queued 0 stalled   "
            "(2 not complete)",
        "ring Cursor: size 16 broken no": "  ring Cursor: size 16 broken no",
        "ring Cursor: size 16 broken length": "! ring Cursor: size 16 broken length",
        "  command: #1 fence 2 0x0104 ResourceFlush id 3 len 48: 0x1100 24":
            "    command: #1 fence 2 0x0104 ResourceFlush id 3 len 48: 0x1100 24   (OK_NODATA)",
        "  command: #1 fence 2 0x0104 ResourceFlush id 3 len 48: 0x1203 24":
            "!   command: #1 fence 2 0x0104 ResourceFlush id 3 len 48: 0x1203 24   "
            "(ERR_INVALID_RESOURCE_ID)",
        "  command: #1 fence 2 0x0104 ResourceFlush id 3 len 48: no answer":
            "!   command: #1 fence 2 0x0104 ResourceFlush id 3 len 48: no answer",
        "  command: #1 fence 2": "!   command: #1 fence 2   (not understood)",
        "status: much": "! status: much   (not understood)",
        "truncated": "! truncated",
        "cause: Control queue hangs": "  cause: Control queue hangs",
    }
    for line, expected in cases.items():
        [told] = explain(f"{FIRST}\n{line}\n")
        if told != expected:
            yield f"{told!r} is not {expected!r}"
