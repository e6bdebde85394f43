"""The switch in every distinct body that Xen's history and branches have, read unmodified from a clone, against what is known of it.

    python tests/xen_versions.py CLONE

Prints a line for each body, with the number of commits, branches and tags that have it; exit status 1 if one
differs from the table below, is missing in it, or differs from the Python model of its version (xen.md 1.2).
A body is known by the first 16 digits of the SHA-256 of its text, from the return type to the closing brace,
without white space. Each is judged in one commit that has it, with that commit's headers.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tlbcheck.errors import InputError
from tlbcheck.fit import Around, fit
from tlbcheck.lang.harness import Reading
from tlbcheck.lang.model import Model
from tlbcheck.library import find_models, find_properties
from tlbcheck.matrix import Row, matrix
from tlbcheck.patch.tree import Tree

FILE = "xen/arch/x86/flushtlb.c"
NAMES = ("switch_cr3_cr4", "write_cr3_cr4", "switch_cr3", "write_cr3")


@dataclass(frozen=True)
class Known:
    """``verdicts``: those of the matrix's rows, none for a body that is refused, naming ``refused``; ``model``: the model whose rows it has."""

    commit: str
    verdicts: tuple[str, ...] = ("clean",)
    refused: str = ""
    model: str = ""


_CLOCK = "tlbflush_clock"  # the clock's arithmetic stood in the switch itself
BODIES = {
    "34937eab807951eb": Known("622c9a5ba9", model="xen/flush-once"),
    "4cb30d15c5f6ae36": Known("c2b4e23fdd", model="xen/flush-once"),
    "3df2909ed50e778a": Known("3174835ba8", model="xen/flush-once"),
    "aa727d7f555117ae": Known("dffb6c488a", model="xen/flush-once"),
    "5d87e2021b8013c7": Known("464409f6cf", model="xen/gp-fix"),
    "11410cb34bae746a": Known("fdc2056767", model="xen/gp-fix"),
    "c6368b020f98223f": Known("6e5f22ba43", ("clean", "fault"), model="xen/xsa-292"),
    "e6a3850e6b88ab3c": Known("5c81d260c2", ("clean", "fault", "stale"), model="xen/pcid-committed"),
    "7380bac034c5d1c2": Known("d543fa4093", model="xen/before-pcid"),
    "fd425ec20acd3559": Known("1284b9082f"),
    "dd1c22a87cc3b108": Known("2a0913ede5"),
    "6a4f7857a49eb8b2": Known("eb976b2e4a"),
    "2a60410fc852d868": Known("e33d4a7316"),  # USER_MAPPINGS_ARE_GLOBAL, from 2006 to 2014
    "9d086a668c760682": Known("19435c10ab"),
    "491f0c2b1812ff16": Known("eed63189da"),
    "fa8243b5c09b434a": Known("6f562e72cd"),
    "e4b7882e16c61394": Known("dedb00f212", (), _CLOCK),
    "6db3d95c5fb1fe85": Known("aecd25280f", (), _CLOCK),
    "b4dcf52c16b1e3ef": Known("1b354ce174", (), _CLOCK),
    "436afd1f3fdf7e40": Known("5ee3c045ee", (), _CLOCK),
    "b57ef214013f5df0": Known("e95b0bc6d7", (), _CLOCK),
    "": Known("7f68576b77", (), "defines no"),  # three files that have no switch yet
}


def git(clone: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(clone), *words], check=True, capture_output=True, text=True, errors="replace").stdout


def body(text: str) -> str:
    """The digest of the switch in a file, empty if it has none."""
    for name in NAMES:
        found = re.search(rf"^[a-z][^\n;]*\b{name}\([^;{{]*\)\s*\{{.*?^\}}", text, re.MULTILINE | re.DOTALL)
        if found:
            return hashlib.sha256(re.sub(r"\s", "", found[0]).encode()).hexdigest()[:16]
    return ""


def bodies(clone: Path) -> dict[str, list[str]]:
    """Every distinct body, with the commits that change the file and the branches and tags that have it."""
    revisions = [*git(clone, "log", "--all", "--format=%H", "--", FILE).split(), *git(clone, "for-each-ref", "--format=%(refname)").split()]
    asked = "".join(f"{r}:{FILE}\n" for r in revisions)
    listed = subprocess.run(["git", "-C", str(clone), "cat-file", "--batch-check=%(objectname)"], input=asked, check=True, capture_output=True, text=True).stdout
    by_file: dict[str, list[str]] = {}
    for revision, line in zip(revisions, listed.splitlines(), strict=True):
        if "missing" not in line:
            by_file.setdefault(line.strip(), []).append(revision)
    found: dict[str, list[str]] = {}
    for file, having in by_file.items():
        found.setdefault(body(git(clone, "cat-file", "blob", file)), []).extend(having)
    return found


def rows(model: Model) -> list[Row]:
    return matrix(model, find_properties(["missing-flush"])[0])


def judged(clone: Path, commit: str, known: Known, models: dict[str, list[Row]], undefines: tuple[str, ...] = ()) -> str:
    """What differs from what is known; empty if nothing does."""
    tree = Tree(clone, commit)
    source = tree.read(FILE)
    assert source is not None, f"{commit} has no {FILE}"
    try:
        found = rows(fit(source, Reading(undefines=undefines), around=Around(tree, FILE, "the clone")))
    except InputError as error:
        return "" if known.refused and known.refused in str(error) else f"refused: {error}"
    verdicts = tuple(sorted({r.verdict for r in found}))
    if verdicts != known.verdicts:
        return f"{', '.join(verdicts)} and not {', '.join(known.verdicts) or 'refused'}"
    if known.model and known.model not in models:
        models[known.model] = rows(find_models(known.model)[0])
    return f"rows that differ from those of {known.model}" if known.model and found != models[known.model] else ""


def main(clone: Path) -> int:
    models: dict[str, list[Row]] = {}
    differing = 0
    found = bodies(clone)
    for digest, revisions in found.items():
        known = BODIES.get(digest)
        began = time.process_time()
        wrong = judged(clone, known.commit, known, models) if known else "not in the table"
        differing += bool(wrong)
        said = wrong or (", ".join(known.verdicts) if known and known.verdicts else f"refused for '{known.refused if known else ''}'")
        which = known.commit if known else revisions[0][:10]
        print(f"{digest or 'no switch':<16} {which} {len(revisions):>4} revisions  {said} ({time.process_time() - began:.1f} s)", flush=True)
    missing = [f"{digest} ({BODIES[digest].commit})" for digest in BODIES.keys() - found.keys()]
    if missing:
        print(f"not in this clone: {', '.join(missing)}")
    without = judged(clone, "dffb6c488a", Known("dffb6c488a", model="xen/flush-once@no-pv"), models, ("CONFIG_PV",))
    print(f"dffb6c488a -U CONFIG_PV: {without or 'same as xen/flush-once@no-pv'}")
    return int(differing > 0 or bool(missing) or bool(without))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
