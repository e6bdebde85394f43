"""What a patch defines anew is the same whether whole files are taken apart or only the pieces that differ."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tlbcheck.c import elsewhere
from tlbcheck.c.touched import touched
from tlbcheck.fit import harness_profile
from tlbcheck.lang.harness import Reading
from tlbcheck.lang.source import source_of
from tlbcheck.library import harnesses

PIECES = (
    "void f(void)\n{\n    a();\n}\n",
    "void f(void)\n{\n    b();\n}\n",
    "static int g(int x)\n{\n    return x;\n}\n",
    "int g(int x)\n{\n    return x + 1;\n}\n",
    "#define M 1\n",
    "#define M 2\n",
    "#define H() \\\n{ \\\n}\n",
    "#if 0\n",
    "#ifdef A\n",
    "#else\n",
    "#endif\n",
    "/* void f(void)\n#if 0\n{ */\n",
    "/* \"\n} */\n",
    'char s[] = "{ /*";\n',
    "char c = '\"';\n",
    "struct t {\n    int x;\n};\n",
    "struct u {\n    int x;\n} u = {\n    1\n};\n",
    "void h(void)\n{\n    if (x)\n{\n    a();\n}\n    b();\n}\n",
    "void h(void)\n{\n    if (x)\n{\n    a();\n}\n    while (y)\n{\n    c();\n}\n}\n",
    'extern "C" {\n',
    "}\n",
    "void k(void)\n{\n#ifdef A\n    if (x) {\n#else\n    if (y) {\n#endif\n    a();\n    }\n}\n",
    "int n; // not {\n",
    "void m(int x)\n",
    "void m(long x)\n",
    "{\n}\n",
    "DEFINE(o)\n",
    "    /* note */\n",
)
HARNESS = next(h for h in harnesses() if h.role == "switch")
NAMES = ("f.c", "f.h")


def anew(before: str, after: str, name: str, *, whole: bool) -> frozenset[str]:
    with pytest.MonkeyPatch.context() as patch:
        if whole:
            patch.setattr(elsewhere, "touched", lambda old, new: (old, new))
        return elsewhere.defined_anew({name: source_of(before, name)}, {name: source_of(after, name)}, harness_profile(HARNESS, Reading()), {})


def text(pieces: list[int]) -> str:
    return "".join(PIECES[i] for i in pieces)


@given(st.lists(st.integers(0, len(PIECES) - 1), max_size=8), st.integers(0, 8), st.lists(st.integers(0, len(PIECES) - 1), max_size=2), st.integers(0, 2), st.sampled_from(NAMES))
@example([17, 0], 0, [18], 1, "f.h")
@example([19, 0, 20], 1, [1], 1, "f.c")
@example([7, 0, 10], 1, [1], 1, "f.c")
@example([23, 8, 25, 10], 0, [24], 1, "f.h")
@example([26, 0, 25], 0, [], 1, "f.h")
def test_only_what_differs_is_looked_at_and_nothing_is_missed(pieces: list[int], at: int, new: list[int], gone: int, name: str) -> None:
    """What counts as changed may be more than it is, never less: where neither version can be read as C, say."""
    before, after = text(pieces), text([*pieces[:at], *new, *pieces[at + gone :]])
    fully = anew(before, after, name, whole=True)
    assert anew(before, after, name, whole=False) >= fully


def test_of_a_long_file_little_is_left() -> None:
    many = "".join(f"void f{n}(void)\n{{\n    a({n});\n}}\n\n" for n in range(200))
    old, new = touched(source_of(many, "f.c"), source_of(many.replace("a(77)", "b(77)"), "f.c"))
    assert (len(old.lines), len(new.lines)) == (4, 4)
    assert anew(many, many.replace("a(77)", "b(77)"), "f.c", whole=False) == {"f77"}
