"""Runs cr3race with tlbcheck and every peer that is installed, in one go, and writes bench/results.json.

A row is one run of one tool: all its commands from the specification to the verdict, compilation
included. ``cpu_seconds`` is user and system time of all processes, ``memory_mb`` the most that the last
command (the search) took.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from figure import draw
from peers import HERE, PARAMETERS, SIZES, TOOLS, VARIANTS, Tool

REPEATS = 3
LONG = 30.0
"""CPU seconds of a run after which it is not repeated."""
LIMIT = 600.0
"""Seconds for one command."""
EXPECTED = {"S": 20_952, "M": 519_528, "L": 13_632_786}
"""States of v5 by the specification, ../shared/bench/cr3race/README.md."""
COUNTING = ("tlbcheck full", "tlbcheck full, cold", "tlbcheck full, symmetry", "tlbcheck sets")
"""Ours that search exactly these states."""
GROWTH = {"pages": range(1, 5), "pcids": range(2, 7), "cpus": range(1, 5)}
GROWING = ("tlbcheck full", "tlbcheck full, symmetry", "tlbcheck sets", "tlbcheck tracked", "Rumur", "SPIN")
PATIENCE = 10.0
"""CPU seconds after which a tool is not tried on a larger size, where cost is shown as it grows."""
GROWING_LIMIT = 45.0
"""Seconds for one command there."""

TABLE_BEGINS, TABLE_ENDS = "<!-- made by make bench -->", "<!-- end -->"

BESIDE = ("SPIN", "Rumur")
"""The peers whose CPU seconds the others' are divided by."""

GAVE_UP = ("unknown", "failed (exit status -9)")
"""What is no contradiction where sizes grow past what a tool can do."""

Row = dict[str, Any]
_ENVIRONMENT = {n: value for n, value in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}
"""Python keeps its caches, as it does for users."""


def run(command: Sequence[str], cwd: Path, environment: Mapping[str, str], limit: float = LIMIT) -> tuple[str, int, float, float, float]:
    """Output, exit status, wall seconds, CPU seconds and MiB of a command; killed with all its children after ``limit`` seconds."""
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        began = time.perf_counter()
        process = subprocess.Popen(list(command), cwd=cwd, stdout=output, stderr=subprocess.DEVNULL, env={**_ENVIRONMENT, **environment}, start_new_session=True)
        timer = threading.Timer(limit, lambda: os.killpg(process.pid, 9))
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        return output.read(), process.returncode, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def measure(tool: Tool, size: tuple[int, ...], variant: str, limit: float) -> Row | str:
    """One run, or why there is none."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stages = tool.stages(size, variant, folder)
        if isinstance(stages, str):
            return stages
        seconds = cpu = memory = 0.0
        text, status = "", 0
        for stage in stages:
            text, status, wall, used, memory = run(stage.command, stage.folder or folder, stage.environment, limit)
            seconds += wall
            cpu += used
            if status and stage is not stages[-1]:
                return f"{stage.command[0]} failed with exit status {status}"
        answer = tool.read(text, status)
        commands = [_shown(s.command, folder) for s in stages]
    return {"verdict": answer.verdict, "states": answer.states, "seconds": round(seconds, 3), "cpu_seconds": round(cpu, 3), "memory_mb": round(memory, 1), "commands": commands}


def _shown(command: Sequence[str], folder: Path) -> str:
    """A command as it would be typed: without this machine's folders."""
    made = " ".join(command)
    for place, name in ((folder, "."), (HERE.parent.parent, "../.."), (Path(sys.executable).parent, "")):
        made = made.replace(f"{place}/", f"{name}/" if name else "")
    return made


def version(tool: Tool) -> str:
    """The version as the tool itself says it."""
    text, *_ = run(tool.version, HERE, {})
    words = [line.strip() for line in text.splitlines() if any(c.isdigit() for c in line)]
    return words[0][:80] if words else "unknown"


def machine() -> str:
    """The processor and how many of them, the kernel and Python."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = named[0] if named else model
    return f"{model}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def sizes(names: Sequence[str], growth: bool) -> Iterator[tuple[str, tuple[int, ...], tuple[str, ...], int]]:
    """Name, parameters, variants and repeats of each size to run."""
    for name in names:
        yield name, SIZES[name], tuple(VARIANTS), REPEATS
    base = dict(zip(PARAMETERS, SIZES["S"], strict=True))
    for parameter, values in GROWTH.items() if growth else ():
        for value in values:
            yield f"{parameter}={value}", tuple({**base, parameter: value}.values()), ("v5",), 1


def measured(names: Sequence[str], growth: bool) -> Iterator[Row]:
    """A row for each run; says what it does, and what it leaves out."""
    usable, told = [], machine()
    for tool in TOOLS:
        why = tool.missing()
        if why:
            print(f"skipped: {tool.name}: {why}")
        else:
            usable.append((tool, version(tool)))
    slow: set[tuple[str, str]] = set()
    skipped: set[tuple[str, str]] = set()
    for size, parameters, variants, repeats in sizes(names, growth):
        growing = size.partition("=")[0] if "=" in size else ""
        for variant in variants:
            for tool, its_version in usable:
                if growing and (tool.name not in GROWING or (tool.name, growing) in slow):
                    continue
                for n in range(repeats):
                    found = measure(tool, parameters, variant, GROWING_LIMIT if growing else LIMIT)
                    if isinstance(found, str):
                        if not growing and (tool.name, found) not in skipped:
                            print(f"skipped: {tool.name} at {size} {variant}: {found}")
                            skipped.add((tool.name, found))
                        break
                    row = {"tool": tool.name, "version": its_version, "size": size, "variant": variant, **found, "run": n + 1, "machine": told}
                    if growing and row["cpu_seconds"] > PATIENCE:
                        slow.add((tool.name, growing))
                    yield row
                    if row["cpu_seconds"] > LONG:
                        break


def medians(rows: Sequence[Row]) -> list[Row]:
    """One row for each tool, size and variant, with the medians of its runs."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for r in rows:
        groups.setdefault((r["size"], r["variant"], r["tool"]), []).append(r)
    return [{**g[0], **{k: statistics.median(r[k] for r in g) for k in ("seconds", "cpu_seconds", "memory_mb")}} for g in groups.values()]


