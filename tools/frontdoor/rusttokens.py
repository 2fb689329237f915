# SPDX-License-Identifier: GPL-2.0
"""The tokens of a Rust source: comments are left out, strings are one token each."""

import re
from collections import namedtuple

# `kind` is "word", "literal", "lifetime" or "mark"; a mark is one character, or `::`.
Token = namedtuple("Token", "kind text line")

PIECE = re.compile(r"""
    (?P<space>\s+)
  | (?P<comment>//[^\n]*)
  | (?P<block>/\*)
  | (?P<raw>(?:b|c)?r(?P<hashes>\#*)".*?"(?P=hashes))
  | (?P<string>(?:b|c)?"(?:\\.|[^"\\])*")
  | (?P<char>b?'(?:\\u\{[^}]*\}|\\x..|\\.|[^'\\])')
  | (?P<lifetime>'\w+)
  | (?P<number>\d\w*)
  | (?P<word>(?:r\#)?[^\W\d]\w*)
  | (?P<mark>::|.)
""", re.X | re.S)
BLOCK = re.compile(r"/\*|\*/")


def tokens(text):
    """The tokens of a source, in order. What is cut off in the middle is not an error here."""
    found, position, line = [], 0, 1
    while position < len(text):
        match = PIECE.match(text, position)
        kind, end = match.lastgroup, match.end()
        if kind == "block":
            end = block_end(text, position)
        elif kind in ("raw", "string", "char", "number"):
            found.append(Token("literal", match.group(), line))
        elif kind == "word":
            found.append(Token(kind, match.group().removeprefix("r#"), line))
        elif kind in ("lifetime", "mark"):
            found.append(Token(kind, match.group(), line))
        line += text.count("\n", position, end)
        position = end
    return found


def block_end(text, start):
    """Where a block comment ends; there may be others in it."""
    depth = 0
    for match in BLOCK.finditer(text, start):
        depth += 1 if match.group() == "/*" else -1
        if not depth:
            return match.end()
    return len(text)


def text_at(found, index):
    """The text of a token; nothing before the first and after the last."""
    return found[index].text if 0 <= index < len(found) else ""


def closing(found, opening):
    """The index of the bracket that closes the one at `opening`; the end when none does."""
    depth = 0
    for index in range(opening, len(found)):
        token = found[index]
        if token.kind == "mark" and token.text in "([{":
            depth += 1
        elif token.kind == "mark" and token.text in ")]}":
            depth -= 1
            if not depth:
                return index
    return len(found)
