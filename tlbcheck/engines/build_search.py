"""Compiles the search loop, ``_search.c``: when the package is built, or by ``python -m tlbcheck.engines.build_search``.

It needs nothing of the package. Without a C compiler there is no ``_search.so``, and the search runs in Python.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

# The loop runs as fast as with -O2, and is compiled in half the time: a cold start pays for that.
_OPTIONS = ("-O1", "-fno-tree-fre", "-fno-tree-dominator-opts", "-std=gnu11", "-shared", "-fPIC", "-pthread")


def build(folder: Path) -> Path | None:
    """Compile the loop of ``folder`` in place; None if it cannot be done here."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if shutil.which(compiler[0]) is None:
        compiler = ["cc"]
    target = folder / "_search.so"
    if os.name != "posix" or shutil.which(compiler[0]) is None:
        return None
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / target.name
        done = subprocess.run([*compiler, *_OPTIONS, "-o", str(made), str(folder / "_search.c")], capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"tlbcheck: the search loop was not compiled: {done.stderr.strip()[-500:]}", file=sys.stderr)
            return None
        made.replace(target)  # at once: another process may be loading it
    return target


if __name__ == "__main__":
    raise SystemExit(0 if build(Path(__file__).resolve().parent) else 1)
