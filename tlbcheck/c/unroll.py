"""Loops whose turns are known: written out, where a turn may have no step.

A loop every way round which has a step is a loop of the model. One that only counts, or takes its step
in some turns, has to be counted here: as long as its condition is a number, each turn is one more copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tlbcheck.lang import program as p
from tlbcheck.lang.expr import Expr, substitute

_WORK = 20_000
"""So many statements are looked at for one function at most."""
_STATEMENTS = 6_000
"""So many statements may come out of one loop."""

Known = dict[str, Expr]


def unrolled(body: list[p.Statement]) -> list[p.Statement]:
    """``body`` with such loops written out; loops whose turns are not known stay as they are."""
    if not any(isinstance(s, p.While) and not _steps(s.body) for s in p.walk(body)):
        return body
    return _Unroller().run(body, {})[0]


def _steps(statements: list[p.Statement]) -> bool:
    """Whether every way through ``statements``, but for one that returns, takes a step."""
    for s in statements:
        match s:
            case p.Do() | p.Read() | p.Write() | p.AtomicBlock() | p.Return():
                return True
            case p.Call() if _steps(s.procedure.body):
                return True
            case p.If() if _steps(s.then) and _steps(s.orelse):
                return True
    return False


class _TooMuch(Exception):
    """The loop cannot be written out."""


class _Unroller:
    def __init__(self) -> None:
        self.work = 0

    def run(self, statements: list[p.Statement], known: Known) -> tuple[list[p.Statement], Known | None]:
        """``statements`` with what is ``known`` before them: the same without such loops, and what is known after, None if nothing comes after."""
        out: list[p.Statement] = []
        after: Known | None = known
        for s in statements:
            if after is None:
                break
            self.work += 1
            made, after = self.one(s, after)
            out += made
        return out, after

    def one(self, s: p.Statement, known: Known) -> tuple[list[p.Statement], Known | None]:
        match s:
            case p.Assign():
                value = substitute(s.value, known)
                left = {name: v for name, v in known.items() if name != s.target}
                return [replace(s, value=value)], {**left, s.target: value} if value.op == "const" else left
            case p.If():
                condition = substitute(s.condition, known)
                if condition.op == "const":
                    return self.run(s.then if condition.value else s.orelse, known)
                then, one = self.run(s.then, known)
                orelse, other = self.run(s.orelse, known)
                return [replace(s, then=then, orelse=orelse)], _both(one, other)
            case p.While():
                try:
                    return self.turns(s, known) if not _steps(s.body) else self.kept(s, known)
                except _TooMuch:
                    return self.kept(s, known)
            case p.Return():
                return [replace(s)], None
        return [replace(s)], _without(known, [s])

    def kept(self, s: p.While, known: Known) -> tuple[list[p.Statement], Known | None]:
        before = _without(known, s.body)
        return [replace(s, body=self.run(s.body, before)[0])], before

    def turns(self, s: p.While, known: Known) -> tuple[list[p.Statement], Known | None]:
        out: list[p.Statement] = []
        now: Known | None = known
        while now is not None:
            condition = substitute(s.condition, now)
            if condition.op != "const" or self.work > _WORK or len(out) > _STATEMENTS:
                raise _TooMuch
            if not condition.value:
                break
            made, now = self.run(s.body, now)
            out = _shortened(out, made)
        return out, now


def _both(one: Known | None, other: Known | None) -> Known | None:
    """What is known where two ways meet."""
    if one is None or other is None:
        return other if one is None else one
    return {name: value for name, value in one.items() if other.get(name) is value}


def _without(known: Mapping[str, Expr], statements: list[p.Statement]) -> Known:
    """What is still known after ``statements``, which may or may not run."""
    changed = {t for s in p.walk(statements) if (t := getattr(s, "target", None)) is not None}
    return {name: value for name, value in known.items() if name not in changed}


def _shortened(out: list[p.Statement], more: list[p.Statement]) -> list[p.Statement]:
    """``out`` and ``more`` without assignments that a later one makes void before anything can read them."""
    for s in more:
        if isinstance(s, p.Assign) and s.value.op == "const":
            at = len(out) - 1
            while at >= 0 and isinstance(earlier := out[at], p.Assign) and earlier.value.op == "const":
                if earlier.target == s.target:
                    del out[at]
                    break
                at -= 1
        out.append(s)
    return out
