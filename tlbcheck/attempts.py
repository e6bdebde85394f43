"""Changes that a reviewer would try where a model names no repair: made of the model's own statements, along the run that goes wrong.

What a branch skipped is done on every path; an invalidation that the model performs elsewhere is inserted; a statement moves later; the
branch that was taken is left out; a condition has one part less. What is likeliest to matter comes first: where an entry is wrong, more invalidations and later
acknowledgements; elsewhere, what has to do with the steps that decided. Each is only a proposal: ``tlbcheck.blame`` applies it and searches
the changed model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import replace

from tlbcheck.changes import Change, line_of, source
from tlbcheck.engines.trace import Trace
from tlbcheck.errors import Place
from tlbcheck.lang import program as p
from tlbcheck.lang.expr import Expr, and_, not_, or_, show, variables
from tlbcheck.lang.model import Model
from tlbcheck.mutate import Edit

Proposal = tuple[p.Procedure, Change]
_WRONGLY = "decides by the wrong condition"


def attempts(model: Model, trace: Trace, change: int | None, *, kept: bool = False, decided: Set[int] = frozenset()) -> Iterator[Proposal]:
    """Changes to the procedures that ``trace`` runs through, the likeliest first.

    From step ``change`` on an entry has to go (None: it is about no entry); if it is ``kept``, it changes page tables, and is not
    up for a change itself. ``decided`` are the steps which the outcome comes down to.
    """
    run = _Executed(model, trace, change or 0, kept=kept)
    decisive = {place for i in decided if i for place in trace.steps[i - 1].step.places}

    def rank(proposal: Proposal) -> int:
        _, c = proposal
        touched = any(s.place in decisive for e in c.edits for s in p.walk([e.statement]))
        if change is None:
            return (not touched) + (c.kind == "needless" and trace.loop is None)
        more = [s for e in c.edits for s in (e.new if c.kind == "skipped" else [e.statement] if e.where == "after" else [])]
        if c.kind in ("skipped", "misplaced") and _invalidates(model, more):
            return 0
        return 1 if c.kind == "missing" else 2 if touched else 3

    kinds = [run.unguarded(), run.inserted(), run.decided(), run.moved(), run.left_out()]
    if change is None:
        kinds = [run.decided(), run.unguarded(), run.moved(), run.left_out(), run.inserted()]
    yield from sorted((proposal for kind in kinds for proposal in kind), key=rank)


def variants(model: Model, trace: Trace) -> Iterator[Proposal]:
    """What the model itself declares otherwise: a flag as it is by default, a procedure as it is by itself; first where ``trace`` runs through it."""
    procedures = list(dict.fromkeys([*_Executed(model, trace, 0, kept=False).procedures, *model.reachable()]))
    for flag, on in model.flags.items():
        reads = [(q, s) for q in procedures for s in p.walk(q.body) if any(f"flag.{flag.name}" in variables(e) for e in p.expressions(s))]
        if on is not flag.default and reads:
            q, s = reads[0]
            fix = f"do as without {flag.name}" if on else f"do as with {flag.name}"
            yield q, Change("variant", _name(s), s.place, q.name, f"does as {flag.name} says", fix, (), flags=((flag, flag.default),))
    for q, other in model.procedures.items():
        if other in procedures:
            fix = f"run {q.name}() itself"
            yield other, Change("variant", other.name, other.place, other.name, f"runs in the place of {q.name}()", fix, (), restored=(q,))


class _Executed:
    """The statements that a trace executes, each with its procedure, in the order of their last execution, latest first."""

    def __init__(self, model: Model, trace: Trace, change: int, *, kept: bool) -> None:
        self.model = model
        where = {s.place: (q, s) for q in model.reachable() for s in p.walk(q.body) if isinstance(s, p.Do | p.Read | p.Write | p.AtomicBlock)}
        numbered = [(i, where[place]) for i, s in enumerate(trace.steps, 1) for place in s.step.places[:1] if place in where]
        self.latest = list({id(s): (i, q, s) for i, (q, s) in numbered}.values())[::-1]
        self.places = {place for s in trace.steps for place in s.step.places}
        self.change = change
        self.kept = {s.step.places[0] for i, s in enumerate(trace.steps, 1) if i in (change if kept else 0, len(trace.steps)) and s.step.places}
        self.procedures = list(dict.fromkeys(q for _, q, _ in self.latest))

    def inserted(self) -> Iterator[Proposal]:
        """An invalidation that the model performs elsewhere, after each statement executed since the change: first where one did not do."""
        since = [(q, s) for i, q, s in self.latest if i >= self.change]
        for q, s in sorted(since, key=lambda x: not _drops(x[1])):
            for new in _invalidations(self.model, [q, *self.model.reachable()]):
                if not isinstance(s, p.Do) or _deed(new) != _deed(s):
                    words = source(new.place)
                    yield q, Change("missing", _name(new), s.place, q.name, f"needs {words} after it", f"insert {words} after line {s.place.line}", (Edit(s, "after", (replace(new),)),))

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
                                yield q, Change("decided", _name(s), s.place, q.name, _WRONGLY, f"go on as if {_words(s.condition)} {held}", (Edit(s, "replace", tuple(skipped)),))
                                continue
                            yield q, Change("skipped", _name(skipped[0]), place, q.name, "is skipped on some paths that need it", "do it whatever the condition", (Edit(s, "replace", tuple(skipped)),))

    def moved(self) -> Iterator[Proposal]:
        """A statement that acts, moved to after a later one of its list that does, too: the next first."""
        for q in self.procedures:
            for statements in _lists(q.body):
                for i, s in enumerate(statements):
                    if self._ran([s]) and not self._stays([s]) and self.model.acts([s]) and not _assigned(s) and not _returns([s]):
                        for after in statements[i + 1 :]:
                            if self.model.acts([after]) and not _returns([after]):
                                fix = f"move line {s.place.line} to after line {_last(after).line} ({source(_last(after))})"
                                yield q, Change("misplaced", _name(s), s.place, q.name, "comes too early", fix, (Edit(s, "replace", ()), Edit(after, "after", (s,))))

    def left_out(self) -> Iterator[Proposal]:
        """A branch that the run took, left out."""
        for q in self.procedures:
            for s in _own(q):
                if isinstance(s, p.If) and s.then and not _part_of_a_line(s) and not self._stays(s.then) and (self._ran(s.then) or not self.model.acts(s.then)):
                    place = s.then[0].place
                    yield q, Change("needless", _name(s.then[0]), place, q.name, "should not be done there", f"leave out what is done if {_words(s.condition)}", (Edit(s, "replace", tuple(s.orelse)),))

    def decided(self) -> Iterator[Proposal]:
        """A statement that says something else under some condition: the other thing always, or a condition with one part less."""
        for q in self.procedures:
            for s in _own(q):
                if isinstance(s, p.If | p.Write | p.Assign):
                    for new, fix in _otherwise(s.condition if isinstance(s, p.If) else s.value):
                        other = replace(s, condition=new) if isinstance(s, p.If) else replace(s, value=new)
                        yield q, Change("decided", _name(s), s.place, q.name, _WRONGLY, fix, (Edit(s, "replace", (other,)),))

    def _ran(self, statements: Sequence[p.Statement]) -> bool:
        return any(s.place in self.places for s in p.walk(list(statements)))

    def _stays(self, statements: Sequence[p.Statement]) -> bool:
        """Whether the change of page tables, or the last step, is among them: without these there would be nothing to judge."""
        return any(s.place in self.kept for s in p.walk(list(statements)))


def _own(q: p.Procedure) -> Iterator[p.Statement]:
    """The statements of a procedure but for those that compute what it asserts or requires: to change these is to ask for something else."""
    asked = {line_of(s.place) for s in p.walk(q.body) if isinstance(s, p.Assert | p.Require | p.Requires)}
    return (s for s in p.walk(q.body) if line_of(s.place) not in asked)


def _part_of_a_line(s: p.If) -> bool:
    """Whether a branch stands inside an expression: of ``and``, ``or`` and ``... if ... else ...``, whose parts are evaluated one after the other."""
    inside = [x for branch in (s.then, s.orelse) for x in branch]
    return bool(s.then and s.orelse) and all(line_of(x.place) == line_of(s.place) and (getattr(x, "target", None) or "").startswith("%") for x in inside)


def _invalidates(model: Model, statements: Sequence[p.Statement]) -> bool:
    """Whether ``statements``, or what they call, drop cached entries."""
    return any(_drops(s) or (isinstance(s, p.Call) and _invalidates(model, model.resolve(s.procedure).body)) for s in p.walk(list(statements)))


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
            invalidates = _drops(s) or (isinstance(s, p.Call) and _flushes(model, s))
            if invalidates and isinstance(s, p.Do | p.Call) and s.target is None and all(_closed(a) for a in s.args):
                made.setdefault(_deed(s), s)
    return list(made.values())


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
    return show(e).replace("flag.", "")


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
            case p.While() | p.ForCpus():
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


