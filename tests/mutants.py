"""Mutation test of the machine and of Xen's clean switches: every mutant is killed, or proved harmless.

``python tests/mutants.py`` makes, from the data, every weakening and strengthening of each clause
of the x86 operations, and removes each operation of each clean switch in turn. A mutant is killed

- by the reference predicates of ``tests/x86_rules.py``, in a state in which the machine can be; or
- by a verdict: on one of the library's models a property's verdict, its depth, or the set of
  violated clauses and cases is another one.

What is not killed must be proved to change nothing: a clause mutant by z3, for all registers,
operands and entries; a switch without one operation by exhaustive search, all properties proved,
and it must be listed here with the reason why. Anything else survives: exit status 1.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import x86_rules

from tlbcheck.engines.explicit import Tracked
from tlbcheck.errors import InputError
from tlbcheck.lang.expr import FALSE, Expr, and_, bit, eq, evaluate, implies, not_, or_, substitute, var, variables
from tlbcheck.lang.model import PROFILES, Model
from tlbcheck.lang.program import Call, Do, Operation, Procedure, Statement, walk
from tlbcheck.lang.types import U64
from tlbcheck.library import find_models, find_properties
from tlbcheck.machine import x86
from tlbcheck.mutate import clause_mutants, operations, procedures_in_role, remove_statement, replace_operation
from tlbcheck.system.lower import lower

CLEAN = ("xen/before-pcid", "xen/gp-fix", "xen/flush-once", "xen/pcid-v5@all-repaired")
WITNESSES = ("xen/before-pcid", "xen/flush-once", "xen/gp-fix", "xen/pcid-v5@all-repaired", "xen/xsa-292", "xen/pcid-v5")
"""Models whose verdicts a mutated operation may change, cheapest first."""

_SWITCH = {
    "xen/before-pcid": "switch_cr3_cr4_before_pcid",
    "xen/gp-fix": "switch_cr3_cr4_xsa_292",
    "xen/flush-once": "switch_cr3_cr4_flush_once",
    "xen/pcid-v5@all-repaired": "write_cr3_cr4",
}
_TICK = "the clock is for other CPUs, of which there are none here; C1 counts from PUSHF; CLI as well, which comes before the tick"
_STAMP = "the stamp is for other CPUs, of which there are none here: the rules of the flush clock are not among these properties"
REDUNDANT: Mapping[tuple[str, str], str] = {
    **{(model, f"{switch}: clock tick"): _TICK for model, switch in _SWITCH.items()},
    **{(model, f"{switch}: clock stamp"): _STAMP for model, switch in _SWITCH.items()},
    ("xen/pcid-v5@all-repaired", "write_cr3_cr4: MOV from CR3"): "the early read is never reached: this variant reads CR3 with interrupts off instead",
    ("xen/pcid-v5@all-repaired", "write_cr3_cr4: MOV from CR4 #2"): (
        "CR4 then always counts as different: it is written once more with the value that it has, and the repaired branch flushes the old PCID just as the other one does"
    ),
}
"""Why a clean switch stays clean without an operation: by model, and procedure and operation.

xen.md 6 knows flushes that are redundant on one transition only (F3 before a flushing MOV CR3 from
nopcid to nopcid); no flush of these switches is redundant on all of them, and none stands here.
"""

PROCESSES = 2


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant: ``killed``, ``equivalent``, ``redundant`` or ``SURVIVED``, and how that is known."""

    mutant: str
    fate: str
    how: str


@dataclass(frozen=True, eq=False)
class Mutant:
    name: str
    judge: Callable[[], Outcome]


# -- verdicts


@dataclass(frozen=True)
class Verdicts:
    """All that a model's exploration says: each property's verdict and depth, and every violated clause and case."""

    said: tuple[tuple[str, str, int | None], ...]
    broken: frozenset[tuple[object, ...]]

    def difference(self, other: Verdicts) -> str:
        """How ``other`` differs, in words; empty if it does not."""
        for (name, verdict, depth), (_, new, new_depth) in zip(self.said, other.said, strict=True):
            if verdict != new:
                return f"{name} {new} at depth {new_depth}" if new == "violated" else f"{name} {new}"
            if depth != new_depth:
                return f"{name} violated at depth {new_depth} instead of {depth}"
        changed = self.broken ^ other.broken
        return f"{len(changed)} violated cases come or go" if changed else ""