def ratio(rows: Sequence[Row], row: Row, peer: str) -> str:
    """The CPU seconds of a row in those of ``peer`` on the same size and variant; empty if it did not run."""
    base = next((r["cpu_seconds"] for r in rows if (r["size"], r["variant"], r["tool"]) == (row["size"], row["variant"], peer)), None)
    return f"{row['cpu_seconds'] / base:.3f}" if base else ""


def table(rows: Sequence[Row]) -> None:
    """Times, states, memory, and how many times the CPU seconds of SPIN and of Rumur each tool took."""
    last = None
    for r in rows:
        if "=" in r["size"]:
            continue
        if (r["size"], r["variant"]) != last:
            last = (r["size"], r["variant"])
            print(f"\n{r['size']} {r['variant']:<35}{'verdict':<12}{'states':>14}{'seconds':>10}{'CPU s':>10}{'MiB':>8}" + "".join(f"{f'/ {peer}':>10}" for peer in BESIDE))
        states = f"{r['states']:,}" if r["states"] is not None else "-"
        print(f"  {r['tool']:<36}{r['verdict']:<12}{states:>14}{r['seconds']:>10.2f}{r['cpu_seconds']:>10.2f}{r['memory_mb']:>8.0f}" + "".join(f"{ratio(rows, r, peer):>10}" for peer in BESIDE))


def readme(text: str, rows: Sequence[Row]) -> str:
    """The README with its table made from ``rows``: what holds, by size."""
    lines: list[str] = []
    for size in SIZES:
        mine = [r for r in rows if r["size"] == size and r["variant"] == "v5"]
        if mine:
            if not lines:
                lines = [f"| holds | seconds | CPU s | MiB | states | {' | '.join(f'CPU / {peer}' for peer in BESIDE)} |", "|---|" + "---:|" * (4 + len(BESIDE))]
            lines.append(f"| **{size}** |" + " |" * (4 + len(BESIDE)))
        for r in mine:
            states = f"{r['states']:,}" if r["states"] is not None else "-"
            lines.append(f"| {r['tool']} | {r['seconds']:.2f} | {r['cpu_seconds']:.2f} | {r['memory_mb']:.0f} | {states} | {' | '.join(ratio(rows, r, peer) for peer in BESIDE)} |")
    versions = dict.fromkeys(r["version"] for r in rows if not r["tool"].startswith("tlbcheck"))
    lines += ["", f"Medians of {REPEATS} runs; one run where it takes over {LONG:g} CPU seconds. {rows[0]['machine']}; {'; '.join(versions)}."]
    before, _, rest = text.partition(TABLE_BEGINS)
    _, _, after = rest.partition(TABLE_ENDS)
    return f"{before}{TABLE_BEGINS}\n{chr(10).join(lines)}\n{TABLE_ENDS}{after}" if rest else text


def wrong(rows: Sequence[Row]) -> list[str]:
    """What contradicts the specification: a verdict, or a number of states of ours."""
    found = []
    for r in rows:
        expected = "proved" if r["variant"] == "v5" else "violated"
        if r["verdict"] != expected and not ("=" in r["size"] and r["verdict"] in GAVE_UP):
            found.append(f"{r['tool']} says {r['verdict']} of {r['size']} {r['variant']}")
        if r["variant"] == "v5" and r["tool"] in COUNTING and r["size"] in EXPECTED and r["states"] != EXPECTED[r["size"]]:
            found.append(f"{r['tool']} counts {r['states']} states of {r['size']}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Time cr3race with tlbcheck and its peers, side by side.")
    parser.add_argument("sizes", nargs="*", metavar="SIZE", help=f"{', '.join(SIZES)} (default: all)")
    parser.add_argument("--no-growth", action="store_true", help="leave out how cost grows, the figure and the README's table")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results.json")
    given = parser.parse_args()
    if not set(given.sizes) <= set(SIZES):
        parser.error(f"sizes are {', '.join(SIZES)}")
    rows: list[Row] = []
    for row in measured(given.sizes or list(SIZES), not given.no_growth):
        print(f"{row['tool']} {row['size']} {row['variant']}: {row['verdict']}, {row['seconds']:.2f} s", flush=True)
        rows.append(row)
        given.output.write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")
    table(medians(rows))
    if not given.no_growth:
        (HERE / "growth.svg").write_text(draw(medians(rows)))
        page = HERE.parent / "README.md"
        page.write_text(readme(page.read_text(), medians(rows)))
    problems = wrong(rows)
    for p in problems:
        print(f"WRONG: {p}")
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
