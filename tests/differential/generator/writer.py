"""What all parts of the generator share: chance, the lines that are written, and what has been declared so far."""

from __future__ import annotations

import random

from .kinds import BOOL, ENUMS, EQUAL, MEMBERS, RANGES, U32, U64, WORDS, Kind, Op, Proc, Var, ranged


class Writer:
    """Writes one model. ``r`` decides everything."""

    def __init__(self, seed: int) -> None:
        self.r = random.Random(seed)
        self.name = f"random/{seed}"
        self.out: list[str] = []
        self.cpus = 2 if self.chance(0.3) else 1
        self.vars: list[Var] = []
        self.tables: list[tuple[str, Kind, Kind]] = []
        self.procs: list[Proc] = []
        self.ops: list[Op] = [Op("mark", (), None), Op("use", (), None)]
        self.cases: list[tuple[str, Kind]] = []
        self.flags: list[str] = []
        self.settings: list[str] = []
        self.roles = ["outer", "inner"]
        self.fields: list[tuple[str, Kind, tuple[int, ...]]] = []
        self.meanings: list[str] = []
        self.acts = False
        # Some models are about things that nothing tells apart, others about words of which many bits are the same.
        self.alike = self.chance(0.2)
        self.words = EQUAL if self.chance(0.15) else WORDS

    def chance(self, p: float) -> bool:
        return self.r.random() < p

    def one(self, *options: str) -> str:
        return self.r.choice(options)

    def some_range(self) -> Kind:
        return ranged(*self.r.choice(RANGES))

    def some_kind(self, *, small: bool = False) -> Kind:
        kinds = [BOOL, BOOL, BOOL, self.r.choice(ENUMS), self.some_range(), self.some_range()]
        if self.alike:
            kinds = [BOOL, BOOL, ENUMS[0], ENUMS[0]]
        return self.r.choice(kinds if small or self.chance(0.5 if self.words is EQUAL else 0.8) else [U32, U64])

    def names_only(self, kind: Kind) -> bool:
        """Whether values of a type are only handed around, so that nothing tells them apart."""
        return self.alike and kind == ENUMS[0]

    def emit(self, *lines: str) -> None:
        self.out += lines

    def number(self, kind: Kind) -> int:
        """A value as data."""
        if kind.is_word:
            return self.r.choice(self.words)
        if kind is BOOL:
            return self.r.choice((0, 1))
        return self.r.randint(kind.low, kind.high)

    def data(self, kind: Kind) -> str:
        if kind is BOOL:
            return self.one("TRUE", "FALSE")
        return f"const({self.number(kind)}, {kind.data})"

    def constant(self, kind: Kind) -> str:
        if kind is BOOL:
            return self.one("True", "False")
        if kind.note in MEMBERS:
            return self.r.choice(MEMBERS[kind.note])
        number = self.number(kind)
        return f"{number:#x}" if kind.is_word else str(number)
