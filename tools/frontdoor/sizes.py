# SPDX-License-Identifier: GPL-2.0
"""How long a file and a function may be."""

from .rusttokens import closing, text_at, tokens

FILE_LINES = 600
FUNCTION_LINES = 70
# Tables of tests may be longer than a file of the driver; functions may not.
TESTS = "selftests/"


def check(sources):
    """What is too long in the Rust and Python ones of some sources, name -> text: lines of text."""
    for name, text in sorted(sources.items()):
        if not name.endswith((".rs", ".py")):
            continue
        lines = len(text.splitlines())
        if lines > FILE_LINES and not name.startswith(TESTS):
            yield f"{name}:1: {lines} lines, no more than {FILE_LINES} are allowed"
        if name.endswith(".rs"):
            for function, line, count in functions(tokens(text)):
                if count > FUNCTION_LINES:
                    yield (f"{name}:{line}: {function}() has {count} lines, no more than "
                           f"{FUNCTION_LINES} are allowed")


def functions(listed):
    """Every function that has a body: its name, its line, and its lines from `fn` to the brace."""
    for index, token in enumerate(listed):
        # What has no name is the type of a function.
        if (token.kind, token.text) == ("word", "fn") and text_at(listed, index + 1) != "(":
            start = body(listed, index)
            end = closing(listed, start) if start else len(listed)
            if end < len(listed):
                name = text_at(listed, index + 1).replace("$", text_at(listed, index + 2))
                yield name, token.line, listed[end].line - token.line + 1


def body(listed, index):
    """The index of the brace that opens a function's body, or None when it has none."""
    while index < len(listed):
        text = text_at(listed, index)
        after = closing(listed, index) + 1 if text in ("(", "[", "{") else index + 1
        if text == "{" and not (text_at(listed, index - 1) in ("<", ",")
                                and text_at(listed, after) in (">", ",")):
            return index
        if text == ";":
            return None
        # Skips what is in brackets, and a constant in braces that is a generic argument.
        index = after
    return None


def failures():
    """What the check does not find, or finds though it is right: lines of text."""
    inside = "\n" * (FUNCTION_LINES - 1)
    cases = {
        f"fn a() {{{inside}}}": 0,
        f"fn a() {{\n{inside}}}": 1,
        f"fn a(f: fn(u8) -> [u8; 2]) -> B<{{ 1 }}, {{ 2 }}> {{\n{inside}}}": 1,
        f"fn a<T>() where T: B, {{}}\nfn b<T>()\nwhere\nT: B,\n{{\n{inside}}}": 1,
        f"trait A {{ fn a(self); fn b() {{ /* {{ */ }}\n{inside}\n}}": 0,
        f"impl A {{ fn a() {{ fn b() {{ '{{' }}\n{inside} }} }}": 1,
    }
    for source, expected in cases.items():
        found = list(check({"a.rs": source}))
        if len(found) != expected:
            yield f"{source!r} gives {found}"
    if len(list(check({"a.py": "\n" * (FILE_LINES + 1), "b.py": "\n" * FILE_LINES}))) != 1:
        yield f"a file of {FILE_LINES + 1} lines is not found, or one of {FILE_LINES} is"
