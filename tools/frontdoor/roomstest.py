# SPDX-License-Identifier: GPL-2.0
"""Does the check of the rooms find what it is for? Made-up sources, and what is wrong in them."""

from . import rooms
from .rusttokens import tokens

# File, source, and what is found in it: line and text.
RED = [
    # The four forms.
    ("irq.rs", "\nuse crate::gpu::Gpu;", ["2: crate::gpu::Gpu: no edge irq -> gpu"]),
    ("gpu.rs", "use crate::{\n    ring::Ring,\n    display::{self, cursor::Image}, //\n};",
     ["3: crate::display::self: no edge gpu -> display",
      "3: crate::display::cursor::Image: no edge gpu -> display"]),
    ("scheduler/fence.rs", "fn f() -> u32 {\n    crate::device::LIMIT\n}",
     ["2: crate::device::LIMIT: no edge scheduler -> device"]),
    ("irq/panic.rs", "use super::super::driver;",
     ["1: super::super::driver: no edge irq -> driver"]),
    # Other ways to write them.
    ("irq.rs", "use crate :: /* { */ gpu // }\n :: r#Gpu;",
     ["1: crate::gpu::Gpu: no edge irq -> gpu"]),
    ("irq.rs", "use {core::fmt, crate::{{gpu}}};", ["1: crate::gpu: no edge irq -> gpu"]),
    ("irq.rs", "pub(crate) fn f(a: &(crate::gpu::A, u8)) {}",
     ["1: crate::gpu::A: no edge irq -> gpu"]),
    ("irq.rs", "struct S(pub (crate::gpu::A, u8));", ["1: crate::gpu::A: no edge irq -> gpu"]),
    ("irq.rs", "fn f<'a>(c: char) -> <super::gpu::A as B<'a>>::C { g(c, '\"', 'x') }",
     ["1: super::gpu::A: no edge irq -> gpu"]),
    ("irq.rs", 'pr_info!("crate::gpu {}", crate::gpu::N);',
     ["1: crate::gpu::N: no edge irq -> gpu"]),
    ("irq.rs", "macro_rules! m { () => { $crate::gpu::f::<u8>() } }",
     ["1: crate::gpu::f: no edge irq -> gpu"]),
    ("irq.rs", "macro_rules! m { ($r:ident) => { crate::$r::f() } }",
     ["1: crate::$r::f: a macro says which room this is"]),
    ("irq.rs", "#[cfg(test)]\nmod tests {\n    use super::super::gpu;\n}",
     ["3: super::super::gpu: no edge irq -> gpu"]),
    ("irq/tests.rs", "mod a { mod b {} use self::super::super::super::gpu::X; }",
     ["1: self::super::super::super::gpu::X: no edge irq -> gpu"]),
    ("irq.rs", "use crate::gpu as other;", ["1: crate::gpu: no edge irq -> gpu"]),
    # The root, whose names are all rooms.
    ("irq.rs", "use crate::*;", ["1: crate::*: no edge irq -> rust_gpu"]),
    ("irq.rs", "use super::{self as root};", ["1: super::self: no edge irq -> rust_gpu"]),
    ("device.rs", "use crate::RustGpuPci;", ["1: crate::RustGpuPci: no edge device -> rust_gpu"]),
    ("irq.rs", "extern crate self as it;", ["1: crate: no edge irq -> rust_gpu"]),
    ("irq.rs", "m!(crate, gpu);", ["1: crate: no edge irq -> rust_gpu"]),
    # Re-exports, over edges that are allowed otherwise.
    ("gpu.rs", "pub(crate) use crate::ring::{self, Ring as R};",
     ["1: crate::ring::self: gpu re-exports what is in ring",
      "1: crate::ring::Ring: gpu re-exports what is in ring"]),
    ("gpu.rs", "use crate::ring;\npub(super) use self::ring::Ring;",
     ["2: self::ring::Ring: gpu re-exports what is in ring"]),
    ("rust_gpu.rs", "mod gpu;\npub(crate) use gpu::Gpu;",
     ["2: gpu::Gpu: rust_gpu re-exports what is in gpu"]),
    # Ways around a path.
    ("irq.rs", '#[path = "gpu.rs"]\nmod g;', ["1: path: goes past the paths between rooms"]),
    ("irq.rs", 'include!("gpu/x.rs");', ["1: include: goes past the paths between rooms"]),
    ("irq.rs", "#[macro_export]\nmacro_rules! m { () => {} }",
     ["1: macro_export: goes past the paths between rooms"]),
    ("rust_gpu.rs", "macro_rules! m { () => {} }\nmod irq;",
     ["1: macro_rules: goes past the paths between rooms"]),
    ("heap.rs", "", ["1: is not one of the rooms in tools/frontdoor/rooms.py"]),
]

# What is allowed.
GREEN = [
    ("gpu.rs", "use crate::{irq::Adapter, ring::{self, *}, gpu::state::State};"),
    ("irq.rs", "// use crate::gpu;\n/* /* */ crate::gpu::X */\n/// [`x`](crate::gpu)"),
    ("irq.rs", 'const A: &str = r#"" crate::gpu::X "#; const B: &[u8] = b"\\" crate::gpu";'),
    ("irq.rs", "pub(in crate::irq) use self::connection::Connection; pub(crate) fn f(self) {}"),
    ("irq/connection.rs", "use super::{A, super::irq::B}; use kernel::irq; use ::gpu::X;"),
    ("irq/a/b.rs", "use super::super::c; mod d { use super::super::super::c; }"),
    ("irq.rs", "mod tests { use super::*; fn f(x: impl A + use<'_>) { self::f(x.super_) } }"),
    ("irq/a.rs", "pub use super::b::C; pub(super) use kernel::prelude::*;"),
    ("rust_gpu.rs", "mod irq;\nuse irq::Adapter; fn f() { crate::gpu::f(); device::g() }"),
]


def failures():
    """What the check does not find, or finds though it is right: lines of text."""
    cases = [*RED, *((name, source, []) for name, source in GREEN)]
    for name, source, expected in cases:
        found = rooms.check({name: source})
        if found != [f"{name}:{line}" for line in expected]:
            yield f"{name}: {source!r} gives {found}"
    above = []
    for room, uses in rooms.USES.items():
        if not set(uses.split()) <= set(above):
            yield f"{room} may use what does not stand above it"
        above.append(room)
    source = "a::<'b>('\\'', 'c', b'd', br##\"\"#\"##, 0x1u8..2)"
    expected = "a :: < 'b > ( '\\'' , 'c' , b'd' , br##\"\"#\"## , 0x1u8 . . 2 )"
    if [token.text for token in tokens(source)] != expected.split():
        yield f"{source} has the tokens {tokens(source)}"
