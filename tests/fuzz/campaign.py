"""Mutated inputs of every kind, each read by the command that is made for it.

    python tests/fuzz/campaign.py --minutes 60              # goes on where the last run ended, until the time is over
    python tests/fuzz/campaign.py --kind mail --only 2117   # one again, with its whole output
    python tests/fuzz/campaign.py --told                    # what has been run

An input is named by its kind and number, and is the same in every run of the same code. It fails if a Python exception
comes out, if the exit status is not 0 to 3, if the message of status 2 is not one line, or after 20 s of processor time
(150 s of a whole search) or 2 GiB. What fails is written to the folder ``fuzz-failures``, and so are the counts
(``campaign.json``), which add up from run to run. The exit status is 1 if anything of this run failed.

What is searched is the lesser part: most commands search a few states, so that the time goes to reading. Each batch of
inputs has a process of its own, made by fork and made again where one input ends it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))

import mutate
from click.testing import CliRunner
from kinds import KINDS, SWITCH, Command, InputError, Kind

import tlbcheck.certificate.check
import tlbcheck.cli
import tlbcheck.engines.run
from tlbcheck.cli import cli
from tlbcheck.engines.child import end_with_parent
from tlbcheck.engines.run import how_many_entries
from tlbcheck.options import Limits
from tlbcheck.report.result import digest
from tlbcheck.system.sufficiency import Sufficiency, undecided
from tlbcheck.system.transition_system import TransitionSystem

SECONDS = {"brief": 20.0, "whole": 150.0}
"""Of processor time: what a brief search may take, and a whole one with every mend that it tries."""
WALL = 600.0
MEMORY = 2 << 30
STATES = 100
FAILURES = Path("fuzz-failures")
FINE = (0, 1, 2, 3)


@contextmanager
def brief() -> Iterator[None]:
    """Searches of a few states, and entries taken as where z3 gives no answer: what is read is read as always."""

    def limits(**asked: Any) -> Limits:
        return Limits(**{**asked, "states": asked.get("states") or STATES})

    with mock.patch.object(tlbcheck.cli, "Limits", limits), _entries(lambda system, _: undecided(system, "z3 is not asked")):
        yield


_DECIDED: dict[str, Sufficiency] = {}


def _decided_once(system: TransitionSystem, limits: Limits) -> Sufficiency:
    """What z3 decides of a system, asked once for all results and certificates of it."""
    key = digest(system)
    if key not in _DECIDED:
        _DECIDED[key] = how_many_entries(system, limits)
    return _DECIDED[key]


@contextmanager
def _entries(decide: Callable[[TransitionSystem, Limits], Sufficiency]) -> Iterator[None]:
    with ExitStack() as stack:
        for module in (tlbcheck.engines.run, tlbcheck.certificate.check):
            stack.enter_context(mock.patch.object(module, "how_many_entries", decide))
        yield


def text_of(kind: Kind, number: int) -> tuple[str, Command]:
    """An input of this kind, and the command that reads it."""
    random = Random(f"{kind.name} {number}")
    base = random.choice(kind.bases())
    text = mutate.several(random, base, kind.mutate)
    return text, random.choices(kind.commands, [c.share for c in kind.commands])[0]


def judge(kind: Kind, number: int, folder: Path, *, shown: bool = False) -> tuple[bool, int, str]:
    """Whether it came past the parser, the exit status, and what is wrong with it, if anything is."""
    text, command = text_of(kind, number)
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
    names = {"FILE": str(file), "SWITCH": str(switch)}
    words = [names.get(w, w.replace("OUT", str(folder / "out"))) for w in command.words]
    began = _spent()
    with brief() if command.brief else _entries(_decided_once):
        result = CliRunner().invoke(cli, words)
    seconds = _spent() - began
    file.unlink()
    if shown:
        print(text, result.output, f"{' '.join(words)}: status {result.exit_code}, {seconds:.1f} s", sep="\n")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return past, -1, "".join(traceback.format_exception(result.exception))
    if result.exit_code not in FINE:
        return past, result.exit_code, f"status {result.exit_code}: {result.stderr}"
    # What a review does not judge it says in its place, beside what it does.
    if result.exit_code == 2 and not (command.words[0] == "review" and result.stdout) and "Usage:" not in result.stderr and not any(x.startswith("tlbcheck: ") for x in result.stderr.splitlines()):
        return past, 2, f"status 2 without a line that says why: {result.stderr!r}"
    if seconds > SECONDS["brief" if command.brief else "whole"]:
        return past, result.exit_code, f"took {seconds:.0f} s of processor time"
    return past, result.exit_code, ""


def _spent() -> float:
    """Seconds of processor time of this process and its children: a busy machine makes no failures of its own."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _work(kind: Kind, numbers: range, connection: Any) -> None:
    end_with_parent()
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
    text, command = text_of(kind, number)
    (FAILURES / f"{kind.name}-{number}{kind.ending}").write_text(text, encoding="utf-8", errors="surrogateescape")
    (FAILURES / f"{kind.name}-{number}.txt").write_text(f"tlbcheck {' '.join(command.words)}\n\n{wrong}\n")
    failures.append(f"{kind.name} {number}: {wrong.strip().splitlines()[-1][:150]}")
    print("FAILED", failures[-1], flush=True)


