"""Misspells every name and string of models and properties, one at a time: none may change a verdict.

``python tests/slips.py`` takes the README's example, three models of the library and every property of it, in a
copy of the library. What becomes of each slip is one of

- ``refused``: an error in one line, when the file is loaded or the model is made
- ``undecided``: a verdict that was there is not any more (not applicable, vacuous, unknown); none turned
- ``same``: all verdicts are what they were: text that is shown, or a name that is misspelt everywhere alike
- ``changed``: something that was violated is proved, or the other way round; ``crashed``: a traceback. Neither may be.

Results are kept in ``--results``, so that a run that was cut off goes on where it was. Exit status 1 if a verdict changed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import keyword
import multiprocessing
import os
import shutil
import sys
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tlbcheck import library
from tlbcheck.engines.run import check
from tlbcheck.errors import InputError
from tlbcheck.lang import where
from tlbcheck.lang.declared import Declared, check_declared
from tlbcheck.lang.model import Model, Property
from tlbcheck.options import Limits
from tlbcheck.report.result import digest
from tlbcheck.system.lower import lower
from tlbcheck.system.transition_system import TransitionSystem

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("models/linux/riscv_asid.py", "models/linux/svm_asid.py", "models/xen/cr3_values.py")
EXAMPLE = ("example/models/remap.py", "example/properties/fresh_use.py")
FATES = ("refused", "undecided", "same", "changed", "crashed")
_STATES = 400_000
"""Control states after which a search for a verdict is given up: the slip made the model another one."""


@dataclass(frozen=True)
class Slip:
    """One token of a file, from ``start`` to ``end`` (offsets), with ``new`` in its place."""

    file: str
    line: int
    start: int
    end: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.old} -> {self.new}"


# -- what is misspelt, and how


def misspelt(word: str, taken: set[str], turn: int) -> str:
    """``word`` with a letter doubled, two swapped, or one left out, as ``turn`` says; never a word that is ``taken``."""
    letters = [i for i, c in enumerate(word) if c.isalpha()]
    if not letters:
        return ""
    at = letters[len(letters) // 2]
    doubled = word[: at + 1] + word[at:]
    swapped = word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :] if at and word[at - 1].isalpha() else doubled
    dropped = word[:at] + word[at + 1 :]
    for other in ([doubled, swapped, dropped] * 2)[turn % 3 : turn % 3 + 3]:
        if other != word and other not in taken and (not word.isidentifier() or other.isidentifier()):
            return other
    return word[: at + 1] + word[at] * 2 + word[at + 1 :]


def slips_in(file: str, text: str) -> Iterator[Slip]:
    """Every slip of the pen in a file: its names, keywords apart, and what stands in its strings."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    tokens = [
        t for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type in (tokenize.NAME, tokenize.STRING)
    ]
    taken = {t.string.strip("\"'") for t in tokens} | set(dir(__builtins__)) | set(keyword.kwlist)
    for turn, t in enumerate(tokens):
        if t.type == tokenize.NAME and keyword.iskeyword(t.string):
            continue
        start, end = starts[t.start[0] - 1] + t.start[1], starts[t.end[0] - 1] + t.end[1]
        if t.type == tokenize.STRING:
            head = len(t.string) - len(t.string.lstrip("rbfRBF"))
            quote = 3 if t.string[head:].startswith(('"""', "'''")) else 1
            inner = t.string[head + quote : -quote]
            new = misspelt(inner, taken, turn)
            new = t.string[: head + quote] + new + t.string[-quote:] if new else ""
        else:
            new = misspelt(t.string, taken, turn)
        if new:
            yield Slip(file, t.start[0], start, end, t.string, new)


# -- a copy of the library in which one file at a time is misspelt


@contextlib.contextmanager
def copied() -> Iterator[Path]:
    """A copy of the library and of the example, used by ``tlbcheck.library`` in place of the real ones."""
    here, home = Path.cwd(), library._home
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        for part, source in (
            ("models", ROOT / "models"),
            ("properties", ROOT / "properties"),
            ("example", ROOT / "tests" / "example"),
        ):
            shutil.copytree(source, root / part, ignore=shutil.ignore_patterns("__pycache__"))
        library._home = lambda kind: root / kind
        os.chdir(root / "example")
        try:
            yield root
        finally:
            os.chdir(here)
            library._home = home


@contextlib.contextmanager
def edited(root: Path, slip: Slip | None) -> Iterator[None]:
    """The file with the slip in it, loaded anew; as it was afterwards."""
    if slip is None:
        yield
        return
    path = root / slip.file
    text = path.read_text()
    path.write_text(text[: slip.start] + slip.new + text[slip.end :])
    _forget(path)
    try:
        yield
    finally:
        path.write_text(text)
        _forget(path)


