"""The search loop over ``Tables``: the compiled one where the package was built with it, else the same in Python.

Both visit the same states in the same layers and passes; the compiled one uses several threads.
"""

from __future__ import annotations

import ctypes
import itertools
import time
from array import array
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from tlbcheck.engines.orbits import Chunk, Orbits, Peers
from tlbcheck.engines.packed_tables import Tables

DONE, AGAIN, OUT_OF_MEMORY, STATE_LIMIT, TOO_DEEP, VIOLATED = range(6)
_NEVER = 0xFFFFFFFF
_PASSES = 1 << 16
_BITS_OF_SEEN = 33
"""Up to so many bits, which states were seen is kept as a bit for each possible one."""
_PYTHON_BYTES = 200
"""What a state takes in Python: an element of a set and of a list, roughly."""


def _mib(n: int) -> str:
    """Bytes for people."""
    return f"{n / (1 << 20):,.1f} MiB"


class Search(Protocol):
    """A search that goes on for as long as it is told.

    ``passes`` are (first index in the queue, depth): rounds of rows without cost, the first of a
    depth holding what steps made. ``bad_depths`` has one entry for each of ``Tables.bads``.
    """

    @property
    def count(self) -> int: ...
    @property
    def closed(self) -> int:
        """So many states of the queue are in layers that are known; what comes after is the next one."""

    @property
    def transitions(self) -> int: ...
    @property
    def whole(self) -> tuple[int, int]:
        """States and transitions, where symmetric ones are counted apart."""

    @property
    def bytes(self) -> int: ...
    @property
    def beforehand(self) -> str:
        """What it will take, for people."""

    @property
    def depth(self) -> int: ...
    @property
    def passes(self) -> Sequence[tuple[int, int]]: ...
    @property
    def bad_depths(self) -> Sequence[int | None]: ...
    def run(self, seconds: float) -> int: ...
    def allow(self, max_states: int) -> None:
        """Go on, after so many states as were allowed before, up to so many."""

    def used_rows(self) -> set[int]:
        """Rows of the ground system that were taken."""

    def least_bad(self, first: int, last: int, bad: int) -> int | None:
        """The least key in a range of the queue for which a bad cube holds."""

    def least_before(self, first: int, last: int, cost: int, key: int) -> int | None:
        """The least key in a range of the queue from which a row of that cost leads to ``key``."""

    def close(self) -> None: ...


# -- compiled


class _Table(ctypes.Structure):
    _fields_ = [
        ("n_fields", ctypes.c_uint32),
        ("field", ctypes.c_uint32 * 4),
        ("position", ctypes.c_uint32 * 4),
        ("start", ctypes.c_void_p),
        ("delta", ctypes.c_void_p),
        ("used", ctypes.c_void_p),
    ]


class _Dispatch(ctypes.Structure):
    _fields_ = [("field", ctypes.c_uint32), ("start", ctypes.c_void_p), ("rows", ctypes.c_void_p)]


class _Test(ctypes.Structure):
    _fields_ = [("field", ctypes.c_uint32), ("holds", ctypes.c_void_p)]


class _Change(ctypes.Structure):
    _fields_ = [("field", ctypes.c_uint32), ("delta", ctypes.c_void_p)]


class _Compound(ctypes.Structure):
    _fields_ = [("n_tests", ctypes.c_uint32), ("n_changes", ctypes.c_uint32), ("tests", ctypes.c_void_p), ("changes", ctypes.c_void_p), ("used", ctypes.c_void_p)]


class _Bad(ctypes.Structure):
    _fields_ = [("n_tests", ctypes.c_uint32), ("later", ctypes.c_uint32), ("tests", ctypes.c_void_p), ("property", ctypes.c_uint64)]


class _Member(ctypes.Structure):
    _fields_ = [("shift", ctypes.c_uint32), ("mask", ctypes.c_uint32), ("rank", ctypes.c_void_p), ("put", ctypes.c_void_p)]


class _Peers(ctypes.Structure):
    _fields_ = [("n", ctypes.c_uint32), ("n_ranks", ctypes.c_uint32), ("members", ctypes.c_void_p), ("acts", ctypes.c_void_p), ("sizes", ctypes.c_void_p)]


class _Chunk(ctypes.Structure):
    _fields_ = [("shift", ctypes.c_uint32), ("mask", ctypes.c_uint32), ("sizes", ctypes.c_void_p), ("images", ctypes.c_void_p)]


