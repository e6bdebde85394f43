"""Whether a cached entry contradicts the page tables: in the context that it belongs to, not in whatever is loaded.

An entry of a tag that is not the current one cannot be used, and says nothing of what another tag's tables
hold. So it is judged (by the model's ``may``) with the registers of the moment at which it could last be used, and
with memory as it is now. Where it could never yet be used, nothing is known of its context, and it counts as stale only if
memory alone says so.
"""

from __future__ import annotations

from collections.abc import Iterator

from tlbcheck.lang.expr import Expr, variables
from tlbcheck.lang.model import Model
from tlbcheck.replay.interpreter import Entry, Run, Scope, Values, value_of

MEANINGS = frozenset({"may", "usable"})
"""The meanings by which a run is told what is stale; a model need not say them."""
MEMORY, LOADED = "memory", "loaded"
"""What makes an entry stale: a change of memory, or what its CPU has loaded."""


class Staleness:
    """Follows one run: ``look`` has to be asked at each point, about each entry that is cached there."""

    def __init__(self, model: Model) -> None:
        self.may, self.usable = model.meanings.get("may"), model.meanings.get("usable")
        self.registers = [v.name for v in model.state_variables() if v.register and v.per_cpu]
        self._by_registers = self.may is not None and not set(self.registers).isdisjoint(_names(model, self.may))
        self._context: dict[tuple[int, Entry], Values] = {}

    def look(self, run: Run, cpu: int, entry: Entry) -> str:
        """``MEMORY`` or ``LOADED`` if the entry is stale now, by which of them; else an empty string."""
        if self.may is None:
            return ""
        before = self._context.get((cpu, entry))
        if not self._by_registers or self.usable is None or value_of(self.usable, Scope(run, cpu, "task", entry)):
            self._context[cpu, entry] = {n: run.memory[f"cpu{cpu}.{n}"] for n in self.registers}
        own = self._context.get((cpu, entry))
        if own is None or value_of(self.may, Scope(run, cpu, "task", entry, locals=own)):
            return ""
        still = before is not None and before != own and value_of(self.may, Scope(run, cpu, "task", entry, locals=before))
        return LOADED if still else MEMORY

    def contradicts(self, run: Run, cpu: int, entry: Entry) -> bool:
        """Whether the entry says something else than the page tables that are loaded now."""
        return self.may is not None and not value_of(self.may, Scope(run, cpu, "task", entry))

    def forget(self, cpu: int, entry: Entry) -> None:
        """The entry is no longer cached: if it is again, it belongs to another context."""
        self._context.pop((cpu, entry), None)


def _names(model: Model, e: Expr) -> Iterator[str]:
    """The variables that an expression reads, also by what the model says of meanings."""
    for name in variables(e):
        if name.startswith("meaning."):
            yield from _names(model, model.meanings[name.removeprefix("meaning.")])
        else:
            yield name
