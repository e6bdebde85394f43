"""What engines found, told: it becomes the typed result here (``tlbcheck.result``), each run with its whole story.

``report.schema`` writes that as JSON, schema ``tlbcheck/1``.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tlbcheck import __version__
from tlbcheck.certificate.words import sentences
from tlbcheck.engines.account import broken_by, changed, entry_account, since_when
from tlbcheck.engines.retelling import Retelling, retell
from tlbcheck.engines.run import ModelEvidence, PropertyEvidence, is_shared
from tlbcheck.engines.trace import State, Trace, TraceStep, Violation
from tlbcheck.engines.waiting import Wait, pending, waits
from tlbcheck.errors import InputError, Place, shown_file
from tlbcheck.lang.contract import Contract
from tlbcheck.lang.expr import FALSE, evaluate, show, variables
from tlbcheck.lang.model import Model, Property
from tlbcheck.lang.program import AtomicBlock, Require, Statement, walk
from tlbcheck.lang.types import BoolType, Type, WordType
from tlbcheck.library import find_models, in_place_of_the_library_s
from tlbcheck.reliance import reliances, settle
from tlbcheck.replay.history import FILLED, Event, History
from tlbcheck.replay.interpreter import Entry
from tlbcheck.replay.judgement import Judgement
from tlbcheck.report.caches import numbered, points
from tlbcheck.report.caches import write as write_caches
from tlbcheck.report.wording import file_and_line, yes_no
from tlbcheck.result import Counterexample, Expectation, ModelResult, PropertyResult, Reliance, Scope, Unjudged, Vacuity, Verdict
from tlbcheck.stand_ins import granted
from tlbcheck.system.slots import of_entry, slot_name
from tlbcheck.system.sufficiency import Sufficiency
from tlbcheck.system.transition_system import Step, TransitionSystem

SCHEMA = "tlbcheck/1"


def tool() -> dict[str, str]:
    """Versions of what took part."""
    import importlib.metadata  # slow to import

    return {"tlbcheck": __version__, "python": platform.python_version(), "z3-solver": importlib.metadata.version("z3-solver")}


def digest(system: TransitionSystem) -> str:
    """Identifies what was checked: every step, fill and start of the transition system."""
    made = hashlib.sha256()
    system = system.written or system

    def add(steps: Sequence[Step]) -> None:
        for s in steps:
            made.update(f"{s.action}|{s.cpu}|{s.level}|{show(s.guard)}|{[(n, show(e)) for n, e in s.updates.items()]}".encode())
            made.update(f"{[(n, show(e)) for n, e in s.entry_updates.items()]}|{[(b.property, b.clause, show(b.when)) for b in s.bads]}".encode())
            made.update("".join(map(show, s.used)).encode())

    add(system.initial)
    add(system.steps)
    for f in system.fills:
        made.update(show(f.when).encode())
    made.update(str([(b.property, b.clause, show(b.when)) for b in system.invariants]).encode())
    return made.hexdigest()[:16]


def plain(type_: Type, value: int) -> Any:
    """A value as JSON shows it: a name for enums, true or false, else the number."""
    if isinstance(type_, BoolType):
        return bool(value)
    shown = type_.show(value)
    return shown.rstrip("_") if not shown.startswith(("0x", "-")) and not shown.isdigit() else value


def relative(place: Place) -> dict[str, Any]:
    """A place with its file as people see it; of a file elsewhere, its name alone."""
    shown = Path(shown_file(place.file))
    return {"file": shown.name if shown.is_absolute() else str(shown), "line": place.line, "column": place.column}


def case_values(system: TransitionSystem, violation: Violation) -> dict[str, Any]:
    """The case of a violation by name, with the boot options under which it can happen."""
    types = {v.name: v.type for v in system.control}
    if violation.case:
        named = {n: plain(types[system.case_variables[n]], v) for n, v in violation.case}
    elif violation.trace is not None:
        named = _case_at(system, violation.trace.last)
    else:
        named = {}
    if named and system.model.options is not None:
        named["options"] = system.model.options({n: str(v) for n, v in named.items()})
    return named


def _case_at(system: TransitionSystem, state: State) -> dict[str, Any]:
    types = {v.name: v.type for v in system.control}
    for names in (*reversed(list(system.case_frames.values())), system.case_variables):
        if names and all(n in state.control for n in names.values()) and state.control[next(iter(names.values()))]:
            return {n: plain(types[v], state.control[v]) for n, v in names.items()}
    return {}


class Teller:
    """Turns the traces of one transition system into JSON."""

    def __init__(self, system: TransitionSystem) -> None:
        self.system = system
        self.types = {v.name: v.type for v in system.control}
        for v in system.model.state_variables():  # what nothing ever changes is no part of a state
            for n in v.elements() or [v.name]:
                for name in (f"cpu{c}.{n}" for c in range(system.model.cpus)) if v.per_cpu else (n,):
                    self.types.setdefault(name, v.type)
        self.notation = system.model.notation
        self._acting: dict[Place, bool] = {}

    def violation(self, v: Violation, blame: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One violation with its whole story."""
        trace = v.trace
        assert trace is not None
        retold = retell(self.system, v)
        told, history = retold.story, retold.history
        case = case_values(self.system, v)
        clause = next(p.clauses.get(v.clause, "") for p in self.system.properties if p.name == v.property)
        caches = self.caches(retold)
        numbers = self.numbers(retold)
        events = self.events(trace, history, numbers)
        steps, before = [], trace.initial
        about = caches["about"][:1] if caches else []
        held = [{x.cpu: x.stale_since for x in cells if x.entry in about} for cells in points(caches, len(trace.steps))]
        for i, (s, t) in enumerate(zip(trace.steps, told.steps, strict=True), 1):
            made = self.step(before, s, dict(trace.tracked))
            made["chosen"] = list(t.choices)
            made["after"] = {n: [s.after.control[n], self.value(n, s.after.control[n])] for n in told.initial if s.after.control[n] != before.control[n]}
            made["events"] = events[i]
            if trace.tracked:
                made["entry"] = self.entry(before, s.after, held[i])
            steps.append(made)
            before = s.after
        return {
            "depth": v.depth,
            "clause": v.clause,
            "case": case,
            "summary": self.summary(v.clause, clause, case, self.described(history), v),
            "blame": blame if blame is not None and "tried" not in blame else None,
            "tried": blame.get("tried", "") if blame is not None else "",
            "initial": {
                "choices": self.choices(trace.start, {**trace.initial.control, **trace.start_choices}),
                "chosen": list(told.start_choices),
                "variables": {n: told.initial[n] for n in told.initial},
                "shown": {n: self.value(n, x) for n, x in told.initial.items()},
                "cached": bool(told.tracked_at_start),
                "cached_on": list(told.tracked_at_start),
                "everything": told.everything,
                "on": {str(c): held[0].get(c) for c in told.tracked_at_start},
                "events": events[0],
            },
            "tracked": self.tracked(trace.tracked, v) if trace.tracked else None,
            "caches": caches,
            "watched": self.watched(history, numbers),
            "account": self.account(v, retold, numbers),
            "call": self.broken(v, "requires"),
            "assertion": self.broken(v, "assert"),
            "since": since_when(self.system, v),
            "rests_on": self.rests_on(v),
            "loop": trace.loop,
            "steps": steps,
        }

    def summary(self, name: str, clause: str, case: Mapping[str, Any], watched: str, v: Violation) -> str:
        """One sentence: what is wrong, about which entry, on which call path."""
        where = ""
        if case.get("caller", "none") != "none":
            left = f" (interrupted: {case['left']} when interrupts went off)" if case.get("interrupted") else ""
            where = f", in a switch {case['old']} -> {case['new']}{left} called from {case['caller']} with interrupts {self.interrupts(v)}"
        about = f": {watched}" if watched else ""
        for broken in (self.broken(v, "requires"), self.broken(v, "assert")):
            about += f": {broken['text']} ({file_and_line(broken)})" if broken is not None else ""
        return f"{clause or name}{where}{about}"

    def broken(self, v: Violation, event: str) -> dict[str, Any] | None:
        """Of a precondition (``requires``), the call that breaks it, and of an assertion (``assert``), itself: where it is, and in which words."""
        assert v.trace is not None
        if not v.trace.steps:
            scope, bads = dict(v.trace.initial.control), self.system.invariants
        else:
            before, last = [v.trace.initial, *(s.after for s in v.trace.steps)][-2], v.trace.steps[-1]
            scope, bads = {**before.control, **before.entry, **v.trace.tracked, **last.choices}, last.step.bads
        broken = (b for b in bads if b.event == event and (b.property, b.clause) == (v.property, v.clause) and evaluate(b.when, scope))
        return next(({**relative(b.place), "text": b.text} for b in broken if b.place is not None), None)

    def interrupts(self, v: Violation) -> str:
        """``on`` or ``off``: the interrupt flag at the call of the last switch."""
        assert v.trace is not None
        before, found = v.trace.initial, True
        for s in v.trace.steps:
            if any(e.kind == "enter" and e.name == "switch" for e in s.step.events):
                state = before if "switch" in s.step.roles else s.after
                found = bool(state.control.get(f"cpu{s.step.cpu}.if", 1))
            before = s.after
        return "on" if found else "off"

    def about_entry(self, v: Violation) -> bool:
        """Whether the violation is about the tracked entry at all."""
        entry = {x.name for x in (*self.system.entry_fields, *self.system.entry_variables)}
        bads = [b for b in self.system.invariants if (b.property, b.clause) == (v.property, v.clause)]
        bads += [b for s in self.system.steps for b in s.bads if (b.property, b.clause) == (v.property, v.clause)]
        return any(entry & set(variables(b.when)) for b in bads)

    def tracked(self, tracked: Mapping[str, int], v: Violation) -> dict[str, Any]:
        """The entry that is watched; ``shown`` has its fields for people, ``about`` says whether the violation speaks of it."""
        types = {x.name: x.type for x in self.system.entry_fields}
        shown = {n.removeprefix("entry."): plain(types[n], x) for n, x in tracked.items() if of_entry(n, 1)}
        return {"fields": dict(tracked), "shown": shown, "text": self.describe(tracked), "about": self.about_entry(v)}

    def caches(self, retold: Retelling) -> dict[str, Any] | None:
        """What the caches can hold along the run; None where there are none, or the run goes on for ever."""
        cache = self.system.cache
        if cache is None or retold.contents is None:
            return None

        def describe(entry: Entry) -> dict[str, Any]:
            fields = list(zip(cache.fields, entry, strict=True))
            return {"text": cache.describe({f"entry.{n}": x for (n, _, _), x in fields}), "shown": {n: plain(type_, x) for (n, type_, _), x in fields}}

        return write_caches(retold.contents, self.numbers(retold), retold.about, describe)

    def numbers(self, retold: Retelling) -> dict[Entry, int]:
        """The number of each entry in what ``caches`` tells."""
        return numbered(retold.contents, retold.about) if retold.contents is not None else {}

    def watched(self, history: History | None, numbers: Mapping[Entry, int]) -> list[dict[str, Any]]:
        """The entries whose events are told, by number, with their fields as the model has them."""
        cache = self.system.cache
        if cache is None or history is None:
            return []
        return [{"entry": numbers[e], "fields": {n: x for (n, _, _), x in zip(cache.fields, e, strict=True)}} for e in history.watched]

    def account(self, v: Violation, retold: Retelling, numbers: Mapping[Entry, int]) -> dict[str, Any]:
        """What the violation comes down to; ``report.answers`` says it."""
        trace, judged = v.trace, retold.judged
        assert trace is not None
        title = next(p.title for p in self.system.properties if p.name == v.property)
        if judged is None:
            stays = [{"name": n, "shown": self.value(n, trace.last.control[n]), "since": changed(trace, n)} for n in pending(self.system, v)]
            return {"kind": "wait", "required": title, "stays": stays, "waits": [self.wait(w, trace) for w in waits(self.system, trace)]}
        how = {"kind": judged.kind, "name": judged.name, "acting": judged.acting, "usable": judged.usable}
        if retold.history is not None and retold.story.walks is None:
            found = entry_account(self.system, v, retold)
            steps = {"change": found.change, "tables": found.by_tables, "early": list(found.early), "elsewhere": [list(x) for x in found.elsewhere], "missed": list(found.missed)}
            return {"kind": "entry", "cpu": found.cpu, "entry": numbers[found.entry], **steps, "judged": how}
        values = [
            {"name": n, "shown": self.value(n, x), "since": (since := v.depth if n in judged.written else changed(trace, n)), **self.rewritten(trace, n, since)}
            for n, x in judged.memory.items()
            if n in self.types
        ]
        values += [{"name": n, "shown": self.value(n, x), "since": None, "read": step} for n, (x, step) in judged.read.items()]
        values += [{"name": f"{v.property}'s {n}", "shown": self.typed(n, judged, x), "since": since} for n, (x, since) in judged.noted.items()]
        values += [{"name": n, "shown": self.judged_operand(n, judged, x, trace), "since": None} for n, x in judged.operands.items()]
        went_by = list(self.went_by(trace, numbers))[-1:]
        return {"kind": "rule", "cpu": judged.cpu, "required": judged.required or title, "step": broken_by(self.system, v, judged), "values": values, "went_by": went_by, "judged": how}

    def rewritten(self, trace: Trace, name: str, since: int) -> dict[str, int]:
        """The last step after ``since`` that writes into a variable what it holds already."""
        at = [i for i, s in enumerate(trace.steps, 1) if i > since and (e := s.step.updates.get(name)) is not None and name not in variables(e)]
        return {"again": at[-1]} if at else {}

    def went_by(self, trace: Trace, numbers: Mapping[Entry, int]) -> Iterator[dict[str, int | None]]:
        """The steps that go through a cached entry, each with its CPU and that entry."""
        states = [trace.initial, *(s.after for s in trace.steps)]
        for i, s in enumerate(trace.steps, 1):
            if s.step.used:
                scope = {**states[i - 1].control, **s.choices}
                yield {"step": i, "cpu": s.step.cpu, "entry": numbers[tuple(evaluate(e, scope) for e in s.step.used)]}

    def judged_operand(self, name: str, judged: Judgement, value: int, trace: Trace) -> str:
        """An operand of the last step's operation, an argument or a local."""
        last = trace.steps[-1].step if trace.steps else None
        if last is not None and name in last.operands:
            return self.operand(last, name, value)
        format_ = self.notation.values.get(f"{judged.operation}.{name}")
        return self.typed(name, judged, value) if format_ is None else format_(value)

    def typed(self, name: str, judged: Judgement, value: int) -> str:
        type_ = judged.types.get(name)
        return str(value) if type_ is None else self.spelled(name, type_, value)

    def wait(self, w: Wait, trace: Trace) -> dict[str, Any]:
        at = trace.steps[w.since - 1].after if w.since else trace.initial
        shown = self.value(w.variable, at.control[w.variable])
        return {"cpu": w.cpu, "variable": w.variable, "shown": shown, "awaited": w.awaited, "since": w.since, "masked": w.masked, "taken": w.taken}

    def described(self, history: History | None) -> str:
        """What the violation is about, for people; empty if that is no entry."""
        cache = self.system.cache
        if cache is None or history is None:
            return ""
        return " and ".join(cache.describe({f"entry.{n}": x for (n, _, _), x in zip(cache.fields, e, strict=True)}) for e in history.watched)

    def events(self, trace: Trace, history: History | None, numbers: Mapping[Entry, int]) -> list[list[dict[str, Any]]]:
        """What happens to the watched entries at the start and in each step; of a walk, where it starts ``from``."""
        if history is None:
            return [[] for _ in range(len(trace.steps) + 1)]
        states = [trace.initial, *(s.after for s in trace.steps)]
        return [[self.event(e, state, numbers) for e in point] for point, state in zip(history.points, states, strict=True)]

    def event(self, e: Event, state: State, numbers: Mapping[Entry, int]) -> dict[str, Any]:
        made: dict[str, Any] = {"cpu": e.cpu, "entry": numbers[e.entry], "what": e.what}
        if e.by:
            made["by"] = e.by
        if e.since is not None:
            made["since"] = e.since
        if e.what == FILLED and (start := self.walk(e.cpu, state)):
            made["from"] = start
        return made

    def walk(self, cpu: int, state: State) -> str:
        """Where a walk on a CPU starts in ``state``, and what it finds, for people."""
        own = f"cpu{cpu}."
        registers = {n.removeprefix(own): self.value(n, x) for n, x in state.control.items() if n.startswith(own) and is_shared(n, self.system)}
        return self.notation.walks(registers)

    def rests_on(self, v: Violation) -> list[str]:
        """The registers and variables in memory that decide whether the last step breaks the property."""
        trace = v.trace
        assert trace is not None
        if not trace.steps:
            return []
        last = trace.steps[-1].step
        read = {n for e in (last.guard, *(b.when for b in last.bads if (b.property, b.clause) == (v.property, v.clause))) for n in variables(e)}
        return [n for n in trace.initial.control if n in read and is_shared(n, self.system) and not n.startswith("case.")]

    def describe(self, tracked: Mapping[str, int]) -> str:
        if self.system.cache is None or not tracked:
            return ""
        firsts = [n for n in tracked if of_entry(n, 1)]
        return " and ".join(self.system.cache.describe({n: tracked[slot_name(n, slot)] for n in firsts}) for slot in range(1, self.system.slots + 1))

    def entry(self, before: State, after: State, stale_since: Mapping[int, int | None]) -> dict[str, Any]:
        """What a step does to the tracked entry; ``stale_since`` by CPU, where it is cached."""
        had = any(before.entry[n] for n in self.system.cached.values())
        on = {str(c): stale_since.get(c) for c, n in self.system.cached.items() if after.entry[n]}
        event = "filled" if on and not had else "dropped" if had and not on else None
        return {"cached": bool(on), "event": event, "stale_since": min((x for x in on.values() if x is not None), default=None), "on": on}

    def step(self, before: State, s: TraceStep, tracked: Mapping[str, int]) -> dict[str, Any]:
        scope = {**before.control, **before.entry, **tracked, **s.choices}
        operands = {n: evaluate(e, scope) for n, e in s.step.operands.items()}
        places, procedures = s.step.stack({**before.control})
        return {
            "cpu": s.step.cpu,
            "level": s.step.level,
            "actor": s.step.actor,
            "action": s.step.action,
            "text": self.text(s.step, operands) + self.written(before, s),
            "procedures": list(procedures),
            "source": [relative(p) for p in places],
            "choices": self.choices(s.step, scope),
            "chose": self.choices(s.step, scope, shown=True),
            "changes": self.changes(before, s.after),
            "exception": s.step.exception or None,
        }

    def text(self, step: Step, operands: Mapping[str, int]) -> str:
        shown = {n: self.operand(step, n, v) for n, v in operands.items()}
        try:
            text = step.text.format(**shown)
        except (KeyError, IndexError, ValueError):
            text = step.text
        return f"{text}: {step.exception}" if step.exception else text

    def written(self, before: State, s: TraceStep) -> str:
        """What an indivisible step of the model changed, which its words do not tell: `` (NAME := VALUE, ...)``; or that it changed nothing, where it may."""
        if s.step.action != "atomic" and s.step.cpu is not None:
            return ""
        names = [n for n, new in s.after.control.items() if new != before.control[n] and is_shared(n, self.system) and n.rpartition(".")[2] != "if"]
        own = f"cpu{s.step.cpu}."
        told = ", ".join(f"{n.removeprefix(own)} := {yes_no(self.value(n, s.after.control[n]))}" for n in names)
        changes = any(new != before.control[n] for n, new in s.after.control.items() if is_shared(n, self.system))
        return f" ({told})" if told else "" if changes or s.step.exception or not self.may_act(s.step) else " (changes nothing)"

    def may_act(self, step: Step) -> bool:
        """Whether what is written at the place of an indivisible step acts on anything on some path."""
        if not step.places:
            return False
        at = step.places[0]
        found = self._acting.get(at)
        if found is None:
            model = self.system.model
            inside: list[Statement] = [s for q in model.reachable() for s in walk(q.body) if s.place == at and isinstance(s, AtomicBlock)]
            inside += [s for q in map(model.resolve, model.actions) if q.place == at for s in q.body]
            found = self._acting[at] = model.acts(inside)
        return found

    def operand(self, step: Step, name: str, value: int) -> str:
        format_ = self.notation.values.get(f"{step.action}.{name}")
        if format_ is not None:
            return format_(value)
        type_ = step.operands[name].type
        return str(value) if type_ is None else type_.show(value)

    def value(self, name: str, value: int) -> str:
        """A variable's value for people: as the model writes it, else words in hexadecimal."""
        return self.spelled(name.partition(".")[2] if name.startswith("cpu") else name, self.types[name], value)

    def spelled(self, name: str, type_: Type, value: int) -> str:
        format_ = self.notation.values.get(name)
        if format_ is None and isinstance(type_, WordType):
            return type_.show(value) if value > 9 else str(value)
        return format_(value) if format_ else str(plain(type_, value))

    def choices(self, step: Step, scope: Mapping[str, int], *, shown: bool = False) -> dict[str, Any]:
        """What the step chose freely, by name; ``shown``: as people write it."""
        made: dict[str, Any] = {}
        for label, type_, e in step.choices:
            name, n = label, 2
            while name in made:
                name, n = f"{label}#{n}", n + 1
            value = evaluate(e, scope)
            made[name] = self.spelled(label, type_, value) if shown else plain(type_, value)
        return made

    def changes(self, before: State, after: State) -> dict[str, list[Any]]:
        """Variables of the model that changed; words by their named fields."""
        made: dict[str, list[Any]] = {}
        for name, new in after.control.items():
            old = before.control[name]
            if old == new or not is_shared(name, self.system):
                continue
            tail = name.partition(".")[2] if name.startswith("cpu") else name
            fields = self.notation.fields.get(tail)
            if not fields:
                made[name] = [plain(self.types[name], old), plain(self.types[name], new)]
                continue
            for field_name, (mask, shift) in masks_of(fields).items():
                a, b = ((x & mask) >> shift for x in (old, new))
                if a != b:
                    made[f"{name}.{field_name}"] = [a, b]
        return made


