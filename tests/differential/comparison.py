"""One model held against the reference interpreter: by every engine, with and without each reduction.

Verdicts and least depths are compared for each property; the values that shared memory can have, and with the explicit
search what can be cached with them; and the numbers of states of those engines that keep every state. A refusal is an
answer like any other.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import z3

from tlbcheck.certificate.file import write
from tlbcheck.certificate.read import load as read_certificate
from tlbcheck.certificate.solvers import ask
from tlbcheck.engines import run as running
from tlbcheck.engines.child import Unanswered
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.full import explore_full
from tlbcheck.engines.invariant import Invariant
from tlbcheck.engines.obligations import SystemText, decide
from tlbcheck.engines.packed import Packed
from tlbcheck.engines.run import check, how_many_entries
from tlbcheck.engines.sets import Sets
from tlbcheck.engines.trace import EngineResult
from tlbcheck.errors import InputError
from tlbcheck.lang.model import Model, Property
from tlbcheck.options import Limits
from tlbcheck.reference.search import Found, Search
from tlbcheck.system.lower import lower
from tlbcheck.system.slicing import slice_system
from tlbcheck.system.sufficiency import represented
from tlbcheck.system.transition_system import TransitionSystem

STATES, MANY_STATES = 300, 1_500
"""States of the reference interpreter, after which a model is too large for this; and for one model in twenty."""
SECONDS = 60.0
BOUND = 6
REFUSED = "refused"
BEYOND = (
    "asks that something is not cached",
    "which nothing asks for",
    "and never read",
    "parameter(s), the rule names",
    "what an entry that comes in changes is no mark",
    "two operations go through the cache in one",
    "what a walk marks depends on what it marked before",
    "marks what walks cache, and keeps other marks",
    "which entries a property marks depends on what is chosen",
)
"""
What is refused besides errors of the model: what one tracked entry cannot tell, and what looks like a slip of the pen.
It is told, never judged wrongly, and counts as no answer.
"""
Verdicts = dict[str, tuple[str, int | None]]
"""For each property ``violated`` with its depth, ``proved``, or ``unknown``; everything is one refusal where the model
is refused.
"""


@dataclass(frozen=True)
class Difference:
    """``engine`` says ``theirs`` about ``what``, the reference interpreter ``ours``."""

    engine: str
    what: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        return f"{self.what}: reference {self.ours}, {self.engine} {self.theirs}"


@dataclass
class Outcome:
    """What was compared: ``answers`` counts decided ones by engine."""

    ours: Verdicts
    differences: list[Difference] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    skipped: str = ""


def verdicts(system: TransitionSystem, result: EngineResult) -> Verdicts:
    """What a search says of each property."""
    for b in system.liveness:
        result.undecided[b.property] = "searches finite runs only"
    depths = {q.name: v.depth if (v := result.shortest(q.name)) else None for q in system.properties}
    return {
        n: ("not-applicable" if n in system.not_applicable else result.verdict(n), depth) for n, depth in depths.items()
    }


class InProcess:
    """Stands in for ``engines.child.Child``: the work is done when its result is asked for, in this process.

    A process for each solver would take longer than the models do. Memory has no limit, and time the one that each of
    z3's answers has (``without_children``).
    """

    def __init__(self, work: Callable[[], Any], *, seconds: float, memory: int) -> None:
        self.work = work

    def hurry(self, seconds: float) -> None:
        """Nothing goes on while the caller does something else."""

    def result(self) -> Any:
        """What the work returns; raises ``Unanswered`` where z3 fails."""
        try:
            return self.work()
        except z3.Z3Exception as error:
            raise Unanswered(f"failed: {error}") from None

    def close(self) -> None:
        """Nothing is left running."""


def without_children() -> None:
    """From now on engines with solvers run in this process."""
    z3.set_param("timeout", 3000)
    vars(running)["Child"] = InProcess


def reference(
    model: Model, properties: Sequence[Property], states: int = MANY_STATES
) -> tuple[Verdicts, Found | None, Search | None]:
    """What the reference interpreter says; a refusal is told under the name ``refused``."""
    search = Search(model, properties)
    try:
        found = search.run(max_states=states, seconds=SECONDS)
    except InputError as error:
        return {REFUSED: (str(error.message), None)}, None, None
    said: Verdicts = {}
    for q in properties:
        depth = found.shortest(q.name)
        said[q.name] = (
            (REFUSED, None)
            if q.name in found.errors
            else ("violated", depth)
            if depth is not None
            else ("proved" if found.complete else "unknown", None)
        )
    return said, found, search


class Comparison:
    """Compares one model; ``engines`` are the names of ``ENGINES`` that are asked."""

    def __init__(self, model: Model, properties: Sequence[Property], engines: Sequence[str]) -> None:
        self.model, self.properties, self.engines = model, properties, engines

    def run(self, states: int = MANY_STATES) -> Outcome:
        return self.against(*reference(self.model, self.properties, states))

    def against(self, ours: Verdicts, found: Found | None, search: Search | None) -> Outcome:
        """The comparison with what the reference interpreter said."""
        outcome = Outcome(ours)
        if found is not None and not found.complete and not any(v == "violated" for v, _ in ours.values()):
            outcome.skipped = found.reason
            return outcome
        endless = {q.name for q in self.properties if q.liveness}
        for name in self.engines:
            try:
                said = ENGINES[name](self, found, search)
            except InputError as error:
                said = {REFUSED: (str(error.message), None)}
            if said is None:
                continue
            if not said:
                outcome.answers[name] += 1  # what it compares is no verdict
            for theirs in said if isinstance(said, list) else [said]:
                if isinstance(theirs, Difference):
                    outcome.differences.append(theirs)
                else:
                    outcome.differences += self.differences(name, ours, theirs, found, endless)
                    outcome.answers[name] += sum(v in ("proved", "violated", "bounded") for v, _ in theirs.values())
        return outcome

    def differences(
        self, engine: str, ours: Verdicts, theirs: Verdicts, found: Found | None, endless: set[str]
    ) -> Iterator[Difference]:
        if REFUSED in ours:
            if REFUSED not in theirs and any(v in ("proved", "violated") for v, _ in theirs.values()):
                yield Difference(engine, "the model", f"refuses ({ours[REFUSED][0]})", str(theirs))
            return
        if REFUSED in theirs:
            if any(limit in theirs[REFUSED][0] for limit in BEYOND):
                return
            if not any(v == REFUSED for v, _ in ours.values()) and found is not None and found.complete:
                yield Difference(engine, "the model", str(ours), f"refuses ({theirs[REFUSED][0]})")
            return
        for name, (verdict, depth) in ours.items():
            other, other_depth = theirs[name]
            if other in ("unknown", "not-applicable") or verdict == "unknown":
                # Up to where both have looked they say the same.
                least = min((d for d in (depth, other_depth) if d is not None), default=None)
                if (
                    verdict == "unknown"
                    and other == "violated"
                    and found is not None
                    and least is not None
                    and least < found.depth
                    and name not in endless
                ):
                    yield Difference(engine, name, f"nothing to depth {found.depth - 1}", f"violated at {other_depth}")
                continue
            if other == "bounded":
                if verdict == "violated" and depth is not None and depth <= (other_depth or 0) and name not in endless:
                    yield Difference(engine, name, f"violated at {depth}", f"nothing to depth {other_depth}")
                continue
            if verdict != other or (depth != other_depth and name not in endless):
                yield Difference(engine, name, f"{verdict} at {depth}", f"{other} at {other_depth}")

    def lowered(self) -> TransitionSystem:
        return lower(self.model, self.properties)


def _checked(
    *engines: str, recheck: bool = False, cases: bool = True
) -> Callable[[Comparison, Found | None, Search | None], Verdicts]:
    """What the command says, replay included: ``cases``, of the whole system, else of a slice."""

    def run(c: Comparison, found: Found | None, search: Search | None) -> Verdicts:
        result = check(
            c.model,
            c.properties,
            engines=engines,
            limits=Limits(seconds=6, confirming=3, states=20_000),
            recheck=recheck,
            cases=cases,
            depth=BOUND,
        )
        said: Verdicts = {}
        for r in result.results:
            depth = min((v.depth for v in r.violations), default=None)
            bound = max((a.depth or 0 for a in r.engines.values() if a.verdict == "bounded"), default=None)
            said[r.property.name] = (r.verdict, bound if r.verdict == "bounded" else depth)
        return said

    return run


def _tracked(c: Comparison, found: Found | None, search: Search | None) -> list[Verdicts | Difference] | None:
    """The search for one tracked entry: what memory holds, and with which entries in the caches."""
    system = c.lowered()
    if system.meeting or found is None or search is None or not found.complete:
        return None
    tracked = Tracked(system, limit=20_000)
    if not tracked.run().complete:
        return None
    return list(_memory(search, tracked))


def _memory(search: Search, tracked: Tracked) -> Iterator[Difference]:
    ours_names, theirs_names = list(search.world.memory), tracked.compiled.variables
    names = [n for n in ours_names if n in theirs_names]
    mine, other = [ours_names.index(n) for n in names], [theirs_names.index(n) for n in names]
    ours = {tuple(s.memory[i] for i in mine) for s in search.depths}
    theirs = {tuple(int(s[i]) for i in other) for s in tracked.reached}
    yield from _different(f"memory ({', '.join(names)})", ours, theirs)
    entries = [tuple(e.values()) for e in tracked.compiled.entries]
    ours_cached = {
        (cpu, e, tuple(s.memory[i] for i in mine))
        for s in search.depths
        for cpu, cache in enumerate(s.caches)
        for e in cache
    }
    theirs_cached = set()
    for cpu, name in tracked.system.cached.items():
        at = tracked.compiled.entry_variables.index(name)
        for state, contents in tracked.reached.items():
            values = tuple(int(state[i]) for i in other)
            for bits, mask in contents.items():
                if bits[at]:
                    theirs_cached |= {(cpu, e, values) for i, e in enumerate(entries) if mask >> i & 1}
    yield from _different(f"cached (CPU, entry, {', '.join(names)})", ours_cached, theirs_cached)


def _different(what: str, ours: set[Any], theirs: set[Any]) -> Iterator[Difference]:
    if ours != theirs:
        yield Difference(
            "explicit", what, f"has {sorted(ours - theirs)[:3]} besides", f"has {sorted(theirs - ours)[:3]} besides"
        )


def _literal(c: Comparison, found: Found | None, search: Search | None) -> list[Verdicts | Difference] | None:
    """The searches of literal caches: with and without slices and symmetry; those that keep every state count alike."""
    system = c.lowered()
    if represented(system, how_many_entries(system, Limits())).free_walks:  # or it refuses what no search judges
        return None  # these let every walk happen
    sliced = slice_system(system)
    said: list[Verdicts | Difference] = []
    counts: dict[str, int | None] = {}
    plain = [explore_full(s, fills="free", limit=20_000) for s in (system, sliced)]
    packed = [
        Packed(s, max_states=200_000, symmetry=symmetry, to_the_end=True).run()
        for s, symmetry in ((system, False), (sliced, False), (sliced, True))
    ]
    sets = Sets(system).run()
    for name, r in zip(
        ("full in Python", "full in Python, sliced", "full", "full, sliced", "full with symmetry", "sets"),
        (*plain, *packed, sets),
        strict=True,
    ):
        if r.complete and not r.reason and name.endswith("sliced"):
            counts[name] = r.states
        said.append(verdicts(system, r))
    if len(set(counts.values())) > 1:
        said.append(Difference("full", "states", "-", str(counts)))
    return said


def _plain(c: Comparison, found: Found | None, search: Search | None) -> Verdicts:
    """Nothing reduced, and no solver: every state of the lowered system with its caches as they are."""
    system = c.lowered()
    return verdicts(system, explore_full(system, fills="free", limit=20_000))


def _certificates(c: Comparison, found: Found | None, search: Search | None) -> list[Verdicts | Difference] | None:
    """What is proved has certificates that z3 accepts; of what is violated nothing is accepted that lets everything be."""
    if found is None or not found.complete or c.model.contracts:
        return None
    limits = Limits(seconds=6, confirming=3)
    evidence = check(
        c.model, c.properties, engines=("explicit", "pdr", "sets"), limits=limits, cases=False, certify=True
    )
    tracking = (evidence.beside or evidence).system
    said: list[Verdicts | Difference] = []
    for r in evidence.results:
        name, depth = r.property.name, found.shortest(r.property.name)
        with tempfile.TemporaryDirectory(prefix="tlbcheck-") as folder:
            for path in write(Path(folder), evidence, name) if r.verdict == "proved" else []:
                written = read_certificate(path)
                queries = list(written.obligations.values())
                answers = ask("z3", written.head, queries, seconds=limits.seconds, memory=limits.memory).answers
                if "sat" in answers:
                    said.append(Difference("certificates", name, "proved", f"z3 answers {answers}"))
        # All states at once are left by no step, so that only what is bad among them can refuse them.
        everything = Invariant((), (), ())
        asks = (
            r.verdict != "not-applicable"
            and depth is not None
            and depth > 0
            and not r.property.liveness
            and not tracking.meeting
        )
        if asks and decide(SystemText(tracking, name), everything, limits.seconds) is None:
            said.append(Difference("certificates", name, "violated", "z3 shows that nothing is bad anywhere"))
    return said


ENGINES: Mapping[
    str, Callable[[Comparison, Found | None, Search | None], Verdicts | list[Verdicts | Difference] | None]
] = {
    "explicit": _checked("explicit", recheck=True),
    "explicit, sliced": _checked("explicit", cases=False),
    "memory": _tracked,
    "full in Python": _plain,
    "full and sets": _literal,
    "bmc": _checked("bmc"),
    "pdr": _checked("pdr"),
    "default": _checked("explicit", "bmc", "pdr"),
    "certificates": _certificates,
}
"""How a model is judged, by name; ``explicit`` with replay of its runs, and with replay's own search of every state."""


def compare(
    model: Model, properties: Sequence[Property], engines: Sequence[str] = tuple(ENGINES), states: int = MANY_STATES
) -> Outcome:
    """The model's properties, judged by ``engines`` and by the reference interpreter with up to so many ``states``."""
    return Comparison(model, properties, engines).run(states)
