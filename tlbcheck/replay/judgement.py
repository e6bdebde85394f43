"""What breaks a property at the end of a run: by which event, about which CPU, and the values that decide it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tlbcheck.lang import program as p
from tlbcheck.lang.expr import Expr, variables
from tlbcheck.lang.model import Ghost, Model, Property
from tlbcheck.lang.types import Type
from tlbcheck.replay.interpreter import Entry, Reason, Run, Scope, Values

STATE = "state"
"""The kind of a judgement that no event makes: of what must hold in every state."""


@dataclass(frozen=True)
class Judgement:
    """``kind`` and ``name`` of the event are those of ``lang.model.Event``; ``cpu`` is the one that is judged, ``acting`` the one that acts.

    ``usable``: it speaks of what the CPU can use. ``required`` is what was to hold, in the machine's or the software's
    words, where these have any. ``memory`` gives the variables that decide it, ``noted`` what the property has noted of
    the run (by the ghost's name: the value, and the step since which it is so), and ``operands`` the operands, arguments and locals; ``types`` is what is known of the last two.
    ``read`` is what an assertion had read in steps of its own: the value, and the step. ``operation`` is the one that faults or is judged.
    ``written`` are variables that the last step had changed before it was judged, be it back to what they were.
    """

    kind: str
    name: str
    cpu: int
    acting: int
    usable: bool = False
    required: str = ""
    memory: Mapping[str, int] = field(default_factory=dict)
    noted: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    operands: Mapping[str, int] = field(default_factory=dict)
    types: Mapping[str, Type] = field(default_factory=dict)
    read: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    operation: str = ""
    written: frozenset[str] = frozenset()


def _ahead_of(s: p.Statement, model: Model) -> tuple[p.Procedure, list[p.Statement]]:
    """The procedure that has a statement, and those ahead of it in its own list."""

    def ahead(statements: list[p.Statement]) -> list[p.Statement] | None:
        for i, x in enumerate(statements):
            if x is s:
                return statements[:i]
            for inner in (getattr(x, part, None) for part in ("then", "orelse", "body")):
                if inner and (found := ahead(inner)) is not None:
                    return found
        return None

    return next((q, found) for q in model.reachable() if (found := ahead(q.body)) is not None)


def _computed_by(before: Sequence[p.Statement], names: set[str]) -> list[str]:
    """The locals that ``names`` are computed from by the statements before, temporaries among them, in the order in which they get their values."""
    order: list[str] = []
    for s in reversed(before):
        inside = list(p.walk([s]))
        if {getattr(x, "target", None) for x in inside} & {n for n in names if not n.isidentifier()}:
            names |= {n for x in inside for e in p.expressions(x) for n in variables(e) if "." not in n}
            order = [t for x in inside if (t := getattr(x, "target", None))] + order
    return list(dict.fromkeys([*order, *sorted(n for n in names if n.isidentifier())]))


class Witness(Run):
    """A run that notes for each of ``broken`` how it was judged, in ``judged``."""

    def __init__(self, model: Model, properties: Sequence[Property], case: Values) -> None:
        self.judged: list[Judgement] = []
        self._event_now: tuple[str, str, int] = (STATE, "", 0)
        self._numbers: list[dict[tuple[str, int, str], int]] = []
        self._operation = ""
        self._altered: set[str] = set()
        self._reads: dict[tuple[int, str], tuple[str, int, int]] = {}
        """By activation and local: which variable it was read from, the value, and in which step."""
        super().__init__(model, properties, case)

    def step(self, cpu: int | None, level: str, action: str, choices: Sequence[int]) -> None:
        self.judged = []
        self._altered = set()
        self._numbers.append(dict(self.numbers))
        super().step(cpu, level, action, choices)

    def _perform(self, s: p.Read | p.Write | p.Do, names: dict[str, int], cpu: int, level: str, roles: Mapping[str, None]) -> None:
        self._operation = s.operation.name if isinstance(s, p.Do) else ""
        before = dict(self.memory)
        super()._perform(s, names, cpu, level, roles)
        self._altered |= {n for n, x in self.memory.items() if x != before[n]}
        if isinstance(s, p.Read):
            cell = self._cell(s.variable, s.at, s.place, Scope(self, cpu, level, locals=names))
            self._reads[id(names), s.target] = (cell, names[s.target], len(self._numbers))

    def _event(self, kind: str, name: str, args: Values, cpu: int, level: str, roles: Mapping[str, None], positional: Sequence[int] = (), entry: Entry | None = None) -> None:
        before, self._event_now = self._event_now, (kind, name, cpu)
        super()._event(kind, name, args, cpu, level, roles, positional, entry)
        self._event_now = before

    def _judge(self, name: str, clause: str, bad: Expr, cpu: int, level: str, args: Values, entry: Entry | None) -> None:
        super()._judge(name, clause, bad, cpu, level, args, entry)
        if len(self.broken) > len(self.judged):
            kind, event, acting = self._event_now
            self.judged += [self._judgement(kind, event, bad, cpu, acting if kind != STATE else cpu, level, args)] * (len(self.broken) - len(self.judged))

    def _judgement(self, kind: str, event: str, bad: Expr, cpu: int, acting: int, level: str, args: Values) -> Judgement:
        reason = self.reason if kind in ("fault", "assert", "requires") else Reason("", (bad,))
        memory, types = dict(reason.memory), dict(reason.types)
        noted: dict[str, tuple[int, int]] = {}
        operands = dict(reason.operands) if not reason.parts else {}
        read: dict[str, tuple[int, int]] = {}
        if reason.asserted is not None:
            procedure, before = _ahead_of(reason.asserted, self.model)
            asked = _computed_by(before, set(variables(reason.asserted.condition)))
            read = self._latest_reads(reason, asked)
            operands |= {n: reason.operands[n] for n in asked if n.isidentifier() and n in reason.operands}
            types |= {s.target: s.type for s in p.walk(procedure.body) if isinstance(s, p.Assign | p.Choose) and s.type is not None}
            types |= {q.name: q.type for q in procedure.parameters}
        scope = Scope(self, cpu, level, None, args)
        for name, v in self._read(reason.parts).items():
            head, _, rest = name.partition(".")
            own = f"cpu{cpu}.{name}"
            if head == "ghost":
                ghost, last = self.ghosts[name], rest.partition(".")[2]
                if not ghost.per_entry:
                    noted[last], types[last] = (scope.find(name), self._noted_since(ghost, cpu, level, args)), ghost.type
            elif head == "arg":
                operands[rest] = scope.find(name)
            elif name in reason.operands:
                operands |= {name: reason.operands[name]} if name.isidentifier() else {}  # else a temporary
            elif own in self.memory:
                memory[own] = self.memory[own]
            elif name in self.memory and head != "case":
                memory[name] = self.memory[name]
            if v.type is not None:
                types.setdefault(rest if head == "arg" else name, v.type)
        usable = any(n == "meaning.usable" for part in reason.parts for n in variables(part))
        operation = self._operation if kind in ("fault", "operation") else ""
        return Judgement(kind, event, cpu, acting, usable, reason.text, memory, noted, operands, types, read, operation, frozenset(self._altered))

    def _latest_reads(self, reason: Reason, asked: Sequence[str]) -> dict[str, tuple[int, int]]:
        """What was read for an assertion this time: a read that a condition skipped is older than the first one."""
        reads = [self._reads[id(reason.operands), n] for n in asked if (id(reason.operands), n) in self._reads]
        return {cell: (value, step) for cell, value, step in reads if step >= reads[0][2]}

    def _noted_since(self, ghost: Ghost, cpu: int, level: str, args: Values) -> int:
        """The step that gave a ghost the value that it has, 0 for the start."""
        values = [self.ghost(ghost, cpu, level, None, args)]
        now = self.numbers
        for numbers in reversed(self._numbers):
            self.numbers = numbers
            values.append(self.ghost(ghost, cpu, level, None, args))
        self.numbers = now
        return len(self._numbers) - next((i - 1 for i, x in enumerate(values) if x != values[0]), len(self._numbers))

    def _read(self, parts: Sequence[Expr]) -> dict[str, Expr]:
        """The variables that expressions read, also by what the model says of meanings."""
        read: dict[str, Expr] = {}
        for name, v in ((n, v) for part in parts for n, v in variables(part).items()):
            if name.startswith("meaning."):
                read |= self._read([self.model.meanings[name.removeprefix("meaning.")]])
            else:
                read[name] = v
        return read
