"""Renamings of CPUs, pages, tags and other values that a ground system does not tell apart.

A renaming sends each component to a component, and its values to values of that one. Nothing is
asked of names or types: a page is a value of a variable here, the place of a variable there, and
a part of the name of an entry's bit; a PCID is one half of the values of CR3. So renamings of the
rows themselves are looked for, from a first exchange: of two CPUs by name, of two components of
one CPU (or of none), of two values of one component. What else has to change with it is found by
colour refinement: values are told apart by the rows that they occur in and by the colours of what
occurs there with them, until that tells no more apart. Values whose colour stays are kept, others
are matched in order; if that is no renaming, one more value is held still, and so on.

Argument. What is found so is a guess, and checked: a renaming p has to map the rows onto rows (with
what they cost), and the starts, the saturated fills and the cubes of each clause likewise. Then it is
an automorphism of the transition graph that keeps costs and clauses: s and p(s) are reached at the
same depth and violate the same clauses. So do all states of an orbit under the group that such
renamings generate, and a search that keeps one state of each orbit finds every violation at its
depth; the size of the orbit says how many states it stands for, and a row is taken by some run if
one is that it is renamed to. A run of representatives is made one of the system itself by taking,
from each state, a row that leads into the next orbit: there is one, since every row from the
representative has an image (``path.moves``). A renaming that is not found costs states, never a verdict.
A property that names a CPU, a page or a value has cubes that do, and keeps it from being renamed;
infinite runs are not searched by the engines that use this (``engines.liveness``).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tlbcheck.engines.ground import Cube, Ground

_WORK = 5_000_000
"""So many places in cubes are looked at before no more is looked for: half a second or so."""
_HELD = 12
"""So many values are held still, one after the other, before a guess is given up."""

Marks = Mapping[int, Hashable]
"""What is known of some vertices: those with the same mark correspond."""


@dataclass(frozen=True, slots=True)
class Renaming:
    """``components[c]`` is where component ``c`` goes to, ``values[c][x]`` what its value ``x`` is there; ``rows`` are the images of rows."""

    components: tuple[int, ...]
    values: tuple[tuple[int, ...], ...]
    rows: tuple[int, ...]

    def then(self, other: Renaming) -> Renaming:
        return Renaming(
            tuple(other.components[c] for c in self.components),
            tuple(tuple(other.values[c][x] for x in values) for c, values in zip(self.components, self.values, strict=True)),
            tuple(other.rows[r] for r in self.rows),
        )

    def back(self) -> Renaming:
        values: list[tuple[int, ...]] = [()] * len(self.values)
        for c, to in enumerate(self.components):
            values[to] = _inverse(self.values[c])
        return Renaming(_inverse(self.components), tuple(values), _inverse(self.rows))

    def moved(self) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """(Component, value) before and after, of those that change."""
        for c, (to, values) in enumerate(zip(self.components, self.values, strict=True)):
            for x, y in enumerate(values):
                if (c, x) != (to, y):
                    yield (c, x), (to, y)


def _inverse(mapping: Sequence[int]) -> tuple[int, ...]:
    made = [0] * len(mapping)
    for i, x in enumerate(mapping):
        made[x] = i
    return tuple(made)


class _Form:
    """A ground system without its names: vertices, which are the components and then their values, and relations of these."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.n = len(ground.components)
        self.component = list(range(self.n))
        self.first: list[int] = []
        """The vertex of each component's first value."""
        for c, component in enumerate(ground.components):
            self.first.append(len(self.component))
            self.component += [c] * len(component.values)
        # Rows come first, so that they have the numbers that they have in the ground system.
        self.relations = [self._related(("row", r.step is None), r.guard, r.assign) for r in ground.rows]
        self.relations += [self._related("fill", r.guard, r.assign) for r in ground.closure]
        self.relations += [self._related(("bad", b.property, b.clause, b.step is None), b.guard, {}) for b in ground.bads]
        self.relations += [self._related("start", dict(enumerate(s.state)), {}) for s in ground.starts]
        self.places = sum(len(guard) + len(assign) for _, guard, assign in self.relations) + len(self.component)
        self.colours = [hash((c.owner is None, c.entry is None, len(c.values))) for c in ground.components]
        self.colours += [0] * (len(self.component) - self.n)
        self.order = sorted(range(self.n), key=lambda c: [int(x) if x.isdecimal() else x for x in re.split(r"(\d+)", ground.components[c].name)])
        """Components by name, numbers by size: what was declared one after the other is matched so."""
        self.index: dict[Hashable, list[int]] = {}
        """Relations by what they say."""
        for i, (kind, guard, assign) in enumerate(self.relations):
            self.index.setdefault((kind, frozenset(guard), frozenset(assign)), []).append(i)

    def _related(self, kind: Hashable, guard: Cube, assign: Cube) -> tuple[Hashable, list[int], list[int]]:
        return kind, [self.first[c] + x for c, x in guard.items()], [self.first[c] + x for c, x in assign.items()]

    def refined(self, colours: Sequence[int]) -> list[int]:
        """The colours after one more round."""
        asked, given = [hash((x, 1)) for x in colours], [hash((x, 2)) for x in colours]
        seen = [*asked[: self.n], *itertools.repeat(0, len(colours) - self.n)]
        for kind, guard, assign in self.relations:
            h = hash((kind, sum([asked[v] for v in guard]), sum([given[v] for v in assign])))
            for v in guard:
                seen[v] += h
            for v in assign:
                seen[v] += h * 3
        for v in range(self.n, len(colours)):
            seen[self.component[v]] += hash((colours[v], seen[v]))
        return [hash((x, s, seen[c])) for x, s, c in zip(colours, seen, self.component, strict=True)]


