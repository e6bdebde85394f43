"""Judges a certificate: by solvers, and against the model that it is said to be of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tlbcheck.certificate.file import KIND, LITERAL, TRACKED, head, without_an_end
from tlbcheck.certificate.read import FUNCTIONS, Certificate, load, normal
from tlbcheck.certificate.solvers import Answer, ask, installed
from tlbcheck.engines.obligations import SystemText
from tlbcheck.engines.run import how_many_entries
from tlbcheck.engines.unrolled import unrolled
from tlbcheck.errors import InputError, InternalError, Place
from tlbcheck.lang.model import PROFILES, Model
from tlbcheck.library import find_properties
from tlbcheck.options import Limits
from tlbcheck.report.result import covered
from tlbcheck.system.lower import lower
from tlbcheck.system.sufficiency import FULL, as_they_are, represented
from tlbcheck.system.transition_system import TransitionSystem
from tlbcheck.worth import worthless

_SAID = {"init": "initial states", "step": "transition relation", "bad-state": "property", "bad-step": "property"}
_SANE = {
    ("init",): "no state is initial in it",
    ("step",): "no step can be taken in it",
    ("(or bad-state bad-step)",): "nothing at all would violate its property",
}
"""What must be satisfiable of a system, or its certificate proves nothing."""


@dataclass(frozen=True)
class Judged:
    """``accepted`` by which solvers; ``of_model``: the system and the property are the model's own.

    ``worthless``: why nothing is proved of the model all the same, or may be; empty if it is, or without a model.
    """

    certificate: Certificate
    answers: tuple[Answer, ...]
    of_model: bool
    worthless: str = ""

    @property
    def accepted(self) -> tuple[str, ...]:
        return tuple(a.solver for a in self.answers if not a.reason and all(x == "unsat" for x in a.answers))


def judge(path: Path, model: Model | None, *, solvers: Sequence[str] | None = None, limits: Limits | None = None) -> Judged:
    """Have every installed solver check the certificate in ``path``, after it was held against ``model``.

    Raises ``InputError`` if it is refused, and ``InternalError`` if solvers contradict each other.
    """
    limits = limits or Limits()
    found = load(path)
    why_worthless = ""
    if model is not None:
        why_worthless = worthless(compare(found, model, limits), found.about["tlbcheck-property"])
    else:
        _sane(found, limits)
    answers = tuple(ask(s, found.head, list(found.obligations.values()), seconds=limits.seconds, memory=limits.memory) for s in solvers or installed())
    for i, name in enumerate(found.obligations):
        said = {a.solver: a.answers[i] for a in answers if not a.reason}
        refuting = [s for s, x in said.items() if x == "sat"]
        accepting = [s for s, x in said.items() if x == "unsat"]
        if refuting and accepting:
            raise InternalError(f"{path}: obligation '{name}' holds by {accepting[0]} and does not by {refuting[0]}")
        if refuting:
            raise _refused(path, f"obligation '{name}' does not hold ({' and '.join(refuting)})")
    return Judged(found, answers, model is not None, why_worthless)


def _refused(path: Path, why: str) -> InputError:
    return InputError(f"the certificate is refused: {why}", place=Place(str(path)), hint="it is edited, of another version of the model, or wrong; 'tlbcheck verify --certificates' makes a new one")


def _sane(found: Certificate, limits: Limits) -> None:
    """Without a model to compare with: the system in the file is not an empty one."""
    answer = ask("z3", found.head, list(_SANE), seconds=limits.seconds, memory=limits.memory)
    for said, why in zip(answer.answers, _SANE.values(), strict=False):
        if said == "unsat":
            raise _refused(found.path, f"{why}, so that it proves nothing")


def compare(found: Certificate, model: Model, limits: Limits) -> TransitionSystem:
    """Refuse a certificate whose system or property is not exactly what the model gives now, on its processor; gives that system."""
    named = found.about.get("tlbcheck-model", "")
    if named != model.name:
        raise _refused(found.path, f"it is of {named or 'no model'}, not of {model.name}")
    profile = found.about.get("tlbcheck-profile", "")
    if profile not in PROFILES:
        raise _refused(found.path, f"there is no processor profile '{profile}'")
    if profile != model.profile:
        raise _refused(found.path, f"it is for processor '{profile}', and {model.name} was to be judged for '{model.profile}' (--processor)")
    names = found.about.get("tlbcheck-properties", "").split()
    goal = found.about.get("tlbcheck-property", "")
    if goal not in names:
        raise _refused(found.path, f"it names no property that it is of: '{goal}'")
    kind = found.about.get(KIND, "")
    if kind not in (TRACKED, LITERAL):
        raise _refused(found.path, f"it does not say whether it is of tracked entries or of the literal caches: '{kind}'")
    system = lower(model, find_properties(names, model))
    if goal in system.not_applicable:
        raise _refused(found.path, f"{goal} does not apply to {model.name}: {system.not_applicable[goal]}")
    if endless := without_an_end(system, goal):
        raise _refused(found.path, f"clause '{endless}' of {goal} is about runs that never end, of which a certificate says nothing")
    if kind == LITERAL:
        decided, text = as_they_are(system), SystemText(unrolled(system), goal)
    else:
        decided = how_many_entries(system, limits)
        if decided.entries == FULL:
            raise _refused(found.path, f"no number of tracked entries is enough for {model.name}")
        text = SystemText(represented(system, decided), goal)
    if list(found.declarations) != [normal(d) for d in text.declarations]:
        raise _refused(found.path, f"its variables are not those of {model.name}")
    for name, wanted in zip(FUNCTIONS, text.definitions, strict=True):
        if found.definitions[name] != normal(wanted):
            raise _refused(found.path, f"its {_SAID[name]} ('{name}') is not that of {model.name}, {goal}")
    if found.signature != normal(text.signature()):
        raise _refused(found.path, f"its invariant is not over the variables of {model.name}")
    wanted_head = head(text, covered(system.model, decided), kind)
    if more := found.about.keys() - wanted_head.keys() - {"smt-lib-version"}:
        raise _refused(found.path, f"its head says '{min(more)}', of which the model says nothing")
    for name, value in wanted_head.items():
        if name != "tlbcheck-version" and found.about.get(name) != value:
            raise _refused(found.path, f"its head says '{name}' is '{found.about.get(name, '')[:80]}', the model says '{value[:80]}'")
    return system
