"""Mutated inputs of every kind, each read by the command that is made for it.

    python tests/fuzz/campaign.py --minutes 60              # every kind in turn, until the time is over
    python tests/fuzz/campaign.py --kind mail --first 2000 --count 500
    python tests/fuzz/campaign.py --kind mail --only 2117   # one again, with its whole output

An input is named by its kind and number, and is the same in every run. It fails if a Python exception
comes out, if the exit status is not 0 to 3, if the message of status 2 is not one line, or after 20 s of processor time
or 2 GiB. What fails is written to the folder ``fuzz-failures``. The exit status is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import mutate
from click.testing import CliRunner
from kinds import KINDS, SWITCH, InputError, Kind

from tlbcheck.cli import cli

SECONDS = 20.0
WALL = 240.0
MEMORY = 2 << 30
BATCH = 50
FAILURES = Path("fuzz-failures")
FINE = (0, 1, 2, 3)


def text_of(kind: Kind, number: int) -> tuple[str, tuple[str, ...]]:
    """An input of this kind, and the words of the command that reads it."""
    random = Random(f"{kind.name} {number}")
    base = random.choice(kind.bases())
    return mutate.several(random, base, kind.mutate), random.choice(kind.commands)


def judge(kind: Kind, number: int, folder: Path, *, shown: bool = False) -> tuple[bool, int, str]:
    """Whether it came past the parser, the exit status, and what is wrong with it, if anything is."""
    text, words = text_of(kind, number)
    file = folder / f"input{number}{kind.ending}"
    file.write_text(text, encoding="utf-8", errors="surrogateescape")
    switch = folder / "switch.c"
    switch.write_text(SWITCH)
    try:
        kind.read(file)
        past = True
    except InputError:
        past = False
    except Exception:
        return True, -1, traceback.format_exc()
    named = {"FILE": str(file), "SWITCH": str(switch)}
    asked = [named.get(w, w.replace("OUT", str(folder / "out"))) for w in words]
    began = _spent()
    result = CliRunner().invoke(cli, asked)
    seconds = _spent() - began
    file.unlink()
    if shown:
        print(text, result.output, f"{' '.join(words)}: status {result.exit_code}, {seconds:.1f} s", sep="\n")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return past, -1, "".join(traceback.format_exception(result.exception))
    if result.exit_code not in FINE:
        return past, result.exit_code, f"status {result.exit_code}: {result.stderr}"
    if result.exit_code == 2 and "Usage:" not in result.stderr and not any(x.startswith("tlbcheck: ") for x in result.stderr.splitlines()):
        return past, 2, f"status 2 without a line that says why: {result.stderr!r}"
    if seconds > SECONDS:
        return past, result.exit_code, f"took {seconds:.0f} s"
    return past, result.exit_code, ""


def _spent() -> float:
    """Seconds of processor time of this process and its children: a busy machine makes no failures of its own."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _work(kind: Kind, numbers: range, connection: Any) -> None:
    grown = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if Path("/proc/self/statm").exists() else 8 << 30
    resource.setrlimit(resource.RLIMIT_AS, (grown + MEMORY, grown + MEMORY))
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (for as long as the process lives)
    with tempfile.TemporaryDirectory() as folder:
        for n in numbers:
            connection.send((n, None))
            connection.send((n, judge(kind, n, Path(folder))))
    connection.send(None)


def batch(kind: Kind, numbers: range, counts: Counter[str], failures: list[str]) -> None:
    """Judge a range of inputs in a process of its own, which is made again where one of them ends it."""
    kind.bases()
    while numbers:
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(kind, numbers, theirs))
        process.start()
        theirs.close()
        at = numbers.start
        try:
            while (message := _next(ours)) is not None:
                at, done = message
                if done is not None:
                    past, status, wrong = done
                    counts["past the parser" if past else "refused by the parser"] += 1
                    counts[f"status {status}"] += 1
                    if wrong:
                        _failed(kind, at, wrong, failures)
            numbers = range(0)
        except (EOFError, TimeoutError) as error:
            _failed(kind, at, "its process died" if isinstance(error, EOFError) else f"did not end in {WALL:.0f} s", failures)
            numbers = range(at + 1, numbers.stop)
        process.kill()
        process.join()
        ours.close()


def _next(connection: Any) -> Any:
    if not connection.poll(WALL):
        raise TimeoutError
    return connection.recv()


def _failed(kind: Kind, number: int, wrong: str, failures: list[str]) -> None:
    FAILURES.mkdir(exist_ok=True)
    text, words = text_of(kind, number)
    (FAILURES / f"{kind.name}-{number}{kind.ending}").write_text(text, encoding="utf-8", errors="surrogateescape")
    (FAILURES / f"{kind.name}-{number}.txt").write_text(f"tlbcheck {' '.join(words)}\n\n{wrong}\n")
    failures.append(f"{kind.name} {number}: {wrong.strip().splitlines()[-1][:150]}")
    print("FAILED", failures[-1], flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", action="append", choices=[k.name for k in KINDS])
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, help="inputs of each kind (default: until the time is over)")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="one input, with its output")
    options = parser.parse_args()
    kinds = [k for k in KINDS if not options.kind or k.name in options.kind]
    if options.only is not None:
        with tempfile.TemporaryDirectory() as folder:
            print(judge(kinds[0], options.only, Path(folder), shown=True)[2])
        return 0
    until = time.monotonic() + 60 * options.minutes
    counts: dict[str, Counter[str]] = {k.name: Counter() for k in kinds}
    failures: list[str] = []
    at = options.first
    last = at + options.count if options.count is not None else sys.maxsize
    while at < last and time.monotonic() < until:
        for kind in kinds:
            batch(kind, range(at, min(at + BATCH, last)), counts[kind.name], failures)
        at += BATCH
    for name, found in counts.items():
        ran = found["past the parser"] + found["refused by the parser"]
        statuses = ", ".join(f"{n} {found[n]}" for n in sorted(found) if n.startswith("status"))
        print(f"{name:<12} {ran:>6} ran, {found['past the parser'] / max(ran, 1):.0%} past the parser; {statuses}")
    print(f"{sum(c['past the parser'] + c['refused by the parser'] for c in counts.values())} inputs, {len(failures)} failed; the next begin at --first {at}")
    return 1 if failures else 0


if __name__ == "__main__":
    if shutil.which("true") is None:
        sys.exit("this needs a Unix system")
    sys.exit(main())
