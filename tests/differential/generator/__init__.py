"""Random models over the whole language, as the text of a model file: the same seed gives the same model.

They are small, so that the reference interpreter visits every state in a fraction of a second, and meant to be
well-formed but for a few that leave a range. ``TAGS`` names the constructs that a text is
searched for, to see that none is missing.
"""

from __future__ import annotations

from .constructs import TAGS, tags
from .models import Models

__all__ = ["HEAD", "TAGS", "generate", "tags"]

HEAD = """import enum

from tlbcheck import *
from tlbcheck.lang.expr import FALSE, TRUE, and_, bit, const, eq, lookup, not_, or_
from tlbcheck.lang.program import CPU_ACTING, CPU_SELF, Clause, StateVar
from tlbcheck.lang.types import BOOL, CPU, U32, U64, IntType, WordType, enum_type


class E(enum.Enum):
    a = enum.auto()
    b = enum.auto()
    c = enum.auto()


class F(enum.Enum):
    p = enum.auto()
    q = enum.auto()


"""


def generate(seed: int) -> str:
    """The text of a model file that defines ``model`` and ``PROPERTIES``."""
    return HEAD + Models(seed).write()
