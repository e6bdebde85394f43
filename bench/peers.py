"""The model checkers that cr3race is run with: how each is called, and how its answer is read."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
INPUTS = HERE.parent.parent / "shared" / "bench" / "cr3race"
"""The same problem for the peers: beside the checkout, no part of it."""
PARAMETERS = ("pages", "frames", "pcids", "spaces", "cpus")
SIZES: Mapping[str, tuple[int, ...]] = {"S": (1, 1, 2, 2, 2), "M": (2, 1, 2, 2, 2), "L": (1, 1, 3, 2, 3)}
VARIANTS = {"v4": "unflushed", "v5": "flushed"}


@dataclass(frozen=True)
class Answer:
    """What a checker said; ``states`` is None where it counts none."""

    verdict: str
    states: int | None


@dataclass(frozen=True)
class Stage:
    """One command of a run, in ``folder`` or the run's own; what it takes counts, its memory only in the last one."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path | None = None


@dataclass(frozen=True)
class Tool:
    """``stages`` gives the commands for a size and variant in an empty folder, or why there are none."""

    name: str
    programs: tuple[str, ...]
    version: tuple[str, ...]
    stages: Callable[[tuple[int, ...], str, Path], list[Stage] | str]
    read: Callable[[str, int], Answer]

    def missing(self) -> str:
        """Why it cannot run here; empty if it can."""
        lacking = [p for p in self.programs if shutil.which(p) is None]
        return f"{', '.join(lacking)} not installed" if lacking else ""


def _number(pattern: str, text: str) -> int | None:
    found = re.findall(pattern, text)
    return int(found[-1].replace(",", "")) if found else None


def _stages(*commands: tuple[str, ...], **environment: str) -> list[Stage]:
    return [Stage(c, environment) for c in commands]


def _size_name(size: tuple[int, ...]) -> str:
    return next((n for n, s in SIZES.items() if s == size), "")


def _input(kind: str, size: tuple[int, ...], variant: str, suffix: str) -> Path | str:
    path = INPUTS / f"{kind}_{_size_name(size)}_{variant}.{suffix}"
    if not INPUTS.is_dir():
        return f"its input is missing: no {INPUTS.relative_to(HERE.parent.parent)} beside the checkout"
    return path if path.is_file() else f"no input of this size ({path.name})"


# -- tlbcheck

MOST = 100_000_000
"""States at which tlbcheck's enumerating engines give up, where cost is shown as it grows."""
_COMMAND = str(Path(sys.executable).with_name("tlbcheck"))


def model_name(size: tuple[int, ...], variant: str) -> str:
    default = SIZES["S"]
    numbers = ",".join(f"{n}={x}" for n, x, d in zip(PARAMETERS, size, default, strict=True) if x != d)
    return f"bench/cr3race{':' + numbers if numbers else ''}@{VARIANTS[variant]}"


def _tlbcheck(*options: str, cold: bool = False) -> Callable[[tuple[int, ...], str, Path], list[Stage] | str]:
    def stages(size: tuple[int, ...], variant: str, folder: Path) -> list[Stage] | str:
        check = (_COMMAND, "verify", model_name(size, variant), "-p", "no-foreign", "--json", "--max-states", str(MOST), *options)
        if not cold:
            return [Stage(check, {}, HERE)]  # where its model and property are
        # A copy of tlbcheck without anything that is compiled ahead: the C loop, and Python's caches of its modules and models.
        for part in ("tlbcheck", "models", "properties", "bench"):
            shutil.copytree(HERE.parent / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "_search.so"))
        environment = {"PYTHONPATH": str(folder)}
        compile_loop = (sys.executable, str(folder / "tlbcheck" / "engines" / "build_search.py"))
        return [Stage(compile_loop, environment), Stage((sys.executable, "-m", "tlbcheck.cli", *check[1:]), environment, folder / "bench")]

    return stages


def _read_tlbcheck(output: str, status: int) -> Answer:
    try:
        result = json.loads(output)["results"][0]
    except (ValueError, LookupError):
        return Answer(f"failed (exit status {status})", None)
    states = [e.get("states") for e in result["engines"].values()]
    return Answer(result["verdict"], next((s for s in states if s is not None), None) if result["verdict"] != "unknown" else None)


# -- peers


def _spin(size: tuple[int, ...], variant: str, folder: Path) -> list[Stage] | str:
    source = _input("promela", size, variant, "pml")
    if isinstance(source, str):
        return source
    large = _size_name(size) == "L"
    return _stages(
        ("spin", "-a", str(source)),
        ("gcc", "-O2", "-DSAFETY", "-DNOREDUCE", "-DMEMLIM=12000", "-o", "pan", "pan.c"),
        ("./pan", "-m50000000" if large else "-m2000000", "-w26" if large else "-w20", "-n"),
    )


def _read_spin(output: str, status: int) -> Answer:
    errors = _number(r"errors: (\d+)", output)
    complete = "max search depth too small" not in output and "Search not completed" not in output
    exact = re.findall(r"^\s*([\d.e+]+) states, stored", output, re.M)
    states = int(float(exact[-1])) if exact else None
    if errors:
        return Answer("violated", states)
    return Answer("proved" if errors == 0 and complete else f"failed (exit status {status})", states)


