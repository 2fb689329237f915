# SPDX-License-Identifier: GPL-2.0
"""The list of waits: each wait in the sources has a tag, and each tag a row in the document.

A tag is a comment `// WAIT: NAME` in the statement that waits, or above it. What looks like a wait
and is none has `// WAIT: none, REASON`. The row says where, who waits, holding what, how long at
the most, and who ends it. Tests wait as they like.
"""

import os
import re

from . import cache
from .rusttokens import closing, text_at, tokens

DOCUMENT = "Documentation/gpu/rust_gpu.rst"
TITLE = "Waits"
MORE = "rust/kernel/drm"
COLUMNS = 5

# Calls that wait.
CALL = re.compile(r"(\w+_)?wait(_\w+)?|(\w+_)?flush(_\w+)?|join|kthread_stop|[fms]?sleep|"
                  r"schedule_timeout(_\w+)?|read_poll_timeout|synchronize(_s?rcu|_irq)?")
TAG = re.compile(r"//[/!]?\s*WAIT: ([a-z-]+)(.*)")
ROW = re.compile(r"^   \* - ``([a-z-]+)``$")
CELL = re.compile(r"^     - (.*)$")


def more_sources():
    """The sources outside of the driver whose waits are listed: name -> text."""
    found = {}
    for directory, _, files in os.walk(os.path.join(cache.REPO, MORE)):
        for file in files:
            if file.endswith(".rs"):
                path = os.path.join(directory, file)
                found[os.path.relpath(path, cache.REPO)] = cache.read(path)
    return found


def check(sources, document):
    """What is wrong with the waits of some sources, and with the list: lines of text."""
    found, places = [], {}
    for name, text in sorted(sources.items()):
        if "tests" in re.split(r"[/.]", name):
            continue
        lines = text.splitlines()
        for number, line in enumerate(lines, 1):
            tag = TAG.search(line)
            if tag and tag[1] != "none":
                places.setdefault(tag[1], []).append((name, number))
            elif tag and not re.match(r", \w", tag[2]):
                found.append(f"{name}:{number}: not `WAIT: none, REASON`")
        found += [f"{name}:{number}: {word} has no tag `// WAIT: NAME`"
                  for number, word in waits(text) if not has_tag(lines, number)]
    listed, wrong = rows(document)
    found += wrong
    for tag, where in sorted(places.items()):
        if tag not in listed:
            found += [f"{name}:{number}: the wait {tag} is not in {DOCUMENT}"
                      for name, number in where]
    for tag, (number, cells) in listed.items():
        found += [f"{DOCUMENT}:{number}: {tag}: {error}" for error in judge(cells, places.get(tag))]
    return found


def judge(cells, places):
    """What is wrong with a row."""
    if not places:
        return ["no source has this tag"]
    if len(cells) != COLUMNS - 1 or not all(cells):
        return [f"a row has {COLUMNS} cells with text"]
    named, real = set(re.findall(r"``(\S+\.rs)``", cells[0])), {name for name, _ in places}
    return ([f"the tag is not in {name}" for name in sorted(named - real)]
            + [f"the tag is also in {name}" for name in sorted(real - named)])


def waits(text):
    """Every call in a source that waits, outside of tests: each (line, word)."""
    listed, index = tokens(text), 0
    while index < len(listed):
        text, after = listed[index].text, text_at(listed, index + 1)
        if text == "mod" and after == "tests" and text_at(listed, index + 2) == "{":
            index = closing(listed, index + 2) + 1
            continue
        called = after == "(" or after == "::" and text_at(listed, index + 2) == "<"
        if listed[index].kind == "word" and called and text_at(listed, index - 1) != "fn":
            # A function of the driver has this name: only the method waits.
            method = text != "synchronize" or text_at(listed, index - 1) == "."
            if CALL.fullmatch(text) and method:
                yield listed[index].line, text
            if text == "new" and [text_at(listed, index - step) for step in (1, 2)] == [
                    "::", "Completion"]:
                yield listed[index].line, "Completion"
        index += 1


def has_tag(lines, number):
    """Whether the statement with this line has a tag, in it or in the comment above it."""
    if TAG.search(lines[number - 1]):
        return True
    for line in reversed(lines[:number - 1]):
        line = line.strip()
        if TAG.search(line):
            return True
        if not line.startswith("//") and (not line or line.endswith((";", "{", "}"))):
            return False
    return False


