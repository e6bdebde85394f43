"""The engine ``abc``: Berkeley ABC's ``pdr``, where it is installed, on the exported circuit.

Its counterexamples are run through the circuit and replayed, its invariants shown by z3 like those
of our own engine: nothing that it says is taken on trust.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tlbcheck.engines.circuit import RANGE, Circuit, SystemCircuit
from tlbcheck.engines.pdr import Cube, literal
from tlbcheck.engines.proof import prove, refute
from tlbcheck.engines.trace import EngineResult
from tlbcheck.errors import InputError
from tlbcheck.export.aiger import binary_aiger
from tlbcheck.system.transition_system import TransitionSystem

NAME = "abc"
PROGRAMS = ("berkeley-abc", "abc")


def program() -> str:
    """The installed program. Raises ``InputError`` if there is none."""
    found = next((p for n in PROGRAMS if (p := shutil.which(n))), None)
    if found is None:
        raise InputError("engine abc needs Berkeley ABC, which is not installed", hint="install it (Debian: berkeley-abc), or use engine pdr")
    return found


def run_abc(system: TransitionSystem, seconds: float) -> EngineResult:
    """Decide every property of ``system`` by ABC."""
    began = time.perf_counter()
    until = began + seconds
    result = EngineResult(NAME, complete=True, bound=0)
    circuit = SystemCircuit(system)
    for goal in circuit.goals:
        if goal == RANGE:
            continue
        answer = _pdr(circuit.circuit, circuit.circuit.bads[goal], until)
        if isinstance(answer, str):
            result.undecided[goal] = answer
        elif isinstance(answer, tuple):
            refute(result, circuit, goal, answer[0])
        else:
            prove(result, system, circuit, goal, answer, until)
    result.seconds = time.perf_counter() - began
    return result


def _pdr(c: Circuit, bad: int, until: float) -> list[Cube] | tuple[list[list[int]]] | str:
    """The cubes of an invariant; or, in a tuple, the inputs of each transition of a run; or why there is neither."""

    def run(script: str) -> str:
        done = subprocess.run([program(), "-q", script], cwd=folder, capture_output=True, text=True, timeout=max(0.1, until - time.perf_counter()), check=False)
        return done.stdout

    with tempfile.TemporaryDirectory(prefix="tlbcheck-abc-") as folder:
        work = Path(folder)
        (work / "c.aig").write_bytes(binary_aiger(c, bad))
        try:
            said = run("read_aiger c.aig; pdr -d -I inv.pla")
            if "Property proved" in said:
                return _cubes(c, (work / "inv.pla").read_text())
            found = re.search(r"was asserted in frame (\d+)", said)
            if found is None:
                return "gave no answer"
            # ABC's pdr does not look for a shortest counterexample; a bounded search up to its depth does.
            run(f"read_aiger c.aig; bmc3 -F {int(found.group(1)) + 1}; write_cex -n -f cex.txt")
            return (_inputs(c, (work / "cex.txt").read_text()),)
        except subprocess.TimeoutExpired:
            return "did not finish in time"
        except FileNotFoundError:
            return "did not write its answer"


def _cubes(c: Circuit, pla: str) -> list[Cube]:
    """ABC writes an invariant's complement, one cube a line, over the latches that it names first; all latches start at 0."""
    named = re.search(r"^\.ilb(.*)$", pla, re.MULTILINE)
    latches = [c.latches.index(n) for n in named.group(1).split()] if named else []
    cubes = []
    for line in pla.splitlines():
        if line and line[0] in "01-":
            values = line.split()[0]
            cubes.append(tuple((1 if x == "1" else -1) * literal(c.latch(i)) for i, x in zip(latches, values, strict=True) if x != "-"))
    return cubes


def _inputs(c: Circuit, text: str) -> list[list[int]]:
    """ABC names an input ``NAME@FRAME=VALUE``."""
    frames: dict[int, dict[str, int]] = {}
    for name, frame, value in re.findall(r"(\S+)@(\d+)=([01])", text):
        frames.setdefault(int(frame), {})[name] = int(value)
    last = max(frames, default=0)
    return [[(1 if frames.get(f, {}).get(n) else -1) * literal(c.input(i)) for i, n in enumerate(c.inputs)] for f in range(last)]
