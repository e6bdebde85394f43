"""Long blocks: expressions as deep as a procedure is long, which nothing may follow by recursion."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from tlbcheck.check import explore
from tlbcheck.engines.compile import code
from tlbcheck.lang.expr import Expr, const, evaluate, ite, nodes, show, substitute, var, variables
from tlbcheck.lang.types import U64, WordType
from tlbcheck.library import load_file
from tlbcheck.report.result import digest

STATEMENTS = 1_500
CHAINS = {
    "sums": "x = x + ((x >> 1) & {n})",
    "choices": "x = x + {n} if x < {n} else x ^ {n}",
    "branches": "if x & {n}:\n        x = x + (x >> 1)",
}


@pytest.mark.parametrize("statement", CHAINS.values(), ids=CHAINS)
def test_a_long_block_is_checked(tmp_path: Path, statement: str) -> None:
    """One step computes through 1,500 statements: lowered, searched and compared with the interpreter, which runs them one by one."""
    body = "\n    ".join(statement.format(n=n % 61 + 1) for n in range(STATEMENTS))
    source = f"""\
from __future__ import annotations
from tlbcheck import Model, Property, operation, procedure, shared, u64
from tlbcheck.lang.expr import eq
v = shared("v", u64)

@procedure
def task() -> None:
    x = v.get()
    {body}
    v.set(x)

@procedure
def init() -> None:
    v.set(5)

m = Model(name="t/long", title="long", init=init, task=task)
"""
    (tmp_path / "long.py").write_text(
        source
        + textwrap.dedent(
            """
        q = Property("kept", "t", source="s", trigger=operation(""), clauses={"changed": "changed"})
        q.never("changed", eq(v.expr, WHAT))
        """
        ).replace("WHAT", str(outcome(statement)))
    )
    found = load_file(tmp_path / "long.py")
    result = explore(found.m, [found.q], engines=("explicit",))  # replays the violation
    assert (result["kept"].verdict, result["kept"].violations[0].depth) == ("violated", 2)
    assert len(digest(result.system)) == 16


def outcome(statement: str) -> int:
    """What Python makes of the statements."""
    scope = {"x": 5}
    for n in range(STATEMENTS):
        exec(statement.format(n=n % 61 + 1).replace("\n        ", " "), scope)
        scope["x"] &= (1 << 64) - 1
    return scope["x"]


def chain(length: int, type_: WordType = U64) -> Expr:
    """Each node uses the one before three times: written out it would have 3**length of them."""
    e = var("x", type_)
    for n in range(length):
        e = ite(e < const(n % 7, type_), e + const(n + 1, type_), e ^ const(n, type_))
    return e


def test_what_is_shared_is_written_once() -> None:
    """Generated code and shown text stay in proportion to the graph, and code computes what the expression says."""
    e = chain(300)
    assert len(nodes(e)) < 300 * 6
    for text in (code(e, {"x": "x"}), show(e)):
        assert len(text) < 300 * 5 * 500
    for x in (0, 3, 1 << 63):
        assert eval(code(e, {"x": "x"}), {"x": x}) == evaluate(e, {"x": x})


def test_expressions_are_followed_without_recursion() -> None:
    """Far below the interpreter's limit of nested calls."""
    e = chain(5_000)
    before = sys.getrecursionlimit()
    assert e.depth > before
    assert list(variables(e)) == ["x"]
    assert substitute(e, {"x": const(9, U64)}).value == evaluate(e, {"x": 9})
    assert sys.getrecursionlimit() == before


def test_names_in_shown_text_are_for_large_expressions_only() -> None:
    """What people read of ordinary expressions, and digests of ordinary models, know no names."""
    assert show(chain(2)) == "((((x + 1) if (x < 0) else x) + 2) if (((x + 1) if (x < 0) else x) < 1) else (((x + 1) if (x < 0) else x) ^ 1))"