class _Search(ctypes.Structure):
    _fields_ = [
        *((n, ctypes.c_uint32) for n in ("n_fields", "key_bits", "threads", "order")),
        *((n, ctypes.c_uint32 * 64) for n in ("shift", "mask")),
        ("n_tables", ctypes.c_uint32 * 2),
        ("n_closures", ctypes.c_uint32),
        ("n_dispatches", ctypes.c_uint32 * 2),
        *((n, ctypes.c_uint32) for n in ("n_bads", "n_peers", "n_chunks")),
        ("tables", ctypes.c_void_p * 2),
        ("closures", ctypes.c_void_p),
        ("dispatches", ctypes.c_void_p * 2),
        ("compounds", ctypes.c_void_p),
        *((n, ctypes.c_void_p) for n in ("bads", "peers", "chunks", "tried_from", "tried")),
        ("kept", ctypes.c_uint64 * 2),
        *((n, ctypes.c_uint64) for n in ("properties", "max_states", "max_bytes", "fanout", "count", "transitions", "whole_count", "whole_transitions")),
        ("bad_depth", ctypes.c_void_p),
        ("pass_start", ctypes.c_void_p),
        ("pass_depth", ctypes.c_void_p),
        ("n_passes", ctypes.c_uint32),
        ("max_passes", ctypes.c_uint32),
        *((n, ctypes.c_uint64) for n in ("next", "end", "layer", "bytes")),
        ("depth", ctypes.c_uint32),
        ("phase", ctypes.c_uint32),
        ("queue", ctypes.c_void_p),
        ("seen", ctypes.c_void_p),
        *((n, ctypes.c_uint64) for n in ("queue_bytes", "seen_bytes", "slots")),
    ]


@cache
def library() -> Any:
    """The compiled loop, or None where the package was built without it."""
    path = Path(__file__).with_name("_search.so")
    if not path.exists():
        return None
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError:
        return None
    loaded.search_size.restype = ctypes.c_uint64
    if loaded.search_size() != ctypes.sizeof(_Search):  # of another version
        return None
    loaded.search_init.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64]
    loaded.search_run.argtypes = [ctypes.c_void_p, ctypes.c_double]
    loaded.search_find.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int32, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p]
    loaded.search_free.argtypes = [ctypes.c_void_p]
    return loaded


