# SPDX-License-Identifier: GPL-2.0
"""Old names and unclear phrases that tools/names.txt lists: none of them comes back."""

import fnmatch
import os
import re
from collections import namedtuple

from . import cache

LIST = "tools/names.txt"
SUFFIXES = (".rs", ".c", ".h", ".py", ".sh", ".md", ".rst", ".patch", ".config", "Makefile",
            "Kbuild", "Kconfig")
# What begins a line of a comment, in all languages that the project is written in.
LEADER = re.compile(r"^[ \t]*(?://[/!]?|/?\*+(?![/\w])|#(?=\s|$))?[ \t]*", re.M)

# `allowed` is a list of (line, glob, reason).
Rule = namedtuple("Rule", "line source pattern instead allowed")


def parse(text):
    """The rules of a list, and what is wrong with the list: lines of text."""
    rules, wrong = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("    except "):
            globs, colon, reason = line.strip().removeprefix("except ").partition(": ")
            if not rules or not colon or not reason.strip():
                wrong.append(f"{LIST}:{number}: not `except GLOB...: REASON` below a pattern")
            else:
                rules[-1].allowed.extend((number, glob, reason) for glob in globs.split())
            continue
        source, arrow, instead = (part.strip() for part in line.partition(" => "))
        try:
            # A space is any white space: so a phrase may be broken over two lines.
            pattern = re.compile(source.replace(" ", r"\s+"), re.M)
        except re.error as error:
            wrong.append(f"{LIST}:{number}: {source}: {error}")
            continue
        if not arrow or not source or not instead:
            wrong.append(f"{LIST}:{number}: not `PATTERN => WHAT TO WRITE INSTEAD`")
            continue
        rules.append(Rule(number, source, pattern, instead, []))
    return rules, wrong


def check(listed, sources):
    """What is wrong in some sources, name -> text, and with the list itself: lines of text."""
    rules, found = parse(listed)
    used = set()
    for name, text in sorted(sources.items()):
        here = []
        for rule, line, words in matches(rules, readable(name, text)):
            allowed = {(number, glob) for number, glob, _ in rule.allowed
                       if fnmatch.fnmatchcase(name, glob)}
            used |= allowed
            if not allowed:
                here.append((line, f"{name}:{line}: '{words}' => {rule.instead} "
                                   f"({LIST}:{rule.line}: {rule.source})"))
        found += [message for _, message in sorted(here)]
    for rule in rules:
        found += [f"{LIST}:{line}: {rule.source} is not in {glob} any more: take it off the list"
                  for line, glob, _ in rule.allowed if (line, glob) not in used]
    return found


def matches(rules, text):
    """Where a text has what the rules are about: each (rule, line, words)."""
    for rule in rules:
        for match in rule.pattern.finditer(text):
            words = " ".join(match.group().split())
            yield rule, text.count("\n", 0, match.start()) + 1, words


def readable(name, text):
    """A text without the leaders of its comments, line by line; of a patch what it adds."""
    if name.endswith(".patch"):
        message, rule, hooks = text.partition("\n---\n")
        added = [line[1:] if line.startswith("+") and not line.startswith("+++") else ""
                 for line in (rule + hooks).split("\n")]
        text = message + "\n".join(added)
    return LEADER.sub("", text)


def texts(paths):
    """The sources, scripts, documents and hooks among some files: name -> text."""
    found = {}
    for path in paths:
        with open(path, "rb") as file:
            content = file.read()
        if path.endswith(SUFFIXES) or content.startswith(b"#!"):
            found[os.path.relpath(path, cache.REPO)] = content.decode()
    return found


def failures():
    """What the check does not find, or finds though it is right: lines of text."""
    listed = ("# Made up.\n"
              "\\bfn old\\b => new()\n"
              "the old way => the new way\n"
              "    except a.rs b/*: rewritten soon\n")
    name_red = f"=> new() ({LIST}:2: \\bfn old\\b)"
    way_red = f"=> the new way ({LIST}:3: the old way)"
    cases = {
        ("c.rs", "fn a() {}\n  fn  old() {}"): [f"c.rs:2: 'fn old' {name_red}"],
        ("c.rs", "fn older() {} // old way"): [],
        ("c.rs", "//! This is the\n//! old way."): [f"c.rs:1: 'the old way' {way_red}"],
        ("c.h", "/*\n * Do it the old\n * way */"): [f"c.h:2: 'the old way' {way_red}"],
        ("c.patch", "a\n---\n the old way\n-fn old\n+fn old\n+++ fn old"):
            [f"c.patch:5: 'fn old' {name_red}"],
    }
    allowed = {"a.rs": "the old way", "b/c.rs": "the old way"}
    for (name, text), expected in cases.items():
        found = check(listed, {**allowed, name: text})
        if found != expected:
            yield f"{name}: {text!r} gives {found}"
    found = check(listed, {"a.rs": "the old way"})
    if found != [f"{LIST}:4: the old way is not in b/* any more: take it off the list"]:
        yield f"an exception that nothing needs gives {found}"
    for wrong in ("a", "a => ", "( => b", "    except a.rs: why", "a => b\n    except a.rs"):
        if not parse(wrong)[1]:
            yield f"nothing is wrong with the list {wrong!r}"