def _forget(path: Path) -> None:
    """Let a file be loaded anew: nothing else imports the files that are misspelt."""
    for name in [n for n, m in sys.modules.items() if getattr(m, "__file__", None) == str(path)]:
        del sys.modules[name]
    where._constants.cache_clear()


# -- judging


def witnesses(root: Path, file: str) -> list[tuple[str, int, str]]:
    """The models by which a file is judged, as file, position in it and variant; all of a model's own."""
    if "/properties/" not in f"/{file}":
        return [(file, i, v) for i, m in enumerate(library.models_in(root / file).values()) for v in ("", *m.variants)]
    folder = root / "example" if file.startswith("example/") else root
    found: list[tuple[str, int, str]] = []
    for q in library.properties_in(root / file).values():
        judged: set[str] = set()
        for path in sorted((folder / "models").rglob("*.py"), key=lambda p: ("xen" in p.parts, p.name)):
            for i, m in enumerate(library.models_in(path).values()) if path.name != "__init__.py" else ():
                attached = _attached(m, q)
                if q.name in m.about and not attached <= judged:
                    judged |= attached
                    wrong = next((v for v, x in m.variants.items() if x.expected.get(q.name) == "violated"), None)
                    found += [(str(path.relative_to(root)), i, v) for v in ("", wrong) if v is not None]
    return found


def _attached(model: Model, q: Property) -> set[str]:
    """The clauses of ``q`` that something in ``model`` is judged by."""
    declared = Declared(model)
    return {c for r in q.rules if any(True for _ in declared.matches(r)) for c, _ in r.bad} | {
        c for c, _ in (*q.invariants, *q.liveness)
    }


@dataclass(frozen=True)
class Case:
    """A model, and the properties that it is judged by."""

    model: Model
    properties: tuple[Property, ...]


def cases(root: Path, file: str, seen_by: Sequence[tuple[str, int, str]]) -> list[Case]:
    """What a file is judged by, loaded. Raises ``InputError`` for what is refused."""
    made = []
    own = set(library.properties_in(root / file)) if "/properties/" in f"/{file}" else set()
    for path, i, variant in seen_by:
        base = list(library.models_in(root / path).values())[i]
        names = list(base.variants)
        model = base.variant(names[position(root, path, i, variant)]) if variant else base
        properties = library.find_properties(None, model)
        made.append(Case(model, tuple(q for q in properties if not own or q.name in own)))
        check_declared(base, made[-1].properties)
        check_declared(model, made[-1].properties)
    return made


_POSITIONS: dict[tuple[str, int], list[str]] = {}


def position(root: Path, path: str, i: int, variant: str) -> int:
    """Which of a model's variants is meant: its name may be what is misspelt."""
    return _POSITIONS[path, i].index(variant)


def remember(root: Path, seen_by: Sequence[tuple[str, int, str]]) -> None:
    """Note the order of variants while nothing is misspelt."""
    for path, i, _ in seen_by:
        _POSITIONS[path, i] = list(list(library.models_in(root / path).values())[i].variants)


def shape(system: TransitionSystem) -> str:
    """Identifies all that verdicts come from: equal shapes have equal verdicts."""
    events = [[(e.kind, e.name, e.within) for e in s.events] for s in (*system.initial, *system.steps)]
    more = (
        events,
        {n: dict(x) for n, x in system.unjudged.items()},
        dict(system.not_applicable),
        [str(v) for v in system.entry_fields],
    )
    checks = [[str(c.holds) for c in s.checks] for s in (*system.initial, *system.steps)]
    initial = [str(e) for e in system.entry_initial.values()]
    return digest(system) + hashlib.sha1(repr((more, checks, initial)).encode(), usedforsecurity=False).hexdigest()


def verdicts(case: Case) -> dict[int, str]:
    """The verdict on each property, by its position; the search alone."""
    result = check(case.model, case.properties, engines=("explicit",), limits=Limits(states=_STATES), cases=False)
    return {n: f"{r.verdict}{' (vacuous)' if r.vacuous else ''}" for n, r in enumerate(result.results)}


def compared(before: Mapping[int, str], after: Mapping[int, str]) -> str:
    """What became of the verdicts of one case."""
    if before == after:
        return "same"
    decided = ("proved", "violated")
    turned = len(before) == len(after) and any(
        a != after[n] and a in decided and after[n] in decided for n, a in before.items()
    )
    return "changed" if turned else "undecided"