def verdicts(model: Model) -> Verdicts:
    """Explore ``model`` completely."""
    properties = find_properties(None, model)
    system = lower(model, properties)
    found = Tracked(system).run()
    said = []
    for q in properties:
        shortest = found.shortest(q.name)
        fired = q.trigger is None or any(kind == q.trigger.kind and q.trigger.name in ("", name) for kind, name in found.fired)
        verdict = "not applicable" if q.name in system.not_applicable else found.verdict(q.name) if shortest or fired else "vacuous"
        said.append((q.name, verdict, shortest.depth if shortest else None))
    return Verdicts(tuple(said), frozenset((v.property, v.clause, v.case) for v in found.violations))


@functools.cache
def model_named(name: str) -> Model:
    return find_models(name)[0]


@functools.cache
def original(name: str) -> Verdicts:
    return verdicts(model_named(name))


# -- the machine against the reference predicates


@dataclass(frozen=True)
class Situation:
    """One state and operation: as the reference and as the machine see it."""

    op: x86_rules.Op
    registers: x86_rules.Registers
    entry: x86_rules.Entry
    values: Mapping[str, int]


_FREE: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "MOV to CR0": {"pg": (0, 1)},
    "MOV to CR3": {"low12": (0, 1), "address_bit": (12, 45, 46, 51, 52, 62), "bit63": (0, 1)},
    "MOV to CR4": dict.fromkeys(("pge", "pcide", "pae", "pse", "smep"), (0, 1)),
    "INVLPG": {"page": (0, 1), "canonical": (0, 1)},
    "INVPCID 0": {"descriptor": (0, 1, 0x1000, 0x1001), "page": (0, 1), "canonical": (0, 1)},
    "INVPCID 1": {"descriptor": (0, 1, 0x1000, 0x1001)},
    "INVPCID 2": {},
    "INVPCID 3": {},
}
_CR4_BITS = {"pge": x86.X86_CR4_PGE, "pcide": x86.X86_CR4_PCIDE, "pae": x86.X86_CR4_PAE, "pse": x86.X86_CR4_PSE, "smep": x86.X86_CR4_SMEP}


def _combinations(domains: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*domains.values()):
        yield dict(zip(domains, values, strict=True))


def _word(of: object, bits: Mapping[str, int]) -> int:
    return sum(mask for name, mask in bits.items() if getattr(of, name))


def _operand(op: x86_rules.Op) -> int:
    match op.kind:
        case "MOV to CR0":
            return _word(op, {"pg": x86.X86_CR0_PG})
        case "MOV to CR3":
            return op.low12 | 1 << op.address_bit | _word(op, {"bit63": x86.X86_CR3_NOFLUSH})
    return _word(op, _CR4_BITS)


def _values(op: x86_rules.Op, k: x86_rules.Registers, e: x86_rules.Entry) -> dict[str, int]:
    return {
        "cr0": _word(k, {"pg": x86.X86_CR0_PG}),
        "cr3": k.cr3_low12,
        "cr4": _word(k, _CR4_BITS),
        "setting.maxphyaddr_is_52": k.maxphyaddr == 52,
        "setting.maxphyaddr": k.maxphyaddr,
        "setting.lma": k.long_mode,
        "setting.pcid": k.has_pcid,
        "setting.invpcid": k.has_invpcid,
        "arg.value": _operand(op),
        "arg.pcid": op.descriptor,
        "arg.page": op.page,
        "arg.canonical": op.canonical,
        "entry.tag": e.tag,
        "entry.global": e.is_global,
        "entry.page": e.page,
    }


@functools.cache
def situations(kind: str) -> tuple[Situation, ...]:
    """All small combinations of bits in which the machine can be, in an order that finds differences soon."""
    fields = ("pg", "pge", "pcide", "pae", "long_mode", "has_pcid", "cr3_low12", *(("pse", "smep") if kind == "MOV to CR4" else ("has_invpcid",)))
    widths = (46, 52) if kind == "MOV to CR3" else (52,)
    states = [k for k in (x86_rules.Registers(**c) for c in _combinations(dict.fromkeys(fields, (0, 1)) | {"maxphyaddr": widths})) if x86_rules.possible(k)]
    entries = [x86_rules.Entry(**c) for c in _combinations({"tag": (0, 1), "is_global": (0, 1), "page": (0, 1) if "page" in _FREE[kind] else (0,)})]
    ops = [x86_rules.Op(kind, **c) for c in _combinations(_FREE[kind])]
    made = [Situation(op, k, e, _values(op, k, e)) for op in ops for k in states for e in entries if x86_rules.can_be_cached(e, k)]
    random.Random(1).shuffle(made)
    return tuple(made)


