"""Exports mean what the transition system means: by small readers of our own, z3 and, where installed, ABC."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import z3
from click.testing import CliRunner
from quick import sampled

from tlbcheck.cli import cli
from tlbcheck.engines.circuit import SystemCircuit
from tlbcheck.engines.explicit import Tracked
from tlbcheck.engines.invariant import system_for
from tlbcheck.engines.pdr import Pdr, Relation
from tlbcheck.engines.proof import circuit_run
from tlbcheck.engines.run import check
from tlbcheck.errors import InputError
from tlbcheck.export import aiger, write
from tlbcheck.export.chc import horn_clauses
from tlbcheck.library import find_models, find_properties
from tlbcheck.system.lower import lower
from tlbcheck.system.transition_system import TransitionSystem


def system_of(name: str, prop: str) -> TransitionSystem:
    model = find_models(name)[0]
    return system_for(lower(model, find_properties([prop], model)), frozenset({prop}))


class Aag:
    """A reader and simulator of ``aag`` text that shares nothing with the writer."""

    def __init__(self, text: str) -> None:
        lines = text.splitlines()
        kind, _, inputs, latches, outputs, gates, bads = lines[0].split()
        assert (kind, outputs, bads) == ("aag", "0", "1")
        rest = iter(lines[1:])
        self.inputs = [int(next(rest)) for _ in range(int(inputs))]
        self.latches = [tuple(map(int, next(rest).split())) for _ in range(int(latches))]
        self.bad = int(next(rest))
        self.gates = [tuple(map(int, next(rest).split())) for _ in range(int(gates))]
        self.names = dict(x.split(" ", 1) for x in rest)
        self.state = {now: 0 for now, _ in self.latches}

    def step(self, inputs: list[int]) -> bool:
        """Whether the state is bad; then the inputs are taken."""
        value = {0: 0, **dict(zip(self.inputs, inputs, strict=True)), **self.state}

        def of(x: int) -> int:
            return value[x & ~1] ^ (x & 1)

        for made, a, b in self.gates:
            value[made] = of(a) & of(b)
        bad = bool(of(self.bad))
        self.state = {now: of(after) for now, after in self.latches}
        return bad


def binary_to_ascii(data: bytes) -> str:
    """A reader of ``aig`` that gives the same circuit as ``aag`` text."""
    head, _, rest = data.partition(b"\n")
    _, most, inputs, latches, _, gates, _ = head.decode().split()
    lines = rest.split(b"\n", int(latches) + 1)
    after, bad, tail = [int(x) for x in lines[: int(latches)]], int(lines[int(latches)]), lines[int(latches) + 1]
    at, made = 0, []

    def number() -> int:
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = tail[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    first = 2 * (int(inputs) + int(latches) + 1)
    for i in range(int(gates)):
        own = first + 2 * i
        high = own - number()
        made.append(f"{own} {high} {high - number()}")
    lead = [f"aag {most} {inputs} {latches} 0 {gates} 1", *(str(2 * (1 + i)) for i in range(int(inputs)))]
    lead += [f"{2 * (1 + int(inputs) + i)} {a}" for i, a in enumerate(after)]
    return "\n".join([*lead, str(bad), *made, tail[at:].decode()])


@pytest.mark.long
def test_aiger_runs_are_runs_of_the_transition_system() -> None:
    """Random inputs in the exported circuit visit states that enumeration visits, and steps that it takes."""
    system = system_of("xen/before-pcid", "no-fault")
    search = Tracked(system)
    search.run()
    circuit = SystemCircuit(system)
    compiled = search.compiled
    known = {tuple(circuit_bits(circuit, dict(zip(compiled.variables, s, strict=True)))) for s in search.reached}
    control = [i for i, n in enumerate(circuit.circuit.latches) if n in circuit.place and circuit.place[n][0] in compiled.position]
    exported, bad = aiger.exported(system, "no-fault")
    content = aiger.ascii_aiger(exported, bad).decode()
    machine, moves, rng = Aag(content), 0, random.Random(1)
    starts = [i for i, n in enumerate(exported.inputs) if n.startswith("start:")]
    for _ in range(3000):
        if not machine.state[machine.latches[0][0]]:
            inputs = [rng.randrange(2) for _ in exported.inputs]
            state = rng.choice(list(search.starts))
            given = circuit_values(circuit, dict(zip(compiled.variables, state, strict=True)))
            for i in starts:
                name = exported.inputs[i].removeprefix("start:")
                inputs[i] = given.get(name, 0)
        else:
            inputs = [rng.randrange(2) for _ in exported.inputs]
        before = dict(machine.state)
        assert not machine.step(inputs)
        moves += before != machine.state
        if machine.state[machine.latches[0][0]]:
            assert tuple(machine.state[machine.latches[i][0]] for i in control) in known
    assert moves > 20


def circuit_values(circuit: SystemCircuit, values: dict[str, int]) -> dict[str, int]:
    made = {}
    for n, (name, mask) in circuit.place.items():
        if name in values:
            assert values[name] & mask in (0, mask), f"{name}: the latch stands for bits that differ"
            made[n] = int(values[name] & mask != 0)
    return made


def circuit_bits(circuit: SystemCircuit, values: dict[str, int]) -> list[int]:
    return list(circuit_values(circuit, values).values())


@pytest.mark.parametrize("prop", sampled(["no-fault", "missing-flush"], keep=1))
def test_aiger_violates_at_the_depth_that_engines_report(prop: str) -> None:
    """The inputs of a shortest run drive both exported forms to the bad state, after depth + 1 transitions and not before."""
    system = system_of("xen/pcid-v5", prop)
    explicit = Tracked(system).run().shortest(prop)
    assert explicit is not None
    exported, bad = aiger.exported(system, prop)
    circuit = SystemCircuit(system)
    found = Pdr(Relation(circuit.circuit, prop)).run(float("inf"))
    assert found is not None
    assert found.run is not None
    ascii_text = aiger.ascii_aiger(exported, bad).decode()
    for content in (ascii_text, binary_to_ascii(aiger.binary_aiger(exported, bad))):
        machine = Aag(content)
        said = [machine.step(inputs) for _, inputs in circuit_run(circuit, prop, found.run)[:-1]]
        said.append(machine.step([0] * len(machine.inputs)))
        assert said == [False] * (explicit.depth + 1) + [True]
        assert machine.names["l0"] == "started"
        assert machine.names["b0"] == "violated"


@pytest.mark.skipif(not shutil.which("berkeley-abc"), reason="Berkeley ABC is not installed")
def test_abc_agrees_with_the_other_engines() -> None:
    """ABC reads the export; its proofs pass the same obligations, its runs replay, depths are the same."""
    for name in ("xen/before-pcid", "xen/before-pcid@cr4-not-restored"):
        model = find_models(name)[0]
        result = check(model, find_properties(["no-fault", "switch-lands"], model), engines=("explicit", "abc"), cases=False)
        for r in result.results:
            assert r.engines["abc"].verdict == r.engines["explicit"].verdict == model.expected[r.property.name]


def test_without_abc_the_engine_is_refused_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    model = find_models("xen/before-pcid")[0]
    with pytest.raises(InputError, match=r"not installed; install it"):
        check(model, find_properties(["no-fault"], model), engines=("abc",))


@pytest.mark.skipif(not shutil.which("berkeley-abc"), reason="Berkeley ABC is not installed")
def test_abc_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.aig"
    result = CliRunner().invoke(cli, ["export", "xen/pcid-v5", "-p", "no-fault", "-o", str(path)])
    assert result.exit_code == 0, result.output
    said = subprocess.run(["berkeley-abc", "-q", f"read_aiger {path}; pdr"], capture_output=True, text=True, check=True).stdout
    assert re.search(r"asserted in frame 7\.", said)


@pytest.mark.long
def test_horn_clauses_say_the_same_to_z3() -> None:
    """On a small slice z3's own Horn solver finds the proof; and a start that is bad makes the clauses unsatisfiable."""
    system = system_of("xen/before-pcid", "pge-with-pcide")
    content = horn_clauses(system, "pge-with-pcide")
    solver = z3.SolverFor("HORN")
    solver.set("timeout", 60_000)
    solver.from_string(content)
    assert solver.check() == z3.sat


@pytest.mark.long
def test_exports_are_asked_for_by_their_suffix(tmp_path: Path) -> None:
    model = find_models("xen/before-pcid")[0]
    (prop,) = find_properties(["no-fault"], model)
    with pytest.raises(InputError, match=r"no export format is called '\.txt'"):
        write(model, prop, tmp_path / "m.txt")
    with pytest.raises(InputError, match=r"cannot write"):
        write(model, prop, tmp_path / "missing" / "m.aag")
    for suffix in ("aag", "aig", "smt2"):
        assert "no-fault" in write(model, prop, tmp_path / f"m.{suffix}")