class _Matching:
    """Renamings of one ground system to another, or to itself."""

    def __init__(self, left: Ground, right: Ground | None = None) -> None:
        self.left = _Form(left)
        self.right = self.left if right is None else _Form(right)
        self.work = _WORK
        self.alike = self.refine(self.left.colours, self.right.colours) if len(self.left.component) == len(self.right.component) else None

    def refine(self, left: Sequence[int], right: Sequence[int]) -> tuple[list[int], list[int]] | None:
        """Both coloured until nothing more is told apart; None if they differ, or it takes too long."""
        same = self.left is self.right and left == right
        kinds, a, b = 0, list(left), list(right)
        while len(set(a)) > kinds:
            self.work -= self.left.places + self.right.places
            kinds = len(set(a))
            a = self.left.refined(a)
            b = a if same else self.right.refined(b)
            if self.work < 0 or sum(a) != sum(b):
                return None
        return a, b

    def extended(self, left: Marks, right: Marks) -> Renaming | None:
        """A renaming that takes what is marked on the left to what has the same mark on the right."""
        if self.alike is None:
            return None
        a, b = list(self.alike[0]), list(self.alike[1])
        for colours, marks in ((a, left), (b, right)):
            for v, mark in marks.items():
                colours[v] = hash((colours[v], mark))
        for held in range(_HELD):
            coloured = self.refine(a, b)
            guess = self.guess(*coloured) if coloured is not None else None
            if coloured is None or guess is None:
                return None
            if (renaming := self.checked(*guess)) is not None:
                return renaming
            a, b = coloured
            open_ = self.undecided(a, b)
            if open_ is None:
                return None
            v, w = open_
            a[v], b[w] = hash((a[v], held)), hash((b[w], held))
        return None

    def undecided(self, a: Sequence[int], b: Sequence[int]) -> tuple[int, int] | None:
        """A value that several on the right are alike to, and one of these: itself if it is one."""
        cells: dict[int, list[int]] = {}
        for w, colour in enumerate(b):
            cells.setdefault(colour, []).append(w)
        for v in range(self.left.n, len(a)):
            cell = cells[a[v]]
            if len(cell) > 1:
                return v, v if v in cell else cell[0]
        return None

    def guess(self, a: Sequence[int], b: Sequence[int]) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]] | None:
        n = self.left.n
        components = _matched(a[:n], b[:n], self.left.order, self.right.order)
        if components is None:
            return None
        values = []
        for c, to in enumerate(components):
            size, other = len(self.left.ground.components[c].values), len(self.right.ground.components[to].values)
            at, goes = self.left.first[c], self.right.first[to]
            matched = _matched(a[at : at + size], b[goes : goes + other], range(size), range(other))
            if matched is None:
                return None
            values.append(matched)
        return components, tuple(values)

    def checked(self, components: tuple[int, ...], values: tuple[tuple[int, ...], ...]) -> Renaming | None:
        """The renaming, if it maps the one system onto the other; a relation that is there twice, onto one that is."""
        self.work -= self.left.places
        image = [*components, *(self.right.first[to] + y for to, mapped in zip(components, values, strict=True) for y in mapped)]
        if len(self.left.relations) != len(self.right.relations):
            return None
        taken: dict[Hashable, int] = {}
        images = []
        for kind, guard, assign in self.left.relations:
            key = (kind, frozenset([image[v] for v in guard]), frozenset([image[v] for v in assign]))
            there, nth = self.right.index.get(key, ()), taken.get(key, 0)
            if nth == len(there):
                return None
            taken[key] = nth + 1
            images.append(there[nth])
        return Renaming(components, values, tuple(images[: len(self.left.ground.rows)]))


