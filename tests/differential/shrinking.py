"""The smallest model that still shows something: parts of its text are left out, one after the other, as long as it
does.
"""

from __future__ import annotations

import ast
import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

Edit = Callable[[], None]
_SIMPLER = ("and_", "or_", "not_", "ite", "eq")


def shrink(text: str, shows: Callable[[str], bool], *, seconds: float) -> str:
    """A text that ``shows`` it and of which no part can be left out; the best that is found in so many seconds."""
    best, until = text, time.monotonic() + seconds
    shorter = True
    while shorter:
        shorter = False
        at = 0
        while time.monotonic() < until:
            attempt = edited(best, at)
            if attempt is None:
                break
            if attempt != best and shows(attempt):
                best, shorter = attempt, True
            else:
                at += 1
    return best


def edited(text: str, number: int) -> str | None:
    """The text without its part of that number, the largest first; None if it has no so many parts."""
    tree = ast.parse(text)
    edits = sorted(_edits(tree), key=lambda e: -e[0])
    if number >= len(edits):
        return None
    edits[number][1]()
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def _edits(tree: ast.Module) -> Iterator[tuple[int, Edit]]:
    """Everything that may be left out, with how much that is."""
    for node in ast.walk(tree):
        for name in ("body", "orelse"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                for i, s in enumerate(block):
                    if not isinstance(s, ast.Pass | ast.Import | ast.ImportFrom) and not (
                        isinstance(s, ast.ClassDef) and isinstance(node, ast.Module)
                    ):
                        yield _size(s), _without(block, i, keep=name == "body")
                        inner = getattr(s, "body", None)
                        if isinstance(s, ast.If | ast.While | ast.With | ast.For):
                            yield _size(s) - sum(map(_size, inner or ())), _instead(block, i, "body")
                        if isinstance(s, ast.If) and s.orelse:
                            yield _size(s) - sum(map(_size, s.orelse)), _instead(block, i, "orelse")
        if isinstance(node, ast.Call):
            for i, k in enumerate(node.keywords):
                yield _size(k.value), _without(node.keywords, i, keep=False)
        if isinstance(node, ast.Tuple | ast.List) and isinstance(node.ctx, ast.Load):
            for i, e in enumerate(node.elts):
                yield _size(e), _without(node.elts, i, keep=False)
        if isinstance(node, ast.Dict):
            for i in range(len(node.keys)):
                yield 1, _without_key(node, i)
        for name, value in ast.iter_fields(node):
            elements: list[tuple[int | None, Any]] = (
                list(enumerate(value)) if isinstance(value, list) else [(None, value)]
            )
            for at, e in elements:
                if isinstance(e, ast.expr):
                    for part in _parts(e):
                        yield _size(e) - _size(part), _replacing(node, name, at, part)


def _parts(e: ast.expr) -> list[ast.expr]:
    """What may stand instead of an expression."""
    match e:
        case ast.BoolOp(values=values):
            return values
        case ast.IfExp(body=body, orelse=orelse):
            return [body, orelse]
        case ast.UnaryOp(operand=operand) if not isinstance(operand, ast.Constant):
            return [operand]
        case ast.BinOp(left=left, right=right):
            return [left, right]
        case ast.Call(func=ast.Name(id=name), args=args) if name in _SIMPLER:
            return [*(args if name != "eq" else ()), ast.Name("TRUE", ast.Load()), ast.Name("FALSE", ast.Load())]
        case ast.Compare():
            return [ast.Constant(True), ast.Constant(False)]
    return []


def _size(node: ast.AST) -> int:
    return sum(1 for _ in ast.walk(node))


def _without(block: list[Any], i: int, *, keep: bool) -> Edit:
    def edit() -> None:
        del block[i]
        if keep and not block:
            block.append(ast.Pass())

    return edit


def _instead(block: list[Any], i: int, name: str) -> Edit:
    def edit() -> None:
        block[i : i + 1] = getattr(block[i], name)

    return edit


def _without_key(node: ast.Dict, i: int) -> Edit:
    def edit() -> None:
        del node.keys[i], node.values[i]

    return edit


def _replacing(node: ast.AST, name: str, i: int | None, part: ast.expr) -> Edit:
    def edit() -> None:
        if i is None:
            setattr(node, name, copy.deepcopy(part))
        else:
            getattr(node, name)[i] = copy.deepcopy(part)

    return edit
