"""A ground system as lookup tables over packed states, for one fixed search loop.

Components are gathered in blocks: what belongs to one CPU, and each shared component. A block has
the values that its rows can give it whatever the other blocks do, numbered; a state is the numbers
of its blocks side by side in one key. Then a row is a difference to add to the key: the same one
for every state in which the blocks that it touches have the same values, so that small groups of
blocks are looked up in a table of differences. Rows that touch too many for that are kept as tests
and changes, block by block.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tlbcheck.engines.ground import Cube, Ground, Row, TooLarge

_BLOCK_VALUES = 1 << 14
_JOINT_BITS = 14
_FIELDS = 64
_WORK = 3_000_000
"""Entries of tables, and values tried, past which making tables takes longer than it gains."""
_WIDTHS = (32, 64, 128)

Local = tuple[int, ...]
Part = tuple[tuple[int, int], ...]
"""The part of a cube that speaks of one block: pairs of (place in the block, value)."""


def _members(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


class Block:
    """Some components with every value that they can have together, and their field in the key."""

    def __init__(self, components: Sequence[int], values: Sequence[Local]) -> None:
        self.components = tuple(components)
        self.values = list(values)
        self.number = {v: i for i, v in enumerate(self.values)}
        self.bits = max(1, (len(self.values) - 1).bit_length())
        self.shift = 0
        self._with: dict[tuple[int, int], int] = {}
        for i, value in enumerate(self.values):
            for place, x in enumerate(value):
                self._with[place, x] = self._with.get((place, x), 0) | 1 << i
        self._matching: dict[Part, int] = {}
        self._changes: dict[Part, list[int]] = {}

    def matching(self, guard: Part) -> int:
        """The set of values, as bits, that a part of a guard allows."""
        found = self._matching.get(guard)
        if found is None:
            found = (1 << len(self.values)) - 1
            for at in guard:
                found &= self._with.get(at, 0)
            self._matching[guard] = found
        return found

    def knows(self, assign: Part) -> bool:
        """Whether ``changes`` has been worked out."""
        return assign in self._changes

    def changes(self, assign: Part) -> list[int]:
        """What to add to a key for each value of the block; 0 where the result is no value of it."""
        found = self._changes.get(assign)
        if found is None:
            found = []
            for i, value in enumerate(self.values):
                after = list(value)
                for place, x in assign:
                    after[place] = x
                found.append((self.number.get(tuple(after), i) - i) << self.shift)
            self._changes[assign] = found
        return found


@dataclass
class Table:
    """For each joint value of ``fields`` the differences of the rows that are enabled, and those rows."""

    fields: tuple[int, ...]
    size: int
    lists: dict[int, list[tuple[int, int]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Compound:
    """A row as tests (block, values allowed, as bits) and changes (block, differences)."""

    row: int
    tests: tuple[tuple[int, int], ...]
    changes: tuple[tuple[int, list[int]], ...]


@dataclass(frozen=True)
class Bad:
    """Indices of ``Ground.bads`` that are one question to ask of a state."""

    cube: int
    later: bool
    tests: tuple[tuple[int, int], ...]


class Tables:
    """See the module. ``cost`` 0 and 1 index ``tables`` and ``compounds``. Raises ``TooLarge`` if a state does not fit."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self._left = _WORK
        self.blocks = self._blocks()
        if len(self.blocks) > _FIELDS:
            raise TooLarge(f"more than {_FIELDS} fields in a state")
        self.block_of = {c: (b, place) for b, block in enumerate(self.blocks) for place, c in enumerate(block.components)}
        self.bits = 0
        for block in self.blocks:
            block.shift = self.bits
            self.bits += block.bits
        if self.bits >= _WIDTHS[-1]:
            raise TooLarge(f"a state takes {self.bits} bits, {_WIDTHS[-1] - 1} is the most")
        self.width = next(w for w in _WIDTHS if self.bits < w or self.bits == w == 32)
        self.tables: tuple[list[Table], list[Table]] = ([], [])
        self.compounds: tuple[dict[int, dict[int, list[int]]], dict[int, dict[int, list[int]]]] = ({}, {})
        self.compound_rows: list[Compound] = []
        found: tuple[dict[tuple[int, ...], Table], dict[tuple[int, ...], Table]] = ({}, {})
        for index, row in enumerate(ground.rows):
            self._place(index, row, found)
        for cost in (0, 1):
            self.tables[cost].extend(found[cost].values())
        self.closures = self._closures()
        self.bads = [Bad(i, bad.step is not None, self._tests(bad.guard)) for i, bad in enumerate(ground.bads)]
        self.fanout = max(1, sum(self._most(cost) for cost in (0, 1)))

    def _spend(self, work: int) -> None:
        self._left -= work
        if self._left < 0:
            raise TooLarge(f"more than {_WORK:,} entries of tables")

    # -- keys

    def key(self, state: Sequence[int]) -> int:
        """The key of a state of the ground system."""
        return sum(block.number[tuple(state[c] for c in block.components)] << block.shift for block in self.blocks)

    def fields(self, key: int) -> list[int]:
        return [(key >> block.shift) & ((1 << block.bits) - 1) for block in self.blocks]

    def state(self, key: int) -> Local:
        """The state of the ground system that a key stands for."""
        values = [0] * len(self.ground.components)
        for block, number in zip(self.blocks, self.fields(key), strict=True):
            for c, x in zip(block.components, block.values[number], strict=True):
                values[c] = x
        return tuple(values)

    # -- blocks

    def _blocks(self) -> list[Block]:
        components = self.ground.components
        owners = sorted({c.owner for c in components if c.owner is not None})
        groups = [[i for i, c in enumerate(components) if c.owner == owner] for owner in owners]
        groups += [[i] for i, c in enumerate(components) if c.owner is None]
        return [block for group in groups for block in self._divided(group)] or [Block((), [()])]

    def _divided(self, group: list[int]) -> list[Block]:
        """One block, or several if it would have too many values."""
        values = self._local_values(group)
        if values is not None:
            return [Block(group, values)]
        # What entries do depends on control, not the other way round.
        control = [i for i in group if self.ground.components[i].entry is None]
        entries = [i for i in group if self.ground.components[i].entry is not None]
        halves = (control, entries) if control and entries else (group[: len(group) // 2], group[len(group) // 2 :])
        return [block for half in halves for block in self._divided(half)]

    def _local_values(self, group: Sequence[int]) -> list[Local] | None:
        """Every value that the rows can give these components, whatever the others are; None if too many."""
        place = {c: i for i, c in enumerate(group)}
        moves: dict[tuple[Part, Part], None] = {}
        for row in itertools.chain(self.ground.rows, self.ground.closure):
            assign = _part(row.assign, place)
            if assign:
                moves[_part(row.guard, place), assign] = None
        # Rows are found by the value of the component that most of them ask for.
        asked: dict[int, int] = {}
        for guard, _ in moves:
            for at, _ in guard:
                asked[at] = asked.get(at, 0) + 1
        by = max(asked, key=lambda at: asked[at], default=0)
        index: dict[int | None, list[tuple[Part, Part]]] = {}
        for guard, assign in moves:
            index.setdefault(dict(guard).get(by), []).append((guard, assign))
        found: dict[Local, None] = {tuple(s.state[c] for c in group): None for s in self.ground.starts}
        waiting = list(found)
        while waiting:
            value = waiting.pop()
            self._spend(len(index.get(value[by], ())) + len(index.get(None, ())))
            for guard, assign in itertools.chain(index.get(value[by], ()), index.get(None, ())):
                if all(value[at] == x for at, x in guard):
                    changed = list(value)
                    for at, x in assign:
                        changed[at] = x
                    after = tuple(changed)
                    if after not in found:
                        if len(found) >= _BLOCK_VALUES and len(group) > 1:
                            return None
                        found[after] = None
                        waiting.append(after)
        return list(found)

    # -- rows

    def _split(self, cube: Cube) -> dict[int, Part]:
        made: dict[int, list[tuple[int, int]]] = {}
        for c, x in cube.items():
            b, place = self.block_of[c]
            made.setdefault(b, []).append((place, x))
        return {b: tuple(part) for b, part in made.items()}

    def _tests(self, cube: Cube) -> tuple[tuple[int, int], ...]:
        return tuple((b, self.blocks[b].matching(part)) for b, part in sorted(self._split(cube).items()))

    def _place(self, index: int, row: Row, found: tuple[dict[tuple[int, ...], Table], dict[tuple[int, ...], Table]]) -> None:
        cost = 0 if row.step is None else 1
        guards, assigns = self._split(row.guard), self._split(row.assign)
        # A row that neither asks nor changes anything stands in the table of some block all the same.
        touched = tuple(sorted(guards | assigns)) or (0,)
        size = sum(self.blocks[b].bits for b in touched)
        # A block that is changed without being asked for would be told apart to no end.
        if len(touched) <= 4 and size <= _JOINT_BITS and set(assigns) <= set(guards):
            table = found[cost].get(touched)
            if table is None:
                table = found[cost][touched] = Table(touched, 1 << size)
            self._fill(table, index, guards, assigns)
            return
        compound = len(self.compound_rows)
        by = min(guards, key=lambda b: self.blocks[b].matching(guards[b]).bit_count() / len(self.blocks[b].values), default=0)
        tests = tuple((b, self.blocks[b].matching(part)) for b, part in sorted(guards.items()) if b != by)
        self.compound_rows.append(Compound(index, tests, tuple((b, self._changes(b, part)) for b, part in sorted(assigns.items()))))
        at = self.compounds[cost].setdefault(by, {})
        for value in _members(self.blocks[by].matching(guards.get(by, ()))):
            at.setdefault(value, []).append(compound)

    def _fill(self, table: Table, index: int, guards: Mapping[int, Part], assigns: Mapping[int, Part]) -> None:
        """Enter a row under each joint value that its guard allows."""
        options, position = [], 0
        for b in table.fields:
            block = self.blocks[b]
            change = self._changes(b, assigns[b]) if b in assigns else None
            options.append([(v << position, change[v] if change else 0) for v in _members(block.matching(guards.get(b, ())))])
            position += block.bits
        self._spend(math.prod(map(len, options)))
        for chosen in itertools.product(*options):
            joint, difference = map(sum, zip(*chosen, strict=True))
            table.lists.setdefault(joint, []).append((difference, index))

    def _changes(self, b: int, assign: Part) -> list[int]:
        if not self.blocks[b].knows(assign):
            self._spend(len(self.blocks[b].values))
        return self.blocks[b].changes(assign)

    def _closures(self) -> list[Table]:
        """For each group of blocks that saturated fills touch, the one difference that they make: no fill waits for one of another group."""
        rows = [row for row in self.ground.closure if row.assign]
        filled = {c for row in rows for c in row.assign}
        groups: list[tuple[set[int], list[Row]]] = []
        for row in rows:
            mine = {self.block_of[c][0] for c in row.assign} | {self.block_of[c][0] for c in row.guard if c in filled}
            met = [group for group in groups if group[0] & mine]
            groups = [group for group in groups if not group[0] & mine]
            groups.append((mine.union(*(blocks for blocks, _ in met)), [*itertools.chain.from_iterable(rows for _, rows in met), row]))
        made = []
        for blocks, group in groups:
            fields = tuple(sorted(blocks.union(*(self._split(row.guard) for row in group))))
            size = sum(self.blocks[b].bits for b in fields)
            if len(fields) > 4 or size > 20:
                raise TooLarge("saturated fills depend on too much at a time")
            made.append(self._closure(fields, group, 1 << size))
        return made

    def _closure(self, fields: tuple[int, ...], rows: Sequence[Row], size: int) -> Table:
        table = Table(fields, size)
        parts = [(self._split(r.guard), self._split(r.assign)) for r in rows]
        self._spend(len(rows) * math.prod(len(self.blocks[b].values) for b in fields))
        positions = list(itertools.accumulate((self.blocks[b].bits for b in fields), initial=0))
        for values in itertools.product(*(range(len(self.blocks[b].values)) for b in fields)):
            now, before = dict(zip(fields, values, strict=True)), None
            while now != before:
                before = dict(now)
                for guards, assigns in parts:
                    if all(self.blocks[b].matching(part) >> now[b] & 1 for b, part in guards.items()):
                        for b, part in assigns.items():
                            now[b] += self.blocks[b].changes(part)[now[b]] >> self.blocks[b].shift
            difference = sum((now[b] - v) << self.blocks[b].shift for b, v in zip(fields, values, strict=True))
            if difference:
                table.lists[sum(v << p for v, p in zip(values, positions, strict=False))] = [(difference, -1)]
        return table

    def _most(self, cost: int) -> int:
        """At most so many rows of one cost are enabled in a state."""
        tables = sum(max(map(len, t.lists.values()), default=0) for t in self.tables[cost])
        return tables + sum(max(map(len, at.values()), default=0) for at in self.compounds[cost].values())


def _part(cube: Cube, place: Mapping[int, int]) -> Part:
    return tuple(sorted((place[c], x) for c, x in cube.items() if c in place))
