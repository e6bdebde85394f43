"""An environment with one place open: the procedure that stands there comes from somebody else's source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlbcheck.errors import Place
from tlbcheck.lang.model import Model
from tlbcheck.lang.program import Procedure, Statement


@dataclass(frozen=True)
class Fact:
    """Something about a code base that its environment depends on.

    It holds where one of ``identifiers`` occurs in the source, one of ``own`` in the file of the
    function itself, or ``define`` is defined; ``text`` and ``otherwise`` say what that means.
    """

    name: str
    text: str
    otherwise: str
    identifiers: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    define: str = ""


@dataclass(frozen=True)
class Subject:
    """The procedure to be checked.

    ``unseen``: the first place where lines of it were not in the source; ``unseen_end``: where its last ones were not.
    ``ignores``: what callers pass and it does not take.
    """

    name: str
    title: str
    procedure: Procedure
    facts: frozenset[str]
    assumptions: tuple[str, ...]
    unseen: Place | None = None
    unseen_end: Place | None = None
    ignores: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Harness:
    """How functions of one code base are checked.

    ``profile`` says under which names the function of ``role`` is known and what other names mean,
    in terms of ``vocabulary``. ``defines`` is the usual configuration. ``files``: where in the project's tree the function stands, and
    after it what else shows ``facts``; ``forced`` are headers that its build puts before every file, and
    ``helpers`` those that define what the profile names.
    """

    name: str
    role: str
    files: tuple[str, ...]
    profile: Path
    vocabulary: Mapping[str, Any]
    defines: Mapping[str, str]
    facts: tuple[Fact, ...]
    build: Callable[[Subject], Model]
    forced: tuple[str, ...] = ()
    helpers: tuple[str, ...] = ()
    bracket: tuple[str, str] = ("", "")
    """The operations before and behind which the code base does nothing to the TLB."""
    mends: Callable[[Procedure, Place], Sequence[Sequence[Statement]]] = lambda procedure, place: ()
    """What unseen lines at a place of the procedure might do that mends what is violated."""


@dataclass(frozen=True)
class Reading:
    """How C is to be read: what the options of the command line say.

    ``undefines`` takes names out of the usual configuration; ``facts`` overrides what the source
    seems to show of its code base. ``tree`` is where headers are looked up; without it, what stands
    around the file.
    """

    function: str = ""
    role: str = "switch"
    defines: Mapping[str, str] = field(default_factory=dict)
    undefines: tuple[str, ...] = ()
    profiles: tuple[Path, ...] = ()
    assume_no_tlb_effect: tuple[str, ...] = ()
    facts: Mapping[str, bool] = field(default_factory=dict)
    tree: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "function": self.function,
            "role": self.role,
            "defines": dict(self.defines),
            "undefines": list(self.undefines),
            "profiles": [str(p) for p in self.profiles],
            "assume_no_tlb_effect": list(self.assume_no_tlb_effect),
            "facts": dict(self.facts),
            "tree": self.tree,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Reading:
        return Reading(
            data["function"],
            data["role"],
            data["defines"],
            tuple(data["undefines"]),
            tuple(Path(p) for p in data["profiles"]),
            tuple(data["assume_no_tlb_effect"]),
            data["facts"],
            data.get("tree", ""),
        )