class Judge:
    """Judges slips in one copy of the library."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seen_by: dict[str, list[tuple[str, int, str]]] = {}
        self.originals: dict[tuple[str, int], tuple[str, dict[int, str] | None]] = {}

    def witnesses(self, file: str) -> list[tuple[str, int, str]]:
        if file not in self.seen_by:
            self.seen_by[file] = witnesses(self.root, file)
            remember(self.root, self.seen_by[file])
        return self.seen_by[file]

    def loaded(self, slip: Slip) -> list[Case] | str:
        """What the slip is judged by; or why it is refused at load."""
        seen_by = self.witnesses(slip.file)
        with edited(self.root, slip):
            try:
                return cases(self.root, slip.file, seen_by)
            except InputError as error:
                return " ".join(str(error).split()).replace(f"{self.root}/", "")

    def judge(self, slip: Slip) -> tuple[str, str]:
        """The fate of a slip, and what shows it."""
        seen_by = self.witnesses(slip.file)
        originals = [self.original(slip.file, n) for n in range(len(seen_by))]
        with edited(self.root, slip):
            try:
                found = cases(self.root, slip.file, seen_by)
                fates = []
                for n, case in enumerate(found):
                    if shape(lower(case.model, case.properties)) == originals[n]:
                        fates.append("same")
                        continue
                    after = verdicts(case)
                    fate = compared(self.verdicts(slip.file, n), after)
                    if fate == "changed":
                        return fate, f"{case.model.name}: {after}"
                    fates.append(fate)
                return ("undecided" if "undecided" in fates else "same"), ""
            except InputError as error:
                return "refused", " ".join(str(error).split()).replace(f"{self.root}/", "")
            except Exception as error:
                return "crashed", f"{type(error).__name__}: {error}"

    def original(self, file: str, n: int) -> str:
        """The shape of a case without a slip."""
        if (file, n) not in self.originals:
            case = cases(self.root, file, self.seen_by[file])[n]
            self.originals[file, n] = shape(lower(case.model, case.properties)), None
        return self.originals[file, n][0]

    def verdicts(self, file: str, n: int) -> dict[int, str]:
        """Its verdicts; called while the slip is in its file, so that they come from a process of its own."""
        known, found = self.originals[file, n]
        if found is None:
            found = _unmisspelt(file, n)
            self.originals[file, n] = known, found
        return found


@cache
def _unmisspelt(file: str, n: int) -> dict[int, str]:
    """The verdicts of a case without a slip, found in a process that has a copy of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_verdicts_of, file, n).result()


def _verdicts_of(file: str, n: int) -> dict[int, str]:
    with copied() as root:
        judge = Judge(root)
        return verdicts(cases(root, file, judge.witnesses(file))[n])


# -- all of them


def files() -> list[str]:
    properties = sorted(f"properties/{p.name}" for p in (ROOT / "properties").glob("*.py") if p.name != "__init__.py")
    return [*EXAMPLE, *MODELS, *properties]


def text_of(file: str) -> str:
    return (ROOT / ("tests" if file.startswith("example/") else "") / file).read_text()


def all_slips() -> list[Slip]:
    return [slip for file in files() for slip in slips_in(file, text_of(file))]


def _work(slips: Sequence[Slip], write: str) -> None:
    with copied() as root:
        judge = Judge(root)
        for slip in slips:
            fate, why = judge.judge(slip)
            with Path(write).open("a") as out:
                out.write(json.dumps({"slip": str(slip), "fate": fate, "why": why}) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Misspells every name and string of models and properties, one at a time."
    )
    parser.add_argument("--results", default=".slips.jsonl", help="where results are kept (default: %(default)s)")
    parser.add_argument("--every", type=int, default=1, help="take only each N-th slip")
    parser.add_argument("-j", "--jobs", type=int, default=2)
    given = parser.parse_args()
    results = Path(given.results).resolve()
    wanted = {str(s): s for s in all_slips()[:: given.every]}
    known: dict[str, dict[str, str]] = {}
    if results.exists():
        known = {x["slip"]: x for x in map(json.loads, results.read_text().splitlines())}
    left = [s for name, s in wanted.items() if name not in known]
    by_file: dict[str, list[Slip]] = {}
    for s in left:
        by_file.setdefault(s.file, []).append(s)
    with ProcessPoolExecutor(given.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in [pool.submit(_work, slips, str(results)) for slips in by_file.values()]:
            done.result()
    if results.exists():
        known = {x["slip"]: x for x in map(json.loads, results.read_text().splitlines())}
    told = [known[name] for name in wanted if name in known]
    counts = Counter(x["fate"] for x in told)
    for fate in ("same", "undecided", "changed", "crashed"):
        for x in told:
            if x["fate"] == fate:
                print(f"{fate}: {x['slip']}{'  ' if x['why'] else ''}{x['why']}")
    print(f"{len(told)} slips: {', '.join(f'{counts[fate]} {fate}' for fate in FATES)}")
    return 1 if counts["changed"] or counts["crashed"] else 0


if __name__ == "__main__":
    sys.exit(main())
