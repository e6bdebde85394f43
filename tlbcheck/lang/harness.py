"""An environment with one place open: the procedure that stands there comes from somebody else's source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlbcheck.errors import Place
from tlbcheck.lang.model import Model
from tlbcheck.lang.program import Procedure


@dataclass(frozen=True)
class Fact:
    """Something about a code base that its environment depends on.

    It holds where one of ``identifiers`` occurs in the source, or ``define`` is defined; ``text``
    and ``otherwise`` say what that means.
    """

    name: str
    text: str
    otherwise: str
    identifiers: frozenset[str] = frozenset()
    define: str = ""


@dataclass(frozen=True)
class Subject:
    """The procedure to be checked. ``unseen_end``: where its last statements were not in the source."""

    name: str
    title: str
    procedure: Procedure
    facts: frozenset[str]
    assumptions: tuple[str, ...]
    unseen_end: Place | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Harness:
    """How functions of one code base are checked.

    ``profile`` says under which names the function of ``role`` is known and what other names mean,
    in terms of ``vocabulary``. ``defines`` is the usual configuration. ``files``: where in the project's tree the function stands, and
    after it what else shows ``facts``.
    """

    name: str
    role: str
    files: tuple[str, ...]
    profile: Path
    vocabulary: Mapping[str, Any]
    defines: Mapping[str, str]
    facts: tuple[Fact, ...]
    build: Callable[[Subject], Model]