def rows(document):
    """The rows of the list, tag -> (line, the other cells), and what is wrong with it."""
    found, wrong, cells, inside = {}, [], [], False
    lines = document.splitlines()
    for number, line in enumerate(lines, 1):
        if number < len(lines) and re.fullmatch(r"=+", lines[number]):
            inside = line == TITLE
        if not inside:
            continue
        row, cell = ROW.match(line), CELL.match(line)
        if row:
            if row[1] in found:
                wrong.append(f"{DOCUMENT}:{number}: {row[1]} is there twice")
            cells = []
            found[row[1]] = number, cells
        elif cell:
            cells.append(cell[1])
        elif line.startswith("       ") and cells:
            cells[-1] += " " + line.strip()
        elif line.startswith("   * -"):
            # The heading, or a row that is none: what follows is not a part of the row before.
            cells = []
    if not found:
        wrong.append(f"{DOCUMENT}: has no list of waits below `{TITLE}`")
    return found, wrong


def failures():
    """What the check does not find, or finds though it is right: lines of text."""
    listed = (f"{TITLE}\n=====\n\n.. list-table::\n\n   * - Name\n     - Where\n"
              "   * - ``room``\n     - ``a.rs``,\n       ``b/c.rs``\n"
              "     - a client\n     - 1 s\n     - the device\n\nNext\n====\n\n   * - ``x``\n")
    here = {"b/c.rs": "// WAIT: room\nf.wait();"}
    no_tag = "has no tag `// WAIT: NAME`"
    cases = {
        "f.wait(); // WAIT: room": [],
        "irq.synchronize(); // WAIT: room\nsynchronize(a);": [],
        "// WAIT: room\n// longer\nlet a = f\n    .b()\n    .wait_for(1)?;": [],
        "// WAIT: room\n\nfn wait(); wait_for; // f.wait();\n\"wait()\"": [],
        "mod tests {\n f.wait();\n}\n// WAIT: room": [],
        "// WAIT: room\n\n// WAIT: none, shows it\npanic::flush(a);": [],
        "// WAIT: room\n// WAIT: none\nflush(a);": ["a.rs:2: not `WAIT: none, REASON`"],
        "// WAIT: room\na();\nf.wait();": [f"a.rs:3: wait {no_tag}"],
        "// WAIT: room\n\nf\n    .wait_x::<u8>(1);": [f"a.rs:4: wait_x {no_tag}"],
        "if a { // WAIT: room\n}\nschedule_timeout(1);": [f"a.rs:3: schedule_timeout {no_tag}"],
        "// WAIT: room\n{}\nflush_work(); t.join();":
            [f"a.rs:3: flush_work {no_tag}", f"a.rs:3: join {no_tag}"],
        "// WAIT: room\n;\nd <- sync::Completion::new(),": [f"a.rs:3: Completion {no_tag}"],
        "// WAIT: room\n// WAIT: other\nf.wait();":
            [f"a.rs:2: the wait other is not in {DOCUMENT}"],
        "": [f"{DOCUMENT}:8: room: the tag is not in a.rs"],
    }
    for source, expected in cases.items():
        found = check({**here, "a.rs": source, "a/tests.rs": "f.wait()"}, listed)
        if found != expected:
            yield f"{source!r} gives {found}"
    tagged = {**here, "a.rs": "f.wait(); // WAIT: room"}
    lists = {
        "": [f"{DOCUMENT}: has no list of waits below `{TITLE}`"],
        listed.replace(",\n       ``b/c.rs``", ""): ["room: the tag is also in b/c.rs"],
        listed.replace("     - 1 s\n", ""): [f"room: a row has {COLUMNS} cells with text"],
        listed.replace("\nNext", "   * - ``room``\n     - a\n\nNext"): ["room is there twice"],
        listed.replace("\nNext", "   * - ``other``\n\nNext"): ["other: no source has this tag"],
    }
    for document, expected in lists.items():
        found = check(tagged, document)
        if not all(any(line in real for real in found) for line in expected):
            yield f"{document!r} gives {found}"
