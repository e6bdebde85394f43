"""The matrix of every version against xen.md's account of it (1.3: control flow, 1.4: what is wrong)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from quick import sampled

from tlbcheck.lang.program import Do, walk
from tlbcheck.library import find_models, properties
from tlbcheck.matrix import Row, matrix
from tlbcheck.mutate import remove_statement

CONTEXTS = ("global", "nopcid", "kernel", "user")


@dataclass
class Cpu:
    """Just enough of a processor to follow the neutral pseudo-code of xen.md 1.3."""

    p: bool
    e: bool
    other: int
    pcid: int
    steps: list[str] = field(default_factory=list)
    fault: bool = False

    @property
    def cr4(self) -> tuple[bool, bool, int]:
        return self.p, self.e, self.other

    def w4(self, p: bool, e: bool, other: int) -> None:
        if not self.fault:
            self.steps.append(f"W4[{'G' if p else 'E' if e else 'N'}]")
            self.fault = e and not self.e and self.pcid != 0
            self.p, self.e, self.other = p, e, other

    def w3(self, pcid: int, noflush: bool) -> None:
        if not self.fault:
            self.steps.append(f"W3[{pcid}{'n' if noflush else 'f'}]")
            self.fault = noflush and not self.e
            self.pcid = pcid

    def flush(self, note: str) -> None:
        if not self.fault:
            self.steps.append(note)


Target = tuple[bool, bool, int, int, bool]
"""PGE, PCIDE, other CR4 bits, PCID and bit 63 of the requested values."""


def before_pcid(c: Cpu, t: Target) -> None:
    p, e, other, pcid, n = t
    o = c.cr4
    if c.p:
        o = (False, e, other)
        c.w4(*o)
    c.w3(pcid, n)
    if o != (p, e, other):
        c.w4(p, e, other)


def v5(c: Cpu, t: Target, *, flush_old: bool = True) -> None:
    p, e, other, pcid, n = t
    op = c.pcid
    if c.p:
        c.w4(False, e, other)
    else:
        c.flush("F3")
    c.w3(pcid, n)
    if c.cr4 != (p, e, other):
        c.w4(p, e, other)
    elif op != pcid and flush_old:
        c.flush(f"F1[{op}]")


def v4(c: Cpu, t: Target) -> None:
    v5(c, t, flush_old=False)


def p1(c: Cpu, t: Target, *, set_pcide_first: bool = False) -> None:
    p, e, other, pcid, n = t
    o = c.cr4
    if c.p:
        o = (False, e, other)
        c.w4(*o)
    else:
        c.flush("F3")
        if set_pcide_first and not o[1] and e:
            o = (p, e, other)
            c.w4(*o)
    op = c.pcid
    c.w3(pcid, n and op != pcid)
    if o != (p, e, other):
        c.w4(p, e, other)
    if op != pcid and not p and not (o[1] and not e):
        c.flush(f"F1[{op}]")


def p2(c: Cpu, t: Target) -> None:
    p1(c, t, set_pcide_first=True)


def p3(c: Cpu, t: Target) -> None:
    p, e, other, pcid, n = t
    o = c.cr4
    if not c.e and (e or (p and c.p)):
        o = (False, e, other)
        c.w4(*o)
    c.w3(pcid, n or (o[1] and not e))
    if o != (p, e, other):
        c.w4(p, e, other)
    if e:
        c.flush("F3")


def account(version: Callable[[Cpu, Target], None], old: str, new: str, other: str) -> tuple[list[str], bool]:
    """The steps of one row, and whether the last one faults."""
    cpu = Cpu(p=old == "global", e=old in ("kernel", "user"), other=0, pcid=int(old == "user"))
    pcided = new in ("kernel", "user")
    version(cpu, (new == "global", pcided, int(other == "differ"), int(new == "user"), pcided))
    return cpu.steps, cpu.fault


STALE_V5 = {
    *((o, n, x) for o, n in (("global", "kernel"), ("kernel", "kernel"), ("user", "user")) for x in ("same", "differ")),  # F-A
    ("kernel", "user", "differ"),
    ("user", "kernel", "differ"),  # F-B
}
# v4 has no flush of the old PCID at all: whenever the PCID changes and no CR4 write flushes, its entries stay.
STALE_V4 = STALE_V5 | {(o, n, x) for o, n in (("global", "user"), ("kernel", "user"), ("user", "kernel")) for x in ("same", "differ")}

VERSIONS = {
    "xen/before-pcid": (before_pcid, set()),
    "xen/pcid-v4": (v4, STALE_V4),
    "xen/pcid-v5": (v5, STALE_V5),
    "xen/pcid-committed": (v5, STALE_V5),
    "xen/xsa-292": (p1, set()),
    "xen/gp-fix": (p2, set()),
    "xen/flush-once": (p3, set()),
}


def rows_of(name: str) -> list[Row]:
    return matrix(find_models(name)[0], properties()["missing-flush"])


@pytest.mark.parametrize("name", sampled(VERSIONS, keep=2))
def test_the_matrix_agrees_with_the_account(name: str) -> None:
    """Steps and verdict of every row are those that xen.md 1.3 and 1.4 give for the version."""
    version, stale = VERSIONS[name]
    contexts = CONTEXTS[:2] if name == "xen/before-pcid" else CONTEXTS
    rows = {(r.old, r.new, r.other_cr4): r for r in rows_of(name)}
    assert set(rows) == set(itertools.product(contexts, contexts, ("same", "differ")))
    for key, row in rows.items():
        steps, fault = account(version, *key)
        assert (list(row.steps), row.verdict) == (steps, "fault" if fault else "stale" if key in stale else "clean"), key


@pytest.mark.long
def test_changing_one_line_changes_exactly_its_rows() -> None:
    """Without the INVPCID of gp-fix for the old PCID, just the rows that executed it change, and go stale."""
    model = find_models("xen/gp-fix")[0]
    procedure = next(q for q in model.procedures.values() if q.role == "switch")
    flush = next(s for s in walk(procedure.body) if isinstance(s, Do) and s.operation.name == "INVPCID 1")
    missing_flush = properties()["missing-flush"]
    before = {(r.old, r.new, r.other_cr4): r for r in matrix(model, missing_flush)}
    after = {(r.old, r.new, r.other_cr4): r for r in matrix(remove_statement(model, procedure, flush), missing_flush)}
    changed = {k for k in before if before[k] != after[k]}
    assert changed == {k for k, r in before.items() if any(s.startswith("F1") for s in r.steps)}
    assert {after[k].verdict for k in changed} == {"stale"}


def test_rows_come_from_runs_not_from_expectations() -> None:
    """Expectations that say the opposite change no row."""
    model = find_models("xen/before-pcid")[0]
    missing_flush = properties()["missing-flush"]
    assert matrix(replace(model, expected={"missing-flush": "violated"}), missing_flush) == matrix(model, missing_flush)
