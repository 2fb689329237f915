# SPDX-License-Identifier: GPL-2.0
"""Finds what a guest's kernel log must not have."""

import re

BAD = re.compile(
    r"WARNING:|\bBUG\b|\bOops\b|Kernel panic|general protection|Call Trace:|"
    r"INFO: (possible|task .* blocked|rcu|inconsistent|trying to register)|"
    r"possible (circular|recursive|irq lock|interrupt unsafe)|inconsistent lock state|"
    r"suspicious RCU usage|[Ii]nvalid wait context|bad unlock balance|still has locks held|"
    r"ODEBUG:|DMA-API: (?!preallocated|debugging (?:en|dis)abled|dma_debug_init)|KASAN:|UBSAN:|"
    r"sleeping function called|scheduling while atomic|soft lockup|hard LOCKUP|"
    r"rcu: INFO:|nobody cared|Disabling IRQ|refcount_t:|list_(add|del) corruption|"
    r"unreferenced object|new suspected memory leaks|DEBUG_LOCKS_WARN_ON|unchecked MSR|"
    r"fault reason 0x|page fault from EP|"
    r"RTNL: assertion|Objects remaining|leaked|rust_kernel: panicked|panicked at")
PREFIX = re.compile(r"^(<\d+>)?\[ *\d+\.\d+\](\[ *[TC]\d+\])? ?")

# Taint flags that a test guest may have: N (a KUnit test ran), O (a test module) and L (fences of
# sw_sync; a soft lockup, which sets it too, is found by its line).
ALLOWED_TAINT = 1 << 18 | 1 << 14 | 1 << 12
TAINTS = "PFSRMBUDAWCIOELKXTNJ"


def find(console, allow=None):
    """Yields the lines of a kernel log that must not be there."""
    for line in console.splitlines():
        text = PREFIX.sub("", line)
        if BAD.search(text) and not (allow and re.search(allow, text)):
            yield text


def unexpected_taint(value, allow=""):
    """Returns a line with the taint flags that a guest must not have, if it has some.

    The letters in `allow` are flags that it may have too.
    """
    bad = value & ~ALLOWED_TAINT & ~sum(1 << TAINTS.index(letter) for letter in allow)
    if not bad:
        return []
    letters = "".join(TAINTS[bit] if bit < len(TAINTS) else "?" for bit in range(32)
                      if bad >> bit & 1)
    return [f"the kernel is tainted: {letters} ({value})"]