def raised(operation: Operation) -> dict[str, Expr]:
    """When ``operation`` raises each exception; an earlier one of its list comes first."""
    made: dict[str, Expr] = {}
    for exception in dict.fromkeys(c.exception for c in operation.faults):
        when = or_(*(and_(*c.parts) for c in operation.faults if c.exception == exception))
        made[exception] = and_(when, not_(or_(*made.values())))
    return made


def dropped(operation: Operation, profile: str) -> Expr:
    """Which entries go, if ``operation`` does not fault."""
    wanted = frozenset({"intel", "amd"}) if profile == "common" else frozenset({profile})
    return or_(*(and_(*c.parts) for c in operation.drops if wanted <= c.vendors))


def reference_difference(operation: Operation) -> str:
    """A situation in which ``operation`` does something else than the reference says; empty if there is none."""
    faults, drops = raised(operation), {profile: dropped(operation, profile) for profile in PROFILES}
    for s in situations(operation.name):
        exception = next((name for name, when in faults.items() if evaluate(when, s.values)), "")
        wanted = x86_rules.fault(s.op, s.registers)
        if exception != wanted:
            return f"{exception or 'no fault'} instead of {wanted or 'no fault'}"
        if exception:
            continue
        for profile, when in drops.items():
            if bool(evaluate(when, s.values)) != x86_rules.must_drop(s.op, s.entry, s.registers, profile):
                return f"an entry that must {'stay' if evaluate(when, s.values) else 'go'} ({profile})"
    return ""


# -- equivalence, by z3

_MODES = {
    "I-TAG5, F-7: PCIDE only in IA-32e mode and with PCIDs": implies(x86.PCIDE, and_(x86.LONG_MODE, x86.HAS_PCID)),
    "IA-32e mode has paging and PAE on": implies(x86.LONG_MODE, and_(bit(x86.CR0.expr, 31), bit(x86.CR4.expr, 5))),
}
INVARIANTS = {
    **_MODES,
    "I-TAG4: PCIDE=0 has PCID 0 only": x86.INVARIANTS.tag,
    "I-G1: PGE=0 has no global entry": x86.INVARIANTS.global_,
}


def _words(e: Expr) -> Expr:
    """Placeholders as words: any page numbers."""
    return substitute(e, {name: var(name, U64) for name, v in variables(e).items() if v.type is None})


def proof_that(claim: Expr) -> list[str] | None:
    """The invariants that z3 needs to prove ``claim`` for all values; None if it is false somewhere."""
    import z3

    from tlbcheck.engines.encoding import Translator

    expressions = [_words(e) for e in (claim, *INVARIANTS.values())]
    names = {n: z3.BitVec(n, 64) if v.type == U64 else z3.Bool(n) for e in expressions for n, v in variables(e).items()}
    to = Translator(names)
    solver = z3.Solver()
    solver.set(**{"smt.core.minimize": True})
    for name, e in zip(INVARIANTS, expressions[1:], strict=True):
        solver.assert_and_track(to(e), name)
    solver.add(z3.Not(to(expressions[0])))
    answer = solver.check()
    if answer == z3.unknown:
        raise RuntimeError(f"z3 does not know: {solver.reason_unknown()}")
    return sorted(str(x).strip("|") for x in solver.unsat_core()) if answer == z3.unsat else None


def same(old: Operation, new: Operation) -> Expr:
    """``new`` raises what ``old`` raises, and drops the same entries where neither faults, for each vendor."""
    mine, theirs = raised(old), raised(new)
    faults = [eq(mine.get(x, FALSE), theirs.get(x, FALSE)) for x in dict.fromkeys((*mine, *theirs))]
    drops = [or_(*mine.values(), eq(dropped(old, profile), dropped(new, profile))) for profile in PROFILES]
    return and_(*faults, *drops)


def modes_are_kept() -> bool:
    """The machine's operations keep the invariants on modes, which makes those invariants."""
    for operation in x86.OPERATIONS:
        effects = {v.name: e for v, e in operation.effects}
        kept = and_(*(substitute(e, effects) for e in _MODES.values()))
        if proof_that(or_(*raised(operation).values(), kept)) is None:
            return False
    return True


# -- the mutants


