"""One state of each orbit: what renamings of a ground system do to packed keys.

The group has three parts, each as cheap as it can be. *Local* renamings change one block alone: its
values fall into classes, one value stands for each, and however many there are, they cost one look-up.
*Peers* are blocks that may be exchanged and nothing else with them (CPUs): numbered alike, their classes
are sorted. *Wide* renamings change several blocks together (a page is in memory and in each TLB): a
state is renamed by every one of their group, and the least key is kept.

Argument. Let N be what local renamings and exchanges of peers generate: its orbits are all states whose
classes are, among peers, a permutation of given ones. A wide renaming is taken only if what it makes of
the classes depends on nothing but these, and alike for all peers: then it maps orbits of N to orbits of
N, and an orbit of the whole group is the union of the orbits of N that the wide ones lead to. So
the least representative of these is one for the whole. They are all of one size, and each is met by
equally many of the wide renamings, so that the whole has that size times the number of these,
divided by how many of them lead to the least. (If wide renamings keep a few blocks among themselves, the
least is that with the least values there: then only those that lead to these have to be tried.) Renamings that do not fit are left out, as are wide ones that
would make the group too large: a subgroup is as right, and keeps more states.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tlbcheck.engines.packed_tables import Tables
from tlbcheck.engines.symmetry import Renaming

ORDER = 120
"""The most wide renamings; a state is renamed by each of them."""
_WORK = 2_000_000
"""Values renamed and entries of tables past which further renamings are left out: a second or two."""
_CHUNK_BITS = 12


@dataclass(frozen=True)
class Member:
    """A block among peers: ``rank`` is the class of each of its values, ``put`` for each class what the value that stands for it adds to a key."""

    shift: int
    mask: int
    rank: Sequence[int]
    put: Sequence[int]


@dataclass(frozen=True)
class Peers:
    """``sizes`` of classes; ``acts[k]`` is what the kth wide renaming makes of each."""

    members: tuple[Member, ...]
    sizes: Sequence[int]
    acts: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Chunk:
    """Adjacent blocks without peers. By their joint value: ``sizes``, and ``images[k]``, what the kth wide renaming makes of it in the key."""

    shift: int
    mask: int
    sizes: Sequence[int]
    images: Sequence[Sequence[int]]


@dataclass(frozen=True)
class _Action:
    """Block ``b`` goes to ``to[b]``, and its values become ``values[b]``; None if they stay what they are."""

    to: tuple[int, ...]
    values: tuple[tuple[int, ...] | None, ...]

    @property
    def moved(self) -> list[int]:
        return [b for b, values in enumerate(self.values) if values is not None]


_Element = tuple[tuple[int, tuple[int, ...]], ...]
"""For each unit (some peers, or a block without) where it goes, and what its classes become."""


class Orbits:
    """The group that ``renamings`` generate, as far as it fits, on the keys of ``tables``; ``order`` is 0 if there is nothing in it.

    ``kept`` are the bits of a key that it does not change. ``tried`` lists the wide renamings that can lead to the least, by the joint
    value of the first chunk; it is empty if there is no such chunk.
    """

    def __init__(self, tables: Tables, renamings: Sequence[Renaming]) -> None:
        self.tables, self._left = tables, _WORK
        self._units: list[_Unit] = [_Unit([b], [list(range(len(block.values)))]) for b, block in enumerate(tables.blocks)]
        self._of: list[_Unit] = list(self._units)
        """The unit that each block is in."""
        actions = [a for r in renamings if (a := self._action(r)) is not None]
        for action in actions:
            if len(action.moved) == 1:
                self._of[action.moved[0]].join(enumerate(action.values[action.moved[0]] or ()))
        wide = [a for a in actions if len(a.moved) > 1 and not self._exchange(a)]
        for unit in self._units:
            unit.number_classes()
        elements = self._generated([e for a in wide if (e := self._element(a)) is not None])
        self.peers, self.chunks = self._peers(elements), self._chunks(elements)
        self.tried = self._leading(len(elements))
        self.order = len(elements) if self.peers or self.chunks else 0
        changed = sum(m.mask << m.shift for p in self.peers for m in p.members) | sum(c.mask << c.shift for c in self.chunks)
        self.kept = ((1 << tables.width) - 1) & ~changed

    def look(self, key: int) -> tuple[int, int]:
        """The representative of a state's orbit, and how many states are in that."""
        if not self.order:
            return key, 1
        ranks = [[m.rank[(key >> m.shift) & m.mask] for m in p.members] for p in self.peers]
        joints = [(key >> c.shift) & c.mask for c in self.chunks]
        images = [self._image(key & self.kept, ranks, joints, k) for k in (self.tried[joints[0]] if self.tried else range(self.order))]
        least = min(images)
        size = self.order // images.count(least)
        for p, mine in zip(self.peers, ranks, strict=True):
            size *= math.prod(p.sizes[r] for r in mine) * _arrangements(mine)
        return least, size * math.prod(c.sizes[joint] for c, joint in zip(self.chunks, joints, strict=True))

    def _image(self, made: int, ranks: Sequence[Sequence[int]], joints: Sequence[int], k: int) -> int:
        for c, joint in zip(self.chunks, joints, strict=True):
            made |= c.images[k][joint]
        for p, mine in zip(self.peers, ranks, strict=True):
            act = p.acts[k]
            for m, rank in zip(p.members, sorted([act[r] for r in mine]), strict=True):
                made |= m.put[rank]
        return made

    def _spend(self, work: int) -> bool:
        """Whether so much more may be done."""
        self._left -= work
        return self._left >= 0

    def _action(self, renaming: Renaming) -> _Action | None:
        """None if it does not map blocks to blocks."""
        blocks, to = self.tables.blocks, []
        values: list[tuple[int, ...] | None] = []
        for b, block in enumerate(blocks):
            images = [renaming.components[c] for c in block.components]
            goes = self.tables.block_of[images[0]][0] if images else b
            if set(images) != set(blocks[goes].components):
                return None
            to.append(goes)
            codes = [renaming.values[c] for c in block.components]
            if images == list(block.components) and all(x == y for code in codes for x, y in enumerate(code)):
                values.append(None)
                continue
            if not self._spend(len(block.values) * len(images)):
                return None
            order = [images.index(c) for c in blocks[goes].components]
            number = blocks[goes].number
            made = tuple(number[tuple([codes[i][value[i]] for i in order])] for value in block.values)
            values.append(made if goes != b or made != tuple(range(len(made))) else None)
        return _Action(tuple(to), tuple(values))

    def _exchange(self, action: _Action) -> bool:
        """Make a block one of another's peers, if that is what ``action`` does: whether it is."""
        if len(action.moved) != 2 or action.to[action.moved[0]] == action.moved[0]:
            return False
        a, b = sorted(action.moved, key=lambda b: -len(self._of[b].blocks))
        there, back = action.values[a], action.values[b]
        assert there is not None and back is not None
        if len(self._of[b].blocks) > 1 or not self._of[a].admit(self._of[b], a, there, back):
            return False
        self._units.remove(self._of[b])
        self._of[b] = self._of[a]
        return True

    def _element(self, action: _Action) -> _Element | None:
        """What a wide renaming does to classes; None if that is not all it asks for."""
        made: list[tuple[int, tuple[int, ...]]] = []
        for unit in self._units:
            goes = self._of[action.to[unit.blocks[0]]]
            if len(unit.blocks) > 1 and goes is not unit:
                return None
            becomes: list[int | None] = [None] * len(unit.sizes)
            for b in unit.blocks:
                to, values = action.to[b], action.values[b]
                if self._of[to] is not goes:
                    return None
                before, after = unit.rank(b), goes.rank(to)
                for v in range(len(before)):
                    x = after[values[v] if values is not None else v]
                    if becomes[before[v]] not in (None, x):
                        return None
                    becomes[before[v]] = x
            made.append((self._units.index(goes), tuple(x for x in becomes if x is not None)))
        return tuple(made)

    def _generated(self, generators: Iterable[_Element]) -> list[_Element]:
        """The group of these, the identity first; without those that would make it too large."""
        identity = tuple((u, tuple(range(len(unit.sizes)))) for u, unit in enumerate(self._units))
        group, taken = [identity], list[_Element]()
        size = sum(len(unit.sizes) for unit in self._units)
        for generator in generators:
            if generator in group:
                continue
            known = dict.fromkeys(group)
            waiting = list(group)
            while waiting and len(known) <= ORDER and self._spend(size):
                element = waiting.pop()
                for other in (*taken, generator):
                    made = _then(element, other)
                    if made not in known:
                        known[made] = None
                        waiting.append(made)
            if not waiting and len(known) <= ORDER:
                group, taken = list(known), [*taken, generator]
        return group

    def _peers(self, elements: Sequence[_Element]) -> tuple[Peers, ...]:
        made = []
        for u, unit in enumerate(self._units):
            if len(unit.blocks) > 1:
                members = tuple(self._member(unit, b) for b in sorted(unit.blocks))
                made.append(Peers(members, unit.sizes, [e[u][1] for e in elements]))
        return tuple(made)

    def _member(self, unit: _Unit, b: int) -> Member:
        block = self.tables.blocks[b]
        return Member(block.shift, (1 << block.bits) - 1, unit.rank(b), [v << block.shift for v in unit.standing(b)])

    def _chunks(self, elements: Sequence[_Element]) -> tuple[Chunk, ...]:
        identity = elements[0]
        changing = [(unit.blocks[0], u) for u, unit in enumerate(self._units) if len(unit.blocks) == 1 and (max(unit.sizes) > 1 or any(e[u] != identity[u] for e in elements))]
        groups: list[list[tuple[int, int]]] = []
        for b, u in sorted(changing):
            near = groups and groups[-1][-1][0] == b - 1 and sum(self.tables.blocks[c].bits for c, _ in groups[-1]) + self.tables.blocks[b].bits <= _CHUNK_BITS
            if near:
                groups[-1].append((b, u))
            else:
                groups.append([(b, u)])
        return tuple(self._chunk(group, elements) for group in groups)

    def _leading(self, order: int) -> list[list[int]]:
        """Put first a chunk whose blocks are renamed among themselves; by its values, the renamings that lead to its least image."""
        own = (c for c in self.chunks if order > 1 and all(image & ~(c.mask << c.shift) == 0 for images in c.images for image in images))
        lead = next(own, None)
        if lead is None:
            return []
        self.chunks = (lead, *(c for c in self.chunks if c is not lead))
        least = list(map(min, zip(*lead.images, strict=True)))
        return [[k for k in range(order) if lead.images[k][joint] == least[joint]] for joint in range(lead.mask + 1)]

    def _chunk(self, group: Sequence[tuple[int, int]], elements: Sequence[_Element]) -> Chunk:
        blocks, units = self.tables.blocks, self._units
        sizes, images = [1], [[0] for _ in elements]
        for b, u in reversed(group):  # the first has the lowest bits
            rank, filler = units[u].rank(b), [0] * ((1 << blocks[b].bits) - len(blocks[b].values))
            sizes = [size * x for size in sizes for x in (*(units[u].sizes[r] for r in rank), *filler)]
            for k, e in enumerate(elements):
                to, becomes = e[u]
                goes = units[to].blocks[0]
                put = [v << blocks[goes].shift for v in units[to].standing(goes)]
                images[k] = [image | x for image in images[k] for x in (*(put[becomes[r]] for r in rank), *filler)]
        return Chunk(blocks[group[0][0]].shift, len(sizes) - 1, sizes, images)


