"""Where the CPU seconds of ``tlbcheck verify --expect`` go: by phase, by model, and by function.

Every process samples its own Python stack on a timer of CPU time and charges what it used since the
last sample to the innermost function that names a phase; a call into C is charged to its caller. So
solvers in child processes count too, and nothing in the package is instrumented. Models run one after
the other. ``python bench/profile_verify.py [MODEL]...``; ``-o FILE`` keeps the sums as JSON, to
compare two versions with ``--before FILE``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

PHASES = {
    ("library.py", "models"): "models: loading",
    ("<frozen importlib._bootstrap>", "_find_and_load"): "imports",
    ("lower.py", "lower"): "lowering",
    ("engines/sufficiency.py", "decide"): "sufficiency",
    ("slicing.py", "slice_system"): "slicing",
    ("explicit.py", "__init__"): "explicit: code",
    ("explicit.py", "_run"): "explicit: search",
    ("compile.py", "_compile"): "explicit: code",
    ("explicit.py", "trace"): "explicit: traces",
    ("liveness.py", "lassos"): "explicit: lassos",
    ("literal.py", "explore_tracked"): "explicit: tables",
    ("literal.py", "explore_saturated"): "literal caches",
    ("bmc.py", "__init__"): "bmc: encoding",
    ("bmc.py", "run"): "bmc: search",
    ("circuit.py", "__init__"): "pdr: circuit",
    ("pdr.py", "__init__"): "pdr: clauses",
    ("lemmas.py", "__init__"): "pdr: visited states",
    ("lemmas.py", "close"): "pdr: closing",
    ("lemmas.py", "needed"): "pdr: reasons",
    ("pdr.py", "run"): "pdr: search",
    ("obligations.py", "__init__"): "obligations: text",
    ("obligations.py", "constants"): "obligations: text",
    ("obligations.py", "decide"): "obligations: z3",
    ("recheck.py", "recheck"): "replay: recheck",
    ("replay/check.py", "replay"): "replay: traces",
    ("lasso.py", "replay_lasso"): "replay: traces",
    ("result.py", "model_result"): "report",
    ("facts.py", "model_facts"): "report",
    ("engines/child.py", "result"): "waiting for children",
}
"""What a function, by the end of its file's name, is charged to."""
INTERVAL = 0.005
"""Seconds of CPU time between two samples."""
OWN = "tlbcheck/"


class Sampler:
    """Charges CPU time to phases in this process and all that it forks; ``about`` names what it works on."""

    def __init__(self, log: Path) -> None:
        self.about = ""
        self.last = time.process_time()
        self.known: dict[tuple[str, str], str | None] = {}
        self.log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self.sample)
        os.register_at_fork(after_in_child=self.on)
        self.on()

    def on(self) -> None:
        self.last = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)

    def sample(self, signal_: int, frame: FrameType | None) -> None:
        now = time.process_time()
        used, self.last = now - self.last, now
        phase = function = ""
        while frame is not None and not phase:
            name = frame.f_code.co_filename
            at = name.rfind(OWN)
            if not function and at >= 0:
                function = f"{name[at + len(OWN) :]}:{frame.f_code.co_name}"
            phase = self.phase(name, frame.f_code.co_name) or ""
            frame = frame.f_back
        os.write(self.log, f"{self.about}\t{phase or 'other'}\t{function}\t{used:.6f}\n".encode())

    def phase(self, file: str, function: str) -> str | None:
        key = (file, function)
        if key not in self.known:
            self.known[key] = next((p for (end, name), p in PHASES.items() if name == function and file.endswith(end)), None)
        return self.known[key]