def _matched(a: Sequence[int], b: Sequence[int], order_a: Sequence[int], order_b: Sequence[int]) -> tuple[int, ...] | None:
    """For each position of ``a`` one of ``b`` of the same colour: itself if it is one, else the first that is free."""
    if len(a) != len(b):
        return None
    free: dict[int, list[int]] = {}
    for j in reversed(order_b):
        if a[j] != b[j]:
            free.setdefault(b[j], []).append(j)
    made = list(range(len(a)))
    for i in order_a:
        if a[i] != b[i]:
            if not free.get(a[i]):
                return None
            made[i] = free[a[i]].pop()
    return tuple(made)


Thing = tuple[int, int]
"""A CPU (-1, its number), a component (its position, -1) or a value (of a component, which)."""


class _Joined:
    """Things that are known to be exchangeable, each class known by one of them."""

    def __init__(self) -> None:
        self.above: dict[Thing, Thing] = {}

    def find(self, x: Thing) -> Thing:
        while x in self.above:
            x = self.above[x]
        return x

    def join(self, x: Thing, y: Thing) -> None:
        x, y = self.find(x), self.find(y)
        if x != y:
            self.above[y] = x


def symmetries(ground: Ground) -> list[Renaming]:
    """Renamings of ``ground``, whose rows have no parts, to itself that generate a group; exchanges of two things with as little else as possible."""
    if not _settled(ground):
        return []
    match = _Matching(ground)
    if match.alike is None:
        return []
    form, colours, components = match.left, match.alike[0], ground.components
    joined, found = _Joined(), dict[Renaming, None]()

    def tried(left: Marks, right: Marks) -> Renaming | None:
        renaming = match.extended(left, right)
        if renaming is not None:
            found[renaming] = None
            for c in form.order:
                joined.join((c, -1), (renaming.components[c], -1))
            for before, after in sorted(renaming.moved()):
                joined.join(before, after)
        return renaming

    def pairs(kinds: Mapping[Hashable, list[Thing]]) -> Iterator[tuple[Thing, Thing]]:
        """Two of a kind that are not known to be exchangeable yet."""
        for alike in kinds.values():
            for x, y in itertools.combinations(alike, 2):
                if joined.find(x) == x and joined.find(y) == y:
                    yield x, y

    mine: dict[int, dict[str, int]] = {}
    for c, component in enumerate(components):
        if component.owner is not None:
            mine.setdefault(component.owner, {})[component.name.partition(".")[2]] = c
    kinds: dict[Hashable, list[Thing]] = {}
    for cpu, own in sorted(mine.items()):
        kinds.setdefault(frozenset((name, colours[c]) for name, c in own.items()), []).append((-1, cpu))
    exchanges = []
    for x, y in pairs(kinds):
        ways = itertools.permutations((mine[x[1]], mine[y[1]]))
        renaming = tried(*({c: (i, name) for i, own in enumerate(way) for name, c in own.items()} for way in ways))
        if renaming is not None:
            exchanges.append(renaming)
            joined.join(x, y)
    # Of CPUs that are exchangeable one is enough to look at.
    seeds = [c for c in form.order if (owner := components[c].owner) is None or joined.find((-1, owner)) == (-1, owner)]
    kinds = {}
    for c in seeds:
        kinds.setdefault((components[c].owner, colours[c]), []).append((c, -1))
    for (c, _), (d, _) in pairs(kinds):
        tried({c: 0}, {d: 0})
    kinds = {}
    for c in seeds:
        for i in range(len(components[c].values)):
            kinds.setdefault((c, colours[form.first[c] + i]), []).append((c, i))
    for (c, i), (_, j) in pairs(kinds):
        tried({form.first[c] + i: 0}, {form.first[c] + j: 0})
    for exchange in exchanges:
        for renaming in [r for r in found if r not in exchanges]:
            found[exchange.back().then(renaming).then(exchange)] = None
    return list(found)


def isomorphism(one: Ground, other: Ground) -> Renaming | None:
    """A renaming of one ground system to another, if one is found."""
    return _Matching(one, other).extended({}, {}) if _settled(one) and _settled(other) else None


def _settled(ground: Ground) -> bool:
    """Whether rows say all that there is, and saturated fills end in the same state in whatever order they are made: none undoes what another needs."""
    given: dict[int, int] = {}
    return (
        not any(row.parts for row in ground.rows)
        and all(given.setdefault(c, x) == x for row in ground.closure for c, x in row.assign.items())
        and all(given.get(c, x) == x for row in ground.closure for c, x in row.guard.items())
    )
