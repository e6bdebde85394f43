"""How much memory a search in Python takes: what the process has now, beyond what it had before."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATM = Path("/proc/self/statm")
_EVERY = 64
"""Questions of which one is looked into: the system has to be asked for each answer."""


def resident() -> int:
    """Bytes of memory that this process has now; the most that it ever had where the system tells no more."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def mapped() -> int:
    """Bytes of address space that this process has now, 0 where the system does not tell."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except OSError:
        return 0


class Budget:
    """Memory for a search that begins now; ``max_bytes`` None: as much as there is."""

    def __init__(self, max_bytes: int | None) -> None:
        self.max_bytes, self.before, self.asked = max_bytes, resident(), 0

    def spent(self) -> bool:
        """Whether the search has taken more; cheap enough to be asked for each state."""
        self.asked += 1
        return self.max_bytes is not None and self.asked % _EVERY == 0 and resident() - self.before > self.max_bytes

    def told(self) -> str:
        """The limit for people."""
        return f"{(self.max_bytes or 0) >> 20:,} MiB"
