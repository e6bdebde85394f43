"""Random models for as long as one likes, in one process: ``make differential MINUTES=60``.

Goes on where it ended: ``--progress FILE`` keeps the next seed, what was counted and which seeds disagree. A
disagreement is shrunk and written beside it. ``--constructs N`` tells instead in how many of N models each construct
occurs, and in how many the answer changes where it is left out.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
import traceback
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from comparison import ENGINES, MANY_STATES, REFUSED, STATES, Outcome, compare, reference, without_children
from generator import TAGS, generate, tags
from loading import forget, load
from shrinking import edited, shrink

from tlbcheck.errors import TlbcheckError

HERE = Path(__file__).resolve().parent

ALWAYS = ("full in Python", "memory")
SOMETIMES = (
    *("explicit", "full and sets", "explicit", "explicit, sliced", "bmc"),
    *("explicit", "full and sets", "explicit", "explicit, sliced", "pdr"),
    *("explicit", "full and sets", "explicit", "explicit, sliced", "bmc"),
    *("explicit", "full and sets", "default", "full and sets", "certificates"),
)
"""Each asked of one model in so many: they use solvers, search several times, or replay."""
EDITS = 100
"""So many parts of a model are left out, one at a time, to see which constructs matter."""
RARELY = 3
"""One model in so many is asked of one of them, too."""


def asked(seed: int) -> tuple[str, ...]:
    """The engines that are asked of a seed's model."""
    turn, left = divmod(seed, RARELY)
    return ALWAYS if left else (*ALWAYS, SOMETIMES[turn % len(SOMETIMES)])


def states(seed: int) -> int:
    """How many states a seed's model may have."""
    return MANY_STATES if seed % 20 == 0 else STATES


def judge(text: str, engines: tuple[str, ...], many: int = MANY_STATES) -> tuple[Outcome | None, list[str], str]:
    """What a text shows: the comparison, the differences in words, and of which kind the first is."""
    try:
        model, properties = load(text)
    except TlbcheckError as error:
        return None, [], f"not loaded: {error}"
    try:
        outcome = compare(model, properties, engines, many)
    except Exception as error:  # whatever it is, a model must not cause it
        last = traceback.extract_tb(error.__traceback__)[-1]
        return (
            None,
            [f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"],
            f"{type(error).__name__} {Path(last.filename).name}:{last.name}",
        )
    if not outcome.differences:
        return outcome, [], ""
    first = outcome.differences[0]
    refusal = next((x for x in (first.ours, first.theirs) if x.startswith("refuses (")), "")
    kind = f"{first.engine} {first.what.split()[0]} {' '.join(refusal.split()[-4:])}"
    return outcome, [str(d) for d in outcome.differences], kind


def same_kind(kind: str, engines: tuple[str, ...], text: str) -> bool:
    try:
        return judge(text, engines)[2] == kind
    except Exception:  # a text that is no model any more
        return False


def session(minutes: float, progress: Path, first: int, last: int | None, without: set[str]) -> int:
    """Compare models until the time is over, those ``without`` some constructs; returns the exit status. Of each kind of disagreement the first is shrunk."""
    known: dict[str, Any] = {"next": first, "models": 0, "compared": 0, "disagreements": {}, "kinds": []} | (
        json.loads(progress.read_text()) if progress.exists() else {}
    )
    engines, verdicts, skipped, occurs = (
        Counter[str](known.get(n, {})) for n in ("engines", "verdicts", "skipped", "tags")
    )
    until, new = time.monotonic() + 60 * minutes, 0
    without_children()
    # Nothing but the last models is ever garbage, so looking through everything again and again is in vain.
    gc.freeze()
    gc.disable()
    while time.monotonic() < until and (last is None or known["next"] < last):
        seed = known["next"]
        text = generate(seed)
        if tags(text) & without:
            known["next"] += 1
            continue
        outcome, words, kind = judge(text, asked(seed), states(seed))
        known["next"], known["models"] = seed + 1, known["models"] + 1
        if words:
            new += 1
            known["disagreements"][str(seed)] = words[0][:400]
            print(f"{seed}: {words[0][:400]}", flush=True)
            if kind not in known["kinds"]:
                known["kinds"].append(kind)
                small = shrink(text, partial(same_kind, kind, asked(seed)), seconds=10)
                (progress.parent / f"{seed}.py").write_text(f'"""Seed {seed}: {words[0]}"""\n\n{small}')
        if outcome is None:
            skipped[kind.split(":")[0] if kind.startswith("not loaded") else "disagreement"] += 1
        elif outcome.skipped:
            skipped[outcome.skipped] += 1
        else:
            known["compared"] = known["compared"] + 1
            engines.update(outcome.answers)
            occurs.update(tags(text))
            verdicts.update(v if v != REFUSED and n != REFUSED else REFUSED for n, (v, _) in outcome.ours.items())
        if known["models"] % 20 == 0:
            forget()
            gc.collect()
            save(progress, known, engines, verdicts, skipped, occurs)
    save(progress, known, engines, verdicts, skipped, occurs)
    print(
        f"{known['models']} models up to seed {known['next'] - 1}, {known['compared']} compared; the interpreter's verdicts: {dict(verdicts)};",
        f"not compared: {dict(skipped)}",
    )
    print("verdicts compared, by engine:", ", ".join(f"{name} {engines[name]}" for name in ENGINES))
    print(
        f"disagreements: {len(known['disagreements'])}",
        *(f"  {seed}: {words}" for seed, words in known["disagreements"].items()),
        sep="\n",
    )
    return 1 if new else 0


def save(
    progress: Path,
    known: dict[str, Any],
    engines: Counter[str],
    verdicts: Counter[str],
    skipped: Counter[str],
    occurs: Counter[str],
) -> None:
    known |= {"engines": engines, "verdicts": verdicts, "skipped": skipped, "tags": occurs}
    progress.write_text(json.dumps(known, indent=1))


def constructs(count: int) -> None:
    """In how many models each construct occurs, and in how many leaving it out changes what the interpreter says."""
    occurs: Counter[str] = Counter()
    matters: Counter[str] = Counter()
    models = 0
    for seed in range(count):
        text = generate(seed)
        try:
            ours, found, _ = reference(*load(text), STATES)
        except TlbcheckError:
            continue
        if found is not None and not found.complete:
            continue
        present = tags(text)
        models += 1
        occurs.update(present)
        waiting, n = set(present), 0
        while waiting and n < EDITS and (attempt := edited(text, n)) is not None:
            n += 1
            gone = waiting - tags(attempt)
            if not gone:
                continue
            try:
                changed = reference(*load(attempt), STATES)[0] != ours
            except Exception:  # no model any more
                continue
            if changed:
                matters.update(gone)
                waiting -= gone
        forget()
    print(f"{models} models; construct: occurs in, matters in")
    for name in TAGS:
        print(f"  {name}: {occurs[name]}, {matters[name]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--progress", type=Path, default=HERE.parents[1] / ".differential" / "progress.json")
    parser.add_argument("--first", type=int, default=0, help="the first seed of a new session")
    parser.add_argument("--last", type=int, help="the seed before which it ends")
    parser.add_argument(
        "--without", action="append", default=[], choices=sorted(TAGS), help="leave out models with this"
    )
    parser.add_argument("--constructs", type=int, metavar="N")
    given = parser.parse_args()
    if given.constructs:
        constructs(given.constructs)
        return 0
    given.progress.parent.mkdir(parents=True, exist_ok=True)
    return session(given.minutes, given.progress, given.first, given.last, set(given.without))


if __name__ == "__main__":
    sys.exit(main())
