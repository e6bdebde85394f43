"""Changes that a reviewer would try where a model names no repair: made of the model's own statements, along the run that goes wrong.

What a branch skipped is done on every path; an invalidation that the model performs elsewhere is inserted, or a call that asks others for
one, or what the processor has; what a CPU keeps that another waits for is given back; a statement moves later; the
branch that was taken is left out; a condition has one part less. What is likeliest to matter comes first: where an entry is wrong, more invalidations and later
acknowledgements; elsewhere, what has to do with the steps that decided. Each is only a proposal: ``tlbcheck.blame`` applies it and searches
the changed model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace

from tlbcheck.changes import Change, line_of, source
from tlbcheck.engines.trace import Trace
from tlbcheck.errors import Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import Expr, and_, const, not_, or_, show, variables
from tlbcheck.lang.model import Model, Repair
from tlbcheck.lang.types import BoolType, Type
from tlbcheck.mutate import Edit

Proposal = tuple[p.Procedure, Change]
_WRONGLY = "decides by the wrong condition"


@dataclass(frozen=True)
class About:
    """What a violation comes down to, in numbers of steps.

    From step ``change`` on an entry has to go (None: it is about no entry); if it is ``kept``, it changes page tables, and is not
    up for a change itself. ``decided`` are the steps which the outcome comes down to. Of a run that never ends, ``held`` gives the
    variables (with the steps that gave them their values) that somebody waits for another value of, ``masked`` the steps since which
    interrupts are off on CPUs that are waited for, and ``pending`` the names of the variables that the property itself asks about.
    """

    change: int | None = None
    kept: bool = False
    decided: Set[int] = frozenset()
    held: tuple[tuple[str, int], ...] = ()
    masked: Set[int] = frozenset()
    pending: Set[str] = frozenset()


def attempts(model: Model, trace: Trace, about: About) -> Iterator[Proposal]:
    """Changes to the procedures that ``trace`` runs through, the likeliest first."""
    run = _Executed(model, trace, about)
    through = any(s.step.used for s in trace.steps)
    decisive = {place for i in about.decided if i for place in trace.steps[i - 1].step.places}

    def rank(proposal: Proposal) -> int:
        _, c = proposal
        touched = any(s.place in decisive for e in c.edits for s in p.walk([e.statement]))
        if about.change is None:
            if c.kind == "skipped" and through and _invalidates(model, [s for e in c.edits for s in e.new]):
                return -1
            return (not touched) + (c.kind == "needless" and trace.loop is None)
        more = [s for e in c.edits for s in e.new] if c.kind == "skipped" else []
        if c.kind == "misplaced":
            more = [e.statement for e in c.edits if e.where == "after" or _only_invalidates(model, e.statement)]
        if _invalidates(model, more) or (c.kind == "skipped" and _written(model, more) & _asked(model)):
            return 0
        return 1 if c.kind == "missing" else 2 if touched else 3

    kinds = [run.unguarded(), run.inserted(), run.asked_for(), run.by_the_processor(decisive), run.decided(), run.moved(), run.left_out()]
    if about.change is None:
        kinds = [run.decided(), run.unguarded(), run.moved(), run.left_out(), run.inserted()]
    yield from run.masking()
    yield from run.given_back()
    yield from sorted((proposal for kind in kinds for proposal in kind), key=rank)
    yield from run.moved(past_its_own=True)
    yield from run.by_the_processor(None)


def variants(model: Model, trace: Trace) -> Iterator[Proposal]:
    """What the model itself declares otherwise: a flag as it is by default, a procedure as it is by itself; first where ``trace`` runs through it.

    Last come ``option``s: flags as they are not by default, which a procedure of the run reads. Of somebody else's code nothing is
    declared: that the environment has procedures of its own for its place mends nothing.
    """
    if model.origin:
        return
    executed = _Executed(model, trace, About()).procedures
    procedures = list(dict.fromkeys([*executed, *model.reachable()]))
    yield from (_flagged(model, f, "variant", procedures) for f, on in model.flags.items() if on is not f.default and _reading(f, procedures))
    for q, other in model.procedures.items():
        if other in procedures:
            fix = f"run {q.name}() itself"
            yield other, Change("variant", other.name, other.place, other.name, f"runs in the place of {q.name}()", fix, (), restored=(q,))
    yield from (_flagged(model, f, "option", executed) for f, on in model.flags.items() if on is f.default and _reading(f, executed))


def _reading(flag: p.Flag, procedures: Sequence[p.Procedure]) -> list[tuple[p.Procedure, p.Statement]]:
    """The statements that read a flag, each with its procedure."""
    return [(q, s) for q in procedures for s in p.walk(q.body) if any(f"flag.{flag.name}" in variables(e) for e in p.expressions(s))]


def _flagged(model: Model, flag: p.Flag, kind: str, procedures: Sequence[p.Procedure]) -> Proposal:
    """A flag set the other way."""
    q, s = _reading(flag, procedures)[0]
    on = model.flags[flag]
    fix = f"do as {'without' if on else 'with'} {flag.name}"
    return q, Change(kind, _name(s), s.place, q.name, f"does as {flag.name} says", fix, (), flags=((flag, not on),))


class _Executed:
    """The statements that a trace executes, each with its procedure, in the order of their last execution, latest first."""

    def __init__(self, model: Model, trace: Trace, about: About) -> None:
        self.model, self.trace, self.about = model, trace, about
        where = {s.place: (q, s) for q in model.reachable() for s in p.walk(q.body) if isinstance(s, p.Do | p.Read | p.Write | p.AtomicBlock)}
        numbered = [(i, where[place]) for i, s in enumerate(trace.steps, 1) for place in s.step.places[:1] if place in where]
        self.latest = list({id(s): (i, q, s) for i, (q, s) in numbered}.values())[::-1]
        self.places = {place for s in trace.steps for place in s.step.places}
        self.change = about.change or 0
        ends = {self.change if about.kept else 0, len(trace.steps)}
        self.kept = {s.step.places[0] for i, s in enumerate(trace.steps, 1) if i in ends and s.step.places}
        self.changing = {s.step.places[0] for i, s in enumerate(trace.steps, 1) if about.kept and i == self.change and s.step.places}
        blocks = [s for _, _, s in self.latest if isinstance(s, p.AtomicBlock)]
        called = _called(model, blocks if trace.steps else model.init.body)
        self.inside = {s.place for s in p.walk([*blocks, *(s for q in called for s in q.body)])}
        """What may have been executed, in one step with other things."""
        self.procedures = list(dict.fromkeys([*(q for _, q, _ in self.latest), *called]))
        if not trace.steps:
            self.inside |= {s.place for s in p.walk(model.init.body)}
            self.procedures.insert(0, model.init)

    def inserted(self) -> Iterator[Proposal]:
        """An invalidation that the model performs elsewhere, after each statement executed since the change: first where one did not do."""
        since = [(q, s) for i, q, s in self.latest if i >= self.change]
        for q, s in sorted(since, key=lambda x: not _drops(x[1])):
            for new in _invalidations(self.model, [q, *self.model.reachable()]):
                if not isinstance(s, p.Do) or _deed(new) != _deed(s):
                    yield q, self._insert(q, s, "after", replace(new), source(new.place))

    def asked_for(self) -> Iterator[Proposal]:
        """A call that asks others to invalidate, or a wait, as the model has them elsewhere, after each statement executed since the change."""
        for i, q, s in self.latest:
            if i >= self.change:
                for new in (*_requests(self.model), *_pauses(self.model)):
                    yield q, self._insert(q, s, "after", replace(new), source(new.place))

    def by_the_processor(self, missed: Set[Place] | None) -> Iterator[Proposal]:
        """What the processor has to drop entries with, after the change and each statement executed since, and just before the last.

        ``missed``: after those alone, at these places, that invalidate something else.
        """
        repairs = self.model.cache.repairs if self.model.cache is not None else ()
        for i, q, s in reversed(self.latest):
            wheres = ("before", "after") if i == len(self.trace.steps) > self.change else ("after",) if i >= self.change else ()
            if missed is not None:
                wheres = ("after",) if i >= self.change and s.place in missed and _drops(s) else ()
            for where in wheres:
                for repair in repairs:
                    if isinstance(repair, Repair) and isinstance(repair.what, p.Operation):
                        yield q, self._insert(q, s, where, p.Do(place=s.place, operation=repair.what, args=repair.args), repair.text)

    def masking(self) -> Iterator[Proposal]:
        """What turns interrupts off for ever on a CPU that others wait for, left out."""
        for i, q, s in self.latest:
            if i in self.about.masked and isinstance(s, p.Do) and s.target is None:
                yield q, Change("needless", _name(s), s.place, q.name, "should not be done there", "leave it out", (Edit(s, "replace", ()),))

    def given_back(self) -> Iterator[Proposal]:
        """What a CPU took and keeps, while another waits for it, given back: first where it gives back something else."""
        for name, taken in self.about.held:
            if not taken:
                continue
            before = (self.trace.steps[taken - 2].after if taken > 1 else self.trace.initial).control[name]
            by = self.trace.steps[taken - 1].step
            writes = [s for _, s in self._statements(by.places) if isinstance(s, p.Write) and s.variable.name == name and s.at is None]
            later = [(i, q, s) for i, q, s in self.latest if i > taken and self.trace.steps[i - 1].step.cpu == by.cpu]
            for write in writes[:1]:
                given = replace(write, value=const(before, write.variable.type))
                words = f"{name}.set({_literal(write.variable.type, before)})"
                for _, q, s in sorted(later, key=lambda x: (not isinstance(x[2], p.Write), x[0])):
                    yield q, self._insert(q, s, "after", replace(given, place=s.place), words)

    def unguarded(self) -> Iterator[Proposal]:
        """What a branch skipped, done on every path."""
        for q in self.procedures:
            for s in _own(q):
                if isinstance(s, p.If):
                    for skipped, taken in ((s.then, s.orelse), (s.orelse, s.then)):
                        if skipped and not self._ran(skipped) and not _returns(skipped) and not self._stays(taken):
                            place = skipped[0].place
                            if _part_of_a_line(s):
                                held = "held" if skipped is s.then else "did not hold"
                                yield q, Change("decided", _name(s), s.place, q.name, _WRONGLY, f"go on as if {_condition(s)} {held}", (Edit(s, "replace", tuple(skipped)),))
                                continue
                            yield q, Change("skipped", _name(skipped[0]), place, q.name, "is skipped on some paths that need it", "do it whatever the condition", (Edit(s, "replace", tuple(skipped)),))

    def moved(self, *, past_its_own: bool = False) -> Iterator[Proposal]:
        """A statement that acts, moved to after a later one of its list that does, too: the next first.

        If not ``past_its_own``, past none that reads or writes what it writes: another value would be read, or stay.
        """
        for q in self.procedures:
            for statements in _lists(q.body):
                for i, s in enumerate(statements):
                    if not self._may_run([s]) or self._is_the_change([s]) or not self.model.acts([s]) or _assigned(s) or _returns([s]):
                        continue
                    written = _written(self.model, [s])
                    if written & self.about.pending:
                        continue
                    for j, after in enumerate(statements[i + 1 :], i + 1):
                        passed = statements[i + 1 : j + 1]
                        meets = bool(written & (_read(self.model, passed) | _written(self.model, passed)))
                        if (self.model.acts([after]) or isinstance(after, p.Call)) and not _returns([after]) and meets is past_its_own:
                            fix = f"move line {s.place.line} to after line {_last(after).line} ({source(_last(after))})"
                            yield q, Change("misplaced", _name(s), s.place, q.name, "comes too early", fix, (Edit(s, "replace", ()), Edit(after, "after", (s,))))

    def left_out(self) -> Iterator[Proposal]:
        """A branch that the run took, left out."""
        for q in self.procedures:
            for s in _own(q):
                if isinstance(s, p.If) and s.then and not _part_of_a_line(s) and not self._stays(s.then) and (self._may_run(s.then) or not self.model.acts(s.then)):
                    place = s.then[0].place
                    yield q, Change("needless", _name(s.then[0]), place, q.name, "should not be done there", f"leave out what is done if {_condition(s)}", (Edit(s, "replace", tuple(s.orelse)),))

    def decided(self) -> Iterator[Proposal]:
        """A statement that says something else under some condition: the other thing always, or a condition with one part less."""
        for q in self.procedures:
            for s in _own(q):
                if isinstance(s, p.If | p.Write | p.Assign):
                    for new, fix in _otherwise(s.condition if isinstance(s, p.If) else s.value):
                        other = replace(s, condition=new) if isinstance(s, p.If) else replace(s, value=new)
                        yield q, Change("decided", _name(s), s.place, q.name, _WRONGLY, fix, (Edit(s, "replace", (other,)),))

    def _insert(self, q: p.Procedure, s: p.Statement, where: str, new: p.Statement, words: str) -> Change:
        return Change("missing", _name(new), s.place, q.name, f"needs {words} {where} it", f"insert {words} {where} line {s.place.line}", (Edit(s, where, (new,)),))

    def _statements(self, places: Sequence[Place]) -> Iterator[tuple[p.Procedure, p.Statement]]:
        """What a step at ``places`` may execute."""
        at = [(q, s) for q in self.model.reachable() for s in p.walk(q.body) if s.place in places[:1]]
        for q, s in at:
            yield from ((q, x) for x in p.walk([s]))
            yield from ((called, x) for called in _called(self.model, [s]) for x in p.walk(called.body))

    def _ran(self, statements: Sequence[p.Statement]) -> bool:
        return any(s.place in self.places for s in p.walk(list(statements)))

    def _may_run(self, statements: Sequence[p.Statement]) -> bool:
        return self._ran(statements) or any(s.place in self.inside for s in p.walk(list(statements)))

    def _stays(self, statements: Sequence[p.Statement]) -> bool:
        """Whether the change of page tables, or the last step, is among them: without these there would be nothing to judge."""
        return any(s.place in self.kept for s in p.walk(list(statements)))

    def _is_the_change(self, statements: Sequence[p.Statement]) -> bool:
        """Whether the change of page tables is among them: what is judged has to come after it."""
        return any(s.place in self.changing for s in p.walk(list(statements)))


def _own(q: p.Procedure) -> Iterator[p.Statement]:
    """The statements of a procedure but for those that compute what it asserts or requires: to change these is to ask for something else."""
    asked = {line_of(s.place) for s in p.walk(q.body) if isinstance(s, p.Assert | p.Require | p.Requires)}
    return (s for s in p.walk(q.body) if line_of(s.place) not in asked)


def _part_of_a_line(s: p.If) -> bool:
    """Whether a branch stands inside an expression: of ``and``, ``or`` and ``... if ... else ...``, whose parts are evaluated one after the other."""
    inside = [x for branch in (s.then, s.orelse) for x in branch]
    return bool(s.then and s.orelse) and all(line_of(x.place) == line_of(s.place) and (getattr(x, "target", None) or "").startswith("%") for x in inside)


def _called(model: Model, statements: Sequence[p.Statement]) -> list[p.Procedure]:
    """The procedures that ``statements`` call, and those that these call."""
    found: dict[p.Procedure, None] = {}
    waiting = list(statements)
    while waiting:
        for s in p.walk([waiting.pop()]):
            if isinstance(s, p.Call) and (q := model.resolve(s.procedure)) not in found:
                found[q] = None
                waiting += q.body
    return list(found)


def _everything(model: Model, statements: Sequence[p.Statement]) -> Iterator[p.Statement]:
    """``statements``, what is in them, and what they call."""
    yield from p.walk([*statements, *(s for q in _called(model, statements) for s in q.body)])


def _written(model: Model, statements: Sequence[p.Statement]) -> set[str]:
    """The names of the variables and registers that ``statements`` can change."""
    inside = list(_everything(model, statements))
    return {s.variable.name for s in inside if isinstance(s, p.Write)} | {v.name for s in inside if isinstance(s, p.Do) for v, _ in s.operation.effects}


def _read(model: Model, statements: Sequence[p.Statement]) -> set[str]:
    """The names of the variables and registers whose values ``statements`` can come to know."""
    inside = list(_everything(model, statements))
    results = [s.operation.result for s in inside if isinstance(s, p.Do) and s.operation.result is not None]
    return {s.variable.name for s in inside if isinstance(s, p.Read)} | {n for e in results for n in variables(e)}


def _literal(type_: Type, value: int) -> str:
    """A value as source has it."""
    return str(bool(value)) if isinstance(type_, BoolType) else type_.show(value)


def _invalidates(model: Model, statements: Sequence[p.Statement]) -> bool:
    """Whether ``statements``, or what they call, drop cached entries."""
    return any(_drops(s) or (isinstance(s, p.Call) and _invalidates(model, model.resolve(s.procedure).body)) for s in p.walk(list(statements)))


def _only_invalidates(model: Model, s: p.Statement) -> bool:
    """Whether a statement drops cached entries, and loads nothing."""
    drops = [x for x in _everything(model, [s]) if _drops(x)]
    return bool(drops) and not any(isinstance(x, p.Do) and x.operation.effects for x in drops)


def _drops(s: p.Statement) -> bool:
    return isinstance(s, p.Do) and bool(s.operation.drops)


def _deed(s: p.Do | p.Call) -> tuple[object, ...]:
    """What a statement does, with which operands: two that do the same have the same."""
    return (s.operation if isinstance(s, p.Do) else s.procedure, *map(show, s.args))


def _invalidations(model: Model, procedures: Sequence[p.Procedure]) -> list[p.Do | p.Call]:
    """Each way in which ``procedures`` invalidate something with operands that mean the same everywhere."""
    made: dict[tuple[object, ...], p.Do | p.Call] = {}
    for q in procedures:
        for s in p.walk(q.body):
            invalidates = (isinstance(s, p.Do) and _only_invalidates(model, s)) or (isinstance(s, p.Call) and _flushes(model, s))
            if invalidates and isinstance(s, p.Do | p.Call) and s.target is None and all(_closed(a) for a in s.args):
                made.setdefault(_deed(s), s)
    return list(made.values())


def _asked(model: Model) -> set[str]:
    """The variables that ask for an interrupt whose handler invalidates."""
    return {n for x in model.interrupts if _invalidates(model, model.resolve(x.handler).body) for n in variables(x.when)}


def _tables(model: Model) -> set[str]:
    """The variables and registers that say what walks find."""
    rules = [*model.meanings.values(), *([model.cache.fill] if model.cache is not None else [])]
    return {n for e in rules for n in variables(e) if "." not in n}


def _requests(model: Model) -> list[p.Call]:
    """Each call, with operands that mean the same everywhere, that asks for an interrupt whose handler invalidates."""
    asked, tables = _asked(model), _tables(model)
    found: dict[tuple[object, ...], p.Call] = {}
    for q in model.reachable():
        for s in p.walk(q.body):
            if isinstance(s, p.Call) and s.target is None and not s.general and all(_closed(a) for a in s.args):
                called = model.resolve(s.procedure)
                asks = any(isinstance(x, p.Write) and x.variable.name in asked for x in p.walk(called.body))
                if asks and not called.role and not _written(model, called.body) & tables:
                    found.setdefault(_deed(s), s)
    return list(found.values())


def _pauses(model: Model) -> list[p.AtomicBlock]:
    """The blocks that do nothing but wait, for something that means the same everywhere."""
    found = []
    for s in (s for q in model.reachable() for s in p.walk(q.body)):
        if isinstance(s, p.AtomicBlock) and any(isinstance(x, p.Require) for x in p.walk(s.body)) and not model.acts(s.body):
            known = {t for x in p.walk(s.body) if (t := getattr(x, "target", None))}
            if all("." in n or n in known for x in p.walk(s.body) for e in p.expressions(x) for n in variables(e)):
                found.append(s)
    return found


def _flushes(model: Model, s: p.Call) -> bool:
    """Whether a call drops entries here, and does nothing else that others see."""
    inside = list(p.walk(model.resolve(s.procedure).body))
    drops = [x for x in inside if isinstance(x, p.Do) and x.operation.drops]
    return bool(drops) and not s.general and not any(x.operation.effects for x in drops) and not any(isinstance(x, p.Write | p.Choose) for x in inside)


def _otherwise(e: Expr) -> Iterator[tuple[Expr, str]]:
    """What ``e`` could be with one side of a conditional taken always, or one part of a condition left out; and that in words."""
    match e.op:
        case "ite":
            for side in e.args[1:]:
                yield side, f"take {_words(side)} whatever {_words(e.args[0])} is"
        case "and" | "or":
            join = and_ if e.op == "and" else or_
            for i, part in enumerate(e.args):
                rest = [*e.args[:i], *e.args[i + 1 :]]
                yield join(*rest), f"leave {_words(part)} out of the condition"
                yield from ((join(*e.args[:i], new, *e.args[i + 1 :]), fix) for new, fix in _otherwise(part))
        case "not":
            yield from ((not_(new), fix) for new, fix in _otherwise(e.args[0]))


def _words(e: Expr) -> str:
    """An expression as people write it; a value that was read just for it has no name of its own."""
    return re.sub(r"%\w+", "what was read", show(e).replace("flag.", ""))


def _condition(s: p.If) -> str:
    """The condition of a branch, as its line has it where it reads something."""
    line = re.fullmatch(r"(?:el)?if (.*):", source(s.place))
    return line[1] if line and "%" in show(s.condition) else _words(s.condition)


def _closed(e: Expr) -> bool:
    """Whether an operand names no local."""
    return all("." in n for n in variables(e))


def _lists(statements: list[p.Statement]) -> Iterator[list[p.Statement]]:
    """Every list of statements, outer before inner."""
    yield statements
    for s in statements:
        match s:
            case p.If():
                yield from _lists(s.then)
                yield from _lists(s.orelse)
            case p.While() | p.ForCpus() | p.AtomicBlock():
                yield from _lists(s.body)


def _returns(statements: Sequence[p.Statement]) -> bool:
    return any(isinstance(s, p.Return) for s in p.walk(list(statements)))


def _assigned(s: p.Statement) -> bool:
    """Whether a local gets its value there, which later statements may read."""
    return any(getattr(x, "target", None) is not None for x in p.walk([s]))


def _last(s: p.Statement) -> Place:
    return max((x.place for x in p.walk([s])), key=lambda q: line_of(q)[1])


def _name(s: p.Statement) -> str:
    match s:
        case p.Do():
            return s.operation.name
        case p.Call():
            return s.procedure.name
        case p.Write():
            return f"write {s.variable.name}"
    return "atomic" if isinstance(s, p.AtomicBlock) else ""