class State:
    """What has been run, by kind: the number that comes next, the counts, and what failed; kept in a file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        known = json.loads(file.read_text()) if file.exists() else {}
        self.next: dict[str, int] = {k.name: 0 for k in KINDS} | known.get("next", {})
        self.counts = {k.name: Counter[str](known.get("counts", {}).get(k.name, {})) for k in KINDS}
        self.failures: list[str] = known.get("failures", [])

    def save(self) -> None:
        self.file.parent.mkdir(exist_ok=True)
        beside = self.file.with_suffix(".new")
        beside.write_text(json.dumps({"next": self.next, "counts": self.counts, "failures": self.failures}, indent=1))
        beside.replace(self.file)

    def told(self) -> str:
        lines, inputs, past_all = [], 0, 0
        for name, count in self.counts.items():
            past = count["past the parser"]
            ran = past + count["refused by the parser"]
            statuses = ", ".join(f"{n} {count[n]}" for n in sorted(count) if n.startswith("status"))
            lines.append(f"{name:<12} {ran:>6} ran, {past / max(ran, 1):.0%} past the parser; {statuses}; {count['seconds'] / max(ran, 1):.2f} s each")
            inputs, past_all = inputs + ran, past_all + past
        return "\n".join([*lines, f"{inputs} inputs, {past_all / max(inputs, 1):.0%} past the parser, {len(self.failures)} failed"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", action="append", choices=[k.name for k in KINDS])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="one input, with its output")
    parser.add_argument("--state", type=Path, default=FAILURES / "campaign.json", help="the file that holds the counts")
    parser.add_argument("--told", action="store_true", help="say what has been run, and run nothing")
    options = parser.parse_args()
    kinds = [k for k in KINDS if not options.kind or k.name in options.kind]
    state = State(options.state)
    if options.told:
        print(state.told())
        return 0
    if options.only is not None:
        with tempfile.TemporaryDirectory() as folder:
            print(judge(kinds[0], options.only, Path(folder), shown=True)[2])
        return 0
    until = time.monotonic() + 60 * options.minutes
    known = len(state.failures)
    while time.monotonic() < until:
        for kind in kinds:
            first = state.next[kind.name]
            began = _spent()
            batch(kind, range(first, first + kind.batch), state.counts[kind.name], state.failures)
            state.counts[kind.name]["seconds"] += round(_spent() - began)
            state.next[kind.name] = first + kind.batch
            state.save()
            if time.monotonic() > until:
                break
    print(state.told())
    return int(len(state.failures) > known)


if __name__ == "__main__":
    sys.exit(main())
