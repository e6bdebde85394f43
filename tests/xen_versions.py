"""The switch of every published version, read unmodified from a clone of Xen, against the Python model of that version.

    python tests/xen_versions.py CLONE

Prints a line for each version; exit status 1 if one differs. Which model stands for which commit: xen.md 1.2.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tlbcheck.fit import fit
from tlbcheck.lang.harness import Reading
from tlbcheck.lang.model import Model
from tlbcheck.library import find_models, find_properties
from tlbcheck.matrix import Row, matrix
from tlbcheck.patch.tree import Tree

FILE = "xen/arch/x86/flushtlb.c"
VERSIONS = {
    "d543fa4093": "xen/before-pcid",
    "5c81d260c2": "xen/pcid-committed",
    "6e5f22ba43": "xen/xsa-292",
    "fdc2056767": "xen/gp-fix",
    "464409f6cf": "xen/gp-fix",
    "edc426665f": "xen/flush-once",
    "dffb6c488a": "xen/flush-once",
    "3174835ba8": "xen/flush-once",
    "c2b4e23fdd": "xen/flush-once",
    "622c9a5ba9": "xen/flush-once",
    "stable-4.6": "xen/pcid-committed",
    "stable-4.7": "xen/xsa-292",
    "stable-4.10": "xen/gp-fix",
    "stable-4.13": "xen/flush-once",
    "stable-4.17": "xen/flush-once",
    "master": "xen/flush-once",
}


def rows(model: Model) -> list[Row]:
    return matrix(model, find_properties(["missing-flush"])[0])


def main(clone: Path) -> int:
    known: dict[str, list[Row]] = {}
    differing = 0
    for revision, name, undefines in [(r, n, ()) for r, n in VERSIONS.items()] + [("dffb6c488a", "xen/flush-once@no-pv", ("CONFIG_PV",))]:
        tree = Tree(clone, revision)
        tree.check()
        source = tree.read(FILE)
        assert source is not None, f"{revision} has no {FILE}"
        began = time.process_time()
        found = rows(fit(source, Reading(undefines=undefines)))
        seconds = time.process_time() - began
        if name not in known:
            known[name] = rows(find_models(name)[0])
        same = found == known[name]
        differing += not same
        without = f" -U {undefines[0]}" if undefines else ""
        print(f"{revision}{without:<14} {'same as' if same else 'DIFFERS from'} {name} ({len(found)} rows, {seconds:.1f} s)")
    return int(differing > 0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