def judge_clause(name: str, old: Operation, new: Operation, by_verdict_first: bool) -> Outcome:
    """Kill a mutated operation, or prove that it is the same one."""
    if not by_verdict_first and (found := reference_difference(new)):
        return Outcome(name, "killed", f"the reference predicates: {found}")
    needed = proof_that(same(old, new))
    if needed is not None:
        return Outcome(name, "equivalent", f"z3, from {'; '.join(needed) if needed else 'nothing else'}")
    for witness in WITNESSES:
        model = model_named(witness)
        if old in operations(model):
            found = original(witness).difference(verdicts(replace_operation(model, old, new)))
            if found:
                return Outcome(name, "killed", f"{witness}: {found}")
    if found := reference_difference(new):
        return Outcome(name, "killed", f"the reference predicates: {found}")
    return Outcome(name, "SURVIVED", "differs from the original, but nothing shows it")


def judge_removal(name: str, model_name: str, label: str, procedure: Procedure, statement: Statement) -> Outcome:
    """Kill a switch without one operation, or find that all properties are proved of it still."""
    try:
        found = verdicts(remove_statement(model_named(model_name), procedure, statement))
    except InputError as error:
        return Outcome(name, "killed", f"no model: {error.message}")
    difference = original(model_name).difference(found)
    if difference:
        return Outcome(name, "killed", difference)
    if any(verdict != "proved" for _, verdict, _ in found.said):
        return Outcome(name, "SURVIVED", "not proved of the original either")
    reason = REDUNDANT.get((model_name, label))
    if reason is None:
        return Outcome(name, "SURVIVED", "all properties still proved, and REDUNDANT gives no reason why that is right")
    return Outcome(name, "redundant", f"proved on all {len(found.said)} properties; {reason}")


def clause_cases(by_verdict_first: bool) -> Iterator[Mutant]:
    for operation in x86.OPERATIONS:
        for m in clause_mutants(operation):
            yield Mutant(m.text, functools.partial(judge_clause, m.text, operation, m.operation, by_verdict_first))


def _acts(model: Model, s: Statement) -> bool:
    """An operation, or the call of a wrapper around one."""
    return isinstance(s, Do) or (isinstance(s, Call) and any(isinstance(x, Do) for x in walk(model.resolve(s.procedure).body)))


def removal_cases() -> Iterator[Mutant]:
    """Each operation, and each call of a wrapper around one, of every clean switch."""
    for model_name in CLEAN:
        model = model_named(model_name)
        for procedure in procedures_in_role(model, "switch"):
            seen: Counter[str] = Counter()
            for s in walk(procedure.body):
                if not _acts(model, s):
                    continue
                what = s.operation.name if isinstance(s, Do) else f"{s.procedure.name}()" if isinstance(s, Call) else ""
                seen[what] += 1
                label = f"{procedure.name}: {what}" + (f" #{seen[what]}" if seen[what] > 1 else "")
                name = f"{model_name} without {label}, line {s.place.line}"
                yield Mutant(name, functools.partial(judge_removal, name, model_name, label, procedure, s))


_MUTANTS: list[Mutant] = []


def _judge(i: int) -> Outcome:
    return _MUTANTS[i].judge()


def run(mutants: list[Mutant], show: Callable[[Outcome], None]) -> list[Outcome]:
    """Judge all mutants on a few processes that share what is computed beforehand."""
    _MUTANTS[:] = mutants
    outcomes = []
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("fork")) as pool:
        for outcome in pool.map(_judge, range(len(mutants))):
            show(outcome)
            outcomes.append(outcome)
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description="Mutants of the x86 machine and of Xen's clean switches.")
    parser.add_argument("--verdicts", action="store_true", help="try the models' verdicts before the reference predicates (slow): what do the models alone find?")
    options = parser.parse_args()
    began = time.perf_counter()
    for operation in x86.OPERATIONS:
        if (operation.drops or operation.faults) and (found := reference_difference(operation)):
            print(f"the machine itself differs from the reference: {operation.name}: {found}")
            return 1
    if not modes_are_kept():
        print("the machine does not keep the invariants that the proofs of equivalence use")
        return 1
    for name in WITNESSES if options.verdicts else CLEAN:
        original(name)
    outcomes = run([*clause_cases(options.verdicts), *removal_cases()], lambda o: print(f"{o.fate}: {o.mutant}\n    {o.how}", flush=True))
    fates = Counter(o.fate for o in outcomes)
    print(f"{len(outcomes)} mutants: " + ", ".join(f"{n} {fate}" for fate, n in sorted(fates.items())) + f"; {time.perf_counter() - began:.0f} s")
    return 1 if fates["SURVIVED"] else 0


if __name__ == "__main__":
    sys.exit(main())