class Native:
    """The compiled loop."""

    def __init__(self, tables: Tables, starts: Iterable[int], *, max_states: int, max_bytes: int, threads: int, properties: Sequence[int], orbits: Orbits | None = None) -> None:
        self.library = library()
        self.tables = tables
        self._kept: list[Any] = []  # what C points to
        self._memo: dict[tuple[int, int], int] = {}
        self._change_memo: dict[int, int] = {}
        s = self.search = _Search()
        s.n_fields, s.key_bits, s.threads = len(tables.blocks), tables.width, min(threads, 64)
        for i, block in enumerate(tables.blocks):
            s.shift[i], s.mask[i] = block.shift, (1 << block.bits) - 1
        if orbits is not None and orbits.order:
            s.order, s.kept[0], s.kept[1] = orbits.order, orbits.kept & (1 << 64) - 1, orbits.kept >> 64
            s.n_peers, s.peers = len(orbits.peers), self._structs(_Peers, [self._peers(p) for p in orbits.peers])
            s.n_chunks, s.chunks = len(orbits.chunks), self._structs(_Chunk, [self._chunk(c) for c in orbits.chunks])
            if orbits.tried:
                s.tried_from = self._array("I", [0, *itertools.accumulate(map(len, orbits.tried))])
                s.tried = self._array("I", [k for tried in orbits.tried for k in tried])
        self._used: list[tuple[Any, Any, Any]] = []
        for cost in (0, 1):
            s.n_tables[cost] = len(tables.tables[cost])
            s.tables[cost] = self._structs(_Table, [self._table(t) for t in tables.tables[cost]])
            s.n_dispatches[cost] = len(tables.compounds[cost])
            s.dispatches[cost] = self._structs(_Dispatch, [self._dispatch(b, at) for b, at in sorted(tables.compounds[cost].items())])
        s.n_closures = len(tables.closures)
        s.closures = self._structs(_Table, [self._closure(t) for t in tables.closures])
        self._compound_used = array("B", bytes(max(1, len(tables.compound_rows))))
        self._kept.append(self._compound_used)
        s.compounds = self._structs(_Compound, [self._compound(i) for i in range(len(tables.compound_rows))])
        s.n_bads = len(tables.bads)
        s.bads = self._structs(_Bad, [_Bad(len(b.tests), b.later, self._tests(b.tests), p) for b, p in zip(tables.bads, properties, strict=True)])
        s.properties = 0
        for p in properties:
            s.properties |= p
        s.max_states, s.max_bytes, s.fanout = max_states, max_bytes, tables.fanout
        s.bad_depth = self._array("I", [_NEVER] * max(1, len(tables.bads)))
        self._bad_depth = self._kept[-1]
        s.pass_start = self._array("Q", bytes(8 * _PASSES))
        self._pass_start = self._kept[-1]
        s.pass_depth = self._array("I", bytes(4 * _PASSES))
        self._pass_depth = self._kept[-1]
        s.max_passes = _PASSES
        one = tables.width // 8
        seen = 1 << max(6, tables.bits) >> 3
        s.seen_bytes = seen if tables.bits <= _BITS_OF_SEEN and seen <= max_bytes // 2 else 0
        # The queue is room that is not taken before it is needed.
        s.queue_bytes = min(max_bytes, 8 * seen * one) if s.seen_bytes else max_bytes
        keys = self._keys(list(starts))
        self.ended = self.library.search_init(ctypes.byref(s), keys, len(self._kept[-1]) * self._kept[-1].itemsize // one)

    def _array(self, kind: str, values: Any) -> int:
        made = array(kind, values)
        self._kept.append(made)
        return made.buffer_info()[0]

    def _keys(self, values: Sequence[int]) -> int:
        """An array of keys; differences wrap."""
        width = self.tables.width
        if width == 128:
            whole = [v & (1 << 128) - 1 for v in values] or [0]
            return self._array("Q", [part for v in whole for part in (v & (1 << 64) - 1, v >> 64)])
        mask = (1 << width) - 1
        return self._array("I" if width == 32 else "Q", [v & mask for v in values] or [0])

    def _structs(self, kind: Any, values: Sequence[Any]) -> int | None:
        if not values:
            return None
        made = (kind * len(values))(*values)
        self._kept.append(made)
        return ctypes.addressof(made)

    def _joint(self, fields: Sequence[int]) -> _Table:
        made = _Table(n_fields=len(fields))
        position = 0
        for i, b in enumerate(fields):
            made.field[i], made.position[i] = b, position
            position += self.tables.blocks[b].bits
        return made

    def _table(self, table: Any) -> _Table:
        made = self._joint(table.fields)
        start, rows = array("I", bytes(4 * (table.size + 1))), array("I")
        deltas: list[int] = []
        at = 0
        for joint in sorted(table.lists):
            while at <= joint:
                start[at] = len(deltas)
                at += 1
            for difference, row in table.lists[joint]:
                deltas.append(difference)
                rows.append(row)
        while at <= table.size:
            start[at] = len(deltas)
            at += 1
        self._kept.append(start)
        made.start, made.delta = start.buffer_info()[0], self._keys(deltas)
        made.used = self._array("B", bytes(table.size))
        self._used.append((self._kept[-1], start, rows))
        return made

    def _closure(self, table: Any) -> _Table:
        made = self._joint(table.fields)
        deltas = [0] * table.size
        for joint, ((difference, _),) in table.lists.items():
            deltas[joint] = difference
        made.delta = self._keys(deltas)
        return made

    def _dispatch(self, b: int, at: dict[int, list[int]]) -> _Dispatch:
        start, rows = [0], array("I")
        for value in range(1 << self.tables.blocks[b].bits):
            rows.extend(at.get(value, ()))
            start.append(len(rows))
        return _Dispatch(b, self._array("I", start), self._array("I", rows))

    def _tests(self, tests: Sequence[tuple[int, int]]) -> int | None:
        return self._structs(_Test, [_Test(b, self._holds(b, allowed)) for b, allowed in tests])

    def _holds(self, b: int, allowed: int) -> int:
        key = (b, allowed)
        if key not in self._memo:
            self._memo[key] = self._array("B", [allowed >> v & 1 for v in range(1 << self.tables.blocks[b].bits)])
        return self._memo[key]

    def _compound(self, i: int) -> _Compound:
        row = self.tables.compound_rows[i]
        changes = []
        for b, differences in row.changes:
            if id(differences) not in self._change_memo:  # the tables keep these lists
                self._change_memo[id(differences)] = self._keys([*differences, *[0] * ((1 << self.tables.blocks[b].bits) - len(differences))])
            changes.append(_Change(b, self._change_memo[id(differences)]))
        return _Compound(len(row.tests), len(changes), self._tests(row.tests), self._structs(_Change, changes), self._compound_used.buffer_info()[0] + i)

    def _peers(self, peers: Peers) -> _Peers:
        members = [_Member(m.shift, m.mask, self._array("H", m.rank), self._keys(m.put)) for m in peers.members]
        acts = self._array("H", [x for act in peers.acts for x in act])
        return _Peers(len(members), len(peers.sizes), self._structs(_Member, members), acts, self._array("Q", peers.sizes))

    def _chunk(self, chunk: Chunk) -> _Chunk:
        return _Chunk(chunk.shift, chunk.mask, self._array("Q", chunk.sizes), self._keys([x for image in chunk.images for x in image]))

    @property
    def count(self) -> int:
        return int(self.search.count)

    @property
    def closed(self) -> int:
        return int(self.search.end if self.search.phase else self.search.count)

    @property
    def transitions(self) -> int:
        return int(self.search.transitions)

    @property
    def whole(self) -> tuple[int, int]:
        if not self.search.order:
            return self.count, self.transitions
        return int(self.search.whole_count), int(self.search.whole_transitions)

    @property
    def bytes(self) -> int:
        return int(self.search.bytes)

    @property
    def beforehand(self) -> str:
        one, seen = self.tables.width // 8, int(self.search.seen_bytes)
        if self.search.slots:
            # A third to three fifths of the slots are taken; while the table grows, the old one is there too.
            each, most = f"{3 * one} to {6 * one} bytes", int(self.search.max_bytes)
        else:
            each, most = f"{_mib(seen)} for the set of states and {one} bytes", min(int(self.search.max_bytes), seen + (one << self.tables.bits))
        return f"a state takes {self.tables.bits} bits; memory: {each} a state, at most {_mib(most)}"

    @property
    def depth(self) -> int:
        return int(self.search.depth)

    @property
    def passes(self) -> Sequence[tuple[int, int]]:
        n = self.search.n_passes
        return list(zip(self._pass_start[:n], self._pass_depth[:n], strict=True))

    @property
    def bad_depths(self) -> Sequence[int | None]:
        return [None if d == _NEVER else d for d in self._bad_depth[: len(self.tables.bads)]]

    def run(self, seconds: float) -> int:
        if self.ended != DONE:
            return int(self.ended)
        return int(self.library.search_run(ctypes.byref(self.search), seconds))

    def allow(self, max_states: int) -> None:
        self.search.max_states = max_states

    def used_rows(self) -> set[int]:
        found = {self.tables.compound_rows[i].row for i, used in enumerate(self._compound_used[: len(self.tables.compound_rows)]) if used}
        for used, start, rows in self._used:
            at = used.tobytes().find(1)
            while at >= 0:
                found.update(rows[start[at] : start[at + 1]])
                at = used.tobytes().find(1, at + 1)
        return found

    def least_bad(self, first: int, last: int, bad: int) -> int | None:
        return self._find(first, last, bad, 0, 0)

    def least_before(self, first: int, last: int, cost: int, key: int) -> int | None:
        return self._find(first, last, -1, cost, key)

    def _find(self, first: int, last: int, bad: int, cost: int, key: int) -> int | None:
        target, found = (ctypes.c_uint64 * 2)(key & (1 << 64) - 1, key >> 64), (ctypes.c_uint64 * 2)()
        if not self.library.search_find(ctypes.byref(self.search), first, last, bad, cost, target, found):
            return None
        return int(found[0]) | int(found[1]) << 64

    def close(self) -> None:
        self.library.search_free(ctypes.byref(self.search))


# -- in Python


class Plain:
    """The same loop in Python, for machines without a C compiler at build time, and to hold the other against."""

    def __init__(self, tables: Tables, starts: Iterable[int], *, max_states: int, max_bytes: int, threads: int, properties: Sequence[int], orbits: Orbits | None = None) -> None:
        self.tables, self.orbits = tables, orbits
        self.max_states, self.max_bytes, self.properties = max_states, max_bytes, list(properties)
        self.fields = [(b.shift, (1 << b.bits) - 1) for b in tables.blocks]
        self.transitions = self.whole_count = self.whole_transitions = 0
        self.depth = self.phase = self.next = self.layer = 0
        self.passes: list[tuple[int, int]] = [(0, 0)]
        self.bad_depths: list[int | None] = [None] * len(tables.bads)
        self._rows: set[int] = set()
        self._joint_fields = {id(t): self._positions(t.fields) for cost in (0, 1) for t in tables.tables[cost]} | {id(t): self._positions(t.fields) for t in tables.closures}
        self.queue = list(dict.fromkeys(map(self.settle, starts)))
        self.seen = set(self.queue)
        self.end = len(self.queue)

    def _positions(self, fields: Sequence[int]) -> list[tuple[int, int]]:
        made, position = [], 0
        for b in fields:
            made.append((b, position))
            position += self.tables.blocks[b].bits
        return made

    @property
    def count(self) -> int:
        return len(self.queue)

    @property
    def closed(self) -> int:
        return self.end if self.phase else self.count

    @property
    def whole(self) -> tuple[int, int]:
        return (self.whole_count, self.whole_transitions) if self.orbits else (self.count, self.transitions)

    @property
    def bytes(self) -> int:
        return self.count * _PYTHON_BYTES

    @property
    def beforehand(self) -> str:
        return f"a state takes {self.tables.bits} bits; memory: about {_PYTHON_BYTES} bytes a state in Python, at most {_mib(self.max_bytes)}"

    def decode(self, key: int) -> list[int]:
        return [(key >> shift) & mask for shift, mask in self.fields]

    def settle(self, key: int) -> int:
        for t in self.tables.closures:
            v = self.decode(key)
            for difference, _ in t.lists.get(sum(v[b] << p for b, p in self._joint_fields[id(t)]), ()):
                key += difference
        return self.orbits.look(key)[0] if self.orbits else key

    def expand(self, key: int, v: Sequence[int], cost: int) -> list[tuple[int, int]]:
        """(successor, row) for every row of that cost that is enabled."""
        made = []
        for t in self.tables.tables[cost]:
            for difference, row in t.lists.get(sum(v[b] << p for b, p in self._joint_fields[id(t)]), ()):
                made.append((self.settle(key + difference), row))
        for by, at in self.tables.compounds[cost].items():
            for i in at.get(v[by], ()):
                c = self.tables.compound_rows[i]
                if all(allowed >> v[b] & 1 for b, allowed in c.tests):
                    made.append((self.settle(key + sum(differences[v[b]] for b, differences in c.changes)), c.row))
        return made

    def holds(self, bad: int, v: Sequence[int]) -> bool:
        return all(allowed >> v[b] & 1 for b, allowed in self.tables.bads[bad].tests)

    def run(self, seconds: float) -> int:
        until = time.perf_counter() + seconds
        while True:
            while self.next < self.end:
                key = self.queue[self.next]
                self.next += 1
                self._visit(key)
                if len(self.queue) > self.max_states:
                    return STATE_LIMIT
                if self.bytes > self.max_bytes:
                    return OUT_OF_MEMORY
                if not self.next & 255 and time.perf_counter() > until:
                    return AGAIN
            if self.phase == 0 and self.count > self.end:
                self.passes.append((self.end, self.depth))
                self.end = self.count
            elif self.phase == 0:
                self.phase, self.next = 1, self.layer
            elif self.count == self.end:
                return DONE
            elif self._all_violated():
                return VIOLATED
            else:
                self.layer, self.end, self.phase = self.end, self.count, 0
                self.depth += 1
                self.passes.append((self.layer, self.depth))

    def _all_violated(self) -> bool:
        wanted = set(self.properties) - {0}
        return bool(wanted) and wanted <= {p for p, d in zip(self.properties, self.bad_depths, strict=True) if d is not None}

    def _visit(self, key: int) -> None:
        v = self.decode(key)
        successors = self.expand(key, v, self.phase)
        self.transitions += len(successors)
        if self.orbits:
            orbit = self.orbits.look(key)[1]
            self.whole_transitions += orbit * len(successors)
            self.whole_count += orbit if self.phase else 0
        if self.phase:
            for i, bad in enumerate(self.tables.bads):
                if self.bad_depths[i] is None and self.holds(i, v):
                    self.bad_depths[i] = self.depth + bad.later
        for after, row in successors:
            self._rows.add(row)
            if after not in self.seen:
                self.seen.add(after)
                self.queue.append(after)

    def allow(self, max_states: int) -> None:
        self.max_states = max_states

    def used_rows(self) -> set[int]:
        return set(self._rows)

    def least_bad(self, first: int, last: int, bad: int) -> int | None:
        return min((k for k in self.queue[first:last] if self.holds(bad, self.decode(k))), default=None)

    def least_before(self, first: int, last: int, cost: int, key: int) -> int | None:
        return min((k for k in self.queue[first:last] if any(after == key for after, _ in self.expand(k, self.decode(k), cost))), default=None)

    def close(self) -> None:
        self.queue, self.seen = [], set()
