"""The solvers that judge certificates, each in a process of its own."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tlbcheck.engines.child import Child, Unanswered


def _z3(text: str, assertions: Sequence[str]) -> str:
    import z3

    solver = z3.SolverFor("QF_BV")
    solver.from_string(text + "".join(f"(assert {a})" for a in assertions))
    return str(solver.check())


def _cvc5(text: str, assertions: Sequence[str]) -> str:
    import cvc5

    solver: Any = cvc5.Solver()
    # All is bits in the end: put into clauses at once, a certificate takes a second where the lazy way takes a minute.
    solver.setOption("bitblast", "eager")
    parser: Any = cvc5.InputParser(solver)
    parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, "(set-logic QF_BV)" + text + "".join(f"(assert {a})" for a in assertions), "certificate")
    while not (command := parser.nextCommand()).isNull():
        command.invoke(solver, parser.getSymbolManager())
    return str(solver.checkSat())


def _bitwuzla(text: str, assertions: Sequence[str]) -> str:
    import bitwuzla

    parser: Any = bitwuzla.Parser(bitwuzla.TermManager(), bitwuzla.Options())
    parser.parse("(set-logic QF_BV)" + text + "".join(f"(assert {a})" for a in assertions), True, False)
    return str(parser.bitwuzla().check_sat()).rpartition(".")[2].lower()


SOLVERS: dict[str, Callable[[str, Sequence[str]], str]] = {"z3": _z3, "cvc5": _cvc5, "bitwuzla": _bitwuzla}
"""Each decides declarations and definitions with some assertions: ``sat``, ``unsat`` or ``unknown``."""


def installed() -> list[str]:
    """The solvers that this Python has."""
    return [name for name in SOLVERS if importlib.util.find_spec(name) is not None]


@dataclass(frozen=True)
class Answer:
    """What a solver says of each of some queries, in order; ``reason`` if it came to no end. ``seconds`` of wall clock."""

    solver: str
    answers: tuple[str, ...]
    reason: str
    seconds: float


def ask(solver: str, text: str, queries: Sequence[Sequence[str]], *, seconds: float, memory: int) -> Answer:
    """Have a solver decide each of ``queries``."""
    began = time.perf_counter()
    decide = SOLVERS[solver]
    child = Child(lambda: tuple(decide(text, q) for q in queries), seconds=seconds, memory=memory)
    try:
        answers, reason = child.result(), ""
    except Unanswered as error:
        answers, reason = (), str(error)
    return Answer(solver, answers, reason, time.perf_counter() - began)