def _rumur(threads: int) -> Callable[[tuple[int, ...], str, Path], list[Stage] | str]:
    def stages(size: tuple[int, ...], variant: str, folder: Path) -> list[Stage] | str:
        source = _input("murphi", SIZES["S"], variant, "m")
        if isinstance(source, str):
            return source
        pages, frames, pcids, spaces, cpus = size
        ranges = {"cpu_t": (0, cpus - 1), "page_t": (0, pages - 1), "frame_t": (0, frames), "pframe_t": (1, frames), "pcid_t": (0, pcids - 1), "space_t": (0, spaces - 1)}
        text = source.read_text()
        for name, (low, high) in ranges.items():  # the input is the same for each size but for its ranges
            text = re.sub(rf"\b{name}: \d+\.\.\d+", f"{name}: {low}..{high}", text, count=1)
        own = folder / "model.m"
        own.write_text(text)
        return _stages(
            ("rumur", "--threads", str(threads), "--symmetry-reduction", "off", "--deadlock-detection", "off", "--output", "model.c", str(own)),
            ("gcc", "-O3", "-march=native", "-std=c11", "-o", "model", "model.c", "-lpthread"),
            ("./model",),
        )

    return stages


def _read_rumur(output: str, status: int) -> Answer:
    states = _number(r"State Space Explored:\s+(\d+) states", output) or _number(r"(\d+) states, \d+ rules fired", output)
    if "No error found" in output:
        return Answer("proved", states)
    return Answer("violated" if "invariant" in output.lower() and status else f"failed (exit status {status})", states)


def _nusmv(size: tuple[int, ...], variant: str, folder: Path) -> list[Stage] | str:
    source = _input("smv", size, variant, "smv")
    if isinstance(source, str):
        return source
    script = folder / "script"
    script.write_text("go\ncheck_invar\nprint_reachable_states\nquit\n")
    return _stages(("NuSMV", "-dynamic", "-source", str(script), str(source)))


def _read_nusmv(output: str, status: int) -> Answer:
    states = _number(r"reachable states: (\d+)", output)
    return Answer("proved" if "is true" in output else "violated" if "is false" in output else f"failed (exit status {status})", states)


def _tlc(size: tuple[int, ...], variant: str, folder: Path) -> list[Stage] | str:
    source = _input("tla", size, variant, "cfg")
    if isinstance(source, str):
        return source
    shutil.copy(INPUTS / "cr3race.tla", folder)
    return _stages(("tlc", "-deadlock", "-workers", "1", "-config", str(source), "cr3race.tla"))


def _read_tlc(output: str, status: int) -> Answer:
    states = _number(r"([\d,]+) distinct states found", output)
    return Answer("proved" if "No error has been found" in output else "violated" if "is violated" in output else f"failed (exit status {status})", states)


def _abc(size: tuple[int, ...], variant: str, folder: Path) -> list[Stage] | str:
    circuit = folder / "cr3race.aig"
    export = Stage((_COMMAND, "export", model_name(size, variant), "-p", "no-foreign", "-o", str(circuit)), {}, HERE)
    return [export, *_stages(("berkeley-abc", "-c", f"read_aiger {circuit}; pdr"))]


def _read_abc(output: str, status: int) -> Answer:
    return Answer("proved" if "Property proved" in output else "violated" if "was asserted" in output else f"failed (exit status {status})", None)


_TLBCHECK = (_COMMAND, "--version")
TOOLS = (
    Tool("tlbcheck full", (), _TLBCHECK, _tlbcheck("--engine", "full", "--no-symmetry"), _read_tlbcheck),
    Tool("tlbcheck full, cold", ("cc",), _TLBCHECK, _tlbcheck("--engine", "full", "--no-symmetry", cold=True), _read_tlbcheck),
    Tool("tlbcheck full, symmetry", (), _TLBCHECK, _tlbcheck("--engine", "full"), _read_tlbcheck),
    Tool("tlbcheck sets", (), _TLBCHECK, _tlbcheck("--engine", "sets"), _read_tlbcheck),
    Tool("tlbcheck tracked", (), _TLBCHECK, _tlbcheck("--engine", "explicit"), _read_tlbcheck),
    Tool("SPIN", ("spin", "gcc"), ("spin", "-V"), _spin, _read_spin),
    Tool("Rumur", ("rumur", "gcc"), ("rumur", "--version"), _rumur(1), _read_rumur),
    Tool("Rumur, 2 threads", ("rumur", "gcc"), ("rumur", "--version"), _rumur(2), _read_rumur),
    Tool("NuSMV", ("NuSMV",), ("NuSMV", "-help"), _nusmv, _read_nusmv),
    Tool("TLC", ("tlc",), ("tlc", "-help"), _tlc, _read_tlc),
    Tool("ABC pdr, on our export", ("berkeley-abc",), ("berkeley-abc", "-c", "version"), _abc, _read_abc),
)
