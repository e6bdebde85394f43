"""Switch functions run by gcc on a small machine, written from the manuals in C, against ``tlbcheck matrix``: row by row.

Nothing is shared with tlbcheck: neither the reading of C, nor the processor's rules, nor the abstraction of root tables to
a few names. The machine has 13 root tables at random addresses, four vCPU's kinds, and caches all that a walk can.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from switches import LIBRARY, function, random_body, random_roots

from tlbcheck.library import find_models, find_properties
from tlbcheck.matrix import Row, matrix, narrowed

MACHINE = Path(__file__).with_name("machine.c")
ROOTS = 13
KINDS = ("HVM", "PV", "NOPCID", "PCID")
Key = tuple[str, str, str]

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc here to run the functions with")


@dataclass(frozen=True)
class Ran:
    """What was seen of one row: the operations of each run and whether it faulted, and whether any run left something stale."""

    runs: frozenset[tuple[tuple[str, ...], bool]]
    stale: bool

    @property
    def verdict(self) -> str:
        return "fault" if any(faulted for _, faulted in self.runs) else "stale" if self.stale else "clean"

    @property
    def steps(self) -> tuple[str, ...]:
        """The operations that ``matrix`` shows of a row with several runs."""
        return min([r for r in self.runs if r[1]] or self.runs)[0]


def run(folder: Path, bodies: Mapping[str, str], *, seed: int, addresses: int = 4) -> dict[str, dict[Key, Ran]]:
    """Compile all functions at once, and run each from every context to every other, for some sets of root addresses."""
    names = list(bodies)
    calls = "\n".join(f"        rows({i}, function_{i}, {'false' if n == 'xen/before-pcid' else 'true'});" for i, n in enumerate(names))
    text = "\n".join(function(f"function_{i}", bodies[n]) for i, n in enumerate(names))
    main = f"int main(int argc, char **argv)\n{{\n    for ( int kind = HVM; kind <= PCID; kind++ )\n    {{\n        begin(argc, argv, kind);\n{calls}\n    }}\n    return 0;\n}}\n"
    source, program = folder / "switches.c", folder / "switches"
    source.write_text(f'#include "{MACHINE}"\n{text}\n{main}', encoding="utf-8")
    subprocess.run(["gcc", "-O1", "-w", "-std=gnu11", "-o", str(program), str(source)], check=True, capture_output=True, text=True)
    draw = random.Random(seed)
    runs: dict[str, dict[Key, set[tuple[tuple[str, ...], bool]]]] = {n: defaultdict(set) for n in names}
    stale: set[tuple[str, Key]] = set()
    for _ in range(addresses):
        done = subprocess.run([str(program), *map(str, random_roots(draw, ROOTS))], check=True, capture_output=True, text=True)
        for line in set(done.stdout.splitlines()):
            number, old, new, other, verdict, *steps = line.split()
            name, key = names[int(number)], (old, new, other)
            runs[name][key].add((tuple(steps), verdict == "fault"))
            if verdict == "stale":
                stale.add((name, key))
    return {n: {key: Ran(frozenset(seen), (n, key) in stale) for key, seen in of.items()} for n, of in runs.items()}


def told(rows: Sequence[Row]) -> dict[Key, tuple[str, tuple[str, ...]]]:
    return {(r.old.rstrip("_"), r.new.rstrip("_"), r.other_cr4): (r.verdict, r.steps) for r in rows}


def differences(rows: Sequence[Row], ran: Mapping[Key, Ran]) -> list[str]:
    """Rows that are not the same, in words."""
    mine = told(rows)
    found = [f"{key}: only {'tlbcheck' if key in mine else 'gcc'} has this row" for key in sorted(mine.keys() ^ ran.keys())]
    for key in sorted(mine.keys() & ran.keys()):
        theirs = (ran[key].verdict, ran[key].steps)
        if mine[key] != theirs:
            found.append(f"{key}: tlbcheck says {mine[key]}, gcc {theirs}")
    return found


@needs_gcc
@pytest.mark.parametrize("names", [("xen/pcid-v5",), pytest.param(tuple(LIBRARY), marks=pytest.mark.long)], ids=["one", "all"])
def test_the_librarys_switches_do_what_gcc_makes_of_them(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Of all seven every pair of contexts: the same operations, clean, stale or faulting alike."""
    question = find_properties(["missing-flush"])[0]
    ran = run(tmp_path, {n: LIBRARY[n] for n in names}, seed=7, addresses=6)
    found = {name: differences(matrix(find_models(name)[0], question), ran[name]) for name in names}
    assert {name: f for name, f in found.items() if f} == {}


def judged(tmp_path: Path, numbers: Sequence[int]) -> tuple[int, int]:
    """Random functions by both; how many agree in every row, and how many are judged for the values that their scope names alone.

    Of the latter, rows may differ: gcc had other roots, and each domain its own.
    """
    bodies = {str(n): random_body(n) for n in numbers}
    ran = run(tmp_path, bodies, seed=len(numbers))
    question = find_properties(["missing-flush"])[0]
    agreed = named = 0
    wrong: list[str] = []
    for n, body in bodies.items():
        path = tmp_path / "switch.c"
        path.write_text(function("switch_cr3_cr4", body), encoding="utf-8")
        (model,) = find_models(str(path))
        if narrowed(model, question):
            named += 1
            continue
        found = differences(matrix(model, question), ran[n])
        wrong += [f"function {n}:\n{body}\n" + "\n".join(found)] if found else []
        agreed += not found
    assert wrong == [], "\n".join(wrong)
    return agreed, named


@needs_gcc
def test_random_switches_do_what_gcc_makes_of_them(tmp_path: Path) -> None:
    agreed, named = judged(tmp_path, range(5))
    assert agreed >= 2
    assert agreed + named == 5


@needs_gcc
@pytest.mark.long
def test_two_hundred_random_switches_do_what_gcc_makes_of_them(tmp_path: Path) -> None:
    agreed, named = judged(tmp_path, range(5, 205))
    assert agreed >= 100
    assert agreed + named == 200


@needs_gcc
def test_gcc_finds_what_depends_on_the_bits_of_an_address(tmp_path: Path) -> None:
    """A last flush that is left out for some roots is stale for one of these: tlbcheck, whose few roots do not show it, names them."""
    whole = LIBRARY["xen/flush-once"]
    bodies = {c: whole.replace("if ( cr4 & X86_CR4_PCIDE )\n        invpcid", f"if ( (cr4 & X86_CR4_PCIDE) && ({c}) )\n        invpcid") for c in ("(u32)cr3_pa(cr3)", "cr3_pa(cr3) >> 12 & 7")}
    assert whole not in bodies.values()
    ran = run(tmp_path, bodies, seed=1, addresses=12)
    for condition in bodies:
        assert "stale" in {r.verdict for r in ran[condition].values()}, condition


def test_corner_values_are_among_the_roots() -> None:
    draw = random.Random(3)
    roots = [r for _ in range(40) for r in random_roots(draw, ROOTS)]
    assert all(0 < r < 1 << 52 and not r & 0xFFF for r in roots)
    assert any(not r & 0xFFFFFFFF for r in roots)
    assert any(r >> 51 for r in roots) and any(r & 0x80000000 for r in roots)