def measure(names: list[str]) -> dict[str, Any]:
    """CPU seconds by phase, function and model, MiB by model, and the verdicts."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "samples"
        sampler = Sampler(log)
        sampler.about = "(start)"
        sampler.start()
        # After the timer, so that imports count; before processes are forked, as a pool's workers live for many models.
        import tlbcheck.engines.bmc
        import tlbcheck.engines.proof
        import tlbcheck.engines.sufficiency
        import tlbcheck.report.facts  # noqa: F401
        from tlbcheck.cli import BRIEFLY
        from tlbcheck.library import find_models, models
        from tlbcheck.options import Limits
        from tlbcheck.session import Job, check_one

        job = Job((), Limits(confirming=BRIEFLY), cases=False)

        chosen = [m for n in names for m in find_models(n)] if names else list(models().values())
        chosen = [x for m in chosen for x in (m, *((m.variant(v) for v in m.variants) if "@" not in m.name else ()))]
        taken: dict[str, dict[str, float]] = {}
        verdicts: dict[str, Any] = {}
        for model in chosen:
            sampler.about = model.name
            began = time.perf_counter()
            read, write = os.pipe()
            child = os.fork()
            if not child:
                result = check_one(model, job)
                with os.fdopen(write, "w") as out:
                    json.dump({r.name: [r.verdict, {n: (a.depth, a.states) for n, a in r.engines.items()}] for r in result} or str(result.failure), out)
                os._exit(0)
            os.close(write)
            with os.fdopen(read) as answer:
                verdicts[model.name] = json.load(answer)
            _, _, usage = os.wait4(child, 0)
            taken[model.name] = {"cpu": usage.ru_utime + usage.ru_stime, "wall": time.perf_counter() - began, "mib": usage.ru_maxrss / 1024}
            print(f"{model.name}: {taken[model.name]['cpu']:.2f} s", file=sys.stderr, flush=True)
        signal.setitimer(signal.ITIMER_PROF, 0)
        phases: dict[str, float] = {}
        functions: dict[str, float] = {}
        by_model: dict[str, dict[str, float]] = {}
        for line in log.read_text().splitlines():
            about, phase, function, used = line.split("\t")
            for sums, key in ((phases, phase), (functions, f"{phase} | {function}"), (by_model.setdefault(about, {}), phase)):
                sums[key] = sums.get(key, 0.0) + float(used)
    phases["(killed, or not sampled)"] = sum(t["cpu"] for t in taken.values()) + sum(by_model.get("(start)", {}).values()) - sum(phases.values())
    return {"phases": phases, "functions": functions, "models": taken, "by_model": by_model, "verdicts": verdicts}


def show(found: dict[str, Any], before: dict[str, Any] | None, most: int) -> None:
    """The sums for people; with ``before``, both versions side by side."""
    total = sum(found["phases"].values())
    old = before["phases"] if before else {}
    print(f"{'CPU seconds':<36}{'before':>9}{'after':>9}" if before else "CPU seconds")
    for phase in sorted({*found["phases"], *old}, key=lambda p: -max(found["phases"].get(p, 0), old.get(p, 0))):
        print(f"  {phase:<34}" + (f"{old.get(phase, 0):>9.1f}" if before else "") + f"{found['phases'].get(phase, 0):>9.1f}")
    print(f"  {'all':<34}" + (f"{sum(old.values()):>9.1f}" if before else "") + f"{total:>9.1f}")
    print(f"\n{'slowest models':<44}{'CPU s':>8}{'wall s':>8}{'MiB':>7}  most of it")
    for name, t in sorted(found["models"].items(), key=lambda x: -x[1]["cpu"])[:most]:
        parts = sorted(found["by_model"].get(name, {}).items(), key=lambda x: -x[1])[:3]
        print(f"  {name:<42}{t['cpu']:>8.2f}{t['wall']:>8.2f}{t['mib']:>7.0f}  {', '.join(f'{p} {s:.1f}' for p, s in parts)}")
    print("\nfunctions")
    for name, used in sorted(found["functions"].items(), key=lambda x: -x[1])[:most]:
        print(f"  {used:>7.2f}  {name}")
    if before:
        changed = [n for n in {*found["verdicts"], *before["verdicts"]} if json.dumps(found["verdicts"].get(n)) != json.dumps(before["verdicts"].get(n))]
        print(f"\n{len(found['verdicts'])} models; verdicts, depths or states differ: {', '.join(sorted(changed)) or 'nowhere'}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Where the CPU seconds of tlbcheck verify --expect go.")
    parser.add_argument("names", nargs="*", metavar="MODEL", help="default: all, with their variants")
    parser.add_argument("-o", "--output", type=Path, help="keep the sums as JSON")
    parser.add_argument("--before", type=Path, help="the sums of another version, to compare with")
    parser.add_argument("-n", type=int, default=15, help="how many models and functions to list")
    given = parser.parse_args()
    found = measure(given.names)
    if given.output:
        given.output.write_text(json.dumps(found, indent=1) + "\n")
    show(found, json.loads(given.before.read_text()) if given.before else None, given.n)


if __name__ == "__main__":
    main()
