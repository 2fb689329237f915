# SPDX-License-Identifier: GPL-2.0
"""The Rust code that the guide for porters quotes: each block is in a source of the driver."""

DOCUMENT = "Documentation/gpu/rust_gpu-wddm.rst"
BLOCK = ".. code-block:: rust"
INDENT = "   "


def check(document, sources):
    """What is quoted in a document, and is in no source (name -> text): lines of text."""
    bare = [plain(text.splitlines()) for text in sources.values()]
    for number, block in blocks(document):
        if not any(plain(block) in text for text in bare):
            yield f"{DOCUMENT}:{number}: no source has this code"


def plain(lines):
    """Lines without their indentation, as one text."""
    return "\n".join(["", *(line.strip() for line in lines), ""])


def blocks(document):
    """Yields the quoted blocks: the number of the first line, and the lines."""
    lines = document.splitlines()
    for start, line in enumerate(lines):
        if line == BLOCK:
            end = start + 2
            while end < len(lines) and (lines[end].startswith(INDENT) or not lines[end]):
                end += 1
            yield start + 3, "\n".join(lines[start + 2:end]).rstrip().splitlines()


def failures():
    """What the check does not find, or finds though it is right: lines of text."""
    source = {"a.rs": "fn a() {\n    b();\n\n    c();\n}\n"}
    begin = f"Text\n\n{BLOCK}\n\n"
    for code, expected in (("   b();\n\n   c();", 0), ("   b();\n   c();", 1),
                           ("   fn a() {\n       b();", 0), ("   fn a() {\n       c();", 1),
                           ("   (); b", 1), ("   b()", 1)):
        found = list(check(f"{begin}{code}\n\nMore.\n", source))
        if len(found) != expected:
            yield f"{code!r} gives {found}"
