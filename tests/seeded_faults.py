"""Faults seeded into tlbcheck, one at a time: which of them do random models find?

The faults are drawn by ``SEED`` from all places where a comparison, a condition, a constant, a junction or a statement
can be changed, so that nobody chooses them after looking. Each is put into a process of its own, which compares models
until the first disagreement. What is not found is equivalent, out of reach of random models, or says what the generator
lacks: ``--list`` shows them.

    python tests/seeded_faults.py -j 2 --models 500 --seconds 60
    python tests/seeded_faults.py --list
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import json
import multiprocessing
import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "differential"))

from comparison import Comparison, Verdicts, reference  # noqa: E402 (found by the path above)
from generator import generate, tags  # noqa: E402 (found by the path above)
from loading import load  # noqa: E402 (found by the path above)

from tlbcheck.errors import TlbcheckError  # noqa: E402 (found by the path above)
from tlbcheck.reference.search import Found, Search  # noqa: E402 (found by the path above)

SEED = 20181128
EACH = 7
"""Faults for each component."""
CHECKED = ("explicit", "memory")
COMPONENTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "front end": (("lang.python_front",), CHECKED),
    "lowering": (("system.lower", "system.execution", "system.naming", "system.control"), CHECKED),
    "explicit search": (("engines.compile", "engines.explicit"), CHECKED),
    "z3's encoding": (("engines.encoding", "engines.bmc"), ("bmc",)),
    "circuits and pdr": (("engines.circuit", "engines.pdr", "engines.lemmas", "engines.proof"), ("pdr",)),
    "literal caches": (("engines.full", "engines.ground"), ("full and sets",)),
    "packed tables": (("engines.packed", "engines.packed_tables", "engines.packed_search"), ("full and sets",)),
    "diagrams": (("engines.sets",), ("full and sets",)),
    "slicing": (("system.slicing",), ("explicit, sliced", "full and sets")),
    "merging": (
        ("system.equal_bits", "system.known_bits", "engines.symmetry", "engines.orbits"),
        ("full and sets", "pdr", "bmc"),
    ),
    "one entry": (("engines.sufficiency", "system.sufficiency", "system.slots"), ("explicit",)),
    "replay": (("replay.interpreter", "replay.recheck", "replay.check"), ("explicit",)),
    "certificates": (("engines.obligations", "engines.unrolled", "certificate.read"), ("certificates",)),
}
"""The modules of each, and by which of ``comparison.ENGINES`` a fault in them has to be found."""


@dataclass(frozen=True)
class Fault:
    """A change of the ``number``-th changeable place of a function."""

    component: str
    module: str
    function: tuple[str, ...]
    number: int
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.component}: {self.module}:{self.line} {'.'.join(self.function)}: {self.text}"


# -- places that can be changed

_OTHER: dict[type[ast.AST], ast.AST] = {
    ast.Eq: ast.NotEq(), ast.NotEq: ast.Eq(), ast.Lt: ast.LtE(), ast.LtE: ast.Lt(), ast.Gt: ast.GtE(), ast.GtE: ast.Gt(),
    ast.In: ast.NotIn(), ast.NotIn: ast.In(), ast.Is: ast.IsNot(), ast.IsNot: ast.Is(), ast.And: ast.Or(), ast.Or: ast.And(),
    ast.Add: ast.Sub(), ast.Sub: ast.Add(), ast.BitAnd: ast.BitOr(), ast.BitOr: ast.BitAnd(),
}  # fmt: skip
_NAMES = {"TRUE": "FALSE", "FALSE": "TRUE", "and_": "or_", "or_": "and_", "any": "all", "all": "any"}
Change = tuple[str, int, Callable[[], object]]


def changes(function: ast.FunctionDef) -> list[Change]:
    """Every change of a function: what it is, on which line, and what makes it in this tree."""
    return list(_changes(function.body, function))


def _changes(nodes: list[Any], parent: ast.AST) -> Iterator[Change]:
    for node in nodes:
        # What is said to people is no fault.
        if not isinstance(node, ast.AST) or isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr | ast.arguments):
            continue
        yield from _of(node)
        for name, value in ast.iter_fields(node):
            if name not in ("annotation", "returns", "decorator_list", "type_params"):
                yield from _changes(value if isinstance(value, list) else [value], node)


def _of(node: Any) -> Iterator[Change]:
    line = getattr(node, "lineno", 0)

    def put(name: str, value: Any) -> Callable[[], None]:
        return lambda: setattr(node, name, value)

    match node:
        case ast.Compare(ops=[op, *_]) if type(op) in _OTHER:
            new = _OTHER[type(op)]
            yield f"{type(op).__name__} -> {type(new).__name__}", line, put("ops", [new, *node.ops[1:]])
        case ast.BoolOp(op=op) | ast.BinOp(op=op) if type(op) in _OTHER:
            yield f"{type(op).__name__} -> {type(_OTHER[type(op)]).__name__}", line, put("op", _OTHER[type(op)])
        case ast.UnaryOp(op=ast.Not()):
            yield "not left out", line, lambda: setattr(node, "operand", ast.UnaryOp(ast.Not(), node.operand))
        case ast.If() | ast.While():
            yield "condition negated", line, lambda: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test))
        case ast.IfExp():
            yield "branches exchanged", line, lambda: _exchange(node)
        case ast.Constant(value=bool() as value):
            yield f"{value} -> {not value}", line, put("value", not value)
        case ast.Constant(value=int() as value) if value < 100:
            yield f"{value} -> {value + 1}", line, put("value", value + 1)
        case ast.Name(id=name) if name in _NAMES:
            yield f"{name} -> {_NAMES[name]}", line, put("id", _NAMES[name])
        case ast.Call(func=ast.Name(id="and_" | "or_" as name), args=[_, _, *_]):
            yield f"a part of {name} left out", line, lambda: node.args.pop()
        case ast.Expr(value=ast.Call()):
            yield "statement left out", line, put("value", ast.Constant(None))
        case ast.Tuple(elts=[_, _, *_], ctx=ast.Load()) if any(isinstance(e, ast.Starred) for e in node.elts):
            yield "last element left out", line, lambda: node.elts.pop()


def _exchange(node: ast.IfExp) -> None:
    node.body, node.orelse = node.orelse, node.body


def functions(tree: ast.AST, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], ast.FunctionDef]]:
    """The functions of a module and the methods of its classes; what is nested in them belongs to them."""
    for node in getattr(tree, "body", ()):
        if isinstance(node, ast.ClassDef):
            yield from functions(node, (*path, node.name))
        elif isinstance(node, ast.FunctionDef) and not any("overload" in ast.unparse(d) for d in node.decorator_list):
            yield (*path, node.name), node


def source(module: str) -> Path:
    return HERE.parent / "tlbcheck" / Path(*module.split(".")).with_suffix(".py")


def faults() -> list[Fault]:
    """The faults, the same ones each time for the same code."""
    chosen = []
    for component, (modules, _) in COMPONENTS.items():
        places = [
            Fault(component, module, path, number, line, text)
            for module in modules
            for path, function in functions(ast.parse(source(module).read_text(encoding="utf-8")))
            for number, (text, line, _) in enumerate(changes(function))
        ]
        drawn = random.Random(f"{SEED} {component}").sample(places, EACH)
        chosen += sorted(drawn, key=lambda f: (f.module, f.line, f.number))
    return chosen


# -- putting one in


def plant(fault: Fault) -> None:
    """Give the running function the code of the changed one, wherever it was imported to."""
    path = source(fault.module)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    function = next(node for name, node in functions(tree) if name == fault.function)
    changes(function)[fault.number][2]()
    code: CodeType = compile(ast.fix_missing_locations(copy.deepcopy(tree)), str(path), "exec")
    live: Any = importlib.import_module(f"tlbcheck.{fault.module}")
    for name in fault.function:
        found = [c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == name]
        code = found[-1]
        live = vars(live)[name]
    while not isinstance(live, FunctionType):
        live = next(getattr(live, n) for n in ("__wrapped__", "__func__", "fget", "func") if hasattr(live, n))
    live.__code__ = code


# -- looking for it


@dataclass(frozen=True)
class Known:
    """A model and what the reference interpreter says of it, before any fault is there."""

    seed: int
    text: str
    ours: Verdicts
    found: Found | None
    search: Search | None


def known_models(count: int, without: set[str]) -> list[Known]:
    models: list[Known] = []
    seed = 0
    while len(models) < count:
        text = generate(seed)
        if not tags(text) & without:
            try:
                ours, found, search = reference(*load(text))
            except TlbcheckError:
                continue
            finally:
                seed += 1
            if found is None or found.complete:
                models.append(Known(seed - 1, text, ours, found, search))
        else:
            seed += 1
    return models


def spent() -> float:
    """CPU seconds of this process and of those that it started."""
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


def look(fault: Fault, models: list[Known], seconds: float) -> str:
    """What was found, and by how many models; empty if nothing was."""
    plant(fault)
    engines = COMPONENTS[fault.component][1]
    until = spent() + seconds
    for i, known in enumerate(models, 1):
        try:
            outcome = Comparison(*load(known.text), engines).against(known.ours, known.found, known.search)
        except Exception as error:  # whatever a fault leads to
            return f"{i}\tseed {known.seed}: {type(error).__name__}: {str(error)[:100]}"
        if outcome.differences:
            return f"{i}\tseed {known.seed}: {str(outcome.differences[0])[:160]}"
        if spent() > until:
            return f"{i}\t"
    return f"{len(models)}\t"


def _one(arguments: tuple[Fault, float]) -> str:
    """In a process of its own, forked from one that knows the models."""
    fault, seconds = arguments
    ours, theirs = multiprocessing.get_context("fork").Pipe(duplex=False)

    def work() -> None:
        theirs.send(look(fault, _MODELS, seconds))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    answer = ours.recv() if ours.poll(10 * seconds + 60) else "0\tdoes not end"
    process.kill()
    process.join()
    return answer


_MODELS: list[Known] = []


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Seeds faults into tlbcheck, and says which of them random models find."
    )
    parser.add_argument("--list", action="store_true", help="only list the faults")
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60, help="CPU seconds for one fault")
    parser.add_argument("--first", type=int, default=0, help="the first fault, by its number")
    parser.add_argument("--last", type=int, help="the fault before which it ends")
    parser.add_argument("--without", action="append", default=[], help="leave out models with this construct")
    parser.add_argument("--results", type=Path, help="a JSON file of what was found")
    parser.add_argument("-j", "--jobs", type=int, default=2)
    given = parser.parse_args()
    every = list(enumerate(faults()))
    if given.list:
        print(*(f"{n:3d} {fault}" for n, fault in every), sep="\n")
        return 0
    chosen = every[given.first : given.last]
    _MODELS[:] = known_models(given.models, set(given.without))
    from concurrent.futures import ThreadPoolExecutor

    results: list[dict[str, Any]] = []
    with ThreadPoolExecutor(given.jobs) as pool:
        answers = pool.map(_one, [(fault, given.seconds) for _, fault in chosen])
        for (n, fault), answer in zip(chosen, answers, strict=True):
            models, _, words = answer.partition("\t")
            print(
                f"{n:3d} {'found' if words else 'NOT FOUND'} after {models} models: {fault}{f': {words}' if words else ''}",
                flush=True,
            )
            results.append({"number": n, "fault": str(fault), "models": int(models), "found": words})
            if given.results:
                given.results.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(f"{sum(bool(r['found']) for r in results)} of {len(results)} faults found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
