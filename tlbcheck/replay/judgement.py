"""What breaks a property at the end of a run: by which event, about which CPU, and the values that decide it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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


class Witness(Run):
    """A run that notes for each of ``broken`` how it was judged, in ``judged``."""

    def __init__(self, model: Model, properties: Sequence[Property], case: Values) -> None:
        self.judged: list[Judgement] = []
        self._event_now: tuple[str, str, int] = (STATE, "", 0)
        self._numbers: list[dict[tuple[str, int, str], int]] = []
        super().__init__(model, properties, case)

    def step(self, cpu: int | None, level: str, action: str, choices: Sequence[int]) -> None:
        self.judged = []
        self._numbers.append(dict(self.numbers))
        super().step(cpu, level, action, choices)

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
        return Judgement(kind, event, cpu, acting, usable, reason.text, memory, noted, operands, types)

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