class _Unit:
    """A block or some peers; ``numbers`` are those of each one's values, the same for what is exchanged. Classes are known by their least number."""

    def __init__(self, blocks: list[int], numbers: list[list[int]]) -> None:
        self.blocks, self.numbers = blocks, numbers
        self.classes = list(range(len(numbers[0])))
        self.sizes: list[int] = []

    def join(self, pairs: Iterable[tuple[int, int]]) -> None:
        self.classes = _joined(self.classes, pairs)

    def admit(self, other: _Unit, a: int, there: Sequence[int], back: Sequence[int]) -> bool:
        """Take in another block, if it is exchanged with ``a`` by values going ``there`` and ``back``, up to classes."""
        mine = self.numbers[self.blocks.index(a)]
        numbers = [0] * len(mine)
        for v, w in enumerate(there):
            numbers[w] = mine[v]
        # What is local to the one is local to the other, once they are exchanged.
        classes = _joined(self.classes, ((numbers[w], numbers[x]) for w, x in enumerate(other.classes)))
        if any(classes[numbers[w]] != classes[mine[v]] for w, v in enumerate(back)):
            return False
        self.classes = classes
        self.blocks.append(other.blocks[0])
        self.numbers.append(numbers)
        return True

    def number_classes(self) -> None:
        """Classes from 0, once no more are joined."""
        least = sorted(set(self.classes))
        self._least = least
        place = {x: i for i, x in enumerate(least)}
        self._place = [place[x] for x in self.classes]
        self.sizes = [0] * len(least)
        for i in self._place:
            self.sizes[i] += 1

    def rank(self, b: int) -> list[int]:
        """The class of each value of a block."""
        return [self._place[x] for x in self.numbers[self.blocks.index(b)]]

    def standing(self, b: int) -> list[int]:
        """The value of a block that stands for each class."""
        value = {x: v for v, x in enumerate(self.numbers[self.blocks.index(b)])}
        return [value[x] for x in self._least]


def _joined(classes: Sequence[int], pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Classes with the two of each pair in one; known by their least."""
    above = list(classes)

    def find(x: int) -> int:
        while above[x] != x:
            x = above[x]
        return x

    for x, y in pairs:
        x, y = find(x), find(y)
        if x != y:
            above[max(x, y)] = min(x, y)
    return [find(x) for x in range(len(above))]


def _then(one: _Element, other: _Element) -> _Element:
    return tuple((other[to][0], tuple([other[to][1][x] for x in becomes])) for to, becomes in one)


def _arrangements(ranks: Sequence[int]) -> int:
    """In how many ways these can stand."""
    return math.factorial(len(ranks)) // math.prod(math.factorial(len(list(same))) for _, same in itertools.groupby(sorted(ranks)))