def masks_of(fields: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Mask and shift of each named field, and of ``other``: all bits without a name.

    A field that starts below bit 12 is shifted down; an address stays in place, as the rest does.
    """
    made = {}
    for name, mask in fields.items():
        low = (mask & -mask).bit_length() - 1
        made[name] = (mask, 0 if low >= 12 and mask.bit_count() > 1 else low)
    made["other"] = (~sum(fields.values()), 0)
    return made


def covered(model: Model, decided: Sufficiency) -> Scope:
    """What a proof covers, for the reader: what the model says, and what was decided of its entries."""
    counted = {n: x for n, x in decided.scope().items() if model.cache or n != "representation"}
    return Scope({"cpus": model.cpus, **model.scope, **counted, "profile": model.profile})


def model_result(evidence: ModelEvidence, *, every_case: bool = False) -> ModelResult:
    """The typed result of what engines found of one model, settled as far as it goes by itself (``tlbcheck.reliance``).

    ``every_case``: with each run that has a trace, instead of the shortest, and the shortest by a caller that exists.
    """
    teller, relies = Teller(evidence.system), reliances(evidence.model)
    premises = (*replacing(evidence.model), *evidence.model.assumptions, *evidence.decided.assumptions, *assumed(evidence.model, evidence.system))
    shown = showing(evidence.model)
    common = _Common(digest(evidence.whole), tuple(unreached(evidence)), premises, relies, shown)
    results = [_property_result(evidence, p, teller, common, every_case=every_case) for p in evidence.results]
    return ModelResult(evidence.model.name, evidence.model.title, settle(results, {}, ()))


def showing(model: Model) -> tuple[tuple[Contract, Model], ...]:
    """Each promise that a model relies on, with the model that shows it."""
    return tuple((c, find_models(c.shown_by)[0]) for c in model.relied_on())


def stood_for(model: Model, shown: Sequence[tuple[Contract, Model]], q: Property) -> tuple[str, ...]:
    """What a verdict on ``q`` takes for granted of stand-ins (``tlbcheck.stand_ins``)."""
    return tuple(said for c, shows in shown if (said := granted(model, shows, c, q)))


class _Common(NamedTuple):
    """What all verdicts on a model share."""

    model_digest: str
    unreached: tuple[str, ...]
    premises: tuple[str, ...]
    relies: tuple[Reliance, ...]
    shown: tuple[tuple[Contract, Model], ...]
    """What is relied on, each with the model that is to show it."""


def _property_result(evidence: ModelEvidence, p: PropertyEvidence, teller: Teller, common: _Common, *, every_case: bool) -> PropertyResult:
    model, decided = evidence.model, evidence.decided
    shown = [v for v in p.violations if v.trace is not None]
    if not every_case:
        real = [v for v in shown if not any(pair in model.open_cases for pair in v.case)]
        shown = [*shown[:1], *(v for v in real[:1] if v is not shown[0])]
    unjudged = tuple(Unjudged(c, text, f"{p.property.name}/{c}" in model.vacuous) for c, text in p.unjudged.items())
    return PropertyResult(
        model=model.name,
        name=p.property.name,
        found=p.verdict,
        how=p.reason(),
        engines=dict(p.engines),
        vacuity=Vacuity(p.vacuous, p.property.name in model.vacuous, p.looked, unjudged),
        notes=tuple(p.notes),
        expectation=Expectation(declared_of(model, p.property.name), model.expected_source),
        scope=covered(model, decided),
        sufficiency=sufficiency_of(decided),
        invariant=invariant_in_words(evidence, p),
        callers=tuple(sorted({str(case_values(evidence.system, v).get("caller")) for v in p.violations if v.case})),
        cases=len({v.case for v in p.violations}),
        depths={clause: min(v.depth for v in p.violations if v.clause == clause) for clause in dict.fromkeys(v.clause for v in p.violations)},
        violations=tuple(Counterexample(teller.violation(v, evidence.blame.get(id(v)))) for v in shown),
        origin=dict(model.origin),
        model_digest=common.model_digest,
        unreached=common.unreached,
        premises=(*replacing(p.property), *common.premises, *stood_for(model, common.shown, p.property)),
        relies=common.relies,
    )


def replacing(declared: Model | Property) -> tuple[str, ...]:
    """That it replaces something of the library, if it does."""
    text = in_place_of_the_library_s(declared)
    return (text,) if text else ()


def sufficiency_of(decided: Sufficiency) -> dict[str, str]:
    """Why so many entries are enough, and which numbers are any number: a sentence for each condition and field."""
    return {**{c.name: c.reason or "holds" for c in decided.conditions}, **{d.name: d.why for d in decided.dimensions}}


def declared_of(model: Model, property_name: str) -> Verdict | None:
    """The verdict that a model declares of a property, if any. Raises ``InputError`` if there is none of that name."""
    if (verdict := model.expected.get(property_name)) is None:
        return None
    try:
        return Verdict(verdict)
    except ValueError:
        raise InputError(f"{model.name} declares the verdict '{verdict}'", hint=f"verdicts are {', '.join(Verdict)}") from None


def assumed(model: Model, system: TransitionSystem) -> list[str]:
    """What a verdict takes for granted of procedures that carry contracts: whom they are called by."""
    made = []
    for q, general in system.opened.items():
        required = " and ".join(r.text for _, r in model.requirements(q))
        made.append(f"the most general caller calls {q.name}() {general}{f', where what it requires holds: {required}' if required else ''}")
    return made


def invariant_in_words(evidence: ModelEvidence, p: PropertyEvidence) -> tuple[str, ...] | None:
    """What a proof rests on, in sentences; None where no invariant was found."""
    invariant = next((r.invariants[p.property.name] for r in evidence.proofs if p.property.name in r.invariants), None)
    return tuple(sentences(evidence.system, invariant)) if invariant is not None else None


def unreached(evidence: ModelEvidence) -> list[str]:
    """Source lines of the model that no run executes, and that no cache is ever filled, where none is."""
    complete = [r for r in (evidence.explicit, evidence.seen) if r is not None and r.complete]
    if not complete:
        return []
    found = complete[0]

    def place(s: Step) -> str:
        at = relative(s.places[0])
        return f"{at['file']}:{at['line']} {s.action}"

    lines = [s for s in evidence.system.steps if s.places and not s.checks]  # that no error of the model is reached is as it should be
    reached = {place(s) for s in lines if s.index in found.steps_fired}
    cache = evidence.system.cache
    empty = [f"a fill of the {cache.name}: nothing is ever cached"] if cache is not None and any(r.cached_entries == 0 for r in complete) else []
    return [*sorted({place(s) for s in lines} - reached), *_ends(evidence), *empty]


def _ends(evidence: ModelEvidence) -> list[str]:
    """Where nothing goes on whatever happens, so that what follows is no step of any run: a wait for nothing, an operation that always faults."""
    never = [(s.place, "require(): what it asks for is never so") for procedure in evidence.model.reachable() for s in walk(procedure.body) if isinstance(s, Require) and s.condition is FALSE]
    faulting = {s.places[0]: s for s in evidence.system.steps if s.exception and s.places}
    others = {s.places[0] for s in evidence.system.steps if not s.exception and s.places}
    never += [(place, f"what follows {s.action}: it always raises {s.exception}") for place, s in faulting.items() if place not in others]
    return [f"{at['file']}:{at['line']} {what}" for at, what in ((relative(place), what) for place, what in never)]


def document(command: str, **more: Any) -> dict[str, Any]:
    """The outer object of every JSON output."""
    return {"schema": SCHEMA, "command": command, "tool": tool(), **more}
